"""Whose store, which version, one owner, and never a silent new start."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from monitor.errors import ConfigError, StoreError
from monitor.store.migrations import REVISIONS
from monitor.store.store import Store
from tests.store.building import ANNA, APP, NOON, after, at_noon, found, in_memory, open_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cometwatch.db"


@pytest.fixture
def kept(path: Path) -> Path:
    """A store with something in it, closed."""
    with open_store(path) as store, store.write() as tx:
        tx.add_users([ANNA], NOON)
        tx.commit(found("a1"))
    return path


@contextmanager
def another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that owns the store until it is told to end."""
    program = (
        "import sys; from tests.store.building import open_store; from pathlib import Path\n"
        "with open_store(Path(sys.argv[1])): print('open', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
    finally:
        process.communicate()


def test_an_empty_store_says_so_and_since_when_it_watches(path: Path) -> None:
    with open_store(path) as store:
        assert store.opened_empty
        assert store.watching_since == NOON
    with open_store(path, now=lambda: after(days=1)) as again:
        assert not again.opened_empty
        assert again.watching_since == NOON


def test_what_was_stored_is_there_after_the_process_ended(kept: Path) -> None:
    with open_store(kept) as store:
        assert [user.uid for user in store.users()] == [ANNA]
        assert [entry.alert.id for entry in store.entries()] == ["a1"]


def test_its_files_are_readable_by_their_owner_only(path: Path) -> None:
    with open_store(path) as store, store.write() as tx:
        tx.add_users([ANNA], NOON)
        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == [path.name + end for end in ("", "-shm", "-wal", ".lock")]
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_a_store_of_another_app_is_refused(kept: Path) -> None:
    for exclusive in (True, False):
        with pytest.raises(StoreError, match=f"belongs to app {APP}, the settings say app other"):
            Store.open(f"sqlite:///{kept}", app="other", now=at_noon, exclusive=exclusive)
    with open_store(kept) as store:
        assert len(store.users()) == 1


def test_a_second_process_is_refused_and_told_who_is_there(kept: Path) -> None:
    with another_process(kept) as process:
        with pytest.raises(StoreError, match=f"process {process.pid} on .* is running on this store"):
            open_store(kept)
        with open_store(kept, exclusive=False) as beside, beside.write() as tx:
            tx.drop("ops", "by a command")
    with open_store(kept) as store:
        assert store.ledger().entries["dropped"] == 1


def test_the_lock_ends_with_its_process_however_that_ends(kept: Path) -> None:
    with another_process(kept) as process:
        process.kill()
        process.wait()
        with open_store(kept) as store:
            assert len(store.users()) == 1


def test_changes_made_beside_are_seen_by_their_number(kept: Path) -> None:
    with open_store(kept) as running, open_store(kept, exclusive=False) as command:
        before = running.version()
        with command.write() as tx:
            tx.redrive("ops")
        assert running.version() == before + 1


def test_a_command_makes_no_store(path: Path) -> None:
    with pytest.raises(StoreError, match=r"no store here yet\. `cometwatch run` makes it"):
        open_store(path, exclusive=False)
    assert list(path.parent.iterdir()) == []


def test_a_store_that_vanished_is_not_started_anew(kept: Path) -> None:
    lock = kept.with_name(kept.name + ".lock")
    kept.unlink()
    with pytest.raises(StoreError, match=r"kept since 2026-03-01 12:00 UTC, is gone") as refused:
        open_store(kept)
    assert str(lock) in str(refused.value)
    kept.touch()
    with pytest.raises(StoreError, match="is empty"):
        open_store(kept)
    lock.unlink()
    with open_store(kept) as store:
        assert store.opened_empty


def test_a_restored_backup_is_taken(kept: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    with sqlite3.connect(kept) as source, sqlite3.connect(backup) as target:
        source.backup(target)
    source.close()
    target.close()
    backup.rename(kept)
    with open_store(kept) as store:
        assert (len(store.users()), store.watching_since) == (1, NOON)


def test_a_store_written_by_a_newer_version_is_refused(kept: Path) -> None:
    change(kept, "UPDATE alembic_version SET version_num = 'v9999'")
    for exclusive in (True, False):
        with pytest.raises(StoreError, match=r"newer version of Cometwatch .* tables are at v9999"):
            open_store(kept, exclusive=exclusive)


def test_a_command_does_not_migrate(kept: Path) -> None:
    change(kept, "DELETE FROM alembic_version")
    with pytest.raises(StoreError, match="made by an older version"):
        open_store(kept, exclusive=False)


def test_a_migration_that_fails_changes_nothing(kept: Path) -> None:
    change(kept, "DELETE FROM alembic_version")  # the first step will find its tables there already
    before = kept.read_bytes()
    with pytest.raises(Exception, match="table store already exists"):
        open_store(kept)
    assert kept.read_bytes() == before
    change(kept, f"INSERT INTO alembic_version VALUES ('{REVISIONS[-1]}')")
    with open_store(kept) as store:
        assert len(store.users()) == 1


def test_a_strangers_database_is_left_alone(path: Path) -> None:
    change(path, "CREATE TABLE recipes (name)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a store of Cometwatch"):
        open_store(path)
    assert path.read_bytes() == before
    path.write_bytes(b"")
    with pytest.raises(StoreError, match="not a store of Cometwatch"):
        open_store(path, exclusive=False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/cometwatch.db", r"the directory .*missing does not exist\. Create it"),
        (".", "this is a directory"),
    ],
)
def test_a_place_that_can_be_no_file_is_named(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        open_store(tmp_path / name)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("cometwatch.db", "store.url is not a database URL; for example"),
        ("postgresql://db/x", "postgresql is not supported, only sqlite is"),
        ("sqlite:////x.db?mode=ro", "takes no parameters"),
    ],
)
def test_a_url_that_is_none_of_ours_is_a_wrong_setting(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Store.open(url, app=APP, now=at_noon)


def test_a_store_in_memory_has_the_same_interface() -> None:
    with in_memory() as store:
        assert store.opened_empty
        store.probe()
        with store.write() as tx:
            tx.add_users([ANNA], NOON)
            assert [user.uid for user in store.users()] == [ANNA]
        assert [user.uid for user in store.users()] == [ANNA]
    with in_memory() as other:
        assert other.users() == []


def test_reads_see_what_is_committed_while_a_transaction_is_open(kept: Path) -> None:
    with open_store(kept) as store:
        with store.write() as tx:
            tx.commit(found("a2"))
            assert [alert.id for alert in store.alerts()] == ["a1"]
        assert [alert.id for alert in store.alerts()] == ["a1", "a2"]


def test_closing_twice_is_fine_and_gives_the_lock_back(path: Path) -> None:
    store = open_store(path)
    store.close()
    store.close()
    open_store(path).close()


def change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()
