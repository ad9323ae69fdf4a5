"""Fields at their limits: how many values count, what makes a key, who could carry the next row, mistakes."""

from __future__ import annotations

import pytest
import yaml
from msgspec.structs import replace

from rules.fields import (
    BY,
    MAX_KEYS,
    MAX_VALUE,
    FieldName,
    FieldNames,
    carriers,
    field,
    is_field,
    key_of,
    reader,
    words_of,
)
from rules.grammar import MAX_LIST
from rules.model import Attachment, MessageId, Party, UserId, WatchSet, correlation_key, digest
from tests.rules.builders import ANN, TEAM, a_call, a_message, in_group
from tests.rules.test_grammar_edges import read

BOTH: WatchSet = {UserId("ann"): {}, UserId("bob"): {}}


@pytest.mark.parametrize(
    ("mime", "values"),
    [
        ("image/png", ("image/png",)),
        (" Image/PNG ; q=1;x=2", ("image/png",)),
        ("; q=1", ()),
        ("", ()),
        (None, ()),
    ],
)
def test_a_file_type_is_read_without_its_parameters(mime: str | None, values: tuple[str, ...]) -> None:
    assert field("mime")(a_message(attachments=(Attachment(mime_type=mime),))) == values


@pytest.mark.parametrize(
    ("value", "values"),
    [
        (0, ("0",)),
        (1.5, ("1.5",)),
        ("", ()),
        (True, ("true",)),
        (None, ()),
        ({}, ()),
        ([], ()),
        ([True, False, None, 0], ("true", "false", "0")),
        ((1, 2), ("1", "2")),
        ([[1]], ()),
    ],
)
def test_metadata_is_compared_as_text(value: object, values: tuple[str, ...]) -> None:
    assert field("metadata.a.b")(a_message(metadata={"a": {"b": value}})) == values
    assert field("custom.a.b")(a_message(custom={"a": {"b": value}})) == values
    assert field("custom.a.b")(a_message(metadata={"a": {"b": value}})) == ()


def test_of_a_long_list_only_so_many_values_count() -> None:
    found = field("metadata.a")(a_message(metadata={"a": list(range(MAX_LIST + 5))}))
    assert found == tuple(str(number) for number in range(MAX_LIST))


@pytest.mark.parametrize(
    "name", ["sender", "receiver", "conversation", "role", "watched", "mentioned", "tag"]
)
def test_ids_are_compared_in_lower_case(name: str) -> None:
    message = a_message(
        sender=Party(id="ANN", role="ANN"),
        receiver=Party(id="ANN"),
        conversation_id="ANN",
        mentions=("ANN",),
        tags=("ANN",),
    )
    assert tuple(field(name)(message)) == ("ann",)


@pytest.mark.parametrize("name", ["caller", "callee"])
def test_ids_of_calls_are_compared_in_lower_case(name: str) -> None:
    loud = Party(id="ZOE")
    assert field(name)(a_call("busy", caller=loud, callee=loud)) == ("zoe",)


@pytest.mark.parametrize("name", ["category", "type", "action"])
def test_other_words_are_compared_as_they_are(name: str) -> None:
    message = a_message(category="Aa", type="Aa", action="Aa")
    assert field(name)(message) == ("Aa",)


# --- keys -------------------------------------------------------------------------------------------


def test_a_single_value_is_a_key_as_it_is_and_several_are_told_apart() -> None:
    assert key_of(("a b%",)) == correlation_key("a b%")
    assert key_of(("a b", "c")) == correlation_key("a%20b c")
    assert key_of(("a%20b", "c")) == correlation_key("a%2520b c")
    assert key_of(("a", "b c")) == correlation_key("a b%20c")
    assert key_of(()) == key_of(("all",)) == "all"
    assert key_of(("@pace",)) == digest("@pace")
    assert key_of(("@a", "b")) == digest("@a b")


def test_of_each_field_and_of_all_together_so_many_values_make_keys() -> None:
    crowd = tuple(f"u{number}" for number in range(MAX_KEYS + 1))
    one = reader(["mentioned"])(a_message(mentions=crowd))
    assert [key.values for key in one] == [(uid,) for uid in crowd[:MAX_KEYS]]
    two = reader(["mentioned", "tag"])(a_message(mentions=crowd[:20], tags=crowd[:6]))
    assert len(two) == MAX_KEYS
    assert two[0].values == ("u0", "u0")
    assert two[-1].values == ("u16", "u3")
    few = reader(["mentioned", "tag"])(a_message(mentions=crowd[:2], tags=crowd[:2]))
    assert [key.values for key in few] == [("u0", "u0"), ("u0", "u1"), ("u1", "u0"), ("u1", "u1")]
    assert [key.key for key in few] == ["u0 u0", "u0 u1", "u1 u0", "u1 u1"]


