"""`cometwatch rules list|show|graph`: which rules there are, how much they find, and where it goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

import typer

from monitor.cli.given import (
    AsJson,
    Given,
    branch,
    given,
    moment,
    print_json,
    print_table,
    recalled,
    rule_named,
    say,
)
from monitor.clock import system_wall
from monitor.configuration import Configuration
from monitor.errors import StoreError
from monitor.explain.graph import Format, graph, written
from monitor.logs import one_line
from monitor.settings.forms import duration_text
from monitor.store.lookups import Volume
from rules.engine import Rule
from rules.model import Labels, RuleName, Value
from rules.pacing import Pacing

LIST_HELP = """List the rules with what they found of late, as far as the store has it.

A star after the mode: calendars, cooldowns or limits hold alerts back. `rules show` tells which.

Example: cometwatch rules list
"""
SHOW_HELP = """Show one rule: what it looks for in words, its text as written, what it found.

Example: cometwatch rules show missed-call
"""
GRAPH_HELP = """Draw which rules lead over which labels and routes to which receivers.

Example: cometwatch rules graph --format dot | dot -Tsvg > rules.svg
"""


class RuleView(Value, frozen=True, kw_only=True, omit_defaults=False):
    """One rule, as it is listed."""

    name: str
    kind: str
    severity: str
    mode: str
    paced: tuple[str, ...]  #: what holds its alerts back, in words
    pack: str | None
    labels: Labels
    looks_for: str
    place: str
    day: int | None  #: alerts found in 24 hours; None without a store
    week: int | None
    last_at: str | None


def register(app: typer.Typer) -> None:
    rules = branch(
        app, "rules", about="List the rules, show one, draw where they lead.", example="cometwatch rules list"
    )
    rules.command("list", help=LIST_HELP)(list_rules)
    rules.command("show", help=SHOW_HELP)(show)
    rules.command("graph", help=GRAPH_HELP)(draw)


def list_rules(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    configuration, volumes = _known(given(ctx))
    views = [_view(rule, volumes) for rule in configuration.rules.rules]
    if as_json:
        print_json({"rules": views})
        return
    columns = ("rule", "kind", "severity", "mode", "pack", "24 h", "7 d", "last")
    print_table(columns, map(_row, views), empty="There are no rules: rules.packs and rules.files name them.")
    if any(view.paced for view in views):
        say("* held back at times by a calendar, a cooldown or a limit: `rules show NAME` tells which")


def show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `rules list` shows it.")],
    *,
    as_json: AsJson = False,
) -> None:
    configuration, volumes = _known(given(ctx))
    rule = rule_named(configuration.rules, name)
    view = _view(rule, volumes)
    if as_json:
        print_json({"rule": view, "source": rule.source_text})
        return
    print_table(("", ""), _facts(view), empty="")
    if rule.source_text:
        typer.echo()
        for line in rule.source_text.rstrip().split("\n"):
            typer.echo(one_line(line))


def draw(
    ctx: typer.Context,
    *,
    form: Annotated[Format, typer.Option("--format", help="For Mermaid or for Graphviz.")] = Format.MERMAID,
) -> None:
    configuration, _ = _known(given(ctx))
    orders = configuration.orders
    people = list({tuple(sorted(labels.items())): labels for labels in orders.watch.values()}.values())
    typer.echo(written(graph(orders.rules.rules, orders.routes, people), form))


def _known(source: Given) -> tuple[Configuration, Mapping[RuleName, Volume] | None]:
    """The configuration, and what the rules found if there is a store to tell it."""
    configuration = source.configuration()
    try:
        with source.store() as store:
            return recalled(configuration, store), store.volumes(system_wall())
    except StoreError as problem:
        say(f"told without the store: {problem}")
        return configuration, None


def _view(rule: Rule, volumes: Mapping[RuleName, Volume] | None) -> RuleView:
    volume = (volumes or {}).get(rule.name)
    nothing = None if volumes is None else 0
    return RuleView(
        name=rule.name,
        kind=rule.kind,
        severity=rule.severity,
        mode="shadow" if rule.pacing.shadow else "live",
        paced=tuple(_paced(rule.pacing)),
        pack=rule.pack,
        labels=rule.labels,
        looks_for=rule.logic.describe(),
        place=str(rule.place),
        day=volume.day if volume else nothing,
        week=volume.week if volume else nothing,
        last_at=moment(volume.last_at) if volume else None,
    )


def _paced(pacing: Pacing) -> Iterator[str]:
    """What may hold back or change an alert, in words."""
    if pacing.during:
        yield f"sent only within {pacing.during.name}"
    if pacing.closed:
        yield f"not sent within {pacing.closed.name}"
    if pacing.outside:
        yield f"another severity or label outside {pacing.outside.calendar.name}"
    if pacing.cooldown:
        longest, by = pacing.cooldown.growing_to, pacing.cooldown.by
        growing = f", growing to {duration_text(longest)}" if longest else ""
        alike = f", for the same {', '.join(by)}" if by else ""
        yield f"cooldown of {duration_text(pacing.cooldown.lasts)}{growing}{alike}"
    if pacing.max_per_hour is not None:
        yield f"at most {pacing.max_per_hour} an hour, the rest in sums"
    if not pacing.surge:
        yield "no warning of a surge"


def _row(view: RuleView) -> tuple[str, ...]:
    mode = view.mode + ("*" if view.paced else "")
    return (
        view.name, view.kind, view.severity, mode, view.pack or "-", _number(view.day), _number(view.week),
        view.last_at or "-",
    )  # fmt: skip


def _number(count: int | None) -> str:
    return "?" if count is None else str(count)


def _facts(view: RuleView) -> list[tuple[str, str]]:
    facts = {
        "rule": f"{view.name} ({view.severity})",
        "kind": view.kind,
        "mode": view.mode,
        "paced": "; ".join(view.paced),
        "pack": view.pack,
        "labels": ", ".join(f"{key}={value}" for key, value in view.labels.items()),
        "looks for": view.looks_for,
        "found in 24 h": _number(view.day),
        "found in 7 d": _number(view.week),
        "last": view.last_at,
        "written at": view.place,
    }
    return [(name, str(value)) for name, value in facts.items() if value]
