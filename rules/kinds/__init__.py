"""The kinds of rules. A new kind is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rules.kinds import (
    absence,
    any_value,
    change,
    count,
    match,
    missed_call,
    new_value,
    sequence,
    spike,
    unanswered,
)
from rules.kinds.base import Kind

KINDS: Final[Mapping[str, Kind]] = {
    "match": match.KIND,
    "any": any_value.KIND,
    "count": count.KIND,
    "spike": spike.KIND,
    "absence": absence.KIND,
    "new_value": new_value.KIND,
    "change": change.KIND,
    "sequence": sequence.KIND,
    "unanswered": unanswered.KIND,
    "missed_call": missed_call.KIND,
}
