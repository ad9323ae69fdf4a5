"""The short form: some cases, always the same ones. `python -m tests.fuzz` tries others, for longer."""

from __future__ import annotations

import pytest

from tests.fuzz.campaign import Tally, tried


@pytest.mark.parametrize("seed", range(10))
def test_nothing_that_can_be_written_or_sent_crashes_or_hangs(seed: int) -> None:
    tally = Tally()
    for number in range(10):
        tried(f"{seed}-{number}", tally)
    assert tally.found == []
    assert tally.messages > 0
