"""A process killed at a commit leaves all of it or nothing.

SIGKILL shows that our steps are whole; it does not show what a power cut leaves of a disk.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.store.building import claimed, open_store
from tests.store.test_faults import steps_in


def start(path: Path, point: str, count: int) -> subprocess.Popen[str]:
    program = (
        "import sys, trio; from pathlib import Path; from tests.store.dying import work_until_killed\n"
        "trio.run(work_until_killed, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))"
    )
    arguments = [sys.executable, "-c", program, os.fspath(path), point, str(count)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("point", "acknowledged", "stored"), [("writer.before_commit", 4, 4), ("writer.committed", 4, 5)]
)
def test_killed_at_a_commit_point(tmp_path: Path, point: str, acknowledged: int, stored: int) -> None:
    path = tmp_path / "cometwatch.db"
    process = start(path, point, 5)
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert output.split() == [str(n + 1) for n in range(acknowledged)]
    with open_store(path) as store:
        assert steps_in(store) == stored


def test_killed_at_any_moment_what_was_acknowledged_is_there(tmp_path: Path) -> None:
    path = tmp_path / "cometwatch.db"
    process = start(path, "never", 1)
    assert process.stdout is not None
    for _ in range(random.Random(7).randrange(20, 60)):
        process.stdout.readline()
    process.kill()
    acknowledged = process.communicate()[0].split()
    with open_store(path) as store:
        stored = steps_in(store)
        assert stored >= (int(acknowledged[-1]) if acknowledged else 20)
        with store.write() as tx:
            assert [alert.id for alert in claimed(tx).alerts] == ["a1"]
