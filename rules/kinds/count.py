"""The kind `count`: so many messages, or so many different values of a field, within a sliding window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from rules.conditions import Condition
from rules.fields import BY, MAX_KEYS, FieldName, field
from rules.grammar import Duration, Key, Whole, said
from rules.kinds import match
from rules.kinds.base import Kind
from rules.kinds.episodes import (
    MAX_AT_LEAST,
    Episode,
    Episodic,
    Filter,
    Look,
    Row,
    Story,
    Told,
    key_facts,
    length,
    moment_of,
)
from rules.model import Message, Value, WatchSet
from rules.templates import Facts, moment
from rules.templates import name as shown_name
from rules.when import MESSAGE_CONDITIONS

MOST: Final = timedelta(days=1)
MAX_SHOWN: Final = 10  # values that a template can name


class Options(Value, frozen=True, kw_only=True):
    at_least: int
    within: timedelta
    by: tuple[str, ...] = ()
    distinct: str | None = None
    lasting: timedelta = timedelta(0)  #: `for` in a rule
    resolve_after: timedelta | None = None

    @property
    def quiet(self) -> timedelta:
        return self.within if self.resolve_after is None else self.resolve_after


class Count(Episodic):
    """A burst is a chain of rows that each end a window with enough in it."""

    def __init__(self, condition: Condition | None, options: Options) -> None:
        self._filter = Filter(condition)
        self._condition, self._options = condition, options
        self._distinct = field(options.distinct) if options.distinct else None
        self._within, self._quiet = length(options.within), length(options.quiet)
        self._lasting = length(options.lasting)
        super().__init__(
            by=options.by,
            conditions={"when": condition} if condition else {},
            interest=self._filter.interest,
            reach=options.within,
            lasts=options.lasting + options.quiet,
            shows=options.within,
        )

    def is_row(self, message: Message) -> bool:
        return self._filter.alone(message, {})

    def row_values(self, message: Message, watch: WatchSet) -> Sequence[str]:
        if not self._filter.rest(message, watch):
            return ()
        return self._distinct(message)[:MAX_KEYS] if self._distinct else ("",)

    def look(self, story: Story) -> Look:
        rows, least = story.rows, self._options.at_least
        if len(rows) < least:
            return Look()
        counts = _values(rows, self._within) if self._distinct else _rows(rows, self._within)
        true = [place for place, count in enumerate(counts) if count >= least]
        bursts = [self._burst(rows, counts, burst) for burst in self._chained(rows, true)]
        return Look([burst for burst in bursts if burst.marks])

    def _chained(self, rows: Sequence[Row], true: Sequence[int]) -> Iterator[list[int]]:
        chain: list[int] = []
        for place in true:
            if chain and rows[place].at - rows[chain[-1]].at > self._quiet:
                yield chain
                chain = []
            chain.append(place)
        if chain:
            yield chain

    def _burst(self, rows: Sequence[Row], counts: Sequence[int], burst: Sequence[int]) -> Episode:
        first, last = rows[burst[0]].at, rows[burst[-1]].at
        peak = max(counts[place] for place in burst)
        return Episode(
            first=first,
            last=last,
            marks=[rows[place] for place in burst if rows[place].at - first >= self._lasting],
            over=last + self._quiet,
            level=(peak // self._options.at_least).bit_length(),
            figures=(peak,),
        )

    def facts(self, story: Story, told: Told) -> Facts:
        since = told.first - self._within
        rows = [row for row in story.rows if since < row.at <= told.last]
        values = tuple(dict.fromkeys(row.value for row in rows)) if self._distinct else ()
        return count_facts(
            self._options,
            count=told.figures[0],
            since=rows[0].at if rows else told.first,
            until=told.last,
            values=values,
        )

    def end(self, told: Told) -> str:  # noqa: ARG002 - they all end alike
        options = self._options
        return f"{said(options.quiet)} without {options.at_least} within {said(options.within)}"

    def describe(self) -> str:
        options = self._options
        what = f"different values of {options.distinct} in messages" if self._distinct else "messages"
        each = f", for each {' and '.join(options.by)}" if options.by else ""
        with_ = f" with {self._condition.describe()}" if self._condition else ""
        lasting = f", for {said(options.lasting)}" if options.lasting else ""
        return f"at least {options.at_least} {what}{with_} within {said(options.within)}{lasting}{each}"


def _rows(rows: Sequence[Row], within: int) -> list[int]:
    """For each row, how many there are in the window that it ends."""
    counts, start = [], 0
    for place, row in enumerate(rows):
        oldest = row.at - within
        while rows[start].at <= oldest:
            start += 1
        counts.append(place - start + 1)
    return counts


def _values(rows: Sequence[Row], within: int) -> list[int]:
    """For each row, how many different values there are in the window that it ends."""
    counts, start = [], 0
    inside: Counter[str] = Counter()
    for row in rows:
        inside[row.value] += 1
        while rows[start].at <= row.at - within:
            inside[rows[start].value] -= 1
            if not inside[rows[start].value]:
                del inside[rows[start].value]
            start += 1
        counts.append(len(inside))
    return counts


def count_facts(options: Options, *, count: int, since: int, until: int, values: Sequence[str] = ()) -> Facts:
    """What templates can name: how many, of what, in which window, since when."""
    field_name = options.distinct or ""
    is_shown = field_name != "text"
    return {
        "count": count,
        "counted": f"different {'texts' if field_name == 'text' else field_name}"
        if field_name
        else "messages",
        "at_least": options.at_least,
        "window": said(options.within),
        "since": moment(moment_of(since)),
        "until": moment(moment_of(until)),
        "field": field_name,
        "values": tuple(shown_name(value) for value in values[:MAX_SHOWN]) if is_shown else (),
    }


def build(condition: Condition | None, options: Mapping[str, Any]) -> Count:
    named = {("lasting" if key == "for" else key): value for key, value in options.items()}
    return Count(condition, Options(**named))


SAMPLE: Final[Facts] = {
    **match.KIND.sample,
    **key_facts(("sender",), ("superhero2",)),
    **count_facts(
        Options(at_least=10, within=timedelta(minutes=5)),
        count=12,
        since=1_795_334_400_000_000,
        until=1_795_334_520_000_000,
    ),
}


KIND = Kind(
    description="So many messages, or different values of a field, within a sliding window; resolved when it "
    "is quiet again.",
    options={
        "at_least": Key(
            Whole(least=2, most=MAX_AT_LEAST),
            "How many messages, or different values with `distinct`, make an alert. It is brought up to date "
            "when there are twice, four times, … as many.",
            "at_least: 10",
        ),
        "within": Key(
            Duration(least=timedelta(seconds=1), most=MOST), "The length of the window.", "within: 5m"
        ),
        "by": BY,
        "distinct": Key(
            FieldName(),
            "Count the different values of this field, not messages. A message without it does not count.",
            "distinct: receiver",
        ),
        "for": Key(
            Duration(least=timedelta(0), most=MOST),
            "Raise the alert only when it has been so many for this time. Default: at once.",
            "for: 10m",
        ),
        "resolve_after": Key(
            Duration(least=timedelta(seconds=1), most=MOST),
            "It is over when it was fewer for this time. Default: as long as the window.",
            "resolve_after: 15m",
        ),
    },
    required=("at_least", "within"),
    conditions=MESSAGE_CONDITIONS,
    is_when_required=False,
    title="{{ rule.name }}: {{ count }} {{ counted }} within {{ window }}{% if key %} ({{ key }}){% endif %}",
    summary="{{ count }} {{ counted }} within {{ window }}, the last one in {{ message.conversation_id }} by "
    "{{ sender.label }}, {{ since }} to {{ until }}",
    sample=SAMPLE,
    build=build,
    needs=match.needs,
)
