"""Lists of messages to be read, and pages of them as the client gives them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from monitor.source.pages import Page, RateInfo
from rules.model import Message, MessageId
from tests.rules.builders import NOON, a_message, after

DAY = timedelta(days=1)


def a_list(*ids: int, apart: timedelta = timedelta(minutes=10), end: datetime = NOON) -> list[Message]:
    """Messages with these ids, evenly spread in time, the last one `apart` before `end`."""
    count = len(ids)
    return [
        a_message(id=MessageId(id_), text=f"text {id_}", sent_at=end - apart * (count - n))
        for n, id_ in enumerate(ids)
    ]


def a_page(
    messages: Sequence[Message],
    before: int | None = None,
    *,
    size: int = 3,
    read_at: datetime = NOON,
    says_size: bool = True,
) -> Page:
    """The newest rows of a list, or those before an id, `size` at most."""
    rows = [message for message in messages if before is None or message.id < before][-size:]
    return Page(
        messages=tuple(rows),
        rejects=(),
        rows=len(rows),
        size=size if says_size else None,
        min_id=rows[0].id if rows else None,
        max_id=rows[-1].id if rows else None,
        started_at=read_at,
        received_at=read_at,
        rate=RateInfo(),
        skew=timedelta(0),
    )


__all__ = ["DAY", "NOON", "a_list", "a_page", "after"]
