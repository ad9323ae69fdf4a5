"""JSM: 202 is its yes; 400 and 422 are final if they are its own."""

from __future__ import annotations

import json
from typing import Any

import httpx

from monitor.delivery.sinks import SINKS, Sink
from tests.delivery.cases import Case, Contract, D, R, X, says

KEY = "b9f24f49-4aab-44b5-9884-92f7c8d47066"
NEXT_KEY = "c9f24f49-4aab-44b5-9884-92f7c8d47067"
ACCEPTED = {"result": "Request will be processed", "took": 0.1, "requestId": "43a29c5c-3dbf-4fa4-9c26"}


def make(*, address: str, **changes: Any) -> Sink:
    facts: dict[str, Any] = {"app": "275211", "url": address, "api_key": lambda: KEY}
    return SINKS["jsm"](**{**facts, **changes})


def alias(request: httpx.Request) -> object:
    return json.loads(request.content).get("alias") or request.url.path.split("/")[-2]


CONTRACT = Contract(
    make=make,
    accepts=says(202, ACCEPTED),
    private=(KEY,),
    parts={"api_key": (KEY, NEXT_KEY)},
    id_of=alias,
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
        "200 request id": Case(says(200, ACCEPTED), D),
        "422 of its own": Case(says(422, {"message": "Request body is not processable", "took": 0.0}), X),
        "400 of its own": Case(says(400, {"message": "Key format is not valid!", "took": 0.0}), X),
    },
)
