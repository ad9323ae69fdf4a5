"""The health check, as a container runs it every few seconds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from typer.testing import CliRunner

from monitor.cli import app
from monitor.errors import ConfigError
from monitor.probe import Answer, get, is_well, shortcut
from monitor.server import listening, serve

NOBODY = "127.0.0.1:1"


async def stuck(scope: object, receive: object, send: object) -> None:
    """A monitor that lives but whose work does not progress."""
    status, body = {"/healthz": (200, b"ok\n")}.get(scope["path"], (503, b"blind\n"))  # type: ignore[index]
    await send({"type": "http.response.start", "status": status, "headers": []})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": body})  # type: ignore[operator]


@asynccontextmanager
async def running(listen: str = "127.0.0.1:0") -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        url = await nursery.start(serve, stuck, listening(listen))
        yield url.removeprefix("http://")
        nursery.cancel_scope.cancel()


async def test_alive_and_working_are_two_questions() -> None:
    async with running() as listen:
        assert await trio.to_thread.run_sync(get, listen, "/healthz") == Answer(True, "ok")
        assert await trio.to_thread.run_sync(get, listen, "/readyz") == Answer(False, "blind")


@pytest.mark.parametrize("everywhere", ["", "0.0.0.0"])
async def test_a_monitor_on_every_address_is_asked_on_the_nearest(everywhere: str) -> None:
    async with running() as listen:
        port = listen.rpartition(":")[2]
        answer = await trio.to_thread.run_sync(get, f"{everywhere}:{port}", "/healthz")
    assert answer.is_yes


def test_nobody_answering_is_a_no_with_a_hint() -> None:
    answer = is_well(NOBODY, live=True)
    assert not answer.is_yes
    assert "nothing answers on 127.0.0.1:1" in answer.text
    assert "cometwatch run" in answer.text


@pytest.mark.parametrize("listen", ["nowhere", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", "127.0.0.1:²"])
def test_what_is_no_address_is_refused_with_an_example(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"is no address: give host:port, for example 127\.0\.0\.1:9464"):
        get(listen, "/healthz")


async def test_the_shortcut_and_the_command_line_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    async with running() as listen:
        for words, code, said in (
            (["healthcheck", "--live", "--listen", listen], 0, ("ok\n", "")),
            (["healthcheck", "--listen", listen, "--live"], 0, ("ok\n", "")),
            (["healthcheck", "--listen", listen], 1, ("", "blind\n")),
        ):
            assert await trio.to_thread.run_sync(shortcut, words, {}) == code
            assert tuple(capsys.readouterr()) == said
            result = await trio.to_thread.run_sync(CliRunner().invoke, app, words)
            assert (result.exit_code, (result.stdout, result.stderr)) == (code, said)


def test_the_variable_tells_where_it_listens(capsys: pytest.CaptureFixture[str]) -> None:
    env = {"COMETWATCH_SERVER__LISTEN": NOBODY}
    assert shortcut(["healthcheck"], env) == 1
    assert NOBODY in capsys.readouterr().err
    result = CliRunner(env=env).invoke(app, ["healthcheck"])
    assert result.exit_code == 1
    assert NOBODY in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["run"],
        ["healthcheck"],
        ["healthcheck", "--help"],
        ["healthcheck", "--listen", "nowhere"],
        ["--config", "x", "healthcheck", "--listen", NOBODY],
    ],
)
def test_all_else_is_for_the_command_line(words: list[str]) -> None:
    assert shortcut(words, {}) is None


def test_without_an_address_the_settings_tell() -> None:
    result = CliRunner().invoke(app, ["healthcheck"])
    assert result.exit_code == 2
    assert "watch is missing" in result.stderr


def test_the_command_imports_no_more_than_it_needs() -> None:
    code = (
        "import sys; sys.argv[1:] = ['healthcheck', '--listen', '127.0.0.1:1']\n"
        "from monitor.__main__ import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert end.code == 1\n"
        "assert not {'typer', 'pydantic', 'trio', 'httpx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)
