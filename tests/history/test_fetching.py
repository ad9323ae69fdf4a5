"""History from the simulated API: complete, within the budget, resumed where it was."""

from __future__ import annotations

import gzip
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import httpx
import pytest
import trio
from trio.testing import MockClock

from monitor.allowance import Allowance
from monitor.clock import virtual
from monitor.history import fetching
from monitor.history.coverage import reaches
from monitor.history.fetching import Fetched, Step, fetch
from monitor.history.shelf import HistoryError, Place, Shelf, path_of, read
from monitor.schedule.budget import Budget
from monitor.simulator import Fault, Faults, Note, Options, World, build
from monitor.source.client import BadKey, BadResponse, Client, MessageQuery, ServerError, SourceError
from monitor.source.transport import open_http
from tests.source.serving import KEY

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ANN, BOB, NOBODY = (Place("app", "user", name) for name in ("ann", "bob", "nobody"))
TEAM = Place("app", "group", "team")
EVERYBODY = Place("app", "app", "")


@dataclass
class Archive:
    """A simulated app with a past, and somebody who fetches it into `folder`."""

    world: World
    client: Client
    allowance: Allowance
    folder: Path
    troubles: list[SourceError] = field(default_factory=list)

    async def fetch(
        self, *places: Place, days: float = 1000, is_redacted: bool = False, steps: list[Step] | None = None
    ) -> Fetched:
        return await fetch(
            self.client,
            self.allowance,
            places,
            since=virtual(START).wall() - days * DAY,
            folder=self.folder,
            is_redacted=is_redacted,
            tell=(steps if steps is not None else []).append,
            waits=self.troubles.append,
            random=Random(1),
        )

    def kept(self, place: Place, *, is_redacted: bool = False) -> list[int]:
        """The ids in the cache, each once."""
        volume = read(path_of(self.folder, place, is_redacted=is_redacted))
        return sorted({message.id for message in volume.messages})

    def asked(self) -> int:
        """Requests that arrived."""
        return len(self.world.requests)

    def say(self, count: int, *, days: float, to: str = "bob") -> list[int]:
        """Messages of Ann, spread over the time from so many days ago until now."""
        span, now = days * 86_400, self.world.now()
        return [
            self.world.send(
                "ann",
                to,
                content={"text": f"sesame {n}"},
                receiver_type="group" if to == "team" else "user",
                note=Note(sent_at=int(now - 120 - span + span * n / count)),
            ).id
            for n in range(count)
        ]


@pytest.fixture
async def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Archive]:
    """With pages of 50. The test itself asks for `autojump_clock`: pytest-trio wants that."""
    monkeypatch.setattr(fetching, "SIZE", 50)
    monkeypatch.setattr("monitor.history.coverage.SIZE", 50)
    async with archived(tmp_path) as made:
        yield made


@asynccontextmanager
async def archived(folder: Path, *faults: Fault, rate_limit: int | None = None) -> AsyncIterator[Archive]:
    clock = virtual(START)
    world = World(
        api_key=KEY,
        clock=lambda: clock.wall().timestamp(),
        faults=Faults(*faults),
        options=Options(),
        rate_limit=rate_limit,
    )
    for uid in ("ann", "bob", "cleo"):
        world.add_user(uid)
    world.add_group("team", members=["ann", "bob"], owner="ann")
    async with open_http(transport=httpx.ASGITransport(build(world))) as http:
        client = Client(
            base_url="http://sim.test/v3", api_key=lambda: KEY, http=http, clock=clock, timeout_s=20
        )
        budget = Budget(per_minute=120, now=clock.monotonic())
        yield Archive(world, client, Allowance(budget=budget, clock=clock), folder)


async def test_every_row_is_fetched_back_to_the_first(archive: Archive, autojump_clock: MockClock) -> None:
    ids = archive.say(230, days=30)
    fetched = await archive.fetch(ANN, BOB)
    assert (archive.kept(ANN), archive.kept(BOB)) == (ids, ids)
    assert fetched == Fetched(requests=10, rows=460)


