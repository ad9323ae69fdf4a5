"""The mutants themselves: which changes are made, and that a test's blindness is seen."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.mutants.__main__ import KNOWN, explained
from tests.mutants.operators import mutants

ROOT = Path(__file__).parents[2]


def changes(source: str) -> list[str]:
    return [one.change for one in mutants("m.py", source)]


@pytest.mark.parametrize(
    ("source", "made"),
    [
        ("x = a < b", ["a < b -> a <= b"]),
        ("x = a and b", ["a and b -> a or b", "a and b -> b", "a and b -> a"]),
        ("x = not a", ["not a -> a"]),
        ("x = a + b", ["a + b -> a - b"]),
        ("x = a if b else c", ["a if b else c -> a", "a if b else c -> c"]),
        ("x = min(a)", ["min(a) -> max(a)"]),
        ("x = a.lower()", ["a.lower() -> a"]),
        ("x = a[1:]", ["a[1:] -> a", "1 -> 2"]),
        ("x = [True, 'word', 'a sentence']", ["True -> False", "'word' -> 'wordx'"]),
        ("x = {a for a in b if c}", ["for a: without if c"]),
        ("f(a)", ["without f(a)"]),
        ("def f():\n    return a", ["return a -> return None"]),
        ("def f():\n    raise E", ["without raise E"]),
        ("for a in b:\n    x = 1", ["for a in b -> in ()", "1 -> 2"]),
        ("if a:\n    pass", ["if a -> if True", "if a -> if False"]),
        ("try:\n    pass\nexcept E:\n    pass", ["without except E"]),
        ("x += 1", ["x += 1 -> Sub", "without x += 1", "1 -> 2"]),
    ],
)
def test_what_is_changed(source: str, made: list[str]) -> None:
    assert changes(source) == made


@pytest.mark.parametrize(
    "source",
    [
        "'a docstring'",
        "assert a",
        "import a",
        "Word = A | B",
        "T = TypeVar('T')",
        "LIMIT: Final = 8 << 20",
        "x: 'A'",
        "x = zip(a, b, strict=True)",
    ],
)
def test_what_is_left_alone(source: str) -> None:
    assert changes(source) == []


def test_every_mutant_is_one_change_that_compiles() -> None:
    source = (ROOT / "rules" / "index.py").read_text("utf-8")
    made = mutants("rules/index.py", source)
    assert len({one.name for one in made}) == len(made) > 50
    before = ast.dump(ast.parse(source))
    for one in made:
        compile(one.tree(), "m.py", "exec")
        assert ast.dump(one.tree()) != before, one.name
        assert one.line in range(one.lines.start, one.lines.stop + 20)  # a `case` may stand far below


def test_a_reason_is_known_by_name_or_by_place() -> None:
    one, *_ = mutants("m.py", "SAMPLE = {'a': 1}")
    assert explained(one, {one.name: "why"}) == explained(one, {"m.py:SAMPLE: *": "why"}) == "why"
    assert explained(one, {"m.py:OTHER: *": "why"}) is None


def test_every_known_mutant_has_a_reason() -> None:
    known = yaml.safe_load(KNOWN.read_text("utf-8"))
    assert set(known) == {"equal", "accepted"}
    assert not known["equal"].keys() & known["accepted"].keys()
    assert all(reason for names in known.values() for reason in names.values())


TOY = """
LIMITS = {"low": 1}

def is_low(number):
    return number < LIMITS["low"]

def unseen(number):
    return number > 1
"""
TESTS = """
from toy import is_low

def test_low():
    assert is_low(0)
    assert not is_low(9)
"""


def test_what_no_test_tells_apart_is_shown(tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(TOY, encoding="utf-8")
    (tmp_path / "test_toy.py").write_text(TESTS, encoding="utf-8")
    command = [sys.executable, "-m", "tests.mutants", "toy.py", "--tests", "test_toy.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    told = sorted(line for line in done.stdout.splitlines() if line.startswith(("survived", "unseen")))
    assert told == [
        "survived: toy.py:LIMITS: 1 -> 2 (line 2)",
        "survived: toy.py:is_low: number < LIMITS['low'] -> number <= LIMITS['low'] (line 5)",
        "unseen: toy.py:unseen: 1 -> 2 (line 8)",
        "unseen: toy.py:unseen: number > 1 -> number >= 1 (line 8)",
        "unseen: toy.py:unseen: return number > 1 -> return None (line 8)",
    ]
