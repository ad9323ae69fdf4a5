"""The outbox: claim, send elsewhere, settle; and what a person does with what could not be sent.

A notification is pending exactly while one of its entries is. A claimed one is due again when its lease runs
out. It only ever tells of the same alerts or fewer (after `drop`), so that a receiver may take its id as the
same news; an alert in it may have been brought up to date between two attempts.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from monitor.errors import NotStored
from rules.model import Status

from .part import Part, Row
from .tables import alerts, attempts, chunks, entries, notifications
from .values import Bundle, Entry, EntryId, EntryState, Kind, Notification, NotificationId, Waiting

OFFER: Final = 500
"""Most entries offered to the bundling policy at once: enough for a summary, and a short transaction."""

OFFER_SUMMED: Final = 1_000
"""And most of those that are summed: a storm of some minutes should be one sum, not ten."""

PENDING, DELIVERED, DEAD, DROPPED = (
    EntryState.PENDING,
    EntryState.DELIVERED,
    EntryState.DEAD,
    EntryState.DROPPED,
)

older = entries.alias("older")
later = entries.alias("later")

# Both look at one row by the unique key. Said by ids (`older.id < entries.id`), SQLite walks the whole queue.
WAITS: ColumnElement[bool] = and_(
    entries.c.status == Status.RESOLVED,
    exists().where(
        older.c.alert_id == entries.c.alert_id,
        older.c.status == Status.FIRING,
        older.c.receiver == entries.c.receiver,
        older.c.state == PENDING,
    ),
)
"""It is over, but that it began is still to be told to the same receiver."""

TOLD_LATER: ColumnElement[bool] = and_(
    entries.c.status == Status.FIRING,
    exists().where(
        later.c.alert_id == entries.c.alert_id,
        later.c.status == Status.RESOLVED,
        later.c.receiver == entries.c.receiver,
        or_(later.c.state == DELIVERED, and_(later.c.state == PENDING, later.c.notification.is_not(None))),
    ),
)
"""It began, but that it is over was told to the same receiver, or is being told."""

IS_OVER = entries.c.status == Status.RESOLVED
BODY = case((IS_OVER, alerts.c.resolved), else_=alerts.c.firing).label("alert")
SIZE = case((IS_OVER, func.length(alerts.c.resolved)), else_=func.length(alerts.c.firing)).label("size")

ENTRIES: Select[Any] = select(
    entries.c.id,
    BODY,
    entries.c.receiver,
    entries.c.state,
    entries.c.reason,
    entries.c.late,
    entries.c.created_at,
    entries.c.settled_at,
    entries.c.notification,
    entries.c.summed,
).join(alerts, alerts.c.id == entries.c.alert_id)

OPEN = and_(
    notifications.c.receiver == bindparam("to"),
    notifications.c.state == PENDING,
    ~exists(
        select(entries.c.id).where(
            entries.c.notification == notifications.c.id, entries.c.state == PENDING, WAITS
        )
    ).correlate(notifications),
)
DUE = (
    select(notifications)
    .where(OPEN, notifications.c.due_at <= bindparam("now"))
    .order_by(notifications.c.due_at, notifications.c.created_at)
    .limit(1)
)
NEXT_DUE = select(func.min(notifications.c.due_at)).where(OPEN)
WAITING = (
    select(entries.c.id, entries.c.status, entries.c.late, entries.c.created_at, SIZE, entries.c.summed)
    .join(alerts, alerts.c.id == entries.c.alert_id)
    .where(
        entries.c.state == PENDING,
        entries.c.receiver == bindparam("to"),
        entries.c.notification.is_(None),
        entries.c.summed == bindparam("summed"),
        ~WAITS,
    )
    .order_by(entries.c.id)
    .limit(bindparam("most"))
)
CONTENT = (
    select(BODY)
    .select_from(entries.join(alerts, alerts.c.id == entries.c.alert_id))
    .where(entries.c.notification == bindparam("of_id"), entries.c.state == PENDING)
    .order_by(entries.c.id)
)
NOTIFICATION = select(notifications).where(notifications.c.id == bindparam("of_id"))
ADD_NOTIFICATION = insert(notifications)
ASSIGN = (
    update(entries)
    .where(entries.c.id.in_(bindparam("ids", expanding=True)))
    .values(notification=bindparam("to_id"))
)
LEASE = (
    update(notifications)
    .where(notifications.c.id == bindparam("of_id"))
    .values(due_at=bindparam("until"), attempts=notifications.c.attempts + 1)
)
SETTLE = (
    update(notifications)
    .where(notifications.c.id == bindparam("of_id"))
    .values(state=bindparam("to_state"), due_at=bindparam("due"))
)
SETTLE_ENTRIES = (
    update(entries)
    .where(
        entries.c.notification == bindparam("of_id"),
        entries.c.state.in_(bindparam("states", expanding=True)),
    )
    .values(state=bindparam("to_state"), settled_at=bindparam("at"), reason=bindparam("why"))
)
ADD_ATTEMPT = insert(attempts)


class Outbox(Part):
    """What deliverers and `cometwatch outbox` do."""

    def claim(
        self,
        receiver: str,
        *,
        now: datetime,
        lease: timedelta,
        choose: Callable[[Sequence[Waiting]], Bundle | None],
    ) -> Notification | None:
        """Take the next notification to send to `receiver`; unsettled after `lease` it is offered again.

        1. One that is due again, or whose lease ran out: the same id, the same entries.
        2. Else up to 500 entries that are in no notification yet, and up to 1,000 summed ones, are offered
           to `choose`, oldest first; its bundle is stored as a notification with a fresh id before it is
           returned.
        An entry waits while an older one of the same alert for the same receiver is unsettled, so that a
        resolution never overtakes its firing. None: nothing to send now, see `next_due`.
        """
        due = self._run(DUE, {"to": receiver, "now": now}).mappings().one_or_none()
        if due is not None:
            return self._lease(due, now + lease)
        offered = self._waiting(receiver)
        bundle = choose(offered) if offered else None
        if bundle is None:
            return None
        return self._lease(self._bundle(receiver, offered, bundle, now), now + lease)

    def next_due(self, receiver: str) -> datetime | None:
        """When a claim has a notification to offer again: a retry, or a lease that runs out.

        Entries in no notification yet are not looked at: the claim before it has just offered them.
        """
        due: datetime | None = self._run(NEXT_DUE, {"to": receiver}).scalar_one()
        return due

    def settle_delivered(self, sent: NotificationId, at: datetime) -> None:
        """The receiver accepted it. Entries given up or claimed again meanwhile count as delivered too."""
        self._attempted(sent, at, "delivered", "")
        self._run(SETTLE, {"of_id": sent, "to_state": DELIVERED, "due": at})
        self._settle_entries(sent, (PENDING, DEAD), DELIVERED, at, None)

    def settle_retry(self, sent: NotificationId, at: datetime, due: datetime, detail: str) -> None:
        """It was not accepted: offer it again at `due`. `detail` is shown to people: no secret, no text."""
        if self._attempted(sent, at, "retry", detail):
            self._run(SETTLE, {"of_id": sent, "to_state": PENDING, "due": due})

    def settle_dead(self, sent: NotificationId, at: datetime, detail: str) -> None:
        """It is given up: its entries stay as dead letters, `detail` as their reason."""
        if self._attempted(sent, at, "dead", detail):
            self._run(SETTLE, {"of_id": sent, "to_state": DEAD, "due": at})
            self._settle_entries(sent, (PENDING,), DEAD, at, detail)

    def hasten(self, receiver: str, at: datetime) -> None:
        """The receiver answers again: offer its retries at `at`, not when their schedule says.

        For its one deliverer, while nothing of it is being sent: leases end too.
        """
        theirs = and_(notifications.c.receiver == receiver, notifications.c.state == PENDING)
        self._run(update(notifications).where(theirs, notifications.c.due_at > at).values(due_at=at))

    def redrive(self, which: Iterable[EntryId] | str) -> int:
        """Send dead letters again: these entries, or all of one receiver. Returns how many will be.

        Dead letters that died together and are redriven together go out as they were, under the same id; one
        taken alone out of several gets a notification of its own. Left dead is a firing whose resolution was
        sent meanwhile: it would look open for ever. Raises NotStored for an entry that is not stored.
        """
        chosen = self._chosen(which, (DEAD,), ~TOLD_LATER)
        for some in chunks(chosen):
            these = entries.c.id.in_(some)
            self._run(update(entries).where(these).values(state=PENDING, settled_at=None, reason=None))
        for some in chunks(chosen):
            self._reopen(entries.c.id.in_(some))
        self._announce()
        return len(chosen)

    def drop(self, which: Iterable[EntryId] | str, reason: str) -> int:
        """Give up pending entries and dead letters for good: these, or all of one receiver. Returns how many.

        A send under way is not stopped. Raises NotStored for an entry that is not stored.
        """
        chosen = self._chosen(which, (PENDING, DEAD))
        for some in chunks(chosen):
            self._run(
                update(entries)
                .where(entries.c.id.in_(some))
                .values(state=DROPPED, settled_at=self._now(), reason=reason)
            )
            self._close_empty(some)
        self._announce()
        return len(chosen)

    def _waiting(self, receiver: str) -> list[Waiting]:
        # Summed ones wait long and may be many: asked for apart, they never stand in the way of the others.
        found = [
            Waiting(
                id=row.id,
                status=Status(row.status),
                late=row.late,
                created_at=row.created_at,
                size=row.size,
                summed=row.summed,
            )
            for summed, most in ((False, OFFER), (True, OFFER_SUMMED))
            for row in self._run(WAITING, {"to": receiver, "summed": summed, "most": most})
        ]
        return sorted(found, key=attrgetter("id"))

    def _lease(self, row: Row, until: datetime) -> Notification:
        self._run(LEASE, {"of_id": row["id"], "until": until})
        content = self._run(CONTENT, {"of_id": row["id"]}).scalars().all()
        return Notification(
            id=row["id"],
            receiver=row["receiver"],
            kind=Kind(row["kind"]),
            status=Status(row["status"]),
            alerts=tuple(content),
            created_at=row["created_at"],
            attempts=row["attempts"],
        )

    def _bundle(self, receiver: str, offered: Sequence[Waiting], bundle: Bundle, now: datetime) -> Row:
        if not bundle.entries or not {entry.id for entry in offered}.issuperset(bundle.entries):
            raise ValueError("a bundle takes at least one entry, and only entries that were offered")
        row = {
            "id": secrets.token_hex(16),
            "receiver": receiver,
            "kind": bundle.kind,
            "status": bundle.status,
            "state": PENDING,
            "created_at": now,
            "attempts": 0,
            "due_at": now,
        }
        self._run(ADD_NOTIFICATION, row)
        self._run(ASSIGN, {"ids": bundle.entries, "to_id": row["id"]})
        return row

    def _attempted(self, sent: NotificationId, at: datetime, outcome: str, detail: str) -> bool:
        """Record one ended send; whether the notification is still pending."""
        row = self._run(NOTIFICATION, {"of_id": sent}).one_or_none()
        if row is None:
            raise NotStored(f"there is no notification {sent}")
        self._run(ADD_ATTEMPT, {"notification": sent, "at": at, "outcome": outcome, "detail": detail})
        return bool(row.state == PENDING)

    def _settle_entries(
        self,
        sent: NotificationId,
        states: tuple[EntryState, ...],
        to: EntryState,
        at: datetime,
        why: str | None,
    ) -> None:
        self._run(SETTLE_ENTRIES, {"of_id": sent, "states": states, "to_state": to, "at": at, "why": why})

    def _chosen(
        self, which: Iterable[EntryId] | str, states: tuple[EntryState, ...], *but: ColumnElement[bool]
    ) -> list[EntryId]:
        wanted = select(entries.c.id).where(entries.c.state.in_(states), *but).order_by(entries.c.id)
        if isinstance(which, str):
            return list(self._run(wanted.where(entries.c.receiver == which)).scalars())
        ids = sorted(set(which))
        self._refuse_unknown(ids)
        return [
            found
            for some in chunks(ids)
            for found in self._run(wanted.where(entries.c.id.in_(some))).scalars()
        ]

    def _refuse_unknown(self, ids: Sequence[EntryId]) -> None:
        known = {
            found
            for some in chunks(ids)
            for found in self._run(select(entries.c.id).where(entries.c.id.in_(some))).scalars()
        }
        if unknown := [one for one in ids if one not in known]:
            raise NotStored(
                f"there is no outbox entry {unknown[0]}: `cometwatch outbox list` shows the numbers"
            )

    def _reopen(self, these: ColumnElement[bool]) -> None:
        broken = select(entries.c.notification).where(
            entries.c.state == DEAD, entries.c.notification.is_not(None)
        )
        self._run(update(entries).where(these, entries.c.notification.in_(broken)).values(notification=None))
        whole = select(entries.c.notification).where(these)
        self._run(
            update(notifications)
            .where(notifications.c.id.in_(whole), notifications.c.state == DEAD)
            .values(state=PENDING, due_at=self._now(), attempts=0)
        )

    def _close_empty(self, dropped: Sequence[EntryId]) -> None:
        """Close the notifications that have nothing left to send, so that no claim finds an empty one."""
        theirs = select(entries.c.notification).where(entries.c.id.in_(dropped))
        left = exists().where(
            entries.c.notification == notifications.c.id, entries.c.state.in_([PENDING, DEAD])
        )
        self._run(update(notifications).where(notifications.c.id.in_(theirs), ~left).values(state=DROPPED))


def entry_of(row: Row) -> Entry:
    """A row of `ENTRIES` as its value."""
    return Entry(**{**row, "state": EntryState(row["state"])})
