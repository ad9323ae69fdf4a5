"""The pending questions of the rules, judged by watermarks: never by our own clock alone.

The store holds the truth; this is the running process's view of it, changed only after a commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import Final

from rules.model import ListId, StateKey, Tick, Timer

SLACK: Final = 64  # entries that a queue may hold in vain before it is made anew


@dataclass(slots=True)
class Queue:
    """The times that one list is asked for, earliest first. What was changed is passed over."""

    times: dict[StateKey, datetime] = field(default_factory=dict)
    _heap: list[tuple[datetime, StateKey]] = field(default_factory=list)

    def put(self, key: StateKey, due: datetime) -> None:
        self.times[key] = due
        heappush(self._heap, (due, key))
        if len(self._heap) > 2 * len(self.times) + SLACK:
            self._heap = [(due, key) for key, due in self.times.items()]
            heapify(self._heap)

    def first(self) -> datetime | None:
        while self._heap and self.times.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def before(self, moment: datetime) -> list[StateKey]:
        """The keys that are due before `moment`, in order. They stay until they are taken away."""
        found: dict[StateKey, datetime] = {}
        while (due := self.first()) is not None and due < moment:
            found[heappop(self._heap)[1]] = due
            # The same time may have been put in twice: its twin goes too, or it would be met again.
            while self._heap and self._heap[0][1] in found and self._heap[0][0] == found[self._heap[0][1]]:
                heappop(self._heap)
        for key, due in found.items():
            heappush(self._heap, (due, key))
        return list(found)


class Timers:
    """Pending timers by key, and by the lists that can answer them."""

    def __init__(self, pending: Iterable[Timer] = ()) -> None:
        self._pending: dict[StateKey, Timer] = {}
        self._by_list: dict[ListId, Queue] = {}
        self._everywhere = Queue()
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
                self._by_list.setdefault(uid, Queue()).put(timer.key, timer.due)
            if timer.every:
                self._everywhere.put(timer.key, timer.due)

    def reset(self, pending: Iterable[Timer]) -> None:
        """Begin anew with what the store holds, after rules or users were closed."""
        self._pending.clear()
        self._by_list.clear()
        self._everywhere = Queue()
        self.apply(pending, ())

    def due(self, uid: ListId, watermark: datetime) -> tuple[Tick, ...]:
        """The timers that this list, read up to `watermark`, has answered by silence."""
        queue = self._by_list.get(uid)
        return self._ticks(queue.before(watermark)) if queue else ()

    def due_everywhere(self, watermark: datetime) -> tuple[Tick, ...]:
        """The timers answered by the silence of all lists, the least far of which is read to `watermark`."""
        return self._ticks(self._everywhere.before(watermark))

    def next_due(self, uid: ListId) -> datetime | None:
        """The event time of the list's earliest pending timer."""
        queue = self._by_list.get(uid)
        return queue.first() if queue else None

    def next_everywhere(self) -> datetime | None:
        """The event time of the earliest timer that waits for all lists."""
        return self._everywhere.first()

    def first(self) -> datetime | None:
        """The event time of the earliest pending timer of all."""
        return min((timer.due for timer in self._pending.values()), default=None)

    def stranded(self, is_readable: Callable[[ListId], bool]) -> tuple[Timer, ...]:
        """The timers that nobody's list can answer any more."""
        return tuple(
            timer
            for timer in self._pending.values()
            if not timer.every and not any(map(is_readable, timer.lists))
        )

    def _ticks(self, keys: Iterable[StateKey]) -> tuple[Tick, ...]:
        return tuple(Tick(key=key, due=self._pending[key].due) for key in keys)

    def _forget(self, key: StateKey) -> None:
        if timer := self._pending.pop(key, None):
            self._everywhere.times.pop(key, None)
            for uid in timer.lists:
                del self._by_list[uid].times[key]
                if not self._by_list[uid].times:
                    del self._by_list[uid]
