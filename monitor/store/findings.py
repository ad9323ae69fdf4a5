"""What was found: each alert and each (alert, status, receiver) is stored once, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace
from sqlalchemy import and_, bindparam, delete, false, func, insert, or_, select, update

from rules.model import AlertId, Status

from .groups import Joining
from .part import Row
from .tables import alerts, chunks, entries, escalations, notifications, reasons, tombstones
from .telling import SUMS, Telling
from .values import Commit, EntryState, Finding, Known, Reason, Route, is_news

STORED = select(alerts.c.id, alerts.c.status, alerts.c.revision, alerts.c.firing).where(
    alerts.c.id.in_(bindparam("ids", expanding=True))
)
BURIED = select(tombstones.c.id).where(tombstones.c.id.in_(bindparam("ids", expanding=True)))
_IN_A_SUM = and_(notifications.c.kind.in_(SUMS), entries.c.grouped.is_(None))
TOLD = (
    select(
        entries.c.alert_id,
        entries.c.receiver,
        or_(entries.c.summed, func.coalesce(_IN_A_SUM, false())).label("summed"),
        entries.c.grouped,
    )
    .join(notifications, notifications.c.id == entries.c.notification, isouter=True)
    .where(
        entries.c.alert_id.in_(bindparam("ids", expanding=True)),
        entries.c.status == Status.FIRING,
        entries.c.state.in_([EntryState.PENDING, EntryState.DELIVERED, EntryState.DEAD]),
    )
    .order_by(entries.c.id)
)
ADD_ALERT = insert(alerts)
UPDATE_ALERT = (
    update(alerts)
    .where(alerts.c.id == bindparam("of_id"))
    .values(firing=bindparam("to"), revision=bindparam("now_at"), changed_at=bindparam("changed_at"))
)
RESOLVE_ALERT = (
    update(alerts)
    .where(alerts.c.id == bindparam("of_id"))
    .values(status=Status.RESOLVED, resolved=bindparam("resolved"), changed_at=bindparam("changed_at"))
)
ADD_ENTRY = insert(entries)
ADD_ESCALATION = insert(escalations)
NO_ESCALATION = delete(escalations).where(escalations.c.alert.in_(bindparam("ids", expanding=True)))
ADD_REASON = insert(reasons)

UNTOLD = "its firing was not sent to this receiver"


class Findings(Telling):
    """Adding findings to the outbox."""

    def known(self, ids: Iterable[AlertId]) -> dict[AlertId, Known]:
        """What is stored of the alerts among `ids`; one that was pruned counts as resolved."""
        known: dict[AlertId, Known] = {}
        for some in chunks(set(ids)):
            for row in self._run(STORED, {"ids": some}):
                known[row.id] = Known.of(row.firing)._replace(
                    status=Status(row.status), revision=row.revision
                )
            known |= {row.id: Known(Status.RESOLVED) for row in self._run(BURIED, {"ids": some})}
        return known

    def _add_findings(self, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        if not findings:
            return ()
        known = self.known(finding.alert.id for finding in findings)
        fresh = sift(findings, known)
        now = self._now()
        firing, updates = _apart(fresh, known)
        resolved = [finding for finding in fresh if finding.alert.status is Status.RESOLVED]
        # Firing entries first: the smaller id is what keeps a resolution behind its firing.
        self._run_each(ADD_ALERT, [_alert_row(finding, now) for finding in firing])
        self._join((one for finding in firing for one in _joining(finding)), now)
        entered = [row for f in firing for row in _entry_rows(f, _beginnings(f), now)]
        self._run_each(ADD_ENTRY, entered)
        self._run_each(ADD_ESCALATION, [row for f in firing for row in _escalation_rows(f, now)])
        self._run_each(UPDATE_ALERT, [_update_row(finding, now) for finding in updates])
        self._outdate([finding.alert.id for finding in updates], now)
        self._run_each(
            RESOLVE_ALERT,
            [{"of_id": f.alert.id, "resolved": f.alert, "changed_at": now} for f in resolved],
        )
        entered += self._add_ends(resolved, now)
        self._tend((row["receiver"], row["grouped"]) for row in entered if row["grouped"])
        return fresh

    def _add_ends(self, resolved: Sequence[Finding], now: datetime) -> list[Row]:
        ids = [finding.alert.id for finding in resolved]
        told = self._told(ids)
        rows = [row for f in resolved for row in _entry_rows(f, end_routes(f, told.get(f.alert.id, {})), now)]
        self._run_each(ADD_ENTRY, rows)
        for some in chunks(ids):
            self._run(NO_ESCALATION, {"ids": some})
        return rows

    def _told(self, ids: Iterable[AlertId]) -> dict[AlertId, dict[str, Told]]:
        told: dict[AlertId, dict[str, Told]] = {}
        for some in chunks(ids):
            for row in self._run(TOLD, {"ids": some}):
                told.setdefault(row.alert_id, {})[row.receiver] = Told(bool(row.summed), row.grouped)
        return told

    def _add_reasons(self, commit: Commit, fresh: Sequence[Finding]) -> None:
        """Keep why, of what was news."""
        news = {(f.alert.id, f.alert.status, f.alert.revision) for f in fresh}
        # By its key: if a reason is given twice, the first counts.
        why = {(b.alert, b.status, b.revision): b for b in reversed(commit.because)}
        row = {
            "at": self._now(),
            "list": commit.brought_by.list if commit.brought_by else commit.uid,
            "brought_by": commit.brought_by,
        }
        self._run_each(
            ADD_REASON,
            [
                {"alert_id": key[0], "status": key[1], "revision": key[2], "because": because, **row}
                for key, because in why.items()
                if key in news
            ],
        )


def sift(findings: Iterable[Finding], known: Mapping[AlertId, Known]) -> tuple[Finding, ...]:
    """Those of `findings` that are news, given what is known of each alert.

    An alert fires once, is brought up to date by ever larger revisions while it fires, and is resolved once.
    """
    last = dict(known)
    fresh = []
    for finding in findings:
        alert = finding.alert
        if is_news(alert, last.get(alert.id)):
            last[alert.id] = Known.of(alert)
            fresh.append(finding)
    return tuple(fresh)


class Way(NamedTuple):
    """A way that an alert takes, and the key of the group that it is told in."""

    route: Route
    grouped: str | None


class Told(NamedTuple):
    """How a receiver was told that an alert began."""

    summed: bool
    grouped: str | None  #: the key of the group


def end_routes(finding: Finding, told: Mapping[str, Told]) -> list[Way]:
    """The routes of a resolution.

    Who was told of the beginning is told of the end, in the same way, whatever the routes say by now: what
    stands there as a group is ended there, be it old news. Who never heard of the alert is not told that it
    is over.
    """
    late = any(route.late for route in finding.routes)
    reached = [
        Way(Route(receiver=receiver, late=late and not one.grouped, summed=one.summed), one.grouped)
        for receiver, one in told.items()
    ]
    untold = [
        replace(route, reason=UNTOLD) if route.state is EntryState.PENDING else route
        for route in _once(finding.routes)
        if route.receiver not in told and (route.receiver or not told)
    ]
    return [
        *reached,
        *(Way(replace(route, state=EntryState.SUPPRESSED, summed=False), None) for route in untold),
    ]


def _apart(fresh: Iterable[Finding], known: Mapping[AlertId, Known]) -> tuple[list[Finding], list[Finding]]:
    """The alerts that begin, and those that are brought up to date."""
    begun = set(known)
    firing: list[Finding] = []
    updates: list[Finding] = []
    for finding in fresh:
        if finding.alert.status is Status.FIRING:
            (updates if finding.alert.id in begun else firing).append(finding)
            begun.add(finding.alert.id)
    return firing, updates


def reason_of(row: Row) -> Reason:
    """A row of `reasons` as its value."""
    return Reason(because=row["because"], at=row["at"], list=row["list"], brought_by=row["brought_by"])


def _alert_row(finding: Finding, now: datetime) -> Row:
    alert = finding.alert
    return {
        "id": alert.id,
        "rule": alert.rule,
        "status": alert.status,
        "first_seen_at": alert.first_seen_at,
        "changed_at": now,
        "firing": alert,
        "resolved": None,
        "revision": alert.revision,
        "severity": alert.severity,
        "lasts": alert.lasts,
    }


def _update_row(finding: Finding, now: datetime) -> Row:
    alert = finding.alert
    return {"of_id": alert.id, "to": alert, "now_at": alert.revision, "changed_at": now}


def _once(routes: Iterable[Route]) -> list[Route]:
    """The first of each receiver's routes counts."""
    once = {route.receiver: route for route in reversed(tuple(routes))}
    return list(once.values())[::-1]


