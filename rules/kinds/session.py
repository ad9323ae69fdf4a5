"""The facts of one call, and what became of it. Pure: rows in, verdict out.

CometChat writes a row for every change of a call; what they have in common is the session id. The facts are
gathered in any order, so that late rows, rows read again and rows seen through two lists all lead to the
same verdict.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from rules.grammar import said
from rules.kinds.base import Wait, evidence
from rules.model import Call, Message, Status, Value
from rules.templates import moment, span

MIN_RING: Final = timedelta(seconds=5)  # a caller who hangs up sooner has dialled wrongly
RING_TIMEOUT: Final = timedelta(seconds=90)  # the caller's app gives up at 45 s; the rest is for late rows
PLAUSIBLE: Final = timedelta(days=1)  # an `initiated_at` further from its row than this is nonsense

ANSWERED: Final = frozenset({"ongoing", "ended"})  # `ended` presupposes `ongoing`
ENDS: Final = ("unanswered", "cancelled", "busy", "rejected")
OUTCOMES: Final = {
    "unanswered": "not answered",
    "cancelled": "the caller hung up",
    "busy": "the callee was busy",
    "rejected": "declined",
}


def status_of(message: Message) -> str:
    """The row's call status in one spelling."""
    assert message.call is not None
    status = message.call.status.lower()
    return "cancelled" if status == "canceled" else status


REPLY, CALL_BACK = "reply", "call_back"
AT_ONCE, IF_UNANSWERED = "at_once", "if_unanswered"


class Answered(Value, frozen=True, kw_only=True):
    """What else than picking up counts as an answer to a call."""

    by: tuple[str, ...] = (CALL_BACK, REPLY)
    within: timedelta = timedelta(minutes=15)
    when: str = AT_ONCE  #: raise the alert at once and take it back, or only if there was none


class Options(Value, frozen=True, kw_only=True):
    statuses: tuple[str, ...] = ("unanswered", "cancelled", "busy")
    min_ring: timedelta = MIN_RING
    ring_timeout: timedelta = RING_TIMEOUT
    side: str = "callee"
    answered: Answered | None = None


class Session(Value, frozen=True, kw_only=True):
    """The facts of one call so far, and what was told of it."""

    rows: tuple[Message, ...]  #: one row per status, the one with the smallest id; ascending by id
    started_at: datetime | None = None  #: the earliest start that any row told
    rang_out: bool = False  #: the wait is over: we have seen far enough
    told: Status | None = None
    found_at: datetime | None = None
    wait: Wait | None = None

    def row(self, status: str) -> Message | None:
        return next((row for row in self.rows if status_of(row) == status), None)

    @property
    def call(self) -> Call:
        call = self.rows[0].call
        assert call is not None
        return msgspec.structs.replace(call, initiated_at=self.started_at)

    @property
    def is_group(self) -> bool:
        return self.rows[0].receiver_type == "group"


class Missed(NamedTuple):
    row: Message  #: the row that decided
    outcome: str
    rang: timedelta | None


class NotMissed(NamedTuple):
    row: Message
    why: str


class Undecided(NamedTuple):
    due: datetime | None  #: None: no time will tell


Verdict = Missed | NotMissed | Undecided


def verdict(session: Session, options: Options) -> Verdict:
    """Whether the call was missed, from the facts alone.

    What speaks against a missed call outweighs what speaks for one, whatever came first: with more rows
    "missed" can turn into "not missed", never back.
    """
    ends = [row for row in session.rows if status_of(row) in ENDS]
    # 1. answered  2. ended in a way that this rule does not count  3. ended in a way that it does
    for row in session.rows:
        if status_of(row) in ANSWERED:
            return NotMissed(row, f"the call was answered at {moment(row.sent_at)}")
    for row in ends:
        if status_of(row) not in options.statuses:
            return NotMissed(row, f"the call ended as {status_of(row)}, which this rule does not count")
    hung_up = session.row("cancelled")
    if hung_up is not None and (short := _short_ring(session, hung_up, options)):
        return short
    for row in ends:
        if row is not hung_up or session.started_at or session.rang_out:
            return _missed(session, row)
    # 4. hung up, and how long it rang is told by a row that may still come  5. still ringing  6. rang out
    last = hung_up or session.row("initiated")
    if last is None or session.is_group:
        return Undecided(None)
    if not session.rang_out:
        return Undecided((session.started_at or last.sent_at) + options.ring_timeout)
    return Missed(last, f"no answer and no end within {said(options.ring_timeout)}", None)


def _short_ring(session: Session, hung_up: Message, options: Options) -> NotMissed | None:
    if session.started_at is None or hung_up.sent_at - session.started_at >= options.min_ring:
        return None
    rang = span(hung_up.sent_at - session.started_at)
    return NotMissed(hung_up, f"the caller hung up after {rang}, sooner than {said(options.min_ring)}")


def _missed(session: Session, row: Message) -> Missed:
    outcome = "nobody joined" if session.is_group else OUTCOMES[status_of(row)]
    return Missed(row, outcome, row.sent_at - session.started_at if session.started_at else None)


def start_told(message: Message) -> datetime | None:
    """When the call began, as far as this row knows."""
    assert message.call is not None
    told = message.call.initiated_at
    if told is not None and timedelta(0) <= message.sent_at - told <= PLAUSIBLE:
        return told
    return message.sent_at if status_of(message) == "initiated" else None


def with_row(session: Session | None, message: Message) -> Session:
    """The session with the facts of one more row; the same session if it tells nothing new."""
    rows = {status_of(row): row for row in session.rows} if session else {}
    status = status_of(message)
    if status not in rows or message.id < rows[status].id:
        rows[status] = evidence(message)
    starts = [at for at in (session.started_at if session else None, start_told(message)) if at]
    return msgspec.structs.replace(
        session or Session(rows=()),
        rows=tuple(sorted(rows.values(), key=lambda row: row.id)),
        started_at=min(starts, default=None),
    )
