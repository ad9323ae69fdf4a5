"""From a store of an older version to one of today: nothing is lost, and a new store is made the same."""

from __future__ import annotations

import os
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from msgspec.structs import replace
from sqlalchemy import Connection, create_engine

from monitor.errors import StoreError
from monitor.store.migrations import REVISIONS
from monitor.store.opening import _make, _upgrade
from monitor.store.tables import metadata
from monitor.store.values import Commit, Counts, Cursor, EntryState, Matcher, Reason, Seen, Silence, UserRow
from rules.model import AlertId, Because, MessageId, Severity, State, Status, Timer, UserId
from tests.store.building import (
    ANNA,
    NOON,
    RING,
    after,
    an_alert,
    claimed,
    found,
    in_group,
    nothing,
    one_by_one,
    open_store,
)

BEN = UserId("ben")
V0001 = Path(__file__).with_name("v0001.sql")  # dumped from a store that the first version had filled
V0002 = Path(__file__).with_name("v0002.sql")  # and the second
V0003 = Path(__file__).with_name("v0003.sql")  # and the third
AT_9 = Cursor(id=MessageId(9), above=(Seen(id=MessageId(11), at=NOON),))


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store as version 1 left it: two users, a pending timer, a delivered alert and one to try again."""
    return filled(tmp_path / "cometwatch.db", V0001)


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """A store as version 2 left it: a discovered user, one alert to try again, one that waits, one over."""
    return filled(tmp_path / "cometwatch.db", V0002)


@pytest.fixture
def third(tmp_path: Path) -> Path:
    """A store as version 3 left it: alerts in every state, two mutes, one of them over."""
    return filled(tmp_path / "cometwatch.db", V0003)


def filled(path: Path, dump: Path) -> Path:
    connection = sqlite3.connect(path)
    connection.executescript(dump.read_text("utf-8"))
    connection.close()
    return path


def test_a_store_of_the_first_version_is_taken_over_whole(old: Path) -> None:
    with open_store(old) as store:
        assert not store.opened_empty
        assert store.watching_since == NOON
        assert store.users() == [
            UserRow(uid=ANNA, start_at=NOON, cursor=AT_9, watermark=after(seconds=5)),
            UserRow(uid=BEN, start_at=NOON),
        ]
        assert store.timers() == [Timer(key=RING, due=after(seconds=60), lists=(ANNA, BEN))]
        assert store.fingerprints() == {RING.rule: "f1"}
        assert {entry.alert.id: entry.state for entry in store.entries()} == {
            "a1": EntryState.PENDING,
            "a2": EntryState.DELIVERED,
        }
        assert [(one.comment, one.matchers) for one in store.silences(NOON)] == [
            ("a game", (Matcher(label="rule", value="mention"),))
        ]
        assert [reject.message_id for reject in store.rejects()] == ["10"]
        assert store.ledger().counts == Counts(fetched=3, evaluated=2, rejected=1)


def test_work_goes_on_where_the_first_version_left_it(old: Path) -> None:
    ids = tuple(map(MessageId, (9, 11, 14)))
    with open_store(old) as store:
        with store.write() as tx:
            again = claimed(tx, now=after(minutes=5))
            assert (again.alerts, again.attempts) == ((an_alert("a1"),), 1)
            assert [attempt.detail for attempt in store.attempts(again.id)] == ["answered 503"]
            assert tx.states([RING]) == {RING: State(version=1, value=b"{}")}
            assert tx.commit(found("a1", "a2")).known == 2
            tx.commit(
                Commit(
                    uid=ANNA,
                    expected=AT_9,
                    cursor=Cursor(id=MessageId(14)),
                    activity=(0.5, 2.0),
                    recent=ids,
                    looked_at=NOON,
                )
            )
            tx.find("agents", [BEN], after(days=1))
        assert store.user(ANNA) == UserRow(
            uid=ANNA,
            start_at=NOON,
            cursor=Cursor(id=MessageId(14)),
            watermark=after(seconds=5),
            activity=(0.5, 2.0),
            recent=ids,
            looked_at=NOON,
        )
        assert store.user(BEN) == UserRow(uid=BEN, start_at=NOON, cohort="agents", found_at=after(days=1))
        with store.write() as tx:
            assert tx.prune(after(days=60), timedelta(days=30)) > 0


def test_a_store_of_the_second_version_is_taken_over_whole(second: Path) -> None:
    with open_store(second) as store:
        assert not store.opened_empty
        assert store.user(ANNA) == UserRow(
            uid=ANNA,
            start_at=NOON,
            cursor=AT_9,
            watermark=after(seconds=5),
            activity=(0.5, 2.0),
            recent=tuple(map(MessageId, (9, 11))),
            looked_at=NOON,
        )
        assert store.timers() == [Timer(key=RING, due=after(seconds=60), lists=(ANNA, BEN))]
        assert [(e.alert.id, e.alert.status, e.state, e.summed) for e in reversed(store.entries())] == [
            ("a1", "firing", EntryState.PENDING, False),
            ("a2", "firing", EntryState.DELIVERED, False),
            ("a3", "firing", EntryState.PENDING, False),
            ("a2", "resolved", EntryState.PENDING, False),
        ]
        assert store.reasons(AlertId("a1")) == []


def test_work_goes_on_where_the_second_version_left_it(second: Path) -> None:
    ids = [AlertId(f"a{number}") for number in (1, 2, 3)]
    because = Because(alert=ids[0], status=Status.FIRING, revision=1, messages=(MessageId(12),))
    with open_store(second) as store:
        with store.write() as tx:
            assert {id_: known[:2] for id_, known in tx.known(ids).items()} == {
                "a1": (Status.FIRING, 0),
                "a2": (Status.RESOLVED, 0),
                "a3": (Status.FIRING, 0),
            }
            tx.commit(replace(found("a1", revision=1), because=(because,)))
            assert claimed(tx, now=after(minutes=5)).alerts == (an_alert("a1", revision=1),)
            assert claimed(tx, now=after(minutes=5)).alerts == (an_alert("a3"),)
            tx.commit(Commit(timers=(Timer(key=RING, due=NOON, lists=(), every=True),)))
        assert store.timers() == [Timer(key=RING, due=NOON, lists=(), every=True)]
        assert store.reasons(ids[0]) == [Reason(because=because, at=NOON)]
        with store.write() as tx:
            assert tx.prune(after(days=60), timedelta(days=30)) > 0


def test_a_store_of_the_third_version_is_taken_over_whole(third: Path) -> None:
    with open_store(third) as store:
        stored = {
            (e.alert.id, e.alert.status.value, e.receiver): (e.state, e.summed) for e in store.entries()
        }
        assert stored == {
            ("a1", "firing", "ops"): (EntryState.PENDING, False),
            ("a2", "firing", "ops"): (EntryState.DELIVERED, False),
            ("a3", "firing", "ops"): (EntryState.DEAD, False),
            ("a4", "firing", "ops"): (EntryState.PENDING, False),
            ("a4", "firing", "oncall"): (EntryState.PENDING, False),
            ("s1", "firing", "ops"): (EntryState.PENDING, True),
            ("m1", "firing", "ops"): (EntryState.SUPPRESSED, False),
            ("a2", "resolved", "ops"): (EntryState.PENDING, False),
        }
        assert {(e.grouped, e.note, e.silence) for e in store.entries()} == {(None, None, None)}
        assert store.undelivered() == {
            ("ops", Severity.WARNING): NOON,
            ("ops", Severity.CRITICAL): NOON,
            ("oncall", Severity.CRITICAL): NOON,
        }
        assert [reason.because.alert for reason in store.reasons(AlertId("a1"))] == ["a1"]
        assert store.ledger().entries == {
            "pending": 5,
            "delivered": 1,
            "dead": 1,
            "dropped": 0,
            "suppressed": 1,
        }
        assert (store.groups(), store.shown()) == ([], [])


def test_mutes_become_silences_under_their_numbers(third: Path) -> None:
    with open_store(third) as store:
        mute = Silence(
            id=1,
            matchers=(Matcher(label="rule", value="mention"),),
            starts_at=NOON,
            ends_at=after(days=36500),
            author="",
            comment="a game",
            created_at=NOON,
        )
        assert store.silences(NOON)[-1] == mute
        over = store.silence(2)
        assert over is not None
        assert (over.comment, over.closed_at) == ('a "move"', after(hours=1))
        with store.write() as tx:
            assert tx.due_silences(after(days=1)) == []
            assert tx.end_silence(1).ends_at == NOON
            added = tx.add_silence([], starts_at=NOON, ends_at=NOON, author="", comment="")
        assert added.id == 8  # more mutes had been made, and pruned


def test_work_goes_on_where_the_third_version_left_it(third: Path) -> None:
    grouping = in_group("ops")
    with open_store(third) as store, store.write() as tx:
        again = claimed(tx, now=after(minutes=5), choose=nothing)
        assert (again.alerts, again.attempts, again.opened) == ((an_alert("a1"),), 1, None)
        tx.settle_delivered(again.id, after(minutes=5))
        tx.ack(AlertId("a4"), by="anna")
        tx.commit(found("g1", routes=grouping))
        assert claimed(tx, now=after(minutes=6), choose=nothing).group == {"team": "web"}
        tx.commit(found("a4", resolved="over"))
        assert tx.redrive("ops") == 1
        claims = [claimed(tx, now=after(minutes=6), choose=one_by_one).alerts[0].id for _ in range(4)]
        assert claims == ["a3", "a4", "s1", "a2"]
        assert tx.prune(after(days=60), timedelta(days=30)) > 0


def test_a_command_leaves_a_store_of_the_first_version_alone(old: Path) -> None:
    before = old.read_bytes()
    with pytest.raises(StoreError, match="made by an older version"):
        open_store(old, exclusive=False)
    assert old.read_bytes() == before


def test_a_new_store_has_the_tables_that_the_steps_lead_to() -> None:
    made, migrated = connected(), connected()
    with made.begin():
        _make(made)
    with migrated.begin():
        _upgrade(migrated)
    assert shape(made) == shape(migrated)
    for connection in (made, migrated):
        order = list(shape(connection))  # in which a start looks for damage, as far as its time goes
        assert order.index("users") < order.index("states") < order.index("alerts")
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        connection.close()
        connection.engine.dispose()


def test_the_list_of_revisions_is_that_of_the_migrations() -> None:
    folder = Path(__file__).parents[2] / "monitor" / "store" / "migrations"
    steps = list(ScriptDirectory(os.fspath(folder)).walk_revisions())
    assert tuple(step.revision for step in reversed(steps)) == REVISIONS


def connected() -> Connection:
    return create_engine("sqlite://").connect()


def shape(connection: Connection) -> dict[str, Any]:
    """Columns, keys, indexes and options of every table, and what stands in the tables from the start."""

    def ask(question: str) -> list[Any]:
        return [tuple(row) for row in connection.exec_driver_sql(question)]

    def indexes(table: str) -> set[Any]:
        return {
            (name, unique, origin, tuple(column[2] for column in ask(f"PRAGMA index_info('{name}')")))
            for _, name, unique, origin, _ in ask(f"PRAGMA index_list('{table}')")
        }

    tables = ask("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
    return {
        "tallies": sorted(ask("SELECT name, total FROM tallies")),
        "revision": ask("SELECT version_num FROM alembic_version"),
        **{
            name: (
                ask(f"PRAGMA table_xinfo('{name}')"),
                sorted(row[2:] for row in ask(f"PRAGMA foreign_key_list('{name}')")),
                indexes(name),
                [word for word in ("AUTOINCREMENT", "WITHOUT ROWID", "CHECK") if word in sql],
            )
            for name, sql in tables
        },
    }
