"""`check` and `schema`."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml

from monitor.cli.checking import unreachable
from monitor.delivery.policy import RouteSpec
from monitor.settings import Reader
from rules import spec
from tests.cli.conftest import Desk

RULE = """\
rules:
  - {name: invoice, severity: info, labels: {area: billing}, when: {text: {contains: invoice}}}
"""


def test_settings_that_are_fine(desk: Desk) -> None:
    desk.config.write_text(desk.config.read_text() + "rules: {packs: [missed-calls, attachments]}\n")
    result = desk("check")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "fine: 2 users, 4 rules, 1 receiver\n", "")


def test_problems_of_the_settings_are_told_with_their_place(desk: Desk) -> None:
    desk.config.write_text("api: {app_id: a}\nwatch: {users: [anna]}\npoll: {min_intervall: 2s}\n")
    lines = desk.refused("check", code=2)
    assert [line.removeprefix(f"{desk.config}:")[:40] for line in lines] == [
        "1:6: api: region missing: the CometChat ",
        '3:8: unknown key "poll.min_intervall" (d',
        "2 errors, 0 warnings",
    ]


def test_problems_of_rules_packs_and_secrets_are_told_together(desk: Desk) -> None:
    text = desk.config.read_text().replace("api_key: sesame-sesame", "api_key_file: nowhere")
    desk.config.write_text(text + "rules: {packs: [missed-call], files: [mine.yaml]}\n")
    (desk.folder / "mine.yaml").write_text(RULE.replace("severity: info", "severity: infos"))
    said = "\n".join(desk.refused("check", code=2))
    assert "api.api_key_file: can't read" in said
    assert 'cometwatch.yaml:6:17: there is no pack "missed-call" (did you mean "missed-calls"?)' in said
    assert "mine.yaml:2:" in said
    assert "3 errors" in said


def test_a_rule_file_that_is_not_there(desk: Desk) -> None:
    desk.config.write_text(desk.config.read_text() + "rules: {files: [nowhere.yaml]}\n")
    first = desk.refused("check", code=2)[0]
    assert first.startswith(f"{desk.config}:6:17: rules.files: there is no file {desk.folder}/nowhere.yaml")


def test_a_rule_file_whose_name_no_system_takes(desk: Desk) -> None:
    desk.config.write_text(desk.config.read_text() + f"rules: {{files: [{'a' * 300}.yaml]}}\n")
    assert "can't be looked up: File name too long" in desk.refused("check", code=2)[0]


def test_a_rule_file_that_is_not_text(desk: Desk) -> None:
    desk.config.write_text(desk.config.read_text() + "rules: {files: ['*.rules']}\n")
    (desk.folder / "a.rules").write_bytes(b"\xff")
    assert desk.refused("check", code=2)[0] == (
        f"{desk.folder}/a.rules: not UTF-8 text (byte 0); save it as UTF-8"
    )


def wrong_promises(desk: Desk, watch: str, *, requests: int = 250, poll: str = "{}") -> list[str]:
    """The errors of `check`, without the file's name."""
    text = desk.config.read_text()
    watched = next(line for line in text.splitlines() if line.startswith("watch:"))
    text = text.replace(watched, f"watch: {{{watch}}}\npoll: {poll}")
    desk.config.write_text(text.replace("sesame-sesame", f"sesame-sesame, requests_per_minute: {requests}"))
    lines = desk("check").stderr.splitlines()
    return [line.removeprefix(f"{desk.config}:") for line in lines if "max_staleness" in line]


def test_promises_beyond_the_budget_are_refused_with_the_nearest_that_can_be_kept(desk: Desk) -> None:
    users = ", ".join(f"u{number}" for number in range(600))
    assert wrong_promises(desk, f"users: [{users}]", poll="{max_staleness: 1m}") == [
        "3:23: poll.max_staleness: 1m for 600 of 600 lists takes 600 requests a minute, but they may "
        "take half of 250 and leave the rest to busy lists: the nearest that can be kept is 4m48s; or set "
        "api.requests_per_minute to 1200; for example max_staleness: 4m48s"
    ]


