"""The forecast against the scheduler on a virtual clock, and what must hold whatever the traffic is."""

from __future__ import annotations

from random import Random
from statistics import fmean
from typing import NamedTuple

import pytest

from monitor.schedule.activity import Activity
from monitor.schedule.forecast import WARM_UP_S, Forecast, Part, Reference, forecast
from monitor.schedule.plan import Prediction, predict
from monitor.schedule.traffic import chat
from monitor.schedule.turns import Turns


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(chat(users=150, seconds=2 * WARM_UP_S, seed=4))


def at(per_minute: float, *parts: Part, reference: Reference, min_interval: float = 1.0) -> Forecast:
    return forecast(
        parts or (Part("all", 150),),
        requests_per_minute=per_minute,
        min_interval=min_interval,
        reference=reference,
    )


class Polled(NamedTuple):
    """The second day as the product's scheduler has it, a request every so often."""

    delays: list[float]
    predictions: list[Prediction]  #: one an hour


def polled(reference: Reference, *, per_second: float) -> Polled:
    lists = {str(number): messages for number, messages in enumerate(reference.lists)}
    activities = {uid: Activity(now=0.0) for uid in lists}
    for uid, messages in lists.items():
        for sent, _ in messages:
            if sent < WARM_UP_S:
                activities[uid].saw((0.0,), sent)
    waiting = {uid: [sent for sent, _ in lists[uid] if sent >= WARM_UP_S][::-1] for uid in lists}
    turns = Turns(random=Random(1), min_interval=1.0, rate=per_second)
    turns.add(lists, WARM_UP_S, activities=activities)
    found = Polled([], [])
    for step in range(int(WARM_UP_S * per_second)):
        now = WARM_UP_S + step / per_second
        if step % int(3600 * per_second) == 0:
            loads = turns.loads(now, most=2000, random=Random(1))
            found.predictions.append(predict(loads, per_second=per_second, min_interval=1.0))
        if turn := turns.take(now):
            ages = []
            while waiting[turn.uid] and waiting[turn.uid][-1] <= now:
                ages.append(now - waiting[turn.uid].pop())
            turns.finished(turn.uid, ages=ages, more=False, now=now)
            found.delays.extend(ages)
    return found


def test_it_is_what_the_scheduler_does_within_a_fifth() -> None:
    many = Reference(chat(users=400, seconds=2 * WARM_UP_S, seed=3))
    delays, predictions = polled(many, per_second=400 / 300)
    found = at(60 * 400 / 300, Part("all", 400), reference=many)
    assert found.delays.mean_s == pytest.approx(fmean(delays), rel=0.2)
    assert found.worst_s * 1.05 >= max(delays)
    # The prediction of a running monitor, hour by hour, knows the activity and nothing of the day to come.
    assert 0.65 < fmean(one.mean_s for one in predictions) / fmean(delays) < 1.15


def test_more_requests_are_better_and_always_better_than_taking_turns(reference: Reference) -> None:
    found = [at(per_minute, reference=reference) for per_minute in (30, 60, 120, 240)]
    means = [each.delays.mean_s for each in found]
    assert means == sorted(means, reverse=True)
    for each in found:
        assert each.delays.mean_s < 0.5 * each.round_robin_s
        assert each.first.mean_s < each.delays.mean_s
        assert each.delays.half_s < each.delays.mean_s < each.delays.p95_s < each.delays.p99_s <= each.worst_s
        assert each.share_of_quota == pytest.approx(1.0, rel=0.01)
        assert each.requests_per_minute <= each.share_of_quota * 240 * 1.01


def test_auto_promises_four_rounds(reference: Reference) -> None:
    found = at(150, reference=reference)
    assert found.worst_s == pytest.approx(240.0)
    assert (found.stretch, found.needed_per_minute) == (1.0, 0.0)
    assert found.round_robin_s == pytest.approx(30.0)


def test_weight_and_promise_buy_their_part_something_from_the_others(reference: Reference) -> None:
    plain = at(150, Part("vip", 10), Part("rest", 140), reference=reference)
    found = at(150, Part("vip", 10, 25.0, 60.0), Part("rest", 140), reference=reference)
    before, after = plain.parts, found.parts
    assert after[0].delays.mean_s < 0.6 * before[0].delays.mean_s
    assert before[1].delays.mean_s < after[1].delays.mean_s < 1.4 * before[1].delays.mean_s
    assert after[0].worst_s <= 60.0
    assert after[0].promised_s == 60.0


def test_promises_beyond_the_budget_are_stretched_and_told(reference: Reference) -> None:
    found = at(150, Part("all", 150, 1.0, 30.0), reference=reference)
    assert found.stretch == pytest.approx(4.0)
    assert found.needed_per_minute == pytest.approx(600.0)
    assert found.parts[0].promised_s == found.worst_s == pytest.approx(120.0)


def test_a_budget_beyond_all_need_is_left_over(reference: Reference) -> None:
    found = at(20_000, reference=reference, min_interval=2.0)
    assert found.requests_per_minute == pytest.approx(150 * 30)
    assert found.delays.mean_s == pytest.approx(1.0, rel=0.05)
    assert found.worst_s == pytest.approx(2.0)
    assert found.round_robin_s == pytest.approx(1.0)


def test_the_population_has_as_many_messages_as_is_said() -> None:
    made = Reference.of(per_day=300.0)
    entries = sum(len(messages) for messages in made.lists)
    assert entries / made.trace.users / 2 == pytest.approx(300.0, rel=0.3)


@pytest.mark.parametrize(("lists", "per_minute"), [(0, 10.0), (10, 0.0)])
def test_nothing_is_forecast_from_nothing(reference: Reference, lists: int, per_minute: float) -> None:
    with pytest.raises(ValueError, match="needs"):
        at(per_minute, Part("all", lists), reference=reference)
