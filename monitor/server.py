"""One HTTP server for all that is served here: status pages, the simulator, the demo's receivers."""

from __future__ import annotations

import logging
import socket
from typing import Final

import hypercorn.trio
import trio
from hypercorn.config import Config
from starlette.types import ASGIApp, Receive, Scope, Send

from monitor.errors import ConfigError

SECONDS: Final = 1
BYTES: Final = 1
MAX_PORT: Final = 65535


def listening(listen: str, *, named: str = "server.listen") -> socket.socket:
    """A socket that listens on `listen` ("host:port", port 0 takes a free one).

    Raises ConfigError in the words of the setting or option that is `named` when the address can't be had.
    """
    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if int(port) > MAX_PORT:  # refused before there is a socket to leave open
            raise ValueError(f"ports end at {MAX_PORT}")
        listener = socket.create_server((host.strip("[]"), int(port)), family=family, backlog=100)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"{named}: can't listen on {listen}: {reason}; give a free address, for example 127.0.0.1:9465"
        ) from error
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # small answers must not wait
    return listener


async def serve(
    app: ASGIApp,
    listener: socket.socket,
    *,
    date_header: bool = True,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` until cancelled; takes the listener over. Starts with the address, like http://127.0.0.1:9464.

    Without `date_header` the app tells the time itself. An app that raises ConnectionResetError drops its
    connection. Requests in flight when cancelled are cut off.
    """

    async def without_dropped(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except ConnectionResetError:
            return  # an unfinished answer makes the server close the connection

    config = _config(listener, date_header=date_header)
    async with trio.open_nursery() as nursery:
        # No shutdown trigger: whoever started us cancels us.
        urls: list[str] = await nursery.start(hypercorn.trio.serve, without_dropped, config)
        task_status.started(urls[0])


def _config(listener: socket.socket, *, date_header: bool) -> Config:
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]  # Hypercorn owns it now
    config.errorlog = logging.getLogger("hypercorn.error")
    config.accesslog = None
    config.include_date_header = date_header
    config.include_server_header = False
    config.keep_alive_timeout = 75 * SECONDS  # longer than our clients keep a connection
    config.graceful_timeout = 1 * SECONDS
    config.h11_max_incomplete_size = 16 * 1024 * BYTES
    return config
