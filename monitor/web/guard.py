"""Who may look: names that a browser may call us by, and what a page may do once it is open.

The page has no password: it is for loopback, a pod's address or a proxy that asks for one. What it must
withstand is a foreign web page that points a name of its own at our address (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PROBES: Final = frozenset({"/metrics", "/healthz", "/readyz"})
"""Asked by machines under any service name, and of no use to a foreign page."""

HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


def is_ours(host: str, names: Collection[str]) -> bool:
    """Whether a `Host` header names us: an address, localhost or one of `names` (`*.example`: any below)."""
    name = _without_port(host).lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost") or _is_address(name):
        return True
    return any(name == known or (known.startswith("*.") and name.endswith(known[1:])) for known in names)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Guard:
    """Refuses foreign names and gives every answer headers that keep a browser strict."""

    def __init__(self, app: ASGIApp, *, names: Collection[str]) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        host = Headers(scope=scope).get("host", "")
        if scope["path"] in PROBES or is_ours(host, self._names):
            await self._app(scope, receive, send_strict)
        else:
            await _foreign()(scope, receive, send_strict)


def _foreign() -> JSONResponse:
    reason = "this page is not served under that name; add the name to server.hosts in the settings"
    return JSONResponse({"error": reason}, status_code=421)
