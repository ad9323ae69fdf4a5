"""What a test file says, as values, each with its place in the file; and what a run of it came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

from monitor.delivery.policy import RouteSpec
from rules.model import Alert, Labels, WatchSet
from rules.text import Place

START: Final = datetime(2026, 3, 2, 9, tzinfo=UTC)  # a Monday morning on which no clock changes
PROMPT: Final = timedelta(seconds=15)  # `at`: a watermark is 12 s behind what was read
ONCALL: Final = "oncall"

What = Literal["raised", "updated", "resolved", "delivered", "held"]
WHATS: Final[tuple[What, ...]] = ("raised", "updated", "resolved", "delivered", "held")


class Word(NamedTuple):
    """A name that must be known elsewhere, and where it was written."""

    text: str
    place: Place


# --- the stage -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What CometChat tells of a user beside the uid."""

    name: str | None = None
    role: str = "default"
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A receiver: people get one message an alert and sums, machines get batches."""

    name: str
    people: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """All that holds for a whole test beside its timeline. None stands for what is worked out from it."""

    rules: tuple[Word, ...] = ()
    start: datetime = START
    until: timedelta | None = None
    users: Mapping[str, Person] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  #: guid -> members
    watch: WatchSet | None = None
    source: str = "user"
    receivers: tuple[Destination, ...] = (Destination(name=ONCALL),)
    routes: tuple[RouteSpec, ...] | None = None
    max_age: timedelta = timedelta(hours=1)
    strict: bool = False


# --- the timeline --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """Somebody writes."""

    sender: str
    to: str
    is_group: bool = False
    id: str | None = None
    category: str = "message"
    type: str = "text"
    text: str | None = None
    attachments: tuple[Mapping[str, Any], ...] = ()
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] | None = None
    custom: Mapping[str, Any] | None = None
    thread: Word | None = None
    sent: timedelta = timedelta(0)  #: `sentAt` is so much before (negative) the moment it is there
    late: timedelta = timedelta(0)  #: lists show it so much later
    raw: Mapping[str, Any] = field(default_factory=dict)  #: laid over the row


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """Somebody calls. What becomes of the call are entries of their own."""

    caller: str
    to: str
    is_group: bool = False
    type: str = "audio"
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallBecomes:
    call: str
    status: str
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    message: Word
    text: str
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    message: Word
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Somebody joins or leaves a group, or is added or kicked `by` another."""

    group: str
    user: str
    joins: bool
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    is_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Receivers:
    """From now on these receivers answer so."""

    answers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """The clock of the monitor's machine is set; CometChat's goes on."""

    by: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """The monitor ends at once and starts again after `down`."""

    down: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload:
    """Other rules, or other people to watch, from now on. None: as before."""

    rules: tuple[Word, ...] | None = None
    watch: WatchSet | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mute:
    rule: Word
    span: timedelta


Action = Say | Ring | CallBecomes | Edit | Delete | Member | Api | Receivers | Jump | Restart | Reload | Mute


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    at: timedelta
    action: Action
    place: Place


# --- what is expected ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which alerts, or which news of them. What is None or empty fits all."""

    rule: Word | None = None
    severity: str | None = None
    title: str | None = None
    summary: str | None = None
    conversation: str | None = None
    about: tuple[Word, ...] = ()
    labels: Labels = field(default_factory=dict)
    message: Word | None = None
    reason: str | None = None
    receiver: Word | None = None
    status: str | None = None
    kind: str | None = None
    late: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    what: What
    match: Match
    place: Place
    after: timedelta = timedelta(0)
    by: timedelta | None = None  #: None: any time
    times: int = 1
    or_more: bool = False
    never: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One test: what happens, and what must come of it."""

    name: str
    place: Place
    setting: Setting
    timeline: tuple[Entry, ...] = ()
    expect: tuple[Expectation, ...] = ()

    __test__ = False  # pytest collects what is called Test


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """One test file."""

    name: str
    tests: tuple[Test, ...]


# --- what came of it -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that the monitor did in a run, `at` seconds after its start."""

    at: float
    what: What
    alert: Alert
    receiver: str | None = None
    kind: str | None = None  #: of the notification: alerts, summary, digest
    late: bool = False
    reason: str | None = None  #: why it is over, or why it was held
    messages: tuple[str, ...] = ()  #: the test's own names of the messages that the alert carries


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One run of a test: what happened, in order."""

    events: tuple[Event, ...]
    happened: tuple[tuple[float, str], ...]  #: the timeline as it went, in words
    broken: tuple[tuple[Place, str], ...] = ()  #: what must never be: a rule that fails, an alert told twice
    ended_at: float = 0.0
    pending: datetime | None = None  #: the earliest question that a rule was still waiting to ask
