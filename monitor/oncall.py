"""What is due because time passed, not because a message came: silences that begin and end, alerts that
nobody looks after, receivers that take nothing.

Each duty is one transaction with all that follows from it, so that a process which ends in the middle leaves
it undone, and the next one does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

import structlog
from msgspec.structs import replace

from monitor import notices
from monitor.clock import Clock
from monitor.delivery.breaker import Condition
from monitor.delivery.fleet import Fleet
from monitor.delivery.policy import decide, silenced_by
from monitor.delivery.values import Receiver
from monitor.evaluation import Orders
from monitor.metrics import Metrics
from monitor.store.store import Store, Tx
from monitor.store.values import (
    Commit,
    EntryState,
    Escalation,
    Fate,
    Finding,
    Overdue,
    Route,
    Silence,
)
from monitor.store.writer import RunSync, Writer
from rules.model import Alert, Severity, Status, WatchSet

log = structlog.get_logger(__name__)

DEADLINES: Final[Mapping[Severity, timedelta]] = {
    Severity.CRITICAL: timedelta(minutes=2),
    Severity.WARNING: timedelta(minutes=10),
    Severity.INFO: timedelta(hours=1),
}
"""How long an alert waits for its receiver before it goes to the fallback, where the settings say nothing."""

FAILING_AFTER: Final = timedelta(minutes=2)
"""A receiver that is only probed for so long is told of: shorter troubles pass without anybody's doing."""

WALKING: Final = 20
"""Going through all that waits takes a twentieth of the time at most: 100,000 alerts are a second's work."""

WALKS_AFTER_S: Final = 30.0
AT_ONCE: Final = 500  # alerts in one transaction; the next round goes on
TOLD: Final = 1000  # receivers' troubles that may be under way; far more than there are receivers


