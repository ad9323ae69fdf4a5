"""Paging through the simulator's lists, whatever is in them."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from monitor.simulator import Note, World
from monitor.simulator.feed import page
from tests.simulator.wire import TurnedClock, a_world

PEOPLE = ("a", "b", "c")

Sent = tuple[int, int, bool, float]  #: sender, receiver, to the group, shows after

sent = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans(), st.sampled_from([0.0, 0.0, 5.0])),
    max_size=40,
)


def a_world_of(messages: list[Sent]) -> World:
    world = a_world(clock=TurnedClock())
    for one, other, to_group, late in messages:
        receiver = "g" if to_group else PEOPLE[other]
        kind = "group" if to_group else "user"
        world.send(
            PEOPLE[one], receiver, content={"text": "x"}, receiver_type=kind, note=Note(visible_after=late)
        )
    return world


@given(messages=sent, size=st.integers(1, 7), start=st.integers(995, 1060), forward=st.booleans())
def test_paging_from_any_id_shows_each_visible_row_once_and_ascending(
    messages: list[Sent], size: int, start: int, forward: bool
) -> None:
    world = a_world_of(messages)
    feeds = world.list_of_all("a")
    every = [row for feed in feeds for row in feed if row.visible_at <= world.clock()]
    beyond = sorted(row.id for row in every if (row.id > start if forward else row.id < start))
    seen: list[int] = []
    cursor, has_more = start, True
    while has_more:
        rows, has_more = page(feeds, forward=forward, cursor=cursor, size=size, tests=[world.is_visible])
        got = [row.id for row in rows]
        assert all(one < two for one, two in pairwise(got))
        assert len(got) <= size
        seen = [*seen, *got] if forward else [*got, *seen]
        cursor = (got[-1] if forward else got[0]) if got else cursor
    assert seen == beyond


@given(messages=sent)
def test_ids_rise_with_gaps_and_every_list_is_part_of_the_app(messages: list[Sent]) -> None:
    world = a_world_of(messages)
    [everything] = world.list_of_all(None)
    numbers = [row.id for row in everything]
    assert numbers == sorted(set(numbers))
    for uid in PEOPLE:
        assert {row.id for feed in world.list_of_user(uid) for row in feed} <= set(numbers)


def test_the_oldest_messages_go_when_too_many_are_kept() -> None:
    world = a_world(keep=100)
    for number in range(1_000):
        world.send("a", "b", content={"text": str(number)})
    [everything] = world.list_of_all(None)
    [of_a] = world.list_of_user("a")
    assert 85 <= len(world) <= 100
    assert [row.id for row in of_a] == [row.id for row in everything]
    assert world.find(list(everything)[-1].id).text == "999"
