"""`cometwatch status`, `cursor` and `rejects`: how far we have read, and what we could not read."""

from __future__ import annotations

import difflib
import json
from datetime import datetime
from typing import Annotated, Any

import typer

from monitor.cli.given import AsJson, branch, given, moment, print_json, print_table, span
from monitor.errors import ConfigError, NotStored
from monitor.lists import list_called
from monitor.probe import UnansweredError, get
from monitor.store.store import Store
from monitor.store.values import Depth, Reject, UserRow
from rules.model import MessageId, UserId

Uid = Annotated[str, typer.Argument(metavar="UID", help="The user.")]
BEGINNING = "start"
SHOWN = 200
REASONS = {
    "quota": "api.share of the key's limit, which is less than configured",
    "share": "api.share of the key's limit",
}

STATUS_HELP = """Show what the monitor does: users, receivers, how far we have read, the last errors.

Asks the running monitor; without one, shows what the store holds. Ends with 1 if the monitor runs but its
work does not progress.

Example: cometwatch status superhero2
"""
CURSOR_SHOW_HELP = """Show up to which message a user's list was read.

Example: cometwatch cursor show superhero2
"""
CURSOR_SET_HELP = """Read a user's list again from after message ID, or like a new user's from `start`.

Alerts that were raised before are not raised again: their ids are known.

Example: cometwatch cursor set superhero2 17700
"""
REJECTS_LIST_HELP = """List rows that could not be decoded, the latest first. The rest of their pages went on.

Example: cometwatch rejects list --limit 10
"""
REJECTS_SHOW_HELP = """Show the structure of one such row: keys and types, no contents. Good for a bug report.

Example: cometwatch rejects show 7
"""


def register(app: typer.Typer) -> None:
    app.command("status", help=STATUS_HELP)(status)
    cursor = branch(
        app,
        "cursor",
        about="Show or move the place up to which a user's list was read.",
        example="cometwatch cursor show superhero2",
    )
    cursor.command("show", help=CURSOR_SHOW_HELP)(cursor_show)
    cursor.command("set", help=CURSOR_SET_HELP)(cursor_set)
    rejects = branch(
        app,
        "rejects",
        about="Rows of CometChat that could not be decoded.",
        example="cometwatch rejects list",
    )
    rejects.command("list", help=REJECTS_LIST_HELP)(rejects_list)
    rejects.command("show", help=REJECTS_SHOW_HELP)(rejects_show)


# --- status -----------------------------------------------------------------------------------------


