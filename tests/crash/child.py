"""The monitor that is going to be killed: `python -m tests.crash.child CONFIG [POINT NTH DELAY_S]`.

At the NTH passing of POINT it kills its own process with SIGKILL, DELAY_S later. A line on standard output
says that the first page after the start was read.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

from monitor import serving
from tests.crash.points import FIRST_READ


class Fuse:
    """Counts the passings of one point and strikes at the `nth`."""

    def __init__(self, point: str, nth: int, delay_s: float, strike: Callable[[], None]) -> None:
        self._point = point
        self._left = nth
        self._delay_s = delay_s
        self._strike = strike

    def pass_by(self, point: str) -> None:
        if point != self._point:
            return
        self._left -= 1
        if self._left == 0 and self._delay_s:
            Thread(target=self._burn, daemon=True).start()
        elif self._left == 0:
            self._strike()

    def _burn(self) -> None:
        time.sleep(self._delay_s)
        self._strike()


def strike() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def announcing(at: Callable[[str], None]) -> Callable[[str], None]:
    """`at`, and once a word that reading has begun."""
    is_told = False

    def announce(point: str) -> None:
        nonlocal is_told
        if point == FIRST_READ and not is_told:
            is_told = True
            os.write(sys.stdout.fileno(), b"reading\n")
        at(point)

    return announce


def main(config: str, point: str = "", nth: str = "0", delay_s: str = "0") -> None:
    fuse = Fuse(point, int(nth), float(delay_s), strike)
    serving.run(Path(config), {}, at=announcing(fuse.pass_by))


if __name__ == "__main__":
    main(*sys.argv[1:])
