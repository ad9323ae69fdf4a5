"""Titles, summaries and links: a small template language in a sandbox, over facts that may leave the house.

What a template can name never contains message text or the address of an attachment. Names come from
chat users and are hostile: every one is stripped of characters that could rearrange or hide text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, urlsplit

import jinja2
import re2
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from rules.conditions import file_type
from rules.grammar import did_you_mean
from rules.model import Attachment, Call, Message, Party

MAX_TITLE: Final = 200
MAX_SUMMARY: Final = 1_000
MAX_NAME: Final = 80
MAX_TEMPLATE: Final = 2_000
MAX_LINK: Final = 2_000

# What remains cannot loop, call, multiply or reach an attribute by a computed name: rendering takes time
# linear in template and names, so no limit on running time is needed.
ALLOWED: Final = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.CondExpr, nodes.Const, nodes.Name),
    *(nodes.Getattr, nodes.Getitem, nodes.Filter, nodes.Test, nodes.Compare, nodes.Operand),
    *(nodes.And, nodes.Or, nodes.Not, nodes.Concat, nodes.Keyword),
)
FILTERS: Final = (
    *("capitalize", "default", "first", "int", "join", "last", "length"),
    *("lower", "round", "title", "trim", "truncate", "upper"),
)
TESTS: Final = ("defined", "undefined", "none", "in", "eq", "ne", "lt", "le", "gt", "ge", "string", "number")


class TemplateError(ValueError):
    """A template that can't be used; the message says why."""


# --- hostile text -----------------------------------------------------------------------------------

# Invisible or direction-changing characters that are not in category Cc, Cs, Zl or Zp. ZWJ and ZWNJ stay:
# emoji and Persian words are made with them.
HIDDEN: Final = frozenset(
    (
        *(0x200B, 0x200E, 0x200F, 0x061C, 0x2060, 0xFEFF),
        *range(0x202A, 0x202F),  # embeddings and overrides
        *range(0x2066, 0x206A),  # isolates
        *range(0xE0000, 0xE0080),  # tags
        *range(0xFFF9, 0xFFFC),  # interlinear annotations
    )
)
MARKS_IN_A_ROW: Final = 4  # enough for any living script; more only smears over the lines around


def plain(text: str, limit: int) -> str:
    """One line of visible text, at most `limit` characters: nothing that hides or reorders the rest."""
    text = text[: 8 * limit]
    if not (text.isascii() and text.isprintable()):
        text = "".join(_visible(text))
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _visible(text: str) -> Iterator[str]:
    marks = 0
    for char in text:
        category = unicodedata.category(char)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if category in ("Cc", "Zl", "Zp"):
            yield " "
        elif category == "Cs":
            yield "\ufffd"
        elif ord(char) not in HIDDEN and marks <= MARKS_IN_A_ROW:
            yield char


def name(text: str | None) -> str:
    return plain(text or "", MAX_NAME)


# --- what a template can name -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Person:
    """A user or group: `label` is display name and id."""

    id: str
    name: str
    role: str
    label: str


@dataclass(frozen=True, slots=True)
class File:
    name: str
    extension: str
    mime_type: str
    type: str
    size: str


@dataclass(frozen=True, slots=True)
class Row:
    """A message without its text."""

    id: str
    category: str
    type: str
    action: str
    sent_at: str
    conversation_id: str
    receiver_type: str
    is_group: bool
    is_reply: bool
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CallFacts:
    """A call as a whole. `outcome` says what became of it, `rang` for how long it rang, if known."""

    type: str
    outcome: str
    session_id: str
    started_at: str
    rang: str


Facts = Mapping[str, Any]


def person(party: Party) -> Person:
    said, uid = name(party.name), name(party.id)
    return Person(
        id=uid,
        name=said or uid,
        role=name(party.role),
        label=f"{said} ({uid})" if said and said != uid else uid,
    )


def moment(at: datetime | None) -> str:
    """`2026-11-22 08:00:00 UTC`, or nothing."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at else ""


def span(length: timedelta | None) -> str:
    """`45 s`, `2 min 5 s`, or nothing."""
    if length is None:
        return ""
    minutes, seconds = divmod(round(length.total_seconds()), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def file(attachment: Attachment, message: Message) -> File:
    return File(
        name=name(attachment.name) or "unnamed",
        extension=name(attachment.extension),
        mime_type=name(attachment.mime_type),
        type=file_type(attachment, message),
        size=size(attachment.size),
    )


def size(count: int | None) -> str:
    """`48.2 kB`, or nothing."""
    if count is None:
        return ""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def files_said(files: Sequence[File]) -> str:
    """The first three files in words, and how many more there are."""
    said = [f"{found.name} ({found.size})" if found.size else found.name for found in files[:3]]
    more = [f"{len(files) - 3} more"] if len(files) > 3 else []
    return ", ".join(said + more)


def row(message: Message) -> Row:
    return Row(
        id=str(message.id),
        category=name(message.category),
        type=name(message.type),
        action=name(message.action),
        sent_at=moment(message.sent_at),
        conversation_id=plain(message.conversation_id, 2 * MAX_NAME),
        receiver_type=name(message.receiver_type),
        is_group=message.receiver_type == "group",
        is_reply=message.parent_id is not None,
        tags=tuple(name(tag) for tag in message.tags[:25]),
    )


def message_facts(message: Message, watched: Sequence[str]) -> Facts:
    """What a template of a rule about single messages can name."""
    files = tuple(file(attachment, message) for attachment in message.attachments[:100])
    return {
        "sender": person(message.sender),
        "receiver": person(message.receiver),
        "subject": person(message.subject or Party(id="")),
        "message": row(message),
        "attachments": files,
        "files": files_said(files),
        "mentions": tuple(name(uid) for uid in message.mentions[:100]),
        "mentions_all": message.mentions_all,
        "watched": tuple(name(uid) for uid in watched),
    }


def call_facts(
    call: Call,
    kind: str,
    decided_by: Message,
    watched: Sequence[str],
    *,
    outcome: str,
    rang: timedelta | None,
) -> Facts:
    """What a template of a rule about calls can name. `kind` is audio or video."""
    return {
        "caller": person(call.caller),
        "callee": person(call.callee),
        "call": CallFacts(
            type=name(kind),
            outcome=outcome,
            session_id=name(call.session_id),
            started_at=moment(call.initiated_at),
            rang=span(rang),
        ),
        "message": row(decided_by),
        "watched": tuple(name(uid) for uid in watched),
    }


# --- templates --------------------------------------------------------------------------------------


def _printable(value: Any) -> Any:
    if isinstance(value, jinja2.Undefined):
        return str(value)  # raises, and names what is missing
    if isinstance(value, str | int | float):
        return value
    raise TypeError(f"a {type(value).__name__} is not text (a list becomes text by the filter join)")


def _join(values: Any, between: str = ", ") -> str:
    """Jinja's own `join` takes a text too, so that a chain of them would grow without bound."""
    if not isinstance(values, tuple):
        raise TypeError("the filter join takes a list")
    return str(between).join(str(_printable(value)) for value in values)


