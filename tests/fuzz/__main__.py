"""`python -m tests.fuzz [--seconds N] [--seed N]`: exit code 1 on a crash, a hang or growing memory."""

from __future__ import annotations

import argparse
import sys
import time
from itertools import count

from tests.fuzz.campaign import Tally, memory_mb, tried

GROWTH_MB = 40.0
"""How much more the process may hold after the campaign than after its first quarter."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long to try")
    parser.add_argument("--seed", default="1", help="of all cases")
    asked = parser.parse_args()
    tally, begun, warm_mb = Tally(), time.monotonic(), 0.0
    for number in count():
        spent = time.monotonic() - begun
        if spent >= asked.seconds or len(tally.found) >= 10:
            break
        if not warm_mb and spent > asked.seconds / 4:
            warm_mb = memory_mb()
        tried(f"{asked.seed}-{number}", tally)
    grown_mb = memory_mb() - (warm_mb or memory_mb())
    print(f"{tally.files:,} rule files, {tally.loaded:,} loaded, at most {tally.slowest_load_s * 1e3:.0f} ms")
    print(f"{tally.templates:,} templates, {tally.rendered:,} rendered")
    print(f"{tally.expressions:,} expressions, {tally.compiled:,} compiled")
    print(f"{tally.messages:,} messages, {tally.alerts:,} alerts, {tally.faults:,} faults")
    print(f"slowest message {tally.slowest_s * 1e3:.1f} ms, memory {grown_mb:+.1f} MB")
    for said in tally.found:
        print(said)
    return 1 if tally.found or grown_mb > GROWTH_MB else 0


sys.exit(main())
