"""`backtest` and `diff`: rules on messages of the past, from the simulated API, the cache and files."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import trio
from typer.testing import CliRunner, Result

from monitor.cli import app
from monitor.clock import system_wall
from monitor.server import listening, serve
from monitor.simulator import Fault, Note, World, build

KEY = "0123456789abcdef0123456789abcdef01234567"
DAY_S = 86_400
RECORDED = Path(__file__).parents[1] / "data" / "list-user-messages.json"
SETTINGS = """\
api: {{base_url: "{url}/v3", api_key: {key}, requests_per_minute: 6000}}
watch: {{users: [ann, {{uid: bob, labels: {{team: payments}}}}]}}
store: {{url: "sqlite:///{folder}/store.db"}}
server: {{listen: "{listen}"}}
receivers: [{{name: ops, console: {{}}}}, {{name: money, console: {{}}}}]
routes: [{{match: {{team: payments}}, receivers: [money]}}, {{receivers: [ops]}}]
"""
TEXTS = "rules: [{name: texts, when: {type: text}}]"


@dataclass
class Archive:
    """A simulated app with a past, and an operator's desk beside it."""

    folder: Path
    world: World = field(default_factory=lambda: World(api_key=KEY, clock=lambda: system_wall().timestamp()))
    listen: str = "127.0.0.1:1"
    _open: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        for uid in ("ann", "bob", "cleo"):
            self.world.add_user(uid, uid.capitalize())
        now = self.world.now()
        for day in range(10, 0, -1):
            at = Note(sent_at=int(now - day * DAY_S))
            self.world.send("ann", "cleo", content={"text": "sesame"}, note=at)
            if day % 2 == 0:
                call, _ = self.world.start_call("cleo", "bob", note=at)
                over = Note(sent_at=int(now - day * DAY_S + 40))
                self.world.change_call(call.session_id, "unanswered", note=over)

    async def __call__(self, *args: str, config: bool = True, code: int = 0) -> Result:
        """Run a command; the simulator answers meanwhile."""
        async with trio.open_nursery() as nursery:
            api = partial(serve, build(self.world), listening("127.0.0.1:0"), date_header=False)
            url = await nursery.start(api)
            settings = self.folder / "cometwatch.yaml"
            text = SETTINGS.format(url=url, key=KEY, folder=self.folder, listen=self.listen)
            settings.write_text(text)
            env = {"COMETWATCH_CONFIG": str(settings) if config else None, "XDG_CACHE_HOME": str(self.folder)}
            words = [word.replace("{url}", url) for word in args]
            runner = CliRunner(env=env)
            result = await trio.to_thread.run_sync(lambda: runner.invoke(app, words, prog_name="cometwatch"))
            nursery.cancel_scope.cancel()
        assert result.exit_code == code, result.output
        return result

    async def json(self, *args: str, config: bool = True) -> Any:
        result = await self(*args, "--json", config=config)
        assert result.stderr == ""
        return json.loads(result.stdout)

    def asked(self) -> int:
        return len(self.world.requests)

    def write(self, name: str, text: str) -> str:
        file = self.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return str(file)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    # The port of a base URL is part of an app's name: without one of its own each command has a new cache.
    return Archive(tmp_path)


