"""The forms in which people write values: durations, sizes, ids, addresses; each error says the right one."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainSerializer,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError


def wrong(message: str) -> PydanticCustomError:
    """What pydantic is told; the reader of the settings adds place and example."""
    return PydanticCustomError("wrong", "{message}", {"message": message})


SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
PLAIN_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+", re.ASCII)
ISO_DURATION: Final = re.compile(
    r"P(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.IGNORECASE | re.ASCII
)


def duration(text: Any) -> timedelta:
    """The time that 2s, 1h30m, 500ms, 30d or ISO 8601 (PT5M) mean; a bare number is refused: 5 of what."""
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str):
        raise wrong(f"expected a time with its unit such as 2s, 5m or 27h, not {_named(text)}")
    plain = text.replace(" ", "")
    try:
        if PLAIN_DURATION.fullmatch(plain):
            parts = re.findall(r"([\d.]+)([a-z]+)", plain)
            return timedelta(seconds=sum(float(number) * SECONDS[unit] for number, unit in parts))
        if len(plain) > 2 and (iso := ISO_DURATION.fullmatch(plain)):
            days, hours, minutes, seconds = (float(part or 0) for part in iso.groups())
            return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        raise wrong(f'"{text}" is longer than we can count') from None
    raise wrong(f'expected a time with its unit (ms, s, m, h, d) such as 2s, 5m or 27h, not "{text}"')


def duration_text(span: timedelta) -> str:
    """The short form that `duration` reads back: 1h30m, 2s, 250ms."""
    left = round(span.total_seconds() * 1000)
    text = ""
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, round(SECONDS[unit] * 1000))
        text += f"{count}{unit}" if count else ""
    return text or "0s"


BYTES: Final = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
}


def size(text: Any) -> int:
    """Bytes: 1048576, "500KB" or "32MiB"."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    found = re.fullmatch(r"([0-9]+)\s*([A-Za-z]*)", text.strip()) if isinstance(text, str) else None
    if not found or found[2].upper() not in BYTES:
        raise wrong(f"expected a size such as 500KB or 32MiB, not {_named(text)}")
    return int(found[1]) * BYTES[found[2].upper()]


def _size_text(count: int) -> str:
    for unit in ("GiB", "MiB", "KiB"):
        if count and count % BYTES[unit.upper()] == 0:
            return f"{count // BYTES[unit.upper()]}{unit}"
    return str(count)


def _text(value: Any) -> Any:
    """Ids are often plain numbers: take 275211 for "275211". Anything less plain has to be quoted."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float | bool):
        raise wrong(f"expected text, but YAML reads this as {_named(value)}: put it in quotes")
    return value


def _named(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return f"the word {str(value).lower()}"
        case int() | float():
            return f"the number {value}"
        case str():
            return f'"{value}"'
        case list():
            return "a list"
        case _:
            return "a mapping"


PLAIN_ID: Final = re.compile(r"[^\s/?#\x00-\x1f\x7f]{1,100}")


def uid(value: str) -> str:
    """A uid in CometChat's lower case; there may be 100,000 to check."""
    if not PLAIN_ID.fullmatch(value):
        raise wrong("a uid has 1 to 100 characters, no spaces and no slashes")
    if value.startswith("@"):  # so begin our own names of lists that are not a user's
        raise wrong("a uid has no @ at its beginning")
    return value.lower()  # CometChat keeps uids in lower case


def guid(value: str) -> str:
    """A guid in the same."""
    if not PLAIN_ID.fullmatch(value):
        raise wrong("a guid has 1 to 100 characters, no spaces and no slashes")
    return value.lower()  # as it does guids


def matching(pattern: str, expected: str, *, is_quoted: bool = True) -> AfterValidator:
    """Text of this form. What may hold a password is not quoted in the error."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise wrong(f"expected {expected}" + (f', not "{value}"' if is_quoted else ""))
        return value

    return AfterValidator(check)


def web_address(value: str) -> str:
    """An http(s) address; never quoted in the error, since webhook addresses are secrets."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, a broken IPv6 address
        parts, usable = urlsplit(""), False
    if not usable or re.search(r"[\s\x00-\x1f]", value):
        raise wrong("expected an address that begins with https:// (or http://) and names a host")
    if parts.username or parts.password:
        raise wrong("no user or password in the address: use header_files, or username and password_file")
    return value


def _secret_address(value: SecretStr) -> SecretStr:
    web_address(value.get_secret_value())
    return value


