"""Discord messages: a line that is enough by itself, and embeds with the rest.

Everything that is not ours is escaped: no markdown, no link, no mention of it comes to life. On top of that
`allowed_mentions` forbids that anybody is pinged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from monitor.delivery.render import text, words

# Discord's limits: https://docs.discord.com/developers/resources/message#embed-object-embed-limits.
# A content of 2,000 characters; in an embed a title of 256, a description of 4,096, 25 fields of 256 + 1,024,
# a footer of 2,048; 6,000 over all embeds. The budgets below sum to less than 5,800 for any message.
CONTENT: Final = 500
_WHOLE: Final = 3000  # the description of an alert that is alone
_SHORT: Final = 800  # of one of several
_LISTS: Final = 2500
_QUOTE: Final = 1200
_SHORT_QUOTE: Final = 200
_FIELD: Final = 200
_NAME: Final = 250
_FOOTER: Final = 300
_LINK: Final = 700

SUPPRESS_NOTIFICATIONS: Final = 1 << 12
_COLOURS: Final = {"CRITICAL": 0xD32F2F, "WARNING": 0xF57C00, "INFO": 0x1976D2, "RESOLVED": 0x388E3C}
_SIGNS: Final = re.compile(r"([\\*_~`|<>\[\]#]|:(?=//))|.", re.DOTALL)


def payload(page: text.Page, *, is_loud: bool = True) -> dict[str, Any]:
    """The whole request body, for a new message or an edited one."""
    return {**bare(page, is_loud=is_loud), "embeds": list(_embeds(page))}


def bare(page: text.Page, *, is_loud: bool = True) -> dict[str, Any]:
    """The message without embeds: what is sent if Discord finds fault with them."""
    quiet: dict[str, Any] = {} if is_loud else {"flags": SUPPRESS_NOTIFICATIONS}
    content = f"**{escaped(page.title, CONTENT)}**"
    return {"content": content, "allowed_mentions": {"parse": []}, **quiet}


def escaped(said: str, limit: int) -> str:
    """`said` as literal markdown of at most `limit` characters; no escape is cut in two."""
    signs = _SIGNS.finditer(words.plain(said, limit))
    return text.joined((f"\\{sign[1]}" if sign[1] else sign[0] for sign in signs), limit)


def _embeds(page: text.Page) -> Iterator[dict[str, Any]]:
    leads = [escaped(lead, text.LEAD) for lead in page.leads]
    is_alone = len(page.parts) == 1 and not page.lists
    for part in page.parts:
        yield _whole(page, part, leads) if is_alone else _short(part)
    if not is_alone:
        lines = [*leads, *_list_lines(page)]
        yield _embed(page.word, text.fitted(lines, _LISTS), footer=page.footer)


def _whole(page: text.Page, part: text.Part, leads: list[str]) -> dict[str, Any]:
    facts = [("When", f"{words.when(part.at)} (<t:{int(part.at.timestamp())}:R>)")]
    facts += [(fact.name, escaped(fact.value, _FIELD)) for fact in part.facts]
    fields = [
        {"name": name, "value": value, "inline": name not in {"Call", "Files"}} for name, value in facts
    ]
    footer = " · ".join(filter(None, (part.footer, page.footer)))
    lines = [*leads, *_part_lines(part, _QUOTE)]
    title = {"title": escaped(part.heading, _NAME)} if part.heading else {}
    return {**title, **_embed(part.word, text.fitted(lines, _WHOLE), footer=footer), "fields": fields}


def _short(part: text.Part) -> dict[str, Any]:
    lines = [words.when(part.at), *_part_lines(part, _SHORT_QUOTE)]
    return {
        "title": escaped(part.heading, _NAME),
        **_embed(part.word, text.fitted(lines, _SHORT), footer=part.footer),
    }


def _embed(word: str, description: str, *, footer: str) -> dict[str, Any]:
    shown = {"description": description} if description else {}
    # A footer is plain text: what is escaped elsewhere would show its backslashes here.
    return {"color": _COLOURS[word], **shown, "footer": {"text": words.plain(footer, _FOOTER)}}


def _part_lines(part: text.Part, quote: int) -> Iterator[str]:
    yield from (escaped(lead, text.LEAD) for lead in part.leads)
    if part.summary:
        yield escaped(part.summary, text.SUMMARY)
    links = [_linked(link) for link in part.links if len(link.url) <= _LINK]
    yield from links
    if part.quote:
        yield f"> {escaped(part.quote, quote)}"


def _linked(link: text.Link) -> str:
    # The only signs that `words.web_url` leaves and that would end a link early.
    url = link.url.replace("(", "%28").replace(")", "%29")
    return f"[{link.name}]({url})"


def _list_lines(page: text.Page) -> Iterator[str]:
    if page.command:
        # Between backticks nothing is escaped; one in it would end them.
        command = page.command.replace("`", "ˋ")
        yield f"Each of them is listed by `{command}`"
    for listed in page.lists:
        if listed.heading:
            yield f"**{escaped(listed.heading, text.LINE)}**"
        yield from (f"• {escaped(line, text.LINE)}" for line in listed.lines)
