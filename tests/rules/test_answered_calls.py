"""Missed calls where a call-back or a reply is an answer too."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rules.engine import step
from rules.kinds.answers import MAX_REACTIONS, SPARE
from rules.model import (
    APP_SYSTEM,
    Message,
    MessageId,
    Party,
    Status,
    Tick,
    UserId,
    WatchSet,
    digest,
    fingerprint,
)
from tests.rules.builders import (
    ANN,
    APP,
    BOB,
    NOON,
    TEAM,
    WATCH_BOB,
    Bench,
    a_call,
    a_message,
    after,
    in_group,
    rules_of,
)

WATCH_ANN: WatchSet = {UserId("ann"): {}}
MINUTE = 60
MISSED = a_call("unanswered", 45, number=2, began=0)
ZOE = Party(id="zoe", name="Zoe")


def answering(answered: str = "{}", options: str = "", watch: WatchSet = WATCH_BOB) -> Bench:
    rules = rules_of(f"rules: [{{name: missed, kind: missed_call, answered: {answered}{options}}}]")
    return Bench(rules, watch=watch)


def a_reply(at: float, number: int, **changes: Any) -> Message:
    """Bob writes to Ann."""
    return a_message(
        **{"id": MessageId(number), "sender": BOB, "receiver": ANN, "sent_at": after(at)} | changes
    )


def a_call_back(status: str, at: float, number: int, session: str = "s2") -> Message:
    """Bob calls Ann."""
    return a_call(status, at, number=number, session=session, caller=BOB, callee=ANN)


AT_ONCE = "{within: 15m}"
LATER = "{within: 15m, raise: if_unanswered}"

ANSWERS: list[tuple[str, Message, str]] = [
    ("reply", a_reply(4 * MINUTE + 45, 3), "the callee replied after 4 min"),
    ("photo", a_reply(50, 3, type="image"), "the callee replied after 5 s"),
    ("custom message", a_reply(46, 3, category="custom", type="location"), "the callee replied after 1 s"),
    ("reply while it rings", a_reply(20, 3), "the callee replied at once"),
    ("call back", a_call_back("initiated", 105, 3), "the callee called back after 1 min"),
    ("call back, its end alone", a_call_back("cancelled", 115, 3), "the callee called back after 1 min 10 s"),
    (
        "a later call is taken",
        a_call("ongoing", 45 + 720, number=3, session="s2"),
        "the callee took a later call after 12 min",
    ),
    ("to the second", a_reply(45 + 15 * MINUTE, 3), "the callee replied after 15 min"),
]

NO_ANSWERS: list[tuple[str, Message]] = [
    ("the caller writes again", a_message(id=MessageId(3), sent_at=after(100))),
    ("the caller calls again", a_call("initiated", 100, number=3, session="s2")),
    ("a second call is declined", a_call("rejected", 100, number=3, session="s2")),
    ("a reply before the call", a_reply(-1, 3)),
    ("a reply in the same second as the call, but before", a_reply(0, 1)),
    ("an edit", a_reply(100, 3, category="action", type="message", action="edited")),
    ("the app itself", a_reply(100, 3, sender=Party(id=APP_SYSTEM))),
    ("a reply elsewhere", a_reply(100, 3, conversation_id="bob_user_zoe", receiver=ZOE)),
    ("a call that has no call", a_reply(100, 3, category="call", type="audio")),
]


@pytest.mark.parametrize(("row", "why"), [case[1:] for case in ANSWERS], ids=[case[0] for case in ANSWERS])
def test_an_answer_resolves_what_was_raised_at_once(row: Message, why: str) -> None:
    bench = answering(AT_ONCE)
    bench.feed(MISSED)
    assert bench.news == [("s1", "firing")]
    assert bench.timers == {}
    bench.feed(row, now=after(3_600))
    assert bench.news == [("s1", "firing"), ("s1", "resolved")]
    firing, resolved = bench.told
    assert resolved.resolution == why
    assert resolved.event_at == row.sent_at
    assert resolved.first_seen_at == firing.first_seen_at == NOON
    assert resolved.id == firing.id


@pytest.mark.parametrize(("row", "why"), [case[1:] for case in ANSWERS], ids=[case[0] for case in ANSWERS])
@pytest.mark.parametrize("first", [True, False])
def test_with_an_answer_in_time_nothing_is_raised(row: Message, why: str, first: bool) -> None:
    bench = answering(LATER)
    for message in (row, MISSED) if first else (MISSED, row):
        bench.feed(message)
    assert (bench.told, bench.timers) == ([], {})


@pytest.mark.parametrize("row", [case[1] for case in NO_ANSWERS], ids=[case[0] for case in NO_ANSWERS])
@pytest.mark.parametrize("answered", [AT_ONCE, LATER])
def test_what_is_no_answer_changes_nothing(row: Message, answered: str) -> None:
    bench = answering(answered)
    bench.feed(MISSED)
    bench.feed(row)
    while bench.timers:
        bench.pass_time(now=after(16 * MINUTE))
    assert bench.news[:2] == [("s1", "firing")] or bench.news == [("s1", "firing"), ("s2", "firing")]


def test_without_an_answer_it_is_raised_when_the_time_is_over() -> None:
    bench = answering(LATER)
    bench.feed(MISSED)
    (timer,) = bench.timers.values()
    assert (bench.told, timer.due, timer.lists) == ([], after(45 + 15 * MINUTE), ("bob",))
    bench.pass_time()
    (alert,) = bench.told
    assert alert.event_at == after(45 + 15 * MINUTE)
    assert alert.summary.startswith("No call-back or reply within 15m: not answered after 45 s, 2026")
    assert alert.messages == (MISSED,)
    assert bench.timers == {}


def test_a_late_answer_resolves_what_was_raised_for_want_of_one() -> None:
    bench = answering(LATER)
    bench.feed(MISSED)
    bench.pass_time()
    bench.feed(a_reply(45 + 25 * MINUTE, 9))
    assert bench.news == [("s1", "firing"), ("s1", "resolved")]
    assert bench.told[-1].resolution == "the callee replied after 25 min"


def test_a_late_answer_that_is_read_before_the_time_is_judged_leaves_the_same_alert() -> None:
    bench = answering(LATER)
    bench.feed(MISSED, a_reply(45 + 25 * MINUTE, 9))
    assert bench.told == []
    bench.pass_time()
    assert bench.news == [("s1", "firing"), ("s1", "resolved")]
    assert bench.timers == {}


def test_an_answer_in_time_that_turns_up_late_takes_the_alert_back() -> None:
    bench = answering(LATER)
    bench.feed(MISSED)
    bench.pass_time()
    bench.feed(a_reply(5 * MINUTE + 45, 9))
    assert bench.told[-1].resolution == "the callee replied after 5 min"


def test_a_late_answer_does_not_count_for_what_was_raised_at_once() -> None:
    bench = answering(AT_ONCE)
    bench.feed(MISSED)
    bench.feed(a_reply(46 + 15 * MINUTE, 9))
    assert bench.news == [("s1", "firing")]


@pytest.mark.parametrize(
    ("by", "row"), [("reply", a_call_back("initiated", 105, 3)), ("call_back", a_reply(105, 3))]
)
def test_only_what_the_rule_names_is_an_answer(by: str, row: Message) -> None:
    bench = answering(f"{{by: {by}}}")
    bench.feed(MISSED, row)
    assert bench.news == [("s1", "firing")]


def test_a_rule_that_counts_call_backs_alone_looks_at_calls_alone() -> None:
    bench = answering("{by: call_back}")
    bench.feed(a_reply(100, 3))
    assert bench.states == {}


def test_a_ring_without_end_waits_for_its_end_and_then_for_an_answer() -> None:
    bench = answering(LATER)
    bench.feed(a_call("initiated", 0))
    assert [timer.due for timer in bench.timers.values()] == [after(90)]
    bench.pass_time()
    assert [timer.due for timer in bench.timers.values()] == [after(15 * MINUTE)]
    bench.pass_time()
    assert bench.news == [("s1", "firing")]


def test_two_calls_of_one_conversation_are_two_alerts_and_one_answer_is_for_both() -> None:
    bench = answering(AT_ONCE)
    again = a_call("busy", 100, number=4, session="s3")
    bench.feed(MISSED, again)
    assert bench.news == [("s1", "firing"), ("s3", "firing")]
    assert len(bench.states) == 1
    bench.feed(a_reply(200, 9))
    assert bench.news[2:] == [("s1", "resolved"), ("s3", "resolved")]


def test_two_waits_of_one_conversation_come_due_one_after_the_other() -> None:
    bench = answering(LATER)
    bench.feed(MISSED, a_call("busy", 100, number=4, session="s3"))
    bench.pass_time()
    assert bench.news == [("s1", "firing")]
    assert [timer.due for timer in bench.timers.values()] == [after(100 + 15 * MINUTE)]
    bench.pass_time()
    assert bench.news == [("s1", "firing"), ("s3", "firing")]


def test_an_alert_has_the_same_id_with_and_without_answers() -> None:
    plain = Bench(rules_of("rules: [{name: missed, kind: missed_call}]"))
    bench = answering(AT_ONCE)
    for one in (plain, bench):
        one.feed(MISSED)
    assert [
        replace(alert, lasts=True) for alert in plain.told
    ] == bench.told  # one that can be answered lasts


def test_a_call_that_was_answered_is_not_missed_whatever_was_said() -> None:
    bench = answering(AT_ONCE)
    bench.feed(MISSED)
    bench.feed(a_call("ongoing", 44, number=1))
    assert bench.told[-1].resolution == "the call was answered at 2026-11-22 12:00:44 UTC"


def test_in_a_group_anybody_but_the_caller_answers() -> None:
    bench = answering(LATER)
    missed = a_call("unanswered", 45, number=2, group=True)
    bench.feed(missed)
    (timer,) = bench.timers.values()
    assert timer.lists == ("@group:team",)
    bench.feed(in_group(id=MessageId(3), sent_at=after(60)))
    assert len(bench.timers) == 1
    bench.feed(in_group(id=MessageId(4), sent_at=after(70), sender=ZOE))
    assert (bench.told, bench.timers) == ([], {})


def test_who_joins_a_later_call_of_a_group_answers() -> None:
    bench = answering(AT_ONCE)
    bench.feed(a_call("unanswered", 45, number=2, group=True))
    bench.feed(a_call("ongoing", 105, number=3, session="s2", group=True))
    assert bench.told[-1].resolution == "somebody in the group took a later call after 1 min"


def test_what_is_said_between_people_who_are_not_watched_leaves_no_state() -> None:
    bench = answering(AT_ONCE, watch={UserId("zoe"): {}})
    outcome = bench.feed(MISSED, a_reply(100, 3))
    assert (outcome.states, outcome.timers, outcome.alerts) == ((), (), ())


def test_what_was_said_is_forgotten_after_an_hour_unless_a_call_needs_it() -> None:
    bench = answering(AT_ONCE)
    bench.feed(a_reply(0, 1))
    assert bench.last.states[0].expires_at == after(3_600)
    much = [a_reply(200, number) for number in range(10, 10 + SPARE)]
    bench.feed(MISSED, a_reply(100, 3), *much)
    bench.feed(a_reply(9_000, 999), now=after(9_000))
    (state,) = bench.states.values()
    logic, _ = bench.rules.by_name[next(iter(bench.states)).rule]
    assert [one.id for one in logic.decode(state.value).said] == [3, 999]
    bench.feed(a_reply(9_001, 1_000), now=NOON + timedelta(days=3))
    assert b"s1" not in next(iter(bench.states.values())).value


def test_the_state_of_a_lively_conversation_is_bounded() -> None:
    bench = answering(AT_ONCE)
    rows = [a_reply(number, number) for number in range(1, 700)]
    calls = [
        a_call("busy", 1_000 + number, number=number, session=f"c{number}") for number in range(1_000, 1_070)
    ]
    bench.feed(*rows, *calls)
    bench.feed(a_call("busy", 2_100, number=2_100, session="c1070"), now=after(2_100))
    logic, _ = bench.rules.by_name[next(iter(bench.states)).rule]
    kept = logic.decode(next(iter(bench.states.values())).value)
    assert len(kept.said) <= MAX_REACTIONS + SPARE
    assert [one.id for one in kept.said][-500:] == list(range(200, 700))
    assert list(kept.calls) == [f"c{number}" for number in (*range(1_021, 1_070), 1_070)]


def test_of_many_calls_at_once_each_is_told() -> None:
    bench = answering(LATER)
    calls = [a_call("initiated", number, number=number, session=f"c{number}") for number in range(1, 121)]
    for start in range(0, len(calls), 40):
        bench.feed(*calls[start : start + 40], now=after(start + 40))
    while bench.timers:
        bench.pass_time(now=after(5_000))
    assert len(bench.told) == len(calls)


def test_a_lively_conversation_with_many_calls_is_judged_in_little_time() -> None:
    bench = answering(LATER)
    bench.feed(*(a_call("initiated", number, number=number, session=f"c{number}") for number in range(1, 51)))
    began = perf_counter()
    bench.feed(*(a_reply(100 + number, 1_000 + number, sender=ANN, receiver=BOB) for number in range(1_000)))
    assert perf_counter() - began < 3.0


def test_rows_read_again_write_nothing() -> None:
    bench = answering(LATER)
    rows = [MISSED, a_reply(100, 3), a_call_back("initiated", 120, 4)]
    bench.feed(*rows)
    outcome = bench.feed(*rows, now=after(86_400))
    assert (outcome.states, outcome.alerts, outcome.timers, outcome.cancelled) == ((), (), (), ())


def test_the_rule_says_what_it_does() -> None:
    rules = rules_of(f"rules: [{{name: a, kind: missed_call, answered: {AT_ONCE}}}]")
    assert rules.rules[0].describe().endswith("; over with a call-back or reply by the callee within 15m")
    rules = rules_of("rules: [{name: a, kind: missed_call, answered: {by: reply, raise: if_unanswered}}]")
    assert rules.rules[0].describe().endswith("; told if there was no reply by the callee within 15m")


def test_the_option_is_part_of_what_a_rule_looks_for() -> None:
    texts = ["", ", answered: {}", ", answered: {within: 16m}"]
    made = [rules_of(f"rules: [{{name: a, kind: missed_call{text}}}]").rules[0].fingerprint for text in texts]
    assert len(set(made)) == 3
    assert made[0] == digest("missed_call", "null", "{}")  # as it was before there was such an option


# --- against the whole story ------------------------------------------------------------------------

WITHIN = 15 * MINUTE


@st.composite
def talk(draw: st.DrawFn) -> list[Message]:
    """Calls and messages between Ann and Bob within an hour, in order of time."""
    times = sorted(draw(st.lists(st.integers(0, 3_600), min_size=1, max_size=8)))
    rows: list[Message] = []
    for number, at in enumerate(times, 1):
        what = draw(st.sampled_from(["call", "call", "call back", "reply", "word", "taken"]))
        match what:
            case "call":
                rows.append(a_call("busy", at, number=number, session=f"s{number}"))
            case "call back":
                rows.append(a_call_back("initiated", at, number, f"s{number}"))
                rows.append(a_call_back("rejected", at, number + 100, f"s{number}"))
            case "taken":
                rows.append(a_call("ongoing", at, number=number, session=f"s{number}"))
            case "reply":
                rows.append(a_reply(at, number))
            case _:
                rows.append(a_message(id=MessageId(number), sent_at=after(at)))
    return rows


def answers(rows: list[Message], missed: Message) -> list[float]:
    """How long after a call Bob said something, by a look at the whole story."""
    later = [row for row in rows if (row.sent_at, row.id) > (missed.sent_at, missed.id)]
    return [
        (row.sent_at - missed.sent_at).total_seconds()
        for row in later
        if (row.call is None and row.sender == BOB)
        or (row.call and row.call.status == "initiated" and row.call.caller == BOB)
        or (row.call and row.call.status == "ongoing")
    ]


@st.composite
def splits(draw: st.DrawFn, rows: list[Message]) -> list[list[Message]]:
    cuts = sorted(draw(st.sets(st.integers(0, len(rows)), max_size=len(rows))))
    edges = [0, *cuts, len(rows)]
    return [rows[a:b] for a, b in pairwise(edges)]


@given(data=st.data(), rows=talk(), answered=st.sampled_from([AT_ONCE, LATER]))
def test_what_is_open_in_the_end_is_what_was_not_answered(
    data: st.DataObject, rows: list[Message], answered: str
) -> None:
    bench = answering(answered)
    again = data.draw(st.lists(st.sampled_from(rows), max_size=3))
    for chunk in data.draw(splits(data.draw(st.permutations([*rows, *again])))):
        bench.feed(*chunk)
        if data.draw(st.booleans()):
            bench.feed(ticks=[Tick(key=key, due=timer.due) for key, timer in bench.timers.items()])
    while bench.timers:
        bench.pass_time()
    busy = [row for row in rows if row.call and row.call.status == "busy"]
    waited = {row.call.session_id: answers(rows, row) for row in busy if row.call}
    counts = (lambda s: s <= WITHIN) if answered == AT_ONCE else (lambda _: True)
    still = {name for name, times in waited.items() if not any(map(counts, times))}
    assert bench.open_alerts == {fingerprint(APP, "missed", name, name) for name in still}
    assert {alert.key for alert in bench.told} <= set(waited)
    if answered == LATER:
        late = {name for name, times in waited.items() if not any(s <= WITHIN for s in times)}
        assert late <= {alert.key for alert in bench.told}


@given(rows=talk())
def test_in_the_order_of_events_exactly_the_calls_without_an_answer_in_time_are_raised(
    rows: list[Message],
) -> None:
    bench = answering(LATER)
    for row in sorted(rows, key=lambda row: (row.sent_at, row.id)):
        while bench.timers and (due := min(timer.due for timer in bench.timers.values())) < row.sent_at:
            bench.feed(ticks=[Tick(key=key, due=due) for key in bench.timers])
        bench.feed(row)
    while bench.timers:
        bench.pass_time()
    raised = {alert.key for alert in bench.told if alert.status is Status.FIRING}
    busy = [row for row in rows if row.call and row.call.status == "busy"]
    assert raised == {
        row.call.session_id for row in busy if row.call and not any(s <= WITHIN for s in answers(rows, row))
    }


def test_a_stored_state_that_cannot_be_read_is_a_fault_and_the_call_is_told_all_the_same() -> None:
    bench = answering(AT_ONCE)
    bench.feed(MISSED)
    broken = {key: type(state)(version=3, value=b"{nonsense") for key, state in bench.states.items()}
    outcome = step(bench.rules, WATCH_BOB, broken, [MISSED], now=NOON)
    assert [alert.key for alert in outcome.alerts] == ["s1"]
    assert len(outcome.faults) == 1


def test_a_caller_who_is_watched_sees_the_answer_in_the_own_list() -> None:
    bench = answering(LATER, ", side: caller", WATCH_ANN)
    bench.feed(MISSED)
    (timer,) = bench.timers.values()
    assert timer.lists == ("ann",)
    bench.feed(a_call_back("initiated", 105, 3))
    bench.pass_time()
    assert bench.told == []
    assert TEAM.id not in str(bench.states)


def test_without_replies_a_message_is_of_no_concern() -> None:
    bench = Bench(rules_of("rules: [{name: a, kind: missed_call, answered: {by: [call_back]}}]"))
    ((logic, _),) = bench.rules.by_name.values()
    assert logic.keys(a_reply(0, 1)) == ()
    assert logic.keys(MISSED)
