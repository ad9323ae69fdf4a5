"""What changed in place after it was read is shown to the rules once more: told once, and counted once."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
import trio
from trio.testing import MockClock

from monitor.app import App
from monitor.simulator import Fault, Options
from tests.acceptance.stage import CONFIG, Stage, make_stage, people, say, share, until

RULES: Final = """
rules:
  - name: disapproved
    when: {moderation: disapproved}
  - name: said
    when: {text: {contains: hello}}
  - name: many
    kind: count
    at_least: 3
    within: 10m
    by: [sender]
    when: {moderation: [approved, disapproved]}
  - name: silent
    kind: absence
    for: 1m
    by: [conversation]
    when: {moderation: disapproved}
"""
MINUTES: Final = 60.0


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Every two minutes each list is asked for what changed."""
    (tmp_path / "mine.yaml").write_text(RULES)
    rules = f"rules: {{packs: [attachments], files: [{tmp_path}/mine.yaml]}}\n"
    return f"{CONFIG}poll: {{updates: 2m}}\n{rules}"


def updates(app: App, fate: str) -> float:
    return app.metrics.registry.get_sample_value("cometwatch_updates_total", {"fate": fate}) or 0


def told(stage: Stage, rule: str) -> list[str]:
    """The ids of the messages that a rule's alerts began with, in order."""
    return [
        alert["messages"][0]["id"]
        for alert in stage.receivers.alerts
        if (alert["rule"], alert["status"]) == (rule, "firing")
    ]


def questions(stage: Stage) -> int:
    return sum(1 for asked in stage.world.requests if "updatedAt=" in asked.query)


@pytest.mark.parametrize(
    "road",
    [
        ("user", "superhero2", "user"),
        ("app", "superhero2", "user"),
        ("user-all", "heroes", "group"),
        ("groups\n  groups: [heroes]", "heroes", "group"),
    ],
)
async def test_a_message_that_is_moderated_later_is_told_once(
    stage: Stage, autojump_clock: MockClock, config: str, road: tuple[str, str, str]
) -> None:
    source, to, kind = road
    config = config.replace("start: now", f"start: now\n  source: {source}")
    async with stage.monitor(config) as app:
        await until(10)
        message = say(stage.world, "hello, you fool", to=to, receiver_type=kind)
        await until(20)
        assert (told(stage, "said"), told(stage, "disapproved")) == ([message], [])
        counts = app.store.ledger().counts
        stage.world.moderate(message, "disapproved")
        await until(20 + 2 * MINUTES + 25)  # a look waits for 20 requests
        assert told(stage, "disapproved") == [message]
        assert app.store.ledger().counts == counts  # the ledger counts each row once
        await until(20 * MINUTES)
        assert (told(stage, "said"), told(stage, "disapproved")) == ([message], [message])
        assert 1 <= updates(app, "evaluated") <= 6  # sweeps overlap a little; two lists may show it
        assert told(stage, "silent") == []  # a change says nothing of silence
        (raised,) = (alert for alert in app.store.alerts(9) if alert.rule == "disapproved")
        (why,) = app.store.reasons(raised.id)
        assert why.brought_by is not None
        assert why.brought_by.changed


async def test_what_changed_while_we_were_down_is_told_and_nothing_twice(
    stage: Stage, autojump_clock: MockClock, config: str
) -> None:
    async with stage.monitor(config):
        await until(10)
        first, second = say(stage.world, "hello"), say(stage.world, "bye")
        await until(60)
        stage.world.moderate(first, "disapproved")
        await until(5 * MINUTES)
        assert told(stage, "disapproved") == [first]
    await until(6 * MINUTES)
    stage.world.moderate(second, "disapproved")
    await until(20 * MINUTES)
    async with stage.monitor(config) as app:
        await until(30 * MINUTES)
        assert updates(app, "evaluated") >= 2
    assert told(stage, "disapproved") == [first, second]
    assert told(stage, "said") == [first]


