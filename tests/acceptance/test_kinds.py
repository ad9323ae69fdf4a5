"""Rules that look at more than one message, and what becomes of their alerts, in the running monitor."""

from __future__ import annotations

from typing import Any

from trio.testing import MockClock

from monitor.simulator import Fault
from monitor.store.values import EntryState
from tests.acceptance.stage import CONFIG, Stage, say, until

RULES = "rules: {packs: [], files: [rules.yaml]}\n"

FLOOD = "{name: flood, kind: count, when: {type: text}, at_least: 3, within: 2m, by: [sender]%s}"
QUIET = "{name: quiet, kind: absence, when: {type: text}, for: 1m, by: [sender]}"


def config(stage: Stage, *rules: str) -> str:
    write(stage, *rules)
    return CONFIG + RULES


def write(stage: Stage, *rules: str) -> None:
    text = "rules:\n" + "".join(f"  - {rule}\n" for rule in rules)
    (stage.folder / "rules.yaml").write_text(text, encoding="utf-8")


def statuses(stage: Stage, rule: str) -> list[str]:
    return [status for status, _ in stage.receivers.told(rule)]


def told(stage: Stage, rule: str, key: str) -> list[Any]:
    return [alert[key] for alert in stage.receivers.alerts if alert["rule"] == rule]


async def test_a_flood_is_one_alert_over_lists_and_restarts(stage: Stage, autojump_clock: MockClock) -> None:
    text = config(stage, FLOOD % "")
    async with stage.monitor(text):
        await until(20)
        say(stage.world, "one", to="superhero2")
        say(stage.world, "two", to="superhero3")
        await until(40)
    assert statuses(stage, "flood") == []
    async with stage.monitor(text) as app:
        await until(50)
        say(stage.world, "three", to="superhero2")
        await until(70)
        assert statuses(stage, "flood") == ["firing"]
        for _ in range(3):
            say(stage.world, "more", to="superhero3")
        await until(90)
        [alert] = app.store.alerts()
        assert (alert.revision, statuses(stage, "flood")) == (1, ["firing"])  # six are twice three
    async with stage.monitor(text):
        await until(260)
    assert statuses(stage, "flood") == ["firing", "resolved"]


async def test_somebody_who_may_write_to_all_is_quiet_when_all_lists_say_so(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor(config(stage, QUIET)):
        await until(20)
        say(stage.world, "here I am", to="superhero2")
        await until(40)
        stage.world.faults.add(Fault(kind="server-error", uid="superhero3"))
        await until(200)
        assert statuses(stage, "quiet") == []  # they may be writing to whom we can't see
        stage.world.faults.clear()
        await until(600)
        assert statuses(stage, "quiet") == ["firing"]
        say(stage.world, "here again", to="superhero3")
        await until(620)
        assert statuses(stage, "quiet") == ["firing", "resolved"]


async def test_what_was_written_while_we_were_blind_was_no_silence(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor(config(stage, QUIET)):
        await until(20)
        say(stage.world, "here I am")
        await until(40)
        stage.world.faults.add(Fault(kind="server-error"))
        for at in range(60, 400, 30):
            await until(at)
            say(stage.world, "still here")
        stage.world.faults.clear()
        await until(430)
        say(stage.world, "and here")
        await until(460)
    assert statuses(stage, "quiet") == []


async def test_a_rule_in_shadow_is_on_record_and_sends_once_it_is_live(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor(config(stage, FLOOD % ", shadow: true")) as app:
        await until(20)
        for _ in range(3):
            say(stage.world, "hello")
        await until(40)
        assert stage.receivers.posts == []
        [entry, other] = app.store.entries()
        assert {entry.state, other.state} == {EntryState.SUPPRESSED}
        assert entry.reason is not None
        assert "shadow" in entry.reason
        write(stage, FLOOD % "")
        assert await app.reload("test")
        await until(200)  # its end: nobody heard of its beginning
        assert stage.receivers.posts == []
        for _ in range(3):
            say(stage.world, "hello again")
        await until(220)
    assert statuses(stage, "flood") == ["firing"]


async def test_an_alert_ends_as_what_it_was_raised(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.monitor(config(stage, FLOOD % ", severity: info, labels: {desk: one}")) as app:
        await until(20)
        for _ in range(3):
            say(stage.world, "hello")
        await until(40)
        write(stage, FLOOD % ", severity: critical, labels: {desk: two}")
        assert await app.reload("test")
        await until(220)
    assert statuses(stage, "flood") == ["firing", "resolved"]
    assert told(stage, "flood", "severity") == ["info", "info"]
    assert [labels["desk"] for labels in told(stage, "flood", "labels")] == ["one", "one"]


async def test_what_is_over_the_limit_is_told_as_a_sum(stage: Stage, autojump_clock: MockClock) -> None:
    rule = "{name: hello, when: {text: hello}, max_per_hour: 2}"
    async with stage.monitor(config(stage, rule)) as app:
        await until(20)
        for _ in range(6):
            say(stage.world, "hello")
        await until(60)
        assert len(stage.receivers.slack) == 2
        await until(400)
        assert len(stage.receivers.slack) == 3
        assert {entry.state for entry in app.store.entries()} == {EntryState.DELIVERED}
    assert len(set(told(stage, "hello", "id"))) == 6


async def test_why_an_alert_was_raised_is_on_record(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.monitor(config(stage, FLOOD % "")) as app:
        await until(20)
        ids = [int(say(stage.world, "hello")) for _ in range(3)]
        await until(40)
        [alert] = app.store.alerts()
        [reason] = app.store.reasons(alert.id)
    assert reason.because.messages == tuple(ids)
    assert reason.because.after is not None
    assert reason.brought_by is not None
    assert reason.brought_by.list == "superhero2"
    assert reason.brought_by.asked_at <= reason.brought_by.received_at <= reason.at
