"""The simulator's message lists: order, cursors and every documented filter."""

from __future__ import annotations

from typing import Any

import pytest

from monitor.simulator import World
from tests.simulator.wire import KEY, TurnedClock, a_world, client, get, ids, say

PHOTO = {
    "extension": "jpeg",
    "mimeType": "image/jpeg",
    "name": "p.jpeg",
    "size": 9,
    "url": "https://x/p.jpeg",
}
PAPER = {
    "extension": "pdf",
    "mimeType": "application/pdf",
    "name": "p.pdf",
    "size": 9,
    "url": "https://x/p.pdf",
}


def a_mixed_list() -> tuple[World, dict[str, int]]:
    """One message of each sort between a and others, by name."""
    clock = TurnedClock()
    world = a_world(clock=clock)
    made: dict[str, int] = {}

    def at(second: int, name: str, message_id: int) -> None:
        clock.now += second
        made[name] = message_id

    at(0, "plain", say(world, "a", "b", "Hello There"))
    clock.now += 10
    at(0, "link", say(world, "b", "a", "see https://example.net", tags=["urgent", "sales"]))
    clock.now += 10
    at(0, "mention", say(world, "a", "b", "hi <@uid:b>"))
    photo = {"attachments": [PHOTO], "text": "caption"}
    at(0, "photo", world.send("c", "a", content=photo, type_="image").id)
    at(0, "paper", world.send("a", "c", content={"attachments": [PAPER]}, type_="file", tags=["sales"]).id)
    at(0, "custom", world.send("a", "b", content={"customData": {}}, category="custom", type_="location").id)
    at(0, "reply", say(world, "b", "a", "answer", parent_id=made["plain"]))
    call, ring = world.start_call("a", "b", type_="video")
    at(0, "ring", ring.id)
    at(0, "missed", world.change_call(call.session_id, "unanswered").id)
    at(0, "liked", say(world, "c", "a", "nice"))
    world.react(made["liked"], "😊")
    at(0, "gone", say(world, "a", "b", "oops"))
    at(0, "removal", world.delete(made["gone"], by="a").id)
    return world, made


START = int(TurnedClock().now)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"searchKey": "hello there"}, ["plain"]),
        ({"hasAttachments": "true"}, ["photo", "paper"]),
        ({"hasAttachments": "1"}, ["photo", "paper"]),
        ({"hasAttachments": "false", "category": "custom"}, ["custom"]),
        ({"attachmentTypes": "image"}, ["photo"]),
        ({"attachmentTypes": "image,file"}, ["photo", "paper"]),
        ({"hasMentions": "true"}, ["mention"]),
        ({"hasLinks": "true"}, ["link"]),
        ({"mentionedUids": "c,B"}, ["mention"]),
        ({"mentionedUids": "c"}, []),
        ({"category": "call"}, ["ring", "missed"]),
        ({"categories": "call,custom"}, ["custom", "ring", "missed"]),
        ({"type": "image"}, ["photo"]),
        ({"types": "image,location"}, ["photo", "custom"]),
        ({"hasReactions": "true"}, ["liked"]),
        ({"sender": "c"}, ["photo", "liked"]),
        ({"tags": "sales"}, ["link", "paper"]),
        ({"tags": "urgent,none"}, ["link"]),
        ({"hideReplies": "true", "searchKey": "answer"}, []),
        ({"toTimestamp": str(START + 10)}, ["plain", "link"]),
        ({"fromTimestamp": str(START + 10), "toTimestamp": str(START + 10)}, ["link"]),
        ({"fromTimestamp": str(START + 1), "limit": "1", "affix": "append"}, ["link"]),
        ({"sentAt": str(START + 10), "affix": "prepend"}, ["plain", "link"]),
        ({"onlyUpdates": "1", "updatedAt": str(START + 19), "affix": "append"}, []),
        (
            {"hideDeleted": "1", "noSuchParameter": "x", "withThreadSubscribed": "1", "searchKey": "nice"},
            ["liked"],
        ),
        ({"perPage": "2"}, ["gone", "removal"]),
        ({"per_page": "2"}, ["gone", "removal"]),
        ({"limit": "2"}, ["gone", "removal"]),
        ({"limit": "2", "affix": "prepend"}, ["gone", "removal"]),
    ],
    ids=lambda value: "&".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
