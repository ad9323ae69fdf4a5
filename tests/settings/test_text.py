"""YAML with places: total on any text, and right about where things stand."""

from __future__ import annotations

from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from monitor.settings.text import Document, read
from rules.text import Place, Source, SpecError

SCALARS = st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef"), inner, max_size=4)
)


def a_document(text: str) -> Document:
    return read(Source("x.yaml", text))


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(SpecError):
        a_document(text)


@given(st.dictionaries(st.text("abc", min_size=1), VALUES))
def test_what_was_written_is_read(value: dict[str, object]) -> None:
    assert a_document(yaml.safe_dump(value)).value == value


@pytest.mark.parametrize(
    ("loc", "line", "column"),
    [
        (("a",), 1, 4),
        (("b",), 3, 3),
        (("b", 1), 4, 5),
        (("b", 1, "c"), 4, 9),
        (("b", 1, "nowhere"), 4, 5),
        (("b", "Union[x]", 1, "c"), 4, 6),
        (("nowhere",), 1, 1),
    ],
)
def test_places(loc: tuple[str | int, ...], line: int, column: int) -> None:
    document = a_document("a: 1\nb:\n  - x\n  - {c: 2}\n")
    assert document.place(loc) == Place("x.yaml", line, column)


@pytest.mark.parametrize("word", ["no", "on", "0123", "12e4", "2026-03-01", "1_000", "0x1F", "1:30", "<<"])
def test_only_what_looks_like_a_number_or_a_truth_is_one(word: str) -> None:
    assert a_document(f"a: {word}").value == {"a": word}
    assert a_document("[true, 12, -1.5, ~]").value == [True, 12, -1.5, None]


def test_what_is_wrong_with_keys_and_numbers_is_told_together() -> None:
    with pytest.raises(SpecError) as caught:
        a_document(f"{{a: 1, a: 2, [b]: 3, c: {'9' * 5_000}}}")
    assert [str(problem).partition(";")[0] for problem in caught.value.problems] == [
        'x.yaml:1:8: "a" is written twice, first in line 1: keep one of them',
        "x.yaml:1:14: keys are plain words here",
        "x.yaml:1:25: a number of that many digits can't be read",
    ]
