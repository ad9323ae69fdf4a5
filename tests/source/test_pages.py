"""Bytes to messages: every category of the API, every oddity we know of, and anything else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.source.pages import Undecodable, decode, decode_counts, decode_user, read_row
from monitor.source.shape import FIELD_NAMES, MAX_CHARS, structure
from rules.model import Attachment, Message, Party
from tests.source.rows import SAMPLE, Json, a_body, a_call, a_group, a_row, a_user


def read(row: Any) -> Message:
    told = read_row(json.dumps(row).encode())
    assert isinstance(told, Message), told
    return told


def reason(row: Any) -> str:
    told = read_row(json.dumps(row).encode())
    assert not isinstance(told, Message)
    return told.reason


# --- the recorded answer ----------------------------------------------------------------------------------


def test_the_recorded_answer_is_read_whole() -> None:
    page = decode(SAMPLE.read_bytes())
    first, second = page.messages
    assert (page.rows, page.size, page.min_id, page.max_id, page.rejects) == (2, 100, 1776, 1777, ())
    assert (first.id, first.action, first.type) == (1776, "initiated", "audio")
    assert (second.id, second.action, second.type) == (1777, "ongoing", "video")
    assert first.sent_at == datetime(2022, 3, 11, 10, 38, 17, tzinfo=UTC)
    assert first.conversation_id == "superhero2_user_superhero3"
    for message in page.messages:  # whoever caused the row, the call keeps its ends
        assert message.call is not None
        assert message.call.session_id == "16469950973f7f6a1ea6d5166db11c929cdbde6a61902e10ba"
        assert message.call.caller == Party(id="superhero2", name="Captain America", role="default")
        assert message.call.callee == Party(id="superhero3", name="Spiderman", role="default")
    assert second.sender.label == "Spiderman (superhero3)"


def test_the_secret_of_a_call_s_channel_is_nowhere_in_what_we_keep() -> None:
    page = decode(SAMPLE.read_bytes())
    secret = json.loads(SAMPLE.read_bytes())["data"][0]["data"]["entities"]["on"]["entity"]["wsChannel"][
        "secret"
    ]
    assert secret not in repr(page)


# --- categories -------------------------------------------------------------------------------------------


def test_a_text_with_its_people() -> None:
    message = read(a_row(muid="_x", moderation=None))
    assert (message.category, message.type, message.text) == ("message", "text", "hello")
    assert message.sender == Party(id="ann", name="Ann", role="default")
    assert message.receiver == Party(id="bob", name="Bob", role="default")
    assert message.participants == ("ann", "bob")


@pytest.mark.parametrize("type_", ["image", "video", "audio", "file"])
def test_a_media_message_with_its_files(type_: str) -> None:
    files = [
        {
            "name": "A.JPG",
            "extension": ".JPG",
            "mimeType": "image/jpeg",
            "size": "48213",
            "url": "https://x/a",
        },
        {"name": "b.tar.gz", "size": 5},
        {"size": -1},
        {"size": "big", "name": ["odd"]},
    ]
    message = read(a_row({"attachments": files, "text": "caption"}, type=type_))
    assert message.attachments == (
        Attachment(name="A.JPG", extension="jpg", mime_type="image/jpeg", size=48213, url="https://x/a"),
        Attachment(name="b.tar.gz", extension="gz", size=5),
        Attachment(),
        Attachment(),
    )
    assert message.text == "caption"


def test_a_bare_media_address_is_an_attachment() -> None:
    message = read(a_row({"url": "https://data-us.test/1/media/photo.PNG?fat=secret"}, type="image"))
    (file,) = message.attachments
    assert (file.name, file.extension) == ("photo.PNG", "png")


def test_a_link_in_a_text_message_is_none() -> None:
    assert read(a_row({"url": "https://x/photo.png"})).attachments == ()


def test_an_address_that_is_none_is_kept_as_it_came() -> None:
    (file,) = read(a_row({"url": "http://[oops.png"}, type="file")).attachments
    assert (file.url, file.name) == ("http://[oops.png", None)


@pytest.mark.parametrize(
    ("category", "type_"),
    [
        ("custom", "meeting"),
        ("custom", "extension_poll"),
        ("interactive", "form"),
        ("agentic", "tool-result"),
        ("card", "text"),
        ("hologram", "3d"),
    ],
)
def test_other_and_unknown_categories_are_kept_as_data(category: str, type_: str) -> None:
    data = {
        "customData": {"sessionID": "x"},
        "metadata": {"a": {"b": 1}},
        "interactiveData": {},
        "text": None,
    }
    message = read(a_row(data, category=category, type=type_))
    assert (message.category, message.type, message.call) == (category, type_, None)
    assert (message.custom, message.metadata) == ({"sessionID": "x"}, {"a": {"b": 1}})


def test_a_group_action_with_whom_it_is_about() -> None:
    entities = {"by": a_user("eve"), "on": a_user("Bob", "Bob Ray"), "for": a_group("hiking")}
    message = read(
        a_row(
            {"action": "banned", "entities": entities, "text": None},
            sender="app_system",
            receiver="hiking",
            group=True,
            category="action",
            type="groupMember",
        )
    )
    assert (message.action, message.sender.id) == ("banned", "app_system")
    assert message.subject == Party(id="bob", name="Bob Ray", role="default")
    assert message.receiver == Party(id="hiking", name="Hiking")
    assert message.target_id is None


def an_edit(action: str = "edited", **original: Any) -> Json:
    inner = a_row(
        {"text": "secret <@uid:cat>", "mentions": {"cat": {}}, "attachments": [{"name": "x"}]}, id="69"
    )
    on = {"entityType": "message", "entity": inner | original}
    entities = {"by": a_user("ann"), "on": on, "for": a_user("bob")}
    row = a_row({"action": action, "entities": entities}, id="402", category="action", type="message")
    del row["data"]["text"]
    return row


@pytest.mark.parametrize("action", ["edited", "deleted"])
def test_the_original_that_an_edit_embeds_is_named_and_not_read(action: str) -> None:
    message = read(an_edit(action))
    assert (message.id, message.action, message.target_id) == (402, action, 69)
    assert (message.text, message.mentions, message.attachments, message.tags) == (None, (), (), ())
    assert message.subject is None


@pytest.mark.parametrize("id_", [69, "69", "x", None, [], -1])
def test_an_unreadable_original_leaves_the_edit_readable(id_: Any) -> None:
    assert read(an_edit(id=id_)).target_id in {69, None}


def test_an_edited_row_says_when_and_by_whom() -> None:
    message = read(
        a_row(editedAt=1702028700, editedBy="Ann", deletedAt="1702028800", deletedBy=5, parentId="3")
    )
    assert (message.edited_at, message.edited_by) == (datetime.fromtimestamp(1702028700, UTC), "ann")
    assert (message.deleted_at, message.deleted_by) == (datetime.fromtimestamp(1702028800, UTC), "5")
    assert message.parent_id == 3


def test_tags_and_moderation_come_along() -> None:
    message = read(a_row({"moderation": {"status": "disapproved"}}, tags=["vip", 3, "late"]))
    assert (message.tags, message.moderation) == (("vip", "late"), "disapproved")


# --- calls ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status", ["initiated", "ongoing", "unanswered", "rejected", "busy", "cancelled", "ended"]
)
def test_a_call_keeps_its_ends_whoever_moved_it(status: str) -> None:
    for by, to in (("ann", "bob"), ("bob", "ann")):
        call = read(a_call(status, by=by, to=to)).call
        assert call is not None
        assert (call.status, call.caller.label, call.callee.label) == (
            status,
            "Ann (ann)",
            "Bob (bob)",
        )
        assert call.initiated_at == datetime.fromtimestamp(1702028600, UTC)


def test_both_spellings_of_cancelled_are_one() -> None:
    message = read(a_call("canceled"))
    assert message.call is not None
    assert message.action == message.call.status == "cancelled"


@pytest.mark.parametrize(
    ("status", "by", "to"),
    [
        ("initiated", "ann", "bob"),
        ("unanswered", "ann", "bob"),
        ("cancelled", "ann", "bob"),
        ("ongoing", "bob", "ann"),
        ("busy", "bob", "ann"),
        ("rejected", "bob", "ann"),
    ],
)
@pytest.mark.parametrize("left", [{}, {"sender": "ann"}, {"receiver": "bob"}, {"sender": {"uid": "ann"}}])
def test_an_abridged_session_still_tells_caller_and_callee(status: str, by: str, to: str, left: Json) -> None:
    call = read(a_call(status, by=by, to=to, session={"sessionid": "s1", **left})).call
    assert call is not None
    assert (call.caller.id, call.callee.id) == ("ann", "bob")


def test_a_group_call_is_for_the_group() -> None:
    row = a_call(
        "unanswered", to="hiking", session={"sessionid": "s1", "sender": "ann", "receiver": "hiking"}
    )
    row |= {"receiverType": "group"}
    message = read(row)
    assert message.call is not None
    assert (message.call.caller.id, message.call.callee.id) == ("ann", "hiking")
    assert message.participants == ("ann",)


def test_the_status_may_stand_in_the_session_alone() -> None:
    row = a_call("busy", by="bob", to="ann")
    del row["data"]["action"]
    call = read(row).call
    assert call is not None
    assert call.status == "busy"


def test_a_call_without_a_session_is_shown_to_someone() -> None:
    assert "sessionid" in reason(a_call("unanswered", session={}))
    assert "sessionid" in reason(a_row({"action": "busy", "entities": None}, category="call", type="audio"))


# --- mentions ---------------------------------------------------------------------------------------------

MENTIONS: list[tuple[str | None, Any, tuple[str, ...]]] = [
    ("Hi <@uid:Bob>", None, ("bob",)),
    ("Hi", {"bob": {"uid": "bob"}}, ("bob",)),
    ("<@uid:cat> <@uid:bob> <@uid:cat>", {"dan": {}, "bob": {}}, ("cat", "bob", "dan")),
    ("old @{Bob Ray|bob} and @{|cat}", None, ("bob", "cat")),
    ("mail me@example.test, @bob", None, ()),
    ("<@uid:> <@uid:a b> @{x} @{x|}", None, ()),
    (None, [{"uid": "Bob"}, "cat"], ("bob", "cat")),
    ("Hi", [], ()),
    ("Hi", {}, ()),
]


@pytest.mark.parametrize(("text", "named", "uids"), MENTIONS)
def test_who_is_mentioned(text: str | None, named: Any, uids: tuple[str, ...]) -> None:
    assert read(a_row({"text": text, "mentions": named})).mentions == uids


@pytest.mark.parametrize(("is_group", "says_all"), [(True, True), (False, False)])
def test_all_are_mentioned_in_groups_only(is_group: bool, says_all: bool) -> None:
    row = a_row({"text": "<@all:all> lunch"}, receiver="hiking", group=is_group)
    assert read(row).mentions_all is says_all


def test_a_caption_can_mention() -> None:
    assert read(a_row({"text": "<@uid:bob>", "attachments": [{}]}, type="image")).mentions == ("bob",)


def test_hostile_text_takes_no_time() -> None:
    text = "@{" * 16_000 + "<@uid:" * 5_000 + "@{" + "a" * 10_000
    assert read(a_row({"text": text})).mentions == ()


# --- oddities of the wire ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [
        {"id": 7},
        {"sentAt": "1702028666"},
        {"receipts": [[]]},
        {"receipts": {"data": [{"messageId": 1}]}},
        {"tags": None},
        {"parentId": ""},
        {"parentId": "0"},
        {"editedAt": 0, "editedBy": ""},
        {"quotedMessage": {"data": {"text": "<@uid:eve>"}}},
    ],
)
def test_known_oddities_are_taken(odd: Json) -> None:
    assert read(a_row(**odd)) == read(a_row())


@pytest.mark.parametrize(
    "odd",
    [
        {"metadata": []},
        {"mentions": []},
        {"attachments": []},
        {"attachments": {}},
        {"customData": "x"},
        {"moderation": []},
        {"reactions": [{"reaction": "x", "count": 1}]},
        {"resource": "WEB-4"},
    ],
)
def test_php_s_empty_objects_are_empty(odd: Json) -> None:
    assert read(a_row(odd)) == read(a_row())


def test_a_list_with_number_keys_is_a_list() -> None:
    assert [file.name for file in read(a_row({"attachments": {"1": {"name": "a"}}})).attachments] == ["a"]


def test_absent_data_is_an_empty_message() -> None:
    assert read(a_row() | {"data": []}).text is None


@pytest.mark.parametrize("entities", [None, [], "x", {"sender": []}, {"sender": {"entity": "x"}}, {"by": {}}])
def test_without_entities_the_parties_have_only_their_ids(entities: Any) -> None:
    message = read(a_row({"entities": entities}))
    assert (message.sender, message.receiver) == (Party(id="ann"), Party(id="bob"))


def test_uids_are_lower_case_and_group_ids_as_they_came() -> None:
    message = read(a_row(sender="ANN", receiver="HiKing", group=True))
    assert (message.sender, message.receiver.id) == (Party(id="ann", name="Ann", role="default"), "HiKing")


@pytest.mark.parametrize(("group", "conversation"), [(False, "ann_user_bob"), (True, "group_bob")])
def test_a_missing_conversation_id_is_built(group: bool, conversation: str) -> None:
    assert read(a_row(group=group, conversationId=None)).conversation_id == conversation


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"id": "seven"}, "id: expected a message id"),
        ({"id": 0}, "id: "),
        ({"id": 2**63}, "id: "),
        ({"id": True}, "id: expected a message id (digits), found boolean"),
        ({"id": "٧"}, "id: "),
        ({"sender": None}, "sender: expected a word, found null"),
        ({"receiver": ["bob"]}, "receiver: expected a word, found array(1)"),
        ({"receiverType": 1}, "receiverType: "),
        ({"category": ""}, "category: expected a word, found string(0)"),
        ({"type": None}, "type: "),
        ({"sentAt": "yesterday"}, "sentAt: expected unix seconds, found string(9)"),
        ({"sentAt": None}, "sentAt: "),
        ({"sentAt": 1702028666000}, "sentAt: "),
        ({"sentAt": -1}, "sentAt: "),
        ({"deletedAt": {"at": 1}}, "deletedAt: expected unix seconds, found object(1)"),
        ({"parentId": "x"}, "parentId: "),
        ({"data": "text"}, "data: expected an object, found string(4)"),
    ],
)
def test_a_malformed_row_says_where(wrong: Json, place: str) -> None:
    assert reason(a_row() | wrong).startswith(place)


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"text": {"en": "x"}}, "data.text: expected a string, found object(1)"),
        ({"attachments": "x"}, "data.attachments: expected a list"),
        ({"attachments": ["x"]}, "data.attachments[]: expected an object"),
        ({"mentions": 5}, "data.mentions: expected a list, found integer"),
        ({"mentions": [{}]}, "data.mentions[]: expected a word, found null"),
    ],
)
def test_malformed_data_says_where(wrong: Json, place: str) -> None:
    assert reason(a_row(wrong)).startswith(place)


@pytest.mark.parametrize("row", [None, 5, "x", [], [1], True])
def test_what_is_no_row_is_a_reject(row: Any) -> None:
    assert reason(row).startswith("row: expected an object")


# --- pages ------------------------------------------------------------------------------------------------


def test_one_malformed_row_leaves_the_others() -> None:
    page = decode(a_body(a_row(id="9"), a_row(id="12", sentAt=None), a_row(id="8"), 5))
    assert [message.id for message in page.messages] == [8, 9]
    assert [reject.message_id for reject in page.rejects] == ["12", None]
    assert (page.rows, page.min_id, page.max_id) == (4, 8, 12)


def test_ids_are_compared_as_numbers() -> None:
    assert [message.id for message in decode(a_body(a_row(id="10"), a_row(id="9"))).messages] == [9, 10]


@pytest.mark.parametrize(
    ("meta", "size"),
    [
        ({"pagination": {"per_page": 30}}, 30),
        ({"pagination": {"per_page": "30"}}, 30),
        ({"current": {"limit": 10, "count": 1}, "next": {"affix": "append"}}, 10),
        ({"pagination": []}, None),
        ({"pagination": {"per_page": 0}}, None),
        ({"cursor": {}}, None),
    ],
)
def test_the_echoed_page_size(meta: Json, size: int | None) -> None:
    assert decode(a_body(**meta)).size == size


@pytest.mark.parametrize(
    "body", [b'{"data":[]}', b'{"data":[],"meta":null}', b'{"data":[],"meta":[]}', b' {"data":[]}\n']
)
def test_an_empty_page_needs_no_meta(body: bytes) -> None:
    page = decode(body)
    assert (page.rows, page.size, page.min_id, page.max_id) == (0, None, None, None)


DEEP = b"[" * 5_000 + b"]" * 5_000
HOSTILE = [
    (rb'"a \ud800 b"', True),
    (rb'"\udc00\ud800"', True),
    (b'"broken \xff utf-8"', True),
    (b"NaN", True),
    (b"1e999", True),
    (b'"a\x01b"', True),
    (b"9" * 5_000, False),
    (DEEP, False),
]


@pytest.mark.parametrize(("value", "is_read"), HOSTILE, ids=range(len(HOSTILE)))
def test_one_hostile_message_never_stops_its_page(value: bytes, is_read: bool) -> None:
    body = a_body(a_row(id="5"), a_row({"metadata": "HERE"}, id="6"), a_row(id="7")).replace(b'"HERE"', value)
    page = decode(body)
    assert {5, 7} <= {message.id for message in page.messages}
    assert (page.rows, page.size, page.max_id) == (3, 100, 7)
    assert [reject.message_id for reject in page.rejects] == ([] if is_read else ["6"])


def test_a_lone_surrogate_does_not_hide_the_message_it_is_in() -> None:
    page = decode(a_body(a_row({"text": "HERE <@uid:bob>"})).replace(b"HERE", rb"\ud83d"))
    (message,) = page.messages
    assert (message.text, message.mentions) == ("? <@uid:bob>", ("bob",))


def test_a_hostile_row_alone_in_its_page_still_has_an_id() -> None:
    page = decode(b'{ "meta" : {} , "data" : [ {"id":"41","data":' + DEEP + b"} ] }")
    assert (page.rows, page.max_id) == (1, 41)
    assert page.rejects[0].reason.startswith("row: not JSON, or nested too deeply")


@pytest.mark.parametrize(
    "body", [b'{"data":[' + DEEP[:9000], b'{"x":' + DEEP + b"}", DEEP, b'{"data":' + DEEP]
)
def test_a_hostile_page_that_is_none_is_undecodable(body: bytes) -> None:
    with pytest.raises(Undecodable):
        decode(body)


# --- counts and users -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b'{"data":{}}', b'{"data":[{}]}', b'{"data":[{"entityId":"a","count":"x"}]}']
)
def test_counts_that_are_none_are_undecodable(body: bytes) -> None:
    with pytest.raises(Undecodable):
        decode_counts(body)


def test_a_user_is_read() -> None:
    assert decode_user(b'{"data":{"uid":"Ann","name":"Ann Lee"}}') == Party(id="ann", name="Ann Lee")
    with pytest.raises(Undecodable):
        decode_user(b'{"data":[]}')


# --- totality ---------------------------------------------------------------------------------------------

SECRET = st.text(alphabet="qzQZ", min_size=6, max_size=12)  # no field name can look like this
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | SECRET | st.text(max_size=5)
KEYS = st.sampled_from(FIELD_NAMES.split()) | SECRET
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=25,
)


@st.composite
def damaged_rows(draw: st.DrawFn) -> Any:
    """A believable row with some of its parts replaced by anything."""
    row = draw(
        st.sampled_from([a_row(), a_call("busy"), an_edit(), a_row(group=True), a_row({"mentions": {}})])
    )
    row = json.loads(json.dumps(row))
    for _ in range(draw(st.integers(0, 3))):
        place = row
        while True:
            key = draw(st.sampled_from(sorted(place)))
            if not isinstance(place[key], dict) or not place[key] or draw(st.booleans()):
                break
            place = place[key]
        place[key] = draw(ANYTHING)
    return row


def strings_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from strings_in(inner)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from strings_in(inner)


@given(damaged_rows() | ANYTHING)
def test_any_row_is_a_message_or_a_reject_without_its_words(row: Any) -> None:
    told = read_row(json.dumps(row).encode())
    if isinstance(told, Message):
        return
    shown = told.structure + told.reason
    assert not [
        word for word in strings_in(row) if len(word) >= 6 and set(word) <= set("qzQZ") and word in shown
    ]
    assert len(told.structure) <= MAX_CHARS
    json.loads(told.structure)


@given(st.lists(damaged_rows() | ANYTHING, max_size=4), ANYTHING)
def test_any_page_accounts_for_each_of_its_rows(rows: list[Any], meta: Any) -> None:
    page = decode(json.dumps({"data": rows, "meta": meta}).encode())
    assert len(page.messages) + len(page.rejects) == page.rows == len(rows)
    assert list(page.messages) == sorted(page.messages, key=lambda message: message.id)
    for message in page.messages:
        assert page.min_id is not None
        assert page.max_id is not None
        assert page.min_id <= message.id <= page.max_id


# Ends that are each other's, spelled otherwise or not told of; what rows have beside their text, or odd.
UIDS = st.sampled_from(["ann", "Ann", "bob", "hiking", ""])
FACES = st.none() | st.fixed_dictionaries(
    {"uid": UIDS},
    optional={
        "guid": UIDS,
        "name": st.sampled_from(["Ann", "", None, 5]),
        "role": st.sampled_from(["default", "", None]),
        "sessionid": st.sampled_from(["s", None]),
        "data": st.just({"entities": {"sender": a_user("bob", "Robert"), "receiver": a_group("hiking")}}),
    },
)
TOLD = st.none() | st.fixed_dictionaries({"entity": FACES, "entityType": st.just("user")})
SECONDS = st.sampled_from([1702028666, 1702028667, "1702028666", 0, -1, 2**60, None, 1702028666.0, True])
CHANGES: dict[tuple[str, ...], st.SearchStrategy[Any]] = {
    ("id",): st.sampled_from([7, "07", 0, "0", 2**63, "9" * 19, "9" * 20, "x", 7.0, None]),
    ("conversationId",): st.sampled_from(["", None, 5]),
    ("sender",): UIDS,
    ("receiver",): UIDS,
    ("receiverType",): st.sampled_from(["user", "group", "app", ""]),
    ("category",): st.sampled_from(["custom", "action", "call", ""]),
    ("type",): st.sampled_from(["image", ""]),
    ("sentAt",): SECONDS,
    ("updatedAt",): SECONDS,
    ("editedAt",): SECONDS,
    ("editedBy",): UIDS,
    ("deletedAt",): SECONDS,
    ("deletedBy",): UIDS,
    ("parentId",): st.sampled_from(["5", 0, "0", "", None, "x"]),
    ("tags",): st.sampled_from([[], None, ["a", 5], "x", {}]),
    ("data", "entities"): st.sampled_from([None, []]),
    ("data", "entities", "sender"): TOLD,
    ("data", "entities", "receiver"): TOLD,
    ("data", "entities", "on"): TOLD,
    ("data", "entities", "by"): TOLD,
    ("data", "entities", "for"): TOLD,
    ("data", "text"): st.sampled_from(["", None, "<@uid:Bob> <@all:all>", "a@b", 5]),
    ("data", "action"): st.sampled_from(["edited", "", None]),
    ("data", "url"): st.sampled_from(["https://x/a.png", "", None]),
    ("data", "attachments"): st.sampled_from(
        [[], {}, None, [{"name": "a.PNG", "size": "5"}], {"1": {}}, "x"]
    ),
    ("data", "mentions"): st.sampled_from([[], {}, None, {"Bob": {}}, [{"uid": "Zoe"}], [{}]]),
    ("data", "metadata"): st.sampled_from([[], {}, None, {"a": 1}, "x"]),
    ("data", "customData"): st.sampled_from([[], {}, None, {"b": [1]}]),
    ("data", "moderation"): st.sampled_from([[], {}, None, {"status": "approved"}, {"status": 5}]),
}


@st.composite
def rows_off_the_road(draw: st.DrawFn) -> Json:
    """A usual row with a few of its parts usual for another one, or odd."""
    base = a_row(group=True, receiver="hiking") if draw(st.booleans()) else a_row()
    for path in draw(st.lists(st.sampled_from(list(CHANGES)), max_size=4)):
        place: Any = base
        for step in path[:-1]:
            place = place[step] if isinstance(place, dict) else None
        if isinstance(place, dict):
            place[path[-1]] = draw(CHANGES[path])
    return base


GUID_OF_A_SENDER = a_user("ann", guid="hiking", role="odd")


@given(rows_off_the_road() | damaged_rows())
@example(
    a_row(
        {"entities": {"sender": GUID_OF_A_SENDER, "receiver": a_group("hiking")}},
        receiver="hiking",
        group=True,
    )
)
@example(a_row(updatedAt=1702028666.0))
def test_the_quick_road_makes_of_a_row_what_the_careful_one_makes_of_it(row: Any) -> None:
    page, told = decode(a_body(row)), read_row(json.dumps(row).encode())
    assert (*page.messages, *page.rejects) == (told,)


@pytest.mark.parametrize(
    "row",
    [
        a_row(),
        a_row(group=True, receiver="hiking"),
        a_row({"text": "<@uid:Bob> <@all:all>", "mentions": {"bob": {}}}, group=True, tags=["vip"]),
        a_row({"attachments": [{"name": "a.PNG"}], "moderation": {"status": "approved"}}, type="image"),
        a_row({"metadata": {"a": 1}, "customData": {"b": 2}}, category="custom", updatedAt=1702028999),
    ],
)
def test_the_quick_road_is_taken_by_usual_rows(row: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    told = read(row)
    monkeypatch.delattr("monitor.source.plain.read_message")
    assert decode(a_body(row)).messages == (told,)


@given(st.binary(max_size=200))
@example(b'{"data":[{"id":"1","data":{"text":"\\ud800"}}]}')
def test_any_bytes_are_a_page_or_undecodable(body: bytes) -> None:
    try:
        page = decode(body)
    except Undecodable:
        return
    assert len(page.messages) + len(page.rejects) == page.rows


@given(st.data())
def test_a_page_cut_or_damaged_anywhere_is_a_page_or_undecodable(data: st.DataObject) -> None:
    whole = a_body(a_row(), a_call("busy"), a_row({"text": "\ud800"}))
    at = data.draw(st.integers(0, len(whole)))
    damaged = whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + data.draw(st.integers(0, 9)) :]
    try:
        page = decode(damaged)
    except Undecodable:
        return
    assert len(page.messages) + len(page.rejects) == page.rows


@given(ANYTHING)
def test_a_structure_is_json_and_bounded(value: Any) -> None:
    assert len(structure(value)) <= MAX_CHARS
    json.loads(structure(value))


def test_a_wide_structure_loses_its_depths_first() -> None:
    wide = {name: {inner: [{"x": 1}] * 9 for inner in FIELD_NAMES.split()} for name in FIELD_NAMES.split()}
    assert len(structure(wide)) <= MAX_CHARS
    assert json.loads(structure(wide))["sender"] == f"object({len(wide)})"
