"""From a turn to a commit: fetch, dedupe, step, commit, reschedule. A bounded number of polls at once."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Final, Never, TypeGuard

import structlog
import trio
from msgspec.structs import replace

from monitor.clock import Clock
from monitor.drain import WATERMARK_MARGIN, Ask, Direction, Drain, Read, Taken, ask, take
from monitor.errors import Conflict, StoreError
from monitor.evaluation import Evaluated, Orders, evaluate
from monitor.health import Health
from monitor.metrics import Metrics
from monitor.schedule.budget import Budget, Gate
from monitor.schedule.turns import Turn, Turns, backoff
from monitor.source.client import (
    BadKey,
    BadRequest,
    BadResponse,
    Client,
    Endpoint,
    MessageQuery,
    NoAccess,
    RateLimited,
    ServerError,
    SourceError,
    UnknownUser,
    Unreachable,
)
from monitor.source.pages import Page
from monitor.store.store import Tx
from monitor.store.values import Commit, Counts, Cursor, Mute, Reject, UserRow
from monitor.store.writer import Writer
from monitor.timers import Timers
from rules.engine import place_of
from rules.model import Message, MessageId, StateKey, Tick, UserId

log = structlog.get_logger(__name__)

POLLERS: Final = 16  # one page takes 0.1 to 0.5 s, so this covers the largest quota of one app
KEY_PROBE_S: Final = 30.0  # a refused key: one request per this time, with the key file read again
PAUSE_DEFAULT_S: Final = 60.0  # a 429 without Retry-After; the API's own documentation says 60 s
PAUSE_MOST_S: Final = 300.0  # an absurd Retry-After must not blind us for hours
UNKNOWN_FIRST_S: Final = 60.0  # a user who was only just created
UNKNOWN_MOST_S: Final = 3600.0
TIMER_MARGIN_S: Final = 0.5  # past due + settle + the watermark's own margin
SHORTEST_WAIT_S: Final = 0.001  # below it a float deadline may not lie after the present

OUTCOMES: Final[Mapping[type[SourceError], str]] = {
    RateLimited: "rate_limited",
    BadKey: "bad_key",
    NoAccess: "no_access",
    UnknownUser: "unknown_user",
    BadRequest: "bad_request",
    BadResponse: "bad_response",
    ServerError: "server_error",
    Unreachable: "unreachable",
}


Nameless = tuple[str | None, str]  # what stands where an id should be, and the structure of the row


@dataclass(slots=True)
class Followed:
    """One watched user's reading: `drain` may be ahead of what is `stored`."""

    stored: Cursor
    drain: Drain
    is_new: bool  #: its start was taken from our own clock and not yet corrected
    nameless: frozenset[Nameless] = frozenset()  #: undecodable rows of the drain before this one
    meeting: frozenset[Nameless] = frozenset()  #: and in this one so far


