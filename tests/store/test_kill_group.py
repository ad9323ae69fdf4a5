"""A process killed while it tells a group: what was stored says all of it, or that it is to be told again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import trio

from monitor.store.store import Store, Tx
from monitor.store.values import Change, EntryState, Notification, Shown
from monitor.store.writer import Writer
from tests.store.building import NOON, after, claim, claimed, in_group, lasting, nothing, open_store

AT = after(seconds=30)


def shown(told: Notification) -> Shown:
    assert told.opened is not None
    due = AT + timedelta(hours=4)
    subject = told.opened.subject
    return Shown(receiver="ops", subject=subject, alert=None, shown_at=AT, due_at=due, change=Change.REPEAT)


async def tell_until_killed(path: Path, point: str, count: int) -> None:
    """Find two alerts, claim their group, settle it, repeat it; die the `count`th time at `point`."""
    left = count

    def at(reached: str) -> None:
        nonlocal left
        left -= reached == point
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def repeat(tx: Tx) -> None:
        again = tx.claim_standing("ops", now=AT + timedelta(hours=4), most=10)
        assert again is not None
        tx.settle_standing(again, [shown(again)])

    with open_store(path) as store:
        writer = Writer(store, at=at)
        async with trio.open_nursery() as nursery:
            await nursery.start(writer.run)
            await writer.submit(lambda tx: tx.commit(lasting("a1", "a2", routes=in_group("ops"))))
            told = await writer.submit(lambda tx: claimed(tx, now=AT, choose=nothing))
            await writer.submit(lambda tx: tx.settle_delivered(told.id, AT, shows=[shown(told)]))
            await writer.submit(repeat)


def killed(path: Path, point: str, count: int) -> None:
    program = (
        "import sys, trio; from pathlib import Path; from tests.store.test_kill_group import *\n"
        "trio.run(tell_until_killed, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))"
    )
    arguments = [sys.executable, "-c", program, os.fspath(path), point, str(count)]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL


def states(store: Store) -> set[EntryState]:
    return {entry.state for entry in store.entries()}


@pytest.mark.parametrize(("point", "count"), [("writer.committed", 1), ("writer.before_commit", 2)])
def test_before_the_claim_is_stored_the_group_is_due(tmp_path: Path, point: str, count: int) -> None:
    killed(tmp_path / "cometwatch.db", point, count)
    with open_store(tmp_path / "cometwatch.db") as store, store.write() as tx:
        assert tx.next_due("ops") == AT
        assert len(claimed(tx, now=AT, choose=nothing).alerts) == 2


@pytest.mark.parametrize(("point", "count"), [("writer.committed", 2), ("writer.before_commit", 3)])
def test_once_it_is_claimed_it_is_told_again_as_it_was(tmp_path: Path, point: str, count: int) -> None:
    killed(tmp_path / "cometwatch.db", point, count)
    with open_store(tmp_path / "cometwatch.db") as store:
        [sent] = {entry.notification for entry in store.entries()}
        [group] = store.groups()
        assert (states(store), store.shown(), group.flushed_at) == ({EntryState.PENDING}, [], None)
        with store.write() as tx:
            assert claim(tx, now=AT, choose=nothing) is None
            again = claimed(tx, now=AT + timedelta(minutes=1), choose=nothing)
        assert (again.id, again.opened, again.attempts) == (sent, group, 1)


def test_once_it_is_settled_it_is_not_told_again(tmp_path: Path) -> None:
    killed(tmp_path / "cometwatch.db", "writer.committed", 3)
    with open_store(tmp_path / "cometwatch.db") as store:
        [row], [group] = store.shown(), store.groups()
        assert (states(store), row.repeats, group.flushed_at) == ({EntryState.DELIVERED}, 0, AT)
        with store.write() as tx:
            assert claim(tx, now=AT + timedelta(hours=1), choose=nothing) is None
            assert tx.next_due("ops") == AT + timedelta(hours=4)


@pytest.mark.parametrize(("point", "repeats"), [("writer.before_commit", 0), ("writer.committed", 1)])
def test_a_repeat_is_counted_or_due(tmp_path: Path, point: str, repeats: int) -> None:
    killed(tmp_path / "cometwatch.db", point, 4)
    with open_store(tmp_path / "cometwatch.db") as store:
        [row] = store.shown()
        assert row.repeats == repeats
    assert row.shown_at > NOON
