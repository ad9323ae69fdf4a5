"""The shipped deliverer and store before an Alertmanager that forgets: what fires never ends over there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import httpx
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from monitor.delivery.backoff import TELLING
from monitor.delivery.sinks.alertmanager import AlertmanagerSink
from monitor.delivery.sinks.post import open_http
from monitor.store.values import Group, Grouping, Timing
from rules.model import Status
from tests.delivery.cases import status
from tests.delivery.house import House, a_house, alert

TEAM = Grouping(
    group=Group(key="1/x", labels={"team": "payments"}), timing=Timing(interval=timedelta(minutes=5))
)


class Forgetful:
    """Alertmanager as far as time goes: an alert under its labels, and until when it stands."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.stands: dict[tuple[tuple[str, str], ...], datetime] = {}
        self.is_down = False

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.is_down:
            raise httpx.ConnectError("down")
        for told in json.loads(request.content):
            self.stands[tuple(sorted(told["labels"].items()))] = datetime.fromisoformat(told["endsAt"])
        return await status(200)(request)

    def firing(self) -> int:
        return sum(ends_at > self._house.clock.wall() for ends_at in self.stands.values())


@pytest.fixture
async def house(autojump_clock: MockClock) -> AsyncIterator[House]:
    async with a_house() as opened:
        yield opened


async def deliver_to(house: House, server: Forgetful) -> None:
    sink = AlertmanagerSink(
        app="275211",
        urls=["http://alertmanager.example"],
        headers=dict,
        labels={},
        http=open_http(transport=httpx.MockTransport(server)),
        clock=house.clock,
    )
    await house.nursery.start(house.deliverer(sink).run)


@pytest.mark.parametrize("grouping", [None, TEAM])
async def test_what_fires_stands_until_its_end_is_told(
    house: House, grouping: Grouping | None, autojump_clock: MockClock
) -> None:
    server = Forgetful(house)
    one, two = alert(1, lasts=True), alert(2, lasts=True)
    await house.find(one, two, grouping=grouping)
    await deliver_to(house, server)
    for _ in range(60):
        await trio.sleep(30)
        assert server.firing() == 2
    await house.find(replace(one, status=Status.RESOLVED, resolution="called back"), grouping=grouping)
    await trio.sleep(310)  # by its group's next tick
    assert (server.firing(), len(server.stands)) == (1, 2)


async def test_an_event_is_over_by_itself(house: House, autojump_clock: MockClock) -> None:
    server = Forgetful(house)
    await house.find(alert(1))
    await deliver_to(house, server)
    await trio.sleep(60)
    assert server.firing() == 1
    await trio.sleep(300)
    assert server.firing() == 0


async def test_after_an_outage_it_is_told_again_soon(house: House, autojump_clock: MockClock) -> None:
    server = Forgetful(house)
    await house.find(*(alert(number, lasts=True) for number in range(200)))
    await deliver_to(house, server)
    await trio.sleep(90)
    server.is_down = True
    server.stands.clear()  # it was restarted: it keeps nothing
    await trio.sleep(1800)
    server.is_down = False
    await trio.sleep(1.3 * TELLING.total_seconds())
    assert server.firing() == 200
