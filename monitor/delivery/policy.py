"""Who is told what, in how many messages. Pure: alerts, routes and `now` in, decisions out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from monitor.delivery.matchers import takes
from monitor.store.values import Bundle, EntryState, Fate, Finding, Kind, Operator, Route, Silence, Waiting
from rules.model import Alert, AlertId, Labels, Status, Value, WatchSet
from rules.pace import Hold

MAX_BATCH_BYTES = 64 * 1024
"""Of the alerts in one body, as they are stored: with keys and nulls, JSON stays under the 100 kB that the
strictest of common receivers accepts (Express; nginx takes 1 MB)."""


class RouteSpec(Value, frozen=True, kw_only=True):
    """Alerts whose labels have one of the given values for every key of `match` go to `receivers`.

    A label that an alert does not carry counts as "". An empty `match` takes everything.
    """

    receivers: tuple[str, ...]
    match: Mapping[str, tuple[str, ...]] = {}
    continue_: bool = False  #: go on to the next routes after this one matched

    def takes(self, labels: Labels) -> bool:
        return all(labels.get(key, "") in values for key, values in self.match.items())


def route(alert: Alert, routes: Sequence[RouteSpec], watch: WatchSet) -> tuple[str, ...]:
    """The receivers of an alert, each once, in the order of the routes; () when no route takes it.

    An alert about several watched users is routed once for each of them, with that user's labels: both
    teams are told.
    """
    found = (name for labels in label_sets(alert, watch) for name in _receivers(labels, routes))
    return tuple(dict.fromkeys(found))


def label_sets(alert: Alert, watch: WatchSet) -> tuple[Labels, ...]:
    """The label sets that routes see: one for each watched user, or the alert's own when none is left."""
    own = {"rule": str(alert.rule), "severity": alert.severity.value}
    users = [uid for uid in alert.watched_users if uid in watch]
    return tuple({**alert.labels, **watch[uid], **own} for uid in users) or ({**alert.labels, **own},)


def _receivers(labels: Labels, routes: Sequence[RouteSpec]) -> Iterator[str]:
    for spec in routes:
        if not spec.takes(labels):
            continue
        yield from spec.receivers
        if not spec.continue_:
            return


NOTHING_HELD: Final[Mapping[AlertId, Hold]] = MappingProxyType({})


def decide(
    alerts: Sequence[Alert],
    *,
    routes: Sequence[RouteSpec],
    watch: WatchSet,
    silences: Sequence[Silence],
    now: datetime,
    max_age: timedelta,
    holds: Mapping[AlertId, Hold] = NOTHING_HELD,
) -> tuple[Finding, ...]:
    """Every alert with at least one route: sent, sent late or in a sum, or suppressed for a recorded reason.

    `holds` are of alerts that begin. The end of one is routed as if nothing was held: the store lets it
    follow its beginning.
    """

    def decided(alert: Alert) -> Finding:
        receivers = route(alert, routes, watch)
        hold = holds.get(alert.id) if alert.status is Status.FIRING else None
        silence = next((s for s in silences if is_silenced(alert, s, watch, now)), None)
        late = now - alert.event_at > max_age
        fate, reason = _fate(hold, silence, late=late)
        if not receivers:
            nowhere = Route(receiver="", state=EntryState.SUPPRESSED, reason=_unrouted(alert, watch))
            return Finding(alert=alert, routes=(nowhere,), fate=Fate.UNROUTED)
        state = EntryState.PENDING if fate in GOES_OUT else EntryState.SUPPRESSED
        is_summed = fate is Fate.SUMMED
        routed = (
            Route(
                receiver=name,
                state=state,
                reason=reason,
                late=late,
                summed=is_summed,
                silence=silence.id if silence and fate is Fate.SILENCED else None,
            )
            for name in receivers
        )
        return Finding(alert=alert, routes=tuple(routed), fate=fate)

    return tuple(map(decided, alerts))


GOES_OUT: Final = frozenset({Fate.SENT, Fate.LATE, Fate.SUMMED})


