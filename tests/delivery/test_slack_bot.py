"""Slack by bot token, on a simulated workspace: one message for an alert, whatever happens to the answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from monitor.clock import virtual
from monitor.delivery.outbox import attempt
from monitor.delivery.sinks import Delivered, Refused, RetryAfter, Settlement
from monitor.delivery.sinks.post import open_http
from monitor.delivery.sinks.slack_bot import LAST_LOOKS, PATIENCE, SlackBotSink
from monitor.delivery.sinks.slack_web import PAGE, Place
from monitor.delivery.values import Receiver
from monitor.store.values import (
    Ack,
    Change,
    Group,
    Kind,
    Notification,
    NotificationId,
    Opened,
    Timing,
)
from rules.model import Alert, AlertId, Severity, Status
from tests.delivery.samples import a_notification, an_alert
from tests.delivery.slack_api import AMBIGUOUS, CHANNEL, LATE_S, TOKEN, Fault, SlackApi

START = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
ONCALL = Receiver(name="oncall", timeout_s=10)
OVER = {"status": Status.RESOLVED, "resolution": "answered on another device"}


class Desk:
    """The sink on a workspace; what was told is remembered as the store would."""

    def __init__(self, **workspace: Any) -> None:
        clock = virtual(START)
        self.slack = SlackApi(clock, **workspace)
        self.receipts: Mapping[str, str] = {}
        self.sink = SlackBotSink(
            token=lambda: TOKEN,
            channel=CHANNEL,
            url="https://slack.example/api",
            http=open_http(transport=httpx.MockTransport(self.slack)),
            clock=clock,
        )

    async def send(self, notification: Notification) -> Settlement:
        settlement = await attempt(self.sink, ONCALL, replace(notification, receipts=self.receipts))
        if isinstance(settlement, Delivered):
            self.receipts = {**self.receipts, **settlement.receipts}
        return settlement

    async def insist(self, notification: Notification) -> Settlement:
        """Send, and again as the schedule would, until it is settled."""
        settlement = await self.send(notification)
        while isinstance(settlement, RetryAfter):
            await trio.sleep(15)
            notification = replace(notification, attempts=notification.attempts + 1)
            settlement = await self.send(notification)
        return settlement


def told(*alerts: Alert, number: int = 0, **changes: Any) -> Notification:
    """Notification `number`, made when the workspace's clock began."""
    facts = {"id": NotificationId(f"{number:032x}"), "created_at": START}
    return a_notification(*alerts, **{**facts, **changes})


def the_group(number: int, *alerts: Alert, others: tuple[Alert, ...] = (), **changes: Any) -> Notification:
    group = Group(key='1.0/{team="payments"}', labels={"team": "payments"})
    opened = Opened(receiver="oncall", group=group, timing=Timing(), subject="g" * 32, anchor_at=START)
    return told(*alerts, number=number, kind=Kind.GROUP, opened=opened, others=others, **changes)


def alert(number: int, **changes: Any) -> Alert:
    return an_alert(**{"id": AlertId(f"{number:032x}"), "title": f"Missed call {number}", **changes})


def only_first(fault: Fault, method: str = "chat.postMessage") -> Any:
    """This fault for the first request of the method, then none."""
    faults: Iterator[Fault] = iter([fault])
    return lambda called, _: next(faults, Fault.NONE) if called == method else Fault.NONE


# --- one message that follows its alert -------------------------------------------------------------


async def test_a_beginning_is_posted_once_and_tells_where_it_stands(autojump_clock: MockClock) -> None:
    desk = Desk()
    settlement = await desk.send(told(alert(1)))
    (message,) = desk.slack.roots()
    assert message.title == "🟠 WARNING: Missed call 1"
    assert settlement == Delivered(receipts={alert(1).id: f"{CHANNEL}/{message.ts}"})
    assert message.mark == {"notification": f"{0:032x}", "subject": alert(1).id, "receiver": "oncall"}
    assert [method for method, _ in desk.slack.calls] == ["chat.postMessage"]


async def test_an_end_edits_the_message_and_is_said_below_it(autojump_clock: MockClock) -> None:
    desk = Desk()
    await desk.send(told(alert(1)))
    assert isinstance(await desk.send(told(alert(1, **OVER), number=1)), Delivered)
    (message,) = desk.slack.roots()
    (reply,) = desk.slack.thread(message)
    assert message.title == "✅ RESOLVED: Missed call 1"
    assert "answered on another device" in reply.text
    assert not reply.is_broadcast


