"""What rules would have meant: counted by rule and hour, by what became of each alert."""

from __future__ import annotations

from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from monitor.comparison import compare
from monitor.rehearsal import Rehearsed
from monitor.store.values import EntryState, Fate, Finding, Route
from monitor.tally import Tally, fates, tally, told
from rules.model import Alert, AlertId, RuleName, Severity, Status
from tests.rules.builders import NOON, after

SENT = Route(receiver="ops")
SUMMED = Route(receiver="ops", summed=True, reason="more than 3 alerts in an hour: told in a sum")
SHADOW = Route(receiver="ops", state=EntryState.SUPPRESSED, reason="the rule is in shadow")
SILENCED = Route(receiver="ops", state=EntryState.SUPPRESSED, reason="silenced until noon")
NOWHERE = Route(receiver="", state=EntryState.SUPPRESSED, reason="no route takes labels rule=texts")
FATES = {SUMMED: Fate.SUMMED, SHADOW: Fate.SHADOW, SILENCED: Fate.SILENCED, NOWHERE: Fate.UNROUTED}
DAY = timedelta(days=1)
HOUR_S = 3600


def alert(name: str, at: float = 0, *, rule: str = "texts", **changes: object) -> Alert:
    made = Alert(
        id=AlertId(name),
        rule=RuleName(rule),
        key=name.split("/")[-1],
        status=Status.FIRING,
        severity=Severity.WARNING,
        title=f"Alert {name}",
        summary="",
        conversation_id="ann_user_bob",
        event_at=after(at),
        first_seen_at=after(at),
    )
    return replace(made, **changes)


def firing(name: str, at: float = 0, *routes: Route, **changes: object) -> Finding:
    routes = routes or (SENT,)
    fate = FATES.get(routes[0], Fate.SENT)
    return Finding(alert=alert(name, at, **changes), routes=routes, fate=fate)  # type: ignore[arg-type] # by name


def resolved(name: str, at: float) -> Finding:
    ended = alert(name, at, status=Status.RESOLVED, resolution="answered after 5 min")
    return Finding(alert=ended, routes=(SENT,))


def tallied(
    *findings: Finding, days: float = 2, zone: str = "UTC", names: tuple[str, ...] = ("texts",)
) -> Tally:
    return tally(
        Rehearsed(messages=7, findings=findings, holds={AlertId("held"): "shadow"}),
        [RuleName(name) for name in names],
        since=NOON,
        until=NOON + days * DAY,
        zone=ZoneInfo(zone),
    )


def test_an_alert_is_one_from_its_beginning_to_its_end() -> None:
    update = firing("a", 60, revision=1, title="Alert a, twice as many")
    (one,) = told([firing("a"), update, resolved("a", 300)])
    assert (one.alert.title, one.alert.revision) == ("Alert a, twice as many", 1)
    assert (one.resolved_at, one.resolution) == (after(300), "answered after 5 min")
    assert (one.fate, one.receivers) == (Fate.SENT, ("ops",))


def test_pages_are_what_is_sent_by_itself() -> None:
    found = tallied(
        firing("a", 0), firing("b", 60, SUMMED), firing("held", 90, SHADOW), firing("d", 99, NOWHERE)
    )
    (rule,) = found.rules
    assert (rule.alerts, rule.pages, rule.pages_per_day) == (4, 1, 0.5)
    assert rule.fates == {"no route": 1, "shadow": 1, "summed": 1}
    assert (found.alerts, found.pages, found.days) == (4, 1, 2.0)


def test_most_first_among_those_not_sent() -> None:
    ones = told(
        [firing("a", 0, NOWHERE), firing("b", 1, SHADOW), firing("c", 2, SILENCED)], {AlertId("b"): "shadow"}
    )
    assert list(fates(ones)) == ["no route", "shadow", "silenced"]


def test_the_busiest_hour_is_the_first_of_the_fullest() -> None:
    found = tallied(*[firing(f"{n}", n * HOUR_S / 2) for n in range(8)])
    assert found.busiest is not None
    assert (found.busiest.at, found.busiest.count) == (NOON, 2)
    assert [hour.count for hour in found.hours] == [2, 2, 2, 2]


def test_hours_are_those_of_the_zone_and_of_alerts_if_nothing_is_sent() -> None:
    found = tallied(firing("held", 0, SHADOW), zone="Asia/Kolkata")
    (hour,) = found.hours
    assert f"{hour.at:%H:%M %z}" == "17:00 +0530"  # noon in UTC is half past five
    found = tallied(firing("held", 0, SHADOW), firing("b", HOUR_S))
    assert [hour.at.astimezone(UTC) for hour in found.hours] == [after(HOUR_S)]


def test_a_rule_that_found_nothing_is_told_and_one_of_ours_that_did_too() -> None:
    found = tallied(firing("a", 0, rule="rule-surge"), names=("quiet",))
    assert [(rule.rule, rule.alerts, rule.severity) for rule in found.rules] == [
        ("quiet", 0, "-"),
        ("rule-surge", 1, "warning"),
    ]


def test_examples_are_the_first_one_between_and_the_last() -> None:
    (rule,) = tallied(*[firing(f"{n}", n) for n in range(9)]).rules
    assert [one.alert.id for one in rule.examples] == ["0", "4", "8"]


def test_a_moment_is_no_ground_for_an_average() -> None:
    assert tallied(firing("a"), days=0).pages_per_day == 24.0


# --- comparison ---------------------------------------------------------------------------------------


def test_alerts_are_matched_by_id() -> None:
    old = tallied(firing("a"), firing("b"), firing("c"))
    new = tallied(firing("b"), firing("c", severity=Severity.CRITICAL), firing("d"))
    compared = compare(old, new)
    (rule,) = compared.rules
    assert [one.alert.id for one in rule.added] == ["d"]
    assert [one.alert.id for one in rule.removed] == ["a"]
    assert [(one.new.alert.id, one.differs) for one in rule.changed] == [("c", ("severity",))]
    assert (compared.added, compared.removed, compared.changed) == (1, 1, 1)


@pytest.mark.parametrize(
    ("other", "differs"),
    [
        (firing("a", title="Other"), ("title",)),
        (firing("a", labels={"team": "x"}), ("labels",)),
        (firing("a", 5), ("event at",)),
        (firing("a", 0, SHADOW), ("fate", "receivers")),
        (firing("a", 0, Route(receiver="else")), ("receivers",)),
    ],
)
def test_in_what_an_alert_differs(other: Finding, differs: tuple[str, ...]) -> None:
    (rule,) = compare(tallied(firing("a")), tallied(other)).rules
    assert [one.differs for one in rule.changed] == [differs]


def test_another_end_is_a_difference() -> None:
    (rule,) = compare(tallied(firing("a")), tallied(firing("a"), resolved("a", 9))).rules
    assert [one.differs for one in rule.changed] == [("end",)]


def test_a_rename_is_seen_only_where_the_very_same_is_found() -> None:
    old = tallied(firing("old/1"), firing("old/2", 5), names=("texts",))
    same = tallied(firing("new/1", rule="words"), firing("new/2", 5, rule="words"), names=("words",))
    other = tallied(firing("new/1", rule="words"), firing("new/2", 6, rule="words"), names=("words",))
    assert compare(old, same).renamed == {"texts": "words"}
    assert compare(old, other).renamed == {}
