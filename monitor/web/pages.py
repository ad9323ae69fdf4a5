"""One port for people and machines: status page, its JSON, probes and metrics; what changes is apart."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

import msgspec
import trio
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from monitor.errors import StoreError
from monitor.store.values import Ack, Entry, EntryState, Silence
from monitor.web.guard import Guard
from monitor.web.page import Page, Shown
from monitor.web.view import AlertView, EntryView, StatusView, UserView, readiness
from monitor.web.writing import Desk, Writes, routes
from rules.model import Alert, AlertId, RuleName, Status

RECENT: Final = 20
MOST: Final = 1000

StatusProvider = Callable[[], StatusView]
UsersProvider = Callable[[str | None], Sequence[UserView]]


class Reads(Protocol):
    """The part of the store that pages read. Blocking; safe from any thread; raises StoreError."""

    def alerts(self, limit: int, status: Status | None = None) -> list[Alert]: ...

    def entries(
        self, *, receiver: str | None = None, state: EntryState | None = None, limit: int = 100
    ) -> list[Entry]: ...

    def acks(self, ids: Collection[AlertId]) -> Mapping[AlertId, Ack]: ...

    def silences(self, now: datetime) -> Sequence[Silence]: ...

    def all_silences(self, limit: int) -> Sequence[Silence]: ...

    def fingerprints(self) -> Mapping[RuleName, str]: ...

    def alert_beginning(self, text: str, /) -> Alert | None: ...


RunSync = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs blocking work off the loop; tests give one that runs it in place."""


class _QueryError(Exception):
    """The question can't be answered as asked."""


def build(
    status: StatusProvider,
    users: UsersProvider,
    store: Reads,
    registry: CollectorRegistry,
    *,
    run_sync: RunSync = trio.to_thread.run_sync,
    hosts: Collection[str] = (),
    writes: Writes | None = None,
) -> Starlette:
    """The web application. `status` must be quick: it is called on the loop; the store is read off it.

    `users` gives every list that is read, or the one that it is given. Without `writes` nothing here changes
    anything.
    """
    pages = _Pages(status, users, store, registry, run_sync)
    reading = [
        Route("/", pages.page),
        Route("/healthz", pages.healthz),
        Route("/readyz", pages.readyz),
        Route("/metrics", pages.metrics),
        Route("/api/status", pages.api_status),
        Route("/api/users", pages.api_users),
        Route("/api/alerts", pages.api_alerts),
        Route("/api/outbox", pages.api_outbox),
        Route("/api/silences", pages.api_silences),
        Route("/api/receivers", pages.api_receivers),
    ]
    changing = routes(Desk(writes, store=store, run_sync=run_sync))
    return Starlette(routes=[*reading, *changing], middleware=[Middleware(Guard, names=hosts)])


class _Pages:
    def __init__(
        self,
        status: StatusProvider,
        users: UsersProvider,
        store: Reads,
        registry: CollectorRegistry,
        run_sync: RunSync,
    ) -> None:
        self._status = status
        self._users = users
        self._store = store
        self._registry = registry
        self._run_sync = run_sync
        self._page = Page()

    async def page(self, _request: Request) -> Response:
        view, trouble, shown = self._status(), None, Shown()
        try:
            shown = await self._run_sync(lambda: _shown(self._store, view.now))
        except StoreError as error:
            trouble = str(error)
        text = self._page.render(view, shown, trouble=trouble)
        return HTMLResponse(text, headers={"content-security-policy": self._page.policy})

    async def healthz(self, _request: Request) -> Response:
        """That this is answered is the proof: the loop turns."""
        return PlainTextResponse("ok\n")

    async def readyz(self, _request: Request) -> Response:
        view = self._status()
        reasons = readiness(view, view.now)
        return PlainTextResponse("\n".join(reasons or ["ok"]) + "\n", 503 if reasons else 200)

    async def metrics(self, request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        # Off the loop: ten thousand series take long enough to delay polls.
        text: bytes = await self._run_sync(lambda: encode(self._registry))
        return Response(text, headers={"content-type": content_type})

    async def api_status(self, _request: Request) -> Response:
        view = self._status()
        reasons = readiness(view, view.now)
        return _json({"ready": not reasons, "reasons": reasons, **_plain(view), "users": view.lists.total})

    async def api_users(self, request: Request) -> Response:
        return _json({"users": self._users(request.query_params.get("uid"))})

    async def api_alerts(self, request: Request) -> Response:
        try:
            status = _one_of(Status, request, "status")
            limit = _limit(request)
            alerts, acks = await self._run_sync(lambda: _with_acks(self._store, limit, status))
        except (_QueryError, StoreError) as error:
            return _failed(error)
        return _json({"alerts": [AlertView.of(alert) for alert in alerts], "acks": acks})

    async def api_outbox(self, request: Request) -> Response:
        try:
            state, limit = _one_of(EntryState, request, "state"), _limit(request)
            receiver = request.query_params.get("receiver")
            entries: list[Entry] = await self._run_sync(
                lambda: self._store.entries(receiver=receiver, state=state, limit=limit)
            )
        except (_QueryError, StoreError) as error:
            return _failed(error)
        return _json({"depths": self._status().receivers, "entries": [EntryView.of(one) for one in entries]})

    async def api_silences(self, request: Request) -> Response:
        """Those in force and to come; with `all=true` the latest, also such as are over."""
        now = self._status().now
        try:
            is_all, limit = _flag(request, "all"), _limit(request)
            silences = await self._run_sync(
                lambda: self._store.all_silences(limit) if is_all else self._store.silences(now)
            )
        except (_QueryError, StoreError) as error:
            return _failed(error)
        return _json({"silences": silences})

    async def api_receivers(self, _request: Request) -> Response:
        return _json({"receivers": self._status().receivers})


def _with_acks(
    store: Reads, limit: int, status: Status | None = None
) -> tuple[list[Alert], Mapping[AlertId, Ack]]:
    alerts = store.alerts(limit, status)
    return alerts, store.acks([alert.id for alert in alerts])


def _shown(store: Reads, now: datetime) -> Shown:
    alerts, acks = _with_acks(store, RECENT)
    return Shown(alerts=tuple(map(AlertView.of, alerts)), acks=acks, silences=tuple(store.silences(now)))


E = TypeVar("E", Status, EntryState)


def _one_of(words: type[E], request: Request, name: str) -> E | None:
    given = request.query_params.get(name)
    try:
        return None if given is None else words(given)
    except ValueError:
        raise _QueryError(f"{name} is one of {', '.join(words)}") from None


def _flag(request: Request, name: str) -> bool:
    given = request.query_params.get(name, "false")
    if given not in {"true", "false"}:
        raise _QueryError(f"{name} is true or false")
    return given == "true"


def _limit(request: Request) -> int:
    given = request.query_params.get("limit", "100")
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= MOST):
        raise _QueryError(f"limit is a number from 1 to {MOST}")
    return int(given)


def _plain(view: StatusView) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(view)
    return plain


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value) + b"\n", status, media_type="application/json")


def _failed(error: Exception) -> Response:
    return _json({"error": str(error)}, 400 if isinstance(error, _QueryError) else 503)
