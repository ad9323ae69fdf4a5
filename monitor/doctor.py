"""What the API's documents leave open, settled on the operator's own app with at most 25 reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

from monitor.source.client import (
    BadKey,
    Client,
    RateLimited,
    SourceError,
    UnknownUser,
    Unreachable,
)
from monitor.source.diagnosis import conclude
from monitor.source.facts import FEW, SAMPLE, Fact
from monitor.source.failures import UnknownGroup
from monitor.source.headers import rate_spelling
from monitor.source.looks import Look, look_at, some_group
from monitor.source.showing import KINDS
from rules.model import MessageId, UserId, Value

MAX_REQUESTS: Final = 25

Params = Sequence[tuple[str, str]]


class Report(Value, frozen=True, kw_only=True):
    """What the doctor found. Holds no uid, key, name or text: fit for a bug report."""

    api: str  #: the base URL with the app's own names masked
    requests: int
    facts: tuple[Fact, ...]
    stopped: str | None = None  #: why not everything was asked


class Probe(NamedTuple):
    """One request of the examination."""

    name: str
    place: str
    """"user": the user; "list": their messages; "user-all": GET /messages on their behalf; "app": the same on
    nobody's; "group": a group's messages."""
    params: Params = ()

    @property
    def shown(self) -> str:
        """The request as it may be shown: without the uid and the guid."""
        query = "&".join(f"{name}={value}" for name, value in self.params)
        actor = "as <uid>: " if self.place == "user-all" else ""
        return f"{actor}GET {self.path('<uid>', '<guid>')}{'?' if query else ''}{query}"

    def path(self, uid: str, guid: str) -> str:
        places = {
            "user": f"/users/{uid}",
            "list": f"/users/{uid}/messages",
            "group": f"/groups/{guid}/messages",
        }
        return places.get(self.place, "/messages")


async def examine(
    client: Client,
    uid: UserId,
    *,
    base_url: str,
    guid: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Report:
    """Ask what the questions need, and conclude. Without `guid` a group of the user's is looked at.

    At most 25 requests, reads all of them. A failure of one question does not stop the others, unless it
    stands for all: a wrong key, an unknown user, a spent quota, no answer; `tell` hears of that with names,
    which the report leaves out. Cancelling it leaves nothing.
    """
    examination = Examination(client, uid, guid)
    stopped = None
    try:
        await examination.ask_everything()
    except SourceError as failed:
        stopped = named(failed)
        tell(str(failed))
    return Report(
        api=masked(base_url),
        requests=examination.requests,
        facts=conclude(examination.looks),
        stopped=stopped,
    )


class Examination:
    """The looks made so far, and how many requests they took."""

    def __init__(self, client: Client, uid: UserId, guid: str | None = None) -> None:
        self.looks: dict[str, Look] = {}
        self.requests = 0
        self._client = client
        self._uid = uid
        self._guid = guid

    async def ask_everything(self) -> None:
        """Fill `looks`. Raises the SourceError that makes further questions useless."""
        for probe in OPENING:
            await self._look(probe)
        if not self.looks["newest"].is_answered:
            return
        # Each list is read again after the last read of its kind, so that every one could leave its mark.
        for probe in (*LIST_PROBES, *self._around("newest", "list"), *self._changed(), AGAIN):
            await self._look(probe)
        await self._look(ALL_NEWEST)
        for probe in (ALL_CALLS, *self._around("all_newest", "user-all"), ALL_AGAIN):
            await self._look(probe)
        for probe in GROUP_PROBES if self._guid else ():
            await self._look(probe)
        await self._look(APP_NEWEST)
        for probe in self._known_rows():
            await self._look(probe)

    def _known_rows(self) -> Iterator[Probe]:
        """The app's list where it has to hold a row that another list showed.

        One of each kind that its newest page does not show, and one in any case: does its cursor work?
        """
        newest, known = self.looks["app_newest"], dict[str, list[MessageId]]()
        for kind, fits in KINDS.items():
            if ids := sorted({row.id for look in self.looks.values() for row in look.rows if fits(row)}):
                known[kind] = ids
        unseen = [kind for kind in known if not any(map(KINDS[kind], newest.rows))]
        # A list that shows nothing at all shows no other kind either.
        for kind in (unseen if newest.rows else unseen[:1]) or list(known)[:1]:
            ids = known[kind]
            yield Probe(f"app_{kind}", "app", page(FEW, "append", MessageId(ids[len(ids) // 3] - 1)))

    def _changed(self) -> Iterator[Probe]:
        """What changed in place since just before the latest such change, if there was one."""
        rows = self.looks["newest"].rows
        changed = [row.updated_at for row in rows if row.has_changed]
        if rows:
            since = max(changed, default=max(row.updated_at for row in rows) + 1) - 1
            asked = (("updatedAt", str(since)), ("onlyUpdates", "1"), *page(SAMPLE, "append"))
            yield Probe("updates", "list", asked)

    def _around(self, name: str, place: str) -> Iterator[Probe]:
        """Small pages on both sides of an id that was seen, with more rows after it than before."""
        ids = sorted(self.looks[name].ids)
        if not ids:
            return
        pivot = ids[len(ids) // 3]
        yield Probe("append" if place == "list" else "all_append", place, page(FEW, "append", pivot))
        if place == "list":
            yield Probe("prepend", place, page(FEW, "prepend", pivot))

    async def _look(self, probe: Probe) -> None:
        if self.requests == MAX_REQUESTS:
            return
        self.requests += 1
        behalf = self._uid if probe.place == "user-all" else None
        path = probe.path(quote(self._uid, safe=""), quote(self._guid or "", safe=""))
        try:
            reply = await self._client.ask(path, probe.params, on_behalf_of=behalf, request=probe.name)
        except SourceError as failed:
            self.looks[probe.name] = Look(asked=probe.shown, error=named(failed))
            if isinstance(failed, FOR_ALL) and not isinstance(failed, UnknownGroup):
                raise
            return
        if probe.place == "user-all":
            self._guid = self._guid or some_group(reply.body)
        self.looks[probe.name] = look_at(
            reply.body if probe.place != "user" else NOTHING,  # of the user only whether they are known
            uid=self._uid,
            asked=probe.shown,
            rate_headers=rate_spelling(reply.headers),
            skew_s=reply.skew.total_seconds(),
        )


def named(failed: SourceError) -> str:
    """The kind of failure and CometChat's code for it: nothing else of its text."""
    return f"{type(failed).__name__} {failed.code}" if failed.code else type(failed).__name__


