"""The history of one list on the disk: JSON lines in gzip, one member a page.

A page is appended in one write: cut short by a crash or a full disk, it is an incomplete member at the end of
the file, which readers pass over and the next writer cuts off. Files are the owner's alone (0600, in folders
of 0700). They hold messages as decoded, so no key, and nothing that the decoder leaves out.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self
from urllib.parse import quote

import msgspec

from monitor.errors import CometwatchError
from monitor.history.coverage import Leaf
from monitor.history.redaction import redacted
from rules.model import Message, Value, digest

VERSION: Final = 1
"""Of the files. Another `rules.model.Message` makes it another: old rows would lack what rules look at."""

GZIP: Final = 16 + zlib.MAX_WBITS
SUFFIX: Final = ".jsonl.gz"
CHUNK: Final = 64 << 10  # a member's end is found within it; what is left over is unpacked again
MAX_NAME: Final = 150  # characters of a file's name; most file systems take 255 bytes


class HistoryError(CometwatchError):
    """The cached history can't be used as it is."""


class Place(NamedTuple):
    """Which list: of which app, read where, whose."""

    app: str
    endpoint: str
    name: str  #: uid or guid; "" for the app's own list


class Label(Value, frozen=True, kw_only=True):
    """The first line of a file."""

    history: int  #: the version of the format
    app: str
    endpoint: str
    name: str
    redacted: bool


class Volume(NamedTuple):
    """All that a file holds."""

    label: Label
    leaves: tuple[Leaf, ...]
    messages: tuple[Message, ...]  #: as they were read: a row may be there twice


_label: Final = msgspec.json.Decoder(Label)
_leaf: Final = msgspec.json.Decoder(Leaf)
_message: Final = msgspec.json.Decoder(Message)


def path_of(folder: Path, place: Place, *, is_redacted: bool) -> Path:
    """Where the history of a list stands in the cache `folder`."""
    kind = ".redacted" if is_redacted else ""
    return folder / _plain(place.app) / place.endpoint / f"{_plain(place.name or 'app')}{kind}{SUFFIX}"


def _plain(name: str) -> str:
    """The name as one part of a path, which it can't leave."""
    plain = quote(name, safe="")
    return digest(name) if len(plain) > MAX_NAME or plain.startswith(".") else plain


