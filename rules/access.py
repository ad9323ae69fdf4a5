"""Ways to a rule: what a message must have for a condition to hold, as keys that an index can look up.

A rule that asks for `sender: boss` need not be asked about anybody else's messages. A way may only err on
the safe side: whoever meets the condition has one of its keys, not the other way round.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

import re2

from rules.conditions import (
    FIELDS,
    FLAGS,
    IDS,
    AllOf,
    AnyOf,
    Attachments,
    Condition,
    Field,
    Flag,
    Interest,
    Key,
    Mentions,
    Metadata,
    Tags,
    TextMatch,
    beyond_interest,
    is_glob,
    searched,
)
from rules.model import Message

Keys = frozenset[Key]

WILD: Final = re.compile("[*?]")
START: Final = "^"  # ends the aspects whose values are the starts of globs: `sender^`
SELECTIVE: Final = frozenset({*IDS - {"role"}, "tag", "mentioned", "extension"})
SEARCHED: Final = frozenset({"piece", "metadata", "custom", *(name + START for name in FIELDS)})
BROAD: Final = frozenset({"text", "receiver_type", "category", "type"})


def interest_of(condition: Condition) -> Interest:
    """Everything an index can use: categories and types, and the best way to the rest of the condition."""
    return condition.interest()._replace(keys=keys(beyond_interest(condition)))


def keys(condition: Condition) -> Keys | None:
    """A message that meets the condition has at least one of these; None: it may have anything."""
    match condition:
        case Field(name=name, values=values):
            return _field_keys(name, values)
        case Tags(values=values) if not any(map(is_glob, values)):
            return _each("tag", _lower(values))
        case Mentions():
            return _mention_keys(condition)
        case TextMatch():
            return _text_keys(condition)
        case Metadata(where=where, path=path) if path and (condition.equals or condition.exists):
            return _each(where, path[:1])
        case Attachments():
            return _attachment_keys(condition)
        case Flag(name=name, wanted=True):
            return _each(name, [True])
        case AllOf(conditions=parts):
            return min(filter(None, map(keys, parts)), key=_breadth, default=None)
        case AnyOf(conditions=parts):
            ways = [keys(part) for part in parts]
            return None if None in ways else frozenset().union(*(way for way in ways if way is not None))
        case _:
            return None


def _breadth(way: Keys) -> tuple[int, int]:
    """How many messages the worst key may have, roughly; fewer keys are better than more."""
    worst = max(
        3 if key.aspect in BROAD else 1 if key.aspect in SEARCHED else 0 if key.aspect in SELECTIVE else 2
        for key in way
    )
    return worst, len(way)


def _each(aspect: str, values: Iterable[Hashable]) -> Keys:
    return frozenset(Key(aspect, value) for value in values)


def _lower(values: Iterable[str]) -> list[str]:
    return [value.lower() for value in values]


def _field_keys(name: str, values: Sequence[str]) -> Keys | None:
    told = _lower(values) if name in IDS else values
    starts = [WILD.split(value, maxsplit=1)[0] for value in told if is_glob(value)]
    exact = [value for value in told if not is_glob(value)]
    return _each(name, exact) | _each(name + START, starts) if all(starts) else None


def _mention_keys(condition: Mentions) -> Keys:
    if condition.who or any(map(is_glob, condition.users)):
        return _each("mentions", [True])
    return _each("mentioned", _lower(condition.users))


def _attachment_keys(condition: Attachments) -> Keys | None:
    if condition.extensions and not any(map(is_glob, condition.extensions)):
        return _each("extension", condition.extensions)
    # `wanted` counts only where nothing else is asked.
    return _each("attachments", [True]) if condition.wanted or condition.is_detailed else None


def _text_keys(condition: TextMatch) -> Keys:
    """The longest word of each phrase, which stands in every text that the phrase stands in."""
    phrases = [*condition.words, *condition.contains]
    pieces = [max(unicodedata.normalize("NFC", phrase).split(), key=len, default="") for phrase in phrases]
    if condition.patterns or not all(pieces):
        return _each("text", [True])
    return _each("piece", pieces)


# --- what a message has ------------------------------------------------------------------------------


def _folded(get: Callable[[Message], str | None]) -> Callable[[Message], str]:
    return lambda message: (get(message) or "").lower()


def _has_mentions(message: Message) -> bool:
    return bool(message.mentions) or message.mentions_all


ONE: Final[Mapping[str, Callable[[Message], Hashable]]] = {
    **{name: _folded(get) if name in IDS else get for name, get in FIELDS.items()},
    **{name: is_so for name, (is_so, _, _) in FLAGS.items()},
    "sender": lambda message: message.sender.id.lower(),
    "receiver": lambda message: message.receiver.id.lower(),
    "conversation": lambda message: message.conversation_id.lower(),
    "mentions": _has_mentions,
    "attachments": lambda message: bool(message.attachments),
    "text": lambda message: bool(message.text),
}
"""The aspects of which a message has one value."""

MANY: Final[Mapping[str, Callable[[Message], Iterable[Hashable]]]] = {
    "tag": lambda message: _lower(message.tags) if message.tags else (),
    "mentioned": attrgetter("mentions"),
    "extension": lambda message: {(file.extension or "").lower() for file in message.attachments},
    "metadata": attrgetter("metadata"),
    "custom": attrgetter("custom"),
}
"""The aspects of which it may have several."""

Look = Callable[[Message], Iterable[Hashable]]


def is_searched(aspect: str) -> bool:
    """Whether what there is to find must be known before a message is looked at: see `looking`."""
    return aspect == "piece" or aspect.endswith(START)


def looking(aspect: str, values: Sequence[str]) -> Look:
    """What tells which of `values` a message has, and perhaps more that nobody asked for."""
    if aspect == "piece":
        pieces = Pieces(values)
        return lambda message: pieces.found(searched(message.text)) if message.text else ()
    get, folds = FIELDS[aspect.removesuffix(START)], aspect.removesuffix(START) in IDS
    lengths = sorted({len(value) for value in values})

    def look(message: Message) -> Iterable[Hashable]:
        told = get(message) or ""
        told = told.lower() if folds else told
        return [told[:length] for length in lengths]

    return look


# --- many words at once ------------------------------------------------------------------------------

SET_MEMORY: Final = 16 << 20  # bytes that RE2 may use for one set
SET_SIZE: Final = 1_000  # words in one set: more would fill its memory with states


class SetFailed(RuntimeError):  # noqa: N818 - named by what is the matter
    """RE2 ran out of memory on a text, so nothing is known of it."""


class Pieces:
    """Which of many words a text has as parts, in one pass over it: linear in the text, as all of RE2."""

    def __init__(self, words: Sequence[str]) -> None:
        self._sets = [
            (_compiled(words[start : start + SET_SIZE]), words[start : start + SET_SIZE])
            for start in range(0, len(words), SET_SIZE)
        ]

    def found(self, text: bytes) -> list[str]:
        """Those of the words that the text has, in any case. Raises SetFailed."""
        found: list[str] = []
        for patterns, words in self._sets:
            numbers = patterns.Match(text)
            # The last pattern fits every text. Without it RE2 gave up, which it tells in no other way.
            if not numbers or len(words) not in numbers:
                raise SetFailed("the set of words needs more memory for this text")
            if len(numbers) > 1:
                found += [words[number] for number in numbers if number < len(words)]
        return found


def _compiled(words: Sequence[str]) -> Any:
    options = re2.Options()
    options.max_mem = SET_MEMORY
    options.log_errors = False
    options.never_capture = True
    made = re2.Set.SearchSet(options)
    for word in words:
        made.Add(f"(?is){re2.escape(word)}")
    made.Add("")
    made.Compile()
    return made
