"""Slack messages in Block Kit, within its limits and with nothing in them that chat text could steer.

Text that people wrote stands in `plain_text` objects where Slack allows them, which it never parses. In
`mrkdwn` objects it is escaped, and characters with a meaning of their own are replaced by ones that look
alike; `verbatim` keeps Slack from finding links and names by itself.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from monitor.delivery.render import words
from monitor.store.values import Kind, Notification
from rules.model import Alert, Message

# Slack's limits: https://docs.slack.dev/reference/block-kit/blocks. Besides them, a message of more than
# about 13,200 characters is refused (`msg_blocks_too_long`); the parts below, with the ten fields that an
# alert can have at most, sum to less than 12,000.
HEADER: Final = 150
_SUMMARY: Final = 1000
_QUOTE: Final = 2500
_FIELD: Final = 350
_LINK: Final = 700
_MEDIA_LINK: Final = 1200  # signed ones are long
_CONTEXT: Final = 600
_FALLBACK: Final = 1000

_ESCAPES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LOOKALIKES: Final = str.maketrans({"`": "ˋ", "*": "∗", "~": "∼"})
_PINGS: Final = re.compile(r"@(?=(?:here|channel|everyone|group)\b)", re.IGNORECASE)
_EDGE_UNDERSCORE: Final = re.compile(r"(?<![^\W_])_|_(?![^\W_])")  # inside a word, as in ids, it is harmless
_SHORTCODE: Final = re.compile(r":(?!\d\d:)(?=[a-z0-9_+'-]+:)", re.IGNORECASE)  # but 08:00:00 is a time
_QUOTE_MARK: Final = re.compile(r"^>+")


def payload(notification: Notification, *, now: datetime) -> dict[str, Any]:
    """The whole request body of an incoming webhook."""
    blocks = list(_blocks(notification, now))
    return {**fallback(notification, now=now), "blocks": blocks}


def fallback(notification: Notification, *, now: datetime) -> dict[str, Any]:
    """The message without blocks: what notifications show, and what is sent if Slack refuses the blocks."""
    if notification.kind is Kind.ALERTS and len(notification.alerts) == 1:
        text = _one_line(notification.alerts[0], now)
    else:
        text = f"{words.headline(notification)}. {'; '.join(words.tally(notification.alerts))}"
    return {
        "text": mrkdwn(text, _FALLBACK),
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def mrkdwn(text: str, limit: int) -> str:
    """`text` as literal mrkdwn of at most `limit` characters after escaping."""
    text = words.plain(text, limit).translate(_LOOKALIKES)
    text = _PINGS.sub("＠", text)
    text = _EDGE_UNDERSCORE.sub("＿", text)
    text = _SHORTCODE.sub("꞉", text)
    return _fitted(_QUOTE_MARK.sub("›", text), limit, _ESCAPES)


def _fitted(text: str, limit: int, escapes: Mapping[str, str]) -> str:
    """The text escaped and cut; an entity is never cut in two. Lengths count as in UTF-16, as browsers do."""
    parts: list[str] = []
    left = limit - 1  # room for the ellipsis
    for character in text:
        part = escapes.get(character, character)
        left -= len(part) + (character > "\uffff")
        if left < 0:
            return "".join(parts) + "…"
        parts.append(part)
    return "".join(parts)


def _literal(text: str, limit: int) -> dict[str, Any]:
    text = _fitted(words.plain(text, limit), limit, {})
    return {"type": "plain_text", "text": text or "–", "emoji": False}


def _marked(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _section(text: dict[str, Any]) -> dict[str, Any]:
    return {"type": "section", "text": text}


def _blocks(notification: Notification, now: datetime) -> Iterator[dict[str, Any]]:
    if notification.kind is Kind.ALERTS and len(notification.alerts) == 1:
        yield from _alert_blocks(notification, notification.alerts[0], now)
    else:
        yield from _count_blocks(notification)


def _alert_blocks(notification: Notification, alert: Alert, now: datetime) -> Iterator[dict[str, Any]]:
    title = f"{words.emoji(alert)} {words.word(alert)}: {alert.title}"
    yield {"type": "header", "text": _literal(title, HEADER)}
    if alert.summary and alert.summary != alert.title:
        yield _section(_literal(alert.summary, _SUMMARY))
    yield {"type": "section", "fields": [_marked(field) for field in _fields(alert, now)]}
    message = words.newest(alert)
    text = words.quoted(message, words.names(alert)) if message else None
    if text:
        yield _section(_literal(f"“{text}”", _QUOTE))
    ids = f"alert {alert.id} · notification {notification.id}"
    yield _context(f"rule {words.plain(alert.rule, 100)} · {ids} · {_labels(alert)}")


def _count_blocks(notification: Notification) -> Iterator[dict[str, Any]]:
    alerts = notification.alerts
    picture = "🕰️" if notification.kind is Kind.DIGEST else "📋"
    yield {"type": "header", "text": _literal(f"{picture} {words.headline(notification)}", HEADER)}
    lines = [f"• {mrkdwn(line, 120)}" for line in words.tally(alerts)]
    lines += [f"{words.severities(alerts)}; {words.span(alerts)}"] if alerts else []
    yield _section(_marked("\n".join(lines)))
    command = f"cometwatch outbox list --receiver {shlex.quote(notification.receiver)}"
    yield _section(_marked(f"Each of them is listed by `{mrkdwn(command, 200)}`"))
    yield _context(f"notification {notification.id}")


def _context(text: str) -> dict[str, Any]:
    return {"type": "context", "elements": [_literal(text, _CONTEXT)]}


def _labels(alert: Alert) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(alert.labels.items())) or "no labels"


def _fields(alert: Alert, now: datetime) -> Iterator[str]:
    yield f"*When:* {_moment(alert.event_at)}, {words.age(alert.event_at, now)}"
    message = words.newest(alert)
    if message:
        yield from _message_fields(message, alert)
    if alert.watched_users:
        yield _field("Watched", words.people(alert.watched_users, words.names(alert)))
    if alert.conversation_id:
        yield f"*Conversation:* {_linked(alert.conversation_id, words.link(alert))}"
    yield from (f"*Runbook:* {_linked('open', url)}" for url in _runbook(alert))
    if alert.resolution:
        yield _field("Why over", alert.resolution)


def _message_fields(message: Message, alert: Alert) -> Iterator[str]:
    called = words.call(message)
    if called:
        yield _field("Call", called)
    else:
        yield _field("From", message.sender.label)
        yield _field("To", f"{message.receiver_type} {message.receiver.label}")
    if message.attachments:
        yield f"*Attachments:* {_attachments(message)}"
    if message.mentions or message.mentions_all:
        mentioned = [*(["everyone"] if message.mentions_all else []), *message.mentions]
        yield _field("Mentions", words.people(mentioned, words.names(alert)))
    if len(alert.messages) > 1:
        yield f"*Messages:* {len(alert.messages)}, the newest is shown"


def _attachments(message: Message) -> str:
    """As text; a link only to a file whose URL the receiver's policy let through."""
    url = next((words.web_url(a.url) for a in message.attachments if a.url), None)
    text = mrkdwn(words.attachments(message), _FIELD)
    return f"{text} {_linked('open', url, _MEDIA_LINK)}" if url else text


