"""What the kinds over many messages keep and say at their limits."""

from __future__ import annotations

import pytest

from rules.cel_complaints import TOLD as COMPLAINTS
from rules.kinds.episodes import DECODER, Row, with_row
from rules.model import Message, MessageId
from rules.names import TOLD, entries_of
from rules.text import Source, SpecError
from tests.rules.builders import Bench, a_message, after, rules_of
from tests.rules.test_cel import wrong


def row(number: int) -> Message:
    return a_message(id=MessageId(number), sent_at=after(10 * number))


def test_an_alert_keeps_the_messages_that_it_began_with_until_it_is_over() -> None:
    bench = Bench(rules_of("rules: [{name: it, kind: count, at_least: 3, within: 1m}]"))
    for number in range(1, 31):
        bench.feed(row(number))
    (raised,) = [alert for alert in bench.told if alert.resolution is None][:1]
    assert [message.id for message in raised.messages] == [1, 2, 3]
    (state,) = bench.states.values()
    assert [one.id for one in DECODER.decode(state.value).kept] == [1, 2, 3, 26, 27, 28, 29, 30]
    bench.pass_time(after(1_000))
    assert [message.id for message in bench.told[-1].messages] == [1, 2, 28, 29, 30]
    assert bench.told[-1].resolution is not None


def test_a_row_stands_in_its_place_and_only_once() -> None:
    rows: list[Row] = []
    for one in (Row(2, 1, 0, "b"), Row(1, 9), Row(2, 1, 0, "a"), Row(2, 1, 0, "c"), Row(2, 0)):
        assert with_row(rows, one)
        assert not with_row(rows, one._replace(lag=7))
    assert [(one.at, one.id, one.value) for one in rows] == [
        (1, 9, ""),
        (2, 0, ""),
        (2, 1, "a"),
        (2, 1, "b"),
        (2, 1, "c"),
    ]


@pytest.mark.parametrize("number", [TOLD, TOLD + 1, TOLD + 2])
def test_so_many_wrong_values_of_a_file_are_told_one_by_one(number: int) -> None:
    with pytest.raises(SpecError) as caught:
        entries_of(Source("f.txt", "\x01\n" * number))
    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == min(number, TOLD + 1)
    more = f"f.txt: {number - TOLD} more values are wrong likewise"
    assert (told[-1] == more) is (number > TOLD)


def test_so_many_complaints_about_an_expression_are_told() -> None:
    names = [f"n{number}" for number in range(COMPLAINTS + 2)]
    assert len(wrong(" || ".join(names))) == COMPLAINTS
