"""Short ways to say what goes into a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from monitor.store.store import Store, Tx
from monitor.store.values import (
    Bundle,
    Commit,
    EntryState,
    Finding,
    Group,
    Grouping,
    Kind,
    Notification,
    Route,
    Timing,
    Waiting,
)
from rules.model import (
    Alert,
    AlertId,
    Message,
    MessageId,
    Party,
    RuleName,
    Severity,
    StateKey,
    Status,
    UserId,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
APP = "275211"
ANNA = UserId("anna")
RING = StateKey(RuleName("missed-call"), "s1")


class WallClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> datetime:
        self.now += timedelta(**by)
        return self.now


def after(**by: float) -> datetime:
    return NOON + timedelta(**by)


def at_noon() -> datetime:
    return NOON


def open_store(path: Path, *, now: Callable[[], datetime] = at_noon, exclusive: bool = True) -> Store:
    return Store.open(f"sqlite:///{path}", app=APP, now=now, exclusive=exclusive)


@contextmanager
def in_memory(now: Callable[[], datetime] = at_noon) -> Iterator[Store]:
    with Store.open("sqlite://", app=APP, now=now) as store:
        yield store


def a_message(number: int = 1, *, text: str | None = None) -> Message:
    return Message(
        id=MessageId(number),
        conversation_id="anna_user_ben",
        sender=Party(id="ben", name="Ben"),
        receiver=Party(id="anna"),
        receiver_type="user",
        category="message",
        type="text",
        sent_at=NOON,
        text=text,
    )


def an_alert(
    name: str = "a1",
    *,
    resolved: str | None = None,
    found_at: datetime = NOON,
    revision: int = 0,
    lasts: bool = False,
    severity: Severity = Severity.WARNING,
) -> Alert:
    return Alert(
        id=AlertId(name),
        rule=RING.rule,
        key=name,
        status=Status.RESOLVED if resolved else Status.FIRING,
        severity=severity,
        title=f"Missed call {name}",
        summary="Ben called, nobody answered.",
        conversation_id="anna_user_ben",
        event_at=found_at,
        first_seen_at=found_at,
        watched_users=(ANNA,),
        messages=(a_message(text="where are you?"),),
        resolution=resolved,
        revision=revision,
        lasts=lasts,
    )


def to(*receivers: str) -> tuple[Route, ...]:
    return tuple(Route(receiver=receiver) for receiver in receivers)


def found(
    *names: str, routes: tuple[Route, ...] = to("ops"), resolved: str | None = None, revision: int = 0
) -> Commit:
    """A commit of new alerts for the receivers."""
    alerts = [an_alert(name, resolved=resolved, revision=revision) for name in names]
    return Commit(findings=tuple(Finding(alert=alert, routes=routes) for alert in alerts))


def lasting(
    *names: str, routes: tuple[Route, ...] = to("ops"), resolved: str | None = None, revision: int = 0
) -> Commit:
    """As `found`, of alerts that fire until they are resolved."""
    alerts = [an_alert(name, resolved=resolved, revision=revision, lasts=True) for name in names]
    return Commit(findings=tuple(Finding(alert=alert, routes=routes) for alert in alerts))


TEAM = Group(key='1/{team="web"}', labels={"team": "web"})
USUAL = Timing(wait=timedelta(seconds=30), interval=timedelta(minutes=5), repeat=timedelta(hours=4))


def in_group(
    *receivers: str, group: Group = TEAM, timing: Timing = USUAL, silence: int | None = None
) -> tuple[Route, ...]:
    """Routes into one group; with a silence, that hold."""
    state = EntryState.PENDING if silence is None else EntryState.SUPPRESSED
    grouping = Grouping(group=group, timing=timing)
    return tuple(Route(receiver=name, grouping=grouping, state=state, silence=silence) for name in receivers)


def alone(name: str, repeat: timedelta = timedelta(hours=4)) -> tuple[Route, ...]:
    """The route of an alert that is a group of its own: it only repeats."""
    group = Group(key=f"1/{name}", labels={})
    return in_group("ops", group=group, timing=Timing(repeat=repeat))


def nothing(offered: Sequence[Waiting]) -> Bundle | None:
    """For claims that have nothing to choose from."""
    raise AssertionError(f"offered: {offered}")


def one_by_one(offered: Sequence[Waiting]) -> Bundle | None:
    return Bundle(kind=Kind.ALERTS, status=offered[0].status, entries=(offered[0].id,))


def all_alike(offered: Sequence[Waiting]) -> Bundle | None:
    """Every entry of the first one's status."""
    status = offered[0].status
    alike = tuple(entry.id for entry in offered if entry.status is status)
    return Bundle(kind=Kind.ALERTS, status=status, entries=alike)


def claim(
    tx: Tx,
    receiver: str = "ops",
    *,
    now: datetime = NOON,
    choose: Callable[[Sequence[Waiting]], Bundle | None] = one_by_one,
) -> Notification | None:
    return tx.claim(receiver, now=now, lease=timedelta(minutes=1), choose=choose)


def claimed(
    tx: Tx,
    receiver: str = "ops",
    *,
    now: datetime = NOON,
    choose: Callable[[Sequence[Waiting]], Bundle | None] = one_by_one,
) -> Notification:
    notification = claim(tx, receiver, now=now, choose=choose)
    assert notification is not None
    return notification
