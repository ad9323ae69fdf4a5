"""Everybody gets a turn in time, nobody two at once, and whoever is likely to have rows gets more of them."""

import heapq
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from random import Random
from statistics import mean

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from monitor.schedule.activity import Activity
from monitor.schedule.turns import LOOK_EVERY, Lane, Turn, Turns, Wish, backoff

Rows = Callable[[str, float], list[float]]  # the ages of what a poll finds


def nothing(uid: str, now: float) -> list[float]:
    return []


def seated(*uids: str, rate: float = 10.0, min_interval: float = 1.0, seed: int = 1) -> Turns:
    turns = Turns(random=Random(seed), min_interval=min_interval, rate=rate)
    turns.add(uids, now=0.0)
    return turns


def names(count: int) -> list[str]:
    return [f"u{n}" for n in range(count)]


def poll(turns: Turns, now: float, *, more: bool = False) -> Turn:
    turn = turns.take(now)
    assert turn is not None
    turns.finished(turn.uid, ages=(), more=more, now=now)
    return turn


def steady(rates: Mapping[str, float], now: float) -> dict[str, Activity]:
    """Lists of which so many rows a second are expected; measured over a day."""
    activities = {uid: Activity(now=now) for uid in rates}
    for uid, rate in rates.items():
        activities[uid].saw([age / rate for age in range(int(86_400 * rate))], now)
    return activities


def polls(
    turns: Turns,
    *,
    rate: float,
    seconds: float,
    latency: Callable[[], float] = lambda: 0.0,
    rows: Rows = nothing,
    outage: tuple[float, float] = (0.0, 0.0),
) -> Iterator[tuple[float, Turn]]:
    """Spend a request whenever one is granted, and answer it after its latency."""
    answers: list[tuple[float, float, str]] = []
    for request in range(int(seconds * rate)):
        now = request / rate
        while answers and answers[0][0] <= now:
            ended, began, uid = heapq.heappop(answers)
            turns.finished(uid, ages=rows(uid, began), more=False, now=ended)
        if outage[0] <= now < outage[1]:
            continue
        if (turn := turns.take(now)) is not None:
            assert turn.uid not in {uid for _, _, uid in answers}
            heapq.heappush(answers, (now + latency(), now, turn.uid))
            yield now, turn
    for ended, began, uid in sorted(answers):
        turns.finished(uid, ages=rows(uid, began), more=False, now=ended)


def worst_gap(turns: Turns, made: Iterator[tuple[float, Turn]], uids: list[str]) -> float:
    """The longest time from poll to poll, in parts of the list's promise."""
    polled, worst = dict.fromkeys(uids, 0.0), 0.0
    now = 0.0
    for now, turn in made:
        worst = max(worst, (now - polled[turn.uid]) / turns.staleness(turn.uid))
        polled[turn.uid] = now
    return max(worst, *((now - at) / turns.staleness(uid) for uid, at in polled.items()))


# --- one list at a time ----------------------------------------------------------------------------------


def test_a_list_is_left_alone_for_the_shortest_interval() -> None:
    turns = seated("a", min_interval=2.0)
    poll(turns, 0.0)
    assert turns.take(1.99) is None
    assert turns.wait(1.5) == 0.5
    assert poll(turns, 2.0) == Turn("a", Lane.SHARE)


def test_a_list_in_flight_is_not_polled_again_even_if_a_timer_wants_it() -> None:
    turns = seated("a")
    turns.take(0.0)
    turns.expect_by("a", 0.0)
    turns.look_again("a", 0.0)
    assert turns.take(5000.0) is None
    assert turns.wait(5000.0) == math.inf


def test_a_list_that_comes_back_during_its_last_poll_waits_for_its_end() -> None:
    turns = seated("a")
    turns.take(0.0)
    turns.remove("a")
    turns.add(["a"], now=0.0)
    assert turns.take(5.0) is None
    turns.finished("a", ages=(), more=False, now=6.0)
    assert turns.take(7.0) == Turn("a", Lane.SHARE)


def test_a_removed_list_never_comes_back() -> None:
    turns = seated("a", "b")
    turns.take(0.0)
    turns.remove("a")
    turns.remove("b")
    turns.finished("a", ages=(), more=True, now=0.0)
    turns.failed("b", retry_in=1.0, now=0.0)
    turns.expect_by("a", 1.0)
    turns.look_again("b", 1.0)
    assert turns.take(1e9) is None
    assert len(turns) == 0


