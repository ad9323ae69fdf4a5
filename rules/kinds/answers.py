"""Who turns to the others of a conversation and so may have answered: writes, calls, or picks up."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice
from operator import attrgetter
from typing import Final, NamedTuple

from rules.kinds.session import AT_ONCE, CALL_BACK, REPLY, Missed, Options, Session, status_of
from rules.model import APP_SYSTEM, Message, MessageId, UserId, Value, correlation_key

GRACE: Final = timedelta(hours=1)  # how much later than its neighbours a row may still turn up
SPARE: Final = 100  # reactions that are of no more use may lie about: to ask for each costs more
MAX_REACTIONS: Final = 500  # of one conversation; an hour of lively talk has fewer

NOT_SAID: Final = frozenset({"action", "call"})  # rows that tell of something instead of saying it
MADE_BY_CALLER: Final = frozenset({"initiated", "unanswered", "cancelled"})


def speaker(message: Message) -> UserId | None:
    """Who turns to the others by this row: the author of a message, who calls, or who picks up.

    None of what only tells of something: an edit, a kick, a call declined or ended, an act of the app's own.
    """
    if message.call is not None:
        return _on_the_phone(message)
    if message.category in NOT_SAID or message.sender.id == APP_SYSTEM:
        return None
    return UserId(message.sender.id.lower())


def _on_the_phone(message: Message) -> UserId | None:
    assert message.call is not None
    status = status_of(message)
    if status in MADE_BY_CALLER:
        return UserId(message.call.caller.id.lower())
    if status != "ongoing":
        return None
    # Of a group's call the row that says it goes on comes from who joined.
    who = message.sender if message.receiver_type == "group" else message.call.callee
    return UserId(who.id.lower())


class Reaction(Value, frozen=True, kw_only=True, gc=False):
    """A row by which somebody turned to the others of a conversation."""

    at: datetime
    id: MessageId
    by: UserId
    taken: datetime  #: when we read it
    session: str | None = None  #: the call it is about, as a key; None of a message
    is_pick_up: bool = False

    @property
    def order(self) -> tuple[datetime, MessageId]:
        return self.at, self.id


ORDER: Final = attrgetter("order")


def reaction(message: Message, now: datetime) -> Reaction | None:
    """What the row may mean to those who wait for somebody."""
    who = speaker(message)
    if who is None:
        return None
    return Reaction(
        at=message.sent_at,
        id=message.id,
        by=who,
        taken=now,
        session=correlation_key(message.call.session_id) if message.call else None,
        is_pick_up=message.call is not None and status_of(message) == "ongoing",
    )


def answer_to(key: str, session: Session, said: Sequence[Reaction], by: Sequence[str]) -> Reaction | None:
    """The first thing that the callee (in a group: anybody but the caller) said after the call had begun.

    `key` is the call's own: what belongs to it answers it in another way. `said` is in event order.
    """
    began = min((session.started_at or row.sent_at, row.id) for row in session.rows)
    caller, callee = session.call.caller.id.lower(), session.call.callee.id.lower()
    return next(
        (
            one
            for one in islice(said, bisect_right(said, began, key=ORDER), None)
            if one.session != key
            and (REPLY if one.session is None else CALL_BACK) in by
            and (one.by != caller if session.is_group else one.by == callee)
        ),
        None,
    )


class Aftermath(NamedTuple):
    """What follows from the answer to a missed call, or from there being none."""

    is_raised: bool
    event_at: datetime  #: when it came to be so
    due: datetime | None = None  #: when it will be known
    answer: Reaction | None = None  #: that ends the alert


def aftermath(missed: Missed, answer: Reaction | None, options: Options, seen: datetime | None) -> Aftermath:
    """What to tell of a missed call to which `answer` is the first answer.

    `seen`: up to when we know that nothing else was said.
    """
    at = missed.row.sent_at
    if options.answered is None:
        return Aftermath(is_raised=True, event_at=at)
    deadline = at + options.answered.within
    in_time = answer is not None and answer.at <= deadline
    if options.answered.when == AT_ONCE:
        return Aftermath(is_raised=not in_time, event_at=at, answer=answer if in_time else None)
    is_late = seen is not None and seen >= deadline
    return Aftermath(
        is_raised=is_late and not in_time,
        event_at=deadline,
        due=None if in_time or is_late else deadline,
        answer=answer,
    )


def in_words(session: Session, missed: Missed, answer: Reaction) -> str:
    """How a missed call was answered after all."""
    who = "somebody in the group" if session.is_group else "the callee"
    what = (
        "replied" if answer.session is None else "took a later call" if answer.is_pick_up else "called back"
    )
    waited = answer.at - missed.row.sent_at
    return f"{who} {what} {f'after {lasted(waited)}' if waited > timedelta(0) else 'at once'}"


def lasted(length: timedelta) -> str:
    """A time that people waited: `45 s`, `25 min`, `3 h 20 min`, `2 d 4 h`."""
    seconds = round(length.total_seconds())
    for unit, name, smaller, of in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min")):
        if seconds >= unit:
            rest = seconds % unit // smaller
            return f"{seconds // unit} {name} {rest} {of}" if rest else f"{seconds // unit} {name}"
    minutes, rest = divmod(seconds, 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"


def is_much(said: Sequence[Reaction], now: datetime) -> bool:
    """Whether enough has piled up that it is worth asking what of it must be remembered."""
    old = sum(one.taken < now - GRACE for one in said)
    return old > SPARE or len(said) > MAX_REACTIONS + SPARE


def recent(said: Sequence[Reaction], now: datetime, needed: frozenset[MessageId]) -> tuple[Reaction, ...]:
    """What must be remembered: what a late row may still make an answer of, and the answers in use."""
    kept = [one for one in said if one.id in needed or one.taken >= now - GRACE]
    if len(kept) > MAX_REACTIONS:
        spare = len(kept) - MAX_REACTIONS
        dropped = {one.id for one in [one for one in kept if one.id not in needed][:spare]}
        kept = [one for one in kept if one.id not in dropped]
    return tuple(kept)
