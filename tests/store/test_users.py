"""Who is watched: found, gone, back, forgotten; and what a commit remembers of a list."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.dialects import sqlite

from monitor.errors import Conflict
from monitor.store.store import Store
from monitor.store.tables import CHUNK, Spaced
from monitor.store.upkeep import PRUNE
from monitor.store.users import UNWATCHED
from monitor.store.values import Commit, Cursor, UserRow
from rules.model import MessageId, StateChange, StateKey, Timer, UserId
from tests.store.building import ANNA, NOON, RING, WallClock, after, found, in_memory, to

BEN, CLEO, DORA = (UserId(name) for name in ("ben", "cleo", "dora"))
START = Cursor()
STARTED = after(minutes=-5)
AT_9 = Cursor(id=MessageId(9))
READ = tuple(map(MessageId, (3, 7, 9)))
MANY = [UserId(f"user-{number:05}") for number in range(3 * CHUNK)]


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
def store(clock: WallClock) -> Iterator[Store]:
    with in_memory(clock) as store:
        with store.write() as tx:
            tx.add_users([ANNA], NOON)
        yield store


def row(store: Store, uid: UserId) -> UserRow:
    found = store.user(uid)
    assert found is not None
    return found


def anna(**changes: Any) -> UserRow:
    return UserRow(**{"uid": ANNA, "start_at": NOON, **changes})


# --- what a commit remembers of a list --------------------------------------------------------------


def test_a_commit_stores_activity_and_what_was_read(store: Store) -> None:
    with store.write() as tx:
        tx.commit(Commit(uid=ANNA, expected=START, cursor=AT_9, activity=(0.25, 1e-9), recent=READ))
        assert tx.user(ANNA) == anna(cursor=AT_9, activity=(0.25, 1e-9), recent=READ)
    assert store.user(ANNA) == anna(cursor=AT_9, activity=(0.25, 1e-9), recent=READ)


def test_what_a_commit_leaves_out_stays(store: Store) -> None:
    with store.write() as tx:
        tx.commit(Commit(uid=ANNA, expected=START, cursor=AT_9, activity=(1.0,), recent=READ, looked_at=NOON))
        tx.commit(Commit(uid=ANNA, expected=AT_9, watermark=after(seconds=5)))
        tx.commit(Commit(uid=ANNA, activity=(2.0,)))
    assert store.user(ANNA) == anna(
        cursor=AT_9, watermark=after(seconds=5), activity=(2.0,), recent=READ, looked_at=NOON
    )


def test_a_look_alone_is_stored_and_guarded_by_the_cursor(store: Store) -> None:
    with store.write() as tx:
        tx.commit(Commit(uid=ANNA, expected=START, recent=READ, looked_at=NOON))
        assert tx.user(ANNA) == anna(recent=READ, looked_at=NOON)
        tx.commit(Commit(uid=ANNA, expected=START, cursor=AT_9, recent=READ[1:]))
        with pytest.raises(Conflict, match="cursor of user anna moved"):
            tx.commit(Commit(uid=ANNA, expected=START, recent=(), looked_at=after(days=1)))
        with pytest.raises(Conflict, match="user ben is not stored"):
            tx.commit(Commit(uid=BEN, recent=READ))
    assert store.user(ANNA) == anna(cursor=AT_9, recent=READ[1:], looked_at=NOON)


def test_nothing_read_is_not_the_same_as_no_record(store: Store) -> None:
    assert row(store, ANNA).recent is None
    with store.write() as tx:
        tx.commit(Commit(uid=ANNA, recent=()))
    assert row(store, ANNA).recent == ()


def test_who_reads_many_users_is_spared_what_was_read_of_each(store: Store) -> None:
    with store.write() as tx:
        tx.commit(Commit(uid=ANNA, activity=(1.0,), recent=READ))
        assert tx.add_users([ANNA], NOON) == [anna(activity=(1.0,))]
    assert store.users() == [anna(activity=(1.0,))]


def test_setting_a_cursor_voids_what_was_read_up_to_it(store: Store) -> None:
    with store.write() as tx:
        tx.commit(Commit(uid=ANNA, expected=START, cursor=AT_9, activity=(1.0,), recent=READ, looked_at=NOON))
        tx.set_cursor(ANNA, MessageId(4))
    assert store.user(ANNA) == anna(cursor=Cursor(id=MessageId(4)), activity=(1.0,), looked_at=NOON)


@given(st.lists(st.integers(0, 10**30), unique=True, max_size=20).map(sorted))
def test_ids_of_any_size_come_back_from_their_spaced_form(ids: list[MessageId]) -> None:
    column, dialect = Spaced(), sqlite.dialect()
    stored = column.process_bind_param(tuple(ids), dialect)
    assert column.process_result_value(stored, dialect) == tuple(ids)


def test_the_ids_of_a_full_record_take_half_of_their_length() -> None:
    ids = tuple(MessageId(4_000_000_000 + 1_777 * number) for number in range(500))
    stored = Spaced().process_bind_param(ids, sqlite.dialect())
    assert stored is not None
    assert len(stored) < len(",".join(map(str, ids))) / 2


# --- found, gone, back ------------------------------------------------------------------------------


def test_who_is_found_is_added_and_who_is_known_keeps_its_place(store: Store) -> None:
    with store.write() as tx:
        tx.commit(Commit(uid=ANNA, expected=START, cursor=AT_9, recent=READ))
        assert tx.find("agents", [BEN, ANNA, BEN], after(hours=1)) == [BEN]
        assert tx.find("agents", [ANNA, BEN, CLEO], after(hours=2), start_at=NOON) == [CLEO]
    seen: Any = {"cohort": "agents", "found_at": after(hours=2)}
    assert store.user(ANNA) == anna(cursor=AT_9, recent=READ, **seen)
    assert store.users()[1:] == [
        UserRow(uid=BEN, start_at=after(hours=1), **seen),
        UserRow(uid=CLEO, start_at=NOON, **seen),
    ]


def test_who_is_no_longer_found_keeps_the_time_of_the_last_time(store: Store) -> None:
    with store.write() as tx:
        tx.find("agents", [BEN, CLEO], NOON)
        tx.find("agents", [CLEO], after(hours=1))
        tx.find("vip", [CLEO], after(hours=2))
    assert (row(store, BEN).cohort, row(store, BEN).found_at) == ("agents", NOON)
    assert (row(store, CLEO).cohort, row(store, CLEO).found_at) == ("vip", after(hours=2))


def test_who_left_is_counted_from_the_first_time(store: Store) -> None:
    with store.write() as tx:
        tx.add_users([BEN, CLEO], NOON)
        assert tx.leave([ANNA, BEN, DORA], after(hours=1)) == 2
        assert tx.leave([BEN, CLEO], after(hours=2)) == 1
        assert tx.leave([], after(hours=3)) == 0
        assert tx.watched() == []
    assert [user.left_at for user in store.users()] == [after(hours=1), after(hours=1), after(hours=2)]


def test_who_is_watched_or_found_again_is_back_at_its_place(store: Store) -> None:
    with store.write() as tx:
        tx.add_users([BEN, CLEO], NOON)
        tx.commit(Commit(uid=ANNA, expected=START, cursor=AT_9))
        tx.leave([ANNA, BEN, CLEO], after(hours=1))
        assert tx.add_users([ANNA], after(hours=2)) == [anna(cursor=AT_9)]
        assert tx.find("agents", [BEN], after(hours=2)) == [BEN]
        assert sorted(tx.watched()) == [ANNA, BEN]
    assert row(store, BEN) == UserRow(uid=BEN, start_at=NOON, cohort="agents", found_at=after(hours=2))
    assert row(store, CLEO).left_at == after(hours=1)


def test_who_left_answers_no_timer(store: Store) -> None:
    keys = [StateKey(RING.rule, name) for name in ("both", "left", "other")]
    lists = [(ANNA, CLEO), (ANNA, BEN), (CLEO,)]
    with store.write() as tx:
        tx.add_users([BEN, CLEO], NOON)
        tx.commit(
            Commit(
                states=tuple(StateChange(key=key, expected=0, value=b"{}") for key in keys),
                timers=tuple(
                    Timer(key=key, due=NOON, lists=some) for key, some in zip(keys, lists, strict=True)
                ),
            )
        )
        tx.leave([ANNA, BEN], NOON)
        assert set(tx.states(keys)) == {keys[0], keys[2]}
    assert [(timer.key, timer.lists) for timer in store.timers()] == [
        (keys[0], (CLEO,)),
        (keys[2], (CLEO,)),
    ]
    assert [(closure.key, closure.reason) for closure in store.closures()] == [(keys[1], UNWATCHED)]


# --- forgotten --------------------------------------------------------------------------------------


def forget(store: Store, before: datetime) -> int:
    with store.write() as tx:
        return tx.forget(before)


def test_who_left_is_forgotten_after_the_grace_and_nothing_is_told_twice(store: Store) -> None:
    with store.write() as tx:
        tx.add_users([BEN], NOON)
        tx.commit(Commit(uid=ANNA, expected=START, cursor=AT_9, recent=READ, findings=found("a1").findings))
        tx.leave([ANNA, BEN], after(hours=1))
        tx.leave([BEN], after(hours=2))
        tx.add_users([BEN], after(hours=3))
    assert forget(store, after(hours=1)) == 0
    assert forget(store, after(hours=1, seconds=1)) == 1
    assert [user.uid for user in store.users()] == [BEN]
    with store.write() as tx:
        with pytest.raises(Conflict, match="user anna is not stored"):
            tx.commit(Commit(uid=ANNA, expected=AT_9, cursor=AT_9, recent=READ))
        assert tx.add_users([ANNA], after(days=9)) == [anna(start_at=after(days=9))]
        assert tx.user(ANNA) == anna(start_at=after(days=9))
        assert tx.commit(found("a1", routes=to("ops"))).known == 1


def test_a_prune_forgets_only_when_it_is_told_a_grace(store: Store, clock: WallClock) -> None:
    with store.write() as tx:
        tx.leave([ANNA], NOON)
    now, keep = clock.forward(days=2), timedelta(days=30)
    with store.write() as tx:
        assert tx.prune(now, keep) == 0
        assert tx.prune(now, keep, grace=timedelta(days=3)) == 0
        assert tx.prune(now, keep, grace=timedelta(days=1)) == 1
    assert store.users() == []


def test_forgetting_is_bounded_and_goes_on(store: Store) -> None:
    with store.write() as tx:
        tx.add_users(MANY, NOON)
        tx.leave(MANY, NOON)
    assert [forget(store, after(hours=1)) for _ in range(4)] == [PRUNE, PRUNE, PRUNE, 0]
    assert [user.uid for user in store.users()] == [ANNA]


# --- many -------------------------------------------------------------------------------------------


def test_many_users_take_few_statements(store: Store) -> None:
    statements: list[str] = []
    engine = store._writing_engine
    event.listen(engine, "before_cursor_execute", lambda *asked: statements.append(asked[2]))
    rounds: list[int] = []
    with store.write() as tx:
        for work in (
            lambda: tx.add_users(MANY, NOON),
            lambda: tx.add_users(MANY, NOON),
            lambda: tx.find("all", MANY, NOON),
            lambda: tx.leave(MANY, NOON),
            lambda: tx.add_users(MANY, NOON),
            tx.watched,
        ):
            statements.clear()
            work()
            rounds.append(len(statements))
    chunks = len(MANY) // CHUNK
    assert rounds == [chunks + 1, chunks, 2 * chunks, chunks + 1, 3 * chunks, 1]


@pytest.mark.parametrize(("to", "seen"), [(None, STARTED), (4, STARTED), (9, STARTED), (12, NOON)])
def test_what_is_to_be_read_again_is_not_seen_before_it_is(
    store: Store, to: int | None, seen: datetime
) -> None:
    with store.write() as tx:
        tx.set_start(ANNA, STARTED)
        tx.commit(Commit(uid=ANNA, expected=START, cursor=AT_9, watermark=NOON))
        tx.set_cursor(ANNA, None if to is None else MessageId(to))
    assert row(store, ANNA).watermark == seen


def test_a_commit_places_its_user_in_one_statement_and_its_record_in_another(store: Store) -> None:
    with store.write() as tx:
        tx.commit(Commit(uid=ANNA, recent=READ))
    statements: list[str] = []
    event.listen(
        store._writing_engine, "before_cursor_execute", lambda *a: statements.append(a[2].split()[1])
    )
    with store.write() as tx:
        tx.commit(
            Commit(uid=ANNA, expected=START, cursor=AT_9, watermark=NOON, activity=(1.0,), looked_at=NOON)
        )
        assert statements == ["users"]
        tx.commit(Commit(uid=ANNA, expected=AT_9, recent=READ))
        assert statements == ["users", "users", "recent"]


def test_another_source_makes_what_was_read_of_late_worthless(store: Store) -> None:
    ids = (MessageId(3), MessageId(5))
    with store.write() as tx:
        assert not tx.adopt_source("user")
        tx.add_users([ANNA], NOON)
        tx.commit(Commit(uid=ANNA, expected=Cursor(), cursor=Cursor(id=MessageId(5)), recent=ids))
        assert not tx.adopt_source("user")
    assert row(store, ANNA).recent == ids
    with store.write() as tx:
        assert tx.adopt_source("user-all")
    assert row(store, ANNA).recent is None
    assert row(store, ANNA).cursor.id == 5
