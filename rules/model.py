"""The words of the house as values: what was said, what was found, what must be asked again later.

Every time is an aware UTC `datetime`. Message ids are app-wide numbers that CometChat writes as digit
strings (REST docs, "List User Messages"); they are compared as numbers, never as text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple, NewType, TypeVar

import msgspec

T = TypeVar("T")

UserId = NewType("UserId", str)
MessageId = NewType("MessageId", int)
RuleName = NewType("RuleName", str)
AlertId = NewType("AlertId", str)

ListId = UserId
"""What one poll reads: a user's list (by uid), the app's (`@app`) or a group's (`@group:GUID`)."""

Labels = Mapping[str, str]
WatchSet = Mapping[UserId, Labels]
"""The watched users (lower-case uids) and the labels that their alerts inherit."""

APP_SYSTEM: Final = "app_system"
"""The sender CometChat names when the dashboard or the REST API acted, not a person."""


class Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A frozen value; change it with `msgspec.structs.replace`.

    Subclasses repeat `frozen=True, kw_only=True`: type checkers want the one, msgspec does not inherit
    the other. What there is one of for each row says `gc=False`: it can be part of no cycle, and the
    collector need not walk through thousands of them.
    """


class Severity(StrEnum):
    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Status(StrEnum):
    FIRING = "firing"
    RESOLVED = "resolved"


class Party(Value, frozen=True, kw_only=True, gc=False):
    """A user (`id` is the uid) or a group (`id` is the guid), with what the row told about it."""

    id: str
    name: str | None = None
    role: str | None = None

    @property
    def label(self) -> str:
        """Display name and id, as a person reads it in an alert."""
        return f"{self.name} ({self.id})" if self.name and self.name != self.id else self.id


class Attachment(Value, frozen=True, kw_only=True, gc=False):
    """One file of a media message. `url` may be signed: it leaves only if the receiver's policy says so."""

    name: str | None = None
    extension: str | None = None  #: lower case, without the dot
    mime_type: str | None = None
    size: int | None = None  #: bytes
    url: str | None = None


class Call(Value, frozen=True, kw_only=True, gc=False):
    """What one signalling row says of its session. The wsChannel secret is never read into it."""

    session_id: str
    status: str  #: initiated, ongoing, unanswered, rejected, busy, cancelled, ended, or a new word
    caller: Party
    callee: Party  #: the group when `Message.receiver_type` is "group"
    initiated_at: datetime | None = None


class Message(Value, frozen=True, kw_only=True, gc=False):
    """One row of a message list. Unknown categories and types stay as they came.

    The row an edit or delete action embeds is only named by `target_id`; its text, mentions and
    attachments are not this message's.
    """

    id: MessageId
    conversation_id: str
    sender: Party  #: of a call row: whoever caused the change, not the caller
    receiver: Party
    receiver_type: str  #: "user" or "group"
    category: str  #: message, call, action, custom, interactive, agentic, card, …
    type: str  #: text, image, video, audio, file, groupMember, …
    sent_at: datetime
    action: str | None = None  #: of calls and actions: initiated, unanswered, edited, kicked, …
    text: str | None = None  #: text or caption
    updated_at: datetime | None = None
    edited_at: datetime | None = None
    edited_by: str | None = None
    deleted_at: datetime | None = None
    deleted_by: str | None = None
    parent_id: MessageId | None = None  #: the thread it replies in
    target_id: MessageId | None = None  #: the message an edit or delete action is about
    subject: Party | None = None  #: whom a group action is about (kicked, banned, …)
    tags: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    mentions: tuple[str, ...] = ()  #: mentioned uids, lower case, in order of first appearance
    mentions_all: bool = False  #: `<@all:…>` in a group
    call: Call | None = None
    moderation: str | None = None  #: approved, pending, disapproved
    metadata: Mapping[str, Any] = {}  #: `data.metadata` as sent
    custom: Mapping[str, Any] = {}  #: `data.customData` as sent

    @property
    def participants(self) -> tuple[UserId, ...]:
        """The users this row names as taking part: sender and user receiver; of a call, caller and callee."""
        ends = (self.call.caller, self.call.callee) if self.call else (self.sender, self.receiver)
        users = ends if self.receiver_type == "user" else ends[:1]
        return tuple(dict.fromkeys(UserId(party.id.lower()) for party in users))

    def evidence(self) -> Message:
        """The part of the message that an alert carries: without free-form metadata."""
        return msgspec.structs.replace(self, metadata={}, custom={})


