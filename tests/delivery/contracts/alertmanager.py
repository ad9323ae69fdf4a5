"""Alertmanager: any 2xx but a web page; 400 and 413 are final, as it says itself."""

from __future__ import annotations

from typing import Any

from monitor.delivery.sinks import SINKS, Sink
from tests.delivery.cases import Case, Contract, R, X, says, status

TOKEN = "Bearer headerSecret"


def make(*, address: str, **changes: Any) -> Sink:
    facts: dict[str, Any] = {
        "app": "275211",
        "urls": [address],
        "headers": lambda: {"authorization": TOKEN},
        "labels": {"source": "chat"},
    }
    return SINKS["alertmanager"](**{**facts, **changes})


CONTRACT = Contract(
    make=make,
    accepts=status(200),
    private=("headerSecret",),
    parts={"headers": ({"authorization": TOKEN}, {"authorization": "Bearer anotherSecret"})},
    id_of=None,  # the alerts have ids, a request has none; it says anew until when they stand
    differs={
        "200 log-in page": R,
        "400": X,
        "400 echo": X,
        "400 huge body": X,
        "413": X,
    },
    own={"400 of its own": Case(says(400, 'invalid label set: invalid name "a b"'), X)},
)
