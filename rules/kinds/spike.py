"""The kind `spike`: many more messages than usual, or many fewer, by the ratio of two windows."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate
from typing import Any, Final, NamedTuple

import msgspec
import yaml

from rules.conditions import Condition
from rules.fields import BY
from rules.grammar import Choice, Duration, Key, Report, Whole, said, shown
from rules.kinds import match
from rules.kinds.base import Kind
from rules.kinds.episodes import (
    GRACE,
    MAX_AT_LEAST,
    MAX_ROWS,
    SECOND,
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
    needed_from,
)
from rules.model import Message, Value, WatchSet
from rules.templates import Facts, moment
from rules.when import MESSAGE_CONDITIONS

MOST: Final = timedelta(days=1)
MOST_REFERENCE: Final = timedelta(days=7)
SUMS: Final = 256  # that the rows of the two windows are summed up in, when they are too many
REMEMBERED: Final = length(timedelta(days=30))
"""How long a key is known after its last message: a week of silence is no reason to learn anew."""
UP, DOWN = "up", "down"


class Options(Value, frozen=True, kw_only=True):
    within: timedelta
    reference: timedelta
    ratio: float = 3.0
    at_least: int = 10
    floor: int = 1
    direction: str = UP
    by: tuple[str, ...] = ()
    learn: timedelta | None = None
    resolve_after: timedelta | None = None

    @property
    def quiet(self) -> timedelta:
        return self.within if self.resolve_after is None else self.resolve_after

    @property
    def silent(self) -> timedelta:
        return self.within + self.reference if self.learn is None else self.learn


class Stretch(NamedTuple):
    """From `start` until just before `end` there were too few."""

    start: int
    end: int
    figures: tuple[int, ...]


class Spike(Episodic):
    """Compares the window that ends now with the longer one before it, scaled to the same length.

    Too many is judged at each row. Too few is judged when a row leaves the window, which no row tells: that
    waits for the time.
    """

    def __init__(self, condition: Condition | None, options: Options) -> None:
        self._filter = Filter(condition)
        self._condition, self._options = condition, options
        self._within, self._reference = length(options.within), length(options.reference)
        self._quiet, self._silent = length(options.quiet), length(options.silent)
        self._scale = self._within / self._reference
        super().__init__(
            by=options.by,
            conditions={"when": condition} if condition else {},
            interest=self._filter.interest,
            reach=options.within + options.reference,
            lasts=options.quiet,
            shows=options.within,
            is_strict=True,
        )

    def is_row(self, message: Message) -> bool:
        return self._filter.alone(message, {})

    def row_values(self, message: Message, watch: WatchSet) -> Sequence[str]:
        return ("",) if self._filter.rest(message, watch) else ()

    def look(self, story: Story) -> Look:
        options, rows, sums = self._options, story.rows, story.sums
        number = len(rows) + sum(count for _, count in sums)
        since = max(story.began + self._silent, self.complete_from(story))
        episodes: list[Episode] = []
        due: int | None = None
        times = [at for at, _ in sums] + [row.at for row in rows]
        totals = list(accumulate([count for _, count in sums] + [1] * len(rows), initial=0))
        if options.direction != DOWN and number >= options.at_least:
            episodes += self._too_many(rows, times, totals, since)
        if options.direction != UP and number * self._scale >= options.at_least:
            found, due = self._too_few(story, times, totals, since)
            episodes += found
        pending = None if due is None else due - self._within - self._reference
        return Look(episodes, due, pending)

    # --- too many -------------------------------------------------------------------------------------

    def _too_many(
        self, rows: Sequence[Row], times: Sequence[int], totals: Sequence[int], since: int
    ) -> Iterator[Episode]:
        burst: list[Row] = []
        peak: tuple[int, ...] = ()
        for row, figures in self._crowded(rows, times, totals, since):
            if burst and row.at - burst[-1].at > self._quiet:
                yield self._burst(burst, peak)
                burst, peak = [], ()
            burst.append(row)
            peak = max(peak, figures)
        if burst:
            yield self._burst(burst, peak)

    def _crowded(
        self, rows: Sequence[Row], times: Sequence[int], totals: Sequence[int], since: int
    ) -> Iterator[tuple[Row, tuple[int, ...]]]:
        """The rows that end a window with too many, with how many there were and are usual."""
        options = self._options
        out = lost = 0  # how many of the rows have left the window, and the one before
        for place, row in enumerate(rows, start=len(times) - len(rows) + 1):
            if row.at < since:
                continue
            edge = row.at - self._within
            while times[out] <= edge:
                out += 1
            count = totals[place] - totals[out]
            if count < options.at_least:
                continue
            while times[lost] <= edge - self._reference:
                lost += 1
            usual = (totals[out] - totals[lost]) * self._scale
            if count >= options.ratio * max(usual, options.floor):
                yield row, (count, round(usual * 1000))

    def _burst(self, burst: Sequence[Row], peak: tuple[int, ...]) -> Episode:
        count, usual = peak
        times = count / (self._options.ratio * max(usual / 1000, self._options.floor))
        return Episode(
            first=burst[0].at,
            last=burst[-1].at,
            marks=burst,
            over=burst[-1].at + self._quiet,
            level=int(times).bit_length(),
            figures=peak,
            strand=UP,
        )

    # --- too few --------------------------------------------------------------------------------------

    def _too_few(
        self, story: Story, times: Sequence[int], totals: Sequence[int], since: int
    ) -> tuple[list[Episode], int | None]:
        """The lulls that have begun, and when the next one begins if no more rows come."""
        lulls: list[Episode] = []
        dues: list[int] = []
        for stretches in self._chained(self._sparse(times, totals, since=since, seen=story.seen)):
            lull = self._lull(stretches, story)
            # One that no row marks any longer may be what was told, only shorter.
            is_known = lull.first <= story.seen and any(one.touches(lull) for one in story.open)
            lulls += [lull] if lull.marks or is_known else []
            if not any(one.touches(lull) for one in story.open):
                dues += [mark.at for mark in self._marks(stretches, story.rows) if mark.at > story.seen]
        return lulls, min(dues, default=None)

    def _sparse(
        self, times: Sequence[int], totals: Sequence[int], *, since: int, seen: int
    ) -> Iterator[Stretch]:
        """When there were, or will be if no more rows come, too few."""
        options, within, number = self._options, self._within, len(times)
        left = [at + within for at in times]
        gone = [at + self._reference for at in left]
        come = out = lost = 0  # how many of the rows have come, left the window, and left the one before
        start: int | None = None
        figures: tuple[int, ...] = ()
        for at in sorted({*times, *left, *gone}):
            while come < number and times[come] <= at:
                come += 1
            while out < number and left[out] <= at:
                out += 1
            while lost < number and gone[lost] <= at:
                lost += 1
            usual = (totals[out] - totals[lost]) * self._scale
            count = totals[come] - totals[out]
            if usual >= options.at_least and count <= usual / options.ratio and at >= since:
                start = at if start is None else start
                figures = max(figures, (-count, round(usual * 1000))) if at <= seen else figures
            elif start is not None:
                yield Stretch(start, at, figures)
                start, figures = None, ()

    def _chained(self, stretches: Iterator[Stretch]) -> Iterator[list[Stretch]]:
        lull: list[Stretch] = []
        for stretch in stretches:
            if lull and stretch.start - lull[-1].end > self._quiet:
                yield lull
                lull = []
            lull.append(stretch)
        if lull:
            yield lull

    def _lull(self, stretches: Sequence[Stretch], story: Story) -> Episode:
        """As far as it is seen: a stretch that has not begun may still not come."""
        begun = [stretch for stretch in stretches if stretch.start <= story.seen] or stretches[:1]
        return Episode(
            first=begun[0].start,
            last=begun[-1].end,
            marks=[mark for mark in self._marks(begun, story.rows) if mark.at <= story.seen],
            over=begun[-1].end + self._quiet,
            figures=max(stretch.figures for stretch in begun),
            strand=DOWN,
        )

    def _marks(self, stretches: Sequence[Stretch], rows: Sequence[Row]) -> Iterator[Row]:
        """The rows that leave the window in any of the stretches, as of when they do."""
        for start, end, _ in stretches:
            for place in range(bisect_left(rows, (start - self._within,)), len(rows)):
                at = rows[place].at + self._within
                if at >= end:
                    break
                yield Row(at, rows[place].id)

    # --- what is kept, and what is said ---------------------------------------------------------------

    def retained(self, story: Story, pending: int | None, *, now: int) -> Story:
        """Rows that are too many to keep are summed up: how many there were is known, not which."""
        if len(story.rows) > MAX_ROWS:
            story = self._summed(story, len(story.rows) - MAX_ROWS // 2)
        story = super().retained(story, pending, now=now)
        edge = needed_from(story, self._lasts, pending)
        old = [at for at, _ in story.sums if at < edge]
        if not old:
            return story
        return msgspec.structs.replace(story, sums=story.sums[len(old) :], lost=max(story.lost, old[-1]))

    def _summed(self, story: Story, number: int) -> Story:
        width = max(SECOND, self._reach // SUMS)
        sums = list(story.sums)
        for row in story.rows[:number]:
            is_same = bool(sums) and sums[-1][0] // width == row.at // width
            before = sums.pop()[1] if is_same else 0
            sums.append((row.at, before + 1))
        return msgspec.structs.replace(
            story, rows=story.rows[number:], sums=tuple(sums), floor=story.rows[number - 1].at
        )

    def remembered(self, story: Story) -> int:
        return story.rows[-1].at + max(REMEMBERED, self._lasts + GRACE)

    def facts(self, story: Story, told: Told) -> Facts:
        count, usual = told.figures
        return spike_facts(
            self._options,
            count=abs(count),
            usual=usual / 1000,
            direction=told.strand,
            since=told.first,
            until=told.last if told.strand == UP else min(told.last, max(story.seen, told.first)),
        )

    def end(self, told: Told) -> str:
        much = "so many" if told.strand == UP else "so few"
        return f"{said(self._options.quiet)} without {much}"

    def describe(self) -> str:
        options = self._options
        many = {UP: "times as many", DOWN: "times fewer", "both": "times as many, or fewer,"}
        with_ = f" with {self._condition.describe()}" if self._condition else ""
        than, least = (
            ("than", f"where at least {options.at_least} are")
            if options.direction == DOWN
            else ("as", f"and at least {options.at_least} of them")
        )
        each = f", for each {' and '.join(options.by)}" if options.by else ""
        return (
            f"{options.ratio:g} {many[options.direction]} messages{with_} within {said(options.within)} "
            f"{than} are usual by the {said(options.reference)} before, {least}{each}"
        )


def spike_facts(
    options: Options, *, count: int, usual: float, direction: str, since: int, until: int
) -> Facts:
    """What templates can name: how many there were, how many are usual, since when."""
    return {
        "count": count,
        "usual": round(usual, 1),
        "times": round(count / max(usual, options.floor), 1),
        "direction": direction,
        "ratio": options.ratio,
        "at_least": options.at_least,
        "window": said(options.within),
        "reference": said(options.reference),
        "since": moment(moment_of(since)),
        "until": moment(moment_of(until)),
    }


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A number between `least` and `most`, with decimals or without."""

    least: float
    most: float

    @property
    def expected(self) -> str:
        return f"a number between {self.least:g} and {self.most:g}"

    def read(self, node: yaml.Node, report: Report) -> Any:
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        is_number = len(text) <= 10 and text.replace(".", "", 1).isdecimal() and text.isascii()
        if not is_number or not self.least <= float(text) <= self.most:
            return report.refuse(node, f"found {shown(node)}", expected=self.expected, example="3")
        return float(text)

    def schema(self) -> dict[str, Any]:
        return {"type": "number", "minimum": self.least, "maximum": self.most}


