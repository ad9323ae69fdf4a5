"""Is it there, ours, whole, of this version? Each no is said before anything changes."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    insert,
    inspect,
    select,
)

from monitor.errors import StoreError

from .lock import FileLock
from .migrations import REVISIONS
from .sqlite import DAMAGED, Where, find_damage, is_ours, mark_ours, use_wal
from .tables import SUMS, metadata, store, tallies

VERSION: Final = Table(  # Alembic's own: which step was taken last
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


class Opened(NamedTuple):
    since: datetime
    empty: bool  #: it was created just now


def check_directory(path: Path) -> None:
    """Raises StoreError unless `path` can be a file in a directory that exists."""
    if not path.parent.is_dir():
        raise StoreError(
            f"{path}: the directory {path.parent} does not exist. Create it, mount the volume there, or set "
            'store.url; for example store.url: "sqlite:////var/lib/cometwatch/cometwatch.db"'
        )
    if path.is_dir():
        raise StoreError(f"{path}: this is a directory. store.url names a file in it: {path}/cometwatch.db")


def check_not_lost(path: Path, lock: FileLock) -> None:
    """Raises StoreError when the lock file remembers a store that is gone: never a silent new start."""
    marker = lock.read()
    if marker is None or (path.is_file() and path.stat().st_size > 0):
        return
    raise StoreError(
        f"{path}: the store of app {marker.app}, kept since {marker.since:%Y-%m-%d %H:%M} UTC, is "
        f"{'empty' if path.exists() else 'gone'}. Restore it or mount the right volume. To start over, "
        f"watching from now and forgetting what was not delivered, delete {lock.path}"
    )


def check_exists(path: Path) -> None:
    """Raises StoreError for a command that would read a store that no process has made yet."""
    if not path.is_file():
        raise StoreError(
            f"{path}: there is no store here yet. `cometwatch run` makes it when it first starts."
        )


def prepare(engine: Engine, where: Where, *, app: str, now: datetime) -> Opened:
    """Check the file, bring its tables to this version, and bind it to `app`; all of it or nothing."""
    with engine.begin() as connection:
        _refuse_stranger(where, ours=is_ours(connection))
    with closing(engine.raw_connection()) as raw:  # pragmas that stand outside of transactions
        use_wal(raw, where)
        if damage := find_damage(raw):
            raise StoreError(f"{where}: the file is damaged ({damage}). {DAMAGED}")
    with engine.begin() as connection:
        _migrate(connection, where)
        mark_ours(connection)
        return _bind(connection, where, app=app, now=now)


def look(engine: Engine, where: Where, *, app: str) -> Opened:
    """Check for a command that the file is a store of `app` and of this version; nothing is changed."""
    with engine.begin() as connection:
        _refuse_stranger(where, ours=is_ours(connection) or False)
        if _revision(connection, where) != REVISIONS[-1]:
            raise StoreError(
                f"{where}: the store was made by an older version. Start `cometwatch run` of this version "
                "once: it brings the store up to date."
            )
        return _bound(connection, where, app=app)


def _refuse_stranger(where: Where, *, ours: bool | None) -> None:
    if ours is False:
        raise StoreError(
            f"{where}: this is a database, but not a store of Cometwatch. Set store.url to another file."
        )


def _revision(connection: Connection, where: Where) -> str | None:
    """The last step taken, None for an empty file. Raises StoreError if a newer version took it."""
    if not inspect(connection).has_table(VERSION.name):
        return None
    revision: str | None = connection.execute(select(VERSION)).scalar_one_or_none()
    if revision is not None and revision not in REVISIONS:
        raise StoreError(
            f"{where}: a newer version of Cometwatch has used this store (its tables are at {revision}, this "
            f"version knows {REVISIONS[-1]}). Run that version again, or restore the "
            "copy made before the upgrade."
        )
    return revision


def _migrate(connection: Connection, where: Where) -> None:
    revision = _revision(connection, where)
    if revision is None and not inspect(connection).get_table_names():
        _make(connection)
    elif revision != REVISIONS[-1]:
        _upgrade(connection)


def _make(connection: Connection) -> None:
    """A new store's tables at once: loading Alembic and taking every step costs a third of a second."""
    metadata.create_all(connection, checkfirst=False)
    connection.execute(insert(tallies), [{"name": name, "total": 0} for name in SUMS])
    VERSION.create(connection, checkfirst=False)
    connection.execute(insert(VERSION).values(version_num=REVISIONS[-1]))


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "monitor.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _bind(connection: Connection, where: Where, *, app: str, now: datetime) -> Opened:
    if connection.execute(select(store)).one_or_none() is not None:
        return _bound(connection, where, app=app)
    connection.execute(insert(store).values(id=1, app=app, since=now, changes=0))
    return Opened(since=now, empty=True)


def _bound(connection: Connection, where: Where, *, app: str) -> Opened:
    row = connection.execute(select(store)).one()
    if row.app != app:
        raise StoreError(
            f"{where}: this store belongs to app {row.app}, the settings say app {app}. Alerts of two apps "
            "never mix: give this app a store.url of its own, or correct api.app_id."
        )
    return Opened(since=row.since, empty=False)
