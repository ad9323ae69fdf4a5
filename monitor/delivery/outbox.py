"""Takes what waits in the outbox to its receiver: claim, send, settle, for ever.

The table is the truth. A claim stores the notification's id before the first send; a settlement is stored
before the next claim. Whatever happens in between (a crash, a cancellation, a store that can't be written)
leaves a lease that runs out, and the same notification is sent again under the same id.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Final, Protocol, assert_never

import structlog
import trio

from monitor.clock import Clock
from monitor.delivery.backoff import Pace, bounded, next_attempt, pause
from monitor.delivery.policy import bundle
from monitor.delivery.render.disclosure import disclose
from monitor.delivery.sinks.base import Delivered, Refused, RetryAfter, Settlement, Sink
from monitor.delivery.values import Receiver
from monitor.errors import StoreError
from monitor.store.store import Tx
from monitor.store.values import Notification
from monitor.store.writer import Writer
from rules.model import Status

POLL_S: Final = 5.0
"""The table is looked at this often even if nobody nudges: a command or a lost hint waits no longer."""

SETTLE_S: Final = 5.0
"""A send that ended is recorded even while we are being cancelled, if the store manages it in this time."""

OUTAGE_S: Final = 300.0
"""A receiver that took nothing for this long was down. Once it takes something, all its retries are due: they
would else wait for up to half an hour more. A shorter streak may be the fault of single notifications, which
hastening would only wear out."""

_STORE_RETRY_S: Final = 1.0
_MARGIN_S: Final = 5.0  # between the end of a slow send with its settlement and the end of its lease

log = structlog.get_logger(__name__)


class Observer(Protocol):
    """Hears what became of sends; metrics are behind it."""

    def on_delivered(self, receiver: str, delay_s: float) -> None:
        """One alert was accepted, `delay_s` after it was found."""
        ...

    def on_outcome(self, receiver: str, outcome: str) -> None:
        """One send ended: "delivered", "retry" or "dead"."""
        ...


class Unobserved:
    def on_delivered(self, receiver: str, delay_s: float) -> None: ...
    def on_outcome(self, receiver: str, outcome: str) -> None: ...


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
        poll_s: float = POLL_S,
    ) -> None:
        """`poll_s`: how often the table is looked at unasked. With infinity, only a nudge tells of news."""
        self._receiver = receiver
        self._sink = sink
        self._writer = writer
        self._clock = clock
        self._random = random
        self._at = at
        self._observer = observer or Unobserved()
        self._poll_s = poll_s
        self._lease = timedelta(seconds=receiver.timeout_s + SETTLE_S + _MARGIN_S)
        self._pace = Pace(per_s=receiver.rate_per_s, burst=receiver.burst)
        self._failures = 0  #: sends in a row that may work later
        self._failing_since = float("inf")  #: monotonic; of the first of them
        self._rests_until = float("-inf")  #: monotonic
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
        with trio.move_on_after(max(0.0, self._rests_until - self._clock.monotonic())):
            await self._finishing.wait()
        if self._clock.monotonic() < self._rests_until:
            return False
        await trio.sleep(self._pace.wait(self._clock.monotonic()))
        return True

    async def _claim(self) -> tuple[Notification | None, datetime | None]:
        """The next notification, or when the next one is due."""
        receiver, now = self._receiver, self._clock.wall()
        choose = partial(
            bundle,
            people=self._sink.traits.people,
            summary_over=receiver.summary_over,
            batch=receiver.batch,
            gather=receiver.gather,
            now=now,
        )

        def claim(tx: Tx) -> tuple[Notification | None, datetime | None]:
            notification = tx.claim(receiver.name, now=now, lease=self._lease, choose=choose)
            return notification, None if notification else tx.next_due(receiver.name)

        try:
            return await self._writer.submit(claim)
        except StoreError as exc:
            # Without a stored id nothing may be sent. The store's state is shown by readiness.
            self._log.error("delivery.claim_failed", error=str(exc))
            return None, None

    async def _idle(self, due: datetime | None) -> None:
        wait_s = (due - self._clock.wall()).total_seconds() if due else self._poll_s
        with trio.move_on_after(wait_s if 0 < wait_s < self._poll_s else self._poll_s):
            await self._nudged.wait()

    async def _deliver(self, notification: Notification) -> None:
        self._at("delivery.claimed")
        self._pace = self._pace.taken(self._clock.monotonic())
        settlement = await attempt(self._sink, self._receiver, notification)
        self._at("delivery.sent")
        was_down = self._clock.monotonic() - self._failing_since >= OUTAGE_S
        self._rest_after(settlement)
        await self._settle(notification, settlement, was_down=was_down)
        self._at("delivery.settled")

    def _rest_after(self, settlement: Settlement) -> None:
        """A receiver in trouble, or one that asks for patience, is left alone for a while."""
        if not isinstance(settlement, RetryAfter):
            self._failures, self._failing_since = 0, float("inf")
            return
        self._failures += 1
        self._failing_since = min(self._failing_since, self._clock.monotonic())
        wish = bounded(settlement.after) if settlement.after is not None else timedelta(0)
        rest = max(wish, pause(self._failures))
        self._rests_until = self._clock.monotonic() + rest.total_seconds()

    async def _settle(self, notification: Notification, settlement: Settlement, *, was_down: bool) -> None:
        at = self._clock.wall()
        match settlement:
            case Delivered():
                await self._accept(notification, at, was_down=was_down)
            case RetryAfter(reason=reason, after=after):
                attempts = notification.attempts + 1
                due = next_attempt(attempts, after, at, self._random.random())
                if due is None:
                    await self._bury(notification, at, f"given up after {attempts} attempts: {reason}")
                else:
                    await self._put_off(notification, at, due, reason)
            case Refused(reason=reason):
                await self._bury(notification, at, reason)
            case _:
                assert_never(settlement)

    async def _accept(self, notification: Notification, at: datetime, *, was_down: bool) -> None:
        def write(tx: Tx) -> None:
            tx.settle_delivered(notification.id, at)
            if was_down:
                tx.hasten(self._receiver.name, at)

        await self._record(write)
        if was_down:
            self._log.info("receiver.recovered")
        self._observer.on_outcome(self._receiver.name, "delivered")
        for alert in notification.alerts:
            found = alert.first_seen_at if alert.status is Status.FIRING else notification.created_at
            self._observer.on_delivered(self._receiver.name, (at - found).total_seconds())
        self._log.info("delivery.delivered", **_facts(notification))

    async def _put_off(self, notification: Notification, at: datetime, due: datetime, reason: str) -> None:
        await self._record(lambda tx: tx.settle_retry(notification.id, at, due, reason))
        self._observer.on_outcome(self._receiver.name, "retry")
        self._log.warning("delivery.deferred", reason=reason, until=due.isoformat(), **_facts(notification))

    async def _bury(self, notification: Notification, at: datetime, reason: str) -> None:
        await self._record(lambda tx: tx.settle_dead(notification.id, at, reason))
        self._observer.on_outcome(self._receiver.name, "dead")
        self._log.error("delivery.dead", reason=reason, **_facts(notification))

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


def _place(exc: Exception) -> str:
    frames = traceback.extract_tb(exc.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown"


def _facts(notification: Notification) -> dict[str, object]:
    return {
        "notification": notification.id,
        "kind": notification.kind.value,
        "alerts": len(notification.alerts),
        "attempt": notification.attempts + 1,
    }
