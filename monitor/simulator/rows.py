"""Message rows: the JSON they go out as, encoded once, and the facts that filters ask about."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]

# ASCII escapes on purpose: a lone surrogate in a text goes out as \ud83d, as PHP's encoder would send it.
_encode = json.JSONEncoder(separators=(",", ":")).encode

_MENTION = re.compile(r"<@uid:([^>]+)>")
_LINK = re.compile(r"https?://", re.IGNORECASE)
_MEDIA: Final = frozenset({"image", "video", "audio"})


def encode(value: Any) -> bytes:
    return _encode(value).encode("ascii")


@dataclass(slots=True, kw_only=True)
class Row:
    """One message as lists show it.

    `body` is the row as sent, without tags (a list adds them when asked). The other fields are an index
    over it: they are set by `index`, never on their own.
    """

    id: int
    visible_at: float  #: simulator clock; before it no list shows the row
    body: bytes = b""
    conversation_id: str = ""
    sender: str = ""
    receiver: str = ""
    receiver_type: str = "user"
    category: str = "message"
    type: str = "text"
    sent_at: int = 0
    updated_at: int = 0
    text: str = ""
    has_links: bool = False
    has_reactions: bool = False
    is_deleted: bool = False
    is_delivered: bool = False
    is_read: bool = False
    is_malformed: bool = False
    parent_id: int | None = None
    mentions: tuple[str, ...] = ()
    attachments: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def index(self, message: Mapping[str, Any]) -> None:
        """Take over `message`: encode it and note what filters need."""
        content = message["data"]
        self.body = encode(message)
        self.conversation_id = message["conversationId"]
        self.sender = message["sender"]
        self.receiver = message["receiver"]
        self.receiver_type = message["receiverType"]
        self.category = message["category"]
        self.type = message["type"]
        self.sent_at = message["sentAt"]
        self.updated_at = message["updatedAt"]
        text = content.get("text")
        self.text = text if isinstance(text, str) else ""
        self.has_links = _LINK.search(self.text) is not None
        self.has_reactions = bool(content.get("reactions"))
        self.is_deleted = "deletedAt" in message
        self.is_delivered = "deliveredAt" in message
        self.is_read = "readAt" in message
        self.parent_id = int(message["parentId"]) if "parentId" in message else None
        self.mentions = tuple(content.get("mentions") or ())
        self.attachments = tuple(kind_of(one) for one in content.get("attachments") or ())

    def message(self) -> Json:
        """The row as a fresh object, with its tags."""
        message: Json = json.loads(self.body)
        if self.tags:
            message["tags"] = list(self.tags)
        return message

    def change(self, alter: Callable[[Json], None]) -> None:
        """Alter the stored message in place, keeping index and encoding true."""
        message: Json = json.loads(self.body)
        alter(message)
        self.index(message)


def kind_of(attachment: Mapping[str, Any]) -> str:
    """image, video, audio or file: what the attachmentTypes filter compares with."""
    major = str(attachment.get("mimeType", "")).partition("/")[0]
    return major if major in _MEDIA else "file"


def mentioned_in(text: str) -> tuple[str, ...]:
    """The uids of the `<@uid:…>` tokens, in order, each once."""
    return tuple(dict.fromkeys(uid.lower() for uid in _MENTION.findall(text)))


def envelope(
    *,
    message_id: int,
    conversation_id: str,
    sender: str,
    receiver: str,
    receiver_type: str,
    category: str,
    type_: str,
    content: Json,
    sent_at: int,
    muid: str | None = None,
    parent_id: int | None = None,
) -> Json:
    """The outer object of a row, with its keys in the recorded order."""
    message: Json = {"id": str(message_id)}
    if muid is not None:
        message["muid"] = muid
    message |= {
        "conversationId": conversation_id,
        "sender": sender,
        "receiverType": receiver_type,
        "receiver": receiver,
        "category": category,
        "type": type_,
        "data": content,
        "sentAt": sent_at,
        "updatedAt": sent_at,
    }
    if parent_id is not None:
        message["parentId"] = str(parent_id)
    return message


def wrapped(entity: Any, entity_type: str) -> Json:
    return {"entity": entity, "entityType": entity_type}


def without(message: Mapping[str, Any], keys: Iterable[str]) -> Json:
    dropped = frozenset(keys)
    return {key: value for key, value in message.items() if key not in dropped}


SPOILED: Final[Mapping[str, Callable[[Json], Any]]] = {
    "not an object": lambda _: "Internal error while rendering this row",
    "null": lambda _: None,
    "no id": lambda message: without(message, ["id"]),
    "id without digits": lambda message: message | {"id": "n/a"},
    "no sentAt": lambda message: without(message, ["sentAt"]),
    "sentAt in words": lambda message: message | {"sentAt": "yesterday"},
    "no sender": lambda message: without(message, ["sender"]),
    "data in words": lambda message: message | {"data": "unavailable"},
}
"""Ways in which a row can be malformed; each takes a good row."""
