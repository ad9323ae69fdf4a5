"""What becomes of an alert: sent, held by a silence, late, summed, escalated; each for a recorded reason."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from monitor.delivery.policy import RouteSpec, decide, silenced_by, silenced_rules
from monitor.metrics import FATES
from monitor.store.values import EntryState, Fate, Finding, Matcher, Operator, Silence, Step
from rules.model import Alert, Status, UserId
from rules.pace import Hold, HoldKind
from tests.delivery.samples import NOW, RANG_AT, an_alert

ANN, BEN = UserId("ann"), UserId("ben")
WATCH = {ANN: {"team": "payments"}, BEN: {"team": "trips", "region": "eu"}}
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
PAYMENTS = RouteSpec(match={"team": ("payments",)}, receivers=("pay",))
TRIPS = RouteSpec(match={"team": ("trips",)}, receivers=("trips",))
REST = RouteSpec(receivers=("ops",))


def about(*users: UserId, **changes: Any) -> Alert:
    return an_alert(watched_users=users, labels={}, **changes)


def decided(alert: Alert, *silences: Silence, routes: tuple[RouteSpec, ...] = (REST,)) -> Finding:
    (finding,) = decide([alert], routes=routes, watch=WATCH, silences=silences, now=NOW, max_age=HOUR)
    return finding


def a_silence(*matchers: Matcher, **changes: Any) -> Silence:
    """Of the sample's rule, if of nothing else."""
    facts = {
        "id": 3,
        "matchers": matchers or (RULE,),
        "starts_at": RANG_AT,
        "ends_at": NOW + HOUR,
        "author": "ann",
        "comment": "deploy",
        "created_at": RANG_AT,
    }
    return Silence(**{**facts, **changes})


RULE, MENTION = Matcher(label="rule", value="missed-call"), Matcher(label="rule", value="mention")
OF_PAYMENTS, OF_TRIPS = Matcher(label="team", value="payments"), Matcher(label="team", value="trips")


def test_an_alert_goes_to_every_receiver_of_its_route() -> None:
    finding = decided(about(ANN), routes=(RouteSpec(receivers=("a", "b")),))
    assert [(r.receiver, r.state, r.late) for r in finding.routes] == [
        ("a", EntryState.PENDING, False),
        ("b", EntryState.PENDING, False),
    ]


def test_an_alert_without_a_route_is_recorded_with_its_labels_and_the_remedy() -> None:
    (only,) = decided(about(ANN), routes=(TRIPS,)).routes
    assert (only.receiver, only.state) == ("", EntryState.SUPPRESSED)
    assert only.reason == (
        "no route takes labels rule=missed-call, severity=warning, team=payments; "
        "end `routes` with a catch-all such as {receivers: [ops]}"
    )


@pytest.mark.parametrize(("age", "late"), [(HOUR, False), (HOUR + timedelta(seconds=1), True)])
def test_what_is_older_than_max_age_when_found_is_old_news(age: timedelta, late: bool) -> None:
    (only,) = decided(about(ANN, event_at=NOW - age)).routes
    assert only.late is late


BEFORE, AFTER = RANG_AT - timedelta(seconds=1), RANG_AT + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("alert", "silence", "state"),
    [
        (about(ANN), a_silence(), EntryState.SUPPRESSED),
        (about(ANN), a_silence(ends_at=NOW), EntryState.PENDING),
        (about(ANN), a_silence(starts_at=NOW), EntryState.SUPPRESSED),
        (about(ANN), a_silence(starts_at=NOW + MINUTE), EntryState.PENDING),
        (about(ANN), a_silence(MENTION), EntryState.PENDING),
        (about(ANN), a_silence(RULE, OF_PAYMENTS), EntryState.SUPPRESSED),
        (about(ANN), a_silence(RULE, OF_TRIPS), EntryState.PENDING),
        # Told as firing before the silence began: its end is told. Found while silent: nor is its end.
        (about(ANN, status=Status.RESOLVED, first_seen_at=BEFORE), a_silence(), EntryState.PENDING),
        (about(ANN, status=Status.RESOLVED, first_seen_at=AFTER), a_silence(), EntryState.SUPPRESSED),
    ],
)
def test_a_silence_holds_what_was_found_while_it_lasts(
    alert: Alert, silence: Silence, state: EntryState
) -> None:
    (only,) = decided(alert, silence).routes
    assert only.state == state
    assert (only.reason is None) == (only.silence is None) == (state is EntryState.PENDING)


