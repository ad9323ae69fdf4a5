"""What became visible below the cursor is found by the second look: told and counted once, and healed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import pytest
from trio.testing import MockClock

from monitor import second_look
from monitor.app import App
from monitor.simulator import Fault, Note
from monitor.simulator.rows import Row
from rules.model import MessageId, UserId
from tests.acceptance.stage import CONFIG, Stage, say, share, until

SLOWLY: Final = CONFIG.replace("requests_per_minute: 600", "requests_per_minute: 60") + (
    "poll: {min_interval: 4s}\n"
)
MINUTE: Final = 60.0
ROUND: Final = timedelta(minutes=2)  # within which every list is looked at, instead of a day
LATE: Final = Fault(kind="late-visible", seconds=60, count=1)


@pytest.fixture(autouse=True)
def short_days(monkeypatch: pytest.MonkeyPatch) -> None:
    def soon(looked_at: datetime | None, now: datetime, *, every: timedelta, **more: Any) -> datetime:
        assert every == timedelta(days=1)
        return second_look.next_look(looked_at, now, every=ROUND, **more)

    monkeypatch.setattr("monitor.intake.next_look", soon)


def told(stage: Stage) -> list[str]:
    """The names of the files that were told of, in order."""
    return [
        alert["messages"][0]["attachments"][0]["name"]
        for alert in stage.receivers.alerts
        if alert["rule"] == "attachment"
    ]


def missed(app: App) -> float:
    return app.metrics.registry.get_sample_value("cometwatch_audit_missed_total") or 0


def looks(app: App) -> float:
    return app.metrics.registry.get_sample_value("cometwatch_second_looks_total") or 0


async def say_around(stage: Stage, *, to: str = "superhero2", more: str = "user") -> None:
    """A file that is visible a minute late, between two texts that are not."""
    say(stage.world, "before", to=to, receiver_type=more)
    stage.world.faults.add(LATE)
    share(stage.world, "late.png", to=to, receiver_type=more)
    say(stage.world, "after", to=to, receiver_type=more)


@pytest.mark.parametrize(
    ("source", "to", "kind"),
    [
        ("user", "superhero2", "user"),
        ("app", "superhero2", "user"),
        ("groups\n  groups: [heroes]", "heroes", "group"),
    ],
)
async def test_a_row_that_nobody_saw_in_time_is_told_and_counted_once(
    stage: Stage, autojump_clock: MockClock, source: str, to: str, kind: str
) -> None:
    config = SLOWLY.replace("start: now", f"start: now\n  source: {source}")
    async with stage.monitor(config) as app:
        await until(10)
        await say_around(stage, to=to, more=kind)
        await until(65)
        assert (told(stage), missed(app)) == ([], 0)
        await until(6 * MINUTE)
        assert (told(stage), missed(app)) == (["late.png"], 1)
        (row,) = (row for row in app.store.users() if row.looked_at and row.cursor.id)
        before = looks(app)
        await until(12 * MINUTE)
        assert looks(app) > before
        (again,) = (one for one in app.store.users() if one.uid == row.uid)
        assert again.looked_at is not None
        assert row.looked_at is not None
        assert again.looked_at > row.looked_at
        assert (told(stage), missed(app)) == (["late.png"], 1)
        assert app.store.ledger().counts.evaluated == 3


async def test_a_row_that_showed_while_we_were_down_is_found_after_the_start(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor(SLOWLY):
        await until(10)
        await say_around(stage)
        await until(45)
        say(stage.world, "later")
        await until(60)
    await until(200)
    async with stage.monitor(SLOWLY) as app:
        await until(12 * MINUTE)
        assert (told(stage), missed(app)) == (["late.png"], 1)


async def test_what_was_found_is_not_found_again_after_a_restart(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor(SLOWLY):
        await until(10)
        await say_around(stage)
        await until(6 * MINUTE)
        assert told(stage) == ["late.png"]
    async with stage.monitor(SLOWLY) as app:
        await until(12 * MINUTE)
        assert looks(app) > 0
        assert (told(stage), missed(app)) == (["late.png"], 0)


async def test_a_row_that_two_lists_missed_is_told_once(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.monitor(SLOWLY) as app:
        await until(10)
        stage.world.faults.add(LATE)
        share(stage.world, "late.png", sender="superhero3", to="superhero2")
        say(stage.world, "after", sender="superhero3", to="superhero2")
        await until(6 * MINUTE)
        assert (told(stage), missed(app)) == (["late.png"], 2)
    assert stage.receivers.told("attachment") == [("firing", ("superhero3", "superhero2"))]


async def test_an_answer_that_showed_late_resolves_the_missed_call(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor(SLOWLY) as app:
        await until(10)
        call, _ = stage.world.start_call("superhero1", "superhero2")
        await until(20)
        stage.world.faults.add(Fault(kind="late-visible", seconds=150, count=1))
        stage.world.change_call(call.session_id, "ongoing", by="superhero2")
        say(stage.world, "is it working?")
        await until(200)
        assert stage.receivers.told("missed-call") == [("firing", ("superhero2",))]
        await until(6 * MINUTE)
        assert missed(app) == 1
    assert [status for status, _ in stage.receivers.told("missed-call")] == ["firing", "resolved"]


async def test_a_malformed_row_that_showed_late_is_kept_as_a_reject(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor(SLOWLY) as app:
        await until(10)
        say(stage.world, "before")
        stage.world.faults.add(Fault(kind="malformed-row", count=1))
        share(stage.world, "fine.png")
        row = malformed(stage)
        row.visible_at += 60
        await until(65)
        assert app.store.rejects() == []
        await until(6 * MINUTE)
        (reject,) = app.store.rejects()
        assert reject.message_id == str(row.id)
        assert missed(app) == 1
        assert app.store.ledger().counts.rejected == 1


def malformed(stage: Stage) -> Row:
    (row,) = (row for feed in stage.world.list_of_all(None) for row in feed if row.is_malformed)
    return row


async def test_looks_find_nothing_where_nothing_was_missed(stage: Stage, autojump_clock: MockClock) -> None:
    """Rows from before the start, a row a little late, one dated ahead, a deleted one: all is in order."""
    for n in range(30):
        share(stage.world, f"old-{n}.png", note=Note(sent_at=int(stage.world.clock()) - 9000 + n))
    async with stage.monitor(SLOWLY) as app:
        await until(10)
        share(stage.world, "a-little-late.png", note=Note(visible_after=8))
        share(stage.world, "from-the-future.png", note=Note(sent_at=int(stage.world.clock()) + 3000))
        say(stage.world, "I am here")
        await until(60)
        stage.world.delete(say(stage.world, "not I"), by="superhero1")
        await until(11 * MINUTE)
        assert looks(app) >= 2
        assert missed(app) == 0
    assert sorted(told(stage)) == ["a-little-late.png", "from-the-future.png"]


async def test_a_cursor_that_was_set_forward_has_skipped_on_purpose(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor(SLOWLY) as app:
        await until(10)
        say(stage.world, "read")
        await until(60)
        stage.world.faults.add(Fault(kind="server-error"))
        share(stage.world, "skipped.png")
        last = say(stage.world, "skipped too")
        await until(70)
        with app.store.write() as tx:
            tx.set_cursor(UserId("superhero2"), MessageId(int(last)))
        stage.world.faults.clear()
        await until(100)
        share(stage.world, "wanted.png")
        await until(6 * MINUTE)
        assert missed(app) == 0
    assert told(stage) == ["wanted.png"]


async def test_a_look_that_is_not_answered_is_made_again(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.monitor(SLOWLY) as app:
        await until(10)
        await say_around(stage)
        await until(60)
        stage.world.faults.add(Fault(kind="server-error", probability=0.5))
        await until(11 * MINUTE)
        assert (told(stage), missed(app)) == (["late.png"], 1)


async def test_looks_are_requests_of_the_budget(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.monitor(SLOWLY) as app:
        await until(10)
        await say_around(stage)
        await until(6 * MINUTE)
        assert looks(app) >= 1
    backwards = [asked for asked in stage.world.requests if "affix=prepend&id=" in asked.query]
    assert len(backwards) == looks(app)
    assert len(stage.world.requests) <= 60 * 6


async def test_a_list_that_shows_more_by_another_source_has_missed_nothing(
    stage: Stage, autojump_clock: MockClock
) -> None:
    alone = SLOWLY.replace(", superhero3]", "]")
    async with stage.monitor(alone):
        await until(10)
        say(stage.world, "one to one")
        share(stage.world, "in-group.png", to="heroes", receiver_type="group")
        say(stage.world, "one to one")
        await until(45)
        say(stage.world, "settled")
        await until(60)
    async with stage.monitor(alone.replace("start: now", "start: now\n  source: user-all")) as app:
        await until(6 * MINUTE)
        assert looks(app) > 0
        assert (told(stage), missed(app)) == ([], 0)
