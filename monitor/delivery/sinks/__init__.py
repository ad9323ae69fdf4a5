"""One file a protocol. A new sink is a file, a line here, and its row in the contract suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from monitor.delivery.sinks.alertmanager import AlertmanagerSink
from monitor.delivery.sinks.apprise import AppriseSink
from monitor.delivery.sinks.base import Delivered, Refused, RetryAfter, Settlement, Sink, Traits
from monitor.delivery.sinks.console import ConsoleSink
from monitor.delivery.sinks.discord import DiscordSink
from monitor.delivery.sinks.jsm import JsmSink
from monitor.delivery.sinks.pagerduty import PagerDutySink
from monitor.delivery.sinks.slack import SlackSink
from monitor.delivery.sinks.slack_bot import SlackBotSink
from monitor.delivery.sinks.teams import TeamsSink
from monitor.delivery.sinks.telegram import TelegramSink
from monitor.delivery.sinks.webhook import WebhookSink

SINKS: Final[Mapping[str, Callable[..., Sink]]] = {
    "alertmanager": AlertmanagerSink,
    "apprise": AppriseSink,
    "console": ConsoleSink,
    "discord": DiscordSink,
    "jsm": JsmSink,
    "pagerduty": PagerDutySink,
    "slack": SlackSink,
    "slack_bot": SlackBotSink,
    "teams": TeamsSink,
    "telegram": TelegramSink,
    "webhook": WebhookSink,
}

__all__ = ["SINKS", "Delivered", "Refused", "RetryAfter", "Settlement", "Sink", "Traits"]
