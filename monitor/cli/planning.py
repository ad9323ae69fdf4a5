"""`cometwatch plan`: how soon messages will be seen, before anything is deployed or changed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer
from pydantic_core import PydanticCustomError

from monitor.cli.given import AsJson, Given, given, print_json, print_table, span
from monitor.clock import system_wall
from monitor.configuration import Configuration
from monitor.errors import ConfigError
from monitor.planning import FREE, PAID, Line, PartLine, Question, answers, document, parts_of
from monitor.roster import roster
from monitor.schedule.activity import Activity
from monitor.schedule.forecast import Part
from monitor.schedule.plan import Load
from monitor.settings.forms import duration, duration_text
from monitor.settings.reading import NOT_SETTINGS, PREFIX
from rules.model import ListId

if TYPE_CHECKING:
    from monitor.settings import Settings

PLAN_HELP: Final = """Tell how soon messages will be seen with the requests there are; nothing is sent.

Example:  cometwatch plan --users 1000 --requests-per-minute 250 --max-staleness 16m

With --config it takes users, weights, promises and budget from the settings, and options replace them.
Traffic is that of a simulated chat with --messages-per-day new rows in each list; with --from-store it is the
activity that this monitor has recorded.
"""
SAMPLE: Final = 2000  # lists of the store that are reckoned with

MEASURED: Final = """\
Measured from a message being sent until it is read in a watched list, once for each list that shows it, as
cometwatch_detection_delay_seconds does. The time of the request itself comes on top."""
SIMULATED: Final = """\
- simulated chat, {per_day:g} new rows a day in a list on average: few people write most of it, and replies
  come within seconds or minutes. Polled by this scheduler on a simulated clock, such chat had a mean within a
  tenth of what is told here, other people of the same kind within a fifth. Real people differ more than that:
  compare with --from-store after some days"""
RECORDED: Final = """\
- traffic goes on as it is at this moment by the store's record, in bursts as in simulated chat. When this
  scheduler polled such chat on a simulated clock, the mean was 1.0 to 1.6 times what is told here"""


def register(app: typer.Typer) -> None:
    app.command("plan", help=PLAN_HELP)(plan)


def plan(
    ctx: typer.Context,
    *,
    users: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help="So many users, instead of the settings'.")
    ] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, max=PAID, help="The budget; 250 without settings.")
    ] = None,
    max_staleness: Annotated[
        str | None, typer.Option(help="What each list is promised, for example 60s; or auto.")
    ] = None,
    min_interval: Annotated[str | None, typer.Option(help="Of one list; 2s without settings.")] = None,
    messages_per_day: Annotated[
        float, typer.Option(min=0.1, max=10_000, help="New rows in a list, on average.")
    ] = 30.0,
    from_store: Annotated[
        bool, typer.Option("--from-store", help="Reckon with the recorded activity of the watched lists.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    source = given(ctx)
    options = Options(users, requests_per_minute, max_staleness, min_interval, messages_per_day)
    if from_store and users is not None:
        raise typer.BadParameter("--from-store knows its lists: leave out --users")
    plain = source.config is None and users is not None
    if not plain and source.config is None and not _are_settings_in(source.env):
        raise typer.BadParameter("say whom to plan for: --users 1000, or --config with your settings")
    question = options.plain() if plain else asked(source, options, from_store=from_store)
    _refuse_less_than_an_interval(question)
    lines = list(_told(question))
    if as_json:
        print_json(document(question, lines))
    else:
        _show(question, lines)


def _refuse_less_than_an_interval(question: Question) -> None:
    least = question.min_interval
    for part in question.parts:
        if part.max_staleness is not None and part.max_staleness < least:
            raise ConfigError(
                f"a promise of {span(part.max_staleness)} can't be kept, no list is polled again within "
                f"{span(least)}: promise as much or more, or plan with --min-interval "
                f"{duration_text(timedelta(seconds=part.max_staleness))}"
            )


def _are_settings_in(env: Mapping[str, str]) -> bool:
    return any(name.startswith(PREFIX) and name not in NOT_SETTINGS for name in env)


# --- what is asked ------------------------------------------------------------------------------------


class Options(NamedTuple):
    """What the command line says; None is what it does not say."""

    users: int | None = None
    requests_per_minute: int | None = None
    max_staleness: str | None = None
    min_interval: str | None = None
    per_day: float = 30.0

    def plain(self) -> Question:
        """Without settings: so many users, all alike."""
        promise = _promise(self.max_staleness)
        seconds = promise.total_seconds() if isinstance(promise, timedelta) else None
        return Question(
            parts=(Part("users", self.users or 1, 1.0, seconds),),
            requests_per_minute=self.requests_per_minute or 250,
            min_interval=_span("--min-interval", self.min_interval or "2s").total_seconds(),
            per_day=self.per_day,
        )

    def laid_over(self, settings: Settings) -> Settings:
        api, poll = {}, {}
        if self.requests_per_minute is not None:
            api["requests_per_minute"] = self.requests_per_minute
        if self.max_staleness is not None:
            poll["max_staleness"] = _promise(self.max_staleness)
        if self.min_interval is not None:
            poll["min_interval"] = _span("--min-interval", self.min_interval)
        return settings.model_copy(
            update={
                "api": settings.api.model_copy(update=api),
                "poll": settings.poll.model_copy(update=poll),
            }
        )


def _promise(text: str | None) -> timedelta | str:
    return "auto" if text in {None, "auto"} else _span("--max-staleness", text or "")


def _span(option: str, text: str) -> timedelta:
    try:
        found = duration(text)
    except PydanticCustomError as error:
        raise ConfigError(f"{option} {text}: {error.message()}") from error
    if found < timedelta(milliseconds=100):
        raise ConfigError(f"{option} {text}: give 100ms or more, for example {option} 60s")
    return found


def asked(source: Given, options: Options, *, from_store: bool = False) -> Question:
    """What the settings ask for, with the options laid over. Raises ConfigError or StoreError."""
    written = source.configuration()
    settings = options.laid_over(written.settings)
    who = roster(settings, listed=written.listed, found={})
    configuration = replace(written, settings=settings, roster=who)
    loads: tuple[Load, ...] = ()
    notes: tuple[str, ...] = ()
    if from_store:
        configuration, loads = _recorded(source, configuration)
    else:
        notes = tuple(_uncounted(configuration))
    parts = parts_of(configuration.terms, configuration.roster)
    if options.users is not None:
        parts, notes = options._replace(max_staleness=_common(settings)).plain().parts, ()
    if not parts:
        raise ConfigError(
            "nobody is known to be watched yet; say how many to expect, for example --users 1000"
        )
    return Question(
        parts=parts,
        requests_per_minute=settings.api.requests_per_minute,
        min_interval=settings.poll.min_interval.total_seconds(),
        per_day=options.per_day,
        loads=loads,
        notes=notes,
    )


def _common(settings: Settings) -> str:
    promise = settings.poll.max_staleness
    return f"{promise.total_seconds()}s" if isinstance(promise, timedelta) else "auto"


def _uncounted(configuration: Configuration) -> Iterator[str]:
    if configuration.settings.watch.source in {
        "app",
        "groups",
    }:  # however many they are, it is the same lists
        return
    for cohort in configuration.settings.watch.cohorts:
        if cohort.discover is not None:
            yield (
                f'Cohort "{cohort.name}" is found while running and not counted here: add --from-store after '
                "the first run, or --users with the number you expect."
            )


def _recorded(source: Given, configuration: Configuration) -> tuple[Configuration, tuple[Load, ...]]:
    """The lists as the store knows them, those that were discovered too, and how busy they are now."""
    with source.store() as store:
        rows = {row.uid: row for row in store.users() if row.left_at is None}
    configuration = configuration.recalling(rows.values())
    terms = configuration.terms
    known = [(rows[ListId(uid)].activity, wish) for uid, wish in terms.items() if ListId(uid) in rows]
    if not any(packed for packed, _ in known):
        raise ConfigError(
            "the store has no activity of these lists yet: let `cometwatch run` watch for an hour, "
            "or plan without --from-store"
        )
    if len(known) > SAMPLE:
        known = Random(1).sample(known, SAMPLE)  # noqa: S311 - a repeatable sample
    wall = system_wall().timestamp()
    return configuration, tuple(
        Load(
            Activity.unpacked(packed or (), now=0.0, wall=wall).rate(0.0),
            wish.weight,
            wish.max_staleness or math.inf,
        )
        for packed, wish in known
    )


# --- for people ---------------------------------------------------------------------------------------


def _told(question: Question) -> Iterator[Line]:
    """The answers, with a bar on a terminal: each takes a second or more."""
    from rich.console import Console
    from rich.progress import track

    budgets = len(question.budgets())
    on = Console(stderr=True)
    is_shown = on.is_terminal and not question.loads
    yield from track(
        answers(question), "Planning", total=budgets, console=on, transient=True, disable=not is_shown
    )


def _show(question: Question, lines: Sequence[Line]) -> None:
    here = next(line for line in lines if line.requests_per_minute == question.requests_per_minute)
    typer.echo(_headline(question, here))
    for note in (*_broken(question, here), *question.notes):
        typer.echo(note)
    typer.echo("")
    columns = ("requests/min", "a round", "mean", "95 of 100 within", "worst", "round robin's mean", "in use")
    print_table(columns, [_cells(line, is_here=line is here) for line in lines], empty="")
    if len(here.parts) > 1:
        typer.echo("")
        columns = (
            f"with {here.requests_per_minute}",
            "lists",
            "weight",
            "promised",
            "mean",
            "95 of 100 within",
            "worst",
        )
        print_table(columns, map(_part_cells, here.parts), empty="")
    typer.echo("")
    for line in _assumptions(question, here):
        typer.echo(line)


def _headline(question: Question, here: Line) -> str:
    lists = "1 list" if question.lists == 1 else f"{question.lists:,} lists"
    return (
        f"{lists}, {question.requests_per_minute:,} requests a minute: a message is read "
        f"{span(here.mean_s)} after it was sent on average,\n"
        f"95 of 100 within {span(here.p95_s)}, none later than {span(here.worst_s)}."
    )


def _broken(question: Question, here: Line) -> Iterator[str]:
    if not question.is_kept:
        longer = question.needed_per_minute / question.requests_per_minute
        yield (
            f"NOT AS PROMISED: that takes {question.needed_per_minute:,} requests a minute, or promises "
            f"{longer:.1f} times as long.\nA start is refused; a running monitor stretches all promises, "
            f"here {here.stretch:.1f} times."
        )


def _cells(line: Line, *, is_here: bool) -> Sequence[str]:
    return (
        f"{line.requests_per_minute:,}{' <' if is_here else ''}",
        span(line.round_s),
        span(line.mean_s),
        span(line.p95_s),
        span(line.worst_s),
        span(line.round_robin_mean_s),
        f"{min(1.0, line.share_of_quota):.0%}",
    )


def _part_cells(part: PartLine) -> Sequence[str]:
    promised = "auto" if part.max_staleness_s is None else span(part.max_staleness_s)
    delays = (span(part.mean_s), span(part.p95_s), span(part.worst_s))
    return (part.name, f"{part.lists:,}", f"{part.weight:g}", promised, *delays)


def _assumptions(question: Question, here: Line) -> Iterator[str]:
    yield MEASURED
    if here.first_mean_s is not None:
        first = span(here.first_mean_s)
        yield f"Where everybody who talks is watched, one of their lists shows it after {first} on average."
    yield "\nThis assumes:"
    yield RECORDED if question.loads else SIMULATED.format(per_day=question.per_day)
    budget = question.requests_per_minute
    yield (
        f"- all {budget:,} requests a minute are granted, and nothing is to be caught up with. They are\n"
        f"  {budget / FREE:.0%} of the free plan's {FREE}, {budget / PAID:.1%} of a paid plan's {PAID:,}; "
        "your product takes from the\n  same, and with api.share we leave it a part of what there is"
    )
