"""`cometwatch replay`: what the rules would find in recorded answers. Sends nothing, stores nothing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from monitor.cli.given import AsJson, given, moment, print_json, print_table
from monitor.errors import ConfigError
from monitor.evaluation import Orders
from monitor.history.recorded import body_of
from monitor.replay import Replayed, everybody, replay
from monitor.settings.text import beside, source_of
from monitor.source.pages import Undecodable
from rules import spec
from rules.text import SpecError

HELP = """Show what the rules would find in recorded answers of CometChat (JSON files of a message list).

With --config the rules, watched users and routes are yours; without it the shipped packs (and --rules) look
at everybody in the recording. The same decoding, rules and routing as in the running monitor.

Example: cometwatch replay page-1.json page-2.json --rules my-rules.yaml
"""


def register(app: typer.Typer) -> None:
    app.command("replay", help=HELP)(show)


def show(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Recorded answers, each a JSON document.")],
    *,
    rules: Annotated[list[Path] | None, typer.Option(help="Rule files, if there is no --config.")] = None,
    as_json: AsJson = False,
) -> None:
    bodies = list(map(body_of, files))
    try:
        replayed = replay(_orders(ctx, rules or [], bodies), bodies)
    except Undecodable as problem:
        raise ConfigError(f"{', '.join(map(str, files))}: {problem}") from problem
    if as_json:
        print_json(replayed)
    else:
        _print(replayed)


def _orders(ctx: typer.Context, rules: list[Path], bodies: list[bytes]) -> Orders:
    source = given(ctx)
    if source.config is not None:
        return source.configuration().orders
    try:
        sources = [*map(spec.pack, spec.DEFAULT_PACKS), *map(source_of, rules)]
        loaded = spec.load(sources, app="replay", read=beside)
    except SpecError as error:
        raise ConfigError(str(error)) from error
    return Orders(rules=loaded, watch=everybody(bodies), routes=(), max_age=timedelta.max)


def _print(replayed: Replayed) -> None:
    rows = [
        (
            moment(finding.alert.event_at),
            finding.alert.rule,
            finding.alert.status,
            finding.alert.title,
            ", ".join(route.receiver for route in finding.routes if route.receiver) or "-",
        )
        for finding in replayed.findings
    ]
    print_table(("when", "rule", "status", "title", "receivers"), rows, empty="nothing found")
    typer.echo(
        f"{replayed.messages} messages, {replayed.rejects} rejects, {len(replayed.findings)} findings",
        err=True,
    )
