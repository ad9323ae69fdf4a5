"""What a receiver shows is kept true while no news waits: updates, repeats, assertions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
import structlog.testing
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from monitor.delivery.backoff import TELLING
from monitor.delivery.outbox import POLL_S
from monitor.delivery.sinks import Delivered, Refused, RetryAfter, Settlement, Traits
from monitor.store.values import Change, Group, Grouping, Notification, Timing
from rules.model import Alert, Status
from tests.delivery.house import FAST, START, House, Spy, a_house, alert, some

FOLLOWS = Traits(people=True, follows=True)
ASSERTS = Traits(people=False, reasserts=timedelta(minutes=1))
HOURLY = Grouping(group=Group(key="1/x", labels={}), timing=Timing(repeat=timedelta(hours=1)))


@pytest.fixture
async def house(autojump_clock: MockClock) -> AsyncIterator[House]:
    async with a_house() as opened:
        yield opened


def receipts(told: Notification) -> Settlement:
    return Delivered(receipts={one.id: f"at {one.id[-1]}" for one in told.alerts})


def lasting(number: int = 1, **changes: object) -> Alert:
    return alert(number, lasts=True, **changes)


def changes(spy: Spy) -> list[Change]:
    return [told.change for told in spy.got]


async def test_who_took_it_on_is_shown_where_the_alert_stands(
    house: House, autojump_clock: MockClock
) -> None:
    spy = Spy(receipts, traits=FOLLOWS)
    await house.find(lasting())
    await house.nursery.start(house.deliverer(spy).run)
    await trio.sleep(1)
    await house.writer.submit(lambda tx: tx.ack(lasting().id, by="anna"))
    await trio.sleep(POLL_S + 1)
    told = spy.got[-1]
    assert changes(spy) == [Change.NEWS, Change.UPDATE]
    assert told.acks[lasting().id].by == "anna"
    assert told.receipts == {lasting().id: "at 1"}
    assert house.observed.standing == [("update", "delivered")]
    assert house.observed.outcomes == ["delivered"]  # of news only
    assert len(house.observed.delays_s) == 1


async def test_a_receiver_that_follows_nothing_is_spared(house: House, autojump_clock: MockClock) -> None:
    spy = Spy()
    await house.find(lasting())
    await house.nursery.start(house.deliverer(spy).run)
    await trio.sleep(1)
    await house.writer.submit(lambda tx: tx.ack(lasting().id, by="anna"))
    await trio.sleep(3600)
    assert changes(spy) == [Change.NEWS]


async def test_what_still_fires_is_repeated_each_time_under_another_id(
    house: House, autojump_clock: MockClock
) -> None:
    spy = Spy()
    await house.find(lasting(), grouping=HOURLY)
    await house.nursery.start(house.deliverer(spy, poll_s=60).run)
    await trio.sleep(2.5 * 3600)
    assert changes(spy) == [Change.NEWS, Change.REPEAT, Change.REPEAT]
    assert len(set(spy.ids)) == 3
    assert [round((at - spy.at[0]) / 3600, 1) for at in spy.at] == [0, 1, 2]


async def test_a_repeat_waits_while_a_silence_holds_it(house: House, autojump_clock: MockClock) -> None:
    spy, until = Spy(), START + timedelta(hours=3, minutes=30)

    def held_until(_: Alert) -> datetime | None:
        return until if house.clock.wall() < until else None

    await house.find(lasting(), grouping=HOURLY)
    await house.nursery.start(house.deliverer(spy, held_until=held_until, poll_s=60).run)
    await trio.sleep(3 * 3600)
    assert changes(spy) == [Change.NEWS]
    await trio.sleep(3600)
    assert changes(spy) == [Change.NEWS, Change.REPEAT]


async def test_a_machine_that_forgets_is_told_every_minute_and_after_trouble_soon(
    house: House, autojump_clock: MockClock
) -> None:
    is_down = False
    spy = Spy(lambda _: RetryAfter(reason="503") if is_down else Delivered(), traits=ASSERTS)
    await house.find(*(lasting(n) for n in range(3)))
    await house.nursery.start(house.deliverer(spy).run)
    await trio.sleep(185)
    assert changes(spy) == [Change.NEWS, *[Change.REASSERT] * 3]
    assert [len(told.alerts) for told in spy.got] == [3] * 4
    is_down, before = True, len(spy.got)
    await trio.sleep(3600)
    failed = spy.got[before:]
    assert len({told.id for told in failed}) == 1  # the same assertion until it is taken
    is_down, spy.at[:], began = False, [], trio.current_time()
    await trio.sleep(2 * TELLING.total_seconds())
    assert spy.at[0] - began <= 1.2 * TELLING.total_seconds()
    assert len(set(spy.ids[len(spy.got) - len(spy.at) :])) == len(spy.at)


async def test_what_is_refused_is_let_be_until_its_next_time(house: House, autojump_clock: MockClock) -> None:
    spy = Spy(
        lambda told: Delivered() if told.change is Change.NEWS else Refused(reason="400"), traits=ASSERTS
    )
    await house.find(lasting())
    with structlog.testing.capture_logs() as lines:
        await house.nursery.start(house.deliverer(spy).run)
        await trio.sleep(125)
    assert house.observed.standing == [("reassert", "refused")] * 2
    assert [line["reason"] for line in lines if line["event"] == "delivery.standing_refused"] == ["400"] * 2


async def test_news_goes_first(house: House, autojump_clock: MockClock) -> None:
    spy = Spy(receipts, traits=FOLLOWS)
    patient = replace(FAST, rate_per_s=1)
    await house.find(lasting())
    deliverer = house.deliverer(spy, patient)
    await house.nursery.start(deliverer.run)
    await trio.sleep(0.5)
    await house.writer.submit(lambda tx: tx.ack(lasting().id, by="anna"))
    await house.find(*(alert(number) for number in range(2, 5)))
    await trio.sleep(20)
    assert changes(spy) == [*[Change.NEWS] * 4, Change.UPDATE]


async def test_its_end_is_news_said_again_for_a_while_and_then_no_more(
    house: House, autojump_clock: MockClock
) -> None:
    spy = Spy(receipts, traits=replace(ASSERTS, follows=True))
    await house.find(lasting())
    await house.nursery.start(house.deliverer(spy).run)
    await trio.sleep(90)
    await house.find(lasting(status=Status.RESOLVED, resolution="answered"))
    await trio.sleep(3600)
    begun, asserted, *ended = spy.got
    assert (begun.change, asserted.change) == (Change.NEWS, Change.REASSERT)
    assert [one.change for one in ended] == [Change.NEWS, *[Change.REASSERT] * 3]
    assert {one.status for one in ended} == {Status.RESOLVED}
    assert ended[0].receipts == {lasting().id: "at 1"}


# --- crashes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["delivery.standing_claimed", "delivery.standing_sent"])
async def test_killed_on_the_way_it_is_told_again_under_the_same_id(
    house: House, point: str, autojump_clock: MockClock
) -> None:
    first, again = Spy(receipts, traits=FOLLOWS), Spy(receipts, traits=FOLLOWS)

    class CrashError(Exception):
        """As by SIGKILL: nothing is recorded any more."""

    def strike(reached: str) -> None:
        if reached == point:
            raise CrashError

    await house.find(lasting())
    with trio.move_on_after(1):
        await house.deliverer(first).run()
    await house.writer.submit(lambda tx: tx.ack(lasting().id, by="anna"))
    dying = Spy(receipts, traits=FOLLOWS)
    with pytest.raises(CrashError):
        await house.deliverer(dying, at=strike).run()
    await house.nursery.start(house.deliverer(again).run)
    await trio.sleep(60)
    told = [*dying.got, *again.got]
    assert {one.change for one in told} == {Change.UPDATE}
    assert len({one.id for one in told}) == 1
    assert len(told) == (2 if point == "delivery.standing_sent" else 1)


async def test_points_of_what_stands_have_names_of_their_own(house: House, autojump_clock: MockClock) -> None:
    await house.find(*(replace(one, lasts=True) for one in some(1)))
    await house.nursery.start(house.deliverer(Spy(traits=ASSERTS)).run)
    await trio.sleep(65)
    assert house.points[3:] == [
        "delivery.standing_claimed",
        "delivery.standing_sent",
        "delivery.standing_settled",
    ]
