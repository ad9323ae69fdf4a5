"""Chats that can edit: one message stands for an alert or a group, whatever happens to it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from monitor.delivery.sinks import Delivered, RetryAfter
from monitor.store.values import Change, Kind, Notification
from rules.model import AlertId, Status
from tests.delivery.cases import ACK, notifications
from tests.delivery.chats import DiscordRoom, TelegramRoom, answered
from tests.delivery.samples import a_notification, an_alert

TOLD = notifications()
ROOMS = [DiscordRoom, TelegramRoom]


@pytest.fixture(params=ROOMS, ids=lambda make: make.name)
def room(request: pytest.FixtureRequest) -> Any:
    return request.param()


async def told(room: Any, notification: Notification, **changes: Any) -> Delivered:
    settlement = await room.sink().send(replace(notification, **changes))
    assert isinstance(settlement, Delivered), settlement
    return settlement


def over(**changes: Any) -> Notification:
    alert = an_alert(status=Status.RESOLVED, resolution="called back")
    return a_notification(alert, **changes)


async def test_what_begins_is_one_message_and_its_receipt(room: Any) -> None:
    settlement = await told(room, a_notification())
    assert room.log == ["post 100001"]
    assert settlement.receipts == {an_alert().id: room.receipt("100001")}
    assert "Missed call from Captain America" in room.messages["100001"]


async def test_the_end_is_shown_where_the_beginning_stands_and_said_below(room: Any) -> None:
    first = await told(room, a_notification())
    last = await told(room, over(receipts=first.receipts))
    assert room.log == ["post 100001", "edit 100001", "post 100002"]
    assert last.receipts == first.receipts
    for number in ("100001", "100002"):
        assert "RESOLVED" in room.messages[number]
        assert "called back" in room.messages[number]
    assert "Captain America (superhero2) called Spiderman" in room.messages["100001"]
    assert room.quiet == set()


async def test_an_end_whose_beginning_is_not_known_is_told_whole(room: Any) -> None:
    await told(room, over())
    assert room.log == ["post 100001"]
    assert "called back" in room.messages["100001"]


async def test_an_acknowledgement_is_shown_without_a_message(room: Any) -> None:
    first = await told(room, a_notification())
    again = await told(
        room, a_notification(), change=Change.UPDATE, receipts=first.receipts, acks={an_alert().id: ACK}
    )
    assert room.log == ["post 100001", "edit 100001"]
    assert again.receipts == first.receipts
    assert "ada has it" in room.messages["100001"]
    assert "on it" in room.messages["100001"]


async def test_the_same_change_told_twice_changes_nothing(room: Any) -> None:
    first = await told(room, a_notification())
    for _ in range(2):
        update = a_notification(change=Change.UPDATE, receipts=first.receipts)
        assert (await told(room, update)).receipts == first.receipts
    assert list(room.messages) == ["100001"]


async def test_a_change_of_what_was_never_shown_comes_without_a_sound(room: Any) -> None:
    settlement = await told(room, a_notification(change=Change.UPDATE))
    assert room.quiet == {"100001"}
    assert settlement.receipts == {an_alert().id: room.receipt("100001")}


async def test_a_message_that_somebody_deleted_is_not_brought_back_by_a_change(room: Any) -> None:
    first = await told(room, a_notification())
    room.delete("100001")
    again = await told(room, a_notification(), change=Change.UPDATE, receipts=first.receipts)
    assert room.messages == {}
    assert again.receipts == first.receipts


async def test_but_the_end_is_told_whole_then(room: Any) -> None:
    first = await told(room, a_notification())
    room.delete("100001")
    await told(room, over(receipts=first.receipts))
    assert list(room.messages) == ["100002"]
    assert "Captain America (superhero2) called Spiderman" in room.messages["100002"]


async def test_that_it_still_fires_is_said_below(room: Any) -> None:
    first = await told(room, a_notification())
    again = await told(room, a_notification(), change=Change.REPEAT, receipts=first.receipts)
    assert room.log == ["post 100001", "post 100002"]
    assert again.receipts == first.receipts
    assert "Still firing" in room.messages["100002"]
    assert room.quiet == set()


async def test_a_repeat_of_what_was_never_shown_is_told_whole_and_stands(room: Any) -> None:
    settlement = await told(room, a_notification(change=Change.REPEAT))
    assert settlement.receipts == {an_alert().id: room.receipt("100001")}
    assert "Spiderman" in room.messages["100001"]


def lasting(group: Notification) -> Notification:
    """The group as one of conditions."""
    alerts, others = ([replace(a, lasts=True) for a in some] for some in (group.alerts, group.others))
    return replace(group, alerts=tuple(alerts), others=tuple(others))


async def test_events_of_a_group_are_not_written_over(room: Any) -> None:
    group = TOLD["group"]
    first = await told(room, group)
    again = await told(room, replace(group, alerts=group.others, others=(), receipts=first.receipts))
    assert room.log == ["post 100001", "post 100002"]
    assert "Captain America sent another" in room.messages["100002"]
    assert list(again.receipts.values()) == [room.receipt("100002")]


async def test_a_group_is_one_message_with_its_news_below(room: Any) -> None:
    group = lasting(TOLD["group"])
    assert group.opened
    first = await told(room, group)
    assert first.receipts == {group.opened.subject: room.receipt("100001")}
    second = replace(group, alerts=group.others, others=group.alerts, receipts=first.receipts)
    await told(room, second)
    assert room.log == ["post 100001", "edit 100001", "post 100002"]
    assert "Captain America sent another" in room.messages["100002"]
    assert "Captain America sent an image" not in room.messages["100002"]
    for title in ("Captain America sent another", "Captain America sent an image"):
        assert title in room.messages["100001"]


async def test_a_group_whose_message_is_gone_stands_in_a_new_one(room: Any) -> None:
    group = TOLD["group"]
    assert group.opened
    first = await told(room, group)
    room.delete("100001")
    again = await told(room, group, receipts=first.receipts)
    assert again.receipts == {group.opened.subject: room.receipt("100002")}
    assert "Captain America sent another" in room.messages["100002"]


async def test_several_alerts_in_one_message_stand_in_none(room: Any) -> None:
    settlement = await told(room, TOLD["several"])
    assert settlement.receipts == {}
    assert room.log == ["post 100001"]


@pytest.mark.parametrize("kind", [Kind.SUMMARY, Kind.DIGEST])
async def test_a_sum_stands_for_nothing_and_touches_nothing(room: Any, kind: Kind) -> None:
    first = await told(room, a_notification())
    summary = await told(room, over(kind=kind, receipts=first.receipts))
    assert room.log == ["post 100001", "post 100002"]
    assert summary.receipts == {}
    assert "cometwatch outbox list --receiver oncall" in room.messages["100002"]


async def test_the_end_of_a_summed_alert_is_shown_by_a_change(room: Any) -> None:
    first = await told(room, a_notification())
    await told(room, over(receipts=first.receipts), change=Change.UPDATE)
    assert room.log == ["post 100001", "edit 100001"]
    assert "called back" in room.messages["100001"]


async def test_of_several_each_is_edited_where_it_stands(room: Any) -> None:
    one, two = an_alert(), an_alert(id=AlertId("b" * 32), title="Another")
    receipts = {
        alert.id: (await told(room, a_notification(alert))).receipts[alert.id] for alert in (one, two)
    }
    room.log.clear()
    ended = [replace(alert, status=Status.RESOLVED, resolution="over") for alert in (one, two)]
    last = await told(room, a_notification(*ended, receipts=receipts))
    assert room.log == ["edit 100001", "edit 100002", "post 100003"]
    assert last.receipts == receipts
    assert "Another" not in room.messages["100001"]
    assert "Another" in room.messages["100002"]


@pytest.mark.parametrize("receipt", ["C1/1700000000.000100", "../../../x", "", "1/2/3"])
async def test_a_receipt_of_another_service_is_no_message_of_ours(room: Any, receipt: str) -> None:
    await told(room, over(receipts={an_alert().id: receipt}))
    assert room.log == ["post 100001"]


@pytest.mark.parametrize("what", ["PATCH", "POST"])
async def test_after_a_failure_all_is_done_again_and_the_message_is_the_same(room: Any, what: str) -> None:
    first = await told(room, a_notification())
    answers = iter([answered(503, {})])
    room.fail = lambda asked: next(answers, None) if asked == what else None
    ended = over(receipts=first.receipts)
    assert isinstance(await room.sink().send(ended), RetryAfter)
    await told(room, ended)
    assert list(room.messages) == ["100001", "100002"]
    assert "RESOLVED" in room.messages["100001"]


async def test_what_is_found_fault_with_is_told_in_a_line(room: Any) -> None:
    said = {
        "discord": {"code": 50035, "message": "Invalid Form Body"},
        "telegram": {"ok": False, "description": "Bad Request: can't parse entities: …"},
    }
    faults = iter([answered(400, said[room.name])])
    room.fail = lambda _asked: next(faults, None)
    settlement = await told(room, a_notification())
    assert settlement.receipts == {an_alert().id: room.receipt("100001")}
    assert "Missed call from Captain America" in room.messages["100001"]
    assert "superhero2_user_superhero3</code>" not in room.messages["100001"]


@pytest.mark.parametrize("what", sorted(TOLD))
async def test_nothing_that_may_be_told_is_refused_or_simplified(room: Any, what: str) -> None:
    asked: list[str] = []
    room.fail = asked.append
    await told(room, replace(TOLD[what], receipts={}))
    assert len(room.messages) == len(asked) == 1


async def test_a_telegram_group_that_moved_is_followed() -> None:
    room = TelegramRoom()
    first = await told(room, a_notification())
    room.chat = -100999
    moved = await told(room, over(receipts=first.receipts))
    assert moved.warning == "the group has a new number: set chat_id to -100999"
    assert moved.receipts == {an_alert().id: "-100999/100002"}


async def test_a_telegram_answer_stands_below_the_message() -> None:
    room = TelegramRoom()
    first = await told(room, a_notification())
    await told(room, over(receipts=first.receipts))
    assert room.answers == {"100002": "100001"}