def test_a_failing_list_waits_as_told_timers_or_not_and_keeps_its_place() -> None:
    turns = seated("a", "b", rate=1.0)
    failed = turns.take(0.0)
    assert failed
    turns.expect_by(failed.uid, 1.0)
    turns.failed(failed.uid, retry_in=30.0, now=0.0)
    others = {poll(turns, float(now)).uid for now in range(1, 30)}
    assert failed.uid not in others
    assert poll(turns, 30.0).uid == failed.uid


def test_a_failure_without_a_turn_is_nobodys() -> None:
    turns = seated("a")
    turns.failed("a", retry_in=100.0, now=0.0)
    assert poll(turns, 0.0).uid == "a"


def test_a_list_that_failed_goes_on_catching_up() -> None:
    turns = seated(*names(100), rate=1.0)
    behind = poll(turns, 0.0, more=True).uid
    while (turn := turns.take(0.0)) and turn.lane is not Lane.CATCH_UP:
        turns.finished(turn.uid, ages=(), more=False, now=0.0)
    turns.failed(behind, retry_in=2.0, now=0.0)
    assert Turn(behind, Lane.CATCH_UP) in [poll(turns, 2.0 + n) for n in range(4)]


# --- timers ----------------------------------------------------------------------------------------------


def test_a_timer_whose_poll_failed_has_its_list_polled_when_its_rest_is_over() -> None:
    turns = seated(*names(1000), rate=10.0)
    for _ in polls(turns, rate=10.0, seconds=100.0):
        pass
    turns.expect_by("u7", 100.0)
    while (turn := turns.take(100.0)) and turn != Turn("u7", Lane.DEADLINE):
        turns.finished(turn.uid, ages=(), more=False, now=100.0)
    turns.failed("u7", retry_in=2.0, now=100.0)
    assert "u7" not in {poll(turns, 100.1 + n / 10).uid for n in range(18)}
    assert "u7" in {poll(turns, 102.0 + n / 10).uid for n in range(4)}


def test_a_timer_has_its_list_polled_at_its_moment() -> None:
    turns = seated(*names(1000), rate=10.0)
    for _ in polls(turns, rate=10.0, seconds=100.0):
        pass
    turns.expect_by("u7", 107.0)
    before = [poll(turns, 100.0 + n / 10) for n in range(70)]
    assert Turn("u7", Lane.DEADLINE) not in before
    assert Turn("u7", Lane.DEADLINE) in [poll(turns, 107.0 + n / 10) for n in range(4)]
    assert Turn("u7", Lane.DEADLINE) not in [poll(turns, 107.4 + n / 10) for n in range(100)]


def test_a_timer_that_was_withdrawn_has_nobody_polled() -> None:
    turns = seated(*names(1000), rate=10.0)
    for _ in polls(turns, rate=10.0, seconds=100.0):
        pass
    turns.expect_by("u7", 101.0)
    turns.expect_by("u7", math.inf)
    assert {poll(turns, 101.0 + n / 10).lane for n in range(50)} == {Lane.SHARE}


# --- lanes -----------------------------------------------------------------------------------------------


def test_catching_up_takes_every_second_turn_while_others_wait() -> None:
    turns = seated("a", "b", "c", min_interval=0.001, rate=0.01)
    first = turns.take(0.0)
    assert first
    turns.finished(first.uid, ages=(), more=True, now=0.0)
    lanes = []
    for now in range(1, 41):
        turn = turns.take(float(now))
        assert turn is not None
        lanes.append(turn.catch_up)
        turns.finished(turn.uid, ages=(), more=turn.uid == first.uid, now=float(now))
    assert lanes.count(True) == 20


def test_catching_up_uses_every_turn_when_nobody_else_waits() -> None:
    turns = seated("a", min_interval=1000.0)
    turns.take(0.0)
    turns.finished("a", ages=(), more=True, now=0.0)
    for _ in range(5):
        assert poll(turns, 0.0, more=True) == Turn("a", Lane.CATCH_UP)


