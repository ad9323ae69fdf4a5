"""What `backtest` and `diff` say: tables, a map of hours and what can't be known; or JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, Final

import typer

from monitor.cli.given import moment, print_table

if TYPE_CHECKING:
    from monitor.cli.past import Stage
    from monitor.comparison import Changed, Comparison
    from monitor.tally import Hour, RuleTally, Tally, Told
    from rules.engine import RuleSet


# --- what is said about it --------------------------------------------------------------------------------


def notes_on(stage: Stage, tally: Tally, rules: RuleSet) -> Iterator[str]:
    """What this can't know, as far as it matters here."""
    from monitor.cli.past import names_of
    from rules import spec

    yield from stage.notes
    if stage.fetched and stage.fetched.unknown:
        yield f"CometChat does not have {names_of(stage.fetched.unknown)}: check the names."
    if stage.past.rejects:
        yield f"{_many(stage.past.rejects, 'row')} could not be read and had no part in it."
    if stage.past.is_redacted:
        yield "Texts, names, links and metadata values were left out: rules about them found nothing."
    if changed := sum(1 for message in stage.messages if message.edited_at or message.deleted_at):
        yield (
            f"{_many(changed, 'message')} had been edited or deleted when read: the rules saw what was left "
            "of them, the running monitor would have seen them as they were sent."
        )
    if rules.by_name:
        yield (
            f"What rules had learnt or counted before {moment(stage.since)} is unknown: they begin without "
            "memory."
        )
    if pending := sum(rule.open for rule in tally.rules):
        yield f"{_many(pending, 'question')} could not be answered yet when the messages ended."
    for rule in tally.rules:
        if rule.faults:
            yield f'Rule "{rule.rule}" failed on {_many(rule.faults, "message")}: {rule.error}'
    source = stage.list_source
    for problem in spec.warnings(rules, source, has_groups=bool(stage.orders.groups)) if source else ():
        yield f"{problem.message}."
    yield "Mutes, and the delay until a message is read, are not part of this: see `cometwatch plan`."


