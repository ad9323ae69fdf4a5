"""Every documented parameter and header, as it stands on the wire."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from monitor.errors import ConfigError
from monitor.source.client import (
    Affix,
    BadKey,
    BadRequest,
    Client,
    Endpoint,
    MessageQuery,
    SourceError,
    UserQuery,
    base_url,
)
from rules.model import MessageId, UserId
from tests.source.serving import KEY, Answer, Server, talking_to

UID = UserId("superhero2")
AT = datetime(2022, 3, 11, 10, 45, 12, tzinfo=UTC)

PARAMETERS: list[tuple[dict[str, Any], str]] = [
    ({"search_key": "invoice & co"}, "searchKey=invoice+%26+co"),
    ({"has_attachments": True}, "hasAttachments=1"),
    ({"attachment_types": ("image", "file")}, "attachmentTypes=image%2Cfile"),
    ({"has_mentions": True}, "hasMentions=1"),
    ({"has_links": True}, "hasLinks=1"),
    ({"mentioned_uids": ("superhero1", "superhero3")}, "mentionedUids=superhero1%2Csuperhero3"),
    ({"unread": True}, "unread=1"),
    ({"undelivered": True}, "undelivered=1"),
    ({"hide_replies": False}, "hideReplies=0"),
    ({"affix": Affix.APPEND}, "affix=append"),
    ({"affix": Affix.PREPEND}, "affix=prepend"),
    ({"id": MessageId(1776)}, "id=1776"),
    ({"category": "call"}, "category=call"),
    ({"categories": ("call", "message")}, "categories=call%2Cmessage"),
    ({"type": "audio"}, "type=audio"),
    ({"types": ("audio", "text")}, "types=audio%2Ctext"),
    ({"my_mentions_only": True}, "myMentionsOnly=1"),
    ({"has_reactions": True}, "hasReactions=1"),
    ({"sender": "superhero3"}, "sender=superhero3"),
    ({"mentions_with_blocked_info": True}, "mentionsWithBlockedInfo=1"),
    ({"mentions_with_tag_info": True}, "mentionsWithTagInfo=1&mentionswithTagInfo=1"),
    ({"per_page": 1000}, "perPage=1000"),
    ({"limit": 10}, "limit=10"),
    ({"updated_at": AT}, "updatedAt=1646995512"),
    ({"only_updates": True}, "onlyUpdates=1"),
    ({"from_timestamp": AT}, "fromTimestamp=1646995512"),
    ({"to_timestamp": AT}, "toTimestamp=1646995512"),
    ({"with_tags": True}, "withTags=1"),
    ({"tags": ("vip", "été")}, "tags=vip%2C%C3%A9t%C3%A9"),
]


@pytest.mark.parametrize(("given", "query"), PARAMETERS, ids=[query for _, query in PARAMETERS])
async def test_a_parameter_stands_on_the_wire_as_documented(given: dict[str, Any], query: str) -> None:
    server = Server()
    async with talking_to(server) as client:
        await client.messages(UID, MessageQuery(**given))
    assert server.asked[0].query == query


async def test_count_stands_on_the_wire_and_answers_numbers() -> None:
    server = Server(
        Answer(
            b'{"data":[{"entityType":"user","entityId":"superhero3","entity":{"name":"Spider"},"count":"4"}]}'
        )
    )
    async with talking_to(server) as client:
        (count,) = await client.counts(UID, MessageQuery(unread=True))
    assert server.asked[0].query == "unread=1&count=1"
    assert (count.entity_type, count.entity_id, count.name, count.count) == (
        "user",
        "superhero3",
        "Spider",
        4,
    )


async def test_a_page_is_never_asked_for_with_count() -> None:
    async with talking_to(Server()) as client:
        with pytest.raises(ValueError, match="counts"):
            await client.messages(UID, MessageQuery(count=True))


def test_the_table_holds_every_documented_parameter() -> None:
    documented = (
        "searchKey hasAttachments attachmentTypes hasMentions hasLinks mentionedUids unread undelivered "
        "count hideReplies affix id category categories type types myMentionsOnly hasReactions sender "
        "mentionsWithBlockedInfo mentionsWithTagInfo mentionswithTagInfo perPage limit fromTimestamp "
        "toTimestamp withTags tags"
    )
    proved = {part.partition("=")[0] for _, query in PARAMETERS for part in query.split("&")} | {"count"}
    assert len(MessageQuery.__struct_fields__) == len(proved) - 1  # one parameter has two spellings
    assert proved == set(documented.split()) | {"updatedAt", "onlyUpdates"}  # which the official SDK sends


def test_the_question_for_changes_names_its_time_and_goes_on_after_an_id() -> None:
    asked = MessageQuery.changed(AT, 1000, after=MessageId(7)).params()
    assert "&".join(f"{name}={value}" for name, value in asked) == (
        "affix=append&id=7&perPage=1000&limit=1000&updatedAt=1646995512&onlyUpdates=1&withTags=1"
    )


async def test_all_parameters_travel_together() -> None:
    server = Server()
    everything = {key: value for given, _ in PARAMETERS for key, value in given.items()}
    async with talking_to(server) as client:
        await client.messages(UID, MessageQuery(**everything))
    sent = server.asked[0].query.split("&")
    assert set(sent) == {part for _, query in PARAMETERS for part in query.split("&")} - {"affix=append"}


async def test_the_key_and_the_acting_user_travel_as_headers() -> None:
    server = Server()
    async with talking_to(server) as client:
        await client.messages(UID, MessageQuery(), on_behalf_of="superhero1")
    headers = server.asked[0].headers
    assert headers["apikey"] == KEY
    assert headers["onbehalfof"] == "superhero1"
    assert headers["accept-encoding"] == "gzip"
    assert headers["user-agent"].startswith("cometwatch")


async def test_without_an_acting_user_there_is_no_such_header() -> None:
    server = Server()
    async with talking_to(server) as client:
        await client.messages(UID, MessageQuery())
    assert "onbehalfof" not in server.asked[0].headers
    assert server.asked[0].query == ""


async def test_user_all_reads_the_general_list_on_behalf_of_the_user() -> None:
    server = Server()
    async with talking_to(server) as client:
        await client.messages(UID, MessageQuery.after(MessageId(5), 50), endpoint=Endpoint.USER_ALL)
    asked = server.asked[0]
    assert (asked.path, asked.headers["onbehalfof"]) == ("/v3/messages", "superhero2")
    assert asked.query == "affix=append&id=5&perPage=50&limit=50&withTags=1"


async def test_user_all_has_one_acting_user() -> None:
    async with talking_to(Server()) as client:
        with pytest.raises(ValueError, match="on_behalf_of"):
            await client.messages(UID, MessageQuery(), endpoint=Endpoint.USER_ALL, on_behalf_of="superhero1")


async def test_the_app_s_list_is_read_for_nobody_in_particular() -> None:
    server = Server()
    async with talking_to(server) as client:
        await client.messages("@app", MessageQuery.newest(10), endpoint=Endpoint.APP)
        with pytest.raises(ValueError, match="on_behalf_of"):
            await client.messages("@app", MessageQuery(), endpoint=Endpoint.APP, on_behalf_of="superhero1")
    (asked,) = server.asked
    assert (asked.path, "onbehalfof" in asked.headers) == ("/v3/messages", False)


@pytest.mark.parametrize("actor", [None, "superhero1"])
async def test_a_group_s_list_is_read_by_its_guid(actor: str | None) -> None:
    server = Server()
    async with talking_to(server) as client:
        await client.messages("a/b", MessageQuery(), endpoint=Endpoint.GROUP, on_behalf_of=actor)
    assert server.asked[0].path == "/v3/groups/a%2Fb/messages"
    assert server.asked[0].headers.get("onbehalfof") == actor


async def test_a_list_is_called_by_what_it_is_when_it_fails() -> None:
    async with talking_to(Server(Answer(b"<html>"))) as client:
        for endpoint, called in [(Endpoint.APP, "of the app:"), (Endpoint.GROUP, "of group hiking:")]:
            with pytest.raises(SourceError, match=called):
                await client.messages("hiking", MessageQuery(), endpoint=endpoint)


USER_PARAMETERS: list[tuple[dict[str, Any], str]] = [
    ({"search_key": "help"}, "searchKey=help"),
    ({"search_in": ("uid", "name")}, "searchIn=uid%2Cname"),
    ({"status": "available"}, "status=available"),
    ({"per_page": 1000}, "perPage=1000"),
    ({"page": 7}, "page=7"),
    ({"role": "agent"}, "role=agent"),
    ({"roles": ("agent", "lead")}, "roles=agent%2Clead"),
    ({"tags": ("support", "vip")}, "tags=support%2Cvip"),
    ({"with_tags": True}, "withTags=1"),
    ({"with_deactivated": True}, "withDeactivated=1"),
    ({"only_deactivated": False}, "onlyDeactivated=0"),
]


@pytest.mark.parametrize(("given", "query"), USER_PARAMETERS, ids=[query for _, query in USER_PARAMETERS])
async def test_a_filter_of_users_stands_on_the_wire_as_documented(given: dict[str, Any], query: str) -> None:
    server = Server()
    async with talking_to(server) as client:
        await client.users(UserQuery(**given))
    assert server.asked[0].path == "/v3/users"
    sent = dict(part.split("=") for part in server.asked[0].query.split("&"))
    assert sent == {"perPage": "100", "page": "1"} | dict([query.split("=")])


@pytest.mark.parametrize("page", [{"per_page": 0}, {"per_page": 1001}, {"page": 0}])
def test_a_page_of_users_that_can_not_be_is_refused(page: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="1"):
        UserQuery(**page)


@pytest.mark.parametrize("version", ["v3", "v3.0", "v3/", "proxy/chat/v3"])
async def test_any_base_url_is_kept_as_it_is(version: str) -> None:
    server = Server()
    async with talking_to(server, base_url=f"http://127.0.0.1:9000/{version}") as client:
        await client.messages(UID, MessageQuery())
    assert server.asked[0].path == f"/{version.rstrip('/')}/users/superhero2/messages"
    assert server.asked[0].headers["host"] == "127.0.0.1:9000"


@pytest.mark.parametrize(
    ("uid", "segment"),
    [
        ("a b", "a%20b"),
        ("a/../b", "a%2F..%2Fb"),
        ("a?count=1", "a%3Fcount%3D1"),
        ("ü", "%C3%BC"),
        ("..a", "..a"),
    ],
)
async def test_a_uid_can_not_leave_its_segment_of_the_path(uid: str, segment: str) -> None:
    server = Server()
    async with talking_to(server) as client:
        await client.messages(UserId(uid), MessageQuery())
    assert (server.asked[0].path, server.asked[0].query) == (f"/v3/users/{segment}/messages", "")


@pytest.mark.parametrize("uid", ["", ".", ".."])
async def test_what_is_no_uid_is_not_asked_for(uid: str) -> None:
    server = Server()
    async with talking_to(server) as client:
        with pytest.raises(BadRequest, match="superhero1"):
            await client.messages(UserId(uid), MessageQuery())
    assert server.asked == []


async def test_an_acting_user_can_not_smuggle_a_header() -> None:
    server = Server()
    async with talking_to(server) as client:
        with pytest.raises(BadRequest, match="onBehalfOf"):
            await client.messages(UID, MessageQuery(), on_behalf_of="a\r\napikey: b")
    assert server.asked == []


async def test_a_rotated_key_is_picked_up_within_a_second(autojump_clock: MockClock) -> None:
    server, keys = Server(), iter([KEY, "fresh" * 8 + "\n"])
    async with talking_to(server, key=lambda: next(keys)) as client:
        await client.messages(UID, MessageQuery())
        await client.messages(UID, MessageQuery())
        await trio.sleep(1)
        await client.messages(UID, MessageQuery())
    assert [asked.headers["apikey"] for asked in server.asked] == [KEY, KEY, "fresh" * 8]


async def test_a_refused_key_is_read_again_at_once() -> None:
    server, keys = Server(Answer(b"{}", 401), Answer()), iter([KEY, "fresh" * 8])
    async with talking_to(server, key=lambda: next(keys)) as client:
        with pytest.raises(BadKey):
            await client.messages(UID, MessageQuery())
        await client.messages(UID, MessageQuery())
    assert server.asked[-1].headers["apikey"] == "fresh" * 8


@pytest.mark.parametrize("key", ["", "  \n", "two words", "line\nbreak", "schlüssel"])
async def test_what_can_be_no_key_is_not_sent_and_not_repeated(key: str) -> None:
    server = Server()
    async with talking_to(server, key=lambda: key) as client:
        with pytest.raises(BadKey, match="api_key_file") as caught:
            await client.messages(UID, MessageQuery())
    assert server.asked == []
    assert not key.strip() or key not in str(caught.value)


async def test_a_key_file_that_is_being_exchanged_counts_as_a_bad_key() -> None:
    def missing() -> str:
        raise FileNotFoundError(2, "No such file or directory", "/run/secrets/apikey")

    async with talking_to(Server(), key=missing) as client:
        with pytest.raises(BadKey, match="No such file"):
            await client.messages(UID, MessageQuery())


@pytest.mark.parametrize(
    ("app_id", "region", "url"),
    [
        ("275211", "us", "https://275211.api-us.cometchat.io/v3"),
        ("275211", "eu", "https://275211.api-eu.cometchat.io/v3"),
        ("19757E59e8b9669", "in", "https://19757e59e8b9669.api-in.cometchat.io/v3"),
    ],
)
def test_app_and_region_make_the_documented_host(app_id: str, region: str, url: str) -> None:
    assert base_url(app_id, region) == url


@pytest.mark.parametrize(
    ("app_id", "region"), [("evil.test/", "us"), ("275211", "us.evil.test/"), ("", "us"), ("275211", "US")]
)
def test_app_and_region_can_not_name_another_host(app_id: str, region: str) -> None:
    with pytest.raises(ConfigError, match=r"api\.(app_id|region)"):
        base_url(app_id, region)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:9000/v3",
        "ftp://a/v3",
        "http://u:p@a/v3",
        "http://a/v3?x=1",
        "http://[",
        "http://a:99999/",
    ],
)
def test_what_is_no_base_url_is_said_so_at_once(url: str) -> None:
    with pytest.raises(ConfigError, match=re.escape("http://127.0.0.1:9000/v3")):
        Client(base_url=url, api_key=lambda: KEY, http=None, clock=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [{"per_page": 0}, {"limit": 1001}, {"per_page": -1}])
def test_a_page_size_that_can_not_be_is_refused(size: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="1 to 1000"):
        MessageQuery(**size)  # type: ignore[arg-type]
