"""Cohorts that are discovered, on the simulator in virtual time: who is found, and who stays."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.responses import Response
from trio.testing import MockClock

from monitor.allowance import Allowance
from monitor.clock import virtual
from monitor.discovery import Discovery, Found, query_of, sightings
from monitor.errors import StoreError
from monitor.health import Health
from monitor.metrics import Metrics
from monitor.schedule.budget import Budget
from monitor.settings.watch import Discover, Watch
from monitor.simulator import Fault, Faults, World, build
from monitor.store.store import Store
from monitor.store.values import UserRow
from monitor.store.writer import Writer, inline
from rules.model import UserId
from tests.source.serving import KEY, talking_to

START = datetime(2026, 11, 22, 8, tzinfo=UTC)
SUPPORT = {"name": "support", "discover": {"tags": ["support"]}}
AGENTS = {"name": "agents", "discover": {"roles": ["agent"]}}
EVERYBODY = {"name": "all", "discover": {}}


@dataclass
class Door:
    """Before the simulator: refuses the pages it is told to, and can forget to turn them."""

    app: Starlette
    refused: set[str] = field(default_factory=set)  #: pages
    turns_pages: bool = True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        query = scope["query_string"].decode()
        if any(f"page={number}" in query.split("&") for number in self.refused):
            await Response(status_code=503)(scope, receive, send)
            return
        if not self.turns_pages:
            scope = {**scope, "query_string": b"perPage=1000&page=1"}
        await self.app(scope, receive, send)


@dataclass
class Search:
    """One life of a discovery, and what it told."""

    world: World
    store: Store
    metrics: Metrics
    door: Door
    watch: Watch
    told: list[tuple[float, dict[str, list[str]]]] = field(default_factory=list)
    fails: Exception | None = None
    health: Health = field(default_factory=lambda: Health(started_at=START))
    discovery: Discovery = field(init=False)

    async def changed(self, found: Found) -> None:
        if self.fails:
            raise self.fails
        self.told.append((trio.current_time(), plain(found)))

    @property
    def found(self) -> dict[str, list[str]]:
        return plain(self.discovery.found)

    def stored(self, uid: str) -> UserRow:
        row = self.store.user(UserId(uid))
        assert row is not None
        return row

    def sample(self, name: str, cohort: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"cometwatch_{name}", {"cohort": cohort})


def plain(found: Found) -> dict[str, list[str]]:
    return {name: sorted(uids) for name, uids in found.items()}


def watching(*cohorts: dict[str, Any], **more: Any) -> Watch:
    return Watch.model_validate({"users": ["boss"], "cohorts": list(cohorts), **more})


@asynccontextmanager
async def searching(
    folder: Path, world: World, *cohorts: dict[str, Any], per_minute: int = 6000, **more: Any
) -> AsyncIterator[Search]:
    """A discovery that runs; leaving the block ends it like a process that is killed."""
    clock = virtual(START)
    store = Store.open(f"sqlite:///{folder}/watch.db", app="app", now=clock.wall)
    writer = Writer(store, run_sync=inline)
    door = Door(build(world))
    metrics = Metrics(CollectorRegistry())
    search = Search(world, store, metrics, door, watching(*cohorts, **more))
    with store:
        async with talking_to(door, clock=clock) as client, trio.open_nursery() as running:
            await running.start(writer.run)
            search.discovery = Discovery(
                client=client,
                ask=Allowance(budget=Budget(per_minute=per_minute, now=clock.monotonic()), clock=clock).ask,
                writer=writer,
                watch=lambda: search.watch,
                start_at=clock.wall,
                changed=search.changed,
                health=search.health,
                metrics=metrics,
                clock=clock,
                random=Random(1),
            )
            search.discovery.recall(store.users())
            running.start_soon(search.discovery.run)
            yield search
            running.cancel_scope.cancel()


@pytest.fixture
async def world() -> World:
    """Ann and Ben are tagged support, Cid is an agent, Dan is neither."""
    made = World(api_key=KEY, clock=lambda: START.timestamp() + trio.current_time(), faults=Faults(seed=7))
    for uid, role, tags in (
        ("ann", "agent", ["support"]),
        ("ben", "x", ["support"]),
        ("cid", "agent", []),
        ("dan", "x", []),
    ):
        made.add_user(uid, uid.title(), role=role, tags=tags)
    return made


async def test_who_fits_is_found_and_told_once(
    tmp_path: Path, world: World, autojump_clock: MockClock
) -> None:
    async with searching(tmp_path, world, SUPPORT, AGENTS) as search:
        await trio.sleep(1000)  # some rounds
        assert [found for _, found in search.told] == [{"support": ["ann", "ben"], "agents": ["cid"]}]
        row = search.stored("ann")
        assert (row.cohort, row.start_at, row.left_at) == ("support", search.stored("ben").start_at, None)
        assert START < row.start_at < START + timedelta(seconds=5)
        assert search.sample("discovered_users", "support") == 2
        assert (search.sample("discovery_last_success_timestamp_seconds", "agents") or 0) > START.timestamp()
        assert 3 <= len(world.requests) // 2 <= 5  # every five minutes, more or less
        spent = search.metrics.requests_total.labels("users", "ok")
        assert spent._value.get() == len(world.requests)


async def test_who_comes_is_found_by_the_next_round_and_who_goes_stays_for_the_grace(
    tmp_path: Path, world: World, autojump_clock: MockClock
) -> None:
    async with searching(tmp_path, world, SUPPORT, refresh="1m", grace="1h") as search:
        await trio.sleep(30)
        world.change_user("dan", tags=["support"])
        world.change_user("ann", tags=[])
        world.set_active("ben", is_active=False)
        await trio.sleep(70)
        (at, found), *_ = search.told[1:]
        assert 50 < at < 70
        assert found == {"support": ["ann", "ben", "dan"]}
        await trio.sleep(3400)
        assert search.found == {"support": ["ann", "ben", "dan"]}
        await trio.sleep(200)
        assert search.found == search.told[2][1] == {"support": ["dan"]}
        assert search.stored("ann").cohort == "support"  # whoever adopts what is told unwatches her


async def test_who_is_found_again_within_the_grace_was_never_gone(
    tmp_path: Path, world: World, autojump_clock: MockClock
) -> None:
    async with searching(tmp_path, world, SUPPORT, refresh="1m", grace="1h") as search:
        for _ in range(3):
            await trio.sleep(3000)
            world.change_user("ann", tags=[])
            await trio.sleep(3000)
            world.change_user("ann", tags=["support"])
        assert len(search.told) == 1


async def test_a_list_that_was_not_read_to_the_end_changes_nothing(
    tmp_path: Path, world: World, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    crowd(world, 1500)
    async with searching(tmp_path, world, EVERYBODY, SUPPORT, grace="0s") as search:
        await trio.sleep(60)
        success = search.sample("discovery_last_success_timestamp_seconds", "all")
        search.door.refused.add("2")
        for uid in ("ann", "u0001", "u1400"):
            world.set_active(uid, is_active=False)
        world.add_user("new")
        await trio.sleep(1800)
        assert len(search.found["all"]) == 1504
        assert len(search.told) == 1
        assert search.sample("discovery_last_success_timestamp_seconds", "all") == success
        assert "discovery.failed" in capsys.readouterr().out
        assert (search.health.discovery_error or "").startswith('cohort "all": users: ')
        search.door.refused.clear()
        await trio.sleep(70)  # it is tried again every minute
        assert search.health.discovery_error is None
        assert len(search.found["all"]) == 1502
        assert "new" in search.found["all"]


async def test_a_server_that_does_not_turn_pages_is_not_believed(
    tmp_path: Path, world: World, autojump_clock: MockClock
) -> None:
    crowd(world, 1500)
    async with searching(tmp_path, world, EVERYBODY) as search:
        search.door.turns_pages = False
        await trio.sleep(30)
        assert search.found == {"all": []}
        assert len(world.requests) == 2


async def test_a_crowd_is_asked_for_within_the_budget(
    tmp_path: Path, world: World, autojump_clock: MockClock
) -> None:
    crowd(world, 9500)
    async with searching(tmp_path, world, EVERYBODY, per_minute=60) as search:
        await trio.sleep(8.5)
        assert search.told == []
        await trio.sleep(3)
        assert len(search.found["all"]) == 9504
        assert len(world.requests) == 10


async def test_a_new_process_watches_at_once_who_was_found_before(
    tmp_path: Path, world: World, autojump_clock: MockClock
) -> None:
    async with searching(tmp_path, world, SUPPORT):
        await trio.sleep(60)
    world.faults.add(Fault(kind="server-error"))
    world.change_user("dan", tags=["support"])
    await trio.sleep(7200)
    async with searching(tmp_path, world, SUPPORT, AGENTS) as search:
        assert search.found == {"support": ["ann", "ben"], "agents": []}
        await trio.sleep(600)
        assert search.found == {"support": ["ann", "ben"], "agents": []}
        assert search.told == []
        world.faults.clear()
        await trio.sleep(70)
        assert [found for _, found in search.told] == [{"support": ["ann", "ben", "dan"], "agents": ["cid"]}]


async def test_a_restart_shortens_a_grace_by_little(
    tmp_path: Path, world: World, autojump_clock: MockClock
) -> None:
    async with searching(tmp_path, world, SUPPORT, refresh="10m", grace="24h"):
        await trio.sleep(12 * 3600)
        world.change_user("ann", tags=[])
    async with searching(tmp_path, world, SUPPORT, refresh="10m", grace="24h") as search:
        await trio.sleep(22.9 * 3600)
        assert search.found == {"support": ["ann", "ben"]}
        await trio.sleep(1.2 * 3600)
        assert search.found == {"support": ["ben"]}


async def test_other_cohorts_are_asked_for_at_once(
    tmp_path: Path, world: World, autojump_clock: MockClock
) -> None:
    async with searching(tmp_path, world, SUPPORT) as search:
        await trio.sleep(10)
        search.discovery.reconsider()  # a reload of something else
        await trio.sleep(10)
        assert len(world.requests) == 1
        search.watch = watching(SUPPORT, refresh="1h")
        search.discovery.reconsider()
        await trio.sleep(10)
        assert len(world.requests) == 2
        search.watch = watching(AGENTS)
        search.discovery.reconsider()
        await trio.sleep(10)
        assert search.found == {"agents": ["ann", "cid"]}
        assert search.sample("discovered_users", "support") is None


async def test_without_cohorts_to_discover_nobody_is_asked_until_there_are_some(
    tmp_path: Path, world: World, autojump_clock: MockClock
) -> None:
    async with searching(tmp_path, world) as search:
        await trio.sleep(86_400)
        assert len(world.requests) == 0
        search.watch = watching(SUPPORT)
        search.discovery.reconsider()
        await trio.sleep(10)
        assert search.found == {"support": ["ann", "ben"]}


async def test_what_could_not_be_adopted_is_told_again(
    tmp_path: Path, world: World, autojump_clock: MockClock
) -> None:
    async with searching(tmp_path, world, SUPPORT) as search:
        search.fails = StoreError("disk full")
        await trio.sleep(100)
        assert search.told == []
        search.fails = None
        await trio.sleep(70)
        assert [found for _, found in search.told] == [{"support": ["ann", "ben"]}]


def crowd(world: World, size: int) -> None:
    for number in range(size):
        world.add_user(f"u{number:04}")


# --- the question and the sums ----------------------------------------------------------------------


def test_a_cohort_becomes_the_documented_parameters() -> None:
    discover = Discover(search="help", roles=("agent", "lead"), tags=("support",), status="available")
    assert dict(query_of(discover, page=3).params()) == {
        "searchKey": "help",
        "roles": "agent,lead",
        "tags": "support",
        "status": "available",
        "perPage": "1000",
        "page": "3",
    }
    assert dict(query_of(Discover(), page=1).params()) == {"perPage": "1000", "page": "1"}


uids = st.sets(st.sampled_from("abcdef").map(UserId))
rounds = st.lists(st.tuples(*[st.none() | uids] * 3), min_size=1, max_size=12)


@given(rounds)
def test_after_any_rounds_each_user_is_in_one_cohort_and_leaves_only_after_the_grace(
    rounds: Sequence[tuple[set[UserId] | None, ...]],
) -> None:
    grace = timedelta(minutes=2)
    state: dict[str, dict[UserId, datetime]] = {}
    last_seen: dict[UserId, datetime] = {}
    for minute, read in enumerate(rounds):
        now = START + timedelta(minutes=minute)
        before, state = state, sightings(state, dict(zip("xyz", read, strict=True)), now=now, grace=grace)
        last_seen |= {uid: now for found in read for uid in found or ()}
        everybody = [uid for seen in state.values() for uid in seen]
        assert len(everybody) == len(set(everybody))
        assert {uid for uid, at in last_seen.items() if now - at < grace} <= set(everybody)
        for name, found in zip("xyz", read, strict=True):
            earlier = before.get(name, {})
            if found is None:
                taken = set(everybody) - state[name].keys()
                assert state[name].keys() == earlier.keys() - taken
            else:
                kept = state[name].keys() - found
                assert all(now - earlier[uid] < grace for uid in kept)
