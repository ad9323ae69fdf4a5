"""The verdict on what lasts: shown once, kept up to date, repeated, escalated, and over in the end. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.crash.floods import RULE as FLOOD
from tests.crash.judge import Stored, StoredEntry, Violation, Wrong
from tests.crash.receivers import Asserted, Fate
from tests.delivery.slack_api import Message

BOTS: Final = ("bot", "room")
ESCALATE_S: Final = 8.0
DOWN_S: Final = 15.0  # so long the monitor may have been dead, or busy reading, when a step was due
SENT_S: Final = 5.0  # a repeat may have been on its way when its alert was acknowledged


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What bots' channel and the Alertmanager show, and what was acknowledged."""

    messages: Sequence[Message] = ()
    asserted: Sequence[Asserted] = ()
    acknowledged: Mapping[str, float] = field(default_factory=dict)  #: by alert: when we were told that it is


def judge(stored: Stored, heard: Heard) -> list[Violation]:
    """Everything that is wrong; [] if every promise was kept."""
    return [
        *(wrong for bot in BOTS for wrong in _shown(bot, stored, heard.messages)),
        *_asserted(stored, heard.asserted),
        *_acknowledged(stored, heard),
        *_escalated(stored),
    ]


def _shown(bot: str, stored: Stored, messages: Iterable[Message]) -> Iterator[Violation]:
    """One message for each subject, and in its thread one reply for each notification after the first."""
    ours = [message for message in messages if message.mark.get("receiver") == bot]
    roots = [message for message in ours if message.thread_ts is None]
    theirs = [entry for entry in stored.entries if entry.receiver == bot]
    since = {entry.subject or entry.alert: stored.alerts[entry.alert] for entry in theirs}
    counted = Counter(root.mark["subject"] for root in roots)
    for subject, at in since.items():
        if counted[subject] != 1:
            wrong = Wrong.TWICE if counted[subject] else Wrong.LOST
            yield Violation(wrong=wrong, what=f"{bot}: {counted[subject]} messages about {subject}", at=at)
    for root in roots:
        at = float(root.ts)
        if root.mark["subject"] not in since:
            yield Violation(wrong=Wrong.INVENTED, what=f"{bot}: a message about {root.mark}", at=at)
        if not root.title.startswith("✅"):
            yield Violation(wrong=Wrong.STALE, what=f"{bot}: {root.title!r}, which is over", at=at)
    yield from _said(bot, theirs, ours)


def _said(bot: str, theirs: Iterable[StoredEntry], ours: Iterable[Message]) -> Iterator[Violation]:
    said = Counter(message.mark["notification"] for message in ours)
    for entry in theirs:
        if not said[entry.notification or ""]:
            what = f"{bot}: alert {entry.alert} ({entry.status}) stands nowhere"
            yield Violation(wrong=Wrong.LOST, what=what, at=entry.created_at)
    at = {message.mark["notification"]: float(message.ts) for message in ours}
    for notification, times in said.items():
        if times > 1:
            what = f"{bot}: notification {notification} stands {times} times"
            yield Violation(wrong=Wrong.TWICE, what=what, at=at[notification])


def _asserted(stored: Stored, asserted: Iterable[Asserted]) -> Iterator[Violation]:
    """The Alertmanager was told of each flood, and lastly that it is over."""
    taken: defaultdict[str, list[Asserted]] = defaultdict(list)
    for one in asserted:
        if one.fate is not Fate.REFUSED:
            taken[one.alert].append(one)
    for alert, at in stored.alerts.items():
        told = taken.pop(alert, [])
        if stored.rules[alert] != FLOOD:
            continue
        if not any(one.fires for one in told):
            yield Violation(wrong=Wrong.LOST, what=f"am: {alert} was never told to fire", at=at)
        elif told[-1].fires:
            yield Violation(wrong=Wrong.STALE, what=f"am: {alert} fires, which is over", at=told[-1].at)
    for alert, told in taken.items():
        yield Violation(wrong=Wrong.INVENTED, what=f"am: alert {alert}", at=told[0].at)


def _acknowledged(stored: Stored, heard: Heard) -> Iterator[Violation]:
    """What we were told is stored, is stored; and an alert that somebody has is not repeated."""
    news = {entry.notification for entry in stored.entries}
    again = defaultdict(list)
    for message in heard.messages:
        if (
            message.thread_ts
            and message.mark["receiver"] == "bot"
            and message.mark["notification"] not in news
        ):
            again[message.mark["subject"]].append(float(message.ts))
    for alert, at in heard.acknowledged.items():
        if alert not in stored.acks:
            yield Violation(wrong=Wrong.LOST, what=f"the acknowledgement of {alert}", at=at)
        if any(repeated > at + SENT_S for repeated in again[alert]):
            what = f"alert {alert} was repeated though somebody had it"
            yield Violation(wrong=Wrong.STALE, what=what, at=at)


def _escalated(stored: Stored) -> Iterator[Violation]:
    """Who comes next is told of what nobody looked after in time, and of nothing else."""
    begun = _first(stored, "firing", but="lead")
    over = _first(stored, "resolved")
    told = {e.alert: e.created_at for e in stored.entries if (e.receiver, e.status) == ("lead", "firing")}
    for alert, at in begun.items():
        if stored.rules[alert] != FLOOD:
            continue
        end = min(over.get(alert, float("inf")), stored.acks.get(alert, float("inf")))
        if alert not in told and end - at > ESCALATE_S + DOWN_S:
            what = f"{alert} was nobody's for {end - at:.0f} s"
            yield Violation(wrong=Wrong.UNHEARD, what=what, at=at)
    for alert, at in told.items():
        if at > stored.acks.get(alert, float("inf")) or at < begun[alert] + ESCALATE_S - 0.1:
            yield Violation(wrong=Wrong.UNHEARD, what=f"{alert} was escalated, and somebody had it", at=at)


def _first(stored: Stored, status: str, *, but: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for entry in stored.entries:
        if entry.status == status and entry.receiver != but:
            found[entry.alert] = min(found.get(entry.alert, float("inf")), entry.created_at)
    return found
