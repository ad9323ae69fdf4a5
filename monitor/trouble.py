"""What a poll that went wrong means: for its list, for everybody, and for the next attempt."""

from __future__ import annotations

from random import Random
from typing import Final

import structlog

from monitor.allowance import OUTAGE_MOST_S, Allowance
from monitor.clock import Clock
from monitor.errors import StoreError
from monitor.health import Health
from monitor.metrics import Metrics
from monitor.schedule.turns import Turns, backoff
from monitor.source.client import (
    BadKey,
    BadResponse,
    NoAccess,
    ServerError,
    SourceError,
    UnknownUser,
    Unreachable,
)
from rules.engine import place_of
from rules.model import ListId

log = structlog.get_logger(__name__)

UNKNOWN_FIRST_S: Final = 60.0  # a user who was only just created
UNKNOWN_MOST_S: Final = 3600.0
STORE_MOST_S: Final = 30.0
TOLD_ONE_BY_ONE: Final = 20
OUTAGE_AFTER: Final = 5  # failures in a row, whosesoever: this is not one list's trouble
SOON_S: Final = 5.0
OUTAGES: Final = (Unreachable, ServerError, BadResponse)


class Trouble:
    """Records what went wrong and puts the list's next poll off. Each method is the end of one poll."""

    def __init__(
        self,
        *,
        turns: Turns,
        allowance: Allowance,
        health: Health,
        metrics: Metrics,
        clock: Clock,
        random: Random,
    ) -> None:
        self._turns = turns
        self._allowance = allowance
        self._health = health
        self._metrics = metrics
        self._clock = clock
        self._random = random

    def unanswered(self, uid: ListId, error: SourceError, *, endpoint: str, is_probe: bool) -> None:
        """CometChat refused, failed or could not be reached. UnknownUser has a method of its own."""
        self._count(error, endpoint)
        is_own = isinstance(error, BadKey | NoAccess) and self._health.fails_alone(uid)
        is_refused = not is_own and self._allowance.refused(error)
        failures = self._health.failed(uid, error=str(error), now=self._clock.wall())
        is_outage = isinstance(error, OUTAGES) and self._health.failures_in_a_row >= OUTAGE_AFTER
        if is_outage:
            self._allowance.unreachable(is_probe=is_probe)
        retry_in = self._retry_in(failures, is_refused=is_refused, is_outage=is_outage)
        # Who is next in line behind a closed gate waits for it, like everybody.
        told = max(retry_in, self._allowance.wait()) if is_refused else retry_in
        # An outage fails every list in turn: that we are blind is told elsewhere, once.
        say = log.warning if self._health.failures_in_a_row <= TOLD_ONE_BY_ONE else log.debug
        say("poll.failed", user=uid, retry_in_s=round(told, 1), reason=str(error))
        self.retry(uid, retry_in)

    def _retry_in(self, failures: int, *, is_refused: bool, is_outage: bool) -> float:
        # 1. next in line when the gate opens  2. soon after it, so that another list is the next probe: the
        #    failure might be this one's own  3. alone
        if is_refused:
            return 1.0
        if is_outage:
            return min(self._allowance.wait(), OUTAGE_MOST_S) + self._random.uniform(1.0, SOON_S)
        return backoff(failures, random=self._random)

    def unknown(self, uid: ListId, error: UnknownUser, *, endpoint: str) -> None:
        """CometChat knows no such user or group: it is asked for seldom from now on."""
        self._count(error, endpoint)
        failures = self._health.unknown_user(uid, error=str(error), now=self._clock.wall())
        retry_in = backoff(failures, random=self._random, first=UNKNOWN_FIRST_S, most=UNKNOWN_MOST_S)
        log.warning("user.unknown", user=uid, retry_in_s=round(retry_in), reason=str(error))
        self.retry(uid, retry_in)

    def unstored(self, uid: ListId, error: StoreError) -> None:
        """Keep the page unread and try again: what can't be remembered must not be believed."""
        self._metrics.store_writable.set(0)
        self._metrics.poll("store_error").inc()
        failures = self._health.store_failed(uid, error=str(error))
        retry_in = backoff(failures, random=self._random, most=STORE_MOST_S)
        log.error("commit.failed", user=uid, retry_in_s=round(retry_in, 1), reason=str(error))
        self.retry(uid, retry_in)

    def bug(self, uid: ListId, bug: Exception) -> None:
        """Let out, it would end the process, meet the same row at the next start, and watch nobody any more.

        So the list fails in plain sight, its page stays unread, the others go on.
        """
        self._metrics.poll("bug").inc()
        where = place_of(bug)  # its own text may quote a message
        failures = self._health.stumbled(uid, error=f"bug: {where}")
        retry_in = backoff(failures, random=self._random)
        log.error("poll.bug", user=uid, retry_in_s=round(retry_in, 1), error=where)
        self.retry(uid, retry_in)

    def retry(self, uid: ListId, retry_in: float) -> None:
        self._turns.failed(uid, retry_in=retry_in, now=self._clock.monotonic())

    def _count(self, error: SourceError, endpoint: str) -> None:
        self._metrics.failed(endpoint, error.outcome)
