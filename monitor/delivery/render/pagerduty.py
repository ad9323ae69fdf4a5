"""Alerts as events of PagerDuty's Events API v2: one `dedup_key` for all that is told of one subject."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from monitor.delivery.render import words
from monitor.delivery.render.facts import MAX_FACTS, counts, facts, links, remarks, tame, title
from monitor.store.values import Change, Kind, Notification, Opened
from rules.model import Alert, Severity, Status, correlation_key

MAX_SUMMARY: Final = 1024
LISTED: Final = 20
"""Alerts of a group or a sum that are named; the rest is counted."""

Event = dict[str, Any]


def events(notification: Notification, *, app: str) -> tuple[Event, ...]:
    """What to send, without the routing key. The same on every attempt."""
    if notification.kind is Kind.GROUP and notification.opened:
        return (_of_group(notification, notification.opened, app),)
    if notification.kind is not Kind.ALERTS and len(notification.alerts) > 1:
        return _of_sum(notification, app)
    return tuple(_of_alert(alert, notification, app) for alert in notification.alerts)


def _of_alert(alert: Alert, notification: Notification, app: str) -> Event:
    shown = title(alert, is_sample=notification.is_sample)
    is_late = notification.kind is Kind.DIGEST
    payload = {
        "summary": words.cut(f"Found late: {shown}" if is_late else shown, MAX_SUMMARY),
        "source": _source(app),
        # Old news is never a page: what is only information wakes nobody up by PagerDuty's usual rules.
        "severity": (Severity.INFO if is_late else alert.severity).value,
        "timestamp": words.iso(alert.event_at),
        "component": tame(alert.conversation_id, 200),
        "group": tame(alert.rule, 200),
        "class": tame(alert.rule, 200),
        "custom_details": {**facts(alert, notification), **_more(alert)},
    }
    return _event(_action([alert], notification), correlation_key(alert.id), payload, [alert])


def _of_group(notification: Notification, opened: Opened, app: str) -> Event:
    alerts = _members(notification)
    firing = [alert for alert in alerts if alert.status is Status.FIRING]
    leading = firing or alerts
    first = title(leading[0], is_sample=notification.is_sample)
    count = f"{len(firing)} firing, {len(alerts) - len(firing)} resolved"
    group = ", ".join(f"{name}={value}" for name, value in sorted(opened.group.labels.items()))
    payload = {
        "summary": words.cut(f"{first} ({count})" if len(alerts) > 1 else first, MAX_SUMMARY),
        "source": _source(app),
        "severity": _worst(leading).value,
        "timestamp": words.iso(min(alert.event_at for alert in alerts)),
        "group": tame(group, 200),
        "class": tame(leading[0].rule, 200),
        "custom_details": {
            "group": tame(group),
            "count": count,
            **_notes(notification),
            "rules": counts(alerts),
            "alerts": _listed(sorted(alerts, key=lambda alert: alert.status is Status.RESOLVED)),
        },
    }
    return _event(_action(alerts, notification), correlation_key(opened.subject), payload, leading)


def _of_sum(notification: Notification, app: str) -> tuple[Event, ...]:
    """One event that counts them, which a person closes, and the end of each that is over."""
    alerts = notification.alerts
    is_late = notification.kind is Kind.DIGEST
    payload = {
        "summary": words.cut(words.headline(notification), MAX_SUMMARY),
        "source": _source(app),
        "severity": (Severity.INFO if is_late else _worst(alerts)).value,
        "timestamp": words.iso(min(alert.event_at for alert in alerts)),
        "custom_details": {
            "severities": words.severities(alerts),
            "rules": counts(alerts),
            "when": words.span(alerts),
            "alerts": _listed(alerts),
            "list_them": f"cometwatch outbox list --receiver {tame(notification.receiver, 100)}",
        },
    }
    over = [alert for alert in alerts if alert.status is Status.RESOLVED]
    ends = (_of_alert(alert, notification, app) for alert in over)
    return (_event("trigger", correlation_key(notification.id), payload, []), *ends)


def _event(action: str, key: str, payload: dict[str, Any], alerts: Sequence[Alert]) -> Event:
    linked = links(alerts[0]) if alerts else {}
    event = {
        "event_action": action,
        "dedup_key": key,
        "client": "Cometwatch",
        "links": [{"href": url, "text": name.capitalize()} for name, url in linked.items()],
        "payload": payload,
    }
    return {**event, "client_url": linked["conversation"]} if "conversation" in linked else event


def _action(alerts: Sequence[Alert], notification: Notification) -> str:
    firing = [alert for alert in alerts if alert.status is Status.FIRING]
    if not firing:
        return "resolve"
    is_taken = all(alert.id in notification.acks for alert in firing)
    return "acknowledge" if is_taken and notification.change is Change.UPDATE else "trigger"


def _members(notification: Notification) -> list[Alert]:
    """The group's alerts, each once: first what is told of, then the others."""
    told = {alert.id: alert for alert in notification.alerts}
    return [*told.values(), *(alert for alert in notification.others if alert.id not in told)]


def _worst(alerts: Sequence[Alert]) -> Severity:
    return min((alert.severity for alert in alerts), key=list(Severity).index)


def _source(app: str) -> str:
    return f"CometChat app {tame(app, 100)}"


def _listed(alerts: Sequence[Alert]) -> list[str]:
    shown = [f"{words.word(alert)} {title(alert)} ({alert.id})" for alert in alerts[:LISTED]]
    return shown if len(alerts) <= LISTED else [*shown, f"and {len(alerts) - LISTED} more"]


def _notes(notification: Notification) -> dict[str, str]:
    said = sorted({tame(note) for note in notification.notes.values()})[:LISTED]
    return {"note": "; ".join(said)} if said else {}


def _more(alert: Alert) -> dict[str, Any]:
    return {
        "labels": {tame(name, 100): tame(value) for name, value in sorted(alert.labels.items())[:MAX_FACTS]},
        "annotations": remarks(alert),
        "alert": alert.id,
        "acknowledge": f"cometwatch ack {alert.id}",
    }
