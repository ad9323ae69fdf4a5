"""Ways to rules at their limits: which keys lead to a condition, and what a message is looked up by."""

from __future__ import annotations

from typing import Any

import pytest

from rules import conditions as c
from rules.access import MANY, ONE, Pieces, interest_of, keys, looking
from rules.conditions import Condition, Interest, Key
from rules.index import FEW, Index
from rules.model import Attachment, Message, Party
from tests.rules.builders import a_call, a_message, in_group


def some(*found: tuple[str, Any]) -> frozenset[Key]:
    return frozenset(Key(aspect, value) for aspect, value in found)


WORDS = c.TextMatch(words=("refund",))
TAG = c.Tags(values=("VIP",))


@pytest.mark.parametrize(
    ("condition", "ways"),
    [
        (c.Field(name="sender", values=("Ann", "vip-*")), some(("sender", "ann"), ("sender^", "vip-"))),
        (c.Field(name="sender", values=("a*b*", "c?")), some(("sender^", "a"), ("sender^", "c"))),
        (c.Field(name="sender", values=("ann", "*")), None),
        (c.Field(name="action", values=("Kicked",)), some(("action", "Kicked"))),
        (TAG, some(("tag", "vip"))),
        (c.Tags(values=("a", "b*")), None),
        (c.Mentions(users=("Zoe",)), some(("mentioned", "zoe"))),
        (c.Mentions(users=("zoe", "v*")), some(("mentions", True))),
        (c.Mentions(who=("all",), users=("zoe",)), some(("mentions", True))),
        (WORDS, some(("piece", "refund"))),
        (c.TextMatch(words=("a charge back",), contains=("x",)), some(("piece", "charge"), ("piece", "x"))),
        (c.TextMatch(words=("a",), patterns=("b",)), some(("text", True))),
        (c.TextMatch(words=("a", " ")), some(("text", True))),
        (c.Metadata(where="custom", path=("a", "b")), some(("custom", "a"))),
        (c.Metadata(where="custom", path=("a",), equals=(1,), exists=False), some(("custom", "a"))),
        (c.Metadata(where="custom", path=("a",), exists=False), None),
        (c.Attachments(), some(("attachments", True))),
        (c.Attachments(wanted=False), None),
        (c.Attachments(wanted=False, min_size=1), some(("attachments", True))),
        (c.Attachments(extensions=("pdf",)), some(("extension", "pdf"))),
        (c.Attachments(extensions=("pdf", "p*")), some(("attachments", True))),
        (c.Flag(name="edited", wanted=True), some(("edited", True))),
        (c.Flag(name="edited", wanted=False), None),
        (c.Direction(way="inbound"), None),
        (c.Not(condition=TAG), None),
        (c.AnyOf(conditions=(TAG, WORDS)), some(("tag", "vip"), ("piece", "refund"))),
        (c.AnyOf(conditions=(TAG, c.Direction(way="inbound"))), None),
        (c.AllOf(conditions=(c.Direction(way="inbound"),)), None),
    ],
)
def test_the_keys_of_which_a_message_has_one(condition: Condition, ways: frozenset[Key] | None) -> None:
    assert keys(condition) == ways


RANKED: list[Condition] = [
    c.Tags(values=("a",)),  # few messages have it
    c.Metadata(where="metadata", path=("a",)),  # few, but it must be searched for
    c.Flag(name="thread_reply", wanted=True),  # some have it
    c.Field(name="receiver_type", values=("group",)),  # half of all
]


@pytest.mark.parametrize("place", range(len(RANKED) - 1))
def test_the_way_that_fewest_messages_take_is_taken(place: int) -> None:
    rarer, broader = RANKED[place], RANKED[place + 1]
    for both in ((rarer, broader), (broader, rarer)):
        assert keys(c.AllOf(conditions=both)) == keys(rarer)


@pytest.mark.parametrize("searched", ["metadata", "custom"])
def test_a_search_goes_before_a_key_that_many_have(searched: str) -> None:
    tree, action = c.Metadata(where=searched, path=("a",)), c.Field(name="action", values=("a",))
    assert keys(c.AllOf(conditions=(action, tree))) == keys(tree)


def test_of_two_ways_of_one_rank_that_with_fewer_keys_is_taken() -> None:
    two, one = c.Tags(values=("a", "b")), c.Mentions(users=("zoe",))
    assert keys(c.AllOf(conditions=(two, one))) == keys(one)


@pytest.mark.parametrize("aspect", ["tag", "mentioned", "extension", "sender", "receiver", "conversation"])
def test_a_narrow_key_goes_before_a_search(aspect: str) -> None:
    narrow: dict[str, Condition] = {
        "tag": TAG,
        "mentioned": c.Mentions(users=("zoe", "ann")),
        "extension": c.Attachments(extensions=("pdf", "exe")),
    }
    condition = narrow.get(aspect, c.Field(name=aspect, values=("a", "b")))
    found = keys(c.AllOf(conditions=(WORDS, c.Metadata(where="custom", path=("a",)), condition)))
    assert found is not None
    assert {key.aspect for key in found} == {aspect}


