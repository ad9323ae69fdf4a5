"""When to try again, and how fast to send. Pure: no clock, no sleep, the random number is an argument."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from rules.model import Value

_MINUTE: Final = 60
SCHEDULE: Final = tuple(
    timedelta(seconds=s) for s in (5, 15, *(m * _MINUTE for m in (1, 2, 5, 10, 15)), *[30 * _MINUTE] * 53)
)
"""Delays between attempts, 27 hours in all: a receiver may be down from one evening to the next.

Never more than half an hour apart: a page that waits for five hours after its receiver came back (as
schedules that keep doubling make it) is as good as lost.
"""

JITTER: Final = 0.2
"""Each delay is stretched or shortened by up to this part, so that many retries don't march in step."""

MIN_RETRY_AFTER: Final = timedelta(seconds=1)
MAX_RETRY_AFTER: Final = timedelta(hours=1)
"""A receiver may ask for this much patience. More is likely a mistake, and an alert would pay for it."""

_PAUSES: Final = tuple(timedelta(seconds=s) for s in (0, 0, 1, 5, 15, 30))


PATIENCE: Final = timedelta(hours=27)
"""Nothing is given up sooner, however often it served as a probe of a receiver that is down."""


def next_attempt(
    attempt: int,
    retry_after: timedelta | None,
    now: datetime,
    rand: float,
    *,
    tried_for: timedelta = PATIENCE,
) -> datetime | None:
    """When to send again after failed attempt number `attempt` (from 1), or None: give it up.

    `rand` is in [0, 1). A receiver's Retry-After can only lengthen the delay: one that always answers
    "in a second" would else use up all attempts within a minute. `tried_for` is the time since the first.
    """
    if attempt > len(SCHEDULE) and tried_for >= PATIENCE:
        return None
    delay = _delay(attempt, rand)
    return now + max(delay, bounded(retry_after) if retry_after is not None else delay)


TELLING: Final = timedelta(minutes=1)
"""So soon after it could not be told, what stands is told again: a machine that hears nothing for minutes
takes an alert to be over."""


def next_telling(attempt: int, retry_after: timedelta | None, now: datetime, rand: float) -> datetime:
    """When to tell again what stands, after failed attempt number `attempt`: it is never given up."""
    delay = min(_delay(attempt, rand), TELLING)
    return now + max(delay, bounded(retry_after) if retry_after is not None else delay)


def _delay(attempt: int, rand: float) -> timedelta:
    return SCHEDULE[min(attempt, len(SCHEDULE)) - 1] * (1 - JITTER + 2 * JITTER * rand)


def bounded(retry_after: timedelta) -> timedelta:
    return min(max(retry_after, MIN_RETRY_AFTER), MAX_RETRY_AFTER)


def parse_retry_after(header: str | None, now: datetime) -> timedelta | None:
    """The bounded delay of a Retry-After header, seconds or HTTP date; None if missing or nonsense."""
    value = (header or "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        return bounded(timedelta(seconds=min(float(value), MAX_RETRY_AFTER.total_seconds())))
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return bounded((date if date.tzinfo else date.replace(tzinfo=UTC)) - now)


def pause(failures: int) -> timedelta:
    """How long a receiver is left alone after so many failed sends in a row.

    A single failure may be that one notification's fault, so the next goes out at once. In an outage two
    probes a minute remain; what waits meanwhile is summed up when it is over, not sent one by one.
    """
    return _PAUSES[min(failures, len(_PAUSES) - 1)]


class Pace(Value, frozen=True, kw_only=True):
    """A token bucket as a value: in any t seconds at most `burst + per_s * t` tokens are taken."""

    per_s: float
    burst: int = 1
    tokens: float = 1.0
    at: float = 0.0  #: monotonic seconds at which `tokens` was true

    def wait(self, now: float) -> float:
        """Seconds until a token is there; 0 if one is."""
        return max(0.0, (1 - self._filled(now)) / self.per_s)

    def taken(self, now: float) -> Pace:
        """The bucket after one token was taken at `now`."""
        return Pace(per_s=self.per_s, burst=self.burst, tokens=self._filled(now) - 1, at=now)

    def _filled(self, now: float) -> float:
        return min(float(self.burst), self.tokens + (now - self.at) * self.per_s)
