"""What every sink promises, as one table: each way a receiver can answer, and what that means."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import Any, Final

import httpx
import pytest
import structlog.testing
import trio

from monitor.clock import virtual
from monitor.delivery.outbox import attempt
from monitor.delivery.sinks import SINKS, Delivered, Refused, RetryAfter, Settlement, Sink
from monitor.delivery.sinks.post import ANSWER_S, MAX_ANSWER, open_http
from monitor.delivery.values import Receiver, TextPolicy
from monitor.errors import ConfigError
from monitor.store.values import Notification
from monitor.store.writer import inline
from tests.delivery.samples import MEDIA_URL, TEXT, a_notification, a_photo, a_photo_alert, golden

START = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
URL = "https://hooks.example/services/T0/B0/xoxSecretPath?key=querySecret"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TOKEN = "Bearer headerSecret"
PRIVATE = (URL, "xoxSecretPath", "querySecret", "hooks.example", SECRET[6:], "headerSecret", TEXT, MEDIA_URL)
OPEN: Final = Receiver(name="r", text=TextPolicy.FULL, links=True, timeout_s=10)

Answer = Callable[[httpx.Request], Awaitable[httpx.Response]]


class Hook:
    """A receiver of HTTP: answers as told and remembers what it got."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.requests: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return await self._answer(request)

    def sink(self, name: str, **changes: Any) -> Sink:
        facts: dict[str, Any] = {
            "url": lambda: URL,
            "http": open_http(transport=httpx.MockTransport(self)),
            "clock": virtual(START),
        }
        if name == "webhook":
            facts |= {
                "app": "275211",
                "secrets": lambda: [SECRET],
                "headers": lambda: {"authorization": TOKEN},
            }
        return SINKS[name](**{**facts, **changes})


def status(code: int, body: str = "", **headers: str) -> Answer:
    async def answer(request: httpx.Request) -> httpx.Response:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return httpx.Response(code, stream=httpx.ByteStream(body.encode()), headers=named)

    return answer


def broken(exc: Exception, cause: Exception | None = None) -> Answer:
    async def answer(request: httpx.Request) -> httpx.Response:
        raise exc from cause

    return answer


async def hang(request: httpx.Request) -> httpx.Response:
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


async def sent(name: str, answer: Answer, notification: Notification | None = None) -> Settlement:
    sink = Hook(answer).sink(name)
    return await attempt(sink, OPEN, notification or a_notification(a_photo_alert()))


