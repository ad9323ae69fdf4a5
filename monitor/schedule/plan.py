"""How soon messages are seen with the requests there are: the square-root rule's own arithmetic. Pure.

A list polled `f` times a second in even steps shows a row 1/(2f) s after it came, on average: rows fall
anywhere into a gap of 1/f. Of all ways to spend R requests a second, the mean delay over all rows is least
for f = c·√(weight·rate), where c spends the budget (Lagrange's multiplier). A promise T keeps f at 1/T or
more, the shortest interval keeps it at 1/min_interval or less. The delays of all rows are then a mixture, by
the lists' rates, of uniform distributions over the lists' gaps.

In chat a row brings others with it within seconds or minutes. When a silent list speaks up, all that is said
until its next poll waits, and the estimate made at the last poll knew nothing of it. So the rows of a gap are
reckoned with the replies that its own rows bring.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

TAIL: Final = 0.05  # of all rows wait longer than p95
CLOSE: Final = 1e-3  # of the budget, of a delay
LONGEST_S: Final = 7 * 86_400.0  # what a list without a promise may wait
RARE: Final = 1e-9  # rows a second of a list without any: one in thirty years
FINE: Final = 50.0  # gaps are told apart to a fiftieth
STEPS: Final = 60  # a dozen are usual; as many halvings are exact whatever the rates

Bursts = Sequence[tuple[float, float]]
BURSTS: Final[Bursts] = ((0.671, 27.6), (2.100, 196.0), (2.896, 1495.3))
"""(rows, seconds): so many rows follow a row, on these time scales, replies to replies included.

For 0.85 replies to each, 15, 90 and 900 s later (60, 30 and 10 of a hundred), as in `traffic`. If f is their
Laplace transform, that of all generations is f/(1 - f), and these are its partial fractions.
"""


class Load(NamedTuple):
    """One list: rows a second expected of it now, its weight, the age in seconds that it may reach."""

    rate: float
    weight: float = 1.0
    max_staleness: float = math.inf


class Prediction(NamedTuple):
    """How long rows wait in their list until we read it: seconds, without the request's own time."""

    mean_s: float
    p95_s: float
    worst_s: float  #: the longest gap between two polls of one list
    requests_per_minute: float  #: of the budget; all of it unless every list is polled as often as it may be
    share_of_quota: float  #: of what is granted; above 1.0 the promises alone need more


def predict(
    loads: Sequence[Load],
    *,
    per_second: float,
    min_interval: float,
    lists: int | None = None,
    bursts: Bursts = BURSTS,
) -> Prediction:
    """The delays to expect while these loads and the budget of `per_second` requests last.

    `loads` may be a sample of all `lists`: it then gets its part of the budget. 2,000 loads take a few
    milliseconds. Raises ValueError without loads or without a budget.
    """
    if not loads or per_second <= 0 or min_interval <= 0:
        raise ValueError("a prediction needs loads, a budget and a shortest interval above 0")
    sampled = len(loads) / (lists or len(loads))
    budget = per_second * sampled
    gaps = shared_out(loads, budget=budget, min_interval=min_interval)
    needed = sum(1.0 / max(load.max_staleness, min_interval) for load in loads)
    used = sum(1.0 / gap for gap in gaps)
    mean, p95 = waits([max(RARE, load.rate) for load in loads], gaps, bursts=bursts)
    return Prediction(
        mean_s=mean,
        p95_s=p95,
        worst_s=max(gaps),
        requests_per_minute=60.0 * used / sampled,
        share_of_quota=max(used, needed) / budget,
    )


def shared_out(loads: Sequence[Load], *, budget: float, min_interval: float) -> list[float]:
    """Each list's gap in seconds when `budget` requests a second are shared by the rule.

    Promises that need more than the budget are stretched alike.
    """
    needed = sum(1.0 / _slowest(load, min_interval) for load in loads)
    if needed >= budget:
        return [needed / budget * _slowest(load, min_interval) for load in loads]
    paid = price([(load, 1.0) for load in loads], budget=budget, min_interval=min_interval)
    return [gap(load, paid, min_interval) for load in loads]


