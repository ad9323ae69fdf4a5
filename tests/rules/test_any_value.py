"""Values that are blocked, and values that are not allowed."""

from __future__ import annotations

from typing import Any

import pytest

from rules.model import Attachment, Message, Party, UserId
from rules.spec import SpecError
from tests.rules.builders import ANN, WATCH_BOB, Bench, a_call, a_message, in_group, rules_of


def any_of(options: str) -> Bench:
    return Bench(rules_of(f"rules: [{{name: odd, kind: any, {options}}}]"))


def files(*extensions: str | None, **changes: Any) -> Message:
    return a_message(
        type="file",
        attachments=tuple(Attachment(name="it", extension=extension) for extension in extensions),
        **changes,
    )


TOLD: list[tuple[str, Message]] = [
    ("field: extension, block: [exe, js]", files("exe")),
    ("field: extension, block: [exe, js]", files("pdf", "JS")),
    ("field: extension, block: EXE", files("exe")),
    ("field: extension, allow: [pdf]", files("exe")),
    ("field: extension, allow: [pdf]", files("pdf", "exe")),
    ("field: extension, allow: 'p*', block: [png]", files("png")),
    ("field: mime, block: 'image/*'", a_message(attachments=(Attachment(mime_type="Image/PNG; q=1"),))),
    ("field: sender, allow: [bob, zoe]", a_message()),
    ("field: sender, block: ANN", a_message()),
    ("field: sender, block: 'a*'", a_message()),
    ("field: callee, block: [bob]", a_call("busy")),
    ("field: caller, allow: [bob]", a_call("busy")),
    ("field: mentioned, allow: [bob]", in_group(mentions=("zoe", "bob"))),
    ("field: metadata.order.kind, allow: [plain]", a_message(metadata={"order": {"kind": "odd"}})),
    ("field: sender, block: ann, when: {type: text}", a_message()),
    ("field: role, block: agent, when: {direction: inbound}", a_message()),
]
NOT_TOLD: list[tuple[str, Message]] = [
    ("field: extension, block: [exe, js]", files("pdf")),
    ("field: extension, block: [exe, js]", files(None)),
    ("field: extension, block: [exe, js]", a_message()),
    ("field: extension, allow: [pdf]", a_message()),
    ("field: extension, allow: [pdf, exe]", files("exe", "PDF")),
    ("field: extension, allow: 'p*', block: [png]", files("pdf")),
    ("field: sender, allow: [ann]", a_message()),
    ("field: sender, block: bob", a_message()),
    ("field: callee, block: [zoe]", a_call("busy")),
    ("field: caller, allow: [bob]", a_message()),
    ("field: metadata.order.kind, allow: [plain]", a_message(metadata={"order": "odd"})),
    ("field: sender, block: ann, when: {type: image}", a_message()),
    ("field: role, block: agent, when: {direction: outbound}", a_message()),
]


@pytest.mark.parametrize(("options", "message"), TOLD)
def test_a_wrong_value_is_told_once(options: str, message: Message) -> None:
    bench = any_of(options)
    bench.feed(message)
    bench.feed(message)
    assert bench.news == [("1", "firing")]
    assert (bench.states, bench.timers, bench.last.faults) == ({}, {}, ())


@pytest.mark.parametrize(("options", "message"), NOT_TOLD)
def test_a_right_value_or_none_is_not_told(options: str, message: Message) -> None:
    bench = any_of(options)
    bench.feed(message)
    assert (bench.told, bench.last.faults) == ([], ())


def test_a_message_of_nobody_watched_is_not_told() -> None:
    bench = any_of("field: sender, block: zoe")
    bench.feed(a_message(sender=Party(id="zoe")))
    bench.watch = {UserId("eve"): {}}
    bench.feed(a_message(sender=Party(id="zoe"), receiver=ANN))
    assert len(bench.told) == 1


def test_an_alert_names_the_values_and_whom_it_concerns() -> None:
    bench = any_of("field: extension, allow: [pdf]")
    bench.feed(files("exe", "pdf", "js\u202e"))
    (alert,) = bench.told
    assert alert.title == "odd: extension exe from Ann Archer (ann) to Bob Brown (bob)"
    assert alert.summary == "exe, js in ann_user_bob, 2026-11-22 12:00:00 UTC"
    assert alert.watched_users == ("bob",)
    assert alert.resolution is None


def test_who_is_mentioned_in_a_group_is_concerned() -> None:
    bench = any_of("field: mentioned, block: '*'")
    bench.feed(in_group(mentions=("zoe", "bob")))
    assert bench.told[0].watched_users == ("bob",)
    bench = Bench(bench.rules, watch={})
    bench.feed(in_group(mentions=("zoe",)))
    assert bench.told[0].watched_users == ()


def test_the_text_is_compared_and_not_shown() -> None:
    bench = any_of("field: text, allow: [nothing]")
    bench.feed(a_message(text="a secret"))
    (alert,) = bench.told
    assert alert.title == "odd: text from Ann Archer (ann) to Bob Brown (bob)"


def test_values_come_from_named_lists() -> None:
    text = """
        lists: {risky: [exe, '*sh']}
        rules: [{name: odd, kind: any, field: extension, block: {list: risky}}]
    """
    bench = Bench(rules_of(text), watch=WATCH_BOB)
    bench.feed(files("bash"))
    assert len(bench.told) == 1


def test_a_value_that_is_too_long_to_keep_is_compared_all_the_same() -> None:
    name = "x" * 300
    bench = any_of(f"field: extension, allow: [pdf, {name}]")
    bench.feed(files(name.upper()))
    assert bench.told == []


def test_of_many_senders_that_are_blocked_only_theirs_reach_the_rule() -> None:
    rules = rules_of("rules: [{name: odd, kind: any, field: sender, block: [zoe, eve]}]")
    assert rules.singles.at(a_message(sender=ANN)) == ()
    assert len(rules.singles.at(a_message(sender=Party(id="Zoe")))) == 1


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ("field: extension", '"allow" or "block" is missing'),
        ("field: extention, block: exe", 'did you mean "extension"'),
        ("block: exe", '"field" is missing'),
        ("field: extension, block: []", "1 to 1000 entries"),
    ],
)
def test_a_mistake_has_its_place(options: str, wrong: str) -> None:
    with pytest.raises(SpecError) as caught:
        any_of(options)
    assert wrong in str(caught.value)
    assert str(caught.value).startswith("rules.yaml:1:")


def test_the_rule_says_what_it_looks_for() -> None:
    bench = any_of("field: extension, allow: [pdf, png], block: [exe], when: {sender: ann}")
    said = bench.rules.rules[0].describe()
    assert said == "odd (warning): messages with sender ann whose extension is exe or none of pdf or png"
