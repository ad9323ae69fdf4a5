"""Groups after any steps: open while something waits or lasts, due at their ticks, nothing left behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from monitor.store.store import Store, Tx
from monitor.store.values import EntryState, Notification, Silence
from rules.model import Alert, AlertId, Status
from tests.store.building import (
    NOON,
    WallClock,
    all_alike,
    an_alert,
    claim,
    found,
    in_group,
    in_memory,
    lasting,
    to,
)

EXAMPLES = int(os.environ.get("STORE_EXAMPLES", "15")) * 3
NAMES = st.sampled_from(["a1", "a2", "a3", "a4"])
STEPS = st.one_of(
    st.tuples(st.just("found"), NAMES),
    st.tuples(st.just("lasting"), NAMES),
    st.tuples(st.just("silenced"), NAMES),
    st.tuples(st.just("over"), NAMES),
    st.tuples(st.just("tell"), NAMES),
    st.tuples(st.just("ack"), NAMES),
    *(
        st.tuples(st.just(what), st.none())
        for what in ("deliver", "retry", "bury", "forget", "redrive", "drop", "hold", "free", "wait", "prune")
    ),
)
SILENCE = Silence(
    id=1, matchers=(), starts_at=NOON, ends_at=NOON, author="", comment="", created_at=NOON
)  # fmt: skip


class Play:
    """Steps against a store, each in a transaction of its own."""

    def __init__(self, store: Store, clock: WallClock) -> None:
        self.store, self.clock = store, clock

    def step(self, what: str, name: str | None) -> None:
        with self.store.write() as tx:
            self.take(tx, what, name or "")
        check(self.store)

    def take(self, tx: Tx, what: str, name: str) -> None:
        now = self.clock()
        ours = self.store.alert(AlertId(name))
        steps: dict[str, Callable[[], object]] = {
            "found": lambda: tx.commit(found(name, routes=in_group("ops"))),
            "lasting": lambda: tx.commit(lasting(name, routes=in_group("ops"))),
            "silenced": lambda: tx.commit(lasting(name, routes=in_group("ops", silence=1))),
            "over": lambda: tx.commit(lasting(name, routes=to("ops"), resolved="over")),
            "tell": lambda: tx.tell([AlertId(name)], "ops", note="too"),
            "ack": lambda: is_firing(ours) and tx.ack(AlertId(name), by="anna"),
            "deliver": lambda: self.settle(tx, lambda one: tx.settle_delivered(one.id, now)),
            "retry": lambda: self.settle(tx, lambda one: tx.settle_retry(one.id, now, now, "503")),
            "bury": lambda: self.settle(tx, lambda one: tx.settle_dead(one.id, now, "410")),
            "forget": lambda: claim(tx, now=now, choose=all_alike),
            "redrive": lambda: tx.redrive("ops"),
            "drop": lambda: tx.drop("ops", "a test"),
            "hold": lambda: tx.hold(SILENCE, lambda alert: alert.id < "a3"),
            "free": lambda: tx.close_silence(SILENCE, still_held=lambda _: None),
            "wait": lambda: self.clock.forward(minutes=4),
            "prune": lambda: tx.prune(self.clock.forward(days=3), timedelta(days=2)),
        }
        steps[what]()

    def settle(self, tx: Tx, settle: Callable[[Notification], None]) -> None:
        notification = claim(tx, now=self.clock(), choose=all_alike)
        if notification is not None:
            settle(notification)


def is_firing(alert: Alert | None) -> bool:
    return alert is not None and alert.status is Status.FIRING


def check(store: Store) -> None:
    """What groups are follows from the entries."""
    entries = store.entries(limit=1_000)
    began = {(e.alert.id, e.receiver): e for e in entries if e.alert.status is Status.FIRING}
    grouped = [e for e in entries if e.grouped]
    alive = [e for e in grouped if e.state is EntryState.PENDING or still_lasts(store, e.state, e.alert)]
    assert [group.group.key for group in store.groups()] == sorted({e.grouped for e in alive if e.grouped})
    waiting = [
        e.created_at
        for e in grouped
        if (e.state, e.notification) == (EntryState.PENDING, None)
        and not (
            e.alert.status is Status.RESOLVED
            and (first := began.get((e.alert.id, e.receiver))) is not None
            and first.state is EntryState.PENDING
        )
    ]
    with store.write() as tx:
        rows = tx._connection.exec_driver_sql(
            "SELECT due_at, closed_at, subject FROM groups WHERE due_at IS NOT NULL"
        ).all()
    assert [row.closed_at for row in rows] == [None] * len(rows)
    dues = [group.flush_at(min(waiting)) for group in store.groups() if waiting]
    assert [row.due_at for row in rows] == [int(due.timestamp() * 1_000_000) for due in dues]


def still_lasts(store: Store, state: EntryState, told: Alert) -> bool:
    now = store.alert(told.id)
    return state is EntryState.DELIVERED and told.status is Status.FIRING and told.lasts and is_firing(now)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(STEPS, max_size=25))
def test_groups_follow_from_the_entries_and_everything_is_told_in_the_end(
    steps: list[tuple[str, str | None]],
) -> None:
    clock = WallClock()
    with in_memory(clock) as store:
        play = Play(store, clock)
        for what, name in steps:
            play.step(what, name)
        for _ in range(40):  # whatever happened, time and a receiver that answers clear the queue
            clock.forward(minutes=2)
            play.step("deliver", None)
        assert [entry for entry in store.entries() if entry.state is EntryState.PENDING] == []
        with store.write() as tx:
            assert tx.next_due("ops") is None
            tx.commit(found("new", routes=in_group("ops")))
            clock.forward(minutes=5)
            told = claim(tx, now=clock())
        assert told is not None
        assert told.alerts == (an_alert("new"),)
