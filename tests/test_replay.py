"""Recorded answers take the same road, and give the same findings."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from monitor.evaluation import Orders
from monitor.replay import everybody, replay
from monitor.source.pages import Undecodable
from rules import spec

RECORDED = (Path(__file__).parent / "data" / "list-user-messages.json").read_bytes()


def orders(*bodies: bytes) -> Orders:
    rules = spec.load([*map(spec.pack, spec.DEFAULT_PACKS)], app="test")
    return Orders(rules=rules, watch=everybody(bodies), routes=(), max_age=timedelta.max)


def test_the_recorded_call_rang_for_too_long_and_was_answered_at_last() -> None:
    replayed = replay(orders(RECORDED), [RECORDED])
    assert (replayed.messages, replayed.rejects) == (2, 0)
    told = [(f.alert.rule, f.alert.status.value) for f in replayed.findings]
    assert told == [("missed-call", "firing"), ("missed-call", "resolved")]
    assert len({finding.alert.id for finding in replayed.findings}) == 1


def test_the_same_answer_twice_finds_nothing_twice() -> None:
    once, twice = (replay(orders(RECORDED), [RECORDED] * times) for times in (1, 2))
    assert once == twice


def test_everybody_in_the_recording_can_be_watched() -> None:
    assert set(everybody([RECORDED])) == {"superhero2", "superhero3"}


def test_a_body_that_is_no_answer_is_refused() -> None:
    with pytest.raises(Undecodable):
        replay(orders(), [b"<html>"])
