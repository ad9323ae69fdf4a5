"""What a running monitor does beside its work: notice commands, tell of its own blindness, show, prune."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

import structlog
import trio

from monitor import notices
from monitor.clock import Clock
from monitor.configuration import Configuration
from monitor.delivery.fleet import Fleet
from monitor.delivery.policy import decide
from monitor.errors import StoreError
from monitor.health import Health
from monitor.intake import Intake
from monitor.metrics import Metrics
from monitor.oncall import OnCall
from monitor.overview import Overview
from monitor.store.store import Store, Tx
from monitor.store.values import Commit, Depth
from monitor.store.writer import RunSync, Writer
from monitor.web.view import BudgetView, StatusView
from rules.model import Alert, Status

log = structlog.get_logger(__name__)

LOOK_S: Final = 2.0  # a command's change must be noticed within 5 s
CHECK_S: Final = 30.0  # a quiet monitor must notice a full disk before the next message does
PREDICT_S: Final = 60.0
CALM_S: Final = 60.0
LONG_AGO: Final = datetime.fromtimestamp(0, UTC)
PRUNE_FIRST_S: Final = 60.0  # a process that never lives for an hour prunes all the same
PRUNE_S: Final = 3600.0
COUNTED_A_SECOND: Final = 5_000  # lists; going through so many takes some five milliseconds
STRETCHED: Final = 1.005  # the least that is worth telling
TOLD_AFTER_S: Final = 60.0  # the last seconds of a spent quota are no news
PRUNE_PAUSE_S: Final = 0.2  # between two transactions of it: polls come first


class Caretaker:
    """Looks after one running monitor. `configuration` gives the one in force."""

    def __init__(
        self,
        *,
        store: Store,
        writer: Writer,
        intake: Intake,
        fleet: Fleet,
        oncall: OnCall,
        health: Health,
        metrics: Metrics,
        configuration: Callable[[], Configuration],
        clock: Clock,
        random: Random,
        run_sync: RunSync,
    ) -> None:
        self._store = store
        self._writer = writer
        self._intake = intake
        self._fleet = fleet
        self._oncall = oncall
        self._health = health
        self._metrics = metrics
        self._configuration = configuration
        self._clock = clock
        self._random = random
        self._run_sync = run_sync
        self._depths: list[Depth] = []
        self._version = 0
        self._checked_at = clock.monotonic()
        self._counted_at = -math.inf
        self._is_stretched = False
        self._promises_as_told_at = clock.monotonic()
        self._blind: Alert | None = None
        self.overview = Overview(
            intake=intake,
            health=health,
            clock=clock,
            configuration=configuration,
            queues=self.queues,
            conditions=fleet.conditions,
            watching_since=store.watching_since,
        )

    async def begin(self) -> None:
        """Take up from the store what is still in force: silences, and a blindness that was told of.

        Raises StoreError if the store can't be read, or would take no commit.
        """
        await self._check_store()
        self._version = await self._run_sync(self._store.version)
        self._intake.accounts.silences = await self._run_sync(self._store.silences, self._clock.wall())
        blind = await self._run_sync(self._store.alerts, 1, Status.FIRING, notices.BLIND)
        self._blind = blind[0] if blind else None
        await self._show()

    async def look_after(self) -> None:
        """Look around every two seconds, for ever."""
        while True:
            try:
                if self._health.store_error or self._clock.monotonic() - self._checked_at >= CHECK_S:
                    await self._check_store()
                await self._notice_commands()
                await self._intake.conclude_everywhere()
                await self._notice_blindness()
                await self._oncall.look_after()
                await self._show()
            except StoreError as error:
                # The next look tries again; readiness says meanwhile that the store is in trouble.
                self._health.store_error = str(error)
                self._metrics.store_writable.set(0)
                log.error("store.failed", error=str(error))
            await trio.sleep(LOOK_S)

    async def prune(self) -> None:
        """Remove every hour what is older than the retention."""
        await trio.sleep(PRUNE_FIRST_S)
        while True:
            try:
                log.info("store.pruned", rows=await self._prune_all())
            except StoreError as error:
                log.error("store.prune_failed", error=str(error))
            await trio.sleep(PRUNE_S)

    async def predict(self) -> None:
        """Show every minute what detection delay the present activity and budget let us expect."""
        while True:
            if (outlook := self._intake.outlook(self._random)) is not None:
                prediction = await self._run_sync(outlook)
                for statistic, seconds in (
                    ("mean", prediction.mean_s),
                    ("p95", prediction.p95_s),
                    ("worst", prediction.worst_s),
                ):
                    self._metrics.detection_delay_predicted_seconds.labels(statistic).set(seconds)
            await trio.sleep(PREDICT_S)

    async def calm(self) -> None:
        """End every minute the surges of rules that are over."""
        while True:
            try:
                if (seen := self._intake.seen_everywhere(past=LONG_AGO)) is not None:
                    await self._intake.accounts.calm(seen)
            except StoreError as error:
                log.error("store.calm_failed", error=str(error))
            await trio.sleep(CALM_S)

    async def _prune_all(self) -> int:
        """Prune in transactions of bounded size until nothing old is left. Returns the rows removed."""
        now, settings = self._clock.wall(), self._configuration().settings
        removed = 0
        while some := await self._writer.submit(_pruning(now, settings.retention, settings.watch.grace)):
            removed += some
            await trio.sleep(PRUNE_PAUSE_S)
        return removed

    def queues(self) -> tuple[Depth, ...]:
        """Every configured receiver's queue, and those of receivers that are gone but still have one."""
        found = {depth.receiver: depth for depth in self._depths}
        for receiver in self._configuration().settings.receivers:
            idle = Depth(receiver=receiver.name, pending=0, dead=0, oldest_at=None)
            found.setdefault(receiver.name, idle)
        return tuple(found.values())

    async def _check_store(self) -> None:
        await self._run_sync(self._store.probe)
        self._checked_at = self._clock.monotonic()
        self._health.store_works()
        self._metrics.store_writable.set(1)

    async def _notice_commands(self) -> None:
        """Take over what a command changed in the store: silences, cursors, redriven or dropped entries."""
        changes, now = await self._run_sync(self._store.version), self._clock.wall()
        if changes == self._version:
            return
        async with self._intake.accounts.standstill():
            self._intake.accounts.silences = await self._run_sync(self._store.silences, now)
            self._intake.accounts.timers.reset(await self._run_sync(self._store.timers))
            self._intake.set_back(await self._run_sync(self._store.users))
        self._version = changes  # only now: what could not be read is looked for again
        self._fleet.nudge()

    async def _notice_blindness(self) -> None:
        """Tell receivers that we can't see, and when we can again."""
        now, settings = self._clock.wall(), self._configuration().settings
        since = self._health.blind_since(now, after=settings.blind_after)
        if since and self._blind is None:
            error = self._health.last_error or "unknown"
            blind = notices.blind(app=settings.api.app, since=since, error=error, now=now)
            await self._tell(blind)
            self._blind = blind
        elif self._blind and self._health.failing_since is None and self._health.last_success_at:
            await self._tell(notices.sees_again(self._blind, now=now))
            self._blind = None

    async def _tell(self, alert: Alert) -> None:
        orders = self._intake.accounts.orders
        findings = decide(
            [alert],
            routes=orders.routes,
            watch=orders.watch,
            silences=self._intake.accounts.silences,
            now=alert.event_at,
            max_age=orders.max_age,
        )
        await self._writer.submit(lambda tx: tx.commit(Commit(findings=findings)))
        self._fleet.nudge()
        log.warning(f"source.{'blind' if alert.status is Status.FIRING else 'sees_again'}", title=alert.title)

    async def _show(self) -> None:
        """Bring the gauges up to date."""
        self._depths = await self._run_sync(self._store.depths)
        await self._count_lists()
        view, metrics = self.overview.status(), self._metrics
        self._show_receivers(view)
        self._show_budget(view.budget)
        metrics.timers_pending.set(view.timers_pending)
        paused = view.paused_until
        metrics.source_paused_until_timestamp_seconds.set(paused.timestamp() if paused else 0)
        failing = self._health.failing_since
        metrics.source_blind_seconds.set((view.now - failing).total_seconds() if failing else 0)
        if view.last_poll_at:
            metrics.last_poll_success_timestamp_seconds.set(view.last_poll_at.timestamp())

    async def _count_lists(self) -> None:
        """Go through all lists: every two seconds if they are few, seldom if they are very many."""
        now, lists = self._clock.monotonic(), len(self._intake)
        if now < self._counted_at + lists / COUNTED_A_SECOND:
            return
        self._counted_at = now
        tally = await self.overview.count()
        for state, number in tally.states.items():
            self._metrics.users.labels(state.value).set(number)
        self._metrics.watermark_lag_seconds.set(tally.lag_s or 0.0)

    def _show_budget(self, budget: BudgetView) -> None:
        self._metrics.budget_granted_requests_per_minute.set(budget.granted or 0.0)
        self._metrics.budget_waiting.set(budget.waiting)
        self._metrics.staleness_stretch_ratio.set(budget.stretch)
        self._metrics.looks_late_seconds.set(self._intake.looks_late())
        now = self._clock.monotonic()
        if (budget.stretch > STRETCHED) == self._is_stretched:
            self._promises_as_told_at = now
        elif now - self._promises_as_told_at >= TOLD_AFTER_S:
            self._is_stretched = not self._is_stretched
            log.warning(
                f"promises.{'stretched' if self._is_stretched else 'kept'}",
                stretch=round(budget.stretch, 2),
                granted_per_minute=round(budget.granted or 0.0),
                reason=budget.reason,
            )

    def _show_receivers(self, view: StatusView) -> None:
        configured = {receiver.name for receiver in self._configuration().settings.receivers}
        for depth in view.receivers:
            if depth.receiver in configured:
                age = (view.now - depth.oldest_at).total_seconds() if depth.oldest_at else 0.0
                self._metrics.outbox_pending.labels(depth.receiver).set(depth.pending)
                self._metrics.outbox_dead.labels(depth.receiver).set(depth.dead)
                self._metrics.outbox_oldest_age_seconds.labels(depth.receiver).set(max(0.0, age))


def _pruning(now: datetime, keep: timedelta, grace: timedelta) -> Callable[[Tx], int]:
    return lambda tx: tx.prune(now, keep, grace=grace)
