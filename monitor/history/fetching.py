"""History, fetched backwards within the budget and kept page by page, so that nothing is asked twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final, Protocol

import trio

from monitor.allowance import Allowance
from monitor.history.coverage import SIZE, Leaf, Stuck, leaf, next_before
from monitor.history.shelf import Place, Shelf
from monitor.source.client import (
    BadResponse,
    Endpoint,
    MessageQuery,
    RateLimited,
    ServerError,
    SourceError,
    UnknownUser,
    Unreachable,
)
from monitor.source.pages import Page
from rules.model import MessageId, Value

WORKERS: Final = 16  # lists under way at once: 16 requests of 0.5 s are 2,000 a minute
PATIENCE: Final = 6  # failures of one page in a row, a minute in all
FIRST_PAUSE_S: Final = 2.0  # after a failure; doubles with each
PASSING: Final = (ServerError, Unreachable, BadResponse, RateLimited)


class Pages(Protocol):
    """What the API client does for us."""

    async def messages(self, name: str, query: MessageQuery, *, endpoint: Endpoint) -> Page: ...


class Step(Value, frozen=True, kw_only=True):
    """What one page brought, for whoever watches."""

    place: Place
    rows: int
    begins: datetime | None  #: how far back the list is known now; None: to its first row
    is_done: bool


class Fetched(Value, frozen=True, kw_only=True):
    """How it went."""

    requests: int = 0
    rows: int = 0
    unknown: tuple[Place, ...] = ()  #: lists that CometChat does not have


async def fetch(
    client: Pages,
    allowance: Allowance,
    places: Sequence[Place],
    *,
    since: datetime,
    folder: Path,
    is_redacted: bool = False,
    tell: Callable[[Step], None] = lambda _: None,
    waits: Callable[[SourceError], None] = lambda _: None,
    random: Random,
) -> Fetched:
    """Bring the cache in `folder` up to now and back to `since`, for each of `places`.

    One request a list looks for news; then only what is not there yet is asked for. Every page is kept before
    the next one is asked, so cancelled, or failing with a SourceError after some patience, it leaves whole
    pages, and the next call goes on from there. `waits` hears of the first failure of a trouble that is
    waited for. Raises HistoryError when the cache can't be used.
    """
    fetching = Fetching(
        client,
        allowance,
        since=since,
        folder=folder,
        is_redacted=is_redacted,
        tell=tell,
        waits=waits,
        random=random,
    )
    waiting = iter(dict.fromkeys(places))
    async with trio.open_nursery() as nursery:
        for _ in range(min(WORKERS, len(places))):
            nursery.start_soon(fetching.work, waiting)
    return Fetched(requests=fetching.requests, rows=fetching.rows, unknown=tuple(sorted(fetching.unknown)))


class Fetching:
    """The work of several tasks at once: each takes the next list."""

    def __init__(
        self,
        client: Pages,
        allowance: Allowance,
        *,
        since: datetime,
        folder: Path,
        is_redacted: bool,
        tell: Callable[[Step], None],
        waits: Callable[[SourceError], None],
        random: Random,
    ) -> None:
        self.requests = 0
        self.rows = 0
        self.unknown: list[Place] = []
        self._client = client
        self._allowance = allowance
        self._since = since
        self._folder = folder
        self._is_redacted = is_redacted
        self._tell = tell
        self._waits = waits
        self._is_troubled = False
        self._random = random

    async def work(self, waiting: Iterator[Place]) -> None:
        for place in waiting:
            with Shelf(self._folder, place, is_redacted=self._is_redacted) as shelf:
                try:
                    await self._fill(shelf, place)
                except UnknownUser:
                    self.unknown.append(place)
                    self._tell(Step(place=place, rows=0, begins=None, is_done=True))

    async def _fill(self, shelf: Shelf, place: Place) -> None:
        before: MessageId | None = None
        while True:
            page = await self._page(place, before)
            try:
                read = leaf(page, before)
            except Stuck as problem:
                raise BadResponse(
                    f"messages of {place.name or 'the app'}: {problem}; check api.base_url, and what stands "
                    "between us and CometChat"
                ) from problem
            shelf.append(read, page.messages)
            self.rows += page.rows
            before = next_before(shelf.leaves, read, self._since)
            self._tell(_step(place, page, read, is_done=before is None))
            if before is None:
                return

    async def _page(self, place: Place, before: MessageId | None) -> Page:
        """One page; what passes is waited for. Raises SourceError."""
        query = MessageQuery.newest(SIZE) if before is None else MessageQuery.before(before, SIZE)
        failures = 0
        while True:
            self.requests += 1
            try:
                page = await self._allowance.ask(
                    lambda: self._client.messages(place.name, query, endpoint=Endpoint(place.endpoint))
                )
            except PASSING as error:
                failures += 1
                if failures >= PATIENCE:
                    raise
                if not self._is_troubled:
                    self._is_troubled = True
                    self._waits(error)
                await trio.sleep(self._pause(error, failures))
            else:
                self._is_troubled = False
                self._allowance.learn(page.rate, api_now=page.received_at + page.skew)
                return page

    def _pause(self, error: SourceError, failures: int) -> float:
        """A refusal for all is waited for at the gate; a server in trouble says when it will be well."""
        if isinstance(error, RateLimited):
            return 0.0
        asked = error.retry_after or timedelta(0)
        spread = FIRST_PAUSE_S * 2.0 ** (failures - 1) * self._random.uniform(0.5, 1.5)
        return max(spread, min(asked.total_seconds(), 60.0))


def _step(place: Place, page: Page, read: Leaf, *, is_done: bool) -> Step:
    return Step(place=place, rows=page.rows, begins=read.begins, is_done=is_done)
