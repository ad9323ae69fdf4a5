"""The one place that reads a clock. Wall time is for records, Trio's time for waiting; they never mix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import trio


def system_wall() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """Two readings: `wall()` aware UTC, `monotonic()` seconds on Trio's clock (virtual in tests)."""

    wall: Callable[[], datetime] = system_wall
    monotonic: Callable[[], float] = trio.current_time


def virtual(start: datetime) -> Clock:
    """A clock whose wall time advances with Trio's: under `MockClock` a whole app runs in virtual time."""
    return Clock(wall=lambda: start + timedelta(seconds=trio.current_time()))
