"""The map of hours in text, and the picture of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

from monitor.cli.heat import ASCII, UNICODE, heat_map, legend, level
from monitor.cli.picture import COLOURS, picture
from monitor.rehearsal import Rehearsed
from monitor.tally import Hour, Tally, tally
from rules.model import RuleName
from tests.test_tally import firing

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"


def hours(*at: tuple[float, int]) -> list[Hour]:
    return [Hour(at=MONDAY + timedelta(hours=hour), count=count) for hour, count in at]


def drawn(hours: list[Hour], *, days: float, shift: float = 0) -> list[str]:
    since = MONDAY + timedelta(hours=shift)
    return list(heat_map(hours, since, since + timedelta(days=days), shades=ASCII))


def test_a_line_a_day_a_cell_an_hour_and_the_sum() -> None:
    lines = drawn(hours((1, 1), (23, 4), (24 + 3, 2)), days=1.9)
    assert lines == [
        "            0     3     6     9     12    15    18    21",
        "Mon 23 Nov   .-- . . . . . . . . . . . . . . . . . . . . .##     5",
        "Tue 24 Nov   . . .++ . . . . . . . . . . . . . . . . . .         2",
        "",
        "            -- 1   ++ 2   xx 3   ## 4",
    ]


def test_hours_that_were_not_looked_at_are_blank() -> None:
    first, last = drawn([], days=1, shift=6)[1:3]
    assert first.startswith("Mon 23 Nov  " + "  " * 6 + " .")
    assert last == "Tue 24 Nov  " + " ." * 7


def test_many_days_are_summed_up_by_weekday() -> None:
    lines = drawn(hours((2, 1), (7 * 24 + 2, 2)), days=60)
    assert lines[0] == "61 days by weekday, summed up"
    assert [line[:3] for line in lines[2:9]] == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    assert lines[2] == "Mon   . .xx" + " ." * 21 + "     3"


def test_few_are_told_apart_as_they_are_and_many_by_quarters() -> None:
    assert [level(count, 3) for count in range(4)] == [0, 1, 2, 3]
    assert [level(count, 100) for count in (0, 1, 25, 26, 50, 75, 76, 100)] == [0, 1, 1, 2, 2, 3, 4, 4]
    assert legend(1, UNICODE) == "░░ 1"
    assert legend(100, UNICODE) == "░░ 1–25   ▒▒ 26–50   ▓▓ 51–75   ██ 76–100"


# --- the picture ----------------------------------------------------------------------------------------


def a_tally(rules: int, *, days: float) -> Tally:
    findings = [firing(f"{n}", n * 7200, rule=f"rule-{n % rules}") for n in range(24)]
    names = [RuleName(f"rule-{n}") for n in range(rules)]
    since = datetime(2026, 11, 22, tzinfo=UTC)
    until = since + timedelta(days=days)
    return tally(Rehearsed(messages=9, findings=tuple(findings)), names, since=since, until=until, zone=UTC)


def titles(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}title")]


def test_the_picture_counts_what_the_tally_counts() -> None:
    svg = picture(a_tally(2, days=4), title="Backtest", zone=UTC, zone_name="UTC")
    told = titles(svg)
    bars = [title for title in told if " pages of " in title]
    assert sum(int(title.split()[1]) for title in bars) == 24
    cells = [title for title in told if title.endswith("pages") and " of " not in title]
    assert len(cells) == 24 * 5
    assert sum(int(title.split()[-2]) for title in cells) == 24
    assert svg == picture(a_tally(2, days=4), title="Backtest", zone=UTC, zone_name="UTC")


def test_rules_beyond_the_colours_are_drawn_as_others() -> None:
    told = titles(picture(a_tally(12, days=4), title="Backtest", zone=UTC, zone_name="UTC"))
    names = {title.split(" of ")[1] for title in told if " pages of " in title}
    assert len(names) == len(COLOURS)
    assert "others" in names
    bars = [title for title in told if " pages of " in title]
    assert sum(int(title.split()[1]) for title in bars) == 24


def test_a_year_is_drawn_by_weekday_and_words_are_escaped() -> None:
    svg = picture(a_tally(1, days=200), title="<Backtest> & more", zone=UTC, zone_name="UTC")
    told = titles(svg)
    assert told[0] == "<Backtest> & more"
    assert len([title for title in told if title.startswith("Mon ")]) == 24


def test_nothing_found_is_drawn_too() -> None:
    empty = tally(Rehearsed(messages=0), [], since=MONDAY, until=MONDAY, zone=UTC)
    assert "0 alerts, 0 messages" in picture(empty, title="Backtest", zone=UTC, zone_name="UTC")
