"""Rows that can't be read: set aside once and shown, however often they are read again."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from monitor.simulator.play import Stage as Play
from monitor.simulator.rows import SPOILED
from monitor.simulator.script import Scenario, Spoil
from tests.acceptance.stage import Stage, until


@pytest.mark.parametrize("way", SPOILED)
async def test_a_malformed_row_in_a_quiet_list_is_set_aside_once(
    stage: Stage, autojump_clock: MockClock, way: str
) -> None:
    play = Play(stage.world, Scenario(name="spoiled", about="", actions=lambda: iter(())))
    async with stage.monitor() as app:
        await until(5)
        play.perform(Spoil(at=0, sender="superhero1", to="superhero2", way=way))
        await until(120)  # some sixty polls see it, with or without an id
        rejects = app.store.rejects()
        assert app.store.ledger().counts.rejected == 1
        assert app.metrics.registry.get_sample_value("cometwatch_rejects_total") == 1
    assert [reject.uid for reject in rejects] == ["superhero2"]
