"""Full, read-only, locked, damaged, cut off: a clear error, nothing half stored, nothing begun anew.

Real files. Disks are really filled and made read-only where the tests may mount one; elsewhere SQLite's own
limits stand in for them (`max_page_count`, `query_only`), which give the same error codes.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from monitor.errors import StoreError
from monitor.store.sqlite import find_damage
from monitor.store.store import Store
from monitor.store.values import Commit, Counts, Cursor
from rules.model import MessageId
from tests.store.building import ANNA, NOON, after, claim, found, open_store

NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cometwatch.db"


@pytest.fixture
def kept(path: Path) -> Path:
    """A closed store with 300 alerts and anna's cursor at 300."""
    with open_store(path) as store:
        steps(store, 1, 300)
    return path


def steps(store: Store, first: int, last: int) -> None:
    """One transaction for each number: a new alert, the cursor moved to it, one row counted."""
    for number in range(first, last + 1):
        with store.write() as tx:
            [row] = tx.add_users([ANNA], NOON)
            tx.commit(
                Commit(
                    uid=ANNA,
                    expected=row.cursor,
                    cursor=Cursor(id=MessageId(number)),
                    findings=found(f"a{number}").findings,
                    counts=Counts(fetched=1),
                )
            )


def steps_in(store: Store) -> int:
    """How many steps are stored; each must be there in all its parts."""
    user = store.user(ANNA)
    number = (user.cursor.id if user else None) or 0
    assert store.ledger().counts.fetched == number
    assert {alert.id for alert in store.alerts(limit=10_000)} == {f"a{n}" for n in range(1, number + 1)}
    assert store.ledger().entries["pending"] == number
    return number


def pragma(store: Store, text: str) -> None:
    with store.write() as tx:
        tx._connection.exec_driver_sql(f"PRAGMA {text}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of four megabytes, where the tests may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", os.fspath(place)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", os.fspath(place)], check=True)


@contextmanager
def without_privileges() -> Iterator[Path]:
    """A directory of a user that is not root, and that user's rights for the block."""
    was = os.geteuid()
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    if was == 0:
        os.chown(place, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield place
    finally:
        os.seteuid(was)
        place.chmod(0o755)
        shutil.rmtree(place)


def test_a_commit_that_finds_the_disk_full_is_not_stored_and_works_when_there_is_room(kept: Path) -> None:
    with open_store(kept) as store:
        pragma(store, "max_page_count = 1")
        with pytest.raises(StoreError, match=r"cometwatch\.db: the disk is full.*Free some space"):
            steps(store, 301, 400)
        stored = steps_in(store)
        assert 300 <= stored < 400
        pragma(store, "max_page_count = 1000000")
        steps(store, stored + 1, stored + 1)
    with open_store(kept) as store:
        assert steps_in(store) == stored + 1


def test_a_really_full_disk_is_noticed_by_commits_and_by_the_probe(small_disk: Path) -> None:
    with open_store(small_disk / "cometwatch.db") as store:
        steps(store, 1, 5)
        store.probe()
        fill(small_disk)
        with pytest.raises(StoreError, match="the disk is full"):
            steps(store, 6, 400)
        with pytest.raises(StoreError, match="the disk is full"):
            store.probe()
        stored = steps_in(store)
        (small_disk / "filler").unlink()
        store.probe()
        steps(store, stored + 1, stored + 1)
    with open_store(small_disk / "cometwatch.db") as store:
        assert steps_in(store) == stored + 1


def test_a_store_is_not_made_on_a_full_disk(small_disk: Path) -> None:
    fill(small_disk)
    path = small_disk / "cometwatch.db"
    with pytest.raises(StoreError, match=r"cometwatch\.db: the disk is full"):
        open_store(path)
    (small_disk / "filler").unlink()
    with open_store(path) as store:
        assert store.opened_empty


def test_a_disk_that_turns_read_only_is_noticed(small_disk: Path) -> None:
    path = small_disk / "cometwatch.db"
    with open_store(path) as store:
        steps(store, 1, 5)
    remount(small_disk, "ro")
    try:
        with pytest.raises(StoreError, match=r"lock: Read-only file system\. Cometwatch's user must be able"):
            open_store(path)
    finally:
        remount(small_disk, "rw")
    with open_store(path) as store:
        assert steps_in(store) == 5


def fill(disk: Path) -> None:
    room = os.statvfs(disk)
    with (disk / "filler").open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, room.f_bavail * room.f_frsize)


def remount(place: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", os.fspath(place)], check=True)


def test_a_file_that_turns_read_only_stops_commits_and_the_probe_but_not_reads(kept: Path) -> None:
    with open_store(kept) as store:
        pragma(store, "query_only = ON")
        with pytest.raises(StoreError, match=r"read-only\. Mount the volume writable"):
            steps(store, 301, 301)
        with pytest.raises(StoreError, match="read-only"):
            store.probe()
        assert steps_in(store) == 300


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_file_without_write_permission_is_refused(exclusive: bool) -> None:
    with without_privileges() as place:
        path = place / "cometwatch.db"
        open_store(path).close()
        path.chmod(0o444)
        refused = pytest.raises(StoreError, match=r"cometwatch\.db: (Permission denied|.*read-only)")
        with refused, open_store(path, exclusive=exclusive) as store:
            steps(store, 1, 1)


def test_a_directory_without_write_permission_is_refused() -> None:
    with without_privileges() as place:
        place.chmod(0o555)
        with pytest.raises(StoreError, match=r"\.lock: Permission denied\. Cometwatch's user must be able"):
            open_store(place / "cometwatch.db")
        assert list(place.iterdir()) == []


def test_a_transaction_of_another_process_that_does_not_end_is_named(kept: Path) -> None:
    with open_store(kept) as store, closing(sqlite3.connect(kept, isolation_level=None)) as other:
        pragma(store, "busy_timeout = 20")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another process keeps it locked"):
            steps(store, 301, 301)
        with pytest.raises(StoreError, match="another process keeps it locked"):
            store.probe()
        assert steps_in(store) == 300  # readers don't wait for writers
        other.execute("ROLLBACK")
        steps(store, 301, 301)
        assert steps_in(store) == 301


def overwrite(path: Path, first: int, last: int) -> None:
    with path.open("r+b") as file:
        file.seek(first)
        file.write(b"\xa5" * (last - first))


def page_of(path: Path, text: bytes) -> tuple[int, int]:
    """First and last byte of the page that holds `text`."""
    start = path.read_bytes().index(text) // 4096 * 4096
    return start, start + 4096


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        (0, 100, "no SQLite file, or its start was overwritten"),
        (4096, 200_000, "damaged"),
        (None, None, r"damaged \(table alerts: "),
    ],
)
def test_a_damaged_file_is_refused_and_left_as_it_is(
    kept: Path, first: int | None, last: int | None, message: str
) -> None:
    if first is None or last is None:
        first, last = page_of(kept, b"Missed call a150")
    overwrite(kept, first, last)
    before = kept.read_bytes()
    with pytest.raises(StoreError, match=f"{message}.*keep a copy, then restore a backup"):
        open_store(kept)
    assert kept.read_bytes() == before


