"""What goes into the store and comes out of it, as values.

Ids of messages are numbers, times aware UTC. Nothing here knows SQL. `gc=False`: of these there is one or
more for each user, they can't be part of a cycle, and walking over 100,000 of them takes time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, NewType

from msgspec.structs import replace

from rules.model import (
    Alert,
    AlertId,
    Because,
    Labels,
    ListId,
    MessageId,
    Severity,
    StateChange,
    StateKey,
    Status,
    Timer,
    UserId,
    Value,
)

NotificationId = NewType("NotificationId", str)
EntryId = NewType("EntryId", int)


class Seen(Value, frozen=True, kw_only=True, gc=False):
    """A row above the stored cursor: evaluated already, recognised when it is read again."""

    id: MessageId
    at: datetime  #: when we first saw it, in API time; a row dated in the future settles by this


class Cursor(Value, frozen=True, kw_only=True, gc=False):
    """How far one user's list has been read.

    `id` is the stored cursor (None until a first settled row is known), `above` the evaluated rows past
    it. While the start pages backwards, `back` is the smallest id read so far; the next page ends before it.
    """

    id: MessageId | None = None
    above: tuple[Seen, ...] = ()
    back: MessageId | None = None


class UserRow(Value, frozen=True, kw_only=True, gc=False):
    """One watched user as stored."""

    uid: UserId
    start_at: datetime  #: rows sent before it are not evaluated; set once, when first configured
    cursor: Cursor = Cursor()
    watermark: datetime | None = None  #: as of the last commit; the running process knows a later one
    activity: tuple[float, ...] | None = None  #: what the list's past says of its present; not for us to read
    looked_at: datetime | None = None  #: when the list was last read a second time
    cohort: str | None = None  #: which discovery found the user; None: named in the settings
    found_at: datetime | None = None  #: when that discovery last did
    left_at: datetime | None = None  #: since when nobody watches this user
    recent: tuple[MessageId, ...] | None = None  #: ids read of late, ascending; None too where many are read

    @property
    def is_unread(self) -> bool:
        """Whether no answer about this user was ever accounted for."""
        return self.watermark is None and self.cursor == Cursor()


class Reject(Value, frozen=True, kw_only=True):
    """A row that could not be decoded: its redacted structure (keys and types, no values) and the reason."""

    uid: UserId
    message_id: str | None  #: as found, cut to 64 characters
    reason: str
    structure: str  #: JSON of the row with every string replaced by its type and length
    at: datetime
    id: int | None = None  #: given by the store, for `rejects show`


class EntryState(StrEnum):
    """Where one (alert, status, receiver) stands. Each entry ends in exactly one of the last four."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"  #: given up, visible in `outbox list`, can be redriven
    DROPPED = "dropped"  #: by a person, with `outbox drop`
    SUPPRESSED = "suppressed"  #: muted, or no route led to a receiver: `reason` says which


class Timing(Value, frozen=True, kw_only=True, gc=False):
    """When the messages of a group are sent; the words and the meanings are Alertmanager's."""

    wait: timedelta = timedelta(0)  #: from a group's first alert to its first message
    interval: timedelta = timedelta(0)  #: between two messages of which the later has news
    repeat: timedelta | None = None  #: after which a group without news that still fires is told again


class Group(Value, frozen=True, kw_only=True):
    """Alerts that are told together, by one receiver."""

    key: str  #: the route's place among the routes and the labels' values; the same at every start
    labels: Labels  #: what they have in common by `group_by`; {} for an alert that only repeats


class Grouping(Value, frozen=True, kw_only=True):
    """A group, and when it is told."""

    group: Group
    timing: Timing


class Route(Value, frozen=True, kw_only=True):
    """What the routing policy decided for one alert and one receiver ("" when none is concerned)."""

    receiver: str
    state: EntryState = EntryState.PENDING  #: PENDING or SUPPRESSED
    reason: str | None = None
    late: bool = False  #: old news when found: goes into a digest, never out as a page
    summed: bool = False  #: more than the rule may send: told as part of a sum
    grouping: Grouping | None = None  #: None: told by itself, at once
    silence: int | None = None  #: the number of the silence that holds it


class Step(Value, frozen=True, kw_only=True):
    """Who else is told when an alert is neither resolved nor acknowledged so long after it was found."""

    after: timedelta
    receivers: tuple[str, ...]


class Fate(StrEnum):
    """What becomes of an alert, in one word, whatever its receivers make of it."""

    SENT = "sent"
    LATE = "late"  #: old news: goes into a digest
    SUMMED = "summed"  #: more than its rule may send, or than is usual: goes into a sum
    SHADOW = "shadow"  #: its rule only records
    CALENDAR = "calendar"  #: not in these hours
    COOLDOWN = "cooldown"  #: the like of it was sent a short time ago
    SILENCED = "silenced"
    UNROUTED = "unrouted"


