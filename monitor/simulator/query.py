"""The parameters of the message lists, read as the server reads them.

Arrays come comma-joined, repeated or as `name[]`; booleans as `1` or `true`; unknown names are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from monitor.simulator.feed import Test
from monitor.simulator.refusals import bad_request
from monitor.simulator.rows import Row

MAX_ROWS: Final = 1000


class Listing(Enum):
    """The three lists; the value is the page size without a parameter (REST docs)."""

    USER = ("user", 100)
    MESSAGES = ("messages", 10)
    GROUP = ("group", 10)

    @property
    def default_size(self) -> int:
        return self.value[1]


class Marks(Protocol):
    """How far a user has read or received a conversation: the largest such message id, 0 for none."""

    def read_up_to(self, uid: str, conversation_id: str) -> int: ...
    def delivered_up_to(self, uid: str, conversation_id: str) -> int: ...


class Params:
    """Query parameters as sent, with the spellings that clients use."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name.removesuffix("[]"), []).append(value)

    def text(self, name: str) -> str | None:
        """The last non-empty value."""
        return next((value for value in reversed(self._values.get(name, ())) if value), None)

    def without(self, *names: str) -> Params:
        pairs = ((name, value) for name, values in self._values.items() for value in values)
        return Params(pair for pair in pairs if pair[0] not in names)

    def flag(self, *names: str) -> bool:
        return any((self.text(name) or "").lower() in ("1", "true") for name in names)

    def words(self, *names: str) -> frozenset[str]:
        joined = (value for name in names for value in self._values.get(name, ()))
        return frozenset(word.strip() for value in joined for word in value.split(",") if word.strip())

    def number(self, name: str, *, low: int = 0, high: int | None = None) -> int | None:
        text = self.text(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit()):
            raise bad_request(**{name: f"The {name} must be an integer."})
        if int(text) < low or (high is not None and int(text) > high):
            raise bad_request(**{name: f"The {name} must be between {low} and {high}."})
        return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One list request, checked: where to start, how many rows, which of them."""

    affix: str
    cursor: int | None
    has_time_cursor: bool  #: a timestamp says where to begin, so append needs no id
    size: int
    tests: tuple[Test, ...]
    counts: bool
    with_tags: bool
    with_tag_info: bool
    with_blocked_info: bool


UPDATES: Final = ("updatedAt", "onlyUpdates")
"""What the official SDK sends and no document names."""


def parse(
    params: Params, *, listing: Listing, acting: str | None, marks: Marks, updates: str = "heeded"
) -> Query:
    """Check and read the parameters; `acting` is the user whose view is asked for.

    `updates`: whether `updatedAt` is heeded, ignored or refused ("400"). Raises Refusal (400) for an affix,
    id, time or page size that the documentation does not allow.
    """
    if updates == "400" and params.text("updatedAt"):
        raise bad_request(updatedAt="The updatedAt field is not allowed.")
    if updates == "ignored":
        params = params.without(*UPDATES)
    affix = params.text("affix") or "prepend"
    if affix not in ("append", "prepend"):
        raise bad_request(affix="The selected affix is invalid.")
    return Query(
        affix=affix,
        cursor=params.number("id"),
        has_time_cursor=any(params.text(name) for name in ("fromTimestamp", "sentAt", "updatedAt")),
        size=_size(params, listing),
        tests=(*_times(params, listing, affix), *_filters(params, listing, acting, marks)),
        counts=params.flag("count"),
        with_tags=params.flag("withTags"),
        with_tag_info=params.flag("mentionsWithTagInfo", "mentionswithTagInfo"),
        with_blocked_info=params.flag("mentionsWithBlockedInfo"),
    )


def _size(params: Params, listing: Listing) -> int:
    # All that are given are checked; the first decides: REST's perPage, the client API's per_page, limit.
    given = [params.number(name, low=1, high=MAX_ROWS) for name in ("perPage", "per_page", "limit")]
    return next((size for size in given if size is not None), listing.default_size)


def _times(params: Params, listing: Listing, affix: str) -> Iterable[Test]:
    since, until = params.number("fromTimestamp"), params.number("toTimestamp")
    sent, updated = params.number("sentAt"), params.number("updatedAt")
    if listing is Listing.MESSAGES and since is None:
        until = None  # documented for GET /messages
    if since is not None:
        yield lambda row: row.sent_at >= since
    if until is not None:
        yield lambda row: row.sent_at <= until
    if sent is not None:
        yield (lambda row: row.sent_at >= sent) if affix == "append" else (lambda row: row.sent_at <= sent)
    if updated is not None:
        yield lambda row: row.updated_at > updated
        if params.flag("onlyUpdates"):
            yield lambda row: row.updated_at > row.sent_at


def _filters(params: Params, listing: Listing, acting: str | None, marks: Marks) -> Iterable[Test]:
    yield from _by_flag(params, listing)
    yield from _by_word(params, listing)
    if acting is None:
        return
    if params.flag("myMentionsOnly"):
        yield lambda row: acting in row.mentions
    if params.flag("unread"):
        yield _beyond(acting, marks.read_up_to)
    if params.flag("undelivered"):
        yield _beyond(acting, marks.delivered_up_to)


_FLAGS: Final[dict[str, Test]] = {
    "hasAttachments": lambda row: bool(row.attachments),
    "hasMentions": lambda row: bool(row.mentions),
    "hasLinks": lambda row: row.has_links,
    "hasReactions": lambda row: row.has_reactions,
    "hideReplies": lambda row: row.parent_id is None,
}
_MESSAGES_FLAGS: Final[dict[str, Test]] = {
    "hideDeleted": lambda row: not row.is_deleted,
    "onlyDeleted": lambda row: row.is_deleted,
}


def _by_flag(params: Params, listing: Listing) -> Iterable[Test]:
    known = _FLAGS | _MESSAGES_FLAGS if listing is Listing.MESSAGES else _FLAGS
    return (test for name, test in known.items() if params.flag(name))


def _by_word(params: Params, listing: Listing) -> Iterable[Test]:
    if key := params.text("searchKey"):
        folded = key.casefold()
        yield lambda row: folded in row.text.casefold()
    if categories := params.words("category", "categories"):
        yield lambda row: row.category in categories
    if types := params.words("type", "types"):
        yield lambda row: row.type in types
    if attachments := params.words("attachmentTypes"):
        yield lambda row: not attachments.isdisjoint(row.attachments)
    if mentioned := frozenset(uid.lower() for uid in params.words("mentionedUids")):
        yield lambda row: not mentioned.isdisjoint(row.mentions)
    if tags := params.words("tags"):
        yield lambda row: not tags.isdisjoint(row.tags)
    if sender := params.text("sender"):
        lowered = sender.lower()
        yield lambda row: row.sender == lowered
    if listing is Listing.MESSAGES:
        if kind := params.text("receiverType"):
            yield lambda row: row.receiver_type == kind
        if conversation := params.text("conversationId"):
            yield lambda row: row.conversation_id == conversation


def _beyond(acting: str, mark: Callable[[str, str], int]) -> Test:
    def test(row: Row) -> bool:
        if row.sender == acting or row.category == "action":
            return False
        return row.id > mark(acting, row.conversation_id)

    return test
