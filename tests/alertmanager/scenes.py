"""The timelines: alerts that begin and end, silences, and the routes that they meet.

Times are in units. For Alertmanager a unit is a second of real time, for us a minute of virtual time: what a
poll or a round of duties takes of it is then too little to matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from monitor.delivery.policy import RouteSpec
from monitor.store.values import Matcher, Operator, Timing
from rules.model import Labels


@dataclass(frozen=True, kw_only=True)
class Firing:
    """An alert, with its labels, from when to when it fires (None: beyond the end of the scene)."""

    name: str
    begins: float
    ends: float | None = None
    labels: Labels


@dataclass(frozen=True, kw_only=True)
class Silenced:
    """A silence; `is_expired`: its end is a command, not the one that it was made with."""

    begins: float
    ends: float
    matchers: tuple[Matcher, ...]
    is_expired: bool = False


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One timeline. `differs` says why we do otherwise than Alertmanager; None: we do the same."""

    name: str
    routes: tuple[RouteSpec, ...]
    firings: tuple[Firing, ...]
    silences: tuple[Silenced, ...] = ()
    until: float
    differs: str | None = None


def every(wait: float, interval: float, repeat: float = 1000) -> Timing:
    return Timing(
        wait=timedelta(seconds=wait), interval=timedelta(seconds=interval), repeat=timedelta(seconds=repeat)
    )


def fires(name: str, begins: float, ends: float | None = None, **labels: str) -> Firing:
    return Firing(name=name, begins=begins, ends=ends, labels={"team": "pay", **labels})


def one(timing: Timing, *by: str) -> tuple[RouteSpec, ...]:
    """One receiver of everything."""
    return (RouteSpec(receivers=("ops",), group_by=by or ("team",), timing=timing),)


def only(name: str) -> tuple[Matcher, ...]:
    return (Matcher(label="alert", value=name),)


def like(label: str, pattern: str) -> Matcher:
    return Matcher(label=label, operator=Operator.LIKE, value=pattern)


def match(**labels: str) -> dict[str, tuple[str, ...]]:
    return {label: (value,) for label, value in labels.items()}


USUAL: Final = every(1, 3)
TREE: Final = (
    RouteSpec(match=match(severity="critical"), receivers=("pager",), continue_=True),
    RouteSpec(
        matchers=(like("team", "pay|trips"),),
        receivers=("teams",),
        routes=(
            RouteSpec(match=match(team="pay"), receivers=("pay",), group_by=("team", "region")),
            RouteSpec(match=match(region="eu"), receivers=("eu",), continue_=True),
            RouteSpec(match=match(severity="info"), timing=every(2, 2)),
        ),
    ),
    RouteSpec(receivers=("rest",)),
)

