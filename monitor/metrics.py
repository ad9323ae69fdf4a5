"""What can be counted and timed: every metric the monitor exposes, made on one registry.

Names, labels and their meaning are interface: they change only with a CHANGELOG line. Labels are bounded
by the configuration (rule, receiver) or by fixed words; no user id, no conversation is ever a label.
"""

from __future__ import annotations

import math
import platform
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

PREFIX: Final = "cometwatch_"
OTHER: Final = "other"

CATEGORIES: Final = frozenset({"message", "call", "action", "custom", "interactive", "agentic", "card"})
TYPES: Final = frozenset(
    {"text", "image", "video", "audio", "file", "message", "groupMember", "form", "card", "scheduler"}
)
POLL_OUTCOMES: Final = (
    "rows", "empty", "rate_limited", "bad_key", "no_access", "unknown_user",
    "bad_request", "bad_response", "server_error", "unreachable",
    "store_error", "bug",
)  # fmt: skip
DELIVERY_OUTCOMES: Final = ("delivered", "retry", "dead")
SEVERITIES: Final = ("critical", "warning", "info")
STANDING: Final = tuple(
    (change, outcome)
    for change in ("update", "repeat", "reassert")
    for outcome in ("delivered", "retry", "refused")
)
UPDATE_FATES: Final = ("evaluated", "old", "unread", "unchanged")
FATES: Final = ("sent", "late", "summed", "shadow", "calendar", "cooldown", "silenced", "unrouted")

QUICK: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1)
REQUEST: Final = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30)
DETECTION: Final = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 900, 3600)
DELIVERY: Final = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 3600, 21600, 97200)  # to 27 h
GROUP: Final = (1, 2, 4, 8, 16, 32, 64)

Instrument = TypeVar("Instrument", bound=Collector)


class Read(Protocol):
    """What is counted of a message that was read for the first time."""

    @property
    def category(self) -> str: ...

    @property
    def type(self) -> str: ...

    @property
    def sent_at(self) -> datetime: ...


