"""What rules would have meant for whoever is on call: alerts and pages by rule, day and hour. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Final

from msgspec.structs import replace

from monitor.rehearsal import Rehearsed
from monitor.store.values import EntryState, Fate, Finding
from rules.model import Alert, AlertId, RuleName, Status, Value

DAY_S: Final = 86_400
EXAMPLES: Final = 3


class Told(Value, frozen=True, kw_only=True):
    """One alert from its beginning to its end."""

    alert: Alert  #: as it was when it fired, brought up to date since
    fate: Fate
    hold: str | None = None  #: if it was held: its fate, or overflow or surge of one that is summed
    why: str | None = None  #: it was not sent, in a sentence
    receivers: tuple[str, ...] = ()  #: of its beginning, sent or summed
    resolved_at: datetime | None = None
    resolution: str | None = None


class Hour(Value, frozen=True, kw_only=True):
    at: datetime  #: its beginning, in the zone of the tally
    count: int


class RuleTally(Value, frozen=True, kw_only=True):
    """What one rule would have meant."""

    rule: RuleName
    severity: str
    alerts: int
    resolved: int
    pages: int  #: alerts that were sent by themselves
    pages_per_day: float
    busiest: Hour | None  #: of the pages, or of the alerts if none was sent
    fates: Mapping[str, int]  #: fate, with its reason, of those that were not sent
    examples: tuple[Told, ...]  #: the first, the last and one between
    open: int = 0  #: questions that the end of the messages left unanswered
    faults: int = 0
    error: str | None = None  #: the first fault


class Tally(Value, frozen=True, kw_only=True):
    """What all rules would have meant between two moments."""

    since: datetime
    until: datetime
    messages: int
    rules: tuple[RuleTally, ...]
    alerts: int
    resolved: int
    pages: int
    pages_per_day: float
    busiest: Hour | None
    hours: tuple[Hour, ...]  #: all that are not empty; of pages, or of alerts if `pages` is 0
    told: tuple[Told, ...]

    @property
    def days(self) -> float:
        return _days(self.since, self.until)


def told(findings: Iterable[Finding], holds: Mapping[AlertId, str] = {}) -> tuple[Told, ...]:
    """The alerts behind the findings, in the order in which they fired; `holds` says why some were held."""
    alerts: dict[AlertId, Told] = {}
    for finding in findings:
        alert, before = finding.alert, alerts.get(finding.alert.id)
        if alert.status is Status.RESOLVED:
            if before is not None:
                alerts[alert.id] = replace(before, resolved_at=alert.event_at, resolution=alert.resolution)
        elif before is None:
            alerts[alert.id] = _beginning(finding, holds.get(alert.id))
        else:
            alerts[alert.id] = replace(before, alert=alert)
    return tuple(alerts.values())


def _beginning(finding: Finding, hold: str | None) -> Told:
    return Told(
        alert=finding.alert,
        fate=finding.fate,
        hold=hold,
        why=next((route.reason for route in finding.routes if route.reason), None),
        receivers=tuple(route.receiver for route in finding.routes if route.state is EntryState.PENDING),
    )


def tally(
    rehearsed: Rehearsed, names: Sequence[RuleName], *, since: datetime, until: datetime, zone: tzinfo
) -> Tally:
    """Count by rule and hour. `names` are the rules that ran: one that found nothing is told too."""
    alerts = told(rehearsed.findings, rehearsed.holds)
    by_rule: dict[RuleName, list[Told]] = {name: [] for name in names}
    for one in alerts:
        by_rule.setdefault(one.alert.rule, []).append(one)
    days = _days(since, until)
    hours = _hours(alerts, zone)
    pages = sum(one.fate is Fate.SENT for one in alerts)
    return Tally(
        since=since,
        until=until,
        messages=rehearsed.messages,
        rules=tuple(_of_rule(name, found, rehearsed, days, zone) for name, found in by_rule.items()),
        alerts=len(alerts),
        resolved=sum(one.resolved_at is not None for one in alerts),
        pages=pages,
        pages_per_day=round(pages / days, 2),
        busiest=_busiest(hours),
        hours=hours,
        told=alerts,
    )


def _of_rule(
    name: RuleName, found: Sequence[Told], rehearsed: Rehearsed, days: float, zone: tzinfo
) -> RuleTally:
    pages = sum(one.fate is Fate.SENT for one in found)
    return RuleTally(
        rule=name,
        severity=found[0].alert.severity if found else "-",
        alerts=len(found),
        resolved=sum(one.resolved_at is not None for one in found),
        pages=pages,
        pages_per_day=round(pages / days, 2),
        busiest=_busiest(_hours(found, zone)),
        fates=fates(found),
        examples=_spread(found),
        open=rehearsed.open.get(name, 0),
        faults=rehearsed.faults.get(name, 0),
        error=rehearsed.errors.get(name),
    )


def fates(found: Iterable[Told]) -> Mapping[str, int]:
    """How many were not sent by themselves, by what became of them; most first."""
    counts = Counter(_fate_word(one) for one in found if one.fate is not Fate.SENT)
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def _fate_word(one: Told) -> str:
    return one.hold or ("no route" if one.fate is Fate.UNROUTED else one.fate.value)


def _spread(found: Sequence[Told]) -> tuple[Told, ...]:
    if len(found) <= EXAMPLES:
        return tuple(found)
    return (found[0], found[len(found) // 2], found[-1])


def counted(found: Sequence[Told]) -> Sequence[Told]:
    """What is counted by hour: the pages, or all alerts if none was sent."""
    return [one for one in found if one.fate is Fate.SENT] or found


def _hours(found: Sequence[Told], zone: tzinfo) -> tuple[Hour, ...]:
    counts = Counter(hour_of(one.alert.event_at, zone) for one in counted(found))
    return tuple(Hour(at=at, count=count) for at, count in sorted(counts.items()))


def hour_of(moment: datetime, zone: tzinfo) -> datetime:
    return moment.astimezone(zone).replace(minute=0, second=0, microsecond=0)


def _busiest(hours: Sequence[Hour]) -> Hour | None:
    """The first of the fullest hours."""
    return max(hours, key=lambda hour: hour.count, default=None)


def _days(since: datetime, until: datetime) -> float:
    """At least an hour: an average over seconds says nothing."""
    return max((until - since) / timedelta(seconds=DAY_S), 1 / 24)
