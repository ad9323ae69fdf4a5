"""One row of a message list to one `Message`. Pure.

Strict where a finding could hide (ids, parties, times, text, attachments, mentions, the session of a call):
a wrong shape there is `Malformed`. Patient with decoration (names, roles, sizes, metadata): a wrong shape
there is left out. An empty object may come as `[]`, and a list as an object with number keys: the API is
written in PHP.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from monitor.source.shape import kind
from rules.model import Attachment, Call, Message, MessageId, Party

MAX_ID: Final = 2**63 - 1  # what every database keeps as an integer
LATEST: Final = 253402300799  # 9999-12-31, the last second that datetime knows
MEDIA: Final = frozenset({"image", "video", "audio", "file"})

# Bounded and without nested repeats: chat text is hostile, and this runs on every row.
MENTION: Final = re.compile(r"<@uid:([^<>\s]{1,100})>|@\{[^{}|]{0,200}\|([^{}|\s]{1,100})\}")
MENTION_ALL: Final = "<@all:"

# Whose row it is tells who called, when the row does not: these words are said by the called side.
SAID_BY_CALLEE: Final = frozenset({"ongoing", "busy", "rejected"})
SPELLINGS: Final = {"canceled": "cancelled"}  # the docs use both


class Malformed(ValueError):  # noqa: N818 - named by what is the matter
    """A row that can't be read; the text names the place and the shape found there, never a value."""

    def __init__(self, path: str, expected: str, found: Any) -> None:
        super().__init__(f"{path}: expected {expected}, found {kind(found)}")


# --- the wire ------------------------------------------------------------------------------------------
# Only what is read is named, so the decoder skips the rest without building it. Every field takes any
# shape: what is wrong is judged field by field below, and one odd field is not the end of the row.

Other = list[Any] | str | int | float | bool | None


class Wire(msgspec.Struct, rename="camel", gc=False):
    """Field names as on the wire: `sent_at` is `sentAt`."""


class Named(Wire, gc=False):
    """What names a user or a group."""

    uid: Any = None
    guid: Any = None
    name: Any = None
    role: Any = None
    sessionid: Any = None  #: whoever has one is a call


class Face(Named, gc=False):
    """A user, a group, a call or a whole embedded message, as `entities` tell of it."""

    id: Any = None
    status: Any = None
    session_id: Any = None
    sender: Any = None
    receiver: Any = None
    initiated_at: Any = None
    data: Inside | Other = None


class Shown(Wire, gc=False):
    entity: Any = None


class Told(Shown, gc=False):
    entity: Face | Other = None
    entity_type: Any = None


class Entities(Wire, gc=False):
    sender: Told | Other = None
    receiver: Told | Other = None
    by: Told | Other = None
    on: Told | Other = None
    for_: Told | Other = msgspec.field(name="for", default=None)


class Inside(Wire, gc=False):
    """A call names its two ends once more, inside."""

    entities: Entities | Other = None


class Data(Wire, gc=False):
    text: Any = None
    action: Any = None
    entities: Entities | Other = None
    attachments: Any = None
    url: Any = None
    mentions: Any = None
    metadata: Any = None
    custom_data: Any = None
    moderation: Any = None
    sessionid: Any = None


class Row(Wire, gc=False):
    id: Any = None
    conversation_id: Any = None
    sender: Any = None
    receiver_type: Any = None
    receiver: Any = None
    category: Any = None
    type: Any = None
    data: Data | Other = None
    sent_at: Any = None
    updated_at: Any = None
    edited_at: Any = None
    edited_by: Any = None
    deleted_at: Any = None
    deleted_by: Any = None
    parent_id: Any = None
    tags: Any = None


NO_DATA: Final = Data()
NO_ENTITIES: Final = Entities()
NO_TOLD: Final = Told()
NO_FACE: Final = Face()

Faces = Sequence[Named]
"""What the row tells of the users and groups it names: at most seven, so a look through beats a table."""


def read_message(row: Row) -> Message:
    """The message that `row` tells.

    The original that an edit or delete action embeds gives its id (`target_id`) and nothing else.
    Raises Malformed.
    """
    receiver_type = _word(row.receiver_type, "receiverType")
    category = _word(row.category, "category")
    data = _data(row)
    entities = data.entities if isinstance(data.entities, Entities) else NO_ENTITIES
    faces = _faces(entities)
    sender = _party("user", _word(row.sender, "sender"), faces)
    receiver = _party(receiver_type, _word(row.receiver, "receiver"), faces)
    text = _text(data.text)
    about = entities.on if isinstance(entities.on, Told) else NO_TOLD
    message = Message(
        id=read_id(row.id),
        conversation_id=name_of(row.conversation_id) or _conversation(sender, receiver, receiver_type),
        sender=sender,
        receiver=receiver,
        receiver_type=receiver_type,
        category=category,
        type=_word(row.type, "type"),
        sent_at=time_of(row.sent_at, "sentAt"),
        action=_spelled(data.action),
        text=text,
        updated_at=time_of(row.updated_at, "updatedAt") if row.updated_at else None,
        target_id=_target(about),
        subject=_subject(about, faces) if category == "action" else None,
        call=_call(data, about, Ends(sender, receiver, receiver_type), faces) if category == "call" else None,
    )
    return with_the_rest(message, row, data) if has_more(row, data) else message


