"""One look at the running monitor, from memory: for the page, the probes and the gauges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from heapq import nsmallest
from importlib.metadata import version
from itertools import islice
from typing import Final

import trio
from msgspec.structs import replace

from monitor.allowance import OUTAGE
from monitor.clock import Clock
from monitor.configuration import Configuration
from monitor.delivery.breaker import Condition
from monitor.health import Health, Sight
from monitor.intake import Intake
from monitor.store.values import Depth
from monitor.web.view import WORST_FIRST, BudgetView, ReceiverView, StatusView, Tally, UserState, UserView
from rules.model import ListId

SILENCE: Final = timedelta(minutes=2)  # without any answered poll for longer, the work has stopped
AT_ONCE: Final = 2000  # lists that are counted before polls have their turn again
SHOWN: Final = 200  #: lists that the page names, the worst ones
NEVER: Final = Sight()


class Overview:
    """What can be said of one running monitor.

    `queues` gives what waits for the receivers, `conditions` how their deliverers see them.
    """

    def __init__(
        self,
        *,
        intake: Intake,
        health: Health,
        clock: Clock,
        configuration: Callable[[], Configuration],
        queues: Callable[[], Sequence[Depth]],
        conditions: Callable[[], Mapping[str, Condition]],
        watching_since: datetime,
    ) -> None:
        self._intake = intake
        self._health = health
        self._clock = clock
        self._configuration = configuration
        self._queues = queues
        self._conditions = conditions
        self._watching_since = watching_since
        self._version = version("cometwatch")  # looked up on disk
        self.tally = Tally()  #: as of the last `count`
        self._worst: tuple[ListId, ...] = ()

    def status(self) -> StatusView:
        """Everything but the single lists, at a price that does not grow with their number."""
        health, settings, now = self._health, self._configuration().settings, self._clock.wall()
        intake = self._intake
        allowance, monotonic = intake.allowance, self._clock.monotonic()
        return StatusView(
            version=self._version,
            app=settings.api.app,
            now=now,
            started_at=health.started_at,
            budget=BudgetView(
                requests_per_minute=settings.api.requests_per_minute,
                granted=allowance.budget.granted(monotonic),
                reason=allowance.budget.reason(monotonic),
                stretch=intake.stretch,
                waiting=intake.waiting(),
            ),
            lists=self.tally,
            worst=tuple(self._view(uid) for uid in self._worst if intake.follows(uid)),
            receivers=tuple(self._receivers()),
            rules=len(intake.accounts.orders.rules.rules),
            timers_pending=len(intake.accounts.timers),
            watching_since=self._watching_since,
            paused_until=self._paused_until(now),
            paused_for=intake.allowance.gate.reason,
            blind_since=health.blind_since(now, after=settings.blind_after),
            last_poll_at=health.last_success_at,
            last_commit_at=health.last_commit_at,
            last_error=health.last_error,
            store_error=health.store_error,
            config_error=health.config_error,
            discovery_error=health.discovery_error,
            max_silence=max(SILENCE, 3 * settings.poll.min_interval),
        )

    def _receivers(self) -> Iterator[ReceiverView]:
        conditions = self._conditions()
        for depth in self._queues():
            view, fares = ReceiverView.of(depth), conditions.get(depth.receiver)
            yield (
                view
                if fares is None
                else replace(
                    view, door=fares.door.value, failing_since=fares.failing_since, reason=fares.reason
                )
            )

    def users(self, uid: str | None = None) -> tuple[UserView, ...]:
        """Every list that is read, by its id; or only `uid`."""
        if uid is None:
            return tuple(map(self._view, sorted(self._intake.followed)))
        return (self._view(ListId(uid)),) if self._intake.follows(ListId(uid)) else ()

    async def count(self) -> Tally:
        """Go through all lists, while polls go on: how many are in each state, and which are the worst."""
        states = dict.fromkeys(UserState, 0)
        oldest: datetime | None = None
        worst: list[tuple[int, datetime, ListId]] = []
        for some in batched(self._intake.followed):
            ranked = [self._ranked(uid) for uid in some]
            for state, number in Counter(state for state, _, _ in ranked).items():
                states[state] += number
            seen = min(seen for _, seen, _ in ranked)
            oldest = seen if oldest is None else min(oldest, seen)
            places = [(WORST_FIRST[state], seen, uid) for state, seen, uid in ranked]
            worst = nsmallest(SHOWN, [*worst, *places])
            await trio.lowlevel.checkpoint()
        self._worst = tuple(uid for _, _, uid in worst)
        self.tally = Tally(states=states, lag_s=self._lag(oldest))
        return self.tally

    def _ranked(self, uid: ListId) -> tuple[UserState, datetime, ListId]:
        sight = self._health.sights.get(uid, NEVER)
        return self._state(uid, sight), sight.watermark or sight.since or self._health.started_at, uid

    def _lag(self, seen: datetime | None) -> float | None:
        now = self._clock.wall() + self._intake.accounts.skew
        return None if seen is None else (now - seen).total_seconds()

    def _view(self, uid: ListId) -> UserView:
        sight = self._health.sights.get(uid, NEVER)
        return UserView(
            uid=uid,
            state=self._state(uid, sight),
            labels=self._intake.accounts.orders.watch.get(uid, {}),
            cursor=self._intake.stored_cursor(uid).id,
            last_poll_at=sight.last_poll_at,
            watermark=sight.watermark,
            lag_s=self._lag(sight.watermark),
            promise_s=self._intake.promise(uid),
            last_error=sight.last_error,
        )

    def _state(self, uid: ListId, sight: Sight) -> UserState:
        if sight.unknown:
            return UserState.UNKNOWN
        if sight.failures:
            return UserState.FAILING
        if sight.last_poll_at is None:
            return UserState.STARTING
        return UserState.CATCHING_UP if self._intake.is_behind(uid) else UserState.CURRENT

    def _paused_until(self, now: datetime) -> datetime | None:
        gate = self._intake.allowance.gate
        until = None if gate.reason == OUTAGE else gate.closed_until  # that we can't see is no pause
        return None if until is None else now + timedelta(seconds=until - self._clock.monotonic())


def batched(uids: Iterable[ListId]) -> Iterator[list[ListId]]:
    rest = iter(uids)
    while some := list(islice(rest, AT_ONCE)):
        yield some
