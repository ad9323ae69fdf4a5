"""Serving an ASGI application on one address, for as long as the caller lets it."""

from __future__ import annotations

import logging
import socket
from functools import partial
from typing import Final

import hypercorn.trio
import trio
from hypercorn.config import Config
from starlette.types import ASGIApp

from monitor.errors import ConfigError

SECONDS: Final = 1
BYTES: Final = 1
MAX_PORT: Final = 65535


async def serve(
    app: ASGIApp,
    listen: str,
    *,
    date_header: bool = True,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` on `listen` ("host:port", port 0 takes a free one) until cancelled.

    `task_status.started(url)` is called once connections are accepted. Without `date_header` the app
    tells the time itself. Raises ConfigError when the address can't be had. Requests in flight when
    cancelled are cut off.
    """
    config = _config(_listening(listen))
    config.include_date_header = date_header
    async with trio.open_nursery() as nursery:
        # No shutdown trigger: whoever started us cancels us.
        urls = await nursery.start(partial(hypercorn.trio.serve, app, config))  # type: ignore[arg-type]
        task_status.started(urls[0])


def _listening(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    try:
        if int(port) > MAX_PORT:
            raise ValueError(f"ports end at {MAX_PORT}")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, int(port)), family=family, backlog=100)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"server.listen: can't listen on {listen}: {reason}; free it or choose another: 127.0.0.1:9465"
        ) from error


def _config(listening: socket.socket) -> Config:
    config = Config()
    config.bind = [f"fd://{listening.detach()}"]  # Hypercorn owns it now
    config.errorlog = logging.getLogger("hypercorn.error")
    config.accesslog = None
    config.include_server_header = False
    config.keep_alive_timeout = 30 * SECONDS
    config.graceful_timeout = 1 * SECONDS
    config.h11_max_incomplete_size = 16 * 1024 * BYTES
    return config
