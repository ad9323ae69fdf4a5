"""What a list's past says: bursts fade within minutes, habits within days, and nothing is ever impossible."""

import math
import sys
from collections.abc import Sequence
from copy import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.schedule.activity import FORGETTING_S, KNOWN_S, NEVER_S, PARTS, SCALES_S, SURPRISE, Activity

DAY = 86_400.0
AGES = st.lists(st.floats(0, 30 * DAY), max_size=20)


def seen(*ages: float, now: float = 0.0) -> Activity:
    activity = Activity(now=now)
    activity.saw(ages, now)
    return activity


def by_the_formula(sent: Sequence[float], now: float) -> float:
    silence = now - max(sent)
    counts = [sum(math.exp(-(now - at) / scale) for at in sent) for scale in SCALES_S]
    watched = max(KNOWN_S, now - min(0.0, *sent, 0.0))  # from 0, or from the oldest row on
    known = sum(
        part * n / (scale * (1 - math.exp(-watched / scale)))
        for part, n, scale in zip(PARTS, counts, SCALES_S, strict=True)
    )
    return SURPRISE / (FORGETTING_S + silence) + known


@given(st.lists(st.tuples(st.floats(0, 3 * DAY), AGES), min_size=1, max_size=10))
def test_counting_poll_by_poll_is_the_formula(polls: list[tuple[float, list[float]]]) -> None:
    activity, sent, now = Activity(now=0.0), [], 0.0
    for later, ages in polls:
        now += later
        activity.saw(ages, now)
        sent += [now - age for age in ages]
    now += 1.0
    expected = by_the_formula(sent, now) if sent else SURPRISE / (NEVER_S + now)
    assert activity.rate(now) == pytest.approx(expected, rel=1e-6)


def test_a_burst_is_expected_to_go_on_and_fades_to_a_habit() -> None:
    activity = seen(*[1.0] * 10)
    rates = [activity.rate(now) for now in (0.0, 60.0, 900.0, DAY, 30 * DAY)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 0.05
    assert rates[-1] < 1e-6


def test_a_row_from_the_future_counts_as_one_of_now() -> None:
    assert seen(-5.0).rate(0.0) == seen(0.0).rate(0.0)


def test_the_order_of_rows_is_no_matter() -> None:
    assert seen(3.0, 1000.0, 20.0).rate(5.0) == pytest.approx(seen(1000.0, 20.0, 3.0).rate(5.0))


def test_old_rows_of_a_first_page_leave_a_later_one_the_newest() -> None:
    activity = seen(1.0)
    activity.saw([50 * DAY], 2.0)
    same = seen(1.0, 50 * DAY)  # known from the same day on
    assert activity.rate(2.0) == pytest.approx(same.rate(2.0), rel=1e-3)


def test_a_young_record_is_not_taken_for_a_quiet_list() -> None:
    """A row every six hours is the same habit after one day of watching as after a month."""
    rates = []
    for days in (1, 3, 30):
        activity = Activity(now=0.0)
        for row in range(1, 4 * days + 1):
            activity.saw([0.0], row * DAY / 4)
        rates.append(activity.rate(days * DAY + 3600))
    assert max(rates) < 1.25 * min(rates)


@given(st.floats(0, 1e9), AGES)
def test_a_rate_is_always_above_zero(later: float, ages: list[float]) -> None:
    assert 0.0 < seen(*ages).rate(later) < math.inf


@given(AGES, st.floats(0, 10 * DAY), st.floats(0, 10 * DAY))
def test_what_was_stored_comes_back_aged_by_the_time_between(
    ages: list[float], kept: float, away: float
) -> None:
    activity = seen(*ages)
    packed = activity.packed(kept, wall=1e9 + kept)
    again = Activity.unpacked(packed, now=7.0, wall=1e9 + kept + away)
    assert again.rate(7.0 + 60.0) == pytest.approx(activity.rate(kept + away + 60.0), rel=0.02)


def test_a_clock_that_was_set_back_ages_nothing() -> None:
    packed = seen(1.0, 2.0).packed(0.0, wall=1e9)
    assert Activity.unpacked(packed, now=0.0, wall=0.0).rate(0.0) == pytest.approx(
        seen(1.0, 2.0).rate(0.0), rel=1e-2
    )


GOOD = seen(1.0).packed(0.0, wall=1e9)


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param((), id="nothing"),
        pytest.param(GOOD[:-1], id="too short"),
        pytest.param((*GOOD, 0.0), id="too long"),
        pytest.param((2.0, *GOOD[1:]), id="another form"),
        pytest.param((*GOOD[:-1], math.nan), id="no number"),
        pytest.param((*GOOD[:-1], math.inf), id="no end"),
        pytest.param((*GOOD[:-1], -1.0), id="less than nothing"),
        pytest.param((*GOOD[:3], -2.0, *GOOD[4:]), id="a row from the future"),
        pytest.param((*GOOD[:-1], "1.0"), id="text"),
    ],
)
def test_what_cant_be_used_is_as_good_as_nothing_known(packed: Sequence[object]) -> None:
    assert Activity.unpacked(packed, now=5.0, wall=1e9).rate(5.0) == Activity(now=5.0).rate(5.0)


def test_a_copy_lives_on_its_own() -> None:
    activity = seen(1.0)
    before = activity.rate(10.0)
    copy(activity).saw([0.0] * 100, 10.0)
    assert activity.rate(10.0) == before


def test_a_list_that_never_had_a_row_takes_little_room() -> None:
    activity = Activity(now=0.0)
    assert sys.getsizeof(activity) <= 64
    assert not hasattr(activity, "__dict__")
    assert activity._counts is Activity(now=1.0)._counts
