"""Users and their cursors, rule states, timers, and the commit that ties them to what was found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final

import msgspec
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    union,
    update,
)

from monitor.errors import Conflict, NotStored
from rules.model import MessageId, RuleName, State, StateChange, StateKey, Timer, UserId

from .findings import Findings
from .part import Row
from .tables import chunks, closures, rejects, states, timers, users
from .tables import rules as rules_table
from .values import Commit, Committed, Cursor, Reject, UserRow

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

USER = select(users).where(users.c.uid == bindparam("of_uid"))
USERS = select(users).where(users.c.uid.in_(bindparam("uids", expanding=True)))
ADD_USER = insert(users)
PLACED: Final[Mapping[str, ColumnElement[Any]]] = {
    "cursor": func.coalesce(bindparam("to_cursor", type_=users.c.cursor.type), users.c.cursor),
    "watermark": case(
        (users.c.watermark > bindparam("seen"), users.c.watermark),
        else_=func.coalesce(bindparam("seen"), users.c.watermark),
    ),
    **{
        name: func.coalesce(bindparam(f"to_{name}", type_=users.c[name].type), users.c[name])
        for name in ("activity", "recent", "looked_at")
    },
}
MOVE_USER = update(users).where(users.c.uid == bindparam("of_uid")).values(PLACED)
MOVE_FROM = MOVE_USER.where(users.c.cursor == bindparam("expected"))
SET_CURSOR = update(users).where(users.c.uid == bindparam("of_uid")).values(cursor=bindparam("to_cursor"))

SET_START = (
    update(users)
    .where(users.c.uid == bindparam("of_uid"))
    .values(start_at=bindparam("start_at"), watermark=bindparam("seen"))
)

SKIPPED = "`cursor set` skipped a part of the list"

ADD_CLOSURE = insert(closures)
ADD_REJECT = insert(rejects)


class Intake(Findings):
    """What polls and ticks read and write."""

    def states(self, keys: Iterable[StateKey]) -> dict[StateKey, State]:
        """The stored states among `keys`."""
        found: dict[StateKey, State] = {}
        for rule, group in groupby(sorted(set(keys)), key=lambda key: key.rule):
            for some in chunks(key.key for key in group):
                for row in self._run(STATES, {"of_rule": rule, "keys": some}):
                    found[StateKey(rule, row.key)] = State(version=row.version, value=row.value)
        return found

    def user(self, uid: UserId) -> UserRow | None:
        """One user as stored, the uncommitted steps of this transaction included."""
        row = self._run(USER, {"of_uid": uid}).mappings().one_or_none()
        return UserRow(**row) if row else None

    def add_users(self, uids: Iterable[UserId], start_at: datetime) -> list[UserRow]:
        """Store the users that are new, watched from `start_at`; those that are known keep their place."""
        wanted = list(dict.fromkeys(uids))
        known: dict[UserId, UserRow] = {}
        for some in chunks(wanted):
            for row in self._run(USERS, {"uids": some}).mappings():
                known[row["uid"]] = UserRow(**row)
        rows = [known.get(uid) or UserRow(uid=uid, start_at=start_at) for uid in wanted]
        self._run_each(
            ADD_USER,
            [
                {"uid": row.uid, "start_at": row.start_at, "cursor": row.cursor, "watermark": None}
                for row in rows
                if row.uid not in known
            ],
        )
        return rows

    def set_start(self, uid: UserId, start_at: datetime) -> None:
        """Settle the start of a new user, once the API's clock is known.

        The user has a watermark from then on, so that it is seen to be no longer new, also after a restart.
        """
        self._run(SET_START, {"of_uid": uid, "start_at": start_at, "seen": start_at})

    def set_cursor(self, uid: UserId, id: MessageId | None) -> None:  # noqa: A002
        """Read on after message `id`; None begins again as for a new user.

        If that leaves out a part of the list, it answers no pending timer any more. Raises NotStored for
        a user that was never watched. A poll under way gets a Conflict and reads again.
        """
        row = self.user(uid)
        if row is None:
            raise NotStored(f"user {uid} was never watched: `cometwatch status` lists the users")
        if id is not None and (row.cursor.id is None or id > row.cursor.id):
            self.close_user(uid, SKIPPED)
        self._run(SET_CURSOR, {"of_uid": uid, "to_cursor": Cursor(id=id)})
        self._announce()

    def commit(self, commit: Commit) -> Committed:
        """Apply all of `commit` or nothing.

        Raises Conflict, before anything is written, if the cursor or a state version moved: read again, redo.
        """
        if commit.cursor is not None and (commit.uid is None or commit.expected is None):
            raise ValueError("a commit that moves a cursor names its user and the cursor that it expects")
        self._guard_states(commit.states)
        self._move_user(commit)
        self._write_states(commit.states)
        self._write_timers(commit.cancelled, commit.timers)
        self._run_each(ADD_REJECT, [_reject_row(reject) for reject in commit.rejects])
        self._tally(msgspec.structs.asdict(commit.counts))
        fresh = self._add_findings(commit.findings)
        return Committed(fresh=fresh, known=len(commit.findings) - len(fresh))

    def close_user(self, uid: UserId, reason: str) -> None:
        """Nobody reads this user's list any more: it answers no timer.

        Timers that only it could have answered are closed with `reason`, their states forgotten. The user's
        place in the list is kept: watched again, it is read on from there.
        """
        touched = [timer for timer in self.timers() if uid in timer.lists]
        left = [
            msgspec.structs.replace(t, lists=tuple(other for other in t.lists if other != uid))
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

    def _move_user(self, commit: Commit) -> None:
        if commit.uid is None:
            return
        place = {
            "of_uid": commit.uid,
            "to_cursor": commit.cursor,
            "seen": commit.watermark,
            "to_activity": commit.activity,
            "to_recent": commit.recent,
            "to_looked_at": commit.looked_at,
        }
        # The common road is one statement. It misses a cursor whose bytes an older version wrote otherwise.
        if (
            commit.expected is not None
            and self._run(MOVE_FROM, {**place, "expected": commit.expected}).rowcount
        ):
            return
        row = self.user(commit.uid)
        if row is None:
            raise Conflict(f"user {commit.uid} is not stored")
        if commit.expected is not None and row.cursor != commit.expected:
            raise Conflict(f"the cursor of user {commit.uid} moved since the page was asked for")
        self._run(MOVE_USER, place)

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
                {"rule": timer.key.rule, "key": timer.key.key, "due": timer.due, "lists": timer.lists}
                for timer in latest.values()
            ],
        )

    def timers(self) -> list[Timer]:
        """All pending timers, the uncommitted steps of this transaction included."""
        return [timer_of(row) for row in self._run(select(timers)).mappings()]

    def _close(self, keys: Sequence[StateKey], reason: str) -> None:
        at = self._now()
        self._run_each(DROP_STATE, [_of(key) for key in keys])
        self._run_each(DROP_TIMER, [_of(key) for key in keys])
        self._run_each(
            ADD_CLOSURE, [{"rule": key.rule, "key": key.key, "reason": reason, "at": at} for key in keys]
        )


def timer_of(row: Row) -> Timer:
    """A row of `timers` as its value."""
    return Timer(key=StateKey(row["rule"], row["key"]), due=row["due"], lists=row["lists"])


def _of(key: StateKey) -> Row:
    return {"of_rule": key.rule, "of_key": key.key}


def _state_columns(change: StateChange) -> Row:
    return {"version": change.expected + 1, "value": change.value, "expires_at": change.expires_at}


def _reject_row(reject: Reject) -> Row:
    return {
        "uid": reject.uid,
        "message_id": reject.message_id,
        "reason": reject.reason,
        "structure": reject.structure,
        "at": reject.at,
    }