class Described(NamedTuple):
    """One line of the catalogue: a metric family as a scrape shows it."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str


class BatchHistogram(Collector):
    """A histogram without labels that takes many values at once; a scrape shows it like any other.

    The library's own takes two locks and walks its bounds for each value: too dear for one a row. This one
    takes none, so only one thread may observe.
    """

    def __init__(
        self, name: str, text: str, *, buckets: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name, self._text = name, text
        self._bounds = (*buckets, math.inf)
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0
        registry.register(self)

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def observe_all(self, values: Sequence[float]) -> None:
        counts, bounds = self._counts, self._bounds
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self._sum += sum(values)

    def describe(self) -> Iterator[HistogramMetricFamily]:
        yield HistogramMetricFamily(self._name, self._text)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        total, buckets = 0.0, []
        for bound, count in zip(self._bounds, self._counts, strict=True):
            total += count
            buckets.append((floatToGoString(bound), total))  # type: ignore[no-untyped-call]  # the library's own
        yield HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=self._sum)


class Metrics:
    """All instruments; attributes are the metric names without the prefix.

    Give each process (and each test) its own registry: two `Metrics` on one registry are refused.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per counter that no query of ours reads
        self.registry = registry
        self._described: list[Described] = []
        self._series: dict[tuple[Counter, tuple[str, ...]], Counter] = {}
        self._rules: frozenset[str] = frozenset()
        self._receivers: frozenset[str] = frozenset()
        self._cohorts: frozenset[str] = frozenset()
        self._make_source()
        self._make_rules()
        self._make_store()
        self._make_delivery()
        self._make_process()

    def _make_source(self) -> None:
        self.polls_total = self._counter(
            "polls_total", "Polls of one user's list, by how they ended.", "outcome"
        )
        self.poll_seconds = self._batches(
            "poll_seconds", "Time from asking for a page to having it decoded.", REQUEST
        )
        self.requests_total = self._counter(
            "requests_total", "Requests sent to the CometChat API.", "endpoint", "outcome"
        )
        self.messages_total = self._counter(
            "messages_total",
            "Messages read for the first time; words we do not know count as other.",
            "category",
            "type",
        )
        self.rejects_total = self._counter(
            "rejects_total", "Rows that could not be decoded (see: rejects list)."
        )
        self.duplicates_total = self._counter("duplicates_total", "Rows read again and recognised as known.")
        self.detection_delay_seconds = self._batches(
            "detection_delay_seconds", "Time from a message being sent to our having read it.", DETECTION
        )
        self.detection_delay_predicted_seconds = self._gauge(
            "detection_delay_predicted_seconds",
            "The detection delay that the present activity and budget let us expect: mean, p95 and worst.",
            "statistic",
        )
        self.watermark_lag_seconds = self._gauge(
            "watermark_lag_seconds",
            "Age of the oldest watermark of all watched users: all before it was seen.",
        )
        self.users = self._gauge("users", "Watched users by state.", "state")
        self.budget_requests_per_minute = self._gauge(
            "budget_requests_per_minute", "Requests that we may send in any minute."
        )
        self.budget_granted_requests_per_minute = self._gauge(
            "budget_granted_requests_per_minute",
            "What the key's quota and its other users leave us of the budget.",
        )
        self.budget_waiting = self._gauge("budget_waiting", "Lists whose promise of staleness is overdue.")
        self.staleness_stretch_ratio = self._gauge(
            "staleness_stretch_ratio",
            "By what all promises of staleness are multiplied to fit the budget; 1 while they are kept.",
        )
        self.second_looks_total = self._counter(
            "second_looks_total", "Lists whose latest rows were compared with what was read of them."
        )
        self.audit_missed_total = self._counter(
            "audit_missed_total", "Rows that only a second look found; they were evaluated then."
        )
        self.updates_total = self._counter(
            "updates_total",
            "Rows that a list showed when asked for what changed: evaluated once more, or old (sent too long "
            "ago), unread (still to be read) or unchanged (the question is not heeded).",
            "fate",
        )
        self.looks_late_seconds = self._gauge(
            "looks_late_seconds",
            "How long the look has been due that waits longest: second looks, and those for updates.",
        )
        self.source_paused_until_timestamp_seconds = self._gauge(
            "source_paused_until_timestamp_seconds",
            "When polling goes on after a rate limit or a refused key; 0 while not paused.",
        )
        self.source_blind_seconds = self._gauge(
            "source_blind_seconds", "How long no poll has succeeded while some were due; 0 while we can see."
        )
        self.last_poll_success_timestamp_seconds = self._gauge(
            "last_poll_success_timestamp_seconds", "When a poll last succeeded."
        )
        self.timers_pending = self._gauge(
            "timers_pending", "Questions to be asked again later (calls still ringing)."
        )

        self.discovered_users = self._gauge(
            "discovered_users", "Users who were found for a cohort, or were until its grace ends.", "cohort"
        )
        self.discovery_last_success_timestamp_seconds = self._gauge(
            "discovery_last_success_timestamp_seconds",
            "When a cohort's users were last listed to the end; 0 if never since the start.",
            "cohort",
        )

    def _make_rules(self) -> None:
        self.rule_matches_total = self._counter("rule_matches_total", "New findings by rule.", "rule")
        self.rule_faults_total = self._counter(
            "rule_faults_total", "Messages on which a rule failed; the other rules went on.", "rule"
        )
        self.rule_alerts_total = self._counter(
            "rule_alerts_total",
            "Alerts that began, by what became of them: sent, late (in a digest), summed (in a sum of many), "
            "or recorded only: in shadow, outside a calendar, cooling down, silenced, unrouted.",
            "rule",
            "fate",
        )
        self.rule_hourly_alerts_usual = self._gauge(
            "rule_hourly_alerts_usual",
            "The most alerts of a rule in an hour, but for one hour in twenty of the last week.",
            "rule",
        )
        self.rule_hourly_alerts_limit = self._gauge(
            "rule_hourly_alerts_limit",
            "More alerts of a rule than this in an hour are a surge; 0 while its history is too short.",
            "rule",
        )
        self.evaluation_seconds = self._batches(
            "evaluation_seconds", "Time to evaluate one page by all rules.", QUICK
        )

    def _make_store(self) -> None:
        self.commit_seconds = self._batches("commit_seconds", "Time of one durable transaction.", QUICK)
        self.commit_group_size = self._batches(
            "commit_group_size", "Commits that shared one transaction.", GROUP
        )
        self.last_commit_timestamp_seconds = self._gauge(
            "last_commit_timestamp_seconds", "When a commit last became durable."
        )
        self.store_writable = self._gauge("store_writable", "1 while the store takes commits, else 0.")

    def _make_delivery(self) -> None:
        self.deliveries_total = self._counter(
            "deliveries_total", "Sends that ended, by receiver and outcome.", "receiver", "outcome"
        )
        self.delivery_delay_seconds = self._histogram(
            "delivery_delay_seconds",
            "Time from reading a message to its alert being accepted.",
            DELIVERY,
            "receiver",
        )
        self.outbox_pending = self._gauge(
            "outbox_pending", "Alerts that wait for their receiver.", "receiver"
        )
        self.outbox_dead = self._gauge("outbox_dead", "Dead letters: given up, can be redriven.", "receiver")
        self.outbox_oldest_age_seconds = self._gauge(
            "outbox_oldest_age_seconds", "Age of the oldest alert that waits; 0 when none does.", "receiver"
        )
        self.outbox_undelivered_age_seconds = self._gauge(
            "outbox_undelivered_age_seconds",
            "Age of the oldest alert of a severity that its receiver has not taken; 0 when none waits.",
            "receiver",
            "severity",
        )
        self.standing_total = self._counter(
            "standing_total",
            "Sends without news that ended, by why they were sent (update, repeat, reassert) and outcome.",
            "receiver",
            "change",
            "outcome",
        )
        self.receiver_open = self._gauge(
            "receiver_open", "1 while a receiver took nothing for so long that it is only probed.", "receiver"
        )
        self.receiver_failing_seconds = self._gauge(
            "receiver_failing_seconds",
            "How long every send to a receiver has failed; 0 while it takes them.",
            "receiver",
        )
        self.fallbacks_total = self._counter(
            "fallbacks_total",
            "Alerts that went to the fallback of the receiver they were meant for.",
            "receiver",
        )
        self.heartbeat_timestamp_seconds = self._gauge(
            "heartbeat_timestamp_seconds",
            "When a heartbeat last arrived, by its place in the settings.",
            "heartbeat",
        )
        self.escalations_total = self._counter(
            "escalations_total",
            "Alerts that went to a further receiver, as nobody resolved or acknowledged them.",
            "receiver",
        )

    def _make_process(self) -> None:
        self.config_last_reload_successful = self._gauge(
            "config_last_reload_successful", "1 if the configuration was last read without errors, else 0."
        )
        self.config_last_reload_success_timestamp_seconds = self._gauge(
            "config_last_reload_success_timestamp_seconds", "When the running configuration was read."
        )
        self.build_info = self._gauge(
            "build_info", "Always 1; the labels say what is running.", "version", "python"
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return self._described_as(
            "counter", name, labels, text, Counter(PREFIX + name, text, labels, registry=self.registry)
        )

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return self._described_as(
            "gauge", name, labels, text, Gauge(PREFIX + name, text, labels, registry=self.registry)
        )

    def _batches(self, name: str, text: str, buckets: Sequence[float]) -> BatchHistogram:
        made = BatchHistogram(PREFIX + name, text, buckets=buckets, registry=self.registry)
        return self._described_as("histogram", name, (), text, made)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        made = Histogram(PREFIX + name, text, labels, buckets=buckets, registry=self.registry)
        return self._described_as("histogram", name, labels, text, made)

    def _described_as(
        self, kind: str, name: str, labels: tuple[str, ...], text: str, made: Instrument
    ) -> Instrument:
        self._described.append(Described(PREFIX + name, kind, labels, text))
        return made

    def catalogue(self) -> tuple[Described, ...]:
        """Every metric family, in the order of the road a message takes."""
        return tuple(self._described)

    # --- one call a poll: labels are looked up once, rows are counted by the page -------------------------

    def answered(self, endpoint: str, seconds: float) -> None:
        """A request was answered with a page, that long after it was begun."""
        self._of(self.requests_total, endpoint, "ok").inc()
        self.poll_seconds.observe(seconds)

    def asked(self, endpoint: str, outcome: str) -> None:
        """A request beside the polls ended."""
        self._of(self.requests_total, endpoint, outcome).inc()

    def failed(self, endpoint: str, outcome: str) -> None:
        """A poll's request ended in one of `POLL_OUTCOMES` other than a page."""
        self._of(self.requests_total, endpoint, outcome).inc()
        self.poll(outcome).inc()

    def page(
        self, rows: int, fresh: Sequence[Read], *, api_now: datetime, duplicates: int, rejects: int
    ) -> None:
        """A page of so many rows was accounted for; `fresh` are the messages read for the first time.

        `api_now` is when the page was complete, by the API's clock: what the detection delay is measured to.
        """
        self.poll("rows" if rows else "empty").inc()
        if duplicates:
            self.duplicates_total.inc(duplicates)
        if rejects:
            self.rejects_total.inc(rejects)
        if not fresh:
            return
        for words, count in Tally([(message.category, message.type) for message in fresh]).items():
            self.message(*words).inc(count)
        now = api_now.timestamp()
        self.detection_delay_seconds.observe_all(
            [max(0.0, now - message.sent_at.timestamp()) for message in fresh]
        )

    def poll(self, outcome: str) -> Counter:
        """The `polls_total` series of an outcome of `POLL_OUTCOMES`."""
        return self._of(self.polls_total, outcome)

    def _of(self, family: Counter, *words: str) -> Counter:
        if (series := self._series.get((family, words))) is None:
            series = self._series[family, words] = family.labels(*words)
        return series

    def message(self, category: str, type_: str) -> Counter:
        """The `messages_total` series of these words, which come from chat and may be anything."""
        known = category if category in CATEGORIES else OTHER, type_ if type_ in TYPES else OTHER
        return self._of(self.messages_total, *known)

    def changed(self, fates: Mapping[str, int]) -> None:
        """What became of the rows that changed, by the words of `UPDATE_FATES`."""
        for fate, number in fates.items():
            self._of(self.updates_total, fate).inc(number)

    def band(self, rule: str, *, usual: int, limit: int | None) -> None:
        """How much a rule usually finds, and how much would be a surge, if that is known."""
        self.rule_hourly_alerts_usual.labels(rule).set(usual)
        self.rule_hourly_alerts_limit.labels(rule).set(limit or 0)

    def started(self, version: str) -> None:
        """Set what is true from the start, so that `rate()` sees the first event of every kind."""
        self.build_info.labels(version, platform.python_version()).set(1)
        for outcome in POLL_OUTCOMES:
            self.poll(outcome)
        for fate in UPDATE_FATES:
            self._of(self.updates_total, fate)

    def expect(self, *, rules: Iterable[str], receivers: Iterable[str]) -> None:
        """Show exactly these rules and receivers: new ones from zero, those that are gone no longer.

        Called at the start and after each reload.
        """
        self._expect_rules(frozenset(rules))
        self._expect_receivers(frozenset(receivers))

    def expect_cohorts(self, cohorts: Iterable[str]) -> None:
        """Show exactly these cohorts among those that are discovered."""
        wanted = frozenset(cohorts)
        for family in (self.discovered_users, self.discovery_last_success_timestamp_seconds):
            for gone in self._cohorts - wanted:
                family.remove(gone)
            for cohort in wanted:
                family.labels(cohort)
        self._cohorts = wanted

    def _expect_rules(self, rules: frozenset[str]) -> None:
        series: dict[MetricWrapperBase, tuple[tuple[str, ...], ...]] = {
            self.rule_matches_total: ((),),
            self.rule_faults_total: ((),),
            self.rule_hourly_alerts_usual: ((),),
            self.rule_hourly_alerts_limit: ((),),
            self.rule_alerts_total: tuple((fate,) for fate in FATES),
        }
        self._show(series, gone=self._rules - rules, wanted=rules)
        self._rules = rules

    def _expect_receivers(self, receivers: frozenset[str]) -> None:
        series: dict[MetricWrapperBase, tuple[tuple[str, ...], ...]] = {
            self.outbox_pending: ((),),
            self.outbox_dead: ((),),
            self.outbox_oldest_age_seconds: ((),),
            self.delivery_delay_seconds: ((),),
            self.outbox_undelivered_age_seconds: tuple((severity,) for severity in SEVERITIES),
            self.standing_total: STANDING,
            self.receiver_open: ((),),
            self.receiver_failing_seconds: ((),),
            self.fallbacks_total: ((),),
            self.escalations_total: ((),),
            self.deliveries_total: tuple((outcome,) for outcome in DELIVERY_OUTCOMES),
        }
        self._show(series, gone=self._receivers - receivers, wanted=receivers)
        self._receivers = receivers

    @staticmethod
    def _show(
        series: Mapping[MetricWrapperBase, Iterable[tuple[str, ...]]],
        *,
        gone: Iterable[str],
        wanted: Iterable[str],
    ) -> None:
        for family, endings in series.items():
            for ending in endings:
                for name in gone:
                    family.remove(name, *ending)
                for name in wanted:
                    family.labels(name, *ending)
