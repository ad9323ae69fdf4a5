"""Messages of the past for `backtest` and `diff`, fetched, cached or recorded; and the rules to run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from monitor.cli.given import Given, recalled, say
from monitor.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from monitor.configuration import Configuration
    from monitor.evaluation import Orders
    from monitor.history.fetching import Fetched, Step
    from monitor.history.recorded import Past
    from monitor.history.shelf import Place
    from monitor.rehearsal import Rehearsed
    from monitor.settings.model import Api
    from monitor.tally import Tally
    from rules.engine import RuleSet
    from rules.model import ListId, Message, WatchSet
    from rules.text import Source

TESTS: Final = ".test.yaml"  # what stands beside rules to try them
MANY: Final = 20_000  # messages that take long enough for a progress bar


# --- what is rehearsed ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Messages, and whose eyes look at them."""

    past: Past
    messages: Sequence[Message]  #: in event order
    since: datetime
    until: datetime
    orders: Orders  #: their rules are the configured ones, or the shipped packs
    app: str
    link: str | None = None
    list_source: str | None = None  #: of `watch.source`; None: nobody says
    fetched: Fetched | None = None
    folder: Path | None = None
    notes: tuple[str, ...] = ()

    def rules(self, names: Sequence[str]) -> RuleSet:
        """The rules under these names; without any, the configured ones."""
        return rules_of(names, app=self.app, link=self.link) if names else self.orders.rules


def recorded_stage(source: Given, files: Sequence[Path], *, since: datetime | None) -> Stage:
    from monitor.history.recorded import recorded

    return _of_past(source, recorded(files), since)


def kept_stage(source: Given, folder: Path, *, since: datetime | None) -> Stage:
    """What `backtest` left in the cache, of the settings' app or, without settings, of the only one."""
    from monitor.history.recorded import cached
    from monitor.history.shelf import volumes

    configuration = _configured(source)
    app = configuration.settings.api.app if configuration else None
    paths = volumes(folder, app)
    if not paths:
        raise ConfigError(
            f"{folder}: no history is kept here: fill it with `cometwatch backtest --cache {folder}` or name "
            "recorded files"
        )
    if len({path.parent.parent for path in paths}) > 1:
        raise ConfigError(f"{folder}: it has the history of several apps; say which one by --config FILE")
    beginning = datetime(1970, 1, 1, tzinfo=UTC)
    past = cached(paths, since or beginning)
    return _of_past(source, past, since)


def _of_past(source: Given, past: Past, since: datetime | None) -> Stage:
    """Messages of files: who is watched is as configured, or everybody whom the messages name."""
    from monitor.rehearsal import in_event_order
    from monitor.replay import taking_part

    messages = in_event_order(past.messages)
    if since is not None:
        messages = [message for message in messages if message.sent_at >= since]
    configuration = _configured(source)
    orders = configuration.orders if configuration else _open_orders(taking_part(messages))
    begins, ends = (messages[0].sent_at, messages[-1].sent_at) if messages else (since, since)
    now = datetime(1970, 1, 1, tzinfo=UTC)  # of no messages at all
    return Stage(
        past=past,
        messages=orders.concerned(messages),
        since=since or begins or now,
        until=past.until or ends or now,
        orders=orders,
        app=configuration.settings.api.app if configuration else "backtest",
        link=configuration.settings.alerts.link if configuration else None,
        list_source=configuration.settings.watch.source if configuration else None,
    )


def _configured(source: Given) -> Configuration | None:
    """The whole configuration, if there is one."""
    from monitor.configuration import read

    return read(source.config, source.env) if source.config is not None else None


def _open_orders(watch: WatchSet) -> Orders:
    """Without settings: the shipped packs, and one receiver for everything."""
    from monitor.delivery.policy import RouteSpec
    from monitor.evaluation import Orders

    return Orders(
        rules=rules_of((), app="backtest"),
        watch=watch,
        routes=(RouteSpec(receivers=("on-call",)),),
        max_age=timedelta.max,
    )


def tallied(stage: Stage, rules: RuleSet, zone: tzinfo) -> Tally:
    from monitor.tally import tally

    rehearsed = _rehearsed(replace(stage.orders, rules=rules), stage)
    names = [rule.name for rule in rules.rules]
    return tally(rehearsed, names, since=stage.since, until=stage.until, zone=zone)


