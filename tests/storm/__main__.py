"""`python -m tests.storm [--alerts 10000] [--scene NAME]`: exit code 1 if anything was lost or people got
more than a handful of messages."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from time import perf_counter
from typing import Final

import structlog

from tests.storm.campaign import Result, Told, run
from tests.storm.scene import Scene

ALERTS: Final = 10_000
COSTS: Final = {
    "Stage._step": "a page or its ticks judged and stored",
    "Deliverer._claim": "a claim",
    "Deliverer._accept": "a delivery settled",
    "transaction": "a transaction, with its commit",
    "a round of duties": "a round of duties",
}


def scenes(alerts: int) -> tuple[Scene, ...]:
    """A storm of rules that are new, one of rules with a past, and half as much while nobody can be told."""
    return (
        Scene(name="storm", alerts=alerts, over_s=60),
        Scene(name="surge", alerts=alerts, over_s=60, is_known=True),
        Scene(name="outage", alerts=alerts // 2, over_s=7200, outage_s=7200, still=10, most_messages=30),
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--alerts", type=int, default=ALERTS, help="found in one minute")
    parser.add_argument("--scene", choices=[scene.name for scene in scenes(1)], help="this one alone")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    is_good = True
    for scene in scenes(asked.alerts):
        if asked.scene in (None, scene.name):
            began = perf_counter()
            result = run(scene)
            print(told(result), f"({perf_counter() - began:.0f} s)\n", flush=True)
            is_good &= not result.wrong
    return 0 if is_good else 1


def told(result: Result) -> str:
    """The result as lines for a person."""
    return "\n".join(_lines(result))


def _lines(result: Result) -> Iterator[str]:
    scene = result.scene
    when = "while no receiver took anything" if scene.outage_s else "with every receiver up"
    yield f"{scene.name}: {scene.alerts:,} alerts in {scene.over_s:,.0f} s, {when}, seed {scene.seed}"
    states = ", ".join(f"{state} {count:,}" for state, count in sorted(result.entries.items()))
    yield f"  {result.found:,} alerts stored, {result.over:,} of them over; entries: {states}"
    for one in result.told:
        yield from _receiver(one, scene)
    for name, about in COSTS.items():
        if costs := sorted(result.costs.get(name, ())):
            p50, p99 = (costs[int(part * (len(costs) - 1))] * 1e3 for part in (0.5, 0.99))
            yield (
                f"  {about:<38} {len(costs):>6,} times, "
                f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {costs[-1] * 1e3:.0f} ms"
            )
    yield f"  the process grew by {result.grown / 2**20:.0f} MB"
    for wrong in result.wrong:
        yield f"  WRONG: {wrong}"
    yield "  FAILED" if result.wrong else "  passed"


def _receiver(one: Told, scene: Scene) -> Iterator[str]:
    kinds = ", ".join(f"{kind.strip()} {count:,}" for kind, count in sorted(one.messages.items()))
    yield (
        f"  {one.receiver:<7} {one.people_saw:>5,} messages in {scene.aftermath_s / 60:.0f} min "
        f"(most in a minute: {one.busiest_minute}; old events by themselves: {one.stragglers}); "
        f"first after {one.first_s:.1f} s, last beginning after {one.last_begun_s:.0f} s"
    )
    yield f"          all in all: {kinds}"
    if one.first_critical_s is not None and one.worst_critical_s is not None:
        yield (
            f"          critical: the first told {one.first_critical_s:.1f} s after it was found, "
            f"the last {one.worst_critical_s:.0f} s"
        )


if __name__ == "__main__":
    sys.exit(main())
