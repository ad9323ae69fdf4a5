"""Rows as CometChat sends them; a test names only what matters to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Json = dict[str, Any]

SAMPLE = Path(__file__).parent.parent / "data" / "list-user-messages.json"


def a_user(uid: str, name: str | None = None, **more: Any) -> Json:
    return {
        "entityType": "user",
        "entity": {"uid": uid, "name": name or uid.title(), "role": "default", **more},
    }


def a_group(guid: str, name: str = "Hiking") -> Json:
    return {"entityType": "group", "entity": {"guid": guid, "name": name, "membersCount": 5}}


def a_row(
    data: Json | None = None, *, sender: str = "ann", receiver: str = "bob", group: bool = False, **more: Any
) -> Json:
    entities = {"sender": a_user(sender), "receiver": a_group(receiver) if group else a_user(receiver)}
    return {
        "id": "7",
        "conversationId": f"group_{receiver}" if group else f"{sender}_user_{receiver}",
        "sender": sender,
        "receiverType": "group" if group else "user",
        "receiver": receiver,
        "category": "message",
        "type": "text",
        "data": {"text": "hello", "entities": entities} | (data or {}),
        "sentAt": 1702028666,
        "updatedAt": 1702028666,
    } | more


def a_call(
    status: str, *, by: str = "ann", to: str = "bob", session: Json | None = None, **more: Any
) -> Json:
    """A row of a call from ann to bob, caused by `by`."""
    entity = {
        "sessionid": "s1",
        "status": status,
        "sender": "ann",
        "receiver": "bob",
        "receiverType": "user",
        "initiatedAt": 1702028600,
        "wsChannel": {"identity": "i", "secret": "open sesame", "service": "s"},
        "data": {"entities": {"sender": a_user("ann"), "receiver": a_user("bob")}},
    }
    on = {"entityType": "call", "entity": entity if session is None else session}
    data = {"action": status, "entities": {"by": a_user(by), "on": on, "for": a_user(to)}}
    return a_row(data | {"text": None}, sender=by, receiver=to, category="call", type="audio", **more)


def a_body(*rows: Any, **meta: Any) -> bytes:
    return json.dumps({"data": list(rows), "meta": meta or {"pagination": {"per_page": 100}}}).encode()