def _rehearsed(orders: Orders, stage: Stage) -> Rehearsed:
    from monitor.rehearsal import rehearse

    messages: Iterable[Message] = stage.messages
    if len(stage.messages) > MANY and sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        messages = track(messages, "Judging", console=Console(stderr=True), transient=True)
    return rehearse(orders, messages, until=stage.until)


# --- which rules ------------------------------------------------------------------------------------------


def rules_of(names: Sequence[str], *, app: str, link: str | None = None) -> RuleSet:
    """The rules of files, folders and packs; without names, of the usual packs. Raises ConfigError."""
    from monitor.settings.model import Rules
    from monitor.settings.text import beside
    from rules import spec
    from rules.text import SpecError

    try:
        sources = [found for name in names or Rules().packs for found in _sources(name)]
        return spec.load(sources, app=app, link=link, read=beside)
    except SpecError as error:
        raise ConfigError(str(error)) from error


def _sources(name: str) -> Iterator[Source]:
    """A path that exists is a path; else it is the name of a pack."""
    from monitor.settings.text import source_of
    from rules import spec

    path = Path(name)
    if path.is_dir():
        files = (file for file in path.glob("*.yaml") if not file.name.endswith(TESTS))
        found = sorted(file for file in files if file.is_file())
        if not found:
            raise ConfigError(f"{name}: there is no *.yaml in this folder")
        yield from map(source_of, found)
    elif path.is_file() or "/" in name or path.suffix:
        yield source_of(path)
    else:
        yield spec.pack(name)


def split(names: str) -> list[str]:
    return [names] if Path(names).exists() else [name.strip() for name in names.split(",") if name.strip()]


# --- the history of lists ---------------------------------------------------------------------------------


class History:
    """Whose history is fetched, by which API."""

    def __init__(
        self, source: Given, *, base_url: str | None, key_file: Path | None, users: Sequence[str]
    ) -> None:
        from monitor.cli.asking import Where

        self.configuration = _configured(source)
        self.notes: list[str] = []
        if self.configuration is None and not users:
            raise typer.BadParameter("say whose history: --user UID, or --config with your settings")
        self._where = Where(source, base_url, key_file)
        if self.configuration is not None and not users:
            self.configuration = self._with_found(source, self.configuration)
        self._users = list(users)

    @property
    def api(self) -> Api:
        return self._where.api

    @property
    def url(self) -> str:
        return self._where.url

    @property
    def list_source(self) -> str:
        return self.configuration.settings.watch.source if self.configuration else "user"

    def places(self) -> tuple[Place, ...]:
        """The lists to read, each once."""
        from monitor.history.shelf import Place
        from monitor.lists import place_of

        source = self.list_source
        found = dict.fromkeys(place_of(list_id, source) for list_id in self._lists())
        return tuple(Place(self.api.app, endpoint.value, name) for endpoint, name in found)

    def orders(self) -> Orders:
        """What is watched: who was named, with their labels, or everybody of the settings."""
        configured = self.configuration.orders if self.configuration else _open_orders({})
        if not self._users:
            return configured
        from monitor.lists import GROUP, is_person
        from rules.model import UserId

        people = [UserId(uid.lower()) for uid in self._users if is_person(UserId(uid))]
        watch = {uid: configured.watch.get(uid, {}) for uid in people}
        groups = frozenset(name.removeprefix(GROUP) for name in self._users if name.startswith(GROUP))
        return replace(configured, watch=watch or configured.watch, groups=groups or configured.groups)

    def _lists(self) -> Iterator[ListId]:
        from monitor.lists import APP, ONE_FOR_ALL, is_person
        from rules.model import ListId

        if not self._users:
            assert self.configuration is not None
            yield from map(ListId, self.configuration.terms)
        elif self.list_source == ONE_FOR_ALL:
            yield APP
        else:
            for name in self._users:
                yield ListId(name.lower() if is_person(ListId(name)) else name)

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
    from monitor.history.recorded import cached
    from monitor.history.shelf import path_of
    from monitor.rehearsal import in_event_order

    places = history.places()
    if not places:
        raise ConfigError("nobody is watched: name users in watch.users, or give --user UID")
    fetched = None if offline else _fetched(history, places, since, folder, redact=redact, budget=budget)
    known = [place for place in places if fetched is None or place not in fetched.unknown]
    paths = {place: path_of(folder, place, is_redacted=redact) for place in known}
    missing = [place for place, path in paths.items() if not path.is_file()]
    past = cached([path for path in paths.values() if path.is_file()], since)
    if past.until is None and not known:
        raise ConfigError(f"CometChat does not have {some(places)}: check the names")
    if past.until is None:
        raise ConfigError(f"{folder}: it has nothing of these lists; fetch it without --offline")
    orders, until = history.orders(), past.until
    messages = in_event_order(message for message in past.messages if message.sent_at < until)
    configured = history.configuration
    return Stage(
        past=past,
        messages=orders.concerned(messages),
        since=since,
        until=until,
        orders=orders,
        app=history.api.app,
        link=configured.settings.alerts.link if configured else None,
        list_source=history.list_source,
        fetched=fetched,
        folder=folder,
        notes=(*history.notes, *_gaps(missing, past.short)),
    )


