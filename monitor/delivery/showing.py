"""What a receiver shows after a delivery, and when it is told of that again. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from monitor.delivery.sinks.base import Traits
from monitor.store.values import Change, Kind, Notification, Opened, Shown
from rules.model import Alert, Status

STANDS_FOR: Final = timedelta(hours=24)
"""After their last news, alerts that last are repeated and asserted so long: a forgotten one must not ring
for ever."""

ENDS_FOR: Final = timedelta(minutes=5)
"""An end is told again so long to who is told again what fires: Alertmanager forgets both at a restart, and
asks its clients for it (https://prometheus.io/docs/alerting/latest/alerts_api/)."""

_SUMS: Final = frozenset({Kind.SUMMARY, Kind.DIGEST})


def shows(
    notification: Notification, traits: Traits, receipts: Mapping[str, str], *, now: datetime
) -> tuple[Shown, ...]:
    """What is to be remembered of `notification`, which was accepted at `now` with these receipts.

    One row for a group, else one for each alert; one for each too where they would be forgotten, however
    many there are. () if nothing will ever have to be told again: a receiver that does not follow, of alerts
    that are not repeated. What is over is told by a row that is never due.
    """
    if notification.kind in _SUMS and traits.reasserts is None:
        return ()  # what is shown of them elsewhere is brought up to date by the store
    kept = {**notification.receipts, **receipts}
    is_told_again = traits.follows or traits.reasserts is not None
    if notification.opened is not None and notification.group and traits.reasserts is None:
        row = _of_group(notification, notification.opened, traits, kept, now)
        return (row,) if traits.follows or notification.opened.timing.repeat is not None else ()
    is_kept = is_told_again or notification.opened is not None
    rows = (_of_alert(alert, notification, traits, kept, now) for alert in notification.alerts)
    return tuple(rows) if is_kept else ()


def _of_group(
    told: Notification, opened: Opened, traits: Traits, receipts: Mapping[str, str], now: datetime
) -> Shown:
    fires = [alert for alert in (*told.alerts, *told.others) if alert.status is Status.FIRING]
    due = _soonest(fires, told, traits, now)
    return Shown(
        receiver=told.receiver,
        subject=opened.subject,
        alert=None,
        grouped=opened.group.key,
        receipt=receipts.get(opened.subject),
        shown_at=now,
        due_at=due[0] if due else None,
        change=due[1] if due else Change.REASSERT,
        follows=traits.follows,
        is_over=not fires,
    )


def _of_alert(
    alert: Alert, told: Notification, traits: Traits, receipts: Mapping[str, str], now: datetime
) -> Shown:
    fires = [alert] if alert.status is Status.FIRING else []
    due = _soonest(fires, told, traits, now) if fires else _again(alert, traits, now)
    return Shown(
        receiver=told.receiver,
        subject=alert.id,
        alert=alert.id,
        grouped=told.opened.group.key if told.opened else None,
        receipt=receipts.get(alert.id),
        revision=alert.revision,
        shown_at=now,
        due_at=due[0] if due else None,
        change=due[1] if due else Change.REASSERT,
        follows=traits.follows,
        is_over=not fires,
    )


def _soonest(
    fires: Iterable[Alert], told: Notification, traits: Traits, now: datetime
) -> tuple[datetime, Change] | None:
    """When of alerts that fire is told again, and how."""
    lasting = [alert for alert in fires if alert.lasts]
    dues = []
    if traits.reasserts is not None:
        dues.append((now + traits.reasserts, Change.REASSERT))
    if told.opened is not None and any(alert.id not in told.acks for alert in lasting):
        dues.extend((at, Change.REPEAT) for at in _repeat_at(told.opened, told.change, now))
    stands_until = max((stands(alert) for alert in lasting), default=now)
    return min((due for due in dues if due[0] < stands_until), default=None)


def _again(over: Alert, traits: Traits, now: datetime) -> tuple[datetime, Change] | None:
    """When an end is told again."""
    if traits.reasserts is None or not over.lasts or now + traits.reasserts > over.event_at + ENDS_FOR:
        return None
    return now + traits.reasserts, Change.REASSERT


def _repeat_at(opened: Opened, change: Change, now: datetime) -> Iterator[datetime]:
    """Counted from the last message that made a sound."""
    is_silent = change in {Change.UPDATE, Change.REASSERT}
    at = opened.repeat_at(opened.flushed_at if is_silent and opened.flushed_at is not None else now)
    if at is not None:
        yield at


def stands(alert: Alert) -> datetime:
    """Until when an alert that lasts is told again; its end is told whenever it comes."""
    return max(alert.first_seen_at, alert.event_at) + STANDS_FOR
