"""The kind `absence`: it has gone quiet. No message of a key for some time, or for some working time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any, Final

import msgspec

from rules.calendars import CALENDAR_NAME
from rules.conditions import Condition
from rules.fields import BY
from rules.grammar import Duration, Key, said
from rules.kinds import match
from rules.kinds.base import Kind
from rules.kinds.episodes import (
    Episode,
    Episodic,
    Filter,
    Look,
    Row,
    Story,
    Told,
    key_facts,
    length,
    micros,
    moment_of,
)
from rules.model import Message, Value, WatchSet
from rules.templates import Facts, moment, span
from rules.when import MESSAGE_CONDITIONS
from rules.working_time import Calendar

MOST: Final = timedelta(days=30)
GIVE_UP: Final = timedelta(days=7)


class Options(Value, frozen=True, kw_only=True):
    lasting: timedelta  #: `for` in a rule
    by: tuple[str, ...] = ()
    calendar: Calendar | None = None
    give_up: timedelta = GIVE_UP


class Absence(Episodic):
    """A gap between two rows, or after the last one, that is longer than it may be.

    It begins with the first row of a key: of somebody who never wrote nothing is known. A gap is what lies
    after a row: the row itself belongs to the gap before it.
    """

    def __init__(self, condition: Condition | None, options: Options) -> None:
        self._filter = Filter(condition)
        self._condition, self._options = condition, options
        self._lasting, self._give_up = length(options.lasting), length(options.give_up)
        super().__init__(
            by=options.by,
            conditions={"when": condition} if condition else {},
            interest=self._filter.interest,
            reach=timedelta(0),
            lasts=timedelta(0),
            shows=timedelta(microseconds=1),
            keeps=1,
            is_strict=True,
        )

    def is_row(self, message: Message) -> bool:
        return self._filter.alone(message, {})

    def row_values(self, message: Message, watch: WatchSet) -> Sequence[str]:
        return ("",) if self._filter.rest(message, watch) else ()

    def look(self, story: Story) -> Look:
        last = story.rows[-1]
        gaps = [self._gap(row, self._due(row), after) for row, after in self._wide(story)]
        due = self._due(last)
        gaps.append(
            Episode(
                first=last.at + 1,
                last=due,
                marks=[last._replace(at=due)],
                over=due + self._give_up,
            )
        )
        ahead = [gap for gap in gaps if gap.marks[0].at > story.seen]
        return Look(
            [gap for gap in gaps if gap.marks[0].at <= story.seen],
            due=min((gap.marks[0].at for gap in ahead), default=None),
            pending=min((gap.first - 1 for gap in ahead), default=None),
        )

    def _wide(self, story: Story) -> list[tuple[Row, Row]]:
        """The neighbours that are too far apart."""
        return [pair for pair in pairwise(story.rows) if not self._is_dense(*pair, runs=story.sums)]

    def _is_dense(self, row: Row, after: Row, *, runs: Sequence[tuple[int, int]]) -> bool:
        """Whether all is well between two neighbours, by their distance or by rows that were dropped."""
        # Working time lasts no shorter: most need no calendar.
        return (
            after.at - row.at <= self._lasting
            or any(start <= row.at and after.at <= end for start, end in runs)
            or after.at <= self._due(row)
        )

    def _gap(self, row: Row, due: int, after: Row) -> Episode:
        return Episode(
            first=row.at + 1,
            last=after.at,
            marks=[row._replace(at=due)],
            ended=f"the next message came at {moment(moment_of(after.at))}",
        )

    def _due(self, row: Row) -> int:
        """When it has been quiet for too long after a row."""
        calendar = self._options.calendar
        if calendar is None:
            return row.at + self._lasting
        return micros(calendar.after(moment_of(row.at), self._options.lasting))

    def retained(self, story: Story, pending: int | None, *, now: int) -> Story:
        """Of a run of messages, none too far from the next, the two ends say all: `sums` are the runs."""
        runs: list[list[Row]] = []
        for row in story.rows:
            if runs and self._is_dense(runs[-1][-1], row, runs=story.sums):
                runs[-1].append(row)
            else:
                runs.append([row])
        spans = [(_start(run[0].at, story.sums), run[-1].at) for run in runs]
        story = msgspec.structs.replace(
            story,
            rows=tuple(row for run in runs for row in (run[:1] + run[-1:] if run[1:] else run)),
            sums=tuple((start, end) for start, end in spans if start < end),
        )
        return super().retained(story, pending, now=now)

    def facts(self, story: Story, told: Told) -> Facts:  # noqa: ARG002 - what was told says all
        return absence_facts(self._options, since=told.first, until=told.last)

    def end(self, told: Told) -> str:  # noqa: ARG002 - they all end alike
        return f"still quiet after {said(self._options.give_up)}: given up"

    def describe(self) -> str:
        with_ = f" with {self._condition.describe()}" if self._condition else ""
        each = f", for each {' and '.join(self.by)} known" if self.by else ""
        return f"no message{with_} for {allowed(self._options)}{each}"


def _start(at: int, runs: Sequence[tuple[int, int]]) -> int:
    """The start of the run that holds a time, though its first row be gone; or the time itself."""
    return min((start for start, end in runs if start <= at <= end), default=at)


def allowed(options: Options) -> str:
    """For how long it may be quiet, in words."""
    return said(options.lasting) + (" of working time" if options.calendar else "")


def absence_facts(options: Options, *, since: int, until: int) -> Facts:
    """What templates can name: how long it may be quiet, how long it was, since when."""
    return {
        "allowed": allowed(options),
        "quiet": span(timedelta(microseconds=until - since)),
        "since": moment(moment_of(since)),
        "until": moment(moment_of(until)),
    }


def build(condition: Condition | None, options: Mapping[str, Any]) -> Absence:
    named = {("lasting" if key == "for" else key): value for key, value in options.items()}
    return Absence(condition, Options(**named))


SAMPLE: Final[Facts] = {
    **match.KIND.sample,
    **key_facts(("sender",), ("superhero2",)),
    **absence_facts(
        Options(lasting=timedelta(hours=2)), since=1_795_334_400_000_000, until=1_795_341_600_000_000
    ),
}

KIND = Kind(
    description="No message for some time after the last one; resolved by the next.",
    options={
        "for": Key(
            Duration(least=timedelta(seconds=10), most=MOST),
            "For how long it may be quiet after a message. With `calendar`, how much working time.",
            "for: 2h",
        ),
        "by": BY,
        "calendar": Key(CALENDAR_NAME, "Count the working time of this calendar only.", "calendar: office"),
        "give_up": Key(
            Duration(least=timedelta(minutes=1), most=timedelta(days=90)),
            "If it stays quiet for this time after the alert, the alert is resolved and the key is forgotten "
            "until its next message. Default: 7d.",
            "give_up: 2d",
        ),
    },
    required=("for",),
    conditions=MESSAGE_CONDITIONS,
    is_when_required=False,
    title="{{ rule.name }}: quiet for {{ allowed }}{% if key %} ({{ key }}){% endif %}",
    summary="No such message since {{ since }}; the last one was in {{ message.conversation_id }} by "
    "{{ sender.label }}",
    sample=SAMPLE,
    build=build,
    needs=match.needs,
)