class Alert(Value, frozen=True, kw_only=True):
    """One finding. Its id is content-derived: finding it again gives the same id."""

    id: AlertId
    rule: RuleName
    key: str  #: correlation key: session id, message id, …
    status: Status
    severity: Severity
    title: str
    summary: str
    conversation_id: str
    event_at: datetime  #: API time of the newest message that decided it
    first_seen_at: datetime  #: our time when it was first found
    watched_users: tuple[UserId, ...] = ()
    labels: Labels = {}
    annotations: Labels = {}
    messages: tuple[Message, ...] = ()
    resolution: str | None = None  #: why it is over; set exactly when `status` is resolved
    revision: int = 0  #: how often a firing alert was brought up to date since it was first found
    lasts: bool = False  #: a condition, which fires until it is resolved; else an event, over once it is told


class StateKey(NamedTuple):
    """Rule state is kept per rule and correlation key."""

    rule: RuleName
    key: str


class State(Value, frozen=True, kw_only=True):
    """Stored rule state: the kind's own struct as JSON, and the version that guards it (1 = first write)."""

    version: int
    value: bytes


class StateChange(Value, frozen=True, kw_only=True):
    """Write `value` if the stored version still is `expected` (0: there is none); None forgets the state."""

    key: StateKey
    expected: int
    value: bytes | None
    expires_at: datetime | None = None  #: from then on retention may remove it


class Timer(Value, frozen=True, kw_only=True):
    """A question to ask again once we have seen far enough: replaces the pending timer of the same key.

    `lists` names the lists that could carry the missing row; the timer concludes when the watermark of any
    one of them has passed `due`. With `every`, any list at all could carry it: then `lists` is empty, and
    the timer waits for all that are read.
    """

    key: StateKey
    due: datetime  #: event time
    lists: tuple[ListId, ...]
    every: bool = False


class Tick(Value, frozen=True, kw_only=True):
    """A timer whose watermark condition holds."""

    key: StateKey
    due: datetime


class Fault(Value, frozen=True, kw_only=True):
    """A rule that failed on one message, or a template that failed for one alert; all others went on."""

    rule: RuleName
    message_id: MessageId | None  #: None when a tick was judged
    error: str  #: the kind of error and where it arose; never message text


class Because(Value, frozen=True, kw_only=True):
    """What made one finding: for whoever asks later why it was raised, brought up to date or resolved."""

    alert: AlertId
    status: Status
    revision: int = 0
    messages: tuple[MessageId, ...] = ()  #: the rows of this step that had to do with it
    tick: datetime | None = None  #: the time that had passed, if it was that
    key: str | None = None  #: of the state that was judged; None for rules that keep none
    before: str | None = None  #: the state before and after, as it is stored (JSON), cut to `MAX_TOLD`
    after: str | None = None


MAX_TOLD: Final = 4_000  # characters of a state in `Because`


class Outcome(Value, frozen=True, kw_only=True):
    """What one step found. `alerts` may repeat earlier ids; the store keeps each once.

    `because` says of each of `alerts`, in their order, what made it.
    """

    states: tuple[StateChange, ...] = ()
    alerts: tuple[Alert, ...] = ()
    because: tuple[Because, ...] = ()
    timers: tuple[Timer, ...] = ()
    cancelled: tuple[StateKey, ...] = ()  #: timers that are no longer needed
    faults: tuple[Fault, ...] = ()


def fingerprint(app: str, rule: str, key: str, episode: str) -> AlertId:
    """The stable id of a finding: the same four facts always give the same 32 hex digits."""
    return AlertId(digest(app, rule, key, episode))


def digest(*parts: str) -> str:
    """32 hex digits of SHA-256 over length-prefixed parts, so that ("ab", "c") and ("a", "bc") differ."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


MAX_KEY: Final = 200


def correlation_key(text: str) -> str:
    """A foreign id as a key: itself if it is short printable ASCII, or else its digest."""
    return text if len(text) <= MAX_KEY and text.isascii() and text.isprintable() else digest(text)


def once(ask: Callable[[Message], T]) -> Callable[[Message], T]:
    """`ask`, a pure function, that is not asked again about the message it was asked about last.

    A message of many keys is looked at for each of them, and people send what is slow to look at.
    """
    last: tuple[Message, T] | None = None

    def asked(message: Message) -> T:
        nonlocal last
        known = last  # read once: another thread may ask as well
        if known is None or known[0] is not message:
            known = last = (message, ask(message))
        return known[1]

    return asked


def watched(users: Iterable[str], watch: WatchSet) -> tuple[UserId, ...]:
    """Those of `users` that are watched, in the given order, each once."""
    return tuple(dict.fromkeys(UserId(uid) for uid in users if uid in watch))
