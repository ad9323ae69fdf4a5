"""Discord and Telegram as far as we use them: they keep messages, and refuse what the real ones refuse.

The limits are those of their documentations, written down here once more, so that a wrong one in the
renderer is found.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import count
from typing import Any

import httpx

from monitor.clock import virtual
from monitor.delivery.sinks.base import Sink
from monitor.delivery.sinks.discord import DiscordSink
from monitor.delivery.sinks.post import open_http
from monitor.delivery.sinks.telegram import TelegramSink
from tests.delivery.cases import START

TOKEN = "123456789:AAEsecretsecretsecretsecretsecret00"


def answered(code: int, told: Any, **headers: str) -> httpx.Response:
    content = json.dumps(told, ensure_ascii=False).encode()
    return httpx.Response(code, stream=httpx.ByteStream(content), headers=headers)


class Room:
    """What a channel shows: messages by their number, the newest last."""

    def __init__(self) -> None:
        self.messages: dict[str, str] = {}  #: number -> all that can be read of it
        self.quiet: set[str] = set()  #: posted without a sound
        self.answers: dict[str, str] = {}  #: number -> of the message that it answers
        self.log: list[str] = []  #: "post 1", "edit 1", …
        self.fail: Callable[[str], httpx.Response | None] = lambda _what: None
        self._numbers = count(100_001)

    def delete(self, number: str) -> None:
        del self.messages[number]

    def _post(self, shown: str, *, is_quiet: bool) -> str:
        number = str(next(self._numbers))
        self.messages[number] = shown
        self.log.append(f"post {number}")
        if is_quiet:
            self.quiet.add(number)
        return number

    def _edit(self, number: str, shown: str) -> None:
        self.messages[number] = shown
        self.log.append(f"edit {number}")


class DiscordRoom(Room):
    """https://docs.discord.com/developers/resources/webhook"""

    name = "discord"

    def sink(self) -> Sink:
        return DiscordSink(
            url=lambda: "https://discord.example/api/webhooks/1/token?thread_id=5",
            http=open_http(transport=httpx.MockTransport(self)),
            clock=virtual(START),
        )

    def receipt(self, number: str) -> str:
        return number

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if failure := self.fail(request.method):
            return failure
        assert request.url.params["thread_id"] == "5"
        asked = json.loads(request.content)
        wrong = discord_faults(asked)
        if wrong:
            return answered(400, {"code": 50035, "message": "Invalid Form Body", "errors": wrong})
        shown = json.dumps(asked, ensure_ascii=False)
        if request.method == "POST":
            assert request.url.path == "/api/webhooks/1/token"
            assert request.url.params["wait"] == "true"
            number = self._post(shown, is_quiet=asked.get("flags") == 4096)
        else:
            number = request.url.path.removeprefix("/api/webhooks/1/token/messages/")
            if number not in self.messages:
                return answered(404, {"code": 10008, "message": "Unknown Message"})
            self._edit(number, shown)
        return answered(200, {**asked, "id": number, "channel_id": "7", "webhook_id": "1"})


def discord_faults(asked: dict[str, Any]) -> list[str]:
    """What Discord would complain of."""
    embeds = asked.get("embeds", [])
    texts = [
        (asked["content"], 2000),
        *((embed.get("title", ""), 256) for embed in embeds),
        *((embed.get("description", ""), 4096) for embed in embeds),
        *((embed["footer"]["text"], 2048) for embed in embeds),
    ]
    fields = [field for embed in embeds for field in embed.get("fields", [])]
    named = [(field["name"], 256) for field in fields] + [(field["value"], 1024) for field in fields]
    in_embeds = sum(_size(said) for said, _ in [*texts[1:], *named])
    faults = [f"{_size(said)} > {limit}" for said, limit in [*texts, *named] if _size(said) > limit]
    faults += [
        "an empty field" for field in fields if not field["name"].strip() or not field["value"].strip()
    ]
    faults += ["too many embeds"] if len(embeds) > 10 else []
    faults += ["too many fields" for embed in embeds if len(embed.get("fields", [])) > 25]
    faults += ["too much in all embeds"] if in_embeds > 6000 else []
    faults += [] if asked["content"].strip() else ["nothing to say"]
    faults += [] if asked["allowed_mentions"] == {"parse": []} else ["somebody is called"]
    return faults


