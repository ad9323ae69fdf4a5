"""What becomes of new alerts: shadow, working time, cooldown, limit, surge; in whatever order they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rules.engine import RuleSet
from rules.model import (
    Alert,
    AlertId,
    Message,
    Party,
    RuleName,
    Severity,
    State,
    StateKey,
    Status,
    UserId,
)
from rules.pace import KEEP, SURGE, SURGES, Hold, HoldKind, Paced, calmed, pace, paced
from rules.pacing import Pacing
from rules.spec import SpecError
from rules.volume import Volume, counted
from tests.rules.builders import NOON, a_call, a_message, rules_of

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
OFFICE = 'calendars: {office: {timezone: UTC, open: {days: mon-fri, hours: "09:00-17:00"}}}\n'
MONDAY = NOON + DAY  # NOON is on a Sunday
numbers = count(1)


def a_rule(pacing: str = "", *, calendars: str = "", name: str = "r", labels: str = "{team: day}") -> RuleSet:
    text = f"rules: [{{name: {name}, when: {{type: text}}, labels: {labels}, severity: critical, {pacing}}}]"
    return rules_of(calendars + text)


def an_alert(
    at: datetime = NOON,
    *,
    name: str | None = None,
    messages: Sequence[Message] = (),
    watched: Sequence[str] = ("bob",),
    rule: str = "r",
) -> Alert:
    return Alert(
        id=AlertId(name or f"a{next(numbers)}"),
        rule=RuleName(rule),
        key="k",
        status=Status.FIRING,
        severity=Severity.CRITICAL,
        title="Something",
        summary="",
        conversation_id="ann_user_bob",
        event_at=at,
        first_seen_at=at,
        watched_users=tuple(map(UserId, watched)),
        labels={"team": "day"},
        messages=tuple(messages),
    )


def the_end(alert: Alert, at: datetime) -> Alert:
    """As the engine tells it, which knows of no calendars."""
    return replace(alert, status=Status.RESOLVED, event_at=at, resolution="it is over")


@dataclass
class Desk:
    """States as the store keeps them, and what it knows; only the states that were asked for are lent."""

    rules: RuleSet
    states: dict[StateKey, State] = field(default_factory=dict)
    known: set[AlertId] = field(default_factory=set)
    holds: dict[AlertId, Hold] = field(default_factory=dict)
    warnings: list[Alert] = field(default_factory=list)
    now: datetime = NOON

    def feed(self, *alerts: Alert, now: datetime | None = None, muted: Sequence[str] = ()) -> Paced:
        self.now = now or max(one.event_at for one in alerts)
        fresh = [one for one in alerts if one.id not in self.known or one.status is Status.RESOLVED]
        keys = paced(self.rules, fresh)
        found = pace(
            self.rules,
            {key: self.states[key] for key in keys if key in self.states},
            fresh,
            now=self.now,
            known=frozenset(self.known),
            muted=tuple(map(RuleName, muted)),
        )
        assert [one.id for one in found.alerts[: len(fresh)]] == [one.id for one in fresh]
        assert {change.key for change in found.states} <= keys
        self.known |= {one.id for one in fresh}
        self._apply(found)
        return found

    def calm(self, seen: datetime) -> Paced:
        self.now = seen
        found = calmed(self.rules, {k: v for k, v in self.states.items() if k == SURGES}, seen=seen, now=seen)
        self._apply(found)
        return found

    def is_sent(self, *alerts: Alert, muted: Sequence[str] = ()) -> list[bool]:
        """Feed them one by one."""
        for alert in alerts:
            self.feed(alert, muted=muted)
        return [alert.id not in self.holds for alert in alerts]

    def why(self, alert: Alert) -> HoldKind | None:
        self.feed(alert)
        return self.holds[alert.id].why if alert.id in self.holds else None

    def _apply(self, found: Paced) -> None:
        for change in found.states:
            stored = self.states.get(change.key)
            assert change.expected == (stored.version if stored else 0)
            if change.value is None:
                del self.states[change.key]
            else:
                assert change.expires_at == self.now + KEEP
                self.states[change.key] = State(version=change.expected + 1, value=change.value)
        self.holds |= found.holds
        self.warnings += [alert for alert in found.alerts if alert.rule == SURGE]


def at(minutes: float, *, since: datetime = NOON) -> datetime:
    return since + minutes * MINUTE


# --- nothing to pace ----------------------------------------------------------------------------------


def test_by_default_everything_is_sent_as_it_is() -> None:
    desk = Desk(a_rule())
    alert = an_alert()
    found = desk.feed(alert)
    assert found.alerts == (alert,)
    assert found.holds == {}


def test_without_anything_to_pace_no_state_is_asked_for() -> None:
    alert = an_alert()
    assert paced(a_rule("surge: off"), [alert]) == frozenset()
    assert paced(a_rule("cooldown: 10m"), [the_end(alert, NOON)]) == frozenset()
    assert paced(a_rule(), [an_alert(rule="cometwatch-blind")]) == frozenset()
    found = pace(a_rule("surge: off"), {}, [alert], now=NOON)
    assert (found.alerts, found.states, found.bands) == ((alert,), (), {})


# --- shadow -------------------------------------------------------------------------------------------


def test_a_rule_in_shadow_is_counted_and_sends_nothing() -> None:
    desk = Desk(a_rule("shadow: true, max_per_hour: 1, cooldown: 10m"))
    assert [desk.why(an_alert(at(n))) for n in range(3)] == [HoldKind.SHADOW] * 3
    assert desk.feed(an_alert(at(3))).bands[RuleName("r")].volume == 4


def test_a_rule_that_leaves_the_shadow_sends_at_once() -> None:
    desk = Desk(a_rule("shadow: true, cooldown: 10m, max_per_hour: 1"))
    desk.feed(an_alert(at(0)))
    desk.rules = a_rule("cooldown: 10m, max_per_hour: 1")
    assert desk.is_sent(an_alert(at(1))) == [True]


def test_the_words_of_holds_are_interface() -> None:
    assert [str(why) for why in HoldKind] == ["shadow", "calendar", "cooldown", "overflow", "surge"]


# --- working time -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pacing", "hour", "reason", "until"),
    [
        ("during: office", 3, "outside the calendar office", 9),
        ("during: office", 10, None, None),
        ("except: office", 10, "within the calendar office", 17),
        ("except: office", 3, None, None),
    ],
)
def test_a_rule_speaks_when_its_calendar_lets_it(
    pacing: str, hour: int, reason: str | None, until: int | None
) -> None:
    midnight = MONDAY.replace(hour=0)
    alert = an_alert(midnight + hour * HOUR)
    hold = Desk(a_rule(pacing, calendars=OFFICE)).feed(alert).holds.get(alert.id)
    if reason is None or until is None:
        assert hold is None
    else:
        assert hold == Hold(why=HoldKind.CALENDAR, reason=reason, until=midnight + until * HOUR)


OUTSIDE = "outside: {calendar: office, severity: info, labels: {team: night}}"


def test_outside_working_time_an_alert_is_another() -> None:
    desk = Desk(a_rule(OUTSIDE, calendars=OFFICE))
    (at_night,) = desk.feed(an_alert(MONDAY.replace(hour=3))).alerts
    (by_day,) = desk.feed(an_alert(MONDAY.replace(hour=10))).alerts
    assert (at_night.severity, at_night.labels) == (Severity.INFO, {"team": "night"})
    assert (by_day.severity, by_day.labels) == (Severity.CRITICAL, {"team": "day"})


def test_what_is_not_said_of_the_time_outside_stays() -> None:
    rules = a_rule("outside: {calendar: office, labels: {shift: night}}", calendars=OFFICE)
    (alert,) = Desk(rules).feed(an_alert(MONDAY.replace(hour=3))).alerts
    assert (alert.severity, alert.labels) == (Severity.CRITICAL, {"team": "day", "shift": "night"})


def test_what_is_told_of_an_alert_at_once_is_told_alike() -> None:
    rules = a_rule(OUTSIDE, calendars=OFFICE)
    alert, by_day = an_alert(MONDAY.replace(hour=3)), MONDAY.replace(hour=10)
    later = replace(alert, revision=1, event_at=by_day)
    found = pace(rules, {}, [the_end(alert, by_day), later, alert], now=by_day)
    assert [(one.status, one.revision) for one in found.alerts] == [
        (Status.RESOLVED, 0),
        (Status.FIRING, 1),
        (Status.FIRING, 0),
    ]
    assert {(one.severity, one.labels["team"]) for one in found.alerts} == {(Severity.INFO, "night")}
    assert len(found.states) == 1  # one alert was counted


def test_what_was_raised_before_stays_what_it_was() -> None:
    rules = a_rule(OUTSIDE, calendars=OFFICE)
    alert = an_alert(MONDAY.replace(hour=16))
    end = the_end(alert, MONDAY.replace(hour=20))
    assert pace(rules, {}, [end], now=end.event_at, known={alert.id}).alerts == (end,)


# --- cooldown -----------------------------------------------------------------------------------------


def test_within_a_cooldown_nothing_is_sent() -> None:
    desk = Desk(a_rule("cooldown: 10m"))
    assert desk.is_sent(*(an_alert(at(n)) for n in (0, 5, 9.99, 10, 19))) == [True, False, False, True, False]


def test_what_is_held_says_until_when() -> None:
    desk = Desk(a_rule("cooldown: 10m"))
    first, second = an_alert(at(0)), an_alert(at(5))
    desk.feed(first)
    desk.feed(second)
    assert desk.holds[second.id] == Hold(
        why=HoldKind.COOLDOWN, reason="cooling down until 2026-11-22 12:10:00 UTC", until=at(10)
    )


def test_between_two_that_were_sent_the_later_end_counts() -> None:
    desk = Desk(a_rule("cooldown: {for: 10m, growing_to: 1h}"))
    assert desk.is_sent(an_alert(at(0)), an_alert(at(45)), an_alert(at(15))) == [True, True, True]
    late = an_alert(at(36))  # within the twenty minutes after 12:15, and shortly before 12:45
    assert desk.is_sent(late) == [False]
    assert desk.holds[late.id].until == at(55)


def test_of_two_alike_the_one_that_was_found_first_is_sent() -> None:
    desk = Desk(a_rule("cooldown: 10m"))
    assert desk.is_sent(an_alert(at(30)), an_alert(at(21)), an_alert(at(20))) == [True, False, True]


def test_a_cooldown_grows_while_alerts_go_on_and_begins_anew_after_quiet() -> None:
    desk = Desk(a_rule("cooldown: {for: 10m, growing_to: 30m}"))
    steady = [n for n in range(200) if desk.is_sent(an_alert(at(n))) == [True]]
    assert steady == [0, 10, 30, 60, 90, 120, 150, 180]
    assert [desk.is_sent(an_alert(at(n))) for n in (240, 249, 250)] == [[True], [False], [True]]


def test_cooldowns_are_apart_for_what_is_not_alike() -> None:
    desk = Desk(a_rule("cooldown: {for: 10m, by: conversation}"))
    here, there = a_message(conversation_id="c1"), a_message(conversation_id="c2")
    alerts = [an_alert(at(n), messages=[m]) for n, m in enumerate([here, there, here, there])]
    assert desk.is_sent(*alerts) == [True, True, False, False]


def test_what_lacks_the_fields_is_all_alike() -> None:
    desk = Desk(a_rule("cooldown: {for: 10m, by: tag}"))
    plain, tagged = a_message(), a_message(tags=("urgent",))
    alerts = [an_alert(at(n), messages=m) for n, m in enumerate([[plain], [tagged], [], [plain]])]
    assert desk.is_sent(*alerts) == [True, True, False, False]


def test_an_alert_about_several_is_sent_if_one_of_them_was_not_told() -> None:
    desk = Desk(a_rule("cooldown: {for: 10m, by: mentioned}"))
    mentions = [("bob",), ("bob", "cleo"), ("cleo", "bob"), ("dan",)]
    alerts = [an_alert(at(n), messages=[a_message(mentions=m)]) for n, m in enumerate(mentions)]
    assert desk.is_sent(*alerts) == [True, True, False, True]


def test_by_watched_means_whom_the_alert_concerns() -> None:
    desk = Desk(a_rule("cooldown: {for: 10m, by: watched}"))
    ann, cleo = Party(id="ann"), Party(id="cleo")
    calls = [a_call("unanswered", caller=ann), a_call("unanswered", caller=cleo)]
    alerts = [an_alert(at(n), messages=[call], watched=["bob"]) for n, call in enumerate(calls)]
    assert desk.is_sent(*alerts) == [True, False]


def test_what_nobody_heard_of_begins_no_cooldown() -> None:
    desk = Desk(a_rule("cooldown: 10m, max_per_hour: 1"))
    assert desk.is_sent(an_alert(at(0)), an_alert(at(1)), muted=["r"]) == [True, True]  # held by the mute
    assert desk.is_sent(an_alert(at(2)), an_alert(at(3))) == [True, False]


# --- most in an hour ----------------------------------------------------------------------------------


def test_what_is_more_than_the_most_in_an_hour_is_told_in_a_sum() -> None:
    desk = Desk(a_rule("max_per_hour: 2"))
    whys = [desk.why(an_alert(at(n))) for n in (0, 10, 20, 59, 60, 69, 70)]
    over = HoldKind.OVERFLOW
    assert whys == [None, None, over, over, None, over, None]
    assert all(hold.is_summed for hold in desk.holds.values())


def test_a_limit_that_was_lowered_counts_the_last_hour_only() -> None:
    desk = Desk(a_rule("max_per_hour: 5"))
    assert desk.is_sent(*(an_alert(at(n)) for n in range(5))) == [True] * 5
    desk.rules = a_rule("max_per_hour: 1")
    assert desk.is_sent(an_alert(at(63.9)), an_alert(at(64))) == [False, True]


# --- volume -------------------------------------------------------------------------------------------


def test_an_hour_has_sixty_minutes_and_a_week_its_hours() -> None:
    volume = counted(counted(None, at(0)), at(59))
    assert [volume.within_hour(at(n)) for n in (0, 59, 59.9, 60, 118, 119)] == [1, 2, 2, 1, 1, 0]
    assert [counted(volume, at(n)).minutes.get(minute(0)) for n in (179, 180, 181)] == [1, 1, None]
    week = 7 * 24
    assert [counted(volume, at(60 * n)).hours.get(hour(0)) for n in (week, week + 1)] == [2, None]
    assert counted(volume, at(-59)).since == volume.since - 1


def minute(minutes: float) -> int:
    return int(at(minutes).timestamp()) // 60


def hour(minutes: float) -> int:
    return int(at(minutes).timestamp()) // 3600


@pytest.mark.parametrize(
    ("hours", "usual"),
    [
        ({0: 99, 1: 90}, 90),  # the present hour is not usual yet
        ({1: 90, 19: 80}, 90),
        ({1: 90, 20: 80}, 80),
        ({1: 90, 20: 80, 40: 70}, 70),
        ({1: 90, 20: 80, 60: 70}, 0),
        (dict.fromkeys(range(1, 9), 10) | {168: 5}, 5),
        (dict.fromkeys(range(1, 9), 10) | {169: 5}, 0),
        ({n: 10 + n for n in range(1, 49)}, 56),
    ],
)
def test_one_hour_in_twenty_may_be_unusual(hours: dict[int, int], usual: int) -> None:
    since = hour(0) - max(hours)
    volume = Volume(since=since, hours={hour(0) - ago: many for ago, many in hours.items()})
    assert volume.usual(at(0)) == usual


# --- properties ---------------------------------------------------------------------------------------

moments = st.lists(st.integers(0, 120 * 60), min_size=1, max_size=40)
"""Seconds within two hours: rows may be late, but not by more than what is kept of the last hours."""


@st.composite
def arrivals(draw: st.DrawFn) -> list[list[Alert]]:
    """Alerts in any order, some twice, in steps of any size."""
    alerts = [an_alert(NOON + timedelta(seconds=second)) for second in draw(moments)]
    again = draw(st.lists(st.sampled_from(alerts), max_size=5))
    order = draw(st.permutations([*alerts, *again]))
    cuts = sorted(draw(st.sets(st.integers(1, len(order)), max_size=10)) | {len(order)})
    return [order[a:b] for a, b in zip([0, *cuts], cuts, strict=False)]


@given(steps=arrivals(), most=st.integers(1, 5))
def test_no_hour_has_more_than_its_most_and_none_is_held_without_need(
    steps: list[list[Alert]], most: int
) -> None:
    desk = Desk(a_rule(f"max_per_hour: {most}, surge: off"))
    sent: list[datetime] = []
    for step in steps:
        news = [one for one in dict.fromkeys(alert.id for alert in step) if one not in desk.known]
        desk.feed(*unique(step))
        times = {alert.id: alert.event_at for alert in step}
        for name in sorted(news, key=lambda name: (times[name], name)):
            fits = most_in_an_hour([*sent, times[name]]) <= most
            assert (name not in desk.holds) is fits
            sent += [times[name]] if fits else []
    assert most_in_an_hour(sent) <= most


def most_in_an_hour(times: Sequence[datetime]) -> int:
    return max(sum(first <= one < first + HOUR for one in times) for first in times)


def unique(alerts: Sequence[Alert]) -> list[Alert]:
    return list({alert.id: alert for alert in alerts}.values())


@given(steps=arrivals(), length=st.integers(1, 40), growing=st.sampled_from([0, 2, 8]))
def test_a_cooldown_is_as_if_all_that_was_ever_sent_were_known(
    steps: list[list[Alert]], length: int, growing: int
) -> None:
    grown = f", growing_to: {length * growing}m" if growing else ""
    desk = Desk(a_rule(f"surge: off, cooldown: {{for: {length}m{grown}}}"))
    told: list[tuple[datetime, timedelta]] = []
    for step in steps:
        news = [alert for alert in unique(step) if alert.id not in desk.known]
        desk.feed(*unique(step))
        for alert in sorted(news, key=lambda one: (one.event_at, one.id)):
            lasts = cools(told, alert.event_at, length * MINUTE, max(length, length * growing) * MINUTE)
            assert (alert.id in desk.holds) is (lasts is None)
            told += [(alert.event_at, lasts)] if lasts else []
    for moment, _ in told:
        assert all(abs(moment - other) >= length * MINUTE for other, _ in told if other != moment)


def cools(
    told: Sequence[tuple[datetime, timedelta]], moment: datetime, base: timedelta, most: timedelta
) -> timedelta | None:
    """How long the cooldown is that an alert begins, or None if it falls into one."""
    if any(t <= moment < t + lasts or moment < t < moment + base for t, lasts in told):
        return None
    before = max(((t, lasts) for t, lasts in told if t <= moment), default=None)
    went_on = before is not None and moment < before[0] + 2 * before[1]
    return min(2 * before[1], most) if before is not None and went_on else base


@given(steps=arrivals(), data=st.data())
def test_the_same_alerts_make_the_same_volume_in_any_order(
    steps: list[list[Alert]], data: st.DataObject
) -> None:
    alerts = unique([alert for step in steps for alert in step])
    one, other = Desk(a_rule("shadow: true")), Desk(a_rule("shadow: true"))
    for step in steps:
        one.feed(*unique(step))
    for alert in data.draw(st.permutations(alerts)):
        other.feed(alert)
    key = StateKey(RuleName("r"), "@pace")
    assert one.states[key].value == other.states[key].value


@given(steps=arrivals())
def test_asking_again_after_a_commit_that_failed_gives_the_same(steps: list[list[Alert]]) -> None:
    desk = Desk(a_rule("cooldown: {for: 5m, growing_to: 1h}, max_per_hour: 3"))
    for step in steps:
        before, known = dict(desk.states), set(desk.known)
        first = desk.feed(*unique(step))
        desk.states, desk.known = before, known
        assert desk.feed(*unique(step)) == first


# --- surges -------------------------------------------------------------------------------------------


def an_old_rule(pacing: str = "") -> Desk:
    """A rule that found two alerts an hour for two days up to noon."""
    desk = Desk(a_rule(pacing))
    for hours in range(48, 0, -1):
        desk.feed(an_alert(NOON - hours * HOUR), an_alert(NOON - hours * HOUR + MINUTE))
    assert desk.holds == {}
    return desk


def storm(desk: Desk, number: int, *, begin: datetime = NOON, every: timedelta = MINUTE / 2) -> list[Alert]:
    alerts = [an_alert(begin + n * every) for n in range(number)]
    for alert in alerts:
        desk.feed(alert)
    return alerts


def test_a_storm_is_one_warning_and_the_rest_in_sums() -> None:
    desk = an_old_rule()
    alerts = storm(desk, 200)
    sent = [alert for alert in alerts if alert.id not in desk.holds]
    assert sent == alerts[:20]
    assert {desk.holds[alert.id].why for alert in alerts[20:]} == {HoldKind.SURGE}
    (warning,) = desk.warnings
    assert (warning.rule, warning.key) == ("rule-surge", "r")
    assert warning.status is Status.FIRING
    assert warning.severity is Severity.WARNING
    assert warning.title == "The rule r raises far more alerts than usual"
    assert warning.summary.startswith("21 alerts within an hour, where the most that is usual is 2.")
    assert warning.labels == {"team": "day", "surging_rule": "r"}
    assert warning.watched_users == (UserId("bob"),)


def test_the_warning_ends_when_an_hour_has_passed_without_too_many() -> None:
    desk = an_old_rule()
    storm(desk, 60)  # the last at 12:29:30
    assert desk.why(an_alert(at(89))) is HoldKind.SURGE
    assert len(desk.warnings) == 1
    assert desk.why(an_alert(at(90))) is None
    warning, end = desk.warnings
    assert end == replace(
        warning,
        status=Status.RESOLVED,
        event_at=at(90),
        summary="41 alerts were told as sums since 2026-11-22 12:10:00 UTC.",
        resolution="there are no more alerts than usual any longer",
    )


def test_a_rule_that_goes_quiet_is_asked_for() -> None:
    desk = an_old_rule()
    alerts = storm(desk, 60)
    over = alerts[-1].event_at + HOUR
    assert desk.calm(over - MINUTE).alerts == ()
    (end,) = desk.calm(over).alerts
    assert (end.status, end.id) == (Status.RESOLVED, desk.warnings[0].id)
    assert desk.calm(over + HOUR) == Paced()
    assert SURGES not in desk.states


def test_a_second_storm_is_warned_of_anew() -> None:
    desk = an_old_rule()
    storm(desk, 60)
    storm(desk, 60, begin=NOON + 6 * HOUR)
    statuses = [warning.status for warning in desk.warnings]
    assert statuses == [Status.FIRING, Status.RESOLVED, Status.FIRING]
    assert desk.warnings[0].id != desk.warnings[2].id


def test_what_is_usual_may_be_much() -> None:
    desk = Desk(a_rule())
    for hours in range(48, 0, -1):
        storm(desk, 60, begin=NOON - hours * HOUR, every=MINUTE)
    storm(desk, 250, every=MINUTE / 5)
    assert desk.warnings == []
    band = desk.feed(an_alert(at(59))).bands[RuleName("r")]
    assert (band.usual, band.limit) == (60, 300)


def test_a_rule_is_not_judged_by_less_than_a_day() -> None:
    desk = Desk(a_rule())
    desk.feed(an_alert(NOON - 23 * HOUR))
    storm(desk, 100)
    assert desk.holds == {}
    assert desk.feed(an_alert(at(50))).bands[RuleName("r")].limit is None


def test_what_goes_on_for_a_day_becomes_usual() -> None:
    desk = an_old_rule()
    storm(desk, 27 * 30, every=2 * MINUTE)  # thirty an hour
    assert [warning.status for warning in desk.warnings] == [Status.FIRING, Status.RESOLVED]
    assert desk.why(an_alert(NOON + 27 * HOUR)) is None


def test_a_surge_is_told_of_no_rule_that_sends_nothing() -> None:
    for pacing in ("shadow: true", "surge: off", "cooldown: 7d"):
        desk = Desk(a_rule(pacing))
        desk.feed(an_alert(NOON - 30 * HOUR))
        storm(desk, 100)
        assert desk.warnings == []


def test_late_news_of_the_time_before_a_storm_is_sent() -> None:
    desk = an_old_rule()
    storm(desk, 60)
    assert desk.why(an_alert(NOON - 30 * MINUTE)) is None


def test_a_surge_of_a_rule_that_is_gone_or_silent_is_over() -> None:
    for rules, why in [
        (a_rule(name="another"), "the rule was removed"),
        (a_rule("surge: off"), "the rule no longer tells surges"),
        (a_rule("shadow: true"), "the rule no longer tells surges"),
    ]:
        desk = an_old_rule()
        storm(desk, 60)
        desk.rules = rules
        (end,) = desk.calm(NOON).alerts
        assert (end.status, end.resolution) == (Status.RESOLVED, why)


@given(
    gaps=st.lists(st.sampled_from([5, 30, 120, 1200, 4000]), min_size=30, max_size=120),
    calms=st.sets(st.integers(0, 119)),
)
def test_warnings_and_their_ends_take_turns_and_sums_are_only_told_between(
    gaps: list[int], calms: set[int]
) -> None:
    desk = Desk(a_rule())
    desk.feed(an_alert(NOON - 30 * HOUR))
    moment = NOON
    for n, gap in enumerate(gaps):
        moment += timedelta(seconds=gap)
        alert = an_alert(moment)
        desk.feed(alert)
        is_open = len(desk.warnings) % 2 == 1
        assert (alert.id in desk.holds) is is_open
        if n in calms:
            desk.calm(moment)
    statuses = [warning.status for warning in desk.warnings]
    assert statuses == [Status.FIRING, Status.RESOLVED] * (len(statuses) // 2) + [Status.FIRING] * (
        len(statuses) % 2
    )


# --- robustness ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["@pace", "@pace/cooldown/"])
def test_a_state_that_cant_be_read_is_a_fault_and_begins_anew(key: str) -> None:
    desk = Desk(a_rule("cooldown: 10m"))
    desk.feed(an_alert(at(0)))
    broken = StateKey(RuleName("r"), key)
    desk.states[broken] = State(version=7, value=b'{"told": 1, "since": "x"')
    found = desk.feed(an_alert(at(30)))
    assert [(fault.rule, fault.message_id) for fault in found.faults] == [("r", None)]
    assert found.faults[0].error.startswith(f"stored state of {key}: ")
    assert desk.states[broken].version == 8
    assert desk.feed(an_alert(at(60))).faults == ()


def test_a_row_from_the_future_does_not_make_the_present_old() -> None:
    desk = Desk(a_rule("max_per_hour: 1"))
    desk.feed(an_alert(NOON + 1000 * DAY), now=NOON)
    assert desk.why(an_alert(at(1))) is HoldKind.OVERFLOW
    assert desk.feed(an_alert(at(2)), now=at(2)).bands[RuleName("r")].volume >= 2


def test_only_beginnings_are_counted() -> None:
    desk = Desk(a_rule("cooldown: 10m"))
    alert = an_alert(at(0))
    desk.feed(alert)
    end = desk.feed(the_end(alert, at(5)))
    assert (end.states, end.holds) == ((), {})
    update = replace(alert, revision=1, event_at=at(5))
    found = pace(desk.rules, desk.states, [update], now=at(5), known={alert.id})
    assert (found.alerts, found.states, found.holds) == ((update,), (), {})


def test_a_state_stays_small() -> None:
    desk = Desk(a_rule("max_per_hour: 200, cooldown: {for: 1s, growing_to: 2s}"))
    for n in range(0, 9 * 24 * 60, 20):
        desk.feed(an_alert(at(n)), an_alert(at(n + 0.5)))
    assert max(len(state.value) for state in desk.states.values()) < 20_000


# --- how it is written --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pacing", "said"),
    [
        ("cooldown: 0s", "a duration with a unit"),
        ("cooldown: {growing_to: 4h}", '"for" is missing'),
        ("cooldown: {for: 10m, growing_to: 5m}", "it can't grow to what is not longer"),
        ("cooldown: {for: 10m, by: metadata.team}", 'an alert does not keep "metadata.team"'),
        ("cooldown: {for: 10m, by: sendr}", 'did you mean "sender"'),
        ("max_per_hour: 0", "a whole number between 1 and 200"),
        ("max_per_hour: many", "a whole number between 1 and 200"),
        ("surge: sometimes", "one of on, off"),
        ("during: offices", 'there is no calendar "offices" (did you mean "office"?)'),
        ("outside: {severity: info}", '"calendar" is missing'),
        ("outside: {calendar: night}", 'there is no calendar "night"'),
        ("shadow: yes", "true or false"),
    ],
)
def test_a_mistake_is_told(pacing: str, said: str) -> None:
    with pytest.raises(SpecError) as refused:
        a_rule(pacing, calendars=OFFICE)
    assert len(refused.value.problems) == 1
    assert said in str(refused.value)


def test_how_it_is_written_says_nothing_of_what_it_finds() -> None:
    plain, slow = a_rule(), a_rule("cooldown: 10m, shadow: true, max_per_hour: 3")
    assert plain.fingerprints == slow.fingerprints
    assert plain.rules[0].pacing == Pacing()
    assert slow.rules[0].pacing.shadow
