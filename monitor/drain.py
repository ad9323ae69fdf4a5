"""Reading one user's list without missing or repeating a row: which page to ask, what of it is new.

Pure. Ids grow app-wide, but a row with a smaller id may become visible a little after a larger one.
So the cursor stops at the longest id-ordered run of known rows that are all older than `settle`; the
rows above it are remembered, read again with the next page, and recognised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec.structs import replace

from monitor.store.values import Cursor, Seen
from rules.model import Message, MessageId, Value

CATCH_UP_SIZE = 1000  # the most the API gives in one page
WATERMARK_MARGIN = timedelta(seconds=2)  # the Date header has a resolution of one second, on both sides


class Direction(StrEnum):
    APPEND = "append"  #: rows after an id
    PREPEND = "prepend"  #: rows before an id, or the newest ones


class Ask(Value, frozen=True, kw_only=True):
    """The next page to request."""

    direction: Direction
    id: MessageId | None
    size: int


class Read(Value, frozen=True, kw_only=True):
    """What a page brought, as far as the cursor is concerned."""

    rows: int  #: rows in the page, rejects included
    size: int | None  #: page size the server says it used
    messages: tuple[Message, ...]
    reject_ids: tuple[MessageId, ...]  #: of undecodable rows whose id could be read
    started_at: datetime  #: start of the request, in API time


class Drain(Value, frozen=True, kw_only=True):
    """One user's reading as it stands. `cursor` may be ahead of the stored one: settling writes nothing."""

    start_at: datetime
    cursor: Cursor
    reached: MessageId | None = None  #: largest id read since this drain began; None between drains
    began_at: datetime | None = None  #: start of the first request of this drain, in API time
    forward_at: datetime | None = None  #: when news were last looked for, in API time


class Taken(Value, frozen=True, kw_only=True):
    """What to do with a page: evaluate `fresh`, go on as `drain`, ask again at once if `more`."""

    drain: Drain
    fresh: tuple[Message, ...]
    duplicates: int
    more: bool
    watermark: datetime | None  #: everything visible up to here has been read


FORWARD_EVERY = timedelta(seconds=15)  # while history is paged back, news must not wait for its end


def ask(drain: Drain, *, page_size: int, catch_up: bool, now: datetime) -> Ask:
    """The page to request next; history waits for news every 15 s."""
    cursor = drain.cursor
    news_waited = drain.forward_at is None or now - drain.forward_at >= FORWARD_EVERY
    size = CATCH_UP_SIZE if catch_up else page_size
    # 1. nothing settled is known yet  2. history is being paged back  3. news
    if cursor.id is None:
        return Ask(direction=Direction.PREPEND, id=cursor.back, size=size)
    if cursor.back is not None and drain.reached is None and not news_waited:
        return Ask(direction=Direction.PREPEND, id=cursor.back, size=CATCH_UP_SIZE)
    return Ask(direction=Direction.APPEND, id=drain.reached or cursor.id, size=size)


def take(drain: Drain, asked: Ask, read: Read, *, settle: timedelta) -> Taken:
    """Account for a page that was asked as `asked`."""
    if asked.direction is Direction.PREPEND:
        return _take_back(drain, asked, read, settle=settle)
    return _take_forward(drain, asked, read, settle=settle)


def _take_forward(drain: Drain, asked: Ask, read: Read, *, settle: timedelta) -> Taken:
    fresh = _fresh(drain, read, above=drain.cursor.id)
    began_at = (drain.began_at if drain.reached else None) or read.started_at
    reached = max((*_ids(read), asked.id or MessageId(0)))
    # A full page without a single readable new id would be asked for ever.
    more = _is_full(asked, read) and reached > (asked.id or 0)
    cursor = _settled(
        drain.cursor,
        _above(drain.cursor, read),
        before=began_at - settle,
        up_to=reached if more else None,
    )
    return Taken(
        drain=Drain(
            start_at=drain.start_at,
            cursor=cursor,
            reached=reached if more else None,
            began_at=began_at if more else None,
            forward_at=read.started_at,
        ),
        fresh=fresh,
        duplicates=len(read.messages) - len(fresh),
        more=more or cursor.back is not None,
        watermark=None if more else _watermark(began_at, settle),
    )


