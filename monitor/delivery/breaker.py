"""A receiver in trouble: left alone, probed, and told again as soon as it takes something. Pure.

Closed, sends go out as they come. After five in a row that may work later, or a minute of nothing else, it is
open: the receiver rests, then a single send probes it. What it says of that closes the breaker again or opens
it for the next rest. Nothing is ever disabled: however long it lasts, two probes a minute remain.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from monitor.delivery.backoff import bounded, pause
from rules.model import Value

OPENS_AFTER: Final = 5
"""Failures in a row. With less, one notification that the receiver can't digest would look like an outage."""

OPENS_AFTER_S: Final = 60.0
"""Seconds of nothing but failures, where there is too little to send for five of them."""

PROBED: Final = 3
"""Notifications that are claimed while it is open; they take turns as probes, so that one which will never be
taken does not keep the others out. What comes meanwhile waits, and is summed up in the end."""


class Door(StrEnum):
    """Where a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"  #: nothing is sent
    HALF_OPEN = "half-open"  #: one send is let through, to see


class Breaker(Value, frozen=True, kw_only=True):
    """What the last sends to one receiver say of it, in monotonic seconds."""

    failures: int = 0  #: in a row
    failing_since: float | None = None  #: the first of them
    opened_at: float | None = None
    rests_until: float = float("-inf")
    reason: str | None = None  #: of the last failure

    @property
    def is_open(self) -> bool:
        """Whether the receiver is only probed."""
        return self.opened_at is not None

    def door(self, now: float) -> Door:
        if not self.is_open:
            return Door.CLOSED
        return Door.OPEN if now < self.rests_until else Door.HALF_OPEN

    def failed(self, now: float, *, reason: str, wish: timedelta | None = None) -> Breaker:
        """After a send that may work later; `wish` is how much patience the receiver asked for."""
        failures = self.failures + 1
        since = now if self.failing_since is None else self.failing_since
        opened_at = self.opened_at
        if opened_at is None and (failures >= OPENS_AFTER or now - since >= OPENS_AFTER_S):
            opened_at = now
        rest = max(bounded(wish) if wish is not None else timedelta(0), pause(failures))
        return Breaker(
            failures=failures,
            failing_since=since,
            opened_at=opened_at,
            rests_until=now + rest.total_seconds(),
            reason=reason,
        )


SOUND: Final = Breaker()
"""After any send that the receiver answered for good: it took it, or it refused that one."""


class Condition(Value, frozen=True, kw_only=True):
    """How one receiver has fared, for people and for what is decided above the deliverers."""

    door: Door = Door.CLOSED
    failing_since: datetime | None = None  #: since when it has taken nothing; None while all is well
    open_since: datetime | None = None
    answered_at: datetime | None = None  #: when it last did, since the deliverer began
    reason: str | None = None  #: of the last failure

    @property
    def is_open(self) -> bool:
        return self.open_since is not None
