"""The figures as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from tests.bench.scheduling.score import CURVE, Score, ratio
from tests.bench.scheduling.settings import GATE, POLICIES, Setting

COLOURS: Final = dict(zip(POLICIES, ("#8c8c8c", "#d8a038", "#6f9bd1", "#222222", "#c8102e"), strict=True))


def draw(scores: Mapping[Setting, Mapping[str, Sequence[Score]]], file: Path) -> None:
    """How many messages wait how long at the gate's setting, and the means of all settings side by side."""
    mpl.use("agg")
    figure = Figure(figsize=(14, 6), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    _waits(left, scores[GATE])
    _means(right, scores)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)


def _waits(axes: Any, policies: Mapping[str, Sequence[Score]]) -> None:
    for name, scores in policies.items():
        waits = [fmean(values) for values in zip(*(score.curve for score in scores), strict=True)]
        axes.plot(waits, [1 - part for part in CURVE], color=COLOURS[name], label=name)
    axes.set(
        xscale="log", yscale="log", xlim=(0.05, None), ylim=(1e-3, 1.0),
        xlabel="seconds until the first find", ylabel="part of the messages that wait longer",
        title=f"{GATE}, {len(GATE.seeds)} seeds",
    )  # fmt: skip
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend()


def _means(axes: Any, scores: Mapping[Setting, Mapping[str, Sequence[Score]]]) -> None:
    names = [name for name in next(iter(scores.values())) if name != "round robin"]
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        means = [ratio(policies[name], policies["round robin"]).mean for policies in scores.values()]
        places = [setting + width * place for setting in range(len(scores))]
        axes.bar(places, means, width=width, color=COLOURS[name], label=name)
    axes.axhline(1.0, color=COLOURS["round robin"], label="round robin")
    axes.set_xticks(
        [setting + 0.4 - width / 2 for setting in range(len(scores))],
        [str(s).replace(", ", "\n") for s in scores],
    )
    axes.tick_params(axis="x", labelsize=8)
    axes.set(
        ylabel="mean time to the first find, of round robin", title="the same requests, the same messages"
    )
    axes.legend()
