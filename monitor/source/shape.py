"""The shape of a row that could not be read: its keys and types, none of its words. Pure.

A person must be able to mend a decoder, or to report a bug, from this text alone; chat text, names, secrets
and numbers must not be in it. Keys that are not known field names are words too (a mention is keyed by uid).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

MAX_DEPTH: Final = 8
MAX_KEYS: Final = 40
MAX_ELEMENTS: Final = 3
MAX_CHARS: Final = 4096

FIELD_NAMES: Final = """
id muid conversationId sender receiverType receiver category type data sentAt updatedAt deliveredAt readAt
editedAt editedBy deletedAt deletedBy parentId replyCount tags receipts myReceipt quotedMessage
quotedMessageId pinnedAt pinnedBy savedAt threadSubscribed unreadRepliesCount text url attachments
extension mimeType name size action entities by on for entity entityType entityId count uid guid role
status avatar icon link lastActiveAt createdAt scope membersCount joinedAt hasJoined owner
onlineMembersCount description mentions metadata customData subType resource moderation reactions
reaction reactedByMe interactiveData interactionGoal interactions allowSenderInteraction elementIds runId
threadId toolCallId toolCalls elements extras old new sessionid sessionId wsChannel identity secret
service initiatedAt startedAt endedAt duration messageId recipient
"""
KNOWN_KEYS: Final = frozenset(FIELD_NAMES.split())


def structure(value: Any) -> str:
    """JSON of `value` with strings and unknown keys as their length, numbers as their type.

    Bounded in breadth and length; what would be too long loses its deepest levels first.
    """
    for depth in range(MAX_DEPTH, 0, -1):
        text = json.dumps(_shape(value, depth), separators=(",", ":"))
        if len(text) <= MAX_CHARS:
            return text
    return json.dumps(kind(value))


def kind(value: Any) -> str:
    """What `value` is in the words of JSON, with its length: `string(12)`, `integer`, `object(3)`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    name = "string" if isinstance(value, str) else "object" if isinstance(value, dict) else "array"
    return f"{name}({len(value)})"


def _shape(value: Any, depth: int) -> Any:
    if not isinstance(value, dict | list) or not value or depth == 0:
        return kind(value)
    if isinstance(value, dict):
        return _object(value, depth - 1)
    return _array(value, depth - 1)


def _object(value: Mapping[str, Any], depth: int) -> dict[str, Any]:
    shapes: dict[str, Any] = {}
    for index, (key, inner) in enumerate(value.items()):
        if index == MAX_KEYS:
            shapes["(more)"] = len(value) - MAX_KEYS
            break
        # The index keeps two unknown keys of one length apart.
        shapes[key if key in KNOWN_KEYS else f"(key {index}: {len(key)})"] = _shape(inner, depth)
    return shapes


def _array(value: Sequence[Any], depth: int) -> list[Any]:
    shapes = [_shape(inner, depth) for inner in value[:MAX_ELEMENTS]]
    more = len(value) - MAX_ELEMENTS
    return [*shapes, f"(more: {more})"] if more > 0 else shapes
