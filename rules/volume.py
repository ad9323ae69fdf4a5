"""How many alerts a rule raises, and how many are usual: what tells a storm from a busy day. Pure.

Whatever order alerts come in, the same ones make the same volume.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec.structs import replace

from rules.model import Value

HOUR: Final = timedelta(hours=1)
WEEK_HOURS: Final = 7 * 24
RECENT_MINUTES: Final = 180
SENT_FOR: Final = timedelta(hours=3)
YOUNG_HOURS: Final = 24
"""A rule is not judged by less history: a day has a night."""

LEAST: Final = 20
"""So many alerts in an hour are no storm, whatever is usual."""

TIMES: Final = 5
"""A surge is more than so many times what is usual."""


class Band(Value, frozen=True, kw_only=True):
    """How much a rule finds: in the hour up to its newest alert, and usually."""

    volume: int
    usual: int  #: the most it finds in an hour, but for one hour in twenty of the last week
    limit: int | None = None  #: more than this in an hour is a surge; None: too young to say


class Volume(Value, frozen=True, kw_only=True):
    """How many alerts of a rule there were when, sent or held, and when single ones were sent last."""

    since: int  #: hour of the oldest alert
    hours: Mapping[int, int] = {}  #: hour since 1970 -> alerts, of the last week
    minutes: Mapping[int, int] = {}  #: minute since 1970 -> alerts, of the last hours
    sent: tuple[datetime, ...] = ()  #: ascending; kept where the rule has a limit

    def within_hour(self, at: datetime) -> int:
        last = _minute(at)
        return sum(count for minute, count in self.minutes.items() if last - 60 < minute <= last)

    def usual(self, at: datetime) -> int:
        """The most alerts in an hour of the week before, but for one hour in twenty."""
        hour = _hour(at)
        counts = sorted((c for h, c in self.hours.items() if hour - WEEK_HOURS <= h < hour), reverse=True)
        passed_over = min(WEEK_HOURS, max(0, hour - self.since)) // 20
        return counts[passed_over] if passed_over < len(counts) else 0

    def limit(self, at: datetime) -> int | None:
        """How many alerts in an hour are too many; None while the rule is young."""
        return self.band(at).limit

    def band(self, at: datetime) -> Band:
        usual = self.usual(at)
        is_young = _hour(at) - self.since < YOUNG_HOURS
        limit = None if is_young else max(LEAST, TIMES * usual)
        return Band(volume=self.within_hour(at), usual=usual, limit=limit)

    @property
    def newest(self) -> datetime:
        return datetime.fromtimestamp(60 * max(self.minutes), UTC)


def _minute(at: datetime) -> int:
    return int(at.timestamp() // 60)


def _hour(at: datetime) -> int:
    return int(at.timestamp() // 3600)


def counted(volume: Volume | None, at: datetime) -> Volume:
    """The volume with one alert more. In whatever order alerts come, the same ones make the same volume."""
    volume = volume or Volume(since=_hour(at))
    return Volume(
        since=min(volume.since, _hour(at)),
        hours=_added(volume.hours, _hour(at), WEEK_HOURS),
        minutes=_added(volume.minutes, _minute(at), RECENT_MINUTES),
        sent=volume.sent,
    )


def _added(counts: Mapping[int, int], at: int, most: int) -> dict[int, int]:
    grown = {**counts, at: counts.get(at, 0) + 1}
    newest = max(grown)
    return {when: grown[when] for when in sorted(grown) if when >= newest - most}


def has_room(sent: Sequence[datetime], at: datetime, most: int) -> bool:
    """Whether one more at `at` leaves every hour with at most `most`."""
    near = sorted([*(one for one in sent if abs(one - at) < HOUR), at])
    return all(later - first >= HOUR for first, later in zip(near, near[most:], strict=False))


def with_sent(volume: Volume, at: datetime) -> Volume:
    """The volume with one alert more that was sent by itself."""
    sent = sorted([*volume.sent, at])
    kept = tuple(one for one in sent if one > sent[-1] - SENT_FOR)
    return replace(volume, sent=kept)
