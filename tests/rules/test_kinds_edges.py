"""What the kinds over many messages share, at its limits: keys, lists to wait for, numbers, lists."""

from __future__ import annotations

import pytest

from rules.fields import MAX_VALUE, carriers, kept, key_of
from rules.kinds.any_value import is_one_of
from rules.kinds.spike import Ratio
from rules.model import Message, Party, UserId, WatchSet, digest
from tests.rules.builders import Bench, a_message, after, in_group, rules_of
from tests.rules.test_grammar_edges import read

BOTH: WatchSet = {UserId("ann"): {}, UserId("bob"): {}}


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ((), "all"),
        (("a b%",), "a b%"),
        (("a b", "c%"), "a%20b c%25"),
        (("a", ""), "a "),
        (("@all",), digest("@all")),
        (("a@b",), "a@b"),
        (("é",), digest("é")),
    ],
)
def test_the_key_of_values_is_the_same_in_every_version(values: tuple[str, ...], key: str) -> None:
    assert key_of(values) == key  # stored states and open alerts are found by it


@pytest.mark.parametrize(
    ("value", "is_kept"),
    [("a" * MAX_VALUE, True), ("a" * (MAX_VALUE + 1), False), ("é", True), ("\ud800", False), ("", True)],
)
def test_a_short_value_is_kept_as_it_is(value: str, is_kept: bool) -> None:
    assert kept(value) == (value if is_kept else digest(value))


@pytest.mark.parametrize(
    ("names", "values", "message", "lists"),
    [
        (("receiver",), ("team",), in_group(), (("@group:team",), False)),
        (("sender",), ("ann",), a_message(), (("ann",), False)),
        (("sender", "receiver"), ("ann", "bob"), a_message(), (("ann",), False)),
        (("sender",), ("zoe",), a_message(), ((), True)),
        (("sender",), ("ann",), in_group(), ((), True)),
        (("type",), ("text",), a_message(), ((), True)),
        (("conversation",), ("ann_user_bob",), a_message(), (("ann", "bob"), False)),
        (("conversation", "type"), ("group_team", "text"), in_group(), (("@group:team",), False)),
    ],
)
def test_the_lists_that_the_next_row_would_stand_in(
    names: tuple[str, ...], values: tuple[str, ...], message: Message, lists: tuple[tuple[str, ...], bool]
) -> None:
    assert carriers(names, values, [message], BOTH) == lists


def test_a_group_is_the_same_in_any_spelling_and_its_list_has_its_own() -> None:
    message = a_message(receiver=Party(id="TEAM"), receiver_type="group", conversation_id="group_TEAM")
    assert carriers(("receiver",), ("team",), [message], BOTH) == (("@group:TEAM",), False)


def test_a_conversation_of_nobody_watched_may_go_on_anywhere() -> None:
    assert carriers(("conversation",), ("ann_user_bob",), [a_message()], {}) == ((), True)


NUMBER = Ratio(least=1.5, most=100)


@pytest.mark.parametrize(
    ("text", "value"), [("1.5", 1.5), ("100", 100.0), ("3", 3.0), ("99.999999", 99.999999)]
)
def test_a_ratio_counts_its_limits_in(text: str, value: float) -> None:
    assert read(NUMBER, text) == (value, [])


@pytest.mark.parametrize(
    "text", ["1.4", "100.1", "1.2.3", "-2", "x", "[2]", "1e1", "٣", "2.00000000000", "''"]
)
def test_what_is_no_ratio(text: str) -> None:
    value, (problem,) = read(NUMBER, text)
    assert value is None
    assert problem.endswith("expected a number between 1.5 and 100; for example 3")


LONG = "a" * (MAX_VALUE + 1)


@pytest.mark.parametrize(
    ("listed", "value", "is_in"),
    [
        (("Pdf",), "PDF", True),
        (("pdf",), "pdfx", False),
        (("vip-*",), "VIP-1", True),
        ((LONG,), kept(LONG), True),
        ((f"{LONG}*",), "b", False),
        ((f"{'A' * MAX_VALUE}*",), "a" * MAX_VALUE, True),
    ],
)
def test_a_value_is_in_a_list_in_any_case(listed: tuple[str, ...], value: str, is_in: bool) -> None:
    assert is_one_of(listed)(value) is is_in


@pytest.mark.parametrize(("at_least", "is_told"), [(3, True), (4, False)])
def test_a_spike_counts_its_least_in(at_least: int, is_told: bool) -> None:
    options = f"at_least: {at_least}, within: 1m, reference: 1h, ratio: 2"
    bench = Bench(rules_of(f"rules: [{{name: it, kind: spike, {options}, direction: up, by: [sender]}}]"))
    # The first hour is for learning what is usual.
    rows = [a_message(id=n, sent_at=after(at)) for n, at in enumerate([0, 7_200, 7_201, 7_202], 1)]
    bench.feed(*rows, now=after(7_300))
    assert bench.last.faults == ()
    assert bool(bench.told) is is_told
