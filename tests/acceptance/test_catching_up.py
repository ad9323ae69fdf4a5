"""After an outage, what was read is concluded at once, not one question a poll."""

from __future__ import annotations

from datetime import timedelta

import pytest
from trio.testing import MockClock

from monitor.simulator import Fault
from tests.acceptance.stage import CONFIG, Stage, say, until

QUIET = "rules:\n  - {name: quiet, kind: absence, when: {type: text}, for: 10s, by: [%s]}\n"
SILENCES = 20


@pytest.mark.parametrize("by", ["conversation", "sender"])  # any one list answers; all must
async def test_many_silences_of_one_key_in_the_past_take_no_poll_each(
    stage: Stage, autojump_clock: MockClock, by: str
) -> None:
    (stage.folder / "rules.yaml").write_text(QUIET % by, encoding="utf-8")
    async with stage.monitor(f"{CONFIG}rules: {{packs: [], files: [rules.yaml]}}\n") as app:
        await until(10)
        stage.world.faults.add(Fault(kind="server-error"))
        for number in range(SILENCES):
            say(stage.world, "and")
            await until(30 + 20 * number)
        stage.world.faults.clear()
        await until(30 + 20 * SILENCES + 120)
        found = [alert.first_seen_at for alert in app.store.alerts() if alert.rule == "quiet"]
        assert len(found) == SILENCES
        assert max(found) - min(found) < timedelta(seconds=5)