def _entry_rows(finding: Finding, ways: Iterable[Way], now: datetime) -> list[Row]:
    return [
        {
            "alert_id": finding.alert.id,
            "status": finding.alert.status,
            "receiver": route.receiver,
            "state": route.state,
            "reason": route.reason,
            "late": route.late,
            "created_at": now,
            "settled_at": None if route.state is EntryState.PENDING else now,
            "notification": None,
            "summed": route.summed,
            "grouped": grouped,
            "note": None,
            "silence": route.silence,
        }
        for route, grouped in ways
    ]


def _beginnings(finding: Finding) -> list[Way]:
    """The routes of an alert that begins. Old news and sums are messages of their own, never of a group."""
    return [
        Way(route, route.grouping.group.key if route.grouping and _may_join(route) else None)
        for route in _once(finding.routes)
    ]


def _may_join(route: Route) -> bool:
    is_held = route.state is EntryState.SUPPRESSED and route.silence is not None
    return (route.state is EntryState.PENDING or is_held) and not (route.late or route.summed)


def _joining(finding: Finding) -> list[Joining]:
    return [
        Joining(
            receiver=route.receiver,
            grouping=route.grouping,
            alert=finding.alert.id,
            is_held=route.state is not EntryState.PENDING,
        )
        for route in _once(finding.routes)
        if route.grouping is not None and _may_join(route)
    ]


def _escalation_rows(finding: Finding, now: datetime) -> list[Row]:
    """The steps of an alert that is sent as such: not of old news, sums, what is held."""
    is_sent = any(
        route.state is EntryState.PENDING and not (route.late or route.summed) for route in finding.routes
    )
    return [
        {
            "alert": finding.alert.id,
            "step": number,
            "after": step.after,
            "receivers": step.receivers,
            "due_at": now + step.after,
        }
        for number, step in enumerate(finding.steps if is_sent else ())
    ]
