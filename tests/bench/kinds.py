"""What a message costs each kind of rule, its state read and written, at 1,000 and 100,000 keys; CEL too."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from rules.conditions import Test
from rules.engine import RuleSet, step, wanted
from rules.kinds.match import Match
from rules.model import Call, Message, MessageId, Party, State, StateKey, UserId, WatchSet
from rules.spec import Source, SpecError, load
from tests.bench.figures import Figure

NOON: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)
PAGE: Final = 100
PAGES: Final = 20
ROWS: Final = 20  # that a key has had before
SPACING: Final = timedelta(minutes=1)
BOB: Final = Party(id="bob", name="Bob Brown", role="customer")
WATCH: Final[WatchSet] = {UserId("bob"): {}}
TEXT: Final = "hello bob, my order is late again, can you please have a look at it? thanks"

KINDS: Final = {
    "match": "when: {type: text, text: {words: refund}}",
    "any": "field: sender, block: [nobody]",
    "count": "by: sender, at_least: 100, within: 1h",
    "count distinct": "by: sender, at_least: 100, within: 1h, distinct: text",
    "spike": "by: sender, within: 10m, reference: 1h, at_least: 50",
    "spike both ways": "by: sender, within: 10m, reference: 1h, at_least: 5, direction: both",
    "absence": "by: sender, for: 1h",
    "new_value": "by: sender, field: text, learn: 10d",
    "change": "by: sender, field: role",
    "sequence": "by: sender, within: 1h, steps: [{type: text}, {type: image}]",
    "unanswered": "when: {direction: inbound}, within: 10m, answer_from: receiver",
    "missed_call": "",
}
"""The options of a rule of each kind: of a busy key that raises nothing, as most are."""

MOST_US: Final = 150  # microseconds of one message with 20 rows before it, on a machine that others use too

CEL: Final = (
    ("a field", "{sender: user1}", "sender.id == 'user1'"),
    ("three fields", "{type: text, role: agent, receiver_type: user}",
     "message.type == 'text' && sender.role == 'agent' && message.receiver_type == 'user'"),
    ("a word of the text", "{text: refund}", "message.text.has_word('refund')"),
)  # fmt: skip


async def measure(runs: int, folder: Path) -> list[Figure]:
    figures = []
    for name, options in KINDS.items():
        figures += [_cost(name, options, keys, runs) for keys in (1_000, 100_000)]
    return figures + list(_expressions(runs))


def _cost(name: str, options: str, keys: int, runs: int) -> Figure:
    kind = name.split()[0]
    rules = _rules(f"kind: {kind}" + (f", {options}" if options else ""))
    before = _states(rules, keys, is_call=kind == "missed_call")
    pages = list(_pages(Random(7), keys, is_call=kind == "missed_call"))
    values = [_seconds(lambda: _run(rules, dict(before), pages)) / (PAGE * PAGES) * 1e6 for _ in range(runs)]
    sizes = [len(state.value) for state in before.values()]
    return Figure(
        name=f"{name}, {keys:,} keys",
        unit="µs/msg",
        values=values,
        about=f"CPU time; a state has {max(sizes):,} bytes" if sizes else "CPU time; it keeps no state",
        at_most=MOST_US,
    )


def _run(rules: RuleSet, states: dict[StateKey, State], pages: Sequence[Sequence[Message]]) -> None:
    """The steps of a drain over states that are kept as they are stored."""
    for page in pages:
        keys = wanted(rules, page)
        lent = {key: states[key] for key in keys if key in states}
        outcome = step(rules, WATCH, lent, page, now=page[-1].sent_at)
        if outcome.faults:
            raise AssertionError(outcome.faults)
        for change in outcome.states:
            if change.value is not None:
                states[change.key] = State(version=change.expected + 1, value=change.value)


def _states(rules: RuleSet, keys: int, *, is_call: bool) -> dict[StateKey, State]:
    """A state for each key: that of one key after some rows, with the other's name in it."""
    states: dict[StateKey, State] = {}
    rows = [_message(number, 0, NOON + number * SPACING, is_call=is_call) for number in range(1, ROWS + 1)]
    _run(rules, states, [[row] for row in rows])
    return {
        StateKey(key.rule, key.key.replace("user0", name)): State(
            version=state.version, value=state.value.replace(b"user0", name.encode())
        )
        for key, state in states.items()
        for name in (f"user{number}" for number in range(keys))
    }


def _pages(random: Random, keys: int, *, is_call: bool) -> Iterator[list[Message]]:
    start = NOON + (ROWS + 1) * SPACING
    for page in range(PAGES):
        numbers = range(1_000 + page * PAGE, 1_000 + (page + 1) * PAGE)
        yield [
            _message(
                number, random.randrange(keys), start + number * timedelta(milliseconds=100), is_call=is_call
            )
            for number in numbers
        ]


def _message(number: int, key: int, at: datetime, *, is_call: bool) -> Message:
    sender = Party(id=f"user{key}", name=f"User {key}", role="agent")
    call = Call(session_id=f"session-user{key}", status="ongoing", caller=sender, callee=BOB)
    return Message(
        id=MessageId(number),
        conversation_id=f"bob_user_user{key}",
        sender=sender,
        receiver=BOB,
        receiver_type="user",
        category="call" if is_call else "message",
        type="audio" if is_call else "text",
        sent_at=at,
        text=None if is_call else f"{TEXT} {number % 10}",
        call=call if is_call else None,
    )


# --- free expressions --------------------------------------------------------------------------------


def _expressions(runs: int) -> Iterator[Figure]:
    """The same condition as matchers and as CEL; nothing without the extra."""
    messages = [_message(number, number % 50, NOON, is_call=False) for number in range(2_000)]
    for name, matchers, expression in CEL:
        try:
            tests = [("matchers", _test(matchers)), ("CEL", _test(f'"{expression}"'))]
        except SpecError as error:
            if "cometwatch[cel]" not in str(error):
                raise
            return
        for way, test in tests:
            values = [_seconds(partial(_ask, test, messages)) / len(messages) * 1e6 for _ in range(runs)]
            yield Figure(
                name=f"{name}, {way}", unit="µs/msg", values=values, about="CPU time of one condition"
            )


def _test(when: str) -> Test:
    logic = _rules(f"when: {when}").rules[0].logic
    assert isinstance(logic, Match)
    return logic.condition.compile()


def _ask(test: Test, messages: Sequence[Message]) -> None:
    for message in messages:
        test(message, WATCH)


def _rules(options: str) -> RuleSet:
    return load([Source("bench.yaml", f"rules: [{{name: bench, {options}}}]")], app="bench")


def _seconds(work: Callable[[], object]) -> float:
    """Processor time, so that whoever else is busy here does not count."""
    began = time.process_time()
    work()
    return time.process_time() - began
