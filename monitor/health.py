"""Whether the work is progressing: what the last polls and commits said, and when we went blind.

Written by the intake, read by the web pages, the readiness probe and the notices. Pure: callers pass `now`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rules.model import UserId


@dataclass(slots=True)
class Sight:
    """What the last polls of one user told."""

    since: datetime | None = None  #: when we began to poll
    last_poll_at: datetime | None = None  #: the last answered one
    watermark: datetime | None = None
    last_error: str | None = None  #: of the last poll; None when all went well
    failures: int = 0  #: in a row
    failed_at: datetime | None = None  #: the last time that no usable answer came
    unknown: bool = False  #: CometChat does not know the user (deleted, deactivated, a typo)


@dataclass(slots=True)
class Health:
    """One process's view of itself."""

    started_at: datetime
    sights: dict[UserId, Sight] = field(default_factory=dict)
    last_success_at: datetime | None = None
    failing_since: datetime | None = None  #: the first failure after the last answer
    failures_in_a_row: int = 0  #: of anybody's polls since then
    last_error: str | None = None
    store_error: str | None = None
    config_error: str | None = None  #: why the last reload was refused
    discovery_error: str | None = None  #: which cohort could not be discovered in the last round, and why
    last_commit_at: datetime | None = None

    def sight(self, uid: UserId) -> Sight:
        return self.sights.setdefault(uid, Sight())

    def failures(self, uid: UserId) -> int:
        """How many polls of `uid` in a row went wrong, the last one included."""
        sight = self.sights.get(uid)
        return sight.failures if sight else 0

    def answered(self, *, now: datetime) -> None:
        """CometChat answered a poll: we see, whatever becomes of the answer."""
        self.last_success_at = now
        self.failing_since = self.last_error = None
        self.failures_in_a_row = 0

    def accounted(self, uid: UserId, *, now: datetime) -> None:
        """The answer to a poll of `uid` was evaluated, and what it brought is durable."""
        sight = self.sight(uid)
        sight.last_poll_at, sight.last_error, sight.failures, sight.unknown = now, None, 0, False

    def unknown_user(self, uid: UserId, *, error: str, now: datetime) -> int:
        """CometChat does not know `uid`: this user's trouble, not our sight's. Returns failures in a row."""
        self.answered(now=now)
        self.sight(uid).unknown = True
        return self.stumbled(uid, error=error)

    def fails_alone(self, uid: UserId) -> bool:
        """Whether others were answered since `uid` last failed: its next failure is its own then."""
        sight = self.sight(uid)
        if not sight.failures or sight.failed_at is None or self.last_success_at is None:
            return False
        return self.last_success_at > sight.failed_at

    def failed(self, uid: UserId, *, error: str, now: datetime) -> int:
        """A poll of `uid` got no usable answer. Returns how many in a row."""
        self.last_error = error
        self.failures_in_a_row += 1
        if self.failing_since is None:
            self.failing_since = now
        self.sight(uid).failed_at = now
        return self.stumbled(uid, error=error)

    def store_failed(self, uid: UserId, *, error: str) -> int:
        """What was read of `uid` could not be made durable. Returns how many failures in a row."""
        self.store_error = error
        return self.stumbled(uid, error=f"store: {error}")

    def stumbled(self, uid: UserId, *, error: str) -> int:
        """A poll of `uid` went wrong. Returns how many in a row."""
        sight = self.sight(uid)
        sight.last_error = error
        sight.failures += 1
        return sight.failures

    def blind_since(self, now: datetime, *, after: timedelta) -> datetime | None:
        """Since when nothing could be read, if that is longer ago than `after`."""
        if self.failing_since is None or now - self.failing_since < after:
            return None
        return self.last_success_at or self.started_at

    def committed(self, now: datetime) -> None:
        self.last_commit_at = now
        self.store_error = None

    def store_works(self) -> None:
        """The store would take a commit, though there was none."""
        self.store_error = None
