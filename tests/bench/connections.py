"""What a poll costs by the number of connections, beside three other ways to ask the same."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Final

import httpcore
import httpx
import trio

from monitor import outgoing
from monitor.clock import Clock
from monitor.source.client import Client, MessageQuery
from monitor.source.exchange import NOTHING
from monitor.source.transport import Pool, open_http
from rules.model import MessageId
from tests.bench.answering import BODY, HEAD
from tests.bench.figures import Figure
from tests.bench.rig import answered, free_port, running
from tests.bench.source import KEY

SIZES: Final = (50, 200, 500)
LATENCY_S: Final = 0.1
WARM_UP_S: Final = 8.0  # at most; a way that is slow at opening is measured all the same
LASTS_S: Final = 2.0
ROUNDS: Final = 20
POLLS: Final = 200
LINES: Final = HEAD.format(date=formatdate(usegmt=True), size=len(BODY)).split("\r\n")[1:-2]
HEADERS: Final = [(name, value) for name, _, value in (line.partition(": ") for line in LINES)]
QUERY: Final = MessageQuery.after(MessageId(1786), 100)
TARGET: Final = "/v3/users/user1/messages?affix=append&id=1786&perPage=100&limit=100&withTags=1"

Poll = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one way at one number of connections."""

    polls_s: float
    cpu_us: float


@asynccontextmanager
async def ours(base: str, connections: int) -> AsyncIterator[Poll]:
    """The product: its client on its pool, the answer judged and decoded."""
    async with open_http(connections=connections) as http:
        client = Client(base_url=f"{base}/v3", api_key=lambda: KEY, http=http, clock=Clock())

        async def poll() -> None:
            await client.messages("user1", QUERY)

        yield poll


@asynccontextmanager
async def pool_alone(base: str, connections: int) -> AsyncIterator[Poll]:
    """The product's pool without its client: the floor of `ours`."""
    url, headers = httpx.URL(base), httpx.Headers({"host": "a", "apikey": KEY, "accept-encoding": "gzip"})
    async with Pool(tls=outgoing.tls(), connections=connections) as http:

        async def poll() -> None:
            extensions = {"target": TARGET.encode()}
            request = httpx.Request("GET", url, headers=headers, stream=NOTHING, extensions=extensions)
            response = await http.handle_async_request(request)
            assert await response.aread() == BODY

        yield poll


class Plain(httpx.AsyncBaseTransport):
    """httpcore's own connections, taken last in first out, and nothing more."""

    def __init__(self, base: str) -> None:
        url = httpcore.URL(base)
        self._origin = url.origin
        self._idle: deque[httpcore.AsyncHTTPConnection] = deque()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        connection = self._idle.pop() if self._idle else httpcore.AsyncHTTPConnection(self._origin)
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        core = await connection.handle_async_request(
            httpcore.Request(request.method, url, headers=request.headers.raw)
        )
        content = await core.aread()
        await core.aclose()
        self._idle.append(connection)
        return httpx.Response(core.status, headers=core.headers, content=content)

    async def aclose(self) -> None:
        for connection in self._idle:
            await connection.aclose()


@asynccontextmanager
async def by_httpx(base: str, transport: httpx.AsyncBaseTransport) -> AsyncIterator[Poll]:
    async with httpx.AsyncClient(transport=transport, headers={"apikey": KEY}, timeout=None) as http:

        async def poll() -> None:
            assert (await http.get(base + TARGET)).content == BODY

        yield poll


@asynccontextmanager
async def plain(base: str, connections: int) -> AsyncIterator[Poll]:
    """httpx over an O(1) pool of httpcore's connections."""
    async with by_httpx(base, Plain(base)) as poll:
        yield poll


@asynccontextmanager
async def stock(base: str, connections: int) -> AsyncIterator[Poll]:
    """httpx as it comes."""
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    async with by_httpx(base, httpx.AsyncHTTPTransport(limits=limits, trust_env=False)) as poll:
        yield poll


