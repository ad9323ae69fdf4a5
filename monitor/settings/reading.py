"""From a file and variables to settings, or to every problem found, each with its place."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any, Final, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from monitor.delivery.matchers import parse
from monitor.errors import ConfigError
from monitor.settings.forms import duration_text, several
from monitor.settings.model import Settings, confidants
from monitor.settings.routes import walk
from monitor.settings.text import Document, Loc, read, source_of
from rules.model import Severity
from rules.text import Place, Problem, SpecError

PREFIX: Final = "COMETWATCH_"
REGIONS: Final = ("us", "eu", "in")
LISTING: Final = "cometwatch schema settings"
NOT_SETTINGS: Final = frozenset({"COMETWATCH_CONFIG"})  # read by the command line itself

OF_RULES: Final = frozenset({"calendars", "lists", "conditions"})
"""Keys of rules files that routes make one look for in the settings."""

BOUNDS: Final = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}

# Kubernetes gives every pod variables for every service of its namespace. One called "cometwatch" would
# otherwise keep the monitor from starting.
SERVICE_LINK: Final = re.compile(
    r"COMETWATCH(_\w+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)$"
)


class SettingsError(ConfigError):
    """The settings can't be used; `problems` are all of them, the message has one a line."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


def load(config: Path | None, env: Mapping[str, str]) -> Settings:
    """Settings from `config`, overridden by the `COMETWATCH_` variables of `env`.

    Raises SettingsError with every problem found. Secret files are not read here: see `secret_problems`.
    """
    return Reader(config, env).settings()


