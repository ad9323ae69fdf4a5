"""Keys that are flooded: all that was told stays true, is told once, and is over in the end."""

from __future__ import annotations

from time import perf_counter

import pytest

from rules.fields import MAX_KEYS
from rules.kinds.episodes import MAX_EPISODES, MAX_ROWS
from rules.model import Message, MessageId, Party, Status
from tests.rules.builders import TEAM, Bench, a_message, after, rules_of

PAGE = 1_000
MANY = 3 * MAX_EPISODES
EVE = Party(id="eve")


def bench_of(rule: str) -> Bench:
    return Bench(rules_of(f"rules: [{{name: tried, {rule}}}]"))


def until_quiet(bench: Bench, seconds: float) -> None:
    while bench.timers:
        bench.pass_time(now=after(seconds))


def test_every_burst_of_a_long_past_is_over_in_the_end() -> None:
    bench = bench_of("kind: count, within: 2s, at_least: 2, by: [], resolve_after: 1s")
    pairs = [
        a_message(id=MessageId(2 * number + second), sent_at=after(20 * number + second))
        for number in range(MANY)
        for second in (0, 1)
    ]
    bench.feed(*pairs, now=after(20 * MANY))
    until_quiet(bench, 20 * MANY)
    assert len(bench.told) == 2 * MANY
    assert not bench.open_alerts


def test_what_was_told_is_not_told_again_with_every_message() -> None:
    bench = bench_of("kind: change, field: role, by: [conversation]")

    def wavering(number: int) -> Message:
        sender = Party(id="ann", role=f"role-{number % 2}")
        return a_message(id=MessageId(number), sent_at=after(number), sender=sender)

    first = bench.feed(*map(wavering, range(PAGE)), now=after(PAGE))
    assert len(first.alerts) == PAGE - 1
    for number in range(PAGE, PAGE + 3):
        assert len(bench.feed(wavering(number), now=after(number)).alerts) == 1


def test_a_change_is_worded_by_its_own_values() -> None:
    title = "{{ before }}-{{ value }}"
    bench = bench_of(f'kind: change, field: role, by: [conversation], title: "{title}"')
    roles = ("a", "b", "b", "c", "c", "a")
    rows = [
        a_message(id=MessageId(number), sent_at=after(number // 2), sender=Party(id="ann", role=role))
        for number, role in enumerate(roles, start=2)
    ]
    # Of two at the same second the last one counts.
    assert [alert.title for alert in bench.feed(*rows).alerts] == ["b-c", "c-a"]


def test_a_question_among_thousands_is_not_forgotten() -> None:
    bench = bench_of("kind: unanswered, when: {type: text}, within: 15m, answer_from: watched")

    def eve_asks(number: int) -> Message:
        return a_message(
            id=MessageId(number),
            sent_at=after(number),
            sender=EVE,
            receiver=TEAM,
            receiver_type="group",
            conversation_id="group_team",
            text="help",
        )

    rows = [eve_asks(number) for number in range(3 * MAX_ROWS)]
    for start in range(0, len(rows), PAGE):
        bench.feed(*rows[start : start + PAGE], now=after(start + PAGE))
        if bench.timers and start == PAGE:
            bench.pass_time(now=after(start + PAGE))
    assert bench.news == [("group_team", "firing")]


def test_too_many_to_keep_do_not_take_a_spike_back() -> None:
    bench = bench_of(
        "kind: spike, within: 10m, reference: 1h, at_least: 20, ratio: 3, learn: 0s, direction: up"
    )
    number = 0
    for number in range(120):
        bench.feed(a_message(id=MessageId(number), sent_at=after(30 * number)), now=after(30 * number))
    began = 30 * number
    rows = [
        a_message(id=MessageId(number + place), sent_at=after(began + place / 2))
        for place in range(1, 3 * MAX_ROWS)
    ]
    for start in range(0, len(rows), PAGE):
        bench.feed(*rows[start : start + PAGE], now=after(began + (start + PAGE) / 2))
    until_quiet(bench, 1e6)
    reasons = {alert.resolution for alert in bench.told if alert.status is Status.RESOLVED}
    assert reasons == {"10m without so many"}
    assert not bench.open_alerts


CROWD = tuple(f"user-{number}" for number in range(5_000))


@pytest.mark.parametrize(
    ("rule", "alerts"),
    [
        ("kind: unanswered, when: {mentions: anyone}, within: 15m, answer_from: mentioned", 0),
        ("kind: count, at_least: 90, within: 15m, by: [], distinct: mentioned", 1),
        ("kind: new_value, field: mentioned, learn: 0s", MAX_KEYS),
        ("kind: change, field: mentioned, by: [conversation]", 1),
    ],
)
def test_a_message_that_mentions_thousands_stands_for_a_hundred(rule: str, alerts: int) -> None:
    bench = bench_of(rule)
    before = a_message(id=MessageId(1), mentions=CROWD[1:]) if "change" in rule else a_message()
    began = perf_counter()
    found = bench.feed(before, a_message(id=MessageId(2), sent_at=after(1), mentions=CROWD))
    assert perf_counter() - began < 1.0
    assert not found.faults
    assert len(found.alerts) == alerts
    assert sum(len(state.value) for state in bench.states.values()) < 200_000  # two messages are kept whole
