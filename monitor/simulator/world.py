"""The simulated app: users, groups, messages and calls, as plain state with an injected clock.

Everything here is synchronous and repeatable: the same seed, clock and calls make the same ids, sessions
and bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Literal

from monitor.simulator.access import Keys, RateWindow
from monitor.simulator.calls import STATUSES, Call
from monitor.simulator.faults import Faults
from monitor.simulator.feed import Feed
from monitor.simulator.people import APP_SYSTEM, Group, User, conversation_of, valid_uid
from monitor.simulator.refusals import (
    bad_request,
    call_refused,
    not_a_member,
    taken,
    unknown_group,
    unknown_message,
    unknown_user,
)
from monitor.simulator.rows import SPOILED, Json, Row, encode, envelope, mentioned_in, wrapped
from monitor.simulator.truth import Expect, Made, made

MAX_MENTIONS: Final = 10
MAX_CALLS: Final = 50_000  # sessions that can still be changed; a real one is over within minutes
LATE_S: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How this server behaves where CometChat's documentation leaves it open."""

    group_rows_in_user_list: bool = False
    calls_in_messages: bool = True  #: GET /messages shows call rows
    app_list: Literal["all", "empty", "400"] = "all"  #: GET /messages on nobody's behalf
    append_without_id: Literal["newest", "oldest", "400"] = "newest"
    updates: Literal["heeded", "ignored", "400"] = "heeded"  #: updatedAt and onlyUpdates
    rate_headers: Literal["new", "old", "both", "none"] = "new"
    gzip: bool = False
    app_id: str = "275211"
    region: str = "us"
    keep: int = 500_000  #: messages kept; the oldest tenth goes when there are more


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as it came, for tests of how often and what a client asks."""

    at: float
    method: str
    path: str
    query: str
    status: int  #: 0: the connection was dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What the script says about a row; requests leave it empty."""

    label: str | None = None
    expect: tuple[Expect, ...] | None = None
    visible_after: float = 0.0  #: seconds until lists show the row, while larger ids may show earlier
    sent_at: int | None = None  #: back-dated history


UNSCRIPTED: Final = Note()


