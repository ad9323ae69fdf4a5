"""`rules list|show|graph`: with a store and without."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from monitor.clock import system_wall
from monitor.store.store import Store
from monitor.store.values import Commit, Finding
from rules.model import RuleName
from tests.cli.conftest import SETTINGS, Desk
from tests.store.building import an_alert, to

RULES = """
calendars:
  office: {timezone: Europe/Berlin, open: {days: mon-fri, hours: "09:00-17:00"}}
rules:
  - {name: refund, kind: match, severity: critical, labels: {team: pay}, when: {text: refund}}
  - name: busy   # a comment
    kind: missed_call
    shadow: true
    during: office
    cooldown: {for: 10m, growing_to: 4h, by: conversation}
    max_per_hour: 10
    surge: off
"""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path)
    settings = SETTINGS.format(folder=tmp_path)
    made.config.write_text(settings + "rules: {packs: [mentions], files: [rules.yaml]}\n", "utf-8")
    (tmp_path / "rules.yaml").write_text(RULES, "utf-8")
    return made


@pytest.fixture
def filled(reopen: Callable[[], Store]) -> None:
    """Alerts of an hour, two days and nine days ago."""
    with reopen() as store, store.write() as tx:
        for name, hours in (("a1", 1), ("a2", 48), ("a3", 9 * 24)):
            alert = replace(
                an_alert(name, found_at=system_wall() - timedelta(hours=hours)), rule=RuleName("refund")
            )
            tx.commit(Commit(findings=(Finding(alert=alert, routes=to("ops")),)))


def rows(desk: Desk, *args: str) -> list[list[str]]:
    return [line.split() for line in desk(*args).stdout.splitlines()]


@pytest.mark.usefixtures("filled")
def test_list_for_people(desk: Desk) -> None:
    header, *lines = rows(desk, "rules", "list")
    assert header == ["rule", "kind", "severity", "mode", "pack", "24", "h", "7", "d", "last"]
    by_name = {line[0]: line[1:] for line in lines}
    assert by_name.keys() == {"mention", "refund", "busy"}
    assert by_name["refund"][:3] == ["match", "critical", "live"]
    assert by_name["refund"][4:6] == ["1", "2"]
    assert by_name["busy"][2] == "shadow*"
    assert by_name["busy"][4:] == ["0", "0", "-"]


@pytest.mark.usefixtures("filled")
def test_list_for_machines(desk: Desk) -> None:
    rules = {rule["name"]: rule for rule in desk.json("rules", "list")["rules"]}
    assert (rules["refund"]["day"], rules["refund"]["week"]) == (1, 2)
    assert rules["refund"]["labels"] == {"team": "pay"}
    assert rules["busy"]["paced"] == [
        "sent only within office",
        "cooldown of 10m, growing to 4h, for the same conversation",
        "at most 10 an hour, the rest in sums",
        "no warning of a surge",
    ]


def test_without_a_store_nothing_is_known_of_what_was_found(desk: Desk) -> None:
    shown = desk("rules", "list")
    assert shown.exit_code == 0
    assert "told without the store" in shown.stderr
    by_name = {line.split()[0]: line.split() for line in shown.stdout.splitlines()[1:]}
    assert by_name["refund"][5:7] == ["?", "?"]


@pytest.mark.usefixtures("filled")
def test_show(desk: Desk) -> None:
    lines = [" ".join(line.split()) for line in desk("rules", "show", "busy").stdout.splitlines()]
    assert "rule busy (warning)" in lines
    assert "mode shadow" in lines
    assert any(line.startswith("looks for calls to a watched user") for line in lines)
    assert any("rules.yaml:6:" in line for line in lines)
    assert "cooldown: {for: 10m, growing_to: 4h, by: conversation}" in lines
    source = desk.json("rules", "show", "busy")["source"]
    assert "max_per_hour: 10" in source
    assert "refund" not in source


def test_a_rule_that_is_not_there(desk: Desk) -> None:
    *_, line = desk.refused("rules", "show", "refunds", code=2)
    assert line == 'cometwatch: there is no rule "refunds": did you mean "refund"?'
    *_, line = desk.refused("rules", "show", "zzz", code=2)
    assert line == 'cometwatch: there is no rule "zzz": `cometwatch rules list` shows them'


def test_no_rules_at_all(desk: Desk) -> None:
    desk.config.write_text(SETTINGS.format(folder=desk.folder) + "rules: {packs: []}\n", "utf-8")
    assert desk("rules", "list").stdout == "There are no rules: rules.packs and rules.files name them.\n"


@pytest.mark.usefixtures("filled")
def test_graph(desk: Desk) -> None:
    assert desk("rules", "graph").stdout.startswith("flowchart LR\n")
    dot = desk("rules", "graph", "--format", "dot").stdout
    assert dot.startswith("digraph rules {")
    assert "busy (shadow)" in dot
    assert "'svg' is not one of" in desk.wrong_use("rules", "graph", "--format", "svg")
