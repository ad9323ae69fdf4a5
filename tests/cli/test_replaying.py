"""`replay`: recorded answers through rules, from the command line."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from monitor.cli import app
from tests.cli.conftest import Desk

RECORDED = Path(__file__).parents[1] / "data" / "list-user-messages.json"
RULE = "rules: [{name: everything, when: {category: call}, title: 'Said in {{ message.conversation_id }}'}]"


def replay(*args: str | Path) -> Result:
    return CliRunner(env={"COMETWATCH_CONFIG": ""}).invoke(app, ["replay", *map(str, args)])


def test_without_settings_the_rules_look_at_everybody(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RULE)
    shown = replay(RECORDED, "--rules", tmp_path / "mine.yaml")
    assert shown.exit_code == 0
    assert "Said in " in shown.stdout
    assert "2 messages, 0 rejects" in shown.stderr


def test_with_settings_users_rules_and_routes_are_theirs(desk: Desk) -> None:
    (desk.folder / "mine.yaml").write_text(RULE)
    text = desk.config.read_text() + "rules: {packs: [], files: [mine.yaml]}\n"
    desk.config.write_text(text)
    assert desk.json("replay", str(RECORDED))["findings"] == []  # nobody who is watched took part
    desk.config.write_text(text.replace("[anna,", "[superhero2, superhero3,"))
    found = desk.json("replay", str(RECORDED))["findings"]
    assert {one["alert"]["rule"] for one in found} == {"everything"}
    assert {route["receiver"] for one in found for route in one["routes"]} == {"ops"}


def test_what_cannot_be_replayed_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd.json").write_text("<html>")
    (tmp_path / "odd.yaml").write_text("rules: [{}]")
    for args, said in (
        (["nowhere.json"], "nowhere.json: No such file or directory; give JSON files such as page.json"),
        ([tmp_path / "odd.json"], "odd.json: "),
        ([RECORDED, "--rules", tmp_path / "odd.yaml"], 'odd.yaml:1:9: "name" is missing'),
        ([RECORDED, "--rules", "nowhere.yaml"], "nowhere.yaml: can't be read: No such file"),
    ):
        result = replay(*args)
        assert result.exit_code == 2, result.output
        assert said in result.stderr


def test_a_recording_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "page.json").write_text('{"data": []}')
    result = replay(tmp_path / "page.json")
    assert (result.exit_code, result.stdout) == (0, "nothing found\n")
