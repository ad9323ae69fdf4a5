"""Apprise: no HTTP of ours, a thread of its own; the rest is in `test_apprise.py`."""

from __future__ import annotations

from typing import Any

from monitor.delivery.sinks import SINKS, Sink
from monitor.store.writer import inline
from tests.delivery.cases import Contract, status


def accept(title: str, body: str, kind: str) -> None:
    return None


def make(**changes: Any) -> Sink:
    facts: dict[str, Any] = {
        "clock": changes["clock"],
        "urls": lambda: ["mailto://user:pass@mail.example"],
        "run_sync": inline,
        "services": lambda _url: accept,
    }
    return SINKS["apprise"](**facts)


CONTRACT = Contract(make=make, accepts=status(200), over_http=False)