class Reader:
    """One reading of one configuration: remembers where everything was written, to say so."""

    def __init__(self, config: Path | None, env: Mapping[str, str]) -> None:
        """Raises SettingsError when the file can't be read or is no YAML."""
        self.files = (config,) if config else ()
        self._folder = config.parent if config else Path()
        self._document = _document(config)
        self._env = {
            name: value
            for name, value in env.items()
            if name.startswith(PREFIX) and not _is_foreign(name, value)
        }
        self._variables: dict[Loc, str] = {}

    def settings(self) -> Settings:
        problems = list(self._wrong_variables())
        values = self._values()
        try:
            settings = Settings.model_validate(values, context={"folder": self._folder})
        except ValidationError as error:
            problems += map(self._explained, _telling(error.errors(include_url=False, include_input=False)))
            settings = None
        problems += self._names_that_lead_nowhere(values)
        if problems or settings is None:
            raise SettingsError(tuple(sorted(problems, key=lambda problem: problem[:2])))
        settings._warnings = tuple(self._doubts(values, settings))
        return settings

    def place(self, loc: Loc, *, of_key: bool = False) -> Place:
        """Where the value at `loc` was given: a variable, or a line of the file."""
        for length in range(len(loc), 0, -1):
            if variable := self._variables.get(loc[:length]):
                return Place(variable)
        return self._document.place(loc, of_key=of_key)

    # variables

    def _wrong_variables(self) -> Iterator[Problem]:
        known = {PREFIX + "__".join(path).upper(): (path, field) for path, field in _paths(Settings)}
        for name, value in self._env.items():
            if name.upper() not in known:
                words = [word.removeprefix(PREFIX) for word in known]
                near = difflib.get_close_matches(name.upper().removeprefix(PREFIX), words, n=1)
                hint = f" (did you mean {PREFIX}{near[0]}?)" if near else f"; `{LISTING}` lists the keys"
                yield Problem(Place(name), f"no setting has this name{hint}")
                continue
            path, field = known[name.upper()]
            if _is_json(field):
                try:
                    json.loads(value)
                except ValueError:
                    yield Problem(Place(name), "expected JSON", f"{name}='{_json_example(field)}'")
                    continue
            self._variables[path] = name

    def _values(self) -> Any:
        """The file's values with the usable variables laid over them."""
        source = EnvSettingsSource(
            _Variables, case_sensitive=False, env_prefix=PREFIX.lower(), env_nested_delimiter="__"
        )
        usable = set(self._variables.values())
        source.env_vars = {name.lower(): value for name, value in self._env.items() if name in usable}
        over = source()
        if not isinstance(self._document.value, dict):
            return self._document.value
        return _laid_over(_made_way(self._document.value, over), over)

    # problems

    def _explained(self, error: ErrorDetails) -> Problem:
        loc = tuple(part for part in error["loc"] if part != "[key]")
        match error["type"]:
            case "extra_forbidden":
                return self._unknown_key(loc)
            case "missing":
                return Problem(self.place(loc[:-1]), f"{_dotted(loc)} is missing", _example(loc))
            case "too_short":
                message = "needs at least one"
            case "model_type" | "dict_type":
                message = "expected a mapping (keys with values)"
            case "tuple_type":
                message = "expected a list"
            case kind if kind in BOUNDS:
                message = f"expected {_bound(kind, _field_at(loc))}"
            case _:
                message = error["msg"].replace("Input should be", "expected")
        example = None if "for example" in message else _example(loc)
        return Problem(self.place(loc), f"{_dotted(loc)}: {message}", example)

    def _unknown_key(self, loc: Loc) -> Problem:
        key = str(loc[-1])
        fields = _fields(_model_at(loc[:-1]))
        elsewhere = [path for path, _ in _paths(Settings) if path[-1] == key]
        example: str | None
        if len(loc) == 1 and key in OF_RULES:
            hint, example = (
                f"; {key} stand in a rules file, beside its rules",
                "rules: {files: [./rules.yaml]}",
            )
        elif near := difflib.get_close_matches(key, fields, n=1, cutoff=0.8):
            hint, example = f' (did you mean "{near[0]}"?)', _example((*loc[:-1], near[0]))
        elif elsewhere:
            hint, example = f' (did you mean "{_dotted(elsewhere[0])}"?)', None
        elif near := difflib.get_close_matches(key, fields, n=1):
            hint, example = f' (did you mean "{near[0]}"?)', _example((*loc[:-1], near[0]))
        else:
            hint, example = f"; known here: {', '.join(fields)}", None
        return Problem(self.place(loc, of_key=True), f'unknown key "{_dotted(loc)}"{hint}', example)

    def _names_that_lead_nowhere(self, values: Any) -> Iterator[Problem]:
        """What only shows when parts are seen together; told even when other parts are wrong."""
        names = [one.get("name") for one in _listed(values, "receivers") if isinstance(one, dict)]
        known = [name for name in names if isinstance(name, str)]
        for position, name in enumerate(names):
            if name in names[:position]:
                yield Problem(
                    self.place(("receivers", position, "name")),
                    f'a second receiver is named "{name}": names are unique',
                )
        for loc, name in _receivers_named(values):
            if isinstance(name, str) and name not in known:
                message = f'{_dotted(loc)}: no receiver is named "{name}"{_nearest(name, known)}'
                yield Problem(self.place(loc), message)
        for at, route in walk(_listed(values, "routes")):
            yield from self._unknown_severities(at, route)
            yield from self._leads_nowhere(at, route)
        yield from self._watchdogs_elsewhere(values)
        yield from self._listed_twice(values)

    def _watchdogs_elsewhere(self, values: Any) -> Iterator[Problem]:
        receivers = [one for one in _listed(values, "receivers") if isinstance(one, dict)]
        others = [one.get("name") for one in receivers if "alertmanager" not in one]
        for number, heartbeat in enumerate(_listed(values, "heartbeats")):
            name = heartbeat.get("alertmanager") if isinstance(heartbeat, dict) else None
            if name is not None and name in others:
                loc = ("heartbeats", number, "alertmanager")
                message = (
                    f'{_dotted(loc)}: receiver "{name}" is no alertmanager; give the url_file of a heartbeat'
                )
                yield Problem(self.place(loc), message)

    def _leads_nowhere(self, at: Loc, route: Any) -> Iterator[Problem]:
        is_outer = len(at) == len(("routes", 0))
        if is_outer and isinstance(route, dict) and not {"receivers", "routes"} & route.keys():
            yield Problem(
                self.place(at),
                f"{_dotted(at)}: a route names the receivers it leads to",
                "{receivers: [oncall]}; receivers: [] for alerts that nobody is to hear of",
            )
        elif not is_outer and isinstance(route, dict) and route.get("receivers") == []:
            yield Problem(
                self.place((*at, "receivers")),
                f"{_dotted((*at, 'receivers'))}: within another route, [] means that route's receivers; "
                "leave it out, or put the route before the other one",
            )

    def _unknown_severities(self, at: Loc, route: Any) -> Iterator[Problem]:
        match = route.get("match") if isinstance(route, dict) else None
        given = match.get("severity", ()) if isinstance(match, dict) else ()
        named = [((*at, "match", "severity"), name) for name in several(given)]
        for loc, name in (*named, *_severities_compared(at, route)):
            if isinstance(name, str) and name not in list(Severity):
                message = f'{_dotted(loc)}: no severity is named "{name}"{_nearest(name, list(Severity))}'
                yield Problem(self.place(loc), message)

    def _listed_twice(self, values: Any) -> Iterator[Problem]:
        for names in _lists_of_names(values):
            seen: set[str] = set()
            for loc, name in names:
                if name.lower() in seen:
                    message = f'"{name}" is listed twice: keep one (case does not matter)'
                    yield Problem(self.place(loc), message)
                seen.add(name.lower())

    def _doubts(self, values: Any, settings: Settings) -> Iterator[Problem]:
        for loc, name in chain.from_iterable(_lists_of_names(values)):
            if name != name.lower() and loc[-1] != "name":
                what = "guids" if "groups" in loc else "uids"
                yield Problem(
                    self.place(loc),
                    f'CometChat keeps {what} in lower case: watching "{name.lower()}" for "{name}"',
                    is_warning=True,
                )
        if settings.api.region and settings.api.region not in REGIONS:
            known = ", ".join(REGIONS)
            place = self.place(("api", "region"))
            yield Problem(
                place, f'region "{settings.api.region}" is not one we know ({known})', is_warning=True
            )
        for number, route in enumerate(settings.routes):
            if route.group_by == ():
                message = "group_by: [] groups nothing; Alertmanager makes one group of everything of it"
                example = "group_by: [rule]"
                yield Problem(self.place(("routes", number, "group_by")), message, example, is_warning=True)
        yield from self._never_reached(settings)
        yield from self._never_sent_to(settings)
        if not settings.receivers:
            place = self.place(("receivers",))
            yield Problem(
                place,
                "no receivers: alerts are only kept in the store",
                "receivers: [{name: here, console: {}}]",
                is_warning=True,
            )

    def _never_reached(self, settings: Settings) -> Iterator[Problem]:
        """Routes behind one that takes everything and does not say `continue`."""
        for at, _ in walk(settings.routes):
            siblings = (loc for loc, one in walk(settings.routes) if one.takes_everything)
            before = (loc for loc in siblings if loc[:-1] == at[:-1] and loc < at)
            if first := next(before, None):
                message = (
                    f"{_dotted(at)}: no alert gets here, as {_dotted(first)} takes them all: put it before"
                )
                yield Problem(self.place(at), message, is_warning=True)

    def _never_sent_to(self, settings: Settings) -> Iterator[Problem]:
        """Receivers that no route, step, fallback or heartbeat leads to."""
        all_routes = [route for _, route in walk(settings.routes)]
        named = {name for route in all_routes for name in route.receivers or ()}
        named |= {name for route in all_routes for step in route.escalate for name in step.receivers}
        named |= {one.fallback.receiver for one in settings.receivers if one.fallback}
        named |= {one.alertmanager for one in settings.heartbeats if one.alertmanager}
        for number, receiver in enumerate(settings.receivers):
            if receiver.name not in named:
                message = f'nothing is ever sent to "{receiver.name}": no route leads there'
                yield Problem(self.place(("receivers", number, "name")), message, is_warning=True)

    def secret_problems(self, settings: Settings) -> tuple[Problem, ...]:
        """Secrets and certificates that can't be read now: refused by `check` and a fresh start."""
        return tuple(self._unreadable(settings))

    def _unreadable(self, settings: Settings) -> Iterator[Problem]:
        for loc, section in confidants(settings):
            for error in section.secret_errors():
                yield Problem(self.place((*loc, error.key)), f"{_dotted(loc)}.{error}")
        for number, receiver in enumerate(settings.receivers):
            at: Loc = ("receivers", number, "tls")
            for key, trouble in receiver.tls.troubles():
                yield Problem(self.place((*at, key)), f"{_dotted(at)}.{key}: {trouble}")