async def test_each_parameter_of_the_user_list_really_filters(
    params: dict[str, str], expected: list[str]
) -> None:
    world, made = a_mixed_list()
    assert await ids(world, "/users/a/messages", **params) == [made[name] for name in expected]


async def test_rows_are_ascending_and_the_cursor_itself_is_left_out() -> None:
    world, made = a_mixed_list()
    after = await ids(world, "/users/a/messages", affix="append", id=str(made["photo"]), limit="3")
    before = await ids(world, "/users/a/messages", affix="prepend", id=str(made["photo"]), limit="2")
    assert after == [made["paper"], made["custom"], made["reply"]]
    assert before == [made["link"], made["mention"]]


async def test_edits_and_deletions_show_as_updates() -> None:
    clock = TurnedClock()
    world = a_world(clock=clock)
    edited, untouched = say(world, "a", "b", "one"), say(world, "a", "b", "two")
    clock.now += 60
    world.edit(edited, {"text": "ONE"}, by="a")
    since = str(int(clock.now) - 1)
    updates = await ids(world, "/users/a/messages", onlyUpdates="1", updatedAt=since, affix="append")
    everything = await ids(world, "/users/a/messages", updatedAt=since, affix="append")
    assert updates == [edited]
    assert len(everything) == 2
    assert untouched not in everything


async def test_what_moderation_changed_is_asked_for_by_time() -> None:
    clock = TurnedClock()
    world = a_world(clock=clock)
    sent = say(world, "a", "b", "one")
    say(world, "a", "b", "two")
    clock.now += 60
    async with client(world, apikey=KEY) as http:
        steered = "http://simulator/_sim/moderate"
        done = await http.post(steered, json={"id": str(sent), "status": "disapproved"})
        assert done.json() == {"moderated": str(sent)}
        wrongs: list[object] = [{"id": "5", "status": "approved"}, {"id": str(sent), "status": "fine"}, []]
        for wrong in wrongs:
            assert (await http.post(steered, json=wrong)).status_code == 400
    asked = {"onlyUpdates": "1", "updatedAt": str(int(clock.now) - 1), "affix": "append"}
    (row,) = (await get(world, "/users/b/messages", **asked))["data"]
    assert (row["id"], row["data"]["moderation"]) == (str(sent), {"status": "disapproved"})
    assert len(world.truth) == 2


@pytest.mark.parametrize(("updates", "shown"), [("ignored", 2), ("heeded", 0)])
async def test_a_server_may_not_know_of_updates(updates: str, shown: int) -> None:
    world = a_world(updates=updates)
    for text in ("one", "two"):
        say(world, "a", "b", text)
    asked = {"onlyUpdates": "1", "updatedAt": str(START), "affix": "append"}
    assert len(await ids(world, "/users/a/messages", **asked)) == shown


async def test_with_on_behalf_of_only_the_conversation_of_the_two_shows() -> None:
    world = a_world()
    mine = say(world, "a", "b", "to b")
    say(world, "a", "c", "to c")
    theirs = say(world, "b", "a", "back")
    assert await ids(world, "/users/a/messages", acting="b") == [mine, theirs]


async def test_unread_and_undelivered_are_the_acting_users() -> None:
    world = a_world()
    old = say(world, "a", "b", "old")
    async with client(world, apikey=KEY, onBehalfOf="b") as http:
        await http.post("/users/a/conversation/delivered")
        newer = say(world, "a", "b", "newer")
        say(world, "b", "a", "my own")
        assert await ids(world, "/users/a/messages", acting="b", undelivered="1") == [newer]
        assert await ids(world, "/users/a/messages", acting="b", unread="1") == [old, newer]
        await http.post("/users/a/conversation/read")
    assert await ids(world, "/users/a/messages", acting="b", unread="1") == []
    first = (await get(world, "/users/a/messages", acting="b"))["data"][0]
    assert {"deliveredAt", "readAt"} <= set(first)


