"""Which promises a rate keeps: half of it goes to deadlines, and not a request more."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.schedule.promises import Promises, auto, needed_rate, stretch

PROMISES = st.lists(st.none() | st.floats(1, 1e5), min_size=1, max_size=30)
RATES = st.floats(0.01, 1000)


def test_auto_is_four_rounds() -> None:
    assert auto(1000, 1000 / 60) == pytest.approx(240.0)


def test_promises_are_kept_up_to_half_of_the_rate() -> None:
    assert stretch([60.0] * 60, rate=2.0) == 1.0
    assert stretch([60.0] * 60, rate=1.0) == pytest.approx(2.0)
    assert needed_rate([60.0] * 60) == pytest.approx(2.0)


def test_auto_alone_is_kept_by_any_rate() -> None:
    assert stretch([None] * 1000, rate=0.001) == 1.0
    assert needed_rate([None] * 1000) == 0.0


def test_auto_takes_its_part_of_the_rate_from_the_others() -> None:
    # ten lists in a hundred named a minute; the rest may take up to 90/400 of the rate for themselves
    promises = [60.0] * 10 + [None] * 90
    assert needed_rate(promises) == pytest.approx((10 / 60) / (0.5 - 90 / 400))


def test_nobody_promised_anything() -> None:
    assert stretch([], rate=1.0) == 1.0
    assert needed_rate([]) == 0.0


@given(PROMISES)
def test_the_needed_rate_is_the_least_that_stretches_nothing(promises: list[float | None]) -> None:
    if needed := needed_rate(promises):
        assert stretch(promises, rate=needed) == pytest.approx(1.0)
        assert stretch(promises, rate=needed * 0.99) > 1.0
        assert stretch(promises, rate=needed * 1.01) == 1.0


@given(PROMISES, RATES)
def test_stretched_promises_can_be_kept(promises: list[float | None], rate: float) -> None:
    by = stretch(promises, rate=rate)
    in_force = [by * (auto(len(promises), rate) if wished is None else wished) for wished in promises]
    assert sum(1 / promise for promise in in_force) <= rate / 2 * (1 + 1e-9)


@given(PROMISES, PROMISES, RATES)
def test_counting_up_and_down_ends_where_it_began(
    kept: list[float | None], gone: list[float | None], rate: float
) -> None:
    promises = Promises([*kept, *gone])
    for promise in gone:
        promises.count(promise, -1)
    assert math.isclose(promises.stretch(rate), stretch(kept, rate=rate), rel_tol=1e-6)
    assert promises.auto(rate) == auto(len(kept), rate)
