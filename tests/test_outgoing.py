"""Outgoing connections, to CometChat and to receivers: who is trusted, and where they may lead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import certifi
import httpx
import pytest

from monitor import outgoing
from monitor.delivery.sinks.post import open_http as open_sinks
from monitor.source.transport import open_http as open_source

EVERY = pytest.mark.parametrize("opened", [open_source, open_sinks])
Opened = Callable[[], AbstractAsyncContextManager[object]]


@pytest.fixture(autouse=True)
def certificates_are_read_again() -> Iterator[None]:
    outgoing.tls.cache_clear()
    yield
    outgoing.tls.cache_clear()


def test_a_private_authority_takes_the_place_of_the_public_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = "-----END CERTIFICATE-----\n"
    (tmp_path / "ca.pem").write_text(Path(certifi.where()).read_text("utf-8").partition(end)[0] + end)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert len(outgoing.tls().get_ca_certs()) == 1


@EVERY
async def test_the_certificates_are_read_once_for_all(opened: Opened) -> None:
    outgoing.tls()
    async with opened(), opened():
        assert outgoing.tls.cache_info().misses == 1


async def test_no_redirect_is_followed_and_we_say_who_we_are() -> None:
    asked = []

    def elsewhere(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(307, headers={"location": "https://elsewhere.example/"})

    async with open_sinks(transport=httpx.MockTransport(elsewhere)) as http:
        assert (await http.post("https://here.example/")).status_code == 307
    assert [request.url.host for request in asked] == ["here.example"]
    assert asked[0].headers["user-agent"].startswith("cometwatch")


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://proxy.invalid:1")


async def test_the_environment_does_not_decide_where_alerts_go(proxies: None) -> None:
    async with open_sinks() as http:
        with pytest.raises(httpx.ConnectError, match=r"refused|attempts"):  # not: a name that is not known
            await http.get("http://127.0.0.1:1/")


async def test_the_environment_does_not_decide_where_the_key_goes(proxies: None) -> None:
    async with open_source() as http:
        with pytest.raises(httpx.ConnectError, match=r"refused|attempts"):
            await http.handle_async_request(httpx.Request("GET", "http://127.0.0.1:1/"))
