"""What people and CI get to read of a run: the course of a failed test, JUnit XML, coverage."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from monitor.timeline.coverage import Coverage, percent
from monitor.timeline.report import covering, failed, junit, plain, summary
from monitor.timeline.telling import offset
from tests.timeline.conftest import Author

ONE_FAILS = """
tests:
  - name: fine
    timeline: [{message: {from: ann, to: bob, text: urgent}}]
    expect: [{delivered: urgent}]
  - name: "wrong \\a"
    timeline:
      - {message: {from: ann, to: bob, text: "urgent <&> \\u0007"}}
      - {at: 1m, call: {from: ann, to: bob, unanswered: 45s}}
      - {at: 2m, api: down}
      - {at: 3m, receiver: {oncall: "429"}}
      - {at: 4m, clock: -90s}
      - {at: 5m, restart: 90s}
      - {at: 8m, mute: {rule: urgent, for: 1h}}
      - {at: 9m, reload: {watch: [bob]}}
    expect: [{raised: urgent, by: 5s}, {raised: missed-call, by: 1m}]
"""


def test_a_failed_test_tells_its_whole_course(author: Author) -> None:
    _, wrong = author.perform(ONE_FAILS)
    shown = failed(wrong).replace(f"{author.folder}/", "").splitlines()
    assert shown[0].startswith("  it.yaml:17:40: did not come: raised missed-call by 1m")
    assert shown[1].startswith("      nearest: raised at 1m45s missed-call (warning), ")
    assert shown[1].endswith(", but it came 45s too late")
    assert shown[3] == '         0s  ann to bob: "urgent <&> \\x07"'
    assert shown[4].startswith('         0s    -> raised urgent (critical), "')
    told = [line[13:] for line in shown if not line.startswith(" " * 12 + "->") and "->" not in line]
    assert told[4:] == [
        "ann calls bob (audio)",
        "the call is unanswered",
        "CometChat is down",
        "oncall is 429",
        "our clock is set by -1m30s",
        "the monitor ends, and is away for 1m30s",
        "urgent is muted for 1h",
        "other orders take effect",
        "the end",
    ]


def test_a_long_course_is_cut_in_the_middle(author: Author) -> None:
    result = author.test(
        "timeline: [{times: 200, message: {from: 'u{n}', to: bob}}]\nexpect: [{raised: urgent}]"
    )
    assert len(failed(result).splitlines()) < 70
    assert " more …" in failed(result)


def test_a_rule_that_still_waits_at_the_end_is_told(author: Author) -> None:
    result = author.test(
        "until: 1m\ntimeline: [{call: {from: ann, to: bob}}]\nexpect: [{raised: missed-call}]"
    )
    assert "1m  the end; a rule still waits" in failed(result)


def test_junit(author: Author) -> None:
    results = author.perform(ONE_FAILS)
    root = ET.fromstring(junit(results))
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    fine, wrong = suite
    assert (fine.get("name"), fine.get("line"), len(fine)) == ("fine", "4", 0)
    assert "did not come: raised missed-call" in str(wrong[0].get("message"))
    assert "urgent <&> \\x07" in str(wrong[0].text)  # XML has no form for a bell
    assert wrong.get("name") == "wrong \\x07"
    assert float(str(suite.get("time"))) > 0


def test_the_summary(author: Author) -> None:
    results = author.perform(ONE_FAILS)
    assert summary(results).startswith("2 tests, 1 failed, ")
    assert summary(results[:1]).startswith("1 test, all passed, ")


def test_the_same_for_machines(author: Author) -> None:
    results = author.perform(ONE_FAILS)
    told = plain(results, author.run.coverage.covered())
    assert (told["ok"], [one["ok"] for one in told["tests"]]) == (False, [True, False])
    assert told["tests"][1]["failures"][0]["nearest"].startswith("raised at 1m45s")
    assert told["tests"][0]["events"][0]["rule"] == "urgent"


# --- coverage ------------------------------------------------------------------------------------------

PARTS = """\
rules:
  - name: parts
    when: {any: [{text: refund}, {all: [{type: image}, {not: {sender: bob}}]}]}
  - {name: never, when: {text: nothing}}
  - {name: missed-call, kind: missed_call}
"""


def lines(coverage: Coverage) -> list[str]:
    return [line.partition("  (")[0] for line in covering(coverage.covered())]


def test_what_was_never_true_or_never_false_is_told(author: Author) -> None:
    author.rules = PARTS
    author.test("timeline: [{message: {from: ann, to: bob, text: refund}}]\nexpect: [{raised: parts}]")
    assert lines(author.run.coverage) == [
        "parts: 7 of 13",
        "    never false: when: one of these",
        '    never false: when: the word "refund"',
        "    never true: when: all of these",
        "    never true: when: type image",
        "    never false: when: not",
        "    never true: when: sender bob",
        "never: 1 of 3",
        "    never raised",
        '    never true: when: the word "nothing"',
        "missed-call: 0 of 1",
        "    never raised",
        "coverage: 47%",
    ]


def test_everything_tried_is_a_hundred_percent(author: Author) -> None:
    author.rules = PARTS
    author.test("""
watch: [ann, bob]
timeline:
  - {message: {from: ann, to: bob, text: refund}}
  - {message: {from: ann, to: bob, text: hello}}
  - {message: {from: ann, to: bob, attachments: [a.png]}}
  - {message: {from: bob, to: ann, attachments: [a.png]}}
  - {message: {from: bob, to: ann, text: nothing}}
  - {call: {from: ann, to: bob, unanswered: 45s}}
""")
    covered = author.run.coverage.covered()
    assert percent(covered) == 100
    assert lines(author.run.coverage)[-1] == "coverage: 100%"


def test_a_rule_that_no_message_reached_was_never_asked(author: Author) -> None:
    author.rules = "rules: [{name: x, when: {text: refund}}]"
    author.test("timeline: []")
    assert lines(author.run.coverage)[1:3] == ["    never raised", '    never asked: when: the word "refund"']


def test_no_rules_are_covered_whole() -> None:
    assert percent([]) == 100


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (12.5, "12.5s"),
        (102.04, "1m42s"),
        (3600, "1h"),
        (97200, "1d3h"),
        (-90, "-1m30s"),
        (59.97, "1m"),
    ],
)
def test_offsets(seconds: float, text: str) -> None:
    assert offset(seconds) == text
