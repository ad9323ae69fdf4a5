"""One message's whole road: seen, matched, remembered, delivered. And what must not be told."""

from __future__ import annotations

from trio.testing import MockClock

from monitor.simulator import Fault, Note
from tests.acceptance.stage import CONFIG, START, Stage, say, share, until


async def test_an_unanswered_call_reaches_slack_and_a_signed_webhook(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor() as app:
        await until(5)
        call, _ = stage.world.start_call("superhero1", "superhero2")
        await until(20)
        assert stage.receivers.posts == []
        stage.world.change_call(call.session_id, "unanswered", by="superhero1")
        await until(24)
        assert app.metrics.registry.get_sample_value("cometwatch_evaluation_seconds_sum")
        assert app.metrics.requests_total.labels("user", "ok")._value.get() == len(stage.world.requests)
    (alert,) = stage.receivers.alerts
    assert (alert["rule"], alert["status"], alert["watched_users"]) == (
        "missed-call",
        "firing",
        ["superhero2"],
    )
    assert alert["messages"][-1]["call"]["caller"] == "superhero1"
    (slack,) = stage.receivers.slack
    assert "Iron Man" in str(slack)
    assert "Captain America" in str(slack)


async def test_a_notification_is_signed_and_carries_its_id(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.monitor():
        await until(2)
        say(stage.world, "Hi <@uid:superhero2>")
        await until(8)
    _, _, headers, body = next(post for post in stage.receivers.posts if post[1] == "ops.test")
    assert headers["webhook-id"] == body["data"]["notification_id"]
    assert headers["webhook-signature"].startswith("v1,")


async def test_an_answered_call_is_never_told(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.monitor():
        await until(5)
        call, _ = stage.world.start_call("superhero1", "superhero2")
        await until(15)
        stage.world.change_call(call.session_id, "ongoing", by="superhero2")
        await until(60)
        stage.world.change_call(call.session_id, "ended", by="superhero2")
        await until(300)
    assert stage.receivers.posts == []


async def test_a_ring_with_no_end_is_told_once_the_watermark_has_passed(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor():
        await until(5)
        call, _ = stage.world.start_call("superhero1", "superhero2")
        await until(5 + 90 + 12)
        assert stage.receivers.told("missed-call") == []
        await until(5 + 90 + 12 + 4)
        assert stage.receivers.told("missed-call") == [("firing", ("superhero2",))]
        stage.world.change_call(call.session_id, "unanswered", by="superhero1")
        await until(160)
    assert stage.receivers.told("missed-call") == [("firing", ("superhero2",))]


async def test_an_answer_after_the_alert_resolves_it(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.monitor():
        await until(5)
        call, _ = stage.world.start_call("superhero1", "superhero2")
        await until(130)
        stage.world.change_call(call.session_id, "ongoing", by="superhero2")
        await until(140)
    first, second = stage.receivers.alerts
    assert (first["status"], second["status"]) == ("firing", "resolved")
    assert first["id"] == second["id"]


async def test_two_watched_people_in_one_conversation_make_one_alert(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor():
        await until(5)
        share(stage.world, "invoice.png", sender="superhero2", to="superhero3")
        await until(20)
    assert stage.receivers.told("attachment") == [("firing", ("superhero2", "superhero3"))]


async def test_mentions_in_groups_are_seen_through_user_all(stage: Stage, autojump_clock: MockClock) -> None:
    config = CONFIG.replace("start: now", "start: now\n  source: user-all")
    async with stage.monitor(config):
        await until(5)
        say(stage.world, "<@uid:superhero3> please", to="heroes", receiver_type="group")
        await until(15)
    assert stage.receivers.told("mention") == [("firing", ("superhero3",))]


async def test_an_edit_does_not_repeat_what_the_original_said(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor():
        await until(5)
        message = say(stage.world, "Hi <@uid:superhero2>")
        await until(20)
        stage.world.edit(message, {"text": "Hello <@uid:superhero2>"})
        await until(40)
    assert len(stage.receivers.told("mention")) == 1


async def test_a_row_that_becomes_visible_late_is_found(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.monitor():
        await until(5)
        share(stage.world, "late.png", note=Note(visible_after=8.0))
        say(stage.world, "I am here at once <@uid:superhero2>")
        await until(10)
        assert stage.receivers.told("attachment") == []
        await until(20)
    assert len(stage.receivers.told("attachment")) == 1
    assert len(stage.receivers.told("mention")) == 1


async def test_a_malformed_row_is_kept_as_a_reject_and_its_page_goes_on(
    stage: Stage, autojump_clock: MockClock
) -> None:
    stage.world.faults.add(Fault(kind="malformed-row", count=1))
    async with stage.monitor() as app:
        await until(5)
        share(stage.world, "fine.png")
        await until(30)
        (reject,) = app.store.rejects()
        assert reject.uid in {"superhero1", "superhero2"}
        assert app.store.ledger().counts.rejected == 1
    assert len(stage.receivers.told("attachment")) == 1


async def test_what_happened_before_the_start_is_not_told(stage: Stage, autojump_clock: MockClock) -> None:
    old = int(START.timestamp()) - 30
    share(stage.world, "before.png", note=Note(sent_at=old))
    async with stage.monitor():
        await until(5)
        share(stage.world, "after.png")
        await until(15)
    (alert,) = stage.receivers.alerts
    assert alert["messages"][0]["attachments"][0]["name"] == "after.png"


async def test_history_is_told_as_one_digest_and_never_as_pages(
    stage: Stage, autojump_clock: MockClock
) -> None:
    for n in range(250):
        share(stage.world, f"old-{n}.png", note=Note(sent_at=int(START.timestamp()) - 90_000 + n))
    async with stage.monitor(CONFIG.replace("start: now", "start: beginning")):
        await until(120)
    assert len(stage.receivers.slack) == 1
    assert len(stage.receivers.alerts) == 250
    assert len({alert["id"] for alert in stage.receivers.alerts}) == 250


async def test_a_clock_that_differs_from_cometchats_loses_nothing(
    stage: Stage, autojump_clock: MockClock
) -> None:
    stage.world.faults.add(Fault(kind="clock-skew", seconds=-300))
    async with stage.monitor():
        await until(5)
        call, _ = stage.world.start_call("superhero1", "superhero2")
        share(stage.world, "skewed.png")
        await until(20)
        assert len(stage.receivers.told("attachment")) == 1
        await until(90)
        assert stage.receivers.told("missed-call") == []
        await until(115)
    assert stage.receivers.told("missed-call") == [("firing", ("superhero2",))]
    assert call.session_id in str(stage.receivers.alerts)
