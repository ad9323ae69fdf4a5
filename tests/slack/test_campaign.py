"""A short campaign; `python -m tests.slack` has a thousand posts."""

from __future__ import annotations

from trio.testing import MockClock

from tests.slack.__main__ import told
from tests.slack.campaign import run

POSTS = 40


async def test_ambiguous_posts_are_one_message_each(autojump_clock: MockClock) -> None:
    result = await run(POSTS, seed=5)
    assert result.visible == {1: POSTS}, told(result)
    assert (result.stale, result.repeated, result.unsettled) == (0, 0, 0), told(result)
    assert result.replies == POSTS
    assert result.kills > 0
    assert sum(count for fault, count in result.faults.items() if fault != "none") > 2 * POSTS
