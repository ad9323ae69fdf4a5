"""The faults that every sink meets in `test_contract.py`, and how a sink says what it makes of them.

A new sink brings one file, `contracts/<its key in SINKS>.py`, with a `CONTRACT`. What is written here is what
an ordinary receiver means by an answer; the contract names only what is different with its own.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from importlib import import_module
from typing import Any, Final

import httpx
import trio

from monitor.clock import virtual
from monitor.delivery.sinks import Delivered, Refused, RetryAfter, Settlement, Sink, Traits
from monitor.delivery.sinks.post import open_http
from monitor.store.values import Ack, Change, Group, Kind, Notification, Opened, Timing
from rules.model import AlertId, Severity, Status
from tests.delivery.samples import MEDIA_URL, TEXT, a_notification, a_photo_alert

START: Final = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
URL: Final = "https://hooks.example/services/T0/B0/xoxSecretPath?key=querySecret"
IN_URL: Final = ("xoxSecretPath", "querySecret", "hooks.example")

Answer = Callable[[httpx.Request], Awaitable[httpx.Response]]

D, R, X = "delivered", "retry", "refused"


def meaning(settlement: Settlement) -> str:
    return {Delivered: D, RetryAfter: R, Refused: X}[type(settlement)]


@dataclass(frozen=True, slots=True)
class Case:
    """One way to answer, what it means, and the wait that a retry asks for."""

    answer: Answer
    means: str = R
    after: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What one sink promises.

    `make` builds the sink by `SINKS[name]` for the receiver at `address` (`URL` in most tests, a loopback
    server's in some), with the constructor's arguments that it is given on top. `accepts` is how its receiver
    says yes, whatever it is asked: `D` to each of `notifications()`.
    """

    make: Callable[..., Sink]  #: (*, address, clock, http (if `over_http`), **changes) -> Sink
    accepts: Answer
    private: tuple[str, ...] = ()  #: what no reason and no log line may hold, beside `IN_URL` and the texts
    parts: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """Constructor arguments that are callables, read anew for each send: name -> (a value, the next one)."""
    id_of: Callable[[httpx.Request], object] | None = None
    """What the receiver knows a repeated notification by; None: its protocol has no place for that."""
    differs: Mapping[str, str] = field(default_factory=dict)  #: name in `FAULTS` -> D, R or X
    waits: Mapping[str, timedelta | None] = field(
        default_factory=dict
    )  #: name in `FAULTS` -> wait it asks for
    own: Mapping[str, Case] = field(default_factory=dict)  #: answers that only this receiver gives
    over_http: bool = True  #: False: only what concerns every sink is tested, not the table of answers

    def cases(self) -> dict[str, Case]:
        """Every answer, and what it means to this sink."""
        unknown = (self.differs.keys() | self.waits.keys()) - FAULTS.keys()
        assert not unknown, f"no such fault: {sorted(unknown)}"
        common = {
            name: replace(
                case, means=self.differs.get(name, case.means), after=self.waits.get(name, case.after)
            )
            for name, case in FAULTS.items()
        }
        return {**common, **self.own}


