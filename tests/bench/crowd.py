"""What ten thousand watched users cost."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import trio

from tests.bench.figures import Figure
from tests.bench.rig import Watch, monitoring, sourcing

USERS: Final = 10_000
BUDGET: Final = 20_000  # requests a minute: everybody is polled within half a minute


async def measure(runs: int, folder: Path) -> list[Figure]:
    residents, peaks, shares = [], [], []
    users = [f"user{number}" for number in range(1, USERS + 1)]
    async with sourcing(people=USERS, backlog=USERS, folder=folder) as source:
        for run in range(runs):
            watch = Watch(source=source, users=users, budget=BUDGET)
            async with monitoring(watch, folder / f"crowd{run}") as monitor:
                await monitor.first_counted()
                began, cpu_s = trio.current_time(), monitor.cpu_s()
                await monitor.has_counted("cometwatch_polls_total", 1.2 * USERS)
                shares.append(100 * (monitor.cpu_s() - cpu_s) / (trio.current_time() - began))
                residents.append(monitor.memory_mib())
                peaks.append(monitor.memory_mib(peak=True))
    about = f"{USERS:,} watched users, each polled at least once"
    return [
        Figure(name="crowd, memory", unit="MiB", values=residents, about=f"{about}; resident", at_most=150),
        Figure(name="crowd, peak memory", unit="MiB", values=peaks, about="the same"),
        Figure(
            name="crowd, CPU", unit="%", values=shares, about=f"of one core, up to {BUDGET // 60} polls/s"
        ),
    ]
