"""PagerDuty by its Events API v2: one event a request, one `dedup_key` for all that is told of one alert.

What its answers mean (https://developer.pagerduty.com/docs/events-api-v2-overview, "Response codes"):

| answer                                        | we                                                       |
|-----------------------------------------------|----------------------------------------------------------|
| 202, or another 2xx with `"status":"success"` | delivered                                                |
| 2xx that is a web page or says nothing        | retry: a proxy's log-in, not PagerDuty                   |
| 400 `invalid event` that names the key        | retry over the schedule: the key is being replaced       |
| 400 `invalid event`, `Unrecognized object`    | refused: PagerDuty says that no retry will help          |
| 413                                           | refused                                                  |
| 429                                           | retry; the whole receiver rests for Retry-After          |
| all others, no answer                         | retry                                                    |

An acknowledgement of ours acknowledges the incident; PagerDuty has no event that takes it back.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import httpx

from monitor.clock import Clock
from monitor.delivery.render import pagerduty
from monitor.delivery.sinks.base import Delivered, Refused, RetryAfter, Settlement, Traits
from monitor.delivery.sinks.post import Answer, PostError, post, unreadable
from monitor.delivery.sinks.reading import is_page, told
from monitor.errors import CometwatchError
from monitor.store.values import Notification

_INVALID: Final = frozenset({"invalid event", "unrecognized object"})
_PATH: Final = "/v2/enqueue"


class PagerDutySink:
    traits = Traits(people=False, most=1, follows=True)

    def __init__(
        self, *, app: str, routing_key: Callable[[], str], url: str, http: httpx.AsyncClient, clock: Clock
    ) -> None:
        """`url`: https://events.pagerduty.com, or https://events.eu.pagerduty.com."""
        self._app = app
        self._routing_key = routing_key
        self._url = url.rstrip("/").removesuffix(_PATH) + _PATH
        self._http = http
        self._clock = clock

    async def send(self, notification: Notification) -> Settlement:
        try:
            key = self._routing_key().strip()
            for event in pagerduty.events(notification, app=self._app):
                settled = settlement(await self._enqueue({"routing_key": key, **event}))
                if not isinstance(settled, Delivered):
                    return settled  # those before it are told again with their keys, and change nothing
        except PostError as exc:
            return RetryAfter(reason=str(exc))
        except (OSError, UnicodeError, CometwatchError) as exc:
            return RetryAfter(reason=unreadable(exc))
        return Delivered()

    async def _enqueue(self, event: dict[str, Any]) -> Answer:
        content = json.dumps(event, ensure_ascii=False).encode("utf-8", "replace")
        headers = {"content-type": "application/json"}
        return await post(self._http, self._url, content, headers, now=self._clock.wall())


def settlement(answer: Answer) -> Settlement:
    """What PagerDuty's answer means for the notification. Its texts are not quoted: they name our fields."""
    said = told(answer)
    if answer.is_success and (
        said.get("status") == "success" or (answer.status == 202 and not is_page(answer))
    ):
        return Delivered()
    if answer.is_success:
        return RetryAfter(reason=f"{answer.status}, but not from PagerDuty: is there a proxy in between?")
    if answer.status == 413:
        return Refused(reason="PagerDuty answered 413: the event is too large for it")
    if answer.status == 400 and str(said.get("status", "")).lower() in _INVALID:
        return _invalid(said)
    return RetryAfter(reason=f"PagerDuty answered {answer.status}", after=answer.retry_after)


def _invalid(said: dict[str, Any]) -> Settlement:
    errors = str(said.get("errors", "")).lower()
    if "routing_key" in errors or "routing key" in errors:
        return RetryAfter(
            reason="PagerDuty answered 400: it does not know the routing key; it takes the integration key "
            "(32 characters) of an Events API v2 integration, no API key"
        )
    return Refused(reason="PagerDuty answered 400: it can't read the event, and says that no retry will help")
