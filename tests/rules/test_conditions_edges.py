"""Conditions at their limits: what they say, where they end, and what they take for the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from rules import conditions as c
from rules.conditions import ANYTHING, Condition, Interest, beyond_interest, dig, either_interest, every
from rules.model import Attachment, Message, Party, UserId, WatchSet
from tests.rules.builders import ANN, BOB, a_call, a_message, in_group

WATCH: WatchSet = {UserId("ann"): {}, UserId("bob"): {}}
TEXT = c.Field(name="type", values=("text",))
IMAGE = c.Field(name="type", values=("image",))
BY_ANN = c.Field(name="sender", values=("ann",))


def holds(condition: Condition, message: Message, watch: WatchSet = WATCH) -> bool:
    return condition.compile()(message, watch)


# --- in words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (c.Field(name="receiver_type", values=("user", "group")), "receiver type user or group"),
        (c.Tags(values=("a", "b")), "tag a or b"),
        (c.Flag(name="edited", wanted=True), "an edit"),
        (c.Flag(name="edited", wanted=False), "no edit"),
        (c.Flag(name="deleted", wanted=True), "a deletion"),
        (c.Flag(name="thread_reply", wanted=False), "no thread it replies in"),
        (c.Direction(way="inbound"), "a watched receiver"),
        (c.Direction(way="outbound"), "a watched sender"),
        (
            c.Mentions(who=("watched", "all"), users=("zoe",)),
            "a mention of a watched user or everyone (@all) or zoe",
        ),
        (
            c.TextMatch(words=("a",), contains=("b",), patterns=("c+",)),
            'the word "a" or "b" in the text or text like /c+/',
        ),
        (c.Metadata(where="custom", path=("a", "b"), equals=(1, "x")), "custom a.b equal to 1 or x"),
        (c.Metadata(where="metadata", path=("a",)), "metadata a"),
        (c.Metadata(where="metadata", path=("a",), exists=False), "no metadata a"),
        (c.Attachments(), "an attachment"),
        (c.Attachments(wanted=False), "no attachment"),
        (
            c.Attachments(types=("image", "video"), extensions=("png",), min_size=0, max_size=9),
            "an attachment (image or video, png, at least 0 bytes, at most 9 bytes)",
        ),
        (c.Not(condition=c.AnyOf(conditions=(TEXT, IMAGE))), "not (type text or type image)"),
        (c.Not(condition=c.AllOf(conditions=(TEXT,))), "not type text"),
        (c.AllOf(conditions=()), "anything"),
    ],
)
def test_a_condition_in_words(condition: Condition, said: str) -> None:
    assert condition.describe() == said


# --- where things end -------------------------------------------------------------------------------


def test_a_text_is_looked_at_up_to_its_limit() -> None:
    word = c.TextMatch(words=("refund",))
    filler = "x " * ((c.TEXT_LIMIT - 6) // 2)
    assert holds(word, a_message(text=filler + "refund"))
    assert not holds(word, a_message(text=filler + "  refund"))


def test_parts_of_a_text_are_no_words_of_it() -> None:
    between = a_message(text="two  gaps -- and signs")
    assert not holds(c.TextMatch(contains=("zzz",)), between)
    assert not holds(c.TextMatch(words=("gap",)), between)
    assert holds(c.TextMatch(words=("zzz",), contains=("gap",)), between)
    assert holds(c.TextMatch(words=("gaps",), contains=("zzz",)), between)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (("lines", "0"), 7),
        (("lines", "1"), 8),
        (("lines", "2"), c.ABSENT),
        (("lines", "-1"), c.ABSENT),
        (("lines", "x"), c.ABSENT),
        (("lines", "9" * 5_000), c.ABSENT),  # Python refuses to read a number of so many digits
        (("0",), "a key that looks like a number"),
        (("word", "0"), c.ABSENT),  # a text is no list of letters
        (("nothing",), c.ABSENT),
        ((), {"lines": [7, 8], "0": "a key that looks like a number", "word": "ab"}),
    ],
)
def test_a_path_leads_to_one_place_or_nowhere(path: tuple[str, ...], found: object) -> None:
    tree = {"lines": [7, 8], "0": "a key that looks like a number", "word": "ab"}
    assert dig(tree, path) == found


@pytest.mark.parametrize(
    ("stands", "asked", "is_equal"),
    [
        (True, True, True), (1, 1, True), (1.0, 1, True), ("1", "1", True), (None, None, True),
        (True, 1, False), (1, True, False), (1, "1", False), ("true", True, False), (None, "", False),
        (0, False, False), ([], None, False), ({}, None, False),
    ],
)  # fmt: skip
def test_values_of_two_json_types_are_never_equal(stands: Any, asked: Any, is_equal: bool) -> None:
    condition = c.Metadata(where="metadata", path=("a",), equals=(asked,))
    assert holds(condition, a_message(metadata={"a": stands})) is is_equal


def test_what_is_not_there_equals_nothing() -> None:
    assert not holds(c.Metadata(where="metadata", path=("a",), equals=(None,)), a_message())


@pytest.mark.parametrize(
    ("size", "condition", "is_met"),
    [
        (10, c.Attachments(min_size=10), True),
        (9, c.Attachments(min_size=10), False),
        (10, c.Attachments(max_size=10), True),
        (11, c.Attachments(max_size=10), False),
        (0, c.Attachments(max_size=10), True),
        (None, c.Attachments(max_size=10), False),
        (None, c.Attachments(min_size=0), False),
        (0, c.Attachments(min_size=0), True),
    ],
)
def test_sizes_count_their_limits_in(size: int | None, condition: Condition, is_met: bool) -> None:
    assert holds(condition, a_message(attachments=(Attachment(size=size),))) is is_met


@pytest.mark.parametrize(
    ("told", "kind", "found"),
    [
        ("image/png", "text", "image"),
        ("VIDEO /mp4; codecs=x", "text", "video"),
        ("application/pdf", "image", "file"),  # what the file says of itself counts
        ("", "audio", "audio"),
        (None, "image", "image"),
        (None, "text", "file"),
        (None, "file", "file"),
    ],
)
def test_the_kind_of_a_file(told: str | None, kind: str, found: str) -> None:
    assert c.file_type(Attachment(mime_type=told), a_message(type=kind)) == found


@pytest.mark.parametrize(
    "condition", [c.Attachments(extensions=("pdf", "e*")), c.Attachments(mime_types=("image/*",))]
)
def test_a_file_that_does_not_tell_meets_no_condition_on_it(condition: Condition) -> None:
    assert not holds(condition, a_message(attachments=(Attachment(),)))


def test_a_mime_type_is_compared_without_its_parameters() -> None:
    png = a_message(attachments=(Attachment(mime_type=" Image/PNG ; charset=binary"),))
    assert holds(c.Attachments(mime_types=("image/png",)), png)


# --- who --------------------------------------------------------------------------------------------


def test_uids_of_a_message_are_compared_in_lower_case() -> None:
    loud = a_message(sender=Party(id="ANN"), receiver=Party(id="BOB"))
    for_bob: WatchSet = {UserId("bob"): {}}
    for_ann: WatchSet = {UserId("ann"): {}}
    assert holds(c.Direction(way="inbound"), loud, for_bob)
    assert holds(c.Direction(way="outbound"), loud, for_ann)
    assert not holds(c.Direction(way="inbound"), in_group(sender=Party(id="ANN")), for_ann)


def test_nobody_writes_to_themselves() -> None:
    assert not holds(c.Direction(way="inbound"), a_message(receiver=ANN))


def test_values_that_are_no_ids_keep_their_case() -> None:
    assert not holds(c.Field(name="type", values=("TEXT",)), a_message())
    assert not holds(c.Field(name="type", values=("T*",)), a_message())
    assert holds(c.Field(name="sender", values=("A*",)), a_message())
    assert holds(c.Field(name="role", values=("AGENT",)), a_message())


@pytest.mark.parametrize("name", ["caller", "callee", "subject"])
def test_who_is_not_there_is_nobody(name: str) -> None:
    assert not holds(c.Field(name=name, values=("*",)), a_message())
    assert not holds(c.Field(name=name, values=("ann",)), a_message())


@pytest.mark.parametrize(("flag", "word"), [("edited", "edited"), ("deleted", "deleted")])
def test_only_an_action_row_tells_of_what_was_done_to_another(flag: str, word: str) -> None:
    condition = c.Flag(name=flag, wanted=True)
    assert holds(condition, a_message(category="action", action=word))
    assert not holds(condition, a_message(category="custom", action=word))
    assert not holds(condition, a_message(category="action", action="joined"))


# --- several ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(7))
def test_all_of_any_number_of_tests(number: int) -> None:
    asked: list[int] = []

    def test(place: int, answer: bool) -> c.Test:
        def ask(_message: Message, _watch: WatchSet) -> bool:
            asked.append(place)
            return answer

        return ask

    assert every([test(place, answer=True) for place in range(number)])(a_message(), WATCH)
    assert asked == list(range(number))
    for wrong in range(number):
        asked.clear()
        tests = [test(place, answer=place != wrong) for place in range(number)]
        assert not every(tests)(a_message(), WATCH)
        assert asked == list(range(wrong + 1))


def test_a_value_may_be_named_or_be_like_a_pattern() -> None:
    condition = c.Field(name="sender", values=("ann", "b*"))
    assert [holds(condition, a_message(sender=Party(id=uid))) for uid in ("ann", "bob", "zoe")] == [
        True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(1, 5))
def test_any_of_any_number_of_tests(number: int) -> None:
    def test(answer: bool) -> c.Test:
        return lambda _message, _watch: answer

    assert not c.either([test(answer=False)] * number)(a_message(), WATCH)
    for right in range(number):
        assert c.either([test(place == right) for place in range(number)])(a_message(), WATCH)


def test_what_costs_little_is_asked_first() -> None:
    costly = [c.TextMatch(words=("a",)), c.Metadata(where="metadata", path=("a",))]
    middling = [c.Not(condition=TEXT), c.AllOf(conditions=(TEXT,)), c.AnyOf(conditions=(TEXT,))]
    cheap = [c.Tags(values=("a",)), c.Attachments(), c.Mentions(who=("all",)), c.Direction(way="inbound")]
    ranks = [{c.cost(one) for one in group} for group in ([TEXT], cheap, middling, costly)]
    assert ranks == [{0}, {1}, {2}, {3}]


# --- which messages could be meant ------------------------------------------------------------------


def interested(categories: Sequence[str] | None = None, types: Sequence[str] | None = None) -> Interest:
    def known(words: Sequence[str] | None) -> frozenset[str] | None:
        return None if words is None else frozenset(words)

    return Interest(categories=known(categories), types=known(types))


CALLS = c.Field(name="category", values=("call",))
CUSTOM = c.Field(name="category", values=("custom", "call"))


@pytest.mark.parametrize(
    ("condition", "interest"),
    [
        (CALLS, interested(["call"])),
        (TEXT, interested(types=["text"])),
        (c.Field(name="caller", values=("ann",)), interested(["call"])),
        (c.Field(name="callee", values=("*",)), interested(["call"])),
        (c.Field(name="category", values=("ca*", "call")), ANYTHING),
        (c.Field(name="type", values=("text", "?")), ANYTHING),
        (BY_ANN, ANYTHING),
        (c.AllOf(conditions=(CALLS, CUSTOM, TEXT, BY_ANN)), interested(["call"], ["text"])),
        (c.AllOf(conditions=(TEXT, IMAGE)), interested(types=[])),
        (c.AllOf(conditions=(BY_ANN, CALLS)), interested(["call"])),
        (c.AnyOf(conditions=(CALLS, CUSTOM)), interested(["call", "custom"])),
        (c.AnyOf(conditions=(CALLS, BY_ANN)), ANYTHING),
        (c.AnyOf(conditions=(CALLS, TEXT)), ANYTHING),
        (c.Not(condition=CALLS), ANYTHING),
    ],
)
def test_the_categories_and_types_that_a_condition_could_hold_for(
    condition: Condition, interest: Interest
) -> None:
    assert condition.interest() == interest


def test_what_the_index_asked_is_not_asked_again() -> None:
    wild = c.Field(name="type", values=("te*", "image"))
    assert beyond_interest(c.AllOf(conditions=(CALLS, TEXT, BY_ANN))) == BY_ANN
    assert beyond_interest(TEXT) == c.AllOf(conditions=())
    assert beyond_interest(BY_ANN) == BY_ANN
    assert beyond_interest(c.AllOf(conditions=(wild, CALLS))) == wild
    assert beyond_interest(c.AllOf(conditions=(BY_ANN, wild, CALLS))) == c.AllOf(conditions=(BY_ANN, wild))


def test_several_interests_together_are_as_wide_as_the_widest() -> None:
    assert either_interest([interested(["call"], ["a"]), interested(["custom"], ["b"])]) == interested(
        ["call", "custom"], ["a", "b"]
    )
    assert either_interest([interested(["call"]), ANYTHING]) == ANYTHING


@pytest.mark.parametrize("watch", [{UserId("ann"): {}}, {UserId("bob"): {}}])
def test_of_a_call_the_ends_count_not_who_caused_the_row(watch: WatchSet) -> None:
    row = a_call("ongoing", caller=BOB, callee=ANN)  # Ann took it, so the row is hers
    is_bob = UserId("bob") in watch
    assert holds(c.Direction(way="outbound"), row, watch) is is_bob
    assert holds(c.Direction(way="inbound"), row, watch) is not is_bob


# --- expressions ------------------------------------------------------------------------------------


def test_an_expression_may_be_so_large_and_no_larger() -> None:
    limit = c.regex("a{100}").programsize
    assert limit < c.REGEX_STEPS
    assert c.regex_problem("a{100}") is None
    said = c.regex_problem("(?:a{1000}){1}b{1000}c{1000}d{1000}e{1000}")
    assert said is not None
    assert said.startswith("this regular expression is too large (5")
    assert said.endswith(f"steps, more than {c.REGEX_STEPS}): repeat less")


def test_a_pattern_of_signs_only_is_a_text_to_compare() -> None:
    like = c.globs(["a.c", "x*", "1+1?"])
    assert [like(word) for word in ("a.c", "abc", "x", "x\n2", "1+1=", "1+1", "11=")] == [
        True, False, True, True, True, False, False,
    ]  # fmt: skip
