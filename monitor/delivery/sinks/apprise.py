"""E-mail, SMS and a hundred services more, through Apprise (https://appriseit.com), an extra.

Apprise waits for the network in the calling thread, so it is given threads of its own: few, each left
behind when the receiver's deadline passes. It says yes or no for each of its URLs and not why: a status
that a service answered is all that is shown of the reason. Its connections are its own: the addresses that
it connects to are not judged, and `tls` of the receiver is not heeded.

| what Apprise says                           | we                                                          |
|---------------------------------------------|-------------------------------------------------------------|
| yes, for all URLs                           | delivered                                                   |
| no, or nothing in time, for some of them    | retry, only those that have not said yes                    |
| one of the URLs is none that it knows       | retry, and the reason says which: mend it and wait          |
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import StrEnum
from functools import partial
from types import ModuleType
from typing import Any, Final

import trio

from monitor.clock import Clock
from monitor.delivery.render import apprise as render
from monitor.delivery.render.text import Page, page
from monitor.delivery.sinks.base import Delivered, RetryAfter, Settlement, Traits
from monitor.delivery.sinks.post import unreadable
from monitor.errors import CometwatchError, ConfigError
from monitor.store.values import Notification
from rules.model import Value

THREADS: Final = 3
"""For one receiver: one at work and two that were left behind. A service that hangs blocks nobody else's."""

_HANGS_S: Final = 300.0
"""After so long a service that was left behind will not say yes any more."""

_REMEMBERED: Final = 200  # notifications under way of one receiver; a breaker lets it be three
_KINDS: Final = {"CRITICAL": "failure", "WARNING": "warning", "INFO": "info", "RESOLVED": "success"}
_LOUD: Final = ("apprise", "urllib3", "requests", "requests_oauthlib", "paho")
"""Libraries that log addresses, and with them tokens."""


class Outcome(StrEnum):
    """Where one URL stands with one notification."""

    UNDER_WAY = "under way"
    ACCEPTED = "accepted"
    FAILED = "failed"


class _Try(Value, frozen=True, kw_only=True):
    outcome: Outcome
    detail: str = ""
    began: float  #: monotonic seconds

    def is_open(self, now: float) -> bool:
        """Whether the URL has to be told (again)."""
        hangs = self.outcome is Outcome.UNDER_WAY and now - self.began > _HANGS_S
        return hangs or self.outcome is Outcome.FAILED


Progress = dict[str, _Try]
"""By URL. Threads write it too, also those that were left behind: one of them may have told a service after
all, which is then not told again.
"""


class AppriseSink:
    traits = Traits(people=True)

    def __init__(
        self,
        *,
        urls: Callable[[], Sequence[str]],
        clock: Clock,
        run_sync: Callable[..., Awaitable[Any]] | None = None,
        services: Callable[[str], Service] | None = None,
    ) -> None:
        """`services` makes of a URL what sends to it. Raises ConfigError if Apprise is not installed."""
        self._urls = urls
        self._clock = clock
        limiter = trio.CapacityLimiter(THREADS)
        self._run_sync = run_sync or partial(trio.to_thread.run_sync, abandon_on_cancel=True, limiter=limiter)
        self._services = services or library()
        self._progress: OrderedDict[str, Progress] = OrderedDict()

    async def send(self, notification: Notification) -> Settlement:
        try:
            urls = tuple(dict.fromkeys(filter(None, (url.strip() for url in self._urls()))))
        except (OSError, UnicodeError, CometwatchError) as exc:
            return RetryAfter(reason=unreadable(exc))
        if not urls:
            return RetryAfter(reason="there is no Apprise URL to send to; one a line, like mailto://…")
        progress = self._progress_of(notification.id)
        await self._run_sync(self._tell, urls, page(notification), progress, self._clock.monotonic())
        return self._settled(notification.id, [progress[url] for url in urls])

    def _progress_of(self, notification: str) -> Progress:
        progress = self._progress.setdefault(notification, {})
        while len(self._progress) > _REMEMBERED:
            self._progress.popitem(last=False)
        return progress

    def _tell(self, urls: Sequence[str], said: Page, progress: Progress, now: float) -> None:
        """In a thread: every URL that is not told or being told yet, one after the other."""
        for url in urls:
            known = progress.get(url)
            if known is None or known.is_open(now):
                progress[url] = _Try(outcome=Outcome.UNDER_WAY, began=now)
                progress[url] = self._tried(url, said, now)

    def _tried(self, url: str, said: Page, now: float) -> _Try:
        try:
            detail = self._services(url)(render.title(said), render.body(said), _KINDS[said.word])
        except Exception as exc:  # one of a hundred plug-ins failed; its text may quote the URL
            detail = type(exc).__name__
        if detail is None:
            return _Try(outcome=Outcome.ACCEPTED, began=now)
        return _Try(outcome=Outcome.FAILED, detail=detail, began=now)

    def _settled(self, notification: str, tries: Sequence[_Try]) -> Settlement:
        if all(tried.outcome is Outcome.ACCEPTED for tried in tries):
            self._progress.pop(notification, None)
            return Delivered()
        told = sum(tried.outcome is Outcome.ACCEPTED for tried in tries)
        open_ = [
            f"URL {number}: {tried.outcome}" + (f" ({tried.detail})" if tried.detail else "")
            for number, tried in enumerate(tries, 1)
            if tried.outcome is not Outcome.ACCEPTED
        ]
        return RetryAfter(reason=f"Apprise told {told} of {len(tries)}; {', '.join(open_[:5])}")


Service = Callable[[str, str, str], str | None]
"""Sends a title, a body and a kind of Apprise's, in this thread. None for yes, else what can be shown."""


def library() -> Callable[[str], Service]:
    """Apprise's services by URL. Raises ConfigError if it is not installed."""
    _hush()
    try:
        import apprise  # takes a third of a second, and it is an extra
    except ImportError as exc:
        raise ConfigError(
            "a receiver is told through Apprise, which is not installed: pip install 'cometwatch[apprise]'"
        ) from exc
    asset = apprise.AppriseAsset(
        app_id="Cometwatch",
        app_desc="Cometwatch",
        app_url="",
        async_mode=False,  # in our thread, not in pools that outlive us
        service_timeout=0,  # the deadline is ours
        http_redirects=False,  # they would carry the alert anywhere
        storage_mode="memory",  # nothing on disk that is not in the settings
    )
    return partial(_service, apprise, asset)


def _service(apprise: ModuleType, asset: Any, url: str) -> Service:
    def send(title: str, body: str, kind: str) -> str | None:
        made = apprise.Apprise.instantiate(url, asset=asset)
        if made is None:
            return "Apprise knows no such URL"
        if "overflow" not in url:
            made.overflow_mode = apprise.OverflowMode.TRUNCATE  # one alert is one message, not ten
        target = apprise.Apprise(asset=asset)
        target.add(made)
        answer = target.notify(title=title, body=body, notify_type=kind, body_format="text")
        return None if answer else _status(entry.message for entry in answer.logs())

    return send


def _status(said: Iterable[str]) -> str:
    """The HTTP status in what a plug-in logged, if there is one: all else may hold an address or a text."""
    found = re.search(r"\berror[=: ]{1,2}([1-5]\d\d)\b", " ".join(said))
    return f"status {found[1]}" if found else ""


def _hush() -> None:
    """What these libraries log is heard by nobody but Apprise itself, which collects it with its answers."""
    for name in _LOUD:
        log = logging.getLogger(name)
        log.propagate = False
        if not log.handlers:
            log.addHandler(logging.NullHandler())
