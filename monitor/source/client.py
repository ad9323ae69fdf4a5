"""CometChat's REST API as we use it: ask, judge the answer, decode. One request a call, no retries."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import quote, urlsplit

import httpx
import msgspec
import trio

from monitor.clock import Clock
from monitor.errors import ConfigError
from monitor.source.body import Body, Unreadable
from monitor.source.failures import (
    BadKey,
    BadRequest,
    BadResponse,
    NoAccess,
    RateLimited,
    ServerError,
    SourceError,
    UnknownGroup,
    UnknownUser,
    Unreachable,
    failure,
    redact,
    told,
)
from monitor.source.headers import ApiTime, http_date, rate_info, retry_after
from monitor.source.pages import Count, Page, Undecodable, decode, decode_counts
from monitor.source.people import People, decode_group, decode_people, decode_user
from monitor.source.query import Affix, MessageQuery, UserQuery
from rules.model import Party, UserId

__all__ = [
    "REGIONS",
    "Affix",
    "BadKey",
    "BadRequest",
    "BadResponse",
    "Client",
    "Endpoint",
    "MessageQuery",
    "NoAccess",
    "People",
    "RateLimited",
    "Reply",
    "ServerError",
    "SourceError",
    "UnknownGroup",
    "UnknownUser",
    "Unreachable",
    "UserQuery",
    "base_url",
]

MIB: Final = 1024 * 1024
REGIONS: Final = ("us", "eu", "in")
EXAMPLES: Final = {"uid": "superhero1", "guid": "hiking-group"}

Params = Sequence[tuple[str, str]]


class Endpoint(StrEnum):
    """Where a list of messages is read."""

    USER = "user"  #: GET /users/{uid}/messages
    USER_ALL = "user-all"  #: GET /messages on behalf of the user: groups too
    APP = "app"  #: GET /messages: the whole app
    GROUP = "group"  #: GET /groups/{guid}/messages


def base_url(app_id: str, region: str) -> str:
    """Where CometChat serves the REST API of an app. Raises ConfigError for what no host name may hold.

    Regions beyond the documented ones are let through: CometChat opens new ones.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", region):
        raise ConfigError(f"api.region {region!r} is no region; CometChat has {', '.join(REGIONS)}")
    if not re.fullmatch(r"[0-9A-Za-z-]{1,63}", app_id):
        raise ConfigError(f'api.app_id {app_id!r} is no app id; the dashboard shows it, like "275211"')
    return f"https://{app_id.lower()}.api-{region}.cometchat.io/v3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A good answer before decoding."""

    body: bytes
    headers: httpx.Headers
    started_at: datetime  #: when the request began, in API time
    received_at: datetime  #: when the answer was complete, by our clock
    skew: timedelta  #: API clock minus ours, as far as the `Date` headers prove it