def _many(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _headline(stage: Stage, tally: Tally) -> str:
    parts = [_many(tally.messages, "message")]
    if stage.past.lists:
        parts.append(f"of {_many(stage.past.lists, 'list')}")
    told = f"{' '.join(parts)}, {moment(tally.since)} to {moment(tally.until)} ({tally.days:.1f} days)"
    if stage.fetched is None:
        return told
    return f"{told}\n{_many(stage.fetched.requests, 'request')} asked; history is kept in {stage.folder}"


COLUMNS: Final = ("rule", "severity", "alerts", "resolved", "pages", "a day", "busiest hour", "not sent")


def show(
    stage: Stage, tally: Tally, notes: Sequence[str], *, zone: tzinfo, zone_name: str, examples: int
) -> None:
    """For people."""
    from monitor.cli.heat import ASCII, UNICODE, heat_map

    typer.echo(_headline(stage, tally))
    typer.echo("")
    rows = [_cells(rule) for rule in tally.rules]
    print_table(COLUMNS, [*rows, *_sum(tally)], empty="no rules")
    if tally.hours:
        typer.echo(f"\n{'Pages' if tally.pages else 'Alerts'} by day and hour, {zone_name}:\n")
        since, until = tally.since.astimezone(zone), tally.until.astimezone(zone)
        for line in heat_map(tally.hours, since, until, shades=UNICODE if _is_unicode() else ASCII):
            typer.echo(line)
    shown = [one for rule in tally.rules for one in rule.examples[:examples]]
    if shown:
        typer.echo("\nFor example:\n")
        print_table(("when", "rule", "title", "end", "sent to"), map(_example, shown), empty="")
    typer.echo("")
    for note in notes:
        typer.echo(f"- {note}")


def _cells(rule: RuleTally) -> Sequence[str]:
    held = ", ".join(f"{count} {why}" for why, count in rule.fates.items())
    counts = (f"{rule.alerts:,}", f"{rule.resolved:,}" if rule.resolved else "-", f"{rule.pages:,}")
    return (
        rule.rule, rule.severity, *counts, f"{rule.pages_per_day:.1f}", _busiest(rule.busiest), held or "-",
    )  # fmt: skip


def _sum(tally: Tally) -> Iterator[Sequence[str]]:
    if len(tally.rules) > 1:
        counts = (f"{tally.alerts:,}", f"{tally.resolved:,}", f"{tally.pages:,}")
        held = f"{tally.alerts - tally.pages:,}" if tally.alerts > tally.pages else "-"
        yield ("all", "", *counts, f"{tally.pages_per_day:.1f}", _busiest(tally.busiest), held)


def _busiest(hour: Hour | None) -> str:
    return f"{hour.at:%Y-%m-%d %H:%M} ({hour.count})" if hour else "-"


def _example(one: Told) -> Sequence[str]:
    end = f"{one.resolution} ({moment(one.resolved_at)})" if one.resolved_at else "-"
    sent = ", ".join(one.receivers) or f"nobody: {one.why or one.fate}"
    return (moment(one.alert.event_at), one.alert.rule, one.alert.title, end, sent)


def _is_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") in {"utf8", "utf16", "utf32"}


# --- for machines -----------------------------------------------------------------------------------------


def document(stage: Stage, tally: Tally, notes: Sequence[str]) -> dict[str, Any]:
    """All of a tally but what people wrote, as one JSON document."""
    return {
        "since": tally.since,
        "until": tally.until,
        "messages": tally.messages,
        "lists": stage.past.lists,
        "rejects": stage.past.rejects,
        "requests": stage.fetched.requests if stage.fetched else 0,
        "alerts": tally.alerts,
        "resolved": tally.resolved,
        "pages": tally.pages,
        "pages_per_day": tally.pages_per_day,
        "busiest_hour": tally.busiest,
        "rules": [
            {
                "rule": rule.rule,
                "severity": rule.severity,
                "alerts": rule.alerts,
                "resolved": rule.resolved,
                "pages": rule.pages,
                "pages_per_day": rule.pages_per_day,
                "busiest_hour": rule.busiest,
                "not_sent": rule.fates,
                "open": rule.open,
                "faults": rule.faults,
                "error": rule.error,
            }
            for rule in tally.rules
        ],
        "hours": tally.hours,
        "found": [_plain(one) for one in tally.told],
        "notes": notes,
    }


def _plain(one: Told) -> dict[str, Any]:
    """An alert without its messages: what people wrote is nobody's business here."""
    alert = one.alert
    return {
        "id": alert.id,
        "rule": alert.rule,
        "severity": alert.severity,
        "title": alert.title,
        "labels": alert.labels,
        "conversation_id": alert.conversation_id,
        "watched_users": alert.watched_users,
        "message_ids": [str(message.id) for message in alert.messages],
        "event_at": alert.event_at,
        "revision": alert.revision,
        "fate": one.fate,
        "held": one.hold,
        "why": one.why,
        "receivers": one.receivers,
        "resolved_at": one.resolved_at,
        "resolution": one.resolution,
    }


def comparison_document(
    compared: Comparison, after: Tally, broken: Sequence[str], notes: Sequence[str]
) -> dict[str, Any]:
    """All of a comparison but what people wrote, as one JSON document; `broken` are the limits exceeded."""
    return {
        "since": after.since,
        "until": after.until,
        "messages": after.messages,
        "added": compared.added,
        "removed": compared.removed,
        "changed": compared.changed,
        "pages_per_day": {"old": compared.pages_per_day_old, "new": compared.pages_per_day_new},
        "renamed": compared.renamed,
        "failed": broken,
        "notes": notes,
        "rules": [
            {
                "rule": rule.rule,
                "alerts": {"old": rule.old, "new": rule.new},
                "pages_per_day": {"old": rule.pages_per_day_old, "new": rule.pages_per_day_new},
                "added": [_plain(one) for one in rule.added],
                "removed": [_plain(one) for one in rule.removed],
                "changed": [
                    {"differs": one.differs, "old": _plain(one.old), "new": _plain(one.new)}
                    for one in rule.changed
                ],
            }
            for rule in compared.rules
        ],
    }


def show_comparison(compared: Comparison, after: Tally, notes: Sequence[str], *, examples: int) -> None:
    """For people."""
    span = f"{moment(after.since)} to {moment(after.until)} ({after.days:.1f} days)"
    typer.echo(f"{_many(after.messages, 'message')}, {span}\n")
    columns = ("rule", "old", "new", "added", "removed", "changed", "pages a day")
    rows = [
        (
            rule.rule,
            f"{rule.old:,}",
            f"{rule.new:,}",
            *(f"{len(part):,}" if part else "-" for part in (rule.added, rule.removed, rule.changed)),
            _arrow(rule.pages_per_day_old, rule.pages_per_day_new),
        )
        for rule in compared.rules
    ]
    pages = _arrow(compared.pages_per_day_old, compared.pages_per_day_new)
    counts = (f"{compared.added:,}", f"{compared.removed:,}", f"{compared.changed:,}")
    old, new = (sum(getattr(rule, name) for rule in compared.rules) for name in ("old", "new"))
    print_table(columns, [*rows, ("all", f"{old:,}", f"{new:,}", *counts, pages)], empty="")
    for was, name in compared.renamed.items():
        typer.echo(f'\n"{name}" finds what "{was}" found: under a new name all of it is news to receivers.')
    if not (compared.added or compared.removed or compared.changed):
        typer.echo("\nNo alert differs.")
    elif changes := list(_changes(compared, examples)):
        typer.echo("")
        print_table(("", "when", "rule", "title", "what"), changes, empty="")
    typer.echo("")
    for note in notes:
        typer.echo(f"Note: {note}")


def _arrow(old: float, new: float) -> str:
    return f"{old:.1f}" if old == new else f"{old:.1f} -> {new:.1f}"


def _changes(compared: Comparison, most: int) -> Iterator[Sequence[str]]:
    """Some alerts of each change and rule, as a patch marks its lines."""
    for rule in compared.rules:
        for mark, ones in (("+", rule.added), ("-", rule.removed)):
            for one in ones[:most]:
                yield (mark, moment(one.alert.event_at), rule.rule, one.alert.title, _fate(one))
        for changed in rule.changed[:most]:
            new = changed.new
            yield ("~", moment(new.alert.event_at), rule.rule, new.alert.title, _difference(changed))


def _fate(one: Told) -> str:
    return ", ".join(one.receivers) or one.why or str(one.fate)


def _difference(changed: Changed) -> str:
    old, new = changed.old, changed.new
    words = []
    for name in changed.differs:
        was, is_ = getattr(old.alert, name, None), getattr(new.alert, name, None)
        words.append(f"{name} {was} -> {is_}" if name in {"severity", "title"} else name)
    if "fate" in changed.differs:
        words.append(f"{_fate(old)} -> {_fate(new)}")
    return ", ".join(words)