SCENES: Final = (
    Scene(
        name="news at ticks",
        routes=one(USUAL),
        firings=(fires("a", 0, 4.5), fires("b", 0.5, 7.5), fires("c", 2, 7.6)),
        until=11.5,
    ),
    Scene(
        name="groups by labels",
        routes=one(USUAL, "team", "region"),
        firings=(
            fires("a", 0),
            fires("b", 0.3, region="eu"),
            fires("c", 0.6, 2, team="trips", region="eu"),
            fires("d", 0.7, region="eu"),
            fires("e", 2.2, region=""),
        ),
        until=6,
    ),
    Scene(
        name="a tree of routes",
        routes=(RouteSpec(group_by=("team",), timing=USUAL, receivers=("top",), routes=TREE),),
        firings=(
            fires("a", 0),
            fires("b", 0.2, severity="critical", region="eu"),
            fires("c", 0.4, 2.5, team="trips", region="eu"),
            fires("d", 0.5, team="trips", severity="info"),
            fires("e", 0.6, team="trips", region="eu", severity="info"),
            fires("f", 0.7, team="trips"),
            fires("g", 0.8, 2.6, team="sales", severity="critical"),
        ),
        until=6,
    ),
    Scene(
        name="a group that opens again",
        routes=one(USUAL),
        firings=(fires("a", 0, 2), fires("b", 7.5)),
        until=11,
        differs="When all of a group is over, the group is, and the next alert opens it anew, with its wait. "
        "Alertmanager looks for empty groups twice a minute; until then the old ticks go on.",
    ),
    Scene(
        name="no wait",
        routes=one(every(0, 2)),
        firings=(fires("a", 0.2, 3.2), fires("b", 0.7), fires("c", 2.7)),
        until=6,
    ),
    Scene(
        name="repeats",
        routes=one(every(1, 2, 5)),
        firings=(fires("a", 0), fires("b", 11.5)),
        until=19.5,
    ),
    Scene(
        name="repeats of part of a group",
        routes=one(every(1, 2, 5)),
        firings=(fires("a", 0, 3.5), fires("b", 0)),
        until=12.5,
    ),
    Scene(
        name="a silence from before to after",
        routes=one(USUAL),
        firings=(fires("a", 1, 6), fires("b", 1)),
        silences=(Silenced(begins=0, ends=20, matchers=only("a")),),
        until=9,
    ),
    Scene(
        name="a silence by labels",
        routes=one(USUAL, "alert"),
        firings=(fires("a", 1), fires("b", 1, region="eu"), fires("c", 1, team="trips", region="eu")),
        silences=(Silenced(begins=0, ends=20, matchers=(like("team", "pa.*"), like("region", "eu"))),),
        until=4,
    ),
    Scene(
        name="a silence that ends before the first tick",
        routes=one(every(3, 3)),
        firings=(fires("a", 0.5), fires("b", 0.5)),
        silences=(Silenced(begins=0, ends=2, matchers=only("a")),),
        until=8,
    ),
    Scene(
        name="a silence that ends within an open group",
        routes=one(USUAL),
        firings=(fires("a", 1), fires("b", 1)),
        silences=(Silenced(begins=0, ends=6, matchers=only("a")),),
        until=10,
    ),
    Scene(
        name="a silence that is expired by command",
        routes=one(USUAL),
        firings=(fires("a", 1), fires("b", 1)),
        silences=(Silenced(begins=0, ends=6, matchers=only("a"), is_expired=True),),
        until=10,
    ),
    Scene(
        name="a silence that holds back repeats",
        routes=one(every(1, 2, 3)),
        firings=(fires("a", 0),),
        silences=(Silenced(begins=2, ends=10.3, matchers=only("a")),),
        until=14.5,
    ),
    Scene(
        name="repeats after a multiple of the interval",
        routes=one(every(1, 2, 4)),
        firings=(fires("a", 0),),
        until=11.5,
        differs="We count from the tick of the message before, Alertmanager from when its sending ended, a "
        "little later: the tick after 4 units is just too early for it, and it repeats after 6.",
    ),
    Scene(
        name="a silence of all that a group has",
        routes=one(USUAL),
        firings=(fires("a", 0.5),),
        silences=(Silenced(begins=0, ends=5, matchers=only("a")),),
        until=10,
    ),
    Scene(
        name="an end within a silence",
        routes=one(USUAL),
        firings=(fires("a", 0, 4.5),),
        silences=(Silenced(begins=2, ends=8, matchers=only("a")),),
        until=12,
        differs="We tell the end of an alert whose beginning was told, silence or not. Alertmanager never "
        "does: what was opened elsewhere stays open.",
    ),
    Scene(
        name="shorter than the wait",
        routes=one(every(2, 3)),
        firings=(fires("a", 0, 1), fires("b", 0)),
        until=6.5,
        differs="Of an alert that was over before the first message of its group, Alertmanager tells at most "
        "the end. We tell that it began: it happened. Its end follows.",
    ),
    Scene(
        name="over and back within an interval",
        routes=one(USUAL),
        firings=(fires("a", 0, 2), fires("a", 2.5)),
        until=8,
        differs="An alert that ends and begins anew between two ticks is unchanged to Alertmanager. To us "
        "these are two findings, and both are told.",
    ),
    Scene(
        name="each by itself",
        routes=one(every(2, 3), "..."),
        firings=(fires("a", 0, 4), fires("b", 0.5)),
        until=7,
        differs="Grouped by all labels, each alert is by itself. We tell it at once; Alertmanager lets it "
        "wait for others that can't come.",
    ),
)
