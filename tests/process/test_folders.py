"""Files that turn up later (in a folder that was empty, in one that only a reload named), and impatience."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from tests.process.conftest import PATIENCE_S, Process
from tests.process.test_run import RULE, configure, say, source

__all__ = ["source"]  # a fixture


def test_a_rule_file_in_an_empty_folder_and_one_in_a_folder_named_by_a_reload(
    tmp_path: Path,
    source: str,
    processes: Callable[..., Process],
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    config = configure(tmp_path, source, rules=str(tmp_path / "first" / "*.yaml"))
    monitor = processes("run", "--config", str(config))
    monitor.wait_for("monitor.started")

    (tmp_path / "first" / "a.yaml").write_text(RULE.format(name="rule-one"), encoding="utf-8")
    monitor.wait_for("config.reloaded")

    config.write_text(config.read_text(encoding="utf-8").replace("first/*", "second/*"), encoding="utf-8")
    monitor.wait_for("config.reloaded")
    monitor.wait_for("config.watched.*second")
    (tmp_path / "second" / "b.yaml").write_text(RULE.format(name="rule-two"), encoding="utf-8")
    monitor.wait_for("config.reloaded")
    say(source, "hello")
    monitor.wait_for("rule-two: ")
    assert monitor.end() == 0


def test_a_file_of_users_beside_the_store_is_read_again_when_it_changes(
    tmp_path: Path,
    source: str,
    processes: Callable[..., Process],
) -> None:
    agents = tmp_path / "agents.txt"
    agents.write_text("superhero5\n", encoding="utf-8")
    (tmp_path / "a.rules").write_text(RULE.format(name="greeting"), encoding="utf-8")
    config = configure(tmp_path, source)
    text = config.read_text(encoding="utf-8")
    cohorts = "cohorts: [{name: agents, file: agents.txt}]"
    config.write_text(text.replace("users: [superhero2]", cohorts), encoding="utf-8")
    monitor = processes("run", "--config", str(config))
    monitor.wait_for("monitor.started")

    agents.write_text("superhero5\nsuper hero\n", encoding="utf-8")
    monitor.wait_for(r"config.reload_failed.*agents.txt:2:1")
    agents.write_text("superhero5\nsuperhero2\n", encoding="utf-8")
    monitor.wait_for("config.reloaded")
    say(source, "hello")
    monitor.wait_for("greeting: ")
    assert monitor.end() == 0


def test_whoever_asks_twice_does_not_wait_for_the_last_deliveries(
    tmp_path: Path,
    source: str,
    processes: Callable[..., Process],
) -> None:
    config = configure(tmp_path, source)
    monitor = processes("run", "--config", str(config))
    monitor.wait_for("monitor.started")
    monitor.popen.send_signal(signal.SIGTERM)
    monitor.popen.send_signal(signal.SIGINT)
    monitor.wait_for("monitor.stopping")
    assert monitor.popen.wait(timeout=PATIENCE_S) == 0
