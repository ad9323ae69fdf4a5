"""No row is missed and none is evaluated twice, however pages, settling and restarts fall."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.drain import Ask, Direction, Drain, Read, ask, take
from monitor.store.values import Cursor, Seen
from rules.model import Message, MessageId, Party

START = datetime(2026, 11, 22, 8, tzinfo=UTC)
SETTLE = timedelta(seconds=10)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def row(id_: int, sent: float) -> Message:
    return Message(
        id=MessageId(id_),
        conversation_id="a_user_b",
        sender=Party(id="a"),
        receiver=Party(id="b"),
        receiver_type="user",
        category="message",
        type="text",
        sent_at=at(sent),
    )


@dataclass(frozen=True)
class Row:
    message: Message
    visible: float


@dataclass
class MessageList:
    """The server's side: rows appear at their visible time, pages are the documented ones."""

    rows: list[Row]
    echo: bool = True
    most: int = 1000

    def page(self, asked: Ask, now: float) -> Read:
        seen = sorted((r.message for r in self.rows if r.visible <= now), key=lambda message: message.id)
        size = min(asked.size, self.most)
        if asked.direction is Direction.APPEND:
            assert asked.id is not None, "append without an id is unknown territory"
            page = [m for m in seen if m.id > asked.id][:size]
        else:
            page = [m for m in seen if asked.id is None or m.id < asked.id][-size:]
        return Read(
            rows=len(page),
            size=size if self.echo else None,
            messages=tuple(page),
            reject_ids=(),
            started_at=at(now),
        )


def poll(
    server: MessageList, drain: Drain, now: float, *, page_size: int, lag: float = 0.0
) -> tuple[Drain, list[Message]]:
    """One turn and its catch-ups, `lag` seconds apart."""
    found: list[Message] = []
    for catch_up in (False, *[True] * 200):
        asked = ask(drain, page_size=page_size, catch_up=catch_up, now=at(now))
        taken = take(drain, asked, server.page(asked, now), settle=SETTLE)
        found += taken.fresh
        drain = taken.drain
        now += lag
        if not taken.more:
            return drain, found
    pytest.fail("the drain never ended")


def begin(start: float = 0.0) -> Drain:
    return Drain(start_at=at(start), cursor=Cursor())


@st.composite
def histories(draw: st.DrawFn) -> list[Row]:
    """Ids in order of sending; each row may become visible up to the settle time late."""
    rows, sent, id_ = [], draw(st.floats(-100, 50)), 100
    for _ in range(draw(st.integers(0, 40))):
        sent += draw(st.sampled_from([0.0, 0.1, 1.0, 5.0, 30.0]))
        id_ += draw(st.integers(1, 5))
        late = draw(st.sampled_from([0.0, 0.0, 0.0, 3.0, 9.0]))
        rows.append(Row(row(id_, int(sent)), int(sent) + late))
    return rows


@given(
    rows=histories(),
    gaps=st.lists(st.sampled_from([0.5, 2.0, 7.0, 40.0]), min_size=1, max_size=30),
    page_size=st.integers(1, 10),
    most=st.sampled_from([3, 10, 1000]),
    echo=st.booleans(),
    restarts=st.sets(st.integers(0, 30)),
    lag=st.sampled_from([0.0, 0.3, 12.0]),
)
def test_every_row_since_the_start_is_evaluated_exactly_once(
    *,
    rows: list[Row],
    gaps: list[float],
    page_size: int,
    most: int,
    echo: bool,
    restarts: set[int],
    lag: float,
) -> None:
    server = MessageList(rows, echo=echo, most=most)
    drain = begin()
    stored = drain.cursor
    evaluated: list[int] = []
    now = 0.0
    for n, gap in enumerate([*gaps, 100.0, 2000.0, 50.0]):
        now += gap
        drain, found = poll(server, drain, now, page_size=page_size, lag=lag)
        evaluated += [message.id for message in found]
        if found:
            stored = drain.cursor  # a poll with no new row writes nothing
        if n in restarts:
            drain = Drain(start_at=drain.start_at, cursor=stored)
    expected = [r.message.id for r in rows if r.message.sent_at >= START and r.visible <= now]
    assert sorted(evaluated) == sorted(expected)


