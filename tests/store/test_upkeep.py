"""Silences, and what retention takes and leaves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from msgspec.structs import replace

from monitor.errors import NotStored
from monitor.store.store import Store, Tx
from monitor.store.upkeep import PRUNE
from monitor.store.values import Commit, Counts, EntryState, Ledger, Matcher, Reject, Route, Silence
from rules.model import AlertId, Because, StateChange, StateKey, Status, Timer
from tests.store.building import ANNA, NOON, RING, WallClock, after, claimed, found, in_memory, to

KEEP = timedelta(days=30)


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
def store(clock: WallClock) -> Iterator[Store]:
    with in_memory(clock) as store:
        yield store


def prune(store: Store, clock: WallClock) -> int:
    with store.write() as tx:
        return tx.prune(clock(), KEEP)


def silenced(tx: Tx, rule: str, **ends: float) -> Silence:
    return tx.add_silence(
        [Matcher(label="rule", value=rule)],
        starts_at=NOON,
        ends_at=after(**ends),
        author="anna",
        comment="planned work",
    )


def test_a_silence_holds_until_its_end_or_until_it_is_ended(store: Store, clock: WallClock) -> None:
    before = store.version()
    with store.write() as tx:
        short = silenced(tx, "missed-call", hours=1)
        long = silenced(tx, "mention", hours=9)
    assert store.silences(NOON) == (short, long)
    assert store.silences(after(hours=1)) == (long,)
    clock.forward(hours=2)
    with store.write() as tx:
        assert tx.end_silence(long.id).ends_at == clock()
        assert tx.end_silence(short.id) == short
    assert store.silences(clock()) == ()
    assert [one.id for one in store.all_silences()] == [long.id, short.id]
    assert store.silence(short.id) == short
    assert store.silence(77) is None
    assert store.version() > before + 1
    with store.write() as tx, pytest.raises(NotStored, match="no silence 77"):
        tx.end_silence(77)


def test_a_silence_may_last_longer_or_end_sooner_but_not_begin_again(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        one = silenced(tx, "mention", hours=1)
        longer = tx.change_silence(one.id, ends_at=after(hours=3))
        assert (longer.starts_at, longer.ends_at) == (NOON, after(hours=3))
        clock.forward(hours=2)
        assert tx.change_silence(one.id, ends_at=NOON).ends_at == clock()
        with pytest.raises(NotStored, match="over since 2026-03-01 14:00:00 UTC"):
            tx.change_silence(one.id, ends_at=after(hours=9))
        with pytest.raises(NotStored, match="no silence 77"):
            tx.change_silence(77, ends_at=after(hours=9))


def test_a_silence_that_is_ended_before_it_began_never_does(store: Store) -> None:
    with store.write() as tx:
        later = tx.add_silence([], starts_at=after(hours=5), ends_at=after(hours=6), author="", comment="")
        ended = tx.end_silence(later.id)
    assert (ended.starts_at, ended.ends_at) == (NOON, NOON)
    assert not any(ended.is_in_force(at) for at in (NOON, after(hours=5)))


def test_old_settled_alerts_go_and_are_never_found_again(store: Store, clock: WallClock) -> None:
    muted = Route(receiver="", state=EntryState.SUPPRESSED, reason="no route")
    with store.write() as tx:
        because = Because(alert=AlertId("sent"), status=Status.FIRING)
        tx.commit(replace(found("sent", "dead"), because=(because,)))
        tx.commit(found("muted", routes=(muted,)))
        tx.settle_delivered(claimed(tx).id, NOON)
        tx.settle_dead(claimed(tx).id, NOON, "answered 410")
    assert prune(store, clock) == 0
    assert len(store.reasons(AlertId("sent"))) == 1
    clock.forward(days=31)
    assert prune(store, clock) > 0
    assert prune(store, clock) == 0
    assert store.entries() == []
    assert store.alert(AlertId("sent")) is None
    assert store.reasons(AlertId("sent")) == []
    with store.write() as tx:
        committed = tx.commit(found("sent", "muted"))
        assert tx.commit(found("dead", resolved="late")).fresh == ()
        assert tx.commit(found("new")).known == 0
    assert (committed.fresh, committed.known) == ((), 2)
    assert store.ledger() == Ledger(
        counts=Counts(),
        alerts=4,
        entries={"pending": 1, "delivered": 1, "dead": 1, "dropped": 0, "suppressed": 1},
    )


def test_what_is_pending_or_was_settled_lately_stays(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(found("waits", "late"))
        waits, late = claimed(tx), claimed(tx)
        tx.settle_retry(waits.id, NOON, after(days=60), "answered 503")
        tx.settle_delivered(late.id, after(days=10))
    clock.forward(days=31)
    assert prune(store, clock) == 0
    assert {entry.alert.id for entry in store.entries()} == {"waits", "late"}


def test_an_alert_that_was_resolved_lately_stays(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(found("a1"))
        tx.settle_delivered(claimed(tx).id, NOON)
    clock.forward(days=31)
    with store.write() as tx:
        tx.commit(found("a1", resolved="answered"))
        tx.settle_delivered(claimed(tx, now=clock()).id, clock())
    assert prune(store, clock) == 0
    assert len(store.entries()) == 2


def test_attempts_go_with_the_last_entry_of_their_notification(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(found("a1"))
        sent = claimed(tx)
        tx.settle_delivered(sent.id, NOON)
    assert len(store.attempts(sent.id)) == 1
    clock.forward(days=31)
    prune(store, clock)
    assert store.attempts(sent.id) == []


def test_expired_states_old_rejects_closures_and_silences_go(store: Store, clock: WallClock) -> None:
    timed, kept = StateKey(RING.rule, "timed"), StateKey(RING.rule, "kept")

    def state(key: StateKey, **expiry: float) -> StateChange:
        return StateChange(key=key, expected=0, value=b"{}", expires_at=after(**expiry))

    reject = Reject(uid=ANNA, message_id=None, reason="no id", structure="{}", at=NOON)
    with store.write() as tx:
        tx.commit(
            Commit(
                states=(state(RING, hours=1), state(timed, hours=1), state(kept, days=90)),
                timers=(Timer(key=timed, due=NOON, lists=(ANNA,)),),
                rejects=(reject,),
            )
        )
        tx.close_timer(StateKey(RING.rule, "gone"), "the rule was removed")
        tx.close_silence(silenced(tx, "mention", hours=1), still_held=lambda _: None)
        unclosed = silenced(tx, "missed-call", hours=1)
    clock.forward(days=31)
    assert prune(store, clock) == 4
    with store.write() as tx:
        assert set(tx.states([RING, timed, kept])) == {timed, kept}
    assert (store.rejects(), store.closures(), store.all_silences()) == ([], [], [unclosed])


def test_numbers_are_never_given_twice(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(found("a1"))
        tx.settle_delivered(claimed(tx).id, NOON)
    [old] = store.entries()
    clock.forward(days=31)
    prune(store, clock)
    with store.write() as tx:
        tx.commit(found("a2"))
    [new] = store.entries()
    assert new.id > old.id


def test_a_prune_is_bounded_and_goes_on(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(found(*(f"a{n}" for n in range(PRUNE + 5)), routes=to("ops")))
        tx.drop("ops", "a test")
    clock.forward(days=31)
    assert prune(store, clock) == PRUNE
    assert prune(store, clock) == 5
    assert prune(store, clock) == 0
    assert store.ledger().entries["dropped"] == PRUNE + 5
