"""Scripts and the truth they state, checked against what they really stage."""

from __future__ import annotations

import json
from itertools import islice, pairwise
from typing import Any

import pytest
import trio

from monitor.simulator import SCENARIOS, World, play, populate, scenario
from monitor.simulator.refusals import Refusal
from monitor.simulator.scenarios import RING_TIMEOUT_S
from monitor.simulator.script import Action, Change, Ring, Scenario, text
from tests.simulator.wire import KEY, START, TurnedClock, client

ENDLESS = ("demo", "quiet", "busy", "crash")


async def played(name: str, *, seconds: float = 300, seed: int = 0, rate: float | None = None) -> World:
    """A world in which `seconds` of a scenario have passed."""
    clock = TurnedClock()
    world = World(api_key=KEY, clock=clock, seed=seed)
    with trio.CancelScope() as scope:

        async def sleep(wait: float) -> None:
            if clock.now + wait > START + seconds:
                scope.cancel()
            await trio.lowlevel.checkpoint()
            clock.now += wait

        await play(world, scenario(name, seed=seed, rate=rate), sleep)
    clock.now = START + seconds
    return world


def findings(world: World) -> list[dict[str, Any]]:
    return [finding for made in world.truth for finding in made.findings()]


@pytest.mark.parametrize("name", SCENARIOS)
def test_actions_come_in_order_and_the_same_seed_repeats_them(name: str) -> None:
    first, again = (list(islice(scenario(name, seed=3).actions(), 400)) for _ in range(2))
    assert first == again
    assert all(one.at <= two.at for one, two in pairwise(first))
    assert (len(first) == 400) == (name in ENDLESS)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_every_scenario_plays_through(name: str) -> None:
    world = await played(name, rate=5)
    assert len(world) > 5
    assert len(world.truth) == len(world)
    assert all(made.expect is not None for made in world.truth)


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_scenario_can_be_told_to_finish_what_it_began(name: str) -> None:
    actions = list(scenario(name, rate=20, lasts_s=90).actions())
    rings = {one.label for one in actions if isinstance(one, Ring) and not one.expect}
    assert 2 < len(actions) < 4_000
    assert {one.call for one in actions if isinstance(one, Change)} == rings
    assert max(one.at for one in actions) < 90 + 45
    assert all(one.at <= two.at for one, two in pairwise(actions))


@pytest.mark.parametrize("name", ["busy", "crash"])
def test_another_seed_is_another_story(name: str) -> None:
    one, other = (list(islice(scenario(name, seed=seed).actions(), 50)) for seed in (1, 2))
    assert one != other


async def test_the_demo_shows_everything_within_twenty_seconds() -> None:
    world = await played("demo", seconds=20)
    seen = {(one["rule"], one["receiver_type"]) for one in findings(world) if one["known_at"] <= START + 20}
    assert seen == {
        ("missed-call", "user"),
        ("attachment", "user"),
        ("mention", "user"),
        ("mention", "group"),
    }
    answered = [made.action for made in world.truth if made.action in ("ongoing", "ended")]
    assert answered == ["ongoing", "ended"]
    concerned = {uid for one in findings(world) for uid in one["users"]}
    assert concerned <= {"superhero2", "superhero3", "superhero4"}


@pytest.mark.parametrize("name", ["calls", "crash", "busy", "outage", "demo"])
async def test_what_is_to_be_told_of_calls_agrees_with_how_they_went(name: str) -> None:
    world = await played(name, seconds=180, rate=20)
    told = {one["key"]: one for one in findings(world) if one["rule"] == "missed-call"}
    for session, call in world.calls.items():
        if call.receiver_type == "group":
            continue
        statuses = [made.action for made in world.truth if made.session == session]
        was_answered, was_rejected = "ongoing" in statuses, "rejected" in statuses
        still_rings = statuses == ["initiated"] and session not in told
        if still_rings:  # the play was over before its end
            assert call.initiated_at > START + 180 - 45
        elif session in told and told[session]["must"]:
            assert not was_answered
            assert not was_rejected
            assert told[session]["users"] == [call.receiver]
        elif session not in told:
            assert was_answered or was_rejected


async def test_a_ring_without_an_end_is_known_only_after_the_ring_timeout() -> None:
    world = await played("calls")
    [ring] = [made for made in world.truth if made.label == "no end"]
    [finding] = ring.findings()
    assert finding["known_at"] == ring.visible_at + RING_TIMEOUT_S
    assert finding["key"] == ring.session


