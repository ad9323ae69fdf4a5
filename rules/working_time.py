"""Working time: weekly hours in a time zone, without holidays. Pure: a calendar answers for any instant.

A span such as Mon-Fri 22:00-06:00 belongs to the day on which it begins; on a holiday none begins. It opens
when the wall clock first shows its beginning (or has skipped it) and closes when the clock last shows its
end: where clocks go back within a span it is an hour longer, where they go forward an hour shorter.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from rules.model import Value

HORIZON: Final = timedelta(days=400)
"""A calendar that stays as it is for so long (open all day every day, or never) counts as never changing."""

MAX_DAYS: Final = 3_660
"""How many days `after` looks ahead: ten years, more than any span of working time that a rule may name."""

SECOND: Final = timedelta(seconds=1)
DAY: Final = timedelta(days=1)


class Interval(NamedTuple):
    """Open time from `start` up to, and without, `end`."""

    start: datetime
    end: datetime


class Span(Value, frozen=True, kw_only=True):
    """Open from one minute to another on each of `days` (0 is Monday); past 24:00 it ends on the next day."""

    days: tuple[int, ...]
    opens: int  #: minutes after midnight, as the wall clock shows it
    closes: int


class National(Value, frozen=True, kw_only=True):
    """The public holidays of a country (ISO 3166-1), or of one of its subdivisions."""

    country: str
    subdivision: str | None = None


class Calendar(Value, frozen=True, kw_only=True, cache_hash=True):
    """When a team works. Two that say the same are equal, by whatever names."""

    zone: str  #: IANA name
    spans: tuple[Span, ...]
    dates: frozenset[date] = frozenset()  #: holidays
    yearly: frozenset[tuple[int, int]] = frozenset()  #: holidays as (month, day) of every year
    national: tuple[National, ...] = ()

    def is_open(self, at: datetime) -> bool:
        return any(start <= at < end for day in _around(self, at) for start, end in _day(self, day))

    def after(self, start: datetime, working: timedelta) -> datetime:
        """The first instant by which `working` of open time has passed since `start`.

        `start` itself if that is nothing. If the next ten years hold less, their end.
        """
        if working <= timedelta(0):
            return start
        for begins, ends in self._from(start, MAX_DAYS):
            if ends - begins >= working:
                return begins + working
            working -= ends - begins
        return start + timedelta(days=MAX_DAYS)

    def between(self, start: datetime, end: datetime) -> timedelta:
        """How much open time lies between two instants."""
        days = max(0, (end - start).days) + 2
        spans = (min(e, end) - min(b, end) for b, e in self._from(start, days))
        return sum(spans, timedelta(0))

    def next_change(self, at: datetime) -> datetime | None:
        """When it next opens or closes after `at`; None if it does not within `HORIZON`."""
        until = at + HORIZON
        for start, end in self._from(at, HORIZON.days + 1):
            change = end if start <= at else start
            return change if change < until else None
        return None

    def is_holiday(self, day: date) -> bool:
        return (
            day in self.dates
            or (day.month, day.day) in self.yearly
            or any(day in _national(part, day.year) for part in self.national)
        )

    def _from(self, at: datetime, days: int) -> Iterator[Interval]:
        """The open time after `at`, in order; what touches or overlaps is one interval."""
        held: Interval | None = None
        for day in _days(self, at, days):
            for start, end in _day(self, day):
                if end <= at:
                    continue
                if held is not None and start <= held.end:
                    held = Interval(held.start, max(held.end, end))
                    continue
                if held is not None:
                    yield held
                held = Interval(max(start, at), end)
        if held is not None:
            yield held


def _around(calendar: Calendar, at: datetime) -> tuple[date, date]:
    """The days whose spans can hold an instant: that day as the wall clock has it, and the one before."""
    today = at.astimezone(_zone(calendar.zone)).date()
    return today - DAY, today


def _days(calendar: Calendar, at: datetime, days: int) -> Iterator[date]:
    first, _ = _around(calendar, at)
    return (first + timedelta(days=count) for count in range(days + 2))


_zone = lru_cache(maxsize=64)(ZoneInfo)  # ZoneInfo's own cache is weak for all but the last few


@lru_cache(maxsize=8_192)
def _day(calendar: Calendar, day: date) -> tuple[Interval, ...]:
    """The spans that begin on a day, in order of their beginning."""
    spans = [span for span in calendar.spans if day.weekday() in span.days]
    if not spans or calendar.is_holiday(day):
        return ()
    zone = _zone(calendar.zone)
    made = (
        Interval(_instant(day, span.opens, zone, fold=0), _instant(day, span.closes, zone, fold=1))
        for span in spans
    )
    return tuple(sorted(interval for interval in made if interval.start < interval.end))


def _instant(day: date, minutes: int, zone: ZoneInfo, *, fold: int) -> datetime:
    """When the wall clock shows a time: the first (0) or the last (1) instant, or when it skips it."""
    shows = datetime.combine(day, time()) + timedelta(minutes=minutes)
    at = shows.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    if at.astimezone(zone).replace(tzinfo=None) == shows:
        return at
    return _skip(shows, zone)


def _skip(shows: datetime, zone: ZoneInfo) -> datetime:
    """The instant at which the wall clock jumps over `shows`."""
    before = shows.replace(tzinfo=zone, fold=1).astimezone(UTC)
    after = shows.replace(tzinfo=zone, fold=0).astimezone(UTC)
    while after - before > SECOND:
        middle = before + (after - before) // 2
        if middle.astimezone(zone).replace(tzinfo=None) < shows:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)


@lru_cache(maxsize=1_024)
def _national(part: National, year: int) -> frozenset[date]:
    import holidays  # half a second, for calendars that name a country only

    days = holidays.country_holidays(part.country, subdiv=part.subdivision, years=year, expand=False)
    return frozenset(days)
