"""Recorded answers through the very same steps: decode, step, route. Sends nothing, stores nothing."""

from __future__ import annotations

from collections.abc import Iterable

from monitor.evaluation import Orders
from monitor.rehearsal import in_event_order, rehearse
from monitor.source.pages import decode
from monitor.store.values import Finding
from rules.model import Message, Value, WatchSet


class Replayed(Value, frozen=True, kw_only=True):
    """What the rules would have found in recorded answers."""

    messages: int
    rejects: int
    findings: tuple[Finding, ...]


def taking_part(messages: Iterable[Message]) -> WatchSet:
    """All the people whom messages name as taking part, to be watched without labels."""
    return {uid: {} for message in messages for uid in message.participants}


def everybody(bodies: Iterable[bytes]) -> WatchSet:
    """The same of recorded answers."""
    return taking_part(message for body in bodies for message in decode(body).messages)


def replay(orders: Orders, bodies: Iterable[bytes]) -> Replayed:
    """Evaluate the rows of recorded list answers in event order, timers included.

    Event time is the only clock: a timer concludes when a later row shows that its time had passed, and what
    still waits at the end of the recording stays open. Raises `source.pages.Undecodable` for a body that is
    no list answer.
    """
    pages = [decode(body) for body in bodies]
    rehearsed = rehearse(orders, in_event_order(message for page in pages for message in page.messages))
    return Replayed(
        messages=rehearsed.messages,
        rejects=sum(len(page.rejects) for page in pages),
        findings=rehearsed.findings,
    )
