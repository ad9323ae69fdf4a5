"""Missed calls against an oracle that looks at the whole story at once, written without the engine."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rules.model import Message, Tick, UserId, WatchSet, fingerprint
from tests.rules.builders import APP, BOB, MISSED, NOON, Bench, a_call, after, rules_of

RULES = rules_of(MISSED)
STORIES = {
    # how a call may go: (status, seconds after the ring began)
    "no answer": [("initiated", 0), ("unanswered", 45)],
    "hung up": [("initiated", 0), ("cancelled", 20)],
    "hung up at once": [("initiated", 0), ("cancelled", 2)],
    "busy": [("initiated", 0), ("busy", 1)],
    "declined": [("initiated", 0), ("rejected", 6)],
    "declined, then given up": [("initiated", 0), ("rejected", 6), ("unanswered", 45)],
    "answered": [("initiated", 0), ("ongoing", 9), ("ended", 300)],
    "answered as it was given up": [("initiated", 0), ("unanswered", 45), ("ongoing", 45)],
    "never ended": [("initiated", 0)],
    "began before we watched": [("cancelled", 20)],
    "ended before it rang": [("busy", 0), ("unanswered", 0)],
}
WATCHES: list[WatchSet] = [{UserId("bob"): {}}, {UserId("ann"): {}}, {UserId("ann"): {}, UserId("bob"): {}}]


def missed_in(story: list[tuple[str, int]]) -> bool:
    """What a person with the whole story before them says."""
    happened = dict(story)
    if "ongoing" in happened or "ended" in happened or "rejected" in happened:
        return False
    if "cancelled" in happened and "initiated" in happened:
        return happened["cancelled"] - happened["initiated"] >= 5
    return True


@st.composite
def traffic(draw: st.DrawFn) -> tuple[dict[str, list[tuple[str, int]]], list[Message]]:
    """Some calls of Ann to Bob, their rows shuffled, and some of them twice."""
    names = draw(st.lists(st.sampled_from(sorted(STORIES)), min_size=1, max_size=4))
    stories = {f"s{i}": STORIES[name] for i, name in enumerate(names)}
    rows = [
        a_call(status, at, number=100 * i + j, session=session, callee=BOB)
        for i, (session, story) in enumerate(stories.items())
        for j, (status, at) in enumerate(story)
    ]
    again = draw(st.lists(st.sampled_from(rows), max_size=4))
    return stories, draw(st.permutations([*rows, *again]))


@st.composite
def splits(draw: st.DrawFn, rows: list[Message]) -> list[list[Message]]:
    cuts = sorted(draw(st.sets(st.integers(0, len(rows)), max_size=len(rows))))
    edges = [0, *cuts, len(rows)]
    return [rows[a:b] for a, b in pairwise(edges)]


@given(data=st.data(), told=traffic(), watch=st.sampled_from(WATCHES))
def test_what_is_open_in_the_end_is_what_was_missed(
    data: st.DataObject, told: tuple[dict[str, list[tuple[str, int]]], list[Message]], watch: WatchSet
) -> None:
    stories, rows = told
    bench = Bench(RULES, watch=watch)
    for chunk in data.draw(splits(rows)):
        bench.feed(*chunk)
        # Some timers come due while rows are still missing, as after a long pause of one list.
        due = data.draw(st.lists(st.sampled_from(sorted(bench.timers)), unique=True)) if bench.timers else []
        bench.feed(ticks=[Tick(key=key, due=bench.timers[key].due) for key in due])
    bench.pass_time()
    expected = (
        {session for session, story in stories.items() if missed_in(story)} if "bob" in watch else set()
    )
    assert bench.open_alerts == {fingerprint(APP, "missed", session, session) for session in expected}
    assert bench.timers == {}


@given(data=st.data(), told=traffic())
def test_with_all_rows_in_one_step_nothing_is_told_that_must_be_taken_back(
    data: st.DataObject, told: tuple[dict[str, list[tuple[str, int]]], list[Message]]
) -> None:
    stories, rows = told
    bench = Bench(RULES)
    bench.feed(*rows)
    bench.pass_time()
    expected = {session for session, story in stories.items() if missed_in(story)}
    assert sorted(bench.news) == sorted((session, "firing") for session in expected)


@given(data=st.data(), told=traffic())
def test_reading_everything_again_changes_nothing(
    data: st.DataObject, told: tuple[dict[str, list[tuple[str, int]]], list[Message]]
) -> None:
    _, rows = told
    bench = Bench(RULES)
    for chunk in data.draw(splits(rows)):
        bench.feed(*chunk)
    bench.pass_time()
    before = (list(bench.told), dict(bench.states), dict(bench.timers))
    for chunk in data.draw(splits(data.draw(st.permutations(rows)))):
        bench.feed(*chunk, now=NOON + timedelta(days=1))
    assert (bench.told, bench.states, bench.timers) == before


@given(at=st.floats(0, 10), number=st.integers(1, 3))
def test_a_call_shorter_than_min_ring_is_never_told(at: float, number: int) -> None:
    bench = Bench(RULES)
    bench.feed(a_call("initiated", 0, number=2), a_call("cancelled", at, number=number + 2))
    assert bool(bench.told) is (after(at) - NOON >= timedelta(seconds=5))
