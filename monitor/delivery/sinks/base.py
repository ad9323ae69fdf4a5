"""The contract that every sink keeps; `tests/delivery/test_contract.py` holds all of them to it."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from monitor.store.values import Notification
from rules.model import Value


class Delivered(Value, frozen=True, kw_only=True):
    """The receiver said that it has it."""


class RetryAfter(Value, frozen=True, kw_only=True):
    """It may work later. `after` is the receiver's own wish, within our bounds."""

    reason: str
    after: timedelta | None = None


class Refused(Value, frozen=True, kw_only=True):
    """It will never work as it is: dead letter now."""

    reason: str


Settlement = Delivered | RetryAfter | Refused


class Sink(Protocol):
    """Speaks one protocol to one receiver."""

    people: bool  #: read by people: summaries and digests are counts; else every alert is sent in batches

    async def send(self, notification: Notification) -> Settlement:
        """Send it once and say what came of it.

        Sends the notification's id where the protocol has a place for it, the same on every call. What
        the network or the receiver does wrong is a settlement, not an exception; reasons hold no URL,
        secret or message text. Reads secrets anew for each send. Sets no deadline, the caller does.
        Cancelled in the middle, it leaves unknown whether the receiver has it.
        """
        ...