class TelegramRoom(Room):
    """https://core.telegram.org/bots/api"""

    name = "telegram"

    def __init__(self) -> None:
        super().__init__()
        self.chat = -100123

    def sink(self) -> Sink:
        return TelegramSink(
            token=lambda: TOKEN,
            chat="-100123",
            url="https://telegram.example",
            http=open_http(transport=httpx.MockTransport(self)),
            clock=virtual(START),
        )

    def receipt(self, number: str) -> str:
        return f"{self.chat}/{number}"

    def __call__(self, request: httpx.Request) -> httpx.Response:
        method = request.url.path.removeprefix(f"/bot{TOKEN}/")
        asked = json.loads(request.content)
        if failure := self.fail({"sendMessage": "POST", "editMessageText": "PATCH"}[method]):
            return failure
        if str(asked["chat_id"]) != str(self.chat):
            moved = {"migrate_to_chat_id": self.chat}
            return _no("Bad Request: group chat was upgraded to a supergroup chat", parameters=moved)
        fault = telegram_fault(asked)
        if fault:
            return _no(f"Bad Request: {fault}")
        number = self._said(method, asked)
        if number is None:
            return _no("Bad Request: message to edit not found")
        if number == "":
            return _no("Bad Request: message is not modified: specified new message content is the same")
        result = {"message_id": int(number), "chat": {"id": self.chat}, "text": asked["text"]}
        return answered(200, {"ok": True, "result": result})

    def _said(self, method: str, asked: dict[str, Any]) -> str | None:
        if method == "sendMessage":
            number = self._post(asked["text"], is_quiet=bool(asked.get("disable_notification")))
            if "reply_parameters" in asked:
                assert asked["reply_parameters"]["allow_sending_without_reply"] is True
                self.answers[number] = str(asked["reply_parameters"]["message_id"])
            return number
        number = str(asked["message_id"])
        if number not in self.messages:
            return None
        if self.messages[number] == asked["text"]:
            return ""
        self._edit(number, asked["text"])
        return number


def _no(description: str, **more: Any) -> httpx.Response:
    return answered(400, {"ok": False, "error_code": 400, "description": description, **more})


def telegram_fault(asked: dict[str, Any]) -> str | None:
    """What Telegram would complain of."""
    said = asked["text"]
    if asked.get("parse_mode") == "HTML":
        reader = TelegramHtml()
        reader.feed(said)
        reader.close()
        if reader.fault or reader.open:
            return f"can't parse entities: {reader.fault or reader.open}"
        said = reader.visible
    if not said.strip():
        return "message text is empty"
    return "message is too long" if _size(said) > 4096 else None


class TelegramHtml(HTMLParser):
    """Reads Telegram's HTML, which knows a few tags and four named entities. `plain` is what may come alive:
    the visible text that is not in code.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.open: list[str] = []
        self.fault: str | None = None
        self.visible = ""
        self.plain = ""
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"b", "i", "code", "a"} or "code" in self.open:
            self.fault = self.fault or f"Unsupported start tag {tag}"
        self.links += [value or "" for name, value in attrs if name == "href"]
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.fault = self.fault or f"Unexpected end tag {tag}"

    def handle_data(self, data: str) -> None:
        if "<" in data or "&" in data:
            self.fault = self.fault or "Unescaped character"
        self._shown(data)

    def handle_entityref(self, name: str) -> None:
        known = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
        if name not in known:
            self.fault = self.fault or f"Unsupported entity {name}"
        self._shown(known.get(name, ""))

    def handle_charref(self, name: str) -> None:
        self._shown("?")

    def _shown(self, text: str) -> None:
        self.visible += text
        if "code" not in self.open:
            self.plain += text


def _size(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
