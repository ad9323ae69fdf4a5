"""The history of lists for `backtest`: whose it is, fetched as far as the cache lacks it, with a bar."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from random import Random

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from monitor.allowance import Allowance
from monitor.cli.asking import Where
from monitor.cli.given import Given, recalled, say
from monitor.cli.past import Stage, configured, names_of, open_orders
from monitor.clock import Clock, system_wall
from monitor.configuration import Configuration
from monitor.errors import ConfigError, StoreError
from monitor.evaluation import Orders
from monitor.history.fetching import Fetched, Step, fetch
from monitor.history.recorded import cached
from monitor.history.shelf import Place, path_of
from monitor.lists import APP, GROUP, ONE_FOR_ALL, guid_of, is_person, list_called, place_of
from monitor.logs import one_line, quietly
from monitor.probe import is_well
from monitor.rehearsal import in_event_order
from monitor.schedule.budget import Budget
from monitor.settings import Settings
from monitor.settings.model import Api
from monitor.source.client import Client, SourceError
from rules.model import ListId, UserId


class History:
    """Whose history is fetched, by which API."""

    def __init__(
        self, source: Given, *, base_url: str | None, key_file: Path | None, users: Sequence[str]
    ) -> None:
        self.configuration = configured(source)
        self.notes: list[str] = []
        if self.configuration is None and not users:
            raise typer.BadParameter("say whose history: --user UID, or --config with your settings")
        self.where = Where(source, base_url, key_file)
        if self.configuration is not None and not users:
            self.configuration = self._with_found(source, self.configuration)
        self._users = [list_called(name) for name in users]

    @property
    def api(self) -> Api:
        return self.where.api

    @property
    def settings(self) -> Settings | None:
        return self.configuration.settings if self.configuration else None

    @property
    def list_source(self) -> str:
        return self.settings.watch.source if self.settings else "user"

    def places(self) -> tuple[Place, ...]:
        """The lists to read, each once."""
        source = self.list_source
        found = dict.fromkeys(place_of(list_id, source) for list_id in self._lists())
        return tuple(Place(self.api.app, endpoint.value, name) for endpoint, name in found)

    def orders(self) -> Orders:
        """What is watched: who was named, with their labels, or everybody of the settings."""
        orders = self.configuration.orders if self.configuration else open_orders({})
        watch = {UserId(one): orders.watch.get(UserId(one), {}) for one in self._users if is_person(one)}
        groups = frozenset(guid_of(one) for one in self._users if one.startswith(GROUP))
        return replace(orders, watch=watch or orders.watch, groups=groups or orders.groups)

    def _lists(self) -> Iterable[ListId]:
        if not self._users:
            assert self.configuration is not None
            return map(ListId, self.configuration.terms)
        return (APP,) if self.list_source == ONE_FOR_ALL else self._users

    def _with_found(self, source: Given, configuration: Configuration) -> Configuration:
        """With the users of discovered cohorts, as the running monitor's store knows them."""
        names = [cohort.name for cohort in configuration.settings.watch.cohorts if cohort.discover]
        if not names:
            return configuration
        try:
            with source.store() as store:
                return recalled(configuration, store)
        except (StoreError, ConfigError) as error:
            self.notes.append(f"Cohorts that are discovered ({', '.join(names)}) are left out: {error}")
            return configuration


