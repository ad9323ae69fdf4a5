"""Which tests notice a wrong change: a map from lines to tests, and a forked child for each mutant.

Two ways. A change in what runs only when tests call it is put into the loaded functions of a child that
has collected everything already. A change in what runs on import needs a child that imports afresh.
"""

from __future__ import annotations

import gc
import importlib
import importlib.machinery
import json
import os
import resource
import signal
import sys
import time
import traceback
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import coverage
import hypothesis
import pytest

from tests.mutants.operators import Mutant

ON_IMPORT: Final = "import"  #: instead of a test's name: the line runs when the module is imported
MEMORY: Final = 3 << 30  # bytes; a loop that never ends often fills memory first
PATIENCE: Final = 3  # times as long as the tests take without a mutant
LEAST_S: Final = 5.0
QUIET: Final = ["--assert=plain", "-qq", "-p", "no:cacheprovider", "-p", "no:cov", "-x"]
# Loaded before the first fork, so that no child loads them again.
AHEAD: Final = (
    "jinja2.sandbox",
    "jsonschema",
    "msgspec",
    "re2",
    "yaml",
    "hypothesis.strategies",
    "pytest_trio",
)


class Fate(StrEnum):
    KILLED = "killed"
    SURVIVED = "survived"
    UNSEEN = "unseen"  #: no test runs the line


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What runs which lines, and how long each test takes."""

    lines: Mapping[str, Mapping[int, frozenset[str]]]  #: file -> line -> tests
    seconds: Mapping[str, float]

    def tests(self, mutant: Mutant) -> frozenset[str]:
        by_line = self.lines.get(mutant.module, {})
        return frozenset().union(*(by_line.get(line, ()) for line in mutant.lines))

    def in_turn(self, tests: frozenset[str]) -> list[str]:
        """The quickest first: most mutants die of the first tests."""
        return sorted(tests - {ON_IMPORT}, key=lambda test: (self.seconds.get(test, 0.0), test))


def started(act: Callable[[], int], *, seconds: float = 36_000.0) -> int:
    """The pid of a child that runs `act`; its exit code is what `act` gives.

    It may use `seconds` of processor time, and on a busy machine thirty times that by the clock.
    """
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    code = 70
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        signal.setitimer(signal.ITIMER_REAL, seconds * 30)
        code = act()
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    """The exit code of a child; negative the number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def hush(*streams: int) -> None:
    """A mutant may print and warn what it likes."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(nowhere, stream)


def load_ahead() -> None:
    for name in AHEAD:
        importlib.import_module(name)


# --- the map ----------------------------------------------------------------------------------------


def seen(modules: Sequence[str], tests: Sequence[str]) -> Seen:
    """Run `tests` once and note what runs. Raises RuntimeError if one fails."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "seen.json"
        if code := ended(started(lambda: _map(modules, tests, file))):
            raise RuntimeError(f"the tests don't pass without a mutant (exit {code}): run them first")
        told = json.loads(file.read_text("utf-8"))
    lines = {
        name: {int(line): frozenset(tests) for line, tests in by_line.items()}
        for name, by_line in told["lines"].items()
    }
    return Seen(lines=lines, seconds=told["seconds"])


class _Timing:
    """Tells coverage which test runs, and notes how long it takes."""

    def __init__(self, cover: coverage.Coverage) -> None:
        self.cover, self.seconds = cover, dict[str, float]()

    def pytest_collection_finish(self) -> None:
        steady()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.cover.switch_context(item.nodeid)
        began = time.process_time()
        result = yield
        self.seconds[item.nodeid] = time.process_time() - began
        return result


def _map(modules: Sequence[str], tests: Sequence[str], file: Path) -> int:
    hush(1)
    cover = coverage.Coverage(data_file=None, include=[_path(name) for name in modules], config_file=False)
    cover.start()
    cover.switch_context(ON_IMPORT)
    for name in modules:
        importlib.import_module(module_name(name))
    cover.switch_context("collection")
    timing = _Timing(cover)
    code = pytest.main([*QUIET, *tests], plugins=[timing])
    cover.stop()
    found = cover.get_data()
    lines = {
        name: {
            line: sorted({context for context in contexts if context not in ("", "collection")})
            for line, contexts in found.contexts_by_lineno(_path(name)).items()
        }
        for name in modules
    }
    file.write_text(json.dumps({"lines": lines, "seconds": timing.seconds}), encoding="utf-8")
    return int(code)


def steady() -> None:
    """The same examples for every mutant, and none of the work of making a failure readable."""
    known = hypothesis.settings.get_profile(hypothesis.settings.get_current_profile_name())
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile("mutants", known, derandomize=True, database=None, phases=phases)
    hypothesis.settings.load_profile("mutants")


def module_name(file: str) -> str:
    return file.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")


# --- judging ----------------------------------------------------------------------------------------


