"""What each rule makes of one message, and why; and whether the message was read at all. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from msgspec.structs import replace

from monitor.evaluation import Orders
from monitor.explain.states import in_words
from monitor.explain.story import shown_state
from monitor.lists import APP, concerns, group_list
from monitor.store.values import Closure, Entry, Reject, UserRow
from rules.engine import Rule, RuleSet, step, wanted
from rules.kinds.base import Correlating
from rules.model import Alert, AlertId, ListId, Message, State, StateKey, Timer, Value
from rules.tracing import Traced, trace


class Answer(StrEnum):
    """What a rule made of a message."""

    RAISED = "raised"  #: an alert carries it, or was made of it
    COUNTED = "counted"  #: the rule remembers it, or did; nothing was raised
    MATCHES = "matches"  #: as it is written now, but no alert is stored
    NO = "no"
    FAILED = "failed"


class MessageRecord(Value, frozen=True, kw_only=True):
    """All that the store has to do with one message. Without a store it is empty."""

    alerts: tuple[Alert, ...] = ()  #: that carry it or were made of it
    entries: Mapping[AlertId, tuple[Entry, ...]] = {}
    states: Mapping[StateKey, State] = {}
    timers: Mapping[StateKey, Timer] = {}
    by_key: Mapping[StateKey, tuple[Alert, ...]] = {}
    closures: tuple[Closure, ...] = ()
    rows: Mapping[ListId, UserRow] = {}  #: the lists that could carry it
    rejects: tuple[Reject, ...] = ()


class Remembered(Value, frozen=True, kw_only=True, omit_defaults=False):
    """What a rule remembers under one key that the message has to do with."""

    key: str
    words: tuple[str, ...] = ()  #: it, for people
    state: str | None = None  #: now, as JSON
    due: datetime | None = None  #: when it is judged again if nothing comes
    waits_for: tuple[
        ListId, ...
    ] = ()  #: one of these lists must be read past `due`; () with `due`: every list
    closed: tuple[str, ...] = ()  #: how earlier states ended without concluding
    alerts: tuple[AlertId, ...] = ()


class Looked(Value, frozen=True, kw_only=True, omit_defaults=False):
    """What one rule makes of the message."""

    rule: str
    kind: str
    answer: Answer
    why: str
    traces: Mapping[str, Traced] = {}  #: each of its conditions, by the key it stands under
    remembered: tuple[Remembered, ...] = ()
    alerts: tuple[AlertId, ...] = ()

    @property
    def is_concerned(self) -> bool:
        """Whether the rule took the message, or its conditions hold: then there is more to tell of it."""
        holds = bool(self.traces) and all(traced.value for traced in self.traces.values())
        return self.answer is not Answer.NO or holds


class Reached(Value, frozen=True, kw_only=True, omit_defaults=False):
    """Whether one list brought the message."""

    list: ListId
    was_read: bool
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One message, and what is known of it."""

    orders: Orders
    message: Message
    record: MessageRecord
    now: datetime
    shows_text: bool = False

    def looked(self, only: str | None = None) -> tuple[Looked, ...]:
        """What every rule (or `only` one) makes of the message."""
        return tuple(_looked(self, rule) for rule in self.orders.rules.rules if only in (None, rule.name))


def conditions_of(rule: Rule, message: Message, orders: Orders, *, shows_text: bool) -> dict[str, Traced]:
    """Each condition of a rule, with what its parts say of the message."""
    asked = as_asked(rule, message)
    return {
        name: _shown(trace(condition, asked, orders.watch), shows_text=shows_text)
        for name, condition in rule.logic.conditions.items()
    }


def as_asked(rule: Rule, message: Message) -> Message:
    """The message as the rule asks its conditions: one of a whole call takes the caller for the sender."""
    whole_call = rule.kind == "missed_call" and message.call is not None
    return replace(message, sender=message.call.caller) if whole_call and message.call else message


