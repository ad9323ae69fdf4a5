"""Everything the operator wrote, read together: settings, rules, routes. Read whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from msgspec import structs

from monitor.delivery.matchers import parse
from monitor.delivery.routing import USUAL, RouteSpec
from monitor.evaluation import Orders
from monitor.lists import ONE_FOR_ALL
from monitor.roster import Roster, Uids, roster
from monitor.schedule.turns import Wish
from monitor.settings import Reader, Settings, SettingsError
from monitor.settings.routes import Route, walk
from monitor.settings.text import beside, source_of
from monitor.settings.uids import uids
from monitor.store.values import Step, UserRow
from monitor.terms import terms_of
from rules import spec
from rules.calendars import EXAMPLE as A_CALENDAR
from rules.calendars import Named
from rules.engine import RuleSet
from rules.grammar import unknown
from rules.model import UserId
from rules.names import no_files
from rules.text import Problem, Source, SpecError
from rules.working_time import Calendar


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One reading of the configuration, and the files that it came from."""

    settings: Settings
    rules: RuleSet
    sources: tuple[Source, ...]  #: the texts that the rules came from
    named: tuple[Source, ...]  #: the texts of the files that those name: of lists, of holidays
    listed: Mapping[str, tuple[UserId, ...]]  #: the uids that stand in the files of cohorts
    files: frozenset[Path]
    roster: Roster  #: who is watched, as far as it is known now

    def is_same(self, other: Configuration) -> bool:
        """Whether the same was written, to the letter where rules are concerned."""
        ours, theirs = ((one.settings, one.sources, one.named, one.listed) for one in (self, other))
        return ours == theirs

    def finding(self, found: Uids) -> Configuration:
        """The same with the users that were discovered, by cohort; what was found before does not count."""
        return replace(self, roster=roster(self.settings, listed=self.listed, found=found))

    def recalling(self, rows: Iterable[UserRow]) -> Configuration:
        """The same with the users that were discovered in earlier lives, as the store remembers them."""
        found: dict[str, list[UserId]] = {name: [] for name, _ in self.settings.watch.discovered}
        for row in rows:
            if row.cohort in found and row.left_at is None:
                found[row.cohort].append(row.uid)
        return self.finding(found)

    @property
    def folders(self) -> frozenset[Path]:
        """Where a change may matter: the folders of the files, and of patterns that match nothing yet."""
        return frozenset(path.parent.resolve() for path in self._named if path.parent.is_dir())

    def is_named(self, path: Path) -> bool:
        """Whether a change of `path`, in one of the folders, can be a change of what was written.

        Names with two dots in front are Kubernetes' own: it exchanges a ConfigMap by swapping `..data`.
        """
        name = path.name
        names = [named.name for named in self._named]
        return name.startswith("..") or name in names or any(fnmatch(name, one) for one in names)

    @property
    def _named(self) -> Iterator[Path]:
        yield from self.files
        yield from map(Path, self.settings.rules.files)

    @property
    def terms(self) -> dict[str, Wish]:
        """The lists to read, and what each is worth. Made anew each time: ask once."""
        return terms_of(self.roster, self.settings.watch.source)

    @property
    def orders(self) -> Orders:
        return Orders(
            rules=self.rules,
            watch=self.roster.watch_set,
            routes=routes(self.settings, self.rules.calendars),
            max_age=self.settings.alert_max_age,
            groups=frozenset(self.roster.groups),
            is_app_wide=self.settings.watch.source == ONE_FOR_ALL,
        )


def read(config: Path | None, env: Mapping[str, str]) -> Configuration:
    """Read and check everything. Raises SettingsError with every problem found, each with its place."""
    reader = Reader(config, env)
    return complete(reader, reader.settings())


def complete(reader: Reader, settings: Settings) -> Configuration:
    """`settings`, with the rules and users in the files that they name. SettingsError has every problem."""
    problems: list[Problem] = []
    listed = dict(_listed(reader, settings, problems))
    packs = list(_packs(reader, settings, problems))
    paths = list(_paths(reader, settings, problems))
    sources = (*packs, *_texts(paths, problems))
    files = _Beside(packs=frozenset(pack.name for pack in packs))
    try:
        rules = spec.load(
            sources,
            app=settings.api.app,
            link=settings.alerts.link,
            read=files,
            shadow=settings.rules.shadow,
            off=settings.rules.off,
        )
    except SpecError as error:
        problems += (_in_settings(reader, problem) for problem in error.problems)
        raise SettingsError(tuple(problems)) from error
    problems += _unknown_calendars(reader, settings, rules)
    if problems:
        raise SettingsError(tuple(problems))
    lists = (Path(cohort.file) for cohort in settings.watch.cohorts if cohort.file)
    return Configuration(
        settings=settings,
        rules=rules,
        sources=sources,
        named=tuple(files.read.values()),
        listed=listed,
        files=frozenset((*reader.files, *paths, *map(Path, files.read), *lists)),
        roster=roster(settings, listed=listed, found={}),
    )


