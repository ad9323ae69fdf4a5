"""What was found: each alert and each (alert, status, receiver) is stored once, however often it is found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import bindparam, insert, select, update

from rules.model import AlertId, Status

from .part import Part, Row
from .tables import alerts, chunks, entries, tombstones
from .values import EntryState, Finding, Route

STORED = select(alerts.c.id, alerts.c.status).where(alerts.c.id.in_(bindparam("ids", expanding=True)))
BURIED = select(tombstones.c.id).where(tombstones.c.id.in_(bindparam("ids", expanding=True)))
TOLD = select(entries.c.alert_id, entries.c.receiver).where(
    entries.c.alert_id.in_(bindparam("ids", expanding=True)),
    entries.c.status == Status.FIRING,
    entries.c.state.in_([EntryState.PENDING, EntryState.DELIVERED, EntryState.DEAD]),
)
ADD_ALERT = insert(alerts)
RESOLVE_ALERT = (
    update(alerts)
    .where(alerts.c.id == bindparam("of_id"))
    .values(status=Status.RESOLVED, resolved=bindparam("resolved"), changed_at=bindparam("changed_at"))
)
ADD_ENTRY = insert(entries)

UNTOLD = "its firing was not sent to this receiver"


class Findings(Part):
    """Adding findings to the outbox."""

    def _add_findings(self, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        if not findings:
            return ()
        fresh = sift(findings, self._known({finding.alert.id for finding in findings}))
        now = self._now()
        firing = [finding for finding in fresh if finding.alert.status is Status.FIRING]
        resolved = [finding for finding in fresh if finding.alert.status is Status.RESOLVED]
        # Firing entries first: the smaller id is what keeps a resolution behind its firing.
        self._run_each(ADD_ALERT, [_alert_row(finding, now) for finding in firing])
        self._run_each(ADD_ENTRY, [row for f in firing for row in _entry_rows(f, f.routes, now)])
        self._run_each(
            RESOLVE_ALERT,
            [{"of_id": f.alert.id, "resolved": f.alert, "changed_at": now} for f in resolved],
        )
        told = self._told(finding.alert.id for finding in resolved)
        self._run_each(ADD_ENTRY, [row for f in resolved for row in _entry_rows(f, end_routes(f, told), now)])
        return fresh

    def _known(self, ids: Iterable[AlertId]) -> dict[AlertId, Status]:
        known: dict[AlertId, Status] = {}
        for some in chunks(ids):
            known |= {row.id: Status(row.status) for row in self._run(STORED, {"ids": some})}
            known |= {row.id: Status.RESOLVED for row in self._run(BURIED, {"ids": some})}
        return known

    def _told(self, ids: Iterable[AlertId]) -> set[tuple[AlertId, str]]:
        return {
            (row.alert_id, row.receiver) for some in chunks(ids) for row in self._run(TOLD, {"ids": some})
        }


def sift(findings: Iterable[Finding], known: Mapping[AlertId, Status]) -> tuple[Finding, ...]:
    """Those of `findings` that are news, given the last known status of each alert.

    An alert fires once; it is resolved once, after it fired. (One that was pruned counts as resolved.)
    """
    last = dict(known)
    fresh = []
    for finding in findings:
        alert = finding.alert
        before = Status.FIRING if alert.status is Status.RESOLVED else None
        if last.get(alert.id) is before:
            last[alert.id] = alert.status
            fresh.append(finding)
    return tuple(fresh)


def end_routes(finding: Finding, told: set[tuple[AlertId, str]]) -> list[Route]:
    """The routes of a resolution: who never heard of the alert is not told that it is over."""
    return [
        Route(receiver=route.receiver, state=EntryState.SUPPRESSED, reason=UNTOLD, late=route.late)
        if route.state is EntryState.PENDING and (finding.alert.id, route.receiver) not in told
        else route
        for route in finding.routes
    ]


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
    }


def _entry_rows(finding: Finding, routes: Iterable[Route], now: datetime) -> list[Row]:
    once = {
        route.receiver: route for route in reversed(tuple(routes))
    }  # the first of a receiver's routes counts
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
        }
        for route in reversed(once.values())
    ]
