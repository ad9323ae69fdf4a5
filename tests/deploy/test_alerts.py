"""Alerting rules and their runbook: each alert is tried, explained and answered."""

from __future__ import annotations

import re
import runpy
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from monitor.metrics import Metrics
from tests.deploy import DEPLOY, rules, yaml_of
from tests.deploy.exposed import series
from tests.deploy.promql import strangers

RUNBOOK = (DEPLOY / "runbooks" / "alerts.md").read_text(encoding="utf-8")
ALERTS = rules("alert")
NAMES = [rule["alert"] for rule in ALERTS]
each_alert = pytest.mark.parametrize("rule", ALERTS, ids=NAMES)


def sections() -> dict[str, str]:
    """The runbook's sections by heading."""
    _, *parts = re.split(r"^## ", RUNBOOK, flags=re.MULTILINE)
    return {heading: text for heading, _, text in (part.partition("\n") for part in parts)}


@pytest.mark.parametrize(
    "rule", [*ALERTS, *rules("record")], ids=lambda rule: rule.get("alert") or rule["record"]
)
def test_a_rule_names_only_series_and_labels_that_exist(rule: dict[str, Any]) -> None:
    assert strangers(rule["expr"], series()) == []


@each_alert
def test_an_alert_says_how_bad_it_is_what_happened_and_what_to_read(rule: dict[str, Any]) -> None:
    assert re.fullmatch(r"Cometwatch([A-Z][a-z]+)+", rule["alert"])
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["summary"].endswith(".")


def test_an_alert_leads_to_its_section_of_the_runbook() -> None:
    base = runpy.run_path(str(DEPLOY / "grafana" / "dashboard.py"))["RUNBOOKS"]
    for rule in ALERTS:
        assert rule["annotations"]["runbook_url"] == f"{base}#{rule['alert'].lower()}"


def test_the_runbook_has_a_section_for_each_alert_and_no_other() -> None:
    assert list(sections()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_section_says_meaning_impact_diagnosis_and_mitigation_with_commands(name: str) -> None:
    parts = re.findall(r"^\*\*(\w+)\.\*\*", sections()[name], flags=re.MULTILINE)
    assert parts == ["Meaning", "Impact", "Diagnosis", "Mitigation"]
    assert "`" in sections()[name].partition("**Diagnosis.**")[2]


def test_links_inside_the_runbook_lead_somewhere() -> None:
    assert set(re.findall(r"\]\(#(\w+)\)", RUNBOOK)) <= {name.lower() for name in NAMES}


@each_alert
def test_a_failed_scrape_can_not_hide_a_gauge(rule: dict[str, Any]) -> None:
    gauges = {family.name for family in Metrics(CollectorRegistry()).catalogue() if family.type == "gauge"}
    for gauge in gauges & set(re.findall(r"cometwatch_\w+", rule["expr"])):
        assert re.search(rf"(max|min)_over_time\({gauge}(\{{[^}}]*\}})?\[", rule["expr"]), gauge


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_is_tried_where_it_must_fire_and_where_it_must_not(name: str) -> None:
    tries = [
        bool(check["exp_samples"])
        for case in yaml_of(DEPLOY / "prometheus" / "rules_test.yaml")["tests"]
        for check in case.get("promql_expr_test", ())
        if f'alertname="{name}"' in check["expr"]
    ]
    assert set(tries) == {True, False}


def test_the_operators_rules_are_the_same() -> None:
    built = runpy.run_path(str(DEPLOY / "prometheus" / "prometheus_rule.py"))["text"]()
    committed = DEPLOY / "kubernetes" / "monitoring" / "prometheusrule.yaml"
    assert committed.read_text(encoding="utf-8") == built, "run: make dashboard"
    assert yaml_of(committed)["spec"] == yaml_of(DEPLOY / "prometheus" / "rules.yaml")