def historic_stage(
    history: History, folder: Path, since: datetime, *, offline: bool, redact: bool, budget: int | None
) -> Stage:
    """The history as the cache `folder` has it, unless `offline` fetched up to now before.

    Raises ConfigError if there is none, SourceError or HistoryError if it can't be fetched or kept.
    """
    places = history.places()
    if not places:
        raise ConfigError("nobody is watched: name users in watch.users, or give --user UID")
    fetched = None if offline else _fetched(history, places, since, folder, redact=redact, budget=budget)
    known = [place for place in places if fetched is None or place not in fetched.unknown]
    if not known:
        raise ConfigError(f"CometChat does not have {names_of(places)}: check the names")
    paths = {place: path_of(folder, place, is_redacted=redact) for place in known}
    missing = [place for place, path in paths.items() if not path.is_file()]
    past = cached([path for path in paths.values() if path.is_file()], since)
    if past.until is None:
        raise ConfigError(f"{folder}: it has nothing of these lists; fetch it without --offline")
    orders, until, settings = history.orders(), past.until, history.settings
    messages = in_event_order(message for message in past.messages if message.sent_at < until)
    return Stage(
        past=past,
        messages=orders.concerned(messages),
        since=since,
        until=until,
        orders=orders,
        app=history.api.app,
        link=settings.alerts.link if settings else None,
        list_source=history.list_source,
        fetched=fetched,
        folder=folder,
        notes=(*history.notes, *_gaps(missing, past.short)),
    )


def _gaps(missing: Sequence[Place], short: Sequence[Place]) -> Iterator[str]:
    if missing:
        yield f"Nothing is kept of {names_of(missing)}: fetch without --offline."
    if short:
        yield f"Not known back to the day asked for: {names_of(short)}; fetch without --offline."


def _fetched(
    history: History,
    places: Sequence[Place],
    since: datetime,
    folder: Path,
    *,
    redact: bool,
    budget: int | None,
) -> Fetched:
    """Fetch what the cache lacks, with a bar on a terminal. Interrupted, it says how to go on."""
    per_minute = _budget(history, budget)

    async def fetching(client: Client) -> Fetched:
        clock = Clock()
        spent = Budget(per_minute=per_minute, now=clock.monotonic(), share=history.api.share)
        return await fetch(
            client,
            Allowance(budget=spent, clock=clock),
            places,
            since=since,
            folder=folder,
            is_redacted=redact,
            tell=progress.told,
            waits=progress.waits,
            random=Random(),  # noqa: S311 - spreads retries, guards nothing
        )

    # What passes is waited for, and the bar shows that.
    with quietly(logging.ERROR), Progress(len(places), since) as progress:
        try:
            return history.where.ask(fetching)
        except* KeyboardInterrupt:
            say("Interrupted. What was read is kept: the same command goes on from there.")
            raise typer.Exit(130) from None


def _budget(history: History, asked: int | None) -> int:
    """Requests a minute. A monitor that runs beside us spends the same quota: then they must be said."""
    if asked is not None:
        return asked
    whole, settings = history.api.requests_per_minute, history.settings
    if settings is not None and is_well(settings.server.listen, live=True).is_yes:
        raise ConfigError(
            f"a monitor is running on {settings.server.listen} and may spend the whole budget of {whole} "
            "requests a minute: say how many more this may take, for example --requests-per-minute "
            f"{max(1, whole // 5)}"
        )
    return whole


class Progress:
    """A bar on a terminal; silent elsewhere."""

    def __init__(self, lists: int, since: datetime) -> None:
        self._since, self._span = since, (system_wall() - since).total_seconds() or 1.0
        self._lists, self._done, self._rows, self._requests = lists, 0, 0, 0
        self._reached: dict[Place, float] = {}
        console = Console(stderr=True)
        words = TextColumn("{task.fields[words]}")
        columns = (TextColumn("Fetching"), BarColumn(), words, TimeElapsedColumn())
        self._bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("Fetching", total=float(lists), words="")

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def waits(self, error: SourceError) -> None:
        """Said once for each trouble, on a terminal or not: else a minute passes without a word."""
        self._bar.console.print(
            f"{one_line(str(error))}; asking again for a minute", markup=False, soft_wrap=True
        )

    def told(self, step: Step) -> None:
        back = (step.begins - self._since).total_seconds() if step.begins else 0.0
        self._reached[step.place] = 1.0 if step.is_done else min(max(1 - back / self._span, 0.0), 1.0)
        self._done += step.is_done
        self._rows += step.rows
        self._requests += 1
        words = f"{self._done:,} of {self._lists:,} lists, {self._rows:,} rows, {self._requests:,} requests"
        self._bar.update(self._task, completed=sum(self._reached.values()), words=words)
