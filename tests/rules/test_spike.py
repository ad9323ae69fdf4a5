"""Spikes as tables: how much is usual, how much there is, and what an operator is told."""

from __future__ import annotations

from itertools import chain

import pytest

from rules.kinds.episodes import DECODER, MAX_ROWS
from rules.model import Message, MessageId, Tick
from rules.spec import SpecError
from tests.rules.builders import Bench, a_message, after, rules_of

# One window of a minute against ten minutes before it.
USUAL = "within: 1m, reference: 10m, at_least: 6"


def watching(options: str = USUAL) -> Bench:
    return Bench(rules_of(f"rules: [{{name: volume, kind: spike, {options}}}]"))


def writes(start: float, every: float, number: int) -> list[Message]:
    """So many messages, evenly; ids by the time, so that they are the same for the same message."""
    times = [start + place * every for place in range(number)]
    return [a_message(id=MessageId(round(at * 10) + 1), sent_at=after(at)) for at in times]


def told(bench: Bench) -> list[tuple[str, str]]:
    return [(str(alert.status), f"{(alert.event_at - after(0)).total_seconds():g}") for alert in bench.told]


def pass_until(bench: Bench, at: float) -> None:
    """The timers until then come due, in order."""
    while due := [Tick(key=t.key, due=t.due) for t in bench.timers.values() if t.due <= after(at)]:
        bench.feed(ticks=due, now=after(at))


STEADY = writes(0, 30, 24)  # two a minute, for twelve minutes


def test_three_times_as_many_as_usual() -> None:
    bench = watching()
    bench.feed(*STEADY)
    for row in writes(700, 5, 10):
        bench.feed(row)
    # 660, 690 and 700 … 715: the sixth message in a minute, where two are usual.
    assert told(bench) == [("firing", "715")]
    assert bench.told[0].title == "volume: 6 messages within 60s, usual are 2.0"
    assert bench.told[0].summary.startswith("3.0 times as many as usual: 6 messages within 60s")


def test_the_same_however_it_comes() -> None:
    rows = [*STEADY, *writes(700, 5, 10)]
    for order in (rows, rows[::-1], rows[1::2] + rows[::2]):
        bench = watching()
        bench.feed(*order)
        assert told(bench) == [("firing", "715")]


@pytest.mark.parametrize(
    ("options", "news"),
    [
        ("", [("firing", "715")]),
        (", ratio: 5", [("firing", "740")]),
        (", ratio: 20", []),
        (", floor: 3", [("firing", "735")]),
        (", direction: down", []),
        (", direction: both", [("firing", "715")]),
        (", learn: 1d", []),
        (", when: {type: image}", []),
        (", by: sender", [("firing", "715")]),
    ],
)
def test_what_the_options_do(options: str, news: list[tuple[str, str]]) -> None:
    bench = watching(USUAL + options)
    bench.feed(*STEADY, *writes(700, 5, 10))
    assert told(bench) == news


def test_nothing_is_said_before_anything_is_usual() -> None:
    bench = watching()
    bench.feed(*writes(0, 1, 300))
    assert bench.told == []
    bench = watching(USUAL + ", learn: 0s")
    bench.feed(*writes(0, 1, 300))
    assert told(bench) == [("firing", "5")]


def test_a_key_that_was_silent_for_a_week_need_not_learn_anew() -> None:
    bench = watching()
    bench.feed(*writes(0, 30, 24), now=after(800))
    week = 7 * 86_400
    bench.feed(*writes(week, 1, 10), now=after(week + 20))
    assert told(bench) == [("firing", f"{week + 5}")]
    (change,) = bench.last.states
    assert change.expires_at is None  # a question is pending: when is it over?
    pass_until(bench, week + 600)
    (change,) = bench.last.states
    assert change.expires_at == after(week + 9 + 30 * 86_400)


def test_it_is_over_when_it_was_as_usual_for_the_window() -> None:
    bench = watching()
    bench.feed(*STEADY, *writes(700, 5, 10), *writes(760, 30, 10))
    pass_until(bench, 2_000)
    # The last that ends a minute with three times as many is the one of 760.
    assert told(bench) == [("firing", "715"), ("resolved", "820")]
    assert bench.told[-1].resolution == "60s without so many"
    assert bench.timers == {}


def test_a_spike_that_doubles_is_brought_up_to_date() -> None:
    bench = watching()
    bench.feed(*STEADY)
    news = list(chain.from_iterable(bench.feed(row).alerts for row in writes(700, 1, 40)))
    assert [alert.revision for alert in news] == [0, 1, 2]
    assert [alert.title.split()[1] for alert in news] == ["6", "12", "24"]


BUSY = "within: 1m, reference: 10m, at_least: 6, direction: down"


