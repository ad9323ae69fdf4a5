"""HTTP/1.1 on one connection: the head of a GET goes out, an answer comes in.

The parser is llhttp, that of Node.js, in its strict form. Whatever it refuses, whatever comes unasked and
whatever is too long ends the connection: the next request starts on a clean one.
"""

from __future__ import annotations

import re
import select
import ssl
from typing import Final

import httptools
import httpx
import trio

RECEIVE: Final = 64 * 1024
MAX_OVERHEAD: Final = 64 * 1024
"""Bytes of an answer that are no body: heads, also of 1xx answers, chunk sizes, trailers."""
OVERHEAD_PER_BYTE: Final = 8  # of a body in the smallest chunks: `1\r\nx\r\n` is 5 of them
CONNECT_S: Final = 10.0

TARGET: Final = re.compile(rb"[!-~]+")


class Stale(Exception):  # noqa: N818 - named by what is the matter
    """The server closed the connection while it was idle: it has answered nothing."""


def head_of(request: httpx.Request) -> bytes:
    """The request as it stands on the wire. Raises LocalProtocolError for more than a GET without a body.

    The extension "target", as httpcore defines it, takes the place of path and query of the URL.
    """
    target = request.extensions.get("target") or request.url.raw_path
    headers = request.headers.raw
    block = b"".join([name + b": " + value + b"\r\n" for name, value in headers])
    if block.count(b"\n") != len(headers) or block.count(b"\r") != len(headers) or b"\0" in block:
        raise httpx.LocalProtocolError("a header holds a line break")
    names = b"\n" + block.lower()
    if b"\ncontent-length:" in names or b"\ntransfer-encoding:" in names or request.method != "GET":
        raise httpx.LocalProtocolError("only GET without a body can be asked here")
    if not TARGET.fullmatch(target):
        raise httpx.LocalProtocolError("the target holds a space or a line break")
    return b"GET " + target + b" HTTP/1.1\r\n" + block + b"\r\n"


class Incoming:
    """One answer on its way in: feed it bytes until `is_complete`, take its body meanwhile. Pure.

    What it can't trust raises RemoteProtocolError.
    """

    __slots__ = (
        "_body", "_fed", "_held", "_is_interim", "_parser", "headers", "is_complete", "is_headed",
        "may_follow", "status",
    )  # fmt: skip

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_headed = False  #: status and headers are there
        self.is_complete = False
        self.may_follow = False  #: another answer may follow on this connection
        self._is_interim = False
        self._body: list[bytes] = []
        self._fed = 0
        self._held = 0
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    @property
    def has_begun(self) -> bool:
        return self._fed > 0

    def feed(self, piece: bytes) -> None:
        """The next bytes from the wire."""
        assert self._parser is not None, "nothing is fed to an answer that is complete"
        self._fed += len(piece)
        try:
            self._parser.feed_data(piece)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.may_follow = False
            if not self.is_complete:
                raise httpx.RemoteProtocolError(f"no HTTP answer: {_reason(error)}") from None
        finally:
            if self.is_complete:
                self._parser = None  # it knows us and we know it: garbage only a collector would find
        if self._fed - self._held > MAX_OVERHEAD + OVERHEAD_PER_BYTE * self._held:
            self.may_follow = False
            raise httpx.RemoteProtocolError(f"more than {MAX_OVERHEAD} bytes that are no body")

    def end(self) -> None:
        """The connection was closed: some bodies end like this."""
        names = {name.lower() for name, _ in self.headers}
        if not self.is_headed or names & {b"content-length", b"transfer-encoding"}:
            raise httpx.RemoteProtocolError("the connection was closed in the middle of the answer")
        self.is_complete = True
        self._parser = None

    def take(self) -> bytes:
        """What has come of the body since the last call; nothing may have."""
        body, self._body = self._body, []
        return body[0] if len(body) == 1 else b"".join(body)

    # --- what the parser calls ---------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.is_complete:  # bytes that nobody asked for
            self.may_follow = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.is_headed:  # later ones are trailers
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.is_headed:
            return
        assert self._parser is not None
        self.status = self._parser.get_status_code()
        self._is_interim = self.status < 200
        self.is_headed = not self._is_interim

    def on_body(self, piece: bytes) -> None:
        if not self.is_complete:
            self._body.append(piece)
            self._held += len(piece)

    def on_message_complete(self) -> None:
        if self.is_complete:
            return
        if self._is_interim:
            self.headers.clear()
            return
        assert self._parser is not None
        self.is_complete = True
        self.may_follow = self._parser.should_keep_alive()