@pytest.fixture
def same_port(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """Every command finds the API at the same address."""
    with listening("127.0.0.1:0") as reserved:
        port = reserved.getsockname()[1]
    fixed = partial(listening, f"127.0.0.1:{port}")
    monkeypatch.setattr(f"{__name__}.listening", lambda _: fixed())
    return archive


def command(*args: str | Path) -> Result:
    """Without any settings."""
    return CliRunner(env={"COMETWATCH_CONFIG": None}).invoke(app, [*map(str, args)])


# --- backtest -----------------------------------------------------------------------------------------


async def test_the_configured_rules_run_over_what_every_watched_list_had(archive: Archive) -> None:
    found = await archive.json("backtest", "--since", "9d")
    assert (found["messages"], found["lists"], found["requests"]) == (8 + 2 * 4, 2, 2)
    calls = next(rule for rule in found["rules"] if rule["rule"] == "missed-call")
    assert (calls["alerts"], calls["pages"], calls["not_sent"]) == (4, 4, {})
    assert calls["pages_per_day"] == pytest.approx(4 / 9, abs=0.01)
    assert [one["receivers"] for one in found["found"]] == [["money"]] * 4
    assert "sesame" not in json.dumps(found)


async def test_people_see_a_table_a_map_and_what_cannot_be_known(archive: Archive) -> None:
    shown = (await archive("backtest", "--since", "9d", "--time-zone", "Europe/Berlin")).stdout
    assert shown.startswith("16 messages of 2 lists, ")
    columns, first, *_ = shown.splitlines()[3:]
    assert columns.split()[:5] == ["rule", "severity", "alerts", "resolved", "pages"]
    assert first.split()[:5] == ["missed-call", "warning", "4", "-", "4"]
    assert re.search(r"^\w{3} \d\d \w{3} .*░░.*   1$", shown, re.MULTILINE)
    assert "Pages by day and hour, Europe/Berlin" in shown
    assert "Missed audio call: Cleo (cleo) to Bob (bob)" in shown
    assert "they begin without memory" in shown
    assert "cometwatch plan" in shown


async def test_nothing_is_sent_and_nothing_written_but_the_cache(archive: Archive) -> None:
    await archive("backtest")
    assert {request.method for request in archive.world.requests} == {"GET"}
    files = {str(file.relative_to(archive.folder)) for file in archive.folder.rglob("*") if file.is_file()}
    cache = {file for file in files if file.startswith("cometwatch/history/")}
    assert files == {"cometwatch.yaml", *cache}
    assert sorted(Path(file).name for file in cache) == ["ann.jsonl.gz", "bob.jsonl.gz"]
    assert all((archive.folder / file).stat().st_mode & 0o077 == 0 for file in cache)


@pytest.mark.usefixtures("same_port")
async def test_the_second_run_asks_for_news_alone_and_offline_for_nothing(archive: Archive) -> None:
    cache = str(archive.folder / "mine")
    first = await archive.json("backtest", "--since", "9d", "--cache", cache)
    before = archive.asked()
    again = await archive.json("backtest", "--since", "9d", "--cache", cache, "--offline")
    assert archive.asked() == before
    assert again["requests"] == 0
    for key in ("messages", "alerts", "rules", "until"):
        assert again[key] == first[key]


@pytest.mark.usefixtures("same_port")
async def test_offline_says_what_is_missing(archive: Archive) -> None:
    nothing = await archive("backtest", "--offline", code=2)
    assert "it has nothing of these lists; fetch it without --offline" in nothing.stderr
    await archive("backtest", "--user", "bob", "--since", "3d")
    notes = (await archive.json("backtest", "--offline", "--since", "30d"))["notes"]
    assert "Nothing is kept of ann: fetch without --offline." in notes


async def test_new_rules_take_the_place_of_the_configured_ones(archive: Archive) -> None:
    rules = archive.write("new/texts.yaml", TEXTS)
    archive.write("new/texts.test.yaml", "tests: []")  # is not taken for rules
    for name in (rules, str(Path(rules).parent)):
        found = await archive.json("backtest", "--since", "9d", "--rules", name)
        assert [(rule["rule"], rule["alerts"]) for rule in found["rules"]] == [("texts", 8)]
    found = await archive.json("backtest", "--since", "9d", "--rules", "missed-calls", "--rules", rules)
    assert [rule["rule"] for rule in found["rules"]] == ["missed-call", "texts"]


async def test_a_rule_in_shadow_is_counted_and_pages_nobody(archive: Archive) -> None:
    rules = archive.write("new.yaml", "rules: [{name: texts, when: {type: text}, shadow: true}]")
    found = await archive.json("backtest", "--since", "9d", "--rules", rules)
    (texts,) = found["rules"]
    assert (texts["alerts"], texts["pages"], texts["not_sent"]) == (8, 0, {"shadow": 8})
    assert len(found["hours"]) == 8  # when it would have come is shown all the same
    shown = (await archive("backtest", "--since", "9d", "--rules", rules)).stdout
    assert "Alerts by day and hour" in shown
    assert "8 shadow" in shown


async def test_one_user_is_watched_alone_and_keeps_the_labels_of_the_settings(archive: Archive) -> None:
    found = await archive.json("backtest", "--since", "9d", "--user", "BOB")
    assert found["lists"] == 1
    assert [one["watched_users"] for one in found["found"]] == [["bob"]] * 4
    assert found["found"][0]["receivers"] == ["money"]


async def test_without_settings_a_user_an_address_and_a_key_are_enough(archive: Archive) -> None:
    key = archive.write("key", KEY)
    args = ("backtest", "--user", "bob", "--since", "9d", "--base-url", "{url}/v3", "--api-key-file", key)
    found = await archive.json(*args, config=False)
    assert found["alerts"] == 4
    assert (await archive("backtest", "--base-url", "{url}/v3", config=False, code=2)).stderr.endswith(
        "say whose history: --user UID, or --config with your settings\n"
    )


async def test_redacted_history_says_so_and_holds_no_text(archive: Archive) -> None:
    rules = archive.write("new.yaml", "rules: [{name: words, when: {text: [sesame]}}]")
    args = ("backtest", "--since", "9d", "--rules", rules)
    assert (await archive.json(*args))["alerts"] == 8
    found = await archive.json(*args, "--redact")
    assert found["alerts"] == 0
    assert any("were left out: rules about them found nothing" in note for note in found["notes"])


async def test_an_edited_message_is_told(archive: Archive) -> None:
    row = archive.world.send(
        "cleo", "ann", content={"text": "a word"}, note=Note(sent_at=int(archive.world.now() - DAY_S))
    )
    archive.world.delete(row.id, by="cleo")
    notes = (await archive.json("backtest", "--since", "9d"))["notes"]
    assert any(note.startswith("1 message had been edited or deleted when read") for note in notes)


async def test_unknown_users_do_not_stop_it(archive: Archive) -> None:
    found = await archive.json("backtest", "--since", "9d", "--user", "bob", "--user", "nobody")
    assert found["alerts"] == 4
    assert "CometChat does not have nobody: check the names." in found["notes"]
    refused = await archive("backtest", "--user", "nobody", code=2)
    assert "CometChat does not have nobody" in refused.stderr


async def test_a_refused_key_is_told_in_one_line(archive: Archive) -> None:
    archive.world.faults.add(Fault(kind="key-expired"))
    refused = await archive("backtest", code=1)
    assert refused.stdout == ""
    lines = set(refused.stderr.splitlines())  # of two lists if both were asked at once
    assert {"CometChat does not know the API key or the app" in line for line in lines} == {True}
    assert KEY not in refused.output


async def test_beside_a_running_monitor_the_budget_must_be_said(archive: Archive) -> None:
    async with trio.open_nursery() as nursery:
        url = await nursery.start(serve, _always_well, listening("127.0.0.1:0"))
        archive.listen = url.removeprefix("http://")
        refused = await archive("backtest", code=2)
        assert f"a monitor is running on {archive.listen}" in refused.stderr
        assert "--requests-per-minute 1200" in refused.stderr
        assert archive.asked() == 0
        found = await archive.json("backtest", "--requests-per-minute", "1200")
        assert found["requests"] == 2
        nursery.cancel_scope.cancel()


async def _always_well(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


async def test_the_plot_is_a_picture_that_needs_nothing_else(archive: Archive) -> None:
    file = archive.folder / "alerts.svg"
    await archive("backtest", "--since", "9d", "--plot", str(file))
    drawn = file.read_text()
    root = ElementTree.fromstring(drawn)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    titles = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert sum(title.endswith("1 pages of missed-call") for title in titles) == 4
    assert set(re.findall(r"https?://[^\"' ]+", drawn)) == {"http://www.w3.org/2000/svg"}
    wrong = await archive("backtest", "--plot", str(archive.folder / "no" / "where.svg"), code=2)
    assert "give a file such as alerts.svg" in wrong.stderr


def test_recorded_files_need_no_api(tmp_path: Path) -> None:
    shown = command("backtest", RECORDED)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith("2 messages, 2022-03-11 10:38:17Z to ")
    shutil.copy(RECORDED, tmp_path)
    once, twice = (command("backtest", *names, "--json") for names in ([RECORDED], [tmp_path, RECORDED]))
    assert once.stdout == twice.stdout
    (found,) = json.loads(once.stdout)["found"]
    assert (found["rule"], found["fate"], found["receivers"]) == ("missed-call", "sent", ["on-call"])
    assert found["resolved_at"]


async def test_lines_of_messages_and_files_of_the_cache_are_recordings_too(archive: Archive) -> None:
    args = ("messages", "bob", "--json", "--per-page", "1000", "--base-url", "{url}/v3")
    lines = archive.write("lines.jsonl", (await archive(*args)).stdout)
    await archive("backtest", "--user", "bob", "--since", "30d")
    (kept,) = (archive.folder / "cometwatch").rglob("*.gz")
    for file in (lines, kept):
        found = json.loads(command("backtest", file, "--json").stdout)
        assert (found["messages"], found["alerts"]) == (10, 5)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--since", "yesterday"], "--since yesterday: give a span or a time, for example 30d or 2026-11-01"),
        (["--time-zone", "Mars/Base"], "there is no such zone; for example Europe/Berlin"),
        (["--offline"], "--offline is for a history that is fetched: leave it out with files"),
        (["--rules", "missed-cals"], "there is no file, folder or pack missed-cals (did you mean"),
        (["--rules", "nowhere.yaml"], "nowhere.yaml: can't be read"),
    ],
)
def test_wrong_use_is_told_with_the_right_one(args: list[str], said: str) -> None:
    result = command("backtest", RECORDED, *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.split())


