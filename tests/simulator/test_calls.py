"""The simulator's calls: the recorded rows, every life of a call, and what may not follow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from monitor.simulator import World
from monitor.simulator.refusals import Refusal
from tests.simulator.wire import KEY, TurnedClock, a_world, client, get

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "list-user-messages.json").read_text())


def shape(value: Any) -> Any:
    """The keys of an object, in order and all the way down, and the types at their ends."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return type(value).__name__


async def test_call_rows_have_the_recorded_keys_and_types_in_the_recorded_order() -> None:
    clock = TurnedClock()
    world = a_world(clock=clock)
    call, _ = world.start_call("a", "b", metadata={"key": {"one": "two"}})
    clock.now += 415
    world.change_call(call.session_id, "ongoing", type_="video")
    rows = (await get(world, "/users/b/messages"))["data"]
    assert json.dumps([shape(row) for row in rows]) == json.dumps([shape(row) for row in RECORDED["data"]])


async def test_sender_is_who_changed_the_call_while_the_entity_names_the_caller() -> None:
    world = a_world()
    call, _ = world.start_call("a", "b")
    world.change_call(call.session_id, "ongoing")
    ring, answer = (await get(world, "/users/a/messages"))["data"]
    assert (ring["sender"], ring["receiver"]) == ("a", "b")
    assert (answer["sender"], answer["receiver"]) == ("b", "a")
    for row in (ring, answer):
        on = row["data"]["entities"]["on"]["entity"]
        assert (on["sender"], on["receiver"], on["sessionid"]) == ("a", "b", call.session_id)
        assert row["data"]["action"] == on["status"]
        assert row["conversationId"] == "a_user_b"
        assert on["wsChannel"]["identity"].endswith(call.session_id)
        assert len(on["wsChannel"]["secret"]) == 40
    assert call.session_id.startswith(str(ring["sentAt"]))
    assert len(call.session_id) == 50


Lifecycle = Sequence[tuple[str, str | None]]


@pytest.mark.parametrize(
    "steps",
    [
        [("unanswered", "a")],
        [("cancelled", "a")],
        [("busy", "b")],
        [("rejected", "b")],
        [("ongoing", "b"), ("ended", "a")],
        [("ongoing", "b"), ("ended", "b")],
    ],
    ids=lambda steps: "-".join(status for status, _ in steps),
)
def test_every_lifecycle_makes_a_row_for_each_step(steps: Lifecycle) -> None:
    world = a_world()
    call, ring = world.start_call("a", "b")
    rows = [ring, *(world.change_call(call.session_id, status) for status, _ in steps)]
    assert [row.sender for row in rows[1:-1]] == [by for _, by in steps[:-1]]
    assert rows[-1].sender == (steps[-1][1] if steps[-1][0] != "ended" else "b")
    assert [json.loads(row.body)["data"]["action"] for row in rows] == ["initiated", *(s for s, _ in steps)]
    assert len({row.id for row in rows}) == len(rows)


def refusal_of(world: World, session: str, status: str, by: str | None = None) -> str:
    with pytest.raises(Refusal) as caught:
        world.change_call(session, status, by=by)
    return caught.value.code


@pytest.mark.parametrize(
    ("before", "status", "by", "code"),
    [
        ([], "ended", None, "ERR_CALL_NOT_STARTED"),
        ([], "initiated", None, "ERR_CALL_INVALID_INIT"),
        ([], "ongoing", "c", "ERR_CALL_NOT_A_PART"),
        ([], "ringing", None, "ERR_BAD_REQUEST"),
        (["ongoing"], "ongoing", "b", "ERR_CALL_USER_ALREADY_JOINED"),
        (["ongoing"], "busy", None, "ERR_CALL_ONGOING_TO_INVALID"),
        (["ongoing"], "unanswered", None, "ERR_CALL_ONGOING_TO_INVALID"),
        (["ongoing"], "rejected", None, "ERR_CALL_ONGOING_TO_INVALID"),
        (["ongoing", "ended"], "ongoing", None, "ERR_CALL_TERMINATED"),
        (["unanswered"], "ongoing", None, "ERR_CALL_TERMINATED"),
        (["cancelled"], "cancelled", None, "ERR_CALL_TERMINATED"),
    ],
)
def test_what_may_not_follow_is_refused(before: list[str], status: str, by: str | None, code: str) -> None:
    world = a_world()
    call, _ = world.start_call("a", "b")
    for earlier in before:
        world.change_call(call.session_id, earlier)
    count = len(world)
    assert refusal_of(world, call.session_id, status, by) == code
    assert len(world) == count


def test_a_group_call_is_never_busy_and_survives_a_rejection() -> None:
    world = a_world()
    call, _ = world.start_call("a", "g", receiver_type="group")
    assert refusal_of(world, call.session_id, "busy", "b") == "ERR_CALL_GROUP_INVALID_STATUS"
    assert refusal_of(world, call.session_id, "ongoing", "d") == "ERR_CALL_NOT_A_PART"
    world.change_call(call.session_id, "rejected", by="b")
    joined = world.change_call(call.session_id, "ongoing", by="c")
    assert refusal_of(world, call.session_id, "ongoing", "c") == "ERR_CALL_GROUP_ALREADY_JOINED"
    assert (joined.receiver, joined.receiver_type, joined.conversation_id) == ("g", "group", "group_g")


def test_a_group_call_nobody_joined_ends_unanswered() -> None:
    world = a_world()
    call, _ = world.start_call("a", "g", receiver_type="group")
    row = world.change_call(call.session_id, "unanswered")
    assert (row.sender, row.type) == ("a", "audio")


async def test_two_requests_make_a_missed_call() -> None:
    async with client(a_world(), apikey=KEY, onBehalfOf="a") as http:
        ring = (
            await http.post("/calls", json={"receiver": "b", "receiverType": "user", "type": "audio"})
        ).json()
        session = ring["data"]["data"]["entities"]["on"]["entity"]["sessionid"]
        row = (await http.put(f"/calls/{session}", json={"status": "unanswered"})).json()["data"]
    assert (row["category"], row["data"]["action"], row["sender"], row["receiver"]) == (
        "call",
        "unanswered",
        "a",
        "b",
    )


def test_nobody_calls_themselves() -> None:
    with pytest.raises(Refusal, match="ERR_CALLING_SELF"):
        a_world().start_call("a", "a")
