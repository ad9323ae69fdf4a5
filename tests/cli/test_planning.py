"""`cometwatch plan`: from options alone, from settings, from what the store recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from monitor.cli import app
from monitor.cli.given import Given
from monitor.cli.planning import Options, asked
from monitor.clock import system_wall
from monitor.schedule.activity import Activity
from monitor.schedule.forecast import Part
from monitor.store.store import Store
from monitor.store.values import Commit
from rules.model import UserId
from tests.cli.conftest import Desk

START = datetime(2026, 11, 22, tzinfo=UTC)


def run(*args: str) -> str:
    """Without any settings."""
    result = CliRunner(env={"COMETWATCH_CONFIG": None}).invoke(app, ["plan", *args])
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def at(document: Any, per_minute: int) -> Any:
    (found,) = [one for one in document["plans"] if one["requests_per_minute"] == per_minute]
    return found


def test_users_and_a_budget_are_enough() -> None:
    found = json.loads(run("--users", "1000", "--requests-per-minute", "1000", "--json"))
    assert (found["lists"], found["promises_kept"], found["traffic"]) == (1000, True, "reference")
    assert [one["requests_per_minute"] for one in found["plans"]] == [500, 1000, 2000, 4000]
    line = at(found, 1000)
    assert line["round_s"] == 60.0
    assert 3.0 < line["mean_s"] < 12.0 < line["p95_s"] < line["worst_s"]
    assert line["worst_s"] == pytest.approx(240.0)
    assert line["first_mean_s"] < line["mean_s"] < 0.4 * line["round_robin_mean_s"]
    assert line["share_of_quota"] == pytest.approx(1.0, rel=0.01)


def test_people_read_a_table_and_what_it_rests_on() -> None:
    shown = run("--users", "200", "--requests-per-minute", "200")
    first, _, _, columns, *rows = shown.splitlines()
    assert first.startswith("200 lists, 200 requests a minute: a message is read ")
    assert columns.split()[0] == "requests/min"
    assert [row.split()[0] for row in rows[:4]] == ["100", "200", "400", "800"]
    assert rows[1].split()[1] == "<"
    assert "NOT AS PROMISED" not in shown
    for word in ("simulated chat, 30 new rows a day", "a fifth", "40% of the free plan's 500"):
        assert word in shown


def test_a_promise_that_can_not_be_kept_is_told_with_the_budget_that_keeps_it() -> None:
    words = ("--users", "300", "--requests-per-minute", "100", "--max-staleness", "1m")
    assert "NOT AS PROMISED: that takes 600 requests a minute, or promises 6.0 times as long." in run(*words)
    found = json.loads(run(*words, "--json"))
    assert (found["promises_kept"], found["needed_requests_per_minute"]) == (False, 600)
    assert at(found, 100)["stretch"] == pytest.approx(6.0)
    assert at(found, 100)["worst_s"] == pytest.approx(360.0)
    assert at(found, 600)["worst_s"] == pytest.approx(60.0)


def test_settings_bring_their_parts_with_their_terms(desk: Desk) -> None:
    vip = "{name: vip, users: [cleo], weight: 25, max_staleness: 10s}"
    text = desk.config.read_text().replace("watch: {", f"watch: {{groups: [hiking], cohorts: [{vip}], ")
    text = text.replace("{uid: ben, labels: {team: payments}}", "{uid: ben, max_staleness: auto}")
    text = text.replace("api_key: sesame-sesame", "api_key: sesame-sesame, requests_per_minute: 40")
    desk.config.write_text(text)
    question = asked(Given(desk.config, {}), Options())
    assert (question.lists, question.requests_per_minute, question.min_interval) == (4, 40, 2.0)
    assert set(question.parts) == {
        Part("users", 2, 1.0, None),
        Part("vip", 1, 25.0, 10.0),
        Part("groups", 1, 1.0, None),
    }


def test_options_replace_what_the_settings_say(desk: Desk) -> None:
    found = desk.json("plan", "--users", "500", "--requests-per-minute", "300", "--max-staleness", "10m")
    assert (found["lists"], found["requests_per_minute"]) == (500, 300)
    assert at(found, 300)["worst_s"] == pytest.approx(min(600.0, at(found, 300)["worst_s"]))
    assert at(found, 300)["parts"][0]["max_staleness_s"] == 600.0


def test_a_cohort_to_be_discovered_is_not_counted_and_that_is_said(desk: Desk) -> None:
    cohorts = "[{name: support, discover: {}}, {name: vip, users: [cleo], max_staleness: 10s}]"
    desk.config.write_text(desk.config.read_text().replace("watch: {", f"watch: {{cohorts: {cohorts}, "))
    shown = desk("plan").stdout
    assert 'Cohort "support" is found while running and not counted here' in shown
    (vip,) = [line.split() for line in shown.splitlines() if line.startswith("vip")]
    assert vip[:5] == ["vip", "1", "1", "10", "s"]


@pytest.mark.parametrize("watch", ["source: app", "source: groups, groups: [hiking]"])
def test_a_cohort_whose_lists_are_not_read_is_not_missed(desk: Desk, watch: str) -> None:
    cohorts = "[{name: support, discover: {}}]"
    text = desk.config.read_text().replace("watch: {", f"watch: {{{watch}, cohorts: {cohorts}, ")
    desk.config.write_text(text)
    assert desk.json("plan")["notes"] == []


def test_a_round_of_weeks_is_not_called_shorter() -> None:
    line = at(json.loads(run("--users", "1000000", "--requests-per-minute", "20", "--json")), 20)
    assert line["worst_s"] == pytest.approx(4 * line["round_s"])


def test_one_list_for_all_is_one_list(desk: Desk) -> None:
    desk.config.write_text(desk.config.read_text().replace("watch: {", "watch: {source: app, "))
    found = desk.json("plan")
    assert found["lists"] == 1
    assert at(found, 250)["mean_s"] == pytest.approx(1.0, rel=0.1)
    assert at(found, 250)["share_of_quota"] == pytest.approx(30 / 250, rel=0.01)


def remember(store: Store, rows: dict[str, int]) -> None:
    """Users with so many rows in the last hour."""
    wall = system_wall().timestamp()
    with store.write() as tx:
        tx.add_users([UserId(uid) for uid in rows], START)
    with store.write() as tx:
        for uid, count in rows.items():
            activity = Activity(now=0.0)
            activity.saw([3600.0 * part / count for part in range(count)], now=0.0)
            tx.commit(Commit(uid=UserId(uid), activity=activity.packed(0.0, wall)))


def test_what_was_recorded_takes_the_place_of_reference_chat(desk: Desk, reopen: Callable[[], Store]) -> None:
    with reopen() as store:
        remember(store, {"anna": 500, "ben": 1})
    found = desk.json("plan", "--from-store", "--requests-per-minute", "10")
    assert (found["traffic"], found["messages_per_day"], found["lists"]) == ("recorded", None, 2)
    line = at(found, 10)
    assert line["mean_s"] < line["round_robin_mean_s"]
    assert line["first_mean_s"] is None
    assert line["worst_s"] <= 48.0
    assert "by the store's record" in desk("plan", "--from-store").stdout


def test_a_store_without_a_record_is_told_what_to_do(desk: Desk, reopen: Callable[[], Store]) -> None:
    with reopen():
        pass
    (line,) = desk.refused("plan", "--from-store", code=2)
    assert "no activity of these lists yet: let `cometwatch run` watch for an hour" in line


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--users", "10", "--max-staleness", "soon"], "--max-staleness soon: expected a time with its unit"),
        (
            ["--users", "10", "--max-staleness", "1s"],
            "a promise of 1 s can't be kept, no list is polled again within 2 s: promise as much or more, "
            "or plan with --min-interval 1s",
        ),
        (["--users", "10", "--min-interval", "1ms"], "--min-interval 1ms: give 100ms or more"),
    ],
)
def test_wrong_options_are_told_with_the_right_form(desk: Desk, args: list[str], said: str) -> None:
    (line,) = desk.refused("plan", *args, code=2)
    assert said in line


def test_nobody_to_plan_for_is_told_how_to_say_whom() -> None:
    result = CliRunner(env={"COMETWATCH_CONFIG": None}).invoke(app, ["plan"])
    assert result.exit_code == 2
    assert "say whom to plan for: --users 1000, or --config with your settings" in result.stderr


def test_a_store_knows_its_users(desk: Desk) -> None:
    assert "leave out --users" in desk.wrong_use("plan", "--from-store", "--users", "5")
