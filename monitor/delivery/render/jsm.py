"""Alerts as requests to Jira Service Management's integration events API (what was Opsgenie's alert API).

Limits: message 130 characters, alias 512, description 15,000, 20 tags of 50, properties 8,000 in all
(https://support.atlassian.com/opsgenie/docs/alerts-and-alert-fields/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from monitor.delivery.render import words
from monitor.delivery.render.facts import counts, facts, links, remarks, tame, title
from monitor.store.values import Change, Kind, Notification
from rules.model import Alert, Severity, Status, correlation_key

MAX_MESSAGE: Final = 130
MAX_DESCRIPTION: Final = 15_000
MAX_DETAILS: Final = 8_000
LISTED: Final = 50
"""Alerts of a group or a sum that are named; the rest is counted."""

_PRIORITIES: Final = {Severity.CRITICAL: "P1", Severity.WARNING: "P3", Severity.INFO: "P5"}
_SOURCE: Final = "Cometwatch"


class Request(NamedTuple):
    """What to post, and where below `/v2/alerts`."""

    path: str
    body: dict[str, Any]


def requests(notification: Notification, *, app: str) -> tuple[Request, ...]:
    """What to send; the same on every attempt."""
    if notification.kind is Kind.GROUP and notification.opened:
        alias = correlation_key(notification.opened.subject)
        return (_told(_members(notification), alias, notification, app),)
    if notification.kind is not Kind.ALERTS and len(notification.alerts) > 1:
        over = (alert for alert in notification.alerts if alert.status is Status.RESOLVED)
        ends = (_close(correlation_key(alert.id), [alert]) for alert in over)
        alias = correlation_key(notification.id)
        return (_create(alias, notification.alerts, notification, app), *ends)
    return tuple(
        _told([alert], correlation_key(alert.id), notification, app) for alert in notification.alerts
    )


def _told(alerts: Sequence[Alert], alias: str, notification: Notification, app: str) -> Request:
    firing = [alert for alert in alerts if alert.status is Status.FIRING]
    if not firing:
        return _close(alias, alerts)
    if notification.change is Change.UPDATE and all(alert.id in notification.acks for alert in firing):
        return _acknowledge(alias, firing, notification)
    return _create(alias, alerts, notification, app)


def _create(alias: str, alerts: Sequence[Alert], notification: Notification, app: str) -> Request:
    leading = [alert for alert in alerts if alert.status is Status.FIRING] or list(alerts)
    body = {
        "message": words.cut(_message(leading, notification), MAX_MESSAGE),
        "alias": alias,
        "description": words.cut("\n".join(_description(alerts, notification)), MAX_DESCRIPTION),
        "details": _details(leading[0], app) if len(alerts) == 1 else {"app": tame(app, 100)},
        "entity": tame(leading[0].conversation_id if len(alerts) == 1 else "", 512),
        "source": _SOURCE,
        "tags": sorted({tame(alert.rule, 50) for alert in leading})[:20],
        "priority": _priority(leading, notification),
    }
    return Request("", body)


def _acknowledge(alias: str, firing: Sequence[Alert], notification: Notification) -> Request:
    acks = (notification.acks[alert.id] for alert in firing)
    said = dict.fromkeys(tame(": ".join(filter(None, (ack.by, ack.comment))), 500) for ack in acks)
    return _after(alias, "acknowledge", f"Acknowledged by {'; '.join(said)}")


def _close(alias: str, alerts: Sequence[Alert]) -> Request:
    said = dict.fromkeys(tame(alert.resolution or "it is over", 500) for alert in alerts)
    return _after(alias, "close", f"Resolved: {'; '.join(said)}")


def _after(alias: str, action: str, note: str) -> Request:
    return Request(
        f"/{quote(alias, safe='')}/{action}?identifierType=alias",
        {"source": _SOURCE, "note": words.cut(note, MAX_DESCRIPTION)},
    )


def _message(leading: Sequence[Alert], notification: Notification) -> str:
    first = title(leading[0], is_sample=notification.is_sample)
    if notification.kind is Kind.DIGEST and len(leading) == 1:
        return f"Found late: {first}"
    if notification.kind in {Kind.SUMMARY, Kind.DIGEST} and len(notification.alerts) > 1:
        return words.headline(notification)
    if len(leading) > 1:
        return f"{len(leading)} alerts, the first: {first}"
    return first


def _description(alerts: Sequence[Alert], notification: Notification) -> list[str]:
    if len(alerts) == 1:
        told = {**facts(alerts[0], notification), **remarks(alerts[0]), **links(alerts[0])}
        return [f"{name.replace('_', ' ')}: {text}" for name, text in told.items()]
    listed = [f"{words.word(alert)} {title(alert)} ({alert.id})" for alert in alerts[:LISTED]]
    more = [f"and {len(alerts) - LISTED} more"] if len(alerts) > LISTED else []
    notes = sorted({tame(note) for note in notification.notes.values()})
    return [*notes, *counts(alerts), "", *listed, *more]


def _details(alert: Alert, app: str) -> dict[str, str]:
    """Custom properties, by which a team's own rules route and filter."""
    labels = {tame(name, 100): tame(value, 200) for name, value in sorted(alert.labels.items())}
    return _within({**_fixed(alert, app), **labels, **links(alert)}, MAX_DETAILS)


def _fixed(alert: Alert, app: str) -> dict[str, str]:
    return {
        "alert": alert.id,
        "rule": tame(alert.rule, 200),
        "severity": alert.severity.value,
        "app": tame(app, 100),
        "acknowledge": f"cometwatch ack {alert.id}",
    }


def _within(details: Mapping[str, str], most: int) -> dict[str, str]:
    """As many of them, from the first, as fit into `most` characters."""
    kept: dict[str, str] = {}
    for name, text in details.items():
        most -= len(name) + len(text)
        if most >= 0:
            kept[name] = text
    return kept


def _priority(leading: Sequence[Alert], notification: Notification) -> str:
    """Old news is never a page: P5 wakes nobody up by the usual notification rules."""
    if notification.kind is Kind.DIGEST:
        return _PRIORITIES[Severity.INFO]
    return min(_PRIORITIES[alert.severity] for alert in leading)


def _members(notification: Notification) -> list[Alert]:
    """The group's alerts, each once: first what is told of, then the others."""
    told = {alert.id: alert for alert in notification.alerts}
    return [*told.values(), *(alert for alert in notification.others if alert.id not in told)]
