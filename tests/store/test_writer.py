"""Many callers, one transaction: who fails fails alone, unless the disk does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from monitor.errors import Conflict, StoreError
from monitor.store.store import Store, Tx
from monitor.store.values import Commit, Counts, Cursor
from monitor.store.writer import Writer, inline
from rules.model import MessageId, UserId
from tests.store.building import ANNA, NOON, found, in_memory, open_store


@pytest.fixture
def store() -> Iterator[Store]:
    with in_memory() as store:
        with store.write() as tx:
            tx.add_users([ANNA], NOON)
        yield store


def count(tx: Tx) -> int:
    tx.commit(Commit(counts=Counts(fetched=1)))
    return 7


def fill(tx: Tx) -> None:
    tx._connection.exec_driver_sql("PRAGMA max_page_count = 1")
    tx.commit(found(*(f"a{n}" for n in range(1_000))))


async def outcomes(writer: Writer, *works: Any) -> list[Any]:
    """What each of `works` came to, handed in one after the other before the writer starts."""
    results: list[Any] = [None] * len(works)

    async def one(place: int) -> None:
        try:
            results[place] = await writer.submit(works[place])
        except Exception as error:
            results[place] = error

    async with trio.open_nursery() as nursery:
        for place in range(len(works)):
            nursery.start_soon(one, place)
            await wait_all_tasks_blocked()  # in their order: Trio starts tasks in any
        nursery.start_soon(run_until_idle, writer, nursery)
    return results


async def run_until_idle(writer: Writer, nursery: trio.Nursery) -> None:
    async with trio.open_nursery() as running:
        await running.start(writer.run)
        while len(nursery.child_tasks) > 1:
            await trio.lowlevel.checkpoint()
        running.cancel_scope.cancel()


async def test_works_that_wait_together_share_one_transaction(store: Store) -> None:
    groups: list[int] = []
    points: list[str] = []
    writer = Writer(
        store,
        run_sync=inline,
        at=points.append,
        observe=lambda size, _seconds: groups.append(size),
        max_group=4,
    )
    assert await outcomes(writer, *[count] * 10) == [7] * 10
    assert groups == [4, 4, 2]
    assert points == ["writer.before_commit", "writer.committed"] * 3
    assert store.ledger().counts.fetched == 10


async def test_steps_of_a_group_build_on_each_other(store: Store) -> None:
    def move(before: int | None, after: int) -> Any:
        expected, cursor = (Cursor(id=MessageId(n) if n else None) for n in (before, after))
        return lambda tx: tx.commit(Commit(uid=ANNA, expected=expected, cursor=cursor))

    writer = Writer(store, run_sync=inline)
    results = await outcomes(writer, move(None, 1), move(1, 2), move(1, 3), move(2, 4))
    assert [isinstance(result, Conflict) for result in results] == [False, False, True, False]
    row = store.user(ANNA)
    assert row is not None
    assert row.cursor == Cursor(id=MessageId(4))


async def test_a_poison_work_harms_only_its_caller(store: Store) -> None:
    def poison(tx: Tx) -> None:
        tx.commit(found("poison"))
        tx.add_users([UserId("nobody")], NOON)
        raise ZeroDivisionError

    writer = Writer(store, run_sync=inline)
    first, second, third = await outcomes(writer, count, poison, lambda tx: tx.commit(found("a1")))
    assert (first, len(third.fresh)) == (7, 1)
    assert isinstance(second, ZeroDivisionError)
    assert [alert.id for alert in store.alerts()] == ["a1"]
    assert [user.uid for user in store.users()] == [ANNA]


async def test_a_full_disk_reaches_every_caller_and_nothing_is_half_stored(tmp_path: Path) -> None:
    stored: list[int] = []
    with open_store(tmp_path / "full.db") as store:
        writer = Writer(store, observe=lambda size, _seconds: stored.append(size))
        results = await outcomes(writer, count, fill, lambda tx: tx.commit(found("last")))
        assert [type(result) for result in results] == [StoreError] * 3
        assert all("the disk is full" in str(result) for result in results)
        assert len({id(result) for result in results}) == 3
        assert stored == []
        assert store.alerts() == []
        assert store.ledger().counts == Counts()


async def test_a_work_that_swallows_a_store_error_does_not_save_the_rest(tmp_path: Path) -> None:
    def swallow(tx: Tx) -> str:
        try:
            fill(tx)
        except StoreError:
            return "fine"
        return "not full"

    with open_store(tmp_path / "full.db") as store:
        results = await outcomes(Writer(store), count, swallow, count)
        assert [type(result) for result in results] == [StoreError] * 3
        assert store.ledger().counts == Counts()
        with pytest.raises(StoreError, match="the disk is full"), store.write() as tx:
            swallow(tx)


async def test_the_writer_goes_on_after_the_disk_has_room_again(tmp_path: Path) -> None:
    def make_room(tx: Tx) -> None:
        tx._connection.exec_driver_sql("PRAGMA max_page_count = 1000000")

    with open_store(tmp_path / "full.db") as store:
        async with trio.open_nursery() as nursery:
            writer = Writer(store)
            await nursery.start(writer.run)
            with pytest.raises(StoreError, match="the disk is full"):
                await writer.submit(fill)
            await writer.submit(make_room)
            assert await writer.submit(count) == 7
            nursery.cancel_scope.cancel()
    with open_store(tmp_path / "full.db") as again:
        assert again.ledger().counts.fetched == 1


async def test_nobody_waits_for_a_writer_that_has_stopped(store: Store) -> None:
    writer = Writer(store, run_sync=inline)
    errors: list[StoreError] = []

    async def submit() -> None:
        with pytest.raises(StoreError, match="writer has stopped") as caught:
            await writer.submit(count)
        errors.append(caught.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(submit)
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await writer.run()
    await submit()
    assert len(errors) == 2
    assert store.ledger().counts == Counts()


async def test_a_caller_that_is_cancelled_leaves_all_or_nothing(store: Store) -> None:
    writer = Writer(store, run_sync=inline)
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(writer.submit, count)
            scope.cancel()
            await writer.submit(lambda tx: tx.commit(found("a1", "a2")))
        await nursery.start(writer.run)
        assert await writer.submit(count) == 7
        nursery.cancel_scope.cancel()
    assert len(store.alerts()) in (0, 2)
    assert store.ledger().counts.fetched == 2


async def test_a_bug_between_works_and_commit_ends_the_writer(store: Store) -> None:
    def crash(point: str) -> None:
        raise RuntimeError(point)

    writer = Writer(store, run_sync=inline, at=crash)

    async def submit() -> None:
        with pytest.raises(StoreError, match="writer has stopped"):
            await writer.submit(count)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(submit)
        await wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match=r"writer\.before_commit"):
            await writer.run()
    assert store.ledger().counts == Counts()
