"""YAML as people write it: plain values, and for each of them the line and column it stands at.

Words mean what they seem to mean (YAML 1.2): `no`, `on`, `0123` and `12e4` are text, only `true` and
`false` are booleans, only `12` and `1.5` are numbers. A key that is written twice is an error, not a
surprise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import yaml

Loc = tuple[str | int, ...]
"""The way to a value: keys of mappings and positions in lists."""

MAX_DEPTH: Final = 40  # deeper than any settings; keeps the recursion far from Python's limit


PLAIN_TAGS: Final = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


class Place(NamedTuple):
    """Where something stands. Line and column count from 1; line 0 means the source as a whole."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


class Problem(NamedTuple):
    """One thing to mend: where, what, and how it looks when it is right."""

    place: Place
    message: str
    example: str | None = None
    is_warning: bool = False

    def __str__(self) -> str:
        kind = "warning: " if self.is_warning else ""
        return f"{self.place}: {kind}{self.message}" + (
            f"; for example {self.example}" if self.example else ""
        )


class YamlTextError(ValueError):
    """The text is not YAML that we can read; `problems` says all that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class Document:
    """The values of one text, and their places."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.value: Any = None
        self._keys: dict[Loc, Place] = {}
        self._values: dict[Loc, Place] = {}

    def note(self, loc: Loc, *, value: Place, key: Place | None = None) -> None:
        self._values[loc] = value
        self._keys[loc] = key or value

    def place(self, loc: Loc, *, of_key: bool = False) -> Place:
        """Where the value at `loc` stands, or the nearest thing around it that is written down.

        Parts of `loc` that the text does not have (the name of a union's member) are skipped.
        """
        known: Loc = ()
        for part in loc:
            if (*known, part) in self._values:
                known = (*known, part)
        places = self._keys if of_key or known != loc else self._values
        return places.get(known, Place(self.source))

    def has(self, loc: Loc) -> bool:
        return loc in self._values


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's idea of what a plain word is."""

    yaml_implicit_resolvers: Any = {}  # noqa: RUF012  # PyYAML's own mutable class attribute


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ("~", "n", "N", "")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][-+]?[0-9]+)?", "-+0123456789"),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), list(_first))


def read(text: str, source: str) -> Document:
    """The document in `text`; an empty one is an empty mapping. Raises YamlTextError with every problem."""
    document = Document(source)
    try:
        root = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise YamlTextError([_not_yaml(error, source)]) from error
    if root is None:
        document.value = {}
        return document
    problems: list[Problem] = []
    document.value = _Reading(document, problems).value(root, ())
    if problems:
        raise YamlTextError(problems)
    return document


def _not_yaml(error: Exception, source: str) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark or error.context_mark):
        return Problem(_at(mark, source), f"not YAML: {error.problem or error.context}", "key: value")
    if isinstance(error, RecursionError):
        return Problem(Place(source), "nested too deeply")
    return Problem(Place(source), f"not YAML: {' '.join(str(error).split())}")


def _at(mark: yaml.Mark, source: str) -> Place:
    return Place(source, mark.line + 1, mark.column + 1)


class _Reading:
    """Turns composed nodes into values and notes where each stood."""

    def __init__(self, document: Document, problems: list[Problem]) -> None:
        self._document = document
        self._problems = problems
        self._scalars = _Loader("")

    def value(self, node: yaml.Node, loc: Loc, key: Place | None = None) -> Any:
        here = _at(node.start_mark, self._document.source)
        self._document.note(loc, value=here, key=key)
        if len(loc) > MAX_DEPTH:
            self._problems.append(Problem(here, "nested too deeply"))
            return None
        if not isinstance(node, yaml.ScalarNode) and node.tag not in PLAIN_TAGS:
            self._problems.append(Problem(here, f"tags ({node.tag}) have no meaning here: leave it out"))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, loc)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*loc, position)) for position, child in enumerate(node.value)]
        return self._scalar(node, here)

    def _scalar(self, node: yaml.Node, here: Place) -> Any:
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError):
            self._problems.append(
                Problem(here, f"can't read this value (tag {node.tag}); write it as plain text")
            )
            return None

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = _at(key_node.start_mark, self._document.source)
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None or key == "<<":
                self._problems.append(Problem(place, "keys are plain words here", "key: value"))
            elif key in values:
                first = self._document.place((*loc, key), of_key=True)
                self._problems.append(
                    Problem(place, f'"{key}" is written twice, first in line {first.line}: keep one of them')
                )
            else:
                values[key] = self.value(value_node, (*loc, key), place)
        return values
