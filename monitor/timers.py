"""The pending questions of the rules, judged by watermarks: never by our own clock alone.

The store holds the truth; this is the running process's view of it, changed only after a commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from rules.model import StateKey, Tick, Timer, UserId


class Timers:
    """Pending timers by key, and by the users whose lists can answer them."""

    def __init__(self, pending: Iterable[Timer] = ()) -> None:
        self._pending: dict[StateKey, Timer] = {}
        self._by_user: dict[UserId, set[StateKey]] = {}
        self.apply(pending, ())

    def __len__(self) -> int:
        return len(self._pending)

    def __iter__(self) -> Iterator[StateKey]:
        return iter(self._pending)

    def apply(self, started: Iterable[Timer], cancelled: Iterable[StateKey]) -> None:
        """Take over what a commit made durable; a timer replaces the one of the same key."""
        for key in cancelled:
            self._forget(key)
        for timer in started:
            self._forget(timer.key)
            self._pending[timer.key] = timer
            for uid in timer.lists:
                self._by_user.setdefault(uid, set()).add(timer.key)

    def reset(self, pending: Iterable[Timer]) -> None:
        """Begin anew with what the store holds, after rules or users were closed."""
        self._pending.clear()
        self._by_user.clear()
        self.apply(pending, ())

    def due(self, uid: UserId, watermark: datetime) -> tuple[Tick, ...]:
        """The timers that this user's list, read up to `watermark`, has answered by silence."""
        return _ripe((self._pending[key] for key in self._by_user.get(uid, ())), watermark)

    def ripe(self, watermark: datetime) -> tuple[Tick, ...]:
        """The timers that are due when every list was read up to `watermark`, as in a recording."""
        return _ripe(self._pending.values(), watermark)

    def next_due(self, uid: UserId) -> datetime | None:
        """The event time of the user's earliest pending timer."""
        return min((self._pending[key].due for key in self._by_user.get(uid, ())), default=None)

    def stranded(self, is_readable: Callable[[UserId], bool]) -> tuple[Timer, ...]:
        """The timers that nobody's list can answer any more."""
        return tuple(timer for timer in self._pending.values() if not any(map(is_readable, timer.lists)))

    def _forget(self, key: StateKey) -> None:
        if timer := self._pending.pop(key, None):
            for uid in timer.lists:
                self._by_user[uid].discard(key)
                if not self._by_user[uid]:
                    del self._by_user[uid]


def _ripe(timers: Iterable[Timer], watermark: datetime) -> tuple[Tick, ...]:
    due = sorted((t for t in timers if t.due < watermark), key=lambda t: (t.due, t.key))
    return tuple(Tick(key=timer.key, due=timer.due) for timer in due)
