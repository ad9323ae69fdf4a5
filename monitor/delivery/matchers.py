"""Matchers over labels, as routes and silences write them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

import re2

from monitor.errors import ConfigError
from monitor.store.values import Matcher, Operator

EXAMPLE: Final = "team=payments, severity!=info, rule=~'missed-.*'"

_WRITTEN: Final = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)
_ESCAPES: Final = {"n": "\n", '"': '"', "\\": "\\"}


def takes(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether all `matchers` agree with `labels`; a missing label counts as ""."""
    return all(_agrees(matcher, labels.get(matcher.label, "")) for matcher in matchers)


def _agrees(matcher: Matcher, value: str) -> bool:
    match matcher.operator:
        case Operator.IS:
            return value == matcher.value
        case Operator.IS_NOT:
            return value != matcher.value
        case Operator.LIKE:
            return _pattern(matcher.value).fullmatch(value) is not None
        case Operator.NOT_LIKE:
            return _pattern(matcher.value).fullmatch(value) is None


def parse(text: str) -> Matcher:
    """`label=value`, `!=`, `=~` or `!~`; the value may be quoted as Alertmanager does. Raises ConfigError."""
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise ConfigError(f"`{text}` is not a matcher; for example {EXAMPLE}")
    label, operator, value = found[1], Operator(found[2]), _unquoted(found[3], text)
    if operator in {Operator.LIKE, Operator.NOT_LIKE}:
        try:
            _pattern(value)
        except re2.error as error:
            why = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
            raise ConfigError(f"`{text}`: {value!r} is not a regular expression of RE2 ({why})") from None
    return Matcher(label=label, operator=operator, value=value)


def _unquoted(value: str, text: str) -> str:
    if value.startswith(("=", "~")):
        raise ConfigError(f"`{text}`: one = is enough, as in {EXAMPLE}; a value that begins so is quoted")
    if not value.startswith(('"', "'")):
        return value
    if len(value) < 2 or value[-1] != value[0]:
        raise ConfigError(f"`{text}`: the quoted value does not end with {value[0]}")
    if value[0] == "'":
        return value[1:-1]
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), value[1:-1])


@lru_cache(maxsize=1_000)
def _pattern(text: str) -> re2._Regexp:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(text, options)
