"""New values at their limits: the edges of being remembered, what is kept, and for how long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rules.kinds import new_value
from rules.kinds.new_value import MAX_KEPT, Known, NewValue, Run
from rules.model import Attachment, Message, MessageId, Party, UserId
from tests.rules.builders import ANN, BOB, Bench, a_message, after, in_group, rules_of
from tests.rules.test_new_value import DAY, HOUR, from_, learning, values

PART = DAY // 10  # a hundredth of ten days


def logic_of(bench: Bench) -> NewValue:
    logic = bench.rules.rules[0].logic
    assert isinstance(logic, NewValue)
    return logic


def known(bench: Bench) -> Known:
    (state,) = bench.states.values()
    return logic_of(bench).decode(state.value)


def runs(bench: Bench, value: str) -> tuple[Run, ...]:
    return known(bench).runs[value]


# --- the edges --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "is_new"), [(100 * PART, False), (101 * PART - 1, False), (101 * PART, True)]
)
def test_a_value_is_remembered_for_a_hundred_parts(seconds: int, is_new: bool) -> None:
    bench = learning("field: sender, learn: 0s, forget: 10d")
    bench.feed(from_("ann", 0), from_("ann", seconds))  # noon is the first moment of a part
    assert values(bench) == ["ann"] * (1 + is_new)


def test_a_row_between_two_runs_joins_both_only_if_it_is_near_to_both() -> None:
    bench = learning("field: sender, learn: 0s, forget: 10d")
    bench.feed(from_("ann", 0), from_("ann", 21 * DAY), now=after(21 * DAY))
    assert len(runs(bench, "ann")) == 2
    bench.feed(from_("ann", 10 * DAY), now=after(21 * DAY))
    (first, second) = runs(bench, "ann")
    assert (first.id, second.id) == (1_000, 21 * DAY + 1_000)
    bench.feed(from_("ann", 11 * DAY), now=after(21 * DAY))
    (run,) = runs(bench, "ann")
    assert (run.id, run.is_told) == (1_000, True)
    assert values(bench) == ["ann", "ann"]


def test_of_rows_at_the_same_time_the_smallest_id_is_the_first() -> None:
    bench = learning("field: sender, learn: 0s")
    bench.feed(from_("ann", 0, 7), from_("ann", 0, 5), from_("ann", 0, 9))
    assert [alert.messages[0].id for alert in bench.told] == [5]
    assert runs(bench, "ann")[0].id == 5


def test_a_message_with_many_values_tells_each_once() -> None:
    bench = learning("field: tag, learn: 0s")
    tags = tuple(f"t{number}" for number in range(150))
    bench.feed(from_("ann", 0, tags=tags))
    assert len(bench.told) == 100
    bench.feed(from_("ann", 1, tags=("t149", "t0")))
    assert bench.told[-1].title == "fresh: new tag t149"
    assert len(bench.told) == 101


def test_an_alert_of_a_value_has_the_id_of_the_message_and_the_value() -> None:
    bench = learning("field: tag, learn: 0s")
    bench.feed(from_("ann", 0, tags=("a", "b")))
    first, second = bench.told
    assert first.id != second.id
    again = learning("field: tag, learn: 0s")
    again.feed(from_("ann", 0, tags=("b", "a")))
    assert {alert.id for alert in again.told} == {first.id, second.id}


# --- who is concerned -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message", "users"),
    [
        ("field: type", a_message(), ("bob",)),
        ("field: type, by: [watched]", a_message(), ("bob",)),
        ("field: type, by: [mentioned]", in_group(mentions=("bob", "zoe")), ("bob",)),
        ("field: type, by: [sender]", in_group(mentions=("zoe", "bob")), ("bob",)),
        ("field: type, by: [sender]", a_message(sender=BOB, receiver=ANN), ("bob",)),
    ],
)
def test_an_alert_names_those_it_concerns(options: str, message: Message, users: tuple[str, ...]) -> None:
    bench = learning(f"{options}, learn: 0s")
    bench.feed(message)
    assert bench.told[0].watched_users == users


def test_of_several_that_are_watched_the_key_names_the_one() -> None:
    bench = learning("field: type, by: [watched], learn: 0s")
    bench.watch = {UserId("ann"): {}, UserId("bob"): {}}
    bench.feed(a_message())
    assert sorted((alert.key, alert.watched_users) for alert in bench.told) == [
        ("ann", ("ann",)),
        ("bob", ("bob",)),
    ]


def test_nobody_is_alerted_of_those_who_are_watched_no_longer() -> None:
    bench = learning("field: type, by: [watched], learn: 0s")
    bench.feed(a_message())
    bench.watch = {UserId("ann"): {}}
    bench.feed(a_message(id=MessageId(2), type="image", sent_at=after(1)))
    assert [alert.key for alert in bench.told] == ["bob", "ann"]


def test_conditions_are_named_for_those_who_trace_them() -> None:
    assert set(learning("field: type, when: {type: text}").rules.rules[0].logic.conditions) == {"when"}
    assert learning("field: type").rules.rules[0].logic.conditions == {}


@pytest.mark.parametrize(
    ("message", "has_state"),
    [
        (a_message(attachments=(Attachment(extension="pdf"),)), True),
        (a_message(attachments=(Attachment(),)), False),
        (a_message(), False),
        (a_message(type="image", attachments=(Attachment(extension="pdf"),)), False),
    ],
)
def test_messages_without_a_value_leave_no_state(message: Message, has_state: bool) -> None:
    bench = learning("field: extension, when: {type: text}")
    bench.feed(message)
    assert bool(bench.states) is has_state
    assert bool(logic_of(bench).keys(message)) is has_state
    assert bench.last.faults == ()


@pytest.mark.parametrize(
    "options", ["field: type", "field: type, by: [watched]", "field: type, by: [sender]"]
)
def test_a_message_of_nobody_watched_leaves_nothing(options: str) -> None:
    bench = learning(f"{options}, learn: 0s")
    bench.feed(a_message(sender=Party(id="zoe"), receiver=ANN))
    assert (bench.told, bench.states, bench.last.faults) == ([], {}, ())


def test_what_was_told_is_not_told_again_when_it_goes_on() -> None:
    bench = learning("field: sender, learn: 0s")
    assert len(bench.feed(from_("ann", 0)).alerts) == 1
    assert bench.feed(from_("ann", DAY)).alerts == ()
    assert bench.feed(from_("ann", -DAY)).alerts == ()  # earlier than all: everything is looked at anew


# --- what is kept -----------------------------------------------------------------------------------


def test_messages_are_kept_only_while_they_may_turn_out_to_be_new() -> None:
    bench = learning("field: sender, learn: 1h, forget: 10d")
    bench.feed(from_("ann", 0), from_("eve", 60))
    assert [one.value for one in known(bench).kept] == ["ann", "eve"]
    bench.feed(from_("zoe", 2 * HOUR), now=after(2 * HOUR))
    # Two hours later no earlier row is on its way, and the new value is told already.
    assert [one.value for one in known(bench).kept] == []
    assert values(bench) == ["zoe"]


@pytest.mark.parametrize(("seconds", "kept"), [(3_600, 2), (3_601, 1)])
def test_a_row_may_come_an_hour_late(seconds: int, kept: int) -> None:
    bench = learning("field: sender, learn: 1d")
    bench.feed(from_("ann", 0))
    bench.feed(from_("eve", seconds), now=after(seconds))
    assert len(known(bench).kept) == kept


def test_of_many_the_newest_are_kept() -> None:
    bench = learning("field: sender, learn: 1d")
    bench.feed(*(from_(f"u{number}", number) for number in range(MAX_KEPT + 5)))
    assert [one.value for one in known(bench).kept] == [f"u{number}" for number in range(5, MAX_KEPT + 5)]


def test_a_message_that_is_no_longer_kept_is_stood_in_for_by_the_newest() -> None:
    bench = learning("field: sender, learn: 1h")
    bench.feed(from_("ann", HOUR, 5))
    bench.feed(*(from_(f"u{number}", HOUR + 1 + number, 100 + number) for number in range(MAX_KEPT)))
    bench.feed(from_("joe", 0, 1))
    shown = {alert.title: int(alert.messages[0].id) for alert in bench.told}
    assert shown["fresh: new sender ann"] == 1
    assert shown["fresh: new sender u0"] == 100


def test_a_state_is_remembered_as_long_as_its_values_and_at_least_for_late_rows() -> None:
    bench = learning("field: sender, learn: 1h, forget: 10d")
    bench.feed(from_("ann", 0), now=after(0))
    (change,) = bench.last.states
    assert change.expires_at is not None
    ends = change.expires_at - after(0)
    assert timedelta(days=10, hours=1) < ends <= timedelta(days=10, hours=1, seconds=PART)
    bench = learning("field: sender, learn: 1h, forget: 10d")
    bench.feed(from_("ann", 0), now=after(50 * DAY))
    (change,) = bench.last.states
    assert change.expires_at == after(50 * DAY + HOUR)


def test_what_was_seen_last_is_remembered_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_value, "MAX_VALUES", 3)
    bench = learning("field: sender, learn: 0s, forget: 10d")
    for number, uid in enumerate(["a", "b", "c", "a"]):
        bench.feed(from_(uid, number * DAY), now=after(number * DAY))
    assert sorted(known(bench).runs) == ["a", "b", "c"]
    bench.feed(from_("d", 4 * DAY), now=after(4 * DAY))
    assert sorted(known(bench).runs) == ["a", "c", "d"]
    # As the oldest are let go for want of room only, rows of their time count still.
    bench.feed(from_("c", 2 * DAY + 60), now=after(4 * DAY))
    assert sorted(known(bench).runs) == ["a", "c", "d"]
    assert values(bench) == ["a", "b", "c", "d"]


def test_rows_of_a_time_that_is_forgotten_tell_nothing() -> None:
    bench = learning("field: sender, learn: 0s, forget: 10d")
    bench.feed(from_("ann", 0), now=after(0))
    bench.feed(from_("eve", 30 * DAY), now=after(30 * DAY))
    assert set(known(bench).runs) == {"eve"}
    bench.feed(from_("ann", 10), from_("zoe", 20), now=after(30 * DAY))
    assert values(bench) == ["ann", "eve"]
    bench.feed(from_("zoe", 15 * DAY), now=after(30 * DAY))
    assert values(bench) == ["ann", "eve", "zoe"]


def test_the_rule_says_what_it_looks_for_in_short() -> None:
    def said(options: str) -> str:
        return learning(options).rules.rules[0].logic.describe()

    assert said("field: type") == "messages whose type was not seen in the 30d before, after 24h of learning"
    assert said("field: type, by: [sender, tag], forget: 2d, learn: 0s") == (
        "messages whose type was not seen of each sender and tag in the 2d before, after 0s of learning"
    )


def a_row(**changes: Any) -> Message:
    return a_message(**({"sender": Party(id="ann")} | changes))


def test_a_title_names_the_key_if_there_is_one() -> None:
    bench = Bench(rules_of("rules: [{name: fresh, kind: new_value, field: type, learn: 0s}]"))
    bench.feed(a_row())
    assert bench.told[0].title == "fresh: new type text"
    bench = learning("field: type, by: [sender, receiver], learn: 0s")
    bench.feed(a_row())
    assert bench.told[0].title == "fresh: new type text (sender ann, receiver bob)"
