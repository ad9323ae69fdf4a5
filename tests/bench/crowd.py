"""What a hundred thousand watched users cost at the whole quota of one app."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

import httpx
import trio

from monitor.clock import system_wall
from monitor.store.store import Store
from monitor.store.values import Commit, Cursor
from rules.model import MessageId, UserId
from tests.bench.figures import Figure
from tests.bench.rig import Monitor, Watch, monitoring, sourcing

USERS: Final = 100_000
BUDGET: Final = 20_000  # requests a minute
RATE: Final = 35.0  # texts a second: 30 a day from each of them
LATENCY_S: Final = 0.1
CONCURRENCY: Final = 64
SETTLES_S: Final = 10.0
LASTS_S: Final = 20.0


@dataclass(slots=True)
class Found:
    """What one kind of start showed, run by run."""

    starts_s: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    polls_s: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


async def measure(runs: int, folder: Path) -> list[Figure]:
    new, known = Found(), Found()
    file = folder / "users.txt"
    file.write_text("".join(f"user{number}\n" for number in range(1, USERS + 1)), encoding="utf-8")
    async with sourcing(people=USERS, backlog=0, folder=folder, rate=RATE, latency_s=LATENCY_S) as source:
        watch = Watch(source=source, file=file, budget=BUDGET, concurrency=CONCURRENCY)
        for run in range(runs):
            place = folder / f"crowd{run}"
            await _watched(watch, place, new)
            await trio.to_thread.run_sync(_meet_all, place, source)
            await _watched(watch, place, known)
    return [*_figures("new", new), *_figures("known", known)]


async def _watched(watch: Watch, place: Path, found: Found) -> None:
    """Start a monitor there, and see what it takes once it has settled."""
    await _asked(watch)  # by the monitor before
    started_at = time.time()
    async with monitoring(watch, place) as monitor:
        await monitor.first_counted()
        await monitor.has_counted("cometwatch_polls_total", 1)
        found.starts_s.append(min(await _asked(watch)) - started_at)
        await trio.sleep(SETTLES_S)
        polls, cpu_s, began = await _polls(monitor), monitor.cpu_s(), time.perf_counter()
        await trio.sleep(LASTS_S)
        cpu_s, lasted = monitor.cpu_s() - cpu_s, time.perf_counter() - began
        found.cpu.append(100 * cpu_s / lasted)
        found.polls_s.append((await _polls(monitor) - polls) / lasted)
        found.memory.append(monitor.memory_mib(peak=True))


async def _asked(watch: Watch) -> list[float]:
    """When the source was asked since this was last called, in unix seconds."""
    async with httpx.AsyncClient(timeout=60) as http:
        asked: list[float] = (await http.get(f"{watch.source}/asked")).json()
        return asked


async def _polls(monitor: Monitor) -> float:
    return (await monitor.counted())["cometwatch_polls_total"]


def _meet_all(place: Path, source: str) -> None:
    """Have the store know everybody, as after some minutes of polling."""
    url, app = f"sqlite:///{place}/store/cometwatch.db", f"{httpx.URL(source).netloc.decode()}/v3"
    with Store.open(url, app=app, now=system_wall) as store, store.write() as tx:
        watermark = system_wall() - timedelta(minutes=1)
        for row in tx.add_users(tx.watched(), watermark):
            cursor = row.cursor if row.cursor.id else Cursor(id=MessageId(1))
            tx.commit(Commit(uid=UserId(row.uid), expected=row.cursor, cursor=cursor, watermark=watermark))


def _figures(kind: str, found: Found) -> list[Figure]:
    about = f"{USERS:,} users in a file, {kind} to the store, {RATE:.0f} texts a second"
    at = f"while {BUDGET:,} polls a minute are granted; {about}"
    return [
        Figure(name=f"crowd, {kind}, start", unit="s", values=found.starts_s, about=about, at_most=15),
        Figure(name=f"crowd, {kind}, polls", unit="polls/s", values=found.polls_s, about=at, at_least=310),
        Figure(
            name=f"crowd, {kind}, CPU", unit="%", values=found.cpu, about=f"of one core; {at}",
            at_most=25 if kind == "known" else None,
        ),
        Figure(name=f"crowd, {kind}, memory", unit="MiB", values=found.memory, about="peak", at_most=500),
    ]  # fmt: skip
