"""Silences, and retention: what is old and settled goes, its id and its place in the sums stay."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec.structs import replace
from sqlalchemy import ColumnElement, Table, and_, delete, exists, func, insert, or_, select, tuple_, update

from monitor.errors import NotStored
from rules.model import AlertId

from .groups import Groups
from .tables import (
    alerts,
    chunks,
    closures,
    entries,
    groups,
    notifications,
    rejects,
    shown,
    silences,
    states,
    timers,
    tombstones,
    users,
)
from .values import EntryState, Matcher, Silence

PRUNE: Final = 1_000
"""Most rows of a table that one prune removes: polls wait for the transaction."""


class Upkeep(Groups):
    """What `cometwatch silence` and the daily cleaning do."""

    def add_silence(
        self,
        matchers: Sequence[Matcher],
        *,
        starts_at: datetime,
        ends_at: datetime,
        author: str,
        comment: str,
    ) -> Silence:
        """Record the alerts that all `matchers` take without sending them, for what is found in that time."""
        row = {
            "matchers": tuple(matchers),
            "starts_at": starts_at,
            "ends_at": ends_at,
            "author": author,
            "comment": comment,
            "created_at": self._now(),
            "closed_at": None,
        }
        added = self._run(insert(silences).returning(silences), row).mappings().one()
        self._announce()
        return Silence(**added)

    def end_silence(self, number: int) -> Silence:
        """Send these alerts again from now on. Raises NotStored for an unknown silence.

        One that is over stays as it was. One that did not begin yet never will.
        """
        one = self._silence(number)
        return one if one.ends_at <= self._now() else self._end_at(one, self._now())

    def change_silence(self, number: int, *, ends_at: datetime) -> Silence:
        """Let it end at another time. Raises NotStored for one that is unknown, or over."""
        one = self._silence(number)
        if one.ends_at <= self._now():
            raise NotStored(
                f"silence {number} is over since {one.ends_at:%Y-%m-%d %H:%M:%S} UTC, and what it held is "
                "being told: make a new one with `cometwatch silence add`"
            )
        return self._end_at(one, max(ends_at, self._now()))

    def _silence(self, number: int) -> Silence:
        found = self._run(select(silences).where(silences.c.id == number)).mappings().one_or_none()
        if found is None:
            raise NotStored(f"there is no silence {number}: `cometwatch silence list` shows them")
        return Silence(**found)

    def _end_at(self, one: Silence, ends_at: datetime) -> Silence:
        starts_at = min(one.starts_at, ends_at)
        changed = replace(one, starts_at=starts_at, ends_at=ends_at)
        self._run(
            update(silences).where(silences.c.id == one.id).values(starts_at=starts_at, ends_at=ends_at)
        )
        self._announce()
        return changed

    def prune(self, now: datetime, keep: timedelta, *, grace: timedelta | None = None) -> int:
        """Remove what was settled more than `keep` ago; call again until it returns 0, the rows removed.

        Alerts with an entry still pending stay, however old; dead letters go like the delivered. Of a removed
        alert the id stays as a tombstone, so that it is never found again, and the sums stay whole. Users
        who left more than `grace` ago are forgotten; without `grace` nobody is.
        """
        before = now - keep
        return (
            (0 if grace is None else self.forget(now - grace))
            + self._prune_alerts(now, before)
            + self._prune_rows(notifications, _is_done(before))
            + self._prune_rows(rejects, rejects.c.at < before)
            + self._prune_rows(closures, closures.c.at < before)
            + self._prune_rows(silences, silences.c.closed_at < before)
            + self._prune_rows(groups, _is_shut(before))
            + self._prune_rows(shown, _is_unheard_of(before))
            + self._prune_rows(states, _is_expired(now))
        )

    def forget(self, before: datetime) -> int:
        """Remove the users who left before `before`, place and all; call again until it returns 0.

        Watched again, such a user is new. The ids of its alerts are kept: nothing is told twice.
        """
        return self._prune_rows(users, users.c.left_at < before)

    def _prune_alerts(self, now: datetime, before: datetime) -> int:
        busy = exists().where(
            entries.c.alert_id == alerts.c.id,
            or_(entries.c.state == EntryState.PENDING, entries.c.settled_at >= before),
        )
        old = select(alerts.c.id).where(alerts.c.changed_at < before, ~busy)
        ids = self._run(old.order_by(alerts.c.changed_at).limit(PRUNE)).scalars().all()
        for some in chunks(ids):
            self._tally_entries(some)
            theirs = select(entries.c.receiver, entries.c.grouped).where(
                entries.c.alert_id.in_(some), entries.c.grouped.is_not(None)
            )
            places = [(row.receiver, row.grouped) for row in self._run(theirs.distinct())]
            self._run(delete(alerts).where(alerts.c.id.in_(some)))  # the entries go with them
            self._tend(places)
        self._run_each(insert(tombstones), [{"id": buried, "at": now} for buried in ids])
        self._tally({"alerts": len(ids)})
        return len(ids)

    def _tally_entries(self, ids: Sequence[AlertId]) -> None:
        sums = (
            select(entries.c.state, func.count().label("number"))
            .where(entries.c.alert_id.in_(ids))
            .group_by(entries.c.state)
        )
        self._tally({f"entries.{row.state}": row.number for row in self._run(sums)})

    def _prune_rows(self, table: Table, old: ColumnElement[bool]) -> int:
        key: Any = tuple_(*table.primary_key) if len(table.primary_key) > 1 else table.primary_key.columns[0]
        some = select(*table.primary_key).where(old).limit(PRUNE)
        return self._run(delete(table).where(key.in_(some))).rowcount


def _is_done(before: datetime) -> ColumnElement[bool]:
    """Notifications that no entry stands in any more."""
    return and_(
        notifications.c.created_at < before,
        notifications.c.state != EntryState.PENDING,
        ~exists().where(entries.c.notification == notifications.c.id),
    )


def _is_shut(before: datetime) -> ColumnElement[bool]:
    """Groups that closed long ago and that no notification tells of any more."""
    told = exists().where(
        notifications.c.receiver == groups.c.receiver, notifications.c.subject == groups.c.subject
    )
    return and_(groups.c.closed_at < before, ~told)


def _is_unheard_of(before: datetime) -> ColumnElement[bool]:
    """What is shown of groups that are gone; that of an alert goes with the alert."""
    known = exists().where(groups.c.receiver == shown.c.receiver, groups.c.subject == shown.c.subject)
    return and_(shown.c.alert.is_(None), shown.c.shown_at < before, ~known)


def _is_expired(now: datetime) -> ColumnElement[bool]:
    """States past their time that no timer will ask for."""
    return and_(
        states.c.expires_at <= now,
        ~exists().where(timers.c.rule == states.c.rule, timers.c.key == states.c.key),
    )
