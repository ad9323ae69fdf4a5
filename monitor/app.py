"""The composition root: builds every part in reading order, and nests their lifetimes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from random import Random
from typing import Any, Final, Literal

import httpx
import structlog
import trio
from prometheus_client import CollectorRegistry

from monitor import notices
from monitor.accounts import Accounts
from monitor.allowance import Allowance
from monitor.caretaker import Caretaker
from monitor.clock import Clock
from monitor.configuration import Configuration
from monitor.delivery.fleet import Fleet, Post
from monitor.delivery.outbox import Deliverer
from monitor.delivery.policy import decide, silenced_by
from monitor.discovery import Discovery, Found
from monitor.errors import ConfigError, StoreError
from monitor.evaluation import Orders
from monitor.health import Health
from monitor.heartbeat import Beat, Heart, Hearts
from monitor.intake import Intake
from monitor.metrics import Metrics
from monitor.oncall import OnCall
from monitor.outlets import Outlets, receiver_of
from monitor.schedule.budget import WINDOW_S, Budget
from monitor.schedule.promises import auto
from monitor.schedule.turns import Turns
from monitor.settings.model import Settings
from monitor.settings.receivers import Receiver as ReceiverSettings
from monitor.source.client import Client, base_url
from monitor.store.store import Store, Tx
from monitor.store.values import Commit, UserRow
from monitor.store.writer import RunSync, Writer
from monitor.timers import Timers
from rules.model import Alert, ListId, RuleName, Status, Timer
from rules.pace import SURGE

log = structlog.get_logger(__name__)

BEGINNING: Final = datetime.fromtimestamp(0, UTC)
# What a running process can't exchange without losing its place: it says so and goes on as before.
MOST_WITHDRAWN: Final = 1_000  # alerts of one rule that are ended when it is removed
FIXED: Final = ("api", "poll", "store", "server", "log")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Everything that is not ours: time, chance, threads, wires. Tests bring their own."""

    http: httpx.AsyncBaseTransport  #: to CometChat
    outlets: Outlets  #: to receivers; apart, so that neither waits for the other's connections
    clock: Clock = field(default_factory=Clock)
    random: Random = field(default_factory=Random)
    run_sync: RunSync = trio.to_thread.run_sync
    at: Callable[[str], None] = lambda _: None  #: named moments, at which crash tests strike


