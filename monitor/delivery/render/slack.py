"""Slack messages in Block Kit: what stands in the channel, and what is said in the thread below it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from msgspec.structs import replace

from monitor.delivery.render import words
from monitor.delivery.render.block_kit import (
    FIELD,
    Block,
    context,
    fields,
    header,
    linked,
    listed,
    literal,
    marked,
    moment,
    mrkdwn,
    named,
    section,
)
from monitor.store.values import Ack, Change, Kind, Notification
from rules.model import Alert, AlertId, Message, Severity, Status

_SUMMARY: Final = 1000
_QUOTE: Final = 2500
_MEDIA_LINK: Final = 1200  # signed ones are long
_TITLE: Final = 140
_SHORT_TITLE: Final = 80
_LINE_LINK: Final = 300
_NOTE: Final = 300
_FALLBACK: Final = 1000
_LIST: Final = 2700  # of the 3,000 characters that a section may have
_IN_GROUP: Final = 10  #: alerts of a group that are named in each of its lists
_IN_SUMMARY: Final = 20  #: alerts of a summary that are named
_ID: Final = 12  #: characters of an alert's id in a list: the commands take as many as make it clear

_SAMPLE: Final = "A sample, made to try the road: nothing happened."
_ORDER: Final = {severity: place for place, severity in enumerate(Severity)}  # the worst first


def payload(notification: Notification, *, now: datetime) -> dict[str, Any]:
    """A message in the channel, with blocks: all that is known, whatever changed."""
    return {**fallback(notification, now=now), "blocks": list(_blocks(notification, now))}


def fallback(notification: Notification, *, now: datetime) -> dict[str, Any]:
    """The message without blocks: what notifications show, and what is sent if Slack refuses the blocks."""
    if _is_single(notification):
        text = _one_line(notification, notification.alerts[0], now)
    elif notification.kind is Kind.GROUP:
        title = group_title(notification)
        text = f"{_still(title) if _is_repeat(notification) else title}. {'; '.join(_titles(notification))}"
    else:
        text = f"{words.headline(notification)}. {'; '.join(words.tally(notification.alerts))}"
    return _spoken(mrkdwn(_marked_sample(notification, text), _FALLBACK))


def follow_up(notification: Notification, *, now: datetime) -> dict[str, Any]:
    """What is said in the thread of a message that stands: only what is new."""
    said = fallback(notification, now=now)
    if notification.kind is not Kind.GROUP:
        return {**said, "blocks": [section(marked(said["text"]))]}
    new = notification if _is_repeat(notification) else replace(notification, others=())
    return {**said, "blocks": [*_notes(new), *(section(marked(text)) for text in _lists(new))]}


def group_title(notification: Notification) -> str:
    """How bad it is, how many fire, and what they have in common."""
    alerts = _all(notification)
    firing = [alert for alert in alerts if alert.status is Status.FIRING]
    worst = _worst_first(alerts)[:1]
    over = len(alerts) - len(firing)
    count = len(firing) or over
    counted = ("1 alert" if count == 1 else f"{count} alerts") + (f", {over} over" if firing and over else "")
    common = ", ".join(f"{key}={value}" for key, value in sorted(notification.group.items()))
    heads = [f"{words.emoji(alert)} {words.word(alert)}: {counted}" for alert in worst]
    return " · ".join(filter(None, (*heads, common)))


def _spoken(text: str) -> dict[str, Any]:
    return {
        "text": text,
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _is_single(notification: Notification) -> bool:
    return notification.kind is Kind.ALERTS and len(notification.alerts) == 1


def _is_repeat(notification: Notification) -> bool:
    return notification.change is Change.REPEAT


def _all(notification: Notification) -> tuple[Alert, ...]:
    return (*notification.alerts, *notification.others)


def _marked_sample(notification: Notification, title: str) -> str:
    return f"SAMPLE: {title}" if notification.is_sample else title


def _still(title: str) -> str:
    return f"🔁 Still firing: {title}"


def _blocks(notification: Notification, now: datetime) -> Iterator[Block]:
    if _is_single(notification):
        yield from _alert_blocks(notification, notification.alerts[0], now)
    elif notification.kind is Kind.GROUP:
        yield from _group_blocks(notification)
    else:
        yield from _count_blocks(notification)


def _opening(notification: Notification, title: str) -> Iterator[Block]:
    yield header(_marked_sample(notification, title))
    if notification.is_sample:
        yield section(literal(_SAMPLE, 100))
    yield from _notes(notification)


def _notes(notification: Notification) -> Iterator[Block]:
    """Why it comes to this receiver, if not by a route."""
    notes = {notification.notes[a.id]: None for a in _all(notification) if a.id in notification.notes}
    if notes:
        yield section(literal("☎️ " + "; ".join(notes), _NOTE))


# --- one alert --------------------------------------------------------------------------------------


def _alert_blocks(notification: Notification, alert: Alert, now: datetime) -> Iterator[Block]:
    title = f"{words.emoji(alert)} {words.word(alert)}: {alert.title}"
    yield from _opening(notification, _still(title) if _is_repeat(notification) else title)
    if ack := notification.acks.get(alert.id):
        yield section(literal(_acknowledged(ack), _NOTE))
    if alert.summary and alert.summary != alert.title:
        yield section(literal(alert.summary, _SUMMARY))
    yield fields(list(_fields(alert, now)))
    message = words.newest(alert)
    text = words.quoted(message, words.names(alert)) if message else None
    if text:
        yield section(literal(f"“{text}”", _QUOTE))
    ids = f"alert {alert.id} · notification {notification.id}"
    yield context(f"rule {words.plain(alert.rule, 100)} · {ids} · {_labels(alert)}")


def _acknowledged(ack: Ack) -> str:
    comment = f": {ack.comment}" if ack.comment else ""
    return f"👀 {ack.by} has it, since {words.when(ack.at)}{comment}"


def _labels(alert: Alert) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(alert.labels.items())) or "no labels"


def _fields(alert: Alert, now: datetime) -> Iterator[str]:
    yield f"*When:* {moment(alert.event_at)}, {words.age(alert.event_at, now)}"
    message = words.newest(alert)
    if message:
        yield from _message_fields(message, alert)
    if alert.watched_users:
        yield named("Watched", words.people(alert.watched_users, words.names(alert)))
    if alert.conversation_id:
        yield f"*Conversation:* {linked(alert.conversation_id, words.link(alert))}"
    yield from (f"*Runbook:* {linked('open', url)}" for url in _runbook(alert))
    if alert.resolution:
        yield named("Why over", alert.resolution)


def _message_fields(message: Message, alert: Alert) -> Iterator[str]:
    called = words.call(message)
    if called:
        yield named("Call", called)
    else:
        yield named("From", message.sender.label)
        yield named("To", f"{message.receiver_type} {message.receiver.label}")
    if message.attachments:
        yield f"*Attachments:* {_attachments(message)}"
    if message.mentions or message.mentions_all:
        mentioned = [*(["everyone"] if message.mentions_all else []), *message.mentions]
        yield named("Mentions", words.people(mentioned, words.names(alert)))
    if len(alert.messages) > 1:
        yield f"*Messages:* {len(alert.messages)}, the newest is shown"


def _attachments(message: Message) -> str:
    """As text; a link only to a file whose URL the receiver's policy let through."""
    url = next((words.web_url(a.url) for a in message.attachments if a.url), None)
    text = mrkdwn(words.attachments(message), FIELD)
    return f"{text} {linked('open', url, _MEDIA_LINK)}" if url else text


