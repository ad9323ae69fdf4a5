"""Alerts in Alertmanager's terms: identity by labels, times, several instances.

The real one is asked in `tests/alertmanager_sink`.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
import trio
from hypothesis import given

from monitor.clock import virtual
from monitor.delivery.render import alertmanager as render
from monitor.delivery.sinks import Delivered, Refused, RetryAfter, Settlement
from monitor.delivery.sinks.alertmanager import GRACE_S, AlertmanagerSink, together
from monitor.delivery.sinks.post import open_http
from monitor.store.values import Ack, Change, Kind, Notification
from rules.model import AlertId, Severity, Status
from tests.delivery.cases import hang, notifications, status
from tests.delivery.samples import NOW, RANG_AT, a_notification, a_photo_alert, an_alert
from tests.delivery.told import told


def shown(notification: Notification, **labels: str) -> list[dict[str, Any]]:
    return render.alerts(notification, app="275211", labels=labels, now=NOW)


def of(notification: Notification) -> dict[str, Any]:
    (only,) = shown(notification)
    return only


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


# --- what is said of an alert -----------------------------------------------------------------------


def test_an_alert_in_its_terms() -> None:
    assert of(a_notification()) == {
        "labels": {
            "app": "275211",
            "team": "payments",
            "alertname": "missed-call",
            "severity": "warning",
            "alert_id": "a" * 32,
        },
        "annotations": {
            "description": "Captain America (superhero2) called Spiderman (superhero3), who did not answer.",
            "happened_at": "2026-11-22 08:00:00 UTC",
            "watched": "Spiderman (superhero3)",
            "call": "audio call, unanswered: Captain America (superhero2) → Spiderman (superhero3)",
            "conversation_id": "superhero2_user_superhero3",
            "summary": "Missed call from Captain America",
        },
        "startsAt": "2026-11-22T08:00:00Z",
        "endsAt": "2026-11-22T08:07:00Z",
        "generatorURL": "https://support.example/superhero2_user_superhero3",
    }


@given(told)
def test_labels_and_times_are_as_every_version_takes_them(notification: Notification) -> None:
    for alert in shown(notification, **{"my label": "x"}):
        assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) for name in alert["labels"])
        assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) for name in alert["annotations"])
        assert all(value for value in alert["labels"].values())
        assert at(alert["startsAt"]) <= at(alert["endsAt"])
        assert not re.search(r"[<>\n]", json.dumps(alert["annotations"]))
        assert len(json.dumps(alert)) < 200_000


@given(told)
def test_each_alert_is_told_once_whatever_the_kind(notification: Notification) -> None:
    ids = [alert["labels"]["alert_id"] for alert in shown(notification)]
    assert sorted(ids) == sorted({alert.id for alert in notification.alerts})


def test_a_runbook_stands_where_its_users_look_for_it() -> None:
    alert = an_alert(annotations={"runbook": "https://runbooks.example/missed", "Shift plan": "team A"})
    annotations = of(a_notification(alert))["annotations"]
    assert annotations["runbook_url"] == "https://runbooks.example/missed"
    assert annotations["Shift_plan"] == "team A"


def test_what_a_chat_could_forge_is_harmless_in_the_chat_behind_it() -> None:
    annotations = of(a_notification(an_alert(title="<!channel> <https://evil.example|bank>")))["annotations"]
    assert annotations["summary"] == "‹!channel› ‹https://evil.example|bank›"


# --- identity ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [Change.UPDATE, Change.REPEAT, Change.REASSERT])
def test_its_end_and_all_in_between_have_the_labels_of_its_beginning(change: Change) -> None:
    alert = an_alert(lasts=True)
    begun = of(a_notification(alert))["labels"]
    grown = an_alert(lasts=True, revision=3, title="Two missed calls", summary="again")
    ack = Ack(alert=alert.id, by="ada", at=NOW)
    over = an_alert(lasts=True, status=Status.RESOLVED, resolution="called back")
    assert of(a_notification(grown, change=change, acks={alert.id: ack}))["labels"] == begun
    assert of(a_notification(over))["labels"] == begun


def test_two_findings_with_the_same_labels_are_two() -> None:
    one, two = shown(a_notification(an_alert(), an_alert(id=AlertId("b" * 32))))
    assert one["labels"] != two["labels"]


def test_nobody_can_take_the_place_of_the_labels_that_identify() -> None:
    forged = an_alert(labels={"alert_id": "x", "severity": "none", "alertname": "Watchdog", "source": "own"})
    (only,) = shown(a_notification(forged), source="chat", app="elsewhere")
    assert only["labels"] == {
        "alertname": "missed-call",
        "severity": "warning",
        "alert_id": "a" * 32,
        "source": "own",
        "app": "elsewhere",
    }


def test_old_news_is_marked_and_ends_with_its_mark() -> None:
    late = a_notification(kind=Kind.DIGEST)
    assert of(late)["labels"]["late"] == "true"
    receipts = render.receipts(late)
    over = an_alert(status=Status.RESOLVED, resolution="called back")
    assert of(a_notification(over, receipts=receipts))["labels"] == of(late)["labels"]


def test_what_began_as_a_page_ends_as_one_even_in_a_digest() -> None:
    receipts = render.receipts(a_notification())
    over = an_alert(status=Status.RESOLVED, resolution="called back")
    told_late = a_notification(over, kind=Kind.DIGEST, receipts=receipts)
    assert "late" not in of(told_late)["labels"]
    assert render.receipts(told_late) == receipts


def test_a_sample_is_marked_twice() -> None:
    sample = of(a_notification(is_sample=True))
    assert sample["labels"]["sample"] == "true"
    assert sample["annotations"]["summary"].startswith("SAMPLE, nothing happened: ")


# --- times ------------------------------------------------------------------------------------------


def test_what_fires_stands_for_five_minutes_from_now() -> None:
    assert at(of(a_notification(change=Change.REASSERT))["endsAt"]) == NOW + timedelta(minutes=5)


def test_what_is_over_ended_when_that_was_found() -> None:
    over = an_alert(status=Status.RESOLVED, resolution="called back")
    created_at = NOW - timedelta(seconds=40)
    assert at(of(a_notification(over, created_at=created_at))["endsAt"]) == created_at


def test_a_clock_that_was_set_back_makes_no_alert_end_before_it_began() -> None:
    early = RANG_AT - timedelta(hours=1)
    over = an_alert(status=Status.RESOLVED, resolution="called back")
    assert of(a_notification(over, created_at=early))["endsAt"] == "2026-11-22T08:00:00Z"


def test_an_update_does_not_move_its_beginning_behind_its_first_sight() -> None:
    grown = an_alert(event_at=NOW)
    assert at(of(a_notification(grown))["startsAt"]) == grown.first_seen_at


def test_a_watchdog_says_that_we_are_at_work() -> None:
    (only,) = render.watchdog(app="275211", labels={"source": "chat"}, now=NOW)
    assert only["labels"] == {
        "app": "275211",
        "source": "chat",
        "alertname": "CometwatchWatchdog",
        "severity": "none",
    }
    assert at(only["endsAt"]) - at(only["startsAt"]) == render.STANDS


# --- several instances ------------------------------------------------------------------------------

FINE, LATER, NEVER = Delivered(), RetryAfter(reason="503", after=timedelta(seconds=7)), Refused(reason="400")


@pytest.mark.parametrize(
    ("outcomes", "settlement"),
    [
        ([FINE], FINE),
        ([FINE, FINE], FINE),
        ([LATER], LATER),
        ([NEVER], NEVER),
        ([FINE, LATER], Delivered(warning="instance 2 of 2: 503")),
        ([NEVER, FINE, LATER], Delivered(warning="instance 1 of 3: 400; instance 3 of 3: 503")),
        ([NEVER, NEVER], Refused(reason="instance 1 of 2: 400; instance 2 of 2: 400")),
        ([NEVER, LATER], RetryAfter(reason="instance 1 of 2: 400; instance 2 of 2: 503", after=LATER.after)),
    ],
)
def test_one_that_has_it_is_enough(outcomes: list[Settlement], settlement: Settlement) -> None:
    assert together(outcomes) == settlement


async def test_one_that_hangs_does_not_make_it_a_timeout(autojump_clock: trio.testing.MockClock) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "stuck.example":
            return await hang(request)
        return await status(200)(request)

    sink = AlertmanagerSink(
        app="275211",
        urls=["https://stuck.example/", "https://fine.example/prefix/"],
        headers=dict,
        labels={},
        http=open_http(transport=httpx.MockTransport(answer)),
        clock=virtual(NOW),
    )
    began = trio.current_time()
    settlement = await sink.send(a_notification(a_photo_alert(severity=Severity.CRITICAL)))
    assert trio.current_time() - began == pytest.approx(GRACE_S)
    assert settlement == Delivered(
        receipts={"a" * 32: render.PROMPT}, warning="instance 1 of 2: no answer in time"
    )


async def test_every_instance_is_told_at_its_own_path() -> None:
    asked: list[str] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return await status(200)(request)

    sink = AlertmanagerSink(
        app="275211",
        urls=["http://one.example:9093", "http://two.example/alertmanager/"],
        headers=dict,
        labels={},
        http=open_http(transport=httpx.MockTransport(answer)),
        clock=virtual(NOW),
    )
    for notification in notifications().values():
        asked.clear()
        await sink.send(notification)
        assert sorted(asked) == [
            "http://one.example:9093/api/v2/alerts",
            "http://two.example/alertmanager/api/v2/alerts",
        ]
