"""A storm on the shipped road, from messages to the outbox, and what its receivers get."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from random import Random

import pytest
import trio
from trio.testing import MockClock

from monitor.clock import virtual
from monitor.delivery.outbox import Deliverer
from monitor.delivery.policy import RouteSpec, bundle
from monitor.delivery.sinks.base import Delivered, Traits
from monitor.delivery.values import Receiver
from monitor.evaluation import Orders, calm, evaluate
from monitor.store.outbox import OFFER_FOR_SUM
from monitor.store.store import Store
from monitor.store.values import Commit, EntryState, Fate, Finding, Kind, Notification, Route
from monitor.store.writer import Writer, inline
from rules.model import Alert, AlertId, MessageId, Severity, Status, UserId
from rules.pace import SURGE
from tests.delivery.samples import an_alert
from tests.rules.builders import NOON, a_message, rules_of
from tests.store.building import WallClock, in_memory

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
ORDERS = Orders(
    rules=rules_of("rules: [{name: hello, when: {type: text}}]"),
    watch={UserId("bob"): {}},
    routes=(RouteSpec(receivers=("oncall", "hook")),),
    max_age=HOUR,
)


@dataclass
class Running:
    """The store of a running monitor, fed by hand."""

    store: Store
    clock: WallClock
    messages: int = 0

    def hear(self, at: datetime) -> Fate:
        """One message is read as it is sent: what became of its alert."""
        self.clock.now = at
        self.messages += 1
        message = a_message(id=MessageId(self.messages), sent_at=at)
        with self.store.write() as tx:
            found = evaluate(tx, ORDERS, messages=[message], now=at, commit=Commit()).committed.fresh
        return found[0].fate

    def calm(self, seen: datetime) -> None:
        self.clock.now = seen
        with self.store.write() as tx:
            calm(tx, ORDERS, silences=(), seen=seen, now=seen)

    def deliver(self, receiver: str, at: datetime) -> list[Notification]:
        """Everything that goes out now, delivered."""
        self.clock.now = at
        choose = partial(bundle, people=receiver == "oncall", summary_over=20, now=at)
        sent = []
        with self.store.write() as tx:
            while notification := tx.claim(receiver, now=at, lease=MINUTE, choose=choose):
                tx.settle_delivered(notification.id, at)
                sent.append(notification)
        return sent


@pytest.fixture
def running() -> Iterator[Running]:
    """After two quiet days with two alerts an hour, all delivered."""
    clock = WallClock()
    with in_memory(clock) as store:
        running = Running(store, clock)
        for hours in range(48, 0, -1):
            running.hear(NOON - hours * HOUR)
            running.hear(NOON - hours * HOUR + MINUTE)
        for receiver in ("oncall", "hook"):
            running.deliver(receiver, NOON)
        yield running


def test_people_get_single_alerts_then_a_warning_then_a_sum_every_five_minutes(running: Running) -> None:
    kinds: list[tuple[int, Kind, int]] = []
    for second in range(0, 16 * 60, 5):
        at = NOON + timedelta(seconds=second)
        if second < 10 * 60:
            running.hear(at)
        kinds += [(second, each.kind, len(each.alerts)) for each in running.deliver("oncall", at)]
    alone = [second for second, kind, _ in kinds if kind is Kind.ALERTS]
    assert alone == [*range(0, 100, 5), 100]  # twenty, and the warning in place of the next
    sums = [(second, many) for second, kind, many in kinds if kind is Kind.SUMMARY]
    assert sums == [(400, 61), (705, 39)]
    assert len(alone) - 1 + sum(many for _, many in sums) == 120


def test_machines_get_everything_at_once(running: Running) -> None:
    fates = [running.hear(NOON + n * timedelta(seconds=5)) for n in range(60)]
    assert fates == [Fate.SENT] * 20 + [Fate.SUMMED] * 40
    (batch,) = running.deliver("hook", NOON + 5 * MINUTE)
    assert (batch.kind, len(batch.alerts)) == (Kind.ALERTS, 61)
    assert [alert.rule for alert in batch.alerts].count(SURGE) == 1


def test_nothing_of_a_storm_is_lost_and_its_warning_is_closed(running: Running) -> None:
    for n in range(100):
        running.hear(NOON + n * timedelta(seconds=5))
    running.deliver("oncall", NOON + 20 * MINUTE)
    running.calm(NOON + HOUR)
    assert running.deliver("oncall", NOON + HOUR) == []
    running.calm(NOON + 2 * HOUR)
    (end,) = running.deliver("oncall", NOON + 2 * HOUR)
    assert (end.status, end.alerts[0].rule, end.kind) == (Status.RESOLVED, SURGE, Kind.ALERTS)
    running.calm(NOON + 3 * HOUR)
    entries = running.store.entries(receiver="oncall", limit=1000)
    assert {entry.state for entry in entries} == {EntryState.DELIVERED}
    assert len(entries) == running.messages + 2


def test_a_storm_seen_again_is_no_second_storm(running: Running) -> None:
    for n in range(60):
        running.hear(NOON + n * timedelta(seconds=5))
    before = running.store.entries(limit=1000)
    at = NOON + timedelta(seconds=300)
    again = [a_message(id=MessageId(number), sent_at=NOON) for number in range(97, running.messages + 1)]
    with running.store.write() as tx:
        assert evaluate(tx, ORDERS, messages=again, now=at, commit=Commit()).committed.fresh == ()
    assert running.store.entries(limit=1000) == before


# --- more than any pacing expects: 10,000 alerts of all rules in a minute, a message a second ---------------

RUSH_S, IN_ALL, CRITICALS = 60, 10_000, 10


@dataclass
class Hearing:
    """A receiver that takes everything, and when it took it."""

    traits: Traits
    told: list[tuple[float, Notification]]

    async def send(self, notification: Notification) -> Delivered:
        await trio.lowlevel.checkpoint()
        self.told.append((trio.current_time(), notification))
        return Delivered()

    def of(self, kind: Kind) -> list[Notification]:
        return [notification for _, notification in self.told if notification.kind is kind]

    @property
    def alerts(self) -> int:
        return sum(len(notification.alerts) for _, notification in self.told)


def rush(second: int, now: datetime) -> tuple[Alert, ...]:
    """What is found in one second, every thousandth of it all critical."""
    first, last = (IN_ALL * moment // RUSH_S for moment in (second, second + 1))
    return tuple(
        an_alert(
            id=AlertId(f"{number:032}"),
            event_at=now,
            first_seen_at=now,
            severity=Severity.WARNING if number % (IN_ALL // CRITICALS) else Severity.CRITICAL,
        )
        for number in range(first, last)
    )


async def test_of_ten_thousand_alerts_in_a_minute_people_see_a_handful_and_nothing_is_lost(
    autojump_clock: MockClock,
) -> None:
    clock = virtual(NOON)
    people, machine = Hearing(Traits(people=True), []), Hearing(Traits(people=False), [])
    with Store.open("sqlite://", app="app", now=clock.wall) as store:
        async with trio.open_nursery() as nursery:
            writer = Writer(store, run_sync=inline)
            await nursery.start(writer.run)
            employed = [
                Deliverer(
                    receiver=Receiver(name=name), sink=sink, writer=writer, clock=clock, random=Random(1)
                )
                for name, sink in (("oncall", people), ("hook", machine))
            ]
            for deliverer in employed:
                await nursery.start(deliverer.run)
            for second in range(RUSH_S):
                to = (Route(receiver="oncall"), Route(receiver="hook"))
                found = tuple(Finding(alert=alert, routes=to) for alert in rush(second, clock.wall()))
                await writer.submit(lambda tx, found=found: tx.commit(Commit(findings=found)))  # type: ignore[misc]  # mypy gives up on the lambda's default
                for deliverer in employed:
                    deliverer.nudge()
                await trio.sleep(1)
            await trio.sleep(10 * 60)
            nursery.cancel_scope.cancel()
        ledger = store.ledger()
    assert (ledger.alerts, ledger.entries[EntryState.DELIVERED]) == (IN_ALL, 2 * IN_ALL)
    assert (people.alerts, machine.alerts) == (IN_ALL, IN_ALL)
    assert len(people.of(Kind.SUMMARY)) <= 6
    assert len(people.of(Kind.ALERTS)) <= CRITICALS + 1
    assert max(len(notification.alerts) for _, notification in people.told) <= OFFER_FOR_SUM
    alone = [
        at
        for at, told in people.told
        if told.alerts[0].severity is Severity.CRITICAL and len(told.alerts) == 1
    ]
    assert len(alone) == CRITICALS
    assert max(alone) < RUSH_S
