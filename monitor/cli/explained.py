"""What `explain` tells people: the story of an alert, or what each rule made of a message, in text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import typer

from monitor.cli.given import moment, print_table, say, span
from monitor.explain.looking import Looked, Reached, Remembered
from monitor.explain.secrecy import changes
from monitor.explain.story import Cause, Story, Told, kind_of
from monitor.logs import one_line
from rules.engine import Rule
from rules.model import Alert, Message
from rules.tracing import Traced

# --- an alert ---------------------------------------------------------------------------------------------


def show_alert(
    alert: Alert,
    told: Story,
    rule: Rule | None,
    messages: Collection[Message],
    traces: Mapping[str, Mapping[str, Traced]],
    *,
    shows_text: bool,
    shows_state: bool,
) -> None:
    """Everything of one alert. `traces` are those of each message, by its id."""
    _echo(_head(alert))
    _section("What happened, by our clock" + _skewed(told))
    steps = [(instant(step.at), _after(step.after_s), step.what) for step in told.steps]
    print_table(("when", "after", "what"), steps, empty="")
    _section("Why")
    _echo(line for cause in told.causes for line in _cause_lines(cause, shows_state=shows_state))
    _echo([] if told.causes else ["it is not recorded: the alert was found by an older version"])
    _section("Who was told")
    columns = ("entry", "of", "receiver", "state", "after", "why")
    print_table(columns, map(_told_row, told.told), empty="nobody")
    if told.stands:
        _section("How it stands")
        _echo(told.stands)
    _section("Routes, as they are written now")
    _echo(told.routes)
    _section(f"The rule {alert.rule}, as it is written now")
    _echo([rule.describe()] if rule else ["there is no rule of this name any more"])
    for message in messages:
        _echo([f"message {message.id}: {kind_of(message)}"])
        _echo([f"  text: {message.text}"] if shows_text and message.text else [])
        _echo(_traces_lines(traces.get(str(message.id), {})))


def _head(alert: Alert) -> Iterator[str]:
    yield f"alert {alert.id}: {alert.status}, {alert.severity}, rule {alert.rule}"
    yield alert.title
    watched = ", ".join(alert.watched_users) or "nobody"
    yield f"in {alert.conversation_id}, about {watched}" + (
        f", brought up to date {alert.revision} times" if alert.revision else ""
    )
    if alert.resolution:
        yield f"over: {alert.resolution}"


def _skewed(told: Story) -> str:
    """How far CometChat's clock is off, if that is worth a word."""
    if abs(told.skew_s) < 1:
        return ""
    return f" (CometChat's is {span(abs(told.skew_s))} {'ahead' if told.skew_s > 0 else 'behind'})"


def _cause_lines(cause: Cause, *, shows_state: bool) -> Iterator[str]:
    by = [f"message {', '.join(map(str, cause.messages))}"] if cause.messages else []
    by += [f"nothing that came up to {instant(cause.tick)} of CometChat's clock"] if cause.tick else []
    by += [f"in the list of {cause.list}"] if cause.list else []
    yield f"{instant(cause.at)}  {cause.what} by {', '.join(by) or 'what was known'}"
    if cause.key is not None:
        yield f"  what the rule knew of {cause.key} then:"
        yield from (f"    {line}" for line in cause.words)
        yield from (f"    {change}" for change in cause.changes if shows_state)


def _told_row(told: Told) -> tuple[str, ...]:
    marks = [name for name, is_so in (("late", told.late), ("summed", told.summed)) if is_so]
    state = str(told.state) + (f" ({', '.join(marks)})" if marks else "")
    after = ""
    if told.after_found_s is not None and told.after_event_s is not None:
        after = f"{_length(told.after_found_s)}, {_length(told.after_event_s)} after the event"
    why = [told.why or "", told.note or "", f"in group {told.group}" if told.group else ""]
    if told.next_at:
        again = f"{told.attempts} attempts, again" if told.attempts else "told"
        why.append(f"{again} at {moment(told.next_at)}")
    return (
        str(told.entry), told.status, told.receiver or "-", state, after, "; ".join(filter(None, why)),
    )  # fmt: skip


