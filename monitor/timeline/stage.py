"""One test on its stage: the timeline happens on a virtual clock, and what the monitor does is noted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, Self

import trio
import trio.lowlevel
from trio.testing import MockClock

from monitor.clock import Clock
from monitor.delivery.policy import RouteSpec
from monitor.evaluation import Evaluated, Orders
from monitor.lists import ONE_FOR_ALL, lists_of
from monitor.simulator.refusals import Refusal
from monitor.store.store import Store
from monitor.store.values import EntryState, Finding, Kind, Matcher, Notification
from monitor.timeline.cast import groups, watched
from monitor.timeline.inbox import Inbox
from monitor.timeline.life import APP, Life
from monitor.timeline.model import (
    START,
    Action,
    Api,
    Course,
    Entry,
    Event,
    Jump,
    Mute,
    Receivers,
    Reload,
    Restart,
    Test,
    What,
    Word,
)
from monitor.timeline.script import Script, since
from monitor.timeline.telling import happening
from rules.engine import RuleSet
from rules.model import Alert, Message, RuleName, Status, UserId, WatchSet
from rules.text import Place

BEFORE: Final = timedelta(days=30)  # what was sent so long before the start still counts
BETWEEN_S: Final = 2.0  # two looks at the lists, as `poll.min_interval`
AFTER_S: Final = 15.0  # a run goes on so long after the last that is written down
SPREAD_S: Final = 2400.0  # and so long for what waits: a retry comes after 36 minutes at most, a sum sooner
LONGEST: Final = timedelta(days=8)  # a run goes on so long for a rule that still waits

Rules = Callable[[tuple[Word, ...]], RuleSet]
Seen = Callable[[Orders, Sequence[Message]], None]


class Theatre:
    """Where many tests are performed, one after the other. A context manager.

    They share a store in memory, emptied for each: to open one anew would take longer than a short test.
    """

    def __init__(self) -> None:
        self._wall: Callable[[], datetime] = lambda: START
        self._store = Store.open("sqlite://", app=APP, now=lambda: self._wall())  # noqa: PLW0108 - it is another one in each test
        self._empty = self._store.snapshot()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()

    def perform(self, test: Test, *, rules: Rules, seen: Seen = lambda _orders, _messages: None) -> Course:
        """Run a test on a virtual clock of its own. `rules` gives the rule set of names that the file gives;
        `seen` hears of each message that was read for the first time, with the orders of that time.
        """
        self._store.restore(self._empty)
        return trio.run(self._perform, test, rules, seen, clock=MockClock(autojump_threshold=0))

    async def _perform(self, test: Test, rules: Rules, seen: Seen) -> Course:
        async with trio.open_nursery() as nursery:
            stage = _Stage(test, rules=rules, seen=seen, store=self._store, nursery=nursery)
            self._wall = stage.wall
            await stage.run()
            course = stage.course()
            nursery.cancel_scope.cancel()
        return course


class _Stage:
    """One run under way."""

    def __init__(self, test: Test, *, rules: Rules, seen: Seen, store: Store, nursery: trio.Nursery) -> None:
        self._store = store
        self._nursery = nursery
        self._test = test
        self._setting = test.setting
        self._rules = rules
        self._seen = seen
        self._began = trio.current_time()
        self._offset = timedelta(0)  #: our clock minus CometChat's
        self._script = Script(test, now=self.api_now)
        self._inboxes = {
            one.name: Inbox(people=one.people, told=lambda sent, name=one.name: self._delivered(name, sent))  # type: ignore[misc]  # mypy gives up on the lambda's default
            for one in test.setting.receivers
        }
        self._orders = self._ordered(rules(test.setting.rules), watched(test))
        self._is_api_up = True
        self._back_at = 0.0  #: when the next life begins, if there is none
        self._looks: list[float] = [0.0]  #: when lists are to be read, and why not sooner is `_last`
        self._last = -math.inf
        self._events: list[Event] = []
        self._happened: list[tuple[float, str]] = []
        self._broken: dict[tuple[Place, str], None] = {}
        self._told: set[tuple[str, str, Status]] = set()
        self._life: Life | None = None

    # --- time --------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return trio.current_time() - self._began

    def api_now(self) -> datetime:
        return self._setting.start + timedelta(seconds=self._now())

    def wall(self) -> datetime:
        return self.api_now() + self._offset

    # --- orders ------------------------------------------------------------------------------------------

    def _ordered(self, rules: RuleSet, watch: WatchSet) -> Orders:
        every = (RouteSpec(receivers=tuple(one.name for one in self._setting.receivers)),)
        return Orders(
            rules=rules,
            watch=watch,
            routes=every if self._setting.routes is None else self._setting.routes,
            max_age=self._setting.max_age,
            groups=frozenset() if self._setting.source == "user-all" else frozenset(groups(self._test)),
            is_app_wide=self._setting.source == ONE_FOR_ALL,
        )

    def _lists(self) -> tuple[UserId, ...]:
        return lists_of(self._setting.source, self._orders.watch, sorted(self._orders.groups))

    # --- the run -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        entries = list(self._test.timeline)
        while True:
            moment = min(
                entries[0].at.total_seconds() if entries else math.inf,
                self._next_look() if self._life else self._back_at,
                self._end(has_more=bool(entries)),
            )
            await trio.sleep_until(self._began + moment)
            if self._life is None and self._back_at <= moment:
                await self._start()
            while entries and entries[0].at.total_seconds() <= moment:
                await self._enter(entries.pop(0))
            if self._next_look() <= moment:
                await self._look()
            if not entries and moment >= self._end(has_more=False):
                return await self._let_deliver()

    def _end(self, *, has_more: bool) -> float:
        if self._setting.until is not None:
            return self._setting.until.total_seconds()
        if has_more or self._life is None:
            return math.inf
        floor, latest = self._written(), self._last_entry() + LONGEST.total_seconds()
        waiting = self._next_look()
        return floor if waiting > latest else max(floor, waiting)

    def _written(self) -> float:
        """When the last thing that the test speaks of is over."""
        spoken = [one.by or one.after for one in self._test.expect]
        return AFTER_S + max([self._last_entry(), *(span.total_seconds() for span in spoken)])

    def _last_entry(self) -> float:
        return max((entry.at.total_seconds() for entry in self._test.timeline), default=0.0)

    async def _let_deliver(self) -> None:
        """Without a written end, what waits for a retry or for its sum is waited for."""
        is_up = all(inbox.answer == "up" for inbox in self._inboxes.values())
        if self._setting.until is not None or not is_up or self._life is None:
            return
        with trio.move_on_after(SPREAD_S):
            await self._life.delivered()

    def course(self) -> Course:
        pending = self._life.next_look() if self._life else None
        return Course(
            events=tuple(self._events),
            happened=tuple(self._happened),
            broken=tuple(self._broken),
            ended_at=self._now(),
            pending=pending,
        )

    # --- looking -----------------------------------------------------------------------------------------

    def _next_look(self) -> float:
        if self._life is None or not self._is_api_up:
            return math.inf
        due = self._life.next_look()
        wanted = min([*self._looks, math.inf if due is None else since(self._setting.start, due)])
        return max(wanted, self._last + BETWEEN_S)

    async def _look(self) -> None:
        assert self._life is not None
        self._last = self._now()
        self._looks = [moment for moment in self._looks if moment > self._last]
        await self._life.look()

    def _want_look(self, at: float) -> None:
        if at not in self._looks:
            self._looks.append(at)

    # --- entries -----------------------------------------------------------------------------------------

    async def _enter(self, entry: Entry) -> None:
        self._happened.append((self._now(), happening(entry.action)))
        try:
            await self._act(entry.action)
        except Refusal as refusal:
            self._broken[entry.place, f"CometChat refuses this: {refusal}"] = None

    async def _act(self, action: Action) -> None:
        match action:
            case Api(is_up=is_up):
                self._is_api_up = is_up
                self._want_look(self._now())
            case Receivers(answers=answers):
                for name, answer in answers.items():
                    self._inboxes[name].answer = answer
                self._prod()
            case Jump(by=by):
                self._offset += by
                self._prod()
            case Restart(down=down):
                self._restart(down)
            case Reload(rules=names, watch=watch):
                await self._reload(names, watch)
            case Mute(rule=rule, span=span):
                self._mute(RuleName(rule.text), span)
            case _:
                self._want_look(since(self._setting.start, self._script.play(action)))

    def _mute(self, rule: RuleName, span: timedelta) -> None:
        """As the command does it, which needs no running monitor."""
        with self._store.write() as tx:
            tx.add_silence(
                [Matcher(label="rule", value=rule)],
                starts_at=self.wall(),
                ends_at=self.wall() + span,
                author="the test",
                comment="by the test",
            )
        if self._life:
            self._life.take_silences()
        self._want_look(self._now() + span.total_seconds())  # what it held and still fires is told then

    def _prod(self) -> None:
        if self._life:
            self._life.prod()

    # --- lives -------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        life = Life(
            store=self._store,
            orders=self._orders,
            source=self._setting.source,
            lists=self._lists(),
            start_at=self._setting.start - BEFORE,
            answer=self._script.answer,
            sinks=self._inboxes,
            clock=Clock(wall=self.wall),
            api_now=self.api_now,
            told=self._note,
            seen=lambda messages: self._seen(self._orders, messages),
        )
        await self._nursery.start(life.run)
        self._life = life
        self._want_look(self._now())

    def _restart(self, down: timedelta) -> None:
        """End this life; the loop begins the next one. One that is away is away for longer."""
        if self._life:
            self._life.end()
        self._life = None
        self._back_at = self._now() + down.total_seconds()

    async def _reload(self, names: tuple[Word, ...] | None, watch: WatchSet | None) -> None:
        rules = self._orders.rules if names is None else self._rules(names)
        self._orders = self._ordered(rules, self._orders.watch if watch is None else watch)
        if self._life:
            await self._life.adopt(self._orders, self._lists())
        self._want_look(self._now())

    # --- what came of it ---------------------------------------------------------------------------------

    def _note(self, evaluated: Evaluated) -> None:
        for fault in evaluated.outcome.faults:
            self._broken[self._test.place, f'rule "{fault.rule}" failed: {fault.error}'] = None
        for finding in evaluated.committed.fresh:
            alert = finding.alert
            self._events.append(self._event(_what(alert), alert, reason=alert.resolution))
            self._events += self._held(finding)

    def _held(self, finding: Finding) -> Iterator[Event]:
        for route in finding.routes:
            if route.state is EntryState.SUPPRESSED or route.summed:
                yield self._event(
                    "held",
                    finding.alert,
                    receiver=route.receiver or None,
                    reason=route.reason,
                    late=route.late,
                )

    def _delivered(self, receiver: str, sent: Notification) -> None:
        for alert in sent.alerts:
            key = (alert.id, receiver, alert.status)
            if key in self._told:
                said = f'{receiver} was told twice that "{alert.title}" is {alert.status}'
                self._broken[self._test.place, said] = None
            self._told.add(key)
            self._events.append(
                self._event(
                    "delivered",
                    alert,
                    receiver=receiver,
                    reason=alert.resolution,
                    kind=sent.kind.value,
                    late=sent.kind is Kind.DIGEST,
                )
            )

    def _event(
        self,
        what: What,
        alert: Alert,
        *,
        receiver: str | None = None,
        reason: str | None = None,
        kind: str | None = None,
        late: bool = False,
    ) -> Event:
        names = (self._script.name_of(message.id) for message in alert.messages)
        return Event(
            at=self._now(),
            what=what,
            alert=alert,
            receiver=receiver,
            reason=reason,
            kind=kind,
            late=late,
            messages=tuple(dict.fromkeys(name for name in names if name)),
        )


def _what(alert: Alert) -> What:
    if alert.status is Status.RESOLVED:
        return "resolved"
    return "updated" if alert.revision else "raised"
