"""The arithmetic of the square-root rule against textbook cases, and against a simulation of its own rule."""

from __future__ import annotations

import math
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.schedule.plan import BURSTS, Load, predict, shared_out, waits
from monitor.schedule.traffic import DELAYS, REPLIES

EVEN = ()  # rows that come one by one

LOADS = st.lists(
    st.builds(
        Load,
        rate=st.one_of(st.just(0.0), st.floats(1e-7, 2.0)),
        weight=st.sampled_from([1.0, 4.0, 25.0]),
        max_staleness=st.sampled_from([30.0, 240.0, math.inf]),
    ),
    min_size=1,
    max_size=60,
)


def test_alike_lists_share_alike() -> None:
    found = predict([Load(1e-3)] * 10, per_second=1 / 6, min_interval=2.0, bursts=EVEN)
    assert found.mean_s == pytest.approx(30.0)
    assert found.p95_s == pytest.approx(57.0)
    assert found.worst_s == pytest.approx(60.0)
    assert found.requests_per_minute == pytest.approx(10.0)


def test_four_times_the_rows_are_asked_for_twice_as_often() -> None:
    busy, quiet = shared_out([Load(0.04), Load(0.01)], budget=0.3, min_interval=1.0)
    assert [busy, quiet] == pytest.approx([5.0, 10.0])


def test_weight_counts_like_rows() -> None:
    busy, quiet = shared_out([Load(0.01, weight=4.0), Load(0.01)], budget=0.3, min_interval=1.0)
    assert quiet / busy == pytest.approx(2.0)


@pytest.mark.parametrize(("sigma", "of_even"), [(1.0, 0.779), (2.0, 0.386)])
def test_the_gain_over_round_robin_is_the_one_of_the_theory(sigma: float, of_even: float) -> None:
    """Without bounds it is (Σ√λ)² / (N Σλ): exp(-σ²/4) for log-normal rates, as N grows."""
    normal = random.Random(5)
    rates = [math.exp(normal.gauss(-12, sigma)) for _ in range(20_000)]
    found = predict([Load(rate) for rate in rates], per_second=20_000 / 60, min_interval=1e-6, bursts=EVEN)
    exact = sum(map(math.sqrt, rates)) ** 2 / len(rates) / sum(rates)
    assert found.mean_s / 30.0 == pytest.approx(exact, rel=1e-3)
    assert found.mean_s / 30.0 == pytest.approx(of_even, rel=0.1)


@given(LOADS, st.floats(0.01, 100.0))
def test_nothing_is_spent_that_is_not_there_and_no_bound_is_broken(loads: list[Load], budget: float) -> None:
    gaps = shared_out(loads, budget=budget, min_interval=2.0)
    assert sum(1 / gap for gap in gaps) <= budget * 1.001
    assert min(gaps) >= 2.0 * 0.999
    if sum(1 / load.max_staleness for load in loads) <= budget:
        assert all(gap <= load.max_staleness * 1.001 for gap, load in zip(gaps, loads, strict=True))


@given(LOADS, st.floats(0.01, 100.0))
def test_the_budget_is_used_up_unless_everybody_is_at_the_shortest_interval(
    loads: list[Load], budget: float
) -> None:
    gaps = shared_out(loads, budget=budget, min_interval=2.0)
    assert sum(1 / gap for gap in gaps) >= budget * 0.999 or max(gaps) <= 2.0 * 1.001


@given(st.lists(st.tuples(st.floats(1e-6, 10), st.floats(0.1, 1e4)), min_size=1, max_size=30))
def test_one_row_in_twenty_waits_longer_than_the_p95(lists: list[tuple[float, float]]) -> None:
    rates, gaps = [rate for rate, _ in lists], [gap for _, gap in lists]
    _, p95 = waits(rates, gaps, bursts=EVEN)
    longer = sum(rate * max(0.0, 1.0 - p95 / gap) for rate, gap in lists)
    assert longer / sum(rates) == pytest.approx(0.05, abs=1e-3)


