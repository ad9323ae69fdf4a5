"""Discord by webhook; its own message is edited as the alert changes.

What its answers mean (https://docs.discord.com/developers/topics/opcodes-and-status-codes and
https://docs.discord.com/developers/topics/rate-limits):

| answer                                          | we                                                    |
|-------------------------------------------------|-------------------------------------------------------|
| 2xx with a message, or without a body           | delivered                                             |
| 2xx with another body (a proxy's log-in page)   | retry                                                 |
| 400 code 50035, the embeds can't be used        | send the line alone at once, then as below            |
| 404 code 10008, 403 code 50005, 400 code 30046, | the message can't be edited any more: news is posted  |
| when a message is to be edited                  | anew, a mere change is let go                         |
| 404 code 10015, the webhook was deleted         | refused: dead letter, to redrive when mended          |
| 400 code 50035 of the line alone                | refused: it would be so again                         |
| 429                                             | retry; the whole receiver rests for Retry-After or,   |
|                                                 | without that header, the body's `retry_after` seconds |
| anything else: 3xx, other 4xx, 5xx              | retry                                                 |
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpx

from monitor.clock import Clock
from monitor.delivery.backoff import bounded
from monitor.delivery.render import discord
from monitor.delivery.render.text import Page
from monitor.delivery.sinks.base import Refused, RetryAfter, Settlement, Traits
from monitor.delivery.sinks.chat import Failed, Gone, Said, tell
from monitor.delivery.sinks.post import Answer, PostError, post, unreadable
from monitor.errors import CometwatchError
from monitor.store.values import Notification

_INVALID_FORM: Final = 50035
_UNKNOWN_WEBHOOK: Final = 10015
_UNEDITABLE: Final = frozenset({10008, 50005, 30046})
_MEANINGS: Final = {
    401: "it does not accept the webhook's token",
    403: "it does not let us in",
    404: "it knows no such webhook",
    429: "it is rate limited",
    10003: "unknown channel",
    10008: "unknown message",
    10015: "unknown webhook; make a new one in the channel's settings, then redrive its dead letters",
    20028: "too much is written to this channel",
    30046: "too many edits of an old message",
    40333: "the request was blocked",
    50001: "no access to the channel",
    50005: "the message is somebody else's",
    50006: "the message is empty",
    50013: "a permission is missing",
    50027: "the webhook's token is not valid",
    50035: "the message can't be used as it is",
    50083: "the thread is archived",
}
_MOST_ANSWER: Final = 64 * 1024  # it gives the whole message back


class DiscordSink:
    traits = Traits(people=True, follows=True)

    def __init__(self, *, url: Callable[[], str], http: httpx.AsyncClient, clock: Clock) -> None:
        self._url = url
        self._http = http
        self._clock = clock

    async def send(self, notification: Notification) -> Settlement:
        return await tell(self, notification)

    async def post(
        self,
        page: Page,
        *,
        is_loud: bool,
        below: str | None,  # noqa: ARG002 - a webhook's message can't answer another one
    ) -> Said | Failed:
        said = await self._say(page, is_loud=is_loud)
        # An edit that finds nothing is the only way to get this; a new message is never gone.
        return said if not isinstance(said, Gone) else RetryAfter(reason="Discord did not find the message")

    async def edit(self, receipt: str, page: Page) -> Said | Gone | Failed:
        if not _is_receipt(receipt):  # of another service, which this receiver was before
            return Gone()
        return await self._say(page, receipt=receipt)

    async def _say(
        self, page: Page, *, is_loud: bool = True, receipt: str | None = None
    ) -> Said | Gone | Failed:
        try:
            answer = await self._request(discord.payload(page, is_loud=is_loud), receipt)
            if code(answer) == _INVALID_FORM:
                # A mistake in our embeds, or a limit that we don't know of, must not cost an alert.
                answer = await self._request({**discord.bare(page, is_loud=is_loud), "embeds": []}, receipt)
        except PostError as exc:
            return RetryAfter(reason=str(exc))
        except (OSError, ValueError, CometwatchError) as exc:
            return RetryAfter(reason=unreadable(exc))
        return meaning(answer, is_edit=receipt is not None)

    async def _request(self, payload: Mapping[str, Any], receipt: str | None) -> Answer:
        return await post(
            self._http,
            address(self._url().strip(), receipt),
            json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace"),
            {"content-type": "application/json"},
            now=self._clock.wall(),
            most=_MOST_ANSWER,
            method="PATCH" if receipt else "POST",
        )


def address(url: str, receipt: str | None) -> str:
    """Where a new message is posted, or the one with this receipt is edited. What else the URL asks for
    (`thread_id`) is kept. Raises ValueError for what is no URL.
    """
    parts = urlsplit(url)
    asked = [(name, value) for name, value in parse_qsl(parts.query) if name != "wait"]
    if receipt is None:
        asked.append(("wait", "true"))  # else Discord says yes before it has looked
    path = parts.path.rstrip("/") + (f"/messages/{receipt}" if receipt else "")
    return urlunsplit((parts.scheme, parts.netloc, path, urlencode(asked), ""))


def meaning(answer: Answer, *, is_edit: bool) -> Said | Gone | Failed:
    """What an answer of Discord means for the message."""
    told = _told(answer)
    if answer.is_success and told is not None:
        number = told.get("id")
        return Said(receipt=number if isinstance(number, str) and _is_receipt(number) else None)
    known = code(answer)
    if is_edit and known in _UNEDITABLE:
        return Gone()
    odd = ", but not as Discord does" if answer.is_success else ""
    meant = _MEANINGS.get(known or answer.status, "")
    reason = ": ".join(filter(None, (f"Discord answered {answer.status}{odd}", meant)))
    if known in {_UNKNOWN_WEBHOOK, _INVALID_FORM}:
        return Refused(reason=reason)
    return RetryAfter(reason=reason, after=_wish(answer, told or {}))


def _is_receipt(said: str) -> bool:
    return re.fullmatch(r"[0-9]{5,20}", said) is not None


def code(answer: Answer) -> int | None:
    """Discord's number for the error."""
    known = None if answer.is_success else (_told(answer) or {}).get("code")
    return known if isinstance(known, int) else None


def _told(answer: Answer) -> dict[str, Any] | None:
    """The answer's JSON; {} when it is missing or broke off, None when it is something else."""
    said = answer.body.strip()
    if not said:
        return {}
    try:
        told = json.loads(said)
    except ValueError:
        return {} if said.startswith(b"{") else None
    return told if isinstance(told, dict) else None


def _wish(answer: Answer, told: Mapping[str, Any]) -> timedelta | None:
    seconds = told.get("retry_after")
    if answer.retry_after is not None or answer.status != 429:
        return answer.retry_after
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e9:
        return None
    return bounded(timedelta(seconds=seconds))
