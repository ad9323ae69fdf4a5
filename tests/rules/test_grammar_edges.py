"""Shapes of YAML at their limits: what is read, what is said of what is not, and where."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import yaml

from rules.grammar import (
    MAX_BYTES,
    MAX_LIST,
    Choice,
    Duration,
    Either,
    Flag,
    Key,
    Many,
    Record,
    Report,
    Scalar,
    Shape,
    Size,
    Text,
    Words,
    did_you_mean,
    duration,
    nearest,
    parse,
    said,
    shown,
)
from rules.spec import load
from rules.text import Place, Source, SpecError, compose
from rules.when import CALL_CONDITIONS, MATCHERS, MESSAGE_CONDITIONS, Path


def node(text: str) -> yaml.Node:
    found = compose(Source("x.yaml", text), max_bytes=MAX_BYTES, max_nodes=5_000)
    assert found is not None
    return found


def read(shape: Shape, text: str) -> tuple[Any, list[str]]:
    report = Report(source="x.yaml")
    return shape.read(node(text), report), [str(problem) for problem in report.problems]


# --- words about words ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "close"),
    [("SENDR", "Sender"), ("sender", "Sender"), ("idle_ms", "IDLE_MS"), ("xyz", None), ("", None)],
)
def test_the_nearest_word_in_any_case(word: str, close: str | None) -> None:
    assert nearest(word, ["Sender", "receiver", "IDLE_MS"]) == close
    assert did_you_mean(word, ["Sender", "IDLE_MS"]) == (f' (did you mean "{close}"?)' if close else "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{a: b}", "a mapping"),
        ("[]", "a list"),
        ("''", "nothing"),
        ("'a  b'", '"a b"'),
        ("x" * 60, '"' + "x" * 60 + '"'),
        ("x" * 61, '"' + "x" * 60 + '…"'),
        (r'"a\ud800"', r'"a\ud800"'),
    ],
)
def test_a_node_as_an_error_quotes_it(text: str, said: str) -> None:
    assert shown(node(text)) == said


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0s"), (0.5, "0.5s"), (60, "60s"), (90, "90s"), (119, "119s"), (120, "2m"), (3_600, "60m"),
        (7_200, "2h"), (86_400, "24h"), (172_800, "2d"), (172_860, "2881m"), (7_201, "7201s"),
    ],
)  # fmt: skip
def test_a_duration_as_people_write_it_can_be_read_again(seconds: float, written: str) -> None:
    assert said(timedelta(seconds=seconds)) == written
    assert duration(written) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1ms", 0.001), ("1.5s", 1.5), ("2m", 120), ("3h", 10_800), ("1d", 86_400)]
)
def test_every_unit_of_time(text: str, seconds: float) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "-1s", "1 s", "1.s", "1S", "1.0001s", "1234567s", "1w", "1s\n"]
)
def test_what_is_no_duration(text: str) -> None:
    assert duration(text) is None


# --- shapes -----------------------------------------------------------------------------------------

FIVE = Duration(least=timedelta(seconds=5), most=timedelta(minutes=5))


@pytest.mark.parametrize(("text", "value"), [("5s", 5), ("5m", 300), ("300s", 300)])
def test_a_duration_counts_its_limits_in(text: str, value: int) -> None:
    assert read(FIVE, text) == (timedelta(seconds=value), [])


@pytest.mark.parametrize("text", ["4.999s", "5.001m", "[5s]", "5"])
def test_a_duration_outside_is_refused(text: str) -> None:
    value, (problem,) = read(FIVE, text)
    assert value is None
    assert problem.endswith("between 5s and 5m; for example 90s")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0B", 0), ("7B", 7), ("1.5kB", 1_500), ("1KB", 1_000), ("2MB", 2_000_000), ("3GB", 3 * 10**9),
        ("1KiB", 1_024), ("2MiB", 2 << 20), ("3GiB", 3 << 30),
    ],
)  # fmt: skip
def test_every_unit_of_size(text: str, count: int) -> None:
    assert read(Size(), text) == (count, [])


@pytest.mark.parametrize("text", ["10", "MB", "-1B", "1TB", "1 MB", "1mb", "{}", "1234567890B"])
def test_what_is_no_size(text: str) -> None:
    value, (problem,) = read(Size(), text)
    assert value is None
    assert problem.endswith("(B, kB, MB, GB, KiB, MiB, GiB); for example 10MB")


SHORT = Text(max_length=3, pattern="[a-z]+", example="abc", expected="a word")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("abcd", "x.yaml:1:1: found a text of 4 characters, more than 3; expected a word; for example abc"),
        ("a1", 'x.yaml:1:1: "a1" has not the right form; expected a word; for example abc'),
        ("' '", "x.yaml:1:1: found an empty text; expected a word; for example abc"),
        ("~", 'x.yaml:1:1: found "~"; expected a word; for example abc'),
        ("[a]", "x.yaml:1:1: found a list; expected a word; for example abc"),
        (
            "true",
            "x.yaml:1:1: YAML reads \"true\" as true or false; expected a word; for example 'true' in quotes",
        ),
    ],
)
def test_why_a_text_is_refused(text: str, problem: str) -> None:
    assert read(SHORT, text) == (None, [problem])


def test_a_text_may_be_so_long_and_a_number_is_text() -> None:
    assert read(SHORT, "abc") == ("abc", [])
    assert read(Text(), "012") == ("012", [])
    assert read(Text(), "1.50") == ("1.50", [])


def test_a_check_has_the_last_word() -> None:
    def check(text: str) -> str | None:
        return f"{text} is odd" if text == "b" else None

    assert read(Text(check=check), "a") == ("a", [])
    assert read(Text(check=check), "b") == (None, ["x.yaml:1:1: b is odd; expected text"])


KNOWN = Text(known=("image", "video"))


@pytest.mark.parametrize(("word", "warns"), [("image", False), ("imgae", True), ("sticker", False)])
def test_a_slip_is_taken_with_a_warning(word: str, warns: bool) -> None:
    value, problems = read(KNOWN, word)
    assert value == word
    assert len(problems) == warns
    assert all("warning" in problem for problem in problems)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", "a"), ("1", 1), ("1.5", 1.5), ("true", True), ("~", None), ("'1'", "1"),
        (str(2**63 - 1), 2**63 - 1), (str(-(2**63) + 1), -(2**63) + 1), ("-0", 0),
    ],
)  # fmt: skip
def test_any_single_value_with_its_type(text: str, value: object) -> None:
    (found,), problems = read(Scalar(), text)
    assert (found, type(found), problems) == (value, type(value), [])


@pytest.mark.parametrize("text", [str(2**63), str(-(2**63)), "1" * 20, "-" + "9" * 20, "9" * 5_000])
def test_a_number_that_json_readers_would_round_is_refused(text: str) -> None:
    value, (problem,) = read(Scalar(), text)
    assert value is None
    assert "found a number of more than 64 bits" in problem


def test_a_list_holds_one_to_so_many() -> None:
    words = Many(each=Choice(words=("a", "b")))
    assert read(words, "a") == (("a",), [])
    assert read(words, f"[{', '.join(['a'] * MAX_LIST)}]") == (("a",) * MAX_LIST, [])
    assert read(words, "[]") == (None, [f"x.yaml:1:1: found a list of 0; expected 1 to {MAX_LIST} entries"])
    value, (problem,) = read(words, f"[{', '.join(['a'] * (MAX_LIST + 1))}]")
    assert value is None
    assert problem.startswith(f"x.yaml:1:1: found a list of {MAX_LIST + 1}; expected 1 to")


def test_every_wrong_entry_of_a_list_is_told() -> None:
    value, problems = read(Many(each=Choice(words=("left", "right"))), "[left, lft, up]")
    assert value is None
    assert problems == [
        'x.yaml:1:8: found "lft" (did you mean "left"?); expected one of left, right',
        'x.yaml:1:13: found "up"; expected one of left, right',
    ]


PAIR = Record(
    name="a pair",
    keys={"one": Key(Text(), "First.", "one: a"), "two": Key(Flag(), "Second.")},
    required=("one",),
    elsewhere={"three": ": it belongs to triples"},
)
MISSING = 'x.yaml:1:1: "one" is missing; for example one: a'


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("{two: true}", [MISSING]),
        (
            "{tow: x}",
            ['x.yaml:1:2: unknown key "tow" (did you mean "two"?); expected one of one, two', MISSING],
        ),
        (
            "{three: b}",
            ['x.yaml:1:2: unknown key "three": it belongs to triples; expected one of one, two', MISSING],
        ),
        ("{one: a, one: b}", ['x.yaml:1:10: "one" stands here twice, first in line 1']),
        ("[a]", ["x.yaml:1:1: found a list; expected a pair with the keys one, two"]),
        ("a", ['x.yaml:1:1: found "a"; expected a pair with the keys one, two']),
    ],
)
def test_why_a_mapping_is_refused(text: str, problems: list[str]) -> None:
    assert read(PAIR, text) == (None, problems)


def test_a_mapping_is_read_by_its_keys() -> None:
    assert read(PAIR, "{two: false, one: a}") == ({"two": False, "one": "a"}, [])
    assert PAIR.schema()["required"] == ["one"]
    assert "required" not in Record(keys={}).schema()


LABELS = Words(max_length=5, max_keys=2)


@pytest.mark.parametrize(
    ("text", "value", "said"),
    [
        ("{a: x, b: 1}", {"a": "x", "b": "1"}, []),
        ("{a: x, b: y, c: z}", None, ["found a mapping; expected a mapping from names to text, at most 2"]),
        ("{a: x, a: y}", None, ['"a" stands here twice']),
        ("{a: abcdef}", None, ["found a text of 6 characters, more than 5"]),
        ("{1a: x}", None, ['"1a" has not the right form; expected a name']),
        ("{1a: true}", None, ['"1a" has not the right form', 'YAML reads "true" as true or false']),
        ("a", None, ['found "a"; expected a mapping from names to text, at most 2']),
    ],
)  # fmt: skip
def test_a_free_mapping(text: str, value: object, said: list[str]) -> None:
    found, problems = read(LABELS, text)
    assert found == value
    assert len(problems) == len(said)
    assert all(words in problem for words, problem in zip(said, problems, strict=True))


def test_one_shape_for_a_value_another_for_a_mapping() -> None:
    either = Either(plain=Flag(), mapping=PAIR)
    assert read(either, "true") == (True, [])
    assert read(either, "{one: a}") == ({"one": "a"}, [])
    value, (problem,) = read(either, "~")
    assert value is None
    assert problem == "x.yaml:1:1: found nothing; expected true or false; or a pair with the keys one, two"
    assert read(either, "[]")[1] == ["x.yaml:1:1: found a list; expected true or false"]


def test_a_file_that_can_not_be_read_is_a_problem_not_an_error() -> None:
    report = Report(source="x.yaml")
    assert parse(Source("x.yaml", "a: ["), report) is None
    assert [str(problem)[:28] for problem in report.problems] == ["x.yaml:1:5: this is not YAML"]
    assert parse(Source("x.yaml", ""), Report(source="x.yaml")) is None


def test_warnings_are_no_failures() -> None:
    report = Report(source="x.yaml")
    report.warn(node("a"), "odd", expected="even")
    assert (report.failures, str(report.problems[0])) == (0, "x.yaml:1:1: warning: odd; expected even")
    report.refuse(node("a"), "wrong")
    assert report.failures == 1


def test_what_is_wrong_is_told_without_what_is_only_doubtful() -> None:
    rules = "rules: [{name: a, when: {type: imgae}}, {name: b, when: {typ: image}}]"
    with pytest.raises(SpecError) as caught:
        load([Source("x.yaml", rules)], app="app")
    assert ["unknown key" in str(problem) for problem in caught.value.problems] == [True]


# --- places -----------------------------------------------------------------------------------------


def test_a_character_that_yaml_forbids_has_the_file_as_its_place() -> None:
    with pytest.raises(SpecError) as caught:
        node("a: " + "\x00" + "b" * 500)
    (problem,) = caught.value.problems
    assert problem.place == Place("x.yaml", 1, 1)
    assert len(problem.message) <= len("this is not YAML: ") + 200


def test_many_problems_are_one_text_with_a_line_each() -> None:
    with pytest.raises(SpecError) as caught:
        node("a: *b")
    assert str(caught.value).startswith("x.yaml:1:4: YAML anchors and aliases")
    assert str(Place("x.yaml")) == "x.yaml"


# --- conditions as they are written -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path"), [("a.b", ("a", "b")), ("a", ("a",)), ("[a.b, c]", ("a.b", "c")), ("[a]", ("a",))]
)
def test_a_path_is_dotted_or_a_list(text: str, path: tuple[str, ...]) -> None:
    assert read(Path(), text) == (path, [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "no condition stands here; expected conditions, such as category, type, action, sender"),
        (
            "{all: []}",
            "found a list; expected a list of conditions; for example [{type: image}, {text: invoice}]",
        ),
        ("{any: {type: text}}", "found a mapping; expected a list of conditions"),
        ("{senders: a}", 'unknown key "senders" (did you mean "sender"?)'),
        ("{nott: {type: a}}", 'unknown key "nott" (did you mean "not"?)'),
    ],
)
def test_why_conditions_are_refused(text: str, said: str) -> None:
    value, (problem,) = read(MESSAGE_CONDITIONS, text)
    assert value is None
    assert said in problem


def test_a_whole_call_is_asked_only_what_its_rows_share() -> None:
    for name in MATCHERS.keys() - {"caller", "callee", "type", "receiver_type", "conversation", "role"}:
        _, problems = read(CALL_CONDITIONS, f"{{{name}: x}}")
        assert ": this rule looks at whole calls, and the rows of one call differ in it" in problems[0]


def test_one_condition_stands_alone_and_several_together() -> None:
    one, _ = read(MESSAGE_CONDITIONS, "{type: text}")
    two, _ = read(MESSAGE_CONDITIONS, "{type: text, sender: ann}")
    many, _ = read(MESSAGE_CONDITIONS, f"{{any: [{', '.join(['{type: text}'] * MAX_LIST)}]}}")
    assert (one.describe(), two.describe()) == ("type text", "type text, and sender ann")
    assert many.conditions == (one,) * MAX_LIST


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{attachments: {extension: [.PDF, '*.Tar']}}", "an attachment (pdf or *.tar)"),
        ("{attachments: {mime: IMAGE/*, type: image}}", "an attachment (image, image/*)"),
        ("{attachments: {min_size: 1kB}}", "an attachment (at least 1000 bytes)"),
        ("{attachments: {max_size: 2kB}}", "an attachment (at most 2000 bytes)"),
        ("{attachments: false}", "no attachment"),
        ("{mentions: [all, anyone]}", "a mention of everyone (@all) or anyone"),
        ("{mentions: {users: [zoe]}}", "a mention of zoe"),
        ("{text: [a, b c]}", 'the word "a" or the word "b c"'),
        ("{text: {words: a, contains: b, regex: c}}", 'the word "a" or "b" in the text or text like /c/'),
        ("{metadata: {path: a.b, equals: [1, x]}}", "metadata a.b equal to 1 or x"),
        ("{custom: {path: [a.b], exists: false}}", "no custom a.b"),
        ("{custom: {path: a, exists: true, equals: 1}}", "custom a equal to 1"),
        ("{edited: false}", "no edit"),
        ("{thread_reply: true}", "a reply in a thread"),
        ("{direction: inbound}", "a watched receiver"),
        ("{not: {tags: a}}", "not tag a"),
        ("{all: [{tags: a}]}", "tag a"),
    ],
)  # fmt: skip
def test_conditions_mean_what_they_say(text: str, said: str) -> None:
    condition, problems = read(MESSAGE_CONDITIONS, text)
    assert problems == []
    assert condition.describe() == said
