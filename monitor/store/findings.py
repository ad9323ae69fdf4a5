"""What was found: each alert and each (alert, status, receiver) is stored once, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace
from sqlalchemy import bindparam, insert, select, update

from rules.model import AlertId, Status

from .part import Part, Row
from .tables import alerts, chunks, entries, reasons, tombstones
from .values import Commit, EntryState, Finding, Known, Reason, Route, is_news

STORED = select(alerts.c.id, alerts.c.status, alerts.c.revision, alerts.c.firing).where(
    alerts.c.id.in_(bindparam("ids", expanding=True))
)
BURIED = select(tombstones.c.id).where(tombstones.c.id.in_(bindparam("ids", expanding=True)))
TOLD = select(entries.c.alert_id, entries.c.receiver, entries.c.summed).where(
    entries.c.alert_id.in_(bindparam("ids", expanding=True)),
    entries.c.status == Status.FIRING,
    entries.c.state.in_([EntryState.PENDING, EntryState.DELIVERED, EntryState.DEAD]),
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
ADD_REASON = insert(reasons)

UNTOLD = "its firing was not sent to this receiver"


class Findings(Part):
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
        self._run_each(ADD_ENTRY, [row for f in firing for row in _entry_rows(f, f.routes, now)])
        self._run_each(UPDATE_ALERT, [_update_row(finding, now) for finding in updates])
        self._run_each(
            RESOLVE_ALERT,
            [{"of_id": f.alert.id, "resolved": f.alert, "changed_at": now} for f in resolved],
        )
        told = self._told(finding.alert.id for finding in resolved)
        self._run_each(ADD_ENTRY, [row for f in resolved for row in _entry_rows(f, end_routes(f, told), now)])
        return fresh

    def _told(self, ids: Iterable[AlertId]) -> dict[tuple[AlertId, str], bool]:
        return {
            (row.alert_id, row.receiver): row.summed
            for some in chunks(ids)
            for row in self._run(TOLD, {"ids": some})
        }

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


def end_routes(finding: Finding, told: Mapping[tuple[AlertId, str], bool]) -> list[Route]:
    """The routes of a resolution: who never heard of the alert is not told that it is over.

    `told` says who heard of the beginning, and whether as part of a sum: so is the end told then.
    """

    def end(route: Route) -> Route:
        if route.state is not EntryState.PENDING:
            return route
        summed = told.get((finding.alert.id, route.receiver))
        if summed is None:
            return replace(route, state=EntryState.SUPPRESSED, reason=UNTOLD, summed=False)
        return replace(route, summed=summed)

    return list(map(end, finding.routes))


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
    }


def _update_row(finding: Finding, now: datetime) -> Row:
    alert = finding.alert
    return {"of_id": alert.id, "to": alert, "now_at": alert.revision, "changed_at": now}


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
            "summed": route.summed,
        }
        for route in reversed(once.values())
    ]
