"""Bytes to a page of messages. Pure.

The quick road decodes a page in one go; nearly every page takes it. When a row of it has an unusual shape,
the careful one decodes row by row. When one row stops the decoder for the whole page (a lone surrogate in
a chat text, a thousand brackets), the slow one cuts the page into rows first: one hostile message becomes
at worst one reject.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final

import msgspec

from monitor.source.plain import PlainRow, read_plain
from monitor.source.rows import Malformed, Row, number, read_id, read_message
from monitor.source.shape import kind, structure
from rules.model import Message, MessageId, Party, Value


class Undecodable(ValueError):  # noqa: N818 - named by what is the matter
    """The body is not a page: the text says what was found, never what was written in it."""


class Rejected(Value, frozen=True, kw_only=True):
    """A row that could not be read."""

    message_id: str | None  #: as found, cut to 64 characters
    reason: str  #: the place and the shape found there, no value
    structure: str  #: JSON of the row with every string replaced by its type and length


class RateInfo(Value, frozen=True, kw_only=True):
    """What the answer's headers told about the quota."""

    limit: int | None = None
    remaining: int | None = None
    reset_at: datetime | None = None


class Decoded(Value, frozen=True, kw_only=True):
    """What the bytes alone tell of a page."""

    messages: tuple[Message, ...]  #: ascending by id
    rejects: tuple[Rejected, ...]
    rows: int  #: rows in the page, rejects too
    size: int | None  #: the page size that `meta` echoes
    min_id: MessageId | None  #: over every row whose id could be read, rejects too
    max_id: MessageId | None


class Page(Value, frozen=True, kw_only=True):
    """One answer of a message list, with when it was asked and received."""

    messages: tuple[Message, ...]  #: ascending by id
    rejects: tuple[Rejected, ...]
    rows: int  #: rows in the page, rejects too
    size: int | None  #: the page size that `meta` echoes
    min_id: MessageId | None  #: over every row whose id could be read, rejects too
    max_id: MessageId | None
    started_at: datetime  #: when the request began, in API time
    received_at: datetime  #: when the answer was complete, by our clock
    rate: RateInfo
    skew: timedelta  #: API clock minus ours, as far as the `Date` headers prove it


class Count(Value, frozen=True, kw_only=True):
    """How many messages one user or group accounts for: what `count=1` answers instead of messages."""

    entity_type: str  #: "user" or "group"
    entity_id: str
    name: str | None
    count: int


class Envelope(msgspec.Struct):
    """Success is the presence of `data`; `meta` comes in two documented shapes and is optional."""

    data: list[msgspec.Raw]
    meta: Any = None


class Quick(msgspec.Struct):
    """The same in one go, for a page without surprises."""

    data: list[PlainRow]
    meta: Any = None


class One(msgspec.Struct):
    """Success for a single thing."""

    data: msgspec.Raw


Rowlike = bytes | msgspec.Raw

NOT_JSON: Final = (msgspec.MsgspecError, ValueError, RecursionError)

_by_id: Final = attrgetter("id")
_quick: Final = msgspec.json.Decoder(Quick)
_envelope: Final = msgspec.json.Decoder(Envelope)
_one: Final = msgspec.json.Decoder(One)
_row: Final = msgspec.json.Decoder(Row)
_any: Final = msgspec.json.Decoder()


def decode(body: bytes) -> Decoded:
    """The page in `body`; a row that can't be read becomes a reject. Raises Undecodable for anything else."""
    try:
        quick = _quick.decode(body)
        messages = [read_plain(row) for row in quick.data]
    except (Malformed, *NOT_JSON):
        rows, meta = open_envelope(body)
        return _page([read_row(raw) for raw in rows], meta)
    messages.sort(key=_by_id)
    return Decoded(
        messages=tuple(messages),
        rejects=(),
        rows=len(messages),
        size=page_size(quick.meta),
        min_id=messages[0].id if messages else None,
        max_id=messages[-1].id if messages else None,
    )