def _telling(errors: list[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Without "needs at least one" for a list whose elements are the trouble: pydantic left them out."""
    locs = [error["loc"] for error in errors]
    for error in errors:
        is_echo = any(
            len(loc) > len(error["loc"]) and loc[: len(error["loc"])] == error["loc"] for loc in locs
        )
        if error["type"] != "too_short" or not is_echo:
            yield error


def _bound(kind: str, field: FieldInfo | None) -> str:
    """The limit that was passed, in the words in which people write it."""
    name, words = BOUNDS[kind]
    limits = (getattr(limit, name, None) for limit in (field.metadata if field else ()))
    limit = next((found for found in limits if found is not None), "allowed")
    return f"{words} {duration_text(limit) if isinstance(limit, timedelta) else limit}"


class _Variables(BaseSettings, Settings):
    """The same keys, as the shape in which pydantic-settings reads variables."""

    model_config = SettingsConfigDict(extra="forbid")


def _document(config: Path | None) -> Document:
    if config is None:
        document = Document("no --config given")
        document.value = {}
        return document
    try:
        return read(source_of(config, hint="name the settings file with --config"))
    except SpecError as error:
        raise SettingsError(error.problems) from error


def _is_foreign(name: str, value: str) -> bool:
    """Not ours to judge: read elsewhere, or made by Kubernetes for a service that is called like us."""
    is_link = SERVICE_LINK.match(name) or (name.endswith("_PORT") and re.match(r"(tcp|udp|sctp)://", value))
    return name in NOT_SETTINGS or bool(is_link)


def _laid_over(below: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in over.items():
        under = merged.get(key)
        if isinstance(value, dict) and isinstance(under, dict):
            merged[key] = _laid_over(under, value)
        else:
            merged[key] = value
    return merged


INSTEAD_OF: Final = {
    "api_key": ("api_key_file",),
    "api_key_file": ("api_key",),
    "base_url": ("app_id", "region"),
    "app_id": ("base_url",),
    "region": ("base_url",),
}


def _made_way(below: Mapping[str, Any], over: Mapping[str, Any]) -> Mapping[str, Any]:
    """A variable also takes the place of the file's other ways to say the same."""
    api, given = below.get("api"), over.get("api")
    if not isinstance(api, dict) or not isinstance(given, dict):
        return below
    gone = {other for key in given for other in INSTEAD_OF.get(key, ())}
    return {**below, "api": {key: value for key, value in api.items() if key not in gone}}


def _listed(values: Any, key: str) -> list[Any]:
    found = values.get(key) if isinstance(values, dict) else None
    return found if isinstance(found, list) else []


def _receivers_named(values: Any) -> Iterator[tuple[Loc, Any]]:
    """Every place that names a receiver of elsewhere."""
    for number, receiver in enumerate(_listed(values, "receivers")):
        fallback = receiver.get("fallback") if isinstance(receiver, dict) else None
        if isinstance(fallback, dict):
            yield ("receivers", number, "fallback", "receiver"), fallback.get("receiver")
    for number, heartbeat in enumerate(_listed(values, "heartbeats")):
        if isinstance(heartbeat, dict) and "alertmanager" in heartbeat:
            yield ("heartbeats", number, "alertmanager"), heartbeat["alertmanager"]
    for at, route in walk(_listed(values, "routes")):
        for position, name in enumerate(_listed(route, "receivers")):
            yield (*at, "receivers", position), name
        for step, one in enumerate(_listed(route, "escalate")):
            for position, name in enumerate(_listed(one, "receivers")):
                yield (*at, "escalate", step, "receivers", position), name


def _severities_compared(at: Loc, route: Any) -> Iterator[tuple[Loc, str]]:
    """The severities with which a route's matchers compare; a wrong matcher is told of elsewhere."""
    written = route.get("matchers") if isinstance(route, dict) else None
    for position, text in enumerate(several(written or ())):
        with suppress(ConfigError):
            matcher = parse(str(text))
            if matcher.label == "severity" and matcher.operator in {"=", "!="}:
                loc = (*at, "matchers", position) if isinstance(written, list) else (*at, "matchers")
                yield loc, matcher.value


def _lists_of_names(values: Any) -> Iterator[list[tuple[Loc, str]]]:
    """The lists of `watch` in which no name may stand twice: users, groups, cohorts, users of one cohort."""
    watch = values.get("watch") if isinstance(values, dict) else None
    yield _names(watch, ("watch", "users"), "uid")
    yield _names(watch, ("watch", "groups"), "guid")
    yield [((*loc, "name"), name) for loc, name in _names(watch, ("watch", "cohorts"), "name")]
    for number, cohort in enumerate(_listed(watch, "cohorts")):
        yield _names(cohort, ("watch", "cohorts", number, "users"), "uid")


def _names(section: Any, loc: Loc, key: str) -> list[tuple[Loc, str]]:
    """The names in the list at `loc`, whose entries are names or mappings with `key`."""
    entries = enumerate(_listed(section, str(loc[-1])))
    named = ((position, one.get(key) if isinstance(one, dict) else one) for position, one in entries)
    return [((*loc, position), str(name)) for position, name in named if isinstance(name, str | int)]


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f' (did you mean "{near[0]}"?)' if near else f" (there are: {', '.join(known) or 'none'})"


def _fields(model: type[BaseModel] | None) -> dict[str, FieldInfo]:
    """By the key that people write."""
    return {field.alias or name: field for name, field in model.model_fields.items()} if model else {}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _model_in(arg))), None)


