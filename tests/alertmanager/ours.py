"""A scene on the shipped policy, store, deliverers and duties, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Final

import trio
from msgspec.structs import replace
from prometheus_client import CollectorRegistry
from trio.testing import MockClock

from monitor.clock import Clock, virtual
from monitor.delivery.fleet import Fleet, Post
from monitor.delivery.outbox import Deliverer
from monitor.delivery.policy import RouteSpec, decide, silenced_by
from monitor.delivery.sinks.base import Delivered, Traits
from monitor.delivery.values import Receiver
from monitor.evaluation import Orders
from monitor.metrics import Metrics
from monitor.oncall import OnCall
from monitor.store.store import Store, Tx
from monitor.store.values import Commit, Notification, Step
from monitor.store.writer import Writer, inline
from rules.model import Alert, AlertId, RuleName, Severity, Status
from tests.rules.builders import rules_of

from .scenes import Firing, Scene, Silenced
from .told import Told, told

START: Final = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
UNIT_S: Final = 20
ROUND_S: Final = 2.0  # between two rounds of duties, as it is in life
APP: Final = "app"
OURS: Final = "cometwatch-"  #: rules of alerts about ourselves, of which Alertmanager knows nothing


class Recorder:
    """A machine that is told."""

    traits = Traits(people=False)

    def __init__(self, hear: Callable[[Notification], None]) -> None:
        self._hear = hear

    async def send(self, notification: Notification) -> Delivered:
        await trio.lowlevel.checkpoint()
        self._hear(notification)
        return Delivered()


def play(scene: Scene) -> list[Told]:
    """What receivers are told in a scene."""
    return trio.run(_play, scene, clock=MockClock(autojump_threshold=0))


async def _play(scene: Scene) -> list[Told]:
    began, heard = trio.current_time(), list[Told]()
    clock = virtual(START - timedelta(seconds=began))

    def hear(notification: Notification) -> None:
        at = (trio.current_time() - began) / UNIT_S
        heard.extend(_told(notification, at))

    with Store.open("sqlite://", app=APP, now=clock.wall) as store:
        async with trio.open_nursery() as nursery:
            writer, fleet = Writer(store, run_sync=inline), Fleet()
            await nursery.start(writer.run)
            await nursery.start(fleet.run)
            stage = _Stage(scene, store, writer, fleet, clock)
            names = {name for spec in stage.orders.routes for name in _receivers(spec)}
            fleet.employ({name: Post(name, partial(stage.hire, name, hear)) for name in names})
            nursery.start_soon(stage.look_after)
            for firing in scene.firings:
                nursery.start_soon(stage.fire, firing)
            for silence in scene.silences:
                nursery.start_soon(stage.silence, silence)
            await trio.sleep(scene.until * UNIT_S)
            nursery.cancel_scope.cancel()
    return heard


class _Stage:
    """One scene, playing."""

    def __init__(self, scene: Scene, store: Store, writer: Writer, fleet: Fleet, clock: Clock) -> None:
        self.orders = Orders(
            rules=rules_of("rules: [{name: scene, when: {type: text}}]"),
            watch={},
            routes=tuple(map(_in_minutes, scene.routes)),
            max_age=timedelta(days=1),
        )
        self._store, self._writer, self._fleet, self._clock = store, writer, fleet, clock
        self._duties = OnCall(
            app=APP,
            writer=writer,
            store=store,
            run_sync=inline,
            clock=clock,
            fleet=fleet,
            orders=lambda: self.orders,
            receivers=lambda: (),
            metrics=Metrics(CollectorRegistry()),
        )

    def hire(self, name: str, hear: Callable[[Notification], None]) -> Deliverer:
        return Deliverer(
            receiver=Receiver(name=name, rate_per_s=1000),
            sink=Recorder(hear),
            writer=self._writer,
            clock=self._clock,
            random=Random(1),
            held_until=self._held_until,
        )

    def _held_until(self, alert: Alert) -> datetime | None:
        now = self._clock.wall()
        silence = silenced_by(alert, self._store.silences(now), {}, now)
        return silence.ends_at if silence else None

    async def look_after(self) -> None:
        while True:
            await self._duties.look_after()
            await trio.sleep(ROUND_S)

    async def fire(self, firing: Firing) -> None:
        await trio.sleep(firing.begins * UNIT_S)
        alert = self._alert(firing)
        await self._find(alert)
        if firing.ends is not None:
            await trio.sleep((firing.ends - firing.begins) * UNIT_S)
            await self._find(replace(alert, status=Status.RESOLVED, resolution="it is over"))

    async def silence(self, silence: Silenced) -> None:
        await trio.sleep(silence.begins * UNIT_S)
        starts_at = self._clock.wall()
        span = timedelta(seconds=(silence.ends - silence.begins) * UNIT_S)

        def add(tx: Tx) -> int:
            return tx.add_silence(
                silence.matchers,
                starts_at=starts_at,
                ends_at=starts_at + (span * 10 if silence.is_expired else span),
                author="ann",
                comment="deploy",
            ).id

        number = await self._writer.submit(add)
        if silence.is_expired:
            await trio.sleep(span.total_seconds())
            await self._writer.submit(lambda tx: tx.end_silence(number))

    async def _find(self, alert: Alert) -> None:
        now = self._clock.wall()
        findings = decide(
            [alert],
            routes=self.orders.routes,
            watch={},
            silences=self._store.silences(now),
            now=now,
            max_age=self.orders.max_age,
        )
        await self._writer.submit(lambda tx: tx.commit(Commit(findings=findings)))
        self._fleet.nudge()

    def _alert(self, firing: Firing) -> Alert:
        now = self._clock.wall()
        return Alert(
            id=AlertId(f"{firing.name}@{firing.begins}"),
            rule=RuleName("scene"),
            key=firing.name,
            status=Status.FIRING,
            severity=Severity(firing.labels.get("severity", "warning")),
            title=firing.name,
            summary="",
            conversation_id="",
            event_at=now,
            first_seen_at=now,
            labels={**firing.labels, "alert": firing.name},
            lasts=True,
        )


def _in_minutes(spec: RouteSpec) -> RouteSpec:
    timing = spec.timing
    if timing is not None:
        repeat = timing.repeat * UNIT_S if timing.repeat else None
        timing = replace(timing, wait=timing.wait * UNIT_S, interval=timing.interval * UNIT_S, repeat=repeat)
    steps: tuple[Step, ...] = ()
    return replace(spec, timing=timing, steps=steps, routes=tuple(map(_in_minutes, spec.routes)))


def _receivers(spec: RouteSpec) -> Iterator[str]:
    yield from spec.receivers
    for within in spec.routes:
        yield from _receivers(within)


def _told(notification: Notification, at: float) -> Iterator[Told]:
    """A batch of alerts that are in no group is a notification each: so a machine reads it."""
    alerts = [one for one in notification.alerts if not one.rule.startswith(OURS)]
    if notification.group and alerts:
        statuses = [(one.key, one.status is Status.FIRING) for one in (*alerts, *notification.others)]
        yield told(at, notification.receiver, notification.group, statuses)
        return
    for one in alerts:
        labels = {**one.labels, "rule": one.rule, "severity": one.severity.value}
        yield told(at, notification.receiver, labels, [(one.key, one.status is Status.FIRING)])