async def test_count_gives_one_line_for_each_conversation() -> None:
    world = a_world()
    for sender in ("b", "b", "c"):
        say(world, sender, "a", "hi")
    body = await get(world, "/users/a/messages", count="1", unread="1")
    assert [(one["entityType"], one["entityId"], one["count"]) for one in body["data"]] == [
        ("user", "b", 2),
        ("user", "c", 1),
    ]


async def test_my_mentions_only_is_about_the_acting_user() -> None:
    world = a_world()
    say(world, "a", "b", "hi <@uid:a>")
    of_b = say(world, "a", "b", "hi <@uid:b>")
    assert await ids(world, "/users/a/messages", acting="b", myMentionsOnly="true") == [of_b]


@pytest.mark.parametrize("spelling", ["mentionsWithTagInfo", "mentionswithTagInfo"])
async def test_both_spellings_add_tags_to_mentions(spelling: str) -> None:
    world = a_world()
    say(world, "a", "b", "hi <@uid:b>")
    row = (await get(world, "/users/a/messages", **{spelling: "true"}))["data"][0]
    assert row["data"]["mentions"]["b"]["tags"] == []
    row = (await get(world, "/users/a/messages", mentionsWithBlockedInfo="true"))["data"][0]
    assert row["data"]["mentions"]["b"]["blockedByMe"] is False


async def test_tags_show_only_when_asked_for() -> None:
    world = a_world()
    say(world, "a", "b", "x", tags=["urgent"])
    assert "tags" not in (await get(world, "/users/a/messages"))["data"][0]
    assert (await get(world, "/users/a/messages", withTags="true"))["data"][0]["tags"] == ["urgent"]


async def test_user_list_meta_is_the_recorded_shape() -> None:
    world = a_world()
    made = [say(world, "a", "b", str(number)) for number in range(3)]
    page = await get(world, "/users/a/messages", affix="append", id="0", limit="2")
    last = await get(world, "/users/a/messages", affix="append", id=str(made[1]), limit="2")
    assert page["meta"] == {
        "pagination": {"total": 0, "count": 2, "per_page": 2, "current_page": 1, "total_pages": 2},
        "cursor": {"id": made[1], "affix": "append"},
    }
    assert last["meta"]["pagination"]["total_pages"] == 1
    assert (await get(world, "/users/a/messages"))["meta"]["pagination"]["per_page"] == 100
    assert (await get(world, "/users/a/messages"))["meta"]["cursor"]["affix"] == "prepend"


@pytest.mark.parametrize("path", ["/messages", "/groups/g/messages"])
async def test_the_other_lists_answer_current_and_next_and_ten_rows(path: str) -> None:
    world = a_world()
    made = [say(world, "a", "g", str(number), receiver_type="group") for number in range(11)]
    body = await get(world, path, affix="append", id="0")
    sent_at = body["data"][-1]["sentAt"]
    assert [int(row["id"]) for row in body["data"]] == made[:10]
    assert body["meta"] == {
        "current": {"limit": 10, "count": 10},
        "next": {"affix": "append", "sentAt": sent_at, "id": str(made[9])},
    }


async def test_group_rows_are_in_the_user_list_only_by_option() -> None:
    for option, expected in ((False, 1), (True, 2)):
        world = a_world(group_rows_in_user_list=option)
        say(world, "a", "b", "one to one")
        say(world, "b", "g", "to the group", receiver_type="group")
        assert len(await ids(world, "/users/a/messages")) == expected
        assert len(await ids(world, "/messages", acting="a")) == 2
        assert await ids(world, "/messages", acting="d") == []


async def test_the_whole_app_shows_without_an_acting_user() -> None:
    world = a_world()
    made = [
        say(world, "a", "b", "x"),
        say(world, "c", "d", "y"),
        say(world, "b", "g", "z", receiver_type="group"),
    ]
    assert await ids(world, "/messages") == made
    assert await ids(world, "/messages", receiverType="group") == made[2:]
    assert await ids(world, "/messages", conversationId="a_user_b") == made[:1]


async def test_the_whole_apps_list_can_be_empty_or_refused_as_nobody_knows() -> None:
    empty, refusing = a_world(app_list="empty"), a_world(app_list="400")
    for world in (empty, refusing):
        made = say(world, "a", "b", "x")
        assert await ids(world, "/messages", acting="a") == [made]
    assert await ids(empty, "/messages") == []
    assert (await get(refusing, "/messages"))["error"]["code"] == "ERR_BAD_REQUEST"


