"""The parameters of message lists and user lists, all documented and two more, as they are written. Pure."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, Final

from msgspec.structs import astuple

from rules.model import MessageId, Value

MAX_PAGE: Final = 1000


class Affix(StrEnum):
    APPEND = "append"  #: the oldest rows after `id`
    PREPEND = "prepend"  #: the newest rows before `id`, or of all


class MessageQuery(Value, frozen=True, kw_only=True):
    """What to ask for; a parameter that is None is not sent. ValueError for a page size that can't be."""

    search_key: str | None = None
    has_attachments: bool | None = None
    attachment_types: tuple[str, ...] | None = None  #: image, video, audio, file
    has_mentions: bool | None = None
    has_links: bool | None = None
    mentioned_uids: tuple[str, ...] | None = None
    unread: bool | None = None
    undelivered: bool | None = None
    count: bool | None = None
    hide_replies: bool | None = None
    affix: Affix | None = None
    id: MessageId | None = None
    category: str | None = None
    categories: tuple[str, ...] | None = None
    type: str | None = None
    types: tuple[str, ...] | None = None
    my_mentions_only: bool | None = None
    has_reactions: bool | None = None
    sender: str | None = None
    mentions_with_blocked_info: bool | None = None
    mentions_with_tag_info: bool | None = None
    per_page: int | None = None
    limit: int | None = None
    updated_at: datetime | None = None  #: rows that changed since; what the SDK sends, and no document names
    only_updates: bool | None = None  #: beside `updated_at`: not those that are merely new
    from_timestamp: datetime | None = None
    to_timestamp: datetime | None = None
    with_tags: bool | None = None
    tags: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name, size in (("perPage", self.per_page), ("limit", self.limit)):
            if size is not None and not 1 <= size <= MAX_PAGE:
                raise ValueError(f"{name} is {size}, but CometChat takes 1 to {MAX_PAGE}")

    @classmethod
    def newest(cls, size: int) -> MessageQuery:
        """The newest page."""
        return cls(affix=Affix.PREPEND, per_page=size, limit=size, with_tags=True)

    @classmethod
    def before(cls, id_: MessageId, size: int) -> MessageQuery:
        """The page that ends just before `id_`."""
        return cls(affix=Affix.PREPEND, id=id_, per_page=size, limit=size, with_tags=True)

    @classmethod
    def after(cls, id_: MessageId, size: int) -> MessageQuery:
        """The page that begins just after `id_`.

        The size goes under both its names: which one counts is not documented.
        """
        return cls(affix=Affix.APPEND, id=id_, per_page=size, limit=size, with_tags=True)

    @classmethod
    def changed(cls, since: datetime, size: int, *, after: MessageId | None = None) -> MessageQuery:
        """The rows that changed since a time, those after an id if one is given."""
        return cls(
            updated_at=since,
            only_updates=True,
            affix=Affix.APPEND,
            id=after,
            per_page=size,
            limit=size,
            with_tags=True,
        )

    def params(self) -> list[tuple[str, str]]:
        """Names and values as they stand in the query string, in the order of the documents."""
        return _params(self)


class UserQuery(Value, frozen=True, kw_only=True):
    """Which of the app's users to list; a parameter that is None is not sent. ValueError for no such page.

    `count` is left out: it answers a number instead of users.
    """

    search_key: str | None = None  #: what uid or name begins with
    search_in: tuple[str, ...] | None = None  #: uid, name
    status: str | None = None  #: available, offline
    per_page: int = 100
    page: int = 1
    role: str | None = None
    roles: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    with_tags: bool | None = None
    with_deactivated: bool | None = None
    only_deactivated: bool | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.per_page <= MAX_PAGE:
            raise ValueError(f"perPage is {self.per_page}, but CometChat takes 1 to {MAX_PAGE}")
        if self.page < 1:
            raise ValueError(f"page is {self.page}, but the first one is 1")

    def params(self) -> list[tuple[str, str]]:
        """Names and values as they stand in the query string."""
        return _params(self)


# The documents spell one parameter in two ways, older and newer copies; a server heeds the one it knows.
SPELLINGS: Final = {"mentions_with_tag_info": ("mentionsWithTagInfo", "mentionswithTagInfo")}


@cache
def _names(query: type[Value]) -> tuple[tuple[str, ...], ...]:
    """How each field is spelled."""
    return tuple(SPELLINGS.get(field) or (_camel(field),) for field in query.__struct_fields__)


def _camel(field: str) -> str:
    first, *rest = field.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _params(query: Value) -> list[tuple[str, str]]:
    return [
        (name, _written(value))
        for names, value in zip(_names(type(query)), astuple(query), strict=True)
        if value is not None
        for name in names
    ]


def _written(value: Any) -> str:
    """Switches as 1 and 0, lists comma-joined, times as unix seconds: what the official SDK sends."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, datetime):
        return str(int(value.timestamp()))
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)
