"""Every sink against a receiver that goes wrong on real sockets; answers proper: `test_contract.py`."""

from __future__ import annotations

import resource
import time
from typing import Final

import pytest
import trio

from monitor.delivery.outbox import attempt
from monitor.delivery.sinks import SINKS, RetryAfter, Settlement
from monitor.delivery.sinks.post import ANSWER_S, open_http
from monitor.delivery.values import Receiver
from monitor.outgoing import Reach
from tests.delivery.cases import D, Hook, contract, hang, meaning
from tests.delivery.fault_server import BODIES, HANDSHAKES, UNANSWERED, Fault, serving, starts
from tests.delivery.samples import a_notification

OVER_HTTP: Final = [name for name in sorted(SINKS) if contract(name).over_http]
SOON: Final = Receiver(name="r", timeout_s=0.3)
every_sink = pytest.mark.parametrize("name", OVER_HTTP)


async def sent(name: str, address: str, receiver: Receiver = SOON, reach: Reach = Reach()) -> Settlement:
    async with open_http(reach=reach) as http:
        sink = Hook(hang).sink(contract(name), http=http, address=address)
        return await attempt(sink, receiver, a_notification())


def retry(settlement: Settlement, address: str) -> str:
    """The reason of a retry that is meant as one and gives nothing away."""
    assert isinstance(settlement, RetryAfter), settlement
    assert not settlement.reason.startswith("bug")
    assert "127.0.0.1" not in settlement.reason
    assert address not in settlement.reason
    return settlement.reason


@pytest.mark.parametrize("fault", UNANSWERED.values(), ids=UNANSWERED)
@every_sink
async def test_without_a_status_it_is_sent_again(name: str, fault: Fault) -> None:
    async with serving(fault) as server:
        address = f"http://127.0.0.1:{server.port}/hook"
        retry(await sent(name, address), address)
    assert len(server.requests) == 1, "the deliverer repeats, not the sink"


@every_sink
async def test_a_receiver_that_does_not_read_is_left(name: str) -> None:
    async with serving(starts(b""), reads=False) as server:
        address = f"http://127.0.0.1:{server.port}/hook"
        assert retry(await sent(name, address), address) == "no answer within 0.3 s"


@pytest.mark.parametrize("fault", BODIES.values(), ids=BODIES)
@every_sink
async def test_a_body_only_explains(name: str, fault: Fault) -> None:
    async with serving(fault) as server:
        address = f"http://127.0.0.1:{server.port}/hook"
        reason = retry(await sent(name, address, Receiver(name="r", timeout_s=10)), address)
    assert "500" in reason
    assert len(reason) < 1000


async def test_an_accepted_alert_is_accepted_however_slow_the_rest() -> None:
    async with serving(starts(b"HTTP/1.1 202 Accepted\r\ncontent-length: 9\r\n\r\nacc")) as server:
        began = time.monotonic()
        address = f"http://127.0.0.1:{server.port}/hook"
        settlement = await sent("webhook", address, Receiver(name="r", timeout_s=10))
    assert meaning(settlement) == D
    assert time.monotonic() - began < ANSWER_S + 2


async def test_a_flood_takes_no_memory() -> None:
    taken = 0

    async def flood(stream: trio.SocketStream) -> None:
        nonlocal taken
        await stream.send_all(b"HTTP/1.1 500 No\r\n\r\n")
        while True:
            await stream.send_all(b"x" * 65536)
            taken += 65536

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with serving(flood) as server:
        await sent("webhook", f"http://127.0.0.1:{server.port}/hook", Receiver(name="r", timeout_s=10))
    assert taken < 16_000_000  # what the kernel's buffers take, of which we read MAX_ANSWER
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32_000  # kB


@pytest.mark.parametrize("fault", HANDSHAKES.values(), ids=HANDSHAKES)
@every_sink
async def test_without_trust_nothing_is_sent(name: str, fault: Fault) -> None:
    async with serving(fault, reads=False) as server:
        address = f"https://localhost:{server.port}/hook"
        retry(await sent(name, address, Receiver(name="r", timeout_s=10)), address)


@every_sink
async def test_nobody_listens(name: str) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/hook"
    await listener.aclose()
    assert retry(await sent(name, address), address) == "no connection (ECONNREFUSED)"


@pytest.mark.parametrize("url", ["not a url", "ftp://x.example/", "http://\ud800.example/", ""])
@every_sink
async def test_what_is_no_url_is_a_retry_that_says_so(name: str, url: str) -> None:
    settlement = await sent(name, url)
    assert isinstance(settlement, RetryAfter)
    assert "URL can't be used (" in settlement.reason


@pytest.mark.parametrize(
    ("address", "reach", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data/", Reach(), "link-local: nothing is ever sent there"),
        ("http://[::ffff:169.254.169.254]/x", Reach(), "link-local: nothing is ever sent there"),
        ("http://127.0.0.1:9/x", Reach(private=False), "loopback: `addresses: public` forbids it"),
        ("http://[::ffff:10.1.2.3]/x", Reach(private=False), "private: `addresses: public` forbids it"),
    ],
)
@every_sink
async def test_an_address_that_is_not_allowed_is_a_retry_that_says_why(
    name: str, address: str, reach: Reach, reason: str
) -> None:
    assert reason in retry(await sent(name, address, reach=reach), address)
