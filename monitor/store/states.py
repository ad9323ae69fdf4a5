"""Rule states and pending timers, and how they end without concluding."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby

import msgspec
from sqlalchemy import BindParameter, bindparam, delete, insert, select, union, update

from monitor.errors import Conflict
from rules.model import RuleName, State, StateChange, StateKey, Timer, UserId

from .part import Part, Row
from .tables import chunks, closures, states, timers
from .tables import rules as rules_table

OF_RULE: BindParameter[str] = bindparam("of_rule")
OF_KEY: BindParameter[str] = bindparam("of_key")

STATES = select(states.c.key, states.c.version, states.c.value).where(
    states.c.rule == OF_RULE, states.c.key.in_(bindparam("keys", expanding=True))
)
ADD_STATE = insert(states)
CHANGE_STATE = (
    update(states)
    .where(states.c.rule == OF_RULE, states.c.key == OF_KEY)
    .values(version=bindparam("version"), value=bindparam("value"), expires_at=bindparam("expires_at"))
)
DROP_STATE = delete(states).where(states.c.rule == OF_RULE, states.c.key == OF_KEY)

ADD_TIMER = insert(timers)
DROP_TIMER = delete(timers).where(timers.c.rule == OF_RULE, timers.c.key == OF_KEY)
CHANGE_LISTS = (
    update(timers).where(timers.c.rule == OF_RULE, timers.c.key == OF_KEY).values(lists=bindparam("lists"))
)
ADD_CLOSURE = insert(closures)


class States(Part):
    """What rules remember between messages."""

    def states(self, keys: Iterable[StateKey]) -> dict[StateKey, State]:
        """The stored states among `keys`."""
        found: dict[StateKey, State] = {}
        for rule, group in groupby(sorted(set(keys)), key=lambda key: key.rule):
            for some in chunks(key.key for key in group):
                for row in self._run(STATES, {"of_rule": rule, "keys": some}):
                    found[StateKey(rule, row.key)] = State(version=row.version, value=row.value)
        return found

    def timers(self) -> list[Timer]:
        """All pending timers, the uncommitted steps of this transaction included."""
        return [timer_of(row) for row in self._run(select(timers)).mappings()]

    def close_user(self, uid: UserId, reason: str) -> None:
        """Nobody reads this user's list any more: it answers no timer.

        Timers that only it could have answered are closed with `reason`, their states forgotten; those that
        wait for every list wait for one less. The user's place in the list is kept: watched again, it is read
        on from there.
        """
        self.close_users({uid}, reason)

    def close_users(self, uids: Collection[UserId], reason: str) -> None:
        """The same of many users, in one walk over the timers."""
        gone = frozenset(uids)
        touched = [timer for timer in self.timers() if not gone.isdisjoint(timer.lists)]
        left = [
            msgspec.structs.replace(t, lists=tuple(uid for uid in t.lists if uid not in gone))
            for t in touched
        ]
        self._run_each(CHANGE_LISTS, [{**_of(t.key), "lists": t.lists} for t in left if t.lists])
        self._close([timer.key for timer in left if not timer.lists], reason)

    def close_rule(self, rule: RuleName, reason: str) -> None:
        """Forget the states and timers of one rule, each with a closure that says why."""
        keys = union(
            select(states.c.key).where(states.c.rule == rule),
            select(timers.c.key).where(timers.c.rule == rule),
        )
        self._close([StateKey(rule, row.key) for row in self._run(keys).all()], reason)

    def close_timer(self, key: StateKey, reason: str) -> None:
        """Forget one state and its timer, with a closure that says why."""
        self._close([key], reason)

    def adopt_rules(self, fingerprints: Mapping[RuleName, str]) -> tuple[RuleName, ...]:
        """Take these rules as the ones in force, by the hash of each definition.

        States and timers of rules that are gone or were changed are closed, the reason recorded. Returns the
        names of those rules. The first call of a store's life closes nothing.
        """
        before = {row.name: row.fingerprint for row in self._run(select(rules_table)).all()}
        if before == fingerprints:
            return ()
        gone = [name for name in before if name not in fingerprints]
        changed = [name for name, old in before.items() if fingerprints.get(name, old) != old]
        for name in gone:
            self.close_rule(name, "the rule was removed")
        for name in changed:
            self.close_rule(name, "the rule was changed")
        self._run(delete(rules_table))
        self._run_each(
            insert(rules_table), [{"name": name, "fingerprint": text} for name, text in fingerprints.items()]
        )
        return (*gone, *changed)

    def _guard_states(self, changes: Sequence[StateChange]) -> None:
        if not changes:
            return
        stored = self.states(change.key for change in changes)
        for change in changes:
            state = stored.get(change.key)
            version = state.version if state else 0
            if version != change.expected:
                raise Conflict(
                    f"the state of rule {change.key.rule} for {change.key.key} is at version {version}, "
                    f"not {change.expected} as when it was read"
                )

    def _write_states(self, changes: Sequence[StateChange]) -> None:
        new = [c for c in changes if c.value is not None and not c.expected]
        old = [c for c in changes if c.value is not None and c.expected]
        gone = [c for c in changes if c.value is None and c.expected]
        self._run_each(ADD_STATE, [{"rule": c.key.rule, "key": c.key.key, **_state_columns(c)} for c in new])
        self._run_each(CHANGE_STATE, [{**_of(c.key), **_state_columns(c)} for c in old])
        self._run_each(DROP_STATE, [_of(c.key) for c in gone])

    def _write_timers(self, cancelled: Sequence[StateKey], new: Sequence[Timer]) -> None:
        latest = {timer.key: timer for timer in new}
        self._run_each(DROP_TIMER, [_of(key) for key in (*cancelled, *latest)])
        self._run_each(
            ADD_TIMER,
            [
                {
                    "rule": timer.key.rule,
                    "key": timer.key.key,
                    "due": timer.due,
                    "lists": timer.lists,
                    "every": timer.every,
                }
                for timer in latest.values()
            ],
        )

    def _close(self, keys: Sequence[StateKey], reason: str) -> None:
        at = self._now()
        self._run_each(DROP_STATE, [_of(key) for key in keys])
        self._run_each(DROP_TIMER, [_of(key) for key in keys])
        self._run_each(
            ADD_CLOSURE, [{"rule": key.rule, "key": key.key, "reason": reason, "at": at} for key in keys]
        )


def timer_of(row: Row) -> Timer:
    """A row of `timers` as its value."""
    return Timer(
        key=StateKey(row["rule"], row["key"]), due=row["due"], lists=row["lists"], every=row["every"]
    )


def _of(key: StateKey) -> Row:
    return {"of_rule": key.rule, "of_key": key.key}


def _state_columns(change: StateChange) -> Row:
    return {"version": change.expected + 1, "value": change.value, "expires_at": change.expires_at}