def status(
    ctx: typer.Context,
    uid: Annotated[str | None, typer.Argument(metavar="[UID]", help="Only this user.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    found = given(ctx)
    live = running(found.settings().server.listen)
    with found.store() as store:
        rows, depths, ledger = store.users(), store.depths(), store.ledger()
    users = live["users"] if live else [_stored_user(row) for row in rows]
    if uid is not None:
        users = [_the_user(users, list_called(uid), source=found.settings().watch.source)]
    report = live and live["status"]
    if as_json:
        print_json({"running": report, "users": users, "receivers": depths, "ledger": ledger})
    else:
        worst = report["worst"] if report and uid is None else users
        _show_status(report, worst[:SHOWN], depths, hidden=len(users) - len(worst[:SHOWN]))
    if live and not live["status"]["ready"]:
        raise typer.Exit(1)


def running(listen: str) -> dict[str, Any] | None:
    """What the monitor on `listen` says of itself and of every list, or None if none answers there."""
    try:
        status = json.loads(get(listen, "/api/status").text)
        users = json.loads(get(listen, "/api/users").text)["users"]
    except (UnansweredError, ValueError, KeyError, TypeError):  # or somebody else does
        return None
    return {"status": status, "users": users} if isinstance(status, dict) and "ready" in status else None


def _stored_user(row: UserRow) -> dict[str, Any]:
    return {
        "uid": row.uid,
        "state": "unwatched" if row.left_at else "stored",
        "cursor": row.cursor.id,
        "watermark": row.watermark and row.watermark.isoformat(),
        "start_at": row.start_at.isoformat(),
    }


def _the_user(users: list[dict[str, Any]], uid: str, *, source: str) -> dict[str, Any]:
    by_uid = {user["uid"]: user for user in users}
    if uid not in by_uid and source == "app" and not uid.startswith("@"):
        raise NotStored(
            f'"{uid}" has no list of their own: with watch.source app see `cometwatch status @app`'
        )
    if uid not in by_uid:
        near = difflib.get_close_matches(uid, by_uid, n=1)
        hint = f'did you mean "{near[0]}"?' if near else "`cometwatch status --json` lists who is"
        raise NotStored(f'"{uid}" is not watched ({hint})')
    return by_uid[uid]


def _show_status(
    live: dict[str, Any] | None, users: list[dict[str, Any]], depths: list[Depth], *, hidden: int
) -> None:
    if live is None:
        typer.echo("No monitor is running here; this is what the store holds.")
    elif live["ready"]:
        typer.echo(f"Watching app {live['app']} since {_time(live['started_at'])}: {_budget(live)}")
    else:
        typer.echo(f"NOT WORKING: {'; '.join(live['reasons'])}")
    if live and live.get("paused_until"):
        typer.echo(f"PAUSED until {_time(live['paused_until'])}: CometChat asked for it, or refuses the key.")
    if live and live.get("config_error"):
        typer.echo(f"RELOAD REFUSED, the configuration before it is in force: {live['config_error']}")
    if live and live["ready"] and live.get("discovery_error"):
        typer.echo(f"NOBODY NEW IS DISCOVERED: {live['discovery_error']}")
    typer.echo()
    columns = ("list", "state", "lag", "polled within", "last poll", "cursor", "seen up to", "last error")
    print_table(
        columns, map(_user, users), empty="Nobody is watched." if live else "No user was watched yet."
    )
    if hidden:
        typer.echo(f"{hidden} more are not in trouble: `cometwatch status UID` shows one, --json all.")
    typer.echo()
    rows = [(d.receiver, str(d.pending), moment(d.oldest_at), str(d.dead)) for d in depths]
    print_table(("receiver", "waiting", "oldest", "dead"), rows, empty="Nothing waits to be delivered.")


def _budget(live: dict[str, Any]) -> str:
    budget = live["budget"]
    text = f"{budget['requests_per_minute']} requests/min, {budget['waiting']} overdue"
    if budget["reason"] != "configured":
        why = REASONS.get(budget["reason"], budget["reason"])
        text += f"; only {budget['granted']:.0f}/min are ours now: {why}"
    if budget["stretch"] > 1.005:
        text += f"; promises stretched {budget['stretch']:.2f} times"
    return text


def _user(user: dict[str, Any]) -> tuple[str, ...]:
    lag, promise, cursor = user.get("lag_s"), user.get("promise_s"), user.get("cursor")
    return (
        user["uid"],
        user["state"].replace("_", " "),
        "-" if lag is None else span(lag),
        "-" if promise is None else span(promise),
        _time(user.get("last_poll_at")),
        "-" if cursor is None else str(cursor),
        _time(user.get("watermark")),
        user.get("last_error") or "",
    )


def _time(text: str | None) -> str:
    return moment(datetime.fromisoformat(text)) if text else "-"


# --- cursor -----------------------------------------------------------------------------------------


def cursor_show(ctx: typer.Context, uid: Uid, *, as_json: AsJson = False) -> None:
    with given(ctx).store() as store:
        row = _row(store, list_called(uid))
    if as_json:
        print_json({"user": row})
        return
    facts = [
        ("user", row.uid),
        ("cursor", "-" if row.cursor.id is None else str(row.cursor.id)),
        ("evaluated above it", ", ".join(str(seen.id) for seen in row.cursor.above) or "-"),
        ("paging back from", "-" if row.cursor.back is None else str(row.cursor.back)),
        ("seen up to", moment(row.watermark)),
        ("watched since", moment(row.start_at)),
    ]
    print_table(("", ""), facts, empty="")


def cursor_set(
    ctx: typer.Context,
    uid: Uid,
    message_id: Annotated[str, typer.Argument(metavar="ID|start", help="A message id, or `start`.")],
    *,
    as_json: AsJson = False,
) -> None:
    target, list_id = _message_id(message_id), list_called(uid)
    with given(ctx).store() as store:
        before = _row(store, list_id).cursor.id
        with store.write() as tx:
            tx.set_cursor(list_id, target)
    if as_json:
        print_json({"uid": list_id, "before": before, "now": target})
    else:
        now = BEGINNING if target is None else target
        typer.echo(
            f"{list_id}: cursor {'-' if before is None else before} -> {now}; taken up within 5 seconds"
        )


def _message_id(text: str) -> MessageId | None:
    if text == BEGINNING:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ConfigError(f'"{text}" is no message id: give digits, or the word start; for example 17700')
    return MessageId(int(text))


def _row(store: Store, uid: str) -> UserRow:
    row = store.user(UserId(uid))
    if row is None:
        raise NotStored(f'"{uid}" was never watched: `cometwatch status` shows who is, groups as @group:GUID')
    return row


# --- rejects ----------------------------------------------------------------------------------------


def rejects_list(
    ctx: typer.Context,
    *,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    with given(ctx).store() as store:
        found = store.rejects(limit)
    if as_json:
        print_json({"rejects": found})
    else:
        print_table(("id", "found", "user", "message", "reason"), map(_reject, found), empty="None.")


def _reject(one: Reject) -> tuple[str, ...]:
    return str(one.id), moment(one.at), one.uid, one.message_id or "-", one.reason


def rejects_show(
    ctx: typer.Context,
    reject_id: Annotated[int, typer.Argument(metavar="ID", help="As `rejects list` shows it.")],
    *,
    as_json: AsJson = False,
) -> None:
    with given(ctx).store() as store:
        found = store.reject(reject_id)
    if found is None:
        raise NotStored(f"there is no reject {reject_id}: `cometwatch rejects list` shows them")
    if as_json:
        print_json({"reject": found})
        return
    facts = [("reject", str(found.id)), ("found", moment(found.at)), ("user", found.uid)]
    facts += [("message", found.message_id or "-"), ("reason", found.reason), ("structure", found.structure)]
    print_table(("", ""), facts, empty="")
