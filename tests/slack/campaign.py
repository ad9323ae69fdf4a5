"""The shipped deliverer, store and sink on a simulated workspace, in virtual time.

Every beginning's first post is ambiguous: it was taken or not, and no answer says which. Edits, replies,
looks and second tries meet faults by chance; the deliverer is killed at its crash points and started again.
Alerts begin one after the other; some are acknowledged, all end. In the end people should see one message for
each alert, that it is over, and each reply once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

import httpx
import trio
from msgspec.structs import replace

from monitor.clock import Clock, virtual
from monitor.delivery.outbox import Deliverer
from monitor.delivery.sinks.post import open_http
from monitor.delivery.sinks.slack_bot import SlackBotSink
from monitor.delivery.values import Receiver
from monitor.store.store import Store
from monitor.store.values import Commit, EntryState, Finding, Route
from monitor.store.writer import Writer, inline
from rules.model import Alert, AlertId, Severity, Status
from tests.delivery.samples import an_alert
from tests.delivery.slack_api import AMBIGUOUS, CHANNEL, TOKEN, Fault, Message, SlackApi

START: Final = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
ONCALL: Final = Receiver(name="oncall", summary_over=1_000_000, fallback=None)
BETWEEN_S: Final = 25.0  # alerts; a lost answer takes the deliverer's 15 s and the schedule's 5 s
LASTS_S: Final = (60.0, 600.0)
ACKNOWLEDGED: Final = 0.3
CHATTER: Final = 1.5  #: messages of people, for each alert
TROUBLE: Final = 0.15  #: of requests that are not the first post of a beginning
KILLED: Final = 0.02  #: of the crash points that are passed
FIRST: Final = sorted(AMBIGUOUS)
LATER: Final = sorted({*AMBIGUOUS, Fault.NOT_ARRIVED, Fault.ERROR, Fault.LIMITED})


class KilledError(Exception):
    """Stands for the end of the process: nothing is recorded any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What people see in the end, and what it took."""

    posts: int
    seed: int
    visible: Mapping[int, int]  #: how many messages an alert has -> how many alerts have so many
    stale: int  #: messages that do not say that their alert is over
    replies: int
    repeated: int  #: replies that are there more than once
    unsettled: int  #: outbox entries that were not delivered
    faults: Mapping[str, int]
    kills: int
    requests: Mapping[str, int]
    lasted: timedelta

    @property
    def once(self) -> float:
        """The part of the alerts that one message shows."""
        return self.visible.get(1, 0) / self.posts

    @property
    def is_good(self) -> bool:
        lost = self.visible.get(0, 0) + self.unsettled + self.stale
        return not lost and self.once >= 0.999 and self.repeated <= self.replies / 1000


@dataclass
class Trouble:
    """Which request meets which fault, and where the deliverer is killed."""

    random: Random
    is_on: bool = True
    begun: set[str] = field(default_factory=set)  #: subjects whose first post was met
    counts: Counter[str] = field(default_factory=Counter)
    kills: int = 0

    def plan(self, method: str, asked: Mapping[str, Any]) -> Fault:
        fault = self._fault(method, asked)
        self.counts[fault] += 1
        return fault

    def _fault(self, method: str, asked: Mapping[str, Any]) -> Fault:
        if method == "chat.postMessage" and "thread_ts" not in asked:
            subject = asked["metadata"]["event_payload"]["subject"]
            if subject not in self.begun:
                self.begun.add(subject)
                return self.random.choice(FIRST)
        is_met = self.is_on and self.random.random() < TROUBLE
        return self.random.choice(LATER) if is_met else Fault.NONE

    def at(self, point: str) -> None:
        if self.is_on and self.random.random() < KILLED:
            self.kills += 1
            self.counts[f"killed at {point}"] += 1
            raise KilledError


async def run(posts: int, seed: int) -> Result:
    """Under Trio's `MockClock`; with real time it takes BETWEEN_S for each post."""
    clock = virtual(START)
    trouble = Trouble(Random(f"{seed}:faults"))
    slack = SlackApi(clock, plan=trouble.plan)
    alerts = list(_alerts(posts))
    with Store.open("sqlite://", app="275211", now=clock.wall) as store:
        writer = Writer(store, run_sync=inline)
        async with trio.open_nursery() as nursery:
            await nursery.start(writer.run)
            nursery.start_soon(_delivering, slack, writer, clock, trouble, Random(f"{seed}:jitter"))
            await _lived(alerts, slack, writer, Random(f"{seed}:lives"))
            trouble.is_on = False
            await trio.sleep(3600)  # what waits for its retry comes too
            nursery.cancel_scope.cancel()
        entries = store.entries(receiver="oncall", limit=10 * posts)
        unsettled = 2 * posts - sum(entry.state is EntryState.DELIVERED for entry in entries)
    return _judged(alerts, slack, trouble, seed=seed, unsettled=unsettled, lasted=clock.wall() - START)