def _take_back(drain: Drain, asked: Ask, read: Read, *, settle: timedelta) -> Taken:
    """A page of the start: the newest rows, or the ones before `back`."""
    fresh = _fresh(drain, read, above=None)
    ids = _ids(read)
    before_start = any(m.sent_at < drain.start_at for m in read.messages)
    more = _is_full(asked, read) and bool(ids) and not before_start
    newest = asked.id is None
    began_at = read.started_at if newest else drain.began_at
    return Taken(
        drain=Drain(
            start_at=drain.start_at,
            cursor=_after_back(
                drain.cursor, read, back=min(ids) if more else None, began_at=began_at, settle=settle
            ),
            began_at=began_at if more else None,
            forward_at=read.started_at if newest else drain.forward_at,
        ),
        fresh=fresh,
        duplicates=len(read.messages) - len(fresh),
        more=more,
        watermark=_watermark(began_at, settle) if began_at and not more else None,
    )


def _after_back(
    cursor: Cursor, read: Read, *, back: MessageId | None, began_at: datetime | None, settle: timedelta
) -> Cursor:
    """The cursor after a page of the start that goes on before `back` (None: the start is reached)."""
    if cursor.id is not None:
        return replace(cursor, back=back)
    above = _above(cursor, read)
    # 1. Rows known from an earlier look at the start may lie on pages still to be read again; a cursor past
    #    them would forget that they were evaluated.  2. After a restart nobody knows when the newest page
    #    was read.  Either way the next look at the start decides.
    read_again = back is not None and any(seen.id < back for seen in cursor.above)
    if read_again or began_at is None:
        return _cursor(None, above, sorted(above), back=back)
    return _settled(replace(cursor, back=back), above, before=began_at - settle, up_to=None)


def _settled(
    cursor: Cursor, above: Mapping[MessageId, datetime], *, before: datetime, up_to: MessageId | None
) -> Cursor:
    """Move the cursor over the run of rows that had settled when this drain began.

    Not by the time of its last page: between two pages a row may have become visible on the first. And not
    past `up_to`, the last id read again so far: what is known beyond it may have a late neighbour.
    """
    ordered = sorted(above)
    stops = (n for n, id_ in enumerate(ordered) if above[id_] > before or (up_to is not None and id_ > up_to))
    run = next(stops, len(ordered))
    return _cursor(ordered[run - 1] if run else cursor.id, above, ordered[run:], back=cursor.back)


def _cursor(
    id_: MessageId | None,
    above: Mapping[MessageId, datetime],
    kept: Sequence[MessageId],
    *,
    back: MessageId | None,
) -> Cursor:
    return Cursor(id=id_, above=tuple(Seen(id=row, at=above[row]) for row in kept), back=back)


def _above(cursor: Cursor, read: Read) -> dict[MessageId, datetime]:
    """Every known row past the cursor, with the moment that settles it."""
    above = {seen.id: seen.at for seen in cursor.above}
    floor = cursor.id if cursor.id is not None else MessageId(-1)
    for message in read.messages:
        if message.id > floor:
            # By first sight at the latest: a row dated in the future would hold the cursor for ever.
            above.setdefault(message.id, min(message.sent_at, read.started_at))
    for reject in read.reject_ids:
        if reject > floor:
            above.setdefault(reject, read.started_at)
    return above


def _watermark(began_at: datetime, settle: timedelta) -> datetime:
    return began_at - settle - WATERMARK_MARGIN


def _is_full(asked: Ask, read: Read) -> bool:
    """Whether more rows may follow: a full page, or any row where the server does not say its page size."""
    if read.size is None:
        return read.rows > 0
    return read.rows >= min(asked.size, read.size)


def _fresh(drain: Drain, read: Read, *, above: MessageId | None) -> tuple[Message, ...]:
    """The rows to evaluate, in id order: sent since the user's start, and never seen before."""
    known = {seen.id for seen in drain.cursor.above}
    return tuple(
        message
        for message in _by_id(read.messages)
        if message.sent_at >= drain.start_at
        and message.id not in known
        and (above is None or message.id > above)
    )


def _ids(read: Read) -> tuple[MessageId, ...]:
    return (*(message.id for message in read.messages), *read.reject_ids)


def _by_id(messages: Sequence[Message]) -> list[Message]:
    return sorted({message.id: message for message in messages}.values(), key=lambda message: message.id)
