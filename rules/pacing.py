"""How often and when a rule may speak, as its author writes it: shadow, working time, cooldown, limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import yaml

from rules.calendars import CALENDAR_NAME, Named
from rules.fields import FIELDS, TREES, FieldNames
from rules.grammar import Choice, Duration, Either, Flag, Key, Record, Report, Whole, Words
from rules.model import Severity, Value


class Cooldown(Value, frozen=True, kw_only=True):
    """After an alert, the like of it is not sent for `lasts`; while it goes on, ever longer."""

    lasts: timedelta
    growing_to: timedelta | None = None
    by: tuple[str, ...] = ()  #: what is alike has the same values of these fields; () is all of the rule


class Outside(Value, frozen=True, kw_only=True):
    """What an alert is outside the open hours of a calendar."""

    calendar: Named
    severity: Severity | None = None
    labels: Mapping[str, str] = {}


class Pacing(Value, frozen=True, kw_only=True):
    """What becomes of a rule's findings before they are routed. By default: only a surge is summed up."""

    shadow: bool = False  #: recorded and counted, never sent
    during: Named | None = None  #: sent while it is open
    closed: Named | None = None  #: not sent while it is open
    outside: Outside | None = None
    cooldown: Cooldown | None = None
    max_per_hour: int | None = None
    surge: bool = True  #: one warning takes the place of a storm

    def silence(self, at: datetime) -> tuple[str, datetime | None] | None:
        """Why nothing is sent at a time, and until when, if its calendars say so."""
        if self.during is not None and not self.during.calendar.is_open(at):
            return f"outside the calendar {self.during.name}", self.during.calendar.next_change(at)
        if self.closed is not None and self.closed.calendar.is_open(at):
            return f"within the calendar {self.closed.name}", self.closed.calendar.next_change(at)
        return None


USUAL: Final = Pacing()

# --- how it is written --------------------------------------------------------------------------------

MOST: Final = timedelta(days=7)
COOLING: Final = Duration(least=timedelta(seconds=1), most=MOST)


@dataclass(frozen=True, kw_only=True)
class AlertFields:
    """Fields of the messages that an alert keeps: those have no free-form metadata."""

    expected: str = f"a field or a list of them: {', '.join(FIELDS)}"

    def read(self, node: yaml.Node, report: Report) -> Any:
        names = FieldNames().read(node, report)
        lost = next((name for name in names or () if name.partition(".")[0] in TREES), None)
        if lost is not None:
            return report.refuse(node, f'an alert does not keep "{lost}"', expected=self.expected)
        return names

    def schema(self) -> dict[str, Any]:
        one = {"enum": list(FIELDS)}
        return {"anyOf": [one, {"type": "array", "items": one, "maxItems": FieldNames().most}]}


MAX_PER_HOUR: Final = 200
"""Times of what was sent are kept for some hours. Who wants more single alerts an hour needs no limit."""

_COOLDOWN: Final = Record(
    name="a cooldown",
    keys={
        "for": Key(COOLING, "How long the like of an alert is not sent after it.", "for: 10m"),
        "growing_to": Key(
            COOLING,
            "While alerts go on, the time doubles with each that is sent, up to this; it begins anew after "
            "twice its length without any that was sent.",
            "growing_to: 4h",
        ),
        "by": Key(
            AlertFields(),
            "What is alike has the same values of these fields, by the first message of the alert. Default: "
            "all alerts of the rule are alike.",
            "by: conversation",
        ),
    },
    required=("for",),
)


@dataclass(frozen=True, kw_only=True)
class GrowingCooldown:
    """A cooldown whose length may grow."""

    @property
    def expected(self) -> str:
        return _COOLDOWN.expected

    def read(self, node: yaml.Node, report: Report) -> Any:
        read = _COOLDOWN.read(node, report)
        if read and "growing_to" in read and read["growing_to"] <= read["for"]:
            return report.refuse(
                node, "it can't grow to what is not longer", example="{for: 10m, growing_to: 4h}"
            )
        return read

    def schema(self) -> dict[str, Any]:
        return _COOLDOWN.schema()


_OUTSIDE: Final = Record(
    name="what is different outside a calendar",
    keys={
        "calendar": Key(CALENDAR_NAME, "Outside the open hours of which one.", "calendar: office"),
        "severity": Key(
            Choice(words=tuple(str(severity) for severity in Severity)),
            "The severity then.",
            "severity: info",
        ),
        "labels": Key(
            Words(max_length=200, expected="a mapping from label names to text"),
            "Labels that are added or take the place of others then.",
            "labels: {team: night}",
        ),
    },
    required=("calendar",),
)


@dataclass(frozen=True, kw_only=True)
class OutsideHours:
    """What is different outside a calendar: something must be."""

    @property
    def expected(self) -> str:
        return _OUTSIDE.expected

    def read(self, node: yaml.Node, report: Report) -> Any:
        read = _OUTSIDE.read(node, report)
        if read and read.keys() == {"calendar"}:
            return report.refuse(
                node, '"severity" or "labels" is missing: nothing is different then', example=OUTSIDE
            )
        return read

    def schema(self) -> dict[str, Any]:
        return {**_OUTSIDE.schema(), "minProperties": 2}


OUTSIDE: Final = "outside: {calendar: office, severity: info}"

PACING: Final[Mapping[str, Key]] = {
    "shadow": Key(
        Flag(),
        "true: what the rule finds is recorded and counted, and not sent. Default: false.",
        "shadow: true",
    ),
    "cooldown": Key(
        Either(plain=COOLING, mapping=GrowingCooldown()),
        "After an alert, what happens within this time is recorded and not sent.",
        "cooldown: 10m",
    ),
    "max_per_hour": Key(
        Whole(least=1, most=MAX_PER_HOUR),
        "Most single alerts in any hour; those over it are told as a sum, every 5 minutes.",
        "max_per_hour: 10",
    ),
    "during": Key(CALENDAR_NAME, "Only what happens while this calendar is open is sent.", "during: office"),
    "except": Key(CALENDAR_NAME, "What happens while this calendar is open is not sent.", "except: night"),
    "outside": Key(
        OutsideHours(), "Another severity or other labels outside working time, for other routes.", OUTSIDE
    ),
    "surge": Key(
        Choice(words=("on", "off")),
        "off: no warning takes the place of single alerts when there are far more than usual. Default: on.",
        "surge: off",
    ),
}
"""The keys of a rule of any kind that are about pace."""


def pacing(read: Mapping[str, Any]) -> Pacing:
    """What was read under `PACING`, its calendars resolved to `Named`."""
    outside = read.get("outside")
    return Pacing(
        shadow=read.get("shadow", False),
        during=read.get("during"),
        closed=read.get("except"),
        outside=_outside(outside) if outside else None,
        cooldown=_cooldown(read.get("cooldown")),
        max_per_hour=read.get("max_per_hour"),
        surge=read.get("surge", "on") == "on",
    )


def _outside(read: Mapping[str, Any]) -> Outside:
    severity = read.get("severity")
    return Outside(
        calendar=read["calendar"],
        severity=Severity(severity) if severity else None,
        labels=read.get("labels", {}),
    )


def _cooldown(read: timedelta | Mapping[str, Any] | None) -> Cooldown | None:
    if read is None:
        return None
    if isinstance(read, timedelta):
        return Cooldown(lasts=read)
    return Cooldown(lasts=read["for"], growing_to=read.get("growing_to"), by=read.get("by", ()))
