"""We know when we are blind, and don't mistake one user's trouble for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from monitor import notices
from monitor.health import Health
from rules.model import Status, UserId

START = datetime(2026, 11, 22, 8, tzinfo=UTC)
AFTER = timedelta(minutes=3)
ALICE, BOB = UserId("alice"), UserId("bob")


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_blindness_counts_from_the_last_answer() -> None:
    health = Health(started_at=START)
    health.answered(now=at(10))
    health.failed(ALICE, error="down", now=at(20))
    assert health.blind_since(at(199), after=AFTER) is None
    assert health.blind_since(at(200), after=AFTER) == at(10)


def test_who_never_saw_anything_is_blind_since_the_start() -> None:
    health = Health(started_at=START)
    health.failed(ALICE, error="down", now=at(1))
    assert health.blind_since(at(500), after=AFTER) == START


def test_one_answer_ends_blindness() -> None:
    health = Health(started_at=START)
    health.failed(ALICE, error="down", now=at(1))
    health.answered(now=at(400))
    assert health.blind_since(at(500), after=AFTER) is None
    assert health.last_error is None


def test_an_unknown_user_is_an_answer() -> None:
    health = Health(started_at=START)
    health.unknown_user(ALICE, error="no such user", now=at(1))
    assert health.blind_since(at(500), after=AFTER) is None
    assert health.sight(ALICE).unknown


def test_an_outage_is_counted_over_all_lists() -> None:
    health = Health(started_at=START)
    for uid in (ALICE, BOB, ALICE):
        health.failed(uid, error="down", now=at(1))
    assert health.failures_in_a_row == 3
    health.answered(now=at(2))
    assert health.failures_in_a_row == 0


def test_failures_are_counted_in_a_row() -> None:
    health = Health(started_at=START)
    assert [health.failed(ALICE, error="down", now=at(n)) for n in range(3)] == [1, 2, 3]
    health.answered(now=at(4))
    assert health.store_failed(ALICE, error="disk full") == 4
    health.accounted(ALICE, now=at(5))
    assert health.failed(ALICE, error="down", now=at(6)) == 1


def test_who_fails_again_after_others_were_answered_fails_alone() -> None:
    health = Health(started_at=START)
    assert not health.fails_alone(ALICE)
    health.failed(ALICE, error="forbidden", now=at(1))
    assert not health.fails_alone(ALICE)
    health.answered(now=at(2))
    assert health.fails_alone(ALICE)
    assert not health.fails_alone(BOB)


def test_a_store_that_fails_is_no_blindness() -> None:
    health = Health(started_at=START)
    health.answered(now=at(1))
    health.store_failed(ALICE, error="disk full")
    assert health.blind_since(at(999), after=AFTER) is None
    assert health.store_error == "disk full"
    health.committed(at(2))
    assert health.store_error is None


def test_a_blindness_has_one_id_and_its_end_the_same() -> None:
    first = notices.blind(app="1", since=START, error="down", now=at(200))
    again = notices.blind(app="1", since=START, error="still down", now=at(900))
    over = notices.sees_again(first, now=at(1000))
    assert first.id == again.id == over.id
    assert (over.status, over.resolution) == (Status.RESOLVED, "polls succeed again")
    assert notices.blind(app="2", since=START, error="down", now=at(200)).id != first.id
