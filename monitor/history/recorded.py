"""Messages from files: pages as CometChat answers them, lines of `messages --json`, cached history."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from monitor.errors import ConfigError
from monitor.history.coverage import reaches, seen_to
from monitor.history.shelf import SUFFIX, Place, Volume, read
from monitor.source.pages import Undecodable, decode
from rules.model import Message, Value

ENDINGS: Final = (".json", ".jsonl", SUFFIX)

_message: Final = msgspec.json.Decoder(Message)


class Past(Value, frozen=True, kw_only=True):
    """Messages of the past, and how much they tell."""

    messages: tuple[Message, ...] = ()  #: in no order, and perhaps twice
    rejects: int = 0  #: rows that could not be read
    until: datetime | None = None  #: up to when every list is known; None: nobody knows
    lists: int = 0  #: of the cache; 0 for recordings
    short: tuple[Place, ...] = ()  #: lists that are not known back to the day that was asked for
    is_redacted: bool = False


def recorded(files: Sequence[Path]) -> Past:
    """What is in `files`, and in the folders among them.

    Raises ConfigError for what is neither page nor lines nor cached history.
    """
    return _joined([_read(file) for named in files for file in _within(named)])


def body_of(file: Path) -> bytes:
    """A recorded answer as it was recorded. Raises ConfigError."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}; give JSON files such as page.json") from error


def cached(paths: Iterable[Path], since: datetime) -> Past:
    """What the cache has of these lists since then. Raises HistoryError."""
    return _joined([_of(read(path), since) for path in paths])


def _of(volume: Volume, since: datetime) -> Past:
    label, leaves, messages = volume
    place = Place(label.app, label.endpoint, label.name)
    return Past(
        messages=tuple(message for message in messages if message.sent_at >= since),
        rejects=sum(leaf.rejects for leaf in leaves),
        until=seen_to(leaves),
        lists=1 if leaves else 0,  # CometChat did not know a list of which there is nothing
        short=() if reaches(leaves, since) else (place,),
        is_redacted=label.redacted,
    )


def _within(named: Path) -> Sequence[Path]:
    if not named.is_dir():
        return (named,)
    found = sorted(file for file in named.rglob("*") if file.is_file() and file.name.endswith(ENDINGS))
    if not found:
        raise ConfigError(f"{named}: there are no messages in this folder: no *{', no *'.join(ENDINGS)}")
    return found


def _joined(parts: Sequence[Past]) -> Past:
    return Past(
        messages=tuple(message for part in parts for message in part.messages),
        rejects=sum(part.rejects for part in parts),
        until=min((part.until for part in parts if part.until is not None), default=None),
        lists=sum(part.lists for part in parts),
        short=tuple(place for part in parts for place in part.short),
        is_redacted=any(part.is_redacted for part in parts),
    )


def _read(file: Path) -> Past:
    if file.name.endswith(SUFFIX):
        label, leaves, messages = read(file)
        rejects = sum(leaf.rejects for leaf in leaves)
        return Past(messages=messages, rejects=rejects, lists=1, is_redacted=label.redacted)
    body = body_of(file)
    try:
        page = decode(body)
    except Undecodable as problem:
        if lines := _lines(body):
            return Past(messages=lines)
        raise ConfigError(f"{file}: {problem}") from problem
    return Past(messages=page.messages, rejects=len(page.rejects))


def _lines(body: bytes) -> tuple[Message, ...]:
    """Messages line by line, as `cometwatch messages --json` prints them; () if it is something else."""
    try:
        return tuple(_message.decode(line) for line in body.splitlines() if line.strip())
    except msgspec.MsgspecError:
        return ()
