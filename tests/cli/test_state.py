"""`status`, `cursor`, `rejects`: from the store, and from the monitor that runs on it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import trio
from msgspec.structs import replace

from monitor import web
from monitor.server import listening, serve
from monitor.store.store import Store
from monitor.store.values import Cursor
from rules.model import MessageId, UserId
from tests.cli.conftest import Desk
from tests.store.building import ANNA, NOON
from tests.web.test_web import VIEW, a_registry

pytestmark = pytest.mark.usefixtures("store")

Reopen = Callable[[], Store]


async def asked(
    desk: Desk, view: web.StatusView, store: Store, *args: str, crowd: int = 0
) -> tuple[int, str]:
    """A command beside a monitor that says `view` of itself, and has so many lists more."""
    users = (*view.worst, *[replace(view.worst[0], uid=UserId(f"u{n}")) for n in range(crowd)])
    async with trio.open_nursery() as nursery:
        pages = web.build(lambda: view, lambda _: users, store, a_registry())
        url = await nursery.start(serve, pages, listening("127.0.0.1:0"))
        text = desk.config.read_text().replace("127.0.0.1:1", url.removeprefix("http://"))
        desk.config.write_text(text)
        result = await trio.to_thread.run_sync(lambda: desk(*args))
        nursery.cancel_scope.cancel()
    return result.exit_code, result.output


# --- status -----------------------------------------------------------------------------------------


def test_without_a_monitor_the_store_is_shown(desk: Desk) -> None:
    shown = desk("status")
    assert shown.exit_code == 0
    assert "No monitor is running here" in shown.stdout
    assert "1700" in shown.stdout
    found = desk.json("status")
    assert found["running"] is None
    assert found["users"][0]["watermark"] == "2026-03-01T12:00:00+00:00"
    assert found["receivers"] == [
        {"receiver": "ops", "pending": 1, "dead": 1, "oldest_at": "2026-03-01T12:00:00Z"}
    ]
    assert found["ledger"]["entries"]["dead"] == 1


def test_one_user(desk: Desk) -> None:
    assert [user["uid"] for user in desk.json("status", "ANNA")["users"]] == ["anna"]


def test_a_user_who_is_not_watched(desk: Desk) -> None:
    assert desk.refused("status", "ana", code=1) == [
        'cometwatch: "ana" is not watched (did you mean "anna"?)'
    ]
    assert desk.refused("status", "zoe", code=1) == [
        'cometwatch: "zoe" is not watched (`cometwatch status --json` lists who is)'
    ]


async def test_the_running_monitor_is_asked(desk: Desk, reopen: Reopen) -> None:
    with reopen() as store:
        code, output = await asked(desk, VIEW, store, "status")
    assert code == 0
    for words in ("Watching app 275211 since 2026-03-01 10:00:00Z", "250 requests/min", "1777", "12 s"):
        assert words in output


async def test_a_crowd_is_told_of_in_a_few_words(desk: Desk, reopen: Reopen) -> None:
    budget = web.BudgetView(requests_per_minute=250, granted=120.4, reason="share", stretch=1.5)
    with reopen() as store:
        code, output = await asked(desk, replace(VIEW, budget=budget), store, "status", crowd=300)
    assert code == 0
    for words in (
        "only 120/min are ours now: api.share of the key's limit;",
        "promises stretched 1.50 times",
        "300 more are not in",
    ):
        assert words in output


async def test_a_monitor_whose_work_does_not_progress(desk: Desk, reopen: Reopen) -> None:
    with reopen() as store:
        code, output = await asked(desk, replace(VIEW, blind_since=NOON), store, "status")
    assert code == 1
    assert "NOT WORKING: can't read CometChat since 2026-03-01 12:00:00 UTC" in output


async def test_a_pause_and_a_refused_reload_are_told(desk: Desk, reopen: Reopen) -> None:
    view = replace(
        VIEW,
        paused_until=NOON,
        config_error="agents.txt:4:1: a uid has no @",
        discovery_error='cohort "vip": x',
    )
    with reopen() as store:
        code, output = await asked(desk, view, store, "status")
    assert code == 0
    assert "PAUSED until 2026-03-01 12:00:00Z" in output
    assert 'NOBODY NEW IS DISCOVERED: cohort "vip": x' in output
    assert "RELOAD REFUSED, the configuration before it is in force: agents.txt:4:1:" in output


def test_with_one_list_for_all_a_user_has_none(desk: Desk) -> None:
    desk.config.write_text(desk.config.read_text().replace("watch: {", "watch: {source: app, "))
    (line,) = desk.refused("status", "zoe", code=1)
    assert '"zoe" has no list of their own: with watch.source app see `cometwatch status @app`' in line


def test_who_is_not_watched_any_more_is_told_apart(desk: Desk, reopen: Reopen) -> None:
    with reopen() as store, store.write() as tx:
        tx.leave([ANNA], NOON)
    assert [user["state"] for user in desk.json("status")["users"]] == ["unwatched"]


async def test_as_json(desk: Desk, reopen: Reopen) -> None:
    with reopen() as store:
        code, output = await asked(desk, VIEW, store, "status", "anna", "--json")
    found = json.loads(output)
    assert code == 0
    assert found["running"]["ready"] is True
    assert [user["cursor"] for user in found["users"]] == [1777]


# --- cursor -----------------------------------------------------------------------------------------


def test_cursor_show(desk: Desk) -> None:
    shown = desk("cursor", "show", "anna").stdout
    for words in ("1700", "1777", "2026-03-01 12:00:00Z"):
        assert words in shown
    assert desk.json("cursor", "show", "anna")["user"]["cursor"]["id"] == 1700


@pytest.mark.parametrize(("given", "stored"), [("1500", 1500), ("start", None)])
def test_cursor_set(desk: Desk, reopen: Reopen, given: str, stored: int | None) -> None:
    assert desk.json("cursor", "set", "Anna", given) == {"uid": "anna", "before": 1700, "now": stored}
    with reopen() as store:
        row = store.user(ANNA)
    assert row is not None
    assert row.cursor == Cursor(id=stored if stored is None else MessageId(stored))


def test_cursor_set_for_people(desk: Desk) -> None:
    assert (
        desk("cursor", "set", "anna", "start").stdout
        == "anna: cursor 1700 -> start; taken up within 5 seconds\n"
    )


def test_cursors_of_nobody_and_to_nowhere(desk: Desk) -> None:
    never = 'cometwatch: "ben" was never watched: `cometwatch status` shows who is, groups as @group:GUID'
    assert desk.refused("cursor", "show", "ben", code=1) == [never]
    assert desk.refused("cursor", "set", "ben", "1", code=1) == [never]
    for text in ("x", "1.5", "١", "9" * 30):
        assert desk.refused("cursor", "set", "anna", text, code=2) == [
            f'cometwatch: "{text}" is no message id: give digits, or the word start; for example 17700'
        ]


# --- rejects ----------------------------------------------------------------------------------------


def test_rejects(desk: Desk) -> None:
    (reject,) = desk.json("rejects", "list")["rejects"]
    assert (reject["uid"], reject["message_id"], reject["reason"]) == ("anna", "1776", "no sentAt")
    assert "no sentAt" in desk("rejects", "list").stdout
    assert '{"id":"str(4)"}' in desk("rejects", "show", str(reject["id"])).stdout
    assert desk.json("rejects", "show", str(reject["id"]))["reject"] == reject


def test_a_reject_that_is_not_there(desk: Desk) -> None:
    assert desk.refused("rejects", "show", "9", code=1) == [
        "cometwatch: there is no reject 9: `cometwatch rejects list` shows them"
    ]