def test_files_that_are_no_messages_are_refused(tmp_path: Path) -> None:
    (tmp_path / "odd.json").write_text("<html>")
    result = command("backtest", tmp_path / "odd.json")
    assert result.exit_code == 2
    assert "odd.json: the body is no JSON page" in result.stderr
    (tmp_path / "odd.json").unlink()
    result = command("backtest", tmp_path)
    assert "there are no messages in this folder: no *.json, no *.jsonl, no *.jsonl.gz" in result.stderr


def test_a_past_without_messages() -> None:
    result = command("backtest", RECORDED, "--since", "1h")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("0 messages, ")


# --- diff ---------------------------------------------------------------------------------------------


@pytest.fixture
def recording(archive: Archive) -> Path:
    """Bob's ten days: five calls, each with the row of its end."""
    args = ("messages", "bob", "--json", "--per-page", "1000", "--base-url", "{url}/v3")
    result = trio.run(partial(archive, *args))
    return Path(archive.write("recorded/bob.jsonl", result.stdout))


Write = Callable[[str, str], str]


@pytest.fixture
def write(archive: Archive) -> Write:
    return archive.write


def test_the_same_rules_differ_in_nothing(recording: Path) -> None:
    result = command("diff", "missed-calls", "missed-calls", recording)
    assert result.exit_code == 0, result.output
    assert "\nNo alert differs.\n" in result.stdout


