"""The other ways to see the same messages: one list for the whole app, and the lists of groups."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from monitor.simulator import Fault, Note, Options, World
from monitor.store.values import Cursor
from rules.model import ListId
from tests.acceptance.stage import CONFIG, START, Stage, make_stage, people, say, share, until

WATCHED = "users: [{uid: superhero2, labels: {team: heroes}}, superhero3]"


def watching(source: str, *, users: str = WATCHED, groups: str = "[]") -> str:
    return CONFIG.replace(f"  {WATCHED}", f"  {users}\n  source: {source}\n  groups: {groups}")


APP = watching("app")


@pytest.fixture
async def stage(stage: Stage) -> Stage:
    """Two strangers as well, a group of theirs, and one in which a watched user is."""
    strangers(stage.world)
    return stage


def strangers(world: World) -> None:
    world.add_user("stranger1")
    world.add_user("stranger2")
    world.add_group("plotters", "Plotters", members=["stranger1", "stranger2"])
    world.add_group("readers", "Readers", members=["stranger1", "superhero3"])


def in_group(world: World, what: str, group: str, *, sender: str) -> None:
    """A file for a group, or a text if there is a blank in it."""
    tell = say if " " in what else share
    tell(world, what, sender=sender, to=group, receiver_type="group")


def files(stage: Stage) -> list[str]:
    """The names of the files that were told of, in order."""
    return [
        alert["messages"][0]["attachments"][0]["name"]
        for alert in stage.receivers.alerts
        if alert["rule"] == "attachment"
    ]


def places(world: World) -> set[str]:
    return {asked.path.removeprefix("/v3") for asked in world.requests}


# --- one list for the whole app ---------------------------------------------------------------------------


async def test_the_apps_rows_reach_those_whom_they_concern(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.monitor(APP) as app:
        await until(5)
        share(stage.world, "ours.png")
        share(stage.world, "not-ours.png", sender="stranger1", to="stranger2")
        share(stage.world, "by-ours.png", sender="superhero3", to="stranger2")
        await until(20)
        counts = app.store.ledger().counts
        assert (counts.fetched, counts.evaluated) == (3, 2)
        assert app.intake.followed == {ListId("@app")}
    assert files(stage) == ["ours.png", "by-ours.png"]
    assert stage.receivers.told("attachment") == [("firing", ("superhero2",)), ("firing", ("superhero3",))]
    assert places(stage.world) == {"/messages"}


async def test_of_the_apps_groups_those_that_are_named_are_seen_whole(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor(watching("app", groups="[heroes]")):
        await until(5)
        in_group(stage.world, "named.png", "heroes", sender="superhero1")
        in_group(stage.world, "unnamed.png", "plotters", sender="stranger1")
        in_group(stage.world, "others.png", "readers", sender="stranger1")
        in_group(stage.world, "by-ours.png", "readers", sender="superhero3")
        in_group(stage.world, "dear <@uid:superhero3>", "readers", sender="stranger1")
        in_group(stage.world, "not you, <@uid:stranger2>", "plotters", sender="stranger1")
        await until(20)
    assert files(stage) == ["named.png", "by-ours.png"]
    assert stage.receivers.told("mention") == [("firing", ("superhero3",))]


async def test_a_missed_call_is_told_once_the_apps_list_was_read_past_it(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor(APP) as app:
        await until(5)
        stage.world.start_call("superhero1", "superhero2")
        stage.world.start_call("stranger1", "stranger2")
        await until(20)
        assert [row.lists for row in app.store.timers()] == [(ListId("@app"),)]
        await until(5 + 90 + 12)
        assert stage.receivers.told("missed-call") == []
        await until(5 + 90 + 12 + 4)
        assert stage.receivers.told("missed-call") == [("firing", ("superhero2",))]


async def test_no_call_is_called_missed_while_the_apps_list_is_not_read(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor(APP):
        await until(5)
        answered, _ = stage.world.start_call("superhero1", "superhero2")
        stage.world.start_call("superhero1", "superhero3")
        await until(20)
        stage.world.faults.add(Fault(kind="server-error", status=503))
        await until(30)
        stage.world.change_call(answered.session_id, "ongoing", by="superhero2")
        await until(250)
        assert stage.receivers.told("missed-call") == []
        stage.world.faults.clear()
        await until(600)
    assert stage.receivers.told("missed-call") == [("firing", ("superhero3",))]


async def test_what_the_app_said_while_we_were_down_is_told_once(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor(APP):
        await until(5)
        share(stage.world, "before.png")
        await until(60)
    for n in range(250):
        share(stage.world, f"noise-{n}.png", sender="stranger1", to="stranger2")
    share(stage.world, "meanwhile.png")
    async with stage.monitor(APP):
        await until(90)
        share(stage.world, "after.png")
        await until(110)
    assert files(stage) == ["before.png", "meanwhile.png", "after.png"]


async def test_another_source_begins_where_the_one_before_ended(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor():
        await until(5)
        share(stage.world, "before.png")
        await until(60)
    share(stage.world, "between.png")
    await until(90)
    async with stage.monitor(APP):
        await until(100)
        share(stage.world, "after.png")
        await until(120)
    assert files(stage) == ["before.png", "between.png", "after.png"]


async def test_another_source_reads_what_the_one_before_had_still_to_read(
    stage: Stage, autojump_clock: MockClock
) -> None:
    share(stage.world, "early.png")
    for n in range(400):
        say(stage.world, f"text {n}")
    stage.world.faults.add(Fault(kind="page-size", size=2))
    await until(60)
    async with stage.monitor(CONFIG.replace("start: now", "start: 2026-11-22T07:00:00Z")):
        await until(65)
        share(stage.world, "late.png", to="superhero3")
        await until(80)
    assert files(stage) == ["late.png"]
    stage.world.faults.clear()
    async with stage.monitor(APP.replace("start: now", "start: 2026-11-22T07:00:00Z")):
        await until(120)
    assert files(stage) == ["late.png", "early.png"]


async def test_who_is_watched_from_now_on_is_watched_without_a_list_more(
    stage: Stage, autojump_clock: MockClock
) -> None:
    alone = watching("app", users="users: [superhero2]")
    async with stage.monitor(alone) as app:
        await until(5)
        share(stage.world, "too-early.png", to="superhero3")
        await until(30)
        stage.configuration(APP)
        assert await app.reload("test")
        share(stage.world, "in-time.png", to="superhero3")
        await until(50)
        stage.configuration(alone)
        assert await app.reload("test")
        share(stage.world, "too-late.png", to="superhero3")
        await until(70)
    assert files(stage) == ["in-time.png"]
    assert places(stage.world) == {"/messages"}


async def test_calls_are_not_seen_where_the_apps_list_shows_none(
    stage: Stage, autojump_clock: MockClock
) -> None:
    blind = make_stage(stage.folder, options=Options(calls_in_messages=False))
    people(blind.world)
    async with blind.monitor(APP):
        await until(5)
        call, _ = blind.world.start_call("superhero1", "superhero2")
        share(blind.world, "seen.png")
        await until(20)
        blind.world.change_call(call.session_id, "unanswered", by="superhero1")
        await until(200)
    assert [alert["rule"] for alert in blind.receivers.alerts] == ["attachment"]


# --- groups -----------------------------------------------------------------------------------------------


async def test_groups_are_read_beside_the_users(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.monitor(watching("user", groups="[heroes, {guid: plotters, weight: 2}]")) as app:
        await until(5)
        share(stage.world, "direct.png")
        in_group(stage.world, "in-group.png", "heroes", sender="superhero1")
        in_group(stage.world, "plan.png", "plotters", sender="stranger1")
        in_group(stage.world, "unread.png", "readers", sender="superhero3")
        in_group(stage.world, "you, <@uid:superhero2>!", "heroes", sender="superhero1")
        await until(25)
        assert app.intake.followed == {"superhero2", "superhero3", "@group:heroes", "@group:plotters"}
        kept = {row.uid for row in app.store.users() if row.cursor != Cursor()}
        assert kept == app.intake.followed - {"superhero3"}  # to whom nobody wrote
    assert sorted(files(stage)) == ["direct.png", "in-group.png", "plan.png"]
    assert stage.receivers.told("mention") == [("firing", ("superhero2",))]
    assert places(stage.world) == {
        "/users/superhero2/messages",
        "/users/superhero3/messages",
        "/groups/heroes/messages",
        "/groups/plotters/messages",
    }


async def test_groups_alone(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.monitor(watching("groups", groups="[heroes]")):
        await until(5)
        share(stage.world, "direct.png")
        in_group(stage.world, "in-group.png", "heroes", sender="superhero1")
        call, _ = stage.world.start_call("superhero1", "heroes", receiver_type="group")
        await until(20)
        stage.world.change_call(call.session_id, "unanswered", by="superhero1")
        await until(40)
    assert files(stage) == ["in-group.png"]
    assert stage.receivers.told("missed-call") == [("firing", ())]
    assert places(stage.world) == {"/groups/heroes/messages"}


async def test_a_row_that_two_lists_carry_is_told_once(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.monitor(watching("user-all", groups="[heroes]")) as app:
        await until(5)
        in_group(stage.world, "thrice.png", "heroes", sender="superhero2")
        await until(25)
        assert app.store.ledger().counts.evaluated == 3
    assert files(stage) == ["thrice.png"]


async def test_an_unknown_group_harms_nobody_else(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.monitor(watching("user", groups="[nowhere]")) as app:
        await until(5)
        share(stage.world, "fine.png")
        await until(50)
        assert app.health.sight(ListId("@group:nowhere")).unknown
        asked = [one for one in stage.world.requests if "nowhere" in one.path]
        assert 1 <= len(asked) <= 2
        stage.world.add_group("nowhere", "Here after all", members=["superhero1"])
        await until(200)
        in_group(stage.world, "found.png", "nowhere", sender="superhero1")
        await until(260)
    assert files(stage) == ["fine.png", "found.png"]


async def test_a_group_read_from_its_beginning_tells_its_past_as_old_news(
    stage: Stage, autojump_clock: MockClock
) -> None:
    for n in range(250):
        old = Note(sent_at=int(START.timestamp()) - 90_000 + n)
        share(stage.world, f"old-{n}.png", to="heroes", receiver_type="group", note=old)
    config = watching("groups", groups="[heroes]").replace("start: now", "start: beginning")
    async with stage.monitor(config):
        await until(120)
    assert len(stage.receivers.slack) == 1
    assert len(set(files(stage))) == 250
