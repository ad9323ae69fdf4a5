"""What the tests never tried: conditions that were never true or never false, rules that never raised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from monitor.evaluation import Orders
from monitor.timeline.model import Event
from rules.engine import Rule, RuleSet
from rules.model import Message, RuleName, Value
from rules.text import Place
from rules.tracing import Tracer


class Tried(Value, frozen=True, kw_only=True):
    """One part of a rule's conditions, and whether it ever held and ever did not."""

    key: str  #: under which it is written: when, answer, …
    said: str
    was_true: bool
    was_false: bool


class Covered(Value, frozen=True, kw_only=True):
    """One rule as the tests tried it."""

    rule: RuleName
    place: Place
    raised: bool
    conditions: tuple[Tried, ...]

    @property
    def outcomes(self) -> tuple[int, int]:
        """How many outcomes were met, of how many: each condition has two, the rule one."""
        met = sum(one.was_true + one.was_false for one in self.conditions) + self.raised
        return met, 2 * len(self.conditions) + 1


def percent(covered: Sequence[Covered]) -> float:
    """Outcomes met of all; 100 where there are none."""
    met = sum(one.outcomes[0] for one in covered)
    of = sum(one.outcomes[1] for one in covered)
    return 100.0 * met / of if of else 100.0


@dataclass(slots=True)
class _Rule:
    rule: Rule
    tracers: Mapping[str, Tracer]
    values: dict[tuple[str, int], set[bool]] = field(default_factory=dict)
    raised: bool = False


class Coverage:
    """Collects, over all tests of a run, what the conditions of their rules said of the messages."""

    def __init__(self) -> None:
        self._rules: dict[RuleName, _Rule] = {}

    def expect(self, rules: RuleSet) -> None:
        """Note that these rules are under test."""
        for rule in rules.rules:
            if rule.name not in self._rules:
                tracers = {key: Tracer(condition) for key, condition in rule.logic.conditions.items()}
                self._rules[rule.name] = _Rule(rule, tracers)

    def saw(self, orders: Orders, messages: Sequence[Message]) -> None:
        """Note what the rules say of messages that were read for the first time."""
        for rule in orders.rules.rules:
            if known := self._rules.get(rule.name):
                for message in messages:
                    self._try(known, orders, message)

    def _try(self, known: _Rule, orders: Orders, message: Message) -> None:
        for key, tracer in known.tracers.items():
            for number, part in enumerate(tracer(message, orders.watch).walk()):
                if part.value is not None:
                    known.values.setdefault((key, number), set()).add(part.value)

    def came(self, events: Sequence[Event]) -> None:
        """Note what came of a test."""
        for event in events:
            if event.what == "raised" and (known := self._rules.get(event.alert.rule)):
                known.raised = True

    def covered(self) -> tuple[Covered, ...]:
        """What was tried so far, rule by rule."""
        return tuple(
            Covered(rule=name, place=one.rule.place, raised=one.raised, conditions=tuple(_tried(one)))
            for name, one in self._rules.items()
        )


def _tried(known: _Rule) -> Iterator[Tried]:
    for key, tracer in known.tracers.items():
        for number, said in enumerate(tracer.said):
            values = known.values.get((key, number), set())
            yield Tried(key=key, said=said, was_true=True in values, was_false=False in values)