@pytest.mark.parametrize("broad", ["text", "category", "type"])
def test_a_key_that_most_messages_have_is_the_last_to_be_taken(broad: str) -> None:
    wide: Condition = (
        c.TextMatch(patterns=("a",)) if broad == "text" else c.Field(name=broad, values=("text*", "a"))
    )
    narrow = c.Field(name="action", values=("a", "b", "c", "d"))
    assert keys(c.AllOf(conditions=(wide, narrow))) == keys(narrow)


# --- what a message is looked up by -----------------------------------------------------------------

LOUD = a_message(sender=Party(id="ANN"), receiver=Party(id="BOB"), conversation_id="ANN_user_BOB")


@pytest.mark.parametrize(
    ("aspect", "message", "value"),
    [
        ("sender", LOUD, "ann"),
        ("receiver", LOUD, "bob"),
        ("conversation", LOUD, "ann_user_bob"),
        ("caller", a_call("busy", caller=Party(id="ANN")), "ann"),
        ("callee", a_message(), ""),
        ("role", a_message(sender=Party(id="ann", role="AGENT")), "agent"),
        ("type", a_message(type="TEXT"), "TEXT"),
        ("action", a_message(), None),
        ("mentions", a_message(), False),
        ("mentions", a_message(mentions=("zoe",)), True),
        ("mentions", in_group(mentions_all=True), True),
        ("attachments", a_message(), False),
        ("text", a_message(text=""), False),
        ("text", a_message(text="a"), True),
        ("thread_reply", a_message(parent_id=1), True),
    ],
)
def test_one_value_of_an_aspect(aspect: str, message: Message, value: object) -> None:
    assert ONE[aspect](message) == value


def test_several_values_of_an_aspect() -> None:
    files = (Attachment(extension="PDF"), Attachment())
    message = a_message(tags=("VIP", "b"), attachments=files, mentions=("zoe",), custom={"a": 1})
    assert list(MANY["tag"](message)) == ["vip", "b"]
    assert set(MANY["extension"](message)) == {"pdf", ""}
    assert set(MANY["mentioned"](message)) == {"zoe"}
    assert set(MANY["custom"](message)) == {"a"}
    assert not list(MANY["tag"](a_message()))


def test_starts_are_looked_up_in_the_case_that_counts() -> None:
    by_sender, by_type = looking("sender^", ["vip-", "a"]), looking("type^", ["ext", "x"])
    assert set(by_sender(a_message(sender=Party(id="VIP-1")))) == {"v", "vip-"}
    assert set(by_type(a_message(type="EXTension"))) == {"E", "EXT"}
    assert set(looking("caller^", ["a"])(a_message())) == {""}


def test_no_word_is_found_in_no_text() -> None:
    look = looking("piece", ["refund"])
    assert list(look(a_message())) == []
    assert list(look(a_message(text="a REFUND"))) == ["refund"]
    assert Pieces(["refund"]).found(b"") == []


# --- the index --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "asks_words"), [(FEW - 1, False), (FEW, True)])
def test_few_rules_about_words_are_not_worth_a_search_for_all_words(number: int, asks_words: bool) -> None:
    index = Index([(interest_of(WORDS), place) for place in range(number)])
    unrelated = index.at(a_message(text="nothing of the kind"))
    assert list(unrelated) == ([] if asks_words else list(range(number)))
    assert list(index.at(a_message(text="a refund"))) == list(range(number))
    assert list(index.at(a_message())) == []


def test_entries_come_in_their_order_and_once() -> None:
    tags = c.Tags(values=("a", "b"))
    index = Index(
        [
            (interest_of(tags), "tags"),
            (Interest(), "always"),
            (interest_of(c.Field(name="sender", values=("ann",))), "ann"),
            (interest_of(c.Field(name="type", values=("image",))), "image"),
        ]
    )
    assert list(index.at(a_message(tags=("a", "b")))) == ["tags", "always", "ann"]
    assert list(index.at(a_message(sender=Party(id="zoe")))) == ["always"]
    assert list(index.at(a_message(type="image", sender=Party(id="zoe")))) == ["always", "image"]


def test_a_type_counts_within_its_category() -> None:
    calls = c.AllOf(
        conditions=(c.Field(name="category", values=("call",)), c.Field(name="type", values=("audio",)))
    )
    index = Index(
        [(interest_of(calls), "calls"), (interest_of(c.Field(name="type", values=("audio",))), "audio")]
    )
    assert list(index.at(a_call("busy"))) == ["calls", "audio"]
    assert list(index.at(a_call("busy", kind="video"))) == []
    assert list(index.at(a_message(type="audio"))) == ["audio"]
    assert list(index.at(a_message())) == []
