"""`cometwatch messages` and `cometwatch doctor`: ask CometChat itself; nothing is stored, nothing is sent."""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from monitor.cli.given import Given, given, moment, print_json, print_table, say
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.doctor import Report
    from monitor.settings.model import Api
    from monitor.source.client import Client, Endpoint, MessageQuery
    from monitor.source.pages import Count, Page
    from rules.model import Attachment, Message

T = TypeVar("T")

PAGE: Final = 20  # what a person reads at once

MESSAGES_HELP: Final = """Show one page of a user's messages, with every filter of the API.

Example:  cometwatch messages superhero2 --categories call --from-timestamp 2026-11-22T08:00:00Z

In place of a uid, @group:GUID shows a group's own list and @app that of the whole app.

Without a settings file, say where to ask and with which key:
cometwatch messages superhero2 --base-url http://127.0.0.1:9000/v3 --api-key-file ./apikey
(or set COMETWATCH_API__API_KEY). Some filters are paid features of CometChat: see cometwatch doctor.
"""
DOCTOR_HELP: Final = """Find out what your CometChat app shows us, with at most 25 requests that only read.

Example:  cometwatch doctor --user superhero2

Take a user with some messages, calls and group messages; --group names a group to look at, if the user's
own should not do. It ends with the watch.source that fits. --json is fit for a bug report: it holds no key,
uid, name or text.
"""


class Affix(StrEnum):
    APPEND = "append"
    PREPEND = "prepend"


class Source(StrEnum):
    USER = "user"
    USER_ALL = "user-all"


def register(app: typer.Typer) -> None:
    app.command("messages", help=MESSAGES_HELP)(messages)
    app.command("doctor", help=DOCTOR_HELP)(doctor)


# --- options ----------------------------------------------------------------------------------------------


def _words(value: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in value.split(",") if word.strip())
    if not words:
        raise typer.BadParameter("give words with commas between, for example audio,video")
    return words


