"""People on call: who looks after an alert, who is told next, who is told instead, and what was held back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    delete,
    exists,
    false,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from monitor.errors import NotStored
from rules.model import Alert, AlertId, Severity, Status

from .findings import UNTOLD
from .tables import acks, alerts, attempts, chunks, entries, escalations, groups, notifications, silences
from .telling import Telling
from .values import Ack, EntryId, EntryState, Escalation, Held, Overdue, Silence

PENDING, DEAD, SUPPRESSED = EntryState.PENDING, EntryState.DEAD, EntryState.SUPPRESSED

DEAD_FOR: Final = timedelta(hours=24)
"""A dead letter that is older is not told to a fallback: whoever configures one today is spared the past."""

ALERT = select(alerts.c.status, alerts.c.resolved).where(alerts.c.id == bindparam("of_id"))
TOUCH = update(alerts).where(alerts.c.id == bindparam("of_id")).values(changed_at=bindparam("at"))
NO_ACK = delete(acks).where(acks.c.alert == bindparam("of_id"))
DUE_STEPS = (
    select(escalations, alerts.c.firing.label("now"))
    .join(alerts, alerts.c.id == escalations.c.alert)
    .where(
        escalations.c.due_at <= bindparam("now"),
        ~exists().where(acks.c.alert == escalations.c.alert),
    )
    .order_by(escalations.c.due_at, escalations.c.alert, escalations.c.step)
    .limit(bindparam("most"))
)
TAKEN = delete(escalations).where(
    tuple_(escalations.c.alert, escalations.c.step).in_(bindparam("steps", expanding=True))
)
UNTOLD_OF = select(alerts.c.id).where(
    alerts.c.id.in_(bindparam("ids", expanding=True)),
    alerts.c.status == Status.FIRING,
    ~exists().where(
        entries.c.alert_id == alerts.c.id,
        entries.c.receiver == bindparam("to"),
        entries.c.status == Status.FIRING,
    ),
)
TOLD = (
    select(entries.c.receiver)
    .where(
        entries.c.alert_id == bindparam("of_id"),
        entries.c.status == Status.FIRING,
        entries.c.state.in_([PENDING, EntryState.DELIVERED, DEAD]),
    )
    .order_by(entries.c.id)
)
other = entries.alias("other")
LAST_DETAIL = (
    select(attempts.c.detail)
    .where(attempts.c.notification == entries.c.notification)
    .order_by(attempts.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
HELD_BY = (
    select(
        entries.c.id,
        entries.c.receiver,
        entries.c.grouped,
        entries.c.alert_id,
        alerts.c.status,
        alerts.c.lasts,
        alerts.c.firing,
    )
    .join(alerts, alerts.c.id == entries.c.alert_id)
    .where(
        entries.c.silence == bindparam("of_silence"),
        entries.c.state == SUPPRESSED,
        entries.c.status == Status.FIRING,
        entries.c.settled_at > bindparam("since"),
    )
    .order_by(entries.c.id)
)
HELD_LATE = exists().where(
    entries.c.silence == silences.c.id,
    entries.c.state == SUPPRESSED,
    entries.c.status == Status.FIRING,
    entries.c.settled_at > silences.c.closed_at,
)
"""By a step that did not know yet that the silence was ended by command."""

RELEASE = (
    update(entries)
    .where(entries.c.id.in_(bindparam("ids", expanding=True)))
    .values(state=PENDING, settled_at=None, reason=None, created_at=bindparam("at"))
)
HAND_ON = (
    update(entries)
    .where(entries.c.id.in_(bindparam("ids", expanding=True)))
    .values(silence=bindparam("to_silence"), reason=bindparam("why"))
)
UNSENT = (
    select(entries.c.id, entries.c.receiver, entries.c.grouped, entries.c.alert_id, alerts.c.firing)
    .join(alerts, alerts.c.id == entries.c.alert_id)
    .where(
        entries.c.state == PENDING,
        entries.c.notification.is_(None),
        entries.c.status == Status.FIRING,
        entries.c.id > bindparam("after"),
    )
    .order_by(entries.c.id)
    .limit(bindparam("most"))
)
SUPPRESS = update(entries).values(
    state=SUPPRESSED, settled_at=bindparam("at"), reason=bindparam("why"), silence=bindparam("by_silence")
)
HOLD = SUPPRESS.where(entries.c.id.in_(bindparam("ids", expanding=True)))
HOLD_ENDS = SUPPRESS.where(
    tuple_(entries.c.alert_id, entries.c.receiver).in_(bindparam("places", expanding=True)),
    entries.c.status == Status.RESOLVED,
    entries.c.state == PENDING,
    entries.c.notification.is_(None),
)
HOLD_AT_ONCE: Final = 500

AFTERMATH: Final = timedelta(minutes=10)
"""So long after the end of a silence somebody may not know of it yet; they look every few seconds."""

BEFORE_ALL: Final = datetime.fromtimestamp(0, UTC)


class OnCall(Telling):
    """Acknowledgements, escalation, fallback, and the beginning and end of silences."""

    def ack(self, alert: AlertId, *, by: str, comment: str = "") -> Ack:
        """`by` looks after the alert: it is neither repeated nor escalated until `unack`.

        Raises NotStored for an alert that is not stored, and for one that is over.
        """
        self._refuse_over(alert)
        made = Ack(alert=alert, by=by, at=self._now(), comment=comment)
        self._run(NO_ACK, {"of_id": alert})
        columns = {name: getattr(made, name) for name in Ack.__struct_fields__}
        self._run(insert(acks), columns)
        self._changed_hands(alert)
        return made

    def unack(self, alert: AlertId) -> None:
        """Nobody looks after it any more. Raises NotStored if nobody did."""
        if not self._run(NO_ACK, {"of_id": alert}).rowcount:
            raise NotStored(f"alert {alert} is not acknowledged: `cometwatch alerts list` shows who has what")
        self._changed_hands(alert)

    def take_escalations(self, now: datetime, most: int = 500) -> list[Escalation]:
        """The steps that are due of alerts that fire and that nobody looks after; they are taken out.

        Steps of an acknowledged alert wait for its `unack`, or its end.
        """
        rows = self._run(DUE_STEPS, {"now": now, "most": most}).mappings().all()
        if rows:
            self._run(TAKEN, {"steps": [(row["alert"], row["step"]) for row in rows]})
        return [Escalation(alert=row["now"], after=row["after"], receivers=row["receivers"]) for row in rows]

    def tell(self, ids: Iterable[AlertId], receiver: str, *, note: str) -> int:
        """Tell `receiver` too that these alerts began, with `note` on top, each by itself and at once.

        Not of alerts that are over, nor where the receiver has an entry already. Returns of how many.
        """
        now = self._now()
        row = {
            "status": Status.FIRING,
            "receiver": receiver,
            "state": PENDING,
            "late": False,
            "created_at": now,
            "note": note,
        }
        untold = [
            one
            for some in chunks(dict.fromkeys(ids))
            for one in self._run(UNTOLD_OF, {"ids": some, "to": receiver}).scalars()
        ]
        self._run_each(insert(entries), [{**row, "alert_id": one} for one in untold])
        return len(untold)

    def told_of(self, alert: AlertId) -> tuple[str, ...]:
        """Who is told that the alert began, in the order in which they were."""
        return tuple(self._run(TOLD, {"of_id": alert}).scalars())

    def overdue(
        self,
        receiver: str,
        created_before: Mapping[Severity, datetime],
        *,
        unless_told: str,
        unclaimed: bool = False,
        most: int = 500,
    ) -> list[Overdue]:
        """Alerts that fire and that `receiver` did not take in time, or refused, the oldest first.

        In time: `created_before` says by severity what should have been taken. What was never tried is
        meant too with `unclaimed` (nothing is, while the receiver fails), but for groups that are not due.
        Not old news, not sums, and not what `unless_told` was told of.
        """
        now = self._now()
        wanted = (
            select(
                entries.c.id,
                entries.c.created_at,
                entries.c.state,
                entries.c.reason,
                alerts.c.firing,
                LAST_DETAIL.label("detail"),
            )
            .join(alerts, alerts.c.id == entries.c.alert_id)
            .where(
                entries.c.receiver == receiver,
                entries.c.status == Status.FIRING,
                ~entries.c.late,
                ~entries.c.summed,
                alerts.c.status == Status.FIRING,
                or_(
                    and_(entries.c.state == DEAD, entries.c.settled_at > now - DEAD_FOR),
                    and_(
                        entries.c.state == PENDING,
                        _is_old(created_before),
                        _was_due(receiver, now, unclaimed=unclaimed),
                    ),
                ),
                ~exists().where(
                    other.c.alert_id == entries.c.alert_id,
                    other.c.receiver == unless_told,
                    other.c.status == Status.FIRING,
                ),
            )
            .order_by(entries.c.id)
            .limit(most)
        )
        return [
            Overdue(
                entry=EntryId(row["id"]),
                alert=row["firing"],
                created_at=row["created_at"],
                reason=row["detail"] or row["reason"],
                is_dead=row["state"] == DEAD,
            )
            for row in self._run(wanted).mappings()
        ]

    def due_silences(self, now: datetime) -> list[Silence]:
        """The silences that are over and not closed, the one that ended first first.

        And those closed lately that still held something after it: that would be held for ever.
        """
        is_lately = and_(silences.c.closed_at > now - AFTERMATH, HELD_LATE)
        ended = and_(silences.c.ends_at <= now, or_(silences.c.closed_at.is_(None), is_lately))
        found = select(silences).where(ended).order_by(silences.c.ends_at, silences.c.id)
        return [Silence(**row) for row in self._run(found).mappings()]

    def close_silence(self, silence: Silence, *, still_held: Callable[[Alert], int | None]) -> Held:
        """Tell what it held and what still fires, once; `still_held` is the number of a silence that goes on.

        Events are over by nature, and are not told after the fact.
        """
        now = self._now()
        since = silence.closed_at or BEFORE_ALL
        rows = self._run(HELD_BY, {"of_silence": silence.id, "since": since}).mappings().all()
        firing = [row for row in rows if row["status"] == Status.FIRING and row["lasts"]]
        further = {row["alert_id"]: still_held(row["firing"]) for row in firing}
        free = [row for row in firing if further[row["alert_id"]] is None]
        for some in chunks(row["id"] for row in free):
            self._run(RELEASE, {"ids": some, "at": now})
        self._hand_on({row["id"]: further[row["alert_id"]] for row in firing})
        self._tend((row["receiver"], row["grouped"]) for row in free if row["grouped"])
        self._run(update(silences).where(silences.c.id == silence.id).values(closed_at=now))
        held = {row["alert_id"] for row in rows}
        return Held(
            held=len(held),
            sent=len({row["alert_id"] for row in free}),
            over=len(held - further.keys()),
        )

    def hold(self, silence: Silence, takes: Callable[[Alert], bool]) -> int:
        """The silence begins: hold what waits and was in no notification yet. Returns how many entries."""
        now, number, after = self._now(), 0, 0
        row = {"at": now, "why": silence.reason, "by_silence": silence.id}
        while rows := self._run(UNSENT, {"after": after, "most": HOLD_AT_ONCE}).mappings().all():
            after = rows[-1]["id"]
            taken = [one for one in rows if takes(one["firing"])]
            if not taken:
                continue
            number += len(taken)
            self._run(HOLD, {"ids": [one["id"] for one in taken], **row})
            places = [(one["alert_id"], one["receiver"]) for one in taken]
            self._run(HOLD_ENDS, {"places": places, **row, "why": UNTOLD})
            self._tend((one["receiver"], one["grouped"]) for one in taken if one["grouped"])
        return number

    def _refuse_over(self, alert: AlertId) -> None:
        row = self._run(ALERT, {"of_id": alert}).one_or_none()
        if row is None:
            raise NotStored(f"there is no alert {alert}: `cometwatch alerts list` shows what fires")
        if row.status == Status.RESOLVED:
            raise NotStored(
                f"alert {alert} is over ({row.resolved.resolution}): there is nothing to look after"
            )

    def _changed_hands(self, alert: AlertId) -> None:
        """Show it, also where a message about it is on its way."""
        now = self._now()
        self._run(TOUCH, {"of_id": alert, "at": now})
        self._outdate([alert], now)
        self._announce()

    def _hand_on(self, to: Mapping[EntryId, int | None]) -> None:
        for number in {number for number in to.values() if number is not None}:
            found = self._run(select(silences).where(silences.c.id == number)).mappings().one()
            which = {"to_silence": number, "why": Silence(**found).reason}
            for some in chunks(entry for entry, further in to.items() if further == number):
                self._run(HAND_ON, {"ids": some, **which})


def _is_old(created_before: Mapping[Severity, datetime]) -> ColumnElement[bool]:
    old = (
        and_(alerts.c.severity == severity, entries.c.created_at < at)
        for severity, at in created_before.items()
    )
    return or_(false(), *old)


def _was_due(receiver: str, now: datetime, *, unclaimed: bool) -> ColumnElement[bool]:
    """It was tried; or could have been, if the receiver was not left alone."""
    tried = exists().where(notifications.c.id == entries.c.notification, notifications.c.attempts > 0)
    if not unclaimed:
        return tried
    flushed = select(groups.c.key).where(groups.c.receiver == receiver, groups.c.due_at <= now)
    is_due = or_(entries.c.grouped.is_(None), entries.c.grouped.in_(flushed))
    waits = and_(entries.c.notification.is_(None), is_due)
    return or_(tried, waits)