# --- a message --------------------------------------------------------------------------------------------


def show_message(
    message: Message,
    place: str,
    lists: Sequence[Reached] | None,
    notes: Iterable[str],
    *,
    shows_text: bool,
) -> None:
    """The message, found in `place`, and whether the `lists` brought it; None: there is no store to tell."""
    _echo([f"message {message.id}: {kind_of(message)}", f"sent {instant(message.sent_at)}, found {place}"])
    _echo([f"text: {message.text}"] if shows_text and message.text else [])
    _echo(f"note: {note}" for note in notes)
    if lists is not None:
        _section("Was it read?")
        _echo([f"{one.list}: {one.what}" for one in lists] or ["no list that is read could bring it"])


def show_looked(looked: Sequence[Looked], *, in_full: bool, shows_state: bool) -> None:
    """What the rules made of a message: each in a line, and those that it concerns, or all, `in_full`."""
    _section("What the rules made of it")
    rows = [(one.rule, one.kind, one.answer, one.why) for one in looked]
    print_table(("rule", "kind", "answer", "why"), rows, empty="There are no rules.")
    for one in looked if in_full else _worth_telling(looked):
        if one.traces or one.remembered:
            _section(f"{one.rule}: {one.answer}")
            _echo(_traces_lines(one.traces))
            _echo(line for key in one.remembered for line in _remembered_lines(key, shows_state=shows_state))
    if alerts := [alert for one in looked for alert in one.alerts]:
        say(f"what became of it: cometwatch explain {alerts[0]}")


def _worth_telling(looked: Sequence[Looked]) -> Sequence[Looked]:
    told = [one for one in looked if one.is_concerned]
    if len(told) < len(looked):
        say("rules that it does not concern are told in a line each; --rule NAME tells of one in full")
    return told


def _remembered_lines(key: Remembered, *, shows_state: bool) -> Iterator[str]:
    yield f"  what the rule knows of {key.key} now:" + ("" if key.state else " nothing")
    yield from (f"    {line}" for line in key.words)
    yield from (f"    {part}" for part in (changes(None, key.state) if key.state and shows_state else ()))
    if key.due is not None:
        lists = ", ".join(key.waits_for) or "every list"
        yield f"  judged again when {lists} was read past {moment(key.due)}"
    yield from (f"  ended without concluding {closed}" for closed in key.closed)
    yield from (f"  alert {alert}" for alert in key.alerts)


# --- printing ---------------------------------------------------------------------------------------------

LEAST: Final = 0.01  # seconds that matter to anybody
MARKS: Final[Mapping[bool | None, str]] = {True: "yes   ", False: "no    ", None: "failed"}


def _traces_lines(traces: Mapping[str, Traced]) -> Iterator[str]:
    for name, traced in traces.items():
        yield from _trace_lines(name, traced)


def _trace_lines(name: str, traced: Traced, depth: int = 0) -> Iterator[str]:
    title = f"{name}: " if not depth else ""
    found = f", found {traced.found}" if traced.found else ""
    quoted = f", in words {traced.quoted}" if traced.quoted is not None else ""
    failed = f", {traced.error}" if traced.error else ""
    yield f"  {MARKS[traced.value]} {'  ' * depth}{title}{traced.said}{found}{quoted}{failed}"
    for part in traced.parts:
        yield from _trace_lines(name, part, depth + 1)


def _section(title: str) -> None:
    typer.echo()
    typer.echo(one_line(title))


def _echo(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(one_line(line))


def instant(at: datetime) -> str:
    """A time to the millisecond, in UTC."""
    told = at.astimezone(UTC)
    return f"{told:%Y-%m-%d %H:%M:%S}.{told.microsecond // 1000:03d}Z"


def _after(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return _length(seconds) if abs(seconds) < LEAST else f"+{_length(seconds)}"


def _length(seconds: float) -> str:
    """A length of time; also a negative one, where two clocks disagree."""
    if abs(seconds) < LEAST:
        return f"<{LEAST} s"
    return f"-{span(-seconds)}" if seconds < 0 else span(seconds)
