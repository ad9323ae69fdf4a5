"""Standing traffic: due rows are told as things are now, under one id, until they are accepted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from monitor.delivery.policy import shows
from monitor.delivery.sinks.base import Traits
from monitor.store.store import Store, Tx
from monitor.store.values import Bundle, Change, Kind, Notification, Route, Shown, Waiting
from rules.model import Alert, AlertId, Status
from tests.store.building import (
    NOON,
    WallClock,
    after,
    all_alike,
    alone,
    an_alert,
    claim,
    claimed,
    found,
    in_group,
    in_memory,
    lasting,
    one_by_one,
    to,
)

CHAT = Traits(people=True, follows=True)
PLAIN = Traits(people=True)
FORGETFUL = Traits(people=False, reasserts=timedelta(minutes=1))
A1, A2, A3 = map(AlertId, ("a1", "a2", "a3"))


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
def store(clock: WallClock) -> Iterator[Store]:
    with in_memory(clock) as store:
        yield store


def names(alerts: Sequence[Alert]) -> list[str]:
    return [alert.id for alert in alerts]


def receipts_of(told: Notification) -> dict[str, str]:
    return {told.subject(alert): f"message about {told.subject(alert)}" for alert in told.alerts}


def subject(told: Notification) -> str:
    """Of the group that it tells of."""
    assert told.opened is not None
    return told.opened.subject


def deliver(tx: Tx, told: Notification, traits: Traits, at: datetime) -> None:
    """As the deliverer does when the receiver accepted it."""
    rows = shows(told, traits, receipts_of(told), now=at)
    if told.change is Change.NEWS:
        tx.settle_delivered(told.id, at, shows=rows)
    else:
        tx.settle_standing(told, rows)


def begin(tx: Tx, traits: Traits, at: datetime = NOON) -> Notification:
    told = claimed(tx, now=at, choose=all_alike)
    deliver(tx, told, traits, at)
    return told


def standing(tx: Tx, at: datetime, most: int = 10, **more: Any) -> Notification | None:
    return tx.claim_standing("ops", now=at, most=most, **more)


def stood(tx: Tx, at: datetime, most: int = 10, **more: Any) -> Notification:
    told = standing(tx, at, most, **more)
    assert told is not None
    return told


def shown(store: Store, subject: str = "a1") -> Shown:
    [row] = store.shown(subject=subject)
    return row


def test_what_nobody_has_to_hear_again_is_not_kept(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1"))
        begin(tx, PLAIN)
        assert standing(tx, after(days=1)) is None
    assert store.shown() == []


def test_an_alert_that_was_brought_up_to_date_is_shown_so(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(found("a1"))
        begin(tx, CHAT)
        assert standing(tx, after(days=1)) is None
        assert tx.next_due("ops") is None
        now = clock.forward(minutes=1)
        tx.commit(found("a1", revision=1))
        assert tx.next_due("ops") == now
        told = stood(tx, now)
        assert (told.kind, told.status, told.change) == (Kind.ALERTS, Status.FIRING, Change.UPDATE)
        assert (told.alerts, told.receipts) == ((an_alert("a1", revision=1),), {"a1": "message about a1"})
        deliver(tx, told, CHAT, now)
        assert standing(tx, after(days=1)) is None
    assert (shown(store).revision, shown(store).receipt) == (1, "message about a1")


def test_a_receiver_that_does_not_follow_hears_of_no_update(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1", routes=alone("a1")))
        begin(tx, PLAIN)
        clock.forward(minutes=1)
        tx.commit(lasting("a1", revision=1))
        tx.ack(A1, by="anna")
        assert standing(tx, clock()) is None
    assert shown(store).change is Change.REPEAT


def test_an_acknowledgement_is_shown_and_taken_back(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(found("a1", "a2"))
        begin(tx, CHAT)
        now = clock.forward(minutes=1)
        ack = tx.ack(A1, by="anna", comment="on it")
        told = stood(tx, now)
        assert (names(told.alerts), told.change, told.acks) == (["a1"], Change.UPDATE, {"a1": ack})
        deliver(tx, told, CHAT, now)
        now = clock.forward(minutes=1)
        tx.unack(A1)
        back = stood(tx, now)
        assert (back.alerts, back.acks) == (told.alerts, {})
        assert back.id != told.id


def test_a_retry_has_the_same_id_until_there_is_something_else_to_tell(
    store: Store, clock: WallClock
) -> None:
    with store.write() as tx:
        tx.commit(found("a1"))
        begin(tx, CHAT)
        now = clock.forward(minutes=1)
        tx.ack(A1, by="anna")
        told = stood(tx, now)
        tx.put_off_standing(told, after(minutes=2))
        assert standing(tx, now) is None
        assert tx.next_due("ops") == after(minutes=2)
        assert shown(store).failures == 1
        again = stood(tx, after(minutes=2))
        assert (again.id, again.attempts) == (told.id, 1)
        clock.forward(minutes=5)
        tx.unack(A1)
        tx.ack(A1, by="ben")
        other = stood(tx, clock())
    assert other.id != told.id
    assert other.acks[A1].by == "ben"


def test_what_changes_while_a_message_is_on_its_way_is_told_after_it(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(found("a1"))
        clock.forward(seconds=1)
        told = claimed(tx, now=clock())
        clock.forward(seconds=1)
        ack = tx.ack(A1, by="anna")
        deliver(tx, told, CHAT, clock.forward(seconds=1))
        update = stood(tx, clock())
        assert update.acks == {"a1": ack}
        clock.forward(seconds=1)
        tx.commit(found("a1", revision=1))
        clock.forward(seconds=1)
        deliver(tx, update, CHAT, clock())
        latest = stood(tx, clock())
        assert latest.alerts == (an_alert("a1", revision=1),)
        deliver(tx, latest, CHAT, clock())
        assert standing(tx, after(days=1)) is None


def test_an_alert_that_lasts_is_repeated_until_it_is_over(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1", routes=alone("a1")))
        begin(tx, PLAIN)
        assert tx.next_due("ops") == after(hours=4)
        first = stood(tx, after(hours=4))
        assert (first.kind, first.change, names(first.alerts)) == (Kind.GROUP, Change.REPEAT, ["a1"])
        deliver(tx, first, PLAIN, after(hours=4))
        assert standing(tx, after(hours=5)) is None
        second = stood(tx, after(hours=8))
        deliver(tx, second, PLAIN, after(hours=8))
        assert len({first.id, second.id}) == 2
        assert shown(store).repeats == 2
        clock.forward(hours=9)
        tx.commit(lasting("a1", resolved="over"))
        assert standing(tx, after(hours=13)) is None  # the end is told as news
        deliver(tx, claimed(tx, now=after(hours=13)), PLAIN, after(hours=13))
        assert standing(tx, after(days=9)) is None
        assert tx.next_due("ops") is None


def test_a_group_repeats_what_still_fires_of_it(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1", "a2", routes=in_group("ops")))
        tx.commit(found("a3", routes=in_group("ops")))
        told = begin(tx, PLAIN, after(seconds=30))
        clock.forward(hours=1)
        tx.commit(lasting("a1", resolved="over"))
        assert told.opened is not None
        end = begin(tx, PLAIN, told.opened.flush_at(clock()))
        assert (names(end.alerts), names(end.others)) == (["a1"], ["a2"])
        due = tx.next_due("ops")
        assert due is not None
        again = stood(tx, due)
        deliver(tx, again, PLAIN, due)
        assert (again.change, names(again.alerts), again.others) == (Change.REPEAT, ["a2"], ())
        assert again.opened is not None
        assert (again.group, again.opened.subject) == ({"team": "web"}, told.opened.subject)
        [row] = store.shown()
        assert (row.subject, row.alert, row.repeats) == (told.opened.subject, None, 1)
        assert [group.flushed_at for group in store.groups()] == [due]


def test_what_is_acknowledged_or_held_is_not_repeated(store: Store) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1", "a2", "a3", routes=in_group("ops")))
        begin(tx, PLAIN, after(seconds=30))
        due = tx.next_due("ops")
        assert due is not None
        tx.ack(A1, by="anna")

        def held(alert: Alert) -> datetime | None:
            return due + timedelta(hours=1) if alert.id == "a2" else None

        told = stood(tx, due, held_until=held)
        assert (names(told.alerts), names(told.others)) == (["a3"], ["a1", "a2"])
        tx.ack(A3, by="anna")
        assert standing(tx, due, held_until=held) is None
        assert tx.next_due("ops") == due + timedelta(minutes=5)  # the group's next tick: it may be free then
        tx.unack(A1)
        later = stood(tx, due + timedelta(minutes=5), held_until=held)
        assert names(later.alerts) == ["a1"]


def test_a_repeat_that_a_silence_holds_waits_for_its_end(store: Store) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1", routes=alone("a1")))
        begin(tx, PLAIN)
        until = after(hours=5)
        assert standing(tx, after(hours=4), held_until=lambda _: until) is None
        assert tx.next_due("ops") == until
        assert names(stood(tx, until).alerts) == ["a1"]


def test_what_a_machine_would_forget_is_said_again_in_batches(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1", routes=alone("a1")))
        tx.commit(lasting("a2", "a3"))
        tx.commit(found("event"))
        deliver(tx, claimed(tx), FORGETFUL, NOON)
        begin(tx, FORGETFUL)
        at = after(minutes=1)
        told = stood(tx, at, most=2)
        assert (told.change, told.kind, names(told.alerts)) == (Change.REASSERT, Kind.ALERTS, ["a1", "a2"])
        deliver(tx, told, FORGETFUL, at)
        rest = stood(tx, at, most=2)
        assert names(rest.alerts) == ["a3"]
        deliver(tx, rest, FORGETFUL, at)
        clock.forward(minutes=2)
        tx.ack(A2, by="anna")
        tx.commit(lasting("a1", resolved="over"))
        last = stood(tx, clock())
        assert names(last.alerts) == ["a2", "a3"]  # acknowledged or not: it must not take it to be over


def test_a_machine_forgets_no_alert_of_a_large_group(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        every = [f"a{number}" for number in range(600)]
        tx.commit(lasting(*every, routes=in_group("ops")))
        now = clock.forward(minutes=1)
        while told := claim(tx, now=now):
            deliver(tx, told, FORGETFUL, now)
        again: list[str] = []
        now = clock.forward(minutes=1)
        while more := standing(tx, now, most=64):
            assert (more.change, len(more.alerts) <= 64, more.others) == (Change.REASSERT, True, ())
            deliver(tx, more, FORGETFUL, now)
            again += names(more.alerts)
    assert sorted(again) == sorted(every)


def test_an_update_of_a_group_shows_its_last_message_as_things_are_now(
    store: Store, clock: WallClock
) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1", routes=in_group("ops")))
        begin(tx, CHAT, after(seconds=30))
        tx.commit(lasting("a2", routes=in_group("ops")))
        tx.commit(found("a3", routes=in_group("ops")))
        clock.forward(minutes=6)
        begin(tx, CHAT, clock())
        now = clock.forward(minutes=1)
        ack = tx.ack(A1, by="anna")
        told = stood(tx, now)
        assert (told.change, told.kind) == (Change.UPDATE, Kind.GROUP)
        assert (names(told.alerts), names(told.others)) == (["a2", "a3"], ["a1"])
        assert told.opened is not None
        subject = told.opened.subject
        assert (told.acks, told.receipts) == ({"a1": ack}, {subject: f"message about {subject}"})
        deliver(tx, told, CHAT, now)
        assert standing(tx, now) is None


def test_an_event_of_a_closed_group_can_be_acknowledged_in_its_message(
    store: Store, clock: WallClock
) -> None:
    with store.write() as tx:
        tx.commit(found("a1", "a2", routes=in_group("ops")))
        begin(tx, CHAT, after(seconds=30))
        assert store.groups() == []
        now = clock.forward(minutes=1)
        tx.ack(A1, by="anna")
        told = stood(tx, now)
    assert (names(told.alerts), set(told.acks)) == (["a1", "a2"], {"a1"})
    assert told.group == {"team": "web"}


def test_an_event_that_is_taken_back_is_over_in_its_own_message_too(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(found("a1", routes=in_group("ops")))
        first = begin(tx, CHAT, after(seconds=30))
        clock.forward(minutes=10)
        tx.commit(lasting("a2", routes=in_group("ops")))
        second = begin(tx, CHAT, clock.forward(minutes=1))
        tx.commit(found("a1", resolved="answered"))
        end = begin(tx, CHAT, clock.forward(minutes=5))
        told = stood(tx, clock())
        deliver(tx, told, CHAT, clock())
        assert standing(tx, clock()) is None
    assert subject(first) != subject(second) == subject(end)
    assert (subject(told), told.change) == (subject(first), Change.UPDATE)
    assert (told.status, names(told.alerts), told.others) == (Status.RESOLVED, ["a1"], ())


def test_what_was_told_alone_in_a_storm_of_groups_is_over_in_its_own_message(
    store: Store, clock: WallClock
) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1", routes=in_group("ops")))
        now, lease = clock.forward(minutes=1), timedelta(minutes=1)
        told = tx.claim("ops", now=now, lease=lease, choose=one_by_one, most_groups=0)
        assert told is not None
        deliver(tx, told, CHAT, now)
        assert (told.kind, shown(store).receipt) == (Kind.ALERTS, "message about a1")
        tx.commit(lasting("a1", resolved="answered"))
        begin(tx, CHAT, clock.forward(minutes=5))
        update = stood(tx, clock())
        assert (update.status, update.receipts) == (Status.RESOLVED, {"a1": "message about a1"})
        deliver(tx, update, CHAT, clock())
    assert shown(store).is_over


@pytest.mark.parametrize("traits", [PLAIN, CHAT])
@pytest.mark.parametrize("routes", [in_group("ops"), alone("a1")])
def test_what_was_told_alone_in_a_storm_of_groups_is_repeated(
    store: Store, clock: WallClock, traits: Traits, routes: tuple[Route, ...]
) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1", routes=routes))
        now, lease = clock.forward(minutes=1), timedelta(minutes=1)
        told = tx.claim("ops", now=now, lease=lease, choose=one_by_one, most_groups=0)
        assert told is not None
        deliver(tx, told, traits, now)
        again = []
        for hours in range(1, 14):
            if one := standing(tx, after(hours=hours, minutes=2)):
                deliver(tx, one, traits, after(hours=hours, minutes=2))
                again.append((hours, one.change, *names(one.alerts)))
    assert told.opened is None
    assert again == [(hours, Change.REPEAT, "a1") for hours in (4, 8, 12)]


def test_a_group_that_is_closed_repeats_nothing_of_its_next_opening(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1", routes=in_group("ops")))
        begin(tx, PLAIN, after(seconds=30))
        tx.commit(lasting("a1", resolved="answered"))
        tx.settle_dead(claimed(tx, now=after(minutes=6)).id, after(minutes=6), "answered 410")
        clock.forward(minutes=10)
        tx.commit(lasting("a2", routes=in_group("ops")))
        second = begin(tx, PLAIN, clock.forward(minutes=1))
        told = [one for hours in range(1, 8) if (one := standing(tx, after(hours=hours)))]
    assert {(subject(one), *names(one.alerts)) for one in told} == {(subject(second), "a2")}


def test_the_end_of_what_is_shown_alone_may_be_told_in_a_sum(store: Store, clock: WallClock) -> None:
    def sum_up(offered: Sequence[Waiting]) -> Bundle:
        return Bundle(kind=Kind.SUMMARY, status=Status.RESOLVED, entries=tuple(e.id for e in offered))

    with store.write() as tx:
        tx.commit(found("a1", "a2", "a3"))
        for _ in range(2):
            deliver(tx, claimed(tx, choose=one_by_one), CHAT, NOON)
        clock.forward(minutes=1)
        tx.commit(found("a1", "a2", resolved="answered"))
        told = claimed(tx, now=clock(), choose=sum_up)
        deliver(tx, told, CHAT, clock())
        updates = [stood(tx, clock(), most=1) for _ in range(1)]
        for _ in range(3):
            update = standing(tx, clock(), most=1)
            if update is None:
                break
            updates.append(update)
            deliver(tx, update, CHAT, clock())
    assert {(update.change, update.status) for update in updates} == {(Change.UPDATE, Status.RESOLVED)}
    assert {name for update in updates for name in names(update.alerts)} == {"a1", "a2"}


def test_a_row_that_is_of_no_more_use_goes(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1", routes=alone("a1")))
        begin(tx, PLAIN)
        tx.commit(lasting("a1", resolved="over"))
        tx.drop("ops", "a test")  # the end is told to nobody
        assert standing(tx, after(hours=4)) is None
    assert store.shown() == []


def test_what_is_shown_goes_with_its_alert(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(found("a1"))
        begin(tx, CHAT)
        clock.forward(days=1)
        tx.ack(A1, by="anna")
        told = stood(tx, clock())
        clock.forward(days=40)
        while tx.prune(clock(), timedelta(days=30)):
            pass
        deliver(tx, told, CHAT, clock())  # it took that long
    assert store.shown() == []


def test_news_take_the_place_of_what_was_shown(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(found("a1"))
        begin(tx, CHAT)
        clock.forward(minutes=1)
        tx.commit(found("a1", resolved="answered"))
        end = claimed(tx, now=clock())
        assert end.receipts == {"a1": "message about a1"}
        deliver(tx, end, CHAT, clock())
    assert (shown(store).is_over, shown(store).receipt) == (True, "message about a1")


def test_standing_rows_of_a_receiver_are_found_by_key(store: Store) -> None:
    from monitor.store import standing as module

    with store.write() as tx:
        compiled = str(module.DUE.compile(dialect=tx._connection.dialect))
        plan = [
            row[3]
            for row in tx._connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {compiled}", ("x",) * compiled.count("?")
            )
        ]
    assert not [line for line in plan if line.startswith("SCAN")]


def test_sums_of_the_last_ten_minutes_are_counted(store: Store) -> None:
    def sum_up(offered: Sequence[Waiting]) -> Bundle:
        return Bundle(kind=Kind.SUMMARY, status=Status.FIRING, entries=(offered[0].id,))

    with store.write() as tx:
        tx.commit(found("a1", "a2", "a3", "a4", routes=to("ops")))
        before = [claimed(tx, now=after(minutes=at), choose=sum_up).summed_before for at in (0, 0, 0.5)]
        assert before[0] == 0
        assert before == [0, 1, 2]
        assert tx.summaries("ops", now=after(minutes=9)) == 3
        assert tx.summaries("ops", now=after(minutes=10)) == 1
        assert tx.summaries("oncall", now=after(minutes=1)) == 0
        assert claim(tx, "oncall") is None
