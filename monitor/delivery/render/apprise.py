"""Alerts as a title and a plain text, for whatever service Apprise hands them to."""

from __future__ import annotations

import re
from typing import Final

from monitor.delivery.render import text

BODY: Final = 3000
"""Characters; what a service can't take of them Apprise cuts off."""

_CALLS: Final = re.compile(r"@(?=\w)")
_MENTIONS: Final = re.compile(r"<(?=[@!#&])")


def title(page: text.Page) -> str:
    return inert(page.title)


def body(page: text.Page) -> str:
    return inert(text.plain(page, BODY))


def inert(said: str) -> str:
    """Without what chat services make calls of; each has its own idea of all the rest."""
    return _MENTIONS.sub("‹", _CALLS.sub("＠", said))
