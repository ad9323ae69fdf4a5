"""`cometwatch outbox …`, `mute`, `mutes`, `unmute`: what is delivered, and what for a while is not.

Each change is one short transaction; the running monitor takes it up within five seconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from monitor.cli.given import AsJson, branch, given, moment, print_json, print_table, say
from monitor.cli.silencing import added, signed
from monitor.clock import system_wall
from monitor.errors import ConfigError, NotStored
from monitor.silencing import Wish, planned
from monitor.store.values import Attempt, Entry, EntryId, EntryState, Matcher, Silence
from monitor.web.view import AlertView, EntryView

SHORT: Final = 12  # characters of an alert's id, as `explain` takes it

Limit = Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")]
Ids = Annotated[
    list[int] | None, typer.Argument(metavar="ID...", help="Entries, as `outbox list` shows them.")
]
SOON = "the running monitor takes this up within 5 seconds"

LIST_HELP = """List entries, the latest first: one for each alert, status and receiver.

Example: cometwatch outbox list --receiver oncall --state dead
"""
SHOW_HELP = """Show one entry with its alert and every attempt to deliver it.

Example: cometwatch outbox show 42
"""
REDRIVE_HELP = """Send dead letters again: some entries, or all of a receiver.

Example: cometwatch outbox redrive --receiver oncall
"""
DROP_HELP = """Give up entries that wait or are dead: some, or all of a receiver. The record says why.

Example: cometwatch outbox drop 42 43 --reason "test messages"
"""
MUTE_HELP = """Record a rule's alerts, but send none for a while: a silence of rule=NAME, in short.

Example: cometwatch mute --rule missed-call --for 2h --reason "phone system is being moved"
"""
MUTES_HELP = """List the silences in force, by rule or by other labels.

Example: cometwatch mutes
"""
UNMUTE_HELP = """End a mute now, as `silence expire` does.

