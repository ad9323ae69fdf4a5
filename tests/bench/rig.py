"""A monitor process under measurement, and the simulator it reads from."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import trio
from prometheus_client.parser import text_string_to_metric_families

from tests.bench.source import KEY

FOLDER: Final = Path(__file__).parents[2]
READY_WITHIN_S: Final = 120.0
TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")

CONFIG: Final = """
api: {{base_url: "{source}/v3", api_key: "{key}", requests_per_minute: {budget}}}
watch: {{users: [{users}], cohorts: [{cohorts}], start: {start}}}
poll: {{min_interval: {interval}, concurrency: {concurrency}}}
store: {{url: "sqlite:///{folder}/store/cometwatch.db"}}
server: {{listen: "127.0.0.1:{port}"}}
receivers: [{{name: hook, webhook: {{url: "{receiver}"}}, rate: 1000}}]
log: {{format: json}}
"""


class BenchError(Exception):
    """Something could not be measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What a monitor under measurement is told to do; the rest is as shipped."""

    source: str
    users: Sequence[str] = ()
    file: Path | None = None  #: of users, one a line
    start: str = "now"
    budget: int = 250
    interval: str = "2s"
    concurrency: int = 16
    receiver: str = "http://127.0.0.1:9/"  #: nobody listens there: for runs that find nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """A running monitor process and what the system knows of it."""

    process: trio.Process
    pages: str
    started_at: float  #: trio's time

    def cpu_s(self) -> float:
        """Processor time used so far, all threads together."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND

    def memory_mib(self, *, peak: bool = False) -> float:
        """Resident memory now, or the most it ever was."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        found = re.search(rf"{'VmHWM' if peak else 'VmRSS'}:\s+(\d+) kB", status)
        assert found, "Linux tells both"
        return int(found[1]) / 1024

    async def first_counted(self) -> Mapping[str, float]:
        """The same as soon as it answers at all, which is just before it begins to poll."""
        await answered(f"{self.pages}/healthz", every_s=0.01)
        return await self.counted()

    async def has_counted(self, name: str, least: float) -> None:
        """Return once the metric has come so far; it looks every second."""
        while (await self.counted()).get(name, 0.0) < least:  # noqa: ASYNC110 - another process counts
            await trio.sleep(1)

    async def counted(self) -> Mapping[str, float]:
        """The sums of its metrics by name."""
        async with httpx.AsyncClient(timeout=30) as http:
            text = (await http.get(f"{self.pages}/metrics")).text
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
        return sums


@asynccontextmanager
async def monitoring(watch: Watch, folder: Path) -> AsyncIterator[Monitor]:
    """A monitor as `cometwatch run` makes it, in `folder`; a folder used before is taken up again."""
    for name in ("config", "store"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    port, config = free_port(), folder / "config" / "cometwatch.yaml"
    cohorts = f"{{name: crowd, file: {watch.file}}}" if watch.file else ""
    text = CONFIG.format(
        source=watch.source, key=KEY, budget=watch.budget, users=", ".join(watch.users),
        cohorts=cohorts, start=watch.start, interval=watch.interval, concurrency=watch.concurrency,
        folder=folder, port=port, receiver=watch.receiver,
    )  # fmt: skip
    config.write_text(text, encoding="utf-8")
    started_at = trio.current_time()
    command = ("monitor", "run", "--config", str(config))
    async with running(*command, log=folder / "monitor.log") as process:
        yield Monitor(process=process, pages=f"http://127.0.0.1:{port}", started_at=started_at)


@asynccontextmanager
async def sourcing(
    *, people: int, backlog: int, folder: Path, rate: float = 0.0, latency_s: float = 0.0
) -> AsyncIterator[str]:
    """The address of a source process with that many users and messages; ready when the block begins.

    `rate` messages a second are sent while it runs.
    """
    port = free_port()
    command = ("tests.bench.source", str(people), str(backlog), str(port), str(rate), str(latency_s))
    async with running(*command, log=folder / "source.log"):
        url = f"http://127.0.0.1:{port}"
        await answered(f"{url}/rows")
        yield url


@asynccontextmanager
async def running(module: str, *arguments: str, log: Path) -> AsyncIterator[trio.Process]:
    """A module of ours as a process; killed when the block is left. Raises BenchError if it ended before."""
    with log.open("ab") as output:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", module, *arguments],
            cwd=FOLDER,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
        if process.returncode is not None:
            raise BenchError(f"{module} ended with exit code {process.returncode}")
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


def environment() -> dict[str, str]:
    """Without settings from outside, and with compiled code kept, as in an installation."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COMETWATCH_")}
    if kept.pop("PYTHONDONTWRITEBYTECODE", None):
        kept.setdefault("PYTHONPYCACHEPREFIX", str(Path.home() / ".cache" / "cometwatch-bench"))
    return kept


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


async def answered(url: str, *, every_s: float = 0.1) -> None:
    """Return once something answers there. Raises BenchError after two minutes without."""
    async with httpx.AsyncClient() as http:
        with trio.move_on_after(READY_WITHIN_S):
            while True:
                try:
                    await http.get(url)
                    return
                except httpx.TransportError:
                    await trio.sleep(every_s)
    raise BenchError(f"nothing answers at {url}")
