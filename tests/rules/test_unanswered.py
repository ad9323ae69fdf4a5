"""Questions that nobody answered in time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.model import APP_SYSTEM, Message, MessageId, Party, Status, Tick, UserId, WatchSet
from rules.spec import SpecError
from tests.rules.builders import (
    ANN,
    BOB,
    NOON,
    WATCH_BOB,
    Bench,
    a_call,
    a_message,
    after,
    in_group,
    rules_of,
)

MINUTE = 60
ZOE = Party(id="zoe", name="Zoe")
INBOUND = "when: {direction: inbound}"
TO_BOB = f"{INBOUND}, answer_from: receiver"
MENTION = "when: {mentions: anyone}, answer_from: mentioned"
WATCHED = f"{INBOUND}, answer_from: watched"
ANYONE = "when: {text: help}, answer_from: anyone"


def asking(options: str = TO_BOB, watch: WatchSet = WATCH_BOB, beside: str = "") -> Bench:
    rule = f"{{name: waiting, kind: unanswered, within: 15m, {options}}}"
    return Bench(rules_of(f"{{rules: [{rule}]{beside}}}"), watch=watch)


def ask(number: int, at: float, **changes: Any) -> Message:
    """Ann writes to Bob."""
    return a_message(**({"id": MessageId(number), "sent_at": after(at), "text": "help"} | changes))


def answer(number: int, at: float, **changes: Any) -> Message:
    """Bob writes to Ann."""
    return ask(number, at, **({"sender": BOB, "receiver": ANN, "text": "yes"} | changes))


def say(number: int, at: float, who: Party, *mentions: str, **changes: Any) -> Message:
    """Somebody writes to the team."""
    facts = {"id": MessageId(number), "sent_at": after(at), "sender": who, "mentions": mentions}
    return in_group(**(facts | changes))


def drained(bench: Bench, *, until: float) -> Bench:
    """Let time pass up to so many seconds after noon, timer by timer."""
    while due := [timer for timer in bench.timers.values() if timer.due <= after(until)]:
        bench.feed(ticks=[Tick(key=timer.key, due=timer.due) for timer in due], now=due[0].due)
    return bench


# --- asked and answered -----------------------------------------------------------------------------


def test_a_question_waits_for_the_lists_that_could_have_the_answer() -> None:
    bench = asking()
    bench.feed(ask(1, 0))
    (timer,) = bench.timers.values()
    assert (bench.told, timer.due, timer.lists, timer.every) == ([], after(15 * MINUTE), ("bob",), False)
    assert [key.key for key in bench.states] == ["ann_user_bob bob"]


def test_without_an_answer_it_is_told_when_the_time_is_over() -> None:
    bench = asking()
    bench.feed(ask(1, 0))
    bench.pass_time(now=after(15 * MINUTE))
    (alert,) = bench.told
    assert alert.title == "waiting: no answer from bob to ann within 15m"
    assert alert.summary == "Asked at 2026-11-22 12:00:00 UTC in ann_user_bob"
    assert (alert.event_at, alert.watched_users) == (after(15 * MINUTE), ("bob",))
    assert [message.id for message in alert.messages] == [1]


def test_its_title_speaks_of_the_question_when_the_answer_is_there_too() -> None:
    bench = asking(f'{TO_BOB}, title: "{{{{ sender.id }}}} waits for {{{{ receiver.id }}}}"')
    bench.feed(ask(1, 0))
    bench.pass_time(now=after(15 * MINUTE))
    bench.feed(answer(2, 20 * MINUTE))
    assert [(alert.status, alert.title) for alert in bench.told] == [
        (Status.FIRING, "ann waits for bob"),
        (Status.RESOLVED, "ann waits for bob"),
    ]


ANSWERS: list[tuple[str, Message]] = [
    ("text", answer(2, 10)),
    ("file", answer(2, 10, type="file", text=None)),
    ("custom", answer(2, 10, category="custom", type="location")),
    ("call", a_call("initiated", 10, number=2, caller=BOB, callee=ANN)),
    ("call taken", a_call("ongoing", 10, number=2)),
    ("in the last second", answer(2, 15 * MINUTE)),
    ("in the same second", answer(2, 0)),
]
NO_ANSWERS: list[tuple[str, Message]] = [
    ("before", answer(2, -1)),
    ("in the same second, but before", answer(0, 0)),
    ("an edit", answer(2, 10, category="action", action="edited")),
    ("the app", answer(2, 10, sender=Party(id=APP_SYSTEM))),
    ("elsewhere", answer(2, 10, conversation_id="bob_user_zoe", receiver=ZOE)),
    ("the asker again", ask(2, 10)),
    ("a call of the asker", a_call("initiated", 10, number=2)),
    ("a call declined", a_call("rejected", 10, number=2)),
]


@pytest.mark.parametrize("row", [row for _, row in ANSWERS], ids=[name for name, _ in ANSWERS])
@pytest.mark.parametrize("is_first", [True, False])
def test_an_answer_in_time_leaves_nothing_to_tell(row: Message, is_first: bool) -> None:
    bench = asking()
    for message in (row, ask(1, 0)) if is_first else (ask(1, 0), row):
        bench.feed(message)
    assert bench.timers == {}
    assert drained(bench, until=3_600).told == []


@pytest.mark.parametrize("row", [row for _, row in NO_ANSWERS], ids=[name for name, _ in NO_ANSWERS])
def test_what_is_no_answer_changes_nothing(row: Message) -> None:
    bench = asking()
    bench.feed(ask(1, 0), row)
    assert [alert.event_at for alert in drained(bench, until=3_600).told] == [after(15 * MINUTE)]


@pytest.mark.parametrize("is_read_first", [True, False])
def test_a_late_answer_resolves_the_alert(is_read_first: bool) -> None:
    bench = asking()
    bench.feed(ask(1, 0))
    if is_read_first:
        bench.feed(answer(2, 25 * MINUTE))
        assert bench.told == []
    drained(bench, until=15 * MINUTE)
    if not is_read_first:
        bench.feed(answer(2, 25 * MINUTE))
    assert [alert.status for alert in bench.told] == [Status.FIRING, Status.RESOLVED]
    assert len({alert.id for alert in bench.told}) == 1
    assert bench.told[-1].resolution == "answered after 25 min"
    assert bench.told[-1].event_at == after(25 * MINUTE)
    assert bench.timers == {}


def test_an_answer_in_time_that_is_read_late_takes_the_alert_back() -> None:
    bench = asking()
    bench.feed(ask(1, 0))
    drained(bench, until=15 * MINUTE)
    bench.feed(answer(2, 5 * MINUTE))
    assert bench.told[-1].resolution == "answered after 5 min"


def test_more_of_the_same_question_is_no_further_question() -> None:
    bench = asking()
    bench.feed(ask(1, 0), ask(2, 10 * MINUTE), ask(3, 14 * MINUTE))
    assert len(drained(bench, until=3_600).told) == 1
    bench.feed(ask(4, 20 * MINUTE))
    assert len(drained(bench, until=7_200).told) == 1


def test_a_question_after_an_answer_is_another_one() -> None:
    bench = asking()
    bench.feed(ask(1, 0), answer(2, 20 * MINUTE), ask(3, 20 * MINUTE))
    drained(bench, until=3_600)
    assert [(alert.status, alert.event_at) for alert in bench.told] == [
        (Status.FIRING, after(15 * MINUTE)),
        (Status.RESOLVED, after(20 * MINUTE)),
        (Status.FIRING, after(35 * MINUTE)),
    ]
    assert len({alert.id for alert in bench.told}) == 2


def test_an_earlier_question_that_is_read_late_is_the_same_alert() -> None:
    bench = asking()
    bench.feed(ask(2, 10 * MINUTE))
    drained(bench, until=25 * MINUTE)
    bench.feed(ask(1, 0))
    assert len(drained(bench, until=3_600).told) == 1


def test_the_question_itself_is_shown_however_much_is_said_after_it() -> None:
    bench = asking()
    bench.feed(ask(1, 0))
    for number in range(2, 20):
        bench.feed(ask(number, number))
    drained(bench, until=3_600)
    assert [message.id for message in bench.told[0].messages] == [1, 15, 17, 18, 19]


def test_nobody_waits_for_ever() -> None:
    bench = asking(f"{TO_BOB}, give_up: 1d")
    bench.feed(ask(1, 0))
    drained(bench, until=15 * MINUTE)
    (timer,) = bench.timers.values()
    assert timer.due == after(86_400 + 15 * MINUTE)
    drained(bench, until=2 * 86_400)
    assert bench.told[-1].resolution == "no answer 24h later either: given up"
    bench.feed(ask(2, 2 * 86_400), now=after(2 * 86_400))
    drained(bench, until=2 * 86_400 + 3_600)
    assert [alert.status for alert in bench.told] == [Status.FIRING, Status.RESOLVED, Status.FIRING]


# --- who must answer --------------------------------------------------------------------------------


def test_of_a_mention_each_watched_one_must_answer_for_himself() -> None:
    watch: WatchSet = {UserId("bob"): {}, UserId("zoe"): {}}
    bench = asking(MENTION, watch)
    bench.feed(say(1, 0, ANN, "bob", "zoe", "eve"))
    assert sorted(key.key for key in bench.states) == ["group_team bob", "group_team zoe"]
    assert {timer.lists for timer in bench.timers.values()} == {("@group:team",)}
    bench.feed(say(2, 60, ZOE))
    drained(bench, until=3_600)
    (alert,) = bench.told
    assert alert.title == "waiting: no answer from bob to ann within 15m"
    assert alert.watched_users == ("bob",)


def test_who_mentions_himself_asks_nobody() -> None:
    bench = asking(MENTION)
    bench.feed(say(1, 0, BOB, "bob"))
    assert drained(bench, until=3_600).told == []


def test_who_is_mentioned_and_mentions_back_has_answered_and_asked() -> None:
    watch: WatchSet = {UserId("bob"): {}, UserId("ann"): {}}
    bench = asking(MENTION, watch)
    bench.feed(say(1, 0, ANN, "bob"), say(2, 60, BOB, "ann"))
    drained(bench, until=3_600)
    assert [alert.title for alert in bench.told] == ["waiting: no answer from ann to bob within 15m"]


def test_a_receiver_is_one_person() -> None:
    bench = asking(TO_BOB)
    bench.feed(say(1, 0, ANN))
    assert (drained(bench, until=3_600).told, bench.states) == ([], {})


def test_a_receiver_who_is_not_watched_is_not_waited_for() -> None:
    bench = asking("when: {type: text}, answer_from: receiver")
    bench.feed(answer(1, 0))
    assert drained(bench, until=3_600).told == []


def test_of_two_who_are_watched_each_is_waited_for() -> None:
    watch: WatchSet = {UserId("bob"): {}, UserId("ann"): {}}
    bench = asking("when: {type: text}, answer_from: receiver", watch)
    bench.feed(ask(1, 0), answer(2, 60))
    drained(bench, until=3_600)
    assert [alert.watched_users for alert in bench.told] == [("ann",)]


@pytest.mark.parametrize(("who", "is_told"), [(BOB, False), (ZOE, True), (ANN, True)])
def test_any_watched_user_may_answer(who: Party, is_told: bool) -> None:
    bench = asking(WATCHED)
    bench.feed(say(1, 0, ANN), say(2, 60, who))
    drained(bench, until=3_600)
    assert bool(bench.told) is is_told
    titles = {alert.title for alert in bench.told}
    assert titles <= {"waiting: no answer from a watched user to ann within 15m"}


@pytest.mark.parametrize(("who", "is_told"), [(BOB, False), (ZOE, False), (ANN, True)])
def test_anybody_but_the_asker_may_answer(who: Party, is_told: bool) -> None:
    bench = asking(ANYONE)
    bench.feed(say(1, 0, ANN, text="help!"), say(2, 60, who))
    assert bool(drained(bench, until=3_600).told) is is_told


def test_an_answer_may_be_a_question_as_well() -> None:
    bench = asking(ANYONE)
    bench.feed(say(1, 0, ANN, text="help"), say(2, 60, ZOE, text="help whom?"))
    drained(bench, until=3_600)
    assert [alert.event_at for alert in bench.told] == [after(16 * MINUTE)]


@pytest.mark.parametrize(("tags", "is_told"), [((), False), (("auto",), True)])
def test_an_answer_must_meet_its_conditions(tags: tuple[str, ...], is_told: bool) -> None:
    bench = asking(f"{TO_BOB}, answer: {{not: {{tags: auto}}}}")
    bench.feed(ask(1, 0), answer(2, 60, tags=tags))
    assert bool(drained(bench, until=3_600).told) is is_told


def test_who_is_watched_is_asked_of_conditions_too() -> None:
    bench = asking("when: {mentions: watched}, answer_from: mentioned")
    bench.feed(say(1, 0, ANN, "zoe"))
    assert bench.timers == {}
    bench.feed(say(2, 0, ANN, "zoe", "bob"))
    assert [key.key for key in bench.timers] == ["group_team bob"]


def test_what_people_say_who_are_not_watched_leaves_no_state() -> None:
    bench = asking(TO_BOB, {UserId("eve"): {}})
    outcome = bench.feed(ask(1, 0), answer(2, 1))
    assert (outcome.states, outcome.timers) == ((), ())


# --- working time -----------------------------------------------------------------------------------

CALENDARS = ", calendars: {office: {timezone: Europe/Berlin, open: {days: mon-fri, hours: '09:00-17:00'}}}"


def test_only_working_time_counts() -> None:
    # Noon of 2026-11-22 is a Sunday.
    bench = asking(f"{TO_BOB}, calendar: office", beside=CALENDARS)
    bench.feed(ask(1, 0))
    (timer,) = bench.timers.values()
    assert timer.due == NOON + timedelta(hours=20, minutes=15)  # Monday 09:15 in Berlin
    bench.feed(answer(2, 19 * 3_600))
    assert (drained(bench, until=86_400).told, bench.timers) == ([], {})


def test_an_alert_says_that_working_time_counts() -> None:
    bench = asking(f"{TO_BOB}, calendar: office", beside=CALENDARS)
    bench.feed(ask(1, 0))
    drained(bench, until=86_400)
    assert bench.told[0].title == "waiting: no answer from bob to ann within 15m of working time"


# --- kept and forgotten -----------------------------------------------------------------------------


def test_read_again_nothing_is_told_and_nothing_written() -> None:
    rows = [ask(1, 0), answer(2, 60), ask(3, 120)]
    bench = asking()
    bench.feed(*rows)
    drained(bench, until=3_600)
    outcome = bench.feed(*rows, now=after(86_400))
    assert (outcome.alerts, outcome.states, outcome.timers, outcome.cancelled) == ((), (), (), ())


def test_a_long_conversation_leaves_a_small_state() -> None:
    bench = asking()
    for number in range(1, 500):
        at = number * 300
        bench.feed(ask(number, at) if number % 2 else answer(number, at), now=after(at))
    assert all(len(state.value) < 12_000 for state in bench.states.values())
    assert bench.told == []


def test_a_question_is_kept_though_much_is_said_after_it() -> None:
    bench = asking(f"{TO_BOB}, calendar: office", beside=CALENDARS)
    for number in range(1, 100):
        at = number * 700
        bench.feed(ask(number, at), now=after(at))
    assert [timer.due for timer in bench.timers.values()] == [NOON + timedelta(hours=20, minutes=15)]


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ("answer_from: watched", '"when" is missing'),
        (f"{INBOUND}, answer_from: anybody", 'did you mean "anyone"'),
        (f"{INBOUND}, answer: {{tag: x}}", 'did you mean "tags"'),
        (f"{INBOUND}, calendar: ofice", "there is no calendar"),
    ],
)
def test_a_mistake_has_its_place(options: str, wrong: str) -> None:
    with pytest.raises(SpecError) as caught:
        asking(options)
    assert wrong in str(caught.value)


def test_the_rule_says_what_it_looks_for() -> None:
    rule = asking("when: {mentions: watched}, answer_from: mentioned, answer: {type: text}").rules.rules[0]
    assert rule.describe() == (
        "waiting (warning): messages with a mention of a watched user that each watched user who is "
        "mentioned does not answer with type text within 15m"
    )
    assert sorted(rule.logic.conditions) == ["answer", "when"]


# --- against the whole story ------------------------------------------------------------------------

LIMIT = 15 * MINUTE


@st.composite
def talk(draw: st.DrawFn) -> list[Message]:
    """Ann and Bob write to each other for two hours, in order of time."""
    times = sorted(draw(st.lists(st.integers(0, 120), min_size=1, max_size=10)))
    return [
        (ask if draw(st.booleans()) else answer)(number, at * MINUTE) for number, at in enumerate(times, 1)
    ]


def waits(rows: Sequence[Message]) -> list[tuple[float, float | None]]:
    """Each question in turn, and when it was answered."""
    found: list[tuple[float, float | None]] = []
    for row in rows:
        at = (row.sent_at - NOON).total_seconds()
        is_open = bool(found) and found[-1][1] is None
        if row.sender == ANN and not is_open:
            found.append((at, None))
        elif row.sender == BOB and is_open:
            found[-1] = (found[-1][0], at)
    return found


def late_in(rows: Sequence[Message]) -> list[tuple[float, float | None]]:
    return [(asked, end) for asked, end in waits(rows) if end is None or end - asked > LIMIT]


def settled(bench: Bench) -> Bench:
    return drained(bench, until=86_400)


@given(rows=talk())
def test_in_the_order_of_events_exactly_the_late_ones_are_told(rows: list[Message]) -> None:
    bench = asking()
    for row in rows:
        drained(bench, until=(row.sent_at - NOON).total_seconds() - 1)
        bench.feed(row)
    settled(bench)
    late = late_in(rows)
    firing = [alert for alert in bench.told if alert.status is Status.FIRING]
    assert [alert.event_at for alert in firing] == [after(asked + LIMIT) for asked, _ in late]
    resolved = [alert.event_at for alert in bench.told if alert.status is Status.RESOLVED]
    assert resolved == [after(answered) for _, answered in late if answered is not None]


@given(rows=talk())
def test_read_at_once_exactly_the_late_ones_are_told(rows: list[Message]) -> None:
    bench = asking()
    bench.feed(*rows)
    settled(bench)
    late = late_in(rows)
    firing = [alert for alert in bench.told if alert.status is Status.FIRING]
    assert [alert.event_at for alert in firing] == [after(asked + LIMIT) for asked, _ in late]
    assert len(bench.open_alerts) == sum(answered is None for _, answered in late)


@given(data=st.data(), rows=talk())
def test_in_any_order_what_is_open_in_the_end_is_what_nobody_answered(
    data: st.DataObject, rows: list[Message]
) -> None:
    bench = asking()
    for row in data.draw(st.permutations([*rows, *rows[:2]])):
        bench.feed(row)
        if data.draw(st.booleans()):
            due = [timer for timer in bench.timers.values() if timer.due < after(86_400)]
            bench.feed(ticks=[Tick(key=timer.key, due=timer.due) for timer in due])
    settled(bench)
    told = {alert.id for alert in bench.told}
    late = late_in(rows)
    assert len(bench.open_alerts) == sum(answered is None for _, answered in late)
    assert bool(told) >= bool(late)
    bench.feed(*rows)
    assert {alert.id for alert in bench.told} == told
