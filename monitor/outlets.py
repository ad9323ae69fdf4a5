"""The ways out to receivers: the sink that each one's settings describe, and the connections it may use."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TextIO

import httpx

from monitor.clock import Clock
from monitor.delivery.render.alertmanager import watchdog
from monitor.delivery.sinks import SINKS, Delivered, Sink
from monitor.delivery.sinks.alertmanager import AlertmanagerSink
from monitor.delivery.sinks.post import PostError, open_http, post, unreadable
from monitor.delivery.values import Receiver, TextPolicy
from monitor.errors import ConfigError
from monitor.heartbeat import Send
from monitor.outgoing import Reach, Tls
from monitor.settings import receivers as settings
from monitor.settings.receivers import Receiver as ReceiverSettings
from rules.model import Severity

MISSED: Final = 4
"""So many signs in a row may go missing before the watchdog of an Alertmanager is over."""


class Outlets:
    """HTTP clients for receivers, one for each way to trust, shared by those who trust alike.

    A context manager: leaving it closes them all. `transport` stands in for the network.
    """

    def __init__(
        self, *, stream: TextIO, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._transport = transport
        self._clients: dict[tuple[Reach, Tls], httpx.AsyncClient] = {}
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    def client(self, receiver: ReceiverSettings) -> httpx.AsyncClient:
        """The client that may reach what the receiver's settings let it reach. Raises ConfigError."""
        return self.client_for(reach_of(receiver), tls_of(receiver.tls))

    def client_for(self, reach: Reach, tls: Tls) -> httpx.AsyncClient:
        """The client for this way to trust. Raises ConfigError for certificates that can't be used."""
        if (reach, tls) not in self._clients:
            made = open_http(transport=self._transport, reach=reach, tls=tls)
            self._open.push_async_callback(made.aclose)
            self._clients[reach, tls] = made
        return self._clients[reach, tls]

    def sink(self, receiver: ReceiverSettings, *, app: str) -> Sink:
        """The sink that speaks the receiver's protocol. Raises ConfigError as `client` does."""
        section = receiver.section
        if isinstance(section, settings.Console):
            return SINKS["console"](stream=self._stream, clock=self._clock)
        if isinstance(section, settings.Apprise):
            return SINKS["apprise"](urls=section.addresses, clock=self._clock)
        name, facts = _protocol(section, app)
        return SINKS[name](http=self.client(receiver), clock=self._clock, **facts)

    def sign_of_life(
        self, heartbeat: settings.Heartbeat, receivers: Iterable[ReceiverSettings], *, app: str
    ) -> Send:
        """How a heartbeat's sign is given. Raises ConfigError as `client` does."""
        named = next((one for one in receivers if one.name == heartbeat.alertmanager), None)
        if named is not None:
            return partial(self._tell_watchdog, self.sink(named, app=app), named, app, heartbeat.every)
        return partial(self._ask, self.client_for(Reach(), Tls()), heartbeat.address)

    async def _ask(self, http: httpx.AsyncClient, address: Callable[[], str]) -> str | None:
        try:
            answer = await post(http, address().strip(), b"", {}, now=self._clock.wall())
        except PostError as error:
            return str(error)
        except (OSError, UnicodeError, ConfigError) as error:
            return unreadable(error)
        return None if answer.is_success else f"it answered {answer.status}"

    async def _tell_watchdog(
        self, sink: Sink, receiver: ReceiverSettings, app: str, every: timedelta
    ) -> str | None:
        assert isinstance(sink, AlertmanagerSink), "the settings let no other protocol be named"
        labels = receiver.alertmanager.labels if receiver.alertmanager else {}
        now = self._clock.wall()
        told = watchdog(app=app, labels=labels, now=now, stands=MISSED * every)
        settlement = await sink.assert_all(told)
        return None if isinstance(settlement, Delivered) else settlement.reason


def _protocol(section: settings.Sink, app: str) -> tuple[str, dict[str, Any]]:
    """The sink's name in the registry, and what only it needs."""
    match section:
        case settings.Slack(is_bot=True):
            return "slack_bot", {"token": section.bot_token, "channel": section.channel, "url": section.url}
        case settings.Slack():
            return "slack", {"url": section.address}
        case settings.Webhook():
            return "webhook", {
                "app": app,
                "url": section.address,
                "secrets": section.signing_secrets,
                "headers": section.extra_headers,
                "form": section.format,
            }
        case settings.Alertmanager():
            return "alertmanager", {
                "app": app,
                "urls": section.urls,
                "headers": authorization(section),
                "labels": section.labels,
            }
        case settings.PagerDuty():
            return "pagerduty", {"app": app, "routing_key": section.key, "url": section.url}
        case settings.Jsm():
            return "jsm", {"app": app, "api_key": section.key, "url": section.url}
        case settings.Teams():
            return "teams", {"url": section.address}
        case settings.Discord():
            return "discord", {"url": section.address}
        case settings.Telegram():
            return "telegram", {"token": section.bot_token, "chat": section.chat_id, "url": section.url}
        case _:
            raise AssertionError(f"no sink for {type(section).__name__}")


def authorization(section: settings.Alertmanager) -> Callable[[], Mapping[str, str]]:
    """The header that lets us in, made anew each time: files may be exchanged. It raises SecretError."""

    def header() -> Mapping[str, str]:
        if (known := section.credentials()) is not None:
            basic = base64.b64encode(":".join(known).encode()).decode()
            return {"authorization": f"Basic {basic}"}
        if (token := section.bearer()) is not None:
            return {"authorization": f"Bearer {token}"}
        return {}

    return header


def receiver_of(receiver: ReceiverSettings) -> Receiver:
    """A receiver in the words of delivery."""
    fallback = receiver.fallback
    after = {Severity(name): span for name, span in fallback.after.items()} if fallback else {}
    return Receiver(
        name=receiver.name,
        text=TextPolicy(receiver.text),
        links=receiver.links,
        rate_per_s=receiver.rate_per_s,
        timeout_s=receiver.timeout.total_seconds(),
        summary_over=receiver.summary_over,
        fallback=fallback.receiver if fallback else None,
        deadlines=after,
    )


def reach_of(receiver: ReceiverSettings) -> Reach:
    return Reach(private=receiver.addresses == "any")


def tls_of(tls: settings.Tls) -> Tls:
    def path(name: str | None) -> Path | None:
        return Path(name) if name else None

    return Tls(ca_file=path(tls.ca_file), cert_file=path(tls.cert_file), key_file=path(tls.key_file))
