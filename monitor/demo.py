"""The whole road in one process, for a first look: simulated CometChat, monitor and receivers."""

from __future__ import annotations

import json
import math
import secrets
import signal
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import trio
import typer
from prometheus_client import CollectorRegistry
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from monitor import logs
from monitor.app import App
from monitor.clock import system_wall
from monitor.configuration import Configuration, read
from monitor.server import listening, serve
from monitor.serving import process_registry, serve_pages, wires
from monitor.settings.model import known_secrets
from monitor.simulator import World, build, play, scenario
from monitor.store.store import Store
from monitor.store.values import EntryState
from rules.model import RuleName

RULES: Final = ("missed-call", "attachment", "mention")
LOOPBACK: Final = "127.0.0.1:0"
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

CONFIG: Final = """
api: {{base_url: "{source}/v3", api_key: "{key}", requests_per_minute: 250}}
watch:
  users: [{{uid: superhero2, labels: {{team: support}}}}, {{uid: superhero3, labels: {{team: support}}}}]
store: {{url: "sqlite:///{folder}/cometwatch.db"}}
server: {{listen: "127.0.0.1:{port}"}}
alerts: {{link: "https://support.example/{{conversation_id}}"}}
receivers:
  - {{name: slack, slack: {{webhook_url: "{receiver}/slack"}}}}
  - {{name: webhook, webhook: {{url: "{receiver}/webhook", secret: "{secret}"}}, text: full}}
{screen}routes:
  - {{receivers: [slack, webhook{to}]}}
"""


def run(*, duration: float | None, as_json: bool, port: int) -> int:
    """Run for `duration` seconds, or until a signal. Returns the exit code: 0 if all was delivered."""
    with TemporaryDirectory(prefix="cometwatch-demo-") as folder:
        demo = Demo(folder=Path(folder), port=port, is_shown=not as_json)
        summary = trio.run(demo.run, duration or math.inf)
    typer.echo(json.dumps(summary) if as_json else _told(summary))
    return 0 if summary["dead"] == 0 else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """One demonstration. `is_shown`: for a person, who reads the alerts on this terminal."""

    folder: Path
    port: int
    is_shown: bool
    key: str = field(default_factory=lambda: secrets.token_hex(20))
    secret: str = field(default_factory=lambda: "whsec_" + b64encode(secrets.token_bytes(24)).decode())

    async def run(self, duration: float) -> dict[str, Any]:
        """Play, watch and deliver for `duration` seconds; returns what came of it."""
        world = World(api_key=self.key, clock=lambda: system_wall().timestamp())
        async with trio.open_nursery() as around:
            source = await around.start(partial(serve, build(world), listening(LOOPBACK), date_header=False))
            receiver = await around.start(serve, inbox(self.secret), listening(LOOPBACK))
            configuration = self._configure(source, receiver)
            around.start_soon(play, world, scenario("recorded"), trio.sleep)
            around.start_soon(play, world, scenario("demo"), trio.sleep)
            summary = await self._watch(configuration, source, duration)
            around.cancel_scope.cancel()
        return summary

    async def _watch(self, configuration: Configuration, source: str, duration: float) -> dict[str, Any]:
        settings, registry, stop = configuration.settings, process_registry(), trio.Event()
        with Store.open(settings.store.url, app=settings.api.app, now=system_wall) as store:
            async with wires(configuration) as outside, trio.open_nursery() as nursery:
                app = App(configuration, store=store, outside=outside, registry=registry)
                url = await nursery.start(partial(app.run, stop, serve=partial(serve_pages, app, registry)))
                self._introduce(url, source)
                with trio.move_on_after(duration), trio.open_signal_receiver(*SIGNALS) as signals:
                    await anext(signals)
                stop.set()
            return summary(store, registry)

    def _configure(self, source: str, receiver: str) -> Configuration:
        config = self.folder / "cometwatch.yaml"
        config.write_text(
            CONFIG.format(
                source=source,
                receiver=receiver,
                key=self.key,
                secret=self.secret,
                folder=self.folder,
                port=self.port,
                screen="  - {name: screen, console: {}, text: preview}\n" if self.is_shown else "",
                to=", screen" if self.is_shown else "",
            ),
            encoding="utf-8",
        )
        configuration = read(config, {})
        redactor = logs.Redactor(known_secrets(configuration.settings))
        logs.configure(format="auto", level="error", redactor=redactor)
        return configuration

    def _introduce(self, url: str, source: str) -> None:
        message = '{"receiver": "superhero3", "type": "text", "data": {"text": "Hi <@uid:superhero3>"}}'
        typer.echo(
            f"""Cometwatch watches superhero2 and superhero3 on a simulated CometChat. Ctrl-C ends it.

    status page   {url}/
    metrics       {url}/metrics
    say something yourself:
    curl -s -H 'apikey: {self.key}' -H 'onBehalfOf: superhero2' -d '{message}' {source}/v3/messages

A missed call, attachments and mentions are on their way:
""",
            err=not self.is_shown,
        )


def inbox(secret: str) -> Starlette:
    """A Slack and a webhook receiver; the latter refuses what is not signed with `secret`."""

    async def slack(request: Request) -> Response:
        return PlainTextResponse("ok" if (await request.json()).get("blocks") else "no_text")

    async def webhook(request: Request) -> Response:
        try:
            Webhook(secret).verify(await request.body(), dict(request.headers))
        except WebhookVerificationError:
            return PlainTextResponse("wrong signature", status_code=401)
        return Response(status_code=204)

    return Starlette(
        routes=[Route("/slack", slack, methods=["POST"]), Route("/webhook", webhook, methods=["POST"])]
    )


def summary(store: Store, registry: CollectorRegistry) -> dict[str, Any]:
    """What was polled, found and delivered, in numbers."""
    counted: Counter[str] = Counter()
    for family in registry.collect():
        for sample in family.samples:
            counted[sample.name] += int(sample.value)
    found = Counter(alert.rule for alert in store.alerts(limit=10_000))
    entries = store.ledger().entries
    return {
        "polls": counted["cometwatch_polls_total"],
        "messages": counted["cometwatch_messages_total"],
        "alerts": {rule: found[RuleName(rule)] for rule in RULES},
        "delivered": entries.get(EntryState.DELIVERED, 0),
        "dead": entries.get(EntryState.DEAD, 0),
    }


def _told(summary: dict[str, Any]) -> str:
    alerts = ", ".join(f"{count} {rule}" for rule, count in summary["alerts"].items())
    return (
        f"{summary['polls']} polls read {summary['messages']} messages; found {alerts}; "
        f"{summary['delivered']} deliveries were accepted, {summary['dead']} are dead letters."
    )
