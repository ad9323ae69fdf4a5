"""Lists of rows in id order, and one page out of one or several of them."""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import attrgetter

from monitor.simulator.rows import Row

Test = Callable[[Row], bool]

_id = attrgetter("id")


class Feed:
    """Rows in ascending id order. Rows come with ever larger ids, so adding is an append."""

    def __init__(self) -> None:
        self._rows: list[Row] = []

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def add(self, row: Row) -> None:
        assert not self._rows or self._rows[-1].id < row.id
        self._rows.append(row)

    def get(self, message_id: int) -> Row | None:
        index = bisect_left(self._rows, message_id, key=_id)
        found = index < len(self._rows) and self._rows[index].id == message_id
        return self._rows[index] if found else None

    def after(self, message_id: int | None) -> Iterator[Row]:
        """Rows with larger ids, ascending; all of them for None."""
        start = 0 if message_id is None else bisect_right(self._rows, message_id, key=_id)
        return (self._rows[index] for index in range(start, len(self._rows)))

    def before(self, message_id: int | None) -> Iterator[Row]:
        """Rows with smaller ids, descending; all of them for None."""
        end = len(self._rows) if message_id is None else bisect_left(self._rows, message_id, key=_id)
        return (self._rows[index] for index in range(end - 1, -1, -1))

    def forget_oldest(self, count: int) -> int | None:
        """Drop the oldest rows; the smallest id that is left, or None."""
        del self._rows[:count]
        return self._rows[0].id if self._rows else None

    def forget_below(self, message_id: int) -> None:
        del self._rows[: bisect_left(self._rows, message_id, key=_id)]


def page(
    feeds: Sequence[Feed], *, forward: bool, cursor: int | None, size: int, tests: Sequence[Test]
) -> tuple[list[Row], bool]:
    """At most `size` rows next to the cursor, ascending, and whether more follow in that direction.

    Forward takes the oldest rows after the cursor, backward the newest before it; the cursor's own row is
    never among them.
    """
    rows = list(islice(matching(feeds, forward=forward, cursor=cursor, tests=tests), size + 1))
    has_more = len(rows) > size
    del rows[size:]
    return (rows if forward else rows[::-1]), has_more


def matching(
    feeds: Sequence[Feed], *, forward: bool, cursor: int | None, tests: Sequence[Test]
) -> Iterator[Row]:
    """Rows that pass every test, walking away from the cursor."""
    walks = [feed.after(cursor) if forward else feed.before(cursor) for feed in feeds]
    walk = walks[0] if len(walks) == 1 else heapq.merge(*walks, key=_id, reverse=not forward)
    return (row for row in walk if all(test(row) for test in tests))
