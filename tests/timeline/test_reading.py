"""Mistakes in test files: each has its place, what was expected and the nearest right word."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import jsonschema
import pytest
import yaml

from monitor.timeline.cast import groups, people, watched
from monitor.timeline.grammar import schema
from monitor.timeline.model import Say
from monitor.timeline.reading import read_suite
from monitor.timeline.shapes import moment_of, span_of
from rules.model import UserId
from rules.text import Source, SpecError
from tests.timeline.conftest import Author

TEST = "tests:\n  - name: it\n    timeline:\n      - {at: 1m, message: {from: ann, to: bob, id: one}}\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "{at: 1m, mesage: {from: ann, to: bob}}",
            'it.yaml:6:18: unknown key "mesage" (did you mean "message"?)',
        ),
        ("{at: 60, api: down}", 'it.yaml:6:14: found "60"; expected a length of time with units'),
        ("{at: 1m, api: off}", 'it.yaml:6:23: found "off"; expected one of up, down'),
        ("{at: 1m}", "it.yaml:6:9: one thing happens in an entry, found nothing"),
        ("{at: 1m, api: up, clock: 1h}", 'found "api" and "clock"'),
        ("{at: 5s, api: up}", "it.yaml:6:9: this goes back in time"),
        ("{at: 2m, after: 5s, api: up}", '"at" and "after" exclude each other'),
        ("{every: 2s, api: up}", '"every" needs "times"; for example times: 20'),
        ("{times: many, api: up}", 'it.yaml:6:17: "many" has not the right form; expected a number'),
        ("{message: {from: ann}}", 'it.yaml:6:9: either "to" or "group" says to whom'),
        ("{message: {from: ann, to: bob, group: g}}", 'either "to" or "group" says to whom'),
        ("{message: {from: a b, to: bob}}", 'it.yaml:6:26: "a b" has not the right form; expected a uid'),
        (
            "{message: {from: ann, to: bob, id: one}}",
            'it.yaml:6:44: there is another "one": ids are given once',
        ),
        (
            "{message: {from: ann, to: bob, late: 1m}}",
            "CometChat shows rows a few seconds late: 10s here at most",
        ),
        (
            "{message: {from: ann, to: bob, thread: on}}",
            'it.yaml:6:48: there is no message before "on" (did you mean "one"?)',
        ),
        ("{message: {from: ann, to: bob, raw: 5}}", 'it.yaml:6:45: found "5"; expected a mapping'),
        (
            "{edit: {message: ome, text: x}}",
            'it.yaml:6:26: there is no message before "ome" (did you mean "one"?)',
        ),
        ("{edit: {message: one}}", 'it.yaml:6:16: "text" is missing'),
        (
            "{call: {from: ann, to: bob, answered: 5s}}",
            'unknown key "answered": of a call that is answered, say "ongoing: 10s"',
        ),
        ("{call: {from: ann, to: bob, type: vidoe}}", 'it.yaml:6:43: found "vidoe" (did you mean "video"?)'),
        ("{receiver: {oncal: down}}", 'it.yaml:6:21: there is no receiver "oncal" (did you mean "oncall"?)'),
        ("{receiver: {oncall: dwon}}", 'it.yaml:6:29: found "dwon" (did you mean "down"?)'),
        ("{receiver: {oncall: up, oncall: up}}", 'it.yaml:6:33: "oncall" stands here twice'),
        (
            "{clock: fast}",
            'it.yaml:6:17: found "fast"; expected a length of time with units (ms, s, m, h, d), with + or -',
        ),
        ("{restart: -5m}", 'it.yaml:6:19: found "-5m"; expected a length of time'),
        ("{reload: {rules: [nowhere.yaml]}}", 'it.yaml:6:27: there is no rule file or pack "nowhere.yaml"'),
        ("{mute: {rule: urgnt, for: 1h}}", 'it.yaml:6:23: there is no rule "urgnt" (did you mean "urgent"?)'),
    ],
)
def test_a_mistake_in_the_timeline(author: Author, line: str, said: str) -> None:
    (problem,) = author.refused(f"{TEST}      - {line}\n")
    assert said in problem


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{raisd: urgent}", 'it.yaml:7:10: unknown key "raisd" (did you mean "raised"?)'),
        ("{raised: urgnt}", 'it.yaml:7:18: there is no rule "urgnt" (did you mean "urgent"?)'),
        ("{raised: {rule: missed}}", 'it.yaml:7:25: there is no rule "missed"'),
        ("{raised: urgent, within: 5m}", 'unknown key "within": say "by", or "after" and "by"'),
        ("{raised: urgent, at: 1m, by: 2m}", 'it.yaml:7:9: "at" excludes "by" and "after"'),
        ("{raised: urgent, after: 2m, by: 1m}", 'it.yaml:7:9: "by" is before "after"'),
        ("{rule: urgent}", 'it.yaml:7:10: unknown key "rule": it belongs inside'),
        ("{by: 5m}", "it.yaml:7:9: one thing is expected in an entry, found nothing; for example {raised:"),
        ("{raised: urgent, resolved: urgent}", 'found "raised" and "resolved"'),
        ("{raised: urgent, times: few}", 'it.yaml:7:33: "few" has not the right form; expected a number'),
        ("{never: urgent, times: 2}", 'it.yaml:7:9: "never" takes no "times"'),
        ("{never: {came: urgent}}", 'it.yaml:7:18: unknown key "came"'),
        ("{raised: {severity: hgih}}", 'it.yaml:7:29: found "hgih"'),
        (
            "{raised: {message: onne}}",
            'it.yaml:7:28: there is no message or call "onne" (did you mean "one"?)',
        ),
        (
            "{delivered: {receiver: pager}}",
            'it.yaml:7:32: there is no receiver "pager"; expected one of oncall',
        ),
    ],
)
def test_a_mistake_in_what_is_expected(author: Author, line: str, said: str) -> None:
    problems = author.refused(f"{TEST}    expect:\n      - {line}\n")
    assert said in problems[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tests: []\nrule: x\n", 'it.yaml:3:1: unknown key "rule" (did you mean "rules"?)'),
        (
            "rules: [missed-call]\ntests: [{name: a, timeline: []}]",
            'it.yaml:1:9: there is no rule file or pack "missed-call" (did you mean "missed-calls"?)',
        ),
        ("rules: [rule.yaml]\ntests: [{name: a, timeline: []}]", '(did you mean "rules.yaml"?)'),
        (
            "tests: [{name: a, timeline: []}, {name: a, timeline: []}]",
            'it.yaml:2:34: there is a test "a" already, in line 2',
        ),
        ("tests: [{name: a, timeline: [], start: noon}]", 'it.yaml:2:40: found "noon"; expected a date'),
        (
            "tests: [{name: a, timeline: [], start: mon 9:00 Europe/Nowhere}]",
            'there is no time zone "Europe/Nowhere"',
        ),
        (
            "tests: [{name: a, timeline: []}]\nwatch: [{uid: bob, lables: {}}]",
            'it.yaml:3:20: unknown key "lables" (did you mean "labels"?)',
        ),
        (
            "tests: [{name: a, timeline: []}]\nroutes: [{receivers: [pager]}]",
            'it.yaml:3:23: there is no receiver "pager"',
        ),
        ("tests: {}\n", "it.yaml:2:8: found a mapping; expected a list of tests"),
        (
            "tests: [{name: a, timeline: [" + ", ".join(3 * ["{times: 9999, api: up}"]) + "]}]",
            "its timeline has 29997 entries, more than 20000",
        ),
        ("rules: [missed-calls]", 'it.yaml:1:1: "tests" is missing'),
        ("rules: []\n", "expected 1 to 1000 entries"),
        ("rules: [rules.yaml]\ntests: &a []", "YAML anchors and aliases"),
    ],
)
def test_a_mistake_in_the_file(author: Author, text: str, said: str) -> None:
    problems = author.refused(text)
    assert any(said in problem for problem in problems), problems


def test_every_mistake_is_told_at_once(author: Author) -> None:
    problems = author.refused(f"{TEST}      - {{at: 60, api: off}}\n      - {{mesage: 5}}\n    expct: []\n")
    assert len(problems) == 4


def test_a_file_without_anything(author: Author) -> None:
    (problem,) = author.refused("rules: [rules.yaml]\ntests: [{timeline: []}]")
    assert problem == 'it.yaml:2:9: "name" is missing; for example name: a call is missed'


def test_an_empty_file() -> None:
    with pytest.raises(
        SpecError, match=r"it\.yaml:1:1: the file is empty; expected a test file with the keys"
    ):
        read_suite(Source("it.yaml", "# nothing\n"))


def test_mistakes_in_the_rules_are_told_in_their_own_file(author: Author) -> None:
    author.rules = "rules: [{nam: x, when: {type: text}}]"
    assert author.refused(TEST)[0].startswith('rules.yaml:1:10: unknown key "nam"')


# --- what is right -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("mon 9:00", datetime(2026, 3, 2, 9, tzinfo=UTC)),
        ("Sunday 23:59", datetime(2026, 3, 8, 23, 59, tzinfo=UTC)),
        ("fri 17:30 Europe/Berlin", datetime(2026, 3, 6, 16, 30, tzinfo=UTC)),
        ("2026-03-29 02:30 Europe/Berlin", datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
        ("2026-12-24T18:00:00+01:00", datetime(2026, 12, 24, 17, tzinfo=UTC)),
        ("2026-12-24", datetime(2026, 12, 24, tzinfo=UTC)),
        ("mon 25:00", None),
        ("someday 9:00", None),
        ("", None),
    ],
)
def test_moments(text: str, moment: datetime | None) -> None:
    assert moment_of(text) == moment


def test_spans() -> None:
    assert span_of("1h30m") == timedelta(minutes=90)
    assert span_of("1d2h3m4.5s") == timedelta(days=1, hours=2, minutes=3, seconds=4.5)
    assert [span_of(text) for text in ("", "5", "h", "1h30", "-5m")] == [None] * 5


def test_what_stands_beside_the_tests_holds_for_those_that_do_not_say_otherwise() -> None:
    text = """\
