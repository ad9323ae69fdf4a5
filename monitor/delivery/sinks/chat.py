"""Chats whose messages can be edited: one message stands for each alert or group, and is kept up to date.

| told of                                   | what is done                                                  |
|-------------------------------------------|---------------------------------------------------------------|
| something that begins                     | a message, which stands for it from then on                   |
| news of a group that stands               | the message is edited, and what is new is said below          |
| events of a group, which are told once    | a message, which stands for the group from then on            |
| the end of what stands                    | the message is edited, and the end is said below in a line    |
| a change: a revision, an acknowledgement  | the message is edited, which makes no noise                   |
| that it still fires                       | said below                                                    |
| a summary or digest                       | a message that stands for nothing; what stands of its alerts  |
|                                           | is brought up to date by changes that come one by one         |

What stands is edited first, since that may be done twice; what is posted last is posted once more only if
its answer was lost. A message that somebody deleted is not brought back by a change; by news it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

from msgspec.structs import replace

from monitor.delivery.render import text
from monitor.delivery.sinks.base import Delivered, Refused, RetryAfter, Settlement
from monitor.store.values import Change, Kind, Notification
from rules.model import Alert, Value

_SUMS: Final = frozenset({Kind.SUMMARY, Kind.DIGEST})


class Said(Value, frozen=True, kw_only=True):
    """The chat has the message; `receipt` finds it again, if the answer told where it stands."""

    receipt: str | None
    warning: str | None = None


class Gone(Value, frozen=True, kw_only=True):
    """The message can't be edited any more: deleted, or too old."""


Failed = RetryAfter | Refused


class Chat(Protocol):
    """One chat service. Neither method raises for what the network or the service does wrong."""

    async def post(self, page: text.Page, *, is_loud: bool, below: str | None) -> Said | Failed:
        """A new message; as an answer to the one with the receipt `below` where the service has such."""
        ...

    async def edit(self, receipt: str, page: text.Page) -> Said | Gone | Failed:
        """Let the message show this page instead, without noise. The same page again changes nothing."""
        ...


class _Standing(NamedTuple):
    """A message of ours, and what it is to show now."""

    subject: str
    receipt: str
    view: Notification


async def tell(chat: Chat, notification: Notification) -> Settlement:
    """Edit and post as the table above says."""
    standing = list(_standing(notification))
    shown: dict[str, str] = {subject: receipt for subject, receipt, _ in standing}
    if notification.change is not Change.REPEAT:
        for subject, receipt, view in standing:
            match await chat.edit(receipt, text.page(view)):
                case RetryAfter() | Refused() as failed:
                    return failed
                case Gone() if notification.change is Change.NEWS:
                    del shown[subject]
    if notification.change is Change.UPDATE and standing:
        return Delivered(receipts=shown)
    return await _post(chat, notification, shown)


async def _post(chat: Chat, notification: Notification, shown: dict[str, str]) -> Settlement:
    subjects = _subjects(notification)
    stands = bool(shown) and subjects <= shown.keys()
    page = text.follow_up(notification) if stands else text.page(notification)
    below = next(iter(shown.values())) if stands and len(subjects) == 1 else None
    said = await chat.post(page, is_loud=notification.change is not Change.UPDATE, below=below)
    if not isinstance(said, Said):
        return said
    # A message that tells of several stands for none of them: what is new of one would erase the others.
    new = {subject: said.receipt for subject in subjects - shown.keys() if said.receipt}
    may_stand = len(subjects) == 1 and notification.kind not in _SUMS
    return Delivered(receipts={**shown, **(new if may_stand else {})}, warning=said.warning)


def _subjects(notification: Notification) -> set[str]:
    return {notification.subject(alert) for alert in notification.alerts}


def _standing(notification: Notification) -> Iterator[_Standing]:
    """The messages that there are already."""
    stands_for_none = notification.kind in _SUMS or notification.begins_anew
    receipts = {} if stands_for_none else notification.receipts
    for alert in notification.alerts:
        subject = notification.subject(alert)
        if notification.kind is Kind.GROUP and notification.group:
            if receipt := receipts.get(subject):
                yield _Standing(subject, receipt, _as_it_is(notification))
            return
        if receipt := receipts.get(subject):
            yield _Standing(subject, receipt, _alone(notification, alert))


def _as_it_is(notification: Notification) -> Notification:
    return replace(notification, change=Change.NEWS)


def _alone(notification: Notification, alert: Alert) -> Notification:
    """The notification as if it told of this alert only."""
    return replace(
        _as_it_is(notification),
        kind=Kind.ALERTS,
        status=alert.status,
        alerts=(alert,),
        others=(),
        opened=None,
    )
