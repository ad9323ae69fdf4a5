"""The webhook's body as a CloudEvent 1.0 over HTTP: the same `data`, in another envelope.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from monitor.delivery.render import webhook
from monitor.delivery.render.words import iso
from monitor.store.values import Notification

STRUCTURED: Final = "application/cloudevents+json; charset=utf-8"
BINARY: Final = "application/json"

# Printable ASCII but for space, double quote and percent (section 3.1.3.2 of the binding).
_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in {'"', "%"})


def structured(notification: Notification, *, app: str) -> bytes:
    """The event as one JSON document. As with the plain body, the same bytes on every attempt."""
    event = {**attributes(notification, app=app), "data": webhook.data(notification, app=app)}
    return webhook.encoded(event)


def binary(notification: Notification, *, app: str) -> bytes:
    """The data alone; its envelope is `headers`."""
    return webhook.encoded(webhook.data(notification, app=app))


def headers(notification: Notification, *, app: str) -> dict[str, str]:
    known = attributes(notification, app=app)
    del known["datacontenttype"]  # is the Content-Type
    return {f"ce-{name}": quote(value, safe=_SAFE) for name, value in known.items()}


def attributes(notification: Notification, *, app: str) -> dict[str, Any]:
    """What names the event. Its source and id stay the same over retries, so they tell a repeated one."""
    named = {
        "specversion": "1.0",
        "id": notification.id,
        "source": f"urn:cometwatch:{quote(app, safe='')}",
        "type": f"cometwatch.alerts.{notification.status.value}",
        "time": iso(notification.created_at),
        "datacontenttype": "application/json",
    }
    subject = _subject(notification)
    return {**named, "subject": subject} if subject else named


def _subject(notification: Notification) -> str | None:
    """The one thing that it is about; a batch is about many."""
    subjects = {notification.subject(alert) for alert in notification.alerts}
    return subjects.pop() if len(subjects) == 1 else None
