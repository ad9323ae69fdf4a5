"""Pages, probes and JSON: asked like a browser, a probe or Prometheus would ask."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from monitor import web
from monitor.errors import StoreError
from monitor.metrics import Metrics
from monitor.store.store import Store
from monitor.store.values import Ack, Entry, EntryState, Matcher, Silence
from monitor.web.guard import is_ours
from monitor.web.view import readiness, span
from rules.model import Alert, AlertId, MessageId, RuleName, Status, UserId
from tests.store.building import an_alert, claimed, found, in_memory

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(minutes=5)
ANNA = web.UserView(
    uid=UserId("anna"),
    state=web.UserState.CURRENT,
    labels={"team": "payments"},
    cursor=MessageId(1777),
    last_poll_at=NOW,
    watermark=NOW - timedelta(seconds=12),
    lag_s=12.0,
)
VIEW = web.StatusView(
    version="0.1.0",
    app="275211",
    now=NOW,
    started_at=NOW - timedelta(hours=2),
    budget=web.BudgetView(requests_per_minute=250),
    lists=web.Tally(states={web.UserState.CURRENT: 1}, lag_s=12.0),
    worst=(ANNA,),
    receivers=(web.ReceiverView(receiver="ops", pending=1, oldest_at=NOW),),
    rules=3,
    watching_since=NOW - timedelta(days=1),
    last_poll_at=NOW,
)


def a_silence(author: str = "anna", comment: str = "phones are moved", value: str = "payments") -> Silence:
    return Silence(
        id=3,
        matchers=(Matcher(label="team", value=value),),
        starts_at=NOW,
        ends_at=NOW + timedelta(hours=2),
        author=author,
        comment=comment,
        created_at=NOW,
    )


EVIL = "<script>alert(1)</script>\"'&"


async def in_place(work: Callable[[], Any]) -> Any:
    return work()


class BrokenStore:
    """A store whose disk is gone."""

    def alerts(self, limit: int, status: Status | None = None) -> list[Alert]:
        raise StoreError("the disk is gone")

    def entries(
        self, *, receiver: str | None = None, state: EntryState | None = None, limit: int = 100
    ) -> list[Entry]:
        raise StoreError("the disk is gone")

    def acks(self, ids: Collection[AlertId]) -> Mapping[AlertId, Ack]:
        raise StoreError("the disk is gone")

    def silences(self, now: datetime) -> list[Silence]:
        raise StoreError("the disk is gone")

    def all_silences(self, limit: int) -> list[Silence]:
        raise StoreError("the disk is gone")

    def alert_beginning(self, text: str, /) -> Alert | None:
        raise StoreError("the disk is gone")

    def fingerprints(self) -> Mapping[RuleName, str]:
        raise StoreError("the disk is gone")


def a_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Metrics(registry).started("0.1.0")
    return registry


@asynccontextmanager
async def browsing(
    view: web.StatusView = VIEW, store: Any = None, *, hosts: tuple[str, ...] = ()
) -> AsyncIterator[httpx.AsyncClient]:
    def users(uid: str | None) -> list[web.UserView]:
        return [user for user in view.worst if uid in (None, user.uid)]

    app = web.build(lambda: view, users, store or BrokenStore(), a_registry(), run_sync=in_place, hosts=hosts)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9464") as client:
        yield client


@pytest.fixture
def store() -> Any:
    with in_memory() as opened:
        with opened.write() as tx:
            tx.commit(found("a1", "a2"))
        yield opened


# --- the page ---------------------------------------------------------------------------------------


class Outline(HTMLParser):
    """What a browser would see: the tags and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


async def test_the_page_shows_what_people_look_for(store: Store) -> None:
    async with browsing(store=store) as client:
        answer = await client.get("/")
    text = Outline(answer.text).text
    assert answer.status_code == 200
    for words in (
        "Watching",
        "275211",
        "Missed call a1",
        "anna",
        "team=payments",
        "1777",
        "12 s",
        "ops",
        "250",
    ):
        assert words in text


