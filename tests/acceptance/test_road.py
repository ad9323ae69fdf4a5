"""One message's whole road: seen, matched, remembered, delivered. And what must not be told."""

from __future__ import annotations

from trio.testing import MockClock

from tests.acceptance.stage import Stage, until


async def test_an_unanswered_call_reaches_slack_and_a_signed_webhook(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor():
        await until(5)
        call, _ = stage.world.start_call("superhero1", "superhero2")
        await until(20)
        assert stage.receivers.posts == []
        stage.world.change_call(call.session_id, "unanswered", by="superhero1")
        await until(24)
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


async def test_a_notification_carries_its_id(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.monitor():
        await until(2)
        stage.world.send("superhero1", "superhero2", content={"text": "Hi <@uid:superhero2>"})
        await until(8)
    _, _, headers, body = next(post for post in stage.receivers.posts if post[1] == "ops.test")
    assert headers["webhook-id"] == body["data"]["notification_id"]
    assert headers["webhook-signature"].startswith("v1,")
