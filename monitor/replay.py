"""Recorded answers through the very same steps: decode, step, route. Sends nothing, stores nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from monitor.evaluation import Orders, evaluate
from monitor.source.pages import decode
from monitor.store.values import Commit, Committed, Finding
from monitor.timers import Timers
from rules.model import AlertId, Message, MessageId, State, StateKey, Status, Tick, Value, WatchSet


class Replayed(Value, frozen=True, kw_only=True):
    """What the rules would have found in recorded answers."""

    messages: int
    rejects: int
    findings: tuple[Finding, ...]


class Recollection:
    """States and findings in memory, kept as the store does: each once, no end without a beginning."""

    def __init__(self) -> None:
        self._states: dict[StateKey, State] = {}
        self._status: dict[AlertId, Status] = {}
        self.findings: list[Finding] = []

    def states(self, keys: frozenset[StateKey], /) -> Mapping[StateKey, State]:
        return {key: self._states[key] for key in keys if key in self._states}

    def commit(self, commit: Commit, /) -> Committed:
        for change in commit.states:
            if change.value is None:
                self._states.pop(change.key, None)
            else:
                self._states[change.key] = State(version=change.expected + 1, value=change.value)
        fresh = tuple(finding for finding in commit.findings if self._is_fresh(finding))
        self.findings += fresh
        return Committed(fresh=fresh, known=len(commit.findings) - len(fresh))

    def _is_fresh(self, finding: Finding) -> bool:
        alert = finding.alert
        wanted = None if alert.status is Status.FIRING else Status.FIRING
        if self._status.get(alert.id) is not wanted:
            return False
        self._status[alert.id] = alert.status
        return True


def everybody(bodies: Iterable[bytes]) -> WatchSet:
    """All the people that recorded answers name as taking part, to be watched without labels."""
    return {uid: {} for body in bodies for message in decode(body).messages for uid in message.participants}


def replay(orders: Orders, bodies: Iterable[bytes]) -> Replayed:
    """Evaluate the rows of recorded list answers in id order, timers included.

    Event time is the only clock: a timer concludes when a later row shows that its time had passed, and what
    still waits at the end of the recording is judged as of its last row. Raises `source.pages.Undecodable`
    for a body that is no list answer.
    """
    messages: dict[MessageId, Message] = {}
    rejects = 0
    for body in bodies:
        decoded = decode(body)
        rejects += len(decoded.rejects)
        messages.update((message.id, message) for message in decoded.messages)
    memory, timers = Recollection(), Timers()
    for message in sorted(messages.values(), key=lambda message: message.id):
        _conclude(memory, orders, timers, ticks=timers.ripe(message.sent_at), now=message.sent_at)
        _conclude(memory, orders, timers, messages=[message], now=message.sent_at)
    return Replayed(messages=len(messages), rejects=rejects, findings=tuple(memory.findings))


def _conclude(
    memory: Recollection,
    orders: Orders,
    timers: Timers,
    *,
    messages: Sequence[Message] = (),
    ticks: Sequence[Tick] = (),
    now: datetime,
) -> None:
    if not messages and not ticks:
        return
    evaluated = evaluate(memory, orders, messages=messages, ticks=ticks, now=now, commit=Commit())
    timers.apply(evaluated.outcome.timers, evaluated.outcome.cancelled)