class Client:
    """Asks the API with one key, one request a call.

    `api_key` is read for every request, so that a rotated key file is picked up. Every method raises a
    SourceError, whose text never holds the key; each request has `timeout_s` from its first byte to the last
    one of the answer. Cancelling one leaves nothing behind: all requests are reads.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: Callable[[], str],
        http: httpx.AsyncClient,
        clock: Clock,
        timeout_s: float = 30,
        max_body: int = 32 * MIB,
    ) -> None:
        self._base = _checked(base_url)
        self._api_key = api_key
        self._http = http
        self._clock = clock
        self._timeout_s = timeout_s
        self._max_body = max_body
        self._api_time = ApiTime()

    async def messages(
        self,
        name: str,
        query: MessageQuery,
        *,
        endpoint: Endpoint = Endpoint.USER,
        on_behalf_of: str | None = None,
    ) -> Page:
        """One page of the messages of `name`, read at `endpoint`. `query.count` belongs to `counts`.

        `name` is a uid, a guid for a group's list, and not sent for the app's.
        """
        if query.count:
            raise ValueError("count=1 answers numbers instead of messages: call counts()")
        path, actor = _place(name, endpoint, on_behalf_of)
        request = f"messages of {_called(name, endpoint)}"
        reply = await self.ask(path, query.params(), on_behalf_of=actor, request=request)
        try:
            decoded = decode(reply.body)
        except Undecodable as problem:
            raise _nonsense(request, problem) from None
        return Page(
            **msgspec.structs.asdict(decoded),
            started_at=reply.started_at,
            received_at=reply.received_at,
            rate=rate_info(reply.headers, reply.received_at + reply.skew),
            skew=reply.skew,
        )

    async def counts(
        self,
        name: str,
        query: MessageQuery,
        *,
        endpoint: Endpoint = Endpoint.USER,
        on_behalf_of: str | None = None,
    ) -> tuple[Count, ...]:
        """How many messages each user and group accounts for: the answer to `count=1`."""
        path, actor = _place(name, endpoint, on_behalf_of)
        params = msgspec.structs.replace(query, count=True).params()
        request = f"message counts of {_called(name, endpoint)}"
        reply = await self.ask(path, params, on_behalf_of=actor, request=request)
        try:
            return decode_counts(reply.body)
        except Undecodable as problem:
            raise _nonsense(request, problem) from None

    async def user(self, uid: UserId) -> Party:
        """The user as CometChat knows them."""
        reply = await self.ask(f"/users/{_segment(uid)}", request=f"user {uid}")
        try:
            return decode_user(reply.body)
        except Undecodable as problem:
            raise _nonsense(f"user {uid}", problem) from None

    async def group(self, guid: str) -> Party:
        """The group as CometChat knows it."""
        reply = await self.ask(f"/groups/{_segment(guid, 'guid')}", request=f"group {guid}")
        try:
            return decode_group(reply.body)
        except Undecodable as problem:
            raise _nonsense(f"group {guid}", problem) from None

    async def users(self, query: UserQuery = UserQuery()) -> People:
        """One page of the app's users; `People.more` tells whether to ask for the next one.

        Deactivated users are left out unless the query asks for them, whatever the server does.
        """
        reply = await self.ask("/users", query.params(), request="users")
        deactivated = bool(query.with_deactivated or query.only_deactivated)
        try:
            return decode_people(reply.body, deactivated=deactivated)
        except Undecodable as problem:
            raise _nonsense("users", problem) from None

    async def ask(
        self, path: str, params: Params = (), *, on_behalf_of: str | None = None, request: str
    ) -> Reply:
        """GET `path` under the base URL. `request` names it in errors. Raises SourceError."""
        key = self._key()
        headers = {"apikey": key}
        if on_behalf_of is not None:
            headers["onBehalfOf"] = _header(on_behalf_of, "onBehalfOf")
        try:
            with trio.fail_after(self._timeout_s):
                return await self._exchange(path, params, headers, request)
        except trio.TooSlowError as slow:
            text = f"{request}: no whole answer within {self._timeout_s:g} s; it will be tried again"
            raise Unreachable(text) from slow
        # OSError: an ASGI transport reports a dropped connection as the app raised it.
        except (httpx.TransportError, OSError) as broken:
            reason = redact(str(broken) or type(broken).__name__, (key,))
            text = f"{request}: no answer from {self._host}: {reason}; check the network and api.base_url"
            raise Unreachable(text) from broken

    @property
    def _host(self) -> str:
        return urlsplit(self._base).netloc

    async def _exchange(self, path: str, params: Params, headers: dict[str, str], request: str) -> Reply:
        asked_at = self._clock.wall()
        url = httpx.URL(self._base + path, params=list(params) or None)
        async with self._http.stream("GET", url, headers=headers) as response:
            answered_at = self._clock.wall()
            body = await self._body(response, request)
        received_at = self._clock.wall()
        self._judge(response, body, request, headers["apikey"])
        date = http_date(response.headers.get("date", ""))
        if date is not None and "age" not in response.headers:  # a cache repeats an old date
            self._api_time.observe(date, asked_at=asked_at, answered_at=answered_at)
        skew = self._api_time.offset
        return Reply(
            body=body,
            headers=response.headers,
            started_at=asked_at + skew,
            received_at=received_at,
            skew=skew,
        )

    async def _body(self, response: httpx.Response, request: str) -> bytes:
        """The unpacked body. httpx would inflate a piece whole before we could count it."""
        encoding = response.headers.get("content-encoding", "").strip().lower()
        body = Body(encoding=encoding, max_bytes=self._max_body)
        # Not `break`: httpx nests generators, and only what is raised in the innermost one ends them all.
        with trio.CancelScope() as rest:
            async for piece in response.aiter_raw():
                body.feed(piece)
                if body.is_lost:
                    rest.cancel()
        try:
            return body.close()
        except Unreadable as problem:
            text = f"{request}: HTTP {response.status_code}, {problem}; check what stands at {self._host}"
            raise BadResponse(text, status=response.status_code) from None

    def _judge(self, response: httpx.Response, body: bytes, request: str, key: str) -> None:
        """Pass a good answer; raise what any other one means."""
        if response.is_redirect:
            raise _redirected(response, request)
        # An error may come with status 200: the official SDK looks at the body alone.
        if response.is_success and (b'"error"' not in body[:64] or told(body) is None):
            return
        now = self._clock.wall() + self._api_time.offset
        raise failure(
            status=response.status_code,
            body=body,
            request=request,
            secrets=(key,),
            retry_after=retry_after(response.headers, now),
        )

    def _key(self) -> str:
        try:
            key = self._api_key().strip()
        except (OSError, ConfigError) as unreadable:  # while the file is exchanged: asked again later
            raise BadKey(f"the API key can't be read: {unreadable}") from unreadable
        if not key or not re.fullmatch(r"[!-~]+", key):
            raise BadKey(
                "the API key is empty or holds characters that no key has (40 hex digits are usual); "
                "check api.api_key_file or COMETWATCH_API__API_KEY"
            )
        return key


def _checked(url: str) -> str:
    """`url` without a slash at its end. Raises ConfigError for what can't be the base of an API."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, fine = None, False
    if not fine or parts is None or parts.query or parts.fragment or parts.username:
        raise ConfigError(
            f"api.base_url is no plain http(s) address: {redact(url)!r}; for example http://127.0.0.1:9000/v3"
        )
    return url.rstrip("/")