def gap(load: Load, price: float, min_interval: float) -> float:
    """Seconds between two polls of a list, at the price (the c of the rule) that everybody pays."""
    wish = price * math.sqrt(load.weight * max(RARE, load.rate))
    slowest = _slowest(load, min_interval)
    return max(min_interval, 1.0 / wish) if wish * slowest > 1.0 else slowest


def price(loads: Sequence[tuple[Load, float]], *, budget: float, min_interval: float) -> float:
    """The c for which all polls together are the budget; each load stands for so many lists.

    Infinite if all can be polled as often as they may. Newton's steps, which end at once where no bound
    counts, within a bracket that makes them safe.
    """
    most = 1.0 / min_interval
    terms = [
        (math.sqrt(load.weight * max(RARE, load.rate)), 1.0 / _slowest(load, min_interval), lists)
        for load, lists in loads
    ]
    if most * sum(lists for *_, lists in terms) <= budget:
        return math.inf
    low, high = 0.0, math.inf
    paid = budget / sum(pull * lists for pull, _, lists in terms)
    for _ in range(STEPS):
        spent = slope = 0.0
        for pull, least, lists in terms:
            wish = paid * pull
            if wish <= least:
                spent += least * lists
            elif wish >= most:
                spent += most * lists
            else:
                spent += wish * lists
                slope += pull * lists
        if abs(spent - budget) <= CLOSE * budget:
            break
        low, high = (paid, high) if spent < budget else (low, paid)
        paid += (budget - spent) / slope if slope else math.inf
        if not low < paid < high:
            paid = 2.0 * low if high == math.inf else (low + high) / 2.0
    return paid


def waits(rates: Sequence[float], gaps: Sequence[float], *, bursts: Bursts = BURSTS) -> tuple[float, float]:
    """Mean and p95 of the mixture: list i has rows at rates[i], and is polled every gaps[i] seconds."""
    merged = _merged(rates, gaps)
    rows = sum(share * _rows(gap, bursts) for share, gap in merged)
    waited = sum(share * _waited(gap, bursts) for share, gap in merged)
    # The number that waits longer than d falls ever more gently: Newton's steps never overshoot.
    at = 0.0
    for _ in range(STEPS):
        longer = [(share, gap - at) for share, gap in merged if gap > at]
        slope = sum(share * _rising(rest, bursts) for share, rest in longer)
        excess = sum(share * _rows(rest, bursts) for share, rest in longer) - TAIL * rows
        if not slope or excess <= CLOSE * slope * at:
            break
        at += excess / slope
    return waited / rows, at


def _merged(rates: Sequence[float], gaps: Sequence[float]) -> list[tuple[float, float]]:
    """(rate / gap, gap), where gaps that differ by a fiftieth or less are taken together."""
    groups: dict[int, tuple[float, float]] = {}
    for rate, gap in zip(rates, gaps, strict=True):
        key = int(FINE * math.log(gap))
        share, spent = groups.get(key, (0.0, 0.0))
        groups[key] = (share + rate / gap, spent + rate)
    return [(share, spent / share) for share, spent in groups.values()]


def _rising(span: float, bursts: Bursts) -> float:
    """How much more frequent rows are, `span` seconds into a gap, than at its beginning."""
    return 1.0 - sum(rows * math.expm1(-span / lasts) for rows, lasts in bursts)


def _rows(span: float, bursts: Bursts) -> float:
    """Its integral: the rows of a gap, in proportion to the rate at its beginning."""
    return span + sum(rows * (span + lasts * math.expm1(-span / lasts)) for rows, lasts in bursts)


def _waited(span: float, bursts: Bursts) -> float:
    """The integral of that: what these rows wait in all until the end of the gap."""
    waits = (
        rows * (span * span / 2.0 - lasts * (span + lasts * math.expm1(-span / lasts)))
        for rows, lasts in bursts
    )
    return span * span / 2.0 + sum(waits)


def _slowest(load: Load, min_interval: float) -> float:
    return max(min_interval, LONGEST_S if load.max_staleness == math.inf else load.max_staleness)