def _shown(traced: Traced, *, shows_text: bool) -> Traced:
    if shows_text:
        return traced
    parts = tuple(_shown(part, shows_text=False) for part in traced.parts)
    return replace(traced, quoted=None, parts=parts)


def keys_of(rules: RuleSet, message: Message) -> frozenset[StateKey]:
    """Every state that the message has to do with."""
    return wanted(rules, [message])


def _looked(case: Case, rule: Rule) -> Looked:
    traces = conditions_of(rule, case.message, case.orders, shows_text=case.shows_text)
    keys = sorted(keys_of(_alone(case, rule), case.message))
    answer, why = _answer(case, rule, traces, keys)
    return Looked(
        rule=rule.name,
        kind=rule.kind,
        answer=answer,
        why=why,
        traces=traces,
        remembered=tuple(_remembered(key, case.record, shows_text=case.shows_text) for key in keys),
        alerts=tuple(alert.id for alert in case.record.alerts if alert.rule == rule.name),
    )


def _alone(case: Case, rule: Rule) -> RuleSet:
    return RuleSet(app=case.orders.rules.app, rules=[rule])


def _answer(
    case: Case, rule: Rule, traces: Mapping[str, Traced], keys: Sequence[StateKey]
) -> tuple[Answer, str]:
    # 1. it was raised  2. the rule fails  3. it is remembered  4. it would be raised today  5. no
    record = case.record
    raised = [alert for alert in record.alerts if alert.rule == rule.name]
    if raised:
        return Answer.RAISED, "; ".join(_fate(alert, record.entries.get(alert.id, ())) for alert in raised)
    outcome = step(_alone(case, rule), case.orders.watch, record.states, [case.message], now=case.now)
    if outcome.faults:
        return Answer.FAILED, f"the rule fails on this message: {outcome.faults[0].error}"
    if keys:
        return Answer.COUNTED, _counted(keys, record)
    if outcome.alerts:
        return Answer.MATCHES, f"it matches as it is written now, but no alert is stored: {MISSING}"
    return Answer.NO, _why_not(case, rule, traces)


MISSING = (
    "the message was not read yet, was sent before the watch began, or the rule, the watched users or the "
    "message changed since; or the alert is so old that it was removed"
)


def _fate(alert: Alert, entries: Iterable[Entry]) -> str:
    """What became of an alert, in a few words."""
    ways = [
        f"{entry.receiver or 'nobody'} {entry.state}" + (f" ({entry.reason})" if entry.reason else "")
        for entry in entries
        if entry.alert.status is alert.status
    ]
    return f"alert {alert.id}, {alert.status}: {', '.join(ways) or 'no entry'}"


def _counted(keys: Sequence[StateKey], record: MessageRecord) -> str:
    alerts = [alert for key in keys for alert in record.by_key.get(key, ())]
    if alerts:
        told = ", ".join(dict.fromkeys(f"{alert.id} ({alert.status})" for alert in alerts))
        return f"it counts; alerts of the same key: {told}"
    due = [record.timers[key].due for key in keys if key in record.timers]
    if due:
        return f"it counts; nothing is decided before {_time(min(due))}"
    if any(key in record.states for key in keys):
        return "it counts, and what is known of its key so far raises nothing"
    return "it would count, but nothing is remembered of its key: not read yet, or forgotten since"


def _why_not(case: Case, rule: Rule, traces: Mapping[str, Traced]) -> str:
    missed = [why for traced in traces.values() if traced.value is False for why in whys(traced)]
    if missed:
        return missed[0] + (f"; and {len(missed) - 1} more" if missed[1:] else "")
    if isinstance(rule.logic, Correlating):
        return f"a row of this sort has no part in what it looks at: {rule.logic.describe()}"
    if not rule.logic.test(case.message, case.orders.watch):
        return f"its conditions hold, but it is not what the rule looks for: {rule.logic.describe()}"
    return "its conditions hold, but nobody whom it concerns is watched"


