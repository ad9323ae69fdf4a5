"""Everybody gets a turn, nobody two at once, and catching up never starves the rest."""

import math
from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from monitor.schedule.turns import EvenIntervals, Turn, Turns, backoff


def seated(*uids: str, per_minute: int = 600, min_interval: float = 1.0) -> Turns:
    turns = Turns(policy=EvenIntervals(min_interval=min_interval, per_minute=per_minute), random=Random(1))
    turns.add(uids, now=0.0)
    return turns


def test_the_first_user_is_due_at_once_and_the_rest_are_spread() -> None:
    turns = seated("a", "b", "c", "d", per_minute=60)
    started: list[float] = []
    now = 0.0
    while len(started) < 4:
        now += turns.wait(now)
        if turns.take(now):
            started.append(now)
    assert started == [0.0, 1.0, 2.0, 3.0]


def test_a_user_in_flight_is_not_polled_again_even_if_a_timer_wants_it() -> None:
    turns = seated("a")
    assert turns.take(0.0) == Turn("a", catch_up=False)
    turns.expect_by("a", 0.0)
    assert turns.take(5.0) is None
    assert turns.wait(5.0) == math.inf


def test_a_timer_brings_the_poll_forward() -> None:
    turns = seated("a", min_interval=100.0)
    turns.take(0.0)
    turns.finished("a", found=0, more=False, now=1.0)
    turns.expect_by("a", 7.0)
    assert turns.wait(1.0) == 6.0
    assert turns.take(7.0) == Turn("a", catch_up=False)


def test_catching_up_takes_every_second_turn_while_others_are_due() -> None:
    turns = seated("a", "b", "c", min_interval=0.001, per_minute=10**9)
    assert turns.take(1.0)
    uid = "a"
    while (turn := turns.take(1.0)) is not None and turn.uid != uid:
        turns.finished(turn.uid, found=0, more=False, now=1.0)
    for user in ("a", "b", "c"):
        turns.finished(user, found=0, more=user == uid, now=1.0)
    kinds = []
    for now in range(2, 42):
        turn = turns.take(float(now))
        assert turn is not None
        kinds.append(turn.catch_up)
        turns.finished(turn.uid, found=0, more=turn.uid == uid, now=float(now))
    assert kinds.count(True) == 20


def test_catching_up_uses_every_turn_when_nobody_else_is_due() -> None:
    turns = seated("a", min_interval=1000.0)
    turns.take(0.0)
    turns.finished("a", found=100, more=True, now=0.0)
    for _ in range(5):
        assert turns.take(0.0) == Turn("a", catch_up=True)
        turns.finished("a", found=100, more=True, now=0.0)


def test_a_removed_user_never_comes_back() -> None:
    turns = seated("a", "b")
    turns.take(0.0)
    turns.remove("a")
    turns.remove("b")
    turns.finished("a", found=0, more=True, now=0.0)
    assert turns.take(1e9) is None


def test_a_failing_user_waits_as_told_timers_or_not() -> None:
    turns = seated("a")
    turns.take(0.0)
    turns.expect_by("a", 1.0)
    turns.failed("a", retry_in=30.0, now=0.0)
    assert turns.wait(0.0) == 30.0


@given(st.integers(2, 40), st.integers(1, 10_000))
def test_everybody_gets_the_same_number_of_turns(users: int, seed: int) -> None:
    turns = Turns(policy=EvenIntervals(min_interval=0.1, per_minute=600), random=Random(seed))
    turns.add([f"u{n}" for n in range(users)], now=0.0)
    polled: Counter[str] = Counter()
    now = 0.0
    for _ in range(users * 20):
        now += max(0.1, turns.wait(now))
        turn = turns.take(now)
        assert turn is not None
        polled[turn.uid] += 1
        turns.finished(turn.uid, found=0, more=False, now=now)
    assert max(polled.values()) - min(polled.values()) <= 2


@given(st.integers(1, 60), st.integers(0, 1000))
def test_backoff_doubles_within_its_bounds(failures: int, seed: int) -> None:
    wait = backoff(failures, random=Random(seed))
    ceiling = min(300.0, 2.0 * 2 ** (failures - 1))
    assert ceiling / 2 <= wait <= ceiling