async def test_pages_end_where_the_day_asked_for_begins(archive: Archive, autojump_clock: MockClock) -> None:
    ids = archive.say(230, days=30)
    await archive.fetch(ANN, days=10)
    kept = archive.kept(ANN)
    assert set(kept) >= set(ids[-76:])  # a third of them
    assert len(kept) <= 150
    assert archive.asked() == 2


async def test_groups_and_the_whole_app_are_lists_like_any_other(
    archive: Archive, autojump_clock: MockClock
) -> None:
    theirs, own = archive.say(60, days=3, to="team"), archive.say(10, days=3)
    await archive.fetch(TEAM, EVERYBODY, ANN)
    assert (archive.kept(TEAM), archive.kept(ANN)) == (theirs, own)
    assert archive.kept(EVERYBODY) == sorted(theirs + own)


async def test_the_next_run_asks_for_news_alone(archive: Archive, autojump_clock: MockClock) -> None:
    ids = archive.say(230, days=30)
    await archive.fetch(ANN)
    await trio.sleep(3600)
    ids += archive.say(5, days=0.01)
    before = archive.asked()
    assert (await archive.fetch(ANN)).requests == 1
    assert archive.asked() - before == 1
    assert archive.kept(ANN) == ids


async def test_an_earlier_day_asks_for_what_is_older_alone(
    archive: Archive, autojump_clock: MockClock
) -> None:
    ids = archive.say(230, days=30)
    await archive.fetch(ANN, days=10)
    read_by_now = archive.asked()
    await archive.fetch(ANN)
    assert archive.asked() - read_by_now == 1 + math.ceil((230 - 100) / 50)  # news, then where it was
    assert archive.kept(ANN) == ids


async def test_an_interrupted_fetch_goes_on_where_it_was(archive: Archive, autojump_clock: MockClock) -> None:
    ids = archive.say(400, days=30)
    steps: list[Step] = []
    with trio.move_on_after(2.2):  # the budget grants two a second
        await archive.fetch(ANN, steps=steps)
    done = len(steps)
    assert 2 <= done <= 5
    assert not steps[-1].is_done
    await archive.fetch(ANN)
    assert archive.kept(ANN) == ids
    assert archive.asked() <= 400 // 50 + 1 + 2  # each page once, the news again, one that was cut off
    assert reaches(read(path_of(archive.folder, ANN, is_redacted=False)).leaves, START - 1000 * DAY)


async def test_the_budget_holds_in_any_minute(archive: Archive, autojump_clock: MockClock) -> None:
    archive.say(6000, days=30)
    await archive.fetch(ANN, BOB, EVERYBODY)
    times = [request.at for request in archive.world.requests]
    assert len(times) > 300
    assert max(sum(at <= other < at + 60 for other in times) for at in times) <= 120


async def test_what_passes_is_waited_for(archive: Archive, autojump_clock: MockClock) -> None:
    ids = archive.say(230, days=30)
    archive.world.faults.add(Fault(kind="server-error", status=503, count=2))
    archive.world.faults.add(Fault(kind="rate-limited", seconds=7, count=2))
    archive.world.faults.add(Fault(kind="truncated", count=1))
    fetched = await archive.fetch(ANN)
    assert archive.kept(ANN) == ids
    assert 5 + 3 <= fetched.requests <= 5 + 5  # one request may meet two troubles
    assert 1 <= len(archive.troubles) <= 3  # each is told once, not each failure


async def test_what_does_not_pass_is_told_and_what_was_read_is_kept(
    archive: Archive, autojump_clock: MockClock
) -> None:
    ids = archive.say(230, days=30)
    with trio.move_on_after(1.1):
        await archive.fetch(ANN)
    kept = archive.kept(ANN)
    assert kept
    archive.world.faults.add(Fault(kind="server-error"))
    with pytest.raises(ExceptionGroup) as caught:
        await archive.fetch(ANN)
    assert caught.group_contains(ServerError)
    assert archive.kept(ANN) == kept
    archive.world.faults.clear()
    await archive.fetch(ANN)
    assert archive.kept(ANN) == ids


