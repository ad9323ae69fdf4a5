"""The whole app on the simulator, in virtual time: `at` t this happens, `by` t + d that was delivered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

import httpx
import trio
from prometheus_client import CollectorRegistry

from monitor.app import App, Outside
from monitor.clock import virtual
from monitor.configuration import Configuration, read
from monitor.outlets import Outlets
from monitor.simulator import Faults, Options, World, build
from monitor.source.transport import open_http
from monitor.store.store import Store, Tx
from monitor.store.values import Matcher
from monitor.store.writer import RunSync, inline

START = datetime(2026, 11, 22, 8, tzinfo=UTC)
KEY = "0123456789abcdef0123456789abcdef01234567"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

CONFIG = f"""
api: {{base_url: "http://cometchat.test/v3", api_key: "{KEY}", requests_per_minute: 600}}
watch:
  users: [{{uid: superhero2, labels: {{team: heroes}}}}, superhero3]
  start: now
store: {{url: "sqlite:///cometwatch.db"}}
receivers:
  - {{name: oncall, slack: {{webhook_url: "https://hooks.slack.test/services/T0/B0/secret"}}}}
  - {{name: ops-hook, webhook: {{url: "https://ops.test/hook", secret: "{SECRET}"}}}}
routes:
  - {{receivers: [oncall, ops-hook]}}
"""


Wire = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


@dataclass
class Receivers:
    """Slack and the webhook: keep what they accept, answer as told."""

    status: dict[str, int] = field(default_factory=dict)  #: host -> status; 200 unless told otherwise
    posts: list[tuple[float, str, httpx.Headers, Any]] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        status = self.status.get(request.url.host, 200)
        if status == 200:
            body = json.loads(request.content)
            self.posts.append((trio.current_time(), request.url.host, request.headers, body))
        # As a stream, like the network gives it: a sink reads only a bounded part.
        return httpx.Response(status, stream=httpx.ByteStream(b"ok" if status == 200 else b"no"))

    @property
    def webhooks(self) -> list[dict[str, Any]]:
        return [body for _, host, _, body in self.posts if host == "ops.test"]

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """Every alert that the webhook accepted, in order."""
        return [alert for body in self.webhooks for alert in body["data"]["alerts"]]

    @property
    def slack(self) -> list[dict[str, Any]]:
        return [body for _, host, _, body in self.posts if host == "hooks.slack.test"]

    def told(self, rule: str) -> list[tuple[str, tuple[str, ...]]]:
        """(status, watched users) of a rule's alerts, as the webhook was told."""
        return [(a["status"], tuple(a["watched_users"])) for a in self.alerts if a["rule"] == rule]


@dataclass
class Stage:
    """A world, a monitor over it, and the receivers it tells."""

    folder: Path
    world: World
    receivers: Receivers = field(default_factory=Receivers)
    wire: Wire | None = None  #: to receivers of other kinds, in the place of `receivers`

    def configuration(self, text: str = CONFIG) -> Configuration:
        file = self.folder / "cometwatch.yaml"
        file.write_text(text.replace("sqlite:///", f"sqlite:///{self.folder}/"), encoding="utf-8")
        return read(file, {})

    @asynccontextmanager
    async def monitor(
        self,
        text: str = CONFIG,
        *,
        source: httpx.AsyncBaseTransport | None = None,
        run_sync: RunSync = inline,
    ) -> AsyncIterator[App]:
        """A running monitor; leaving the block stops it gracefully."""
        clock, stop = virtual(START), trio.Event()
        configuration = self.configuration(text)
        transport = source or httpx.ASGITransport(build(self.world))
        settings = configuration.settings
        store = Store.open(settings.store.url, app=settings.api.app, now=clock.wall)
        async with (
            open_http(transport=transport) as http,
            Outlets(
                stream=StringIO(), clock=clock, transport=httpx.MockTransport(self.wire or self.receivers)
            ) as outlets,
        ):
            with store:
                outside = Outside(
                    http=http,
                    outlets=outlets,
                    clock=clock,
                    random=Random(1),
                    run_sync=run_sync,
                )
                app = App(
                    configuration,
                    store=store,
                    outside=outside,
                    registry=CollectorRegistry(),
                    read=lambda: read(self.folder / "cometwatch.yaml", {}),
                )
                async with trio.open_nursery() as running:
                    await running.start(app.run, stop)
                    yield app
                    stop.set()


def make_stage(folder: Path, *, options: Options | None = None, rate_limit: int | None = None) -> Stage:
    """Three people and a group, nothing said yet."""
    world = World(
        api_key=KEY,
        rate_limit=rate_limit,
        seed=7,
        clock=lambda: START.timestamp() + trio.current_time(),
        faults=Faults(seed=7),
        options=options,
    )
    return Stage(folder=folder, world=world)


def people(world: World) -> None:
    for uid, name in (
        ("superhero1", "Iron Man"),
        ("superhero2", "Captain America"),
        ("superhero3", "Spiderman"),
    ):
        world.add_user(uid, name)
    world.add_group("heroes", "Heroes", members=["superhero1", "superhero2", "superhero3"])


async def until(seconds: float) -> None:
    """Let the virtual clock go on to `seconds` after the start."""
    await trio.sleep(max(0.0, seconds - trio.current_time()))


def say(world: World, text: str, *, sender: str = "superhero1", to: str = "superhero2", **more: Any) -> str:
    """A text message; returns its id."""
    return str(world.send(sender, to, content={"text": text}, **more).id)


def share(world: World, name: str, *, sender: str = "superhero1", to: str = "superhero2", **more: Any) -> str:
    """A file; returns the message's id."""
    extension = name.rpartition(".")[2]
    attachment = {
        "name": name,
        "extension": extension,
        "mimeType": f"image/{extension}",
        "size": 48213,
        "url": f"https://data-us.cometchat.io/275211/media/{name}",
    }
    content = {"attachments": [attachment], "text": "see above"}
    return str(world.send(sender, to, content=content, type_="image", **more).id)


def requests_in_any_minute(world: World) -> int:
    """The largest number of requests that the server saw within 60 s."""
    times = [asked.at for asked in world.requests]
    return max((sum(1 for at in times if first <= at < first + 60) for first in times), default=0)


def silence(tx: Tx, rule: str, *, until: datetime) -> int:
    """Silence a rule from now on; the silence's number."""
    made = tx.add_silence(
        [Matcher(label="rule", value=rule)],
        starts_at=START + timedelta(seconds=trio.current_time()),
        ends_at=until,
        author="ann",
        comment="known",
    )
    return made.id