def _place(name: str, endpoint: Endpoint, on_behalf_of: str | None) -> tuple[str, str | None]:
    """Path and acting user."""
    if endpoint is Endpoint.USER:
        return f"/users/{_segment(name)}/messages", on_behalf_of
    if endpoint is Endpoint.GROUP:
        return f"/groups/{_segment(name, 'guid')}/messages", on_behalf_of
    if on_behalf_of is not None:
        raise ValueError(
            "user-all reads on behalf of the user itself, app for nobody: leave on_behalf_of out"
        )
    return "/messages", name if endpoint is Endpoint.USER_ALL else None


def _called(name: str, endpoint: Endpoint) -> str:
    if endpoint is Endpoint.APP:
        return "the app"
    return f"group {name}" if endpoint is Endpoint.GROUP else name


def _segment(name: str, kind: str = "uid") -> str:
    """The name as one segment of a path, which it can't leave."""
    if name in {"", ".", ".."}:
        raise BadRequest(f"{name!r} is no {kind}; for example {EXAMPLES[kind]}")
    return quote(name, safe="")


def _header(value: str, name: str) -> str:
    if not re.fullmatch(r"[!-~]+", value):
        raise BadRequest(f"{name}: {redact(value)!r} is no uid; for example superhero1")
    return value


def _nonsense(request: str, problem: Undecodable) -> BadResponse:
    return BadResponse(f"{request}: {problem}; check api.base_url, and what stands between us and CometChat")


def _redirected(response: httpx.Response, request: str) -> BadResponse:
    try:
        target = urlsplit(response.headers.get("location", "")).hostname or "another path"
    except ValueError:
        target = "nowhere"
    text = (
        f"{request}: HTTP {response.status_code} to {redact(target)}: redirects are refused, "
        "the API key would go along; set api.base_url to the final address"
    )
    return BadResponse(text, status=response.status_code)
