"""The metrics: what is exposed, in names that dashboards and alert rules rely on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from monitor.metrics import CATEGORIES, DETECTION, OTHER, PREFIX, TYPES, BatchHistogram, Metrics

ROOT = Path(__file__).parents[2]

CATALOGUE = """
polls_total counter outcome
poll_seconds histogram
requests_total counter endpoint,outcome
messages_total counter category,type
rejects_total counter
duplicates_total counter
detection_delay_seconds histogram
detection_delay_predicted_seconds gauge statistic
watermark_lag_seconds gauge
users gauge state
budget_requests_per_minute gauge
budget_granted_requests_per_minute gauge
budget_waiting gauge
staleness_stretch_ratio gauge
second_looks_total counter
audit_missed_total counter
updates_total counter fate
looks_late_seconds gauge
source_paused_until_timestamp_seconds gauge
source_blind_seconds gauge
last_poll_success_timestamp_seconds gauge
timers_pending gauge
discovered_users gauge cohort
discovery_last_success_timestamp_seconds gauge cohort
rule_matches_total counter rule
rule_faults_total counter rule
rule_alerts_total counter rule,fate
rule_hourly_alerts_usual gauge rule
rule_hourly_alerts_limit gauge rule
evaluation_seconds histogram
commit_seconds histogram
commit_group_size histogram
last_commit_timestamp_seconds gauge
store_writable gauge
deliveries_total counter receiver,outcome
delivery_delay_seconds histogram receiver
outbox_pending gauge receiver
outbox_dead gauge receiver
outbox_oldest_age_seconds gauge receiver
outbox_undelivered_age_seconds gauge receiver,severity
standing_total counter receiver,change,outcome
receiver_open gauge receiver
receiver_failing_seconds gauge receiver
fallbacks_total counter receiver
heartbeat_timestamp_seconds gauge heartbeat
escalations_total counter receiver
config_last_reload_successful gauge
config_last_reload_success_timestamp_seconds gauge
build_info gauge version,python
"""


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics(CollectorRegistry())
    made.started("0.1.0")
    made.expect(rules=["missed-call"], receivers=["oncall"])
    return made


def exposed(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


def series(metrics: Metrics, family: str) -> set[tuple[str, ...]]:
    """The label values of every series of one family, without histogram bounds."""
    return {
        tuple(value for name, value in sample.labels.items() if name != "le")
        for found in metrics.registry.collect()
        if found.name == PREFIX + family.removesuffix("_total")
        for sample in found.samples
    }


def test_names_types_and_labels_are_interface(metrics: Metrics) -> None:
    lines = [f"{one.name} {one.type} {','.join(one.labels)}".strip() for one in metrics.catalogue()]
    assert lines == [PREFIX + line for line in CATALOGUE.split("\n") if line]


def test_the_catalogue_is_what_is_exposed(metrics: Metrics) -> None:
    families = {family.name: family for family in text_string_to_metric_families(exposed(metrics))}
    assert set(families) == {one.name.removesuffix("_total") for one in metrics.catalogue()}
    for one in metrics.catalogue():
        family = families[one.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (one.type, one.help)
        assert {name for sample in family.samples for name in sample.labels} <= {*one.labels, "le"}


def test_attributes_are_the_names_without_prefix(metrics: Metrics) -> None:
    for one in metrics.catalogue():
        assert getattr(metrics, one.name.removeprefix(PREFIX)) is not None


def test_units_and_suffixes_follow_the_conventions(metrics: Metrics) -> None:
    for one in metrics.catalogue():
        assert one.name.endswith("_total") == (one.type == "counter")
        assert re.fullmatch(r"[A-Z1].*\.", one.help)
        assert not re.search(r"_(ms|minutes|hours|percent)\b", one.name)


def promtool() -> str:
    """Its path; in CI it is brought here if need be."""
    if os.environ.get("CI"):
        brought = subprocess.run([ROOT / ".ci" / "promtool"], stdout=subprocess.PIPE, text=True, check=True)
        return brought.stdout.strip()
    return shutil.which("promtool") or pytest.skip("promtool is not installed (in CI it is)")


def test_promtool_has_nothing_to_say(metrics: Metrics) -> None:
    metrics.message("message", "text").inc()
    metrics.users.labels("current").set(1)
    metrics.requests_total.labels("user", "ok").inc()
    checked = subprocess.run(
        [promtool(), "check", "metrics"],
        input=exposed(metrics), text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_words_from_chat_never_become_labels(metrics: Metrics) -> None:
    for number in range(100):
        metrics.message(f"category{number}", f"type{number}").inc()
        metrics.message("message", f"type{number}").inc()
    assert series(metrics, "messages_total") == {(OTHER, OTHER), ("message", OTHER)}


def test_known_words_stay(metrics: Metrics) -> None:
    for category in CATEGORIES:
        for type_ in TYPES:
            assert metrics.message(category, type_) is metrics.message(category, type_)
            metrics.message(category, type_).inc()
    assert ("call", "audio") in series(metrics, "messages_total")
    assert len(series(metrics, "messages_total")) == len(CATEGORIES) * len(TYPES)


def test_expected_series_begin_at_zero(metrics: Metrics) -> None:
    for line in (
        'cometwatch_rule_matches_total{rule="missed-call"} 0.0',
        'cometwatch_deliveries_total{outcome="dead",receiver="oncall"} 0.0',
        'cometwatch_outbox_dead{receiver="oncall"} 0.0',
        'cometwatch_polls_total{outcome="empty"} 0.0',
    ):
        assert line in exposed(metrics)


def test_a_reload_shows_what_is_new_keeps_what_stays_and_forgets_what_is_gone(metrics: Metrics) -> None:
    metrics.expect(rules=["missed-call", "mention"], receivers=["oncall", "hook"])
    metrics.rule_matches_total.labels("missed-call").inc(3)
    metrics.expect(rules=["missed-call", "attachment"], receivers=["hook"])

    assert series(metrics, "rule_matches_total") == {("missed-call",), ("attachment",)}
    assert 'cometwatch_rule_matches_total{rule="missed-call"} 3.0' in exposed(metrics)
    assert "oncall" not in exposed(metrics)
    assert series(metrics, "delivery_delay_seconds") == {("hook",)}


def test_no_series_says_when_a_counter_was_made(metrics: Metrics) -> None:
    assert "_created" not in exposed(metrics)


# --- what is counted by the poll --------------------------------------------------------------------------


class Seen(NamedTuple):
    category: str
    type: str
    sent_at: datetime


NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_a_page_is_counted_in_one_call(metrics: Metrics) -> None:
    fresh = [
        Seen("message", "text", NOON - timedelta(seconds=3)),
        Seen("message", "text", NOON + timedelta(seconds=9)),  # its clock goes wrong: no delay below 0
        Seen("call", "hologram", NOON - timedelta(hours=2)),
    ]
    metrics.page(5, fresh, api_now=NOON, duplicates=2, rejects=1)
    metrics.page(0, [], api_now=NOON, duplicates=0, rejects=0)
    for line in (
        'cometwatch_polls_total{outcome="rows"} 1.0',
        'cometwatch_polls_total{outcome="empty"} 1.0',
        "cometwatch_duplicates_total 2.0",
        "cometwatch_rejects_total 1.0",
        'cometwatch_messages_total{category="message",type="text"} 2.0',
        'cometwatch_messages_total{category="call",type="other"} 1.0',
        'cometwatch_detection_delay_seconds_bucket{le="0.1"} 1.0',
        'cometwatch_detection_delay_seconds_bucket{le="5.0"} 2.0',
        'cometwatch_detection_delay_seconds_bucket{le="+Inf"} 3.0',
        "cometwatch_detection_delay_seconds_sum 7203.0",
    ):
        assert line in exposed(metrics).split("\n")


def test_requests_are_counted_by_how_they_ended(metrics: Metrics) -> None:
    metrics.answered("user", 0.2)
    metrics.answered("user", 0.2)
    metrics.failed("app", "rate_limited")
    for line in (
        'cometwatch_requests_total{endpoint="user",outcome="ok"} 2.0',
        'cometwatch_requests_total{endpoint="app",outcome="rate_limited"} 1.0',
        'cometwatch_polls_total{outcome="rate_limited"} 1.0',
        "cometwatch_poll_seconds_count 2.0",
    ):
        assert line in exposed(metrics).split("\n")


@given(
    values=st.lists(st.floats(0, 10_000) | st.sampled_from(DETECTION), max_size=50),
    parts=st.integers(1, 4),
)
def test_a_batch_histogram_shows_what_the_library_s_own_shows(values: list[float], parts: int) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    batches = BatchHistogram("x_seconds", "How long.", buckets=DETECTION, registry=ours)
    plain = Histogram("x_seconds", "How long.", buckets=DETECTION, registry=theirs)
    for start in range(parts):
        batches.observe_all(values[start::parts])
    for value in values:
        plain.observe(value)
        batches.observe(value)
        plain.observe(value)
    assert rounded(ours) == rounded(theirs)


def rounded(registry: CollectorRegistry) -> list[str]:
    """The exposition with sums to nine digits: they were added up in another order."""
    return [
        re.sub(r"(?<=_sum )\S+", lambda found: f"{float(found[0]):.9g}", line)
        for line in generate_latest(registry).decode().split("\n")
    ]


def test_one_registry_takes_one_set() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Metrics(registry)
