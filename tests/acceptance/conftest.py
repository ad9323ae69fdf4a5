"""The stage that every timeline begins with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.stage import Stage, make_stage, people


@pytest.fixture
async def stage(tmp_path: Path) -> Stage:
    """Three people and a group. The test itself asks for `autojump_clock`: pytest-trio wants that."""
    made = make_stage(tmp_path)
    people(made.world)
    return made
