"""Slack's incoming webhooks: an answer counts as yes only with Slack's own word for it."""

from __future__ import annotations

from typing import Any

from monitor.delivery.sinks import SINKS, Sink
from tests.delivery.cases import Case, Contract, D, R, X, says, status


def make(*, address: str, **changes: Any) -> Sink:
    return SINKS["slack"](**{"url": lambda: address, **changes})


CONTRACT = Contract(
    make=make,
    accepts=status(200, "ok"),
    parts={"url": ("https://old.example/", "https://new.example/")},
    differs={
        "200 list json": R,
        "200 log-in page": R,
        "200 huge body": R,
        "200 cut body": R,
        "202": R,
    },
    own={
        "200 success json": Case(says(200, {"success": True}), D),
        "200 error word": Case(status(200, "no_service"), X),
        "200 error json": Case(says(200, {"ok": False, "error": "channel_not_found"}), X),
        "400 invalid_payload": Case(status(400, "invalid_payload"), X),
        "400 invalid_blocks": Case(status(400, "invalid_blocks"), X),
        "403 action_prohibited": Case(status(403, "action_prohibited"), X),
        "404 no_service": Case(status(404, "no_service"), X),
        "404 no_team": Case(status(404, "no_team"), X),
        "410 channel_is_archived": Case(status(410, "channel_is_archived"), X),
        "500 rollup_error": Case(status(500, "rollup_error")),
    },
)
