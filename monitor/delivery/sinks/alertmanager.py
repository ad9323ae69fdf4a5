"""Prometheus Alertmanager by its API v2 (https://prometheus.io/docs/alerting/latest/alerts_api/).

It forgets what it is not told again, so what lasts is re-asserted once a minute (`Traits.reasserts`).
Instances of one cluster share silences and what was sent, but not alerts: each is told of everything, as
Prometheus does. One of them is enough for "delivered"; the others stand in `Delivered.warning`.

What one instance's answer means (its OpenAPI file knows 200, 400 and 500; the others are those of proxies):

| answer                   | we                                                                         |
|--------------------------|----------------------------------------------------------------------------|
| 2xx                      | delivered, unless it is a web page: a proxy's log-in, not Alertmanager     |
| 400, 413                 | refused: it took what it could of the alerts, and the rest will not change |
| 401, 403, 404, other 4xx | retry: credentials or addresses that are being changed                     |
| 429, 503                 | retry; the whole receiver rests for Retry-After                            |
| 3xx, 5xx, no answer      | retry                                                                      |

Clocks have to agree within a minute or two: the end of an alert is told as a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import httpx
import trio

from monitor.clock import Clock
from monitor.delivery.render import alertmanager
from monitor.delivery.sinks.base import Delivered, Refused, RetryAfter, Settlement, Traits
from monitor.delivery.sinks.post import Answer, PostError, excerpt, post, unreadable
from monitor.delivery.sinks.reading import is_page, texts
from monitor.delivery.sinks.webhook import check_headers
from monitor.errors import CometwatchError
from monitor.store.values import Notification

MOST: Final = 64
"""Alerts in one request: as many as Prometheus sends, and far below the body limits of common proxies."""

GRACE_S: Final = 3.0
"""How long the other instances may take once one has accepted: one that hangs must not make a delivered
alert a timeout."""

_MEANINGS: Final = {
    400: "it can't read some of the alerts",
    401: "it does not accept the credentials",
    403: "it does not let us in",
    404: "no Alertmanager at this address; mind its path prefix",
    413: "the body is too large for it",
    429: "it is rate limited",
}


class AlertmanagerSink:
    traits = Traits(people=False, most=MOST, reasserts=timedelta(minutes=1))

    def __init__(
        self,
        *,
        app: str,
        urls: Sequence[str],
        headers: Callable[[], Mapping[str, str]],
        labels: Mapping[str, str],
        http: httpx.AsyncClient,
        clock: Clock,
    ) -> None:
        """`urls`: of all instances of one cluster, without `/api/v2`. `headers` has the credentials."""
        self._app = app
        self._urls = tuple(urls)
        self._headers = headers
        self._labels = labels
        self._http = http
        self._clock = clock

    async def send(self, notification: Notification) -> Settlement:
        now = self._clock.wall()
        told = alertmanager.alerts(notification, app=self._app, labels=self._labels, now=now)
        settlement = await self.assert_all(told, private=texts(notification))
        if isinstance(settlement, Delivered):
            return Delivered(receipts=alertmanager.receipts(notification), warning=settlement.warning)
        return settlement

    async def assert_all(self, told: Sequence[Mapping[str, Any]], private: Sequence[str] = ()) -> Settlement:
        """Tell every instance of these `postableAlerts`. `private` are texts that no reason may quote.

        Cancelled in the middle, it leaves unknown which of them know.
        """
        try:
            headers = dict(self._headers())
            check_headers(headers)
        except (OSError, UnicodeError, CometwatchError) as exc:
            return RetryAfter(reason=unreadable(exc))
        content = json.dumps(told, ensure_ascii=False).encode("utf-8", "replace")
        private = [*self._urls, *headers.values(), *private]
        outcomes: list[Settlement] = [RetryAfter(reason="no answer in time")] * len(self._urls)

        async def tell(index: int, others: trio.CancelScope) -> None:
            outcomes[index] = outcome = await self._tell(self._urls[index], content, headers, private)
            if isinstance(outcome, Delivered):
                others.deadline = min(others.deadline, trio.current_time() + GRACE_S)

        async with trio.open_nursery() as nursery:
            for index in range(len(self._urls)):
                nursery.start_soon(tell, index, nursery.cancel_scope)
        return together(outcomes)

    async def _tell(
        self, url: str, content: bytes, headers: Mapping[str, str], private: Sequence[str]
    ) -> Settlement:
        address = f"{url.strip().rstrip('/')}/api/v2/alerts"
        typed = {**headers, "content-type": "application/json"}
        try:
            answer = await post(self._http, address, content, typed, now=self._clock.wall())
        except PostError as exc:
            return RetryAfter(reason=str(exc))
        return settlement(answer, excerpt(answer, sent=[content.decode()], secrets=private))


def together(outcomes: Sequence[Settlement]) -> Settlement:
    """What the instances' answers mean for the notification: one that has it is enough."""
    failed = [
        f"instance {number} of {len(outcomes)}: {outcome.reason}" if len(outcomes) > 1 else outcome.reason
        for number, outcome in enumerate(outcomes, start=1)
        if not isinstance(outcome, Delivered)
    ]
    reason = "; ".join(failed)
    if len(failed) < len(outcomes):
        return Delivered(warning=reason or None)
    if all(isinstance(outcome, Refused) for outcome in outcomes):
        return Refused(reason=reason)
    waits = [outcome.after for outcome in outcomes if isinstance(outcome, RetryAfter) and outcome.after]
    return RetryAfter(reason=reason, after=min(waits, default=None))


def settlement(answer: Answer, said: str) -> Settlement:
    """What one instance's answer means; `said` is safe to show."""
    if answer.is_success and not is_page(answer):
        return Delivered()
    meaning = (
        "a web page, not Alertmanager's answer" if answer.is_success else _MEANINGS.get(answer.status, "")
    )
    if 300 <= answer.status < 400:
        meaning = "a redirect, which is never followed; use the final URL"
    reason = ": ".join(filter(None, (f"Alertmanager answered {answer.status}", meaning, said)))
    if answer.status in {400, 413}:
        return Refused(reason=reason)
    return RetryAfter(reason=reason, after=answer.retry_after)
