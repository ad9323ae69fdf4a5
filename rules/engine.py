"""Messages and ticks in, findings out. `step` is all of evaluation: replay and tests run this very code.

The same messages give the same findings however they are split into steps, repeated or read through
several users' lists.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePath
from typing import Any, Final

from rules.conditions import SafeError, Test
from rules.index import Index
from rules.kinds.base import Correlating, Found, Logic, Needs, Ruling, Single
from rules.model import (
    MAX_TOLD,
    Alert,
    AlertId,
    Because,
    Fault,
    Labels,
    Message,
    MessageId,
    Outcome,
    RuleName,
    Severity,
    State,
    StateChange,
    StateKey,
    Status,
    Tick,
    Timer,
    WatchSet,
    fingerprint,
)
from rules.names import Pack
from rules.pacing import USUAL, Pacing
from rules.templates import MAX_TITLE, Facts, Template, link_maker, plain
from rules.text import Place, Problem
from rules.working_time import Calendar

MAX_CAUSES: Final = 100  # messages that `Because` names: a page may bring a thousand of one key
LINK: Final = "link"
"""The annotation that holds the link made from `alerts.link`, unless the rule has its own."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule, ready to run. `fingerprint` changes when what it looks for changes, not when its words do."""

    name: RuleName
    kind: str
    severity: Severity
    labels: Labels
    annotations: Labels
    title: Template
    summary: Template
    logic: Logic
    fingerprint: str
    place: Place
    needs: Needs
    pacing: Pacing = USUAL
    pack: str | None = None  #: the id of the pack it belongs to
    source_text: str = ""  #: its YAML as it was written

    def describe(self) -> str:
        """What it looks for, in words."""
        return f"{self.name} ({self.severity}): {self.logic.describe()}"


class RuleSet:
    """The rules of one app, indexed. `warnings` are what their authors should know but need not mend."""

    def __init__(
        self,
        *,
        app: str,
        rules: Sequence[Rule],
        link: str | None = None,
        warnings: Sequence[Problem] = (),
        packs: Sequence[Pack] = (),
        calendars: Mapping[str, Calendar] | None = None,
    ) -> None:
        """Raise `rules.templates.TemplateError` if `link` is not a link template."""
        self.app = app
        self.rules = tuple(rules)
        self.warnings = tuple(warnings)
        self.packs = tuple(packs)
        self.calendars: Mapping[str, Calendar] = calendars or {}  #: by the names that rule files give them
        self.fingerprints: Mapping[RuleName, str] = {rule.name: rule.fingerprint for rule in rules}
        self.link: Callable[[Mapping[str, str]], str] | None = link_maker(link) if link else None
        logics = [(rule, rule.logic) for rule in rules]
        self.singles = Index(
            [
                (logic.interest, (logic.test, logic, rule))
                for rule, logic in logics
                if not isinstance(logic, Correlating)
            ]
        )
        correlating = [(rule, logic) for rule, logic in logics if isinstance(logic, Correlating)]
        self.correlating = Index([(logic.interest, (logic, rule)) for rule, logic in correlating])
        self.by_name = {rule.name: (logic, rule) for rule, logic in correlating}


def wanted(rules: RuleSet, messages: Sequence[Message], ticks: Sequence[Tick] = ()) -> frozenset[StateKey]:
    """The states that `step` will read for the same messages and ticks."""
    keys = {tick.key for tick in ticks}
    for message in messages if rules.by_name else ():
        for logic, rule in rules.correlating.at(message):
            try:
                keys.update(StateKey(rule.name, key) for key in logic.keys(message))
            except Exception:  # noqa: S112 - `step` meets the same error and reports it
                continue
    return frozenset(keys)


