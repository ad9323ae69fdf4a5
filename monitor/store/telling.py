"""What a notification says: its alerts as they are now, who has them, where they are shown already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, case, delete, exists, func, insert, or_, select, update

from rules.model import Alert, AlertId, Status

from .groups import DELIVERED, PENDING, TOLD_AND_LASTS, Groups, opened_of
from .part import Row
from .tables import acks, alerts, chunks, entries, groups, notifications, shown
from .values import Ack, Change, EntryState, Kind, Notification, Opened, Shown

MOST_OTHERS: Final = 500
"""Most alerts that a notification brings of what was told before."""

STORM: Final = timedelta(minutes=10)
"""Summaries so shortly before belong to the same storm."""

SUMS: Final = frozenset({Kind.SUMMARY, Kind.DIGEST})
"""Kinds that tell of many alerts by numbers: none of them is shown by itself."""

BODY = case((entries.c.status == Status.RESOLVED, alerts.c.resolved), else_=alerts.c.firing).label("alert")

CONTENT = (
    select(BODY, entries.c.note)
    .select_from(entries.join(alerts, alerts.c.id == entries.c.alert_id))
    .where(entries.c.notification == bindparam("of_id"), entries.c.state == PENDING)
    .order_by(entries.c.id)
)
_IS_OPEN = exists().where(
    groups.c.receiver == bindparam("to"),
    groups.c.subject == bindparam("of_subject"),
    groups.c.closed_at.is_(None),
)
TOLD_OF_GROUP = (
    select(alerts.c.firing.label("alert"), entries.c.note)
    .select_from(entries.join(alerts, alerts.c.id == entries.c.alert_id))
    .where(
        entries.c.grouped == bindparam("of_key"),
        entries.c.receiver == bindparam("to"),
        TOLD_AND_LASTS,
        _IS_OPEN,  # else what fires under the key is of a later opening
    )
    .order_by(entries.c.id.desc())
    .limit(MOST_OTHERS)
)
RECEIPTS = select(shown.c.subject, shown.c.receipt).where(
    shown.c.receiver == bindparam("to"),
    shown.c.subject.in_(bindparam("subjects", expanding=True)),
    shown.c.receipt.is_not(None),
)
ACKS = select(acks).where(acks.c.alert.in_(bindparam("ids", expanding=True)))
SUMMARIES = select(func.count()).where(
    notifications.c.receiver == bindparam("to"),
    notifications.c.kind == Kind.SUMMARY,
    notifications.c.created_at > bindparam("since"),
    notifications.c.created_at <= bindparam("now"),
    notifications.c.id != bindparam("but"),
)
IN_DOUBT = select(
    exists().where(
        notifications.c.receiver == bindparam("to"),
        notifications.c.subject == bindparam("of_subject"),
        notifications.c.state.in_([EntryState.PENDING, EntryState.DEAD]),
        notifications.c.attempts > 0,
        notifications.c.id != bindparam("but"),
    )
)
THESE_SHOWN = (
    shown.c.receiver == bindparam("to"),
    shown.c.subject.in_(bindparam("subjects", expanding=True)),
)
REPEATS = select(shown.c.subject, shown.c.repeats).where(*THESE_SHOWN)
FORGET_SHOWN = delete(shown).where(*THESE_SHOWN)
ADD_SHOWN = insert(shown)
CHANGED = select(alerts.c.id, alerts.c.changed_at).where(alerts.c.id.in_(bindparam("ids", expanding=True)))
TOLD_IN = (
    select(notifications.c.receiver, notifications.c.subject, entries.c.alert_id)
    .join(entries, entries.c.notification == notifications.c.id)
    .where(
        entries.c.alert_id.in_(bindparam("ids", expanding=True)),
        notifications.c.subject.is_not(None),
        entries.c.state == DELIVERED,
    )
)
OUTDATE = (
    update(shown)
    .where(
        shown.c.follows,
        or_(shown.c.due_at.is_(None), shown.c.due_at > bindparam("now"), shown.c.change != Change.UPDATE),
    )
    .values(due_at=bindparam("now"), change=Change.UPDATE, failures=0)
)
OUTDATE_ALERTS = OUTDATE.where(shown.c.alert.in_(bindparam("ids", expanding=True)))
OUTDATE_SUBJECT = OUTDATE.where(
    shown.c.receiver == bindparam("to"), shown.c.subject == bindparam("of_subject")
)
RING = (
    update(shown)
    .where(
        shown.c.receiver == bindparam("to"),
        shown.c.subject == bindparam("of_subject"),
        shown.c.due_at.is_(None),
    )
    .values(due_at=bindparam("due"), change=Change.REPEAT)
)
OUTDATE_THESE = OUTDATE.where(*THESE_SHOWN)
SET_FLUSHED = (
    update(groups)
    .where(groups.c.receiver == bindparam("to"), groups.c.subject == bindparam("of_subject"))
    .values(flushed_at=bindparam("at"))
)


class Telling(Groups):
    """What claims and settlements of news and of standing traffic have in common."""

    def summaries(self, receiver: str, *, now: datetime, but: str = "") -> int:
        """How many sums the receiver was sent in the ten minutes up to `now`."""
        which = {"to": receiver, "since": now - STORM, "now": now, "but": but}
        number: int = self._run(SUMMARIES, which).scalar_one()
        return number

    def _news(self, row: Row, tried_before: int) -> Notification:
        """The claimed notification of a row of `notifications`."""
        content = self._run(CONTENT, {"of_id": row["id"]}).all()
        told: tuple[Alert, ...] = tuple(one.alert for one in content)
        opened = self._opened(row["receiver"], row["subject"]) if row["subject"] else None
        others = self._others(opened) if opened else []
        kind = Kind(row["kind"])
        return Notification(
            id=row["id"],
            receiver=row["receiver"],
            kind=kind,
            status=Status(row["status"]),
            alerts=told,
            created_at=row["created_at"],
            attempts=tried_before,
            opened=opened,
            others=tuple(alert for alert, _ in others),
            receipts=self._receipts(row["receiver"], told, opened),
            acks=self._acks(
                alert.id
                for alert in (*told, *(other for other, _ in others))
                if alert.status is Status.FIRING
            ),
            notes={one.alert.id: one.note for one in content if one.note}
            | {alert.id: note for alert, note in others if note},
            summed_before=self.summaries(row["receiver"], now=row["created_at"], but=row["id"])
            if kind is Kind.SUMMARY
            else 0,
            is_in_doubt=bool(row["subject"]) and self._is_in_doubt(row),
        )

    def _is_in_doubt(self, row: Row) -> bool:
        """Whether another one about the same was sent, and may have been taken by the receiver or not."""
        which = {"to": row["receiver"], "of_subject": row["subject"], "but": row["id"]}
        return bool(self._run(IN_DOUBT, which).scalar_one())

    def _others(self, opened: Opened) -> list[tuple[Alert, str | None]]:
        """What the group's receiver was told of it and fires on, the oldest first, with the notes on it."""
        which = {"of_key": opened.group.key, "to": opened.receiver, "of_subject": opened.subject}
        rows = self._run(TOLD_OF_GROUP, which).all()
        return [(row.alert, row.note) for row in reversed(rows)]

    def _receipts(self, receiver: str, told: Iterable[Alert], opened: Opened | None) -> dict[str, str]:
        subjects = {*([opened.subject] if opened else []), *(alert.id for alert in told)}
        return {
            row.subject: row.receipt
            for some in chunks(subjects)
            for row in self._run(RECEIPTS, {"to": receiver, "subjects": some})
        }

    def _acks(self, ids: Iterable[AlertId]) -> dict[AlertId, Ack]:
        return {
            row["alert"]: Ack(**row)
            for some in chunks(ids)
            for row in self._run(ACKS, {"ids": some}).mappings()
        }

    def _show(
        self,
        receiver: str,
        before: Iterable[str],
        shows: Iterable[Shown],
        *,
        told: Iterable[AlertId],
        since: datetime,
        more: int = 0,
    ) -> None:
        """Put `shows` in the place of the rows of the subjects `before`.

        What changed of the alerts that were `told`, `since` they were read for it, is due at once. Counts of
        repeats go on, `more` of them: the ids of what is told next are made of them.
        """
        rows = {row.subject: row for row in shows}
        subjects = sorted({*before, *rows})
        counts = {
            row.subject: row.repeats
            for some in chunks(subjects)
            for row in self._run(REPEATS, {"to": receiver, "subjects": some})
        }
        for some in chunks(subjects):
            self._run(FORGET_SHOWN, {"to": receiver, "subjects": some})
        changed = self._changed({*told, *(row.alert for row in rows.values() if row.alert)})
        self._run_each(
            ADD_SHOWN,
            [
                _shown_row(row, receiver, counts.get(row.subject, 0) + more)
                for row in rows.values()
                if row.alert is None or row.alert in changed  # else it was pruned meanwhile
            ],
        )
        self._outdate((alert for alert, at in changed.items() if at > since), self._now())

    def _changed(self, ids: Iterable[AlertId]) -> dict[AlertId, datetime]:
        return {row.id: row.changed_at for some in chunks(ids) for row in self._run(CHANGED, {"ids": some})}

    def _outdate(self, ids: Iterable[AlertId], now: datetime) -> None:
        """These alerts changed: receivers that follow, and show one of them alone or in a group, are due."""
        for some in chunks(ids):
            self._run(OUTDATE_ALERTS, {"ids": some, "now": now})
            places = {(row.receiver, row.subject) for row in self._run(TOLD_IN, {"ids": some})}
            for receiver, subject in places:
                self._run(OUTDATE_SUBJECT, {"to": receiver, "of_subject": subject, "now": now})

    def _ring_later(self, receiver: str, keys: Iterable[str], at: datetime) -> None:
        """Alerts of these open groups were told by themselves in a storm: they are repeated all the same."""
        rings = [
            Shown(
                receiver=receiver,
                subject=opened.subject,
                alert=None if opened.group.labels else AlertId(opened.subject),
                grouped=opened.group.key,
                shown_at=at,
                due_at=due,
                change=Change.REPEAT,
            )
            for opened in map(opened_of, self._open_ones(receiver, keys).values())
            if (due := opened.repeat_at(at)) is not None
        ]
        for some in chunks(rings):
            theirs = {"to": receiver, "subjects": [one.subject for one in some]}
            known = {row.subject for row in self._run(REPEATS, theirs)}
            self._run_each(
                ADD_SHOWN, [_shown_row(one, receiver, 0) for one in some if one.subject not in known]
            )
            for one in some:
                which = {"to": receiver, "of_subject": one.subject}
                self._run(SET_FLUSHED, {**which, "at": at})
                self._run(RING, {**which, "due": one.due_at})

    def _outdate_elsewhere(self, receiver: str, ids: Iterable[AlertId], subject: str, now: datetime) -> None:
        """What `receiver` was told of these alerts under other subjects than `subject` is out of date.

        An event that is taken back, say, after its group closed and was opened anew; or the end of what was
        told by itself in a storm of groups.
        """
        for some in chunks(ids):
            places = self._run(TOLD_IN, {"ids": some}).all()
            others = {*some, *(row.subject for row in places if row.receiver == receiver)} - {subject}
            self._run(OUTDATE_THESE, {"to": receiver, "subjects": sorted(others), "now": now})


def _shown_row(row: Shown, receiver: str, repeats: int) -> Mapping[str, Any]:
    columns = {name: getattr(row, name) for name in Shown.__struct_fields__}
    return {**columns, "receiver": receiver, "repeats": repeats}
