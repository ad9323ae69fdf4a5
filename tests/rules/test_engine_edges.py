"""The engine at its limits: why something was found, what a fault says, and what stays as it is."""

from __future__ import annotations

import traceback
from datetime import timedelta

import msgspec
import pytest
from jinja2 import UndefinedError

from rules.conditions import SafeError
from rules.engine import place_of, step, wanted
from rules.model import MAX_TOLD, MessageId, State, StateKey, Status, Tick
from tests.rules.builders import (
    APP,
    MISSED,
    NOON,
    WATCH_BOB,
    Bench,
    a_call,
    a_message,
    after,
    in_group,
    rules_of,
)

PLAIN = "rules: [{name: it, when: {type: text}}]"


def test_a_finding_of_one_message_is_because_of_that_message() -> None:
    outcome = step(
        rules_of(PLAIN), WATCH_BOB, {}, [a_message(id=MessageId(7)), a_message(id=MessageId(8))], now=NOON
    )
    first, second = outcome.because
    assert [because.alert for because in outcome.because] == [alert.id for alert in outcome.alerts]
    assert (first.messages, second.messages) == ((7,), (8,))
    assert (first.status, first.revision) == (Status.FIRING, 0)
    assert (first.tick, first.key, first.before, first.after) == (None, None, None, None)


def test_a_finding_of_a_kept_state_tells_rows_time_and_state() -> None:
    bench = Bench(rules_of(MISSED))
    bench.feed(a_call("initiated", 0, number=1))
    (key, state), *_ = bench.states.items()
    (because,) = bench.pass_time().because
    assert (because.messages, because.tick, because.key) == ((), after(90), "s1")
    assert because.before == state.value.decode()
    assert because.after == bench.states[key].value.decode()
    (because,) = bench.feed(a_call("ended", 60, number=2), a_call("ongoing", 9, number=3)).because
    assert (because.status, because.messages, because.tick) == (Status.RESOLVED, (2, 3), None)


def test_a_state_is_told_up_to_a_limit() -> None:
    bench = Bench(rules_of(MISSED))
    bench.feed(a_call("initiated", session="s" * 100))
    long_name = msgspec.structs.replace(a_call("unanswered", 45, number=2), text="é" * MAX_TOLD)
    (because,) = bench.feed(long_name).because
    assert because.before is None
    assert because.after is not None
    assert MAX_TOLD - 2 <= len(because.after.encode()) <= MAX_TOLD


def test_no_rule_with_a_state_wants_no_state() -> None:
    assert wanted(rules_of(PLAIN), [a_message(), a_call("busy")]) == frozenset()


class Unreadable(str):
    """A session id that raises when it is looked at."""

    def __len__(self) -> int:
        raise KeyError("SECRET")


def test_a_row_whose_key_can_not_be_told_keeps_no_other_from_being_wanted() -> None:
    rules = rules_of("rules: [{name: a, kind: missed_call}, {name: b, kind: missed_call, side: any}]")
    broken = a_call("busy", number=1, session=Unreadable("s0"))
    assert wanted(rules, [broken, a_call("busy", number=2)]) == {
        StateKey(rule.name, "s1") for rule in rules.rules
    }
    outcome = step(rules, WATCH_BOB, {}, [broken, a_call("busy", number=2)], now=NOON)
    assert [fault.message_id for fault in outcome.faults] == [1, 1]
    assert [fault.error.partition(" at ")[0] for fault in outcome.faults] == ["KeyError", "KeyError"]
    assert {alert.key for alert in outcome.alerts} == {"s1"}


def test_a_fault_in_judging_names_the_last_message_of_its_key() -> None:
    rules = rules_of(MISSED)
    rows = [a_call("busy", 3, number=5), a_call("busy", 3, number=6)]
    (rule,) = rules.rules
    key = StateKey(rule.name, "s1")
    # Stored by a version that kept no rows: it decodes, and then there is nothing to judge.
    states = {key: State(version=3, value=b'{"rows":[]}')}
    outcome = step(rules, WATCH_BOB, states, [], [Tick(key=key, due=NOON)], now=NOON)
    (fault,) = outcome.faults
    assert (fault.message_id, fault.rule) == (None, "missed")
    assert fault.error.startswith("IndexError at session.py:")
    assert (outcome.alerts, outcome.states) == ((), ())
    rows = [msgspec.structs.replace(row, sent_at=None) for row in rows]
    (fault,) = step(rules, WATCH_BOB, {}, [a_call("initiated", number=4), *rows], now=NOON).faults[-1:]
    assert fault.message_id == 6


