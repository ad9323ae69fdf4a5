"""One HTTP POST as all sinks do it: no redirects, a bounded answer, errors without addresses in them."""

from __future__ import annotations

import errno
import re
import ssl
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

import httpx
import trio

from monitor import outgoing
from monitor.delivery.backoff import parse_retry_after
from monitor.delivery.render.words import plain
from monitor.errors import CometwatchError, ConfigError
from rules.model import Value

MAX_ANSWER: Final = 16 * 1024
ANSWER_S: Final = 2.0
"""The status line decides; the body only explains. A receiver that dribbles it must not turn an accepted
alert into a timeout, and so into a repeated one."""

_EXCERPT: Final = 160
_CUT: Final = "[…]"
_COMPARED: Final = 400
_ECHO: Final = 10
"""Characters in a row of an answer that also stand in what we sent: then the answer is quoting us."""


class PostError(CometwatchError):
    """The request did not complete: whether the receiver has it is unknown. The text is safe to show."""


class Answer(Value, frozen=True, kw_only=True):
    """What came back, as far as it was read."""

    status: int
    retry_after: timedelta | None
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


def open_http(
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    reach: outgoing.Reach = outgoing.Reach(),
    tls: outgoing.Tls = outgoing.Tls(),
) -> httpx.AsyncClient:
    """The client for sinks, as `outgoing.client` describes it. Deadlines are set by the deliverer."""
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=15)
    headers = {"accept-encoding": "identity"}
    return outgoing.client(limits, headers, transport=transport, reach=reach, tls=tls)


async def post(
    http: httpx.AsyncClient,
    url: str,
    content: bytes,
    headers: Mapping[str, str],
    *,
    now: datetime,
    most: int = MAX_ANSWER,
    within_s: float = ANSWER_S,
    method: str = "POST",
) -> Answer:
    """POST once (or PATCH). Raises PostError if no status line came back.

    `most` bytes of a successful answer are read, as far as they come `within_s`: more where the answer is
    what was asked for.
    """
    try:
        async with http.stream(
            method, url, content=content, headers=dict(headers), follow_redirects=False
        ) as response:
            return Answer(
                status=response.status_code,
                retry_after=parse_retry_after(response.headers.get("retry-after"), now),
                body=await _beginning(response, most if response.is_success else MAX_ANSWER, within_s),
            )
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as exc:
        raise PostError(_cause(exc)) from exc


async def _beginning(response: httpx.Response, most: int, within_s: float) -> bytes:
    """At most so many bytes, as far as they come in time. Raw: nothing is unpacked.

    Never the whole time that is left: what was accepted must not end as a timeout, and be sent again.
    """
    body = bytearray()
    left_s = trio.current_effective_deadline() - trio.current_time()
    try:
        with trio.move_on_after(min(within_s, max(left_s, 0) / 2)) as scope:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) >= most:
                    scope.cancel()  # a `break` would leave httpx's nested generators open
    except httpx.TransportError:
        pass  # the status came; that the rest did not changes nothing
    return bytes(body[:most])


def _cause(exc: BaseException) -> str:
    """Why it failed, in words that hold no address: texts of network errors often do."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, outgoing.NotConnected):
            return str(cause)
        if isinstance(cause, ssl.SSLError):
            reason = getattr(cause, "reason", None) or type(cause).__name__
            return f"TLS failed ({reason}): check the receiver's certificate and port"
        if isinstance(cause, OSError) and cause.errno is not None:
            return f"no connection ({errno.errorcode.get(cause.errno, 'name not resolved')})"
        if isinstance(cause, BaseExceptionGroup):  # one for each address that was tried
            cause = cause.exceptions[0]
        else:
            cause = cause.__cause__ or cause.__context__
    if isinstance(exc, httpx.InvalidURL | httpx.UnsupportedProtocol | UnicodeError):
        return f"the receiver's URL can't be used ({type(exc).__name__}): it must be http:// or https://"
    return f"the request did not complete ({type(exc).__name__})"


def unreadable(exc: Exception) -> str:
    """Why the receiver's URL, secret or headers can't be used now. Errors of settings quote no secret."""
    if isinstance(exc, ConfigError):
        return str(exc)
    return f"the receiver's URL, secret or headers can't be read ({type(exc).__name__})"


def excerpt(answer: Answer, *, sent: Iterable[str], secrets: Iterable[str]) -> str:
    """What the receiver said about it, for a person, or "" when that could give away what must stay.

    Addresses and long tokens are cut out. Receivers like to echo requests in their errors: an answer that
    shares a run of characters with what we sent, or holds a secret, is left out whole.
    """
    private = {_bare(secret) for secret in secrets} - {"", _CUT}
    known = [*(_bare(text) for text in sent), *private]
    # Compared beyond what is shown: a cut must not hide an echo.
    said = _bare(answer.body[:_COMPARED].decode("utf-8", "replace"))
    runs = {said[start : start + _ECHO] for start in range(len(said) - _ECHO + 1)}
    if any(run in text for text in known for run in runs) or any(secret in said for secret in private):
        return ""
    return plain(said, _EXCERPT)


def _bare(text: str) -> str:
    """One line without addresses and long tokens."""
    return re.sub(r"\w+://\S+|[\w+/=-]{24,}", _CUT, " ".join(text.split()))
