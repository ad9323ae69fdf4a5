"""Rows that changed after they were read, as moderation, edits and deletions change them in place. Pure.

A cursor over ids never meets such a row again. So a list may be asked now and then for the rows that changed
since it was last asked: a *sweep*. A row that was read before is evaluated once more, as it is now. What was
told of it has the same id and is not told again.

Only rows of the last `REACH` count. Kinds that count keep each row for an hour at least, and know it again by
its id: it counts once, whatever became of it. Whatever changed before a start is within reach of the first
sweep, so nothing of it need be stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from monitor.drain import CATCH_UP_SIZE, Read
from monitor.store.values import Cursor
from rules.engine import RuleSet
from rules.model import Message, MessageId, Value

REACH: Final = timedelta(minutes=55)  # since a row was sent; less than the hour for which kinds keep it
OVERLAP: Final = timedelta(minutes=2)  # between sweeps: for clocks, whole seconds, and rows visible late
SIZE: Final = CATCH_UP_SIZE
SOONEST: Final = 0.9  # of the interval: all lists would otherwise be due at once for ever

KINDS: Final = frozenset({"match", "any", "count", "spike"})
"""The kinds that are asked again. The others ask in what order things were said, or for how long nothing was;
when a row changed is not when it was sent."""


class Sweep(Value, frozen=True, kw_only=True):
    """A question for what changed since a time, by the API's clock."""

    since: datetime
    after: MessageId | None = None  #: the page before was full and ended with this id
    began_at: datetime | None = None  #: the start of its first request


class Changed(Value, frozen=True, kw_only=True):
    """What a page of a sweep brought: `messages` are to be evaluated once more, in the order of their ids."""

    messages: tuple[Message, ...]
    fates: Mapping[str, int]  #: what becomes of how many rows
    sweep: Sweep  #: the next one, or this one's next page
    more: bool  #: whether it is this one's


def sweep(last: Sweep | None, now: datetime) -> Sweep:
    """What to ask next, at `now` by the API's clock. What changed before the reach was sent before it too."""
    oldest = now - REACH
    if last is None:
        return Sweep(since=oldest)
    return last if last.after is not None or last.since >= oldest else Sweep(since=oldest)


def changed(asked: Sweep, read: Read, cursor: Cursor, *, start_at: datetime) -> Changed:
    """What to make of the answer to `asked`, for a list read up to `cursor`."""
    oldest = max(start_at, read.started_at - REACH)
    fates = {message.id: _fate(message, asked, cursor, oldest=oldest) for message in read.messages}
    again = {message.id: message for message in read.messages if fates[message.id] == "evaluated"}
    began_at = asked.began_at or read.started_at
    last = max((*fates, *read.reject_ids), default=MessageId(0))
    # A server that does not heed the id would be asked for ever.
    more = _is_full(read) and last > (asked.after or 0)
    return Changed(
        messages=tuple(again[id_] for id_ in sorted(again)),
        fates=Counter(fates.values()),
        sweep=Sweep(since=asked.since, after=last, began_at=began_at)
        if more
        else Sweep(since=began_at - OVERLAP),
        more=more,
    )


def _is_full(read: Read) -> bool:
    """Whether more rows may follow; a server that does not tell its page size may have cut any page."""
    return read.rows > 0 if read.size is None else read.rows >= min(SIZE, read.size)


def _fate(message: Message, asked: Sweep, cursor: Cursor, *, oldest: datetime) -> str:
    """What becomes of a row, in a word that metrics know.

    A row that was not read yet is the ordinary road's, which will find it as it is then.
    """
    if message.updated_at is not None and message.updated_at < asked.since.replace(microsecond=0):
        return "unchanged"  # the server does not heed the time
    if message.sent_at < oldest:
        return "old"
    return "evaluated" if _is_read(message.id, cursor) else "unread"


def _is_read(id_: MessageId, cursor: Cursor) -> bool:
    if cursor.id is not None and (cursor.back or 0) <= id_ <= cursor.id:
        return True
    return any(seen.id == id_ for seen in cursor.above)


@lru_cache(maxsize=1)
def asked_again(rules: RuleSet) -> RuleSet:
    """Those of the rules that a changed row is shown to."""
    fitting = RuleSet(app=rules.app, rules=[rule for rule in rules.rules if rule.kind in KINDS])
    fitting.link = rules.link
    return fitting