class App:
    """One monitor. Build it on an open store, then `run` it."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        store: Store,
        outside: Outside,
        registry: CollectorRegistry,
        read: Callable[[], Configuration] | None = None,
    ) -> None:
        """`read` gives the configuration anew for a reload; without it there are no reloads."""
        self.configuration = configuration
        self.store = store
        self.metrics = Metrics(registry)
        self.health = Health(started_at=outside.clock.wall())
        self._outside = outside
        self._read = read
        self.writer = Writer(store, run_sync=outside.run_sync, at=outside.at, observe=self._observe_commit)
        self.fleet = Fleet()
        self.client = make_client(configuration.settings, http=outside.http, clock=outside.clock)
        self.intake = self._make_intake(configuration)
        self.discovery = Discovery(
            client=self.client,
            ask=self.intake.allowance.ask,
            writer=self.writer,
            watch=lambda: self.configuration.settings.watch,
            start_at=lambda: start_of(self.configuration.settings.watch.start, now=outside.clock.wall()),
            changed=self._find,
            health=self.health,
            metrics=self.metrics,
            clock=outside.clock,
            random=outside.random,
        )
        self._adopting = trio.Lock()
        self.hearts = Hearts(self._make_hearts)
        self.oncall = self._make_oncall(configuration.settings.api.app, store)
        self.caretaker = Caretaker(
            store=store,
            writer=self.writer,
            oncall=self.oncall,
            intake=self.intake,
            fleet=self.fleet,
            health=self.health,
            metrics=self.metrics,
            configuration=lambda: self.configuration,
            clock=outside.clock,
            random=outside.random,
            run_sync=outside.run_sync,
        )

    # --- building ----------------------------------------------------------------------------------------

    def _make_intake(self, configuration: Configuration) -> Intake:
        settings, outside = configuration.settings, self._outside
        api, poll = settings.api, settings.poll
        budget = Budget(per_minute=api.requests_per_minute, now=outside.clock.monotonic(), share=api.share)
        accounts = Accounts(
            writer=self.writer,
            orders=configuration.orders,
            timers=Timers(),
            health=self.health,
            metrics=self.metrics,
            clock=outside.clock,
            settle=poll.settle,
            nudge=self.fleet.nudge,
        )
        turns = Turns(
            random=outside.random,
            min_interval=poll.min_interval.total_seconds(),
            rate=api.requests_per_minute / WINDOW_S,
        )
        return Intake(
            client=self.client,
            accounts=accounts,
            allowance=Allowance(budget=budget, clock=outside.clock),
            turns=turns,
            source=settings.watch.source,
            health=self.health,
            metrics=self.metrics,
            clock=outside.clock,
            random=outside.random,
            page_size=poll.page_size,
            min_interval=poll.min_interval.total_seconds(),
            settle=poll.settle,
            look_every=None if poll.second_look == "off" else poll.second_look,
            update_every=None if poll.updates == "off" else poll.updates,
            at=outside.at,
            pollers=poll.concurrency,
        )

    def _make_oncall(self, app: str, store: Store) -> OnCall:
        outside = self._outside
        return OnCall(
            app=app,
            writer=self.writer,
            store=store,
            run_sync=outside.run_sync,
            clock=outside.clock,
            fleet=self.fleet,
            orders=lambda: self.intake.accounts.orders,
            receivers=lambda: map(receiver_of, self.configuration.settings.receivers),
            metrics=self.metrics,
        )

    def _make_hearts(self) -> list[Heart]:
        settings, outlets = self.configuration.settings, self._outside.outlets
        return [
            Heart(
                Beat(name=f"{number}", every=one.every, queue_limit=one.queue_limit),
                outlets.sign_of_life(one, settings.receivers, app=settings.api.app),
                status=self.caretaker.overview.status,
                clock=self._outside.clock,
                told=self._observe_heartbeat,
            )
            for number, one in enumerate(settings.heartbeats, start=1)
        ]

    def _posts(self, settings: Settings) -> dict[str, Post]:
        return {
            receiver.name: Post(receiver, partial(self._hire, receiver, settings.api.app))
            for receiver in settings.receivers
        }

    def _hire(self, receiver: ReceiverSettings, app: str) -> Deliverer:
        return Deliverer(
            receiver=receiver_of(receiver),
            sink=self._outside.outlets.sink(receiver, app=app),
            writer=self.writer,
            clock=self._outside.clock,
            random=self._outside.random,
            at=self._outside.at,
            observer=self,
            held_until=self._held_until,
        )

    def _held_until(self, alert: Alert) -> datetime | None:
        """When the silence ends that takes the alert now; None if none does."""
        accounts, now = self.intake.accounts, self._outside.clock.wall()
        silence = silenced_by(alert, accounts.silences, accounts.orders.watch, now)
        return silence.ends_at if silence else None

    # --- running -----------------------------------------------------------------------------------------

    async def run(
        self,
        stop: trio.Event,
        *,
        serve: Callable[..., Awaitable[Any]] | None = None,
        reload: trio.MemoryReceiveChannel[str] | None = None,
        task_status: trio.TaskStatus[str | None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Watch until `stop`; then end the intake, let deliveries finish until their deadline, and leave.

        `serve` is started with `nursery.start` around everything else and tells the pages' address, which is
        passed on as started value. Cancelled instead of stopped, nothing is lost: what was in flight is done
        again at the next start. Raises StoreError if the store fails at the start, and whatever is a bug.
        """
        settings = self.configuration.settings
        async with trio.open_nursery() as outermost:
            await outermost.start(self.writer.run)
            url = await outermost.start(serve) if serve else None
            async with trio.open_nursery() as delivery:
                await delivery.start(self.fleet.run)
                async with trio.open_nursery() as intake:
                    await self._begin()
                    intake.start_soon(self.intake.run, name="intake")
                    intake.start_soon(self.caretaker.look_after, name="look after")
                    intake.start_soon(self.caretaker.predict, name="predict")
                    intake.start_soon(self.caretaker.calm, name="calm")
                    intake.start_soon(self.caretaker.prune, name="prune")
                    intake.start_soon(self.discovery.run, name="discover")
                    intake.start_soon(self.hearts.run, name="heartbeats")
                    if reload is not None:
                        intake.start_soon(self._reload_when_told, reload, name="reload")
                    log.info("monitor.started", url=url, lists=len(self.intake.followed))
                    task_status.started(url)
                    await stop.wait()
                    intake.cancel_scope.cancel()
                with trio.move_on_after(settings.drain_timeout.total_seconds()) as drain:
                    await self.fleet.finish()
                log.info("delivery.drained", in_time=not drain.cancelled_caught)
                delivery.cancel_scope.cancel()
            outermost.cancel_scope.cancel()
        log.info("monitor.stopped")

    async def _begin(self) -> None:
        """Bring the store in line with the configuration, and take up the work where it was left."""
        settings = self.configuration.settings
        if self.store.opened_empty:
            log.warning("store.empty", watching_since=self.store.watching_since.isoformat())
        self.metrics.started(version("cometwatch"))
        self.metrics.budget_requests_per_minute.set(settings.api.requests_per_minute)
        rows = await self._outside.run_sync(self.store.users)
        found = self.discovery.recall(rows)
        await self._adopt(self.configuration.finding(found), before=rows)
        self._took_effect(self.configuration)
        await self.caretaker.begin()
        self.fleet.employ(self._posts(settings))

    async def _find(self, found: Found) -> None:
        """Take over that other users were discovered than before. Raises StoreError; then nothing changed."""
        async with self._adopting:
            await self._adopt(self.configuration.finding(found))

    async def _adopt(self, configuration: Configuration, *, before: Sequence[UserRow] = ()) -> None:
        """Make a configuration the one in force: in one transaction, then in memory at once.

        `before` are the lists that were read in an earlier life. With another `watch.source` others take
        their place, and begin where those ended.
        """
        settings, orders = configuration.settings, configuration.orders
        terms = configuration.terms
        now = self._outside.clock.wall()
        start_at = start_of(settings.watch.start, now=now)
        followed = self.intake.followed

        def work(tx: Tx) -> tuple[list[UserRow], frozenset[ListId], list[Timer]]:
            closed = tx.adopt_rules(orders.rules.fingerprints)
            if closed:
                log.info("rules.closed", rules=list(closed))
            removed = [rule for rule in closed if rule not in orders.rules.fingerprints]
            self._withdraw(tx, removed, orders, now)
            is_moved = tx.adopt_source(settings.watch.source)
            since = read_up_to(before, rate=settings.api.requests_per_minute / WINDOW_S) if is_moved else None
            if is_moved:
                log.warning("watch.source_changed", source=settings.watch.source, new_lists_from=since)
            # Members whose own lists are not read (one list for all) stay: the store knows who found them.
            tx.leave(set(tx.watched()) - terms.keys() - configuration.roster.members.keys(), now)
            unread = {uid for timer in tx.timers() for uid in timer.lists} - terms.keys()
            tx.close_users(unread, "no longer watched")
            rows = tx.add_users([ListId(uid) for uid in terms if uid not in followed], since or start_at)
            # A start of "now" was told by our clock, and is corrected when CometChat's is known.
            is_now = settings.watch.start == "now" and since is None
            new = {row.uid for row in rows if row.is_unread and is_now}
            return rows, frozenset(new), tx.timers()

        # At a standstill: no page is judged by the old orders after the new ones are in the store, and no
        # timer is started between being read there and being taken over here.
        async with self.intake.accounts.standstill():
            rows, new, timers = await self.writer.submit(work)
            self.configuration = configuration
            self.intake.accounts.orders = orders
            self.intake.accounts.timers.reset(timers)
            self.intake.unfollow(followed - terms.keys())
            self.intake.wish(terms)
            self.intake.follow(rows, wishes=terms, new=new)

    def _withdraw(self, tx: Tx, removed: Iterable[RuleName], orders: Orders, now: datetime) -> None:
        """End what still fires of rules that nobody will ask any more, where it was told."""
        firing = (one for rule in removed for one in self.store.alerts(MOST_WITHDRAWN, Status.FIRING, rule))
        findings = decide(
            [notices.withdrawn(alert, now=now) for alert in firing if alert.lasts],
            routes=orders.routes,
            watch=orders.watch,
            silences=(),
            now=now,
            max_age=orders.max_age,
        )
        tx.commit(Commit(findings=findings))

    def _took_effect(self, configuration: Configuration) -> None:
        settings, rules = configuration.settings, configuration.rules
        self.metrics.expect(
            rules=[*rules.fingerprints, *notices.OURS, SURGE], receivers=[r.name for r in settings.receivers]
        )
        self.health.config_error = None
        self.metrics.config_last_reload_successful.set(1)
        self.metrics.config_last_reload_success_timestamp_seconds.set(self._outside.clock.wall().timestamp())

    # --- reloading ---------------------------------------------------------------------------------------

    async def _reload_when_told(self, told: trio.MemoryReceiveChannel[str]) -> None:
        async for reason in told:
            await self.reload(reason)

    async def reload(self, reason: str) -> bool:
        """Read the configuration again and adopt it whole, or keep the last good one and say why."""
        assert self._read is not None, "an app without `read` is not told to reload"
        try:
            configuration = await self._outside.run_sync(self._read)
            check_fixed(self.configuration.settings, configuration.settings)
            if configuration.is_same(self.configuration):
                if self.health.config_error:  # the mistake was taken back
                    self._took_effect(self.configuration)
                    log.info("config.restored", reason=reason)
                return True
            before = self.intake.followed
            async with self._adopting:
                await self._adopt(configuration.finding(self.discovery.found))
        except (ConfigError, StoreError) as error:
            self.metrics.config_last_reload_successful.set(0)
            self.health.config_error = str(error)
            log.error("config.reload_failed", reason=reason, error=str(error), kept="the last good one")
            return False
        self._took_effect(configuration)
        self.fleet.employ(self._posts(configuration.settings))
        self.hearts.renew()
        self.discovery.reconsider()
        after = self.intake.followed
        log.info(
            "config.reloaded",
            reason=reason,
            rules=len(configuration.rules.rules),
            lists=len(after),
            came=len(after - before),
            went=len(before - after),
        )
        return True

    # --- what parts tell ---------------------------------------------------------------------------------

    def on_delivered(self, receiver: str, delay_s: float) -> None:
        self.metrics.delivery_delay_seconds.labels(receiver).observe(delay_s)

    def on_outcome(self, receiver: str, outcome: str) -> None:
        self.metrics.deliveries_total.labels(receiver, outcome).inc()

    def on_standing(self, receiver: str, change: str, outcome: str) -> None:
        self.metrics.standing_total.labels(receiver, change, outcome).inc()

    def _observe_heartbeat(self, name: str, at: datetime) -> None:
        self.metrics.heartbeat_timestamp_seconds.labels(name).set(at.timestamp())

    def _observe_commit(self, group: int, seconds: float) -> None:
        self.metrics.commit_group_size.observe(group)
        self.metrics.commit_seconds.observe(seconds)
        self.metrics.last_commit_timestamp_seconds.set(self._outside.clock.wall().timestamp())


