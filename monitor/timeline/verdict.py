"""Whether what came is what was expected. Pure: events in, failures out."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from monitor.timeline.model import Course, Event, Expectation, Match, Test
from monitor.timeline.telling import offset
from rules.model import AlertId
from rules.text import Place

EPSILON_S = 1e-6  # virtual time is a float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One thing that is not as the test says: where it says so, what is wrong, and what comes nearest."""

    place: Place
    message: str
    nearest: str | None = None

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" + (f"\n    nearest: {self.nearest}" if self.nearest else "")


def judge(test: Test, course: Course) -> tuple[Failure, ...]:
    """Everything in which a run differs from what its test expects, in the order of the file."""
    wanted = [one for one in test.expect if not one.never]
    taken = assign(wanted, course.events)
    missing = list(_missing(wanted, taken, course.events))
    # What comes nearest to something missing is told there, and not once more as unexpected.
    near = {event.alert.id for _, event in missing if event}
    failures = [
        *(Failure(place=place, message=message) for place, message in course.broken),
        *(failure for failure, _ in missing),
        *(failure for one in test.expect if one.never for failure in _came(one, course.events)),
        *_unexpected(test, taken, course.events, near),
    ]
    return tuple(sorted(failures, key=lambda failure: (failure.place.line, failure.place.column)))


# --- which event is whose ------------------------------------------------------------------------------


def assign(wanted: Sequence[Expectation], events: Sequence[Event]) -> Mapping[int, int]:
    """Event -> expectation, by their positions, so that as many as possible come true.

    Each expectation takes as many events as it wants, earlier ones first; one that takes any number gets
    what is left of its kind too.
    """
    slots = [number for number, one in enumerate(wanted) for _ in range(one.times)]
    fits = [[n for n, event in enumerate(events) if fits_in(wanted[slot], event)] for slot in slots]
    owner: dict[int, int] = {}

    def place(slot: int, tried: set[int]) -> bool:
        for event in fits[slot]:
            if event not in tried:
                tried.add(event)
                if event not in owner or place(owner[event], tried):
                    owner[event] = slot
                    return True
        return False

    for slot in range(len(slots)):
        place(slot, set())
    taken = {event: slots[slot] for event, slot in owner.items()}
    for number, one in enumerate(wanted):
        if one.or_more:
            rest = (n for n, event in enumerate(events) if n not in taken and fits_in(one, event))
            taken |= dict.fromkeys(rest, number)
    return taken


def fits_in(one: Expectation, event: Event) -> bool:
    """Whether an event is what is expected, in its time."""
    return one.what == event.what and _in_time(one, event) and not any(differences(one.match, event))


def _in_time(one: Expectation, event: Event) -> bool:
    by = one.by.total_seconds() if one.by is not None else event.at
    return one.after.total_seconds() - EPSILON_S <= event.at <= by + EPSILON_S


def differences(match: Match, event: Event) -> Iterator[str]:
    """Everything in which an event is not what `match` says, in words."""
    alert = event.alert
    pairs = {
        "rule": (match.rule and match.rule.text, str(alert.rule)),
        "severity": (match.severity, alert.severity.value),
        "conversation": (match.conversation, alert.conversation_id),
        "receiver": (match.receiver and match.receiver.text, event.receiver),
        "status": (match.status, alert.status.value),
        "kind": (match.kind, event.kind),
    }
    for name, (wanted, found) in pairs.items():
        if wanted is not None and wanted != found:
            yield f"{name} is {found or 'nothing'}, not {wanted}"
    texts = {
        "title": (match.title, alert.title),
        "summary": (match.summary, alert.summary),
        "reason": (match.reason, event.reason),
    }
    for name, (wanted, found) in texts.items():
        if wanted is not None and wanted not in (found or ""):
            yield f'{name} is "{found or ""}", without "{wanted}"'
    yield from _more_differences(match, event)


def _more_differences(match: Match, event: Event) -> Iterator[str]:
    alert = event.alert
    for word in match.about:
        if word.text.lower() not in alert.watched_users:
            yield f"it is about {', '.join(alert.watched_users) or 'nobody'}, not {word.text}"
    for label, value in match.labels.items():
        if alert.labels.get(label) != value:
            yield f"label {label} is {alert.labels.get(label) or 'nothing'}, not {value}"
    if match.message is not None and match.message.text not in event.messages:
        yield f'it carries {", ".join(event.messages) or "no message of a name"}, not "{match.message.text}"'
    if match.late is not None and match.late is not event.late:
        yield f"it is {'' if event.late else 'not '}late"