def whys(traced: Traced) -> Iterator[str]:
    """The parts that made a condition false, in words."""
    if not traced.parts:
        found = f", found {traced.found}" if traced.found else ""
        yield f"not so: {traced.said}{found}"
        return
    if traced.said == "not":
        yield f"it is so, and must not be: {in_brief(traced.parts[0])}"
        return
    for part in traced.parts:
        if part.value is False:
            yield from whys(part)


def in_brief(traced: Traced) -> str:
    """A condition in one line."""
    if not traced.parts:
        return traced.said
    return f"{traced.said} ({'; '.join(map(in_brief, traced.parts))})"


def _remembered(key: StateKey, record: MessageRecord, *, shows_text: bool) -> Remembered:
    stored, timer = record.states.get(key), record.timers.get(key)
    state = stored.value.decode("utf-8", "replace") if stored else None
    return Remembered(
        key=key.key,
        words=in_words(state) if state else (),
        state=shown_state(state, shows_text=shows_text),
        due=timer.due if timer else None,
        waits_for=timer.lists if timer else (),
        closed=tuple(f"{_time(one.at)}: {one.reason}" for one in record.closures if one.key == key),
        alerts=tuple(alert.id for alert in record.by_key.get(key, ())),
    )


# --- was it read? -----------------------------------------------------------------------------------------


def lists_with(orders: Orders, message: Message) -> tuple[ListId, ...]:
    """The lists that could bring the message: one for all, its group's, those of the watched people in it."""
    if orders.is_app_wide:
        return (APP,)
    group = (message.receiver.id,) if message.receiver_type == "group" else ()
    people = [uid for uid in (*message.participants, *message.mentions) if uid in orders.watch]
    groups = [group_list(guid) for guid in group if guid in orders.groups]
    return tuple(dict.fromkeys(map(ListId, (*people, *groups))))


def reached(orders: Orders, message: Message, record: MessageRecord) -> tuple[Reached, ...]:
    """Of each list that could bring the message, whether it did."""
    return tuple(
        _reached(list_id, message, record.rows.get(list_id)) for list_id in lists_with(orders, message)
    )


def _reached(list_id: ListId, message: Message, row: UserRow | None) -> Reached:
    if row is None:
        return Reached(list=list_id, was_read=False, what="nothing of it was ever read")
    if message.sent_at < row.start_at:
        since = f"sent before it was watched, since {_time(row.start_at)}: not evaluated"
        return Reached(list=list_id, was_read=False, what=since)
    cursor = row.cursor
    if any(seen.id == message.id for seen in cursor.above):  # the cursor still waits for stragglers before it
        return Reached(list=list_id, was_read=True, what="it was read")
    if cursor.id is not None and message.id <= cursor.id:
        return Reached(list=list_id, was_read=True, what=f"read past it, up to {cursor.id}")
    upto = "nothing was read yet" if cursor.id is None else f"read up to {cursor.id}"
    seen_at = f", all before {_time(row.watermark)} was seen" if row.watermark else ""
    return Reached(list=list_id, was_read=False, what=f"not read yet: {upto}{seen_at}")


def remarks(orders: Orders, message: Message, record: MessageRecord) -> Iterator[str]:
    """What stands against a message before any rule is asked."""
    if not concerns(message, orders.watch, orders.groups):
        people = ", ".join((*message.participants, *message.mentions)) or "nobody"
        group = f", nor the group {message.receiver.id}" if message.receiver_type == "group" else ""
        yield f"nobody in this message is watched: {people}{group}"
    for reject in record.rejects:
        yield f"a row of this id could not be read at {_time(reject.at)}: {reject.reason}"
    if message.deleted_at is not None:
        yield f"it was deleted at {_time(message.deleted_at)}: the row as it is now is not the row as it was"
    elif message.edited_at is not None:
        yield f"it was edited at {_time(message.edited_at)}: the row as it is now is not the row as it was"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}Z"
