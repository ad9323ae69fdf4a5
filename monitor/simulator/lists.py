"""What the message lists answer: the chosen rows and the meta object of each endpoint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from monitor.simulator.feed import Feed, Test, matching, page
from monitor.simulator.query import Listing, Params, Query, parse
from monitor.simulator.refusals import bad_request
from monitor.simulator.rows import Json, Row, encode
from monitor.simulator.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who looks: the acting user if one is named, and whether by the client API."""

    uid: str | None
    is_client: bool = False


def answer(
    world: World,
    feeds: Sequence[Feed],
    params: Params,
    *,
    listing: Listing,
    viewer: Viewer,
    owner: str | None = None,
) -> bytes:
    """The JSON of one list request. `owner` is whose list it is when nobody acts.

    Raises Refusal for parameters that the documentation does not allow.
    """
    acting = viewer.uid or owner
    query = parse(params, listing=listing, acting=acting, marks=world, updates=world.options.updates)
    tests = (world.is_visible, *_withheld(world, listing), *query.tests)
    if query.counts:
        return encode({"data": _counts(world, feeds, tests, acting)})
    fault = world.faults.draw("page-size", *(uid for uid in (acting, owner) if uid))
    size = fault.size if fault else query.size
    rows, has_more = page(
        feeds, forward=_is_forward(world, query), cursor=query.cursor, size=size, tests=tests
    )
    shown = list(rows)
    if world.faults.draw("out-of-order", *(uid for uid in (acting, owner) if uid)):
        world.random.shuffle(shown)
    echo = {"used": size, "asked": query.size, "none": None}[fault.echo if fault else "used"]
    shape = _cursor_meta if listing is Listing.USER or viewer.is_client else _next_meta
    meta = encode(shape(query, rows, has_more=has_more, size=echo))
    return b'{"data":[%b],"meta":%b}' % (b",".join(_shown(row, query) for row in shown), meta)


def _is_forward(world: World, query: Query) -> bool:
    if query.affix == "prepend":
        return False
    if query.cursor is not None or query.has_time_cursor:
        return True
    # Documentation is silent on append without an id, so each answer can be had.
    if world.options.append_without_id == "400":
        raise bad_request(id="The id field is required when affix is append.")
    return world.options.append_without_id == "oldest"


def _withheld(world: World, listing: Listing) -> tuple[Test, ...]:
    if listing is Listing.MESSAGES and not world.options.calls_in_messages:
        return (lambda row: row.category != "call",)
    return ()


def _shown(row: Row, query: Query) -> bytes:
    if row.is_malformed:
        return row.body
    body = _with_tags(row) if query.with_tags else row.body
    if not (query.with_tag_info or query.with_blocked_info):
        return body
    message: Json = json.loads(body)
    for mentioned in message["data"].get("mentions", {}).values():
        if query.with_tag_info:
            mentioned["tags"] = mentioned.get("tags", [])
        if query.with_blocked_info:
            mentioned |= {"blockedByMe": False, "hasBlockedMe": False}
    return encode(message)


def _with_tags(row: Row) -> bytes:
    """The row's object with one more key. Spliced in: most pages ask for tags, and decoding costs tenfold."""
    return b'%b,"tags":%b}' % (row.body[:-1], encode(list(row.tags)))


def _cursor_meta(query: Query, rows: Sequence[Row], *, has_more: bool, size: int | None) -> Json:
    """Pagination and cursor: total is 0 though rows exist, total_pages 1 says nothing follows."""
    position = rows[-1].id if rows else query.cursor
    pagination = {
        "total": 0,
        "count": len(rows),
        "per_page": size,
        "current_page": 1,
        "total_pages": 2 if has_more else 1,
    }
    if size is None:
        del pagination["per_page"]
    cursor: Json = {"affix": query.affix} if position is None else {"id": position, "affix": query.affix}
    return {"pagination": pagination, "cursor": cursor}


def _next_meta(query: Query, rows: Sequence[Row], *, has_more: bool, size: int | None) -> Json:  # noqa: ARG001 - one of several of this form
    """Current and next, as GET /messages and the group list show; `next` is there even if nothing follows."""
    current = {"limit": size, "count": len(rows)}
    if size is None:
        del current["limit"]
    following: Json = {"affix": query.affix}
    if rows:
        edge = rows[-1] if query.affix == "append" else rows[0]
        following |= {"sentAt": edge.sent_at, "id": str(edge.id)}
    return {"current": current, "next": following}


def _counts(world: World, feeds: Sequence[Feed], tests: Sequence[Test], acting: str | None) -> list[Any]:
    """How many rows pass, by the other side of each conversation."""
    counts: dict[tuple[str, str], int] = {}
    for row in matching(feeds, forward=True, cursor=None, tests=tests):
        other = row.sender if row.receiver_type == "user" and row.receiver == acting else row.receiver
        key = (row.receiver_type, other)
        counts[key] = counts.get(key, 0) + 1
    return [
        {"entityType": kind, "entityId": other, "entity": _entity(world, kind, other), "count": count}
        for (kind, other), count in counts.items()
    ]


def _entity(world: World, kind: str, other: str) -> Json:
    known = world.groups.get(other) if kind == "group" else world.users.get(other)
    if known is None:
        return {"guid" if kind == "group" else "uid": other}
    return known.entity()
