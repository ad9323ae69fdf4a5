"""The watched users: who found them, how far their lists were read, and when they are forgotten."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, bindparam, case, delete, func, insert, null, select, update

from monitor.errors import Conflict, NotStored
from rules.model import MessageId, UserId

from .part import Row
from .states import States
from .tables import chunks, recent, store, users
from .values import Commit, Cursor, UserRow

OF_UID = users.c.uid == bindparam("of_uid")
THEIRS = users.c.uid.in_(bindparam("uids", expanding=True))

USERS: Select[Any] = select(
    users.c.uid,
    users.c.start_at,
    users.c.cursor,
    users.c.watermark,
    users.c.activity,
    users.c.looked_at,
    users.c.cohort,
    users.c.found_at,
    users.c.left_at,
)
USER = USERS.add_columns(recent.c.ids).outerjoin(recent, recent.c.uid == users.c.uid).where(OF_UID)
KNOWN = USERS.where(THEIRS)
STORED = select(users.c.uid, users.c.left_at).where(THEIRS)
STAYING = select(users.c.uid).where(users.c.left_at.is_(None))
ADD_USER = insert(users)
RETURN = update(users).where(THEIRS).values(left_at=null())
FOUND = RETURN.values(cohort=bindparam("by"), found_at=bindparam("at"))
LEAVE = update(users).where(THEIRS, users.c.left_at.is_(None)).values(left_at=bindparam("at"))

PLACED: Final[Mapping[str, ColumnElement[Any]]] = {
    "cursor": func.coalesce(bindparam("to_cursor", type_=users.c.cursor.type), users.c.cursor),
    "watermark": case(
        (users.c.watermark > bindparam("seen"), users.c.watermark),
        else_=func.coalesce(bindparam("seen"), users.c.watermark),
    ),
    "activity": func.coalesce(bindparam("to_activity", type_=users.c.activity.type), users.c.activity),
    "looked_at": func.coalesce(bindparam("to_looked_at", type_=users.c.looked_at.type), users.c.looked_at),
}
MOVE_USER = update(users).where(OF_UID).values(PLACED)
MOVE_FROM = MOVE_USER.where(users.c.cursor == bindparam("expected"))
SET_CURSOR = update(users).where(OF_UID).values(cursor=bindparam("to_cursor"))
UNSEE = update(users).where(OF_UID, users.c.watermark.is_not(None)).values(watermark=users.c.start_at)
SET_START = update(users).where(OF_UID).values(start_at=bindparam("start_at"), watermark=bindparam("seen"))

ADD_RECENT = insert(recent)
CHANGE_RECENT = update(recent).where(recent.c.uid == bindparam("of_uid")).values(ids=bindparam("to_ids"))
DROP_RECENT = delete(recent).where(recent.c.uid == bindparam("of_uid"))

SKIPPED = "`cursor set` skipped a part of the list"
UNWATCHED = "no longer watched"


class Users(States):
    """Who is watched, and from where on."""

    def user(self, uid: UserId) -> UserRow | None:
        """One user as stored, the uncommitted steps of this transaction included."""
        row = self._run(USER, {"of_uid": uid}).one_or_none()
        return user_of(row) if row else None

    def watched(self) -> list[UserId]:
        """The users that did not leave."""
        return list(self._run(STAYING).scalars())

    def add_users(self, uids: Iterable[UserId], start_at: datetime) -> list[UserRow]:
        """Store the users that are new, watched from `start_at`; those that are known keep their place.

        Who had left is back. `recent` is left out of what is returned: `user` has it.
        """
        wanted = list(dict.fromkeys(uids))
        known: dict[UserId, UserRow] = {}
        for some in chunks(wanted):
            found = list(map(user_of, self._run(KNOWN, {"uids": some})))
            if back := [row.uid for row in found if row.left_at]:
                self._run(RETURN, {"uids": back})
                found = list(map(user_of, self._run(KNOWN, {"uids": some})))
            known |= {row.uid: row for row in found}
        rows = [known.get(uid) or UserRow(uid=uid, start_at=start_at) for uid in wanted]
        self._run_each(ADD_USER, [_new(row.uid, row.start_at) for row in rows if row.uid not in known])
        return rows

    def find(
        self, cohort: str, uids: Iterable[UserId], at: datetime, *, start_at: datetime | None = None
    ) -> list[UserId]:
        """A discovery found these users at `at`. Who is new is watched from `start_at`, or else from `at`.

        Who had left is back. A user that several cohorts find is the last one's. Returns who is new or back.
        """
        news: list[UserId] = []
        for some in chunks(dict.fromkeys(uids)):
            left_at = {row.uid: row.left_at for row in self._run(STORED, {"uids": some})}
            new = [uid for uid in some if uid not in left_at]
            if left_at:
                self._run(FOUND, {"uids": list(left_at), "by": cohort, "at": at})
            self._run_each(
                ADD_USER, [{**_new(uid, start_at or at), "cohort": cohort, "found_at": at} for uid in new]
            )
            news += [uid for uid in some if uid not in left_at or left_at[uid]]
        return news

    def leave(self, uids: Collection[UserId], at: datetime, reason: str = UNWATCHED) -> int:
        """Nobody watches these users any more, as of `at`; who left before keeps that time. Returns how many.

        They answer no timers (see `close_users`). Their place is kept until they are forgotten.
        """
        gone = sum(self._run(LEAVE, {"uids": some, "at": at}).rowcount for some in chunks(uids))
        if uids:
            self.close_users(uids, reason)
        return gone

    def adopt_source(self, source: str) -> bool:
        """Lists are read through this `watch.source` from now on. Returns whether it was another one before.

        Then what was read of late is forgotten: rows that this source adds to a list were not missed.
        """
        before = self._run(select(store.c.source)).scalar_one()
        if before == source:
            return False
        self._run(update(store).values(source=source))
        if before is not None:
            self._run(delete(recent))
        return before is not None

    def set_start(self, uid: UserId, start_at: datetime) -> None:
        """Settle the start of a new user, once the API's clock is known.

        The user has a watermark from then on, so that it is seen to be no longer new, also after a restart.
        """
        self._run(SET_START, {"of_uid": uid, "start_at": start_at, "seen": start_at})

    def set_cursor(self, uid: UserId, after: MessageId | None) -> None:
        """Read on after message `after`; None begins again as for a new user.

        If that leaves out a part of the list, it answers no pending timer any more. If a part is to be read
        again, nothing is known to be seen past its start until it is: the silence of what is not read yet
        answers nothing either. What was read of late is forgotten: it tells no longer what was missed. Raises
        NotStored for a user that was never watched. A poll under way gets a Conflict and reads again.
        """
        row = self.user(uid)
        if row is None:
            raise NotStored(f"user {uid} was never watched: `cometwatch status` lists the users")
        if after is not None and (row.cursor.id is None or after > row.cursor.id):
            self.close_user(uid, SKIPPED)
        else:
            self._run(UNSEE, {"of_uid": uid})
        self._run(SET_CURSOR, {"of_uid": uid, "to_cursor": Cursor(id=after)})
        self._run(DROP_RECENT, {"of_uid": uid})
        self._announce()

    def _move_user(self, commit: Commit) -> None:
        """Place the user as `commit` says, if its cursor is where the commit expects it. Raises Conflict."""
        if commit.uid is None:
            return
        place = {
            "of_uid": commit.uid,
            "to_cursor": commit.cursor,
            "seen": commit.watermark,
            "to_activity": commit.activity,
            "to_looked_at": commit.looked_at,
        }
        if not self._moved_from(commit.expected, place):
            self._check_cursor(commit.uid, commit.expected)
            self._run(MOVE_USER, place)
        if commit.recent is not None:
            self._remember(commit.uid, commit.recent)

    def _moved_from(self, expected: Cursor | None, place: Row) -> bool:
        """Move in one statement, the common road; False if the stored bytes are not the expected cursor's."""
        return expected is not None and self._run(MOVE_FROM, {**place, "expected": expected}).rowcount == 1

    def _check_cursor(self, uid: UserId, expected: Cursor | None) -> None:
        row = self.user(uid)
        if row is None:
            raise Conflict(f"user {uid} is not stored")
        if expected is not None and row.cursor != expected:
            raise Conflict(f"the cursor of user {uid} moved since the page was asked for")

    def _remember(self, uid: UserId, ids: tuple[MessageId, ...]) -> None:
        if not self._run(CHANGE_RECENT, {"of_uid": uid, "to_ids": ids}).rowcount:
            self._run(ADD_RECENT, {"uid": uid, "ids": ids})


def user_of(row: Sequence[Any]) -> UserRow:
    """A row of `USERS` or `USER` as its value. Spelt out: there may be 100,000 of them."""
    uid, start_at, cursor, watermark, activity, looked_at, cohort, found_at, left_at, *ids = row
    return UserRow(
        uid=uid,
        start_at=start_at,
        cursor=cursor,
        watermark=watermark,
        activity=activity,
        looked_at=looked_at,
        cohort=cohort,
        found_at=found_at,
        left_at=left_at,
        recent=ids[0] if ids else None,
    )


def _new(uid: UserId, start_at: datetime) -> Row:
    return {"uid": uid, "start_at": start_at, "cursor": Cursor()}