def _field(name: str, value: str) -> str:
    return f"*{name}:* {mrkdwn(value, _FIELD)}"


def _linked(text: str, url: str | None, limit: int = _LINK) -> str:
    """A link of ours. Only URLs that `words.web_url` made reach this place: no `<`, `>`, `|` in them."""
    label = mrkdwn(text, _FIELD)
    target = (url or "").replace("&", "&amp;")
    return f"<{target}|{label}>" if 0 < len(target) <= limit else label


def _runbook(alert: Alert) -> Iterator[str]:
    for key in ("runbook_url", "runbook"):
        url = words.web_url(alert.annotations.get(key, ""))
        if url:
            yield url
            return


def _moment(at: datetime) -> str:
    """Absolute in UTC, and in the reader's own time where Slack shows it. Only our numbers go in."""
    utc = words.when(at)
    return f"{utc} (<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time_secs}}|{utc}>)"


def _one_line(alert: Alert, now: datetime) -> str:
    parts = [f"{words.emoji(alert)} {words.word(alert)}: {alert.title}"]
    message = words.newest(alert)
    called = words.call(message) if message else None
    parts += [called] if called else []
    if alert.watched_users:
        parts.append(words.people(alert.watched_users, words.names(alert)))
    parts.append(f"{words.when(alert.event_at)}, {words.age(alert.event_at, now)}")
    parts.append(alert.conversation_id)
    return " · ".join(filter(None, parts))
