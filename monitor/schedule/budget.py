"""How many requests may be spent, and whether any may be spent at all.

`now` is monotonic seconds throughout; nothing here sleeps.
"""

from __future__ import annotations

import math
from collections import deque

WINDOW_S = 60.0


class Budget:
    """At most `per_minute` requests in *any* 60 s, in bursts of at most one second's worth.

    A token bucket alone would let `per_minute` + burst through in some windows, so the last
    `per_minute` grants are remembered as well. The bucket starts empty: a process that crashes and
    restarts in a loop gains nothing by it.
    """

    def __init__(self, *, per_minute: int, now: float) -> None:
        if per_minute < 1:
            raise ValueError("per_minute must be at least 1")
        self.per_minute = per_minute
        self._rate = per_minute / WINDOW_S
        self._burst = max(1.0, self._rate)
        self._tokens = 0.0
        self._counted_at = now
        self._grants: deque[float] = deque(maxlen=per_minute)

    def wait(self, now: float) -> float:
        """Seconds until one request may start; 0.0 means now."""
        missing = 1.0 - self._tokens_at(now)
        bucket = max(0.0, missing / self._rate)
        window = 0.0
        if len(self._grants) == self.per_minute:
            window = max(0.0, self._grants[0] + WINDOW_S - now)
        return max(bucket, window)

    def take(self, now: float) -> None:
        """Spend one request. Only after `wait(now)` returned 0.0."""
        self._tokens = self._tokens_at(now) - 1.0
        self._counted_at = now
        self._grants.append(now)

    def spent(self, now: float) -> int:
        """Requests granted in the last 60 s."""
        return sum(1 for at in self._grants if at > now - WINDOW_S)

    def _tokens_at(self, now: float) -> float:
        grown = self._tokens + (now - self._counted_at) * self._rate
        # Summing many small steps must not leave a caller 1e-16 short of a token for ever.
        return min(self._burst, grown + 1e-9)


class Gate:
    """Open, or closed for everybody until a single probe has succeeded.

    A 429 closes it for Retry-After, a refused key for half a minute; when the time is over exactly one
    request may try, and the rest wait for what it learns.
    """

    def __init__(self) -> None:
        self._closed_until: float | None = None
        self._probing = False
        self.reason: str | None = None

    @property
    def closed_until(self) -> float | None:
        """The moment of the next probe, or None while open."""
        return self._closed_until

    def wait(self, now: float) -> float:
        """Seconds until a request may try; infinity while a probe is under way."""
        if self._closed_until is None:
            return 0.0
        return math.inf if self._probing else max(0.0, self._closed_until - now)

    def take(self) -> bool:
        """A request starts. True if it is the probe: only its end may open the gate."""
        self._probing = self._closed_until is not None
        return self._probing

    def close(self, *, now: float, seconds: float, reason: str) -> None:
        """Hold everybody back. A later end never gets earlier by a second refusal of the same burst."""
        self._closed_until = max(self._closed_until or 0.0, now + seconds)
        self._probing = False
        self.reason = reason

    def open(self) -> None:
        """The probe was answered: the quota and the key are good again."""
        self._closed_until = None
        self._probing = False
        self.reason = None

    def inconclusive(self) -> None:
        """The probe ended without an answer about quota or key: let the next one try."""
        self._probing = False
