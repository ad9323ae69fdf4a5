"""Webhooks: the status says it all."""

from __future__ import annotations

from typing import Any

from monitor.delivery.sinks import SINKS, Sink
from tests.delivery.cases import Contract, X, status

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEXT_SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
TOKEN = "Bearer headerSecret"


def make(*, address: str, **changes: Any) -> Sink:
    facts: dict[str, Any] = {
        "app": "275211",
        "url": lambda: address,
        "secrets": lambda: [SECRET],
        "headers": lambda: {"authorization": TOKEN},
    }
    return SINKS["webhook"](**{**facts, **changes})


CONTRACT = Contract(
    make=make,
    accepts=status(204),
    private=(SECRET[6:], "headerSecret"),
    parts={
        "url": ("https://old.example/", "https://new.example/"),
        "secrets": ([SECRET], [NEXT_SECRET]),
        "headers": ({"authorization": TOKEN}, {"authorization": "Bearer anotherSecret"}),
    },
    id_of=lambda request: request.headers["webhook-id"],
    differs={"410": X, "413": X},
)
