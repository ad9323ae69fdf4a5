"""Messages and calls that show only what matters, and a small stand-in for the store around `step`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from rules.engine import RuleSet, step, wanted
from rules.model import (
    Alert,
    AlertId,
    Call,
    Message,
    MessageId,
    Outcome,
    Party,
    State,
    StateKey,
    Status,
    Tick,
    Timer,
    UserId,
    WatchSet,
)
from rules.spec import Source, load

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
APP = "275211"

ANN = Party(id="ann", name="Ann Archer", role="agent")
BOB = Party(id="bob", name="Bob Brown", role="customer")
TEAM = Party(id="team", name="The Team")

WATCH_BOB: WatchSet = {UserId("bob"): {}}


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def a_message(**changes: Any) -> Message:
    """Ann writes to Bob."""
    facts: dict[str, Any] = {
        "id": MessageId(1),
        "conversation_id": "ann_user_bob",
        "sender": ANN,
        "receiver": BOB,
        "receiver_type": "user",
        "category": "message",
        "type": "text",
        "sent_at": NOON,
    }
    return Message(**(facts | changes))


def in_group(**changes: Any) -> Message:
    """Ann writes to the team."""
    return a_message(receiver=TEAM, receiver_type="group", conversation_id="group_team", **changes)


def a_call(
    status: str,
    at: float = 0,
    *,
    number: int = 1,
    session: str = "s1",
    began: float | None = None,
    group: bool = False,
    caller: Party = ANN,
    callee: Party = BOB,
    kind: str = "audio",
) -> Message:
    """A row of Ann's call to Bob, `at` seconds after noon; `began` is what it tells of the call's start."""
    target = TEAM if group else callee
    actor = callee if status in ("ongoing", "rejected", "busy") else caller
    return a_message(
        id=MessageId(number),
        sender=actor,
        receiver=TEAM if group else (caller if actor is callee else callee),
        receiver_type="group" if group else "user",
        conversation_id="group_team" if group else "ann_user_bob",
        category="call",
        type=kind,
        action=status,
        sent_at=after(at),
        call=Call(
            session_id=session,
            status=status,
            caller=caller,
            callee=target,
            initiated_at=None if began is None else after(began),
        ),
    )


def rules_of(text: str, **options: Any) -> RuleSet:
    return load([Source("rules.yaml", text)], app=APP, **options)


MISSED = "rules: [{name: missed, kind: missed_call}]"


@dataclass
class Bench:
    """Steps over kept states and timers, as the running process does; only the `wanted` states are lent."""

    rules: RuleSet
    watch: WatchSet = field(default_factory=lambda: dict(WATCH_BOB))
    states: dict[StateKey, State] = field(default_factory=dict)
    timers: dict[StateKey, Timer] = field(default_factory=dict)
    told: list[Alert] = field(default_factory=list)
    last: Outcome = field(default_factory=Outcome)

    def feed(self, *messages: Message, ticks: Sequence[Tick] = (), now: datetime = NOON) -> Outcome:
        keys = wanted(self.rules, messages, ticks)
        lent = {key: self.states[key] for key in keys if key in self.states}
        self.last = step(self.rules, self.watch, lent, messages, ticks, now=now)
        self._apply(self.last, keys)
        return self.last

    def pass_time(self, now: datetime = NOON) -> Outcome:
        """Let every pending timer come due."""
        due = [Tick(key=timer.key, due=timer.due) for timer in self.timers.values()]
        return self.feed(ticks=due, now=now)

    def _apply(self, outcome: Outcome, keys: frozenset[StateKey]) -> None:
        for change in outcome.states:
            assert change.key in keys
            stored = self.states.get(change.key)
            assert change.expected == (stored.version if stored else 0)
            if change.value is None:
                del self.states[change.key]
            else:
                self.states[change.key] = State(version=change.expected + 1, value=change.value)
        for key in outcome.cancelled:
            self.timers.pop(key, None)
        for timer in outcome.timers:
            self.timers[timer.key] = timer
        known = {(alert.id, alert.status) for alert in self.told}
        self.told += [alert for alert in outcome.alerts if (alert.id, alert.status) not in known]

    @property
    def open_alerts(self) -> set[AlertId]:
        """Firing and not resolved."""
        over = {alert.id for alert in self.told if alert.status is Status.RESOLVED}
        return {alert.id for alert in self.told} - over

    @property
    def news(self) -> list[tuple[str, str]]:
        return [(alert.key, str(alert.status)) for alert in self.told]