def test_with_every_lane_full_deadlines_get_half_and_nobody_starves() -> None:
    turns = seated(*names(400), rate=1.0, min_interval=0.0)
    for _ in range(100):
        turn = turns.take(0.0)
        assert turn is not None
        turns.finished(turn.uid, ages=(), more=True, now=0.0)
    lanes = Counter(turn.lane for turn in (poll(turns, 1e6, more=n % 4 == 3) for n in range(200)))
    assert lanes == {Lane.DEADLINE: 100, Lane.CATCH_UP: 50, Lane.SHARE: 50}


def test_a_second_look_is_every_20th_request_at_most_and_leaves_the_rest_as_it_was() -> None:
    turns = seated(*names(50), rate=10.0, min_interval=0.1)
    for uid in names(50):
        turns.look_again(uid, 5.0)
    made = [turn for _, turn in polls(turns, rate=10.0, seconds=120.0)]
    looks = [place for place, turn in enumerate(made) if turn.lane is Lane.SECOND_LOOK]
    assert len(looks) == 50
    assert looks[0] >= 50
    assert min(later - earlier for earlier, later in pairwise(looks)) >= LOOK_EVERY
    assert len({made[place].uid for place in looks}) == 50


def test_how_late_looks_are_is_told_by_the_one_that_waits_longest() -> None:
    turns = seated("a", "b", min_interval=0.0)
    assert turns.looks_late(100.0) == 0.0
    turns.look_again("a", 40.0)
    turns.look_again("b", 70.0)
    assert [turns.looks_late(now) for now in (30.0, 60.0, 100.0)] == [0.0, 20.0, 60.0]
    turns.look_again("a", math.inf)
    assert turns.looks_late(100.0) == 30.0


def test_a_look_that_failed_is_still_due() -> None:
    turns = seated("a", min_interval=0.0)
    turns.look_again("a", 0.0)
    now = 0.0
    while (turn := turns.take(now)) and turn.lane is not Lane.SECOND_LOOK:
        turns.finished("a", ages=(), more=False, now=now)
        now += 1.0
    turns.failed("a", retry_in=1.0, now=now)
    lanes = [poll(turns, now + 1.0 + n).lane for n in range(2 * LOOK_EVERY)]
    assert lanes.count(Lane.SECOND_LOOK) == 1


# --- shares ----------------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.sampled_from([0.001, 0.004, 0.016]), min_size=20, max_size=20))
def test_shares_go_by_the_square_root_of_what_is_expected(seed: int, rates: list[float]) -> None:
    expected = dict(zip(names(20), rates, strict=True))
    weights = {uid: Wish(weight=4.0, max_staleness=1e6) for uid in names(10)}
    wishes = {uid: Wish(max_staleness=1e6) for uid in names(20)} | weights
    turns = Turns(random=Random(seed), min_interval=0.0, rate=20.0)
    activities = steady(expected, 0.0)
    turns.add(names(20), 0.0, wishes=wishes, activities=activities)
    right = {uid: math.sqrt(wishes[uid].weight * activities[uid].rate(50.0)) for uid in names(20)}
    counts = Counter(turn.uid for _, turn in polls(turns, rate=20.0, seconds=100.0))
    for uid in names(20):
        share = counts[uid] / counts.total()
        assert share == pytest.approx(right[uid] / sum(right.values()), rel=0.15, abs=0.004)


def test_a_weight_changed_by_a_reload_counts_at_once() -> None:
    turns = seated(*names(200), rate=10.0, min_interval=0.1)
    for _ in polls(turns, rate=10.0, seconds=30.0):
        pass
    turns.wish("u3", Wish(weight=10_000.0, max_staleness=50.0), 30.0)
    assert turns.staleness("u3") == 50.0
    uids = [poll(turns, 30.0 + n / 10).uid for n in range(100)]
    assert uids.count("u3") > 20


def test_whoever_speaks_is_polled_more_often_from_then_on() -> None:
    turns = seated(*names(100), rate=10.0, min_interval=0.5)

    def speaks(uid: str, now: float) -> list[float]:
        return [1.0] if uid == "u3" and now > 60 else []

    counts = Counter(turn.uid for _, turn in polls(turns, rate=10.0, seconds=120.0, rows=speaks))
    assert counts["u3"] > 5 * mean(counts.values())


