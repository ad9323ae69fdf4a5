"""When a receiver is left alone, probed and trusted again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.delivery.backoff import MAX_RETRY_AFTER
from monitor.delivery.breaker import OPENS_AFTER, OPENS_AFTER_S, SOUND, Breaker, Door


def after(*failed_at: float, wish: timedelta | None = None) -> Breaker:
    breaker = SOUND
    for now in failed_at:
        breaker = breaker.failed(now, reason="503", wish=wish)
    return breaker


def test_it_is_closed_to_begin_with() -> None:
    assert SOUND.door(0) is Door.CLOSED
    assert not SOUND.is_open


def test_five_failures_in_a_row_open_it_and_not_four() -> None:
    assert not after(*range(OPENS_AFTER - 1)).is_open
    assert after(*range(OPENS_AFTER)).opened_at == OPENS_AFTER - 1


def test_a_minute_of_nothing_but_failures_opens_it() -> None:
    assert not after(0, OPENS_AFTER_S - 1).is_open
    assert after(0, OPENS_AFTER_S).is_open


def test_it_rests_then_lets_a_probe_through_then_rests_again() -> None:
    opened = after(*range(5))
    assert opened.door(4 + 29) is Door.OPEN
    assert opened.door(4 + 30) is Door.HALF_OPEN
    again = opened.failed(34, reason="503")
    assert again.door(34 + 29) is Door.OPEN
    assert (again.opened_at, again.failing_since) == (opened.opened_at, 0)


@pytest.mark.parametrize(
    ("wish", "rest_s"),
    [(None, 30), (timedelta(seconds=5), 30), (timedelta(minutes=10), 600), (timedelta(days=9), 3600)],
)
def test_a_receiver_may_ask_for_more_rest_within_bounds(wish: timedelta | None, rest_s: float) -> None:
    assert after(0, 0, 0, 0, 0, wish=wish).rests_until == rest_s


def test_the_first_failure_costs_the_next_notification_nothing() -> None:
    assert after(7).rests_until == 7


@given(st.lists(st.floats(0, 10_000), min_size=1, max_size=80).map(sorted), st.booleans())
def test_however_long_it_lasts_it_is_probed_again(times: list[float], asks: bool) -> None:
    breaker = after(*times, wish=timedelta(days=1) if asks else None)
    most = MAX_RETRY_AFTER.total_seconds() if asks else 30
    assert breaker.rests_until <= times[-1] + most
    assert breaker.door(times[-1] + most) is not Door.OPEN
    assert breaker.is_open == (len(times) >= OPENS_AFTER or times[-1] - times[0] >= OPENS_AFTER_S)