@asynccontextmanager
async def raw(base: str, connections: int) -> AsyncIterator[Poll]:
    """Bytes out, bytes in, nothing understood."""
    port = httpx.URL(base).port
    head = f"GET {TARGET} HTTP/1.1\r\nHost: a\r\napikey: {KEY}\r\n\r\n".encode()
    idle: list[trio.SocketStream] = []

    async def poll() -> None:
        stream = idle.pop() if idle else await trio.open_tcp_stream("127.0.0.1", port or 0)
        await stream.send_all(head)
        assert (await stream.receive_some()).endswith(BODY)
        idle.append(stream)

    yield poll
    for stream in idle:
        stream.socket.close()


WAYS: Final = {
    "ours": ours,
    "pool alone": pool_alone,
    "httpx, O(1) pool": plain,
    "stock httpx": stock,
    "raw": raw,
}


class Ready(httpx.AsyncBaseTransport):
    """The answer is there already: what is left is the client's own work."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=HEADERS, stream=httpx.ByteStream(BODY))


async def own_code_us() -> float:
    """CPU of one empty poll without any connection: the best of many rounds, others disturb the rest."""
    client = Client(base_url="http://a.test/v3", api_key=lambda: KEY, http=Ready(), clock=Clock())
    best = math.inf
    for _ in range(ROUNDS):
        cpu_s = time.process_time()
        for _ in range(POLLS):
            await client.messages("user1", QUERY)
        best = min(best, time.process_time() - cpu_s)
    return 1e6 * best / POLLS


async def measure(runs: int, folder: Path) -> list[Figure]:
    own = [await own_code_us() for _ in range(runs)]
    about = "of an empty poll from request to page, without a connection"
    figures = [Figure(name="own code", unit="µs CPU", values=own, about=about, at_most=100)]
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    async with running("tests.bench.answering", str(port), str(LATENCY_S), log=folder / "server.log"):
        await answered(base)
        for connections in SIZES:
            costs: dict[str, list[Cost]] = {way: [] for way in WAYS}
            for _ in range(runs):  # the ways in turn, so that what disturbs one run disturbs them all
                for way, opened in WAYS.items():
                    async with opened(base, connections) as poll:
                        costs[way].append(await _cost(poll, connections))
            figures += _figures(connections, costs)
    return figures


async def _cost(poll: Poll, connections: int) -> Cost:
    polls = 0

    async def repeat() -> None:
        nonlocal polls
        while True:
            await poll()
            polls += 1

    async with trio.open_nursery() as nursery:
        for _ in range(connections):
            nursery.start_soon(repeat)
        with trio.move_on_after(WARM_UP_S):
            while polls < 3 * connections:  # noqa: ASYNC110 - counted by the tasks
                await trio.sleep(LATENCY_S)
        before, cpu_s, began = polls, time.process_time(), time.perf_counter()
        await trio.sleep(LASTS_S)
        made, cpu_s, lasted = polls - before, time.process_time() - cpu_s, time.perf_counter() - began
        nursery.cancel_scope.cancel()
    return Cost(made / lasted, 1e6 * cpu_s / max(made, 1))


def _figures(connections: int, costs: dict[str, list[Cost]]) -> list[Figure]:
    at = f"{connections} connections"
    own = costs["ours"]
    figures = []
    for way, found in costs.items():
        name = f"{connections}, {way}"
        figures.append(Figure(name=name, unit="polls/s", values=[cost.polls_s for cost in found], about=at))
        figures.append(
            Figure(name=name, unit="µs CPU", values=[cost.cpu_us for cost in found], about=f"a poll; {at}")
        )
    for way, least in (("stock httpx", 4.0), ("httpx, O(1) pool", 2.0), ("raw", None)):
        ratios = [other.cpu_us / cost.cpu_us for other, cost in zip(costs[way], own, strict=True)]
        figures.append(
            Figure(name=f"{connections}, {way} / ours", unit="× CPU", values=ratios, about=at, at_least=least)
        )
    return figures