Example: cometwatch unmute 3
"""


def register(app: typer.Typer) -> None:
    outbox = branch(
        app,
        "outbox",
        about="List, show, redrive or drop what is to be delivered.",
        example="cometwatch outbox list --state dead",
    )
    outbox.command("list", help=LIST_HELP)(list_entries)
    outbox.command("show", help=SHOW_HELP)(show)
    outbox.command("redrive", help=REDRIVE_HELP)(redrive)
    outbox.command("drop", help=DROP_HELP)(drop)
    app.command("mute", help=MUTE_HELP)(mute)
    app.command("mutes", help=MUTES_HELP)(mutes)
    app.command("unmute", help=UNMUTE_HELP)(unmute)


def list_entries(
    ctx: typer.Context,
    *,
    receiver: Annotated[str | None, typer.Option(help="Only of this receiver.")] = None,
    state: Annotated[EntryState | None, typer.Option(help="Only in this state.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    with given(ctx).store() as store:
        entries = store.entries(receiver=receiver, state=state, limit=limit)
    if as_json:
        print_json({"entries": [EntryView.of(entry) for entry in entries]})
        return
    columns = ("id", "state", "receiver", "found", "rule", "alert", "title", "reason")
    print_table(columns, map(_row, entries), empty="No entries.")
    if len(entries) == limit:
        say(f"only the latest {limit} are shown; --limit shows more")


def _row(entry: Entry) -> tuple[str, ...]:
    alert = entry.alert
    title = f"{alert.title} (resolved)" if alert.status == "resolved" else alert.title
    state = f"{entry.state} (late)" if entry.late else str(entry.state)
    return (
        str(entry.id), state, entry.receiver or "-", moment(alert.first_seen_at), alert.rule,
        alert.id[:SHORT], title, entry.reason or "",
    )  # fmt: skip


def show(
    ctx: typer.Context,
    entry_id: Annotated[int, typer.Argument(metavar="ID", help="As `outbox list` shows it.")],
    *,
    as_json: AsJson = False,
) -> None:
    with given(ctx).store() as store:
        entry = store.entry(EntryId(entry_id))
        if entry is None:
            raise NotStored(f"there is no entry {entry_id}: `cometwatch outbox list` shows the latest")
        attempts = store.attempts(entry.notification) if entry.notification else []
    if as_json:
        print_json({"entry": EntryView.of(entry), "attempts": attempts})
        return
    print_table(("", ""), _facts(entry), empty="")
    if attempts:
        typer.echo()
        print_table(("attempt", "outcome", "detail"), map(_attempt, attempts), empty="")


def _facts(entry: Entry) -> list[tuple[str, str]]:
    alert = AlertView.of(entry.alert)
    facts: dict[str, Any] = {
        "entry": entry.id,
        "state": f"{entry.state} (late)" if entry.late else entry.state,
        "reason": entry.reason,
        "receiver": entry.receiver or "none",
        "entered": moment(entry.created_at),
        "settled": moment(entry.settled_at),
        "notification": entry.notification,
        "alert": alert.id,
        "status": alert.status,
        "resolution": alert.resolution,
        "rule": f"{alert.rule} ({alert.severity})",
        "title": alert.title,
        "summary": alert.summary,
        "conversation": alert.conversation_id,
        "watched": ", ".join(alert.watched_users),
        "happened": moment(alert.event_at),
        "found": moment(alert.first_seen_at),
        "messages": ", ".join(alert.message_ids),
        "labels": ", ".join(f"{key}={value}" for key, value in alert.labels.items()),
    }
    return [(name, str(value)) for name, value in facts.items() if value not in (None, "", "-")]


def _attempt(attempt: Attempt) -> tuple[str, str, str]:
    return moment(attempt.at), attempt.outcome, attempt.detail


def redrive(
    ctx: typer.Context,
    ids: Ids = None,
    *,
    receiver: Annotated[str | None, typer.Option(help="All dead letters of this receiver.")] = None,
    as_json: AsJson = False,
) -> None:
    which = _which(ids, receiver, "redrive")
    with given(ctx).store() as store, store.write() as tx:
        count = tx.redrive(which)
    _done(count, "redriven", as_json=as_json)


def drop(
    ctx: typer.Context,
    ids: Ids = None,
    *,
    reason: Annotated[str, typer.Option(help="Kept with each entry.")],
    receiver: Annotated[str | None, typer.Option(help="All that waits or is dead of this receiver.")] = None,
    as_json: AsJson = False,
) -> None:
    which = _which(ids, receiver, "drop")
    reason = _said(reason)
    with given(ctx).store() as store, store.write() as tx:
        count = tx.drop(which, reason)
    _done(count, "dropped", as_json=as_json)


def _which(ids: list[int] | None, receiver: str | None, verb: str) -> list[EntryId] | str:
    if bool(ids) == bool(receiver):
        raise ConfigError(
            f"say which: entries (outbox {verb} 42 43) or a receiver ({verb} --receiver oncall)"
        )
    return receiver or [EntryId(number) for number in ids or ()]


def _said(reason: str) -> str:
    if not reason.strip():
        raise ConfigError(
            '--reason is empty: whoever reads the record wants to know; --reason "test messages"'
        )
    return reason.strip()


def _done(count: int, verb: str, *, as_json: bool) -> None:
    if as_json:
        print_json({verb: count})
    else:
        typer.echo(f"{count} {'entry' if count == 1 else 'entries'} {verb}" + (f"; {SOON}" if count else ""))


# --- mutes ------------------------------------------------------------------------------------------


def mute(
    ctx: typer.Context,
    *,
    rule: Annotated[str, typer.Option(help="The rule's name, for example missed-call.")],
    length: Annotated[str, typer.Option("--for", help="How long: 30m, 2h, 3d.")],
    reason: Annotated[str, typer.Option(help="Kept with every alert that is not sent.")],
    as_json: AsJson = False,
) -> None:
    plan = planned(
        Wish(matchers=(str(Matcher(label="rule", value=rule)),), length=length, author=signed(None),
             comment=_said(reason)),
        now=system_wall(),
    )  # fmt: skip
    with given(ctx).store() as store:
        made = added(store, plan)
    if as_json:
        print_json({"mute": made})
    else:
        end = f"cometwatch unmute {made.id}"
        until = moment(made.ends_at)
        typer.echo(f"mute {made.id}: alerts of {rule} are not sent until {until}; `{end}` ends it; {SOON}")


def mutes(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    with given(ctx).store() as store:
        found = store.silences(system_wall())
    if as_json:
        print_json({"mutes": found})
    else:
        print_table(
            ("id", "alerts with", "until", "since", "reason"), map(_mute, found), empty="Nothing is muted."
        )


def _mute(one: Silence) -> tuple[str, ...]:
    matchers = ", ".join(map(str, one.matchers))
    return str(one.id), matchers, moment(one.ends_at), moment(one.starts_at), one.comment


def unmute(
    ctx: typer.Context,
    mute_id: Annotated[int, typer.Argument(metavar="ID", help="As `mutes` shows it.")],
    *,
    as_json: AsJson = False,
) -> None:
    with given(ctx).store() as store, store.write() as tx:
        tx.end_silence(mute_id)
    if as_json:
        print_json({"ended": mute_id})
    else:
        typer.echo(f"mute {mute_id} ended; {SOON}")