class Finding(Value, frozen=True, kw_only=True):
    """An alert with what the routing policy made of it."""

    alert: Alert
    routes: tuple[Route, ...]
    fate: Fate = Fate.SENT  #: for counting; what is stored of it are the routes
    steps: tuple[Step, ...] = ()  #: of an alert that begins and is sent


class Counts(Value, frozen=True, kw_only=True):
    """For the ledger: what one commit accounted for."""

    fetched: int = 0
    evaluated: int = 0
    duplicates: int = 0
    rejected: int = 0


class Fetched(Value, frozen=True, kw_only=True):
    """The answer of CometChat that brought the rows of a commit, or let its timers conclude."""

    list: ListId
    asked_at: datetime  #: when the request began, in API time
    received_at: datetime  #: when the answer was complete, by our clock
    skew: timedelta = timedelta(0)  #: CometChat's clock minus ours, as it was known then
    second_look: bool = False  #: the list was read once more, and the rows had been missed
    changed: bool = False  #: the rows had been read before, and changed since


class Commit(Value, frozen=True, kw_only=True):
    """All that one poll (or one tick) changed. It is applied whole or not at all.

    `uid` and `expected` guard the cursor: with another stored cursor the commit is refused (`Conflict`).
    What is None of `cursor`, `watermark`, `activity`, `recent` and `looked_at` stays as stored.
    Findings whose (alert id, status) was stored before, or whose id has a tombstone, are ignored; a
    RESOLVED finding is kept only if its alert is stored as firing. A FIRING one of a larger revision than
    the stored takes its place: the alert is brought up to date, which adds no entry for any receiver.
    `because` and `brought_by` are kept with those findings that are news.
    """

    uid: UserId | None = None
    expected: Cursor | None = None
    cursor: Cursor | None = None
    watermark: datetime | None = None
    activity: tuple[float, ...] | None = None
    recent: tuple[MessageId, ...] | None = None
    looked_at: datetime | None = None
    states: tuple[StateChange, ...] = ()
    timers: tuple[Timer, ...] = ()
    cancelled: tuple[StateKey, ...] = ()
    findings: tuple[Finding, ...] = ()
    because: tuple[Because, ...] = ()
    brought_by: Fetched | None = None
    rejects: tuple[Reject, ...] = ()
    counts: Counts = Counts()


class Committed(Value, frozen=True, kw_only=True):
    """What a commit really added."""

    fresh: tuple[Finding, ...] = ()  #: the findings that were new
    known: int = 0  #: findings ignored because they were stored before


class Known(NamedTuple):
    """What the store has of an alert. One that was pruned counts as resolved, and nothing else is known."""

    status: Status
    revision: int = 0
    severity: Severity | None = None  #: with which it was raised
    labels: Labels | None = None
    users: tuple[UserId, ...] = ()  #: whom it was about so far

    @classmethod
    def of(cls, alert: Alert) -> Known:
        return cls(alert.status, alert.revision, alert.severity, alert.labels, alert.watched_users)

    def retold(self, alert: Alert) -> Alert:
        """What is told later of the same alert: as severe as it was raised, and about the same users too."""
        if self.severity is None or self.labels is None:
            return alert
        users = tuple(dict.fromkeys((*self.users, *alert.watched_users)))
        return replace(alert, severity=self.severity, labels=self.labels, watched_users=users)


def is_news(alert: Alert, before: Known | None) -> bool:
    """Whether the store takes this alert, given what it has of it.

    An alert fires once, is brought up to date by ever larger revisions while it fires, and is resolved once.
    """
    if before is None:
        return alert.status is Status.FIRING
    if before.status is Status.RESOLVED:
        return False
    return alert.status is Status.RESOLVED or alert.revision > before.revision


def news(alerts: Iterable[Alert], known: Mapping[AlertId, Known]) -> Iterator[Alert]:
    """Those of `alerts` that are news, in their order.

    What was told of an alert stays true to its end: it keeps the severity, labels and users that it was
    raised with, or its end would be sent to others than its beginning.
    """
    last = dict(known)
    for alert in alerts:
        before = last.get(alert.id)
        if is_news(alert, before):
            told = alert if before is None else before.retold(alert)
            last[alert.id] = Known.of(told)
            yield told


class Reason(Value, frozen=True, kw_only=True):
    """Why an alert was raised, brought up to date or resolved, and what brought the rows."""

    because: Because
    at: datetime  #: when it was committed
    list: ListId | None = None  #: whose page or passing time it was
    brought_by: Fetched | None = None