def step(
    rules: RuleSet,
    watch: WatchSet,
    states: Mapping[StateKey, State],
    messages: Sequence[Message],
    ticks: Sequence[Tick] = (),
    *,
    now: datetime,
) -> Outcome:
    """Evaluate messages and ticks against the rules; `states` holds what `wanted` named and exists.

    Never raises for a message, a rule or a stored state: what fails becomes a fault, the rest goes on.
    `now` is our time, for the record only; nothing is decided by it.
    """
    run = _Run(rules=rules, watch=watch, now=now)
    for message in messages:
        for test, logic, rule in rules.singles.at(message):
            run.match(message, test, logic, rule)
    cases = _Cases(run=run, states=states)
    for message in messages if rules.by_name else ():
        cases.gather(message)
    for tick in ticks:
        cases.remind(tick)
    return cases.judge()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What was judged when something was found."""

    messages: tuple[MessageId, ...] = ()
    tick: datetime | None = None
    key: str | None = None
    before: bytes | None = None
    after: bytes | None = None

    def of(self, alert: AlertId, found: Found) -> Because:
        return Because(
            alert=alert,
            status=found.status,
            revision=found.revision,
            messages=self.messages,
            tick=self.tick,
            key=self.key,
            before=_told(self.before),
            after=_told(self.after),
        )


def _told(state: bytes | None) -> str | None:
    return None if state is None else state[:MAX_TOLD].decode("utf-8", "ignore")


@dataclass(kw_only=True)
class _Run:
    """One step under way: the findings and faults so far."""

    rules: RuleSet
    watch: WatchSet
    now: datetime
    alerts: dict[tuple[str, Status, int], Alert] = field(default_factory=dict)
    because: list[Because] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def match(self, message: Message, test: Test, logic: Single, rule: Rule) -> None:
        try:
            if test(message, self.watch) and (found := logic.found(message, self.watch)):
                self.tell(rule, found, Cause(messages=(message.id,)))
        except Exception as error:
            self.fault(rule.name, message.id, place_of(error))

    def tell(self, rule: Rule, found: Found, cause: Cause) -> None:
        """Name and word a finding. A finding twice in one step is one alert."""
        alert_id = fingerprint(self.rules.app, rule.name, found.key, found.episode)
        if (alert_id, found.status, found.revision) in self.alerts:
            return
        facts = {**found.facts, "rule": {"name": rule.name, "severity": str(rule.severity)}}
        self.because.append(cause.of(alert_id, found))
        self.alerts[alert_id, found.status, found.revision] = Alert(
            id=alert_id,
            rule=rule.name,
            key=found.key,
            status=found.status,
            severity=rule.severity,
            title=self._worded(rule, rule.title, facts, found)
            or plain(f"{rule.name} ({rule.kind})", MAX_TITLE),
            summary=self._worded(rule, rule.summary, facts, found) or "",
            conversation_id=found.conversation_id,
            event_at=found.event_at,
            first_seen_at=found.found_at or self.now,
            watched_users=found.watched_users,
            labels=rule.labels,
            annotations=self._link(rule, found, alert_id) | dict(rule.annotations),
            messages=found.messages,
            resolution=found.resolution,
            revision=found.revision,
            lasts=rule.logic.is_lasting,
        )

    def _worded(self, rule: Rule, template: Template, facts: Facts, found: Found) -> str | None:
        try:
            return template(facts)
        except Exception as error:
            # A template is checked against a sample; a message may still lack what the sample had.
            self.fault(
                rule.name, found.messages[-1].id, f"template {template.text[:80]!r}: {type(error).__name__}"
            )
            return None

    def _link(self, rule: Rule, found: Found, alert_id: str) -> dict[str, str]:
        if self.rules.link is None:
            return {}
        last = found.messages[-1]
        facts = {
            "app": self.rules.app,
            "rule": rule.name,
            "alert_id": alert_id,
            "conversation_id": found.conversation_id,
            "message_id": str(last.id),
            "sender": last.sender.id,
            "receiver": last.receiver.id,
        }
        return {LINK: self.rules.link(facts)}

    def fault(self, rule: RuleName, message_id: MessageId | None, error: str) -> None:
        self.faults.append(Fault(rule=rule, message_id=message_id, error=error))


def place_of(error: Exception) -> str:
    """An error as a fault tells it: its kind and where it arose. Its own text may quote a message."""
    frames = traceback.extract_tb(error.__traceback__)
    at = f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return (
        f"{type(error).__name__}{at}: {error}"
        if isinstance(error, SafeError)
        else f"{type(error).__name__}{at}"
    )


@dataclass(kw_only=True)
class _Case:
    """One key under judgement."""

    rule: Rule
    logic: Correlating[Any]
    state: Any = None
    taken: list[MessageId] = field(default_factory=list)
    tick: Tick | None = None


@dataclass(kw_only=True)
class _Cases:
    """The correlated part of a step: gather facts by key, then judge each key once."""

    run: _Run
    states: Mapping[StateKey, State]
    open: dict[StateKey, _Case] = field(default_factory=dict)
    closed: list[StateKey] = field(default_factory=list)  #: timers of rules or keys that are gone

    def gather(self, message: Message) -> None:
        for logic, rule in self.run.rules.correlating.at(message):
            try:
                for key in logic.keys(message):
                    case = self._case(StateKey(rule.name, key), logic, rule)
                    case.state = logic.take(case.state, key, message, now=self.run.now)
                    case.taken.append(message.id)
            except Exception as error:
                self.run.fault(rule.name, message.id, place_of(error))

    def remind(self, tick: Tick) -> None:
        known = self.run.rules.by_name.get(tick.key.rule)
        case = self._case(tick.key, *known) if known else None
        if case is not None and case.state is not None:
            case.tick = tick
        else:
            self.closed.append(tick.key)

    def _case(self, key: StateKey, logic: Correlating[Any], rule: Rule) -> _Case:
        """The case of a key with its stored state. One that can't be read is a fault, and begins anew."""
        if key not in self.open:
            stored, state = self.states.get(key), None
            try:
                state = logic.decode(stored.value) if stored else None
            except Exception as error:
                self.run.fault(rule.name, None, f"stored state of {key.key[:80]}: {place_of(error)}")
            self.open[key] = _Case(rule=rule, logic=logic, state=state)
        return self.open[key]

    def judge(self) -> Outcome:
        changes: list[StateChange] = []
        timers: list[Timer] = []
        for key, case in self.open.items():
            if case.state is None:
                continue
            try:
                ruling = case.logic.judge(
                    key.key, case.state, tick=case.tick, watch=self.run.watch, now=self.run.now
                )
                value = None if ruling.state is None else case.logic.encode(ruling.state)
            except Exception as error:
                self.run.fault(case.rule.name, case.taken[-1] if case.taken else None, place_of(error))
                continue
            for found in ruling.found:
                self.run.tell(case.rule, found, self._cause(key, case, value))
            change = self._change(key, value, ruling)
            changes += [change] if change else []
            self._schedule(key, case, ruling, timers, is_changed=change is not None)
        return Outcome(
            states=tuple(changes),
            alerts=tuple(self.run.alerts.values()),
            because=tuple(self.run.because),
            timers=tuple(timers),
            cancelled=tuple(dict.fromkeys(self.closed)),
            faults=tuple(self.run.faults),
        )

    def _cause(self, key: StateKey, case: _Case, value: bytes | None) -> Cause:
        stored = self.states.get(key)
        return Cause(
            messages=tuple(case.taken[-MAX_CAUSES:]),
            tick=case.tick.due if case.tick else None,
            key=key.key,
            before=stored.value if stored else None,
            after=value,
        )

    def _change(self, key: StateKey, value: bytes | None, ruling: Ruling[Any]) -> StateChange | None:
        """What to write, if anything: a message read again changes nothing and writes nothing."""
        stored = self.states.get(key)
        if value == (stored.value if stored else None):
            return None
        return StateChange(
            key=key,
            expected=stored.version if stored else 0,
            value=value,
            expires_at=ruling.keep_until,
        )

    def _schedule(
        self, key: StateKey, case: _Case, ruling: Ruling[Any], timers: list[Timer], *, is_changed: bool
    ) -> None:
        """A kind keeps its wait in its state, so an unchanged state means an unchanged timer."""
        if ruling.wait is not None and (is_changed or case.tick):
            wait = ruling.wait
            timers.append(Timer(key=key, due=wait.due, lists=wait.lists, every=wait.every))
        elif ruling.wait is None and (case.tick or (is_changed and key in self.states)):
            self.closed.append(key)
