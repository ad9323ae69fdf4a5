"""Two rule sets on the same messages: which alerts come, go and change. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from monitor.tally import Tally, Told
from rules.model import AlertId, RuleName, Value


class Changed(Value, frozen=True, kw_only=True):
    """One alert that both find, told differently."""

    old: Told
    new: Told
    differs: tuple[str, ...]  #: in what


class RuleChange(Value, frozen=True, kw_only=True):
    """What becomes of one rule's alerts."""

    rule: RuleName
    old: int  #: alerts
    new: int
    added: tuple[Told, ...]
    removed: tuple[Told, ...]
    changed: tuple[Changed, ...]
    pages_per_day_old: float
    pages_per_day_new: float


class Comparison(Value, frozen=True, kw_only=True):
    """What becomes of all alerts."""

    rules: tuple[RuleChange, ...]
    added: int
    removed: int
    changed: int
    pages_per_day_old: float
    pages_per_day_new: float
    renamed: Mapping[RuleName, RuleName] = {}  #: old name -> new one, by what they find


def compare(old: Tally, new: Tally) -> Comparison:
    """Match the alerts of both by id. Those of a rule that was renamed have other ids: they go and come."""
    before = {one.alert.id: one for one in old.told}
    after = {one.alert.id: one for one in new.told}
    names = dict.fromkeys((*(each.rule for each in old.rules), *(each.rule for each in new.rules)))
    rules = tuple(_of_rule(name, old, new, before, after) for name in names)
    return Comparison(
        rules=rules,
        added=sum(len(rule.added) for rule in rules),
        removed=sum(len(rule.removed) for rule in rules),
        changed=sum(len(rule.changed) for rule in rules),
        pages_per_day_old=old.pages_per_day,
        pages_per_day_new=new.pages_per_day,
        renamed=dict(_renamed(rules)),
    )


def _of_rule(
    name: RuleName,
    old: Tally,
    new: Tally,
    before: Mapping[AlertId, Told],
    after: Mapping[AlertId, Told],
) -> RuleChange:
    was = [one for one in before.values() if one.alert.rule == name]
    now = [one for one in after.values() if one.alert.rule == name]
    both = ((before[one.alert.id], one) for one in now if one.alert.id in before)
    return RuleChange(
        rule=name,
        old=len(was),
        new=len(now),
        added=tuple(one for one in now if one.alert.id not in before),
        removed=tuple(one for one in was if one.alert.id not in after),
        changed=tuple(
            Changed(old=one, new=other, differs=differs)
            for one, other in both
            if (differs := tuple(_differences(one, other)))
        ),
        pages_per_day_old=_pages(name, old),
        pages_per_day_new=_pages(name, new),
    )


def _differences(old: Told, new: Told) -> Iterator[str]:
    """In what two tellings of one alert differ, in words."""
    for name in ("severity", "title", "summary", "labels", "annotations", "watched_users", "event_at"):
        if getattr(old.alert, name) != getattr(new.alert, name):
            yield name.replace("_", " ")
    if (old.fate, old.why) != (new.fate, new.why):
        yield "fate"
    if old.receivers != new.receivers:
        yield "receivers"
    if (old.resolved_at, old.resolution) != (new.resolved_at, new.resolution):
        yield "end"


def _pages(name: RuleName, tally: Tally) -> float:
    return next((rule.pages_per_day for rule in tally.rules if rule.rule == name), 0.0)


def _renamed(rules: Sequence[RuleChange]) -> Iterator[tuple[RuleName, RuleName]]:
    """Rules that find the very same under another name: their alerts are new to receivers all the same."""
    gone = [rule for rule in rules if rule.removed and not rule.new]
    come = {_traces(rule.added): rule.rule for rule in rules if rule.added and not rule.old}
    for rule in gone:
        if (name := come.get(_traces(rule.removed))) is not None:
            yield rule.rule, name


def _traces(found: Sequence[Told]) -> frozenset[tuple[str, str, str]]:
    return frozenset(
        (one.alert.key, one.alert.conversation_id, one.alert.event_at.isoformat()) for one in found
    )
