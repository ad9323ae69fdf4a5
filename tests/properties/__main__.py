"""`python -m tests.properties [--seconds N] [--seed N] [--kind KIND]`: exit code 1 on any difference."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count

from tests.properties.compare import Trial, case, shrunk
from tests.properties.subjects import SUBJECTS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.properties", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long to try, all kinds together")
    parser.add_argument("--seed", default="1", help="of all stories")
    parser.add_argument("--kind", choices=sorted(SUBJECTS), action="append", help="of all without")
    asked = parser.parse_args()
    kinds = asked.kind or sorted(SUBJECTS)
    tally, differences, end = Tally(), 0, time.monotonic() + asked.seconds
    for number in count():
        if time.monotonic() >= end or differences >= 5:
            break
        kind = kinds[number % len(kinds)]
        differences += not tried(kind, f"{asked.seed}-{kind}-{number}", tally)
    for kind in kinds:
        print(f"{kind}: {tally.stories[kind]:,} stories, {tally.steps[kind]:,} steps, ", end="")
        print(f"{tally.alerts[kind]:,} alerts, {tally.dropped[kind]:,} states without all rows")
    print(f"{differences} differences")
    return 1 if differences else 0


@dataclass
class Tally:
    """What was tried, by kind."""

    stories: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    alerts: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, steps: int, trial: Trial) -> None:
        self.stories[kind] += 1
        self.steps[kind] += steps
        self.alerts[kind] += len(trial.bench.told)
        self.dropped[kind] += sum(b'"floor"' in state.value for state in trial.bench.states.values())


def tried(kind: str, seed: str, tally: Tally) -> bool:
    subject, steps = case(SUBJECTS[kind], seed)
    trial = Trial(subject)
    difference = trial.run(steps)
    tally.add(kind, len(steps), trial)
    if difference is None:
        return True
    fewer = shrunk(subject, steps)
    print(f"{seed}: {subject.options}")
    for step in fewer:
        rows = [f"{row.id}@{row.sent_at:%d %H:%M:%S}/{row.sender.id}" for row in step.messages]
        print(f"  now {step.now}, rows {' '.join(rows) or '-'}, read to {step.watermark}")
    print(f"  {Trial(subject).run(fewer)}")
    return False


if __name__ == "__main__":
    sys.exit(main())
