"""Rule files: every problem at once, each with its place, what was expected and the nearest right name."""

from __future__ import annotations

import contextlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rules.model import Severity
from rules.spec import PACKS, Source, SpecError, load, pack, schema, warnings
from tests.rules.builders import APP, rules_of

GOLDEN = Path(__file__).parent / "golden"


def problems(text: str, **options: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        rules_of(text, **options)
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
    return [str(problem) for problem in caught.value.problems]


def in_rule(line: str) -> str:
    return f"rules:\n  - name: it\n    when: {{type: text}}\n    {line}\n"


def in_when(line: str) -> str:
    return f"rules:\n  - name: it\n    when:\n      {line}\n"


# --- what is right ----------------------------------------------------------------------------------


def test_a_rule_takes_what_its_file_says() -> None:
    rules = rules_of("""
rules:
  - name: big-image
    when: {attachments: {type: image, min_size: 10MB}}
    severity: critical
    labels: {team: payments, tier: 1}
    annotations: {runbook_url: https://wiki.example/big}
  - {name: 'off', when: {type: text}, enabled: false}
""")
    (rule,) = rules.rules
    assert (
        rule.describe()
        == "big-image (critical): messages with an attachment (image, at least 10000000 bytes)"
    )
    assert (rule.kind, rule.severity) == ("match", Severity.CRITICAL)
    assert rule.labels == {"team": "payments", "tier": "1"}
    assert rule.annotations == {"runbook_url": "https://wiki.example/big"}
    assert str(rule.place) == "rules.yaml:3:5"
    assert set(rules.fingerprints) == {"big-image"}


def test_no_rules_is_a_rule_set_too() -> None:
    assert load([], app=APP).rules == ()
    assert rules_of("rules: []").rules == ()


def test_a_fingerprint_changes_with_what_a_rule_looks_for_not_with_its_words() -> None:
    def of(line: str) -> str:
        return rules_of(in_rule(line)).fingerprints[rules_of(in_rule(line)).rules[0].name]

    def called(options: str) -> list[str]:
        return list(rules_of(f"rules: [{{name: it, kind: missed_call{options}}}]").fingerprints.values())

    assert of("severity: critical") == of("title: hello") == of("labels: {a: b}")
    assert called("") == called(", severity: info")
    assert called("") != called(", side: any") != called(", min_ring: 6s")
    assert called("") != called(", when: {type: audio}")


# --- what is wrong ----------------------------------------------------------------------------------


def test_every_problem_of_every_file_is_told_at_once() -> None:
    first = Source("a.yaml", (GOLDEN / "many-problems.yaml").read_text(encoding="utf-8"))
    second = Source(
        "b.yaml", "rules: [{name: x, when: {type: text, type: image}, title: {{ x }}, min_ring: 5s}]"
    )
    with pytest.raises(SpecError) as caught:
        load([first, second], app=APP, link="ftp://x")
    assert f"{caught.value}\n" == (GOLDEN / "many-problems.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", 'f.yaml:1:1: the file is empty; expected a mapping with the key "rules"'),
        ("# nothing", "f.yaml:1:1: the file is empty"),
        ("rules:", "f.yaml:1:7: found nothing; expected a list of at most 1000 rules"),
        ("rule: []", 'f.yaml:1:1: unknown key "rule" (did you mean "rules"?); expected one of rules'),
        ("[]", 'f.yaml:1:1: found a list; expected a mapping with the key "rules"'),
        ("{}", 'f.yaml:1:1: "rules" is missing'),
        ("rules: [x]", 'f.yaml:1:9: found "x"; expected a rule with the keys name, kind, when'),
        ("rules: [{}]", 'f.yaml:1:9: "name" is missing; for example name: big-attachment'),
        ("rules: []\nrules: []", 'f.yaml:2:1: "rules" stands here twice, first in line 1'),
        ("rules: [{name: &a x}]", "f.yaml:1:16: YAML anchors and aliases (& and *) are not used"),
        ("rules: [", "f.yaml:1:9: this is not YAML: "),
        ("rules: []\n---\nrules: []", "f.yaml:2:1: this is not YAML: but found another document"),
        ("rules:\n\t- x", "f.yaml:2:1: this is not YAML: found character '\\t' that cannot start any token"),
        ("rules: \x00", "f.yaml:1:1: this is not YAML: unacceptable character"),
        ("#" * 300_000, "f.yaml:1:1: the file is larger than 256 KiB"),
        ("rules: [{name: !!python/object:os.system x}]", "f.yaml:1:16: YAML tags (!) are not used here"),
        ("rules: [{<<: {name: x}}]", 'unknown key "<<"'),
        ("rules: [{? [a, b] : c}]", "unknown key a list"),
    ],
)
def test_a_file_that_is_no_rule_file_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        load([Source("f.yaml", text)], app=APP)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("severity: high", 'rules.yaml:4:15: found "high"; expected one of critical, warning, info'),
        ("severity: critcal", '"critcal" (did you mean "critical"?)'),
        ("enabled: maybe", 'found "maybe"; expected true or false'),
        ("labels: {a-b: x}", '"a-b" has not the right form; expected a name of letters, digits and _'),
        ("labels: {a: true}", "in quotes"),
        ("labels: {a: x, a: y}", '"a" stands here twice'),
        ("labels: [a]", "found a list; expected a mapping from label names to text"),
        ("annotations: {a: '{{ x }}'}", "this is plain text: only title and summary are templates"),
        ("title: ''", "found an empty text"),
        ("title: ~", 'found "~"; expected a template in quotes'),
        ("min_ring: 5s", 'it belongs to the kind "missed_call", and this rule is of the kind "match"'),
        ("kind: mised_call", '(did you mean "missed_call"?)'),
        ("at_least: 5", 'it belongs to the kind "count" or "spike", and this rule is of the kind "match"'),
        ("kind: frequency", 'found "frequency" (did you mean "count"?)'),
        (
            "outside: {calendar: office}",
            'rules.yaml:4:25: there is no calendar "office"; for example calendars:',
        ),
        ("titel: x", '(did you mean "title"?)'),
        ("name: it", '"name" stands here twice, first in line 2'),
    ],
)
def test_a_wrong_key_of_a_rule_is_refused(line: str, said: str) -> None:
    assert said in "\n".join(problems(in_rule(line)))


