"""`cometwatch run` as an operator meets it: a process, signals, files and ports."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

import pytest

from monitor.probe import is_well

KEY = "0123456789abcdef0123456789abcdef01234567"
PATIENCE_S = 20.0
RULE = "rules: [{{name: {name}, kind: match, when: {{text: {{words: [hello]}}}}, severity: info}}]\n"


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
            process.end(signal.SIGKILL)


@pytest.fixture
def source(processes: Callable[..., Process]) -> str:
    simulator = processes("simulate", "--listen", "127.0.0.1:0", "--api-key", KEY)
    return simulator.wait_for(r"(http://127\.0\.0\.1:\d+)/v3")[1]


def configure(folder: Path, source: str, *, rules: str = "") -> Path:
    config = folder / "cometwatch.yaml"
    config.write_text(
        f"""
api: {{base_url: "{source}/v3", api_key: "{KEY}", requests_per_minute: 6000}}
watch: {{users: [superhero2]}}
poll: {{min_interval: 200ms}}
store: {{url: "sqlite:///{folder}/store.db"}}
server: {{listen: "127.0.0.1:0"}}
rules: {{packs: [], files: ["{rules or folder / "*.rules"}"]}}
receivers: [{{name: screen, console: {{}}}}]
log: {{format: json, level: info}}
""",
        encoding="utf-8",
    )
    return config


def say(source: str, text: str) -> None:
    body = json.dumps({"receiver": "superhero2", "type": "text", "data": {"text": text}}).encode()
    headers = {"apikey": KEY, "onBehalfOf": "superhero3", "content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{source}/v3/messages", body, headers)):
        pass


def get(url: str) -> Any:
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


def test_it_watches_until_told_to_stop_and_says_that_it_is_well(
    tmp_path: Path, source: str, processes: Callable[..., Process]
) -> None:
    (tmp_path / "a.rules").write_text(RULE.format(name="greeting"), encoding="utf-8")
    monitor = processes("run", "--config", str(configure(tmp_path, source)))
    url = monitor.wait_for(r'"url": "(http://[^"]+)"')[1]
    listen = url.removeprefix("http://")
    say(source, "hello there")
    monitor.wait_for("greeting: ")
    assert is_well(listen, live=True).is_yes
    assert is_well(listen, live=False).is_yes
    assert get(f"{url}/api/status")["app"]
    assert monitor.end() == 0
    assert not is_well(listen, live=True).is_yes


def test_a_second_process_is_refused_with_the_name_of_the_store(
    tmp_path: Path, source: str, processes: Callable[..., Process]
) -> None:
    config = configure(tmp_path, source)
    first = processes("run", "--config", str(config))
    first.wait_for("monitor.started")
    second = processes("run", "--config", str(config))
    second.wait_for("store.db")
    assert second.popen.wait(timeout=PATIENCE_S) == 1
    assert first.end(signal.SIGINT) == 0


def test_rules_are_reloaded_on_sighup_on_a_change_and_on_a_configmap_swap(
    tmp_path: Path, source: str, processes: Callable[..., Process]
) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    for version in ("one", "two"):
        (mount / f"..{version}").mkdir()
        (mount / f"..{version}" / "a.yaml").write_text(RULE.format(name=f"rule-{version}"), encoding="utf-8")
    (mount / "..data").symlink_to("..one")
    (mount / "a.yaml").symlink_to("..data/a.yaml")
    config = configure(tmp_path, source, rules=str(mount / "*.yaml"))
    monitor = processes("run", "--config", str(config))
    monitor.wait_for("monitor.started")

    (mount / "..new").symlink_to("..two")  # the way a kubelet swaps: a new link renamed over the old one
    (mount / "..new").rename(mount / "..data")
    monitor.wait_for("config.reloaded")
    say(source, "hello")
    monitor.wait_for("rule-two: ")

    config.write_text(
        config.read_text(encoding="utf-8").replace("superhero2", "superhero4"), encoding="utf-8"
    )
    monitor.wait_for("config.reloaded")
    (mount / "..two" / "a.yaml").write_text("rules: [{nmae: x}]\n", encoding="utf-8")
    monitor.popen.send_signal(signal.SIGHUP)
    monitor.wait_for(r"config.reload_failed.*a.yaml:1:9")
    assert monitor.end() == 0


def test_a_wrong_configuration_ends_with_2_and_its_place(
    tmp_path: Path, source: str, processes: Callable[..., Process]
) -> None:
    config = configure(tmp_path, source)
    config.write_text(config.read_text(encoding="utf-8").replace("watch:", "wtach:"), encoding="utf-8")
    process = processes("run", "--config", str(config))
    process.wait_for(r"cometwatch.yaml:3:1: .*watch")
    assert process.popen.wait(timeout=PATIENCE_S) == 2
