"""Words for how long people waited, and the limits of a file of values."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rules.kinds.answers import lasted
from rules.names import MAX_FILE, entries_of
from rules.text import Source, SpecError


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.6, "1 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (599, "9 min 59 s"),
        (601, "10 min"),
        (3_599, "59 min"),
        (3_600, "1 h"),
        (3_659, "1 h"),
        (3_660, "1 h 1 min"),
        (12_000, "3 h 20 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d"),
        (89_999, "1 d"),
        (90_000, "1 d 1 h"),
        (3 * 86_400 + 7_200, "3 d 2 h"),
    ],
)
def test_how_long_people_waited(seconds: float, words: str) -> None:
    assert lasted(timedelta(seconds=seconds)) == words


def test_a_file_of_values_may_be_so_large_and_no_larger() -> None:
    comment = f"#{'x' * (MAX_FILE - 1)}"
    assert entries_of(Source("f.txt", comment)) == ()
    with pytest.raises(SpecError, match="the file is larger than 4 MiB"):
        entries_of(Source("f.txt", f"{comment}x"))
