"""Which populations, budgets, hours and seeds are measured: constants, so that a figure can be had again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Final

from monitor.schedule.traffic import Trace, chat
from tests.bench.scheduling.baselines import PROMISE, Aimd, OneAverage, Oracle, RoundRobin
from tests.bench.scheduling.course import Course, Policy
from tests.bench.scheduling.ours import Ours

HOUR_S: Final = 3600.0
SETTLING: Final = 4  # intervals that are read before anything counts

POLICIES: Final[Mapping[str, Callable[[Course, Random], Policy]]] = {
    "round robin": RoundRobin,
    "AIMD": Aimd,
    "one EWMA": OneAverage,
    "oracle": Oracle,
    "ours": Ours,
}


@dataclass(frozen=True, slots=True)
class Setting:
    """`hours` are counted from `begin` o'clock of the trace; what came before is known to all policies."""

    users: int
    interval: int  # seconds: users over requests a second
    begin: float
    hours: float
    seeds: tuple[int, ...]
    outage_hours: float = 0.0  # from `begin`: nothing is granted, and only its messages count

    @property
    def per_minute(self) -> int:
        return 60 * self.users // self.interval

    @property
    def requests(self) -> float:
        """About how many one policy gets in one run."""
        return self.per_minute * (60 * (self.hours + self.outage_hours) + SETTLING * self.interval / 60)

    def __str__(self) -> str:
        return f"{self.users:,} users, {self.interval} s"

    def course(self, seed: int) -> Course:
        begin = self.begin * HOUR_S
        end = begin + (self.hours + self.outage_hours) * HOUR_S
        settled = begin - SETTLING * self.interval
        outage = (begin, begin + self.outage_hours * HOUR_S)
        trace = _chat(self.users, end + PROMISE * self.interval, seed)
        return Course(
            trace=trace, per_minute=self.per_minute, start=settled, counted_from=begin, end=end, outage=outage
        )


@lru_cache(maxsize=1)
def _chat(users: int, seconds: float, seed: int) -> Trace:
    return chat(users=users, seconds=seconds, seed=seed)


GATE: Final = Setting(users=1_000, interval=60, begin=24, hours=24, seeds=(21, 22, 23, 24))
OUTAGE: Final = Setting(users=1_000, interval=60, begin=36, hours=0.2, outage_hours=0.5, seeds=GATE.seeds)
# 5 s for 10,000 users, and less than 300 s for 100,000, would be more than the 20,000 requests a minute that
# the API grants at best. Busy settings are counted for fewer hours: about as many requests each.
SETTINGS: Final = (
    Setting(users=1_000, interval=5, begin=32, hours=0.5, seeds=(21,)),
    Setting(users=1_000, interval=30, begin=32, hours=3, seeds=(21,)),
    GATE,
    Setting(users=1_000, interval=300, begin=24, hours=24, seeds=(21, 22)),
    Setting(users=10_000, interval=30, begin=32, hours=0.25, seeds=(21,)),
    Setting(users=10_000, interval=60, begin=32, hours=0.5, seeds=(21,)),
    Setting(users=10_000, interval=300, begin=32, hours=2, seeds=(21,)),
    Setting(users=100_000, interval=300, begin=8, hours=0.5, seeds=(21,)),
)
