"""PagerDuty: 202 is its yes; a 400 of its own is final unless it is about the key."""

from __future__ import annotations

import json
from typing import Any

from monitor.delivery.sinks import SINKS, Sink
from tests.delivery.cases import Case, Contract, D, R, X, says

KEY = "e93facc04764012d7bfb002500d5d1a6"
NEXT_KEY = "f93facc04764012d7bfb002500d5d1a7"
INVALID = {"status": "invalid event", "message": "Event object is invalid"}
SUCCESS = {"status": "success", "message": "Event processed", "dedup_key": "srv01/HTTP"}


def make(*, address: str, **changes: Any) -> Sink:
    facts: dict[str, Any] = {"app": "275211", "url": address, "routing_key": lambda: KEY}
    return SINKS["pagerduty"](**{**facts, **changes})


CONTRACT = Contract(
    make=make,
    accepts=says(202, SUCCESS),
    private=(KEY,),
    parts={"routing_key": (KEY, NEXT_KEY)},
    id_of=lambda request: json.loads(request.content)["dedup_key"],
    differs={
        "200 empty": R,
        "200 ok": R,
        "200 ok json": R,
        "200 list json": R,
        "200 log-in page": R,
        "200 slow body": R,
        "200 huge body": R,
        "200 cut body": R,
        "204": R,
        "413": X,
    },
    own={
        "200 of a relay": Case(says(200, SUCCESS), D),
        "400 invalid event": Case(says(400, {**INVALID, "errors": ["'payload.summary' is missing"]}), X),
        "400 unknown key": Case(says(400, {**INVALID, "errors": ["Invalid routing key"]}), R),
        "400 no key": Case(
            says(
                400, {**INVALID, "errors": ["Length of 'routing_key' is incorrect (should be 32 characters)"]}
            )
        ),
        "400 no JSON": Case(
            says(400, {"status": "Unrecognized object", "message": "Event object format is unrecognized"}), X
        ),
    },
)
