"""Whose turn it is: a heap of due times, a queue of catch-ups, and nobody polled twice at once.

`now` is monotonic seconds throughout. The interval comes from a policy, so that a cleverer one can
take its place without a change here.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Protocol

JITTER = 0.05


class IntervalPolicy(Protocol):
    """How long a user may be left alone."""

    def after_poll(self, uid: str, *, found: int, now: float) -> float:
        """Seconds until the user should be polled again, after a poll that found `found` new messages."""

    def resize(self, users: int) -> None:
        """The number of watched users changed."""


class EvenIntervals:
    """Everybody alike: as often as the budget allows, never oftener than `min_interval`."""

    def __init__(self, *, min_interval: float, per_minute: int) -> None:
        self._min_interval = min_interval
        self._per_minute = per_minute
        self.interval = min_interval

    def after_poll(self, uid: str, *, found: int, now: float) -> float:  # noqa: ARG002 - the seam's signature
        return self.interval

    def resize(self, users: int) -> None:
        self.interval = max(self._min_interval, 60.0 * users / self._per_minute)


@dataclass(frozen=True, slots=True)
class Turn:
    """One request for one user. `catch_up` says that it continues a list known to have more rows."""

    uid: str
    catch_up: bool


@dataclass(slots=True)
class _Seat:
    due: float
    version: int = 0
    deadline: float = math.inf
    in_flight: bool = False


class Turns:
    """The order of polls. One request per user is in flight at any time, whatever asked for it."""

    def __init__(self, *, policy: IntervalPolicy, random: Random) -> None:
        self._policy = policy
        self._random = random
        self._seats: dict[str, _Seat] = {}
        self._heap: list[tuple[float, int, str, int]] = []
        self._order = itertools.count()
        self._catch_up: OrderedDict[str, None] = OrderedDict()
        self._catch_up_next = True

    def __len__(self) -> int:
        return len(self._seats)

    def add(self, uids: Iterable[str], now: float) -> None:
        """Seat new users, spread over one interval in random order; the first is due at once."""
        fresh = [uid for uid in dict.fromkeys(uids) if uid not in self._seats]
        self._random.shuffle(fresh)
        self._policy.resize(len(self._seats) + len(fresh))
        for place, uid in enumerate(fresh):
            share = self._policy.after_poll(uid, found=0, now=now) * place / len(fresh)
            self._seats[uid] = _Seat(due=now + share)
            self._push(uid)

    def remove(self, uid: str) -> None:
        """Forget a user; a poll under way ends without a next one."""
        self._seats.pop(uid, None)
        self._catch_up.pop(uid, None)
        self._policy.resize(len(self._seats))

    def expect_by(self, uid: str, at: float) -> None:
        """Poll the user no later than at `at`, because a timer waits for it; infinity withdraws that."""
        if seat := self._seats.get(uid):
            seat.deadline = at
            self._push(uid)

    def wait(self, now: float) -> float:
        """Seconds until somebody's turn; infinity if nobody has one."""
        if self._catch_up:
            return 0.0
        self._drop_stale()
        return max(0.0, self._heap[0][0] - now) if self._heap else math.inf

    def overdue(self, now: float) -> int:
        """How many users wait for a turn that is theirs already. Looks at every user."""
        due = sum(s.due <= now and not s.in_flight for u, s in self._seats.items() if u not in self._catch_up)
        return due + len(self._catch_up)

    def take(self, now: float) -> Turn | None:
        """The next turn, or None before its time. Others waiting, catch-up gets at most every second one."""
        self._drop_stale()
        is_due = bool(self._heap) and self._heap[0][0] <= now
        if self._catch_up and (self._catch_up_next or not is_due):
            uid, _ = self._catch_up.popitem(last=False)
            self._catch_up_next = False
            return self._start(uid, catch_up=True)
        self._catch_up_next = True
        return self._start(heapq.heappop(self._heap)[2], catch_up=False) if is_due else None

    def finished(self, uid: str, *, found: int, more: bool, now: float) -> None:
        """A poll was answered; with `more` rows waiting the user goes on as a catch-up."""
        if seat := self._end(uid):
            seat.due = now + self._jittered(self._policy.after_poll(uid, found=found, now=now))
            if more:
                self._catch_up[uid] = None
            else:
                self._push(uid)

    def failed(self, uid: str, *, retry_in: float, now: float) -> None:
        """A poll was not answered; the user waits `retry_in` seconds, timers or not."""
        if seat := self._end(uid):
            seat.due = now + retry_in
            seat.deadline = math.inf
            self._push(uid)

    def _start(self, uid: str, *, catch_up: bool) -> Turn:
        seat = self._seats[uid]
        seat.in_flight = True
        seat.version += 1
        if not catch_up:
            seat.deadline = math.inf
        return Turn(uid, catch_up)

    def _end(self, uid: str) -> _Seat | None:
        if seat := self._seats.get(uid):
            seat.in_flight = False
        return seat

    def _push(self, uid: str) -> None:
        seat = self._seats[uid]
        seat.version += 1
        if not seat.in_flight and uid not in self._catch_up:
            entry = (min(seat.due, seat.deadline), next(self._order), uid, seat.version)
            heapq.heappush(self._heap, entry)

    def _drop_stale(self) -> None:
        while self._heap:
            _, _, uid, version = self._heap[0]
            seat = self._seats.get(uid)
            if seat is not None and seat.version == version:
                return
            heapq.heappop(self._heap)

    def _jittered(self, seconds: float) -> float:
        return seconds * self._random.uniform(1 - JITTER, 1 + JITTER)


def backoff(failures: int, *, random: Random, first: float = 2.0, most: float = 300.0) -> float:
    """Seconds to leave a failing user alone: doubling from `first` to `most`, half of it random."""
    ceiling = min(most, first * 2.0 ** min(failures - 1, 16))
    return random.uniform(ceiling / 2, ceiling)
