"""What receivers were told, ours and Alertmanager's, and how the two compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

TOLERANCE: Final = 0.4
"""In units: Alertmanager runs on real time, beside whatever else this machine does."""


@dataclass(frozen=True, kw_only=True, order=True)
class Told:
    """One notification."""

    at: float  #: in units since the beginning of the scene
    receiver: str
    group: tuple[tuple[str, str], ...]  #: the labels that its alerts have in common; those with a value
    fires: tuple[str, ...]  #: names of alerts
    over: tuple[str, ...]

    @property
    def content(self) -> tuple[object, ...]:
        return self.receiver, self.group, self.fires, self.over

    def __str__(self) -> str:
        labels = " ".join(f"{label}={value}" for label, value in self.group)
        over = f" over: {' '.join(self.over)}" if self.over else ""
        return f"{self.receiver} {{{labels}}} fires: {' '.join(self.fires) or '-'}{over}"


def told(at: float, receiver: str, group: Mapping[str, str], statuses: Sequence[tuple[str, bool]]) -> Told:
    """`statuses` are names of alerts, and whether each fires."""
    return Told(
        at=at,
        receiver=receiver,
        group=tuple(sorted((label, value) for label, value in group.items() if value)),
        fires=tuple(sorted(name for name, does in statuses if does)),
        over=tuple(sorted(name for name, does in statuses if not does)),
    )


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A notification of ours and the same of Alertmanager's; None: the other has none like it."""

    ours: Told | None
    theirs: Told | None

    @property
    def is_same(self) -> bool:
        return (
            self.ours is not None
            and self.theirs is not None
            and abs(self.ours.at - self.theirs.at) <= TOLERANCE
        )

    @property
    def at(self) -> float:
        return min(told.at for told in (self.ours, self.theirs) if told is not None)


def paired(ours: Sequence[Told], theirs: Sequence[Told]) -> list[Pair]:
    """Each notification with the nearest one that says the same, in order of time."""
    return sorted(_paired(ours, theirs), key=lambda pair: pair.at)


def _paired(ours: Sequence[Told], theirs: Sequence[Told]) -> Iterator[Pair]:
    left = list(theirs)
    for mine in sorted(ours):
        alike = [one for one in left if one.content == mine.content]
        nearest = min(alike, key=lambda one: abs(one.at - mine.at), default=None)
        if nearest is not None:
            left.remove(nearest)
        yield Pair(ours=mine, theirs=nearest)
    for one in left:
        yield Pair(ours=None, theirs=one)
