"""What is remembered of a delivery, and when it is told again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

import pytest
from msgspec.structs import replace

from monitor.delivery.policy import STANDS_FOR, shows
from monitor.delivery.sinks.base import Traits
from monitor.store.values import Ack, Change, Group, Kind, Notification, Opened, Shown, Timing
from rules.model import Alert, AlertId, Labels, Status
from tests.delivery.samples import NOW, an_alert
from tests.delivery.samples import a_notification as a_note

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
SLACK = Traits(people=True, follows=True)
HOOK = Traits(people=False)
ALERTMANAGER = Traits(people=False, reasserts=MINUTE)
EVERY = Timing(wait=30 * SECOND, interval=5 * MINUTE, repeat=HOUR)

NO_RECEIPTS: Mapping[str, str] = MappingProxyType({})

EVENT = an_alert(id=AlertId("e" * 32))
LASTS = an_alert(id=AlertId("f" * 32), lasts=True, first_seen_at=NOW, event_at=NOW)
OVER = replace(LASTS, status=Status.RESOLVED, resolution="answered")


def opened(labels: Labels | None = None, timing: Timing = EVERY, **changes: datetime) -> Opened:
    made = Opened(
        receiver="oncall",
        group=Group(key="1/x", labels={"team": "payments"} if labels is None else labels),
        timing=timing,
        subject="s1",
        anchor_at=NOW - 7 * MINUTE,
    )
    return replace(made, **changes)


ALONE = opened({}, Timing(repeat=HOUR), anchor_at=NOW)


def shown(
    told: Notification, traits: Traits, receipts: Mapping[str, str] = NO_RECEIPTS, *, now: datetime = NOW
) -> Shown:
    (only,) = shows(told, traits, receipts, now=now)
    return only


def group(*alerts: Alert, others: tuple[Alert, ...] = (), of: Opened | None = None) -> Notification:
    return replace(a_note(*alerts), kind=Kind.GROUP, opened=of or opened(), others=others)


# --- ticks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "tick"),
    [(-MINUTE, 0 * MINUTE), (0 * MINUTE, 0 * MINUTE), (SECOND, 5 * MINUTE), (5 * MINUTE,) * 2],
)
def test_a_group_is_told_at_whole_intervals_after_its_anchor(after: timedelta, tick: timedelta) -> None:
    it = opened(anchor_at=NOW)
    assert it.flush_at(NOW + after) == NOW + tick


def test_without_an_interval_a_group_is_told_at_once_from_its_anchor_on() -> None:
    it = opened(timing=Timing(wait=MINUTE), anchor_at=NOW)
    assert it.flush_at(NOW - SECOND) == NOW
    assert it.flush_at(NOW + SECOND) == it.tick_before(NOW + SECOND) == NOW + SECOND


# --- single alerts ------------------------------------------------------------------------------------


def test_who_neither_follows_nor_repeats_need_not_be_remembered() -> None:
    assert shows(a_note(LASTS), HOOK, {}, now=NOW) == ()
    assert shows(group(LASTS, of=opened(timing=Timing())), HOOK, {}, now=NOW) == ()


def test_who_follows_is_remembered_by_its_receipt() -> None:
    row = shown(a_note(replace(LASTS, revision=2)), SLACK, {LASTS.id: "C1/17.5"})
    assert (row.subject, row.alert, row.receipt, row.revision) == (LASTS.id, LASTS.id, "C1/17.5", 2)
    assert (row.due_at, row.follows, row.is_over, row.shown_at) == (None, True, False, NOW)


def test_a_receipt_stays_until_there_is_a_newer_one() -> None:
    again = replace(a_note(LASTS), receipts={LASTS.id: "old"})
    assert shown(again, SLACK).receipt == "old"
    assert shown(again, SLACK, {LASTS.id: "new"}).receipt == "new"


def test_who_would_forget_is_told_again_of_what_lasts_and_fires() -> None:
    rows = shows(a_note(EVENT, LASTS, OVER), ALERTMANAGER, {}, now=NOW)
    assert [(row.due_at, row.change, row.is_over) for row in rows] == [
        (None, Change.REASSERT, False),
        (NOW + MINUTE, Change.REASSERT, False),
        (NOW + MINUTE, Change.REASSERT, True),
    ]


def test_an_end_is_told_again_for_five_minutes_to_who_would_forget_it() -> None:
    def again(after: timedelta, over: Alert = OVER) -> datetime | None:
        (row,) = shows(a_note(over), ALERTMANAGER, {}, now=NOW + after)
        return row.due_at

    assert again(3 * MINUTE) == NOW + 4 * MINUTE
    assert again(4 * MINUTE) == NOW + 5 * MINUTE
    assert again(5 * MINUTE) is None
    assert again(MINUTE, replace(OVER, lasts=False)) is None
    assert shown(a_note(OVER), SLACK).due_at is None


@pytest.mark.parametrize("kind", [Kind.SUMMARY, Kind.DIGEST])
def test_who_would_forget_is_told_again_of_old_news_too(kind: Kind) -> None:
    row = shown(replace(a_note(LASTS), kind=kind), ALERTMANAGER)
    assert row.due_at == NOW + MINUTE


def test_a_forgotten_alert_is_not_told_for_ever() -> None:
    last = NOW + STANDS_FOR - MINUTE
    assert shown(a_note(LASTS), ALERTMANAGER, now=last - SECOND).due_at == last - SECOND + MINUTE
    assert shown(a_note(LASTS), ALERTMANAGER, now=last).due_at is None
    renewed = replace(LASTS, event_at=NOW + HOUR, revision=1)
    assert shown(a_note(renewed), ALERTMANAGER, now=last).due_at == last + MINUTE


def test_an_alert_that_repeats_by_itself_is_due_one_interval_after_it_was_told() -> None:
    row = shown(replace(a_note(LASTS), opened=ALONE), HOOK)
    assert (row.subject, row.grouped, row.due_at, row.change) == (LASTS.id, "1/x", NOW + HOUR, Change.REPEAT)
    assert shown(replace(a_note(OVER), opened=ALONE), HOOK).due_at is None
    assert shown(replace(a_note(EVENT), opened=ALONE), HOOK).due_at is None


def test_what_somebody_looks_after_is_not_repeated_but_asserted() -> None:
    acked = replace(a_note(LASTS), opened=ALONE, acks={LASTS.id: Ack(alert=LASTS.id, by="ann", at=NOW)})
    assert shown(acked, SLACK).due_at is None
    row = shown(acked, ALERTMANAGER)
    assert (row.due_at, row.change) == (NOW + MINUTE, Change.REASSERT)


def test_a_silent_update_does_not_put_a_repeat_off() -> None:
    told_at = replace(ALONE, flushed_at=NOW - MINUTE)
    update = replace(a_note(LASTS), opened=told_at, change=Change.UPDATE)
    assert shown(update, SLACK).due_at == NOW + HOUR - MINUTE
    assert shown(replace(update, change=Change.REPEAT), SLACK).due_at == NOW + HOUR


def test_the_sooner_of_two_reasons_counts() -> None:
    row = shown(replace(a_note(LASTS), opened=ALONE), ALERTMANAGER)
    assert (row.due_at, row.change) == (NOW + MINUTE, Change.REASSERT)


# --- groups -------------------------------------------------------------------------------------------


def test_a_group_is_one_row_due_at_the_tick_that_repeats_it() -> None:
    row = shown(group(EVENT, LASTS), SLACK, {"s1": "C1/17.5"})
    assert (row.subject, row.alert, row.grouped, row.receipt) == ("s1", None, "1/x", "C1/17.5")
    # Told at 3 min past the tick: sending took so long, and the repeat is an hour after the tick.
    assert (row.due_at, row.change) == (NOW - 2 * MINUTE + HOUR, Change.REPEAT)


@pytest.mark.parametrize("timing", [EVERY, Timing(interval=5 * MINUTE)])
def test_each_alert_of_a_group_is_asserted_where_it_would_be_forgotten(timing: Timing) -> None:
    other = replace(OVER, id=AlertId("e" * 32))
    fires, over = shows(group(LASTS, other, of=opened(timing=timing)), ALERTMANAGER, NO_RECEIPTS, now=NOW)
    assert (fires.subject, fires.due_at, fires.change) == (LASTS.id, NOW + MINUTE, Change.REASSERT)
    assert (over.subject, over.is_over) == (other.id, True)


def test_a_group_that_never_repeats_leaves_no_row() -> None:
    told = group(LASTS, of=opened(timing=Timing(interval=5 * MINUTE)))
    assert shows(told, HOOK, NO_RECEIPTS, now=NOW) == ()


def test_a_repeat_waits_for_the_tick_after_its_interval() -> None:
    odd = replace(EVERY, repeat=12 * MINUTE)
    assert shown(group(LASTS, of=opened(timing=odd, anchor_at=NOW)), SLACK).due_at == NOW + 15 * MINUTE


def test_a_group_is_over_when_nothing_of_it_fires() -> None:
    assert not shown(group(OVER, EVENT), SLACK).is_over
    assert not shown(group(OVER, others=(LASTS,)), SLACK).is_over
    assert shown(group(OVER, others=(LASTS,)), HOOK).due_at is not None
    row = shown(group(OVER), SLACK)
    assert (row.is_over, row.due_at) == (True, None)


def test_a_group_is_repeated_while_somebody_looks_after_only_part_of_it() -> None:
    more = replace(LASTS, id=AlertId("9" * 32))
    one = {LASTS.id: Ack(alert=LASTS.id, by="ann", at=NOW)}
    both = {**one, more.id: Ack(alert=more.id, by="ann", at=NOW)}
    assert shown(replace(group(LASTS, more), acks=one), SLACK).change is Change.REPEAT
    assert shown(replace(group(LASTS, more), acks=both), SLACK).due_at is None


# --- sums ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.SUMMARY, Kind.DIGEST])
def test_a_sum_for_people_shows_none_of_its_alerts(kind: Kind) -> None:
    assert shows(replace(a_note(LASTS, OVER), kind=kind), SLACK, {}, now=NOW) == ()
