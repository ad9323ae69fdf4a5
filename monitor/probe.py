"""Asking a running monitor's own port, with the standard library alone: a probe must start quickly."""

from __future__ import annotations

import http.client
from typing import Final

NEAR: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "::1"}  # noqa: S104 - asked, not bound


def ask(listen: str, path: str, *, timeout_s: float = 3.0) -> tuple[bool, str]:
    """Whether the monitor that listens on `listen` ("host:port") says yes at `path`, and what it said.

    A server on every address is asked on the nearest one. Nobody answering is a no.
    """
    host, _, port = listen.rpartition(":")
    connection = http.client.HTTPConnection(NEAR.get(host, host.strip("[]")), int(port), timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status == 200, answer.read(4096).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return False, f"nothing answers on {listen}: {error}; is `cometwatch run` running?"
    finally:
        connection.close()
