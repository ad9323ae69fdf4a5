"""Whole stories in a channel: the shipped deliverer and store, and chats that keep their messages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from monitor.delivery.outbox import POLL_S
from monitor.store.values import EntryState, Group, Grouping, Timing
from rules.model import Alert, Status
from tests.delivery.chats import DiscordRoom, TelegramRoom, answered
from tests.delivery.house import House, a_house, alert, some

HOURLY = Grouping(group=Group(key="1/x", labels={}), timing=Timing(repeat=timedelta(hours=1)))
TEAM = Grouping(
    group=Group(key='1/{team="payments"}', labels={"team": "payments"}),
    timing=Timing(wait=timedelta(seconds=30), interval=timedelta(minutes=5)),
)


@pytest.fixture(params=[DiscordRoom, TelegramRoom], ids=lambda make: make.name)
def room(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture
async def house(autojump_clock: MockClock) -> AsyncIterator[House]:
    async with a_house() as opened:
        yield opened


def lasting(number: int = 1, **changes: object) -> Alert:
    return alert(number, lasts=True, **changes)


def ended(one: Alert) -> Alert:
    return replace(one, status=Status.RESOLVED, resolution="called back")


async def test_an_alert_is_one_message_from_its_beginning_to_its_end(
    house: House, room: Any, autojump_clock: MockClock
) -> None:
    await house.find(lasting(), grouping=HOURLY)
    await house.nursery.start(house.deliverer(room.sink()).run)
    await trio.sleep(10)
    await house.writer.submit(lambda tx: tx.ack(lasting().id, by="anna"))
    await trio.sleep(2 * 3600)  # acknowledged: it is not repeated
    assert room.log == ["post 100001", "edit 100001"]
    assert "anna has it" in room.messages["100001"]
    await house.find(ended(lasting()), grouping=HOURLY)
    await trio.sleep(10 * POLL_S)
    assert room.log[2:] == ["edit 100001", "post 100002"]
    assert all("RESOLVED" in shown and "called back" in shown for shown in room.messages.values())


async def test_what_nobody_takes_on_is_repeated_below(
    house: House, room: Any, autojump_clock: MockClock
) -> None:
    await house.find(lasting(), grouping=HOURLY)
    await house.nursery.start(house.deliverer(room.sink(), poll_s=60).run)
    await trio.sleep(2.5 * 3600)
    assert room.log == ["post 100001", "post 100002", "post 100003"]
    assert "Still firing" in room.messages["100003"]


async def test_a_group_is_one_message_and_its_news_come_below(
    house: House, room: Any, autojump_clock: MockClock
) -> None:
    await house.find(lasting(1, title="First"), lasting(2, title="Second"), grouping=TEAM)
    await house.nursery.start(house.deliverer(room.sink()).run)
    await trio.sleep(60)
    assert room.log == ["post 100001"]
    await house.find(lasting(3, title="Third"), grouping=TEAM)
    await trio.sleep(600)
    assert room.log == ["post 100001", "edit 100001", "post 100002"]
    assert all(title in room.messages["100001"] for title in ("First", "Second", "Third"))
    assert "Third" in room.messages["100002"]
    assert "Second" not in room.messages["100002"]
    for number, title in enumerate(("First", "Second", "Third"), 1):
        await house.find(ended(lasting(number, title=title)), grouping=TEAM)
    await trio.sleep(600)
    assert room.log[3:] == ["edit 100001", "post 100003"]
    assert "RESOLVED" in room.messages["100001"]


async def test_ends_that_were_summed_are_shown_where_the_beginnings_stand(
    house: House, room: Any, autojump_clock: MockClock
) -> None:
    """Fewer than make a sum begin, one after the other; more than that end at once."""
    for begun in (some(8), [alert(n) for n in range(8, 16)]):
        await house.find(*(replace(one, lasts=True) for one in begun))
        if not room.log:
            await house.nursery.start(house.deliverer(room.sink()).run)
        await trio.sleep(30)
    assert len(room.messages) == 16
    await house.find(*(ended(lasting(n)) for n in range(16)))
    await trio.sleep(600)
    *stood, told = room.messages.values()
    assert len(stood) == 16
    assert all("RESOLVED" in shown for shown in stood)
    assert "16 alerts" in told


async def test_an_answer_that_is_lost_costs_at_most_one_message_more(
    house: House, room: Any, autojump_clock: MockClock
) -> None:
    """The first post is taken, but its answer does not come: nobody can know, so it is posted again."""
    sink, lost = room.sink(), [True]

    def lose(what: str) -> Any:
        if what == "POST" and lost:
            lost.clear()
            room.messages["99999"] = "the one whose answer was lost"
            return answered(502, {})
        return None

    room.fail = lose
    await house.find(lasting())
    await house.nursery.start(house.deliverer(sink).run)
    await trio.sleep(120)
    await house.find(ended(lasting()))
    await trio.sleep(120)
    assert list(room.messages) == ["99999", "100001", "100002"]
    assert "RESOLVED" in room.messages["100001"]
    assert set(house.states()) == {EntryState.DELIVERED}
