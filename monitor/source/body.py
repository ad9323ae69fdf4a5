"""A response body, collected piece by piece, never larger than allowed however well it was packed. Pure."""

from __future__ import annotations

import zlib
from typing import Final

GZIP: Final = 16 + zlib.MAX_WBITS


class Unreadable(ValueError):  # noqa: N818 - named by what is the matter
    """The body is too large, ends early or is packed in a way we did not ask for."""


class Body:
    """Feed it the pieces from the wire, then take the body with `close`.

    At most `max_bytes` are held, packed or unpacked: a small gzip that would become gigabytes is refused when
    the first byte too many comes out. Raises Unreadable.
    """

    def __init__(self, *, encoding: str, max_bytes: int) -> None:
        if encoding not in {"", "identity", "gzip", "x-gzip"}:
            raise Unreadable(f"the body is packed as {encoding[:20]!r}, which we did not ask for")
        self._inflate = zlib.decompressobj(GZIP) if encoding.endswith("gzip") else None
        self._max = max_bytes
        self._wire = 0
        self._held = bytearray()

    def feed(self, piece: bytes) -> None:
        self._wire += len(piece)
        if self._wire > self._max:
            raise self._too_large()
        if self._inflate is None:
            self._held += piece
            return
        try:
            self._unpack(piece)
        except zlib.error:
            raise Unreadable("the body is broken gzip") from None

    def close(self) -> bytes:
        if self._inflate is not None and not self._inflate.eof and self._wire:
            raise Unreadable("the packed body ends in the middle")
        return bytes(self._held)

    def _unpack(self, piece: bytes) -> None:
        while piece and self._inflate is not None:
            if self._inflate.eof:  # gzip allows several members in a row
                self._inflate = zlib.decompressobj(GZIP)
            self._held += self._inflate.decompress(piece, self._max - len(self._held) + 1)
            if len(self._held) > self._max:
                raise self._too_large()
            piece = self._inflate.unconsumed_tail or self._inflate.unused_data

    def _too_large(self) -> Unreadable:
        return Unreadable(f"the body is larger than {self._max} bytes")
