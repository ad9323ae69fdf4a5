"""How many requests may be spent, and whether any may be spent at all.

`now` is monotonic seconds throughout; nothing here sleeps.
"""

from __future__ import annotations

import math
from collections import deque
from enum import StrEnum
from typing import Final

WINDOW_S: Final = 60.0
RESET_LATE_S: Final = 1.0  # a reset is told in whole seconds, by another clock
LONGEST_STOP_S: Final = 300.0  # then one request asks again, as after any refusal: headers may be wrong
SPARE: Final = 0.02  # of the limit: what others spend before we hear of it
DECREASE: Final = 0.7  # of the granted rate, by a refusal
INCREASE: Final = 0.02  # of the configured rate, a minute, until the next refusal
LEAST: Final = 0.05  # of the configured rate: refusals never starve us altogether
ALMOST: Final = 0.95  # whole seconds and requests in flight make the headers' figures coarse
BURST_S: Final = 30.0  # refusals that follow one another so soon are one: all in flight are refused together


class Reason(StrEnum):
    """What holds the granted rate where it is."""

    CONFIGURED = "configured"
    QUOTA = "quota"  #: the key's whole limit is less than configured
    SHARE = "share"  #: our share of that limit is
    OTHERS = "other users of the key"  #: they leave less, as headers or refusals tell


class Budget:
    """At most `per_minute` requests in *any* 60 s, in bursts of at most one second's worth.

    A token bucket alone would let `per_minute` + burst through in some windows, so the last
    `per_minute` grants are remembered as well. The bucket starts empty: a process that crashes and
    restarts in a loop gains nothing by it.

    Less is granted when the API says less. Its headers bound the rate by `share` of the key's limit, and by
    `share` of what remains, less a little, spread until the reset: alone on the key the second never binds,
    so it yields to others and to nothing else. A refusal in spite of that takes away three tenths of the
    rate, which come back slowly (multiplicative decrease, additive increase): processes that do not see each
    other end at equal parts of the key, in proportion to what each is configured to take.
    """

    def __init__(self, *, per_minute: int, now: float, share: float = 1.0) -> None:
        if per_minute < 1:
            raise ValueError("per_minute must be at least 1")
        if not 0.0 < share <= 1.0:
            raise ValueError("share must be above 0 and at most 1")
        self.per_minute = per_minute
        self._share = share
        self._limit: int | None = None
        self._rationed = math.inf  # requests a second until `_resets_at`
        self._resets_at = -math.inf
        self._yielded = float(per_minute)  # requests a minute that the last refusal left
        self._refused_at = -math.inf
        self._tokens = 0.0
        self._counted_at = now
        self._grants: deque[float] = deque(maxlen=per_minute)

    def wait(self, now: float) -> float:
        """Seconds until one request may start; 0.0 means now."""
        return max(self._wait_for_token(now), self._wait_for_window(now))

    def take(self, now: float) -> None:
        """Spend one request. Only after `wait(now)` returned 0.0."""
        self._count(now)
        self._tokens -= 1.0
        self._grants.append(now)

    def spent(self, now: float) -> int:
        """Requests granted in the last 60 s."""
        return sum(1 for at in self._grants if at > now - WINDOW_S)

    def learn(self, *, limit: int | None, remaining: int | None, reset_in: float | None, now: float) -> None:
        """Take over what the headers of an answer say of the key's quota; None is what they do not say.

        `limit` is requests a minute, `reset_in` seconds until `remaining` is full again (a minute if it isn't
        said).
        """
        self._count(now)
        if limit:
            self._limit = limit
        if remaining is not None:
            lasts = RESET_LATE_S + (WINDOW_S if reset_in is None else max(0.0, reset_in))
            ours = self._share * max(0.0, remaining - SPARE * (self._limit or 0))
            self._rationed = ours / lasts
            self._resets_at = now + min(lasts, LONGEST_STOP_S)
            self._tokens = min(self._tokens, ours)

    def refused(self, now: float) -> None:
        """A request was refused as one too many: somebody else spends from the same key."""
        if now < self._refused_at + BURST_S:
            return
        left = DECREASE * min(self._ceiling, self._climbed(now))
        self._count(now)
        self._yielded = max(left, LEAST * self.per_minute, 1.0)
        self._refused_at = now

    def granted(self, now: float) -> float:
        """Requests a minute that may be sent at present; 0.0 while nothing of the quota remains."""
        steady = self._steady(now)
        return min(steady, self._rationed * WINDOW_S) if now < self._resets_at else steady

    def reason(self, now: float) -> Reason:
        """What holds `granted` where it is."""
        granted = self.granted(now)
        if granted < ALMOST * self._ceiling:
            return Reason.OTHERS
        if granted >= self.per_minute:
            return Reason.CONFIGURED
        return Reason.QUOTA if self._limit is not None and self._limit < self.per_minute else Reason.SHARE

    @property
    def _ceiling(self) -> float:
        """Requests a minute by configuration and limit, whatever others do."""
        if self._limit is None:
            return float(self.per_minute)
        return min(float(self.per_minute), max(1.0, self._share * self._limit))

    def _climbed(self, now: float) -> float:
        """Requests a minute that the last refusal has left, and what has come back since."""
        if self._refused_at == -math.inf:
            return self._yielded
        return self._yielded + INCREASE * self.per_minute * (now - self._refused_at) / WINDOW_S

    def _steady(self, now: float) -> float:
        return min(self._ceiling, self._climbed(now))

    def _wait_for_token(self, now: float) -> float:
        self._count(now)
        missing = 1.0 - self._tokens
        if missing <= 0.0:
            return 0.0
        steady = self._steady(now) / WINDOW_S
        rationed = min(steady, self._rationed)
        until_reset = max(0.0, self._resets_at - now)
        if missing <= rationed * until_reset:
            return missing / rationed
        return until_reset + (missing - rationed * until_reset) / steady

    def _wait_for_window(self, now: float) -> float:
        most = int(self._ceiling)
        return max(0.0, self._grants[-most] + WINDOW_S - now) if len(self._grants) >= most else 0.0

    def _count(self, now: float) -> None:
        """Bring the bucket up to date, at the rates that were in force since it last was."""
        before, self._counted_at = self._counted_at, now
        steady = self._steady(now) / WINDOW_S
        rationed = max(0.0, min(now, self._resets_at) - before)
        grown = min(steady, self._rationed) * rationed if rationed else 0.0
        grown += steady * max(0.0, now - before - rationed)
        # Summing many small steps must not leave a caller 1e-16 short of a token for ever.
        self._tokens = min(max(1.0, steady), self._tokens + grown + 1e-9)