def test_the_reason_of_a_silenced_alert_names_the_silence() -> None:
    finding = decided(about(ANN), a_silence(MENTION, id=2), a_silence())
    assert finding.fate is Fate.SILENCED
    (only,) = finding.routes
    assert only.silence == 3
    assert only.reason == "silenced until 2026-11-22 09:02:00 UTC by silence 3 by ann: deploy"
    (nameless,) = decided(about(ANN), a_silence(author="")).routes
    assert nameless.reason == "silenced until 2026-11-22 09:02:00 UTC by silence 3: deploy"


def test_a_receiver_is_held_only_if_all_that_leads_to_it_is_silenced() -> None:
    both, payments = about(ANN, BEN), a_silence(OF_PAYMENTS)
    apart = decided(both, payments, routes=(PAYMENTS, TRIPS))
    assert [(r.receiver, r.state, r.silence) for r in apart.routes] == [
        ("pay", EntryState.SUPPRESSED, 3),
        ("trips", EntryState.PENDING, None),
    ]
    assert apart.fate is Fate.SENT
    (shared,) = decided(both, payments).routes
    assert shared.state is EntryState.PENDING
    assert silenced_by(both, [payments], WATCH, NOW) is None
    (held,) = decided(both, payments, a_silence(OF_TRIPS, id=4)).routes
    assert (held.state, held.silence) == (EntryState.SUPPRESSED, 3)
    assert silenced_by(both, [a_silence(OF_TRIPS), payments], WATCH, NOW) == payments


def test_a_receiver_hears_in_the_group_of_the_way_that_is_free() -> None:
    teams = (RouteSpec(receivers=("ops",), group_by=("team",)),)
    (only,) = decided(about(ANN, BEN), a_silence(OF_PAYMENTS), routes=teams).routes
    assert only.grouping is not None
    assert only.grouping.group.labels == {"team": "trips"}


def test_rules_are_silent_whole_only_by_a_silence_of_nothing_but_their_name() -> None:
    like = Matcher(label="rule", operator=Operator.LIKE, value="missed-.*")
    silences = [
        a_silence(),
        a_silence(MENTION, OF_TRIPS),
        a_silence(like),
        a_silence(OF_TRIPS),
        a_silence(Matcher(label="rule", value="over"), ends_at=NOW),
    ]
    assert silenced_rules(silences, NOW) == {"missed-call"}


# --- groups and steps ---------------------------------------------------------------------------------

SOON, LATER = Step(after=15 * MINUTE, receivers=("lead",)), Step(after=HOUR, receivers=("boss",))
STEEP = RouteSpec(receivers=("ops",), group_by=("team",), steps=(LATER, SOON))


def test_what_is_told_in_time_is_told_in_its_group_and_escalates_soonest_first() -> None:
    finding = decided(about(ANN), routes=(STEEP,))
    assert finding.steps == (SOON, LATER)
    assert finding.routes[0].grouping is not None


def test_the_same_step_of_two_ways_is_taken_once() -> None:
    pay = RouteSpec(receivers=("pay",), steps=(SOON,), continue_=True)
    assert decided(about(ANN, BEN), routes=(pay, STEEP)).steps == (SOON, LATER)


