"""The store against a model of a few dictionaries: any order of steps, the file reopened between them.

Each finding is in exactly one state for each receiver, ids never change, nothing is lost, nothing is twice.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from monitor.errors import Conflict
from monitor.store.store import Store
from monitor.store.values import (
    Bundle,
    Commit,
    Counts,
    Cursor,
    Entry,
    EntryId,
    EntryState,
    Kind,
    Known,
    Notification,
    NotificationId,
    UserRow,
    Waiting,
)
from rules.model import AlertId, Because, MessageId, StateChange, Status, UserId
from tests.store.building import ANNA, NOON, RING, WallClock, found, open_store, to

EXAMPLES = int(os.environ.get("STORE_EXAMPLES", "15"))
LEASE = timedelta(minutes=1)
KEEP = timedelta(days=2)
GRACE = timedelta(days=1)
PENDING, DELIVERED, DEAD, DROPPED = (
    EntryState.PENDING,
    EntryState.DELIVERED,
    EntryState.DEAD,
    EntryState.DROPPED,
)

NAMES = st.lists(st.sampled_from(["a0", "a1", "a2"]), min_size=1, max_size=3)
RECEIVERS = st.sampled_from(["ops", "oncall"])
PEOPLE = st.sets(st.sampled_from([UserId("ben"), UserId("cleo"), UserId("dora")]), min_size=1)
OUTCOMES = st.sampled_from([DELIVERED, PENDING, DEAD])
PICK = st.integers(0, 1_000)
PICKS = st.sets(st.integers(0, 30), min_size=1, max_size=4)


class Key(NamedTuple):
    """What an entry is unique by."""

    alert: str
    status: Status
    receiver: str


@dataclass
class Line:
    """An entry as the model has it."""

    state: EntryState
    settled_at: datetime | None = None
    notification: str | None = None
    id: int | None = None  # learnt from the store, and never another


@dataclass
class Sent:
    """A notification as the model has it."""

    receiver: str
    due: datetime
    state: EntryState = PENDING
    born: datetime = NOON


@dataclass
class Model:
    cursor: int | None = None
    read: tuple[MessageId, ...] | None = None
    activity: tuple[float, ...] | None = None
    looked_at: datetime | None = None
    people: dict[UserId, UserRow] = field(default_factory=dict)  # all but Anna
    version: int = 0
    fetched: int = 0
    alerts: dict[str, Status] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)
    why: dict[str, set[tuple[Status, int]]] = field(default_factory=dict)
    changed: dict[str, datetime] = field(default_factory=dict)
    buried: set[str] = field(default_factory=set)
    lines: dict[Key, Line] = field(default_factory=dict)
    sent: dict[str, Sent] = field(default_factory=dict)
    pruned: Counter[str] = field(default_factory=Counter)

    def find(self, name: str, status: Status, receivers: Sequence[str], now: datetime) -> bool:
        """Take one finding; whether it was news."""
        before = self.alerts.get(name, Status.RESOLVED if name in self.buried else None)
        if before is not (Status.FIRING if status is Status.RESOLVED else None):
            return False
        self.alerts[name], self.changed[name] = status, now
        self.why.setdefault(name, set()).add((status, 0))
        told = self.told(name)
        for receiver in {*receivers, *told} if status is Status.RESOLVED else receivers:
            silent = status is Status.RESOLVED and receiver not in told
            self.lines[Key(name, status, receiver)] = (
                Line(EntryState.SUPPRESSED, settled_at=now) if silent else Line(PENDING)
            )
        return True

    def told(self, name: str) -> set[str]:
        """Who was told, or is to be told, that the alert began."""
        return {
            key.receiver
            for key, line in self.lines.items()
            if (key.alert, key.status) == (name, Status.FIRING) and line.state in (PENDING, DELIVERED, DEAD)
        }

    def update(self, name: str, revision: int, now: datetime) -> bool:
        """Bring an alert up to date; whether it was news."""
        if self.alerts.get(name) is not Status.FIRING or revision <= self.revisions.get(name, 0):
            return False
        self.revisions[name], self.changed[name] = revision, now
        self.why[name].add((Status.FIRING, revision))
        return True

    def waits(self, key: Key) -> bool:
        before = self.lines.get(key._replace(status=Status.FIRING))
        return key.status is Status.RESOLVED and before is not None and before.state is PENDING

    def lines_of(self, sent: str, *states: EntryState) -> dict[Key, Line]:
        return {k: v for k, v in self.lines.items() if v.notification == sent and v.state in states}

    def open(self, receiver: str) -> dict[str, Sent]:
        """The receiver's notifications that a claim may offer again, now or later."""
        return {
            name: sent
            for name, sent in self.sent.items()
            if (sent.receiver, sent.state) == (receiver, PENDING)
            and not any(self.waits(key) for key in self.lines_of(name, PENDING))
        }

    def offer(self, receiver: str) -> list[Key]:
        return [
            key
            for key, line in sorted(self.lines.items(), key=lambda pair: pair[1].id or 0)
            if (key.receiver, line.state, line.notification) == (receiver, PENDING, None)
            and not self.waits(key)
        ]

    def chosen(self, which: Sequence[int] | str, *states: EntryState) -> dict[Key, Line]:
        return {
            key: line
            for key, line in self.lines.items()
            if line.state in states
            and (key.receiver == which if isinstance(which, str) else line.id in which)
        }

    def chosen_any(self, *states: EntryState) -> bool:
        return any(line.state in states for line in self.lines.values())

    def told_later(self, key: Key) -> bool:
        end = self.lines.get(key._replace(status=Status.RESOLVED))
        return (
            key.status is Status.FIRING
            and end is not None
            and (end.state is DELIVERED or (end.state is PENDING and end.notification is not None))
        )

    def redrive(self, which: Sequence[int] | str, now: datetime) -> int:
        chosen = {k: v for k, v in self.chosen(which, DEAD).items() if not self.told_later(k)}
        for line in chosen.values():
            line.state, line.settled_at = PENDING, None
        for line in chosen.values():
            if line.notification is None:
                continue
            if self.lines_of(line.notification, DEAD):
                line.notification = None
            else:
                self.sent[line.notification].state = PENDING
                self.sent[line.notification].due = now
        return len(chosen)

    def drop(self, which: Sequence[int] | str, now: datetime) -> int:
        chosen = self.chosen(which, PENDING, DEAD)
        for line in chosen.values():
            line.state, line.settled_at = DROPPED, now
        for line in chosen.values():
            if line.notification and not self.lines_of(line.notification, PENDING, DEAD):
                self.sent[line.notification].state = DROPPED
        return len(chosen)

    def add(self, uids: Iterable[UserId], now: datetime, **changes: Any) -> None:
        for uid in uids:
            row = self.people.get(uid) or UserRow(uid=uid, start_at=now)
            self.people[uid] = replace(row, left_at=None, **changes)

    def leave(self, uids: Iterable[UserId], now: datetime) -> int:
        going = [uid for uid in uids if uid in self.people and not self.people[uid].left_at]
        self.people |= {uid: replace(self.people[uid], left_at=now) for uid in going}
        return len(going)

    def forget(self, before: datetime) -> None:
        for uid, row in list(self.people.items()):
            if row.left_at and row.left_at < before:
                del self.people[uid]

    def prune(self, before: datetime) -> None:
        for name, changed in list(self.changed.items()):
            lines = {key: line for key, line in self.lines.items() if key.alert == name}
            if changed < before and all(v.settled_at and v.settled_at < before for v in lines.values()):
                self.buried.add(name)
                del self.alerts[name], self.changed[name], self.why[name]
                self.revisions.pop(name, None)
                for key, line in lines.items():
                    self.pruned[line.state] += 1
                    del self.lines[key]
        for name, sent in list(self.sent.items()):
            if sent.born < before and sent.state is not PENDING and not self.lines_of(name, *EntryState):
                del self.sent[name]


