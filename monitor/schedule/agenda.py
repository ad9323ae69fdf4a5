"""Who is first by a number that keeps changing: a binary heap with lazy deletion."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable

SLACK = 64


class Agenda:
    """Names, each with one number; the least is first, in O(log n).

    An entry that was moved or dropped stays in the heap until it comes up. When more than every second one is
    such a ghost the heap is made anew, so it never holds more than twice the names (and a few).
    """

    __slots__ = ("_heap", "_numbers")

    def __init__(self) -> None:
        self._numbers: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, name: str) -> bool:
        return name in self._numbers

    @property
    def size(self) -> int:
        """Entries held, ghosts included."""
        return len(self._heap)

    def put(self, name: str, number: float) -> None:
        """Enter a name, or move it."""
        self._numbers[name] = number
        heapq.heappush(self._heap, (number, name))
        if len(self._heap) > 2 * len(self._numbers) + SLACK:
            self._heap = [(number, name) for name, number in self._numbers.items()]
            heapq.heapify(self._heap)

    def drop(self, name: str) -> float | None:
        """Take a name out; returns its number, or None if it wasn't in."""
        return self._numbers.pop(name, None)

    def numbers(self) -> Iterable[float]:
        """All numbers, in no order."""
        return self._numbers.values()

    def first(self) -> float:
        """The least number; infinity if nobody is in."""
        heap, numbers = self._heap, self._numbers
        while heap:
            number, name = heap[0]
            if numbers.get(name) == number:
                return number
            heapq.heappop(heap)
        return math.inf

    def top(self) -> str:
        """Whose number is the least. Only while somebody is in."""
        self.first()
        return self._heap[0][1]

    def pop(self) -> tuple[float, str]:
        """Take the first one out. Only while somebody is in."""
        self.first()
        number, name = heapq.heappop(self._heap)
        del self._numbers[name]
        return number, name
