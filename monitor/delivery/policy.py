"""Who is told what, when, in how many messages. Pure: alerts, routes and `now` in, decisions out.

`routing` says to whom, this file whether and how, `bundling` in how many messages, `showing` what is told
again. The names that others need are all here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, NamedTuple

from monitor.delivery.bundling import MAX_BATCH_BYTES, STALE_AFTER, STORM, SUM_EVERY, bundle
from monitor.delivery.matchers import takes
from monitor.delivery.routing import (
    Calendar,
    Lane,
    Place,
    RouteSpec,
    Tried,
    explained,
    label_sets,
    lanes,
    places,
    route,
    ways,
)
from monitor.delivery.showing import STANDS_FOR, shows
from monitor.store.values import EntryState, Fate, Finding, Operator, Route, Silence, Step
from rules.model import Alert, AlertId, Labels, Status, WatchSet
from rules.pace import Hold

__all__ = [
    "MAX_BATCH_BYTES",
    "STALE_AFTER",
    "STANDS_FOR",
    "STORM",
    "SUM_EVERY",
    "Calendar",
    "Lane",
    "Place",
    "RouteSpec",
    "Tried",
    "bundle",
    "decide",
    "explained",
    "holding",
    "label_sets",
    "lanes",
    "places",
    "route",
    "shows",
    "silenced_by",
    "silenced_rules",
]

NOTHING_HELD: Final[Mapping[AlertId, Hold]] = MappingProxyType({})
GOES_OUT: Final = frozenset({Fate.SENT, Fate.LATE, Fate.SUMMED})


class Led(NamedTuple):
    """A way of an alert, and the silence on it."""

    lane: Lane
    silence: Silence | None


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

    A receiver is held by silences only if they take every label set that leads to it. `holds` are of alerts
    that begin. The end of one is routed as if nothing was held: the store lets it follow its beginning.
    """

    def decided(alert: Alert) -> Finding:
        led = _led(alert, routes, watch, silences, now)
        if not led:
            return Finding(alert=alert, routes=(_nowhere(alert, routes, watch, now),), fate=Fate.UNROUTED)
        hold = holds.get(alert.id) if alert.status is Status.FIRING else None
        late = now - alert.event_at > max_age
        routed = tuple(_routed(one, hold, late=late) for one in led)
        sent = [one.lane for one, (fate, _) in zip(led, routed, strict=True) if fate is Fate.SENT]
        return Finding(
            alert=alert,
            routes=tuple(route for _, route in routed),
            fate=min((fate for fate, _ in routed), key=lambda fate: fate not in GOES_OUT),
            steps=_steps(sent) if alert.status is Status.FIRING else (),
        )

    return tuple(map(decided, alerts))


def _led(
    alert: Alert,
    routes: Sequence[RouteSpec],
    watch: WatchSet,
    silences: Sequence[Silence],
    now: datetime,
) -> tuple[Led, ...]:
    """For each receiver the first way that no silence is on, or the first at all."""
    found: dict[str, Led] = {}
    for labels in label_sets(alert, watch):
        silence = holding(alert, labels, silences, now)
        for lane in ways(alert, labels, routes, now=now):
            before = found.get(lane.receiver)
            if before is None or (before.silence is not None and silence is None):
                found[lane.receiver] = Led(lane, silence)
    return tuple(found.values())


def _routed(led: Led, hold: Hold | None, *, late: bool) -> tuple[Fate, Route]:
    fate, reason = _fate(hold, led.silence, late=late)
    is_alone = late or hold is not None  # old news and sums are messages of their own
    routed = Route(
        receiver=led.lane.receiver,
        state=EntryState.PENDING if fate in GOES_OUT else EntryState.SUPPRESSED,
        reason=reason,
        late=late,
        summed=fate is Fate.SUMMED,
        grouping=None if is_alone else led.lane.grouping,
        silence=led.silence.id if led.silence and fate is Fate.SILENCED else None,
    )
    return fate, routed


def _fate(hold: Hold | None, silence: Silence | None, *, late: bool) -> tuple[Fate, str | None]:
    # Old news is a digest, which is a sum already.
    if hold is not None and not hold.is_summed:
        return Fate(hold.why.value), hold.reason
    if silence is not None:
        return Fate.SILENCED, silence.reason
    if late:
        return Fate.LATE, None
    return (Fate.SUMMED, hold.reason) if hold is not None else (Fate.SENT, None)


def _steps(sent: Iterable[Lane]) -> tuple[Step, ...]:
    """The steps of all ways on which it is sent, each once, the soonest first."""
    steps = dict.fromkeys(step for lane in sent for step in lane.steps)
    return tuple(sorted(steps, key=lambda step: step.after))


# --- silences -----------------------------------------------------------------------------------------


def holding(alert: Alert, labels: Labels, silences: Sequence[Silence], now: datetime) -> Silence | None:
    """The first of `silences` that holds the alert where routes see it with `labels`.

    The end of an alert that people were told of before the silence began is told in spite of it: an
    incident opened elsewhere must be closed there.
    """
    return next((one for one in silences if _holds(alert, labels, one, now)), None)


def _holds(alert: Alert, labels: Labels, silence: Silence, now: datetime) -> bool:
    was_told = alert.status is Status.RESOLVED and alert.first_seen_at < silence.starts_at
    return silence.is_in_force(now) and not was_told and takes(silence.matchers, labels)


def silenced_by(alert: Alert, silences: Sequence[Silence], watch: WatchSet, now: datetime) -> Silence | None:
    """The silence that holds the alert whichever way it goes; None if one of its label sets is free."""
    held = [holding(alert, labels, silences, now) for labels in label_sets(alert, watch)]
    return held[0] if all(held) else None


def silenced_rules(silences: Sequence[Silence], now: datetime) -> frozenset[str]:
    """The rules of which nothing at all is sent."""
    return frozenset(
        only.value
        for silence in silences
        if silence.is_in_force(now) and len(silence.matchers) == 1
        for only in silence.matchers
        if (only.label, only.operator) == ("rule", Operator.IS)
    )


# --- no way ---------------------------------------------------------------------------------------------


def _nowhere(alert: Alert, routes: Sequence[RouteSpec], watch: WatchSet, now: datetime) -> Route:
    reason = next(_swallowed(alert, routes, watch, now), None) or _unrouted(alert, watch)
    return Route(receiver="", state=EntryState.SUPPRESSED, reason=reason)


def _swallowed(alert: Alert, routes: Sequence[RouteSpec], watch: WatchSet, now: datetime) -> Iterator[str]:
    for labels in label_sets(alert, watch):
        for place in places(labels, routes, now=now):
            yield f"route {place.path} takes it and tells nobody: it has no receivers"


def _unrouted(alert: Alert, watch: WatchSet) -> str:
    labels = label_sets(alert, watch)[0]
    shown = ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return f"no route takes labels {shown}; end `routes` with a catch-all such as {{receivers: [ops]}}"