def judged(
    mutants: Sequence[Mutant], found: Seen, tests: Sequence[str], tell: Callable[[Mutant, Fate], None]
) -> None:
    """The fate of every mutant, told one by one."""
    quick, slow = list[tuple[Mutant, Changed]](), list[Mutant]()
    for mutant in mutants:
        ran_by = found.tests(mutant)
        changed = _changed(mutant) if ran_by and ON_IMPORT not in ran_by else None
        if not ran_by:
            tell(mutant, Fate.UNSEEN)
        elif changed:
            quick.append((mutant, changed))
        else:
            slow.append(mutant)
    if quick:
        here, there = os.pipe()
        child = started(lambda: _judge_loaded(quick, found, tests, there))
        os.close(there)
        with os.fdopen(here, encoding="utf-8") as fates:
            for (mutant, _), fate in zip(quick, fates, strict=False):
                tell(mutant, Fate(fate.strip()))
        if code := ended(child):
            raise RuntimeError(f"the child that judges went down (exit {code})")
    for mutant in slow:
        tell(mutant, _judged_afresh(mutant, found, tests))


def _fate(code: int) -> Fate:
    return Fate.SURVIVED if code == 0 else Fate.KILLED


def _patience(found: Seen, names: Sequence[str]) -> float:
    return LEAST_S + PATIENCE * sum(found.seconds.get(name, 0.0) for name in names)


class _Stop:
    """Ends the child at the first failure."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os._exit(1)


class _Loop:
    """Instead of running the collected tests: for each mutant, a child that runs those concerned."""

    def __init__(self, mutants: Sequence[tuple[Mutant, Changed]], found: Seen, there: int) -> None:
        self.mutants, self.found, self.there = mutants, found, there

    def pytest_collection_finish(self) -> None:
        steady()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        functions = [one for one in gc.get_objects() if isinstance(one, types.FunctionType)]
        gc.freeze()  # children share the memory longer; frozen objects are no longer told of
        for mutant, changed in self.mutants:
            names = [name for name in self.found.in_turn(self.found.tests(mutant)) if name in items]
            act = partial(_judge, changed, functions, [items[name] for name in names])
            fate = _fate(ended(started(act, seconds=_patience(self.found, names))))
            os.write(self.there, f"{fate}\n".encode())
        return True


def _judge(changed: Changed, functions: Sequence[types.FunctionType], items: Sequence[pytest.Item]) -> int:
    limit()
    for function in functions:
        if (new := changed.get(function.__code__)) is not None:
            function.__code__ = new
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    return 0


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _judge_loaded(
    mutants: Sequence[tuple[Mutant, Changed]], found: Seen, tests: Sequence[str], there: int
) -> int:
    hush(1, 2)
    return int(pytest.main([*QUIET, *tests], plugins=[_Loop(mutants, found, there), _Stop()]))


Changed = Mapping[types.CodeType, types.CodeType]
"""Functions of a module and what they become; closures are found as well as what makes them."""


def _changed(mutant: Mutant) -> Changed:
    """Empty if a function can't be told from another, or can't take the new code."""
    made = dict[types.CodeType, types.CodeType]()
    after = _by_mark(compile(mutant.tree(), _path(mutant.module), "exec", dont_inherit=True))
    for mark, old in _before(mutant.module).items():
        new = after.get(mark, [])
        if new and [one.co_freevars for one in new] != [one.co_freevars for one in old]:
            return {}
        # What is gone belongs to a function that changed.
        made |= {one: other for one, other in zip(old, new, strict=False) if one != other}
    return made


@lru_cache
def _before(module: str) -> Mapping[tuple[str, int], Sequence[types.CodeType]]:
    return _by_mark(compile(Path(module).read_text("utf-8"), _path(module), "exec", dont_inherit=True))


def _path(module: str) -> str:
    return str(Path(module).resolve())


def _by_mark(code: types.CodeType) -> dict[tuple[str, int], list[types.CodeType]]:
    marked = dict[tuple[str, int], list[types.CodeType]]()
    for one in _functions(code):
        marked.setdefault((one.co_qualname, one.co_firstlineno), []).append(one)
    return marked


def _functions(code: types.CodeType) -> Iterator[types.CodeType]:
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield const
            yield from _functions(const)


def _judged_afresh(mutant: Mutant, found: Seen, tests: Sequence[str]) -> Fate:
    seconds = _patience(found, list(found.seconds))
    return _fate(ended(started(lambda: _judge_afresh(mutant, found, tests), seconds=seconds)))


class _Order:
    """Tests that run the module first, the quickest of them first."""

    def __init__(self, near: frozenset[str], found: Seen) -> None:
        self.near, self.found = near, found

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        steady()
        items.sort(key=lambda item: (item.nodeid not in self.near, self.found.seconds.get(item.nodeid, 0.0)))


def _judge_afresh(mutant: Mutant, found: Seen, tests: Sequence[str]) -> int:
    hush(1, 2)
    limit()
    _import_changed(mutant)
    near = frozenset().union(*found.lines[mutant.module].values()) - {ON_IMPORT}
    return int(pytest.main([*QUIET, *tests], plugins=[_Order(near, found), _Stop()]))


def _import_changed(mutant: Mutant) -> None:
    """From now on an import of the module gets the changed one."""
    loader: Any = importlib.machinery.SourceFileLoader
    file, usual = _path(mutant.module), loader.get_code

    def get_code(self: Any, name: str) -> types.CodeType:
        if str(Path(self.path).resolve()) == file:
            return compile(mutant.tree(), file, "exec", dont_inherit=True)
        code: types.CodeType = usual(self, name)
        return code

    loader.get_code = get_code