rules: [missed-calls]
start: fri 9:00
watch: [bob]
receivers: [a, b]
tests:
  - {name: one, timeline: []}
  - {name: two, timeline: [], watch: [carl], start: sat 9:00}
"""
    one, two = (test.setting for test in read_suite(Source("it.yaml", text)).tests)
    assert (one.start.day, two.start.day) == (6, 7)
    assert (one.watch, two.watch) == ({"bob": {}}, {"carl": {}})
    assert [receiver.name for receiver in two.receivers] == ["a", "b"]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ("{message: {from: ann, to: bob}}, {message: {from: bob, to: ann}}", {"bob"}),
        ("{message: {from: ann, to: bob}}, {call: {from: bob, to: carl}}", {"bob", "carl"}),
        ("{message: {from: ann, group: g, mentions: [Bob]}}", {"bob"}),
        ("{message: {from: ann, group: g, text: hi}}", {"ann"}),
        ("{join: {group: g, user: carl, by: ann}}", {"carl", "ann"}),
        ("{api: down}", set()),
    ],
)
def test_who_is_watched_if_nobody_says(entries: str, expected: set[str]) -> None:
    (test,) = read_suite(Source("it", f"tests: [{{name: it, timeline: [{entries}]}}]")).tests
    assert watched(test) == {UserId(uid): {} for uid in expected}


def test_the_number_of_the_time_is_filled_in_everywhere() -> None:
    text = """\
