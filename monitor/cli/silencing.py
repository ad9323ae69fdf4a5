"""`cometwatch silence …`, `ack`, `unack`, `alerts`: what fires, who looks after it, and what is not sent.

Each change is one short transaction; the running monitor takes it up within five seconds.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final

import typer

from monitor.cli.given import AsJson, branch, given, instant, moment, print_json, print_table, say
from monitor.clock import system_wall
from monitor.errors import ConfigError, NotStored
from monitor.silencing import Plan, Wish, check_rules, planned, said
from monitor.silencing import until as ending
from monitor.store.store import Store
from monitor.store.values import Ack, Entry, EntryState, Silence
from monitor.web.view import AlertView, EntryView
from rules.model import Alert, AlertId, RuleName, Status

SHORT: Final = 12  # characters of an alert's id, as every command takes it
SHORTEST: Final = 6
SOON: Final = "the running monitor takes this up within 5 seconds"

Limit = Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")]
Number = Annotated[
    int, typer.Argument(metavar="ID", min=1, max=2**63 - 1, help="As `silence list` shows it.")
]
Author = Annotated[str | None, typer.Option(help="Who says so; if not told, the user of this machine.")]
Alerts = Annotated[
    list[str], typer.Argument(metavar="ALERT...", help="Ids, or how they begin, as `alerts list` has them.")
]

ADD_HELP = """Record the alerts that all MATCHERS take, but send none of them for a while.

A matcher compares a label with a text: team=payments, severity!=critical, rule=~"missed-.*", user!~"bot-.*".
The labels are those that routes see: rule, severity, and those of rules and of watched users. What still
fires at the end is sent then.

Example: cometwatch silence add team=payments severity!=critical --for 2h --comment "phone system is moved"
"""
LIST_HELP = """List the silences in force and to come; --all shows those that are over, too.

Example: cometwatch silence list
"""
SHOW_HELP = """Show one silence and the alerts that it holds.

Example: cometwatch silence show 3
"""
EXPIRE_HELP = """End a silence now. Of the alerts that it holds, those that still fire are sent.

Example: cometwatch silence expire 3
"""
EXTEND_HELP = """Let a silence that is not over last until so long from now.

Example: cometwatch silence extend 3 --for 1h
"""
ACK_HELP = """Say that somebody looks after alerts: they are neither repeated nor escalated any more.

Receivers that keep their messages up to date show who it is.

Example: cometwatch ack 3f9a01c2b7d4 --comment "calling back"
"""
UNACK_HELP = """Take an acknowledgement back: the alerts are repeated again while they fire.

Example: cometwatch unack 3f9a01c2b7d4
"""
ALERTS_HELP = """List alerts, the last found first: what fires, who looks after it, what is silenced.

