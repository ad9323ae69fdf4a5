"""Who is told what, and how much at once: routes, mutes, old news and bundles."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from monitor.delivery.policy import MAX_BATCH_BYTES, RouteSpec, bundle, decide, route
from monitor.metrics import FATES
from monitor.store.values import Bundle, EntryState, Fate, Finding, Kind, Mute, Waiting
from rules.model import Alert, RuleName, Severity, Status, UserId
from rules.pace import Hold, HoldKind
from tests.delivery.samples import NOW, RANG_AT, an_alert, an_entry

ANN, BEN = UserId("ann"), UserId("ben")
WATCH = {ANN: {"team": "payments"}, BEN: {"team": "trips", "region": "eu"}}
HOUR = timedelta(hours=1)


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


def decided(alert: Alert, *mutes: Mute, routes: tuple[RouteSpec, ...] = (REST,)) -> Finding:
    (finding,) = decide([alert], routes=routes, watch=WATCH, mutes=mutes, now=NOW, max_age=HOUR)
    return finding


def a_mute(**changes: Any) -> Mute:
    facts = {
        "id": 3,
        "rule": RuleName("missed-call"),
        "until": NOW + HOUR,
        "reason": "deploy",
        "created_at": RANG_AT,
    }
    return Mute(**{**facts, **changes})


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
    ("alert", "mute", "state"),
    [
        (about(ANN), a_mute(), EntryState.SUPPRESSED),
        (about(ANN), a_mute(until=NOW), EntryState.PENDING),
        (about(ANN), a_mute(rule=RuleName("mention")), EntryState.PENDING),
        # Told as firing before the mute began: its end is told. Found while muted: nor is its end.
        (about(ANN, status=Status.RESOLVED, first_seen_at=BEFORE), a_mute(), EntryState.PENDING),
        (about(ANN, status=Status.RESOLVED, first_seen_at=AFTER), a_mute(), EntryState.SUPPRESSED),
    ],
)
def test_a_mute_silences_what_was_found_while_it_lasts(alert: Alert, mute: Mute, state: EntryState) -> None:
    (only,) = decided(alert, mute).routes
    assert only.state == state
    assert (only.reason is None) == (state is EntryState.PENDING)


def test_the_reason_of_a_muted_alert_names_the_mute() -> None:
    (only,) = decided(about(ANN), a_mute()).routes
    assert only.reason == "muted until 2026-11-22 09:02:00 UTC by mute 3: deploy"


# --- what is held -----------------------------------------------------------------------------------

SILENT = {HoldKind.SHADOW: Fate.SHADOW, HoldKind.CALENDAR: Fate.CALENDAR, HoldKind.COOLDOWN: Fate.COOLDOWN}


def held(alert: Alert, why: HoldKind, *mutes: Mute, routes: tuple[RouteSpec, ...] = (REST,)) -> Finding:
    holds = {alert.id: Hold(why=why, reason=f"because of {why}")}
    (finding,) = decide([alert], routes=routes, watch=WATCH, mutes=mutes, now=NOW, max_age=HOUR, holds=holds)
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


def test_a_mute_silences_sums_too_and_old_news_is_a_digest_anyway() -> None:
    muted = held(about(ANN), HoldKind.SURGE, a_mute())
    assert (muted.fate, muted.routes[0].state) == (Fate.MUTED, EntryState.SUPPRESSED)
    late = held(about(ANN, event_at=NOW - 2 * HOUR), HoldKind.SURGE)
    assert (late.fate, late.routes[0].summed, late.routes[0].late) == (Fate.LATE, False, True)


def test_an_end_is_not_held() -> None:
    end = held(about(ANN, status=Status.RESOLVED, resolution="it is over"), HoldKind.SHADOW)
    assert (end.fate, end.routes[0].state) == (Fate.SENT, EntryState.PENDING)


def test_the_fate_of_an_alert_without_a_route_is_that() -> None:
    assert held(about(ANN), HoldKind.SHADOW, routes=()).fate is Fate.UNROUTED


def test_every_fate_is_a_word_of_the_metric() -> None:
    assert set(FATES) == set(Fate)


# --- what goes into one message ---------------------------------------------------------------------


def for_people(*entries: Waiting, summary_over: int = 3) -> Bundle | None:
    gather = timedelta(seconds=30)
    return bundle(entries, people=True, summary_over=summary_over, now=NOW, gather=gather)


def for_machine(*entries: Waiting, batch: int = 100) -> Bundle | None:
    return bundle(entries, people=False, summary_over=3, now=NOW, batch=batch)


def numbers(made: Bundle | None) -> tuple[Kind, tuple[int, ...]]:
    assert made is not None
    return made.kind, made.entries


def test_people_get_one_message_an_alert_while_few_wait() -> None:
    assert numbers(for_people(an_entry(1), an_entry(2), an_entry(3))) == (Kind.ALERTS, (1,))


def test_people_get_one_summary_of_all_when_more_wait_than_they_can_read() -> None:
    assert numbers(for_people(*(an_entry(n) for n in range(1, 5)))) == (Kind.SUMMARY, (1, 2, 3, 4))


def test_old_news_waits_to_be_gathered_and_then_goes_as_one_digest_before_the_rest() -> None:
    young, old = an_entry(1, late=True, waits_s=29), an_entry(1, late=True, waits_s=30)
    assert for_people(young) is None
    assert numbers(for_people(young, an_entry(2))) == (Kind.ALERTS, (2,))
    assert numbers(for_people(old, an_entry(2), an_entry(3, late=True))) == (Kind.DIGEST, (1, 3))


def test_old_news_does_not_count_towards_a_summary() -> None:
    waiting = [an_entry(n, late=True) for n in range(1, 9)]
    assert numbers(for_people(*waiting, an_entry(9))) == (Kind.ALERTS, (9,))


def test_what_is_summed_waits_to_be_gathered_and_then_goes_as_one_sum() -> None:
    def summed(number: int, waits_s: float = 0) -> Waiting:
        return replace(an_entry(number, waits_s=waits_s), summed=True)

    storm = [summed(n) for n in range(2, 40)]
    assert for_people(summed(1, waits_s=299), *storm) is None
    assert numbers(for_people(summed(1, waits_s=299), an_entry(40))) == (Kind.ALERTS, (40,))
    assert numbers(for_people(summed(1, waits_s=300), *storm, an_entry(40))) == (
        Kind.SUMMARY,
        tuple(range(1, 40)),
    )


def test_a_machine_gets_what_is_summed_in_batches_as_ever() -> None:
    entries = [an_entry(1), replace(an_entry(2), summed=True), an_entry(3)]
    assert numbers(for_machine(*entries)) == (Kind.ALERTS, (1, 2, 3))


def test_a_summary_is_firing_when_anything_in_it_is() -> None:
    over = [an_entry(n, status=Status.RESOLVED) for n in range(1, 5)]
    assert (made := for_people(*over)) is not None
    assert made.status is Status.RESOLVED
    assert (made := for_people(*over, an_entry(5))) is not None
    assert made.status is Status.FIRING


def test_a_machine_gets_every_alert_in_batches_of_one_status_and_lateness() -> None:
    entries = [
        an_entry(1),
        an_entry(2, status=Status.RESOLVED),
        an_entry(3, late=True),
        an_entry(4),
        an_entry(5, late=True),
    ]
    assert numbers(for_machine(*entries)) == (Kind.ALERTS, (1, 4))
    assert numbers(for_machine(*entries[1:])) == (Kind.ALERTS, (2,))
    assert numbers(for_machine(*entries[2:])) == (Kind.DIGEST, (3, 5))


def test_a_batch_keeps_to_its_number_and_size_and_holds_at_least_one() -> None:
    assert numbers(for_machine(*(an_entry(n) for n in range(1, 9)), batch=4))[1] == (1, 2, 3, 4)
    third = "x" * (MAX_BATCH_BYTES // 3)
    assert numbers(for_machine(*(an_entry(n, summary=third) for n in range(1, 9))))[1] == (1, 2)
    huge = "x" * (2 * MAX_BATCH_BYTES)
    assert numbers(for_machine(an_entry(1, summary=huge), an_entry(2)))[1] == (1,)


def test_nothing_waits_nothing_is_sent() -> None:
    assert for_people() is None
    assert for_machine() is None


def test_severity_does_not_reorder_the_outbox() -> None:
    entries = (an_entry(1, severity=Severity.INFO), an_entry(2, severity=Severity.CRITICAL))
    assert numbers(for_people(*entries)) == (Kind.ALERTS, (1,))