class Shelf:
    """The history of one list, open for appending; use it as a context manager.

    Raises HistoryError if the file is no history of this list and version, if another process is appending to
    it, or if it can't be read or written.
    """

    def __init__(self, folder: Path, place: Place, *, is_redacted: bool = False) -> None:
        self.path = path_of(folder, place, is_redacted=is_redacted)
        self._label = Label(
            history=VERSION, app=place.app, endpoint=place.endpoint, name=place.name, redacted=is_redacted
        )
        try:
            self._fd = _open(self.path)
        except OSError as error:
            raise HistoryError(f"{self.path}: {error.strerror}; give another folder with --cache") from error
        try:
            self.leaves = self._begin()
        except BaseException:
            os.close(self._fd)
            raise

    def append(self, leaf: Leaf, messages: Sequence[Message]) -> None:
        """Keep one page: whole or, if that fails, not at all."""
        kept = map(redacted, messages) if self._label.redacted else messages
        self._write(_packed([leaf, *kept]))
        self.leaves.append(leaf)

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self) -> list[Leaf]:
        """What is there already. A torn end is cut off, a new file gets its label."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HistoryError(
                f"{self.path}: another process is filling this history; wait for it, or give this one a "
                "folder of its own with --cache"
            ) from error
        packed = self.path.read_bytes()
        members = list(_members(packed))
        whole = members[-1][0] if members else 0
        if packed and not members and not _is_torn_start(packed):
            raise _foreign(self.path)
        os.ftruncate(self._fd, whole)
        if not members:
            self._write(_packed([self._label]))
            return []
        found = _read_label(self.path, members[0][1])
        if found != self._label:
            raise HistoryError(
                f"{self.path}: this is the history of {found.name or 'the app'} ({found.endpoint}, app "
                f"{found.app}); delete the file"
            )
        return [_read_leaf(self.path, text) for _, text in members[1:]]

    def _write(self, packed: bytes) -> None:
        start = os.fstat(self._fd).st_size
        try:
            written = os.write(self._fd, packed)
        except OSError as error:
            raise HistoryError(f"{self.path}: can't be written: {error.strerror}") from error
        if written != len(packed):
            os.ftruncate(self._fd, start)
            raise HistoryError(f"{self.path}: can't be written: the disk is full")


def read(path: Path) -> Volume:
    """All that a file of history holds, but for a torn end. Raises HistoryError."""
    try:
        members = [text for _, text in _members(path.read_bytes())]
    except OSError as error:
        raise HistoryError(f"{path}: {error.strerror}") from error
    if not members:
        raise _foreign(path)
    label = _read_label(path, members[0])
    leaves: list[Leaf] = []
    messages: list[Message] = []
    for text in members[1:]:
        leaves.append(_read_leaf(path, text))
        try:
            messages += map(_message.decode, text.rstrip(b"\n").split(b"\n")[1:])
        except msgspec.MsgspecError as error:
            raise _damaged(path) from error
    return Volume(label, tuple(leaves), tuple(messages))


def volumes(folder: Path, app: str | None = None) -> list[Path]:
    """The files of history in a cache folder, of one app or of all, in the order of their names."""
    below = folder / _plain(app) if app is not None else folder
    return sorted(below.rglob(f"*{SUFFIX}"))


def _open(path: Path) -> int:
    """The file, made if need be. What is ours alone stays so, also if it was not before."""
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
    for folder in (path.parent.parent, path.parent):
        if stat.S_IMODE(folder.stat().st_mode) != 0o700:
            folder.chmod(0o700)
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(path, flags, 0o600)
    os.fchmod(fd, 0o600)
    return fd


def _packed(lines: Sequence[Value]) -> bytes:
    """One gzip member. The same lines always give the same bytes."""
    packing = zlib.compressobj(6, zlib.DEFLATED, GZIP)
    return packing.compress(b"".join(_line(value) for value in lines)) + packing.flush()


def _line(value: Value) -> bytes:
    try:
        return msgspec.json.encode(value) + b"\n"
    except UnicodeEncodeError:  # lone surrogates, which JSON can spell and UTF-8 can't
        text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
        return text.encode("utf-8", "replace") + b"\n"


def _members(packed: bytes) -> Iterator[tuple[int, bytes]]:
    """The whole members, each with the place where it ends. What follows the last one is torn."""
    end = 0
    while end < len(packed):
        unpacking, place, text = zlib.decompressobj(GZIP), end, bytearray()
        while not unpacking.eof and place < len(packed):
            piece = packed[place : place + CHUNK]
            try:
                text += unpacking.decompress(piece)
            except zlib.error:
                return
            place += len(piece)
        if not unpacking.eof:
            return
        end = place - len(unpacking.unused_data)
        yield end, bytes(text)


def _is_torn_start(packed: bytes) -> bool:
    """Whether it may be the beginning of a label that was never finished."""
    return packed[:3] == b"\x1f\x8b\x08"[: len(packed)] and len(packed) < 1024


def _read_label(path: Path, text: bytes) -> Label:
    try:
        label = _label.decode(text)
    except msgspec.MsgspecError as error:
        raise _foreign(path) from error
    if label.history != VERSION:
        raise HistoryError(
            f"{path}: written by another version of Cometwatch (format {label.history}, this one has "
            f"{VERSION}); delete it, and it is fetched anew"
        )
    return label


def _read_leaf(path: Path, text: bytes) -> Leaf:
    try:
        return _leaf.decode(text.split(b"\n", 1)[0])
    except msgspec.MsgspecError as error:
        raise _damaged(path) from error


def _foreign(path: Path) -> HistoryError:
    return HistoryError(f"{path}: this is no history of Cometwatch; give another file or folder")


def _damaged(path: Path) -> HistoryError:
    return HistoryError(f"{path}: the file is damaged; delete it, and it is fetched anew")
