"""The second look: was anything missed below the cursor? Pure.

A row that becomes visible later than `settle` after its neighbours lies below the cursor, where nobody
reads any more. So the last ids read of each list are kept (its *record*), and now and then one page is
read backwards from the cursor and compared with them. What is there and was never read, is evaluated
after all.

    record[0] is a floor: every row ever read with that id or a larger one is in the record. 0 is the floor of
    a list that was recorded from its start; the floor rises when the record is full.

The record moves together with the cursor it belongs to, in memory and in commits. A record is void (None, and
`begun` anew) when rows were passed over on purpose or when the list shows other rows than before: a
cursor set forward, another `watch.source`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from random import Random
from typing import Final

from monitor.drain import CATCH_UP_SIZE, Ask, Direction, Read
from monitor.store.values import Cursor
from rules.model import Message, MessageId, Value

MOST: Final = 500  # ids on record: days of a busy person's list, in about 2 kB as stored
MARGIN: Final = 100  # missed rows that a page has room for beside a full record
ANCHORS: Final = 10  # ids that are kept in any case: the next look's page must meet one
SOON: Final = timedelta(hours=1)  # the looks of a start are spread over it
LEAST: Final = timedelta(minutes=1)  # between two looks at the busiest list
JITTER: Final = 0.1

Record = tuple[MessageId, ...]


class Compared(Value, frozen=True, kw_only=True):
    """What a page read backwards told. `missed` is to be evaluated, and all of `ids` to be remembered."""

    missed: tuple[Message, ...] = ()  #: rows since the list's start that were never read, in id order
    rejects: tuple[MessageId, ...] = ()  #: undecodable rows that were never read
    gone: int = 0  #: rows that were read and are not shown any more
    is_comparable: bool = False  #: whether the page and the record have a row in common
    covers: timedelta | None = None  #: how far back a full record would reach, as the list is going

    @property
    def ids(self) -> tuple[MessageId, ...]:
        """The ids of what was missed."""
        return (*(message.id for message in self.missed), *self.rejects)


def begun(cursor: Cursor) -> Record:
    """The record of a list whose past is not on record: it begins at the cursor."""
    return tuple(sorted({cursor.id or MessageId(0), *(seen.id for seen in cursor.above)}))


def remember(record: Record, ids: Iterable[MessageId], *, most: int = MOST) -> Record:
    """The record with these ids, rejects' among them, cut to the `most` largest.

    Ids below the floor are left out: others like them are forgotten already.
    """
    floor = record[0]
    news = {id_ for id_ in ids if id_ >= floor}.difference(record)
    return tuple(sorted((*record, *news))[-most:]) if news else record


def look(record: Record, cursor: Cursor) -> Ask | None:
    """The page to compare, or None while there is nothing to compare: no row has settled yet."""
    if cursor.id is None:
        return None
    size = min(len(record) + MARGIN, CATCH_UP_SIZE)
    return Ask(direction=Direction.PREPEND, id=MessageId(cursor.id + 1), size=size)


def compare(read: Read, record: Record, cursor: Cursor, *, start_at: datetime, most: int = MOST) -> Compared:
    """Compare a page that was asked by `look` with the record, up to the cursor.

    Rows above the cursor are the ordinary road's; those below `cursor.back` are still to be read. Without a
    row in common nothing is concluded: the list may not be what it was, or its rows were removed.
    """
    known, floor = frozenset(record), max(record[0], cursor.back or 0)
    shown = {*(message.id for message in read.messages), *read.reject_ids}
    if cursor.id is None or not known & shown:
        return Compared()
    end = cursor.id
    strange = {id_ for id_ in shown - known if floor <= id_ <= end}
    oldest = max(floor, min(shown))
    # A reject tells no time: what lies below a row from before the start was sent before it too.
    before = max((m.id for m in read.messages if m.sent_at < start_at), default=0)
    reach = min((m.sent_at for m in read.messages if floor <= m.id <= end), default=read.started_at)
    return Compared(
        missed=_by_id(m for m in read.messages if m.id in strange and m.sent_at >= start_at),
        rejects=tuple(sorted(id_ for id_ in strange.intersection(read.reject_ids) if id_ > before)),
        # The floor itself may be no row of the list, but where a cursor was set to.
        gone=sum(1 for id_ in record[1:] if oldest <= id_ <= end and id_ not in shown),
        is_comparable=True,
        covers=(read.started_at - reach) * most / len(record),
    )


def looked(record: Record, cursor: Cursor) -> Record:
    """The record after a look: without the older half of what was compared.

    The other half is compared once more: a row may show just after a look.
    """
    above = sum(1 for id_ in record if cursor.id is None or id_ > cursor.id)
    return record[-(above + max(ANCHORS, (len(record) - above) // 2)) :]


def next_look(
    looked_at: datetime | None,
    now: datetime,
    *,
    every: timedelta,
    random: Random,
    covers: timedelta | None = None,
) -> datetime:
    """When to look at a list (again).

    A list that was not looked at by this process, or is long overdue, has its turn soon, spread over an hour.
    The others after `every`, give or take a tenth; sooner where a full record reaches back (`covers`) less
    than twice as far, or rows would leave it without ever having been looked at.
    """
    pause = every if covers is None else min(every, max(covers / 2, LEAST))
    if looked_at is None or looked_at + pause * (1 + JITTER) < now:
        return now + min(SOON, pause) * random.random()
    return looked_at + pause * random.uniform(1 - JITTER, 1 + JITTER)


def _by_id(messages: Iterable[Message]) -> tuple[Message, ...]:
    return tuple(sorted({m.id: m for m in messages}.values(), key=lambda message: message.id))
