"""What every part of a transaction stands on: a connection, a clock, and errors in our own words."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, CursorResult, Executable, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import bindparam

from monitor.errors import StoreError

from .sqlite import Where, explain
from .tables import store, tallies

Row = Mapping[Any, Any]  # by column name; SQLAlchemy types its rows with wider keys

BUMP = update(store).values(changes=store.c.changes + 1)
TOUCH = update(store).values(probed_at=bindparam("at"))
TALLY = (
    update(tallies)
    .where(tallies.c.name == bindparam("named"))
    .values(total=tallies.c.total + bindparam("more"))
)


class Part:
    """Statements of one transaction. A StoreError spoils it: nothing more is run, nothing is kept."""

    def __init__(self, connection: Connection, *, where: Where, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._where = where
        self._now = now
        self._spoilt: StoreError | None = None
        self._sums: dict[str, int] = {}

    @contextmanager
    def part(self) -> Iterator[None]:
        """A part that can fail alone: if it raises, what it did is undone and the transaction goes on.

        Not so after a StoreError: it spoils the transaction.
        """
        self.check()
        sums = self._sums.copy()
        self._mark("SAVEPOINT part")
        try:
            yield
        except BaseException as error:
            self._sums = sums
            if isinstance(error, DBAPIError):
                self._spoil(error)  # met while rows were fetched
            if not self._spoilt:
                self._mark("ROLLBACK TO part")
                self._mark("RELEASE part")
            raise
        self.check()
        self._mark("RELEASE part")

    def touch(self) -> None:
        """Write something that changes nothing, to see that writing works."""
        self._run(TOUCH, {"at": self._now()})

    def finish(self) -> None:
        """Write what was only added up until now. Called last, by `Store.write`."""
        self._run_each(TALLY, [{"named": name, "more": more} for name, more in self._sums.items()])
        self.check()

    def check(self) -> None:
        """Raise the StoreError that spoilt the transaction, though its caller may have caught it.

        SQLite may have rolled back by itself then: what came later would be stored without what came before.
        """
        if self._spoilt:
            raise StoreError(*self._spoilt.args) from self._spoilt

    def _run(self, statement: Executable, rows: Row | Sequence[Row] | None = None) -> CursorResult[Any]:
        self.check()
        try:
            return self._connection.execute(statement, rows)
        except DBAPIError as error:
            self._spoil(error)
            raise

    def _run_each(self, statement: Executable, rows: Sequence[Row]) -> None:
        """Run `statement` for each of `rows`; for none of them, not at all."""
        if rows:
            self._run(statement, rows)

    def _tally(self, more: Mapping[str, int]) -> None:
        """Add to the sums of the store's life; they are written once, at the end of the transaction."""
        for name, number in more.items():
            if number:
                self._sums[name] = self._sums.get(name, 0) + number

    def _mark(self, statement: str) -> None:
        # Straight to the driver: SQLAlchemy compiles each savepoint anew, twice the cost of a small commit.
        driver: Any = self._connection.connection.driver_connection
        try:
            driver.execute(statement)
        except sqlite3.Error as error:
            self._spoil(error)
            raise

    def _spoil(self, error: Exception) -> None:
        """Raise StoreError if the disk or the file failed: nothing of the transaction can be kept then."""
        self._spoilt = explain(error, self._where)
        if self._spoilt:
            raise self._spoilt from error

    def _announce(self) -> None:
        """Let the running process notice that a command changed something."""
        self._run(BUMP)
