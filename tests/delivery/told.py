"""Notifications as on-call systems get them, of every kind and change: for tests that take any of them."""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st

from monitor.store.values import Ack, Change, Group, Kind, Notification, Opened, Timing
from rules.model import Alert, Status
from tests.delivery.samples import RANG_AT, alerts, notifications, texts, times, word_maps

openings = st.builds(
    Opened,
    receiver=texts,
    group=st.builds(Group, key=texts, labels=word_maps),
    timing=st.just(Timing()),
    subject=st.text("0123456789abcdef", min_size=32, max_size=32),
    anchor_at=times,
)


def _told(
    notification: Notification,
    change: Change,
    opened: Opened,
    others: list[Alert],
    words: list[str],
    *,
    is_sample: bool,
) -> Notification:
    """Its first alert is acknowledged and noted, if there are words for that."""
    first, is_group = notification.alerts[0].id, notification.kind is Kind.GROUP
    acks = {first: Ack(alert=first, by=words[0], at=RANG_AT, comment=words[-1])} if words else {}
    return msgspec.structs.replace(
        notification,
        change=change,
        opened=opened if is_group else None,
        others=tuple(msgspec.structs.replace(a, status=Status.FIRING) for a in others) if is_group else (),
        acks=acks,
        notes={first: words[0]} if len(words) > 1 else {},
        is_sample=is_sample,
    )


told = st.builds(
    _told,
    notifications,
    st.sampled_from(Change),
    openings,
    st.lists(alerts, max_size=2),
    st.lists(texts, max_size=2),
    is_sample=st.booleans(),
)
