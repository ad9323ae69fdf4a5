"""Which lists are read, and what each of them is worth to the operator. Pure."""

from __future__ import annotations

from functools import cache

from monitor.lists import group_list, lists_of
from monitor.roster import Roster
from monitor.schedule.turns import Wish


def terms_of(roster: Roster, source: str) -> dict[str, Wish]:
    """The lists to read through this `watch.source`. Those of a cohort share one value."""
    members, groups = roster
    known = {**members, **{group_list(guid): member for guid, member in groups.items()}}
    wish = cache(Wish)
    return {
        uid: wish(known[uid].weight, known[uid].max_staleness) if uid in known else wish()
        for uid in lists_of(source, members, groups)
    }
