"""The conclusions' common parts: what a fact is, and what every question asks of the looks. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from monitor.source.looks import Look, Seen
from rules.model import MessageId, Value

UNKNOWN: Final = "unknown"
SAMPLE: Final = 100  #: rows of the pages that the conclusions rest on
FEW: Final = 2  #: page size of the small looks


class Fact(Value, frozen=True, kw_only=True):
    """One settled question."""

    name: str  #: for machines
    question: str
    answer: str
    meaning: str  #: what it means for us
    evidence: str

    @property
    def is_known(self) -> bool:
        return not self.answer.startswith(UNKNOWN)


Looks = Mapping[str, Look]


def pivot_of(look: Look | None) -> MessageId | None:
    """The id that the look asked with."""
    if look is None:
        return None
    given = [part[3:] for part in look.asked.partition("?")[2].split("&") if part.startswith("id=")]
    return MessageId(int(given[0])) if given and given[0].isdigit() else None


def time_of(look: Look | None) -> int | None:
    """The time of the last change that the look asked with, in unix seconds."""
    if look is None:
        return None
    found = re.search(r"[?&]updatedAt=(\d+)", look.asked)
    return int(found[1]) if found else None


def has_more(looks: Looks, rows: int) -> bool:
    """Whether the list is known to have more than `rows` rows."""
    newest = looks.get("newest")
    return newest is not None and len(newest.rows) > rows


def left_out(narrow: Look | None, wide: Look | None, fits: Callable[[Seen], bool]) -> int:
    """Rows of `wide` that `narrow` would have shown, had it any of their kind."""
    if narrow is None or wide is None or not (narrow.is_answered and wide.is_answered):
        return 0
    # A full page reaches back only to its oldest row; a short one reaches the beginning.
    floor = min(narrow.ids) if len(narrow.ids) >= (narrow.size or SAMPLE) else 0
    return sum(1 for row in wide.rows if fits(row) and row.id >= floor and row.id not in narrow.ids)


def fact_of(name: str, question: str, answer: str, meaning: str, *looks: Look | None) -> Fact:
    """The fact that these looks settle, or leave open."""
    shown = "; ".join(_evidence(look) for look in looks if look is not None)
    return Fact(name=name, question=question, answer=answer, meaning=meaning, evidence=shown or "not asked")


def _evidence(look: Look) -> str:
    if look.error is not None:
        return f"{look.asked} -> {look.error}"
    if not look.ids:
        return f"{look.asked} -> {'no rows' if '/messages' in look.asked else 'answered'}"
    few = ", ".join(map(str, look.ids)) if len(look.ids) <= 4 else f"{look.ids[0]} … {look.ids[-1]}"
    return f"{look.asked} -> {len(look.rows)} rows: {few}"
