"""`cometwatch explain`: why an alert was raised and what became of it; what rules made of a message."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from monitor.cli.asking import Where
from monitor.cli.given import AsJson, Given, given, moment, print_json, print_table, recalled, say, span
from monitor.clock import system_wall
from monitor.configuration import Configuration, read
from monitor.errors import ConfigError, NotStored, StoreError
from monitor.evaluation import Orders
from monitor.explain.looking import (
    Answer,
    Case,
    Looked,
    MessageRecord,
    Remembered,
    conditions_of,
    keys_of,
    lists_of,
    reached,
    remarks,
)
from monitor.explain.secrecy import changes
from monitor.explain.story import AlertRecord, Cause, Story, Told, kind_of, messages_of, story
from monitor.lists import list_called, place_of
from monitor.logs import one_line
from monitor.source.client import Client, MessageQuery
from monitor.source.failures import UnknownUser
from monitor.source.pages import Undecodable, decode
from monitor.store.store import Store
from monitor.web.view import AlertView
from rules.model import Alert, AlertId, ListId, Message, MessageId, StateKey, UserId
from rules.tracing import Traced

HELP: Final = """Tell why an alert was raised and what became of it, or what the rules made of a message.

Give the id of an alert, as `outbox show` has it, or of a message. A message that is in no alert is fetched
from CometChat: with --user from the lists of these users, else from the lists in which it was read; or taken
from recorded answers with --from. The rules, routes and users are those of the settings as they are now.

Nothing of what people wrote is shown unless you say --text.

