"""What a person asks of a silence, checked and completed: for the commands and the status API. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Final

import msgspec
from pydantic_core import PydanticCustomError

from monitor.delivery.matchers import EXAMPLE, parse, takes
from monitor.errors import ConfigError
from monitor.settings.forms import duration
from monitor.store.values import Matcher, Operator
from rules.model import Value
from rules.pace import SURGE

LONGEST: Final = timedelta(days=365)
TOO_LONG: Final = (
    f"a silence lasts up to {LONGEST.days} days; for good, give the rule `enabled: false` instead"
)
MAX_TEXT: Final = 500  # characters of an author or a comment: both stand with every alert that is held
OURS: Final = "cometwatch-"  # so begin the names of what Cometwatch tells of itself


class Wish(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A silence as a person writes it: matchers, an end, and why."""

    matchers: tuple[str, ...]
    comment: str
    author: str = ""
    length: str | None = msgspec.field(default=None, name="for")  #: 30m, 2h, 3d; or `ends_at`
    starts_at: datetime | None = None  #: None: at once
    ends_at: datetime | None = None


class Plan(Value, frozen=True, kw_only=True):
    """The same, ready to be stored."""

    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    author: str
    comment: str


def planned(wish: Wish, *, now: datetime) -> Plan:
    """What `wish` means when it is uttered at `now`. Raises ConfigError with what is wrong."""
    starts_at = _aware(wish.starts_at, "starts_at") or now
    ends_at = _end(wish, starts_at)
    if ends_at <= now:
        raise ConfigError(f"ends_at: {ends_at:%Y-%m-%d %H:%M:%S} UTC is over; give a time to come")
    if ends_at <= starts_at:
        raise ConfigError("a silence ends after it begins: starts_at is not before ends_at")
    if ends_at - starts_at > LONGEST:
        raise ConfigError(TOO_LONG)
    return Plan(
        matchers=matchers_of(wish.matchers),
        starts_at=max(starts_at, now),
        ends_at=ends_at,
        author=said(wish.author, "author", "anna"),
        comment=said(wish.comment, "comment", "phone system is being moved"),
    )


def matchers_of(texts: Sequence[str]) -> tuple[Matcher, ...]:
    """Raises ConfigError for none at all, a wrong one, or such that take every alert whatever its labels."""
    matchers = tuple(dict.fromkeys(map(parse, texts)))
    if not matchers:
        raise ConfigError(f"matchers: say what is silenced; for example {EXAMPLE}")
    if takes(matchers, {}):
        shown = ", ".join(map(str, matchers))
        raise ConfigError(
            f"matchers: {shown} would take alerts without any such label, and so nearly all; "
            f"add one that asks for a value, for example team=payments"
        )
    return matchers


def check_rules(matchers: Iterable[Matcher], known: Collection[str]) -> None:
    """Raise ConfigError for a rule that is not among the `known` ones; while none is known, any will do."""
    for matcher in matchers:
        name = matcher.value
        if (matcher.label, matcher.operator) != ("rule", Operator.IS) or not known:
            continue
        if name in known or name == SURGE or name.startswith(OURS):
            continue
        near = get_close_matches(name, known, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"there are: {', '.join(sorted(known))}"
        raise ConfigError(f'no rule is named "{name}" ({hint})')


def until(length: str, *, since: datetime) -> datetime:
    """When a silence of this length ends. Raises ConfigError if that is no time above zero, or too long."""
    try:
        lasts = duration(length)
    except PydanticCustomError as error:
        raise ConfigError(f"for: {error.message()}") from None
    if lasts <= timedelta(0):
        raise ConfigError(f'for: expected a time above zero such as 2h, not "{length}"')
    if lasts > LONGEST:
        raise ConfigError(TOO_LONG)
    return since + lasts


def said(text: str, name: str, example: str) -> str:
    """`text` without blanks around it. Raises ConfigError, calling it `name`, if it is empty or too long."""
    plain = text.strip()
    if not plain:
        raise ConfigError(f'{name} is empty: whoever reads the record wants to know; for example "{example}"')
    if len(plain) > MAX_TEXT:
        raise ConfigError(f"{name} has {len(plain)} characters; {MAX_TEXT} are the most")
    return plain


def _end(wish: Wish, starts_at: datetime) -> datetime:
    ends_at = _aware(wish.ends_at, "ends_at")
    if (wish.length is None) == (ends_at is None):
        raise ConfigError("say how long: for (30m, 2h, 3d) or ends_at (2026-11-22T18:00:00Z), one of them")
    return until(wish.length or "", since=starts_at) if ends_at is None else ends_at


def _aware(when: datetime | None, name: str) -> datetime | None:
    if when is not None and when.tzinfo is None:
        raise ConfigError(
            f"{name}: {when.isoformat()} has no time zone: end it with Z for UTC or an offset such as +01:00"
        )
    return when
