"""The HTTP server on real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx
import pytest
import trio
from starlette.types import ASGIApp, Receive, Scope, Send

from monitor.errors import ConfigError
from monitor.server import listening, serve


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def half(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"he", "more_body": True})
    raise ConnectionResetError


@asynccontextmanager
async def served(
    app: ASGIApp, listen: str = "127.0.0.1:0", *, date_header: bool = True
) -> AsyncIterator[httpx.AsyncClient]:
    async with trio.open_nursery() as nursery:
        url = await nursery.start(partial(serve, app, listening(listen), date_header=date_header))
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            yield http
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:0", "[::1]:0"])
async def test_it_serves_until_cancelled(listen: str) -> None:
    async with served(hello, listen) as http:
        url = http.base_url
        answer = await http.get("/")
    assert answer.text == "hello"
    assert "server" not in answer.headers
    async with httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(url)


@pytest.mark.parametrize("date_header", [True, False])
async def test_an_app_may_tell_the_time_itself(date_header: bool) -> None:
    async with served(hello, date_header=date_header) as http:
        assert ("date" in (await http.get("/")).headers) is date_header


async def test_a_dropped_connection_is_cut_and_leaves_the_server_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with served(half) as http:
        for _ in range(2):
            with pytest.raises(httpx.RemoteProtocolError):
                await http.get("/")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("listen", ["127.0.0.1:99999", "no-such-host.invalid:1", "nowhere", "127.0.0.1:x"])
def test_an_address_that_cannot_be_had_is_explained(listen: str) -> None:
    with pytest.raises(ConfigError, match=rf"server\.listen: can't listen on {listen}: .*; give a free"):
        listening(listen)


def test_an_address_in_use_is_explained_in_the_words_of_its_option() -> None:
    with listening("127.0.0.1:0") as taken:
        host, port = taken.getsockname()
        with pytest.raises(ConfigError, match=r"^--listen: .*Address already in use"):
            listening(f"{host}:{port}", named="--listen")
