"""Apprise in threads: who was told, what is shown of a failure, what a thread left behind may still do."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import trio
import trio.testing

from monitor.clock import Clock, virtual
from monitor.delivery.outbox import attempt
from monitor.delivery.sinks import Delivered, RetryAfter
from monitor.delivery.sinks.apprise import THREADS, AppriseSink, Service
from monitor.delivery.values import Receiver
from monitor.errors import ConfigError
from monitor.store.values import NotificationId
from monitor.store.writer import inline
from rules.model import Severity, Status
from tests.delivery.cases import START
from tests.delivery.samples import a_notification, an_alert

MAIL = "mailto://user:secretpw@mail.example"
CHAT = "discord://1234567890/secrettoken"


class Services:
    """Notes who was told what; answers as told."""

    def __init__(self, **answers: str | Exception | None) -> None:
        self.answers = answers  #: by scheme
        self.told: list[tuple[str, str, str, str]] = []

    def __call__(self, url: str) -> Service:
        scheme = url.partition(":")[0]

        def send(title: str, body: str, kind: str) -> str | None:
            self.told.append((scheme, title, body, kind))
            answer = self.answers.get(scheme)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return send


def a_sink(services: Callable[[str], Service], *urls: str, **changes: Any) -> AppriseSink:
    facts: dict[str, Any] = {
        "urls": lambda: urls or (MAIL, CHAT),
        "clock": virtual(START),
        "run_sync": inline,
    }
    return AppriseSink(**{**facts, "services": services, **changes})


async def test_every_url_is_told_once() -> None:
    services = Services()
    sink = a_sink(services, MAIL, CHAT, f" {MAIL}\n", "")
    assert await sink.send(a_notification()) == Delivered()
    assert [scheme for scheme, *_ in services.told] == ["mailto", "discord"]
    _, title, body, _ = services.told[0]
    assert title == "🟠 WARNING: Missed call from Captain America"
    assert "Captain America (superhero2) called Spiderman" in body


@pytest.mark.parametrize(
    ("alert", "kind"),
    [
        (an_alert(severity=Severity.CRITICAL), "failure"),
        (an_alert(severity=Severity.WARNING), "warning"),
        (an_alert(severity=Severity.INFO), "info"),
        (an_alert(status=Status.RESOLVED, resolution="over"), "success"),
    ],
)
async def test_apprise_is_told_how_bad_it_is(alert: Any, kind: str) -> None:
    services = Services()
    await a_sink(services, MAIL).send(a_notification(alert))
    assert services.told[0][3] == kind


async def test_a_retry_tells_only_those_that_have_not_said_yes() -> None:
    services = Services(discord="status 503")
    sink = a_sink(services)
    assert await sink.send(a_notification()) == RetryAfter(
        reason="Apprise told 1 of 2; URL 2: failed (status 503)"
    )
    services.answers.clear()
    assert await sink.send(a_notification()) == Delivered()
    assert [scheme for scheme, *_ in services.told] == ["mailto", "discord", "discord"]


async def test_another_notification_is_told_to_all() -> None:
    services = Services(discord="")
    sink = a_sink(services)
    await sink.send(a_notification())
    await sink.send(a_notification(id=NotificationId("m" * 32)))
    assert [scheme for scheme, *_ in services.told] == ["mailto", "discord"] * 2


async def test_what_was_told_is_forgotten_in_the_end() -> None:
    sink = a_sink(Services(discord=""))
    for number in range(1000):
        await sink.send(a_notification(id=NotificationId(f"{number:032x}")))
    assert len(sink._progress) <= 200  # that memory is bounded shows nowhere else


async def test_a_plug_in_that_breaks_is_a_failure_without_its_words() -> None:
    settlement = await a_sink(Services(mailto=KeyError(f"{MAIL}: secretpw"))).send(a_notification())
    assert settlement == RetryAfter(reason="Apprise told 1 of 2; URL 1: failed (KeyError)")


async def test_no_url_at_all_is_said() -> None:
    settlement = await a_sink(Services(), urls=lambda: ["  "]).send(a_notification())
    assert settlement == RetryAfter(reason="there is no Apprise URL to send to; one a line, like mailto://…")


def no_file() -> Any:
    raise FileNotFoundError("/run/secrets/apprise")


def no_setting() -> Any:
    raise ConfigError("receivers[0].apprise.urls_file: is empty")


@pytest.mark.parametrize("lost", [no_file, no_setting])
async def test_urls_that_cannot_be_read_now_are_a_retry(lost: Callable[[], Any]) -> None:
    settlement = await a_sink(Services(), urls=lost).send(a_notification())
    assert isinstance(settlement, RetryAfter)
    assert "/run/secrets" not in settlement.reason


async def test_urls_are_read_for_each_send() -> None:
    services, urls = Services(), [MAIL]
    sink = a_sink(services, urls=lambda: urls)
    await sink.send(a_notification())
    urls[:] = [CHAT]
    await sink.send(a_notification(id=NotificationId("m" * 32)))
    assert [scheme for scheme, *_ in services.told] == ["mailto", "discord"]


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ConfigError, match=r"pip install 'cometwatch\[apprise\]'"):
        AppriseSink(urls=lambda: [MAIL], clock=virtual(START))


# --- threads ----------------------------------------------------------------------------------------


class Stuck:
    """A service that answers when it is let go, and says when it was asked."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.asked = 0

    def __call__(self, url: str) -> Service:
        def send(title: str, body: str, kind: str) -> str | None:
            self.asked += 1
            self.let_go.wait(20)
            return None

        return send