@pytest.mark.parametrize(("seconds", "requests"), [("4m48s", 250), ("1m", 1200), ("auto", 1)])
def test_what_is_told_as_the_nearest_is_kept(desk: Desk, seconds: str, requests: int) -> None:
    users = ", ".join(f"u{number}" for number in range(600))
    promise = f"{{max_staleness: {seconds}}}"
    assert wrong_promises(desk, f"users: [{users}]", requests=requests, poll=promise) == []


def test_a_broken_promise_is_told_where_most_of_it_was_made(desk: Desk) -> None:
    vip = ", ".join(f"v{number}" for number in range(50))
    (line,) = wrong_promises(
        desk,
        "users: [anna, {uid: ben, max_staleness: 10s}], groups: [{guid: hiking, max_staleness: 20s}], "
        f"cohorts: [{{name: vip, users: [{vip}], max_staleness: 5s}}]",
    )
    assert "watch.cohorts[0].max_staleness: 5s for 50 of 53 lists takes 600 requests a minute" in line
    assert "the nearest that can be kept is " in line
    assert "a minute, all promises together 609, but" in line
    assert "times as long elsewhere)" in line


def test_a_promise_shorter_than_a_poll_is_refused(desk: Desk) -> None:
    result = desk("check", env={"COMETWATCH_POLL__MAX_STALENESS": "100ms"})
    assert result.exit_code == 2
    assert (
        "COMETWATCH_POLL__MAX_STALENESS: poll.max_staleness: 100ms can't be kept, no list is polled again "
        "within poll.min_interval (2s): promise as much or more, or lower that; for example max_staleness: 2s"
    ) in result.stderr


def test_a_file_that_names_nobody_is_warned_of(desk: Desk) -> None:
    (desk.folder / "agents.txt").write_text("# nobody yet\n", "utf-8")
    text = desk.config.read_text().replace(
        "watch: {", "watch: {cohorts: [{name: agents, file: agents.txt}], "
    )
    desk.config.write_text(text)
    result = desk("check")
    assert result.exit_code == 0
    assert 'agents.txt names nobody: cohort "agents" watches no user' in result.stderr


def test_a_pattern_that_fits_no_file_and_no_rule_at_all_are_warned_of(desk: Desk) -> None:
    desk.config.write_text(desk.config.read_text() + "rules: {packs: [], files: ['ruels/*.yaml']}\n")
    result = desk("check")
    assert result.exit_code == 0
    assert "ruels/*.yaml yet; mend it if there should be one" in result.stderr
    assert "warning: there is no rule: nothing will ever be found; for example rules: {packs" in result.stderr


def test_no_budget_on_sale_keeps_some_promises(desk: Desk) -> None:
    users = ", ".join(f"u{number}" for number in range(600))
    (line,) = wrong_promises(desk, f"users: [{users}]", requests=20_000, poll="{max_staleness: 2s}")
    assert "or watch fewer users" in line


def test_rules_that_need_what_the_source_cannot_show_are_warned_of(desk: Desk) -> None:
    result = desk("check")
    assert result.exit_code == 0
    assert 'warning: rule "mention" is after something that happens in groups' in result.stderr
    assert result.stdout == "fine: 2 users, 5 rules, 1 receiver; 1 warning\n"


def test_no_settings_at_all() -> None:
    assert (
        "no --config given: api is missing"
        in Desk.__call__(_nowhere(), "check", env={"COMETWATCH_CONFIG": ""}).stderr
    )


def _nowhere() -> Desk:
    from pathlib import Path

    return Desk(Path())


def test_print_shows_the_settings_in_force_without_secrets(desk: Desk) -> None:
    result = desk("check", "--print", env={"COMETWATCH_API__REQUESTS_PER_MINUTE": "99"})
    shown = yaml.safe_load(result.stdout.partition("\nfine:")[0])
    assert shown["api"]["requests_per_minute"] == 99
    assert shown["poll"]["min_interval"] == "2s"
    assert "sesame" not in result.output


