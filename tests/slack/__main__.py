"""`python -m tests.slack [--posts 1000] [--seed N]`: exit code 1 if fewer than 99.9% of alerts show once."""

from __future__ import annotations

import argparse
import logging
import sys

import structlog
import trio
from trio.testing import MockClock

from tests.slack import campaign
from tests.slack.campaign import Result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.slack", description=campaign.__doc__)
    parser.add_argument("--posts", type=int, default=1000, help="alerts whose first post is ambiguous")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    result = trio.run(campaign.run, asked.posts, asked.seed, clock=MockClock(autojump_threshold=0))
    print(told(result))
    return 0 if result.is_good else 1


def told(result: Result) -> str:
    """The result as lines for a person."""
    visible = ", ".join(f"{shown} message(s): {count:,}" for shown, count in sorted(result.visible.items()))
    lines = {
        "alerts": f"{result.posts:,}, seed {result.seed}, in {result.lasted} of virtual time",
        "shown by": visible,
        "shown once": f"{100 * result.once:.2f}%",
        "not over in the end": f"{result.stale:,}",
        "replies": f"{result.replies:,}, {result.repeated:,} of them repeated",
        "not delivered": f"{result.unsettled:,}",
        "kills": f"{result.kills:,}",
        "requests": ", ".join(f"{method} {count:,}" for method, count in sorted(result.requests.items())),
        "met": ", ".join(f"{fault} {count:,}" for fault, count in result.faults.items()),
    }
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines.items())


if __name__ == "__main__":
    sys.exit(main())