tests:
  - name: it
    timeline:
      - times: 2
        message:
          {from: "u{n}", to: bob, id: "m{n}", tags: ["t{n}", all], attachments: ["f{n}.png", {name: "{n}"}],
           custom: {deep: [{"k{n}": "v{n}"}, 5]}, text: "n {n}"}
"""
    (test,) = read_suite(Source("it", text)).tests
    first, second = (entry.action for entry in test.timeline)
    assert isinstance(first, Say)
    assert isinstance(second, Say)
    assert (second.sender, second.id, second.text, second.tags) == ("u2", "m2", "n 2", ("t2", "all"))
    assert [file["name"] for file in second.attachments] == ["f2.png", "2"]
    assert second.custom == {"deep": [{"k2": "v2"}, 5]}
    assert (first.sender, test.timeline[1].at) == ("u1", timedelta(seconds=1))


def test_who_takes_part() -> None:
    text = """\
users: {zoe: Zoe}
tests:
  - name: it
    timeline:
      - {message: {from: Ann, group: g, mentions: [all, bob]}}
      - {join: {group: h, user: carl, by: dora}}
      - {message: {from: app_system, to: ann}}
      - {message: {from: eve, group: h}}
"""
    (test,) = read_suite(Source("it", text)).tests
    assert set(people(test)) >= {"zoe", "ann", "bob", "carl", "dora", "eve"}
    assert "app_system" not in people(test)
    assert "carl" not in groups(test)["h"]
    assert "carl" in groups(test)["g"]


def test_the_schema_knows_what_the_parser_takes() -> None:
    validator = jsonschema.Draft202012Validator(schema())
    jsonschema.Draft202012Validator.check_schema(schema())
    good = """\
rules: [missed-calls]
watch: [bob, {uid: carl, labels: {team: a}}]
routes: [{match: {severity: critical}, receivers: [oncall]}]
tests:
  - name: it
    timeline:
      - {at: 0s, call: {from: ann, to: bob, ongoing: {after: 5s, by: bob}}}
      - {receiver: {oncall: down}}
      - {clock: -2h}
    expect: [{raised: missed-call, by: 2m}, {never: {resolved: {rule: missed-call}}}]
"""
    assert list(validator.iter_errors(yaml.safe_load(good))) == []
    read_suite(Source("it", good))
    for wrong in ("- {raisd: x}", "- {raised: {severity: high}}", "- {raised: x, by: soon}"):
        text = f"tests:\n  - name: it\n    timeline: []\n    expect:\n    {wrong}\n"
        assert list(validator.iter_errors(yaml.safe_load(text)))
