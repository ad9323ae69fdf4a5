"""What a script is made of: actions with what they should lead to, and short words for common ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, NamedTuple

from monitor.simulator.faults import Fault
from monitor.simulator.truth import Expect


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    at: float  #: seconds after the scenario began; negative: history, made at once and dated back
    label: str = ""
    expect: tuple[Expect, ...] = ()
    visible_after: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Say(Action):
    """A message of any kind, to a user or a group."""

    sender: str | None  #: None: the app itself
    to: str
    content: Mapping[str, Any]
    category: str = "message"
    type: str = "text"
    is_group: bool = False
    tags: tuple[str, ...] = ()
    reply_to: str | None = None  #: label of the message whose thread this is in


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring(Action):
    """A call begins; its label names it for `Change`."""

    caller: str
    to: str
    type: str = "audio"
    is_group: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Action):
    """The call of that label takes a new status; `type` when video follows an audio ring."""

    call: str
    status: str
    by: str | None = None
    type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit(Action):
    of: str
    text: str
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete(Action):
    of: str
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoil(Action):
    """A malformed row appears between two users; `way` is one of rows.SPOILED."""

    sender: str
    to: str
    way: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble(Action):
    fault: Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Calm(Action):
    """The faults of a kind end."""

    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    name: str
    about: str
    actions: Callable[[], Iterator[Action]]  #: in order of time; may never end
    users: Mapping[str, str] = field(default_factory=dict)  #: uid to display name
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  #: guid to members


class Pace(NamedTuple):
    """What a seeded scenario may be told."""

    rate: float  #: stages a second
    lasts_s: float  #: from then on nothing new begins


# -- common actions and expectations -----------------------------------------------------------------


def missed(callee: str, *, after_s: float = 0.0, must: bool = True, note: str = "") -> tuple[Expect, ...]:
    return (Expect(rule="missed-call", users=(callee,), after_s=after_s, must=must, note=note),)


def mention(*users: str) -> tuple[Expect, ...]:
    return (Expect(rule="mention", users=users),)


def attachment(*users: str, gone: str = "") -> tuple[Expect, ...]:
    return (Expect(rule="attachment", users=users, must=not gone, note=gone),)


def text(
    at: float,
    sender: str | None,
    to: str,
    words: str,
    *,
    is_group: bool = False,
    expect: tuple[Expect, ...] = (),
    label: str = "chat",
    visible_after: float = 0.0,
    **more: Any,
) -> Say:
    return Say(
        at=at, sender=sender, to=to, content={"text": words}, is_group=is_group,
        expect=expect, label=label, visible_after=visible_after, **more,
    )  # fmt: skip


MIME: Final = {
    "jpeg": ("image", "image/jpeg"), "mp4": ("video", "video/mp4"), "m4a": ("audio", "audio/mp4"),
    "pdf": ("file", "application/pdf"),
}  # fmt: skip


def share(
    at: float,
    sender: str,
    to: str,
    name: str,
    *,
    caption: str | None = None,
    is_group: bool = False,
    label: str = "attachment",
    visible_after: float = 0.0,
    size: int = 48_213,
    gone: str = "",
) -> Say:
    """A file, by the ending of its name; in a group only its sender is known to take part."""
    extension = name.rpartition(".")[2]
    kind, mime = MIME[extension]
    url = (
        f"https://data-us.cometchat.io/275211/media/1682517838_2050398854_{number_of(name):032x}.{extension}"
    )
    one = {"extension": extension, "mimeType": mime, "name": name, "size": size, "url": url}
    content: dict[str, Any] = {"url": url, "attachments": [one]}
    if caption is not None:
        content["text"] = caption
    return Say(
        at=at, sender=sender, to=to, content=content, type=kind, is_group=is_group, label=label,
        visible_after=visible_after,
        expect=attachment(sender, *(() if is_group else (to,)), gone=gone),
    )  # fmt: skip


def number_of(name: str) -> int:
    """A repeatable number for a file name (Python's own hash differs from run to run)."""
    return Random(name).getrandbits(128)
