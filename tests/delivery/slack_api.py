"""Slack's Web API as a simulator: channels, threads, metadata, scopes, rates, and answers that get lost.

It behaves as https://docs.slack.dev describes chat.postMessage, chat.update, conversations.history and
conversations.replies, as far as an app that posts alerts meets them, and is stricter where apps go wrong:
metadata is told only where it was asked for, edits need the channel's id, a thread needs its first message,
blocks keep their limits.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from urllib.parse import parse_qsl

import httpx
import trio
from slack_sdk.models.blocks import Block

from monitor.clock import Clock

CHANNEL: Final = "C0ALERTS"
TOKEN: Final = "xoxb-simulated-token"
SCOPES: Final = frozenset({"chat:write", "channels:history"})
MOST_TEXT: Final = 40_000
MOST_BLOCKS: Final = 50
MOST_BLOCK_TEXT: Final = 13_200
MAX_LIMIT: Final = 999
# Requests a minute: https://docs.slack.dev/apis/web-api/rate-limits. A channel takes about one post a second,
# and short bursts.
PER_MINUTE: Final = {"chat.update": 50, "conversations.history": 50, "conversations.replies": 50}
POSTS: Final = 60


class Fault(StrEnum):
    """What happens to one request."""

    NONE = "none"
    NOT_ARRIVED = "not arrived"  #: the connection fails: nothing reached Slack
    LOST = "lost"  #: no answer, and nothing was done
    TAKEN = "taken"  #: no answer, but it was done
    TAKEN_LATE = "taken late"  #: no answer, and it is done some time after the sender gave up
    RESET = "reset"  #: done, and the connection breaks before the answer
    ERROR = "error"  #: 500, nothing was done
    ERROR_AFTER = "error after"  #: "internal_error", and it was done all the same
    UNREADABLE = "unreadable"  #: done, and a proxy answers in Slack's place
    LIMITED = "limited"  #: 429 with Retry-After, nothing was done


AMBIGUOUS: Final = frozenset(
    {Fault.LOST, Fault.TAKEN, Fault.TAKEN_LATE, Fault.RESET, Fault.ERROR_AFTER, Fault.UNREADABLE}
)
LATE_S: Final = 17.0  # after the request came: the sender has given up by then, and has not tried again
RETRY_AFTER_S: Final = 7

Plan = Callable[[str, Mapping[str, Any]], Fault]


class RefusalError(Exception):
    def __init__(self, word: str, **more: Any) -> None:
        super().__init__(word)
        self.answer = {"ok": False, "error": word, **more}


@dataclass(kw_only=True)
class Message:
    """One message as the channel shows it now."""

    ts: str
    text: str
    blocks: list[dict[str, Any]]
    metadata: dict[str, Any] | None
    thread_ts: str | None = None
    is_broadcast: bool = False
    edits: int = 0

    @property
    def mark(self) -> dict[str, Any]:
        """What the app put on it."""
        return self.metadata["event_payload"] if self.metadata else {}

    @property
    def title(self) -> str:
        return next((b["text"]["text"] for b in self.blocks if b["type"] == "header"), self.text)

    def told(self, *, with_payload: bool) -> dict[str, Any]:
        told: dict[str, Any] = {"type": "message", "ts": self.ts, "text": self.text, "blocks": self.blocks}
        if self.metadata:
            kept = self.metadata if with_payload else {"event_type": self.metadata["event_type"]}
            told["metadata"] = kept
        if self.thread_ts:
            told["thread_ts"] = self.thread_ts
        if self.is_broadcast:
            told["subtype"] = "thread_broadcast"
        return told


@dataclass
class SlackApi:
    """One workspace with one channel, and one app in it. `plan` says what happens to each request."""

    clock: Clock
    plan: Plan = lambda _method, _asked: Fault.NONE
    scopes: frozenset[str] = SCOPES
    is_member: bool = True
    is_editable: bool = True
    is_limited: bool = True
    token: str = TOKEN
    messages: dict[str, Message] = field(default_factory=dict)
    calls: list[tuple[str, Fault]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._late: list[tuple[float, str, Mapping[str, Any]]] = []
        self._recent: dict[str, deque[float]] = defaultdict(deque)
        self._number = 0

    # --- what people see ---

    def roots(self) -> list[Message]:
        """The messages in the channel that are no reply."""
        self._catch_up()
        return [message for message in self.messages.values() if message.thread_ts is None]

    def about(self, subject: str) -> list[Message]:
        return [message for message in self.roots() if message.mark.get("subject") == subject]

    def thread(self, root: Message) -> list[Message]:
        self._catch_up()
        return [message for message in self.messages.values() if message.thread_ts == root.ts]

    def counted(self, method: str) -> int:
        return sum(called == method for called, _ in self.calls)

    def chat(self, text: str) -> None:
        """A person writes into the channel."""
        self._add(Message(ts=self._next_ts(), text=text, blocks=[], metadata=None))

    # --- HTTP ---

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """A handler for `httpx.MockTransport`."""
        self._catch_up()
        method = request.url.path.rpartition("/")[2]
        asked = _arguments(request)
        fault = self.plan(method, asked)
        self.calls.append((method, fault))
        if fault is Fault.NOT_ARRIVED:
            raise httpx.ConnectError("connection refused")
        if fault is Fault.LOST:
            await trio.sleep_forever()
        if fault is Fault.TAKEN_LATE:
            self._late.append((self.clock.monotonic() + LATE_S, method, asked))
            await trio.sleep_forever()
        if fault is Fault.ERROR:
            return _response(500, b"<html>Internal Server Error</html>")
        if fault is Fault.LIMITED or self._is_over_rate(method):
            return _limited()
        return await self._after(fault, self._answered(method, asked, request.headers))

    async def _after(self, fault: Fault, answer: dict[str, Any]) -> httpx.Response:
        match fault:
            case Fault.TAKEN:
                await trio.sleep_forever()
            case Fault.RESET:
                raise httpx.ReadError("connection reset")
            case Fault.UNREADABLE:
                return _response(200, b"<html>Please sign in</html>")
            case Fault.ERROR_AFTER:
                return _response(200, b'{"ok":false,"error":"internal_error"}')
        return _response(200, json.dumps(answer).encode())

    def _catch_up(self) -> None:
        """Do what was taken late and is due."""
        now = self.clock.monotonic()
        due = [(method, asked) for at, method, asked in self._late if at <= now]
        self._late = [waiting for waiting in self._late if waiting[0] > now]
        for method, asked in due:
            with suppress(RefusalError):
                self._done(method, asked)

    def _is_over_rate(self, method: str) -> bool:
        now, recent = self.clock.monotonic(), self._recent[method]
        while recent and recent[0] <= now - 60:
            recent.popleft()
        if (
            self.is_limited and len(recent) >= PER_MINUTE.get(method, POSTS) + 10
        ):  # "50+": some more is let be
            return True
        recent.append(now)
        return False

    def _answered(self, method: str, asked: Mapping[str, Any], headers: httpx.Headers) -> dict[str, Any]:
        try:
            if headers.get("authorization") != f"Bearer {self.token}":
                raise RefusalError("invalid_auth")
            return {"ok": True, **self._done(method, asked)}
        except RefusalError as no:
            return no.answer

    # --- the methods ---

    def _done(self, method: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        scope, call = {
            "chat.postMessage": ("chat:write", self._post),
            "chat.update": ("chat:write", self._update),
            "conversations.history": ("channels:history", self._history),
            "conversations.replies": ("channels:history", self._replies),
        }.get(method, ("", None))
        if call is None:
            raise RefusalError("unknown_method")
        if scope not in self.scopes:
            raise RefusalError("missing_scope", needed=scope, provided=",".join(sorted(self.scopes)))
        if asked.get("channel") != CHANNEL:
            raise RefusalError("channel_not_found")
        if not self.is_member:
            raise RefusalError("not_in_channel")
        return call(asked)

    def _post(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        _check_content(asked)
        below = asked.get("thread_ts")
        if below is not None and below not in self.messages:
            raise RefusalError("thread_not_found")
        message = Message(
            ts=self._next_ts(),
            text=asked["text"],
            blocks=list(asked.get("blocks", ())),
            metadata=_metadata(asked),
            thread_ts=below,
            is_broadcast=bool(below and asked.get("reply_broadcast")),
        )
        self._add(message)
        return {"channel": CHANNEL, "ts": message.ts, "message": message.told(with_payload=True)}

    def _update(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        _check_content(asked)
        message = self.messages.get(asked.get("ts", ""))
        if message is None:
            raise RefusalError("message_not_found")
        if not self.is_editable:
            raise RefusalError("edit_window_closed")
        message.text = asked["text"]
        message.blocks = list(asked["blocks"]) if "blocks" in asked else message.blocks
        message.metadata = _metadata(asked) or message.metadata
        message.edits += 1
        return {"channel": CHANNEL, "ts": message.ts, "text": message.text}

    def _history(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Newest first; of threads only what was sent to the channel too."""
        shown = [m for m in self.messages.values() if m.thread_ts is None or m.is_broadcast]
        return self._paged(asked, shown[::-1])

    def _replies(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Oldest first, the first message of the thread included."""
        root = self.messages.get(asked.get("ts", ""))
        if root is None:
            raise RefusalError("thread_not_found")
        return self._paged(asked, [root, *self.thread(root)])

    def _paged(self, asked: Mapping[str, Any], found: list[Message]) -> dict[str, Any]:
        oldest, latest = float(asked.get("oldest", 0)), float(asked.get("latest", "inf"))
        shown = [message for message in found if oldest < float(message.ts) < latest]
        limit = int(asked.get("limit", 100))
        if not 1 <= limit <= MAX_LIMIT:
            raise RefusalError("invalid_limit")
        start = _cursor(asked)
        page, more = shown[start : start + limit], len(shown) > start + limit
        with_payload = asked.get("include_all_metadata") == "true"
        return {
            "messages": [message.told(with_payload=with_payload) for message in page],
            "has_more": more,
            "response_metadata": {"next_cursor": f"next:{start + limit}" if more else ""},
        }

    def _add(self, message: Message) -> None:
        self.messages[message.ts] = message

    def _next_ts(self) -> str:
        self._number += 1
        return f"{int(self.clock.wall().timestamp())}.{self._number:06}"


def _response(status: int, body: bytes, **headers: str) -> httpx.Response:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return httpx.Response(status, stream=httpx.ByteStream(body), headers=named)


def _limited() -> httpx.Response:
    return _response(429, b'{"ok":false,"error":"ratelimited"}', retry_after=str(RETRY_AFTER_S))


def _arguments(request: httpx.Request) -> Mapping[str, Any]:
    """JSON where the methods that write take it, else a form."""
    kind = request.headers.get("content-type", "")
    if kind.startswith("application/json"):
        asked: dict[str, Any] = json.loads(request.content)
        return asked
    return dict(parse_qsl(request.content.decode(), strict_parsing=True))


def _cursor(asked: Mapping[str, Any]) -> int:
    found = re.fullmatch(r"next:(\d+)", asked.get("cursor", "next:0"))
    if not found:
        raise RefusalError("invalid_cursor")
    return int(found[1])


def _check_content(asked: Mapping[str, Any]) -> None:
    blocks = asked.get("blocks", [])
    if not asked.get("text") and not blocks:
        raise RefusalError("no_text")
    if len(asked.get("text", "")) > MOST_TEXT:
        raise RefusalError("msg_too_long")
    if len(blocks) > MOST_BLOCKS or [b.to_dict() for b in Block.parse_all(blocks)] != blocks:
        raise RefusalError("invalid_blocks")
    if sum(len(text) for block in blocks for text in _texts(block)) > MOST_BLOCK_TEXT:
        raise RefusalError("msg_blocks_too_long")


def _texts(block: Mapping[str, Any]) -> Iterator[str]:
    found = [block.get("text"), *block.get("fields", ()), *block.get("elements", ())]
    for text in filter(None, found):
        most = {"header": 150, "section": 2000 if "fields" in block else 3000}.get(block["type"], 3000)
        if not 1 <= len(text["text"]) <= most:
            raise RefusalError("invalid_blocks")
        yield text["text"]


def _metadata(asked: Mapping[str, Any]) -> dict[str, Any] | None:
    metadata = asked.get("metadata")
    if metadata is None:
        return None
    if set(metadata) != {"event_type", "event_payload"} or not isinstance(metadata["event_payload"], dict):
        raise RefusalError("invalid_metadata_format")
    return dict(metadata)
