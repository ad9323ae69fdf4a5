"""Each matcher as a table: this YAML, these messages that match, these that do not."""

from __future__ import annotations

import random
from datetime import timedelta
from time import process_time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rules import conditions as c
from rules.conditions import searched
from rules.engine import step
from rules.model import Attachment, Message, Party, UserId, WatchSet
from tests.rules.builders import ANN, BOB, NOON, WATCH_BOB, a_call, a_message, in_group, rules_of

WATCH_ANN: WatchSet = {UserId("ann"): {}}
WATCH_BOTH: WatchSet = {UserId("ann"): {}, UserId("bob"): {}}


def matches(when: str, message: Message, watch: WatchSet = WATCH_BOTH) -> bool:
    rules = rules_of(f"rules: [{{name: it, when: {when}}}]")
    outcome = step(rules, watch, {}, [message], now=NOON)
    assert outcome.faults == ()
    return bool(outcome.alerts)


def files(*sizes: int | None, **facts: Any) -> tuple[Attachment, ...]:
    return tuple(Attachment(size=size, **facts) for size in sizes)


PDF = Attachment(name="bill.PDF", extension="pdf", mime_type="application/pdf", size=3_000)
PNG = Attachment(name="x.png", extension="png", mime_type="image/png; charset=binary", size=50_000_000)
ORDER = {"order": {"priority": "high", "lines": [{"sku": 7}], "paid": True, "note": None}, "a.b": 1}

MATCHES: list[tuple[str, Message]] = [
    ("{category: message}", a_message()),
    ("{category: [call, mess*]}", a_message()),
    ("{type: [image, text]}", a_message()),
    ("{type: extension_*}", a_message(category="custom", type="extension_poll")),
    ("{action: kicked}", in_group(category="action", type="groupMember", action="kicked")),
    ("{sender: ann}", a_message()),
    ("{sender: 'a*'}", a_message()),
    ("{sender: 'a?n'}", a_message()),
    ("{sender: ANN}", a_message(sender=Party(id="Ann"))),
    ("{sender: 12345}", a_message(sender=Party(id="12345"))),
    ("{receiver: [carl, bob]}", a_message()),
    ("{receiver_type: group}", in_group()),
    ("{conversation: 'group_*'}", in_group()),
    ("{role: agent}", a_message()),
    ("{caller: ann}", a_call("unanswered")),
    ("{callee: bob}", a_call("busy")),
    ("{subject: bob}", in_group(category="action", type="groupMember", subject=BOB)),
    ("{moderation: disapproved}", a_message(moderation="disapproved")),
    ("{tags: [vip, urgent]}", a_message(tags=("x", "Urgent"))),
    ("{tags: 'vip-*'}", a_message(tags=("vip-gold",))),
    ("{text: refund}", a_message(text="I want a REFUND, now")),
    ("{text: refund}", a_message(text="refund")),
    ("{text: charge back}", a_message(text="a charge\n  back")),
    ("{text: über}", a_message(text="das ist über")),
    ("{text: Ärger}", a_message(text="großer A\u0308RGER!")),
    ("{text: 返金}", a_message(text="「返金」")),
    ("{text: $100}", a_message(text="give $100!")),
    ("{text: {contains: fund}}", a_message(text="Refunds")),
    ("{text: {regex: 'order #?[0-9]{6}'}}", a_message(text="about order #123456.")),
    ("{text: {words: never, regex: '(?i)ORDER'}}", a_message(text="order")),
    ("{direction: inbound}", a_message()),
    ("{direction: outbound}", a_message()),
    ("{mentions: anyone}", a_message(mentions=("zoe",))),
    ("{mentions: anyone}", in_group(mentions_all=True)),
    ("{mentions: all}", in_group(mentions_all=True)),
    ("{mentions: watched}", in_group(mentions=("zoe", "bob"))),
    ("{mentions: [all, watched]}", in_group(mentions=("bob",))),
    ("{mentions: {users: ['z*']}}", a_message(mentions=("zoe",))),
    ("{attachments: true}", a_message(attachments=(PDF,))),
    ("{attachments: false}", a_message()),
    ("{attachments: {type: image}}", a_message(type="file", attachments=(PDF, PNG))),
    ("{attachments: {type: video}}", a_message(type="video", attachments=(Attachment(),))),
    ("{attachments: {extension: [.PDF]}}", a_message(attachments=(PDF,))),
    ("{attachments: {mime: 'IMAGE/*'}}", a_message(attachments=(PNG,))),
    ("{attachments: {min_size: 50MB}}", a_message(attachments=(PNG,))),
    ("{attachments: {min_size: 1kB, max_size: 3KiB}}", a_message(attachments=(PDF,))),
    ("{metadata: {path: order.priority, equals: [low, high]}}", a_message(metadata=ORDER)),
    ("{metadata: {path: order.lines.0.sku, equals: 7}}", a_message(metadata=ORDER)),
    ("{metadata: {path: order.paid, equals: true}}", a_message(metadata=ORDER)),
    ("{metadata: {path: order.note, equals: null}}", a_message(metadata=ORDER)),
    ("{metadata: {path: order.note}}", a_message(metadata=ORDER)),
    ("{metadata: {path: order.nothing, exists: false}}", a_message(metadata=ORDER)),
    ("{metadata: {path: [a.b], equals: 1}}", a_message(metadata=ORDER)),
    ("{custom: {path: callType}}", a_message(custom={"callType": "audio"})),
    ("{edited: true}", a_message(edited_at=NOON)),
    ("{edited: true}", a_message(category="action", type="message", action="edited")),
    ("{edited: false}", a_message()),
    ("{deleted: true}", a_message(deleted_at=NOON)),
    ("{deleted: true}", a_message(category="action", type="message", action="deleted")),
    ("{thread_reply: true}", a_message(parent_id=7)),
    ("{thread_reply: false}", a_message()),
    ("{all: [{type: text}, {sender: ann}]}", a_message()),
    ("{any: [{type: image}, {sender: ann}]}", a_message()),
    ("{not: {type: image}}", a_message()),
    ("{type: text, not: {any: [{sender: bob}, {tags: x}]}}", a_message()),
    ("{type: text, sender: ann, receiver: bob, role: agent, direction: inbound}", a_message()),
]