async def test_a_groups_list_shows_calls_and_actions_to_the_key_and_to_members_only() -> None:
    world = a_world()
    made = say(world, "a", "g", "x", receiver_type="group")
    _, ring = world.start_call("a", "g", receiver_type="group")
    say(world, "a", "b", "not here")
    action = world.edit(made, {"text": "y"}, by="a")
    assert await ids(world, "/groups/g/messages") == [made, ring.id, action.id]
    assert await ids(world, "/groups/g/messages", acting="b") == [made, ring.id, action.id]
    refused = await get(world, "/groups/g/messages", acting="d")
    assert refused["error"]["code"] == "ERR_GROUP_NOT_JOINED"


async def test_until_needs_since_on_the_messages_list() -> None:
    world = a_world()
    made = say(world, "a", "b", "x")
    assert await ids(world, "/messages", toTimestamp="1") == [made]
    assert await ids(world, "/messages", fromTimestamp="1", toTimestamp="2") == []


async def test_deleted_rows_can_be_hidden_or_had_alone() -> None:
    world = a_world()
    gone, kept = say(world, "a", "b", "x"), say(world, "a", "b", "y")
    world.delete(gone, by="a")
    assert gone not in await ids(world, "/messages", hideDeleted="true")
    assert kept in await ids(world, "/messages", hideDeleted="true")
    assert await ids(world, "/messages", onlyDeleted="true") == [gone]


@pytest.mark.parametrize(("way", "first"), [("newest", 1), ("oldest", 0)])
async def test_append_without_an_id_answers_as_the_option_says(way: Any, first: int) -> None:
    world = a_world(append_without_id=way)
    made = [say(world, "a", "b", str(number)) for number in range(3)]
    assert await ids(world, "/users/a/messages", affix="append", limit="2") == made[first : first + 2]


async def test_calls_leave_the_messages_list_by_option() -> None:
    world = a_world(calls_in_messages=False)
    _, ring = world.start_call("a", "b")
    assert await ids(world, "/messages", acting="a") == []
    assert await ids(world, "/users/a/messages") == [ring.id]


async def test_users_are_paged_and_searched() -> None:
    world = a_world()
    world.add_user("e2", "Zoe", role="agent", tags=["night"])
    world.set_active("d", is_active=False)

    async def uids(**params: str) -> list[str]:
        return [user["uid"] for user in (await get(world, "/users", **params))["data"]]

    assert await uids() == ["a", "b", "c", "e2"]
    assert await uids(perPage="2", page="2") == ["c", "e2"]
    assert await uids(searchKey="zo") == ["e2"]
    assert await uids(searchKey="zo", searchIn="uid") == []
    assert await uids(role="agent") == await uids(tags="night") == ["e2"]
    assert await uids(onlyDeactivated="1") == ["d"]
    assert await uids(withDeactivated="1") == ["a", "b", "c", "d", "e2"]
    assert await uids(status="available") == []
    assert await uids(searchKey="e2", tags="day,night", roles="agent,lead") == ["e2"]
    assert (await get(world, "/users", withTags="1", perPage="1", page="4"))["data"][0]["tags"] == ["night"]
    assert (await get(world, "/users", onlyDeactivated="1"))["data"][0]["deactivatedAt"] == START
    assert (await get(world, "/users", perPage="3"))["meta"]["pagination"]["total_pages"] == 2


async def test_a_user_is_changed_in_what_is_named() -> None:
    world = a_world()
    shown: dict[str, Any] = {}
    async with client(world) as http:
        for change in ({"role": "agent"}, {"tags": ["night"]}, {"name": "Zoe"}):
            shown = (await http.put("/users/a", json=change)).json()["data"]
    assert (shown["name"], shown["role"], shown["tags"]) == ("Zoe", "agent", ["night"])
    async with client(world) as http:
        refused = [
            await http.put("/users/a", json={"tags": "night"}),
            await http.put("/users/nobody", json={}),
        ]
    assert [answer.status_code for answer in refused] == [400, 404]
