"""Who is told: routes in order, within each other, in their hours, and groups."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from monitor.delivery.policy import Lane, RouteSpec, explained, lanes, route
from monitor.store.values import Grouping, Matcher, Operator, Step, Timing
from rules.model import Alert, AlertId, UserId, Value
from tests.delivery.samples import NOW, an_alert

ANN, BEN = UserId("ann"), UserId("ben")
WATCH = {ANN: {"team": "payments"}, BEN: {"team": "trips", "region": "eu"}}
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def about(*users: UserId, **changes: Any) -> Alert:
    return an_alert(watched_users=users, labels={}, **changes)


PAYMENTS = RouteSpec(match={"team": ("payments",)}, receivers=("pay",))
TRIPS = RouteSpec(match={"team": ("trips",)}, receivers=("trips",))
REST = RouteSpec(receivers=("ops",))


@pytest.mark.parametrize(
    ("alert", "routes", "receivers"),
    [
        (about(ANN), [PAYMENTS, TRIPS, REST], ("pay",)),
        (about(BEN), [PAYMENTS, TRIPS, REST], ("trips",)),
        (about(ANN, BEN), [PAYMENTS, TRIPS, REST], ("pay", "trips")),
        (about(UserId("gone")), [PAYMENTS, TRIPS, REST], ("ops",)),
        (about(), [REST], ("ops",)),
        (about(ANN), [], ()),
        (about(ANN), [TRIPS], ()),
        (about(ANN), [RouteSpec(match={"team": ("x", "payments")}, receivers=("a",))], ("a",)),
        (about(ANN), [RouteSpec(match={"rule": ("missed-call",)}, receivers=("a",))], ("a",)),
        (about(ANN), [RouteSpec(match={"severity": ("critical",)}, receivers=("a",)), REST], ("ops",)),
        (about(ANN), [RouteSpec(match={"region": ("",)}, receivers=("a",)), REST], ("a",)),
        (about(BEN), [RouteSpec(match={"region": ("",)}, receivers=("a",)), REST], ("ops",)),
        (about(ANN), [RouteSpec(receivers=("all",), continue_=True), PAYMENTS, REST], ("all", "pay")),
        (about(ANN), [RouteSpec(receivers=("ops",), continue_=True), REST], ("ops",)),
        (about(ANN), [RouteSpec(match={"team": ("payments",), "region": ("eu",)}, receivers=("a",))], ()),
    ],
)
def test_the_first_route_that_takes_the_labels_wins(
    alert: Alert, routes: list[RouteSpec], receivers: tuple[str, ...]
) -> None:
    assert route(alert, routes, WATCH) == receivers


def test_a_watched_user_cannot_pose_as_a_rule_or_severity() -> None:
    watch = {ANN: {"severity": "critical", "rule": "other"}}
    routes = [RouteSpec(match={"severity": ("critical",)}, receivers=("pager",)), REST]
    assert route(about(ANN), routes, watch) == ("ops",)


# --- routes within routes -----------------------------------------------------------------------------


class Hours(Value, frozen=True):
    """Open until an hour of the day."""

    name: str
    until: int

    def is_open(self, at: datetime, /) -> bool:
        return at.hour < self.until


MORNING, DAWN = Hours("morning", 12), Hours("dawn", 6)
TEAM = RouteSpec(
    receivers=("all",),
    routes=(
        RouteSpec(match={"team": ("payments",)}, receivers=("pay",)),
        RouteSpec(match={"team": ("trips",)}, receivers=("trips",), continue_=True),
        RouteSpec(match={"region": ("eu",)}, receivers=("eu",)),
    ),
)


def like(label: str, value: str, operator: Operator = Operator.LIKE) -> Matcher:
    return Matcher(label=label, operator=operator, value=value)


@pytest.mark.parametrize(
    ("alert", "routes", "receivers"),
    [
        (about(ANN), [TEAM, REST], ("pay",)),
        (about(BEN), [TEAM, REST], ("trips", "eu")),
        (about(), [TEAM, REST], ("all",)),
        (about(BEN), [RouteSpec(routes=(TEAM,), continue_=True), REST], ("trips", "eu", "ops")),
        # What a route within another does not say is as the outer one has it.
        (
            about(ANN),
            [RouteSpec(receivers=("a",), routes=(RouteSpec(match={"team": ("payments",)}),))],
            ("a",),
        ),
        (about(ANN), [RouteSpec(match={"team": ("payments",)}), REST], ()),
        (about(ANN), [RouteSpec(matchers=(like("team", "pay.*|x"),), receivers=("a",)), REST], ("a",)),
        (about(ANN), [RouteSpec(matchers=(like("team", "pay"),), receivers=("a",)), REST], ("ops",)),
        (
            about(ANN),
            [RouteSpec(matchers=(like("region", "eu", Operator.IS_NOT),), receivers=("a",))],
            ("a",),
        ),
        (
            about(ANN),
            [
                RouteSpec(
                    match={"team": ("payments",)}, matchers=(like("severity", "critical"),), receivers=("a",)
                ),
                REST,
            ],
            ("ops",),
        ),
        (about(ANN), [RouteSpec(during=MORNING, receivers=("a",)), REST], ("a",)),
        (about(ANN), [RouteSpec(during=DAWN, receivers=("a",)), REST], ("ops",)),
        (about(ANN), [RouteSpec(except_=DAWN, receivers=("a",)), REST], ("a",)),
        (about(ANN), [RouteSpec(except_=MORNING, receivers=("a",)), REST], ("ops",)),
        (about(ANN), [RouteSpec(during=MORNING, except_=MORNING, receivers=("a",)), REST], ("ops",)),
    ],
)
def test_routes_within_a_route_are_asked_first(
    alert: Alert, routes: list[RouteSpec], receivers: tuple[str, ...]
) -> None:
    assert route(alert, routes, WATCH, NOW) == receivers


def test_whoever_asks_for_no_time_is_told_of_every_hour() -> None:
    routes = [RouteSpec(during=DAWN, except_=MORNING, receivers=("a",)), REST]
    assert route(about(ANN), routes, WATCH) == ("a",)


# --- lanes --------------------------------------------------------------------------------------------

EVERY = Timing(wait=MINUTE, interval=5 * MINUTE, repeat=HOUR)


def lane_of(alert: Alert, *routes: RouteSpec) -> Lane:
    (only,) = lanes(alert, routes, WATCH, now=NOW)
    return only


def grouped(alert: Alert, *routes: RouteSpec) -> Grouping:
    grouping = lane_of(alert, *routes).grouping
    assert grouping is not None
    return grouping


def test_a_group_is_named_by_its_route_and_its_labels_in_order() -> None:
    spec = RouteSpec(receivers=("ops",), group_by=("team", "rule", "region"), timing=EVERY)
    found = grouped(about(ANN), TRIPS, RouteSpec(routes=(spec,)))
    assert found.group.key == '2.1/{region="", rule="missed-call", team="payments"}'
    assert found.group.labels == {"region": "", "rule": "missed-call", "team": "payments"}
    assert found.timing == EVERY


def test_no_value_of_a_label_can_pass_for_another_group() -> None:
    spec = RouteSpec(receivers=("ops",), group_by=("a", "b"))
    one = an_alert(watched_users=(), labels={"a": 'x", b="y', "b": ""})
    other = an_alert(watched_users=(), labels={"a": "x", "b": "y"})
    assert grouped(one, spec).group.key != grouped(other, spec).group.key


def test_groups_have_alertmanagers_timing_unless_a_route_says_otherwise() -> None:
    found = grouped(about(ANN), RouteSpec(receivers=("ops",), group_by=("team",)))
    assert found.timing == Timing(wait=MINUTE / 2, interval=5 * MINUTE, repeat=4 * HOUR)


def test_what_a_route_does_not_say_is_as_the_outer_one_has_it() -> None:
    step = Step(after=HOUR, receivers=("lead",))
    within = RouteSpec(receivers=("ops",), match={"team": ("payments",)})
    outer = RouteSpec(group_by=("team",), timing=EVERY, steps=(step,), routes=(within,))
    found = lane_of(about(ANN), outer)
    assert (found.path, found.receiver, found.steps) == ("1.1", "ops", (step,))
    assert found.why == "route 1.1 takes team payments"
    assert found.grouping is not None
    assert found.grouping.timing == EVERY


@pytest.mark.parametrize("group_by", [None, (), ("...",)])
def test_an_alert_that_lasts_and_is_in_no_group_is_repeated_by_itself(
    group_by: tuple[str, ...] | None,
) -> None:
    spec = RouteSpec(receivers=("ops",), group_by=group_by, timing=EVERY)
    found = grouped(about(ANN, id=AlertId("b" * 32), lasts=True), spec)
    assert found.group.key == "1/" + "b" * 32
    assert found.group.labels == {}
    assert found.timing == Timing(repeat=HOUR)
    assert lane_of(about(ANN), spec).grouping is None
    assert lane_of(about(ANN, lasts=True), REST).grouping is None


def test_a_route_within_another_can_undo_its_groups() -> None:
    outer = RouteSpec(receivers=("ops",), group_by=("team",), routes=(RouteSpec(group_by=()),))
    assert lane_of(about(ANN), outer).grouping is None


def test_each_receiver_has_one_lane_the_first() -> None:
    by_team = RouteSpec(receivers=("ops",), group_by=("team",), continue_=True)
    found = lanes(about(ANN, BEN), [by_team, REST], WATCH, now=NOW)
    assert [(lane.receiver, lane.path) for lane in found] == [("ops", "1")]
    assert found[0].grouping is not None
    assert found[0].grouping.group.labels == {"team": "payments"}


# --- why ----------------------------------------------------------------------------------------------


def test_every_route_is_explained() -> None:
    labels = {"team": "trips", "region": "eu", "severity": "warning"}
    routes = [
        RouteSpec(match={"team": ("payments", "sales")}, receivers=("pay",), routes=(REST,)),
        RouteSpec(matchers=(like("region", "us|ca"),), receivers=("us",)),
        RouteSpec(during=DAWN, receivers=("early",)),
        RouteSpec(except_=MORNING, receivers=("noon",)),
        RouteSpec(receivers=("log",), continue_=True),
        TEAM,
        REST,
    ]
    found = explained(labels, routes, now=NOW)
    assert [tried.words for tried in found] == [
        "route 1 does not take it: it wants team payments or sales",
        "route 1.1 is not asked: route 1 does not take it",
        'route 2 does not take it: it wants region=~"us|ca"',
        "route 3 does not take it now: only during dawn",
        "route 4 does not take it now: not during morning",
        "route 5 takes it: to log, and the next routes are asked too",
        "route 6 takes it: the routes within it say to whom",
        "route 6.1 does not take it: it wants team payments",
        "route 6.2 takes it: to trips, and the next routes are asked too",
        "route 6.3 takes it: to eu",
        "route 7 is not asked: route 6 took it",
    ]
    assert [tried.path for tried in found if tried.matched] == ["5", "6", "6.2", "6.3"]


def test_what_is_taken_and_told_to_nobody_is_explained() -> None:
    (only,) = explained({}, [RouteSpec()], now=None)
    assert (only.matched, only.words) == (True, "route 1 takes it and tells nobody: it has no receivers")
