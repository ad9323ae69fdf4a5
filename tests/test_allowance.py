"""One request at a time is let through, for everybody on our key, and exactly one finds out what is new."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import trio
from trio.testing import MockClock

from monitor.allowance import Allowance
from monitor.clock import virtual
from monitor.schedule.budget import Budget
from monitor.source.client import RateLimited
from monitor.source.pages import RateInfo

START = datetime(2026, 11, 22, 8, tzinfo=UTC)


def allowing(per_minute: int = 600) -> Allowance:
    clock = virtual(START)
    return Allowance(budget=Budget(per_minute=per_minute, now=clock.monotonic()), clock=clock)


def limited(seconds: float) -> RateLimited:
    return RateLimited("too many requests", retry_after=timedelta(seconds=seconds))


async def probing(allowance: Allowance) -> None:
    """A request is granted, and it is the probe."""
    granted = await allowance.grant(lambda _: "a list")
    assert granted == ("a list", True)


async def test_a_probe_that_is_being_stored_lets_no_second_one_start(autojump_clock: MockClock) -> None:
    allowance = allowing()
    allowance.refused(limited(5))
    await probing(allowance)
    allowance.answered(is_probe=True)  # its page is stored now, and that takes long
    assert allowance.wait() < 1
    allowance.refused(limited(5))  # somebody else's
    await trio.sleep(6)
    assert allowance.wait() == math.inf
    allowance.over(is_probe=True)
    assert allowance.wait() == 0
    await probing(allowance)
    assert allowance.wait() == math.inf


async def test_a_probe_that_was_overtaken_by_a_refusal_opens_nothing(autojump_clock: MockClock) -> None:
    allowance = allowing()
    allowance.refused(limited(5))
    await probing(allowance)
    allowance.refused(limited(30))  # a request that was on its way for long
    allowance.answered(is_probe=True)
    allowance.over(is_probe=True)
    assert 29 < allowance.wait() <= 30
    await trio.sleep(30)
    await probing(allowance)
    allowance.answered(is_probe=True)
    allowance.over(is_probe=True)
    assert allowance.wait() < 1


async def test_who_waits_for_a_reset_goes_on_when_more_is_left_than_was_thought(
    autojump_clock: MockClock,
) -> None:
    allowance = allowing()
    reset_at = START + timedelta(seconds=50)
    allowance.learn(RateInfo(limit=600, remaining=0, reset_at=reset_at), api_now=START)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(allowance.grant, lambda _: "a list")
        await trio.sleep(1)
        allowance.learn(RateInfo(limit=600, remaining=590, reset_at=reset_at), api_now=START)
    assert trio.current_time() < 2
