"""The forms that only a test file has: words with their place, moments, jumps, free JSON, named things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

import re2
import yaml

from monitor.timeline.model import START, Word
from rules.grammar import DURATION, MAX_LIST, Report, Shape, duration, shown
from rules.text import value_of

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
OFFSET: Final = r"(?:[0-9]{1,6}(?:\.[0-9]{1,3})?(?:ms|s|m|h|d))+"
LONGEST: Final = timedelta(days=366)


@dataclass(frozen=True, kw_only=True)
class Placed:
    """What `of` reads with its place, for words that are looked up later and for what may fail."""

    of: Shape

    @property
    def expected(self) -> str:
        return self.of.expected

    def read(self, node: yaml.Node, report: Report) -> Any:
        found = self.of.read(node, report)
        return None if found is None else Word(found, report.place(node))

    def schema(self) -> dict[str, Any]:
        return self.of.schema()


@dataclass(frozen=True, kw_only=True)
class Offset:
    """A time since the start, or a length of time: `90s`, `1h30m`. `is_signed` takes `-5m` and `+2h` too."""

    is_signed: bool = False

    @property
    def expected(self) -> str:
        sign = ", with + or - in front" if self.is_signed else ""
        return f"a length of time with units (ms, s, m, h, d){sign}"

    def read(self, node: yaml.Node, report: Report) -> Any:
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        sign = text[:1] if self.is_signed and text[:1] in ("+", "-") else ""
        found = span_of(text.removeprefix(sign))
        if found is None or found > LONGEST:
            example = "+2h" if self.is_signed else "90s"
            return report.refuse(node, f"found {shown(node)}", expected=self.expected, example=example)
        return -found if sign == "-" else found

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{'[-+]?' if self.is_signed else ''}{OFFSET}$"}


def span_of(text: str) -> timedelta | None:
    """`1h30m` as a timedelta; None if it is not of this form."""
    if not re2.compile(OFFSET).fullmatch(text):
        return None
    parts = [duration(found.group()) for found in re2.compile(DURATION).finditer(text)]
    return sum((part for part in parts if part is not None), timedelta(0))


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When a test starts: a date and time, or a day of the week and a time, in UTC or a named zone."""

    expected: str = "a date or a day of the week with a time, and a time zone if it is not UTC"

    def read(self, node: yaml.Node, report: Report) -> Any:
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        found = moment_of(text)
        if isinstance(found, datetime):
            return found
        return report.refuse(
            node, found or f"found {shown(node)}", expected=self.expected, example="fri 17:30 Europe/Berlin"
        )

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "examples": ["2026-03-02T09:00:00Z", "fri 17:30", "sat 9:00 Asia/Tokyo"]}


def moment_of(text: str) -> datetime | str | None:
    """`fri 17:30 Europe/Berlin` as UTC, in the week of the usual start; a text says what is wrong with it."""
    words = text.split()
    zone: tzinfo = UTC
    if words and "/" in words[-1]:
        name = words.pop()
        try:
            zone = ZoneInfo(name)
        except (KeyError, ValueError, OSError):  # unknown, not a name, a folder
            return f'there is no time zone "{name}"'
    local = _weekday(words) or _date(" ".join(words))
    if local is None:
        return None
    return (local if local.tzinfo else local.replace(tzinfo=zone)).astimezone(UTC)


def _weekday(words: Sequence[str]) -> datetime | None:
    if len(words) != 2 or words[0][:3].lower() not in DAYS:
        return None
    try:
        time = datetime.strptime(words[1], "%H:%M").time()  # noqa: DTZ007 - only the time is taken
    except ValueError:
        return None
    day = START.date() + timedelta(days=DAYS.index(words[0][:3].lower()) - START.weekday())
    return datetime.combine(day, time)


def _date(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


@dataclass(frozen=True, kw_only=True)
class Json:
    """Any JSON value, as YAML writes it."""

    expected: str = "a mapping"

    def read(self, node: yaml.Node, report: Report) -> Any:
        if not isinstance(node, yaml.MappingNode):
            return report.refuse(node, f"found {shown(node)}", expected=self.expected)
        try:
            return json_of(node)
        except ValueError:
            return report.refuse(node, "a number in it has too many digits")

    def schema(self) -> dict[str, Any]:
        return {"type": "object"}


def json_of(node: yaml.Node) -> Any:
    """The value of a node. Raises ValueError for a number of thousands of digits."""
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): json_of(child) for key, child in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [json_of(child) for child in node.value]
    return value_of(node)


@dataclass(frozen=True, kw_only=True)
class Named:
    """A mapping from names to things of one kind."""

    name: Shape
    each: Shape
    expected: str

    def read(self, node: yaml.Node, report: Report) -> Any:
        if not isinstance(node, yaml.MappingNode) or not 1 <= len(node.value) <= MAX_LIST:
            return report.refuse(node, f"found {shown(node)}", expected=self.expected)
        before, found, names = report.failures, {}, set()
        for key, child in node.value:
            name, value = self.name.read(key, report), self.each.read(child, report)
            if key.value in names:
                report.refuse(key, f'"{key.value}" stands here twice')
            names.add(key.value)
            found[name] = value
        return found if report.failures == before else None

    def schema(self) -> dict[str, Any]:
        return {"type": "object", "minProperties": 1, "additionalProperties": self.each.schema()}


@dataclass(frozen=True, kw_only=True)
class Some:
    """A list, which may be empty, of things of one kind."""

    each: Shape
    expected: str
    example: str

    def read(self, node: yaml.Node, report: Report) -> Any:
        if not isinstance(node, yaml.SequenceNode) or len(node.value) > MAX_LIST:
            return report.refuse(node, f"found {shown(node)}", expected=self.expected, example=self.example)
        read = [self.each.read(entry, report) for entry in node.value]
        return None if None in read else tuple(read)

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": self.each.schema(), "maxItems": MAX_LIST}