def _fate(hold: Hold | None, silence: Silence | None, *, late: bool) -> tuple[Fate, str | None]:
    # Old news is a digest, which is a sum already.
    if hold is not None and not hold.is_summed:
        return Fate(hold.why.value), hold.reason
    if silence is not None:
        return Fate.SILENCED, _silenced(silence)
    if late:
        return Fate.LATE, None
    return (Fate.SUMMED, hold.reason) if hold is not None else (Fate.SENT, None)


def is_silenced(alert: Alert, silence: Silence, watch: WatchSet, now: datetime) -> bool:
    """Whether `silence` holds this alert.

    The end of an alert that people were told of before the silence began is told in spite of it: an
    incident opened elsewhere must be closed there.
    """
    if not silence.is_in_force(now) or not any(
        takes(silence.matchers, one) for one in label_sets(alert, watch)
    ):
        return False
    return alert.status is Status.FIRING or alert.first_seen_at >= silence.starts_at


def silenced_rules(silences: Sequence[Silence], now: datetime) -> frozenset[str]:
    """The rules of which nothing at all is sent."""
    return frozenset(
        only.value
        for silence in silences
        if silence.is_in_force(now) and len(silence.matchers) == 1
        for only in silence.matchers
        if (only.label, only.operator) == ("rule", Operator.IS)
    )


def _silenced(silence: Silence) -> str:
    by = f" by {silence.author}" if silence.author else ""
    until = f"{silence.ends_at:%Y-%m-%d %H:%M:%S} UTC"
    return f"silenced until {until} by silence {silence.id}{by}: {silence.comment}"


def _unrouted(alert: Alert, watch: WatchSet) -> str:
    labels = label_sets(alert, watch)[0]
    shown = ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return f"no route takes labels {shown}; end `routes` with a catch-all such as {{receivers: [ops]}}"


def bundle(
    entries: Sequence[Waiting],
    *,
    people: bool,
    summary_over: int,
    now: datetime,
    batch: int = 100,
    gather: timedelta = timedelta(0),
) -> Bundle | None:
    """What to send next of the entries that wait (oldest first), or None: let them wait on."""
    if not entries:
        return None
    if people:
        return _for_people(entries, summary_over, gathered=now - gather, summed_up=now - SUM_EVERY)
    return _for_machine(entries, batch)


SUM_EVERY: Final = timedelta(minutes=5)
"""How long what is summed is gathered for people, so that they get one sum in that time, not many."""


def _for_people(
    entries: Sequence[Waiting], summary_over: int, *, gathered: datetime, summed_up: datetime
) -> Bundle | None:
    # 1. old news, once gathered: one digest  2. sums, once gathered  3. more than a person reads: one summary
    # 4. one alert, one message. Digest and sum are first because each is one message, however much it holds.
    late = [entry for entry in entries if entry.late]
    summed = [entry for entry in entries if entry.summed and not entry.late]
    fresh = [entry for entry in entries if not entry.summed and not entry.late]
    if late and late[0].created_at <= gathered:
        return _bundle(Kind.DIGEST, late)
    if summed and summed[0].created_at <= summed_up:
        return _bundle(Kind.SUMMARY, summed)
    if len(fresh) > summary_over:
        return _bundle(Kind.SUMMARY, fresh)
    return _bundle(Kind.ALERTS, fresh[:1]) if fresh else None


def _for_machine(entries: Sequence[Waiting], batch: int) -> Bundle:
    """The oldest entry and all that may travel with it: same status, same lateness, within the limits."""
    first = entries[0]
    kind = Kind.DIGEST if first.late else Kind.ALERTS
    alike = [e for e in entries if (e.late, e.status) == (first.late, first.status)]
    return _bundle(kind, _within(alike[:batch], MAX_BATCH_BYTES))


def _within(entries: Sequence[Waiting], size: int) -> Sequence[Waiting]:
    """As many as fit into `size` bytes, at least one."""
    for index, entry in enumerate(entries):
        size -= entry.size
        if size < 0:
            return entries[: max(index, 1)]
    return entries


def _bundle(kind: Kind, entries: Sequence[Waiting]) -> Bundle:
    is_firing = any(entry.status is Status.FIRING for entry in entries)
    return Bundle(
        kind=kind,
        status=Status.FIRING if is_firing else Status.RESOLVED,
        entries=tuple(entry.id for entry in entries),
    )
