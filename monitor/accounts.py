"""Making what was read durable, and only then believing it: pages, ticks and second looks become commits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Container, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeGuard

import structlog
import trio
from msgspec.structs import replace

from monitor.clock import Clock
from monitor.drain import WATERMARK_MARGIN, Drain, Read, Taken
from monitor.evaluation import Evaluated, Orders, calm, evaluate
from monitor.health import Health
from monitor.metrics import Metrics
from monitor.second_look import Compared, Record, begun, compare, looked, remember
from monitor.source.pages import Page
from monitor.store.store import Tx
from monitor.store.values import Commit, Counts, Cursor, Fetched, Reject, Silence, UserRow
from monitor.store.writer import Writer
from monitor.timers import Timers
from monitor.updates import asked_again
from rules.model import ListId, Message, MessageId, StateKey, Status, Tick

log = structlog.get_logger(__name__)

AT_ONCE: Final = 16  # commits under way; as many as there may be requests, more would only wait in line

TICKS: Final = 500  # judged in one transaction: others wait for its end

Nameless = tuple[str | None, str]  # what stands where an id should be, and the structure of the row


@dataclass(slots=True)
class Followed:
    """One list that is read: `drain` may be ahead of what is `stored`."""

    stored: Cursor
    drain: Drain
    is_new: bool  #: its start was taken from our own clock and not yet corrected
    nameless: frozenset[Nameless] = frozenset()  #: undecodable rows of the drain before this one
    meeting: frozenset[Nameless] = frozenset()  #: and in this one so far


class Accounts:
    """Accounts for what was read: evaluates it, commits it, tells the rest of the process what is durable.

    `nudge` is told of the receivers that have something new to send. Every method raises StoreError or
    Conflict when nothing was written, and may be cancelled: then the transaction is durable or not, never
    half, and the page is read again.
    """

    def __init__(
        self,
        *,
        writer: Writer,
        orders: Orders,
        timers: Timers,
        health: Health,
        metrics: Metrics,
        clock: Clock,
        settle: timedelta,
        nudge: Callable[[Iterable[str]], None],
    ) -> None:
        self.orders = orders
        self.silences: tuple[Silence, ...] = ()
        self.timers = timers
        self.skew = timedelta()  #: CometChat's clock minus ours
        self._writer = writer
        self._health = health
        self._metrics = metrics
        self._clock = clock
        self._settle = settle
        self._nudge_receivers = nudge
        self._slots = trio.Semaphore(AT_ONCE)
        self._changing = trio.Lock()

    @asynccontextmanager
    async def standstill(self) -> AsyncIterator[None]:
        """No commit of ours is under way inside: what is read from the store then is what we know.

        For whoever changes orders, timers or places. Requests go on; what they bring waits for the end.
        """
        async with self._changing, AsyncExitStack() as slots:
            for _ in range(AT_ONCE):
                await slots.enter_async_context(self._slots)
            yield

    def turn(self) -> trio.Semaphore:
        """Held while one answer is accounted for, so that a standstill can wait for its end."""
        return self._slots

    # --- a page ------------------------------------------------------------------------------------------

    async def correct_start(self, uid: ListId, user: Followed, skew: timedelta) -> None:
        """A start of "now" was read off our clock before CometChat's was known; corrected once."""
        start_at = user.drain.start_at + (skew if abs(skew) > WATERMARK_MARGIN else timedelta(0))
        await self._writer.submit(lambda tx: tx.set_start(uid, start_at))
        user.drain = replace(user.drain, start_at=start_at)
        user.is_new = False

    async def take(
        self, uid: ListId, user: Followed, page: Page, taken: Taken, *, activity: tuple[float, ...] | None
    ) -> frozenset[ListId]:
        """Make everything of one page durable, then believe it. `activity` is stored if there is news.

        Returns the lists that can answer a timer which began with it.
        """
        rejects = _rejects(uid, user, page)
        asked: frozenset[ListId] = frozenset()
        if taken.fresh or rejects:
            asked |= await self._commit_page(
                uid, user, taken, rejects, activity=activity, brought_by=fetched(uid, page)
            )
        user.drain = taken.drain
        user.meeting |= {
            (row.message_id, row.structure) for row in page.rejects if not is_number(row.message_id)
        }
        if not taken.more:
            user.nameless, user.meeting = user.meeting, frozenset()
        if taken.watermark:
            asked |= await self._pass_watermark(uid, user, taken.watermark, fetched(uid, page))
        self._count(page, taken, rejects)
        return asked

    async def _commit_page(
        self,
        uid: ListId,
        user: Followed,
        taken: Taken,
        rejects: tuple[Reject, ...],
        *,
        activity: tuple[float, ...] | None,
        brought_by: Fetched,
    ) -> frozenset[ListId]:
        concerned = self.orders.concerned(taken.fresh)
        base = Commit(
            uid=uid,
            expected=user.stored,
            cursor=taken.drain.cursor,
            watermark=taken.watermark,
            rejects=rejects,
            activity=activity,
            brought_by=brought_by,
            counts=Counts(
                fetched=len(taken.fresh) + len(rejects),
                evaluated=len(concerned),
                duplicates=taken.duplicates,
                rejected=len(rejects),
            ),
        )
        read = (*(message.id for message in taken.fresh), *_numbers(rejects))
        orders, silences, now, skew = self.orders, self.silences, self._clock.wall(), self.skew
        ahead = self._ahead_of(uid, concerned)

        def work(tx: Tx) -> Evaluated:
            return evaluate(
                tx,
                orders,
                messages=concerned,
                silences=silences,
                now=now,
                commit=replace(base, recent=_with(tx.user(uid), read)),
                skew=skew,
                cost=self._clock.cost,
                ahead=ahead,
            )

        evaluated = await self._writer.submit(work)
        self._metrics.evaluation_seconds.observe(evaluated.seconds)
        user.stored = taken.drain.cursor
        return self._concluded(evaluated)

    def _ahead_of(self, reader: ListId, fresh: Sequence[Message]) -> frozenset[ListId]:
        """The other people of these rows whose lists were read past them already."""
        oldest = min((message.sent_at for message in fresh), default=None)
        people = {uid for message in fresh for uid in message.participants} - {reader}
        marks = {uid: sight.watermark for uid in people if (sight := self._health.sights.get(uid))}
        return frozenset(uid for uid, mark in marks.items() if mark and oldest and mark >= oldest)

    def _count(self, page: Page, taken: Taken, rejects: Sequence[Reject]) -> None:
        self._metrics.page(
            rows=page.rows,
            fresh=taken.fresh,
            duplicates=taken.duplicates,
            rejects=len(rejects),
            api_now=page.received_at + page.skew,
        )

    # --- time passes -------------------------------------------------------------------------------------

    async def _pass_watermark(
        self, uid: ListId, user: Followed, watermark: datetime, brought_by: Fetched
    ) -> frozenset[ListId]:
        sight = self._health.sight(uid)
        if sight.watermark is not None and watermark <= sight.watermark:
            return frozenset()
        sight.watermark = watermark
        stored = user.stored
        base = Commit(uid=uid, expected=stored, cursor=stored, watermark=watermark, brought_by=brought_by)
        return await self._commit_ticks(lambda: self.timers.due(uid, watermark), base)

    async def pass_everywhere(self, watermark: datetime) -> frozenset[ListId]:
        """Judge the timers that wait for all lists: the least far of them was read up to `watermark`.

        Returns the lists that can answer a timer which began with it.
        """
        async with self._slots:
            return await self._commit_ticks(lambda: self.timers.due_everywhere(watermark), Commit())

    async def _commit_ticks(self, due: Callable[[], Iterable[Tick]], base: Commit) -> frozenset[ListId]:
        """Judge what is due, and what starts anew by that and is due as well; no question is asked twice."""
        asked: frozenset[ListId] = frozenset()
        judged: set[Tick] = set()
        while ticks := [tick for tick in due() if tick not in judged]:
            judged.update(ticks)
            for first in range(0, len(ticks), TICKS):
                work = self._judging(ticks[first : first + TICKS], base)
                asked |= self._concluded(await self._writer.submit(work))
        return asked

    async def calm(self, seen: datetime) -> None:
        """End the surges that are over, when every list was read up to `seen`."""
        orders, silences, now = self.orders, self.silences, self._clock.wall()
        async with self._slots:

            def work(tx: Tx) -> Evaluated:
                return calm(tx, orders, silences=silences, seen=seen, now=now)

            self._concluded(await self._writer.submit(work))

    def _judging(self, ticks: Sequence[Tick], base: Commit) -> Callable[[Tx], Evaluated]:
        orders, silences, now, skew = self.orders, self.silences, self._clock.wall(), self.skew
        return lambda tx: evaluate(
            tx, orders, ticks=ticks, silences=silences, now=now, commit=base, skew=skew
        )

    # --- a second look -----------------------------------------------------------------------------------

    async def stored(self, uid: ListId) -> UserRow | None:
        """The list as it is stored now."""
        return await self._writer.submit(lambda tx: tx.user(uid))

    async def look_again(
        self, row: UserRow, user: Followed, page: Page
    ) -> tuple[Compared, frozenset[ListId]]:
        """Compare a page that was read backwards with what was read of the list, and heal what was missed.

        `row` is the list as it was stored before the page was asked for; Conflict if it was moved since. What
        has settled in the meantime is compared too, and stored: of a quiet list nothing else would tell.
        Rows that were missed are evaluated now, on the ordinary road: what was told of them through another
        list is not told again.
        """
        record, cursor = record_of(row), user.drain.cursor
        compared = compare(read_of(page), record, cursor, start_at=user.drain.start_at)
        missed = self.orders.concerned(compared.missed)
        rejects = _as_rejects(row.uid, page, {str(id_) for id_ in compared.rejects})
        commit = Commit(
            uid=row.uid,
            expected=user.stored,
            cursor=cursor,
            recent=looked(remember(record, compared.ids), cursor) if compared.is_comparable else record,
            looked_at=self._clock.wall(),
            brought_by=replace(fetched(row.uid, page), second_look=True),
            rejects=rejects,
            counts=Counts(
                fetched=len(compared.missed) + len(rejects), evaluated=len(missed), rejected=len(rejects)
            ),
        )
        orders, silences, now, skew = self.orders, self.silences, self._clock.wall(), self.skew

        def work(tx: Tx) -> Evaluated:
            return evaluate(tx, orders, messages=missed, silences=silences, now=now, commit=commit, skew=skew)

        evaluated = await self._writer.submit(work)
        user.stored = cursor
        return compared, self._concluded(evaluated)

    # --- rows that changed in place -----------------------------------------------------------------------

    async def take_changed(
        self, uid: ListId, user: Followed, page: Page, messages: Sequence[Message]
    ) -> frozenset[ListId]:
        """Evaluate once more rows that were read before and changed since; the list's place stays.

        Returns the lists that can answer a timer which began with it.
        """
        concerned = self.orders.concerned(messages)
        if not concerned:
            return frozenset()
        commit = Commit(
            uid=uid,
            expected=user.stored,
            cursor=user.stored,
            brought_by=replace(fetched(uid, page), changed=True),
        )
        orders, silences, now, skew = self.orders, self.silences, self._clock.wall(), self.skew
        rules = asked_again(orders.rules)

        def work(tx: Tx) -> Evaluated:
            return evaluate(
                tx,
                orders,
                messages=concerned,
                silences=silences,
                now=now,
                commit=commit,
                skew=skew,
                rules=rules,
            )

        return self._concluded(await self._writer.submit(work))

    # --- timers ------------------------------------------------------------------------------------------

    async def close_stranded(self, is_readable: Callable[[ListId], bool], reason: str) -> None:
        """End without concluding the timers of which no list can be read.

        What was started anew, concluded or closed in the meantime is left as it is. After a StoreError they
        stay and are tried again later.
        """
        async with self._slots:
            stranded = self.timers.stranded(is_readable)
            if not stranded:
                return

            def work(tx: Tx) -> list[StateKey]:
                pending = {timer.key: timer for timer in tx.timers()}
                closed = [timer.key for timer in stranded if pending.get(timer.key) == timer]
                for key in closed:
                    tx.close_timer(key, reason)
                return closed

            self.timers.apply((), await self._writer.submit(work))

    def _concluded(self, evaluated: Evaluated) -> frozenset[ListId]:
        """The transaction is durable: let the rest of the process know."""
        self._health.committed(self._clock.wall())
        self._metrics.store_writable.set(1)
        self.timers.apply(evaluated.outcome.timers, evaluated.outcome.cancelled)
        for fault in evaluated.outcome.faults:
            self._metrics.rule_faults_total.labels(fault.rule).inc()
            log.error("rule.failed", rule=fault.rule, message_id=fault.message_id, error=fault.error)
        fresh = evaluated.committed.fresh
        for finding in fresh:
            self._metrics.rule_matches_total.labels(finding.alert.rule).inc()
            if finding.alert.status is Status.FIRING and not finding.alert.revision:
                self._metrics.rule_alerts_total.labels(finding.alert.rule, finding.fate.value).inc()
            log.info(
                f"alert.{finding.alert.status.value}",
                alert=finding.alert.id,
                rule=finding.alert.rule,
                severity=finding.alert.severity.value,
                fate=finding.fate.value,
                receivers=[route.receiver for route in finding.routes if route.receiver],
            )
        for rule, band in evaluated.paced.bands.items():
            self._metrics.band(rule, usual=band.usual, limit=band.limit)
        self._nudge_receivers({route.receiver for finding in fresh for route in finding.routes})
        return frozenset(uid for timer in evaluated.outcome.timers for uid in timer.lists)


