"""Expectations against what came: the wrong ones fail, and say what came nearest."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.timeline.model import Event, Expectation, Match, Word
from monitor.timeline.verdict import assign, fits_in
from rules.model import Alert, AlertId, RuleName, Severity, Status
from rules.text import Place
from tests.timeline.conftest import Author

HERE = Place("it.yaml", 1, 1)
SAID = """
timeline:
  - {message: {from: ann, to: bob, text: urgent, id: one}}
  - {at: 1m, message: {from: ann, to: carl, text: urgent, id: two}}
  - {at: 5m, call: {from: ann, to: bob, id: call, unanswered: 45s}}
"""
ALL = "  - {raised: urgent, times: 2}\n  - {raised: missed-call}\n"


def test_what_is_expected_comes(author: Author) -> None:
    author.fine(f"{SAID}expect:\n{ALL}")


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ("{raised: missed-call, by: 5m}", "it came 45s too late"),
        ("{raised: missed-call, after: 10m}", "it came 4m15s too early"),
        ("{raised: {rule: urgent, severity: info}}", "severity is critical, not info"),
        ("{raised: {rule: urgent, title: zoe}}", 'title is "urgent: text from ann to bob", without "zoe"'),
        ("{raised: {rule: missed-call, summary: declined}}", 'without "declined"'),
        ("{raised: {rule: urgent, about: zoe}}", "it is about bob, not zoe"),
        ("{raised: {rule: urgent, conversation: x}}", "conversation is ann_user_bob, not x"),
        ("{raised: {rule: urgent, labels: {team: a}}}", "label team is nothing, not a"),
        ("{raised: {rule: urgent, message: call}}", 'it carries one, not "call"'),
        ("{resolved: missed-call}", "it was raised, not resolved"),
        ("{delivered: {rule: urgent, late: true}}", "it is not late"),
        ("{delivered: {rule: urgent, kind: digest}}", "kind is alerts, not digest"),
        ("{delivered: {rule: urgent, status: resolved}}", "status is firing, not resolved"),
    ],
)
def test_what_does_not_come_is_missed_with_what_comes_nearest(
    author: Author, expected: str, said: str
) -> None:
    (wrong,) = author.wrong(f"{SAID}expect:\n{ALL}  - {expected}")
    assert wrong.startswith("did not come: ")
    if "message: call" not in expected:
        assert " | " in wrong
    assert said in wrong


def test_the_place_is_that_of_the_expectation(author: Author) -> None:
    (failure,) = author.test(f"{SAID}expect:\n{ALL}  - {{resolved: missed-call}}").failures
    assert (failure.place.line, failure.place.column) == (11, 9)
    assert str(failure).splitlines()[1].startswith("    nearest: ")


def test_too_few_and_too_many(author: Author) -> None:
    rest = "  - {raised: missed-call}\n"
    (wrong,) = author.wrong(f"{SAID}expect:\n{rest}  - {{raised: urgent, times: 3}}")
    assert wrong.startswith("did not come: raised urgent, 2 of 3 times")
    (wrong,) = author.wrong(f"{SAID}expect:\n{rest}  - {{raised: urgent}}")
    assert wrong.startswith("came unexpected: raised at 1m urgent")
    author.fine(f"{SAID}expect:\n{rest}  - {{raised: urgent, times: 1+}}")
    author.fine(f"{SAID}expect:\n{rest}  - {{raised: urgent, times: 2+}}")


def test_what_is_raised_and_not_expected_fails(author: Author) -> None:
    wrong = author.wrong(SAID)
    assert [one.split(", ")[0] for one in wrong] == [
        "came unexpected: raised at 0s urgent (critical)",
        "came unexpected: raised at 1m urgent (critical)",
        "came unexpected: raised at 5m45s missed-call (warning)",
    ]


def test_what_is_delivered_as_expected_was_raised_as_expected(author: Author) -> None:
    author.fine(f"{SAID}expect: [{{delivered: urgent, times: 2}}, {{delivered: missed-call}}]")


def test_never(author: Author) -> None:
    for wrong, said in (
        ("never: urgent", "raised at 0s urgent"),
        ("never: {raised: {rule: urgent, about: carl}}", "raised at 1m urgent"),
        ("never: {resolved: {}, delivered: missed-call}", "delivered at 5m45s missed-call"),
        ("never: {raised: {}}, after: 5m", "raised at 5m45s missed-call"),
    ):
        found = author.wrong(f"{SAID}expect:\n{ALL}  - {{{wrong}}}")
        assert found[0].startswith(f"came, and must not: {said}")
    author.fine(
        f"{SAID}expect:\n{ALL}  - {{never: {{raised: missed-call}}, by: 5m}}\n  - never: {{held: {{}}}}"
    )


def test_what_is_resolved_must_be_expected_only_if_the_test_is_strict(author: Author) -> None:
    flood = "timeline: [{times: 5, message: {from: ann, to: bob}}]"
    author.fine(f"{flood}\nexpect: [{{raised: flood}}]")
    (wrong,) = author.wrong(f"strict: true\n{flood}\nexpect: [{{raised: flood}}]")
    assert wrong.startswith("came unexpected: resolved at ")
    author.fine(f"strict: true\n{flood}\nexpect: [{{raised: flood}}, {{resolved: flood}}]")


def test_what_cometchat_would_refuse_fails_the_test(author: Author) -> None:
    (wrong,) = author.wrong("timeline: [{call: {from: ann, to: bob, ended: 10s}}]\nuntil: 1m")
    assert wrong.startswith("CometChat refuses this: ERR_CALL_NOT_STARTED")


def test_a_rule_that_fails_fails_the_test(author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    from rules.kinds.match import Match as Kind

    def fails(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Kind, "found", fails)
    (wrong,) = author.wrong("timeline: [{message: {from: ann, to: bob, text: urgent}}]")
    assert wrong.startswith('rule "urgent" failed: ZeroDivisionError at ')


# --- which event is whose ------------------------------------------------------------------------------


def event(at: float, about: str) -> Event:
    alert = Alert(
        id=AlertId(f"{at}-{about}"),
        rule=RuleName("r"),
        key="",
        status=Status.FIRING,
        severity=Severity.INFO,
        title="",
        summary="",
        conversation_id=about,
        event_at=datetime(2026, 3, 2, tzinfo=UTC),
        first_seen_at=datetime(2026, 3, 2, tzinfo=UTC),
    )
    return Event(at=at, what="raised", alert=alert)


def wanting(about: str | None, *, after: int = 0, by: int | None = None, times: int = 1) -> Expectation:
    return Expectation(
        what="raised",
        match=Match(rule=Word("r", HERE), conversation=about),
        place=HERE,
        after=timedelta(seconds=after),
        by=None if by is None else timedelta(seconds=by),
        times=times,
    )


def test_a_general_expectation_leaves_to_a_special_one_what_only_that_can_take() -> None:
    wanted = [wanting(None), wanting("a")]
    assert assign(wanted, [event(0, "a"), event(1, "b")]) == {0: 1, 1: 0}


def best(wanted: list[Expectation], events: list[Event]) -> int:
    """How many slots can be filled at most, by trying everything."""
    slots = [one for one in wanted for _ in range(one.times)]
    if not slots:
        return 0

    def fill(slot: int, free: frozenset[int]) -> int:
        if slot == len(slots):
            return 0
        taken = (1 + fill(slot + 1, free - {n}) for n in free if fits_in(slots[slot], events[n]))
        return max([fill(slot + 1, free), *taken])

    return fill(0, frozenset(range(len(events))))


@given(seed=st.integers(0, 10**9))
def test_as_many_expectations_come_true_as_can(seed: int) -> None:
    chance = random.Random(seed)
    wanted = [
        wanting(
            chance.choice([None, "a", "b"]), after=(after := chance.randint(0, 4)),
            by=chance.choice([None, after + 2]), times=chance.choice([1, 1, 2]),
        )
        for _ in range(chance.randint(0, 3))
    ]  # fmt: skip
    events = [event(chance.randint(0, 6), chance.choice("ab")) for _ in range(chance.randint(0, 5))]
    taken = assign(wanted, events)
    assert all(fits_in(wanted[owner], events[number]) for number, owner in taken.items())
    assert all(list(taken.values()).count(n) <= one.times for n, one in enumerate(wanted))
    assert len(taken) == best(wanted, events)
