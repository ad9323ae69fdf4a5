"""Alerts as blocks of text for a terminal or a log. Every line is ours: no control character passes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from monitor.delivery.render import words
from monitor.store.values import Kind, Notification
from rules.model import Alert


class Block(NamedTuple):
    """One alert, or one summary: a heading, its severity word for colouring, and named facts."""

    heading: str
    word: str
    facts: tuple[tuple[str, str], ...]


def blocks(notification: Notification, *, now: datetime) -> tuple[Block, ...]:
    if notification.kind is Kind.ALERTS:
        return tuple(_alert(alert, now) for alert in notification.alerts)
    return (_counts(notification),)


def text(block: Block) -> str:
    """The block without colours, ending in an empty line."""
    width = max((len(name) for name, _ in block.facts), default=0)
    lines = [block.heading, *(f"    {name:<{width}}  {value}" for name, value in block.facts)]
    return "\n".join(lines) + "\n\n"


def _alert(alert: Alert, now: datetime) -> Block:
    word = words.word(alert)
    facts = tuple((name, words.plain(value, 500)) for name, value in _facts(alert, now) if value)
    return Block(f"{words.emoji(alert)} {word}  {words.plain(alert.title, 200)}", word, facts)


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
    return Block(f"📋 {words.headline(notification)}", "INFO", (*rules, listed))