def test_quiet_lists_dont_move_in_lock_step() -> None:
    """Without a random first phase their keys are one number, and others wait behind whole sweeps."""
    longest = []
    for seed in range(3):
        turns = Turns(random=Random(seed), min_interval=0.1, rate=10.0)
        turns.add(["busy", *names(500)], 0.0, activities=steady({"busy": 0.05}, 0.0))
        made = polls(turns, rate=10.0, seconds=200.0)
        times = [now for now, turn in made if turn.uid == "busy"]
        longest.append(max(later - now for now, later in pairwise([0.0, *times])))
    assert max(longest) < 5.0  # a sweep takes 50 s


# --- promises --------------------------------------------------------------------------------------------

MIXES = st.sampled_from(["auto", "half", "fast and slow", "three"])


def wishes_of(mix: str, uids: list[str], rate: float) -> dict[str, Wish]:
    """Promises that take half of the rate together, or that leave them to `auto`."""
    few, many = uids[: len(uids) // 10], uids[len(uids) // 10 :]
    match mix:
        case "half":
            return {uid: Wish(max_staleness=2 * len(uids) / rate) for uid in uids}
        case "fast and slow":
            quick = Wish(max_staleness=4 * len(few) / rate)
            slow = Wish(max_staleness=4 * len(many) / rate)
            return dict.fromkeys(few, quick) | dict.fromkeys(many, slow)
        case "three":
            vip = Wish(weight=25.0, max_staleness=8 * len(few) / rate)
            return dict.fromkeys(few, vip) | {many[0]: Wish(max_staleness=120 / rate)}
    return {}


@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    mix=MIXES,
    users=st.integers(250, 400),
    rate=st.floats(0.5, 20),
    loud=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    slowest=st.floats(0, 3),
    seed=st.integers(0, 10_000),
)
def test_no_gap_is_longer_than_promised(
    *, mix: str, users: int, rate: float, loud: float, slowest: float, seed: int
) -> None:
    """Under any traffic and latency, as long as the budget is granted."""
    uids, random = names(users), Random(seed)
    turns = Turns(random=random, min_interval=0.1 / rate, rate=rate)
    turns.add(uids, 0.0, wishes=wishes_of(mix, uids, rate))
    assert turns.stretch == 1.0
    talkers = set(random.sample(uids, int(loud * users)))

    # Once all have been polled in one go, so that their deadlines come together, some want every request.
    def storm(uid: str, now: float) -> list[float]:
        return [0.1] * 50 if uid in talkers and now * rate > users else []

    def latency() -> float:
        return random.random() * slowest / rate

    made = polls(turns, rate=rate, seconds=10 * users / rate, rows=storm, latency=latency)
    assert worst_gap(turns, made, uids) <= 1.05


def test_a_promise_that_cant_be_kept_stretches_all_alike_and_aloud() -> None:
    turns = Turns(random=Random(1), min_interval=0.1, rate=10.0)
    uids = names(600)
    turns.add(uids, 0.0, wishes=dict.fromkeys(uids, Wish(max_staleness=60.0)))
    assert turns.stretch == pytest.approx(2.0)
    assert turns.staleness("u0") == pytest.approx(120.0)
    assert worst_gap(turns, polls(turns, rate=10.0, seconds=600.0), uids) <= 1.05
    turns.resize(20.0)
    assert (turns.stretch, turns.staleness("u0")) == (1.0, 60.0)


def test_a_budget_that_shrinks_and_grows_takes_the_promises_along() -> None:
    turns = seated(*names(100), rate=10.0)
    assert turns.staleness("u0") == pytest.approx(40.0)
    turns.resize(1.0)
    assert turns.staleness("u0") == pytest.approx(400.0)
    for uid in names(50):
        turns.remove(uid)
    assert turns.staleness("u99") == pytest.approx(200.0)


def test_who_waits_longer_than_promised_is_counted() -> None:
    turns = seated(*names(100), rate=10.0)
    for _ in polls(turns, rate=10.0, seconds=60.0):
        pass
    assert turns.overdue(60.0) == 0
    assert turns.overdue(1000.0) == 100
    for n in range(30):
        poll(turns, 1000.0 + n / 10)
    assert turns.overdue(1003.0) == 70


