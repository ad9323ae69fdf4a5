"""Rules over messages of the past, as if they came in today: the shipped steps, in memory, by event time.

Sends nothing, stores nothing. The same messages and orders give the same result, to the letter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from heapq import heappop, heappush
from typing import Final

from monitor.evaluation import Orders, calm, evaluate
from monitor.store.values import Commit, Committed, Finding, Known, is_news
from rules.model import (
    AlertId,
    Message,
    MessageId,
    RuleName,
    State,
    StateKey,
    Tick,
    Timer,
    Value,
)
from rules.pace import SURGES

CALM_EVERY: Final = timedelta(minutes=1)
SURGING: Final = frozenset({SURGES})
PRUNE_EVERY: Final = 10_000  # steps; like the store's daily cleaning, it changes no result but saves memory


class Rehearsed(Value, frozen=True, kw_only=True):
    """What the rules would have found."""

    messages: int
    findings: tuple[Finding, ...] = ()  #: in the order in which they were found; each once
    holds: Mapping[AlertId, str] = {}  #: what kept alerts from being sent by themselves: shadow, cooldown, …
    faults: Mapping[RuleName, int] = {}  #: how often a rule failed on a message
    errors: Mapping[RuleName, str] = {}  #: the first of these faults: its kind and place
    open: Mapping[RuleName, int] = {}  #: questions that the last row left unanswered


class Recollection:
    """States and findings in memory, kept as the store does: each once, no end without a beginning."""

    def __init__(self) -> None:
        self._states: dict[StateKey, State] = {}
        self._expires: dict[StateKey, datetime] = {}
        self._known: dict[AlertId, Known] = {}
        self.findings: list[Finding] = []

    def states(self, keys: frozenset[StateKey], /) -> Mapping[StateKey, State]:
        return {key: self._states[key] for key in keys if key in self._states}

    def known(self, ids: Iterable[AlertId], /) -> Mapping[AlertId, Known]:
        return {id_: self._known[id_] for id_ in ids if id_ in self._known}

    def commit(self, commit: Commit, /) -> Committed:
        for change in commit.states:
            self._expires.pop(change.key, None)
            if change.value is None:
                self._states.pop(change.key, None)
                continue
            self._states[change.key] = State(version=change.expected + 1, value=change.value)
            if change.expires_at is not None:
                self._expires[change.key] = change.expires_at
        fresh = tuple(finding for finding in commit.findings if self._is_fresh(finding))
        self.findings += fresh
        return Committed(fresh=fresh, known=len(commit.findings) - len(fresh))

    def prune(self, now: datetime, *, but: Iterable[StateKey]) -> None:
        """Forget the states that are past their time, `but` those that a timer will ask for."""
        kept = frozenset(but)
        for key in [key for key, at in self._expires.items() if at <= now and key not in kept]:
            del self._expires[key], self._states[key]

    def _is_fresh(self, finding: Finding) -> bool:
        alert = finding.alert
        if not is_news(alert, self._known.get(alert.id)):
            return False
        self._known[alert.id] = Known.of(alert)
        return True


def in_event_order(messages: Iterable[Message]) -> list[Message]:
    """Each message once, by (time of sending, id).

    Of two versions of one row the older one counts: it is nearer to what there was to see at the time.
    """
    once: dict[MessageId, Message] = {}
    for message in messages:
        known = once.setdefault(message.id, message)
        if _version(message) < _version(known):
            once[message.id] = message
    return sorted(once.values(), key=lambda message: (message.sent_at, message.id))


def _version(message: Message) -> datetime:
    return message.updated_at or message.sent_at


def rehearse(orders: Orders, messages: Iterable[Message], *, until: datetime | None = None) -> Rehearsed:
    """Run the rules over `messages`, which come in event order, each once.

    Event time is the only clock: a timer concludes at its due time, once a later row shows that it passed.
    `until` says how far the messages reach; without it the last row does. What is due later stays open.
    """
    rehearsal = Rehearsal(orders)
    for message in messages:
        rehearsal.take(message)
    if until is not None:
        rehearsal.advance(until)
    return rehearsal.result()


class Rehearsal:
    """One run. `take` messages in event order, `advance` past the last one, then ask for the `result`."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._memory = Recollection()
        self._pending: dict[StateKey, Timer] = {}
        self._queue: list[tuple[datetime, StateKey]] = []  # replaced timers stay in it and are passed over
        self._calmed: datetime | None = None  # when surges were last looked at
        self._holds: dict[AlertId, str] = {}
        self._faults: Counter[RuleName] = Counter()
        self._errors: dict[RuleName, str] = {}
        self._messages = 0
        self._steps = 0

    def take(self, message: Message) -> None:
        """Evaluate a message, after what was due before it was sent."""
        self.advance(message.sent_at)
        self._messages += 1
        self._step(messages=(message,), now=message.sent_at)

    def advance(self, moment: datetime) -> None:
        """Everything before `moment` was seen: conclude what was due by then, in order."""
        self._calm(moment)
        self._conclude(moment)

    def result(self) -> Rehearsed:
        return Rehearsed(
            messages=self._messages,
            findings=tuple(self._memory.findings),
            holds=self._holds,
            faults=dict(sorted(self._faults.items())),
            errors=dict(sorted(self._errors.items())),
            open=dict(sorted(Counter(key.rule for key in self._pending).items())),
        )

    def _calm(self, moment: datetime) -> None:
        """End the surges that were over by then, as the running monitor looks every so often."""
        if self._calmed is None or not self._memory.states(SURGING):
            self._calmed = moment
        while self._calmed + CALM_EVERY < moment and self._memory.states(SURGING):
            self._calmed += CALM_EVERY
            self._conclude(self._calmed)
            calm(self._memory, self._orders, silences=(), seen=self._calmed, now=self._calmed)

    def _conclude(self, moment: datetime) -> None:
        for tick in self._due(moment):
            self._step(ticks=(tick,), now=tick.due)

    def _due(self, moment: datetime) -> Iterator[Tick]:
        """One by one: what a tick starts anew may be due before `moment` as well."""
        while self._queue and self._queue[0][0] < moment:
            due, key = heappop(self._queue)
            timer = self._pending.get(key)
            if timer is not None and timer.due == due:
                yield Tick(key=key, due=due)

    def _step(self, *, messages: Sequence[Message] = (), ticks: Sequence[Tick] = (), now: datetime) -> None:
        evaluated = evaluate(
            self._memory, self._orders, messages=messages, ticks=ticks, now=now, commit=Commit()
        )
        self._holds.update((id_, hold.why.value) for id_, hold in evaluated.paced.holds.items())
        for fault in evaluated.outcome.faults:
            self._faults[fault.rule] += 1
            self._errors.setdefault(fault.rule, fault.error)
        for key in evaluated.outcome.cancelled:
            self._pending.pop(key, None)
        for timer in evaluated.outcome.timers:
            self._pending[timer.key] = timer
            # A question that a tick starts anew for the same moment would be asked for ever.
            if Tick(key=timer.key, due=timer.due) not in ticks:
                heappush(self._queue, (timer.due, timer.key))
        self._steps += 1
        if self._steps % PRUNE_EVERY == 0:
            self._memory.prune(now, but=self._pending)
