"""How an answer is judged: each failure by what its reader does next, and never with the key in it."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from monitor.clock import Clock, virtual
from monitor.source.body import Body, Unreadable
from monitor.source.client import (
    BadKey,
    BadRequest,
    BadResponse,
    Client,
    MessageQuery,
    NoAccess,
    RateLimited,
    ServerError,
    SourceError,
    UnknownGroup,
    UnknownUser,
    Unreachable,
)
from monitor.source.failures import failure, redact
from monitor.source.headers import ApiTime, http_date, rate_info, rate_spelling, retry_after
from rules.model import UserId
from tests.source.serving import EMPTY_PAGE, KEY, Answer, Server, talking_to

UID = UserId("superhero2")
NOW = datetime(2026, 11, 22, 8, 0, 0, tzinfo=UTC)


def an_error(code: str | None, message: str = f"The key {KEY} is at fault.", **more: Any) -> bytes:
    return json.dumps({"error": {"message": message, "devMessage": message, "code": code, **more}}).encode()


async def refused(answer: Answer, **client: Any) -> SourceError:
    async with talking_to(Server(answer), **client) as asking:
        with pytest.raises(SourceError) as caught:
            await asking.messages(UID, MessageQuery())
    return caught.value


FAILURES: list[tuple[int, str | None, type[SourceError]]] = [
    (401, "AUTH_ERR_APIKEY_NOT_FOUND", BadKey),
    (401, "AUTH_ERR_EMPTY_APIKEY", BadKey),
    (400, "AUTH_ERR_INVALID_APPID", BadKey),
    (401, None, BadKey),
    (403, "AUTH_ERR_NO_ACCESS", NoAccess),
    (403, None, NoAccess),
    (402, "ERR_SUBSCRIPTION_EXPIRED", NoAccess),
    (400, "ERR_PLAN_RESTRICTION", NoAccess),
    (404, "ERR_UID_NOT_FOUND", UnknownUser),
    (404, "ERR_GUID_NOT_FOUND", UnknownGroup),
    (400, "ERR_BAD_REQUEST", BadRequest),
    (409, "ERR_SOMETHING_NEW", BadRequest),
    (404, "ERR_API_NOT_FOUND", BadRequest),
    (429, "ERR_TOO_MANY_REQUESTS", RateLimited),
    (429, None, RateLimited),
    (400, "ERR_TOO_MANY_REQUESTS", RateLimited),
    (500, "ERR_MISSION_FAILED", ServerError),
    (400, "ERR_OPERATION_FAILED", ServerError),
    (503, None, ServerError),
    (408, None, ServerError),
    (200, "ERR_UID_NOT_FOUND", UnknownUser),
    (200, "ERR_EXCEPTION", ServerError),
]


@pytest.mark.parametrize(("status", "code", "kind"), FAILURES)
async def test_a_failure_is_told_by_what_to_do_next(
    status: int, code: str | None, kind: type[SourceError]
) -> None:
    error = await refused(Answer(an_error(code), status))
    assert type(error) is kind
    assert (error.status, error.code) == (status, code)
    assert "superhero2" in str(error)


@pytest.mark.parametrize(("status", "code", "kind"), FAILURES)
async def test_no_error_text_repeats_the_key(status: int, code: str | None, kind: type[SourceError]) -> None:
    details = {"apikey": [f"{KEY} is wrong", KEY.upper()], KEY: [KEY]}
    error = await refused(Answer(an_error(code, details=details), status))
    told = f"{error} {error.details} {error!r}".lower()
    assert KEY not in told
    assert KEY[:12] not in told


@pytest.mark.parametrize("status", [502, 503])
async def test_a_proxy_s_page_with_5xx_is_a_server_error(status: int) -> None:
    assert type(await refused(Answer(b"<html>bad gateway</html>", status))) is ServerError


@pytest.mark.parametrize("status", [404, 405, 410])
async def test_a_404_without_cometchat_s_words_never_means_an_unknown_user(status: int) -> None:
    error = await refused(Answer(b"<html>not found</html>", status))
    assert type(error) is BadResponse
    assert "api.base_url" in str(error)


async def test_the_refused_parameter_is_named() -> None:
    error = await refused(Answer(an_error("ERR_BAD_REQUEST", details={"limit": ["Too\nlarge.", 5]}), 400))
    assert error.details == {"limit": ("Too large.", "5")}
    assert '"Too large.; 5"' in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   \n",
        b"<html><body>Sign in to the hotel network</body></html>",
        b'{"data":[{"id":"1"',
        b'{"data":{}}',
        b'{"data":null}',
        b'{"messages":[]}',
        b"[]",
        b"null",
        b"42",
        b"\xff\xfe\x00",
        b'{"data":[]',
        b'{"data":[1,]}',
        b"[" * 100_000,
        b'{"data":' * 50_000,
    ],
)
async def test_nonsense_is_a_bad_response_that_does_not_repeat_it(body: bytes) -> None:
    error = await refused(Answer(body))
    assert type(error) is BadResponse
    assert "api.base_url" in str(error)
    assert "hotel" not in str(error)
    assert len(str(error)) < 500


async def test_nonsense_is_told_by_every_question() -> None:
    async with talking_to(Server(Answer(b"<html>"))) as client:
        for question in (
            client.user(UID), client.group("hiking"), client.users(), client.counts(UID, MessageQuery()),
        ):  # fmt: skip
            with pytest.raises(BadResponse, match=r"api\.base_url"):
                await question


async def test_an_html_page_is_named_as_such() -> None:
    assert "HTML" in str(await refused(Answer(b"<!DOCTYPE html><title>x</title>")))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_refused_and_the_target_named(status: int) -> None:
    server = Server(Answer(b"", status, {"location": f"https://elsewhere.test/v3?apikey={KEY}"}))
    async with talking_to(server) as client:
        with pytest.raises(BadResponse, match=r"elsewhere\.test") as caught:
            await client.messages(UID, MessageQuery())
    assert len(server.asked) == 1
    assert KEY not in str(caught.value)


async def test_a_request_has_one_deadline(autojump_clock: MockClock) -> None:
    error = await refused(Answer(hang_s=31), timeout_s=30)
    assert type(error) is Unreachable
    assert "30 s" in str(error)


async def test_an_answer_just_before_the_deadline_counts(autojump_clock: MockClock) -> None:
    async with talking_to(Server(Answer(hang_s=29)), timeout_s=30) as client:
        assert (await client.messages(UID, MessageQuery())).rows == 0


async def test_a_dropped_connection_is_unreachable() -> None:
    assert type(await refused(Answer(breaks=ConnectionResetError()))) is Unreachable


async def test_nobody_at_the_address_is_unreachable() -> None:
    from monitor.source.transport import open_http

    async with open_http() as http:
        client = Client(base_url="http://127.0.0.1:1/v3", api_key=lambda: KEY, http=http, clock=Clock())
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
            await client.messages(UID, MessageQuery())


# --- size and packing -------------------------------------------------------------------------------------


async def test_packed_answers_are_unpacked() -> None:
    async with talking_to(
        Server(Answer(gzip.compress(EMPTY_PAGE), headers={"content-encoding": "gzip"}))
    ) as c:
        assert (await c.messages(UID, MessageQuery())).size == 100


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(EMPTY_PAGE, mtime=0)[:-9], "gzip"),
        (b"\x1f\x8bnot gzip at all", "gzip"),
        (EMPTY_PAGE, "gzip"),
        (zlib.compress(EMPTY_PAGE), "br"),
        (gzip.compress(b" " * 2_000_000, mtime=0), "gzip"),
        (b" " * 2_000_000, "identity"),
    ],
)
async def test_a_broken_or_too_large_body_is_a_bad_response(body: bytes, encoding: str) -> None:
    error = await refused(Answer(body, headers={"content-encoding": encoding}), max_body=1_000_000)
    assert type(error) is BadResponse


def test_a_gzip_bomb_is_refused_before_it_is_inflated() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(256)) + packer.flush()
    body = Body(encoding="gzip", max_bytes=2**20)
    tracemalloc.start()
    try:
        body.feed(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    with pytest.raises(Unreadable, match="larger"):
        body.close()
    assert len(bomb) < 2**19
    assert peak < 8 * 2**20


@given(st.binary(max_size=4000), st.integers(1, 300), st.integers(1, 3))
def test_a_packed_body_comes_back_however_it_is_cut(content: bytes, step: int, members: int) -> None:
    body = Body(encoding="gzip", max_bytes=20_000)
    packed = gzip.compress(content) * members
    for start in range(0, len(packed), step):
        body.feed(packed[start : start + step])
    assert body.close() == content * members


@given(st.binary(max_size=2000), st.sampled_from(["", "identity", "gzip"]))
def test_any_bytes_are_a_body_or_unreadable(content: bytes, encoding: str) -> None:
    body = Body(encoding=encoding, max_bytes=1000)
    body.feed(content)
    with suppress(Unreadable):
        assert len(body.close()) <= 1000


# --- headers ----------------------------------------------------------------------------------------------

Headers = dict[str, str]


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"retry-after": "15"}, timedelta(seconds=15)),
        ({"retry-after": " 0 "}, timedelta(0)),
        ({"retry-after": "99999999999999999999"}, timedelta(hours=1)),
        ({"retry-after": "Sun, 22 Nov 2026 08:00:30 GMT"}, timedelta(seconds=30)),
        (
            {"retry-after": "Sun, 22 Nov 2026 09:30:30 GMT", "date": "Sun, 22 Nov 2026 09:30:00 GMT"},
            timedelta(seconds=30),
        ),
        ({"retry-after": "Sun, 22 Nov 2020 08:00:30 GMT"}, timedelta(0)),
        ({"retry-after": "Sun, 22 Nov 2126 08:00:30 GMT"}, timedelta(hours=1)),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "1.5"}, None),
        ({"retry-after": "٣"}, None),
        ({}, None),
        ({"x-ratelimit-reset": str(int(NOW.timestamp()) + 20)}, timedelta(seconds=20)),
        ({"x-rate-limit-reset": str(int(NOW.timestamp()) + 20)}, timedelta(seconds=20)),
        ({"x-rate-limit-reset": "99999999999"}, None),
    ],
)
def test_the_pause_a_server_asks_for(headers: Headers, pause: timedelta | None) -> None:
    assert retry_after(headers, NOW) == pause


@pytest.mark.parametrize(
    "headers",
    [
        {"X-RateLimit-Limit": "700", "X-RateLimit-Remaining": "699", "X-RateLimit-Reset": "1795334460"},
        {"X-Rate-Limit": "700", "X-Rate-Limit-Remaining": "699", "X-Rate-Limit-Reset": "1795334460"},
        {"x-rate-limit-limit": "700", "X-RATELIMIT-REMAINING": "699", "x-ratelimit-reset": "1795334460"},
    ],
)
async def test_both_spellings_of_the_quota_are_read(headers: Headers) -> None:
    clock = Clock(wall=lambda: datetime.fromtimestamp(1795334400, UTC))
    async with talking_to(Server(Answer(headers=headers)), clock=clock) as client:
        rate = (await client.messages(UID, MessageQuery())).rate
    assert (rate.limit, rate.remaining) == (700, 699)
    assert rate.reset_at == datetime.fromtimestamp(1795334460, UTC)


def test_the_spelling_is_told_apart() -> None:
    assert rate_spelling({"X-RateLimit-Limit": "1"}) == "X-RateLimit-…"
    assert rate_spelling({"X-Rate-Limit": "1"}) == "X-Rate-Limit-…"
    assert rate_spelling({"content-type": "x"}) is None


async def test_a_rate_limit_carries_its_pause() -> None:
    error = await refused(Answer(an_error("ERR_TOO_MANY_REQUESTS"), 429, {"Retry-After": "15"}))
    assert error.retry_after == timedelta(seconds=15)


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_any_header_is_read_or_left(wish: str, date: str, reset: str) -> None:
    headers = {"retry-after": wish, "date": date, "x-ratelimit-reset": reset}
    pause = retry_after(headers, NOW)
    assert pause is None or timedelta(0) <= pause <= timedelta(hours=1)
    assert rate_info(headers, NOW).limit is None
    http_date(date)


# --- redaction --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"The key {KEY} does not exist.",
        f"The key {KEY.upper()} does not exist.",
        f"The key {KEY[:5]}{'*' * 22}{KEY[-5:]} does not exist.",
        f"key={KEY}&x=1 and another {'f' * 40}",
    ],
)
def test_nothing_that_looks_like_a_key_gets_through(text: str) -> None:
    shown = redact(text, (KEY,))
    assert "[key]" in shown
    assert KEY[:5] not in shown.lower()
    assert "ffff" not in shown


def test_redacted_text_is_short_and_on_one_line() -> None:
    shown = redact("a\r\nforged log line\x1b[2J" + "b " * 500)
    assert len(shown) <= 300
    assert shown.isprintable()


@given(st.binary(max_size=300), st.sampled_from([200, 302, 400, 401, 404, 429, 500]))
def test_any_error_body_is_judged(body: bytes, status: int) -> None:
    error = failure(status=status, body=body, request="messages of x", secrets=(KEY,), retry_after=None)
    assert str(error).isprintable()


# --- the clock --------------------------------------------------------------------------------------------


async def test_a_page_is_dated_in_the_api_s_time(autojump_clock: MockClock) -> None:
    dated = Answer(headers={"date": "Sun, 22 Nov 2026 08:05:02 GMT"}, hang_s=2)
    async with talking_to(Server(dated), clock=virtual(NOW)) as client:
        page = await client.messages(UID, MessageQuery())
    assert page.received_at == NOW + timedelta(seconds=2)
    assert page.skew == timedelta(minutes=5)
    assert page.started_at == NOW + timedelta(minutes=5)


async def test_two_good_clocks_agree_exactly(autojump_clock: MockClock) -> None:
    dated = Answer(headers={"date": "Sun, 22 Nov 2026 08:00:00 GMT"}, hang_s=0.25)
    async with talking_to(Server(dated), clock=virtual(NOW)) as client:
        page = await client.messages(UID, MessageQuery())
    assert (page.skew, page.started_at) == (timedelta(0), NOW)


async def test_an_old_date_from_a_cache_is_not_believed(autojump_clock: MockClock) -> None:
    dated = Answer(headers={"date": "Sun, 22 Nov 2026 07:00:00 GMT", "age": "3600"})
    async with talking_to(Server(dated), clock=virtual(NOW)) as client:
        assert (await client.messages(UID, MessageQuery())).skew == timedelta(0)


@given(
    offset_ms=st.integers(-100_000, 100_000),
    asks=st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 900), st.integers(0, 100)), min_size=1),
)
def test_the_offset_is_within_a_second_and_a_round_trip_of_the_truth(
    offset_ms: int, asks: list[tuple[int, int, int]]
) -> None:
    offset, api_time, now = timedelta(milliseconds=offset_ms), ApiTime(), NOW
    shortest = timedelta.max
    for wait_ms, trip_ms, share in asks:
        asked_at = now + timedelta(milliseconds=wait_ms)
        answered_at = asked_at + timedelta(milliseconds=trip_ms)
        shown = (asked_at + (answered_at - asked_at) * share / 100 + offset).replace(microsecond=0)
        api_time.observe(shown, asked_at=asked_at, answered_at=answered_at)
        now, shortest = answered_at, min(shortest, answered_at - asked_at)
    assert abs(api_time.offset - offset) <= timedelta(seconds=1) + shortest
    assert abs(api_time.offset) <= abs(offset) + timedelta(0)


def test_a_clock_that_was_set_is_noticed_at_the_next_answer() -> None:
    api_time = ApiTime()
    api_time.observe(NOW, asked_at=NOW, answered_at=NOW)
    later = NOW + timedelta(hours=1)
    api_time.observe(later + timedelta(minutes=9), asked_at=later, answered_at=later)
    assert api_time.offset == timedelta(minutes=9)
