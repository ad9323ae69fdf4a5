"""Which lists are read, where each is, and which of them carry a row. Pure.

A list is what one poll reads: a user's (its id is the uid), the whole app's (`@app`) or a group's
(`@group:GUID`). No uid holds an `@`, so the ids can't collide.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from monitor.source.client import Endpoint
from rules.model import ListId, Message, WatchSet

APP: Final = ListId("@app")
GROUP: Final = "@group:"

SOURCES: Final = ("user", "user-all", "app", "groups")
"""The words of `watch.source`."""

ONE_FOR_ALL: Final = "app"


def group_list(guid: str) -> ListId:
    """The list of a group. Guids are compared as they are written in the settings."""
    return ListId(f"{GROUP}{guid}")


def guid_of(list_id: ListId) -> str:
    """Whose list it is, of a group's."""
    return list_id.removeprefix(GROUP)


def is_person(list_id: ListId) -> bool:
    """Whether it is a user's own list."""
    return not list_id.startswith("@")


def list_called(text: str) -> ListId:
    """What a person calls a list: a uid, whose case does not matter, or `@app`, `@group:GUID`."""
    return ListId(text if text.startswith("@") else text.lower())


def place_of(list_id: ListId, source: str) -> tuple[Endpoint, str]:
    """Where the list is read, and whose it is there: a uid, a guid, or nobody's ("") for the whole app."""
    if list_id == APP:
        return Endpoint.APP, ""
    if list_id.startswith(GROUP):
        return Endpoint.GROUP, guid_of(list_id)
    return (Endpoint.USER_ALL if source == "user-all" else Endpoint.USER), list_id


def lists_of(source: str, uids: Iterable[str], groups: Iterable[str]) -> tuple[ListId, ...]:
    """The lists to read, each once. The app's list holds the groups' rows, so it is read alone."""
    if source == ONE_FOR_ALL:
        return (APP,)
    people = () if source == "groups" else map(ListId, uids)
    return tuple(dict.fromkeys((*people, *map(group_list, groups))))


def concerns(message: Message, watch: WatchSet, groups: Collection[str]) -> bool:
    """Whether a row of the app's list is ours: a watched user has part in it, or its group is watched.

    Who is in a group is not known. So a group's row is ours if the group is in `groups`, or if the row names
    a watched user: as sender, caller, mentioned, or as the one it is about.
    """
    named = (*message.participants, *message.mentions)
    if any(uid in watch for uid in named) or (message.subject and message.subject.id.lower() in watch):
        return True
    return message.receiver_type == "group" and message.receiver.id in groups
