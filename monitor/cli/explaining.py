"""`cometwatch explain`: why an alert was raised and what became of it; what rules made of a message."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from monitor.cli.asking import Where
from monitor.cli.explained import show_alert, show_looked, show_message
from monitor.cli.given import AsJson, Given, given, print_json, recalled, rule_named, say
from monitor.clock import system_wall
from monitor.configuration import Configuration
from monitor.errors import ConfigError, NotStored, StoreError
from monitor.evaluation import Orders
from monitor.explain.looking import Case, MessageRecord, conditions_of, keys_of, lists_with, reached, remarks
from monitor.explain.story import AlertRecord, kind_of, messages_of, story
from monitor.history.recorded import body_of
from monitor.lists import list_called, place_of
from monitor.logs import one_line
from monitor.source.client import Client, MessageQuery
from monitor.source.failures import UnknownUser
from monitor.source.pages import Undecodable, decode
from monitor.store.store import Store
from monitor.web.view import AlertView
from rules.model import Alert, AlertId, ListId, Message, MessageId, StateKey, UserId

HELP: Final = """Tell why an alert was raised and what became of it, or what the rules made of a message.

Give the id of an alert, or how it begins, as `outbox list` has it; or the id of a message. A message that is
in no alert is fetched from CometChat: with --user from the lists of these users, else from the lists in which
it was read; or taken from recorded answers with --from. The rules, routes and users are those of the settings
as they are now.

What a rule remembers is told in words, with --state as it is stored, too. Nothing of what people wrote is
shown unless you say --text.

Example: cometwatch explain 17700 --user superhero2
"""

SHORTEST: Final = 6  # characters that an alert's id may be cut to
MOST_ASKED: Final = 20  # lists that are asked for a message: each costs a request
MOST_KEYS: Final = 50  # keys of one message that are looked up


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
    state: Annotated[
        bool, typer.Option("--state", help="Show what rules remember as it is stored, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    source = given(ctx)
    with ExitStack() as stack:
        store = _store(source, stack, is_needed=not user and not from_)
        desk = Desk.of(source, store, shows_text=text)
        if rule is not None:
            rule_named(desk.orders.rules, rule)
        alert = _alert(store, id_) if store else None
        if alert is not None:
            _tell_alert(desk, alert, shows_state=state, as_json=as_json)
        elif not (id_.isascii() and id_.isdigit() and len(id_) < 20):
            raise NotStored(
                f"there is no alert {one_line(id_)}, or several begin so: `cometwatch outbox list` shows "
                "them; of a message give the digits of its id"
            )
        else:
            found = desk.found(MessageId(int(id_)), user or [], from_ or [], source)
            _tell_message(desk, *found, only=rule, shows_state=state, as_json=as_json)


def _alert(store: Store, id_: str) -> Alert | None:
    """The alert of this id, or the only one whose id begins so. Digits alone are a message's."""
    is_start = len(id_) >= SHORTEST and not id_.isdigit()
    return store.alert(AlertId(id_)) or (store.alert_beginning(id_) if is_start else None)


def _store(source: Given, stack: ExitStack, *, is_needed: bool) -> Store | None:
    try:
        return stack.enter_context(source.store())
    except StoreError as problem:
        if is_needed:
            raise
        say(f"told without the store: {problem}")
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the explanation is made from."""

    configuration: Configuration
    orders: Orders
    store: Store | None
    shows_text: bool

    @classmethod
    def of(cls, source: Given, store: Store | None, *, shows_text: bool) -> Desk:
        written = source.configuration()
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
            ack=self.store.acks([alert.id]).get(alert.id),
            shown=tuple(self.store.shown_of(alert.id)),
            flushes=self.store.flushes_of(alert.id),
            ahead=tuple(self.store.escalations_of(alert.id)),
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
        lists = lists_with(self.orders, message)
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
            messages = decode(body_of(file)).messages
        except Undecodable as problem:
            raise ConfigError(f"{file}: {problem}") from problem
        if found := next((message for message in messages if message.id == id_), None):
            return found
    raise NotStored(f"message {id_} is not in {', '.join(map(str, files))}")


def _tell_alert(desk: Desk, alert: Alert, *, shows_state: bool, as_json: bool) -> None:
    record = desk.record(alert)
    told = story(record, routes=desk.orders.routes, watch=desk.orders.watch, shows_text=desk.shows_text)
    rule = next((one for one in desk.orders.rules.rules if one.name == alert.rule), None)
    messages = messages_of(record).values()
    traces = {
        str(message.id): conditions_of(rule, message, desk.orders, shows_text=desk.shows_text)
        for message in messages
        if rule is not None
    }
    if not as_json:
        show_alert(alert, told, rule, messages, traces, shows_text=desk.shows_text, shows_state=shows_state)
        return
    looks_for = rule.describe() if rule else None
    texts = {"texts": {str(one.id): one.text for one in messages}} if desk.shows_text else {}
    explained = {"story": told, "rule": {"looks_for": looks_for, "traces": traces}, **texts}
    print_json({"alert": AlertView.of(alert), **explained})


def _tell_message(
    desk: Desk, message: Message, place: str, *, only: str | None, shows_state: bool, as_json: bool
) -> None:
    record = desk.message_record(message)
    case = Case(
        orders=desk.orders, message=message, record=record, now=system_wall(), shows_text=desk.shows_text
    )
    looked = case.looked(only)
    lists = reached(desk.orders, message, record) if desk.store else None
    notes = [*remarks(desk.orders, message, record), *_stale(desk)]
    if not as_json:
        show_message(message, place, lists, notes, shows_text=desk.shows_text)
        show_looked(looked, in_full=only is not None, shows_state=shows_state)
        return
    facts = {"id": str(message.id), "sent_at": message.sent_at, "what": kind_of(message), "found": place}
    shown = {"text": message.text} if desk.shows_text else {}
    print_json({"message": {**facts, **shown}, "lists": lists or (), "notes": notes, "rules": looked})


def _stale(desk: Desk) -> Iterator[str]:
    """Rules that differ from those that the running monitor adopted."""
    running = desk.store.fingerprints() if desk.store else {}
    for name, fingerprint in desk.orders.rules.fingerprints.items() if running else ():
        if name not in running:
            yield f"the rule {name} is not yet known to the monitor that wrote the store"
        elif running[name] != fingerprint:
            yield f"the rule {name} is not the one that the monitor last ran with"