async def test_no_message_text_is_shown(store: Store) -> None:
    async with browsing(store=store) as client:
        for path in ("/", "/api/status", "/api/alerts", "/api/outbox", "/api/users"):
            assert "where are you?" not in (await client.get(path)).text


async def test_the_page_needs_nothing_from_elsewhere_and_may_run_only_its_own(store: Store) -> None:
    async with browsing(store=store) as client:
        answer = await client.get("/")
    outline = Outline(answer.text)
    assert outline.tags.count("script") == outline.tags.count("style") == 1
    assert all(address.startswith(("/", "data:")) for address in outline.addresses)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in answer.headers


async def test_hostile_words_stay_words() -> None:
    class Hostile(BrokenStore):
        def alerts(self, limit: int, status: Status | None = None) -> list[Alert]:
            return [
                replace(
                    an_alert(),
                    title=EVIL,
                    conversation_id=EVIL,
                    resolution=EVIL,
                    watched_users=(UserId(EVIL),),
                )
            ]

        def acks(self, ids: Collection[AlertId]) -> Mapping[AlertId, Ack]:
            return {alert: Ack(alert=alert, by=EVIL, at=NOW, comment=EVIL) for alert in ids}

        def silences(self, now: datetime) -> list[Silence]:
            return [a_silence(author=EVIL, comment=EVIL, value=EVIL)]

    user = replace(ANNA, uid=UserId(EVIL), labels={EVIL: EVIL}, last_error=EVIL, state=web.UserState.FAILING)
    view = replace(
        VIEW, worst=(user,), app=EVIL, version=EVIL, config_error=EVIL, store_error=EVIL,
        receivers=(
            web.ReceiverView(receiver=EVIL, pending=1, dead=1, oldest_at=NOW, failing_since=NOW, reason=EVIL),
        ),
    )  # fmt: skip
    async with browsing(view, Hostile()) as client:
        answer = await client.get("/")
    outline = Outline(answer.text)
    assert outline.tags.count("script") == 1
    assert "<script>alert" not in answer.text
    assert outline.text.count(EVIL) >= 15


async def test_a_store_that_fails_does_not_take_the_page_with_it() -> None:
    async with browsing() as client:
        page = await client.get("/")
        listed = await client.get("/api/alerts")
    assert page.status_code == 200
    assert "The store could not be read: the disk is gone" in page.text
    assert (listed.status_code, listed.json()) == (503, {"error": "the disk is gone"})


async def test_of_many_lists_the_worst_are_shown() -> None:
    worst = replace(ANNA, uid=UserId("stuck"), state=web.UserState.FAILING, lag_s=1.0)
    states = {web.UserState.CURRENT: 1000, web.UserState.FAILING: 1}
    async with browsing(replace(VIEW, lists=web.Tally(states=states), worst=(worst, ANNA))) as client:
        text = Outline((await client.get("/")).text).text
    assert text.index("stuck") < text.index("anna")
    assert "999 more" in text
    assert "but not 1 of 1001 lists" in text


async def test_an_empty_monitor_has_a_page_too() -> None:
    empty = replace(VIEW, lists=web.Tally(), worst=(), receivers=(), last_poll_at=None, watching_since=None)
    with in_memory() as store:
        async with browsing(empty, store) as client:
            text = Outline((await client.get("/")).text).text
    for words in ("Nobody is watched", "None yet", "Nothing is silenced", "Nothing waits to be delivered"):
        assert words in text


async def test_the_page_shows_silences_who_looks_after_what_and_how_receivers_fare(store: Store) -> None:
    with store.write() as tx:
        tx.add_silence(
            [Matcher(label="team", value="payments")],
            starts_at=NOW,
            ends_at=NOW + timedelta(hours=2),
            author="anna",
            comment="phones are moved",
        )
        tx.ack(AlertId("a1"), by="ben", comment="calling back")
    troubled = (
        web.ReceiverView(receiver="ops"),
        web.ReceiverView(receiver="lead", failing_since=LONG_AGO, reason="Slack answered 503"),
        web.ReceiverView(receiver="hook", door="half-open", failing_since=LONG_AGO, reason="no connection"),
    )
    async with browsing(replace(VIEW, receivers=troubled), store) as client:
        text = Outline((await client.get("/")).text).text
    assert 'team="payments"' in text
    assert "cometwatch silence show 1 in 2 h anna phones are moved" in text
    assert "ben looks after it since 0 s ago : calling back" in text
    assert "fine" in text
    assert "lead Slack answered 503 retrying since 5 min ago" in text
    assert "hook no connection in trouble takes nothing since 5 min ago ; it is probed" in text