def _runbook(alert: Alert) -> Iterator[str]:
    for key in ("runbook_url", "runbook"):
        url = words.web_url(alert.annotations.get(key, ""))
        if url:
            yield url
            return


def _one_line(notification: Notification, alert: Alert, now: datetime) -> str:
    title = f"{words.emoji(alert)} {words.word(alert)}: {alert.title}"
    parts = [_still(title) if _is_repeat(notification) else title, notification.notes.get(alert.id, "")]
    message = words.newest(alert)
    called = words.call(message) if message else None
    parts += [called] if called else []
    if alert.watched_users:
        parts.append(words.people(alert.watched_users, words.names(alert)))
    parts.append(f"{words.when(alert.event_at)}, {words.age(alert.event_at, now)}")
    parts += [alert.resolution or "", alert.conversation_id]
    return " · ".join(filter(None, parts))


# --- a group ----------------------------------------------------------------------------------------


def _group_blocks(notification: Notification) -> Iterator[Block]:
    title = group_title(notification)
    yield from _opening(notification, _still(title) if _is_repeat(notification) else title)
    for text in _lists(notification):
        yield section(marked(text))
    yield context(f"notification {notification.id}")


def _lists(notification: Notification) -> Iterator[str]:
    """What is new, what is over and what still fires, each as far as there is any."""
    firing = [alert for alert in notification.alerts if alert.status is Status.FIRING]
    over = [alert for alert in notification.alerts if alert.status is Status.RESOLVED]
    new = firing if notification.change is Change.NEWS else []
    still = [*notification.others] if new else [*firing, *notification.others]
    parts = {"New": new, "Over": over, "Still firing": still}
    for name, alerts in parts.items():
        if alerts:
            yield f"*{name}*\n{_lines(alerts, notification.acks)}"


