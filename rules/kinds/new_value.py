"""The kind `new_value`: a value of a field that was never seen before, or not for a long time.

What is known of a value are its runs: times from a first message to a last one in which it was never absent
for longer than it is remembered. The runs are the same whatever order the messages came in.

Absence is measured in hundredths of the time for which a value is remembered: a value that is seen all the
time changes the state a hundred times in that time, not with each message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from heapq import nsmallest
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from rules.conditions import Condition
from rules.fields import BY, MAX_KEYS, FieldName, field, reader
from rules.grammar import Duration, Key, said
from rules.kinds import match
from rules.kinds.any_value import value_facts
from rules.kinds.base import Found, Kind, Ruling, evidence
from rules.kinds.episodes import GRACE, Filter, concerns, key_facts, length, micros, moment_of
from rules.model import Message, Tick, UserId, Value, WatchSet, watched
from rules.templates import Facts, message_facts
from rules.when import MESSAGE_CONDITIONS

LEARN: Final = timedelta(days=1)
FORGET: Final = timedelta(days=30)
PARTS: Final = 100  # of the time for which a value is remembered
MAX_VALUES: Final = 5_000  # of one key
MAX_KEPT: Final = 20  # messages kept for alerts that late ones may still raise


class Options(Value, frozen=True, kw_only=True):
    field: str
    by: tuple[str, ...] = ()
    learn: timedelta = LEARN
    forget: timedelta = FORGET


class Run(NamedTuple):
    """A time in which a value was known."""

    first: int
    id: int  #: of the first message
    last: int  #: the part of time in which the last message lies
    taken: int  #: when a message last changed it, by our clock
    is_told: bool = False


class Shown(NamedTuple):
    """The first message of a run, for the alert to show."""

    value: str
    id: int
    raw: msgspec.Raw


class Known(Value, frozen=True, kw_only=True):
    """The values of one key."""

    values: tuple[str, ...]  #: of the fields that make the key
    began: int | None = None  #: the time of the earliest message
    runs: Mapping[str, tuple[Run, ...]] = {}  #: by value
    newest: int = -1  #: the part of time in which the newest message lies
    kept: tuple[Shown, ...] = ()  #: messages with values that may still turn out to be new
    floor: int = -1  #: no value that was forgotten was seen after this part of time
    fresh: tuple[Message, ...] = ()  #: taken in this step, and not yet looked at; stored by no state


class New(NamedTuple):
    value: str
    run: Run


ENCODER: Final = msgspec.json.Encoder()
DECODER: Final = msgspec.json.Decoder(Known)
MESSAGE: Final = msgspec.json.Decoder(Message)


class NewValue:
    """Event findings: one for the first message of each run, when the time of learning is over."""

    is_lasting = False

    def __init__(self, condition: Condition | None, options: Options) -> None:
        self._condition, self._options = condition, options
        self._filter = Filter(condition)
        self._read, self._field = reader(options.by), field(options.field)
        self._learn, self._part = length(options.learn), max(1, length(options.forget) // PARTS)
        self.interest = self._filter.interest
        self.conditions: Mapping[str, Condition] = {"when": condition} if condition else {}

    def keys(self, message: Message) -> Sequence[str]:
        if not self._field(message) or not self._filter.alone(message, {}):
            return ()
        return [one.key for one in self._read(message)]

    def decode(self, value: bytes) -> Known:
        return DECODER.decode(value)

    def encode(self, state: Known) -> bytes:
        return ENCODER.encode(state)

    def take(self, state: Known | None, key: str, message: Message, *, now: datetime) -> Known:  # noqa: ARG002 - the protocol's
        """As of `Correlating`. Who is watched is known when it is judged: the message is looked at then."""
        if state is None:
            values = next(one.values for one in self._read(message) if one.key == key)
            return Known(values=values, fresh=(message,))
        return replace(state, fresh=(*state.fresh, message))

    def judge(
        self,
        key: str,
        state: Known,
        *,
        tick: Tick | None,  # noqa: ARG002 - no time brings news
        watch: WatchSet,
        now: datetime,
    ) -> Ruling[Known]:
        messages = [message for message in state.fresh if self._counts(message, state, watch)]
        known = self._with(replace(state, fresh=()), messages, micros(now))
        if not known.runs:
            return Ruling(state=None)
        found: tuple[Found, ...] = ()
        if known.runs is not state.runs:
            changed = known.runs if known.began != state.began else self._values_of(messages)
            news = list(self._news(known, changed))
            found = tuple(self._found(key, known, new, messages, watch) for new in news)
            known = self._retained(_told(known, news), messages, micros(now))
        return Ruling(state=known, found=found, keep_until=self._keep_until(known, now))

    def _counts(self, message: Message, state: Known, watch: WatchSet) -> bool:
        named = zip(self._options.by, state.values, strict=True)
        is_ours = all(value in watch for name, value in named if name == "watched")
        return is_ours and concerns(message, watch) and self._filter.rest(message, watch)

    # --- what is known -------------------------------------------------------------------------------

    def _with(self, known: Known, messages: Sequence[Message], now: int) -> Known:
        """What is known with the values of some messages; the same `runs` if they tell nothing new."""
        runs = dict(known.runs)
        began, is_new = known.began, False
        for message in messages:
            at = micros(message.sent_at)
            if at // self._part <= known.floor:
                continue  # what its values were then is forgotten
            for value in self._field(message)[:MAX_KEYS]:
                before = runs.get(value, ())
                runs[value] = self._joined(before, Run(at, int(message.id), at // self._part, now))
                is_new = is_new or runs[value] is not before
            is_new = is_new or began is None or at < began
            began = at if began is None else min(began, at)
        return replace(known, runs=runs, began=began) if is_new else known

    def _joined(self, runs: tuple[Run, ...], new: Run) -> tuple[Run, ...]:
        """The runs of a value with one of a single message, which may join two of them."""
        near = [run for run in runs if run.first // self._part - PARTS <= new.last <= run.last + PARTS]
        first, id_ = min((run.first, run.id) for run in (*near, new))
        one = Run(
            first,
            id_,
            max(run.last for run in (*near, new)),
            new.taken,
            is_told=any(run.is_told for run in near),
        )
        if len(near) == 1 and one._replace(taken=near[0].taken) == near[0]:
            return runs
        return tuple(sorted([*(run for run in runs if run not in near), one]))

    def _values_of(self, messages: Sequence[Message]) -> Sequence[str]:
        return tuple(dict.fromkeys(value for message in messages for value in self._field(message)))

    def _news(self, known: Known, changed: Iterable[str]) -> Iterator[New]:
        assert known.began is not None
        learned = known.began + self._learn
        for value in changed:
            for run in known.runs.get(value, ()):
                if not run.is_told and run.first >= learned:
                    yield New(value, run)

    def _retained(self, known: Known, messages: Sequence[Message], now: int) -> Known:
        """Without the values that no message can join any more, and of too many without the oldest."""
        kept = self._kept(known, messages, now)
        newest = max(known.newest, *(micros(message.sent_at) // self._part for message in messages))
        over = len(known.runs) - MAX_VALUES
        if newest == known.newest and over <= 0:
            return replace(known, kept=kept)
        edge = newest - PARTS - GRACE // self._part - 1
        gone = [
            New(value, run)
            for value, runs in known.runs.items()
            for run in runs
            if run.last < edge and run.taken + GRACE < now
        ]
        oldest = nsmallest(over, known.runs, key=lambda value: (known.runs[value][-1].last, value))
        gone += [New(value, run) for value in oldest for run in known.runs[value]]
        return replace(
            known,
            runs=_without(known.runs, gone),
            kept=kept,
            newest=newest,
            floor=max([known.floor, *(new.run.last for new in gone if new.run.last < edge)]),
        )

    def _kept(self, known: Known, messages: Sequence[Message], now: int) -> tuple[Shown, ...]:
        """The messages that alerts would show if learning turned out to have begun earlier."""
        new = [
            Shown(value, int(message.id), msgspec.Raw(ENCODER.encode(evidence(message))))
            for message in messages
            for value in self._field(message)
            if _may_be_new(known, value, int(message.id), now)
        ]
        old = [one for one in known.kept if _may_be_new(known, one.value, one.id, now) and one not in new]
        return (*old, *new)[-MAX_KEPT:]

    def _keep_until(self, known: Known, now: datetime) -> datetime:
        until = (known.newest + PARTS + 1) * self._part + GRACE
        return moment_of(max(until, micros(now) + GRACE))

    # --- what is told --------------------------------------------------------------------------------

    def _found(self, key: str, known: Known, new: New, messages: Sequence[Message], watch: WatchSet) -> Found:
        row = evidence(_shown(new.run, known, messages))
        users = self._users(known, row, watch)
        return Found(
            key=key,
            episode=f"{new.run.id}-{new.value}",
            event_at=moment_of(new.run.first),
            conversation_id=row.conversation_id,
            watched_users=users,
            messages=(row,),
            facts={
                **message_facts(row, users),
                **key_facts(self._options.by, known.values),
                **value_facts(self._options.field, (new.value,)),
            },
        )

    def _users(self, known: Known, message: Message, watch: WatchSet) -> tuple[UserId, ...]:
        named = [
            value
            for name, value in zip(self._options.by, known.values, strict=True)
            if name in ("watched", "mentioned")
        ]
        return (
            watched(named, watch) or watched(message.participants, watch) or watched(message.mentions, watch)
        )

    def describe(self) -> str:
        options = self._options
        with_ = f" with {self._condition.describe()}" if self._condition else ""
        each = f" of each {' and '.join(options.by)}" if options.by else ""
        return (
            f"messages{with_} whose {options.field} was not seen{each} in the {said(options.forget)} before, "
            f"after {said(options.learn)} of learning"
        )


def _told(known: Known, news: Sequence[New]) -> Known:
    runs = dict(known.runs)
    for value, run in news:
        runs[value] = tuple(one._replace(is_told=True) if one == run else one for one in runs[value])
    return replace(known, runs=runs)


def _may_be_new(known: Known, value: str, id_: int, now: int) -> bool:
    return any(
        run.id == id_ and not run.is_told and run.taken + GRACE >= now for run in known.runs.get(value, ())
    )


def _without(runs: Mapping[str, tuple[Run, ...]], gone: Sequence[New]) -> Mapping[str, tuple[Run, ...]]:
    left = dict(runs)
    for value, run in gone:
        left[value] = tuple(one for one in left[value] if one != run)
        if not left[value]:
            del left[value]
    return left


def _shown(run: Run, known: Known, messages: Sequence[Message]) -> Message:
    """The first message of a run. Of many that may be new all at once only some are kept: else the newest."""
    for message in messages:
        if message.id == run.id:
            return message
    kept = next((one for one in known.kept if one.id == run.id), None)
    return MESSAGE.decode(kept.raw) if kept else messages[-1]


def build(condition: Condition | None, options: Mapping[str, Any]) -> NewValue:
    return NewValue(condition, Options(**options))


SAMPLE: Final[Facts] = {
    **match.KIND.sample,
    **key_facts(("conversation",), ("group_hiking",)),
    **value_facts("sender", ("superhero2",)),
}

KIND = Kind(
    description="A value that was never seen before raises one alert, which never resolves.",
    options={
        "field": Key(
            FieldName(), "Which field to look at. Messages without it do not count.", "field: sender"
        ),
        "by": BY._replace(description=f"{BY.description} Default: []."),
        "learn": Key(
            Duration(least=timedelta(0), most=timedelta(days=90)),
            "For how long after the first message of a key all values are taken as known. Default: 1d.",
            "learn: 7d",
        ),
        "forget": Key(
            Duration(least=timedelta(hours=1), most=timedelta(days=365)),
            "A value that was not seen for so long (to a hundredth) is new again; so is a key. At most "
            f"{MAX_VALUES} values of a key are remembered. Default: 30d.",
            "forget: 90d",
        ),
    },
    required=("field",),
    conditions=MESSAGE_CONDITIONS,
    is_when_required=False,
    title="{{ rule.name }}: new {{ field }} {{ value }}{% if key %} ({{ key }}){% endif %}",
    summary="{{ message.type }} from {{ sender.label }} in {{ message.conversation_id }}, "
    "{{ message.sent_at }}",
    sample=SAMPLE,
    build=build,
    needs=match.needs,
)
