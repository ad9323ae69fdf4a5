"""What the status API changes, and for whom: asked as curl would ask."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from monitor import web
from monitor.errors import ConfigError, StoreError
from monitor.store.store import Store, Tx
from monitor.web.writing import MAX_BODY, OFF, WRONG
from rules.model import AlertId, RuleName
from tests.store.building import NOON, found, in_memory
from tests.web.test_web import VIEW, in_place

TOKEN = "a-long-random-word"
WISH = {"matchers": ["team=payments"], "for": "2h", "author": "anna", "comment": "phones are moved"}
T = TypeVar("T")


@pytest.fixture
def store() -> Iterator[Store]:
    with in_memory() as opened:
        with opened.write() as tx:
            tx.commit(found("a1"))
            tx.adopt_rules({RuleName("missed-call"): "f1"})
        yield opened


def writes(store: Store, token: Callable[[], str | None] = lambda: TOKEN) -> web.Writes:
    async def submit(work: Callable[[Tx], T], /) -> T:
        with store.write() as tx:
            return work(tx)

    return web.Writes(submit=submit, token=token, now=lambda: NOON)


def application(store: Store, given: web.Writes | None) -> Starlette:
    return web.build(lambda: VIEW, lambda _: [], store, CollectorRegistry(), run_sync=in_place, writes=given)


@asynccontextmanager
async def asking(
    store: Store, given: web.Writes | None, *, token: str | None = TOKEN
) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {token}"} if token is not None else {}
    transport = httpx.ASGITransport(app=application(store, given))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        yield client


REQUESTS: list[tuple[str, str, Any]] = [
    ("POST", "/api/silences", WISH),
    ("DELETE", "/api/silences/1", None),
    ("POST", "/api/alerts/a1/ack", {"by": "anna"}),
    ("DELETE", "/api/alerts/a1/ack", None),
]


async def test_a_silence_is_made_and_ended(store: Store) -> None:
    async with asking(store, writes(store)) as client:
        made = await client.post("/api/silences", json=WISH)
        number = made.json()["silence"]["id"]
        listed = (await client.get("/api/silences")).json()["silences"]
        ended = await client.delete(f"/api/silences/{number}")
    assert made.status_code == 201
    assert listed == [made.json()["silence"]]
    assert listed[0]["ends_at"] == "2026-03-01T14:00:00Z"
    assert (listed[0]["author"], listed[0]["comment"]) == ("anna", "phones are moved")
    assert (ended.status_code, ended.json()) == (200, {"ended": number})
    assert store.silences(NOON) == ()


async def test_a_silence_may_name_its_times(store: Store) -> None:
    wish = {**WISH, "starts_at": "2026-03-01T13:00:00Z", "ends_at": "2026-03-01T16:00:00+01:00"}
    del wish["for"]
    async with asking(store, writes(store)) as client:
        made = (await client.post("/api/silences", json=wish)).json()["silence"]
    assert (made["starts_at"], made["ends_at"]) == ("2026-03-01T13:00:00Z", "2026-03-01T15:00:00Z")


async def test_an_alert_is_found_by_how_its_id_begins(store: Store) -> None:
    ours, twin = (f"c0932ed75b{letter}{'0' * 21}" for letter in "ab")
    with store.write() as tx:
        tx.commit(found(ours, twin))
    async with asking(store, writes(store)) as client:
        made = await client.post("/api/alerts/c0932ed75ba0/ack", json={"by": "anna"})
        unclear = await client.post("/api/alerts/c0932ed75b/ack", json={"by": "anna"})
        let_go = await client.delete("/api/alerts/c0932ed75ba0/ack")
    assert (made.status_code, made.json()["ack"]["alert"]) == (201, ours)
    assert unclear.status_code == 404
    assert let_go.json() == {"unacked": ours}


async def test_an_alert_is_acknowledged_and_let_go(store: Store) -> None:
    async with asking(store, writes(store)) as client:
        made = await client.post("/api/alerts/a1/ack", json={"by": " anna ", "comment": "calling back"})
        acks = store.acks([AlertId("a1")])
        again = await client.delete("/api/alerts/a1/ack")
        nobody = await client.delete("/api/alerts/a1/ack")
    assert made.status_code == 201
    assert made.json()["ack"]["by"] == acks[AlertId("a1")].by == "anna"
    assert (again.status_code, again.json()) == (200, {"unacked": "a1"})
    assert nobody.status_code == 404
    assert store.acks([AlertId("a1")]) == {}


# --- for whom -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
async def test_without_a_token_in_the_settings_nobody_writes(
    store: Store, method: str, path: str, body: Any
) -> None:
    for given in (None, writes(store, lambda: None), writes(store, lambda: "")):
        async with asking(store, given, token="") as client:
            answer = await client.request(method, path, json=body)
            assert (answer.status_code, answer.json()) == (403, {"error": OFF})
    assert "server.token_file" in OFF
    assert store.silences(NOON) == ()


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", TOKEN[:-1], "pä\udcffss"])
async def test_with_another_token_nobody_writes(
    store: Store, token: str | None, method: str, path: str, body: Any
) -> None:
    headers = {} if token is None else {b"authorization": b"Bearer " + token.encode("utf-8", "replace")}
    async with asking(store, writes(store), token=None) as client:
        answer = await client.request(method, path, json=body, headers=headers)
    assert (answer.status_code, answer.json()) == (401, {"error": WRONG})
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text
    assert store.silences(NOON) == ()
    assert store.acks([AlertId("a1")]) == {}


@pytest.mark.parametrize("sent", [f"Basic {TOKEN}", TOKEN, f"Token {TOKEN}"])
async def test_the_token_comes_as_a_bearer(store: Store, sent: str) -> None:
    async with asking(store, writes(store), token=None) as client:
        answer = await client.post("/api/silences", json=WISH, headers={"authorization": sent})
        assert answer.status_code == 401
        spelt = await client.post("/api/silences", json=WISH, headers={"authorization": f"bearer {TOKEN}"})
        assert spelt.status_code == 201


async def test_the_token_may_be_exchanged_while_we_run(store: Store) -> None:
    words = iter(["first-long-word", "second-long-word"])
    async with asking(store, writes(store, lambda: next(words)), token="second-long-word") as client:
        assert (await client.post("/api/silences", json=WISH)).status_code == 401
        assert (await client.post("/api/silences", json=WISH)).status_code == 201


async def test_a_token_that_cant_be_read_lets_nobody_in(store: Store) -> None:
    def unreadable() -> str:
        raise ConfigError("token_file: can't read /run/secrets/token: No such file or directory")

    async with asking(store, writes(store, unreadable)) as client:
        answer = await client.post("/api/silences", json=WISH)
    assert answer.status_code == 503
    assert answer.json()["error"].startswith("token_file: can't read")


async def test_a_foreign_name_is_refused_before_the_token_is_looked_at(store: Store) -> None:
    async with asking(store, writes(store)) as client:
        answer = await client.post("/api/silences", json=WISH, headers={"host": "evil.example"})
    assert answer.status_code == 421
    assert store.silences(NOON) == ()


# --- what makes no sense ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "for example {"),
        (b"{", "for example {"),
        (b"[]", "for example {"),
        (b'{"matchers": "team=payments", "for": "2h", "comment": "c"}', "Expected `array`, got `str`"),
        (b'{"matchers": ["team=payments"], "until": "2h", "comment": "c"}', "unknown field `until`"),
        (b'{"matchers": ["team=payments"], "for": "2h"}', "missing required field `comment`"),
        (b'{"matchers": ["payments"], "for": "2h", "author": "a", "comment": "c"}', "is not a matcher"),
        (b'{"matchers": [], "for": "2h", "author": "a", "comment": "c"}', "say what is silenced"),
        (b'{"matchers": ["a!=b"], "for": "2h", "author": "a", "comment": "c"}', "would take alerts without"),
        (b'{"matchers": ["a=b"], "for": "2h", "comment": "c"}', "author is empty"),
        (b'{"matchers": ["a=b"], "for": "soon", "author": "a", "comment": "c"}', "expected a time with its"),
        (b'{"matchers": ["rule=mised-call"], "for": "2h", "author": "a", "comment": "c"}', "did you mean"),
        (b'{"matchers": ["a=b"], "ends_at": "tomorrow", "author": "a", "comment": "c"}', "ends_at"),
    ],
)
async def test_a_silence_that_makes_no_sense_is_refused(store: Store, body: bytes, reason: str) -> None:
    async with asking(store, writes(store)) as client:
        answer = await client.post("/api/silences", content=body)
    assert answer.status_code == 400
    assert reason in answer.json()["error"]
    assert store.silences(NOON) == ()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("DELETE", "/api/silences/7", None, 404, "there is no silence 7"),
        ("DELETE", "/api/silences/seven", None, 404, "the number of a silence is asked for"),
        ("DELETE", f"/api/silences/{10**30}", None, 404, "the number of a silence is asked for"),
        ("POST", "/api/alerts/zz/ack", {"by": "anna"}, 404, "there is no alert zz"),
        ("POST", "/api/alerts/a1/ack", {"by": " "}, 400, "by is empty"),
        ("POST", "/api/alerts/a1/ack", {"by": "anna", "comment": "x" * 501}, 400, "comment has 501"),
        ("POST", "/api/alerts/a1/ack", {"who": "anna"}, 400, "unknown field `who`"),
        ("DELETE", "/api/alerts/a1/ack", None, 404, "is not acknowledged"),
    ],
)
async def test_what_is_not_there_is_told(  # noqa: PLR0917 - a row of the table
    store: Store, method: str, path: str, body: Any, status: int, reason: str
) -> None:
    async with asking(store, writes(store)) as client:
        answer = await client.request(method, path, json=body)
    assert answer.status_code == status
    assert reason in answer.json()["error"]


async def test_an_alert_that_is_over_needs_nobody(store: Store) -> None:
    with store.write() as tx:
        tx.commit(found("a1", resolved="answered"))
    async with asking(store, writes(store)) as client:
        answer = await client.post("/api/alerts/a1/ack", json={"by": "anna"})
    assert answer.status_code == 404
    assert "is over" in answer.json()["error"]


async def test_a_body_without_an_end_is_not_read_to_it(store: Store) -> None:
    read, answered = 0, []

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1024
        return {"type": "http.request", "body": b"x" * 1024, "more_body": True}

    async def send(message: MutableMapping[str, Any]) -> None:
        answered.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {TOKEN}".encode())]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/silences",
        "query_string": b"",
        "headers": headers,
    }
    await application(store, writes(store))(scope, receive, send)
    assert answered[0]["status"] == 413
    assert answered[1]["body"] == b'{"error":"the body is too large: 16 KiB are the most"}\n'
    assert read <= MAX_BODY + 1024


async def test_a_store_that_takes_nothing_is_told(store: Store) -> None:
    async def broken(work: Callable[[Tx], T], /) -> T:
        raise StoreError("the disk is full")

    given = web.Writes(submit=broken, token=lambda: TOKEN, now=lambda: NOON + timedelta(seconds=1))
    async with asking(store, given) as client:
        answer = await client.post("/api/silences", json=WISH)
    assert (answer.status_code, answer.json()) == (503, {"error": "the disk is full"})


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/api/silences"), ("POST", "/api/silences/1"), ("GET", "/api/alerts/a1/ack")],
)
async def test_other_methods_are_not_known(store: Store, method: str, path: str) -> None:
    async with asking(store, writes(store)) as client:
        assert (await client.request(method, path)).status_code == 405
