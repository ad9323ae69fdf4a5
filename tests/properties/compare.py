"""One story through the engine and through the models, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import Final

from rules.engine import RuleSet
from rules.model import Alert, Message, Tick, UserId, WatchSet, fingerprint
from tests.properties.oracle import Fact, Oracle
from tests.properties.stories import Draw, Step, Subject, story
from tests.rules.builders import APP, NOON, Bench, after, rules_of

WATCH: Final[WatchSet] = {UserId(uid): {} for uid in ("ann", "bob", "eve")}
RULE: Final = "tried"
ROUNDS: Final = 300  # of ticks in one step: each must end something


def loaded(subject: Subject) -> RuleSet:
    return rules_of(f"rules: [{{name: {RULE}, {subject.options}}}]")


class Trial:
    """The engine with its stored states, and the models beside it."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.bench = Bench(loaded(subject), watch=dict(WATCH))
        self.oracles: dict[str, Oracle] = {}

    def run(self, steps: Sequence[Step]) -> str | None:
        """What differs first, in words; None if nothing does."""
        for number, step in enumerate(steps):
            if step.is_reloaded:
                self.bench.rules = loaded(self.subject)
            ticks = self._due(step.watermark)
            difference = self._step(step.now, step.messages, ticks)
            rounds = 0
            while difference is None and (ticks := self._due(step.watermark)) and rounds < ROUNDS:
                difference = self._step(step.now, (), ticks)
                rounds += 1
            if rounds == ROUNDS:
                difference = f"ticks without end: {ticks}"
            if difference is not None:
                return f"step {number} of {len(steps)}, now {step.now}: {difference}"
        return None

    def _due(self, watermark: int) -> list[Tick]:
        timers = sorted(self.bench.timers.values(), key=lambda timer: timer.key)
        return [Tick(key=timer.key, due=timer.due) for timer in timers if timer.due < after(watermark)]

    def _step(self, now: int, messages: Sequence[Message], ticks: Sequence[Tick]) -> str | None:
        new: dict[str, list[Fact]] = {tick.key.key: [] for tick in ticks}
        for message in messages:
            for key in self.subject.model.keys(message):
                new.setdefault(key, []).extend(self._facts(message, key))
        times = {tick.key.key: _seconds(tick) for tick in ticks}
        expected = sorted(
            (fingerprint(APP, RULE, key, event.episode), event.status, event.revision, event.at)
            for key, facts in new.items()
            for event in self._oracle(key).step(facts, times.get(key))
        )
        outcome = self.bench.feed(*messages, ticks=ticks, now=after(now))
        if outcome.faults:
            return f"faults: {outcome.faults}"
        told = sorted(map(_told, outcome.alerts))
        if told != expected:
            return f"told {told}, expected {expected}; {self._names(new)}"
        return self._late_waits()

    def _facts(self, message: Message, key: str) -> list[Fact]:
        at = round((message.sent_at - NOON).total_seconds())
        return [Fact(at, int(message.id), value) for value in self.subject.model.values(message, key)]

    def _oracle(self, key: str) -> Oracle:
        return self.oracles.setdefault(key, Oracle(self.subject.model))

    def _late_waits(self) -> str | None:
        """A question that nobody will ask in time."""
        waits = {key.key: timer.due for key, timer in self.bench.timers.items()}
        for key, oracle in self.oracles.items():
            due = oracle.due() if self.subject.model.resolves else None
            if due is not None and (key not in waits or waits[key] > after(due)):
                return f"key {key} waits until {waits.get(key)}, which should be {after(due)}"
        return None

    def _names(self, keys: dict[str, list[Fact]]) -> str:
        """Whose episodes the ids are."""
        return ", ".join(
            f"{fingerprint(APP, RULE, key, claim.episode)} is {key}/{claim.episode}"
            for key in keys
            for claim in self._oracle(key).claims
        )


def _seconds(tick: Tick) -> int:
    return (tick.due - NOON) // timedelta(seconds=1)


def _told(alert: Alert) -> tuple[str, str, int, int]:
    at = round((alert.event_at - NOON).total_seconds())
    return (alert.id, str(alert.status), alert.revision, at)


def case(draw: Draw, seed: str) -> tuple[Subject, list[Step]]:
    """The story of a seed: always the same."""
    random = Random(seed)
    subject = draw(random)
    return subject, story(random, subject)


def shrunk(subject: Subject, steps: Sequence[Step]) -> list[Step]:
    """A shorter story that still shows a difference."""
    steps, size = list(steps), len(steps)
    while size:
        for place in range(0, len(steps), size):
            fewer = steps[:place] + steps[place + size :]
            if Trial(subject).run(fewer) is not None:
                steps = fewer
                break
        else:
            size //= 2
    return steps
