"""One commit: what it guards, what it keeps once, what it leaves alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from monitor.errors import Conflict, NotStored
from monitor.store.findings import UNTOLD, sift
from monitor.store.store import Store, Tx
from monitor.store.values import (
    Commit,
    Counts,
    Cursor,
    EntryState,
    Fetched,
    Finding,
    Known,
    Reason,
    Reject,
    Route,
    Seen,
    UserRow,
)
from rules.model import (
    AlertId,
    Because,
    MessageId,
    RuleName,
    State,
    StateChange,
    StateKey,
    Status,
    Timer,
    UserId,
)
from tests.store.building import ANNA, NOON, RING, after, an_alert, claimed, found, in_memory, to

BEN = UserId("ben")
START = Cursor()
AT_9 = Cursor(id=MessageId(9), above=(Seen(id=MessageId(11), at=NOON),))


@pytest.fixture
def store() -> Iterator[Store]:
    with in_memory() as store:
        with store.write() as tx:
            tx.add_users([ANNA], NOON)
        yield store


def ring(version: int, value: bytes | None = b"{}") -> StateChange:
    return StateChange(key=RING, expected=version, value=value)


def test_a_user_keeps_the_start_it_was_first_given(store: Store) -> None:
    with store.write() as tx:
        rows = tx.add_users([BEN, ANNA, BEN], after(hours=5))
    assert rows == [UserRow(uid=BEN, start_at=after(hours=5)), UserRow(uid=ANNA, start_at=NOON)]
    assert store.users() == [rows[1], rows[0]]


def test_a_commit_moves_cursor_and_watermark(store: Store) -> None:
    with store.write() as tx:
        tx.commit(Commit(uid=ANNA, expected=START, cursor=AT_9, watermark=after(seconds=5)))
        assert tx.user(ANNA) == UserRow(uid=ANNA, start_at=NOON, cursor=AT_9, watermark=after(seconds=5))
    assert store.user(ANNA) == UserRow(uid=ANNA, start_at=NOON, cursor=AT_9, watermark=after(seconds=5))


def test_a_watermark_never_moves_back(store: Store) -> None:
    with store.write() as tx:
        for watermark in (after(seconds=5), NOON, None):
            tx.commit(Commit(uid=ANNA, expected=START, cursor=START, watermark=watermark))
        tx.commit(Commit(uid=ANNA, watermark=after(seconds=2)))
    row = store.user(ANNA)
    assert row is not None
    assert row.watermark == after(seconds=5)


def test_a_cursor_that_moved_is_a_conflict_and_nothing_is_written(store: Store) -> None:
    with store.write() as tx:
        tx.commit(Commit(uid=ANNA, expected=START, cursor=AT_9))
        with pytest.raises(Conflict, match="cursor of user anna moved"):
            tx.commit(
                Commit(
                    uid=ANNA,
                    expected=START,
                    cursor=Cursor(id=MessageId(5)),
                    states=(ring(0),),
                    findings=found("a1").findings,
                    counts=Counts(fetched=3),
                )
            )
    row = store.user(ANNA)
    assert row is not None
    assert row.cursor == AT_9
    assert store.entries() == []
    assert store.ledger().counts == Counts()


def test_an_unknown_user_is_a_conflict(store: Store) -> None:
    with store.write() as tx, pytest.raises(Conflict, match="user ben is not stored"):
        tx.commit(Commit(uid=BEN, expected=START, cursor=AT_9))


def test_a_cursor_without_its_guard_is_refused(store: Store) -> None:
    with store.write() as tx, pytest.raises(ValueError, match="cursor that it expects"):
        tx.commit(Commit(uid=ANNA, cursor=AT_9))


def test_a_cursor_written_by_an_older_version_still_guards(store: Store) -> None:
    with store.write() as tx:
        tx._connection.exec_driver_sql("""UPDATE users SET cursor = '{"above": [], "id": null, "old": 1}'""")
        tx.commit(Commit(uid=ANNA, expected=START, cursor=AT_9))
    row = store.user(ANNA)
    assert row is not None
    assert row.cursor == AT_9


def test_state_versions_count_from_one_and_guard(store: Store) -> None:
    with store.write() as tx:
        tx.commit(Commit(states=(ring(0, b"one"),)))
        tx.commit(Commit(states=(ring(1, b"two"),)))
        assert tx.states([RING, StateKey(RuleName("other"), "x")]) == {RING: State(version=2, value=b"two")}
        with pytest.raises(Conflict, match="at version 2, not 1"):
            tx.commit(Commit(uid=ANNA, expected=START, cursor=AT_9, states=(ring(1, b"three"),)))
        assert tx.user(ANNA) == UserRow(uid=ANNA, start_at=NOON)
        tx.commit(Commit(states=(ring(2, None),)))
        assert tx.states([RING]) == {}
        tx.commit(Commit(states=(ring(0, b"again"),)))
        assert tx.states([RING]) == {RING: State(version=1, value=b"again")}


def test_many_states_are_read_in_one_go(store: Store) -> None:
    keys = [StateKey(RuleName(f"r{n % 3}"), f"k{n}") for n in range(2_500)]
    with store.write() as tx:
        tx.commit(Commit(states=tuple(StateChange(key=key, expected=0, value=b"x") for key in keys)))
        assert set(tx.states([*keys, RING])) == set(keys)


def test_a_timer_replaces_that_of_its_key_and_can_be_cancelled(store: Store) -> None:
    first = Timer(key=RING, due=after(seconds=90), lists=(ANNA,))
    second = Timer(key=RING, due=after(seconds=95), lists=(ANNA, BEN))
    third = Timer(key=RING, due=after(seconds=99), lists=(), every=True)
    with store.write() as tx:
        tx.commit(Commit(timers=(first,)))
        tx.commit(Commit(timers=(second,)))
    assert store.timers() == [second]
    with store.write() as tx:
        tx.commit(Commit(timers=(third,)))
        tx.close_user(ANNA, "no longer watched")
    assert store.timers() == [third]
    with store.write() as tx:
        tx.commit(Commit(cancelled=(RING,)))
    assert store.timers() == []


def test_a_finding_is_news_once(store: Store) -> None:
    with store.write() as tx:
        first = tx.commit(found("a1", "a2", "a1", routes=to("ops", "oncall", "ops")))
        again = tx.commit(found("a2", "a1", routes=to("ops", "third")))
    assert ([f.alert.id for f in first.fresh], first.known) == (["a1", "a2"], 1)
    assert (again.fresh, again.known) == ((), 2)
    assert sorted((e.alert.id, e.receiver) for e in store.entries()) == [
        ("a1", "oncall"),
        ("a1", "ops"),
        ("a2", "oncall"),
        ("a2", "ops"),
    ]


def test_a_resolution_updates_its_alert_and_is_told_as_well(store: Store) -> None:
    with store.write() as tx:
        assert tx.commit(found("a1", resolved="answered later")).fresh == ()
        tx.commit(found("a1"))
        committed = tx.commit(found("a1", resolved="answered later"))
        assert tx.commit(found("a1", resolved="answered again")).fresh == ()
        assert tx.commit(found("a1")).fresh == ()
    assert len(committed.fresh) == 1
    assert store.alert(AlertId("a1")) == an_alert("a1", resolved="answered later")
    assert store.alerts(status=Status.FIRING) == []
    assert [entry.alert for entry in reversed(store.entries())] == [
        an_alert("a1"),
        an_alert("a1", resolved="answered later"),
    ]


def test_a_larger_revision_takes_the_place_of_the_smaller_and_adds_no_entry(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1", "a2"))
        fresh = tx.commit(found("a1", revision=2)).fresh
        assert [finding.alert.revision for finding in fresh] == [2]
        assert tx.commit(found("a1", revision=2)).fresh == ()
        assert tx.commit(found("a1", revision=1)).fresh == ()
        assert tx.known([AlertId("a1"), AlertId("a2"), AlertId("a3")]) == {
            "a1": Known.of(an_alert("a1", revision=2)),
            "a2": Known.of(an_alert("a2")),
        }
    assert store.alert(AlertId("a1")) == an_alert("a1", revision=2)
    assert [(entry.alert.id, entry.alert.revision) for entry in store.entries()] == [("a2", 0), ("a1", 2)]
    with store.write() as tx:
        tx.commit(found("a1", resolved="quiet again"))
        assert tx.commit(found("a1", revision=3)).fresh == ()
        assert tx.known([AlertId("a1")])[AlertId("a1")][:2] == (Status.RESOLVED, 2)


def test_an_alert_may_begin_and_be_brought_up_to_date_in_one_commit(store: Store) -> None:
    both = (*found("a1").findings, *found("a1", revision=1).findings)
    with store.write() as tx:
        assert len(tx.commit(Commit(findings=both)).fresh) == 2
    assert store.alert(AlertId("a1")) == an_alert("a1", revision=1)
    assert len(store.entries()) == 1


def test_why_is_kept_with_what_is_news(store: Store) -> None:
    def why(status: Status, revision: int = 0, **facts: Any) -> Because:
        return Because(alert=AlertId("a1"), status=status, revision=revision, **facts)

    page = Fetched(list=ANNA, asked_at=NOON, received_at=after(seconds=1), skew=timedelta(seconds=-2))
    first = why(Status.FIRING, messages=(MessageId(5),), key="s1", after="{}")
    second = why(Status.FIRING, 1, messages=(MessageId(7),), key="s1", before="{}", after='{"n":2}')
    last = why(Status.RESOLVED, tick=after(minutes=1), key="s1", before='{"n":2}')
    with store.write() as tx:
        tx.commit(Commit(findings=found("a1", "a2").findings, because=(first,), brought_by=page))
        tx.commit(Commit(findings=found("a1").findings, because=(why(Status.FIRING, key="again"),)))
        tx.commit(
            Commit(uid=ANNA, expected=START, findings=found("a1", revision=1).findings, because=(second,))
        )
        tx.commit(Commit(findings=found("a1", resolved="over").findings, because=(last,)))
    assert store.reasons(AlertId("a1")) == [
        Reason(because=first, at=NOON, list=ANNA, brought_by=page),
        Reason(because=second, at=NOON, list=ANNA),
        Reason(because=last, at=NOON),
    ]
    assert store.reasons(AlertId("a2")) == []


def test_what_is_told_as_a_sum_ends_in_a_sum(store: Store) -> None:
    summed = Route(receiver="ops", summed=True)
    with store.write() as tx:
        tx.commit(found("a1", routes=(summed, *to("oncall"))))
        tx.commit(found("a1", routes=(*to("ops"), replace(summed, receiver="oncall")), resolved="over"))
    assert {(e.alert.status, e.receiver): e.summed for e in store.entries()} == {
        ("firing", "ops"): True,
        ("firing", "oncall"): False,
        ("resolved", "ops"): True,
        ("resolved", "oncall"): False,
    }


def test_who_was_not_told_that_it_began_is_not_told_that_it_is_over(store: Store) -> None:
    muted = Route(receiver="muted", state=EntryState.SUPPRESSED, reason="mute 1")
    with store.write() as tx:
        tx.commit(found("a1", routes=(*to("ops", "gone"), muted)))
        tx.drop("gone", "no longer used")
        tx.commit(found("a1", routes=to("ops", "muted", "gone", "new"), resolved="answered"))
    resolved = {e.receiver: e for e in store.entries() if e.alert.status is Status.RESOLVED}
    assert {name: entry.state for name, entry in resolved.items()} == {
        "ops": EntryState.PENDING,
        "muted": EntryState.SUPPRESSED,
        "gone": EntryState.SUPPRESSED,
        "new": EntryState.SUPPRESSED,
    }
    assert resolved["muted"].reason == UNTOLD


def test_a_suppressed_finding_is_kept_with_its_reason(store: Store) -> None:
    route = Route(receiver="", state=EntryState.SUPPRESSED, reason="no route", late=True)
    with store.write() as tx:
        tx.commit(found("a1", routes=(route,)))
        assert tx.claim("", now=NOON, lease=after(minutes=1) - NOON, choose=lambda _offered: None) is None
    [entry] = store.entries()
    assert (entry.state, entry.reason, entry.late, entry.settled_at) == (
        EntryState.SUPPRESSED,
        "no route",
        True,
        NOON,
    )


def test_the_ledger_sums_commits_rejects_are_kept_by_number(store: Store) -> None:
    reject = Reject(uid=ANNA, message_id="x7", reason="no sentAt", structure='{"id":"str:2"}', at=NOON)
    counts = Counts(fetched=3, evaluated=1, duplicates=1, rejected=1)
    with store.write() as tx:
        tx.commit(Commit(rejects=(reject,), counts=counts))
        tx.commit(Commit(counts=Counts(fetched=1, evaluated=1)))
    ledger = store.ledger()
    assert ledger.counts == Counts(fetched=4, evaluated=2, duplicates=1, rejected=1)
    [kept] = store.rejects()
    assert kept.id is not None
    assert store.reject(kept.id) == kept
    assert (kept.message_id, kept.reason, kept.structure) == ("x7", "no sentAt", '{"id":"str:2"}')
    assert store.reject(kept.id + 1) is None


def test_setting_a_cursor_is_noticed_and_stops_the_poll_under_way(store: Store) -> None:
    before = store.version()
    with store.write() as tx:
        tx.commit(Commit(uid=ANNA, expected=START, cursor=AT_9, watermark=after(seconds=5)))
        tx.set_cursor(ANNA, MessageId(3))
        with pytest.raises(Conflict):
            tx.commit(Commit(uid=ANNA, expected=AT_9, cursor=Cursor(id=MessageId(20))))
    assert store.version() > before
    assert store.user(ANNA) == UserRow(
        uid=ANNA, start_at=NOON, cursor=Cursor(id=MessageId(3)), watermark=NOON
    )  # set back, nothing since the start counts as read
    with store.write() as tx, pytest.raises(NotStored, match="user ben was never watched"):
        tx.set_cursor(BEN, None)


def test_a_user_who_is_no_longer_watched_answers_no_timer(store: Store) -> None:
    both = StateKey(RING.rule, "s2")
    with store.write() as tx:
        tx.commit(
            Commit(
                states=(ring(0), StateChange(key=both, expected=0, value=b"{}")),
                timers=(
                    Timer(key=RING, due=NOON, lists=(ANNA,)),
                    Timer(key=both, due=NOON, lists=(ANNA, BEN)),
                ),
            )
        )
        tx.close_user(ANNA, "no longer watched")
        assert set(tx.states([RING, both])) == {both}
    assert store.timers() == [Timer(key=both, due=NOON, lists=(BEN,))]
    [closure] = store.closures()
    assert (closure.key, closure.reason, closure.at) == (RING, "no longer watched", NOON)
    assert store.user(ANNA) is not None


def test_rules_that_change_or_go_lose_their_states_and_timers(store: Store) -> None:
    def hold(tx: Tx, name: str) -> StateKey:
        key = StateKey(RuleName(name), "k")
        tx.commit(Commit(states=(StateChange(key=key, expected=0, value=b"{}"),)))
        return key

    with store.write() as tx:
        assert tx.adopt_rules({RuleName(name): "1" for name in ("same", "changed", "gone")}) == ()
        same, changed, gone = (hold(tx, name) for name in ("same", "changed", "gone"))
        tx.commit(Commit(timers=(Timer(key=changed, due=NOON, lists=(ANNA,)),)))
        now = {RuleName("same"): "1", RuleName("changed"): "2", RuleName("new"): "1"}
        assert tx.adopt_rules(now) == ("gone", "changed")
        assert tx.adopt_rules(now) == ()
        assert set(tx.states([same, changed, gone])) == {same}
    assert store.timers() == []
    assert store.fingerprints() == now
    assert {(c.key.rule, c.reason) for c in store.closures()} == {
        ("gone", "the rule was removed"),
        ("changed", "the rule was changed"),
    }


def test_closing_one_timer_forgets_its_state(store: Store) -> None:
    with store.write() as tx:
        tx.commit(Commit(states=(ring(0),), timers=(Timer(key=RING, due=NOON, lists=(ANNA,)),)))
        tx.close_timer(RING, "user anna is unknown to CometChat")
        assert tx.states([RING]) == {}
    assert store.timers() == []
    assert [closure.reason for closure in store.closures()] == ["user anna is unknown to CometChat"]


def test_a_part_that_fails_is_undone_alone(store: Store) -> None:
    with store.write() as tx:
        with tx.part():
            tx.commit(Commit(findings=found("a1").findings, counts=Counts(fetched=1)))
        with pytest.raises(KeyError), tx.part():
            tx.commit(Commit(uid=ANNA, expected=START, cursor=AT_9, findings=found("a2").findings))
            tx.commit(Commit(counts=Counts(fetched=7)))
            raise KeyError("a bug in a work")
        with tx.part():
            tx.commit(Commit(counts=Counts(fetched=2)))
    assert [alert.id for alert in store.alerts()] == ["a1"]
    assert store.user(ANNA) == UserRow(uid=ANNA, start_at=NOON)
    assert store.ledger().counts == Counts(fetched=3)


def test_a_transaction_that_raises_leaves_nothing(store: Store) -> None:
    with pytest.raises(KeyError), store.write() as tx:
        tx.commit(found("a1"))
        assert claimed(tx).alerts == (an_alert("a1"),)
        raise KeyError("a bug")
    assert store.entries() == []
    assert store.ledger().alerts == 0


def test_a_transaction_inside_a_transaction_is_refused(store: Store) -> None:
    with store.write(), pytest.raises(RuntimeError, match="wait for itself"), store.write():
        pass
    with store.write() as tx:
        tx.commit(found("a1"))
    assert len(store.entries()) == 1


@pytest.mark.parametrize(
    ("known", "statuses", "fresh"),
    [
        # f: firing, 1, 2: brought up to date so often, r: resolved
        (None, "f", "f"),
        (None, "r", ""),
        (None, "ff", "f"),
        (None, "fr", "fr"),
        (None, "rf", "f"),
        (None, "frfr", "fr"),
        (None, "f12r", "f12r"),
        (None, "2f1r2", "2r"),
        (None, "f11", "f1"),
        (Known(Status.FIRING), "fr", "r"),
        (Known(Status.FIRING), "rr", "r"),
        (Known(Status.FIRING), "1r2", "1r"),
        (Known(Status.FIRING, 1), "f12r", "2r"),
        (Known(Status.RESOLVED), "f2r", ""),
    ],
)
def test_an_alert_fires_once_and_is_resolved_once_after_it(
    known: Known | None, statuses: str, fresh: str
) -> None:
    findings = [
        Finding(
            alert=an_alert(
                resolved="over" if status == "r" else None, revision=int(status) if status in "12" else 0
            ),
            routes=to("ops"),
        )
        for status in statuses
    ]
    kept = sift(findings, {AlertId("a1"): known} if known else {})
    assert "".join(str(f.alert.revision or f.alert.status[0]) for f in kept) == fresh