def _instant(value: str) -> datetime:
    try:
        if re.fullmatch(r"[0-9]{1,11}", value):
            return datetime.fromtimestamp(int(value), UTC)
        found = datetime.fromisoformat(value)
    except ValueError as wrong:
        text = "give an ISO time or unix seconds, for example 2026-11-22T08:00:00Z"
        raise typer.BadParameter(text) from wrong
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _id(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", value):
        raise typer.BadParameter("give the digits of a message id, for example 1776")
    return int(value)


Words = Annotated[Any, typer.Option(parser=_words, metavar="A,B")]
Instant = Annotated[Any, typer.Option(parser=_instant, metavar="TIME")]
Flag = Annotated[bool | None, typer.Option()]
BaseUrl = Annotated[str | None, typer.Option(help="Where to ask, instead of the settings' app and region.")]
KeyFile = Annotated[Path | None, typer.Option(help="The file that holds the API key.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for machines instead of a table.")]


def messages(
    ctx: typer.Context,
    uid: Annotated[str, typer.Argument(metavar="UID")],
    *,
    as_json: AsJson = False,
    source: Annotated[
        Source | None, typer.Option(help="user: their own list; user-all: GET /messages on their behalf.")
    ] = None,
    on_behalf_of: Annotated[str | None, typer.Option(help="Only the conversation with this user.")] = None,
    affix: Annotated[Affix, typer.Option(help="Rows after --id, or before it.")] = Affix.PREPEND,
    id_: Annotated[Any, typer.Option("--id", parser=_id, metavar="ID", help="Where the page begins.")] = None,
    per_page: Annotated[int | None, typer.Option(min=1, max=1000, help=f"Rows; {PAGE} if not said.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, max=1000, help="The same by its other name.")] = None,
    search_key: Annotated[str | None, typer.Option(help="Text that occurs in the message.")] = None,
    category: Annotated[str | None, typer.Option(help="message, call, action, custom, …")] = None,
    categories: Words = None,
    type_: Annotated[str | None, typer.Option("--type", help="text, image, audio, …")] = None,
    types: Words = None,
    sender: Annotated[str | None, typer.Option(help="Only from this user.")] = None,
    from_timestamp: Instant = None,
    to_timestamp: Instant = None,
    tags: Words = None,
    with_tags: Flag = None,
    hide_replies: Flag = None,
    unread: Flag = None,
    undelivered: Flag = None,
    count: Annotated[bool, typer.Option("--count", help="Numbers for each peer, not messages.")] = False,
    has_attachments: Flag = None,
    attachment_types: Words = None,
    has_mentions: Flag = None,
    mentioned_uids: Words = None,
    my_mentions_only: Flag = None,
    mentions_with_blocked_info: Flag = None,
    mentions_with_tag_info: Flag = None,
    has_links: Flag = None,
    has_reactions: Flag = None,
    base_url: BaseUrl = None,
    api_key_file: KeyFile = None,
) -> None:
    from monitor.source.client import Affix as WireAffix
    from monitor.source.client import MessageQuery

    if per_page is None and limit is None:
        per_page = limit = PAGE  # which of the two counts is not documented
    query = MessageQuery(
        search_key=search_key,
        has_attachments=has_attachments,
        attachment_types=attachment_types,
        has_mentions=has_mentions,
        has_links=has_links,
        mentioned_uids=mentioned_uids,
        unread=unread,
        undelivered=undelivered,
        hide_replies=hide_replies,
        affix=WireAffix(affix.value),
        id=id_,
        category=category,
        categories=categories,
        type=type_,
        types=types,
        my_mentions_only=my_mentions_only,
        has_reactions=has_reactions,
        sender=sender,
        mentions_with_blocked_info=mentions_with_blocked_info,
        mentions_with_tag_info=mentions_with_tag_info,
        per_page=per_page,
        limit=limit,
        from_timestamp=from_timestamp,
        to_timestamp=to_timestamp,
        with_tags=with_tags,
        tags=tags,
    )
    where = Where(given(ctx), base_url, api_key_file)
    chosen = source.value if source else where.source(on_behalf_of)
    endpoint, name = _place(uid, chosen, on_behalf_of)
    if count:
        _show_counts(
            where.ask(
                lambda client: client.counts(name, query, endpoint=endpoint, on_behalf_of=on_behalf_of)
            ),
            as_json=as_json,
        )
        return
    page = where.ask(
        lambda client: client.messages(name, query, endpoint=endpoint, on_behalf_of=on_behalf_of)
    )
    for reject in page.rejects:
        say(f"row {reject.message_id or 'without an id'} can't be read: {reject.reason}")
    if as_json:
        _print_lines(page)
    else:
        _print_page(page, uid, query)


def doctor(
    ctx: typer.Context,
    *,
    user: Annotated[str, typer.Option(metavar="UID", help="A user with messages, calls and groups.")],
    group: Annotated[str | None, typer.Option(metavar="GUID", help="A group with messages.")] = None,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    api_key_file: KeyFile = None,
) -> None:
    from monitor.doctor import examine
    from rules.model import UserId

    where = Where(given(ctx), base_url, api_key_file)
    if sys.stderr.isatty():
        say("Asking CometChat, at most 25 requests …")
    why: list[str] = []
    report = where.ask(
        lambda client: examine(client, UserId(_lower(user)), base_url=where.url, guid=group, tell=why.append)
    )
    if as_json:
        print_json(report)
    else:
        _print_report(report)
    if report.stopped:
        say(f"Stopped early, what was not asked is unknown: {'; '.join(why)}")
        raise typer.Exit(1)


# --- where to ask -----------------------------------------------------------------------------------------


class Where:
    """The API that a command asks: the settings', or what options and variables say without a file."""

    def __init__(self, from_root: Given, base_url: str | None, key_file: Path | None) -> None:
        self._given = from_root
        self._api = _overridden(from_root, base_url, key_file)

    @property
    def api(self) -> Api:
        return self._api

    @property
    def url(self) -> str:
        from monitor.source.client import base_url

        return self._api.base_url or base_url(self._api.app_id or "", self._api.region or "")

    def source(self, on_behalf_of: str | None) -> str:
        """The settings' `watch.source`, unless the question is about one conversation."""
        if self._given.config is None or on_behalf_of is not None:
            return "user"
        return self._given.settings().watch.source

    def ask(self, question: Callable[[Client], Awaitable[T]]) -> T:
        """The answer. Raises SourceError, ConfigError."""
        import trio

        from monitor.clock import Clock
        from monitor.source.client import Client
        from monitor.source.transport import open_http

        async def asked() -> T:
            async with open_http() as http:
                client = Client(
                    base_url=self.url,
                    api_key=self._api.key,
                    http=http,
                    clock=Clock(),
                    timeout_s=self._api.timeout.total_seconds(),
                    max_body=self._api.max_body,
                )
                return await question(client)

        return trio.run(asked)


def _overridden(from_root: Given, base_url: str | None, key_file: Path | None) -> Api:
    changes: dict[str, Any] = {}
    if base_url is not None:
        changes |= {"base_url": base_url, "app_id": None, "region": None}
    if key_file is not None:
        changes |= {"api_key_file": str(key_file), "api_key": None}
    if from_root.config is not None:
        return from_root.settings().api.model_copy(update=changes)
    return _api_alone(from_root, changes)


def _api_alone(from_root: Given, changes: dict[str, Any]) -> Api:
    """The API section from options and COMETWATCH_API__ variables: the rest of the settings is not needed."""
    from pydantic import ValidationError

    from monitor.settings.model import Api

    prefix = "COMETWATCH_API__"
    told = {
        name[len(prefix) :].lower(): value
        for name, value in from_root.env.items()
        if name.startswith(prefix) and name[len(prefix) :].lower() in Api.model_fields
    }
    wanted = {name: value for name, value in {**told, **changes}.items() if value is not None}
    try:
        return Api.model_validate(wanted, context={"folder": Path()})
    except ValidationError as wrong:
        problems = "; ".join(
            f"{'.'.join(map(str, ('api', *error['loc'])))}: {error['msg']}"
            for error in wrong.errors(include_url=False, include_input=False)
        )
        raise ConfigError(
            f"{problems}; give --config FILE, or --base-url and --api-key-file (or COMETWATCH_API__API_KEY)"
        ) from None


def _place(asked: str, source: str, on_behalf_of: str | None) -> tuple[Endpoint, str]:
    """Which list to read: a user's by its source, a group's or the app's by their own ids."""
    from monitor.lists import is_person, place_of
    from monitor.source.client import Endpoint
    from rules.model import ListId

    list_id = ListId(_lower(asked) if is_person(ListId(asked)) else asked)
    endpoint, name = place_of(list_id, source)
    if endpoint is Endpoint.USER and not is_person(list_id):
        raise typer.BadParameter(f"{asked!r} is no list; give a uid, @group:GUID or @app")
    if endpoint in {Endpoint.USER_ALL, Endpoint.APP} and on_behalf_of is not None:
        raise typer.BadParameter(
            "only a user's own list has one conversation of theirs: leave out --on-behalf-of"
        )
    return endpoint, name


def _lower(uid: str) -> str:
    if uid != uid.lower():
        say(f"uids are lower case in CometChat: asking for {uid.lower()}")
    return uid.lower()


# --- showing ----------------------------------------------------------------------------------------------


def _print_lines(page: Page) -> None:
    import msgspec

    for message in page.messages:
        typer.echo(msgspec.json.encode(message).decode())


def _print_page(page: Page, uid: str, query: MessageQuery) -> None:
    print_table(
        ("id", "sent", "from", "to", "what", "content"),
        [_cells(message) for message in page.messages],
        empty="No messages.",
    )
    if page.min_id is None or page.max_id is None:
        return
    is_forward = query.affix == "append"
    words, edge = ("Newer", page.max_id) if is_forward else ("Older", page.min_id)
    say(f"{words}: cometwatch messages {uid} --affix {query.affix} --id {edge}")


def _cells(message: Message) -> tuple[str, ...]:
    to = message.receiver.label if message.receiver_type == "user" else f"group {message.receiver.label}"
    what = f"{message.category}/{message.type}" + (f" {message.action}" if message.action else "")
    content = " ".join(part for part in _content(message) if part)
    return (str(message.id), moment(message.sent_at), message.sender.label, to, what, content)


def _content(message: Message) -> list[str]:
    call = message.call
    everyone = ("all",) if message.mentions_all else ()
    return [
        message.text or "",
        *(_file(attachment) for attachment in message.attachments),
        f"[mentions {', '.join((*everyone, *message.mentions))}]" if message.mentions or everyone else "",
        f"[{call.caller.label} called {call.callee.label}]" if call else "",
        f"[about message {message.target_id}]" if message.target_id else "",
        f"[about {message.subject.label}]" if message.subject else "",
        f"[in thread {message.parent_id}]" if message.parent_id else "",
        f"[tags {', '.join(message.tags)}]" if message.tags else "",
        "[deleted]" if message.deleted_at else "[edited]" if message.edited_at else "",
    ]


def _file(attachment: Attachment) -> str:
    size = f", {attachment.size} bytes" if attachment.size is not None else ""
    return f"[file {attachment.name or 'without a name'}{size}]"


def _show_counts(counts: tuple[Count, ...], *, as_json: bool) -> None:
    import msgspec

    if as_json:
        for count in counts:
            typer.echo(msgspec.json.encode(count).decode())
        return
    rows = [(str(count.count), count.entity_type, count.entity_id, count.name or "") for count in counts]
    print_table(("messages", "of", "id", "name"), rows, empty="No messages.")


def _requests(number: int) -> str:
    return "1 request, a read" if number == 1 else f"{number} requests, reads all of them"


def _print_report(report: Report) -> None:
    typer.echo(f"{report.api}: {_requests(report.requests)}\n")
    for fact in report.facts:
        answer = typer.style(fact.answer, bold=fact.is_known, dim=not fact.is_known)
        typer.echo(f"{fact.question} {answer}")
        typer.echo(f"  {fact.meaning}")
        typer.echo(typer.style(f"  {fact.evidence}\n", dim=True))
