"""What we send, taken by the real Alertmanager: kept, grouped, notified of, resolved."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from hypothesis import HealthCheck, given, settings

from monitor.clock import Clock
from monitor.delivery.render import alertmanager as render
from monitor.delivery.sinks import Delivered, RetryAfter
from monitor.delivery.sinks.alertmanager import AlertmanagerSink
from monitor.delivery.sinks.post import open_http
from monitor.store.values import Change, Kind, Notification
from rules.model import Alert, AlertId, Status
from tests.alertmanager_sink.server import (
    PEER_TIMEOUT_S,
    Alertmanager,
    alertmanager,
    binary,
    free_port,
    inbox,
    until,
)
from tests.delivery.samples import a_notification, an_alert, notifications

pytestmark = pytest.mark.skipif(
    binary() is None, reason="Alertmanager is not here: .ci/alertmanager fetches it"
)

ONE, TWO = AlertId("1" * 32), AlertId("2" * 32)


def approximately(at: datetime) -> datetime:
    """As Alertmanager shows times: in milliseconds."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with open_http() as opened:
        yield opened


def a_sink(http: httpx.AsyncClient, *urls: str) -> AlertmanagerSink:
    return AlertmanagerSink(
        app="275211", urls=urls, headers=dict, labels={"source": "chat"}, http=http, clock=Clock()
    )


def news(*alerts: Alert, **changes: Any) -> Notification:
    return a_notification(*alerts, **{"created_at": datetime.now(UTC), **changes})


def lasting(number: AlertId, **changes: Any) -> Alert:
    now = datetime.now(UTC)
    return an_alert(**{"id": number, "lasts": True, "event_at": now, "first_seen_at": now, **changes})


def over(alert: Alert) -> Alert:
    return an_alert(
        id=alert.id,
        event_at=alert.event_at,
        first_seen_at=alert.first_seen_at,
        status=Status.RESOLVED,
        resolution="called back",
    )


async def test_an_alert_is_kept_notified_of_and_resolved(tmp_path: Path, http: httpx.AsyncClient) -> None:
    async with inbox() as hook, alertmanager(tmp_path, hook.url) as server:
        sink, alert = a_sink(http, server.url), lasting(ONE)
        delivered = await sink.send(news(alert))
        assert delivered == Delivered(receipts={ONE: render.PROMPT})
        await until(lambda: hook.alerts("firing") == [ONE])
        (shown,) = await server.alerts()
        assert shown["labels"] == {
            "alertname": "missed-call",
            "severity": "warning",
            "alert_id": ONE,
            "app": "275211",
            "source": "chat",
            "team": "payments",
        }
        assert shown["annotations"]["summary"] == "Missed call from Captain America"
        assert shown["annotations"]["call"].startswith("audio call, unanswered: Captain America")
        assert shown["generatorURL"] == "https://support.example/superhero2_user_superhero3"

        await sink.send(news(over(alert), receipts=delivered.receipts))
        await until(lambda: hook.alerts("resolved") == [ONE])
        assert await server.ids() == []


async def test_after_its_restart_it_is_told_again_and_of_the_end_too(
    tmp_path: Path, http: httpx.AsyncClient
) -> None:
    port = free_port()
    async with inbox() as hook:
        alert = lasting(ONE)
        sink = a_sink(http, f"http://127.0.0.1:{port}/")
        async with alertmanager(tmp_path / "before", hook.url, port=port):
            await sink.send(news(alert))
            await until(lambda: hook.alerts("firing") == [ONE])
        assert isinstance(await sink.send(news(alert, change=Change.REASSERT)), RetryAfter)
        async with alertmanager(tmp_path / "after", hook.url, port=port) as server:
            assert await server.ids() == []  # it has forgotten
            assert isinstance(await sink.send(news(alert, change=Change.REASSERT)), Delivered)
            assert await server.ids() == [ONE]
            await until(lambda: hook.alerts("firing") == [ONE, ONE])
            await sink.send(news(over(alert)))
            await until(lambda: hook.alerts("resolved") == [ONE])


async def test_told_again_and_again_it_notifies_once(tmp_path: Path, http: httpx.AsyncClient) -> None:
    async with inbox() as hook, alertmanager(tmp_path, hook.url) as server:
        sink, alert = a_sink(http, server.url), lasting(ONE)
        for _ in range(5):
            await sink.send(news(alert, change=Change.REASSERT))
        await sink.send(news(lasting(TWO)))
        await until(lambda: TWO in hook.alerts("firing"))
        assert hook.alerts("firing").count(ONE) == 1
        shown = {alert["labels"]["alert_id"]: alert for alert in await server.alerts()}
        assert datetime.fromisoformat(shown[ONE]["startsAt"]) == approximately(alert.event_at)


