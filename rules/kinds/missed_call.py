"""The kind `missed_call`: calls that were not answered, put together from the rows of one session.

Every change of a call is a row of its own; rows may come in any order, twice, and through two users. An
ending row (unanswered, cancelled, busy) is conclusive by itself; a ring without any end is judged when
the ring timeout has passed and we have seen far enough (a `Tick`). An answer that appears later resolves
the alert. Of group calls only `unanswered`, nobody joined, can be seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec

from rules.conditions import Condition, Interest, words_said
from rules.grammar import Choice, Duration, Key, Many, said
from rules.kinds.base import Found, Kind, Needs, Ruling, Wait, correlation_key, evidence
from rules.kinds.match import SAMPLE, SAMPLE_AT
from rules.model import Call, Message, Party, Status, Tick, UserId, Value, WatchSet, watched
from rules.templates import Facts, call_facts, moment, span
from rules.when import CALL_CONDITIONS

MIN_RING: Final = timedelta(seconds=5)  # a caller who hangs up sooner has dialled wrongly
RING_TIMEOUT: Final = timedelta(seconds=90)  # the caller's app gives up at 45 s; the rest is for late rows
KEEP: Final = timedelta(days=2)  # a session is over long before; its rows may be read again until then
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


class Options(Value, frozen=True, kw_only=True):
    statuses: tuple[str, ...] = ("unanswered", "cancelled", "busy")
    min_ring: timedelta = MIN_RING
    ring_timeout: timedelta = RING_TIMEOUT
    side: str = "callee"


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


class MissedCall:
    """Condition findings: an alert per session, resolved if an answer appears."""

    interest: Interest = Interest(categories=frozenset({"call"}))

    def __init__(self, condition: Condition | None, options: Options) -> None:
        self._condition, self._options = condition, options
        self._test = condition.compile() if condition else None
        self.conditions: Mapping[str, Condition] = {"when": condition} if condition else {}

    def keys(self, message: Message) -> tuple[str, ...]:
        if message.call is None or not message.call.session_id:
            return ()
        status = status_of(message)
        if status in ANSWERED or status == "unanswered":
            return (correlation_key(message.call.session_id),)
        # A group call goes on when one member declines or is busy.
        is_known = message.receiver_type != "group" and (status in ENDS or status == "initiated")
        return (correlation_key(message.call.session_id),) if is_known else ()

    def decode(self, value: bytes) -> Session:
        return msgspec.json.decode(value, type=Session)

    def encode(self, state: Session) -> bytes:
        return msgspec.json.encode(state)

    def take(self, state: Session | None, key: str, message: Message, *, now: datetime) -> Session:  # noqa: ARG002 - the protocol's
        rows = {status_of(row): row for row in state.rows} if state else {}
        status = status_of(message)
        if status not in rows or message.id < rows[status].id:
            rows[status] = evidence(message)
        starts = [at for at in (state.started_at if state else None, start_told(message)) if at]
        known = state or Session(rows=())
        return msgspec.structs.replace(
            known,
            rows=tuple(sorted(rows.values(), key=lambda row: row.id)),
            started_at=min(starts, default=None),
        )

    def judge(
        self, key: str, state: Session, *, tick: Tick | None, watch: WatchSet, now: datetime
    ) -> Ruling[Session]:
        users, is_ours = self._concerned(state, watch), self._is_ours(state, watch)
        if not is_ours and state.told is None and state.wait is None:
            return Ruling(state=None)
        decided = verdict(state, self._options)
        if tick and isinstance(decided, Undecided) and decided.due and tick.due >= decided.due:
            state = msgspec.structs.replace(state, rang_out=True)
            decided = verdict(state, self._options)
        found = tuple(self._news(key, state, decided, users)) if is_ours or state.told else ()
        wait = self._wait(state, decided, watch) if is_ours else None
        if found:
            state = msgspec.structs.replace(state, told=found[0].status, found_at=state.found_at or now)
        return Ruling(
            state=msgspec.structs.replace(state, wait=wait),
            found=found,
            wait=wait,
            keep_until=None if wait else now + KEEP,
        )

    def _news(
        self, key: str, session: Session, decided: Verdict, users: tuple[UserId, ...]
    ) -> Iterator[Found]:
        """The difference between what should be told and what was."""
        match decided, session.told:
            case Missed() as missed, None:
                yield self._finding(key, session, missed.row, users, missed=missed)
            case NotMissed(row, why), Status.FIRING:
                yield self._finding(key, session, row, users, resolution=why)

    def _finding(
        self,
        key: str,
        session: Session,
        row: Message,
        users: tuple[UserId, ...],
        *,
        missed: Missed | None = None,
        resolution: str | None = None,
    ) -> Found:
        first = session.rows[0]
        return Found(
            key=key,
            episode=key,
            event_at=row.sent_at,
            conversation_id=first.conversation_id,
            watched_users=users,
            messages=(first,) if row is first else (first, row),
            facts=call_facts(
                session.call,
                first.type,
                row,
                users,
                outcome=missed.outcome if missed else resolution or "",
                rang=missed.rang if missed else None,
            ),
            found_at=session.found_at,
            resolution=resolution,
        )

    def _wait(self, session: Session, decided: Verdict, watch: WatchSet) -> Wait | None:
        if not isinstance(decided, Undecided) or decided.due is None:
            return None
        return Wait(decided.due, watched(session.rows[0].participants, watch))

    def _is_ours(self, session: Session, watch: WatchSet) -> bool:
        """Whether the rule concerns this call: by side, and by its conditions on the call as a whole."""
        caller, callee = session.call.caller.id.lower(), session.call.callee.id.lower()
        # Who is in a group is not known: its call comes to a watched user unless a watched user made it.
        is_called = caller not in watch if session.is_group else callee in watch
        by_side = {"callee": is_called, "caller": caller in watch, "any": is_called or caller in watch}
        return by_side[self._options.side] and self._meets_conditions(session, watch)

    def _meets_conditions(self, session: Session, watch: WatchSet) -> bool:
        if self._test is None:
            return True
        # The sender of a call row is whoever caused the change; `role` means the caller's.
        return self._test(msgspec.structs.replace(session.rows[0], sender=session.call.caller), watch)

    def _concerned(self, session: Session, watch: WatchSet) -> tuple[UserId, ...]:
        call = session.call
        callee = () if session.is_group else (call.callee.id.lower(),)
        sides = {"callee": callee, "caller": (call.caller.id.lower(),)}
        return watched(sides.get(self._options.side, (*callee, call.caller.id.lower())), watch)

    def describe(self) -> str:
        options = self._options
        whose = {"callee": "to a watched user", "caller": "by a watched user", "any": "of a watched user"}
        said_so = [
            f"cancelled after {said(options.min_ring)} or more of ringing"
            if status == "cancelled"
            else status
            for status in options.statuses
        ]
        when = f" with {self._condition.describe()}" if self._condition else ""
        return (
            f"calls {whose[options.side]}{when} that were {words_said(said_so)}, "
            f"or that had no end within {said(options.ring_timeout)}"
        )


def build(condition: Condition | None, options: Mapping[str, Any]) -> MissedCall:
    return MissedCall(condition, Options(**options))


def needs(condition: Condition | None) -> Needs:  # noqa: ARG001 - a call is a call
    return Needs(calls=True, direct=True)


def _sample() -> Facts:
    party = Party(id="superhero2", name="Captain America", role="default")
    call = Call(
        session_id="16469950973f7f6a1ea6d5166db11c929cdbde6a61902e10ba",
        status="unanswered",
        caller=party,
        callee=Party(id="superhero3", name="Spiderman"),
        initiated_at=SAMPLE_AT,
    )
    row = msgspec.structs.replace(SAMPLE, category="call", type="audio", action="unanswered", call=call)
    return call_facts(call, "audio", row, ("superhero3",), outcome="not answered", rang=timedelta(seconds=45))


KIND = Kind(
    description="Calls that were not answered, one alert per call; resolved if an answer appears later.",
    options={
        "statuses": Key(
            Many(each=Choice(words=ENDS)),
            "Which ends of a call count as missed. Default: unanswered, cancelled, busy. Add rejected for "
            "calls that the callee declined. Of group calls only unanswered can be seen.",
            "statuses: [unanswered, cancelled, busy, rejected]",
        ),
        "min_ring": Key(
            Duration(least=timedelta(0), most=timedelta(minutes=5)),
            "A call that its caller cancelled sooner is not counted. Default: 5s.",
            "min_ring: 5s",
        ),
        "ring_timeout": Key(
            Duration(least=timedelta(seconds=5), most=timedelta(hours=1)),
            "A ring without any end counts as missed after this time, once the message lists have been read "
            "past it. Default: 90s; apps give up at 45s.",
            "ring_timeout: 90s",
        ),
        "side": Key(
            Choice(words=("callee", "caller", "any")),
            "Whose call it must be: a watched user is called (callee, the default), calls (caller), or any.",
            "side: callee",
        ),
    },
    conditions=CALL_CONDITIONS,
    is_when_required=False,
    title="Missed {{ call.type }} call: {{ caller.label }} to {{ callee.label }}",
    summary="{{ call.outcome | capitalize }}{% if call.rang %} after {{ call.rang }}{% endif %}, "
    "{{ message.sent_at }}, in {{ message.conversation_id }}",
    sample=_sample(),
    build=build,
    needs=needs,
)
