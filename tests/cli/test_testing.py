"""`test`: rule tests from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import structlog
from typer.testing import CliRunner, Result

from monitor.cli import app
from tests.cli.conftest import Desk

RULES = "rules: [{name: urgent, when: {text: urgent}}]"
FINE = """\
rules: [rules.yaml]
tests:
  - name: urgent words are told
    timeline: [{message: {from: ann, to: bob, text: urgent}}]
    expect: [{delivered: urgent, by: 5s}]
  - name: others are not
    timeline: [{message: {from: ann, to: bob, text: hello}}]
"""
WRONG = FINE.replace("by: 5s", "after: 1m")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "it.test.yaml").write_text(FINE)
    return tmp_path


def run(*args: str | Path) -> Result:
    return CliRunner(env={"COMETWATCH_CONFIG": ""}).invoke(app, ["test", *map(str, args)])


def test_all_pass(folder: Path) -> None:
    shown = run(folder / "it.test.yaml")
    assert shown.exit_code == 0, shown.output
    first, second = shown.stdout.splitlines()
    assert first.startswith("ok   urgent words are told  (")
    assert second.startswith("ok   others are not")
    assert shown.stderr.startswith("2 tests, all passed")


def test_one_fails(folder: Path) -> None:
    (folder / "it.test.yaml").write_text(WRONG)
    shown = run(folder / "it.test.yaml", "--junit", folder / "out.xml")
    assert shown.exit_code == 1
    assert "FAIL urgent words are told" in shown.stdout
    assert "it.test.yaml:5:14: did not come: delivered urgent after 1m" in shown.stdout
    assert ET.fromstring((folder / "out.xml").read_bytes())[0].get("failures") == "1"


def test_of_a_folder_every_file_with_tests_is_run(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "more.yaml").write_text(FINE.replace("rules.yaml", "../rules.yaml"))
    shown = run(folder)
    assert shown.exit_code == 0, shown.output
    assert shown.stderr.startswith("4 tests")


def test_only_some_are_run(folder: Path) -> None:
    assert run(folder, "--only", "OTHERS").stderr.startswith("1 test, all passed")
    shown = run(folder, "--only", "nobody")
    assert (shown.exit_code, shown.stderr) == (2, 'cometwatch: no test has "nobody" in its name\n')


def test_coverage_is_shown_and_asked_for(folder: Path) -> None:
    shown = run(folder, "--coverage", "--only", "others")
    assert shown.exit_code == 0
    assert '    never true: when: the word "urgent"' in shown.stdout
    assert "coverage: 33%" in shown.stdout
    shown = run(folder, "--coverage-min", "50", "--only", "others")
    assert shown.exit_code == 1
    assert "coverage is 33.3%, less than 50%" in shown.stderr
    assert run(folder, "--coverage-min", "100").exit_code == 0


def test_machines_get_one_document(folder: Path) -> None:
    (folder / "it.test.yaml").write_text(WRONG)
    shown = run(folder, "--json")
    assert shown.exit_code == 1
    told = json.loads(shown.stdout)
    assert [test["ok"] for test in told["tests"]] == [False, True]
    assert told["coverage"]["percent"] == 100.0


def test_other_rules_take_the_place_of_those_that_the_tests_name(folder: Path) -> None:
    (folder / "v2.yaml").write_text(RULES.replace("text: urgent", "text: zebra"))
    shown = run(folder / "it.test.yaml", "--rules", folder / "v2.yaml")
    assert shown.exit_code == 1
    assert "did not come: delivered urgent" in shown.stdout


def test_with_settings_a_file_that_names_no_rules_tests_yours(desk: Desk, folder: Path) -> None:
    (desk.folder / "mine.yaml").write_text(RULES)
    desk.config.write_text(desk.config.read_text() + "rules: {packs: [], files: [mine.yaml]}\n")
    (folder / "bare.yaml").write_text(FINE.partition("\n")[2])
    assert desk("test", str(folder / "bare.yaml")).exit_code == 0
    shown = run(folder / "bare.yaml")
    assert shown.exit_code == 2
    assert "bare.yaml:1:1: no rules to test: name them here, with --rules or with --config" in shown.stderr


def test_lists_in_files_stand_beside_the_rules(folder: Path) -> None:
    (folder / "words.txt").write_text("urgent\nhelp\n")
    (folder / "rules.yaml").write_text(
        "lists: {words: {file: words.txt}}\nrules: [{name: urgent, when: {text: {list: words}}}]"
    )
    assert run(folder).exit_code == 0


def test_every_mistake_of_every_file_is_told(folder: Path) -> None:
    (folder / "a.yaml").write_text(FINE.replace("delivered", "deliverd"))
    (folder / "b.yaml").write_text(FINE.replace("rules.yaml", "rule.yaml"))
    shown = run(folder, "--rules", "nowhere.yaml")
    assert "nowhere.yaml: can't be read" in shown.stderr
    shown = run(folder)
    assert shown.exit_code == 2
    one, two = shown.stderr.splitlines()
    assert 'a.yaml:5:15: unknown key "deliverd" (did you mean "delivered"?)' in one
    assert 'b.yaml:1:9: there is no rule file or pack "rule.yaml" (did you mean "rules.yaml"?)' in two
    assert shown.stdout == ""


def test_nothing_to_run(tmp_path: Path) -> None:
    assert run(tmp_path).stderr == "cometwatch: there are no tests in these files\n"
    assert run(tmp_path / "nowhere.yaml").exit_code == 2
    assert run().exit_code == 2


def test_a_report_that_cannot_be_written_is_told(folder: Path) -> None:
    shown = run(folder, "--junit", folder / "no" / "out.xml")
    assert shown.exit_code == 2
    assert "out.xml can't be written: No such file" in shown.stderr


def test_logs_go_on_as_before(folder: Path) -> None:
    before = structlog.get_config()
    run(folder)
    assert structlog.get_config() == before


def test_editors_get_the_schema() -> None:
    shown = CliRunner().invoke(app, ["schema", "tests"])
    assert json.loads(shown.stdout)["title"] == "Cometwatch rule tests"
