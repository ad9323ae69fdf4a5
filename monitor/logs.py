"""What we say of ourselves: one line an event, nothing secret in it, nothing in it that forges another.

Log events are named `area.what_happened` and carry facts as keys. Everything passes `Redactor`, also
what libraries log and what exceptions say, because those quote URLs, headers and bodies.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from enum import Enum
from pathlib import PurePath
from typing import Any, Final, TextIO, cast
from urllib.parse import quote, quote_plus

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

REDACTED: Final = "[redacted]"
MIN_SECRET: Final = 4  # shorter ones are words of every log line; their keys still hide them
MAX_TEXT: Final = 4_000
MAX_TRACEBACK: Final = 20_000
MAX_DEPTH: Final = 6

SECRET_KEYS: Final = frozenset(
    {
        "text",
        "caption",
        "body",
        "secret",
        "previous_secret",
        "signing_secret",
        "password",
        "passwd",
        "wschannel",
    }
    | {"token", "authtoken", "auth_token", "apikey", "api_key", "authorization", "cookie", "webhook_url"}
    | {"signature", "fat", "credential", "credentials"}
)
_SECRET_WORDS: Final = "|".join(sorted(SECRET_KEYS, key=len, reverse=True))

_PATTERNS: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"whsec_[A-Za-z0-9+/=_-]+", REDACTED),
        (r"(https?://hooks\.slack(?:-gov)?\.com)/[^\s\"'<>]+", rf"\1/{REDACTED}"),
        (r"(://)[^\s/@\"']+@", rf"\1{REDACTED}@"),
        # signed media links: whatever their parameters are called
        (
            r"([?&;](?:signature|x-amz-[a-z-]+|x-goog-[a-z-]+|fat|token|sig|policy|key-pair-id|apikey|api_key)=)[^&\s\"'<>]+",
            rf"\1{REDACTED}",
        ),
        (
            r"\b((?:apikey|authtoken|authorization|cookie)\s*:\s*)(?:bearer |basic )?[^\s\"',}]+",
            rf"\1{REDACTED}",
        ),
        # JSON and Python fragments in error texts: "text": "…", 'secret': '…', text='…'
        (
            rf"([\"'](?:{_SECRET_WORDS})[\"']\s*:\s*)(\"(?:\\.|[^\"\\])*\"?|'(?:\\.|[^'\\])*'?)",
            rf'\1"{REDACTED}"',
        ),
        (rf"\b((?:{_SECRET_WORDS})=)(\"(?:\\.|[^\"\\])*\"?|'(?:\\.|[^'\\])*'?)", rf'\1"{REDACTED}"'),
    )
)

# Line ends, terminal escapes, and marks that turn the writing direction: all can make a value look like
# something else.
_FORGING: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_FORGING_BUT_LINES: Final = re.compile(_FORGING.pattern.replace(r"\x00-\x1f", r"\x00-\x09\x0b-\x1f"))


def one_line(text: str) -> str:
    """`text` with everything written out that would end a line or command a terminal."""
    return _FORGING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class Redactor:
    """Knows what must not be said. Also a structlog processor: events come out as plain, safe values."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self.learn(*secrets)

    def learn(self, *secrets: str) -> None:
        """From now on these never appear, neither as they are nor as URLs, JSON or Python quote them.

        Secrets once learnt stay so: an exchanged key may still be valid.
        """
        fresh = {form for secret in secrets for form in _forms(secret) if len(form) >= MIN_SECRET}
        if fresh <= self._known:
            return
        self._known |= fresh
        longest_first = sorted(self._known, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def text(self, text: str) -> str:
        """`text` without known secrets and without what looks like one. Lines stay lines."""
        text = self.known(text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def known(self, text: str) -> str:
        return self._pattern.sub(REDACTED, text) if self._pattern else text

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        traceback = event.pop("exception", None)
        safe = {self._line(str(key)): self._under(str(key), value, 0) for key, value in event.items()}
        if traceback is not None:
            safe["exception"] = self._traceback(str(traceback))
        return safe

    def _under(self, key: str, value: Any, depth: int) -> Any:
        is_secret = key.lower().replace("-", "_") in SECRET_KEYS and value not in (None, "")
        return REDACTED if is_secret else self._plain(value, depth)

    def _plain(self, value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            return "…"
        match value:
            case None | bool():
                return value
            case Enum():
                return self._plain(value.value, depth + 1)
            case int() | float():
                safe = self.known(str(value))
                finite = not isinstance(value, float) or math.isfinite(value)
                return value if finite and safe == str(value) else safe
            case str():
                return self._line(value)
            case bytes() | bytearray():
                return self._line(bytes(value).decode("utf-8", "backslashreplace"))
            case Mapping():
                return {
                    self._line(str(key)): self._under(str(key), one, depth + 1) for key, one in value.items()
                }
            case list() | tuple() | set() | frozenset():
                return [self._plain(one, depth + 1) for one in value]
            case timedelta():
                return value.total_seconds()
            case date() | PurePath():
                return self._line(str(value))
            case BaseException():
                return self._line(f"{type(value).__name__}: {_said(value)}")
            case _:
                # Never a repr: the repr of a message has its text.
                return f"<{type(value).__name__}>"

    def _line(self, text: str) -> str:
        # Whatever is cut off was long: a secret that the cut would halve is gone before it.
        return _cut(one_line(self.text(text)), MAX_TEXT)

    def _traceback(self, text: str) -> str:
        safe = _FORGING_BUT_LINES.sub(
            lambda found: found[0].encode("unicode_escape").decode(), self.text(text)
        )
        return _cut(safe, MAX_TRACEBACK)


def _forms(secret: str) -> frozenset[str]:
    """The ways in which a secret turns up when others quote it."""
    return frozenset(
        {
            secret,
            one_line(secret),
            quote(secret, errors="backslashreplace"),
            quote(secret, safe="", errors="backslashreplace"),
            quote_plus(secret, errors="backslashreplace"),
            json.dumps(secret)[1:-1],
            repr(secret)[1:-1],
        }
    )


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failed:  # a library's __str__ must not cost us the line
        return f"(its text failed with {type(failed).__name__})"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} more)"


# --- set-up -----------------------------------------------------------------------------------------

QUIET: Final = ("httpx", "httpcore", "hypercorn.access", "hypercorn.error", "watchfiles", "alembic")


def configure(*, format: str, level: str, redactor: Redactor, stream: TextIO | None = None) -> None:  # noqa: A002  # the setting's name
    """Send every log, ours and the libraries', through `redactor` to `stream` (standard error).

    `format` is auto, console or json; `level` the least that is shown. May be called again.
    """
    stream = stream or sys.stderr
    is_console = format == "console" or (format == "auto" and stream.isatty())
    render = _console(redactor, colors=stream.isatty()) if is_console else _json(redactor)
    lowest = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, redactor, render],
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    _route_stdlib(shared, [redactor, render], lowest, stream)