async def test_an_acknowledgement_is_shown_and_disturbs_nobody(autojump_clock: MockClock) -> None:
    desk = Desk()
    await desk.send(told(alert(1)))
    ack = Ack(alert=alert(1).id, by="ann", at=START, comment="calling back")
    await desk.send(told(alert(1), number=1, change=Change.UPDATE, acks={ack.alert: ack}))
    (message,) = desk.slack.roots()
    assert "👀 ann has it, since 2026-11-22 08:00:00 UTC: calling back" in str(message.blocks)
    assert desk.slack.thread(message) == []


async def test_a_repetition_is_shown_in_the_channel_too_and_only_once(autojump_clock: MockClock) -> None:
    desk = Desk()
    await desk.send(told(alert(1)))
    again = told(alert(1), number=1, change=Change.REPEAT)
    await desk.send(again)
    await desk.send(again)  # as after a crash that left no trace of the first
    (message,) = desk.slack.roots()
    (reply,) = desk.slack.thread(message)
    assert reply.is_broadcast
    assert reply.text.startswith("🔁 Still firing: 🟠 WARNING: Missed call 1")
    assert message.title == "🟠 WARNING: Missed call 1"


async def test_a_group_is_one_message_and_what_is_new_is_said_below(autojump_clock: MockClock) -> None:
    desk = Desk()
    first, second = alert(1, lasts=True), alert(2, lasts=True, severity=Severity.CRITICAL)
    await desk.send(the_group(0, first))
    await desk.send(the_group(1, second, others=(first,)))
    (message,) = desk.slack.roots()
    (reply,) = desk.slack.thread(message)
    assert message.title == "🔴 CRITICAL: 2 alerts · team=payments"
    assert reply.is_broadcast
    assert "Missed call 2" in str(reply.blocks)
    assert "Missed call 1" not in str(reply.blocks)


@pytest.mark.parametrize("fault", sorted({Fault.NONE, *AMBIGUOUS}))
async def test_events_of_a_group_are_not_written_over(fault: Fault, autojump_clock: MockClock) -> None:
    desk = Desk()
    await desk.send(the_group(0, alert(1)))
    desk.slack.plan = only_first(fault)
    assert isinstance(await desk.insist(the_group(1, alert(2))), Delivered)
    await trio.sleep(LATE_S)
    assert [alert(1).title in str(root.blocks) for root in desk.slack.roots()] == [True, False]
    assert [alert(2).title in str(root.blocks) for root in desk.slack.roots()] == [False, True]
    await desk.send(the_group(2, alert(2, **OVER), status=Status.RESOLVED))
    assert [root.title.startswith("✅") for root in desk.slack.roots()] == [False, True]


async def test_a_group_whose_first_message_is_in_doubt_is_looked_for_by_the_next(
    autojump_clock: MockClock,
) -> None:
    desk = Desk(plan=only_first(Fault.TAKEN))
    first, second = alert(1, lasts=True), alert(2, lasts=True)
    assert isinstance(await desk.send(the_group(0, first)), RetryAfter)
    await desk.send(the_group(1, second, others=(first,), is_in_doubt=True))
    await desk.send(the_group(0, first, others=(second,), attempts=1))
    (message,) = desk.slack.roots()
    (reply,) = desk.slack.thread(message)
    assert "Missed call 2" in str(reply.blocks)


async def test_the_end_of_a_group_is_quiet(autojump_clock: MockClock) -> None:
    desk = Desk()
    await desk.send(the_group(0, alert(1), alert(2)))
    await desk.send(the_group(1, alert(1, **OVER), alert(2, **OVER), status=Status.RESOLVED))
    (message,) = desk.slack.roots()
    (reply,) = desk.slack.thread(message)
    assert message.title == "✅ RESOLVED: 2 alerts · team=payments"
    assert not reply.is_broadcast


async def test_a_sum_leaves_no_receipts(autojump_clock: MockClock) -> None:
    desk = Desk()
    assert await desk.send(told(alert(1), alert(2), kind=Kind.SUMMARY)) == Delivered()
    assert len(desk.slack.roots()) == 1


async def test_each_of_several_alerts_has_a_message(autojump_clock: MockClock) -> None:
    desk = Desk()
    await desk.send(told(alert(1), alert(2)))
    assert [len(desk.slack.about(alert(number).id)) for number in (1, 2)] == [1, 1]


# --- answers that get lost --------------------------------------------------------------------------


@pytest.mark.parametrize("fault", sorted({*AMBIGUOUS, Fault.NOT_ARRIVED, Fault.ERROR, Fault.LIMITED}))
async def test_whatever_becomes_of_an_answer_there_is_one_message(
    fault: Fault, autojump_clock: MockClock
) -> None:
    desk = Desk(plan=only_first(fault))
    assert isinstance(await desk.insist(told(alert(1))), Delivered)
    await trio.sleep(LATE_S)
    (message,) = desk.slack.about(alert(1).id)
    assert desk.receipts == {alert(1).id: f"{CHANNEL}/{message.ts}"}


