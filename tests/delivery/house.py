"""A store with deliverers on it, in virtual time; their receivers answer as a test tells them to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import trio

from monitor.clock import virtual
from monitor.delivery.outbox import Deliverer
from monitor.delivery.sinks import Delivered, Settlement, Sink, Traits
from monitor.delivery.values import Receiver
from monitor.store.store import Store
from monitor.store.values import Commit, EntryState, Finding, Notification, NotificationId, Route
from monitor.store.writer import Writer, inline
from rules.model import Alert, AlertId
from tests.delivery.samples import an_alert

START = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
FAST = Receiver(name="oncall", rate_per_s=1000, summary_over=10)
PATIENT = Receiver(name="oncall", rate_per_s=1, summary_over=3)

Behaviour = Callable[[Notification], Settlement]


class Spy:
    """A sink that answers as told and remembers what it was given, and when."""

    def __init__(
        self,
        behave: Behaviour | None = None,
        *,
        people: bool = True,
        takes_s: float = 0,
        traits: Traits | None = None,
    ) -> None:
        self.traits = traits or Traits(people=people)
        self.behave = behave or (lambda _: Delivered())
        self.takes_s = takes_s
        self.got: list[Notification] = []
        self.at: list[float] = []

    async def send(self, notification: Notification) -> Settlement:
        self.got.append(notification)
        self.at.append(trio.current_time())
        await trio.sleep(self.takes_s)
        return self.behave(notification)

    @property
    def ids(self) -> list[NotificationId]:
        return [notification.id for notification in self.got]


def in_turn(*settlements: Settlement) -> Behaviour:
    """These, one after the other; then delivered."""
    rest = iter(settlements)
    return lambda _: next(rest, Delivered())


class Observed:
    def __init__(self) -> None:
        self.outcomes: list[str] = []
        self.delays_s: list[float] = []
        self.standing: list[tuple[str, str]] = []

    def on_delivered(self, receiver: str, delay_s: float) -> None:
        self.delays_s.append(delay_s)

    def on_outcome(self, receiver: str, outcome: str) -> None:
        self.outcomes.append(outcome)

    def on_standing(self, receiver: str, change: str, outcome: str) -> None:
        self.standing.append((change, outcome))


class House:
    """A store with its writer, and deliverers on it, in virtual time."""

    def __init__(self, store: Store, writer: Writer, nursery: trio.Nursery) -> None:
        self.store, self.writer, self.nursery = store, writer, nursery
        self.clock = virtual(START)
        self.observed = Observed()
        self.points: list[str] = []

    def deliverer(self, sink: Sink, receiver: Receiver = FAST, **changes: Any) -> Deliverer:
        facts: dict[str, Any] = {
            "receiver": receiver,
            "sink": sink,
            "writer": self.writer,
            "clock": self.clock,
            "random": Random(1),
            "at": self.points.append,
            "observer": self.observed,
        }
        return Deliverer(**{**facts, **changes})

    async def find(self, *alerts: Alert, receiver: str = "oncall", late: bool = False, **facts: Any) -> None:
        """Alerts were found, and are routed to one receiver. `facts` are of the route."""
        routes = (Route(receiver=receiver, late=late, **facts),)
        commit = Commit(findings=tuple(Finding(alert=alert, routes=routes) for alert in alerts))
        await self.writer.submit(lambda tx: tx.commit(commit))

    def states(self, receiver: str = "oncall") -> list[EntryState]:
        return [entry.state for entry in self.store.entries(receiver=receiver, limit=10_000)]


@asynccontextmanager
async def a_house() -> AsyncIterator[House]:
    clock = virtual(START)
    with Store.open("sqlite://", app="275211", now=clock.wall) as store:
        writer = Writer(store, run_sync=inline)
        async with trio.open_nursery() as nursery:
            await nursery.start(writer.run)
            yield House(store, writer, nursery)
            nursery.cancel_scope.cancel()


def alert(number: int, **changes: Any) -> Alert:
    at = START - timedelta(seconds=2)
    return an_alert(**{"id": AlertId(f"{number:032x}"), "first_seen_at": at, "event_at": at, **changes})


def some(count: int, **changes: Any) -> Sequence[Alert]:
    return [alert(number, **changes) for number in range(count)]
