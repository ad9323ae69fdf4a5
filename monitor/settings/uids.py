"""A file of uids: one a line, # begins a comment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic_core import PydanticCustomError

from monitor.settings.forms import uid as checked
from monitor.settings.forms import wrong
from rules.model import UserId
from rules.text import Place, Problem, Source, SpecError

TOLD: Final = 10  # mistakes; a file of another kind has one in every line


def uids(source: Source) -> tuple[UserId, ...]:
    """The uids in `source`, in lower case, each once, in their order.

    Raises SpecError with the first mistakes, each at its line and column.
    """
    found: dict[UserId, None] = {}
    problems: list[Problem] = []
    for number, line, word in _words(source.text):
        try:
            found[UserId(_alone(checked(word)))] = None
        except PydanticCustomError as error:
            place = Place(source.name, number, line.index(word) + 1)
            problems.append(Problem(place, f"{error.message()}; one uid a line", "superhero2"))
    if problems:
        raise SpecError(_shortened(problems))
    return tuple(found)


def _alone(uid: str) -> str:
    if "," in uid:  # CometChat knows no such uid: this is a list, or a table saved as text
        raise wrong("a uid has no comma")
    return uid


def _words(text: str) -> Iterator[tuple[int, str, str]]:
    """The lines that say something: number, line, and what stands there without comment and blanks."""
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if word := line.partition("#")[0].strip():
            yield number, line, word


def _shortened(problems: list[Problem]) -> list[Problem]:
    if len(problems) <= TOLD:
        return problems
    rest = Problem(Place(problems[0].place.source), f"{len(problems) - TOLD} more lines are no uids")
    return [*problems[:TOLD], rest]
