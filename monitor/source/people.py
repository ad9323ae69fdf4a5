"""Bytes to users and groups. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from monitor.source.pages import Rowlike, Undecodable, decode_user, open_envelope, page_size
from monitor.source.rows import number
from rules.model import Party, Value

_one: Final = msgspec.json.Decoder(dict[str, Any])
_any: Final = msgspec.json.Decoder()

__all__ = ["People", "decode_group", "decode_people", "decode_user"]


class People(Value, frozen=True, kw_only=True):
    """One page of the app's users."""

    parties: tuple[Party, ...]  #: as served; rows without a uid are left out
    rows: int  #: rows in the page, those without a uid too
    size: int | None  #: the page size that `meta` echoes
    total_pages: int | None  #: what `meta` says; recorded answers contradict themselves, so `more` is sure

    def more(self, asked: int) -> bool:
        """Whether another page may follow, when `asked` rows were asked for: a full page is never the last.

        A server that ignores the page's number has no last page: whoever turns them stops at one that brings
        nobody new.
        """
        return self.rows > 0 and self.rows >= min(asked, self.size or asked)


def decode_people(body: bytes, *, deactivated: bool = False) -> People:
    """The users in `body`, the deactivated ones only if they are asked for. Raises Undecodable."""
    rows, meta = open_envelope(body)
    found = [party for row in rows if (party := _user(row, deactivated=deactivated)) is not None]
    return People(parties=tuple(found), rows=len(rows), size=page_size(meta), total_pages=_pages(meta))


def decode_group(body: bytes) -> Party:
    """The one group in `body`. Raises Undecodable."""
    try:
        group = _one.decode(body).get("data")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        group = None
    found = _party(group, "guid")
    if found is None:
        raise Undecodable(f"the body names no group: {len(body)} bytes")
    return found


def _user(raw: Rowlike, *, deactivated: bool) -> Party | None:
    try:
        row = _any.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if isinstance(row, dict) and number(row.get("deactivatedAt")) and not deactivated:
        return None
    return _party(row, "uid")


def _party(row: Any, key: str) -> Party | None:
    if not isinstance(row, dict) or not isinstance(id_ := row.get(key), str) or not id_:
        return None
    name, role = row.get("name"), row.get("role")
    return Party(
        id=id_.lower(),
        name=name if isinstance(name, str) else None,
        role=role if isinstance(role, str) else None,
    )


def _pages(meta: Any) -> int | None:
    pagination = meta.get("pagination") if isinstance(meta, dict) else None
    return number(pagination.get("total_pages")) if isinstance(pagination, dict) else None
