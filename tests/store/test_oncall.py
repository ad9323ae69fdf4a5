"""Who looks after an alert, who is told next or instead, and what silences hold and give back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from monitor.errors import NotStored
from monitor.store import oncall
from monitor.store.store import Store, Tx
from monitor.store.values import (
    Ack,
    Commit,
    EntryState,
    Escalating,
    Finding,
    Held,
    Matcher,
    Overdue,
    Route,
    Silence,
    Step,
)
from rules.model import Alert, AlertId, Severity, Status
from tests.store.building import (
    NOON,
    WallClock,
    after,
    all_alike,
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

A1, A2, A3, A4 = map(AlertId, ("a1", "a2", "a3", "a4"))
LATER = Step(after=timedelta(minutes=15), receivers=("lead",))
LATEST = Step(after=timedelta(hours=1), receivers=("lead", "boss"))


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
def store(clock: WallClock) -> Iterator[Store]:
    with in_memory(clock) as store:
        yield store


def stepped(*names: str, routes: tuple[Route, ...] = to("ops")) -> Commit:
    commit = lasting(*names, routes=routes)
    return Commit(findings=tuple(replace(f, steps=(LATER, LATEST)) for f in commit.findings))


def silenced(tx: Tx, **ends: float) -> Silence:
    return tx.add_silence(
        [Matcher(label="team", value="web")],
        starts_at=NOON,
        ends_at=after(**ends),
        author="anna",
        comment="a move",
    )


def held_by(silence: Silence, *receivers: str) -> tuple[Route, ...]:
    return tuple(
        Route(receiver=name, state=EntryState.SUPPRESSED, reason=silence.reason, silence=silence.id)
        for name in receivers
    )


def where(store: Store, receiver: str = "ops") -> dict[str, EntryState]:
    return {f"{e.alert.id} {e.alert.status}": e.state for e in store.entries(receiver=receiver)}


def free(_alert: Alert) -> None:
    return None


# --- acknowledgements -------------------------------------------------------------------------------------


def test_an_alert_is_somebodys_until_it_is_given_back(store: Store, clock: WallClock) -> None:
    before = store.version()
    with store.write() as tx:
        tx.commit(lasting("a1", "a2"))
        assert tx.ack(A1, by="anna", comment="on it") == Ack(alert=A1, by="anna", at=NOON, comment="on it")
        clock.forward(minutes=1)
        mine = tx.ack(A1, by="ben")
    assert store.acks([A1, A2]) == {A1: mine}
    assert store.version() > before
    with store.write() as tx:
        tx.unack(A1)
        with pytest.raises(NotStored, match="a1 is not acknowledged"):
            tx.unack(A1)
    assert store.acks([A1]) == {}


def test_nobody_can_take_what_is_not_there_or_is_over(store: Store) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1"))
        tx.commit(lasting("a1", resolved="it recovered"))
        with pytest.raises(NotStored, match=r"a1 is over \(it recovered\)"):
            tx.ack(A1, by="anna")
        with pytest.raises(NotStored, match="there is no alert a9"):
            tx.ack(AlertId("a9"), by="anna")


def test_who_had_an_alert_is_kept_when_it_is_over(store: Store) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1"))
        tx.ack(A1, by="anna")
        tx.commit(lasting("a1", resolved="over"))
    assert store.acks([A1])[A1].by == "anna"


# --- escalation -------------------------------------------------------------------------------------------


def test_steps_come_due_once(store: Store) -> None:
    with store.write() as tx:
        tx.commit(stepped("a1", "a2"))
        assert store.escalations_of(A1) == [
            Escalating(after=LATER.after, receivers=("lead",), due_at=after(minutes=15)),
            Escalating(after=LATEST.after, receivers=("lead", "boss"), due_at=after(hours=1)),
        ]
        assert tx.take_escalations(after(minutes=14)) == []
        due = tx.take_escalations(after(minutes=15))
        assert [(one.alert.id, one.after, one.receivers) for one in due] == [
            ("a1", LATER.after, ("lead",)),
            ("a2", LATER.after, ("lead",)),
        ]
        assert tx.take_escalations(after(minutes=15)) == []
        assert len(tx.take_escalations(after(hours=1), most=1)) == 1
        assert len(tx.take_escalations(after(hours=1))) == 1
    assert store.escalations_of(A1) == []


def test_what_is_over_or_somebodys_goes_no_further(store: Store) -> None:
    with store.write() as tx:
        tx.commit(stepped("a1", "a2"))
        tx.commit(lasting("a1", resolved="over"))
        tx.ack(A2, by="anna")
        assert tx.take_escalations(after(hours=2)) == []
        assert store.escalations_of(A1) == []
        tx.unack(A2)
        assert [one.alert.id for one in tx.take_escalations(after(hours=2))] == ["a2", "a2"]


@pytest.mark.parametrize(
    "route",
    [
        Route(receiver="ops", late=True),
        Route(receiver="ops", summed=True),
        Route(receiver="ops", state=EntryState.SUPPRESSED, reason="cooldown"),
    ],
)
def test_what_is_not_sent_as_such_goes_no_further(store: Store, route: Route) -> None:
    with store.write() as tx:
        tx.commit(stepped("a1", routes=(route,)))
        assert tx.take_escalations(after(days=1)) == []


def test_who_is_told_too_gets_an_entry_with_a_note_and_the_end(store: Store) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1", "a2", "a3", routes=to("ops")))
        tx.commit(lasting("a3", resolved="over"))
        assert tx.tell([A1, A2, A3, A1], "lead", note="not acknowledged within 15 min") == 2
        assert tx.tell([A1, A2], "lead", note="again") == 0
        assert tx.tell([A1], "ops", note="has it") == 0
        told = claimed(tx, "lead")
        assert (told.alerts, told.notes) == (
            (an_alert("a1", lasts=True),),
            {A1: "not acknowledged within 15 min"},
        )
        tx.settle_delivered(told.id, NOON)
        tx.commit(lasting("a1", resolved="over"))
    assert where(store, "lead") == {
        "a1 firing": "delivered",
        "a2 firing": "pending",
        "a1 resolved": "pending",
    }
    assert {e.note for e in store.entries(receiver="lead")} == {"not acknowledged within 15 min", None}
    assert store.ledger().entries["pending"] == 7


# --- fallback ---------------------------------------------------------------------------------------------

BEFORE = {Severity.CRITICAL: after(minutes=8), Severity.WARNING: NOON, Severity.INFO: NOON}


def overdue(tx: Tx, before: datetime = after(minutes=1), *, unclaimed: bool = False) -> list[Overdue]:
    deadlines = {**BEFORE, Severity.WARNING: before}
    return tx.overdue("ops", deadlines, unless_told="lead", unclaimed=unclaimed)


def test_what_was_tried_and_is_too_old_is_overdue(store: Store) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1", "a2"))
        told = claimed(tx)
        tx.settle_retry(told.id, NOON, after(hours=1), "answered 503")
        [one] = overdue(tx)
        assert (one.alert.id, one.created_at, one.reason, one.is_dead) == ("a1", NOON, "answered 503", False)
        assert store.entry(one.entry) is not None
        assert overdue(tx, NOON) == []
        assert [one.alert.id for one in overdue(tx, unclaimed=True)] == ["a1", "a2"]
        tx.tell([A1], "lead", note="instead of ops")
        assert overdue(tx) == []


def test_severities_have_deadlines_of_their_own(store: Store) -> None:
    severities = {"a1": Severity.CRITICAL, "a2": Severity.WARNING, "a3": Severity.INFO}
    with store.write() as tx:
        alerts = [an_alert(name, severity=severity) for name, severity in severities.items()]
        tx.commit(Commit(findings=tuple(Finding(alert=alert, routes=to("ops")) for alert in alerts)))
        for _ in alerts:
            claimed(tx)
        assert [one.alert.id for one in overdue(tx, NOON)] == ["a1"]
        assert [one.alert.id for one in overdue(tx)] == ["a1", "a2"]
        assert tx.overdue("ops", {}, unless_told="lead") == []
    assert store.undelivered() == {("ops", severity): NOON for severity in severities.values()}


def test_what_was_refused_is_overdue_at_once_but_not_for_ever(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1"))
        tx.settle_dead(claimed(tx).id, NOON, "answered 410")
        [one] = overdue(tx, NOON)
        assert (one.reason, one.is_dead) == ("answered 410", True)
        clock.forward(hours=25)
        assert overdue(tx) == []


def test_old_news_sums_ends_and_what_is_over_are_never_overdue(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("late", routes=(Route(receiver="ops", late=True),)))
        tx.commit(found("summed", routes=(Route(receiver="ops", summed=True),)))
        tx.commit(found("a1"))
        tx.commit(found("a1", resolved="over"))
        while claim(tx, choose=all_alike):
            pass
        assert overdue(tx, unclaimed=True) == []


def test_of_groups_only_what_should_have_been_flushed_is_overdue(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1", routes=in_group("ops")))
        clock.forward(seconds=29)
        assert overdue(tx, unclaimed=True) == []
        clock.forward(seconds=1)
        assert [one.alert.id for one in overdue(tx, unclaimed=True)] == ["a1"]


# --- silences ---------------------------------------------------------------------------------------------


def test_what_still_fires_when_a_silence_ends_is_told(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        silence = silenced(tx, hours=1)
        tx.commit(lasting("a1", "a2", routes=held_by(silence, "ops", "oncall")))
        tx.commit(found("a3", routes=held_by(silence, "ops")))
        tx.commit(lasting("a2", resolved="over"))
        assert tx.due_silences(NOON) == []
        now = clock.forward(hours=1)
        assert tx.due_silences(now) == [silence]
        assert tx.close_silence(silence, still_held=free) == Held(held=3, sent=1, over=2)
        assert tx.due_silences(now) == []
        assert claimed(tx, now=now).alerts == (an_alert("a1", lasts=True),)
        assert claim(tx, now=now) is None
    assert where(store) == {
        "a1 firing": "pending",
        "a2 firing": "suppressed",
        "a3 firing": "suppressed",
        "a2 resolved": "suppressed",
    }
    sent = [entry for entry in store.entries() if entry.state is EntryState.PENDING]
    assert {(e.receiver, e.created_at, e.settled_at, e.reason, e.silence) for e in sent} == {
        ("ops", now, None, None, silence.id),
        ("oncall", now, None, None, silence.id),
    }
    closed = store.silence(silence.id)
    assert closed == replace(silence, closed_at=now)


def test_another_silence_goes_on_holding(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        short, long = silenced(tx, hours=1), silenced(tx, hours=2)
        tx.commit(lasting("a1", "a2", routes=held_by(short, "ops")))

        def still_held(alert: Alert) -> int | None:
            return long.id if alert.id == "a1" else None

        clock.forward(hours=1)
        assert tx.close_silence(short, still_held=still_held) == Held(held=2, sent=1, over=0)
        held = {entry.alert.id: (entry.silence, entry.reason) for entry in store.entries()}
        assert held == {"a1": (long.id, long.reason), "a2": (short.id, None)}
        clock.forward(hours=1)
        assert tx.close_silence(long, still_held=free) == Held(held=1, sent=1, over=0)
    assert where(store) == {"a1 firing": "pending", "a2 firing": "pending"}


def test_what_was_held_by_who_did_not_know_of_the_end_is_given_back_too(
    store: Store, clock: WallClock
) -> None:
    with store.write() as tx:
        silence = silenced(tx, hours=1)
        tx.commit(lasting("a1", routes=held_by(silence, "ops")))
        now = clock.forward(minutes=1)
        ended = tx.end_silence(silence.id)
        assert tx.close_silence(ended, still_held=free).sent == 1
        clock.forward(seconds=1)
        tx.commit(lasting("a2", routes=held_by(silence, "ops")))
        assert tx.due_silences(now + oncall.AFTERMATH) == []
        [again] = tx.due_silences(clock())
        assert tx.close_silence(again, still_held=free) == Held(held=1, sent=1, over=0)
        assert tx.due_silences(clock()) == []
    assert where(store) == {"a1 firing": "pending", "a2 firing": "pending"}


def test_a_clock_that_goes_back_brings_no_silence_back(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        made = tx.add_silence((), starts_at=NOON, ends_at=after(hours=1), author="anna", comment="x")
        clock.forward(hours=1)
        [due] = tx.due_silences(clock())
        tx.close_silence(due, still_held=lambda _: None)
    clock.forward(minutes=-30)
    assert made.is_in_force(clock())
    assert not any(one.is_in_force(clock()) for one in store.silences(clock()))


def test_a_silence_that_held_nothing_says_so(store: Store) -> None:
    with store.write() as tx:
        silence = silenced(tx, hours=0)
        assert tx.close_silence(silence, still_held=free) == Held(held=0, sent=0, over=0)


def test_what_is_given_back_is_told_in_its_group(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        silence = silenced(tx, hours=1)
        tx.commit(lasting("a1", "a2", routes=in_group("ops", silence=silence.id)))
        assert store.groups() == []
        assert claim(tx, now=after(minutes=10), choose=nothing) is None
        clock.forward(hours=1)
        tx.close_silence(silence, still_held=free)
        due = tx.next_due("ops")
        assert due is not None
        assert clock() <= due <= clock() + timedelta(minutes=5)
        told = claimed(tx, now=due, choose=nothing)
    assert ([alert.id for alert in told.alerts], told.group) == (["a1", "a2"], {"team": "web"})


def test_what_is_given_back_joins_a_group_that_was_opened_meanwhile(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        silence = silenced(tx, hours=1)
        tx.commit(lasting("a1", routes=in_group("ops", silence=silence.id)))
        tx.commit(lasting("a2", routes=in_group("ops")))
        first = claimed(tx, now=after(minutes=1), choose=nothing)
        tx.settle_delivered(first.id, after(minutes=1))
        clock.forward(hours=1)
        tx.close_silence(silence, still_held=free)
        due = tx.next_due("ops")
        assert due is not None
        told = claimed(tx, now=due, choose=nothing)
    assert ([a.id for a in told.alerts], [a.id for a in told.others]) == (["a1"], ["a2"])
    assert first.opened is not None
    assert told.opened == replace(first.opened, flushed_at=after(minutes=1))


def test_a_group_that_told_its_news_and_closed_opens_anew_for_what_is_given_back(
    store: Store, clock: WallClock
) -> None:
    with store.write() as tx:
        silence = silenced(tx, hours=1)
        tx.commit(found("a1", routes=in_group("ops")))
        first = claimed(tx, now=after(minutes=1), choose=nothing)
        tx.settle_delivered(first.id, after(minutes=1))
        tx.commit(lasting("a2", routes=in_group("ops", silence=silence.id)))
        clock.forward(hours=1)
        tx.close_silence(silence, still_held=free)
        told = claimed(tx, now=after(hours=1, seconds=30), choose=nothing)
    assert told.opened is not None
    assert first.opened is not None
    assert told.opened.subject != first.opened.subject
    assert told.group == first.group


def test_what_waits_when_a_silence_begins_is_held(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oncall, "HOLD_AT_ONCE", 2)
    with store.write() as tx:
        tx.commit(lasting("a1", "a2", "a3", routes=to("ops", "oncall")))
        tx.commit(lasting("a3", resolved="over"))
        sending = claimed(tx)
        tx.commit(lasting("a4", routes=in_group("ops")))
        silence = silenced(tx, hours=1)
        assert tx.hold(silence, lambda alert: alert.id != "a2") == 4
        assert store.groups() == []
        assert [alert.id for alert in claimed(tx).alerts] == ["a2"]
        assert claim(tx) is None
        tx.settle_retry(sending.id, NOON, NOON, "answered 503")
        assert claimed(tx).id == sending.id  # it may have arrived: it stays on its way
    assert where(store) == {
        "a1 firing": "pending",
        "a2 firing": "pending",
        "a3 firing": "suppressed",
        "a3 resolved": "suppressed",
        "a4 firing": "suppressed",
    }
    assert where(store, "oncall")["a1 firing"] == "suppressed"
    held = [e for e in store.entries() if e.state is EntryState.SUPPRESSED]
    assert {e.silence for e in held} == {silence.id}
    assert {e.reason for e in held if e.alert.status is Status.FIRING} == {
        f"silenced until 2026-03-01 13:00:00 UTC by silence {silence.id} by anna: a move"
    }


def test_ends_are_not_held_where_the_beginning_was_told(store: Store) -> None:
    with store.write() as tx:
        tx.commit(lasting("a1"))
        tx.settle_delivered(claimed(tx).id, NOON)
        silence = silenced(tx, hours=1)
        end = Finding(alert=an_alert("a1", resolved="over", lasts=True), routes=held_by(silence, "ops"))
        tx.commit(Commit(findings=(end,)))
        assert tx.hold(silence, lambda _: True) == 0
        assert claimed(tx).status is Status.RESOLVED
