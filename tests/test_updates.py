"""What to ask for and what to make of rows that changed in place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from monitor.drain import Read
from monitor.store.values import Cursor, Seen
from monitor.updates import KINDS, OVERLAP, REACH, SIZE, Changed, Sweep, asked_again, changed, sweep
from rules.kinds import KINDS as ALL_KINDS
from rules.kinds.base import Correlating
from rules.kinds.episodes import GRACE, SECOND
from rules.model import Message, MessageId
from tests.rules.builders import Bench, a_message, after, rules_of

NOW = after(10_000)
SINCE = NOW - timedelta(minutes=10)
CURSOR = Cursor(id=MessageId(50), above=(Seen(id=MessageId(60), at=NOW),), back=MessageId(10))


def a_row(id_: int, **changes: Any) -> Message:
    """Sent a quarter of an hour ago, changed a minute ago."""
    facts: dict[str, Any] = {
        "sent_at": NOW - timedelta(minutes=15),
        "updated_at": NOW - timedelta(minutes=1),
    }
    return a_message(id=MessageId(id_), **(facts | changes))


def a_page(*messages: Message, rows: int | None = None, size: int | None = SIZE) -> Read:
    count = len(messages) if rows is None else rows
    return Read(rows=count, size=size, messages=messages, reject_ids=(), started_at=NOW)


def made_of(
    *messages: Message, asked: Sweep = Sweep(since=SINCE), start_at: datetime = after(0), **page: Any
) -> Changed:
    return changed(asked, a_page(*messages, **page), CURSOR, start_at=start_at)


# --- what to ask ------------------------------------------------------------------------------------------


def test_the_first_sweep_reaches_back_as_far_as_any() -> None:
    assert sweep(None, NOW) == Sweep(since=NOW - REACH)
    assert timedelta(seconds=GRACE // SECOND) > REACH


def test_a_sweep_begins_where_the_last_left_off_if_that_is_within_reach() -> None:
    assert sweep(Sweep(since=SINCE), NOW) == Sweep(since=SINCE)
    assert sweep(Sweep(since=NOW - 2 * REACH), NOW) == Sweep(since=NOW - REACH)


def test_the_next_page_of_a_sweep_asks_for_the_same_time() -> None:
    going_on = Sweep(since=NOW - 2 * REACH, after=MessageId(7), began_at=NOW)
    assert sweep(going_on, NOW) == going_on


# --- what becomes of a row --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "fate"),
    [
        (a_row(50), "evaluated"),
        (a_row(10), "evaluated"),
        (a_row(60), "evaluated"),  # read, and not yet settled
        (a_row(9), "unread"),  # history that is still to be paged back
        (a_row(51), "unread"),
        (a_row(61), "unread"),
        (a_row(50, sent_at=NOW - REACH), "evaluated"),
        (a_row(50, sent_at=NOW - REACH - timedelta(seconds=1)), "old"),
        (a_row(50, sent_at=after(-1)), "old"),
        (a_row(50, updated_at=SINCE), "evaluated"),
        (a_row(50, updated_at=SINCE - timedelta(seconds=1)), "unchanged"),
        (a_row(50, updated_at=None), "evaluated"),
    ],
)
def test_what_becomes_of_a_row(row: Message, fate: str) -> None:
    made = made_of(row)
    assert made.fates == {fate: 1}
    assert made.messages == ((row,) if fate == "evaluated" else ())


def test_rows_from_before_the_lists_start_are_no_business_of_ours() -> None:
    made = made_of(a_row(50), start_at=NOW - timedelta(minutes=5))
    assert (made.messages, made.fates) == ((), {"old": 1})


def test_nothing_is_known_of_a_list_that_was_never_read() -> None:
    made = changed(Sweep(since=SINCE), a_page(a_row(1)), Cursor(), start_at=after(0))
    assert made.fates == {"unread": 1}


def test_rows_are_shown_in_the_order_of_their_ids_each_once() -> None:
    assert [row.id for row in made_of(a_row(30), a_row(20), a_row(30)).messages] == [20, 30]


# --- pages ------------------------------------------------------------------------------------------------


def test_a_short_page_ends_the_sweep_and_the_next_one_overlaps_it() -> None:
    made = made_of(a_row(50))
    assert (made.more, made.sweep) == (False, Sweep(since=NOW - OVERLAP))


def test_a_full_page_goes_on_after_its_last_row() -> None:
    made = made_of(a_row(20), a_row(50), rows=SIZE)
    assert (made.more, made.sweep) == (True, Sweep(since=SINCE, after=MessageId(50), began_at=NOW))


def test_the_next_sweep_begins_with_the_first_page_of_this_one() -> None:
    began = NOW - timedelta(minutes=3)
    made = made_of(a_row(50), asked=Sweep(since=SINCE, after=MessageId(20), began_at=began))
    assert made.sweep == Sweep(since=began - OVERLAP)


def test_a_server_that_does_not_heed_the_id_is_not_asked_for_ever() -> None:
    asked = Sweep(since=SINCE, after=MessageId(50), began_at=NOW)
    assert not made_of(a_row(20), a_row(50), asked=asked, rows=SIZE).more


@pytest.mark.parametrize(("size", "rows", "more"), [(None, 1, True), (None, 0, False), (100, 100, True)])
def test_a_page_may_be_cut(size: int | None, rows: int, *, more: bool) -> None:
    shown = [a_row(50)] if rows else []
    assert made_of(*shown, rows=rows, size=size).more is more


# --- which rules ------------------------------------------------------------------------------------------

MIXED = """
rules:
  - {name: m, when: {text: {contains: x}}}
  - {name: a, kind: any, field: tag, block: [x]}
  - {name: c, kind: count, at_least: 3, within: 1m}
  - {name: s, kind: spike, within: 1m, reference: 10m, at_least: 3, ratio: 2}
  - {name: q, kind: absence, for: 5m}
  - {name: n, kind: change, field: role, by: sender}
  - {name: z, kind: missed_call}