def test_no_other_division_of_the_budget_has_a_smaller_mean() -> None:
    loads = [Load(rate) for rate in (1.0, 0.2, 0.05, 0.01)]
    gaps = shared_out(loads, budget=1.0, min_interval=0.1)
    rates = [load.rate for load in loads]
    best, _ = waits(rates, gaps, bursts=EVEN)
    for one in range(4):
        for other in set(range(4)) - {one}:
            speeds = [1 / gap for gap in gaps]
            speeds[one] += 0.01
            speeds[other] -= 0.01
            assert waits(rates, [1 / speed for speed in speeds], bursts=EVEN)[0] > best


def test_what_follows_a_row_are_the_replies_of_all_generations() -> None:
    """The expected number within a span, by generations of simulated replies."""
    draw = random.Random(4)
    scales = [mean for _, mean in DELAYS]
    parts = [share - below for (share, _), below in zip(DELAYS, (0.0, 0.6, 0.9), strict=True)]
    within = {20.0: 0, 200.0: 0, 2000.0: 0}
    trials = 4000
    for _ in range(trials):
        waiting = [0.0]
        while waiting:
            at = waiting.pop()
            # Whether there is one more, again and again: a geometric number has the same mean.
            while draw.random() < REPLIES / (1 + REPLIES):
                answered = at + draw.expovariate(1 / draw.choices(scales, parts)[0])
                waiting += [answered] if answered < 2000 else []
                for span in within:
                    within[span] += answered < span
    for span, found in within.items():
        expected = sum(rows * (1 - math.exp(-span / lasts)) for rows, lasts in BURSTS)
        assert found / trials == pytest.approx(expected, rel=0.1)


def test_bursts_count_most_where_nobody_expected_them() -> None:
    """Half of the rows come to lists that are seldom polled, if they come alone; in bursts more than half."""
    rates, gaps = [1.0, 1.0], [5.0, 240.0]
    even, _ = waits(rates, gaps, bursts=EVEN)
    chat, _ = waits(rates, gaps)
    assert even == pytest.approx((2.5 + 120.0) / 2)
    assert chat > 1.2 * even


def test_promises_beyond_the_budget_are_stretched_alike_and_told() -> None:
    loads = [Load(1e-3, max_staleness=10.0), Load(1e-3, max_staleness=30.0)]
    found = predict(loads, per_second=1 / 15, min_interval=2.0)
    assert found.share_of_quota == pytest.approx(2.0)
    assert found.worst_s == pytest.approx(60.0)
    assert shared_out(loads, budget=1 / 15, min_interval=2.0) == pytest.approx([20.0, 60.0])


def test_a_budget_larger_than_can_be_spent_is_left_over() -> None:
    found = predict([Load(1e-3)] * 10, per_second=50.0, min_interval=2.0)
    assert found.requests_per_minute == pytest.approx(300.0)
    assert found.share_of_quota == pytest.approx(0.1)


def test_a_sample_stands_for_all_lists() -> None:
    normal = random.Random(3)
    loads = [Load(math.exp(normal.gauss(-9, 1)), max_staleness=240.0) for _ in range(4000)]
    whole = predict(loads, per_second=66.0, min_interval=2.0)
    part = predict(loads[:2000], per_second=66.0, min_interval=2.0, lists=4000)
    assert part.mean_s == pytest.approx(whole.mean_s, rel=0.1)
    assert part.requests_per_minute == pytest.approx(whole.requests_per_minute, rel=0.01)


def test_a_prediction_takes_time_in_proportion_to_its_loads() -> None:
    normal = random.Random(1)
    loads = [Load(math.exp(normal.gauss(-9, 2)), max_staleness=240.0) for _ in range(16_000)]

    def cost(many: int) -> float:
        began = time.process_time()
        for _ in range(16_000 // many):
            predict(loads[:many], per_second=many / 60, min_interval=2.0)
        return time.process_time() - began

    cost(1_000)
    assert cost(16_000) < 4 * cost(1_000)


@pytest.mark.parametrize(("loads", "per_second"), [([], 1.0), ([Load(1.0)], 0.0)])
def test_nothing_is_predicted_from_nothing(loads: list[Load], per_second: float) -> None:
    with pytest.raises(ValueError, match="needs"):
        predict(loads, per_second=per_second, min_interval=2.0)