class OnCall:
    """Does what is due. `look_after` is one round; the caretaker calls it every two seconds.

    OnCall(app=, writer=, store=, run_sync=, clock=, fleet=, orders=, receivers=, metrics=): `app` is part of
    the ids of what it tells; `orders` gives the rules, routes and users in force; `receivers` the configured
    receivers. Built-in alerts take the routes in force, in the same transaction as what they tell of.
    """

    def __init__(
        self,
        *,
        app: str,
        writer: Writer,
        store: Store,
        run_sync: RunSync,
        clock: Clock,
        fleet: Fleet,
        orders: Callable[[], Orders],
        receivers: Callable[[], Iterable[Receiver]],
        metrics: Metrics,
    ) -> None:
        self._app = app
        self._writer = writer
        self._store = store
        self._run_sync = run_sync
        self._clock = clock
        self._fleet = fleet
        self._orders = orders
        self._receivers = receivers
        self._metrics = metrics
        self._held_by: frozenset[int] = frozenset()  #: silences in force whose beginning was dealt with
        self._walks_again_at = float("-inf")  #: monotonic; through all that waits
        self._failing: dict[str, Alert] | None = None  #: what was told of receivers; None: not yet read

    async def look_after(self) -> None:
        """Do what is due now. Raises StoreError if it can't be stored; it is due again in the next round.

        Cancelled, it leaves every duty either done or undone.
        """
        now = self._clock.wall()
        silences = await self._run_sync(self._store.silences, now)
        await self._begin_silences(silences, now)
        await self._end_silences(silences, now)
        await self._escalate(silences, now)
        await self._tell_of_receivers(silences, now)
        began = self._clock.monotonic()
        if began >= self._walks_again_at:
            await self._fall_back(silences, now)
            await self._show(now)
            took = self._clock.monotonic() - began
            self._walks_again_at = began + min(WALKING * took, WALKS_AFTER_S)

    # --- silences -----------------------------------------------------------------------------------------

    async def _begin_silences(self, silences: Sequence[Silence], now: datetime) -> None:
        """Hold what waits to be sent when a silence begins. After a restart that is looked at again."""
        in_force = [silence for silence in silences if silence.is_in_force(now)]
        if fresh := [silence for silence in in_force if silence.id not in self._held_by]:
            watch = self._orders().watch

            def work(tx: Tx) -> dict[int, int]:
                return {one.id: tx.hold(one, taking([one], watch, now)) for one in fresh}

            for number, held in (await self._writer.submit(work)).items():
                log.info("silence.began", silence=number, held=held)
        self._held_by = frozenset(silence.id for silence in in_force)

    async def _end_silences(self, silences: Sequence[Silence], now: datetime) -> None:
        orders = self._orders()

        def work(tx: Tx) -> list[tuple[Silence, int, int]]:
            due, ended = tx.due_silences(now), []
            # A command may have ended one since we read them: it must hold neither its own nor this notice.
            over = {silence.id for silence in due}
            others = [silence for silence in silences if silence.id not in over]

            def still_held(alert: Alert) -> int | None:
                other = silenced_by(alert, others, orders.watch, now)
                return other.id if other else None

            for silence in due:
                held = tx.close_silence(silence, still_held=still_held)
                ended.append((silence, held.held, held.sent))
                if held.held:
                    notice = notices.silence_ended(
                        silence, app=self._app, held=held.held, sent=held.sent, now=now
                    )
                    tx.commit(Commit(findings=(routed(notice, orders, others, now),)))
            return ended

        ended = await self._writer.submit(work)
        for silence, held, sent in ended:
            log.info("silence.ended", silence=silence.id, held=held, sent=sent)
        if ended:
            self._fleet.nudge()

    # --- alerts that nobody looks after -------------------------------------------------------------------

    async def _escalate(self, silences: Sequence[Silence], now: datetime) -> None:
        watch = self._orders().watch
        known = {receiver.name for receiver in self._receivers()}

        def work(tx: Tx) -> list[Escalation]:
            due = tx.take_escalations(now, AT_ONCE)
            for step in due:
                note = unanswered(step, tx.told_of(step.alert.id))
                for name in step.receivers:
                    if name in known:
                        tx.tell([step.alert.id], name, note=note)
            hold_again(tx, [step.alert for step in due], silences, watch, now)
            return due

        for step in await self._writer.submit(work):
            gone = [name for name in step.receivers if name not in known]
            log.warning(
                "alert.escalated",
                alert=step.alert.id,
                after_s=step.after.total_seconds(),
                receivers=list(step.receivers),
                unknown=gone,
            )
            for name in set(step.receivers) & known:
                self._metrics.escalations_total.labels(name).inc()
            self._fleet.nudge(step.receivers)

    # --- receivers that take nothing ----------------------------------------------------------------------

    async def _fall_back(self, silences: Sequence[Silence], now: datetime) -> None:
        """Tell the fallback of a receiver what that one did not take in time, or refused."""
        conditions, watch = self._fleet.conditions(), self._orders().watch
        known = {receiver.name: receiver for receiver in self._receivers()}
        for receiver in known.values():
            if receiver.fallback not in known or receiver.fallback == receiver.name:
                continue
            condition = conditions.get(receiver.name, Condition())
            moved = await self._writer.submit(falling_back(receiver, condition, silences, watch, now))
            if moved:
                log.warning("receiver.fallback", receiver=receiver.name, to=receiver.fallback, alerts=moved)
                self._metrics.fallbacks_total.labels(receiver.name).inc(moved)
                self._fleet.nudge([receiver.fallback])

    async def _tell_of_receivers(self, silences: Sequence[Silence], now: datetime) -> None:
        """Tell the others that a receiver takes nothing, and when it does again."""
        if self._failing is None:
            told = await self._run_sync(self._store.alerts, TOLD, Status.FIRING, notices.RECEIVER_FAILING)
            self._failing = {alert.key: alert for alert in told}
        orders, known = self._orders(), {receiver.name for receiver in self._receivers()}
        for alert in changed(self._failing, self._fleet.conditions(), known, app=self._app, now=now):
            finding = but(alert.key, routed(alert, orders, silences, now))
            await self._writer.submit(lambda tx, finding=finding: tx.commit(Commit(findings=(finding,))))  # type: ignore[misc]  # mypy gives up on the lambda's default
            self._fleet.nudge()
            if alert.status is Status.FIRING:
                self._failing[alert.key] = alert
            else:
                del self._failing[alert.key]

    async def _show(self, now: datetime) -> None:
        """Bring the gauges of the receivers up to date."""
        waiting = await self._run_sync(self._store.undelivered)
        for name, condition in self._fleet.conditions().items():
            self._metrics.receiver_open.labels(name).set(condition.is_open)
            self._metrics.receiver_failing_seconds.labels(name).set(age(condition.failing_since, now))
            for severity in Severity:
                gauge = self._metrics.outbox_undelivered_age_seconds.labels(name, severity.value)
                gauge.set(age(waiting.get((name, severity)), now))


# --- decisions --------------------------------------------------------------------------------------------


def taking(silences: Sequence[Silence], watch: WatchSet, now: datetime) -> Callable[[Alert], bool]:
    """Whether one of `silences` takes an alert, whichever way that goes."""
    return lambda alert: silenced_by(alert, silences, watch, now) is not None


