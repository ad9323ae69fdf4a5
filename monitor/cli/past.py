"""What `backtest` and `diff` work with: messages of the past, whose eyes look at them, the rules to run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Final

from monitor.cli.given import Given
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.configuration import Configuration
    from monitor.evaluation import Orders
    from monitor.history.fetching import Fetched
    from monitor.history.recorded import Past
    from monitor.history.shelf import Place
    from monitor.rehearsal import Rehearsed
    from monitor.tally import Tally
    from rules.engine import RuleSet
    from rules.model import Message, WatchSet
    from rules.text import Source

TESTS: Final = ".test.yaml"  # what stands beside rules to try them
LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)  # before all messages, and the time of none at all
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
    """What is in files that were recorded. Raises ConfigError."""
    from monitor.history.recorded import recorded

    return _of_past(source, recorded(files), since)


def kept_stage(source: Given, folder: Path, *, since: datetime | None) -> Stage:
    """What `backtest` left in the cache, of the settings' app or, without settings, of the only one."""
    from monitor.history.recorded import cached
    from monitor.history.shelf import volumes

    configuration = configured(source)
    app = configuration.settings.api.app if configuration else None
    paths = volumes(folder, app)
    if not paths:
        raise ConfigError(
            f"{folder}: no history is kept here: fill it with `cometwatch backtest --cache {folder}` or name "
            "recorded files"
        )
    if len({path.parent.parent for path in paths}) > 1:
        raise ConfigError(f"{folder}: it has the history of several apps; say which one by --config FILE")
    return _of_past(source, cached(paths, since or LONG_AGO), since)


def _of_past(source: Given, past: Past, since: datetime | None) -> Stage:
    """Messages of files: who is watched is as configured, or everybody whom the messages name."""
    from monitor.rehearsal import in_event_order
    from monitor.replay import taking_part

    messages = in_event_order(past.messages)
    if since is not None:
        messages = [message for message in messages if message.sent_at >= since]
    configuration = configured(source)
    orders = configuration.orders if configuration else open_orders(taking_part(messages))
    begins, ends = (messages[0].sent_at, messages[-1].sent_at) if messages else (since, since)
    return Stage(
        past=past,
        messages=orders.concerned(messages),
        since=since or begins or LONG_AGO,
        until=past.until or ends or LONG_AGO,
        orders=orders,
        app=configuration.settings.api.app if configuration else "backtest",
        link=configuration.settings.alerts.link if configuration else None,
        list_source=configuration.settings.watch.source if configuration else None,
    )


def configured(source: Given) -> Configuration | None:
    """The whole configuration, if there is one."""
    return source.configuration() if source.config is not None else None


def open_orders(watch: WatchSet) -> Orders:
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
    """What these rules would have meant, by the days and hours of a time zone."""
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
    from rules.grammar import did_you_mean

    path = Path(name)
    if path.is_dir():
        files = (file for file in path.glob("*.yaml") if not file.name.endswith(TESTS))
        found = sorted(file for file in files if file.is_file())
        if not found:
            raise ConfigError(f"{name}: there is no *.yaml in this folder")
        yield from map(source_of, found)
    elif path.is_file() or "/" in name or path.suffix:
        yield source_of(path)
    elif name in spec.PACKS:
        yield spec.pack(name)
    else:
        close = did_you_mean(name, spec.PACKS)
        packs = ", ".join(spec.PACKS)
        raise ConfigError(f"there is no file, folder or pack {name}{close}; the packs are {packs}")


def split(names: str) -> list[str]:
    """One argument as names: of one that exists, whatever its name, or several with commas between."""
    return [names] if Path(names).exists() else [name.strip() for name in names.split(",") if name.strip()]


def default_cache() -> Path:
    """Where people's programs keep what they can fetch again."""
    base = os.environ.get("XDG_CACHE_HOME") or ""
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return root / "cometwatch" / "history"


def names_of(places: Sequence[Place], most: int = 5) -> str:
    """Whose lists they are, in a line."""
    names = [place.name or "the app" for place in places]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
