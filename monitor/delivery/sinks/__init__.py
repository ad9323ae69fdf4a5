"""One file a protocol. A new sink is a file, a line here, and its row in the contract suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from monitor.delivery.sinks.alertmanager import AlertmanagerSink
from monitor.delivery.sinks.base import Delivered, Refused, RetryAfter, Settlement, Sink, Traits
from monitor.delivery.sinks.console import ConsoleSink
from monitor.delivery.sinks.jsm import JsmSink
from monitor.delivery.sinks.pagerduty import PagerDutySink
from monitor.delivery.sinks.slack import SlackSink
from monitor.delivery.sinks.webhook import WebhookSink

SINKS: Final[Mapping[str, Callable[..., Sink]]] = {
    "alertmanager": AlertmanagerSink,
    "console": ConsoleSink,
    "jsm": JsmSink,
    "pagerduty": PagerDutySink,
    "slack": SlackSink,
    "webhook": WebhookSink,
}

__all__ = ["SINKS", "Delivered", "Refused", "RetryAfter", "Settlement", "Sink", "Traits"]
