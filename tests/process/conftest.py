"""Commands as processes of their own: what they print, and how they end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Thread

import pytest

PATIENCE_S = 20.0


@dataclass
class Process:
    """A command of ours and what it prints, line by line."""

    popen: subprocess.Popen[str]
    lines: Queue[str]

    @classmethod
    def start(cls, *args: str) -> Process:
        popen = subprocess.Popen(
            [sys.executable, "-m", "monitor", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        lines: Queue[str] = Queue()
        Thread(target=cls._copy, args=(popen, lines), daemon=True).start()
        return cls(popen, lines)

    @staticmethod
    def _copy(popen: subprocess.Popen[str], lines: Queue[str]) -> None:
        assert popen.stdout
        for line in popen.stdout:
            lines.put(line)
        popen.stdout.close()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line from now on that matches."""
        seen = []
        deadline = time.monotonic() + PATIENCE_S
        while (left := deadline - time.monotonic()) > 0:
            try:
                seen.append(self.lines.get(timeout=left))
            except Empty:
                break
            if found := re.search(pattern, seen[-1]):
                return found
        pytest.fail(f"nothing matched {pattern!r} in:\n{''.join(seen)}")

    def end(self, number: int = signal.SIGTERM) -> int:
        self.popen.send_signal(number)
        return self.popen.wait(timeout=PATIENCE_S)


@pytest.fixture
def processes() -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(*args: str) -> Process:
        started.append(Process.start(*args))
        return started[-1]

    yield start
    for process in started:
        if process.popen.poll() is None:
            process.end()
