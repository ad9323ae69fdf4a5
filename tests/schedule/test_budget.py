"""The quota is never exceeded in any minute, and one refusal holds everybody."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.schedule.budget import Budget, Gate, Reason


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
    gate.over()
    assert gate.wait(2.0) == 0.0


def answered(budget: Budget, *, limit: int | None = None, remaining: int | None = None, now: float) -> Budget:
    budget.learn(limit=limit, remaining=remaining, reset_in=30.0, now=now)
    return budget


def test_a_smaller_limit_lowers_what_is_granted_by_our_share_of_it() -> None:
    budget = Budget(per_minute=250, now=0.0, share=0.5)
    assert (budget.granted(0.0), budget.reason(0.0)) == (250.0, Reason.CONFIGURED)
    answered(budget, limit=400, now=1.0)
    assert (budget.granted(1.0), budget.reason(1.0)) == (200.0, Reason.SHARE)
    answered(budget, limit=100, now=2.0)
    assert (budget.granted(2.0), budget.reason(2.0)) == (50.0, Reason.QUOTA)
    answered(budget, limit=20_000, now=3.0)
    assert (budget.granted(3.0), budget.reason(3.0)) == (250.0, Reason.CONFIGURED)


def test_what_remains_is_spread_until_the_reset_and_forgotten_then() -> None:
    budget = Budget(per_minute=250, now=0.0, share=0.5)
    budget.learn(limit=500, remaining=110, reset_in=49.0, now=10.0)
    assert budget.granted(10.0) == pytest.approx(0.5 * 100 / 50.0 * 60)  # a fiftieth of the limit is spared
    assert budget.reason(10.0) is Reason.OTHERS
    assert budget.granted(59.9) == budget.granted(10.0)
    assert budget.granted(60.0) == 250.0


def test_without_a_reset_a_minute_is_assumed() -> None:
    budget = Budget(per_minute=250, now=0.0)
    budget.learn(limit=None, remaining=61, reset_in=None, now=0.0)
    assert budget.granted(60.9) == pytest.approx(60.0)
    assert budget.granted(61.0) == 250.0


def test_nothing_left_stops_us_until_the_reset() -> None:
    budget = Budget(per_minute=600, now=0.0)
    budget.learn(limit=600, remaining=0, reset_in=20.0, now=100.0)
    assert budget.granted(100.0) == 0.0
    assert budget.wait(100.0) == pytest.approx(21.1)
    budget.learn(limit=600, remaining=600, reset_in=60.0, now=105.0)  # another answer knows better
    assert budget.wait(105.0) == pytest.approx(0.1, abs=0.01)


def test_headers_that_make_no_sense_stop_us_for_five_minutes_at_most() -> None:
    budget = Budget(per_minute=60, now=0.0)
    budget.learn(limit=0, remaining=0, reset_in=86_400.0, now=0.0)
    assert budget.wait(0.0) == pytest.approx(301.0)


def test_a_wait_that_crosses_the_reset_ends_when_the_token_is_there() -> None:
    budget = Budget(per_minute=60, now=0.0)
    budget.learn(limit=None, remaining=5, reset_in=9.0, now=0.0)  # half a token a second for ten seconds
    budget.learn(limit=None, remaining=1, reset_in=0.0, now=9.5)
    while (wait := budget.wait(9.5)) == 0.0:
        budget.take(9.5)
    budget.take(9.5 + wait)
    assert budget.wait(9.5 + wait) > 0.5


@given(
    per_minute=st.integers(2, 60),
    steps=st.lists(
        st.tuples(
            st.one_of(st.just(0.0), st.floats(0, 40)),
            st.one_of(st.none(), st.integers(0, 80)),
            st.one_of(st.none(), st.integers(0, 80)),
            st.one_of(st.none(), st.floats(-5, 90)),
            st.booleans(),
        ),
        min_size=1,
        max_size=120,
    ),
)
def test_whatever_is_learnt_a_caller_goes_on_and_never_beyond_what_is_configured(
    per_minute: int, steps: list[tuple[float, int | None, int | None, float | None, bool]]
) -> None:
    budget, now, grants = Budget(per_minute=per_minute, now=0.0, share=0.5), 0.0, []
    for pause, limit, remaining, reset_in, is_refused in steps:
        now += pause + budget.wait(now + pause)
        assert budget.wait(now) == pytest.approx(0.0, abs=1e-6)
        budget.take(now)
        grants.append(now)
        budget.learn(limit=limit, remaining=remaining, reset_in=reset_in, now=now)
        if is_refused:
            budget.refused(now)
        assert 0.0 <= budget.wait(now) < 500.0
        assert budget.granted(now) <= per_minute
    for first in grants:
        assert sum(1 for at in grants if first <= at < first + 59.999) <= per_minute


def test_a_refusal_takes_three_tenths_once_a_burst_and_they_come_back() -> None:
    budget = Budget(per_minute=100, now=0.0)
    for at in (10.0, 10.1, 39.0):
        budget.refused(at)
    assert budget.granted(10.0) == pytest.approx(70.0)
    assert budget.reason(10.0) is Reason.OTHERS
    assert budget.granted(70.0) == pytest.approx(72.0)
    assert budget.granted(10.0 + 15 * 60) == pytest.approx(100.0)
    assert budget.reason(10.0 + 15 * 60) is Reason.CONFIGURED


def test_refusals_never_starve_us() -> None:
    budget = Budget(per_minute=100, now=0.0)
    for burst in range(50):
        budget.refused(31.0 * burst)
    assert budget.granted(31.0 * 49) >= 5.0


def test_a_limit_that_falls_holds_for_the_minute_that_is_running() -> None:
    budget = Budget(per_minute=60, now=0.0)
    now = 0.0
    for _ in range(40):
        now += budget.wait(now)
        budget.take(now)
    budget.learn(limit=20, remaining=None, reset_in=None, now=now)
    assert budget.wait(now) == pytest.approx(40.0, abs=1.1)  # the 20th request before is then a minute old


@pytest.mark.parametrize("share", [0.0, 1.1, -1.0])
def test_a_share_is_a_part(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        Budget(per_minute=10, now=0.0, share=share)
