"""What a monitor costs that has nothing to tell."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import trio

from tests.bench.figures import Figure
from tests.bench.rig import Watch, monitoring, sourcing

USERS: Final = tuple(f"user{number}" for number in range(1, 11))
WARM_UP_S: Final = 5.0
LASTS_S: Final = 60.0


async def measure(runs: int, folder: Path) -> list[Figure]:
    shares, residents = [], []
    async with sourcing(people=len(USERS), backlog=1000, folder=folder) as source:
        for run in range(runs):
            async with monitoring(Watch(source=source, users=USERS), folder / f"idle{run}") as monitor:
                await monitor.first_counted()
                await trio.sleep(WARM_UP_S)
                cpu_s = monitor.cpu_s()
                await trio.sleep(LASTS_S)
                shares.append(100 * (monitor.cpu_s() - cpu_s) / LASTS_S)
                residents.append(monitor.memory_mib())
    about = f"{len(USERS)} users, default settings, nothing new for {LASTS_S:.0f} s"
    return [
        Figure(name="idle, CPU", unit="%", values=shares, about=f"of one core; {about}"),
        Figure(name="idle, memory", unit="MiB", values=residents, about="resident"),
    ]