class Intake:
    """Polls every watched user within the budget and commits what the rules make of it.

    Cancelling it at any moment loses nothing: a page that was not committed is read again.
    """

    def __init__(
        self,
        *,
        client: Client,
        writer: Writer,
        orders: Orders,
        endpoint: Endpoint,
        turns: Turns,
        budget: Budget,
        timers: Timers,
        health: Health,
        metrics: Metrics,
        clock: Clock,
        random: Random,
        page_size: int,
        settle: timedelta,
        nudge: Callable[[Iterable[str]], None],
        at: Callable[[str], None] = lambda _: None,
        pollers: int = POLLERS,
    ) -> None:
        self.orders = orders
        self.mutes: tuple[Mute, ...] = ()
        self.gate = Gate()
        self.budget = budget
        self.timers = timers
        self._client = client
        self._writer = writer
        self._endpoint = endpoint
        self._turns = turns
        self._health = health
        self._metrics = metrics
        self._clock = clock
        self._random = random
        self._page_size = page_size
        self._settle = settle
        self._nudge_receivers = nudge
        self._at = at
        self._slots = trio.Semaphore(pollers)
        self._commits = trio.Semaphore(pollers)
        self._pollers = pollers
        self._changing = trio.Lock()
        self._changed = trio.Event()
        self._users: dict[UserId, Followed] = {}
        self.skew = timedelta()  #: CometChat's clock minus ours

    # --- who is followed ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def standstill(self) -> AsyncIterator[None]:
        """No commit of ours is under way inside: what is read from the store then is what we know.

        For whoever changes orders, timers or places. Requests go on; what they bring waits for the end.
        """
        async with self._changing, AsyncExitStack() as commits:
            for _ in range(self._pollers):
                await commits.enter_async_context(self._commits)
            yield

    def follow(self, rows: Iterable[UserRow], *, new: frozenset[UserId] = frozenset()) -> None:
        """Poll these users from where the store says they are; one followed already is set back to it."""
        arrived = []
        for row in rows:
            if row.uid not in self._users:
                arrived.append(row.uid)
            self._users[row.uid] = Followed(
                stored=row.cursor,
                drain=Drain(start_at=row.start_at, cursor=row.cursor),
                is_new=row.uid in new,
            )
            sight = self._health.sight(row.uid)
            if row.watermark and (sight.watermark is None or sight.watermark < row.watermark):
                sight.watermark = row.watermark
        now = self._clock.monotonic()
        self._turns.add(arrived, now)
        for uid in arrived:
            self._health.sight(uid).since = self._clock.wall()
            self._expect_timers(uid)
        self._wake()

    def unfollow(self, uids: Iterable[UserId]) -> None:
        """Stop polling these users; their cursors stay in the store."""
        for uid in uids:
            self._users.pop(uid, None)
            self._health.sights.pop(uid, None)
            self._turns.remove(uid)

    def set_back(self, rows: Iterable[UserRow]) -> None:
        """Read on from the store's cursors where a command changed them. Call it at a standstill."""
        self.follow(
            [row for row in rows if row.uid in self._users and row.cursor != self.stored_cursor(row.uid)]
        )

    def stored_cursor(self, uid: UserId) -> Cursor:
        """The user's cursor as we believe it stored."""
        user = self._users.get(uid)
        return user.stored if user else Cursor()

    @property
    def followed(self) -> frozenset[UserId]:
        return frozenset(self._users)

    def is_behind(self, uid: UserId) -> bool:
        """Whether more rows of this user are known to wait."""
        user = self._users.get(uid)
        return user is not None and (user.drain.reached is not None or user.drain.cursor.back is not None)

    def waiting(self) -> int:
        """Users that are due and wait for budget, or for a pause to end."""
        return self._turns.overdue(self._clock.monotonic())

    # --- the loop ----------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> Never:
        """Poll for ever. A bug in it ends the process: the last commit makes the restart safe."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                await self._slots.acquire()
                turn, is_probe = await self._next_turn()
                nursery.start_soon(self._take_turn, turn, is_probe, name=f"poll {turn.uid}")

    async def _next_turn(self) -> tuple[Turn, bool]:
        while True:
            now = self._clock.monotonic()
            wait = max(self._turns.wait(now), self.budget.wait(now), self.gate.wait(now))
            if wait <= 0 and (turn := self._turns.take(now)):
                self.budget.take(now)
                return turn, self.gate.take()
            with trio.move_on_after(max(wait, SHORTEST_WAIT_S)):
                await self._changed.wait()

    async def _take_turn(self, turn: Turn, is_probe: bool) -> None:  # noqa: FBT001 - start_soon passes by place
        uid = UserId(turn.uid)
        try:
            if (user := self._users.get(uid)) is not None:
                await self._poll(uid, user, turn, is_probe=is_probe)
            else:
                self._retry(uid, 0.0)
        finally:
            if is_probe:
                self.gate.inconclusive()  # unless it was answered or refused; or the gate stays shut for ever
            self._slots.release()
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # --- one poll ----------------------------------------------------------------------------------------

    async def _poll(self, uid: UserId, user: Followed, turn: Turn, *, is_probe: bool) -> None:
        """One request and what follows from it. Whatever goes wrong with it is this user's trouble alone."""
        try:
            await self._read_on(uid, user, turn, is_probe=is_probe)
        except StoreError as error:
            self._store_failed(uid, error)
        except Exception as bug:
            # Let out, it would end the process, meet the same row at the next start, and nobody would be
            # watched any more. So the user fails in plain sight, its page stays unread, the others go on.
            self._met_bug(uid, bug)

    async def _read_on(self, uid: UserId, user: Followed, turn: Turn, *, is_probe: bool) -> None:
        asked = ask(
            user.drain, page_size=self._page_size, catch_up=turn.catch_up, now=self._clock.wall() + self.skew
        )
        began = self._clock.monotonic()
        try:
            page = await self._client.messages(uid, _query(asked), endpoint=self._endpoint)
        except SourceError as error:
            await self._hold_back(uid, error, is_probe=is_probe)
            return
        self._metrics.poll_seconds.observe(self._clock.monotonic() - began)
        self._answered(page, is_probe=is_probe)
        self._at("intake.fetched")
        try:
            async with self._commits:
                await self._account(uid, user, asked, page)
        except Conflict as conflict:
            log.warning("cursor.changed_elsewhere", user=uid, reason=str(conflict))
            await self._restart_reading(uid)

    async def _account(self, uid: UserId, user: Followed, asked: Ask, page: Page) -> None:
        """Make everything of one page durable, then believe it."""
        if self._users.get(uid) is not user:
            # Unfollowed, or its cursor was set, while the page was on its way: an answer to an old question.
            self._retry(uid, 0.0)
            return
        if user.is_new:
            await self._correct_start(uid, user, page.skew)
        taken = take(user.drain, asked, _read(page), settle=self._settle)
        rejects = self._rejects(uid, user, page)
        if taken.fresh or rejects:
            await self._commit_page(uid, user, taken, rejects)
        user.drain = taken.drain
        user.meeting |= {
            (row.message_id, row.structure) for row in page.rejects if not _is_number(row.message_id)
        }
        if not taken.more:
            user.nameless, user.meeting = user.meeting, frozenset()
        if taken.watermark:
            await self._pass_watermark(uid, user, taken.watermark)
        self._health.accounted(uid, now=self._clock.wall())
        self._count(page, taken, rejects)
        now = self._clock.monotonic()
        api_now = self._clock.wall() + self.skew
        ages = [(api_now - message.sent_at).total_seconds() for message in taken.fresh]
        self._turns.finished(uid, ages=ages, more=taken.more, now=now)
        self._expect_timers(uid)

    def _answered(self, page: Page, *, is_probe: bool) -> None:
        self.skew = page.skew
        self._health.answered(now=self._clock.wall())
        self._metrics.requests_total.labels(self._endpoint.value, "ok").inc()
        if is_probe:
            self._resume()

    def _resume(self) -> None:
        log.info("source.resumed", paused_for=self.gate.reason)
        self.gate.open()

    async def _correct_start(self, uid: UserId, user: Followed, skew: timedelta) -> None:
        """A start of "now" was read off our clock before CometChat's was known; corrected once."""
        start_at = user.drain.start_at + (skew if abs(skew) > WATERMARK_MARGIN else timedelta(0))
        await self._writer.submit(lambda tx: tx.set_start(uid, start_at))
        user.drain = replace(user.drain, start_at=start_at)
        user.is_new = False

    def _rejects(self, uid: UserId, user: Followed, page: Page) -> tuple[Reject, ...]:
        """The undecodable rows not met before; one without an id is known by its structure while in sight."""
        known = {str(seen.id) for seen in user.drain.cursor.above}
        nameless = user.nameless | user.meeting
        return tuple(
            Reject(
                uid=uid,
                message_id=row.message_id,
                reason=row.reason,
                structure=row.structure,
                at=page.received_at,
            )
            for row in page.rejects
            if row.message_id not in known and (row.message_id, row.structure) not in nameless
        )

    async def _commit_page(
        self, uid: UserId, user: Followed, taken: Taken, rejects: tuple[Reject, ...]
    ) -> None:
        base = Commit(
            uid=uid,
            expected=user.stored,
            cursor=taken.drain.cursor,
            watermark=taken.watermark,
            rejects=rejects,
            counts=Counts(
                fetched=len(taken.fresh) + len(rejects), evaluated=len(taken.fresh), rejected=len(rejects)
            ),
        )
        orders, mutes, now, skew = self.orders, self.mutes, self._clock.wall(), self.skew
        ahead = self._ahead_of(uid, taken.fresh)

        def work(tx: Tx) -> Evaluated:
            return evaluate(
                tx,
                orders,
                messages=taken.fresh,
                mutes=mutes,
                now=now,
                commit=base,
                skew=skew,
                cost=self._clock.cost,
                ahead=ahead,
            )

        evaluated = await self._writer.submit(work)
        self._metrics.evaluation_seconds.observe(evaluated.seconds)
        self._concluded(evaluated)
        user.stored = taken.drain.cursor

    def _ahead_of(self, reader: UserId, fresh: Sequence[Message]) -> frozenset[UserId]:
        """The other people of these rows whose lists were read past them already."""
        oldest = min((message.sent_at for message in fresh), default=None)
        people = {uid for message in fresh for uid in message.participants} - {reader}
        marks = {uid: sight.watermark for uid in people if (sight := self._health.sights.get(uid))}
        return frozenset(uid for uid, mark in marks.items() if mark and oldest and mark >= oldest)

    async def _pass_watermark(self, uid: UserId, user: Followed, watermark: datetime) -> None:
        sight = self._health.sight(uid)
        if sight.watermark is not None and watermark <= sight.watermark:
            return
        sight.watermark = watermark
        if ticks := self.timers.due(uid, watermark):
            await self._commit_ticks(uid, user, ticks, watermark)

    async def _commit_ticks(
        self, uid: UserId, user: Followed, ticks: Sequence[Tick], watermark: datetime
    ) -> None:
        base = Commit(uid=uid, expected=user.stored, cursor=user.stored, watermark=watermark)
        orders, mutes, now, skew = self.orders, self.mutes, self._clock.wall(), self.skew

        def work(tx: Tx) -> Evaluated:
            return evaluate(tx, orders, ticks=ticks, mutes=mutes, now=now, commit=base, skew=skew)

        self._concluded(await self._writer.submit(work))

    def _concluded(self, evaluated: Evaluated) -> None:
        """The transaction is durable: let the rest of the process know."""
        self._health.committed(self._clock.wall())
        self._metrics.store_writable.set(1)
        self.timers.apply(evaluated.outcome.timers, evaluated.outcome.cancelled)
        for uid in {uid for timer in evaluated.outcome.timers for uid in timer.lists}:
            self._expect_timers(uid)
        for fault in evaluated.outcome.faults:
            self._metrics.rule_faults_total.labels(fault.rule).inc()
            log.error("rule.failed", rule=fault.rule, message_id=fault.message_id, error=fault.error)
        fresh = evaluated.committed.fresh
        for finding in fresh:
            self._metrics.rule_matches_total.labels(finding.alert.rule).inc()
            log.info(
                f"alert.{finding.alert.status.value}",
                alert=finding.alert.id,
                rule=finding.alert.rule,
                severity=finding.alert.severity.value,
                receivers=[route.receiver for route in finding.routes if route.receiver],
            )
        self._nudge_receivers({route.receiver for finding in fresh for route in finding.routes})

    def _count(self, page: Page, taken: Taken, rejects: Sequence[Reject]) -> None:
        self._metrics.polls_total.labels("rows" if page.rows else "empty").inc()
        self._metrics.duplicates_total.inc(taken.duplicates)
        self._metrics.rejects_total.inc(len(rejects))
        api_now = page.received_at + page.skew
        for message in taken.fresh:
            self._metrics.message(message.category, message.type).inc()
            delay = (api_now - message.sent_at).total_seconds()
            self._metrics.detection_delay_seconds.observe(max(0.0, delay))

    def _expect_timers(self, uid: UserId) -> None:
        """Have the user polled as soon as its watermark can pass its earliest timer."""
        due = self.timers.next_due(uid)
        if due is None or self._health.failures(uid):  # who fails is left alone, timers or not
            self._turns.expect_by(uid, math.inf)
            return
        seen_at = due + self._settle + WATERMARK_MARGIN
        wait = (seen_at - (self._clock.wall() + self.skew)).total_seconds()
        self._turns.expect_by(uid, self._clock.monotonic() + wait + TIMER_MARGIN_S)
        self._wake()

    # --- when it does not work ---------------------------------------------------------------------------

    async def _hold_back(self, uid: UserId, error: SourceError, *, is_probe: bool) -> None:
        outcome = OUTCOMES.get(type(error), "bad_response")
        self._metrics.requests_total.labels(self._endpoint.value, outcome).inc()
        self._metrics.polls_total.labels(outcome).inc()
        if isinstance(error, UnknownUser):
            await self._leave_unknown(uid, error, is_probe=is_probe)
            return
        soon = self._pause(uid, error)
        failures = self._health.failed(uid, error=str(error), now=self._clock.wall())
        retry_in = soon or backoff(failures, random=self._random)
        # Who is next in line behind a closed gate waits for it, like everybody.
        told = max(retry_in, self.gate.wait(self._clock.monotonic())) if soon else retry_in
        log.warning("poll.failed", user=uid, retry_in_s=round(told, 1), reason=str(error))
        self._retry(uid, retry_in)

    async def _leave_unknown(self, uid: UserId, error: UnknownUser, *, is_probe: bool) -> None:
        """Ask for this user seldom, and end the timers that nobody else's list can answer."""
        if is_probe:
            self._resume()
        failures = self._health.unknown_user(uid, error=str(error), now=self._clock.wall())
        await self._close_stranded()
        retry_in = backoff(failures, random=self._random, first=UNKNOWN_FIRST_S, most=UNKNOWN_MOST_S)
        log.warning("user.unknown", user=uid, retry_in_s=round(retry_in), reason=str(error))
        self._retry(uid, retry_in)

    def _pause(self, uid: UserId, error: SourceError) -> float | None:
        """Close the gate if the refusal concerns everybody; then the user is next in line again."""
        now = self._clock.monotonic()
        # 1. too many requests  2. the key is refused  3. this user's own trouble
        match error:
            case RateLimited():
                asked = error.retry_after.total_seconds() if error.retry_after else PAUSE_DEFAULT_S
                self.gate.close(now=now, seconds=min(max(asked, 1.0), PAUSE_MOST_S), reason="rate limit")
            case BadKey() | NoAccess() if not self._health.fails_alone(uid):
                self.gate.close(now=now, seconds=KEY_PROBE_S, reason="the API key was refused")
            case _:
                return None
        return 1.0

    def _store_failed(self, uid: UserId, error: StoreError) -> None:
        """Keep the page unread and try again: what can't be remembered must not be believed."""
        self._metrics.store_writable.set(0)
        self._metrics.polls_total.labels("store_error").inc()
        failures = self._health.store_failed(uid, error=str(error))
        retry_in = backoff(failures, random=self._random, most=30.0)
        log.error("commit.failed", user=uid, retry_in_s=round(retry_in, 1), reason=str(error))
        self._retry(uid, retry_in)

    def _met_bug(self, uid: UserId, bug: Exception) -> None:
        self._metrics.polls_total.labels("bug").inc()
        where = place_of(bug)  # its own text may quote a message
        failures = self._health.stumbled(uid, error=f"bug: {where}")
        retry_in = backoff(failures, random=self._random)
        log.error("poll.bug", user=uid, retry_in_s=round(retry_in, 1), error=where)
        self._retry(uid, retry_in)

    def _retry(self, uid: UserId, retry_in: float) -> None:
        self._turns.failed(uid, retry_in=retry_in, now=self._clock.monotonic())

    async def _restart_reading(self, uid: UserId) -> None:
        row = await self._writer.submit(lambda tx: tx.user(uid))
        if row is not None and uid in self._users:
            self.follow([row])
        self._retry(uid, 0.0)

    async def _close_stranded(self) -> None:
        """Timers that only unknown or unwatched users could answer end here, with the reason on record."""
        readable = {uid for uid in self._users if not self._health.sight(uid).unknown}
        await self.close_timers(
            self.timers.stranded(readable), "no watched user's list can answer it any more"
        )

    async def close_timers(self, keys: Sequence[StateKey], reason: str) -> None:
        """End timers without concluding. After a StoreError they stay and are tried again later."""
        if not keys:
            return

        def work(tx: Tx) -> None:
            for key in keys:
                tx.close_timer(key, reason)

        async with self._commits:
            await self._writer.submit(work)
            self.timers.apply((), keys)


def _is_number(id_: str | None) -> TypeGuard[str]:
    return id_ is not None and id_.isdigit()


def _query(asked: Ask) -> MessageQuery:
    if asked.id is None:
        return MessageQuery.newest(asked.size)
    if asked.direction is Direction.APPEND:
        return MessageQuery.after(asked.id, asked.size)
    return MessageQuery.before(asked.id, asked.size)


def _read(page: Page) -> Read:
    return Read(
        rows=page.rows,
        size=page.size,
        messages=page.messages,
        reject_ids=tuple(
            MessageId(int(row.message_id)) for row in page.rejects if _is_number(row.message_id)
        ),
        started_at=page.started_at,
    )
