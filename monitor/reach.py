"""Where outgoing connections may lead: judged by the address that is connected to, not by its name.

A name can be pointed anywhere by whoever owns it, and to another place a second later. So a name is resolved
here, every address it has is judged, and the connection goes to an address that was judged. TLS is checked
against the name as ever.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

import httpcore
import trio

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
Trust = Callable[[], ssl.SSLContext]

HEAD_START_S: Final = 0.25
"""How long one address of a name is tried before the next one is tried too (RFC 8305)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Which addresses are allowed. Some never are: see `refusal`."""

    private: bool = True  #: those of one's own network and host too, not only public ones


class NotConnected(httpcore.ConnectError):
    """We did not connect, by our own decision. The text is for the operator and holds no address."""


def _networks(*pairs: tuple[str, str]) -> tuple[tuple[IPv4Network | IPv6Network, str], ...]:
    return tuple((ip_network(network), word) for words, word in pairs for network in words.split())


# The special addresses of IANA's registries, and where clouds give credentials to whoever asks.
_NEVER: Final = _networks(
    ("0.0.0.0/8 ::/128", "unspecified"),
    ("169.254.0.0/16 fe80::/10", "link-local"),
    ("fd00:ec2::/32 fd20:ce::254 fd00:c1::a9fe:a9fe fd00:42::42", "cloud metadata"),
    ("100.100.100.200 168.63.129.16 192.0.0.192", "cloud metadata"),
    ("224.0.0.0/4 ff00::/8", "multicast"),
    ("240.0.0.0/4", "reserved"),
)
_NOT_PUBLIC: Final = _networks(
    ("127.0.0.0/8 ::1", "loopback"),
    ("10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 fc00::/7 fec0::/10", "private"),
    ("192.0.0.0/24 192.88.99.0/24 198.18.0.0/15 2001::/23 5f00::/16 100::/64", "special"),
    ("192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20", "documentation"),
)
_GLOBAL: Final = IPv6Network("2000::/3")


def refusal(address: Address, reach: Reach) -> str | None:
    """Why this address is not connected to, in a word; None if it may be.

    Link-local, metadata, multicast, unspecified and reserved addresses never may. An IPv6 address is judged
    by the IPv4 addresses in it as well.
    """
    within = tuple(_within(address))
    lists = _NEVER if reach.private else (*_NEVER, *_NOT_PUBLIC)
    for one in (address, *within):
        for network, word in lists:
            if one in network:
                return word
    is_odd = isinstance(address, IPv6Address) and not within and address not in _GLOBAL
    return "special" if is_odd and not reach.private else None


# (an IPv6 network, how far to shift its addresses to the right to find an IPv4 address)
_WRAPPED: Final = tuple(
    (IPv6Network(network), shift)
    for network, shift in (
        ("::ffff:0:0/96", 0),  # IPv4-mapped
        ("::ffff:0:0:0/96", 0),  # IPv4-translated
        ("::/96", 0),  # IPv4-compatible
        ("64:ff9b::/96", 0),  # NAT64: how a network without IPv4 reaches those who have nothing else
        ("2002::/16", 80),  # 6to4
        ("2001::/32", 64),  # Teredo, its server
    )
)
_ALONE: Final = {IPv6Address("::"), IPv6Address("::1")}  # in ::/96, and not IPv4


def _within(address: Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to, or may lead to."""
    if not isinstance(address, IPv6Address) or address in _ALONE:
        return
    number = int(address)
    for network, shift in _WRAPPED:
        if address in network:
            yield IPv4Address(number >> shift & 0xFFFFFFFF)
    if address in IPv6Network("2001::/32"):
        yield IPv4Address(~number & 0xFFFFFFFF)  # Teredo, its client
    if address in IPv6Network(
        "64:ff9b:1::/48"
    ):  # NAT64 by RFC 6052, 2.2: round an empty octet, or at the end
        both = (number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF, number & 0xFFFFFFFF
        yield from (IPv4Address(one) for one in both if one)
    if number >> 32 & 0xFDFFFFFF == 0x00005EFE:  # ISATAP
        yield IPv4Address(number & 0xFFFFFFFF)


async def resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of a host, best first. Raises OSError."""
    found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Guard(httpcore.AsyncNetworkBackend):
    """Connects to allowed addresses only."""

    def __init__(self, *, reach: Reach, trust: Trust, resolve: Resolve = resolve) -> None:
        """`trust` is asked at each handshake."""
        self._reach = reach
        self._trust = trust
        self._resolve = resolve
        self._network = httpcore.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises NotConnected if any address of the host is not allowed."""

        async def connect(address: str) -> httpcore.AsyncNetworkStream:
            return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)

        try:
            addresses = await self._resolve(host, port)
        except OSError as exc:
            raise httpcore.ConnectError("the name was not resolved") from exc
        check(addresses, self._reach)
        return _Line(await first(addresses, connect), self._trust)


def check(addresses: Iterable[str], reach: Reach) -> None:
    """Raise NotConnected if one of these is not allowed."""
    for text in addresses:
        try:
            address = ip_address(text)
        except ValueError:
            raise NotConnected("the name leads to something that is no address") from None
        if word := refusal(address, reach):
            raise NotConnected(f"the address is {word}: {_why(address)}")


def _why(address: Address) -> str:
    if refusal(address, Reach(private=True)):
        return "nothing is ever sent there"
    return "`addresses: public` forbids it; with `addresses: any` one's own network is allowed"


async def first(
    addresses: Sequence[str], connect: Callable[[str], Awaitable[httpcore.AsyncNetworkStream]]
) -> httpcore.AsyncNetworkStream:
    """The first connection that stands. Raises what the first attempt raised if none does.

    Cancelled or done, it leaves no other connection open.
    """
    standing: list[httpcore.AsyncNetworkStream] = []
    errors: list[Exception] = []

    async def attempt(address: str, failed: trio.Event) -> None:
        try:
            standing.append(await connect(address))
        except httpcore.ConnectError as exc:
            errors.append(exc)
            failed.set()
        else:
            nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(attempt, address, failed)
                with trio.move_on_after(HEAD_START_S):
                    await failed.wait()
    except BaseException:
        await _close(standing)
        raise
    await _close(standing[1:])  # those of the same moment
    if not standing:
        raise errors[0] if errors else httpcore.ConnectError("the name has no address")
    return standing[0]


async def _close(lines: Iterable[httpcore.AsyncNetworkStream]) -> None:
    with trio.CancelScope(shield=True):  # it takes no time
        for line in lines:
            await line.aclose()


class _Line(httpcore.AsyncNetworkStream):
    """A connection whose handshake takes the certificates as they are then: they may have been exchanged."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, trust: Trust) -> None:
        self._stream = stream
        self._trust = trust

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,  # noqa: ARG002 - that of the pool's beginning
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._stream.start_tls(self._current(), server_hostname, timeout)
        except BaseException:  # the pool forgets a connection without a handshake, and would leave it open
            await self.aclose()
            raise

    def _current(self) -> ssl.SSLContext:
        try:
            return self._trust()
        except OSError as exc:  # an SSLError is one too
            raise NotConnected(f"the files under `tls` can't be used ({type(exc).__name__})") from exc

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