class Closure(Value, frozen=True, kw_only=True):
    """Why a state or timer ended without concluding: user unwatched or unknown, rule removed or changed."""

    key: StateKey
    reason: str
    at: datetime


class Operator(StrEnum):
    """How a matcher compares, as Alertmanager writes it."""

    IS = "="
    IS_NOT = "!="
    LIKE = "=~"  #: the whole value is like a regular expression (RE2)
    NOT_LIKE = "!~"


class Matcher(Value, frozen=True, kw_only=True, omit_defaults=False):
    """One label compared with a text. A label that an alert does not carry counts as "".

    In JSON its operator is always there, so that nobody has to know which one is usual.
    """

    label: str
    operator: Operator = Operator.IS
    value: str

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.label}{self.operator}"{escaped}"'


class Silence(Value, frozen=True, kw_only=True):
    """Alerts that all `matchers` take, while it is in force, are recorded but not sent.

    Those that still fire at its end are sent then.
    """

    id: int
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    author: str
    comment: str
    created_at: datetime
    closed_at: datetime | None = None  #: when its end was dealt with and told of

    def is_in_force(self, now: datetime) -> bool:
        """Never after its end was dealt with, even if the clock goes back: it would hold for ever."""
        return self.closed_at is None and self.starts_at <= now < self.ends_at

    @property
    def reason(self) -> str:
        """Why an alert that it holds is not sent, in words."""
        by = f" by {self.author}" if self.author else ""
        until = f"{self.ends_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"silenced until {until} by silence {self.id}{by}: {self.comment}"


class Held(Value, frozen=True, kw_only=True):
    """What became of the alerts that a silence held, when it ended."""

    held: int
    sent: int  #: they still fire, and are told now
    over: int  #: they are over by now, or were events; the rest is held by other silences


class Ack(Value, frozen=True, kw_only=True):
    """Somebody looks after an alert: it is neither repeated nor escalated any more."""

    alert: AlertId
    by: str
    at: datetime
    comment: str = ""


class Entry(Value, frozen=True, kw_only=True):
    """One outbox row: this alert, in this status, for this receiver."""

    id: EntryId
    alert: Alert
    receiver: str
    state: EntryState
    reason: str | None
    late: bool
    created_at: datetime
    settled_at: datetime | None
    notification: NotificationId | None
    summed: bool = False
    grouped: str | None = None  #: the key of its group
    note: str | None = None  #: why it comes to this receiver, if not by a route
    silence: int | None = None


class Waiting(Value, frozen=True, kw_only=True):
    """An outbox row in no notification yet, as it is offered to the bundling policy: without its alert."""

    id: EntryId
    status: Status
    late: bool
    created_at: datetime
    size: int  #: bytes of the alert as stored
    summed: bool = False
    severity: Severity = Severity.WARNING
    is_over: bool = False  #: of one that begins: it is resolved by now
    lasts: bool = False  #: it is a condition, not an event


class Kind(StrEnum):
    """What a notification is for its reader."""

    ALERTS = "alerts"  #: one alert, or a batch of them for a machine
    GROUP = "group"  #: alerts of one group, with its others that still fire
    SUMMARY = "summary"  #: more waited than a person can read: counts, and the command that lists them
    DIGEST = "digest"  #: old news: found long after it happened, or waited for long to be sent


class Change(StrEnum):
    """Why a receiver is told."""

    NEWS = "news"  #: alerts began or ended; only this one makes a sound
    UPDATE = "update"  #: what is shown is out of date: a new revision, an acknowledgement
    REPEAT = "repeat"  #: nothing new, it still fires
    REASSERT = "reassert"  #: as `REPEAT`, for a machine that would forget it


class Bundle(Value, frozen=True, kw_only=True):
    """What the bundling policy wants sent next: some of the entries it was offered, as one notification."""

    kind: Kind
    status: Status
    entries: tuple[EntryId, ...]