def test_json(desk: Desk) -> None:
    found = desk.json("check", "--print")
    assert found["ok"] is True
    assert found["settings"]["api"]["api_key"] == "**********"
    assert [(one["is_warning"], one["place"]["source"]) for one in found["problems"]] == [
        (True, "packs/mentions.yaml")
    ]


# --- rules that reach nobody ------------------------------------------------------------------------

RULES = spec.load([spec.Source("mine.yaml", RULE)], app="a")
WATCH: dict[str, dict[str, str]] = {"anna": {}, "ben": {"team": "payments"}, "cleo": {"team": "payments"}}


@pytest.mark.parametrize(
    ("match", "lost"),
    [
        ({}, None),
        ({"severity": ("critical", "info")}, None),
        ({"area": ("billing",)}, None),
        ({"rule": ("invoice",)}, None),
        ({"severity": ("critical",)}, 'alerts of rule "invoice" reach no receiver'),
        (
            {"team": ("payments",)},
            'alerts of rule "invoice" about anna (and users labelled alike) reach no receiver',
        ),
        ({"team": ("", "payments")}, None),
        ({"team": ("",)}, 'alerts of rule "invoice" about ben (and users labelled alike) reach no receiver'),
    ],
)
def test_rules_that_reach_no_receiver(match: dict[str, tuple[str, ...]], lost: str | None) -> None:
    found = list(unreachable(RULES, [RouteSpec(match=match, receivers=("ops",))], WATCH))
    assert [one.message.partition(":")[0] for one in found] == ([lost] if lost else [])
    assert all(one.is_warning and one.place.source == "mine.yaml" for one in found)


def test_check_tells_of_them(desk: Desk) -> None:
    desk.config.write_text(
        desk.config.read_text() + "routes: [{match: {team: payments}, receivers: [ops]}]\n"
    )
    result = desk("check")
    assert result.exit_code == 0
    assert (
        'alerts of rule "missed-call" about anna (and users labelled alike) reach no receiver'
        in result.stderr
    )


@pytest.mark.parametrize(
    ("watch", "lost"),
    [
        ("users: [ben], cohorts: [{name: b, discover: {}, labels: {team: payments}}]", None),
        ("users: [ben], cohorts: [{name: b, discover: {}}]", "about cohort b (and"),
        ("users: [ben], groups: [hiking]", "about group hiking (and"),
        ("users: [ben, anna], groups: [hiking]", "about anna (and"),
    ],
)
def test_whoever_is_not_known_yet_must_reach_a_receiver_too(desk: Desk, watch: str, lost: str | None) -> None:
    watch = watch.replace("ben", "{uid: ben, labels: {team: payments}}")
    text = desk.config.read_text()
    watched = next(line for line in text.splitlines() if line.startswith("watch:"))
    routes = "routes: [{match: {team: payments}, receivers: [ops]}]\n"
    desk.config.write_text(text.replace(watched, f"watch: {{{watch}}}") + routes)
    told = desk("check").stderr
    assert lost in told if lost else "reach no receiver" not in told


def test_what_will_be_watched_is_counted(desk: Desk) -> None:
    text = desk.config.read_text()
    more = "cohorts: [{name: a, users: [cleo]}, {name: b, discover: {}}], groups: [hiking], users:"
    desk.config.write_text(text.replace("users:", more))
    assert desk("check").stdout.startswith("fine: 3 users, 1 cohort to discover, 1 group, 5 rules")


# --- schema -----------------------------------------------------------------------------------------


def test_schemas(desk: Desk) -> None:
    settings = json.loads(desk("schema", "settings").stdout)
    rules = json.loads(desk("schema", "rules").stdout)
    jsonschema.Draft202012Validator(settings).validate(yaml.safe_load(desk.config.read_text()))
    jsonschema.Draft202012Validator(rules).validate(yaml.safe_load(RULE))
    assert "'settings', 'rules'" in desk.wrong_use("schema", "alerts")


def test_the_documented_sample_is_read(desk: Desk) -> None:
    assert Reader(desk.config, {}).settings().api.app == "275211"
