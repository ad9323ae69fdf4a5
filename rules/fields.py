"""The fields of a message as texts: what a rule groups messages by (`by`), and what it counts or compares.

A field may have no value (a text message has no file type) or several (a message mentions three people).
Values are for comparing. The text of a message is a field too, as its digest: equal texts have equal
digests, and nothing of the text is kept or shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from operator import attrgetter
from typing import Any, Final, NamedTuple

import yaml

from rules.conditions import ABSENT, dig
from rules.grammar import MAX_LIST, Key, Report, did_you_mean, is_unicode, shown
from rules.model import ListId, Message, UserId, WatchSet, correlation_key, digest, once, watched

Look = Callable[[Message], Sequence[str]]

MAX_VALUE: Final = 100  # characters; a longer value is compared by its digest
MAX_KEYS: Final = 100  # of one message: a mention of a hundred people is a mention of everybody


# --- what a field says of a message ------------------------------------------------------------------


def kept(value: str) -> str:
    """A foreign value as it is compared and kept: itself if it is short, or else its digest."""
    if len(value) <= MAX_VALUE and (value.isascii() or is_unicode(value)):
        return value
    return digest(value)


def _one(get: Callable[[Message], str | None], *, folds: bool = False) -> Look:
    """A field of at most one value; ids are compared in lower case, to which CometChat forces uids."""

    def look(message: Message) -> Sequence[str]:
        told = get(message)
        return (kept(told.lower() if folds else told),) if told else ()

    return look


def _many(get: Callable[[Message], Iterable[str | None]]) -> Look:
    def look(message: Message) -> Sequence[str]:
        return tuple(dict.fromkeys(kept(told.lower()) for told in get(message) if told))

    return look


def _concerned(message: Message) -> Iterator[str]:
    yield from message.participants
    yield from message.mentions


def _mime_types(message: Message) -> Iterator[str]:
    for file in message.attachments:
        yield (file.mime_type or "").partition(";")[0].strip()


def _text(message: Message) -> Sequence[str]:
    return (digest(message.text),) if message.text else ()


FIELDS: Final[Mapping[str, Look]] = {
    "sender": _one(attrgetter("sender.id"), folds=True),
    "receiver": _one(attrgetter("receiver.id"), folds=True),
    "conversation": _one(attrgetter("conversation_id"), folds=True),
    "watched": _many(_concerned),
    "mentioned": _many(attrgetter("mentions")),
    "caller": _one(lambda message: message.call.caller.id if message.call else None, folds=True),
    "callee": _one(lambda message: message.call.callee.id if message.call else None, folds=True),
    "category": _one(attrgetter("category")),
    "type": _one(attrgetter("type")),
    "action": _one(attrgetter("action")),
    "role": _one(attrgetter("sender.role"), folds=True),
    "tag": _many(attrgetter("tags")),
    "extension": _many(lambda message: [file.extension for file in message.attachments]),
    "mime": _many(_mime_types),
    "thread": lambda message: (str(message.parent_id or message.id),),
    "text": _text,
}
"""Each field by its name. `watched` names everybody who takes part or is mentioned: who of them is watched
is asked when the rule is judged. A message is in the thread that it replies in, or that it may begin."""

TREES: Final = ("metadata", "custom")
"""`metadata.PATH` and `custom.PATH` are fields as well."""


def field(name: str) -> Look:
    """What the field of this name says; raises KeyError if there is none."""
    where, _, path = name.partition(".")
    return _inside(where, path.split(".")) if path and where in TREES else FIELDS[name]


def _inside(where: str, path: Sequence[str]) -> Look:
    tree = attrgetter(where)

    def look(message: Message) -> Sequence[str]:
        found = dig(tree(message), path)
        values = found if isinstance(found, list | tuple) else (found,)
        return tuple(dict.fromkeys(kept(said) for value in values[:MAX_LIST] if (said := _said(value))))

    return look


def _said(value: Any) -> str | None:
    """A JSON value as text; mappings, null and what is not there have none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is ABSENT or not isinstance(value, str | int | float):
        return None
    return str(value)


# --- keys --------------------------------------------------------------------------------------------


class Correlation(NamedTuple):
    """One key that a message has, and the values of the fields that make it."""

    key: str
    values: tuple[str, ...]


EVERYTHING: Final = Correlation("all", ())
"""The one key of a rule whose `by` is empty."""

Read = Callable[[Message], Sequence[Correlation]]


def reader(names: Sequence[str]) -> Read:
    """What tells the keys of a message: one for each combination of the fields' values, `MAX_KEYS` at most.

    A message that lacks one of the fields has none. Raises KeyError for a field that does not exist.
    """
    looks = [field(name) for name in names]
    if not looks:
        return lambda _message: (EVERYTHING,)
    if len(looks) == 1:
        (look,) = looks
        return lambda message: [Correlation(key_of((value,)), (value,)) for value in look(message)[:MAX_KEYS]]

    def read(message: Message) -> Sequence[Correlation]:
        found = [look(message)[:MAX_KEYS] for look in looks]
        return [Correlation(key_of(values), values) for values in islice(product(*found), MAX_KEYS)]

    return once(read)


