"""Free expressions: what they see, what is refused when they are loaded and where, what they can cost."""

from __future__ import annotations

import sys
from datetime import timedelta
from time import process_time
from typing import Any

import pytest

from rules.cel import Cel, CelError, ExpressionError, check
from rules.cel_names import VARIABLES, TooMuchError
from rules.conditions import FLAGS
from rules.model import Attachment, Message, Party
from rules.spec import load
from rules.text import Source, SpecError
from tests.rules.builders import APP, BOB, NOON, WATCH_BOB, Bench, a_call, a_message, in_group, rules_of

PHOTO = Attachment(name="Photo.JPG", extension="JPG", mime_type="image/jpeg", size=2_000_000)
NAMELESS = Attachment()


def holds(text: str, message: Message | None = None, /, **changes: Any) -> bool:
    return Cel(text=text).compile()(message or a_message(**changes), WATCH_BOB)


def wrong(text: str, *lists: str) -> list[tuple[int, str]]:
    with pytest.raises(ExpressionError) as caught:
        check(text, lists)
    return [(one.at, one.message) for one in caught.value.wrong]


# --- what an expression sees ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("message.text.contains('refund')", {"text": "a refund!"}),
        ("message.text == ''", {}),
        ("message.id == 1 && message.parent_id == 0", {}),
        ("message.sent_at == timestamp('2026-11-22T12:00:00Z')", {}),
        ("message.sent_at.getHours('Europe/Berlin') == 13", {}),
        ("message.category == 'message' && message.type == 'text' && message.action == ''", {}),
        ("message.conversation_id == 'ann_user_bob' && message.receiver_type == 'user'", {}),
        ("message.edited && !message.deleted", {"edited_at": NOON}),
        ("message.thread_reply && message.parent_id == 7", {"parent_id": 7}),
        ("message.mentions_all", {"mentions_all": True}),
        ("message.moderation == 'pending'", {"moderation": "pending"}),
        ("'vip' in message.tags && size(message.tags) == 2", {"tags": ("vip", "new")}),
        ("sender.id == 'ann' && sender.name == 'Ann Archer' && sender.role == 'agent'", {}),
        ("sender.id == 'ann'", {"sender": Party(id="ANN")}),
        ("receiver.id == 'bob' && receiver.role == 'customer'", {}),
        ("subject.id == '' && subject.name == ''", {}),
        ("subject.id == 'eve'", {"subject": Party(id="eve")}),
        ("mentions.exists(m, m.startsWith('b'))", {"mentions": ("ann", "bob")}),
        ("watched == ['bob']", {}),
        ("size(watched) == 0", {"receiver": Party(id="eve")}),
        ("watched == ['bob']", {"receiver": Party(id="eve"), "mentions": ("bob", "cid")}),
        ("attachments.exists(a, a.extension == 'jpg' && a.size > 1000000)", {"attachments": (PHOTO,)}),
        ("attachments[0].type == 'image' && attachments[0]['size'] > 9", {"attachments": (PHOTO,)}),
        ("attachments.all(a, a.size == -1 && a.name == '')", {"attachments": (NAMELESS,)}),
        ("message.metadata.order.lines[1] == 2.0", {"metadata": {"order": {"lines": [1, 2]}}}),
        ("message.metadata.big > 1.0", {"metadata": {"big": 1 << 80}}),
        ("has(message.custom.a) && !has(message.custom.b)", {"custom": {"a": None}}),
        ("message.text.search('(?i)REF.*d') && !message.text.search('^x')", {"text": "a refund"}),
        ("message.text.has_word('Charge  Back') && !message.text.has_word('char')", {"text": "charge back."}),
        ("message.text.lower() == 'über'", {"text": "ÜBER"}),
        ("message.text == '?x' && '?' in message.tags", {"text": "\ud800x", "tags": ("\udfff",)}),
        ("call.status == '' && call.session_id == '' && caller.id == ''", {}),
    ],
)  # fmt: skip
def test_an_expression_sees_the_parts_of_a_message(text: str, changes: dict[str, Any]) -> None:
    assert holds(text, **changes)


def test_an_expression_sees_a_call() -> None:
    row = a_call("unanswered")
    assert row.call is not None
    assert holds(f"call.status == 'unanswered' && caller.id == '{row.call.caller.id}'", row)
    assert holds(f"callee.id == '{row.call.callee.id}' && call.session_id != ''", row)
    began = int((row.sent_at - timedelta(0)).timestamp())
    assert holds(f"call.initiated_at <= {began}", row)


def test_every_name_has_a_value_of_its_type_for_the_emptiest_message() -> None:
    for name, variable in VARIABLES.items():
        same = name if variable.type != "dyn" else f"string(size({name}))"
        assert holds(f"{same} == {same}"), name
    assert set(FLAGS) <= {name.removeprefix("message.") for name in VARIABLES}


