"""Stories at random: what is said when, when it comes to us, and how far we have seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from rules.model import Message, MessageId, Party
from tests.properties.oracle import Model
from tests.rules.builders import a_message, after

HOUR: Final = 3600
LATE: Final = 3000  # seconds: a row that comes later may find that others of its time were dropped
HISTORY: Final = 1800  # seconds in which all of the past is read

Write = Callable[[Random, int, int], Message]
"""A message: by (random, id, seconds after noon)."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A rule to try, the model of it, and what is written about."""

    options: str  #: of the rule: `kind: count, at_least: 3, …`
    model: Model
    pace: int  #: seconds between two messages, as they should often be
    write: Write


Draw = Callable[[Random], Subject]


@dataclass(frozen=True)
class Step:
    """What comes at a time of ours; timers due before `watermark` are asked."""

    now: int
    messages: tuple[Message, ...]
    watermark: int
    is_reloaded: bool = False


def writes(random: Random, id_: int, at: int) -> Message:
    """Ann or a stranger writes to Bob."""
    sender = Party(id=random.choice(("ann", "ann", "eve")))
    return a_message(id=MessageId(id_), sent_at=after(at), sender=sender)


def story(random: Random, subject: Subject) -> list[Step]:
    """Some messages, each at least once, in steps."""
    moments = _moments(random, subject.pace)
    ids = list(range(1, len(moments) + 1))
    if random.random() < 0.2:
        random.shuffle(ids)  # they ascend with time, but nobody promised it
    rows = [subject.write(random, id_, at) for id_, at in zip(ids, moments, strict=True)]
    start = random.choice((0, moments[len(moments) // 2], moments[-1]))
    arrivals = [_arrival(random, at, start) for at in moments]
    coming = list(zip(arrivals, rows, strict=True))
    coming += [(arrival + random.randrange(LATE), row) for arrival, row in coming if random.random() < 0.15]
    coming.sort(key=lambda pair: pair[0])
    return _steps(random, coming)


def _moments(random: Random, pace: int) -> list[int]:
    """Bursts and lulls, on a grid that is coarse enough for ties and for windows that end on a row."""
    grid = random.choice((1, max(1, pace // 2), pace))
    at, moments = 0, []
    for _ in range(random.randint(1, 45)):
        stride = random.choice((0, 1, 1, 1, 2, 2, 3, 5, 8, 20))
        if random.random() < 0.03:
            stride += random.randint(1, 6) * HOUR // pace
        at += stride * pace // random.choice((1, 1, 2)) // grid * grid
        moments.append(at)
    return moments


def _arrival(random: Random, at: int, start: int) -> int:
    """The past is read in a while, in any order; what is new comes at once, mostly."""
    if at < start:
        return start + random.randrange(HISTORY)
    return at + random.choice((1, 1, 1, 2, 5, 60, random.randrange(LATE)))


def _steps(random: Random, coming: Sequence[tuple[int, Message]]) -> list[Step]:
    steps: list[Step] = []
    size, haste = random.choice((1, 2, 5, 50)), random.random()
    place = 0
    while place < len(coming):
        chunk = coming[place : place + random.randint(1, size)]
        place += len(chunk)
        now = chunk[-1][0]
        rows = [row for _, row in chunk]
        random.shuffle(rows)
        watermark = now - random.choice((0, 10, 600)) if random.random() < haste else -1
        steps.append(Step(now, tuple(rows), watermark, random.random() < 0.02))
        until = coming[place][0] if place < len(coming) else now + 14 * 24 * HOUR
        while random.random() < 0.4 and (pause := until - now) > 0:
            now += random.randint(1, pause)
            steps.append(Step(now, (), now))
    steps.append(Step(now := steps[-1].now + 1, (), now + 90 * 24 * HOUR))
    return steps
