"""All that is particular to SQLite: engines and pragmas, what its errors mean, how damage is noticed."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import PoolProxiedConnection, QueuePool, StaticPool

from monitor.errors import ConfigError, StoreError

APPLICATION_ID: Final = 0x436F6D77
"""Written into the file's header ("Comw"), so that a stranger's database is never taken for ours."""

BUSY_TIMEOUT: Final = timedelta(seconds=5)
"""Longest wait for another process's transaction: commands are short, a longer one is stuck."""

CHECK_TIME: Final = timedelta(seconds=1)
"""Most time that looking for damage may add to a start; about 1 GB of file is read in it."""

MIN_FREE: Final = 1 << 20
"""Bytes: with less free, a commit of one full page of findings may not fit."""

EXAMPLE: Final = 'store.url: "sqlite:////var/lib/cometwatch/cometwatch.db"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where a store is: `path` is None in memory."""

    url: URL
    path: Path | None

    def __str__(self) -> str:
        return str(self.path) if self.path else "the store in memory"


def locate(url: str) -> Where:
    """What `url` names. Raises ConfigError for anything but a SQLite URL."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError(f"store.url is not a database URL; for example {EXAMPLE}") from error
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise ConfigError(
            f"store.url: {parsed.drivername} is not supported, only sqlite is; for example {EXAMPLE}"
        )
    if parsed.query:
        raise ConfigError(f"store.url takes no parameters after '?'; for example {EXAMPLE}")
    if parsed.database in (None, "", ":memory:"):
        return Where(url=parsed.set(database=None), path=None)
    path = Path(str(parsed.database)).resolve()
    return Where(url=parsed.set(database=str(path)), path=path)


def writing_engine(where: Where) -> Engine:
    """One connection; its transactions take the write lock at BEGIN: none fails half-way for want of it."""
    engine = _engine(where, pool_size=1, max_overflow=1)
    event.listen(engine, "connect", _configure)
    return _begin_by(engine, "BEGIN IMMEDIATE")


def reading_engine(where: Where) -> Engine:
    """Connections that can't write; each transaction sees one moment of the file."""
    engine = _engine(where, pool_size=4, max_overflow=12)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "connect", lambda raw, _record: raw.execute("PRAGMA query_only = ON") and None)
    return _begin_by(engine, "BEGIN")


def _begin_by(engine: Engine, begin: str) -> Engine:
    # The dialect's own hook: a "begin" event would do as well, but makes every statement look for listeners.
    def do_begin(dbapi_connection: Any) -> None:
        dbapi_connection.execute(begin)

    engine.dialect.do_begin = do_begin  # type: ignore[method-assign]
    return engine


def _engine(where: Where, *, pool_size: int, max_overflow: int) -> Engine:
    arguments = {"check_same_thread": False, "timeout": BUSY_TIMEOUT.total_seconds()}
    if where.path is None:
        return create_engine(where.url, poolclass=StaticPool, connect_args=arguments)
    return create_engine(
        where.url,
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=max_overflow,
        connect_args=arguments,
    )


def _configure(raw: sqlite3.Connection, _record: object) -> None:
    raw.isolation_level = None  # the driver begins no transaction behind our back; `do_begin` does
    raw.execute("PRAGMA synchronous = FULL")  # a commit has reached the disk when COMMIT returns
    raw.execute("PRAGMA foreign_keys = ON")
    raw.execute(f"PRAGMA journal_size_limit = {64 << 20}")  # a burst's log is cut back at the next checkpoint


def use_wal(raw: PoolProxiedConnection, where: Where) -> None:
    """Readers never wait for the writer. Raises StoreError where the file system can't do it."""
    if where.path is None:
        return
    mode = _rows(raw, "PRAGMA journal_mode = WAL")[0][0]
    if mode != "wal":
        raise StoreError(
            f"{where}: the file system can't share memory between processes (a network share?), SQLite stays "
            f"in {mode} mode. Put the store on a local disk."
        )


