"""The kind `sequence`: messages that meet one condition after the other, within some time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import yaml

from rules.conditions import AllOf, Condition, either_interest
from rules.fields import BY
from rules.grammar import Duration, Key, Report, said
from rules.kinds import match
from rules.kinds.answers import lasted
from rules.kinds.base import Kind
from rules.kinds.episodes import Episode, Filter, Look, Row, Story, Told, key_facts, length, moment_of
from rules.kinds.once import Once
from rules.model import Message, Value, WatchSet
from rules.templates import Facts, moment
from rules.when import MESSAGE_CONDITIONS, Conditions, Several

MOST_STEPS: Final = 10
MOST: Final = timedelta(days=1)


class Options(Value, frozen=True, kw_only=True):
    steps: tuple[Condition, ...]
    within: timedelta
    by: tuple[str, ...] = ("conversation",)


class Run:
    """A time from the first message of the steps to the last one."""

    __slots__ = ("done", "first", "last")

    def __init__(self, first: int, done: Row) -> None:
        self.first, self.last, self.done = first, done.at, done


class InOrder(Once):
    """All steps were taken, each by a message after that of the step before; others may lie between.

    Of the messages that a step could begin with the latest counts. Runs that overlap are one episode.
    """

    def __init__(self, condition: Condition | None, options: Options) -> None:
        self._condition, self._options = condition, options
        self._steps = [Filter(_both(condition, step)) for step in options.steps]
        self._within = length(options.within)
        named = {f"steps[{place}]": step for place, step in enumerate(options.steps)}
        super().__init__(
            by=options.by,
            conditions={**({"when": condition} if condition else {}), **named},
            interest=either_interest([step.interest for step in self._steps]),
            reach=options.within,
            lasts=options.within,
        )

    def is_row(self, message: Message) -> bool:
        return any(step.alone(message, {}) for step in self._steps)

    def row_values(self, message: Message, watch: WatchSet) -> Sequence[str]:
        """The numbers of the steps that the message could be."""
        steps = "".join(
            str(place)
            for place, step in enumerate(self._steps)
            if step.alone(message, watch) and step.rest(message, watch)
        )
        return (steps,) if steps else ()

    def look(self, story: Story) -> Look:
        return Look([self._episode(runs) for runs in _overlapping(self._runs(story.rows))])

    def _runs(self, rows: Sequence[Row]) -> Iterator[Run]:
        """A run for each message that is the last step of one, with the latest beginning that leads to it."""
        began: list[int | None] = [None] * len(self._steps)
        for row in rows:
            for step in sorted(map(int, row.value), reverse=True):  # a message takes one step, not two
                start = row.at if step == 0 else began[step - 1]
                if start is None or row.at - start > self._within:
                    continue
                began[step] = start if (known := began[step]) is None else max(known, start)
                if step == len(self._steps) - 1:
                    yield Run(start, row)

    def _episode(self, runs: Sequence[Run]) -> Episode:
        last = max(run.last for run in runs)
        return Episode(
            first=min(run.first for run in runs),
            last=last,
            marks=[runs[0].done],
            over=last + self._within,
            figures=(len(runs),),
        )

    def facts(self, story: Story, told: Told) -> Facts:  # noqa: ARG002 - what was told says it all
        return sequence_facts(len(self._steps), told.first, told.last)

    def describe(self) -> str:
        options = self._options
        each = f", for each {' and '.join(options.by)}" if options.by else ""
        with_ = f" with {self._condition.describe()}" if self._condition else ""
        steps = ", then ".join(f"({step.describe()})" for step in options.steps)
        return f"messages{with_} in this order within {said(options.within)}{each}: {steps}"


def _both(condition: Condition | None, step: Condition) -> Condition:
    """Flat, so that a part that asks who is watched leaves the others to be asked before."""
    if condition is None:
        return step
    parts = [part.conditions if isinstance(part, AllOf) else (part,) for part in (condition, step)]
    return AllOf(conditions=(*parts[0], *parts[1]))


def _overlapping(runs: Iterator[Run]) -> Iterator[Sequence[Run]]:
    """The runs in groups that have no moment in common with each other."""
    group: list[Run] = []
    until = 0
    for run in sorted(runs, key=lambda run: (run.first, run.done)):
        if group and run.first > until:
            yield _in_order(group)
            group = []
        group.append(run)
        until = max(until, run.last) if len(group) > 1 else run.last
    if group:
        yield _in_order(group)


def _in_order(group: Sequence[Run]) -> Sequence[Run]:
    return sorted(group, key=lambda run: run.done)


def sequence_facts(steps: int, first: int, last: int) -> Facts:
    """What templates can name: how many steps, and how long they took."""
    return {
        "steps": steps,
        "took": lasted(moment_of(last) - moment_of(first)),
        "since": moment(moment_of(first)),
        "until": moment(moment_of(last)),
    }


def build(condition: Condition | None, options: Mapping[str, Any]) -> InOrder:
    return InOrder(condition, Options(**options))


@dataclass(frozen=True, kw_only=True)
class Steps:
    """A list of two or more conditions."""

    of: Conditions
    example: str

    @property
    def expected(self) -> str:
        return f"a list of 2 to {MOST_STEPS} conditions"

    def read(self, node: yaml.Node, report: Report) -> Any:
        if not isinstance(node, yaml.SequenceNode) or not 2 <= len(node.value) <= MOST_STEPS:
            found = f"a list of {len(node.value)}" if isinstance(node, yaml.SequenceNode) else "no list"
            return report.refuse(node, f"found {found}", expected=self.expected, example=self.example)
        return Several(of=self.of).read(node, report)

    def schema(self) -> dict[str, Any]:
        return {**Several(of=self.of).schema(), "minItems": 2, "maxItems": MOST_STEPS}


EXAMPLE: Final = "steps: [{text: refund}, {action: deleted}]"
SAMPLE_LAST: Final = 1_795_334_400_000_000

KIND = Kind(
    description="Messages that meet one condition after the other within some time raise one alert, which "
    "never resolves.",
    options={
        "steps": Key(
            Steps(of=MESSAGE_CONDITIONS, example=EXAMPLE),
            "Conditions in the order in which messages must meet them; each message is one step. Other "
            "messages may lie between.",
            EXAMPLE,
        ),
        "within": Key(
            Duration(least=timedelta(seconds=1), most=MOST),
            "The longest time from the first step to the last one.",
            "within: 10m",
        ),
        "by": BY._replace(description=f"{BY.description} Default: [conversation]."),
    },
    required=("steps", "within"),
    conditions=MESSAGE_CONDITIONS,
    is_when_required=False,
    title="{{ rule.name }}: {{ steps }} steps within {{ took }}{% if key %} ({{ key }}){% endif %}",
    summary="The last one by {{ sender.label }} in {{ message.conversation_id }}, {{ since }} to {{ until }}",
    sample={
        **match.KIND.sample,
        **key_facts(("conversation",), ("group_hiking",)),
        **sequence_facts(2, SAMPLE_LAST - 90_000_000, SAMPLE_LAST),
    },
    build=build,
    needs=match.needs,
)
