"""What a person asks about one alert, one message or one rule: seldom, so it may walk over whole tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Integer,
    LargeBinary,
    and_,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    tuple_,
)

from rules.model import Alert, AlertId, ListId, MessageId, RuleName, State, StateKey, Value

from .outbox import ENTRIES, entry_of
from .part import Row
from .reads import CURRENT, Reads
from .tables import (
    alerts,
    chunks,
    closures,
    entries,
    groups,
    notifications,
    reasons,
    recent,
    rejects,
    shown,
    states,
)
from .values import Change, Closure, Entry, EntryState, Kind, NotificationId, Reject, Shown

DAY: Final = timedelta(days=1)


class Sending(Value, frozen=True, kw_only=True):
    """Where one notification stands, without what it says."""

    id: NotificationId
    receiver: str
    kind: Kind
    state: EntryState
    created_at: datetime
    attempts: int  #: sends begun
    due_at: datetime  #: while pending: when it is sent again
    alerts: int  #: told in it


class Volume(Value, frozen=True, kw_only=True):
    """How many alerts of a rule were found, of those that are still stored."""

    day: int
    week: int
    last_at: datetime


class Lookups(Reads):
    """As `Reads`; each of these may walk over a whole table."""

    def entries_of(self, alert_id: AlertId) -> list[Entry]:
        """Every entry of one alert, in the order in which they were added."""
        rows = self._rows(ENTRIES.where(entries.c.alert_id == alert_id).order_by(entries.c.id))
        return [entry_of(row) for row in rows]

    def shown_of(self, alert_id: AlertId) -> list[Shown]:
        """What receivers show of one alert, by itself or in a group that it was told in."""
        told_in = select(notifications.c.receiver, notifications.c.subject).join(
            entries, entries.c.notification == notifications.c.id
        )
        groups_of = told_in.where(
            entries.c.alert_id == alert_id,
            entries.c.state == EntryState.DELIVERED,
            notifications.c.subject.is_not(None),
        )
        theirs = or_(
            shown.c.alert == alert_id,
            and_(shown.c.alert.is_(None), tuple_(shown.c.receiver, shown.c.subject).in_(groups_of)),
        )
        rows = self._rows(select(shown).where(theirs).order_by(shown.c.receiver, shown.c.subject))
        return [Shown(**{**row, "change": Change(row["change"])}) for row in rows]

    def flushes_of(self, alert_id: AlertId) -> dict[str, datetime]:
        """When the groups in which the alert waits are told, by receiver."""
        theirs = and_(groups.c.receiver == entries.c.receiver, groups.c.key == entries.c.grouped)
        waiting = (
            entries.c.alert_id == alert_id,
            entries.c.state == EntryState.PENDING,
            entries.c.notification.is_(None),
            groups.c.due_at.is_not(None),
        )
        wanted = select(groups.c.receiver, groups.c.due_at).join(entries, theirs).where(*waiting)
        return {row["receiver"]: row["due_at"] for row in self._rows(wanted)}

    def held_by(self, silence: int, limit: int = 100) -> list[Entry]:
        """The entries that a silence holds, or held, the latest first."""
        rows = self._rows(
            ENTRIES.where(entries.c.silence == silence).order_by(entries.c.id.desc()).limit(limit)
        )
        return [entry_of(row) for row in rows]

    def alert_beginning(self, start: str) -> Alert | None:
        """The alert whose id begins so, if there is just one."""
        rows = self._rows(select(CURRENT).where(alerts.c.id.startswith(start, autoescape=True)).limit(2))
        return rows[0]["alert"] if len(rows) == 1 else None

    def sending(self, notification: NotificationId) -> Sending | None:
        told = select(func.count()).where(entries.c.notification == notification).scalar_subquery()
        columns = [notifications.c[name] for name in Sending.__struct_fields__ if name != "alerts"]
        rows = self._rows(select(*columns, told.label("alerts")).where(notifications.c.id == notification))
        return next((_sending(row) for row in rows), None)

    def states(self, keys: Iterable[StateKey]) -> dict[StateKey, State]:
        """The stored states among `keys`."""
        found: dict[StateKey, State] = {}
        for rule, group in groupby(sorted(set(keys)), key=lambda key: key.rule):
            for some in chunks(key.key for key in group):
                for row in self._rows(select(states).where(states.c.rule == rule, states.c.key.in_(some))):
                    found[StateKey(rule, row["key"])] = State(version=row["version"], value=row["value"])
        return found

    def closures_of(self, keys: Collection[StateKey]) -> list[Closure]:
        """What ended without concluding of these keys, the first that ended first."""
        these = tuple_(closures.c.rule, closures.c.key).in_([tuple(key) for key in keys])
        rows = self._rows(select(closures).where(these).order_by(closures.c.id))
        return [
            Closure(key=StateKey(row["rule"], row["key"]), reason=row["reason"], at=row["at"]) for row in rows
        ]

    def alerts_about(self, message: MessageId) -> list[Alert]:
        """The alerts that carry this message or that it had to do with, as they stand now."""
        theirs = exists().where(
            reasons.c.alert_id == alerts.c.id, _holds(reasons.c.because, str(message).encode())
        )
        in_text = f'"id":{message},'.encode()
        wanted = or_(_holds(alerts.c.firing, in_text), _holds(alerts.c.resolved, in_text), theirs)
        return [alert for alert in self._alerts(wanted) if self._is_about(alert, message)]

    def alerts_of(self, key: StateKey) -> list[Alert]:
        """The alerts that were made of this state, as they stand now, the first found first."""
        written = msgspec.json.encode({"key": key.key})[1:-1]
        theirs = exists().where(reasons.c.alert_id == alerts.c.id, _holds(reasons.c.because, written))
        wanted = (alerts.c.rule == key.rule) & or_(_holds(alerts.c.firing, written), theirs)
        return [alert for alert in self._alerts(wanted) if self._is_of(alert, key)]

    def _alerts(self, wanted: ColumnElement[bool]) -> list[Alert]:
        rows = self._rows(select(CURRENT).where(wanted).order_by(alerts.c.first_seen_at, alerts.c.id))
        return [row["alert"] for row in rows]

    def _is_about(self, alert: Alert, message: MessageId) -> bool:
        if any(one.id == message for one in alert.messages):
            return True
        told = (one for entry in self.entries_of(alert.id) for one in entry.alert.messages)
        return any(one.id == message for one in told) or any(
            message in reason.because.messages for reason in self.reasons(alert.id)
        )

    def _is_of(self, alert: Alert, key: StateKey) -> bool:
        made_of = {reason.because.key for reason in self.reasons(alert.id)}
        return key.key in (made_of or {alert.key})

    def lists_having(self, message: MessageId) -> list[ListId]:
        """The lists in which the message was read of late; of lists where many are read that is not known."""
        rows = self._rows(select(recent.c.uid, recent.c.ids))
        return sorted(row["uid"] for row in rows if message in row["ids"])

    def rejects_of(self, message: MessageId) -> list[Reject]:
        """The rows of this id that could not be decoded, in the order in which they were met."""
        rows = self._rows(select(rejects).where(rejects.c.message_id == str(message)).order_by(rejects.c.id))
        return [Reject(**row) for row in rows]

    def volumes(self, now: datetime) -> dict[RuleName, Volume]:
        """How much each rule found that found anything, by the time of finding."""
        found_at = alerts.c.first_seen_at
        wanted = select(
            alerts.c.rule,
            func.sum(case((found_at > now - DAY, 1), else_=0), type_=Integer).label("day"),
            func.sum(case((found_at > now - 7 * DAY, 1), else_=0), type_=Integer).label("week"),
            func.max(found_at).label("last_at"),
        ).group_by(alerts.c.rule)
        return {
            RuleName(row["rule"]): Volume(day=row["day"], week=row["week"], last_at=row["last_at"])
            for row in self._rows(wanted)
        }


def _sending(row: Row) -> Sending:
    return Sending(**{**row, "kind": Kind(row["kind"]), "state": EntryState(row["state"])})


def _holds(column: ColumnElement[Any], part: bytes) -> ColumnElement[bool]:
    """Whether these bytes stand anywhere in a column: narrows what is decoded and looked at in full."""
    return func.instr(column, literal(part, LargeBinary)) > 0