def test_of_an_unknown_kind_the_other_keys_are_read_as_of_the_nearest() -> None:
    (problem,) = problems("rules: [{name: it, kind: cuont, at_least: 3, within: 5m}]")
    assert 'found "cuont" (did you mean "count"?)' in problem


def test_a_key_that_is_misspelt_is_not_told_to_be_missing_too() -> None:
    (problem,) = problems("rules: [{name: it, kind: unanswered, when: {type: text}, witin: 5m}]")
    assert 'unknown key "witin" (did you mean "within"?)' in problem


def test_an_unknown_calendar_is_told_beside_other_mistakes() -> None:
    first, second = problems("rules: [{name: it, when: {type: text}, during: office, severity: high}]")
    assert 'there is no calendar "office"' in first
    assert 'found "high"' in second


def test_a_calendar_with_a_mistake_is_not_told_to_be_missing() -> None:
    rule = "rules: [{name: it, when: {type: text}, during: office}]"
    (problem,) = problems(
        f'calendars: {{office: {{timezone: UTZ, open: {{days: mon, hours: "00:00-12:00"}}}}}}\n{rule}'
    )
    assert '"UTZ" is no time zone' in problem


def test_outside_working_time_something_is_different() -> None:
    office = 'calendars: {office: {timezone: UTC, open: {days: mon, hours: "09:00-17:00"}}}\n'
    (problem,) = problems(
        f"{office}rules: [{{name: it, when: {{type: text}}, outside: {{calendar: office}}}}]"
    )
    assert '"severity" or "labels" is missing' in problem


