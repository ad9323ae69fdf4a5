"""YAML with places: total on any text, and right about where things stand."""

from __future__ import annotations

from contextlib import suppress

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.settings.text import Place, YamlTextError, read

SCALARS = st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef"), inner, max_size=4)
)


@settings(deadline=None)
@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(YamlTextError):
        read(text, "x.yaml")


@settings(deadline=None)
@given(st.dictionaries(st.text("abc", min_size=1), VALUES))
def test_what_was_written_is_read(value: dict[str, object]) -> None:
    assert read(yaml.safe_dump(value), "x.yaml").value == value


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
    document = read("a: 1\nb:\n  - x\n  - {c: 2}\n", "x.yaml")
    assert document.place(loc) == Place("x.yaml", line, column)


def test_deep_nesting_is_refused() -> None:
    for text in ("[" * 5000, "- " * 60 + "x", "{a: " * 45 + "1" + "}" * 45):
        with pytest.raises(YamlTextError):
            read(text, "x.yaml")