def test_after_an_outage_the_busiest_lists_come_first() -> None:
    turns = Turns(random=Random(3), min_interval=0.1, rate=10.0)
    uids = names(600)
    busy = uids[:20]
    turns.add(uids, 0.0, activities=steady(dict.fromkeys(busy, 0.02), 0.0))
    seen: dict[str, float] = {}
    for now, turn in polls(turns, rate=10.0, seconds=2100.0, outage=(120.0, 1920.0)):
        if now >= 1920.0:
            seen.setdefault(turn.uid, now - 1920.0)
    assert len(seen) == 600
    assert mean(seen[uid] for uid in busy) < mean(seen.values()) / 4
    assert max(seen.values()) < 125.0  # all are overdue, and every second request is theirs


def test_after_an_outage_long_promises_dont_hold_up_short_ones() -> None:
    uids, vips = names(610), set(names(10))
    turns = Turns(random=Random(3), min_interval=0.1, rate=10.0)
    turns.add(uids, 0.0, wishes=dict.fromkeys(vips, Wish(max_staleness=30.0)))
    polled: dict[str, float] = {}
    worst = 0.0
    for now, turn in polls(turns, rate=10.0, seconds=2100.0, outage=(120.0, 1920.0)):
        if turn.uid in vips and now >= 1920.0:
            worst = max(worst, now - polled.get(turn.uid, 1920.0))
            polled[turn.uid] = now
    assert polled.keys() == vips
    assert worst <= 1.05 * 30.0


def test_new_lists_are_read_soon_though_the_rest_is_quiet() -> None:
    turns = seated(*names(1000), rate=10.0)
    for _ in polls(turns, rate=10.0, seconds=200.0):
        pass
    turns.add(["late"], 200.0)
    assert "late" in [poll(turns, 200.0 + n / 10).uid for n in range(10)]


# --- cost ------------------------------------------------------------------------------------------------


def test_wishes_must_make_sense() -> None:
    with pytest.raises(ValueError, match="weight"):
        Wish(weight=0.0)
    with pytest.raises(ValueError, match="promise"):
        Wish(max_staleness=0.0)
    with pytest.raises(ValueError, match="rate"):
        Turns(random=Random(1), min_interval=1.0, rate=0.0)


def test_the_prediction_gets_a_sample_of_the_lists() -> None:
    turns = Turns(random=Random(1), min_interval=1.0, rate=10.0)
    turns.add(names(100), 0.0, wishes={"u1": Wish(weight=3.0, max_staleness=77.0)})
    everybody = turns.loads(0.0, most=100, random=Random(1))
    assert [load for load in everybody if load.weight == 3.0] == [(everybody[1].rate, 3.0, 77.0)]
    assert len(turns.loads(0.0, most=10, random=Random(1))) == 10


def test_a_decision_costs_nearly_the_same_however_many_lists() -> None:
    def seconds_each(users: int) -> float:
        turns = seated(*names(users), rate=users / 60, min_interval=0.001)
        clock = iter(range(10**9))
        for _ in range(500):
            poll(turns, next(clock) * 60 / users)
        fastest = math.inf
        for _ in range(5):
            began = time.process_time()
            for _ in range(400):
                poll(turns, next(clock) * 60 / users)
            fastest = min(fastest, time.process_time() - began)
        return fastest

    assert seconds_each(50_000) <= 4 * seconds_each(1_000)


def test_heaps_hold_no_more_than_twice_the_lists() -> None:
    turns = seated(*names(50), rate=10.0, min_interval=0.1)
    for now, turn in polls(turns, rate=10.0, seconds=500.0):
        turns.expect_by(turn.uid, now + 1.0)
        turns.look_again(f"u{int(now) % 50}", now + 100.0)
    agendas = [turns._competing, turns._resting, turns._looks, turns._deadlines._moments]
    agendas += [group.waiting for group in turns._deadlines._groups.values()]
    assert max(agenda.size for agenda in agendas) <= 2 * 50 + 65


@given(st.integers(1, 60), st.integers(0, 1000))
def test_backoff_doubles_within_its_bounds(failures: int, seed: int) -> None:
    wait = backoff(failures, random=Random(seed))
    ceiling = min(300.0, 2.0 * 2 ** (failures - 1))
    assert ceiling / 2 <= wait <= ceiling