def _sandbox() -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # plain text; every sink escapes for its own wire
        finalize=_printable,
    )
    made.globals.clear()
    made.filters = {key: made.filters[key] for key in FILTERS} | {"join": _join}
    made.tests = {key: made.tests[key] for key in TESTS}
    return made


SANDBOX: Final = _sandbox()


class Template:
    """A checked template: one line of text, at most `limit` characters, from facts."""

    def __init__(self, text: str, *, limit: int, sample: Facts) -> None:
        """Raise `TemplateError` unless `text` is allowed and renders with `sample` to some text."""
        if len(text) > MAX_TEMPLATE:
            raise TemplateError(f"a template of {len(text)} characters, more than {MAX_TEMPLATE}")
        self.text = text
        self._limit = limit
        self._render = _compiled(text).render
        try:
            rendered = self._render(sample)
        except jinja2.UndefinedError as error:
            raise TemplateError(_undefined(str(error.message), sample)) from error
        except Exception as error:
            # Filters raise what they like (TypeError, ValueError, …) on values they don't take.
            raise TemplateError(f"it does not render: {error}") from error
        if not plain(rendered, limit):
            raise TemplateError("it renders to an empty text")

    def __call__(self, facts: Facts) -> str:
        """Raise whatever Jinja raises when these facts lack what the sample had."""
        return plain(self._render(facts), self._limit)


def _undefined(message: str, sample: Facts) -> str:
    """Jinja's words for a name that does not exist, without our class names, with the nearest right one."""
    slots = {slot for value in sample.values() for slot in getattr(type(value), "__slots__", ())}
    missing = message.split("'")[-2] if "'" in message else message
    close = did_you_mean(missing, {*sample, *slots})
    return f'there is no "{missing}" here{close}; a template can name: {", ".join(sample)}'


@lru_cache(maxsize=256)  # a thousand rules have few templates between them, mostly the default ones
def _compiled(text: str) -> jinja2.Template:
    try:
        tree = SANDBOX.parse(text)
        for node in tree.find_all(nodes.Node):
            _permit(node)
        return SANDBOX.from_string(text)
    except jinja2.TemplateError as error:
        raise TemplateError(f"not a template: {error.message}") from error
    except RecursionError as error:
        raise TemplateError("nested too deeply") from error


def _permit(node: nodes.Node) -> None:
    if not isinstance(node, ALLOWED):
        kind = type(node).__name__.lower()
        raise TemplateError(
            f"a template can't use {kind}: only values, filters, comparisons and if are allowed"
        )
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        raise TemplateError(f'there is no filter "{node.name}"; there are {", ".join(FILTERS)}')
    if isinstance(node, nodes.Test) and node.name not in TESTS:
        raise TemplateError(f'there is no test "{node.name}"; there are {", ".join(TESTS)}')


# --- links ------------------------------------------------------------------------------------------

PLACEHOLDERS: Final = ("app", "rule", "alert_id", "conversation_id", "message_id", "sender", "receiver")
PLACEHOLDER: Final = re2.compile(r"\{([^{}]*)\}")


def link_maker(template: str) -> Callable[[Mapping[str, str]], str]:
    """A function from facts to a link; raises `TemplateError` on a wrong template.

    Every value is percent-encoded, so that a hostile id can't change where the link leads.
    """
    parts = urlsplit(template)
    if parts.scheme not in ("http", "https") or not parts.netloc or "{" in parts.netloc:
        raise TemplateError("a link must begin with https:// and a fixed host")
    for word in PLACEHOLDER.findall(template):
        if word not in PLACEHOLDERS:
            raise TemplateError(f'there is no "{{{word}}}"; there are {", ".join(PLACEHOLDERS)}')

    def make(facts: Mapping[str, str]) -> str:
        return str(PLACEHOLDER.sub(lambda found: _quoted(facts[found.group(1)]), template))[:MAX_LINK]

    return make


def _quoted(value: str) -> str:
    return quote(value[:300], safe="", errors="replace")
