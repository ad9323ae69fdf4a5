"""What can go wrong with a request, by what the caller does next; and how an answer is judged. Pure.

The server's own words are repeated only where they help (a refused parameter), cut, on one line and without
anything that looks like a key: CometChat writes the API key into its error texts.
"""
# ruff: noqa: N818 - a failure is named by what is the matter

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, Final

import msgspec

from monitor.errors import CometwatchError

Details = Mapping[str, tuple[str, ...]]

MAX_TEXT: Final = 300


class SourceError(CometwatchError):
    """A request that gave no page. `retry_after` is the server's wish, when it told one."""

    outcome: ClassVar[str] = "bad_response"  #: as metrics call it

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after: timedelta | None = None,
        details: Details | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.details: Details = details or {}


class BadKey(SourceError):
    """The key (or the app it should open) is unknown: nothing works until someone mends it."""

    outcome = "bad_key"


class NoAccess(SourceError):
    """The key is known but may not do this: wrong scope, plan or subscription."""

    outcome = "no_access"


class UnknownUser(SourceError):
    """CometChat has no such user, or it is deactivated."""

    outcome = "unknown_user"


class UnknownGroup(UnknownUser):
    """CometChat has no such group: its list is as unreadable as an unknown user's."""


class BadRequest(SourceError):
    """Asked like this, it will never work; `details` says what was wrong with which parameter."""

    outcome = "bad_request"


class RateLimited(SourceError):
    """The app's quota is spent: everybody waits for `retry_after`."""

    outcome = "rate_limited"


class ServerError(SourceError):
    """CometChat failed: try again later."""

    outcome = "server_error"


class BadResponse(SourceError):
    """Something answered, but not as CometChat does: a proxy, a wrong address, a broken transfer."""


class Unreachable(SourceError):
    """No whole answer came: name, connection, TLS or deadline."""

    outcome = "unreachable"


BY_CODE: Final[Mapping[str, type[SourceError]]] = {
    "AUTH_ERR_EMPTY_APPID": BadKey,
    "AUTH_ERR_INVALID_APPID": BadKey,
    "AUTH_ERR_EMPTY_APIKEY": BadKey,
    "AUTH_ERR_APIKEY_NOT_FOUND": BadKey,
    "AUTH_ERR_EMPTY_AUTH_TOKEN": BadKey,
    "AUTH_ERR_AUTH_TOKEN_NOT_FOUND": BadKey,
    "AUTH_ERR_NO_ACCESS": NoAccess,
    "ERR_PLAN_RESTRICTION": NoAccess,
    "ERR_PLAN_QUOTA_RESTRICTION": NoAccess,
    "ERR_SUBSCRIPTION_EXPIRED": NoAccess,
    "ERR_UID_NOT_FOUND": UnknownUser,
    "ERR_GUID_NOT_FOUND": UnknownGroup,
    "ERR_TOO_MANY_REQUESTS": RateLimited,
    "ERR_MISSION_FAILED": ServerError,
    "ERR_OPERATION_FAILED": ServerError,
    "ERR_EXCEPTION": ServerError,
    "ERR_BAD_ERROR_RESPONSE": ServerError,
}
BY_STATUS: Final[Mapping[int, type[SourceError]]] = {
    401: BadKey,
    403: NoAccess,
    408: ServerError,
    425: ServerError,
    429: RateLimited,
}

ADVICE: Final[Mapping[type[SourceError], str]] = {
    BadKey: "check that the API key belongs to this app and region (dashboard: API & Auth Keys)",
    NoAccess: "use a key with scope fullAccess (dashboard: API & Auth Keys) and check the app's plan",
    UnknownUser: "check the uid; a deactivated user looks the same",
    UnknownGroup: "check the guid; a deleted group looks the same",
    BadRequest: "it will not work as it is",
    RateLimited: "lower api.requests_per_minute, or ask CometChat for a larger quota",
    ServerError: "nothing to mend here; it will be tried again",
}

KEYLIKE: Final = re.compile(
    r"[0-9A-Za-z]{2,}\*{3,}[0-9A-Za-z]*|(?<![0-9A-Za-z])[0-9A-Fa-f]{24,}(?![0-9A-Za-z])"
)
WORD: Final = re.compile(r"[A-Z][A-Z0-9_]{2,63}")


class Told(msgspec.Struct, frozen=True):
    """What an error body tells, as it came."""

    code: str | None = None
    message: str | None = None
    details: Any = None


def told(body: bytes) -> Told | None:
    """The error that `body` describes in CometChat's form, or None."""
    try:
        error = msgspec.json.decode(body).get("error")
    except (msgspec.MsgspecError, ValueError, RecursionError, AttributeError):
        return None
    if not isinstance(error, dict):
        return None
    code, message = error.get("code"), error.get("devMessage") or error.get("message")
    return Told(
        code=code if isinstance(code, str) and WORD.fullmatch(code) else None,
        message=message if isinstance(message, str) else None,
        details=error.get("details"),
    )


def failure(
    *, status: int, body: bytes, request: str, secrets: tuple[str, ...], retry_after: timedelta | None
) -> SourceError:
    """The error that an answer other than a page means. `request` says for whom or what it was asked."""
    error = told(body)
    code = error.code if error else None
    cause = _cause(status, error)
    facts = f"HTTP {status}" + (f", {code}" if code else "")
    if cause is BadResponse:
        text = f"{request}: no CometChat answer ({facts}): check api.base_url, app_id and region"
        return BadResponse(text, status=status, code=code, retry_after=retry_after)
    details = _details(error.details, secrets) if error else {}
    said = _said(error, details, secrets) if error and cause in {BadRequest, ServerError} else ""
    text = f"{request}: {_PHRASES[cause]} ({facts}){said}: {ADVICE[cause]}"
    return cause(text, status=status, code=code, retry_after=retry_after, details=details)


_PHRASES: Final[Mapping[type[SourceError], str]] = {
    BadKey: "CometChat does not know the API key or the app",
    NoAccess: "the API key may not do this",
    UnknownUser: "CometChat knows no such user",
    UnknownGroup: "CometChat knows no such group",
    BadRequest: "CometChat refuses the request",
    RateLimited: "too many requests",
    ServerError: "CometChat failed",
}


def _cause(status: int, error: Told | None) -> type[SourceError]:
    if error and error.code and error.code in BY_CODE:
        return BY_CODE[error.code]
    if status >= 500:
        return ServerError
    if status in BY_STATUS:
        return BY_STATUS[status]
    # Without CometChat's own words a 404 is a wrong address or a proxy, never "no such user": that would
    # close the timers of everybody.
    return BadRequest if error and status >= 400 else BadResponse


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """`text` on one line, cut, without the secrets and without anything that looks like a key."""
    for secret in secrets:
        if secret:
            text = re.sub(re.escape(secret), "[key]", text, flags=re.IGNORECASE)
    text = KEYLIKE.sub("[key]", text)
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _details(details: Any, secrets: tuple[str, ...]) -> Details:
    """At most ten parameters with at most three complaints each."""
    if not isinstance(details, dict):
        return {}
    return {
        redact(name, secrets)[:40]: tuple(redact(str(text), secrets) for text in _listed(texts)[:3])
        for name, texts in list(details.items())[:10]
    }


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _said(error: Told, details: Details, secrets: tuple[str, ...]) -> str:
    words = "; ".join(text for texts in details.values() for text in texts) or error.message
    return f': "{redact(words, secrets)}"' if words else ""
