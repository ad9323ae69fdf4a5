"""`python -m tests.mutants [rules/index.py …] [--sample N] [--seed N]`: exit code 1 below the wanted score.

Changes `rules/` in small wrong ways and asks whether a test fails. What survives is shown, with its reason
if `known.yaml` has one; a change that makes no difference does not count.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import yaml

from tests.mutants.judging import Fate, judged, load_ahead, seen
from tests.mutants.operators import Mutant, mutants

SCORE: Final = 85  # per cent; raise it when the tests have earned it, never lower it
KNOWN: Final = Path(__file__).with_name("known.yaml")
TESTS: Final = ("tests/rules",)


def main() -> int:
    asked = _asked()
    modules = asked.modules or [str(path) for path in sorted(Path("rules").rglob("*.py"))]
    known = yaml.safe_load(KNOWN.read_text("utf-8"))
    every = [one for module in modules for one in mutants(module, Path(module).read_text("utf-8"))]
    for name in stale(every, {**known["equal"], **known["accepted"]}):
        print(f"known.yaml names a mutant that is there no longer: {name}")
    left = [one for one in every if asked.only in one.name and not explained(one, known["equal"])]
    numbers = sorted(
        random.Random(asked.seed).sample(range(len(left)), min(asked.sample or len(left), len(left)))
    )
    chosen, fates = [left[number] for number in numbers], dict[str, Fate]()

    def tell(mutant: Mutant, fate: Fate) -> None:
        fates[mutant.name] = fate
        if fate is not Fate.KILLED:
            reason = explained(mutant, known["accepted"])
            print(f"{fate}: {mutant.name} (line {mutant.line}){f': {reason}' if reason else ''}", flush=True)

    began = time.monotonic()
    load_ahead()
    found = seen(modules, asked.tests)
    judged(chosen, found, asked.tests, tell)
    return _report(chosen, fates, began=began, seed=asked.seed, floor=asked.score)


def explained(mutant: Mutant, known: Mapping[str, str]) -> str | None:
    """The reason that is known for a mutant, by its name or by that of all in its place."""
    place = f"{mutant.module}:{mutant.within}: *"
    return known.get(mutant.name) or known.get(place)


def stale(every: Sequence[Mutant], known: Mapping[str, str]) -> list[str]:
    """The known mutants of these modules that the code has none of any longer."""
    there = {one.name for one in every} | {f"{one.module}:{one.within}: *" for one in every}
    modules = {one.module for one in every}
    return sorted(name for name in known if name.partition(":")[0] in modules and name not in there)


def _report(
    chosen: Sequence[Mutant], fates: Mapping[str, Fate], *, began: float, seed: int, floor: float
) -> int:
    counts = Counter((mutant.module, fates[mutant.name]) for mutant in chosen)
    print(f"\n{'module':34}{'mutants':>8}{'killed':>8}{'survived':>9}{'unseen':>8}{'score':>8}")
    for module in sorted({mutant.module for mutant in chosen}):
        _row(module, [counts[module, fate] for fate in Fate])  # of a sample too few to be judged alone
    whole = _row("all", [sum(fate is other for other in fates.values()) for fate in Fate])
    print(f"seed {seed}, {time.monotonic() - began:.0f} s")
    if whole < floor:
        print(f"FAILED: less than {floor:g} %")
        return 1
    return 0


def _row(name: str, told: Sequence[int]) -> float:
    killed, survived, unseen = told
    score = 100.0 * killed / sum(told) if sum(told) else 100.0
    print(f"{name:34}{sum(told):8}{killed:8}{survived:9}{unseen:8}{score:7.1f}%")
    return score


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", help="default: all of rules/")
    parser.add_argument("--sample", type=int, default=0, help="so many mutants, by chance; default: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="mutants whose name contains this")
    parser.add_argument("--tests", nargs="*", default=list(TESTS))
    parser.add_argument("--score", type=float, default=SCORE)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
