"""The lock files: pinned with hashes, and true to what the project asks for."""

from __future__ import annotations

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.deploy import ROOT, project

LOCKS = sorted(path.name for path in ROOT.glob("requirements*.txt"))
each_lock = pytest.mark.parametrize("name", LOCKS)


def lines(name: str) -> list[str]:
    return (ROOT / name).read_text(encoding="utf-8").splitlines()


def pins(name: str) -> dict[str, Version]:
    found = (re.match(r"([\w.-]+)==([^\s;]+)", line) for line in lines(name))
    return {canonicalize_name(pin[1]): Version(pin[2]) for pin in found if pin}


def wanted(*texts: str) -> list[Requirement]:
    return [Requirement(text) for text in texts]


@each_lock
def test_a_lock_holds_versions_and_hashes_and_no_address(name: str) -> None:
    assert [line for line in lines(name) if re.search(r"://|file:|^-|\s@\s", line)] == []
    assert "\n".join(lines(name)).count("--hash=sha256:") >= len(pins(name)) > 0
    starts = [index for index, line in enumerate(lines(name)) if re.match(r"\w", line)]
    assert [lines(name)[index] for index in starts if "--hash" not in lines(name)[index + 1]] == []


@pytest.mark.parametrize(
    ("name", "requirements"),
    [
        ("requirements.txt", project()["project"]["dependencies"]),
        ("requirements-dev.txt", project()["dependency-groups"]["dev"]),
        ("requirements-cel.txt", project()["project"]["optional-dependencies"]["cel"]),
        ("requirements-apprise.txt", project()["project"]["optional-dependencies"]["apprise"]),
        ("requirements-bench.txt", project()["dependency-groups"]["bench"]),
        ("requirements-build.txt", project()["build-system"]["requires"]),
    ],
)
def test_a_lock_satisfies_what_the_project_asks_for(name: str, requirements: list[str]) -> None:
    pinned = pins(name)
    for requirement in wanted(*requirements):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), "run: make lock"


@each_lock
def test_locks_do_not_contradict_each_other(name: str) -> None:
    every = pins("requirements-dev.txt")
    assert {one: pin for one, pin in pins(name).items() if every.get(one, pin) != pin} == {}
