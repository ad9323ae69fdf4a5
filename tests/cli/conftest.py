"""A command line to try: settings in a folder of their own, and a store with something in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from monitor.cli import app
from monitor.store.store import Store
from monitor.store.values import Commit, Cursor, Reject, Seen
from rules.model import MessageId
from tests.store.building import ANNA, NOON, claimed, found, open_store

SETTINGS = """\
api: {{app_id: "275211", region: us, api_key: sesame-sesame}}
watch: {{users: [anna, {{uid: ben, labels: {{team: payments}}}}]}}
store: {{url: "sqlite:///{folder}/store.db"}}
server: {{listen: "127.0.0.1:1"}}
receivers: [{{name: ops, console: {{}}}}]
"""


@dataclass(frozen=True)
class Desk:
    """Where an operator sits: `desk("outbox", "list")` runs a command on the settings in `folder`."""

    folder: Path

    def __call__(self, *args: str, env: dict[str, str] | None = None) -> Result:
        runner = CliRunner(env={"COMETWATCH_CONFIG": str(self.config), **(env or {})})
        return runner.invoke(app, list(args), prog_name="cometwatch")

    @property
    def config(self) -> Path:
        return self.folder / "cometwatch.yaml"

    def json(self, *args: str) -> Any:
        """What a command that goes well prints with --json."""
        result = self(*args, "--json")
        assert (result.exit_code, result.stderr) == (0, "")
        return json.loads(result.stdout)

    def refused(self, *args: str, code: int) -> list[str]:
        """The lines on standard error of a command that fails; nothing is on standard output."""
        result = self(*args)
        assert result.exit_code == code, result.output
        assert result.stdout == ""
        return result.stderr.splitlines()

    def wrong_use(self, *args: str) -> str:
        """The error line of a command that was called wrongly."""
        *_, last = self.refused(*args, code=2)
        return last.removeprefix("Error: ")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path)
    made.config.write_text(SETTINGS.format(folder=tmp_path), "utf-8")
    return made


@pytest.fixture
def reopen(desk: Desk) -> Callable[[], Store]:
    """The store, as the running monitor has it."""
    return lambda: open_store(desk.folder / "store.db")


@pytest.fixture
def store(reopen: Callable[[], Store]) -> Store:
    """Three alerts: one dead, one delivered, one waiting; a cursor; a reject. Closed already."""
    with reopen() as store:
        with store.write() as tx:
            tx.add_users([ANNA], NOON)
            cursor = Cursor(id=MessageId(1700), above=(Seen(id=MessageId(1777), at=NOON),))
            tx.commit(Commit(uid=ANNA, expected=Cursor(), cursor=cursor, watermark=NOON))
            reject = Reject(
                uid=ANNA, message_id="1776", reason="no sentAt", structure='{"id":"str(4)"}', at=NOON
            )
            tx.commit(Commit(rejects=(reject,)))
            tx.commit(found("a1", "a2", "a3"))
            tx.adopt_rules({})
        with store.write() as tx:
            tx.settle_dead(claimed(tx).id, NOON, "answered 404")
            tx.settle_delivered(claimed(tx).id, NOON)
    return store
