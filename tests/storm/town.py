"""The receivers: a channel by webhook, a channel by bot, a machine; all take nothing while they are down."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import httpx
import trio

from monitor.clock import Clock
from monitor.delivery.policy import STALE_AFTER
from monitor.delivery.sinks.base import Delivered, Settlement, Sink, Traits
from monitor.delivery.sinks.post import open_http
from monitor.delivery.sinks.slack import SlackSink
from monitor.delivery.sinks.slack_bot import SlackBotSink
from monitor.delivery.sinks.webhook import WebhookSink
from monitor.store.values import Change, Kind, Notification, NotificationId
from rules.model import AlertId, Severity, Status
from tests.delivery.slack_api import CHANNEL, TOKEN, SlackApi

SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class Town:
    """Everything that alerts are sent to."""

    clock: Clock
    is_down: bool = False
    channel: int = 0  #: messages in the channel of the webhook
    machine: Counter[tuple[str, str]] = field(default_factory=Counter)  #: (alert, status) -> how often

    def __post_init__(self) -> None:
        self.slack = SlackApi(self.clock)
        self.http = open_http(transport=httpx.MockTransport(self._answer))

    def sink(self, receiver: str) -> Sink:
        match receiver:
            case "oncall":
                return SlackSink(url=lambda: "https://hooks.test/T0", http=self.http, clock=self.clock)
            case "bot":
                return SlackBotSink(
                    token=lambda: TOKEN,
                    channel=CHANNEL,
                    url="https://slack.test/api",
                    http=self.http,
                    clock=self.clock,
                )
            case _:
                return WebhookSink(
                    app="275211",
                    url=lambda: "https://ops.test/hook",
                    secrets=lambda: [SECRET],
                    http=self.http,
                    clock=self.clock,
                )

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.is_down:
            return httpx.Response(503, stream=httpx.ByteStream(b"no"))
        match request.url.host:
            case "slack.test":
                return await self.slack(request)
            case "hooks.test":
                self.channel += 1
            case _:
                alerts = json.loads(request.content)["data"]["alerts"]
                self.machine.update((one["id"], one["status"]) for one in alerts)
        return httpx.Response(200, stream=httpx.ByteStream(b"ok"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One send that was accepted."""

    at: float
    kind: Kind
    change: Change
    status: Status
    alerts: int
    is_straggler: bool  #: one event by itself, long after it was found


@dataclass
class Witness:
    """The receiver's own sink, with an eye on it."""

    sink: Sink
    clock: Clock
    sends: int = 0
    sent: list[Sent] = field(default_factory=list)
    accepted: set[NotificationId] = field(default_factory=set)
    criticals: dict[AlertId, float] = field(default_factory=dict)  #: seconds from found to told

    @property
    def traits(self) -> Traits:
        return self.sink.traits

    async def send(self, notification: Notification) -> Settlement:
        self.sends += 1
        settlement = await self.sink.send(notification)
        if isinstance(settlement, Delivered):
            self._note(notification)
        return settlement

    def _note(self, told: Notification) -> None:
        self.accepted.add(told.id)
        now, alone = self.clock.wall(), told.alerts[0] if len(told.alerts) == 1 else None
        self.sent.append(
            Sent(
                at=trio.current_time(),
                kind=told.kind,
                change=told.change,
                status=told.status,
                alerts=len(told.alerts),
                is_straggler=alone is not None
                and alone.status is Status.FIRING
                and not alone.lasts
                and now - alone.first_seen_at > STALE_AFTER,
            )
        )
        for alert in told.alerts:
            if alert.severity is Severity.CRITICAL and alert.status is Status.FIRING:
                delay = now - alert.first_seen_at
                self.criticals.setdefault(alert.id, delay.total_seconds())
