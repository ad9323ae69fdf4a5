"""What stands before the command: the settings file and the environment; and how commands print."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.configuration import Configuration
    from monitor.settings import Settings
    from monitor.store.store import Store
    from rules.engine import Rule, RuleSet

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@dataclass(frozen=True, slots=True)
class Given:
    """The configuration that a command works with."""

    config: Path | None
    env: Mapping[str, str]

    def settings(self) -> Settings:
        """Raises SettingsError with every problem."""
        from monitor.settings import load

        return load(self.config, self.env)

    def configuration(self) -> Configuration:
        """Settings, rules and users, read together. Raises SettingsError with every problem."""
        from monitor.configuration import read

        return read(self.config, self.env)

    def store(self) -> Store:
        """The store of these settings, beside the running process. Raises ConfigError or StoreError."""
        from monitor.clock import system_wall
        from monitor.store.store import Store

        settings = self.settings()
        return Store.open(settings.store.url, app=settings.api.app, now=system_wall, exclusive=False)


def given(ctx: typer.Context) -> Given:
    """What the root command was given."""
    found = ctx.find_root().obj
    return found if isinstance(found, Given) else Given(None, os.environ)


def recalled(configuration: Configuration, store: Store) -> Configuration:
    """The configuration with the users that the running monitor discovered, as its store remembers them."""
    discovers = any(configuration.settings.watch.discovered)
    return configuration.recalling(store.users()) if discovers else configuration


def rule_named(rules: RuleSet, name: str) -> Rule:
    """The rule that a person names. Raises ConfigError with the nearest name."""
    by_name = {str(rule.name): rule for rule in rules.rules}
    if name not in by_name:
        near = get_close_matches(name, by_name, n=1)
        hint = f'did you mean "{near[0]}"?' if near else "`cometwatch rules list` shows them"
        raise ConfigError(f'there is no rule "{name}": {hint}')
    return by_name[name]


def branch(app: typer.Typer, name: str, *, about: str, example: str) -> typer.Typer:
    """A command that only has commands below it, to be added by the caller."""
    made = typer.Typer(help=about, epilog=f"Example: {example}", no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(made, name=name)
    return made


def version() -> str:
    """Of the installed distribution."""
    try:
        return metadata.version("cometwatch")
    except metadata.PackageNotFoundError:
        return "(not installed, run from its source)"


# --- printing ---------------------------------------------------------------------------------------


def print_json(value: Any) -> None:
    """One JSON document; values of ours, times and enums included."""
    import msgspec

    typer.echo(json.dumps(msgspec.to_builtins(value, str_keys=True), ensure_ascii=False, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """A table as wide as the terminal; piped, every row stays on one line. `empty` stands for no rows.

    Columns without a name at all get no line for names; no line ends in blanks.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    if not rows:
        typer.echo(empty)
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=1000)
    table = Table(
        box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), show_header=any(columns)
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_visible(cell)) for cell in row))
    with console.capture() as capture:
        console.print(table)
    typer.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def _visible(text: str) -> str:
    from monitor.logs import one_line

    return one_line(text)


def moment(when: datetime | None) -> str:
    """A time to the second, in UTC."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}" if when else "-"


def instant(text: str, option: str) -> datetime:
    """The time that a person gave for `option`. Raises ConfigError for one without its zone."""
    example = "write it like 2026-11-22T18:00:00Z or 2026-11-22T19:00:00+01:00"
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f'{option}: "{text}" is no time; {example}') from None
    if when.tzinfo is None:
        raise ConfigError(f"{option}: {text} has no time zone; {example}")
    return when


def span(seconds: float) -> str:
    """A length of time as people say it: 0.42 s, 7.3 s, 42 s, 4m10s, 1h20m."""
    from monitor.settings.forms import duration_text

    if seconds < 59.5:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    grain = 1 if seconds < 600 else 60
    return duration_text(timedelta(seconds=grain * round(seconds / grain)))


def say(text: str) -> None:
    """For people only: a note on standard error, so that `--json` stays JSON."""
    typer.echo(text, err=True)