def wait(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


IN_2_MIN = format_datetime(START + wait(120), usegmt=True)
D, R, X = "delivered", "retry", "refused"
WEBHOOK, SLACK = "webhook", "slack"

# (what the receiver does, what it means to the webhook sink, to the Slack sink, and the wait it asks for)
Row = tuple[str, Answer, str, str, timedelta | None]
TABLE: list[Row] = [
    ("200 ok", status(200, "ok"), D, D, None),
    ("200 empty", status(200), D, D, None),
    ("200 json", status(200, '{"ok":true}'), D, D, None),
    ("202", status(202, "accepted", content_type="text/plain"), D, R, None),
    ("204", status(204), D, D, None),
    ("200 log-in page", status(200, "<html>Please sign in</html>"), D, R, None),
    ("200 error word", status(200, "no_service"), D, X, None),
    ("200 error json", status(200, '{"ok":false,"error":"channel_not_found"}'), D, X, None),
    ("200 other json", status(200, '["ok"]'), D, R, None),
    ("301", status(301, location="https://elsewhere.example/"), R, R, None),
    ("302", status(302, location="http://169.254.169.254/"), R, R, None),
    ("307", status(307, location="https://elsewhere.example/"), R, R, None),
    ("308", status(308, location="https://elsewhere.example/"), R, R, None),
    ("304", status(304), R, R, None),
    ("400", status(400, "bad request"), R, R, None),
    ("400 invalid_payload", status(400, "invalid_payload"), R, X, None),
    ("400 invalid_blocks", status(400, "invalid_blocks"), R, X, None),
    ("401", status(401), R, R, None),
    ("403 action_prohibited", status(403, "action_prohibited"), R, X, None),
    ("403 of a proxy", status(403, "<html>blocked</html>"), R, R, None),
    ("404", status(404), R, R, None),
    ("404 no_service", status(404, "no_service"), R, X, None),
    ("404 no_team", status(404, "no_team"), R, X, None),
    ("405", status(405), R, R, None),
    ("408", status(408), R, R, None),
    ("410", status(410), X, R, None),
    ("410 channel_is_archived", status(410, "channel_is_archived"), X, X, None),
    ("413", status(413), X, R, None),
    ("422", status(422), R, R, None),
    ("429 missing", status(429), R, R, None),
    ("429 seconds", status(429, "rate_limited", retry_after="30"), R, R, wait(30)),
    ("429 date", status(429, retry_after=IN_2_MIN), R, R, wait(120)),
    ("429 absurd", status(429, retry_after="99999999999999999999"), R, R, wait(3600)),
    ("429 negative", status(429, retry_after="-1"), R, R, None),
    ("429 nonsense", status(429, retry_after="soon"), R, R, None),
    ("429 zero", status(429, retry_after="0"), R, R, wait(1)),
    ("500", status(500, "rollup_error"), R, R, None),
    ("502", status(502, "<html>Bad Gateway</html>"), R, R, None),
    ("503 seconds", status(503, retry_after="7"), R, R, wait(7)),
    ("504", status(504), R, R, None),
    ("599", status(599), R, R, None),
    ("timeout", hang, R, R, None),
    ("refused", broken(httpx.ConnectError(f"connect to {URL}"), OSError(111, URL)), R, R, None),
    ("name unknown", broken(httpx.ConnectError(URL), OSError(-2, URL)), R, R, None),
    ("reset", broken(httpx.ReadError(f"reading {URL}")), R, R, None),
    ("not HTTP", broken(httpx.RemoteProtocolError(f"illegal status line from {URL}")), R, R, None),
    ("TLS", broken(httpx.ConnectError(URL), ssl.SSLCertVerificationError(1, URL)), R, R, None),
    ("bug", broken(KeyError(TEXT)), R, R, None),
    ("echo", echo, R, R, None),
    ("200 slow body", streamed(200, lambda: Drip(b"", 60)), D, D, None),
    ("500 slow body", streamed(500, lambda: Drip(b"x", 1)), R, R, None),
    ("400 huge body", streamed(400, lambda: Drip(b"x" * 4096, 0)), R, R, None),
    ("500 cut body", streamed(500, Cut), R, R, None),
    ("204 cut body", streamed(204, Cut), D, R, None),
]
NAMES = [row[0] for row in TABLE]


def kind(settlement: Settlement) -> str:
    return {Delivered: D, RetryAfter: R, Refused: X}[type(settlement)]


@pytest.mark.parametrize("row", TABLE, ids=NAMES)
@pytest.mark.parametrize("name", [WEBHOOK, SLACK])
async def test_what_an_answer_means(name: str, row: Row, autojump_clock: trio.testing.MockClock) -> None:
    _, answer, webhook, slack, after = row
    settlement = await sent(name, answer)
    assert kind(settlement) == (webhook if name == WEBHOOK else slack)
    if isinstance(settlement, RetryAfter):
        assert settlement.after == after


@pytest.mark.parametrize("answer", [row[1] for row in TABLE], ids=NAMES)
@pytest.mark.parametrize("name", [WEBHOOK, SLACK])
async def test_no_reason_and_no_log_line_gives_anything_away(
    name: str, answer: Answer, autojump_clock: trio.testing.MockClock
) -> None:
    with structlog.testing.capture_logs() as lines:
        settlement = await sent(name, answer)
    told = f"{settlement!r} {lines!r}"
    assert [secret for secret in PRIVATE if secret in told] == []


@pytest.mark.parametrize("name", [WEBHOOK, SLACK])
async def test_the_deadline_is_the_receivers(name: str, autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    assert await sent(name, hang) == RetryAfter(reason="no answer within 10 s")
    assert trio.current_time() - began == pytest.approx(10)


@pytest.mark.parametrize("code", [200, 500])
@pytest.mark.parametrize("name", [WEBHOOK, SLACK])
async def test_a_slow_body_is_not_waited_for(
    name: str, code: int, autojump_clock: trio.testing.MockClock
) -> None:
    began = trio.current_time()
    await sent(name, streamed(code, lambda: Drip(b"", 1)))
    assert trio.current_time() - began == pytest.approx(ANSWER_S)


@pytest.mark.parametrize("name", [WEBHOOK, SLACK])
async def test_a_huge_body_is_not_read(name: str, autojump_clock: trio.testing.MockClock) -> None:
    flood = Drip(b"x" * 4096, 0)
    await sent(name, streamed(400, lambda: flood))
    assert flood.pieces * 4096 <= MAX_ANSWER


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", [WEBHOOK, SLACK])
async def test_no_redirect_is_followed(name: str, code: int) -> None:
    hook = Hook(status(code, location="https://elsewhere.example/"))
    await attempt(hook.sink(name), OPEN, a_notification())
    assert [request.url.host for request in hook.requests] == ["hooks.example"]


@pytest.mark.parametrize("name", [WEBHOOK, SLACK])
async def test_a_retry_carries_the_same_id(name: str) -> None:
    hook = Hook(status(500))
    sink, notification = hook.sink(name), a_notification()
    for _ in range(3):
        await attempt(sink, OPEN, notification)
    assert all(notification.id in request.content.decode() for request in hook.requests)
    if name == WEBHOOK:
        assert {request.headers["webhook-id"] for request in hook.requests} == {notification.id}
        assert len({request.content for request in hook.requests}) == 1


async def test_each_attempt_is_signed_with_its_own_time(autojump_clock: trio.testing.MockClock) -> None:
    hook = Hook(status(500))
    sink = hook.sink(WEBHOOK)
    await attempt(sink, OPEN, a_notification())
    await trio.sleep(3600)
    await attempt(sink, OPEN, a_notification())
    first, second = (int(request.headers["webhook-timestamp"]) for request in hook.requests)
    assert second - first == 3600
    assert len({request.headers["webhook-signature"] for request in hook.requests}) == 2


async def test_secrets_are_read_for_each_send() -> None:
    urls = iter(["https://old.example/", "https://new.example/"])
    hook = Hook(status(500))
    sink = hook.sink(WEBHOOK, url=lambda: next(urls))
    for _ in range(2):
        await attempt(sink, OPEN, a_notification())
    assert [request.url.host for request in hook.requests] == ["old.example", "new.example"]


def unreadable() -> Any:
    raise FileNotFoundError(f"/run/secrets/{TOKEN}")


def undecodable() -> Any:
    return b"\xff".decode()


def unset() -> Any:
    raise ConfigError("receivers[0].webhook.secret_file: is empty")


@pytest.mark.parametrize("broken_secret", [unreadable, undecodable, unset])
@pytest.mark.parametrize(("name", "part"), [(WEBHOOK, "url"), (WEBHOOK, "secrets"), (SLACK, "url")])
async def test_a_secret_that_cannot_be_read_now_is_a_retry(
    name: str, part: str, broken_secret: Callable[[], Any]
) -> None:
    hook = Hook(status(200, "ok"))
    settlement = await attempt(hook.sink(name, **{part: broken_secret}), OPEN, a_notification())
    assert isinstance(settlement, RetryAfter)
    assert "headerSecret" not in settlement.reason
    assert hook.requests == []


@pytest.mark.parametrize(
    ("part", "value"), [("secrets", ["no key"]), ("headers", {"Host": "x"}), ("headers", {"X": "a\r\nb"})]
)
async def test_settings_that_cannot_work_are_never_sent_with(part: str, value: Any) -> None:
    hook = Hook(status(200))
    settlement = await attempt(hook.sink(WEBHOOK, **{part: lambda: value}), OPEN, a_notification())
    assert isinstance(settlement, RetryAfter)
    assert hook.requests == []


async def test_only_what_the_policy_lets_out_reaches_the_wire() -> None:
    for name in (WEBHOOK, SLACK):
        hook = Hook(status(200, "ok"))
        await attempt(hook.sink(name), Receiver(name="r"), a_notification(a_photo_alert()))
        (request,) = hook.requests
        assert TEXT not in request.content.decode()
        assert "Signature" not in request.content.decode()


async def test_when_slack_refuses_the_blocks_the_text_goes_alone() -> None:
    answers = iter([status(400, "invalid_blocks"), status(200, "ok")])

    async def answer(request: httpx.Request) -> httpx.Response:
        return await next(answers)(request)

    hook = Hook(answer)
    assert await attempt(hook.sink(SLACK), OPEN, a_notification()) == Delivered()
    first, second = (json.loads(request.content) for request in hook.requests)
    assert "blocks" in first
    assert "blocks" not in second
    assert second["text"] == first["text"]


async def test_the_receivers_own_words_help_where_they_are_harmless() -> None:
    said = {
        "error": "unknown tenant",
        "see": "https://docs.vendor.test/e/42?t=abc",
        "trace": "0af7651916cd" * 3,
    }
    settlement = await sent(WEBHOOK, status(400, json.dumps(said)))
    assert isinstance(settlement, RetryAfter)
    assert settlement.reason == (
        "the receiver answered 400: it can't read the body: "
        '{"error": "unknown tenant", "see": "[…] "trace": "[…]"}'
    )


async def test_a_short_text_is_not_repeated_from_an_answer() -> None:
    alert = a_photo_alert(messages=(a_photo("pin 4711"),))
    settlement = await sent(WEBHOOK, status(400, "I dislike: pin 4711!"), a_notification(alert))
    assert settlement == RetryAfter(reason="the receiver answered 400: it can't read the body")


async def test_every_reason_is_a_sentence_for_a_person(autojump_clock: trio.testing.MockClock) -> None:
    reasons = {}
    for name, answer, *_ in TABLE:
        settlement = await sent(WEBHOOK, answer)
        if not isinstance(settlement, Delivered):
            reasons[name] = settlement.reason
    assert reasons == golden("webhook-reasons")


# --- the real network -------------------------------------------------------------------------------


async def test_nobody_listens() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    async with open_http() as http:
        sink = Hook(hang).sink(WEBHOOK, http=http, url=lambda: f"http://127.0.0.1:{port}/hook")
        settlement = await attempt(sink, OPEN, a_notification())
    assert settlement == RetryAfter(reason="no connection (ECONNREFUSED)")


@pytest.mark.parametrize("url", ["not a url", "ftp://x.example/", "http://\ud800.example/", ""])
async def test_what_is_no_url_is_a_retry_that_says_so(url: str) -> None:
    async with open_http() as http:
        settlement = await attempt(Hook(hang).sink(SLACK, http=http, url=lambda: url), OPEN, a_notification())
    assert isinstance(settlement, RetryAfter)
    assert settlement.reason.startswith("the receiver's URL can't be used (")


async def test_the_connection_is_closed_before_an_answer(nursery: trio.Nursery) -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        got = b""
        while b'"app"' not in got:
            got += await stream.receive_some()
        await stream.aclose()

    (listener,) = await nursery.start(partial(trio.serve_tcp, hang_up, 0, host="127.0.0.1"))
    port = listener.socket.getsockname()[1]
    async with open_http() as http:
        sink = Hook(hang).sink(WEBHOOK, http=http, url=lambda: f"http://127.0.0.1:{port}/hook")
        settlement = await attempt(sink, OPEN, a_notification())
    assert isinstance(settlement, RetryAfter)
    assert "127.0.0.1" not in settlement.reason


async def test_a_server_that_does_not_speak_tls(nursery: trio.Nursery) -> None:
    async def mumble(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 mail.example ready\r\n")
        await stream.receive_some(1)

    (listener,) = await nursery.start(partial(trio.serve_tcp, mumble, 0, host="127.0.0.1"))
    port = listener.socket.getsockname()[1]
    async with open_http() as http:
        sink = Hook(hang).sink(WEBHOOK, http=http, url=lambda: f"https://127.0.0.1:{port}/hook")
        settlement = await attempt(sink, OPEN, a_notification())
    assert isinstance(settlement, RetryAfter)
    assert settlement.reason.startswith("TLS failed (")


def test_every_sink_is_in_this_suite() -> None:
    assert set(SINKS) == {WEBHOOK, SLACK, "console"}


async def test_a_console_that_is_stuck_meets_its_deadline(autojump_clock: trio.testing.MockClock) -> None:
    async def stuck(function: Callable[..., Any], *args: Any) -> None:
        await trio.sleep_forever()

    sink = SINKS["console"](stream=None, clock=virtual(START), run_sync=stuck)
    assert await attempt(sink, OPEN, a_notification()) == RetryAfter(reason="no answer within 10 s")


async def test_a_broken_pipe_at_the_console_is_a_retry() -> None:
    class Broken:
        def isatty(self) -> bool:
            return False

        def write(self, text: str) -> None:
            raise BrokenPipeError(32, "broken")

    sink = SINKS["console"](stream=Broken(), clock=virtual(START), run_sync=inline)
    assert await attempt(sink, OPEN, a_notification()) == RetryAfter(
        reason="the console can't be written (BrokenPipeError)"
    )