def _titles(notification: Notification) -> list[str]:
    return [f"{words.word(alert)} {alert.title}" for alert in _worst_first(notification.alerts)[:_IN_GROUP]]


# --- many -------------------------------------------------------------------------------------------


def _count_blocks(notification: Notification) -> Iterator[Block]:
    alerts = notification.alerts
    picture = "🕰️" if notification.kind is Kind.DIGEST else "📋"
    yield from _opening(notification, f"{picture} {words.headline(notification)}")
    lines = [f"• {mrkdwn(line, 120)}" for line in words.tally(alerts)]
    lines += [f"{words.severities(alerts)}; {words.span(alerts)}"] if alerts else []
    if notification.summed_before:
        lines.append(f"The storm goes on: {notification.summed_before} such messages in the last 10 min")
    yield section(marked("\n".join(lines)))
    if alerts:
        first = [_line(alert, _SHORT_TITLE) for alert in _worst_first(alerts)[:_IN_SUMMARY]]
        yield section(marked("*The first of them*\n" + listed(first, _LIST, of=len(alerts))))
    command = f"cometwatch outbox list --receiver {shlex.quote(notification.receiver)}"
    yield section(marked(f"Each of them is listed by `{mrkdwn(command, 200)}`"))
    yield context(f"notification {notification.id}")


def _worst_first(alerts: Iterable[Alert]) -> list[Alert]:
    """Those that still fire, the worst of them, the newest of those."""
    return sorted(
        alerts, key=lambda a: (a.status is Status.RESOLVED, _ORDER[a.severity], -a.event_at.timestamp())
    )


def _lines(alerts: Sequence[Alert], acks: Mapping[AlertId, Ack]) -> str:
    """Alerts of a group, each with where its conversation is and who has it."""
    lines = [
        " · ".join(filter(None, (_line(alert, _TITLE, words.link(alert)), *_fate(alert, acks.get(alert.id)))))
        for alert in _worst_first(alerts)[:_IN_GROUP]
    ]
    return listed(lines, _LIST, of=len(alerts))


def _line(alert: Alert, limit: int, link: str | None = None) -> str:
    """One alert among others, with the beginning of its id for the commands."""
    title = words.cut(f"{words.emoji(alert)} {words.word(alert)}: {alert.title}", limit)
    at = f"{alert.event_at.astimezone(UTC):%H:%M:%S} UTC"
    return f"{linked(title, link, _LINE_LINK)} · {at} · `{mrkdwn(alert.id[:_ID], 30)}`"


def _fate(alert: Alert, ack: Ack | None) -> Iterator[str]:
    if ack:
        yield mrkdwn(f"👀 {ack.by} has it", 60)
    if alert.resolution:
        yield mrkdwn(alert.resolution, 100)