HASTY = Receiver(name="r", timeout_s=0.2)


async def test_a_service_that_hangs_meets_the_deadline_and_is_not_told_twice() -> None:
    stuck, ended = Stuck(), threading.Event()

    async def in_a_thread(function: Callable[..., None], *args: Any) -> None:
        def whole() -> None:
            function(*args)
            ended.set()

        await trio.to_thread.run_sync(whole, abandon_on_cancel=True)

    sink = AppriseSink(urls=lambda: [MAIL], clock=Clock(), services=stuck, run_sync=in_a_thread)
    assert await attempt(sink, HASTY, a_notification()) == RetryAfter(reason="no answer within 0.2 s")
    # It may say yes yet: until then it is neither told again nor taken for told.
    under_way = RetryAfter(reason="Apprise told 0 of 1; URL 1: under way")
    assert await sink.send(a_notification()) == under_way
    ended.clear()
    stuck.let_go.set()
    assert await trio.to_thread.run_sync(ended.wait, 10)
    assert await sink.send(a_notification()) == Delivered()
    assert stuck.asked == 1


async def test_only_so_many_threads_are_left_behind() -> None:
    stuck = Stuck()
    sink = AppriseSink(urls=lambda: [MAIL], clock=Clock(), services=stuck)
    for number in range(THREADS + 2):
        notification = a_notification(id=NotificationId(f"{number:032x}"))
        assert await attempt(sink, HASTY, notification) == RetryAfter(reason="no answer within 0.2 s")
    stuck.let_go.set()
    assert stuck.asked == THREADS


async def test_one_that_hangs_for_minutes_is_told_again(autojump_clock: trio.testing.MockClock) -> None:
    answers: Iterator[Callable[[], None]] = iter([_raise_cancelled, lambda: None])

    class Lost:
        asked = 0

        def __call__(self, url: str) -> Service:
            def send(title: str, body: str, kind: str) -> str | None:
                self.asked += 1
                next(answers)()
                return None

            return send

    lost = Lost()
    sink = a_sink(lost, MAIL)
    with pytest.raises(_LeftBehindError):
        await sink.send(a_notification())
    await trio.sleep(299)
    assert isinstance(await sink.send(a_notification()), RetryAfter)
    assert lost.asked == 1
    await trio.sleep(2)
    assert await sink.send(a_notification()) == Delivered()
    assert lost.asked == 2


class _LeftBehindError(BaseException):
    """As if the thread were still waiting: no outcome is noted."""


def _raise_cancelled() -> None:
    raise _LeftBehindError


# --- the real library -------------------------------------------------------------------------------


class Server(BaseHTTPRequestHandler):
    got: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.got.append((self.path, body))
        self.send_response(int(self.path.rpartition("/")[2]))
        self.send_header("location", "/elsewhere/200")
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - what http.server calls

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """What reaches the root logger, where ours listens. (pytest's `caplog` also hears what does not.)"""
    lines: list[str] = []

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    root, handler = logging.getLogger(), Noting()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def server() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    got: list[tuple[str, bytes]] = []
    kind = type("Noting", (Server,), {"got": got})
    with HTTPServer(("127.0.0.1", 0), kind) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"json://user:secretpw@127.0.0.1:{listening.server_port}/secretpath", got
        listening.shutdown()
        thread.join()


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # one of its plug-ins
async def test_the_library_tells_and_says_no_more_than_a_status(
    server: tuple[str, list[tuple[str, bytes]]], heard: list[str]
) -> None:
    address, got = server
    urls = [f"{address}/200", f"{address}/401", f"{address}/302", "nonsense://secretpath", "mailto://"]
    sink = AppriseSink(urls=lambda: urls, clock=virtual(START))
    before = threading.active_count()
    settlement = await sink.send(a_notification(an_alert(title="call me @everyone")))
    assert settlement == RetryAfter(
        reason=(
            "Apprise told 1 of 5; URL 2: failed (status 401), URL 3: failed (status 302), "
            "URL 4: failed (Apprise knows no such URL), URL 5: failed (Apprise knows no such URL)"
        )
    )
    assert [path for path, _ in got] == ["/secretpath/200", "/secretpath/401", "/secretpath/302"]
    assert json.loads(got[0][1])["title"] == "🟠 WARNING: call me ＠everyone"
    assert heard == []
    # One of Trio's, which waits for more to do; none of Apprise's pools, which would outlive us.
    assert threading.active_count() <= before + 1
