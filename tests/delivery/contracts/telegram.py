"""Telegram: every answer says whether it is "ok", and its errors are sentences."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from monitor.delivery.sinks import SINKS, Sink
from tests.delivery.cases import Answer, Case, Contract, D, R, X, says, status

TOKEN = "123456789:AAEsecretsecretsecretsecretsecret00"


def make(*, address: str, **changes: Any) -> Sink:
    facts: dict[str, Any] = {"token": lambda: TOKEN, "chat": "-100123", "url": address}
    return SINKS["telegram"](**{**facts, **changes})


def no(code: int, description: str, **parameters: Any) -> Answer:
    told = {"ok": False, "error_code": code, "description": description}
    return says(code, {**told, **({"parameters": parameters} if parameters else {})})


CONTRACT = Contract(
    make=make,
    accepts=says(200, {"ok": True, "result": {"message_id": 7, "chat": {"id": -100123}}}),
    private=(TOKEN, "secretsecret"),
    parts={"token": ("1:old", "2:new")},
    differs={
        "200 ok": R,
        "200 list json": R,
        "200 log-in page": R,
        "200 huge body": R,
        "200 cut body": R,
        "202": R,
    },
    own={
        "200 cut json": Case(status(200, '{"ok":true,"result":{"mess'), D),
        "200 not ok": Case(says(200, {"ok": False, "description": "Bad Request: chat not found"})),
        "400 chat not found": Case(no(400, "Bad Request: chat not found"), X),
        "400 entities": Case(no(400, "Bad Request: can't parse entities: Unsupported start tag"), X),
        "400 unknown": Case(no(400, "Bad Request: the moon is full")),
        "401 token": Case(no(401, "Unauthorized")),
        "403 blocked": Case(no(403, "Forbidden: bot was blocked by the user"), X),
        "403 kicked": Case(no(403, "Forbidden: bot was kicked from the supergroup chat"), X),
        "404 token": Case(no(404, "Not Found")),
        "429 in the body": Case(
            no(429, "Too Many Requests: retry after 34", retry_after=34), R, timedelta(seconds=34)
        ),
        "429 absurd in the body": Case(no(429, "Too Many Requests", retry_after=10**30)),
        "429 a word in the body": Case(no(429, "Too Many Requests", retry_after="soon")),
        "503 ok": Case(says(503, {"ok": True})),
    },
)
