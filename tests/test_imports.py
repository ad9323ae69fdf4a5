"""Imports point one way: lower rooms never learn of higher ones."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STDLIB = frozenset(sys.stdlib_module_names)
# Everyone in monitor/ may use these; the pure rooms below may not.
SHARED = {"monitor.clock", "monitor.errors", "monitor.logs", "monitor.metrics"}
LOUD = {"trio", "structlog"}

# Room -> what it may import beside the standard library and itself. The longest matching room counts.
MAY = {
    "rules": {"msgspec", "yaml", "re2", "jinja2", "markupsafe"},
    "rules.fields": {"rules.conditions", "rules.grammar", "rules.model", "yaml"},  # kinds import it
    "rules.calendars": {"rules", "yaml", "holidays"},
    "rules.working_time": {"rules.model", "holidays"},
    "rules.cel": {"rules", "yaml", "cel_expr_python"},
    "monitor.clock": {"trio"},
    "monitor.errors": set(),
    "monitor.logs": {"structlog"},
    "monitor.metrics": {"prometheus_client"},
    "monitor.schedule": set(),
    "monitor.source": {*SHARED, *LOUD, "rules.model", "monitor.outgoing", "httpx", "httptools", "msgspec"},
    "monitor.source.pages": {"rules.model", "msgspec", "monitor.source"},
    "monitor.store": {*SHARED, *LOUD, "rules.model", "sqlalchemy", "alembic", "msgspec", "outcome"},
    "monitor.drain": {"rules.model", "monitor.store.values", "msgspec"},
    "monitor.lists": {"rules.model", "monitor.source.client"},
    "monitor.second_look": {"rules.model", "monitor.store.values", "monitor.drain"},
    "monitor.updates": {"rules.model", "rules.engine", "monitor.store.values", "monitor.drain"},
    "monitor.delivery": {
        *SHARED, *LOUD, "rules.model", "monitor.store", "monitor.outgoing", "httpx", "msgspec",
        "standardwebhooks", "rich",
    },
    "monitor.delivery.policy": {
        "rules.model", "rules.pace", "monitor.store.values", "monitor.delivery.bundling",
        "monitor.delivery.matchers", "monitor.delivery.routing", "monitor.delivery.showing",
    },
    "monitor.delivery.bundling": {"rules.model", "monitor.store.values"},
    "monitor.delivery.routing": {"rules.model", "monitor.store.values", "monitor.delivery.matchers"},
    "monitor.delivery.showing": {"rules.model", "monitor.store.values", "monitor.delivery.sinks.base"},
    "monitor.delivery.matchers": {"monitor.errors", "monitor.store.values", "re2"},
    "monitor.delivery.render": {"rules.model", "monitor.store.values", "monitor.delivery", "msgspec"},
    "monitor.delivery.sinks.apprise": {
        "trio", "rules.model", "monitor.clock", "monitor.errors", "monitor.store", "monitor.delivery",
        "apprise",  # an extra, imported when it is used
    },
    "monitor.delivery.backoff": {"rules.model"},
    "monitor.timers": {"rules.model"},
    "monitor.health": {"rules.model"},
    "monitor.samples": {"rules", "monitor.store.values", "msgspec"},
    "monitor.silencing": {
        "rules.model", "rules.pace", "monitor.delivery.matchers", "monitor.errors", "monitor.settings.forms",
        "monitor.store.values", "msgspec", "pydantic_core",
    },
    "monitor.terms": {"monitor.lists", "monitor.roster", "monitor.schedule"},
    "monitor.notices": {"rules.model", "monitor.store.values", "msgspec"},
    "monitor.oncall": {
        *SHARED, *LOUD, "rules.model", "monitor.store", "monitor.delivery", "monitor.evaluation",
        "monitor.notices", "msgspec",
    },
    "monitor.evaluation": {
        "rules", "monitor.lists", "monitor.store.values", "monitor.delivery.policy", "msgspec",
    },
    "monitor.rehearsal": {"rules.model", "rules.pace", "monitor.store.values", "monitor.evaluation"},
    "monitor.tally": {"rules.model", "monitor.store.values", "monitor.rehearsal", "msgspec"},
    "monitor.comparison": {"rules.model", "monitor.tally"},
    "monitor.history": {*SHARED, *LOUD, "rules.model", "monitor.source", "monitor.allowance", "msgspec"},
    "monitor.replay": {
        "rules.model", "monitor.store.values", "monitor.source.pages", "monitor.evaluation",
        "monitor.rehearsal",
    },
    "monitor.timeline": {
        *SHARED, *LOUD, "rules", "monitor.source.pages", "monitor.store", "monitor.simulator",
        "monitor.drain", "monitor.accounts", "monitor.evaluation", "monitor.timers", "monitor.health",
        "monitor.lists", "monitor.delivery", "monitor.oncall", "monitor.settings.text", "msgspec", "yaml",
        "re2", "prometheus_client",
    },
    "monitor.explain": {
        "rules", "monitor.lists", "monitor.store.values", "monitor.store.lookups", "monitor.delivery.policy",
        "monitor.evaluation", "msgspec",
    },
    "monitor.allowance": {*SHARED, *LOUD, "monitor.source", "monitor.schedule"},
    "monitor.trouble": {
        *SHARED, *LOUD, "rules", "monitor.source", "monitor.schedule", "monitor.allowance", "monitor.health",
    },
    "monitor.accounts": {
        *SHARED, *LOUD, "rules", "monitor.source", "monitor.store", "monitor.drain", "monitor.evaluation",
        "monitor.health", "monitor.second_look", "monitor.timers", "monitor.updates", "msgspec",
    },
    "monitor.intake": {
        *SHARED, *LOUD, "rules", "monitor.source", "monitor.schedule", "monitor.store", "monitor.drain",
        "monitor.accounts", "monitor.allowance", "monitor.health", "monitor.lists", "monitor.second_look",
        "monitor.trouble", "monitor.updates", "msgspec",
    },
    "monitor.feasibility": {
        "rules.text", "monitor.configuration", "monitor.lists", "monitor.schedule", "monitor.settings",
        "monitor.updates",
    },
    "monitor.planning": {"monitor.lists", "monitor.roster", "monitor.schedule"},
    "monitor.doctor": {*SHARED, *LOUD, "rules.model", "monitor.source", "msgspec"},
    "monitor.discovery": {
        *SHARED, *LOUD, "rules.model", "monitor.health", "monitor.settings", "monitor.source",
        "monitor.store",
    },
    "monitor.roster": {"rules.model", "monitor.settings"},
    "monitor.outlets": {
        *SHARED, "monitor.delivery", "monitor.heartbeat", "monitor.outgoing", "monitor.settings", "httpx",
        "rules.model",
    },
    "monitor.heartbeat": {*SHARED, *LOUD, "rules.model", "monitor.web.view"},
    "monitor.settings": {
        "monitor.delivery.matchers", "rules.model", "rules.text", "monitor.errors", "pydantic",
        "pydantic_core", "pydantic_settings", "yaml",
    },
    "monitor.web": {
        *SHARED, *LOUD, "rules.model", "monitor.silencing", "monitor.store", "starlette",
        "prometheus_client", "msgspec", "markupsafe", "jinja2",
    },
    "monitor.outgoing": {"monitor.reach", "httpx", "httpcore"},
    "monitor.reach": {"trio", "httpcore"},
    "monitor.preview": {
        *SHARED, "rules.model", "monitor.delivery", "monitor.outlets", "monitor.settings",
        "monitor.store.values", "httpx", "msgspec", "pydantic",
    },
    "monitor.probe": {"monitor.errors"},
    "monitor.server": {"monitor.errors", "trio", "starlette", "hypercorn"},
    "monitor.simulator": {"starlette", "trio"},
}  # fmt: skip


def modules() -> Iterator[tuple[str, Path]]:
    for top in ("rules", "monitor"):
        for file in sorted((ROOT / top).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), file


def imports_of(name: str, file: Path) -> Iterator[str]:
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            yield from (
                ".".join([*base, node.module or "", alias.name]).replace("..", ".") for alias in node.names
            )


def room_of(name: str) -> str | None:
    return max((room for room in MAY if is_in(name, room)), key=len, default=None)


def is_in(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


@pytest.mark.parametrize(("name", "file"), [pytest.param(n, f, id=n) for n, f in modules() if room_of(n)])
def test_a_room_imports_only_what_stands_below_it(name: str, file: Path) -> None:
    room = room_of(name)
    assert room is not None
    strange = {
        imported
        for imported in imports_of(name, file)
        if imported.split(".")[0] not in STDLIB
        and not is_in(imported, room)
        and not any(is_in(imported, allowed) for allowed in MAY[room])
    }
    assert not strange


@pytest.mark.parametrize("top", ["monitor.app", "monitor.cli", "monitor.serving", "monitor.demo"])
def test_nobody_imports_the_top_of_the_house(top: str) -> None:
    above = ("monitor.cli", "monitor.serving", "monitor.demo", "monitor.__main__")
    importers = {
        name
        for name, file in modules()
        for imported in imports_of(name, file)
        if is_in(imported, top) and not is_in(name, top)
    }
    assert {name for name in importers if not any(is_in(name, room) for room in above)} == set()


def test_every_room_is_watched() -> None:
    composing = {"monitor", "monitor.__main__", "monitor.app", "monitor.caretaker", "monitor.configuration",
                 "monitor.demo", "monitor.overview", "monitor.serving"}  # fmt: skip
    unwatched = {name for name, _ in modules() if not room_of(name) and not is_in(name, "monitor.cli")}
    assert unwatched == composing
