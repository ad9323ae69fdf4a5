"""Telegram by a bot; its own message is edited as the alert changes.

What its answers mean (https://core.telegram.org/bots/api#making-requests; the descriptions are not listed
there, but stable: https://github.com/TelegramBotAPI/errors):

| answer                                              | we                                                |
|-----------------------------------------------------|---------------------------------------------------|
| 2xx with `"ok": true`, or without a body            | delivered                                         |
| 2xx with another body (a proxy's log-in page)       | retry                                             |
| 400 "message is not modified"                       | delivered: it shows this already                  |
| 400 "can't parse entities", "message is too long"   | send it as plain text at once, then as below      |
| 400 with `migrate_to_chat_id`: the group moved      | send it there at once, with a warning             |
| 400 "message to edit not found", "can't be edited", | the message can't be edited any more: news is     |
| when a message is to be edited                      | posted anew, a mere change is let go              |
| 400, 403 that say that the bot may not write there  | refused: dead letter, to redrive when mended      |
| 429                                                 | retry; the whole receiver rests for `retry_after` |
| anything else: 3xx, 401, 404, other 4xx, 5xx        | retry                                             |
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple

import httpx

from monitor.clock import Clock
from monitor.delivery.backoff import bounded
from monitor.delivery.render import telegram
from monitor.delivery.render.text import Page
from monitor.delivery.sinks.base import Refused, RetryAfter, Settlement, Traits
from monitor.delivery.sinks.chat import Failed, Gone, Said, tell
from monitor.delivery.sinks.post import Answer, PostError, post, unreadable
from monitor.errors import CometwatchError, ConfigError
from monitor.store.values import Notification

_UNCHANGED: Final = "message is not modified"
_MARKUP: Final = ("can't parse entities", "message is too long", "message_too_long")
_UNEDITABLE: Final = ("message to edit not found", "message can't be edited", "message_id_invalid")
_CLOSED: Final = (
    "chat not found",
    "chat_write_forbidden",
    "have no rights to send a message",
    "not enough rights to send text messages",
    "bot was blocked by the user",
    "bot was kicked",
    "bot is not a member",
    "bot can't initiate conversation with a user",
    "bot can't send messages to bots",
    "user is deactivated",
    "peer_id_invalid",
)
_MEANINGS: Final = {
    401: "it does not accept the token; @BotFather gives a new one",
    404: "it knows no such bot; check the token, and the URL if it is not Telegram's own",
    429: "it is rate limited",
}
_NO_PREVIEW: Final = {"is_disabled": True}
_MOST_ANSWER: Final = 64 * 1024  # it gives the whole message back


class TelegramSink:
    traits = Traits(people=True, follows=True)

    def __init__(
        self, *, token: Callable[[], str], chat: str, url: str, http: httpx.AsyncClient, clock: Clock
    ) -> None:
        """`chat` is a number or "@channel"; `url` is where the Bot API is, without the token."""
        self._token = token
        self._chat = chat
        self._base = url.rstrip("/")
        self._http = http
        self._clock = clock

    async def send(self, notification: Notification) -> Settlement:
        return await tell(self, notification)

    async def post(self, page: Page, *, is_loud: bool, below: str | None) -> Said | Failed:
        asked: dict[str, Any] = {"chat_id": self._chat}
        if not is_loud:
            asked["disable_notification"] = True
        if below is not None and (place := _place(below)):
            # Where the earlier message is, even if the settings name another chat by now.
            asked["chat_id"] = place.chat
            asked["reply_parameters"] = {"message_id": place.number, "allow_sending_without_reply": True}
        said = await self._say("sendMessage", asked, page)
        # An edit that finds nothing is the only way to get this; a new message is never gone.
        return said if not isinstance(said, Gone) else RetryAfter(reason="Telegram did not find the message")

    async def edit(self, receipt: str, page: Page) -> Said | Gone | Failed:
        place = _place(receipt)
        if place is None:  # of another service, which this receiver was before
            return Gone()
        return await self._say("editMessageText", {"chat_id": place.chat, "message_id": place.number}, page)

    async def _say(self, method: str, asked: dict[str, Any], page: Page) -> Said | Gone | Failed:
        warning = None
        try:
            answer = await self._request(method, {**asked, **_marked(page)})
            if (moved := _new_chat(answer)) and method == "sendMessage":
                warning = f"the group has a new number: set chat_id to {moved}"
                asked = {"chat_id": moved}
                answer = await self._request(method, {**asked, **_marked(page)})
            if _says(answer, *_MARKUP):
                # A mistake in our markup, or a limit that we don't know of, must not cost an alert.
                answer = await self._request(method, {**asked, **_bare(page)})
        except PostError as exc:
            return RetryAfter(reason=str(exc))
        except (OSError, UnicodeError, CometwatchError) as exc:
            return RetryAfter(reason=unreadable(exc))
        return meaning(answer, warning=warning, is_edit=method == "editMessageText")

    async def _request(self, method: str, asked: Mapping[str, Any]) -> Answer:
        return await post(
            self._http,
            f"{self._base}/bot{bot_token(self._token())}/{method}",
            json.dumps(asked, ensure_ascii=False).encode("utf-8", "replace"),
            {"content-type": "application/json"},
            now=self._clock.wall(),
            most=_MOST_ANSWER,
        )


def bot_token(said: str) -> str:
    """The token, which becomes part of an address. Raises ConfigError, which quotes nothing, for others."""
    token = said.strip()
    if not re.fullmatch(r"\d+:[\w-]+", token, re.ASCII):
        raise ConfigError(
            "the Telegram token is not one; @BotFather gives them, like 123456789:AAE…, a number and a key"
        )
    return token


def meaning(answer: Answer, *, is_edit: bool, warning: str | None = None) -> Said | Gone | Failed:
    """What an answer of Telegram means for the message."""
    told = _told(answer)
    if (answer.is_success and told is not None) or _says(answer, _UNCHANGED):
        return Said(receipt=_receipt(told or {}), warning=warning)
    if is_edit and (_says(answer, *_UNEDITABLE) or _new_chat(answer)):
        return Gone()
    known = [words for words in (*_CLOSED, *_MARKUP) if _says(answer, words)]
    odd = ", but not as Telegram does" if answer.is_success else ""
    meant = known[0] if known else _MEANINGS.get(answer.status, "")
    reason = ": ".join(filter(None, (f"Telegram answered {answer.status}{odd}", meant)))
    if known:
        return Refused(reason=reason)
    return RetryAfter(reason=reason, after=_wish(answer))


def _marked(page: Page) -> dict[str, Any]:
    return {"text": telegram.message(page), "parse_mode": "HTML", "link_preview_options": _NO_PREVIEW}


def _bare(page: Page) -> dict[str, Any]:
    return {"text": telegram.bare(page), "link_preview_options": _NO_PREVIEW}


def _told(answer: Answer) -> dict[str, Any] | None:
    """The answer's JSON; {} when it is missing or broke off, None when it is no answer of Telegram."""
    said = answer.body.strip()
    if not said:
        return {}
    try:
        told = json.loads(said)
    except ValueError:
        return {} if said.startswith(b'{"ok":') else None
    is_its_own = isinstance(told, dict) and told.get("ok") is answer.is_success
    return told if is_its_own else None


