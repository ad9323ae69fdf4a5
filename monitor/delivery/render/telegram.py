"""Telegram messages in its HTML, which has few tags and no styles.

Telegram makes links of what looks like an address, and calls people whose names stand behind an "@". So
what people wrote stands in `code`, where nothing is looked for; where that can't be (titles, summaries) the
signs that would do it are replaced by ones that look alike.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Final

from monitor.delivery.render import text, words

# https://core.telegram.org/bots/api#sendmessage: 4,096 characters, without the tags.
MESSAGE: Final = 4000
_BARE: Final = 1000
_QUOTE: Final = 1000
_SHORT_QUOTE: Final = 200
_LINK: Final = 1000

_TAG: Final = re.compile(r"<[^>]*>")
_CALLS: Final = re.compile(r"@(?=\w)")
_SCHEME: Final = re.compile(r":(?=//)")
_DOT: Final = re.compile(r"(?<=\w)\.(?=[^\W\d_]{2})")  # of a name like example.org; not of 10.5 or "e.g."


def message(page: text.Page) -> str:
    """The page as HTML, at most `MESSAGE` characters; cut between lines, never within a tag."""
    return text.fitted(list(_lines(page)), MESSAGE, size=_visible)


def bare(page: text.Page) -> str:
    """The same as plain text, to be sent without a `parse_mode`, if Telegram finds fault with the tags."""
    return inert(f"{page.title}\n{text.plain(page, _BARE)}")


def inert(said: str) -> str:
    """`said` without anything that Telegram would make a link or a call of."""
    return _DOT.sub("․", _SCHEME.sub("꞉", _CALLS.sub("＠", said)))


def _lines(page: text.Page) -> Iterator[str]:
    yield f"<b>{_literal(page.title)}</b>"
    yield from (_literal(lead) for lead in page.leads)
    if page.command:
        yield f"Each of them is listed by {_code(page.command)}"
    is_alone = len(page.parts) == 1 and not page.lists
    for part in page.parts:
        yield from _part_lines(part, _QUOTE if is_alone else _SHORT_QUOTE)
    for listed in page.lists:
        yield ""
        yield from (f"<b>{_literal(heading)}</b>" for heading in filter(None, (listed.heading,)))
        yield from (f"• {_literal(line)}" for line in listed.lines)
    yield f"<i>{_literal(page.footer)}</i>"


def _part_lines(part: text.Part, quote: int) -> Iterator[str]:
    if part.heading:
        yield ""
        yield f"<b>{_literal(part.heading)}</b>"
    yield from (_literal(said) for said in (*part.leads, part.summary) if said)
    yield f"When: {words.when(part.at)}"
    yield from (f"{fact.name}: {_code(fact.value)}" for fact in part.facts)
    if part.quote:
        yield _code(f"“{words.cut(part.quote, quote)}”")
    links = [f'<a href="{html.escape(url)}">{name}</a>' for name, url in part.links if len(url) <= _LINK]
    if links:
        yield " · ".join(links)
    if part.footer:
        yield f"<i>{_literal(part.footer)}</i>"


def _visible(line: str) -> int:
    return text.length(html.unescape(_TAG.sub("", line)))


def _literal(said: str) -> str:
    return html.escape(inert(said), quote=False)


def _code(said: str) -> str:
    return f"<code>{html.escape(said, quote=False)}</code>"
