"""Webhooks by the Standard Webhooks specification (https://www.standardwebhooks.com), or as CloudEvents.

A CloudEvent carries the headers of Standard Webhooks as well, and is signed by them. In the binary form its
own headers are not part of what is signed; `webhook-id`, which is, is the same as `ce-id`.

What the receiver's status means:

| status                  | we                                                                           |
|-------------------------|------------------------------------------------------------------------------|
| 2xx                     | delivered, whatever the body says                                            |
| 410                     | refused: the receiver says that it is gone for good                          |
| 413                     | refused: the same body will not get smaller                                  |
| 429, 503                | retry; the whole receiver rests for Retry-After                              |
| 3xx                     | retry; never followed, a redirect could carry the alert anywhere             |
| 400, 401, 403, 404, 422 | retry over the schedule, then dead letter: often a deploy or a key rotation   |
|                         | in progress at the receiver, and a lost alert costs more than some POSTs     |
| all others, no answer   | retry                                                                        |
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

import httpx
from standardwebhooks import Webhook

from monitor.clock import Clock
from monitor.delivery.render import cloudevents
from monitor.delivery.render.webhook import body
from monitor.delivery.sinks.base import Delivered, Refused, RetryAfter, Settlement, Traits
from monitor.delivery.sinks.post import Answer, PostError, excerpt, post, unreadable
from monitor.errors import CometwatchError, ConfigError
from monitor.store.values import Notification

_OURS: Final = frozenset(
    {"webhook-id", "webhook-timestamp", "webhook-signature", "content-type", "content-length", "host"}
)
_HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect"}
    | {"proxy-authenticate", "proxy-authorization", "proxy-connection", "content-encoding"}
)
_PLAIN: Final = {"content-type": "application/json"}
_MEANINGS: Final = {
    400: "it can't read the body",
    401: "it does not accept the signature or the credentials",
    403: "it does not let us in",
    404: "nothing listens at this address",
    410: "it is gone for good; mend the receiver's URL, then redrive its dead letters",
    413: "the body is too large for it; raise its limit, then redrive its dead letters",
    429: "it is rate limited",
}


class Wire(NamedTuple):
    """What is sent, but for who we are: its own headers, and the body."""

    headers: Mapping[str, str]
    content: bytes


class WebhookSink:
    traits = Traits(people=False)

    def __init__(
        self,
        *,
        app: str,
        url: Callable[[], str],
        secrets: Callable[[], Sequence[str]],
        http: httpx.AsyncClient,
        clock: Clock,
        headers: Callable[[], Mapping[str, str]] = dict,
        form: str = "standard",
    ) -> None:
        """`secrets` gives the signing keys, the new one first; none at all means unsigned.

        `form` is one of `FORMS`.
        """
        self._wire = partial(FORMS[form], app=app)
        self._url = url
        self._secrets = secrets
        self._headers = headers
        self._http = http
        self._clock = clock

    async def send(self, notification: Notification) -> Settlement:
        now = self._clock.wall()
        try:
            url, secrets, extra = self._url().strip(), tuple(self._secrets()), dict(self._headers())
            own, content = self._wire(notification)
            signed = signature_headers(secrets, notification.id, now, content)
            check_headers(extra)
        except (OSError, UnicodeError, CometwatchError) as exc:
            return RetryAfter(reason=unreadable(exc))
        try:
            headers = {**extra, **own, **signed}
            answer = await post(self._http, url, content, headers, now=now)
        except PostError as exc:
            return RetryAfter(reason=str(exc))
        texts = (message.text or "" for alert in notification.alerts for message in alert.messages)
        private = [url, *secrets, *extra.values(), *texts]
        return settlement(answer, excerpt(answer, sent=[content.decode()], secrets=private))


def standard(notification: Notification, *, app: str) -> Wire:
    return Wire(_PLAIN, body(notification, app=app))


def structured(notification: Notification, *, app: str) -> Wire:
    own = {"content-type": cloudevents.STRUCTURED}
    return Wire(own, cloudevents.structured(notification, app=app))


def binary(notification: Notification, *, app: str) -> Wire:
    own = {"content-type": cloudevents.BINARY, **cloudevents.headers(notification, app=app)}
    return Wire(own, cloudevents.binary(notification, app=app))


FORMS: Final[Mapping[str, Callable[..., Wire]]] = {
    "standard": standard,
    "cloudevents-structured": structured,
    "cloudevents-binary": binary,
}


def settlement(answer: Answer, said: str) -> Settlement:
    """What the receiver's answer means for the notification; `said` is safe to show."""
    if answer.is_success:
        return Delivered()
    meaning = _MEANINGS.get(answer.status, "")
    if 300 <= answer.status < 400:
        meaning = "a redirect, which is never followed; use the final URL"
    reason = ": ".join(filter(None, (f"the receiver answered {answer.status}", meaning, said)))
    if answer.status in {410, 413}:
        return Refused(reason=reason)
    return RetryAfter(reason=reason, after=answer.retry_after)


def signature_headers(
    secrets: Sequence[str], message_id: str, at: datetime, content: bytes
) -> dict[str, str]:
    """The three headers of Standard Webhooks; one signature a key, so that keys can overlap while rotating.

    Raises ConfigError if a secret is not a signing key.
    """
    stamped = {"webhook-id": message_id, "webhook-timestamp": str(int(at.timestamp()))}
    keys = [signing_key(secret) for secret in secrets]
    if not keys:
        return stamped
    signatures = (Webhook(key).sign(msg_id=message_id, timestamp=at, data=content.decode()) for key in keys)
    return {**stamped, "webhook-signature": " ".join(signatures)}


def signing_key(secret: str) -> bytes:
    """The key bytes of `whsec_<base64>` (the prefix may be missing). Raises ConfigError, without the secret.

    The library drops characters that are not base64 and would sign with another key than the receiver's.
    """
    text = secret.strip().removeprefix("whsec_")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ConfigError(
            "webhook secret is not base64; make one with: "
            "python3 -c 'import base64,os; print(\"whsec_\" + base64.b64encode(os.urandom(32)).decode())'"
        )
    return key


def check_headers(headers: Mapping[str, str]) -> None:
    """Raises ConfigError for a custom header that would break the request or take the place of ours."""
    for name, value in headers.items():
        if name.lower() in _OURS | _HOP_BY_HOP or name.lower().startswith("ce-"):
            raise ConfigError(f"header {name!r} can't be set: it belongs to the protocol or the signature")
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise ConfigError(f"header {name!r} is not a header name; for example X-Team")
        if not re.fullmatch(r"[\t\x20-\x7e]*", value):
            raise ConfigError(f"the value of header {name!r} may hold only printable ASCII")
