"""Takes what waits in the outbox to its receiver: claim, send, settle, for ever.

The table is the truth. A claim stores the notification's id before the first send; a settlement is stored
before the next claim. Whatever happens in between (a crash, a cancellation, a store that can't be written)
leaves a lease that runs out, and the same notification is sent again under the same id.

While no news waits, what the receiver shows is kept true: brought up to date, repeated, said again. For
that nothing is claimed: what is due stays due until it was told, each time under the same id.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Final, Protocol, assert_never

import structlog
import trio

from monitor.clock import Clock
from monitor.delivery.backoff import Pace, next_attempt, next_telling
from monitor.delivery.breaker import PROBED, SOUND, Breaker, Condition
from monitor.delivery.bundling import MAX_BATCH_BYTES, STORM, bundle
from monitor.delivery.render.disclosure import disclose
from monitor.delivery.showing import shows
from monitor.delivery.sinks.base import Delivered, Refused, RetryAfter, Settlement, Sink
from monitor.delivery.values import Receiver
from monitor.errors import StoreError
from monitor.store.store import Tx
from monitor.store.values import Bundle, Change, Kind, Notification, Shown, Waiting
from monitor.store.writer import Writer
from rules.model import Alert, Severity, Status, Value

POLL_S: Final = 5.0
"""The table is looked at this often even if nobody nudges: a command or a lost hint waits no longer."""

SETTLE_S: Final = 5.0
"""A send that ended is recorded even while we are being cancelled, if the store manages it in this time."""

_STORE_RETRY_S: Final = 1.0
_MARGIN_S: Final = 5.0  # between the end of a slow send with its settlement and the end of its lease

log = structlog.get_logger(__name__)


class Observer(Protocol):
    """Hears what became of sends; metrics are behind it."""

    def on_delivered(self, receiver: str, delay_s: float) -> None:
        """One alert was accepted, `delay_s` after it was found."""
        ...

    def on_outcome(self, receiver: str, outcome: str) -> None:
        """One send of news ended: "delivered", "retry" or "dead"."""
        ...

    def on_standing(self, receiver: str, change: str, outcome: str) -> None:
        """One send without news, by why it was sent, ended: "delivered", "retry" or "refused"."""
        ...


class Unobserved:
    def on_delivered(self, receiver: str, delay_s: float) -> None: ...
    def on_outcome(self, receiver: str, outcome: str) -> None: ...
    def on_standing(self, receiver: str, change: str, outcome: str) -> None: ...


class Lately(Value, frozen=True, kw_only=True):
    """What a receiver was told within `STORM`: the monotonic seconds at which it was accepted."""

    summaries: tuple[float, ...] = ()
    criticals: tuple[float, ...] = ()  #: each by itself

    def at(self, now: float) -> Lately:
        since = now - STORM.total_seconds()
        return Lately(
            summaries=tuple(moment for moment in self.summaries if moment > since),
            criticals=tuple(moment for moment in self.criticals if moment > since),
        )

    def told(self, notification: Notification, now: float) -> Lately:
        is_summary = notification.kind is Kind.SUMMARY
        alone = notification.alerts if notification.kind is Kind.ALERTS else ()
        is_critical = any(one.severity is Severity.CRITICAL and one.status is Status.FIRING for one in alone)
        return Lately(
            summaries=(*self.summaries, now) if is_summary else self.summaries,
            criticals=(*self.criticals, now) if is_critical else self.criticals,
        ).at(now)


class Deliverer:
    """Delivers one receiver's notifications, one after the other.

    Receivers have a deliverer each and share nothing, so one that is slow or down never delays another.
    Within a receiver a single send at a time keeps the order of the outbox; machines get their throughput
    from batches, not from parallel requests that could overtake each other.
    """

    def __init__(
        self,
        *,
        receiver: Receiver,
        sink: Sink,
        writer: Writer,
        clock: Clock,
        random: Random,
        at: Callable[[str], None] = lambda _: None,
        observer: Observer | None = None,
        held_until: Callable[[Alert], datetime | None] = lambda _: None,
        poll_s: float = POLL_S,
    ) -> None:
        """`held_until` says until when a silence holds an alert, if one does: it is not repeated meanwhile.

        `poll_s`: how often the table is looked at unasked. With infinity, only a nudge tells of news.
        """
        self._receiver = receiver
        self._sink = sink
        self._writer = writer
        self._clock = clock
        self._random = random
        self._at = at
        self._observer = observer or Unobserved()
        self._held_until = held_until
        self._poll_s = poll_s
        self._lease = timedelta(seconds=receiver.timeout_s + SETTLE_S + _MARGIN_S)
        self._pace = Pace(per_s=receiver.rate_per_s, burst=receiver.burst)
        self._breaker = SOUND
        self._lately = Lately()
        self._answered_at: datetime | None = None
        self._nudged = trio.Event()
        self._finishing = trio.Event()
        self._log = log.bind(receiver=receiver.name)

    def nudge(self) -> None:
        """A hint that something new waits: saves time, and nothing is lost without it."""
        self._nudged.set()

    def finish(self) -> None:
        """Let `run` return as soon as nothing can be sent at once. Retries are left to the next start."""
        self._finishing.set()
        self._nudged.set()

    def condition(self) -> Condition:
        """How the receiver fares just now."""
        return condition(self._breaker, self._clock, answered_at=self._answered_at)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Deliver until cancelled or finished.

        Cancelled during a send, it leaves that notification claimed: it is sent again, with the same id,
        when its lease has run out. Cancelled after a send, it still records what came of it.
        """
        task_status.started()
        while await self._may_send():
            self._nudged = trio.Event()  # before the claim: a nudge during it must not be lost
            notification, due = await self._claim()
            if notification is not None:
                await self._deliver(notification)
            elif self._finishing.is_set():
                return
            else:
                await self._idle(due)

    async def _may_send(self) -> bool:
        """Wait until the receiver's rate and its own wishes allow a send; False if we finish before."""
        # Before the claim, not after: what comes in meanwhile may be summed up.
        with trio.move_on_after(max(0.0, self._breaker.rests_until - self._clock.monotonic())):
            await self._finishing.wait()
        if self._clock.monotonic() < self._breaker.rests_until:
            return False
        await trio.sleep(self._pace.wait(self._clock.monotonic()))
        return True

    async def _claim(self) -> tuple[Notification | None, datetime | None]:
        """The next notification, or when the next one is due."""
        receiver, now = self._receiver.name, self._clock.wall()
        choose, probes = self._choice(now), PROBED if self._breaker.is_open else None
        claimed = partial(
            Tx.claim,
            receiver=receiver,
            now=now,
            lease=self._lease,
            most_groups=self._most_groups(),
            most_bytes=self._most_bytes(),
        )

        def claim(tx: Tx) -> tuple[Notification | None, datetime | None]:
            notification = claimed(tx, choose=choose, most_claimed=probes)
            if notification is None and probes:
                # Nothing that is due can serve as a probe: what waits for its retry will do.
                notification = claimed(tx, choose=_nothing, most_claimed=1)
            if notification is None:
                held = self._held_until
                notification = tx.claim_standing(receiver, now=now, most=self._most(), held_until=held)
            return notification, None if notification else tx.next_due(receiver)

        try:
            return await self._writer.submit(claim)
        except StoreError as exc:
            # Without a stored id nothing may be sent. The store's state is shown by readiness.
            self._log.error("delivery.claim_failed", error=str(exc))
            return None, None

    def _choice(self, now: datetime) -> Callable[[Sequence[Waiting]], Bundle | None]:
        receiver, lately = self._receiver, self._lately.at(self._clock.monotonic())
        return partial(
            bundle,
            people=self._sink.traits.people,
            summary_over=receiver.summary_over,
            batch=self._batch(),
            gather=receiver.gather,
            now=now,
            summed_before=len(lately.summaries),
            criticals_before=len(lately.criticals),
        )

    def _batch(self) -> int:
        """Most alerts in one body that a machine is sent."""
        return min(self._receiver.batch, self._sink.traits.most or self._receiver.batch)

    def _most_groups(self) -> int | None:
        """If more groups are due, what waits of them is summed up: so many messages are a storm too."""
        return self._receiver.summary_over if self._sink.traits.people else None

    def _most_bytes(self) -> int | None:
        """Most of a group in one body; no limit where it is told in short: to people, or as one event."""
        traits = self._sink.traits
        return None if traits.people or traits.most == 1 else MAX_BATCH_BYTES

    def _most(self) -> int:
        """Most subjects that are told again at once: people look at each by itself."""
        return 1 if self._sink.traits.people else self._batch()

    async def _idle(self, due: datetime | None) -> None:
        wait_s = (due - self._clock.wall()).total_seconds() if due else self._poll_s
        with trio.move_on_after(wait_s if 0 < wait_s < self._poll_s else self._poll_s):
            await self._nudged.wait()

    async def _deliver(self, notification: Notification) -> None:
        road = "delivery." if notification.change is Change.NEWS else "delivery.standing_"
        self._at(f"{road}claimed")
        self._pace = self._pace.taken(self._clock.monotonic())
        settlement = await attempt(self._sink, self._receiver, notification)
        self._at(f"{road}sent")
        is_back = self._learn(settlement)
        if notification.change is Change.NEWS:
            await self._settle(notification, settlement, is_back=is_back)
        else:
            await self._settle_standing(notification, settlement, is_back=is_back)
        self._at(f"{road}settled")

    def _learn(self, settlement: Settlement) -> bool:
        """Take in what a send says of the receiver. Returns whether an outage ended with it."""
        before, now = self._breaker, self._clock.monotonic()
        if isinstance(settlement, RetryAfter):
            self._breaker = before.failed(now, reason=settlement.reason, wish=settlement.after)
            if self._breaker.is_open and not before.is_open:
                since = self.condition().failing_since
                self._log.error(
                    "receiver.failing", reason=settlement.reason, since=since and since.isoformat()
                )
            return False
        self._breaker, self._answered_at = SOUND, self._clock.wall()
        if before.is_open:
            self._log.info("receiver.recovered", failures=before.failures)
        return before.is_open

    # --- news ---------------------------------------------------------------------------------------------

    async def _settle(self, notification: Notification, settlement: Settlement, *, is_back: bool) -> None:
        at = self._clock.wall()
        match settlement:
            case Delivered():
                await self._accept(notification, settlement, at, is_back=is_back)
            case RetryAfter(reason=reason, after=after):
                attempts = notification.attempts + 1
                tried_for = at - notification.created_at
                due = next_attempt(attempts, after, at, self._random.random(), tried_for=tried_for)
                if due is None:
                    await self._bury(notification, at, f"given up after {attempts} attempts: {reason}")
                else:
                    await self._put_off(notification, at, due, reason)
            case Refused(reason=reason):
                await self._bury(notification, at, reason, is_back=is_back)
            case _:
                assert_never(settlement)

    async def _accept(
        self, notification: Notification, delivered: Delivered, at: datetime, *, is_back: bool
    ) -> None:
        shown = self._shows(notification, delivered.receipts, at)

        def write(tx: Tx) -> None:
            tx.settle_delivered(notification.id, at, shows=shown)
            if is_back:
                tx.hasten(self._receiver.name, at)

        await self._record(write)
        self._lately = self._lately.told(notification, self._clock.monotonic())
        self._observer.on_outcome(self._receiver.name, "delivered")
        for alert in notification.alerts:
            if alert.id not in notification.notes:  # told to others first: the delay would be theirs
                found = alert.first_seen_at if alert.status is Status.FIRING else notification.created_at
                self._observer.on_delivered(self._receiver.name, (at - found).total_seconds())
        self._log.info("delivery.delivered", **_facts(notification))
        self._warn(notification, delivered)

    async def _put_off(self, notification: Notification, at: datetime, due: datetime, reason: str) -> None:
        await self._record(lambda tx: tx.settle_retry(notification.id, at, due, reason))
        self._observer.on_outcome(self._receiver.name, "retry")
        # That the receiver fails was told; each probe of the next hours need not be.
        tell = self._log.debug if self._breaker.is_open else self._log.warning
        tell("delivery.deferred", reason=reason, until=due.isoformat(), **_facts(notification))

    async def _bury(
        self, notification: Notification, at: datetime, reason: str, *, is_back: bool = False
    ) -> None:
        def write(tx: Tx) -> None:
            tx.settle_dead(notification.id, at, reason)
            if is_back:
                tx.hasten(self._receiver.name, at)

        await self._record(write)
        self._observer.on_outcome(self._receiver.name, "dead")
        self._log.error("delivery.dead", reason=reason, **_facts(notification))

    # --- what stands --------------------------------------------------------------------------------------

    async def _settle_standing(
        self, notification: Notification, settlement: Settlement, *, is_back: bool
    ) -> None:
        at, receiver = self._clock.wall(), self._receiver.name
        match settlement:
            case RetryAfter(reason=reason, after=after):
                due = next_telling(notification.attempts + 1, after, at, self._random.random())
                await self._record(lambda tx: tx.put_off_standing(notification, due))
                outcome = "retry"
                facts = {"reason": reason, "until": due.isoformat()}
            case Refused(reason=reason):
                # It was news once and is on record: it is let be until its time comes again.
                await self._retell(notification, {}, at, is_back=is_back)
                outcome, facts = "refused", {"reason": reason}
            case Delivered(receipts=receipts):
                await self._retell(notification, receipts, at, is_back=is_back)
                outcome, facts = "delivered", {}
                self._warn(notification, settlement)
            case _:
                assert_never(settlement)
        self._observer.on_standing(receiver, notification.change.value, outcome)
        tell = self._log.info if outcome == "delivered" else self._log.warning
        tell(f"delivery.standing_{outcome}", **facts, **_facts(notification))

    async def _retell(
        self, notification: Notification, receipts: Mapping[str, str], at: datetime, *, is_back: bool
    ) -> None:
        shown = self._shows(notification, receipts, at)

        def write(tx: Tx) -> None:
            tx.settle_standing(notification, shown)
            if is_back:
                tx.hasten(self._receiver.name, at)

        await self._record(write)

    def _shows(
        self, notification: Notification, receipts: Mapping[str, str], at: datetime
    ) -> tuple[Shown, ...]:
        known = {**notification.receipts, **receipts}
        return shows(notification, self._sink.traits, known, now=at)

    def _warn(self, notification: Notification, delivered: Delivered) -> None:
        if delivered.warning:
            self._log.warning("delivery.warning", warning=delivered.warning, **_facts(notification))

    # --- the store ----------------------------------------------------------------------------------------

    async def _record(self, write: Callable[[Tx], None]) -> None:
        with trio.move_on_after(SETTLE_S, shield=True):
            while True:
                try:
                    return await self._writer.submit(write)
                except StoreError as exc:
                    self._log.error("delivery.settle_failed", error=str(exc))
                    await trio.sleep(_STORE_RETRY_S)
        self._log.error("delivery.unsettled", effect="sent again with the same id when its lease runs out")
        return None


