"""What the status page, the metrics and the commands read. Each read has a connection of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, Select, case, func, select

from rules.model import Alert, AlertId, RuleName, Severity, StateKey, Status, Timer, UserId

from .findings import reason_of
from .groups import opened_of
from .outbox import ENTRIES, entry_of
from .states import timer_of
from .tables import (
    acks,
    alerts,
    attempts,
    chunks,
    closures,
    entries,
    escalations,
    groups,
    reasons,
    rejects,
    rules,
    shown,
    silences,
    store,
    tallies,
    timers,
)
from .users import USER, USERS, user_of
from .values import (
    Ack,
    Attempt,
    Change,
    Closure,
    Counts,
    Depth,
    Entry,
    EntryId,
    EntryState,
    Escalating,
    Ledger,
    NotificationId,
    Opened,
    Reason,
    Reject,
    Shown,
    Silence,
    UserRow,
)

CURRENT = case((alerts.c.status == Status.RESOLVED, alerts.c.resolved), else_=alerts.c.firing).label("alert")

QUEUES = (
    select(
        entries.c.receiver,
        entries.c.state,
        func.count().label("number"),
        func.min(entries.c.id).label("first_id"),
    )
    .where(entries.c.state.in_([EntryState.PENDING, EntryState.DEAD]))
    .group_by(entries.c.receiver, entries.c.state)
    .subquery()
)
DEPTHS = select(QUEUES.c.receiver, QUEUES.c.state, QUEUES.c.number, entries.c.created_at).join(
    entries, entries.c.id == QUEUES.c.first_id
)


class Reads(ABC):
    """Reads of what is committed; safe from any thread, never waiting for the writer.

    Each raises StoreError if the file can't be read.
    """

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Connection]:
        """A connection that sees one moment of the store."""

    def _rows(self, statement: Select[Any]) -> list[dict[str, Any]]:
        with self._reading() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def users(self) -> list[UserRow]:
        """Every user that is watched or not yet forgotten, by uid; `recent` is left out: `user` has it."""
        with self._reading() as connection:
            rows = list(map(user_of, connection.execute(USERS)))
        return sorted(rows, key=attrgetter("uid"))

    def user(self, uid: UserId) -> UserRow | None:
        with self._reading() as connection:
            row = connection.execute(USER, {"of_uid": uid}).one_or_none()
        return user_of(row) if row else None

    def timers(self) -> list[Timer]:
        """The pending timers, the earliest first."""
        return [timer_of(row) for row in self._rows(select(timers).order_by(timers.c.due, timers.c.key))]

    def fingerprints(self) -> dict[RuleName, str]:
        """The rules last adopted, with the hash of each definition."""
        return {row["name"]: row["fingerprint"] for row in self._rows(select(rules))}

    def closures(self, limit: int = 100) -> list[Closure]:
        """States and timers that ended without concluding, the latest first."""
        rows = self._rows(select(closures).order_by(closures.c.id.desc()).limit(limit))
        return [
            Closure(key=StateKey(row["rule"], row["key"]), reason=row["reason"], at=row["at"]) for row in rows
        ]

    def rejects(self, limit: int = 100) -> list[Reject]:
        """Rows that could not be decoded, the latest first."""
        return [
            Reject(**row) for row in self._rows(select(rejects).order_by(rejects.c.id.desc()).limit(limit))
        ]

    def reject(self, number: int) -> Reject | None:
        rows = self._rows(select(rejects).where(rejects.c.id == number))
        return Reject(**rows[0]) if rows else None

    def silences(self, now: datetime) -> tuple[Silence, ...]:
        """The silences in force at `now` or later, the one that ends first first."""
        wanted = select(silences).where(silences.c.ends_at > now).order_by(silences.c.ends_at, silences.c.id)
        return tuple(Silence(**row) for row in self._rows(wanted))

    def all_silences(self, limit: int = 100) -> list[Silence]:
        """Silences past, present and to come, the latest first."""
        return [
            Silence(**row) for row in self._rows(select(silences).order_by(silences.c.id.desc()).limit(limit))
        ]

    def silence(self, number: int) -> Silence | None:
        rows = self._rows(select(silences).where(silences.c.id == number))
        return Silence(**rows[0]) if rows else None

    def acks(self, ids: Iterable[AlertId]) -> dict[AlertId, Ack]:
        """Who looks after these alerts, of those that somebody does."""
        return {
            row["alert"]: Ack(**row)
            for some in chunks(ids)
            for row in self._rows(select(acks).where(acks.c.alert.in_(some)))
        }

    def shown(self, receiver: str | None = None, subject: str | None = None) -> list[Shown]:
        """What receivers show, as far as it has to be remembered."""
        wanted = select(shown).order_by(shown.c.receiver, shown.c.subject)
        if receiver is not None:
            wanted = wanted.where(shown.c.receiver == receiver)
        if subject is not None:
            wanted = wanted.where(shown.c.subject == subject)
        return [Shown(**{**row, "change": Change(row["change"])}) for row in self._rows(wanted)]

    def groups(self, receiver: str | None = None) -> list[Opened]:
        """The groups that have something to tell or still fire, by receiver and key."""
        wanted = select(groups).where(groups.c.closed_at.is_(None)).order_by(groups.c.receiver, groups.c.key)
        if receiver is not None:
            wanted = wanted.where(groups.c.receiver == receiver)
        return [opened_of(row) for row in self._rows(wanted)]

    def escalations_of(self, alert_id: AlertId) -> list[Escalating]:
        """The steps that are still to come for an alert, the soonest first."""
        wanted = select(escalations).where(escalations.c.alert == alert_id)
        columns = ("after", "receivers", "due_at")
        return [
            Escalating(**{name: row[name] for name in columns})
            for row in self._rows(wanted.order_by(escalations.c.due_at, escalations.c.step))
        ]

    def alert(self, alert_id: AlertId) -> Alert | None:
        """The alert as it stands now: firing, or resolved with the reason."""
        rows = self._rows(select(CURRENT).where(alerts.c.id == alert_id))
        return rows[0]["alert"] if rows else None

    def alerts(
        self, limit: int = 100, status: Status | None = None, rule: RuleName | None = None
    ) -> list[Alert]:
        """Alerts as they stand now, the last found first."""
        wanted = select(CURRENT).order_by(alerts.c.first_seen_at.desc(), alerts.c.id).limit(limit)
        if status is not None:
            wanted = wanted.where(alerts.c.status == status)
        if rule is not None:
            wanted = wanted.where(alerts.c.rule == rule)
        return [row["alert"] for row in self._rows(wanted)]

    def reasons(self, alert_id: AlertId) -> list[Reason]:
        """Why the alert was raised, brought up to date and resolved, in this order; [] of an old one."""
        wanted = select(reasons).where(reasons.c.alert_id == alert_id)
        return [reason_of(row) for row in self._rows(wanted.order_by(reasons.c.status, reasons.c.revision))]

    def entry(self, number: EntryId) -> Entry | None:
        rows = self._rows(ENTRIES.where(entries.c.id == number))
        return entry_of(rows[0]) if rows else None

    def entries(
        self,
        *,
        receiver: str | None = None,
        state: EntryState | None = None,
        silence: int | None = None,
        limit: int = 100,
    ) -> list[Entry]:
        """Outbox entries, the latest first; of a `silence` those that it holds."""
        wanted = ENTRIES.order_by(entries.c.id.desc()).limit(limit)
        if receiver is not None:
            wanted = wanted.where(entries.c.receiver == receiver)
        if state is not None:
            wanted = wanted.where(entries.c.state == state)
        if silence is not None:
            wanted = wanted.where(entries.c.silence == silence)
        return [entry_of(row) for row in self._rows(wanted)]

    def depths(self) -> list[Depth]:
        """The queue of each receiver that has pending entries or dead letters."""
        rows = self._rows(DEPTHS)
        found = {(row["receiver"], row["state"]): row for row in rows}
        return [
            Depth(
                receiver=receiver,
                pending=pending["number"] if pending else 0,
                dead=dead["number"] if dead else 0,
                oldest_at=pending["created_at"] if pending else None,
            )
            for receiver in sorted({row["receiver"] for row in rows})
            for pending in [found.get((receiver, EntryState.PENDING))]
            for dead in [found.get((receiver, EntryState.DEAD))]
        ]

    def undelivered(self) -> dict[tuple[str, Severity], datetime]:
        """Since when the oldest pending entry waits, by receiver and severity."""
        wanted = (
            select(entries.c.receiver, alerts.c.severity, func.min(entries.c.created_at).label("since"))
            .join(alerts, alerts.c.id == entries.c.alert_id)
            .where(entries.c.state == EntryState.PENDING)
            .group_by(entries.c.receiver, alerts.c.severity)
        )
        return {(row["receiver"], Severity(row["severity"])): row["since"] for row in self._rows(wanted)}

    def attempts(self, notification: NotificationId) -> list[Attempt]:
        """The ended sends of one notification, in order."""
        columns = [column for column in attempts.c if column.name != "id"]
        wanted = select(*columns).where(attempts.c.notification == notification).order_by(attempts.c.id)
        return [Attempt(**row) for row in self._rows(wanted)]

    def ledger(self) -> Ledger:
        """The sums, all of one moment; what was pruned is still counted."""
        live = select(entries.c.state, func.count()).group_by(entries.c.state)
        with self._reading() as connection:
            sums = dict(connection.execute(select(tallies.c.name, tallies.c.total)).all())
            states: dict[str, int] = dict(connection.execute(live).all())
            alive = connection.execute(select(func.count()).select_from(alerts)).scalar_one()
        by_state = {
            state.value: states.get(state.value, 0) + sums.get(f"entries.{state.value}", 0)
            for state in EntryState
        }
        return Ledger(
            counts=Counts(**{name: sums[name] for name in Counts.__struct_fields__}),
            alerts=alive + sums["alerts"],
            entries=by_state,
        )

    def version(self) -> int:
        """A number that grows with every change made by a command: the running process looks for that."""
        number: int = self._rows(select(store.c.changes))[0]["changes"]
        return number
