"""A receiver on a loopback port that goes wrong in one way, on real sockets."""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio
import trustme

CA: Final = trustme.CA()  # nobody trusts it
Stream = trio.SocketStream
Fault = Callable[[Stream], Awaitable[None]]


@dataclass(slots=True)
class Server:
    port: int
    accepted: int = 0  #: connections
    requests: list[bytes] = field(default_factory=list)  #: as far as they were read
    sent: int = 0  #: bytes of answers that the network took


@asynccontextmanager
async def serving(fault: Fault, *, reads: bool = True) -> AsyncIterator[Server]:
    """A server that reads the request (or not) and then does what `fault` does."""
    server = Server(port=0)

    async def meet(stream: Stream) -> None:
        server.accepted += 1
        try:
            if reads:
                server.requests.append(await request(stream))
            await fault(stream)
        except trio.BrokenResourceError:
            pass  # the client had enough
        finally:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, meet, 0, host="127.0.0.1"))
        server.port = listener.socket.getsockname()[1]
        yield server
        nursery.cancel_scope.cancel()


async def request(stream: Stream) -> bytes:
    """One whole request with a Content-Length, or what came of it."""
    got = b""
    while b"\r\n\r\n" not in got or len(got) < _length(got):
        piece = await stream.receive_some()
        if not piece:
            break
        got += piece
    return got


def _length(got: bytes) -> int:
    head, _, _ = got.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return len(head) + 4 + (int(lengths[0].partition(b":")[2]) if lengths else 0)


def says(answer: bytes) -> Fault:
    """Say this and hang up."""

    async def fault(stream: Stream) -> None:
        await stream.send_all(answer)

    return fault


def starts(answer: bytes) -> Fault:
    """Say this and never more."""

    async def fault(stream: Stream) -> None:
        await stream.send_all(answer)
        await trio.sleep_forever()

    return fault


def floods(beginning: bytes, piece: bytes) -> Fault:
    """Say `piece` for as long as anybody listens."""

    async def fault(stream: Stream) -> None:
        await stream.send_all(beginning)
        while True:
            await stream.send_all(piece)

    return fault


async def reset(stream: Stream) -> None:
    """Hang up with a RST, as a process that was killed does."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def handshake_that_ends(stream: Stream) -> None:
    await stream.receive_some()


async def stranger(stream: Stream) -> None:
    """TLS with a certificate of nobody we know."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert("localhost").configure_cert(context)
    await trio.SSLStream(stream, context, server_side=True).do_handshake()


OK: Final = b"HTTP/1.1 200 OK\r\n"
BOMB: Final = gzip.compress(b"\0" * 5_000_000)

# What cost us the status line: whether the receiver has the alert is unknown, so it is sent again.
UNANSWERED: Final[Mapping[str, Fault]] = {
    "hangs up": says(b""),
    "reset": reset,
    "says nothing": starts(b""),
    "half a status line": starts(b"HTTP/1."),
    "a status line that ends": says(b"HTTP/1.1 2"),
    "headers that never end": starts(OK + b"x-a: 1\r\n"),
    "headers without end": floods(OK, b"x-a: " + b"1" * 4096 + b"\r\n"),
    "one header without end": floods(OK + b"x-a: ", b"1" * 4096),
    "not HTTP": says(b"220 mail.example ESMTP\r\n"),
    "a status of letters": says(b"HTTP/1.1 OK fine\r\n\r\n"),
    "binary": says(bytes(range(256)) * 4),
}
# What a body can do after a status of 500: it only explains, so it changes nothing.
BODIES: Final[Mapping[str, Fault]] = {
    "without end": floods(b"HTTP/1.1 500 No\r\n\r\n", b"x" * 4096),
    "in chunks without end": floods(
        b"HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"
    ),
    "of a terabyte": floods(b"HTTP/1.1 500 No\r\ncontent-length: 1000000000000\r\n\r\n", b"x" * 4096),
    "cut": says(b"HTTP/1.1 500 No\r\ncontent-length: 10\r\n\r\nabc"),
    "of broken chunks": says(b"HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
    "packed to explode": says(
        b"HTTP/1.1 500 No\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(BOMB) + BOMB
    ),
}
# What goes wrong before anything is said.
HANDSHAKES: Final[Mapping[str, Fault]] = {
    "plain text": says(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "hangs up": handshake_that_ends,
    "reset": reset,
    "stranger": stranger,
}
