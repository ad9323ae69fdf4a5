"""`cometwatch run`, `demo` and `healthcheck`."""

from __future__ import annotations

from typing import Annotated

import typer

from monitor.cli.given import given
from monitor.probe import LISTEN, is_well

RUN_HELP = """Watch, until SIGTERM or Ctrl-C; SIGHUP or a changed file reloads rules, users and receivers.

Example: cometwatch run --config /etc/cometwatch/cometwatch.yaml
"""
DEMO_HELP = """Run simulator, monitor and a receiver in one process: nothing to set up, no account needed.

A simulated CometChat plays a missed call, an attachment and mentions; you see them become alerts here.

Example: cometwatch demo --duration 20 --json
"""
HEALTH_HELP = """Ask the running monitor whether it is well: exit code 0 if so, else 1 and the reason.

Without --live it asks whether the work progresses (/readyz), with it only whether the process lives.

Example: cometwatch healthcheck --live
"""


def register(app: typer.Typer) -> None:
    app.command("run", help=RUN_HELP)(run)
    app.command("demo", help=DEMO_HELP)(demo)
    app.command("healthcheck", help=HEALTH_HELP)(healthcheck)


def run(ctx: typer.Context) -> None:
    from monitor import serving

    source = given(ctx)
    serving.run(source.config, source.env)


def demo(
    *,
    duration: Annotated[
        float | None, typer.Option(min=1, help="Seconds to run; without it, until Ctrl-C.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with a JSON summary as the last line; nothing else but logs.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the status page; 0 takes a free one.")] = 0,
) -> None:
    from monitor import demo as showing

    raise typer.Exit(showing.run(duration=duration, as_json=as_json, port=port))


def healthcheck(
    ctx: typer.Context,
    *,
    live: Annotated[bool, typer.Option("--live", help="Only whether the process lives.")] = False,
    listen: Annotated[
        str | None,
        typer.Option(envvar=LISTEN, help="Where it listens; by default as the settings say."),
    ] = None,
) -> None:
    answer = is_well(listen or given(ctx).settings().server.listen, live=live)
    typer.echo(answer.text, err=not answer.is_yes)
    raise typer.Exit(0 if answer.is_yes else 1)