Example: cometwatch explain 17700 --user superhero2
"""

MOST_ASKED: Final = 20  # lists that are asked for a message: each costs a request
MOST_KEYS: Final = 50  # keys of one message that are looked up
MOST_DETAILS: Final = 20  # rules that are told in full, if none is named


def register(app: typer.Typer) -> None:
    app.command("explain", help=HELP)(explain)


def explain(
    ctx: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ALERT_OR_MESSAGE_ID")],
    *,
    user: Annotated[
        list[str] | None, typer.Option(metavar="UID", help="In whose list to look for a message.")
    ] = None,
    from_: Annotated[
        list[Path] | None, typer.Option("--from", metavar="FILE", help="Recorded answers that hold it.")
    ] = None,
    rule: Annotated[str | None, typer.Option(help="Tell of this rule only.")] = None,
    text: Annotated[bool, typer.Option("--text", help="Show what people wrote, too.")] = False,
    as_json: AsJson = False,
) -> None:
    source = given(ctx)
    with ExitStack() as stack:
        store = _store(source, stack, is_needed=not user and not from_)
        desk = Desk.of(source, store, shows_text=text)
        _must_exist(rule, desk.orders)
        alert = store.alert(AlertId(id_)) if store else None
        if alert is not None:
            _tell_alert(desk, alert, as_json=as_json)
        elif not (id_.isascii() and id_.isdigit() and len(id_) < 20):
            raise NotStored(
                f"there is no alert {one_line(id_)}: `cometwatch outbox list` shows the entries and `outbox "
                "show` the alert of one; of a message give the digits of its id"
            )
        else:
            found = desk.found(MessageId(int(id_)), user or [], from_ or [], source)
            _tell_message(desk, *found, only=rule, as_json=as_json)


def _store(source: Given, stack: ExitStack, *, is_needed: bool) -> Store | None:
    try:
        return stack.enter_context(source.store())
    except StoreError as problem:
        if is_needed:
            raise
        say(f"told without the store: {problem}")
        return None


def _must_exist(rule: str | None, orders: Orders) -> None:
    names = [one.name for one in orders.rules.rules]
    if rule is not None and rule not in names:
        raise ConfigError(f'there is no rule "{rule}": `cometwatch rules list` shows them')


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the explanation is made from."""

    configuration: Configuration
    orders: Orders
    store: Store | None
    shows_text: bool

    @classmethod
    def of(cls, source: Given, store: Store | None, *, shows_text: bool) -> Desk:
        written = read(source.config, source.env)
        configuration = recalled(written, store) if store else written
        return cls(
            configuration=configuration, orders=configuration.orders, store=store, shows_text=shows_text
        )

    def record(self, alert: Alert) -> AlertRecord:
        """All that is stored of an alert."""
        assert self.store is not None
        entries = self.store.entries_of(alert.id)
        sent = dict.fromkeys(entry.notification for entry in entries if entry.notification)
        sendings = {one: found for one in sent if (found := self.store.sending(one))}
        reasons = self.store.reasons(alert.id)
        keys = {StateKey(alert.rule, one.because.key) for one in reasons if one.because.key is not None}
        return AlertRecord(
            alert=alert,
            entries=tuple(entries),
            reasons=tuple(reasons),
            sendings=sendings,
            attempts={one: tuple(self.store.attempts(one)) for one in sendings},
            closures=tuple(self.store.closures_of(keys)),
        )

    def found(
        self, id_: MessageId, users: Sequence[str], files: Sequence[Path], source: Given
    ) -> tuple[Message, str]:
        """The message, and where it was found. Raises NotStored, SourceError, ConfigError."""
        if files:
            return _recorded(id_, files), ", ".join(map(str, files))
        if kept := None if users else self._kept(id_):
            return kept, "as its alert keeps it, without metadata"
        return self._fetched(id_, users, source)

    def _kept(self, id_: MessageId) -> Message | None:
        alerts = self.store.alerts_about(id_) if self.store else []
        return next((found for alert in alerts if (found := messages_of(self.record(alert)).get(id_))), None)

    def _fetched(self, id_: MessageId, users: Sequence[str], source: Given) -> tuple[Message, str]:
        lists = self._lists(id_, users)
        places = {one: place_of(one, self.configuration.settings.watch.source) for one in lists}
        if sys.stderr.isatty():
            say(f"Asking CometChat for message {id_} …")

        async def asked(client: Client) -> tuple[Message, str] | None:
            query = MessageQuery.after(MessageId(id_ - 1), 1)
            for list_id, (endpoint, name) in places.items():
                try:
                    page = await client.messages(name, query, endpoint=endpoint)
                except UnknownUser:
                    if users:
                        raise
                    continue  # one of many that are watched: the others may have it
                for message in page.messages:
                    if message.id == id_:
                        return message, f"in the list of {list_id}, as CometChat has it now"
            return None

        found = Where(source, None, None).ask(asked)
        if found is None:
            raise NotStored(self._nowhere(id_, lists))
        return found

    def _lists(self, id_: MessageId, users: Sequence[str]) -> list[ListId]:
        if users:
            return list(map(list_called, users))
        known = self.store.lists_having(id_) if self.store else []
        return (known or [ListId(UserId(one)) for one in self.configuration.terms])[:MOST_ASKED]

    def _nowhere(self, id_: MessageId, lists: Sequence[ListId]) -> str:
        rejects = self.store.rejects_of(id_) if self.store else []
        if rejects:
            return (
                f"message {id_} could not be read: {rejects[-1].reason}; "
                f"`cometwatch rejects show {rejects[-1].id}` shows its structure"
            )
        asked = ", ".join(lists) or "nobody is watched"
        return (
            f"message {id_} is in none of the lists that were asked ({asked}); say whose list has it with "
            "--user UID, or give recorded answers with --from FILE"
        )

    def message_record(self, message: Message) -> MessageRecord:
        """All that is stored around a message."""
        store = self.store
        if store is None:
            return MessageRecord()
        keys = sorted(keys_of(self.orders.rules, message))[:MOST_KEYS]
        alerts = store.alerts_about(message.id)
        lists = lists_of(self.orders, message)
        return MessageRecord(
            alerts=tuple(alerts),
            entries={alert.id: tuple(store.entries_of(alert.id)) for alert in alerts},
            states=store.states(keys),
            timers={timer.key: timer for timer in store.timers() if timer.key in keys},
            by_key={key: tuple(store.alerts_of(key)) for key in keys},
            closures=tuple(store.closures_of(keys)),
            rows={one: row for one in lists if (row := store.user(UserId(one)))},
            rejects=tuple(store.rejects_of(message.id)),
        )


def _recorded(id_: MessageId, files: Sequence[Path]) -> Message:
    for file in files:
        try:
            messages = decode(file.read_bytes()).messages
        except OSError as error:
            raise ConfigError(f"{file}: {error.strerror}; give JSON files such as page.json") from error
        except Undecodable as problem:
            raise ConfigError(f"{file}: {problem}") from problem
        if found := next((message for message in messages if message.id == id_), None):
            return found
    raise NotStored(f"message {id_} is not in {', '.join(map(str, files))}")


