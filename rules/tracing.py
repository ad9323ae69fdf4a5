"""What each part of a condition says of one message: for whoever asks why a rule spoke, or did not.

The engine stops at the first part that decides; here every part is asked. Nothing of what people wrote is
in the words, only in `quoted`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from rules.conditions import (
    ABSENT,
    FIELDS,
    FLAGS,
    AllOf,
    AnyOf,
    Attachments,
    Condition,
    Direction,
    Field,
    Flag,
    Mentions,
    Metadata,
    Not,
    SafeError,
    Tags,
    Test,
    TextMatch,
    dig,
    file_type,
)
from rules.model import Attachment, Message, Value, WatchSet
from rules.names import EMPTY

MAX_SAID: Final = 300  # characters of one condition: a list may have a hundred thousand values
MAX_FOUND: Final = 300

JOINED: Final = {AllOf: "all of these", AnyOf: "one of these", Not: "not"}


class Traced(Value, frozen=True, kw_only=True, omit_defaults=False):
    """One condition with what it says of a message, and the same of all inside it."""

    said: str  #: what it asks, in words
    value: bool | None  #: None: it failed on this message, see `error`
    found: str = ""  #: what the message has of what is asked for; never text, metadata or file names
    quoted: str | None = None  #: the same where people wrote it, to be shown only to who asked for it
    error: str | None = None
    parts: tuple[Traced, ...] = ()

    def walk(self) -> Iterator[Traced]:
        """Itself and all inside it, in the order in which they were written."""
        yield self
        for part in self.parts:
            yield from part.walk()


class Tracer:
    """A condition that is asked part by part. Made once, it may trace many messages.

    `said` are the words of all its parts, in the order of `Traced.walk`.
    """

    def __init__(self, condition: Condition) -> None:
        self._condition = condition
        self._parts = tuple(map(Tracer, inside(condition)))
        self._test: Test | None = None if self._parts else condition.compile()
        self._words = JOINED[type(condition)] if self._parts else in_words(condition)
        self.said: tuple[str, ...] = (self._words, *(words for part in self._parts for words in part.said))

    def __call__(self, message: Message, watch: WatchSet) -> Traced:
        """What each part says of `message`. Never raises: a part that fails has no value."""
        if self._test is None:
            parts = tuple(part(message, watch) for part in self._parts)
            value = joined(self._condition, [part.value for part in parts])
            return Traced(said=self._words, value=value, parts=parts)
        try:
            value = bool(self._test(message, watch))
            found, quoted = what_is_found(self._condition, message, watch)
        except Exception as error:  # whatever a part meets in a message, the others are told
            why = f"{type(error).__name__}: {error}" if isinstance(error, SafeError) else type(error).__name__
            return Traced(said=self._words, value=None, error=why)
        return Traced(said=self._words, value=value, found=cut(found, MAX_FOUND), quoted=quoted)


def trace(condition: Condition, message: Message, watch: WatchSet) -> Traced:
    """What each part of `condition` says of `message`."""
    return Tracer(condition)(message, watch)


def inside(condition: Condition) -> tuple[Condition, ...]:
    """The conditions that this one joins; () of one that asks the message itself."""
    match condition:
        case AllOf(conditions=parts) | AnyOf(conditions=parts):
            return parts
        case Not(condition=part):
            return (part,)
        case _:
            return ()


def joined(condition: Condition, values: Sequence[bool | None]) -> bool | None:
    """What a joint says of the values of its parts: None where it hangs on a part that failed."""
    if isinstance(condition, Not):
        return None if values[0] is None else not values[0]
    decisive = isinstance(condition, AnyOf)
    if decisive in values:
        return decisive
    return None if None in values else not decisive


def in_words(condition: Condition) -> str:
    """What a condition asks; long lists of values are cut."""
    return cut(condition.describe().replace(EMPTY, "(an empty list)"), MAX_SAID)


def cut(text: str, length: int) -> str:
    """`text`, or its beginning with dots."""
    return text if len(text) <= length else text[: length - 1] + "…"


# --- what the message has ---------------------------------------------------------------------------


def what_is_found(condition: Condition, message: Message, watch: WatchSet) -> tuple[str, str | None]:
    """What the message has of what a condition asks for, and in what words people wrote it."""
    match condition:
        case Field(name=name):
            return FIELDS[name](message) or "nothing", None
        case Tags():
            return listed(message.tags, "no tags"), None
        case Flag(name=name):
            is_so, yes, no = FLAGS[name]
            return (yes if is_so(message) else no), None
        case Direction():
            return _from_to(message, watch), None
        case Mentions():
            everyone = ("@all",) if message.mentions_all else ()
            people = (_watched(uid, watch) for uid in message.mentions)
            return listed((*everyone, *people), "nobody is mentioned"), None
        case TextMatch():
            text = message.text
            return (f"a text of {len(text)} characters", cut(text, MAX_FOUND)) if text else ("no text", None)
        case Metadata(where=where, path=path):
            return _in_tree(dig(getattr(message, where), path))
        case Attachments():
            files = [_file(attachment, message) for attachment in message.attachments]
            return listed(files, "no attachment"), None
        case _:
            return "", None


def listed(values: Iterable[str], nothing: str) -> str:
    """Words with commas between, or what stands for none."""
    return ", ".join(values) or nothing


def _watched(uid: str, watch: WatchSet) -> str:
    return f"{uid} (watched)" if uid.lower() in watch else uid


def _from_to(message: Message, watch: WatchSet) -> str:
    call = message.call
    source, target = (call.caller, call.callee) if call else (message.sender, message.receiver)
    to = f"group {target.id}" if message.receiver_type == "group" else _watched(target.id, watch)
    return f"from {_watched(source.id, watch)} to {to}"


def _file(attachment: Attachment, message: Message) -> str:
    size = "size not told" if attachment.size is None else f"{attachment.size} bytes"
    facts = (attachment.extension or "no extension", attachment.mime_type or "no MIME type", size)
    return f"{file_type(attachment, message)} ({', '.join(facts)})"


def _in_tree(found: Any) -> tuple[str, str | None]:
    """Of metadata only the sort is told: what stands in it was written by people, or by their apps."""
    if found is ABSENT:
        return "nothing there", None
    sort = next((words for of, words in SORTS if isinstance(found, of)), "null")
    return sort, cut(json.dumps(found, ensure_ascii=False, default=str), MAX_FOUND)


SORTS: Final = (
    (bool, "true or false"),
    (int | float, "a number"),
    (str, "a text"),
    (list | tuple, "a list"),
    (dict, "a mapping"),
)
