"""The Grafana dashboard as code: `make dashboard` writes dashboards/cometwatch.json beside this file.

The JSON is committed, so that Grafana needs no Python; a test holds the two equal and checks that every query
names a series the monitor exposes. In a query, `@` stands for the chosen job and instances. Queries do not
use the recording rules, so that the dashboard also works where only it was imported.
"""

# ruff: noqa: FBT003 - Grafana's builders take their switches as positional booleans

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as model

OUTPUT: Final = Path(__file__).parent / "dashboards" / "cometwatch.json"
RUNBOOKS: Final = "https://runbooks.example.net/cometwatch"  # where you publish deploy/runbooks/alerts.md
CHOSEN: Final = 'job=~"$job", instance=~"$instance"'
SOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")

WIDTH: Final = 24  # Grafana's grid
HEIGHT: Final = 8
LOW: Final = 4  # of a row of single numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """One panel: pairs of (query, legend) over time. `alert` links to that alert's section of the runbook."""

    title: str
    text: str
    queries: Sequence[tuple[str, str]]
    unit: str
    alert: str | None = None
    stacked: bool = False
    maximum: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One panel: the present value of one query, red from `bad` on."""

    title: str
    text: str
    query: str
    unit: str
    alert: str | None = None
    legend: str = ""
    bad: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    title: str
    panels: Sequence[Graph | Number]


def quantiles(histogram: str, *, by: str = "") -> tuple[tuple[str, str], ...]:
    """Half, nine in ten and 99 in a hundred of a histogram, over all chosen instances."""
    labels, legend = (f"le, {by}", f"{{{{{by}}}}} ") if by else ("le", "")
    return tuple(
        (
            f"histogram_quantile({q}, sum by ({labels}) (rate({histogram}_bucket{{@}}[$__rate_interval])))",
            f"{legend}p{q * 100:g}",
        )
        for q in (0.5, 0.9, 0.99)
    )


POLLING: Final = Row(
    title="Polls and messages",
    panels=(
        Graph(
            title="Poll latency",
            text="From asking CometChat for a page to having it decoded.",
            queries=quantiles("cometwatch_poll_seconds"),
            unit="s",
            alert="CometwatchPollErrors",
        ),
        Graph(
            title="Messages read",
            text="Messages read for the first time, by category and type.",
            queries=[
                (
                    "sum by (category, type) (rate(cometwatch_messages_total{@}[$__rate_interval]))",
                    "{{category}} {{type}}",
                )
            ],
            unit="cps",
            stacked=True,
        ),
        Graph(
            title="Polls by outcome",
            text="rows and empty are successes; everything else is a poll that failed.",
            queries=[("sum by (outcome) (rate(cometwatch_polls_total{@}[$__rate_interval]))", "{{outcome}}")],
            unit="cps",
            alert="CometwatchPollErrors",
            stacked=True,
        ),
        Graph(
            title="Findings by rule",
            text="New findings; a message that is read again makes none.",
            queries=[
                ("sum by (rule) (increase(cometwatch_rule_matches_total{@}[$__rate_interval]))", "{{rule}}")
            ],
            unit="short",
            stacked=True,
        ),
    ),
)

FRESHNESS: Final = Row(
    title="Detection and delivery delay",
    panels=(
        Graph(
            title="Detection delay",
            text="From a message being sent to our having read it. A catch-up after an outage shows too.",
            queries=quantiles("cometwatch_detection_delay_seconds"),
            unit="s",
        ),
        Graph(
            title="Detection delay, predicted and measured",
            text="What activity and budget let us expect of the next minutes, beside what was measured."
            " Measured far above predicted: slow answers, a pause, or traffic that nobody could expect.",
            queries=[
                (
                    "max by (statistic) (cometwatch_detection_delay_predicted_seconds"
                    '{@, statistic=~"mean|p95"})',
                    "{{statistic}} predicted",
                ),
                (
                    "sum(rate(cometwatch_detection_delay_seconds_sum{@}[$__rate_interval]))"
                    " / sum(rate(cometwatch_detection_delay_seconds_count{@}[$__rate_interval]))",
                    "mean measured",
                ),
                (
                    "histogram_quantile(0.95,"
                    " sum by (le) (rate(cometwatch_detection_delay_seconds_bucket{@}[$__rate_interval])))",
                    "p95 measured",
                ),
            ],
            unit="s",
            alert="CometwatchPromisesStretched",
        ),
        Graph(
            title="Promises of staleness",
            text="The longest that any list is left alone; and the stretch of all promises (1: kept).",
            queries=[
                (
                    'max by (instance) (cometwatch_detection_delay_predicted_seconds{@, statistic="worst"})',
                    "{{instance}} worst, seconds",
                ),
                ("max by (instance) (cometwatch_staleness_stretch_ratio{@})", "{{instance}} stretched"),
            ],
            unit="short",
            alert="CometwatchPromisesStretched",
        ),
        Graph(
            title="Rows found by a second look",
            text="Rows that no poll had shown (should be none), and how many lists were looked at again.",
            queries=[
                ("sum(increase(cometwatch_audit_missed_total{@}[1h]))", "rows missed, an hour"),
                ("sum(increase(cometwatch_second_looks_total{@}[1h]))", "lists looked at, an hour"),
            ],
            unit="short",
            alert="CometwatchRowsMissed",
        ),
        Graph(
            title="Discovered users",
            text="By cohort, those included who are no longer found and in their grace.",
            queries=[("sum by (cohort) (cometwatch_discovered_users{@})", "{{cohort}}")],
            unit="short",
        ),
        Graph(
            title="Delivery delay by receiver",
            text="From reading a message to its alert being accepted by the receiver (99 in a hundred).",
            queries=[quantiles("cometwatch_delivery_delay_seconds", by="receiver")[-1]],
            unit="s",
            alert="CometwatchOutboxOld",
        ),
        Graph(
            title="Watermark lag",
            text="Everything before this age has been seen, for every watched user.",
            queries=[("max by (instance) (cometwatch_watermark_lag_seconds{@})", "{{instance}}")],
            unit="s",
            alert="CometwatchWatermarkLag",
        ),
        Graph(
            title="Watched users",
            text="By state, and the questions to be asked again later (calls still ringing).",
            queries=[
                ("sum by (state) (cometwatch_users{@})", "{{state}}"),
                ("sum(cometwatch_timers_pending{@})", "timers pending"),
            ],
            unit="short",
            alert="CometwatchUserUnknown",
        ),
    ),
)

BUDGET: Final = Row(
    title="Request budget",
    panels=(
        Graph(
            title="Share of the budget in use",
            text="Requests, and what is granted of them now, in proportion to api.requests_per_minute."
            " Less is granted when the key's quota is smaller or others spend from it.",
            queries=[
                (
                    "60 * sum by (instance) (rate(cometwatch_requests_total{@}[$__rate_interval]))"
                    " / sum by (instance) (cometwatch_budget_requests_per_minute{@})",
                    "{{instance}} in use",
                ),
                (
                    "sum by (instance) (cometwatch_budget_granted_requests_per_minute{@})"
                    " / sum by (instance) (cometwatch_budget_requests_per_minute{@})",
                    "{{instance}} granted",
                ),
            ],
            unit="percentunit",
            alert="CometwatchBudgetExhausted",
            maximum=1.1,
        ),
        Graph(
            title="Requests per minute",
            text="What was sent to CometChat, against what may be sent.",
            queries=[
                (
                    "60 * sum by (endpoint, outcome) (rate(cometwatch_requests_total{@}[$__rate_interval]))",
                    "{{endpoint}} {{outcome}}",
                ),
                ("sum(cometwatch_budget_requests_per_minute{@})", "budget"),
                ("sum(cometwatch_budget_granted_requests_per_minute{@})", "granted"),
            ],
            unit="reqpm",
            alert="CometwatchBudgetExhausted",
        ),
        Graph(
            title="Overdue lists",
            text="Lists that were promised to be read by now and wait for a request. Zero is healthy.",
            queries=[("max by (instance) (cometwatch_budget_waiting{@})", "{{instance}}")],
            unit="short",
            alert="CometwatchBudgetExhausted",
        ),
        Graph(
            title="Paused by a rate limit",
            text="How long polling will still wait because CometChat answered 429.",
            queries=[
                (
                    "clamp_min(max by (instance)"
                    " (cometwatch_source_paused_until_timestamp_seconds{@}) - time(), 0)",
                    "{{instance}}",
                )
            ],
            unit="s",
            alert="CometwatchSourcePaused",
        ),
    ),
)

PACE: Final = Row(
    title="How much rules say",
    panels=(
        Graph(
            title="Alerts by what became of them",
            text="Alerts that began: sent, late (in a digest), summed (in a sum of many), or recorded only:"
            " in shadow, outside a calendar, cooling down, silenced, unrouted.",
            queries=[
                ("sum by (fate) (increase(cometwatch_rule_alerts_total{@}[$__rate_interval]))", "{{fate}}")
            ],
            unit="short",
            alert="CometwatchRuleUnrouted",
            stacked=True,
        ),
        Graph(
            title="Alerts an hour by rule",
            text="What each rule found within an hour, whatever became of it: what would be sent if a rule in"
            " shadow went live.",
            queries=[("sum by (rule) (increase(cometwatch_rule_alerts_total{@}[1h]))", "{{rule}}")],
            unit="short",
            alert="CometwatchRuleSummed",
        ),
        Graph(
            title="Share of a surge",
            text="What each rule found within an hour, as a share of what would be a surge. A rule with less"
            " than a day of history has none.",
            queries=[
                (
                    "sum by (rule) (increase(cometwatch_rule_alerts_total{@}[1h]))"
                    " / (max by (rule) (cometwatch_rule_hourly_alerts_limit{@}) > 0)",
                    "{{rule}}",
                )
            ],
            unit="percentunit",
            alert="CometwatchRuleSummed",
        ),
        Graph(
            title="Usual alerts an hour",
            text="The most alerts of each rule in an hour, but for one hour in twenty of the last week.",
            queries=[("max by (rule) (cometwatch_rule_hourly_alerts_usual{@})", "{{rule}}")],
            unit="short",
        ),
    ),
)

OUTBOX: Final = Row(
    title="Outbox",
    panels=(
        Graph(
            title="Oldest alert waiting",
            text="Age of the oldest alert that has not reached its receiver.",
            queries=[("max by (receiver) (cometwatch_outbox_oldest_age_seconds{@})", "{{receiver}}")],
            unit="s",
            alert="CometwatchOutboxOld",
        ),
        Graph(
            title="Alerts waiting",
            text="Outbox depth by receiver.",
            queries=[("sum by (receiver) (cometwatch_outbox_pending{@})", "{{receiver}}")],
            unit="short",
            alert="CometwatchOutboxOld",
        ),
        Graph(
            title="Sends by outcome",
            text="retry is an attempt that failed and comes again; dead was given up.",
            queries=[
                (
                    "sum by (receiver, outcome) (increase(cometwatch_deliveries_total{@}[$__rate_interval]))",
                    "{{receiver}} {{outcome}}",
                )
            ],
            unit="short",
            alert="CometwatchDeliveriesFailing",
            stacked=True,
        ),
        Graph(
            title="Dead letters",
            text="Alerts that were given up and wait for somebody to redrive or drop them.",
            queries=[("sum by (receiver) (cometwatch_outbox_dead{@})", "{{receiver}}")],
            unit="short",
            alert="CometwatchDeadLetters",
        ),
    ),
)

ERRORS: Final = Row(
    title="Errors",
    panels=(
        Number(
            title="Blind for",
            text="How long no poll has succeeded while some were due.",
            query="max(cometwatch_source_blind_seconds{@})",
            unit="s",
            alert="CometwatchBlind",
            bad=180,
        ),
        Number(
            title="Last successful poll",
            text="Age of the last poll that succeeded, of the instance that is worst off.",
            query="time() - min(cometwatch_last_poll_success_timestamp_seconds{@})",
            unit="s",
            alert="CometwatchNotPolling",
            bad=600,
        ),
        Number(
            title="Store refuses commits",
            text="Yes while nothing can be written; polling waits meanwhile.",
            query="1 - min(cometwatch_store_writable{@})",
            unit="bool_yes_no",
            alert="CometwatchStoreNotWritable",
            bad=1,
        ),
        Number(
            title="Configuration refused",
            text="Yes if the last change of the configuration had errors; the one before is in force.",
            query="1 - min(cometwatch_config_last_reload_successful{@})",
            unit="bool_yes_no",
            alert="CometwatchReloadFailed",
            bad=1,
        ),
        Graph(
            title="Share of failed polls",
            text="Answers that were no use: bad requests and answers, server errors, no connection.",
            queries=[
                (
                    "sum by (instance) (rate(cometwatch_polls_total"
                    '{@, outcome=~"bad_request|bad_response|server_error|unreachable"}[$__rate_interval]))'
                    " / sum by (instance) (rate(cometwatch_polls_total{@}[$__rate_interval]))",
                    "{{instance}}",
                )
            ],
            unit="percentunit",
            alert="CometwatchPollErrors",
            maximum=1,
        ),
        Graph(
            title="Rejects and rule faults",
            text="Rows that could not be decoded, and messages on which a rule failed.",
            queries=[
                ("sum(increase(cometwatch_rejects_total{@}[$__rate_interval]))", "rejects"),
                (
                    "sum by (rule) (increase(cometwatch_rule_faults_total{@}[$__rate_interval]))",
                    "faults of {{rule}}",
                ),
            ],
            unit="short",
            alert="CometwatchRejects",
        ),
        Graph(
            title="Share of failed sends",
            text="By receiver. Failed sends are repeated for 27 hours.",
            queries=[
                (
                    "sum by (receiver) (rate(cometwatch_deliveries_total"
                    '{@, outcome!="delivered"}[$__rate_interval]))'
                    " / sum by (receiver) (rate(cometwatch_deliveries_total{@}[$__rate_interval]))",
                    "{{receiver}}",
                )
            ],
            unit="percentunit",
            alert="CometwatchDeliveriesFailing",
            maximum=1,
        ),
        Graph(
            title="Rows read again",
            text="Rows above the stored cursor that were recognised as known. Steady and small is normal.",
            queries=[
                ("sum by (instance) (rate(cometwatch_duplicates_total{@}[$__rate_interval]))", "{{instance}}")
            ],
            unit="cps",
        ),
    ),
)

PROCESS: Final = Row(
    title="Process and store",
    panels=(
        Graph(
            title="CPU",
            text="Cores in use.",
            queries=[("rate(process_cpu_seconds_total{@}[$__rate_interval])", "{{instance}}")],
            unit="short",
        ),
        Graph(
            title="Memory",
            text="Resident memory.",
            queries=[("process_resident_memory_bytes{@}", "{{instance}}")],
            unit="bytes",
            alert="CometwatchRestarting",
        ),
        Graph(
            title="Commit time",
            text="One durable transaction, which many polls may share.",
            queries=quantiles("cometwatch_commit_seconds"),
            unit="s",
            alert="CometwatchStoreNotWritable",
        ),
        Graph(
            title="Evaluation time",
            text="One page of messages through all rules.",
            queries=quantiles("cometwatch_evaluation_seconds"),
            unit="s",
            alert="CometwatchRuleFaults",
        ),
        Graph(
            title="Commits in one transaction",
            text="How many commits shared a transaction, on average.",
            queries=[
                (
                    "sum(rate(cometwatch_commit_group_size_sum{@}[$__rate_interval]))"
                    " / sum(rate(cometwatch_commit_group_size_count{@}[$__rate_interval]))",
                    "commits",
                )
            ],
            unit="short",
        ),
        Graph(
            title="Open files",
            text="Open file descriptors: connections, the store, the log.",
            queries=[("process_open_fds{@}", "{{instance}}")],
            unit="short",
        ),
        Number(
            title="Version",
            text="What is running.",
            query="max by (version, python) (cometwatch_build_info{@})",
            unit="string",
            legend="{{version}} on Python {{python}}",
        ),
        Number(
            title="Running for",
            text="Since the last start of the instance that started last.",
            query="time() - max(process_start_time_seconds{@})",
            unit="s",
            alert="CometwatchRestarting",
        ),
    ),
)

ROWS: Final = (POLLING, FRESHNESS, BUDGET, PACE, OUTBOX, ERRORS, PROCESS)


def build() -> model.Dashboard:
    board = (
        dashboard.Dashboard("Cometwatch")
        .uid("cometwatch")
        .description("How soon messages are seen, and whether their alerts get out.")
        .tags(["cometwatch"])
        .editable()
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(link("Runbook", RUNBOOKS))
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(chooser("job", "Job", "label_values(cometwatch_build_info, job)"))
        .with_variable(
            chooser("instance", "Instance", 'label_values(cometwatch_build_info{job=~"$job"}, instance)')
        )
        .annotation(
            marks("Alerts", 'ALERTS{alertname=~"Cometwatch.+", alertstate="firing"}', "red"),
        )
        .annotation(marks("Starts", chosen("changes(process_start_time_seconds{@}[1m]) > 0"), "blue"))
    )
    ids = itertools.count(1)  # links to a panel survive only while its id stays
    for row in ROWS:
        board.with_row(dashboard.Row(row.title).id(next(ids)))
        for panel in row.panels:
            built = graph(panel) if isinstance(panel, Graph) else number(panel)
            board.with_panel(built.id(next(ids)))
    return board.build()


def chosen(query: str) -> str:
    return query.replace("@", CHOSEN)


def link(title: str, url: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(title).type(model.DashboardLinkType.LINK).url(url).target_blank(True)


def runbook(alert: str) -> dashboard.DashboardLink:
    return link(f"Runbook: {alert}", f"{RUNBOOKS}#{alert.lower()}")


def chooser(name: str, label: str, query: str) -> dashboard.QueryVariable:
    """All values at first; the list is read again with the time range, since instances come and go."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .current(model.VariableOption(selected=True, text="All", value="$__all"))
    )


