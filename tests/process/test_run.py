"""`cometwatch run` as an operator meets it: a process, signals, files and ports."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monitor.probe import is_well
from tests.process.conftest import PATIENCE_S, Process

KEY = "0123456789abcdef0123456789abcdef01234567"
RULE = "rules: [{{name: {name}, kind: match, when: {{text: {{words: [hello]}}}}, severity: info}}]\n"


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