def _alerts(posts: int) -> Iterator[Alert]:
    for number in range(posts):
        at = START + timedelta(seconds=number * BETWEEN_S)
        yield an_alert(
            id=AlertId(f"{number:032x}"),
            title=f"Missed call {number}",
            severity=list(Severity)[number % 3],
            event_at=at,
            first_seen_at=at,
            lasts=True,
        )


async def _delivering(
    slack: SlackApi, writer: Writer, clock: Clock, trouble: Trouble, random: Random
) -> None:
    """The deliverer, started again whenever it was killed."""
    http = open_http(transport=httpx.MockTransport(slack))
    while True:
        sink = SlackBotSink(
            token=lambda: TOKEN, channel=CHANNEL, url="https://slack.example/api", http=http, clock=clock
        )
        deliverer = Deliverer(
            receiver=ONCALL, sink=sink, writer=writer, clock=clock, random=random, at=trouble.at
        )
        try:
            await deliverer.run()
        except KilledError:
            await trio.sleep(1)


async def _lived(alerts: list[Alert], slack: SlackApi, writer: Writer, random: Random) -> None:
    """Every alert begins in its turn, and lives at the side of the others."""
    async with trio.open_nursery() as lives:
        for alert in alerts:
            lives.start_soon(_life, alert, writer, random)
            for _ in range(int(random.random() * 2 * CHATTER + 0.5)):
                slack.chat("has anybody seen this?")
            await trio.sleep(BETWEEN_S)


async def _life(alert: Alert, writer: Writer, random: Random) -> None:
    await _found(alert, writer)
    lasts_s = random.uniform(*LASTS_S)
    if random.random() < ACKNOWLEDGED:
        await trio.sleep(lasts_s / 2)
        await writer.submit(lambda tx: tx.ack(alert.id, by="ann"))
    await trio.sleep(lasts_s / 2)
    over = replace(alert, status=Status.RESOLVED, resolution="answered on another device")
    await _found(over, writer)


async def _found(alert: Alert, writer: Writer) -> None:
    commit = Commit(findings=(Finding(alert=alert, routes=(Route(receiver="oncall"),)),))
    await writer.submit(lambda tx: tx.commit(commit))


def _judged(
    alerts: list[Alert], slack: SlackApi, trouble: Trouble, *, seed: int, unsettled: int, lasted: timedelta
) -> Result:
    roots = {alert.id: slack.about(alert.id) for alert in alerts}
    replies = Counter(
        reply.mark["notification"]
        for shown in roots.values()
        for root in shown
        for reply in slack.thread(root)
    )
    return Result(
        posts=len(alerts),
        seed=seed,
        visible=Counter(len(shown) for shown in roots.values()),
        stale=sum(not _is_over(shown) for shown in roots.values()),
        replies=sum(replies.values()),
        repeated=sum(count - 1 for count in replies.values()),
        unsettled=unsettled,
        faults={fault: count for fault, count in sorted(trouble.counts.items()) if fault != Fault.NONE},
        kills=trouble.kills,
        requests=Counter(method for method, _ in slack.calls),
        lasted=lasted,
    )


def _is_over(shown: list[Message]) -> bool:
    return any(message.title.startswith("✅") for message in shown)
