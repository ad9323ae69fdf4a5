"""What is due because time passed: silences, escalations, fallbacks, receivers in trouble."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
import trio
from msgspec.structs import replace as changed_to
from prometheus_client import CollectorRegistry
from trio.testing import MockClock

from monitor import notices
from monitor.delivery.breaker import Condition, Door
from monitor.delivery.fleet import Fleet, Post
from monitor.delivery.policy import RouteSpec, decide
from monitor.delivery.sinks import Delivered, Refused, RetryAfter
from monitor.delivery.values import Receiver
from monitor.evaluation import Orders
from monitor.metrics import Metrics
from monitor.oncall import DEADLINES, FAILING_AFTER, OnCall, changed, instead, span, unanswered
from monitor.store.values import (
    Commit,
    EntryId,
    EntryState,
    Escalation,
    Matcher,
    Overdue,
    Silence,
    Step,
)
from monitor.store.writer import inline
from rules.model import Alert, RuleName, Severity, Status, UserId
from tests.delivery.house import START, House, Spy, a_house, alert
from tests.rules.builders import rules_of

MINUTE = timedelta(minutes=1)
ORDERS = Orders(
    rules=rules_of("rules: [{name: hello, when: {type: text}}]"),
    watch={UserId("superhero3"): {"team": "payments"}},
    routes=(RouteSpec(receivers=("oncall",)),),
    max_age=timedelta(hours=1),
)
TEAM = Matcher(label="team", value="payments")


@dataclass
class Desk:
    """OnCall at work beside a fleet, in virtual time: a round every two seconds."""

    house: House
    on_call: OnCall
    fleet: Fleet
    spies: Mapping[str, Spy]
    metrics: Metrics
    orders: Orders = ORDERS

    async def find(self, *alerts: Alert) -> None:
        findings = decide(
            alerts,
            routes=self.orders.routes,
            watch=self.orders.watch,
            silences=self.house.store.silences(self.house.clock.wall()),
            now=self.house.clock.wall(),
            max_age=self.orders.max_age,
        )
        await self.house.writer.submit(lambda tx: tx.commit(Commit(findings=findings)))
        self.fleet.nudge()

    async def work(self, length: timedelta) -> None:
        """So much time passes, in at most a hundred rounds or so."""
        until = trio.current_time() + length.total_seconds()
        while trio.current_time() < until:
            await self.on_call.look_after()
            await trio.sleep(max(2.0, length.total_seconds() / 100))

    async def silence(self, *matchers: Matcher, lasts: timedelta) -> Silence:
        now = self.house.clock.wall()
        return await self.house.writer.submit(
            lambda tx: tx.add_silence(
                matchers, starts_at=now, ends_at=now + lasts, author="anna", comment="being moved"
            )
        )

    def told(self, receiver: str) -> list[tuple[str, str]]:
        """Rule and status of each alert that the receiver accepted or was offered, in order."""
        return [(one.rule, one.status.value) for sent in self.spies[receiver].got for one in sent.alerts]

    def notes(self, receiver: str) -> list[str]:
        return [note for sent in self.spies[receiver].got for note in sent.notes.values()]

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"cometwatch_{name}", labels)


@pytest.fixture
async def house(autojump_clock: MockClock) -> AsyncIterator[House]:
    async with a_house() as opened:
        yield opened


async def a_desk(
    house: House,
    spies: Mapping[str, Spy],
    *,
    routes: tuple[RouteSpec, ...] = ORDERS.routes,
    facts: Mapping[str, Mapping[str, Any]] | None = None,
) -> Desk:
    """`facts` are of receivers, by name."""
    receivers = {name: Receiver(name=name, rate_per_s=1000, **(facts or {}).get(name, {})) for name in spies}
    fleet, metrics, orders = Fleet(), Metrics(CollectorRegistry()), replace(ORDERS, routes=routes)
    await house.nursery.start(fleet.run)
    hire = {name: partial(house.deliverer, spies[name], receivers[name], poll_s=20) for name in spies}
    fleet.employ({name: Post(name, hire[name]) for name in spies})
    on_call = OnCall(
        app="275211",
        writer=house.writer,
        store=house.store,
        run_sync=inline,
        clock=house.clock,
        fleet=fleet,
        orders=lambda: orders,
        receivers=receivers.values,
        metrics=metrics,
    )
    return Desk(house, on_call, fleet, spies, metrics, orders)


def lasting(number: int = 1, **changes: Any) -> Alert:
    return alert(number, **{"lasts": True, **changes})


DOWN = RetryAfter(reason="Slack answered 503")


# --- silences ---------------------------------------------------------------------------------------


async def test_at_its_end_a_silence_tells_what_it_held_and_what_still_fires(
    house: House, autojump_clock: MockClock
) -> None:
    desk = await a_desk(house, {"oncall": Spy()})
    silence = await desk.silence(TEAM, lasts=10 * MINUTE)
    await desk.work(MINUTE)
    await desk.find(lasting(1), lasting(2), alert(3))
    await desk.find(lasting(2, status=Status.RESOLVED, resolution="answered"))
    await desk.work(8 * MINUTE)
    assert desk.told("oncall") == []
    await desk.work(2 * MINUTE)
    assert sorted(desk.told("oncall")) == [("cometwatch-silence-ended", "firing"), ("missed-call", "firing")]
    (notice,) = house.store.alerts(rule=notices.SILENCE_ENDED)
    assert notice.title == "Silence 1 ended: it held 3 alerts, 1 of which still fires: told now"
    assert "by anna" in notice.summary
    assert notice.labels == {"team": "payments"}
    assert (notice.severity, notice.lasts) == (Severity.INFO, False)
    assert house.store.silence(silence.id) is not None
    await desk.work(5 * MINUTE)
    assert len(desk.told("oncall")) == 2


async def test_a_silence_that_held_nothing_ends_in_silence(house: House, autojump_clock: MockClock) -> None:
    desk = await a_desk(house, {"oncall": Spy()})
    await desk.silence(Matcher(label="team", value="other"), lasts=MINUTE)
    await desk.find(lasting())
    await desk.work(5 * MINUTE)
    assert desk.told("oncall") == [("missed-call", "firing")]


async def test_what_waits_when_a_silence_begins_is_held_too(house: House, autojump_clock: MockClock) -> None:
    spy = Spy(lambda _: DOWN)
    desk = await a_desk(house, {"oncall": spy})
    await desk.find(*(lasting(number) for number in range(30)))
    await desk.work(5 * MINUTE)
    await desk.find(*(lasting(number) for number in range(30, 40)))
    await desk.silence(TEAM, lasts=timedelta(hours=1))
    await desk.work(MINUTE)
    held = [entry for entry in house.store.entries(limit=100) if entry.silence == 1]
    assert {entry.state for entry in held} == {EntryState.SUPPRESSED}
    assert {entry.alert.id for entry in held} >= {lasting(number).id for number in range(30, 40)}


async def test_what_another_silence_takes_goes_on_being_held(house: House, autojump_clock: MockClock) -> None:
    desk = await a_desk(house, {"oncall": Spy()})
    await desk.silence(TEAM, lasts=5 * MINUTE)
    await desk.silence(Matcher(label="rule", value="missed-call"), lasts=20 * MINUTE)
    await desk.find(lasting())
    await desk.work(10 * MINUTE)
    assert desk.told("oncall") == [("cometwatch-silence-ended", "firing")]
    await desk.work(15 * MINUTE)
    assert ("missed-call", "firing") in desk.told("oncall")


# --- escalation -------------------------------------------------------------------------------------

STEPS = (
    RouteSpec(
        receivers=("oncall",),
        match={"rule": ("missed-call",)},
        steps=(Step(after=15 * MINUTE, receivers=("lead",)), Step(after=30 * MINUTE, receivers=("boss",))),
    ),
    RouteSpec(receivers=("oncall",)),
)


def three() -> dict[str, Spy]:
    return {name: Spy() for name in ("oncall", "lead", "boss")}


async def test_what_nobody_takes_on_goes_to_the_next_and_says_why(
    house: House, autojump_clock: MockClock
) -> None:
    desk = await a_desk(house, three(), routes=STEPS)
    await desk.find(lasting())
    await desk.work(14 * MINUTE)
    assert desk.told("lead") == []
    await desk.work(2 * MINUTE)
    assert desk.told("lead") == [("missed-call", "firing")]
    assert desk.notes("lead") == [
        "Escalated: neither acknowledged nor resolved within 15 min; sent to oncall before"
    ]
    await desk.work(15 * MINUTE)
    assert desk.notes("boss")[0].endswith("within 30 min; sent to oncall, lead before")
    assert desk.value("escalations_total", receiver="lead") == 1


@pytest.mark.parametrize("way", ["acknowledged", "resolved"])
async def test_what_is_looked_after_is_not_escalated(
    house: House, way: str, autojump_clock: MockClock
) -> None:
    desk = await a_desk(house, three(), routes=STEPS)
    await desk.find(lasting())
    await desk.work(5 * MINUTE)
    if way == "acknowledged":
        await house.writer.submit(lambda tx: tx.ack(lasting().id, by="anna"))
    else:
        await desk.find(lasting(status=Status.RESOLVED, resolution="answered"))
    await desk.work(40 * MINUTE)
    assert desk.told("lead") == desk.told("boss") == []


async def test_a_silence_holds_an_escalation_until_its_end(house: House, autojump_clock: MockClock) -> None:
    desk = await a_desk(house, three(), routes=STEPS)
    await desk.find(lasting())
    await desk.work(5 * MINUTE)
    await desk.silence(TEAM, lasts=20 * MINUTE)
    await desk.work(19 * MINUTE)
    assert desk.told("lead") == []
    await desk.work(3 * MINUTE)
    assert ("missed-call", "firing") in desk.told("lead")


async def test_everybody_who_was_told_hears_of_the_end(house: House, autojump_clock: MockClock) -> None:
    desk = await a_desk(house, three(), routes=STEPS)
    await desk.find(lasting())
    await desk.work(16 * MINUTE)
    await desk.find(lasting(status=Status.RESOLVED, resolution="answered"))
    await desk.work(MINUTE)
    assert desk.told("lead") == [("missed-call", "firing"), ("missed-call", "resolved")]
    assert desk.told("boss") == []


# --- fallback ---------------------------------------------------------------------------------------

FALLBACK: Mapping[str, Mapping[str, Any]] = {"oncall": {"fallback": "lead"}}


@pytest.mark.parametrize("severity", list(Severity))
async def test_what_a_receiver_does_not_take_in_time_goes_to_its_fallback(
    house: House, severity: Severity, autojump_clock: MockClock
) -> None:
    desk = await a_desk(house, {"oncall": Spy(lambda _: DOWN), "lead": Spy()}, facts=FALLBACK)
    await desk.find(lasting(severity=severity))
    await desk.work(DEADLINES[severity] - timedelta(seconds=50))
    assert ("missed-call", "firing") not in desk.told("lead")
    await desk.work(timedelta(seconds=60))
    assert ("missed-call", "firing") in desk.told("lead")
    assert desk.notes("lead") == [
        "Instead of oncall, which has taken nothing since 08:00 UTC (Slack answered 503)"
    ]
    assert desk.value("fallbacks_total", receiver="oncall") == 1


async def test_what_was_never_tried_falls_back_too_while_the_receiver_is_down(
    house: House, autojump_clock: MockClock
) -> None:
    desk = await a_desk(house, {"oncall": Spy(lambda _: DOWN), "lead": Spy()}, facts=FALLBACK)
    await desk.find(*(lasting(number) for number in range(5)))
    await desk.work(3 * MINUTE)
    await desk.find(*(lasting(number, severity=Severity.CRITICAL) for number in range(5, 30)))
    await desk.work(3 * MINUTE)
    critical = {lasting(number).id for number in range(5, 30)}
    assert {one.id for sent in desk.spies["lead"].got for one in sent.alerts} >= critical


async def test_what_a_receiver_refuses_goes_to_its_fallback_at_once(
    house: House, autojump_clock: MockClock
) -> None:
    refuses = Spy(lambda _: Refused(reason="Slack answered 400 invalid_blocks"))
    desk = await a_desk(house, {"oncall": refuses, "lead": Spy()}, facts=FALLBACK)
    await desk.find(lasting(severity=Severity.INFO))
    await desk.work(MINUTE)
    assert desk.notes("lead") == [
        "Instead of oncall, which did not take it (Slack answered 400 invalid_blocks)"
    ]


async def test_a_receiver_that_works_keeps_its_alerts(house: House, autojump_clock: MockClock) -> None:
    desk = await a_desk(house, {"oncall": Spy(), "lead": Spy()}, facts=FALLBACK)
    await desk.find(*(lasting(number, severity=Severity.CRITICAL) for number in range(50)))
    await desk.work(10 * MINUTE)
    assert desk.told("lead") == []


async def test_two_that_stand_in_for_each_other_do_not_play_ping_pong(
    house: House, autojump_clock: MockClock
) -> None:
    facts = {"oncall": {"fallback": "lead"}, "lead": {"fallback": "oncall"}}
    desk = await a_desk(house, {"oncall": Spy(lambda _: DOWN), "lead": Spy(lambda _: DOWN)}, facts=facts)
    await desk.find(lasting(severity=Severity.CRITICAL))
    await desk.work(10 * MINUTE)
    entries = house.store.entries_of(lasting().id)
    assert sorted(entry.receiver for entry in entries) == ["lead", "oncall"]


# --- receivers in trouble ---------------------------------------------------------------------------


async def test_the_others_hear_of_a_receiver_in_trouble_and_of_its_recovery(
    house: House, autojump_clock: MockClock
) -> None:
    is_down = True
    oncall = Spy(lambda _: DOWN if is_down else Delivered())
    both = (RouteSpec(receivers=("oncall", "lead")),)
    desk = await a_desk(house, {"oncall": oncall, "lead": Spy()}, routes=both)
    await desk.find(lasting())
    await desk.work(5 * MINUTE)
    failing, over = ("cometwatch-receiver-failing", "firing"), ("cometwatch-receiver-failing", "resolved")
    assert desk.told("lead") == [("missed-call", "firing"), failing]
    assert desk.value("receiver_open", receiver="oncall") == 1
    assert desk.value("receiver_open", receiver="lead") == 0
    assert desk.value("receiver_failing_seconds", receiver="oncall") == pytest.approx(300, abs=5)
    age = desk.value("outbox_undelivered_age_seconds", receiver="oncall", severity="warning")
    assert age == pytest.approx(300, abs=5)
    is_down = False
    await desk.work(MINUTE)
    assert desk.told("lead") == [("missed-call", "firing"), failing, over]
    assert failing not in desk.told("oncall")
    (notice,) = house.store.alerts(rule=notices.RECEIVER_FAILING)
    assert (notice.title, notice.resolution) == (
        "Receiver oncall: it takes alerts again",
        "it takes alerts again",
    )
    assert desk.value("receiver_failing_seconds", receiver="oncall") == 0


async def test_where_nobody_else_would_hear_of_it_the_record_says_so(
    house: House, autojump_clock: MockClock
) -> None:
    desk = await a_desk(house, {"oncall": Spy(lambda _: DOWN)})
    await desk.find(lasting())
    await desk.work(5 * MINUTE)
    (notice,) = house.store.alerts(rule=notices.RECEIVER_FAILING)
    (entry,) = house.store.entries_of(notice.id)
    assert (entry.receiver, entry.state) == ("", EntryState.SUPPRESSED)
    assert entry.reason == "only oncall itself would be told; give `routes` a second receiver"


async def test_after_a_restart_a_trouble_is_over_only_when_something_was_taken(
    house: House, autojump_clock: MockClock
) -> None:
    both = (RouteSpec(receivers=("oncall", "lead")),)
    spies = {"oncall": Spy(lambda _: DOWN), "lead": Spy()}
    before = await a_desk(house, spies, routes=both)
    await before.find(lasting())
    await before.work(5 * MINUTE)
    before.fleet.employ({})
    is_down = True
    again = {"oncall": Spy(lambda _: DOWN if is_down else Delivered()), "lead": Spy()}
    after = await a_desk(house, again, routes=both)
    await after.work(MINUTE)
    assert after.told("lead") == []  # neither told again nor over
    is_down = False
    await after.work(40 * MINUTE)  # a retry is due after 36 minutes at most
    assert after.told("lead") == [("cometwatch-receiver-failing", "resolved")]


# --- decisions --------------------------------------------------------------------------------------


def failing_since(minutes: int, now: datetime, **facts: Any) -> Condition:
    since = now - minutes * MINUTE
    return Condition(door=Door.OPEN, failing_since=since, open_since=since, reason="503", **facts)


def test_a_short_trouble_is_not_told_of() -> None:
    short = failing_since(1, START)
    assert changed({}, {"oncall": short}, ["oncall"], app="1", now=START) == []
    later = START + FAILING_AFTER
    (told,) = changed({}, {"oncall": short}, ["oncall"], app="1", now=later)
    assert (told.severity, told.lasts, told.labels) == (Severity.CRITICAL, True, {"receiver": "oncall"})
    assert changed({"oncall": told}, {"oncall": short}, ["oncall"], app="1", now=later) == []


def test_a_receiver_that_is_gone_from_the_settings_is_in_no_trouble() -> None:
    (told,) = changed({}, {"oncall": failing_since(5, START)}, ["oncall"], app="1", now=START)
    (over,) = changed({"oncall": told}, {}, [], app="1", now=START)
    assert (over.id, over.status, over.resolution) == (
        told.id,
        Status.RESOLVED,
        "it is no longer configured",
    )


@pytest.mark.parametrize(
    ("seconds", "words"), [(900, "15 min"), (3600, "1 h"), (5400, "90 min"), (90, "90 s"), (0, "0 s")]
)
def test_lengths_are_written_as_in_settings(seconds: int, words: str) -> None:
    assert span(timedelta(seconds=seconds)) == words


def overdue(**changes: Any) -> Overdue:
    late = Overdue(
        entry=EntryId(1), alert=lasting(), created_at=START, reason="Slack answered 503", is_dead=False
    )
    return changed_to(late, **changes)


def test_a_note_says_whose_alert_it_is_and_why_it_comes() -> None:
    sound, failing = Condition(), failing_since(3, START + 3 * MINUTE)
    assert instead(overdue(), "oncall", failing) == (
        "Instead of oncall, which has taken nothing since 08:00 UTC (Slack answered 503)"
    )
    # It answers others: this one is what it does not take.
    assert instead(overdue(), "oncall", sound) == (
        "Instead of oncall, which has not taken it since 08:00 UTC (Slack answered 503)"
    )
    assert instead(overdue(is_dead=True, reason=None), "oncall", sound) == (
        "Instead of oncall, which did not take it"
    )


def test_an_escalation_without_anybody_before_says_no_more() -> None:
    step = Escalation(alert=lasting(), after=timedelta(hours=2), receivers=("lead",))
    assert unanswered(step, []) == "Escalated: neither acknowledged nor resolved within 2 h"


def test_the_same_trouble_has_the_same_id_and_another_one_another() -> None:
    make = partial(notices.receiver_failing, app="1", reason="503", now=START)
    first = make(receiver="oncall", since=START)
    assert first.id == make(receiver="oncall", since=START).id
    assert first.id != make(receiver="lead", since=START).id != make(receiver="lead", since=START + MINUTE).id
    assert first.rule == RuleName("cometwatch-receiver-failing")
