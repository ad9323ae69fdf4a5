"""Discord: a yes gives the message back; its errors have numbers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from monitor.delivery.sinks import SINKS, Sink
from tests.delivery.cases import Case, Contract, D, R, X, says, status


def make(*, address: str, **changes: Any) -> Sink:
    return SINKS["discord"](**{"url": lambda: address, **changes})


CONTRACT = Contract(
    make=make,
    accepts=says(200, {"id": "1174600000000000001", "channel_id": "1174600000000000000"}),
    parts={"url": ("https://old.example/1/a", "https://new.example/2/b")},
    differs={
        "200 ok": R,
        "200 list json": R,
        "200 log-in page": R,
        "200 huge body": R,
        "200 cut body": R,
        "202": R,
    },
    own={
        "200 cut json": Case(status(200, '{"type": 0, "content": "…'), D),
        "200 odd id": Case(says(200, {"id": "../../x"}), D),
        "400 form": Case(says(400, {"code": 50035, "message": "Invalid Form Body"}), X),
        "401 token": Case(says(401, {"code": 50027, "message": "Invalid Webhook Token"})),
        "404 webhook": Case(says(404, {"code": 10015, "message": "Unknown Webhook"}), X),
        "404 message": Case(says(404, {"code": 10008, "message": "Unknown Message"})),
        "429 in the body": Case(
            says(429, {"message": "You are being rate limited.", "retry_after": 3.5, "global": False}),
            R,
            timedelta(seconds=3.5),
        ),
        "429 absurd in the body": Case(says(429, {"retry_after": 1e300})),
        "429 a word in the body": Case(says(429, {"retry_after": "soon"})),
        "429 true in the body": Case(says(429, {"retry_after": True})),
        "400 number as a text": Case(says(400, {"code": "10015"})),
    },
)
