"""What a person is told by a notification, as plain text in parts: every chat format marks up the same words.

Nothing here is escaped: a format does that with its own signs. All texts are one line each, visible
characters only, and of bounded length.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from msgspec.structs import replace

from monitor.delivery.render import words
from monitor.store.values import Ack, Change, Kind, Notification
from rules.model import Alert, AlertId, Message, Severity, Status, Value

TITLE: Final = 200
SUMMARY: Final = 500
VALUE: Final = 250
QUOTE: Final = 1500
LINE: Final = 200
LEAD: Final = 300
FOOTER: Final = 200

_IN_FULL: Final = 3  #: alerts of one message that are shown whole; more would not fit, nor be read
_IN_LIST: Final = 10
_IN_SUMMARY: Final = 20
_ID: Final = 12  #: characters of an alert's id in a list: commands take as many as make it clear
_FILE: Final = "Open the file"
_SAMPLE: Final = "This is a sample, made to try the road: nothing happened."
_ORDER: Final = {severity: place for place, severity in enumerate(Severity)}  # the worst first


class Fact(NamedTuple):
    name: str
    value: str


class Link(NamedTuple):
    """An address that `words.web_url` made: safe between quotes and brackets of any format."""

    name: str
    url: str


class Part(Value, frozen=True, kw_only=True):
    """One alert."""

    heading: str  #: "" when the page's title is the same
    word: str  #: CRITICAL, WARNING, INFO or RESOLVED: what a colour may underline
    leads: tuple[str, ...] = ()  #: to be read first: why it comes to this receiver, who looks after it
    summary: str = ""
    at: datetime
    facts: tuple[Fact, ...] = ()
    quote: str = ""  #: what somebody wrote, if it may leave
    links: tuple[Link, ...] = ()
    footer: str = ""


class Listed(Value, frozen=True, kw_only=True):
    """Lines under a heading, which may be ""."""

    heading: str
    lines: tuple[str, ...]


class Page(Value, frozen=True, kw_only=True):
    """One message."""

    title: str  #: enough by itself, for the notice on a locked screen
    word: str  #: as in `Part`, of the worst
    leads: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    lists: tuple[Listed, ...] = ()
    command: str | None = None  #: lists what the page only counts; to be shown before the lists
    footer: str


def page(notification: Notification) -> Page:
    """All that is known of what the notification tells, whatever changed."""
    bare = Page(
        title=_title(notification),
        word=_worst(notification),
        leads=_leads(notification),
        footer=_footer(notification),
    )
    if notification.kind in {Kind.SUMMARY, Kind.DIGEST}:
        return replace(bare, lists=_counted(notification), command=_command(notification))
    if _is_single(notification):
        return replace(bare, parts=(replace(_part(notification, notification.alerts[0]), heading=""),))
    whole = [alert for alert in notification.alerts if alert.status is Status.FIRING][:_IN_FULL]
    parts = tuple(_part(notification, alert) for alert in whole)
    return replace(bare, parts=parts, lists=_rest(notification, whole))


def follow_up(notification: Notification) -> Page:
    """What is said when the whole stands in an earlier message already: only what is new, in short."""
    alone = replace(notification, others=())
    bare = Page(
        title=_title(notification),
        word=_worst(alone),
        leads=_leads(notification),
        footer=_footer(notification),
    )
    if _is_single(notification):
        return replace(bare, parts=(_brief(_part(notification, notification.alerts[0])),))
    return replace(bare, lists=_rest(alone, ()))


def plain(page: Page, limit: int) -> str:
    """The page below its title as lines of plain text, at most `limit` characters; cut between lines."""
    return fitted(list(_plain_lines(page)), limit)


def length(text: str) -> int:
    """In code units of UTF-16, as chat services count."""
    return len(text) + sum(character > "\uffff" for character in text)


def fitted(lines: Sequence[str], limit: int, *, size: Callable[[str], int] = length) -> str:
    """As many whole lines as fit into `limit`, and an ellipsis where more stood."""
    if sum(size(line) + 1 for line in lines) - 1 <= limit:
        return "\n".join(lines)
    kept: list[str] = []
    left = limit - 1
    for line in lines:
        left -= size(line) + 1
        if left < 0:
            break
        kept.append(line)
    return "\n".join([*kept, "…"])


def joined(parts: Iterable[str], limit: int) -> str:
    """The parts in a row, none cut in two, with an ellipsis where more stood: for text that is escaped."""
    kept: list[str] = []
    size = 0
    for part in parts:
        kept.append(part)
        size += length(part)
        if size > limit:
            while kept and size > limit - 1:
                size -= length(kept.pop())
            return "".join(kept) + "…"
    return "".join(kept)


# --- titles and what comes first --------------------------------------------------------------------


def _title(notification: Notification) -> str:
    return words.plain("".join((*_marks(notification), _subject(notification))), TITLE)


def _marks(notification: Notification) -> Iterator[str]:
    if notification.is_sample:
        yield "SAMPLE: "
    if notification.change is Change.REPEAT:
        yield "🔁 Still firing: "


def _subject(notification: Notification) -> str:
    if notification.kind in {Kind.SUMMARY, Kind.DIGEST}:
        picture = "🕰️" if notification.kind is Kind.DIGEST else "📋"
        return f"{picture} {words.headline(notification)}"
    if _is_single(notification):
        alert = notification.alerts[0]
        return f"{words.emoji(alert)} {words.word(alert)}: {alert.title}"
    return " · ".join(filter(None, (_state(notification), _common(notification))))


def _state(notification: Notification) -> str:
    """How bad it is, how many fire and how many are over: "🔴 CRITICAL: 3 alerts, 1 over"."""
    alerts = _all(notification)
    firing = [alert for alert in alerts if alert.status is Status.FIRING]
    over = len(alerts) - len(firing)
    count = len(firing) or over
    counted = ("1 alert" if count == 1 else f"{count} alerts") + (f", {over} over" if firing and over else "")
    heads = [f"{words.emoji(alert)} {words.word(alert)}: {counted}" for alert in _worst_first(alerts)[:1]]
    return "".join(heads) or counted


def _common(notification: Notification) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(notification.group.items()))


def _worst(notification: Notification) -> str:
    return next((words.word(alert) for alert in _worst_first(_all(notification))), "INFO")


def _leads(notification: Notification) -> tuple[str, ...]:
    """Notes of alerts that are not shown as parts; a part has its own."""
    notes = () if _is_single(notification) else sorted(set(notification.notes.values()))
    storm = notification.kind is Kind.SUMMARY and notification.summed_before
    goes_on = [f"It goes on: {storm} more such summaries within the last minutes."] if storm else []
    return (*_sample_leads(notification), *goes_on, *(_note(note) for note in notes))


def _sample_leads(notification: Notification) -> tuple[str, ...]:
    return (_SAMPLE,) if notification.is_sample else ()


def _note(note: str) -> str:
    return words.plain(f"☎️ {note}", LEAD)


def _acknowledged(ack: Ack) -> str:
    comment = f": {ack.comment}" if ack.comment else ""
    return words.plain(f"👀 {ack.by} has it, since {words.when(ack.at)}{comment}", LEAD)


def _footer(notification: Notification) -> str:
    return words.plain(f"notification {notification.id}", FOOTER)


def _is_single(notification: Notification) -> bool:
    """Told as one alert: not as a group, even if only one of it is left."""
    is_alone = len(notification.alerts) == 1 and not notification.others
    return is_alone and not notification.group and notification.kind in {Kind.ALERTS, Kind.GROUP}


def _all(notification: Notification) -> tuple[Alert, ...]:
    return (*notification.alerts, *notification.others)


def _worst_first(alerts: Sequence[Alert]) -> list[Alert]:
    """What still fires before what is over, then by severity, in their order."""
    return sorted(alerts, key=lambda alert: (alert.status is Status.RESOLVED, _ORDER[alert.severity]))


# --- one alert --------------------------------------------------------------------------------------


def _part(notification: Notification, alert: Alert) -> Part:
    message = words.newest(alert)
    text = words.quoted(message, words.names(alert)) if message else None
    ids = f"rule {alert.rule} · alert {alert.id}"
    return Part(
        heading=words.plain(f"{words.emoji(alert)} {words.word(alert)}: {alert.title}", TITLE),
        word=words.word(alert),
        leads=tuple(_alert_leads(notification, alert.id)),
        summary=words.plain(alert.summary, SUMMARY) if alert.summary != alert.title else "",
        at=alert.event_at,
        facts=tuple(_facts(alert, message)),
        quote=words.plain(text, QUOTE) if text else "",
        links=tuple(_links(alert, message)),
        footer=words.plain(ids, FOOTER),
    )


def _brief(part: Part) -> Part:
    why = tuple(fact for fact in part.facts if fact.name == "Why over")
    links = tuple(link for link in part.links if link.name != _FILE)
    return replace(part, heading="", facts=why, links=links, quote="", footer="")


def _alert_leads(notification: Notification, alert: AlertId) -> Iterator[str]:
    if note := notification.notes.get(alert):
        yield _note(note)
    if ack := notification.acks.get(alert):
        yield _acknowledged(ack)


def _facts(alert: Alert, message: Message | None) -> Iterator[Fact]:
    known = words.names(alert)
    named = [
        ("Why over", alert.resolution),
        *(_message_facts(message) if message else ()),
        ("Watched", words.people(alert.watched_users, known)),
        ("Conversation", alert.conversation_id),
        ("Labels", ", ".join(f"{name}={value}" for name, value in sorted(alert.labels.items()))),
    ]
    shown = ((name, words.plain(value or "", VALUE)) for name, value in named)
    return (Fact(name, value) for name, value in shown if value)


def _message_facts(message: Message) -> Iterator[tuple[str, str | None]]:
    called = words.call(message)
    if called:
        yield "Call", called
    else:
        yield "From", message.sender.label
        yield "To", f"{message.receiver_type} {message.receiver.label}"
    yield "Files", words.attachments(message)


def _links(alert: Alert, message: Message | None) -> Iterator[Link]:
    """Ours, as the operator's templates made them, and the first file's if the policy let it through."""
    if link := words.link(alert):
        yield Link("Open the conversation", link)
    runbooks = (words.web_url(alert.annotations.get(key, "")) for key in ("runbook_url", "runbook"))
    if runbook := next(filter(None, runbooks), None):
        yield Link("Runbook", runbook)
    files = (words.web_url(file.url) for file in (message.attachments if message else ()) if file.url)
    if file := next(filter(None, files), None):
        yield Link(_FILE, file)


# --- many alerts ------------------------------------------------------------------------------------


def _rest(notification: Notification, whole: Sequence[Alert]) -> tuple[Listed, ...]:
    """What is not shown whole, as lists: what is new, what is over, and what fires still."""
    shown = {alert.id for alert in whole}
    news = [alert for alert in notification.alerts if alert.id not in shown]
    firing = [alert for alert in news if alert.status is Status.FIRING]
    over = [alert for alert in news if alert.status is Status.RESOLVED]
    named = (
        ("And" if whole else "Firing", firing),
        ("Over", over),
        ("Still firing", notification.others),
    )
    return tuple(
        Listed(heading=f"{heading} ({len(alerts)})", lines=_lines(notification, alerts, _IN_LIST))
        for heading, alerts in named
        if alerts
    )


def _counted(notification: Notification) -> tuple[Listed, ...]:
    alerts = notification.alerts
    if not alerts:
        return ()
    sums = (*words.tally(alerts), f"{words.severities(alerts)}; {words.span(alerts)}")
    worst = Listed(heading="The worst of them", lines=_lines(notification, alerts, _IN_SUMMARY))
    return (Listed(heading="", lines=tuple(words.plain(line, LINE) for line in sums)), worst)


def _lines(notification: Notification, alerts: Sequence[Alert], most: int) -> tuple[str, ...]:
    lines = [_line(notification, alert) for alert in _worst_first(alerts)[:most]]
    return (*lines, *([f"and {len(alerts) - most} more"] if len(alerts) > most else []))


def _line(notification: Notification, alert: Alert) -> str:
    ack = notification.acks.get(alert.id)
    after = (
        words.plain(alert.resolution or "", 80),
        words.when(alert.event_at),
        f"👀 {words.plain(ack.by, 40)}" if ack else "",
        alert.id[:_ID],
    )
    title = words.plain(f"{words.emoji(alert)} {words.word(alert)}: {alert.title}", 100)
    return words.plain(" · ".join(filter(None, (title, *after))), LINE)


def _command(notification: Notification) -> str:
    return f"cometwatch outbox list --receiver {shlex.quote(words.plain(notification.receiver, 80))}"


# --- plain text -------------------------------------------------------------------------------------


def _plain_lines(page: Page) -> Iterator[str]:
    yield from page.leads
    if page.command:  # before the lists: they may be cut
        yield f"Each of them is listed by: {page.command}"
    for part in page.parts:
        yield from _part_lines(part)
    for listed in page.lists:
        yield from filter(None, (listed.heading,))
        yield from (f"• {line}" for line in listed.lines)
    yield page.footer


def _part_lines(part: Part) -> Iterator[str]:
    yield from filter(None, (part.heading, *part.leads, part.summary))
    yield f"When: {words.when(part.at)}"
    yield from (f"{fact.name}: {fact.value}" for fact in part.facts)
    yield from filter(None, (f"“{part.quote}”" if part.quote else "",))
    yield from (f"{link.name}: {link.url}" for link in part.links)
    yield from filter(None, (part.footer,))
