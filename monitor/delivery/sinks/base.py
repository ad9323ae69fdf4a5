"""The contract that every sink keeps; `tests/delivery/test_contract.py` holds all of them to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from monitor.store.values import Notification
from rules.model import Value


class Delivered(Value, frozen=True, kw_only=True):
    """The receiver said that it has it.

    `receipts` is what the sink wants to be given back when it is to tell of the same subject again (as
    `Notification.receipts`): for Slack, where the message stands. No secret: it is stored and shown.
    """

    receipts: Mapping[str, str] = {}  #: subject (an alert's id, a group's subject) -> receipt
    warning: str | None = None  #: accepted, but not all is well: one of several instances did not answer


class RetryAfter(Value, frozen=True, kw_only=True):
    """It may work later. `after` is the receiver's own wish, within our bounds."""

    reason: str
    after: timedelta | None = None


class Refused(Value, frozen=True, kw_only=True):
    """It will never work as it is: dead letter now."""

    reason: str


Settlement = Delivered | RetryAfter | Refused


class Traits(Value, frozen=True, kw_only=True):
    """What the deliverer has to know of a protocol."""

    people: bool  #: read by people: summaries and digests are counts; else every alert is sent in batches
    most: int | None = None  #: alerts in one notification that the protocol can carry, if it knows a limit
    follows: bool = False  #: brings up to date what it shows: is sent updates and acknowledgements too
    reasserts: timedelta | None = None  #: how often it has to be told what fires, or takes it to be over


class Sink(Protocol):
    """Speaks one protocol to one receiver."""

    @property
    def traits(self) -> Traits: ...

    async def send(self, notification: Notification) -> Settlement:
        """Send it once and say what came of it.

        A resolved alert whose beginning has a receipt is shown where that stands. An `UPDATE` changes what is
        shown and makes no noise. Sends the notification's id where the protocol has a place for it, the same
        on every call. What the network or the receiver does wrong is a settlement, not an exception; reasons
        hold no URL, secret or message text. Reads secrets anew for each send. Sets no deadline: the caller
        does.
        Cancelled in the middle, it leaves unknown whether the receiver has it.
        """
        ...
