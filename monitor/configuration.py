"""Everything the operator wrote, read together: settings, rules, routes. Read whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from monitor.delivery.policy import RouteSpec
from monitor.errors import ConfigError
from monitor.evaluation import Orders
from monitor.settings.model import Settings
from monitor.settings.reading import load
from rules import spec
from rules.engine import RuleSet
from rules.grammar import Source, SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One reading of the configuration, and the files that it came from."""

    settings: Settings
    rules: RuleSet
    sources: tuple[Source, ...]  #: the texts that the rules came from
    files: frozenset[Path]

    def is_same(self, other: Configuration) -> bool:
        """Whether the same was written, to the letter where rules are concerned."""
        return (self.settings, self.sources) == (other.settings, other.sources)

    @property
    def orders(self) -> Orders:
        return Orders(
            rules=self.rules,
            watch=self.settings.watch.watch_set,
            routes=routes(self.settings),
            max_age=self.settings.alert_max_age,
        )


def read(config: Path | None, env: Mapping[str, str]) -> Configuration:
    """Read and check everything. Raises ConfigError with every problem found, each with its place."""
    settings = load(config, env)
    paths = tuple(rule_files(settings))
    sources = (*(_pack(name) for name in settings.rules.packs), *map(rule_source, paths))
    try:
        rules = spec.load(sources, app=settings.api.app, link=settings.alerts.link)
    except SpecError as error:
        raise ConfigError(str(error)) from error
    files = frozenset((*([config] if config else ()), *paths))
    return Configuration(settings=settings, rules=rules, sources=sources, files=files)


def routes(settings: Settings) -> tuple[RouteSpec, ...]:
    """The routes in the words of the routing policy."""
    return tuple(
        RouteSpec(match=route.match, receivers=route.receivers, continue_=route.continue_)
        for route in settings.routes
    )


def rule_files(settings: Settings) -> Iterator[Path]:
    """The rule files that the settings name, patterns expanded in alphabetical order.

    Raises ConfigError for a plain name that does not exist; a pattern may match nothing yet.
    """
    for name in settings.rules.files:
        path = Path(name)
        if not any(mark in name for mark in "*?["):
            if not path.is_file():
                raise ConfigError(f"rules.files: there is no file {name}; mend the name or create it")
            yield path
        else:
            yield from sorted(found for found in path.parent.glob(path.name) if found.is_file())


def rule_source(path: Path) -> Source:
    """A rule file's text under its name. Raises ConfigError if it can't be read as text."""
    try:
        return Source(str(path), path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read as text: {error}") from error


def _pack(name: str) -> Source:
    try:
        return spec.pack(name)
    except SpecError as error:
        raise ConfigError(f"rules.packs: {error}") from error
