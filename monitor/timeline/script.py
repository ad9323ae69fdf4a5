"""The timeline's own world: a simulated CometChat in which the entries happen, and its lists as pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, assert_never

from monitor.drain import Ask, Direction
from monitor.lists import GROUP, guid_of, is_person
from monitor.simulator.feed import Feed, page
from monitor.simulator.rows import Row, encode
from monitor.simulator.world import Note, World
from monitor.source.pages import Decoded, decode
from monitor.timeline.cast import groups, people
from monitor.timeline.model import CallBecomes, Delete, Edit, Member, Person, Ring, Say, Test
from rules.model import APP_SYSTEM, ListId, MessageId

Happening = Say | Ring | CallBecomes | Edit | Delete | Member


class Script:
    """The people of one test, what they said so far, and by which names the test knows that.

    `now` is the time of CometChat. `play` raises Refusal where CometChat would refuse.
    """

    def __init__(self, test: Test, *, now: Callable[[], datetime]) -> None:
        self._now = now
        self._source = test.setting.source
        self._world = World(api_key="", clock=lambda: now().timestamp())
        self._messages: dict[str, int] = {}  #: the test's name -> id
        self._calls: dict[str, str] = {}  #: the test's name -> session
        self._names: dict[int, str] = {}  #: id -> the test's name, of calls too
        for uid in people(test):
            self._add(uid, test.setting.users.get(uid, Person()))
        for guid, members in groups(test).items():
            self._world.add_group(guid, members=members)

    def _add(self, uid: str, person: Person) -> None:
        self._world.add_user(uid, person.name, role=person.role, tags=person.tags)

    def name_of(self, message: MessageId) -> str | None:
        """What the test calls a message, or the call that it tells of."""
        return self._names.get(message)

    # --- what happens ------------------------------------------------------------------------------------

    def play(self, happening: Happening) -> datetime:
        """Let it happen; returns when lists show it."""
        match happening:
            case Say():
                row = self._say(happening)
            case Ring():
                row = self._ring(happening)
            case CallBecomes(call=call, status=status, by=by):
                row = self._note(self._world.change_call(self._calls[call], status, by=by), call)
            case Edit(message=message, text=text, by=by):
                row = self._world.edit(
                    self._messages[message.text], {"text": text}, by=by or self._author(message.text)
                )
            case Delete(message=message, by=by):
                row = self._world.delete(self._messages[message.text], by=by or self._author(message.text))
            case Member():
                row = self._move(happening)
            case _:
                assert_never(happening)
        return datetime.fromtimestamp(row.visible_at, self._now().tzinfo)

    def _author(self, name: str) -> str | None:
        sender = self._world.find(self._messages[name]).sender
        return None if sender == APP_SYSTEM else sender

    def _say(self, said: Say) -> Row:
        content: dict[str, Any] = {} if said.text is None else {"text": said.text}
        if said.attachments:
            content["attachments"] = [dict(file) for file in said.attachments]
        if said.metadata is not None:
            content["metadata"] = dict(said.metadata)
        if said.custom is not None:
            content["customData"] = dict(said.custom)
        row = self._world.send(
            None if said.sender == APP_SYSTEM else said.sender,
            said.to,
            content=content,
            receiver_type="group" if said.is_group else "user",
            category=said.category,
            type_=said.type,
            tags=said.tags,
            parent_id=self._messages[said.thread.text] if said.thread else None,
            note=self._when(said),
        )
        if said.raw:
            row.change(lambda message: lay_over(message, said.raw))
        if said.id is not None:
            self._messages[said.id] = row.id
        return self._note(row, said.id)

    def _when(self, said: Say) -> Note:
        sent_at = int((self._now() - abs(said.sent)).timestamp()) if said.sent else None
        return Note(sent_at=sent_at, visible_after=said.late.total_seconds())

    def _ring(self, ring: Ring) -> Row:
        kind = "group" if ring.is_group else "user"
        call, row = self._world.start_call(ring.caller, ring.to, receiver_type=kind, type_=ring.type)
        self._calls[ring.id] = call.session_id
        return self._note(row, ring.id)

    def _move(self, move: Member) -> Row:
        if move.joins:
            return self._world.add_member(move.group, move.user, by=move.by or move.user)
        return self._world.remove_member(move.group, move.user, by=move.by or move.user)

    def _note(self, row: Row, name: str | None) -> Row:
        if name is not None:
            self._names[row.id] = name
        return row

    # --- what lists show ---------------------------------------------------------------------------------

    def answer(self, list_id: ListId, asked: Ask) -> Decoded:
        """What CometChat answers to `asked` now, decoded."""
        rows, _ = page(
            self._feeds(list_id),
            forward=asked.direction is Direction.APPEND,
            cursor=asked.id,
            size=asked.size,
            tests=[self._world.is_visible],
        )
        meta = encode({"pagination": {"per_page": asked.size}})
        return decode(b'{"data":[%b],"meta":%b}' % (b",".join(map(_body, rows)), meta))

    def _feeds(self, list_id: ListId) -> list[Feed]:
        if list_id.startswith(GROUP):
            return self._world.list_of_group(guid_of(list_id))
        if not is_person(list_id):
            return self._world.list_of_all(None)
        if self._source == "user-all":
            return self._world.list_of_all(list_id)
        return self._world.list_of_user(list_id)


def _body(row: Row) -> bytes:
    return encode(row.message()) if row.tags else row.body


def lay_over(row: dict[str, Any], raw: Mapping[str, Any]) -> None:
    """Lay `raw` over a row: mappings are merged, all else takes the place of what was there."""
    for key, value in raw.items():
        below = row.get(key)
        if isinstance(value, Mapping) and isinstance(below, dict):
            lay_over(below, value)
        else:
            row[key] = value


def since(start: datetime, moment: datetime) -> float:
    """Seconds from the start of a test."""
    return (moment - start) / timedelta(seconds=1)