def routes(settings: Settings, calendars: Mapping[str, Calendar]) -> tuple[RouteSpec, ...]:
    """The routes in the words of the routing policy. `calendars` are those that the rules define."""
    return tuple(_route(route, calendars, (), {}) for route in settings.routes)


def _route(
    route: Route,
    calendars: Mapping[str, Calendar],
    grouped: tuple[str, ...],
    times: Mapping[str, timedelta],
) -> RouteSpec:
    """`grouped` and `times`: the labels by which the outer route groups, and what it says of when."""
    group_by = grouped if route.group_by is None else route.group_by
    told = {**times, **_times(route)}
    usual = USUAL if group_by else structs.replace(USUAL, repeat=None)
    return RouteSpec(
        receivers=route.receivers or (),
        match=route.match,
        matchers=tuple(map(parse, route.matchers)),
        continue_=route.continue_,
        routes=tuple(_route(inner, calendars, group_by, told) for inner in route.routes),
        group_by=group_by,
        timing=structs.replace(usual, **told) if told else None,
        during=_calendar(route.during, calendars),
        except_=_calendar(route.except_, calendars),
        steps=tuple(Step(after=step.after, receivers=step.receivers) for step in route.escalate),
    )


def _times(route: Route) -> dict[str, timedelta]:
    given = {"wait": route.group_wait, "interval": route.group_interval, "repeat": route.repeat_interval}
    return {key: span for key, span in given.items() if span is not None}


def _calendar(name: str | None, calendars: Mapping[str, Calendar]) -> Named | None:
    return None if name is None else Named(name=name, calendar=calendars[name])


def _unknown_calendars(reader: Reader, settings: Settings, rules: RuleSet) -> Iterator[Problem]:
    for loc, route in walk(settings.routes):
        for key, name in (("during", route.during), ("except", route.except_)):
            if name is not None and name not in rules.calendars:
                message = f"{key}: {unknown('calendar', name, rules.calendars)}"
                yield Problem(reader.place((*loc, key)), message, A_CALENDAR)


def _listed(
    reader: Reader, settings: Settings, problems: list[Problem]
) -> Iterator[tuple[str, tuple[UserId, ...]]]:
    """The uids in the files of cohorts."""
    for position, cohort in enumerate(settings.watch.cohorts):
        if cohort.file is None:
            continue
        loc = ("watch", "cohorts", position, "file")
        try:
            yield cohort.name, uids(source_of(Path(cohort.file)))
        except SpecError as error:
            named = f"watch.cohorts[{position}].file: {cohort.file} "
            problems += (
                one if one.place.line else one._replace(place=reader.place(loc), message=named + one.message)
                for one in error.problems
            )


def _packs(reader: Reader, settings: Settings, problems: list[Problem]) -> Iterator[Source]:
    for position, name in enumerate(settings.rules.packs):
        try:
            yield spec.pack(name)
        except SpecError as error:
            place = reader.place(("rules", "packs", position))
            problems += (problem._replace(place=place) for problem in error.problems)


def _paths(reader: Reader, settings: Settings, problems: list[Problem]) -> Iterator[Path]:
    """The rule files, patterns expanded in alphabetical order; a pattern may match nothing yet.

    A file that several names mean is one file.
    """
    known: set[Path] = set()
    for position, name in enumerate(settings.rules.files):
        try:
            found = rule_files(Path(name))
        except OSError as error:  # a folder that may not be searched, a name that is too long
            found, message = None, f"rules.files: {name} can't be looked up: {error.strerror or error}"
        else:
            message = f"rules.files: there is no file {name}; mend the name or create it"
        if found is None:
            problems.append(Problem(reader.place(("rules", "files", position)), message))
        for path in found or ():
            if path.resolve() not in known:
                known.add(path.resolve())
                yield path


def rule_files(path: Path) -> list[Path] | None:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Beside:
    """Reads the files that rule files name, each once, and keeps what it read."""

    packs: frozenset[str]
    read: dict[str, Source] = field(default_factory=dict)  #: by the path

    def __call__(self, name: str, asked_by: str) -> Source:
        if asked_by in self.packs:
            return no_files(name, asked_by)
        path = str(Path(asked_by).parent / name)
        if path not in self.read:
            self.read[path] = beside(name, asked_by)
        return self.read[path]


IN_SETTINGS: Final = re.compile(r"rules\.(?P<key>shadow|off)\[(?P<position>[0-9]+)\]")


def _in_settings(reader: Reader, problem: Problem) -> Problem:
    """The link's template and some names of rules stand in the settings: the rules can't know where."""
    if problem.place == spec.LINK:
        return problem._replace(place=reader.place(("alerts", "link")))
    if found := IN_SETTINGS.fullmatch(problem.place.source):
        return problem._replace(place=reader.place(("rules", found["key"], int(found["position"]))))
    return problem