def _page(told: Sequence[Message | Rejected], meta: Any) -> Decoded:
    messages = sorted((row for row in told if isinstance(row, Message)), key=_by_id)
    rejects = tuple(row for row in told if isinstance(row, Rejected))
    ids = [message.id for message in messages[:1] + messages[-1:]]
    ids += [id_ for reject in rejects for id_ in _readable(reject.message_id)]
    return Decoded(
        messages=tuple(messages),
        rejects=rejects,
        rows=len(told),
        size=page_size(meta),
        min_id=min(ids, default=None),
        max_id=max(ids, default=None),
    )


def decode_counts(body: bytes) -> tuple[Count, ...]:
    """The counts in `body`. Raises Undecodable."""
    rows, _ = open_envelope(body)
    return tuple(_count(row) for row in rows)


def decode_user(body: bytes) -> Party:
    """The one user in `body`. Raises Undecodable."""
    try:
        user = _user(_one.decode(body).data)
    except NOT_JSON:
        user = None
    if user is None:
        raise Undecodable(f"the body names no user: {_outline(body)}")
    return user


def open_envelope(body: bytes) -> tuple[list[Rowlike], Any]:
    """The rows, each still as bytes, and `meta`. Raises Undecodable."""
    if not body.strip():
        raise Undecodable("the body is empty")
    try:
        envelope = _envelope.decode(body)
    except msgspec.ValidationError:
        raise Undecodable(f"the body is JSON, but no list of rows: {_outline(body)}") from None
    except NOT_JSON:
        return _cut(body)
    return list(envelope.data), envelope.meta


def read_row(raw: Rowlike) -> Message | Rejected:
    """The message, or why there is none. Total: never raises, whatever the bytes are."""
    try:
        return read_message(_row.decode(raw))
    except Malformed as problem:
        return _rejected(_any.decode(raw), str(problem))
    except NOT_JSON:
        return _second_look(bytes(raw))


def _second_look(raw: bytes) -> Message | Rejected:
    try:
        row = _mended(raw)
    except (ValueError, RecursionError):
        return _unreadable(raw)
    try:
        return read_message(msgspec.convert(row, Row))
    except Malformed as problem:
        return _rejected(row, str(problem))
    except (msgspec.ValidationError, RecursionError):
        return _rejected(row, f"row: expected an object, found {kind(row)}")


def _rejected(row: Any, reason: str) -> Rejected:
    return Rejected(message_id=_found_id(row), reason=reason, structure=structure(row))


def _user(raw: Rowlike) -> Party | None:
    try:
        user = _any.decode(raw)
    except NOT_JSON:
        return None
    if not isinstance(user, dict) or not isinstance(uid := user.get("uid"), str) or not uid:
        return None
    name, role = user.get("name"), user.get("role")
    return Party(
        id=uid.lower(),
        name=name if isinstance(name, str) else None,
        role=role if isinstance(role, str) else None,
    )


def page_size(meta: Any) -> int | None:
    """The page size that the server says it used, in either documented shape of `meta`."""
    if not isinstance(meta, dict):
        return None
    for part, key in (("pagination", "per_page"), ("current", "limit")):
        size = number(meta[part].get(key)) if isinstance(meta.get(part), dict) else None
        if size is not None and size > 0:
            return size
    return None


def _readable(id_: str | None) -> Iterator[MessageId]:
    with suppress(Malformed):
        yield read_id(id_)


def _found_id(row: Any) -> str | None:
    found = row.get("id") if isinstance(row, dict) else None
    if not isinstance(found, str | int) or isinstance(found, bool):
        return None
    text = str(found) if isinstance(found, str) or abs(found) < 10**64 else "a very long number"
    return text[:64] if text.isascii() and text.isprintable() else None


def _count(raw: Rowlike) -> Count:
    try:
        row = _any.decode(raw)
    except NOT_JSON:
        raise Undecodable("a row of counts is not JSON") from None
    total = number(row.get("count")) if isinstance(row, dict) else None
    if total is None or not isinstance(row.get("entityId"), str):
        raise Undecodable(f"a row of counts names no entity and number: {structure(row)[:200]}")
    entity = row.get("entity")
    name = entity.get("name") if isinstance(entity, dict) else None
    return Count(
        entity_type=str(row.get("entityType") or "user"),
        entity_id=row["entityId"],
        name=name if isinstance(name, str) else None,
        count=total,
    )


