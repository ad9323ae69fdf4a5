"""`outbox`, `mute`, `mutes`, `unmute`: on a store that a monitor has open."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from monitor.clock import system_wall
from monitor.store.store import Store
from rules.model import RuleName
from tests.cli.conftest import Desk

pytestmark = pytest.mark.usefixtures("store")

RULE = RuleName("missed-call")
Reopen = Callable[[], Store]


def states(desk: Desk) -> dict[str, str]:
    return {one["alert"]["id"]: one["state"] for one in desk.json("outbox", "list")["entries"]}


def the_dead(desk: Desk) -> str:
    (entry,) = desk.json("outbox", "list", "--state", "dead")["entries"]
    return str(entry["id"])


def test_list_for_people(desk: Desk) -> None:
    header, *rows = desk("outbox", "list").stdout.splitlines()
    assert header.split() == ["id", "state", "receiver", "found", "rule", "alert", "title", "reason"]
    assert len(rows) == 3
    assert any("dead" in row and "Missed call" in row and "answered 404" in row for row in rows)


def test_list_narrowed(desk: Desk) -> None:
    assert len(desk.json("outbox", "list", "--limit", "2")["entries"]) == 2
    assert desk.json("outbox", "list", "--receiver", "nobody")["entries"] == []
    assert desk("outbox", "list", "--receiver", "nobody").stdout == "No entries.\n"
    assert "only the latest 1 are shown" in desk("outbox", "list", "--limit", "1").stderr


def test_show(desk: Desk) -> None:
    shown = desk("outbox", "show", the_dead(desk)).stdout
    for words in ("dead", "answered 404", "Missed call", "2026-03-01 12:00:00Z", "anna"):
        assert words in shown
    assert "where are you?" not in shown
    found = desk.json("outbox", "show", the_dead(desk))
    assert [one["outcome"] for one in found["attempts"]] == ["dead"]


def test_redrive_and_drop(desk: Desk) -> None:
    dead = the_dead(desk)
    assert desk("outbox", "redrive", dead).stdout == (
        "1 entry redriven; the running monitor takes this up within 5 seconds\n"
    )
    assert sorted(states(desk).values()) == ["delivered", "pending", "pending"]
    assert desk.json("outbox", "redrive", "--receiver", "ops") == {"redriven": 0}
    assert desk.json("outbox", "drop", "--receiver", "ops", "--reason", "a test") == {"dropped": 2}
    assert sorted(states(desk).values()) == ["delivered", "dropped", "dropped"]
    assert "a test" in desk("outbox", "list", "--state", "dropped").stdout


def test_a_running_monitor_is_not_in_the_way(desk: Desk, reopen: Reopen) -> None:
    with reopen() as store:
        before = store.version()
        assert desk("outbox", "redrive", the_dead(desk)).exit_code == 0
        assert store.version() > before


@pytest.mark.parametrize("args", [(), ("1", "--receiver", "ops")])
def test_which_entries_has_to_be_said(desk: Desk, args: tuple[str, ...]) -> None:
    (line,) = desk.refused("outbox", "redrive", *args, code=2)
    assert line.startswith("cometwatch: say which: entries (outbox redrive 42 43) or a receiver")


def test_an_entry_that_is_not_there(desk: Desk) -> None:
    (line,) = desk.refused("outbox", "show", "99", code=1)
    assert line == "cometwatch: there is no entry 99: `cometwatch outbox list` shows the latest"
    assert len(desk.refused("outbox", "redrive", "99", code=1)) == 1
    assert len(desk.refused("outbox", "drop", "99", "--reason", "x", code=1)) == 1


def test_dropping_needs_a_reason(desk: Desk) -> None:
    assert desk.wrong_use("outbox", "drop", "1") == "Missing option '--reason'."
    (line,) = desk.refused("outbox", "drop", "1", "--reason", " ", code=2)
    assert line.startswith("cometwatch: --reason is empty")


def test_wrong_use(desk: Desk) -> None:
    assert "'lost' is not one of 'pending'" in desk.wrong_use("outbox", "list", "--state", "lost")
    assert "--limit" in desk.wrong_use("outbox", "list", "--limit", "0")
    assert "valid integer" in desk.wrong_use("outbox", "show", "many")


def test_a_store_that_is_not_there(desk: Desk) -> None:
    (desk.folder / "store.db").rename(desk.folder / "elsewhere.db")
    for command in (
        ["outbox", "list"],
        ["mutes"],
        ["status"],
        ["cursor", "show", "anna"],
        ["rejects", "list"],
    ):
        lines = desk.refused(*command, code=1)
        assert len(lines) == 1
        assert "store.db" in lines[0]


def test_a_store_of_another_app(desk: Desk) -> None:
    desk.config.write_text(desk.config.read_text().replace("275211", "other"))
    (line,) = desk.refused("outbox", "list", code=1)
    assert "belongs to app 275211" in line


# --- mutes ------------------------------------------------------------------------------------------


def test_a_mute_begins_shows_and_ends(desk: Desk) -> None:
    said = desk("mute", "--rule", "missed-call", "--for", "2h", "--reason", "moving house").stdout
    (mute,) = desk.json("mutes")["mutes"]
    assert mute["matchers"] == [{"label": "rule", "operator": "=", "value": "missed-call"}]
    until = datetime.fromisoformat(mute["ends_at"])
    assert abs(until - system_wall() - timedelta(hours=2)) < timedelta(minutes=1)
    assert f"`cometwatch unmute {mute['id']}` ends it" in said
    assert "moving house" in desk("mutes").stdout

    assert desk.json("unmute", str(mute["id"])) == {"ended": mute["id"]}
    assert desk("mutes").stdout == "Nothing is muted.\n"


def test_a_mute_of_a_rule_that_is_not_there_names_the_nearest(desk: Desk, reopen: Reopen) -> None:
    with reopen() as store, store.write() as tx:
        tx.adopt_rules({RULE: "f1"})
    (line,) = desk.refused("mute", "--rule", "missed-cal", "--for", "1h", "--reason", "x", code=2)
    assert line == 'cometwatch: no rule is named "missed-cal" (did you mean "missed-call"?)'
    (line,) = desk.refused("mute", "--rule", "zzz", "--for", "1h", "--reason", "x", code=2)
    assert line.endswith("(there are: missed-call)")
    assert desk("mute", "--rule", "missed-call", "--for", "1h", "--reason", "x").exit_code == 0


@pytest.mark.parametrize(
    ("length", "reason"),
    [
        ("2", "for: expected a time with its unit"),
        ("0s", "for: expected a time above zero"),
        ("400d", "a silence lasts up to 365 days"),
        ("99999999d", "a silence lasts up to 365 days"),
    ],
)
def test_a_mute_needs_a_length(desk: Desk, length: str, reason: str) -> None:
    (line,) = desk.refused("mute", "--rule", "missed-call", "--for", length, "--reason", "x", code=2)
    assert line.startswith(f"cometwatch: {reason}")


def test_a_mute_that_is_not_there(desk: Desk) -> None:
    (line,) = desk.refused("unmute", "7", code=1)
    assert line == "cometwatch: there is no silence 7: `cometwatch silence list` shows them"