def test_a_named_list_is_asked_in_any_case_and_with_stars() -> None:
    vip = Cel(text="sender.id.in_list('vip')", lists={"vip": ("Boss-*", "ANN")})
    test = vip.compile()
    assert test(a_message(), WATCH_BOB)
    assert test(a_message(sender=Party(id="boss-7")), WATCH_BOB)
    assert not test(a_message(sender=BOB), WATCH_BOB)


# --- what fails for one message ---------------------------------------------------------------------


def test_a_key_that_is_not_there_makes_it_false() -> None:
    assert not holds("message.metadata.a == 1")
    assert not holds("message.metadata.a != 1")
    assert not holds("message.metadata.a.b.c > 1", metadata={"a": {}})
    assert holds("message.metadata.a == 1 || message.type == 'text'")


@pytest.mark.parametrize(
    ("text", "changes", "said"),
    [
        ("1 / size(message.text) == 1", {}, "a division by zero"),
        ("message.metadata.a > 1", {"metadata": {"a": "secret"}}, "a value of another type"),
        ("int(message.text) > 1", {"text": "secret"}, "a text that can't be converted"),
        ("message.tags[3] == 'x'", {"tags": ("secret",)}, "a place beyond the end of a list"),
        ("message.id * message.id > 0", {"id": 1 << 60}, "a number of more than 64 bits"),
        ("message.metadata.a.b == 'x'", {"metadata": {"a": 1}}, ""),
        (
            "mentions.all(m, mentions.all(n, true))",
            {"mentions": ("secret",) * 100},
            "too many turns of a loop",
        ),
    ],
)
def test_an_error_is_told_without_the_message(text: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CelError) as caught:
        holds(text, **changes)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def deep(levels: int) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for _ in range(levels):
        tree = {"a": tree}
    return tree


@pytest.mark.parametrize(
    "metadata",
    [{"a": list(range(2_001))}, {"a": "x" * 70_000}, deep(50), {f"{'k' * 90}{i}": 1 for i in range(900)}],
)
def test_more_metadata_than_people_write_is_an_error_not_a_wait(metadata: dict[str, Any]) -> None:
    with pytest.raises(TooMuchError):
        holds("has(message.metadata.a)", metadata=metadata)


def test_an_error_is_a_fault_of_one_rule_and_the_others_go_on() -> None:
    desk = Bench(
        rules_of(
            "rules: [{name: bad, when: '1 / size(message.text) == 1'}, {name: good, when: {type: text}}]"
        )
    )
    outcome = desk.feed(a_message())
    assert [alert.rule for alert in outcome.alerts] == ["good"]
    (fault,) = outcome.faults
    assert fault.rule == "bad"
    assert fault.error.startswith("CelError at cel.py:")
    assert fault.error.endswith(": a division by zero")


# --- what is refused, and where ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        ("message.txt == 'x'", 0, 'there is no "message.txt" here (did you mean "message.text"?)'),
        ("'ü' == 'ü' && mesage.text == 'x'", 14, '(did you mean "message.text"?)'),
        ("sender == 'x'", 0, 'there is no "sender" here (did you mean "sender.id"?)'),
        ("foo == 1", 0, 'there is no "foo" here; there is attachments, call, callee'),
        ("message.xyz == 1", 0, "; there is message.id, message.text"),
        ("true &&\n  nn", 10, 'there is no "nn" here'),
        ("message.text.conains('x')", 13, 'there is no function "conains" (did you mean "contains"?)'),
        ("contians(message.text)", 0, 'there is no function "contians" (did you mean "contains"?)'),
        ("message.text.matches('x')", 13, "write search"),
        ("attachments.any(a, a.size > 3)", 12, "write exists"),
        ("message.text.contains(3)", 21, "contains does not take (string, int)"),
        ("message.id > 1.5", 11, "> can't stand between int and double"),
        ("'a' in message.text", 4, "in can't stand between string and string"),
        ("!message.id", 0, "! can't stand before int"),
        ("message.text[0] == 'a'", 12, "[ ] can't be used with string and int"),
        ("message.edited ? 1 : 'x'", 15, "? can't stand between bool and int and string"),
        ("message.id", 0, "it gives int, not true or false"),
        ("message.metadata.a", 0, "it gives dyn, not true or false: compare it"),
        ("attachments.exists(a, a.extnsion == 'x')", 23, '"extnsion" (did you mean "extension"?)'),
        ("attachments[0]['sise'] == 1", 15, '"sise" (did you mean "size"?)'),
        ("attachments.exists(a.b, true)", 20, "variable name must be a simple identifier"),
        ("message.text == \"x", 16, 'the text that begins with " does not end'),
        ("message.edited and true", 15, "and does not belong here: write &&"),
        ("message.edited = true", 15, "= does not belong here: write =="),
        ("(message.edited", 15, "the expression ends too soon: ) is missing"),
        ("message.edited)", 14, ") does not belong here"),
        ("message.edited #", 15, "# does not belong here"),
        ("message.edited &&", 17, "the expression ends too soon"),
        ("(" * 40 + "true" + ")" * 40, 0, "it is nested too deeply"),
        ("message.id == 9223372036854775808", 14, "invalid int literal"),
        ("message.text.search('(')", 20, "RE2 refuses this regular expression: missing ): ("),
        ("message.text.search(sender.id)", 26, "search takes a text in quotes"),
        ("message.text.has_word(' ')", 22, "an empty text is no word"),
        ("sender.id.in_list('vpi')", 18, 'there is no list "vpi" (did you mean "vip"?)'),
        ("mentions.all(m, message.text.contains(m))", 0, "it could take some 0.7 s"),
        ("message.text.contains(message.metadata.x)", 0, "look at long texts and metadata once"),
        ("true || " * 300 + "true", 0, "an expression of 2404 characters, more than 2000"),
    ],
)  # fmt: skip
def test_a_wrong_expression_is_refused_at_the_place(text: str, at: int, said: str) -> None:
    (found, *_) = wrong(text, "vip")
    assert found[0] == at
    assert said in found[1]


