"""Messages that meet one condition after the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.model import Message, MessageId, Party, UserId
from rules.spec import SpecError
from tests.rules.builders import ANN, BOB, Bench, a_message, after, in_group, rules_of

ABC = "steps: [{tags: a}, {tags: b}, {tags: c}]"
AB = "steps: [{tags: a}, {tags: b}]"


def in_order(options: str = AB, within: str = "10s") -> Bench:
    return Bench(rules_of(f"rules: [{{name: order, kind: sequence, within: {within}, {options}}}]"))


def tagged(number: int, at: float, *tags: str) -> Message:
    return a_message(id=MessageId(number), sent_at=after(at), tags=tags)


def story(text: str, *, every: float = 1) -> list[Message]:
    """`a.b` is a message tagged a, one second later one without a tag, then one tagged b."""
    return [tagged(place + 1, place * every, *({char} - {"."})) for place, char in enumerate(text)]


@pytest.mark.parametrize(
    ("options", "text", "count"),
    [
        (AB, "ab", 1),
        (AB, "a.b", 1),
        (AB, "ba", 0),
        (AB, "a", 0),
        (AB, "aab", 1),
        (AB, "abb", 1),
        (AB, "abab", 2),
        (AB, "aabb", 1),
        (AB, "a.........b", 1),
        (AB, "a..........b", 0),
        (AB, "a.........a.b", 1),
        (AB, "ab....ab", 2),
        (ABC, "abc", 1),
        (ABC, "acb", 0),
        (ABC, "a.b.c", 1),
        (ABC, "abcabc", 2),
        (ABC, "ababcc", 1),
        ("steps: [{tags: a}, {tags: a}]", "a", 0),
        ("steps: [{tags: a}, {tags: a}]", "aa", 1),
        ("steps: [{tags: a}, {tags: a}]", "aaaaaa", 1),
        ("steps: [{tags: a}, {type: text}]", "a.", 1),
        ("steps: [{tags: a}, {tags: b}], when: {sender: ann}", "ab", 1),
        ("steps: [{tags: a}, {tags: b}], when: {sender: bob}", "ab", 0),
        ("steps: [{tags: a}, {direction: inbound}]", "a.", 1),
        ("steps: [{tags: a}, {direction: outbound}]", "a.", 0),
    ],
)
def test_steps_in_order_within_the_time_are_told(options: str, text: str, count: int) -> None:
    bench = in_order(options)
    for message in story(text):
        bench.feed(message)
    assert len(bench.told) == count
    assert {alert.resolution for alert in bench.told} <= {None}
    assert (bench.timers, bench.last.faults) == ({}, ())


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1], [2, 0, 1], [1, 0, 2]])
def test_late_steps_make_the_same_alert(order: Sequence[int]) -> None:
    rows = story("abc")
    bench = in_order(ABC)
    for place in order:
        bench.feed(rows[place])
    (alert,) = bench.told
    assert [message.id for message in alert.messages] == [1, 2, 3]
    assert alert.event_at == after(2)
    assert alert.conversation_id == "ann_user_bob"
    assert alert.title == "order: 3 steps within 2 s (conversation ann_user_bob)"
    assert alert.watched_users == ("bob",)


def test_a_late_step_that_completes_it_sooner_is_the_same_alert() -> None:
    bench = in_order()
    bench.feed(tagged(1, 0, "a"), tagged(3, 8, "b"))
    bench.feed(tagged(2, 4, "b"))
    assert len(bench.told) == 1


def test_a_late_step_before_one_that_was_told_is_another_alert_if_they_do_not_overlap() -> None:
    bench = in_order()
    bench.feed(tagged(3, 100, "a"), tagged(4, 101, "b"))
    bench.feed(tagged(1, 50, "a"), tagged(2, 51, "b"))
    assert len(bench.told) == 2


def test_steps_of_other_keys_do_not_count() -> None:
    bench = in_order(f"{AB}, by: [sender]")
    bench.feed(
        tagged(1, 0, "a"), a_message(id=MessageId(2), sent_at=after(1), sender=BOB, receiver=ANN, tags=("b",))
    )
    assert bench.told == []
    bench.feed(tagged(3, 2, "b"))
    assert len(bench.told) == 1


def test_with_no_fields_all_messages_are_one_story() -> None:
    bench = in_order(f"{AB}, by: []")
    bench.feed(tagged(1, 0, "a"), in_group(id=MessageId(2), sent_at=after(1), tags=("b",)))
    assert [alert.key for alert in bench.told] == ["all"]
    assert bench.told[0].title == "order: 2 steps within 1 s"


def test_messages_of_nobody_watched_are_no_steps() -> None:
    bench = in_order()
    bench.watch = {UserId("eve"): {}}
    outcome = bench.feed(*story("ab"))
    assert (outcome.alerts, outcome.states) == ((), ())


def test_read_again_nothing_is_told_and_nothing_written() -> None:
    bench = in_order(ABC)
    bench.feed(*story("abcab"))
    outcome = bench.feed(*story("abcab"), now=after(3_600 * 30))
    assert (outcome.alerts, outcome.states) == ((), ())


def test_old_steps_are_forgotten() -> None:
    bench = in_order(ABC)
    for hour in range(100):
        bench.feed(tagged(hour + 1, 3_600 * hour, "a"), now=after(3_600 * hour))
    (state,) = bench.states.values()
    assert len(state.value) < 5_000
    assert bench.last.states[0].expires_at is not None


def test_a_long_run_is_one_alert_though_its_beginning_is_forgotten() -> None:
    bench = in_order("steps: [{tags: a}, {tags: a}]", within="10m")
    for number in range(1, 300):
        bench.feed(tagged(number, 300 * number, "a"), now=after(300 * number))
    assert len(bench.told) == 1


def test_a_name_with_control_characters_does_no_harm() -> None:
    bench = in_order()
    rows = [
        a_message(
            id=MessageId(number),
            sent_at=after(number),
            tags=(tag,),
            sender=Party(id="ann", name="\u202e\ud800x"),
        )
        for number, tag in ((1, "a"), (2, "b"))
    ]
    bench.feed(*rows)
    assert bench.told[0].summary.isprintable()


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ("steps: [{tags: a}]", "found a list of 1; expected a list of 2 to 10 conditions"),
        ("steps: {tags: a}", "found no list"),
        ("steps: [{tags: a}, {tag: b}]", 'unknown key "tag" (did you mean "tags"?)'),
        ("by: [sender]", '"steps" is missing'),
    ],
)
def test_a_mistake_has_its_place(options: str, wrong: str) -> None:
    with pytest.raises(SpecError) as caught:
        in_order(options)
    assert wrong in str(caught.value)


def test_the_rule_says_what_it_looks_for() -> None:
    rule = in_order(f"{AB}, when: {{type: text}}").rules.rules[0]
    assert rule.describe() == (
        "order (warning): messages with type text in this order within 10s, for each conversation: "
        "(tag a), then (tag b)"
    )
    assert sorted(rule.logic.conditions) == ["steps[0]", "steps[1]", "when"]


# --- against all pairs of messages ------------------------------------------------------------------


def runs_in(rows: Sequence[Message], steps: str, within: float) -> list[tuple[float, float]]:
    """Each time from a first step to a last one that some choice of messages makes, the latest beginnings."""
    ordered = sorted(rows, key=lambda row: (row.sent_at, row.id))

    def begins(place: int, step: int) -> list[float]:
        if steps[step] not in ordered[place].tags:
            return []
        at = (ordered[place].sent_at - after(0)).total_seconds()
        return (
            [at] if step == 0 else [start for earlier in range(place) for start in begins(earlier, step - 1)]
        )

    found = []
    for place, row in enumerate(ordered):
        at = (row.sent_at - after(0)).total_seconds()
        starts = [start for start in begins(place, len(steps) - 1) if at - start <= within]
        found += [(max(starts), at)] if starts else []
    return found


def groups(runs: Sequence[tuple[float, float]]) -> int:
    """How many groups of runs have no moment in common."""
    return sum(
        not any(a <= other_b and other_a <= b for other_a, other_b in before)
        for before, (a, b) in ((sorted(runs)[:place], run) for place, run in enumerate(sorted(runs)))
    )


@st.composite
def tagged_rows(draw: st.DrawFn) -> list[Message]:
    times = draw(st.lists(st.integers(0, 40), min_size=1, max_size=10))
    return [
        tagged(number, at, *draw(st.sets(st.sampled_from("abc"), max_size=2)))
        for number, at in enumerate(sorted(times), 1)
    ]


@given(rows=tagged_rows(), steps=st.sampled_from(["ab", "abc", "aa", "aba"]))
def test_all_in_one_step_as_many_alerts_as_groups_of_runs(rows: list[Message], steps: str) -> None:
    bench = in_order("steps: [" + ", ".join(f"{{tags: {step}}}" for step in steps) + "]")
    bench.feed(*rows)
    assert len(bench.told) == groups(runs_in(rows, steps, 10))


@given(data=st.data(), rows=tagged_rows(), steps=st.sampled_from(["ab", "abc", "aa", "aba"]))
def test_in_any_order_each_run_is_part_of_an_alert_and_read_again_nothing_is_new(
    data: st.DataObject, rows: list[Message], steps: str
) -> None:
    bench = in_order("steps: [" + ", ".join(f"{{tags: {step}}}" for step in steps) + "]")
    mixed = data.draw(st.permutations([*rows, *data.draw(st.lists(st.sampled_from(rows), max_size=3))]))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(mixed)))))
    for a, b in pairwise([0, *cuts, len(mixed)]):
        bench.feed(*mixed[a:b])
    runs = runs_in(rows, steps, 10)
    assert bool(bench.told) is bool(runs)
    assert len(bench.told) <= len(runs)
    told = len(bench.told)
    bench.feed(*rows)
    assert len(bench.told) == told