def _rejects(uid: ListId, user: Followed, page: Page) -> tuple[Reject, ...]:
    """The undecodable rows not met before; one without an id is known by its structure while in sight."""
    known = {str(seen.id) for seen in user.drain.cursor.above}
    nameless = user.nameless | user.meeting
    fresh = {
        row.message_id
        for row in page.rejects
        if row.message_id not in known and (row.message_id, row.structure) not in nameless
    }
    return _as_rejects(uid, page, fresh)


def _as_rejects(uid: ListId, page: Page, ids: Container[str | None]) -> tuple[Reject, ...]:
    return tuple(
        Reject(
            uid=uid,
            message_id=row.message_id,
            reason=row.reason,
            structure=row.structure,
            at=page.received_at,
        )
        for row in page.rejects
        if row.message_id in ids
    )


def record_of(row: UserRow) -> Record:
    """What was read of a list; one that is not on record yet begins at its cursor."""
    return begun(row.cursor) if row.recent is None else row.recent


def _with(row: UserRow | None, read: Iterable[MessageId]) -> Record | None:
    return None if row is None else remember(record_of(row), read)


def _numbers(rejects: Iterable[Reject]) -> tuple[MessageId, ...]:
    return tuple(MessageId(int(row.message_id)) for row in rejects if is_number(row.message_id))


def fetched(uid: ListId, page: Page) -> Fetched:
    """Where a page came from and when, for the record."""
    return Fetched(list=uid, asked_at=page.started_at, received_at=page.received_at, skew=page.skew)


def read_of(page: Page) -> Read:
    """A page in the words of the drain."""
    return Read(
        rows=page.rows,
        size=page.size,
        messages=page.messages,
        reject_ids=tuple(MessageId(int(row.message_id)) for row in page.rejects if is_number(row.message_id)),
        started_at=page.started_at,
    )


def is_number(id_: str | None) -> TypeGuard[str]:
    return id_ is not None and id_.isdigit()