# --- the slow road ---------------------------------------------------------------------------------------

SPACE: Final = re.compile(r"[ \t\r\n]*")
# A string, or a mark that nests. Possessive: no character is looked at twice.
TOKEN: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]', re.DOTALL)
FIRST_ID: Final = re.compile(rb'\{\s*"id"\s*:\s*"?(\d{1,19})[",\s}]')


def _cut(body: bytes) -> tuple[list[Rowlike], Any]:
    """The same as the quick road, without a look inside the rows. Raises Undecodable."""
    text = body.decode("utf-8", "replace")
    try:
        members = dict(_members(text))
    except ValueError:
        raise Undecodable(f"the body is no JSON page: {_outline(body)}") from None
    data = members.get("data", "")
    if not data.startswith("["):
        raise Undecodable(f"the body is no JSON page: {_outline(body)}")
    try:
        meta = _any.decode(members.get("meta", "null"))
    except NOT_JSON:
        meta = None
    return [row.encode() for row in _elements(data)], meta


def _members(text: str) -> Iterator[tuple[str, str]]:
    """Key and value, as written, of each member of the object in `text`. Raises ValueError."""
    position = _past(text, 0, "{")
    while not text.startswith("}", position):
        key, position = _lenient.raw_decode(text, position)
        position = _past(text, position, ":")
        end = _end(text, position)
        yield str(key), text[position:end]
        position = _next(text, end, "}")


def _elements(text: str) -> Iterator[str]:
    """Each element, as written, of the array in `text`, which is known to be closed."""
    position = _past(text, 0, "[")
    while not text.startswith("]", position):
        end = _end(text, position)
        yield text[position:end]
        position = _next(text, end, "]")


def _past(text: str, position: int, mark: str) -> int:
    position = _solid(text, position)
    if not text.startswith(mark, position):
        raise ValueError(mark)
    return _solid(text, position + 1)


def _next(text: str, position: int, close: str) -> int:
    """Where the next value starts, or where the closing mark stands."""
    position = _solid(text, position)
    return position if text.startswith(close, position) else _past(text, position, ",")


def _solid(text: str, position: int) -> int:
    """The first position from here that is no white space."""
    space = SPACE.match(text, position)
    return space.end() if space else position


def _end(text: str, start: int) -> int:
    """Where the value that starts at `start` ends. Raises ValueError if it never does."""
    try:
        return int(_lenient.raw_decode(text, start)[1])
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError):  # a number of 5,000 digits, a thousand brackets
        return _closing(text, start)


def _closing(text: str, start: int) -> int:
    depth = 0
    for token in TOKEN.finditer(text, start):
        mark = token[0]
        depth += (mark in "[{") - (mark in "]}")
        if depth == 0:
            return token.end()
    raise ValueError("never closed")


def _mended(raw: bytes) -> Any:
    """The row, with `?` and U+FFFD for what no database takes: lone surrogates, broken UTF-8."""
    row = _lenient.decode(raw.decode("utf-8", "replace"))
    return _lenient.decode(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace").decode())


def _nothing(_: str) -> None:
    """NaN and Infinity are no JSON."""


# Takes NaN and control characters; a row is not lost for them.
_lenient: Final = json.JSONDecoder(strict=False, parse_constant=_nothing)


def _unreadable(raw: bytes) -> Rejected:
    first = FIRST_ID.match(raw)
    return Rejected(
        message_id=first[1].decode() if first else None,
        reason="row: not JSON, or nested too deeply",
        structure=f"bytes({len(raw)})",
    )


def _outline(body: bytes) -> str:
    """What the body looks like, for an error message: never its words."""
    start = body.lstrip()[:200].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return f"{len(body)} bytes of HTML or XML, so a proxy or another server answered"
    try:
        value = _any.decode(body)
    except NOT_JSON:
        return f"{len(body)} bytes that are not JSON"
    return structure(value)[:200] if isinstance(value, dict | list) else kind(value)
