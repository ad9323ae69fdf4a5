"""The product's own scheduler on the course: nothing of it is copied here."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from monitor.schedule.activity import Activity
from monitor.schedule.turns import Turns
from tests.bench.scheduling.course import Course

MIN_INTERVAL_S = 1.0


class Ours:
    """`Turns` as the intake uses it; activities know the messages before the start, as after a restart."""

    def __init__(self, course: Course, random: Random) -> None:
        activities = {str(user): _heard(times, course.start) for user, times in enumerate(course.known())}
        self._turns = Turns(random=random, min_interval=MIN_INTERVAL_S, rate=course.per_minute / 60)
        self._turns.add(activities, course.start, activities=activities)

    def wait(self, now: float) -> float:
        return self._turns.wait(now)

    def take(self, now: float) -> int | None:
        turn = self._turns.take(now)
        return int(turn.uid) if turn else None

    def finished(self, user: int, *, ages: Sequence[float], more: bool, now: float) -> None:
        self._turns.finished(str(user), ages=ages, more=more, now=now)


def _heard(times: Sequence[float], now: float) -> Activity:
    activity = Activity(now=0.0)
    activity.saw([now - at for at in times], now)
    return activity
