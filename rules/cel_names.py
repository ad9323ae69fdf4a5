"""What an expression in CEL can name: the variables of a message, and functions of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from rules.cel_tree import Bound, Node
from rules.conditions import (
    FLAGS,
    TEXT_LIMIT,
    WORD_END,
    WORD_START,
    SafeError,
    alternatives,
    file_type,
    reach,
    regex,
    regex_steps,
    searched,
)
from rules.model import Attachment, Message, Party, WatchSet, watched

MAX_ID: Final = 1_000  # characters of a short text that are looked at
MAX_PARTS: Final = 100  # of mentions, tags, attachments
MAX_TREE: Final = 2_000  # values in metadata
MAX_DEPTH: Final = 32  # of metadata; CEL's own functions recurse
MAX_INT: Final = (1 << 63) - 1
STEP_COST: Final = 15  # for each step of a regular expression and character, at worst

# --- variables ---------------------------------------------------------------------------------------


class Variable(NamedTuple):
    """One name: its CEL type, its value, and how large that can be."""

    type: str
    get: Callable[[Message, WatchSet], Any]
    bound: Bound
    says: str


def clean(text: str | None, limit: int = MAX_ID) -> str:
    """A text as CEL takes it: UTF-8 has no lone surrogates."""
    text = (text or "")[:limit]
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _text(get: Callable[[Message], str | None], says: str, limit: int = MAX_ID) -> Variable:
    return Variable("string", lambda message, _: clean(get(message), limit), Bound(limit, 0, limit), says)


def _id(get: Callable[[Message], str | None], says: str) -> Variable:
    return Variable("string", lambda message, _: clean(get(message)).lower(), Bound(MAX_ID, 0, MAX_ID), says)


def _flag(is_so: Callable[[Message], bool], says: str) -> Variable:
    return Variable("bool", lambda message, _: is_so(message), Bound(), says)


def _number(get: Callable[[Message], int | None], says: str) -> Variable:
    return Variable("int", lambda message, _: min(get(message) or 0, MAX_INT), Bound(), says)


def _texts(get: Callable[[Message, WatchSet], Sequence[str]], says: str) -> Variable:
    bound = Bound(MAX_ID, MAX_PARTS, MAX_PARTS * MAX_ID)
    return Variable(
        "list", lambda message, watch: list(map(clean, get(message, watch)[:MAX_PARTS])), bound, says
    )


def _tree(get: Callable[[Message], Mapping[str, Any]], says: str) -> Variable:
    bound = Bound(TEXT_LIMIT, MAX_TREE, TEXT_LIMIT + MAX_TREE)
    return Variable("dyn", lambda message, _: bounded(get(message)), bound, says)


def _party(name: str, get: Callable[[Message], Party | None], who: str) -> dict[str, Variable]:
    return {
        f"{name}.id": _id(lambda message: party.id if (party := get(message)) else None, f"Id of {who}."),
        f"{name}.name": _text(
            lambda message: party.name if (party := get(message)) else None, f"Display name of {who}."
        ),
        f"{name}.role": _id(
            lambda message: party.role if (party := get(message)) else None, f"Role of {who}."
        ),
    }


def _file(found: Attachment, message: Message) -> dict[str, Any]:
    return {
        "name": clean(found.name),
        "extension": clean(found.extension).lower(),
        "mime_type": clean(found.mime_type).lower(),
        "type": file_type(found, message),
        "size": -1 if found.size is None else min(found.size, MAX_INT),
    }


FILE_KEYS: Final = ("name", "extension", "mime_type", "type", "size")


def _files(message: Message, _watch: WatchSet) -> list[dict[str, Any]]:
    return [_file(found, message) for found in message.attachments[:MAX_PARTS]]


def _concerned(message: Message, watch: WatchSet) -> Sequence[str]:
    return watched([*message.participants, *message.mentions], watch)


def _epoch(at: datetime | None) -> int:
    return int(at.timestamp()) if at else 0


VARIABLES: Final[Mapping[str, Variable]] = {
    "message.id": _number(lambda message: message.id, "Id of the row."),
    "message.text": _text(lambda message: message.text, "Text or caption.", TEXT_LIMIT),
    "message.category": _text(lambda message: message.category, "Category of the row."),
    "message.type": _text(lambda message: message.type, "Type of the row."),
    "message.action": _text(lambda message: message.action, "What a call or action row tells."),
    "message.conversation_id": _id(lambda message: message.conversation_id, "Conversation id."),
    "message.receiver_type": _text(lambda message: message.receiver_type, "user or group."),
    "message.moderation": _text(lambda message: message.moderation, "Moderation status."),
    "message.sent_at": Variable("timestamp", lambda message, _: message.sent_at, Bound(), "When it came."),
    "message.parent_id": _number(lambda message: message.parent_id, "The message whose thread it is in."),
    "message.edited": _flag(FLAGS["edited"][0], "Whether it is, or tells of, an edit."),
    "message.deleted": _flag(FLAGS["deleted"][0], "Whether it is, or tells of, a deletion."),
    "message.thread_reply": _flag(FLAGS["thread_reply"][0], "Whether it replies in a thread."),
    "message.mentions_all": _flag(lambda message: message.mentions_all, "Whether it mentions @all."),
    "message.tags": _texts(lambda message, _: message.tags, "Tags."),
    "message.metadata": _tree(lambda message: message.metadata, "`data.metadata`."),
    "message.custom": _tree(lambda message: message.custom, "`data.customData`."),
    **_party("sender", lambda message: message.sender, "the sender"),
    **_party("receiver", lambda message: message.receiver, "the receiver, a user or a group"),
    **_party("subject", lambda message: message.subject, "whom a group action is about"),
    **_party("caller", lambda message: message.call.caller if message.call else None, "who calls"),
    **_party("callee", lambda message: message.call.callee if message.call else None, "who is called"),
    "call.status": _text(lambda message: message.call.status if message.call else None, "Its status."),
    "call.session_id": _text(lambda message: message.call.session_id if message.call else None, "Its id."),
    "call.initiated_at": _number(
        lambda message: _epoch(message.call.initiated_at if message.call else None),
        "When the call began, in seconds since 1970; 0 if it is not told.",
    ),
    "mentions": _texts(lambda message, _: message.mentions, "Mentioned uids."),
    "watched": _texts(_concerned, "The watched users that take part or are mentioned."),
    "attachments": Variable(
        "files", _files, Bound(MAX_ID, MAX_PARTS, MAX_PARTS * 4 * MAX_ID),
        f"Its files, each with {', '.join(FILE_KEYS)} (bytes; -1 if it is not told).",
    ),
}  # fmt: skip


class TooMuchError(SafeError):
    """A message with more metadata than an expression looks at."""


def bounded(tree: Any) -> Any:
    """A copy of free-form JSON that CEL takes. Raises TooMuchError if it is larger than people need."""
    left = [MAX_TREE, TEXT_LIMIT]

    def text(value: str) -> str:
        left[1] -= len(value)
        if left[1] < 0:
            raise TooMuchError(f"more than {TEXT_LIMIT} characters of metadata")
        return clean(value, TEXT_LIMIT)

    def copy(value: Any, depth: int) -> Any:
        left[0] -= 1
        if left[0] < 0 or depth > MAX_DEPTH:
            raise TooMuchError(f"more than {MAX_TREE} values or {MAX_DEPTH} levels of metadata")
        if isinstance(value, Mapping):
            return {text(str(key)): copy(part, depth + 1) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [copy(part, depth + 1) for part in value]
        if isinstance(value, str):
            return text(value)
        is_large = isinstance(value, int) and not -(1 << 63) <= value < 1 << 63
        return float(value) if is_large else value

    return copy(tree, 0)


# --- functions of our own ---------------------------------------------------------------------------


@lru_cache(maxsize=1_024)
def _search(pattern: str) -> Callable[[str], bool]:
    search, limit = regex(pattern).search, reach([pattern])
    return lambda text: search(searched(text[:limit])) is not None


def found_in(text: str, pattern: str) -> bool:
    """What `search` does."""
    return _search(pattern)(text)


def has_word(text: str, word: str) -> bool:
    """What `has_word` does."""
    return _search(f"(?is){WORD_START}(?:{alternatives([word])}){WORD_END}")(text)


class Function(NamedTuple):
    """A function of ours, a member of texts; its argument is a constant."""

    takes: Sequence[str]  #: the types of its arguments after the text
    gives: str
    says: str


FUNCTIONS: Final[Mapping[str, Function]] = {
    "search": Function(("string",), "bool", "An RE2 expression is found in the text: `text.search('a+b')`."),
    "has_word": Function(("string",), "bool", "The word or phrase stands in the text, in any case."),
    "in_list": Function(("string",), "bool", "The text is in a named list, in any case; * and ? are wild."),
    "lower": Function((), "string", "The text in lower case."),
}


def call_cost(node: Node, bounds: tuple[Bound, ...]) -> float:
    """What a call of one of them costs at most, for `rules.cel_tree.weigh`."""
    length = bounds[0].longest
    match node.name:
        case "search":
            steps = regex_steps(node.parts[1].text or "")
            return 2 * length + min(length, reach([node.parts[1].text or ""])) * steps * STEP_COST
        case "has_word":
            return 100 * length
        case _:
            return 20 * length
