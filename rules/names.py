"""What rule files define once and use by name: lists of texts, conditions, calendars.

All files that are loaded together share their names. What was defined wrongly is known all the same, so
that one mistake is told once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import yaml

from rules.model import Value
from rules.text import Place, Problem, Source, SpecError

MAX_ENTRIES: Final = 100_000
MAX_FILE: Final = 4 * 1024 * 1024  # characters
TOLD: Final = 10  # mistakes in one list; a file of another kind has one in every line

EMPTY: Final = "\uffffan empty list\uffff"
"""The one value of a list without any: no message has it, since U+FFFF stands for no character."""

ReadFile = Callable[[str, str], Source]
"""The text of a file that a rule file names: (its name, the rule file's name). Raises SpecError."""


class Entry(NamedTuple):
    """One value of a named list, and where it stands."""

    text: str
    place: Place


class Pack(Value, frozen=True, kw_only=True):
    """What the authors of a rule file tell about it."""

    id: str
    version: str = ""
    title: str = ""
    description: str = ""
    level: str = "stable"  #: stable or experimental
    references: tuple[str, ...] = ()
    false_positives: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()


class Definition(NamedTuple):
    """A named condition as it was written; each use reads it by the grammar of where it is used."""

    node: yaml.Node
    source: str


def no_files(name: str, asked_by: str) -> Source:  # noqa: ARG001 - every reader of files takes both
    """Reads nothing: what is shipped with the program names no files."""
    raise SpecError([Problem(Place(asked_by), "no other files can be read from here: write the values out")])


@dataclass(kw_only=True)
class Names:
    """Everything that the files of one load define."""

    lists: dict[str, Sequence[Entry]] = field(default_factory=dict)
    conditions: dict[str, Definition] = field(default_factory=dict)
    calendars: dict[str, Any] = field(default_factory=dict)
    read_file: ReadFile = no_files
    is_symbolic: bool = False  #: lists stand for themselves: see `symbolic`
    broken: set[str] = field(default_factory=set)  #: conditions whose mistake is told where they stand
    broken_calendars: set[str] = field(default_factory=set)  #: in a file whose calendars have a mistake
    made: dict[tuple[str, str], Any] = field(default_factory=dict)  #: conditions by grammar and name

    def list_of(self, name: str) -> Sequence[Entry]:
        """The entries of a list that exists. One without any holds `EMPTY`, which nothing is equal to."""
        return self.lists[name] or (Entry(EMPTY, Place("")),)

    def symbolic(self) -> Names:
        """The same with lists whose names are all they hold, for what must not change with their content."""
        return Names(
            lists={name: (Entry(f"list {name}", Place("")),) for name in self.lists},
            conditions=self.conditions,
            calendars=self.calendars,
            is_symbolic=True,
            broken=self.broken,
        )


def entries_of(source: Source) -> tuple[Entry, ...]:
    """The values in a file: one a line, `#` at the start of a line or after a blank begins a comment.

    Raises SpecError with the first mistakes.
    """
    if len(source.text) > MAX_FILE:
        raise SpecError([Problem(Place(source.name), f"the file is larger than {MAX_FILE >> 20} MiB")])
    found: list[Entry] = []
    problems: list[Problem] = []
    for number, line in enumerate(source.text.removeprefix("\ufeff").split("\n"), 1):
        text = _uncommented(line).strip()
        if not text:
            continue
        place = Place(source.name, number, line.index(text) + 1)
        if wrong := entry_problem(text):
            problems.append(Problem(place, wrong, "refund", "one value a line"))
        found.append(Entry(text, place))
    if len(found) > MAX_ENTRIES:
        problems = [Problem(Place(source.name), f"{len(found)} values, more than {MAX_ENTRIES}")]
    if problems:
        raise SpecError(shortened(problems))
    return tuple(found)


def _uncommented(line: str) -> str:
    """Without the comment. A `#` inside a word belongs to it, as in c#."""
    if line.lstrip().startswith("#"):
        return ""
    for mark in (" #", "\t#"):
        line = line.partition(mark)[0]
    return line


def entry_problem(text: str) -> str | None:
    """What speaks against a value of a list, whatever the list is for."""
    if any(char < " " and char != "\t" for char in text):
        return "a control character stands here: is this a text file with one value a line?"
    return f"found a text of {len(text)} characters, more than 1000" if len(text) > 1_000 else None


def shortened(problems: Sequence[Problem]) -> list[Problem]:
    """The first problems, and how many there are more."""
    if len(problems) <= TOLD:
        return list(problems)
    rest = Problem(Place(problems[0].place.source), f"{len(problems) - TOLD} more values are wrong likewise")
    return [*problems[:TOLD], rest]
