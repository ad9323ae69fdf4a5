"""Alerts as blocks of text for a terminal or a log. Every line is ours: no control character passes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from monitor.delivery.render import words
from monitor.store.values import Change, Kind, Notification
from rules.model import Alert

MOST_OTHERS: Final = 10


class Block(NamedTuple):
    """One alert, or one summary: a heading, its severity word for colouring, and named facts."""

    heading: str
    word: str
    facts: tuple[tuple[str, str], ...]


def blocks(notification: Notification, *, now: datetime) -> tuple[Block, ...]:
    if notification.kind in {Kind.SUMMARY, Kind.DIGEST}:
        return (_counts(notification),)
    return (*_group(notification), *(_alert(notification, alert, now) for alert in notification.alerts))


def text(block: Block) -> str:
    """The block without colours, ending in an empty line."""
    width = max((len(name) for name, _ in block.facts), default=0)
    lines = [block.heading, *(f"    {name:<{width}}  {value}" for name, value in block.facts)]
    return "\n".join(lines) + "\n\n"


def _group(notification: Notification) -> Iterator[Block]:
    """What the alerts below it have in common, and which others still fire. Nothing, if told by itself."""
    if not notification.group:
        return
    common = ", ".join(f"{name}={value}" for name, value in sorted(notification.group.items()))
    others = notification.others
    facts = [("", f"{words.emoji(alert)} {words.plain(alert.title, 200)}") for alert in others[:MOST_OTHERS]]
    if len(others) > MOST_OTHERS:
        facts.append(("", f"and {len(others) - MOST_OTHERS} more"))
    if facts:
        facts[0] = ("still firing", facts[0][1])
    heading = f"{_marks(notification)}👥 {words.plain(common, 200)}: {len(notification.alerts)} of a group"
    yield Block(heading, "INFO", tuple(facts))


def _marks(notification: Notification) -> str:
    sample = "SAMPLE, nothing happened: " if notification.is_sample else ""
    return sample + ("🔁 still firing: " if notification.change is Change.REPEAT else "")


def _alert(notification: Notification, alert: Alert, now: datetime) -> Block:
    word = words.word(alert)
    facts = (*_told(notification, alert), *_facts(alert, now))
    shown = tuple((name, words.plain(value, 500)) for name, value in facts if value)
    heading = f"{_marks(notification)}{words.emoji(alert)} {word}  {words.plain(alert.title, 200)}"
    return Block(heading, word, shown)


def _told(notification: Notification, alert: Alert) -> Iterator[tuple[str, str | None]]:
    """Why it comes to this receiver, and who looks after it."""
    yield "note", notification.notes.get(alert.id)
    if ack := notification.acks.get(alert.id):
        comment = f": {ack.comment}" if ack.comment else ""
        yield "looked after", f"by {ack.by} since {words.when(ack.at)}{comment}"


def _facts(alert: Alert, now: datetime) -> Iterator[tuple[str, str | None]]:
    known = words.names(alert)
    message = words.newest(alert)
    yield "when", f"{words.when(alert.event_at)} ({words.age(alert.event_at, now)})"
    yield "summary", alert.summary if alert.summary != alert.title else None
    yield "why over", alert.resolution
    yield "watched", words.people(alert.watched_users, known)
    if message:
        called = words.call(message)
        yield "call", called
        yield "from", None if called else message.sender.label
        yield "files", words.attachments(message)
        yield "text", words.quoted(message, known)
    yield "conversation", alert.conversation_id
    yield "link", words.link(alert)
    yield "rule", str(alert.rule)
    yield "alert", str(alert.id)


def _counts(notification: Notification) -> Block:
    rules = tuple(("", line) for line in words.tally(notification.alerts))
    name = shlex.quote(words.plain(notification.receiver, 100))
    listed = ("list them", f"cometwatch outbox list --receiver {name}")
    heading = f"{_marks(notification)}📋 {words.headline(notification)}"
    return Block(heading, "INFO", (*rules, listed))