@pytest.mark.parametrize("name", ["rule-surge", "cometwatch-blind"])
def test_the_names_of_our_own_alerts_are_taken(name: str) -> None:
    (problem,) = problems(f"rules: [{{name: {name}, when: {{type: text}}}}]")
    assert f'"{name}" is a name of Cometwatch\'s own alerts' in problem


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{}", "no condition stands here"),
        ("[type]", "found a list; expected conditions, such as category, type, action, sender"),
        ("typ: text", 'rules.yaml:4:7: unknown key "typ" (did you mean "type"?)'),
        ("type: []", "found a list of 0; expected 1 to 1000 entries"),
        ("type: {a: b}", "found a mapping; expected text"),
        ("sender: true", 'YAML reads "true" as true or false; expected a uid'),
        ("sender: [a, False]", "rules.yaml:4:19: YAML reads"),
        ("direction: in", 'found "in"; expected one of inbound, outbound'),
        ("receiver_type: grup", '(did you mean "group"?)'),
        ("mentions: everyone", "expected one of watched, all, anyone"),
        ("mentions: {user: [a]}", '(did you mean "users"?)'),
        ("mentions: {}", '"users" is missing'),
        ("text: {regex: '(?=x)'}", "RE2 refuses this regular expression: invalid perl operator: (?="),
        ("text: {regex: 'a{1001}'}", "RE2 refuses this regular expression: invalid repetition size"),
        ("text: {regex: '((a{100}){100}){100}'}", "RE2 refuses this regular expression"),
        ("text: {regex: '.{900}x'}", "this regular expression is too large"),
        ("text: ~", "found nothing"),
        ("attachments: {min_size: 10}", 'found "10"; expected a size with a unit'),
        ("attachments: {min_size: -1MB}", 'found "-1MB"'),
        ("attachments: {type: picture}", "expected one of image, video, audio, file"),
        ("attachments: big", 'found "big"; expected true or false'),
        ("metadata: {equals: x}", '"path" is missing'),
        (
            "metadata: {path: a, equals: [[1]]}",
            "found a list; expected a text, a number, true, false or null",
        ),
        ("metadata: {path: a, equals: 1, exists: false}", "exclude each other"),
        ("edited: '1'", 'found "1"; expected true or false'),
        ("all: {type: text}", "found a mapping; expected a list of conditions"),
        ("not: [{type: text}]", "found a list; expected conditions"),
        ("any: [{type: text}, {not: {tpye: x}}]", 'rules.yaml:4:34: unknown key "tpye"'),
    ],
)
def test_a_wrong_condition_is_refused(line: str, said: str) -> None:
    assert said in "\n".join(problems(in_when(line)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("min_ring: 5", 'found "5"; expected a duration with a unit (ms, s, m, h, d) between 0s and 5m'),
        ("min_ring: 10m", "between 0s and 5m"),
        ("ring_timeout: 1s", "between 5s and 60m"),
        ("statuses: [missed]", "expected one of unanswered, cancelled, busy, rejected"),
        ("side: calee", '(did you mean "callee"?)'),
        ("when: {sender: ann}", "this rule looks at whole calls, and the rows of one call differ in it"),
        ("when: {colour: red}", 'unknown key "colour"; expected one of caller, callee'),
    ],
)
def test_a_wrong_option_of_a_missed_call_is_refused(options: str, said: str) -> None:
    assert said in "\n".join(problems(f"rules: [{{name: it, kind: missed_call, {options}}}]"))


def test_a_name_is_unique_across_files() -> None:
    twice = "rules: [{name: it, when: {type: text}}]"
    with pytest.raises(SpecError, match=r'b\.yaml:1:16: there is a rule "it" already, at a\.yaml:1:16'):
        load([Source("a.yaml", twice), Source("b.yaml", twice)], app=APP)


def test_a_rule_that_is_off_is_checked_all_the_same() -> None:
    assert problems("rules: [{name: it, enabled: false, when: {typ: x}}]")


def test_patterns_too_large_for_one_rule_are_refused_not_run() -> None:
    uids = ", ".join(f"'{i}{'?' * 200}'" for i in range(1_000))
    (said,) = problems(f"rules: [{{name: it, when: {{sender: [{uids}]}}}}]")
    assert said == "rules.yaml:1:9: its words and patterns are too many for one rule: split it"


HALF = r'"\ud800"'


@pytest.mark.parametrize(
    "text",
    [
        f"{HALF}: []",
        f"rules: [{{name: {HALF}}}, {{name: {HALF}}}]",
        f"rules: [{{kind: {HALF}}}]",
        f"rules: [{{name: it, {HALF}: x}}]",
        *(in_when(f"{key}: {HALF}") for key in ("sender", "text", "direction", "mentions", "attachments")),
        in_when(f"text: {{regex: {HALF}}}"),
        in_when(f"metadata: {{path: {HALF}}}"),
        in_when(f"metadata: {{path: a, equals: {HALF}}}"),
        in_rule(f"title: {HALF}"),
        in_rule(f"labels: {{a: {HALF}}}"),
        in_rule(f"labels: {{{HALF}: a}}"),
    ],
)
def test_half_a_character_is_refused_with_a_message_that_can_be_printed(text: str) -> None:
    for said in problems(text):
        assert said.encode()


@pytest.mark.parametrize(
    "value",
    ["2026-01-01", "0x1F", "1_000", ".nan", "-.inf", "~", "'1'", "no"],
)
def test_any_plain_value_can_be_compared_with(value: str) -> None:
    assert rules_of(in_when(f"metadata: {{path: a, equals: {value}}}")).rules


@pytest.mark.parametrize("number", [str(2**63), str(-(2**63)), "1" * 5_000])
def test_a_number_of_more_than_64_bits_is_refused(number: str) -> None:
    assert "more than 64 bits" in problems(in_when(f"metadata: {{path: a, equals: {number}}}"))[0]


def test_a_pack_that_does_not_exist_names_the_nearest() -> None:
    with pytest.raises(SpecError, match=r'there is no pack "missed-call" \(did you mean "missed-calls"\?\)'):
        pack("missed-call")
    with pytest.raises(SpecError):
        pack("../schema")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(SpecError):
        load([Source("any.yaml", text)], app=APP)


# --- warnings ---------------------------------------------------------------------------------------


