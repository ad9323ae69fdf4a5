"""Slack's Web API as far as alerts need it: post, edit, and look for what was posted before.

Sources: https://docs.slack.dev/reference/methods/chat.postMessage, …/chat.update, …/conversations.history,
…/conversations.replies, https://docs.slack.dev/apis/web-api/rate-limits,
https://docs.slack.dev/messaging/message-metadata.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import httpx
import msgspec

from monitor.clock import Clock
from monitor.delivery.sinks.post import ANSWER_S, Answer, post
from monitor.errors import CometwatchError
from rules.model import Value

EVENT_TYPE: Final = "cometwatch_alert"
PAGE: Final = 100
"""Messages asked for at once; Slack may give fewer."""

PAGES: Final = 10
"""A look back ends after so many: a channel where more is said within the time is not searched to its end."""

_MOST_BYTES: Final = 4 * 1024 * 1024
_WITHIN_S: Final = 30.0  # pages are the answer itself; the deliverer's deadline is shorter
_LOOKS: Final = frozenset({"conversations.history", "conversations.replies"})
_SIMPLER: Final = {
    "invalid_blocks": "blocks",
    "invalid_blocks_format": "blocks",
    "msg_blocks_too_long": "blocks",
    "invalid_metadata_format": "metadata",
    "invalid_metadata_schema": "metadata",
    "metadata_must_be_sent_from_app": "metadata",
    "metadata_too_large": "metadata",
}
"""What of a message is left out, at once, when Slack refuses it. A mistake in our blocks, or a limit that
Slack has not published, must not cost an alert."""


class SlackError(CometwatchError):
    """Slack took it and said no, or said nothing that can be read. `word` is Slack's own, or ""."""

    def __init__(self, word: str, *, status: int, after: timedelta | None = None, needed: str = "") -> None:
        self.word = word
        self.after = after
        meaning = MEANINGS.get(word, "").format(needed=needed or "a scope")
        super().__init__(f"Slack answered {word or status}" + (f": {meaning}" if meaning else ""))

    @property
    def is_passing(self) -> bool:
        """Whether Slack itself is in trouble, not what was asked of it."""
        return self.word in _PASSING


MEANINGS: Final[Mapping[str, str]] = {
    "account_inactive": "the app was removed, or its workspace; install it again, then replace the token",
    "cant_update_message": "the message was posted by another app",
    "channel_not_found": "no such channel, or the app is not in it; name it by its id (C…), invite the app",
    "edit_window_closed": "the workspace's settings forbid to edit it after that time",
    "invalid_auth": "the token is not valid; look at the receiver's token_file",
    "is_archived": "the channel is archived; name another one",
    "missing_scope": "the app lacks {needed}; add it in the app's settings and install the app again",
    "not_authed": "no token was sent; look at the receiver's token_file",
    "not_in_channel": "the app is not in the channel; invite it there with /invite",
    "ratelimited": "too many requests",
    "rate_limited": "too many messages",
    "restricted_action": "the workspace's settings forbid the app to post there",
    "token_expired": "the token has expired; replace it",
    "token_revoked": "the token was revoked; install the app again, then replace it",
}

_PASSING: Final = frozenset(
    {"", "fatal_error", "internal_error", "ratelimited", "rate_limited", "request_timeout"}
    | {"service_unavailable", "team_added_to_org", "invalid_auth", "not_authed", "token_expired"}
    | {"token_revoked", "account_inactive"}
)


class Place(Value, frozen=True, kw_only=True):
    """Where a message stands."""

    channel: str
    ts: str

    @classmethod
    def read(cls, receipt: str | None) -> Place | None:
        """The place that `str` made a receipt of; None for anything else."""
        found = re.fullmatch(r"([A-Z0-9]{2,40})/([0-9]+\.[0-9]+)", receipt or "")
        return cls(channel=found[1], ts=found[2]) if found else None

    def __str__(self) -> str:
        return f"{self.channel}/{self.ts}"


class Mark(Value, frozen=True, kw_only=True):
    """What a message of ours carries, invisible to readers, to be found by."""

    notification: str
    subject: str
    receiver: str  #: two of them may post into one channel


class Told(Value, frozen=True, kw_only=True):
    """A message that was found."""

    place: Place
    mark: Mark


class _Posted(Value, frozen=True):
    channel: str
    ts: str


class _Metadata(Value, frozen=True):
    event_type: str = ""
    event_payload: Any = None


class _Message(Value, frozen=True):
    ts: str = ""
    metadata: _Metadata | None = None


class _Cursor(Value, frozen=True):
    next_cursor: str = ""


class _Page(Value, frozen=True):
    messages: tuple[_Message, ...] = ()
    response_metadata: _Cursor = _Cursor()


class _Verdict(Value, frozen=True):
    ok: bool = False
    error: str = ""
    needed: str = ""


