"""`silence`, `ack`, `unack`, `alerts`: on a store that a monitor has open."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from monitor.clock import system_wall
from monitor.store.store import Store
from monitor.store.values import EntryState, Route, Silence
from rules.model import AlertId, RuleName
from tests.cli.conftest import Desk
from tests.store.building import found

pytestmark = pytest.mark.usefixtures("store")

Reopen = Callable[[], Store]
ADD = ("silence", "add", "team=payments", "--comment", "phones are moved", "--author", "anna")
ID = "0123456789abcdef0123456789abcdef"


def number_of(desk: Desk, *args: str) -> str:
    return str(desk.json(*ADD, *(args or ("--for", "2h")))["silence"]["id"])


# --- silences ---------------------------------------------------------------------------------------


def test_a_silence_begins_shows_and_ends(desk: Desk) -> None:
    said = desk(*ADD, 'rule=~"missed-.*"', "--for", "2h").stdout
    (one,) = desk.json("silence", "list")["silences"]
    ends = datetime.fromisoformat(one["ends_at"])
    assert abs(ends - system_wall() - timedelta(hours=2)) < timedelta(minutes=1)
    assert (one["author"], one["comment"]) == ("anna", "phones are moved")
    assert 'alerts with team="payments", rule=~"missed-.*" are not sent until' in said
    assert f"`cometwatch silence expire {one['id']}` ends it" in said
    header, row = desk("silence", "list").stdout.splitlines()
    assert header.split()[:2] == ["id", "state"]
    for words in ("in force", 'team="payments", rule=~"missed-.*"', "anna", "phones are moved"):
        assert words in row

    assert desk.json("silence", "expire", str(one["id"])) == {"ended": one["id"]}
    assert desk("silence", "list").stdout == "Nothing is silenced.\n"
    assert " over " in desk("silence", "list", "--all").stdout
    assert "is sent; the running monitor takes this up" in desk("silence", "expire", "1").stdout


def test_an_empty_store_has_no_silence(desk: Desk) -> None:
    assert desk("silence", "list").stdout == "Nothing is silenced.\n"
    assert desk("silence", "list", "--all").stdout == "There was no silence yet.\n"


def test_a_silence_to_come(desk: Desk) -> None:
    said = desk(*ADD, "--starts", "2199-01-01T00:00:00Z", "--until", "2199-01-01T03:00:00+01:00").stdout
    assert "are not sent from 2199-01-01 00:00:00Z until 2199-01-01 02:00:00Z" in said
    assert "to come" in desk("silence", "list").stdout


def test_who_is_not_told_is_taken_from_the_machine(desk: Desk) -> None:
    command = ("silence", "add", "team=a", "--for", "1h", "--comment", "c", "--json")
    assert desk(*command, env={"LOGNAME": "ben"}).exit_code == 0
    assert [one["author"] for one in desk.json("silence", "list")["silences"]] == ["ben"]


def test_a_silence_lasts_longer(desk: Desk) -> None:
    number = number_of(desk)
    (line,) = desk.refused("silence", "extend", number, "--for", "400d", code=2)
    assert "up to 365 days" in line
    said = desk("silence", "extend", number, "--for", "5h").stdout
    (one,) = desk.json("silence", "list")["silences"]
    ends = datetime.fromisoformat(one["ends_at"])
    assert abs(ends - system_wall() - timedelta(hours=5)) < timedelta(minutes=1)
    assert said.startswith(f"silence {number} lasts until 2")
    desk("silence", "expire", number)
    (line,) = desk.refused("silence", "extend", number, "--for", "5h", code=1)
    assert f"silence {number} is over" in line


def test_what_a_silence_holds(desk: Desk, reopen: Reopen) -> None:
    number = number_of(desk)
    assert "It holds nothing." in desk("silence", "show", number).stdout
    held = Route(receiver="ops", state=EntryState.SUPPRESSED, reason="silenced", silence=int(number))
    with reopen() as store, store.write() as tx:
        tx.commit(found("b1", "b2", routes=(held,)))
    shown = desk("silence", "show", number).stdout
    for words in ("1 (in force)", 'team="payments"', "anna", "phones are moved", "Missed call b1"):
        assert words in shown
    told = desk.json("silence", "show", number)
    assert {one["alert"]["id"] for one in told["holds"]} == {"b1", "b2"}
    assert told["silence"]["id"] == int(number)
    assert "only the latest 1 are shown" in desk("silence", "show", number, "--limit", "1").stderr


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (("payments", "--for", "1h"), "`payments` is not a matcher; for example team=payments"),
        (("team!=payments", "--for", "1h"), "would take alerts without any such label"),
        (("team=a",), "say how long: for (30m, 2h, 3d) or ends_at"),
        (("team=a", "--for", "1h", "--until", "2199-01-01T00:00:00Z"), "say how long"),
        (("team=a", "--for", "1"), "for: expected a time with its unit"),
        (("team=a", "--until", "2020-01-01T00:00:00Z"), "ends_at: 2020-01-01 00:00:00 UTC is over"),
        (("team=a", "--until", "tomorrow"), '--until: "tomorrow" is no time; write it like 2026-11-22T18:00'),
        (
            ("team=a", "--for", "1h", "--starts", "2199-01-01T00:00:00"),
            "--starts: 2199-01-01T00:00:00 has no",
        ),
        (("rule=missed-cal", "--for", "1h"), 'no rule is named "missed-cal" (did you mean "missed-call"?)'),
    ],
)
def test_a_silence_that_makes_no_sense_is_refused(
    desk: Desk, reopen: Reopen, args: tuple[str, ...], reason: str
) -> None:
    with reopen() as store, store.write() as tx:
        tx.adopt_rules({RuleName("missed-call"): "f1"})
    matcher, *rest = args
    (line,) = desk.refused("silence", "add", matcher, "--comment", "c", "--author", "anna", *rest, code=2)
    assert line.startswith("cometwatch: ")
    assert reason in line


def test_a_silence_says_why(desk: Desk) -> None:
    assert desk.wrong_use("silence", "add", "team=a", "--for", "1h") == "Missing option '--comment'."
    (line,) = desk.refused("silence", "add", "team=a", "--for", "1h", "--comment", " ", code=2)
    assert line.startswith("cometwatch: comment is empty")
    assert desk.wrong_use("silence", "add", "--for", "1h", "--comment", "c").startswith("Missing argument")


@pytest.mark.parametrize("command", [("show",), ("expire",), ("extend", "--for", "1h")])
def test_a_silence_that_is_not_there(desk: Desk, command: tuple[str, ...]) -> None:
    name, *rest = command
    (line,) = desk.refused("silence", name, "7", *rest, code=1)
    assert line.startswith("cometwatch: there is no silence 7: `cometwatch silence list")
    assert "less than or equal to" in desk.wrong_use("silence", name, str(10**30), *rest)


# --- acknowledgements and alerts ----------------------------------------------------------------------


@pytest.fixture
def alert(reopen: Reopen) -> AlertId:
    with reopen() as store, store.write() as tx:
        tx.commit(found(ID))
    return AlertId(ID)


def test_an_alert_is_looked_after_and_let_go(desk: Desk, reopen: Reopen, alert: AlertId) -> None:
    said = desk("ack", ID[:8], "a1", "--by", "anna", "--comment", "calling back")
    assert said.stdout.splitlines() == [
        f"{ID[:12]} Missed call {ID}: anna looks after it",
        "a1 Missed call a1: anna looks after it",
    ]
    with reopen() as store:
        acks = store.acks([alert, AlertId("a1")])
    assert {(one.by, one.comment) for one in acks.values()} == {("anna", "calling back")}
    assert "anna" in desk("alerts", "list").stdout

    assert desk.json("unack", ID[:8]) == {"unacked": [ID]}
    assert "nobody looks after it" in desk("unack", "a1").stdout
    (line,) = desk.refused("unack", "a1", code=1)
    assert "is not acknowledged" in line


def test_of_several_alerts_all_are_looked_after_or_none(desk: Desk, reopen: Reopen, alert: AlertId) -> None:
    (line,) = desk.refused("ack", ID, "gone", "--by", "anna", code=1)
    assert line.startswith('cometwatch: there is no alert "gone", or several begin so')
    with reopen() as store, store.write() as tx:
        tx.commit(found("a1", resolved="answered"))
    (line,) = desk.refused("ack", ID, "a1", "--by", "anna", code=1)
    assert "a1 is over (answered)" in line
    with reopen() as store:
        assert store.acks([alert]) == {}


def test_a_beginning_that_is_too_short_or_not_the_only_one_names_no_alert(
    desk: Desk, reopen: Reopen, alert: AlertId
) -> None:
    with reopen() as store, store.write() as tx:
        tx.commit(found(ID[:8] + "f" * 24))
    for start in (alert[:5], alert[:8]):
        assert len(desk.refused("ack", start, "--by", "anna", code=1)) == 1
    assert desk("ack", alert[:9], "--by", "anna").exit_code == 0


def test_an_acknowledgement_has_a_name(desk: Desk) -> None:
    (line,) = desk.refused("ack", "a1", "--by", " ", code=2)
    assert line.startswith("cometwatch: by is empty")
    (line,) = desk.refused("ack", "a1", "--by", "anna", "--comment", "x" * 501, code=2)
    assert line.startswith("cometwatch: comment has 501 characters")


def test_the_list_of_alerts(desk: Desk, reopen: Reopen) -> None:
    held = Route(receiver="ops", state=EntryState.SUPPRESSED, reason="silenced", silence=3)
    with reopen() as store, store.write() as tx:
        tx.commit(found("b1", routes=(held,)))
        tx.commit(found("a1", resolved="answered"))
        tx.ack(AlertId("a2"), by="anna")
    header, *rows = desk("alerts", "list").stdout.splitlines()
    assert header.split()[:4] == ["alert", "status", "severity", "found"]
    by_id = {row.split()[0]: row for row in rows}
    assert set(by_id) == {"a1", "a2", "a3", "b1"}
    assert "resolved" in by_id["a1"]
    assert by_id["a2"].split()[-2:] == ["anna", "-"]
    assert by_id["b1"].split()[-2:] == ["-", "3"]

    told = {one["alert"]["id"]: one for one in desk.json("alerts", "list")["alerts"]}
    assert told["a2"]["ack"]["by"] == "anna"
    assert (told["b1"]["silences"], told["b1"]["ack"]) == ([3], None)


def test_the_list_of_alerts_narrowed(desk: Desk, reopen: Reopen) -> None:
    with reopen() as store, store.write() as tx:
        tx.commit(found("a1", resolved="answered"))
    resolved = desk.json("alerts", "list", "--status", "resolved")["alerts"]
    assert [one["alert"]["id"] for one in resolved] == ["a1"]
    assert desk("alerts", "list", "--rule", "mention").stdout == "No alerts.\n"
    assert "only the latest 2 are shown" in desk("alerts", "list", "--limit", "2").stderr
    assert "'on' is not one of" in desk.wrong_use("alerts", "list", "--status", "on")


def test_a_silence_in_json_is_what_the_store_has(desk: Desk, reopen: Reopen) -> None:
    number = int(number_of(desk))
    with reopen() as store:
        stored = store.silence(number)
    assert isinstance(stored, Silence)
    assert desk.json("silence", "show", str(number))["silence"][
        "created_at"
    ] == stored.created_at.isoformat().replace("+00:00", "Z")
