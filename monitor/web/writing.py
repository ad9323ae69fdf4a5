"""What the status API may change: silences and acknowledgements, for whoever has the token.

Everything else on this port is read without a password, so that writing asks for one that only its answer
tells of. A browser never sends the `Authorization` header by itself: a foreign page can't write.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

import msgspec
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from monitor.errors import CometwatchError, ConfigError, NotStored
from monitor.silencing import Wish, check_rules, planned, said
from monitor.store.store import Tx
from rules.model import Alert, AlertId, RuleName, Value

MAX_BODY: Final = 16 * 1024
SHORT: Final = 6
"""Fewer characters of an alert's id are not looked for: they would be another one's tomorrow."""
WHOLE: Final = 32
OFF: Final = (
    "changes over HTTP are off: set server.token_file in the settings to a file with a long random word, "
    "and send it as `Authorization: Bearer <word>`; `cometwatch silence` and `cometwatch ack` work without"
)
WRONG: Final = "send `Authorization: Bearer <word>` with the word in the file of server.token_file"

log = structlog.get_logger(__name__)

T = TypeVar("T")
S = TypeVar("S", Wish, "AckWish")


class Submit(Protocol):
    """Runs work in a transaction of the store, off the loop; raises what it raised, or StoreError."""

    async def __call__(self, work: Callable[[Tx], T], /) -> T: ...


class Rules(Protocol):
    """The part of the store that writing reads."""

    def fingerprints(self) -> Mapping[RuleName, str]: ...

    def alert_beginning(self, text: str, /) -> Alert | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Writes:
    """What the pages need to change anything."""

    submit: Submit  #: `Writer.submit`
    token: Callable[[], str | None]  #: as it is now; None: none is set. May raise ConfigError
    now: Callable[[], datetime]


class AckWish(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who looks after an alert."""

    by: str
    comment: str = ""


class _RefusedError(Exception):
    """A request that is not answered as asked."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(reason)


Work = Callable[[Writes, Request], Awaitable[Any]]
RunSync = Callable[[Callable[[], Any]], Awaitable[Any]]


class Desk:
    """The routes that change something. With `writes` None each says how changes are allowed."""

    def __init__(self, writes: Writes | None, *, store: Rules, run_sync: RunSync) -> None:
        self._writes = writes
        self._store = store
        self._run_sync = run_sync

    async def silence(self, request: Request) -> Response:
        return await self._answer(request, self._silence, 201)

    async def expire(self, request: Request) -> Response:
        return await self._answer(request, self._expire, 200)

    async def ack(self, request: Request) -> Response:
        return await self._answer(request, self._ack, 201)

    async def unack(self, request: Request) -> Response:
        return await self._answer(request, self._unack, 200)

    async def _silence(self, writes: Writes, request: Request) -> Any:
        plan = planned(await _read(request, Wish), now=writes.now())
        known = await self._run_sync(self._store.fingerprints)
        check_rules(plan.matchers, known)
        made = await writes.submit(
            lambda tx: tx.add_silence(
                plan.matchers,
                starts_at=plan.starts_at,
                ends_at=plan.ends_at,
                author=plan.author,
                comment=plan.comment,
            )
        )
        log.info("silence.added", silence=made.id, author=made.author, until=made.ends_at.isoformat())
        return {"silence": made}

    async def _expire(self, writes: Writes, request: Request) -> Any:
        number = _number(request.path_params["number"])
        await writes.submit(lambda tx: tx.end_silence(number))
        log.info("silence.expired", silence=number)
        return {"ended": number}

    async def _ack(self, writes: Writes, request: Request) -> Any:
        alert, wish = await self._named(request), await _read(request, AckWish)
        by = said(wish.by, "by", "anna")
        comment = said(wish.comment, "comment", "calling back") if wish.comment else ""
        made = await writes.submit(lambda tx: tx.ack(alert, by=by, comment=comment))
        log.info("alert.acknowledged", alert=alert, by=by)
        return {"ack": made}

    async def _unack(self, writes: Writes, request: Request) -> Any:
        alert = await self._named(request)
        await writes.submit(lambda tx: tx.unack(alert))
        log.info("alert.unacknowledged", alert=alert)
        return {"unacked": alert}

    async def _named(self, request: Request) -> AlertId:
        """The alert of the path, which may be written as short as messages and commands show it."""
        text: str = request.path_params["alert"]
        if not SHORT <= len(text) < WHOLE:
            return AlertId(text)
        found = await self._run_sync(lambda: self._store.alert_beginning(text))
        return found.id if found else AlertId(text)

    async def _answer(self, request: Request, work: Work, status: int) -> Response:
        try:
            return _json(await work(await self._allowed(request), request), status)
        except _RefusedError as refusal:
            challenge = {"www-authenticate": "Bearer"} if refusal.status == 401 else {}
            return _json({"error": refusal.reason}, refusal.status, challenge)
        except CometwatchError as error:
            return _json({"error": str(error)}, _status_of(error))

    async def _allowed(self, request: Request) -> Writes:
        """Raises _RefusedError unless the request has the token."""
        writes = self._writes
        try:
            token = await self._run_sync(writes.token) if writes else None
        except ConfigError as error:
            raise _RefusedError(503, str(error)) from error
        if writes is None or not token:
            raise _RefusedError(403, OFF)
        if not _is_same(_bearer(request), token):
            log.warning("api.refused", path=request.url.path)
            raise _RefusedError(401, WRONG)
        return writes


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise _RefusedError(404, "the number of a silence is asked for: GET /api/silences lists them")
    return int(text)


def _bearer(request: Request) -> str:
    scheme, _, word = request.headers.get("authorization", "").partition(" ")
    return word.strip() if scheme.lower() == "bearer" else ""


def _is_same(given: str, token: str) -> bool:
    """In a time that does not tell how much of it is right."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode("utf-8", "replace"))


async def _read(request: Request, form: type[S]) -> S:
    """The body as a value. Raises _RefusedError for one that is too large or says something else."""
    body = bytearray()
    try:
        async with aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > MAX_BODY:
                    raise _RefusedError(413, f"the body is too large: {MAX_BODY // 1024} KiB are the most")
    except ClientDisconnect:
        raise _RefusedError(400, "the body did not come whole") from None
    try:
        return msgspec.json.decode(bytes(body), type=form)
    except msgspec.MsgspecError as error:  # names the place, quotes nothing
        raise _RefusedError(400, f"{error}; for example {_EXAMPLES[form]}") from None


_EXAMPLES: Final[Mapping[type, str]] = {
    Wish: '{"matchers": ["team=payments"], "for": "2h", "author": "anna", "comment": "phones are moved"}',
    AckWish: '{"by": "anna", "comment": "calling back"}',
}


def _status_of(error: CometwatchError) -> int:
    if isinstance(error, ConfigError):
        return 400
    return 404 if isinstance(error, NotStored) else 503


def _json(value: Any, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value) + b"\n", status, headers, media_type="application/json")


def routes(desk: Desk) -> list[Route]:
    return [
        Route("/api/silences", desk.silence, methods=["POST"]),
        Route("/api/silences/{number}", desk.expire, methods=["DELETE"]),
        Route("/api/alerts/{alert}/ack", desk.ack, methods=["POST"]),
        Route("/api/alerts/{alert}/ack", desk.unack, methods=["DELETE"]),
    ]
