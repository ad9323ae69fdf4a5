"""Teams: a flow says 202, the connector of old "1"; a page in between says anything."""

from __future__ import annotations

from typing import Any

from monitor.delivery.sinks import SINKS, Sink
from tests.delivery.cases import Case, Contract, D, R, X, says, status


def make(*, address: str, **changes: Any) -> Sink:
    return SINKS["teams"](**{"url": lambda: address, **changes})


CONTRACT = Contract(
    make=make,
    accepts=status(202),
    parts={"url": ("https://old.example/", "https://new.example/")},
    differs={
        "200 ok": R,
        "200 log-in page": R,
        "200 huge body": R,
        "200 cut body": R,
        "413": X,
    },
    own={
        "200 connector": Case(status(200, "1"), D),
        "200 connector failed": Case(
            status(200, "Webhook message delivery failed with error: Microsoft Teams endpoint returned 429")
        ),
        "400 turned off": Case(says(400, {"error": {"code": "WorkflowTriggerIsNotEnabled"}}), X),
        "404 gone": Case(says(404, {"error": {"code": "WorkflowNotFound", "message": "x"}}), X),
        "401 signature": Case(says(401, {"error": {"code": "DirectApiAuthorizationRequired"}})),
        "400 other json": Case(says(400, {"error": "WorkflowNotFound"})),
    },
)
