"""What happens to a request on the way in and out: rate limit, faults, Date, compression."""

from __future__ import annotations

import gzip
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.simulator.access import Spent
from monitor.simulator.faults import Fault
from monitor.simulator.refusals import Refusal, server_failed, too_many_requests
from monitor.simulator.rows import encode
from monitor.simulator.world import Asked, World

Sleep = Callable[[float], Awaitable[object]]

HANG_S: Final = 120.0  # longer than any sane client waits
SLOW_S: Final = 2.0
RETRY_AFTER_S: Final = 2.0
_USER_IN_PATH = re.compile(r"/users/([^/]+)")
_GATEWAY: Final = {502: "Bad Gateway", 503: "Service Temporarily Unavailable", 504: "Gateway Time-out"}


class DroppedError(ConnectionResetError):
    """The simulator drops this connection on purpose: the server closes it and reports nothing."""

    def __init__(self) -> None:
        super().__init__("the simulator dropped this connection, as its fault asks")


@dataclass(slots=True, kw_only=True)
class Reply:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    is_dropped: bool = False  #: the connection closes after the headers


class Front:
    """ASGI middleware round the API; `/_sim` passes untouched."""

    def __init__(self, app: ASGIApp, *, world: World, sleep: Sleep) -> None:
        self._app = app
        self._world = world
        self._sleep = sleep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_sim"):
            await self._app(scope, receive, send)
            return
        at = self._world.clock()
        users = _users_concerned(scope)
        status = 0
        try:
            reply = await self._reply(scope, receive, users)
            self._finish(reply, Headers(scope=scope))
            await self._send(reply, send, users)
            status = reply.status
        finally:
            self._log(scope, at, status)

    async def _reply(self, scope: Scope, receive: Receive, users: tuple[str, ...]) -> Reply:
        draw = self._world.faults.draw
        spent = self._world.rate.spend(self._world.now()) if self._world.rate else None
        if fault := draw("slow", *users):
            await self._sleep(fault.seconds_or(SLOW_S))
        if fault := draw("hang", *users):
            await self._sleep(fault.seconds_or(HANG_S))
            return Reply(status=200, body=b"", is_dropped=True)
        if draw("reset", *users):
            return Reply(status=200, body=b"", is_dropped=True)
        if spent and spent.is_over:
            reply = _refused(too_many_requests())
            reply.headers["retry-after"] = str(max(1, spent.reset_at - int(self._world.now())))
        elif fault := draw("rate-limited", *users):
            reply = self._limited(fault)
        elif fault := draw("server-error", *users):
            reply = _failed(fault.status)
        else:
            reply = await _captured(self._app, scope, receive)
        if spent:
            reply.headers |= dict(_rate_headers(spent, self._world.options.rate_headers))
        return reply

    def _limited(self, fault: Fault) -> Reply:
        reply = _refused(too_many_requests())
        wait = fault.seconds_or(RETRY_AFTER_S)
        if fault.retry_after == "seconds":
            reply.headers["retry-after"] = str(int(wait))
        elif fault.retry_after == "date":
            reply.headers["retry-after"] = formatdate(self._world.now() + wait, usegmt=True)
        reset = Spent(limit=1, remaining=0, reset_at=int(self._world.now() + wait), is_over=True)
        reply.headers |= dict(_rate_headers(reset, self._world.options.rate_headers))
        return reply

    def _finish(self, reply: Reply, asked: Headers) -> None:
        reply.headers["date"] = formatdate(self._world.now(), usegmt=True)
        if reply.is_dropped:
            return
        if self._world.options.gzip and "gzip" in asked.get("accept-encoding", ""):
            reply.body = gzip.compress(reply.body, compresslevel=4)
            reply.headers |= {"content-encoding": "gzip", "vary": "Accept-Encoding"}

    async def _send(self, reply: Reply, send: Send, users: tuple[str, ...]) -> None:
        if self._world.faults.draw("cut-body", *users):
            reply.body = reply.body[: len(reply.body) // 2]
        reply.headers["content-length"] = str(len(reply.body) or 1)
        headers = [(name.encode(), value.encode("latin-1")) for name, value in reply.headers.items()]
        is_truncated = not reply.is_dropped and self._world.faults.draw("truncated", *users) is not None
        # An answer must have begun before it is dropped: until then a server would say 500 for us.
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        if is_truncated or reply.is_dropped:
            half = reply.body[: len(reply.body) // 2]
            await send({"type": "http.response.body", "body": half, "more_body": True})
            raise DroppedError
        await send({"type": "http.response.body", "body": reply.body})

    def _log(self, scope: Scope, at: float, status: int) -> None:
        self._world.requests.append(
            Asked(
                at=at,
                method=scope["method"],
                path=scope["path"],
                query=scope["query_string"].decode("latin-1"),
                status=status,
            )
        )


async def _captured(app: ASGIApp, scope: Scope, receive: Receive) -> Reply:
    """The whole answer of the inner app, unsent."""
    reply = Reply(status=500, body=b"")

    async def keep(message: Message) -> None:
        if message["type"] == "http.response.start":
            reply.status = message["status"]
            pairs: Iterable[tuple[bytes, bytes]] = message.get("headers", ())
            reply.headers = {name.decode(): value.decode("latin-1") for name, value in pairs}
        else:
            reply.body += message.get("body", b"")

    await app(scope, receive, keep)
    return reply


def _refused(refusal: Refusal) -> Reply:
    return Reply(
        status=refusal.status,
        body=encode(refusal.body()),
        headers={"content-type": "application/json"},
    )


def _failed(status: int) -> Reply:
    if status not in _GATEWAY:
        reply = _refused(server_failed())
        reply.status = status
        return reply
    title = f"{status} {_GATEWAY[status]}"
    page = f"<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{title}</h1></body></html>\r\n"
    return Reply(status=status, body=page.encode(), headers={"content-type": "text/html"})


def _rate_headers(spent: Spent, spelling: str) -> Iterable[tuple[str, str]]:
    prefixes = {"new": ("x-ratelimit",), "old": ("x-rate-limit",), "both": ("x-ratelimit", "x-rate-limit")}
    for prefix in prefixes.get(spelling, ()):
        yield f"{prefix}-limit", str(spent.limit)
        yield f"{prefix}-remaining", str(spent.remaining)
        yield f"{prefix}-reset", str(spent.reset_at)


def _users_concerned(scope: Scope) -> tuple[str, ...]:
    named = [match[1].lower()] if (match := _USER_IN_PATH.search(scope["path"])) else []
    acting = Headers(scope=scope).get("onbehalfof")
    return (*named, acting.lower()) if acting else tuple(named)
