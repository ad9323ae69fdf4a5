"""All settings, policies and seeds, on all processors; then the table, the plots and the gates."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Final

import trio

from tests.bench.figures import Figure
from tests.bench.scheduling.score import Score, measured, ratio
from tests.bench.scheduling.settings import GATE, OUTAGE, POLICIES, SETTINGS, Setting
from tests.bench.scheduling.table import backlogs, bars, table

PLOTS: Final = Path("build")
PNG: Final = "scheduling.png"
Scores = Mapping[Setting, Mapping[str, Sequence[Score]]]


async def measure(runs: int, folder: Path, *, plots: Path = PLOTS) -> list[Figure]:
    """Seeds are constants, so a second run would show the same; the picture goes into `plots`."""
    scores = await trio.to_thread.run_sync(partial(_measured, (*SETTINGS, OUTAGE)))
    shown = {setting: scores[setting] for setting in SETTINGS}
    for part in (table(shown), bars(shown), backlogs(scores[OUTAGE])):
        print(part, flush=True)
    await trio.to_thread.run_sync(_draw, shown, plots / PNG)
    return [*gates(scores[GATE]), promise(shown), backlog(scores[OUTAGE])]


def gates(scores: Mapping[str, Sequence[Score]]) -> list[Figure]:
    """What ours must reach at 60 s with 1,000 users, in the mean of the seeds."""
    to_robin = ratio(scores["ours"], scores["round robin"])
    to_oracle = fmean(score.mean for score in scores["ours"]) / fmean(
        score.mean for score in scores["oracle"]
    )
    about = f"of round robin's; {GATE}, {len(GATE.seeds)} seeds; aim"
    return [
        _figure("mean", to_robin.mean, f"{about} 0.12", at_most=0.17),
        _figure("p95", to_robin.p95, f"{about} 0.18", at_most=0.25),
        _figure("p99", to_robin.p99, f"{about} 0.45", at_most=0.60),
        _figure("mean / oracle", to_oracle, "the oracle knows the true rates; aim 1", at_most=1.15),
    ]


def promise(scores: Scores) -> Figure:
    gaps = [score.worst_gap for policies in scores.values() for score in policies["ours"]]
    about = "longest gap of any user in any setting, of the promise"
    return _figure("worst gap", max(gaps), about, at_most=1.05)


def backlog(scores: Mapping[str, Sequence[Score]]) -> Figure:
    ours, robins = (fmean(score.backlog for score in scores[name]) for name in ("ours", "round robin"))
    about = f"mean wait after an outage of {OUTAGE.outage_hours * 60:.0f} min, of round robin; {OUTAGE}"
    return _figure("backlog", ours / robins, about, at_most=1.0)


def _figure(name: str, value: float, about: str, *, at_most: float) -> Figure:
    return Figure(name=f"scheduling, {name}", unit="×", values=[value], about=about, at_most=at_most)


def _measured(settings: Sequence[Setting]) -> dict[Setting, dict[str, list[Score]]]:
    """The long ones first, so that the processors finish together."""
    tasks = [(setting, seed, policy) for setting in settings for seed in setting.seeds for policy in POLICIES]
    tasks.sort(key=lambda task: task[0].requests, reverse=True)
    scores: dict[Setting, dict[str, list[Score]]] = defaultdict(lambda: defaultdict(list))
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        results = pool.map(measured, *zip(*tasks, strict=True))
        for (setting, seed, policy), score in zip(tasks, results, strict=True):
            scores[setting][policy].append(score)
            print(f"measured: {policy}, {setting}, seed {seed}", file=sys.stderr, flush=True)
    return scores


def _draw(scores: Scores, file: Path) -> None:
    from tests.bench.scheduling.picture import (
        draw,
    )  # the library takes long to import and isn't always wanted

    draw(scores, file)
    print(f"\ndrawn: {file}", flush=True)
