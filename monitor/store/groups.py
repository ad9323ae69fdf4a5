"""Groups: alerts that are told together by one receiver, and when.

A group is open while an entry of it is pending, or an alert that lasts was told and still fires. `due_at`
says when what waits of it is told. Both follow from the entries: `_tend` makes them so after every change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import groupby
from typing import NamedTuple, TypeVar

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, insert, or_, select, update

from rules.model import Status, digest

from .part import Part, Row
from .tables import alerts, chunks, entries, groups
from .values import EntryState, Group, Grouping, Opened

T = TypeVar("T")

PENDING, DELIVERED = EntryState.PENDING, EntryState.DELIVERED

older = entries.alias("older")

# By the unique key. Said by ids (`older.id < entries.id`), SQLite walks the whole queue.
WAITS: ColumnElement[bool] = and_(
    entries.c.status == Status.RESOLVED,
    exists().where(
        older.c.alert_id == entries.c.alert_id,
        older.c.status == Status.FIRING,
        older.c.receiver == entries.c.receiver,
        older.c.state == PENDING,
    ),
)
"""It is over, but that it began is still to be told to the same receiver."""

TOLD_AND_LASTS: ColumnElement[bool] = and_(
    entries.c.status == Status.FIRING,
    entries.c.state == DELIVERED,
    alerts.c.status == Status.FIRING,
    alerts.c.lasts,
)
"""It was told, and fires on until it is resolved."""

THEIRS = and_(entries.c.grouped.in_(bindparam("keys", expanding=True)), entries.c.receiver == bindparam("to"))
OPEN_GROUPS = select(groups).where(
    groups.c.receiver == bindparam("to"),
    groups.c.key.in_(bindparam("keys", expanding=True)),
    groups.c.closed_at.is_(None),
)
LAST_CLOSED = (
    select(groups)
    .where(groups.c.receiver == bindparam("to"), groups.c.key == bindparam("of_key"))
    .order_by(groups.c.closed_at.desc())
    .limit(1)
)
WAITING_SINCE = (
    select(
        entries.c.grouped,
        func.min(entries.c.created_at).label("since"),
        func.min(entries.c.id).label("first"),
        func.max(entries.c.status == Status.FIRING).label("begins"),
    )
    .where(THEIRS, entries.c.state == PENDING, entries.c.notification.is_(None), ~WAITS)
    .group_by(entries.c.grouped)
)
ALIVE = (
    select(entries.c.grouped)
    .join(alerts, alerts.c.id == entries.c.alert_id)
    .where(THEIRS, or_(entries.c.state == PENDING, TOLD_AND_LASTS))
    .distinct()
)
ADD_GROUP = insert(groups)
_THIS = and_(groups.c.receiver == bindparam("to"), groups.c.subject == bindparam("of_subject"))
GROUP = select(groups).where(_THIS)
SET_TIMING = update(groups).where(_THIS).values(labels=bindparam("says"), timing=bindparam("times"))
SET_DUE = update(groups).where(_THIS).values(due_at=bindparam("due"), closed_at=None)
CLOSE = update(groups).where(_THIS).values(due_at=None, closed_at=bindparam("at"))
LET_GO = (
    update(entries)
    .where(THEIRS, entries.c.state == PENDING, entries.c.notification.is_(None))
    .values(grouped=None)
)


class Joining(NamedTuple):
    """An alert that begins comes into a group of a receiver."""

    receiver: str
    grouping: Grouping
    alert: str
    is_held: bool  #: by a silence: the group is not opened by it


class Groups(Part):
    """What every step that changes entries owes to their groups."""

    def _opened(self, receiver: str, subject: str) -> Opened | None:
        row = self._run(GROUP, {"to": receiver, "of_subject": subject}).mappings().one_or_none()
        return opened_of(row) if row else None

    def _join(self, joining: Iterable[Joining], now: datetime) -> None:
        """Open the groups that are not open; an alert that is held only leaves word of its group."""
        for receiver, theirs in _by_receiver(
            {(one.receiver, one.grouping.group.key): one for one in joining}
        ):
            open_ones = self._open_ones(receiver, theirs)
            for key, one in theirs.items():
                if key in open_ones:
                    self._keep_up(open_ones[key], one.grouping)
                elif not (one.is_held and self._last_closed(receiver, key)):
                    self._add_group(one, now)

    def _tend(self, places: Iterable[tuple[str, str]]) -> None:
        """Make groups, named by receiver and key, agree with what waits and lasts of them."""
        for receiver, keys in _by_receiver(dict.fromkeys(places)):
            for some in chunks(keys):
                which = {"to": receiver, "keys": some}
                waiting = {row["grouped"]: row for row in self._run(WAITING_SINCE, which).mappings()}
                alive = set(self._run(ALIVE, which).scalars())
                open_ones = self._open_ones(receiver, some)
                for key in some:
                    self._tend_one(receiver, key, waiting.get(key), open_ones.get(key), is_alive=key in alive)

    def _tend_one(
        self, receiver: str, key: str, waiting: Row | None, row: Row | None, *, is_alive: bool
    ) -> None:
        if not is_alive:
            if row is not None:
                self._run(CLOSE, {"to": receiver, "of_subject": row["subject"], "at": self._now()})
            return
        row = row or self._reopened(receiver, key, waiting)
        if row is None:  # its row is long gone: what waits is told by itself
            self._run(LET_GO, {"to": receiver, "keys": [key]})
            return
        due = opened_of(row).flush_at(waiting["since"]) if waiting is not None else None
        if (due, None) != (row["due_at"], row["closed_at"]):
            self._run(SET_DUE, {"to": receiver, "of_subject": row["subject"], "due": due})

    def _reopened(self, receiver: str, key: str, waiting: Row | None) -> Row | None:
        """The last closed one again, to tell the end of what was told there; for news, one like it."""
        row = self._last_closed(receiver, key)
        if row is None or waiting is None or not waiting["begins"]:
            return row
        if row["flushed_at"] is None or not row["labels"]:
            return row
        now = self._now()
        again = {
            **row,
            "subject": digest(receiver, key, str(waiting["first"])),
            "anchor_at": now + row["timing"].wait,
            "flushed_at": None,
        }
        self._run(ADD_GROUP, again)
        return again

    def _open_ones(self, receiver: str, keys: Iterable[str]) -> dict[str, Row]:
        return {
            row["key"]: row
            for some in chunks(keys)
            for row in self._run(OPEN_GROUPS, {"to": receiver, "keys": some}).mappings()
        }

    def _last_closed(self, receiver: str, key: str) -> Row | None:
        return self._run(LAST_CLOSED, {"to": receiver, "of_key": key}).mappings().one_or_none()

    def _keep_up(self, row: Row, grouping: Grouping) -> None:
        """The settings may have changed since the group was opened."""
        if (row["labels"], row["timing"]) != (grouping.group.labels, grouping.timing):
            says = {"says": grouping.group.labels, "times": grouping.timing}
            self._run(SET_TIMING, {"to": row["receiver"], "of_subject": row["subject"], **says})

    def _add_group(self, one: Joining, now: datetime) -> None:
        group, timing = one.grouping.group, one.grouping.timing
        row = {
            "receiver": one.receiver,
            # An alert that is no group with others is its own subject, however often it is told.
            "subject": digest(one.receiver, group.key, one.alert) if group.labels else one.alert,
            "key": group.key,
            "labels": group.labels,
            "timing": timing,
            "anchor_at": now + timing.wait,
            "flushed_at": None,
            "due_at": None,
            "closed_at": now if one.is_held else None,
        }
        self._run(ADD_GROUP, row)


def opened_of(row: Row) -> Opened:
    """A row of `groups` as its value."""
    return Opened(
        receiver=row["receiver"],
        group=Group(key=row["key"], labels=row["labels"]),
        timing=row["timing"],
        subject=row["subject"],
        anchor_at=row["anchor_at"],
        flushed_at=row["flushed_at"],
    )


def _by_receiver(places: Mapping[tuple[str, str], T]) -> Iterator[tuple[str, dict[str, T]]]:
    for receiver, theirs in groupby(sorted(places), key=lambda place: place[0]):
        yield receiver, {key: places[receiver, key] for _, key in theirs}
