"""The receiver that outlives every monitor: webhooks, a Slack channel, a Slack workspace with a bot in it and
an Alertmanager, that write down what they got.

It is a thread of the campaign, on the standard library alone. While it is not told to be `calm` it refuses,
hesitates, breaks off and answers too late, each with a chance of its own, so that senders are left in doubt.
"""

from __future__ import annotations

import json
import re
import sys
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from random import Random
from threading import Event, Lock, Thread
from typing import Final

import httpx
import trio
from standardwebhooks import Webhook, WebhookVerificationError

from monitor.clock import Clock
from tests.delivery.slack_api import SlackApi

SECRET: Final = "whsec_" + b64encode(b"a key of the kill campaign only").decode()
SENDER_TIMEOUT_S: Final = 2.0
MOST_TROUBLES: Final = 2  # of one notification: the campaign must come to an end
_NOTIFICATION: Final = re.compile(rb"notification ([0-9a-f]{32})")


class Fate(StrEnum):
    """What became of one POST, as the receiver knows it."""

    ACCEPTED = "accepted"
    REFUSED = "refused"  #: the sender was told to come again
    DOUBTFUL = "doubtful"  #: taken, but the sender could not learn it


class Mood(StrEnum):
    FINE = "fine"
    ERROR = "error"
    BUSY = "busy"
    SLOW = "slow"
    TOO_SLOW = "too slow"
    BREAKS_OFF = "breaks off"


MOODS: Final = {
    Mood.FINE: 84.0,
    Mood.ERROR: 5.0,
    Mood.BUSY: 2.0,
    Mood.SLOW: 5.0,
    Mood.TOO_SLOW: 1.0,
    Mood.BREAKS_OFF: 3.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One POST as it arrived."""

    at: float
    receiver: str  #: hook, lead or slack
    id: str  #: the notification's
    body: bytes
    fate: Fate
    is_signed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Asserted:
    """One alert as the Alertmanager was told of it."""

    at: float
    alert: str
    ends_at: float
    fate: Fate

    @property
    def fires(self) -> bool:
        return self.ends_at > self.at


@dataclass
class Inbox:
    """What arrived, in order."""

    seed: int
    posts: list[Post] = field(default_factory=list)
    asserted: list[Asserted] = field(default_factory=list)
    slack: SlackApi = field(default_factory=lambda: SlackApi(Clock(), is_limited=False))
    calm: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        self._random = Random(f"{self.seed}:moods")
        self._looks = count()
        self._troubles: Counter[str] = Counter()
        self._lock = Lock()

    def mood(self, notification: str) -> Mood:
        with self._lock:
            if self.calm.is_set() or self._troubles[notification] >= MOST_TROUBLES:
                return Mood.FINE
            mood = self._random.choices(list(MOODS), weights=list(MOODS.values()))[0]
            self._troubles[notification] += mood is not Mood.FINE
            return mood

    def look_mood(self) -> Mood:
        """As `mood`, of a question: it does nothing, and is asked anew each time."""
        return self.mood(f"look {next(self._looks)}")

    def note(self, post: Post) -> None:
        with self._lock:
            self.posts.append(post)

    def note_asserted(self, alerts: Iterable[Asserted]) -> None:
        with self._lock:
            self.asserted.extend(alerts)

    def ask_slack(self, request: httpx.Request) -> bytes:
        """What the workspace answers, after it did what was asked."""
        with self._lock:
            answer = trio.run(self.slack, request)
            return trio.run(answer.aread)


def fate_of(mood: Mood) -> Fate:
    return {
        Mood.ERROR: Fate.REFUSED,
        Mood.BUSY: Fate.REFUSED,
        Mood.TOO_SLOW: Fate.DOUBTFUL,
        Mood.BREAKS_OFF: Fate.DOUBTFUL,
    }.get(mood, Fate.ACCEPTED)


def _about(body: bytes) -> str:
    """What a message that is written to Slack is, for its share of troubles: itself, or the one it edits."""
    said = json.loads(body)
    payload = said["metadata"]["event_payload"] if "metadata" in said else {}
    return f"slack {payload.get('notification')} {said.get('ts')} {said.get('thread_ts')}"


@contextmanager
def receiving(inbox: Inbox) -> Iterator[str]:
    """Fill `inbox` until the block is left; gives the address. Paths: /hook, /lead, /slack, /bot, /am."""

    class Receive(_Receive):
        box = inbox

    with _Server(("127.0.0.1", 0), Receive) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A sender that was killed resets its connection: no news here. Anything else is a bug of ours."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Receive(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    box: Inbox

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True  # the sender was killed in the middle of it: no receiver took that
            return
        match self.path.strip("/").split("/"):
            case ["bot", *_, method]:
                self._take_call(method, body)
            case ["am", *_]:
                self._take_alerts(body)
            case [receiver]:
                self._take_post(receiver, body)

    def _take_post(self, receiver: str, body: bytes) -> None:
        is_signed, id_ = self._who(receiver, body)
        mood = self.box.mood(id_) if is_signed else Mood.ERROR
        post = Post(
            at=time.time(), receiver=receiver, id=id_, body=body, fate=fate_of(mood), is_signed=is_signed
        )
        self.box.note(post)
        self._answer(mood)

    def _take_alerts(self, body: bytes) -> None:
        told = json.loads(body)
        mood = self.box.mood(f"am {sorted((one['labels']['alert_id'], one['endsAt'][:1]) for one in told)}")
        self.box.note_asserted(
            Asserted(
                at=time.time(),
                alert=one["labels"]["alert_id"],
                ends_at=datetime.fromisoformat(one["endsAt"]).timestamp(),
                fate=fate_of(mood),
            )
            for one in told
        )
        self._answer(mood)

    def _take_call(self, method: str, body: bytes) -> None:
        """A call of Slack's Web API: done or not, as the mood is."""
        request = httpx.Request(
            "POST", f"https://slack.test/api/{method}", content=body, headers=self._kept()
        )
        mood = self.box.look_mood() if method.startswith("conversations.") else self.box.mood(_about(body))
        is_done = fate_of(mood) is not Fate.REFUSED
        self._answer(mood, self.box.ask_slack(request) if is_done else b"no")

    def _kept(self) -> dict[str, str]:
        return {name: self.headers[name] for name in ("authorization", "content-type")}

    def _who(self, receiver: str, body: bytes) -> tuple[bool, str]:
        """Whether the POST is what it says it is, and the notification's id."""
        if receiver == "slack":
            found = _NOTIFICATION.search(body)
            return found is not None, found[1].decode() if found else ""
        try:
            Webhook(SECRET).verify(body, dict(self.headers))
        except WebhookVerificationError:
            return False, self.headers.get("webhook-id", "")
        return True, self.headers["webhook-id"]

    def _answer(self, mood: Mood, body: bytes = b"ok") -> None:
        match mood:
            case Mood.FINE:
                self._say(200, body)
            case Mood.ERROR:
                self._say(500)
            case Mood.BUSY:
                self._say(429, retry_after=1)
            case Mood.SLOW:
                time.sleep(SENDER_TIMEOUT_S / 4)
                self._say(200, body)
            case Mood.TOO_SLOW:
                time.sleep(SENDER_TIMEOUT_S + 0.5)
                self._say(200, body)
            case Mood.BREAKS_OFF:
                self.close_connection = True

    def _say(self, status: int, body: bytes = b"no", *, retry_after: int | None = None) -> None:
        try:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            if retry_after is not None:
                self.send_header("retry-after", str(retry_after))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # the sender was killed or has given up

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Silent: the inbox is the record."""
