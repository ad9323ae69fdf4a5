"""What delivery knows of a receiver. Settings are mapped to this by the composition root."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum

from rules.model import Severity, Value


class TextPolicy(StrEnum):
    """How much of a chat message's text may leave for one receiver."""

    NONE = "none"
    PREVIEW = "preview"  #: the first `PREVIEW_LENGTH` characters
    FULL = "full"


PREVIEW_LENGTH = 140


class Receiver(Value, frozen=True, kw_only=True):
    """One named destination and its limits; the sink that speaks its protocol stands beside it."""

    name: str
    text: TextPolicy = TextPolicy.NONE
    links: bool = False  #: media links (often signed, so secrets) may leave
    rate_per_s: float = 1.0  #: Slack's own limit for one webhook
    burst: int = 1
    timeout_s: float = 15.0  #: of one send, whole; the spec of Standard Webhooks asks for 15 to 30
    summary_over: int = 20  #: people only: when more wait, one message sums them up
    batch: int = 100  #: machines only: alerts in one body
    fallback: str | None = None  #: the receiver that is told instead when this one takes nothing
    deadlines: Mapping[Severity, timedelta] = {}  #: how long an alert waits for that, by its severity
    gather: timedelta = timedelta(seconds=30)
    """People only: old news waits this long for its like, so that a catch-up is one digest, not many."""
