"""Who is told, when and how often: the running monitor, with Slack, a fallback and a heartbeat beside it."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
import pytest
import trio
from trio.testing import MockClock

from monitor.app import App
from monitor.clock import virtual
from monitor.store.values import EntryState
from rules.model import AlertId
from tests.acceptance.stage import KEY, SECRET, START, Stage, say, share, silence, until
from tests.delivery.slack_api import CHANNEL, TOKEN, Message, SlackApi

HEAD = f"""
api: {{base_url: "http://cometchat.test/v3", api_key: "{KEY}", requests_per_minute: 600}}
watch: {{users: [{{uid: superhero2, labels: {{team: heroes}}}}, superhero3]}}
store: {{url: "sqlite:///cometwatch.db"}}
rules: {{packs: [attachments], files: [rules.yaml]}}
heartbeats: [{{url: "https://hc.test/ping", every: 30s, queue_limit: 2m}}]
receivers:
  - name: bot
    slack: {{token: {TOKEN}, channel: {CHANNEL}}}
    fallback: {{receiver: lead, after: {{info: 1m}}}}
  - {{name: lead, webhook: {{url: "https://ops.test/hook", secret: "{SECRET}"}}}}
"""
FLOOD = """
rules:
  - {name: flood, kind: count, when: {type: text}, at_least: 3, within: 2m, by: [sender]}
"""


@dataclass
class Town:
    """Slack with a bot, a webhook of the team lead, and a place that waits for heartbeats."""

    stage: Stage
    slack: SlackApi
    is_slack_down: bool = False
    beats: tuple[float, ...] = ()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        match request.url.host:
            case "slack.com":
                if self.is_slack_down:
                    return httpx.Response(503, stream=httpx.ByteStream(b""))
                return await self.slack(request)
            case "hc.test":
                self.beats = (*self.beats, trio.current_time())
                return httpx.Response(200, stream=httpx.ByteStream(b"OK"))
            case _:
                return self.stage.receivers(request)

    @property
    def posts(self) -> list[Message]:
        return self.slack.roots()

    def lead_heard(self, rule: str) -> list[str]:
        return [alert["status"] for alert in self.stage.receivers.alerts if alert["rule"] == rule]


@pytest.fixture
def town(stage: Stage) -> Town:
    (stage.folder / "rules.yaml").write_text(FLOOD, encoding="utf-8")
    stage.wire = town = Town(stage, SlackApi(virtual(START)))
    return town


def routed(*routes: str) -> str:
    return HEAD + "routes:\n" + "".join(f"  - {route}\n" for route in routes)


TO_BOT = routed("{receivers: [bot]}")


def flood(stage: Stage, count: int = 3) -> None:
    for number in range(count):
        say(stage.world, f"help {number}")


def shown(message: Message) -> str:
    """All that the message says, as one text."""
    return str(message.blocks)


async def test_one_alert_is_one_message_from_beginning_to_end(
    town: Town, stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor(TO_BOT) as app:
        await until(10)
        flood(stage)
        await until(25)
        [post] = town.posts
        assert "flood" in shown(post)
        flood(stage)
        await until(45)
        assert post.edits == 1  # six are twice three
        acknowledge(app, by="ann")
        await until(60)
        assert "ann" in shown(post)
        await until(200)
        assert [one.ts for one in town.posts] == [post.ts]
        assert "RESOLVED" in shown(post)
        assert len(town.slack.thread(post)) >= 1  # said where people are told of it


def acknowledge(app: App, *, by: str) -> AlertId:
    alert = next(one for one in app.store.alerts() if one.rule == "flood")
    with app.store.write() as tx:
        tx.ack(alert.id, by=by)
    return alert.id


async def test_a_group_waits_for_its_like_and_is_told_as_one(
    town: Town, stage: Stage, autojump_clock: MockClock
) -> None:
    route = "{receivers: [bot], group_by: [rule], group_wait: 30s, group_interval: 5m}"
    async with stage.monitor(routed(route)):
        await until(10)
        share(stage.world, "one.png")
        share(stage.world, "two.png", to="superhero3")
        await until(25)
        share(stage.world, "three.png")
        assert town.posts == []
        await until(60)
        [post] = town.posts
        assert all(name in shown(post) for name in ("3 ", "attachment"))


async def test_a_receiver_that_takes_nothing_is_stood_in_for_and_comes_back(
    town: Town, stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor(
        routed("{match: {rule: attachment}, receivers: [bot]}", "{receivers: [lead]}")
    ) as app:
        await until(10)
        town.is_slack_down = True
        share(stage.world, "one.png")
        await until(60)
        assert town.lead_heard("attachment") == []
        await until(100)
        assert town.lead_heard("attachment") == ["firing"]
        [alert] = [one for one in stage.receivers.alerts if one["rule"] == "attachment"]
        assert "bot" in str(alert)  # instead of whom
        await until(400)
        assert town.lead_heard("cometwatch-receiver-failing") == ["firing"]
        town.is_slack_down = False
        await until(500)
        assert town.lead_heard("cometwatch-receiver-failing") == ["firing", "resolved"]
        assert len(town.posts) == 1
        assert app.store.ledger().entries.get(EntryState.DEAD, 0) == 0


async def test_what_nobody_looks_after_goes_further_and_an_acknowledgement_ends_that(
    town: Town, stage: Stage, autojump_clock: MockClock
) -> None:
    route = "{receivers: [bot], escalate: [{after: 1m, receivers: [lead]}]}"
    async with stage.monitor(routed(route)) as app:
        await until(10)
        flood(stage)
        await until(40)
        acknowledge(app, by="ann")
        await until(90)
        assert town.lead_heard("flood") == []
        share(stage.world, "one.png")
        await until(170)
        assert town.lead_heard("attachment") == ["firing"]
        assert "acknowledged" in str(stage.receivers.alerts[-1])


async def test_what_still_fires_when_its_silence_ends_is_told_then(
    town: Town, stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor(TO_BOT) as app:
        await until(5)
        with app.store.write() as tx:
            number = silence(tx, "flood", until=START.replace(hour=12))
        await until(10)
        flood(stage)
        await until(40)
        assert town.posts == []
        with app.store.write() as tx:
            tx.end_silence(number)
        await until(60)
        said = "".join(map(shown, town.posts)).lower()
        assert "flood" in said
        assert "silence" in said
        assert len(town.posts) == 2


async def test_who_was_told_is_told_of_the_end_wherever_routes_lead_by_then(
    town: Town, stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor(TO_BOT) as app:
        await until(10)
        flood(stage)
        await until(25)
        stage.configuration(routed("{receivers: [lead]}"))
        assert await app.reload("by the test")
        await until(220)
        [post] = town.posts
        assert "RESOLVED" in shown(post)
        assert town.lead_heard("flood") == []


async def test_what_a_removed_rule_told_is_over(town: Town, stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.monitor(TO_BOT) as app:
        await until(10)
        flood(stage)
        await until(25)
        (stage.folder / "rules.yaml").write_text("rules: []\n", encoding="utf-8")
        assert await app.reload("by the test")
        await until(40)
        [post] = town.posts
        assert "its rule was removed" in shown(post)


async def test_signs_of_life_stop_when_cometchat_or_a_receiver_does(
    town: Town, stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor(TO_BOT):
        await until(100)
        assert [round(at) for at in town.beats] == [0, 30, 60, 90]
        town.is_slack_down = True
        share(stage.world, "one.png")
        await until(400)
        assert town.beats[-1] < 250
        town.is_slack_down = False
        await until(520)
        assert town.beats[-1] > 440
