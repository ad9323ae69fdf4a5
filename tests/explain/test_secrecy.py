"""Stored states, as they may be shown."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.explain.secrecy import changes, without_text
from rules.model import Attachment
from tests.rules.builders import BOB, a_message

SECRET = "s3cret"
NASTY = st.text(alphabet=st.sampled_from(['"', "\\", ":", "n", "\n", "é", "{", "}"]), max_size=8)


@given(before=NASTY, after=NASTY, cut=st.integers(0, 400))
def test_what_people_wrote_is_not_shown_wherever_the_state_was_cut(before: str, after: str, cut: int) -> None:
    text = before + SECRET + after
    file = Attachment(name=text, extension="pdf", url=text)
    message = a_message(text=text, attachments=(file,), sender=BOB)
    state = msgspec.json.encode({"rows": [message], "told": "firing"}).decode()
    whole = without_text(state)
    assert SECRET not in whole
    assert json.loads(whole)["told"] == "firing"
    assert (
        json.loads(whole)["rows"][0]["text"]
        == f"({len(json.dumps(text, ensure_ascii=False)) - 2} characters)"
    )
    assert SECRET not in without_text(state[: len(state) - cut])


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, {"a": 1}, ["a: nothing -> 1"]),
        ({"a": 1}, {"a": 1}, ["it is as it was"]),
        ({"a": 1, "b": 2}, {"a": 3}, ["a: 1 -> 3", "b: 2 -> nothing"]),
        ({"rows": [1]}, {"rows": [1, 2]}, ["rows: 1 -> 2, new [2]"]),
        ({"rows": [1, 2]}, {"rows": [2]}, ["rows: 2 -> 1"]),
        ({}, {"rows": [1]}, ["rows: 0 -> 1, new [1]"]),
        ({"x": "a" * 300}, {}, [f'x: "{"a" * 198}… -> nothing']),
        ([1], [1, 2], ["[1] -> [1,2]"]),
    ],
)
def test_changes_are_told_part_by_part(before: Any, after: Any, told: list[str]) -> None:
    assert list(changes(None if before is None else json.dumps(before), json.dumps(after))) == told


def test_what_is_forgotten_or_was_cut_is_told_as_such() -> None:
    assert changes("{}", None) == ("it is forgotten",)
    assert changes('{"a":"', '{"a":"b"}') == ("6 characters before, 9 after: too long to be compared",)
