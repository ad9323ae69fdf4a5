"""PagerDuty's events: which action, under which key, within its limits."""

from __future__ import annotations

import json
from typing import Any, Final

import jsonschema
import pytest
from hypothesis import given

from monitor.delivery.render import pagerduty
from monitor.delivery.sinks.pagerduty import PagerDutySink
from monitor.store.values import Ack, Change, Kind, Notification
from rules.model import AlertId, Severity, Status
from tests.delivery.cases import URL, Hook, contract, notifications
from tests.delivery.samples import NOW, a_notification, an_alert
from tests.delivery.told import told

A_URL: Final = {"type": "string", "pattern": "^https?://"}
SCHEMA: Final = {
    # As https://developer.pagerduty.com/docs/send-alert-event describes an event, stricter than its
    # published schema: nothing that PagerDuty does not know, and its lengths.
    "type": "object",
    "required": ["event_action", "dedup_key", "payload"],
    "additionalProperties": False,
    "properties": {
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "minLength": 1, "maxLength": 255},
        "client": {"type": "string"},
        "client_url": A_URL,
        "links": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["href"],
                "additionalProperties": False,
                "properties": {"href": A_URL, "text": {"type": "string"}},
            },
        },
        "payload": {
            "type": "object",
            "required": ["summary", "source", "severity"],
            "additionalProperties": False,
            "properties": {
                "summary": {"type": "string", "minLength": 1, "maxLength": 1024},
                "source": {"type": "string", "minLength": 1},
                "severity": {"enum": ["critical", "error", "warning", "info"]},
                "timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"},
                "component": {"type": "string"},
                "group": {"type": "string"},
                "class": {"type": "string"},
                "custom_details": {"type": "object"},
            },
        },
    },
}
VALIDATOR: Final = jsonschema.Draft202012Validator(SCHEMA)
MAX_BYTES: Final = 512_000  # of one event, by the same page


def event(notification: Notification) -> dict[str, Any]:
    (only,) = pagerduty.events(notification, app="275211")
    return only


def did(name: str) -> tuple[str, str]:
    """Action and key of one of the contract suite's notifications."""
    made = event(notifications()[name])
    return made["event_action"], made["dedup_key"]


ONE, GROUP = "a" * 32, "g" * 32


@pytest.mark.parametrize(
    ("name", "action", "key"),
    [
        ("one", "trigger", ONE),
        ("retried", "trigger", ONE),
        ("repeated", "trigger", ONE),
        ("updated", "trigger", ONE),
        ("acknowledged", "acknowledge", ONE),
        ("resolved", "resolve", ONE),
        ("resolved where shown", "resolve", ONE),
        ("group", "trigger", GROUP),
        ("group of many", "trigger", GROUP),
        ("group repeated", "trigger", GROUP),
        ("group updated", "trigger", GROUP),  # one of its two is nobody's yet
        ("group resolved", "resolve", GROUP),
    ],
)
def test_all_that_is_told_of_one_subject_has_one_key(name: str, action: str, key: str) -> None:
    assert did(name) == (action, key)


def test_a_group_is_taken_when_all_of_it_that_fires_is() -> None:
    group = notifications()["group updated"]
    acks = {a.id: Ack(alert=a.id, by="ada", at=NOW) for a in (*group.alerts, *group.others)}
    taken = Notification(**{f: getattr(group, f) for f in group.__struct_fields__} | {"acks": acks})
    assert event(taken)["event_action"] == "acknowledge"


def test_news_of_an_acknowledged_alert_are_told_all_the_same() -> None:
    alert = an_alert()
    ack = Ack(alert=alert.id, by="ada", at=NOW)
    assert event(a_notification(alert, acks={alert.id: ack}))["event_action"] == "trigger"


