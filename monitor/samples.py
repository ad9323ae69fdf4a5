"""Made-up alerts: to try the road to a receiver, and to see how a rule's alerts will look. Pure.

Nothing of them happened. Those that are sent say so, in their title and by a label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec.structs import replace

from monitor.store.values import Group, Kind, Notification, NotificationId, Opened, Timing
from rules.engine import LINK, Rule, RuleSet
from rules.kinds import KINDS
from rules.kinds.match import SAMPLE as PHOTO
from rules.model import (
    Alert,
    AlertId,
    Call,
    Labels,
    Message,
    MessageId,
    Party,
    RuleName,
    Severity,
    Status,
    UserId,
    digest,
)

CALLER: Final = Party(id="superhero2", name="Captain America")
CALLEE: Final = Party(id="superhero3", name="Spiderman")
BETWEEN: Final = "superhero2_user_superhero3"
TEXT: Final = "Have a look at this photo."
SEEN_AFTER: Final = timedelta(seconds=2)
CALL: Final = Message(
    id=MessageId(1777),
    conversation_id=BETWEEN,
    sender=CALLER,
    receiver=CALLEE,
    receiver_type="user",
    category="call",
    type="audio",
    action="unanswered",
    sent_at=PHOTO.sent_at,
    call=Call(session_id="v1.us.sample", status="unanswered", caller=CALLER, callee=CALLEE),
)
LABELS: Final[Labels] = {"sample": "true"}  # a receiver's own routes can tell them apart by it
IN_GROUP: Final = 3
IN_SUMMARY: Final = 30
RESOLUTION: Final = "the sample is over"


class Sample(StrEnum):
    """What can be sent to try a receiver."""

    MISSED_CALL = "missed-call"
    ATTACHMENT = "attachment"
    MENTION = "mention"
    GROUP = "group"  #: several alerts told together
    SUMMARY = "summary"  #: more than a person reads, as counts; for people only


def sample(
    what: Sample, *, receiver: str, app: str, token: str, link: Callable[[Mapping[str, str]], str] | None,
    now: datetime,
) -> Notification:  # fmt: skip
    """A marked notification. `token` makes its ids: with another one it is another alert everywhere."""
    count = {Sample.GROUP: IN_GROUP, Sample.SUMMARY: IN_SUMMARY}.get(what, 1)
    alerts = tuple(
        _linked(_alert(what, number, id_=_id(app, token, number), now=now), app, link)
        for number in range(count)
    )
    return Notification(
        id=NotificationId(digest("notification", app, token)),
        receiver=receiver,
        kind={Sample.GROUP: Kind.GROUP, Sample.SUMMARY: Kind.SUMMARY}.get(what, Kind.ALERTS),
        status=Status.FIRING,
        alerts=alerts,
        created_at=now,
        opened=_opened(receiver, app, token, now) if what is Sample.GROUP else None,
        is_sample=True,
    )


def ended(told: Notification, receipts: Mapping[str, str], *, now: datetime) -> Notification:
    """The end of the alerts that `told` began; `receipts` are what the receiver gave for them."""
    over = tuple(resolved(alert, now=now) for alert in told.alerts)
    return replace(
        told,
        id=NotificationId(digest("end", told.id)),
        status=Status.RESOLVED,
        alerts=over,
        created_at=now,
        receipts={**told.receipts, **receipts},
    )


def alert_of(rule: Rule, rules: RuleSet) -> Alert:
    """An alert as the rule words it, over the facts that its templates were checked with: always the same."""
    facts = {**KINDS[rule.kind].sample, "rule": {"name": rule.name, "severity": rule.severity.value}}
    message = CALL if rule.kind == "missed_call" else replace(PHOTO, action=None, text=TEXT)
    made = Alert(
        id=AlertId(digest(rules.app, "sample", rule.name)),
        rule=rule.name,
        key="sample",
        status=Status.FIRING,
        severity=rule.severity,
        title=rule.title(facts),
        summary=rule.summary(facts),
        conversation_id=message.conversation_id,
        event_at=message.sent_at,
        first_seen_at=message.sent_at + SEEN_AFTER,
        watched_users=(UserId(CALLEE.id),),
        labels=rule.labels,
        messages=(message,),
        lasts=rule.logic.is_lasting,
    )
    linked = _linked(made, rules.app, rules.link)
    return replace(linked, annotations={**linked.annotations, **rule.annotations})


def notification_of(alert: Alert, *, receiver: str) -> Notification:
    """The news of one alert, as a receiver would be told of it by itself and at once."""
    return Notification(
        id=NotificationId(digest("sample", alert.id, alert.status.value)),
        receiver=receiver,
        kind=Kind.ALERTS,
        status=alert.status,
        alerts=(alert,),
        created_at=max(alert.first_seen_at, alert.event_at),
    )


def resolved(alert: Alert, *, now: datetime) -> Alert:
    """The same alert when it is over."""
    return replace(alert, status=Status.RESOLVED, resolution=RESOLUTION, event_at=now)


def _id(app: str, token: str, number: int) -> AlertId:
    return AlertId(digest(app, "sample", token, str(number)))


def _opened(receiver: str, app: str, token: str, now: datetime) -> Opened:
    return Opened(
        receiver=receiver,
        group=Group(key='sample/{sample="true"}', labels=LABELS),
        timing=Timing(wait=timedelta(seconds=30), interval=timedelta(minutes=5)),
        subject=digest("group", app, token),
        anchor_at=now,
    )


def _alert(what: Sample, number: int, *, id_: AlertId, now: datetime) -> Alert:
    rule, severity, title, message = _content(what, number, now)
    return Alert(
        id=id_,
        rule=RuleName(rule),
        key=id_,
        status=Status.FIRING,
        severity=severity,
        title=title,
        summary="Made to try the road to this receiver: nothing happened.",
        conversation_id=message.conversation_id,
        event_at=message.sent_at,
        first_seen_at=now,
        watched_users=(UserId(CALLEE.id),),
        labels=LABELS,
        messages=(message,),
        lasts=True,
    )


def _content(what: Sample, number: int, now: datetime) -> tuple[str, Severity, str, Message]:
    between = f"{CALLER.label} to {CALLEE.label}"
    match what:
        case Sample.ATTACHMENT:
            return "attachment", Severity.INFO, f"Attachment from {between}", _photo(now)
        case Sample.MENTION:
            return "mention", Severity.INFO, f"{CALLER.label} mentioned {CALLEE.id}", _mention(now)
        case Sample.SUMMARY if number % 3:
            return "attachment", Severity.INFO, f"Attachment {number} from {between}", _photo(now)
        case Sample.GROUP | Sample.SUMMARY:
            return "missed-call", Severity.WARNING, f"Missed call {number + 1}: {between}", _call(now)
        case Sample.MISSED_CALL:
            return "missed-call", Severity.WARNING, f"Missed audio call: {between}", _call(now)


def _call(now: datetime) -> Message:
    assert CALL.call is not None
    call = replace(CALL.call, initiated_at=now - timedelta(seconds=45))
    return replace(CALL, sent_at=now.replace(microsecond=0), call=call)


def _photo(now: datetime) -> Message:
    return replace(_between(now), text=TEXT)


def _mention(now: datetime) -> Message:
    text = f"<@uid:{CALLEE.id}>, can you call me back?"
    return replace(_between(now), type="text", attachments=(), mentions=(CALLEE.id,), text=text)


def _between(now: datetime) -> Message:
    """A photo from one user to the other."""
    photo = PHOTO.attachments
    return replace(CALL, category="message", type="image", action=None, call=None, attachments=photo,
                   sent_at=now.replace(microsecond=0))  # fmt: skip


def _linked(alert: Alert, app: str, link: Callable[[Mapping[str, str]], str] | None) -> Alert:
    if link is None:
        return alert
    message = alert.messages[-1]
    facts = {
        "app": app,
        "rule": alert.rule,
        "alert_id": alert.id,
        "conversation_id": alert.conversation_id,
        "message_id": str(message.id),
        "sender": message.sender.id,
        "receiver": message.receiver.id,
    }
    return replace(alert, annotations={LINK: link(facts)})
