"""`python -m tests.bench [NAME ...] [--runs N]`: exit code 1 if a target was missed."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from platform import python_version
from tempfile import TemporaryDirectory
from typing import Final

import trio

from tests.bench import connections, crowd, drain, idle, kinds, latency, rules, scheduling, start
from tests.bench.figures import HEADER, Figure

Bench = Callable[[int, Path], Awaitable[list[Figure]]]
BENCHES: Final[Mapping[str, Bench]] = {
    "rules": rules.measure,
    "kinds": kinds.measure,
    "drain": drain.measure,
    "latency": latency.measure,
    "connections": connections.measure,
    "crowd": crowd.measure,
    "idle": idle.measure,
    "start": start.measure,
    "scheduling": scheduling.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure the monitor.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; all without")
    parser.add_argument("--runs", type=int, default=3, help="of each; min, median and max are shown")
    parser.add_argument("--plots", type=Path, default=scheduling.PLOTS, help="the folder for pictures")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.names) - set(BENCHES)):
        parser.error(f"there is no bench {unknown[0]}; known: {', '.join(BENCHES)}")
    benches: dict[str, Bench] = {**BENCHES, "scheduling": partial(scheduling.measure, plots=asked.plots)}
    say(f"Python {python_version()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}\n{HEADER}")
    missed = False
    for name in asked.names or BENCHES:
        with TemporaryDirectory(prefix=f"cometwatch-bench-{name}-") as folder:
            for figure in trio.run(benches[name], asked.runs, Path(folder)):
                say(str(figure))
                missed = missed or not figure.is_met
    return 1 if missed else 0


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
