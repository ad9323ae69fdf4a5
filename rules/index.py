"""Which rules could concern a message: by category and type, then by the one key that says most.

A thousand rules cost little more than ten: a message asks a few tables, however many rules stand in them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from rules.access import MANY, ONE, Look, is_searched, looking
from rules.conditions import Interest, Key
from rules.model import Message

E = TypeVar("E")

Table = Mapping[Hashable, tuple[int, ...]]
"""The entries, by their places in the index, that have a key with some value."""

FEW: Final = 4  # fewer searches than these one after the other are cheaper than one for all words


class Shelf(NamedTuple, Generic[E]):
    """The entries for the messages of one category and type."""

    everything: tuple[E, ...]
    always: tuple[E, ...]  #: that no key leads to
    places: tuple[int, ...]  #: of `always`
    ones: tuple[tuple[Callable[[Message], Hashable], Table], ...]
    manies: tuple[tuple[Look, Table], ...]


class Index(Generic[E]):
    """Finds the entries that could concern a message, in their order.

    An entry's interest tells which: none is missed, and of those found some may not apply.
    """

    def __init__(self, entries: Sequence[tuple[Interest, E]]) -> None:
        self._entries = tuple(entry for _, entry in entries)
        interests = _plainer([interest for interest, _ in entries])
        self._keys = [interest.keys for interest in interests]
        self._looks = _looks(self._keys)
        self._shelves: dict[tuple[int, ...], Shelf[E]] = {}
        named = {word for interest in interests for word in interest.categories or ()}
        self._tables = {category: self._by_type(interests, category) for category in named}
        self._others = self._by_type(interests, None)

    def at(self, message: Message) -> Sequence[E]:
        types, rest = self._tables.get(message.category, self._others)
        shelf = types.get(message.type, rest)
        if not shelf.ones and not shelf.manies:
            return shelf.always
        found: list[tuple[int, ...]] = []
        try:
            for look_at, table in shelf.ones:
                if (places := table.get(look_at(message))) is not None:
                    found.append(places)
            for look, table in shelf.manies:
                for value in look(message):
                    if value in table:
                        found.append(table[value])  # noqa: PERF401 - this runs for every message
        except Exception:
            # A message that can't be looked at, or that RE2 has no memory for: each rule sees for itself.
            return shelf.everything
        return self._picked(shelf, found) if found else shelf.always

    def _picked(self, shelf: Shelf[E], found: Sequence[tuple[int, ...]]) -> list[E]:
        if len(found) == 1 and not shelf.places:
            return [self._entries[place] for place in found[0]]
        return [self._entries[place] for place in sorted(set(shelf.places).union(*found))]

    def _by_type(
        self, interests: Sequence[Interest], category: str | None
    ) -> tuple[dict[str, Shelf[E]], Shelf[E]]:
        """For one category (None: one that no entry names): the shelf of each named type, and of the rest."""
        here = [
            (interest.types, place)
            for place, interest in enumerate(interests)
            if interest.categories is None or category in interest.categories
        ]
        named = {word for types, _ in here for word in types or ()}
        table = {
            word: self._shelf(tuple(place for types, place in here if types is None or word in types))
            for word in named
        }
        return table, self._shelf(tuple(place for types, place in here if types is None))

    def _shelf(self, places: tuple[int, ...]) -> Shelf[E]:
        if places not in self._shelves:
            self._shelves[places] = self._made(places)
        return self._shelves[places]

    def _made(self, places: tuple[int, ...]) -> Shelf[E]:
        tables: dict[str, dict[Hashable, tuple[int, ...]]] = {}
        for place in places:
            for aspect, value in self._keys[place] or ():
                table = tables.setdefault(aspect, {})
                table[value] = (*table.get(value, ()), place)
        always = tuple(place for place in places if self._keys[place] is None)
        return Shelf(
            everything=tuple(self._entries[place] for place in places),
            always=tuple(self._entries[place] for place in always),
            places=always,
            ones=tuple((ONE[aspect], table) for aspect, table in tables.items() if aspect in ONE),
            manies=tuple(
                (self._looks[aspect], table) for aspect, table in tables.items() if aspect not in ONE
            ),
        )


def _plainer(interests: Sequence[Interest]) -> list[Interest]:
    """With a look for any text in place of one for words, unless words lead to many entries."""
    of_words = [any(key.aspect == "piece" for key in interest.keys or ()) for interest in interests]
    if sum(of_words) >= FEW:
        return list(interests)
    return [interest._replace(keys=_any_text(interest.keys)) for interest in interests]


def _any_text(keys: frozenset[Key] | None) -> frozenset[Key] | None:
    if keys is None:
        return None
    return frozenset(Key("text", value=True) if key.aspect == "piece" else key for key in keys)


def _looks(keys: Sequence[frozenset[Key] | None]) -> dict[str, Look]:
    """How to look at each aspect that may have several values; the words of all entries share one search."""
    values: dict[str, set[str]] = {}
    for aspect, value in (key for way in keys for key in way or ()):
        if is_searched(aspect):
            values.setdefault(aspect, set()).add(str(value))
    return dict(MANY) | {aspect: looking(aspect, sorted(told)) for aspect, told in values.items()}
