"""What a receiver would be sent, to the letter: the real sinks, with a wire that leads nowhere.

No secret is read for it: harmless words stand in their places, so what is shown may be passed on.
"""

from __future__ import annotations

import base64
import io
import json
from typing import Any, Final

import httpx
import msgspec
from pydantic import SecretStr

from monitor.clock import Clock
from monitor.delivery.outbox import attempt
from monitor.delivery.render import apprise, text
from monitor.delivery.render.disclosure import disclose
from monitor.delivery.sinks.base import Delivered
from monitor.outlets import Outlets, receiver_of
from monitor.settings.receivers import Apprise, Receiver, Webhook
from monitor.settings.secrets import Confidant
from monitor.store.values import Notification
from rules.model import Value

ADDRESS: Final = "https://receiver.example/hook"
SIGNING_KEY: Final = "whsec_" + base64.b64encode(bytes(32)).decode()
WORD: Final = "SECRET"
_OF_THE_WIRE: Final = frozenset(
    {"host", "accept", "accept-encoding", "connection", "content-length", "transfer-encoding"}
)
# One answer that every protocol takes for a success: what each looks for has a name of its own.
_ANSWER: Final = {
    "ok": True,
    "success": True,
    "status": "success",
    "channel": "C0",
    "ts": "1.0",
    "id": "1",
    "channel_id": "1",
    "dedup_key": "1",
    "requestId": "1",
    "result": {"message_id": 1, "chat": {"id": 1}},
    "messages": [],
}


class Sent(Value, frozen=True, kw_only=True, omit_defaults=False):
    """One request, without its secrets."""

    method: str
    url: str
    headers: dict[str, str]
    body: Any  #: JSON as it means, or text


class Preview(Value, frozen=True, kw_only=True, omit_defaults=False):
    """What one receiver would get."""

    receiver: str
    protocol: str
    requests: tuple[Sent, ...] = ()
    text: str | None = None  #: of receivers that are not told by HTTP of ours
    failure: str | None = None  #: why it would not be sent


async def previewed(receiver: Receiver, notification: Notification, *, app: str) -> Preview:
    """What `receiver` would be sent of this notification, as far as its policy lets it out.

    As if it was sent the moment it came to be: the same each time, so that a difference is one of the words.
    """
    if isinstance(receiver.section, Apprise):
        return _by_apprise(receiver, notification)
    wire, screen = _Wire(), io.StringIO()
    clock = Clock(wall=lambda: notification.created_at)
    async with Outlets(stream=screen, clock=clock, transport=wire) as outlets:
        sink = outlets.sink(without_secrets(receiver), app=app)
        settlement = await attempt(sink, receiver_of(receiver), notification)
    return Preview(
        receiver=receiver.name,
        protocol=receiver.key,
        requests=tuple(wire.sent),
        text=screen.getvalue() or None,
        failure=None if isinstance(settlement, Delivered) else settlement.reason,
    )


def _by_apprise(receiver: Receiver, notification: Notification) -> Preview:
    """Apprise speaks for itself to each service: this is what it is given."""
    page = text.page(disclose(notification, receiver_of(receiver)))
    told = f"{apprise.title(page)}\n\n{apprise.body(page)}"
    return Preview(receiver=receiver.name, protocol=receiver.key, text=told)


def without_secrets(receiver: Receiver) -> Receiver:
    """The same receiver with words in the place of its secrets; its files are not looked for."""
    section = receiver.section
    if not isinstance(section, Confidant):
        return receiver
    changes: dict[str, Any] = {}
    for name in section.secret_names():
        if getattr(section, name) is not None or getattr(section, f"{name}_file") is not None:
            changes |= {name: SecretStr(_word_for(receiver.key, name)), f"{name}_file": None}
    if isinstance(section, Webhook):
        changes["headers"] = {name: SecretStr(WORD) for name in section.headers}
    return receiver.model_copy(
        update={receiver.key: section.model_copy(update=changes), "tls": type(receiver.tls)()}
    )


def _word_for(protocol: str, name: str) -> str:
    """A word of the form that the protocol asks for."""
    if name.endswith("url"):
        return ADDRESS
    if name.endswith("secret"):
        return SIGNING_KEY
    return f"0:{WORD}" if protocol == "telegram" else WORD


class _Wire(httpx.AsyncBaseTransport):
    """Keeps what is sent, and answers that all is well."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        self.sent.append(
            Sent(
                method=request.method,
                url=str(request.url),
                headers={k: v for k, v in request.headers.items() if k not in _OF_THE_WIRE},
                body=_meaning(content),
            )
        )
        return httpx.Response(200, stream=httpx.ByteStream(json.dumps(_ANSWER).encode()))


def _meaning(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace")


def encoded(preview: Preview) -> str:
    """The requests as text: a line for each, its headers, and its body as JSON to be read."""
    blocks = [preview.text.rstrip()] if preview.text else []
    blocks += [_request(sent) for sent in preview.requests]
    blocks += [f"would not be sent: {preview.failure}"] if preview.failure else []
    return "\n\n".join(blocks)


def _request(sent: Sent) -> str:
    headers = "\n".join(f"{name}: {value}" for name, value in sent.headers.items())
    is_text = isinstance(sent.body, str)
    body = sent.body if is_text else json.dumps(msgspec.to_builtins(sent.body), ensure_ascii=False, indent=2)
    return f"{sent.method} {sent.url}\n{headers}\n\n{body}"
