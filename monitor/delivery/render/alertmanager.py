"""Alerts as Alertmanager takes them: the `postableAlerts` of its API v2.

Labels are an alert's identity there: what begins under one set of them can only end under the same. So they
are made of what never changes about an alert, and `alert_id` is one of them, or two missed calls of the same
user would be one alert.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from monitor.delivery.render import words
from monitor.delivery.render.facts import MAX_FACTS, facts, links, remarks, tame, title
from monitor.store.values import Kind, Notification
from rules.model import Alert, Status

STANDS: Final = timedelta(minutes=5)
"""How long a firing alert stands without being told again; Alertmanager's own default for those that say
nothing. It is the longest restart of ours that resolves no alert over there."""

PROMPT: Final = "prompt"
LATE: Final = "late"
"""The receipt of an alert: whether it was told as old news. That is a label, so its end must have it too."""


def alerts(
    notification: Notification, *, app: str, labels: Mapping[str, str], now: datetime
) -> list[dict[str, Any]]:
    """Every alert that the notification is about, each by itself whatever the kind: Alertmanager groups.

    Not the others of a group: they are told again each by itself.
    """
    each = {alert.id: alert for alert in notification.alerts}
    return [_alert(alert, notification, app=app, labels=labels, now=now) for alert in each.values()]


def receipts(notification: Notification) -> dict[str, str]:
    """What we need to know when we tell of the same alerts again: subject -> LATE or PROMPT."""
    return {
        notification.subject(alert): LATE if _is_late(alert, notification) else PROMPT
        for alert in notification.alerts
    }


def watchdog(
    *, app: str, labels: Mapping[str, str], now: datetime, stands: timedelta = STANDS
) -> list[dict[str, Any]]:
    """An alert that always fires, to be told again and again: its end is news that we are not working."""
    named = {"app": app, **labels, "alertname": "CometwatchWatchdog", "severity": "none"}
    told = {
        "summary": "Cometwatch is at work",
        "description": "This alert fires as long as messages are read, judged and delivered. Route it to a "
        "service that raises the alarm when it is no longer told of it.",
    }
    return [
        {
            "labels": _labels(named.items()),
            "annotations": told,
            "startsAt": words.iso(now),
            "endsAt": words.iso(now + stands),
        }
    ]


def _alert(
    alert: Alert, notification: Notification, *, app: str, labels: Mapping[str, str], now: datetime
) -> dict[str, Any]:
    starts_at = min(alert.event_at, alert.first_seen_at)
    linked = links(alert)
    told = {
        **facts(alert, notification),
        **remarks(alert),
        **({"runbook_url": linked["runbook"]} if "runbook" in linked else {}),
        "summary": title(alert, is_sample=notification.is_sample),
    }
    known = {
        "labels": _identity(alert, notification, app=app, labels=labels),
        "annotations": {_name(name): text for name, text in told.items()},
        "startsAt": words.iso(starts_at),
        "endsAt": words.iso(max(starts_at, _ends_at(alert, notification, now))),
    }
    return {**known, "generatorURL": linked["conversation"]} if "conversation" in linked else known


def _ends_at(alert: Alert, notification: Notification, now: datetime) -> datetime:
    """When it ended, or will be taken to have ended if nobody tells of it again.

    An event (`lasts` is false) is over once it is told; it stands so long that no `group_wait` misses it.
    """
    return now + STANDS if alert.status is Status.FIRING else min(notification.created_at, now)


def _identity(
    alert: Alert, notification: Notification, *, app: str, labels: Mapping[str, str]
) -> dict[str, str]:
    marks = {
        "late": "true" if _is_late(alert, notification) else "",
        "sample": "true" if notification.is_sample else "",
    }
    ours = {"alertname": alert.rule, "severity": alert.severity.value, "alert_id": alert.id, **marks}
    return _labels([("app", app), *labels.items(), *sorted(alert.labels.items())[:MAX_FACTS], *ours.items()])


def _is_late(alert: Alert, notification: Notification) -> bool:
    """Told as old news, now or when it began."""
    receipt = notification.receipts.get(notification.subject(alert))
    return receipt == LATE if receipt else notification.kind is Kind.DIGEST


def _labels(named: Iterable[tuple[str, str]]) -> dict[str, str]:
    """As label names may be and values are understood; without empty ones, which mean "no such label"."""
    shown = {_name(name): tame(value, 200) for name, value in named}
    return {name: value for name, value in shown.items() if value}


def _name(name: str) -> str:
    """A label name that every version takes: `[a-zA-Z_][a-zA-Z0-9_]*`."""
    plain = re.sub(r"[^a-zA-Z0-9_]", "_", name[:100])
    return plain if plain and not plain[0].isdigit() else f"_{plain}"
