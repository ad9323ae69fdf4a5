"""The model of a kind: all rows, and everything worked out anew at each step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from rules.model import Message


class Fact(NamedTuple):
    """A row as the models see it: whole seconds after noon."""

    at: int
    id: int
    value: str = ""


@dataclass(kw_only=True)
class Truth:
    """A time in which something was so."""

    first: float
    last: int
    marks: list[tuple[int, int]]  #: (when it was apparent, of which row)
    over: int | None = None
    ended: bool = False
    level: int = 0
    strand: str = ""


class Model(ABC):
    """What one kind with some options says of the rows of one key."""

    resolves: bool = True  #: False: its alerts tell of what happened, and are never over

    @abstractmethod
    def keys(self, message: Message) -> list[str]:
        """The keys that a message has to do with."""

    @abstractmethod
    def values(self, message: Message, key: str) -> list[str]:
        """A value for each row that the message makes for this key."""

    @abstractmethod
    def truths(self, facts: Sequence[Fact], seen: int) -> list[Truth]:
        """All that was so, by all rows there are, in event order; everything until `seen` has come."""

    def due(self, facts: Sequence[Fact], seen: int) -> int | None:
        """When there will be more to say though no row comes, what was said aside."""
        return None


class Event(NamedTuple):
    """What is told: of which episode, as what, when it happened."""

    episode: str
    status: str
    revision: int
    at: int


@dataclass
class Claim:
    """An alert that was raised."""

    episode: str
    truth: Truth
    level: int
    revision: int = 0
    settled: int | None = None  #: resolved, and all is told until then


@dataclass
class Oracle:
    """One key: everything that ever came of it, and what was told."""

    model: Model
    facts: set[Fact] = field(default_factory=set)
    claims: list[Claim] = field(default_factory=list)
    seen: int = -1

    def step(self, new: Sequence[Fact], tick: int | None) -> list[Event]:
        if tick is None and self.facts.issuperset(new):
            return []
        self.facts.update(new)
        self.seen = max(self.seen, -1 if tick is None else tick)
        truths = self.model.truths(sorted(self.facts), self.seen)
        events = [event for claim in self.claims for event in self._follow(claim, truths)]
        for truth in truths:
            events += self._raise(truth)
        return events if self.model.resolves else [event for event in events if event.status == "firing"]

    def due(self) -> int | None:
        """When, at the latest, there must be a tick."""
        dues = [claim.truth.over for claim in self.claims if claim.settled is None]
        dues.append(self.model.due(sorted(self.facts), self.seen))
        return min((due for due in dues if due is not None), default=None)

    def _follow(self, claim: Claim, truths: Sequence[Truth]) -> list[Event]:
        mine = [truth for truth in truths if same(claim.truth, truth)]
        if claim.settled is not None:
            known = [claim.truth, *mine]
            claim.truth = replace(
                claim.truth,
                first=min(truth.first for truth in known),
                last=max(truth.last for truth in known),
            )
            return []
        if not mine:
            return [self._settle(claim, claim.truth.last)]
        newest = max(mine, key=lambda truth: truth.last)
        claim.truth = Truth(
            first=min([claim.truth.first, *(truth.first for truth in mine)]),
            last=newest.last,
            marks=[],
            over=newest.over,
            ended=newest.ended,
            strand=newest.strand,
        )
        events = []
        if any(truth.level > claim.level for truth in mine):
            claim.level = max(truth.level for truth in mine)
            claim.revision += 1
            events.append(Event(claim.episode, "firing", claim.revision, newest.last))
        return events + self._end(claim)

    def _raise(self, truth: Truth) -> list[Event]:
        known = [claim for claim in self.claims if same(claim.truth, truth)]
        if any(claim.settled is None for claim in known):
            return []
        until = max((claim.settled for claim in known if claim.settled is not None), default=-1)
        for at, id_ in truth.marks:
            if at > until:
                episode = f"{id_}-{truth.strand}" if truth.strand else str(id_)
                claim = Claim(episode, truth, truth.level)
                self.claims.append(claim)
                return [Event(episode, "firing", 0, at), *self._end(claim)]
        return []

    def _end(self, claim: Claim) -> list[Event]:
        if claim.truth.ended:
            return [self._settle(claim, claim.truth.last)]
        if claim.truth.over is not None and claim.truth.over <= self.seen:
            return [self._settle(claim, claim.truth.over)]
        return []

    def _settle(self, claim: Claim, at: int) -> Event:
        claim.settled = at
        return Event(claim.episode, "resolved", 0, at)


def same(one: Truth, other: Truth) -> bool:
    return one.strand == other.strand and max(one.first, other.first) <= min(one.last, other.last)
