"""Microsoft Teams messages: an Adaptive Card 1.4 in the envelope that Workflows expects.

All text stands in `TextRun`s, which know no markdown: nothing in it is parsed, so nothing has to be escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from monitor.delivery.render import text, words

Element = dict[str, Any]

MESSAGE: Final = 27_000
"""Bytes. Teams refuses more than 28,672 (`MessageSizeExceeded`), of the card as it stands in a message: as
JSON within JSON, every quote escaped once more, which makes it a fifth longer than what is posted
(https://github.com/MicrosoftDocs/msteams-docs/issues/11274). The flow says yes before that: nobody would
hear of it.
"""

_ENVELOPE: Final = 1500  # what is round the body
_LINK: Final = 1500
_SHORT_QUOTE: Final = 200
_COLOURS: Final = {"CRITICAL": "Attention", "WARNING": "Warning", "INFO": "Accent", "RESOLVED": "Good"}


def payload(page: text.Page) -> dict[str, Any]:
    """The whole request body."""
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "fallbackText": page.title,
        "body": _fitted(_body(page), MESSAGE - _ENVELOPE - size(page.title)),
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}


def size(content: Any) -> int:
    """Bytes that this may take in a message of Teams: as JSON within JSON, whatever is escaped there."""
    return len(json.dumps(json.dumps(content)))


def _fitted(elements: Iterable[Element], limit: int) -> list[Element]:
    """As many as fit, with a word where more stood."""
    cut = _line("… more than a message can hold", isSubtle=True)
    kept: list[Element] = []
    left = limit - size(cut)
    for element in elements:
        left -= size(element)
        if left < 0:
            return [*kept, cut]
        kept.append(element)
    return kept


def _body(page: text.Page) -> Iterator[Element]:
    yield _line(page.title, size="Medium", weight="Bolder", color=_COLOURS[page.word])
    yield from (_line(lead) for lead in page.leads)
    if page.command:
        yield _rich(_run("Each of them is listed by "), _run(page.command, fontType="Monospace"))
    is_alone = len(page.parts) == 1 and not page.lists
    for part in page.parts:
        yield from _part(part, text.QUOTE if is_alone else _SHORT_QUOTE)
    for listed in page.lists:
        if listed.heading:
            yield _line(listed.heading, weight="Bolder")
        yield from (_line(f"• {line}") for line in listed.lines)
    yield _line(page.footer, isSubtle=True, size="Small")


def _part(part: text.Part, quote: int) -> Iterator[Element]:
    if part.heading:
        yield _line(part.heading, weight="Bolder", color=_COLOURS[part.word])
    yield from (_line(said) for said in (*part.leads, part.summary) if said)
    yield _named("When", words.when(part.at))
    yield from (_named(fact.name, fact.value) for fact in part.facts)
    if part.quote:
        said = _line(f"“{words.cut(part.quote, quote)}”")
        yield {"type": "Container", "style": "emphasis", "items": [said]}
    actions = [
        {"type": "Action.OpenUrl", "title": link.name, "url": link.url}
        for link in part.links
        if len(link.url) <= _LINK
    ]
    if actions:
        yield {"type": "ActionSet", "actions": actions}
    if part.footer:
        yield _line(part.footer, isSubtle=True, size="Small")


def _named(name: str, value: str) -> Element:
    return _rich(_run(f"{name}: ", weight="Bolder"), _run(value))


def _line(said: str, **looks: Any) -> Element:
    return _rich(_run(said, **looks))


def _rich(*runs: Element) -> Element:
    return {"type": "RichTextBlock", "inlines": list(runs)}


def _run(said: str, **looks: Any) -> Element:
    return {"type": "TextRun", "text": said, **looks}
