"""From messages and ticks to a commit: step, then route. Intake, timers and replay all take this road."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from msgspec.structs import replace

from monitor.delivery.policy import RouteSpec, decide, silenced_rules
from monitor.lists import APP, concerns, guid_of, is_person
from monitor.store.values import Commit, Committed, Known, Silence, news
from rules.engine import RuleSet, place_of, step, wanted
from rules.model import (
    Alert,
    AlertId,
    Fault,
    ListId,
    Message,
    Outcome,
    RuleName,
    State,
    StateKey,
    Tick,
    Timer,
    WatchSet,
)
from rules.pace import SURGES, Paced, calmed, pace
from rules.pace import paced as paced_keys


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
    paced: Paced  #: what became of the alerts before they were routed
    committed: Committed
    seconds: float  #: that the rules took


def evaluate(
    memory: Memory,
    orders: Orders,
    *,
    messages: Sequence[Message] = (),
    ticks: Sequence[Tick] = (),
    silences: Sequence[Silence] = (),
    now: datetime,
    commit: Commit,
    skew: timedelta = timedelta(0),
    cost: Callable[[], float] = lambda: 0.0,
    ahead: frozenset[ListId] = frozenset(),
    rules: RuleSet | None = None,
) -> Evaluated:
    """Run the rules over `messages` and `ticks`, and commit what they found together with `commit`.

    A tick is spent by it: its timer is cancelled unless the step starts it anew. `skew` is the API's clock
    minus ours, by which `now` is told; `cost` a clock to time the rules by. The lists of the users in
    `ahead` answer none of the timers that start here. `rules`: those to run, if not all. Raises what
    `memory.commit` raises; then nothing was changed.
    """
    rules = rules or orders.rules
    states = memory.states(wanted(rules, messages, ticks))
    began = cost()
    outcome = step(rules, orders.watch, states, messages, ticks, now=now)
    seconds = cost() - began
    paced = _paced(memory, orders.rules, outcome.alerts, silences, now=now, api_now=now + skew)
    findings = decide(
        paced.alerts,
        routes=orders.routes,
        watch=orders.watch,
        silences=silences,
        holds=paced.holds,
        now=now,
        max_age=orders.max_age - skew,  # events carry the API's time, `now` is ours
    )
    timers = tuple(orders.answering(timer, ahead, reader=commit.uid) for timer in outcome.timers)
    spent = {tick.key for tick in ticks} - {timer.key for timer in timers}
    outcome = replace(
        outcome,
        timers=timers,
        cancelled=tuple(sorted({*outcome.cancelled, *spent})),
        faults=(*outcome.faults, *paced.faults),
    )
    whole = replace(
        commit,
        states=(*outcome.states, *paced.states),
        timers=outcome.timers,
        cancelled=outcome.cancelled,
        findings=findings,
        because=outcome.because,
    )
    return Evaluated(outcome, paced, memory.commit(whole), seconds)


def calm(
    memory: Memory, orders: Orders, *, silences: Sequence[Silence], seen: datetime, now: datetime
) -> Evaluated:
    """End the surges that are over, when every list was read up to `seen`.

    A rule that went quiet raises nothing that could tell so. Raises what `memory.commit` raises.
    """
    surges = memory.states(frozenset({SURGES}))
    if not surges:
        return Evaluated(Outcome(), Paced(), Committed(), 0.0)
    paced = calmed(orders.rules, surges, seen=seen, now=now)
    findings = decide(
        tuple(news(paced.alerts, memory.known({alert.id for alert in paced.alerts}))),
        routes=orders.routes,
        watch=orders.watch,
        silences=silences,
        now=now,
        max_age=orders.max_age,
    )
    committed = memory.commit(Commit(states=paced.states, findings=findings))
    return Evaluated(Outcome(faults=paced.faults), paced, committed, 0.0)


def _paced(
    memory: Memory,
    rules: RuleSet,
    alerts: Sequence[Alert],
    silences: Sequence[Silence],
    *,
    now: datetime,
    api_now: datetime,
) -> Paced:
    """Those of `alerts` that are news, and which of them are held.

    If that can't be told, which is a bug of ours, nothing is held: too many alerts are better than none.
    """
    if not alerts:
        return Paced()  # as in most steps: nothing is asked
    known = memory.known({alert.id for alert in alerts})
    fresh = tuple(news(alerts, known))
    muted = frozenset(RuleName(rule) for rule in silenced_rules(silences, now))
    states = memory.states(paced_keys(rules, fresh))
    try:
        return pace(rules, states, fresh, now=api_now, known=known.keys(), muted=muted)
    except Exception as bug:
        return Paced(alerts=fresh, faults=(Fault(rule=alerts[0].rule, message_id=None, error=place_of(bug)),))
