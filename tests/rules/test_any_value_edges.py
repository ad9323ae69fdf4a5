"""Values that are right or wrong, at their limits: what an index may pass over, and what an alert shows."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from rules.kinds.any_value import MAX_SHOWN, value_facts
from rules.model import Attachment, Message, MessageId, Party, UserId
from tests.rules.builders import ANN, BOB, a_call, a_message, in_group
from tests.rules.test_any_value import any_of

ZOE = Party(id="Zoe")


def is_told(options: str, message: Message) -> bool:
    bench = any_of(options)
    bench.feed(message)
    assert bench.last.faults == ()
    return bool(bench.told)


@pytest.mark.parametrize("field", ["sender", "receiver", "conversation", "caller", "callee"])
@pytest.mark.parametrize(
    ("options", "of_zoe", "of_others"),
    [
        ("block: [zoe]", True, False),
        ("block: [z*]", True, False),
        ("block: [ZOE, eve]", True, False),
        ("allow: [zoe]", False, True),
        ("allow: [zoe], block: [bob]", False, True),
        ("allow: ['*'], block: [zoe]", True, False),
        ("allow: [bob], block: [zoe]", True, False),
        ("block: ['*']", True, True),
    ],
)
def test_an_index_passes_over_nothing_that_is_wrong(
    field: str, options: str, of_zoe: bool, of_others: bool
) -> None:
    if field in ("caller", "callee"):
        other = a_call("busy", caller=BOB, callee=BOB)
        zoe = a_call(
            "busy", caller=ZOE if field == "caller" else BOB, callee=BOB if field == "caller" else ZOE
        )
    elif field == "conversation":
        zoe, other = a_message(conversation_id="Zoe"), a_message(conversation_id="bob")
    else:
        zoe, other = a_message(**{field: ZOE}), a_message(**{field: BOB})
    bench = any_of(f"field: {field}, {options}")
    bench.watch = {UserId("zoe"): {}, UserId("bob"): {}, UserId("ann"): {}}
    bench.feed(zoe)
    assert bool(bench.told) is of_zoe
    bench.feed(replace(other, id=MessageId(2)))
    assert (len(bench.told) - of_zoe) == of_others


@pytest.mark.parametrize(
    ("options", "message", "told"),
    [
        ("field: callee, allow: [zoe]", a_message(), False),
        ("field: callee, allow: [zoe]", a_call("busy"), True),
        ("field: caller, allow: [zoe], when: {type: audio}", a_call("busy"), True),
        ("field: caller, allow: [zoe], when: {type: video}", a_call("busy"), False),
        ("field: sender, block: [ann], when: {direction: inbound}", a_message(), True),
        ("field: sender, block: [ann], when: {direction: outbound}", a_message(), False),
        ("field: tag, allow: [a]", a_message(tags=("a", "b")), True),
        ("field: tag, allow: [a], block: [a]", a_message(tags=("a",)), True),
        ("field: tag, allow: [a], block: [b]", a_message(tags=("a",)), False),
        ("field: tag, block: [a]", a_message(tags=("b", "a")), True),
    ],
)
def test_values_and_conditions_must_both_be_met(options: str, message: Message, told: bool) -> None:
    assert is_told(options, message) is told


@pytest.mark.parametrize(
    ("options", "message", "told"),
    [
        ("field: type, allow: [image]", a_message(sender=ZOE, receiver=ANN), False),
        ("field: type, allow: [image]", in_group(), True),
        ("field: type, allow: [image]", in_group(mentions=("bob",)), True),
        ("field: type, allow: [image]", a_message(), True),
        ("field: type, allow: [image], when: {type: text}", a_message(sender=ZOE, receiver=ANN), False),
    ],
)
def test_only_what_concerns_the_watched_is_told(options: str, message: Message, told: bool) -> None:
    bench = any_of(options)
    bench.feed(message)
    assert bool(bench.told) is told


def test_of_a_rule_that_looks_at_calls_messages_do_not_reach_the_rule() -> None:
    for field in ("caller", "callee"):
        rules = any_of(f"field: {field}, allow: [zoe]").rules
        assert rules.singles.at(a_message()) == ()
        assert len(rules.singles.at(a_call("busy"))) == 1


def test_a_block_list_beside_an_allow_list_does_not_narrow() -> None:
    rules = any_of("field: sender, allow: [bob], block: [zoe]").rules
    assert len(rules.singles.at(a_message())) == 1


def test_conditions_are_named_for_those_who_trace_them() -> None:
    assert set(any_of("field: type, allow: a, when: {type: text}").rules.rules[0].logic.conditions) == {
        "when"
    }
    assert any_of("field: type, allow: a").rules.rules[0].logic.conditions == {}


def test_an_alert_shows_only_so_many_values() -> None:
    values = tuple(f"v{number}" for number in range(MAX_SHOWN + 1))
    assert value_facts("tag", values) == {"field": "tag", "value": "v0", "values": values[:MAX_SHOWN]}
    assert value_facts("tag", ()) == {"field": "tag", "value": "", "values": ()}
    assert value_facts("text", ("digest",)) == {"field": "text", "value": "", "values": ()}


def test_only_the_wrong_values_are_shown() -> None:
    bench = any_of("field: extension, allow: [pdf], block: [p*]")
    bench.feed(a_message(attachments=tuple(Attachment(extension=one) for one in ("exe", "txt", "pdf"))))
    assert bench.told[0].summary.startswith("exe, txt, pdf in ann_user_bob")
    bench = any_of("field: extension, allow: [pdf]")
    bench.feed(a_message(attachments=tuple(Attachment(extension=one) for one in ("pdf", "txt"))))
    assert bench.told[0].title.startswith("odd: extension txt from")


def test_each_message_is_an_alert_of_its_own() -> None:
    bench = any_of("field: sender, block: ann")
    bench.feed(a_message(id=MessageId(7)), a_message(id=MessageId(8)))
    assert [alert.key for alert in bench.told] == ["7", "8"]
    assert len({alert.id for alert in bench.told}) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("field: sender, block: [ann]", "messages whose sender is ann"),
        ("field: sender, allow: [ann]", "messages whose sender is none of ann"),
        ("field: type, allow: [a, b], block: [c]", "messages whose type is c or none of a or b"),
        ("field: tag, block: [a], when: {type: text}", "messages with type text whose tag is a"),
    ],
)  # fmt: skip
def test_in_words(options: str, said: str) -> None:
    assert any_of(options).rules.rules[0].logic.describe() == said
