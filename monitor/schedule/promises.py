"""Which promises of staleness a rate of requests can keep.

A promise of T seconds costs 1/T requests a second even if nothing happens. Deadlines may spend every second
request and no more, or they would starve the lists where something does happen. So Σ 1/T ≤ rate / 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

DEADLINE_SHARE: Final = 0.5
AUTO_INTERVALS: Final = 4.0
ROUNDING: Final = 1e-9  # sums of many parts; a budget that just suffices stretches nothing


def auto(users: int, rate: float) -> float:
    """The promise of a list that names none, in seconds: four rounds of `rate` requests a second.

    A round is what uniform polling takes. With fewer than three, deadlines would spend most requests; with
    many more, who speaks up after a long silence waits as long.
    """
    return AUTO_INTERVALS * users / rate


def stretch(promises: Iterable[float | None], *, rate: float) -> float:
    """By what promises (seconds; None: auto) are multiplied so that `rate` requests a second keep them."""
    return Promises(promises).stretch(rate)


def needed_rate(promises: Iterable[float | None]) -> float:
    """The least rate, in requests a second, that keeps all promises; 0.0 if no list names one."""
    return Promises(promises).needed_rate()


class Promises:
    """The promises of many lists, counted: one more or less costs the same however many there are."""

    def __init__(self, promises: Iterable[float | None] = ()) -> None:
        self._lists = 0
        self._autos = 0
        self._named = 0.0  # requests a second for the promises that are named
        for promise in promises:
            self.count(promise, 1)

    def count(self, promise: float | None, lists: int) -> None:
        """So many more lists (or fewer) are promised `promise` seconds, or None: auto."""
        self._lists += lists
        if promise is None:
            self._autos += lists
        else:
            self._named += lists / promise

    def auto(self, rate: float) -> float:
        """What `auto` means for these lists, in seconds."""
        return auto(self._lists, rate)

    def stretch(self, rate: float) -> float:
        """By what every promise is multiplied so that `rate` requests a second keep all; at least 1.0."""
        unnamed = self._autos / self.auto(rate) if self._autos else 0.0
        load = (self._named + unnamed) / (DEADLINE_SHARE * rate)
        return load if load > 1.0 + ROUNDING else 1.0

    def needed_rate(self) -> float:
        """The least rate with nothing stretched. `auto` asks for part of any rate, never decides alone."""
        if self._lists == self._autos:
            return 0.0
        return self._named / (DEADLINE_SHARE - self._autos / (AUTO_INTERVALS * self._lists))
