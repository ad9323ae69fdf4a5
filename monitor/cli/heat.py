"""When alerts come, as a picture in text: a line a day, a cell an hour; the fuller, the darker. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from math import ceil
from typing import Final, NamedTuple

from monitor.tally import Hour

MOST_DAYS: Final = 35  # more are told by weekday
HOURS: Final = range(24)
LEVELS: Final = 4
WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class Shades(NamedTuple):
    """How empty and ever fuller cells look, two characters each."""

    outside: str  #: not among the hours that were looked at
    cells: tuple[str, str, str, str, str]


UNICODE: Final = Shades("  ", (" ·", "░░", "▒▒", "▓▓", "██"))
ASCII: Final = Shades("  ", (" .", "--", "++", "xx", "##"))


def heat_map(hours: Sequence[Hour], since: datetime, until: datetime, *, shades: Shades) -> Iterator[str]:
    """The lines of the map. `since` and `until` are in the zone of `hours`."""
    counts = Counter({(hour.at.date(), hour.at.hour): hour.count for hour in hours})
    days = days_between(since, until)
    if len(days) > MOST_DAYS:
        yield from _weekdays(counts, days, shades)
    else:
        yield from _days(counts, days, since, until, shades)


def days_between(since: datetime, until: datetime) -> list[date]:
    """The days of both and all between."""
    first, last = since.date(), until.date()
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def named(day: date) -> str:
    """A day as maps name it: `Mon 23 Nov`."""
    return f"{WEEKDAYS[day.weekday()]} {day:%d %b}"


def level(count: int, most: int) -> int:
    """How full a cell is, of `LEVELS`; only an empty one is 0. Few are told apart as they are."""
    return count if most <= LEVELS else ceil(LEVELS * count / most)


def legend(most: int, shades: Shades) -> str:
    """What the shades mean, in numbers."""
    meant = [[n for n in range(1, most + 1) if level(n, most) == full] for full in range(1, LEVELS + 1)]
    parts = [
        f"{cell} {numbers[0]}" + (f"–{numbers[-1]}" if len(numbers) > 1 else "")
        for cell, numbers in zip(shades.cells[1:], meant, strict=True)
        if numbers
    ]
    return "   ".join(parts)


def _days(
    counts: Counter[tuple[date, int]], days: Sequence[date], since: datetime, until: datetime, shades: Shades
) -> Iterator[str]:
    first, last = (since.date(), since.hour), (until.date(), until.hour)
    most = max(counts.values(), default=0)
    yield _scale(len("Mon 23 Nov"))

    def cell(day: date, hour: int) -> str:
        is_inside = first <= (day, hour) <= last
        return shades.cells[level(counts[day, hour], most)] if is_inside else shades.outside

    for day in days:
        cells = "".join(cell(day, hour) for hour in HOURS)
        yield _told(named(day), cells, sum(counts[day, hour] for hour in HOURS))
    yield from _footed(len("Mon 23 Nov"), most, shades)


def _weekdays(counts: Counter[tuple[date, int]], days: Sequence[date], shades: Shades) -> Iterator[str]:
    sums: Counter[tuple[int, int]] = Counter()
    for (day, hour), count in counts.items():
        sums[day.weekday(), hour] += count
    most = max(sums.values(), default=0)
    yield f"{len(days)} days by weekday, summed up"
    yield _scale(len("Mon"))
    for weekday, name in enumerate(WEEKDAYS):
        total = sum(sums[weekday, hour] for hour in HOURS)
        cells = "".join(shades.cells[level(sums[weekday, hour], most)] for hour in HOURS)
        yield _told(name, cells, total)
    yield from _footed(len("Mon"), most, shades)


def _told(name: str, cells: str, total: int) -> str:
    return f"{name}  {cells}  {total or '':>4}".rstrip()


def _scale(indent: int) -> str:
    return " " * (indent + 2) + "".join(f"{hour:<6}" for hour in HOURS[::3]).rstrip()


def _footed(indent: int, most: int, shades: Shades) -> Iterator[str]:
    if most:
        yield ""
        yield " " * (indent + 2) + legend(most, shades)