def condition(breaker: Breaker, clock: Clock, *, answered_at: datetime | None) -> Condition:
    """What a breaker says, in wall time: as of now, whatever became of our clock meanwhile."""
    now, monotonic = clock.wall(), clock.monotonic()

    def wall(moment: float | None) -> datetime | None:
        return None if moment is None else now - timedelta(seconds=monotonic - moment)

    return Condition(
        door=breaker.door(monotonic),
        failing_since=wall(breaker.failing_since),
        open_since=wall(breaker.opened_at),
        answered_at=answered_at,
        reason=breaker.reason,
    )


async def attempt(sink: Sink, receiver: Receiver, notification: Notification) -> Settlement:
    """Send once, within the receiver's deadline, no more than its policy lets out.

    Never raises but for cancellation: a bug in a sink is a retry with reason "bug: ...".
    """
    try:
        with trio.fail_after(receiver.timeout_s):
            return await sink.send(disclose(notification, receiver))
    except trio.TooSlowError:
        return RetryAfter(reason=f"no answer within {receiver.timeout_s:g} s")
    except Exception as exc:
        # The one place that catches everything. A bug here is met by one alert at one receiver; let out,
        # it would end the process, meet the same alert at the next start, and no receiver would hear of
        # anything any more. So it is an error in the log, a retry, and in the end a visible dead letter.
        # The exception's text is not logged: it may quote the alert.
        bug = type(exc).__name__
        facts = {"receiver": receiver.name, "error": bug, "where": _place(exc), **_facts(notification)}
        log.error("delivery.bug", **facts)
        return RetryAfter(reason=f"bug: {bug}")


def _nothing(_: Sequence[Waiting]) -> None:
    """No bundle: only what is claimed already is wanted."""


def _place(exc: Exception) -> str:
    frames = traceback.extract_tb(exc.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown"


def _facts(notification: Notification) -> dict[str, object]:
    return {
        "notification": notification.id,
        "kind": notification.kind.value,
        "change": notification.change.value,
        "alerts": len(notification.alerts),
        "attempt": notification.attempts + 1,
    }
