"""One process owns a store. The lock file says who, and that a store was there: it outlives both."""

from __future__ import annotations

import fcntl
import os
import socket
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from monitor.errors import StoreError
from rules.model import Value


class Marker(Value, frozen=True, kw_only=True):
    """What the lock file tells: the last owner, and since when it keeps a store."""

    app: str
    since: datetime
    pid: int
    host: str


class FileLock:
    """An operating-system lock beside the store's file, held until `close` or the end of the process.

    Raises StoreError when another process holds it. The file is never deleted: the lock would be lost
    with it, and its marker tells a store that vanished from one that never was.
    """

    def __init__(self, store: Path) -> None:
        self.path = store.with_name(store.name + ".lock")
        self._fd = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = self.read()
            os.close(self._fd)
            who = f"process {holder.pid} on {holder.host}" if holder else "another process"
            raise StoreError(
                f"{store}: {who} is running on this store. One process owns a store: stop that one first, or "
                "give this one a store.url of its own."
            ) from error

    def read(self) -> Marker | None:
        """The marker, or None if no store was completed here yet."""
        text = os.pread(self._fd, 64 << 10, 0)
        try:
            return msgspec.json.decode(text, type=Marker)
        except msgspec.MsgspecError:
            return None

    def write(self, *, app: str, since: datetime) -> None:
        """Say on the disk that there is a store, and that this process owns it."""
        marker = Marker(app=app, since=since, pid=os.getpid(), host=socket.gethostname())
        text = msgspec.json.encode(marker) + b"\n"
        os.pwrite(self._fd, text, 0)
        os.ftruncate(self._fd, len(text))
        os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