def _field_at(loc: Loc) -> FieldInfo | None:
    model: type[BaseModel] | None = Settings
    field = None
    for part in loc:
        if isinstance(part, str):
            field = _fields(model).get(part)
            model = _model_in(field.annotation) if field else None
    return field


def _model_at(loc: Loc) -> type[BaseModel] | None:
    field = _field_at(loc)
    return _model_in(field.annotation) if field else (None if loc else Settings)


def _is_list(field: FieldInfo) -> bool:
    return "tuple[" in str(field.annotation)


def _is_json(field: FieldInfo) -> bool:
    """Whether a variable gives this as JSON: lists, mappings and whole sections."""
    return _is_list(field) or _model_in(field.annotation) is not None


def _paths(
    model: type[BaseModel], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Every key that a variable can set, sections before what is in them."""
    for key, field in _fields(model).items():
        yield (*above, key), field
        if not _is_list(field) and (inner := _model_in(field.annotation)):
            yield from _paths(inner, (*above, key))


def _dotted(loc: Loc) -> str:
    return (
        "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
        or "settings"
    )


def _example(loc: Loc) -> str | None:
    """How the setting at `loc` looks when it is right: its example, else its default."""
    field = _field_at(loc)
    if field is None:
        return None
    known = field.examples[0] if field.examples else field.default
    if isinstance(known, timedelta):
        known = duration_text(known)
    if not isinstance(known, str | int | float | list | dict):
        return None
    if isinstance(loc[-1], int):
        return _flow(known[0]) if isinstance(known, list) else None
    return f"{loc[-1]}: {_flow(known)}"


def _flow(value: Any) -> str:
    """YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _json_example(field: FieldInfo) -> str:
    return json.dumps(field.examples[0] if field.examples else {})
