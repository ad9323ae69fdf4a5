"""What the campaign's receiver writes down, over real connections."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from standardwebhooks import Webhook

from tests.crash.receivers import MOST_TROUBLES, SECRET, Fate, Inbox, Mood, receiving
from tests.delivery.slack_api import CHANNEL, TOKEN

BODY = json.dumps({"data": {"alerts": []}})


@pytest.fixture
def inbox() -> Inbox:
    inbox = Inbox(seed=1)
    inbox.calm.set()
    return inbox


@pytest.fixture
def address(inbox: Inbox) -> Iterator[tuple[str, int]]:
    with receiving(inbox) as url:
        at = urlsplit(url)
        assert at.hostname
        assert at.port
        yield at.hostname, at.port


def signed(body: str = BODY, secret: str = SECRET) -> dict[str, str]:
    now = datetime.now(UTC)
    signature = Webhook(secret).sign("n1", now, body)
    stamp = str(int(now.timestamp()))
    return {"webhook-id": "n1", "webhook-timestamp": stamp, "webhook-signature": signature}


def send(address: tuple[str, int], path: str, body: str, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection(*address, timeout=10)
    connection.request("POST", path, body.encode(), headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_signed_webhook_is_accepted_and_kept_whole(inbox: Inbox, address: tuple[str, int]) -> None:
    assert send(address, "/hook", BODY, signed()) == 200
    [post] = inbox.posts
    assert (post.receiver, post.id, post.body, post.fate) == ("hook", "n1", BODY.encode(), Fate.ACCEPTED)
    assert post.is_signed


def test_a_forged_webhook_is_refused_and_kept_as_such(inbox: Inbox, address: tuple[str, int]) -> None:
    assert send(address, "/hook", BODY + " ", signed()) == 500
    [post] = inbox.posts
    assert (post.is_signed, post.fate) == (False, Fate.REFUSED)


def test_a_slack_message_is_known_by_its_notification(inbox: Inbox, address: tuple[str, int]) -> None:
    assert send(address, "/slack", f"rule x · alert y · notification {'a' * 32}", {}) == 200
    assert [post.id for post in inbox.posts] == ["a" * 32]


@pytest.mark.parametrize("part", ["", BODY[:10]])
def test_a_body_that_breaks_off_was_never_taken(inbox: Inbox, address: tuple[str, int], part: str) -> None:
    with socket.create_connection(address, timeout=10) as connection:
        head = f"POST /hook HTTP/1.1\r\nhost: here\r\ncontent-length: {len(BODY)}\r\n\r\n"
        connection.sendall((head + part).encode())
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert inbox.posts == []


def test_trouble_is_bounded_for_each_notification_and_ends_when_calm() -> None:
    inbox = Inbox(seed=3)
    moods = [inbox.mood("n1") for _ in range(500)]
    assert sum(mood is not Mood.FINE for mood in moods) == MOST_TROUBLES
    assert {inbox.mood(str(number)) for number in range(500)} == set(Mood)
    inbox.calm.set()
    assert {inbox.mood(f"later {number}") for number in range(100)} == {Mood.FINE}


def call(address: tuple[str, int], method: str, **said: object) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*address, timeout=10)
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    connection.request("POST", f"/bot/{method}", json.dumps({"channel": CHANNEL, **said}), headers)
    answer = connection.getresponse()
    status, body = answer.status, answer.read()
    connection.close()
    return status, body


def test_what_a_bot_posts_stands_in_the_channel(inbox: Inbox, address: tuple[str, int]) -> None:
    status, body = call(address, "chat.postMessage", text="missed call")
    assert (status, json.loads(body)["ok"]) == (200, True)
    assert [one.text for one in inbox.slack.messages.values()] == ["missed call"]


def test_a_call_may_fail_before_or_after_it_was_done() -> None:
    inbox = Inbox(seed=2)
    with receiving(inbox) as url:
        at = urlsplit(url)
        assert at.hostname
        assert at.port
        answered = 0
        for number in range(60):
            with suppress(http.client.HTTPException, ConnectionError):
                mark = {"event_payload": {"notification": str(number)}, "event_type": "cometwatch_alert"}
                status, _ = call((at.hostname, at.port), "chat.postMessage", text="x", metadata=mark)
                answered += status == 200
    assert 0 < answered < len(inbox.slack.messages) < 60


def test_an_alertmanager_keeps_what_it_was_told(inbox: Inbox, address: tuple[str, int]) -> None:
    told = [{"labels": {"alert_id": "a1"}, "endsAt": "2126-11-22T08:00:00Z"}]
    assert send(address, "/am/api/v2/alerts", json.dumps(told), {}) == 200
    [one] = inbox.asserted
    assert (one.alert, one.fires, one.fate) == ("a1", True, Fate.ACCEPTED)
