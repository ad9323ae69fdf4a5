"""Every shipped pack tells what it is, passes the tests it ships with, and these try all that it asks."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor.cli import app
from rules import spec

FOLDER = Path(spec.__file__).parent / "packs"
each_pack = pytest.mark.parametrize("name", spec.PACKS)


def test_every_file_is_a_pack_that_can_be_named() -> None:
    files = {path.name.removesuffix(".yaml") for path in FOLDER.glob("*.yaml")}
    assert files == {*spec.PACKS, *(f"{name}.test" for name in spec.PACKS)}


@each_pack
def test_a_pack_tells_what_it_is(name: str) -> None:
    [pack] = spec.load([spec.pack(name)], app="test").packs
    assert (pack.id, pack.tests) == (name, (f"{name}.test.yaml",))
    assert pack.title
    assert pack.description
    assert pack.false_positives


@each_pack
def test_a_pack_passes_its_own_tests_which_try_all_of_it(name: str) -> None:
    result = CliRunner().invoke(app, ["test", str(FOLDER / f"{name}.test.yaml"), "--coverage-min", "100"])
    assert result.exit_code == 0, result.output


def test_the_packs_go_together() -> None:
    rules = spec.load([spec.pack(name) for name in spec.PACKS], app="test")
    assert rules.warnings == ()
    assert {rule.pack for rule in rules.rules} == set(spec.PACKS)
