"""The client on real sockets: keep-alive, packing, a stream that never ends."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from monitor.clock import Clock
from monitor.source.client import BadResponse, Client, MessageQuery, Unreachable
from monitor.source.transport import open_http
from rules.model import UserId
from tests.source.rows import SAMPLE
from tests.source.serving import KEY

UID = UserId("superhero2")


class Far(ThreadingHTTPServer):
    """The last segment of the base URL says how the answer goes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Talk)
        self.connections: set[tuple[str, int]] = set()
        self.sent = 0

    def client(self, way: str, http: httpx.AsyncBaseTransport) -> Client:
        url = f"http://127.0.0.1:{self.server_address[1]}/{way}"
        return Client(base_url=url, api_key=lambda: KEY, http=http, clock=Clock(), max_body=2**20)


class Talk(BaseHTTPRequestHandler):
    server: Far
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.connections.add(self.client_address)
        getattr(self, f"go_{self.path.split('/')[1]}")()

    def go_packed(self) -> None:
        assert self.headers["accept-encoding"] == "gzip"
        packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        self._whole(packer.compress(SAMPLE.read_bytes()) + packer.flush(), "gzip")

    def go_endless(self) -> None:
        """Zeros for ever, a thousandth of their size on the wire."""
        packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        self.send_response(200)
        self.send_header("content-encoding", "gzip")
        self.send_header("connection", "close")
        self.end_headers()
        with suppress(ConnectionError):
            while self.server.sent < 2**30:
                self.wfile.write(packer.compress(bytes(2**20)))
                self.server.sent += 2**20
        self.close_connection = True

    def go_dropped(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "1000")
        self.end_headers()
        self.wfile.write(b'{"data":[')
        self.close_connection = True

    def _whole(self, body: bytes, encoding: str) -> None:
        self.send_response(200)
        self.send_header("content-encoding", encoding)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Quiet."""


@pytest.fixture
def far() -> Iterator[Far]:
    with Far() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_packed_pages_come_over_one_connection(far: Far) -> None:
    async with open_http() as http:
        client = far.client("packed", http)
        pages = [await client.messages(UID, MessageQuery()) for _ in range(3)]
    assert [page.max_id for page in pages] == [1777, 1777, 1777]
    assert len(far.connections) == 1


async def test_a_stream_that_never_ends_is_left_at_once(far: Far) -> None:
    async with open_http() as http:
        with pytest.raises(BadResponse, match="larger than 1048576 bytes"):
            await far.client("endless", http).messages(UID, MessageQuery())
        assert far.sent < 2**30
        assert (await far.client("packed", http).messages(UID, MessageQuery())).rows == 2


async def test_a_connection_dropped_in_the_middle_is_unreachable(far: Far) -> None:
    async with open_http() as http:
        with pytest.raises(Unreachable):
            await far.client("dropped", http).messages(UID, MessageQuery())
