"""Signs of life: given while the whole road works, withheld while any part of it does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog.testing
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from monitor.clock import virtual
from monitor.heartbeat import GIVE_UP_S, Beat, Heart, Hearts, obstacles
from monitor.web.view import BudgetView, ReceiverView, StatusView, Tally, UserState, UserView
from rules.model import ListId

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
LIMIT = timedelta(minutes=15)


def user(state: UserState = UserState.CURRENT, **changes: Any) -> UserView:
    facts: dict[str, Any] = {"uid": ListId("ann"), "state": state, "lag_s": 20.0, "promise_s": 60.0}
    return UserView(**{**facts, **changes})


def queue(waited: timedelta | None) -> ReceiverView:
    oldest = NOW - waited if waited is not None else None
    return ReceiverView(receiver="oncall", pending=int(oldest is not None), dead=0, oldest_at=oldest)


WELL = StatusView(
    version="1",
    app="275211",
    now=NOW,
    started_at=NOW - timedelta(hours=1),
    budget=BudgetView(requests_per_minute=250),
    lists=Tally(states={UserState.CURRENT: 1}),
    worst=(user(),),
    receivers=(queue(None),),
    last_poll_at=NOW - timedelta(seconds=5),
)


@pytest.mark.parametrize(
    "view",
    [
        WELL,
        replace(WELL, worst=(user(lag_s=290.0),)),
        replace(WELL, worst=(user(lag_s=1700.0, promise_s=600.0),)),
        replace(WELL, worst=(user(lag_s=500.0), ), budget=BudgetView(requests_per_minute=9, stretch=3.0)),
        replace(WELL, worst=(user(UserState.UNKNOWN, lag_s=90_000.0),)),
        replace(WELL, receivers=(queue(timedelta(minutes=14)),)),
    ],
    ids=["well", "a little behind", "as promised", "as stretched", "a user that is gone", "a short queue"],
)  # fmt: skip
def test_nothing_is_in_the_way(view: StatusView) -> None:
    assert obstacles(view, queue_limit=LIMIT) == ()


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (replace(WELL, store_error="disk is full"), "the store takes no commits: disk is full"),
        (replace(WELL, blind_since=NOW, last_error="timeout"), "can't read CometChat since 2026-11-22"),
        (replace(WELL, last_poll_at=NOW - timedelta(minutes=9)), "no poll was answered for 9 min"),
        (replace(WELL, worst=(user(lag_s=301.0),)), "a list was read only up to 5 min 1 s ago"),
        (replace(WELL, receivers=(queue(timedelta(minutes=16)),)), "has waited for oncall for 16 min"),
    ],
    ids=["store", "blind", "silent", "behind", "queue"],
)  # fmt: skip
def test_what_is_in_the_way_is_told(view: StatusView, said: str) -> None:
    (only,) = obstacles(view, queue_limit=LIMIT)
    assert said in only


class Given:
    """A place for signs of life that fails as told."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.failure: str | None = None
        self.hangs = False

    async def __call__(self) -> str | None:
        self.at.append(trio.current_time())
        if self.hangs:
            await trio.sleep_forever()
        return self.failure


class Life:
    def __init__(self, every_s: float = 60) -> None:
        self.given, self.view, self.arrived = Given(), WELL, list[float]()
        beat = Beat(name="1", every=timedelta(seconds=every_s), queue_limit=LIMIT)
        self.heart = Heart(
            beat, self.given, status=lambda: self.view, clock=virtual(NOW),
            told=lambda _, at: self.arrived.append((at - NOW).total_seconds()),
        )  # fmt: skip


async def test_signs_stop_with_the_work_and_come_back_with_it(autojump_clock: MockClock) -> None:
    life = Life()
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(life.heart.run)
            await trio.sleep(130)
            life.view = replace(WELL, store_error="disk is full")
            await trio.sleep(180)
            life.view = WELL
            await trio.sleep(60)
            nursery.cancel_scope.cancel()
    assert life.given.at == [0, 60, 120, 360]
    assert [one["event"] for one in logs] == ["heartbeat.withheld", "heartbeat.resumed"]  # each once


async def test_a_sign_that_fails_is_told_and_given_again_at_its_time(autojump_clock: MockClock) -> None:
    life = Life()
    life.given.failure = "it answered 503"
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(life.heart.run)
            await trio.sleep(50)
            life.given.failure, life.given.hangs = None, True
            await trio.sleep(60)
            life.given.hangs = False
            await trio.sleep(60)
            nursery.cancel_scope.cancel()
    assert life.given.at == [0, 60, 60 + GIVE_UP_S + 60]
    assert life.arrived == [60 + GIVE_UP_S + 60]
    assert [one["error"] for one in logs] == ["it answered 503", "no answer within 20 s"]


async def test_a_reload_begins_anew_with_other_hearts(autojump_clock: MockClock) -> None:
    first, second = Life(), Life(every_s=30)
    wanted = [first.heart]
    hearts = Hearts(lambda: wanted)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hearts.run)
        await trio.sleep(70)
        wanted = [second.heart]
        hearts.renew()
        await trio.sleep(50)
        nursery.cancel_scope.cancel()
    assert (first.given.at, second.given.at) == ([0, 60], [70, 100])