MISSES: list[tuple[str, Message]] = [
    ("{category: call}", a_message()),
    ("{type: Text}", a_message()),
    ("{action: '*'}", a_message()),
    ("{moderation: '*'}", a_message()),
    ("{sender: 'a'}", a_message()),
    ("{sender: 'a*'}", a_message(sender=Party(id="b\na"))),
    ("{sender: a.n}", a_message()),
    ("{caller: ann}", a_message()),
    ("{subject: bob}", a_message()),
    ("{role: agent}", a_message(sender=Party(id="ann"))),
    ("{tags: vip}", a_message(tags=("vipp",))),
    ("{text: refund}", a_message(text="refunds")),
    ("{text: über}", a_message(text="überall")),
    ("{text: fund}", a_message(text="re\u0301fund")),
    ("{text: refund}", a_message()),
    ("{text: {contains: fund}}", a_message(text="fun d")),
    ("{text: {regex: 'ORDER'}}", a_message(text="order")),
    ("{mentions: all}", in_group(mentions=("bob",))),
    ("{mentions: watched}", in_group(mentions=("zoe",), mentions_all=True)),
    ("{mentions: {users: zoe}}", a_message(mentions=("bob",))),
    ("{attachments: true}", a_message(type="image")),
    ("{attachments: false}", a_message(attachments=(PDF,))),
    ("{attachments: {type: image}}", a_message(type="image", attachments=(PDF,))),
    ("{attachments: {extension: pdf, min_size: 1MB}}", a_message(attachments=(PDF, PNG))),
    ("{attachments: {max_size: 1MB}}", a_message(attachments=files(None))),
    ("{attachments: {min_size: 10MB}}", a_message(attachments=files(9_999_999))),
    ("{metadata: {path: order.paid, equals: 1}}", a_message(metadata=ORDER)),
    ("{metadata: {path: order.lines.0.sku, equals: '7'}}", a_message(metadata=ORDER)),
    ("{metadata: {path: order.lines.9.sku}}", a_message(metadata=ORDER)),
    ("{metadata: {path: order.lines, equals: []}}".replace("[]", "'[]'"), a_message(metadata=ORDER)),
    ("{metadata: {path: a.b}}", a_message(metadata=ORDER)),
    ("{metadata: {path: order.priority.x}}", a_message(metadata=ORDER)),
    ("{custom: {path: callType}}", a_message(metadata={"callType": "audio"})),
    ("{edited: true}", a_message(updated_at=NOON)),
    ("{edited: true}", a_message(category="action", type="message", action="deleted")),
    ("{thread_reply: true}", a_message()),
    ("{all: [{type: text}, {sender: bob}]}", a_message()),
    ("{any: [{type: image}, {sender: bob}]}", a_message()),
    ("{not: {type: text}}", a_message()),
    ("{type: text, sender: ann, receiver: bob, role: customer}", a_message()),
]


@pytest.mark.parametrize(("when", "message"), MATCHES, ids=[when for when, _ in MATCHES])
def test_condition_holds(when: str, message: Message) -> None:
    assert matches(when, message)


@pytest.mark.parametrize(("when", "message"), MISSES, ids=[when for when, _ in MISSES])
def test_condition_does_not_hold(when: str, message: Message) -> None:
    assert not matches(when, message)


@pytest.mark.parametrize(("when", "message"), MATCHES + MISSES)
def test_not_turns_every_condition_round(when: str, message: Message) -> None:
    assert matches(f"{{not: {when}}}", message) is not matches(when, message)