class Hook:
    """A receiver of HTTP: answers as told and remembers what it got."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.requests: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return await self._answer(request)

    def sink(self, contract: Contract, **changes: Any) -> Sink:
        facts: dict[str, Any] = {"address": URL, "clock": virtual(START)}
        if contract.over_http:
            facts["http"] = open_http(transport=httpx.MockTransport(self))
        return contract.make(**{**facts, **changes})


def contract(name: str) -> Contract:
    """The contract of the sink `SINKS[name]`; a sink without one fails its tests."""
    found: Contract = import_module(f"tests.delivery.contracts.{name}").CONTRACT
    return found


# --- ways to answer ---------------------------------------------------------------------------------


def status(code: int, body: str = "", **headers: str) -> Answer:
    """Answer with a status; `retry_after="30"` is the header Retry-After."""

    async def answer(request: httpx.Request) -> httpx.Response:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return httpx.Response(code, stream=httpx.ByteStream(body.encode()), headers=named)

    return answer


def says(code: int, told: Any, **headers: str) -> Answer:
    """Answer with JSON."""
    return status(code, json.dumps(told), content_type="application/json", **headers)


def broken(exc: Exception, cause: Exception | None = None) -> Answer:
    async def answer(request: httpx.Request) -> httpx.Response:
        raise exc from cause

    return answer


async def hang(request: httpx.Request) -> httpx.Response:
    """No answer: to the sender, a timeout before and one after acceptance look the same."""
    await trio.sleep_forever()
    raise AssertionError("unreachable")


async def echo(request: httpx.Request) -> httpx.Response:
    said = {"url": str(request.url), "headers": dict(request.headers), "got": request.content.decode()}
    return httpx.Response(400, stream=httpx.ByteStream(json.dumps(said).encode()))


class Drip(httpx.AsyncByteStream):
    """A body in pieces, each after a while, for ever."""

    def __init__(self, piece: bytes, every_s: float) -> None:
        self.piece, self.every_s, self.pieces = piece, every_s, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await trio.sleep(self.every_s)
            self.pieces += 1
            yield self.piece


class Cut(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"o"
        raise httpx.ReadError("connection reset")


def streamed(code: int, make: Callable[[], httpx.AsyncByteStream]) -> Answer:
    async def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(code, stream=make())

    return answer


# --- the table --------------------------------------------------------------------------------------

wait = partial(timedelta, 0)  # wait(30): half a minute
ABSURD: Final = "99999999999999999999"
IN_2_MIN: Final = format_datetime(START + wait(120), usegmt=True)
ELSEWHERE: Final = "https://elsewhere.example/"

FAULTS: Final[Mapping[str, Case]] = {
    "200 empty": Case(status(200), D),
    "200 ok": Case(status(200, "ok"), D),
    "200 ok json": Case(says(200, {"ok": True}), D),
    "200 list json": Case(says(200, ["ok"]), D),
    "200 log-in page": Case(status(200, "<html>Please sign in</html>"), D),
    "200 slow body": Case(streamed(200, lambda: Drip(b"", 60)), D),
    "200 huge body": Case(streamed(200, lambda: Drip(b"x" * 4096, 0)), D),
    "200 cut body": Case(streamed(200, Cut), D),
    "202": Case(status(202, "accepted", content_type="text/plain"), D),
    "204": Case(status(204), D),
    "301": Case(status(301, location=ELSEWHERE)),
    "302": Case(status(302, location="http://169.254.169.254/")),
    "303": Case(status(303, location=ELSEWHERE)),
    "304": Case(status(304)),
    "307": Case(status(307, location=ELSEWHERE)),
    "308": Case(status(308, location=ELSEWHERE)),
    "400": Case(status(400, "bad request")),
    "400 echo": Case(echo),
    "400 huge body": Case(streamed(400, lambda: Drip(b"x" * 4096, 0))),
    "401": Case(status(401)),
    "403": Case(status(403)),
    "403 of a proxy": Case(status(403, "<html>blocked</html>")),
    "404": Case(status(404)),
    "405": Case(status(405)),
    "408": Case(status(408)),
    "410": Case(status(410)),
    "413": Case(status(413)),
    "422": Case(status(422)),
    "429": Case(status(429)),
    "429 seconds": Case(status(429, retry_after="30"), R, wait(30)),
    "429 date": Case(status(429, retry_after=IN_2_MIN), R, wait(120)),
    "429 absurd": Case(status(429, retry_after=ABSURD), R, wait(3600)),
    "429 negative": Case(status(429, retry_after="-1")),
    "429 nonsense": Case(status(429, retry_after="soon")),
    "429 zero": Case(status(429, retry_after="0"), R, wait(1)),
    "500": Case(status(500, "oh no")),
    "500 slow body": Case(streamed(500, lambda: Drip(b"x", 1))),
    "500 cut body": Case(streamed(500, Cut)),
    "502": Case(status(502, "<html>Bad Gateway</html>")),
    "503 seconds": Case(status(503, retry_after="7"), R, wait(7)),
    "504": Case(status(504)),
    "599": Case(status(599)),
    "timeout": Case(hang),
    "nobody listens": Case(broken(httpx.ConnectError(f"connect to {URL}"), OSError(111, URL))),
    "name unknown": Case(broken(httpx.ConnectError(URL), OSError(-2, URL))),
    "reset": Case(broken(httpx.ReadError(f"reading {URL}"))),
    "not HTTP": Case(broken(httpx.RemoteProtocolError(f"illegal status line from {URL}"))),
    "TLS": Case(broken(httpx.ConnectError(URL), ssl.SSLCertVerificationError(1, URL))),
    "bug": Case(broken(KeyError(TEXT))),
}

PRIVATE: Final = (URL, *IN_URL, TEXT, MEDIA_URL)  #: beside `Contract.private`


# --- what has to be told ----------------------------------------------------------------------------

NOTE: Final = "meant for lead, which has taken nothing since 12:03 UTC"
ACK: Final = Ack(alert=AlertId("a" * 32), by="ada", at=START, comment="on it")


def notifications() -> dict[str, Notification]:
    """One of every kind and change that a sink can be given; which of them it is sent its traits say."""
    one = a_photo_alert(id=AlertId("a" * 32), severity=Severity.CRITICAL)
    two = a_photo_alert(id=AlertId("b" * 32), key="1801", title="Captain America sent another")
    over = a_photo_alert(id=AlertId("a" * 32), status=Status.RESOLVED, resolution="deleted")
    group = Opened(
        receiver="oncall",
        group=Group(key='1.0/{team="payments"}', labels={"team": "payments"}),
        timing=Timing(wait=timedelta(seconds=30), interval=timedelta(minutes=5)),
        subject="g" * 32,
        anchor_at=START,
    )
    grouped: Any = partial(a_notification, kind=Kind.GROUP, opened=group)
    many = [a_photo_alert(id=AlertId(f"{n:032x}"), key=str(n)) for n in range(60)]
    news = a_notification(one)
    return {
        "one": news,
        "several": a_notification(one, two),
        "resolved": a_notification(over),
        "resolved where shown": a_notification(over, receipts={over.id: "C1/1700000000.000100"}),
        "noted": a_notification(one, notes={one.id: NOTE}),
        "retried": a_notification(one, attempts=2),
        "group": grouped(one, others=(two,)),
        "group resolved": grouped(over),
        "group of many": grouped(*many[:40], others=tuple(many[40:])),
        "summary": a_notification(*many, kind=Kind.SUMMARY),
        "storm": a_notification(*many, kind=Kind.SUMMARY, summed_before=3),
        "digest": a_notification(*many, kind=Kind.DIGEST),
        "acknowledged": a_notification(one, change=Change.UPDATE, acks={one.id: ACK}),
        "updated": a_notification(one, change=Change.UPDATE),
        "group updated": grouped(one, others=(two,), change=Change.UPDATE, acks={one.id: ACK}),
        "repeated": a_notification(one, change=Change.REPEAT),
        "group repeated": grouped(one, two, change=Change.REPEAT),
        "reasserted": a_notification(one, two, change=Change.REASSERT),
        "sample": a_notification(one, is_sample=True),
    }


def concerns(traits: Traits, notification: Notification) -> bool:
    """Whether the deliverer would ever give this to a sink of such traits."""
    if notification.change is Change.UPDATE:
        return traits.follows
    if notification.change is Change.REASSERT:
        return traits.reasserts is not None
    if notification.kind in {Kind.SUMMARY, Kind.DIGEST} and not traits.people:
        return notification.kind is Kind.DIGEST and len(notification.alerts) <= (traits.most or 10**9)
    return len(notification.alerts) <= (traits.most or 10**9)
