"""Fields as tables: what each says of a message, which keys that makes, who could carry the next row."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.fields import (
    BY,
    FIELDS,
    MAX_KEYS,
    Correlation,
    FieldName,
    carriers,
    field,
    is_field,
    key_of,
    reader,
    words_of,
)
from rules.model import Attachment, Message, MessageId, Party, UserId, WatchSet, digest
from rules.spec import SpecError
from tests.rules.builders import WATCH_BOB, a_call, a_message, in_group, rules_of

PHOTO = Attachment(name="A.JPG", extension="JPG", mime_type="image/jpeg; q=1")
NAMELESS = Attachment(name="b")

SAID: list[tuple[str, Message, list[str]]] = [
    ("sender", a_message(sender=Party(id="Ann")), ["ann"]),
    ("receiver", a_message(), ["bob"]),
    ("conversation", a_message(), ["ann_user_bob"]),
    ("watched", a_message(mentions=("eve", "bob")), ["ann", "bob", "eve"]),
    ("mentioned", a_message(mentions=("eve",)), ["eve"]),
    ("mentioned", a_message(), []),
    ("caller", a_call("busy"), ["ann"]),
    ("callee", a_call("busy"), ["bob"]),
    ("caller", a_message(), []),
    ("callee", a_message(), []),
    ("category", a_message(), ["message"]),
    ("type", a_message(type="groupMember"), ["groupMember"]),
    ("action", a_message(action="kicked"), ["kicked"]),
    ("action", a_message(), []),
    ("role", a_message(), ["agent"]),
    ("role", a_message(sender=Party(id="x")), []),
    ("tag", a_message(tags=("VIP", "vip", "late")), ["vip", "late"]),
    ("extension", a_message(attachments=(PHOTO, NAMELESS, PHOTO)), ["jpg"]),
    ("mime", a_message(attachments=(PHOTO, NAMELESS)), ["image/jpeg"]),
    ("thread", a_message(id=MessageId(7)), ["7"]),
    ("thread", a_message(id=MessageId(7), parent_id=MessageId(5)), ["5"]),
    ("text", a_message(text="hello"), [digest("hello")]),
    ("text", a_message(), []),
    ("metadata.order.vip", a_message(metadata={"order": {"vip": True}}), ["true"]),
    ("metadata.order.vip", a_message(metadata={"order": {"vip": False}}), ["false"]),
    ("metadata.order", a_message(metadata={"order": {"vip": True}}), []),
    ("metadata.order", a_message(metadata={"order": None}), []),
    ("metadata.order", a_message(), []),
    ("metadata.ids", a_message(metadata={"ids": [1, "b", 1, {}]}), ["1", "b"]),
    ("custom.n", a_message(custom={"n": 2.5}), ["2.5"]),
]


@pytest.mark.parametrize(("name", "message", "values"), SAID)
def test_what_a_field_says(name: str, message: Message, values: list[str]) -> None:
    assert list(field(name)(message)) == values


def test_a_long_or_broken_value_is_compared_by_its_digest() -> None:
    look = field("metadata.a")
    assert look(a_message(metadata={"a": "x" * 100})) == ("x" * 100,)
    assert look(a_message(metadata={"a": "x" * 101})) == (digest("x" * 101),)
    assert look(a_message(metadata={"a": "\ud800"})) == (digest("\ud800"),)
    assert look(a_message(metadata={"a": "Zoë"})) == ("Zoë",)


def test_the_text_is_never_a_value() -> None:
    message = a_message(text="my secret is 1234")
    assert not [name for name in FIELDS for value in field(name)(message) if "secret" in value]


@pytest.mark.parametrize("name", ["", "nobody", "metadata", "metadata.", "custom.a..b", "sender.id"])
def test_other_names_are_no_fields(name: str) -> None:
    assert not is_field(name)
    if not name.startswith("custom"):
        with pytest.raises(KeyError):
            field(name)


def test_keys_are_all_combinations_and_none_without_a_value() -> None:
    read = reader(["sender", "mentioned"])
    assert [one.values for one in read(a_message(mentions=("x", "y")))] == [("ann", "x"), ("ann", "y")]
    assert list(read(a_message())) == []
    assert list(reader([])(a_message())) == [Correlation("all", ())]
    assert list(reader(["sender"])(a_message())) == [Correlation("ann", ("ann",))]


def test_a_message_has_no_more_keys_than_a_message_may() -> None:
    crowd = a_message(mentions=tuple(f"u{number}" for number in range(300)), tags=("a", "b"))
    assert len(reader(["mentioned"])(crowd)) == MAX_KEYS
    assert len(reader(["mentioned", "tag"])(crowd)) == MAX_KEYS


@given(
    st.lists(st.lists(st.text("a %|@é2", min_size=1, max_size=4), min_size=2, max_size=2), max_size=8),
    st.lists(st.text(min_size=1), max_size=8),
)
def test_different_values_have_different_keys(pairs: list[list[str]], singles: list[str]) -> None:
    for values in ([tuple(pair) for pair in pairs], [(value,) for value in singles]):
        for a, b in combinations(set(values), 2):
            assert key_of(a) != key_of(b)
        assert not any(key_of(one).startswith("@") for one in values)


WATCH_ANN_AND_BOB: WatchSet = {UserId("ann"): {}, UserId("bob"): {}}
Known = tuple[list[str], list[str], Message, WatchSet]
CARRIED: list[tuple[Known, tuple[str, ...], bool]] = [
    ((["conversation"], ["ann_user_bob"], a_message(), WATCH_ANN_AND_BOB), ("ann", "bob"), False),
    ((["conversation"], ["ann_user_bob"], a_message(), WATCH_BOB), ("bob",), False),
    ((["conversation"], ["ann_user_bob"], a_message(), {}), (), True),
    ((["conversation"], ["group_team"], in_group(), WATCH_BOB), ("@group:team",), False),
    ((["thread"], ["1"], in_group(), WATCH_BOB), ("@group:team",), False),
    ((["receiver"], ["team"], in_group(), WATCH_BOB), ("@group:team",), False),
    ((["receiver"], ["bob"], a_message(), WATCH_BOB), ("bob",), False),
    ((["receiver"], ["bob"], a_message(), {}), (), True),
    ((["sender"], ["ann"], a_message(), WATCH_BOB), (), True),
    ((["sender"], ["ann"], a_message(), WATCH_ANN_AND_BOB), ("ann",), False),
    ((["watched"], ["bob"], a_message(), WATCH_BOB), ("bob",), False),
    ((["watched"], ["bob"], in_group(), WATCH_BOB), (), True),
    ((["type"], ["text"], a_message(), WATCH_BOB), (), True),
    (([], [], a_message(), WATCH_BOB), (), True),
]


@pytest.mark.parametrize(("known", "lists", "every"), CARRIED)
def test_who_could_carry_the_next_row(known: Known, lists: tuple[str, ...], every: bool) -> None:
    names, values, message, watch = known
    assert carriers(names, values, [message], watch) == (lists, every)


def test_what_also_happens_in_groups_may_come_anywhere() -> None:
    assert carriers(["watched"], ["bob"], [a_message()], WATCH_BOB, in_groups=True) == ((), True)
    assert carriers(["conversation"], ["x"], [a_message()], WATCH_BOB, in_groups=True) == (("bob",), False)


WRONG = [
    ("by: sendr", 'there is no field "sendr" (did you mean "sender"?)'),
    ("by: [sender, {a: b}]", "found a mapping"),
    ("by: [sender, sender]", '"sender" stands here twice'),
    ("by: [sender, receiver, type, action, role]", "found 5 fields"),
    ("by: metadata", 'there is no field "metadata": say where in it'),
]


@pytest.mark.parametrize(("by", "problem"), WRONG)
def test_what_is_wrong_with_by_is_said_with_its_place(by: str, problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        rules_of(f"rules:\n  - name: a\n    kind: count\n    at_least: 3\n    within: 1m\n    {by}\n")
    (first, *_) = caught.value.problems
    assert problem in first.message
    assert (first.place.line, first.place.column and first.place.column >= 9) == (6, True)


def test_the_schema_names_every_field() -> None:
    one, several = BY.shape.schema()["anyOf"]
    assert several["items"] == one == FieldName().schema()
    assert one["anyOf"][0]["enum"] == list(FIELDS)


def test_words_for_a_key() -> None:
    assert words_of(["sender", "type"], ["ann", "text"]) == "sender ann, type text"
    assert words_of(["text"], [digest("x")]) == "the same text"
    assert words_of([], []) == ""
