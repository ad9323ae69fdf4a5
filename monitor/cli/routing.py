"""`cometwatch routes show|test`: where alerts go, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Annotated

import typer

from monitor.cli.given import AsJson, branch, given, instant, print_json, print_table, rule_named
from monitor.clock import system_wall
from monitor.configuration import Configuration
from monitor.delivery.policy import RouteSpec, explained
from monitor.delivery.routing import Place, places
from monitor.errors import ConfigError
from monitor.settings.forms import duration_text
from rules.model import Labels, UserId

TEST_HELP = """Show which receivers are told of an alert with such labels, and why.

Labels that are not given count as "". --rule and --user add those of a rule and of a watched user.

Example: cometwatch routes test --label severity=critical --label team=payments
"""
SHOW_HELP = """Show the routes as a tree: what each takes, whom it tells, and how.

Example: cometwatch routes show
"""


def register(app: typer.Typer) -> None:
    routes = branch(
        app,
        "routes",
        about="Show where alerts go, and why.",
        example="cometwatch routes test --label severity=critical",
    )
    routes.command("show", help=SHOW_HELP)(show)
    routes.command("test", help=TEST_HELP)(try_out)


def try_out(
    ctx: typer.Context,
    *,
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A label of the alert.")
    ] = None,
    rule: Annotated[
        str | None, typer.Option(help="Its rule: adds the rule's name, severity and labels.")
    ] = None,
    user: Annotated[
        str | None, typer.Option(metavar="UID", help="Whom it is about: adds their labels.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="At this time: 2026-11-22T03:00:00Z. Else now.")] = None,
    as_json: AsJson = False,
) -> None:
    configuration = given(ctx).configuration()
    now = system_wall() if at is None else instant(at, "--at")
    labels = {**_labels_of(configuration, rule, user), **dict(map(_label, label or ()))}
    if not labels:
        raise ConfigError("give the labels of an alert, for example --label severity=critical")
    routes = configuration.orders.routes
    tried, taken = explained(labels, routes, now=now), places(labels, routes, now=now)
    receivers = list(dict.fromkeys(name for place in taken for name in place.receivers))
    if as_json:
        print_json({"labels": labels, "at": now, "receivers": receivers, "routes": tried})
        return
    typer.echo(f"labels: {', '.join(f'{name}={value}' for name, value in sorted(labels.items()))}\n")
    rows = [("takes it" if one.matched else "-", _indented(one.path), one.words) for one in tried]
    print_table(("", "route", "why"), rows, empty="There are no routes.")
    typer.echo(f"\ntold: {', '.join(receivers) or 'nobody; it is recorded'}")
    for line in _terms(taken):
        typer.echo(line)


def _labels_of(configuration: Configuration, rule: str | None, user: str | None) -> Labels:
    """The labels that routes see of an alert of this rule, about this user."""
    labels: dict[str, str] = {}
    named = rule_named(configuration.rules, rule) if rule else None
    if named:
        labels |= named.labels
    if user is not None:
        watch = configuration.orders.watch
        uid = UserId(user.lower())
        if uid not in watch:
            near = get_close_matches(uid, watch, n=1)
            hint = f'did you mean "{near[0]}"?' if near else "the settings name them under watch"
            raise ConfigError(f'--user: "{user}" is not watched ({hint})')
        labels |= watch[uid]
    if named:
        labels |= {"rule": str(named.name), "severity": named.severity.value}
    return labels


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (equals and name.strip()):
        raise ConfigError(f'--label: "{text}" is no label; for example --label severity=critical')
    return name.strip(), value.strip()


def _terms(taken: Sequence[Place]) -> Iterator[str]:
    """How those who are told are told, where it is not at once and by itself."""
    for place in taken:
        if words := list(_manner(place.group_by, place.spec, place)):
            yield f"  {', '.join(place.receivers) or 'nobody'}: {'; '.join(words)}"


def _manner(group_by: Sequence[str], spec: RouteSpec, place: Place | None) -> Iterator[str]:
    timing = place.timing if place else spec.timing
    if group_by:
        yield f"grouped by {', '.join(group_by)}"
    if timing and group_by:
        yield f"after {duration_text(timing.wait)}, then every {duration_text(timing.interval)} with news"
    if timing and timing.repeat:
        yield f"again every {duration_text(timing.repeat)} while it fires"
    for step in place.steps if place else spec.steps:
        yield f"after {duration_text(step.after)} without an answer also {', '.join(step.receivers)}"


def show(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    routes = given(ctx).configuration().orders.routes
    rows = list(_tree(routes, ""))
    if as_json:
        print_json(
            {"routes": [dict(zip(("route", "takes", "receivers", "how"), row, strict=True)) for row in rows]}
        )
        return
    shown = [(_indented(path), *rest) for path, *rest in rows]
    print_table(("route", "takes", "receivers", "how"), shown, empty="There are no routes.")


def _tree(routes: Sequence[RouteSpec], above: str) -> Iterator[tuple[str, str, str, str]]:
    for number, spec in enumerate(routes, 1):
        path = f"{above}{number}"
        yield path, _takes(spec), _receivers(spec, is_inner=bool(above)), "; ".join(_how(spec))
        yield from _tree(spec.routes, f"{path}.")


def _takes(spec: RouteSpec) -> str:
    hours = [f"during {spec.during.name}"] if spec.during else []
    hours += [f"except {spec.except_.name}"] if spec.except_ else []
    return ", ".join([*(spec.wants or ("everything",)), *hours])


def _receivers(spec: RouteSpec, *, is_inner: bool) -> str:
    if spec.receivers:
        return ", ".join(spec.receivers)
    return "as the route around it" if is_inner else "nobody" if not spec.routes else "-"


def _how(spec: RouteSpec) -> Iterator[str]:
    yield from _manner(spec.group_by or (), spec, None)
    if spec.continue_:
        yield "then the next routes too"


def _indented(path: str) -> str:
    return "  " * path.count(".") + path
