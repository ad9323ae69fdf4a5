"""The deliverers at work, one a receiver: hired, replaced and let go as the configuration says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import trio

from monitor.delivery.breaker import Condition
from monitor.delivery.outbox import Deliverer


@dataclass(frozen=True, slots=True)
class Post:
    """One receiver's place: `terms` tell whether a reload changed it, `hire` makes the deliverer."""

    terms: Any
    hire: Callable[[], Deliverer]


@dataclass(slots=True)
class _Employed:
    terms: Any
    deliverer: Deliverer
    scope: trio.CancelScope


class Fleet:
    """Runs deliverers side by side; they share nothing, so that one in trouble harms nobody else."""

    def __init__(self) -> None:
        self._employed: dict[str, _Employed] = {}
        self._nursery: trio.Nursery | None = None
        self._idle = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Give deliverers a place to run, until cancelled. What is claimed then is sent again later."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    def employ(self, posts: Mapping[str, Post]) -> None:
        """Start, replace and stop deliverers until exactly `posts` are filled. Unchanged ones go on."""
        for name in [n for n, e in self._employed.items() if n not in posts or posts[n].terms != e.terms]:
            self._employed.pop(name).scope.cancel()
        for name, post in posts.items():
            if name not in self._employed:
                self._start(name, post)

    def nudge(self, names: Iterable[str] | None = None) -> None:
        """Tell these receivers (None: all) that something may wait for them."""
        for name in self._employed if names is None else names:
            if employed := self._employed.get(name):
                employed.deliverer.nudge()

    def conditions(self) -> dict[str, Condition]:
        """How each receiver fares just now, as its deliverer sees it."""
        return {name: employed.deliverer.condition() for name, employed in self._employed.items()}

    async def finish(self) -> None:
        """Return when nobody can send anything at once any more. The caller sets the deadline."""
        for employed in self._employed.values():
            employed.deliverer.finish()
        while self._employed:
            self._idle = trio.Event()
            await self._idle.wait()

    def _start(self, name: str, post: Post) -> None:
        assert self._nursery is not None, "employ() belongs after the fleet was started"
        employed = _Employed(post.terms, post.hire(), trio.CancelScope())
        self._employed[name] = employed
        self._nursery.start_soon(self._work, name, employed, name=f"deliver to {name}")

    async def _work(self, name: str, employed: _Employed) -> None:
        with employed.scope:
            await employed.deliverer.run()
        if self._employed.get(name) is employed:
            del self._employed[name]
            self._idle.set()
