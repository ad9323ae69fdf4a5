"""A process that stores step after step until it is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import trio

from monitor.store.values import Commit, Counts, Cursor
from monitor.store.writer import Writer
from rules.model import MessageId
from tests.store.building import ANNA, NOON, found, open_store


async def work_until_killed(path: Path, point: str, count: int) -> None:
    """Commit step after step, printing each that was acknowledged; die the `count`th time at `point`."""
    left = count

    def at(reached: str) -> None:
        nonlocal left
        left -= reached == point
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    with open_store(path) as store:
        with store.write() as tx:
            tx.add_users([ANNA], NOON)
        writer = Writer(store, at=at)
        async with trio.open_nursery() as nursery:
            await nursery.start(writer.run)
            for number in range(1, 10_000):
                step = Commit(
                    uid=ANNA,
                    expected=Cursor(id=MessageId(number - 1) if number > 1 else None),
                    cursor=Cursor(id=MessageId(number)),
                    findings=found(f"a{number}").findings,
                    counts=Counts(fetched=1),
                )
                await writer.submit(lambda tx, step=step: tx.commit(step))  # type: ignore[misc]
                print(number, flush=True)