class Connection:
    """A connection to one origin that asks one request at a time."""

    __slots__ = ("_is_used", "_poll", "_socket", "_stream", "_url", "idle_since")

    def __init__(self, tcp: trio.SocketStream, stream: trio.abc.Stream, *, url: httpx.URL) -> None:
        """`stream` is `tcp`, or TLS on top of it; `url` is where it leads."""
        self.idle_since = 0.0
        self._url = url
        self._stream = stream
        self._socket = tcp.socket
        self._is_used = False
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    async def ask(self, head: bytes) -> Incoming:
        """Send a request and read the head of its answer.

        Raises a TransportError, or Stale if an earlier request was answered here and nothing of this one:
        then it may be asked again. Whatever is raised, the connection is closed.
        """
        incoming = Incoming()
        try:
            await self._send(head)
            while not incoming.is_headed:
                await self.receive(incoming)
        except httpx.TransportError as error:
            self.close()
            if self._is_used and not incoming.has_begun:
                raise Stale from error
            raise
        except BaseException:
            self.close()
            raise
        self._is_used = True
        return incoming

    async def receive(self, incoming: Incoming) -> None:
        """Read on. Raises a TransportError; whoever calls closes the connection then."""
        try:
            piece = await self._stream.receive_some(RECEIVE)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpx.ReadError(_reason(error)) from error
        if piece:
            incoming.feed(bytes(piece))
        else:
            incoming.end()

    @property
    def is_quiet(self) -> bool:
        """Nothing has come while nothing was asked: neither bytes nor an end."""
        return not self._poll.poll(0)

    def leads_to(self, url: httpx.URL) -> bool:
        """Whether `url` has the same origin."""
        mine = self._url
        return url is mine or (url.scheme, url.host, url.port) == (mine.scheme, mine.host, mine.port)

    def close(self) -> None:
        """Close it at once, without a farewell: what is under way on it fails."""
        self._socket.close()

    async def _send(self, head: bytes) -> None:
        try:
            await self._stream.send_all(head)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpx.WriteError(_reason(error)) from error


async def connect(url: httpx.URL, tls: ssl.SSLContext) -> Connection:
    """A new connection to where `url` points. Raises ConnectError, ConnectTimeout or UnsupportedProtocol."""
    if url.scheme not in {"http", "https"}:
        raise httpx.UnsupportedProtocol(f"{url.scheme} is not http or https")
    host = url.raw_host.decode("ascii")
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        with trio.fail_after(CONNECT_S):
            tcp = await trio.open_tcp_stream(host, port)
            stream = await _secured(tcp, tls, host) if url.scheme == "https" else tcp
    except trio.TooSlowError as slow:
        raise httpx.ConnectTimeout(f"no connection within {CONNECT_S:g} s") from slow
    except (OSError, trio.BrokenResourceError) as error:
        raise httpx.ConnectError(_reason(error)) from error
    return Connection(tcp, stream, url=url)


async def _secured(
    tcp: trio.SocketStream, tls: ssl.SSLContext, host: str
) -> trio.SSLStream[trio.SocketStream]:
    stream = trio.SSLStream(tcp, tls, server_hostname=host, https_compatible=True)
    try:
        await stream.do_handshake()
    except BaseException:
        tcp.socket.close()
        raise
    return stream


def _reason(error: BaseException) -> str:
    """Why, in the words of the lowest layer: Trio says only that a stream broke."""
    cause = error.__cause__ if isinstance(error, trio.BrokenResourceError) else error
    return str(cause or error) or type(error).__name__
