"""Short storms; `python -m tests.storm` has ten thousand alerts."""

from __future__ import annotations

import pytest

from tests.storm.__main__ import told
from tests.storm.campaign import run
from tests.storm.scene import Scene

STORM = Scene(name="storm", alerts=300, over_s=60)
OUTAGE = Scene(name="outage", alerts=200, over_s=1200, outage_s=1200, still=5)


@pytest.mark.parametrize("scene", [STORM, OUTAGE], ids=lambda scene: scene.name)
def test_nothing_of_a_storm_is_lost_and_people_get_a_handful(scene: Scene) -> None:
    result = run(scene)
    assert result.wrong == (), told(result)
