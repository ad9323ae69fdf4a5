"""The index: it finds what asking every rule finds, and asks few."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rules import conditions as c
from rules.access import Pieces, SetFailed, interest_of, keys
from rules.conditions import Condition, Key, beyond_interest, either_interest
from rules.engine import RuleSet, step, wanted
from rules.index import FEW, Index
from rules.model import Attachment, Call, Message, MessageId, Party, UserId, WatchSet
from tests.rules.builders import ANN, BOB, NOON, a_call, a_message, in_group, rules_of

WATCH: WatchSet = {UserId("ann"): {}, UserId("zoe"): {}}

# --- any conditions, any messages -------------------------------------------------------------------

# Few words, so that rules and messages meet; K, ſ and ﬁ fold in ways of their own, é has two spellings.
UIDS = st.sampled_from(["ann", "bob", "Zoe", "vip-1", "team", "", "K", "k", "ſ", "s"])
LIKE = st.sampled_from(["*", "vip-*", "?ob", "z*e", "*ſ*"])
WORDS = st.sampled_from(
    ["message", "call", "custom", "action", "text", "image", "edited", "busy", "group", "user"]
)
PHRASES = st.sampled_from(
    ["refund", "charge back", "Back", "é", "e\u0301", "kelvin", "K", "ſ", "s", ".", "  ", "ﬁ", "日本"]
)
TEXTS = st.lists(PHRASES | st.sampled_from(["\ud800", "REFUND", "x", "charge  back", "KELVIN"]), max_size=4)


def some(values: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(values, min_size=1, max_size=3).map(tuple)


def fields() -> st.SearchStrategy[Condition]:
    def one(name: str) -> st.SearchStrategy[Condition]:
        values = some(UIDS | LIKE if name in c.IDS else WORDS | LIKE)
        return st.builds(c.Field, name=st.just(name), values=values)

    return st.sampled_from(sorted(c.FIELDS)).flatmap(one)


SCALARS = st.sampled_from(["high", "", 1, True, None])
LEAVES: st.SearchStrategy[Condition] = st.one_of(
    fields(),
    fields(),
    st.builds(c.Tags, values=some(UIDS | LIKE)),
    st.builds(c.Flag, name=st.sampled_from(sorted(c.FLAGS)), wanted=st.booleans()),
    st.builds(c.Direction, way=st.sampled_from(["inbound", "outbound"])),
    st.builds(c.Mentions, who=some(st.sampled_from(sorted(c.MENTIONED)))),
    st.builds(c.Mentions, users=some(UIDS | LIKE)),
    st.builds(c.TextMatch, words=some(PHRASES)),
    st.builds(c.TextMatch, words=some(PHRASES), contains=some(PHRASES)),
    st.builds(c.TextMatch, contains=some(PHRASES)),
    st.builds(c.TextMatch, words=some(PHRASES), patterns=st.just(("^x", "(?i)k"))),
    st.builds(
        c.Metadata,
        where=st.sampled_from(["metadata", "custom"]),
        path=some(st.sampled_from(["a", "b", "0"])),
        equals=st.lists(SCALARS, max_size=2).map(tuple),
    ),
    st.builds(c.Metadata, where=st.just("metadata"), path=st.just(("a",)), exists=st.just(False)),
    st.builds(
        c.Attachments,
        wanted=st.booleans(),
        extensions=st.lists(st.sampled_from(["pdf", "p*", "exe", ""]), max_size=2).map(tuple),
        types=st.lists(st.sampled_from(c.FILE_TYPES), max_size=1).map(tuple),
        min_size=st.none() | st.just(10),
    ),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: c.AllOf(conditions=tuple(parts))),
        st.lists(inner, max_size=3).map(lambda parts: c.AnyOf(conditions=tuple(parts))),
        inner.map(lambda part: c.Not(condition=part)),
    ),
    max_leaves=5,
)

PARTIES = st.builds(Party, id=UIDS, role=st.none() | UIDS)
TREES: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(["a", "b", "c"]), SCALARS | st.fixed_dictionaries({"b": SCALARS}), max_size=2
)
MESSAGES = st.builds(
    Message,
    id=st.just(MessageId(1)),
    conversation_id=UIDS,
    sender=PARTIES,
    receiver=PARTIES,
    receiver_type=st.sampled_from(["user", "group"]),
    category=WORDS,
    type=WORDS,
    sent_at=st.just(NOON),
    action=st.none() | WORDS,
    text=st.none() | TEXTS.map(" ".join),
    edited_at=st.sampled_from([None, NOON]),
    parent_id=st.sampled_from([None, MessageId(5)]),
    subject=st.none() | PARTIES,
    tags=st.lists(UIDS, max_size=2).map(tuple),
    attachments=st.lists(
        st.builds(
            Attachment, extension=st.sampled_from([None, "pdf", "EXE"]), size=st.sampled_from([None, 9, 10])
        ),
        max_size=2,
    ).map(tuple),
    mentions=st.lists(st.sampled_from(["ann", "zoe", "vip-1"]), max_size=2).map(tuple),
    mentions_all=st.booleans(),
    call=st.none() | st.builds(Call, session_id=st.just("s"), status=WORDS, caller=PARTIES, callee=PARTIES),
    moderation=st.none() | WORDS,
    metadata=TREES,
    custom=TREES,
).map(lambda message: msgspec.structs.replace(message, call=None) if message.category != "call" else message)
# Only call rows tell of a call: conditions on its ends are asked about no other category.


def asked_all(conditions: Sequence[Condition], message: Message) -> list[int]:
    return [n for n, condition in enumerate(conditions) if condition.compile()(message, WATCH)]


def asked_by_index(conditions: Sequence[Condition], message: Message) -> list[int]:
    index = Index(
        [(interest_of(one), (n, beyond_interest(one).compile())) for n, one in enumerate(conditions)]
    )
    return [n for n, test in index.at(message) if test(message, WATCH)]


@given(st.lists(CONDITIONS, max_size=12), MESSAGES)
@example([c.TextMatch(words=("s",))] * FEW, a_message(text="ſ"))
@example([c.Field(name="sender", values=("Zoe",))], a_message(sender=Party(id="zOE")))
@example([c.Field(name="sender", values=("vip-*", "ann"))] * FEW, a_message(sender=Party(id="VIP-\n")))
def test_the_index_finds_what_asking_every_rule_finds_in_the_same_order(
    conditions: list[Condition], message: Message
) -> None:
    assert asked_by_index(conditions, message) == asked_all(conditions, message)


@given(CONDITIONS, MESSAGES)
def test_who_meets_a_condition_has_one_of_its_keys(condition: Condition, message: Message) -> None:
    if condition.compile()(message, WATCH):
        assert Index([(interest_of(condition), "it")]).at(message)


@given(st.lists(CONDITIONS, min_size=1, max_size=3), MESSAGES)
def test_a_rule_of_several_conditions_is_found_by_each(conditions: list[Condition], message: Message) -> None:
    interest = either_interest([interest_of(condition) for condition in conditions])
    if asked_all(conditions, message):
        assert Index([(interest, "it")]).at(message)


# --- the engine over it -----------------------------------------------------------------------------

RULES = """
rules:
  - {name: boss, when: {sender: ann}}
  - {name: missed, kind: missed_call, side: any}
  - {name: image, when: {type: image}}
  - {name: late, kind: missed_call, side: caller, ring_timeout: 60s}
  - {name: hello, when: {type: text, text: hello}}
  - {name: busy, when: {category: call, action: busy}}
