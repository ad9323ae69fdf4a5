"""Who is told: the tree of routes. Pure: labels and `now` in, receivers out.

As in Alertmanager, the routes of a level are asked in their order, the first that takes the labels is the
last one asked unless it says `continue`, and within it its own routes are asked first; what none of them
takes is its own. A route outside its hours takes nothing: there the next ones are asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol

from monitor.delivery.matchers import takes
from monitor.store.values import Group, Grouping, Matcher, Step, Timing
from rules.model import Alert, AlertId, Labels, Value, WatchSet

USUAL: Final = Timing(wait=timedelta(seconds=30), interval=timedelta(minutes=5), repeat=timedelta(hours=4))
"""Of groups whose route says nothing else: Alertmanager's own."""

BY_ITSELF: Final = "..."
"""As a name in `group_by`: by all labels. That tells apart what differs, so each alert is told by itself."""


class Calendar(Protocol):
    """Hours and days under a name."""

    @property
    def name(self) -> str: ...

    def is_open(self, at: datetime, /) -> bool: ...


class RouteSpec(Value, frozen=True, kw_only=True):
    """Alerts whose labels agree with all of `match` and `matchers` go this way, in its hours.

    A label that an alert does not carry counts as "". What takes everything has neither. Of a route within
    another, what is empty or None is as the outer one has it. Without receivers, here and further out, what
    it takes is told to nobody.
    """

    receivers: tuple[str, ...] = ()
    match: Mapping[str, tuple[str, ...]] = {}  #: for each label the values of which it must have one
    matchers: tuple[Matcher, ...] = ()
    continue_: bool = False  #: go on to the next routes after this one matched
    routes: tuple[RouteSpec, ...] = ()
    group_by: tuple[str, ...] | None = None  #: () and "...": each alert by itself
    timing: Timing | None = None
    during: Calendar | None = None
    except_: Calendar | None = None
    steps: tuple[Step, ...] = ()

    def takes(self, labels: Labels) -> bool:
        """Whether it is for such labels, at whatever time."""
        return all(labels.get(key, "") in values for key, values in self.match.items()) and takes(
            self.matchers, labels
        )

    def is_open(self, now: datetime | None) -> bool:
        """Whether `now` is in its hours; None: whatever they are."""
        return now is None or (
            (self.during is None or self.during.is_open(now))
            and (self.except_ is None or not self.except_.is_open(now))
        )

    @property
    def wants(self) -> tuple[str, ...]:
        """What it asks of labels, in words; () if nothing."""
        listed = (f"{key} {' or '.join(values)}" for key, values in self.match.items())
        return (*listed, *map(str, self.matchers))


class Lane(Value, frozen=True, kw_only=True):
    """One way of an alert to a receiver."""

    receiver: str
    path: str  #: of the route: its place among the routes, "2.1" is the first within the second
    why: str  #: in words
    grouping: Grouping | None = None
    steps: tuple[Step, ...] = ()


class Tried(Value, frozen=True, kw_only=True):
    """What one route made of some labels."""

    path: str
    matched: bool  #: it takes them; whether itself or one within it, `words` tells
    words: str


class Place(NamedTuple):
    """A route with what it has from those around it."""

    path: str
    spec: RouteSpec
    receivers: tuple[str, ...]
    group_by: tuple[str, ...]
    timing: Timing | None
    steps: tuple[Step, ...]

    def lanes(self, alert: Alert, labels: Labels) -> Iterator[Lane]:
        grouping = self._grouping(alert, labels)
        why = f"route {self.path} takes {', '.join(self.spec.wants) or 'everything'}"
        for name in self.receivers:
            yield Lane(receiver=name, path=self.path, why=why, grouping=grouping, steps=self.steps)

    def _grouping(self, alert: Alert, labels: Labels) -> Grouping | None:
        if self.group_by and BY_ITSELF not in self.group_by:
            common = {name: labels.get(name, "") for name in sorted(self.group_by)}
            return Grouping(
                group=Group(key=_key(self.path, common), labels=common), timing=self.timing or USUAL
            )
        if alert.lasts and self.timing is not None and self.timing.repeat is not None:
            return _alone(self.path, alert.id, self.timing.repeat)
        return None


def _key(path: str, labels: Labels) -> str:
    told = ", ".join(str(Matcher(label=label, value=value)) for label, value in labels.items())
    return f"{path}/{{{told}}}"


def _alone(path: str, alert: AlertId, repeat: timedelta) -> Grouping:
    """An alert that is told at once, and again while it fires."""
    return Grouping(group=Group(key=f"{path}/{alert}", labels={}), timing=Timing(repeat=repeat))


