"""Parts of Slack messages that chat text can't steer: literal text, links of ours, blocks within limits.

Text that people wrote stands in `plain_text` objects where Slack allows them, which it never parses. In
`mrkdwn` objects it is escaped, and characters with a meaning of their own are replaced by ones that look
alike; `verbatim` keeps Slack from finding links and names by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from monitor.delivery.render import words

# Slack's limits: https://docs.slack.dev/reference/block-kit/blocks. Besides them, a message of more than
# about 13,200 characters is refused (`msg_blocks_too_long`); the parts of any message of ours sum to less
# than 12,000.
HEADER: Final = 150
CONTEXT: Final = 600
FIELD: Final = 350
LINK: Final = 700

Block = dict[str, Any]

_ESCAPES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LOOKALIKES: Final = str.maketrans({"`": "ˋ", "*": "∗", "~": "∼"})
_PINGS: Final = re.compile(r"@(?=(?:here|channel|everyone|group)\b)", re.IGNORECASE)
_EDGE_UNDERSCORE: Final = re.compile(r"(?<![^\W_])_|_(?![^\W_])")  # inside a word, as in ids, it is harmless
_SHORTCODE: Final = re.compile(r":(?!\d\d:)(?=[a-z0-9_+'-]+:)", re.IGNORECASE)  # but 08:00:00 is a time
_QUOTE_MARK: Final = re.compile(r"^>+")


def mrkdwn(text: str, limit: int) -> str:
    """`text` as literal mrkdwn of at most `limit` characters after escaping."""
    text = words.plain(text, limit).translate(_LOOKALIKES)
    text = _PINGS.sub("＠", text)
    text = _EDGE_UNDERSCORE.sub("＿", text)
    text = _SHORTCODE.sub("꞉", text)
    return _fitted(_QUOTE_MARK.sub("›", text), limit, _ESCAPES)


def length(text: str) -> int:
    """As Slack and browsers count: code units of UTF-16."""
    return len(text) + sum(character > "\uffff" for character in text)


def _fitted(text: str, limit: int, escapes: Mapping[str, str]) -> str:
    """The text escaped and cut; an entity is never cut in two."""
    parts: list[str] = []
    left = limit - 1  # room for the ellipsis
    for character in text:
        part = escapes.get(character, character)
        left -= length(part)
        if left < 0:
            return "".join(parts) + "…"
        parts.append(part)
    return "".join(parts)


def literal(text: str, limit: int) -> Block:
    text = _fitted(words.plain(text, limit), limit, {})
    return {"type": "plain_text", "text": text or "–", "emoji": False}


def marked(text: str) -> Block:
    """Of `mrkdwn` and marks of ours only."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def header(text: str) -> Block:
    return {"type": "header", "text": literal(text, HEADER)}


def section(text: Block) -> Block:
    return {"type": "section", "text": text}


def fields(texts: list[str]) -> Block:
    return {"type": "section", "fields": [marked(text) for text in texts]}


def context(text: str) -> Block:
    return {"type": "context", "elements": [literal(text, CONTEXT)]}


def named(name: str, value: str) -> str:
    return f"*{name}:* {mrkdwn(value, FIELD)}"


def linked(text: str, url: str | None, limit: int = LINK) -> str:
    """A link of ours. Only URLs that `words.web_url` made reach this place: no `<`, `>`, `|` in them."""
    label = mrkdwn(text, FIELD)
    target = (url or "").replace("&", "&amp;")
    return f"<{target}|{label}>" if 0 < len(target) <= limit else label


def moment(at: datetime) -> str:
    """Absolute in UTC, and in the reader's own time where Slack shows it. Only our numbers go in."""
    utc = words.when(at)
    return f"{utc} (<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time_secs}}|{utc}>)"


def listed(lines: Sequence[str], limit: int, *, of: int) -> str:
    """The lines, each with a bullet, as many as fit into `limit` characters; the rest `of` all is counted."""
    shown: list[str] = []
    left = limit - 20  # room for the count
    for line in lines:
        left -= length(line) + 3
        if left < 0:
            break
        shown.append(f"• {line}")
    rest = of - len(shown)
    return "\n".join([*shown, f"… and {rest} more"] if rest else shown)
