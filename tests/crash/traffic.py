"""The simulated CometChat that outlives every monitor: `python -m tests.crash.traffic SEED RATE`.

Prints its address, then plays scenario `crash` and floods beside it in chapters, each seeded by its number,
until standard input ends. A chapter begun is played to its end, so that every call of the script has the
end that its truth speaks of; then it prints "played" and goes on answering.
"""

from __future__ import annotations

import sys
from functools import partial
from itertools import count
from typing import Final

import trio

from monitor.clock import system_wall
from monitor.server import listening, serve
from monitor.simulator import Fault, Faults, World, build, play, scenario
from tests.crash.floods import floods

KEY: Final = "0123456789abcdef0123456789abcdef01234567"
WATCHED: Final = tuple(f"crash{number}" for number in range(1, 8))  # three of the script's ten are not
CHAPTER_S: Final = 5.0
FAULTS: Final = (
    Fault(kind="server-error", probability=0.004),
    Fault(kind="server-error", status=503, probability=0.003),
    Fault(kind="rate-limited", seconds=1, probability=0.0005),
    Fault(kind="truncated", probability=0.002),
    Fault(kind="reset", probability=0.001),
    Fault(kind="slow", seconds=0.3, probability=0.01),
    Fault(kind="page-size", size=7, probability=0.3),
    Fault(kind="out-of-order", probability=0.1),
    Fault(kind="malformed-row", probability=0.01),
)


async def main(seed: int, rate: float) -> None:
    world = World(
        api_key=KEY,
        seed=seed,
        clock=lambda: system_wall().timestamp(),
        faults=Faults(*FAULTS, seed=seed),
    )
    async with trio.open_nursery() as nursery:
        base = await nursery.start(partial(serve, build(world), listening("127.0.0.1:0"), date_header=False))
        print(base, flush=True)
        await _play_chapters(world, seed, rate)
        print("played", flush=True)


async def _play_chapters(world: World, seed: int, rate: float) -> None:
    ended = trio.Event()
    async with trio.open_nursery() as chapters:
        chapters.start_soon(_notice_end_of_input, ended)
        for number in count():
            # Their random numbers must differ, from each other and from those of the next seed.
            script = scenario("crash", seed=seed * 1_000_000 + number, rate=rate, lasts_s=CHAPTER_S)
            chapters.start_soon(partial(play, world, script, trio.sleep))
            bursts = floods(seed * 1_000_000 + number, watched=WATCHED, lasts_s=CHAPTER_S)
            chapters.start_soon(partial(play, world, bursts, trio.sleep))
            with trio.move_on_after(CHAPTER_S):
                await ended.wait()
                return


async def _notice_end_of_input(ended: trio.Event) -> None:
    async with trio.lowlevel.FdStream(sys.stdin.fileno()) as lines:
        async for _ in lines:
            pass
    ended.set()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), float(sys.argv[2]))
