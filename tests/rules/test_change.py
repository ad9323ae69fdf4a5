"""A field whose value differs from that of the message before."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.model import Attachment, Message, MessageId, Party, UserId
from rules.spec import SpecError
from tests.rules.builders import Bench, a_message, after, rules_of

DAY = 86_400


def changing(options: str = "field: role, by: [sender]") -> Bench:
    return Bench(rules_of(f"rules: [{{name: other, kind: change, {options}}}]"))


def as_role(number: int, at: float, role: str | None, uid: str = "ann", **changes: Any) -> Message:
    facts = {"id": MessageId(number), "sent_at": after(at), "sender": Party(id=uid, name="Ann", role=role)}
    return a_message(**(facts | changes))


def story(text: str) -> list[Message]:
    """One message a second with the role that a letter stands for; a dot is a message without a role."""
    return [as_role(place + 1, place, None if char == "." else char) for place, char in enumerate(text)]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a", 0),
        ("aa", 0),
        ("ab", 1),
        ("aab", 1),
        ("aba", 2),
        ("a..b", 1),
        ("a.a", 0),
        ("..", 0),
        ("abcd", 3),
        ("aAb", 1),
    ],
)
def test_each_change_is_told(text: str, count: int) -> None:
    bench = changing()
    for message in story(text):
        bench.feed(message)
    assert len(bench.told) == count
    assert (bench.timers, bench.last.faults) == ({}, ())
    bench.feed(*story(text))
    assert len(bench.told) == count


def test_an_alert_names_both_values_and_shows_both_messages() -> None:
    bench = changing()
    bench.feed(*story("ab"))
    (alert,) = bench.told
    assert alert.title == "other: role changed from a to b (sender ann)"
    assert alert.summary == "Ann (ann) in ann_user_bob, 2026-11-22 12:00:01 UTC"
    assert alert.messages[-1].id == 2
    assert (alert.event_at, alert.resolution, alert.watched_users) == (after(1), None, ("bob",))


def test_the_first_value_of_each_key_is_no_change() -> None:
    bench = changing()
    bench.feed(as_role(1, 0, "a"), as_role(2, 1, "b", uid="zoe"))
    assert bench.told == []


def test_several_values_of_a_message_are_compared_together() -> None:
    def with_files(number: int, *extensions: str) -> Message:
        files = tuple(Attachment(extension=extension) for extension in extensions)
        return as_role(number, number, None, attachments=files)

    bench = changing("field: extension, by: [sender]")
    bench.feed(with_files(1, "pdf", "png"), with_files(2, "png", "pdf"))
    assert bench.told == []
    bench.feed(with_files(3, "pdf"))
    assert bench.told[0].title == "other: extension changed from pdf, png to pdf (sender ann)"


def test_a_late_message_only_moves_the_change() -> None:
    bench = changing()
    bench.feed(as_role(1, 0, "a"), as_role(3, 10, "b"))
    bench.feed(as_role(2, 5, "b"))
    assert len(bench.told) == 1
    bench.feed(as_role(4, 20, "a"))
    assert len(bench.told) == 2


def test_a_late_message_with_another_value_before_an_unchanged_one_is_told() -> None:
    bench = changing()
    bench.feed(as_role(1, 0, "a"), as_role(3, 10, "a"))
    bench.feed(as_role(2, 5, "b"))
    assert len(bench.told) == 2


def test_of_messages_in_one_second_the_last_one_counts() -> None:
    bench = changing()
    bench.feed(as_role(1, 0, "a"), as_role(2, 5, "b"), as_role(3, 5, "c"))
    assert [alert.title for alert in bench.told] == ["other: role changed from a to c (sender ann)"]


def test_a_value_that_is_too_old_is_not_compared_with() -> None:
    bench = changing("field: role, by: [sender], forget: 10d")
    bench.feed(as_role(1, 0, "a"), as_role(2, 10 * DAY, "b"))
    assert len(bench.told) == 1
    bench.feed(as_role(3, 20 * DAY + 1, "c"))
    assert len(bench.told) == 1


def test_the_last_value_is_remembered_for_as_long_as_the_rule_says() -> None:
    bench = changing("field: role, by: [sender], forget: 10d")
    bench.feed(as_role(1, 0, "a"))
    assert bench.last.states[0].expires_at == after(10 * DAY)


def test_only_the_last_messages_are_kept() -> None:
    bench = changing()
    for hour in range(200):
        bench.feed(as_role(hour + 1, 3_600 * hour, "ab"[hour // 100]), now=after(3_600 * hour))
    (state,) = bench.states.values()
    assert len(state.value) < 5_000
    assert len(bench.told) == 1


def test_a_message_older_than_all_that_is_kept_is_passed_over() -> None:
    bench = changing()
    for hour in range(1, 10):
        bench.feed(as_role(hour + 1, 3_600 * hour, "a"), now=after(3_600 * hour))
    bench.feed(as_role(1, 10, "b"), now=after(40_000))
    assert bench.told == []


def test_conditions_choose_the_messages() -> None:
    bench = changing("field: role, by: [sender], when: {direction: inbound, type: text}")
    bench.feed(as_role(1, 0, "a"), as_role(2, 1, "b", type="image"), as_role(3, 2, "a"))
    assert bench.told == []
    bench.watch = {UserId("ann"): {}}
    bench.feed(as_role(4, 3, "b"))
    assert bench.told == []


def test_texts_are_compared_and_not_shown() -> None:
    bench = changing("field: text, by: [sender]")
    bench.feed(as_role(1, 0, None, text="secret one"), as_role(2, 1, None, text="secret two"))
    (alert,) = bench.told
    assert alert.title == "other: text changed from to (sender ann)"


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ("field: role", '"by" is missing'),
        ("by: [sender]", '"field" is missing'),
        ("field: rol, by: []", "no field"),
    ],
)
def test_a_mistake_has_its_place(options: str, wrong: str) -> None:
    with pytest.raises(SpecError) as caught:
        changing(options)
    assert wrong in str(caught.value)


def test_the_rule_says_what_it_looks_for() -> None:
    assert changing("field: role, by: [sender], when: {type: text}").rules.rules[0].describe() == (
        "other (warning): messages with type text whose role differs from that of the message before, "
        "for each sender, if that is not older than 30d"
    )


# --- against the whole story ------------------------------------------------------------------------


@st.composite
def roles(draw: st.DrawFn) -> list[Message]:
    times = draw(st.lists(st.integers(0, 60), min_size=1, max_size=10))
    return [as_role(number, at, draw(st.sampled_from("abc"))) for number, at in enumerate(sorted(times), 1)]


def changes_in(rows: Sequence[Message]) -> list[tuple[float, float]]:
    """Each change as the time from the message before to the message that changed."""
    last = [list(together)[-1] for _, together in groupby(rows, key=lambda row: row.sent_at)]
    return [
        ((a.sent_at - after(0)).total_seconds(), (b.sent_at - after(0)).total_seconds())
        for a, b in pairwise(last)
        if a.sender.role != b.sender.role
    ]


@given(rows=roles())
def test_in_order_each_change_is_told(rows: list[Message]) -> None:
    bench = changing()
    together = [list(rows) for _, rows in groupby(rows, key=lambda row: row.sent_at)]
    for chunk in together:
        bench.feed(*chunk)
    assert [(alert.event_at - after(0)).total_seconds() for alert in bench.told] == [
        b for _, b in changes_in(rows)
    ]


@given(data=st.data(), rows=roles())
def test_in_any_order_what_is_told_covers_every_change_and_nothing_twice(
    data: st.DataObject, rows: list[Message]
) -> None:
    bench = changing()
    for row in data.draw(st.permutations([*rows, *rows[:2]])):
        bench.feed(row)
    told = {(alert.event_at - after(0)).total_seconds() for alert in bench.told}
    assert bool(told) >= bool(changes_in(rows))
    assert len({alert.id for alert in bench.told}) == len(bench.told)
    count = len(bench.told)
    bench.feed(*rows)
    assert len(bench.told) == count