def with_reasons(commit: Commit) -> Commit:
    alerts = [finding.alert for finding in commit.findings]
    return replace(
        commit,
        because=tuple(Because(alert=a.id, status=a.status, revision=a.revision) for a in alerts),
    )


class StoreAgainstModel(RuleBasedStateMachine):
    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "cometwatch.db"
        self.clock = WallClock()
        self.model = Model()
        shutil.copy(self.template, self.path)
        self.store: Store = open_store(self.path, now=self.clock)

    @initialize()
    def watch(self) -> None:
        with self.store.write() as tx:
            tx.add_users([ANNA], NOON)
        self.commit(["a0", "a1"], end=False, receivers={"ops", "oncall"}, again=False)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    @rule(minutes=st.sampled_from([0.5, 1, 90]))
    def time_passes(self, minutes: float) -> None:
        self.clock.forward(minutes=minutes)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = open_store(self.path, now=self.clock)
        assert not self.store.opened_empty

    @rule(uids=PEOPLE, cohort=st.sampled_from([None, "agents", "vip"]))
    def people_come(self, uids: set[UserId], cohort: str | None) -> None:
        now = self.clock()
        away = {uid for uid in uids if uid not in self.model.people or self.model.people[uid].left_at}
        with self.store.write() as tx:
            if cohort is None:
                tx.add_users(uids, now)
            else:
                assert set(tx.find(cohort, uids, now)) == away
        self.model.add(uids, now, **({"cohort": cohort, "found_at": now} if cohort else {}))

    @rule(uids=PEOPLE)
    def people_leave(self, uids: set[UserId]) -> None:
        now = self.clock()
        with self.store.write() as tx:
            assert tx.leave(uids, now) == self.model.leave(uids, now)

    @rule(read=st.sets(st.integers(0, 10**6), max_size=4), stale=st.booleans())
    def look_again(self, read: set[int], stale: bool) -> None:
        now, ids = self.clock(), tuple(map(MessageId, sorted(read)))
        expected = Cursor(id=MessageId(10**30) if stale else self.cursor_id())
        step = Commit(uid=ANNA, expected=expected, recent=ids, looked_at=now)
        with self.store.write() as tx:
            if stale:
                with pytest.raises(Conflict):
                    tx.commit(step)
                return
            tx.commit(step)
        self.model.read, self.model.looked_at = ids, now

    @rule(names=NAMES, end=st.booleans(), receivers=st.sets(RECEIVERS, min_size=1), again=st.booleans())
    def commit(self, names: list[str], end: bool, receivers: set[str], again: bool) -> None:
        status = Status.RESOLVED if end else Status.FIRING
        step = self.step(names, end, sorted(receivers))
        with self.store.write() as tx:
            committed = tx.commit(step)
            if again:  # what is found again in the same transaction is known there
                assert tx.commit(Commit(findings=step.findings)).fresh == ()
        now = self.clock()
        fresh = [self.model.find(name, status, sorted(receivers), now) for name in names]
        news = [name for name, is_new in zip(names, fresh, strict=True) if is_new]
        assert [finding.alert.id for finding in committed.fresh] == news
        assert committed.known == fresh.count(False)
        self.model.cursor = (self.model.cursor or 0) + 1
        self.model.version += 1
        self.model.fetched += len(names)
        self.model.activity = step.activity
        self.model.read = self.model.read if step.recent is None else step.recent

    @rule(name=st.sampled_from(["a0", "a1", "a2"]), revision=st.integers(1, 3))
    def bring_up_to_date(self, name: str, revision: int) -> None:
        known = name in self.model.alerts or name in self.model.buried
        if known:  # of an alert that is not stored, any revision is its beginning
            with self.store.write() as tx:
                fresh = tx.commit(with_reasons(found(name, revision=revision))).fresh
            assert bool(fresh) == self.model.update(name, revision, self.clock())

    @rule(names=NAMES, stale=st.sampled_from(["cursor", "state", "bug"]))
    def commit_that_fails(self, names: list[str], stale: str) -> None:
        step = self.step(names, end=False, receivers=["ops"], cursor_off=stale == "cursor")
        if stale == "state":
            step = self.step(names, end=False, receivers=["ops"], version_off=1)
        error = ZeroDivisionError if stale == "bug" else Conflict
        with self.store.write() as tx, pytest.raises(error), tx.part():
            tx.commit(step)
            raise ZeroDivisionError

    def step(
        self,
        names: list[str],
        end: bool,
        receivers: Sequence[str],
        *,
        cursor_off: bool = False,
        version_off: int = 0,
    ) -> Commit:
        model = self.model
        change = StateChange(key=RING, expected=model.version + version_off, value=b"{}")
        expected = Cursor(id=MessageId(10**30) if cursor_off else self.cursor_id())
        commit = found(*names, routes=to(*receivers), resolved="over" if end else None)
        return replace(
            with_reasons(commit),
            uid=ANNA,
            expected=expected,
            cursor=Cursor(id=MessageId((model.cursor or 0) + 1)),
            activity=(float(model.fetched),),
            recent=(MessageId(model.fetched),) if end else None,
            states=(change,),
            counts=Counts(fetched=len(names)),
        )

    def cursor_id(self) -> MessageId | None:
        return None if self.model.cursor is None else MessageId(self.model.cursor)

    @rule(receiver=RECEIVERS, most=st.integers(0, 3))
    def claim_and_die(self, receiver: str, most: int) -> None:
        self.claim(receiver, most)

    def claim(self, receiver: str, most: int) -> Notification | None:
        now = self.clock()
        offers: list[list[Key]] = []

        def choose(offered: Sequence[Waiting]) -> Bundle | None:
            offers.append([self.key(entry.id) for entry in offered])
            alike = [e.id for e in offered if e.status is offered[0].status][:most]
            if not alike:
                return None
            return Bundle(kind=Kind.ALERTS, status=offered[0].status, entries=tuple(alike))

        with self.store.write() as tx:
            claimed = tx.claim(receiver, now=now, lease=LEASE, choose=choose)
            next_due = tx.next_due(receiver)
        self.check_claim(receiver, most, claimed, offers)
        assert next_due == min((sent.due for sent in self.model.open(receiver).values()), default=None)
        return claimed

    def key(self, entry: EntryId) -> Key:
        return next(key for key, line in self.model.lines.items() if line.id == entry)

    def check_claim(
        self, receiver: str, most: int, claimed: Notification | None, offers: list[list[Key]]
    ) -> None:
        model, now = self.model, self.clock()
        due = {name: sent for name, sent in model.open(receiver).items() if sent.due <= now}
        if due:
            assert claimed is not None
            assert due[claimed.id].due == min(sent.due for sent in due.values())
            assert offers == []
        else:
            offer = model.offer(receiver)
            assert offers == ([offer] if offer else [])
            taken = [key for key in offer if key.status is offer[0].status][:most]
            assert (claimed is None) == (not taken)
            if claimed is None:
                return
            assert claimed.id not in model.sent
            for key in taken:
                model.lines[key].notification = claimed.id
            model.sent[claimed.id] = Sent(receiver, now, born=now)
        content = sorted(model.lines_of(claimed.id, PENDING).items(), key=lambda pair: pair[1].id or 0)
        assert [(a.id, a.status) for a in claimed.alerts] == [(k.alert, k.status) for k, _ in content]
        assert not any(model.waits(key) for key, _ in content)
        model.sent[claimed.id].due = now + LEASE

    @rule(receiver=RECEIVERS, most=st.integers(1, 3), outcome=OUTCOMES)
    def claim_and_settle(self, receiver: str, most: int, outcome: EntryState) -> None:
        claimed = self.claim(receiver, most)
        if claimed:
            self.settle(claimed.id, outcome)

    @precondition(lambda self: self.model.sent)
    @rule(pick=PICK, outcome=OUTCOMES)
    def settle_late(self, pick: int, outcome: EntryState) -> None:
        self.settle(NotificationId(list(self.model.sent)[pick % len(self.model.sent)]), outcome)

    def settle(self, name: NotificationId, outcome: EntryState) -> None:
        sent, now = self.model.sent[name], self.clock()
        with self.store.write() as tx:
            if outcome is DELIVERED:
                tx.settle_delivered(name, now)
            elif outcome is DEAD:
                tx.settle_dead(name, now, "answered 410")
            else:
                tx.settle_retry(name, now, now + timedelta(minutes=5), "answered 503")
        if outcome is DELIVERED:
            moved = self.model.lines_of(name, PENDING, DEAD)
            sent.state = DELIVERED
        elif sent.state is not PENDING:
            return
        elif outcome is DEAD:
            moved = self.model.lines_of(name, PENDING)
            sent.state = DEAD
        else:
            sent.due = now + timedelta(minutes=5)
            return
        for line in moved.values():
            line.state, line.settled_at = outcome, now

    @precondition(lambda self: self.model.chosen_any(DEAD))
    @rule(picks=RECEIVERS | PICKS)
    def redrive(self, picks: str | set[int]) -> None:
        which = self.some(picks, DEAD)
        with self.store.write() as tx:
            assert tx.redrive(which) == self.model.redrive(which, self.clock())

    @precondition(lambda self: self.model.chosen_any(PENDING, DEAD))
    @rule(picks=PICKS)
    def drop(self, picks: set[int]) -> None:
        which = self.some(picks, PENDING, DEAD, DELIVERED)
        with self.store.write() as tx:
            assert tx.drop(which, "a test") == self.model.drop(which, self.clock())

    def some(self, picks: str | set[int], *states: EntryState) -> list[EntryId] | str:
        if isinstance(picks, str):
            return picks
        known = sorted(line.id for line in self.model.lines.values() if line.id and line.state in states)
        return sorted({EntryId(known[pick % len(known)]) for pick in picks})

    @rule(days=st.integers(0, 3))
    def prune(self, days: int) -> None:
        now = self.clock.forward(days=days)
        with self.store.write() as tx:
            while tx.prune(now, KEEP, grace=GRACE):
                pass
        self.model.prune(now - KEEP)
        self.model.forget(now - GRACE)

    @invariant()
    def every_finding_is_in_one_state_for_each_receiver(self) -> None:
        entries = self.store.entries(limit=1_000)
        stored = {key_of(entry): entry for entry in entries}
        assert len(stored) == len(entries)
        assert stored.keys() == self.model.lines.keys()
        for key, line in self.model.lines.items():
            entry = stored[key]
            line.id = line.id or entry.id
            assert (entry.id, entry.state, entry.notification, entry.settled_at) == (
                line.id,
                line.state,
                line.notification,
                line.settled_at,
            )

    @invariant()
    def every_alert_is_of_its_latest_revision_and_has_its_reasons(self) -> None:
        for name, status in self.model.alerts.items():
            [known] = self.known(name).values()
            assert known[:2] == (status, self.model.revisions.get(name, 0))
            stored = [(why.because.status, why.because.revision) for why in self.store.reasons(AlertId(name))]
            assert stored == sorted(self.model.why[name])
        assert all(self.store.reasons(AlertId(name)) == [] for name in self.model.buried)

    def known(self, name: str) -> dict[AlertId, Known]:
        with self.store.write() as tx:
            return tx.known([AlertId(name)])

    @invariant()
    def nothing_is_lost_from_the_sums(self) -> None:
        ledger = self.store.ledger()
        assert ledger.counts.fetched == self.model.fetched
        assert ledger.alerts == len(self.model.alerts) + len(self.model.buried)
        live = Counter(line.state for line in self.model.lines.values())
        assert Counter(ledger.entries) == live + self.model.pruned
        pending = Counter(k.receiver for k, line in self.model.lines.items() if line.state is PENDING)
        assert {d.receiver: d.pending for d in self.store.depths() if d.pending} == dict(pending)

    @invariant()
    def the_cursor_stands_where_the_last_commit_left_it(self) -> None:
        model = self.model
        if (user := self.store.user(ANNA)) is not None:
            assert user.cursor == Cursor(id=self.cursor_id())
            assert (user.recent, user.activity, user.looked_at) == (
                model.read,
                model.activity,
                model.looked_at,
            )
        with self.store.write() as tx:
            state = tx.states([RING]).get(RING)
        assert (state.version if state else 0) == self.model.version

    @invariant()
    def everybody_is_there_until_forgotten(self) -> None:
        assert {row.uid: row for row in self.store.users() if row.uid != ANNA} == self.model.people

    @invariant()
    def alerts_stand_as_last_found(self) -> None:
        assert {alert.id: alert.status for alert in self.store.alerts(1_000)} == self.model.alerts


def key_of(entry: Entry) -> Key:
    return Key(entry.alert.id, entry.alert.status, entry.receiver)


def test_the_store_does_as_the_model(tmp_path_factory: Any) -> None:
    template = tmp_path_factory.mktemp("template") / "cometwatch.db"
    open_store(template).close()

    class Machine(StoreAgainstModel):
        pass

    Machine.template = template
    Machine.TestCase.settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=40,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],  # explaining traces every line of SQLAlchemy: minutes
    )
    Machine.TestCase().runTest()
