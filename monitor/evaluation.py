"""From messages and ticks to a commit: step, then route. Intake, timers and replay all take this road."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from msgspec.structs import replace

from monitor.delivery.policy import RouteSpec, decide
from monitor.lists import APP, concerns, guid_of, is_person
from monitor.store.values import Commit, Committed, Known, Mute, news
from rules.engine import RuleSet, step, wanted
from rules.model import Alert, AlertId, ListId, Message, Outcome, State, StateKey, Tick, Timer, WatchSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What is watched and what is made of it. A reload swaps it whole."""

    rules: RuleSet
    watch: WatchSet
    routes: tuple[RouteSpec, ...]
    max_age: timedelta  #: findings older than this when found are told as old news
    groups: frozenset[str] = frozenset()  #: guids of the watched groups
    is_app_wide: bool = False  #: one list has the rows of everybody, watched or not

    def concerned(self, messages: Sequence[Message]) -> Sequence[Message]:
        """The rows that are ours. A list of somebody watched has no others."""
        if not self.is_app_wide:
            return messages
        return tuple(message for message in messages if concerns(message, self.watch, self.groups))

    def answering(self, timer: Timer, ahead: frozenset[ListId], *, reader: ListId | None) -> Timer:
        """The timer with the lists whose silence answers it: without those `ahead`.

        An answer may have gone by in them while nothing was known of the call: its state was forgotten before
        a cursor was set back, or its rule is new and one of two people behind. Their silence proves nothing.
        A group that has no list of its own here is seen through the list of its member: of the `reader`.
        """
        if self.is_app_wide:
            return replace(timer, lists=(APP,), every=False)
        if timer.every:
            return timer
        named = (uid if is_person(uid) or guid_of(uid) in self.groups else reader for uid in timer.lists)
        known = tuple(dict.fromkeys(uid for uid in named if uid is not None))
        lists = tuple(uid for uid in known if uid not in ahead) or known
        return replace(timer, lists=lists, every=not lists)


class Memory(Protocol):
    """What a step reads and writes: a transaction of the store, or a replay's dictionary."""

    def states(self, keys: frozenset[StateKey], /) -> Mapping[StateKey, State]: ...

    def known(self, ids: Iterable[AlertId], /) -> Mapping[AlertId, Known]:
        """What is stored of the alerts among `ids`."""
        ...

    def commit(self, commit: Commit, /) -> Committed:
        """Apply all of `commit` or nothing."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A step that is part of the transaction: durable when the transaction is."""

    outcome: Outcome
    committed: Committed
    seconds: float  #: that the rules took


def evaluate(
    memory: Memory,
    orders: Orders,
    *,
    messages: Sequence[Message] = (),
    ticks: Sequence[Tick] = (),
    mutes: Sequence[Mute] = (),
    now: datetime,
    commit: Commit,
    skew: timedelta = timedelta(0),
    cost: Callable[[], float] = lambda: 0.0,
    ahead: frozenset[ListId] = frozenset(),
) -> Evaluated:
    """Run the rules over `messages` and `ticks`, and commit what they found together with `commit`.

    A tick is spent by it: its timer is cancelled unless the step starts it anew. `skew` is the API's clock
    minus ours, by which `now` is told; `cost` a clock to time the rules by. The lists of the users in
    `ahead` answer none of the timers that start here. Raises what `memory.commit` raises; then nothing was
    changed.
    """
    states = memory.states(wanted(orders.rules, messages, ticks))
    began = cost()
    outcome = step(orders.rules, orders.watch, states, messages, ticks, now=now)
    seconds = cost() - began
    findings = decide(
        _news(memory, outcome.alerts),
        routes=orders.routes,
        watch=orders.watch,
        mutes=mutes,
        now=now,
        max_age=orders.max_age - skew,  # events carry the API's time, `now` is ours
    )
    outcome = replace(
        outcome, timers=tuple(orders.answering(timer, ahead, reader=commit.uid) for timer in outcome.timers)
    )
    restarted = {timer.key for timer in outcome.timers}
    spent = {tick.key for tick in ticks} - restarted
    outcome = replace(outcome, cancelled=tuple(sorted({*outcome.cancelled, *spent})))
    whole = replace(
        commit,
        states=outcome.states,
        timers=outcome.timers,
        cancelled=outcome.cancelled,
        findings=findings,
        because=outcome.because,
    )
    return Evaluated(outcome, memory.commit(whole), seconds)


def _news(memory: Memory, alerts: Sequence[Alert]) -> tuple[Alert, ...]:
    return tuple(news(alerts, memory.known({alert.id for alert in alerts}))) if alerts else ()
