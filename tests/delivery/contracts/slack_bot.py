"""Slack's Web API: an answer counts as yes only if it says so and tells where the message stands."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import httpx

from monitor.delivery.sinks import SINKS, Sink
from tests.delivery.cases import Case, Contract, D, R, X, says

PLACE = {"ok": True, "channel": "C0ALERTS", "ts": "1700000000.000100"}
NOWHERE = {"ok": True, "messages": [], "has_more": False}


def make(*, address: str, **changes: Any) -> Sink:
    facts: dict[str, Any] = {"token": lambda: "xoxb-SecretToken", "channel": "C0ALERTS", "url": address}
    return SINKS["slack_bot"](**{**facts, **changes})


async def accepts(request: httpx.Request) -> httpx.Response:
    found = request.url.path.endswith(("history", "replies"))
    return await says(200, NOWHERE if found else PLACE)(request)


def id_of(request: httpx.Request) -> object:
    return json.loads(request.content)["metadata"]["event_payload"]["notification"]


def said(word: str, **more: str) -> Case:
    """A plain no, with status 200 as Slack says it."""
    return Case(says(200, {"ok": False, "error": word, **more}))


REFUSED = {"msg_too_long", "no_text", "too_many_attachments"}
RETRIED = {"channel_not_found", "fatal_error", "internal_error", "invalid_auth", "invalid_arguments"} | {
    *{"is_archived", "missing_scope", "not_in_channel", "rate_limited", "restricted_action"},
    *{"service_unavailable", "token_expired", "token_revoked", "a_word_of_tomorrow"},
}

SAYS_NOTHING = (
    *("200 empty", "200 ok", "200 ok json", "200 list json", "200 log-in page", "200 slow body"),
    *("200 huge body", "200 cut body", "202", "204"),
)

CONTRACT = Contract(
    make=make,
    accepts=accepts,
    private=("xoxb-SecretToken", "SecretToken"),
    parts={"token": ("xoxb-old", "xoxb-new")},
    id_of=id_of,
    differs=dict.fromkeys(SAYS_NOTHING, R),
    own={
        "200 posted": Case(says(200, PLACE), D),
        "200 without a place": Case(says(200, {"ok": True, "ts": 5})),
        "429 ratelimited": Case(
            says(429, {"ok": False, "error": "ratelimited"}, retry_after="30"), R, timedelta(seconds=30)
        ),
        "500 that says ok": Case(says(500, PLACE)),
        **{f"200 {word}": said(word) for word in sorted(RETRIED)},
        **{f"200 {word}": Case(says(200, {"ok": False, "error": word}), X) for word in sorted(REFUSED)},
    },
)