# --- an alert ---------------------------------------------------------------------------------------------


def _tell_alert(desk: Desk, alert: Alert, *, as_json: bool) -> None:
    record = desk.record(alert)
    told = story(record, routes=desk.orders.routes, watch=desk.orders.watch, shows_text=desk.shows_text)
    rule = next((one for one in desk.orders.rules.rules if one.name == alert.rule), None)
    messages = messages_of(record)
    traces = {
        str(message.id): conditions_of(rule, message, desk.orders, shows_text=desk.shows_text)
        for message in messages.values()
        if rule is not None
    }
    if as_json:
        texts = {str(one.id): one.text for one in messages.values()} if desk.shows_text else {}
        looks_for = rule.describe() if rule else None
        print_json(
            {
                "alert": AlertView.of(alert),
                "story": told,
                "rule": {"looks_for": looks_for, "traces": traces},
                **({"texts": texts} if desk.shows_text else {}),
            }
        )
        return
    _echo(_head(alert))
    _section("What happened, by our clock" + _skewed(told))
    print_table(
        ("when", "after", "what"), [(instant(s.at), _after(s.after_s), s.what) for s in told.steps], empty=""
    )
    _section("Why")
    _echo(line for cause in told.causes for line in _cause_lines(cause))
    _echo([] if told.causes else ["it is not recorded: the alert was found by an older version"])
    _section("Who was told")
    print_table(
        ("entry", "of", "receiver", "state", "after", "why"), map(_told_row, told.told), empty="nobody"
    )
    _section("Routes, as they are written now")
    _echo(told.routes)
    _section(f"The rule {alert.rule}, as it is written now")
    _echo([rule.describe()] if rule else ["there is no rule of this name any more"])
    for id_, message in messages.items():
        _echo([f"message {id_}: {kind_of(message)}"])
        _echo([f"  text: {message.text}"] if desk.shows_text and message.text else [])
        _echo(
            line for name, traced in traces.get(str(id_), {}).items() for line in _trace_lines(name, traced)
        )


def _head(alert: Alert) -> Iterator[str]:
    yield f"alert {alert.id}: {alert.status}, {alert.severity}, rule {alert.rule}"
    yield alert.title
    watched = ", ".join(alert.watched_users) or "nobody"
    yield f"in {alert.conversation_id}, about {watched}" + (
        f", brought up to date {alert.revision} times" if alert.revision else ""
    )
    if alert.resolution:
        yield f"over: {alert.resolution}"


def _skewed(told: Story) -> str:
    """How far CometChat's clock is off, if that is worth a word."""
    if abs(told.skew_s) < 1:
        return ""
    return f" (CometChat's is {span(abs(told.skew_s))} {'ahead' if told.skew_s > 0 else 'behind'})"


def _cause_lines(cause: Cause) -> Iterator[str]:
    by = [f"message {', '.join(map(str, cause.messages))}"] if cause.messages else []
    by += [f"nothing that came up to {instant(cause.tick)} of CometChat's clock"] if cause.tick else []
    by += [f"in the list of {cause.list}"] if cause.list else []
    yield f"{instant(cause.at)}  {cause.what} by {', '.join(by) or 'what was known'}"
    if cause.key is not None:
        yield f"  what the rule knows of {cause.key}:"
        yield from (f"    {change}" for change in cause.changes)


def _told_row(told: Told) -> tuple[str, ...]:
    marks = [name for name, is_so in (("late", told.late), ("summed", told.summed)) if is_so]
    state = str(told.state) + (f" ({', '.join(marks)})" if marks else "")
    after = ""
    if told.after_found_s is not None and told.after_event_s is not None:
        after = f"{_length(told.after_found_s)}, {_length(told.after_event_s)} after the event"
    why = [told.why or ""]
    why += [f"{told.attempts} attempts, again at {moment(told.next_at)}"] if told.next_at else []
    return (
        str(told.entry), told.status, told.receiver or "-", state, after, "; ".join(filter(None, why)),
    )  # fmt: skip


# --- a message --------------------------------------------------------------------------------------------


