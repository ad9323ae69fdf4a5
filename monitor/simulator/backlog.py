"""A crowd and its history, for measuring: many users, many messages, made in no time."""

from __future__ import annotations

from random import Random
from typing import Final

from monitor.simulator.world import Note, World

BEGINS_S: Final = 86_400  # a day ago
ENDS_S: Final = 10_800  # before any scenario's own history, so that ids and times rise together


def populate(world: World, *, users: int, backlog: int, seed: int = 0) -> None:
    """Add `user1` to `userN`, and `backlog` texts among them, spread evenly over the last day.

    Raises ValueError if there is a backlog and nobody to talk.
    """
    if backlog and users < 2:
        raise ValueError("a backlog needs people to talk: at least 2 users")
    uids = [world.add_user(f"user{number}", f"User {number}").uid for number in range(1, users + 1)]
    random, now = Random(f"{seed}:backlog"), int(world.now())
    for number in range(backlog):
        sender, receiver = random.sample(uids, 2)
        sent_at = now - BEGINS_S + number * (BEGINS_S - ENDS_S) // backlog
        note = Note(sent_at=sent_at, expect=())
        world.send(sender, receiver, content={"text": f"Backlog message {number}"}, note=note)