# --- failures ------------------------------------------------------------------------------------------


def _missing(
    wanted: Sequence[Expectation], taken: Mapping[int, int], events: Sequence[Event]
) -> Iterator[tuple[Failure, Event | None]]:
    """What did not come, or not so often; with the event that comes nearest to it."""
    left = [event for number, event in enumerate(events) if number not in taken]
    for number, one in enumerate(wanted):
        came = sum(1 for owner in taken.values() if owner == number)
        if came >= one.times:
            continue
        event = _nearest(one, left, events)
        nearest = f"{told(event)}, but {'; '.join(_wrong(one, event))}" if event else None
        count = "" if one.times == 1 else f", {came} of {one.times} times"
        yield Failure(place=one.place, message=f"did not come: {said(one)}{count}", nearest=nearest), event


def _came(one: Expectation, events: Iterable[Event]) -> Iterator[Failure]:
    for event in events:
        if fits_in(one, event):
            yield Failure(place=one.place, message=f"came, and must not: {told(event)}")


def _unexpected(
    test: Test, taken: Mapping[int, int], events: Sequence[Event], near: Container[AlertId]
) -> Iterator[Failure]:
    """What was raised though nothing is expected of that alert; with `strict`, all that is not expected."""
    spoken_of = {events[number].alert.id for number in taken}
    strict = ("raised", "updated", "resolved") if test.setting.strict else ()
    for number, event in enumerate(events):
        is_new = event.what == "raised" and event.alert.id not in spoken_of
        if (is_new or (event.what in strict and number not in taken)) and event.alert.id not in near:
            yield Failure(place=test.place, message=f"came unexpected: {told(event)}")


def _nearest(one: Expectation, left: Sequence[Event], events: Sequence[Event]) -> Event | None:
    """The event that comes nearest to what is missing: news of the kind that nobody has, else of the rule."""
    wanted = one.match.rule and one.match.rule.text
    alike = [event for event in left if event.what == one.what]
    alike = alike or [event for event in events if event.alert.rule == wanted]
    return min(alike, key=lambda event: len(list(_wrong(one, event))), default=None)


def _wrong(one: Expectation, event: Event) -> Iterator[str]:
    if one.what != event.what:
        yield f"it was {event.what}, not {one.what}"
    if not _in_time(one, event):
        yield f"it came {_ahead(one, event)}"
    yield from differences(one.match, event)


def _ahead(one: Expectation, event: Event) -> str:
    if event.at < one.after.total_seconds():
        return f"{offset(one.after.total_seconds() - event.at)} too early"
    late = event.at - (one.by or timedelta(0)).total_seconds()
    return f"{offset(late)} too late"


# --- in words ------------------------------------------------------------------------------------------


def said(one: Expectation) -> str:
    """An expectation in a line."""
    match = one.match
    facts = [
        *([match.rule.text] if match.rule else ["any rule"]),
        *([match.severity] if match.severity else []),
        *([match.kind] if match.kind else []),
        *([f"as {match.status}"] if match.status else []),
        *([f"late: {str(match.late).lower()}"] if match.late is not None else []),
        *([f"about {', '.join(word.text for word in match.about)}"] if match.about else []),
        *([f"to {match.receiver.text}"] if match.receiver else []),
        *([f"with {match.message.text}"] if match.message else []),
        *(f"{label}={value}" for label, value in match.labels.items()),
        *([f"in {match.conversation}"] if match.conversation else []),
        *(f'"…{text}…"' for text in (match.title, match.summary, match.reason) if text),
    ]
    after = f" after {offset(one.after.total_seconds())}" if one.after else ""
    by = f" by {offset(one.by.total_seconds())}" if one.by is not None else ""
    return f"{one.what} {', '.join(facts)}{after}{by}"


def told(event: Event, *, has_time: bool = True) -> str:
    """An event in a line; without its time where that stands before the line."""
    alert = event.alert
    when = f" at {offset(event.at)}" if has_time else ""
    facts = [
        f"{event.what}{when} {alert.rule} ({alert.severity})",
        f'"{alert.title}"',
        *([f"about {', '.join(alert.watched_users)}"] if alert.watched_users else []),
        *([f"to {event.receiver} as {alert.status}"] if event.receiver else []),
        *([event.kind] if event.kind and event.kind != "alerts" else []),
        *([f"because {event.reason}"] if event.reason else []),
    ]
    return ", ".join(facts)
