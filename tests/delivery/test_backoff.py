"""When to try again: 27 hours of retries, jitter, and what receivers ask for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.delivery.backoff import (
    MAX_RETRY_AFTER,
    MIN_RETRY_AFTER,
    SCHEDULE,
    Pace,
    next_attempt,
    parse_retry_after,
    pause,
)

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
STEADY = 0.5  # the random number that leaves a delay as it is


def test_a_notification_is_retried_for_27_hours() -> None:
    at, attempt = NOW, 1
    while (due := next_attempt(attempt, None, at, STEADY)) is not None:
        at, attempt = due, attempt + 1
    assert timedelta(hours=27) <= at - NOW <= timedelta(hours=27, minutes=15)
    assert attempt == len(SCHEDULE) + 1


def test_attempts_are_never_more_than_36_minutes_apart() -> None:
    assert max(SCHEDULE) * 1.2 == timedelta(minutes=36)


@given(st.integers(1, len(SCHEDULE)), st.floats(0, 1, exclude_max=True))
def test_jitter_stays_within_a_fifth(attempt: int, rand: float) -> None:
    due = next_attempt(attempt, None, NOW, rand)
    assert due is not None
    assert 0.8 * SCHEDULE[attempt - 1] <= due - NOW <= 1.2 * SCHEDULE[attempt - 1]


@pytest.mark.parametrize(
    ("attempt", "retry_after", "delay"),
    [
        (1, timedelta(seconds=30), timedelta(seconds=30)),
        (1, timedelta(seconds=2), timedelta(seconds=5)),  # never sooner than the schedule
        (1, timedelta(days=3), timedelta(hours=1)),
        (1, timedelta(0), timedelta(seconds=5)),
        (20, timedelta(hours=1), timedelta(hours=1)),
    ],
)
def test_retry_after_lengthens_the_delay_within_bounds(
    attempt: int, retry_after: timedelta, delay: timedelta
) -> None:
    assert next_attempt(attempt, retry_after, NOW, STEADY) == NOW + delay


@pytest.mark.parametrize(
    ("header", "after"),
    [
        ("30", timedelta(seconds=30)),
        (" 2.5 ", timedelta(seconds=2.5)),
        ("0", MIN_RETRY_AFTER),
        ("86400", MAX_RETRY_AFTER),
        ("9" * 400, MAX_RETRY_AFTER),
        (format_datetime(NOW + timedelta(minutes=2), usegmt=True), timedelta(minutes=2)),
        (format_datetime(NOW - timedelta(minutes=2), usegmt=True), MIN_RETRY_AFTER),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
        ("Sun, 22 Nov 2026 08:01:00", timedelta(minutes=1)),
        ("Sun, 22 Nov 2026 08:01:00 -0000", timedelta(minutes=1)),
        ("-5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("٣", None),
        ("inf", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(header: str | None, after: timedelta | None) -> None:
    assert parse_retry_after(header, NOW) == after


@given(st.text(max_size=60))
def test_no_retry_after_header_does_harm(header: str) -> None:
    after = parse_retry_after(header, NOW)
    assert after is None or MIN_RETRY_AFTER <= after <= MAX_RETRY_AFTER


def test_one_failure_stops_nobody_and_an_outage_leaves_two_probes_a_minute() -> None:
    assert pause(1) == timedelta(0)
    assert [pause(n).total_seconds() for n in range(7)] == sorted(pause(n).total_seconds() for n in range(7))
    assert pause(5) == pause(1000) == timedelta(seconds=30)


@given(
    per_s=st.floats(0.01, 100),
    burst=st.integers(1, 10),
    pauses=st.lists(st.floats(0, 5), min_size=1, max_size=60),
)
def test_a_pace_is_never_exceeded_in_any_window(per_s: float, burst: int, pauses: list[float]) -> None:
    pace, now, sent = Pace(per_s=per_s, burst=burst), 0.0, list[float]()
    for idle in pauses:
        now += idle
        now += pace.wait(now)
        pace = pace.taken(now)
        sent.append(now)
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            allowed = burst + per_s * (sent[last] - sent[first])
            assert last - first + 1 <= allowed + 1e-6


def test_an_idle_receiver_is_sent_to_at_once() -> None:
    assert Pace(per_s=1).wait(100.0) == 0
