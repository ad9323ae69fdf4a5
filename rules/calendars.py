"""Calendars as rule files write and name them: working time and holidays, in YAML and in files of dates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import yaml

from rules.grammar import MAX_LIST, Key, Many, Record, Report, Shape, Text, did_you_mean, shown, unknown
from rules.model import Value
from rules.text import Place, Problem, Source, SpecError
from rules.working_time import Calendar, National, Span

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES: Final = 24 * 60


# --- how calendars are written ----------------------------------------------------------------------


class DatesFile(NamedTuple):
    """A file of holidays that a calendar names, and where it does."""

    name: str
    place: Place


class Written(NamedTuple):
    """A calendar as its rule file has it. `finished` adds the files that it names."""

    calendar: Calendar
    files: tuple[DatesFile, ...]
    place: Place


def finished(written: Written, sources: Iterable[Source]) -> Calendar:
    """The calendar with the holidays of its files. Raises `SpecError` with the places within them."""
    found = Dates()
    for source in sources:
        found.read(source)
    if found.problems:
        raise SpecError(found.problems)
    calendar = written.calendar
    return Calendar(
        zone=calendar.zone,
        spans=calendar.spans,
        dates=calendar.dates | found.dates,
        yearly=calendar.yearly | found.yearly,
        national=calendar.national,
    )


@dataclass(kw_only=True)
class Dates:
    """Holidays one a line: `2026-12-24`, or `12-24` for every year. What follows the date is for people."""

    dates: set[date] = field(default_factory=set)
    yearly: set[tuple[int, int]] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def read(self, source: Source) -> None:
        for number, line in enumerate(source.text.splitlines(), start=1):
            words = line.partition("#")[0].split(maxsplit=1)
            if words and not self.add(words[0]):
                place = Place(source.name, number, line.index(words[0]) + 1)
                self.problems.append(
                    Problem(place, f'"{words[0][:60]}" is no date', DATE_LINE, "one date a line")
                )

    def add(self, text: str) -> bool:
        """Whether `text` is a date."""
        try:
            if len(text) == len("12-24"):
                # 2024 was a leap year: 02-29 is a day of some years
                day = date.fromisoformat(f"2024-{text}")
                self.yearly.add((day.month, day.day))
            else:
                self.dates.add(date.fromisoformat(text))
        except ValueError:
            return False
        return True


DATE_LINE: Final = "2026-12-24 Christmas Eve"
A_DATE: Final = "a date as 2026-12-24, or 12-24 for every year"


def _wrong_date(text: str) -> str | None:
    return None if Dates().add(text) else f'"{text[:60]}" is no date'


def _wrong_zone(text: str) -> str | None:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder of zones, such as America
        return f'"{text[:60]}" is no time zone{did_you_mean(text, available_timezones())}'
    return None


@dataclass(frozen=True, kw_only=True)
class Weekdays:
    """`mon`, `mon-fri`, `fri-mon`, or a list of them; read as numbers, 0 is Monday."""

    expected: str = "days as mon, mon-fri, or a list of them"

    def read(self, node: yaml.Node, report: Report) -> Any:
        texts = Many(each=Text(expected=self.expected, example="mon-fri")).read(node, report)
        if texts is None:
            return None
        found: list[int] = []
        for text in texts:
            days = _weekdays(text)
            if days is None:
                return report.refuse(
                    node, f'"{text[:60]}" names no days', expected=self.expected, example="mon-fri"
                )
            found += days
        return tuple(sorted(set(found)))

    def schema(self) -> dict[str, Any]:
        one = {"type": "string", "pattern": f"^(?:{'|'.join(DAYS)})(?:-(?:{'|'.join(DAYS)}))?$"}
        return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_LIST}]}


def _weekdays(text: str) -> list[int] | None:
    first, dash, last = text.partition("-")
    if first not in DAYS or (dash and last not in DAYS):
        return None
    begin, end = DAYS.index(first), DAYS.index(last if dash else first)
    return [(begin + step) % 7 for step in range((end - begin) % 7 + 1)]


@dataclass(frozen=True, kw_only=True)
class Hours:
    """`09:00-17:00`, `22:00-06:00` over midnight, `00:00-24:00`; read as minutes after midnight."""

    expected: str = "hours as 09:00-17:00, 22:00-06:00 over midnight, or 00:00-24:00"

    def read(self, node: yaml.Node, report: Report) -> Any:
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        opens, closes = (_minutes(part) for part in (text.partition("-")[0], text.partition("-")[2]))
        if opens is None or closes is None or opens in (DAY_MINUTES, closes):
            return report.refuse(
                node, f"found {shown(node)}", expected=self.expected, example='"09:00-17:00"'
            )
        return (opens, closes if closes > opens else closes + DAY_MINUTES)

    def schema(self) -> dict[str, Any]:
        clock = "(?:[01][0-9]|2[0-4]):[0-5][0-9]"
        return {"type": "string", "pattern": f"^{clock}-{clock}$"}


def _minutes(text: str) -> int | None:
    hours, _, minutes = text.partition(":")
    if not (len(hours) == len(minutes) == 2 and (hours + minutes).isascii() and (hours + minutes).isdigit()):
        return None
    made = int(hours) * 60 + int(minutes)
    return made if int(minutes) < 60 and made <= DAY_MINUTES else None


_SPAN = Record(
    name="open hours",
    keys={
        "days": Key(Weekdays(), "On which days. Default: every day.", "days: mon-fri"),
        "hours": Key(
            Many(each=Hours()),
            "From when to when, by the clock of the time zone. A night belongs to the day it begins on.",
            'hours: "09:00-17:00"',
        ),
    },
    required=("hours",),
)

_HOLIDAYS = Record(
    name="holidays",
    keys={
        "country": Key(
            Text(pattern="[A-Z]{2}", expected="a country as ISO 3166-1 has it", example="DE"),
            "Public holidays of a country, by its two letters.",
            "country: DE",
        ),
        "subdivision": Key(
            Text(max_length=60), "And those of a state or region of it (ISO 3166-2).", "subdivision: BY"
        ),
        "dates": Key(
            Many(each=Text(expected=A_DATE, check=_wrong_date, example="2026-12-24")),
            "Single dates, or 12-24 for every year.",
            "dates: [2026-12-24, 12-31]",
        ),
        "file": Key(
            Text(), "A file with one date a line, as under dates; # begins a comment.", "file: holidays.txt"
        ),
    },
)

_CALENDAR = Record(
    name="a calendar",
    keys={
        "timezone": Key(
            Text(expected="an IANA time zone", check=_wrong_zone, example="Europe/Berlin"),
            "The time zone of its hours and holidays.",
            "timezone: Europe/Berlin",
        ),
        "open": Key(
            Many(each=_SPAN),
            "When it is open; several spans add up.",
            'open: [{days: mon-fri, hours: "09:00-17:00"}]',
        ),
        "holidays": Key(
            Many(each=_HOLIDAYS), "Days on which nothing begins.", "holidays: {country: DE, subdivision: BY}"
        ),
    },
    required=("timezone", "open"),
)

NAME: Final = Text(
    pattern="[a-z0-9][a-z0-9_-]{0,62}",
    expected="a calendar's name: lower-case letters, digits, - and _",
    example="office",
)
EXAMPLE: Final = 'calendars: {office: {timezone: Europe/Berlin, open: {days: mon-fri, hours: "09:00-17:00"}}}'
MAX_CALENDARS: Final = 100


@dataclass(frozen=True, kw_only=True)
class Calendars:
    """The mapping under `calendars`: read as name -> `Written`."""

    expected: str = f"a mapping from at most {MAX_CALENDARS} names to calendars"

    def read(self, node: yaml.Node, report: Report) -> Any:
        if not isinstance(node, yaml.MappingNode) or len(node.value) > MAX_CALENDARS:
            return report.refuse(node, f"found {shown(node)}", expected=self.expected, example=EXAMPLE)
        before = report.failures
        found: dict[str, Written] = {}
        for key, child in node.value:
            name, calendar = NAME.read(key, report), _read_calendar(child, report)
            if name in found:
                report.refuse(key, f'"{name}" stands here twice')
            elif name is not None and calendar is not None:
                found[name] = calendar
        return found if report.failures == before else None

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "maxProperties": MAX_CALENDARS,
            "propertyNames": {"pattern": f"^{NAME.pattern}$"},
            "additionalProperties": _CALENDAR.schema(),
        }


def _read_calendar(node: yaml.Node, report: Report) -> Written | None:
    read = _CALENDAR.read(node, report)
    if read is None:
        return None
    days = Dates()
    national: list[National] = []
    files: list[DatesFile] = []
    for child, part in zip(_children(node, "holidays"), read.get("holidays", ()), strict=True):
        for text in part.get("dates", ()):
            days.add(text)
        if "file" in part:
            files += [DatesFile(part["file"], report.place(place)) for place in _children(child, "file")]
        if found := _read_national(child, part, report):
            national.append(found)
    calendar = Calendar(
        zone=read["timezone"],
        spans=tuple(_spans(read["open"])),
        dates=frozenset(days.dates),
        yearly=frozenset(days.yearly),
        national=tuple(national),
    )
    return Written(calendar, tuple(files), report.place(node))


def _children(node: yaml.Node, name: str) -> Sequence[yaml.Node]:
    """What stands under a key of a mapping, as a list, whether it is written as one or not."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    child = next((child for key, child in pairs if key.value == name), None)
    if child is None:
        return ()
    return child.value if isinstance(child, yaml.SequenceNode) else (child,)