async def test_a_changed_message_counts_once(stage: Stage, autojump_clock: MockClock, config: str) -> None:
    async with stage.monitor(config) as app:
        await until(10)
        rows = [say(stage.world, f"number {number}", sender="superhero3") for number in range(2)]
        for row in rows:
            stage.world.moderate(row, "approved")
        await until(60)
        for status in ("disapproved", "approved"):
            for row in rows:
                stage.world.moderate(row, status)
                stage.world.react(row, "👍")
            await until(trio.current_time() + 3 * MINUTES)
        assert updates(app, "evaluated") >= 4
        assert told(stage, "many") == []
        third = say(stage.world, "the third", sender="superhero3")
        stage.world.moderate(third, "approved")
        await until(12 * MINUTES)
    (alert,) = (a for a in stage.receivers.alerts if (a["rule"], a["status"]) == ("many", "firing"))
    assert alert["title"].startswith("many: 3 messages within 10m")
    assert [message["id"] for message in alert["messages"]] == [*rows, third]


async def test_what_is_edited_or_deleted_in_place_raises_its_alert_once(
    stage: Stage, autojump_clock: MockClock, config: str
) -> None:
    async with stage.monitor(config) as app:
        await until(10)
        said, file, quiet = say(stage.world, "hello"), share(stage.world, "plan.png"), say(stage.world, "hm")
        await until(60)
        stage.world.edit(said, {"text": "hello again"}, by="superhero1")
        stage.world.edit(quiet, {"text": "oh, hello"}, by="superhero1")
        stage.world.delete(file, by="superhero1")
        await until(6 * MINUTES)
        assert updates(app, "evaluated") >= 3
    assert told(stage, "said") == [said, quiet]
    assert told(stage, "attachment") == [file]


async def test_what_is_not_read_or_too_old_is_left_alone(
    stage: Stage, autojump_clock: MockClock, config: str
) -> None:
    async with stage.monitor(config) as app:
        await until(10)
        message = say(stage.world, "an old story")
        await until(60 * MINUTES)
        stage.world.moderate(message, "disapproved")
        await until(66 * MINUTES)
        assert updates(app, "old") >= 1
        assert updates(app, "evaluated") == 0
    assert told(stage, "disapproved") == []


async def test_questions_are_requests_of_the_budget_one_in_twenty_at_most(
    stage: Stage, autojump_clock: MockClock, config: str
) -> None:
    async with stage.monitor(config.replace("requests_per_minute: 600", "requests_per_minute: 60")) as app:
        await until(10 * MINUTES)
        total, late = len(stage.world.requests), app.metrics.registry
        assert 0 < questions(stage) <= total / 20
        assert (late.get_sample_value("cometwatch_looks_late_seconds") or 0) < 60
    assert total <= 600


async def test_without_the_setting_nothing_is_asked(
    stage: Stage, autojump_clock: MockClock, config: str
) -> None:
    async with stage.monitor(config.replace("updates: 2m", "updates: off")):
        await until(10 * MINUTES)
    assert questions(stage) == 0


async def test_an_app_that_refuses_the_question_is_watched_on(
    tmp_path: Path, autojump_clock: MockClock, config: str
) -> None:
    stage = make_stage(tmp_path, options=Options(updates="400"))
    people(stage.world)
    async with stage.monitor(config):
        await until(10 * MINUTES)
        message = say(stage.world, "hello")
        await until(10.2 * MINUTES)
        assert told(stage, "said") == [message]
    assert questions(stage) == 1


async def test_an_app_that_ignores_the_question_shows_in_the_metrics(
    tmp_path: Path, autojump_clock: MockClock, config: str
) -> None:
    stage = make_stage(tmp_path, options=Options(updates="ignored"))
    people(stage.world)
    async with stage.monitor(config) as app:
        await until(10)
        message = say(stage.world, "hello")
        await until(70 * MINUTES)
        assert updates(app, "unchanged") > 0
    assert told(stage, "said") == [message]


async def test_a_look_that_failed_is_made_again(stage: Stage, autojump_clock: MockClock, config: str) -> None:
    async with stage.monitor(config):
        await until(10)
        message = say(stage.world, "you fool")
        await until(20)
        stage.world.moderate(message, "disapproved")
        stage.world.faults.add(Fault(kind="server-error", probability=0.5))
        await until(15 * MINUTES)
    assert told(stage, "disapproved") == [message]
