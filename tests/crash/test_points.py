"""The plan of a campaign, and the fuse that carries it out."""

from __future__ import annotations

from collections import Counter

from tests.crash.child import Fuse
from tests.crash.points import POINTS, charges


def test_every_point_has_its_share_and_a_seed_repeats_the_plan() -> None:
    plan = charges(100, seed=1)
    counted = Counter(charge.point.name for charge in plan)
    assert set(counted) == {point.name for point in POINTS}
    assert max(counted.values()) - min(counted.values()) <= 1
    assert plan == charges(100, seed=1)
    assert plan != charges(100, seed=2)


def test_one_point_alone_can_be_asked_for() -> None:
    plan = charges(10, seed=1, only="delivery.sent")
    assert {charge.point.hook for charge in plan} == {"delivery.sent"}
    assert all(1 <= charge.nth <= charge.point.passes for charge in plan)


def test_the_fuse_strikes_at_the_nth_passing_of_its_point_and_not_again() -> None:
    struck = []
    fuse = Fuse("writer.committed", 2, 0.0, lambda: struck.append(len(struck)))
    for point in ("intake.fetched", "writer.committed", "delivery.sent"):
        fuse.pass_by(point)
    assert struck == []
    fuse.pass_by("writer.committed")
    assert struck == [0]
    fuse.pass_by("writer.committed")
    assert struck == [0]
