"""`routes show|test`: where alerts go, and why."""

from __future__ import annotations

import pytest

from tests.cli.conftest import SETTINGS, Desk

ROUTES = """\
receivers: [{name: ops, console: {}}, {name: oncall, console: {}}, {name: lead, console: {}}]
rules:
  files: [rules.yaml]
routes:
  - matchers: ['severity=~"critical|warning"']
    receivers: [oncall]
    group_by: [rule, team]
    repeat_interval: 4h
    continue: true
    escalate: [{after: 15m, receivers: [lead]}]
    routes:
      - {match: {team: payments}, receivers: [lead], group_by: []}
  - {match: {severity: info}, receivers: [], except: office}
  - {receivers: [ops], during: office}
"""
RULES = """\
calendars:
  office: {timezone: Europe/Berlin, open: [{days: mon-fri, hours: "09:00-17:00"}]}
rules:
  - {name: shout, kind: match, severity: critical, labels: {desk: front}, when: {category: message}}
"""
SUNDAY = "2026-11-22T12:00:00Z"
MONDAY = "2026-11-23T13:00:00+01:00"


@pytest.fixture
def desk(desk: Desk) -> Desk:
    settings = SETTINGS.format(folder=desk.folder)
    desk.config.write_text("".join((*settings.splitlines(keepends=True)[:4], ROUTES)), "utf-8")
    (desk.folder / "rules.yaml").write_text(RULES, "utf-8")
    return desk


def test_the_tree_is_shown(desk: Desk) -> None:
    header, *rows = desk("routes", "show").stdout.splitlines()
    assert header.split() == ["route", "takes", "receivers", "how"]
    assert [row.split()[0] for row in rows] == ["1", "1.1", "2", "3"]
    first, inner, nobody, last = rows
    for words in (
        'severity=~"critical|warning"',
        "oncall",
        "grouped by rule, team; after 30s, then every 5m with news; again every 4h while it fires",
        "after 15m without an answer also lead",
        "then the next routes too",
    ):
        assert words in first
    assert inner.startswith("  1.1")
    assert "team payments" in inner
    assert "severity info, except office" in nobody
    assert "nobody" in nobody
    assert "everything, during office" in last


def test_the_tree_as_json(desk: Desk) -> None:
    routes = desk.json("routes", "show")["routes"]
    assert [one["route"] for one in routes] == ["1", "1.1", "2", "3"]
    assert [one["receivers"] for one in routes] == ["oncall", "lead", "nobody", "ops"]


@pytest.mark.parametrize(
    ("args", "receivers"),
    [
        (("--label", "severity=critical", "--at", MONDAY), ["oncall", "ops"]),
        (("--label", "severity=critical", "--at", SUNDAY), ["oncall"]),
        (("--label", "severity=critical", "--label", "team=payments", "--at", MONDAY), ["lead", "ops"]),
        (("--label", "severity=info", "--at", SUNDAY), []),
        (("--label", "severity=info", "--at", MONDAY), ["ops"]),
        (("--rule", "shout", "--at", SUNDAY), ["oncall"]),
        (("--rule", "shout", "--user", "BEN", "--at", SUNDAY), ["lead"]),
        (("--rule", "shout", "--label", "severity=info", "--at", SUNDAY), []),
    ],
)
def test_who_is_told(desk: Desk, args: tuple[str, ...], receivers: list[str]) -> None:
    assert desk.json("routes", "test", *args)["receivers"] == receivers


def test_the_labels_are_those_that_routes_see(desk: Desk) -> None:
    told = desk.json("routes", "test", "--rule", "shout", "--user", "ben", "--at", MONDAY)
    assert told["labels"] == {"desk": "front", "rule": "shout", "severity": "critical", "team": "payments"}
    assert told["at"].startswith("2026-11-23T13:00:00")


def test_each_route_says_why(desk: Desk) -> None:
    shown = desk("routes", "test", "--label", "severity=critical", "--at", SUNDAY).stdout
    for words in (
        "labels: severity=critical",
        "route 1 takes it: to oncall, and the next routes are asked too",
        "route 1.1 does not take it: it wants team payments",
        "route 2 does not take it: it wants severity info",
        "route 3 does not take it now: only during office",
        "told: oncall\n",
        "oncall: grouped by rule, team; after 30s, then every 5m with news; again every 4h while it fires; "
        "after 15m without an answer also lead",
    ):
        assert words in shown


def test_that_nobody_is_told_is_told(desk: Desk) -> None:
    shown = desk("routes", "test", "--label", "severity=info", "--at", SUNDAY).stdout
    assert "told: nobody; it is recorded" in shown


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ((), "give the labels of an alert, for example --label severity=critical"),
        (("--label", "critical"), '--label: "critical" is no label; for example --label severity=critical'),
        (("--label", "a=b", "--at", "noon"), '--at: "noon" is no time'),
        (("--label", "a=b", "--at", "2026-11-22T12:00:00"), "has no time zone"),
        (("--rule", "shoot"), 'did you mean "shout"?'),
        (("--user", "bem"), '--user: "bem" is not watched (did you mean "ben"?)'),
    ],
)
def test_what_makes_no_sense_is_refused(desk: Desk, args: tuple[str, ...], reason: str) -> None:
    (line,) = desk.refused("routes", "test", *args, code=2)
    assert reason in line


def test_without_routes_all_go_to_everybody(desk: Desk) -> None:
    text = SETTINGS.format(folder=desk.folder)
    desk.config.write_text(text, "utf-8")
    assert desk.json("routes", "test", "--label", "a=b")["receivers"] == ["ops"]