def test_a_slip_in_a_word_of_the_api_is_a_warning() -> None:
    rules = rules_of("rules: [{name: it, when: {type: imgae, action: [kicked, my-own]}}]")
    (warning,) = map(str, rules.warnings)
    assert warning.startswith('rules.yaml:1:33: warning: "imgae" is not a word that CometChat')
    assert warning.endswith('(did you mean "image"?)')


def test_a_rule_that_no_message_can_meet_is_a_warning() -> None:
    rules = rules_of("rules: [{name: it, when: {category: message, caller: ann}}]")
    assert "no message can meet these conditions" in str(rules.warnings[0])


@pytest.mark.parametrize(
    ("rule", "source", "said"),
    [
        ("when: {mentions: watched}", "user", "1-1 conversations only"),
        ("when: {mentions: watched}", "user-all", None),
        ("when: {any: [{type: image}, {receiver_type: group}]}", "user", "1-1 conversations only"),
        ("when: {type: text, not: {receiver_type: group}}", "user", None),
        ("when: {conversation: group_team}", "user", "1-1 conversations only"),
        ("kind: missed_call", "user", None),
        ("kind: missed_call", "user-all", "needs call rows"),
        ("when: {category: call, action: rejected}", "user-all", "needs call rows"),
        ("when: {type: text}", "user", None),
        ("when: {type: text}", "user-all", None),
        ("when: {mentions: watched}", "app", None),
        ("when: {mentions: [watched, all]}", "app", "need not name a watched user"),
        ("when: {receiver_type: group}", "app", "need not name a watched user"),
        ("kind: missed_call", "app", "needs call rows"),
        ("kind: missed_call", "groups", "between two users"),
        ("when: {receiver_type: user}", "groups", "between two users"),
        ("when: {conversation: ann_user_bob}", "groups", "between two users"),
        ("when: {mentions: watched}", "groups", None),
        ("when: {type: text}", "groups", None),
    ],
)
def test_what_a_source_cannot_show_is_a_warning(rule: str, source: str, said: str | None) -> None:
    told = [str(warning) for warning in warnings(rules_of(f"rules: [{{name: it, {rule}}}]"), source)]
    assert len(told) == (1 if said else 0)
    assert all(line.startswith("rules.yaml:1:9: warning: ") and str(said) in line for line in told)


@pytest.mark.parametrize("source", ["user", "app"])
def test_groups_that_are_named_are_seen(source: str) -> None:
    rules = rules_of("rules: [{name: it, when: {receiver_type: group, mentions: all}}]")
    assert warnings(rules, source)
    assert warnings(rules, source, has_groups=True) == ()


# --- the published schema ---------------------------------------------------------------------------

RIGHT = [
    "rules: []",
    in_rule("severity: info"),
    in_rule("labels: {team: payments, tier: 1}"),
    in_when("text: {words: [a, b], regex: 'x+'}"),
    in_when("any: [{type: text}, {not: {sender: 12345}}]"),
    in_when("metadata: {path: [a.b, c], equals: [1, true, null, x]}"),
    in_when("attachments: {type: [image, video], min_size: 1.5MB}"),
    in_when("mentions: {users: a}"),
    "rules: [{name: it, kind: missed_call, side: any, min_ring: 0s, when: {caller: [a, b]}}]",
]
WRONG = [
    "{}",
    "rules: {}",
    "rules: [{name: it}]",
    in_rule("severity: high"),
    in_rule("min_ring: 5s"),
    in_rule("titel: x"),
    in_when("typ: text"),
    in_when("direction: in"),
    in_when("attachments: {min_size: 10}"),
    in_when("mentions: {}"),
    in_when("all: []"),
    in_when("edited: 'true'"),
    "rules: [{name: it, kind: missed_call, side: calee}]",
    "rules: [{name: it, kind: missed_call, when: {sender: a}}]",
    "rules: [{name: Bad Name, when: {type: text}}]",
]


def is_valid(text: str) -> bool:
    return jsonschema.Draft202012Validator(schema()).is_valid(yaml.safe_load(text))


def test_the_schema_is_a_schema_and_the_published_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    published = files("rules").joinpath("schema.json").read_text(encoding="utf-8")
    assert published == json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("text", RIGHT + [pack(name).text for name in PACKS])
def test_schema_and_loader_accept(text: str) -> None:
    assert is_valid(text)
    rules_of(text)


@pytest.mark.parametrize("text", WRONG)
def test_schema_and_loader_refuse(text: str) -> None:
    assert not is_valid(text)
    assert problems(text)


def test_every_key_in_the_schema_is_described() -> None:
    for name, definition in schema()["$defs"].items():
        for key, value in definition["properties"].items():
            assert len(value["description"]) > 10, (name, key)