def create_file(path: Path) -> None:
    """An empty file that only its owner can read: alerts carry what people wrote."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def is_ours(connection: Connection) -> bool | None:
    """Whether the file is a Cometwatch store; None for an empty one."""
    if connection.exec_driver_sql("PRAGMA application_id").scalar_one() == APPLICATION_ID:
        return True
    return False if connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one() else None


def mark_ours(connection: Connection) -> None:
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")


def find_damage(raw: PoolProxiedConnection, *, within: timedelta = CHECK_TIME) -> str | None:
    """The first damage that SQLite's quick check finds in the time given, or None.

    The tables are looked at in the order in which they were made: places and states before alerts.
    """
    deadline = time.monotonic() + within.total_seconds()
    driver: Any = raw.driver_connection
    driver.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    try:
        for (table,) in _rows(raw, "SELECT name FROM sqlite_master WHERE type = 'table'"):
            if time.monotonic() > deadline:
                return None  # a large file: what was read in the time is sound
            if verdict := _check(raw, table):
                return f"table {table}: {verdict}"
    finally:
        driver.set_progress_handler(None, 0)
    return None


def _check(raw: PoolProxiedConnection, table: str) -> str | None:
    try:
        verdict = str(_rows(raw, f"PRAGMA quick_check('{table}')")[0][0])
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return None
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CORRUPT:
            return str(error)
        raise
    return None if verdict == "ok" else verdict.splitlines()[-1]


def _rows(raw: PoolProxiedConnection, statement: str) -> list[Any]:
    cursor = raw.cursor()
    try:
        cursor.execute(statement)
        return list(cursor.fetchall())
    finally:
        cursor.close()


def check_room(where: Where) -> None:
    """Raises StoreError when the disk is as good as full.

    A small write tells nothing: it may go where the log has room left of a larger one.
    """
    if where.path is None:
        return
    disk = os.statvfs(where.path)
    if disk.f_bavail * disk.f_frsize < MIN_FREE:
        raise StoreError(f"{where}: {ADVICE[sqlite3.SQLITE_FULL]}")


def explain(error: BaseException, where: Where) -> StoreError | None:
    """What a failure of the disk or the file means; None for our own mistakes (constraints, SQL)."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig
    # The extended code; its low byte is the family.
    code = getattr(error, "sqlite_errorcode", None)
    advice = None if code is None else ADVICE.get(code & 0xFF)
    return StoreError(f"{where}: {advice}") if advice else None


@contextmanager
def explained(where: Where) -> Iterator[None]:
    """Raise StoreError in place of what the database says about the file."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        if explanation := explain(error, where):
            raise explanation from error
        raise


@contextmanager
def reachable(where: Where) -> Iterator[None]:
    """Raise StoreError in place of what the system says about the file: read-only, no access, full."""
    try:
        yield
    except OSError as error:
        name = error.filename or where
        raise StoreError(
            f"{name}: {error.strerror or error}. Cometwatch's user must be able to write the store's file "
            "and its directory."
        ) from error


DAMAGED: Final = (
    "Stop everything that uses it, keep a copy, then restore a backup or try `sqlite3 FILE .recover`. "
    "Starting over by moving the file away loses the place in each user's list."
)

ADVICE: Final = {
    sqlite3.SQLITE_FULL: "the disk is full, nothing can be stored. Free some space.",
    sqlite3.SQLITE_READONLY: "the file or its directory is read-only. Mount the volume writable and let "
    "Cometwatch's user write there.",
    sqlite3.SQLITE_PERM: "access is denied. Let Cometwatch's user write the file and its directory.",
    sqlite3.SQLITE_BUSY: "another process keeps it locked. Find which (`fuser FILE`): a backup, a shell with "
    "an open transaction, or a second monitor.",
    sqlite3.SQLITE_LOCKED: "another transaction keeps it locked. Try again.",
    sqlite3.SQLITE_CANTOPEN: "the file can't be opened. Check that it is a file, in a directory that "
    "Cometwatch's user may write.",
    sqlite3.SQLITE_IOERR: "the disk reports an input/output error. Check the volume and the kernel's log.",
    sqlite3.SQLITE_CORRUPT: f"the file is damaged. {DAMAGED}",
    sqlite3.SQLITE_NOTADB: f"this is no SQLite file, or its start was overwritten. {DAMAGED}",
    sqlite3.SQLITE_NOMEM: "there was not enough memory. Nothing of this commit was stored.",
    sqlite3.SQLITE_PROTOCOL: "its lock can't be taken (a network share?). Put the store on a local disk.",
}
