"""RECEIVERS.md and ROUTING.md, followed to the letter: settings are checked, commands run, requests sent.

Of the README, its settings.

Outputs are compared as those of the tutorial are: `…` stands for anything, times for any other times.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import trustme
import yaml
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from monitor.delivery.sinks import slack_bot
from monitor.metrics import Metrics
from monitor.settings.receivers import SINKS, Heartbeat, Receiver
from monitor.settings.routes import Route
from monitor.store.values import Commit, Finding
from rules.model import AlertId
from tests.alertmanager.scenes import SCENES
from tests.cli.conftest import Desk
from tests.deploy import DEPLOY, ROOT
from tests.deploy.test_commands import problem
from tests.process.test_tutorial import compare
from tests.store.building import an_alert, found, in_memory, open_store, to
from tests.web.test_writing import TOKEN, asking, writes

RECEIVERS, ROUTING = DEPLOY / "RECEIVERS.md", DEPLOY / "ROUTING.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", DEPLOY / "README.md", RECEIVERS, ROUTING]
BLOCK = re.compile(r"^```(?P<language>\w+)(?: (?P<of>[\w-]+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
API = "http://127.0.0.1:9464"
ALERT = AlertId("bb71ec8ddaffbac69a0d5ace1ab2ecb0")

# What the files of secrets hold, by their names; the others hold a word.
ADDRESS = "https://receiver.example/x"
HELD = {
    "slack": ADDRESS,
    "slack-webhook": ADDRESS,
    "healthchecks": ADDRESS,
    "teams": ADDRESS,
    "discord": ADDRESS,
    "heartbeat": ADDRESS,
    "whsec": f"whsec_{'k' * 32}",
    "whsec-previous": f"whsec_{'K' * 32}",
}
HEAD = {
    "api": {"app_id": "275211", "region": "us", "api_key": "sesame-sesame"},
    "watch": {"users": [{"uid": "superhero3", "labels": {"team": "payments"}}], "groups": ["hiking"]},
    "rules": {"files": ["rules/*.yaml"]},
}


class Block(NamedTuple):
    """What stands in a fence, and where."""

    place: str
    language: str
    of: str  #: the second word of the fence: what the language is about, if not our settings
    text: str


def blocks(page: Path, language: str, of: str = "") -> list[Block]:
    text = page.read_text(encoding="utf-8")
    every = (
        Block(
            f"{page.name}:{text.count(chr(10), 0, one.start()) + 1}",
            one["language"],
            one["of"] or "",
            one["text"],
        )
        for one in BLOCK.finditer(text)
    )
    return [one for one in every if (one.language, one.of) == (language, of)]


def only(page: Path, language: str, of: str) -> Block:
    (block,) = blocks(page, language, of)
    return block


README = [block for block in blocks(ROOT / "README.md", "yaml") if "receivers:" in block.text]
EXAMPLE, *_ = blocks(ROUTING, "yaml")
SETTINGS = [*README, *blocks(RECEIVERS, "yaml"), *blocks(ROUTING, "yaml")]
each_settings = pytest.mark.parametrize("block", SETTINGS, ids=lambda block: block.place)


def written(folder: Path, block: Block) -> Desk:
    """A desk with the settings of the block, completed where they say nothing, and the files they name."""
    for name in re.findall(r" (?:/run/secrets|\.)/([\w-]+)", block.text):
        (folder / name).write_text(HELD.get(name, "a-long-and-random-word"), encoding="utf-8")
    (folder / "rules").mkdir()
    calendars = only(ROUTING, "yaml", "rules").text
    (folder / "rules" / "calendars.yaml").write_text(calendars, encoding="utf-8")
    head = {**HEAD, "store": {"url": f"sqlite:///{folder}/store.db"}}
    missing = {key: section for key, section in head.items() if key not in yaml.safe_load(block.text)}
    certified(folder)
    text = block.text.replace("/run/secrets", str(folder)).replace("/etc/ssl", str(folder))
    desk = Desk(folder)
    desk.config.write_text(text + (yaml.safe_dump(missing) if missing else ""), encoding="utf-8")
    return desk


def certified(folder: Path) -> None:
    """The files that `tls` names."""
    authority = trustme.CA()
    ours = authority.issue_cert("cometwatch.example")
    authority.cert_pem.write_to_path(str(folder / "own-ca.pem"))
    ours.cert_chain_pems[0].write_to_path(str(folder / "ours.pem"))
    ours.private_key_pem.write_to_path(str(folder / "ours.key"))


@each_settings
def test_settings_are_accepted_as_they_stand(tmp_path: Path, block: Block) -> None:
    checked = written(tmp_path, block)("check")
    assert (checked.exit_code, surprises(checked.stderr)) == (0, [])


def surprises(said: str) -> list[str]:
    """What `check` says, but for what is no matter of the page: no receivers, groups not watched."""
    usual = ("no receivers: alerts are only kept", 'rule "mention" is after something that happens in groups')
    return [line for line in said.splitlines() if not any(words in line for words in usual)]


def test_the_sample_is_accepted_once_its_secrets_are_there(tmp_path: Path) -> None:
    text = (DEPLOY / "config.sample.yaml").read_text(encoding="utf-8")
    checked = written(tmp_path, Block("config.sample.yaml", "yaml", "", text))("check")
    assert (checked.exit_code, surprises(checked.stderr)) == (0, [])


def test_every_protocol_and_every_key_of_receivers_routes_and_heartbeats_is_shown() -> None:
    text = "\n".join(one.text for one in SETTINGS)
    for model in (Receiver, Route, Heartbeat):
        keys = [field.alias or name for name, field in model.model_fields.items()]
        documents = text + RECEIVERS.read_text(encoding="utf-8") + ROUTING.read_text(encoding="utf-8")
        assert [key for key in keys if not re.search(rf"\b{key}(_file)?\b", documents)] == []
    assert [name for name in SINKS if not re.search(rf"\b{name}: {{|\b{name}:\n", text)] == []


def test_slacks_manifest_has_the_scopes_that_the_bot_needs_and_no_other() -> None:
    manifest = yaml.safe_load(only(RECEIVERS, "yaml", "slack-manifest").text)
    scopes = manifest["oauth_config"]["scopes"]
    assert scopes == {"bot": ["chat:write", "channels:history", "groups:history"]}
    assert [scope for scope in scopes["bot"] if f"`{scope}`" not in (slack_bot.__doc__ or "")] == []


def amtool() -> str | None:
    unpacked = ROOT / ".venv" / "tools" / "usr" / "bin" / "amtool"
    return shutil.which("amtool") or (str(unpacked) if unpacked.exists() else None)


@pytest.mark.skipif(amtool() is None, reason="amtool is not here: .ci/alertmanager fetches it")
def test_alertmanagers_side_of_the_watchdog_is_accepted_by_its_own_check(tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yaml"
    file.write_text(only(ROUTING, "yaml", "alertmanager").text, encoding="utf-8")
    done = subprocess.run(
        [str(amtool()), "check-config", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


# --- commands -------------------------------------------------------------------------------------------


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """What is typed, and the lines that are shown below it."""
    for block in blocks(page, "console"):
        for piece in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, *shown = piece.splitlines()
            yield command, shown


def test_commands_do_what_is_shown(tmp_path: Path) -> None:
    desk, alerts = written(tmp_path, EXAMPLE), dict[str, str]()
    with open_store(tmp_path / "store.db") as store, store.write() as tx:
        tx.commit(_missed_call())
    for command, shown in commands(ROUTING):
        if command.startswith("cometwatch ") and shown:
            done = desk(*shlex.split(command)[1:])
            assert done.exit_code == 0, f"{command}\n{done.output}"
            compare(shown, done.stdout.splitlines(), alerts)


def _missed_call() -> Commit:
    alert = replace(an_alert(ALERT), title="Missed audio call from Ben to Anna")
    return Commit(findings=(Finding(alert=alert, routes=to("oncall")),))


@pytest.mark.parametrize("page", [RECEIVERS, ROUTING], ids=lambda page: page.name)
def test_every_command_exists_with_its_options(page: Path) -> None:
    typed = [command for command, _ in commands(page)]
    ours = [shlex.split(command)[1:] for command in typed if command.startswith("cometwatch ")]
    assert ours
    assert [(words, said) for words in ours if (said := problem(words))] == []


async def test_requests_over_http_are_answered() -> None:
    requests = [command for command, _ in commands(ROUTING) if command.startswith("curl ") and API in command]
    with in_memory() as store:
        with store.write() as tx:
            tx.commit(found(ALERT))
        async with asking(store, writes(store), token=None) as client:
            statuses = [(await _asked(client, command)).status_code for command in requests]
    assert statuses == [200, 200, 200, 201, 200, 201, 200]


async def _asked(client: httpx.AsyncClient, command: str) -> httpx.Response:
    """What curl would be answered."""
    words = iter(shlex.split(command.replace("$AUTH", f"Authorization: Bearer {TOKEN}"))[1:])
    method, url, headers, body = "GET", "", dict[str, str](), None
    for word in words:
        match word:
            case "-sS":
                continue
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d":
                body = next(words)
                method = "POST"
            case "-X":
                method = next(words)
            case _:
                url = word.removeprefix(API)
    return await client.request(method, url, headers=headers, content=body)


# --- what else is named -------------------------------------------------------------------------------


def test_what_differs_from_alertmanager_is_what_was_found_to_differ() -> None:
    text = ROUTING.read_text(encoding="utf-8")
    differ = sum(scene.differs is not None for scene in SCENES)
    assert f"Of {len(SCENES)} scenes {len(SCENES) - differ} go\nalike" in text
    table = text.partition("| where | Alertmanager | here |")[2].partition("\n\n")[0]
    assert table.count("\n| ") - 1 == differ


@pytest.mark.parametrize("page", [RECEIVERS, ROUTING], ids=lambda page: page.name)
def test_metrics_that_are_named_exist(page: Path) -> None:
    known = {one.name for one in Metrics(CollectorRegistry()).catalogue()}
    assert set(re.findall(r"`(cometwatch_\w+)", page.read_text(encoding="utf-8"))) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_documents_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not leads(page, *link)] == []


def leads(page: Path, path: str, anchor: str) -> bool:
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


def anchors(page: Path) -> Sequence[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize(
    ("link", "leads_there"),
    [(("ROUTING.md", "heartbeats"), True), (("ROUTING.md", "hartbeats"), False), (("ROUTES.md", ""), False)],
)
def test_a_link_that_leads_nowhere_is_noticed(link: tuple[str, str], leads_there: Any) -> None:
    assert partial(leads, RECEIVERS)(*link) is leads_there
