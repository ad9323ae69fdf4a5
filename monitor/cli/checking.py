"""`cometwatch check` and `cometwatch schema`: what is wrong before it matters, and what editors need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from monitor.cli.given import AsJson, Given, given, print_json
from monitor.configuration import Configuration, complete, rule_files
from monitor.delivery.policy import RouteSpec, places
from monitor.feasibility import broken_promises, seldom_updates
from monitor.settings import Reader, Settings, SettingsError, redacted, schema
from rules import spec
from rules.engine import Rule, RuleSet
from rules.model import Labels
from rules.text import Problem

CHECK_HELP = """Find every mistake in settings and rules, each with file:line:column and the right form.

Also tells what works but was probably not meant: rules that reach no receiver, rules that need what the
source can't show. Ends with 0 if the monitor would start, else with 2.

Example: cometwatch check --config cometwatch.yaml --print
"""
SCHEMA_HELP = """Print the JSON Schema of the settings file, of rule files or of rule tests, for editors.

Example: cometwatch schema rules > rules.schema.json
"""


def register(app: typer.Typer) -> None:
    app.command("check", help=CHECK_HELP)(check)
    app.command("schema", help=SCHEMA_HELP)(show_schema)


def check(
    ctx: typer.Context,
    *,
    show: Annotated[
        bool, typer.Option("--print", help="Show the settings in force, without secrets.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    found = examine(given(ctx))
    if as_json:
        print_json(found.plain(show=show))
    else:
        for problem in found.problems:
            typer.echo(str(problem), err=True)
        if show and found.settings:
            typer.echo(_yaml(redacted(found.settings)))
        typer.echo(found.summary(), err=not found.is_fine)
    raise typer.Exit(0 if found.is_fine else 2)


@dataclass
class Findings:
    """What one examination found."""

    problems: list[Problem] = field(default_factory=list)
    settings: Settings | None = None
    configuration: Configuration | None = None

    @property
    def errors(self) -> int:
        return sum(not problem.is_warning for problem in self.problems)

    @property
    def is_fine(self) -> bool:
        return not self.errors

    def summary(self) -> str:
        warnings = len(self.problems) - self.errors
        known = self.configuration
        if not self.is_fine or known is None:
            return f"{_count(self.errors, 'error')}, {_count(warnings, 'warning')}"
        receivers = len(known.settings.receivers)
        parts = [
            *_watched(known),
            _count(len(known.rules.rules), "rule"),
            _count(receivers, "receiver"),
        ]
        return f"fine: {', '.join(parts)}" + (f"; {_count(warnings, 'warning')}" if warnings else "")

    def plain(self, *, show: bool) -> dict[str, Any]:
        problems = [{**one._asdict(), "place": one.place._asdict()} for one in self.problems]
        shown = {"settings": redacted(self.settings)} if show and self.settings else {}
        return {"ok": self.is_fine, "problems": problems, **shown}


def examine(given: Given) -> Findings:
    """Everything that can be told without starting: settings, secrets, rules, routes, promises."""
    found = Findings()
    try:
        reader = Reader(given.config, given.env)
        found.settings = settings = reader.settings()
        found.problems += settings.warnings
        found.problems += reader.secret_problems(settings)
        found.configuration = configuration = complete(reader, settings)
    except SettingsError as error:
        found.problems += error.problems
        return found
    found.problems += broken_promises(reader, configuration, configuration.terms)
    found.problems += seldom_updates(reader, configuration, len(configuration.terms))
    found.problems += empty_files(reader, configuration)
    found.problems += nothing_to_find(reader, configuration)
    rules = configuration.rules
    found.problems += spec.warnings(rules, settings.watch.source, has_groups=bool(settings.watch.groups))
    if settings.receivers:
        found.problems += unreachable(rules, configuration.orders.routes, _labelled(configuration))
    return found


def _watched(configuration: Configuration) -> Iterator[str]:
    """How many there are to watch; who is to be discovered is not known yet."""
    watch, roster = configuration.settings.watch, configuration.roster
    if roster.members or not (watch.groups or any(watch.discovered)):
        yield _count(len(roster.members), "user")
    if discovered := len(list(watch.discovered)):
        yield f"{_count(discovered, 'cohort')} to discover"
    if roster.groups:
        yield _count(len(roster.groups), "group")


def _labelled(configuration: Configuration) -> dict[str, Labels]:
    """The labels that alerts will carry, by who or what has them."""
    roster, cohorts = configuration.roster, configuration.settings.watch.cohorts
    members = {str(uid): member.labels for uid, member in roster.members.items()}
    unknown = {f"cohort {one.name}": one.labels for one in cohorts if one.discover is not None}
    groups = {f"group {guid}": member.labels for guid, member in roster.groups.items()}
    return {**members, **unknown, **groups}


def empty_files(reader: Reader, configuration: Configuration) -> Iterator[Problem]:
    """A warning for each cohort whose file names nobody: right on the first day, else a file cut short."""
    for position, cohort in enumerate(configuration.settings.watch.cohorts):
        if cohort.file and not configuration.listed[cohort.name]:
            place = reader.place(("watch", "cohorts", position, "file"))
            message = f'{cohort.file} names nobody: cohort "{cohort.name}" watches no user'
            yield Problem(place, message, is_warning=True)


def nothing_to_find(reader: Reader, configuration: Configuration) -> Iterator[Problem]:
    """A warning for each pattern that no rule file fits, and if there is no rule at all."""
    for position, name in enumerate(configuration.settings.rules.files):
        if not rule_files(Path(name)):
            message = f"rules.files: no file fits {name} yet; mend it if there should be one"
            yield Problem(reader.place(("rules", "files", position)), message, is_warning=True)
    if not configuration.rules.rules:
        message = "there is no rule: nothing will ever be found"
        example = "rules: {packs: [missed-calls]}"
        yield Problem(reader.place(("rules",)), message, example, is_warning=True)


def unreachable(
    rules: RuleSet, routes: Sequence[RouteSpec], labelled: Mapping[str, Labels]
) -> Iterator[Problem]:
    """A warning for each rule whose alerts no route takes, for all users or for some."""
    teams: dict[tuple[tuple[str, str], ...], str] = {}
    for name, labels in labelled.items():
        teams.setdefault(tuple(sorted(labels.items())), name)
    for rule in rules.rules:
        lost = [uid for team, uid in teams.items() if not _reaches(rule, dict(team), routes)]
        if not lost:
            continue
        whose = (
            "" if len(lost) == len(teams) else f" about {', '.join(sorted(lost))} (and users labelled alike)"
        )
        message = f'alerts of rule "{rule.name}"{whose} reach no receiver: end `routes` with a catch-all'
        yield Problem(rule.place, message, "routes: [..., {receivers: [oncall]}]", is_warning=True)


def _reaches(rule: Rule, labels: Labels, routes: Sequence[RouteSpec]) -> bool:
    own = {"rule": str(rule.name), "severity": rule.severity.value}
    found = places({**rule.labels, **labels, **own}, routes, now=None)
    # One that leads to nobody is meant so; one that only leads further on is not.
    return any(place.receivers or not place.spec.routes for place in found)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _yaml(value: Any) -> str:
    import yaml

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110).rstrip()


class Schemas(StrEnum):
    SETTINGS = "settings"
    RULES = "rules"
    TESTS = "tests"


def show_schema(
    of: Annotated[Schemas, typer.Argument(help="Of the settings file, of rule files, or of rule tests.")],
) -> None:
    match of:
        case Schemas.SETTINGS:
            print_json(schema())
        case Schemas.RULES:
            print_json(spec.schema())
        case Schemas.TESTS:
            from monitor.timeline import grammar

            print_json(grammar.schema())
