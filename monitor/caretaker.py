"""What a running monitor does beside its work: notice commands, tell of its own blindness, show, prune."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Final

import structlog
import trio

from monitor import notices
from monitor.clock import Clock
from monitor.configuration import Configuration
from monitor.delivery.fleet import Fleet
from monitor.delivery.policy import decide
from monitor.errors import StoreError
from monitor.health import Health, Sight
from monitor.intake import Intake
from monitor.metrics import Metrics
from monitor.store.store import Store, Tx
from monitor.store.values import Commit, Depth
from monitor.store.writer import RunSync, Writer
from monitor.web.view import BudgetView, StatusView, UserState, UserView
from rules.model import Alert, Status, UserId

log = structlog.get_logger(__name__)

LOOK_S: Final = 2.0  # a command's change must be noticed within 5 s
CHECK_S: Final = 30.0  # a quiet monitor must notice a full disk before the next message does
PRUNE_FIRST_S: Final = 60.0  # a process that never lives for an hour prunes all the same
PRUNE_S: Final = 3600.0
SILENCE: Final = timedelta(minutes=2)  # without any answered poll for longer, the work has stopped
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
        health: Health,
        metrics: Metrics,
        configuration: Callable[[], Configuration],
        clock: Clock,
        run_sync: RunSync,
    ) -> None:
        self._store = store
        self._writer = writer
        self._intake = intake
        self._fleet = fleet
        self._health = health
        self._metrics = metrics
        self._configuration = configuration
        self._clock = clock
        self._run_sync = run_sync
        self._depths: list[Depth] = []
        self._version = 0
        self._checked_at = clock.monotonic()
        self._blind: Alert | None = None

    async def begin(self) -> None:
        """Take up from the store what is still in force: mutes, and a blindness that was told of.

        Raises StoreError if the store can't be read, or would take no commit.
        """
        await self._check_store()
        self._version = await self._run_sync(self._store.version)
        self._intake.mutes = await self._run_sync(self._store.mutes, self._clock.wall())
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
                await self._notice_blindness()
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

    async def _prune_all(self) -> int:
        """Prune in transactions of bounded size until nothing old is left. Returns the rows removed."""
        now, keep = self._clock.wall(), self._configuration().settings.retention
        removed = 0
        while some := await self._writer.submit(_pruning(now, keep)):
            removed += some
            await trio.sleep(PRUNE_PAUSE_S)
        return removed

    def status(self) -> StatusView:
        """One look at everything, from memory."""
        health, settings, now = self._health, self._configuration().settings, self._clock.wall()
        return StatusView(
            version=version("cometwatch"),
            app=settings.api.app,
            now=now,
            started_at=health.started_at,
            budget=BudgetView(
                requests_per_minute=settings.api.requests_per_minute, waiting=self._intake.waiting()
            ),
            users=tuple(self._user(uid, now) for uid in sorted(self._intake.orders.watch)),
            receivers=self._queues(),
            rules=len(self._intake.orders.rules.rules),
            timers_pending=len(self._intake.timers),
            watching_since=self._store.watching_since,
            paused_until=self._paused_until(now),
            blind_since=health.blind_since(now, after=settings.blind_after),
            last_poll_at=health.last_success_at,
            last_commit_at=health.last_commit_at,
            last_error=health.last_error,
            store_error=health.store_error,
            config_error=health.config_error,
            max_silence=max(SILENCE, 3 * settings.poll.min_interval),
        )

    def _queues(self) -> tuple[Depth, ...]:
        """Every configured receiver's queue, and those of receivers that are gone but still have one."""
        found = {depth.receiver: depth for depth in self._depths}
        for receiver in self._configuration().settings.receivers:
            idle = Depth(receiver=receiver.name, pending=0, dead=0, oldest_at=None)
            found.setdefault(receiver.name, idle)
        return tuple(found.values())

    def _user(self, uid: UserId, now: datetime) -> UserView:
        sight = self._health.sights.get(uid, Sight())
        lag = (now + self._intake.skew - sight.watermark).total_seconds() if sight.watermark else None
        return UserView(
            uid=uid,
            state=self._state(uid, sight),
            labels=self._intake.orders.watch[uid],
            cursor=self._intake.stored_cursor(uid).id,
            last_poll_at=sight.last_poll_at,
            watermark=sight.watermark,
            lag_s=lag,
            last_error=sight.last_error,
        )

    def _state(self, uid: UserId, sight: Sight) -> UserState:
        if sight.unknown:
            return UserState.UNKNOWN
        if sight.failures:
            return UserState.FAILING
        if sight.last_poll_at is None:
            return UserState.STARTING
        return UserState.CATCHING_UP if self._intake.is_behind(uid) else UserState.CURRENT

    def _paused_until(self, now: datetime) -> datetime | None:
        until = self._intake.gate.closed_until
        return None if until is None else now + timedelta(seconds=until - self._clock.monotonic())

    async def _check_store(self) -> None:
        await self._run_sync(self._store.probe)
        self._checked_at = self._clock.monotonic()
        self._health.store_works()
        self._metrics.store_writable.set(1)

    async def _notice_commands(self) -> None:
        """Take over what a command changed in the store: mutes, cursors, redriven or dropped entries."""
        changes, now = await self._run_sync(self._store.version), self._clock.wall()
        if changes == self._version:
            return
        async with self._intake.standstill():
            self._intake.mutes = await self._run_sync(self._store.mutes, now)
            self._intake.timers.reset(await self._run_sync(self._store.timers))
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
        orders = self._intake.orders
        findings = decide(
            [alert],
            routes=orders.routes,
            watch=orders.watch,
            mutes=self._intake.mutes,
            now=alert.event_at,
            max_age=orders.max_age,
        )
        await self._writer.submit(lambda tx: tx.commit(Commit(findings=findings)))
        self._fleet.nudge()
        log.warning(f"source.{'blind' if alert.status is Status.FIRING else 'sees_again'}", title=alert.title)

    async def _show(self) -> None:
        """Bring the gauges up to date."""
        self._depths = await self._run_sync(self._store.depths)
        view, metrics = self.status(), self._metrics
        self._show_receivers(view)
        for state in UserState:
            metrics.users.labels(state.value).set(sum(user.state is state for user in view.users))
        metrics.watermark_lag_seconds.set(
            max((self._lag(user, view.now) for user in view.users), default=0.0)
        )
        metrics.budget_waiting.set(view.budget.waiting)
        metrics.timers_pending.set(view.timers_pending)
        paused = view.paused_until
        metrics.source_paused_until_timestamp_seconds.set(paused.timestamp() if paused else 0)
        failing = self._health.failing_since
        metrics.source_blind_seconds.set((view.now - failing).total_seconds() if failing else 0)
        if view.last_poll_at:
            metrics.last_poll_success_timestamp_seconds.set(view.last_poll_at.timestamp())

    def _lag(self, user: UserView, now: datetime) -> float:
        """How far behind a user is; one who was never read, since we try."""
        if user.lag_s is not None:
            return user.lag_s
        sight = self._health.sights.get(user.uid)
        return (now - sight.since).total_seconds() if sight and sight.since else 0.0

    def _show_receivers(self, view: StatusView) -> None:
        configured = {receiver.name for receiver in self._configuration().settings.receivers}
        for depth in view.receivers:
            if depth.receiver in configured:
                age = (view.now - depth.oldest_at).total_seconds() if depth.oldest_at else 0.0
                self._metrics.outbox_pending.labels(depth.receiver).set(depth.pending)
                self._metrics.outbox_dead.labels(depth.receiver).set(depth.dead)
                self._metrics.outbox_oldest_age_seconds.labels(depth.receiver).set(max(0.0, age))


def _pruning(now: datetime, keep: timedelta) -> Callable[[Tx], int]:
    return lambda tx: tx.prune(now, keep)