@contextmanager
def quietly(least: int) -> Iterator[None]:
    """Within it nothing of ours below the level `least` is logged."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(least))
    try:
        yield
    finally:
        structlog.configure(**before)


def _route_stdlib(shared: list[Processor], last: list[Processor], lowest: int, stream: TextIO) -> None:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(lowest)
    for name in QUIET:  # a line for each request would be most of the log
        logging.getLogger(name).setLevel(max(lowest, logging.WARNING))
    logging.captureWarnings(capture=True)


def _json(redactor: Redactor) -> Callable[[WrappedLogger, str, EventDict], str]:
    def render(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
        first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
        return redactor.known(json.dumps({**first, **event}, default=str))

    return render


def _console(redactor: Redactor, *, colors: bool) -> Callable[[WrappedLogger, str, EventDict], str]:
    pretty = structlog.dev.ConsoleRenderer(colors=colors, sort_keys=False)

    def render(logger: WrappedLogger, method: str, event: EventDict) -> str:
        traceback = event.pop("exception", None)
        line = redactor.known(str(pretty(logger, method, event)))
        if traceback is None:
            return line
        return "\n    | ".join([line, *traceback.splitlines()])

    return render


def get(name: str) -> FilteringBoundLogger:
    """The logger of one part of the house."""
    return cast("FilteringBoundLogger", structlog.get_logger(part=name))
