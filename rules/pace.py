"""What new alerts pass before they are routed: shadow, working time, cooldown, surge and hourly limit. Pure.

Time is event time throughout. What is held keeps its reason and is recorded; what is over a limit is told as
part of a sum. Rows come late and out of order, so each decision looks at what was told before *and* after its
moment: of two alerts of one cooldown, whichever was found first is the one that is sent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from rules.cooling import Cooling, cooled_until, told
from rules.engine import Rule, RuleSet
from rules.fields import reader
from rules.model import (
    Alert,
    AlertId,
    Fault,
    RuleName,
    Severity,
    State,
    StateChange,
    StateKey,
    Status,
    Value,
    fingerprint,
)
from rules.pacing import Cooldown, Outside
from rules.templates import moment
from rules.volume import HOUR, LEAST, Band, Volume, counted, has_room, with_sent

SURGE: Final = RuleName("rule-surge")
"""The rule of the warnings that take the place of a storm."""

PACE: Final = "@pace"
SURGES: Final = StateKey(SURGE, PACE)
"""Which rules are in a surge."""

AHEAD: Final = timedelta(minutes=5)
"""A row dated further in the future counts as of this: it must not make the present look long ago."""

KEEP: Final = timedelta(days=30)  # a state that nothing was added to for so long may be forgotten

DAY: Final = timedelta(days=1)


class HoldKind(StrEnum):
    SHADOW = "shadow"
    CALENDAR = "calendar"
    COOLDOWN = "cooldown"
    OVERFLOW = "overflow"
    SURGE = "surge"


class Hold(Value, frozen=True, kw_only=True):
    """Why an alert is not sent by itself. One that is summed is told as part of a sum, others not at all."""

    why: HoldKind
    reason: str
    until: datetime | None = None  #: when the like of it would be sent again, if that is known

    @property
    def is_summed(self) -> bool:
        return self.why in {HoldKind.OVERFLOW, HoldKind.SURGE}


class Paced(Value, frozen=True, kw_only=True):
    """What became of alerts: as they are to be routed, with warnings of surges after them."""

    alerts: tuple[Alert, ...] = ()
    holds: Mapping[AlertId, Hold] = {}
    states: tuple[StateChange, ...] = ()
    bands: Mapping[RuleName, Band] = {}
    faults: tuple[Fault, ...] = ()


def paced(rules: RuleSet, alerts: Iterable[Alert]) -> frozenset[StateKey]:
    """The states that `pace` reads for the same alerts."""
    by_name = _named(rules, alerts)
    return frozenset(
        key for alert in alerts if alert.rule in by_name for key in _keys(by_name[alert.rule], alert)
    )


def pace(
    rules: RuleSet,
    states: Mapping[StateKey, State],
    alerts: Sequence[Alert],
    *,
    now: datetime,
    known: Collection[AlertId] = frozenset(),
    muted: Collection[RuleName] = frozenset(),
) -> Paced:
    """Decide which of `alerts`, that are news to the store, are held; `states` are what `paced` named.

    An alert that begins is counted and judged. One whose id is in `known`, and the end of one, was judged
    when it began, and the store sees to it that it stays what it was. What a rule finds while it is
    `muted` is counted and not judged: nobody hears of it. Never raises for a stored state: one that can't be
    read is a fault, and begins anew.
    """
    run = _Run(rules=rules, states=states, now=now, muted=muted)
    by_name = _named(rules, alerts)
    begun = set(known)
    for alert in sorted(alerts, key=_beginnings_first):
        if rule := by_name.get(alert.rule):
            run.take(rule, alert, is_new=alert.status is Status.FIRING and alert.id not in begun)
        begun.add(alert.id)
    return run.done(alerts)


def _beginnings_first(alert: Alert) -> tuple[bool, int, datetime, AlertId]:
    return alert.status is Status.RESOLVED, alert.revision, alert.event_at, alert.id


def calmed(rules: RuleSet, states: Mapping[StateKey, State], *, seen: datetime, now: datetime) -> Paced:
    """End the surges that are over when all was seen up to `seen`; `states` holds that of `SURGES`.

    A rule that goes quiet raises nothing that could tell so: ask now and then.
    """
    run = _Run(rules=rules, states=states, now=now)
    run.calm(seen)
    return run.done(())


def _named(rules: RuleSet, alerts: Iterable[Alert]) -> Mapping[RuleName, Rule]:
    names = {alert.rule for alert in alerts}
    return {rule.name: rule for rule in rules.rules if rule.name in names} if names else {}


def _keys(rule: Rule, alert: Alert) -> Iterator[StateKey]:
    pacing = rule.pacing
    if alert.status is not Status.FIRING:
        return
    if pacing.surge or pacing.max_per_hour is not None:
        yield StateKey(rule.name, PACE)
    if pacing.surge:
        yield SURGES
    if pacing.cooldown is not None:
        yield from _cooldown_keys(pacing.cooldown, alert)


def _cooldown_keys(cooldown: Cooldown, alert: Alert) -> tuple[StateKey, ...]:
    """One for each that the alert may be alike to; what has not the fields is all alike."""
    found = _reader(cooldown.by)(alert.messages[0]) if alert.messages else ()
    alike = [one.key for one in found if _is_about(cooldown.by, one.values, alert)] or [""]
    return tuple(StateKey(alert.rule, f"{PACE}/cooldown/{key}") for key in alike)


_reader = lru_cache(maxsize=1_024)(reader)


def _is_about(by: Sequence[str], values: Sequence[str], alert: Alert) -> bool:
    """Whom the alert concerns is known by now: of `watched`, others count no longer."""
    return "watched" not in by or values[by.index("watched")] in alert.watched_users


# --- surges -------------------------------------------------------------------------------------------


class Surge(Value, frozen=True, kw_only=True):
    """A rule raises far more than usual: `alert` said so once."""

    alert: Alert
    since: datetime
    last: datetime  #: when there were too many in an hour, the last time
    limit: int
    summed: int = 0

    def limit_at(self, at: datetime, usual: int | None) -> int:
        """What is too many. A surge that goes on for a day is measured by what has become usual."""
        return max(self.limit, usual or 0) if at - self.since >= DAY else self.limit


class Surges(Value, frozen=True, kw_only=True):
    of: Mapping[RuleName, Surge] = {}


def _warning(app: str, rule: Rule, alert: Alert, band: Band, now: datetime) -> Alert:
    return Alert(
        id=fingerprint(app, SURGE, rule.name, alert.id),
        rule=SURGE,
        key=rule.name,
        status=Status.FIRING,
        severity=Severity.WARNING,
        title=f"The rule {rule.name} raises far more alerts than usual",
        summary=f"{band.volume} alerts within an hour, where the most that is usual is {band.usual}. Until "
        f"an hour has passed without more than {band.limit}, they are told as sums, every 5 minutes.",
        conversation_id="",
        event_at=alert.event_at,
        first_seen_at=now,
        watched_users=alert.watched_users,  # so it is routed as the alerts that it stands for
        labels={**alert.labels, "surging_rule": rule.name},
        lasts=True,
    )


def _all_clear(surge: Surge, why: str, at: datetime) -> Alert:
    return msgspec.structs.replace(
        surge.alert,
        status=Status.RESOLVED,
        event_at=max(at, surge.alert.event_at),
        summary=f"{surge.summed} alerts were told as sums since {moment(surge.since)}.",
        resolution=why,
    )


# --- the run ------------------------------------------------------------------------------------------

S = TypeVar("S", bound=Value)


class _Desk:
    """The states under work: read once, written once."""

    def __init__(self, states: Mapping[StateKey, State]) -> None:
        self._stored = states
        self._open: dict[StateKey, Any] = {}
        self._written: dict[StateKey, datetime] = {}
        self.faults: list[Fault] = []

    def read(self, key: StateKey, kind: type[S]) -> S | None:
        if key not in self._open:
            self._open[key] = self._decoded(key, kind)
        value: S | None = self._open[key]
        return value

    def _decoded(self, key: StateKey, kind: type[S]) -> S | None:
        stored = self._stored.get(key)
        try:
            return msgspec.json.decode(stored.value, type=kind) if stored else None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            told = f"stored state of {key.key}: {type(error).__name__}"
            self.faults.append(Fault(rule=key.rule, message_id=None, error=told))
            return None

    def write(self, key: StateKey, value: Value | None, *, expires_at: datetime) -> None:
        self._open[key] = value
        self._written[key] = expires_at

    def changes(self) -> Iterator[StateChange]:
        for key, expires_at in self._written.items():
            stored, value = self._stored.get(key), self._open[key]
            made = None if value is None else msgspec.json.encode(value)
            if made != (stored.value if stored else None):
                version = stored.version if stored else 0
                yield StateChange(key=key, expected=version, value=made, expires_at=expires_at)


class _Run:
    """One call of `pace` under way."""

    def __init__(
        self,
        *,
        rules: RuleSet,
        states: Mapping[StateKey, State],
        now: datetime,
        muted: Collection[RuleName] = frozenset(),
    ) -> None:
        self._rules = rules
        self._muted = muted
        self._now = now
        self._desk = _Desk(states)
        self._shown: dict[tuple[AlertId, Status, int], Alert] = {}
        self._outside: set[AlertId] = set()  #: began outside working time
        self._warnings: list[Alert] = []
        self._holds: dict[AlertId, Hold] = {}
        self._counted: dict[RuleName, Volume] = {}

    def take(self, rule: Rule, alert: Alert, *, is_new: bool) -> None:
        at = min(alert.event_at, self._now + AHEAD)
        if rule.pacing.outside is not None:
            alert = self._elsewhere(rule.pacing.outside, alert, at, is_new=is_new)
        if not is_new:
            return
        self._count(rule, at)
        hold = None if rule.name in self._muted else self._hold(rule, alert, at)
        if hold is not None:
            self._holds[alert.id] = hold

    def done(self, alerts: Iterable[Alert]) -> Paced:
        shown = (self._shown.get((alert.id, alert.status, alert.revision), alert) for alert in alerts)
        return Paced(
            alerts=(*shown, *self._warnings),
            holds=self._holds,
            states=tuple(self._desk.changes()),
            bands={name: volume.band(volume.newest) for name, volume in self._counted.items()},
            faults=tuple(self._desk.faults),
        )

    def calm(self, seen: datetime) -> None:
        names = {rule.name: rule for rule in self._rules.rules}
        for name, surge in list(self._surges().of.items()):
            rule = names.get(name)
            if rule is None:
                self._end(name, surge, "the rule was removed", seen)
            elif not rule.pacing.surge or rule.pacing.shadow:
                self._end(name, surge, "the rule no longer tells surges", seen)
            elif seen >= surge.last + HOUR:
                self._end(name, surge, BACK, seen)

    def _elsewhere(self, outside: Outside, alert: Alert, at: datetime, *, is_new: bool) -> Alert:
        """The alert as it is outside working time, if it began then."""
        if is_new and not outside.calendar.calendar.is_open(at):
            self._outside.add(alert.id)
        if alert.id not in self._outside:
            return alert
        labels = {**alert.labels, **outside.labels}
        changed = msgspec.structs.replace(alert, severity=outside.severity or alert.severity, labels=labels)
        self._shown[alert.id, alert.status, alert.revision] = changed
        return changed

    def _count(self, rule: Rule, at: datetime) -> None:
        if not rule.pacing.surge and rule.pacing.max_per_hour is None:
            return
        volume = counted(self._volume(rule), at)
        self._keep(rule, volume)
        if not rule.pacing.surge:
            return
        surge = self._surges().of.get(rule.name)
        if surge is not None and volume.within_hour(at) > surge.limit_at(at, volume.limit(at)):
            self._note(rule.name, msgspec.structs.replace(surge, last=max(surge.last, at)))
        self._counted[rule.name] = volume

    def _hold(self, rule: Rule, alert: Alert, at: datetime) -> Hold | None:
        """The first reason that holds. Only what reaches people counts for the later ones."""
        pacing = rule.pacing
        if pacing.shadow:
            return Hold(why=HoldKind.SHADOW, reason="the rule is in shadow: recorded, not sent")
        if silence := pacing.silence(at):
            return Hold(why=HoldKind.CALENDAR, reason=silence[0], until=silence[1])
        if pacing.cooldown and (held := self._cool(pacing.cooldown, alert, at)):
            return held
        if pacing.surge and (held := self._storm(rule, alert, at)):
            return held
        return None if pacing.max_per_hour is None else self._overflow(rule, pacing.max_per_hour, at)

    def _cool(self, cooldown: Cooldown, alert: Alert, at: datetime) -> Hold | None:
        """Held if all that it could be alike to was told; else it begins the cooldown of each."""
        keys = _cooldown_keys(cooldown, alert)
        known = {key: self._desk.read(key, Cooling) or Cooling() for key in keys}
        ends = [cooled_until(cooldown, cooling, at) for cooling in known.values()]
        if all(ends):
            until = max(filter(None, ends))
            return Hold(why=HoldKind.COOLDOWN, reason=f"cooling down until {moment(until)}", until=until)
        for key, cooling in known.items():
            self._desk.write(key, told(cooldown, cooling, at), expires_at=self._now + KEEP)
        return None

    def _overflow(self, rule: Rule, most: int, at: datetime) -> Hold | None:
        volume = self._volume(rule)
        assert volume is not None  # it was just counted
        if not has_room(volume.sent, at, most):
            return Hold(why=HoldKind.OVERFLOW, reason=f"more than {most} alerts in an hour: told in a sum")
        self._keep(rule, with_sent(volume, at))
        return None

    def _storm(self, rule: Rule, alert: Alert, at: datetime) -> Hold | None:
        volume = self._volume(rule)
        assert volume is not None  # it was just counted
        surge = self._surges().of.get(rule.name)
        if surge is not None and at >= surge.last + HOUR:
            self._end(rule.name, surge, BACK, at)
            surge = None
        if surge is None:
            surge = self._begin(rule, alert, at, volume)
        if surge is None or at < surge.since:  # all is as ever, or it is late news of the time before
            return None
        self._note(rule.name, msgspec.structs.replace(surge, summed=surge.summed + 1))
        return Hold(
            why=HoldKind.SURGE,
            reason=f"far more alerts than usual since {moment(surge.since)}: told in a sum",
        )

    def _begin(self, rule: Rule, alert: Alert, at: datetime, volume: Volume) -> Surge | None:
        """A surge with its warning, if there are too many alerts now."""
        if volume.within_hour(at) <= LEAST:
            return None  # as nearly always: what is usual need not be asked
        band = volume.band(at)
        if band.limit is None or band.volume <= band.limit:
            return None
        warning = _warning(self._rules.app, rule, alert, band, self._now)
        self._warnings.append(warning)
        return Surge(alert=warning, since=at, last=at, limit=band.limit)

    def _end(self, name: RuleName, surge: Surge, why: str, at: datetime) -> None:
        self._warnings.append(_all_clear(surge, why, at))
        self._note(name, None)

    def _surges(self) -> Surges:
        return self._desk.read(SURGES, Surges) or Surges()

    def _note(self, name: RuleName, surge: Surge | None) -> None:
        of = {other: its for other, its in self._surges().of.items() if other != name}
        if surge is not None:
            of[name] = surge
        self._desk.write(SURGES, Surges(of=of) if of else None, expires_at=self._now + KEEP)

    def _volume(self, rule: Rule) -> Volume | None:
        return self._desk.read(StateKey(rule.name, PACE), Volume)

    def _keep(self, rule: Rule, volume: Volume) -> None:
        self._desk.write(StateKey(rule.name, PACE), volume, expires_at=self._now + KEEP)


BACK: Final = "there are no more alerts than usual any longer"
