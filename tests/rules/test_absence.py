"""Silence as tables: who stops writing when, and what an operator is told."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rules.kinds.episodes import DECODER
from rules.model import Message, MessageId, Party, Tick, UserId
from rules.spec import SpecError
from tests.rules.builders import ANN, BOB, Bench, a_message, after, in_group, rules_of


def watching(options: str = "for: 10m", extra: str = "") -> Bench:
    return Bench(rules_of(f"{extra}\nrules: [{{name: quiet, kind: absence, {options}}}]"))


def writes(*minutes: float, **changes: object) -> list[Message]:
    return [a_message(id=MessageId(round(at * 10) + 1), sent_at=after(60 * at), **changes) for at in minutes]


def told(bench: Bench) -> list[tuple[str, str]]:
    """What was told, and at which minute after noon."""
    return [
        (str(alert.status), f"{(alert.event_at - after(0)).total_seconds() / 60:g}") for alert in bench.told
    ]


def pass_until(bench: Bench, minute: float) -> None:
    """The timers until then come due, in order."""
    until = after(60 * minute)
    while due := [Tick(key=t.key, due=t.due) for t in bench.timers.values() if t.due <= until]:
        bench.feed(ticks=due, now=until)


def test_silence_is_told_when_it_was_seen() -> None:
    bench = watching()
    bench.feed(*writes(0, 5))
    (timer,) = bench.timers.values()
    assert (timer.due, timer.every) == (after(900), True)
    pass_until(bench, 14.9)
    assert bench.told == []
    pass_until(bench, 15)
    assert told(bench) == [("firing", "15")]
    (alert,) = bench.told
    assert alert.title == "quiet: quiet for 10m"
    assert alert.summary == (
        "No such message since 2026-11-22 12:05:00 UTC; the last one was in ann_user_bob by Ann Archer (ann)"
    )
    assert [message.id for message in alert.messages] == [51]


def test_the_next_message_resolves_it() -> None:
    bench = watching()
    bench.feed(*writes(0))
    pass_until(bench, 12)
    bench.feed(*writes(13))
    assert told(bench) == [("firing", "10"), ("resolved", "13")]
    assert bench.told[-1].resolution == "the next message came at 2026-11-22 12:13:00 UTC"
    assert [message.id for message in bench.told[-1].messages] == [1, 131]
    assert [timer.due for timer in bench.timers.values()] == [after(60 * 23)]


def test_a_message_just_in_time_keeps_it_from_being_told() -> None:
    bench = watching()
    bench.feed(*writes(0, 10))
    pass_until(bench, 10)
    assert bench.told == []
    bench = watching()
    bench.feed(*writes(0, 10.1))
    pass_until(bench, 10)
    assert told(bench) == [("firing", "10"), ("resolved", "10.1")]


def test_an_outage_of_ours_is_no_silence() -> None:
    """What was written meanwhile comes before the tick, as the watermark waits for it."""
    bench = watching()
    bench.feed(*writes(0))
    bench.feed(*writes(5, 12, 20, 28), now=after(60 * 30))
    pass_until(bench, 30)
    assert bench.told == []


def test_silence_that_nobody_saw_is_told_with_its_end() -> None:
    bench = watching()
    bench.feed(*writes(0))
    bench.feed(*writes(25), now=after(60 * 30))
    assert bench.told == []  # messages of the time between may still come
    pass_until(bench, 30)
    assert told(bench) == [("firing", "10"), ("resolved", "25")]


def test_a_late_message_takes_it_back() -> None:
    bench = watching()
    bench.feed(*writes(0))
    pass_until(bench, 10)
    bench.feed(*writes(9))
    assert told(bench) == [("firing", "10"), ("resolved", "10")]
    assert bench.told[-1].resolution == "messages that came late show that it was not so"


def test_silence_is_given_up_and_begins_anew() -> None:
    bench = watching("for: 10m, give_up: 1h")
    bench.feed(*writes(0))
    pass_until(bench, 70)
    assert told(bench) == [("firing", "10"), ("resolved", "70")]
    assert bench.told[-1].resolution == "still quiet after 60m: given up"
    assert bench.timers == {}
    bench.feed(*writes(100))
    pass_until(bench, 110)
    assert told(bench)[2:] == [("firing", "110")]
    assert len({alert.id for alert in bench.told}) == 2


def test_of_somebody_who_never_wrote_nothing_is_known() -> None:
    bench = watching("for: 10m, by: sender")
    bench.feed(*writes(0, sender=BOB, receiver=ANN), *writes(8))
    assert {key.key: timer.due for key, timer in bench.timers.items()} == {
        "bob": after(600),
        "ann": after(60 * 18),
    }
    assert {key.key: timer.lists for key, timer in bench.timers.items()} == {"bob": ("bob",), "ann": ()}
    pass_until(bench, 10)
    assert [alert.title for alert in bench.told] == ["quiet: quiet for 10m (sender bob)"]


def test_who_also_writes_in_groups_is_silent_when_all_lists_are() -> None:
    bench = watching("for: 10m, by: sender")
    bench.feed(*writes(0, sender=BOB, receiver=ANN), in_group(id=MessageId(7), sent_at=after(60), sender=BOB))
    assert [(timer.lists, timer.every) for timer in bench.timers.values()] == [((), True)]


def test_a_group_is_silent_when_its_own_list_is() -> None:
    bench = watching("for: 10m, by: conversation")
    bench.feed(in_group())
    assert [timer.lists for timer in bench.timers.values()] == [("@group:team",)]


def test_only_messages_that_meet_the_conditions_break_it() -> None:
    bench = watching("for: 10m, when: {direction: inbound, type: text}")
    bench.feed(*writes(0), *writes(4, type="image"), *writes(6, sender=BOB, receiver=ANN))
    pass_until(bench, 10)
    assert told(bench) == [("firing", "10")]


def test_of_somebody_no_longer_watched_nothing_is_told() -> None:
    bench = watching("for: 10m, by: watched")
    bench.feed(*writes(0))
    bench.watch = {UserId("joe"): {}}
    pass_until(bench, 10)
    assert (bench.told, bench.states, bench.timers) == ([], {}, {})


OFFICE = "calendars: {office: {timezone: UTC, open: [{days: mon-fri, hours: '09:00-17:00'}]}}"


def test_with_a_calendar_only_working_time_counts() -> None:
    # Noon of our tests is a Sunday: the first working hour ends on Monday at ten.
    bench = watching("for: 1h, calendar: office", OFFICE)
    bench.feed(*writes(0))
    (timer,) = bench.timers.values()
    assert timer.due == after(22 * 3600)
    bench.feed(*writes(20 * 60))  # at eight
    assert [timer.due for timer in bench.timers.values()] == [after(22 * 3600)]
    bench.feed(*writes(21.5 * 60))
    pass_until(bench, 22.5 * 60)
    assert told(bench) == [("firing", f"{22.5 * 60:g}")]
    assert bench.told[0].title == "quiet: quiet for 60m of working time"


def test_a_busy_key_keeps_two_rows_of_a_run() -> None:
    bench = watching()
    for minute in range(200):
        bench.feed(*writes(minute), now=after(60 * minute))
    story = DECODER.decode(next(iter(bench.states.values())).value)
    assert len(story.rows) <= 2
    assert len(story.kept) == 1
    bench.feed(*writes(170, 180.5), now=after(60 * 200))  # one again, and a late one
    pass_until(bench, 208)
    assert bench.told == []
    pass_until(bench, 209)
    assert told(bench) == [("firing", "209")]


def test_reading_again_changes_nothing_and_writes_nothing() -> None:
    bench = watching()
    rows = writes(0, 5, 30, 31)
    bench.feed(*rows)
    pass_until(bench, 50)
    assert len(bench.told) == 3
    outcome = bench.feed(*rows, now=after(86_400))
    assert (outcome.states, outcome.alerts, outcome.timers, outcome.cancelled) == ((), (), (), ())


def test_a_key_that_was_given_up_is_forgotten_after_two_days() -> None:
    bench = watching("for: 10m, give_up: 1h")
    bench.feed(*writes(0))
    pass_until(bench, 70)
    (change,) = bench.last.states
    assert change.expires_at == after(60 * 70) + timedelta(days=2)


def test_what_templates_can_name() -> None:
    template = "'{{ key }}: {{ quiet }} of {{ allowed }}, {{ since }} to {{ until }}, {{ sender.name }}'"
    bench = watching(f"for: 10m, by: sender, summary: {template}")
    bench.feed(*writes(0, sender=Party(id="eve", name="Eve")))
    pass_until(bench, 10)
    bench.feed(*writes(12.5, sender=Party(id="eve", name="Eve")))
    assert [alert.summary for alert in bench.told] == [
        "sender eve: 10 min 0 s of 10m, 2026-11-22 12:00:00 UTC to 2026-11-22 12:10:00 UTC, Eve",
        "sender eve: 12 min 30 s of 10m, 2026-11-22 12:00:00 UTC to 2026-11-22 12:12:30 UTC, Eve",
    ]


def test_in_words() -> None:
    words = {
        "for: 10m": "no message for 10m",
        "for: 2h, by: [sender, type], when: {type: text}": (
            "no message with type text for 2h, for each sender and type known"
        ),
    }
    for options, said in words.items():
        assert watching(options).rules.rules[0].logic.describe() == said
    office = watching("for: 1h, calendar: office", OFFICE)
    assert office.rules.rules[0].logic.describe() == "no message for 60m of working time"


WRONG = [
    ("by: sender", '"for" is missing'),
    ("for: 5s", 'found "5s"'),
    ("for: 10m, give_up: 5s", 'found "5s"'),
    ("for: 10m, calendar: offce", 'there is no calendar "offce" (did you mean "office"?)'),
]


@pytest.mark.parametrize(("options", "problem"), WRONG)
def test_what_is_wrong_is_said(options: str, problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        watching(options, OFFICE)
    assert problem in str(caught.value)