def has_more(row: Row, data: Data) -> bool:
    """Whether there may be anything of what `with_the_rest` reads. Mentions in a text need an @."""
    return bool(
        (isinstance(data.text, str) and "@" in data.text)
        or (row.edited_at or row.edited_by or row.deleted_at or row.deleted_by or row.parent_id or row.tags)
        or (data.attachments or data.url or data.mentions)
        or (data.metadata or data.custom_data or data.moderation)
    )


def with_the_rest(message: Message, row: Row, data: Data) -> Message:
    """With what few rows have. Apart, because Python passes more than 15 keywords the slow way."""
    text = message.text
    return replace(
        message,
        edited_at=time_of(row.edited_at, "editedAt") if row.edited_at else None,
        edited_by=_actor(row.edited_by) if row.edited_by else None,
        deleted_at=time_of(row.deleted_at, "deletedAt") if row.deleted_at else None,
        deleted_by=_actor(row.deleted_by) if row.deleted_by else None,
        parent_id=read_id(row.parent_id, "parentId") if row.parent_id not in (None, "", 0, "0") else None,
        tags=tags_of(row.tags) if row.tags else (),
        attachments=attachments_of(data, message.type),
        mentions=mentions_of(data.mentions, text),
        mentions_all=message.receiver_type == "group" and text is not None and MENTION_ALL in text,
        moderation=name_of(data.moderation.get("status")) if isinstance(data.moderation, dict) else None,
        metadata=data.metadata if isinstance(data.metadata, dict) else {},
        custom=data.custom_data if isinstance(data.custom_data, dict) else {},
    )


# --- strict: a wrong shape makes the row a reject ------------------------------------------------------


def number(value: Any) -> int | None:
    """A number that came as digits or as a number; None for anything else."""
    if type(value) is int:  # not isinstance: True is no number
        return value
    if isinstance(value, str) and len(value) < 20 and value.isascii() and value.isdigit():
        return int(value)
    return None


def read_id(value: Any, field: str = "id") -> MessageId:
    """A message id, digits or a number on the wire. Raises Malformed."""
    found = number(value)
    if found is None or not 0 < found <= MAX_ID:
        raise Malformed(field, "a message id (digits)", value)
    return MessageId(found)


def _word(value: Any, field: str) -> str:
    if not isinstance(value, str) or not value:
        raise Malformed(field, "a word", value)
    return value


def _data(row: Row) -> Data:
    if isinstance(row.data, Data):
        return row.data
    if row.data is None or row.data == []:
        return NO_DATA
    raise Malformed("data", "an object", row.data)


def _list(value: Any, field: str) -> Sequence[Any]:
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return tuple(value.values())
    raise Malformed(field, "a list", value)


def time_of(value: Any, field: str) -> datetime:
    seconds = number(value)
    if seconds is None or not 0 <= seconds <= LATEST:
        raise Malformed(field, "unix seconds", value)
    return datetime.fromtimestamp(seconds, UTC)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise Malformed("data.text", "a string", value)


def attachments_of(data: Data, type_: str) -> tuple[Attachment, ...]:
    if data.attachments:
        return tuple(_attachment(file) for file in _list(data.attachments, "data.attachments"))
    url = name_of(data.url)
    if url is not None and type_ in MEDIA:  # old clients send the bare address
        return (_attachment({"url": url, "name": _last_segment(url)}),)
    return ()


def _attachment(file: Any) -> Attachment:
    if not isinstance(file, dict):
        raise Malformed("data.attachments[]", "an object", file)
    name = name_of(file.get("name"))
    size = number(file.get("size"))  # documented as a string, sent as a number
    return Attachment(
        name=name,
        extension=_extension(name_of(file.get("extension")), name),
        mime_type=name_of(file.get("mimeType")),
        size=size if size is not None and size >= 0 else None,
        url=name_of(file.get("url")),
    )


def _extension(said: str | None, name: str | None) -> str | None:
    """Lower case and without the dot; taken from the name when it is not said."""
    if said is None:
        _, dot, said = (name or "").rpartition(".")
        if not dot:
            return None
    return said.lstrip(".").lower() or None


def _last_segment(url: str) -> str | None:
    """The file name at the end of an address, without its signature."""
    try:
        return urlsplit(url).path.rpartition("/")[2] or None
    except ValueError:  # "http://[": the address is the sender's to write
        return None


def mentions_of(named: Any, text: str | None) -> tuple[str, ...]:
    """Mentioned uids, in order of first appearance: tokens in the text, then what only the row names."""
    said = _tokens(text) if text is not None and "@" in text else ()
    return tuple(dict.fromkeys((*said, *_named(named)))) if said or named else ()


def _tokens(text: str) -> Iterator[str]:
    return ((found[1] or found[2]).lower() for found in MENTION.finditer(text))


