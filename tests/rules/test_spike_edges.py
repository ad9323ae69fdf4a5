"""Spikes at their limits: the edges of the windows, of learning, of bursts and lulls, what is shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from rules.kinds.episodes import DECODER, MAX_ROWS
from rules.model import Alert, Message, MessageId, Party, UserId
from tests.rules.builders import Bench, a_message, after
from tests.rules.test_spike import BUSY, STEADY, USUAL, pass_until, told, watching, writes


def at(*times: float, **changes: Any) -> list[Message]:
    return [a_message(id=MessageId(round(time * 100) + 1), sent_at=after(time), **changes) for time in times]


def fires(options: str, times: Iterable[float]) -> list[str]:
    bench = watching(options)
    bench.feed(*at(*times))
    return [when for status, when in told(bench) if status == "firing"]


# Five in the window, two per window usual, so that each row more or less tells.
EDGE = "within: 10s, reference: 20s, ratio: 2, at_least: 4"


@pytest.mark.parametrize(
    ("times", "news"),
    [
        # One in the reference is half a message in ten seconds: the floor of one makes two of it.
        ((0, 31, 32, 33, 34), ["34"]),
        # The window is open at its start: a message of ten seconds ago is no longer in it.
        ((0, 31, 32, 33, 41), []),
        ((0, 31.1, 32, 33, 41), ["41"]),
        # Four are usual by eight of the last twenty seconds before: eight are enough, seven are not.
        ((0, *range(11, 19), 31, 32, 33, 34, 35, 36, 37, 38), ["38"]),
        ((0, *range(11, 19), 31, 32, 33, 34, 35, 36, 37), []),
        # The messages of 8 and of 8.5 have just left the reference of the message of 38.5.
        ((0, 8, 8.5, *range(12, 18), 31, 32, 33, 34, 35, 38.5), ["38.5"]),
        ((0, 8, 8.6, *range(12, 18), 31, 32, 33, 34, 35, 38.5), []),
    ],
)
def test_the_edges_of_the_windows(times: tuple[float, ...], news: list[str]) -> None:
    assert fires(EDGE, times) == news


@pytest.mark.parametrize(
    ("learn", "first"), [("", 30), (", learn: 0s", 3), (", learn: 12s", 12), (", learn: 2s", 3)]
)
def test_learning_ends_when_its_time_has_passed(learn: str, first: int) -> None:
    # What came before the end of learning is silent, and at its end no longer.
    times = [0, 1, 2, 3, *range(10, 15), *(29, 29.2, 29.4, 29.6, 29.8, 29.9, 29.95, 30)]
    assert fires(f"{EDGE}{learn}, resolve_after: 1d", times) == [str(first)]


def test_no_more_than_the_least_there_are_at_all() -> None:
    assert fires("within: 1m, reference: 1m, at_least: 3, learn: 0s", (0, 1, 2)) == ["2"]
    assert fires("within: 1m, reference: 1m, at_least: 3, learn: 0s", (0, 1)) == []


@pytest.mark.parametrize(("second", "alerts"), [(64, 1), (65, 2)])
def test_a_burst_goes_on_until_it_was_quiet_for_long_enough(second: int, alerts: int) -> None:
    options = "within: 10s, reference: 10s, ratio: 2, at_least: 3, learn: 0s, resolve_after: 30s"
    # The first burst ends at 34; half a minute later it is the same one.
    assert len(fires(options, (0, 32, 33, 34, second - 2, second - 1, second))) == alerts


def the_last(bench: Bench) -> Alert:
    return bench.told[-1]


TEMPLATE = (
    ", title: '{{ count }}/{{ usual }} x{{ times }} {{ direction }} {{ ratio }} {{ at_least }} {{ window }} "
    "{{ reference }}', summary: '{{ since }} - {{ until }}'"
)


def test_what_templates_can_name_of_a_spike() -> None:
    bench = watching(USUAL + TEMPLATE)
    bench.feed(*STEADY, *writes(700, 5, 10))
    alert = the_last(bench)
    assert alert.title == "11/2.0 x5.5 up 3.0 6 60s 10m"
    assert alert.summary == "2026-11-22 12:11:55 UTC - 2026-11-22 12:12:25 UTC"


def test_what_templates_can_name_of_a_lull() -> None:
    bench = watching(BUSY + TEMPLATE)
    bench.feed(*writes(0, 5, 145))
    pass_until(bench, 765)
    alert = the_last(bench)
    assert alert.title == "4/12.0 x0.3 down 3.0 6 60s 10m"
    # A lull goes on until more come: up to when it was seen is said, not how long it would last.
    assert alert.summary == "2026-11-22 12:12:40 UTC - 2026-11-22 12:12:40 UTC"


def test_a_floor_is_what_many_are_measured_by() -> None:
    bench = watching(f"{USUAL}, floor: 4{TEMPLATE}")
    bench.feed(*STEADY, *writes(700, 1, 40))
    assert the_last(bench).title.startswith("4")
    times = the_last(bench).title.split()[1]
    count = int(the_last(bench).title.partition("/")[0])
    assert times == f"x{count / 4:.1f}"


def test_the_largest_figures_of_a_burst_are_told() -> None:
    bench = watching("within: 10s, reference: 1h, at_least: 3, learn: 0s, resolve_after: 1m" + TEMPLATE)
    bench.feed(*at(0, 1, 2, 3, 4, 30, 31, 32))
    pass_until(bench, 300)
    assert the_last(bench).title.startswith("5/0.0 x5.0")


@pytest.mark.parametrize(
    ("gap", "summary"),
    [
        (31, "2026-11-22 12:00:02 UTC - 2026-11-22 12:00:35 UTC"),
        (32, "2026-11-22 12:00:02 UTC - 2026-11-22 12:00:04 UTC"),
    ],
)
def test_a_spike_lasts_from_its_first_row_to_its_last(gap: int, summary: str) -> None:
    options = "within: 10s, reference: 1h, at_least: 3, learn: 0s, resolve_after: 31s"
    bench = watching(options + TEMPLATE)
    bench.feed(*at(0, 1, 2, 3, 4, 4 + gap - 2, 4 + gap - 1, 4 + gap))
    assert bench.told[0].summary == summary


# --- too few ----------------------------------------------------------------------------------------

FEW = "within: 1m, reference: 1m, ratio: 3, at_least: 6, direction: down, learn: 0s"


@pytest.mark.parametrize(
    ("number", "more", "due"),
    [
        (6, (), 65),  # six were usual, and none are left when the last has gone
        (5, (), None),
        (6, (62, 63), 65),  # a third is few enough
        (6, (62, 63, 64), None),
        (9, (62, 63, 64), 68),
        (9, (62, 63, 64, 65), 123),
    ],
)
def test_few_are_a_third_of_what_is_usual(number: int, more: tuple[int, ...], due: int | None) -> None:
    bench = watching(FEW)
    bench.feed(*at(*range(number), *more))
    dues = [timer.due for timer in bench.timers.values()]
    assert dues == ([] if due is None else [after(due)])
    pass_until(bench, 125)
    assert told(bench)[:1] == ([] if due is None else [("firing", str(due))])


@pytest.mark.parametrize(("resolve_after", "over"), [("1s", 121), ("1m", 180), ("10m", 720)])
def test_a_lull_is_over_when_nothing_is_usual_any_longer(resolve_after: str, over: int) -> None:
    bench = watching(f"{FEW}, resolve_after: {resolve_after}")
    bench.feed(*at(*range(6)))
    pass_until(bench, 3_000)
    # The first of the six leaves the reference at 120: five are usual from then on.
    assert told(bench) == [("firing", "65"), ("resolved", str(over))]


def test_the_deepest_of_a_lull_is_told_in_the_end() -> None:
    bench = watching(BUSY + TEMPLATE)
    bench.feed(*writes(0, 5, 145))
    pass_until(bench, 9_000)
    assert [alert.title.split()[0] for alert in bench.told] == ["4/12.0", "0/12.0"]


@pytest.mark.parametrize(("resolve_after", "alerts"), [("60s", 1), ("59s", 2)])
def test_a_lull_that_is_interrupted_for_a_short_time_is_one(resolve_after: str, alerts: int) -> None:
    bench = watching(
        f"within: 1m, reference: 1h, at_least: 6, learn: 0s, direction: down, resolve_after: {resolve_after}"
    )
    bench.feed(*writes(0, 0.5, 600))
    pass_until(bench, 380)
    # Twenty at once fill the window from 400 until just before 460.
    bench.feed(*(a_message(id=MessageId(10**6 + n), sent_at=after(400)) for n in range(20)))
    pass_until(bench, 4_200)
    assert [status for status, _ in told(bench)].count("firing") == alerts


def test_learning_holds_for_lulls_too() -> None:
    for learn, lulls in (("0s", 1), ("65s", 1), ("10m", 0)):
        bench = watching(FEW.replace("learn: 0s", f"learn: {learn}"))
        bench.feed(*at(*range(6)))
        pass_until(bench, 100)
        assert len(bench.told) == lulls, learn


def test_both_ways_of_one_key_are_two_alerts() -> None:
    bench = watching(FEW.replace("down", "both"))
    bench.feed(*at(*(n / 10 for n in range(30))))
    pass_until(bench, 500)
    assert sorted(status for status, _ in told(bench)) == ["firing", "firing", "resolved", "resolved"]
    assert len({alert.id for alert in bench.told}) == 2


# --- which messages count, and what is kept ---------------------------------------------------------


def test_conditions_choose_the_messages_that_count() -> None:
    options = "within: 1m, reference: 1m, at_least: 3, learn: 0s"
    bench = watching(f"{options}, when: {{type: text, direction: inbound}}")
    bench.watch = {UserId("bob"): {}}
    bench.feed(*at(0, 1, 2, sender=Party(id="bob"), receiver=Party(id="ann")), *at(3, 4, type="image"))
    assert (bench.told, bench.states) == ([], {})
    bench.feed(*at(5, 6, 7))
    assert told(bench) == [("firing", "7")]
    assert set(bench.rules.rules[0].logic.conditions) == {"when"}
    assert watching(options).rules.rules[0].logic.conditions == {}


@pytest.mark.parametrize(
    ("number", "rows", "is_summed"),
    [(MAX_ROWS, MAX_ROWS, False), (MAX_ROWS + 1, MAX_ROWS // 2, True)],
)
def test_of_too_many_rows_half_are_summed_up(number: int, rows: int, is_summed: bool) -> None:
    bench = watching("within: 1h, reference: 1d, at_least: 1000")
    bench.feed(*writes(0, 1, number))
    (state,) = bench.states.values()
    story = DECODER.decode(state.value)
    assert len(story.rows) == rows
    assert bool(story.sums) is is_summed
    assert len(story.rows) + sum(count for _, count in story.sums) == number
