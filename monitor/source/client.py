"""CometChat's REST API as we use it: ask, judge the answer, decode. One request a call, no retries."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Final
from urllib.parse import quote

import httpx
import msgspec

from monitor.clock import Clock
from monitor.errors import ConfigError
from monitor.source.exchange import Exchange, Params, Reply
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
)
from monitor.source.headers import rate_info
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
PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+")  # what a uid or guid consists of
REGIONS: Final = ("us", "eu", "in")
EXAMPLES: Final = {"uid": "superhero1", "guid": "hiking-group"}


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


class Client:
    """Asks the API with one key, one request a call.

    `api_key` is read again every second and after a refusal, so that a rotated key file is picked up. Every
    method raises a SourceError, whose text never holds the key; each request has `timeout_s` from its first
    byte to the last one of the answer. Cancelling one leaves nothing behind: all requests are reads. `http`
    is the network or what stands in for it, as `transport.open_http` gives it.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: Callable[[], str],
        http: httpx.AsyncBaseTransport,
        clock: Clock,
        timeout_s: float = 30,
        max_body: int = 32 * MIB,
    ) -> None:
        self._exchange = Exchange(
            base_url=base_url,
            api_key=api_key,
            http=http,
            clock=clock,
            timeout_s=timeout_s,
            max_body=max_body,
        )

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
            messages=decoded.messages,
            rejects=decoded.rejects,
            rows=decoded.rows,
            size=decoded.size,
            min_id=decoded.min_id,
            max_id=decoded.max_id,
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
        return await self._exchange.ask(path, params, on_behalf_of=on_behalf_of, request=request)


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
    return name if PLAIN.fullmatch(name) else quote(name, safe="")


def _nonsense(request: str, problem: Undecodable) -> BadResponse:
    return BadResponse(f"{request}: {problem}; check api.base_url, and what stands between us and CometChat")