async def test_a_silence_to_come_says_so() -> None:
    class Later(BrokenStore):
        def alerts(self, limit: int, status: Status | None = None) -> list[Alert]:
            return []

        def acks(self, ids: Collection[AlertId]) -> Mapping[AlertId, Ack]:
            return {}

        def silences(self, now: datetime) -> list[Silence]:
            return [replace(a_silence(), starts_at=NOW + timedelta(hours=1))]

    async with browsing(store=Later()) as client:
        assert "begins in 1 h , ends in 2 h" in Outline((await client.get("/")).text).text


# --- JSON -------------------------------------------------------------------------------------------


async def test_status_as_json() -> None:
    async with browsing() as client:
        status = (await client.get("/api/status")).json()
        users = (await client.get("/api/users", params={"uid": "anna"})).json()["users"]
        nobody = (await client.get("/api/users", params={"uid": "ben"})).json()["users"]
    assert status["ready"] is True
    assert status["users"] == 1
    assert status["blind_since"] is None
    assert status["receivers"] == [
        {
            "receiver": "ops",
            "pending": 1,
            "dead": 0,
            "oldest_at": "2026-03-01T12:00:00Z",
            "door": "closed",
            "failing_since": None,
            "reason": None,
        }
    ]
    assert [(user["uid"], user["state"], user["cursor"]) for user in users] == [("anna", "current", 1777)]
    assert nobody == []


async def test_alerts_and_outbox_as_json(store: Store) -> None:
    with store.write() as tx:
        tx.settle_dead(claimed(tx).id, NOW, "404")
    async with browsing(store=store) as client:
        alerts = (await client.get("/api/alerts", params={"limit": "1"})).json()["alerts"]
        dead = (await client.get("/api/outbox", params={"state": "dead", "receiver": "ops"})).json()[
            "entries"
        ]
        resolved = (await client.get("/api/alerts", params={"status": "resolved"})).json()["alerts"]
    assert [alert["message_ids"] for alert in alerts] == [["1"]]
    assert [(entry["state"], entry["alert"]["rule"]) for entry in dead] == [("dead", "missed-call")]
    assert resolved == []


