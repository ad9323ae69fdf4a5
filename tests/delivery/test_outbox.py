"""A deliverer on a real store in virtual time: claim, send, settle, and all that can come between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
import structlog.testing
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from monitor.delivery.backoff import SCHEDULE
from monitor.delivery.breaker import PROBED, Condition
from monitor.delivery.outbox import POLL_S, SETTLE_S
from monitor.delivery.sinks import Delivered, Refused, RetryAfter, Settlement, Traits
from monitor.delivery.values import Receiver
from monitor.errors import StoreError
from monitor.store.values import EntryState, Group, Grouping, Kind, Notification, NotificationId, Timing
from monitor.store.writer import Writer
from rules.model import Status
from tests.delivery.house import FAST, PATIENT, House, Spy, a_house, alert, in_turn, some


@pytest.fixture
async def house(autojump_clock: MockClock) -> AsyncIterator[House]:
    """On virtual time if the test itself asks for the clock too: pytest-trio looks only there."""
    async with a_house() as opened:
        yield opened


# --- the main road ----------------------------------------------------------------------------------


async def test_what_waits_is_sent_and_settled(house: House, autojump_clock: MockClock) -> None:
    spy = Spy()
    await house.find(*some(3))
    await house.nursery.start(house.deliverer(spy).run)
    await trio.sleep(1)
    assert [told.alerts[0].id for told in spy.got] == [a.id for a in some(3)]
    assert house.states() == [EntryState.DELIVERED] * 3
    assert house.observed.outcomes == ["delivered"] * 3
    assert house.observed.delays_s == [pytest.approx(2, abs=0.1)] * 3


async def test_a_nudge_saves_waiting_and_without_one_the_table_is_looked_at(
    house: House, autojump_clock: MockClock
) -> None:
    spy = Spy()
    deliverer = house.deliverer(spy)
    await house.nursery.start(deliverer.run)
    await trio.sleep(1)
    await house.find(alert(1))
    deliverer.nudge()
    await trio.sleep(0.1)
    assert len(spy.got) == 1
    await house.find(alert(2))
    await trio.sleep(POLL_S)
    assert len(spy.got) == 2


async def test_crash_points_are_named_in_order(house: House, autojump_clock: MockClock) -> None:
    await house.find(alert(1))
    await house.nursery.start(house.deliverer(Spy()).run)
    await trio.sleep(1)
    assert house.points == ["delivery.claimed", "delivery.sent", "delivery.settled"]


async def test_the_id_is_stored_before_it_is_sent(house: House, autojump_clock: MockClock) -> None:
    known: list[NotificationId | None] = []

    def look(_: Notification) -> Settlement:
        known.extend(entry.notification for entry in house.store.entries(receiver="oncall"))
        return Delivered()

    spy = Spy(look)
    await house.find(alert(1))
    await house.nursery.start(house.deliverer(spy).run)
    await trio.sleep(1)
    assert known == spy.ids


# --- retries and dead letters -----------------------------------------------------------------------


async def test_a_retry_has_the_same_id_and_content(house: House, autojump_clock: MockClock) -> None:
    spy = Spy(in_turn(RetryAfter(reason="503"), RetryAfter(reason="503")))
    await house.find(alert(1))
    await house.nursery.start(house.deliverer(spy).run)
    await trio.sleep(60)
    assert len(set(spy.ids)) == 1
    assert len(spy.got) == 3
    assert [told.attempts for told in spy.got] == [0, 1, 2]
    assert [a.outcome for a in house.store.attempts(spy.ids[0])] == ["retry", "retry", "delivered"]
    assert house.observed.outcomes == ["retry", "retry", "delivered"]


async def test_after_27_hours_it_is_a_dead_letter_with_its_reason(
    house: House, autojump_clock: MockClock
) -> None:
    spy = Spy(lambda _: RetryAfter(reason="the receiver answered 500"))
    await house.find(alert(1))
    with trio.move_on_after(3600):
        await house.deliverer(spy, poll_s=60).run()
    assert len(spy.got) > len(SCHEDULE)  # it served as a probe, two a minute
    await trio.sleep(25.5 * 3600)  # as if nobody was there: 3,000 more probes are not the point
    await house.nursery.start(house.deliverer(spy, poll_s=60).run)
    await trio.sleep(60)
    assert house.states() == [EntryState.PENDING]
    await trio.sleep(3600)
    (entry,) = house.store.entries(receiver="oncall")
    assert entry.state is EntryState.DEAD
    assert entry.reason == f"given up after {len(spy.got)} attempts: the receiver answered 500"
    assert house.observed.outcomes[-1] == "dead"


async def test_what_is_refused_is_a_dead_letter_at_once_and_can_be_redriven(
    house: House, autojump_clock: MockClock
) -> None:
    spy = Spy(in_turn(Refused(reason="Slack answered 404 no_service")))
    await house.find(alert(1))
    await house.nursery.start(house.deliverer(spy).run)
    await trio.sleep(1)
    assert house.states() == [EntryState.DEAD]
    await house.writer.submit(lambda tx: tx.redrive("oncall"))
    await trio.sleep(POLL_S + 1)
    assert house.states() == [EntryState.DELIVERED]
    assert len(set(spy.ids)) == 1


async def test_retry_after_rests_the_whole_receiver(house: House, autojump_clock: MockClock) -> None:
    spy = Spy(in_turn(RetryAfter(reason="429", after=timedelta(seconds=40))))
    await house.find(*some(2))
    began = trio.current_time()
    await house.nursery.start(house.deliverer(spy).run)
    await trio.sleep(120)
    assert [round(at - began) for at in spy.at] == [0, 40, 40]
    assert house.states() == [EntryState.DELIVERED] * 2


async def test_an_absurd_retry_after_is_bounded(house: House, autojump_clock: MockClock) -> None:
    spy = Spy(in_turn(RetryAfter(reason="429", after=timedelta(days=365))))
    await house.find(alert(1))
    await house.nursery.start(house.deliverer(spy).run)
    await trio.sleep(3700)
    assert house.states() == [EntryState.DELIVERED]


async def test_one_poisonous_alert_stops_no_other(house: House, autojump_clock: MockClock) -> None:
    def behave(told: Notification) -> Settlement:
        return RetryAfter(reason="500") if told.alerts[0].id == alert(0).id else Delivered()

    await house.find(*some(8))
    await house.nursery.start(house.deliverer(Spy(behave)).run)
    await trio.sleep(4)
    assert house.states().count(EntryState.DELIVERED) == 7


async def test_an_outage_is_probed_not_hammered_and_ends_in_a_summary(
    house: House, autojump_clock: MockClock
) -> None:
    is_down = True
    spy = Spy(lambda _: RetryAfter(reason="no connection") if is_down else Delivered())
    deliverer = house.deliverer(spy)
    await house.nursery.start(deliverer.run)
    for number in range(60):
        await house.find(alert(number))
        deliverer.nudge()
        await trio.sleep(10)
    assert len(spy.got) <= 30  # in ten minutes
    is_down = False
    spy.got.clear()
    await trio.sleep(60)
    assert house.states() == [EntryState.DELIVERED] * 60
    assert Kind.SUMMARY in {told.kind for told in spy.got}
    assert len(spy.got) < 25


async def test_after_a_long_outage_no_retry_waits_for_its_schedule(
    house: House, autojump_clock: MockClock
) -> None:
    is_down = True
    spy = Spy(lambda _: RetryAfter(reason="no connection") if is_down else Delivered())
    await house.find(*some(3))
    await house.nursery.start(house.deliverer(spy).run)
    await trio.sleep(3600)
    is_down = False
    deliveries_begin = len(spy.got)
    await trio.sleep(40 * 60)
    first, *others = spy.at[deliveries_begin:]
    assert house.states() == [EntryState.DELIVERED] * 3
    assert [at - first < 5 for at in others] == [True, True]


async def test_success_between_failures_wears_no_retry_out(house: House, autojump_clock: MockClock) -> None:
    def behave(told: Notification) -> Settlement:
        return RetryAfter(reason="500") if told.alerts[0].id == alert(0).id else Delivered()

    spy = Spy(behave)
    await house.find(alert(0))
    deliverer = house.deliverer(spy)
    await house.nursery.start(deliverer.run)
    for number in range(1, 60):
        await house.find(alert(number))
        deliverer.nudge()
        await trio.sleep(1)
    failed = [told for told in spy.got if told.alerts[0].id == alert(0).id]
    assert len(failed) == 3  # at 0 s, 5 s and 20 s, as the schedule says


# --- a receiver in trouble ----------------------------------------------------------------------------


async def test_while_a_receiver_is_down_few_are_claimed_and_take_turns(
    house: House, autojump_clock: MockClock
) -> None:
    spy = Spy(lambda _: RetryAfter(reason="no connection"), people=False)
    single = replace(FAST, batch=1)
    deliverer = house.deliverer(spy, single)
    await house.find(alert(0))
    await house.nursery.start(deliverer.run)
    await trio.sleep(600)
    await house.find(*(alert(number) for number in range(1, 50)))
    spy.got.clear()
    await trio.sleep(600)
    assert len(set(spy.ids)) == PROBED
    assert 19 <= len(spy.got) <= 21  # two a minute, as ever
    times = [spy.ids.count(one) for one in set(spy.ids)]
    assert max(times) - min(times) <= 2
    waiting = [entry for entry in house.store.entries(limit=100) if entry.notification is None]
    assert len(waiting) == 50 - PROBED


async def test_one_that_is_never_taken_does_not_keep_a_recovered_receiver_shut(
    house: House, autojump_clock: MockClock
) -> None:
    is_down = True

    def behave(told: Notification) -> Settlement:
        poisoned = told.alerts[0].id == alert(0).id
        return RetryAfter(reason="500") if is_down or poisoned else Delivered()

    spy = Spy(behave, people=False)
    await house.find(*some(20))
    await house.nursery.start(house.deliverer(spy, replace(FAST, batch=1)).run)
    await trio.sleep(1800)
    is_down = False
    await trio.sleep(3 * 30 + 1)
    assert house.states().count(EntryState.DELIVERED) == 19


async def test_a_lone_alert_arrives_within_half_a_minute_of_the_recovery(
    house: House, autojump_clock: MockClock
) -> None:
    is_down = True
    spy = Spy(lambda _: RetryAfter(reason="no connection") if is_down else Delivered())
    await house.find(alert(1))
    await house.nursery.start(house.deliverer(spy).run)
    await trio.sleep(3 * 3600)
    is_down = False
    await trio.sleep(31)
    assert house.states() == [EntryState.DELIVERED]
    assert len(set(spy.ids)) == 1


async def test_after_a_long_outage_people_get_what_still_fires_and_one_digest_of_the_rest(
    house: House, autojump_clock: MockClock
) -> None:
    is_down = True
    spy = Spy(lambda _: RetryAfter(reason="no connection") if is_down else Delivered())
    deliverer = house.deliverer(spy)
    await house.nursery.start(deliverer.run)
    await house.find(*some(5))  # events; some of them serve as probes
    await trio.sleep(60)
    await house.find(*(alert(number, lasts=True) for number in range(5, 8)))
    await house.find(*(alert(number) for number in range(8, 500)))
    await trio.sleep(2 * 3600)
    is_down = False
    spy.got.clear()
    await trio.sleep(120)
    assert set(house.states()) == {EntryState.DELIVERED}
    kinds = [told.kind for told in spy.got]
    assert kinds.count(Kind.DIGEST) == 1
    firing = [one for told in spy.got if told.kind is Kind.ALERTS for one in told.alerts if one.lasts]
    assert len(firing) == 3
    assert len(kinds) <= 1 + 3 + 5


async def test_how_a_receiver_fares_is_told_in_wall_time(house: House, autojump_clock: MockClock) -> None:
    is_down = True
    spy = Spy(lambda _: RetryAfter(reason="Slack answered 503") if is_down else Delivered())
    deliverer = house.deliverer(spy)
    assert deliverer.condition() == Condition()
    await house.find(*some(2))
    began = house.clock.wall()
    with structlog.testing.capture_logs() as lines:
        await house.nursery.start(deliverer.run)
        await trio.sleep(900)
        failing = deliverer.condition()
        is_down = False
        await trio.sleep(60)
    assert failing.failing_since is not None
    assert failing.open_since is not None
    assert abs(failing.failing_since - began) < timedelta(seconds=1)
    assert timedelta(0) < failing.open_since - began <= timedelta(seconds=80)
    assert (failing.reason, failing.answered_at, failing.is_open) == ("Slack answered 503", None, True)
    fine = deliverer.condition()
    assert (fine.is_open, fine.failing_since, fine.reason) == (False, None, None)
    assert fine.answered_at is not None
    told = [line["event"] for line in lines if line["event"].startswith("receiver.")]
    assert told == ["receiver.failing", "receiver.recovered"]
    # The log tells of the first failures and of the end, not of each probe.
    noisy = [
        line for line in lines if line["event"] == "delivery.deferred" and line["log_level"] == "warning"
    ]
    assert len(noisy) < 5


async def test_a_refusal_is_an_answer(house: House, autojump_clock: MockClock) -> None:
    spy = Spy(lambda _: Refused(reason="400"))
    deliverer = house.deliverer(spy)
    await house.find(*some(10))
    await house.nursery.start(deliverer.run)
    await trio.sleep(5)
    assert house.states() == [EntryState.DEAD] * 10
    assert not deliverer.condition().is_open


async def test_in_a_storm_sums_are_gathered_for_longer_and_nothing_is_left_out(
    house: House, autojump_clock: MockClock
) -> None:
    spy = Spy()
    deliverer = house.deliverer(spy, replace(FAST, rate_per_s=1, summary_over=20))
    await house.nursery.start(deliverer.run)
    for second in range(60):
        await house.find(*(alert(100 * second + n) for n in range(100)))
        deliverer.nudge()
        await trio.sleep(1)
    await trio.sleep(600)
    assert {entry.state for entry in house.store.entries(limit=10_000)} == {EntryState.DELIVERED}
    assert sum(len(told.alerts) for told in spy.got) == 6000
    assert len(spy.got) <= 15
    assert [told.summed_before for told in spy.got if told.kind is Kind.SUMMARY][:3] == [0, 1, 2]


# --- bugs and deadlines -----------------------------------------------------------------------------


async def test_a_bug_in_a_sink_is_told_retried_and_stops_nobody(
    house: House, autojump_clock: MockClock
) -> None:
    bugs = iter([ZeroDivisionError("text of a chat message")])

    def behave(_: Notification) -> Settlement:
        for bug in bugs:
            raise bug
        return Delivered()

    spy = Spy(behave)
    await house.find(*some(2))
    with structlog.testing.capture_logs() as lines:
        await house.nursery.start(house.deliverer(spy).run)
        await trio.sleep(30)
    assert house.states() == [EntryState.DELIVERED] * 2
    (line,) = (line for line in lines if line["event"] == "delivery.bug")
    assert line["log_level"] == "error"
    assert line["error"] == "ZeroDivisionError"
    assert line["where"].startswith("test_outbox.py:")
    assert "text of a chat message" not in repr(lines)
    assert house.store.attempts(spy.ids[0])[0].detail == "bug: ZeroDivisionError"


async def test_a_send_has_a_deadline(house: House, autojump_clock: MockClock) -> None:
    spy = Spy(takes_s=3600)
    await house.find(alert(1))
    receiver = Receiver(name="oncall", timeout_s=15)
    await house.nursery.start(house.deliverer(spy, receiver).run)
    await trio.sleep(16)
    assert house.store.attempts(spy.ids[0])[0].detail == "no answer within 15 s"


async def test_a_receiver_that_hangs_delays_no_other(house: House, autojump_clock: MockClock) -> None:
    slow, quick = Spy(takes_s=3600), Spy()
    await house.find(*some(3), receiver="slow")
    await house.find(*(alert(number) for number in range(3, 6)), receiver="oncall")
    await house.nursery.start(house.deliverer(slow, Receiver(name="slow")).run)
    await house.nursery.start(house.deliverer(quick).run)
    await trio.sleep(1)
    assert house.states("oncall") == [EntryState.DELIVERED] * 3
    assert house.states("slow") == [EntryState.PENDING] * 3


# --- many, old and over -----------------------------------------------------------------------------


async def test_when_many_wait_people_get_one_summary_and_each_is_accounted_for(
    house: House, autojump_clock: MockClock
) -> None:
    spy = Spy()
    await house.find(*some(11))
    await house.nursery.start(house.deliverer(spy).run)
    await trio.sleep(1)
    (told,) = spy.got
    assert (told.kind, len(told.alerts)) == (Kind.SUMMARY, 11)
    assert house.states() == [EntryState.DELIVERED] * 11


async def test_the_rate_is_kept_and_what_comes_meanwhile_is_summed_up(
    house: House, autojump_clock: MockClock
) -> None:
    spy = Spy()
    await house.find(*some(3))
    deliverer = house.deliverer(spy, PATIENT)
    began = trio.current_time()
    await house.nursery.start(deliverer.run)
    await trio.sleep(0.5)
    await house.find(*(alert(number) for number in range(3, 9)))
    await trio.sleep(10)
    assert [round(at - began, 1) for at in spy.at] == [0, 1]
    assert [told.kind for told in spy.got] == [Kind.ALERTS, Kind.SUMMARY]


async def test_a_machine_gets_every_alert_in_batches(house: House, autojump_clock: MockClock) -> None:
    spy = Spy(people=False)
    await house.find(*some(250))
    await house.nursery.start(house.deliverer(spy, replace(FAST, batch=60)).run)
    await trio.sleep(1)
    assert [len(told.alerts) for told in spy.got] == [60, 60, 60, 60, 10]
    assert {told.kind for told in spy.got} == {Kind.ALERTS}


@pytest.mark.parametrize(
    ("traits", "bodies"),
    [(Traits(people=False), 4), (Traits(people=False, most=1), 1), (Traits(people=True), 1)],
)
async def test_a_group_goes_to_a_machine_in_bodies_that_it_takes(
    house: House, autojump_clock: MockClock, traits: Traits, bodies: int
) -> None:
    spy = Spy(traits=traits)
    group = Grouping(group=Group(key="1/x", labels={"team": "web"}), timing=Timing())
    long = [replace(one, summary="x" * 5_000) for one in some(40)]
    await house.find(*long, grouping=group)
    await house.nursery.start(house.deliverer(spy).run)
    await trio.sleep(30)
    told = [alert.id for one in spy.got for alert in one.alerts]
    assert (len(spy.got), told) == (bodies, [alert.id for alert in long])
    assert len({one.opened.subject for one in spy.got if one.opened}) == 1


async def test_old_news_of_a_catch_up_is_one_digest(house: House, autojump_clock: MockClock) -> None:
    spy = Spy()
    await house.nursery.start(house.deliverer(spy).run)
    for number in range(20):
        await house.find(alert(number), late=True)
        await trio.sleep(1)
    assert spy.got == []
    await trio.sleep(FAST.gather.total_seconds())
    (told,) = spy.got
    assert (told.kind, len(told.alerts)) == (Kind.DIGEST, 20)


async def test_an_end_never_overtakes_its_beginning(house: House, autojump_clock: MockClock) -> None:
    spy = Spy(in_turn(RetryAfter(reason="500")))
    await house.find(alert(1))
    deliverer = house.deliverer(spy)
    await house.nursery.start(deliverer.run)
    await trio.sleep(0.5)
    await house.find(alert(1, status=Status.RESOLVED, resolution="answered"))
    deliverer.nudge()
    await trio.sleep(30)
    assert [told.status for told in spy.got] == [Status.FIRING, Status.FIRING, Status.RESOLVED]
    assert spy.ids[0] == spy.ids[1] != spy.ids[2]


# --- ending and crashing ----------------------------------------------------------------------------


async def test_finishing_sends_what_can_go_and_returns(house: House, autojump_clock: MockClock) -> None:
    spy = Spy()
    deliverer = house.deliverer(spy, PATIENT)
    async with trio.open_nursery() as delivery:
        await delivery.start(deliverer.run)
        await trio.sleep(1)
        await house.find(*some(3))
        deliverer.finish()
    assert house.states() == [EntryState.DELIVERED] * 3


async def test_finishing_does_not_wait_for_a_receiver_in_trouble(
    house: House, autojump_clock: MockClock
) -> None:
    spy = Spy(lambda _: RetryAfter(reason="429", after=timedelta(hours=1)))
    await house.find(alert(1))
    deliverer = house.deliverer(spy)
    async with trio.open_nursery() as delivery:
        await delivery.start(deliverer.run)
        await trio.sleep(1)
        began = trio.current_time()
        deliverer.finish()
    assert trio.current_time() - began < 1
    assert house.states() == [EntryState.PENDING]


async def test_cancelled_during_a_send_it_is_sent_again_with_the_same_id(
    house: House, autojump_clock: MockClock
) -> None:
    hung = Spy(takes_s=10)
    await house.find(alert(1))
    with trio.move_on_after(5):
        await house.deliverer(hung).run()
    assert house.states() == [EntryState.PENDING]
    again = Spy()
    await house.nursery.start(house.deliverer(again).run)
    await trio.sleep(60)
    assert again.ids == hung.ids
    assert house.states() == [EntryState.DELIVERED]


async def test_cancelled_after_a_send_it_is_still_settled(house: House, autojump_clock: MockClock) -> None:
    await house.find(alert(1))
    with trio.CancelScope() as scope:

        def stop(point: str) -> None:
            if point == "delivery.sent":
                scope.cancel()

        await house.deliverer(Spy(), at=stop).run()
    assert scope.cancelled_caught
    assert house.states() == [EntryState.DELIVERED]


# --- a store in trouble -----------------------------------------------------------------------------


class Failing:
    """The house's writer while the disk is full: refuses until `until` (virtual seconds from now)."""

    def __init__(self, writer: Writer, lasts_s: float) -> None:
        self.writer, self.until = writer, trio.current_time() + lasts_s

    async def submit(self, work: Callable[[Any], Any]) -> Any:
        if trio.current_time() < self.until:
            raise StoreError("the disk is full")
        return await self.writer.submit(work)


async def test_without_a_stored_id_nothing_is_sent(house: House, autojump_clock: MockClock) -> None:
    spy = Spy()
    await house.find(alert(1))
    await house.nursery.start(house.deliverer(spy, writer=Failing(house.writer, 12)).run)
    await trio.sleep(10)
    assert spy.got == []
    await trio.sleep(10)
    assert house.states() == [EntryState.DELIVERED]


@pytest.mark.parametrize(("lasts_s", "sends"), [(SETTLE_S - 2, 1), (60, 2)])
async def test_a_settlement_that_cannot_be_stored_costs_at_most_a_repetition(
    house: House, lasts_s: float, sends: int, autojump_clock: MockClock
) -> None:
    failing = Failing(house.writer, 0)

    def fill_the_disk(point: str) -> None:
        if point == "delivery.sent" and len(spy.got) == 1:
            failing.until = trio.current_time() + lasts_s

    spy = Spy()
    await house.find(alert(1))
    await house.nursery.start(house.deliverer(spy, writer=failing, at=fill_the_disk).run)
    await trio.sleep(120)
    assert house.states() == [EntryState.DELIVERED]
    assert len(spy.got) == sends
    assert len(set(spy.ids)) == 1
