"""Groups: told together, at their ticks, open as long as something of them waits or lasts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import msgspec
import pytest
from msgspec.structs import replace

from monitor.store import outbox
from monitor.store.store import Store
from monitor.store.values import Bundle, EntryId, EntryState, Group, Kind, Route, Timing, Waiting
from rules.model import Alert, AlertId, Status
from tests.store.building import (
    NOON,
    TEAM,
    USUAL,
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
    nothing,
    to,
)

OTHER = Group(key='1/{team="apps"}', labels={"team": "apps"})


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
def store(clock: WallClock) -> Iterator[Store]:
    with in_memory(clock) as store:
        yield store


def names(alerts: tuple[Alert, ...]) -> list[str]:
    return [alert.id for alert in alerts]


def test_a_group_is_told_as_one_after_its_wait(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1", routes=in_group("ops")))
        tx.commit(found("a2", routes=in_group("ops")))
        assert claim(tx, now=after(seconds=29), choose=nothing) is None
        assert tx.next_due("ops") == after(seconds=30)
        told = claimed(tx, now=after(seconds=30), choose=nothing)
        assert claim(tx, now=after(seconds=31), choose=nothing) is None
    assert (told.kind, told.status, names(told.alerts)) == (Kind.GROUP, Status.FIRING, ["a1", "a2"])
    assert told.group == {"team": "web"}
    assert told.opened is not None
    assert (told.opened.group, told.opened.timing, told.opened.anchor_at) == (TEAM, USUAL, after(seconds=30))
    assert {entry.grouped for entry in store.entries()} == {TEAM.key}


def test_groups_of_events_close_when_they_are_told_and_open_anew(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(found("a1", routes=in_group("ops")))
        [first] = store.groups()
        tx.settle_delivered(claimed(tx, now=after(minutes=1)).id, after(minutes=1))
        assert store.groups() == []
        clock.forward(minutes=2)
        tx.commit(found("a2", routes=in_group("ops")))
        [second] = store.groups("ops")
        assert tx.next_due("ops") == after(minutes=2, seconds=30)
    assert second.subject != first.subject
    assert second.anchor_at == after(minutes=2, seconds=30)


def test_while_an_alert_lasts_news_come_at_the_ticks_of_its_group(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1", routes=in_group("ops")))
        tx.settle_delivered(claimed(tx, now=after(seconds=30)).id, after(seconds=31))
        [group] = store.groups()
        assert group.flushed_at == after(seconds=31)
        assert tx.next_due("ops") is None
        clock.forward(minutes=1)
        tx.commit(found("a2", routes=in_group("ops")))
        clock.forward(minutes=2)
        tx.commit(lasting("a3", routes=in_group("ops")))
        assert tx.next_due("ops") == after(minutes=5, seconds=30)
        told = claimed(tx, now=after(minutes=5, seconds=30), choose=nothing)
        assert told.opened == group
        assert (names(told.alerts), names(told.others)) == (["a2", "a3"], ["a1"])
        tx.settle_delivered(told.id, after(minutes=6))
        tx.commit(lasting("a1", routes=to("ops"), resolved="over"))
        tx.commit(lasting("a3", routes=to("ops"), resolved="over"))
        end = claimed(tx, now=after(minutes=10, seconds=30), choose=nothing)
        tx.settle_delivered(end.id, after(minutes=11))
    assert (end.status, names(end.alerts), end.others) == (Status.RESOLVED, ["a1", "a3"], ())
    assert end.opened == replace(group, flushed_at=after(minutes=6))
    assert store.groups() == []


def test_a_retry_tells_the_same_with_what_fires_on_by_now(store: Store) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1", routes=in_group("ops")))
        tx.settle_delivered(claimed(tx, now=after(seconds=30)).id, after(seconds=30))
        tx.commit(lasting("a2", "a3", routes=in_group("ops")))
        told = claimed(tx, now=after(minutes=6))
        tx.settle_retry(told.id, after(minutes=6), after(minutes=7), "answered 503")
        tx.commit(lasting("a1", resolved="over"))
        again = claimed(tx, now=after(minutes=7))
        tx.settle_delivered(again.id, after(minutes=7))
    assert (again.id, names(again.alerts), again.others) == (told.id, ["a2", "a3"], ())
    assert (again.opened, again.attempts) == (told.opened, 1)
    assert [group.flushed_at for group in store.groups()] == [after(minutes=7)]


def test_a_group_that_is_too_large_for_one_body_is_told_in_several(store: Store) -> None:
    with store.write() as tx:
        every = [f"a{number}" for number in range(5)]
        tx.commit(lasting(*every, routes=in_group("ops")))
        now, lease = after(seconds=30), timedelta(minutes=1)
        size = len(msgspec.json.encode(an_alert("a1", lasts=True)))
        told = [
            names(one.alerts)
            for most_bytes in (2 * size, 2 * size, 1, 1)
            if (one := tx.claim("ops", now=now, lease=lease, choose=nothing, most_bytes=most_bytes))
        ]
    assert told == [["a0", "a1"], ["a2", "a3"], ["a4"]]


def test_receivers_and_groups_are_apart(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1", routes=in_group("ops", "oncall")))
        tx.commit(found("a2", routes=in_group("ops", group=OTHER)))
        told = [names(claimed(tx, now=after(minutes=1), choose=nothing).alerts) for _ in range(2)]
        assert sorted(told) == [["a1"], ["a2"]]
        assert names(claimed(tx, "oncall", now=after(minutes=1), choose=nothing).alerts) == ["a1"]
    assert len({group.subject for group in store.groups()}) == 3


def test_an_alert_alone_is_its_own_subject_and_told_at_once(store: Store) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1", routes=alone("a1")))
        told = claimed(tx, choose=nothing)
        tx.settle_delivered(told.id, NOON)
        tx.commit(lasting("a1", routes=alone("a1"), resolved="over"))
        end = claimed(tx, now=after(hours=1), choose=nothing)
    assert (told.kind, told.group) == (Kind.GROUP, {})
    assert told.opened is not None
    assert told.subject(told.alerts[0]) == told.opened.subject == "a1"
    assert end.opened == replace(told.opened, flushed_at=NOON)


def test_late_summed_and_suppressed_alerts_are_in_no_group(store: Store) -> None:
    [route] = in_group("ops")
    with store.write() as tx:
        for name, changed in {
            "late": replace(route, late=True),
            "summed": replace(route, summed=True),
            "cooling": replace(route, state=EntryState.SUPPRESSED, reason="cooldown"),
        }.items():
            tx.commit(found(name, routes=(changed,)))
        assert store.groups() == []
        assert names(claimed(tx, choose=all_alike).alerts) == ["late", "summed"]
    assert {entry.grouped for entry in store.entries()} == {None}


def test_an_end_follows_its_beginning_into_the_group_whatever_the_routes_say(
    store: Store, clock: WallClock
) -> None:
    with store.write() as tx:
        tx.commit(found("a1", routes=in_group("ops")))
        tx.commit(found("s1", routes=(Route(receiver="ops", summed=True),)))
        told = claimed(tx, now=after(minutes=1))
        tx.settle_delivered(told.id, after(minutes=1))
        tx.settle_delivered(claimed(tx, now=after(minutes=1)).id, after(minutes=1))
        assert store.groups() == []
        clock.forward(minutes=3)
        tx.commit(found("a1", "s1", routes=to("elsewhere"), resolved="answered late"))
        # The closed group is opened for it, so that a message that shows it can be brought up to date.
        assert [group.subject for group in store.groups()] == [told.opened and told.opened.subject]
        end = claimed(tx, now=after(minutes=5, seconds=30))
        assert (names(end.alerts), end.status) == (["a1"], Status.RESOLVED)
        tx.settle_delivered(end.id, after(minutes=6))
    assert store.groups() == []
    ends = {
        (e.alert.id, e.receiver): (e.state, e.summed)
        for e in store.entries()
        if e.alert.status is Status.RESOLVED
    }
    assert ends == {
        ("a1", "ops"): (EntryState.DELIVERED, False),
        ("a1", "elsewhere"): (EntryState.SUPPRESSED, False),
        ("s1", "ops"): (EntryState.PENDING, True),
        ("s1", "elsewhere"): (EntryState.SUPPRESSED, False),
    }


def test_an_unrouted_end_reaches_who_was_told(store: Store) -> None:
    nowhere = Route(receiver="", state=EntryState.SUPPRESSED, reason="no route")
    with store.write() as tx:
        tx.commit(found("a1", "a2", routes=to("ops")))
        tx.drop([entry.id for entry in store.entries() if entry.alert.id == "a2"], "a test")
        tx.commit(found("a1", "a2", routes=(nowhere,), resolved="over"))
    ends = [e for e in store.entries() if e.alert.status is Status.RESOLVED]
    assert {(e.alert.id, e.receiver, e.state, e.reason) for e in ends} == {
        ("a1", "ops", EntryState.PENDING, None),
        ("a2", "", EntryState.SUPPRESSED, "no route"),
    }


def test_an_end_waits_for_its_beginning_in_the_group_too(store: Store) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1", routes=in_group("ops")))
        tx.commit(lasting("a1", resolved="over"))
        told = claimed(tx, now=after(minutes=1), choose=nothing)
        assert [alert.status for alert in told.alerts] == [Status.FIRING]
        assert tx.next_due("ops") == after(minutes=2)  # the lease, nothing else
        tx.settle_delivered(told.id, after(minutes=1))
        end = claimed(tx, now=after(minutes=6), choose=nothing)
    assert [alert.status for alert in end.alerts] == [Status.RESOLVED]


def test_settings_that_change_are_taken_over_by_open_groups(store: Store) -> None:
    brisk = Timing(wait=timedelta(seconds=1), interval=timedelta(minutes=1))
    with store.write() as tx:
        tx.commit(lasting("a1", routes=in_group("ops")))
        tx.settle_delivered(claimed(tx, now=after(seconds=30)).id, after(seconds=30))
        tx.commit(lasting("a2", routes=in_group("ops", timing=brisk)))
        assert tx.next_due("ops") == after(seconds=30)
    [group] = store.groups()
    assert (group.timing, group.anchor_at) == (brisk, after(seconds=30))


def test_a_large_group_goes_on_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "OFFER", 2)
    with store.write() as tx:
        tx.commit(found("a1", "a2", "a3", routes=in_group("ops")))
        told = [names(claimed(tx, now=after(minutes=1), choose=nothing).alerts) for _ in range(2)]
    assert told == [["a1", "a2"], ["a3"]]


def test_in_a_storm_of_groups_their_alerts_are_offered_to_be_summed_up(store: Store) -> None:
    with store.write() as tx:
        for n in range(4):
            group = Group(key=f'1/{{n="{n}"}}', labels={"n": str(n)})
            tx.commit(found(f"a{n}", routes=in_group("ops", group=group)))
        tx.commit(found("plain"))
        offered: list[int] = []
        at, lease = after(minutes=1), timedelta(minutes=1)

        def sum_up(waiting: Sequence[Waiting]) -> Bundle | None:
            offered.append(len(waiting))
            return all_alike(waiting)

        one = tx.claim("ops", now=at, lease=lease, choose=sum_up, most_groups=3)
        assert one is not None
        assert (offered, len(one.alerts), one.opened) == ([5], 5, None)
        assert tx.next_due("ops") == at + lease
        tx.settle_delivered(one.id, at)
        assert store.groups() == []


def test_a_dead_group_is_redriven_as_it_was(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1", "a2", routes=in_group("ops")))
        dead = claimed(tx, now=after(minutes=1))
        tx.settle_dead(dead.id, after(minutes=1), "answered 410")
        assert store.groups() == []
        assert tx.redrive("ops") == 2
        assert [group.subject for group in store.groups()] == [dead.opened and dead.opened.subject]
        again = claimed(tx, now=after(minutes=2))
        tx.settle_delivered(again.id, after(minutes=2))
    assert (again.id, again.kind, again.alerts) == (dead.id, Kind.GROUP, dead.alerts)
    assert again.opened == dead.opened
    assert store.groups() == []


def test_one_of_a_dead_group_is_redriven_in_its_group(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1", "a2", routes=in_group("ops")))
        tx.settle_dead(claimed(tx, now=after(minutes=1)).id, after(minutes=1), "answered 410")
        tx.redrive([EntryId(1)])
        again = claimed(tx, now=after(hours=1), choose=nothing)
    assert (again.kind, names(again.alerts), again.group) == (Kind.GROUP, ["a1"], {"team": "web"})


def test_dropped_the_group_has_nothing_left(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1", routes=in_group("ops")))
        tx.drop("ops", "a test")
        assert tx.next_due("ops") is None
        assert claim(tx, now=after(days=1), choose=nothing) is None
    assert store.groups() == []


def test_what_waits_in_a_group_that_is_forgotten_is_told_by_itself(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1", "a2", routes=in_group("ops")))
        tx.settle_dead(claimed(tx, now=after(minutes=1)).id, after(minutes=1), "answered 410")
        tx._connection.exec_driver_sql("DELETE FROM groups")
        tx.redrive([EntryId(2)])
        again = claimed(tx, now=after(minutes=2))
    assert (again.kind, names(again.alerts), again.opened) == (Kind.ALERTS, ["a2"], None)


def test_an_end_that_is_old_news_is_told_where_its_beginning_stands(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1", routes=in_group("ops")))
        first = claimed(tx, now=after(minutes=1))
        tx.settle_delivered(first.id, after(minutes=1))
        clock.forward(hours=3)
        tx.commit(lasting("a1", routes=(Route(receiver="ops", late=True),), resolved="answered long ago"))
        end = claimed(tx, now=clock.forward(minutes=5), choose=nothing)
        tx.settle_delivered(end.id, clock())
    assert (end.kind, end.status) == (Kind.GROUP, Status.RESOLVED)
    assert end.opened is not None
    assert first.opened is not None
    assert end.opened.subject == first.opened.subject
    assert store.groups() == []


def test_groups_and_what_was_shown_of_them_are_pruned(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1", routes=in_group("ops")))
        tx.commit(lasting("a2", routes=in_group("ops", group=OTHER)))
        for _ in range(2):
            tx.settle_delivered(claimed(tx, now=after(minutes=1)).id, after(minutes=1))
        clock.forward(days=20)
        tx.commit(lasting("a2", resolved="over"))
        clock.forward(minutes=5)
        tx.settle_delivered(claimed(tx, now=clock()).id, clock())
        assert [group.group for group in store.groups()] == [TEAM]
        clock.forward(days=11)
        while tx.prune(clock(), timedelta(days=30)):
            pass
        assert store.groups() == []  # nobody will say that a forgotten alert is over
        clock.forward(days=40)
        while tx.prune(clock(), timedelta(days=30)):
            pass
        for table in ("groups", "notifications", "entries", "alerts"):
            left = tx._connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
            assert (table, left) == (table, 0)


def test_notes_and_who_looks_after_it_come_along(store: Store) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1", "a2", routes=in_group("ops")))
        ack = tx.ack(AlertId("a1"), by="anna", comment="on it")
        told = claimed(tx, now=after(minutes=1))
        assert told.acks == {"a1": ack}
        tx.tell([AlertId("a1")], "lead", note="Escalated")
        [lead] = [claimed(tx, "lead", now=after(minutes=1))]
    assert (lead.notes, lead.acks, lead.alerts) == (
        {"a1": "Escalated"},
        {"a1": ack},
        (an_alert("a1", lasts=True),),
    )


def test_news_of_a_group_say_if_it_is_unknown_what_became_of_earlier_ones(store: Store) -> None:
    at_once = Timing()
    with store.write() as tx:
        tx.commit(lasting("a1", routes=in_group("ops", timing=at_once)))
        first = claimed(tx, choose=nothing)
        tx.commit(lasting("a2", routes=in_group("ops", timing=at_once)))
        second = claimed(tx, now=after(seconds=1), choose=nothing)
        tx.settle_delivered(first.id, after(seconds=2))
        tx.commit(lasting("a3", routes=in_group("ops", timing=at_once)))
        tx.settle_delivered(second.id, after(seconds=2))
        third = claimed(tx, now=after(seconds=3), choose=nothing)
    assert [one.is_in_doubt for one in (first, second, third)] == [False, True, False]