def _tell_message(desk: Desk, message: Message, place: str, *, only: str | None, as_json: bool) -> None:
    record = desk.message_record(message)
    case = Case(
        orders=desk.orders,
        message=message,
        record=record,
        now=system_wall(),
        shows_text=desk.shows_text,
    )
    looked = case.looked(only)
    lists = reached(desk.orders, message, record) if desk.store else ()
    notes = [*remarks(desk.orders, message, record), *_stale(desk)]
    if as_json:
        facts = {"id": str(message.id), "sent_at": message.sent_at, "what": kind_of(message), "found": place}
        shown = {"text": message.text} if desk.shows_text else {}
        print_json({"message": {**facts, **shown}, "lists": lists, "notes": notes, "rules": looked})
        return
    _echo([f"message {message.id}: {kind_of(message)}", f"sent {instant(message.sent_at)}, found {place}"])
    _echo([f"text: {message.text}"] if desk.shows_text and message.text else [])
    _echo(f"note: {note}" for note in notes)
    if desk.store:
        _section("Was it read?")
        _echo([f"{one.list}: {one.what}" for one in lists] or ["no list that is read could bring it"])
    _section("What the rules made of it")
    print_table(("rule", "kind", "answer", "why"), map(_looked_row, looked), empty="There are no rules.")
    for one in _worth_telling(looked, only):
        if not one.traces and not one.remembered:
            continue
        _section(f"{one.rule}: {one.answer}")
        _echo(line for name, traced in one.traces.items() for line in _trace_lines(name, traced))
        _echo(line for key in one.remembered for line in _remembered_lines(key))
    if alerts := [alert for one in looked for alert in one.alerts]:
        say(f"what became of it: cometwatch explain {alerts[0]}")


def _stale(desk: Desk) -> Iterator[str]:
    """Rules that differ from those that the running monitor adopted."""
    running = desk.store.fingerprints() if desk.store else {}
    for name, fingerprint in desk.orders.rules.fingerprints.items() if running else ():
        if name not in running:
            yield f"the rule {name} is not yet known to the monitor that wrote the store"
        elif running[name] != fingerprint:
            yield f"the rule {name} is not the one that the monitor last ran with"


def _worth_telling(looked: Sequence[Looked], only: str | None) -> Iterable[Looked]:
    if only is not None or len(looked) <= MOST_DETAILS:
        return looked
    say("only rules that had to do with it are told in full; --rule NAME tells of another one")
    return [one for one in looked if one.answer is not Answer.NO]


def _looked_row(one: Looked) -> tuple[str, ...]:
    return one.rule, one.kind, one.answer, one.why


def _remembered_lines(key: Remembered) -> Iterator[str]:
    yield f"  what the rule knows of {key.key} now:" + ("" if key.state else " nothing")
    yield from (f"    {part}" for part in (changes(None, key.state) if key.state else ()))
    if key.due is not None:
        lists = ", ".join(key.waits_for) or "every list"
        yield f"  judged again when {lists} was read past {moment(key.due)}"
    yield from (f"  ended without concluding {closed}" for closed in key.closed)
    yield from (f"  alert {alert}" for alert in key.alerts)


# --- printing ---------------------------------------------------------------------------------------------

LEAST: Final = 0.01  # seconds that matter to anybody
MARKS: Final[Mapping[bool | None, str]] = {True: "yes   ", False: "no    ", None: "failed"}


def _trace_lines(name: str, traced: Traced, depth: int = 0) -> Iterator[str]:
    title = f"{name}: " if not depth else ""
    found = f", found {traced.found}" if traced.found else ""
    quoted = f", in words {traced.quoted}" if traced.quoted is not None else ""
    failed = f", {traced.error}" if traced.error else ""
    yield f"  {MARKS[traced.value]} {'  ' * depth}{title}{traced.said}{found}{quoted}{failed}"
    for part in traced.parts:
        yield from _trace_lines(name, part, depth + 1)


def _section(title: str) -> None:
    typer.echo()
    typer.echo(one_line(title))


def _echo(lines: Iterable[Any]) -> None:
    for line in lines:
        typer.echo(one_line(str(line)))


def instant(at: datetime) -> str:
    """A time to the millisecond, in UTC."""
    told = at.astimezone(UTC)
    return f"{told:%Y-%m-%d %H:%M:%S}.{told.microsecond // 1000:03d}Z"


def _after(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return _length(seconds) if abs(seconds) < LEAST else f"+{_length(seconds)}"


def _length(seconds: float) -> str:
    """A length of time; also a negative one, where two clocks disagree."""
    if abs(seconds) < LEAST:
        return f"<{LEAST} s"
    return f"-{span(-seconds)}" if seconds < 0 else span(seconds)