@pytest.mark.parametrize(
    ("finding", "grouped"),
    [
        (decided(about(ANN, event_at=NOW - 2 * HOUR), routes=(STEEP,)), False),
        (decided(about(ANN), a_silence(), routes=(STEEP,)), True),  # for when the silence ends
        (decided(about(ANN, status=Status.RESOLVED), routes=(STEEP,)), True),
    ],
)
def test_old_news_what_is_silenced_and_ends_do_not_escalate(finding: Finding, grouped: bool) -> None:
    assert finding.steps == ()
    assert (finding.routes[0].grouping is not None) is grouped


@pytest.mark.parametrize("why", HoldKind)
def test_what_is_held_or_summed_is_neither_grouped_nor_escalated(why: HoldKind) -> None:
    finding = held(about(ANN), why, routes=(STEEP,))
    assert (finding.routes[0].grouping, finding.steps) == (None, ())


def test_a_route_without_receivers_swallows_and_says_so() -> None:
    quiet = RouteSpec(match={"team": ("payments",)})
    finding = decided(about(ANN), routes=(quiet, REST))
    assert finding.fate is Fate.UNROUTED
    (only,) = finding.routes
    assert (only.receiver, only.state) == ("", EntryState.SUPPRESSED)
    assert only.reason == "route 1 takes it and tells nobody: it has no receivers"
    assert [r.receiver for r in decided(about(ANN, BEN), routes=(quiet, REST)).routes] == ["ops"]


# --- what is held -----------------------------------------------------------------------------------

SILENT = {HoldKind.SHADOW: Fate.SHADOW, HoldKind.CALENDAR: Fate.CALENDAR, HoldKind.COOLDOWN: Fate.COOLDOWN}


def held(alert: Alert, why: HoldKind, *silences: Silence, routes: tuple[RouteSpec, ...] = (REST,)) -> Finding:
    holds = {alert.id: Hold(why=why, reason=f"because of {why}")}
    (finding,) = decide(
        [alert], routes=routes, watch=WATCH, silences=silences, now=NOW, max_age=HOUR, holds=holds
    )
    return finding


@pytest.mark.parametrize(("why", "fate"), SILENT.items())
def test_what_is_held_is_recorded_for_every_receiver_and_not_sent(why: HoldKind, fate: Fate) -> None:
    finding = held(about(ANN), why, routes=(RouteSpec(receivers=("a", "b")),))
    assert finding.fate is fate
    assert [(r.receiver, r.state, r.reason, r.summed) for r in finding.routes] == [
        ("a", EntryState.SUPPRESSED, f"because of {why}", False),
        ("b", EntryState.SUPPRESSED, f"because of {why}", False),
    ]


@pytest.mark.parametrize("why", sorted(set(HoldKind) - set(SILENT)))
def test_what_is_too_much_goes_into_a_sum(why: HoldKind) -> None:
    finding = held(about(ANN), why)
    (only,) = finding.routes
    assert finding.fate is Fate.SUMMED
    assert (only.state, only.reason, only.summed) == (EntryState.PENDING, f"because of {why}", True)


def test_a_silence_holds_sums_too_and_old_news_is_a_digest_anyway() -> None:
    silent = held(about(ANN), HoldKind.SURGE, a_silence())
    assert (silent.fate, silent.routes[0].state) == (Fate.SILENCED, EntryState.SUPPRESSED)
    late = held(about(ANN, event_at=NOW - 2 * HOUR), HoldKind.SURGE)
    assert (late.fate, late.routes[0].summed, late.routes[0].late) == (Fate.LATE, False, True)


def test_an_end_is_not_held() -> None:
    end = held(about(ANN, status=Status.RESOLVED, resolution="it is over"), HoldKind.SHADOW)
    assert (end.fate, end.routes[0].state) == (Fate.SENT, EntryState.PENDING)


def test_the_fate_of_an_alert_without_a_route_is_that() -> None:
    assert held(about(ANN), HoldKind.SHADOW, routes=()).fate is Fate.UNROUTED


def test_every_fate_is_a_word_of_the_metric() -> None:
    assert set(FATES) == set(Fate)
