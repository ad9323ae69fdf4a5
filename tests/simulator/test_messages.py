"""The simulator's messages: made, edited, deleted, and what their rows then say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from monitor.simulator import World
from tests.simulator.wire import AUTH_ONLY, KEY, TurnedClock, a_world, client, get, say


async def send(world: World, body: dict[str, Any], *, acting: str = "a") -> Any:
    async with client(world, apikey=KEY, onBehalfOf=acting) as http:
        return (await http.post("/messages", json=body)).json()["data"]


async def test_one_request_makes_a_message_in_both_lists() -> None:
    world = a_world()
    row = await send(world, {"receiver": "b", "type": "text", "data": {"text": "hello"}, "muid": "_x1"})
    names = "id muid conversationId sender receiverType receiver category type data sentAt updatedAt"
    assert list(row) == names.split()
    assert row["id"].isdigit()
    for uid in "ab":
        assert (await get(world, f"/users/{uid}/messages"))["data"] == [row]
    assert (await get(world, "/users/c/messages"))["data"] == []


async def test_entities_name_both_sides() -> None:
    row = await send(a_world(), {"receiver": "A", "type": "text", "data": {"text": "x"}}, acting="b")
    entities = row["data"]["entities"]
    assert entities["sender"] == {
        "entity": {
            "uid": "b",
            "name": "User B",
            "role": "default",
            "avatar": "https://assets.example/b.png",
            "status": "offline",
        },
        "entityType": "user",
    }
    assert entities["receiver"]["entity"]["conversationId"] == "a_user_b" == row["conversationId"]
    assert row["receiver"] == "a"


async def test_mentions_are_an_object_of_known_users_ten_at_most() -> None:
    world = a_world()
    for number in range(12):
        world.add_user(f"m{number}")
    words = "<@uid:B> and <@uid:nobody> " + " ".join(f"<@uid:m{number}>" for number in range(12))
    row = await send(world, {"receiver": "b", "type": "text", "data": {"text": words}})
    mentions = row["data"]["mentions"]
    assert list(mentions) == ["b", *(f"m{number}" for number in range(9))]
    assert mentions["b"]["uid"] == "b"


async def test_media_carries_its_files_and_the_first_url() -> None:
    files = [
        {
            "extension": "pdf",
            "mimeType": "application/pdf",
            "name": "x.pdf",
            "size": 3,
            "url": "https://x/x.pdf",
        }
    ]
    body = {
        "receiver": "g",
        "receiverType": "group",
        "type": "file",
        "data": {"attachments": files, "text": "see"},
    }
    row = await send(a_world(), body)
    assert (row["data"]["attachments"], row["data"]["url"]) == (files, "https://x/x.pdf")
    assert (row["conversationId"], row["receiverType"]) == ("group_g", "group")
    assert row["data"]["entities"]["receiver"]["entity"]["membersCount"] == 3


async def test_without_an_acting_user_the_app_speaks() -> None:
    world = a_world()
    async with client(world) as http:
        body = {"receiver": "b", "category": "custom", "type": "meeting", "data": {"customData": {"k": 1}}}
        row = (await http.post("/messages", json=body)).json()["data"]
    assert (row["sender"], row["category"], row["type"]) == ("app_system", "custom", "meeting")
    assert row["data"]["customData"] == {"k": 1}


async def test_a_client_cannot_forge_entities_or_mentions() -> None:
    forged = {"text": "x", "mentions": {"b": {}}, "entities": {"sender": {}}}
    row = await send(a_world(), {"receiver": "b", "type": "text", "data": forged})
    assert "mentions" not in row["data"]
    assert row["data"]["entities"]["sender"]["entity"]["uid"] == "a"


async def test_an_edit_marks_the_row_and_publishes_an_action_that_embeds_it() -> None:
    clock = TurnedClock()
    world = a_world(clock=clock)
    original = say(world, "a", "b", "hi <@uid:b>")
    clock.now += 30
    async with client(world, apikey=KEY, onBehalfOf="a") as http:
        action = (await http.put(f"/messages/{original}", json={"data": {"text": "hi"}})).json()["data"]
    rows = (await get(world, "/users/b/messages"))["data"]
    assert rows == [action["data"]["entities"]["on"]["entity"], action]
    assert (action["category"], action["type"], action["data"]["action"]) == ("action", "message", "edited")
    assert (rows[0]["data"]["text"], rows[0]["editedBy"], rows[0]["editedAt"]) == ("hi", "a", int(clock.now))
    assert "mentions" not in rows[0]["data"]
    assert int(action["id"]) > original


async def test_a_deletion_drops_what_was_said() -> None:
    world = a_world()
    original = say(world, "a", "b", "secret")
    async with client(world) as http:
        action = (await http.delete(f"/messages/{original}")).json()["data"]
    row = (await get(world, f"/messages/{original}"))["data"]
    assert action["data"]["action"] == "deleted"
    assert row["deletedBy"] == "app_system"
    assert "text" not in row["data"]
    assert "secret" not in json.dumps(action)
    assert [int(one["id"]) for one in (await get(world, "/users/b/messages"))["data"]] == [
        original,
        int(action["id"]),
    ]


async def test_a_reply_names_its_parent_and_is_counted_there() -> None:
    world = a_world()
    parent = say(world, "a", "b", "question")
    body = {"receiver": "a", "type": "text", "data": {"text": "answer"}, "parentId": str(parent)}
    row = await send(world, body, acting="b")
    assert row["parentId"] == str(parent)
    assert (await get(world, f"/messages/{parent}"))["data"]["replyCount"] == 1


async def test_reactions_change_the_row_and_make_none() -> None:
    world = a_world()
    message = say(world, "a", "b", "nice")
    async with client(world) as http:
        await http.post(f"/messages/{message}/reactions/😊")
        row = (await http.post(f"/messages/{message}/reactions/😊")).json()["data"]
    assert row["data"]["reactions"] == [{"reaction": "😊", "count": 2, "reactedByMe": False}]
    assert len(world) == 1


async def test_members_come_and_go_with_action_rows() -> None:
    world = a_world()
    async with client(world) as http:
        await http.post("/groups/g/members", json={"participants": ["d"]})
        await http.delete("/groups/g/members/b")
    rows = (await get(world, "/groups/g/messages"))["data"]
    assert [(row["data"]["action"], row["data"]["entities"]["on"]["entity"]["uid"]) for row in rows] == [
        ("added", "d"),
        ("kicked", "b"),
    ]
    assert {row["type"] for row in rows} == {"groupMember"}
    assert set(world.group("g").members) == {"a", "c", "d"}


async def test_groups_are_made_with_members_and_an_owner() -> None:
    world = a_world()
    async with client(world, apikey=KEY, onBehalfOf="d") as http:
        body = {"guid": "New", "name": "New one", "members": {"participants": ["a"], "moderators": ["b"]}}
        group = (await http.post("/groups", json=body)).json()["data"]
        members = (await http.get("/groups/new/members")).json()["data"]
    assert (group["guid"], group["owner"], group["membersCount"]) == ("new", "d", 3)
    assert {one["uid"]: one["scope"] for one in members} == {
        "a": "participant",
        "b": "moderator",
        "d": "admin",
    }


async def test_lone_surrogates_survive_as_escapes() -> None:
    world = a_world()
    world.send("a", "b", content={"text": "half \ud83d"})
    async with client(world) as http:
        body = (await http.get("/users/b/messages")).content
    assert b"half \\ud83d" in body


async def test_a_logged_in_client_is_its_user() -> None:
    world = a_world()
    mine = say(world, "a", "b", "to b")
    say(world, "c", "b", "from c")
    async with client(world, apikey=AUTH_ONLY) as http:
        login = (await http.post("/users/a/auth_tokens")).json()["data"]
    assert login["uid"] == "a"
    assert login["authToken"].startswith(f"a_{login['createdAt']}")
    assert len(login["authToken"]) == len("a_") + 10 + 30
    async with client(world, authToken=login["authToken"]) as http:
        me = (await http.put("/me")).json()["data"]
        peer = (await http.get("/users/b/messages?per_page=30&affix=prepend")).json()
        sent = (await http.post("/messages", json={"receiver": "g", "receiverType": "group", "type": "text",
                                                   "data": {"text": "x"}})).json()["data"]  # fmt: skip
        everything = (await http.get("/messages?per_page=5&affix=prepend")).json()
        group = (await http.get("/groups/g/messages?per_page=5&affix=append&id=0")).json()
    assert (me["uid"], me["status"]) == ("a", "available")
    assert [int(row["id"]) for row in peer["data"]] == [mine]
    assert (sent["sender"], len(everything["data"])) == ("a", 2)
    for answer in (peer, everything, group):
        assert answer["meta"]["pagination"]["total_pages"] == 1
        assert set(answer["meta"]["cursor"]) == {"id", "affix"}


async def test_a_wrong_token_is_refused_and_a_new_user_can_have_one() -> None:
    world = a_world()
    async with client(world, authToken="nobody_1") as http:
        response = await http.get("/messages")
    assert (response.status_code, response.json()["error"]["code"]) == (401, "AUTH_ERR_AUTH_TOKEN_NOT_FOUND")
    async with client(world, apikey=AUTH_ONLY) as http:
        user = (await http.post("/users", json={"uid": "New", "name": "N", "withAuthToken": True})).json()[
            "data"
        ]
    assert user["uid"] == "new"
    async with client(world, authToken=user["authToken"]) as http:
        assert (await http.put("/me")).json()["data"]["name"] == "N"


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_seed_makes_the_same_bytes(seed: int) -> None:
    def made(number: int) -> list[bytes]:
        world = a_world(seed=number)
        rows = [world.send("a", "b", content={"text": "x"}), world.start_call("a", "b")[1]]
        return [row.body for row in rows]

    assert made(seed) == made(seed)
    assert made(seed) != made(seed + 1)
