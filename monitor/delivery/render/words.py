"""What every format for people needs: names, times, links, and hostile text made harmless."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, urlsplit

from monitor.store.values import Kind, Notification
from rules.model import Alert, Message, Party, Severity, Status

MAX_LINK: Final = 2000
"""Characters. Browsers and chat services take about this much; a longer link is left out, not cut."""

_EMOJI: Final = {Severity.CRITICAL: "🔴", Severity.WARNING: "🟠", Severity.INFO: "🔵"}
_ENDS: Final = ((90, 1, "s"), (90 * 60, 60, "min"), (36 * 3600, 3600, "h"), (float("inf"), 86400, "days"))
_BLANKS: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800")  # letters and symbols that show as nothing
_MARKS: Final = 3
"""Combining marks in a row that are kept: real scripts need no more; stacks of them bury other lines."""


def plain(text: str, limit: int = 3000) -> str:
    """`text` as one line of visible characters, at most `limit` of them.

    Line breaks become spaces; control, zero-width, bidirectional and unpaired surrogate characters go:
    they could forge lines, reorder what is read, or hide.
    """
    shown: list[str] = []
    marks = 0
    for character in " ".join(text[: 4 * limit].split()):
        category = unicodedata.category(character)
        marks = marks + 1 if category[0] == "M" else 0
        if category in {"Cc", "Cf", "Cs", "Co"} or character in _BLANKS or marks > _MARKS:
            continue
        shown.append(character)
    return cut(" ".join("".join(shown).split()), limit)


def cut(text: str, limit: int) -> str:
    """At most `limit` characters, an ellipsis where more stood."""
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + "…"


def emoji(alert: Alert) -> str:
    return "✅" if alert.status is Status.RESOLVED else _EMOJI[alert.severity]


def word(alert: Alert) -> str:
    """The severity, or RESOLVED: never told by colour or picture alone."""
    return "RESOLVED" if alert.status is Status.RESOLVED else alert.severity.value.upper()


def when(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def age(at: datetime, now: datetime) -> str:
    """How long ago, in words; a time slightly in the future (their clock, not ours) is "just now"."""
    seconds = (now - at).total_seconds()
    if seconds < 1:
        return "just now"
    size, unit = next((size, unit) for end, size, unit in _ENDS if seconds < end)
    return f"{seconds / size:.0f} {unit} ago"


def names(alert: Alert) -> Mapping[str, str]:
    """Display names of the users and groups in the alert's messages, by lower-case id."""
    parties: list[Party | None] = []
    for message in alert.messages:
        parties += [message.sender, message.receiver, message.subject]
        parties += [message.call.caller, message.call.callee] if message.call else []
    return {party.id.lower(): party.name for party in parties if party and party.name}


def person(uid: str, known: Mapping[str, str]) -> str:
    """Display name and uid."""
    return Party(id=uid, name=known.get(uid.lower())).label


def people(uids: Sequence[str], known: Mapping[str, str], most: int = 5) -> str:
    shown = ", ".join(person(uid, known) for uid in uids[:most])
    return shown if len(uids) <= most else f"{shown} and {len(uids) - most} more"


def quoted(message: Message, known: Mapping[str, str]) -> str | None:
    """The message's text with its mention tokens as a person reads them: `@Name`."""
    if not message.text:
        return None
    named = re.sub(r"<@uid:([^<>]{1,100})>", lambda m: "@" + known.get(m[1].lower(), m[1]), message.text)
    return re.sub(r"<@all:[^<>]{0,100}>", "@all", named)


def attachments(message: Message, most: int = 5) -> str:
    """Name, type and size of each file: "photo.jpeg (image/jpeg, 47 kB)"."""
    shown = [
        f"{file.name or 'unnamed'} ({', '.join(filter(None, (file.mime_type, size(file.size))))})".replace(
            " ()", ""
        )
        for file in message.attachments[:most]
    ]
    more = len(message.attachments) - most
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def size(count: int | None) -> str | None:
    if count is None:
        return None
    return (
        f"{count} B" if count < 1000 else f"{count / 1000:.0f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"
    )


def newest(alert: Alert) -> Message | None:
    return max(alert.messages, key=lambda message: message.id, default=None)


def call(message: Message) -> str | None:
    """Who called whom and how it ended."""
    if message.call is None:
        return None
    ends = f"{message.call.caller.label} → {message.call.callee.label}"
    return f"{message.type} call, {message.call.status}: {ends}"


def link(alert: Alert) -> str | None:
    """Where the conversation is to be read, as the operator's template made it, if it is a web address."""
    return web_url(alert.annotations.get("link", ""))


def web_url(url: str) -> str | None:
    """`url` with everything encoded that a URL may not hold, or None if it is not http(s) or too long."""
    safe = quote(url.encode("utf-8", "replace"), safe=":/?#[]@!$&()+,;=%~-._")
    try:
        parts = urlsplit(safe)
    except ValueError:
        return None
    is_web = parts.scheme in {"http", "https"} and parts.netloc
    return safe if is_web and len(safe) <= MAX_LINK else None


def tally(alerts: Sequence[Alert], most: int = 20) -> list[str]:
    """Counts per rule, the largest first: "missed-call: 30 (28 firing, 2 resolved)"."""
    total = Counter(str(alert.rule) for alert in alerts)
    over = Counter(str(alert.rule) for alert in alerts if alert.status is Status.RESOLVED)
    lines = [
        f"{plain(rule, 80)}: {count}"
        + (f" ({count - over[rule]} firing, {over[rule]} resolved)" if over[rule] else "")
        for rule, count in total.most_common(most)
    ]
    rest = sum(total.values()) - sum(count for _, count in total.most_common(most))
    return [*lines, f"{len(total) - most} more rules: {rest}"] if rest else lines


def severities(alerts: Sequence[Alert]) -> str:
    """How many of each, the worst first: "2 critical, 30 warning"."""
    counts = Counter(alert.severity for alert in alerts)
    return ", ".join(f"{counts[severity]} {severity.value}" for severity in Severity if counts[severity])


def headline(notification: Notification) -> str:
    """What a summary or digest is about, as a title."""
    count = len(notification.alerts)
    alerts = "1 alert" if count == 1 else f"{count} alerts"
    if notification.kind is Kind.DIGEST:
        return f"{alerts} told late: old news, not a page"
    return f"{alerts} waited to be sent"


def span(alerts: Sequence[Alert]) -> str:
    """When the first and the last of them happened."""
    first, last = min(a.event_at for a in alerts), max(a.event_at for a in alerts)
    return when(first) if first == last else f"{when(first)} to {when(last)}"