def test_every_unknown_name_is_told() -> None:
    assert [at for at, _ in wrong("a || b || c")] == [0, 5, 10]


@pytest.mark.parametrize(
    ("when", "place"),
    [
        ("when: message.txt == 'x'", "4:11"),
        ("when: \"true && message.txt == 'x'\"", "4:20"),
        ("when: 'true && message.txt == ''x'''", "4:20"),
        ("when: |\n      true &&\n      message.txt == 'x'", "6:7"),
        ("when: >-\n      true\n\n      && message.txt == 'x'", "7:10"),
        ("when: true &&\n      message.txt == 'x'", "5:7"),
        ("when: {type: text, cel: message.txt == 'x'}", "4:29"),
        ("when: {any: [{type: text}, \"message.txt == 'x'\"]}", "4:33"),
        ("when: {not: message.txt == 'x'}", "4:17"),
        ("when: >\n      # no comment\n      message.txt == 'x'", "5:7"),
    ],
)
def test_the_place_is_that_of_the_line_in_the_file(when: str, place: str) -> None:
    with pytest.raises(SpecError) as caught:
        rules_of(f"rules:\n  - name: it\n    severity: info\n    {when}\n")
    assert str(caught.value).startswith(f"rules.yaml:{place}: ")


def test_an_expression_takes_the_place_of_conditions_or_stands_among_them() -> None:
    text = "sender.role == 'agent'"
    whole = rules_of(f'rules: [{{name: it, when: "{text}"}}]')
    among = rules_of(f'rules: [{{name: it, when: {{type: text, cel: "{text}"}}}}]')
    assert whole.rules[0].describe() == f"it (warning): messages with CEL {text}"
    for rules in (whole, among):
        assert Bench(rules).feed(in_group()).alerts
        assert not Bench(rules).feed(in_group(sender=BOB)).alerts


def test_a_rule_about_calls_takes_no_expression() -> None:
    with pytest.raises(SpecError, match='unknown key "cel"'):
        rules_of("rules: [{name: it, kind: missed_call, when: {cel: 'true'}}]")


def test_a_new_name_in_a_list_does_not_change_the_fingerprint() -> None:
    rule = "rules: [{name: it, when: \"sender.id.in_list('vip')\"}]"

    def of(names: str) -> str:
        sources = [Source("a.yaml", rule), Source("b.yaml", f"lists: {{vip: [{names}]}}")]
        return next(iter(load(sources, app=APP).fingerprints.values()))

    assert of("ann") == of("ann, bob")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from rules import cel

    cel.environment.cache_clear()
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    with pytest.raises(SpecError, match=r"rules.yaml:1:26: .* pip install 'cometwatch\[cel\]'"):
        rules_of("rules: [{name: it, when: 'message.edited'}]")


# --- what it costs ----------------------------------------------------------------------------------

LARGEST = a_message(
    text="ab" * 32_768,
    tags=tuple(f"{'t' * 990}{number}" for number in range(100)),
    mentions=tuple(f"{'m' * 990}{number}" for number in range(100)),
    attachments=tuple(
        Attachment(name="n" * 1_000, extension="e" * 1_000, mime_type="m" * 1_000, size=number)
        for number in range(100)
    ),
    metadata={f"key-{number}": "v" * 20 for number in range(1_900)},
    custom={"list": [f"value-{number}" for number in range(1_900)]},
)


@pytest.mark.parametrize(
    "text",
    [
        "attachments.exists(a, a.size > 1000 && a.extension in ['exe', 'bat', 'com'])",
        "mentions.all(m, !(m in message.tags))",
        "message.metadata == message.custom",
        "message.custom.list.exists(v, v == 'none')",
        "message.text.search('a[ab]{100}c')",
        "message.text.has_word('ab ab')",
        "message.text.contains('" + "ab" * 200 + "c')",
        "mentions.filter(m, m.startsWith('m')).size() > 200",
    ],
)
def test_what_is_accepted_is_fast_for_the_largest_message(text: str) -> None:
    test = Cel(text=text).compile()
    took = []
    for _ in range(3):
        began = process_time()
        test(LARGEST, WATCH_BOB)
        took.append(process_time() - began)
    assert min(took) < 0.1
