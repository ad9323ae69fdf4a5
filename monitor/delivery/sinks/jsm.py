"""Jira Service Management operations, Opsgenie's successor, by an API integration of a team.

Alerts are known there by their alias: while one is open, creating it again only counts it. What the answers
mean (https://developer.atlassian.com/cloud/jira/service-desk-ops/rest/v1/api-group-integration-events/):

| answer                                       | we                                                        |
|----------------------------------------------|-----------------------------------------------------------|
| 202, or another 2xx with a `requestId`       | delivered: it will be processed                           |
| 2xx that is a web page or says nothing       | retry: a proxy's log-in, not JSM                          |
| 400, 422 with its own `message`              | refused: the same request will not get better             |
| 413                                          | refused                                                   |
| 401, 403, 404                                | retry over the schedule: the key is being replaced        |
| 429, 503                                     | retry; the whole receiver rests for Retry-After           |
| all others, no answer                        | retry                                                     |
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

import httpx

from monitor.clock import Clock
from monitor.delivery.render import jsm
from monitor.delivery.sinks.base import Delivered, Refused, RetryAfter, Settlement, Traits
from monitor.delivery.sinks.post import Answer, PostError, excerpt, post, unreadable
from monitor.delivery.sinks.reading import is_page, texts, told
from monitor.errors import CometwatchError
from monitor.store.values import Notification

_MEANINGS: Final = {
    400: "it can't read the request",
    401: "it does not know the API key",
    403: "it does not let us in: has the API integration the right to create and update alerts?",
    404: "nothing listens at this address; it ends in /jsm/ops/integration",
    413: "the request is too large for it",
    422: "it can't take the request",
    429: "it is rate limited",
}


class JsmSink:
    traits = Traits(people=False, most=1, follows=True)

    def __init__(
        self, *, app: str, api_key: Callable[[], str], url: str, http: httpx.AsyncClient, clock: Clock
    ) -> None:
        """`url`: what stands before `/v2/alerts`: https://api.atlassian.com/jsm/ops/integration."""
        self._app = app
        self._api_key = api_key
        self._url = url.rstrip("/").removesuffix("/v2/alerts") + "/v2/alerts"
        self._http = http
        self._clock = clock

    async def send(self, notification: Notification) -> Settlement:
        try:
            key = self._api_key().strip()
            for request in jsm.requests(notification, app=self._app):
                settled = await self._tell(request, key, texts(notification))
                if not isinstance(settled, Delivered):
                    return settled  # those before it are told again under the same alias
        except PostError as exc:
            return RetryAfter(reason=str(exc))
        except (OSError, UnicodeError, CometwatchError) as exc:
            return RetryAfter(reason=unreadable(exc))
        return Delivered()

    async def _tell(self, request: jsm.Request, key: str, private: list[str]) -> Settlement:
        content = json.dumps(request.body, ensure_ascii=False).encode("utf-8", "replace")
        headers = {"content-type": "application/json", "authorization": f"GenieKey {key}"}
        answer = await post(self._http, self._url + request.path, content, headers, now=self._clock.wall())
        said = excerpt(answer, sent=[content.decode()], secrets=[self._url, key, *private])
        return settlement(answer, said)


def settlement(answer: Answer, said: str) -> Settlement:
    """What JSM's answer means for the notification; `said` is safe to show."""
    own = told(answer)
    if answer.is_success and ("requestId" in own or (answer.status == 202 and not is_page(answer))):
        return Delivered()
    if answer.is_success:
        return RetryAfter(reason=f"{answer.status}, but not from JSM: is there a proxy in between?")
    meaning = _MEANINGS.get(answer.status, "")
    reason = ": ".join(filter(None, (f"JSM answered {answer.status}", meaning, said)))
    if answer.status == 413 or (answer.status in {400, 422} and "message" in own):
        return Refused(reason=reason)
    return RetryAfter(reason=reason, after=answer.retry_after)
