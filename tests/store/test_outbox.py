"""Claims, settlements, dead letters: one state each, ids for good, no resolution before its firing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest
from msgspec.structs import replace

from monitor.errors import NotStored
from monitor.store import outbox
from monitor.store.store import Store
from monitor.store.values import Bundle, Depth, EntryId, EntryState, Kind, NotificationId, Route, Waiting
from rules.model import Status
from tests.store.building import (
    NOON,
    after,
    all_alike,
    an_alert,
    claim,
    claimed,
    found,
    in_memory,
    one_by_one,
    to,
)


@pytest.fixture
def store() -> Iterator[Store]:
    with in_memory() as store:
        yield store


def states(store: Store, receiver: str = "ops") -> dict[str, str]:
    """Alert and status -> where its entry stands."""
    return {f"{e.alert.id} {e.alert.status}": e.state for e in store.entries(receiver=receiver)}


def ids(store: Store) -> list[EntryId]:
    return sorted(entry.id for entry in store.entries())


def test_the_oldest_entries_of_a_receiver_are_offered_first(store: Store) -> None:
    offers: list[list[int]] = []

    def look(offered: Sequence[Waiting]) -> None:
        offers.append([entry.id for entry in offered])

    with store.write() as tx:
        tx.commit(found("a1", "a2", routes=to("ops", "oncall")))
        tx.commit(found("a3"))
        assert tx.claim("ops", now=NOON, lease=timedelta(minutes=1), choose=look) is None
        assert tx.claim("nobody", now=NOON, lease=timedelta(minutes=1), choose=look) is None
    assert offers == [[entry.id for entry in reversed(store.entries(receiver="ops"))]]
    assert len(offers[0]) == 3


def test_many_summed_entries_never_stand_before_the_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "WAITING", outbox.WAITING.limit(2))
    offers: list[list[tuple[str, bool]]] = []

    def look(offered: Sequence[Waiting]) -> None:
        names = {entry.id: entry.alert.id for entry in store.entries()}
        offers.append([(names[entry.id], entry.summed) for entry in offered])

    with store.write() as tx:
        tx.commit(found("s1", "s2", "s3", routes=(Route(receiver="ops", summed=True),)))
        tx.commit(found("a1", "a2", "a3"))
        assert tx.claim("ops", now=NOON, lease=timedelta(minutes=1), choose=look) is None
    assert offers == [[("s1", True), ("s2", True), ("a1", False), ("a2", False)]]


def test_a_storm_is_offered_as_one_sum(store: Store) -> None:
    with store.write() as tx:
        storm = (f"s{n}" for n in range(outbox.OFFER_SUMMED + 3))
        tx.commit(found(*storm, routes=(Route(receiver="ops", summed=True),)))
        sizes = [len(claimed(tx, choose=all_alike).alerts) for _ in range(2)]
    assert sizes == [outbox.OFFER_SUMMED, 3]
    assert outbox.OFFER_SUMMED > outbox.OFFER


def test_the_end_of_what_was_told_in_a_sum_is_told_in_one_whenever_it_came(store: Store) -> None:
    def in_a_sum(offered: Sequence[Waiting]) -> Bundle | None:
        bundle = all_alike(offered)
        return None if bundle is None else replace(bundle, kind=Kind.DIGEST)

    with store.write() as tx:
        tx.commit(found("alone"))
        tx.settle_delivered(claimed(tx).id, NOON)
        tx.commit(found("over before", "over after"))
        tx.commit(found("over before", resolved="answered"))
        tx.settle_delivered(claimed(tx, choose=in_a_sum).id, NOON)
        tx.commit(found("alone", "over after", resolved="answered"))
    ends = {e.alert.id: e.summed for e in store.entries() if e.alert.status is Status.RESOLVED}
    assert ends == {"alone": False, "over before": True, "over after": True}


def test_a_claimed_alert_that_is_brought_up_to_date_is_sent_as_it_is_now(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1"))
        first = claimed(tx)
        tx.settle_retry(first.id, NOON, NOON, "answered 503")
        tx.commit(found("a1", revision=1))
        again = claimed(tx)
    assert (again.id, again.alerts) == (first.id, (an_alert("a1", revision=1),))


def test_a_claim_is_stored_and_offered_to_nobody_else_until_its_lease_ends(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1"))
        first = claimed(tx)
        assert claim(tx, now=after(seconds=59)) is None
        assert tx.next_due("ops") == after(seconds=60)
        again = claimed(tx, now=after(seconds=60))
    assert (first.attempts, again.attempts) == (0, 1)
    assert (again.id, again.alerts, again.created_at) == (first.id, first.alerts, NOON)
    [entry] = store.entries()
    assert (entry.state, entry.notification) == (EntryState.PENDING, first.id)


def test_a_delivered_notification_settles_its_entries(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1", "a2"))
        notification = claimed(tx, choose=all_alike)
        tx.settle_delivered(notification.id, after(seconds=1))
        assert claim(tx, now=after(days=1)) is None
        assert tx.next_due("ops") is None
    assert states(store) == {"a1 firing": "delivered", "a2 firing": "delivered"}
    assert {entry.settled_at for entry in store.entries()} == {after(seconds=1)}
    assert [(a.outcome, a.at) for a in store.attempts(notification.id)] == [("delivered", after(seconds=1))]


def test_a_retry_comes_back_with_the_same_id_when_it_is_due_and_before_new_entries(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1", "a2"))
        first = claimed(tx)
        tx.settle_retry(first.id, after(seconds=1), after(seconds=30), "answered 503")
        assert tx.next_due("ops") == after(seconds=30)
        second = claimed(tx, now=after(seconds=2))
        tx.settle_delivered(second.id, after(seconds=2))
        assert claim(tx, now=after(seconds=29)) is None
        tx.commit(found("a3"))
        third = claimed(tx, now=after(seconds=30))
    assert [alert.id for alert in second.alerts] == ["a2"]
    assert (third.id, third.attempts) == (first.id, 1)
    assert [(a.outcome, a.detail) for a in store.attempts(first.id)] == [("retry", "answered 503")]


def test_given_up_is_visible_and_says_why(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1", "a2"))
        tx.settle_dead(claimed(tx).id, after(seconds=1), "answered 410")
    [dead] = store.entries(state=EntryState.DEAD)
    assert (dead.alert.id, dead.reason, dead.settled_at) == ("a1", "answered 410", after(seconds=1))
    assert store.depths() == [Depth(receiver="ops", pending=1, dead=1, oldest_at=NOON)]


def test_a_resolution_waits_until_its_firing_is_settled(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1", "a2"))
        tx.commit(found("a1", resolved="answered"))
        firing = claimed(tx, choose=one_by_one)
        other = claimed(tx, choose=all_alike)
        assert [alert.id for alert in other.alerts] == ["a2"]
        tx.settle_retry(firing.id, NOON, after(minutes=5), "answered 500")
        assert claim(tx) is None
        assert claimed(tx, now=after(minutes=5)).id == other.id  # its lease ran out first
        assert claimed(tx, now=after(minutes=5)).id == firing.id
        assert claim(tx, now=after(minutes=5)) is None
        tx.settle_delivered(firing.id, after(minutes=5))
        resolved = claimed(tx, now=after(minutes=5))
    assert (resolved.status, resolved.alerts) == (Status.RESOLVED, (an_alert("a1", resolved="answered"),))


def test_a_firing_that_still_waits_is_told_as_it_was_found(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1"))
        tx.commit(found("a1", resolved="answered"))
        assert claimed(tx).alerts == (an_alert("a1"),)


def test_a_slow_receiver_holds_up_no_other(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1", routes=to("slow", "quick")))
        claimed(tx, "slow")
        tx.settle_delivered(claimed(tx, "quick").id, NOON)
    assert states(store, "quick") == {"a1 firing": "delivered"}
    assert states(store, "slow") == {"a1 firing": "pending"}


def test_a_settlement_that_comes_late_is_recorded_and_loses_to_delivered(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1"))
        notification = claimed(tx)
        tx.settle_delivered(notification.id, after(seconds=1))
        tx.settle_retry(notification.id, after(seconds=2), after(seconds=9), "timeout")
        tx.settle_dead(notification.id, after(seconds=3), "answered 410")
        assert claim(tx, now=after(days=1)) is None
    assert states(store) == {"a1 firing": "delivered"}
    assert [a.outcome for a in store.attempts(notification.id)] == ["delivered", "retry", "dead"]


def test_accepted_after_it_was_given_up_is_delivered(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1"))
        notification = claimed(tx)
        tx.settle_dead(notification.id, NOON, "timeout")
        tx.settle_delivered(notification.id, after(seconds=1))
        assert tx.redrive("ops") == 0
    assert states(store) == {"a1 firing": "delivered"}


def test_what_died_together_is_redriven_together_under_its_id(store: Store) -> None:
    before = store.version()
    with store.write() as tx:
        tx.commit(found("a1", "a2"))
        dead = claimed(tx, choose=all_alike)
        tx.settle_dead(dead.id, NOON, "answered 410")
        assert tx.redrive("ops") == 2
        again = claimed(tx)
    assert store.version() > before
    assert (again.id, again.alerts, again.attempts) == (dead.id, dead.alerts, 0)
    assert {(entry.state, entry.reason) for entry in store.entries()} == {(EntryState.PENDING, None)}


def test_one_dead_letter_of_several_goes_out_under_an_id_of_its_own(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1", "a2"))
        dead = claimed(tx, choose=all_alike)
        tx.settle_dead(dead.id, NOON, "answered 413")
        first, second = ids(store)
        assert tx.redrive([first]) == 1
        alone = claimed(tx)
        assert tx.redrive([second]) == 1
        rest = claimed(tx)
    assert [alert.id for alert in alone.alerts] == ["a1"]
    assert alone.id != dead.id
    assert (rest.id, [alert.id for alert in rest.alerts]) == (dead.id, ["a2"])


def test_a_firing_is_not_redriven_once_its_end_was_told(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1"))
        tx.settle_dead(claimed(tx).id, NOON, "answered 410")
        tx.commit(found("a1", resolved="answered"))
        end = claimed(tx)
        assert tx.redrive("ops") == 0
        tx.settle_delivered(end.id, NOON)
        assert tx.redrive("ops") == 0
    assert states(store) == {"a1 firing": "dead", "a1 resolved": "delivered"}


def test_both_dead_a_firing_is_redriven_before_its_end(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1"))
        tx.settle_dead(claimed(tx).id, NOON, "answered 410")
        tx.commit(found("a1", resolved="answered"))
        tx.settle_dead(claimed(tx).id, NOON, "answered 410")
        assert tx.redrive("ops") == 2
        firing = claimed(tx)
        assert firing.status is Status.FIRING
        assert claim(tx) is None
        tx.settle_delivered(firing.id, NOON)
        assert claimed(tx).status is Status.RESOLVED


def test_dropped_entries_are_not_sent_and_a_settlement_does_not_bring_them_back(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1", "a2", "a3"))
        sending = claimed(tx, choose=all_alike)
        assert tx.drop([EntryId(1), EntryId(2)], "a test") == 2
        tx.settle_retry(sending.id, NOON, NOON, "timeout")
        again = claimed(tx)
        assert tx.drop("ops", "closing down") == 1
        tx.settle_delivered(sending.id, NOON)
        assert claim(tx, now=after(days=1)) is None
        assert tx.next_due("ops") is None
    assert [alert.id for alert in again.alerts] == ["a3"]
    assert (again.id, again.attempts) == (sending.id, 1)
    assert {(e.state, e.reason) for e in store.entries()} == {
        (EntryState.DROPPED, "a test"),
        (EntryState.DROPPED, "closing down"),
    }


def test_dead_letters_can_be_dropped_but_what_was_delivered_stays_so(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1", "a2"))
        tx.settle_delivered(claimed(tx).id, NOON)
        tx.settle_dead(claimed(tx).id, NOON, "answered 410")
        assert tx.drop(ids(store), "known") == 1
        assert tx.redrive("ops") == 0
    assert states(store) == {"a1 firing": "delivered", "a2 firing": "dropped"}


def test_numbers_that_are_not_there_are_refused(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1"))
        with pytest.raises(NotStored, match="no outbox entry 7"):
            tx.redrive([EntryId(7)])
        with pytest.raises(NotStored, match="no outbox entry 7"):
            tx.drop([EntryId(1), EntryId(7)], "a typo")
        with pytest.raises(NotStored, match="no notification n1"):
            tx.settle_delivered(NotificationId("n1"), NOON)
    assert states(store) == {"a1 firing": "pending"}


def test_a_bundle_takes_only_what_was_offered(store: Store) -> None:
    def bundle(*entries: int) -> Bundle:
        return Bundle(kind=Kind.ALERTS, status=Status.FIRING, entries=tuple(map(EntryId, entries)))

    with store.write() as tx:
        tx.commit(found("a1"))
        for wrong in (bundle(), bundle(1, 2)):
            with pytest.raises(ValueError, match="entries that were offered"):
                claim(tx, choose=lambda _offered, wrong=wrong: wrong)  # type: ignore[misc]
        assert claimed(tx, choose=lambda _offered: bundle(1)).alerts == (an_alert("a1"),)


def test_a_long_queue_is_offered_in_parts_and_walked_by_key(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found(*(f"a{n}" for n in range(outbox.OFFER + 3))))
        sizes = [len(claimed(tx, choose=all_alike).alerts) for _ in range(2)]
        plans = [
            row[3]
            for statement in (outbox.WAITING, outbox.DUE, outbox.NEXT_DUE)
            for compiled in [str(statement.compile(dialect=tx._connection.dialect))]
            for row in tx._connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {compiled}", ("x",) * compiled.count("?")
            )
        ]
    assert sizes == [outbox.OFFER, 3]
    assert [plan for plan in plans if plan.startswith("SCAN")] == []
    older = [plan for plan in plans if plan.startswith("SEARCH older")]
    assert len(older) == 3
    assert all("alert_id=? AND status=? AND receiver=?" in plan for plan in older)


def test_entries_are_listed_the_latest_first(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1", "a2", "a3"))
    assert [entry.alert.id for entry in store.entries(limit=2)] == ["a3", "a2"]
    first = store.entry(EntryId(1))
    assert first is not None
    assert first.alert.id == "a1"
    assert store.entry(EntryId(9)) is None
