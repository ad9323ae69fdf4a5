"""The least number is first, whatever was moved or taken out, and ghosts don't pile up."""

import math

from hypothesis import given
from hypothesis import strategies as st

from monitor.schedule.agenda import SLACK, Agenda

Step = tuple[str, float | None]
STEPS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.none() | st.floats(0, 10)), max_size=200)


@given(STEPS)
def test_it_agrees_with_a_sorted_list(steps: list[Step]) -> None:
    agenda, plain = Agenda(), dict[str, float]()
    for name, number in steps:
        if number is None:
            assert agenda.drop(name) == plain.pop(name, None)
        else:
            agenda.put(name, number)
            plain[name] = number
        assert agenda.first() == min(plain.values(), default=math.inf)
        assert len(agenda) == len(plain)
    assert [agenda.pop() for _ in range(len(agenda))] == sorted(
        (number, name) for name, number in plain.items()
    )
    assert agenda.first() == math.inf


def test_names_that_move_for_ever_need_no_more_room() -> None:
    agenda = Agenda()
    for step in range(10_000):
        agenda.put(f"u{step % 10}", float(step))
        assert agenda.size <= 2 * len(agenda) + SLACK + 1
    assert agenda.top() == "u0"
