"""The webhook body. Its shape is an interface (`webhook.schema.json`): keys are added, never changed."""

from __future__ import annotations

import json
from typing import Any, Final

from monitor.delivery.render.words import iso, link, names
from monitor.store.values import Ack, Kind, Notification
from rules.model import Alert, Attachment, Call, Message

SAMPLE: Final = "SAMPLE, nothing happened: "


def body(notification: Notification, *, app: str) -> bytes:
    """The same bytes on every attempt: nothing in it depends on when it is sent."""
    return encoded(payload(notification, app=app))


def encoded(payload: Any) -> bytes:
    # Strict receivers refuse an unpaired surrogate; one hostile character must not cost the alert.
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def payload(notification: Notification, *, app: str) -> dict[str, Any]:
    return {
        "type": f"alerts.{notification.status.value}",
        "timestamp": iso(notification.created_at),
        "data": data(notification, app=app),
    }


def data(notification: Notification, *, app: str) -> dict[str, Any]:
    """What is told, without its envelope."""
    return {
        "notification_id": notification.id,
        "receiver": notification.receiver,
        "change": notification.change.value,
        "group": dict(notification.group),
        "group_id": notification.opened.subject if notification.opened and notification.group else None,
        "still_firing": [alert.id for alert in notification.others],
        "late": notification.kind is Kind.DIGEST,
        "sample": notification.is_sample,
        "alerts": [_alert(alert, notification) for alert in notification.alerts],
        "app": app,
    }


def _alert(alert: Alert, notification: Notification) -> dict[str, Any]:
    ack = notification.acks.get(alert.id)
    return {
        "id": alert.id,
        "rule": alert.rule,
        "status": alert.status.value,
        "severity": alert.severity.value,
        "title": SAMPLE + alert.title if notification.is_sample else alert.title,
        "summary": alert.summary,
        "note": notification.notes.get(alert.id),
        "acknowledged": _ack(ack) if ack else None,
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "conversation_id": alert.conversation_id,
        "link": link(alert),
        "watched_users": list(alert.watched_users),
        "names": dict(names(alert)),
        "event_at": iso(alert.event_at),
        "first_seen_at": iso(alert.first_seen_at),
        "resolution": alert.resolution,
        "messages": [_message(message) for message in alert.messages],
    }


def _ack(ack: Ack) -> dict[str, Any]:
    return {"by": ack.by, "at": iso(ack.at), "comment": ack.comment}


def _message(message: Message) -> dict[str, Any]:
    return {
        "id": str(message.id),
        "category": message.category,
        "type": message.type,
        "action": message.action,
        "sender": message.sender.id,
        "receiver": message.receiver.id,
        "receiver_type": message.receiver_type,
        "sent_at": iso(message.sent_at),
        "text": message.text,
        "attachments": [_attachment(attachment) for attachment in message.attachments],
        "mentions": list(message.mentions),
        "call": _call(message.call) if message.call else None,
    }


def _attachment(attachment: Attachment) -> dict[str, Any]:
    shown = {
        "name": attachment.name,
        "extension": attachment.extension,
        "mime_type": attachment.mime_type,
        "size": attachment.size,
    }
    return {**shown, "url": attachment.url} if attachment.url else shown


def _call(call: Call) -> dict[str, Any]:
    return {
        "session_id": call.session_id,
        "status": call.status,
        "caller": call.caller.id,
        "callee": call.callee.id,
    }