def marks(name: str, query: str, colour: str) -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(colour).expr(query)
    )


def target(query: str, legend: str, ref: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().datasource(SOURCE).expr(chosen(query)).legend_format(legend).ref_id(ref)


def graph(panel: Graph) -> timeseries.Panel:
    legend = (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(shapes.LegendDisplayMode.TABLE)
        .placement(shapes.LegendPlacement.BOTTOM)
        .calcs(["lastNotNull", "max"])
    )
    built = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.text)
        .datasource(SOURCE)
        .unit(panel.unit)
        .min(0)
        .span(WIDTH // 4)
        .height(HEIGHT)
        .fill_opacity(20 if panel.stacked else 5)
        .show_points(shapes.VisibilityMode.NEVER)
        .legend(legend)
        .tooltip(common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI))
    )
    for ref, (query, name) in zip("ABCDEFG", panel.queries, strict=False):
        built.with_target(target(query, name, ref))
    if panel.stacked:
        built.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL))
    if panel.maximum is not None:
        built.max(panel.maximum)
    if panel.alert:
        built.links([runbook(panel.alert)])
    return built


def number(panel: Number) -> stat.Panel:
    steps = [model.Threshold(value=None, color="green")]
    if panel.bad is not None:
        steps.append(model.Threshold(value=panel.bad, color="red"))
    built = (
        stat.Panel()
        .title(panel.title)
        .description(panel.text)
        .datasource(SOURCE)
        .unit(panel.unit)
        .span(WIDTH // 4)
        .height(LOW)
        .thresholds(dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps))
        .graph_mode(shapes.BigValueGraphMode.NONE)
        .text_mode(shapes.BigValueTextMode.NAME if panel.legend else shapes.BigValueTextMode.VALUE)
        .with_target(target(panel.query, panel.legend, "A").instant())
    )
    if panel.alert:
        built.links([runbook(panel.alert)])
    return built


def text() -> str:
    return json.dumps(build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    OUTPUT.write_text(text(), encoding="utf-8")