def page(size: int, affix: str, id_: MessageId | None = None) -> Params:
    """The parameters of a page; the size under both of its names."""
    place = () if id_ is None else (("id", str(id_)),)
    return (("affix", affix), *place, ("perPage", str(size)), ("limit", str(size)))


FOR_ALL: Final = (BadKey, UnknownUser, RateLimited, Unreachable)
NOTHING: Final = b'{"data":[]}'

OPENING: Final = (Probe("user", "user"), Probe("newest", "list", page(SAMPLE, "prepend")))
LIST_PROBES: Final = (
    Probe("per_page", "list", (("affix", "prepend"), ("perPage", str(FEW)))),
    Probe("limit", "list", (("affix", "prepend"), ("limit", str(FEW)))),
    Probe("default_size", "list", (("affix", "prepend"),)),
    Probe("thousand", "list", page(1000, "prepend")),
    Probe("no_affix", "list", (("perPage", str(FEW)), ("limit", str(FEW)))),
    Probe("append_without_id", "list", page(FEW, "append")),
    Probe("append_from_zero", "list", page(FEW, "append", MessageId(0))),
    Probe("calls", "list", (*page(SAMPLE, "prepend"), ("categories", "call"))),
    Probe("has_mentions", "list", (*page(FEW, "prepend"), ("hasMentions", "1"))),
    Probe("has_attachments", "list", (*page(FEW, "prepend"), ("hasAttachments", "1"))),
)
AGAIN: Final = Probe("newest_again", "list", page(SAMPLE, "prepend"))
ALL_NEWEST: Final = Probe("all_newest", "user-all", page(SAMPLE, "prepend"))
ALL_CALLS: Final = Probe("all_calls", "user-all", (*page(SAMPLE, "prepend"), ("categories", "call")))
ALL_AGAIN: Final = Probe("all_newest_again", "user-all", page(SAMPLE, "prepend"))
GROUP_PROBES: Final = (
    Probe("group_newest", "group", page(SAMPLE, "prepend")),
    Probe("group_calls", "group", (*page(SAMPLE, "prepend"), ("categories", "call"))),
)
APP_NEWEST: Final = Probe("app_newest", "app", page(SAMPLE, "prepend"))


def masked(base_url: str) -> str:
    """The base URL without what names the app or the house."""
    parts = urlsplit(base_url)
    region = re.fullmatch(r"[^.]+\.api(client)?-([a-z0-9-]+)\.cometchat\.io", parts.hostname or "")
    host = f"<app>.api{region[1] or ''}-{region[2]}.cometchat.io" if region else "<own host>"
    version = re.search(r"/v[0-9.]+/?$", parts.path)
    return f"{parts.scheme}://{host}{version[0].rstrip('/') if version else '/…'}"
