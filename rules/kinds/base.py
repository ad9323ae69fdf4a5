"""What a kind of rule is: a way to look at messages, as pure functions. The engine does everything else.

A kind is either `Single` (every message by itself: nothing is kept) or `Correlating` (messages that share a
key build up a state, which may also wait for a time to pass).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import msgspec

from rules.conditions import Condition, Interest, Test
from rules.grammar import Key
from rules.model import ListId, Message, Status, Tick, UserId, Value, WatchSet, once
from rules.templates import Facts
from rules.when import Conditions

S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One finding, before it is named and worded: the engine makes the alert of it."""

    key: str  #: correlation key
    episode: str  #: with app, rule and key it makes the alert's id
    event_at: datetime
    conversation_id: str
    watched_users: tuple[UserId, ...]
    messages: tuple[Message, ...]
    facts: Facts  #: what the templates can name
    found_at: datetime | None = None  #: when it was first found, if that was in an earlier step
    resolution: str | None = None  #: why it is over; makes the alert a resolved one
    revision: int = 0  #: of a firing one: how often it was brought up to date, this time included

    @property
    def status(self) -> Status:
        return Status.RESOLVED if self.resolution else Status.FIRING


class Single(Protocol):
    """Judges every message by itself."""

    @property
    def interest(self) -> Interest: ...

    @property
    def conditions(self) -> Mapping[str, Condition]:
        """Its conditions by the key they stand under (`when`, `answer`), for whoever asks why."""
        ...

    @property
    def test(self) -> Test:
        """Whether a message of `interest` is a finding. Called for each of them: it must be fast."""
        ...

    @property
    def is_lasting(self) -> bool:
        """Whether its alerts are conditions, which fire until they are resolved. Of a `Single`, never."""
        ...

    def found(self, message: Message, watch: WatchSet) -> Found | None:
        """The finding of a message that passed `test`, or None if it concerns no watched user."""
        ...

    def describe(self) -> str: ...


class Wait(NamedTuple):
    """Ask again when the watermark of any of `lists` has passed `due`; with `every`, those of all lists."""

    due: datetime
    lists: tuple[ListId, ...]
    every: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling(Generic[S]):
    """What a kind made of one key's state.

    `wait` takes the place of a pending wait; None leaves nothing pending. `state` None forgets the key.
    """

    state: S | None
    found: tuple[Found, ...] = ()
    wait: Wait | None = None
    keep_until: datetime | None = None  #: when the state may be forgotten; None: while its wait is pending


@runtime_checkable
class Correlating(Protocol[S]):
    """Builds up a state per key and judges it. States are values: `take` and `judge` return new ones.

    To give the same result however messages are split into steps, repeated or reordered, `take` only
    gathers facts (each order of the same messages gives the same facts) and `judge` decides from the facts
    what should be told, compares that with what the state says was told, and returns the difference.
    """

    @property
    def interest(self) -> Interest: ...

    @property
    def conditions(self) -> Mapping[str, Condition]:
        """As of `Single`."""
        ...

    @property
    def is_lasting(self) -> bool:
        """Whether its alerts are conditions, which fire until they are resolved, or events."""
        ...

    def keys(self, message: Message) -> Sequence[str]:
        """The keys whose state the message has to do with; () if it is of no concern.

        Independent of the watch set: who is not watched is left out by `judge`. None begins with "@".
        """
        ...

    def decode(self, value: bytes) -> S: ...

    def encode(self, state: S) -> bytes: ...

    def take(self, state: S | None, key: str, message: Message, *, now: datetime) -> S:
        """The state of `key` with the facts of `message`, which has this key. `now`: for retention only."""
        ...

    def judge(
        self, key: str, state: S, *, tick: Tick | None, watch: WatchSet, now: datetime
    ) -> Ruling[S]: ...

    def describe(self) -> str: ...


Logic = Single | Correlating[Any]


class Needs(Value, frozen=True, kw_only=True):
    """What a source must be able to show for a rule to see what it is after."""

    groups: bool = False  #: rows of groups
    calls: bool = False
    direct: bool = False  #: rows between two users
    crowd: bool = False  #: rows of groups that name no watched user


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One entry of the registry: how rules of this kind are written, and how they are built."""

    description: str
    options: Mapping[str, Key]  #: keys of the rule beside the common ones
    conditions: Conditions
    is_when_required: bool
    title: str
    summary: str
    sample: Facts  #: templates are checked against it
    build: Callable[[Condition | None, Mapping[str, Any]], Logic]
    needs: Callable[[Condition | None], Needs]
    required: tuple[str, ...] = ()  #: of the options
    wrong: Callable[[Mapping[str, Any]], str | None] = lambda _options: None  #: with the options together


# --- what an alert and a state keep of a message ----------------------------------------------------

MAX_EVIDENCE = 128 * 1024  # bytes of one message as JSON; the API takes texts of 64 Ki characters
MAX_TEXT = 16_000
MAX_ENTRIES = 100


@once
def evidence(message: Message) -> Message:
    """The part of a message that is kept: without free-form metadata, always encodable, of bounded size."""
    kept = message.evidence()
    try:
        if len(msgspec.json.encode(kept)) <= MAX_EVIDENCE:
            return kept
    except UnicodeEncodeError:
        pass  # lone surrogates, which JSON can spell and UTF-8 can't
    return msgspec.convert(_trimmed(msgspec.to_builtins(kept)), Message)


def _trimmed(tree: Any) -> Any:
    if isinstance(tree, str):
        return tree[:MAX_TEXT].encode("utf-8", "replace").decode()
    if isinstance(tree, dict):
        return {key: _trimmed(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_trimmed(value) for value in tree[:MAX_ENTRIES]]
    return tree
