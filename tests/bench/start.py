"""From the start of the process to its first request."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Final

import trio
from starlette.types import ASGIApp, Receive, Scope, Send

from monitor.clock import system_wall
from monitor.server import listening, serve
from monitor.simulator import World, build
from tests.bench.figures import Figure
from tests.bench.rig import FOLDER, Watch, environment, free_port, monitoring
from tests.bench.source import KEY

STARTS: Final = 5  # of one run; the first of all fills the caches and is not counted


async def measure(runs: int, folder: Path) -> list[Figure]:
    firsts, agains, bares = [], [], []
    await _import_only()
    for number in range(runs * STARTS):
        place, port = folder / f"start{number}", free_port()  # a store belongs to one address
        firsts.append(await _start(place, port))
        agains.append(await _start(place, port))
        bares.append(await _import_only())
    ratios = [again / bare for again, bare in zip(agains, bares, strict=True)]
    return [
        Figure(name="start, new store", unit="s", values=firsts, about="process start to first request"),
        Figure(name="start, known store", unit="s", values=agains, about="the same again", at_most=1.5),
        Figure(name="start / import", unit="×", values=ratios, about="where importing the code alone is 1"),
    ]


async def _start(folder: Path, port: int) -> float:
    world, asked_at = World(api_key=KEY, clock=lambda: system_wall().timestamp()), list[float]()
    world.add_user("bob")
    asked = trio.Event()

    def watched(api: ASGIApp) -> ASGIApp:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                asked_at.append(trio.current_time())
                asked.set()
            await api(scope, receive, send)

        return answer

    async with trio.open_nursery() as nursery:
        serving = partial(serve, watched(build(world)), listening(f"127.0.0.1:{port}"), date_header=False)
        source = await nursery.start(serving)
        async with monitoring(Watch(source=source, users=["bob"]), folder) as monitor:
            with trio.fail_after(60):
                await asked.wait()
            taken = asked_at[0] - monitor.started_at
        nursery.cancel_scope.cancel()
    return taken


async def _import_only() -> float:
    began = trio.current_time()
    command = [sys.executable, "-c", "import monitor.serving"]
    await trio.run_process(command, cwd=FOLDER, env=environment(), stdout=subprocess.DEVNULL)
    return trio.current_time() - began
