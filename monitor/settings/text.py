"""The settings file: plain values, and for each of them the line and column it stands at."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from rules.text import Place, Problem, Source, SpecError, compose, place_of, value_of

Loc = tuple[str | int, ...]
"""The way to a value: keys of mappings and positions in lists."""

MAX_BYTES: Final = 16 * 1024 * 1024  # a file that lists every user of a large app
MAX_NODES: Final = 1_000_000


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


def source_of(path: Path, *, hint: str = "mend its name or its permissions") -> Source:
    """The text of a file under its name. Raises SpecError with the `hint` if it can't be read as text."""
    try:
        return Source(str(path), path.read_text(encoding="utf-8"))
    except OSError as error:
        problem = f"can't be read: {error.strerror}; {hint}"
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 text (byte {error.start}); save it as UTF-8"
    raise SpecError([Problem(Place(str(path)), problem)])


def beside(name: str, asked_by: str) -> Source:
    """The text of a file that another file names, relative to that one. Raises SpecError."""
    return source_of(Path(asked_by).parent / name)


def read(source: Source) -> Document:
    """The document in `source`; an empty one is an empty mapping. Raises SpecError with every problem."""
    document = Document(source.name)
    root = compose(source, max_bytes=MAX_BYTES, max_nodes=MAX_NODES)
    if root is None:
        document.value = {}
        return document
    problems: list[Problem] = []
    document.value = _Reading(document, problems).value(root, ())
    if problems:
        raise SpecError(problems)
    return document


class _Reading:
    """Turns composed nodes into values and notes where each stood."""

    def __init__(self, document: Document, problems: list[Problem]) -> None:
        self._document = document
        self._problems = problems

    def value(self, node: yaml.Node, loc: Loc, key: Place | None = None) -> Any:
        here = place_of(node.start_mark, self._document.source)
        self._document.note(loc, value=here, key=key)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, loc)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*loc, position)) for position, child in enumerate(node.value)]
        try:
            return value_of(node)
        except ValueError:
            self._problems.append(Problem(here, "a number of that many digits can't be read"))
            return None

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = place_of(key_node.start_mark, self._document.source)
            if not isinstance(key_node, yaml.ScalarNode):
                self._problems.append(Problem(place, "keys are plain words here", "key: value"))
            elif (key := key_node.value) in values:
                first = self._document.place((*loc, key), of_key=True)
                self._problems.append(
                    Problem(place, f'"{key}" is written twice, first in line {first.line}: keep one of them')
                )
            else:
                values[key] = self.value(value_node, (*loc, key), place)
        return values
