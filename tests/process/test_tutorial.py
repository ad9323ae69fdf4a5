"""rules/TUTORIAL.md, followed to the letter: its files are written, its commands run, its outputs compared.

In the document, `…` stands for anything within a line and, alone on a line, for any number of lines. Times
and lengths of time match others of the same form. The id of an alert matches any, and from then on that one.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, Final

import pytest

from tests.process.conftest import PATIENCE_S, Process

ROOT: Final = Path(__file__).parents[2]
TUTORIAL: Final = ROOT / "rules" / "TUTORIAL.md"
ADDRESSES: Final = ("127.0.0.1:9000", "127.0.0.1:9464")  # the document's; a run takes free ones
SETTLES: Final = ("cometwatch rules", "cometwatch outbox", "cometwatch explain")  # asked until it is so

BLOCK: Final = re.compile(r"^```(?P<language>\w+)(?: (?P<terminal>\w+))?\n(?P<text>.*?)^```$", re.M | re.S)
NAME: Final = re.compile(r"# (\S+\.\w+)\n")
ALERT, TIME, SPAN = (
    r"\b[0-9a-f]{32}\b",
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?",
    r"[<+]?\d[\d.e-]* m?s\b",
)
VARYING: Final = re.compile(
    rf"(?P<any>…)|(?P<alert>{ALERT})|(?P<time>{TIME})|(?P<span>{SPAN})|(?P<blank>\s+)"
)
FORMS: Final = {"any": ".*", "time": TIME, "span": SPAN, "blank": r"\s+"}


def test_whoever_follows_the_tutorial_sees_what_it_shows(reader: Reader) -> None:
    text = TUTORIAL.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start()) + 1
        reader.follow(block["language"], block["terminal"], block["text"], place=f"TUTORIAL.md:{line}")
    assert reader.alerts
    for terminal in reader.terminals.values():
        assert terminal.end(signal.SIGINT) == 0


# --- what the test itself can tell apart ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["a"], ["a", "b"]),
        (["a", "…", "c"], ["a", "b"]),
        (["at 2026-11-22 17:00:00Z"], ["at noon"]),
        ([f"alert {'a' * 32}", f"again {'a' * 32}"], [f"alert {'b' * 32}", f"again {'c' * 32}"]),
    ],
)
def test_another_output_is_noticed(shown: list[str], printed: list[str]) -> None:
    with pytest.raises(MismatchError):
        compare(shown, printed, {})


def test_what_varies_from_run_to_run_may_vary() -> None:
    shown = ["…", f"alert {'a' * 32}: sent 2026-11-22 17:59:07Z  (2 s ago)", "", "by …", "…"]
    printed = ["one", "two", f"alert {'b' * 32}: sent 2027-01-01 00:00:00Z (0.3 s ago)", "by bob", "end"]
    alerts: dict[str, str] = {}
    compare(shown, printed, alerts)
    assert alerts == {"a" * 32: "b" * 32}


class MismatchError(Exception):
    """A command did not do what the document shows."""


def compare(shown: Sequence[str], printed: Sequence[str], alerts: dict[str, str]) -> None:
    """Find every shown line in what was printed, in order; put ids of alerts that are new into `alerts`."""
    left, skips = [line for line in printed if line.strip()], False
    for line in filter(str.strip, shown):
        if line == "…":
            skips = True
            continue
        wanted = re.compile(pattern(line, alerts))
        most = len(left) if skips else 1
        at, found = next(
            ((n, hit) for n, one in enumerate(left[:most]) if (hit := wanted.fullmatch(one))), (0, None)
        )
        if found is None:
            raise MismatchError(f"expected  {line}\nbut found {os.linesep.join(left) or 'the end'}")
        learn(found, alerts)
        left, skips = left[at + 1 :], False
    if left and not skips:
        raise MismatchError(f"more than is shown: {os.linesep.join(left)}")


def pattern(line: str, alerts: dict[str, str]) -> str:
    """What the line may look like in another run."""
    parts, end = [], 0
    for found in VARYING.finditer(line.rstrip()):
        parts += [re.escape(line[end : found.start()]), _form(found, alerts)]
        end = found.end()
    return "".join([*parts, re.escape(line.rstrip()[end:]), r"\s*"])


def _form(found: re.Match[str], alerts: dict[str, str]) -> str:
    if found.lastgroup != "alert":
        return FORMS[str(found.lastgroup)]
    return alerts.get(found[0], f"(?P<id_{found[0]}>{ALERT})")


def learn(found: re.Match[str], alerts: dict[str, str]) -> None:
    alerts.update({name.removeprefix("id_"): real for name, real in found.groupdict().items()})


# --- somebody who reads and does ------------------------------------------------------------------------


@dataclass
class Reader:
    """A person in an empty folder, at a few terminals."""

    folder: Path
    env: dict[str, str]
    addresses: dict[str, str]  #: the document's and those of this run
    alerts: dict[str, str] = field(default_factory=dict)  #: ids, likewise
    terminals: dict[str, Process] = field(default_factory=dict)  #: what runs beside, by the name of the block

    def follow(self, language: str, terminal: str | None, text: str, *, place: str) -> None:
        text = _replaced(text, self.addresses)
        try:
            if language == "diff":
                self._change(text)
            elif language != "console":
                self._write(text)
            else:
                for command, shown in _commands(text):
                    self._look(terminal, command, shown) if terminal else self._run(command, shown)
        except MismatchError as mismatch:
            pytest.fail(f"{place}: {mismatch}")

    def _write(self, text: str) -> None:
        if not (named := NAME.match(text)):
            raise MismatchError("the first line of a file must be its name, as in `# rules/waiting.yaml`")
        (self.folder / named[1]).write_text(text, encoding="utf-8")

    def _change(self, text: str) -> None:
        first, *lines = text.splitlines(keepends=True)
        file = self.folder / first.removeprefix("--- ").strip()
        old, new = ("".join(line[1:] or line for line in lines if line[0] != sign) for sign in "+-")
        before = file.read_text(encoding="utf-8")
        if before.count(old) != 1:
            raise MismatchError(f"{file.name} has these lines {before.count(old)} times:\n{old}")
        file.write_text(before.replace(old, new), encoding="utf-8")

    def _run(self, command: str, shown: Sequence[str]) -> None:
        if command.startswith("export "):
            name, _, value = command.split()[1].partition("=")
            self.env[name] = value
            return
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                compare(shown, self._printed(command), self.alerts)
                return
            except MismatchError as mismatch:
                if not command.startswith(SETTLES) or time.monotonic() > deadline:
                    raise MismatchError(f"$ {command}\n{mismatch}") from None

    def _printed(self, command: str) -> list[str]:
        command = _replaced(command, self.alerts)
        done = subprocess.run(
            ["sh", "-c", command], **self._surroundings, timeout=3 * PATIENCE_S, check=False
        )
        if done.returncode != 0:
            raise MismatchError(f"it ended with {done.returncode}:\n{done.stdout}")
        return str(done.stdout).splitlines()

    def _look(self, terminal: str, command: str, shown: Sequence[str]) -> None:
        """Start the command there, if one is given; then wait for the lines."""
        if command:
            popen = subprocess.Popen(["sh", "-c", f"exec {command}"], **self._surroundings)
            self.terminals[terminal] = Process(popen, Queue())
            copying = (popen, self.terminals[terminal].lines)
            Thread(target=Process._copy, args=copying, daemon=True).start()
        for line in shown:
            if line.strip("… "):
                learn(self.terminals[terminal].wait_for(f"^{pattern(line, self.alerts)}$"), self.alerts)

    @property
    def _surroundings(self) -> dict[str, Any]:
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return {"cwd": self.folder, "env": self.env, "encoding": "utf-8", **streams}


def _replaced(text: str, words: dict[str, str]) -> str:
    for old, new in words.items():
        text = text.replace(old, new)
    return text


def _commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command with the lines that it is shown to print; "" for lines without one."""
    lines = text.splitlines()
    starts = [at for at, line in enumerate(lines) if line.startswith("$ ")]
    if starts[:1] != [0]:
        yield "", lines[: starts[0] if starts else None]
    for start, end in pairwise([*starts, len(lines)]):
        yield lines[start].removeprefix("$ "), lines[start + 1 : end]


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    home, folder = tmp_path / "home", tmp_path / "tutorial"
    (home / "bin").mkdir(parents=True)
    folder.mkdir()
    command = home / "bin" / "cometwatch"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m monitor "$@"\n', encoding="utf-8")
    command.chmod(0o700)
    env = {name: value for name, value in os.environ.items() if not name.startswith("COMETWATCH_")}
    env |= {"PATH": f"{command.parent}:{env['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(home)}
    env |= {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
    one = Reader(folder=folder, env=env, addresses=dict(zip(ADDRESSES, _free_addresses(), strict=True)))
    yield one
    for terminal in one.terminals.values():
        if terminal.popen.poll() is None:
            terminal.end()


def _free_addresses() -> list[str]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in ADDRESSES]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