async def test_an_end_that_is_told_twice_is_notified_of_once(tmp_path: Path, http: httpx.AsyncClient) -> None:
    async with inbox() as hook, alertmanager(tmp_path, hook.url) as server:
        sink, alert = a_sink(http, server.url), lasting(ONE)
        await sink.send(news(alert))
        await until(lambda: hook.alerts("firing") == [ONE])
        for _ in range(3):
            await sink.send(news(over(alert)))
            await until(lambda: hook.alerts("resolved") == [ONE])
        await sink.send(news(lasting(TWO)))
        await until(lambda: TWO in hook.alerts("firing"))
        assert hook.alerts("resolved") == [ONE]


async def test_old_news_ends_under_the_labels_it_began_with(tmp_path: Path, http: httpx.AsyncClient) -> None:
    async with inbox() as hook, alertmanager(tmp_path, hook.url) as server:
        sink, alert = a_sink(http, server.url), lasting(ONE)
        begun = await sink.send(news(alert, kind=Kind.DIGEST))
        assert isinstance(begun, Delivered)
        await until(lambda: hook.alerts("firing") == [ONE])
        assert (await server.alerts())[0]["labels"]["late"] == "true"
        await sink.send(news(over(alert), receipts=begun.receipts))
        await until(lambda: hook.alerts("resolved") == [ONE])
        assert await server.ids() == []


async def test_an_instance_that_is_down_does_not_stop_the_others(
    tmp_path: Path, http: httpx.AsyncClient
) -> None:
    async with AsyncExitStack() as stack:
        hook = await stack.enter_async_context(inbox())
        first, second = [
            await stack.enter_async_context(alertmanager(tmp_path / name, hook.url)) for name in ("a", "b")
        ]
        down = f"http://127.0.0.1:{free_port()}"
        settlement = await a_sink(http, first.url, down, second.url).send(news(lasting(ONE)))
        assert settlement == Delivered(
            receipts={ONE: render.PROMPT}, warning="instance 2 of 3: no connection (ECONNREFUSED)"
        )
        assert [await server.ids() for server in (first, second)] == [[ONE], [ONE]]


async def test_a_cluster_that_is_told_whole_notifies_once(tmp_path: Path, http: httpx.AsyncClient) -> None:
    async with AsyncExitStack() as stack:
        hook = await stack.enter_async_context(inbox())
        ports = free_port(), free_port()
        cluster: list[Alertmanager] = [
            await stack.enter_async_context(
                alertmanager(tmp_path / str(port), hook.url, cluster=port, peer=peer)
            )
            for port, peer in [ports, ports[::-1]]
        ]
        sink, alert = a_sink(http, *(server.url for server in cluster)), lasting(ONE)
        for server in cluster:
            await until(partial(_is_whole, server))
        await sink.send(news(alert))
        await until(lambda: hook.alerts("firing"))
        await trio.sleep(2 * PEER_TIMEOUT_S)  # the second has looked whether the first did it
        await sink.send(news(over(alert)))
        await until(lambda: hook.alerts("resolved"))
        await trio.sleep(2 * PEER_TIMEOUT_S)
        assert (hook.alerts("firing"), hook.alerts("resolved")) == ([ONE], [ONE])


async def _is_whole(server: Alertmanager) -> bool:
    return await server.peers() == 2


async def test_a_watchdog_fires_until_nobody_tells_of_it(tmp_path: Path, http: httpx.AsyncClient) -> None:
    async with inbox() as hook, alertmanager(tmp_path, hook.url) as server:
        stands = timedelta(seconds=1)
        told = render.watchdog(app="275211", labels={}, now=datetime.now(UTC), stands=stands)
        assert await a_sink(http, server.url).assert_all(told) == Delivered()
        (shown,) = await server.alerts()
        assert shown["labels"]["alertname"] == "CometwatchWatchdog"
        await until(lambda: [got["status"] for got in hook.got] == ["firing", "resolved"])


def test_it_takes_whatever_a_chat_can_hold(tmp_path: Path) -> None:
    @settings(max_examples=15, suppress_health_check=list(HealthCheck))
    @given(notifications)
    def collect(notification: Notification) -> None:
        examples.append(notification)

    async def send_all(told: Sequence[Notification]) -> None:
        async with inbox() as hook, alertmanager(tmp_path, hook.url) as server, open_http() as http:
            sink = a_sink(http, server.url)
            for notification in told:
                assert isinstance(await sink.send(notification), Delivered)

    examples: list[Notification] = []
    collect()
    trio.run(send_all, examples)
