"""What is asked about one alert, one message or one rule."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from monitor.store.lookups import Sending, Volume
from monitor.store.store import Store
from monitor.store.values import Commit, Cursor, EntryState, Finding, Kind, NotificationId, Reject, Shown
from rules.model import AlertId, Because, MessageId, RuleName, State, StateChange, StateKey, Status, UserId
from tests.store.building import (
    ANNA,
    NOON,
    RING,
    WallClock,
    a_message,
    after,
    all_alike,
    an_alert,
    claimed,
    found,
    in_group,
    in_memory,
    to,
)

OTHER = StateKey(RING.rule, 'a "quoted" key')


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
def store(clock: WallClock) -> Iterator[Store]:
    with in_memory(clock) as store:
        yield store


def raised(name: str, *, status: Status = Status.FIRING, **facts: Any) -> Commit:
    commit = found(name, resolved="over" if status is Status.RESOLVED else None)
    return replace(commit, because=(Because(alert=AlertId(name), status=status, **facts),))


def about(store: Store, number: int) -> list[str]:
    return [alert.id for alert in store.alerts_about(MessageId(number))]


def test_the_entries_of_an_alert_in_their_order(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1", "a2", routes=to("ops", "oncall")))
        tx.commit(found("a1", resolved="answered"))
    entries = store.entries_of(AlertId("a1"))
    assert [(e.alert.status, e.receiver) for e in entries] == [
        ("firing", "ops"),
        ("firing", "oncall"),
        ("resolved", "ops"),
        ("resolved", "oncall"),
    ]
    assert store.entries_of(AlertId("a9")) == []


def test_where_a_notification_stands(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1", "a2"))
        sent = claimed(tx, choose=all_alike).id
        tx.settle_retry(sent, NOON, after(minutes=2), "answered 503")
    assert store.sending(sent) == Sending(
        id=sent,
        receiver="ops",
        kind=Kind.ALERTS,
        state=EntryState.PENDING,
        created_at=NOON,
        attempts=1,
        due_at=after(minutes=2),
        alerts=2,
    )
    assert store.sending(NotificationId("nobody")) is None


def test_alerts_are_found_by_the_messages_they_carry_or_were_made_by(store: Store) -> None:
    carrying = replace(an_alert("a1"), messages=(a_message(1700), a_message(1701)))
    with store.write() as tx:
        tx.commit(Commit(findings=(Finding(alert=carrying, routes=to("ops")),)))
        tx.commit(raised("a2", messages=(MessageId(1702), MessageId(2))))
        ended = replace(an_alert("a2", resolved="over"), messages=(a_message(1703),))
        tx.commit(Commit(findings=(Finding(alert=ended, routes=to("ops")),)))
    assert about(store, 1701) == ["a1"]
    assert about(store, 1702) == about(store, 1703) == ["a2"]
    assert about(store, 1) == ["a2"]  # as firing it carried message 1
    assert about(store, 170) == about(store, 2026) == []


def test_alerts_are_found_by_the_state_they_were_made_of(store: Store) -> None:
    with store.write() as tx:
        tx.commit(raised("a1", key=RING.key))
        tx.commit(raised("a2", key=OTHER.key))
        tx.commit(found(RING.key, OTHER.key))  # of a time when reasons were not kept
    assert [alert.id for alert in store.alerts_of(RING)] == ["a1", RING.key]
    assert {alert.id for alert in store.alerts_of(OTHER)} == {"a2", OTHER.key}
    assert store.alerts_of(StateKey(RuleName("other"), RING.key)) == []
    assert store.alerts_of(StateKey(RING.rule, "s")) == []


def test_states_and_how_they_ended(store: Store) -> None:
    with store.write() as tx:
        changes = [StateChange(key=key, expected=0, value=b"{}") for key in (RING, OTHER)]
        tx.commit(Commit(states=tuple(changes)))
        tx.close_timer(RING, "no longer watched")
    assert store.states([RING, OTHER]) == {OTHER: State(version=1, value=b"{}")}
    assert [closure.reason for closure in store.closures_of([RING, OTHER])] == ["no longer watched"]
    assert store.closures_of([OTHER]) == []
    assert store.closures_of([]) == []


def test_in_which_lists_a_message_was_read(store: Store) -> None:
    ben = UserId("ben")
    with store.write() as tx:
        tx.add_users([ANNA, ben], NOON)
        for uid, ids in ((ANNA, (5, 7)), (ben, (7, 9))):
            tx.commit(Commit(uid=uid, expected=Cursor(), recent=tuple(map(MessageId, ids))))
    assert store.lists_having(MessageId(7)) == ["anna", "ben"]
    assert store.lists_having(MessageId(5)) == ["anna"]
    assert store.lists_having(MessageId(6)) == []


def test_rows_that_could_not_be_read(store: Store) -> None:
    with store.write() as tx:
        for number in ("17", "170"):
            reject = Reject(uid=ANNA, message_id=number, reason="no sentAt", structure="{}", at=NOON)
            tx.commit(Commit(rejects=(reject,)))
    [reject] = store.rejects_of(MessageId(17))
    assert (reject.message_id, reject.reason) == ("17", "no sentAt")


def test_how_much_each_rule_found(store: Store) -> None:
    for name, hours in (("a1", 0.0), ("a2", 5), ("a3", 60), ("a4", 24 * 9)):
        alert = an_alert(name, found_at=NOON - timedelta(hours=hours))
        with store.write() as tx:
            tx.commit(Commit(findings=(Finding(alert=alert, routes=to("ops")),)))
    assert store.volumes(NOON) == {RING.rule: Volume(day=2, week=3, last_at=NOON)}


def test_where_an_alert_is_shown_waits_and_is_held(store: Store) -> None:
    row = Shown(receiver="ops", subject="", alert=None, shown_at=NOON)
    with store.write() as tx:
        tx.commit(found("a1", "a2", routes=in_group("ops", "oncall")))
        told = claimed(tx, now=after(minutes=1))
        assert told.opened is not None
        grouped = replace(row, subject=told.opened.subject, grouped=told.opened.group.key)
        tx.settle_delivered(told.id, after(minutes=1), shows=[grouped])
        tx.commit(found("a3"))
        alone = replace(row, subject="a3", alert=AlertId("a3"))
        tx.settle_delivered(claimed(tx).id, NOON, shows=[alone])
        tx.commit(found("a4", routes=in_group("ops", silence=7)))
    assert store.shown_of(AlertId("a1")) == [grouped]
    assert store.shown_of(AlertId("a3")) == [alone]
    assert store.flushes_of(AlertId("a1")) == {"oncall": after(seconds=30)}
    assert store.flushes_of(AlertId("a3")) == {}
    assert [entry.alert.id for entry in store.held_by(7)] == ["a4"]
