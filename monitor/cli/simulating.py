"""`cometwatch simulate`: the simulated CometChat API on a real port."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Final

import trio
import typer

from monitor.clock import system_wall
from monitor.errors import ConfigError
from monitor.server import listening, serve
from monitor.simulator import SCENARIOS, Fault, Faults, Options, World, build, play, scenario
from monitor.simulator.backlog import populate
from monitor.simulator.faults import KINDS, from_text
from monitor.simulator.refusals import Refusal
from monitor.simulator.script import Action, Scenario

DEMO_KEY: Final = "0123456789abcdef0123456789abcdef01234567"

_EXAMPLE = "Example:  cometwatch simulate --scenario demo --fault server-error,status=503,probability=0.05"
_HELP = f"""Serve a simulated CometChat API: the documented paths, realistic rows, and faults on demand.

{_EXAMPLE}

Faults (--fault KIND[,name=value…], repeatable; also POST /_sim/faults): {", ".join(KINDS)}.
"""


def register(app: typer.Typer) -> None:
    app.command("simulate", help=_HELP)(simulate)


def simulate(
    *,
    listen: Annotated[
        str, typer.Option(help="Address to serve on; port 0 takes a free one.")
    ] = "127.0.0.1:9000",
    api_key: Annotated[str, typer.Option(help="The key with full access.")] = DEMO_KEY,
    auth_only_key: Annotated[str | None, typer.Option(help="A key that may only log users in.")] = None,
    rate_limit: Annotated[int | None, typer.Option(min=1, help="Requests a minute before 429.")] = None,
    rate_headers: Annotated[str, typer.Option(help="Spelling: new, old, both or none.")] = "new",
    seed: Annotated[int, typer.Option(help="The same seed makes the same traffic.")] = 0,
    scenario_name: Annotated[
        str | None, typer.Option("--scenario", help=f"Traffic to play: {', '.join(SCENARIOS)}.")
    ] = None,
    rate: Annotated[float | None, typer.Option(min=0.01, help="Events a second (busy, crash).")] = None,
    lasts: Annotated[
        float | None, typer.Option(min=1, help="Seconds after which the scenario begins nothing new.")
    ] = None,
    empty: Annotated[bool, typer.Option("--empty", help="No users and no history to begin with.")] = False,
    users: Annotated[int, typer.Option(min=0, help="Add users user1 … userN.")] = 0,
    backlog: Annotated[int, typer.Option(min=0, help="Messages of the last day to begin with.")] = 0,
    fault: Annotated[list[str] | None, typer.Option(help="A fault, for example slow,seconds=2.")] = None,
    group_rows: Annotated[
        bool, typer.Option("--group-rows", help="User lists show group messages too.")
    ] = False,
    calls_in_messages: Annotated[bool, typer.Option(help="GET /messages shows calls.")] = True,
    app_list: Annotated[
        str, typer.Option(help="GET /messages on nobody's behalf: all messages, empty, or 400.")
    ] = "all",
    append_without_id: Annotated[
        str, typer.Option(help="Answer to affix=append without id: newest, oldest or 400.")
    ] = "newest",
    updates: Annotated[
        str, typer.Option(help="The undocumented updatedAt and onlyUpdates: heeded, ignored or 400.")
    ] = "heeded",
    gzip: Annotated[bool, typer.Option("--gzip", help="Compress for clients that ask for it.")] = False,
) -> None:
    options = Options(
        group_rows_in_user_list=group_rows,
        calls_in_messages=calls_in_messages,
        app_list=_one_of("--app-list", app_list, ("all", "empty", "400")),
        append_without_id=_one_of("--append-without-id", append_without_id, ("newest", "oldest", "400")),
        updates=_one_of("--updates", updates, ("heeded", "ignored", "400")),
        rate_headers=_one_of("--rate-headers", rate_headers, ("new", "old", "both", "none")),
        gzip=gzip,
    )
    world = World(
        api_key=api_key,
        auth_only_key=auth_only_key,
        rate_limit=rate_limit,
        seed=seed,
        clock=_unix_now,
        faults=Faults(*(_fault(text) for text in fault or ()), seed=seed),
        options=options,
    )
    names = (None if empty else "recorded", scenario_name)
    scripts = [_scenario(name, seed=seed, rate=rate, lasts_s=lasts) for name in dict.fromkeys(names) if name]
    with listening(
        listen, named="--listen"
    ) as listener:  # before the crowd is made: a taken port is known at once
        try:
            populate(world, users=users, backlog=backlog, seed=seed)
        except ValueError as error:
            raise ConfigError(f"--backlog {backlog}: {error}; for example --users 2") from error
        trio.run(_run, world, listener, scripts)


async def _run(world: World, listener: socket.socket, scripts: Sequence[Scenario]) -> None:
    async with trio.open_nursery() as nursery:
        # No Date of the server: the API's clock may be skewed.
        base = await nursery.start(partial(serve, build(world), listener, date_header=False))
        _introduce(base, world.keys.api_key, [script.name for script in scripts])
        for script in scripts:
            nursery.start_soon(_play, world, script, name=f"scenario {script.name}")
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                nursery.cancel_scope.cancel()


async def _play(world: World, script: Scenario) -> None:
    def report(action: Action, refusal: Refusal) -> None:
        typer.echo(f"scenario {script.name}: {action.label!r} was refused: {refusal}", err=True)

    await play(world, script, trio.sleep, refused=report)


def _introduce(base: str, key: str, scripts: Sequence[str]) -> None:
    def curl(path: str, *, body: Any = None, acting: str | None = None, method: str = "") -> str:
        parts = ["curl", "-s", *([f"-X {method}"] if method else []), f"-H 'apikey: {key}'"]
        parts += [f"-H 'onBehalfOf: {acting}'"] if acting else []
        parts += [f"-d '{json.dumps(body)}'"] if body else []
        return " ".join([*parts, f"'{base}{path}'"])

    text = {"receiver": "superhero3", "type": "text", "data": {"text": "Hi <@uid:superhero3>"}}
    typer.echo(
        f"CometChat simulator on {base}/v3   (also /v3.0)   playing: {', '.join(scripts) or 'nothing'}"
    )
    typer.echo(f"  settings   api: {{base_url: {base}/v3, api_key: …}}")
    typer.echo(f"  a list     {curl('/v3/users/superhero3/messages?affix=append&id=0')}")
    typer.echo(f"  a message  {curl('/v3/messages', body=text, acting='superhero2')}")
    ring = {"receiver": "superhero3", "receiverType": "user", "type": "audio"}
    typer.echo(f"  a call     {curl('/v3/calls', body=ring, acting='superhero2')}")
    given_up = {"status": "unanswered"}
    given_up_at = curl("/v3/calls/SESSIONID", body=given_up, acting="superhero2", method="PUT")
    typer.echo(f"  no answer  {given_up_at}")
    typer.echo(f'  a fault    curl -s -d \'{{"kind": "server-error", "count": 3}}\' \'{base}/_sim/faults\'')
    typer.echo(f"  the truth  curl -s '{base}/_sim/truth'   (all of it: curl -s '{base}/_sim/')")


def _unix_now() -> float:
    return system_wall().timestamp()


def _one_of(option: str, given: str, choices: tuple[str, ...]) -> Any:
    if given not in choices:
        raise ConfigError(f"{option} must be one of {', '.join(choices)}; got {given!r}")
    return given


def _fault(text: str) -> Fault:
    try:
        return from_text(text)
    except ValueError as error:
        raise ConfigError(f"--fault {text}: {error}") from error


def _scenario(name: str, *, seed: int, rate: float | None, lasts_s: float | None) -> Scenario:
    try:
        return scenario(name, seed=seed, rate=rate, lasts_s=lasts_s)
    except ValueError as error:
        raise ConfigError(f"--scenario {name}: {error}") from error
