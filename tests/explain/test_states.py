"""What rules remember, in words."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.explain.states import FORGOTTEN, MORE, STRANGE, TOO_LARGE, change_in_words, in_words
from rules.engine import step, wanted
from rules.model import MAX_TOLD, Message, MessageId, State, StateKey, Tick, WatchSet
from tests.rules.builders import BOB, WATCH_BOB, a_call, a_message, after, rules_of

COUNT = "{name: r, kind: count, when: {type: text}, at_least: 2, within: 1h}"
WAITS = "{name: r, kind: unanswered, when: {type: text}, within: 15m}"
CALLS = "{name: r, kind: missed_call}"
BACK = "{name: r, kind: missed_call, answered: {by: [reply, call_back], within: 15m}}"
NEW = "{name: r, kind: new_value, field: sender, learn: 0s}"


class Run:
    """A rule that is fed, and what it remembers of its only key."""

    def __init__(self, rule: str, watch: WatchSet = WATCH_BOB) -> None:
        self._rules, self._watch = rules_of(f"rules: [{rule}]"), watch
        self._states: dict[StateKey, State] = {}
        self.told: list[str] = []  #: the states that were recorded beside the alerts

    def take(self, *messages: Message, upto: float | None = None) -> str:
        keys = wanted(self._rules, messages) | set(self._states)
        ticks = [] if upto is None else [Tick(key=key, due=after(upto)) for key in keys]
        outcome = step(self._rules, self._watch, self._states, messages, ticks, now=after(upto or 60))
        assert not outcome.faults
        for change in outcome.states:
            assert change.value is not None
            self._states[change.key] = State(version=1, value=change.value)
        self.told += [because.after for because in outcome.because if because.after]
        (state,) = self._states.values()
        return state.value.decode()


def texts(number: int, every: float = 1) -> Sequence[Message]:
    return [a_message(id=MessageId(n), text="s3cret", sent_at=after(n * every)) for n in range(1, number + 1)]


# --- a state ----------------------------------------------------------------------------------------------


def test_messages_alerts_and_how_far_all_was_seen() -> None:
    run = Run(COUNT)
    first = run.take(*texts(1))
    assert in_words(first) == ("remembers 1 message, the first sent at 2026-11-22 12:00:01Z; no alert told",)
    second = run.take(*texts(3)[1:])
    assert change_in_words(first, second) == (
        "remembers 3 messages (before: 1), the first sent at 2026-11-22 12:00:01Z, the last at 12:00:03Z; "
        "1 alert told, 1 open (before: none)",
    )
    over = run.take(upto=7200)
    assert change_in_words(second, over) == (
        "remembers 3 messages, the first sent at 2026-11-22 12:00:01Z, the last at 12:00:03Z; "
        "1 alert told, none open (before: 1, 1 open)",
        "all up to 2026-11-22 14:00:00Z was seen",
    )


def test_what_was_not_known_before_is_told_as_none() -> None:
    [line] = change_in_words(None, Run(WAITS).take(*texts(1)))
    assert line == "remembers 1 message (before: 0), the first sent at 2026-11-22 12:00:01Z; no alert told"


def test_of_another_day_the_day_is_told() -> None:
    [line] = in_words(Run(COUNT).take(a_message(), a_message(id=MessageId(2), sent_at=after(86400))))
    assert "the first sent at 2026-11-22 12:00:00Z, the last at 2026-11-23 12:00:00Z; " in line


def test_a_message_with_several_values_is_one() -> None:
    rule = "{name: r, kind: count, when: {type: text}, distinct: tag, at_least: 5, within: 1h}"
    state = Run(rule).take(a_message(tags=("a", "b", "c")))
    assert all(f'60,"{tag}"]' in state for tag in "abc")
    assert in_words(state)[0].startswith("remembers 1 message, ")


def test_a_call_is_told_by_its_statuses() -> None:
    run = Run(CALLS)
    rings = run.take(a_call("initiated", 5))
    missed = run.take(a_call("unanswered", 50, number=2))
    assert change_in_words(None, rings) == (
        "the call was initiated (before: not known), ringing since 2026-11-22 12:00:05Z; no alert told",
    )
    assert change_in_words(rings, missed) == (
        "the call was initiated, unanswered (before: initiated), ringing since 2026-11-22 12:00:05Z; "
        "1 alert told, 1 open (before: none)",
    )


def test_a_call_without_an_end_was_waited_for() -> None:
    run = Run(CALLS)
    run.take(a_call("initiated", 5))
    assert in_words(run.take(upto=200)) == (
        "the call was initiated, ringing since 2026-11-22 12:00:05Z; 1 alert told, 1 open",
        "all was seen until nobody could pick up any more",
    )


def test_calls_of_a_conversation_are_told_together() -> None:
    run = Run(BACK)
    before = run.take(a_call("initiated", 5), a_call("unanswered", 50, number=2))
    assert in_words(before) == (
        "remembers 1 call, the last was initiated, unanswered, ringing since 2026-11-22 12:00:05Z; "
        "1 alert told, 1 open",
    )
    reply = a_message(id=MessageId(3), sender=BOB, receiver=a_message().sender, sent_at=after(70))
    [line] = change_in_words(before, run.take(reply))
    assert "; 1 alert told, none open (before: 1, 1 open)" in line
    assert "all up to 2026-11-22 13:00:00Z was seen" in in_words(run.take(upto=3600))


def test_values_are_counted_and_not_named() -> None:
    run = Run(NEW)
    before = run.take(a_message())
    after_ = run.take(a_message(id=MessageId(2), sender=BOB, receiver=a_message().sender, sent_at=after(9)))
    assert change_in_words(before, after_) == (
        "remembers 2 values (before: 1), since 2026-11-22 12:00:00Z; 2 alerts told (before: 1)",
    )


def test_what_is_gone_or_strange_is_told_as_such() -> None:
    assert change_in_words("{}", None) == (FORGOTTEN,)
    for strange in ("{}", "[1]", "3", '{"rows":[{"text":"s3cret"}]}', '{"values":[],"rows":[["x"]]}'):
        assert in_words(strange) == (STRANGE,)
    assert change_in_words("[1]", Run(WAITS).take(*texts(1)))[0].startswith("remembers 1 message, the first")


# --- a state that was cut ---------------------------------------------------------------------------------


def test_of_what_was_cut_the_part_that_is_there_is_told() -> None:
    run = Run(COUNT)
    whole = run.take(*texts(200))
    cut = run.told[-1]
    assert len(cut) == MAX_TOLD < len(whole)
    number = len(re.findall(r'\[\d{16},\d+,-?\d+,""\],', cut))  # rows that are there to their end
    assert 50 < number < 200
    told = "the first sent at 2026-11-22 12:00:01Z"
    assert change_in_words(None, cut) == (f"remembers at least {number} messages (before: 0), {told}", MORE)
    assert change_in_words(cut, cut) == (f"remembers at least {number} messages, {told}", MORE)
    assert in_words(whole)[0].startswith(f"remembers 200 messages, {told}, the last at 12:03:20Z; ")


def test_a_part_that_is_there_to_its_end_is_told_whole() -> None:
    state = Run(COUNT).take(*texts(3))
    assert in_words(state[: state.index('"told"') + 9]) == (
        "remembers 3 messages, the first sent at 2026-11-22 12:00:01Z, the last at 12:00:03Z",
        MORE,
    )
    assert in_words(state[:-1])[0] == in_words(state)[0]


@pytest.mark.parametrize(
    "state", ['{"values":["a"],"rows":[[17', '{"runs":{"a":[[1,', "{", "", "tru", "]],,"]
)
def test_of_what_was_cut_too_early_nothing_can_be_told(state: str) -> None:
    assert in_words(state) == (TOO_LARGE,)


STATES = {
    "count": Run(COUNT).take(*texts(5)),
    "call": Run(CALLS).take(a_call("initiated"), a_call("unanswered", 50, number=2)),
    "back": Run(BACK).take(
        a_call("initiated"), a_call("unanswered", 9, number=2, session='"s,[2'), *texts(9)
    ),
    "new": Run(NEW).take(*texts(3), a_message(sender=BOB, receiver=a_message().sender)),
}


@given(name=st.sampled_from(sorted(STATES)), length=st.integers(0, 4000), before=st.integers(0, 4000))
def test_wherever_a_state_was_cut_no_more_is_told_than_there_is(name: str, length: int, before: int) -> None:
    state = STATES[name]
    lines = change_in_words(state[:before], state[:length])
    if length < len(state):
        assert lines[-1] == MORE or lines == (TOO_LARGE,)
    assert STRANGE not in lines
    assert "s3cret" not in repr(lines)
    counts = [re.findall(r"(?:least|remembers) (\d+)", line) for line in (lines[0], in_words(state)[0])]
    assert all(int(told) <= int(at_most) for told, at_most in zip(*counts, strict=False))
