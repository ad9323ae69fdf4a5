"""The kind `change`: a field whose value differs from that of the message before."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, NamedTuple

from rules.conditions import Condition
from rules.fields import BY, FieldName, field
from rules.grammar import Duration, Key, said
from rules.kinds import match
from rules.kinds.base import Kind
from rules.kinds.episodes import GRACE, Episode, Filter, Look, Row, Story, Told, key_facts, length
from rules.kinds.once import Once
from rules.model import Message, Value, WatchSet, digest
from rules.templates import Facts
from rules.templates import name as shown_name
from rules.when import MESSAGE_CONDITIONS

FORGET: Final = timedelta(days=30)
BETWEEN: Final = ", "  # of the values of one message
MAX_SAID: Final = 1_000  # characters of them together; more are compared by their digest


class Options(Value, frozen=True, kw_only=True):
    field: str
    by: tuple[str, ...]
    forget: timedelta = FORGET


class Step(NamedTuple):
    """A message with another value than the one before."""

    before: Row
    after: Row


class Change(Once):
    """Compares each message that has the field with the one before it.

    Of messages at the same instant (the API tells whole seconds) the last one counts.
    """

    def __init__(self, condition: Condition | None, options: Options) -> None:
        self._filter = Filter(condition)
        self._condition, self._options = condition, options
        self._field = field(options.field)
        self._forget = length(options.forget)
        super().__init__(
            by=options.by,
            conditions={"when": condition} if condition else {},
            interest=self._filter.interest,
            reach=timedelta(0),
            lasts=timedelta(0),
            is_strict=True,
        )

    def is_row(self, message: Message) -> bool:
        return bool(self._field(message)) and self._filter.alone(message, {})

    def row_values(self, message: Message, watch: WatchSet) -> Sequence[str]:
        if not self._filter.rest(message, watch):
            return ()
        said = BETWEEN.join(sorted(self._field(message)))
        return (said if len(said) <= MAX_SAID else digest(said),)

    def look(self, story: Story) -> Look:
        latest = story.rows[-1].at - GRACE
        compared = next((row.at for row in reversed(story.rows) if row.at < latest), None)
        return Look([_episode(step) for step in self._steps(story.rows)], pending=compared)

    def _steps(self, rows: Sequence[Row]) -> Iterator[Step]:
        before: Row | None = None
        for _, together in groupby(rows, key=lambda row: row.at):
            *_, after = together
            is_known = before is not None and after.at - before.at <= self._forget
            if before is not None and is_known and before.value != after.value:
                yield Step(before, after)
            before = after

    def remembered(self, story: Story) -> int:
        return story.rows[-1].at + self._forget

    def facts(self, story: Story, told: Told) -> Facts:
        step = self._latest(story.rows, told.last)
        before, after = (step.before.value, step.after.value) if step else ("", "")
        return change_facts(self._options.field, before, after)

    def _latest(self, rows: Sequence[Row], until: int) -> Step | None:
        """The last step up to a time. There may be thousands: it is looked for from there backwards."""
        end = bisect_right(rows, until, key=attrgetter("at"))
        while end:
            start = bisect_left(rows, rows[end - 1].at, key=attrgetter("at"))
            if found := list(self._steps(rows[max(0, start - 1) : end])):
                return found[-1]
            end = start
        return None

    def describe(self) -> str:
        options = self._options
        each = f", for each {' and '.join(options.by)}" if options.by else ""
        with_ = f" with {self._condition.describe()}" if self._condition else ""
        return (
            f"messages{with_} whose {options.field} differs from that of the message before{each}, "
            f"if that is not older than {said(options.forget)}"
        )


def _episode(step: Step) -> Episode:
    """All the time since the message before, in which a late one can only move the change."""
    return Episode(
        first=min(step.before.at + 1, step.after.at), last=step.after.at, marks=[step.after], ended=""
    )


def change_facts(name: str, before: str, after: str) -> Facts:
    """What templates can name of a change. A text is compared, and never shown."""
    is_shown = name != "text"
    return {
        "field": name,
        "before": shown_name(before) if is_shown else "",
        "value": shown_name(after) if is_shown else "",
    }


def build(condition: Condition | None, options: Mapping[str, Any]) -> Change:
    return Change(condition, Options(**options))


KIND = Kind(
    description="A value of a field that differs from the last one raises one alert, which never resolves.",
    options={
        "field": Key(
            FieldName(),
            "Which field to compare; several values of one message are compared together. Messages without "
            "it are passed over.",
            "field: role",
        ),
        "by": BY,
        "forget": Key(
            Duration(least=timedelta(hours=1), most=timedelta(days=365)),
            "A last value older than this is not compared with. Default: 30d.",
            "forget: 30d",
        ),
    },
    required=("field", "by"),
    conditions=MESSAGE_CONDITIONS,
    is_when_required=False,
    title="{{ rule.name }}: {{ field }} changed from {{ before }} to {{ value }}"
    "{% if key %} ({{ key }}){% endif %}",
    summary="{{ sender.label }} in {{ message.conversation_id }}, {{ message.sent_at }}",
    sample={
        **match.KIND.sample,
        **key_facts(("sender",), ("superhero2",)),
        **change_facts("role", "customer", "agent"),
    },
    build=build,
    needs=match.needs,
)
