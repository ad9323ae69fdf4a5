"""A scene on the shipped road, in virtual time: rules, policy, store, deliverers, duties, sinks."""

from __future__ import annotations

import gc
import os
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final, NamedTuple, TypeVar, TypeVarTuple, Unpack

import trio
from prometheus_client import CollectorRegistry
from trio.testing import MockClock

from monitor.clock import Clock, virtual
from monitor.delivery.breaker import OPENS_AFTER
from monitor.delivery.fleet import Fleet, Post
from monitor.delivery.outbox import Deliverer
from monitor.delivery.values import Receiver
from monitor.evaluation import Evaluated, Orders, calm, evaluate
from monitor.metrics import Metrics
from monitor.notices import RECEIVER_FAILING
from monitor.oncall import OnCall
from monitor.store.store import Store, Tx
from monitor.store.values import Change, Commit, EntryState, Kind
from monitor.store.writer import Writer, inline
from monitor.timers import Timers
from rules.model import ListId, Message
from tests.storm.scene import RECEIVERS, Scene, orders, past, script
from tests.storm.town import Town, Witness

START: Final = datetime(2026, 11, 22, 8, tzinfo=UTC)
LOOK_S: Final = 0.5  # between two reads of the list
PAGE: Final = 100
DUTIES_S: Final = 2.0
STORMY_S: Final = 300.0
SELDOM_S: Final = 20.0  # else; it is the same, and takes the campaign less time
CALM_S: Final = 60.0
MOST_GROWTH: Final = 48 * 2**20
"""Bytes that the process may grow by from the first tenth of the alerts to the last message."""
BOB: Final = ListId("bob")
FACTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "oncall": {},
    "bot": {},
    "hook": {"rate_per_s": 10.0, "burst": 10},
}
OURS: Final = ("cometwatch-", "rule-surge")
FIRST_CRITICAL_S: Final = 5.0
MOST_STRAGGLERS: Final = OPENS_AFTER  # claimed while it was not known yet that the receiver takes nothing
KINDS: Final = {Kind.ALERTS: "alert", Kind.GROUP: "group", Kind.SUMMARY: "sum", Kind.DIGEST: "digest"}
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one receiver got."""

    receiver: str
    sends: int
    messages: Mapping[str, int]  #: accepted, by kind
    people_saw: int  #: messages within `Scene.aftermath_s`
    busiest_minute: int
    stragglers: int  #: events by themselves, long after they were found
    first_s: float  #: from the first alert, or the end of the outage, to the first and the last message
    last_s: float
    last_begun_s: float  #: to the last that tells of a beginning
    first_critical_s: float | None  #: from found to told
    worst_critical_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    scene: Scene
    told: tuple[Told, ...]
    found: int
    over: int
    entries: Mapping[str, int]
    costs: Mapping[str, Sequence[float]]  #: seconds of real time, by what was done
    grown: int  #: bytes
    wrong: tuple[str, ...]


class Timed(Writer):
    """The writer, that keeps how long each kind of work took within its transaction."""

    def __init__(self, store: Store, costs: defaultdict[str, list[float]]) -> None:
        super().__init__(store, run_sync=self._timed)
        self._costs = costs

    async def submit(self, work: Callable[[Tx], T]) -> T:
        name = work.__qualname__.split(".<locals>")[0]

        def timed(tx: Tx) -> T:
            began = perf_counter()
            try:
                return work(tx)
            finally:
                self._costs[name].append(perf_counter() - began)

        return await super().submit(timed)

    async def _timed(self, work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        began = perf_counter()
        try:
            return await inline(work, *args)
        finally:
            self._costs["transaction"].append(perf_counter() - began)


@dataclass
class Stage:
    """One scene, playing."""

    scene: Scene
    store: Store
    town: Town
    clock: Clock
    orders: Orders
    writer: Timed
    costs: defaultdict[str, list[float]]
    fleet: Fleet = field(default_factory=Fleet)
    timers: Timers = field(default_factory=Timers)
    memory: list[tuple[float, int]] = field(default_factory=list)
    found: int = 0

    def __post_init__(self) -> None:
        self.witnesses = {name: Witness(self.town.sink(name), self.clock) for name in RECEIVERS}
        self.receivers = {name: Receiver(name=name, **FACTS[name]) for name in RECEIVERS}
        self.duties = OnCall(
            app="275211",
            writer=self.writer,
            store=self.store,
            run_sync=inline,
            clock=self.clock,
            fleet=self.fleet,
            orders=lambda: self.orders,
            receivers=self.receivers.values,
            metrics=Metrics(CollectorRegistry()),
        )

    async def play(self) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.writer.run)
            await nursery.start(self.fleet.run)
            if self.scene.is_known:
                await self.writer.submit(self._remember)
            self.fleet.employ({name: Post(name, partial(self._hire, name)) for name in RECEIVERS})
            nursery.start_soon(self._look_after)
            nursery.start_soon(self._go_down)
            await self._read(script(self.scene, START))
            await trio.sleep(self.scene.end - trio.current_time())
            self._weigh()
            nursery.cancel_scope.cancel()

    def _remember(self, tx: Tx) -> None:
        """The rules found things before, of which nobody was told."""
        untold = replace(self.orders, routes=())
        for message in past(START):
            evaluate(tx, untold, messages=[message], now=message.sent_at, commit=Commit())

    def _hire(self, name: str) -> Deliverer:
        return Deliverer(
            receiver=self.receivers[name],
            sink=self.witnesses[name],
            writer=self.writer,
            clock=self.clock,
            random=Random(f"{self.scene.seed}:{name}"),
        )

    async def _go_down(self) -> None:
        if self.scene.outage_s:
            await trio.sleep(self.scene.began)
            self.town.is_down = True
            await trio.sleep(self.scene.outage_s)
            self.town.is_down = False

    async def _look_after(self) -> None:
        calmed = 0.0
        while True:
            began = perf_counter()
            await self.duties.look_after()
            self.store.depths()
            self.costs["a round of duties"].append(perf_counter() - began)
            if trio.current_time() >= calmed + CALM_S:
                calmed, seen = trio.current_time(), self.clock.wall()
                await self.writer.submit(lambda tx, seen=seen: self._calm(tx, seen))  # type: ignore[misc]  # mypy gives up on the lambda's default
                self._weigh()
            is_storm = 0 < trio.current_time() - self.scene.began < STORMY_S
            await trio.sleep(DUTIES_S if is_storm else SELDOM_S)

    def _calm(self, tx: Tx, seen: datetime) -> None:
        calm(tx, self.orders, silences=(), seen=seen, now=seen)

    async def _read(self, written: list[tuple[float, Message]]) -> None:
        """Read the list as it grows, and judge its silence."""
        read = 0
        while read < len(written) or len(self.timers):
            due = self.timers.first()
            next_at = written[read][0] if read < len(written) else float("inf")
            due_at = (due - START).total_seconds() if due else float("inf")
            await trio.sleep(max(LOOK_S, min(next_at, due_at) - trio.current_time()))
            while read < len(written) and written[read][0] <= trio.current_time():
                page = [m for at, m in written[read : read + PAGE] if at <= trio.current_time()]
                read += len(page)
                await self._step(messages=page)
            if ticks := self.timers.due(BOB, self.clock.wall()):
                for first in range(0, len(ticks), PAGE):
                    await self._step(ticks=ticks[first : first + PAGE])

    async def _step(self, **what: Any) -> None:
        now = self.clock.wall()

        def read_or_judge(tx: Tx) -> Evaluated:
            return evaluate(tx, self.orders, now=now, commit=Commit(), **what)

        done = await self.writer.submit(read_or_judge)
        self.timers.apply(done.outcome.timers, done.outcome.cancelled)
        self.found += len(done.committed.fresh)
        if done.committed.fresh:
            self.fleet.nudge()
        self._weigh_at(self.scene.alerts // 10)

    def _weigh_at(self, found: int) -> None:
        if not self.memory and self.found >= found:
            self._weigh()

    def _weigh(self) -> None:
        if self.found >= self.scene.alerts // 10:
            gc.collect()
            self.memory.append((trio.current_time(), resident()))


def run(scene: Scene) -> Result:
    """Play it to its end. Raises what the road raises."""
    with TemporaryDirectory(prefix="cometwatch-storm-") as folder:
        return trio.run(_run, scene, Path(folder), clock=MockClock(autojump_threshold=0))


async def _run(scene: Scene, folder: Path) -> Result:
    clock, costs = virtual(START), defaultdict[str, list[float]](list)
    with Store.open(f"sqlite:///{folder}/storm.db", app="275211", now=clock.wall) as store:
        stage = Stage(
            scene=scene,
            store=store,
            town=Town(clock),
            clock=clock,
            orders=orders(),
            writer=Timed(store, costs),
            costs=costs,
        )
        async with stage.town.http:
            await stage.play()
        return _judged(stage, folder / "storm.db")


def _judged(stage: Stage, file: Path) -> Result:
    scene = stage.scene
    stored = read_store(file)
    return Result(
        scene=scene,
        told=tuple(_told(stage, name) for name in RECEIVERS),
        found=len({one.alert for one in stored}),
        over=len({one.alert for one in stored if one.status == "resolved"}),
        entries=Counter(one.state for one in stored),
        costs=stage.costs,
        grown=max(size for _, size in stage.memory) - stage.memory[0][1],
        wrong=tuple(_wrong(stage, stored)),
    )


def _wrong(stage: Stage, stored: Sequence[Stored]) -> Iterator[str]:
    """Every broken promise, in words; nothing if all were kept."""
    scene = stage.scene
    found = {one.alert for one in stored if not one.rule.startswith(OURS)}
    if len(found) != scene.alerts:
        yield f"{len(found)} alerts were found, {scene.alerts} were to be"
    for (receiver, status), many in sorted(Counter((one.receiver, one.status) for one in stored).items()):
        due = {one.alert for one in stored if one.status == status}
        if many != len(due) and not any(one.rule == RECEIVER_FAILING for one in stored):
            yield f"{receiver}: {many} entries of {len(due)} alerts ({status})"
    if left := [one for one in stored if one.state != EntryState.DELIVERED]:
        yield f"{len(left)} entries are not delivered, the first: {left[0]}"
    if lost := [one for one in stored if one.notification not in stage.witnesses[one.receiver].accepted]:
        yield f"{len(lost)} entries were in no message that was accepted, the first: {lost[0]}"
    due_there = {(one.alert, one.status) for one in stored if one.receiver == "hook"}
    if due_there != set(stage.town.machine):
        yield f"the machine got {len(stage.town.machine)} of {len(due_there)} alerts, begun and over"
    yield from _annoying(stage)
    yield from _stale(stage)
    if (grown := max(size for _, size in stage.memory) - stage.memory[0][1]) > MOST_GROWTH:
        yield f"the process grew by {grown / 2**20:.0f} MB"


def _annoying(stage: Stage) -> Iterator[str]:
    for name in ("oncall", "bot"):
        told = _told(stage, name)
        if told.people_saw > stage.scene.most_messages:
            yield f"{name}: people saw {told.people_saw} messages, more than {stage.scene.most_messages}"
        if told.stragglers > MOST_STRAGGLERS:
            yield f"{name}: {told.stragglers} old events were told one by one"
        delay = told.first_critical_s
        if not stage.scene.outage_s and (delay is None or delay > FIRST_CRITICAL_S):
            yield f"{name}: the first critical alert was told after {delay} s"


def _stale(stage: Stage) -> Iterator[str]:
    """What a channel shows of an alert by itself says in the end that it is over, if it is."""
    over = {alert for alert, status in stage.town.machine if status == "resolved"}
    for message in stage.town.slack.roots():
        if message.mark["subject"] in over and not message.title.startswith("✅"):
            yield f"the channel shows as firing what is over: {message.title}"


class Stored(NamedTuple):
    """One entry of the outbox, as it stands in the file."""

    alert: str
    rule: str
    status: str
    receiver: str
    state: str
    notification: str | None


def read_store(file: Path) -> list[Stored]:
    """What is in the file, by plain SQL."""
    asked = """SELECT alert_id, rule, entries.status, receiver, state, notification FROM entries
               JOIN alerts ON alerts.id = alert_id WHERE receiver <> '' ORDER BY entries.id"""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        return [Stored(*row) for row in db.execute(asked)]


def _told(stage: Stage, name: str) -> Told:
    witness, scene = stage.witnesses[name], stage.scene
    heard = [one for one in witness.sent if one.at >= scene.began and one.change is not Change.UPDATE]
    since = scene.began + scene.outage_s
    at = [one.at - since for one in heard if one.at - since < scene.aftermath_s]
    delays = list(witness.criticals.values())
    return Told(
        receiver=name,
        sends=witness.sends,
        messages=Counter(f"{KINDS[one.kind]} {'over' if one.status == 'resolved' else ''}" for one in heard),
        people_saw=len(at),
        busiest_minute=max((sum(a <= b < a + 60 for b in at) for a in at), default=0),
        stragglers=sum(one.is_straggler for one in heard),
        first_s=at[0] if at else 0.0,
        last_s=at[-1] if at else 0.0,
        last_begun_s=max((one.at - since for one in heard if one.status == "firing"), default=0.0),
        first_critical_s=delays[0] if delays else None,
        worst_critical_s=max(delays, default=None),
    )


def resident() -> int:
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
