"""What every sink promises, over one table: each way a receiver can answer, and what that means."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx
import pytest
import structlog.testing
import trio

from monitor.clock import virtual
from monitor.delivery.outbox import attempt
from monitor.delivery.sinks import SINKS, Delivered, RetryAfter, Settlement, Traits
from monitor.delivery.sinks.post import ANSWER_S, MAX_ANSWER
from monitor.delivery.values import Receiver, TextPolicy
from monitor.errors import ConfigError
from monitor.store.values import Notification
from monitor.store.writer import inline
from tests.delivery.cases import (
    NOTE,
    PRIVATE,
    START,
    Answer,
    Case,
    D,
    Drip,
    Hook,
    concerns,
    contract,
    hang,
    meaning,
    notifications,
    says,
    status,
    streamed,
)
from tests.delivery.samples import TEXT, a_notification, a_photo, a_photo_alert, golden

NAMES: Final = sorted(SINKS)
OVER_HTTP: Final = [name for name in NAMES if contract(name).over_http]
OPEN: Final = Receiver(name="r", text=TextPolicy.FULL, links=True, timeout_s=10)
WEBHOOK, SLACK = "webhook", "slack"


def traits(name: str) -> Traits:
    found: Traits = vars(SINKS[name])["traits"]
    return found


every_sink = pytest.mark.parametrize("name", NAMES)
over_http = pytest.mark.parametrize("name", OVER_HTTP)
every_answer = pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param(name, case, id=f"{name}: {what}")
        for name in OVER_HTTP
        for what, case in contract(name).cases().items()
    ],
)
every_notification = pytest.mark.parametrize(
    ("name", "notification"),
    [
        pytest.param(name, notification, id=f"{name}: {what}")
        for name in NAMES
        for what, notification in notifications().items()
        if concerns(traits(name), notification)
    ],
)
every_secret = pytest.mark.parametrize(
    ("name", "part"), [(name, part) for name in NAMES for part in contract(name).parts]
)


async def sent(name: str, answer: Answer, notification: Notification | None = None) -> Settlement:
    sink = Hook(answer).sink(contract(name))
    return await attempt(sink, OPEN, notification or a_notification(a_photo_alert()))


# --- answers ----------------------------------------------------------------------------------------


@every_answer
async def test_what_an_answer_means(name: str, case: Case, autojump_clock: trio.testing.MockClock) -> None:
    settlement = await sent(name, case.answer)
    assert meaning(settlement) == case.means
    if isinstance(settlement, RetryAfter):
        assert settlement.after == case.after


@every_answer
async def test_no_reason_and_no_log_line_gives_anything_away(
    name: str, case: Case, autojump_clock: trio.testing.MockClock
) -> None:
    with structlog.testing.capture_logs() as lines:
        settlement = await sent(name, case.answer)
    shown = f"{settlement!r} {lines!r}"
    assert [secret for secret in (*PRIVATE, *contract(name).private) if secret in shown] == []


@over_http
async def test_the_deadline_is_the_receivers(name: str, autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    assert await sent(name, hang) == RetryAfter(reason="no answer within 10 s")
    assert trio.current_time() - began == pytest.approx(10)


@pytest.mark.parametrize("code", [200, 500])
@over_http
async def test_a_slow_body_is_not_waited_for(
    name: str, code: int, autojump_clock: trio.testing.MockClock
) -> None:
    began = trio.current_time()
    await sent(name, streamed(code, lambda: Drip(b"", 1)))
    assert trio.current_time() - began == pytest.approx(ANSWER_S)


@over_http
async def test_an_impatient_receiver_is_still_believed(
    name: str, autojump_clock: trio.testing.MockClock
) -> None:
    """Its deadline is shorter than the time that a body has, and must not undo the status."""
    hook = Hook(streamed(500, lambda: Drip(b"", 60)))
    impatient = Receiver(name="r", timeout_s=ANSWER_S / 4)
    settlement = await attempt(hook.sink(contract(name)), impatient, a_notification())
    assert isinstance(settlement, RetryAfter)
    assert "500" in settlement.reason


@over_http
async def test_a_huge_body_is_not_read(name: str) -> None:
    flood = Drip(b"x" * 4096, 0)
    await sent(name, streamed(400, lambda: flood))
    assert flood.pieces * 4096 <= MAX_ANSWER


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@over_http
async def test_no_redirect_is_followed(name: str, code: int) -> None:
    hook = Hook(status(code, location="https://elsewhere.example/"))
    await attempt(hook.sink(contract(name)), OPEN, a_notification())
    assert {request.url.host for request in hook.requests} == {"hooks.example"}


# --- what is sent -----------------------------------------------------------------------------------


@every_notification
async def test_whatever_it_may_be_given_it_sends(name: str, notification: Notification) -> None:
    hook = Hook(contract(name).accepts)
    settlement = await attempt(hook.sink(contract(name)), OPEN, notification)
    assert meaning(settlement) == D, settlement
    assert bool(hook.requests) is contract(name).over_http


@every_notification
async def test_only_what_the_policy_lets_out_reaches_the_wire(name: str, notification: Notification) -> None:
    hook = Hook(contract(name).accepts)
    settlement = await attempt(hook.sink(contract(name)), Receiver(name="r"), notification)
    wire = repr(settlement) + "".join(_wire(request) for request in hook.requests)
    assert [secret for secret in (TEXT, "s3cr3tsignature") if secret in wire] == []


@pytest.mark.parametrize(("what", "words"), [("noted", NOTE), ("sample", "SAMPLE")])
@over_http
async def test_its_reader_is_told_why_it_comes(name: str, what: str, words: str) -> None:
    hook = Hook(contract(name).accepts)
    await attempt(hook.sink(contract(name)), OPEN, notifications()[what])
    assert any(words in _wire(request) for request in hook.requests)


def _wire(request: httpx.Request) -> str:
    return f"{request.url} {dict(request.headers)} {request.content.decode()}"


@over_http
async def test_a_retry_is_known_as_one(name: str, autojump_clock: trio.testing.MockClock) -> None:
    hook = Hook(status(500))
    sink, id_of = hook.sink(contract(name)), contract(name).id_of
    for _ in range(3):
        await attempt(sink, OPEN, a_notification())
    assert len({request.content for request in hook.requests}) == 1
    if id_of is not None:
        (known_by,) = {id_of(request) for request in hook.requests}
        assert known_by


async def test_each_attempt_is_signed_with_its_own_time(autojump_clock: trio.testing.MockClock) -> None:
    hook = Hook(status(500))
    sink = hook.sink(contract(WEBHOOK))
    await attempt(sink, OPEN, a_notification())
    await trio.sleep(3600)
    await attempt(sink, OPEN, a_notification())
    first, second = (int(request.headers["webhook-timestamp"]) for request in hook.requests)
    assert second - first == 3600
    assert len({request.headers["webhook-signature"] for request in hook.requests}) == 2


# --- secrets ----------------------------------------------------------------------------------------


@every_secret
async def test_a_secret_that_was_exchanged_is_used_at_the_next_send(
    name: str, part: str, autojump_clock: trio.testing.MockClock
) -> None:
    before, after = contract(name).parts[part]
    value = before
    hook = Hook(contract(name).accepts)
    sink = hook.sink(contract(name), **{part: lambda: value})

    async def seen() -> list[str]:
        hook.requests.clear()
        await attempt(sink, OPEN, a_notification())
        return [_wire(request) for request in hook.requests]

    first, again = await seen(), await seen()
    value = after
    assert first == again != await seen()


def unreadable() -> Any:
    raise FileNotFoundError("/run/secrets/headerSecret")


def undecodable() -> Any:
    return b"\xff".decode()


def unset() -> Any:
    raise ConfigError("receivers[0].webhook.secret_file: is empty")


@pytest.mark.parametrize("lost", [unreadable, undecodable, unset])
@every_secret
async def test_a_secret_that_cannot_be_read_now_is_a_retry(
    name: str, part: str, lost: Callable[[], Any]
) -> None:
    hook = Hook(contract(name).accepts)
    settlement = await attempt(hook.sink(contract(name), **{part: lost}), OPEN, a_notification())
    assert isinstance(settlement, RetryAfter)
    assert not settlement.reason.startswith("bug")
    assert "headerSecret" not in settlement.reason
    assert hook.requests == []


# --- the webhook's own ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "value"), [("secrets", ["no key"]), ("headers", {"Host": "x"}), ("headers", {"X": "a\r\nb"})]
)
async def test_settings_that_cannot_work_are_never_sent_with(part: str, value: Any) -> None:
    hook = Hook(status(200))
    settlement = await attempt(hook.sink(contract(WEBHOOK), **{part: lambda: value}), OPEN, a_notification())
    assert isinstance(settlement, RetryAfter)
    assert hook.requests == []


async def test_the_receivers_own_words_help_where_they_are_harmless() -> None:
    said = {
        "error": "unknown tenant",
        "see": "https://docs.vendor.test/e/42?t=abc",
        "trace": "0af7651916cd" * 3,
    }
    settlement = await sent(WEBHOOK, says(400, said))
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
    for what, case in contract(WEBHOOK).cases().items():
        settlement = await sent(WEBHOOK, case.answer)
        if not isinstance(settlement, Delivered):
            reasons[what] = settlement.reason
    assert reasons == golden("webhook-reasons")


# --- Slack's own ------------------------------------------------------------------------------------


async def test_when_slack_refuses_the_blocks_the_text_goes_alone() -> None:
    given = iter([status(400, "invalid_blocks"), status(200, "ok")])

    async def answer(request: httpx.Request) -> httpx.Response:
        return await next(given)(request)

    hook = Hook(answer)
    assert await attempt(hook.sink(contract(SLACK)), OPEN, a_notification()) == Delivered()
    first, second = (json.loads(request.content) for request in hook.requests)
    assert "blocks" in first
    assert "blocks" not in second
    assert second["text"] == first["text"]


# --- the console's own ------------------------------------------------------------------------------


async def test_a_console_that_is_stuck_meets_its_deadline(autojump_clock: trio.testing.MockClock) -> None:
    async def stuck(function: Callable[..., Awaitable[Any]], *args: Any) -> None:
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
