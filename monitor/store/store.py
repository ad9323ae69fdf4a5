"""The store: one file, one owner, one transaction at a time; readers beside it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from sqlalchemy import Connection, Engine

from monitor.errors import StoreError

from .intake import Intake
from .lock import FileLock
from .lookups import Lookups
from .oncall import OnCall
from .opening import Opened, check_directory, check_exists, check_not_lost, look, prepare
from .outbox import Outbox
from .sqlite import (
    Where,
    check_room,
    create_file,
    explained,
    locate,
    reachable,
    reading_engine,
    writing_engine,
)
from .standing import Standing
from .upkeep import Upkeep


class Tx(Intake, Outbox, Standing, OnCall, Upkeep):
    """One transaction: sees its own uncommitted steps, is stored whole or not at all.

    Not to be used after `Store.write` was left.
    """


class Store(Lookups):
    """All that must outlive the process. Built by `open`, used as a context manager.

    Every method is synchronous and may be called from any thread. `opened_empty` says that this open made the
    store, `watching_since` when it was made: nothing that happened before is in it.
    """

    opened_empty: bool
    watching_since: datetime

    def __init__(
        self,
        *,
        where: Where,
        writing: Engine,
        reading: Engine,
        opened: Opened,
        now: Callable[[], datetime],
        close: ExitStack,
    ) -> None:
        self.watching_since, self.opened_empty = opened
        self._where = where
        self._writing_engine = writing
        self._reading_engine = reading
        self._now = now
        self._close = close
        self._turn = threading.RLock()
        self._tx: Connection | None = None
        self._identity = _identity(where.path)

    @classmethod
    def open(cls, url: str, *, app: str, now: Callable[[], datetime], exclusive: bool = True) -> Self:
        """Open the store at `url` for `app`.

        `exclusive` is for the one process that runs on it: makes the file if there is none, brings it to this
        version, looks for damage (a second at most), and keeps others out until `close`. Commands open it
        without: then the file must be there, of this version. `sqlite://` is a store in memory.

        Raises ConfigError for another URL, and StoreError, which says what to do, if the store belongs to
        another app, another process owns it, it was lost, damaged, written by a newer version, or can't be
        written. Nothing is changed then.
        """
        where = locate(url)
        with reachable(where), explained(where), ExitStack() as stack:
            lock = _admit(where, stack, exclusive=exclusive)
            writing = writing_engine(where)
            stack.callback(writing.dispose)
            reading = writing if where.path is None else reading_engine(where)
            stack.callback(reading.dispose)
            if exclusive or where.path is None:
                opened = prepare(writing, where, app=app, now=now())
            else:
                opened = look(reading, where, app=app)
            if lock:
                lock.write(app=app, since=opened.since)
            return cls(
                where=where,
                writing=writing,
                reading=reading,
                opened=opened,
                now=now,
                close=stack.pop_all(),
            )

    def close(self) -> None:
        """Give the file and its lock back. Closing twice is fine."""
        self._close.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """One transaction, on the disk when the block is left; rolled back if it raises.

        Waits for the transaction of another thread, and up to 5 s for one of another process. Raises
        StoreError for a full, read-only, locked or damaged file: nothing of the block is stored then.
        """
        with self._turn:
            if self._tx is not None:
                raise RuntimeError("a transaction inside a transaction would wait for itself")
            with explained(self._where), self._writing_engine.begin() as connection:
                self._tx = connection
                try:
                    tx = Tx(connection, where=self._where, now=self._now)
                    yield tx
                    tx.finish()
                finally:
                    self._tx = None

    def snapshot(self) -> bytes:
        """All that a store in memory holds, for `restore`."""
        with closing(self._writing_engine.raw_connection()) as raw:
            held: bytes = cast("sqlite3.Connection", raw.driver_connection).serialize()
            return held

    def restore(self, snapshot: bytes) -> None:
        """Hold what was held at a `snapshot`, and nothing else. Of a store in memory, outside of `write`.

        Much cheaper than to open another one: what was prepared for this one stays.
        """
        assert self._where.path is None, "a file is restored by copying it"
        with closing(self._writing_engine.raw_connection()) as raw:
            cast("sqlite3.Connection", raw.driver_connection).deserialize(snapshot)

    def probe(self) -> None:
        """See that a commit could be kept now: room on the disk, and a few bytes written and synced.

        Raises StoreError if not, and if the file was removed or replaced under us.
        """
        with reachable(self._where):
            found = _identity(self._where.path)
        if found != self._identity:
            raise StoreError(
                f"{self._where}: the file was removed or replaced while it is in use; what is stored now is "
                "lost when this process ends. Stop it, then restore the file."
            )
        with reachable(self._where):
            check_room(self._where)
        with self.write() as tx:
            tx.touch()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        if self._where.path is not None:
            with explained(self._where), self._reading_engine.begin() as connection:
                yield connection
            return
        with self._turn:  # in memory there is one connection: read between the transactions, or inside ours
            if self._tx is not None:
                yield self._tx
                return
            with self._writing_engine.begin() as connection:
                yield connection


def _admit(where: Where, stack: ExitStack, *, exclusive: bool) -> FileLock | None:
    """Take the lock for the owner, and make the file if it is the first time; a visitor must find it."""
    if where.path is None:
        return None
    check_directory(where.path)
    if not exclusive:
        check_exists(where.path)
        return None
    lock = stack.enter_context(FileLock(where.path))
    check_not_lost(where.path, lock)
    create_file(where.path)
    return lock


def _identity(path: Path | None) -> tuple[int, int] | None:
    """Which file is at `path` now."""
    try:
        found = path.stat() if path else None
    except FileNotFoundError:
        return None
    return (found.st_dev, found.st_ino) if found else None
