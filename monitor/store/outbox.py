"""The outbox: claim, send elsewhere, settle; and what a person does with what could not be sent.

A notification is pending exactly while one of its entries is. A claimed one is due again when its lease runs
out. It only ever tells of the same alerts or fewer (after `drop`), so that a receiver may take its id as the
same news; an alert in it may have been brought up to date between two attempts.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
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
from rules.model import Severity, Status

from .groups import WAITS
from .part import Row
from .tables import alerts, attempts, chunks, entries, groups, notifications, shown
from .telling import BODY, SET_FLUSHED, SUMS, Telling
from .values import (
    Bundle,
    Entry,
    EntryId,
    EntryState,
    Kind,
    Notification,
    NotificationId,
    Shown,
    Waiting,
)

OFFER: Final = 500
"""Most entries offered to the bundling policy at once: enough for a summary, and a short transaction."""

OFFER_SUMMED: Final = 1_000
"""And most of those that are summed: a storm of some minutes should be one sum, not ten."""

OFFER_CRITICAL: Final = 50
"""Most critical ones that are offered though older ones than fit wait before them."""

OFFER_FOR_SUM: Final = 2_500
"""And once a sum of them is due, so that a storm is few of them: as many as need little memory."""

PENDING, DELIVERED, DEAD, DROPPED = (
    EntryState.PENDING,
    EntryState.DELIVERED,
    EntryState.DEAD,
    EntryState.DROPPED,
)

later = entries.alias("later")

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
    entries.c.grouped,
    entries.c.note,
    entries.c.silence,
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
CLAIMED = select(func.count()).select_from(notifications).where(OPEN)
TRIED_LONGEST_AGO = (
    select(notifications)
    .where(OPEN)
    .order_by(notifications.c.tried_at, notifications.c.created_at, notifications.c.id)
    .limit(1)
)
UNCLAIMED = and_(
    entries.c.state == PENDING,
    entries.c.receiver == bindparam("to"),
    entries.c.notification.is_(None),
    ~WAITS,
)
OFFERED = select(
    entries.c.id,
    entries.c.status,
    entries.c.late,
    entries.c.created_at,
    SIZE,
    entries.c.summed,
    alerts.c.severity,
    (alerts.c.status == Status.RESOLVED).label("is_over"),
    alerts.c.lasts,
).join(alerts, alerts.c.id == entries.c.alert_id)
WAITING = (
    OFFERED.where(UNCLAIMED, entries.c.summed == bindparam("summed"), entries.c.grouped.is_(None))
    .order_by(entries.c.id)
    .limit(bindparam("most"))
)
WAITING_CRITICAL = WAITING.where(
    alerts.c.severity == Severity.CRITICAL, entries.c.status == Status.FIRING, entries.c.late.is_(False)
)
DUE_GROUPS = (
    select(groups)
    .where(groups.c.receiver == bindparam("to"), groups.c.due_at <= bindparam("now"))
    .order_by(groups.c.due_at, groups.c.subject)
    .limit(bindparam("most"))
)
WAITING_OF_GROUP = (
    select(entries.c.id, entries.c.status, SIZE)
    .join(alerts, alerts.c.id == entries.c.alert_id)
    .where(UNCLAIMED, entries.c.grouped == bindparam("of_key"))
    .order_by(entries.c.id)
    .limit(bindparam("most"))
)
# As a list of keys, made once: joined, SQLite asks for every entry whether any group at all is due.
WAITING_OF_DUE_GROUPS = (
    OFFERED.where(
        UNCLAIMED,
        entries.c.grouped.in_(
            select(groups.c.key).where(
                groups.c.receiver == bindparam("to"), groups.c.due_at <= bindparam("now")
            )
        ),
    )
    .order_by(entries.c.id)
    .limit(bindparam("most"))
)
NEXT_FLUSH = select(func.min(groups.c.due_at)).where(groups.c.receiver == bindparam("to"))
NEXT_STANDING = select(func.min(shown.c.due_at)).where(shown.c.receiver == bindparam("to"))
STANDS_IN = select(entries.c.alert_id, entries.c.grouped).where(entries.c.notification == bindparam("of_id"))
NOTIFICATION = select(notifications).where(notifications.c.id == bindparam("of_id"))
ADD_NOTIFICATION = insert(notifications)
ASSIGN = (
    update(entries)
    .where(entries.c.id.in_(bindparam("ids", expanding=True)))
    .values(notification=bindparam("to_id"))
)
END_IN_A_SUM = (
    update(entries)
    .where(
        entries.c.alert_id.in_(
            select(later.c.alert_id).where(
                later.c.notification == bindparam("of_id"), later.c.status == Status.FIRING
            )
        ),
        entries.c.receiver == bindparam("to"),
        entries.c.status == Status.RESOLVED,
        entries.c.state == PENDING,
        entries.c.notification.is_(None),
        entries.c.grouped.is_(None),
    )
    .values(summed=True)
)
"""What was told in a sum is over already: that is told in one too."""

LEASE = (
    update(notifications)
    .where(notifications.c.id == bindparam("of_id"))
    .values(due_at=bindparam("until"), attempts=notifications.c.attempts + 1, tried_at=bindparam("now"))
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


class Outbox(Telling):
    """What deliverers and `cometwatch outbox` do."""

    def claim(
        self,
        receiver: str,
        *,
        now: datetime,
        lease: timedelta,
        choose: Callable[[Sequence[Waiting]], Bundle | None],
        most_claimed: int | None = None,
        most_groups: int | None = None,
        most_bytes: int | None = None,
    ) -> Notification | None:
        """Take the next notification to send to `receiver`; unsettled after `lease` it is offered again.

        1. One that is due again, or whose lease ran out: the same id, the same entries.
        2. Else a group that is due: all that waits of it, up to 500 entries and `most_bytes` as stored, as
           one notification; the rest of it is due at once.
        3. Else up to 500 entries that are in no notification and no group, and up to 1,000 summed ones, are
           offered to `choose`, oldest first; its bundle is stored as a notification with a fresh id before it
           is returned. If more than `most_groups` groups are due, theirs are offered too: a storm. For a
           summary or a digest up to 2,500 are offered.

        While `most_claimed` or more are claimed, only those are offered, due or not, the one that was tried
        longest ago first: they take turns in finding out whether the receiver answers.
        An entry waits while an older one of the same alert for the same receiver is unsettled, so that a
        resolution never overtakes its firing. None: nothing to send now, see `next_due`.
        """
        row = self._claimed_before(receiver, now, most_claimed)
        if row is None:
            is_storm = (
                most_groups is not None and self._due_groups(receiver, now, most_groups + 1) > most_groups
            )
            row = None if is_storm else self._flush(receiver, now, most_bytes)
            row = row or self._chosen_of(receiver, now, choose, is_storm=is_storm)
        return None if row is None else self._lease(row, now, now + lease)

    def next_due(self, receiver: str) -> datetime | None:
        """When there is something to claim again: a retry, a lease that runs out, a group, standing traffic.

        Entries in no notification and no group are not looked at: the claim before it has just offered them.
        """
        dues = (
            self._run(one, {"to": receiver}).scalar_one() for one in (NEXT_DUE, NEXT_FLUSH, NEXT_STANDING)
        )
        return min((due for due in dues if due is not None), default=None)

    def settle_delivered(self, sent: NotificationId, at: datetime, *, shows: Sequence[Shown] = ()) -> None:
        """The receiver accepted it, and now shows `shows` of it.

        Entries given up or claimed again meanwhile count as delivered too.
        """
        row = self._attempted(sent, at, "delivered", "")
        self._run(SETTLE, {"of_id": sent, "to_state": DELIVERED, "due": at})
        self._settle_entries(sent, (PENDING, DEAD), DELIVERED, at, None)
        told = self._run(STANDS_IN, {"of_id": sent}).all()
        ids = [one.alert_id for one in told]
        if row["subject"]:
            self._run(SET_FLUSHED, {"to": row["receiver"], "of_subject": row["subject"], "at": at})
        is_sum = row["kind"] in SUMS
        before = () if is_sum else [row["subject"]] if row["subject"] else ids
        since = row["tried_at"] or row["created_at"]
        self._show(row["receiver"], before, shows, told=ids, since=since)
        if is_sum:  # what is shown of them stands elsewhere, and is out of date
            self._outdate(ids, at)
        elif row["subject"]:
            self._outdate_elsewhere(row["receiver"], ids, row["subject"], at)
        keys = {one.grouped for one in told if one.grouped}
        self._tend((row["receiver"], key) for key in keys)
        if not is_sum and not row["subject"]:  # of a sum nothing is: thousands would come one by one
            self._ring_later(row["receiver"], keys, at)

    def settle_retry(self, sent: NotificationId, at: datetime, due: datetime, detail: str) -> None:
        """It was not accepted: offer it again at `due`. `detail` is shown to people: no secret, no text."""
        if self._attempted(sent, at, "retry", detail)["state"] == PENDING:
            self._run(SETTLE, {"of_id": sent, "to_state": PENDING, "due": due})

    def settle_dead(self, sent: NotificationId, at: datetime, detail: str) -> None:
        """It is given up: its entries stay as dead letters, `detail` as their reason."""
        row = self._attempted(sent, at, "dead", detail)
        if row["state"] == PENDING:
            self._run(SETTLE, {"of_id": sent, "to_state": DEAD, "due": at})
            self._settle_entries(sent, (PENDING,), DEAD, at, detail)
            told = self._run(STANDS_IN, {"of_id": sent}).all()
            self._tend((row["receiver"], one.grouped) for one in told if one.grouped)

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
        self._tend_groups_of(chosen)
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
        self._tend_groups_of(chosen)
        self._announce()
        return len(chosen)

    def _claimed_before(self, receiver: str, now: datetime, most_claimed: int | None) -> Row | None:
        """One that is offered again."""
        if most_claimed is not None and self._run(CLAIMED, {"to": receiver}).scalar_one() >= most_claimed:
            return self._run(TRIED_LONGEST_AGO, {"to": receiver}).mappings().one_or_none()
        return self._run(DUE, {"to": receiver, "now": now}).mappings().one_or_none()

    def _due_groups(self, receiver: str, now: datetime, most: int) -> int:
        return len(self._run(DUE_GROUPS, {"to": receiver, "now": now, "most": most}).all())

    def _flush(self, receiver: str, now: datetime, most_bytes: int | None) -> Row | None:
        """All that waits of the group that is due first, as a notification."""
        due = self._run(DUE_GROUPS, {"to": receiver, "now": now, "most": 1}).mappings().one_or_none()
        if due is None:
            return None
        waiting = self._run(WAITING_OF_GROUP, {"to": receiver, "of_key": due["key"], "most": OFFER}).all()
        fit = len(waiting)
        if most_bytes is not None:
            fit = sum(size <= most_bytes for size in accumulate(one.size for one in waiting))
        found = waiting[: max(fit, 1)]
        bundle = Bundle(
            kind=Kind.GROUP,
            status=min(Status(one.status) for one in found),  # firing, if one of them is
            entries=tuple(one.id for one in found),
        )
        row = self._add_notification(receiver, bundle, now, subject=due["subject"])
        self._tend([(receiver, due["key"])])
        return row

    def _chosen_of(
        self,
        receiver: str,
        now: datetime,
        choose: Callable[[Sequence[Waiting]], Bundle | None],
        *,
        is_storm: bool,
    ) -> Row | None:
        offered = self._waiting(receiver, now, OFFER, with_groups=is_storm)
        bundle = choose(offered) if offered else None
        if bundle is not None and bundle.kind in SUMS and len(offered) >= OFFER:
            offered = self._waiting(receiver, now, OFFER_FOR_SUM, with_groups=is_storm)
            bundle = choose(offered)
        if bundle is None:
            return None
        if not bundle.entries or not {entry.id for entry in offered}.issuperset(bundle.entries):
            raise ValueError("a bundle takes at least one entry, and only entries that were offered")
        row = self._add_notification(receiver, bundle, now)
        if bundle.kind in SUMS:
            self._run(END_IN_A_SUM, {"of_id": row["id"], "to": receiver})
        if is_storm:
            self._tend_groups_of(bundle.entries)
        return row

    def _waiting(self, receiver: str, now: datetime, most: int, *, with_groups: bool) -> list[Waiting]:
        # Summed ones wait long and may be many: asked for apart, they never stand in the way of the others.
        # In the same way nothing stands in the way of what is critical.
        of_sums = max(most, OFFER_SUMMED)
        asked: list[tuple[Select[Any], Row]] = [
            (WAITING, {"to": receiver, "summed": False, "most": most}),
            (WAITING, {"to": receiver, "summed": True, "most": of_sums}),
            (WAITING_CRITICAL, {"to": receiver, "summed": False, "most": OFFER_CRITICAL}),
        ]
        if with_groups:
            asked.append((WAITING_OF_DUE_GROUPS, {"to": receiver, "now": now, "most": of_sums}))
        found = (_waiting_of(row) for one, which in asked for row in self._run(one, which).mappings())
        return sorted({one.id: one for one in found}.values(), key=attrgetter("id"))

    def _lease(self, row: Row, now: datetime, until: datetime) -> Notification:
        self._run(LEASE, {"of_id": row["id"], "now": now, "until": until})
        return self._news(row, row["attempts"])

    def _add_notification(
        self, receiver: str, bundle: Bundle, now: datetime, *, subject: str | None = None
    ) -> Row:
        row = {
            "id": secrets.token_hex(16),
            "receiver": receiver,
            "kind": bundle.kind,
            "status": bundle.status,
            "state": PENDING,
            "created_at": now,
            "attempts": 0,
            "due_at": now,
            "subject": subject,
            "tried_at": None,
        }
        self._run(ADD_NOTIFICATION, row)
        self._run(ASSIGN, {"ids": bundle.entries, "to_id": row["id"]})
        return row

    def _tend_groups_of(self, ids: Sequence[EntryId]) -> None:
        for some in chunks(ids):
            these = select(entries.c.receiver, entries.c.grouped).where(
                entries.c.id.in_(some), entries.c.grouped.is_not(None)
            )
            self._tend((row.receiver, row.grouped) for row in self._run(these.distinct()).all())

    def _attempted(self, sent: NotificationId, at: datetime, outcome: str, detail: str) -> Row:
        """Record one ended send; the notification as it was before."""
        row = self._run(NOTIFICATION, {"of_id": sent}).mappings().one_or_none()
        if row is None:
            raise NotStored(f"there is no notification {sent}")
        self._run(ADD_ATTEMPT, {"notification": sent, "at": at, "outcome": outcome, "detail": detail})
        return row

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


def _waiting_of(row: Row) -> Waiting:
    return Waiting(**{**row, "status": Status(row["status"]), "severity": Severity(row["severity"])})


def entry_of(row: Row) -> Entry:
    """A row of `ENTRIES` as its value."""
    return Entry(**{**row, "state": EntryState(row["state"])})
