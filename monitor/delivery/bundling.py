"""What goes into one message. Pure: what waits and `now` in, the next bundle out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from monitor.store.values import Bundle, Kind, Waiting
from rules.model import Severity, Status

MAX_BATCH_BYTES: Final = 64 * 1024
"""Of the alerts in one body, as they are stored: with keys and nulls, JSON stays under the 100 kB that the
strictest of common receivers accepts (Express; nginx takes 1 MB)."""

SUM_EVERY: Final = timedelta(minutes=5)
"""How long what is summed is gathered for people, so that they get one sum in that time, not many."""

STALE_AFTER: Final = timedelta(minutes=15)
"""What people were not told for so long is past: what is over, or was an event, is one digest."""

STORM: Final = timedelta(minutes=10)
"""How far back summaries, and single criticals, count for what is sent next."""

GATHERED: Final = tuple(timedelta(seconds=s) for s in (0, 15, 30, 60, 120, 300))
"""How long the next sum of a storm is gathered, by the number of summaries within `STORM` before it."""

_RANK: Final = {severity: rank for rank, severity in enumerate((Severity.CRITICAL, Severity.WARNING))}


def bundle(
    entries: Sequence[Waiting],
    *,
    people: bool,
    summary_over: int,
    now: datetime,
    batch: int = 100,
    gather: timedelta = timedelta(0),
    summed_before: int = 0,
    criticals_before: int = 0,
) -> Bundle | None:
    """What to send next of the entries that wait (oldest first), or None: let them wait on.

    `summed_before` summaries, and `criticals_before` critical alerts by themselves, were sent to the receiver
    within `STORM`.
    """
    if not entries:
        return None
    if not people:
        return _for_machine(entries, batch)
    return _for_people(
        entries,
        now=now,
        summary_over=summary_over,
        gather=gather,
        summed_before=summed_before,
        criticals_left=summary_over - criticals_before,
    )


def _for_people(
    entries: Sequence[Waiting],
    *,
    now: datetime,
    summary_over: int,
    gather: timedelta,
    summed_before: int,
    criticals_left: int,
) -> Bundle | None:
    # 1. old news, once gathered: one digest  2. what an outage left  3. sums, once gathered
    # 4. more than a person reads: one summary  5. one alert, one message.
    # Digest and sum are early because each is one message, however much it holds; a sum after what an outage
    # left, because that grows by the ends of what is told of it.
    late = [entry for entry in entries if entry.late]
    summed = [entry for entry in entries if entry.summed and not entry.late]
    fresh = [entry for entry in entries if not entry.summed and not entry.late]
    if late and late[0].created_at <= now - gather:
        return _bundle(Kind.DIGEST, late)
    if fresh and fresh[0].created_at < now - STALE_AFTER:
        return _of_an_outage(fresh, now - STALE_AFTER, summary_over, criticals_left)
    if summed and summed[0].created_at <= now - SUM_EVERY:
        return _bundle(Kind.SUMMARY, summed)
    if len(fresh) > summary_over or (fresh and summed_before):
        gathered = GATHERED[min(summed_before, len(GATHERED) - 1)]
        is_ripe = fresh[0].created_at <= now - gathered
        return _in_a_storm(fresh, summary_over, criticals_left, is_ripe=is_ripe)
    return _bundle(Kind.ALERTS, fresh[:1]) if fresh else None


def _of_an_outage(
    fresh: Sequence[Waiting], long_ago: datetime, summary_over: int, criticals_left: int
) -> Bundle:
    """What still fires, one by one or as a sum, the worst first; then the rest as one digest.

    What came up at the end of it goes along, unless it is so little that a person reads each by itself: told
    apart, it would grow old meanwhile, and be told one by one.
    """
    recent = [entry for entry in fresh if entry.created_at >= long_ago]
    left = fresh if len(recent) > summary_over else [e for e in fresh if e.created_at < long_ago]
    fires = [entry for entry in left if entry.lasts and not entry.is_over and _begins(entry)]
    urgent = [e for e in recent if e.severity is Severity.CRITICAL and _begins(e)] if left is fresh else []
    if len(fires) > summary_over:
        return _bundle(Kind.SUMMARY, fires)
    if alone := fires + (urgent if len(urgent) <= criticals_left else []):
        return _bundle(Kind.ALERTS, sorted(alone, key=_badness)[:1])
    return _bundle(Kind.DIGEST if len(left) > 1 else Kind.ALERTS, left)


def _begins(entry: Waiting) -> bool:
    return entry.status is Status.FIRING


def _in_a_storm(
    fresh: Sequence[Waiting], summary_over: int, criticals_left: int, *, is_ripe: bool
) -> Bundle | None:
    """A sum, gathered for longer the longer the storm; what is critical by itself, while it is not many."""
    critical = [entry for entry in fresh if entry.severity is Severity.CRITICAL and _begins(entry)]
    if 0 < len(critical) <= criticals_left:
        return _bundle(Kind.ALERTS, critical[:1])
    if not is_ripe:
        return None
    return _bundle(Kind.SUMMARY, fresh) if len(fresh) > summary_over else _bundle(Kind.ALERTS, fresh[:1])


def _badness(entry: Waiting) -> tuple[int, int]:
    return _RANK.get(entry.severity, len(_RANK)), entry.id


def _for_machine(entries: Sequence[Waiting], batch: int) -> Bundle:
    """The oldest entry and all that may travel with it: same status, same lateness, within the limits."""
    first = entries[0]
    kind = Kind.DIGEST if first.late else Kind.ALERTS
    alike = [e for e in entries if (e.late, e.status) == (first.late, first.status)]
    return _bundle(kind, _within(alike[:batch], MAX_BATCH_BYTES))


def _within(entries: Sequence[Waiting], size: int) -> Sequence[Waiting]:
    """As many as fit into `size` bytes, at least one."""
    for index, entry in enumerate(entries):
        size -= entry.size
        if size < 0:
            return entries[: max(index, 1)]
    return entries


def _bundle(kind: Kind, entries: Sequence[Waiting]) -> Bundle:
    is_firing = any(entry.status is Status.FIRING for entry in entries)
    return Bundle(
        kind=kind,
        status=Status.FIRING if is_firing else Status.RESOLVED,
        entries=tuple(entry.id for entry in entries),
    )
