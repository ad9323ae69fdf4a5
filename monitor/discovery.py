"""Who belongs to the cohorts that are discovered: CometChat is asked again and again, page by page.

A round asks for every such cohort. What was not read to the end changes nothing: a page that fails must not
make people disappear. Who is missing from a whole answer stays for the grace.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection, Iterable, KeysView, Mapping
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Final, Protocol

import structlog
import trio

from monitor.clock import Clock
from monitor.errors import StoreError
from monitor.health import Health
from monitor.metrics import Metrics
from monitor.settings.watch import Discover, Watch
from monitor.source.client import BadResponse, SourceError, UserQuery
from monitor.source.people import People
from monitor.store.store import Tx
from monitor.store.values import UserRow
from monitor.store.writer import Writer
from rules.model import UserId

log = structlog.get_logger(__name__)

ENDPOINT: Final = "users"  # as `requests_total` names it
PER_PAGE: Final = 1000  # the most that CometChat takes: 100,000 users are 100 requests
MOST_PAGES: Final = 1000
RETRY_S: Final = 60.0  # after a round that failed, unless the refresh is sooner
BATCH: Final = 1000  # users in one transaction: commits of polls go between them
STORED_PER_GRACE: Final = 24  # how often the time of the last sighting is stored
JITTER: Final = 0.1  # several processes on one key do not ask in step

Found = Mapping[str, Collection[UserId]]
"""Users by the name of their cohort; nobody is in two."""
Sightings = Mapping[str, Mapping[UserId, datetime]]
"""The same, with the time at which each was last found."""


class Listing(Protocol):
    """What the API client does for us."""

    async def users(self, query: UserQuery) -> People: ...


class Ask(Protocol):
    """Makes a request when the budget allows it, and raises what the request raises."""

    async def __call__(self, call: Callable[[], Awaitable[People]]) -> People: ...


class Discovery:
    """Finds users, remembers them in the store, and tells when they are others than before.

    At the start `recall` what the store knows, before anybody is watched: those who were found in an earlier
    life are watched from the first moment on, even if CometChat can't be asked now. Then `run`. `found` is
    always what counts. `changed` is awaited after the store has the new users; when it raises StoreError it
    is called again after the next round. Call `reconsider` after each reload.
    """

    def __init__(
        self,
        *,
        client: Listing,
        ask: Ask,
        writer: Writer,
        watch: Callable[[], Watch],
        start_at: Callable[[], datetime],
        changed: Callable[[Found], Awaitable[None]],
        health: Health,
        metrics: Metrics,
        clock: Clock,
        random: Random,
    ) -> None:
        """`watch` gives the settings in force, `start_at` the instant from which a new user is watched."""
        self._client = client
        self._ask = ask
        self._writer = writer
        self._watch = watch
        self._start_at = start_at
        self._changed = changed
        self._health = health
        self._metrics = metrics
        self._clock = clock
        self._random = random
        self._sightings: Sightings = {}
        self._told: Sightings = {}
        self._stored_at: dict[str, datetime] = {}
        self._asked: dict[str, Discover] = {}
        self._failed: dict[str, str] = {}
        self._refresh = watch().refresh
        self._hurry = trio.Event()

    @property
    def found(self) -> Found:
        """Everybody who is found now or was within the grace."""
        return _membership(self._sightings)

    def recall(self, rows: Iterable[UserRow]) -> Found:
        """Take over who was found before, from the users of the store. Returns `found`."""
        names = dict(self._watch().discovered)
        recalled: dict[str, dict[UserId, datetime]] = {name: {} for name in names}
        for row in rows:
            if row.cohort in recalled and row.found_at is not None and row.left_at is None:
                recalled[row.cohort][row.uid] = row.found_at
        self._sightings = self._told = recalled
        self._metrics.expect_cohorts(names)
        self._show()
        return self.found

    def reconsider(self) -> None:
        """Ask at once if the cohorts to discover, or the refresh, are others than those of the last round."""
        watch = self._watch()
        if (dict(watch.discovered), watch.refresh) != (self._asked, self._refresh):
            self._hurry.set()

    async def run(self) -> None:
        """Ask for ever. Ends by cancellation only; what was not finished is asked again."""
        while True:
            self._hurry = trio.Event()
            is_whole = await self._round()
            with trio.move_on_after(self._pause(is_whole=is_whole)):
                await self._hurry.wait()

    def _pause(self, *, is_whole: bool) -> float:
        if not self._asked:
            return math.inf
        refresh = self._refresh.total_seconds()
        return (refresh if is_whole else min(refresh, RETRY_S)) * self._random.uniform(1 - JITTER, 1 + JITTER)

    async def _round(self) -> bool:
        """Ask for every cohort once. Returns whether all could be read to the end and stored."""
        watch = self._watch()
        self._asked, self._refresh = dict(watch.discovered), watch.refresh
        self._metrics.expect_cohorts(self._asked)
        began_at = self._clock.wall()
        self._failed = {}
        read = {name: await self._list(name, discover) for name, discover in self._asked.items()}
        self._health.discovery_error = (
            "; ".join(f'cohort "{n}": {why}' for n, why in self._failed.items()) or None
        )
        after = sightings(self._sightings, read, now=began_at, grace=watch.grace)
        try:
            await self._remember(after, began_at)
        except StoreError as error:
            log.error("discovery.not_stored", error=str(error), kept="who was found before")
            return False
        return None not in read.values()

    async def _list(self, name: str, discover: Discover) -> list[UserId] | None:
        """Everybody whom CometChat names for one cohort; None if it could not be read to the end."""
        try:
            found = await self._every_page(discover)
        except SourceError as error:
            self._failed[name] = str(error)
            kept = len(self._sightings.get(name, ()))
            log.warning("discovery.failed", cohort=name, error=str(error), kept=kept)
            return None
        self._metrics.discovery_last_success_timestamp_seconds.labels(name).set(
            self._clock.wall().timestamp()
        )
        return list(found)

    async def _every_page(self, discover: Discover) -> Iterable[UserId]:
        """Raises SourceError. Users may come and go between two pages: the next round sees them."""
        found: dict[UserId, None] = {}
        for number in range(1, MOST_PAGES + 1):
            page = await self._page(query_of(discover, page=number))
            known = len(found)
            found.update((UserId(party.id), None) for party in page.parties if not party.id.startswith("@"))
            if not page.more(PER_PAGE) or number > (page.total_pages or MOST_PAGES):
                return found
            if len(found) == known:
                raise BadResponse(f"users: page {number} brings nobody new, the server does not turn pages")
        raise BadResponse(
            f"users: more than {MOST_PAGES * PER_PAGE}: narrow the cohort by tags, roles or search"
        )

    async def _page(self, query: UserQuery) -> People:
        try:
            page = await self._ask(partial(self._client.users, query))
        except SourceError as error:
            self._metrics.asked(ENDPOINT, error.outcome)
            raise
        self._metrics.asked(ENDPOINT, "ok")
        return page

    async def _remember(self, after: Sightings, now: datetime) -> None:
        """Store whom it found, make that count, and tell if somebody came or went. Raises StoreError."""
        await self._store(after, now)
        self._sightings = after
        self._show()
        if _membership(after) != _membership(self._told):
            log.info("discovery.changed", **_difference(self._told, after))
            await self._changed(self.found)
            self._told = after

    async def _store(self, after: Sightings, now: datetime) -> None:
        """New users at once; others so often that a restart shortens their grace by little."""
        due_at = now - self._watch().grace / STORED_PER_GRACE
        due = {name for name in after if self._stored_at.get(name, due_at) <= due_at}
        start_at = self._start_at()
        for name, seen in after.items():
            is_known = self._sightings.get(name, {}).__contains__
            uids = [uid for uid, at in seen.items() if at == now and (name in due or not is_known(uid))]
            for first in range(0, len(uids), BATCH):
                some = uids[first : first + BATCH]
                await self._writer.submit(partial(Tx.find, cohort=name, uids=some, at=now, start_at=start_at))
        self._stored_at.update(dict.fromkeys(due, now))

    def _show(self) -> None:
        for name, seen in self._sightings.items():
            self._metrics.discovered_users.labels(name).set(len(seen))


def query_of(discover: Discover, *, page: int) -> UserQuery:
    """The request for one page of a cohort."""
    return UserQuery(
        search_key=discover.search,
        status=discover.status,
        roles=discover.roles or None,
        tags=discover.tags or None,
        per_page=PER_PAGE,
        page=page,
    )


def sightings(
    before: Sightings, read: Mapping[str, Collection[UserId] | None], *, now: datetime, grace: timedelta
) -> dict[str, dict[UserId, datetime]]:
    """Who counts after a round that read this for each cohort, in their order; None could not be read.

    Who is missing stays in a cohort for `grace` after the last sighting, unless another one found them now.
    Of several cohorts that have a user the first one keeps them.
    """
    present = {uid for found in read.values() for uid in found or ()}
    after: dict[str, dict[UserId, datetime]] = {}
    taken: set[UserId] = set()
    for name, found in read.items():
        earlier = before.get(name, {})
        if found is None:
            mine = {uid: now if uid in present else at for uid, at in earlier.items()}
        else:
            mine = dict.fromkeys(found, now)
            mine |= {uid: at for uid, at in earlier.items() if uid not in present and now - at < grace}
        after[name] = {uid: at for uid, at in mine.items() if uid not in taken}
        taken.update(mine)
    return after


def _membership(sightings: Sightings) -> dict[str, KeysView[UserId]]:
    return {name: seen.keys() for name, seen in sightings.items()}


def _difference(before: Sightings, after: Sightings) -> dict[str, int]:
    """For the log: how many came and went. Names would be too many."""
    old, new = ({uid for seen in one.values() for uid in seen} for one in (before, after))
    return {"users": len(new), "came": len(new - old), "went": len(old - new)}