"""


def test_only_kinds_that_judge_a_row_alone_or_count_rows_are_asked_again() -> None:
    rules = rules_of(MIXED)
    asked = asked_again(rules)
    assert [rule.name for rule in asked.rules] == ["m", "a", "c", "s"]
    assert (asked.app, asked.link) == (rules.app, rules.link)
    assert asked_again(rules) is asked
    alone = {rule.kind for rule in rules.rules if not isinstance(rule.logic, Correlating)}
    assert alone <= KINDS < ALL_KINDS.keys()


COUNTING = (
    "{name: c, kind: count, at_least: 4, within: 1m, by: sender}",
    "{name: c, kind: count, at_least: 3, within: 2m, for: 30s}",
    "{name: s, kind: spike, within: 1m, reference: 10m, at_least: 3, ratio: 2}",
)


@pytest.mark.parametrize("rule", COUNTING)
@pytest.mark.parametrize("seed", range(20))
def test_a_changed_row_never_counts_twice(rule: str, seed: int) -> None:
    """Whatever is shown again, edited, moderated or emptied, tells nothing that was not told without it.

    Six hours, so that rows are let go in between.
    """
    random = Random(seed)
    times = sorted(
        began + random.randrange(200) for began in random.sample(range(6 * 3600), 10) for _ in range(15)
    )
    rows = [a_message(id=MessageId(n), sent_at=after(at), text="x") for n, at in enumerate(times, start=1)]
    plain, again = (Bench(rules_of(f"rules: [{rule}]")) for _ in range(2))
    for place, row in enumerate(rows):
        now = row.sent_at + timedelta(seconds=1)
        known = [one for one in rows[: place + 1] if one.sent_at >= now - REACH]
        plain.feed(row, now=now)
        again.feed(row, now=now)
        again.feed(*_altered(random.sample(known, min(len(known), 5)), random), now=now)
    assert plain.told
    assert [(one.id, one.status, one.revision) for one in again.told] == [
        (one.id, one.status, one.revision) for one in plain.told
    ]


def _altered(rows: Sequence[Message], random: Random) -> list[Message]:
    return [
        replace(
            row,
            text=random.choice([None, "y", "something else"]),
            moderation=random.choice(["approved", "disapproved"]),
            updated_at=row.sent_at + timedelta(minutes=1),
        )
        for row in rows
    ]
