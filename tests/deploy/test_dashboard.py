"""The dashboard: made from code, asking only for what is exposed."""

from __future__ import annotations

import re
import runpy

import pytest

from tests.deploy import DEPLOY, rules
from tests.deploy.exposed import series
from tests.deploy.promql import strangers
from tests.deploy.queries import DASHBOARD, Query, dashboard, panels, queries, variables

# Prometheus itself keeps this one.
KNOWN = {**series(), "ALERTS": frozenset({"alertname", "alertstate"})}


def test_the_committed_dashboard_is_the_one_that_the_code_builds() -> None:
    built = runpy.run_path(str(DEPLOY / "grafana" / "dashboard.py"))["text"]()
    assert DASHBOARD.read_text(encoding="utf-8") == built, "run: make dashboard"


@pytest.mark.parametrize("query", queries(), ids=lambda query: query.title)
def test_a_query_names_only_series_and_labels_that_exist(query: Query) -> None:
    assert strangers(query.expr, KNOWN) == []


@pytest.mark.parametrize("query", variables(), ids=lambda query: query.title)
def test_a_variable_is_chosen_from_a_series_that_exists(query: Query) -> None:
    found = re.fullmatch(r"label_values\((.+), (job|instance)\)", query.expr)
    assert found is not None
    assert strangers(found[1], KNOWN) == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("rate(cometwatch_poll_total[5m])", ["cometwatch_poll_total"]),
        ("sum by (le) (cometwatch_poll_seconds)", ["cometwatch_poll_seconds", "le"]),
        ('cometwatch_polls_total{endpoint="user"}', ["cometwatch_polls_total{endpoint}"]),
        ("sum by (receiver) (cometwatch_polls_total)", ["receiver"]),
        ("max_over_tiem(cometwatch_users[5m])", ["max_over_tiem"]),
        ("rate(typo[5m]) / cometwatch_users", ["typo"]),
        ('sum by (state) (cometwatch_users{job=~"$job", state!="current"}) > 0', []),
    ],
)
def test_the_check_finds_what_does_not_exist(query: str, found: list[str]) -> None:
    assert strangers(query, KNOWN) == found


def test_every_panel_says_what_it_shows_and_in_which_unit() -> None:
    for panel in panels():
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_every_panel_follows_the_choice_of_source_job_and_instance() -> None:
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        for target in panel["targets"]:
            selectors = re.findall(r"(?:cometwatch|process)_\w+\{([^}]*)\}", target["expr"])
            assert selectors, panel["title"]
            assert all('job=~"$job", instance=~"$instance"' in each for each in selectors), panel["title"]


def test_panels_link_to_sections_of_alerts_that_exist() -> None:
    links = {link["url"] for panel in panels() for link in panel.get("links", ())}
    assert links <= {rule["annotations"]["runbook_url"] for rule in rules("alert")}
    assert len(links) > 10


def test_poll_latency_and_message_rates_come_first() -> None:
    assert [panel["title"] for panel in panels()[:2]] == ["Poll latency", "Messages read"]


def test_panels_have_ids_of_their_own() -> None:
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))