class Notification(Value, frozen=True, kw_only=True):
    """What is sent, under one id that was stored before the first send and never changes."""

    id: NotificationId
    receiver: str
    kind: Kind
    status: Status
    alerts: tuple[Alert, ...]
    created_at: datetime
    attempts: int = 0  #: sends begun before this one
    change: Change = Change.NEWS
    opened: Opened | None = None  #: the group that it tells of
    others: tuple[Alert, ...] = ()  #: of the group: told before, and still firing
    receipts: Mapping[
        str, str
    ] = {}  #: subject -> what the sink answered to `Delivered` about it, the last time
    acks: Mapping[AlertId, Ack] = {}  #: of `alerts` and `others`
    notes: Mapping[AlertId, str] = {}  #: why it comes to this receiver, if not by a route
    summed_before: int = 0  #: summaries to this receiver shortly before: a storm goes on
    is_in_doubt: bool = False  #: an earlier one about its group was sent, and what became of it is unknown
    is_sample: bool = False  #: made to try the road

    @property
    def group(self) -> Labels:
        """What its alerts have in common by `group_by`; {} if they are not told as a group."""
        return self.opened.group.labels if self.opened else {}

    def subject(self, alert: Alert) -> str:
        """What a receipt about `alert` stands under: its group if it is told as part of one, else itself."""
        return self.opened.subject if self.opened and self.opened.group.labels else alert.id

    @property
    def begins_anew(self) -> bool:
        """Whether a group's news take a message of their own: they bring events, which are told only once.

        The one that stands may show such too, and nothing of ours would show them again if it were edited.
        """
        events = (alert for alert in self.alerts if alert.status is Status.FIRING and not alert.lasts)
        return bool(self.group) and self.change is Change.NEWS and any(events)


class Shown(Value, frozen=True, kw_only=True):
    """What one receiver shows of one subject: an alert (its id) or a group (`Opened.subject`)."""

    receiver: str
    subject: str
    alert: AlertId | None  #: None for a group
    grouped: str | None = None  #: the key of its group
    receipt: str | None = None  #: the sink's own, to find the message again
    revision: int = 0  #: of the alert as it is shown
    shown_at: datetime
    due_at: datetime | None = None  #: when to look at it again; None: when something changes
    change: Change = Change.REASSERT  #: what to tell then
    follows: bool = False  #: the receiver wants to hear of updates and acknowledgements
    repeats: int = 0
    failures: int = 0  #: in a row, of telling it again
    is_over: bool = False  #: what is shown is resolved


class Opened(Value, frozen=True, kw_only=True):
    """A group that has something to tell or still fires."""

    receiver: str
    group: Group
    timing: Timing
    subject: str  #: of this opening; a group that closed and opens again is another subject
    anchor_at: datetime  #: of the first message; later ones are whole intervals after it
    flushed_at: datetime | None = None  #: when a message about it was accepted, the last time

    def flush_at(self, created_at: datetime) -> datetime:
        """When what came up at `created_at` is told: at the first tick that is not before it.

        The ticks are the anchor and every whole interval after it. Without an interval, the group is told at
        once from the anchor on.
        """
        behind, interval = created_at - self.anchor_at, self.timing.interval
        if behind <= timedelta(0):
            return self.anchor_at
        return self.anchor_at + -(-behind // interval) * interval if interval else created_at

    def tick_before(self, at: datetime) -> datetime:
        """The last tick that is not after `at`; `at` itself without an interval."""
        interval = self.timing.interval
        return self.anchor_at + (at - self.anchor_at) // interval * interval if interval else at

    def repeat_at(self, told_at: datetime) -> datetime | None:
        """When it is told again, after a message that made a sound; None: never.

        Counted from the tick of that message, not from when it was accepted: else the time that sending took
        would put a repeat off by a whole interval.
        """
        repeat = self.timing.repeat
        return None if repeat is None else self.flush_at(self.tick_before(told_at) + repeat)


class Overdue(Value, frozen=True, kw_only=True):
    """An alert that a receiver did not take in time, or refused."""

    entry: EntryId
    alert: Alert
    created_at: datetime
    reason: str | None  #: of the last attempt
    is_dead: bool


class Escalation(Value, frozen=True, kw_only=True):
    """A step that is due: its alert is neither resolved nor acknowledged."""

    alert: Alert
    after: timedelta
    receivers: tuple[str, ...]


class Escalating(Value, frozen=True, kw_only=True):
    """A step still to come."""

    after: timedelta
    receivers: tuple[str, ...]
    due_at: datetime


class Attempt(Value, frozen=True, kw_only=True):
    """One send that ended, for the record: `outcome` is delivered, retry or dead."""

    notification: NotificationId
    at: datetime
    outcome: str
    detail: str  #: redacted: no URL, no secret, no message text


class Depth(Value, frozen=True, kw_only=True):
    """One receiver's queue."""

    receiver: str
    pending: int
    dead: int
    oldest_at: datetime | None  #: creation of the oldest pending entry


class Ledger(Value, frozen=True, kw_only=True):
    """Sums over the life of the store; every finding is in exactly one entry state per receiver."""

    counts: Counts
    alerts: int
    entries: Mapping[str, int] = {}  #: entry state -> number