async def test_a_wrong_key_ends_it_at_once(archive: Archive, autojump_clock: MockClock) -> None:
    archive.world.faults.add(Fault(kind="key-expired"))
    with pytest.raises(ExceptionGroup) as caught:
        await archive.fetch(ANN)
    assert caught.group_contains(BadKey)
    assert archive.asked() == 1


async def test_an_unknown_list_does_not_stop_the_others(archive: Archive, autojump_clock: MockClock) -> None:
    ids = archive.say(60, days=3)
    steps: list[Step] = []
    fetched = await archive.fetch(NOBODY, ANN, steps=steps)
    assert fetched.unknown == (NOBODY,)
    assert archive.kept(ANN) == ids
    assert {step.place for step in steps if step.is_done} == {NOBODY, ANN}


@pytest.mark.parametrize("echo", ["used", "none"])
async def test_a_server_with_pages_of_its_own_size_is_read_to_the_end(
    archive: Archive, autojump_clock: MockClock, echo: str
) -> None:
    ids = archive.say(40, days=3)
    archive.world.faults.add(Fault(kind="page-size", size=7, echo=echo))
    await archive.fetch(ANN)
    assert archive.kept(ANN) == ids


async def test_rows_that_cannot_be_read_are_counted(archive: Archive, autojump_clock: MockClock) -> None:
    archive.world.faults.add(Fault(kind="malformed-row", count=3))
    ids = archive.say(60, days=3)
    await archive.fetch(ANN)
    assert archive.kept(ANN) == ids
    leaves = read(path_of(archive.folder, ANN, is_redacted=False)).leaves
    assert sum(leaf.rejects for leaf in leaves) == 3


async def test_a_server_that_shows_one_page_for_ever_is_left(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with archived(tmp_path) as archive:
        archive.say(60, days=3)
        page = await archive.client.messages("ann", MessageQuery.newest(20))

        class Deaf:
            async def messages(self, *_: object, **__: object) -> object:
                return page

        archive.client = Deaf()  # type: ignore[assignment] # it does not heed what is asked
        with pytest.raises(ExceptionGroup) as caught:
            await archive.fetch(ANN)
        assert caught.group_contains(BadResponse, match="asked for rows before [0-9]+, and row [0-9]+ came")


async def test_redacted_history_never_holds_what_was_written(
    archive: Archive, autojump_clock: MockClock
) -> None:
    ids = archive.say(120, days=3)
    await archive.fetch(ANN, is_redacted=True)
    assert archive.kept(ANN, is_redacted=True) == ids
    files = [file for file in archive.folder.rglob("*") if file.is_file()]
    assert len(files) == 1
    written = gzip.decompress(files[0].read_bytes())
    assert b"sesame" not in written


async def test_no_key_is_kept(archive: Archive, autojump_clock: MockClock) -> None:
    archive.say(60, days=3)
    await archive.fetch(ANN)
    for file in archive.folder.rglob("*.gz"):
        assert KEY.encode() not in gzip.decompress(file.read_bytes())


async def test_a_cache_in_use_is_left_alone(archive: Archive, autojump_clock: MockClock) -> None:
    archive.say(10, days=3)
    with Shelf(archive.folder, ANN), pytest.raises(ExceptionGroup) as caught:
        await archive.fetch(ANN)
    assert caught.group_contains(HistoryError)
    assert archive.asked() == 0


async def test_progress_tells_how_far_back_it_is(archive: Archive, autojump_clock: MockClock) -> None:
    archive.say(230, days=30)
    steps: list[Step] = []
    await archive.fetch(ANN, steps=steps)
    reached: Sequence[datetime] = [step.begins for step in steps if step.begins]
    assert len(reached) == 4
    assert list(reached) == sorted(reached, reverse=True)
    assert [step.is_done for step in steps] == [False] * 4 + [True]
