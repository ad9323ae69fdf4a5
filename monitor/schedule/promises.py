"""Which promises of staleness a rate of requests can keep.

A promise of T seconds costs 1/T requests a second even if nothing happens. Deadlines may spend every second
request and no more, or they would starve the lists where something does happen. So Σ 1/T ≤ rate / 2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

DEADLINE_SHARE: Final = 0.5
AUTO_INTERVALS: Final = 4.0

# Promises in seconds, None for `auto`; or how many lists have each.
Promises = Iterable[float | None] | Mapping[float | None, int]


def auto(users: int, rate: float) -> float:
    """The promise of a list that names none, in seconds: four rounds of `rate` requests a second.

    A round is what uniform polling takes. Fewer than three would spend most requests on deadlines; with many
    more, who speaks up after a long silence waits as long.
    """
    return AUTO_INTERVALS * users / rate


def stretch(promises: Promises, *, rate: float) -> float:
    """By what all promises must be multiplied for `rate` requests a second to keep them; 1.0: none need be."""
    counted = Counter(promises)
    return max(1.0, _density(counted, rate=rate) / (DEADLINE_SHARE * rate))


def needed_rate(promises: Promises) -> float:
    """The least rate, in requests a second, that keeps them all; 0.0 if no list names a promise.

    `auto` asks for its part of whatever rate there is, so it never decides alone.
    """
    counted = Counter(promises)
    users = counted.total()
    named = sum(lists / promise for promise, lists in counted.items() if promise is not None)
    if not named:
        return 0.0
    return named / (DEADLINE_SHARE - counted[None] / (AUTO_INTERVALS * users))


def _density(counted: Counter[float | None], *, rate: float) -> float:
    usual = auto(counted.total(), rate)
    return sum(lists / (usual if promise is None else promise) for promise, lists in counted.items() if lists)
