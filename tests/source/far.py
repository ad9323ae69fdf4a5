"""A far end on loopback that does byte for byte what it is told to, connection by connection."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

import trio


class Step(Protocol):
    """What is done next on one connection; a request was read before."""

    async def __call__(self, stream: trio.abc.Stream) -> None: ...


def says(*pieces: bytes) -> Step:
    """Send these, each as a packet of its own."""

    async def step(stream: trio.abc.Stream) -> None:
        for piece in pieces:
            await stream.send_all(piece)
            await trio.lowlevel.checkpoint()

    return step


async def hangs(stream: trio.abc.Stream) -> None:
    """Answer nothing until the other side goes."""
    await stream.receive_some()


async def leaves(stream: trio.abc.Stream) -> None:
    """Close without a word."""
    await stream.aclose()


PAGE: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
answers: Final = says(PAGE)


@dataclass
class Far:
    """`scripts` are followed connection by connection, the last one by all that come later."""

    scripts: list[Sequence[Step]]
    url: str = ""
    asked: list[int] = field(default_factory=list)  #: the number of the connection, request by request
    heads: list[bytes] = field(default_factory=list)
    opened: int = 0
    open: int = 0
    most: int = 0
    closed: trio.Event = field(default_factory=trio.Event)  #: when a connection ends

    async def serve(self, stream: trio.abc.Stream, tls: ssl.SSLContext | None) -> None:
        number, self.opened, self.open = self.opened, self.opened + 1, self.open + 1
        self.most = max(self.most, self.open)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            secured = trio.SSLStream(stream, tls, server_side=True, https_compatible=True) if tls else stream
            await self._follow(secured, number)
            await secured.aclose()
        self.open -= 1
        self.closed.set()
        self.closed = trio.Event()

    async def _follow(self, stream: trio.abc.Stream, number: int) -> None:
        for step in self.scripts[min(number, len(self.scripts) - 1)]:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                piece = await stream.receive_some()
                if not piece:
                    return
                head += bytes(piece)
            self.asked.append(number)
            self.heads.append(head)
            await step(stream)


@asynccontextmanager
async def far(*scripts: Sequence[Step], tls: ssl.SSLContext | None = None) -> AsyncIterator[Far]:
    end = Far([*scripts])
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_tcp, partial(end.serve, tls=tls), 0, host="127.0.0.1")
        )
        port = listeners[0].socket.getsockname()[1]
        end.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/v3"
        yield end
        nursery.cancel_scope.cancel()
