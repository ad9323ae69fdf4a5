"""The permission to ask CometChat: one budget and one gate for polls and everything else on our key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, TypeVar

import structlog
import trio

from monitor.clock import Clock
from monitor.schedule.budget import Budget, Gate
from monitor.source.client import BadKey, NoAccess, RateLimited, SourceError
from monitor.source.pages import RateInfo

log = structlog.get_logger(__name__)

T = TypeVar("T")

KEY_PROBE_S: Final = 30.0  # a refused key: one request per this time, with the key file read again
PAUSE_DEFAULT_S: Final = 60.0  # a 429 without Retry-After; the API's own documentation says 60 s
OUTAGE: Final = "CometChat can't be reached"
OUTAGE_FIRST_S: Final = 2.0  # to the first probe; the time doubles with each that fails
OUTAGE_MOST_S: Final = 30.0  # what happened meanwhile waits no longer than that once CometChat is back
PAUSE_MOST_S: Final = 300.0  # an absurd Retry-After must not blind us for hours
SHORTEST_WAIT_S: Final = 0.001  # below it a float deadline may not lie after the present


class Allowance:
    """Grants one request at a time, in the order of asking, as budget and gate allow.

    Whoever was granted one tells how it ended: `answered` or `refused`, and `over` in any case.
    """

    def __init__(self, *, budget: Budget, clock: Clock) -> None:
        self.budget = budget
        self.gate = Gate()
        self._clock = clock
        self._line = trio.StrictFIFOLock()
        self._changed = trio.Event()
        self._outage_probes = 0

    async def grant(self, choose: Callable[[float], T | None]) -> tuple[T, bool] | None:
        """Wait until a request may start; then `choose(now)` says what for, as late as possible.

        Returns that, and whether the request is the probe that may open the gate again. If there is nothing
        to ask for after all it returns None and nothing is spent. Cancelled, nothing is spent.
        """
        async with self._line:
            while (wait := self._wait(now := self._clock.monotonic())) > 0:
                with trio.move_on_after(max(wait, SHORTEST_WAIT_S)):
                    await self._changed.wait()
            chosen = choose(now)
            if chosen is None:
                return None
            self.budget.take(now)
            return chosen, self.gate.take()

    async def ask(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make one request beside the polls, when it is its turn. Raises what `call` raises."""
        granted = await self.grant(lambda _: call)
        assert granted is not None, "there is something to ask for"
        _, is_probe = granted
        try:
            answer = await call()
        except SourceError as error:
            # A key may be refused here alone; as the probe it says that it still is refused.
            if isinstance(error, RateLimited) or is_probe:
                self.refused(error)
            raise
        else:
            self.answered(is_probe=is_probe)
            return answer
        finally:
            self.over(is_probe=is_probe)

    def answered(self, *, is_probe: bool) -> None:
        """CometChat answered: if this was the probe, everybody may ask again."""
        paused_for = self.gate.reason
        if is_probe and self.gate.open():
            log.info("source.resumed", paused_for=paused_for)
            self._outage_probes = 0
            self._wake()

    def learn(self, rate: RateInfo, *, api_now: datetime) -> None:
        """Take over what the headers of an answer say is left of the quota."""
        if rate.limit is None and rate.remaining is None:
            return
        self.budget.learn(
            limit=rate.limit,
            remaining=rate.remaining,
            reset_in=(rate.reset_at - api_now).total_seconds() if rate.reset_at else None,
            now=self._clock.monotonic(),
        )
        self._wake()  # who waits for a reset may have more now: answers overtake one another

    def refused(self, error: SourceError) -> bool:
        """Hold everybody back if the refusal concerns everybody. Returns whether it does."""
        now = self._clock.monotonic()
        match error:
            case RateLimited():
                asked = error.retry_after.total_seconds() if error.retry_after else PAUSE_DEFAULT_S
                self.gate.close(now=now, seconds=min(max(asked, 1.0), PAUSE_MOST_S), reason="rate limit")
                self.budget.refused(now)
            case BadKey() | NoAccess():
                self.gate.close(now=now, seconds=KEY_PROBE_S, reason="the API key was refused")
            case _:
                return False
        return True

    def unreachable(self, *, is_probe: bool) -> None:
        """CometChat fails everybody: hold all back but for single probes, until one is answered."""
        if self.gate.closed_until is not None and not is_probe:  # begun before, by somebody else
            return
        seconds = min(OUTAGE_MOST_S, OUTAGE_FIRST_S * 2.0 ** min(self._outage_probes, 16))
        self._outage_probes += 1
        self.gate.close(now=self._clock.monotonic(), seconds=seconds, reason=OUTAGE)

    def over(self, *, is_probe: bool) -> None:
        """The request ended, however it did; or the gate would stay shut for ever."""
        if is_probe:
            self.gate.over()
            self._wake()

    def wait(self) -> float:
        """Seconds until a request could start; infinity while a probe is under way."""
        return self._wait(self._clock.monotonic())

    def _wait(self, now: float) -> float:
        return max(self.budget.wait(now), self.gate.wait(now))

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
