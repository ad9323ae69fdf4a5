"""A response body, collected piece by piece, never larger than allowed however well it was packed. Pure."""

from __future__ import annotations

import zlib
from typing import Final

GZIP: Final = 16 + zlib.MAX_WBITS


class Unreadable(ValueError):  # noqa: N818 - named by what is the matter
    """The body is too large, ends early or is packed in a way we did not ask for."""


class Body:
    """Feed it the pieces from the wire until `is_lost`, then take the body with `close`.

    At most `max_bytes` are held, packed or unpacked: a small gzip that would become gigabytes is lost when
    the first byte too many comes out.
    """

    def __init__(self, *, encoding: str, max_bytes: int) -> None:
        self._inflate = zlib.decompressobj(GZIP) if encoding.endswith("gzip") else None
        self._max = max_bytes
        self._wire = 0
        self._held = bytearray()
        self._problem: str | None = None
        if encoding not in {"", "identity", "gzip", "x-gzip"}:
            self._problem = f"the body is packed as {encoding[:20]!r}, which we did not ask for"

    @property
    def is_lost(self) -> bool:
        """Nothing that may still come can make it a body."""
        return self._problem is not None

    def feed(self, piece: bytes) -> None:
        if self.is_lost:
            return
        self._wire += len(piece)
        try:
            self._unpack(piece)
        except zlib.error:
            self._problem = "the body is broken gzip"
        if max(self._wire, len(self._held)) > self._max:
            self._problem = f"the body is larger than {self._max} bytes"

    def close(self) -> bytes:
        """The whole body. Raises Unreadable."""
        if self._inflate is not None and not self._inflate.eof and self._wire and not self.is_lost:
            self._problem = "the packed body ends in the middle"
        if self._problem is not None:
            raise Unreadable(self._problem)
        return bytes(self._held)

    def _unpack(self, piece: bytes) -> None:
        if self._inflate is None:
            self._held += piece
            return
        while piece and len(self._held) <= self._max:
            if self._inflate.eof:  # gzip allows several members in a row
                self._inflate = zlib.decompressobj(GZIP)
            self._held += self._inflate.decompress(piece, self._max - len(self._held) + 1)
            piece = self._inflate.unconsumed_tail or self._inflate.unused_data