def key_of(values: tuple[str, ...]) -> str:
    """The correlation key of these values: readable if they are short, and never of two lists the same."""
    if len(values) > 1:
        values = (" ".join(value.replace("%", "%25").replace(" ", "%20") for value in values),)
    (text,) = values or ("all",)
    return correlation_key(text) if not text.startswith("@") else digest(text)


# --- who could carry the next row of a key -----------------------------------------------------------

PEOPLE: Final = frozenset({"sender", "receiver", "watched", "mentioned", "caller", "callee"})
ROOMS: Final = frozenset({"conversation", "thread"})


def carriers(
    names: Sequence[str],
    values: Sequence[str],
    messages: Sequence[Message],
    watch: WatchSet,
    *,
    in_groups: bool = False,
) -> tuple[tuple[ListId, ...], bool]:
    """The lists of which any one would carry the next row of a key; with True, that needs all of them.

    `messages` are rows that had the key, at least one. A conversation of two is in the list of each who is
    watched, a group's in the group's own. What a watched user does is in that user's list, unless it also
    happens in groups: as one of `messages` did, or, with `in_groups`, an earlier one. Of everything else
    the next row may come anywhere.
    """
    last = messages[-1]
    if not ROOMS.isdisjoint(names):
        return _of_room(last, watch)
    known = dict(zip(names, values, strict=True))
    if last.receiver_type == "group" and known.get("receiver") == last.receiver.id.lower():
        return _of_room(last, watch)
    users = tuple(UserId(known[name]) for name in names if name in PEOPLE and known[name] in watch)
    if users and not in_groups and all(message.receiver_type == "user" for message in messages):
        return users[:1], False
    return (), True


def _of_room(message: Message, watch: WatchSet) -> tuple[tuple[ListId, ...], bool]:
    if message.receiver_type == "group":
        return (ListId(UserId(f"@group:{message.receiver.id}")),), False
    users = watched(message.participants, watch)
    return users, not users


# --- how fields are written --------------------------------------------------------------------------

ALLOWED: Final = ", ".join(FIELDS) + ", metadata.PATH or custom.PATH"
PATH: Final = r"(?:metadata|custom)\.[^.]+(?:\.[^.]+)*"


@dataclass(frozen=True, kw_only=True)
class FieldName:
    """The name of a field."""

    expected: str = f"a field: {ALLOWED}"

    def read(self, node: yaml.Node, report: Report) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return report.refuse(node, f"found {shown(node)}", expected=self.expected, example="sender")
        if not is_field(node.value):
            hint = ": say where in it" if node.value in TREES else did_you_mean(node.value, [*FIELDS, *TREES])
            example = f"{node.value}.order.id" if node.value in TREES else "sender"
            return report.refuse(
                node, f"there is no field {shown(node)}{hint}", expected=self.expected, example=example
            )
        return str(node.value)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"enum": list(FIELDS)}, {"type": "string", "pattern": f"^{PATH}$"}]}


def is_field(name: str) -> bool:
    where, _, path = name.partition(".")
    return name in FIELDS or (where in TREES and all(path.split(".")) and len(name) <= 2 * MAX_VALUE)


@dataclass(frozen=True, kw_only=True)
class FieldNames:
    """One field, or a list of different ones, which may be empty; read as a tuple."""

    most: int = 4
    expected: str = f"a list of fields: {ALLOWED}; [] for one key of all messages"

    def read(self, node: yaml.Node, report: Report) -> Any:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if len(nodes) > self.most:
            return report.refuse(node, f"found {len(nodes)} fields", expected=f"at most {self.most}")
        names = [FieldName().read(entry, report) for entry in nodes]
        for place, name in enumerate(names):
            if name is not None and name in names[:place]:
                return report.refuse(nodes[place], f'"{name}" stands here twice')
        return None if None in names else tuple(names)

    def schema(self) -> dict[str, Any]:
        each = FieldName().schema()
        several = {"type": "array", "items": each, "maxItems": self.most, "uniqueItems": True}
        return {"anyOf": [each, several]}


BY: Final = Key(
    FieldNames(),
    "Which messages belong together: those with the same values of these fields. A message without one of "
    f"them does not count. Of {ALLOWED}. [] puts all messages together.",
    "by: [sender, receiver]",
)


def words_of(names: Sequence[str], values: Sequence[str]) -> str:
    """The values of a key as an alert says them: `sender superhero2, type image`. Digests are left out."""
    return ", ".join(
        "the same text" if name == "text" else f"{name.replace('_', ' ')} {value}"
        for name, value in zip(names, values, strict=True)
    )
