"""What is told of episodes, and what a key keeps: as values, without a kind around them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from rules.conditions import AllOf, AnyOf, Direction, Field, Flag, Mentions, Not
from rules.kinds.episodes import (
    GRACE,
    MAX_MESSAGES,
    MAX_ROWS,
    REMEMBERED,
    SECOND,
    TAKEN_BACK,
    Episode,
    Filter,
    News,
    Pool,
    Row,
    Story,
    Told,
    newest,
    reconcile,
    retained,
    stands_alone,
    with_row,
)
from rules.model import Message, MessageId, Status
from tests.rules.builders import WATCH_BOB, a_message, after

FIRING, RESOLVED = Status.FIRING, Status.RESOLVED


def episode(first: int, last: int, *marks: int, **changes: Any) -> Episode:
    made = Episode(first=first, last=last, marks=[Row(at, at) for at in marks], over=last + 10)
    return replace(made, **changes)


def told(
    before: tuple[Told, ...], *episodes: Episode, seen: int = 0, complete_from: int = 0
) -> tuple[tuple[Told, ...], list[tuple[str, Status, int, str | None]]]:
    after_, news = reconcile(before, episodes, seen=seen, complete_from=complete_from, now=1)
    return after_, [(one.told.episode, one.status, one.at, one.reason) for one in news]


def test_an_episode_is_told_once_and_resolved_once() -> None:
    state, news = told((), episode(5, 9, 7, 9))
    assert news == [("7", FIRING, 7, None)]
    state, news = told(state, episode(5, 12, 7, 9, 12))
    assert news == []
    state, news = told(state, episode(5, 12, 7, 9, 12), seen=22)
    assert news == [("7", RESOLVED, 22, None)]
    assert told(state, episode(5, 12, 7, 9, 12), seen=50)[1] == []


def test_without_a_mark_nothing_is_told() -> None:
    assert told((), episode(5, 9)) == ((), [])


def test_an_end_in_the_past_is_told_with_the_beginning() -> None:
    _, news = told((), episode(5, 9, 7), seen=19)
    assert news == [("7", FIRING, 7, None), ("7", RESOLVED, 19, None)]
    _, news = told((), episode(5, 9, 7, ended="enough", over=None))
    assert news == [("7", FIRING, 7, None), ("7", RESOLVED, 9, "enough")]


def test_a_higher_level_is_an_update_with_a_revision() -> None:
    state, _ = told((), episode(5, 9, 7, level=1))
    state, news = told(state, episode(5, 12, 7, level=3, figures=(8,)))
    assert (news, state[0].revision, state[0].figures) == ([("7", FIRING, 12, None)], 1, (8,))
    state, news = told(state, episode(5, 13, 7, level=2, figures=(4,)))
    assert (news, state[0].revision, state[0].figures) == ([], 1, (8,))


def test_what_a_late_row_joins_is_two_alerts_that_both_end() -> None:
    state, _ = told((), episode(5, 9, 7), episode(20, 25, 22))
    state, news = told(state, episode(5, 25, 7, 14, 22))
    assert news == []
    assert [one.over for one in state] == [35, 35]
    _, news = told(state, episode(5, 25, 7, 14, 22), seen=35)
    assert news == [("7", RESOLVED, 35, None), ("22", RESOLVED, 35, None)]


def test_what_turns_out_not_to_be_so_is_taken_back_with_a_word() -> None:
    state, _ = told((), episode(5, 9, 7))
    assert told(state)[1] == [("7", RESOLVED, 9, TAKEN_BACK)]
    assert told(state, complete_from=9)[1] == [("7", RESOLVED, 9, TAKEN_BACK)]


def test_what_was_told_stands_though_its_rows_are_gone() -> None:
    state, _ = told((), episode(5, 9, 7))
    assert told(state, complete_from=10) == (state, [])
    assert told(state, complete_from=10, seen=19)[1] == [("7", RESOLVED, 19, None)]


def test_an_episode_that_goes_on_after_its_end_was_told_is_a_new_alert() -> None:
    state, _ = told((), episode(5, 9, 7), seen=19)
    assert told(state, episode(5, 18, 7, 18))[1] == []  # late, but of what is over
    state, news = told(state, episode(5, 21, 7, 18, 20, 21))
    assert news == [("20", FIRING, 20, None)]
    assert told(state, episode(5, 24, 7, 18, 20, 21, 24))[1] == []


def test_what_late_rows_add_is_told_as_well() -> None:
    state, _ = told((), episode(5, 9, 7), seen=19)
    state, _ = told(state, episode(5, 15, 7, 15))
    assert told(state, episode(15, 15, 15))[1] == []  # the older rows are gone


def test_strands_have_nothing_to_do_with_each_other() -> None:
    state, _ = told((), episode(5, 9, 7, strand="up"))
    state, news = told(state, episode(5, 9, 7, strand="up"), episode(6, 8, 7, strand="down"))
    assert news == [("7-down", FIRING, 7, None)]


def test_news_carry_what_is_told() -> None:
    _, (news,) = reconcile((), [episode(5, 9, 7)], seen=0, now=3)
    assert isinstance(news, News)
    assert (news.told.found, news.told.first, news.told.last) == (3, 5, 9)


# --- rows --------------------------------------------------------------------------------------------


def test_rows_are_in_event_order_and_each_once() -> None:
    rows: list[Row] = []
    new = [
        Row(5, 2),
        Row(5, 1),
        Row(3, 9),
        Row(5, 2, 7),
        Row(5, 2, 0, "a"),
        Row(5, 2, 1, "a"),
        Row(5, 2, 0, "b"),
    ]
    assert [with_row(rows, row) for row in new] == [True, True, True, False, True, False, True]
    assert rows == [Row(3, 9), Row(5, 1), Row(5, 2), Row(5, 2, 0, "a"), Row(5, 2, 0, "b")]


def a_story(*seconds: int, **changes: Any) -> Story:
    rows = tuple(Row(at * SECOND, place) for place, at in enumerate(seconds))
    return msgspec.structs.replace(Story(values=(), rows=rows), **changes)


HOUR = GRACE // SECOND


def test_a_row_goes_when_it_is_old_and_was_taken_long_ago() -> None:
    story = a_story(1, 10, HOUR + 20)
    now = (2 * HOUR) * SECOND
    kept = retained(story, 15 * SECOND, None, now=now)
    assert [row.id for row in kept.rows] == [1, 2]
    assert (kept.floor, kept.lost) == (SECOND, SECOND)
    kept = retained(story, 5 * SECOND, None, now=now)
    assert ([row.id for row in kept.rows], kept.floor) == ([2], 10 * SECOND)


def test_a_row_that_was_just_taken_stays_however_old() -> None:
    story = msgspec.structs.replace(a_story(), rows=(Row(0, 1, 5 * HOUR), Row(4 * HOUR * SECOND, 2)))
    assert retained(story, 0, None, now=6 * HOUR * SECOND) == story
    assert len(retained(story, 0, None, now=6 * HOUR * SECOND + 1).rows) == 1


def test_what_is_open_or_pending_needs_its_rows() -> None:
    story, now = a_story(0, 10, 5 * HOUR), 10 * HOUR * SECOND
    assert len(retained(story, 0, None, now=now).rows) == 1
    assert len(retained(story, 0, GRACE, now=now).rows) == 3
    open_ = Told(episode="1", found=0, first=0, last=GRACE + 10 * SECOND, over=None)
    assert len(retained(msgspec.structs.replace(story, told=(open_,)), 0, None, now=now).rows) == 2


def test_a_key_keeps_no_more_rows_than_a_key_may() -> None:
    kept = retained(a_story(*range(MAX_ROWS + 3)), 10**12, None, now=0)
    assert (len(kept.rows), kept.rows[0].at, kept.floor) == (MAX_ROWS, 3 * SECOND, 2 * SECOND)


def test_what_was_told_is_remembered_for_two_days_and_while_its_rows_are_there() -> None:
    one = Told(episode="1", found=0, first=0, last=5 * SECOND, closed=6, closed_at=0)
    story = a_story(3, 4, told=(one,))
    assert retained(story, 0, None, now=REMEMBERED + 1).told == (one,)
    story = a_story(7, told=(one,))
    assert retained(story, 0, None, now=REMEMBERED).told == (one,)
    assert retained(story, 0, None, now=REMEMBERED + 1).told == ()


# --- messages to show --------------------------------------------------------------------------------


def messages(*numbers: int) -> list[Message]:
    return [a_message(id=MessageId(number), sent_at=after(number)) for number in numbers]


def times_of(first: int, last: int) -> Told:
    at = [(after(second) - after(0)).seconds * SECOND for second in (first, last)]
    noon = newest((), messages(0), 1)[0].at
    return Told(episode="1", found=0, first=noon + at[0], last=noon + at[1])


def test_the_first_and_the_last_messages_are_shown() -> None:
    pool = Pool(newest((), messages(1, 2, 3), 3), messages(4, 5, 6, 7, 8, 9))
    assert pool.shown(times_of(2, 8), back=0) == (2, 3, 6, 7, 8)
    assert pool.shown(times_of(2, 4), back=SECOND) == (1, 2, 3, 4)
    assert [message.id for message in pool.messages((2, 8))] == [2, 8]
    assert pool.shown(times_of(50, 60), back=0) == (9,)  # none is left of it


def test_the_newest_are_kept_in_event_order() -> None:
    kept = newest(newest((), messages(9, 5), 5), messages(1, 2, 3, 4, 6, 7, 8), MAX_MESSAGES)
    assert [one.id for one in kept] == [5, 6, 7, 8, 9]


# --- conditions --------------------------------------------------------------------------------------

ALONE = Field(name="sender", values=("ann",))
ASKS = Direction(way="inbound")


@pytest.mark.parametrize(
    ("condition", "is_alone"),
    [
        (ALONE, True),
        (ASKS, False),
        (Mentions(who=("watched",)), False),
        (Mentions(who=("all",), users=("bob",)), True),
        (Not(condition=ASKS), False),
        (Not(condition=ALONE), True),
        (AnyOf(conditions=(ALONE, ASKS)), False),
        (AllOf(conditions=(ALONE, Flag(name="edited", wanted=True))), True),
    ],
)
def test_which_conditions_ask_who_is_watched(condition: AllOf, is_alone: bool) -> None:
    assert stands_alone(condition) is is_alone


def test_a_filter_asks_in_two_parts() -> None:
    both = Filter(AllOf(conditions=(ALONE, ASKS)))
    message, stranger = a_message(), a_message(sender=a_message().receiver)
    assert (both.alone(message, {}), both.alone(stranger, {})) == (True, False)
    assert (both.rest(message, WATCH_BOB), both.rest(message, {})) == (True, False)
    assert Filter(None).alone(message, {})
    assert Filter(None).rest(message, {})
