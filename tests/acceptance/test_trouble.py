"""When CometChat, a receiver or the store is in trouble: nothing is lost, and nobody else suffers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from msgspec.structs import replace
from trio.testing import MockClock

from monitor import evaluation
from monitor.delivery import policy
from monitor.errors import StoreError
from monitor.notices import BLIND
from monitor.simulator import Fault, build
from monitor.store.values import Commit, EntryState, Finding
from monitor.web.view import UserState
from rules.model import Alert, AlertId, RuleName, UserId
from tests.acceptance.stage import (
    CONFIG,
    START,
    Stage,
    make_stage,
    people,
    requests_in_any_minute,
    say,
    share,
    until,
)


async def test_our_own_blindness_is_never_reported_as_a_missed_call(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor():
        await until(5)
        call, _ = stage.world.start_call("superhero1", "superhero2")
        await until(20)
        stage.world.faults.add(Fault(kind="server-error", status=503))
        stage.world.change_call(call.session_id, "ongoing", by="superhero2")
        await until(170)
        stage.world.faults.clear()
        await until(400)
    assert stage.receivers.told("missed-call") == []


async def test_receivers_are_told_that_we_are_blind_and_when_it_is_over(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor():
        await until(20)
        stage.world.faults.add(Fault(kind="server-error", status=503))
        await until(195)
        assert stage.receivers.told("cometwatch-blind") == []
        await until(215)
        assert stage.receivers.told("cometwatch-blind") == [("firing", ())]
    async with stage.monitor():
        await until(500)
        assert len(stage.receivers.told("cometwatch-blind")) == 1
        stage.world.faults.clear()
        await until(900)
    assert stage.receivers.told("cometwatch-blind") == [("firing", ()), ("resolved", ())]


async def test_the_budget_is_never_exceeded_not_even_by_catching_up(
    stage: Stage, autojump_clock: MockClock
) -> None:
    for n in range(900):
        say(stage.world, f"old {n}")
    config = CONFIG.replace("requests_per_minute: 600", "requests_per_minute: 40").replace(
        "start: now", "start: beginning"
    )
    async with stage.monitor(config):
        await until(200)
    assert 100 < len(stage.world.requests) < 140
    assert requests_in_any_minute(stage.world) <= 40


async def test_a_rate_limit_stops_everybody_for_as_long_as_asked(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor():
        await until(20)
        stage.world.faults.add(Fault(kind="rate-limited", seconds=30, count=1))
        await until(60)
    times = [asked.at - stage.world.requests[0].at for asked in stage.world.requests]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert 30 <= max(gaps) < 33


async def test_a_refused_key_costs_one_probe_in_half_a_minute(
    stage: Stage, autojump_clock: MockClock
) -> None:
    stage.world.faults.add(Fault(kind="key-expired"))
    async with stage.monitor():
        await until(150)
        assert len(stage.world.requests) <= 7
        stage.world.faults.clear()
        await until(185)
        share(stage.world, "after.png")
        await until(195)
    assert len(stage.receivers.told("attachment")) == 1


async def test_an_unknown_user_stops_nobody_else(stage: Stage, autojump_clock: MockClock) -> None:
    config = CONFIG.replace("superhero3]", "superhero3, nobody]")
    async with stage.monitor(config) as app:
        await until(5)
        share(stage.world, "fine.png")
        await until(300)
        assert app.health.sight("nobody").unknown  # type: ignore[arg-type]  # a uid
        assert app.metrics.watermark_lag_seconds._value.get() > 290
        asked = [one for one in stage.world.requests if "nobody" in one.path]
        assert len(asked) <= 5
    assert len(stage.receivers.told("attachment")) == 1


async def test_a_receiver_that_is_down_delays_no_other_and_gets_everything_later(
    stage: Stage, autojump_clock: MockClock
) -> None:
    stage.receivers.status["hooks.slack.test"] = 503
    async with stage.monitor() as app:
        await until(5)
        share(stage.world, "one.png")
        await until(10)
        assert len(stage.receivers.alerts) == 1
        await until(200)
        assert [entry.receiver for entry in app.store.entries(state=EntryState.PENDING)] == ["oncall"]
        stage.receivers.status.clear()
        await until(600)  # the fifth attempt comes after at most 6 minutes
    assert len(stage.receivers.slack) == 1


async def test_a_storm_is_summed_up_for_people_and_complete_for_machines(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor() as app:
        await until(5)
        for n in range(300):
            share(stage.world, f"{n}.png")
        await until(60)
        entries = app.store.ledger().entries
        assert {state: count for state, count in entries.items() if count} == {"delivered": 600}
    assert len({alert["id"] for alert in stage.receivers.alerts}) == 300
    assert len(stage.receivers.slack) < 10
    assert "outbox list" in str(stage.receivers.slack)


async def test_a_store_that_cannot_be_written_loses_nothing(
    stage: Stage, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage.monitor() as app:
        await until(5)

        def full() -> None:
            raise StoreError("the disk is full")

        monkeypatch.setattr(app.store, "write", full)
        share(stage.world, "kept.png")
        await until(60)
        assert stage.receivers.posts == []
        assert "disk is full" in (app.caretaker.overview.status().store_error or "")
        monkeypatch.undo()
        await until(120)
        assert app.caretaker.overview.status().store_error is None
    assert len(stage.receivers.told("attachment")) == 1


async def test_a_restart_finds_nothing_twice_and_misses_nothing(
    stage: Stage, autojump_clock: MockClock
) -> None:
    for n in range(10):
        async with stage.monitor():
            await until(20 * n + 5)
            share(stage.world, f"{n}.png")
            call, _ = stage.world.start_call("superhero1", "superhero2")
            stage.world.change_call(call.session_id, "unanswered", by="superhero1")
            await until(20 * n + 6)
    async with stage.monitor():
        await until(260)
    assert len(stage.receivers.told("attachment")) == 10
    assert len(stage.receivers.told("missed-call")) == 10
    assert len({alert["id"] for alert in stage.receivers.alerts}) == 20


@pytest.mark.parametrize("append", ["newest", "oldest", "400"])
async def test_an_empty_list_is_read_on_however_the_server_answers_unknown_questions(
    stage: Stage, autojump_clock: MockClock, append: str, tmp_path: object
) -> None:
    from monitor.simulator import Options

    quiet = make_stage(stage.folder, options=Options(append_without_id=append))  # type: ignore[arg-type]
    people(quiet.world)
    async with quiet.monitor():
        await until(30)
        share(quiet.world, "first.png")
        await until(40)
        share(quiet.world, "second.png")
        await until(60)
    assert len(quiet.receivers.told("attachment")) == 2


async def test_a_server_that_ignores_the_page_size_is_read_completely(
    stage: Stage, autojump_clock: MockClock
) -> None:
    stage.world.faults.add(Fault(kind="page-size", size=3))
    async with stage.monitor():
        await until(5)
        for n in range(40):
            share(stage.world, f"{n}.png")
        await until(60)
    assert len({alert["id"] for alert in stage.receivers.alerts}) == 40


@dataclass
class Refusing(httpx.AsyncBaseTransport):
    """CometChat, but while `is_on` it refuses all that is asked about one user."""

    stage: Stage
    uid: str
    status: int
    code: str
    is_on: bool = False

    def __post_init__(self) -> None:
        self._inner = httpx.ASGITransport(build(self.stage.world))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not self.is_on or self.uid not in request.url.path:
            return await self._inner.handle_async_request(request)
        body = f'{{"error":{{"code":"{self.code}","message":"no"}}}}'.encode()
        return httpx.Response(self.status, stream=httpx.ByteStream(body))


async def test_a_full_disk_and_an_unknown_user_do_not_end_the_process(
    stage: Stage, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Refusing(stage, "superhero2", 404, "ERR_UID_NOT_FOUND")
    async with stage.monitor(source=source) as app:
        await until(5)
        stage.world.start_call("superhero1", "superhero2")
        await until(10)

        def full() -> None:
            raise StoreError("the disk is full")

        monkeypatch.setattr(app.store, "write", full)
        source.is_on = True
        await until(60)
        monkeypatch.undo()
        await until(300)
        (closure,) = app.store.closures()
        assert "list can answer it" in closure.reason
    assert stage.receivers.told("missed-call") == []


async def test_a_timer_is_closed_once_whoever_finds_it_stranded(
    stage: Stage, autojump_clock: MockClock
) -> None:
    source = Refusing(stage, "superhero2", 404, "ERR_UID_NOT_FOUND")
    async with stage.monitor(source=source) as app:
        await until(5)
        stage.world.start_call("superhero1", "superhero2")
        await until(10)
        source.is_on = True
        accounts = app.intake.accounts
        async with accounts.standstill():  # as a reload that drops the user
            await until(30)  # the user is found to be unknown, and that waits for its end
            assert app.health.sight(UserId("superhero2")).unknown
            await app.writer.submit(lambda tx: tx.close_user(UserId("superhero2"), "no longer watched"))
            accounts.timers.reset(app.store.timers())
        await until(40)
        assert [closure.reason for closure in app.store.closures()] == ["no longer watched"]


async def test_nothing_is_remembered_of_a_list_that_was_dropped_during_its_last_poll(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor() as app:
        await until(20)
        stage.world.faults.add(Fault(kind="hang", seconds=5))
        await until(23)
        app.intake.unfollow(app.intake.followed)  # as a reload does
        await until(40)
        assert not app.health.sights


async def test_a_list_that_vanished_from_the_store_does_not_spend_the_budget(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor() as app:
        await until(20)
        with app.store.write() as tx:
            tx.leave([UserId("superhero2")], START)
            assert tx.forget(START + timedelta(seconds=1)) == 1
        share(stage.world, "one.png")
        await until(25)
        before = len(stage.world.requests)
        await until(85)
        asked = [one for one in list(stage.world.requests)[before:] if "superhero2" in one.path]
        assert len(asked) < 10
        assert "restart" in (app.health.sight(UserId("superhero2")).last_error or "")


async def test_a_store_in_trouble_is_asked_less_and_less(
    stage: Stage, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage.monitor() as app:
        await until(5)

        def full() -> None:
            raise StoreError("the disk is full")

        monkeypatch.setattr(app.store, "write", full)
        share(stage.world, "kept.png")
        before = len(stage.world.requests)
        await until(305)
        about_superhero2 = [one for one in list(stage.world.requests)[before:] if "superhero2" in one.path]
        assert len(about_superhero2) < 30


async def test_a_store_that_works_again_is_noticed_without_any_message(
    stage: Stage, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage.monitor() as app:
        await until(5)
        assert app.metrics.store_writable._value.get() == 1

        def locked() -> None:
            raise StoreError("another process keeps it locked")

        monkeypatch.setattr(app.store, "write", locked)
        await until(45)
        assert "locked" in (app.caretaker.overview.status().store_error or "")
        assert app.metrics.store_writable._value.get() == 0
        monkeypatch.undo()
        await until(50)
        assert app.caretaker.overview.status().store_error is None
        assert app.metrics.store_writable._value.get() == 1


async def test_a_user_that_the_key_may_not_read_stops_nobody_else(
    stage: Stage, autojump_clock: MockClock
) -> None:
    """403 for one user alone: the others are read in between, so the key is good."""
    source = Refusing(stage, "superhero3", 403, "ERR_NOT_YOURS", is_on=True)
    async with stage.monitor(source=source) as app:
        await until(120)
        for n in range(20):
            share(stage.world, f"{n}.png")
            await until(120 + 10 * n + 6)
            assert len(stage.receivers.told("attachment")) == n + 1
        assert app.health.sight(UserId("superhero3")).failures > 3


async def test_a_bug_met_on_one_users_page_stops_nobody_else(
    stage: Stage, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:

    def with_a_bug(alerts: Sequence[Alert], **more: Any) -> tuple[Finding, ...]:
        if any("superhero3" in alert.watched_users for alert in alerts):
            raise KeyError("what nobody thought of")
        return policy.decide(alerts, **more)

    monkeypatch.setattr(evaluation, "decide", with_a_bug)
    async with stage.monitor() as app:
        await until(5)
        share(stage.world, "hostile.png", to="superhero3")
        share(stage.world, "fine.png")
        await until(60)
        assert len(stage.receivers.told("attachment")) == 1
        (failing,) = [user for user in app.caretaker.overview.users() if user.last_error]
        assert (failing.uid, failing.state) == ("superhero3", UserState.FAILING)
        assert "KeyError" in (failing.last_error or "")
        assert "nobody thought" not in (failing.last_error or "")
        monkeypatch.undo()  # the next version, say
        await until(400)
    assert len(stage.receivers.told("attachment")) == 2


async def test_a_start_is_corrected_even_if_the_process_died_before_the_first_answer(
    stage: Stage, autojump_clock: MockClock
) -> None:
    """CometChat's clock is five minutes behind ours, and it did not answer while the first process lived."""
    stage.world.faults.add(Fault(kind="clock-skew", seconds=-300))
    stage.world.faults.add(Fault(kind="server-error", status=503))
    async with stage.monitor():
        await until(20)
    stage.world.faults.clear("server-error")
    for n in range(3):
        async with stage.monitor() as app:  # corrected once, not again at each start
            await until(60 + 30 * n)
            wrong = [START - row.start_at - timedelta(seconds=300) for row in app.store.users()]
            assert all(abs(one) < timedelta(seconds=2) for one in wrong), wrong
    async with stage.monitor():
        share(stage.world, "early.png")
        await until(170)
    assert len(stage.receivers.told("attachment")) == 1


