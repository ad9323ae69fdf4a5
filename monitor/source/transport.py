"""The connections to the API: kept, and taken in the same time however many there are."""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import AsyncGenerator, Callable
from types import TracebackType
from typing import Final, Self

import httpx
import trio

from monitor import outgoing
from monitor.source.http1 import Connection, Incoming, Stale, connect, head_of

CONNECTIONS: Final = 64  # one app's whole quota is 333 requests/s: 34 at 100 ms, 64 at 190 ms
IDLE_S: Final = 55.0  # shorter than what servers and balancers grant, mostly 60 s


def open_http(
    *, transport: httpx.AsyncBaseTransport | None = None, connections: int = CONNECTIONS
) -> httpx.AsyncBaseTransport:
    """What `Client` asks through; the caller closes it. `transport` stands in for the network."""
    if transport is not None:
        return Spelled(transport)
    return Pool(tls=outgoing.tls(), connections=connections)


class Pool(httpx.AsyncBaseTransport):
    """Connections to one origin behind httpx's interface, for GET; at most `connections` are busy at once.

    The one that was used last is taken first, in constant time; those that are not needed grow old and are
    closed. A connection is looked at before it is used: one that the server has closed, or on which it spoke
    unasked, is thrown away. If it is closed just then, before a byte of the answer has come, the request is
    asked once more, on a new one. Redirects, proxies and variables of the environment mean nothing here.

    There is no deadline but the one for connecting: whoever asks sets one round the whole exchange. Cancelled
    at any moment, it closes the connection at once. The stream of an answer must be closed.
    """

    def __init__(
        self, *, tls: ssl.SSLContext, connections: int = CONNECTIONS, idle_s: float = IDLE_S
    ) -> None:
        self._tls = tls
        self._idle_s = idle_s
        self._slots = trio.Semaphore(connections)
        self._idle: deque[Connection] = deque()  # the one used last stands on the right
        self._is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Ask, and read the head of the answer. Raises httpx.TransportError."""
        head = head_of(request)
        try:
            self._slots.acquire_nowait()
        except trio.WouldBlock:
            await self._slots.acquire()
        try:
            connection, incoming = await self._ask(request.url, head)
        except BaseException:
            self._slots.release()
            raise
        return httpx.Response(
            incoming.status,
            headers=incoming.headers,
            stream=Arriving(connection, incoming, self._give_back),
            extensions={"http_version": b"HTTP/1.1"},
        )

    async def aclose(self) -> None:
        """Close what is idle; what is busy is closed when its answer is."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()

    async def _ask(self, url: httpx.URL, head: bytes) -> tuple[Connection, Incoming]:
        connection = self._take(url)
        if connection is not None:
            try:
                return connection, await connection.ask(head)
            except Stale:
                pass  # it was closed between the look and the request
        connection = await connect(url, self._tls)
        return connection, await connection.ask(head)

    def _take(self, url: httpx.URL) -> Connection | None:
        """An idle connection that leads there and can be used."""
        oldest = trio.current_time() - self._idle_s
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.popleft().close()
        while self._idle:
            connection = self._idle.pop()
            if connection.leads_to(url) and connection.is_quiet:
                return connection
            connection.close()
        return None

    def _give_back(self, connection: Connection, incoming: Incoming) -> None:
        if incoming.may_follow and not self._is_closed:
            connection.idle_since = trio.current_time()
            self._idle.append(connection)
        else:
            connection.close()
        self._slots.release()


class Arriving(httpx.AsyncByteStream):
    """The body of an answer. Its connection goes back when it was read to its end, or is closed before."""

    def __init__(
        self,
        connection: Connection,
        incoming: Incoming,
        give_back: Callable[[Connection, Incoming], None],
    ) -> None:
        self._connection = connection
        self._incoming = incoming
        self._give_back: Callable[[Connection, Incoming], None] | None = give_back

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            while not (piece := self._incoming.take()):
                if self._incoming.is_complete:
                    self._part()
                    raise StopAsyncIteration
                await self._connection.receive(self._incoming)
        except httpx.TransportError:
            self._part()
            raise
        return piece

    async def aclose(self) -> None:
        self._part()

    def _part(self) -> None:
        if self._give_back is not None:
            give_back, self._give_back = self._give_back, None
            give_back(self._connection, self._incoming)


class Ending(httpx.AsyncByteStream):
    """Closing it ends the generator that the pieces come from; httpx leaves that to the garbage collector."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream
        self._pieces = aiter(stream)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        if isinstance(self._pieces, AsyncGenerator):
            await self._pieces.aclose()
        await self._stream.aclose()


class Spelled(httpx.AsyncBaseTransport):
    """A transport that reads URLs alone: the extension "target" is written into them."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        target: bytes | None = request.extensions.get("target")
        if target is not None:
            request = httpx.Request(
                request.method,
                request.url.copy_with(raw_path=target),
                headers=request.headers,
                stream=request.stream,
            )
        response = await self._transport.handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = Ending(response.stream)
        return response

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._transport.__aexit__(kind, error, traceback)
