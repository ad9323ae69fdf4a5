"""The bytes of one request and one answer: what goes out, what is believed of what comes in."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise

import h11
import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.source.http1 import MAX_OVERHEAD, Incoming, head_of

BASE = httpx.URL("https://275211.api-us.cometchat.io/v3")


def asked(target: bytes = b"/v3/users/bob/messages?id=5", **headers: str) -> httpx.Request:
    extensions = {"target": target}
    return httpx.Request(
        "GET", BASE, headers=httpx.Headers(headers), stream=httpx.ByteStream(b""), extensions=extensions
    )


def fed(pieces: Iterable[bytes], *, closed: bool = False) -> tuple[Incoming, bytes]:
    incoming, body = Incoming(), b""
    for piece in pieces:
        if incoming.is_complete:
            break
        incoming.feed(piece)
        body += incoming.take()
    if closed and not incoming.is_complete:
        incoming.end()
    return incoming, body


# --- requests ---------------------------------------------------------------------------------------------


def test_a_request_stands_on_the_wire_as_given() -> None:
    head = head_of(asked(Host="a.test", apikey="k"))
    assert head == b"GET /v3/users/bob/messages?id=5 HTTP/1.1\r\nHost: a.test\r\napikey: k\r\n\r\n"


def test_without_a_target_the_url_tells_it() -> None:
    assert head_of(httpx.Request("GET", "http://a.test/b?c=d")).startswith(
        b"GET /b?c=d HTTP/1.1\r\nHost: a.test\r\n"
    )


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb: c", "a\rb", "a\0b"])
def test_no_header_can_be_smuggled_in(value: str) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        head_of(asked(apikey=value))


@pytest.mark.parametrize("target", [b"/a b", b"/a\r\nb: c", b"/a\nb", "/ü".encode(), b"/a\0"])
def test_no_target_can_leave_its_line(target: bytes) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        head_of(asked(target))


@pytest.mark.parametrize(
    "request_",
    [
        httpx.Request("POST", BASE, content=b"x"),
        httpx.Request("HEAD", BASE),
        httpx.Request("GET", BASE, content=b"x"),
        httpx.Request("GET", BASE, headers={"Transfer-Encoding": "chunked"}),
    ],
)
def test_only_reading_is_possible(request_: httpx.Request) -> None:
    with pytest.raises(httpx.LocalProtocolError, match="GET"):
        head_of(request_)


# --- answers ----------------------------------------------------------------------------------------------

GOOD = {
    "sized": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", True),
    "chunked": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nDate: never\r\n\r\n",
        200, b"hello", True,
    ),
    "empty": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
    "no content": (b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n", 204, b"", True),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 304, b"", True),
    "last": (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", False),
    "old": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", False),
    "old, kept": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", True,
    ),
    "early hints": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        b"HTTP/1.1 429 Slow\r\nContent-Length: 2\r\n\r\n{}",
        429, b"{}", True,
    ),
    "an offer": (
        b"HTTP/1.1 200 OK\r\nUpgrade: h2\r\nConnection: Upgrade, Keep-Alive\r\n"
        b"Content-Length: 5\r\n\r\nhello",
        200, b"hello", True,
    ),
    "surplus": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200", 200, b"hello", False),
    "surplus after the last": (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello?", 200, b"hello", False,
    ),
    "until closed": (b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\nhello", 200, b"hello", False),
}  # fmt: skip


@pytest.mark.parametrize(("wire", "status", "body", "may_follow"), GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_good_answer_is_read_however_it_is_cut(
    wire: bytes, status: int, body: bytes, may_follow: bool, step: int
) -> None:
    incoming, read = fed((wire[at : at + step] for at in range(0, len(wire), step)), closed=True)
    assert incoming.is_complete
    assert (incoming.status, read) == (status, body)
    if step == 1000:  # else what is too much has not come yet: the pool looks before it uses a connection
        assert incoming.may_follow is may_follow
    assert b"Link" not in dict(incoming.headers)
    assert b"Date" not in dict(incoming.headers)


HEAD = b"HTTP/1.1 200 OK\r\n"
BAD = {
    "nothing": b"",
    "something else": b"SSH-2.0-OpenSSH_9.6\r\n",
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no number": b"HTTP/1.1 OK\r\n\r\n",
    "cut head": b"HTTP/1.1 200 OK\r\nServer",
    "cut body": HEAD + b"Content-Length: 5\r\n\r\nhell",
    "cut chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhell",
    "cut before the last chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "only a hint": b"HTTP/1.1 100 Continue\r\n\r\n",
    "negative": HEAD + b"Content-Length: -5\r\n\r\nhello",
    "no size": HEAD + b"Content-Length: five\r\n\r\nhello",
    "huge": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\nhello",
    "two sizes": HEAD + b"Content-Length: 5\r\nContent-Length: 4\r\n\r\nhello",
    "size and chunks": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk of no size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nx\r\nhello\r\n0\r\n\r\n",
    "huge chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "packed transfer": HEAD + b"Transfer-Encoding: gzip\r\n\r\nhello",
    "null byte": HEAD + b"Server: a\0b\r\nContent-Length: 0\r\n\r\n",
    "space in a name": HEAD + b"Ser ver: a\r\nContent-Length: 0\r\n\r\n",
    "space before the colon": HEAD + b"Content-Length : 5\r\n\r\nhello",
    "no colon": HEAD + b"Server\r\nContent-Length: 0\r\n\r\n",
    "switched": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    "long head": HEAD + b"Server: " + b"x" * 2 * MAX_OVERHEAD,
    "many headers": HEAD + b"a: b\r\n" * MAX_OVERHEAD,
    "hints for ever": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * MAX_OVERHEAD,
    "extension for ever": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;" + b"x" * 2 * MAX_OVERHEAD,
    "trailers for ever": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * MAX_OVERHEAD,
}  # fmt: skip


@pytest.mark.parametrize("wire", BAD.values(), ids=BAD)
@pytest.mark.parametrize("step", [1, 4096, 10**7])
def test_a_bad_answer_is_refused_however_it_is_cut(wire: bytes, step: int) -> None:
    if step == 1 and len(wire) > 2000:
        step = 100
    with pytest.raises(httpx.RemoteProtocolError):
        fed((wire[at : at + step] for at in range(0, len(wire), step)), closed=True)


def test_a_body_in_the_smallest_chunks_is_no_attack() -> None:
    _, body = fed([HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 50_000, b"0\r\n\r\n"])
    assert body == b"x" * 50_000


class Watched(Incoming):
    __slots__ = ("__weakref__",)


def test_an_answer_leaves_no_garbage_for_the_collector() -> None:
    gc.disable()
    try:
        incoming = Watched()
        incoming.feed(GOOD["sized"][0])
        left = weakref.ref(incoming)
        del incoming
        assert left() is None
    finally:
        gc.enable()


TOKEN = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).map(lambda name: f"x-{name}".encode())
VALUE = st.text(st.characters(codec="latin-1", exclude_categories=["C"]), max_size=30).map(
    lambda value: value.encode("latin-1").strip()
)


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, int, list[tuple[bytes, bytes]], bytes]:
    """An answer as a decent server writes it: its bytes, status, headers and body."""
    status = draw(st.sampled_from([200, 201, 302, 400, 401, 404, 429, 500, 503]))
    headers = draw(st.lists(st.tuples(TOKEN, VALUE), max_size=8))
    chunks = draw(st.lists(st.binary(min_size=1, max_size=60), max_size=6))
    body, wire = b"".join(chunks), b"HTTP/1.1 %d Told\r\n" % status
    wire += b"".join(b"%b: %b\r\n" % header for header in headers)
    if draw(st.booleans()):
        wire += b"Transfer-Encoding: chunked\r\n\r\n"
        wire += b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    else:
        wire += b"Content-Length: %d\r\n\r\n" % len(body) + body
    return wire, status, headers, body


@given(answers(), st.lists(st.integers(1, 400), max_size=12))
def test_any_good_answer_is_read_as_it_was_meant(
    answer: tuple[bytes, int, list[tuple[bytes, bytes]], bytes], cuts: list[int]
) -> None:
    wire, status, headers, body = answer
    edges = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    incoming, read = fed(wire[start:end] for start, end in pairwise(edges))
    assert (incoming.status, read, incoming.is_complete, incoming.may_follow) == (status, body, True, True)
    assert incoming.headers[: len(headers)] == headers


@given(st.lists(st.binary(max_size=80), max_size=8), st.booleans())
@example([HEAD, b"\r\n", b"abc"], True)
def test_any_bytes_are_an_answer_or_refused(pieces: list[bytes], headed: bool) -> None:
    with suppress(httpx.RemoteProtocolError):
        incoming, _ = fed([HEAD, *pieces] if headed else pieces, closed=True)
        assert incoming.is_complete


@given(answers(), st.data())
def test_what_a_second_parser_also_takes_means_the_same_to_both(
    answer: tuple[bytes, int, list[tuple[bytes, bytes]], bytes], data: st.DataObject
) -> None:
    """Damaged answers: where h11 reads one too, status and body are the same."""
    wire = bytearray(answer[0])
    for _ in range(data.draw(st.integers(1, 3))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.sampled_from(b"\r\n\0 :;,0159afxX\xff"))
    with suppress(httpx.RemoteProtocolError, h11.RemoteProtocolError):
        ours, body = fed([bytes(wire)], closed=True)
        assert (ours.status, body) == by_h11(bytes(wire))


def by_h11(wire: bytes) -> tuple[int, bytes]:
    other = h11.Connection(h11.CLIENT)
    other.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    other.send(h11.EndOfMessage())
    other.receive_data(wire)
    other.receive_data(b"")
    status, body = 0, b""
    while not isinstance(event := other.next_event(), h11.EndOfMessage | h11.ConnectionClosed):
        if isinstance(event, h11.Response):
            status = event.status_code
        if isinstance(event, h11.Data):
            body += bytes(event.data)
    return status, body