def signing_secret(value: str) -> str:
    """A Standard Webhooks secret, with or without its prefix; never quoted in the error."""
    try:
        key = base64.b64decode(value.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < MIN_KEY:
        raise wrong("expected a Standard Webhooks secret: whsec_ and 24 to 64 random bytes in base64")
    return value


def _secret_signing_secret(value: SecretStr) -> SecretStr:
    signing_secret(value.get_secret_value())
    return value


def bearer_token(value: str) -> str:
    """A token as HTTP carries it; never quoted in the error."""
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]{16,200}", value):
        raise wrong(
            "expected 16 to 200 letters, digits and . _ ~ + / = - without a blank; make such a token with: "
            "openssl rand -hex 32"
        )
    return value


def _secret_bearer_token(value: SecretStr) -> SecretStr:
    bearer_token(value.get_secret_value())
    return value


def _staleness(value: Any) -> timedelta | Literal["auto"]:
    if value == "auto":
        return "auto"
    if (span := duration(value)) <= timedelta(0):
        raise wrong("expected auto or a time above zero such as 30s")
    return span


def _occasion(value: Any) -> timedelta | Literal["off"]:
    if value in ("off", False):  # YAML reads a bare off as false
        return "off"
    if (span := duration(value)) < timedelta(minutes=1):
        raise wrong("expected off or a time of a minute or more such as 1d")
    return span


def _start(value: Any) -> datetime | Literal["now", "beginning"]:
    if value in ("now", "beginning"):
        return value  # type: ignore[no-any-return]
    try:
        when = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise wrong(
            f"expected now, beginning or a time such as 2026-11-22T08:00:00Z, not {_named(value)}"
        ) from None
    if when.tzinfo is None:
        raise wrong(
            f"{when.isoformat()} has no time zone: end it with Z for UTC or with an offset such as +01:00"
        )
    return when


def several(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


def _beside_config(value: str, info: ValidationInfo) -> str:
    """Relative paths start at the folder of the configuration file, wherever the command is run."""
    return str((info.context or {}).get("folder", Path()) / value)


MIN_KEY: Final = 16  # bytes; the specification wants 24, older receivers have less
DURATION_SCHEMA: Final = {
    "type": "string", "pattern": "^((\\d+(\\.\\d+)?(ms|s|m|h|d))+|P.+)$", "examples": ["2s", "5m", "27h"],
}  # fmt: skip
Duration = Annotated[
    timedelta,
    BeforeValidator(duration),
    PlainSerializer(duration_text, return_type=str, when_used="json"),
    WithJsonSchema(DURATION_SCHEMA),
]
Size = Annotated[
    int,
    BeforeValidator(size),
    PlainSerializer(_size_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["32MiB"]}),
]
Text = Annotated[str, BeforeValidator(_text), WithJsonSchema({"type": ["string", "integer"]})]
Texts = Annotated[
    tuple[Text, ...],
    BeforeValidator(several),
    WithJsonSchema(
        {
            "type": ["string", "integer", "array"],
            "items": {"type": ["string", "integer"]},
            "examples": ["payments"],
        }
    ),
]
Uid = Annotated[Text, AfterValidator(uid)]
Guid = Annotated[Text, AfterValidator(guid)]
Name = Annotated[Text, matching(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", "a name of letters, digits, - _ and .")]
LabelName = Annotated[Text, matching(r"[A-Za-z_][A-Za-z0-9_]{0,62}", "a label name of letters, digits and _")]
WebAddress = Annotated[str, AfterValidator(web_address)]
SecretAddress = Annotated[SecretStr, AfterValidator(_secret_address)]
SigningSecret = Annotated[SecretStr, AfterValidator(_secret_signing_secret)]
BearerToken = Annotated[SecretStr, AfterValidator(_secret_bearer_token)]
FileName = Annotated[str, AfterValidator(_beside_config)]
AS_TEXT: Final = PlainSerializer(  # a span, or the word that stands for one
    lambda value: value if isinstance(value, str) else duration_text(value),
    return_type=str,
    when_used="json",
)
Staleness = Annotated[
    timedelta | Literal["auto"],
    BeforeValidator(_staleness),
    AS_TEXT,
    WithJsonSchema({"anyOf": [{"const": "auto"}, DURATION_SCHEMA]}),
]
Occasion = Annotated[
    timedelta | Literal["off"],
    BeforeValidator(_occasion),
    AS_TEXT,
    WithJsonSchema({"anyOf": [{"enum": ["off", False]}, DURATION_SCHEMA]}),
]
Start = Annotated[
    datetime | Literal["now", "beginning"],
    BeforeValidator(_start),
    WithJsonSchema({"anyOf": [{"enum": ["now", "beginning"]}, {"type": "string", "format": "date-time"}]}),
]