Example: cometwatch alerts list --status firing
"""


def register(app: typer.Typer) -> None:
    silence = branch(
        app,
        "silence",
        about="Stop alerts by their labels for a while; list, show, end what was stopped.",
        example="cometwatch silence list",
    )
    silence.command("add", help=ADD_HELP)(add)
    silence.command("list", help=LIST_HELP)(list_silences)
    silence.command("show", help=SHOW_HELP)(show)
    silence.command("expire", help=EXPIRE_HELP)(expire)
    silence.command("extend", help=EXTEND_HELP)(extend)
    app.command("ack", help=ACK_HELP)(ack)
    app.command("unack", help=UNACK_HELP)(unack)
    alerts = branch(app, "alerts", about="List the alerts that were found.", example="cometwatch alerts list")
    alerts.command("list", help=ALERTS_HELP)(list_alerts)


# --- silences ---------------------------------------------------------------------------------------


def add(
    ctx: typer.Context,
    matchers: Annotated[list[str], typer.Argument(metavar="MATCHER...", help="For example team=payments.")],
    *,
    comment: Annotated[str, typer.Option(help="Kept with every alert that is not sent.")],
    length: Annotated[str | None, typer.Option("--for", help="How long: 30m, 2h, 3d.")] = None,
    until: Annotated[str | None, typer.Option(help="Until when: 2026-11-22T18:00:00Z.")] = None,
    starts: Annotated[str | None, typer.Option(help="From when on, if not from now.")] = None,
    author: Author = None,
    as_json: AsJson = False,
) -> None:
    wish = Wish(
        matchers=tuple(matchers),
        length=length,
        starts_at=instant(starts, "--starts") if starts else None,
        ends_at=instant(until, "--until") if until else None,
        author=signed(author),
        comment=comment,
    )
    with given(ctx).store() as store:
        made = added(store, planned(wish, now=system_wall()))
    if as_json:
        print_json({"silence": made})
        return
    held = f"alerts with {_matchers(made)} are not sent {_while(made)}"
    typer.echo(f"silence {made.id}: {held}; `cometwatch silence expire {made.id}` ends it; {SOON}")


def added(store: Store, plan: Plan) -> Silence:
    """Store a silence. Raises ConfigError for a rule that the monitor did not last run with."""
    check_rules(plan.matchers, store.fingerprints())
    with store.write() as tx:
        return tx.add_silence(
            plan.matchers,
            starts_at=plan.starts_at,
            ends_at=plan.ends_at,
            author=plan.author,
            comment=plan.comment,
        )


def signed(author: str | None) -> str:
    """Who gives a command. Raises ConfigError if neither they nor this machine says it."""
    if author:
        return author
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        raise ConfigError("say who you are: this machine knows no name; for example --author anna") from None


def list_silences(
    ctx: typer.Context,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    now = system_wall()
    with given(ctx).store() as store:
        found = store.all_silences(limit) if everything else store.silences(now)
    if as_json:
        print_json({"silences": found})
        return
    columns = ("id", "state", "alerts with", "from", "until", "author", "comment")
    empty = "There was no silence yet." if everything else "Nothing is silenced."
    print_table(columns, (_row(one, now) for one in found), empty=empty)


def _row(one: Silence, now: datetime) -> tuple[str, ...]:
    return (
        str(one.id), _state(one, now), _matchers(one), moment(one.starts_at), moment(one.ends_at),
        one.author or "-", one.comment,
    )  # fmt: skip


def _state(one: Silence, now: datetime) -> str:
    if one.is_in_force(now):
        return "in force"
    return "to come" if now < one.starts_at else "over"


def _matchers(one: Silence) -> str:
    return ", ".join(map(str, one.matchers))


def _while(one: Silence) -> str:
    begins = f"from {moment(one.starts_at)} " if one.starts_at > one.created_at else ""
    return f"{begins}until {moment(one.ends_at)}"


def show(ctx: typer.Context, number: Number, *, limit: Limit = 50, as_json: AsJson = False) -> None:
    now = system_wall()
    with given(ctx).store() as store:
        one = store.silence(number)
        if one is None:
            raise NotStored(f"there is no silence {number}: `cometwatch silence list --all` shows them")
        held = store.entries(silence=number, state=EntryState.SUPPRESSED, limit=limit)
    if as_json:
        print_json({"silence": one, "holds": [EntryView.of(entry) for entry in held]})
        return
    print_table(("", ""), _facts(one, now), empty="")
    typer.echo()
    columns = ("entry", "receiver", "found", "severity", "rule", "alert", "title")
    print_table(columns, map(_held, held), empty="It holds nothing.")
    if len(held) == limit:
        say(f"only the latest {limit} are shown; --limit shows more")


def _facts(one: Silence, now: datetime) -> list[tuple[str, str]]:
    facts = {
        "silence": f"{one.id} ({_state(one, now)})",
        "alerts with": _matchers(one),
        "from": moment(one.starts_at),
        "until": moment(one.ends_at),
        "author": one.author,
        "comment": one.comment,
        "end told": moment(one.closed_at),
    }
    return [(name, text) for name, text in facts.items() if text not in ("", "-")]


def _held(entry: Entry) -> tuple[str, ...]:
    alert = entry.alert
    return (
        str(entry.id), entry.receiver, moment(alert.first_seen_at), alert.severity.value, alert.rule,
        alert.id[:SHORT], alert.title,
    )  # fmt: skip


def expire(ctx: typer.Context, number: Number, *, as_json: AsJson = False) -> None:
    with given(ctx).store() as store, store.write() as tx:
        tx.end_silence(number)
    if as_json:
        print_json({"ended": number})
    else:
        typer.echo(f"silence {number} ended: what it held and still fires is sent; {SOON}")


def extend(
    ctx: typer.Context,
    number: Number,
    *,
    length: Annotated[str, typer.Option("--for", help="How long from now: 30m, 2h, 3d.")],
    as_json: AsJson = False,
) -> None:
    ends_at = ending(length, since=system_wall())
    with given(ctx).store() as store, store.write() as tx:
        one = tx.change_silence(number, ends_at=ends_at)
    if as_json:
        print_json({"silence": one})
    else:
        typer.echo(f"silence {number} lasts until {moment(one.ends_at)}; {SOON}")


# --- acknowledgements -------------------------------------------------------------------------------


def ack(
    ctx: typer.Context,
    alerts: Alerts,
    *,
    by: Annotated[str | None, typer.Option(help="Who looks after them; if not told, you.")] = None,
    comment: Annotated[str, typer.Option(help="Shown beside the name.")] = "",
    as_json: AsJson = False,
) -> None:
    name = said(signed(by), "by", "anna")
    why = said(comment, "comment", "calling back") if comment else ""
    with given(ctx).store() as store:
        found = [alert_named(store, text) for text in alerts]
        with store.write() as tx:
            acks = [tx.ack(alert.id, by=name, comment=why) for alert in found]
    if as_json:
        print_json({"acks": acks})
        return
    for alert in found:
        typer.echo(f"{alert.id[:SHORT]} {alert.title}: {name} looks after it")
    say(SOON)


def unack(ctx: typer.Context, alerts: Alerts, *, as_json: AsJson = False) -> None:
    with given(ctx).store() as store:
        found = [alert_named(store, text) for text in alerts]
        with store.write() as tx:
            for alert in found:
                tx.unack(alert.id)
    if as_json:
        print_json({"unacked": [alert.id for alert in found]})
        return
    for alert in found:
        typer.echo(f"{alert.id[:SHORT]} {alert.title}: nobody looks after it")
    say(SOON)


def alert_named(store: Store, text: str) -> Alert:
    """The alert of this id, or the only one whose id begins so. Raises NotStored."""
    found = store.alert(AlertId(text)) or (store.alert_beginning(text) if len(text) >= SHORTEST else None)
    if found is None:
        raise NotStored(
            f'there is no alert "{text}", or several begin so: `cometwatch alerts list` shows them; '
            f"give at least {SHORTEST} characters"
        )
    return found


# --- alerts -----------------------------------------------------------------------------------------


def list_alerts(
    ctx: typer.Context,
    *,
    status: Annotated[Status | None, typer.Option(help="Only those that fire, or that are over.")] = None,
    rule: Annotated[str | None, typer.Option(help="Only those of this rule.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    with given(ctx).store() as store:
        alerts = store.alerts(limit, status, RuleName(rule) if rule else None)
        acks = store.acks([alert.id for alert in alerts])
        silences = {alert.id: _silenced_by(store.entries_of(alert.id)) for alert in alerts}
    if as_json:
        listed = [
            {"alert": AlertView.of(one), "ack": acks.get(one.id), "silences": silences[one.id]}
            for one in alerts
        ]
        print_json({"alerts": listed})
        return
    columns = ("alert", "status", "severity", "found", "rule", "title", "looked after by", "silenced by")
    print_table(columns, _rows(alerts, acks, silences), empty="No alerts.")
    if len(alerts) == limit:
        say(f"only the latest {limit} are shown; --limit shows more")


def _silenced_by(entries: Iterable[Entry]) -> list[int]:
    held = (one.silence for one in entries if one.state is EntryState.SUPPRESSED)
    return sorted({number for number in held if number is not None})


def _rows(
    alerts: Sequence[Alert], acks: Mapping[AlertId, Ack], silences: Mapping[AlertId, Sequence[int]]
) -> Iterable[tuple[str, ...]]:
    for alert in alerts:
        known, numbers = acks.get(alert.id), ", ".join(map(str, silences[alert.id]))
        yield (
            alert.id[:SHORT], alert.status.value, alert.severity.value, moment(alert.first_seen_at),
            alert.rule, alert.title, known.by if known else "-", numbers or "-",
        )  # fmt: skip