def test_a_file_that_was_cut_off_is_refused(kept: Path) -> None:
    os.truncate(kept, kept.stat().st_size // 2)
    with pytest.raises(StoreError, match="the file is damaged"):
        open_store(kept)


def test_damage_that_only_a_read_meets_is_named(kept: Path) -> None:
    overwrite(kept, *page_of(kept, b"Missed call a150"))
    with open_store(kept, exclusive=False) as store, pytest.raises(StoreError, match="the file is damaged"):
        store.alerts(limit=10_000)


def test_damage_met_inside_a_part_spoils_the_whole_transaction(kept: Path) -> None:
    overwrite(kept, *page_of(kept, b"Missed call a150"))
    with open_store(kept, exclusive=False) as store:
        with pytest.raises(StoreError, match="the file is damaged"), store.write() as tx:
            tx.add_silence([], starts_at=NOON, ends_at=after(hours=1), author="anna", comment="planned work")
            with suppress(StoreError), tx.part():
                claim(tx)
        assert store.silences(NOON) == ()


def test_looking_for_damage_takes_no_longer_than_allowed(kept: Path) -> None:
    overwrite(kept, *page_of(kept, b"Missed call a150"))
    with open_store(kept, exclusive=False) as store, closing(store._writing_engine.raw_connection()) as raw:
        assert find_damage(raw, within=timedelta(0)) is None
        assert find_damage(raw) is not None


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_log_that_was_cut_off_loses_the_last_commits_whole(path: Path, tmp_path: Path, part: float) -> None:
    copy = tmp_path / "copy.db"
    with open_store(path) as store:
        steps(store, 1, 20)
        shutil.copy(path, copy)
        log = Path(shutil.copy(f"{path}-wal", f"{copy}-wal"))
    os.truncate(log, int(log.stat().st_size * part))
    with open_store(copy) as store:
        stored = steps_in(store)
        assert stored < 20
        steps(store, stored + 1, 20)
        assert steps_in(store) == 20


def test_a_file_removed_under_a_running_process_is_noticed_by_the_probe(kept: Path) -> None:
    with open_store(kept) as store:
        store.probe()
        kept.unlink()
        with pytest.raises(StoreError, match="removed or replaced while it is in use"):
            store.probe()
    with pytest.raises(StoreError, match="is gone"):
        open_store(kept)
