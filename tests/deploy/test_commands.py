"""Commands that are written down where the type checker doesn't look: each must exist, with its options."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from monitor.cli import app
from tests.deploy import DEPLOY, ROOT
from tests.deploy.test_manifests import COMPOSE, instructions, monitor

PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *DEPLOY.rglob("*.md"), *DEPLOY.rglob("*.yaml")]
    if "deploy/grafana/dashboards" not in str(path)
)
# At the start of what is typed or behind another program's words, up to a quote, a pipe or two spaces.
WRITTEN = re.compile(r"(?:^|-- |exec monitor )cometwatch ((?:[\w/.:{}=\"…-]+ ?)+)")


def commands(page: Path) -> list[str]:
    """What stands in code: in backquotes, on a line after a prompt, in a comment that shows usage."""
    text = page.read_text(encoding="utf-8")
    code = re.findall(r"`([^`\n]+)`", text) + re.findall(r"^(?:# +|\$ )(.*)", text, flags=re.MULTILINE)
    return [found.rstrip() for piece in code for found in WRITTEN.findall(piece)]


def problem(words: list[str]) -> str | None:
    """Why the command line would refuse these words, or None."""
    command: Any = get_command(app)
    context = command.make_context("cometwatch", [], resilient_parsing=True)
    options = {option for each in command.params for option in each.opts}
    rest = list(words)
    while rest and hasattr(command, "get_command"):
        name = rest.pop(0)
        if name.startswith("-"):
            return None if name in options else f"there is no option {name}"
        command = command.get_command(context, name)
        if command is None:
            return f"there is no command {name}"
        options |= {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    unknown = [word for word in rest if word.startswith("-") and word.partition("=")[0] not in options]
    return f"there is no option {unknown[0]}" if unknown else None


def written() -> Iterator[Any]:
    for page in PAGES:
        for words in sorted(set(commands(page))):
            yield pytest.param(shlex.split(words), id=f"{page.name}:{words}")


@pytest.mark.parametrize("words", list(written()))
def test_a_command_that_is_written_down_exists(words: list[str]) -> None:
    assert problem(words) is None


def test_the_runbooks_commands_are_really_looked_at() -> None:
    found = commands(DEPLOY / "runbooks" / "alerts.md")
    assert {"status", "outbox list --state dead", "rejects show ID", "check"} <= set(found)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["outbox", "retry"], "there is no command retry"),
        (["outbox", "list", "--status", "dead"], "there is no option --status"),
        (["statsu"], "there is no command statsu"),
        (["check", "--config", "x.yaml"], None),
    ],
)
def test_the_check_finds_what_does_not_exist(words: list[str], said: str | None) -> None:
    assert problem(words) == said


def test_what_starts_in_containers_exists() -> None:
    started = [monitor(name)["args"] for name in ("statefulset.yaml", "sidecar.yaml")]
    started += [monitor("sidecar.yaml")["livenessProbe"]["exec"]["command"][1:]]
    started += [COMPOSE["services"]["simulator"]["command"]]
    started += [COMPOSE["services"]["monitor"]["healthcheck"]["test"][2:]]
    lines = [line for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines() if "CMD" in line]
    assert len(lines) == 2
    run, health = sorted((json.loads(line[line.index("[") :]) for line in lines), key=len)
    assert health[0] == "cometwatch"
    started += [run, health[1:]]
    assert [(words, said) for words in started if (said := problem(words))] == []


def test_the_image_starts_the_command_itself_so_that_signals_reach_it() -> None:
    words = dict(instructions())
    assert words["ENTRYPOINT"] == ["[cometwatch]"]
    assert words["STOPSIGNAL"] == ["SIGTERM"]
