"""The wrong moment: what operators and CometChat do while a request or a commit is on its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import TypeVar, TypeVarTuple

import httpx
import trio
from trio.testing import MockClock

from monitor.simulator import Fault, build
from rules.model import MessageId, UserId
from tests.acceptance.stage import CONFIG, START, Stage, say, share, silence, until

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
ALICE = UserId("superhero2")


@dataclass
class Slow(httpx.AsyncBaseTransport):
    """CometChat at the end of a long line: answers are made at once and arrive `delay` later."""

    stage: Stage
    delay: float = 0.0
    asked: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._inner = httpx.ASGITransport(build(self.stage.world))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((trio.current_time(), request.url.path))
        response = await self._inner.handle_async_request(request)
        body = await response.aread()
        await trio.sleep(self.delay)
        return httpx.Response(response.status_code, headers=response.headers, stream=httpx.ByteStream(body))

    def asked_since(self, moment: float) -> set[str]:
        return {path.split("/")[-2] for at, path in self.asked if at > moment}


async def test_a_cursor_set_while_an_empty_answer_is_on_its_way_stops_nobody(
    stage: Stage, autojump_clock: MockClock
) -> None:
    say(stage.world, "hello")
    say(stage.world, "hello", to="superhero3")
    source = Slow(stage)
    async with stage.monitor(source=source) as app:
        await until(30)
        source.delay = 9.0  # the caretaker looks every two seconds: it will look in between
        await until(61)
        with app.store.write() as tx:
            tx.set_cursor(ALICE, MessageId(1))
        await until(90)
        source.delay = 0.0
        await until(120)
        assert source.asked_since(115) == {"superhero2", "superhero3"}
        share(stage.world, "after.png")
        await until(130)
    assert len(stage.receivers.told("attachment")) == 1


async def test_a_silence_while_answers_are_on_their_way_stops_nobody(
    stage: Stage, autojump_clock: MockClock
) -> None:
    source = Slow(stage)
    async with stage.monitor(source=source) as app:
        await until(10)
        source.delay = 1.3
        for n in range(30):
            share(stage.world, f"{n}.png", to=["superhero2", "superhero3"][n % 2])
            with app.store.write() as tx:
                tx.end_silence(silence(tx, "nothing", until=START + timedelta(hours=1)))
            await until(12 + n)
        await until(60)
        assert source.asked_since(50) == {"superhero2", "superhero3"}
    assert len(stage.receivers.told("attachment")) == 30


async def test_a_user_dropped_at_the_moment_of_the_probe_does_not_shut_the_gate_for_ever(
    stage: Stage, autojump_clock: MockClock
) -> None:
    file = stage.folder / "cometwatch.yaml"
    async with stage.monitor() as app:
        await until(20)
        stage.world.faults.add(Fault(kind="rate-limited", seconds=30, count=1))
        await until(25)
        gate = app.intake.allowance.gate
        assert gate.closed_until is not None
        take = gate.take

        def take_and_drop() -> bool:
            app.intake.unfollow(app.intake.followed)  # as a reload does, before the request is begun
            gate.take = take  # type: ignore[method-assign]
            return take()

        gate.take = take_and_drop  # type: ignore[method-assign]
        await until(70)
        file.write_text(file.read_text(encoding="utf-8").replace("heroes", "avengers"), encoding="utf-8")
        assert await app.reload("test")  # and follows them again
        share(stage.world, "after.png")
        await until(90)
    assert len(stage.receivers.told("attachment")) == 1


async def test_a_timer_started_while_the_configuration_is_exchanged_is_not_forgotten(
    stage: Stage, autojump_clock: MockClock
) -> None:
    random = Random(3)

    async def slow(function: Callable[[*Ts], T], /, *args: *Ts) -> T:
        await trio.sleep(random.uniform(0, 0.4))
        result = function(*args)
        await trio.sleep(random.uniform(0, 0.4))
        return result

    file = stage.folder / "cometwatch.yaml"
    async with stage.monitor(run_sync=slow) as app:
        await until(5)
        text = file.read_text(encoding="utf-8")
        for n in range(40):  # calls and reloads fall together in every order
            stage.world.start_call("superhero1", ["superhero2", "superhero3"][n % 2])
            file.write_text(text.replace("heroes", f"team-{n}"), encoding="utf-8")
            assert await app.reload("test")
        await until(40)
        assert {timer.key for timer in app.store.timers()} == set(app.intake.accounts.timers)
        await until(150)
    assert len(stage.receivers.told("missed-call")) == 40


async def test_a_call_answered_long_ago_is_not_told_when_a_cursor_is_set_back(
    stage: Stage, autojump_clock: MockClock
) -> None:
    """The state of the call is forgotten; one list is read again from before it, the other is not."""
    rules = stage.folder / "rules.yaml"
    rules.write_text("rules: [{name: rang, kind: missed_call, severity: info}]\n", encoding="utf-8")
    source = Slow(stage)
    config = CONFIG + f'rules: {{packs: [], files: ["{rules}"]}}\n'
    stage.world.faults.add(Fault(kind="page-size", size=2))
    async with stage.monitor(config, source=source) as app:
        await until(5)
        say(stage.world, "first", sender="superhero3")
        call, _ = stage.world.start_call("superhero3", "superhero2")
        say(stage.world, "then", sender="superhero3")
        stage.world.change_call(call.session_id, "ongoing", by="superhero2")
        await until(300)
        rules.write_text(
            "rules: [{name: rang, kind: missed_call, severity: warning, ring_timeout: 60s}]\n",
            encoding="utf-8",
        )
        assert await app.reload("test")
        with app.store.write() as tx:
            tx.set_cursor(ALICE, MessageId(1))
        source.delay = 5.0
        await until(500)
    assert stage.receivers.told("rang") == []


async def test_a_list_that_a_command_skips_answers_nothing(stage: Stage, autojump_clock: MockClock) -> None:
    config = CONFIG.replace(", superhero3]", "]")
    async with stage.monitor(config) as app:
        await until(5)
        call, _ = stage.world.start_call("superhero1", "superhero2")
        await until(20)
        source_down = Fault(kind="server-error", status=503)
        stage.world.faults.add(source_down)
        stage.world.change_call(call.session_id, "ongoing", by="superhero2")
        last = say(stage.world, "no news")
        await until(40)
        with app.store.write() as tx:
            tx.set_cursor(ALICE, MessageId(int(last)))
        stage.world.faults.clear()
        await until(400)
        assert [closure.reason for closure in app.store.closures()] == [
            "`cursor set` skipped a part of the list"
        ]
    assert stage.receivers.told("missed-call") == []
