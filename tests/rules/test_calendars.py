"""Working time against the wall clock, minute by minute, where clocks change too; and how it is written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.calendars import CALENDAR_NAME, CALENDARS, Named, Written, finished
from rules.grammar import Report
from rules.names import Names
from rules.text import Source, SpecError, compose
from rules.working_time import HORIZON, MAX_DAYS, Calendar, National, Span

MINUTE = timedelta(minutes=1)
HOURS = timedelta(hours=1)
WEEKDAYS = (0, 1, 2, 3, 4)
BERLIN = "Europe/Berlin"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def office(
    *, zone: str = BERLIN, days: tuple[int, ...] = WEEKDAYS, opens: int = 9, closes: int = 17
) -> Calendar:
    return Calendar(zone=zone, spans=(Span(days=days, opens=opens * 60, closes=closes * 60),))


# --- minute by minute ---------------------------------------------------------------------------------

DAYS = 3
CHANGES = {
    # a time shortly before clocks change, or jump over a whole day
    "Europe/Berlin": ["2026-03-28", "2026-10-24", "2026-11-20"],
    "America/New_York": ["2026-03-07", "2026-10-31"],
    "Australia/Lord_Howe": ["2026-04-04", "2026-10-03"],
    "America/St_Johns": ["2026-03-07"],
    "Africa/Cairo": ["2026-04-23", "2026-10-29"],
    "Pacific/Apia": ["2011-12-29"],
    "America/Havana": ["2026-03-07", "2026-10-31"],
    "Asia/Kolkata": ["2026-05-01"],
}
PLACES = [(zone, utc(day)) for zone, days in CHANGES.items() for day in days]


def open_minutes(calendar: Calendar, start: datetime, days: int = DAYS) -> list[bool]:
    """Whether it is open in each minute: told by what the clock on the wall has shown and will show."""
    margin = 2 * 24 * 60
    zone = ZoneInfo(calendar.zone)
    minutes = [start + n * MINUTE for n in range(-margin, days * 24 * 60 + margin)]
    walls = [at.astimezone(zone).replace(tzinfo=None) for at in minutes]
    shown = list(accumulate(walls, max))
    to_show = list(accumulate(reversed(walls), min))[::-1]
    opened = [False] * len(minutes)
    for n in range(-3, days + 4):
        day = (start + timedelta(days=n)).date()
        for span in calendar.spans:
            if day.weekday() not in span.days or calendar.is_holiday(day):
                continue
            midnight = datetime.combine(day, datetime.min.time())
            opens, closes = midnight + span.opens * MINUTE, midnight + span.closes * MINUTE
            for i, (before, after) in enumerate(zip(shown, to_show, strict=True)):
                opened[i] = opened[i] or (before >= opens and after < closes)
    return opened[margin:-margin]


@st.composite
def spans(draw: st.DrawFn) -> Span:
    opens = draw(st.integers(0, 24 * 60 - 1))
    length = draw(st.integers(1, 24 * 60))
    days = draw(st.sets(st.integers(0, 6), min_size=1))
    return Span(days=tuple(sorted(days)), opens=opens, closes=min(opens + length, opens + 24 * 60 - 1, 2880))


@st.composite
def calendars(draw: st.DrawFn) -> tuple[Calendar, datetime]:
    zone, start = draw(st.sampled_from(PLACES))
    closed = draw(st.sets(st.integers(0, DAYS), max_size=2))
    calendar = Calendar(
        zone=zone,
        spans=tuple(draw(st.lists(spans(), min_size=1, max_size=3))),
        dates=frozenset((start + timedelta(days=n)).date() for n in closed),
    )
    return calendar, start


@settings(max_examples=15, deadline=None)
@given(drawn=calendars(), begin=st.integers(0, 24 * 60), working=st.integers(0, 30 * 60))
def test_a_calendar_is_what_the_clock_on_the_wall_shows(
    drawn: tuple[Calendar, datetime], begin: int, working: int
) -> None:
    calendar, start = drawn
    truth = open_minutes(calendar, start)
    assert [calendar.is_open(start + n * MINUTE) for n in range(len(truth))] == truth
    at = start + begin * MINUTE
    assert_after(calendar, truth, start, at, working)
    for end in (at, at + 17 * HOURS, start + DAYS * 24 * HOURS):
        until = int((end - start) / MINUTE)
        assert calendar.between(at, end) == sum(truth[begin:until]) * MINUTE
    changes = (n for n in range(begin + 1, len(truth)) if truth[n] != truth[n - 1])
    expected = next((start + n * MINUTE for n in changes), None)
    if expected is not None:
        assert calendar.next_change(at) == expected


def assert_after(
    calendar: Calendar, truth: Sequence[bool], start: datetime, at: datetime, working: int
) -> None:
    begin = int((at - start) / MINUTE)
    passed = list(accumulate(truth[begin:], initial=0))
    expected = next((n for n, sum_ in enumerate(passed) if sum_ == working), None)
    found_at = calendar.after(at, working * MINUTE)
    if expected is not None:
        assert found_at == at + expected * MINUTE
    else:
        assert found_at > start + len(truth) * MINUTE


@given(
    minute=st.integers(0, 2 * 365 * 24 * 60),
    first=st.timedeltas(timedelta(0), timedelta(days=3)),
    second=st.timedeltas(timedelta(seconds=1), timedelta(days=3)),
)
def test_working_time_adds_up(minute: int, first: timedelta, second: timedelta) -> None:
    calendar, start = office(), utc("2025-01-01T00:00") + minute * MINUTE
    assert calendar.after(calendar.after(start, first), second) == calendar.after(start, first + second)
    assert calendar.between(start, calendar.after(start, first)) == first


# --- days on which clocks change ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("evening", "hours"), [("2026-10-24", 9), ("2026-03-28", 7), ("2026-11-21", 8)],
    ids=["clocks go back", "clocks go forward", "as ever"],
)  # fmt: skip
def test_a_night_is_as_long_as_it_is(evening: str, hours: int) -> None:
    nights = office(days=(5,), opens=22, closes=30)
    noon = utc(f"{evening}T12:00")
    assert nights.between(noon, noon + 24 * HOURS) == hours * HOURS


def test_hours_that_the_clock_shows_twice_are_open_from_the_first_to_the_last() -> None:
    early = Calendar(zone=BERLIN, spans=(Span(days=(6,), opens=150, closes=165),))  # 02:30 to 02:45
    noon = utc("2026-10-24T12:00")
    assert early.next_change(noon) == utc("2026-10-25T00:30")
    assert early.between(noon, noon + 24 * HOURS) == 75 * MINUTE


def test_hours_that_the_clock_skips_are_closed() -> None:
    skipped = Calendar(zone=BERLIN, spans=(Span(days=(6,), opens=150, closes=165),))
    assert skipped.between(utc("2026-03-28T12:00"), utc("2026-03-29T12:00")) == timedelta(0)


def test_hours_of_which_the_clock_skips_the_beginning_open_when_it_does() -> None:
    morning = Calendar(zone=BERLIN, spans=(Span(days=(6,), opens=150, closes=300),))  # 02:30 to 05:00
    assert morning.next_change(utc("2026-03-28T12:00")) == utc("2026-03-29T01:00")


def test_a_time_that_the_clock_skips_is_the_instant_at_which_it_does() -> None:
    morning = Calendar(zone=BERLIN, spans=(Span(days=(6,), opens=2 * 60 + 17, closes=300),))
    assert morning.next_change(utc("2026-03-28T12:00")) == utc("2026-03-29T01:00")


# --- holidays -----------------------------------------------------------------------------------------


def test_nothing_begins_on_a_holiday() -> None:
    closed = Calendar(
        zone=BERLIN,
        spans=(Span(days=tuple(range(7)), opens=22 * 60, closes=30 * 60),),
        dates=frozenset({date(2026, 12, 24)}),
    )
    assert closed.is_open(utc("2026-12-24T02:00"))  # the night that began on the 23rd
    assert not closed.is_open(utc("2026-12-24T22:00"))
    assert not closed.is_open(utc("2026-12-25T02:00"))
    assert closed.is_open(utc("2026-12-25T22:00"))


def test_some_holidays_come_every_year() -> None:
    calendar = Calendar(zone="UTC", spans=office().spans, yearly=frozenset({(12, 24), (2, 29)}))
    assert calendar.is_holiday(date(2026, 12, 24))
    assert calendar.is_holiday(date(2031, 12, 24))
    assert calendar.is_holiday(date(2028, 2, 29))
    assert not calendar.is_holiday(date(2026, 12, 23))


def test_a_country_and_its_parts_have_holidays() -> None:
    germany = Calendar(zone=BERLIN, spans=office().spans, national=(National(country="DE"),))
    bavaria = Calendar(
        zone=BERLIN, spans=office().spans, national=(National(country="DE", subdivision="BY"),)
    )
    epiphany, new_year = date(2027, 1, 6), date(2027, 1, 1)
    assert (germany.is_holiday(new_year), germany.is_holiday(epiphany)) == (True, False)
    assert (bavaria.is_holiday(new_year), bavaria.is_holiday(epiphany)) == (True, True)


def test_a_holiday_observed_in_the_year_before_counts() -> None:
    us = Calendar(zone="America/New_York", spans=office().spans, national=(National(country="US"),))
    assert us.is_holiday(date(2027, 12, 31))  # New Year's Day 2028 is a Saturday


# --- ends of the world --------------------------------------------------------------------------------


def test_what_is_always_or_never_open_never_changes() -> None:
    always = office(days=tuple(range(7)), opens=0, closes=24)
    never = Calendar(zone="UTC", spans=office().spans, yearly=frozenset(every_day()))
    noon = utc("2026-11-22T12:00")
    assert always.is_open(noon)
    assert always.next_change(noon) is None
    assert not never.is_open(noon)
    assert never.next_change(noon) is None
    assert always.after(noon, HORIZON) == noon + HORIZON


def every_day() -> list[tuple[int, int]]:
    leap = date(2024, 1, 1)
    return [((leap + timedelta(days=n)).month, (leap + timedelta(days=n)).day) for n in range(366)]


def test_what_never_opens_has_an_end_all_the_same() -> None:
    never = Calendar(zone="UTC", spans=office().spans, yearly=frozenset(every_day()))
    noon = utc("2026-11-22T12:00")
    assert never.after(noon, HOURS) == noon + timedelta(days=MAX_DAYS)


def test_spans_that_touch_are_one() -> None:
    calendar = Calendar(
        zone=BERLIN,
        spans=(Span(days=(0, 1), opens=0, closes=24 * 60), Span(days=(2,), opens=0, closes=12 * 60)),
    )
    assert calendar.next_change(utc("2026-11-23T08:00")) == utc("2026-11-25T11:00")


# --- how it is written --------------------------------------------------------------------------------


def read(text: str) -> tuple[dict[str, Written], list[str]]:
    report = Report(source="work.yaml")
    node = compose(Source("work.yaml", text), max_bytes=100_000, max_nodes=1_000)
    assert node is not None
    return CALENDARS.shape.read(node, report) or {}, [str(problem) for problem in report.problems]


def test_a_calendar_is_read_as_it_is_meant() -> None:
    made, problems = read(
        """
        office:
          timezone: Europe/Berlin
          open:
            - {days: mon-fri, hours: ["09:00-12:00", "13:00-17:00"]}
            - {days: [sat, sun-mon], hours: "22:00-06:00"}
            - {hours: "00:00-24:00"}
          holidays:
            - {country: DE, subdivision: BY}
            - {dates: [2026-12-24, 12-31]}
            - file: closed.txt
        """
    )
    assert problems == []
    assert made["office"].calendar == Calendar(
        zone=BERLIN,
        spans=(
            Span(days=WEEKDAYS, opens=540, closes=720),
            Span(days=WEEKDAYS, opens=780, closes=1020),
            Span(days=(0, 5, 6), opens=1320, closes=1800),
            Span(days=tuple(range(7)), opens=0, closes=1440),
        ),
        dates=frozenset({date(2026, 12, 24)}),
        yearly=frozenset({(12, 31)}),
        national=(National(country="DE", subdivision="BY"),),
    )
    assert [(file.name, file.place.line) for file in made["office"].files] == [("closed.txt", 11)]


def test_days_may_wrap_round_the_week() -> None:
    made, _ = read('night: {timezone: UTC, open: {days: fri-mon, hours: "22:00-06:00"}}')
    assert made["night"].calendar.spans[0].days == (0, 4, 5, 6)


@pytest.mark.parametrize(
    ("calendar", "said"),
    [
        ('{timezone: Europe/Berlon, open: {hours: "09:00-17:00"}}', 'did you mean "Europe/Berlin"'),
        ('{timezone: America, open: {hours: "09:00-17:00"}}', "is no time zone"),
        ('{timezone: ../UTC, open: {hours: "09:00-17:00"}}', "is no time zone"),
        ('{timezone: UTC, open: {hours: "9-17"}}', 'for example "09:00-17:00"'),
        ('{timezone: UTC, open: {hours: "09:00-09:00"}}', 'found "09:00-09:00"'),
        ('{timezone: UTC, open: {hours: "24:00-06:00"}}', 'found "24:00-06:00"'),
        ('{timezone: UTC, open: {hours: "09:60-17:00"}}', 'found "09:60-17:00"'),
        ('{timezone: UTC, open: {hours: "٠٩:00-17:00"}}', "hours as 09:00-17:00"),
        ('{timezone: UTC, open: {hours: ["09:00-12:00", "13:00"]}}', 'found "13:00"'),
        ('{timezone: UTC, open: {days: {mon: fri}, hours: "09:00-17:00"}}', "found a mapping"),
        ('{timezone: UTC, open: {hours: "09:00-24:01"}}', 'found "09:00-24:01"'),
        ('{timezone: UTC, open: {days: monday, hours: "09:00-17:00"}}', '"monday" names no days'),
        ('{timezone: UTC, open: {days: mon-fry, hours: "09:00-17:00"}}', '"mon-fry" names no days'),
        ("{timezone: UTC}", '"open" is missing'),
        ('{open: {hours: "09:00-17:00"}}', '"timezone" is missing'),
        ('{timezone: UTC, open: {hours: "09:00-17:00"}, holidays: {dates: 24.12.}}', '"24.12." is no date'),
        ('{timezone: UTC, open: {hours: "09:00-17:00"}, holidays: {country: GR, dates: 12-24, holiday: 1}}',
         'unknown key "holiday"'),
        ('{timezone: UTC, open: {hours: "09:00-17:00"}, holidays: {country: XX}}', "are not known"),
        ('{timezone: UTC, open: {hours: "09:00-17:00"}, holidays: {country: de}}', "has not the right form"),
        ('{timezone: UTC, open: {hours: "09:00-17:00"}, holidays: {country: DE, subdivision: BX}}',
         'DE has no "BX"'),
        ('{timezone: UTC, open: {hours: "09:00-17:00"}, holidays: {subdivision: BY}}', "is of a country"),
    ],
)  # fmt: skip
def test_a_mistake_has_its_place_and_a_way_out(calendar: str, said: str) -> None:
    made, problems = read(f"office: {calendar}")
    assert made == {}
    assert len(problems) == 1
    assert problems[0].startswith("work.yaml:1:")
    assert said in problems[0]


def test_editors_are_told_the_same() -> None:
    schema = CALENDARS.shape.schema()
    assert schema["propertyNames"] == {"pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"}
    calendar = schema["additionalProperties"]
    assert (calendar["type"], calendar["required"]) == ("object", ["timezone", "open"])
    span = calendar["properties"]["open"]["anyOf"][0]["properties"]
    hours, day = span["hours"]["anyOf"][0], span["days"]["anyOf"][0]
    assert (hours["type"], day["type"]) == ("string", "string")
    for text in ("09:00-17:00", "22:00-06:00", "00:00-24:00"):
        assert re.search(hours["pattern"], text)
    for text in ("9:00-17:00", "09:00", "09:60-17:00", "25:00-26:00", "x09:00-17:00", "09:00-17:000"):
        assert not re.search(hours["pattern"], text)
    for text in ("mon", "mon-fri", "sun-mon"):
        assert re.search(day["pattern"], text)
    for text in ("monday", "mon-", "fry", "mon-fri-sun"):
        assert not re.search(day["pattern"], text)
    several = span["days"]["anyOf"][1]
    assert several == {"type": "array", "items": day, "minItems": 1, "maxItems": 1000}


def test_a_name_is_a_name_once() -> None:
    hours = '{timezone: UTC, open: {hours: "09:00-17:00"}}'
    _, problems = read(f"office: {hours}\noffice: {hours}")
    assert ["twice" in problem for problem in problems] == [True]
    _, problems = read(f"Büro: {hours}")
    assert ["lower-case" in problem for problem in problems] == [True]


def test_a_file_of_dates_has_one_a_line() -> None:
    made, _ = read('office: {timezone: UTC, open: {hours: "09:00-17:00"}, holidays: {file: closed.txt}}')
    text = "# closed\n\n2026-12-24 Christmas Eve\n  12-31   # every year\n"
    calendar = finished(made["office"], [Source("closed.txt", text)])
    assert calendar.dates == {date(2026, 12, 24)}
    assert calendar.yearly == {(12, 31)}
    assert calendar.spans == made["office"].calendar.spans


def test_a_mistake_in_a_file_of_dates_has_its_place() -> None:
    made, _ = read('office: {timezone: UTC, open: {hours: "09:00-17:00"}, holidays: {file: closed.txt}}')
    with pytest.raises(SpecError) as refused:
        finished(made["office"], [Source("closed.txt", "2026-12-24\n 2026-13-01 what\n02-30\n")])
    wanted = "expected one date a line; for example 2026-12-24 Christmas Eve"
    assert [str(problem) for problem in refused.value.problems] == [
        f'closed.txt:2:2: "2026-13-01" is no date; {wanted}',
        f'closed.txt:3:1: "02-30" is no date; {wanted}',
    ]


def named(text: str) -> tuple[Named | None, list[str]]:
    """What `during: text` names where there is a calendar `office`, and what is wrong with it."""
    report = Report(
        source="rules.yaml", names=Names(calendars={"office": office()}, broken_calendars={"bad"})
    )
    node = compose(Source("rules.yaml", text), max_bytes=100, max_nodes=10)
    assert node is not None
    return CALENDAR_NAME.read(node, report), [str(problem) for problem in report.problems]


def test_a_name_that_nothing_has_is_told_with_the_nearest() -> None:
    assert named("office") == (Named(name="office", calendar=office()), [])
    found, (problem,) = named("offices")
    assert found is None
    assert problem.startswith(
        'rules.yaml:1:1: there is no calendar "offices" (did you mean "office"?); for example'
    )


def test_of_a_calendar_with_a_mistake_only_the_mistake_is_told() -> None:
    assert named("bad") == (None, [])
