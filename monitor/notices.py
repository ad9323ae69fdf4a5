"""What Cometwatch tells about itself, on the road of all alerts: that it can't read CometChat. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec.structs import replace

from rules.model import Alert, RuleName, Severity, Status, fingerprint

BLIND: Final = RuleName("cometwatch-blind")


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
