"""Floods: bursts of the same text, which last until they are quiet. What they lead to is written down here.

Each is sent by somebody who is not watched to somebody who is, and its text is like no other's.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Final

from monitor.simulator.scenarios import CRASH_USERS
from monitor.simulator.script import Action, Say, Scenario
from monitor.simulator.truth import Expect

RULE: Final = "flood"
SENDERS: Final = ("crash8", "crash9", "crash10")
EVERY_S: Final = 2.0
AT_LEAST: Final = 3
QUIET_S: Final = 20
"""A flood is over when nothing was sent for so long. None is longer: while rows are read in the wrong order,
a longer one could be taken for two."""

GOES_ON: Final = (0, 0, 3, 6, 9, 15)  # texts beyond those that make it a flood
PAUSE_S: Final = (0.3, 1.2)


def floods(seed: int, *, watched: tuple[str, ...], lasts_s: float) -> Scenario:
    """Floods that begin within so many seconds."""
    return Scenario(
        name="floods",
        about=floods.__doc__ or "",
        actions=lambda: _floods(seed, watched, lasts_s),
        users=CRASH_USERS,
    )


def _floods(seed: int, watched: tuple[str, ...], lasts_s: float) -> Iterator[Action]:
    random = Random(f"{seed}:floods")
    said: list[Say] = []
    for number in range(int(lasts_s / EVERY_S)):
        said += _flood(random, f"flood {seed} {number}", random.choice(watched), number * EVERY_S)
    yield from sorted(said, key=lambda one: one.at)


def _flood(random: Random, name: str, to: str, at: float) -> Iterator[Say]:
    sender = random.choice(SENDERS)
    for number in range(AT_LEAST + random.choice(GOES_ON)):
        expect = (Expect(rule=RULE, users=(to,)),) if number == AT_LEAST - 1 else ()
        yield Say(at=at, sender=sender, to=to, content={"text": name}, label=name, expect=expect)
        at += 0.1 if number < AT_LEAST else random.uniform(*PAUSE_S)
