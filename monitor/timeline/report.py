"""Results for people, and for CI as JUnit XML. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from monitor.logs import one_line
from monitor.timeline.coverage import Covered, Tried, percent
from monitor.timeline.model import Course
from monitor.timeline.running import Result
from monitor.timeline.telling import offset
from monitor.timeline.verdict import told

MOST_LINES = 60  # of a course; the middle of a flood tells nothing


def story(course: Course) -> Iterator[str]:
    """What happened and what came of it, in the order of time."""
    lines = [(at, 0, f"  {offset(at):>9}  {text}") for at, text in course.happened]
    lines += [
        (event.at, 1, f"  {offset(event.at):>9}    -> {told(event, has_time=False)}")
        for event in course.events
    ]
    shown = [line for _, _, line in sorted(lines, key=lambda one: one[:2])]
    if len(shown) > MOST_LINES:
        half = MOST_LINES // 2
        shown = [*shown[:half], f"             … {len(shown) - MOST_LINES} more …", *shown[-half:]]
    yield from shown
    yield f"  {offset(course.ended_at):>9}  the end" + _still_waiting(course)


def _still_waiting(course: Course) -> str:
    if course.pending is None:
        return ""
    return "; a rule still waits: say until: if the test should see what for"


def failed(result: Result) -> str:
    """A failed test: each difference, then the whole course. Safe to show on a terminal, and in XML."""
    return "\n".join(map(one_line, _lines(result)))


def _lines(result: Result) -> Iterator[str]:
    for failure in result.failures:
        yield from (f"  {line}" for line in str(failure).split("\n"))
    yield "  what happened:"
    yield from story(result.course)


def summary(results: Sequence[Result]) -> str:
    """One line on all of them."""
    failures = sum(not result.is_fine for result in results)
    seconds = sum(result.seconds for result in results)
    verdict = f"{failures} failed" if failures else "all passed"
    tests = "1 test" if len(results) == 1 else f"{len(results)} tests"
    return f"{tests}, {verdict}, {seconds:.2f} s"


def covering(covered: Sequence[Covered]) -> Iterator[str]:
    """What the tests never tried, rule by rule, and how much they did."""
    for one in covered:
        missing = list(_untried(one))
        met, of = one.outcomes
        yield f"{one.rule}: {met} of {of}" + (f"  ({one.place})" if missing else "")
        yield from (f"    {line}" for line in missing)
    yield f"coverage: {percent(covered):.0f}%"


def _untried(one: Covered) -> Iterator[str]:
    if not one.raised:
        yield "never raised"
    for tried in one.conditions:
        if gap := _gap(tried):
            yield f"{gap}: {tried.key}: {tried.said}"


def _gap(tried: Tried) -> str | None:
    match tried.was_true, tried.was_false:
        case False, False:
            return "never asked"
        case False, True:
            return "never true"
        case True, False:
            return "never false"
    return None


def junit(results: Iterable[Result]) -> bytes:
    """The results in the form that CI systems read."""
    root = ET.Element("testsuites", name="cometwatch")
    by_suite: dict[str, list[Result]] = {}
    for result in results:
        by_suite.setdefault(result.suite, []).append(result)
    for name, some in by_suite.items():
        root.append(_suite(name, some))
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _suite(name: str, results: Sequence[Result]) -> ET.Element:
    suite = ET.Element(
        "testsuite",
        name=name,
        tests=str(len(results)),
        failures=str(sum(not result.is_fine for result in results)),
        errors="0",
        time=f"{sum(result.seconds for result in results):.3f}",
    )
    for result in results:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=name,
            name=one_line(result.test.name),
            file=name,
            line=str(result.test.place.line),
            time=f"{result.seconds:.3f}",
        )
        if not result.is_fine:
            first = one_line(str(result.failures[0]).partition("\n")[0])
            ET.SubElement(case, "failure", message=first).text = failed(result)
    return suite


def plain(results: Sequence[Result], covered: Sequence[Covered]) -> Mapping[str, Any]:
    """All of it as one JSON document."""
    return {
        "ok": all(result.is_fine for result in results),
        "tests": [
            {
                "file": result.suite,
                "line": result.test.place.line,
                "name": result.test.name,
                "ok": result.is_fine,
                "seconds": round(result.seconds, 4),
                "failures": [
                    {"place": str(one.place), "message": one.message, "nearest": one.nearest}
                    for one in result.failures
                ],
                "events": [
                    {
                        "at": round(event.at, 3),
                        "what": event.what,
                        "rule": event.alert.rule,
                        "alert": event.alert.id,
                        "title": event.alert.title,
                        "receiver": event.receiver,
                        "reason": event.reason,
                    }
                    for event in result.course.events
                ],
            }
            for result in results
        ],
        "coverage": {"percent": round(percent(covered), 1), "rules": covered},
    }
