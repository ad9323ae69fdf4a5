"""The reference population behaves as chat does, and the same seed gives the same trace."""

from itertools import pairwise
from statistics import fmean, median

import pytest

from monitor.schedule.traffic import DAY_S, HOURS, ZONES, chat


def test_the_same_arguments_give_the_same_trace() -> None:
    first, again = (chat(users=50, seconds=7200, seed=3) for _ in range(2))
    assert first == again
    assert first != chat(users=50, seconds=7200, seed=4)


def test_messages_are_in_order_inside_the_time_and_between_people_there_are() -> None:
    trace = chat(users=200, seconds=DAY_S, seed=1)
    assert all(sooner[0] <= later[0] for sooner, later in pairwise(trace.messages))
    for at, members in trace.messages:
        assert 0 <= at < trace.seconds
        assert len(set(members)) == len(members) >= 2
        assert set(members) <= set(range(200))


def test_lists_hold_every_message_once_for_each_of_its_members() -> None:
    trace = chat(users=100, seconds=DAY_S, seed=2)
    lists = trace.lists()
    assert len(lists) == 100
    assert sum(map(len, lists)) == sum(len(members) for _, members in trace.messages)
    assert all(each == sorted(each) for each in lists)


@pytest.mark.parametrize("per_day", [3.0, 30.0])
def test_the_average_list_is_as_busy_as_asked_and_the_median_much_less(per_day: float) -> None:
    days = 2
    counts = [
        len(each) / days
        for seed in range(4)
        for each in chat(users=1000, seconds=days * DAY_S, seed=seed, per_day=per_day).lists()
    ]
    assert fmean(counts) == pytest.approx(per_day, rel=0.15)
    assert median(counts) < per_day / 5


def test_messages_come_in_bursts() -> None:
    trace = chat(users=1000, seconds=DAY_S, seed=1)
    gaps = [later - sooner for each in trace.lists() for sooner, later in pairwise(each)]
    lone = fmean(gaps)
    # Of a Poisson stream 5% of the gaps are shorter than a twentieth of the mean.
    assert sum(gap < lone / 20 for gap in gaps) / len(gaps) > 0.4


def test_nights_are_quiet() -> None:
    hours = [0] * 24
    for at, _ in chat(users=3000, seconds=DAY_S, seed=5).messages:
        hours[int(at // 3600)] += 1
    expected = [sum(share * HOURS[int(hour + ahead) % 24] for share, ahead in ZONES) for hour in range(24)]
    quiet, busy = expected.index(min(expected)), expected.index(max(expected))
    assert hours[busy] > 1.5 * hours[quiet]


def test_one_person_has_nobody_to_talk_to() -> None:
    with pytest.raises(ValueError, match="at least 2 users, not 1"):
        chat(users=1, seconds=60, seed=1)
    assert chat(users=2, seconds=DAY_S, seed=1).users == 2
