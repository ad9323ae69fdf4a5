"""Cooldowns: after an alert the like of it is not sent for a time, which grows while alerts go on. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from rules.model import Value
from rules.pacing import Cooldown

COOLING_FOR: Final = timedelta(days=1)  # a row that is later than this may be sent though the like of it was
MOST_TOLD: Final = 200


class Told(Value, frozen=True, kw_only=True):
    """An alert that was sent, and how long the like of it is not."""

    at: datetime
    lasts: timedelta


class Cooling(Value, frozen=True, kw_only=True):
    """What was sent of late of one cooldown, oldest first."""

    told: tuple[Told, ...] = ()


def cooled_until(cooldown: Cooldown, cooling: Cooling, at: datetime) -> datetime | None:
    """Until when the like of what was told is not sent, if `at` is within that; None if it is not.

    What happened so shortly before something told that this would have been held for it is alike too.
    """
    return max(
        (
            told.at + told.lasts
            for told in cooling.told
            if told.at <= at < told.at + told.lasts or at < told.at < at + cooldown.lasts
        ),
        default=None,
    )


def told(cooldown: Cooldown, cooling: Cooling, at: datetime) -> Cooling:
    """The cooldown with an alert sent at `at`: it lasts twice as long as the last if that is not long ago."""
    before = max((one for one in cooling.told if one.at <= at), key=lambda one: one.at, default=None)
    lasts = cooldown.lasts
    if cooldown.growing_to and before and at < before.at + 2 * before.lasts:
        lasts = max(lasts, min(2 * before.lasts, cooldown.growing_to))
    new = sorted([*cooling.told, Told(at=at, lasts=lasts)], key=lambda one: one.at)
    newest = new[-1].at
    kept = [one for one in new if one.at + 2 * one.lasts > newest - COOLING_FOR]
    return Cooling(told=tuple(kept[-MOST_TOLD:]))
