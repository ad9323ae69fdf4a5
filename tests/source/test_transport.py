"""The pool on real sockets: which connection is taken, which thrown away, and what a failure leaves."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
import trustme

from monitor.clock import Clock
from monitor.source import http1
from monitor.source.client import BadResponse, Client, MessageQuery, Unreachable
from monitor.source.transport import Pool
from tests.source.far import PAGE, Far, answers, far, hangs, leaves, says
from tests.source.serving import KEY

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"


@asynccontextmanager
async def pool(
    *, tls: ssl.SSLContext | None = None, connections: int = 4, idle_s: float = 55
) -> AsyncIterator[Pool]:
    async with Pool(tls=tls or ssl.create_default_context(), connections=connections, idle_s=idle_s) as http:
        yield http


async def get(http: httpx.AsyncBaseTransport, end: Far) -> bytes:
    response = await http.handle_async_request(httpx.Request("GET", end.url))
    return await response.aread()


async def test_a_connection_is_used_again() -> None:
    async with far([answers] * 3) as end, pool() as http:
        assert [await get(http, end) for _ in range(3)] == [b"{}"] * 3
    assert end.opened == 1


async def test_a_stock_client_may_stand_on_it() -> None:
    async with far([says(HEAD, b'{"data"', b":1}")]) as end, pool() as http:
        client = httpx.AsyncClient(transport=http, trust_env=False)
        assert (await client.get(end.url)).json() == {"data": 1}


async def test_the_one_used_last_is_taken_first() -> None:
    async with far([answers] * 9) as end, pool() as http:
        held = [await http.handle_async_request(httpx.Request("GET", end.url)) for _ in range(3)]
        for number in (2, 0, 1):
            await held[number].aread()
        for _ in range(3):
            await get(http, end)
    assert end.asked == [0, 1, 2, 1, 1, 1]


async def test_no_more_than_allowed_are_busy_at_once() -> None:
    halves = says(PAGE[:10], PAGE[10:])
    async with far([halves] * 20) as end, pool(connections=3) as http, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(get, http, end)
    assert len(end.asked) == 20
    assert end.most <= 3


async def test_idle_connections_grow_old() -> None:
    async with far([answers] * 3) as end, pool(idle_s=0) as http:
        await get(http, end)
        await get(http, end)
    assert end.asked == [0, 1]


async def test_old_ones_go_though_a_younger_one_is_used() -> None:
    async with far([answers] * 9) as end, pool() as http:
        held = [await http.handle_async_request(httpx.Request("GET", end.url)) for _ in range(2)]
        for response in held:
            await response.aread()
        http._idle[0].idle_since -= 60
        gone = end.closed
        await get(http, end)
        with trio.fail_after(5):
            await gone.wait()
    assert end.asked == [0, 1, 1]


async def test_another_origin_gets_no_connection_of_this_one() -> None:
    async with far([answers] * 3) as one, far([answers] * 3) as other, pool() as http:
        for end in (one, other, one):
            await get(http, end)
    assert (one.asked, other.asked) == ([0, 1], [0])


@pytest.mark.parametrize(
    "last",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        PAGE + b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
async def test_a_connection_that_said_more_or_goodbye_is_not_used_again(last: bytes) -> None:
    async with far([says(last), answers], [answers]) as end, pool() as http:
        assert [await get(http, end), await get(http, end)] == [b"{}", b"{}"]
    assert end.asked == [0, 1]


async def test_bytes_that_come_unasked_end_a_connection() -> None:
    """They would be taken for the answer to the next request."""
    said = trio.Event()

    async def speaks_again(stream: trio.abc.Stream) -> None:
        await stream.send_all(PAGE)
        await said.wait()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nlie")

    async with far([speaks_again, answers], [answers]) as end, pool() as http:
        await get(http, end)
        said.set()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await get(http, end) == b"{}"
    assert end.asked == [0, 1]


# --- closed by the server ---------------------------------------------------------------------------------


async def test_one_that_was_closed_while_idle_is_noticed_before_it_is_used() -> None:
    async with far([answers], [answers]) as end, pool() as http:
        gone = end.closed
        await get(http, end)
        await gone.wait()
        assert await get(http, end) == b"{}"
    assert end.asked == [0, 1]


async def test_one_that_is_closed_just_then_is_asked_again_on_a_new_one() -> None:
    async with far([answers, leaves], [answers]) as end, pool() as http:
        await get(http, end)
        assert await get(http, end) == b"{}"
    assert end.asked == [0, 0, 1]


async def test_nothing_is_asked_three_times() -> None:
    async with far([answers, leaves], [leaves], [answers]) as end, pool() as http:
        await get(http, end)
        with pytest.raises(httpx.RemoteProtocolError):
            await get(http, end)
    assert end.asked == [0, 0, 1]


async def test_a_new_connection_that_answers_nothing_is_a_failure() -> None:
    async with far([leaves], [answers]) as end, pool() as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await get(http, end)
    assert end.asked == [0]


async def test_an_answer_that_began_is_not_asked_for_again() -> None:
    async def begins(stream: trio.abc.Stream) -> None:
        await stream.send_all(HEAD[:9])
        await stream.aclose()

    async with far([answers, begins], [answers]) as end, pool() as http:
        await get(http, end)
        with pytest.raises(httpx.RemoteProtocolError):
            await get(http, end)
        assert await get(http, end) == b"{}"
    assert end.asked == [0, 0, 1]


async def test_a_body_that_breaks_off_is_a_failure_and_frees_its_place() -> None:
    async def breaks(stream: trio.abc.Stream) -> None:
        await stream.send_all(HEAD + b"half")
        await stream.aclose()

    async with far([breaks], [answers]) as end, pool(connections=1) as http:
        with pytest.raises(httpx.RemoteProtocolError, match="in the middle"):
            await get(http, end)
        assert await get(http, end) == b"{}"


async def test_a_connection_that_can_not_be_made_frees_its_place() -> None:
    async with far([answers]) as end, pool(connections=1) as http:
        with pytest.raises(httpx.ConnectError, match="127"):
            await http.handle_async_request(httpx.Request("GET", "http://127.0.0.1:1/"))
        assert await get(http, end) == b"{}"


async def test_only_http_is_spoken() -> None:
    async with pool() as http:
        with pytest.raises(httpx.UnsupportedProtocol):
            await http.handle_async_request(httpx.Request("GET", "ftp://127.0.0.1/"))


# --- cancelled --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", HEAD[:20], HEAD, HEAD + b"half"])
async def test_whoever_stops_waiting_leaves_nothing_behind(said: bytes) -> None:
    async def stalls(stream: trio.abc.Stream) -> None:
        if said:
            await stream.send_all(said)
        await stream.receive_some()

    async with far([stalls], [answers]) as end, pool(connections=1) as http:
        client = Client(base_url=end.url, api_key=lambda: KEY, http=http, clock=Clock(), timeout_s=0.05)
        gone = end.closed
        with pytest.raises(Unreachable, match=r"0\.05 s"):
            await client.messages("bob", MessageQuery())
        with trio.fail_after(5):
            await gone.wait()
            assert await get(http, end) == b"{}"


async def test_whoever_waits_for_a_place_may_leave() -> None:
    async with far([hangs], [answers]) as end, pool(connections=1) as http, trio.open_nursery() as nursery:
        nursery.start_soon(get, http, end)
        await trio.testing.wait_all_tasks_blocked(0.01)
        with trio.move_on_after(0.01) as left:
            await get(http, end)
        assert left.cancelled_caught
        nursery.cancel_scope.cancel()
    assert end.asked == [0]


async def test_an_answer_that_is_left_half_read_ends_its_connection() -> None:
    async with far([says(HEAD, b"half"), answers], [answers]) as end, pool(connections=1) as http:
        response = await http.handle_async_request(httpx.Request("GET", end.url))
        await response.aclose()
        await response.aclose()
        assert await get(http, end) == b"{}"
    assert end.asked == [0, 1]


async def test_closing_the_pool_closes_what_is_idle_now_and_what_is_busy_later() -> None:
    async with far([answers] * 2) as end, pool() as http:
        await get(http, end)
        busy = await http.handle_async_request(httpx.Request("GET", end.url))
        await http.aclose()
        assert await busy.aread() == b"{}"
        assert not http._idle


# --- slow and large ---------------------------------------------------------------------------------------


async def test_a_dribbled_answer_has_the_same_deadline_as_any() -> None:
    async def dribbles(stream: trio.abc.Stream) -> None:
        while True:
            await stream.send_all(b"HTTP/1.1 200 OK\r\n" if stream not in begun else b"a: b\r\n")
            begun.add(stream)
            await trio.sleep(0.01)

    begun: set[trio.abc.Stream] = set()
    async with far([dribbles]) as end, pool() as http:
        client = Client(base_url=end.url, api_key=lambda: KEY, http=http, clock=Clock(), timeout_s=0.1)
        with pytest.raises(Unreachable, match=r"0\.1 s"):
            await client.messages("bob", MessageQuery())


async def test_a_body_without_end_is_left_as_soon_as_it_is_too_large() -> None:
    async def pours(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await stream.send_all(b"10000\r\n%b\r\n" % bytes(65536))

    async with far([pours], [answers]) as end, pool(connections=1) as http:
        client = Client(
            base_url=end.url, api_key=lambda: KEY, http=http, clock=Clock(), max_body=2**20, timeout_s=10
        )
        with pytest.raises(BadResponse, match="larger than 1048576"):
            await client.messages("bob", MessageQuery())
        assert await get(http, end) == b"{}"


# --- TLS --------------------------------------------------------------------------------------------------

AUTHORITY = trustme.CA()


def served(name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert(name).configure_cert(context)
    return context


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


async def test_tls_is_spoken_to_whom_we_trust_and_kept() -> None:
    async with far([says(HEAD, b"0123456789")] * 3, tls=served()) as end, pool(tls=trusting()) as http:
        assert [await get(http, end) for _ in range(3)] == [b"0123456789"] * 3
    assert end.opened == 1


@pytest.mark.parametrize(
    ("name", "trust", "said"),
    [("127.0.0.1", ssl.create_default_context, "certificate"), ("elsewhere.test", trusting, "match")],
)
async def test_whom_we_do_not_trust_hears_nothing(name: str, trust: object, said: str) -> None:
    assert callable(trust)
    async with far([answers], tls=served(name)) as end, pool(tls=trust(), connections=1) as http:
        for _ in range(2):
            with pytest.raises(httpx.ConnectError, match=said):
                await get(http, end)
    assert end.asked == []


async def test_a_server_without_tls_is_refused() -> None:
    async def speaks_first(stream: trio.SocketStream) -> None:
        await stream.send_all(PAGE)

    async with trio.open_nursery() as nursery, pool(tls=trusting()) as http:
        listeners = await nursery.start(trio.serve_tcp, speaks_first, 0)
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(httpx.ConnectError):
            await http.handle_async_request(httpx.Request("GET", f"https://127.0.0.1:{port}/"))
        nursery.cancel_scope.cancel()


async def test_a_handshake_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "CONNECT_S", 0.05)
    async with trio.open_nursery() as nursery, pool(tls=trusting(), connections=1) as http:
        listeners = await nursery.start(trio.serve_tcp, hangs_at_once, 0)
        port = listeners[0].socket.getsockname()[1]
        for _ in range(2):
            with pytest.raises(httpx.ConnectTimeout, match=r"0\.05 s"):
                await http.handle_async_request(httpx.Request("GET", f"https://127.0.0.1:{port}/"))
        nursery.cancel_scope.cancel()


async def hangs_at_once(_stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def test_a_goodbye_over_tls_is_noticed() -> None:
    async with far([answers, leaves], [answers], tls=served()) as end, pool(tls=trusting()) as http:
        await get(http, end)
        assert await get(http, end) == b"{}"
    assert end.asked == [0, 0, 1]
