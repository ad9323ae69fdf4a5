"""From a turn to a commit: ask, account, reschedule. A bounded number of polls at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Final, Never

import structlog
import trio

from monitor.accounts import Accounts, Followed, read_of, record_of
from monitor.allowance import SHORTEST_WAIT_S, Allowance
from monitor.clock import Clock
from monitor.drain import WATERMARK_MARGIN, Ask, Direction, Drain, ask, take
from monitor.errors import Conflict, StoreError
from monitor.health import Health
from monitor.lists import place_of
from monitor.metrics import Metrics
from monitor.schedule.activity import Activity
from monitor.schedule.plan import Prediction, predict
from monitor.schedule.turns import Lane, Turn, Turns, Wish
from monitor.second_look import Compared, look, next_look
from monitor.source.client import (
    BadRequest,
    Client,
    Endpoint,
    MessageQuery,
    NoAccess,
    SourceError,
    UnknownUser,
)
from monitor.source.pages import Page
from monitor.store.values import Cursor, UserRow
from monitor.trouble import Trouble
from monitor.updates import SIZE, SOONEST, Sweep, changed, sweep
from rules.model import ListId, Message

log = structlog.get_logger(__name__)

SAMPLED: Final = 2000  # lists, for the prediction
LEAST_RATE: Final = 1.0  # requests a minute: with none left no promise can be worked out
TIMER_MARGIN_S: Final = 0.5  # past due + settle + the watermark's own margin


@dataclass(slots=True)
class Looks:
    """When a list is to be looked at beside its polls, in monotonic seconds."""

    back_at: float = math.inf  #: the second look
    changed_at: float = math.inf  #: what changed in place
    sweep: Sweep | None = None  #: where the last look at that left off

    @property
    def at(self) -> float:
        return min(self.back_at, self.changed_at)


class Intake:
    """Polls every list within the allowance and has what it brings accounted for.

    Cancelling it at any moment loses nothing: a page that was not committed is read again.
    """

    def __init__(
        self,
        *,
        client: Client,
        accounts: Accounts,
        allowance: Allowance,
        turns: Turns,
        source: str,
        health: Health,
        metrics: Metrics,
        clock: Clock,
        random: Random,
        page_size: int,
        min_interval: float,
        settle: timedelta,
        look_every: timedelta | None,
        update_every: timedelta | None = None,
        at: Callable[[str], None] = lambda _: None,
        pollers: int,
    ) -> None:
        """How often a list gets its second look, and is asked for what changed in place; None for never."""
        self.accounts = accounts
        self.allowance = allowance
        self._client = client
        self._turns = turns
        self._trouble = Trouble(
            turns=turns, allowance=allowance, health=health, metrics=metrics, clock=clock, random=random
        )
        self._source = source
        self._health = health
        self._metrics = metrics
        self._clock = clock
        self._random = random
        self._page_size = page_size
        self._min_interval = min_interval
        self._settle = settle
        self._look_every = look_every
        self._update_every = update_every
        self._at = at
        self._pollers = pollers
        self._choosing = trio.Lock()
        self._changed = trio.Event()
        self._lists: dict[ListId, Followed] = {}
        self._looks: dict[ListId, Looks] = {}

    # --- who is followed ---------------------------------------------------------------------------------

    def follow(
        self,
        rows: Iterable[UserRow],
        *,
        wishes: Mapping[str, Wish] | None = None,
        new: Collection[ListId] = (),
    ) -> None:
        """Poll these lists from where the store says they are; one followed already is set back to it."""
        arrived = []
        for row in rows:
            before = self._lists.get(row.uid)
            if before is None:
                arrived.append(row)
            self._lists[row.uid] = Followed(
                stored=row.cursor,
                drain=Drain(start_at=row.start_at, cursor=row.cursor),
                is_new=row.uid in new,
            )
            sight = self._health.sight(row.uid)
            if before is not None and before.stored != row.cursor:
                sight.watermark = row.watermark  # what is read again is not seen before it is
            elif row.watermark and (sight.watermark is None or sight.watermark < row.watermark):
                sight.watermark = row.watermark
        self._seat(arrived, wishes or {})
        self._wake()

    def _seat(self, rows: Sequence[UserRow], wishes: Mapping[str, Wish]) -> None:
        now, wall = self._clock.monotonic(), self._clock.wall()
        activities: dict[str, Activity] = {
            row.uid: Activity.unpacked(row.activity, now=now, wall=wall.timestamp())
            for row in rows
            if row.activity
        }
        self._turns.add([row.uid for row in rows], now, wishes=wishes, activities=activities)
        for row in rows:
            self._health.sight(row.uid).since = wall
            self._expect_timers(row.uid)
            self._looks[row.uid] = Looks()
            self._expect_look(row.uid, None)
            self._expect_changes(row.uid, rounds=self._random.random())

    def wish(self, wishes: Mapping[str, Wish]) -> None:
        """Take over other weights and promises of lists that are followed already."""
        now = self._clock.monotonic()
        for uid, wish in wishes.items():
            self._turns.wish(uid, wish, now)

    def unfollow(self, uids: Iterable[ListId]) -> None:
        """Stop polling these lists; their cursors stay in the store."""
        for uid in uids:
            self._lists.pop(uid, None)
            self._looks.pop(uid, None)
            self._health.sights.pop(uid, None)
            self._turns.remove(uid)

    def set_back(self, rows: Iterable[UserRow]) -> None:
        """Read on from the store's cursors where a command changed them. Call it at a standstill."""
        self.follow(
            [row for row in rows if row.uid in self._lists and row.cursor != self.stored_cursor(row.uid)]
        )

    def stored_cursor(self, uid: ListId) -> Cursor:
        """The list's cursor as we believe it stored."""
        followed = self._lists.get(uid)
        return followed.stored if followed else Cursor()

    def __len__(self) -> int:
        return len(self._lists)

    @property
    def followed(self) -> frozenset[ListId]:
        return frozenset(self._lists)

    def follows(self, uid: ListId) -> bool:
        """Whether this list is polled. `followed` copies them all: ask here for one."""
        return uid in self._lists

    def is_behind(self, uid: ListId) -> bool:
        """Whether more rows of this list are known to wait."""
        followed = self._lists.get(uid)
        return followed is not None and (
            followed.drain.reached is not None or followed.drain.cursor.back is not None
        )

    def waiting(self) -> int:
        """Lists whose promise is overdue: they wait for budget, or for a pause to end."""
        return self._turns.overdue(self._clock.monotonic())

    def promise(self, uid: ListId) -> float | None:
        """The age in seconds that the list shall not exceed, as stretched now."""
        return self._turns.staleness(uid) if uid in self._lists else None

    @property
    def stretch(self) -> float:
        """By what all promises are multiplied, so that the budget can keep them."""
        return self._turns.stretch

    def looks_late(self) -> float:
        """For how many seconds the look has been due that waits longest."""
        return self._turns.looks_late(self._clock.monotonic())

    def outlook(self, random: Random) -> Callable[[], Prediction] | None:
        """What works out, in any thread, the detection delay to expect of the present activity and budget.

        None if nothing may be asked.
        """
        now = self._clock.monotonic()
        loads = self._turns.loads(now, most=SAMPLED, random=random)
        rate = self.allowance.budget.granted(now) / 60
        if not loads or rate <= 0:
            return None
        return partial(
            predict, loads, per_second=rate, min_interval=self._min_interval, lists=len(self._lists)
        )

    # --- the loop ----------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Poll for ever. A bug in it ends the process: the last commit makes the restart safe."""
        async with trio.open_nursery() as nursery:
            for number in range(1, self._pollers + 1):
                nursery.start_soon(self._poll_on, name=f"poller {number}")
            task_status.started()

    async def _poll_on(self) -> Never:
        while True:
            async with self._choosing:
                turn, is_probe = await self._next_turn()
            await self._take_turn(turn, is_probe=is_probe)

    async def _next_turn(self) -> tuple[Turn, bool]:
        while True:
            now = self._clock.monotonic()
            self._turns.resize(max(LEAST_RATE, self.allowance.budget.granted(now)) / 60)
            if (wait := self._turns.wait(now)) > 0:
                with trio.move_on_after(max(wait, SHORTEST_WAIT_S)):
                    await self._changed.wait()
            elif granted := await self.allowance.grant(self._turns.take):
                return granted

    async def _take_turn(self, turn: Turn, *, is_probe: bool) -> None:
        uid = ListId(turn.uid)
        try:
            if (followed := self._lists.get(uid)) is None:  # unfollowed a moment ago
                self._trouble.retry(uid, 0.0)
            else:
                await self._poll(uid, followed, turn, is_probe=is_probe)
        except StoreError as error:
            self._trouble.unstored(uid, error)
        except Exception as bug:
            self._trouble.bug(uid, bug)
        finally:
            if uid not in self._lists:  # dropped in the meantime: what became of it concerns nobody
                self._health.sights.pop(uid, None)
            self.allowance.over(is_probe=is_probe)
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # --- one poll ----------------------------------------------------------------------------------------

    async def _poll(self, uid: ListId, followed: Followed, turn: Turn, *, is_probe: bool) -> None:
        """One request and what follows from it. Whatever goes wrong with it is this list's trouble alone."""
        try:
            if turn.lane is not Lane.SECOND_LOOK:
                await self._look_on(uid, followed, turn, is_probe=is_probe)
            elif (looks := self._looks[uid]).changed_at <= looks.back_at:
                await self._look_for_changes(uid, followed, looks, is_probe=is_probe)
            else:
                await self._look_again(uid, followed, is_probe=is_probe)
        except Conflict as conflict:
            log.warning("cursor.changed_elsewhere", user=uid, reason=str(conflict))
            await self._restart_reading(uid)

    async def _look_on(self, uid: ListId, followed: Followed, turn: Turn, *, is_probe: bool) -> None:
        now = self._clock.wall() + self.accounts.skew
        asked = ask(followed.drain, page_size=self._page_size, catch_up=turn.catch_up, now=now)
        if page := await self._fetch(uid, _query(asked), is_probe=is_probe):
            async with self.accounts.turn():
                if self._is_current(uid, followed):
                    await self._read_on(uid, followed, asked, page)

    def _is_current(self, uid: ListId, followed: Followed) -> bool:
        """Whether the answer is to a question that we would still ask."""
        if self._lists.get(uid) is followed:
            return True
        # Unfollowed, or its cursor was set, while the page was on its way.
        self._trouble.retry(uid, 0.0)
        return False

    async def _fetch(self, uid: ListId, query: MessageQuery, *, is_probe: bool) -> Page | None:
        """The page, or None after the failure was dealt with."""
        endpoint, name = place_of(uid, self._source)
        began = self._clock.monotonic()
        try:
            page = await self._client.messages(name, query, endpoint=endpoint)
        except UnknownUser as error:
            self.allowance.answered(is_probe=is_probe)
            self._trouble.unknown(uid, error, endpoint=endpoint)
            await self._close_stranded()
            return None
        except SourceError as error:
            if query.updated_at is not None and isinstance(error, BadRequest | NoAccess):
                self._look_no_more_for_changes(uid, error, endpoint=endpoint, is_probe=is_probe)
            else:
                self._trouble.unanswered(uid, error, endpoint=endpoint, is_probe=is_probe)
            return None
        self._metrics.answered(endpoint, self._clock.monotonic() - began)
        self.accounts.skew = page.skew
        self._health.answered(now=self._clock.wall())
        self.allowance.answered(is_probe=is_probe)
        self.allowance.learn(page.rate, api_now=page.received_at + page.skew)
        self._at("intake.fetched")
        return page

    async def _read_on(self, uid: ListId, followed: Followed, asked: Ask, page: Page) -> None:
        if followed.is_new:
            await self.accounts.correct_start(uid, followed, page.skew)
        is_first = followed.drain.forward_at is None and followed.drain.cursor == Cursor()
        taken = take(followed.drain, asked, read_of(page), settle=self._settle)
        # What was said before the start tells nothing to the rules, but how lively the list is.
        ages = _ages(page.messages if is_first else taken.fresh, page)
        waiting = await self.accounts.take(
            uid, followed, page, taken, activity=self._activity(uid, ages) if taken.fresh else None
        )
        self._ended(uid, ages=ages, more=taken.more, waiting=waiting)

    def _ended(
        self, uid: ListId, *, ages: Sequence[float], more: bool, waiting: Collection[ListId] = ()
    ) -> None:
        self._health.accounted(uid, now=self._clock.wall())
        self._turns.finished(uid, ages=ages, more=more, now=self._clock.monotonic())
        for other in {uid, *waiting}:
            self._expect_timers(other)

    def _activity(self, uid: ListId, ages: Sequence[float]) -> tuple[float, ...] | None:
        """The list's activity as it will be once these rows are believed, for the commit."""
        known, now = self._turns.activity(uid), self._clock.monotonic()
        if known is None:
            return None
        activity = copy(known)
        activity.saw(ages, now)
        return activity.packed(now, self._clock.wall().timestamp())

    # --- a second look -----------------------------------------------------------------------------------

    async def _look_again(self, uid: ListId, followed: Followed, *, is_probe: bool) -> None:
        row = await self.accounts.stored(uid)
        asked = look(record_of(row), followed.drain.cursor) if row else None
        if row is None or asked is None:  # nothing has settled yet: the ordinary road reads all there is
            self._turns.finished(uid, ages=(), more=False, now=self._clock.monotonic())
            self._expect_look(uid, self._clock.wall())
            return
        if page := await self._fetch(uid, _query(asked), is_probe=is_probe):
            async with self.accounts.turn():
                if self._is_current(uid, followed):
                    compared, waiting = await self.accounts.look_again(row, followed, page)
                    self._tell(uid, compared)
                    self._ended(uid, ages=(), more=False, waiting=waiting)
                    self._expect_look(uid, self._clock.wall(), covers=compared.covers)

    def _tell(self, uid: ListId, compared: Compared) -> None:
        rows = len(compared.ids)
        self._metrics.second_looks_total.inc()
        self._metrics.audit_missed_total.inc(rows)
        if rows:
            first, last = min(compared.ids), max(compared.ids)
            log.error("audit.missed", user=uid, rows=rows, first=first, last=last, healed=True)

    def _expect_look(
        self, uid: ListId, looked_at: datetime | None, *, covers: timedelta | None = None
    ) -> None:
        if self._look_every is None:
            return
        wall = self._clock.wall()
        at = next_look(looked_at, wall, every=self._look_every, random=self._random, covers=covers)
        if looks := self._looks.get(uid):  # or it was unfollowed a moment ago
            looks.back_at = self._clock.monotonic() + (at - wall).total_seconds()
            self._turns.look_again(uid, looks.at)

    # --- what changed in place ---------------------------------------------------------------------------

    async def _look_for_changes(
        self, uid: ListId, followed: Followed, looks: Looks, *, is_probe: bool
    ) -> None:
        asked = sweep(looks.sweep, self._clock.wall() + self.accounts.skew)
        query = MessageQuery.changed(asked.since, SIZE, after=asked.after)
        if page := await self._fetch(uid, query, is_probe=is_probe):
            async with self.accounts.turn():
                if self._is_current(uid, followed):
                    drain = followed.drain
                    found = changed(asked, read_of(page), drain.cursor, start_at=drain.start_at)
                    waiting = await self.accounts.take_changed(uid, followed, page, found.messages)
                    looks.sweep = found.sweep
                    self._metrics.changed(found.fates)
                    self._ended(uid, ages=(), more=False, waiting=waiting)
                    self._expect_changes(uid, rounds=0.0 if found.more else 1.0)

    def _look_no_more_for_changes(
        self, uid: ListId, error: SourceError, *, endpoint: Endpoint, is_probe: bool
    ) -> None:
        """CometChat does not take this question. It is one too many: the lists are read on without it."""
        self._metrics.failed(endpoint, error.outcome)
        self.allowance.answered(is_probe=is_probe)
        log.error("updates.refused", reason=str(error), advice="set poll.updates: off, and ask the doctor")
        self._update_every = None
        for other, looks in self._looks.items():
            looks.changed_at = math.inf
            self._turns.look_again(other, looks.at)
        self._turns.finished(uid, ages=(), more=False, now=self._clock.monotonic())

    def _expect_changes(self, uid: ListId, *, rounds: float) -> None:
        """Look for changes after so many times the interval, or a little sooner."""
        looks = self._looks.get(uid)
        if self._update_every is None or looks is None:
            return
        pause = self._update_every.total_seconds() * rounds * self._random.uniform(SOONEST, 1.0)
        looks.changed_at = self._clock.monotonic() + pause
        self._turns.look_again(uid, looks.at)

    # --- timers ------------------------------------------------------------------------------------------

    def _expect_timers(self, uid: ListId) -> None:
        """Have the list polled as soon as its watermark can pass its earliest timer."""
        due = self.accounts.timers.next_due(uid)
        if due is None:
            self._turns.expect_by(uid, math.inf)
            return
        seen_at = due + self._settle + WATERMARK_MARGIN
        wait = (seen_at - (self._clock.wall() + self.accounts.skew)).total_seconds()
        self._turns.expect_by(uid, self._clock.monotonic() + wait + TIMER_MARGIN_S)
        self._wake()

    async def conclude_everywhere(self) -> None:
        """Judge the timers that wait for all lists, if all were read past the earliest of them.

        Raises StoreError; then they wait for the next time.
        """
        due = self.accounts.timers.next_everywhere()
        if due is not None and (least := self.seen_everywhere(past=due)) is not None:
            for uid in await self.accounts.pass_everywhere(least):
                self._expect_timers(uid)

    def seen_everywhere(self, *, past: datetime) -> datetime | None:
        """How far the list that is read least far was read; None if that is not past `past`."""
        least: datetime | None = None
        for uid in self._lists:
            sight = self._health.sight(uid)
            if sight.unknown:
                continue  # nobody writes there
            if sight.watermark is None or sight.watermark <= past:
                return None
            least = sight.watermark if least is None else min(least, sight.watermark)
        return least

    async def _close_stranded(self) -> None:
        """Timers that only unknown or unwatched lists could answer end here, with the reason on record."""
        await self.accounts.close_stranded(
            lambda uid: uid in self._lists and not self._health.sight(uid).unknown,
            "no watched user's list can answer it any more",
        )

    async def _restart_reading(self, uid: ListId) -> None:
        row = await self.accounts.stored(uid)
        if row is None:  # at once would be for ever
            raise StoreError(f"{uid} is not in the store any more; a restart adds it again")
        if uid in self._lists:
            self.follow([row])
        self._trouble.retry(uid, 0.0)


def _ages(messages: Iterable[Message], page: Page) -> tuple[float, ...]:
    """Seconds since each was sent, by the API's clock."""
    now = (page.received_at + page.skew).timestamp()
    return tuple(now - message.sent_at.timestamp() for message in messages)


def _query(asked: Ask) -> MessageQuery:
    if asked.id is None:
        return MessageQuery.newest(asked.size)
    if asked.direction is Direction.APPEND:
        return MessageQuery.after(asked.id, asked.size)
    return MessageQuery.before(asked.id, asked.size)