def test_what_comes_and_what_goes(recording: Path, write: Write) -> None:
    new = write("new.yaml", "rules: [{name: calls, when: {category: call}}]")
    found = json.loads(command("diff", "missed-calls", new, recording.parent, "--json").stdout)
    assert (found["added"], found["removed"], found["changed"]) == (10, 5, 0)
    rules = {rule["rule"]: rule["alerts"] for rule in found["rules"]}
    assert rules == {"missed-call": {"old": 5, "new": 0}, "calls": {"old": 0, "new": 10}}
    shown = command("diff", "missed-calls", new, "--messages", recording).stdout
    marks = [line[0] for line in shown.splitlines() if line[:1] in {"+", "-", "~"}]
    assert marks == ["-"] * 3 + ["+"] * 3
    assert "No alert differs" not in command("diff", "missed-calls", new, recording, "--examples", "0").stdout


def test_what_changes(recording: Path, write: Write) -> None:
    old = write("old.yaml", "rules: [{name: calls, when: {action: unanswered}, title: One}]")
    new = write(
        "new.yaml",
        "rules: [{name: calls, when: {action: unanswered}, title: Two, severity: critical, shadow: true}]",
    )
    shown = command("diff", old, new, recording).stdout
    assert re.search(r"^calls +5 +5 +- +- +5 +\d\.\d -> 0\.0 *$", shown, re.MULTILINE)
    line = next(line for line in shown.splitlines() if line.startswith("~"))
    assert "severity warning -> critical, title One -> Two" in line
    assert "on-call -> the rule is in shadow: recorded, not sent" in line


