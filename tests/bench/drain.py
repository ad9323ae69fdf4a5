"""How fast a backlog is read, and what memory that takes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import trio

from tests.bench.figures import Figure
from tests.bench.rig import Watch, monitoring, sourcing
from tests.bench.source import KEY

BACKLOG: Final = 100_000
PEOPLE: Final = 20
WATCHED: Final = tuple(f"user{number}" for number in range(1, 11))
LOOK_S: Final = 0.25  # each look costs the monitor a few milliseconds
EARLY: Final = 0.2  # memory at this part of the backlog is what it is compared with at the end


async def measure(runs: int, folder: Path) -> list[Figure]:
    rates, shares, cpus, peaks, growths = [], [], [], [], []
    async with sourcing(people=PEOPLE, backlog=BACKLOG, folder=folder) as source:
        rows = await _rows(source)
        for run in range(runs):
            bare = await _read_bare(source)
            drained = await _drain(source, rows, folder / f"drain{run}")
            rates.append(rows / drained.seconds)
            shares.append(bare / drained.seconds)
            cpus.append(rows / drained.cpu_s)
            peaks.append(drained.peak_mib)
            growths.append(drained.growth_mib)
    about = f"{rows:,} rows of {len(WATCHED)} lists, pages of 1,000, first request to last commit"
    bare_about = "where fetching and parsing alone is 1"
    return [
        Figure(name="drain", unit="rows/s", values=rates, about=about, at_least=20_000),
        Figure(name="drain per CPU second", unit="rows/s", values=cpus, about="of the monitor's CPU time"),
        Figure(name="drain / bare read", unit="×", values=shares, about=bare_about),
        Figure(name="drain, peak memory", unit="MiB", values=peaks, about="resident"),
        Figure(
            name="drain, memory growth",
            unit="MiB",
            values=growths,
            about=f"from {EARLY:.0%} of the backlog to its end; flat if small",
            at_most=20,
        ),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    seconds: float
    cpu_s: float
    peak_mib: float
    growth_mib: float


async def _drain(source: str, rows: int, folder: Path) -> Drained:
    """Read everything once, on a new store: from the first request to the last commit."""
    await _told(source, "asked")  # forgets what was asked before
    watch = Watch(source=source, users=WATCHED, start="beginning", budget=20_000)
    async with monitoring(watch, folder) as monitor:
        sums, early_mib = await monitor.first_counted(), 0.0
        cpu_s = monitor.cpu_s()
        while (read := sums.get("cometwatch_messages_total", 0)) < rows:
            if not early_mib and read >= EARLY * rows:
                early_mib = monitor.memory_mib()
            await trio.sleep(LOOK_S)
            sums = await monitor.counted()
        began = min(await _told(source, "asked"))
        return Drained(
            seconds=sums["cometwatch_last_commit_timestamp_seconds"] - began,
            cpu_s=monitor.cpu_s() - cpu_s,
            peak_mib=monitor.memory_mib(peak=True),
            growth_mib=monitor.memory_mib() - early_mib,
        )


async def _rows(source: str) -> int:
    """Rows in the watched lists together."""
    lists = await _told(source, "rows")
    return sum(lists[uid] for uid in WATCHED)


async def _told(source: str, what: str) -> Any:
    async with httpx.AsyncClient(base_url=source, timeout=60) as http:
        return (await http.get(f"/{what}")).json()


async def _read_bare(source: str) -> float:
    """Seconds to fetch and parse the same pages, doing nothing with them."""
    began = trio.current_time()
    async with httpx.AsyncClient(base_url=f"{source}/v3", headers={"apikey": KEY}, timeout=60) as http:
        for uid in WATCHED:
            after = "0"
            while True:
                query = {"affix": "append", "id": after, "limit": "1000", "perPage": "1000"}
                answer = await http.get(f"/users/{uid}/messages", params=query)
                page = json.loads(answer.content)["data"]
                if len(page) < 1000:
                    break
                after = page[-1]["id"]
    return trio.current_time() - began
