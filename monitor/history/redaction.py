"""Messages without what people wrote: enough for rules about who, when and what kind. Pure."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from rules.model import Attachment, Call, Message, Party


def redacted(message: Message) -> Message:
    """The message without texts, names, links and metadata values.

    Ids, times, roles, kinds, tags, mentions, sizes and extensions stay, and the keys of metadata.
    """
    return replace(
        message,
        sender=_nameless(message.sender),
        receiver=_nameless(message.receiver),
        subject=message.subject and _nameless(message.subject),
        text=None,
        attachments=tuple(_unlinked(attachment) for attachment in message.attachments),
        call=message.call and _unnamed(message.call),
        metadata=_hollow(message.metadata),
        custom=_hollow(message.custom),
    )


def _nameless(party: Party) -> Party:
    return replace(party, name=None)


def _unlinked(attachment: Attachment) -> Attachment:
    return replace(attachment, name=None, url=None)


def _unnamed(call: Call) -> Call:
    return replace(call, caller=_nameless(call.caller), callee=_nameless(call.callee))


def _hollow(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _hollow(inner) for key, inner in value.items()}
    return [] if isinstance(value, list) else None