def test_young_rows_are_evaluated_at_once_and_the_cursor_waits() -> None:
    server = MessageList([Row(row(1, -60), -60), Row(row(5, 1), 1), Row(row(7, 3), 3)])
    drain, found = poll(server, begin(), 4, page_size=100)
    assert [m.id for m in found] == [5, 7]
    assert drain.cursor == Cursor(
        id=MessageId(1), above=(Seen(id=MessageId(5), at=at(1)), Seen(id=MessageId(7), at=at(3)))
    )


def test_a_row_that_becomes_visible_late_below_the_newest_is_found() -> None:
    server = MessageList([Row(row(1, -60), -60), Row(row(5, 1), 9), Row(row(7, 3), 3)])
    drain, _ = poll(server, begin(), 4, page_size=100)
    drain, found = poll(server, drain, 10, page_size=100)
    assert [m.id for m in found] == [5]
    drain, found = poll(server, drain, 60, page_size=100)
    assert found == []
    assert drain.cursor == Cursor(id=MessageId(7))


def test_an_empty_list_is_a_baseline_and_what_comes_next_is_found() -> None:
    server = MessageList([])
    drain, found = poll(server, begin(), 1, page_size=100)
    assert (drain.cursor, found) == (Cursor(), [])
    server.rows.append(Row(row(9, 5), 5))
    drain, found = poll(server, drain, 6, page_size=100)
    assert [m.id for m in found] == [9]


def test_a_row_dated_in_the_future_does_not_hold_the_cursor_for_ever() -> None:
    server = MessageList([Row(row(1, -60), -60), Row(row(5, 10**7), 1)])
    drain, _ = poll(server, begin(), 2, page_size=100)
    drain, _ = poll(server, drain, 30, page_size=100)
    assert drain.cursor == Cursor(id=MessageId(5))


def test_the_watermark_comes_after_the_last_page_and_tells_of_the_first() -> None:
    drain = Drain(start_at=START, cursor=Cursor(id=MessageId(1)))
    asked = ask(drain, page_size=1, catch_up=False, now=at(50))
    full = Read(rows=1, size=1, messages=(row(2, 1),), reject_ids=(), started_at=at(50))
    taken = take(drain, asked, full, settle=SETTLE)
    assert (taken.more, taken.watermark) == (True, None)
    asked = ask(taken.drain, page_size=1, catch_up=True, now=at(51))
    assert asked == Ask(direction=Direction.APPEND, id=MessageId(2), size=1000)
    empty = Read(rows=0, size=1000, messages=(), reject_ids=(), started_at=at(51))
    assert take(taken.drain, asked, empty, settle=SETTLE).watermark == at(50 - 12)


def test_a_full_page_of_unreadable_rows_ends_the_drain_instead_of_asking_for_ever() -> None:
    drain = Drain(start_at=START, cursor=Cursor(id=MessageId(1)))
    asked = ask(drain, page_size=2, catch_up=False, now=at(50))
    unreadable = Read(rows=2, size=2, messages=(), reject_ids=(), started_at=at(50))
    assert not take(drain, asked, unreadable, settle=SETTLE).more


def test_rejects_with_an_id_move_the_cursor() -> None:
    drain = Drain(start_at=START, cursor=Cursor(id=MessageId(1)))
    asked = ask(drain, page_size=100, catch_up=False, now=at(50))
    read = Read(rows=1, size=100, messages=(), reject_ids=(MessageId(4),), started_at=at(50))
    taken = take(drain, asked, read, settle=SETTLE)
    assert taken.drain.cursor.above == (Seen(id=MessageId(4), at=at(50)),)
    asked = ask(taken.drain, page_size=100, catch_up=False, now=at(70))
    read = Read(rows=1, size=100, messages=(), reject_ids=(MessageId(4),), started_at=at(70))
    assert take(taken.drain, asked, read, settle=SETTLE).drain.cursor.id == 4


def test_news_are_looked_for_while_history_is_paged_back() -> None:
    server = MessageList([Row(row(n, n - 5000), n - 5000) for n in range(1, 3000)], most=100)
    drain = begin(-10_000)
    asked_for = []
    now = 0.0
    for _ in range(25):
        asked = ask(drain, page_size=100, catch_up=True, now=at(now))
        asked_for.append(asked.direction)
        drain = take(drain, asked, server.page(asked, now), settle=SETTLE).drain
        now += 2.0
    assert asked_for.count(Direction.APPEND) == 3
    assert drain.cursor.id == 2999
