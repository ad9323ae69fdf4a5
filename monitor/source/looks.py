"""What one answer of the API shows, without a word of any message: the material of a diagnosis. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from monitor.source.pages import Undecodable, open_envelope, page_size
from monitor.source.rows import Malformed, number, read_id
from rules.model import MessageId, Value


class Seen(Value, frozen=True, kw_only=True):
    """One row, reduced to what the questions need."""

    id: MessageId
    category: str
    receiver_type: str
    incoming: bool  #: to the user in question, by another one
    mentions: bool
    attachments: bool
    delivered: bool
    read: bool
    sent_at: int = 0  #: unix seconds, like the next
    updated_at: int = 0

    @property
    def has_changed(self) -> bool:
        """It was changed in place after it was sent."""
        return self.updated_at > self.sent_at


class Look(Value, frozen=True, kw_only=True):
    """What one request showed."""

    asked: str  #: the request, without the uid
    error: str | None = None  #: the kind of failure and CometChat's code
    rows: tuple[Seen, ...] = ()  #: as served
    size: int | None = None  #: the page size that `meta` echoes
    meta: tuple[str, ...] = ()  #: the keys of `meta`, with those of its objects
    rate_headers: str | None = None
    skew_s: float = 0.0

    @property
    def ids(self) -> tuple[MessageId, ...]:
        return tuple(row.id for row in self.rows)

    @property
    def is_answered(self) -> bool:
        return self.error is None


def look_at(body: bytes, *, uid: str, asked: str, rate_headers: str | None, skew_s: float) -> Look:
    """The look that a good answer gives; an answer that is no page is an error of its own.

    Nothing of `uid` is kept: it tells which rows were for the user.
    """
    try:
        rows, meta = open_envelope(body)
    except Undecodable as problem:
        return Look(asked=asked, error=f"BadResponse: {problem}", rate_headers=rate_headers, skew_s=skew_s)
    return Look(
        asked=asked,
        rows=tuple(seen for raw in rows if (seen := _seen(raw, uid)) is not None),
        size=page_size(meta),
        meta=_keys(meta),
        rate_headers=rate_headers,
        skew_s=skew_s,
    )


def some_group(body: bytes) -> str | None:
    """The guid of a group that a row of the page is from. For asking only: no look keeps it."""
    try:
        rows, _ = open_envelope(body)
    except Undecodable:
        return None
    return next((guid for raw in rows if (guid := _group_of(raw)) is not None), None)


def _group_of(raw: bytes | msgspec.Raw) -> str | None:
    try:
        row = msgspec.json.decode(raw)
        guid = row["receiver"] if row["receiverType"] == "group" else None
    except (msgspec.MsgspecError, ValueError, RecursionError, TypeError, KeyError):
        return None
    return guid if isinstance(guid, str) and guid else None


def _seen(raw: bytes | msgspec.Raw, uid: str) -> Seen | None:
    try:
        row = msgspec.json.decode(raw)
        return Seen(
            id=read_id(row["id"]),
            category=str(row.get("category"))[:20],
            receiver_type=str(row.get("receiverType"))[:20],
            incoming=row.get("receiver") == uid and row.get("sender") != uid,
            mentions=bool(_data(row).get("mentions")) or "<@" in str(_data(row).get("text")),
            attachments=bool(_data(row).get("attachments")),
            delivered=bool(number(row.get("deliveredAt"))),
            read=bool(number(row.get("readAt"))),
            sent_at=number(row.get("sentAt")) or 0,
            updated_at=number(row.get("updatedAt")) or 0,
        )
    except (msgspec.MsgspecError, ValueError, RecursionError, Malformed, TypeError, KeyError, AttributeError):
        return None


def _data(row: Mapping[str, Any]) -> Mapping[str, Any]:
    data = row.get("data")
    return data if isinstance(data, dict) else {}


def _keys(meta: Any) -> tuple[str, ...]:
    if not isinstance(meta, dict):
        return ()
    return tuple(
        f"{key}{{{','.join(inner)}}}"[:120] if isinstance(inner, dict) else str(key)[:40]
        for key, inner in list(meta.items())[:10]
    )