class Gate:
    """Open, or closed for everybody until a single probe has succeeded.

    A 429 closes it for Retry-After, a refused key for half a minute; when the time is over exactly one
    request may try, and the rest wait for what it learns.
    """

    def __init__(self) -> None:
        self._closed_until: float | None = None
        self._is_probing = False  # from the start of a probe to its end, also if it was answered before
        self._is_overtaken = False  # closed again since the probe started: its answer opens nothing
        self.reason: str | None = None

    @property
    def closed_until(self) -> float | None:
        """The moment of the next probe, or None while open."""
        return self._closed_until

    def wait(self, now: float) -> float:
        """Seconds until a request may try; infinity while a probe is under way."""
        if self._closed_until is None:
            return 0.0
        return math.inf if self._is_probing else max(0.0, self._closed_until - now)

    def take(self) -> bool:
        """A request starts. True if it is the probe: only its answer may open the gate."""
        if self._closed_until is None:
            return False
        self._is_probing, self._is_overtaken = True, False
        return True

    def close(self, *, now: float, seconds: float, reason: str) -> None:
        """Hold everybody back. A later end never gets earlier by a second refusal of the same burst."""
        self._closed_until = max(self._closed_until or 0.0, now + seconds)
        self._is_overtaken = True
        self.reason = reason

    def open(self) -> bool:
        """The probe was answered: all is well again, unless something was refused since it started.

        Returns whether the gate is open.
        """
        if not self._is_overtaken:
            self._closed_until = self.reason = None
        return self._closed_until is None

    def over(self) -> None:
        """The probe ended, with or without an answer about quota or key: if need be the next one may try."""
        self._is_probing = False
