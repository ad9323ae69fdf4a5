"""What was read of a list adds up, whatever the pieces; nothing is missed, nothing asked for twice."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random

import pytest
from msgspec.structs import replace

from monitor.history.coverage import (
    SETTLE,
    Leaf,
    Stuck,
    leaf,
    next_before,
    reaches,
    seen_to,
    stretches,
)
from monitor.source.pages import Rejected
from rules.model import Message, MessageId
from tests.history.building import DAY, NOON, a_list, a_page, after
from tests.rules.builders import a_message

LONG_AGO = NOON - 1000 * DAY


def test_a_full_page_covers_from_its_first_row_to_the_one_before_which_it_was_asked() -> None:
    rows = a_list(11, 12, 15, 17, 20)
    newest = leaf(a_page(rows), None)
    assert (newest.low, newest.high, newest.is_newest) == (15, 20, True)
    assert newest.begins == rows[2].sent_at
    older = leaf(a_page(rows, 15, size=2), MessageId(15))
    assert (older.low, older.high, older.is_newest) == (11, 14, False)


@pytest.mark.parametrize("says_size", [True, False])
def test_the_list_ends_with_a_short_page_or_without_a_size_with_an_empty_one(says_size: bool) -> None:
    rows = a_list(11, 12)
    short = leaf(a_page(rows, says_size=says_size), None)
    assert (short.low, short.begins is None) == ((0, True) if says_size else (11, False))
    empty = leaf(a_page(rows, 11, says_size=says_size), MessageId(11))
    assert (empty.low, empty.high, empty.begins) == (0, 10, None)
    assert leaf(a_page([], says_size=says_size), None).begins is None


def test_what_has_not_settled_is_read_again() -> None:
    rows = [*a_list(11, 12, 15), a_message(id=MessageId(17), sent_at=NOON - SETTLE / 2)]
    first = leaf(a_page(rows), None)
    assert (first.low, first.high) == (12, 16)
    late = a_message(id=MessageId(16), sent_at=NOON - SETTLE / 2)
    everything = leaf(a_page([*rows[:3], late, rows[3]], size=2, read_at=NOON), None)
    assert everything.high < everything.low  # nothing of it is sure
    assert stretches([everything]) == []


def test_pages_that_lead_nowhere_are_refused() -> None:
    rows = a_list(11, 12, 15)
    with pytest.raises(Stuck, match="asked for rows before 12, and row 15 came"):
        leaf(a_page(rows), MessageId(12))  # the server does not heed the id
    reject = Rejected(message_id=None, reason="row: not JSON", structure="{}")
    nameless = replace(a_page([]), rows=3, rejects=(reject,) * 3)
    with pytest.raises(Stuck, match="the id of none of them can be read"):
        leaf(nameless, None)


def test_stretches_join_where_they_touch() -> None:
    def read(low: int, high: int) -> Leaf:
        return Leaf(
            low=MessageId(low), high=MessageId(high), begins=after(low), read_at=NOON, is_newest=False
        )

    joined = stretches([read(20, 30), read(5, 9), read(10, 15), read(17, 18), read(6, 7)])
    assert [(one.low, one.high, one.begins) for one in joined] == [
        (5, 15, after(5)),
        (17, 18, after(17)),
        (20, 30, after(20)),
    ]


def test_reading_jumps_over_what_is_known() -> None:
    rows = a_list(*range(1, 21))
    known = [leaf(a_page(rows[:12], before, size=3), before) for before in (MessageId(10), MessageId(7))]
    assert [(one.low, one.high) for one in stretches(known)] == [(4, 9)]
    news = leaf(a_page(rows, size=3), None)
    assert next_before([*known, news], news, LONG_AGO) == 18
    bridge = leaf(a_page(rows, 18, size=8), MessageId(18))
    assert next_before([*known, news, bridge], bridge, LONG_AGO) == 4
    assert next_before([*known, news, bridge], bridge, rows[5].sent_at) is None


def test_how_far_a_list_is_known() -> None:
    rows = a_list(*range(1, 10))
    newest = leaf(a_page(rows), None)
    assert seen_to([newest]) == NOON - SETTLE
    assert seen_to([replace(newest, is_newest=False)]) is None
    assert reaches([newest], rows[7].sent_at)
    assert not reaches([newest], rows[0].sent_at)
    assert not reaches([], NOON)


@pytest.mark.parametrize("seed", range(40))
def test_runs_that_are_interrupted_read_every_row_and_ask_for_little_that_is_known(seed: int) -> None:
    """A list that grows between runs; each run is broken off at random, the last one is not."""
    random = Random(seed)
    rows: list[Message] = []
    leaves: list[Leaf] = []
    kept: set[MessageId] = set()
    is_done = False
    for run in range(6):
        rows += _growth(random, rows, begin=NOON + run * DAY)
        now = NOON + (run + 1) * DAY
        since = now - random.uniform(0.5, 4) * DAY
        before, gaps, in_vain, is_done = None, len(stretches(leaves)), 0, False
        while not is_done and (run == 5 or random.random() < 0.7):
            page = a_page(rows, before, size=4, read_at=now)
            in_vain += before is not None and kept.issuperset(message.id for message in page.messages)
            kept.update(message.id for message in page.messages)
            read = leaf(page, before)
            leaves.append(read)
            before = next_before(leaves, read, since)
            is_done = before is None
        # One page may find that there is nothing between two stretches, and one that the list is at its end.
        assert in_vain <= gaps + 1
        if is_done:
            assert kept >= {m.id for m in rows if since <= m.sent_at < now - SETTLE}
            assert reaches(leaves, since)
            assert seen_to(leaves) == now - SETTLE
    assert is_done


def _growth(random: Random, rows: list[Message], *, begin: datetime) -> list[Message]:
    """A day of it."""
    last = rows[-1].id if rows else 0
    ids = sorted(random.sample(range(last + 1, last + 200), random.randrange(25)))
    times = sorted(random.uniform(0, DAY.total_seconds()) for _ in ids)
    return [
        a_message(id=MessageId(id_), sent_at=begin + timedelta(seconds=time))
        for id_, time in zip(ids, times, strict=True)
    ]
