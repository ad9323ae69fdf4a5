"""What Cometwatch tells about itself, on the road of all alerts: what it can't do, what it held. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec.structs import replace

from monitor.store.values import Operator, Silence
from rules.model import Alert, RuleName, Severity, Status, fingerprint

BLIND: Final = RuleName("cometwatch-blind")
RECEIVER_FAILING: Final = RuleName("cometwatch-receiver-failing")
SILENCE_ENDED: Final = RuleName("cometwatch-silence-ended")
OURS: Final = (BLIND, RECEIVER_FAILING, SILENCE_ENDED)


def blind(*, app: str, since: datetime, error: str, now: datetime) -> Alert:
    """Nothing could be read since `since`. The same blindness always gives the same id."""
    moment = f"{since:%Y-%m-%d %H:%M:%S} UTC"
    return Alert(
        id=fingerprint(app, BLIND, "source", since.isoformat()),
        rule=BLIND,
        key="source",
        status=Status.FIRING,
        severity=Severity.CRITICAL,
        title=f"Cometwatch can't read CometChat since {moment}",
        summary=f"No poll has succeeded since {moment}; what happens meanwhile is told late. Error: {error}",
        conversation_id="",
        event_at=now,
        first_seen_at=now,
        lasts=True,
    )


def sees_again(alert: Alert, *, now: datetime) -> Alert:
    """The end of a blindness."""
    return replace(
        alert,
        status=Status.RESOLVED,
        event_at=now,
        title="Cometwatch reads CometChat again",
        summary=f"{alert.title}; since {now:%H:%M:%S} UTC it can again, and catches up.",
        resolution="polls succeed again",
    )


def receiver_failing(*, app: str, receiver: str, since: datetime, reason: str, now: datetime) -> Alert:
    """A receiver has taken nothing since `since`. The same outage always gives the same id."""
    moment = f"{since:%Y-%m-%d %H:%M:%S} UTC"
    return Alert(
        id=fingerprint(app, RECEIVER_FAILING, receiver, since.isoformat()),
        rule=RECEIVER_FAILING,
        key=receiver,
        status=Status.FIRING,
        severity=Severity.CRITICAL,
        title=f"Receiver {receiver} has taken nothing since {moment}",
        summary=(
            f"What is meant for {receiver} waits in the outbox, and {receiver} is probed twice a minute. "
            f"The last answer: {reason}."
        ),
        conversation_id="",
        event_at=now,
        first_seen_at=now,
        labels={"receiver": receiver},
        lasts=True,
    )


def receiver_recovered(alert: Alert, *, because: str, now: datetime) -> Alert:
    """The end of a receiver's trouble, told to those who heard of its beginning."""
    return replace(
        alert,
        status=Status.RESOLVED,
        event_at=now,
        title=f"Receiver {alert.key}: {because}",
        summary=f"{alert.title}; at {now:%H:%M:%S} UTC: {because}.",
        resolution=because,
    )


def silence_ended(silence: Silence, *, app: str, held: int, sent: int, now: datetime) -> Alert:
    """A silence that held `held` alerts is over, and `sent` of them are told now.

    It carries the labels that the silence asked for, so that it reaches those who were not told.
    """
    alerts = "1 alert" if held == 1 else f"{held} alerts"
    by = f" by {silence.author}" if silence.author else ""
    matchers = ", ".join(map(str, silence.matchers))
    return Alert(
        id=fingerprint(app, SILENCE_ENDED, str(silence.id), silence.ends_at.isoformat()),
        rule=SILENCE_ENDED,
        key=str(silence.id),
        status=Status.FIRING,
        severity=Severity.INFO,
        title=f"Silence {silence.id} ended: it held {alerts}, {_still(sent)}",
        summary=(
            f"Silence {silence.id}{by} ({matchers}) began at {silence.starts_at:%Y-%m-%d %H:%M} and ended at "
            f"{silence.ends_at:%Y-%m-%d %H:%M} UTC: {silence.comment}. "
            f"`cometwatch silence show {silence.id}` lists what it held."
        ),
        conversation_id="",
        event_at=now,
        first_seen_at=now,
        labels={one.label: one.value for one in silence.matchers if one.operator is Operator.IS},
    )


def _still(sent: int) -> str:
    if not sent:
        return "none of which still fires"
    return f"{sent} of which still {'fires' if sent == 1 else 'fire'}: told now"


def withdrawn(alert: Alert, *, now: datetime) -> Alert:
    """The end of an alert whose rule was removed: nothing would ever tell that it is over."""
    return replace(alert, status=Status.RESOLVED, event_at=now, resolution="its rule was removed")
