"""The client on the simulator: real lists, and each of its troubles told by its right name."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest
from trio.testing import MockClock

from monitor.clock import Clock
from monitor.simulator import Fault, Faults, Options, World, build, populate
from monitor.source.client import (
    BadKey,
    BadResponse,
    Client,
    Endpoint,
    MessageQuery,
    NoAccess,
    RateLimited,
    ServerError,
    SourceError,
    UnknownUser,
    Unreachable,
    UserQuery,
)
from monitor.source.pages import Page
from monitor.source.transport import open_http
from rules.model import MessageId, UserId
from tests.source.serving import KEY

UID = UserId("user1")


@asynccontextmanager
async def simulated(*faults: Fault, key: str = KEY, rate_limit: int | None = None) -> AsyncIterator[Client]:
    world = World(
        api_key=KEY,
        clock=time.time,
        faults=Faults(*faults),
        options=Options(gzip=True),
        rate_limit=rate_limit,
    )
    populate(world, users=2, backlog=25)
    async with open_http(transport=httpx.ASGITransport(build(world))) as http:
        yield Client(
            base_url="http://sim.test/v3.0", api_key=lambda: key, http=http, clock=Clock(), timeout_s=20
        )


async def page(*faults: Fault, query: MessageQuery | None = None) -> Page:
    async with simulated(*faults) as client:
        return await client.messages(UID, query or MessageQuery.newest(10))


async def test_a_list_is_walked_from_end_to_end_without_gap_or_repeat() -> None:
    async with simulated() as client:
        ids: list[MessageId] = []
        while True:
            read = await client.messages(UID, MessageQuery.after(ids[-1] if ids else MessageId(1), 10))
            ids += [message.id for message in read.messages]
            if read.rows < 10:
                break
        back = await client.messages(UID, MessageQuery.before(ids[-1], 1000))
        newest = await client.messages(UID, MessageQuery.newest(10), endpoint=Endpoint.USER_ALL)
    assert ids == sorted(set(ids))
    assert len(ids) == 25
    assert [message.id for message in back.messages] == ids[:-1]
    assert (newest.size, [message.id for message in newest.messages]) == (10, ids[-10:])


async def test_users_are_listed_and_shown() -> None:
    async with simulated() as client:
        second = await client.users(UserQuery(per_page=1, page=2))
        assert [user.id for user in second.parties] == ["user2"]
        assert (second.total_pages, second.more(1)) == (2, True)
        assert not (await client.users(UserQuery(per_page=1, page=3))).more(1)
        assert (await client.user(UID)).label == "User 1 (user1)"
        with pytest.raises(UnknownUser):
            await client.user(UserId("nobody"))


async def test_unread_messages_are_counted() -> None:
    async with simulated() as client:
        (count,) = await client.counts(UID, MessageQuery(unread=True))
    assert (count.entity_type, count.entity_id) == ("user", "user2")
    assert count.count > 0


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(kind="rate-limited"), RateLimited),
        (Fault(kind="rate-limited", retry_after="date"), RateLimited),
        (Fault(kind="server-error", status=500), ServerError),
        (Fault(kind="server-error", status=503), ServerError),
        (Fault(kind="key-expired"), BadKey),
        (Fault(kind="no-access"), NoAccess),
        (Fault(kind="reset"), Unreachable),
        (Fault(kind="hang", seconds=3600), Unreachable),
        (Fault(kind="slow", seconds=3600), Unreachable),
    ],
)
async def test_a_trouble_is_told_by_its_name(
    autojump_clock: MockClock, fault: Fault, kind: type[SourceError]
) -> None:
    with pytest.raises(SourceError) as caught:
        await page(fault)
    assert type(caught.value) is kind
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_rate_limit_says_how_long(form: str) -> None:
    with pytest.raises(RateLimited) as caught:
        await page(Fault(kind="rate-limited", seconds=20, retry_after=form))
    assert caught.value.retry_after is not None
    assert timedelta(seconds=18) <= caught.value.retry_after <= timedelta(seconds=21)


@pytest.mark.parametrize(("kind", "error"), [("truncated", Unreachable), ("cut-body", BadResponse)])
async def test_half_an_answer_is_no_page(kind: str, error: type[SourceError]) -> None:
    with pytest.raises(error):
        await page(Fault(kind=kind))


async def test_a_shuffled_page_comes_sorted() -> None:
    ids = [message.id for message in (await page(Fault(kind="out-of-order"))).messages]
    assert ids == sorted(ids)


async def test_the_page_size_the_server_used_is_known() -> None:
    read = await page(Fault(kind="page-size", size=3))
    assert (read.rows, read.size) == (3, 3)


async def test_the_api_s_clock_is_corrected_for() -> None:
    read = await page(Fault(kind="clock-skew", seconds=300))
    assert timedelta(seconds=299) <= read.skew <= timedelta(seconds=301)
    assert abs(read.started_at - read.received_at - read.skew) < timedelta(seconds=10)


async def test_the_quota_is_read() -> None:
    async with simulated(rate_limit=100) as client:
        rate = (await client.messages(UID, MessageQuery.newest(1))).rate
    assert (rate.limit, rate.remaining) == (100, 99)
    assert rate.reset_at is not None
