"""Slack by incoming webhook.

What its answers mean (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks):

| answer                                        | we                                                   |
|-----------------------------------------------|------------------------------------------------------|
| 2xx, body "ok", `{"ok": true}` or empty       | delivered                                            |
| 2xx with another body (a proxy's log-in page) | retry                                                |
| an error word that names the blocks           | send the text alone at once, then as below           |
| any other error word of `_PERMANENT`          | refused: dead letter, to redrive when mended         |
| 429                                           | retry; the whole receiver rests for Retry-After      |
| anything else: 3xx, 4xx without a word, 5xx   | retry                                                |
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

import httpx

from monitor.clock import Clock
from monitor.delivery.render import slack
from monitor.delivery.sinks.base import Delivered, Refused, RetryAfter, Settlement, Traits
from monitor.delivery.sinks.post import Answer, PostError, post, unreadable
from monitor.errors import CometwatchError
from monitor.store.values import Notification

_BLOCKS: Final = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long"})
_PERMANENT: Final = _BLOCKS | {
    "action_prohibited",
    "channel_is_archived",
    "channel_not_found",
    "invalid_payload",
    "invalid_token",
    "missing_text_or_fallback_or_attachments",
    "msg_too_long",
    "no_active_hooks",
    "no_service",
    "no_service_id",
    "no_team",
    "no_text",
    "posting_to_general_channel_denied",
    "team_disabled",
    "token_revoked",
    "too_many_attachments",
    "user_not_found",
}


class SlackSink:
    traits = Traits(people=True)

    def __init__(self, *, url: Callable[[], str], http: httpx.AsyncClient, clock: Clock) -> None:
        self._url = url
        self._http = http
        self._clock = clock

    async def send(self, notification: Notification) -> Settlement:
        now = self._clock.wall()
        try:
            answer = await self._post(slack.payload(notification, now=now))
            if _error_word(answer) in _BLOCKS:
                # A mistake in our blocks, or a limit that Slack has not published, must not cost an alert.
                answer = await self._post(slack.fallback(notification, now=now))
        except PostError as exc:
            return RetryAfter(reason=str(exc))
        except (OSError, UnicodeError, CometwatchError) as exc:
            return RetryAfter(reason=unreadable(exc))
        return settlement(answer)

    async def _post(self, payload: dict[str, Any]) -> Answer:
        return await post(
            self._http,
            self._url().strip(),
            json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace"),
            {"content-type": "application/json; charset=utf-8"},
            now=self._clock.wall(),
        )


def settlement(answer: Answer) -> Settlement:
    """What an answer of Slack means for the notification."""
    word = _error_word(answer)
    if answer.is_success and word is None:
        return Delivered()
    reason = f"Slack answered {answer.status}" + (f" {word}" if word else "")
    if word in _PERMANENT:
        return Refused(reason=reason)
    return RetryAfter(reason=reason, after=answer.retry_after)


def _error_word(answer: Answer) -> str | None:
    """Slack's word for the error; None for success, "" where no word was found."""
    said = answer.body.decode("utf-8", "replace").strip()
    if answer.is_success and said.lower() in {"ok", ""}:
        return None
    if re.fullmatch(r"[a-z_]{2,64}", said):
        return said if said in _PERMANENT or said == "rate_limited" else ""
    try:
        told = json.loads(said)
    except ValueError:
        return ""
    return _word_of(told, is_success=answer.is_success)


def _word_of(told: Any, *, is_success: bool) -> str | None:
    if not isinstance(told, dict):
        return ""
    if is_success and (told.get("ok") is True or told.get("success") is True):
        return None
    word = told.get("error")
    return word if isinstance(word, str) and word in _PERMANENT else ""
