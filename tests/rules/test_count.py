"""Counts as tables: who writes when, and what an operator is told."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rules.model import Alert, Message, MessageId, Party, Status, Tick, UserId
from rules.spec import SpecError
from tests.rules.builders import Bench, a_message, after, in_group, rules_of

EVE = Party(id="eve", name="Eve")


def counting(options: str = "at_least: 3, within: 1m") -> Bench:
    return Bench(rules_of(f"rules: [{{name: flood, kind: count, {options}}}]"))


def writes(*seconds: float, first: int = 1, **changes: object) -> list[Message]:
    return [
        a_message(id=MessageId(number), sent_at=after(at), **changes)
        for number, at in enumerate(seconds, start=first)
    ]


def told(bench: Bench) -> list[tuple[str, str]]:
    """What was told, and at which second after noon."""
    return [(str(alert.status), f"{(alert.event_at - after(0)).total_seconds():g}") for alert in bench.told]


def tick(bench: Bench, at: float) -> list[Alert]:
    """The timers until then come due."""
    due = [Tick(key=timer.key, due=timer.due) for timer in bench.timers.values() if timer.due <= after(at)]
    return list(bench.feed(ticks=due).alerts)


TOLD: list[tuple[str, str, list[Message], list[tuple[str, str]]]] = [
    ("enough at once", "", writes(0, 1, 2), [("firing", "2")]),
    ("too few", "", writes(0, 1), []),
    ("enough, just within", "", writes(0, 30, 59), [("firing", "59")]),
    ("too far apart, just so", "", writes(0, 30, 60), []),
    ("at the same second", "", writes(5, 5, 5), [("firing", "5")]),
    ("one message three times", "", writes(0) * 3, []),
    ("two bursts", "", writes(0, 1, 2, 300, 301, 302), [("firing", "2"), ("firing", "302")]),
    ("one burst with a pause", "", writes(0, 1, 2, 61, 62), [("firing", "2")]),
    ("for a while", ", for: 30s", writes(0, 1, 2, 20, 32, 40), [("firing", "32")]),
    ("not for so long", ", for: 30s", writes(0, 1, 2, 20, 31), []),
    ("by sender", ", by: sender", [*writes(0, 1), *writes(2, first=9, sender=EVE)], []),
    ("all together", "", [*writes(0, 1), *writes(2, first=9, sender=EVE)], [("firing", "2")]),
    ("condition holds", ", when: {type: text}", writes(0, 1, 2), [("firing", "2")]),
    ("condition fails", ", when: {type: image}", writes(0, 1, 2), []),
    ("condition asks who is watched", ", when: {direction: inbound}", writes(0, 1, 2), [("firing", "2")]),
    ("and it fails", ", when: {direction: outbound}", writes(0, 1, 2), []),
    ("one type", ", distinct: type", writes(0, 1, 2), []),
    ("no value at all", ", distinct: tag", writes(0, 1, 2), []),
    ("three tags in one message", ", distinct: tag", writes(7, tags=("a", "b", "c")), [("firing", "7")]),
]


@pytest.mark.parametrize(
    ("options", "rows", "news"), [case[1:] for case in TOLD], ids=[case[0] for case in TOLD]
)
def test_what_is_told(options: str, rows: list[Message], news: list[tuple[str, str]]) -> None:
    for chunks in ([rows], [[row] for row in rows], [rows[::-1]]):
        bench = counting("at_least: 3, within: 1m" + options)
        for chunk in chunks:
            bench.feed(*chunk)
            assert bench.last.faults == ()
        assert told(bench) == news


def test_nothing_of_people_nobody_watches() -> None:
    bench = counting()
    bench.feed(*writes(0, 1, 2, receiver=EVE))
    assert (bench.told, bench.states) == ([], {})


def test_a_flood_is_over_when_it_was_quiet_for_the_window() -> None:
    bench = counting()
    bench.feed(*writes(0, 1, 2, 3, 90))
    assert tick(bench, 62.9) == []
    assert tick(bench, 63) != []
    assert told(bench) == [("firing", "2"), ("resolved", "63")]
    assert bench.told[-1].resolution == "60s without 3 within 60s"
    assert bench.timers == {}


def test_resolve_after_says_for_how_long() -> None:
    bench = counting("at_least: 3, within: 1m, resolve_after: 10m")
    bench.feed(*writes(0, 1, 2))
    assert [timer.due for timer in bench.timers.values()] == [after(602)]
    bench.feed(*writes(500, 501, 502, first=4))
    assert [timer.due for timer in bench.timers.values()] == [after(1102)]
    assert told(bench) == [("firing", "2")]


def test_a_flood_that_doubles_is_brought_up_to_date() -> None:
    bench = counting()
    news = [alert for row in writes(*range(13)) for alert in bench.feed(row).alerts]
    assert [(alert.revision, alert.event_at) for alert in news] == [
        (0, after(2)),
        (1, after(5)),
        (2, after(11)),
    ]
    assert len({alert.id for alert in news}) == 1
    assert [alert.title for alert in news] == [f"flood: {n} messages within 60s" for n in (3, 6, 12)]


def test_an_alert_shows_the_first_messages_and_the_last() -> None:
    bench = counting("at_least: 8, within: 1m")
    (alert,) = bench.feed(*writes(*range(10))).alerts
    assert [message.id for message in alert.messages] == [1, 2, 8, 9, 10]
    bench = counting("at_least: 8, within: 1m")
    for row in writes(*range(8)):
        bench.feed(row)
    assert [message.id for message in bench.told[0].messages] == [3, 4, 6, 7, 8]  # of those kept


def test_a_late_row_makes_a_burst_that_is_long_over() -> None:
    bench = counting()
    bench.feed(*writes(0, 2), now=after(3))
    bench.feed(*writes(1200, first=8), now=after(1200))
    bench.feed(*writes(1, first=5), now=after(2400))
    assert told(bench) == [("firing", "2")]
    assert 5 in {message.id for message in bench.told[0].messages}


def test_who_is_watched_is_told_by_the_key_or_by_the_messages() -> None:
    bench = counting("at_least: 3, within: 1m, by: mentioned")
    bench.feed(*[in_group(id=MessageId(n), sent_at=after(n), mentions=("bob", "eve")) for n in (1, 2, 3)])
    assert [(alert.key, alert.watched_users) for alert in bench.told] == [("bob", ("bob",)), ("eve", ())]
    bench = counting()
    bench.feed(*writes(0, 1, 2))
    assert bench.told[0].watched_users == ("bob",)


def test_by_watched_counts_for_each_watched_user() -> None:
    bench = counting("at_least: 3, within: 1m, by: watched")
    bench.feed(*writes(0, 1, 2))
    assert [(alert.key, alert.watched_users) for alert in bench.told] == [("bob", ("bob",))]
    assert [timer.lists for timer in bench.timers.values()] == [("bob",)]
    bench.watch = {UserId("ann"): {}}
    assert [alert.status for alert in tick(bench, 9_999)] == [Status.RESOLVED]


def test_a_state_of_somebody_no_longer_watched_is_forgotten() -> None:
    bench = counting("at_least: 3, within: 1m, by: watched")
    bench.feed(*writes(0, 1))
    assert len(bench.states) == 1
    bench.watch = {UserId("ann"): {}}
    bench.feed(*writes(2, first=3))
    assert [key.key for key in bench.states] == ["ann"]
    assert bench.told == []


def test_what_templates_can_name() -> None:
    title = (
        "'{{ count }}/{{ at_least }} {{ counted }}: {{ values | join }} of {{ field }} by {{ by.sender }}'"
    )
    summary = "'{{ key }}, {{ window }}, {{ since }}, {{ until }}, {{ message.id }}'"
    options = "at_least: 2, within: 90s, by: [sender, type], distinct: receiver"
    bench = counting(f"{options}, title: {title}, summary: {summary}")
    bench.feed(*writes(0, 1), in_group(id=MessageId(5), sent_at=after(2)))
    (alert,) = bench.told
    assert alert.title == "2/2 different receiver: bob, team of receiver by ann"
    assert alert.summary == (
        "sender ann, type text, 90s, 2026-11-22 12:00:00 UTC, 2026-11-22 12:00:02 UTC, 5"
    )


def test_texts_are_counted_and_never_shown() -> None:
    bench = counting("at_least: 2, within: 1m, distinct: text")
    bench.feed(*writes(0, text="secret one"), *writes(1, first=2, text="secret two"))
    (alert,) = bench.told
    assert "different texts" in alert.title
    assert "secret" not in alert.title + alert.summary
    rows = next(iter(bench.states.values())).value.split(b'"kept"')[0]
    assert b"secret" not in rows
    bench.feed(*writes(2, first=3, text="secret one"))
    assert len(bench.told) == 1


def test_reading_again_changes_nothing_and_writes_nothing() -> None:
    bench = counting()
    rows = writes(0, 1, 2, 3, 90)
    bench.feed(*rows)
    tick(bench, 63)
    outcome = bench.feed(*rows, now=after(86_400))
    assert (outcome.states, outcome.alerts, outcome.timers, outcome.cancelled) == ((), (), (), ())


def test_a_state_may_be_forgotten_when_no_row_can_matter_any_more() -> None:
    bench = counting()
    bench.feed(*writes(0, 1), now=after(5))
    (change,) = bench.last.states
    # Two windows and an hour for late rows after the last one.
    assert change.expires_at == after(1 + 120) + timedelta(hours=1)
    bench.feed(*writes(2, first=3), now=after(6))
    (change,) = bench.last.states
    assert change.expires_at is None
    due = [Tick(key=timer.key, due=timer.due) for timer in bench.timers.values()]
    bench.feed(ticks=due, now=after(70))
    (change,) = bench.last.states
    assert change.expires_at == after(70) + timedelta(days=2)


def test_in_words() -> None:
    words = {
        "at_least: 3, within: 1m": "at least 3 messages within 60s",
        "at_least: 3, within: 5m, for: 10m, by: [sender, type], when: {type: text}": (
            "at least 3 messages with type text within 5m, for 10m, for each sender and type"
        ),
        "at_least: 3, within: 5m, distinct: receiver": (
            "at least 3 different values of receiver in messages within 5m"
        ),
    }
    for options, said in words.items():
        assert counting(options).rules.rules[0].logic.describe() == said


WRONG = [
    ("within: 1m", '"at_least" is missing'),
    ("at_least: 3", '"within" is missing'),
    ("at_least: 1, within: 1m", 'found "1"'),
    ("at_least: 1001, within: 1m", 'found "1001"'),
    ("at_least: 3, within: 2d", 'found "2d"'),
    ("at_least: 3, within: 1m, distinct: sendr", 'did you mean "sender"?'),
]


@pytest.mark.parametrize(("options", "problem"), WRONG)
def test_what_is_wrong_is_said(options: str, problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        counting(options)
    assert problem in str(caught.value)