def _gaps(missing: Sequence[Place], short: Sequence[Place]) -> Iterator[str]:
    if missing:
        yield f"Nothing is kept of {some(missing)}: fetch without --offline."
    if short:
        yield f"Not known back to the day asked for: {some(short)}; fetch without --offline."


def some(places: Sequence[Place], most: int = 5) -> str:
    names = [place.name or "the app" for place in places]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


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
    from random import Random

    import trio

    from monitor.allowance import Allowance
    from monitor.clock import Clock
    from monitor.history.fetching import fetch
    from monitor.schedule.budget import Budget
    from monitor.source.client import Client
    from monitor.source.transport import open_http

    per_minute = _budget(history, budget)

    async def fetching(progress: Progress) -> Fetched:
        clock = Clock()
        spent = Budget(per_minute=per_minute, now=clock.monotonic(), share=history.api.share)
        async with open_http() as http:
            client = Client(
                base_url=history.url,
                api_key=history.api.key,
                http=http,
                clock=clock,
                timeout_s=history.api.timeout.total_seconds(),
                max_body=history.api.max_body,
            )
            return await fetch(
                client,
                Allowance(budget=spent, clock=clock),
                places,
                since=since,
                folder=folder,
                is_redacted=redact,
                tell=progress.told,
                random=Random(),  # noqa: S311 - spreads retries, guards nothing
            )

    with _calmly(), Progress(len(places), since) as progress:
        try:
            return trio.run(fetching, progress)
        except* KeyboardInterrupt:
            say("Interrupted. What was read is kept: the same command goes on from there.")
            raise typer.Exit(130) from None


@contextmanager
def _calmly() -> Iterator[None]:
    """Only errors are logged: what passes is waited for, and the bar shows that."""
    import logging

    import structlog

    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        yield
    finally:
        structlog.configure(**before)


def _budget(history: History, asked: int | None) -> int:
    """Requests a minute. A monitor that runs beside us spends the same quota: then they must be said."""
    from monitor.probe import is_well

    configured = history.api.requests_per_minute
    if asked is not None:
        return asked
    if history.configuration is not None:
        listen = history.configuration.settings.server.listen
        if is_well(listen, live=True).is_yes:
            raise ConfigError(
                f"a monitor is running on {listen} and may spend the whole budget of {configured} requests a "
                "minute: say how many more this may take, for example --requests-per-minute "
                f"{max(1, configured // 5)}"
            )
    return configured


class Progress:
    """A bar on a terminal; silent elsewhere."""

    def __init__(self, lists: int, since: datetime) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        from monitor.clock import system_wall

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

    def told(self, step: Step) -> None:
        back = (step.begins - self._since).total_seconds() if step.begins else 0.0
        self._reached[step.place] = 1.0 if step.is_done else min(max(1 - back / self._span, 0.0), 1.0)
        self._done += step.is_done
        self._rows += step.rows
        self._requests += 1
        words = f"{self._done:,} of {self._lists:,} lists, {self._rows:,} rows, {self._requests:,} requests"
        self._bar.update(self._task, completed=sum(self._reached.values()), words=words)


def default_cache() -> Path:
    """Where people's programs keep what they can fetch again."""
    base = os.environ.get("XDG_CACHE_HOME") or ""
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return root / "cometwatch" / "history"
