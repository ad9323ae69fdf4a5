"""Where connections may lead: the addresses, names that change, and certificates on real sockets."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from pathlib import Path
from typing import Final

import httpcore
import httpx
import pytest
import trio
import trio.lowlevel
import trustme
from hypothesis import given
from hypothesis import strategies as st

from monitor import outgoing, reach
from monitor.outgoing import NotConnected, Reach, Tls
from monitor.reach import Guard, first, refusal

ANY, PUBLIC = Reach(private=True), Reach(private=False)

NEVER: Final = [
    "0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.170.2", "169.254.0.1", "100.100.100.200",
    "168.63.129.16", "192.0.0.192", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "fe80::1", "fe80::a9fe:a9fe", "febf::1", "ff02::1", "ff0e::1", "fd00:ec2::254",
    "fd00:ec2::23", "fd20:ce::254", "::ffff:169.254.169.254", "::ffff:0:169.254.169.254",
    "::169.254.169.254", "64:ff9b::169.254.169.254", "64:ff9b:1::169.254.169.254",
    "64:ff9b:1:a9fe:a9:fe00::", "2002:a9fe:a9fe::1", "2001:0:a9fe:a9fe::1",
    "2001:0:808:808:0:0:5601:5601", "2606:4700::5efe:169.254.169.254", "2606:4700::200:5efe:a9fe:a9fe",
    "::ffff:0.0.0.0", "::ffff:255.255.255.255", "64:ff9b::224.0.0.1",
]  # fmt: skip
BY_CHOICE: Final = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255",
    "192.168.0.1", "100.64.0.1", "100.127.255.255", "192.0.0.1", "192.0.2.1", "198.51.100.7",
    "203.0.113.7", "198.18.0.1", "198.19.255.255", "192.88.99.1", "::1", "fc00::1", "fd12:3456::1",
    "fec0::1", "2001:db8::1", "3fff::1", "100::1", "5f00::1", "2001:2::1", "4000::1", "1::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b::10.0.0.1",
    "64:ff9b::127.0.0.1", "64:ff9b:1:a00:0:100::", "2002:a00:1::1", "2002:7f00:1::1",
]  # fmt: skip
ALWAYS: Final = [
    "1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0",
    "169.253.255.255", "169.255.0.0", "192.167.255.255", "198.17.255.255", "198.20.0.0",
    "223.255.255.255", "11.0.0.0", "126.255.255.255", "128.0.0.0", "2606:4700::1111",
    "2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1",
]  # fmt: skip


# --- the addresses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_allowed(address: str) -> None:
    assert refusal(ip_address(address), ANY)
    assert refusal(ip_address(address), PUBLIC)


@pytest.mark.parametrize("address", BY_CHOICE)
def test_ones_own_network_is_a_choice(address: str) -> None:
    assert refusal(ip_address(address), ANY) is None
    assert refusal(ip_address(address), PUBLIC)


@pytest.mark.parametrize("address", ALWAYS)
def test_public_addresses_are_allowed(address: str) -> None:
    assert refusal(ip_address(address), ANY) is None
    assert refusal(ip_address(address), PUBLIC) is None


METADATA: Final = {IPv4Address("168.63.129.16")}  # a public address, by the registries
DISPUTED: Final = (IPv4Network("192.88.99.0/24"), IPv4Network("192.0.0.0/24"))  # Pythons differ about them

ipv4 = st.ip_addresses(v=4) | st.sampled_from(
    [IPv4Address(a) for a in (*NEVER, *BY_CHOICE, *ALWAYS) if ":" not in a]
)


@given(ipv4)
def test_public_means_what_the_registries_say(address: IPv4Address | IPv6Address) -> None:
    is_public = address.is_global and not address.is_multicast and address not in METADATA
    if not any(address in network for network in DISPUTED):
        assert (refusal(address, PUBLIC) is None) == is_public


@given(st.ip_addresses(v=6))
def test_no_local_ipv6_address_is_public(address: IPv4Address | IPv6Address) -> None:
    if address.is_private or address.is_link_local or address.is_multicast or address.is_unspecified:
        assert refusal(address, PUBLIC)


@given(ipv4, st.sampled_from([ANY, PUBLIC]))
def test_no_ipv6_dress_makes_an_ipv4_address_better(
    address: IPv4Address | IPv6Address, allowed: Reach
) -> None:
    number = int(address)
    dresses = (
        0xFFFF << 32 | number,
        0xFFFF << 48 | number,
        0x64FF9B << 96 | number,
        0x2002 << 112 | number << 80 | 1,
    )
    for dress in dresses:
        assert refusal(IPv6Address(dress), allowed) == refusal(address, allowed)


# --- names ------------------------------------------------------------------------------------------


class Names:
    """A name server: each question gets the next answer."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self._answers.pop(0)


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[int, list[str]]]:
    """A port of this host that says 204, and what was asked of it."""
    asked: list[str] = []

    async def answer(stream: trio.SocketStream) -> None:
        got = b""
        while b"\r\n\r\n" not in got:
            got += await stream.receive_some()
        asked.append(got.decode())
        await stream.send_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1], asked
        nursery.cancel_scope.cancel()


