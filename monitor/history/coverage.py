"""Which part of a list was read, and where to go on. Pure.

History is read backwards, page by page: ids rise with time, so the row with the smallest id tells how far
back a page reaches. What several runs have read, in whatever pieces, adds up to stretches without a gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from monitor.source.pages import Page
from rules.model import MessageId, Value

SIZE: Final = 1000  # rows in a page, the most the API gives
SETTLE: Final = timedelta(seconds=60)
"""A row with a smaller id may become visible late: what is younger is kept, but read again next time."""


class Leaf(Value, frozen=True, kw_only=True):
    """What one page covers: every row of the list from `low` to `high`."""

    low: MessageId  #: 0: the list has no older row
    high: MessageId  #: below `low` if nothing of the page had settled
    begins: datetime | None  #: when the row `low` was sent; None: the list has no older row
    read_at: datetime  #: when it was asked for, in API time
    is_newest: bool  #: whether it was the list's end, as it was then
    rejects: int = 0  #: rows that could not be read


class Stuck(ValueError):  # noqa: N818 - named by what is the matter
    """The page leads nowhere: the same one would be asked for ever."""


def leaf(page: Page, before: MessageId | None) -> Leaf:
    """What `page`, asked as the one before `before` (None: the newest), covers. Raises Stuck."""
    is_last = page.rows < min(SIZE, page.size) if page.size else page.rows == 0
    if not is_last and page.min_id is None:
        raise Stuck(f"a page of {page.rows} rows, and the id of none of them can be read")
    if before is not None and page.max_id is not None and page.max_id >= before:
        raise Stuck(f"asked for rows before {before}, and row {page.max_id} came")
    first = next((message for message in page.messages if message.id == page.min_id), None)
    times = [message.sent_at for message in page.messages[:1]] if first is None else [first.sent_at]
    return Leaf(
        low=MessageId(0) if is_last else page.min_id or MessageId(0),
        high=_settled(page, before),
        begins=None if is_last else min(times, default=page.started_at),
        read_at=page.started_at,
        is_newest=before is None,
        rejects=len(page.rejects),
    )


def _settled(page: Page, before: MessageId | None) -> MessageId:
    """The id up to which no row can turn up any more."""
    young = [message.id for message in page.messages if message.sent_at > page.started_at - SETTLE]
    if young:
        return MessageId(min(young) - 1)
    return MessageId(before - 1) if before is not None else page.max_id or MessageId(0)


def stretches(leaves: Iterable[Leaf]) -> list[Leaf]:
    """The leaves, joined where they touch; ascending, none touches another."""
    joined: list[Leaf] = []
    for one in sorted((one for one in leaves if one.high >= one.low), key=lambda one: (one.low, one.high)):
        last = joined[-1] if joined else None
        if last is None or one.low > last.high + 1:
            joined.append(one)
        elif one.high > last.high:
            joined[-1] = Leaf(
                low=last.low,
                high=one.high,
                begins=last.begins,
                read_at=one.read_at,
                is_newest=one.is_newest,
            )
    return joined


def next_before(leaves: Sequence[Leaf], read: Leaf, since: datetime) -> MessageId | None:
    """After the page `read`: the id before which to go on, past all that is known; None: `since` is reached.

    `leaves` are those of this run and earlier ones.
    """
    # What had not settled covers nothing, but this run has read it: it goes on below.
    low, begins = read.low, read.begins
    for known in reversed(stretches(leaves)):
        if known.low <= low <= known.high + 1:
            low, begins = known.low, known.begins
    return None if begins is None or begins < since else low


def seen_to(leaves: Iterable[Leaf]) -> datetime | None:
    """Up to when the list is known, or None if its end was never read."""
    return max((one.read_at - SETTLE for one in leaves if one.is_newest), default=None)


def reaches(leaves: Sequence[Leaf], since: datetime) -> bool:
    """Whether every row of the list from `since` to `seen_to` is known."""
    newest = max((one for one in leaves if one.is_newest), key=lambda one: one.read_at, default=None)
    return newest is not None and next_before(leaves, newest, since) is None
