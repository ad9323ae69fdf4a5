"""The webhook's CloudEvents, as their SDK reads them and the library of Standard Webhooks verifies them."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from standardwebhooks import Webhook

from monitor.clock import Clock
from monitor.delivery.outbox import attempt
from monitor.delivery.render import cloudevents, webhook
from monitor.delivery.sinks.webhook import FORMS, check_headers
from monitor.delivery.values import Receiver
from monitor.errors import ConfigError
from monitor.store.values import Notification
from tests.delivery.cases import Hook, contract, notifications, status
from tests.delivery.contracts.webhook import SECRET
from tests.delivery.samples import a_notification, an_alert
from tests.delivery.samples import notifications as any_notification

EVENTS = pytest.mark.parametrize("form", ["cloudevents-structured", "cloudevents-binary"])


def read(headers: dict[str, str], body: bytes) -> BaseCloudEvent:
    """The event as the SDK understands it. Raises if it is none."""
    return from_http_event(HTTPMessage(headers, body), JSONFormat())


def told(event: BaseCloudEvent) -> Any:
    data = event.get_data()
    return json.loads(data) if isinstance(data, bytes | str) else data


async def request_of(form: str, notification: Notification) -> httpx.Request:
    hook = Hook(status(204))
    sink = hook.sink(contract("webhook"), form=form, clock=Clock())  # an old signature is not accepted
    await attempt(sink, Receiver(name="r"), notification)
    (request,) = hook.requests
    return request


@pytest.mark.parametrize("what", list(notifications()))
@EVENTS
async def test_the_sdk_reads_what_was_sent(form: str, what: str) -> None:
    notification = notifications()[what]
    request = await request_of(form, notification)
    event = read(dict(request.headers), request.content)
    assert event.get_specversion() == "1.0"
    assert event.get_id() == notification.id == request.headers["webhook-id"]
    assert event.get_source() == "urn:cometwatch:275211"
    assert event.get_type() == f"cometwatch.alerts.{notification.status}"
    assert event.get_time() == notification.created_at
    assert event.get_datacontenttype() == "application/json"
    assert [alert["id"] for alert in told(event)["alerts"]] == [alert.id for alert in notification.alerts]


@EVENTS
async def test_both_forms_tell_what_the_plain_body_tells(form: str) -> None:
    request = await request_of(form, a_notification(an_alert()))
    plain = await request_of("standard", a_notification(an_alert()))
    assert told(read(dict(request.headers), request.content)) == json.loads(plain.content)["data"]


@pytest.mark.parametrize("form", list(FORMS))
async def test_every_form_is_signed_and_the_body_as_it_is(form: str) -> None:
    request = await request_of(form, a_notification())
    assert Webhook(SECRET).verify(request.content, dict(request.headers)) == json.loads(request.content)


def test_an_event_about_one_thing_names_it() -> None:
    known = notifications()
    subjects = {
        what: cloudevents.attributes(known[what], app="1").get("subject")
        for what in ("one", "several", "group", "group of many")
    }
    assert subjects == {
        "one": "a" * 32,
        "several": None,
        "group": "g" * 32,
        "group of many": "g" * 32,
    }


@pytest.mark.parametrize("app", ["275211", "büro 1", '"%'])
def test_any_name_of_an_app_makes_a_source(app: str) -> None:
    notification = a_notification()
    content = {"content-type": cloudevents.BINARY}
    binary = {**content, **cloudevents.headers(notification, app=app)}
    body = cloudevents.binary(notification, app=app)
    one = read(binary, body)
    other = read({"content-type": cloudevents.STRUCTURED}, cloudevents.structured(notification, app=app))
    assert all(value.isascii() for value in binary.values())
    assert one.get_source() == other.get_source()
    assert " " not in one.get_source()


@given(any_notification)
def test_any_notification_is_an_event_and_the_same_on_every_attempt(notification: Notification) -> None:
    body = cloudevents.structured(notification, app="1")
    event = read({"content-type": cloudevents.STRUCTURED}, body)
    assert told(event) == json.loads(webhook.encoded(webhook.data(notification, app="1")))
    assert body == cloudevents.structured(notification, app="1")


@pytest.mark.parametrize("name", ["ce-id", "CE-Source", "ce-anything"])
def test_no_custom_header_takes_the_place_of_the_envelope(name: str) -> None:
    with pytest.raises(ConfigError):
        check_headers({name: "x"})
