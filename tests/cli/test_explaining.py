"""`explain`: on a store that a monitor has filled, and on answers that were recorded."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from monitor.store.store import Store
from monitor.store.values import Commit, Cursor, Fetched, Finding, Reject, Route
from rules.engine import step
from rules.model import MessageId, UserId, WatchSet
from rules.spec import Source, load
from tests.cli.conftest import SETTINGS, Desk
from tests.rules.builders import a_message
from tests.source.rows import a_body, a_row
from tests.source.test_answers import an_error
from tests.source.test_asking import Api
from tests.store.building import ANNA, APP, NOON, after, claimed, open_store

RULES = """
rules:
  - {name: refund, kind: match, when: {text: refund}}
  - {name: shy, kind: match, when: {attachments: {extension: exe}}}
  - {name: calls, kind: missed_call}
"""
WATCH: WatchSet = {ANNA: {}, UserId("ben"): {"team": "payments"}}
ASKED = a_message(
    id=MessageId(1777),
    text="my s3cret refund",
    sender=replace(a_message().sender, id="ann"),
    receiver=replace(a_message().receiver, id="ben"),
    sent_at=NOON,
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path)
    settings = SETTINGS.format(folder=tmp_path)
    made.config.write_text(settings + "rules: {packs: [], files: [rules.yaml]}\n", "utf-8")
    (tmp_path / "rules.yaml").write_text(RULES, "utf-8")
    return made


@pytest.fixture
def alert(desk: Desk) -> str:
    """The store of a monitor that found one message, told of it at the second attempt, and is closed."""
    rules = load([Source("rules.yaml", RULES)], app=APP)
    outcome = step(rules, WATCH, {}, [ASKED], now=after(seconds=3))
    [found] = outcome.alerts
    page = Fetched(list=UserId("ben"), asked_at=after(seconds=1), received_at=after(seconds=2))
    with open_store(desk.folder / "store.db", now=lambda: after(seconds=4)) as store, store.write() as tx:
        tx.adopt_rules(rules.fingerprints)
        tx.add_users([ANNA, UserId("ben")], NOON)
        tx.commit(
            Commit(
                uid=UserId("ben"),
                expected=Cursor(),
                cursor=Cursor(id=MessageId(1777)),
                recent=(MessageId(1777),),
                findings=(Finding(alert=found, routes=(Route(receiver="ops"),)),),
                because=outcome.because,
                brought_by=page,
            )
        )
        first = claimed(tx, now=after(seconds=5))
        tx.settle_retry(first.id, after(seconds=6), after(seconds=9), "answered 503")
        tx.settle_delivered(claimed(tx, now=after(seconds=9)).id, after(seconds=10))
    return str(found.id)


def recorded(desk: Desk, **changes: Any) -> str:
    file = desk.folder / "page.json"
    file.write_bytes(a_body(a_row(**({"id": "1700"} | changes))))
    return str(file)


def test_an_alert_for_people(desk: Desk, alert: str) -> None:
    shown = desk("explain", alert)
    assert (shown.exit_code, shown.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert lines[0] == f"alert {alert}: firing, warning, rule refund"
    for line in (
        "2026-03-01 12:00:00.000Z message 1777 is sent: message/text, ann to ben",
        "2026-03-01 12:00:01.000Z +1 s CometChat is asked for the list of ben",
        "2026-03-01 12:00:03.000Z +1 s the rule refund finds it",
        "2026-03-01 12:00:06.000Z +1 s ops: attempt 1: retry: answered 503",
        "2026-03-01 12:00:10.000Z +4 s ops: attempt 2: delivered",
        "2026-03-01 12:00:04.000Z raised by message 1777, in the list of ben",
        "1 firing ops delivered 6 s, 10 s after the event",
        "route 1 takes it: to ops",
        'yes when: the word "refund", found a text of 16 characters',
    ):
        assert line in lines
    assert "s3cret" not in shown.output


def test_an_alert_by_how_its_id_begins(desk: Desk, alert: str) -> None:
    assert alert[:12] in desk("outbox", "list").stdout
    assert desk("explain", alert[:12]).stdout == desk("explain", alert).stdout
    assert desk("explain", alert[:5]).exit_code == 1


def test_what_people_wrote_is_shown_to_who_asks_for_it(desk: Desk, alert: str) -> None:
    shown = desk("explain", alert, "--text").stdout
    assert "text: my s3cret refund" in shown
    assert "in words my s3cret refund" in shown
    assert desk.json("explain", alert, "--text")["texts"] == {"1777": "my s3cret refund"}


def test_an_alert_for_machines(desk: Desk, alert: str) -> None:
    found = desk.json("explain", alert)
    assert found["alert"]["id"] == alert
    assert [step["after_s"] for step in found["story"]["steps"]][1:4] == [1.0, 1.0, 1.0]
    assert found["story"]["causes"][0]["messages"] == [1777]
    assert found["rule"]["traces"]["1777"]["when"]["value"] is True
    assert "s3cret" not in json.dumps(found)


def test_an_alert_whose_rule_is_gone(desk: Desk, alert: str) -> None:
    (desk.folder / "rules.yaml").write_text("rules: [{name: other, kind: missed_call}]", "utf-8")
    assert "there is no rule of this name any more" in desk("explain", alert).stdout


def test_a_message_of_an_alert_is_not_asked_for(desk: Desk, alert: str) -> None:
    shown = desk("explain", "1777")
    assert shown.exit_code == 0
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert "ben: read past it, up to 1777" in lines
    assert f"refund match raised alert {alert}, firing: ops delivered" in lines
    assert 'yes when: the word "refund", found a text of 16 characters' in lines
    assert "shy match no not so: an attachment (exe), found no attachment" in lines
    assert "no when: an attachment (exe), found no attachment" not in lines
    assert f"cometwatch explain {alert}" in shown.stderr
    assert "s3cret" not in shown.output


@pytest.mark.usefixtures("alert")
def test_a_message_from_recorded_answers(desk: Desk) -> None:
    found = desk.json("explain", "1700", "--from", recorded(desk))
    assert {rule["rule"]: rule["answer"] for rule in found["rules"]} == {
        "refund": "no",
        "shy": "no",
        "calls": "no",
    }
    assert found["message"]["found"].endswith("page.json")
    only = desk.json("explain", "1700", "--from", recorded(desk), "--rule", "shy")
    assert [rule["rule"] for rule in only["rules"]] == ["shy"]
    (line,) = desk.refused("explain", "1701", "--from", recorded(desk), code=1)
    assert line == f"cometwatch: message 1701 is not in {recorded(desk)}"


def test_without_a_store_a_message_can_be_looked_at_all_the_same(desk: Desk) -> None:
    shown = desk("explain", "1700", "--from", recorded(desk))
    assert shown.exit_code == 0
    assert "told without the store" in shown.stderr
    assert "Was it read?" not in shown.stdout
    (line,) = desk.refused("explain", "1700", code=1)
    assert "there is no store here yet" in line


# --- asked of CometChat -----------------------------------------------------------------------------------


@pytest.fixture
def api(desk: Desk) -> Iterator[Api]:
    """A server that has message 1700, and settings that lead to it."""
    with Api() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.body = a_body(a_row(id="1700"))
        text = desk.config.read_text("utf-8")
        desk.config.write_text(
            text.replace('app_id: "275211", region: us', f'base_url: "{server.url}"'), "utf-8"
        )
        yield server
        server.shutdown()
        thread.join()


def places(api: Api) -> list[str]:
    return [path.partition("?")[0] for path, _ in api.asked]


def test_a_message_is_asked_of_the_list_that_is_named(desk: Desk, api: Api) -> None:
    shown = desk("explain", "1700", "--user", "Ben")
    assert shown.exit_code == 0
    assert "found in the list of ben, as CometChat has it now" in shown.stdout
    assert places(api) == ["/v3/users/ben/messages"]
    assert "affix=append&id=1699" in api.asked[0][0]


def test_a_message_is_asked_of_the_lists_in_which_it_was_read(desk: Desk, api: Api) -> None:
    url = f"sqlite:///{desk.folder}/store.db"
    app = api.url.removeprefix("http://")
    with Store.open(url, app=app, now=lambda: NOON) as store, store.write() as tx:
        tx.add_users([ANNA, UserId("ben")], NOON)
        tx.commit(Commit(uid=UserId("ben"), expected=Cursor(), recent=(MessageId(1700),)))
    assert desk("explain", "1700").exit_code == 0
    assert places(api) == ["/v3/users/ben/messages"]
    (line,) = desk.refused("explain", "1702", code=1)
    assert line.startswith("cometwatch: message 1702 is in none of the lists that were asked (anna, ben)")
    with store_again(url, app) as store, store.write() as tx:
        reject = Reject(uid=ANNA, message_id="1702", reason="no sentAt", structure="{}", at=NOON)
        tx.commit(Commit(rejects=(reject,)))
    (line,) = desk.refused("explain", "1702", code=1)
    assert line == (
        "cometwatch: message 1702 could not be read: no sentAt; "
        "`cometwatch rejects show 1` shows its structure"
    )


def store_again(url: str, app: str) -> Store:
    return Store.open(url, app=app, now=lambda: NOON)


def test_a_user_who_is_gone_is_passed_over_unless_named(desk: Desk, api: Api) -> None:
    url = f"sqlite:///{desk.folder}/store.db"
    with store_again(url, api.url.removeprefix("http://")):
        pass
    api.status, api.body = 404, an_error("ERR_UID_NOT_FOUND")
    (line,) = desk.refused("explain", "1700", code=1)
    assert "in none of the lists that were asked (anna, ben)" in line
    (line,) = desk.refused("explain", "1700", "--user", "ben", code=1)
    assert "ben" in line
    assert "none of the lists" not in line


def test_who_was_discovered_is_watched(desk: Desk) -> None:
    text = desk.config.read_text("utf-8")
    watch = "watch: {cohorts: [{name: agents, discover: {roles: [agent]}, labels: {team: sales}}]}"
    desk.config.write_text(re.sub("(?m)^watch:.*$", watch, text), "utf-8")
    page = recorded(desk, data={"text": "a refund"} | a_row()["data"] | {"text": "a refund"})
    with open_store(desk.folder / "store.db") as store, store.write() as tx:
        tx.find("agents", [UserId("bob"), UserId("gone")], NOON)
        tx.leave([UserId("gone")], NOON)
    found = desk.json("explain", "1700", "--from", page)
    assert {rule["rule"]: rule["answer"] for rule in found["rules"]}["refund"] == "matches"
    assert [one["list"] for one in found["lists"]] == ["bob"]
    assert found["notes"] == []


def test_what_a_rule_remembers_is_told_in_words_unless_its_state_is_asked_for(desk: Desk) -> None:
    text = "rules: [{name: many, kind: count, when: {text: refund}, at_least: 2, within: 1h}]"
    (desk.folder / "rules.yaml").write_text(text, "utf-8")
    again = replace(ASKED, id=MessageId(1778), sent_at=after(seconds=1))
    rules = load([Source("rules.yaml", text)], app=APP)
    outcome = step(rules, WATCH, {}, [ASKED, again], now=after(seconds=3))
    [found] = outcome.alerts
    with open_store(desk.folder / "store.db") as store, store.write() as tx:
        tx.add_users([UserId("ben")], NOON)
        finding = Finding(alert=found, routes=(Route(receiver="ops"),))
        tx.commit(
            Commit(
                uid=UserId("ben"),
                expected=Cursor(),
                states=outcome.states,
                findings=(finding,),
                because=outcome.because,
            )
        )
    first = "the first sent at 2026-03-01 12:00:00Z, the last at 12:00:01Z"
    now, then = ("remembers 2 messages", ""), ("remembers 2 messages (before: 0)", " (before: none)")
    for asked, (count, was) in (("1777", now), (str(found.id), then)):
        line = f"    {count}, {first}; 1 alert told, 1 open{was}"
        shown, stored = desk("explain", asked).stdout, desk("explain", asked, "--state").stdout
        assert line in shown.splitlines()
        assert line in stored.splitlines()
        assert "rows: 0 -> 2" in stored
        assert "rows: 0 -> 2" not in shown
        assert "s3cret" not in stored
    assert "s3cret" in desk("explain", "1777", "--state", "--text").stdout
    [cause] = desk.json("explain", str(found.id))["story"]["causes"]
    assert cause["words"][0].startswith("remembers 2 messages (before: 0)")
    assert json.loads(cause["after"])["rows"][0][1] == 1777
    [rule] = desk.json("explain", "1777")["rules"]
    assert rule["remembered"][0]["words"] == [f"remembers 2 messages, {first}; 1 alert told, 1 open"]


def test_only_rules_that_it_concerns_are_told_in_full(desk: Desk) -> None:
    rules = [f"{{name: r{number}, kind: match, when: {{text: word{number}}}}}" for number in range(7, 10)]
    (desk.folder / "rules.yaml").write_text(f"rules: [{', '.join(rules)}]", "utf-8")
    page = recorded(
        desk,
        sender="anna",
        receiver="ben",
        data=a_row(sender="anna", receiver="ben")["data"] | {"text": "word7"},
    )
    shown = desk("explain", "1700", "--from", page)
    assert "r7: matches" in shown.stdout
    assert "r8: no" not in shown.stdout
    assert "--rule NAME tells of one in full" in shown.stderr
    assert "r8: no" in desk("explain", "1700", "--from", page, "--rule", "r8").stdout


# --- wrong use --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("alert")
def test_what_is_not_there(desk: Desk) -> None:
    (line,) = desk.refused("explain", "a1b2", code=1)
    assert line.startswith("cometwatch: there is no alert a1b2, or several begin so: `cometwatch outbox")
    (line,) = desk.refused("explain", "1777", "--rule", "zzz", code=2)
    assert line == 'cometwatch: there is no rule "zzz": `cometwatch rules list` shows them'
    (line,) = desk.refused("explain", "1777", "--from", "nowhere.json", code=2)
    assert "nowhere.json: No such file or directory" in line
    garbage = desk.folder / "garbage.json"
    garbage.write_text("hello")
    (line,) = desk.refused("explain", "1777", "--from", str(garbage), code=2)
    assert "garbage.json" in line


@pytest.mark.usefixtures("alert")
def test_rules_that_the_monitor_does_not_run_with_are_named(desk: Desk) -> None:
    rules = (
        "rules: [{name: refund, kind: match, when: {text: [refund, back]}}, {name: new, kind: missed_call}]"
    )
    (desk.folder / "rules.yaml").write_text(rules, "utf-8")
    notes = desk.json("explain", "1777")["notes"]
    assert notes == [
        "the rule refund is not the one that the monitor last ran with",
        "the rule new is not yet known to the monitor that wrote the store",
    ]


def test_hostile_words_do_not_command_the_terminal(desk: Desk) -> None:
    page = recorded(
        desk, tags=["\x1b[2J"], data={"text": "\x1b[31mred\nline", "entities": {}}, sender="a\x1bb"
    )
    (desk.folder / "rules.yaml").write_text("rules: [{name: t, kind: match, when: {tags: x}}]", "utf-8")
    shown = desk("explain", "1700", "--from", page, "--text")
    assert shown.exit_code == 0
    assert "red" in shown.stdout
    assert "\x1b" not in shown.output
