"""What a run comes to in figures, and how one policy's compare with another's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean
from typing import Final

from tests.bench.figures import quantile
from tests.bench.scheduling.baselines import PROMISE
from tests.bench.scheduling.course import run
from tests.bench.scheduling.settings import POLICIES, Setting

CURVE: Final = tuple(1 - 10 ** (-step / 20) for step in range(71))  # parts of all delays: to all but 0.03%


@dataclass(frozen=True, slots=True)
class Score:
    """Delays in seconds; see the table's legend for what each figure is."""

    messages: int
    mean: float
    p95: float
    p99: float
    worst: float
    list_mean: float
    list_p95: float
    worst_gap: float  # over the promise of four intervals
    backlog: float  # mean wait after the end of the outage
    empty: float  # part of the requests
    decision_us: float  # of CPU a request, the clockwork of the bench included
    curve: tuple[float, ...]  # the quantiles CURVE


@dataclass(frozen=True, slots=True)
class Ratio:
    """Of one policy's figures to another's, averaged over the seeds."""

    mean: float
    p95: float
    p99: float
    list_mean: float


def measured(setting: Setting, seed: int, policy: str) -> Score:
    """One policy on one trace."""
    course = setting.course(seed)
    began = time.process_time()
    found = run(course, POLICIES[policy](course, Random(seed)))
    took = time.process_time() - began
    first, entries = sorted(found.first), sorted(found.entries)
    return Score(
        messages=len(first),
        mean=fmean(first),
        p95=quantile(first, 0.95),
        p99=quantile(first, 0.99),
        worst=first[-1],
        list_mean=fmean(entries),
        list_p95=quantile(entries, 0.95),
        worst_gap=max(found.gaps) / (PROMISE * course.interval),
        backlog=fmean(found.waited) if found.waited else 0.0,
        empty=found.empty / found.requests,
        decision_us=1e6 * took / found.requests,
        curve=tuple(quantile(first, part) for part in CURVE),
    )


def ratio(scores: Sequence[Score], bases: Sequence[Score]) -> Ratio:
    """Seed by seed, then the mean."""
    pairs = list(zip(scores, bases, strict=True))
    return Ratio(
        mean=fmean(score.mean / base.mean for score, base in pairs),
        p95=fmean(score.p95 / base.p95 for score, base in pairs),
        p99=fmean(score.p99 / base.p99 for score, base in pairs),
        list_mean=fmean(score.list_mean / base.list_mean for score, base in pairs),
    )
