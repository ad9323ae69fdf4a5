"""Standing traffic: what receivers show is brought up to date, repeated, said again.

It is level-triggered: a row of `shown` that is due is told as things are now, as often as it takes. Nothing
is claimed; the notification's id is made of the row, so that it is the same on each retry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import and_, bindparam, case, delete, exists, select, update

from rules.model import Alert, AlertId, Status, digest

from .groups import PENDING
from .part import Row
from .tables import alerts, chunks, entries, groups, notifications, shown
from .telling import THESE_SHOWN, Telling
from .values import (
    Ack,
    Change,
    EntryState,
    Kind,
    Notification,
    NotificationId,
    Opened,
    Shown,
)

LOOK_AGAIN: Final = timedelta(hours=1)
"""When a repeat that is held back is looked at again, if nothing says it better."""

CURRENT = case((alerts.c.status == Status.RESOLVED, alerts.c.resolved), else_=alerts.c.firing).label(
    "alert_now"
)
DUE = (
    select(shown, CURRENT)
    .join(alerts, alerts.c.id == shown.c.alert, isouter=True)
    .where(shown.c.receiver == bindparam("to"), shown.c.due_at <= bindparam("now"))
    .order_by(shown.c.due_at, shown.c.subject)
    .limit(bindparam("most"))
)
_THIS = and_(shown.c.receiver == bindparam("to"), shown.c.subject == bindparam("of_subject"))
PUT_OFF = update(shown).where(_THIS).values(due_at=bindparam("due"))
FORGET = delete(shown).where(_THIS)
FAILED = update(shown).where(*THESE_SHOWN).values(due_at=bindparam("due"), failures=shown.c.failures + 1)
END_WAITS = select(
    exists().where(
        entries.c.alert_id == bindparam("of_id"),
        entries.c.receiver == bindparam("to"),
        entries.c.status == Status.RESOLVED,
        entries.c.state == PENDING,
    )
)
LAST_OF_SUBJECT = (
    select(notifications.c.id)
    .where(
        notifications.c.receiver == bindparam("to"),
        notifications.c.subject == bindparam("of_subject"),
        notifications.c.state == EntryState.DELIVERED,
    )
    .order_by(notifications.c.created_at.desc(), notifications.c.tried_at.desc())
    .limit(1)
)
LAST_TOLD = (
    select(CURRENT)
    .select_from(entries.join(alerts, alerts.c.id == entries.c.alert_id))
    .where(entries.c.notification == bindparam("of_id"))
    .order_by(entries.c.id)
)
NOTES = select(entries.c.alert_id, entries.c.note).where(
    entries.c.alert_id.in_(bindparam("ids", expanding=True)),
    entries.c.receiver == bindparam("to"),
    entries.c.status == Status.FIRING,
    entries.c.note.is_not(None),
)
SOUNDED = (
    update(groups)
    .where(
        groups.c.receiver == bindparam("to"),
        groups.c.subject.in_(bindparam("subjects", expanding=True)),
    )
    .values(flushed_at=bindparam("at"))
)


class Due(NamedTuple):
    """A row that is told now, with what it is about."""

    row: Row
    told: tuple[Alert, ...]
    opened: Opened | None = None
    others: tuple[Alert, ...] = ()

    @property
    def likeness(self) -> tuple[str, bool, bool]:
        """Rows that are alike in this may be told together; one of a group never is."""
        return self.row["change"], self.told[0].status is Status.RESOLVED, self.opened is not None


def never_held(_alert: Alert) -> datetime | None:
    return None


class Standing(Telling):
    """What deliverers do when no news waits."""

    def claim_standing(
        self,
        receiver: str,
        *,
        now: datetime,
        most: int,
        held_until: Callable[[Alert], datetime | None] = never_held,
    ) -> Notification | None:
        """What is to be told again at `now`: a group, or up to `most` alerts that change alike.

        Alerts are as they are now. Repeats leave out what is acknowledged, and what a silence holds: until
        when, `held_until` says. Rows that are of no more use are removed. None: nothing to tell now.
        """
        while rows := self._run(DUE, {"to": receiver, "now": now, "most": most}).mappings().all():
            due = [one for row in rows if (one := self._judge(row, now, held_until)) is not None]
            if due:
                first = due[0]
                alike = due[:1] if first.opened else [d for d in due if d.likeness == first.likeness]
                return self._standing(receiver, alike, now)
        return None

    def settle_standing(self, sent: Notification, shows: Sequence[Shown]) -> None:
        """The receiver accepted it, and now shows `shows` of what it was about."""
        is_sounded = sent.change is Change.REPEAT
        if is_sounded:
            at = max((one.shown_at for one in shows), default=self._now())
            self._run(SOUNDED, {"to": sent.receiver, "subjects": _subjects(sent), "at": at})
        told = {alert.id for alert in (*sent.alerts, *sent.others)}
        counts = 0 if sent.change is Change.UPDATE else 1
        self._show(sent.receiver, _subjects(sent), shows, told=told, since=sent.created_at, more=counts)

    def put_off_standing(self, sent: Notification, due: datetime) -> None:
        """The receiver did not accept it: tell it again at `due`."""
        for some in chunks(_subjects(sent)):
            self._run(FAILED, {"to": sent.receiver, "subjects": some, "due": due})

    def _judge(self, row: Row, now: datetime, held_until: Callable[[Alert], datetime | None]) -> Due | None:
        """What to tell of a row that is due; None if it is put off or removed."""
        due = self._of_group(row) if row["alert"] is None else self._of_alert(row)
        if due is None or row["change"] != Change.REPEAT:
            return due
        return self._without_held(due, now, held_until)

    def _of_alert(self, row: Row) -> Due | None:
        alert: Alert = row["alert_now"]
        # What a machine would forget is said again in batches, also where people hear of each by itself.
        is_alone = row["change"] != Change.REASSERT
        opened = self._opened(row["receiver"], row["subject"]) if is_alone else None
        if alert.status is Status.FIRING or row["is_over"]:
            return Due(row, (alert,), opened)
        if self._run(END_WAITS, {"of_id": alert.id, "to": row["receiver"]}).scalar_one():
            self._put_off(row, None)  # that it is over is told as news
            return None
        if row["change"] == Change.UPDATE:
            return Due(row, (alert,), opened)
        self._forget(row)
        return None

    def _of_group(self, row: Row) -> Due | None:
        opened = self._opened(row["receiver"], row["subject"])
        if opened is None:
            self._forget(row)
            return None
        fires = tuple(alert for alert, _ in self._others(opened))
        if row["change"] == Change.UPDATE:
            last = self._last_told(opened)
            told = {alert.id for alert in last}
            rest = tuple(alert for alert in fires if alert.id not in told)
            return self._if_any(row, last or fires, opened, rest if last else ())
        return self._if_any(row, fires, opened, ())

    def _if_any(
        self, row: Row, told: tuple[Alert, ...], opened: Opened, others: tuple[Alert, ...]
    ) -> Due | None:
        if told:
            return Due(row, told, opened, others)
        self._put_off(row, None)  # what is shown of it stays, and may be answered by later news
        return None

    def _last_told(self, opened: Opened) -> tuple[Alert, ...]:
        """What the last message about the group brought, as it is now."""
        which = {"to": opened.receiver, "of_subject": opened.subject}
        last = self._run(LAST_OF_SUBJECT, which).scalar_one_or_none()
        return () if last is None else tuple(self._run(LAST_TOLD, {"of_id": last}).scalars())

    def _without_held(
        self, due: Due, now: datetime, held_until: Callable[[Alert], datetime | None]
    ) -> Due | None:
        """A repeat of what nobody looks after and nothing holds; put off if nothing is left."""
        acks = self._acks(alert.id for alert in due.told)
        ends = {alert.id: until for alert in due.told if (until := held_until(alert)) is not None}
        rest = tuple(alert for alert in due.told if alert.id not in acks and alert.id not in ends)
        if rest:
            held = tuple(alert for alert in due.told if alert not in rest)
            return due._replace(told=rest, others=held)
        self._put_off(due.row, _look_again_at(due.opened, ends.values(), now))
        return None

    def _standing(self, receiver: str, due: Sequence[Due], now: datetime) -> Notification:
        first = due[0]
        told = tuple(alert for one in due for alert in one.told)
        fires = [alert.id for alert in (*told, *first.others) if alert.status is Status.FIRING]
        acks = self._acks(fires)
        change = Change(first.row["change"])
        return Notification(
            id=_id_of(receiver, change, due, acks),
            receiver=receiver,
            kind=Kind.GROUP if first.opened else Kind.ALERTS,
            status=min(alert.status for alert in told),  # firing, if one of them is
            alerts=told,
            created_at=now,
            attempts=first.row["failures"],
            change=change,
            opened=first.opened,
            others=first.others,
            receipts={one.row["subject"]: one.row["receipt"] for one in due if one.row["receipt"]},
            acks=acks,
            notes=self._notes(receiver, fires),
        )

    def _notes(self, receiver: str, ids: Iterable[AlertId]) -> dict[AlertId, str]:
        return {
            row.alert_id: row.note
            for some in chunks(ids)
            for row in self._run(NOTES, {"ids": some, "to": receiver})
        }

    def _put_off(self, row: Row, due: datetime | None) -> None:
        self._run(PUT_OFF, {"to": row["receiver"], "of_subject": row["subject"], "due": due})

    def _forget(self, row: Row) -> None:
        self._run(FORGET, {"to": row["receiver"], "of_subject": row["subject"]})


def _look_again_at(opened: Opened | None, ends: Iterable[datetime], now: datetime) -> datetime:
    """When something may be free to be repeated: a silence ends, or at the next interval of the group."""
    if opened is not None and opened.timing.interval:
        return opened.flush_at(now + timedelta(microseconds=1))
    wait = opened.timing.repeat if opened is not None else None
    return min(end for end in (now + (wait or LOOK_AGAIN), *ends) if end > now)


def _subjects(sent: Notification) -> list[str]:
    """The subjects of the rows that a standing notification was made of."""
    if sent.opened is not None:
        return [sent.opened.subject]
    return [alert.id for alert in sent.alerts]


def _id_of(receiver: str, change: Change, due: Sequence[Due], acks: dict[AlertId, Ack]) -> NotificationId:
    """The same as long as there is the same to tell."""
    facts = [
        str(fact)
        for one in due
        for fact in (
            one.row["subject"],
            one.row["repeats"],
            one.row["shown_at"].isoformat(),
            *(f"{alert.id} {alert.revision} {alert.status}" for alert in one.told),
        )
    ]
    facts += [f"{ack.alert} {ack.by} {ack.at.isoformat()}" for ack in acks.values()]
    return NotificationId(digest(receiver, change, *facts))
