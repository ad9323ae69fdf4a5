"""Who takes part in a test, and who is watched if the test does not say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from monitor.simulator.rows import mentioned_in
from monitor.timeline.model import CallBecomes, Delete, Edit, Member, Reload, Ring, Say, Test
from rules.model import APP_SYSTEM, UserId, WatchSet


def people(test: Test) -> tuple[str, ...]:
    """Every uid that the test names, each once."""
    return tuple(dict.fromkeys(uid for uid in _named(test) if uid and uid != APP_SYSTEM))


def groups(test: Test) -> Mapping[str, tuple[str, ...]]:
    """The groups with their members at the start: everybody, where the test does not say.

    Who is to join is not there yet.
    """
    named = dict(test.setting.groups)
    missing = dict.fromkeys(guid for guid in _groups(test) if guid not in named)
    coming = {
        (move.group, move.user)
        for entry in test.timeline
        if isinstance(move := entry.action, Member) and move.joins
    }
    everybody = people(test) if missing else ()
    return named | {guid: tuple(uid for uid in everybody if (guid, uid) not in coming) for guid in missing}


def _groups(test: Test) -> Iterator[str]:
    for entry in test.timeline:
        match entry.action:
            case Say(to=guid, is_group=True) | Ring(to=guid, is_group=True) | Member(group=guid):
                yield guid


def watched(test: Test) -> WatchSet:
    """Who is watched: as the test says, else the receiving side.

    That is who is called or written to by somebody whom they did not write to before, and who is
    mentioned; if there is nobody of the kind, everybody.
    """
    if test.setting.watch is not None:
        return test.setting.watch
    asked: dict[str, None] = {}
    spoken: set[tuple[str, str]] = set()
    for entry in test.timeline:
        match entry.action:
            case Say(sender=sender, to=to, is_group=False) | Ring(caller=sender, to=to, is_group=False):
                if (to, sender) not in spoken:
                    asked[to] = None
                spoken.add((sender, to))
        if isinstance(entry.action, Say):
            asked |= dict.fromkeys(mentioned_in(entry.action.text or ""))
    return {UserId(uid): {} for uid in asked or people(test)}


def _named(test: Test) -> Iterator[str]:
    setting = test.setting
    yield from setting.users
    yield from setting.watch or ()
    for members in setting.groups.values():
        yield from members
    for entry in test.timeline:
        yield from _in(entry.action)


def _in(action: object) -> Iterable[str]:
    match action:
        case Say(sender=sender, to=to, is_group=is_group, text=text):
            return (sender, *(() if is_group else (to,)), *mentioned_in(text or ""))
        case Ring(caller=caller, to=to, is_group=is_group):
            return (caller,) if is_group else (caller, to)
        case CallBecomes(by=by) | Delete(by=by):
            return (by or "",)
        case Edit(by=by, text=text):
            return (by or "", *mentioned_in(text))
        case Member(user=user, by=by):
            return (user, by or "")
        case Reload(watch=watch):
            return tuple(watch or ())
    return ()