@pytest.mark.parametrize("fault", sorted(AMBIGUOUS))
async def test_whatever_becomes_of_an_answer_there_is_one_reply(
    fault: Fault, autojump_clock: MockClock
) -> None:
    desk = Desk()
    first, second = alert(1, lasts=True), alert(2, lasts=True)
    await desk.send(the_group(0, first))
    desk.slack.plan = only_first(fault)
    assert isinstance(await desk.insist(the_group(1, second, others=(first,))), Delivered)
    await trio.sleep(LATE_S)
    (message,) = desk.slack.roots()
    assert len(desk.slack.thread(message)) == 1


@pytest.mark.parametrize("fault", sorted(AMBIGUOUS))
async def test_an_edit_may_be_done_twice(fault: Fault, autojump_clock: MockClock) -> None:
    desk = Desk()
    await desk.send(told(alert(1)))
    desk.slack.plan = only_first(fault, "chat.update")
    assert isinstance(await desk.insist(told(alert(1, **OVER), number=1)), Delivered)
    (message,) = desk.slack.roots()
    assert message.title.startswith("✅")
    assert len(desk.slack.thread(message)) == 1


async def test_among_many_messages_of_others_ours_is_found(autojump_clock: MockClock) -> None:
    desk = Desk(plan=only_first(Fault.TAKEN), is_limited=False)
    assert isinstance(await desk.send(told(alert(1))), RetryAfter)
    for number in range(2 * PAGE):
        await desk.send(told(alert(2), number=number + 7, kind=Kind.SUMMARY))
    assert isinstance(await desk.send(replace(told(alert(1)), attempts=1)), Delivered)
    assert len(desk.slack.about(alert(1).id)) == 1
    assert desk.slack.counted("conversations.history") == 3


async def test_what_stands_in_the_channel_for_another_receiver_is_not_ours(autojump_clock: MockClock) -> None:
    desk = Desk()
    await desk.send(told(alert(1), receiver="lead"))
    desk.receipts = {}
    await desk.send(replace(told(alert(1), number=1), attempts=1))
    assert len(desk.slack.about(alert(1).id)) == 2


async def test_an_end_finds_the_beginning_whose_answer_was_never_heard(autojump_clock: MockClock) -> None:
    desk = Desk(plan=only_first(Fault.TAKEN))
    await desk.send(told(alert(1)))
    await desk.send(told(alert(1, **OVER), number=1))
    (message,) = desk.slack.about(alert(1).id)
    assert message.title.startswith("✅")


async def test_an_acknowledgement_of_what_is_nowhere_shown_is_nothing(autojump_clock: MockClock) -> None:
    desk = Desk()
    assert await desk.send(told(alert(1), change=Change.UPDATE)) == Delivered()
    assert desk.slack.roots() == []


async def test_where_the_channel_cannot_be_searched_the_alert_comes_all_the_same(
    autojump_clock: MockClock,
) -> None:
    desk = Desk(plan=only_first(Fault.LOST), scopes=frozenset({"chat:write"}))
    settlement = await desk.insist(told(alert(1)))
    assert isinstance(settlement, Delivered)
    assert settlement.warning == (
        "it may be there twice, as what was posted can't be looked for: Slack answered missing_scope: "
        "the app lacks channels:history; add it in the app's settings and install the app again"
    )
    assert len(desk.slack.about(alert(1).id)) == 1


async def test_a_search_that_fails_for_long_does_not_keep_an_alert_from_people(
    autojump_clock: MockClock,
) -> None:
    def plan(method: str, _: Mapping[str, Any]) -> Fault:
        is_first = method == "chat.postMessage" and not desk.slack.calls
        return Fault.ERROR if is_first or method == "conversations.history" else Fault.NONE

    desk = Desk(plan=plan)
    settlement = await desk.insist(told(alert(1)))
    assert isinstance(settlement, Delivered)
    assert settlement.warning
    assert desk.slack.counted("conversations.history") == PATIENCE - 1 + LAST_LOOKS
    assert len(desk.slack.about(alert(1).id)) == 1


async def test_an_end_waits_until_the_thread_can_be_searched(autojump_clock: MockClock) -> None:
    desk = Desk()
    await desk.send(told(alert(1)))
    desk.slack.plan = lambda method, _: Fault.ERROR if method == "conversations.replies" else Fault.NONE
    over = told(alert(1, **OVER), number=1, attempts=PATIENCE + 10)
    assert await desk.send(over) == RetryAfter(reason="Slack answered 500")
    (message,) = desk.slack.roots()
    assert message.title.startswith("✅")


