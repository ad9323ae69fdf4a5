"""Free expressions as trees and as costs, at their limits; and what each name of an expression stands for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from rules.cel import MAX_COST, Cel, CelError, ExpressionError, check, environment
from rules.cel_names import (
    FILE_KEYS,
    FUNCTIONS,
    MAX_DEPTH,
    MAX_ID,
    MAX_INT,
    MAX_PARTS,
    MAX_TREE,
    VARIABLES,
    TooMuchError,
    bounded,
    clean,
)
from rules.cel_tree import Bound, Node, call_cost, tree_of, weigh
from rules.conditions import TEXT_LIMIT
from rules.model import Attachment, Message, MessageId, Party, UserId
from tests.rules.builders import NOON, WATCH_BOB, a_call, a_message
from tests.rules.test_cel import deep, holds, wrong

# --- trees ------------------------------------------------------------------------------------------


def tree(text: str) -> Node:
    return tree_of(environment().compile(text).serialize())


def in_words(node: Node) -> str:
    """`kind:type@place name/variable(parts)`."""
    name = node.name or (repr(node.text) if node.text is not None else "")
    parts = f"({', '.join(map(in_words, node.parts))})" if node.parts else ""
    return f"{node.kind}:{node.type}@{node.at} {name}{f'/{node.var}' if node.var else ''}{parts}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
    (
        'true',
        'const:bool@0 ',
    ),
    (
        "message.text == 'abc'",
        "call:bool@13 _==_(name:string@7 message.text, const:string@16 'abc')",
    ),
    (
        "'x' in mentions",
        "call:bool@4 @in(const:string@0 'x', name:list@7 mentions)",
    ),
    (
        'size(message.text) > 3',
        'call:bool@19 _>_(call:int@4 size(name:string@12 message.text), const:int@21 )',
    ),
    (
        "mentions.exists(m, m == 'ab')",
        'loop:bool@15 @result/m(name:list@0 mentions, const:bool@15 , call:bool@15 @not_strictly_'
        'false(call:bool@15 !_(name:bool@15 @result)), call:bool@15 _||_(name:bool@15 @result, ca'
        "ll:bool@21 _==_(name:string@19 m, const:string@24 'ab')), name:bool@15 @result)",
    ),
    (
        "mentions.map(m, m + 'abc') == mentions",
        'call:bool@27 _==_(loop:list@12 @result/m(name:list@0 mentions, list:list@12 , const:bool'
        '@12 , call:list@12 _+_(name:list@12 @result, list:list@12 (call:string@18 _+_(name:strin'
        "g@16 m, const:string@20 'abc'))), name:list@12 @result), name:list@30 mentions)",
    ),
    (
        "[sender.id, 'ab'] == mentions",
        "call:bool@18 _==_(list:list@0 (name:string@7 sender.id, const:string@12 'ab'), name:list"
        '@21 mentions)',
    ),
    (
        "{'a': sender.id} == {'b': 'cde'}",
        "call:bool@17 _==_(map:map@0 (const:string@1 'a', name:string@12 sender.id), map:map@20 ("
        "const:string@21 'b', const:string@26 'cde'))",
    ),
    (
        'has(message.metadata.x)',
        'select:bool@3 x(name:dyn@11 message.metadata)',
    ),
    (
        'message.metadata.a.b == 1.5',
        'call:bool@21 _==_(select:dyn@18 b(select:dyn@16 a(name:dyn@7 message.metadata)), const:d'
        'ouble@24 )',
    ),
    (
        "message.sent_at == timestamp('2026-11-22T12:00:00Z')",
        'call:bool@16 _==_(name:other@7 message.sent_at, call:other@28 timestamp(const:string@29 '
        "'2026-11-22T12:00:00Z'))",
    ),
    (
        "b'ab' == b'cd'",
        'call:bool@6 _==_(const:bytes@0 , const:bytes@9 )',
    ),
    (
        '1u == 2u',
        'call:bool@3 _==_(const:uint@0 , const:uint@6 )',
    ),
    ],
)  # fmt: skip
def test_an_expression_as_a_tree(text: str, said: str) -> None:
    assert in_words(tree(text)) == said


def test_places_are_of_characters_however_long_the_expression_is() -> None:
    root = tree("'ü' == 'ü' || " * 20 + "message.text == 'x'")
    (name,) = [node for node in root.walk() if node.kind == "name"]
    assert name.at == 14 * 20 + len("message")
    assert len(list(root.walk())) == 20 * (3 + 1) + 3


# --- what they cost ---------------------------------------------------------------------------------

BOUNDS = {
    "message.text": Bound(100, 0, 100),
    "sender.id": Bound(7, 0, 7),
    "mentions": Bound(10, 5, 50),
    "message.tags": Bound(4, 3, 12),
    "message.metadata": Bound(20, 4, 60),
}


@pytest.mark.parametrize(
    ("text", "cost"),
    [
    ('true', 100),
    ('message.edited', 100),
    ("message.text == 'abc'", 600.3),
    ("message.text.contains('abcdefghij')", 800.0),
    ("message.text.startsWith('abc')", 603),
    ("'abc'.endsWith(message.text)", 603),
    ("'x' in mentions", 26055),
    ('message.text in mentions', 26200),
    ('mentions == message.tags', 40863.2),
    ('size(message.text) > 3', 1300.0),
    ("mentions.exists(m, m == 'ab')", 33851.0),
    ('mentions.all(m, m.contains(sender.id))', 32442.0),
    ("mentions.filter(m, m == 'ab') == mentions", 36176.0),
    ("mentions.map(m, m + 'abc') == mentions", 33995.0),
    ("size(mentions.map(m, m + 'abc')) > 3", 34070.0),
    ('message.text + sender.id == message.text', 1445.0),
    ("[sender.id, 'ab'] == mentions", 26458.1),
    ("{'a': sender.id} == {'b': 'cde'}", 2107.6),
    ("message.metadata.x == 'ab'", 20860.2),
    ('message.metadata.x == mentions', 46315.0),
    ('has(message.metadata.x)', 20460),
    ("string(message.id) == 'ab'", 800.2),
    ('message.edited ? message.deleted : !message.edited', 900),
    ('message.edited && message.deleted || message.mentions_all', 900),
    ("mentions[0] == 'a'", 25950.1),
    ('message.metadata.a.b == 1.5', 21160.0),
    ('message.id > 3', 500.0),
    ("message.sent_at == timestamp('2026-11-22T12:00:00Z')", 880.0),
    ("b'ab' == b'cd'", 500.0),
    ('1u == 2u', 500.0),
    ('mentions.exists(m, message.tags.exists(t, t == m))', 73368.0),
    ],
)  # fmt: skip
def test_the_weight_of_an_expression(text: str, cost: float) -> None:
    assert weigh(tree(text), BOUNDS, {}) == pytest.approx(cost)


@pytest.mark.parametrize(
    ("name", "bounds", "cost"),
    [
        ("_&&_", ((9, 9, 9), (9, 9, 9)), 0),
        ("_[_]", ((9, 9, 9), (9, 9, 9)), 0),
        ("_==_", ((5, 3, 50), (7, 2, 90)), 200 + 5),
        ("_!=_", ((7, 2, 90), (5, 3, 50)), 200 + 5),
        ("_<_", ((5, 0, 50), (7, 0, 70)), 5),
        ("_<=_", ((5, 0, 50), (7, 0, 70)), 5),
        ("_>_", ((5, 0, 50), (7, 0, 70)), 5),
        ("_>=_", ((5, 0, 50), (7, 0, 70)), 5),
        ("startsWith", ((5, 0, 50), (7, 0, 70)), 5),
        ("endsWith", ((9, 0, 50), (7, 0, 70)), 7),
        ("contains", ((100, 0, 100), (20, 0, 20)), 300),
        ("@in", ((9, 0, 9), (4, 3, 12)), 3 * 104),
        ("@in", ((2, 0, 2), (4, 3, 12)), 3 * 102),
        ("size", ((1, 2, 30),), 120),
        ("_+_", ((1, 2, 30), (1, 1, 20)), 200),
        ("now", (), 0),
    ],
)
def test_the_cost_of_a_call(name: str, bounds: tuple[tuple[int, int, int], ...], cost: float) -> None:
    node = Node(kind="call", at=0, type="bool", name=name)
    assert call_cost(node, tuple(Bound(*one) for one in bounds)) == pytest.approx(cost)


def test_bounds_add_up_or_are_the_larger() -> None:
    assert Bound(1, 2, 3).plus(Bound(10, 20, 30)) == (11, 22, 33)
    assert Bound(1, 20, 3).or_(Bound(10, 2, 30)) == (10, 20, 30)


def test_what_costs_too_much_is_refused_and_nothing_below() -> None:
    def cost(text: str) -> float:
        return weigh(tree(text), {name: one.bound for name, one in VARIABLES.items()}, {})

    needle = "x" * 1_900
    assert cost(f"message.text.contains('{needle}')") < MAX_COST
    assert check(f"message.text.contains('{needle}')", ()).names == ("message.text",)
    for text in ("mentions.all(m, mentions.all(n, message.tags.all(t, t != m + n)))",):
        with pytest.raises(ExpressionError):
            check(text, ())


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        ("mentions.all(m, m.has_word('x'))", True),
        ("mentions.all(m, mentions.all(n, n.has_word('x')))", False),
        ("mentions.all(m, m.lower() == 'x')", True),
        ("mentions.all(m, mentions.all(n, n.lower() == m))", False),
        ("message.text.search('a+')", True),
        ("mentions.all(m, message.text.search('a+'))", False),
        ("mentions.all(m, message.text.has_word('x'))", False),
    ],
)
def test_our_own_functions_have_their_price(text: str, is_right: bool) -> None:
    if is_right:
        assert check(text, ()).lists == ()
    else:
        ((at, said),) = wrong(text)
        assert at == 0
        assert said.startswith("for a large message it could take some ")
        assert "more than 0.06 s" in said


# --- what names stand for ---------------------------------------------------------------------------

FULL = replace(
    a_call("ongoing", 5, number=77, session="s9", began=3),
    parent_id=MessageId(70),
    text="Text",
    moderation="approved",
    edited_at=NOON,
    mentions_all=True,
    tags=("Vip",),
    mentions=(UserId("bob"), UserId("eve")),
    metadata={"a": [1, 2.5, True, None, {"b": "c"}]},
    custom={"x": 1 << 70},
    subject=Party(id="SUE", name="Sue", role="Boss"),
    attachments=(Attachment(name="A.PDF", extension="PDF", mime_type="Application/PDF", size=1 << 70),),
)
SEEN: dict[str, Any] = {
    "message.id": 77,
    "message.text": "Text",
    "message.category": "call",
    "message.type": "audio",
    "message.action": "ongoing",
    "message.conversation_id": "ann_user_bob",
    "message.receiver_type": "user",
    "message.moderation": "approved",
    "message.sent_at": NOON + timedelta(seconds=5),
    "message.parent_id": 70,
    "message.edited": True,
    "message.deleted": False,
    "message.thread_reply": True,
    "message.mentions_all": True,
    "message.tags": ["Vip"],
    "message.metadata": {"a": [1, 2.5, True, None, {"b": "c"}]},
    "message.custom": {"x": float(1 << 70)},
    "sender.id": "bob",
    "sender.name": "Bob Brown",
    "sender.role": "customer",
    "receiver.id": "ann",
    "receiver.name": "Ann Archer",
    "receiver.role": "agent",
    "subject.id": "sue",
    "subject.name": "Sue",
    "subject.role": "boss",
    "caller.id": "ann",
    "caller.name": "Ann Archer",
    "caller.role": "agent",
    "callee.id": "bob",
    "callee.name": "Bob Brown",
    "callee.role": "customer",
    "call.status": "ongoing",
    "call.session_id": "s9",
    "call.initiated_at": int(NOON.timestamp()) + 3,
    "mentions": ["bob", "eve"],
    "watched": ["bob"],
    "attachments": [
        {"name": "A.PDF", "extension": "pdf", "mime_type": "application/pdf", "type": "file", "size": MAX_INT}
    ],
}


@pytest.mark.parametrize("name", sorted(VARIABLES))
def test_the_value_of_a_name(name: str) -> None:
    assert VARIABLES[name].get(FULL, WATCH_BOB) == SEEN[name]


@pytest.mark.parametrize("name", sorted(VARIABLES))
def test_no_value_is_larger_than_its_bound(name: str) -> None:
    long = "x" * (TEXT_LIMIT + 1)
    many = tuple(long for _ in range(MAX_PARTS + 1))
    party = Party(id=long, name=long, role=long)
    message = replace(
        a_call(long, session=long, caller=party, callee=party),
        **dict.fromkeys(("text", "category", "type", "action", "conversation_id", "moderation"), long),
        receiver_type=long, sender=party, receiver=party, subject=party, tags=many, mentions=many,
        attachments=tuple(Attachment(name=long, extension=long, mime_type=long) for _ in many),
    )  # fmt: skip
    value, bound = VARIABLES[name].get(message, WATCH_BOB), VARIABLES[name].bound
    if isinstance(value, str):
        assert len(value) == bound.longest == bound.total
    if isinstance(value, list) and value:
        assert len(value) == bound.parts == MAX_PARTS
        assert all(len(one) == MAX_ID for one in value if isinstance(one, str))
        assert all(set(one) == set(FILE_KEYS) for one in value if isinstance(one, dict))


def test_a_text_is_cut_and_is_utf_8() -> None:
    assert clean(None) == ""
    assert clean("x" * (MAX_ID + 1)) == "x" * MAX_ID
    assert clean("abc", 2) == "ab"
    assert clean("ü\ud800") == "ü?"


@pytest.mark.parametrize(
    ("value", "is_right"),
    [
        (list(range(MAX_TREE - 1)), True),
        (list(range(MAX_TREE)), False),
        ({str(number): 1 for number in range(MAX_TREE - 1)}, True),
        ({str(number): 1 for number in range(MAX_TREE)}, False),
        ("x" * TEXT_LIMIT, True),
        ("x" * (TEXT_LIMIT + 1), False),
        ({"x" * (TEXT_LIMIT - 1): "y"}, True),
        ({"x" * (TEXT_LIMIT - 1): "yy"}, False),
        (["x" * (TEXT_LIMIT // 2), "y" * (TEXT_LIMIT // 2)], True),
        (["x" * (TEXT_LIMIT // 2), "y" * (TEXT_LIMIT // 2 + 1)], False),
        (deep(MAX_DEPTH), True),
        (deep(MAX_DEPTH + 1), False),
    ],
)
def test_metadata_has_its_limits(value: Any, is_right: bool) -> None:
    if is_right:
        assert bounded(value) == value
    else:
        with pytest.raises(TooMuchError, match="more than"):
            bounded(value)


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ((1 << 63) - 1, (1 << 63) - 1),
        (1 << 63, float(1 << 63)),
        (-(1 << 63), -(1 << 63)),
        (-(1 << 63) - 1, float(-(1 << 63) - 1)),
        (True, True),
        ((1, "a"), [1, "a"]),
        ({1: "a"}, {"1": "a"}),
        (None, None),
    ],
)
def test_metadata_as_an_expression_sees_it(value: Any, seen: Any) -> None:
    assert bounded(value) == seen
    assert type(bounded(value)) is type(seen)


@pytest.mark.parametrize(
    ("text", "changes", "is_met"),
    [
        ("message.text.has_word('a.c')", {"text": "an a.c here"}, True),
        ("message.text.has_word('a.c')", {"text": "an abc here"}, False),
        ("message.text.has_word('two words')", {"text": "TWO\nwords"}, True),
        ("message.text.search('b$')", {"text": "ab"}, True),
        ("message.text.search('B$')", {"text": "ab"}, False),
        ("'ÄB'.lower() == 'äb'", {}, True),
        ("message.text.lower() == 'ab'", {"text": "AB"}, True),
    ],
)
def test_our_own_functions(text: str, changes: dict[str, Any], is_met: bool) -> None:
    assert holds(text, **changes) is is_met


def test_every_function_says_what_it_does() -> None:
    assert set(FUNCTIONS) == {"search", "has_word", "in_list", "lower"}
    assert all(one.says.endswith(".") for one in FUNCTIONS.values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 % size(message.text) == 1", "a division by zero"),
        ("message.id + message.id + message.id > 0", "a number of more than 64 bits"),
        ("message.metadata.a < 'x'", "a value of another type than the expression needs"),
        ("message.tags[0] == 'x'", "a place beyond the end of a list"),
    ],
)
def test_the_reason_of_an_error_in_our_words(text: str, said: str) -> None:
    with pytest.raises(CelError) as caught:
        Cel(text=text).compile()(a_message(id=MessageId(1 << 62), metadata={"a": 1}), WATCH_BOB)
    assert said in str(caught.value)
    assert len(str(caught.value)) <= 60


def test_an_expression_in_words_is_one_line() -> None:
    assert Cel(text="true &&\n   message.edited").describe() == "CEL true && message.edited"


def test_what_an_expression_asks_for_is_known() -> None:
    checked = check("sender.id.in_list('b') || sender.id.in_list('a') || message.text == ''", ("a", "b", "c"))
    assert (checked.names, checked.lists) == (("message.text", "sender.id"), ("a", "b"))


def whole(text: str, message: Message | None = None) -> bool:
    return Cel(text=text).compile()(message or FULL, WATCH_BOB)


@pytest.mark.parametrize(
    "text",
    [
        "attachments[0].name == 'A.PDF' && attachments[0].mime_type == 'application/pdf'",
        "attachments.exists(a, a.size == 9223372036854775807)",
        "caller.name == 'Ann Archer' && callee.role == 'customer'",
        "message.custom.x > 1e20",
        "size(message.metadata.a) == 5 && message.metadata.a[4].b == 'c'",
    ],
)
def test_an_expression_over_all_that_there_is(text: str) -> None:
    assert whole(text)


@pytest.mark.parametrize("text", ["'vip& true", "message.text == 'a' || 'b", "'", "'a' in ('b"])
def test_a_text_that_does_not_end_is_told_wherever_its_quotes_stand(text: str) -> None:
    with pytest.raises(ExpressionError, match="the text that begins with ' does not end"):
        check(text, ())
