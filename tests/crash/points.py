"""Where a monitor is killed."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

FIRST_READ: Final = "intake.fetched"
EARLY: Final = 3  # passings that belong to the start: rules adopted, users stored, the first pages


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A kind of moment. `passes`: how often it is passed within a life of some seconds."""

    name: str
    hook: str | None  #: the monitor's own name of the moment; None: any time at all
    passes: int = 0
    delay_s: float = 0.0  #: strike up to this much later: somewhere inside what begins there


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One kill, as it is planned: at the `nth` passing and `delay_s` later; without a hook only later."""

    point: Point
    nth: int
    delay_s: float


POINTS: Final = (
    Point(name="intake.fetched", hook="intake.fetched", passes=30),
    Point(name="writer.before_commit", hook="writer.before_commit", passes=30),
    Point(name="inside a commit", hook="writer.before_commit", passes=30, delay_s=0.005),
    Point(name="writer.committed", hook="writer.committed", passes=30),
    Point(name="delivery.claimed", hook="delivery.claimed", passes=4),
    Point(name="inside a send", hook="delivery.claimed", passes=4, delay_s=0.02),
    Point(name="delivery.sent", hook="delivery.sent", passes=4),
    Point(name="delivery.settled", hook="delivery.settled", passes=4),
    Point(name="delivery.standing_claimed", hook="delivery.standing_claimed", passes=3),
    Point(name="inside a standing send", hook="delivery.standing_claimed", passes=3, delay_s=0.02),
    Point(name="delivery.standing_sent", hook="delivery.standing_sent", passes=3),
    Point(name="at random", hook=None, delay_s=4.0),
)


def charges(kills: int, *, seed: int, only: str | None = None) -> list[Charge]:
    """So many kills, every point as often as the others, in an order that the seed decides."""
    chosen = [point for point in POINTS if only in (None, point.name)]
    random = Random(f"{seed}:charges")
    turns = [chosen[number % len(chosen)] for number in range(kills)]
    random.shuffle(turns)
    return [_charge(point, random) for point in turns]


def _charge(point: Point, random: Random) -> Charge:
    latest = EARLY if random.random() < 0.25 else point.passes
    return Charge(
        point=point,
        nth=random.randint(1, latest) if point.hook else 0,
        delay_s=random.uniform(0, point.delay_s),
    )