async def test_news_are_no_old_news_because_our_clock_is_wrong(
    stage: Stage, autojump_clock: MockClock
) -> None:
    stage.world.faults.add(Fault(kind="clock-skew", seconds=-7200))
    async with stage.monitor() as app:
        await until(5)
        share(stage.world, "fresh.png")
        await until(15)
        assert [entry.late for entry in app.store.entries()] == [False, False]


async def test_a_blindness_is_remembered_among_a_thousand_younger_alerts(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor() as app:
        await until(5)
        stage.world.faults.add(Fault(kind="server-error", status=503))
        await until(200)
        (blind,) = app.store.alerts(rule=BLIND)
        with app.store.write() as tx:
            younger = START + timedelta(seconds=300)
            for n in range(1001):
                alert = replace(
                    blind, id=AlertId(f"{n:032}"), rule=RuleName("attachment"), first_seen_at=younger
                )
                tx.commit(Commit(findings=(Finding(alert=alert, routes=()),)))
    async with stage.monitor():
        await until(300)
        stage.world.faults.clear()
        await until(700)
    assert stage.receivers.told("cometwatch-blind") == [("firing", ()), ("resolved", ())]


@pytest.mark.parametrize("kind", ["server-error", "reset"])
async def test_after_an_outage_everything_is_found_within_the_time_of_one_probe(
    stage: Stage, autojump_clock: MockClock, kind: str
) -> None:
    async with stage.monitor():
        await until(20)
        stage.world.faults.add(Fault(kind=kind))
        await until(60)
        share(stage.world, "meanwhile.png")
        share(stage.world, "too.png", to="superhero3")
        await until(900)
        probes = [asked for asked in stage.world.requests if asked.at > START.timestamp() + 600]
        assert 300 / 40 < len(probes) <= 300 / 30 + 1
        stage.world.faults.clear()
        await until(900 + 30 + 10)
        assert len(stage.receivers.told("attachment")) == 2


async def test_a_list_that_always_fails_leaves_the_others_alone(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.monitor():
        await until(5)
        stage.world.faults.add(Fault(kind="server-error", uid="superhero3"))
        for at in range(60, 900, 60):
            await until(at)
            share(stage.world, f"{at}.png")
            await until(at + 30)
            assert len(stage.receivers.told("attachment")) == at // 60