def lanes(
    alert: Alert, routes: Sequence[RouteSpec], watch: WatchSet, *, now: datetime | None
) -> tuple[Lane, ...]:
    """The ways of an alert, to each receiver the first, in the order of the routes; () if no route tells it.

    An alert about several watched users is routed once for each of them, with that user's labels: both
    teams are told.
    """
    found = (lane for labels in label_sets(alert, watch) for lane in ways(alert, labels, routes, now=now))
    return tuple({lane.receiver: lane for lane in reversed(tuple(found))}.values())[::-1]


def route(
    alert: Alert, routes: Sequence[RouteSpec], watch: WatchSet, now: datetime | None = None
) -> tuple[str, ...]:
    """The receivers of an alert, each once, in the order of the routes; () when no route takes it."""
    return tuple(lane.receiver for lane in lanes(alert, routes, watch, now=now))


def ways(
    alert: Alert, labels: Labels, routes: Sequence[RouteSpec], *, now: datetime | None
) -> Iterator[Lane]:
    """The ways of an alert with one of its label sets; the same receiver may come twice."""
    for place in places(labels, routes, now=now):
        yield from place.lanes(alert, labels)


def label_sets(alert: Alert, watch: WatchSet) -> tuple[Labels, ...]:
    """The label sets that routes see: one for each watched user, or the alert's own when none is left."""
    own = {"rule": str(alert.rule), "severity": alert.severity.value}
    users = [uid for uid in alert.watched_users if uid in watch]
    return tuple({**alert.labels, **watch[uid], **own} for uid in users) or ({**alert.labels, **own},)


def places(labels: Labels, routes: Sequence[RouteSpec], *, now: datetime | None) -> tuple[Place, ...]:
    """The routes that take these labels for themselves."""
    return tuple(_places(labels, routes, None, now))


def _places(
    labels: Labels, routes: Sequence[RouteSpec], outer: Place | None, now: datetime | None
) -> Iterator[Place]:
    for number, spec in enumerate(routes, 1):
        if not (spec.takes(labels) and spec.is_open(now)):
            continue
        place = _place(number, spec, outer)
        yield from tuple(_places(labels, spec.routes, place, now)) or (place,)
        if not spec.continue_:
            return


def _place(number: int, spec: RouteSpec, outer: Place | None) -> Place:
    return Place(
        path=f"{outer.path}.{number}" if outer else str(number),
        spec=spec,
        receivers=spec.receivers or (outer.receivers if outer else ()),
        group_by=spec.group_by if spec.group_by is not None else outer.group_by if outer else (),
        timing=spec.timing or (outer.timing if outer else None),
        steps=spec.steps or (outer.steps if outer else ()),
    )


def explained(labels: Labels, routes: Sequence[RouteSpec], *, now: datetime | None) -> list[Tried]:
    """What every route makes of these labels, the ones within another after it."""
    return list(_tried(labels, routes, None, now, unasked=None))


def _tried(
    labels: Labels,
    routes: Sequence[RouteSpec],
    outer: Place | None,
    now: datetime | None,
    *,
    unasked: str | None,
) -> Iterator[Tried]:
    for number, spec in enumerate(routes, 1):
        place = _place(number, spec, outer)
        refusal = unasked or _refusal(labels, spec, now)
        words = f"route {place.path} {refusal or _taken(labels, place, now)}"
        yield Tried(path=place.path, matched=refusal is None, words=words)
        within = f"is not asked: route {place.path} does not take it" if refusal else None
        yield from _tried(labels, spec.routes, place, now, unasked=unasked or within)
        if refusal is None and not spec.continue_:
            unasked = f"is not asked: route {place.path} took it"


def _refusal(labels: Labels, spec: RouteSpec, now: datetime | None) -> str | None:
    listed = [
        f"{key} {' or '.join(values)}"
        for key, values in spec.match.items()
        if labels.get(key, "") not in values
    ]
    misses = [*listed, *(str(one) for one in spec.matchers if not takes([one], labels))]
    if misses:
        return f"does not take it: it wants {', '.join(misses)}"
    if spec.is_open(now) or now is None:
        return None
    if spec.during is not None and not spec.during.is_open(now):
        return f"does not take it now: only during {spec.during.name}"
    return f"does not take it now: not during {spec.except_.name if spec.except_ else ''}"


def _taken(labels: Labels, place: Place, now: datetime | None) -> str:
    further = ", and the next routes are asked too" if place.spec.continue_ else ""
    if any(_places(labels, place.spec.routes, place, now)):
        return f"takes it: the routes within it say to whom{further}"
    if not place.receivers:
        return f"takes it and tells nobody: it has no receivers{further}"
    return f"takes it: to {', '.join(place.receivers)}{further}"
