"""What on-call systems are told of an alert, as short named texts. They show them to people in their own way.

Such a system passes what it gets on to chats, mails and phones whose markup we don't know. So everything that
could be a tag or a mention there (`<!channel>`, `<script>`) loses its angle brackets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from monitor.delivery.render import words
from monitor.store.values import Notification
from rules.model import Alert

MAX_TEXT = 1000  # characters of one fact
MAX_FACTS = 40  # labels or annotations of one alert that are passed on

_TAMED = str.maketrans({"<": "‹", ">": "›"})
_RUNBOOKS = ("runbook_url", "runbook")


def tame(text: str, limit: int = MAX_TEXT) -> str:
    """`text` as one line that is markup nowhere, at most `limit` characters of it."""
    return words.plain(text, limit).translate(_TAMED)


def title(alert: Alert, *, is_sample: bool = False) -> str:
    """The alert in a line. That of a sample begins with SAMPLE, so that nobody gets up for it."""
    shown = tame(alert.title, 200) or tame(alert.rule, 200) or alert.id
    return f"SAMPLE, nothing happened: {shown}" if is_sample else shown


def facts(alert: Alert, notification: Notification) -> dict[str, str]:
    """What is known of the alert, beside its title, labels and links: name -> text, in reading order."""
    return {name: tamed for name, text in _facts(alert, notification) if (tamed := tame(text or ""))}


def counts(alerts: Sequence[Alert]) -> list[str]:
    """How many of each rule, a line each."""
    return [tame(line) for line in words.tally(alerts)]


def remarks(alert: Alert) -> dict[str, str]:
    """What the rule's author had to say, but for the links."""
    said = sorted(alert.annotations.items())[:MAX_FACTS]
    return {tame(name, 100): tame(text) for name, text in said if name not in {"link", *_RUNBOOKS}}


def links(alert: Alert) -> dict[str, str]:
    """Where to go on: "conversation" and "runbook", as far as the operator gave them."""
    runbook = next((alert.annotations[name] for name in _RUNBOOKS if name in alert.annotations), "")
    known = {"conversation": words.link(alert), "runbook": words.web_url(runbook)}
    return {name: url for name, url in known.items() if url}


def _facts(alert: Alert, notification: Notification) -> Iterator[tuple[str, str | None]]:
    known, message = words.names(alert), words.newest(alert)
    ack = notification.acks.get(alert.id)
    yield "note", notification.notes.get(alert.id)
    yield "description", alert.summary if alert.summary != alert.title else None
    yield "resolution", alert.resolution
    yield "acknowledged_by", ": ".join(filter(None, (ack.by, ack.comment))) if ack else None
    yield "happened_at", words.when(alert.event_at)
    yield "watched", words.people(alert.watched_users, known)
    if message:
        called = words.call(message)
        yield "call", called
        yield "sender", None if called else message.sender.label
        yield "files", words.attachments(message)
        yield "text", words.quoted(message, known)
    yield "conversation_id", alert.conversation_id
