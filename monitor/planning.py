"""How soon messages will be seen: a question put together from settings and options, and its answer. Pure.

The forecast (from reference chat) and the prediction (from recorded activity) stand in `schedule`; here is
what they are asked for, and one shape for what they answer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from monitor.lists import APP
from monitor.roster import Roster
from monitor.schedule import promises
from monitor.schedule.forecast import Delays, Part, Reference, forecast
from monitor.schedule.plan import Load, predict
from monitor.schedule.turns import Wish

FREE: Final = 500  # requests a minute, by CometChat's documents
PAID: Final = 20_000
STEPS: Final = (0.5, 1.0, 2.0, 4.0)  # the budgets compared, of the one asked for
PARTS: Final = 6  # sets of terms that are told apart


class Line(NamedTuple):
    """One budget and what it buys: delays in seconds."""

    requests_per_minute: float
    round_s: float  #: asking once for every list
    mean_s: float
    p95_s: float
    worst_s: float
    first_mean_s: float | None  #: if all who talk are watched; not known from the store
    round_robin_mean_s: float
    used_per_minute: float
    share_of_quota: float  #: of the budget
    stretch: float  #: of all promises; 1.0: kept
    parts: tuple[PartLine, ...] = ()


class PartLine(NamedTuple):
    """What lists on the same terms get of it."""

    name: str
    lists: int
    weight: float
    max_staleness_s: float | None  #: as promised; None: auto
    mean_s: float
    p95_s: float
    worst_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: who is watched on which terms, and with how many requests."""

    parts: tuple[Part, ...]
    requests_per_minute: int
    min_interval: float
    per_day: float
    loads: tuple[Load, ...] = ()  #: recorded, with the promises as named; or else reference chat is taken
    notes: tuple[str, ...] = ()

    @property
    def lists(self) -> int:
        return sum(part.lists for part in self.parts)

    @property
    def promises(self) -> list[float | None]:
        return [part.max_staleness for part in self.parts for _ in range(part.lists)]

    @property
    def needed_per_minute(self) -> int:
        """The least budget that keeps the promises as named; 0 if none is."""
        return math.ceil(60.0 * promises.needed_rate(self.promises) - 1e-6)

    @property
    def is_kept(self) -> bool:
        return self.needed_per_minute <= self.requests_per_minute

    def budgets(self) -> list[int]:
        """The budgets to compare, this one among them."""
        around = {max(1, min(PAID, round(step * self.requests_per_minute))) for step in STEPS}
        needed = (
            {self.needed_per_minute} if self.requests_per_minute < self.needed_per_minute <= PAID else set()
        )
        return sorted(around | needed | {self.requests_per_minute})


def parts_of(terms: Mapping[str, Wish], roster: Roster) -> tuple[Part, ...]:
    """Lists on the same terms, most first; the smallest are taken together if there are many."""
    names = {str(uid): member.cohort or "users" for uid, member in roster.members.items()}
    counted = Counter(
        (names.get(uid, "app" if uid == APP else "groups"), wish.weight, wish.max_staleness)
        for uid, wish in terms.items()
    )
    parts = [Part(name, lists, weight, promise) for (name, weight, promise), lists in counted.most_common()]
    return tuple(parts if len(parts) <= PARTS else [*parts[: PARTS - 1], _together(parts[PARTS - 1 :])])


def _together(parts: Sequence[Part]) -> Part:
    """On the mean weight and the shortest promise: no better than what they have."""
    lists = sum(part.lists for part in parts)
    weight = sum(part.lists * part.weight for part in parts) / lists
    named = [part.max_staleness for part in parts if part.max_staleness is not None]
    return parts[0]._replace(
        name="others", lists=lists, weight=weight, max_staleness=min(named, default=None)
    )


def answers(question: Question) -> Iterator[Line]:
    """One for each of the budgets, smallest first; a second or so each without a record."""
    answer = partial(_from_loads, question) if question.loads else _from_reference(question)
    yield from map(answer, question.budgets())


def _from_reference(question: Question) -> Callable[[int], Line]:
    reference = Reference.of(per_day=question.per_day)

    def answer(budget: int) -> Line:
        found = forecast(
            question.parts,
            requests_per_minute=budget,
            min_interval=question.min_interval,
            reference=reference,
        )
        return Line(
            requests_per_minute=budget,
            round_s=60.0 * question.lists / budget,
            mean_s=found.delays.mean_s,
            p95_s=found.delays.p95_s,
            worst_s=found.worst_s,
            first_mean_s=found.first.mean_s,
            round_robin_mean_s=found.round_robin_s,
            used_per_minute=found.requests_per_minute,
            share_of_quota=found.share_of_quota,
            stretch=found.stretch,
            parts=tuple(_part(one.part, one.delays, one.worst_s) for one in found.parts),
        )

    return answer


def _part(part: Part, delays: Delays, worst_s: float) -> PartLine:
    return PartLine(*part, mean_s=delays.mean_s, p95_s=delays.p95_s, worst_s=worst_s)


def _from_loads(question: Question, budget: int) -> Line:
    rate = budget / 60.0
    stretch = promises.stretch(question.promises, rate=rate)
    auto = promises.auto(question.lists, rate)
    kept = [
        load._replace(
            max_staleness=stretch * (auto if load.max_staleness == math.inf else load.max_staleness)
        )
        for load in question.loads
    ]
    found = predict(kept, per_second=rate, min_interval=question.min_interval, lists=question.lists)
    return Line(
        requests_per_minute=budget,
        round_s=question.lists / rate,
        mean_s=found.mean_s,
        p95_s=found.p95_s,
        worst_s=found.worst_s,
        first_mean_s=None,
        round_robin_mean_s=max(question.min_interval, question.lists / rate) / 2.0,
        used_per_minute=found.requests_per_minute,
        share_of_quota=found.share_of_quota,
        stretch=stretch,
    )


def document(question: Question, lines: Sequence[Line]) -> dict[str, Any]:
    """The whole answer for machines."""
    return {
        "lists": question.lists,
        "requests_per_minute": question.requests_per_minute,
        "min_interval_s": question.min_interval,
        "traffic": "recorded" if question.loads else "reference",
        "messages_per_day": None if question.loads else question.per_day,
        "promises_kept": question.is_kept,
        "needed_requests_per_minute": question.needed_per_minute or None,
        "notes": list(question.notes),
        "plans": [{**line._asdict(), "parts": [part._asdict() for part in line.parts]} for line in lines],
    }
