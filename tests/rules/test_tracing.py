"""Traces: what every part of a condition says of a message, without what people wrote."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given

from rules import conditions as c
from rules.conditions import Condition
from rules.model import Attachment, Message, MessageId, UserId, WatchSet
from rules.names import EMPTY
from rules.tracing import MAX_FOUND, MAX_SAID, Traced, Tracer, trace
from tests.rules.builders import BOB, WATCH_BOB, a_call, a_message, in_group, rules_of
from tests.rules.test_index import CONDITIONS, MESSAGES, WATCH

IMAGE = c.Field(name="type", values=("image",))
FROM_ANN = c.Field(name="sender", values=("ann",))
REFUND = c.TextMatch(words=("refund",))
PDF = Attachment(name="secret plan.pdf", extension="pdf", mime_type="application/pdf", size=48_213)


class Broken(Condition, frozen=True, kw_only=True, tag=True, tag_field="is"):
    """Fails on every message, as a condition of a later day may."""

    def describe(self) -> str:
        return "something impossible"

    def compile(self) -> c.Test:
        def fail(message: Message, watch: WatchSet) -> bool:
            raise ValueError(f"a text that must not be told: {message.text} {watch}")

        return fail


def values(traced: Traced) -> list[tuple[str, bool | None]]:
    return [(one.said, one.value) for one in traced.walk()]


@given(CONDITIONS, MESSAGES)
def test_a_trace_says_what_the_condition_says(condition: Condition, message: Message) -> None:
    traced = trace(condition, message, WATCH)
    assert traced.value is condition.compile()(message, WATCH)
    assert all(part.value is not None for part in traced.walk())


@given(CONDITIONS)
def test_a_tracer_knows_its_words_before_any_message(condition: Condition) -> None:
    tracer = Tracer(condition)
    assert tracer.said == tuple(part.said for part in tracer(a_message(), WATCH).walk())


def test_every_part_is_asked_though_the_first_decides() -> None:
    [rule] = rules_of(
        "rules: [{name: r, kind: match, when: {sender: zoe, any: [{type: image}, {text: refund}],"
        " not: {tags: vip}}}]"
    ).rules
    traced = trace(rule.logic.conditions["when"], a_message(text="Refund me"), WATCH_BOB)
    assert values(traced) == [
        ("all of these", False),
        ("sender zoe", False),
        ("one of these", True),
        ("type image", False),
        ('the word "refund"', True),
        ("not", True),
        ("tag vip", False),
    ]


@pytest.mark.parametrize(
    ("condition", "message", "found"),
    [
        (FROM_ANN, a_message(), "ann"),
        (c.Field(name="role", values=("x",)), a_message(sender=BOB), "customer"),
        (c.Field(name="caller", values=("x",)), a_message(), "nothing"),
        (c.Tags(values=("vip",)), a_message(tags=("a", "b")), "a, b"),
        (c.Tags(values=("vip",)), a_message(), "no tags"),
        (c.Flag(name="edited", wanted=False), a_message(action="edited", category="action"), "an edit"),
        (c.Flag(name="thread_reply", wanted=True), a_message(), "no thread it replies in"),
        (c.Direction(way="inbound"), a_message(), "from ann to bob (watched)"),
        (c.Direction(way="inbound"), a_call("unanswered", caller=BOB), "from bob (watched) to bob (watched)"),
        (c.Direction(way="inbound"), in_group(), "from ann to group team"),
        (c.Mentions(who=("anyone",)), a_message(), "nobody is mentioned"),
        (
            c.Mentions(who=("watched",)),
            in_group(mentions=("zoe", "bob"), mentions_all=True),
            "@all, zoe, bob (watched)",
        ),
        (REFUND, a_message(text="my secret"), "a text of 9 characters"),
        (REFUND, a_message(), "no text"),
        (
            c.Attachments(extensions=("exe",)),
            a_message(attachments=(PDF, Attachment())),
            "file (pdf, application/pdf, 48213 bytes), file (no extension, no MIME type, size not told)",
        ),
        (c.Attachments(wanted=False), a_message(), "no attachment"),
    ],
)
def test_what_the_message_has_is_told(condition: Condition, message: Message, found: str) -> None:
    assert trace(condition, message, WATCH_BOB).found == found


@pytest.mark.parametrize(
    ("tree", "found", "quoted"),
    [
        ({}, "nothing there", None),
        ({"a": None}, "null", "null"),
        ({"a": True}, "true or false", "true"),
        ({"a": 3}, "a number", "3"),
        ({"a": "secret"}, "a text", '"secret"'),
        ({"a": ["secret"]}, "a list", '["secret"]'),
        ({"a": {"b": "secret"}}, "a mapping", '{"b": "secret"}'),
    ],
)
def test_metadata_is_quoted_apart(tree: dict[str, object], found: str, quoted: str | None) -> None:
    traced = trace(c.Metadata(where="metadata", path=("a",)), a_message(metadata=tree), WATCH_BOB)
    assert (traced.found, traced.quoted) == (found, quoted)


@given(CONDITIONS)
def test_nothing_that_people_wrote_is_told_outside_quotes(condition: Condition) -> None:
    message = a_message(text="s3cret", metadata={"a": "s3cret"}, custom={"a": "s3cret"}, attachments=(PDF,))
    for part in trace(condition, message, WATCH).walk():
        told = msgspec.structs.replace(part, quoted=None, parts=())
        assert "s3cret" not in repr(told)
        assert "plan" not in repr(told)


def test_a_part_that_fails_says_so_and_decides_nothing_that_others_decide() -> None:
    broken, yes, no = Broken(), FROM_ANN, IMAGE
    for parts, of_all, of_any in [
        ((broken, yes), None, True),
        ((broken, no), False, None),
        ((yes, broken, no), False, True),
    ]:
        message = a_message(text="s3cret")
        assert trace(c.AllOf(conditions=parts), message, WATCH).value is of_all
        assert trace(c.AnyOf(conditions=parts), message, WATCH).value is of_any
    failed = trace(c.Not(condition=broken), a_message(text="s3cret"), WATCH)
    assert failed.value is None
    assert (failed.parts[0].error, failed.parts[0].found) == ("ValueError", "")


def test_an_expression_is_one_part_and_fails_in_safe_words() -> None:
    pytest.importorskip("cel_expr_python", reason="the extra `cel` is not installed")
    [rule] = rules_of(
        'rules: [{name: r, kind: match, when: {sender: ann, cel: "1 / size(message.text) == 0"}}]'
    ).rules
    tracer = Tracer(rule.logic.conditions["when"])
    assert values(tracer(a_message(text="s3cret"), WATCH_BOB)) == [
        ("all of these", True),
        ("sender ann", True),
        ("CEL 1 / size(message.text) == 0", True),
    ]
    failed = tracer(a_message(), WATCH_BOB)
    assert failed.value is None
    assert failed.parts[1].error == "CelError: a division by zero"


def test_long_words_are_cut() -> None:
    many = c.Field(
        name="sender", values=tuple(f"a-user-with-a-long-uid-{number}" for number in range(10_000))
    )
    traced = trace(many, a_message(sender=BOB), WATCH_BOB)
    assert len(traced.said) == MAX_SAID
    assert traced.said.endswith("…")
    tags = tuple(f"tag-{number}" for number in range(1_000))
    assert len(trace(c.Tags(values=("x",)), a_message(tags=tags), WATCH_BOB).found) == MAX_FOUND
    assert len(trace(REFUND, a_message(text="x" * 9_999), WATCH_BOB).quoted or "") == MAX_FOUND


def test_an_empty_list_is_told_as_such() -> None:
    assert trace(c.Tags(values=(EMPTY,)), a_message(), WATCH_BOB).said == "tag (an empty list)"


def test_one_tracer_serves_many_messages() -> None:
    tracer = Tracer(c.AllOf(conditions=(FROM_ANN, REFUND)))
    first = tracer(a_message(text="refund"), {UserId("bob"): {}})
    second = tracer(a_message(id=MessageId(2), sender=BOB), {})
    assert (first.value, second.value) == (True, False)