def hold_again(
    tx: Tx, alerts: Sequence[Alert], silences: Sequence[Silence], watch: WatchSet, now: datetime
) -> None:
    """Hold of `alerts`, which go to new receivers, what a silence takes: it is told to them at its end."""
    taken = [silenced_by(alert, silences, watch, now) for alert in alerts]
    for silence in {one.id: one for one in taken if one}.values():
        tx.hold(silence, taking([silence], watch, now))


def falling_back(
    receiver: Receiver, condition: Condition, silences: Sequence[Silence], watch: WatchSet, now: datetime
) -> Callable[[Tx], int]:
    """The work that tells the receiver's fallback what is overdue; it returns how many alerts."""
    fallback = receiver.fallback
    assert fallback is not None
    created_before = {
        severity: now - after for severity, after in {**DEADLINES, **receiver.deadlines}.items()
    }

    def work(tx: Tx) -> int:
        late = tx.overdue(
            receiver.name,
            created_before,
            unless_told=fallback,
            unclaimed=condition.is_open,
            most=AT_ONCE,
        )
        notes = sorted((instead(one, receiver.name, condition), one.alert.id) for one in late)
        moved = 0
        for note, group in groupby(notes, key=lambda pair: pair[0]):
            moved += tx.tell([alert for _, alert in group], fallback, note=note)
        hold_again(tx, [one.alert for one in late], silences, watch, now)
        return moved

    return work


def unanswered(step: Escalation, told: Sequence[str]) -> str:
    """Why an alert comes to somebody who was not told at first."""
    first = f"; sent to {', '.join(told)} before" if told else ""
    return f"Escalated: neither acknowledged nor resolved within {span(step.after)}{first}"


def instead(late: Overdue, receiver: str, condition: Condition) -> str:
    """Why an alert comes to the fallback of `receiver`."""
    because = f" ({late.reason or condition.reason})" if late.reason or condition.reason else ""
    if late.is_dead:
        return f"Instead of {receiver}, which did not take it{because}"
    since = condition.failing_since
    if since is None or late.created_at < since - timedelta(minutes=1):
        return f"Instead of {receiver}, which has not taken it since {late.created_at:%H:%M} UTC{because}"
    return f"Instead of {receiver}, which has taken nothing since {since:%H:%M} UTC{because}"


def age(since: datetime | None, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds()) if since else 0.0


def span(length: timedelta) -> str:
    """A length as settings write it: 15 min, 2 h, 90 s."""
    seconds = round(length.total_seconds())
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds and seconds % unit == 0:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"


def changed(
    told: Mapping[str, Alert],
    conditions: Mapping[str, Condition],
    known: Iterable[str],
    *,
    app: str,
    now: datetime,
) -> list[Alert]:
    """What is to be told of receivers: those that are in trouble for long, and those that are out of it.

    Of one that was in trouble when we started, the end is told only when it has taken something.
    """
    names = set(known)
    begun = [
        notices.receiver_failing(
            app=app,
            receiver=name,
            since=condition.failing_since or condition.open_since,
            reason=condition.reason or "none",
            now=now,
        )
        for name, condition in conditions.items()
        if name not in told and condition.open_since and now - condition.open_since >= FAILING_AFTER
    ]
    over = []
    for name, alert in told.items():
        condition = conditions.get(name, Condition())
        if name not in names:
            over.append(notices.receiver_recovered(alert, because="it is no longer configured", now=now))
        elif condition.answered_at and not condition.is_open:
            over.append(notices.receiver_recovered(alert, because="it takes alerts again", now=now))
    return [*begun, *over]


def routed(alert: Alert, orders: Orders, silences: Sequence[Silence], now: datetime) -> Finding:
    """A built-in alert as the routes in force send it."""
    (finding,) = decide(
        [alert], routes=orders.routes, watch=orders.watch, silences=silences, now=now, max_age=orders.max_age
    )
    return finding


def but(receiver: str, finding: Finding) -> Finding:
    """The finding without what would go to `receiver`: it can't be told of its own trouble.

    Its end goes wherever the routes lead: who was not told of the beginning is not told of it.
    """
    others = tuple(route for route in finding.routes if route.receiver != receiver)
    if others or not finding.routes:
        return replace(finding, routes=others)
    reason = f"only {receiver} itself would be told; give `routes` a second receiver"
    nowhere = Route(receiver="", state=EntryState.SUPPRESSED, reason=reason)
    return replace(finding, routes=(nowhere,), fate=Fate.UNROUTED, steps=())
