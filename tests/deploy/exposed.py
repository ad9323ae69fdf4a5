"""What a scrape of the monitor can show, taken from the instruments themselves.

`python -m tests.deploy.exposed` prints such a scrape, for `promtool check metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest

from monitor.metrics import Metrics
from tests.deploy import rules

SUFFIXES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "counter": {"": ()},
    "gauge": {"": ()},
    "histogram": {"_bucket": ("le",), "_sum": (), "_count": ()},
}


@cache
def series() -> dict[str, frozenset[str]]:
    """Every series that a query may name, with its labels: ours, the process', the recorded ones."""
    ours = {
        family.name + suffix: frozenset({*family.labels, *extra})
        for family in Metrics(CollectorRegistry()).catalogue()
        for suffix, extra in SUFFIXES[family.type].items()
    }
    standard = {**_collected(ProcessCollector), **_collected(PlatformCollector)}
    recorded = {
        rule["record"]: frozenset({"receiver"} if "receiver" in rule["record"] else ())
        for rule in rules("record")
    }
    return {**ours, **standard, **recorded, "up": frozenset()}


def _collected(collector: Callable[..., object]) -> dict[str, frozenset[str]]:
    registry = CollectorRegistry()
    collector(registry=registry)
    return {
        sample.name: frozenset(sample.labels) for metric in registry.collect() for sample in metric.samples
    }


def exposition() -> str:
    """A scrape with a sample in every family."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for family in metrics.catalogue():
        instrument = getattr(metrics, family.name.removeprefix("cometwatch_"))
        if family.labels:
            instrument = instrument.labels(*family.labels)
        match family.type:
            case "counter":
                instrument.inc()
            case "gauge":
                instrument.set(1)
            case "histogram":
                instrument.observe(1)
    return generate_latest(registry).decode()


if __name__ == "__main__":
    print(exposition(), end="")
