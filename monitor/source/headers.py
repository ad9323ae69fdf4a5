"""What the headers of an answer tell: the quota, when to come back, and what time it is there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from monitor.source.pages import RateInfo

MAX_RETRY_AFTER: Final = timedelta(hours=1)  # a longer wish is a mistake: a broken clock, milliseconds
LONG: Final = timedelta(days=1)  # a quota window that ends farther away is a mistake too

LIMIT: Final = ("x-ratelimit-limit", "x-rate-limit", "x-rate-limit-limit")
REMAINING: Final = ("x-ratelimit-remaining", "x-rate-limit-remaining")
RESET: Final = ("x-ratelimit-reset", "x-rate-limit-reset")
"""CometChat's documents spell these in two ways; both are read, whatever the case."""


def rate_info(headers: Mapping[str, str], now: datetime) -> RateInfo:
    """What is left of the quota. `headers` must look keys up without case, as httpx's do."""
    reset = _digits(headers, RESET)
    return RateInfo(
        limit=_digits(headers, LIMIT),
        remaining=_digits(headers, REMAINING),
        reset_at=_near(reset, now) if reset is not None else None,
    )


def retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """The pause that the server asks for, between nothing and an hour; None if it does not say.

    `Retry-After` comes as seconds or as an HTTP date, which is judged by the server's own `Date`. Without it,
    the end of the quota window is the wish.
    """
    said = headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return _bounded(timedelta(seconds=min(int(said[:12]), 10**9)))
    if (at := http_date(said)) is not None:
        return _bounded(at - (http_date(headers.get("date", "")) or now))
    reset_at = rate_info(headers, now).reset_at
    remaining = _digits(headers, REMAINING)
    return _bounded(reset_at - now) if reset_at is not None and not remaining else None


def http_date(text: str) -> datetime | None:
    """The instant that an HTTP date names, if it is one that a clock could show."""
    if not text:
        return None
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return found.astimezone(UTC) if 2000 <= found.year < 3000 else None


class HttpDates:
    """Reads `Date` headers, which many answers of one second share, once."""

    def __init__(self) -> None:
        self._text = ""
        self._date: datetime | None = None

    def read(self, text: str) -> datetime | None:
        """The same as `http_date`."""
        if text != self._text:
            self._text, self._date = text, http_date(text)
        return self._date


def rate_spelling(headers: Mapping[str, str]) -> str | None:
    """Which of the two documented spellings this server uses: "X-RateLimit-…", "X-Rate-Limit-…" or None."""
    for name in headers:
        if name.lower().startswith("x-ratelimit-"):
            return "X-RateLimit-…"
        if name.lower().startswith("x-rate-limit"):
            return "X-Rate-Limit-…"
    return None


def _bounded(wish: timedelta) -> timedelta:
    return min(max(wish, timedelta(0)), MAX_RETRY_AFTER)


def _digits(headers: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    for name in names:
        text = headers.get(name, "").strip()
        if text.isascii() and text.isdigit() and len(text) < 13:
            return int(text)
    return None


def _near(unix_s: int, now: datetime) -> datetime | None:
    """`unix_s` as a time, if it is within a day of now."""
    distance = unix_s - int(now.timestamp())
    return datetime.fromtimestamp(unix_s, UTC) if abs(distance) <= LONG.total_seconds() else None


class ApiTime:
    """How far the API's clock is from ours, as far as `Date` headers prove it.

    A `Date` of D, in answer to a request that ran from t0 to t1 by our clock, says that the API's clock is
    between D - t1 and D + 1 s - t0 ahead of ours: the header has whole seconds. Each answer narrows this
    window; one that contradicts it (a clock was set, or drifted) starts a new one. The offset is the value of
    the window that is nearest to zero: our clock is corrected only as far as it is proven wrong, so two good
    clocks agree exactly, and a wrong one is corrected to within a second at once. A watermark's margin of 2 s
    covers what is left.
    """

    def __init__(self) -> None:
        self._low = timedelta.min
        self._high = timedelta.max

    def observe(self, date: datetime, *, asked_at: datetime, answered_at: datetime) -> None:
        """Learn from one answer."""
        low, high = date - answered_at, date + timedelta(seconds=1) - asked_at
        if low > high:  # our clock was set back while we waited
            return
        self._low, self._high = max(low, self._low), min(high, self._high)
        if self._low > self._high:
            self._low, self._high = low, high

    @property
    def offset(self) -> timedelta:
        """API clock minus ours."""
        return min(max(timedelta(0), self._low), self._high)
