"""Words of the house at their limits: ids that never change, who takes part, how a party is named."""

from __future__ import annotations

import pytest

from rules.kinds.base import MAX_ENTRIES, MAX_EVIDENCE, MAX_TEXT, evidence
from rules.model import (
    MAX_KEY,
    Message,
    Party,
    UserId,
    WatchSet,
    correlation_key,
    digest,
    fingerprint,
    watched,
)
from tests.rules.builders import ANN, BOB, a_call, a_message, in_group


def test_the_id_of_a_finding_is_the_same_in_every_version() -> None:
    # Receivers and stores hold such ids: a change would tell every open alert a second time.
    assert (
        fingerprint("275211", "missed-call", "v1.us.1654a", "v1.us.1654a")
        == "fd1d88a4f10a6200bdb72104ee4bbafe"
    )
    assert digest() == digest()
    assert digest("") != digest()


def test_parts_cannot_be_mistaken_for_each_other() -> None:
    assert len({digest("ab", "c"), digest("a", "bc"), digest("abc"), digest("ab", "c", "")}) == 4
    assert len(digest("\ud800" * 1_000)) == 32


@pytest.mark.parametrize(
    ("message", "users"),
    [
        (a_message(sender=Party(id="ANN"), receiver=Party(id="Bob")), ("ann", "bob")),
        (a_message(receiver=ANN), ("ann",)),
        (in_group(), ("ann",)),
        (a_call("rejected"), ("ann", "bob")),  # Bob caused the row; Ann called
        (a_call("ongoing", caller=BOB, callee=ANN), ("bob", "ann")),
        (a_call("unanswered", group=True), ("ann",)),
    ],
)
def test_who_takes_part(message: Message, users: tuple[str, ...]) -> None:
    assert message.participants == users


def test_watched_users_come_in_order_and_once() -> None:
    watch: WatchSet = {UserId("ann"): {}, UserId("bob"): {}}
    assert watched(["bob", "zoe", "ann", "bob"], watch) == ("bob", "ann")


@pytest.mark.parametrize(
    ("party", "label"),
    [
        (Party(id="ann", name="Ann"), "Ann (ann)"),
        (Party(id="ann", name="ann"), "ann"),
        (Party(id="ann", name=""), "ann"),
        (Party(id="ann"), "ann"),
    ],
)
def test_a_party_is_named_by_name_and_id(party: Party, label: str) -> None:
    assert party.label == label


# --- what is kept -----------------------------------------------------------------------------------


@pytest.mark.parametrize("id_", ["a" * MAX_KEY, "v1.us-east:1654_a b"])
def test_a_short_printable_id_is_its_own_key(id_: str) -> None:
    assert correlation_key(id_) == id_


@pytest.mark.parametrize("id_", ["a" * (MAX_KEY + 1), "é", "a\n", "\x7f", "\ud800"])
def test_any_other_id_is_a_digest(id_: str) -> None:
    assert correlation_key(id_) == digest(id_)


def test_evidence_is_the_message_without_what_apps_put_in() -> None:
    message = a_message(text="hello", metadata={"a": 1}, custom={"b": 2})
    assert evidence(message) == a_message(text="hello")


def test_a_message_of_the_largest_size_is_kept_whole_and_a_larger_one_cut() -> None:
    whole = a_message(text="x" * 100_000)
    assert evidence(whole).text == whole.text
    tags = tuple(f"tag {number}" for number in range(MAX_ENTRIES + 10))
    cut = evidence(a_message(text="x" * MAX_EVIDENCE, tags=tags))
    assert (cut.text, cut.tags) == ("x" * MAX_TEXT, tags[:MAX_ENTRIES])


def test_half_a_character_becomes_a_question_mark() -> None:
    assert evidence(a_message(text="a\ud800b")).text == "a?b"