async def test_silences_and_receivers_as_json(store: Store) -> None:
    with store.write() as tx:
        for ends_at in (NOW + timedelta(hours=1), NOW):
            tx.add_silence(
                [Matcher(label="a", value="b")], starts_at=NOW, ends_at=ends_at, author="anna", comment="c"
            )
        tx.ack(AlertId("a1"), by="ben")
    async with browsing(store=store) as client:
        now = (await client.get("/api/silences")).json()["silences"]
        ever = (await client.get("/api/silences", params={"all": "true"})).json()["silences"]
        receivers = (await client.get("/api/receivers")).json()["receivers"]
        acks = (await client.get("/api/alerts")).json()["acks"]
    assert [(one["id"], one["matchers"]) for one in now] == [
        (1, [{"label": "a", "operator": "=", "value": "b"}])
    ]
    assert {one["id"] for one in ever} == {1, 2}
    assert [(one["receiver"], one["door"]) for one in receivers] == [("ops", "closed")]
    assert {name: ack["by"] for name, ack in acks.items()} == {"a1": "ben"}


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/api/silences?all=yes", "all is true or false"),
        ("/api/alerts?limit=0", "limit is a number from 1 to 1000"),
        ("/api/alerts?limit=9999999999999999999999", "limit is a number from 1 to 1000"),
        ("/api/outbox?limit=ten", "limit is a number from 1 to 1000"),
        ("/api/alerts?status=on", "status is one of firing, resolved"),
        ("/api/outbox?state=lost", "state is one of pending, delivered, dead, dropped, suppressed"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(path: str, reason: str, store: Store) -> None:
    async with browsing(store=store) as client:
        answer = await client.get(path)
    assert (answer.status_code, answer.json()) == (400, {"error": reason})


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_what_is_shown_is_read_only(method: str) -> None:
    async with browsing() as client:
        for path in (
            "/",
            "/api/status",
            "/api/alerts",
            "/api/receivers",
            "/api/outbox",
            "/metrics",
            "/readyz",
        ):
            assert (await client.request(method, path)).status_code == 405


# --- names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1:9464", True),
        ("10.1.2.3", True),
        ("[::1]:9464", True),
        ("localhost:9464", True),
        ("a.localhost", True),
        ("status.example.net", True),
        ("STATUS.example.net.:80", True),
        ("a.ops.example.net", True),
        ("ops.example.net", False),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
async def test_only_our_names_open_the_page(host: str, ours: bool) -> None:
    hosts = ("status.example.net", "*.ops.example.net")
    assert is_ours(host, hosts) is ours
    async with browsing(hosts=hosts) as client:
        for path in ("/", "/api/users"):
            answer = await client.get(path, headers={"host": host})
            assert answer.status_code == (200 if ours else 421)
        assert (await client.get("/healthz", headers={"host": host})).status_code == 200


# --- probes and metrics -----------------------------------------------------------------------------


async def test_probes() -> None:
    blind = replace(VIEW, blind_since=NOW - timedelta(minutes=4), last_error="connect timeout")
    async with browsing(blind) as client:
        ready, alive = await client.get("/readyz"), await client.get("/healthz")
    assert (alive.status_code, ready.status_code) == (200, 503)
    assert ready.text == "can't read CometChat since 2026-03-01 11:56:00 UTC: connect timeout\n"
    async with browsing() as client:
        assert ((await client.get("/readyz")).status_code) == 200


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, []),
        ({"store_error": "the disk is full"}, ["the store takes no commits: the disk is full"]),
        ({"last_poll_at": LONG_AGO}, ["no poll was answered for 5 min: see the last error of each list"]),
        ({"last_poll_at": None}, ["no poll was answered for 2 h: see the last error of each list"]),
        ({"last_poll_at": None, "started_at": NOW}, []),
        ({"last_poll_at": None, "lists": web.Tally()}, []),
        ({"last_poll_at": LONG_AGO, "paused_until": NOW + timedelta(minutes=1)}, []),
        ({"config_error": "a typo"}, []),
        ({"discovery_error": 'cohort "vip": no answer'}, []),
        (
            {"discovery_error": 'cohort "vip": no answer', "lists": web.Tally()},
            ['nobody is watched, discovery failed: cohort "vip": no answer'],
        ),
        ({"receivers": (web.ReceiverView(receiver="ops", pending=9, dead=9, oldest_at=LONG_AGO),)}, []),
    ],
)
def test_ready_means_that_the_work_progresses(changes: dict[str, Any], reasons: list[str]) -> None:
    assert readiness(replace(VIEW, **changes), NOW) == reasons


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.44, "0.4 s"),
        (59.4, "59 s"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (90_000, "1 d 1 h"),
        (-5, "0 s"),
    ],
)
def test_spans(seconds: float, said: str) -> None:
    assert span(timedelta(seconds=seconds)) == said


async def test_metrics_for_prometheus() -> None:
    async with browsing() as client:
        plain = await client.get("/metrics")
        accept = {"accept": "application/openmetrics-text; version=1.0.0"}
        openmetrics = await client.get("/metrics", headers=accept)
    assert plain.headers["content-type"].startswith("text/plain; version=")
    assert 'cometwatch_polls_total{outcome="rows"} 0.0' in plain.text
    families = text_string_to_metric_families(openmetrics.text)  # type: ignore[no-untyped-call]
    assert "cometwatch_polls" in {family.name for family in families}
