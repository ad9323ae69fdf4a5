"""A receiver of a test: answers as told, and keeps what it accepts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

import trio

from monitor.delivery.sinks.base import Delivered, Refused, RetryAfter, Settlement, Traits
from monitor.store.values import Change, Notification, NotificationId

TOO_FAST: Final = timedelta(seconds=30)


class Inbox:
    """A sink whose other end is the test. `told` hears of all news, once, when it is accepted."""

    def __init__(self, *, people: bool, told: Callable[[Notification], None]) -> None:
        self.traits = Traits(people=people)
        self.answer = "up"
        self._told = told
        self._known: set[NotificationId] = set()

    async def send(self, notification: Notification) -> Settlement:
        """As a real receiver does: what came under a known id is accepted and is no news."""
        await trio.lowlevel.checkpoint()
        match self.answer:
            case "down":
                return RetryAfter(reason="the receiver is down")
            case "429":
                return RetryAfter(reason="too fast", after=TOO_FAST)
            case "400":
                return Refused(reason="the receiver refuses it")
            case "hangs":
                await trio.sleep_forever()
        if notification.change is Change.NEWS and notification.id not in self._known:
            self._known.add(notification.id)
            self._told(notification)
        return Delivered()
