"""The forms of values: what is written is what is meant, and what we show can be read back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from monitor.settings.forms import duration, duration_text, size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2s", 2), ("5m", 300), ("27h", 97_200), ("30d", 2_592_000), ("500ms", 0.5), ("1h30m", 5400),
        ("1h 30m", 5400), ("0.5s", 0.5), ("0s", 0), ("PT5M", 300), ("P1DT1H", 90_000), ("PT0.5S", 0.5),
        ("pt2s", 2),
    ],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    ["", "5", 5, 5.0, None, True, "s", "-5s", "5 weeks", "P", "PT", "1h-", "1e3s", "١s", ["2s"], "P1Y"],
)
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(PydanticCustomError, match="with its unit"):
        duration(text)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=5000)))
def test_a_shown_duration_reads_back_to_the_millisecond(span: timedelta) -> None:
    assert abs(duration(duration_text(span)) - span) <= timedelta(microseconds=501)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (1024, 1024),
        ("1024", 1024),
        ("1 kB", 1000),
        ("500KB", 500_000),
        ("32MiB", 32 << 20),
        ("1gib", 1 << 30),
    ],
)
def test_sizes(text: object, count: int) -> None:
    assert size(text) == count


@pytest.mark.parametrize("text", ["", "MiB", "1.5MiB", "-1", True, 1.5, None, "1TB", [1]])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(PydanticCustomError, match="expected a size"):
        size(text)
