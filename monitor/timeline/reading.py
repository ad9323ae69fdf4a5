"""A test file to its tests, or every problem in it at once, each with file, line and column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from mimetypes import guess_type
from typing import Any, Final

from monitor.delivery.policy import RouteSpec
from monitor.timeline.grammar import ACTIONS, NEWS, STAGE, STATUSES, SUITE
from monitor.timeline.model import (
    PROMPT,
    WHATS,
    Action,
    Api,
    CallBecomes,
    Delete,
    Destination,
    Edit,
    Entry,
    Expectation,
    Jump,
    Match,
    Member,
    Mute,
    Person,
    Receivers,
    Reload,
    Restart,
    Ring,
    Say,
    Setting,
    Suite,
    Test,
    Word,
)
from rules.grammar import Report, did_you_mean, parse
from rules.model import UserId, WatchSet
from rules.text import Place, Problem, Source, SpecError

SECOND: Final = timedelta(seconds=1)
SETTLE: Final = timedelta(seconds=10)  # as `poll.settle`: what comes later waits for the second look
USUAL_SIZE: Final = 48_000
MOST: Final = 20_000  # entries of one test; more would take minutes

Read = Mapping[str, Any]


def read_suite(source: Source) -> Suite:
    """The tests of a file. Raises SpecError with every problem in it.

    Names of rules are not looked up: see `unknown_rules`.
    """
    report = Report(source=source.name)
    root = parse(source, report)
    if root is None and not report.problems:
        report.problems.append(
            Problem(
                Place(source.name, 1, 1),
                "the file is empty",
                "tests: [{name: quiet, timeline: []}]",
                SUITE.expected,
            )
        )
    read = SUITE.read(root, report) if root is not None else None
    tests = tuple(_tests(read, report)) if read else ()
    problems = [problem for problem in report.problems if not problem.is_warning]
    if problems:
        raise SpecError(problems)
    return Suite(name=source.name, tests=tests)


def unknown_rules(test: Test, known: Iterable[str]) -> Iterator[Problem]:
    """The rules that a test names and that are not there."""
    names = tuple(known)
    words = [one.match.rule for one in test.expect]
    words += [entry.action.rule for entry in test.timeline if isinstance(entry.action, Mute)]
    for word in words:
        if word is not None and word.text not in names:
            yield _unknown(word, "rule", names)


def _tests(read: Read, report: Report) -> Iterator[Test]:
    whole = {key: read[key] for key in STAGE if key in read}
    rules = tuple(read.get("rules", ()))
    seen: dict[str, Place] = {}
    for one, place in read["tests"]:
        name = one["name"]
        if name in seen:
            _refuse(report, place, f'there is a test "{name}" already, in line {seen[name].line}')
        seen.setdefault(name, place)
        yield _Reading(report, place).test(one, replace(_setting({**whole, **one}, report), rules=rules))


# --- the stage -----------------------------------------------------------------------------------------


def _setting(read: Read, report: Report) -> Setting:
    receivers = tuple(map(_destination, read.get("receivers", ()))) or Setting().receivers
    names = [one.name for one in receivers]
    routes = read.get("routes")
    for route in routes or ():
        for word in route["receivers"]:
            _look_up(word, "receiver", names, report)
    plain = {key: read[key] for key in ("start", "until", "source", "max_age", "strict") if key in read}
    return Setting(
        **plain,
        users={word.text.lower(): _person(one) for word, one in read.get("users", {}).items()},
        groups={word.text.lower(): _texts(uids) for word, uids in read.get("groups", {}).items()},
        watch=_watch(read.get("watch")),
        receivers=receivers,
        routes=None if routes is None else tuple(map(_route, routes)),
    )


def _destination(read: Word | Read) -> Destination:
    if isinstance(read, Word):
        return Destination(name=read.text)
    return Destination(name=read["name"].text, people=read.get("people", True))


def _person(read: str | Read) -> Person:
    if isinstance(read, str):
        return Person(name=read)
    return Person(
        name=read.get("name"),
        role=read.get("role", "default"),
        tags=tuple(w.text for w in read.get("tags", ())),
    )


def _watch(read: Sequence[Word | Read] | None) -> WatchSet | None:
    if read is None:
        return None
    whole = [(one, {}) if isinstance(one, Word) else (one["uid"], one.get("labels", {})) for one in read]
    return {UserId(word.text.lower()): labels for word, labels in whole}


def _route(read: Read) -> RouteSpec:
    wanted = read.get("match", {})
    return RouteSpec(
        receivers=tuple(word.text for word in read["receivers"]),
        match={label.text: tuple(one.text for one in values) for label, values in wanted.items()},
        continue_=read.get("continue", False),
    )


# --- a test --------------------------------------------------------------------------------------------


@dataclass
class _Reading:
    """One test while it is read: the ids that it gives, the numbers of its calls."""

    report: Report
    place: Place
    ids: set[str] = field(default_factory=set)
    calls: Iterator[int] = field(default_factory=lambda: count(1))

    def test(self, read: Read, setting: Setting) -> Test:
        entries = sorted(self._timeline(read["timeline"], setting), key=lambda entry: entry.at)
        if len(entries) > MOST:
            self.refuse(self.place, f"its timeline has {len(entries)} entries, more than {MOST}")
        return Test(
            name=read["name"],
            place=self.place,
            setting=setting,
            timeline=tuple(entries),
            expect=tuple(
                found
                for one, place in read.get("expect", ())
                for found in self._expected(one, place, setting)
            ),
        )

    def refuse(self, place: Place, message: str, *, example: str | None = None) -> None:
        _refuse(self.report, place, message, example=example)

    # --- timeline

    def _timeline(self, read: Sequence[tuple[Read, Place]], setting: Setting) -> Iterator[Entry]:
        now = timedelta(0)
        for one, place in read:
            moment = self._moment(one, place, now)
            if moment < now:
                self.refuse(place, "this goes back in time: entries stand in the order of their times")
            now = moment
            yield from self._several(one, place, now, setting)

    def _moment(self, read: Read, place: Place, now: timedelta) -> timedelta:
        if "at" in read and "after" in read:
            self.refuse(place, '"at" and "after" exclude each other')
        after: timedelta = read.get("after", timedelta(0))
        at: timedelta = read.get("at", now + after)
        return at

    def _several(self, read: Read, place: Place, now: timedelta, setting: Setting) -> Iterator[Entry]:
        names = [name for name in read if name in ACTIONS]
        if len(names) != 1:
            found = " and ".join(f'"{name}"' for name in names) or "nothing"
            example = "{at: 5s, message: {from: ann, to: bob}}"
            return self.refuse(place, f"one thing happens in an entry, found {found}", example=example)
        (name,) = names
        if "every" in read and "times" not in read:
            self.refuse(place, '"every" needs "times"', example="times: 20")
        times = int(read["times"].text) if "times" in read else 1
        for number in range(times):
            one = filled(read[name], number + 1) if "times" in read else read[name]
            at = now + number * read.get("every", SECOND)
            for delay, action in self._actions(name, one, place, setting):
                yield Entry(at=at + delay, action=action, place=place)
        return None

    def _actions(
        self, name: str, read: Any, place: Place, setting: Setting
    ) -> Iterator[tuple[timedelta, Action]]:
        none = timedelta(0)
        match name:
            case "message":
                yield none, self._say(read, place)
            case "call":
                yield from self._call(read, place)
            case "edit":
                yield none, Edit(message=self._known(read["message"]), text=read["text"], by=_uid(read, "by"))
            case "delete":
                yield none, Delete(message=self._known(read["message"]), by=_uid(read, "by"))
            case "join" | "leave":
                yield (
                    none,
                    Member(
                        group=_name(read["group"]),
                        user=_name(read["user"]),
                        joins=name == "join",
                        by=_uid(read, "by"),
                    ),
                )
            case "api":
                yield none, Api(is_up=read == "up")
            case "receiver":
                for word in read:
                    _look_up(word, "receiver", [one.name for one in setting.receivers], self.report)
                yield none, Receivers(answers={word.text: answer for word, answer in read.items()})
            case "clock":
                yield none, Jump(by=read)
            case "restart":
                yield none, Restart(down=read)
            case "reload":
                yield none, Reload(rules=read.get("rules"), watch=_watch(read.get("watch")))
            case "mute":
                yield none, Mute(rule=read["rule"], span=read["for"])

    def _to(self, read: Read, place: Place) -> tuple[str, bool]:
        """To whom, and whether that is a group."""
        if ("to" in read) == ("group" in read):
            self.refuse(place, 'either "to" or "group" says to whom', example="to: bob")
        return (_name(read["group"]), True) if "group" in read else (_uid(read, "to") or "", False)

    def _say(self, read: Read, place: Place) -> Say:
        to, is_group = self._to(read, place)
        if read.get("late", SETTLE) > SETTLE:
            self.refuse(
                place, "CometChat shows rows a few seconds late: 10s here at most", example="late: 5s"
            )
        files = tuple(map(attachment, read.get("attachments", ())))
        custom = read.get("custom")
        said = Say(
            sender=_name(read["from"]),
            to=to,
            is_group=is_group,
            id=read["id"].text if "id" in read else None,
            category=read.get("category", "message" if custom is None else "custom"),
            type=read.get("type", _kind(files[0]) if files else "text" if custom is None else "custom"),
            text=_text(read, has_more=bool(files or custom is not None)),
            attachments=files,
            tags=tuple(word.text for word in read.get("tags", ())),
            metadata=read.get("metadata"),
            custom=custom,
            thread=self._known(read["thread"]) if "thread" in read else None,
            sent=read.get("sent", timedelta(0)),
            late=read.get("late", timedelta(0)),
            raw=read.get("raw", {}),
        )
        self._name(read.get("id"))
        return said

    def _call(self, read: Read, place: Place) -> Iterator[tuple[timedelta, Action]]:
        to, is_group = self._to(read, place)
        id_ = read["id"].text if "id" in read else f"call {next(self.calls)}"
        self._name(read.get("id"))
        caller, type_ = _name(read["from"]), read.get("type", "audio")
        yield timedelta(0), Ring(caller=caller, to=to, is_group=is_group, type=type_, id=id_)
        for status in STATUSES:
            change = read.get(status)
            if isinstance(change, timedelta):
                yield change, CallBecomes(call=id_, status=status)
            elif change is not None:
                yield change["after"], CallBecomes(call=id_, status=status, by=_uid(change, "by"))

    def _name(self, word: Word | None) -> None:
        """Note a name that the file gives."""
        if word is not None and word.text in self.ids:
            self.refuse(word.place, f'there is another "{word.text}": ids are given once')
        if word is not None:
            self.ids.add(word.text)

    def _known(self, word: Word) -> Word:
        _look_up(word, "message before", self.ids, self.report)
        return word

    # --- what is expected

    def _expected(self, read: Read, place: Place, setting: Setting) -> Iterator[Expectation]:
        names = [name for name in (*WHATS, "never") if name in read]
        if len(names) != 1:
            found = " and ".join(f'"{name}"' for name in names) or "nothing"
            example = "{raised: missed-call, by: 2m}"
            return self.refuse(place, f"one thing is expected in an entry, found {found}", example=example)
        after, by = self._span(read, place)
        times = read["times"].text if "times" in read else "1"
        is_never = names == ["never"]
        if is_never and "times" in read:
            self.refuse(place, '"never" takes no "times"')
        for what, match in _news(read, names[0]):
            yield Expectation(
                what=what,  # type: ignore[arg-type]  # one of the keys of NEWS, which are WHATS
                match=self._match(match, setting),
                place=place,
                after=after,
                by=by,
                times=int(times.removesuffix("+")),
                or_more=times.endswith("+"),
                never=is_never,
            )
        return None

    def _span(self, read: Read, place: Place) -> tuple[timedelta, timedelta | None]:
        if "at" in read and ("by" in read or "after" in read):
            self.refuse(place, '"at" excludes "by" and "after"')
        if "at" in read:
            return read["at"], read["at"] + PROMPT
        after, by = read.get("after", timedelta(0)), read.get("by")
        if by is not None and by < after:
            self.refuse(place, '"by" is before "after"')
        return after, by

    def _match(self, read: Word | Read, setting: Setting) -> Match:
        if isinstance(read, Word):
            return Match(rule=read)
        receivers = [one.name for one in setting.receivers]
        if "receiver" in read:
            _look_up(read["receiver"], "receiver", receivers, self.report)
        if "message" in read:
            _look_up(read["message"], "message or call", self.ids, self.report)
        return Match(**{**read, "about": read.get("about", ())})


def _news(read: Read, name: str) -> Iterator[tuple[str, Any]]:
    """What comes, or must not come, with which alerts."""
    match = read[name]
    if name != "never":
        yield name, match
    elif isinstance(match, Word):
        yield "raised", match
    else:
        yield from ((what, match[what]) for what in NEWS if what in match)


# --- words ---------------------------------------------------------------------------------------------


def filled(value: Any, number: int) -> Any:
    """What was read with the number of the repetition in place of {n}."""
    match value:
        case Word():
            return Word(filled(value.text, number), value.place)
        case str():
            return value.replace("{n}", str(number))
        case tuple() | list():
            return type(value)(filled(one, number) for one in value)
        case Mapping():
            return {filled(key, number): filled(one, number) for key, one in value.items()}
    return value


def attachment(read: str | Read) -> Mapping[str, Any]:
    """A file as a row of CometChat carries it."""
    told: Read = {"name": read} if isinstance(read, str) else read
    name = str(told["name"])
    mime = told.get("mime") or guess_type(name)[0] or "application/octet-stream"
    return {
        "name": name,
        "extension": name.rpartition(".")[2] if "." in name else "",
        "mimeType": mime,
        "size": told.get("size", USUAL_SIZE),
        "url": told.get("url", f"https://files.test/{name}"),
    }


def _kind(file: Mapping[str, Any]) -> str:
    """The type of a message with this file first."""
    major = str(file["mimeType"]).partition("/")[0]
    return major if major in ("image", "video", "audio") else "file"


def _text(read: Read, *, has_more: bool) -> str | None:
    named = "".join(
        "<@all:all> " if word.text == "all" else f"<@uid:{word.text.lower()}> "
        for word in read.get("mentions", ())
    )
    text = read.get("text", None if has_more else "hello")
    return f"{named}{text or ''}".strip() if named or text is not None else None


def _name(word: Word) -> str:
    return word.text.lower()


def _uid(read: Read, key: str) -> str | None:
    return _name(read[key]) if key in read else None


def _texts(words: Iterable[Word]) -> tuple[str, ...]:
    return tuple(map(_name, words))


def _refuse(report: Report, place: Place, message: str, *, example: str | None = None) -> None:
    report.problems.append(Problem(place, message, example))


def _look_up(word: Word, what: str, known: Iterable[str], report: Report) -> None:
    names = tuple(known)
    if word.text not in names:
        report.problems.append(_unknown(word, what, names))


def _unknown(word: Word, what: str, known: Sequence[str]) -> Problem:
    hint = did_you_mean(word.text, known)
    expected = "one of " + ", ".join(sorted(known)) if known and not hint else None
    return Problem(word.place, f'there is no {what} "{word.text}"{hint}', expected=expected)