def start_of(start: datetime | Literal["now", "beginning"], *, now: datetime) -> datetime:
    """The instant from which a new user's messages count."""
    if isinstance(start, datetime):
        return start
    # `sentAt` has whole seconds: what is sent right after the start seems to be older than it.
    return now.replace(microsecond=0) if start == "now" else BEGINNING


def read_up_to(rows: Iterable[UserRow], *, rate: float) -> datetime | None:
    """Up to where all these lists were read, as far as we know, when the process that read them ended.

    A quiet list's stored watermark is old. But it was polled like all others, so it is behind the newest
    one by no more than the rounds that `auto` promises at `rate` requests a second. A list whose history is
    still to be read was read up to nowhere.
    """
    staying = [row for row in rows if row.left_at is None]
    seen = [row.watermark for row in staying if row.watermark]
    if not seen:
        return None
    unread = [row.start_at for row in staying if row.cursor.back is not None]
    return min([max(seen) - timedelta(seconds=auto(len(seen), rate)), *unread])


def make_client(settings: Settings, *, http: httpx.AsyncBaseTransport, clock: Clock) -> Client:
    """The API client that the settings describe."""
    api = settings.api
    return Client(
        base_url=api.base_url or base_url(api.app_id or "", api.region or ""),
        api_key=api.key,
        http=http,
        clock=clock,
        timeout_s=api.timeout.total_seconds(),
        max_body=api.max_body,
    )


def check_fixed(old: Settings, new: Settings) -> None:
    """Raise ConfigError if a reload would change what a running process can't exchange."""
    changed = [key for key in FIXED if getattr(new, key) != getattr(old, key)]
    if new.watch.source != old.watch.source:
        changed.append("watch.source")
    if changed:
        raise ConfigError(f"{', '.join(changed)} changed: restart to make it take effect, or change it back")
