"""Test files performed one after the other, with the rules that they name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from os.path import normpath
from pathlib import Path
from time import perf_counter

from monitor.evaluation import Orders
from monitor.settings.text import beside, source_of
from monitor.timeline.coverage import Coverage
from monitor.timeline.life import APP
from monitor.timeline.model import Course, Reload, Suite, Test, Word
from monitor.timeline.reading import read_suite, unknown_rules
from monitor.timeline.stage import Theatre
from monitor.timeline.verdict import Failure, judge
from rules import spec
from rules.engine import RuleSet
from rules.grammar import did_you_mean
from rules.model import Message
from rules.text import Place, Problem, Source, SpecError

NO_RULES = "no rules to test: name them here, with --rules or with --config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one test."""

    suite: str
    test: Test
    course: Course
    failures: tuple[Failure, ...]
    seconds: float

    @property
    def is_fine(self) -> bool:
        return not self.failures


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A test file that can be performed: its rules are there, and all that it names."""

    suite: Suite
    rules: Mapping[tuple[str, ...], RuleSet]

    def rules_of(self, words: tuple[Word, ...]) -> RuleSet:
        """The rule set of names that the file gives."""
        return self.rules[tuple(word.text for word in words)]


def prepare(source: Source, *, rules: Sequence[Source] = (), instead: bool = False) -> Prepared:
    """Read a test file and the rules that it names; with `instead`, `rules` take the place of these, else
    they are for a file that names none.

    Raises SpecError with every problem of the tests, or else of the rules.
    """
    suite = read_suite(source)
    named = _named(suite)
    loaded: dict[tuple[str, ...], RuleSet] = {}
    for words in named:
        is_first = words == named[0]
        given = rules if is_first and (instead or not words) else None
        loaded[tuple(word.text for word in words)] = _load(source, words, given)
    prepared = Prepared(suite=suite, rules=loaded)
    _check_names(prepared)
    return prepared


def _named(suite: Suite) -> list[tuple[Word, ...]]:
    """The lists of rules that a file names, its own first."""
    own = [test.setting.rules for test in suite.tests[:1]]
    entries = chain.from_iterable(test.timeline for test in suite.tests)
    later = [e.action.rules for e in entries if isinstance(e.action, Reload) and e.action.rules]
    return own + later


def _load(source: Source, words: tuple[Word, ...], given: Sequence[Source] | None) -> RuleSet:
    if given is None:
        problems: list[Problem] = []
        given = [found for word in words if (found := _source(Path(source.name), word, problems))]
        if problems:
            raise SpecError(problems)
    if not given:
        example = "rules: [rules.yaml, missed-calls]"
        raise SpecError([Problem(Place(source.name, 1, 1), NO_RULES, example)])
    return spec.load(given, app=APP, read=beside)


def _source(file: Path, word: Word, problems: list[Problem]) -> Source | None:
    if word.text in spec.PACKS:
        return spec.pack(word.text)
    path = Path(normpath(file.parent / word.text))  # "tests/../rules" is shown as "rules"
    if not path.is_file():
        files = (found.name for found in path.parent.glob("*.yaml") if found.name != file.name)
        hint = did_you_mean(word.text, [*spec.PACKS, *files])
        expected = f"a rule file beside this one, or one of {', '.join(spec.PACKS)}"
        problems.append(
            Problem(word.place, f'there is no rule file or pack "{word.text}"{hint}', None, expected)
        )
        return None
    return source_of(path)


def _check_names(prepared: Prepared) -> None:
    known = [name for rules in prepared.rules.values() for name in rules.fingerprints]
    problems = [problem for test in prepared.suite.tests for problem in unknown_rules(test, known)]
    if problems:
        raise SpecError(problems)


@dataclass(slots=True)
class Run:
    """Tests performed one after the other; `only` those whose name holds a text."""

    only: str | None = None
    coverage: Coverage = field(default_factory=Coverage)
    clock: Callable[[], float] = perf_counter

    def results(self, files: Sequence[Prepared]) -> Iterator[Result]:
        """Perform every chosen test; each result comes when it is there."""
        with Theatre() as theatre:
            for file in files:
                for rules in file.rules.values():
                    self.coverage.expect(rules)
                for test in file.suite.tests:
                    if self.only is None or self.only.lower() in test.name.lower():
                        yield self._perform(theatre, file, test)

    def _perform(self, theatre: Theatre, file: Prepared, test: Test) -> Result:
        began = self.clock()
        course = theatre.perform(test, rules=file.rules_of, seen=self._saw)
        seconds = self.clock() - began
        self.coverage.came(course.events)
        return Result(
            suite=file.suite.name, test=test, course=course, failures=judge(test, course), seconds=seconds
        )

    def _saw(self, orders: Orders, messages: Sequence[Message]) -> None:
        self.coverage.saw(orders, messages)
