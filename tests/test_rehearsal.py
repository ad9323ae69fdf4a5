"""Messages of the past: in event order, each question at its own time, the same result every time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from random import Random

import pytest
from msgspec.structs import replace

from monitor import rehearsal
from monitor.delivery.policy import RouteSpec
from monitor.evaluation import Orders
from monitor.rehearsal import Recollection, Rehearsed, in_event_order, rehearse
from monitor.replay import taking_part
from monitor.store.values import Commit
from rules import spec
from rules.engine import RuleSet
from rules.kinds.base import Found
from rules.kinds.match import Match
from rules.model import Message, MessageId, RuleName, StateChange, StateKey, WatchSet
from rules.spec import Source
from tests.rules.builders import a_call, a_message, after

SPAN = timedelta(hours=3)
HOLDING = """rules:
- {name: sparing, when: {type: text}, max_per_hour: 1, surge: 'off'}
- {name: quiet, when: {type: text}, shadow: true}
"""


def orders(*sources: Source, messages: Sequence[Message]) -> Orders:
    rules = spec.load(sources or [*map(spec.pack, spec.DEFAULT_PACKS)], app="test")
    routes = (RouteSpec(receivers=("ops",)),)
    return Orders(rules=rules, watch=taking_part(messages), routes=routes, max_age=timedelta.max)


def rehearsed(messages: Sequence[Message], *sources: Source, until: float | None = None) -> Rehearsed:
    end = None if until is None else after(until)
    return rehearse(orders(*sources, messages=messages), in_event_order(messages), until=end)


def told(found: Rehearsed) -> list[tuple[str, str, float]]:
    """Rule, status and seconds after noon at which it was found."""
    return [
        (str(one.alert.rule), one.alert.status.value, (one.alert.first_seen_at - after(0)).total_seconds())
        for one in found.findings
    ]


def a_past(random: Random, size: int = 120) -> list[Message]:
    """Calls, answered and not, and texts; ids rise with time but for a few that came late."""
    made: list[Message] = []
    for number in range(1, size, 3):
        at = random.uniform(0, SPAN.total_seconds())
        made.append(a_call("initiated", at, number=number, session=f"s{number}"))
        if random.random() < 0.5:
            status = random.choice(["ongoing", "unanswered", "cancelled"])
            made.append(a_call(status, at + 20, number=number + 1, session=f"s{number}"))
        made.append(a_message(id=MessageId(number + 2), text="hi", sent_at=after(at + 5)))
    return made


def test_messages_stand_in_the_order_of_their_events_each_once() -> None:
    late = a_message(id=MessageId(1), sent_at=after(10))
    early = a_message(id=MessageId(2), sent_at=after(5))
    twin = a_message(id=MessageId(3), sent_at=after(5))
    assert in_event_order([late, twin, early, late]) == [early, twin, late]


def test_of_two_versions_the_one_before_the_edit_counts() -> None:
    sent = a_message(text="as it was sent", updated_at=after(0))
    edited = replace(sent, text="as it is now", updated_at=after(60), edited_at=after(60))
    assert in_event_order([edited, sent]) == in_event_order([sent, edited]) == [sent]


def test_a_question_is_answered_at_its_own_time_not_when_the_next_row_comes() -> None:
    ring, much_later = a_call("initiated", 0), a_message(id=MessageId(9), sent_at=after(7200))
    (fired,) = told(rehearsed([ring, much_later]))
    assert fired[:2] == ("missed-call", "firing")
    assert 0 < fired[2] < 600


def test_what_the_end_leaves_open_is_counted_and_silence_up_to_a_known_moment_answers_it() -> None:
    ring = a_call("initiated", 0)
    found = rehearsed([ring])
    assert (found.findings, found.open) == ((), {"missed-call": 1})
    found = rehearsed([ring], until=7200)
    assert ([name for name, _, _ in told(found)], found.open) == (["missed-call"], {})


@pytest.mark.parametrize("seed", range(8))
def test_the_order_and_the_repeats_of_the_rows_change_nothing(seed: int) -> None:
    random = Random(seed)
    past = a_past(random)
    once = rehearsed(past, until=SPAN.total_seconds() + 3600)
    assert len(once.findings) > 10
    shuffled = random.sample(past, len(past)) + random.choices(past, k=20)
    assert rehearsed(shuffled, until=SPAN.total_seconds() + 3600) == once


def test_forgetting_expired_states_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    past = a_past(Random(3), size=300)
    kept = rehearsed(past, until=90_000)
    monkeypatch.setattr(rehearsal, "PRUNE_EVERY", 1)
    assert rehearsed(past, until=90_000) == kept


def test_states_past_their_time_are_forgotten_unless_a_timer_asks_for_them() -> None:
    keys = [StateKey(RuleName("x"), name) for name in ("old", "asked", "young", "kept")]
    memory = Recollection()
    for key, expires in zip(keys, (after(1), after(1), after(9), None), strict=True):
        change = StateChange(key=key, expected=0, value=b"{}", expires_at=expires)
        memory.commit(Commit(states=(change,)))
    memory.prune(after(5), but=[keys[1]])
    assert set(memory.states(frozenset(keys))) == set(keys[1:])
    memory.commit(Commit(states=(StateChange(key=keys[3], expected=1, value=None),)))
    memory.prune(after(99), but=())
    assert memory.states(frozenset(keys)) == {}


def test_what_is_held_says_why() -> None:
    texts = [a_message(id=MessageId(n), sent_at=after(n), text="hi") for n in range(1, 4)]
    found = rehearsed(texts, Source("mine.yaml", HOLDING))
    held = [(str(one.alert.rule), found.holds.get(one.alert.id)) for one in found.findings]
    assert sorted(held, key=str) == [
        ("quiet", "shadow"),
        ("quiet", "shadow"),
        ("quiet", "shadow"),
        ("sparing", "overflow"),
        ("sparing", "overflow"),
        ("sparing", None),
    ]


class Failing(Match):
    """A match rule with a bug."""

    def found(self, message: Message, watch: WatchSet) -> Found | None:
        if message.id == 2:
            raise ZeroDivisionError
        return super().found(message, watch)


def test_a_rule_that_fails_is_counted_and_the_others_go_on() -> None:
    texts = [a_message(id=MessageId(n), sent_at=after(n), text="hi") for n in range(1, 4)]
    plain = orders(Source("mine.yaml", "rules: [{name: texts, when: {type: text}}]"), messages=texts)
    (rule,) = plain.rules.rules
    assert isinstance(rule.logic, Match)
    broken = dataclasses.replace(rule, logic=Failing(rule.logic.condition))
    found = rehearse(dataclasses.replace(plain, rules=RuleSet(app="test", rules=[broken])), texts)
    assert len(found.findings) == 2
    assert found.faults == {"texts": 1}
    assert found.errors[rule.name].startswith("ZeroDivisionError at test_rehearsal.py:")


def test_a_surge_ends_though_its_rule_went_quiet() -> None:
    usual = [a_message(id=MessageId(n), sent_at=after(n * 3600), text="hi") for n in range(1, 49)]
    storm = [a_message(id=MessageId(100 + n), sent_at=after(180_000 + n), text="hi") for n in range(60)]
    found = rehearsed(
        [*usual, *storm],
        Source("mine.yaml", "rules: [{name: texts, when: {type: text}}]"),
        until=180_000 + 6 * 3600,
    )
    surges = [(status, at) for name, status, at in told(found) if name == "rule-surge"]
    assert [status for status, _ in surges] == ["firing", "resolved"]
    assert 180_000 < surges[1][1] < 180_000 + 3 * 3600
    assert "surge" in found.holds.values()
