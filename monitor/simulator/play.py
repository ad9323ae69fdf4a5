"""Performing a scenario in a world, in step with its clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, assert_never

from monitor.simulator.people import conversation_of
from monitor.simulator.refusals import Refusal
from monitor.simulator.rows import envelope
from monitor.simulator.script import (
    Action,
    Calm,
    Change,
    Delete,
    Edit,
    Ring,
    Say,
    Scenario,
    Spoil,
    Trouble,
)
from monitor.simulator.world import Note, World

MAX_SESSIONS: Final = 10_000  # calls of a script that may still change; an endless script must not grow


async def play(
    world: World,
    scenario: Scenario,
    sleep: Callable[[float], Awaitable[object]],
    *,
    refused: Callable[[Action, Refusal], None] | None = None,
) -> None:
    """Perform every action at its time, counted from now on the world's clock; history comes first, at once.

    `refused` is told of an action that the world no longer allows (somebody hung up the scripted call by
    hand) and the play goes on; without it the Refusal is raised. Cancelling stops between two actions.
    """
    stage = Stage(world, scenario)
    for action in scenario.actions():
        wait = stage.started_at + action.at - world.clock()
        if wait > 0:
            await sleep(wait)
        try:
            stage.perform(action)
        except Refusal as refusal:
            if refused is None:
                raise
            refused(action, refusal)


class Stage:
    """A scenario's users and groups in a world, and the ids behind the script's labels."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        self._world = world
        self._sessions: dict[str, str] = {}
        self._messages: dict[str, int] = {}
        self.started_at = world.clock()
        for uid, name in scenario.users.items():
            if uid not in world.users:
                world.add_user(
                    uid, name, avatar=f"https://data-us.cometchat.io/assets/images/avatars/{uid}.png"
                )
        for guid, members in scenario.groups.items():
            if guid not in world.groups:
                world.add_group(guid, guid.capitalize(), members=members, owner=members[0])

    def perform(self, action: Action) -> None:
        """Do it now, whatever its time. Raises Refusal if the world does not allow it."""
        note = self._note(action)
        world = self._world
        match action:
            case Say():
                self._messages[action.label] = self._say(action, note)
            case Ring():
                call, _ = world.start_call(
                    action.caller, action.to, receiver_type=_kind(action), type_=action.type, note=note
                )
                if len(self._sessions) >= MAX_SESSIONS:
                    del self._sessions[next(iter(self._sessions))]
                self._sessions[action.label] = call.session_id
            case Change():
                session = self._sessions[action.call]
                world.change_call(session, action.status, by=action.by, type_=action.type, note=note)
            case Edit():
                world.edit(self._messages[action.of], {"text": action.text}, by=action.by, note=note)
            case Delete():
                world.delete(self._messages[action.of], by=action.by, note=note)
            case Spoil():
                self._spoil(action)
            case Trouble():
                world.faults.add(action.fault)
            case Calm():
                world.faults.clear(action.kind)
            case Action():
                raise TypeError(f"a bare Action does nothing: {action}")
            case _:
                assert_never(action)

    def _say(self, action: Say, note: Note) -> int:
        parent = self._messages[action.reply_to] if action.reply_to else None
        row = self._world.send(
            action.sender,
            action.to,
            content=action.content,
            receiver_type=_kind(action),
            category=action.category,
            type_=action.type,
            tags=action.tags,
            parent_id=parent,
            note=note,
        )
        return row.id

    def _spoil(self, action: Spoil) -> None:
        world = self._world
        sender, receiver = world.user(action.sender), world.user(action.to)
        message = envelope(
            message_id=0,
            conversation_id=conversation_of(sender.uid, receiver.uid),
            sender=sender.uid,
            receiver=receiver.uid,
            receiver_type="user",
            category="message",
            type_="text",
            content={"text": "this row is spoiled", "entities": {}},
            sent_at=int(world.now()),
        )
        world.add_malformed(message, users=(sender.uid, receiver.uid), way=action.way)

    def _note(self, action: Action) -> Note:
        history = int(self.started_at + action.at) if action.at < 0 else None
        return Note(
            label=action.label, expect=action.expect, visible_after=action.visible_after, sent_at=history
        )


def _kind(action: Say | Ring) -> str:
    return "group" if action.is_group else "user"
