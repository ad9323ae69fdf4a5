"""One life of a monitor on the stage: the shipped parts, from a page to a receiver, on the test's store.

What a poller does by its schedule is done here when something is to be seen: so a week passes in
milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, repeat
from random import Random
from typing import Final, TypeVar

import trio
from prometheus_client import CollectorRegistry

from monitor.accounts import Accounts, Followed, read_of
from monitor.clock import Clock
from monitor.delivery.fleet import Fleet, Post
from monitor.delivery.outbox import Deliverer
from monitor.delivery.policy import SUM_EVERY
from monitor.delivery.sinks.base import Sink
from monitor.delivery.values import Receiver
from monitor.drain import WATERMARK_MARGIN, Ask, Drain, ask, take
from monitor.evaluation import Evaluated, Orders
from monitor.health import Health
from monitor.metrics import Metrics
from monitor.oncall import OnCall
from monitor.source.pages import Decoded, Page, RateInfo
from monitor.store.store import Store, Tx
from monitor.store.values import UserRow
from monitor.store.writer import Writer, inline
from monitor.timers import Timers
from rules.model import ListId, Message, Timer

T = TypeVar("T")

SETTLE: Final = timedelta(seconds=10)
SEEN_AFTER: Final = SETTLE + WATERMARK_MARGIN + timedelta(seconds=0.5)
"""How long after it is due a timer can be judged."""

PAGE: Final = 100
GATHERED_S: Final = Receiver(name="").gather.total_seconds() + 0.5
PAUSES_S: Final = (GATHERED_S, SUM_EVERY.total_seconds() - GATHERED_S + 0.5)
"""After these what waits for its like, and then what waits for its sum, can go."""

APP: Final = "timeline"
LONGEST_PAUSE_S: Final = 300.0  # a retry has a time of its own, at which its deliverer wakes by itself


class Telling(Writer):
    """The writer, which also tells what the rules made of a step that became durable."""

    def __init__(self, store: Store, *, told: Callable[[Evaluated], None]) -> None:
        super().__init__(store, run_sync=inline)
        self._told = told

    async def submit(self, work: Callable[[Tx], T]) -> T:
        result = await super().submit(work)
        if isinstance(result, Evaluated):
            self._told(result)
        return result


class Life:
    """From a start of the monitor to its end. `api_now` is the time of CometChat, `clock` is ours.

    `answer` gives the page that CometChat would; `seen` hears of the rows that were read for the first
    time. All else that is kept is in the store: another life goes on from there.
    """

    def __init__(
        self,
        *,
        store: Store,
        orders: Orders,
        source: str,
        lists: Sequence[ListId],
        start_at: datetime,
        answer: Callable[[ListId, Ask], Decoded],
        sinks: Mapping[str, Sink],
        clock: Clock,
        api_now: Callable[[], datetime],
        told: Callable[[Evaluated], None],
        seen: Callable[[Sequence[Message]], None],
    ) -> None:
        self._store = store
        self._source = source
        self._start_at = start_at
        self._answer = answer
        self._sinks = sinks
        self._clock = clock
        self._api_now = api_now
        self._seen = seen
        self._health = Health(started_at=clock.wall())
        self._metrics = Metrics(CollectorRegistry())
        self._writer = Telling(store, told=told)
        self._fleet = Fleet()
        self._on_call = OnCall(
            app=APP,
            writer=self._writer,
            store=store,
            run_sync=inline,
            clock=clock,
            fleet=self._fleet,
            orders=lambda: self.accounts.orders,
            receivers=lambda: [Receiver(name=name) for name in sinks],
            metrics=self._metrics,
        )
        self._news = trio.Event()  #: for who prods
        self._followed: dict[ListId, Followed] = {}
        self._lists = tuple(lists)
        self._scope = trio.CancelScope()  #: of the run
        self.accounts = Accounts(
            writer=self._writer,
            orders=orders,
            timers=Timers(),
            health=self._health,
            metrics=self._metrics,
            clock=clock,
            settle=SETTLE,
            nudge=self._nudge,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Live to the `end`. What was claimed then is sent again in the next life, under the same id."""
        async with trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            await nursery.start(self._writer.run)
            await nursery.start(self._fleet.run)
            await self.adopt(self.accounts.orders, self._lists)
            self.take_silences()
            self._fleet.employ({name: Post(name, partial(self._hire, name)) for name in self._sinks})
            nursery.start_soon(self._remind)
            task_status.started()

    def end(self) -> None:
        """End at once, as a process does that is killed."""
        self._scope.cancel()

    def _hire(self, name: str) -> Deliverer:
        sink = self._sinks[name]
        return Deliverer(
            receiver=Receiver(name=name),
            sink=sink,
            writer=self._writer,
            clock=self._clock,
            random=Random(1),  # noqa: S311 - spreads retries; the same in each run
            poll_s=math.inf,
        )

    # --- orders ------------------------------------------------------------------------------------------

    async def adopt(self, orders: Orders, lists: Sequence[ListId]) -> None:
        """Take over rules and lists in one transaction, as a start and a reload do."""

        def work(tx: Tx) -> tuple[list[UserRow], list[Timer]]:
            tx.adopt_rules(orders.rules.fingerprints)
            tx.adopt_source(self._source)
            gone = set(tx.watched()) - set(lists)
            tx.leave(gone, self._clock.wall())
            unread = {uid for timer in tx.timers() for uid in timer.lists} - set(lists)
            tx.close_users(unread, "no longer watched")
            return tx.add_users(lists, self._start_at), tx.timers()

        rows, timers = await self._writer.submit(work)
        self.accounts.orders = orders
        self.accounts.timers.reset(timers)
        self._followed = {row.uid: self._followed.get(row.uid) or self._follow(row) for row in rows}

    def _follow(self, row: UserRow) -> Followed:
        self._health.sight(row.uid).watermark = row.watermark
        return Followed(
            stored=row.cursor, drain=Drain(start_at=row.start_at, cursor=row.cursor), is_new=False
        )

    def take_silences(self) -> None:
        """Take over the silences that are in the store."""
        self.accounts.silences = self._store.silences(self._clock.wall())

    # --- reading -----------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Read every list to its end, and judge what its silence answers."""
        for uid, followed in self._followed.items():
            while await self._read(uid, followed):
                pass
        marks = [self._health.sight(uid).watermark for uid in self._followed]
        if marks and None not in marks:
            await self.accounts.pass_everywhere(min(mark for mark in marks if mark))
        await self._on_call.look_after()

    async def _read(self, uid: ListId, followed: Followed) -> bool:
        """One page; returns whether more follow."""
        asked = ask(followed.drain, page_size=PAGE, catch_up=False, now=self._api_now())
        page = self._page(self._answer(uid, asked))
        self._health.answered(now=self._clock.wall())
        self.accounts.skew = page.skew
        taken = take(followed.drain, asked, read_of(page), settle=SETTLE)
        self._seen(taken.fresh)
        async with self.accounts.turn():
            await self.accounts.take(uid, followed, page, taken, activity=None)
        return taken.more

    def _page(self, decoded: Decoded) -> Page:
        api, ours = self._api_now(), self._clock.wall()
        return Page(
            messages=decoded.messages,
            rejects=decoded.rejects,
            rows=decoded.rows,
            size=decoded.size,
            min_id=decoded.min_id,
            max_id=decoded.max_id,
            started_at=api,
            received_at=ours,
            rate=RateInfo(),
            skew=api - ours,
        )

    def next_look(self) -> datetime | None:
        """When, in CometChat's time, reading the lists answers the next question of a rule."""
        due = min(self._dues(), default=None)
        return None if due is None else due + SEEN_AFTER

    def _dues(self) -> Iterator[datetime]:
        timers = self.accounts.timers
        for due in (*map(timers.next_due, self._followed), timers.next_everywhere()):
            if due is not None:
                yield due

    # --- delivering --------------------------------------------------------------------------------------

    def _nudge(self, names: Iterable[str]) -> None:
        if names := set(names) - {""}:  # nobody's: no route took it
            self._fleet.nudge(names)
            self._news.set()

    def prod(self) -> None:
        """Something changed for the receivers: they answer differently, or our clock was set."""
        self._fleet.nudge()
        self._news.set()

    async def _remind(self) -> None:
        """Remind deliverers of what waits for its time: they look by themselves too often for a test."""
        while True:
            self._fleet.nudge()
            pauses = chain(PAUSES_S, repeat(LONGEST_PAUSE_S))
            self._news = trio.Event()
            while not self._news.is_set():
                with trio.move_on_after(next(pauses) if self._is_delivering() else math.inf):
                    await self._news.wait()
                self._fleet.nudge()

    async def delivered(self) -> None:
        """Return when nothing waits to be sent any more."""
        pause = 1.0
        while self._is_delivering():
            await trio.sleep(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE_S)

    def _is_delivering(self) -> bool:
        return any(depth.pending for depth in self._store.depths())