def build(condition: Condition | None, options: Mapping[str, Any]) -> Spike:
    return Spike(condition, Options(**options))


SAMPLE: Final[Facts] = {
    **match.KIND.sample,
    **key_facts(("sender",), ("superhero2",)),
    **spike_facts(
        Options(within=timedelta(minutes=10), reference=timedelta(days=1)),
        count=48,
        usual=6.5,
        direction=UP,
        since=1_795_334_400_000_000,
        until=1_795_334_520_000_000,
    ),
}

KIND = Kind(
    description="Many more messages than usual, or many fewer: a window against the longer one before it; "
    "resolved when it is as usual again.",
    options={
        "within": Key(
            Duration(least=timedelta(seconds=10), most=MOST), "The length of the window.", "within: 10m"
        ),
        "reference": Key(
            Duration(least=timedelta(seconds=10), most=MOST_REFERENCE),
            "The length of the window before it, which tells what is usual.",
            "reference: 1d",
        ),
        "ratio": Key(
            Ratio(least=1.1, most=1000),
            "How many times as many as usual are too many, or how many times fewer too few. Default: 3.",
            "ratio: 3",
        ),
        "at_least": Key(
            Whole(least=1, most=MAX_AT_LEAST),
            "Fewer in the window are never too many; where fewer are usual, there are never too few. "
            "Default: 10.",
            "at_least: 20",
        ),
        "floor": Key(
            Whole(least=1, most=MAX_AT_LEAST),
            "Where fewer are usual in a window, too many is measured by this. Default: 1.",
            "floor: 5",
        ),
        "direction": Key(
            Choice(words=(UP, DOWN, "both")),
            "Too many (up, the default), too few (down), or both.",
            "direction: both",
        ),
        "by": BY,
        "learn": Key(
            Duration(least=timedelta(0), most=timedelta(days=30)),
            "Say nothing of a key before it has been known for this time: what is usual is not known "
            "earlier. Default: both windows together.",
            "learn: 2d",
        ),
        "resolve_after": Key(
            Duration(least=timedelta(seconds=1), most=MOST),
            "It is over when it was as usual for this time. Default: as long as the window.",
            "resolve_after: 30m",
        ),
    },
    required=("within", "reference"),
    conditions=MESSAGE_CONDITIONS,
    is_when_required=False,
    title="{{ rule.name }}: {{ count }} messages within {{ window }}, usual are {{ usual }}"
    "{% if key %} ({{ key }}){% endif %}",
    summary="{% if direction == 'up' %}{{ times }} times as many as usual{% else %}Fewer than usual"
    "{% endif %}: {{ count }} messages within {{ window }}, {{ usual }} by the {{ reference }} before, "
    "since {{ since }}",
    sample=SAMPLE,
    build=build,
    needs=match.needs,
)