"""
ROWS = [
    a_message(text="hello"), a_message(sender=BOB, receiver=ANN), in_group(type="image"), a_call("busy"),
    a_call("unanswered", session="s2"), a_call("initiated", session="s3", caller=BOB, callee=ANN),
]  # fmt: skip


class Everything(Index[Any]):
    """No index: every rule is asked about every message."""

    def __init__(self, index: Index[Any]) -> None:
        self._all = index._entries

    def at(self, message: Message) -> Sequence[Any]:
        return self._all


def without_index(rules: RuleSet) -> RuleSet:
    """The same rules with everything asked: what the index leaves out of a test is asked as well."""
    rules.singles, rules.correlating = Everything(rules.singles), Everything(rules.correlating)
    rules.singles._all = tuple(
        (logic.condition.compile(), logic, rule) for _, logic, rule in rules.singles._all
    )
    return rules


@given(st.lists(st.sampled_from(ROWS), max_size=8))
def test_a_step_with_the_index_is_a_step_without(rows: list[Message]) -> None:
    messages = [msgspec.structs.replace(row, id=MessageId(n + 1)) for n, row in enumerate(rows)]
    with_index, without = rules_of(RULES), without_index(rules_of(RULES))
    assert wanted(with_index, messages) == wanted(without, messages)
    assert step(with_index, WATCH, {}, messages, now=NOON) == step(without, WATCH, {}, messages, now=NOON)


# --- few are asked ----------------------------------------------------------------------------------


def found(conditions: Sequence[Condition], message: Message) -> int:
    return len(Index([(interest_of(condition), None) for condition in conditions]).at(message))


def many(make: Callable[[str], Condition]) -> list[Condition]:
    return [make(f"word{number}x") for number in range(100)]


def of_an_agent(word: str) -> Condition:
    """Asks for much that many messages have, and for one word."""
    broad = c.Field(name="type", values=("text",)), c.Field(name="role", values=("agent",))
    return c.AllOf(conditions=(*broad, c.TextMatch(words=(word,))))


def tagged_or_said(word: str) -> Condition:
    return c.AnyOf(conditions=(c.Tags(values=(word,)), c.TextMatch(words=(word,))))


ONE_OF_MANY = [
    (lambda w: c.Field(name="sender", values=(w,)), a_message(sender=Party(id="WORD7X"))),
    (lambda w: c.Field(name="sender", values=(w + "*",)), a_message(sender=Party(id="word7x-1"))),
    (lambda w: c.Field(name="caller", values=(w,)), a_call("busy", caller=Party(id="word7x"))),
    (lambda w: c.Tags(values=(w,)), a_message(tags=("word7x",))),
    (lambda w: c.Mentions(users=(w,)), in_group(mentions=("word7x",))),
    (lambda w: c.TextMatch(words=(w, f"the {w}")), a_message(text="a WORD7X!")),
    (lambda w: c.TextMatch(contains=(w,)), a_message(text="sword7xyz")),
    (lambda w: c.Metadata(where="metadata", path=(w, "a")), a_message(metadata={"word7x": {}})),
    (
        lambda w: c.Attachments(extensions=(w,)),
        a_message(attachments=(Attachment(extension="word7x"),)),
    ),
    (tagged_or_said, a_message(tags=("word7x",))),
    (of_an_agent, a_message(text="word7x")),
]


@pytest.mark.parametrize(("make", "hit"), ONE_OF_MANY)
def test_of_many_rules_one_is_asked(make: Callable[[str], Condition], hit: Message) -> None:
    conditions = many(make)
    assert (found(conditions, hit), found(conditions, a_message(text="nothing"))) == (1, 0)


def test_conditions_that_name_nothing_are_asked_always() -> None:
    plain = [c.Direction(way="inbound"), c.Not(condition=c.Tags(values=("a",))), c.Attachments(wanted=False)]
    assert [keys(condition) for condition in plain] == [None, None, None]
    assert found(plain, a_message()) == len(plain)


def test_of_all_conditions_the_rarest_leads_the_way() -> None:
    names = ("receiver_type", "action", "sender", "type")
    whole = c.AllOf(conditions=tuple(c.Field(name=name, values=("x",)) for name in names))
    assert keys(whole) == frozenset({Key("sender", "x")})


def test_a_message_that_cannot_be_looked_at_is_shown_to_every_rule() -> None:
    broken = a_message(sender=Party(id=None))  # type: ignore[arg-type]  # nothing decodes so; a bug might
    assert found(many(lambda w: c.Field(name="sender", values=(w,))), broken) == 100


# --- many words -------------------------------------------------------------------------------------


def test_words_past_one_set_are_found_too() -> None:
    words = Pieces([f"w{number}z" for number in range(2_500)])
    assert sorted(words.found(b"w3z .. W1700Z .. w2499z")) == ["w1700z", "w2499z", "w3z"]
    assert words.found(b"nothing") == []


class GivesUp:
    """A set whose memory ran out: RE2 answers as if nothing were found."""

    def Match(self, text: bytes) -> None:  # noqa: N802 - RE2's name
        return None


def test_a_set_that_gives_up_finds_no_silence() -> None:
    words = Pieces(["refund"])
    words._sets = [(GivesUp(), ["refund"])]
    with pytest.raises(SetFailed):
        words.found(b"a refund")
