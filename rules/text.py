"""YAML as people write it: a bounded tree of nodes, each with its place, or what is wrong with it.

Words mean what they seem to mean (YAML 1.2): `no`, `on`, `0123` and `12e4` are text, only `true` and
`false` are booleans, only `12` and `1.5` are numbers. Anchors, aliases and tags are refused: a file
says what it says where it says it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import yaml

MAX_DEPTH: Final = 40  # deeper than anything people write; keeps the recursion far from Python's limit


class Source(NamedTuple):
    """A file that people wrote: its name as shown to them, and its text."""

    name: str
    text: str


class Place(NamedTuple):
    """Where something stands. Line and column count from 1; line 0 means the source as a whole."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


class Problem(NamedTuple):
    """One thing to mend, for the person who wrote it: where, what, and how it looks when it is right."""

    place: Place
    message: str
    example: str | None = None
    expected: str | None = None
    is_warning: bool = False

    def __str__(self) -> str:
        text = f"{self.place}: {'warning: ' if self.is_warning else ''}{self.message}"
        if self.expected:
            text += f"; expected {self.expected}"
        if self.example:
            text += f"; for example {self.example}"
        return text


class SpecError(ValueError):
    """What was written can't be used. `problems` holds everything that is wrong, in the order of the text."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def compose(source: Source, *, max_bytes: int, max_nodes: int) -> yaml.Node | None:
    """The node tree of the one document in `source`; None if it is empty. Raises SpecError."""
    start = Place(source.name, 1, 1)
    if len(source.text.encode("utf-8", "replace")) > max_bytes:
        raise SpecError([Problem(start, f"the file is larger than {max_bytes // 1024} KiB")])
    try:
        return _Loader(source.text, max_nodes).get_single_node()
    except _UnwelcomeError as error:
        raise SpecError([Problem(place_of(error.mark, source.name), error.message)]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = place_of(mark, source.name) if mark else start
        raise SpecError([Problem(place, f"this is not YAML: {_meant(error)}", "key: value")]) from error
    except yaml.YAMLError as error:  # characters that YAML forbids carry an offset instead of a mark
        message = f"this is not YAML: {' '.join(str(error).split())[:200]}"
        raise SpecError([Problem(start, message)]) from error


HINTS: Final = {
    r"'\t'": "indent with blanks",
    "cannot start any token": "put the text in quotes",
    "but found '<scalar>'": "put the whole text in quotes",
    "unknown escape": "in double quotes a backslash begins an escape, so take single quotes",
    "mapping values are not allowed": "put a text with a colon in quotes, and look at the indentation",
    "<block end>": "look at the indentation, what belongs together begins in the same column",
}
"""What is behind the parser's words mostly; the first that is in them counts."""


def _meant(error: yaml.MarkedYAMLError) -> str:
    """What the parser found, and what to look at."""
    found, mark = error.problem or error.context or "", error.context_mark
    if mark is not None and "while parsing a flow" in (error.context or ""):
        return f"{found}: look at the bracket that opens in {mark.line + 1}:{mark.column + 1}"
    hint = next((hint for words, hint in HINTS.items() if words in found), None)
    return f"{found}: {hint}" if hint else found


def place_of(mark: yaml.Mark, source: str) -> Place:
    return Place(source, mark.line + 1, mark.column + 1)


def written(node: yaml.Node, text: str) -> str:
    """What `node` was composed from, as it stands in `text`: whole lines, without the indentation of all."""
    start, end = node.start_mark.index, _end(node)
    rest = text[end:].partition("\n")[0]
    if rest.lstrip().startswith("#"):
        end += len(rest)
    return textwrap.dedent(" " * node.start_mark.column + text[start:end]).rstrip()


def _end(node: yaml.Node) -> int:
    """Where a node ends. In block style YAML tells where the next begins: comments may stand between."""
    if isinstance(node, yaml.CollectionNode) and node.value and not node.flow_style:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def places_in(node: yaml.ScalarNode, source: str) -> list[Place]:
    """Where each character of a scalar's value stands in its file, and at last where the value ends.

    Right to the character but for escapes in double quotes, after which a line's places may be off by some.
    """
    mark, value = node.start_mark, node.value
    text, at, end = str(mark.buffer), mark.pointer, node.end_mark.pointer
    line, column = mark.line + 1, mark.column + 1
    begins = text.index("\n", at) + 1 if node.style in ("|", ">") else at + (node.style is not None)
    found: list[Place] = []
    for char in (*value, None):
        while at < end and (at < begins or not _is_same(text[at], char)):
            line, column = (line + 1, 1) if text[at] == "\n" else (line, column + 1)
            at += 1
        found.append(Place(source, line, column))
        if at < end and char is not None:
            line, column = (line + 1, 1) if text[at] == "\n" else (line, column + 1)
            at += 1
    return found


def _is_same(written: str, char: str | None) -> bool:
    """Whether a character may stand for another: a line break for the blank that folding makes of it."""
    return char is None or written == char or (char.isspace() and written.isspace())


class _UnwelcomeError(Exception):
    """YAML that we don't take."""

    def __init__(self, message: str, mark: yaml.Mark) -> None:
        self.message, self.mark = message, mark
        super().__init__(message)


class _Loader(yaml.SafeLoader):
    """Composes with bounds: composing recurses, and one alias can stand for a million nodes."""

    yaml_implicit_resolvers: Any = {}  # noqa: RUF012 - PyYAML's own mutable class attribute

    def __init__(self, text: str, max_nodes: int) -> None:
        super().__init__(text)
        self._max_nodes = max_nodes
        self._nodes = self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self._nodes += 1
        self._depth += 1
        if wrong := self._unwelcome(event):
            raise _UnwelcomeError(wrong, event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _unwelcome(self, event: Any) -> str | None:
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            return "YAML anchors and aliases (& and *) are not used here: write the value out"
        if event.tag:
            return "YAML tags (!) are not used here: leave it out, and put text in quotes"
        if self._depth > MAX_DEPTH:
            return f"nested more than {MAX_DEPTH} levels deep"
        return f"more than {self._max_nodes} YAML nodes" if self._nodes > self._max_nodes else None


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ("~", "n", "N", "")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][-+]?[0-9]+)?", "-+0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), list(_first))


def value_of(node: yaml.Node) -> Any:
    """A scalar's value with the type that YAML sees. Raises ValueError for thousands of digits."""
    return yaml.constructor.SafeConstructor().construct_object(node)
