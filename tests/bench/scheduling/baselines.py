"""What ours is measured against: simpler policies, and one that knows the future on average."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Final

from tests.bench.scheduling.course import Course

JITTER: Final = 0.05
PROMISE: Final = 4.0  # intervals of round robin: the longest gap that ours allows by default, and these too


class RoundRobin:
    """One after the other, in an order drawn once."""

    def __init__(self, course: Course, random: Random) -> None:
        order = list(range(course.trace.users))
        random.shuffle(order)
        self._order = deque(order)

    def wait(self, now: float) -> float:
        return 0.0

    def take(self, now: float) -> int:
        return self._order.popleft()

    def finished(self, user: int, *, ages: Sequence[float], more: bool, now: float) -> None:
        if more:
            self._order.appendleft(user)
        else:
            self._order.append(user)


class Strides:
    """Shares of the requests by weight, with ours' first phase, jitter and promise of a longest gap.

    Subclasses say how long a stride is; whose strides are long is read seldom.
    """

    def __init__(self, course: Course, random: Random) -> None:
        users = course.trace.users
        self._random = random
        self._virtual = 0.0
        self._promise = PROMISE * course.interval
        self._versions = [0] * users
        self._deadlines: deque[tuple[float, int, int]] = deque()
        self._is_deadline_next = False
        strides = [self.stride(user, (), course.start) * random.random() for user in range(users)]
        self._heap = [(stride, user, 0) for user, stride in enumerate(strides)]
        heapq.heapify(self._heap)
        phases = sorted((random.random(), user) for user in range(users))
        self._deadlines.extend((course.start + self._promise * phase, user, 0) for phase, user in phases)

    def stride(self, user: int, ages: Sequence[float], now: float) -> float:
        """In virtual time, after a reading that showed these ages."""
        raise NotImplementedError

    def wait(self, now: float) -> float:
        return 0.0

    def take(self, now: float) -> int:
        self._is_deadline_next = not self._is_deadline_next
        user = self._overdue(now) if self._is_deadline_next else None
        return self._nearest() if user is None else user

    def finished(self, user: int, *, ages: Sequence[float], more: bool, now: float) -> None:
        version = self._versions[user] = self._versions[user] + 1
        jitter = self._random.uniform(1 - JITTER, 1 + JITTER)
        stride = self.stride(user, ages, now) * jitter
        heapq.heappush(self._heap, (self._virtual + (0.0 if more else stride), user, version))
        self._deadlines.append((now + self._promise, user, version))

    def _overdue(self, now: float) -> int | None:
        queue = self._deadlines
        while queue and queue[0][2] != self._versions[queue[0][1]]:
            queue.popleft()
        return queue.popleft()[1] if queue and queue[0][0] <= now else None

    def _nearest(self) -> int:
        while True:
            key, user, version = heapq.heappop(self._heap)
            if version == self._versions[user]:
                self._virtual = max(self._virtual, key)
                return user


class Aimd(Strides):
    """An empty reading lengthens the stride by half, a find quarters it."""

    LONGEST: Final = 256.0
    LENGTHEN: Final = 1.5
    SHORTEN: Final = 1 / 4

    def __init__(self, course: Course, random: Random) -> None:
        self._strides = [self.LONGEST] * course.trace.users
        super().__init__(course, random)

    def stride(self, user: int, ages: Sequence[float], now: float) -> float:
        changed = self._strides[user] * (self.SHORTEN if ages else self.LENGTHEN)
        self._strides[user] = min(self.LONGEST, max(1.0, changed))
        return self._strides[user]


class OneAverage(Strides):
    """The square root of one moving average of the rate, over an hour."""

    MEMORY_S: Final = 3600.0
    PRIOR: Final = 1 / 86_400.0  # messages a second of whom nothing is known

    def __init__(self, course: Course, random: Random) -> None:
        self._counts = [self._decayed([course.start - at for at in times]) for times in course.known()]
        self._updated = [course.start] * course.trace.users
        super().__init__(course, random)

    def stride(self, user: int, ages: Sequence[float], now: float) -> float:
        decayed = self._counts[user] * math.exp((self._updated[user] - now) / self.MEMORY_S)
        self._counts[user] = decayed + self._decayed(ages)
        self._updated[user] = now
        return 1 / math.sqrt(self.PRIOR + self._counts[user] / self.MEMORY_S)

    def _decayed(self, ages: Sequence[float]) -> float:
        return sum(math.exp(-age / self.MEMORY_S) for age in ages)


class Oracle(Strides):
    """The square root of the true mean rate of the whole trace, its future included; learns nothing.

    A message counts for the busiest of its members only: found there, it is found.
    """

    def __init__(self, course: Course, random: Random) -> None:
        busy = [len(times) for times in course.trace.lists()]
        credited = [0] * course.trace.users
        for _, members in course.trace.messages:
            credited[max(members, key=busy.__getitem__)] += 1
        self._strides = [1 / math.sqrt(count) if count else math.inf for count in credited]
        super().__init__(course, random)

    def stride(self, user: int, ages: Sequence[float], now: float) -> float:
        return self._strides[user]
