"""The command line as a whole: help, names, exit codes, and what `--config` means where."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import trio
from typer.testing import CliRunner

from monitor import cli
from monitor.errors import ConfigError, StoreError
from tests.cli.conftest import Desk


def commands(group: dict[str, object], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.items():
        if inner := getattr(command, "commands", None):
            yield from commands(inner, (*above, name))
        yield (*above, name)


ALL = sorted(
    path for name in {family for family, _ in cli.COMMANDS.values()} for path in commands(cli.family(name))
)


def test_the_list_of_commands_is_what_the_families_have() -> None:
    for name, (family, _) in cli.COMMANDS.items():
        assert name in cli.family(family)
    assert {path[0] for path in ALL} == set(cli.COMMANDS)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli.app, [*path, "--help"], prog_name="cometwatch")
    assert result.exit_code == 0
    assert f"Example: cometwatch {path[0]}" in " ".join(result.output.split())


def test_help_lists_every_command_and_imports_none() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from monitor.cli import app;"
        "print(CliRunner().invoke(app, ['--help']).output);"
        "heavy = ('trio', 'httpx', 'pydantic', 'sqlalchemy', 'starlette', 'rich');"
        "print([name for name in heavy if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for name in cli.COMMANDS:
        assert f"  {name} " in out
    assert out.splitlines()[-1] == "[]"


def test_version(desk: Desk) -> None:
    result = desk("--version")
    assert (result.exit_code, result.output.split()[0]) == (0, "cometwatch")


def test_a_slip_is_answered_with_the_nearest_command(desk: Desk) -> None:
    assert desk.wrong_use("chekc") == 'there is no command "chekc" (did you mean "check"?)'
    assert desk.wrong_use("zzz") == 'there is no command "zzz" (`cometwatch --help` lists them)'


def test_without_a_command_the_help_is_shown(desk: Desk) -> None:
    result = desk()
    assert result.exit_code == 2
    assert "Usage: cometwatch" in result.output


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["check", "--config", "a"], ["--config", "a", "check"]),
        (["check", "--print", "-c", "a", "--json"], ["-c", "a", "check", "--print", "--json"]),
        (["--config=a", "check"], ["--config=a", "check"]),
        (["outbox", "show", "--config=a", "1"], ["--config=a", "outbox", "show", "1"]),
        (["check", "--", "--config", "a"], ["check", "--", "--config", "a"]),
        (["check", "--config"], ["--config", "check"]),
    ],
)
def test_config_may_stand_anywhere(given: list[str], meant: list[str]) -> None:
    assert cli.hoisted(given) == meant


def test_the_option_wins_over_the_variable(desk: Desk) -> None:
    (line,) = desk.refused("mutes", "--config", "nowhere.yaml", code=2)
    assert line.startswith("cometwatch: nowhere.yaml: can't be read: No such file or directory; name the")


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (ConfigError("one\ntwo"), 2, ["cometwatch: one", "cometwatch: two"]),
        (StoreError("full"), 1, ["cometwatch: full"]),
        (
            ExceptionGroup(
                "", [StoreError("full"), ExceptionGroup("", [ConfigError("wrong"), StoreError("full")])]
            ),
            2,
            ["cometwatch: full", "cometwatch: wrong"],
        ),
    ],
)
def test_our_errors_are_one_line_each(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, lines: list[str]
) -> None:
    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr("monitor.cli.outbox.given", failing)
    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: cli.family("outbox")["mutes"])
    assert desk.refused("mutes", code=code) == lines


def test_ctrl_c_is_no_bug_wherever_it_comes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise BaseExceptionGroup("", [BaseExceptionGroup("", [KeyboardInterrupt()])])

    monkeypatch.setattr("monitor.cli.outbox.given", interrupted)
    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: cli.family("outbox")["mutes"])
    result = desk("mutes")
    assert (result.exit_code, result.stdout) == (130, "")


def test_a_bug_keeps_its_traceback(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise ExceptionGroup("", [StoreError("full"), trio.BrokenResourceError()])

    monkeypatch.setattr("monitor.cli.outbox.given", failing)
    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: cli.family("outbox")["mutes"])
    result = desk("mutes")
    assert isinstance(result.exception, ExceptionGroup)
