"""The webhook's body: the published shape, for any notification."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from standardwebhooks import Webhook, WebhookVerificationError

import monitor.delivery
from monitor.delivery.policy import bundle
from monitor.delivery.render import webhook
from monitor.delivery.render.disclosure import disclose
from monitor.delivery.sinks.webhook import check_headers, signature_headers, signing_key
from monitor.delivery.values import Receiver, TextPolicy
from monitor.errors import ConfigError
from monitor.store.values import Kind, Notification
from rules.model import AlertId, Status
from tests.delivery.samples import (
    NOW,
    a_notification,
    a_photo_alert,
    an_alert,
    an_entry,
    golden,
    notifications,
)

SCHEMA = json.loads((Path(monitor.delivery.__file__).parent / "webhook.schema.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

# The published example of the specification's libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
SIGNED_AT = datetime.fromtimestamp(1614265330, UTC)
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def decoded(notification: Notification) -> Any:
    return json.loads(webhook.body(notification, app="275211"))


# --- the body ---------------------------------------------------------------------------------------


def test_the_body_is_the_published_shape() -> None:
    told = disclose(a_notification(an_alert(), a_photo_alert()), Receiver(name="r"))
    assert decoded(told) == golden("webhook")


def test_text_and_media_links_stand_in_it_only_by_policy() -> None:
    open_to_all = Receiver(name="r", text=TextPolicy.FULL, links=True)
    over = a_photo_alert(status=Status.RESOLVED, resolution="deleted")
    assert decoded(disclose(a_notification(over), open_to_all)) == golden("webhook-full")


def test_old_news_is_marked() -> None:
    assert decoded(a_notification(kind=Kind.DIGEST))["data"]["late"] is True
    assert decoded(a_notification())["data"]["late"] is False


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    "path", [("type",), ("data", "alerts"), ("data", "alerts", 0, "messages", 0, "text")]
)
def test_the_schema_misses_what_is_not_there(path: tuple[str | int, ...]) -> None:
    payload = golden("webhook")
    parent: Any = payload
    for step in path[:-1]:
        parent = parent[step]
    del parent[path[-1]]
    assert not VALIDATOR.is_valid(payload)


@given(notifications)
def test_any_notification_fits_the_schema_and_is_the_same_on_every_attempt(
    notification: Notification,
) -> None:
    body = webhook.body(notification, app="275211")
    VALIDATOR.validate(json.loads(body.decode("utf-8")))
    assert body == webhook.body(notification, app="275211")


def test_a_full_batch_fits_the_strictest_of_common_receivers() -> None:
    entries = [an_entry(number) for number in range(500)]
    made = bundle(entries, people=False, summary_over=20, now=NOW)
    assert made is not None
    told = a_notification(*(an_alert(id=AlertId(f"{number:032x}")) for number in made.entries))
    assert 40_000 < len(webhook.body(told, app="275211")) < 100_000


def test_an_unpaired_surrogate_costs_one_character_not_the_alert() -> None:
    assert decoded(a_notification(an_alert(title="a\ud800b")))["data"]["alerts"][0]["title"] == "a?b"


# --- the signature ----------------------------------------------------------------------------------


def test_the_published_vector_is_met() -> None:
    assert signature_headers([SECRET], MESSAGE_ID, SIGNED_AT, BODY) == {
        "webhook-id": MESSAGE_ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNATURE,
    }


def test_while_keys_rotate_either_of_them_verifies() -> None:
    now = datetime.now(UTC)
    headers = signature_headers([OTHER, SECRET], "n1", now, BODY)
    assert headers["webhook-signature"].count(" ") == 1
    for secret in (OTHER, SECRET):
        assert Webhook(secret).verify(BODY, headers) == {"test": 2432232314}
    stranger = "whsec_" + base64.b64encode(b"x" * 32).decode()
    with pytest.raises(WebhookVerificationError):
        Webhook(stranger).verify(BODY, headers)


def test_no_key_means_unsigned_and_still_identified() -> None:
    assert set(signature_headers([], "n1", SIGNED_AT, BODY)) == {"webhook-id", "webhook-timestamp"}


@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_"), f"  {SECRET}\n"])
def test_a_key_is_read_with_or_without_its_prefix(secret: str) -> None:
    assert signing_key(secret) == base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


@pytest.mark.parametrize("secret", ["", "whsec_", "correct horse battery", "whsec_a*b", "é"])
def test_what_is_no_key_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ConfigError, match="not base64") as caught:
        signing_key(secret)
    assert "horse" not in str(caught.value)


# --- custom headers ---------------------------------------------------------------------------------


def test_custom_headers_pass() -> None:
    check_headers({"Authorization": "Bearer abc", "X-Team": "payments"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Webhook-Signature", "v1,x"),
        ("WEBHOOK-ID", "x"),
        ("Host", "evil.example"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "close"),
        ("Content-Type", "text/plain"),
        ("X Team", "x"),
        ("", "x"),
        ("X-Team", "a\r\nHost: evil.example"),
        ("X-Team", "naïve"),
    ],
)
def test_headers_that_would_break_the_request_are_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigError):
        check_headers({name: value})
