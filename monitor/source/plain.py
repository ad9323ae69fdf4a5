"""The quick road for a row: as nearly all rows are, read in the fewest steps. Pure.

The decoder itself checks the shapes here, so that little is left to ask. A row with any other shape does
not decode as a `PlainRow`; one that decodes and still is unusual (a call, an edit, a stranger's name) is
left to `read_message`. Whatever this makes of a row, `read_message` makes the same of it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from monitor.source.rows import (
    LATEST,
    MAX_ID,
    Data,
    Entities,
    Named,
    Row,
    Shown,
    has_more,
    read_message,
    time_of,
    with_the_rest,
)
from rules.model import Message, MessageId, Party


class PlainFace(Named, gc=False):
    uid: str | None = None
    guid: str | None = None
    name: str | None = None
    role: str | None = None
    sessionid: None = None


class PlainTold(Shown, gc=False):
    entity: PlainFace | None = None


class PlainEntities(Entities, gc=False):
    sender: PlainTold | None = None  # type: ignore[assignment]  # only what names it is read
    receiver: PlainTold | None = None  # type: ignore[assignment]  # likewise


class PlainData(Data, gc=False):
    text: str | None = None
    entities: PlainEntities | None = None


class PlainRow(Row, gc=False, kw_only=True):
    id: str | int
    conversation_id: str | None = None
    sender: str
    receiver_type: str
    receiver: str
    category: str
    type: str
    data: PlainData


def read_plain(row: PlainRow) -> Message:
    """The message that `row` tells. Raises Malformed."""
    data, sent_at, updated_at = row.data, row.sent_at, row.updated_at
    id_ = row.id
    if isinstance(id_, str):  # what `number` does, without the call
        id_ = int(id_) if len(id_) < 20 and id_.isascii() and id_.isdigit() else 0
    parties = _parties(row, data.entities) if data.entities is not None else None
    if (
        parties is None
        or not (0 < id_ <= MAX_ID and row.conversation_id and row.category and row.type)
        or type(sent_at) is not int
        or not 0 <= sent_at <= LATEST
        or data.action
    ):
        return read_message(row)
    at = datetime.fromtimestamp(sent_at, UTC)
    changed_at = None
    if updated_at:
        is_same = type(updated_at) is int and updated_at == sent_at
        changed_at = at if is_same else time_of(updated_at, "updatedAt")
    message = Message(
        id=MessageId(id_),
        conversation_id=row.conversation_id,
        sender=parties[0],
        receiver=parties[1],
        receiver_type=row.receiver_type,
        category=row.category,
        type=row.type,
        sent_at=at,
        text=data.text,
        updated_at=changed_at,
    )
    return with_the_rest(message, row, data) if has_more(row, data) else message


def _parties(row: PlainRow, told: PlainEntities) -> tuple[Party, Party] | None:
    """Both ends as the entities tell of them, or None unless they are just the row's own two."""
    if told.on is not None or told.by is not None or told.for_ is not None or row.category == "call":
        return None
    sender = told.sender.entity if told.sender is not None else None
    receiver = told.receiver.entity if told.receiver is not None else None
    if sender is None or receiver is None or not row.sender or not row.receiver:
        return None
    if sender.uid != row.sender:
        return None
    speaker = Party(id=row.sender.lower(), name=sender.name or None, role=sender.role or None)
    if row.receiver_type == "user":
        id_, is_known = row.receiver.lower(), receiver.uid == row.receiver != row.sender
    else:
        id_, is_known = row.receiver, row.receiver_type == "group" and receiver.guid == row.receiver
    # Who writes to himself, or bears the group's id: the first of two faces counts.
    if not is_known or id_ == speaker.id or sender.guid is not None:
        return None
    return speaker, Party(id=id_, name=receiver.name or None, role=receiver.role or None)