@pytest.mark.parametrize(
    ("message", "watch", "inbound", "outbound"),
    [
        (a_message(), WATCH_BOB, True, False),
        (a_message(), WATCH_ANN, False, True),
        (a_message(), WATCH_BOTH, True, True),
        (a_message(receiver=ANN), WATCH_ANN, False, True),
        (in_group(), WATCH_BOB, True, False),
        (in_group(), WATCH_ANN, False, True),
        (in_group(), WATCH_BOTH, False, True),
        # Bob declined: he caused the row, and yet Ann called him.
        (a_call("rejected"), WATCH_BOB, True, False),
        (a_call("rejected"), WATCH_ANN, False, True),
        (a_message(sender=Party(id="app_system")), WATCH_BOB, True, False),
    ],
)
def test_direction_is_relative_to_the_watch_set(
    message: Message, watch: WatchSet, inbound: bool, outbound: bool
) -> None:
    assert matches("{direction: inbound}", message, watch) is inbound
    assert matches("{direction: outbound}", message, watch) is outbound


@pytest.mark.parametrize("when", [when for when, _ in MATCHES + MISSES])
def test_every_condition_says_what_it_asks(when: str) -> None:
    (rule,) = rules_of(f"rules: [{{name: it, when: {when}}}]").rules
    assert len(rule.describe()) > len("it (warning): messages with ")


def test_a_description_keeps_its_brackets() -> None:
    (rule,) = rules_of(
        "rules: [{name: it, when: {type: [image, video], any: [{sender: ann}, {not: {tags: a, role: b}}]}}]"
    ).rules
    assert rule.describe() == (
        "it (warning): messages with type image or video, and (sender ann or not (tag a, and role b))"
    )


# --- hostile text -----------------------------------------------------------------------------------

BOMBS = [
    "a" * 100_000 + "!",
    "\ud800" * 1_000,
    "\u202e" * 1_000,
    "e" + "\u0301" * 50_000,
    "x\x00y",
    "(((((*",
    "",
]


@pytest.mark.parametrize("text", BOMBS)
@pytest.mark.parametrize(
    "when",
    [
        "{text: refund}",
        "{text: {regex: '(a+)+$'}}",
        "{text: {regex: '(.*)*x(.*)*y'}}",
        "{text: {contains: é}}",
    ],
)
def test_no_text_fails_or_stalls_a_matcher(when: str, text: str) -> None:
    assert matches(when, a_message(text=text)) in (True, False)


def test_text_beyond_the_limit_is_not_looked_at() -> None:
    assert matches("{text: {contains: refund}}", a_message(text="refund" + "x" * 200_000))
    assert not matches("{text: {contains: refund}}", a_message(text="x" * 200_000 + "refund"))


@given(st.text(alphabet=st.characters(codec=None)))
def test_any_text_can_be_searched(text: str) -> None:
    assert searched(text).decode() is not None


@given(
    word=st.from_regex(r"[a-zäöü]{1,6}", fullmatch=True),
    before=st.sampled_from(["", " ", ", ", "«", "x", "9", "_"]),
    behind=st.sampled_from(["", " ", "!", "»", "x", "ö", "_"]),
)
def test_a_word_is_found_exactly_when_nothing_wordlike_touches_it(
    word: str, before: str, behind: str
) -> None:
    stands_alone = (
        not (before + " ")[0].replace("_", "a").isalnum()
        and not (" " + behind)[-1].replace("_", "a").isalnum()
    )
    when = yaml.safe_dump({"text": {"words": word}}, default_flow_style=True, allow_unicode=True)
    assert matches(when, a_message(text=before + word.upper() + behind)) is stands_alone


def test_a_message_from_yesterday_matches_like_one_from_now() -> None:
    assert matches("{type: text}", a_message(sent_at=NOON - timedelta(days=400)))


# --- expressions of many steps, lists of many values ------------------------------------------------


def test_an_expression_of_many_steps_looks_at_the_beginning_of_a_text_and_says_so() -> None:
    rules = rules_of("rules: [{name: it, when: {text: {regex: 'a[ab]{400}c'}}}]")
    (warning,) = map(str, rules.warnings)
    assert "looks at the first 7" in warning
    found = "a" + "b" * 400 + "c"
    test = rules.rules[0].logic.conditions["when"].compile()
    assert test(a_message(text="x" * 5_000 + found), {})
    assert not test(a_message(text="x" * 20_000 + found), {})


def test_an_expression_of_few_steps_looks_at_the_whole_of_a_text() -> None:
    rules = rules_of("rules: [{name: it, when: {text: {regex: 'order [0-9]+'}}}]")
    assert rules.warnings == ()
    assert rules.rules[0].logic.conditions["when"].compile()(a_message(text="x" * 65_000 + " order 7"), {})


@pytest.mark.parametrize(
    "pattern", ["a[ab]{12}c", "a[ab]{100}c", "a[ab]{400}c", ".{0,400}x", "(a|ab|b){90}x"]
)
def test_no_expression_takes_long_for_a_text_made_against_it(pattern: str) -> None:
    test = c.TextMatch(patterns=(pattern,)).compile()
    hostile = a_message(text="".join(random.Random(1).choices("ab", k=c.TEXT_LIMIT)))
    took = []
    for _ in range(3):
        began = process_time()
        test(hostile, {})
        took.append(process_time() - began)
    assert min(took) < 0.1


def test_many_values_are_said_in_few_words() -> None:
    said = c.Field(name="sender", values=tuple(f"u{number}" for number in range(1_000))).describe()
    assert said.startswith("sender u0 or u1 or ")
    assert said.endswith(" or u19 or 980 more")
