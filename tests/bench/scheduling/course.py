"""A trace read through lists, on a clock that only the requests move."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from monitor.schedule.budget import Budget
from monitor.schedule.traffic import Trace

PAGE: Final = 100  # rows; immaterial for the figures


class Policy(Protocol):
    """Who is read next. Users are numbers; `now` is the second of the trace."""

    def wait(self, now: float) -> float:
        """Seconds until somebody may be read. Asked only after `take` gave nobody."""

    def take(self, now: float) -> int | None:
        """The user whose list is read now."""

    def finished(self, user: int, *, ages: Sequence[float], more: bool, now: float) -> None:
        """The list showed messages of these ages, as the API tells them: in whole seconds."""


@dataclass(frozen=True, slots=True)
class Course:
    """What happens in a run: the messages before `start` are known to everybody and not counted.

    Counted are those sent from `counted_from` to `end`. Nothing is granted during the outage.
    """

    trace: Trace
    per_minute: int
    start: float
    counted_from: float
    end: float
    outage: tuple[float, float] = (math.inf, math.inf)

    @property
    def interval(self) -> float:
        """How often round robin reads everybody, in seconds."""
        return 60 * self.trace.users / self.per_minute

    def known(self) -> list[list[float]]:
        """For each user, when the messages before the start were sent."""
        return [times[: bisect_left(times, self.start)] for times in self.trace.lists()]


@dataclass(slots=True)
class Found:
    """What one policy made of a course; every delay in seconds from the moment a message was sent.

    `first` has one delay a message, to its first reading through any member's list; `entries` one a message
    and list. `gaps` has the longest pause of each user, counted from the start.
    """

    first: array[float] = field(default_factory=lambda: array("d"))
    entries: array[float] = field(default_factory=lambda: array("d"))
    waited: array[float] = field(default_factory=lambda: array("d"))  # backlog, from the end of the outage
    gaps: list[float] = field(default_factory=list)
    requests: int = 0
    empty: int = 0


class Lists:
    """Everybody's list, read up to a place of its own."""

    def __init__(self, course: Course) -> None:
        self._course = course
        users, messages = course.trace.users, course.trace.messages
        self._times = [array("d") for _ in range(users)]
        self._numbers = [array("l") for _ in range(users)]
        first = bisect_left(messages, course.start, key=lambda message: message[0])
        for number in range(first, len(messages)):
            at, members = messages[number]
            for member in members:
                self._times[member].append(at)
                self._numbers[member].append(number)
        for times in self._times:
            times.append(math.inf)
        self._places = [0] * users
        self._seen = bytearray(len(messages))
        counted = [m for at, m in messages if course.counted_from <= at < course.end]
        self.unread = sum(map(len, counted))

    def read(self, user: int, now: float, found: Found) -> tuple[Sequence[float], bool]:
        """The ages of what is new in the list, and whether there is more than a page of it."""
        times, place = self._times[user], self._places[user]
        if times[place] > now:
            found.empty += 1
            return (), False
        end = bisect_right(times, now, place)
        more = end > place + PAGE
        end = min(end, place + PAGE)
        self._places[user] = end
        for index in range(place, end):
            self._count(times[index], self._numbers[user][index], now, found)
        return [now - int(at) for at in times[place:end]], more

    def _count(self, at: float, number: int, now: float, found: Found) -> None:
        is_first = not self._seen[number]
        self._seen[number] = 1
        if not self._course.counted_from <= at < self._course.end:
            return
        self.unread -= 1
        found.entries.append(now - at)
        if is_first:
            found.first.append(now - at)
            began, ended = self._course.outage
            if began <= at < ended:
                found.waited.append(now - ended)


def run(course: Course, policy: Policy) -> Found:
    """Read until everything counted was found in every list. The product's own budget grants the requests."""
    lists, found = Lists(course), Found()
    budget = Budget(per_minute=course.per_minute, now=course.start)
    last, gaps = [course.start] * course.trace.users, [0.0] * course.trace.users
    began, ended = course.outage
    now = course.start
    while lists.unread or now < course.end:
        now += budget.wait(now)
        if began <= now < ended:
            now = ended
        user = policy.take(now)
        if user is None:
            now += max(policy.wait(now), 1e-6)
            continue
        budget.take(now)
        found.requests += 1
        gaps[user] = max(gaps[user], now - last[user])
        last[user] = now
        ages, more = lists.read(user, now, found)
        policy.finished(user, ages=ages, more=more, now=now)
    found.gaps = [max(gap, now - at) for gap, at in zip(gaps, last, strict=True)]
    return found