def test_an_alert_as_an_event() -> None:
    alert = an_alert(
        annotations={"link": "https://support.example/1", "runbook_url": "https://run.example/2"}
    )
    made = event(a_notification(alert, notes={alert.id: "Escalated: nobody took it for 15 min"}))
    details = made["payload"].pop("custom_details")
    assert made == {
        "event_action": "trigger",
        "dedup_key": "a" * 32,
        "client": "Cometwatch",
        "client_url": "https://support.example/1",
        "links": [
            {"href": "https://support.example/1", "text": "Conversation"},
            {"href": "https://run.example/2", "text": "Runbook"},
        ],
        "payload": {
            "summary": "Missed call from Captain America",
            "source": "CometChat app 275211",
            "severity": "warning",
            "timestamp": "2026-11-22T08:00:00Z",
            "component": "superhero2_user_superhero3",
            "group": "missed-call",
            "class": "missed-call",
        },
    }
    assert next(iter(details.items())) == ("note", "Escalated: nobody took it for 15 min")
    assert details["labels"] == {"team": "payments"}
    assert details["acknowledge"] == f"cometwatch ack {alert.id}"


def test_a_group_says_how_much_of_it_still_fires() -> None:
    one, two = an_alert(), an_alert(id=AlertId("b" * 32), severity=Severity.CRITICAL, title="Another")
    over = an_alert(status=Status.RESOLVED, resolution="called back")
    group = notifications()["group"]
    made = {f: getattr(group, f) for f in group.__struct_fields__}
    payload = event(Notification(**{**made, "alerts": (over,), "others": (two,)}))["payload"]
    assert payload["summary"] == "Another (1 firing, 1 resolved)"
    assert payload["severity"] == "critical"
    assert payload["group"] == "team=payments"
    assert payload["custom_details"]["alerts"] == [
        f"CRITICAL Another ({two.id})",
        f"RESOLVED {one.title} ({one.id})",
    ]


def test_old_news_wakes_nobody() -> None:
    late = event(a_notification(an_alert(severity=Severity.CRITICAL), kind=Kind.DIGEST))
    assert late["payload"]["severity"] == "info"
    assert late["payload"]["summary"].startswith("Found late: ")


def test_a_sum_is_one_event_and_closes_what_is_over() -> None:
    over = an_alert(status=Status.RESOLVED, resolution="called back")
    firing = an_alert(id=AlertId("b" * 32))
    counted, closed = pagerduty.events(a_notification(firing, over, kind=Kind.SUMMARY), app="275211")
    assert (counted["event_action"], counted["dedup_key"]) == ("trigger", "n" * 32)
    assert counted["payload"]["custom_details"]["rules"] == ["missed-call: 2 (1 firing, 1 resolved)"]
    assert (closed["event_action"], closed["dedup_key"]) == ("resolve", over.id)


def test_a_sample_says_so_first() -> None:
    assert event(a_notification(is_sample=True))["payload"]["summary"].startswith("SAMPLE, nothing happened")


@given(told)
def test_any_notification_is_within_its_limits_and_the_same_on_every_attempt(
    notification: Notification,
) -> None:
    events = pagerduty.events(notification, app="275211")
    assert events == pagerduty.events(notification, app="275211")
    for made in events:
        text = json.dumps(made, ensure_ascii=False)
        VALIDATOR.validate(json.loads(text))
        assert len(text.encode("utf-8", "replace")) < MAX_BYTES
        assert "<" not in text


@pytest.mark.parametrize("field", ["event_action", "dedup_key", "payload"])
def test_the_schema_misses_what_is_not_there(field: str) -> None:
    made = event(a_notification())
    VALIDATOR.validate(made)
    del made[field]
    assert not VALIDATOR.is_valid(made)


@pytest.mark.parametrize(
    "url", ["https://pd.example", "https://pd.example/", "https://pd.example/v2/enqueue"]
)
async def test_the_path_is_known_whether_or_not_it_is_given(url: str) -> None:
    hook = Hook(contract("pagerduty").accepts)
    sink = hook.sink(contract("pagerduty"), url=url)
    assert isinstance(sink, PagerDutySink)
    await sink.send(a_notification())
    assert [str(request.url) for request in hook.requests] == ["https://pd.example/v2/enqueue"]


async def test_the_key_is_in_the_body_and_nowhere_else() -> None:
    hook = Hook(contract("pagerduty").accepts)
    await hook.sink(contract("pagerduty"), url=URL).send(a_notification(change=Change.REPEAT))
    (request,) = hook.requests
    assert json.loads(request.content)["routing_key"] == "e93facc04764012d7bfb002500d5d1a6"
    assert "e93facc0" not in f"{request.url}{dict(request.headers)}"
