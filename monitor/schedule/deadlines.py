"""Which list must be polled now so that every promise of staleness is kept, and none much sooner than needed.

Whoever waits until a deadline has come is late when many come together: of n lists polled in one burst the
last would be n polls late. So what is behind a deadline counts too. Of the lists with one promise, in the
order of their deadlines, the first must be polled by

    min over k of (deadline_k - (k - 1) · pace),      pace = promise / lists · Σ (1 / promise) / lane,

where `lane` polls a second go to deadlines and each promise has its proportional part of them. While lists
are spread evenly the first deadline is the least of these, and nothing is polled before its time.
"""

from __future__ import annotations

import math
from typing import Final

from monitor.schedule.agenda import Agenda
from monitor.schedule.promises import DEADLINE_SHARE, Promises

GRAIN: Final = 64  # deadlines of a group are counted in such parts of its promise; so exact is a promise
NEAR: Final = math.log(1.02)  # promises that differ by less are one group's
TIMERS: Final = 0.5  # of the lane, as long as promises wait too


class Deadlines:
    """The promises of all lists, and whose turn comes by them.

    `now` is monotonic seconds; a promise is in seconds, or None: auto. A list that is counted waits here from
    `put` to `drop`, between its polls.
    """

    def __init__(self, *, min_interval: float, rate: float) -> None:
        self._min_interval = min_interval
        self._rate = rate
        self._promises = Promises()
        self._auto = 0.0
        self._groups: dict[int | None, _Group] = {}
        self._timers = _Pace()
        self._moments = Agenda()  # of timers
        self.stretch = 1.0  #: what all promises are multiplied by, so that the budget can keep them

    # --- what is promised ----------------------------------------------------------------------------------

    def count(self, promise: float | None, lists: int) -> None:
        """So many more lists have that promise, or fewer. `settle` must follow before anything else."""
        self._promises.count(promise, lists)
        key = _key(promise)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(promise)
        group.lists += lists
        if promise is not None:
            group.wished = min(promise, group.wished or math.inf)
        if not group.lists:
            del self._groups[key]

    def settle(self, rate: float) -> None:
        """Work out what `rate` requests a second can keep; as cheap as the different promises are few."""
        self._rate = rate
        self._auto, self.stretch = self._promises.auto(rate), self._promises.stretch(rate)
        groups, lane = self._groups.values(), DEADLINE_SHARE * rate
        self._timers.pace = 1 / (TIMERS * lane)
        for group in groups:
            group.promise = self.promise(group.wished)
        load = min(1.0, sum(group.lists / group.promise for group in groups) / lane)
        for group in groups:
            group.settle(load)

    def promise(self, wished: float | None) -> float:
        """The promise in force, in seconds."""
        return max(self._min_interval, self.stretch * (self._auto if wished is None else wished))

    def pace(self, wished: float | None) -> float:
        """Seconds between two polls by this promise, when deadlines are all that there is."""
        return self._groups[_key(wished)].pace

    # --- who waits -----------------------------------------------------------------------------------------

    def put(self, uid: str, wished: float | None, *, polled_at: float, timer: float = math.inf) -> None:
        """The list was last polled at `polled_at`, and somebody expects it to be by the moment of `timer`."""
        self._groups[_key(wished)].put(uid, polled_at)
        if timer < math.inf:
            self._moments.put(uid, timer)
        else:
            self._moments.drop(uid)

    def drop(self, uid: str, wished: float | None) -> None:
        """The list is polled, or may not be."""
        self._groups[_key(wished)].drop(uid)
        self._moments.drop(uid)

    def take(self, now: float) -> str | None:
        """Who must be polled now, if anybody; it is up to the caller to drop it.

        The most urgent promise is first, unless it used its part of the slots: after an outage everything is
        overdue, and the lists with long promises must not hold up those with short ones.
        """
        # Each group may have to wait for a turn of all the others.
        horizon = now + len(self._groups) / (DEADLINE_SHARE * self._rate)
        due = [group for group in self._groups.values() if group.is_due(horizon)]
        first = min(due, key=lambda group: (group.paced > now, group.start_by), default=None)
        if self._moments.first() <= now and (first is None or self._timers.paced <= now):
            self._timers.spend(now)
            return self._moments.top()
        if first is None:
            return None
        first.spend(now)
        return first.waiting.top()

    def overdue(self, now: float) -> int:
        """How many lists wait longer than was promised, to the 64th part of their promise."""
        return sum(group.overdue(now) for group in self._groups.values())


class _Pace:
    """A right to one turn every `pace` seconds. What is not used is lost, and what others left is free."""

    def __init__(self) -> None:
        self.pace = 0.0
        self.paced = -math.inf

    def spend(self, now: float) -> None:
        self.paced = min(max(self.paced, now - self.pace), now) + self.pace


class _Group(_Pace):
    """The lists with one promise; those waiting, and how many of them were polled in each grain of time."""

    def __init__(self, wished: float | None) -> None:
        super().__init__()
        self.wished = wished
        self.lists = 0
        self.promise = math.inf
        self.start_by = math.inf  # when the first must be polled, or earlier
        self.waiting = Agenda()  # by when they were polled
        self._grain = 0.0
        self._counts: dict[int, int] = {}
        self._newest = -math.inf

    def settle(self, load: float) -> None:
        self.pace = self.promise / self.lists * load
        self.start_by = -math.inf
        if not GRAIN / 2 < self.promise / (self._grain or math.inf) < GRAIN * 2:
            self._grain = self.promise / GRAIN
            self._counts.clear()
            for polled_at in self.waiting.numbers():
                self._tally(polled_at, 1)

    def put(self, uid: str, polled_at: float) -> None:
        self.drop(uid)
        self.waiting.put(uid, polled_at)
        self._tally(polled_at, 1)
        if polled_at < self._newest - self._grain:  # it is before others
            self.start_by = -math.inf
        else:
            self._newest = max(self._newest, polled_at)
            self.start_by = min(self.start_by, polled_at + self.promise - len(self.waiting) * self.pace)

    def drop(self, uid: str) -> None:
        polled_at = self.waiting.drop(uid)
        if polled_at is not None:
            self._tally(polled_at, -1)

    def is_due(self, horizon: float) -> bool:
        if self.start_by > horizon or not self.waiting:
            return False
        self.start_by = self._latest_start()
        return self.start_by <= horizon

    def overdue(self, now: float) -> int:
        latest = (now - self.promise) / self._grain - 1
        return sum(lists for grain, lists in self._counts.items() if grain <= latest)

    def _latest_start(self) -> float:
        start = self.waiting.first() + self.promise
        before = -1
        for grain in sorted(self._counts):
            before += self._counts[grain]
            start = min(start, (grain + 1) * self._grain + self.promise - before * self.pace)
        return start

    def _tally(self, polled_at: float, lists: int) -> None:
        grain = math.floor(polled_at / self._grain)
        left = self._counts.get(grain, 0) + lists
        if left:
            self._counts[grain] = left
        else:
            del self._counts[grain]


def _key(promise: float | None) -> int | None:
    return None if promise is None else math.floor(math.log(promise) / NEAR)
