"""The tables, and how our values stand in their columns. Nothing here is particular to one database.

A new store is made of these; `migrations/` brings an old one here step by step. A test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate, islice
from operator import sub
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from rules.model import Alert, Because, MessageId, Severity, UserId

from .values import Counts, Cursor, EntryState, Fetched, Matcher, Timing

T = TypeVar("T")

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)

CHUNK: Final = 1_000
"""Most values in one IN list: far under SQLite's 32,766 variables, and few enough statements to cache."""


class Instant(TypeDecorator[datetime]):
    """An aware UTC time as whole microseconds since 1970: exact, ordered, the same in every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else EPOCH + timedelta(microseconds=value)


class Packed(TypeDecorator[Any]):
    """A value as JSON. What an older version did not write gets its default, unknown keys are left out."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, shape: Any) -> None:
        super().__init__()
        self.shape = shape
        self._decode = msgspec.json.Decoder(shape).decode
        self._encode = msgspec.json.Encoder().encode

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:  # noqa: ARG002
        return None if value is None else self._encode(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Any:  # noqa: ARG002
        return None if value is None else self._decode(value)


class Spaced(TypeDecorator[tuple[MessageId, ...]]):
    """Ascending ids as JSON: the first, then how far each lies from the one before; half of their length."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(
        self,
        value: tuple[MessageId, ...] | None,
        dialect: Dialect,  # noqa: ARG002 - the signature is SQLAlchemy's
    ) -> bytes | None:
        return None if value is None else msgspec.json.encode([*value[:1], *map(sub, value[1:], value)])

    def process_result_value(
        self,
        value: bytes | None,
        dialect: Dialect,  # noqa: ARG002 - the signature is SQLAlchemy's
    ) -> tuple[MessageId, ...] | None:
        return None if value is None else tuple(accumulate(msgspec.json.decode(value, type=list[MessageId])))


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _serial() -> Column[int]:
    """A number that is never given twice, not even after its row was pruned (see `sqlite_autoincrement`)."""
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True)


store = Table(  # one row: whose store this is
    "store",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="one"), primary_key=True, autoincrement=False),
    Column("app", Text, nullable=False),
    Column("since", Instant, nullable=False),
    Column("changes", BigInteger, nullable=False),  # bumped by commands, polled by the running process
    Column("probed_at", Instant),
    Column("source", Text),  # `watch.source` when the lists were last read: another one shows other rows
)

tallies = Table(  # sums over the life of the store; what was pruned stays counted here
    "tallies",
    metadata,
    Column("name", Text, primary_key=True),
    Column("total", BigInteger, nullable=False),
)

SUMS: Final = (
    *Counts.__struct_fields__,
    "alerts",
    *(f"entries.{state.value}" for state in EntryState if state is not EntryState.PENDING),
)
"""The rows of `tallies`."""

rules = Table(  # the definitions that the stored states and timers belong to
    "rules",
    metadata,
    Column("name", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("uid", Text, primary_key=True),
    Column("start_at", Instant, nullable=False),
    # One column, not three: it is only ever read, compared and replaced whole, and an id of any length fits.
    Column("cursor", Packed(Cursor), nullable=False),
    Column("watermark", Instant),
    Column("activity", Packed(tuple[float, ...])),
    Column("looked_at", Instant),
    Column("cohort", Text),
    Column("found_at", Instant),
    Column("left_at", Instant),
)

recent = Table(  # kilobytes a user, read for one at a time: `users` stays slim for who reads all of it
    "recent",
    metadata,
    Column("uid", Text, ForeignKey(users.c.uid, ondelete="CASCADE"), primary_key=True),
    Column("ids", Spaced, nullable=False),
)

states = Table(
    "states",
    metadata,
    Column("rule", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("expires_at", Instant, index=True),
    sqlite_with_rowid=False,
)

timers = Table(
    "timers",
    metadata,
    Column("rule", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("due", Instant, nullable=False),
    Column("lists", Packed(tuple[UserId, ...]), nullable=False),
    Column("every", Boolean, nullable=False, server_default=false()),
    sqlite_with_rowid=False,
)

closures = Table(
    "closures",
    metadata,
    _serial(),
    Column("rule", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Instant, nullable=False, index=True),
    sqlite_autoincrement=True,
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("first_seen_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False, index=True),
    # Both are kept: an entry that still waits as firing is sent as what was found then.
    Column("firing", Packed(Alert), nullable=False),
    Column("resolved", Packed(Alert)),
    Column("revision", Integer, nullable=False, server_default="0"),  # of `firing`
    # Both as in `firing`, never changed: asked for where the alert itself is not read.
    Column("severity", Text, nullable=False, server_default=Severity.WARNING.value),
    Column("lasts", Boolean, nullable=False, server_default=false()),
    Index(None, "first_seen_at", "id"),
    Index(None, "status", "first_seen_at", "id"),
)

reasons = Table(  # why each alert was raised, brought up to date, resolved; gone with the alert
    "reasons",
    metadata,
    Column("alert_id", Text, ForeignKey(alerts.c.id, ondelete="CASCADE"), primary_key=True),
    Column("status", Text, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("list", Text),
    Column("brought_by", Packed(Fetched)),
    Column("because", Packed(Because), nullable=False),
)

tombstones = Table(  # ids outlive their rows: a list read late never raises an old finding again
    "tombstones",
    metadata,
    Column("id", Text, primary_key=True),
    Column("at", Instant, nullable=False),
    sqlite_with_rowid=False,
)

notifications = Table(
    "notifications",
    metadata,
    Column("id", Text, primary_key=True),
    Column("receiver", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("state", Text, nullable=False),  # pending exactly while one of its entries is
    Column("created_at", Instant, nullable=False, index=True),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Instant, nullable=False),  # of a claimed one: when the lease runs out
    Column("subject", Text),  # of the group that it tells of
    Column("tried_at", Instant),  # when the last send began
    Index(None, "receiver", "state", "due_at"),
    Index(None, "receiver", "subject", "state"),
    Index(None, "receiver", "kind", "created_at"),
)

entries = Table(
    "entries",
    metadata,
    _serial(),
    Column("alert_id", Text, ForeignKey(alerts.c.id, ondelete="CASCADE"), nullable=False),
    Column("status", Text, nullable=False),
    Column("receiver", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("late", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("settled_at", Instant),
    Column("notification", Text, ForeignKey(notifications.c.id), index=True),
    Column("summed", Boolean, nullable=False, server_default=false()),
    Column("grouped", Text),  # the key of its group: while it waits, one of them is open
    Column("note", Text),
    Column("silence", BigInteger, index=True),  # which holds it, or held it
    UniqueConstraint("alert_id", "status", "receiver"),
    Index(None, "state", "receiver", "notification", "summed", "id"),
    Index(None, "grouped", "receiver", "state"),
    sqlite_autoincrement=True,
)

attempts = Table(
    "attempts",
    metadata,
    _serial(),
    Column(
        "notification", Text, ForeignKey(notifications.c.id, ondelete="CASCADE"), nullable=False, index=True
    ),
    Column("at", Instant, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("detail", Text, nullable=False),
    sqlite_autoincrement=True,
)

groups = Table(  # what is told together; a group that closed and opens again has a new row
    "groups",
    metadata,
    Column("receiver", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Column("labels", Packed(dict[str, str]), nullable=False),
    Column("timing", Packed(Timing), nullable=False),
    Column("anchor_at", Instant, nullable=False),
    Column("flushed_at", Instant),
    Column("due_at", Instant),  # when what waits of it is told; None: nothing waits
    Column("closed_at", Instant),  # since when nothing of it waits or lasts
    Index(None, "receiver", "key", "closed_at"),
    Index(None, "receiver", "due_at"),
    sqlite_with_rowid=False,
)

shown = Table(  # what receivers show, so that it can be brought up to date, repeated, said again
    "shown",
    metadata,
    Column("receiver", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("alert", Text, ForeignKey(alerts.c.id, ondelete="CASCADE"), index=True),
    Column("grouped", Text),
    Column("receipt", Text),
    Column("revision", Integer, nullable=False),
    Column("shown_at", Instant, nullable=False),
    Column("due_at", Instant),
    Column("change", Text, nullable=False),
    Column("follows", Boolean, nullable=False),
    Column("repeats", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("is_over", Boolean, nullable=False),
    Index(None, "receiver", "due_at"),
    sqlite_with_rowid=False,
)

silences = Table(
    "silences",
    metadata,
    _serial(),
    Column("matchers", Packed(tuple[Matcher, ...]), nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False, index=True),
    Column("author", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("closed_at", Instant),
    sqlite_autoincrement=True,
)

acks = Table(
    "acks",
    metadata,
    Column("alert", Text, ForeignKey(alerts.c.id, ondelete="CASCADE"), primary_key=True),
    Column("by", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("comment", Text, nullable=False),
)

escalations = Table(  # steps still to come; gone when their alert is resolved
    "escalations",
    metadata,
    Column("alert", Text, ForeignKey(alerts.c.id, ondelete="CASCADE"), primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("after", Packed(timedelta), nullable=False),
    Column("receivers", Packed(tuple[str, ...]), nullable=False),
    Column("due_at", Instant, nullable=False, index=True),
    sqlite_with_rowid=False,
)

rejects = Table(
    "rejects",
    metadata,
    _serial(),
    Column("uid", Text, nullable=False),
    Column("message_id", Text),
    Column("reason", Text, nullable=False),
    Column("structure", Text, nullable=False),
    Column("at", Instant, nullable=False, index=True),
    sqlite_autoincrement=True,
)


def chunks(values: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """`values` in lists short enough for one IN."""
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk
