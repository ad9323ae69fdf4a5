"""The kinds of rules. A new kind is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rules.kinds import count, match, missed_call
from rules.kinds.base import Kind

KINDS: Final[Mapping[str, Kind]] = {
    "match": match.KIND,
    "count": count.KIND,
    "missed_call": missed_call.KIND,
}