def through(guard: Guard) -> httpcore.AsyncConnectionPool:
    return httpcore.AsyncConnectionPool(network_backend=guard)


def guard(names: Names, allowed: Reach = ANY) -> Guard:
    return Guard(reach=allowed, trust=outgoing.tls, resolve=names)


async def test_a_name_is_asked_for_once_and_what_was_judged_is_connected_to() -> None:
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    async with listening() as (port, asked), through(guard(names)) as pool:
        answer = await pool.request("POST", f"http://hooks.example:{port}/x")
    assert answer.status == 204
    assert names.asked == ["hooks.example"]
    assert f"host: hooks.example:{port}" in asked[0].lower()


async def test_a_name_that_moves_between_two_connections_is_judged_again() -> None:
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    async with listening() as (port, _), through(guard(names)) as pool:
        await pool.request("POST", f"http://hooks.example:{port}/x")
        with pytest.raises(NotConnected, match="link-local"):
            await pool.request("POST", f"http://hooks.example:{port}/x")


async def test_one_bad_address_among_good_ones_is_enough() -> None:
    names = Names(["127.0.0.1", "::ffff:169.254.169.254"])
    async with listening() as (port, asked), through(guard(names)) as pool:
        with pytest.raises(NotConnected):
            await pool.request("POST", f"http://hooks.example:{port}/x")
    assert asked == []


async def test_where_only_public_addresses_are_allowed_the_way_to_allow_others_is_told() -> None:
    async with listening() as (port, asked), through(guard(Names(["127.0.0.1"]), PUBLIC)) as pool:
        with pytest.raises(NotConnected, match="`addresses: public`") as caught:
            await pool.request("POST", f"http://hooks.example:{port}/x")
    assert asked == []
    assert "127.0.0.1" not in str(caught.value)
    assert "hooks.example" not in str(caught.value)


@pytest.mark.parametrize("answer", [["no address"], ["fe80::1%eth0"]])
async def test_an_address_that_is_not_understood_is_not_connected_to(answer: Sequence[str]) -> None:
    with pytest.raises(NotConnected):
        await guard(Names(answer)).connect_tcp("hooks.example", 80)


async def test_a_name_without_addresses_is_an_error_like_any_other() -> None:
    with pytest.raises(httpcore.ConnectError, match="no address"):
        await guard(Names([])).connect_tcp("hooks.example", 80)


FORMS: Final = [
    "127.0.0.1",
    "localhost",
    "0x7f.1",
    "2130706433",
    "127.1",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::1]",
]


@pytest.mark.parametrize("host", FORMS)
async def test_however_this_host_is_written_it_is_not_public(host: str) -> None:
    async with outgoing.client(httpx.Limits(), {}, reach=PUBLIC) as http, listening() as (port, asked):
        with pytest.raises(httpx.ConnectError) as caught:
            await http.post(f"http://{host}:{port}/")
    assert isinstance(caught.value.__cause__, NotConnected)
    assert asked == []


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest/", "http://[::ffff:a9fe:a9fe]/", "http://0/", "http://[fd00:ec2::254]/"],
)
async def test_what_gives_credentials_to_anyone_is_never_asked(url: str) -> None:
    async with outgoing.client(httpx.Limits(), {}) as http:
        with pytest.raises(httpx.ConnectError, match="nothing is ever sent there"):
            await http.post(url)


# --- several addresses ------------------------------------------------------------------------------


class Line(httpcore.AsyncMockStream):
    def __init__(self) -> None:
        super().__init__([])
        self.is_closed = False

    async def aclose(self) -> None:
        self.is_closed = True


async def test_a_dead_address_does_not_hold_up_a_live_one(autojump_clock: trio.testing.MockClock) -> None:
    line = Line()

    async def connect(address: str) -> Line:
        if address == "dead":
            await trio.sleep_forever()
        return line

    began = trio.current_time()
    assert await first(["dead", "live"], connect) is line
    assert trio.current_time() - began == pytest.approx(reach.HEAD_START_S)


async def test_a_refused_address_costs_no_time(autojump_clock: trio.testing.MockClock) -> None:
    line = Line()

    async def connect(address: str) -> Line:
        if address == "closed":
            raise httpcore.ConnectError("refused")
        return line

    began = trio.current_time()
    assert await first(["closed", "live"], connect) is line
    assert trio.current_time() == began


async def test_of_two_that_stand_at_once_one_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    made: list[Line] = []

    async def connect(address: str) -> Line:
        await trio.sleep(1 if address == "early" else 1 - reach.HEAD_START_S)
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        made.append(Line())
        return made[-1]

    kept = await first(["early", "late"], connect)
    assert [line.is_closed for line in made if line is not kept] == [True] * (len(made) - 1)


