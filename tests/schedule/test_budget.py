"""The quota is never exceeded in any minute, and one refusal holds everybody."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.schedule.budget import Budget, Gate


def granted(budget: Budget, *, start: float, pauses: list[float]) -> list[float]:
    """A caller as greedy as it gets: takes whenever it may, after pausing as told."""
    now, grants = start, []
    for pause in pauses:
        now += pause
        now += budget.wait(now)
        assert budget.wait(now) == pytest.approx(0.0, abs=1e-6)
        budget.take(now)
        grants.append(now)
    return grants


@given(
    per_minute=st.integers(1, 40),
    pauses=st.lists(st.one_of(st.just(0.0), st.floats(0, 90)), min_size=1, max_size=200),
)
def test_no_window_of_a_minute_holds_more_than_the_budget(per_minute: int, pauses: list[float]) -> None:
    grants = granted(Budget(per_minute=per_minute, now=0.0), start=0.0, pauses=pauses)
    for first in grants:
        assert sum(1 for at in grants if first <= at < first + 59.999) <= per_minute


def test_a_greedy_caller_gets_the_whole_budget() -> None:
    grants = granted(Budget(per_minute=250, now=0.0), start=0.0, pauses=[0.0] * 1000)
    assert grants[-1] == pytest.approx(240, rel=0.01)


def test_a_crash_loop_gains_nothing() -> None:
    assert Budget(per_minute=60, now=100.0).wait(100.0) == pytest.approx(1.0)


def test_a_burst_is_at_most_one_second_worth() -> None:
    budget = Budget(per_minute=600, now=0.0)
    burst = 0
    while budget.wait(1000.0) == 0.0:
        budget.take(1000.0)
        burst += 1
    assert burst == 10


def test_a_budget_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Budget(per_minute=0, now=0.0)


def test_the_gate_lets_one_probe_through_and_opens_on_its_success() -> None:
    gate = Gate()
    gate.close(now=10.0, seconds=30.0, reason="429")
    assert gate.wait(15.0) == 25.0
    assert gate.wait(40.0) == 0.0
    gate.take()
    assert gate.wait(41.0) == math.inf
    gate.open()
    assert gate.wait(41.0) == 0.0
    assert gate.reason is None


def test_a_second_refusal_of_the_same_burst_never_shortens_the_pause() -> None:
    gate = Gate()
    gate.close(now=0.0, seconds=60.0, reason="429")
    gate.close(now=1.0, seconds=5.0, reason="429")
    assert gate.closed_until == 60.0


def test_a_probe_without_an_answer_lets_the_next_one_try() -> None:
    gate = Gate()
    gate.close(now=0.0, seconds=1.0, reason="429")
    gate.take()
    gate.inconclusive()
    assert gate.wait(2.0) == 0.0