async def test_each_attachment_and_mention_of_the_crash_script_is_in_its_truth() -> None:
    world = await played("crash", seconds=60, rate=30)
    rows = {str(row.id): row for feed in world.list_of_all(None) for row in feed}
    told = {(one["rule"], one["message"]) for one in findings(world) if one["rule"] != "missed-call"}
    assert told == {("attachment", key) for key, row in rows.items() if row.attachments} | {
        ("mention", key) for key, row in rows.items() if row.mentions
    }
    assert len({rule for rule, _ in told}) == 2


async def test_the_crash_script_shows_some_rows_late_but_within_the_settling_time() -> None:
    world = await played("crash", seconds=60, rate=30)
    late = [made.visible_at - made.sent_at for made in world.truth if made.visible_at > made.sent_at + 1.1]
    assert 0.005 < len(late) / len(world) < 0.05
    assert max(late) < 6
    assert len(world.users) == 10
    assert 1_500 < len(world) < 2_500


async def test_history_is_dated_back_and_plays_at_once() -> None:
    world = await played("recorded", seconds=1)
    sent = [made.sent_at for made in world.truth]
    assert sent == sorted(sent)
    assert max(sent) < START
    assert {made.visible_at for made in world.truth} == {START}


async def test_hostile_rows_all_get_out_as_json() -> None:
    world = await played("hostile")
    async with client(world) as http:
        body = (await http.get("/users/superhero3/messages?limit=1000")).content
    rows = json.loads(body)["data"]
    texts = [
        row["data"].get("text", "") for row in rows if isinstance(row, dict) and isinstance(row["data"], dict)
    ]
    assert any(len(one) == 60_000 for one in texts)
    assert any("\ud83d" in one for one in texts)
    assert sum(made.is_malformed for made in world.truth) == 8


async def test_the_outage_ends() -> None:
    world = await played("outage")
    assert world.faults.shown() == []
    assert {one["rule"] for one in findings(world)} == {"missed-call", "attachment", "mention"}


async def test_play_keeps_time_with_a_virtual_clock(autojump_clock: trio.testing.MockClock) -> None:
    world = World(api_key=KEY, clock=lambda: START + trio.current_time())
    began = trio.current_time()
    await play(world, scenario("edits"), trio.sleep)
    assert trio.current_time() - began == pytest.approx(7)


async def test_a_refused_action_is_reported_and_the_play_goes_on() -> None:
    clock = TurnedClock()
    script = Scenario(
        name="s",
        about="",
        users={"a": "A", "b": "B"},
        actions=lambda: iter([text(0, "a", "nobody", "x", label="lost"), text(1, "a", "b", "y")]),
    )
    reported: list[str] = []

    def refused(action: Action, refusal: Refusal) -> None:
        reported.append(f"{action.label} {refusal.code}")

    world = World(api_key=KEY, clock=clock)
    await play(world, script, clock.sleep, refused=refused)
    assert reported == ["lost ERR_UID_NOT_FOUND"]
    assert len(world) == 1
    with pytest.raises(Refusal):
        await play(world, script, clock.sleep)


async def test_truth_is_served_and_says_nothing_of_hand_made_messages() -> None:
    world = await played("edits")
    world.send("superhero2", "superhero3", content={"text": "by hand"})
    async with client(world) as http:
        truth = (await http.get("http://simulator/_sim/truth")).json()
        last = truth["messages"][-2]["id"]
        rest = (await http.get("http://simulator/_sim/truth", params={"after": last})).json()
    assert truth["messages"][-1]["expect"] is None
    assert [(one["rule"], one["users"]) for one in truth["expected"]] == [
        ("mention", ["superhero3"]),
        ("attachment", ["superhero2", "superhero3"]),
    ]
    assert rest["messages"] == truth["messages"][-1:]
    assert truth["messages"][0]["users"] == ["superhero2", "superhero3"]


def test_an_unknown_scenario_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean crash"):
        scenario("crahs")


def test_a_backlog_is_spread_over_the_last_day() -> None:
    world = World(api_key=KEY, clock=TurnedClock())
    populate(world, users=3, backlog=200)
    sent = [made.sent_at for made in world.truth]
    assert (len(world), len(world.users)) == (200, 3)
    assert sent == sorted(sent)
    assert START - 86_400 == sent[0] < sent[-1] < START - 10_000
    with pytest.raises(ValueError, match="at least 2 users"):
        populate(world, users=1, backlog=1)
