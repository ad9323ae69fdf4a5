"""A timer concludes by what was seen, never by our clock; any one of its lists suffices."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from monitor.timers import Timers
from rules.model import RuleName, StateKey, Tick, Timer, UserId

START = datetime(2026, 11, 22, 8, tzinfo=UTC)
ALICE, BOB, CAROL = UserId("alice"), UserId("bob"), UserId("carol")


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def timer(key: str, due: float, *lists: UserId) -> Timer:
    return Timer(key=StateKey(RuleName("missed-call"), key), due=at(due), lists=lists or (ALICE,))


def keys(ticks: tuple[Tick, ...]) -> list[str]:
    return [tick.key.key for tick in ticks]


def test_a_timer_waits_until_the_watermark_has_passed_it() -> None:
    timers = Timers([timer("s1", 90)])
    assert timers.due(ALICE, at(90)) == ()
    assert keys(timers.due(ALICE, at(90.1))) == ["s1"]


def test_either_list_of_a_timer_concludes_it_and_nobody_elses() -> None:
    timers = Timers([timer("s1", 90, ALICE, BOB)])
    assert keys(timers.due(BOB, at(100))) == ["s1"]
    assert timers.due(CAROL, at(100)) == ()


def test_a_timer_replaces_the_one_of_its_key() -> None:
    timers = Timers([timer("s1", 90, ALICE)])
    timers.apply([timer("s1", 50, BOB)], ())
    assert len(timers) == 1
    assert timers.due(ALICE, at(100)) == ()
    assert timers.next_due(BOB) == at(50)


def test_a_cancelled_timer_is_gone() -> None:
    timers = Timers([timer("s1", 90)])
    timers.apply((), [StateKey(RuleName("missed-call"), "s1"), StateKey(RuleName("other"), "never set")])
    assert (len(timers), timers.next_due(ALICE)) == (0, None)


def test_the_earliest_timer_of_a_user_comes_first() -> None:
    timers = Timers([timer("late", 90), timer("early", 30)])
    assert timers.next_due(ALICE) == at(30)
    assert keys(timers.due(ALICE, at(1000))) == ["early", "late"]


def test_timers_that_nobody_can_answer_are_named() -> None:
    timers = Timers([timer("s1", 90, ALICE, BOB), timer("s2", 90, CAROL)])
    assert timers.stranded(lambda uid: uid == ALICE) == (timer("s2", 90, CAROL),)


def test_a_reset_forgets_what_the_store_no_longer_holds() -> None:
    timers = Timers([timer("s1", 90)])
    timers.reset([timer("s2", 60, BOB)])
    assert (timers.next_due(ALICE), timers.next_due(BOB)) == (None, at(60))


def everywhere(key: str, due: float) -> Timer:
    return Timer(key=StateKey(RuleName("quiet"), key), due=at(due), lists=(), every=True)


def test_a_timer_for_all_lists_is_answered_by_no_single_one() -> None:
    timers = Timers([everywhere("s1", 90), timer("s2", 90)])
    assert keys(timers.due(ALICE, at(100))) == ["s2"]
    assert (timers.next_everywhere(), timers.next_due(ALICE)) == (at(90), at(90))
    assert timers.due_everywhere(at(90)) == ()
    assert keys(timers.due_everywhere(at(91))) == ["s1"]


def test_a_timer_for_all_lists_is_never_stranded() -> None:
    assert Timers([everywhere("s1", 90)]).stranded(lambda _: False) == ()


def test_asking_for_what_is_due_takes_nothing_away() -> None:
    timers = Timers([timer("s1", 90), timer("s1", 90), timer("s2", 90)])
    assert [keys(timers.due(ALICE, at(100))) for _ in range(2)] == [["s1", "s2"]] * 2


CHANGES = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.integers(0, 20),
        st.sets(st.sampled_from([ALICE, BOB]), max_size=2),
        st.booleans(),
    ),
    max_size=200,
)


@given(changes=CHANGES, watermark=st.integers(0, 20))
def test_however_often_they_change_the_same_are_due_as_by_looking_at_all(
    changes: list[tuple[str, int, set[UserId], bool]], watermark: int
) -> None:
    timers, plain = Timers(), dict[StateKey, Timer]()
    for name, due, lists, every in changes:
        key = StateKey(RuleName("r"), name)
        if lists or every:
            plain[key] = Timer(key=key, due=at(due), lists=tuple(sorted(lists)), every=every)
            timers.apply([plain[key]], ())
        else:
            plain.pop(key, None)
            timers.apply((), [key])
        mine = [timer for timer in plain.values() if ALICE in timer.lists]
        assert timers.next_due(ALICE) == min((timer.due for timer in mine), default=None)
    ripe = sorted((timer.due, key) for key, timer in plain.items() if timer.due < at(watermark))
    for asked, told in (
        (timers.due(ALICE, at(watermark)), [key for _, key in ripe if ALICE in plain[key].lists]),
        (timers.due_everywhere(at(watermark)), [key for _, key in ripe if plain[key].every]),
    ):
        assert [tick.key for tick in asked] == told
