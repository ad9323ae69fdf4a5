"""What may leave for a receiver. Applied once, before any sink: what a sink never sees it can't leak."""

from __future__ import annotations

import msgspec

from monitor.delivery.values import PREVIEW_LENGTH, Receiver, TextPolicy
from monitor.store.values import Notification
from rules.model import Alert, Message


def disclose(notification: Notification, receiver: Receiver) -> Notification:
    """The notification with message text and media links only as far as the receiver's policy lets them.

    Titles, summaries and annotations pass: their templates can name neither.
    """
    alerts = tuple(_disclosed(alert, receiver) for alert in notification.alerts)
    others = tuple(_disclosed(alert, receiver) for alert in notification.others)
    return msgspec.structs.replace(notification, alerts=alerts, others=others)


def preview(text: str) -> str:
    """The text in at most `PREVIEW_LENGTH` characters."""
    return text if len(text) <= PREVIEW_LENGTH else text[: PREVIEW_LENGTH - 1] + "…"


def _disclosed(alert: Alert, receiver: Receiver) -> Alert:
    messages = tuple(_shown(message, receiver) for message in alert.messages)
    return msgspec.structs.replace(alert, messages=messages)


def _shown(message: Message, receiver: Receiver) -> Message:
    attachments = message.attachments
    if not receiver.links:
        attachments = tuple(msgspec.structs.replace(a, url=None) for a in attachments)
    text = _shown_text(message.text, receiver.text)
    return msgspec.structs.replace(message.evidence(), text=text, attachments=attachments)


def _shown_text(text: str | None, policy: TextPolicy) -> str | None:
    if text is None or policy is TextPolicy.NONE:
        return None
    return preview(text) if policy is TextPolicy.PREVIEW else text
