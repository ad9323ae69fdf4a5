"""One case after the other: what may happen is an error of ours, a fault of one rule, or nothing."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from time import process_time

from rules.cel import Cel, ExpressionError, check
from rules.conditions import SafeError
from rules.kinds.match import SAMPLE
from rules.model import Message, Tick, UserId
from rules.names import no_files
from rules.spec import load
from rules.templates import Template, TemplateError, message_facts
from rules.text import Source, SpecError
from tests.fuzz import material
from tests.rules.builders import APP, NOON, Bench

SLOW_S = 0.1  # for one message and all rules of a case
LOAD_S = 2.0
MESSAGES = 12
FAULTS = ("CelError", "TooMuchError", "template ")
"""What may go wrong for one message: expressions and templates that ask for what it lacks."""

WATCH = {UserId("ann"): {}, UserId("bob"): {"team": "payments"}}


@dataclass
class Tally:
    """What was tried, and the slowest of each."""

    files: int = 0
    loaded: int = 0
    templates: int = 0
    rendered: int = 0
    expressions: int = 0
    compiled: int = 0
    messages: int = 0
    alerts: int = 0
    faults: int = 0
    slowest_s: float = 0.0
    slowest_load_s: float = 0.0
    found: list[str] = field(default_factory=list)


def tried(seed: str, tally: Tally) -> None:
    """One case; what should not happen is added to `tally.found`."""
    rng = Random(seed)
    for attempt in (_file, _template, _expression):
        try:
            tally.found += (f"{seed}: {said}" for said in attempt(rng, tally))
        except Exception as error:
            tally.found.append(
                f"{seed}: {attempt.__name__[1:]}: {type(error).__name__}: {str(error)[:300]!r}"
            )


def read_beside(name: str, asked_by: str) -> Source:
    if name == "words.txt":
        return Source(name, "refund\ncharge back # money\n" if "list" in asked_by else "2026-12-24\n")
    return no_files(name, asked_by)


def _file(rng: Random, tally: Tally) -> Iterator[str]:
    text = material.rule_file(rng)
    tally.files += 1
    began = process_time()
    try:
        rules = load([Source("fuzz.yaml", text)], app=APP, read=read_beside)
    except SpecError as error:
        str(error).encode()
        yield from (f"a problem without a place: {one}" for one in error.problems if not one.place.line)
        return
    finally:
        took = process_time() - began
        tally.slowest_load_s = max(tally.slowest_load_s, took)
    tally.loaded += 1
    if took > LOAD_S:
        yield f"loading took {took:.2f} s: {_rules_of(text)}"
    bench = Bench(rules, watch=dict(WATCH))
    rows = material.messages(rng, MESSAGES)
    for row in [*rows, *rng.sample(rows, 3)]:
        yield from _fed(bench, row, tally, text)
    bench.feed(ticks=[Tick(key=key, due=timer.due) for key, timer in bench.timers.items()],
               now=NOON + timedelta(days=3))  # fmt: skip
    yield from _faults(bench, text)


def _rules_of(text: str) -> str:
    return text[text.find('"rules"') :][:1_500]


def _fed(bench: Bench, row: Message, tally: Tally, text: str) -> Iterator[str]:
    took = _timed(lambda: bench.feed(row, now=NOON))
    if took > SLOW_S:  # a neighbour may have had the processor: the best of three counts
        took = min(took, *(_timed(lambda: Bench(bench.rules, watch=dict(WATCH)).feed(row)) for _ in range(2)))
    tally.messages += 1
    tally.alerts += len(bench.last.alerts)
    tally.faults += len(bench.last.faults)
    tally.slowest_s = max(tally.slowest_s, took)
    if took > SLOW_S:
        yield f"a message took {took * 1e3:.0f} ms: {_rules_of(text)}"
    yield from _faults(bench, text)


def _faults(bench: Bench, text: str) -> Iterator[str]:
    for fault in bench.last.faults:
        if not fault.error.startswith(FAULTS):
            yield f"{fault.error}: {_rules_of(text)}"


def _template(rng: Random, tally: Tally) -> Iterator[str]:
    text = material.template(rng)
    tally.templates += 1
    try:
        made = Template(text, limit=200, sample=message_facts(SAMPLE, ("bob",)))
    except TemplateError:
        return
    facts = message_facts(material.message(rng, 1), ("bob",))
    try:
        took = _timed(lambda: made(facts))
    except Exception:
        return
    tally.rendered += 1
    if took > SLOW_S:
        yield f"a template took {took * 1e3:.0f} ms: {text}"


def _expression(rng: Random, tally: Tally) -> Iterator[str]:
    text = material.asked(rng)
    text = material.damaged(rng, text) if rng.random() < 0.3 else text
    tally.expressions += 1
    try:
        check(text, ("vip",))
    except ExpressionError as error:
        str(error).encode("utf-8", "replace")
        yield from (f"a place outside: {text!r}" for one in error.wrong if not 0 <= one.at <= len(text))
        return
    tally.compiled += 1
    test = Cel(text=text, lists={"vip": ("ann", "b*")}).compile()
    for row in material.messages(rng, 3):
        took = min(_asked(test, row) for _ in range(2))
        tally.slowest_s = max(tally.slowest_s, took)
        if took > SLOW_S:
            yield f"an expression took {took * 1e3:.0f} ms: {text}"


def _asked(test: Callable[..., bool], row: Message) -> float:
    def ask() -> None:
        try:
            test(row, WATCH)
        except SafeError as error:
            str(error).encode()

    return _timed(ask)


def _timed(act: Callable[[], object]) -> float:
    began = process_time()
    act()
    return process_time() - began


def memory_mb() -> float:
    """What the process holds, after everything that can go has gone."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4_096 / 1e6
