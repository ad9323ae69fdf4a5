"""What a rule remembers under a key, in words, and what became another; nothing of what people wrote. Pure.

A state tells by the parts of its JSON what sort of rule it is of; the rule itself may be gone. What is
recorded beside an alert may end anywhere: then what is there is told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from rules.kinds.episodes import Story, moment_of
from rules.kinds.missed_call import Pair
from rules.kinds.new_value import Known
from rules.kinds.session import Session, status_of
from rules.model import Status

Memory = Story | Known | Session | Pair

FORGOTTEN: Final = "it is forgotten"
TOO_LARGE: Final = "it is too large to be recorded whole: --state shows how it begins"
STRANGE: Final = "it has a form that is not known here: --state shows it"
MORE: Final = "there is more, too large to be recorded"


def in_words(state: str) -> tuple[str, ...]:
    """What is remembered, in lines; `state` is JSON, and may have been cut."""
    return change_in_words(state, state)


def change_in_words(before: str | None, after: str | None) -> tuple[str, ...]:
    """What is remembered after something, in lines, with what it was before where that was another."""
    if after is None:
        return (FORGOTTEN,)
    read = _read(after)
    facts = _facts(read) if read else {}
    if not facts:
        return (STRANGE if _is_json(after) else TOO_LARGE,)
    was = _briefs(before)
    lines = ["; ".join(fact.since(was.get(name, fact.brief)) for name, fact in facts.items())]
    seen = _seen(read.memory) if read else None
    return (*lines, *([seen] if seen else ()), *([MORE] if read and read.whole is not None else ()))


# --- read -------------------------------------------------------------------------------------------------


class Read(NamedTuple):
    """A state, as far as it is there."""

    memory: Memory
    whole: frozenset[str] | None  #: the parts that are there to their end; None: it was not cut

    def has(self, part: str) -> bool:
        return self.whole is None or part in self.whole


# The first of these parts that a state has.
FORMS: Final[Mapping[str, type[Memory]]] = {
    "runs": Known, "values": Story, "rows": Session, "calls": Pair, "said": Pair, "people": Pair,
}  # fmt: skip


def _read(state: str) -> Read | None:
    """None: nothing of it can be read."""
    text, whole = (state, None) if _is_json(state) else _mended(state)
    try:
        parts = json.loads(text)
        form = next((FORMS[part] for part in FORMS if part in parts), None)
        return Read(msgspec.json.decode(text, type=form), whole) if form else None
    except (ValueError, TypeError):  # msgspec's errors are, too; a number has no parts
        return None


def _is_json(state: str) -> bool:
    try:
        json.loads(state)
    except ValueError:
        return False
    return True


_SIGNS: Final = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{},]', re.DOTALL)
_CLOSING: Final = {"[": "]", "{": "}"}


def _mended(state: str) -> tuple[str, frozenset[str]]:
    """JSON that was cut, closed after the last part or element of one that is there, and its whole parts."""
    closing, mended, part, whole = "", "", "", set[str]()
    for sign in _SIGNS.finditer(state):
        read = sign[0]
        if read in _CLOSING:
            closing = _CLOSING[read] + closing
        elif read in _CLOSING.values():
            closing = closing[1:]
        elif read != ",":
            part = read[1:-1] if len(closing) == 1 and state.startswith(":", sign.end()) else part
        elif len(closing) in (1, 2):
            mended = state[: sign.start()] + closing
            whole |= {part} if len(closing) == 1 else set()
    return mended, frozenset(whole)


# --- told -------------------------------------------------------------------------------------------------


class Fact(NamedTuple):
    """Something that a state tells."""

    head: str
    brief: str  #: it, beside what it became
    tail: str = ""

    def since(self, was: str) -> str:
        return self.head + (f" (before: {was})" if was != self.brief else "") + self.tail


NOTHING: Final[Mapping[str, str]] = {"memory": "0", "call": "not known", "alerts": "none"}


def _briefs(state: str | None) -> Mapping[str, str]:
    if state is None:
        return NOTHING
    read = _read(state)
    return {name: fact.brief for name, fact in _facts(read).items()} if read else {}


def _facts(read: Read) -> Mapping[str, Fact]:
    """What can be told of a state, by names that are the same before and after."""
    match read.memory:
        case Story() as story:
            return dict(_of_story(story, read))
        case Known() as known:
            return dict(_of_values(known, read))
        case Session() as session:
            return dict(_of_call(session, read))
        case Pair() as pair:
            return dict(_of_pair(pair, read))


def _of_story(story: Story, read: Read) -> Iterator[tuple[str, Fact]]:
    times = {row.id: moment_of(row.at) for row in story.rows}  # a message may make several rows
    if times:
        sent = _from_to([*times.values()][: None if read.has("rows") else 1])
        yield "memory", _counted(len(times), "message", sent, is_all=read.has("rows"))
        if read.has("told"):
            yield "alerts", _alerts(len(story.told), sum(1 for _ in story.open))


def _of_values(known: Known, read: Read) -> Iterator[tuple[str, Fact]]:
    if known.runs:
        since = f", since {_time(moment_of(known.began))}" if known.began is not None else ""
        yield "memory", _counted(len(known.runs), "value", since, is_all=read.has("runs"))
        if read.has("runs"):
            yield "alerts", _alerts(sum(run.is_told for runs in known.runs.values() for run in runs), None)


def _of_call(session: Session, read: Read) -> Iterator[tuple[str, Fact]]:
    if session.rows:
        statuses = _statuses(session)
        yield "call", Fact(f"the call was {statuses}", statuses, _rang(session))
        if session.told or read.whole is None:
            yield "alerts", _told([session])


def _of_pair(pair: Pair, read: Read) -> Iterator[tuple[str, Fact]]:
    sessions = [call.session for call in pair.calls.values()]
    if sessions or read.whole is None:
        last = [f", the last was {_statuses(one)}{_rang(one)}" for one in sessions[-1:] if one.rows]
        tail = last[0] if last and read.has("calls") else ""
        yield "memory", _counted(len(sessions), "call", tail, is_all=read.has("calls"))
    if read.has("calls"):
        yield "alerts", _told(sessions)


def _seen(memory: Memory) -> str | None:
    """Up to when all is known."""
    match memory:
        case Story(seen=seen) if seen:
            return f"all up to {_time(moment_of(seen))} was seen"
        case Pair(seen=datetime() as at):
            return f"all up to {_time(at)} was seen"
        case Session(rang_out=True):
            return "all was seen until nobody could pick up any more"
        case _:
            return None


def _counted(number: int, what: str, tail: str, *, is_all: bool) -> Fact:
    brief = str(number) if is_all else f"at least {number}"
    return Fact(f"remembers {brief} {what}{'' if number == 1 else 's'}", brief, tail)


def _alerts(told: int, still_open: int | None) -> Fact:
    """`still_open` None: those of this kind are never over."""
    if not told:
        return Fact("no alert told", "none")
    stands = "" if still_open is None else f", {still_open or 'none'} open"
    return Fact(f"{told} alert{'' if told == 1 else 's'} told{stands}", f"{told}{stands}")


def _told(sessions: Iterable[Session]) -> Fact:
    told = [session.told for session in sessions if session.told]
    return _alerts(len(told), told.count(Status.FIRING))


def _statuses(session: Session) -> str:
    return ", ".join(status_of(row) for row in session.rows if row.call)


def _rang(session: Session) -> str:
    return f", ringing since {_time(session.started_at)}" if session.started_at else ""


def _from_to(times: Sequence[datetime]) -> str:
    """When messages were sent, in order; of the last one only the time of day, if the day is the same."""
    first, last = _time(times[0]), _time(times[-1])
    to = last[11:] if last[:10] == first[:10] else last
    return f", the first sent at {first}" + (f", the last at {to}" if times[1:] else "")


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
