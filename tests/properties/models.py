"""Models of `count`, `spike` and `absence`: as slow and plain as their definitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Final

from rules.model import Message, MessageId, Party
from tests.properties.oracle import Fact, Model, Truth
from tests.properties.stories import Draw, Subject, writes
from tests.rules.builders import a_message, after


class BySender(Model):
    def keys(self, message: Message) -> list[str]:
        return [message.sender.id]

    def values(self, message: Message, key: str) -> list[str]:
        return [""]


def chains(moments: Sequence[int], gap: int) -> Iterator[list[int]]:
    """Moments that are at most `gap` apart, together."""
    chain: list[int] = []
    for moment in moments:
        if chain and moment - chain[-1] > gap:
            yield chain
            chain = []
        chain.append(moment)
    if chain:
        yield chain


def doublings(number: float) -> int:
    """How often 1 fits in when it is doubled."""
    times = 0
    while number >= 2**times:
        times += 1
    return times


# --- count -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CountModel(BySender):
    at_least: int
    within: int
    lasting: int
    quiet: int
    is_distinct: bool

    def values(self, message: Message, key: str) -> list[str]:
        return list(message.mentions) if self.is_distinct else [""]

    def truths(self, facts: Sequence[Fact], seen: int) -> list[Truth]:
        counts = [
            (fact, self._number([one for one in facts[: place + 1] if one.at > fact.at - self.within]))
            for place, fact in enumerate(facts)
        ]
        true = [(fact, number) for fact, number in counts if number >= self.at_least]
        return [
            self._truth([(fact, number) for fact, number in true if chain[0] <= fact.at <= chain[-1]])
            for chain in chains([fact.at for fact, _ in true], self.quiet)
        ]

    def _number(self, window: Sequence[Fact]) -> int:
        return len({fact.value for fact in window} if self.is_distinct else window)

    def _truth(self, burst: Sequence[tuple[Fact, int]]) -> Truth:
        first, last = burst[0][0].at, burst[-1][0].at
        marks = [(fact.at, fact.id) for fact, _ in burst if fact.at >= first + self.lasting]
        peak = max(number for _, number in burst)
        level = doublings(peak // self.at_least) if marks else 0
        return Truth(first=first, last=last, marks=marks, over=last + self.quiet, level=level)


def mentions(random: Random, id_: int, at: int) -> Message:
    """Ann mentions some people, or nobody."""
    people = tuple(sorted(random.sample(("bob", "eve", "joe", "kim"), random.randint(0, 3))))
    return a_message(id=MessageId(id_), sent_at=after(at), sender=Party(id="ann"), mentions=people)


def count(random: Random) -> Subject:
    within = random.choice((10, 60, 3600))
    lasting = random.choice((0, 0, within // 2, 2 * within))
    quiet = random.choice((within, within // 2, 2 * within))
    at_least, is_distinct = random.randint(2, 6), random.random() < 0.3
    options = (
        f"kind: count, by: [sender], at_least: {at_least}, within: {within}s, "
        f"for: {lasting}s, resolve_after: {quiet}s"
    )
    return Subject(
        options=options + (", distinct: mentioned" if is_distinct else ""),
        model=CountModel(at_least, within, lasting, quiet, is_distinct),
        pace=max(1, within // random.randint(2, 10)),
        write=mentions if is_distinct else writes,
    )


# --- spike -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SpikeModel(BySender):
    within: int
    reference: int
    ratio: float
    at_least: int
    floor: int
    learn: int
    quiet: int
    direction: str

    def truths(self, facts: Sequence[Fact], seen: int) -> list[Truth]:
        return [
            *(self._ups(facts) if self.direction != "down" else ()),
            *(self._downs(facts, seen) if self.direction != "up" else ()),
        ]

    def due(self, facts: Sequence[Fact], seen: int) -> int | None:
        """The next time at which there are too few, if what is known of then is all."""
        if self.direction == "up" or not facts:
            return None
        open_ = self._downs(facts, seen)
        times = [fact.at + self.within for fact in facts if fact.at + self.within > seen]
        times = [at for at in times if self._is_low(facts, at)]
        times = [at for at in times if not any(truth.first <= at <= (truth.over or at) for truth in open_)]
        return min(times, default=None)

    def _usual(self, facts: Sequence[Fact], at: int) -> float:
        end = at - self.within
        return sum(end - self.reference < fact.at <= end for fact in facts) * (self.within / self.reference)

    def _ups(self, facts: Sequence[Fact]) -> Iterator[Truth]:
        true: dict[Fact, tuple[int, float]] = {}
        for place, fact in enumerate(facts):
            number = sum(one.at > fact.at - self.within for one in facts[: place + 1])
            usual = self._usual(facts, fact.at)
            is_many = number >= self.at_least and number >= self.ratio * max(usual, self.floor)
            if is_many and fact.at >= facts[0].at + self.learn:
                true[fact] = (number, usual)
        for chain in chains([fact.at for fact in true], self.quiet):
            burst = {fact: true[fact] for fact in true if chain[0] <= fact.at <= chain[-1]}
            number, usual = max(burst.values())
            yield Truth(
                first=chain[0],
                last=chain[-1],
                marks=[(fact.at, fact.id) for fact in burst],
                over=chain[-1] + self.quiet,
                level=doublings(int(number / (self.ratio * max(round(usual, 3), self.floor)))),
                strand="up",
            )

    def _is_low(self, facts: Sequence[Fact], at: int) -> bool:
        number = sum(at - self.within < fact.at <= at for fact in facts)
        usual = self._usual(facts, at)
        is_known = at >= facts[0].at + self.learn
        return is_known and usual >= self.at_least and number <= usual / self.ratio

    def _downs(self, facts: Sequence[Fact], seen: int) -> Iterator[Truth] | list[Truth]:
        if not facts:
            return []
        changes = sorted(
            {fact.at + later for fact in facts for later in (0, self.within, self.within + self.reference)}
        )
        spans: list[list[int]] = []  # when it was low, joined over short pauses
        for at, then in pairwise(changes):
            if self._is_low(facts, at):
                if spans and spans[-1][1] == at:
                    spans[-1][1] = then
                elif at <= seen:
                    spans.append([at, then])
        joined: list[list[list[int]]] = []
        for span in spans:
            if joined and span[0] - joined[-1][-1][1] <= self.quiet:
                joined[-1].append(span)
            else:
                joined.append([span])
        return [self._down(facts, lull, seen) for lull in joined]

    def _down(self, facts: Sequence[Fact], lull: Sequence[Sequence[int]], seen: int) -> Truth:
        left = [(fact.at + self.within, fact.id) for fact in facts if fact.at + self.within <= seen]
        end = lull[-1][1]
        return Truth(
            first=lull[0][0],
            last=end,
            marks=[(at, id_) for at, id_ in left if any(start <= at < stop for start, stop in lull)],
            over=end + self.quiet,
            strand="down",
        )


def spike(random: Random) -> Subject:
    within = random.choice((10, 60, 600))
    reference = within * random.choice((1, 3, 10))
    ratio, at_least = random.choice((1.5, 2, 3)), random.randint(1, 5)
    learn = random.choice((0, within + reference, within + reference))
    quiet, floor = random.choice((within, within // 2, 3 * within)), random.randint(1, 3)
    direction = random.choice(("up", "down", "both"))
    options = (
        f"kind: spike, by: [sender], within: {within}s, reference: {reference}s, ratio: {ratio}, "
        f"at_least: {at_least}, floor: {floor}, learn: {learn}s, resolve_after: {quiet}s, "
        f"direction: {direction}"
    )
    return Subject(
        options=options,
        model=SpikeModel(within, reference, ratio, at_least, floor, learn, quiet, direction),
        pace=max(1, within // random.randint(2, 10)),
        write=writes,
    )


# --- absence -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AbsenceModel(BySender):
    lasting: int
    give_up: int

    def truths(self, facts: Sequence[Fact], seen: int) -> list[Truth]:
        return [
            Truth(
                first=fact.at + 0.5,  # the row itself ends the gap before
                last=then.at if then else fact.at + self.lasting,
                marks=[(fact.at + self.lasting, fact.id)],
                over=None if then else fact.at + self.lasting + self.give_up,
                ended=then is not None,
            )
            for fact, then in self._gaps(facts)
            if fact.at + self.lasting <= seen
        ]

    def due(self, facts: Sequence[Fact], seen: int) -> int | None:
        ends = [fact.at + self.lasting for fact, _ in self._gaps(facts)]
        return min((end for end in ends if end > seen), default=None)

    def _gaps(self, facts: Sequence[Fact]) -> list[tuple[Fact, Fact | None]]:
        pairs = zip(facts, [*facts[1:], None], strict=False)
        return [(a, b) for a, b in pairs if b is None or b.at - a.at > self.lasting]


def absence(random: Random) -> Subject:
    lasting = random.choice((10, 60, 600, 7200))
    give_up = random.choice((60, 3600, 7 * 86400))
    return Subject(
        options=f"kind: absence, by: [sender], for: {lasting}s, give_up: {give_up}s",
        model=AbsenceModel(lasting, give_up),
        pace=max(1, lasting // random.randint(1, 5)),
        write=writes,
    )


SUBJECTS: Final[Mapping[str, Draw]] = {"count": count, "spike": spike, "absence": absence}