def _says(answer: Answer, *known: str) -> bool:
    """Whether the error is one of these: only words that we know are ever shown."""
    said = "" if answer.is_success else (_told(answer) or {}).get("description")
    return isinstance(said, str) and any(words in said.lower() for words in known)


def _receipt(told: Mapping[str, Any]) -> str | None:
    """Where the message stands: "chat/message". Nothing but numbers."""
    message = told.get("result")
    if not isinstance(message, dict) or not isinstance(message.get("chat"), dict):
        return None
    chat, number = message["chat"].get("id"), message.get("message_id")
    return f"{chat}/{number}" if isinstance(chat, int) and isinstance(number, int) else None


class _Place(NamedTuple):
    chat: int
    number: int


def _place(receipt: str) -> _Place | None:
    place = re.fullmatch(r"(-?[0-9]{1,18})/([0-9]{1,18})", receipt)
    return _Place(int(place[1]), int(place[2])) if place else None


def _parameters(answer: Answer) -> Mapping[str, Any]:
    parameters = (_told(answer) or {}).get("parameters")
    return parameters if isinstance(parameters, dict) else {}


def _new_chat(answer: Answer) -> int | None:
    moved = None if answer.is_success else _parameters(answer).get("migrate_to_chat_id")
    return moved if isinstance(moved, int) else None


def _wish(answer: Answer) -> timedelta | None:
    """Telegram's wish stands in the body; a proxy before it may have one too."""
    seconds = _parameters(answer).get("retry_after")
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 <= seconds < 10**9:
        return answer.retry_after
    return bounded(timedelta(seconds=seconds))
