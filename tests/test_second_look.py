"""What became visible below the cursor is found by the second look, once, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.drain import Ask, Direction, Drain, Read, ask, take
from monitor.second_look import (
    ANCHORS,
    Compared,
    Record,
    begun,
    compare,
    look,
    looked,
    next_look,
    remember,
)
from monitor.store.values import Cursor, Seen
from rules.model import MessageId
from tests.test_drain import SETTLE, START, MessageList, Row, at, begin, row

DAY = timedelta(days=1)


def ids(*numbers: int) -> Record:
    return tuple(map(MessageId, numbers))


def page(*rows: tuple[int, float], rejects: tuple[int, ...] = (), now: float = 1000) -> Read:
    messages = tuple(row(id_, sent) for id_, sent in rows)
    return Read(
        rows=len(messages) + len(rejects),
        size=1000,
        messages=messages,
        reject_ids=ids(*rejects),
        started_at=at(now),
    )


def cursor(id_: int | None, *above: int, back: int | None = None) -> Cursor:
    return Cursor(
        id=None if id_ is None else MessageId(id_),
        above=tuple(Seen(id=MessageId(one), at=START) for one in above),
        back=None if back is None else MessageId(back),
    )


# --- the record -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param(cursor(None), (0,), id="a new list is on record from its start"),
        pytest.param(cursor(None, 7, 9), (0, 7, 9), id="nothing has settled yet"),
        pytest.param(cursor(5, 7, 9), (5, 7, 9), id="what lies before the cursor is not known"),
    ],
)
def test_a_record_begins(known: Cursor, expected: tuple[int, ...]) -> None:
    assert begun(known) == expected


def test_a_full_record_forgets_the_smallest_ids() -> None:
    record = remember(ids(0), ids(30, 10, 20), most=3)
    assert record == (10, 20, 30)
    assert remember(record, ids(25), most=3) == (20, 25, 30)


def test_ids_below_the_floor_are_not_remembered() -> None:
    assert remember(ids(10, 20), ids(5, 15)) == (10, 15, 20)


def test_known_ids_leave_the_record_as_it_is() -> None:
    record = ids(0, 1, 2)
    assert remember(record, ids(2, 1)) is record


def test_the_older_half_of_what_a_look_has_compared_is_forgotten() -> None:
    record = ids(*range(100, 160))
    after = looked(record, cursor(155))
    assert after == ids(*range(128, 160))
    assert looked(looked(after, cursor(155)), cursor(155)) == ids(*range(156 - ANCHORS, 160))
    assert looked(ids(0, 5), cursor(5)) == (0, 5)
    assert looked(record, cursor(None)) == record


# --- the page to ask --------------------------------------------------------------------------------------


def test_the_page_ends_at_the_cursor_and_has_room_for_the_record() -> None:
    assert look(ids(0, 5, 9), cursor(9)) == Ask(direction=Direction.PREPEND, id=MessageId(10), size=103)


def test_the_page_is_never_larger_than_the_api_gives() -> None:
    asked = look(ids(*range(2000)), cursor(1999))
    assert asked is not None
    assert asked.size == 1000


def test_there_is_nothing_to_compare_before_a_row_has_settled() -> None:
    assert look(ids(0), cursor(None, 4)) is None
    assert compare(page((4, 1)), ids(0, 4), cursor(None, 4), start_at=START) == Compared()


# --- comparing --------------------------------------------------------------------------------------------


def missed(found: Compared) -> list[int]:
    return [message.id for message in found.missed]


def test_a_row_that_was_never_read_is_missed() -> None:
    found = compare(page((3, 1), (4, 2), (5, 3)), ids(0, 3, 5), cursor(5), start_at=START)
    assert missed(found) == [4]
    assert found.ids == (4,)
    assert (found.is_comparable, found.gone) == (True, 0)


def test_rows_are_found_below_everything_that_was_read_of_a_list_known_from_its_start() -> None:
    found = compare(page((3, 1), (5, 3)), ids(0, 5), cursor(5), start_at=START)
    assert missed(found) == [3]


@pytest.mark.parametrize(
    ("shown", "known", "at_cursor"),
    [
        pytest.param((3, 5), ids(5), cursor(5), id="below the floor"),
        pytest.param((5, 6), ids(0, 5), cursor(5), id="above the cursor"),
        pytest.param((3, 5), ids(0, 5), cursor(5, back=4), id="still to be read of the start"),
    ],
)
def test_rows_that_are_not_the_looks_business(
    shown: tuple[int, ...], known: Record, at_cursor: Cursor
) -> None:
    found = compare(page(*((id_, 1) for id_ in shown)), known, at_cursor, start_at=START)
    assert found.is_comparable
    assert missed(found) == []


def test_rows_sent_before_the_start_are_nobodys_business() -> None:
    found = compare(page((3, -1), (5, 3)), ids(0, 5), cursor(5), start_at=START)
    assert found.is_comparable
    assert missed(found) == []


def test_an_undecodable_row_is_known_by_its_id() -> None:
    found = compare(page((3, 1), (9, 2), rejects=(4, 5)), ids(0, 3, 4, 9), cursor(9), start_at=START)
    assert found.rejects == (5,)
    assert missed(found) == []
    assert found.ids == (5,)


def test_undecodable_rows_from_before_the_start_are_nobodys_business() -> None:
    found = compare(page((3, -1), (5, 3), rejects=(1, 4)), ids(0, 5), cursor(5), start_at=START)
    assert found.rejects == (4,)


def test_rows_that_are_shown_no_more_are_counted() -> None:
    found = compare(page((4, 1), (9, 2)), ids(2, 3, 4, 5, 9), cursor(9), start_at=START)
    assert found.gone == 1  # 5; the page does not reach down to 3


def test_a_place_that_a_cursor_was_set_to_need_not_be_a_row() -> None:
    assert compare(page((5, 1), (9, 2)), ids(7, 9), cursor(9), start_at=START).gone == 0


@pytest.mark.parametrize("read", [page(), page((30, 1), (31, 2))])
def test_nothing_is_concluded_from_a_page_without_a_common_row(read: Read) -> None:
    assert compare(read, ids(0, 5, 40), cursor(40), start_at=START) == Compared()


def test_a_record_tells_how_far_back_it_would_reach_if_it_were_full() -> None:
    read = page((2, 100), (3, 400), (4, 700), now=1000)
    assert compare(read, ids(3, 4), cursor(4), start_at=START, most=2).covers == timedelta(seconds=600)
    assert compare(read, ids(3, 4), cursor(4), start_at=START, most=100).covers == timedelta(seconds=30_000)


# --- with the reading that it checks ----------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> list[Row]:
    """Ids in order of sending; some rows become visible long after they settled."""
    rows, sent, id_ = [], draw(st.floats(-100, 50)), 100
    for _ in range(draw(st.integers(0, 40))):
        sent += draw(st.sampled_from([0.0, 0.1, 1.0, 5.0, 30.0]))
        id_ += draw(st.integers(1, 5))
        late = draw(st.sampled_from([0.0, 0.0, 3.0, 60.0, 900.0]))
        rows.append(Row(row(id_, int(sent)), int(sent) + late))
    return rows


@dataclass
class Reader:
    """What reads one list: a page of it, or a look, and what of both is stored."""

    server: MessageList
    most: int
    page_size: int
    drain: Drain = field(default_factory=begin)
    record: Record = field(default_factory=lambda: begun(Cursor()))
    told: list[int] = field(default_factory=list)
    stored: tuple[Cursor, Record] = (Cursor(), begun(Cursor()))

    def read(self, now: float) -> bool:
        """One page; whether more is known to follow."""
        asked = ask(self.drain, page_size=self.page_size, catch_up=False, now=at(now))
        read = self.server.page(asked, now)
        taken = take(self.drain, asked, read, settle=SETTLE)
        self.drain, self.record = taken.drain, self.remember(message.id for message in read.messages)
        if taken.fresh:  # a poll with no new row writes nothing
            self.stored = (self.drain.cursor, self.record)
        self.told += [message.id for message in taken.fresh]
        return taken.more

    def finish(self, now: float) -> None:
        for _ in range(200):
            if not self.read(now):
                return
        pytest.fail("the drain never ended")

    def look(self, now: float) -> timedelta | None:
        """One look; how far back a full record would reach."""
        asked = look(self.record, self.drain.cursor)
        if asked is None:
            return None
        read = self.server.page(asked, now)
        cursor = self.drain.cursor
        found = compare(read, self.record, cursor, start_at=START, most=self.most)
        if found.is_comparable:
            self.record = looked(self.remember(found.ids), cursor)
        self.stored = (cursor, self.record)  # a look is always written down
        self.told += missed(found)
        return found.covers

    def restart(self, _: float) -> None:
        self.drain = Drain(start_at=START, cursor=self.stored[0])
        self.record = self.stored[1]

    def remember(self, read: Iterable[MessageId]) -> Record:
        return remember(self.record, read, most=self.most)


@given(
    rows=histories(),
    steps=st.lists(
        st.tuples(
            st.sampled_from([0.5, 7.0, 40.0, 300.0]), st.sampled_from(["read", "read", "look", "restart"])
        ),
        max_size=60,
    ),
    page_size=st.integers(1, 10),
    most=st.sampled_from([3, 10, 500]),
)
def test_every_late_row_within_the_record_is_found_once_and_nothing_else(
    *, rows: list[Row], steps: list[tuple[float, str]], page_size: int, most: int
) -> None:
    reader = Reader(MessageList(rows), most=most, page_size=page_size)
    now = 0.0
    for gap, what in steps:
        now += gap
        {"read": reader.read, "look": reader.look, "restart": reader.restart}[what](now)
    for _ in range(2):  # the first may be the end of the start, which reads backwards only
        now += 1000.0
        reader.finish(now)
    floor = reader.record[0]
    reader.look(now)
    expected = {r.message.id for r in rows if r.message.sent_at >= START and r.visible <= now}
    assert len(reader.told) == len(set(reader.told))
    assert set(reader.told) <= expected
    assert {id_ for id_ in expected if id_ >= floor} <= set(reader.told)


# --- when -------------------------------------------------------------------------------------------------


def next_at(looked_at: datetime | None, **kwargs: timedelta | None) -> tuple[datetime, datetime]:
    """The earliest and the latest next look that a hundred draws give."""
    random = Random(1)
    times = [next_look(looked_at, START, every=DAY, random=random, **kwargs) for _ in range(100)]
    return min(times), max(times)


@pytest.mark.parametrize("looked_at", [None, START - 3 * DAY])
def test_a_list_that_waits_is_looked_at_within_the_hour(looked_at: datetime | None) -> None:
    first, last = next_at(looked_at)
    assert START <= first < START + timedelta(minutes=10)
    assert START + timedelta(minutes=50) < last < START + timedelta(hours=1)


def test_looks_come_daily_and_not_all_at_once() -> None:
    first, last = next_at(START)
    assert START + 0.9 * DAY <= first < START + 0.93 * DAY
    assert START + 1.07 * DAY < last <= START + 1.1 * DAY


@pytest.mark.parametrize(
    ("covers", "pause"),
    [
        pytest.param(timedelta(hours=2), timedelta(hours=1), id="half of what the record holds"),
        pytest.param(timedelta(seconds=3), timedelta(minutes=1), id="not all the time"),
        pytest.param(9 * DAY, DAY, id="not seldom"),
    ],
)
def test_a_busy_list_is_looked_at_before_its_record_has_moved_on(covers: timedelta, pause: timedelta) -> None:
    first, last = next_at(START, covers=covers)
    assert START + 0.9 * pause <= first
    assert last <= START + 1.1 * pause


def test_looks_keep_up_with_a_busy_list() -> None:
    """A row a second, every 40th a minute late: none of them is missed, with 200 ids on record."""
    rows = [Row(row(1000 + n, n), n + (60.0 if n % 40 == 7 else 0.0)) for n in range(1500)]
    reader = Reader(MessageList(rows), most=200, page_size=1000)
    random, due, looks = Random(1), 100.0, 0
    for now in range(5, 1700, 5):
        reader.read(now)
        if now >= due:
            covers = reader.look(now)
            due = (
                next_look(at(now), at(now), every=DAY, random=random, covers=covers) - START
            ).total_seconds()
            looks += 1
    assert sorted(reader.told) == [r.message.id for r in rows]
    assert looks < 25
