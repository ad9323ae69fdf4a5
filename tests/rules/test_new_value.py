"""Values that were never seen before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.kinds import new_value
from rules.model import Attachment, Message, MessageId, Party, UserId
from rules.spec import SpecError
from tests.rules.builders import NOON, WATCH_BOB, Bench, a_message, after, rules_of

HOUR = 3_600
DAY = 24 * HOUR
SENDER = "field: sender, learn: 1h, forget: 10d"


def learning(options: str = SENDER) -> Bench:
    return Bench(rules_of(f"rules: [{{name: fresh, kind: new_value, {options}}}]"))


def from_(uid: str, at: float, number: int | None = None, **changes: Any) -> Message:
    id_ = MessageId(number if number is not None else int(at) + 1_000)
    return a_message(**({"id": id_, "sent_at": after(at), "sender": Party(id=uid)} | changes))


def values(bench: Bench) -> list[str]:
    return [alert.title.removeprefix("fresh: new sender ") for alert in bench.told]


def test_what_is_first_seen_after_learning_is_told_once() -> None:
    bench = learning()
    bench.feed(from_("ann", 0), from_("eve", HOUR - 1), from_("zoe", HOUR))
    assert values(bench) == ["zoe"]
    bench.feed(from_("zoe", HOUR + 5), from_("ann", HOUR + 6), from_("eve", HOUR + 7), from_("joe", HOUR + 8))
    assert values(bench) == ["zoe", "joe"]
    assert (bench.timers, bench.last.faults) == ({}, ())


def test_an_alert_shows_the_message_and_names_the_value() -> None:
    bench = learning("field: extension, by: [sender], learn: 0s")
    files = (Attachment(extension="pdf"), Attachment(extension="EXE"))
    bench.feed(from_("ann", 0, attachments=files), now=after(7))
    assert [alert.title for alert in bench.told] == [
        "fresh: new extension pdf (sender ann)",
        "fresh: new extension exe (sender ann)",
    ]
    alert = bench.told[0]
    assert alert.summary == "text from ann in ann_user_bob, 2026-11-22 12:00:00 UTC"
    assert (alert.event_at, alert.first_seen_at, alert.resolution) == (NOON, after(7), None)
    assert (alert.watched_users, [message.id for message in alert.messages]) == (("bob",), [1_000])


def test_each_key_learns_for_itself() -> None:
    bench = learning("field: type, by: [sender], learn: 1h")
    bench.feed(from_("ann", 0), from_("eve", 2 * HOUR))
    assert bench.told == []
    bench.feed(from_("ann", 2 * HOUR, 7, type="image"))
    assert [alert.key for alert in bench.told] == ["ann"]


def test_a_value_that_was_absent_for_too_long_is_new_again() -> None:
    bench = learning()
    bench.feed(from_("ann", 0), from_("eve", 0, 2), from_("ann", 9 * DAY))
    bench.feed(from_("ann", 19 * DAY))
    assert values(bench) == []
    bench.feed(from_("eve", 19 * DAY, 3))
    assert values(bench) == ["eve"]
    bench.feed(from_("eve", 40 * DAY, 4))
    assert values(bench) == ["eve", "eve"]
    assert len({alert.id for alert in bench.told}) == 2


def test_a_late_first_message_begins_the_learning_earlier() -> None:
    bench = learning()
    bench.feed(from_("ann", HOUR), from_("eve", 1.5 * HOUR))
    assert values(bench) == []
    bench.feed(from_("joe", 0))
    assert values(bench) == ["ann", "eve"]
    assert [alert.messages[0].sender.id for alert in bench.told] == ["ann", "eve"]


def test_a_late_first_message_of_a_value_that_was_told_tells_nothing() -> None:
    bench = learning()
    bench.feed(from_("ann", 0), from_("eve", 3 * HOUR))
    bench.feed(from_("eve", 2 * HOUR), from_("eve", 60))
    assert values(bench) == ["eve"]


def test_a_late_message_between_two_runs_makes_them_one() -> None:
    bench = learning()
    bench.feed(from_("ann", 0), from_("eve", DAY), from_("eve", 20 * DAY), now=after(20 * DAY))
    assert values(bench) == ["eve", "eve"]
    bench.feed(from_("eve", 10 * DAY), now=after(20 * DAY))
    assert values(bench) == ["eve", "eve"]


def test_a_value_that_is_seen_all_the_time_is_rarely_written() -> None:
    bench = learning("field: sender, learn: 1h, forget: 100d")
    writes = 0
    for minute in range(0, 3 * 24 * 60, 10):
        writes += len(bench.feed(from_("ann", 60 * minute), now=after(60 * minute)).states)
    assert writes in (3, 4)


def test_read_again_nothing_is_told_and_nothing_written() -> None:
    rows = [from_("ann", 0), from_("eve", HOUR), from_("zoe", 2 * HOUR)]
    bench = learning()
    bench.feed(*rows)
    outcome = bench.feed(*rows, now=after(DAY))
    assert (outcome.alerts, outcome.states) == ((), ())


def test_values_are_forgotten_with_their_state() -> None:
    bench = learning()
    for day in range(60):
        bench.feed(from_(f"u{day}", day * DAY), now=after(day * DAY))
    (state,) = bench.states.values()
    logic, _ = bench.rules.by_name[next(iter(bench.states)).rule]
    assert 10 <= len(logic.decode(state.value).runs) <= 13
    expires = bench.last.states[0].expires_at
    assert expires is not None
    assert timedelta(days=10) < expires - after(59 * DAY) < timedelta(days=10, hours=6)
    bench.feed(from_("u1", DAY + 5), now=after(60 * DAY))
    assert "u1" not in logic.decode(next(iter(bench.states.values())).value).runs


def test_only_so_many_values_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_value, "MAX_VALUES", 10)
    bench = learning()
    for number in range(30):
        bench.feed(from_(f"u{number}", number * HOUR))
    (state,) = bench.states.values()
    logic, _ = bench.rules.by_name[next(iter(bench.states)).rule]
    assert sorted(logic.decode(state.value).runs) == [f"u{number}" for number in range(20, 30)]


def test_a_busy_key_keeps_few_messages() -> None:
    bench = learning("field: sender, learn: 1d")
    for number in range(300):
        bench.feed(from_(f"u{number}", number))
    (state,) = bench.states.values()
    assert len(state.value) < 40_000
    bench.feed(from_("u0", -2 * DAY, 1))
    assert len(bench.told) == 299
    assert bench.last.faults == ()


def test_conditions_and_the_watch_set_choose_the_messages() -> None:
    bench = learning("field: sender, learn: 0s, when: {direction: inbound, type: image}")
    bench.feed(from_("ann", 0))
    bench.watch = {UserId("ann"): {}}
    bench.feed(from_("ann", 1, type="image"))
    assert (bench.told, bench.states) == ([], {})
    bench.watch = dict(WATCH_BOB)
    bench.feed(from_("ann", 2, type="image"))
    assert len(bench.told) == 1


def test_by_watched_only_those_are_judged_who_are_watched() -> None:
    bench = learning("field: type, by: [watched], learn: 0s")
    bench.feed(from_("ann", 0))
    assert [(alert.key, alert.watched_users) for alert in bench.told] == [("bob", ("bob",))]


def test_texts_are_compared_and_not_shown() -> None:
    bench = learning("field: text, learn: 0s")
    bench.feed(from_("ann", 0, text="a secret"), from_("ann", 1, text="a secret"))
    assert [alert.title for alert in bench.told] == ["fresh: new text"]


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ("learn: 1d", '"field" is missing'),
        ("field: sendr", 'did you mean "sender"'),
        ("field: type, forget: 5m", "between 60m and 365d"),
    ],
)
def test_a_mistake_has_its_place(options: str, wrong: str) -> None:
    with pytest.raises(SpecError) as caught:
        learning(options)
    assert wrong in str(caught.value)


def test_the_rule_says_what_it_looks_for() -> None:
    assert learning("field: type, by: [sender], when: {tags: x}").rules.rules[0].describe() == (
        "fresh (warning): messages with tag x whose type was not seen of each sender in the 30d before, "
        "after 24h of learning"
    )


# --- against the whole story ------------------------------------------------------------------------

PART = 10 * DAY // 100


@st.composite
def seen(draw: st.DrawFn) -> list[Message]:
    """Messages of three people within three months, ids in any order."""
    parts = draw(
        st.lists(st.tuples(st.integers(0, 900), st.sampled_from(["ann", "eve", "zoe"])), max_size=12)
    )
    return [from_(uid, part * PART // 2, number) for number, (part, uid) in enumerate(parts, 1)]


def firsts(rows: Sequence[Message]) -> set[tuple[str, int]]:
    """The messages with a value that was absent before, a day after all began."""
    if not rows:
        return set()
    began = min(row.sent_at for row in rows)
    found = set()
    for uid in ("ann", "eve", "zoe"):
        mine = sorted((row for row in rows if row.sender.id == uid), key=lambda row: (row.sent_at, row.id))
        parts = [int(row.sent_at.timestamp()) // PART for row in mine]
        for place, row in enumerate(mine):
            is_new = place == 0 or parts[place] - parts[place - 1] > 100
            if is_new and row.sent_at - began >= timedelta(hours=1):
                found.add((uid, int(row.id)))
    return found


def told(bench: Bench) -> set[tuple[str, int]]:
    return {(alert.messages[0].sender.id, int(alert.messages[0].id)) for alert in bench.told}


@given(rows=seen())
def test_in_order_exactly_the_new_ones_are_told(rows: list[Message]) -> None:
    bench = learning()
    for row in sorted(rows, key=lambda row: (row.sent_at, row.id)):
        bench.feed(row, now=row.sent_at)
    assert told(bench) == firsts(rows)


@given(rows=seen())
def test_at_once_exactly_the_new_ones_are_told(rows: list[Message]) -> None:
    bench = learning()
    bench.feed(*rows)
    assert told(bench) == firsts(rows)


@given(data=st.data(), rows=seen())
def test_in_any_order_whatever_is_new_in_the_end_was_told(data: st.DataObject, rows: list[Message]) -> None:
    bench = learning()
    mixed = data.draw(st.permutations([*rows, *rows[:2]]))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(mixed)))))
    for a, b in pairwise([0, *cuts, len(mixed)]):
        bench.feed(*mixed[a:b])
    assert {uid for uid, _ in firsts(rows)} <= {uid for uid, _ in told(bench)}
    (count, before) = (len(bench.told), dict(bench.states))
    bench.feed(*rows)
    assert (len(bench.told), bench.states) == (count, before)