Wanted = Callable[[Mark], bool]
T = TypeVar("T", bound=Value)


class SlackWeb:
    """Calls as one app. Every call may raise PostError, or SlackError; the token is read anew for each."""

    def __init__(self, *, token: Callable[[], str], url: str, http: httpx.AsyncClient, clock: Clock) -> None:
        self._token = token
        self._url = url.rstrip("/")
        self._http = http
        self._clock = clock

    async def post(self, channel: str, message: Mapping[str, Any], mark: Mark) -> Place:
        """Post into the channel, or into a thread if `message` says so."""
        metadata = {"event_type": EVENT_TYPE, "event_payload": msgspec.to_builtins(mark)}
        said = await self._written("chat.postMessage", {"channel": channel, **message, "metadata": metadata})
        posted = _read(said, _Posted)
        return Place(channel=posted.channel, ts=posted.ts)

    async def edit(self, place: Place, message: Mapping[str, Any]) -> None:
        """Put `message` in the place of what stands there. Its mark stays: metadata not sent is kept."""
        await self._written("chat.update", {"channel": place.channel, "ts": place.ts, **message})

    async def find(self, channel: str, wanted: Wanted, *, since: datetime) -> Told | None:
        """The first message of ours in the channel, outside its threads, that is `wanted`."""
        return await self._find("conversations.history", {"channel": channel}, wanted, since)

    async def find_reply(self, below: Place, wanted: Wanted, *, since: datetime) -> Told | None:
        """The first message of ours in a thread that is `wanted`."""
        asked = {"channel": below.channel, "ts": below.ts}
        return await self._find("conversations.replies", asked, wanted, since)

    async def _find(
        self, method: str, asked: Mapping[str, str], wanted: Wanted, since: datetime
    ) -> Told | None:
        cursor: Mapping[str, str] = {}
        for _ in range(PAGES):
            page = await self._page(method, {**asked, "oldest": f"{since.timestamp():.6f}", **cursor})
            for message in page.messages:
                mark = _mark(message)
                if mark and wanted(mark):
                    return Told(place=Place(channel=asked["channel"], ts=message.ts), mark=mark)
            if not page.response_metadata.next_cursor:
                return None
            cursor = {"cursor": page.response_metadata.next_cursor}
        return None

    async def _page(self, method: str, asked: Mapping[str, str]) -> _Page:
        # As a form: these methods took nothing else for years, and old gateways still do.
        form = urlencode({**asked, "limit": str(PAGE), "include_all_metadata": "true"}).encode()
        answer = await self._call(method, form, "application/x-www-form-urlencoded")
        return _read(answer, _Page)

    async def _written(self, method: str, message: Mapping[str, Any]) -> Answer:
        """Write, and if Slack refuses a part that can be done without, write again without it."""
        while True:
            content = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
            try:
                return await self._call(method, content, "application/json; charset=utf-8")
            except SlackError as exc:
                part = _SIMPLER.get(exc.word)
                if not part or not message.get(part):
                    raise
                message = _without(message, part)

    async def _call(self, method: str, content: bytes, content_type: str) -> Answer:
        answer = await post(
            self._http,
            f"{self._url}/{method}",
            content,
            {"authorization": f"Bearer {self._token().strip()}", "content-type": content_type},
            now=self._clock.wall(),
            most=_MOST_BYTES,
            within_s=_WITHIN_S if method in _LOOKS else ANSWER_S,
        )
        _check(answer, content)
        return answer


def _without(message: Mapping[str, Any], part: str) -> dict[str, Any]:
    """The message with that part empty: one that is left out of an edit would stay as it was."""
    if part == "blocks":
        return {**message, "blocks": []}
    return {key: value for key, value in message.items() if key != part}


def _check(answer: Answer, sent: bytes) -> None:
    """Raise SlackError unless Slack says that all is well."""
    try:
        said = msgspec.json.decode(answer.body, type=_Verdict)
    except msgspec.DecodeError:
        said = _Verdict()
    if said.ok and answer.is_success:
        return
    # A word that also stands in what we sent could be an echo of an alert.
    is_word = re.fullmatch(r"[a-z][a-z_]{1,63}", said.error) and said.error.encode() not in sent
    scopes = said.needed if re.fullmatch(r"[a-z:._,]{1,200}", said.needed) else ""
    raise SlackError(
        said.error if is_word else "", status=answer.status, after=answer.retry_after, needed=scopes
    )


def _read(answer: Answer, form: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.body, type=form)
    except msgspec.DecodeError as exc:
        raise SlackError("", status=answer.status) from exc


def _mark(message: _Message) -> Mark | None:
    """What we put on a message of ours; None on anybody else's."""
    if message.metadata is None or message.metadata.event_type != EVENT_TYPE:
        return None
    try:
        return msgspec.convert(message.metadata.event_payload, Mark)
    except msgspec.ValidationError:
        return None