# --- carriers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "values", "lists"),
    [
        (["sender", "receiver"], ["ann", "bob"], (("ann",), False)),
        (["type", "receiver"], ["text", "bob"], (("bob",), False)),
        (["mentioned"], ["bob"], (("bob",), False)),
        (["caller"], ["ann"], (("ann",), False)),
        (["callee"], ["bob"], (("bob",), False)),
        (["callee"], ["zoe"], ((), True)),
        (["role"], ["ann"], ((), True)),  # a role that is spelled as somebody's id
        (["tag"], ["bob"], ((), True)),
    ],
)
def test_the_next_row_of_a_person_comes_in_the_persons_list(
    names: list[str], values: list[str], lists: tuple[tuple[str, ...], bool]
) -> None:
    assert carriers(names, values, [a_message()], BOTH) == lists


def test_one_row_in_a_group_among_others_means_that_the_next_may_come_anywhere() -> None:
    later = a_message(id=MessageId(2))
    assert carriers(["sender"], ["ann"], [a_message(), later], BOTH) == (("ann",), False)
    assert carriers(["sender"], ["ann"], [in_group(), later], BOTH) == ((), True)


def test_a_group_of_the_name_of_a_user_is_no_user() -> None:
    other = replace(in_group(), receiver=ANN)
    assert carriers(["receiver"], ["team"], [other], {UserId("team"): {}}) == ((), True)
    user = a_message(receiver=TEAM)
    assert carriers(["receiver"], ["team"], [user], {UserId("team"): {}}) == (("team",), False)


# --- how they are written ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("metadata." + "a" * (2 * MAX_VALUE - 9), True),
        ("metadata." + "a" * (2 * MAX_VALUE - 8), False),
        ("custom.a.b.c", True),
        ("custom.a.", False),
        ("custom..a", False),
        ("other.a", False),
        ("sender.role", False),
        ("text", True),
    ],
)
def test_what_is_a_field(name: str, is_one: bool) -> None:
    assert is_field(name) is is_one


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[]", ()),
        ("sender", ("sender",)),
        ("[sender]", ("sender",)),
        ("[sender, type, role, tag]", ("sender", "type", "role", "tag")),
        ("[metadata.a, custom.a]", ("metadata.a", "custom.a")),
    ],
)
def test_fields_are_one_or_a_list(text: str, names: tuple[str, ...]) -> None:
    assert read(FieldNames(), text) == (names, [])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[sender, type, role, tag, mime]", ["x.yaml:1:1: found 5 fields; expected at most 4"]),
        ("[sender, type, sender]", ['x.yaml:1:16: "sender" stands here twice']),
        (
            "[sendr, sendr]",
            ['x.yaml:1:2: there is no field "sendr"', 'x.yaml:1:9: there is no field "sendr"'],
        ),
        ("{sender: type}", ["x.yaml:1:1: found a mapping"]),
        ("[[sender]]", ["x.yaml:1:2: found a list"]),
    ],
)
def test_each_wrong_field_is_told_once_at_its_place(text: str, told: list[str]) -> None:
    _, problems = read(FieldNames(), text)
    assert [problem[: len(start)] for problem, start in zip(problems, told, strict=True)] == told


def test_a_mistake_has_an_example_of_what_is_right() -> None:
    for text in ("{}", "sendr"):
        value, (problem,) = read(FieldName(), text)
        assert value is None
        assert "expected a field: sender, receiver, conversation" in problem
        assert problem.endswith("; for example sender")


def test_the_schema_of_fields() -> None:
    one = {
        "anyOf": [one_of_names(), {"type": "string", "pattern": r"^(?:metadata|custom)\.[^.]+(?:\.[^.]+)*$"}]
    }
    assert FieldName().schema() == one
    assert BY.shape.schema() == {
        "anyOf": [one, {"type": "array", "items": one, "maxItems": 4, "uniqueItems": True}]
    }
    assert yaml.safe_load(str(BY.example)) == {"by": ["sender", "receiver"]}


def one_of_names() -> dict[str, list[str]]:
    return {
        "enum": [
            *("sender", "receiver", "conversation", "watched", "mentioned", "caller", "callee", "category"),
            *("type", "action", "role", "tag", "extension", "mime", "thread", "text"),
        ]
    }


def test_words_leave_out_what_nobody_can_read() -> None:
    assert words_of(["sender", "text"], ["ann", digest("x")]) == "sender ann, the same text"
    assert words_of(["metadata.order_id"], ["7"]) == "metadata.order id 7"
