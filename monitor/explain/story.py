"""The story of one alert: from the message that was sent to every receiver that was told. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from monitor.delivery.policy import RouteSpec, explained, label_sets
from monitor.explain.secrecy import changes, without_text
from monitor.explain.states import change_in_words
from monitor.store.lookups import Sending
from monitor.store.values import (
    Ack,
    Attempt,
    Change,
    Closure,
    Entry,
    EntryState,
    Escalating,
    Kind,
    NotificationId,
    Reason,
    Shown,
)
from rules.model import Alert, ListId, Message, MessageId, Status, Value, WatchSet


class AlertRecord(Value, frozen=True, kw_only=True):
    """All that the store has of one alert."""

    alert: Alert  #: as it stands now
    entries: tuple[Entry, ...]
    reasons: tuple[Reason, ...] = ()
    sendings: Mapping[NotificationId, Sending] = {}
    attempts: Mapping[NotificationId, tuple[Attempt, ...]] = {}
    closures: tuple[Closure, ...] = ()  #: of the states it was made of
    ack: Ack | None = None
    shown: tuple[Shown, ...] = ()  #: what receivers show of it, alone or in a group
    flushes: Mapping[str, datetime] = {}  #: when a group in which it waits is told, by receiver
    ahead: tuple[Escalating, ...] = ()


class Step(Value, frozen=True, kw_only=True, omit_defaults=False):
    """Something that happened, by our clock."""

    at: datetime
    what: str
    after_s: float | None = None  #: since the step before


class Cause(Value, frozen=True, kw_only=True, omit_defaults=False):
    """What made the alert, brought it up to date, or ended it."""

    what: str  #: raised, resolved, or brought up to date
    at: datetime
    messages: tuple[MessageId, ...] = ()
    tick: datetime | None = None
    list: ListId | None = None  #: whose rows or passing time it was
    key: str | None = None
    words: tuple[str, ...] = ()  #: what the rule remembered then, and before
    changes: tuple[str, ...] = ()  #: of the state, part by part
    before: str | None = None  #: the state as JSON
    after: str | None = None


class Told(Value, frozen=True, kw_only=True, omit_defaults=False):
    """What became of the alert at one receiver."""

    entry: int
    status: Status
    receiver: str  #: "" when none was concerned
    state: EntryState
    why: str | None = None
    late: bool = False
    summed: bool = False
    notification: NotificationId | None = None
    attempts: int = 0
    next_at: datetime | None = None  #: when it is sent, or sent again
    group: str | None = None  #: the key of the group that it is told in
    note: str | None = None  #: why this receiver is told, if not by a route
    silence: int | None = None  #: the number of the silence that holds it, or held it
    after_found_s: float | None = None  #: from the finding to the end
    after_event_s: float | None = None  #: from what happened to the end


class Story(Value, frozen=True, kw_only=True, omit_defaults=False):
    """The story of an alert."""

    skew_s: float  #: CometChat's clock minus ours, when the rows came
    steps: tuple[Step, ...]
    causes: tuple[Cause, ...]
    told: tuple[Told, ...]
    stands: tuple[str, ...]  #: who looks after it, what is shown of it and what is still to come, in words
    routes: tuple[str, ...]  #: which way it would take now, in words


class _Beat(NamedTuple):
    at: datetime
    rank: int  #: of what happened at one time: the order in which it must have happened
    what: str


def story(
    record: AlertRecord, *, routes: Sequence[RouteSpec], watch: WatchSet, shows_text: bool = False
) -> Story:
    """The story of an alert. `routes` and `watch` are those of now."""
    skew = next((reason.brought_by.skew for reason in record.reasons if reason.brought_by), timedelta(0))
    return Story(
        skew_s=skew.total_seconds(),
        steps=tuple(_with_delays(sorted(_beats(record, skew)))),
        causes=tuple(_cause(reason, shows_text=shows_text) for reason in record.reasons),
        told=tuple(_told(entry, record, skew) for entry in record.entries),
        stands=tuple(_stands(record)),
        routes=tuple(ways(record.alert, routes, watch)),
    )


# --- the timeline -----------------------------------------------------------------------------------------


def _with_delays(beats: Sequence[_Beat]) -> Iterator[Step]:
    before: datetime | None = None
    for beat in beats:
        yield Step(at=beat.at, what=beat.what, after_s=(beat.at - before).total_seconds() if before else None)
        before = beat.at


def _beats(record: AlertRecord, skew: timedelta) -> Iterator[_Beat]:
    for message in messages_of(record).values():
        yield _Beat(message.sent_at - skew, 0, f"message {message.id} is sent: {kind_of(message)}")
    for reason in record.reasons:
        yield from _brought(reason)
    yield _Beat(record.alert.first_seen_at, 4, f"the rule {record.alert.rule} finds it")
    yield from _stored(record)
    for entry in record.entries:
        yield from _entered(entry)
        yield from _ended(entry)
    if record.ack:
        yield _Beat(record.ack.at, 8, _whose(record.ack))
    for sending in record.sendings.values():
        yield from _sent(sending, record.attempts.get(sending.id, ()))
    for closure in record.closures:
        yield _Beat(
            closure.at, 9, f"the rule forgets {closure.key.key} without a conclusion: {closure.reason}"
        )


def messages_of(record: AlertRecord) -> dict[MessageId, Message]:
    """The messages that the alert carries or carried, each once."""
    alerts = [record.alert, *(entry.alert for entry in record.entries)]
    return {message.id: message for alert in alerts for message in alert.messages}


def kind_of(message: Message) -> str:
    """What a message is and who sent it to whom, without what it says."""
    what = f"{message.category}/{message.type}" + (f" {message.action}" if message.action else "")
    to = f"group {message.receiver.id}" if message.receiver_type == "group" else message.receiver.id
    return f"{what}, {message.sender.id} to {to}"


def _brought(reason: Reason) -> Iterator[_Beat]:
    """What let the rules see it."""
    brought_by = reason.brought_by
    skew = brought_by.skew if brought_by else timedelta(0)
    if reason.because.tick is not None:
        waited = "the rule had waited up to here for what did not come"
        yield _Beat(reason.because.tick - skew, 1, waited)
    if brought_by is not None:
        again = ", once more: the row had been missed" if brought_by.second_look else ""
        again = ", once more: the row changed after it was read" if brought_by.changed else again
        yield _Beat(brought_by.asked_at - skew, 2, f"CometChat is asked for the list of {brought_by.list}")
        yield _Beat(brought_by.received_at, 3, f"its answer is here{again}")


def _stored(record: AlertRecord) -> Iterator[_Beat]:
    if not record.reasons:
        began = min((entry.created_at for entry in record.entries), default=record.alert.first_seen_at)
        yield _Beat(began, 5, "it is committed (by a version that did not record why)")
    for reason in record.reasons:
        yield _Beat(reason.at, 5, f"it is committed: {said_of(reason)}")
    resolution = record.alert.resolution
    if resolution and not any(reason.because.status is Status.RESOLVED for reason in record.reasons):
        ended = [entry.created_at for entry in record.entries if entry.alert.status is Status.RESOLVED]
        yield _Beat(min(ended, default=record.alert.first_seen_at), 5, f"it is over: {resolution}")


def said_of(reason: Reason) -> str:
    """What a reason is the reason of."""
    if reason.because.status is Status.RESOLVED:
        return "resolved"
    revision = reason.because.revision
    return f"brought up to date (revision {revision})" if revision else "raised"


def _entered(entry: Entry) -> Iterator[_Beat]:
    """What is told to somebody for another reason than a route, or after all."""
    if entry.note is not None:
        yield _Beat(entry.created_at, 5, f"{entry.receiver} is told too: {entry.note}")
    if entry.silence is not None and entry.state is not EntryState.SUPPRESSED:
        freed = f"{entry.receiver}: silence {entry.silence} is over, and the {_news(entry)} is told after all"
        yield _Beat(entry.created_at, 5, freed)


def _whose(ack: Ack) -> str:
    return f"{ack.by} looks after it" + (f": {ack.comment}" if ack.comment else "")


ENDS = (EntryState.SUPPRESSED, EntryState.DROPPED, EntryState.DEAD)


def _ended(entry: Entry) -> Iterator[_Beat]:
    """Where the way to a receiver ended otherwise than by an attempt that was accepted."""
    if entry.state in ENDS and entry.settled_at is not None:
        who = f"{entry.receiver}: " if entry.receiver else ""
        why = f": {entry.reason}" if entry.reason else ""
        yield _Beat(entry.settled_at, 8, f"{who}the {_news(entry)} is {entry.state}{why}")


def _news(entry: Entry) -> str:
    return "end" if entry.alert.status is Status.RESOLVED else "alert"


def _sent(sending: Sending, attempts: Sequence[Attempt]) -> Iterator[_Beat]:
    named = f"notification {sending.id[:8]}"
    named += "" if sending.kind is Kind.ALERTS else f", a {sending.kind}"
    named += f" of {sending.alerts} alerts" if sending.alerts > 1 else ""
    yield _Beat(sending.created_at, 6, f"{sending.receiver}: {named} is taken up")
    for number, attempt in enumerate(attempts, 1):
        detail = f": {attempt.detail}" if attempt.detail else ""
        yield _Beat(attempt.at, 7, f"{sending.receiver}: attempt {number}: {attempt.outcome}{detail}")


# --- why, and to whom -------------------------------------------------------------------------------------


def _cause(reason: Reason, *, shows_text: bool) -> Cause:
    because = reason.because
    before = shown_state(because.before, shows_text=shows_text)
    after = shown_state(because.after, shows_text=shows_text)
    has_state = because.key is not None
    return Cause(
        what=said_of(reason),
        at=reason.at,
        messages=because.messages,
        tick=because.tick,
        list=reason.list,
        key=because.key,
        words=change_in_words(because.before, because.after) if has_state else (),
        changes=changes(before, after) if has_state else (),
        before=before,
        after=after,
    )


def shown_state(state: str | None, *, shows_text: bool) -> str | None:
    """A stored state as it may be shown."""
    return state if state is None or shows_text else without_text(state)


def _told(entry: Entry, record: AlertRecord, skew: timedelta) -> Told:
    sending = record.sendings.get(entry.notification) if entry.notification else None
    end = entry.settled_at if entry.state is EntryState.DELIVERED else None
    return Told(
        entry=entry.id,
        status=entry.alert.status,
        receiver=entry.receiver,
        state=entry.state,
        why=entry.reason,
        late=entry.late,
        summed=entry.summed,
        notification=entry.notification,
        attempts=sending.attempts if sending else 0,
        next_at=_next_at(entry, sending, record),
        group=entry.grouped,
        note=entry.note,
        silence=entry.silence,
        after_found_s=(end - entry.created_at).total_seconds() if end else None,
        after_event_s=(end - (entry.alert.event_at - skew)).total_seconds() if end else None,
    )


def _next_at(entry: Entry, sending: Sending | None, record: AlertRecord) -> datetime | None:
    if entry.state is not EntryState.PENDING:
        return None
    if sending is not None:
        return sending.due_at
    return record.flushes.get(entry.receiver) if entry.grouped else None


# --- how it stands ----------------------------------------------------------------------------------------


def _stands(record: AlertRecord) -> Iterator[str]:
    is_firing = record.alert.status is Status.FIRING
    if record.ack and is_firing:
        yield f"since {_instant(record.ack.at)} {_whose(record.ack)}; it is neither repeated nor escalated"
    for shown in record.shown:
        yield f"{shown.receiver} {_shows(shown)}"
    for step in record.ahead:
        unless = "once nobody looks after it any more" if record.ack else "if nobody looks after it by then"
        yield f"{', '.join(step.receivers)}: told at {_instant(step.due_at)} too, {unless}"


def _shows(shown: Shown) -> str:
    what = "shows it in a group" if shown.alert is None else "shows it"
    what += f" as of {_instant(shown.shown_at)}"
    what += f", said {shown.repeats + 1} times" if shown.repeats else ""
    what += f"; {_WORDS[shown.change]} at {_instant(shown.due_at)}" if shown.due_at else ""
    return what + (f", after {shown.failures} attempts that failed" if shown.failures else "")


_WORDS: Final = {
    Change.NEWS: "told",
    Change.UPDATE: "brought up to date",
    Change.REPEAT: "repeated",
    Change.REASSERT: "said again",
}


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


# --- which way --------------------------------------------------------------------------------------------


def ways(alert: Alert, routes: Sequence[RouteSpec], watch: WatchSet) -> Iterator[str]:
    """Which routes take the alert, and why not the others, in words; for each label set that routes see."""
    for labels in label_sets(alert, watch):
        told = ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
        yield f"with labels {told}"
        yield from (f"  {tried.words}" for tried in explained(labels, routes, now=None))
        if not routes:
            yield "  there are no routes"
