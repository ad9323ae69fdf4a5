"""Watching the watchman: a sign of life to a service that tells people when it stays away.

It is given only while the whole road works, from CometChat to the receivers. That the process runs proves
nothing: monitors have been up for days without doing anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog
import trio

from monitor.clock import Clock
from monitor.web.view import StatusView, UserState, UserView, readiness, span
from rules.model import Value

log = structlog.get_logger(__name__)

LAG: Final = timedelta(minutes=5)
"""How far a list may be behind, if its promise is not longer."""

BROKEN_PROMISE: Final = 3
"""So many times its promise a list may be behind: for a moment now and then many break theirs."""

GIVE_UP_S: Final = 20.0


class Beat(Value, frozen=True, kw_only=True):
    """One sign of life: `name` for the log, without a secret."""

    name: str
    every: timedelta
    queue_limit: timedelta  #: what waits for a receiver for longer is an obstacle


Send = Callable[[], Awaitable[str | None]]
"""Gives the sign once; returns why it did not arrive, without a secret, or None."""


def obstacles(view: StatusView, *, queue_limit: timedelta) -> tuple[str, ...]:
    """Where the road is blocked, in words; () while all of it works."""
    return (*readiness(view, view.now), *_behind(view), *_queued(view, queue_limit))


def _queued(view: StatusView, limit: timedelta) -> Iterator[str]:
    for queue in view.receivers:
        waited = view.now - queue.oldest_at if queue.oldest_at else timedelta(0)
        if waited > limit:
            yield f"an alert has waited for {queue.receiver} for {span(waited)}"


def _behind(view: StatusView) -> Iterator[str]:
    """A list whose watermark does not move. Users whom CometChat does not know have nothing to be read."""
    for one in view.worst:
        lag = timedelta(seconds=one.lag_s or 0.0)
        if one.state is not UserState.UNKNOWN and lag > _limit(one, view):
            yield f"a list was read only up to {span(lag)} ago"
            return


def _limit(one: UserView, view: StatusView) -> timedelta:
    promised = timedelta(seconds=(one.promise_s or 0.0) * max(1.0, view.budget.stretch))
    return max(LAG, BROKEN_PROMISE * promised)


class Heart:
    """Gives one sign of life again and again."""

    def __init__(
        self,
        beat: Beat,
        send: Send,
        *,
        status: Callable[[], StatusView],
        clock: Clock,
        told: Callable[[str, datetime], None] = lambda _name, _at: None,
    ) -> None:
        """`told` hears of each sign that arrived: the heartbeat's name, and when."""
        self._beat = beat
        self._send = send
        self._status = status
        self._clock = clock
        self._told = told
        self._silent_for: Sequence[str] = ()
        self._log = log.bind(heartbeat=beat.name)

    async def run(self) -> None:
        """Until cancelled. A sign that does not arrive is given again at its next time."""
        while True:
            await self._once()
            await trio.sleep(self._beat.every.total_seconds())

    async def _once(self) -> None:
        blocked = obstacles(self._status(), queue_limit=self._beat.queue_limit)
        if blocked != tuple(self._silent_for):
            self._silent_for = blocked
            if blocked:
                self._log.warning("heartbeat.withheld", because=list(blocked))
            else:
                self._log.info("heartbeat.resumed")
        if not blocked:
            await self._give()

    async def _give(self) -> None:
        failure: str | None = f"no answer within {GIVE_UP_S:g} s"
        with trio.move_on_after(GIVE_UP_S):
            failure = await self._send()
        if failure is None:
            self._told(self._beat.name, self._clock.wall())
        else:
            self._log.warning("heartbeat.failed", error=failure)


class Hearts:
    """The hearts that the configuration in force wants. `make` gives them anew at each `renew`."""

    def __init__(self, make: Callable[[], Sequence[Heart]]) -> None:
        self._make = make
        self._renewed = trio.Event()

    def renew(self) -> None:
        """The configuration changed: begin anew."""
        self._renewed.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._renewed = trio.Event()
            async with trio.open_nursery() as nursery:
                for heart in self._make():
                    nursery.start_soon(heart.run)
                await self._renewed.wait()
                nursery.cancel_scope.cancel()
