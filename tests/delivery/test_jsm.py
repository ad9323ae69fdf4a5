"""JSM's requests: create, acknowledge and close under one alias, within its limits."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given

from monitor.delivery.render import jsm
from monitor.store.values import Ack, Kind, Notification
from rules.model import AlertId, Severity, Status
from tests.delivery.cases import Hook, contract, notifications
from tests.delivery.samples import NOW, a_notification, an_alert
from tests.delivery.told import told

ONE, GROUP = "a" * 32, "g" * 32


def request(notification: Notification) -> jsm.Request:
    (only,) = jsm.requests(notification, app="275211")
    return only


@pytest.mark.parametrize(
    ("name", "path", "alias"),
    [
        ("one", "", ONE),
        ("repeated", "", ONE),
        ("updated", "", ONE),
        ("acknowledged", f"/{ONE}/acknowledge?identifierType=alias", None),
        ("resolved", f"/{ONE}/close?identifierType=alias", None),
        ("group", "", GROUP),
        ("group of many", "", GROUP),
        ("group updated", "", GROUP),
        ("group resolved", f"/{GROUP}/close?identifierType=alias", None),
    ],
)
def test_all_that_is_told_of_one_subject_has_one_alias(name: str, path: str, alias: str | None) -> None:
    made = request(notifications()[name])
    assert (made.path, made.body.get("alias")) == (path, alias)


def test_an_alert_as_it_is_created() -> None:
    alert = an_alert()
    body = request(a_notification(alert, notes={alert.id: "Instead of oncall: no answer"})).body
    assert body == {
        "message": "Missed call from Captain America",
        "alias": ONE,
        "description": "note: Instead of oncall: no answer\n"
        "description: Captain America (superhero2) called Spiderman (superhero3), who did not answer.\n"
        "happened at: 2026-11-22 08:00:00 UTC\n"
        "watched: Spiderman (superhero3)\n"
        "call: audio call, unanswered: Captain America (superhero2) → Spiderman (superhero3)\n"
        "conversation id: superhero2_user_superhero3\n"
        "conversation: https://support.example/superhero2_user_superhero3",
        "details": {
            "alert": ONE,
            "rule": "missed-call",
            "severity": "warning",
            "app": "275211",
            "acknowledge": f"cometwatch ack {ONE}",
            "team": "payments",
            "conversation": "https://support.example/superhero2_user_superhero3",
        },
        "entity": "superhero2_user_superhero3",
        "source": "Cometwatch",
        "tags": ["missed-call"],
        "priority": "P3",
    }


def test_it_says_who_took_it_and_why_it_is_over() -> None:
    alert, over = an_alert(), an_alert(status=Status.RESOLVED, resolution="called back")
    ack = Ack(alert=alert.id, by="ada", at=NOW, comment="on it")
    taken = notifications()["acknowledged"]
    assert request(taken).body["note"] == f"Acknowledged by {ack.by}: {ack.comment}"
    assert request(a_notification(over)).body["note"] == "Resolved: called back"


@pytest.mark.parametrize(
    ("severity", "priority"), [(Severity.CRITICAL, "P1"), (Severity.WARNING, "P3"), (Severity.INFO, "P5")]
)
def test_severities_are_priorities_but_old_news_is_none(severity: Severity, priority: str) -> None:
    alert = an_alert(severity=severity)
    assert request(a_notification(alert)).body["priority"] == priority
    assert request(a_notification(alert, kind=Kind.DIGEST)).body["priority"] == "P5"


def test_a_group_is_as_urgent_as_the_worst_of_it_that_fires() -> None:
    group = notifications()["group"]
    made = {field: getattr(group, field) for field in group.__struct_fields__}
    over = an_alert(severity=Severity.CRITICAL, status=Status.RESOLVED, resolution="called back")
    fires = an_alert(id=AlertId("b" * 32), severity=Severity.WARNING)
    body = request(Notification(**{**made, "alerts": (over,), "others": (fires,)})).body
    assert body["priority"] == "P3"
    assert f"RESOLVED {over.title}" in body["description"]


def test_a_sum_is_one_alert_and_closes_what_is_over() -> None:
    over = an_alert(status=Status.RESOLVED, resolution="called back")
    counted, closed = jsm.requests(
        a_notification(an_alert(id=AlertId("b" * 32)), over, kind=Kind.SUMMARY), app="275211"
    )
    assert counted.body["message"] == "2 alerts waited to be sent"
    assert closed.path == f"/{over.id}/close?identifierType=alias"


def test_a_sample_says_so_first() -> None:
    assert request(a_notification(is_sample=True)).body["message"].startswith("SAMPLE, nothing happened")


@given(told)
def test_any_notification_is_within_its_limits_and_the_same_on_every_attempt(
    notification: Notification,
) -> None:
    made = jsm.requests(notification, app="275211")
    assert made == jsm.requests(notification, app="275211")
    for path, body in made:
        assert re.fullmatch(r"|/[!-.0-~]{1,200}/(close|acknowledge)\?identifierType=alias", path)
        _fits(body)


def _fits(body: dict[str, Any]) -> None:
    assert len(body.get("note", "")) <= 15_000
    assert len(body.get("alias", "")) <= 512
    assert 1 <= len(body.get("message", "x")) <= 130
    assert len(body.get("description", "")) <= 15_000
    assert len(body.get("entity", "")) <= 512
    assert len(body.get("tags", [])) <= 20
    assert all(len(tag) <= 50 for tag in body.get("tags", []))
    assert sum(len(name) + len(text) for name, text in body.get("details", {}).items()) <= 8_000
    assert "<" not in json.dumps(body)


@pytest.mark.parametrize(
    "url", ["https://jsm.example/jsm/ops/integration", "https://jsm.example/jsm/ops/integration/v2/alerts"]
)
async def test_where_and_with_which_key_it_is_asked(url: str) -> None:
    hook = Hook(contract("jsm").accepts)
    await hook.sink(contract("jsm"), url=url).send(notifications()["resolved"])
    (request,) = hook.requests
    assert str(request.url) == (
        f"https://jsm.example/jsm/ops/integration/v2/alerts/{ONE}/close?identifierType=alias"
    )
    assert request.headers["authorization"] == "GenieKey b9f24f49-4aab-44b5-9884-92f7c8d47066"
