"""From the last byte of a page to the first byte of the POST that tells of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import trio
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.clock import system_wall
from monitor.server import listening, serve
from monitor.simulator import World, build
from tests.bench.figures import Figure, quantile
from tests.bench.rig import Watch, answered, monitoring
from tests.bench.source import KEY

SAMPLES: Final = 100  # of one run
APART_S: Final = (0.2, 0.4)  # the receiver has long been idle again


class Stopwatch:
    """Times one message after the other: `sent` when its page has left, `told` when the POST comes in."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self._marker = b""
        self._sent_at: float | None = None
        self._told = trio.Event()

    async def time(self, say: Callable[[str], object], marker: str) -> None:
        """Say `marker` and wait until the monitor has told of it."""
        self._marker, self._sent_at, self._told = marker.encode(), None, trio.Event()
        say(marker)
        with trio.fail_after(30):
            await self._told.wait()

    def source(self, api: ASGIApp) -> ASGIApp:
        """The API, watched for the page that shows the message."""

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            async def sending(message: Message) -> None:
                await send(message)
                is_it = self._sent_at is None and self._marker in message.get("body", b"")
                if self._marker and is_it:
                    self._sent_at = trio.current_time()

            await api(scope, receive, sending)

        return watched

    async def receiver(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accepts everything; this is called when the head of the POST has come in."""
        arrived_at = trio.current_time()
        if self._sent_at is not None:
            self.taken.append(arrived_at - self._sent_at)
            self._sent_at, self._marker = None, b""
            self._told.set()
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def measure(runs: int, folder: Path) -> list[Figure]:
    medians, tails = [], []
    for run in range(runs):
        taken = await _sample(folder / f"latency{run}")
        medians.append(1000 * quantile(taken, 0.5))
        tails.append(1000 * quantile(taken, 0.99))
    about = f"last byte of a page to head of the POST, {SAMPLES} mentions, receiver idle"
    return [
        Figure(name="page to POST, p50", unit="ms", values=medians, about=about),
        Figure(name="page to POST, p99", unit="ms", values=tails, about="the same", at_most=100),
    ]


async def _sample(folder: Path) -> list[float]:
    world, watch = World(api_key=KEY, clock=lambda: system_wall().timestamp()), Stopwatch()
    for uid in ("ann", "bob"):
        world.add_user(uid)
    say = partial(_mention, world)
    async with trio.open_nursery() as nursery:
        here = partial(nursery.start, partial(serve, date_header=False))
        source = await here(watch.source(build(world)), listening("127.0.0.1:0"))
        receiver = await here(Starlette(routes=[Mount("/", watch.receiver)]), listening("127.0.0.1:0"))
        told = Watch(source=source, users=["bob"], receiver=receiver, budget=6000, interval="100ms")
        async with monitoring(told, folder) as monitor:
            await answered(f"{monitor.pages}/healthz")
            random = Random(1)
            for number in range(SAMPLES):
                await watch.time(say, f"sample-{number}.")
                await trio.sleep(random.uniform(*APART_S))
        nursery.cancel_scope.cancel()
    return watch.taken


def _mention(world: World, marker: str) -> None:
    world.send("ann", "bob", content={"text": f"<@uid:bob> {marker}"})
