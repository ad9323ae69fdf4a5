"""Everything the operator wrote, read together: settings, rules, routes. Read whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from monitor.delivery.policy import RouteSpec
from monitor.evaluation import Orders
from monitor.settings import Reader, Settings, SettingsError
from monitor.settings.text import source_of
from rules import spec
from rules.engine import RuleSet
from rules.text import Problem, Source, SpecError


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
    def folders(self) -> frozenset[Path]:
        """Where a change may matter: the folders of the files, and of patterns that match nothing yet."""
        named = (*self.files, *(Path(name) for name in self.settings.rules.files))
        return frozenset(path.parent.resolve() for path in named if path.parent.is_dir())

    @property
    def orders(self) -> Orders:
        return Orders(
            rules=self.rules,
            watch=self.settings.watch.watch_set,
            routes=routes(self.settings),
            max_age=self.settings.alert_max_age,
        )


def read(config: Path | None, env: Mapping[str, str]) -> Configuration:
    """Read and check everything. Raises SettingsError with every problem found, each with its place."""
    reader = Reader(config, env)
    return complete(reader, reader.settings())


def complete(reader: Reader, settings: Settings) -> Configuration:
    """`settings` and the rules that they name. Raises SettingsError with every problem in those."""
    problems: list[Problem] = []
    packs = list(_packs(reader, settings, problems))
    paths = list(_paths(reader, settings, problems))
    sources = (*packs, *_texts(paths, problems))
    try:
        rules = spec.load(sources, app=settings.api.app, link=settings.alerts.link)
    except SpecError as error:
        problems += (_in_settings(reader, problem) for problem in error.problems)
        raise SettingsError(tuple(problems)) from error
    if problems:
        raise SettingsError(tuple(problems))
    return Configuration(
        settings=settings, rules=rules, sources=sources, files=frozenset((*reader.files, *paths))
    )


def routes(settings: Settings) -> tuple[RouteSpec, ...]:
    """The routes in the words of the routing policy."""
    return tuple(
        RouteSpec(match=route.match, receivers=route.receivers, continue_=route.continue_)
        for route in settings.routes
    )


def _packs(reader: Reader, settings: Settings, problems: list[Problem]) -> Iterator[Source]:
    for position, name in enumerate(settings.rules.packs):
        try:
            yield spec.pack(name)
        except SpecError as error:
            place = reader.place(("rules", "packs", position))
            problems += (problem._replace(place=place) for problem in error.problems)


def _paths(reader: Reader, settings: Settings, problems: list[Problem]) -> Iterator[Path]:
    """The rule files, patterns expanded in alphabetical order; a pattern may match nothing yet."""
    for position, name in enumerate(settings.rules.files):
        try:
            found = _named(Path(name))
        except OSError as error:  # a folder that may not be searched, a name that is too long
            found, message = None, f"rules.files: {name} can't be looked up: {error.strerror or error}"
        else:
            message = f"rules.files: there is no file {name}; mend the name or create it"
        if found is None:
            problems.append(Problem(reader.place(("rules", "files", position)), message))
        yield from found or ()


def _named(path: Path) -> list[Path] | None:
    """The files that a name or pattern of `rules.files` means; None if a plain name means none."""
    if _is_pattern(path):
        return sorted(found for found in path.parent.glob(path.name) if found.is_file())
    return [path] if path.is_file() else None


def _is_pattern(path: Path) -> bool:
    return any(mark in str(path) for mark in "*?[")


def _texts(paths: Iterable[Path], problems: list[Problem]) -> Iterator[Source]:
    for path in paths:
        try:
            yield source_of(path)
        except SpecError as error:
            problems += error.problems


def _in_settings(reader: Reader, problem: Problem) -> Problem:
    """The link's template stands in the settings: the rules can't know where."""
    is_link = problem.place == spec.LINK
    return problem._replace(place=reader.place(("alerts", "link"))) if is_link else problem
