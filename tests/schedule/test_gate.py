"""The scheduler finds messages soon for the requests it spends: the short form of the scheduling bench."""

from dataclasses import replace
from itertools import pairwise
from random import Random
from statistics import fmean

import pytest

from tests.bench.scheduling.course import run
from tests.bench.scheduling.ours import Ours
from tests.bench.scheduling.score import Score, measured, ratio
from tests.bench.scheduling.settings import GATE, OUTAGE
from tests.bench.scheduling.table import backlogs, bars, table

pytestmark = pytest.mark.xdist_group("gate")  # all of them look at the same long runs

SEEDS = (21, 22)
SHORT = replace(GATE, begin=32, hours=2, seeds=SEEDS)
POLICIES = ("round robin", "oracle", "ours")

Scores = dict[str, list[Score]]


@pytest.fixture(scope="module")
def scores() -> Scores:
    return {policy: [measured(SHORT, seed, policy) for seed in SEEDS] for policy in POLICIES}


def test_messages_are_found_much_sooner_than_by_round_robin(scores: Scores) -> None:
    # Wider than the bench's bounds, which are for a day of four seeds.
    ours = ratio(scores["ours"], scores["round robin"])
    assert ours.mean <= 0.20
    assert ours.p95 <= 0.30
    assert ours.p99 <= 0.90
    assert ours.list_mean <= 0.35


def test_knowing_the_true_rates_would_hardly_be_better(scores: Scores) -> None:
    ours, oracle = (fmean(score.mean for score in scores[policy]) for policy in ("ours", "oracle"))
    assert ours <= 1.25 * oracle


def test_nobody_is_left_alone_for_longer_than_promised(scores: Scores) -> None:
    assert max(score.worst_gap for score in scores["ours"]) <= 1.05


def test_after_an_outage_the_backlog_is_found_sooner_than_by_round_robin() -> None:
    ours, robin = (
        fmean(measured(OUTAGE, seed, policy).backlog for seed in SEEDS) for policy in ("ours", "round robin")
    )
    assert 0 < ours < robin


def test_the_bench_itself_is_sound(scores: Scores) -> None:
    """Round robin's figures follow from arithmetic: of k lists, read once an interval, one is soon next."""
    for seed, score in zip(SEEDS, scores["round robin"], strict=True):
        course = SHORT.course(seed)
        members = [len(m) for at, m in course.trace.messages if course.counted_from <= at < course.end]
        assert score.messages == len(members)
        assert score.mean == pytest.approx(SHORT.interval * fmean(1 / (k + 1) for k in members), rel=0.1)
        assert score.list_mean == pytest.approx(SHORT.interval / 2, rel=0.1)
        assert score.worst_gap == pytest.approx(0.25, abs=0.01)


def test_the_figures_are_shown(scores: Scores) -> None:
    shown = {GATE: scores}
    for text in (table(shown), bars(shown), backlogs(scores)):
        assert all(policy in text for policy in POLICIES)


def test_requests_keep_to_the_budget() -> None:
    course = replace(SHORT, users=100, interval=5, hours=0.1).course(21)
    starts: list[float] = []

    class Watched(Ours):
        def take(self, now: float) -> int | None:
            user = super().take(now)
            if user is not None:
                starts.append(now)
            return user

    found = run(course, Watched(course, Random(21)))
    assert found.requests == len(starts) > 0.95 * course.per_minute * (starts[-1] - starts[0]) / 60
    most = course.per_minute
    assert all(later >= sooner for sooner, later in pairwise(starts))
    assert all(starts[index + most] - starts[index] > 59.99 for index in range(len(starts) - most))
