"""The kind `any`: each message whose field has a value that is blocked, or one that is not allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from rules import conditions as c
from rules.access import interest_of
from rules.conditions import AllOf, Condition, Interest, Test, beyond_interest, globs, is_glob, words_said
from rules.fields import FieldName, field, kept
from rules.grammar import Key, Many, Text
from rules.kinds import match
from rules.kinds.base import Found, Kind, evidence
from rules.kinds.episodes import concerns
from rules.model import Message, Value, WatchSet, watched
from rules.templates import Facts, message_facts
from rules.templates import name as shown_name
from rules.when import MESSAGE_CONDITIONS

MAX_SHOWN: Final = 10  # values that a template can name


class Options(Value, frozen=True, kw_only=True):
    field: str
    allow: tuple[str, ...] | None = None
    block: tuple[str, ...] | None = None


def is_one_of(values: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a value of a field is in a list, in any case. In the list * and ? are wild."""
    lower = [value.lower() for value in values]
    listed = globs([value if is_glob(value) else kept(value) for value in lower])
    return lambda value: listed(value.lower())


class AnyValue:
    """Event findings: they have no state and never resolve."""

    is_lasting = False

    def __init__(self, condition: Condition | None, options: Options) -> None:
        self._condition, self._options = condition, options
        self._look = field(options.field)
        self._is_wrong = _wrong(options)
        self.interest: Interest = interest_of(_narrowed(condition, options))
        self.test: Test = self._tested(condition)
        self.conditions: Mapping[str, Condition] = {"when": condition} if condition else {}

    def _tested(self, condition: Condition | None) -> Test:
        look, is_wrong = self._look, self._is_wrong
        if condition is None:
            return lambda message, _watch: any(map(is_wrong, look(message)))
        holds = beyond_interest(condition).compile()
        return lambda message, watch: any(map(is_wrong, look(message))) and holds(message, watch)

    def found(self, message: Message, watch: WatchSet) -> Found | None:
        if not concerns(message, watch):
            return None
        row = evidence(message)
        users = watched(message.participants, watch) or watched(message.mentions, watch)
        values = tuple(filter(self._is_wrong, self._look(message)))
        return Found(
            key=str(message.id),
            episode=str(message.id),
            event_at=message.sent_at,
            conversation_id=row.conversation_id,
            watched_users=users,
            messages=(row,),
            facts={**message_facts(row, users), **value_facts(self._options.field, values)},
        )

    def describe(self) -> str:
        options = self._options
        said = []
        if options.block is not None:
            said.append(words_said(options.block))
        if options.allow is not None:
            said.append(f"none of {words_said(options.allow)}")
        with_ = f" with {self._condition.describe()}" if self._condition else ""
        return f"messages{with_} whose {options.field} is {' or '.join(said)}"


def _wrong(options: Options) -> Callable[[str], bool]:
    """Whether a value raises an alert."""
    allowed = is_one_of(options.allow) if options.allow is not None else None
    blocked = is_one_of(options.block) if options.block is not None else None
    if allowed is None:
        assert blocked is not None
        return blocked
    if blocked is None:
        return lambda value: not allowed(value)
    return lambda value: blocked(value) or not allowed(value)


INDEXED: Final = frozenset({"sender", "receiver", "conversation", "caller", "callee"})
"""The fields that a condition asks for in the same way: an index then leads to the rule."""


def _narrowed(condition: Condition | None, options: Options) -> Condition:
    """A condition that every finding meets, for the index."""
    parts = [condition] if condition else []
    if options.allow is None and options.block and options.field in INDEXED:
        parts.append(c.Field(name=options.field, values=options.block))
    elif options.field in ("caller", "callee"):
        parts.append(c.Field(name="category", values=("call",)))
    return parts[0] if len(parts) == 1 else AllOf(conditions=tuple(parts))


def value_facts(name: str, values: tuple[str, ...]) -> Facts:
    """What templates can name of the values of a field. A text is compared, and never shown."""
    shown = tuple(shown_name(value) for value in values[:MAX_SHOWN]) if name != "text" else ()
    return {"field": name, "value": shown[0] if shown else "", "values": shown}


def wrong(options: Mapping[str, Any]) -> str | None:
    """What is the matter with the options together."""
    if "allow" in options or "block" in options:
        return None
    return '"allow" or "block" is missing: which values are right, or which are wrong'


def build(condition: Condition | None, options: Mapping[str, Any]) -> AnyValue:
    return AnyValue(condition, Options(**options))


LISTED: Final = Text(expected="a value (* and ? are wild)", max_length=1_000, example="exe")

KIND = Kind(
    description="Each message with a value that is blocked, or that is not allowed, raises one alert, which "
    "never resolves.",
    options={
        "field": Key(
            FieldName(),
            "Which field to look at. A message without it raises nothing.",
            "field: extension",
        ),
        "allow": Key(
            Many(each=LISTED),
            "A value that is none of these raises an alert; * and ? are wild, case does not count.",
            "allow: [pdf, png, jpg]",
        ),
        "block": Key(
            Many(each=LISTED),
            "A value that is one of these raises an alert; * and ? are wild, case does not count.",
            "block: {list: risky-extensions}",
        ),
    },
    required=("field",),
    conditions=MESSAGE_CONDITIONS,
    is_when_required=False,
    title="{{ rule.name }}: {{ field }} {{ value }} from {{ sender.label }} to {{ receiver.label }}",
    summary="{{ values | join }} in {{ message.conversation_id }}, {{ message.sent_at }}",
    sample={
        **message_facts(replace(match.SAMPLE, type="file"), ("superhero3",)),
        **value_facts("extension", ("jpeg",)),
    },
    build=build,
    needs=match.needs,
    wrong=wrong,
)