async def test_who_is_cancelled_leaves_no_connection_open(autojump_clock: trio.testing.MockClock) -> None:
    line = Line()

    async def connect(address: str) -> Line:
        if address == "dead":
            await trio.sleep_forever()
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        return line

    with trio.move_on_after(0.5) as scope:
        await first(["slow", "dead"], connect)
    assert scope.cancelled_caught
    assert line.is_closed


async def test_when_none_stands_the_first_error_is_told(autojump_clock: trio.testing.MockClock) -> None:
    async def connect(address: str) -> Line:
        raise httpcore.ConnectError(address)

    with pytest.raises(httpcore.ConnectError, match="one"):
        await first(["one", "two"], connect)


# --- certificates -----------------------------------------------------------------------------------

CA = trustme.CA()
STRANGERS_CA = trustme.CA()


@asynccontextmanager
async def secured(name: str, *, by: trustme.CA = CA, demands: trustme.CA | None = None) -> AsyncIterator[int]:
    """A TLS server of this host whose certificate is for `name`; with `demands` it wants ours too."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    by.issue_cert(name).configure_cert(context)
    if demands:
        demands.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED

    async def answer(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        except (trio.BrokenResourceError, ssl.SSLError):
            pass  # the client would have nothing of us, or we nothing of it

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(
            partial(trio.serve_ssl_over_tcp, answer, 0, context, host="127.0.0.1")
        )
        yield listener.transport_listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return tmp_path / "ca.pem"


async def post(port: int, tls: Tls, host: str = "localhost") -> int:
    async with outgoing.client(httpx.Limits(), {}, tls=tls) as http:
        return (await http.post(f"https://{host}:{port}/")).status_code


def why(exc: BaseException) -> str:
    """What the TLS library said."""
    cause: BaseException | None = exc
    while cause and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    return str(cause)


async def test_an_own_authority_is_trusted_where_it_is_named(ca_file: Path) -> None:
    async with secured("localhost") as port:
        assert await post(port, Tls(ca_file=ca_file)) == 204


async def test_an_own_authority_is_not_trusted_elsewhere() -> None:
    async with secured("localhost") as port:
        with pytest.raises(httpx.ConnectError) as caught:
            await post(port, Tls())
    assert "self-signed" in why(caught.value) or "unable to get local issuer" in why(caught.value)


async def test_a_certificate_for_another_name_is_not_taken(ca_file: Path) -> None:
    async with secured("elsewhere.example") as port:
        with pytest.raises(httpx.ConnectError) as caught:
            await post(port, Tls(ca_file=ca_file))
    assert "Hostname mismatch" in why(caught.value)


async def test_the_name_is_verified_not_the_address_that_is_connected_to(ca_file: Path) -> None:
    names = Names(["127.0.0.1"])
    road = Guard(reach=ANY, trust=partial(outgoing.trust, Tls(ca_file=ca_file)), resolve=names)
    async with secured("hooks.example") as port, through(road) as pool:
        assert (await pool.request("POST", f"https://hooks.example:{port}/")).status == 204


@pytest.fixture
def ours(tmp_path: Path, ca_file: Path) -> Tls:
    """Our certificate, by the authority that servers ask for."""
    write_certificate(tmp_path, CA)
    return Tls(ca_file=ca_file, cert_file=tmp_path / "cert.pem", key_file=tmp_path / "key.pem")


def write_certificate(folder: Path, by: trustme.CA) -> None:
    issued = by.issue_cert("cometwatch.example")
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))


async def test_a_receiver_that_asks_for_our_certificate_gets_it(ours: Tls) -> None:
    async with secured("localhost", demands=CA) as port:
        assert await post(port, ours) == 204
        with pytest.raises(httpx.HTTPError):
            await post(port, Tls(ca_file=ours.ca_file))


async def test_a_certificate_that_was_exchanged_is_used_at_the_next_handshake(
    ours: Tls, tmp_path: Path
) -> None:
    write_certificate(tmp_path, STRANGERS_CA)
    async with (
        secured("localhost", demands=CA) as port,
        outgoing.client(httpx.Limits(), {}, tls=ours) as http,
    ):
        with pytest.raises(httpx.HTTPError):
            await http.post(f"https://localhost:{port}/")
        write_certificate(tmp_path, CA)
        assert (await http.post(f"https://localhost:{port}/")).status_code == 204


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_files_that_are_of_no_use_are_told_of(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / "lost.pem").write_text(content)
    async with secured("localhost") as port:
        with pytest.raises(httpx.ConnectError, match="the files under `tls` can't be used") as caught:
            await post(port, Tls(ca_file=tmp_path / "lost.pem"))
    assert "lost.pem" not in str(caught.value)