def test_too_few_is_told_when_the_time_has_passed_and_not_before() -> None:
    bench = watching(BUSY)
    bench.feed(*writes(0, 5, 145))  # twelve a minute until 720
    (timer,) = bench.timers.values()
    # Four are left of twelve a minute when the message of 700 leaves the window.
    assert (timer.due, timer.every) == (after(760), True)
    bench.feed(*writes(725, 5, 3))
    (timer,) = bench.timers.values()
    assert timer.due == after(775)
    pass_until(bench, 775)
    assert told(bench) == [("firing", "775")]
    assert bench.told[0].summary.startswith("Fewer than usual: 4 messages within 60s, 12")


def test_too_few_is_over_when_it_is_as_usual_again() -> None:
    bench = watching(BUSY)
    bench.feed(*writes(0, 5, 145))
    pass_until(bench, 800)
    bench.feed(*writes(800, 5, 60))
    pass_until(bench, 1_095)
    assert told(bench) == [("firing", "760"), ("resolved", "875")]
    assert bench.told[-1].resolution == "60s without so few"


def test_silence_ends_when_silence_is_usual() -> None:
    bench = watching(BUSY)
    bench.feed(*writes(0, 5, 145))
    pass_until(bench, 9_000)
    assert [status for status, _ in told(bench)] == ["firing", "resolved"]
    # Half of the rows have left the reference by about 1080: then six a minute are usual no longer.
    assert 1_000 < float(told(bench)[-1][1]) < 1_200
    assert bench.timers == {}


def test_few_are_no_lull_where_few_are_usual() -> None:
    bench = watching(BUSY)
    bench.feed(*STEADY)
    assert bench.timers == {}


def test_a_lull_that_late_rows_fill_is_taken_back() -> None:
    bench = watching(BUSY)
    bench.feed(*writes(0, 5, 145))
    pass_until(bench, 765)
    bench.feed(*writes(725, 5, 9), now=after(800))
    assert told(bench)[0] == ("firing", "760")
    assert bench.told[-1].resolution == "messages that came late show that it was not so"


def test_more_rows_than_are_kept_are_summed_up() -> None:
    bench = watching("within: 10m, reference: 9h, at_least: 10")
    number = 3 * MAX_ROWS
    rows = writes(0, 6, number)
    for start in range(0, number, 500):
        chunk = rows[start : start + 500]
        bench.feed(*chunk, now=chunk[-1].sent_at)
        assert bench.last.faults == ()
    assert bench.told == []  # a hundred in ten minutes are usual, though most are gone
    (state,) = bench.states.values()
    story = DECODER.decode(state.value)
    assert len(story.rows) <= MAX_ROWS
    assert 0 < len(story.sums) <= 300
    assert len(story.rows) + sum(count for _, count in story.sums) == number
    bench.feed(*rows[:100], now=rows[-1].sent_at)  # read again
    assert DECODER.decode(next(iter(bench.states.values())).value) == story
    bench.feed(*[a_message(id=MessageId(n), sent_at=after(6 * number)) for n in range(10**6, 10**6 + 300)])
    assert [alert.revision for alert in bench.told] == [0]
    # Where a sum lies on the edge of a window, all of it counts or nothing: a hundred, or nearly.
    assert "399 messages within 10m, usual are 100." in bench.told[0].title


def test_reading_again_changes_nothing_and_writes_nothing() -> None:
    bench = watching(USUAL + ", direction: both")
    rows = [*STEADY, *writes(700, 5, 10)]
    bench.feed(*rows)
    pass_until(bench, 5_000)
    outcome = bench.feed(*rows, now=after(86_400))
    assert (outcome.states, outcome.alerts, outcome.timers, outcome.cancelled) == ((), (), (), ())


def test_in_words() -> None:
    words = {
        "": "3 times as many messages within 60s as are usual by the 10m before, and at least 6 of them",
        ", direction: down, ratio: 2.5, by: type": (
            "2.5 times fewer messages within 60s than are usual by the 10m before, where at least 6 are, "
            "for each type"
        ),
        ", direction: both, when: {type: text}": (
            "3 times as many, or fewer, messages with type text within 60s as are usual by the 10m before, "
            "and at least 6 of them"
        ),
    }
    for options, said in words.items():
        assert watching(USUAL + options).rules.rules[0].logic.describe() == said


WRONG = [
    ("within: 1m", '"reference" is missing'),
    ("reference: 1m", '"within" is missing'),
    ("within: 1m, reference: 1h, ratio: 1", 'found "1"'),
    ("within: 1m, reference: 1h, ratio: high", 'found "high"'),
    ("within: 1m, reference: 1h, ratio: 1001", 'found "1001"'),
    ("within: 1m, reference: 1h, direction: sideways", 'found "sideways"'),
    ("within: 1m, reference: 8d", 'found "8d"'),
]


@pytest.mark.parametrize(("options", "problem"), WRONG)
def test_what_is_wrong_is_said(options: str, problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        watching(options)
    assert problem in str(caught.value)
