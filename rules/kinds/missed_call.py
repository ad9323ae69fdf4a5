"""The kind `missed_call`: calls that were not answered, put together from the rows of one session.

Every change of a call is a row of its own; rows may come in any order, twice, and through two users. An
ending row (unanswered, cancelled, busy) is conclusive by itself; a ring without any end is judged when
the ring timeout has passed and we have seen far enough (a `Tick`). An answer that appears later resolves
the alert. Of group calls only `unanswered`, nobody joined, can be seen.

With the option `answered`, a call-back or a reply by the callee counts as an answer too. Then the calls of
one conversation are judged together with what was said in it; the alerts are the same, one per call.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from rules.conditions import ANYTHING, Condition, Interest, words_said
from rules.fields import carriers, key_of
from rules.grammar import Choice, Duration, Key, Many, Record, said
from rules.kinds.answers import (
    GRACE,
    ORDER,
    Aftermath,
    Reaction,
    aftermath,
    answer_to,
    in_words,
    is_much,
    reaction,
    recent,
    speaker,
)
from rules.kinds.base import Found, Kind, Needs, Ruling, Wait
from rules.kinds.match import SAMPLE, SAMPLE_AT
from rules.kinds.session import (
    ANSWERED,
    AT_ONCE,
    CALL_BACK,
    ENDS,
    IF_UNANSWERED,
    REPLY,
    Answered,
    Missed,
    NotMissed,
    Options,
    Session,
    Undecided,
    Verdict,
    status_of,
    verdict,
    with_row,
)
from rules.model import (
    Call,
    ListId,
    Message,
    Party,
    Status,
    Tick,
    UserId,
    Value,
    WatchSet,
    correlation_key,
    watched,
)
from rules.templates import Facts, call_facts
from rules.when import CALL_CONDITIONS

KEEP: Final = timedelta(days=2)  # a session is over long before; its rows may be read again until then
MAX_OPEN: Final = 1_000  # of one conversation that are not decided; as many as one page may begin
MAX_CALLS: Final = 50  # of one conversation; who calls more often is remembered for less long


class MissedCall:
    """Condition findings: an alert per session, resolved if an answer appears."""

    is_lasting = False  # the call is over; that an answer turns up late is a correction
    interest: Interest = Interest(categories=frozenset({"call"}))

    def __init__(self, condition: Condition | None, options: Options) -> None:
        self.options = options
        self._condition = condition
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

    def take(
        self,
        state: Session | None,
        key: str,  # noqa: ARG002 - the protocol's
        message: Message,
        *,
        now: datetime,  # noqa: ARG002 - the protocol's
    ) -> Session:
        return with_row(state, message)

    def judge(
        self, key: str, state: Session, *, tick: Tick | None, watch: WatchSet, now: datetime
    ) -> Ruling[Session]:
        return self.ruled(key, state, (), seen=tick.due if tick else None, watch=watch, now=now)

    def ruled(
        self,
        key: str,
        session: Session,
        said: Sequence[Reaction],
        *,
        seen: datetime | None,
        watch: WatchSet,
        now: datetime,
    ) -> Ruling[Session]:
        """What to make of one call when we have seen everything up to `seen`, and what was `said` since."""
        is_ours = self._is_ours(session, watch)
        if not is_ours and session.told is None and session.wait is None:
            return Ruling(state=None)
        decided = verdict(session, self.options)
        if seen and isinstance(decided, Undecided) and decided.due and seen >= decided.due:
            session = replace(session, rang_out=True)
            decided = verdict(session, self.options)
        after = self._aftermath(key, session, decided, said, seen)
        users = self._concerned(session, watch)
        found = tuple(self._news(key, session, decided, after, users)) if is_ours or session.told else ()
        if found:
            session = replace(session, told=found[-1].status, found_at=session.found_at or now)
        wait = self._wait(session, decided, after, watch) if is_ours else None
        return Ruling(
            state=replace(session, wait=wait),
            found=found,
            wait=wait,
            keep_until=None if wait else now + KEEP,
        )

    def answer(self, key: str, session: Session, said: Sequence[Reaction]) -> Reaction | None:
        """What was said to the call, if that counts."""
        answered = self.options.answered
        return answer_to(key, session, said, answered.by) if answered else None

    def _aftermath(
        self, key: str, session: Session, decided: Verdict, said: Sequence[Reaction], seen: datetime | None
    ) -> Aftermath | None:
        if not isinstance(decided, Missed):
            return None
        return aftermath(decided, self.answer(key, session, said), self.options, seen)

    def _news(
        self,
        key: str,
        session: Session,
        decided: Verdict,
        after: Aftermath | None,
        users: tuple[UserId, ...],
    ) -> Iterator[Found]:
        """The difference between what should be told and what was."""
        told = session.told
        if isinstance(decided, NotMissed) and told is Status.FIRING:
            yield self._finding(key, session, decided.row, users, resolution=decided.why)
        if not isinstance(decided, Missed) or after is None:
            return
        if told is None and after.is_raised:
            told = Status.FIRING
            yield self._finding(
                key, session, decided.row, users, missed=self._unheard(decided, after), at=after.event_at
            )
        if told is Status.FIRING and after.answer:
            why = in_words(session, decided, after.answer)
            yield self._finding(key, session, decided.row, users, resolution=why, at=after.answer.at)

    def _unheard(self, missed: Missed, after: Aftermath) -> Missed:
        """The missed call in words, with what was waited for in vain."""
        answered = self.options.answered
        if answered is None or after.event_at == missed.row.sent_at:
            return missed
        heard = " or ".join(word.replace("_", "-") for word in answered.by)
        return missed._replace(outcome=f"no {heard} within {said(answered.within)}: {missed.outcome}")

    def _finding(
        self,
        key: str,
        session: Session,
        row: Message,
        users: tuple[UserId, ...],
        *,
        missed: Missed | None = None,
        resolution: str | None = None,
        at: datetime | None = None,
    ) -> Found:
        first = session.rows[0]
        found_at = session.found_at
        return Found(
            key=key,
            episode=key,
            event_at=at or row.sent_at,
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
            found_at=found_at,
            resolution=resolution,
        )

    def _wait(
        self, session: Session, decided: Verdict, after: Aftermath | None, watch: WatchSet
    ) -> Wait | None:
        due = decided.due if isinstance(decided, Undecided) else None
        if after is not None and session.told is None:
            due = after.due
        return None if due is None else Wait(due, self._lists(session, watch))

    def _lists(self, session: Session, watch: WatchSet) -> tuple[ListId, ...]:
        """Where the missing row would stand."""
        lists, _ = carriers(("conversation",), (), session.rows, watch)
        return lists

    def _is_ours(self, session: Session, watch: WatchSet) -> bool:
        """Whether the rule concerns this call: by side, and by its conditions on the call as a whole."""
        caller, callee = session.call.caller.id.lower(), session.call.callee.id.lower()
        # Who is in a group is not known: its call comes to a watched user unless a watched user made it.
        is_called = caller not in watch if session.is_group else callee in watch
        by_side = {"callee": is_called, "caller": caller in watch, "any": is_called or caller in watch}
        return by_side[self.options.side] and self._meets_conditions(session, watch)

    def _meets_conditions(self, session: Session, watch: WatchSet) -> bool:
        if self._test is None:
            return True
        # The sender of a call row is whoever caused the change; `role` means the caller's.
        return self._test(replace(session.rows[0], sender=session.call.caller), watch)

    def _concerned(self, session: Session, watch: WatchSet) -> tuple[UserId, ...]:
        call = session.call
        callee = () if session.is_group else (call.callee.id.lower(),)
        sides = {"callee": callee, "caller": (call.caller.id.lower(),)}
        return watched(sides.get(self.options.side, (*callee, call.caller.id.lower())), watch)

    def describe(self) -> str:
        options = self.options
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
            f"or that had no end within {said(options.ring_timeout)}{_answers_said(options)}"
        )


def _answers_said(options: Options) -> str:
    if options.answered is None:
        return ""
    heard = words_said([word.replace("_", "-") for word in options.answered.by])
    within = said(options.answered.within)
    if options.answered.when == AT_ONCE:
        return f"; over with a {heard} by the callee within {within}"
    return f"; told if there was no {heard} by the callee within {within}"


class Kept(Value, frozen=True, kw_only=True):
    """One call of a conversation, and when a row last told something new of it."""

    session: Session
    taken: datetime


class Pair(Value, frozen=True, kw_only=True):
    """The calls of one conversation, and what was said in it."""

    calls: Mapping[str, Kept] = {}  #: by session key, the one that began first first
    said: tuple[Reaction, ...] = ()  #: in event order
    people: tuple[UserId, ...] = ()  #: its two people; of a group nobody
    seen: datetime | None = None  #: nothing else was said up to here


class AnsweredCall:
    """Missed calls, where a call-back or a reply counts as an answer: all of one conversation together."""

    is_lasting = True

    def __init__(self, calls: MissedCall, answered: Answered) -> None:
        self._calls = calls
        self._hears_replies = REPLY in answered.by
        self.interest = ANYTHING if self._hears_replies else calls.interest
        self.conditions = calls.conditions

    def keys(self, message: Message) -> tuple[str, ...]:
        if message.call is None and not self._hears_replies:
            return ()
        if not self._calls.keys(message) and speaker(message) is None:
            return ()
        return (key_of((message.conversation_id,)),)

    def decode(self, value: bytes) -> Pair:
        return msgspec.json.decode(value, type=Pair)

    def encode(self, state: Pair) -> bytes:
        return msgspec.json.encode(state)

    def take(
        self,
        state: Pair | None,
        key: str,  # noqa: ARG002 - the protocol's
        message: Message,
        *,
        now: datetime,
    ) -> Pair:
        people = message.participants if message.receiver_type != "group" else ()
        before = state or Pair(people=tuple(sorted(people)))
        return self._heard(self._called(before, message, now), message, now)

    def _called(self, pair: Pair, message: Message, now: datetime) -> Pair:
        for key in self._calls.keys(message):
            known = pair.calls.get(key)
            session = with_row(known.session if known else None, message)
            if known is None or session != known.session:
                calls = {**pair.calls, key: Kept(session=session, taken=now)}
                return replace(pair, calls=_recent_calls(calls, now))
        return pair

    def _heard(self, pair: Pair, message: Message, now: datetime) -> Pair:
        heard = reaction(message, now)
        if heard is None:
            return pair
        place = bisect_left(pair.said, heard.order, key=ORDER)
        if place < len(pair.said) and pair.said[place].id == heard.id:
            return pair
        said = (*pair.said[:place], heard, *pair.said[place:])
        if not is_much(said, now) and not any(_is_over(call, now) for call in pair.calls.values()):
            return replace(pair, said=said)
        calls = _recent_calls(pair.calls, now)
        answers = (self._calls.answer(key, call.session, said) for key, call in calls.items())
        needed = frozenset(answer.id for answer in answers if answer)
        return replace(pair, calls=calls, said=recent(said, now, needed))

    def judge(
        self,
        key: str,  # noqa: ARG002 - the protocol's
        state: Pair,
        *,
        tick: Tick | None,
        watch: WatchSet,
        now: datetime,
    ) -> Ruling[Pair]:
        seen = max((at for at in (state.seen, tick.due if tick else None) if at), default=None)
        rulings = {
            name: self._calls.ruled(name, call.session, state.said, seen=seen, watch=watch, now=now)
            for name, call in state.calls.items()
        }
        calls = {
            name: replace(state.calls[name], session=ruling.state)
            for name, ruling in rulings.items()
            if ruling.state is not None
        }
        waits = [ruling.wait for ruling in rulings.values() if ruling.wait]
        wait = min(waits, default=None)
        is_ours = not state.people or any(uid in watch for uid in state.people)
        return Ruling(
            state=replace(state, calls=calls, seen=seen) if calls or is_ours else None,
            found=tuple(found for ruling in rulings.values() for found in ruling.found),
            wait=wait,
            keep_until=None if wait else now + (KEEP if calls else GRACE),
        )

    def describe(self) -> str:
        return self._calls.describe()


def _recent_calls(calls: Mapping[str, Kept], now: datetime) -> dict[str, Kept]:
    """Those that are not over for long, ordered by their first rows."""
    kept = [(name, call) for name, call in calls.items() if not _is_over(call, now)]
    # What is not decided is still to be told: of too many calls those go that are.
    newest = sorted(kept, key=lambda entry: (_is_open(entry[1], now), entry[1].taken))
    most = min(MAX_OPEN, max(MAX_CALLS, sum(_is_open(call, now) for _, call in kept)))
    return dict(sorted(newest[-most:], key=lambda entry: entry[1].session.rows[0].id))


def _is_over(call: Kept, now: datetime) -> bool:
    return call.session.wait is None and call.taken <= now - KEEP


def _is_open(call: Kept, now: datetime) -> bool:
    """Whether it waits, or is new and was not judged yet."""
    return call.session.wait is not None or call.taken == now


def build(condition: Condition | None, options: Mapping[str, Any]) -> MissedCall | AnsweredCall:
    read = dict(options)
    answered = _answered(read.pop("answered", None))
    calls = MissedCall(condition, Options(**read, answered=answered))
    return AnsweredCall(calls, answered) if answered else calls


def _answered(read: Mapping[str, Any] | None) -> Answered | None:
    if read is None:
        return None
    return Answered(**{{"raise": "when"}.get(name, name): value for name, value in read.items()})


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
    row = replace(SAMPLE, category="call", type="audio", action="unanswered", call=call)
    return call_facts(call, "audio", row, ("superhero3",), outcome="not answered", rang=timedelta(seconds=45))


ANSWERS: Final = Record(
    name="a mapping",
    keys={
        "by": Key(
            Many(each=Choice(words=(CALL_BACK, REPLY))),
            "call_back: the callee calls, or takes a later call; reply: the callee writes in the same "
            "conversation. In a group: anybody but the caller. Default: both.",
            "by: [call_back, reply]",
        ),
        "within": Key(
            Duration(least=timedelta(seconds=10), most=timedelta(days=1)),
            "How soon after the missed call. Default: 15m.",
            "within: 15m",
        ),
        "raise": Key(
            Choice(words=(AT_ONCE, IF_UNANSWERED)),
            "at_once (the default): the alert is raised at first sight, and resolved by an answer in time. "
            "if_unanswered: it is raised when there was no answer in time, and resolved by a later one.",
            "raise: if_unanswered",
        ),
    },
)

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
        "answered": Key(
            ANSWERS,
            "What else answers a call: a call-back or a reply by the callee. Default: picking up alone does.",
            "answered: {within: 15m, raise: if_unanswered}",
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
