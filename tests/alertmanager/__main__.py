"""`python -m tests.alertmanager`: every scene on both, and what differs."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog

from tests.alertmanager_sink.server import binary

from . import ours, theirs
from .scenes import SCENES, Scene
from .told import Pair, paired


def main(args: Sequence[str] | None = None) -> int:
    """Exit code 0 if only the scenes differ of which we say so."""
    parser = argparse.ArgumentParser(prog="python -m tests.alertmanager", description=__doc__)
    parser.add_argument("--only", metavar="WORDS", default="", help="the scenes whose names contain this")
    asked = parser.parse_args(args)
    if binary() is None:
        print("Alertmanager is not here: .ci/alertmanager fetches it", file=sys.stderr)
        return 2
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    scenes = [scene for scene in SCENES if asked.only in scene.name]
    with tempfile.TemporaryDirectory() as folder:
        told = theirs.play(scenes, Path(folder))
    wrong = 0
    for scene in scenes:
        pairs = paired(ours.play(scene), told[scene.name])
        print("\n".join(table(scene, pairs)))
        wrong += is_surprising(scene, pairs)
    said = sum(scene.differs is not None for scene in scenes)
    print(f"\n{len(scenes)} scenes: {said} differ as we say, {wrong} otherwise")
    return 1 if wrong else 0


def is_surprising(scene: Scene, pairs: Sequence[Pair]) -> bool:
    """Whether they differ where we say they don't, or the other way round."""
    return all(pair.is_same for pair in pairs) == (scene.differs is not None)


def table(scene: Scene, pairs: Sequence[Pair]) -> Iterator[str]:
    yield f"\n{scene.name}{'  (SURPRISING)' if is_surprising(scene, pairs) else ''}"
    if scene.differs:
        yield f"  {scene.differs}"
    yield "     ours  theirs"
    for pair in pairs:
        mine, other = (f"{told.at:7.2f}" if told else "      -" for told in (pair.ours, pair.theirs))
        yield f"  {mine} {other} {' ' if pair.is_same else '!'} {pair.ours or pair.theirs}"


if __name__ == "__main__":
    sys.exit(main())
