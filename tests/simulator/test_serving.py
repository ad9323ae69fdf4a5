"""The simulator on a real socket, as the command serves it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import httpx
import pytest
import trio
import typer
from typer.testing import CliRunner

from monitor.cli.simulating import register
from monitor.errors import ConfigError
from monitor.server import listening, serve
from monitor.simulator import Fault, World, build
from tests.simulator.wire import KEY, a_world, say


@asynccontextmanager
async def served(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with trio.open_nursery() as nursery:
        base = await nursery.start(partial(serve, build(world), listening("127.0.0.1:0"), date_header=False))
        async with httpx.AsyncClient(base_url=f"{base}/v3", headers={"apikey": KEY}, trust_env=False) as http:
            yield http
        nursery.cancel_scope.cancel()


async def test_it_answers_on_a_free_port_with_its_own_date() -> None:
    world = a_world()
    made = say(world, "a", "b", "x")
    async with served(world) as http:
        response = await http.get("/users/a/messages")
    assert [row["id"] for row in response.json()["data"]] == [str(made)]
    assert response.headers.get_list("date") == ["Sun, 22 Nov 2026 08:00:00 GMT"]


@pytest.mark.parametrize("kind", ["reset", "truncated"])
async def test_a_dropped_connection_ends_before_its_length_and_the_next_is_fine(kind: str) -> None:
    world = a_world()
    say(world, "a", "b", "x")
    world.faults.add(Fault(kind=kind, count=1))
    async with served(world) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/users/a/messages")
        assert (await http.get("/users/a/messages")).status_code == 200


async def test_a_thousand_rows_in_one_page() -> None:
    world = a_world(gzip=True)
    made = [say(world, "a", "b", f"message {number}") for number in range(1_000)]
    async with served(world) as http:
        response = await http.get("/users/a/messages?limit=1000")
    assert response.headers["content-encoding"] == "gzip"
    assert [int(row["id"]) for row in response.json()["data"]] == made


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--listen", "nowhere"], "--listen: can't listen on nowhere"),
        (["--scenario", "dem"], "Did you mean demo?"),
        (["--fault", "hangs"], "did you mean hang?"),
        (["--listen", "127.0.0.1:0", "--backlog", "10"], "--users 2"),
        (["--rate-headers", "odd"], "new, old, both, none"),
        (["--append-without-id", "odd"], "newest, oldest, 400"),
    ],
)
def test_wrong_options_say_what_is_right(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(an_app(), ["simulate", *arguments])
    assert isinstance(result.exception, ConfigError)
    assert words in str(result.exception)


def an_app() -> typer.Typer:
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    return app


@contextmanager
def simulating(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as a process of its own, and what it said until it was ready."""
    command = [sys.executable, "-m", "monitor", "simulate", "--listen", "127.0.0.1:0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        said = ""
        for line in lines:
            said += line
            if "the truth" in line:
                break
        try:
            yield process, said
        finally:
            process.kill()


def test_the_command_prints_curl_lines_that_work_and_stops_on_sigterm() -> None:
    with simulating("--scenario", "quiet", "--users", "2", "--backlog", "5") as (process, said):
        message = re.search(r"a message +curl .*-d '(?P<body>.*)' '(?P<url>.*)'", said)
        assert message is not None
        headers = {"apikey": KEY, "onBehalfOf": "superhero2"}
        with httpx.Client(trust_env=False) as http:
            sent = http.post(message["url"], json=json.loads(message["body"]), headers=headers).json()["data"]
            page = http.get(message["url"], params={"limit": "1"}, headers=headers).json()["data"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert sent["data"]["mentions"]["superhero3"]["name"] == "Spiderman"
    assert page == [sent]
    assert "playing: recorded, quiet" in said