def _named(mentions: Any) -> Iterator[str]:
    if isinstance(mentions, dict):
        yield from (uid.lower() for uid in mentions)
    elif mentions:
        for entry in _list(mentions, "data.mentions"):
            uid = entry.get("uid") if isinstance(entry, dict) else entry
            yield _word(uid, "data.mentions[]").lower()


class Ends(msgspec.Struct, frozen=True):
    """Both ends of the row itself."""

    sender: Party
    receiver: Party
    receiver_type: str


def _call(data: Data, about: Told, row: Ends, faces: Faces) -> Call:
    """The session, from `entities.on.entity`; who called whom is worked out when that is abridged.

    A call row without a session can't be told from another call's: it is a reject, so that someone sees it.
    """
    session = about.entity if isinstance(about.entity, Face) else NO_FACE
    session_id = name_of(session.sessionid) or name_of(session.session_id) or name_of(data.sessionid)
    status = _spelled(data.action) or _spelled(session.status)
    if session_id is None:
        raise Malformed("data.entities.on.entity.sessionid", "a session id", session.sessionid)
    if status is None:
        raise Malformed("data.action", "the status of the call", data.action)
    caller, callee = _caller_and_callee(session, status, row, faces)
    initiated_at = time_of(session.initiated_at, "initiatedAt") if session.initiated_at else None
    return Call(session_id=session_id, status=status, caller=caller, callee=callee, initiated_at=initiated_at)


def _caller_and_callee(session: Face, status: str, row: Ends, faces: Faces) -> tuple[Party, Party]:
    """The session knows. The row's own sender is whoever caused the change, so it only fills gaps."""
    sender, receiver = row.sender, row.receiver
    caller = _end(name_of(session.sender), "user", row, faces)
    callee = _end(name_of(session.receiver), row.receiver_type, row, faces)
    if row.receiver_type != "user":
        return caller or sender, callee or receiver
    if caller is None and callee is None:
        return (receiver, sender) if status in SAID_BY_CALLEE else (sender, receiver)
    if caller is None:
        caller = sender if callee is not None and callee.id != sender.id else receiver
    return caller, callee or (receiver if caller.id != receiver.id else sender)


def _end(id_: str | None, type_: str, row: Ends, faces: Faces) -> Party | None:
    """The party that the session names; nearly always one of the row's own two."""
    if id_ is None:
        return None
    if id_ == row.sender.id and type_ == "user":
        return row.sender
    if id_ == row.receiver.id and type_ == row.receiver_type:
        return row.receiver
    return _party(type_, id_, faces)


# --- patient: a wrong shape is left out -----------------------------------------------------------------


def name_of(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _faces(entities: Entities) -> list[Named]:
    faces: list[Named] = []
    for told in (entities.sender, entities.receiver, entities.by, entities.for_, entities.on):
        face: object = told.entity if isinstance(told, Shown) else None
        if not isinstance(face, Named):
            continue
        faces.append(face)
        # A call names its two ends once more, inside. An edited message does too, but those are not ours.
        inside = face.data if isinstance(face, Face) and face.sessionid else None
        if isinstance(inside, Inside) and isinstance(inside.entities, Entities):
            faces += _faces(inside.entities)
    return faces


def _party(type_: str, id_: str, faces: Faces) -> Party:
    """Uids are lower case in CometChat whatever was typed; group ids are kept as they are."""
    if type_ == "user":
        uid = id_.lower()
        for face in faces:
            if isinstance(face.uid, str) and face.uid.lower() == uid:
                return Party(id=uid, name=name_of(face.name), role=name_of(face.role))
        return Party(id=uid)
    for face in faces:
        if face.guid == id_ and type_ == "group":
            return Party(id=id_, name=name_of(face.name), role=name_of(face.role))
    return Party(id=id_)


def _conversation(sender: Party, receiver: Party, receiver_type: str) -> str:
    """The way CometChat builds it, for a row that does not say."""
    if receiver_type == "group":
        return f"group_{receiver.id}"
    return "_user_".join(sorted((sender.id, receiver.id)))


def _spelled(action: Any) -> str | None:
    name = name_of(action)
    return name if name is None else SPELLINGS.get(name, name)


def _actor(value: Any) -> str | None:
    """Who edited or deleted: documented as a number, sent as a uid."""
    if isinstance(value, str):
        return value.lower()
    return str(found) if (found := number(value)) is not None and 0 < found <= MAX_ID else None


def _target(about: Told) -> MessageId | None:
    if about.entity_type != "message" or not isinstance(about.entity, Face):
        return None
    try:
        return read_id(about.entity.id)
    except Malformed:
        return None


def _subject(about: Told, faces: Faces) -> Party | None:
    uid = name_of(about.entity.uid) if isinstance(about.entity, Face) else None
    return None if uid is None else _party("user", uid, faces)


def tags_of(value: Any) -> tuple[str, ...]:
    return tuple(tag for tag in value if isinstance(tag, str)) if isinstance(value, list) else ()
