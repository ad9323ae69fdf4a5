"""The shorter scenes: what our receivers are told is what those of Alertmanager are, or differs as we say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tests.alertmanager_sink.server import binary

from . import ours, theirs
from .__main__ import table
from .scenes import SCENES, Scene
from .told import TOLERANCE, Pair, Told, paired, told

SHORT = [scene for scene in SCENES if scene.until <= 8]

by_name = pytest.mark.parametrize("scene", SHORT, ids=lambda scene: scene.name.replace(" ", "-"))


@pytest.fixture(scope="module")
def from_alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Sequence[Told]]:
    if binary() is None:
        pytest.skip("Alertmanager is not here: .ci/alertmanager fetches it")
    return theirs.play(SHORT, tmp_path_factory.mktemp("alertmanager"))


@by_name
def test_a_scene_goes_as_with_alertmanager_or_differs_as_we_say(
    scene: Scene, from_alertmanager: Mapping[str, Sequence[Told]]
) -> None:
    pairs = paired(ours.play(scene), from_alertmanager[scene.name])
    assert pairs
    is_same = all(pair.is_same for pair in pairs)
    assert is_same == (scene.differs is None), "\n".join(table(scene, pairs))


# --- how they are compared --------------------------------------------------------------------------------


def hello(at: float, *alerts: str) -> Told:
    return told(at, "ops", {"team": "pay", "region": ""}, [(name, True) for name in alerts])


def test_the_same_at_nearly_the_same_time_is_the_same() -> None:
    assert paired([hello(1, "a")], [hello(1 + TOLERANCE - 0.01, "a")])[0].is_same
    assert not paired([hello(1, "a")], [hello(1 + TOLERANCE + 0.01, "a")])[0].is_same


def test_what_only_one_tells_has_no_pair() -> None:
    mine, other, both = hello(1, "a"), hello(2, "b"), hello(3, "c")
    assert paired([mine, both], [both, other]) == [
        Pair(ours=mine, theirs=None),
        Pair(ours=None, theirs=other),
        Pair(ours=both, theirs=both),
    ]


def test_of_several_that_say_the_same_the_nearest_is_its_pair() -> None:
    early, late = hello(1, "a"), hello(5, "a")
    assert paired([hello(4.9, "a")], [early, late]) == [
        Pair(ours=None, theirs=early),
        Pair(ours=hello(4.9, "a"), theirs=late),
    ]