# --- what people do in the meantime -----------------------------------------------------------------


async def test_news_of_a_deleted_message_are_posted_anew(autojump_clock: MockClock) -> None:
    desk = Desk()
    await desk.send(told(alert(1)))
    desk.slack.messages.clear()
    await desk.send(told(alert(1, **OVER), number=1))
    (message,) = desk.slack.roots()
    assert message.title.startswith("✅")
    assert desk.receipts[alert(1).id].endswith(message.ts)


async def test_an_update_of_a_deleted_message_is_let_be(autojump_clock: MockClock) -> None:
    desk = Desk()
    await desk.send(told(alert(1)))
    desk.slack.messages.clear()
    settlement = await desk.send(told(alert(1), number=1, change=Change.UPDATE))
    assert isinstance(settlement, Delivered)
    assert desk.slack.roots() == []


@pytest.mark.parametrize("fault", sorted(AMBIGUOUS))
async def test_news_of_a_deleted_message_are_posted_once(fault: Fault, autojump_clock: MockClock) -> None:
    desk = Desk()
    await desk.send(told(alert(1)))
    desk.slack.messages.clear()
    desk.slack.plan = only_first(fault)
    await desk.insist(told(alert(1, **OVER), number=1))
    await trio.sleep(LATE_S)
    assert len(desk.slack.roots()) == 1


async def test_where_editing_is_forbidden_the_end_is_said_in_the_channel(autojump_clock: MockClock) -> None:
    desk = Desk(is_editable=False)
    await desk.send(told(alert(1)))
    settlement = await desk.send(told(alert(1, **OVER), number=1))
    (message,) = desk.slack.roots()
    (reply,) = desk.slack.thread(message)
    assert reply.is_broadcast
    assert isinstance(settlement, Delivered)
    assert settlement.warning is not None
    assert "edit_window_closed" in settlement.warning


async def test_a_person_is_told_to_invite_the_app(autojump_clock: MockClock) -> None:
    desk = Desk(is_member=False)
    reason = "Slack answered not_in_channel: the app is not in the channel; invite it there with /invite"
    assert await desk.send(told(alert(1))) == RetryAfter(reason=reason)
    desk.slack.is_member = True
    assert isinstance(await desk.send(replace(told(alert(1)), attempts=1)), Delivered)


async def test_slacks_wish_for_rest_is_passed_on(autojump_clock: MockClock) -> None:
    desk = Desk(plan=only_first(Fault.LIMITED))
    assert await desk.send(told(alert(1))) == RetryAfter(
        reason="Slack answered ratelimited: too many requests", after=timedelta(seconds=7)
    )


async def test_blocks_and_metadata_that_slack_refuses_are_left_out(autojump_clock: MockClock) -> None:
    bodies: list[dict[str, Any]] = []
    words = iter(["invalid_blocks", "metadata_must_be_sent_from_app"])

    async def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(dict(json.loads(request.content)))
        word = next(words, None)
        said = {"ok": False, "error": word} if word else {"ok": True, "channel": CHANNEL, "ts": "1.2"}
        return httpx.Response(200, stream=httpx.ByteStream(json.dumps(said).encode()))

    desk = Desk()
    http = open_http(transport=httpx.MockTransport(answer))
    sink = SlackBotSink(token=lambda: TOKEN, channel=CHANNEL, http=http, clock=virtual(START))
    settlement = await attempt(sink, ONCALL, told(alert(1)))
    assert settlement == Delivered(receipts={alert(1).id: f"{CHANNEL}/1.2"})
    assert [bool(body["blocks"]) for body in bodies] == [True, False, False]
    assert ["metadata" in body for body in bodies] == [True, True, False]
    assert desk.slack.calls == []


async def test_an_alert_that_slack_will_never_take_is_refused(autojump_clock: MockClock) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(b'{"ok":false,"error":"msg_too_long"}'))

    http = open_http(transport=httpx.MockTransport(answer))
    sink = SlackBotSink(token=lambda: TOKEN, channel=CHANNEL, http=http, clock=virtual(START))
    assert await attempt(sink, ONCALL, told(alert(1))) == Refused(reason="Slack answered msg_too_long")


@pytest.mark.parametrize("receipt", [None, "", "C0ALERTS", "C0ALERTS/x", "c0/1.2", "C0ALERTS/1.2/3"])
def test_what_is_no_receipt_of_ours_is_no_place(receipt: str | None) -> None:
    assert Place.read(receipt) is None


def test_a_receipt_names_its_place() -> None:
    place = Place(channel="C0ALERTS", ts="1700000000.000100")
    assert Place.read(str(place)) == place
