"""What an operator does while it runs: mute, reload, move a cursor; and the truth of every scenario."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import httpx
import msgspec
import pytest
import trio
from trio.testing import MockClock

from monitor.simulator import play, scenario
from monitor.store.values import Commit, EntryState, Reject
from monitor.web.view import readiness
from rules.model import MessageId, UserId
from tests.acceptance.stage import CONFIG, START, Stage, make_stage, say, share, silence, until

RECORDED = Path(__file__).parents[1] / "data" / "list-user-messages.json"
LOUD = """
rules:
  - name: shouting
    kind: match
    when: {text: {words: [help]}}
    severity: critical
"""


async def test_a_silenced_rule_is_recorded_and_not_sent(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.monitor() as app:
        await until(5)
        with app.store.write() as tx:
            silence(tx, "attachment", until=START + timedelta(seconds=100))
        await until(10)
        share(stage.world, "muted.png")
        say(stage.world, "Hi <@uid:superhero2>")
        await until(20)
        (entry, _) = app.store.entries(state=EntryState.SUPPRESSED)
        assert "silenced until" in (entry.reason or "")
        await until(110)
        share(stage.world, "told.png")
        await until(120)
    told = [alert["rule"] for alert in stage.receivers.alerts]
    assert told == ["mention", "cometwatch-silence-ended", "attachment"]


async def test_a_cursor_set_back_reads_again_and_tells_nothing_twice(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor() as app:
        await until(5)
        share(stage.world, "once.png")
        await until(60)
        with app.store.write() as tx:
            tx.set_cursor(UserId("superhero2"), MessageId(1))
        await until(80)
        assert app.store.ledger().counts.evaluated > 1
    assert len(stage.receivers.alerts) == 1


async def test_a_reload_is_taken_whole_or_not_at_all(stage: Stage, autojump_clock: MockClock) -> None:
    rules = stage.folder / "rules.yaml"
    rules.write_text("rules: []\n", encoding="utf-8")
    config = CONFIG + f'rules: {{packs: [attachments], files: ["{rules}"]}}\n'
    async with stage.monitor(config) as app:
        await until(5)
        rules.write_text(LOUD, encoding="utf-8")
        assert await app.reload("test")
        say(stage.world, "help me")
        await until(15)
        assert stage.receivers.told("shouting") == [("firing", ("superhero2",))]
        rules.write_text(LOUD.replace("words", "wrods"), encoding="utf-8")
        assert not await app.reload("test")
        assert f"{rules}:5:" in (app.caretaker.overview.status().config_error or "")
        say(stage.world, "help again")
        await until(25)
        rules.write_text(LOUD, encoding="utf-8")
        assert await app.reload("test")  # what is in force already
        assert app.caretaker.overview.status().config_error is None
    assert len(stage.receivers.told("shouting")) == 2


async def test_a_user_who_is_no_longer_watched_ends_their_timers_with_a_reason(
    stage: Stage, autojump_clock: MockClock
) -> None:
    file = stage.folder / "cometwatch.yaml"
    async with stage.monitor() as app:
        await until(5)
        stage.world.start_call("superhero1", "superhero2")
        await until(20)
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("{uid: superhero2, labels: {team: heroes}}, ", ""), encoding="utf-8")
        assert await app.reload("test")
        await until(200)
        (closure,) = app.store.closures()
        assert closure.reason == "no longer watched"
        assert not [one for one in list(stage.world.requests)[-20:] if "superhero2" in one.path]
    assert stage.receivers.told("missed-call") == []


async def test_what_is_old_is_removed_however_much_it_is(stage: Stage, autojump_clock: MockClock) -> None:
    reject = Reject(uid=UserId("superhero2"), message_id=None, reason="x", structure="{}", at=START)
    old = msgspec.structs.replace(reject, at=START - timedelta(days=31))
    async with stage.monitor() as app:
        with app.store.write() as tx:
            tx.commit(Commit(rejects=(*[old] * 3500, reject)))
        await until(70)
        assert app.store.rejects() == [msgspec.structs.replace(reject, id=3501)]


async def test_rare_polls_are_no_reason_to_be_unready(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.monitor(CONFIG + "poll: {min_interval: 10m}\n") as app:
        await until(590)
        view = app.caretaker.overview.status()
        assert readiness(view, view.now) == []


async def test_a_changed_rule_ends_its_timers_with_a_reason(stage: Stage, autojump_clock: MockClock) -> None:
    rules = stage.folder / "rules.yaml"
    rule = "rules: [{name: rung, kind: missed_call, severity: warning}]\n"
    rules.write_text(rule, encoding="utf-8")
    config = CONFIG + f'rules: {{packs: [], files: ["{rules}"]}}\n'
    async with stage.monitor(config) as app:
        await until(5)
        stage.world.start_call("superhero1", "superhero2")
        await until(20)
        rules.write_text(rule.replace("severity: warning", "ring_timeout: 60s"), encoding="utf-8")
        assert await app.reload("test")
        await until(200)
        assert [closure.reason for closure in app.store.closures()] == ["the rule was changed"]


async def test_a_setting_that_needs_a_restart_is_refused_by_a_reload(
    stage: Stage, autojump_clock: MockClock
) -> None:
    file = stage.folder / "cometwatch.yaml"
    async with stage.monitor() as app:
        file.write_text(file.read_text(encoding="utf-8").replace("600", "700"), encoding="utf-8")
        assert not await app.reload("test")
        assert "api changed: restart" in (app.caretaker.overview.status().config_error or "")


async def test_the_recorded_response_becomes_alerts(stage: Stage, autojump_clock: MockClock) -> None:
    """The published answer of CometChat, as it was recorded: an audio call that was answered as video."""
    rules = stage.folder / "rules.yaml"
    rules.write_text(
        "rules: [{name: rang, kind: match, when: {category: call, action: initiated}, severity: info}]\n",
        encoding="utf-8",
    )
    config = (
        CONFIG.replace("start: now", "start: beginning").replace("superhero2", "superhero1")
        + f'rules: {{files: ["{rules}"]}}\nalert_max_age: 36500d\n'
    )
    body = RECORDED.read_bytes()

    def answer(request: httpx.Request) -> httpx.Response:
        rows = body if request.url.params.get("affix") == "prepend" else b'{"data":[],"meta":{}}'
        return httpx.Response(
            200, stream=httpx.ByteStream(rows if "superhero3" in request.url.path else b'{"data":[]}')
        )

    async with stage.monitor(config, source=httpx.MockTransport(answer)):
        await until(60)
    (alert,) = stage.receivers.alerts
    assert (alert["rule"], alert["watched_users"]) == ("rang", ["superhero3"])
    assert alert["messages"][0]["id"] == "1776"
    assert len(stage.receivers.slack) == 1
    assert "083c2a7f660150e42c2bf07a17231e90980b290d" not in str(stage.receivers.posts)


@pytest.mark.parametrize("name", ["demo", "calls", "hostile", "edits"])
async def test_what_a_scenario_says_is_what_people_are_told(
    tmp_path: Path, autojump_clock: MockClock, name: str
) -> None:
    stage = make_stage(tmp_path)
    script = scenario(name, seed=3)
    users = ", ".join(script.users)
    config = (
        CONFIG[: CONFIG.index("watch:")]
        + f"watch: {{users: [{users}], source: user-all}}\n"
        + CONFIG[CONFIG.index("store:") :]
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(play, stage.world, script, trio.sleep)
        await trio.lowlevel.checkpoint()
        async with stage.monitor(config):
            await until(120)
            nursery.cancel_scope.cancel()
    now = START.timestamp() + 120
    told = {(a["rule"], _key(a)) for a in stage.receivers.alerts if a["status"] == "firing"}
    findings = [f for made in list(stage.world.truth) for f in made.findings()]
    must = {
        (f["rule"], f["key"]) for f in findings if f["must"] and START.timestamp() <= f["known_at"] < now - 20
    }
    may = {(f["rule"], f["key"]) for f in findings}
    assert must, "a scenario without a finding proves nothing"
    assert must <= told
    assert told <= may


def _key(alert: dict[str, object]) -> str:
    messages = alert["messages"]
    assert isinstance(messages, list)
    last = messages[-1]
    return str(last["call"]["session_id"] if alert["rule"] == "missed-call" else last["id"])
