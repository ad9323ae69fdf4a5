"""What to expect before anything runs: the policy walked through a day of reference chat. Pure.

There is no record yet, so the people of `traffic.chat` write, and the product's own estimate of each list's
activity learns from what the polls would have found. Only polls that find something are walked: between them
a list is silent, its gap changes slowly, and where in a gap a message falls is chance. What everybody pays
(the c of the square-root rule) is solved for every quarter of an hour. So a day of a thousand lists takes a
second and not a million polls. Requests take no time here.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from random import Random
from typing import Final, NamedTuple

from monitor.schedule import promises
from monitor.schedule.activity import Activity
from monitor.schedule.plan import Load, gap, price
from monitor.schedule.traffic import DAY_S, Trace, chat

SPELL_S: Final = 900.0  # what everybody pays is solved anew
WARM_UP_S: Final = DAY_S  # the estimates learn before the day that counts
ENTRIES: Final = 18_000  # a day in all lists of the reference population: as many as make the noise small
FEWEST, MOST = 60, 1_000  # people in it
JITTER: Final = 0.05  # of the schedule's steps
SEED: Final = 5


class Part(NamedTuple):
    """Lists that are watched on the same terms. `max_staleness` in seconds, None for auto."""

    name: str
    lists: int
    weight: float = 1.0
    max_staleness: float | None = None


class Delays(NamedTuple):
    """Seconds from a message being visible to its being read."""

    mean_s: float
    half_s: float  #: half of the messages wait no longer
    p95_s: float
    p99_s: float


class PartForecast(NamedTuple):
    """One part: `worst_s` is the longest gap, so the promise in force if there are lists so quiet."""

    part: Part
    delays: Delays
    worst_s: float
    promised_s: float  #: in force: stretched if the budget can't keep all promises


class Forecast(NamedTuple):
    """What a budget buys. `delays` counts a message in every list that shows it, as the metrics do."""

    delays: Delays
    first: Delays  #: by whichever list is read first, if everybody who talks is watched
    worst_s: float
    parts: tuple[PartForecast, ...]
    requests_per_minute: float
    share_of_quota: float
    stretch: float  #: all promises are kept times this
    needed_per_minute: float  #: the least budget that keeps the promises as named
    round_robin_s: float  #: the mean delay if all took turns


@dataclass(frozen=True)
class Reference:
    """Two days of chat; the second one counts."""

    trace: Trace

    @classmethod
    def of(cls, *, per_day: float, seed: int = SEED) -> Reference:
        """A population whose lists get `per_day` messages a day on average."""
        users = round(min(MOST, max(FEWEST, ENTRIES / per_day)))
        return cls(chat(users=users, seconds=WARM_UP_S + DAY_S, seed=seed, per_day=per_day))

    @cached_property
    def lists(self) -> list[list[tuple[float, int]]]:
        """For each list, when its messages came, and which ones they are."""
        found: list[list[tuple[float, int]]] = [[] for _ in range(self.trace.users)]
        for number, (at, members) in enumerate(self.trace.messages):
            for member in members:
                found[member].append((at, number))
        return found

    @cached_property
    def known(self) -> list[Activity]:
        """What is known of each list when the second day begins."""
        return [_learnt(messages) for messages in self.lists]

    @cached_property
    def rates(self) -> list[list[float]]:
        """For each spell of the second day, what the estimates are in the middle of it."""
        moments = [WARM_UP_S + (spell + 0.5) * SPELL_S for spell in range(int(DAY_S / SPELL_S))]
        by_list = [list(_estimates(messages, moments)) for messages in self.lists]
        return [list(rates) for rates in zip(*by_list, strict=True)]


def forecast(
    parts: Sequence[Part], *, requests_per_minute: float, min_interval: float, reference: Reference
) -> Forecast:
    """The delays to expect of `parts` at this budget. Raises ValueError without lists or budget."""
    if not sum(part.lists for part in parts) or requests_per_minute <= 0 or min_interval <= 0:
        raise ValueError("a forecast needs lists, a budget and a shortest interval above 0")
    rate = requests_per_minute / 60.0
    asked = [part.max_staleness for part in parts for _ in range(part.lists)]
    stretch = promises.stretch(asked, rate=rate)
    auto = promises.auto(len(asked), rate)
    kept = [max(min_interval, stretch * (part.max_staleness or auto)) for part in parts]
    paid = _paid(parts, kept, budget=rate, min_interval=min_interval, reference=reference)
    walks = [
        _walked(part, promise, paid.prices, min_interval, reference)
        for part, promise in zip(parts, kept, strict=True)
    ]
    shares = [part.lists / len(asked) for part in parts]
    return Forecast(
        delays=_summed([delays for delays, _ in walks], shares),
        first=_summed([first for _, first in walks], shares),
        worst_s=max(paid.longest),
        parts=tuple(
            PartForecast(part, _summed([delays], [1.0]), longest, promise)
            for part, (delays, _), longest, promise in zip(parts, walks, paid.longest, kept, strict=True)
        ),
        requests_per_minute=60.0 * paid.rate,
        share_of_quota=paid.rate / rate,
        stretch=stretch,
        needed_per_minute=60.0 * promises.needed_rate(asked),
        round_robin_s=max(min_interval, len(asked) / rate) / 2.0,
    )


class _Paid(NamedTuple):
    prices: list[float]  #: what everybody pays, spell by spell
    rate: float  #: requests a second, on average
    longest: list[float]  #: the longest gap in each part


def _paid(
    parts: Sequence[Part], kept: Sequence[float], *, budget: float, min_interval: float, reference: Reference
) -> _Paid:
    """The budget shared out over the day."""
    prices: list[float] = []
    spent, longest = 0.0, [0.0] * len(parts)
    for rates in reference.rates:
        share = 1.0 / len(rates)
        lists = [
            [(Load(rate, part.weight, promise), part.lists * share) for rate in rates]
            for part, promise in zip(parts, kept, strict=True)
        ]
        prices.append(price(list(chain(*lists)), budget=budget, min_interval=min_interval))
        for place, loads in enumerate(lists):
            gaps = [gap(load, prices[-1], min_interval) for load, _ in loads]
            longest[place] = max(longest[place], *gaps)
            spent += parts[place].lists * share * sum(1.0 / each for each in gaps)
    return _Paid(prices, spent / len(prices), longest)


def _walked(
    part: Part, promise: float, prices: Sequence[float], min_interval: float, reference: Reference
) -> tuple[list[float], list[float]]:
    """The delays in all lists, and by the first list, as if all were watched on the terms of this part."""
    random = Random(SEED)  # noqa: S311 - repeatable on purpose

    def pause(activity: Activity, now: float) -> float:
        paid = prices[min(len(prices) - 1, int((now - WARM_UP_S) / SPELL_S))]
        return gap(Load(activity.rate(now), part.weight, promise), paid, min_interval)

    delays: list[float] = []
    first: dict[int, float] = {}
    for messages, activity in zip(reference.lists, reference.known, strict=True):
        today = messages[bisect_left(messages, (WARM_UP_S, 0)) :]
        for number, delay in _reads(today, copy(activity), pause, random):
            delays.append(delay)
            first[number] = min(delay, first.get(number, math.inf))
    return delays, list(first.values())


def _reads(
    messages: Sequence[tuple[float, int]],
    activity: Activity,
    pause: Callable[[Activity, float], float],
    random: Random,
) -> Iterator[tuple[int, float]]:
    """One list through a day: each message, and how long after it was sent the list was polled."""
    waiting: list[tuple[float, int]] = []
    poll_at = -math.inf
    for sent, number in (*messages, (math.inf, -1)):
        while waiting and poll_at < sent:
            yield from ((each, poll_at - at) for at, each in waiting)
            activity.saw([poll_at - at for at, _ in waiting], poll_at)
            waiting.clear()
            poll_at += pause(activity, poll_at) * random.uniform(1 - JITTER, 1 + JITTER)
        if (
            poll_at < sent < math.inf
        ):  # polls that found nothing came between: any moment of the gap is as likely
            poll_at = sent + pause(activity, sent) * random.random()
        waiting.append((sent, number))


def _learnt(messages: Sequence[tuple[float, int]]) -> Activity:
    """The estimate of one list after the first day, when all was read at once."""
    activity = Activity(now=0.0)
    for sent, _ in messages[: bisect_left(messages, (WARM_UP_S, 0))]:
        activity.saw((0.0,), sent)
    return activity


def _estimates(messages: Sequence[tuple[float, int]], moments: Iterable[float]) -> Iterator[float]:
    """What the estimate of one list is at each of the moments, when all before it was read at once."""
    activity, seen = Activity(now=0.0), 0
    for moment in moments:
        while seen < len(messages) and messages[seen][0] <= moment:
            activity.saw((0.0,), messages[seen][0])
            seen += 1
        yield activity.rate(moment)


def _summed(samples: Sequence[Sequence[float]], shares: Sequence[float]) -> Delays:
    """The distribution of all samples together, each with its share."""
    weighed = sorted(
        (delay, share / len(sample))
        for sample, share in zip(samples, shares, strict=True)
        for delay in sample
    )
    if not weighed:
        raise ValueError("the reference population wrote nothing: expect more messages a day")
    passed = list(accumulate(weight for _, weight in weighed))

    def quantile(part: float) -> float:
        return weighed[min(len(weighed) - 1, bisect_left(passed, part * passed[-1]))][0]

    mean = sum(delay * weight for delay, weight in weighed) / passed[-1]
    return Delays(mean, quantile(0.5), quantile(0.95), quantile(0.99))