def test_a_fault_says_where_and_quotes_nothing() -> None:
    def fail(error: Exception) -> str:
        try:
            raise error
        except Exception as caught:
            line = traceback.extract_tb(caught.__traceback__)[-1].lineno
            return place_of(caught).replace(f":{line}", ":LINE")

    assert fail(KeyError("SECRET")) == "KeyError at test_engine_edges.py:LINE"
    assert fail(SafeError("too much")) == "SafeError at test_engine_edges.py:LINE: too much"
    assert place_of(KeyError("SECRET")) == "KeyError"


def test_a_fault_names_the_innermost_place() -> None:
    with pytest.raises(UndefinedError) as caught:
        rules_of(PLAIN).rules[0].title({})
    assert "test_engine_edges.py" not in place_of(caught.value)


def test_a_summary_that_fails_is_empty_and_reported() -> None:
    rules = rules_of("rules: [{name: it, when: {type: text}, summary: '{{ attachments[0].name }}'}]")
    outcome = step(rules, WATCH_BOB, {}, [a_message()], now=NOON)
    assert [alert.summary for alert in outcome.alerts] == [""]
    assert len(outcome.faults) == 1


def test_a_link_can_name_every_fact() -> None:
    link = "https://s.example/{app}/{rule}/{alert_id}/{conversation_id}/{message_id}/{sender}/{receiver}"
    rules = rules_of(PLAIN, link=link)
    (alert,) = step(rules, WATCH_BOB, {}, [a_message(id=MessageId(7))], now=NOON).alerts
    assert alert.annotations["link"] == f"https://s.example/{APP}/it/{alert.id}/ann_user_bob/7/ann/bob"


def test_a_link_is_about_the_newest_message_of_the_alert() -> None:
    rules = rules_of(MISSED, link="https://s.example/{message_id}")
    rows = [a_call("initiated", 0, number=1), a_call("unanswered", 45, number=2)]
    (alert,) = step(rules, WATCH_BOB, {}, rows, now=NOON).alerts
    assert alert.annotations == {"link": "https://s.example/2"}


def test_without_a_link_there_is_none() -> None:
    (alert,) = step(rules_of(PLAIN), WATCH_BOB, {}, [a_message()], now=NOON).alerts
    assert alert.annotations == {}


def test_a_template_can_name_rule_and_severity() -> None:
    title = "{{ rule.name }}/{{ rule.severity }}"
    rules = rules_of(f"rules: [{{name: it, severity: info, when: {{type: text}}, title: '{title}'}}]")
    (alert,) = step(rules, WATCH_BOB, {}, [in_group()], now=NOON).alerts
    assert (alert.title, alert.severity, alert.first_seen_at) == ("it/info", "info", NOON)


def test_a_stored_state_of_another_form_begins_anew_and_is_reported() -> None:
    rules = rules_of(MISSED)
    (rule,) = rules.rules
    key = StateKey(rule.name, "s1")
    outcome = step(rules, WATCH_BOB, {key: State(version=3, value=b"[]")}, [a_call("busy", 3)], now=NOON)
    (fault,) = outcome.faults
    assert fault.message_id is None
    assert fault.error.startswith("stored state of s1: ValidationError")
    assert [(change.key, change.expected) for change in outcome.states] == [(key, 3)]
    assert len(outcome.alerts) == 1


@pytest.mark.parametrize("status", ["unanswered", "ended"])
def test_a_state_says_until_when_it_is_kept(status: str) -> None:
    outcome = step(rules_of(MISSED), WATCH_BOB, {}, [a_call(status, 45)], now=after(600))
    (change,) = outcome.states
    assert (change.expected, change.expires_at) == (0, after(600) + timedelta(days=2))
    assert (outcome.cancelled, outcome.timers) == ((), ())