def _spans(read: Iterable[Mapping[str, Any]]) -> Iterator[Span]:
    for part in read:
        for opens, closes in part["hours"]:
            yield Span(days=part.get("days", tuple(range(7))), opens=opens, closes=closes)


def _read_national(node: yaml.Node, part: Mapping[str, Any], report: Report) -> National | None:
    country, subdivision = part.get("country"), part.get("subdivision")
    if country is None:
        if subdivision is not None:
            report.refuse(node, "a subdivision is of a country", example="{country: DE, subdivision: BY}")
        return None
    import holidays  # half a second, for calendars that name a country only

    known = holidays.list_supported_countries()
    if country not in known:
        report.refuse(
            node,
            f'the holidays of "{country}" are not known{did_you_mean(country, known)}',
            expected="a country of two letters (ISO 3166-1), or your own dates",
            example="{dates: [2026-12-24]}",
        )
        return None
    if subdivision is not None and subdivision not in known[country]:
        report.refuse(
            node,
            f'{country} has no "{subdivision[:60]}"{did_you_mean(subdivision, known[country])}',
            expected="one of " + ", ".join(known[country]) if known[country] else "a country alone",
        )
        return None
    return National(country=country, subdivision=subdivision)


CALENDARS: Final = Key(
    Calendars(),
    "Working times by name, for rules of all files: `during`, `except`, `outside`, and kinds that wait.",
    EXAMPLE,
)


# --- how rules name them ----------------------------------------------------------------------------


class Named(Value, frozen=True, kw_only=True):
    """A calendar with the name that people know it by."""

    name: str
    calendar: Calendar

    def is_open(self, at: datetime) -> bool:
        return self.calendar.is_open(at)


@dataclass(frozen=True, kw_only=True)
class CalendarName:
    """The name of a calendar; read as the `Named` that the files define."""

    expected: str = "the name of a calendar"

    def read(self, node: yaml.Node, report: Report) -> Any:
        name = NAME.read(node, report)
        if name is None or name in report.names.broken_calendars:
            return None
        known = report.names.calendars
        if name not in known:
            return report.refuse(node, unknown("calendar", name, known), example=EXAMPLE)
        return Named(name=name, calendar=known[name])

    def schema(self) -> dict[str, Any]:
        return NAME.schema()


CALENDAR_NAME: Final[Shape] = CalendarName()
