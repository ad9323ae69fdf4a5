"""The command line: `cometwatch COMMAND`.

Commands stand in families, one file each, that are imported when one of their commands is asked for: so
`--help` is quick, and the health check of a container does not pay for the simulator.
Exit codes: 0 fine, 1 what was asked for failed, 2 wrong use or configuration.
"""

from __future__ import annotations

import difflib
import importlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_group

from monitor.cli.given import Given, version
from monitor.errors import CometwatchError

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "run": ("running", "Watch, until a signal says stop."),
    "demo": ("running", "Simulator, monitor and a receiver in one: nothing to set up."),
    "check": ("checking", "Find every mistake in settings and rules, with file:line:column."),
    "test": ("testing", "Run rule tests: timelines with what must be told by when."),
    "plan": ("planning", "Tell how soon messages will be seen with the requests there are."),
    "doctor": ("asking", "Find out what your CometChat app shows us."),
    "messages": ("asking", "Show messages of a user, with every filter of the API."),
    "status": ("state", "Users, receivers and how far we have read."),
    "explain": ("explaining", "Why an alert was raised, or what the rules made of a message."),
    "rules": ("ruling", "List the rules, show one, draw where they lead."),
    "outbox": ("outbox", "List, show, redrive or drop what is to be delivered."),
    "notify": ("trying", "Send a made-up alert to a receiver, to try the road."),
    "render": ("trying", "Show what receivers would be sent of a rule's alert."),
    "routes": ("routing", "Show which receivers are told of what, and why."),
    "alerts": ("silencing", "List alerts: what fires, who looks after it, what is silenced."),
    "silence": ("silencing", "Stop alerts by their labels for a while."),
    "ack": ("silencing", "Look after alerts: no repeats, no escalation."),
    "unack": ("silencing", "Take that back."),
    "mute": ("outbox", "Stop a rule's alerts for a while: a silence of rule=NAME."),
    "mutes": ("outbox", "List the silences in force."),
    "unmute": ("outbox", "End one."),
    "cursor": ("state", "Show or move the place up to which a user's list was read."),
    "rejects": ("state", "Rows of CometChat that could not be decoded."),
    "schema": ("checking", "JSON Schemas of settings, rules and rule tests, for editors."),
    "replay": ("replaying", "Show what the rules would find in recorded answers of CometChat."),
    "backtest": ("backtesting", "Run rules over messages of the past; nothing is sent."),
    "diff": ("backtesting", "Compare two rule sets on the same messages, in CI too."),
    "simulate": ("simulating", "Serve a simulated CometChat API."),
    "healthcheck": ("running", "Ask the running monitor whether it is well."),
}
"""Command -> the family that has it, and what the list of commands says of it."""

EVERYWHERE: Final = ("--config", "-c")  # people write it before or after the command


class LazyGroup(TyperGroup):
    """The root: knows the names of all commands, and imports only the one that is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer's signature
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - as above
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            self.commands.update(family(COMMANDS[cmd_name][0]))
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in COMMANDS:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f'did you mean "{near[0]}"?' if near else "`cometwatch --help` lists them"
            ctx.fail(f'there is no command "{args[0]}" ({hint})')
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as above
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, hoisted(args))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CometwatchError as error:
            raise _exit([error]) from error
        except BaseExceptionGroup as group:
            if group.split(KeyboardInterrupt)[1] is None:  # Ctrl-C before a command listens for signals
                raise KeyboardInterrupt from group
            ours, others = group.split(CometwatchError)
            if others is not None or ours is None:
                raise
            raise _exit(list(_leaves(ours))) from group


def family(name: str) -> dict[str, Any]:
    """The commands of one family, built now."""
    made = typer.Typer(rich_markup_mode=None)
    importlib.import_module(f"monitor.cli.{name}").register(made)
    made.callback()(lambda: None)  # a family of one command is a group too
    return dict(get_group(made).commands)


def hoisted(args: list[str]) -> list[str]:
    """`args` with `--config FILE` in front, wherever it stood."""
    front: list[str] = []
    rest: list[str] = []
    words = iter(args)
    for word in words:
        if word == "--":
            return [*front, *rest, word, *words]
        if word in EVERYWHERE:
            front += [word, *_next(words)]
        elif word.startswith("--config="):
            front.append(word)
        else:
            rest.append(word)
    return [*front, *rest]


def _next(words: Iterator[str]) -> list[str]:
    word = next(words, None)
    return [] if word is None else [word]


def _leaves(group: BaseExceptionGroup[CometwatchError]) -> Iterator[CometwatchError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _exit(errors: list[CometwatchError]) -> typer.Exit:
    for line in dict.fromkeys(line for error in errors for line in str(error).splitlines()):
        typer.echo(f"cometwatch: {line}", err=True)
    return typer.Exit(max(error.exit_code for error in errors))


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cometwatch {version()}")
        raise typer.Exit


app = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog="Example: cometwatch --config cometwatch.yaml check",
)


@app.callback()
def root(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", envvar="COMETWATCH_CONFIG", help="The settings file (YAML)."),
    ] = None,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Watch the messages of chosen CometChat users and tell on-call people what matters."""
    assert not show_version  # the callback has left
    ctx.obj = Given(config, os.environ)