def test_a_rule_under_another_name_is_told(recording: Path, write: Write) -> None:
    old = write("old.yaml", "rules: [{name: calls, when: {action: unanswered}}]")
    new = write("new.yaml", "rules: [{name: rings, when: {action: unanswered}}]")
    result = command("diff", old, new, recording)
    assert '"rings" finds what "calls" found' in result.stdout
    assert json.loads(command("diff", old, new, recording, "--json").stdout)["renamed"] == {"calls": "rings"}


@pytest.mark.parametrize(
    ("gate", "code", "said"),
    [
        (["--max-added", "9"], 1, "FAILED: 10 alerts are added, and --max-added allows 9"),
        (["--max-added", "10", "--max-removed", "5"], 0, ""),
        (["--max-removed", "0"], 1, "FAILED: 5 alerts are removed, and --max-removed allows 0"),
        (["--max-changed", "0"], 0, ""),
        (["--max-pages-per-day", "0.5"], 1, "pages a day are sent, and --max-pages-per-day allows 0.5"),
    ],
)
def test_a_gate_for_ci(recording: Path, write: Write, gate: list[str], code: int, said: str) -> None:
    new = write("new.yaml", "rules: [{name: calls, when: {category: call}}]")
    for form in ([], ["--json"]):
        result = command("diff", "missed-calls", new, recording, *gate, *form)
        assert result.exit_code == code, result.output
        assert said in result.stderr
        if form:
            assert bool(json.loads(result.stdout)["failed"]) is bool(code)


def test_several_names_are_one_rule_set(recording: Path, write: Write) -> None:
    mine = write("mine.yaml", TEXTS)
    found = json.loads(command("diff", "missed-calls", f"missed-calls, {mine}", recording, "--json").stdout)
    assert [rule["rule"] for rule in found["rules"]] == ["missed-call", "texts"]


@pytest.mark.usefixtures("same_port")
async def test_the_cache_of_a_backtest_will_do(archive: Archive) -> None:
    cache = str(archive.folder / "mine")
    await archive("backtest", "--since", "9d", "--cache", cache)
    before = archive.asked()
    args = ("diff", "missed-calls", "attachments", "--cache", cache)
    for config in (True, False):
        found = await archive.json(*args, config=config)
        assert (found["removed"], found["added"]) == (
            5,
            0,
        )  # all that is kept: pages go back a little further
    found = await archive.json(*args, "--since", "9d")
    assert found["removed"] == 4
    assert archive.asked() == before


async def test_a_comparison_of_redacted_messages_says_so(archive: Archive) -> None:
    cache = str(archive.folder / "mine")
    await archive("backtest", "--since", "9d", "--cache", cache, "--redact")
    shown = await archive("diff", "missed-calls", "keywords", "--cache", cache, config=False)
    assert "Texts, names, links and metadata values were left out" in shown.stdout


def test_without_messages_it_says_where_they_come_from(tmp_path: Path) -> None:
    result = command("diff", "missed-calls", "mentions", "--cache", tmp_path)
    assert result.exit_code == 2
    assert "no history is kept here: fill it with `cometwatch backtest --cache" in result.stderr
    both = command("diff", "missed-calls", "mentions", RECORDED, "--cache", tmp_path)
    assert "give files or --cache, not both" in both.stderr
    (tmp_path / "empty").mkdir()
    result = command("diff", "missed-calls", tmp_path / "empty", RECORDED)
    assert "there is no *.yaml in this folder" in result.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["empty"]
