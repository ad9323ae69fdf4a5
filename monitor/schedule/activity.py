"""What a list's past says of its present: an estimate of the rows it gets a second.

Chat is self-exciting: a message makes the next one likely within seconds and minutes, and people have
active days and quiet weeks. One moving average can follow only one of these, so four are kept, and what
they don't explain is a power law of the silence so far:

    rate = κ / (τ0 + silence) + Σ a_k · n_k / (T_k · c_k),      n_k = Σ over the rows of e^(-age / T_k)

c_k = 1 - e^(-watched / T_k) is the part of the past that could have been counted. Without it the slow
averages would take quiet lists for dead ones during their first weeks, and who speaks seldom would wait for
deadlines. A list that never had a row is worth κ / (1 day + time watched). The constants were fitted on
simulated and on recorded conversations; within a factor of two of them nothing much changes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

SCALES_S: Final = (60.0, 900.0, 86_400.0, 604_800.0)
PARTS: Final = (0.40, 0.25, 0.12, 0.15)
SURPRISE: Final = 0.2  #: κ
FORGETTING_S: Final = 3600.0  #: τ0
NEVER_S: Final = 86_400.0
KNOWN_S: Final = 3600.0  # watched for less, a list is taken as watched for so long: one row is no habit

_PER_ROW: Final = tuple(part / scale for part, scale in zip(PARTS, SCALES_S, strict=True))
_SILENT: Final = (0.0, 0.0, 0.0, 0.0)
_FORM: Final = 1.0
_PACKED_LENGTH: Final = 4 + len(SCALES_S)
_NEVER: Final = -1.0


class Activity:
    """What is known of one list. A process holds very many of them, so the silent ones share their zeros."""

    __slots__ = ("_counted_at", "_counts", "_newest_at", "_since")

    def __init__(self, *, now: float) -> None:
        """Never seen a row; watched from `now`, in monotonic seconds like every `now` below."""
        self._since = now
        self._counts: tuple[float, ...] = _SILENT
        self._counted_at = now
        self._newest_at: float | None = None

    def saw(self, ages: Iterable[float], now: float) -> None:
        """Count new rows by their age in seconds, in any order. The future counts as the present."""
        past = [max(0.0, age) for age in ages]
        if not past:
            return
        since = now - self._counted_at
        self._counts = tuple(
            count * math.exp(-since / scale) + sum(math.exp(-age / scale) for age in past)
            for count, scale in zip(self._counts, SCALES_S, strict=True)
        )
        self._counted_at = now
        self._since = min(self._since, now - max(past))  # a first page tells of the time before us
        newest = now - min(past)
        self._newest_at = newest if self._newest_at is None else max(self._newest_at, newest)

    def rate(self, now: float) -> float:
        """Rows a second expected now; always positive."""
        if self._newest_at is None:
            return SURPRISE / (NEVER_S + max(0.0, now - self._since))
        since = now - self._counted_at
        watched = max(KNOWN_S, now - self._since)
        surprise = SURPRISE / (FORGETTING_S + max(0.0, now - self._newest_at))
        return surprise + sum(
            count * per_row * math.exp(-since / scale) / -math.expm1(-watched / scale)
            for count, per_row, scale in zip(self._counts, _PER_ROW, SCALES_S, strict=True)
        )

    def packed(self, now: float, wall: float) -> tuple[float, ...]:
        """What to store; `wall` is the same instant in seconds since 1970. Opaque to whoever keeps it.

        Coarse on purpose: four digits and whole seconds say all that an estimate is worth.
        """
        since = now - self._counted_at
        counts = (
            _coarse(count * math.exp(-since / scale))
            for count, scale in zip(self._counts, SCALES_S, strict=True)
        )
        silence = _NEVER if self._newest_at is None else float(round(now - self._newest_at))
        return (_FORM, float(round(wall)), float(round(now - self._since)), silence, *counts)

    @classmethod
    def unpacked(cls, packed: Sequence[object], *, now: float, wall: float) -> Activity:
        """The stored estimate, aged by the time since. What can't be used is as good as nothing known."""
        fresh = cls(now=now)
        numbers = _numbers(packed)
        if numbers is None:
            return fresh
        stored_at, watched, silence, *counts = numbers
        away = max(0.0, wall - stored_at)  # a clock that was set back tells no time at all
        fresh._since = now - away - watched
        fresh._counted_at = now - away
        if silence != _NEVER:
            fresh._newest_at = now - away - silence
            fresh._counts = tuple(counts)
        return fresh


def _coarse(count: float) -> float:
    return float(f"{count:.3e}")


def _numbers(packed: Sequence[object]) -> list[float] | None:
    """What follows the mark of the form, if all of it makes sense."""
    numbers = [float(number) for number in packed if isinstance(number, int | float)]
    if len(numbers) != len(packed) or len(packed) != _PACKED_LENGTH or not all(map(math.isfinite, numbers)):
        return None
    form, _, watched, silence, *counts = numbers
    is_sound = watched >= 0 and (silence >= 0 or silence == _NEVER) and min(counts) >= 0
    return numbers[1:] if form == _FORM and is_sound else None
