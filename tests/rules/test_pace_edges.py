"""What becomes of new alerts where two of the answers meet."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from rules.model import RuleName, Severity, StateKey, Status
from rules.pace import AHEAD, SURGES, HoldKind, pace, paced
from tests.rules.builders import NOON, a_message
from tests.rules.test_pace import (
    DAY,
    HOUR,
    MONDAY,
    OFFICE,
    OUTSIDE,
    Desk,
    a_rule,
    an_alert,
    an_old_rule,
    at,
    storm,
    the_end,
)

R = RuleName("r")
VOLUME = StateKey(R, "@pace")


@pytest.mark.parametrize(
    ("pacing", "states"),
    [
        ("surge: off", set()),
        ("", {VOLUME, SURGES}),
        ("surge: off, max_per_hour: 3", {VOLUME}),
        ("surge: off, cooldown: 10m", {StateKey(R, "@pace/cooldown/all")}),
        ("surge: off, cooldown: {for: 10m, by: sender}", {StateKey(R, "@pace/cooldown/ann")}),
        ("cooldown: 10m", {VOLUME, SURGES, StateKey(R, "@pace/cooldown/all")}),
        ("shadow: true, surge: off", set()),
    ],
)
def test_a_rule_asks_for_what_it_needs(pacing: str, states: set[StateKey]) -> None:
    alert = an_alert(messages=[a_message()])
    assert paced(a_rule(pacing), [alert]) == states
    desk = Desk(a_rule(pacing))
    desk.feed(alert)
    assert set(desk.states) <= states


def test_only_rules_that_may_surge_tell_how_much_is_usual() -> None:
    assert set(Desk(a_rule()).feed(an_alert()).bands) == {R}
    assert Desk(a_rule("surge: off, max_per_hour: 3")).feed(an_alert()).bands == {}


def test_what_is_outside_working_time_cools_down_and_is_counted_like_all_else() -> None:
    desk = Desk(a_rule(f"{OUTSIDE}, cooldown: {{for: 10m, by: conversation}}", calendars=OFFICE))
    for hour, severity in ((3, Severity.INFO), (10, Severity.CRITICAL)):
        first, second = (
            an_alert(MONDAY.replace(hour=hour, minute=minute), messages=[a_message()]) for minute in (0, 5)
        )
        found = desk.feed(first)
        assert (found.alerts[0].severity, found.holds) == (severity, {})
        assert desk.feed(second).holds[second.id].why is HoldKind.COOLDOWN
    band = desk.feed(an_alert(MONDAY.replace(hour=10, minute=30))).bands[R]
    assert band.volume == 3


def test_a_muted_rule_is_as_it_is_outside_working_time_and_counts() -> None:
    desk = Desk(a_rule(OUTSIDE, calendars=OFFICE))
    found = desk.feed(an_alert(MONDAY.replace(hour=3)), muted=["r"])
    assert found.alerts[0].severity is Severity.INFO
    assert found.bands[R].volume == 1


def test_an_end_alone_neither_counts_nor_asks() -> None:
    rules, alert = a_rule("cooldown: 10m, max_per_hour: 1"), an_alert()
    found = pace(rules, {}, [the_end(alert, at(5))], now=at(5))
    assert (found.states, found.holds, found.bands) == ((), {}, {})


def test_a_calendar_comes_before_a_cooldown_and_that_before_a_limit() -> None:
    desk = Desk(a_rule("during: office, cooldown: 10m, max_per_hour: 1", calendars=OFFICE))
    begin = MONDAY.replace(hour=10)
    whys = [
        desk.why(an_alert(moment))
        for moment in (MONDAY.replace(hour=3), at(0, since=begin), at(5, since=begin), at(20, since=begin))
    ]
    assert whys == [HoldKind.CALENDAR, None, HoldKind.COOLDOWN, HoldKind.OVERFLOW]


def test_the_words_of_a_limit_name_it() -> None:
    desk = Desk(a_rule("max_per_hour: 1"))
    desk.feed(an_alert(at(0)))
    over = an_alert(at(1))
    hold = desk.feed(over).holds[over.id]
    assert (hold.reason, hold.until) == ("more than 1 alerts in an hour: told in a sum", None)


def test_what_is_held_in_a_surge_says_since_when() -> None:
    desk = an_old_rule()
    last = storm(desk, 30)[-1]
    hold = desk.holds[last.id]
    assert hold.reason == "far more alerts than usual since 2026-11-22 12:10:00 UTC: told in a sum"
    assert hold.is_summed
    assert "within an hour" in desk.warnings[0].summary
    assert "without more than 20, they are told as sums, every 5 minutes" in desk.warnings[0].summary
    assert desk.warnings[0].first_seen_at == desk.warnings[0].event_at == at(10)


def test_a_row_of_the_future_counts_as_of_soon() -> None:
    desk = Desk(a_rule("cooldown: 10m"))
    early = an_alert(NOON + DAY)
    desk.feed(early, now=NOON)
    held = an_alert(NOON + timedelta(minutes=1))
    desk.feed(held, now=NOON + timedelta(minutes=1))
    assert desk.holds[held.id].until == NOON + AHEAD + 10 * timedelta(minutes=1)


def test_an_alert_that_comes_twice_in_one_step_is_counted_once() -> None:
    rules, alert = a_rule(), an_alert()
    found = pace(rules, {}, [alert, replace(alert, revision=1), the_end(alert, at(9))], now=at(9))
    assert found.bands[R].volume == 1
    assert [one.status for one in found.alerts] == [Status.FIRING, Status.FIRING, Status.RESOLVED]


def test_surges_of_several_rules_are_apart() -> None:
    desk = an_old_rule()
    storm(desk, 60)
    other = Desk(a_rule(name="s"), states=desk.states)
    other.feed(an_alert(NOON - 30 * HOUR, rule="s"))
    for n in range(40):
        other.feed(an_alert(at(n / 2), rule="s"))
    assert [warning.key for warning in other.warnings] == ["s"]
    both = other.calm(at(300))
    assert sorted(one.key for one in both.alerts) == ["r", "s"]
    assert SURGES not in other.states
