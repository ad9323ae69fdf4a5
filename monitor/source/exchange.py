"""One request and its answer: the key and a deadline go with it, and whatever is no good answer is raised."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote_plus, urlsplit

import httpx
import trio

from monitor import outgoing
from monitor.clock import Clock
from monitor.errors import ConfigError
from monitor.source.body import Body, Unreadable
from monitor.source.failures import BadKey, BadRequest, BadResponse, Unreachable, failure, redact, told
from monitor.source.headers import LIMIT, REMAINING, RESET, ApiTime, HttpDates, retry_after

Params = Sequence[tuple[str, str]]

KEY_S: Final = 1.0  # a file is read once in this time, not for each of 333 requests
NOTHING: Final = httpx.ByteStream(b"")
READ: Final[Mapping[bytes, str]] = {
    name.encode(): name
    for name in ("age", "content-encoding", "date", "location", "retry-after", *LIMIT, *REMAINING, *RESET)
}
PRINTABLE: Final = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A good answer before decoding."""

    body: bytes
    headers: Mapping[str, str]  #: those that are read somewhere, by names in lower case
    started_at: datetime  #: when the request began, in API time
    received_at: datetime  #: when the answer was complete, by our clock
    skew: timedelta  #: API clock minus ours, as far as the `Date` headers prove it


class Key:
    """The API key as it is now: read again after a second, and at once when it was refused."""

    def __init__(self, read: Callable[[], str], monotonic: Callable[[], float]) -> None:
        self._read = read
        self._monotonic = monotonic
        self._key = ""
        self._good_until = -1.0

    def now(self) -> str:
        """Raises BadKey for what can't be read or be a key."""
        now = self._monotonic()
        if now >= self._good_until:
            self._key = self._checked()
            self._good_until = now + KEY_S
        return self._key

    def refused(self) -> None:
        self._good_until = -1.0

    def _checked(self) -> str:
        try:
            key = self._read().strip()
        except (OSError, ConfigError) as unreadable:  # while the file is exchanged: asked again later
            raise BadKey(f"the API key can't be read: {unreadable}") from unreadable
        if not PRINTABLE.fullmatch(key):
            raise BadKey(
                "the API key is empty or holds characters that no key has (40 hex digits are usual); "
                "check api.api_key_file or COMETWATCH_API__API_KEY"
            )
        return key


class Exchange:
    """Asks one server with one key: one request a call, no retries, no redirects.

    What is the same for all requests is prepared once: parsing a URL costs more than sending it.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: Callable[[], str],
        http: httpx.AsyncBaseTransport,
        clock: Clock,
        timeout_s: float,
        max_body: int,
    ) -> None:
        base = _checked(base_url)
        self._url = httpx.URL(base)
        self._host = urlsplit(base).netloc
        self._path = self._url.raw_path.decode().rstrip("/")
        self._headers = httpx.Headers(
            {
                "host": self._url.netloc.decode(),
                "user-agent": outgoing.user_agent(),
                "accept": "application/json",
                "accept-encoding": "gzip",
            }
        )
        self._key = Key(api_key, clock.monotonic)
        self._http = http
        self._clock = clock
        self._timeout_s = timeout_s
        self._max_body = max_body
        self._dates = HttpDates()
        self._api_time = ApiTime()

    async def ask(self, path: str, params: Params, *, on_behalf_of: str | None, request: str) -> Reply:
        """GET `path`, escaped already, under the base URL. Raises SourceError."""
        key = self._key.now()
        asked = self._request(path, params, key, on_behalf_of)
        try:
            with trio.move_on_after(self._timeout_s):
                return await self._exchange(asked, request, key)
        # OSError: an ASGI transport reports a dropped connection as the app raised it.
        except (httpx.TransportError, OSError) as broken:
            reason = redact(str(broken) or type(broken).__name__, (key,))
            text = f"{request}: no answer from {self._host}: {reason}; check the network and api.base_url"
            raise Unreachable(text) from broken
        except BadKey:
            self._key.refused()
            raise
        raise Unreachable(f"{request}: no whole answer within {self._timeout_s:g} s; it will be tried again")

    def _request(self, path: str, params: Params, key: str, on_behalf_of: str | None) -> httpx.Request:
        if self._headers.get("apikey") != key:
            self._headers["apikey"] = key
        headers = self._headers
        if on_behalf_of is not None:
            headers = headers.copy()
            headers["onBehalfOf"] = _header(on_behalf_of, "onBehalfOf")
        target = f"{self._path}{path}?{_query(params)}" if params else self._path + path
        extensions = {"target": target.encode("ascii")}
        return httpx.Request("GET", self._url, headers=headers, stream=NOTHING, extensions=extensions)

    async def _exchange(self, asked: httpx.Request, request: str, key: str) -> Reply:
        asked_at = self._clock.wall()
        response = await self._http.handle_async_request(asked)
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        try:
            answered_at = self._clock.wall()
            headers = _told(response.headers.raw)
            body = await self._body(stream, headers, f"{request}: HTTP {response.status_code}")
        finally:
            await stream.aclose()
        received_at = self._clock.wall()
        self._judge(response.status_code, headers, body, request, key)
        date = self._dates.read(headers.get("date", ""))
        if date is not None and "age" not in headers:  # a cache repeats an old date
            self._api_time.observe(date, asked_at=asked_at, answered_at=answered_at)
        skew = self._api_time.offset
        return Reply(
            body=body, headers=headers, started_at=asked_at + skew, received_at=received_at, skew=skew
        )

    async def _body(self, stream: httpx.AsyncByteStream, headers: Mapping[str, str], whose: str) -> bytes:
        """The unpacked body. httpx would inflate a piece whole before we could count it."""
        encoding = headers.get("content-encoding", "").strip().lower()
        body = Body(encoding=encoding, max_bytes=self._max_body)
        async for piece in stream:
            body.feed(piece)
            if body.is_lost:
                break
        try:
            return body.close()
        except Unreadable as problem:
            raise BadResponse(f"{whose}, {problem}; check what stands at {self._host}") from None

    def _judge(self, status: int, headers: Mapping[str, str], body: bytes, request: str, key: str) -> None:
        """Pass a good answer; raise what any other one means."""
        # An error may come with status 200: the official SDK looks at the body alone.
        if 200 <= status < 300 and (b'"error"' not in body[:64] or told(body) is None):
            return
        if 300 <= status < 400:
            raise _redirected(status, headers.get("location", ""), request)
        now = self._clock.wall() + self._api_time.offset
        raise failure(
            status=status,
            body=body,
            request=request,
            secrets=(key,),
            retry_after=retry_after(headers, now),
        )


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


def _query(params: Params) -> str:
    """The query string, as forms write it. Names are ours, and plain."""
    return "&".join(
        [
            f"{name}={value if value.isalnum() and value.isascii() else quote_plus(value)}"
            for name, value in params
        ]
    )


def _told(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers that are read somewhere, by name; several of one name are joined, as HTTP has it."""
    headers: dict[str, str] = {}
    for name, value in raw:
        if (key := READ.get(name.lower())) is not None:
            text = value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _header(value: str, name: str) -> str:
    if not PRINTABLE.fullmatch(value):
        raise BadRequest(f"{name}: {redact(value)!r} is no uid; for example superhero1")
    return value


def _redirected(status: int, location: str, request: str) -> BadResponse:
    try:
        target = urlsplit(location).hostname or "another path"
    except ValueError:
        target = "nowhere"
    text = (
        f"{request}: HTTP {status} to {redact(target)}: redirects are refused, "
        "the API key would go along; set api.base_url to the final address"
    )
    return BadResponse(text, status=status)
