"""Slack by bot token: one message for an alert or group, edited as it changes, with a thread below it.

The app needs the scopes `chat:write` and, to find what it posted when an answer was lost, `channels:history`
(`groups:history` for a private channel), and must be a member of the channel.

| what is told                  | what is done                                       |
|-------------------------------|----------------------------------------------------|
| it begins                     | post                                               |
| an update, an acknowledgement | edit the message; nobody is disturbed              |
| more of a group               | edit, and a reply that is shown in the channel too |
| events of a group             | post: nobody tells of them again after an edit     |
| it goes on (repeat)           | edit, and a reply that is shown in the channel too |
| it is over                    | edit, and a reply                                  |
| a summary, a digest           | post                                               |

Whether a post whose answer was lost is there can only be seen by looking. Each message carries metadata with
the notification's id; before a post is tried again, and where it is not known where a message stands, the
channel's history (for replies: the thread) is searched for it. If it can't be searched, the alert is posted
all the same, and a warning says that it may be there twice.

What Slack's answers mean (https://docs.slack.dev/reference/methods/chat.postMessage#errors):

| answer                                            | we                                              |
|---------------------------------------------------|-------------------------------------------------|
| 2xx with `"ok": true`                             | delivered                                       |
| an error word that names blocks or metadata       | send it without them at once                    |
| an edit whose message or channel is gone          | post anew                                       |
| an edit that is not allowed                       | a reply in its place; delivered, with a warning |
| `msg_too_long`, `no_text`, `too_many_attachments` | refused: dead letter                            |
| 429, `ratelimited`                                | retry; the whole receiver rests for Retry-After |
| any other word: token, scope, channel             | retry: a person mends it, for every alert       |
| anything else: 2xx without JSON, 3xx, 4xx, 5xx    | retry                                           |
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import httpx
from msgspec.structs import replace

from monitor.clock import Clock
from monitor.delivery.render import slack
from monitor.delivery.sinks.base import Delivered, Refused, RetryAfter, Settlement, Traits
from monitor.delivery.sinks.post import PostError, unreadable
from monitor.delivery.sinks.slack_web import Mark, Place, SlackError, SlackWeb, Told
from monitor.errors import CometwatchError
from monitor.store.values import Change, Kind, Notification
from rules.model import Status

API: Final = "https://slack.com/api"

PATIENCE: Final = 4
"""Sends after which what fires is posted even if no look at the channel succeeds: a few minutes. An alert in
time is worth more than one that is shown once; the end of one can wait."""

LAST_LOOKS: Final = 3
"""Looks, one at once after the other, before what fires is posted without one."""

_IN_DOUBT: Final = "it may be there twice, as what was posted can't be looked for"
_EARLIER: Final = timedelta(minutes=1)  # Slack's clock and ours may differ by so much
_REFUSED: Final = frozenset({"msg_too_long", "msg_blocks_too_long", "no_text", "too_many_attachments"})
_GONE: Final = frozenset({"message_not_found", "channel_not_found", "is_archived", "not_in_channel"})
_FIXED: Final = frozenset({"cant_update_message", "edit_window_closed", "update_failed"})
_NO_THREAD: Final = frozenset(
    {"cannot_reply_to_message", "thread_not_found", "restricted_action_thread_locked"}
    | {"restricted_action_non_threadable_channel"}
)


class SlackBotSink:
    traits = Traits(people=True, most=1, follows=True)  # an edit is a request, and they are counted

    def __init__(
        self,
        *,
        token: Callable[[], str],
        channel: str,
        url: str = API,
        http: httpx.AsyncClient,
        clock: Clock,
    ) -> None:
        """`channel` by its id: names work for posting, not for looking and editing."""
        self._web = SlackWeb(token=token, url=url, http=http, clock=clock)
        self._channel = channel
        self._clock = clock

    async def send(self, notification: Notification) -> Settlement:
        try:
            return await self._told(notification)
        except PostError as exc:
            return RetryAfter(reason=str(exc))
        except SlackError as exc:
            reason = str(exc)
            return (
                Refused(reason=reason) if exc.word in _REFUSED else RetryAfter(reason=reason, after=exc.after)
            )
        except (OSError, UnicodeError, CometwatchError) as exc:
            return RetryAfter(reason=unreadable(exc))

    async def _told(self, notification: Notification) -> Delivered:
        receipts: dict[str, str] = {}
        warnings: list[str] = []
        for one in _each(notification):
            telling = _Telling(self._web, self._channel, one, now=self._clock.wall())
            place = await telling.tell()
            warnings += telling.warnings
            if place and one.kind in {Kind.ALERTS, Kind.GROUP}:  # a sum is not brought up to date
                receipts[telling.mark.subject] = str(place)
        return Delivered(receipts=receipts, warning="; ".join(dict.fromkeys(warnings)) or None)


class _Telling:
    """One notification about one subject, on its way into the channel."""

    def __init__(self, web: SlackWeb, channel: str, told: Notification, *, now: datetime) -> None:
        self.mark = Mark(notification=told.id, subject=_subject(told), receiver=told.receiver)
        self.warnings: list[str] = []
        self._web = web
        self._channel = channel
        self._told = told
        self._now = now

    async def tell(self) -> Place | None:
        """Say it, unless it is said already: where it stands, or None if there is nothing to edit."""
        place = Place.read(self._told.receipts.get(self.mark.subject))
        is_anew = self._told.begins_anew
        if (place is None or is_anew) and self._may_stand():
            found = await self._look()
            if found and found.mark.notification == self._told.id:
                return found.place  # this very message: its answer was lost
            place = found.place if found else None
        if place is None or is_anew:
            return None if self._told.change is Change.UPDATE else await self._post()
        return await self._follow_up(place)

    def _may_stand(self) -> bool:
        """Whether there may be a message that nobody told us of. A first send of a beginning is new."""
        told = self._told
        is_end = told.kind is Kind.ALERTS and told.status is Status.RESOLVED
        is_new = told.attempts == 0 and told.change is Change.NEWS and not told.is_in_doubt
        return is_end or not is_new

    async def _look(self) -> Told | None:
        first_seen = [alert.first_seen_at for alert in self._told.alerts if self._told.kind is Kind.ALERTS]
        since = min([self._told.created_at, *first_seen]) - _EARLIER
        return await self._looked_for(
            lambda: self._web.find(self._channel, self._is_about_the_same, since=since)
        )

    def _is_about_the_same(self, mark: Mark) -> bool:
        return (mark.subject, mark.receiver) == (self.mark.subject, self.mark.receiver)

    async def _looked_for(self, search: Callable[[], Awaitable[Told | None]]) -> Told | None:
        is_pressing = _is_loud(self._told) and self._told.attempts >= PATIENCE
        for left in reversed(range(LAST_LOOKS if is_pressing else 1)):
            try:
                return await search()
            except (SlackError, PostError) as exc:
                is_passing = not isinstance(exc, SlackError) or exc.is_passing
                if is_passing and not is_pressing:
                    raise
                if not left or not is_passing:
                    self.warnings.append(f"{_IN_DOUBT}: {exc}")
                    break
        return None

    async def _post(self) -> Place:
        return await self._web.post(self._channel, slack.payload(self._told, now=self._now), self.mark)

    async def _follow_up(self, place: Place) -> Place:
        """Bring what stands up to date, and say so below it where that is worth a reply."""
        try:
            await self._web.edit(place, slack.payload(self._as_it_is(), now=self._now))
        except SlackError as exc:
            if exc.word in _GONE:
                return await self._post_anew(place, exc)
            if exc.word not in _FIXED:
                raise
            self.warnings.append(str(exc))
        if self._told.change is not Change.UPDATE:
            return await self._reply(place)
        return place

    def _as_it_is(self) -> Notification:
        """For the message that stands: that it is told again is said below it."""
        is_news = self._told.change is Change.NEWS
        return self._told if is_news else replace(self._told, change=Change.UPDATE)

    async def _post_anew(self, place: Place, why: SlackError) -> Place:
        """The message was deleted, or its channel left: news stand on their own, an update has no place."""
        if self._told.change is Change.UPDATE:
            self.warnings.append(str(why))
            return place
        found = await self._look() if self._told.attempts else None
        return found.place if found and found.mark == self.mark else await self._post()

    async def _reply(self, below: Place) -> Place:
        if await self._is_replied(below):
            return below
        reply = {**slack.follow_up(self._told, now=self._now), "thread_ts": below.ts}
        is_loud = _is_loud(self._told) or bool(self.warnings)
        try:
            await self._web.post(below.channel, {**reply, "reply_broadcast": is_loud}, self.mark)
        except SlackError as exc:
            if exc.word not in _NO_THREAD:
                raise
            self.warnings.append(str(exc))
            return await self._post() if is_loud else below
        return below

    async def _is_replied(self, below: Place) -> bool:
        """Whether this very reply is there. A repetition that was cut short by a crash is not counted."""
        if not self._told.attempts and self._told.change is Change.NEWS:
            return False
        search = partial(
            self._web.find_reply,
            below,
            lambda mark: mark == self.mark,
            since=self._told.created_at - _EARLIER,
        )
        return await self._looked_for(search) is not None


def _each(notification: Notification) -> list[Notification]:
    """One for each message that stands for itself: an alert, or the whole of a group or sum."""
    if notification.group or notification.kind in {Kind.SUMMARY, Kind.DIGEST}:
        return [notification]
    return [
        replace(notification, kind=Kind.ALERTS, status=alert.status, alerts=(alert,))
        for alert in notification.alerts
    ]


def _subject(notification: Notification) -> str:
    if notification.kind in {Kind.SUMMARY, Kind.DIGEST}:
        return notification.id
    if notification.group and notification.opened:
        return notification.opened.subject
    return notification.alerts[0].id


def _is_loud(notification: Notification) -> bool:
    """Whether a reply is shown in the channel too: something fires, new or still."""
    repeated = notification.others if notification.change is Change.REPEAT else ()
    return any(alert.status is Status.FIRING for alert in (*notification.alerts, *repeated))