class World:
    """The state of one app. Raises Refusal wherever CometChat would answer an error."""

    def __init__(
        self,
        *,
        api_key: str,
        auth_only_key: str | None = None,
        rate_limit: int | None = None,
        seed: int = 0,
        clock: Callable[[], float],
        faults: Faults | None = None,
        options: Options | None = None,
    ) -> None:
        self.clock = clock
        self.options = options or Options()
        self.faults = faults or Faults(seed=seed)
        self.keys = Keys(api_key=api_key, auth_only_key=auth_only_key, seed=seed)
        self.rate = RateWindow(rate_limit) if rate_limit is not None else None
        self.random = Random(f"{seed}:world")
        self.users: dict[str, User] = {}
        self.groups: dict[str, Group] = {}
        self.calls: dict[str, Call] = {}
        self.truth: deque[Made] = deque(maxlen=self.options.keep)
        self.requests: deque[Asked] = deque(maxlen=100_000)
        self._all = Feed()
        self._by_user: dict[str, Feed] = {}
        self._by_conversation: dict[str, Feed] = {}
        self._read: dict[tuple[str, str], int] = {}
        self._delivered: dict[tuple[str, str], int] = {}
        self._last_id = 1000

    # -- time ---------------------------------------------------------------------------------------

    def now(self) -> float:
        """The API's time, as `sentAt` and the Date header show it: the clock plus any skew."""
        return self.clock() + self.faults.skew()

    # -- people -------------------------------------------------------------------------------------

    def add_user(
        self,
        uid: object,
        name: str | None = None,
        *,
        role: str = "default",
        avatar: str | None = None,
        metadata: dict[str, Any] | None = None,
        tags: Iterable[str] = (),
    ) -> User:
        key = valid_uid(uid)
        if key in self.users:
            raise taken("uid", key)
        now = int(self.now())
        user = User(
            uid=key,
            name=name or key,
            role=role,
            avatar=avatar,
            created_at=now,
            updated_at=now,
            metadata=metadata,
            tags=tuple(tags),
        )
        self.users[key] = user
        return user

    def user(self, uid: str) -> User:
        """An active user; a deactivated one is unknown to the API."""
        user = self.users.get(uid.lower())
        if user is None or not user.is_active:
            raise unknown_user(uid)
        return user

    def change_user(
        self,
        uid: str,
        *,
        name: str | None = None,
        role: str | None = None,
        tags: Iterable[str] | None = None,
    ) -> User:
        """What is None stays as it is."""
        user = self.user(uid)
        user.name, user.role = name or user.name, role or user.role
        user.tags = user.tags if tags is None else tuple(tags)
        user.updated_at = int(self.now())
        return user

    def set_active(self, uid: str, *, is_active: bool) -> User:
        if uid.lower() not in self.users:
            raise unknown_user(uid)
        user = self.users[uid.lower()]
        user.is_active = is_active
        user.updated_at = int(self.now())
        return user

    def add_group(
        self, guid: object, name: str | None = None, *, members: Iterable[str] = (), owner: str | None = None
    ) -> Group:
        """A new group; its first members make no action rows."""
        key = valid_uid(guid, field_name="guid")
        if key in self.groups:
            raise taken("guid", key)
        scopes = {self.user(uid).uid: "participant" for uid in members}
        if owner is not None:
            scopes[self.user(owner).uid] = "admin"
        group = Group(guid=key, name=name or key, owner=owner, created_at=int(self.now()), members=scopes)
        self.groups[key] = group
        return group

    def group(self, guid: str) -> Group:
        group = self.groups.get(guid.lower())
        if group is None:
            raise unknown_group(guid)
        return group

    def add_member(self, guid: str, uid: str, *, scope: str = "participant", by: str | None = None) -> Row:
        group, user = self.group(guid), self.user(uid)
        group.members[user.uid] = scope
        return self._member_action(group, user, "joined" if by == user.uid else "added", by)

    def remove_member(self, guid: str, uid: str, *, by: str | None = None) -> Row:
        group, user = self.group(guid), self.user(uid)
        if user.uid not in group.members:
            raise not_a_member(user.uid, group.guid)
        del group.members[user.uid]
        return self._member_action(group, user, "left" if by == user.uid else "kicked", by)

    # -- messages -----------------------------------------------------------------------------------

    def send(
        self,
        sender: str | None,
        receiver: str,
        *,
        content: Mapping[str, Any],
        receiver_type: str = "user",
        category: str = "message",
        type_: str = "text",
        tags: Iterable[str] = (),
        muid: str | None = None,
        parent_id: int | None = None,
        note: Note = UNSCRIPTED,
    ) -> Row:
        """Make a message; without a sender the app itself speaks."""
        author = self._author(sender)
        data = dict(content)
        data["entities"] = {
            "sender": wrapped(author.entity(), "user"),
            "receiver": self._receiver(author.uid, receiver, receiver_type),
        }
        conversation = self._conversation(author.uid, receiver, receiver_type)
        if mentions := self._mentions(data.get("text"), conversation):
            data["mentions"] = mentions
        attachments = data.get("attachments")
        if attachments and "url" not in data:
            data["url"] = attachments[0].get("url")
        row = self._publish(
            conversation=conversation,
            sender=author.uid,
            receiver=receiver.lower(),
            receiver_type=receiver_type,
            category=category,
            type_=type_,
            content=data,
            tags=tuple(tags),
            muid=muid,
            parent_id=parent_id,
            note=note,
        )
        if parent_id is not None:
            self._count_reply(parent_id)
        return row

    def find(self, message_id: int | str) -> Row:
        row = self._all.get(int(message_id)) if str(message_id).isdigit() else None
        if row is None or row.is_malformed or row.visible_at > self.clock():
            raise unknown_message(str(message_id))
        return row

    def edit(
        self,
        message_id: int | str,
        content: Mapping[str, Any],
        *,
        by: str | None = None,
        note: Note = UNSCRIPTED,
    ) -> Row:
        """Change a message in place and publish the action row that embeds it; the action row."""
        row, editor = self.find(message_id), self._author(by)
        now = self._stamp(note)

        def alter(message: Json) -> None:
            message["data"] |= content
            message["data"].pop("mentions", None)
            if mentions := self._mentions(message["data"].get("text"), row.conversation_id):
                message["data"]["mentions"] = mentions
            message |= {"editedAt": now, "editedBy": editor.uid, "updatedAt": now}

        row.change(alter)
        return self._message_action(row, "edited", editor, note)

    def delete(self, message_id: int | str, *, by: str | None = None, note: Note = UNSCRIPTED) -> Row:
        """Mark a message deleted, dropping what it said, and publish the action row; the action row."""
        row, remover = self.find(message_id), self._author(by)
        now = self._stamp(note)

        def alter(message: Json) -> None:
            message["data"] = {"entities": message["data"]["entities"]}
            message |= {"deletedAt": now, "deletedBy": remover.uid, "updatedAt": now}

        row.change(alter)
        return self._message_action(row, "deleted", remover, note)

    def react(self, message_id: int | str, reaction: str) -> Row:
        """Add a reaction; it changes the row and makes no message."""
        row, now = self.find(message_id), int(self.now())

        def alter(message: Json) -> None:
            reactions = message["data"].setdefault("reactions", [])
            known = next((one for one in reactions if one["reaction"] == reaction), None)
            if known is None:
                reactions.append({"reaction": reaction, "count": 1, "reactedByMe": False})
            else:
                known["count"] += 1
            message["updatedAt"] = now

        row.change(alter)
        return row

    def moderate(self, message_id: int | str, status: str) -> Row:
        """Moderation decides about a message (pending, approved, disapproved); it makes no other message."""
        row, now = self.find(message_id), int(self.now())

        def alter(message: Json) -> None:
            message["data"]["moderation"] = {"status": status}
            message["updatedAt"] = now

        row.change(alter)
        return row

    def mark(self, uid: str, conversation_id: str, *, read: bool) -> None:
        """The user has received, or read too, everything in the conversation up to now."""
        now, marks = int(self.now()), self._read if read else self._delivered
        feed = self._by_conversation.get(conversation_id, Feed())
        for row in feed.after(marks.get((uid, conversation_id), 0)):
            if row.receiver == uid and not row.is_malformed:
                row.change(lambda message: message.update(_receipt(message, now, read=read)))
            marks[uid, conversation_id] = row.id

    # -- calls --------------------------------------------------------------------------------------

    def start_call(
        self,
        caller: str,
        receiver: str,
        *,
        receiver_type: str = "user",
        type_: str = "audio",
        metadata: dict[str, Any] | None = None,
        note: Note = UNSCRIPTED,
    ) -> tuple[Call, Row]:
        sender = self.user(caller)
        if receiver_type == "user" and self.user(receiver).uid == sender.uid:
            raise call_refused("ERR_CALLING_SELF", "A user cannot call themselves.")
        if type_ not in ("audio", "video"):
            raise bad_request(type="The selected type is invalid.")
        now = self._stamp(note)
        call = Call(
            session_id=f"{now:010d}{self._hex(40)}",
            type=type_,
            caller=sender.uid,
            receiver=receiver.lower(),
            receiver_type=receiver_type,
            conversation_id=self._conversation(sender.uid, receiver, receiver_type),
            initiated_at=now,
            joined_at=now,
            joined={sender.uid},
            secret=self._hex(40),
            service=self._hex(15),
            metadata=metadata,
        )
        row = self._call_row(call, by=sender, note=note)
        if len(self.calls) >= MAX_CALLS:
            del self.calls[next(iter(self.calls))]
        self.calls[call.session_id] = call
        return call, row

    def change_call(
        self,
        session_id: str,
        status: str,
        *,
        by: str | None = None,
        type_: str | None = None,
        note: Note = UNSCRIPTED,
    ) -> Row:
        """Move a call on and publish the row of the change."""
        if status not in STATUSES:
            raise bad_request(status="The selected status is invalid.")
        call = self.calls.get(session_id)
        if call is None:
            raise call_refused(
                "ERR_CALL_SESSION_NOT_FOUND", f"The call with session id {session_id} does not exist."
            )
        actor = self.user(by or call.default_actor(status))
        if call.receiver_type == "group" and actor.uid not in self.group(call.receiver).members:
            raise call_refused(
                "ERR_CALL_NOT_A_PART", f"The user with UID {actor.uid} is not part of the call."
            )
        call.move(status, by=actor.uid, now=self._stamp(note))
        call.type = type_ or call.type
        return self._call_row(call, by=actor, note=note)

    # -- lists --------------------------------------------------------------------------------------

    def list_of_user(self, uid: str, *, peer: str | None = None) -> list[Feed]:
        """What GET /users/{uid}/messages reads: the user's conversations, or the one with `peer`."""
        user = self.user(uid)
        if peer is not None:
            return [self._by_conversation.get(conversation_of(user.uid, self.user(peer).uid), Feed())]
        if self.options.group_rows_in_user_list:
            return self.list_of_all(user.uid)
        return [self._by_user.get(user.uid, Feed())]

    def list_of_group(self, guid: str) -> list[Feed]:
        return [self._by_conversation.get(self.group(guid).conversation_id, Feed())]

    def list_of_all(self, uid: str | None) -> list[Feed]:
        """What GET /messages reads: everything, or all conversations of one user with his groups."""
        if uid is None:
            return [self._all]
        user = self.user(uid)
        groups = [group.conversation_id for group in self.groups.values() if user.uid in group.members]
        own = self._by_user.get(user.uid, Feed())
        return [own, *(self._by_conversation[key] for key in groups if key in self._by_conversation)]

    def read_up_to(self, uid: str, conversation_id: str) -> int:
        return self._read.get((uid, conversation_id), 0)

    def delivered_up_to(self, uid: str, conversation_id: str) -> int:
        return max(self._delivered.get((uid, conversation_id), 0), self.read_up_to(uid, conversation_id))

    def is_visible(self, row: Row) -> bool:
        return row.visible_at <= self.clock()

    def __len__(self) -> int:
        """How many messages are kept."""
        return len(self._all)

    # -- the making of rows -------------------------------------------------------------------------

    def _publish(
        self,
        *,
        conversation: str,
        sender: str,
        receiver: str,
        receiver_type: str,
        category: str,
        type_: str,
        content: Json,
        note: Note,
        users: Sequence[str] | None = None,
        tags: tuple[str, ...] = (),
        muid: str | None = None,
        parent_id: int | None = None,
        session: str | None = None,
    ) -> Row:
        both = tuple(users or (sender, receiver)) if receiver_type == "user" else ()
        message = envelope(
            message_id=0,
            conversation_id=conversation,
            sender=sender,
            receiver=receiver,
            receiver_type=receiver_type,
            category=category,
            type_=type_,
            content=content,
            sent_at=self._stamp(note),
            muid=muid,
            parent_id=parent_id,
        )
        if self.faults.draw("malformed-row", *both, sender):
            self.add_malformed(message, users=both)
        late = self.faults.draw("late-visible", *both, sender)
        row = Row(
            id=self._next_id(),
            visible_at=self.clock() + note.visible_after + (late.seconds_or(LATE_S) if late else 0),
            tags=tags,
        )
        row.index(message | {"id": str(row.id)})
        self._file(row, both)
        self.truth.append(
            made(
                row,
                users=both,
                action=content.get("action"),
                session=session,
                label=note.label,
                expect=note.expect,
            )
        )
        return row

    def add_malformed(self, message: Json, *, users: tuple[str, ...], way: str | None = None) -> Row:
        """File a malformed variant of `message` under an id of its own; `way` is one of rows.SPOILED."""
        way = way or self.random.choice(list(SPOILED))
        row = Row(id=self._next_id(), visible_at=self.clock())
        whole = message | {"id": str(row.id)}
        row.index(whole)
        row.body = encode(SPOILED[way](whole))
        row.is_malformed = True
        self._file(row, users)
        self.truth.append(
            made(row, users=users, action=None, session=None, label=f"malformed: {way}", expect=())
        )
        return row

    def _file(self, row: Row, users: tuple[str, ...]) -> None:
        if len(self._all) >= self.options.keep:
            self._forget(self.options.keep // 10 + 1)
        self._all.add(row)
        self._by_conversation.setdefault(row.conversation_id, Feed()).add(row)
        for uid in dict.fromkeys(users):
            self._by_user.setdefault(uid, Feed()).add(row)

    def _forget(self, count: int) -> None:
        oldest = self._all.forget_oldest(count)
        floor = oldest if oldest is not None else self._last_id + 1
        for feed in (*self._by_user.values(), *self._by_conversation.values()):
            feed.forget_below(floor)

    def _next_id(self) -> int:
        # Ids are shared by everything in the app, so one user's list always has gaps.
        self._last_id += self.random.choice((1, 1, 1, 2, 2, 5))
        return self._last_id

    def _call_row(self, call: Call, *, by: User, note: Note) -> Row:
        receiver = call.receiver
        if call.receiver_type == "user" and by.uid == call.receiver:
            receiver = call.caller  # the person called changed it: the row goes to the caller
        people = {
            "sender": wrapped(self.users[call.caller].entity(), "user"),
            "receiver": self._receiver(call.caller, call.receiver, call.receiver_type),
        }
        content: Json = {
            "action": call.status,
            "entities": {
                "by": wrapped(by.entity(), "user"),
                "on": wrapped(call.entity(people), "call"),
                "for": self._receiver(by.uid, receiver, call.receiver_type),
            },
        }
        return self._publish(
            conversation=call.conversation_id,
            sender=by.uid,
            receiver=receiver,
            receiver_type=call.receiver_type,
            category="call",
            type_=call.type,
            content=content,
            note=note,
            session=call.session_id,
        )

    def _message_action(self, row: Row, action: str, actor: User, note: Note) -> Row:
        original = row.message()
        known = original["data"]["entities"]
        ends = (row.sender, row.receiver)
        content: Json = {
            "action": action,
            "entities": {
                "by": wrapped(actor.entity(), "user"),
                "for": known.get("receiver") or known["for"],
                "on": wrapped(original, "message"),
            },
        }
        return self._publish(
            conversation=row.conversation_id,
            sender=actor.uid,
            receiver=row.receiver,
            receiver_type=row.receiver_type,
            category="action",
            type_="message",
            content=content,
            users=ends,
            note=note,
        )

    def _member_action(self, group: Group, user: User, action: str, by: str | None) -> Row:
        actor = self._author(by)
        content: Json = {
            "action": action,
            "entities": {
                "by": wrapped(actor.entity(), "user"),
                "on": wrapped(user.entity(), "user"),
                "for": wrapped(group.entity(), "group"),
            },
        }
        return self._publish(
            conversation=group.conversation_id,
            sender=actor.uid,
            receiver=group.guid,
            receiver_type="group",
            category="action",
            type_="groupMember",
            content=content,
            note=UNSCRIPTED,
        )

    def _author(self, uid: str | None) -> User:
        if uid is None or uid == APP_SYSTEM:
            return User(uid=APP_SYSTEM, name="System", status="available")
        return self.user(uid)

    def _receiver(self, sender: str, receiver: str, receiver_type: str) -> Json:
        if receiver_type == "group":
            return wrapped(self.group(receiver).entity(), "group")
        user = self.user(receiver)
        return wrapped(user.entity(conversation_of(sender, user.uid)), "user")

    def _conversation(self, sender: str, receiver: str, receiver_type: str) -> str:
        if receiver_type == "user":
            return conversation_of(sender, self.user(receiver).uid)
        if receiver_type != "group":
            raise bad_request(receiverType="The selected receiverType is invalid.")
        group = self.group(receiver)
        if sender != APP_SYSTEM and sender not in group.members:
            raise not_a_member(sender, group.guid)
        return group.conversation_id

    def _mentions(self, text: object, conversation_id: str) -> Json:
        """The mentions object, keyed by uid: known users only, ten at most as documented."""
        named = mentioned_in(text) if isinstance(text, str) else ()
        known = [self.users[uid] for uid in named if uid in self.users]
        return {user.uid: user.entity(conversation_id) for user in known[:MAX_MENTIONS]}

    def _count_reply(self, parent_id: int) -> None:
        def alter(message: Json) -> None:
            message["replyCount"] = message.get("replyCount", 0) + 1

        self.find(parent_id).change(alter)

    def _stamp(self, note: Note) -> int:
        return note.sent_at if note.sent_at is not None else int(self.now())

    def _hex(self, digits: int) -> str:
        return f"{self.random.getrandbits(4 * digits):0{digits}x}"


def _receipt(message: Json, now: int, *, read: bool) -> Json:
    receipt = {"deliveredAt": message.get("deliveredAt", now), "updatedAt": now}
    return receipt | {"readAt": now} if read else receipt
