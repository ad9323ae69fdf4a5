"""The one place that reads a clock. Wall time is for records, Trio's time for waiting; they never mix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import perf_counter

import trio


def system_wall() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """Three readings: `wall()` aware UTC, `monotonic()` seconds on Trio's clock (virtual in tests), and
    `cost()` seconds for measuring our own work, in any thread.
    """

    wall: Callable[[], datetime] = system_wall
    monotonic: Callable[[], float] = trio.current_time
    cost: Callable[[], float] = perf_counter


def virtual(start: datetime) -> Clock:
    """A clock whose wall time advances with Trio's: under `MockClock` a whole app runs in virtual time."""
    return Clock(wall=lambda: start + timedelta(seconds=trio.current_time()))
