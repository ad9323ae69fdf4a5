"""A stand-in for the far end: records what arrives, byte for byte, and answers what it was told to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import trio

from monitor.clock import Clock
from monitor.source.client import Client
from monitor.source.transport import open_http

KEY = "0123456789abcdef0123456789abcdef01234567"
EMPTY_PAGE = b'{"data":[],"meta":{"pagination":{"per_page":100}}}'


@dataclass
class Answer:
    body: bytes = EMPTY_PAGE
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang_s: float = 0
    breaks: Exception | None = None


@dataclass
class Asked:
    path: str
    query: str
    headers: dict[str, str]


class Server:
    """An ASGI app; `answers` are given in turn, the last one for ever."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers) or [Answer()]
        self.asked: list[Asked] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append(Asked(scope["raw_path"].decode(), scope["query_string"].decode(), headers))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await trio.sleep(answer.hang_s)
        packed = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": packed})
        if answer.breaks:
            raise answer.breaks
        await send({"type": "http.response.body", "body": answer.body})


@asynccontextmanager
async def talking_to(
    server: Any,
    *,
    key: Callable[[], str] = lambda: KEY,
    base_url: str = "http://api.test/v3",
    clock: Clock | None = None,
    timeout_s: float = 30,
    max_body: int = 2**20,
) -> AsyncIterator[Client]:
    async with open_http(transport=httpx.ASGITransport(server)) as http:
        yield Client(
            base_url=base_url,
            api_key=key,
            http=http,
            clock=clock or Clock(),
            timeout_s=timeout_s,
            max_body=max_body,
        )
