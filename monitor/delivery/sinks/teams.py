"""Microsoft Teams by a webhook of Workflows ("Post to a channel when a webhook request is received").

The flow takes the request before it posts the card, so a yes means that Microsoft has it, not that it is
shown; and nothing comes back by which the message could be found again. The webhook itself is described at
https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using; what its
answers mean is not, so only what was seen and is plain is taken for final:

| answer                                             | we                                                 |
|----------------------------------------------------|----------------------------------------------------|
| 202; 2xx without a body, with "1" or with JSON     | delivered                                          |
| 2xx with another body: a log-in page, or the       | retry                                              |
| connector's "delivery failed" under its status 200 |                                                    |
| 413                                                | refused: the same card will not get smaller        |
| 400, 404 that say that the flow is gone or off     | refused: dead letter, to redrive when it is mended |
| 429                                                | retry; the whole receiver rests for Retry-After    |
| anything else: 3xx, 401, 403, other 4xx, 5xx       | retry                                              |
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import httpx

from monitor.clock import Clock
from monitor.delivery.render import teams
from monitor.delivery.render.text import page
from monitor.delivery.sinks.base import Delivered, Refused, RetryAfter, Settlement, Traits
from monitor.delivery.sinks.post import Answer, PostError, post, unreadable
from monitor.errors import CometwatchError
from monitor.store.values import Notification

_FINAL: Final = {
    "WorkflowNotFound": "the flow is gone; make a new one, then redrive its dead letters",
    "WorkflowTriggerNotFound": "the flow has another trigger by now",
    "WorkflowTriggerIsNotEnabled": "the flow is turned off; turn it on, then redrive its dead letters",
    "WorkflowDisabled": "the flow is turned off; turn it on, then redrive its dead letters",
}
_MEANINGS: Final = {
    401: "it does not accept the URL's signature; copy the URL anew from the flow",
    403: "it does not let us in; anyone must be allowed to trigger the flow",
    413: "the card is too large for it",
    429: "it is rate limited",
}


class TeamsSink:
    traits = Traits(people=True)

    def __init__(self, *, url: Callable[[], str], http: httpx.AsyncClient, clock: Clock) -> None:
        self._url = url
        self._http = http
        self._clock = clock

    async def send(self, notification: Notification) -> Settlement:
        card = teams.payload(page(notification))
        try:
            answer = await post(
                self._http,
                self._url().strip(),
                json.dumps(card, ensure_ascii=False).encode("utf-8", "replace"),
                {"content-type": "application/json"},
                now=self._clock.wall(),
            )
        except PostError as exc:
            return RetryAfter(reason=str(exc))
        except (OSError, UnicodeError, CometwatchError) as exc:
            return RetryAfter(reason=unreadable(exc))
        return settlement(answer)


def settlement(answer: Answer) -> Settlement:
    """What an answer of Teams means for the notification."""
    said = answer.body.strip()
    is_plain = said in {b"", b"1"} or said.startswith((b"{", b"["))
    if answer.status == 202 or (answer.is_success and is_plain):
        return Delivered()
    word = _error_word(said)
    meaning = _FINAL.get(word) or _MEANINGS.get(answer.status, "")
    odd = ", but not as Teams does" if answer.is_success else ""
    if b"delivery failed" in said:
        meaning = "it could not deliver the card"
    reason = ": ".join(filter(None, (f"Teams answered {answer.status}{odd}", meaning)))
    if word in _FINAL or answer.status == 413:
        return Refused(reason=reason)
    return RetryAfter(reason=reason, after=answer.retry_after)


def _error_word(said: bytes) -> str:
    """Power Automate's word for the error, if it is one that we know; else ""."""
    try:
        told: Any = json.loads(said)
    except ValueError:
        return ""
    error = told.get("error") if isinstance(told, dict) else None
    word = error.get("code") if isinstance(error, dict) else None
    return word if isinstance(word, str) and word in _FINAL else ""
