"""`python -m tests.crash --kills 25 [--seed N] [--point NAME]`: exit code 1 if a promise was broken."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from time import time

import trio

from tests.crash import campaign, report
from tests.crash.campaign import RATE, CampaignError, Plan, Result
from tests.crash.points import POINTS

SHOWN = 20


def main() -> int:
    plan, folder = _asked(), Path(mkdtemp(prefix="cometwatch-crash-"))
    say(f"kill campaign: {plan.kills} kills, seed {plan.seed}, in {folder}")
    try:
        result = trio.run(partial(campaign.run, plan, folder, tell=say))
    except* CampaignError as group:
        say(f"FAILED: {'; '.join(_reasons(group))}. Store and logs are in {folder}.\n{_again(plan)}")
    else:
        return _judged(result, folder)
    return 1


def _judged(result: Result, folder: Path) -> int:
    say(report.told(result))
    if not result.violations:
        say("passed: 0 lost, 0 invented, 0 found twice, repeats only with the same id and the same contents")
        rmtree(folder)
        return 0
    say(f"\nFAILED: {len(result.violations)} violations, the first of them:")
    for violation in result.violations[:SHOWN]:
        say(f"  {violation}")
    say(f"Store, logs, posts.json and expected.json are in {folder}.\n{_again(result.plan)}")
    return 1


def _reasons(group: BaseExceptionGroup[CampaignError]) -> list[str]:
    """What went wrong; Trio wraps it once for every nursery that it passed."""
    return [
        reason
        for one in group.exceptions
        for reason in (_reasons(one) if isinstance(one, BaseExceptionGroup) else [str(one)])
    ]


def _asked() -> Plan:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=campaign.__doc__)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=int(time()) % 100_000, help="default: by the clock")
    parser.add_argument("--point", choices=[point.name for point in POINTS], help="kill here only")
    parser.add_argument("--rate", type=float, default=RATE, help="stages of the script a second")
    asked = parser.parse_args()
    return Plan(kills=asked.kills, seed=asked.seed, only=asked.point, rate=asked.rate)


def _again(plan: Plan) -> str:
    point = f" --point '{plan.only}'" if plan.only else ""
    return (
        f"The same script and the same kills again (their timing is this machine's):\n"
        f"  python -m tests.crash --kills {plan.kills} --seed {plan.seed} --rate {plan.rate:g}{point}"
    )


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
