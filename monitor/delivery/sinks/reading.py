"""What several sinks ask of an answer, and of what they sent."""

from __future__ import annotations

import json
from typing import Any

from monitor.delivery.sinks.post import Answer
from monitor.store.values import Notification


def is_page(answer: Answer) -> bool:
    """Whether it is a web page: the log-in of a proxy that stands in between, with status 200 as a rule."""
    return answer.body.lstrip()[:1] == b"<"


def told(answer: Answer) -> dict[str, Any]:
    """The JSON object that was answered; empty if it was none."""
    try:
        said = json.loads(answer.body)
    except ValueError:  # UnicodeDecodeError is one too
        return {}
    return said if isinstance(said, dict) else {}


def texts(notification: Notification) -> list[str]:
    """The message texts that are sent: no reason may quote them."""
    alerts = (*notification.alerts, *notification.others)
    return [message.text for alert in alerts for message in alert.messages if message.text]
