"""What the running monitor says of itself, as values; and the judgement whether its work progresses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from monitor.store.values import Depth, Entry
from rules.model import Alert, Labels, ListId, MessageId, UserId, Value


class UserState(StrEnum):
    """Where one list stands; also the label of `cometwatch_users`."""

    STARTING = "starting"  #: no poll answered yet
    CURRENT = "current"
    CATCHING_UP = "catching_up"  #: the last page was full: there is more to read
    FAILING = "failing"  #: the last poll got no usable answer
    UNKNOWN = "unknown"  #: CometChat does not know this uid


WORST_FIRST: Final[Mapping[UserState, int]] = {
    UserState.FAILING: 0,
    UserState.UNKNOWN: 1,
    UserState.CATCHING_UP: 2,
    UserState.STARTING: 3,
    UserState.CURRENT: 4,
}


class UserView(Value, frozen=True, kw_only=True, omit_defaults=False):
    """One list that is read: a watched user's, a group's, or the app's."""

    uid: ListId
    state: UserState
    labels: Labels = msgspec.field(default_factory=dict)
    cursor: MessageId | None = None
    last_poll_at: datetime | None = None  #: the last that was answered
    watermark: datetime | None = None  #: everything before it was seen
    lag_s: float | None = None  #: age of the watermark
    promise_s: float | None = None  #: the age that the list shall not exceed
    last_error: str | None = None  #: of the last poll; redacted


class BudgetView(Value, frozen=True, kw_only=True, omit_defaults=False):
    """The requests we may send, and who waits for them."""

    requests_per_minute: int  #: as configured
    granted: float | None = None  #: what the key's quota and its other users leave us of it, a minute
    reason: str = "configured"  #: what holds the granted rate where it is
    stretch: float = 1.0  #: by what all promises of staleness are multiplied, so that this keeps them
    waiting: int = 0  #: lists whose promise is overdue


class Tally(Value, frozen=True, kw_only=True, omit_defaults=False):
    """All lists that are read, counted a moment ago."""

    states: Mapping[UserState, int] = msgspec.field(default_factory=dict)
    lag_s: float | None = None  #: age of the oldest watermark

    @property
    def total(self) -> int:
        return sum(self.states.values())

    @property
    def troubled(self) -> int:
        return self.states.get(UserState.FAILING, 0) + self.states.get(UserState.UNKNOWN, 0)


class ReceiverView(Value, frozen=True, kw_only=True, omit_defaults=False):
    """One receiver: what waits for it, and how it fares."""

    receiver: str
    pending: int = 0
    dead: int = 0
    oldest_at: datetime | None = None  #: creation of the oldest entry that waits
    door: str = "closed"  #: of its breaker; open: in trouble, only probed
    failing_since: datetime | None = None  #: since when it has taken nothing
    reason: str | None = None  #: of the last failure; redacted

    @classmethod
    def of(cls, depth: Depth) -> ReceiverView:
        return cls(receiver=depth.receiver, pending=depth.pending, dead=depth.dead, oldest_at=depth.oldest_at)


class StatusView(Value, frozen=True, kw_only=True, omit_defaults=False):
    """One look at the whole monitor, taken at `now`."""

    version: str
    app: str
    now: datetime
    started_at: datetime
    budget: BudgetView
    lists: Tally = Tally()
    worst: tuple[UserView, ...] = ()  #: those in trouble or furthest behind, the worst first
    receivers: tuple[ReceiverView, ...] = ()
    rules: int = 0
    timers_pending: int = 0
    watching_since: datetime | None = None
    paused_until: datetime | None = None  #: a rate limit or a refused key stops all polling until then
    paused_for: str | None = None  #: why nobody may ask but one probe at a time
    blind_since: datetime | None = None  #: set once that has lasted long enough to tell people
    last_poll_at: datetime | None = None  #: the last answered poll of anybody
    last_commit_at: datetime | None = None
    last_error: str | None = None  #: of the source, while it fails
    store_error: str | None = None  #: why the store takes no commits
    config_error: str | None = None  #: why the last reload was refused; the one before is in force
    discovery_error: str | None = None  #: why a cohort can't be discovered; who was found before is watched
    max_silence: timedelta = timedelta(minutes=2)  #: without an answered poll for longer, work has stopped


def readiness(view: StatusView, now: datetime) -> list[str]:
    """Why the work does not progress; empty while it does. Made for people, so each says what to look at.

    A receiver that is down is no reason: its queue waits, and the others go on.
    """
    reasons = []
    if view.store_error:
        reasons.append(f"the store takes no commits: {view.store_error}")
    if view.discovery_error and not view.lists.total:
        reasons.append(f"nobody is watched, discovery failed: {view.discovery_error}")
    if view.blind_since:
        why = f": {view.last_error}" if view.last_error else ""
        reasons.append(f"can't read CometChat since {view.blind_since:%Y-%m-%d %H:%M:%S} UTC{why}")
    elif (
        view.lists.total
        and not _is_paused(view, now)
        and (silent := _silent_for(view, now)) > view.max_silence
    ):
        reasons.append(f"no poll was answered for {span(silent)}: see the last error of each list")
    return reasons


def _is_paused(view: StatusView, now: datetime) -> bool:
    return view.paused_until is not None and now < view.paused_until


def _silent_for(view: StatusView, now: datetime) -> timedelta:
    return now - (view.last_poll_at or view.started_at)


def span(length: timedelta) -> str:
    """A length of time as people say it: its two largest units at most."""
    seconds = max(0.0, length.total_seconds())
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds % 1 else f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if count]
    if not days and not hours and seconds:
        parts.append(f"{seconds} s")
    return " ".join(parts[:2])


class AlertView(Value, frozen=True, kw_only=True, omit_defaults=False):
    """An alert as anybody with access to the page may see it: without any contents of messages."""

    id: str
    rule: str
    status: str
    severity: str
    title: str
    summary: str
    conversation_id: str
    watched_users: tuple[UserId, ...]
    labels: Labels
    event_at: datetime
    first_seen_at: datetime
    message_ids: tuple[str, ...]
    resolution: str | None = None

    @classmethod
    def of(cls, alert: Alert) -> AlertView:
        return cls(
            id=alert.id,
            rule=alert.rule,
            status=alert.status,
            severity=alert.severity,
            title=alert.title,
            summary=alert.summary,
            conversation_id=alert.conversation_id,
            watched_users=alert.watched_users,
            labels=alert.labels,
            event_at=alert.event_at,
            first_seen_at=alert.first_seen_at,
            message_ids=tuple(str(message.id) for message in alert.messages),
            resolution=alert.resolution,
        )


class EntryView(Value, frozen=True, kw_only=True, omit_defaults=False):
    """One outbox row, likewise."""

    id: int
    receiver: str
    state: str
    reason: str | None
    late: bool
    created_at: datetime
    settled_at: datetime | None
    notification: str | None
    alert: AlertView

    @classmethod
    def of(cls, entry: Entry) -> EntryView:
        return cls(
            id=entry.id,
            receiver=entry.receiver,
            state=entry.state,
            reason=entry.reason,
            late=entry.late,
            created_at=entry.created_at,
            settled_at=entry.settled_at,
            notification=entry.notification,
            alert=AlertView.of(entry.alert),
        )
