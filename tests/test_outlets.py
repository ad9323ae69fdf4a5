"""Every protocol from its settings to the wire: secrets in files, exchanged while we run, shown nowhere."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import httpx
import pytest
import structlog.testing
import trio

from monitor.clock import virtual
from monitor.delivery.outbox import attempt
from monitor.delivery.sinks import SINKS
from monitor.outlets import Outlets, receiver_of
from monitor.settings import Settings, known_secrets, load, redacted
from tests.delivery.cases import START, Hook, contract, echo
from tests.delivery.samples import a_notification

# The protocol's settings, and what its secret files hold: before an exchange, and after.
Files = Mapping[str, tuple[str, str]]
KEYS: Final = ("whsec_" + "QUFB" * 8, "whsec_" + "QkJC" * 8)
EVERY: Final[Mapping[str, tuple[str, Files]]] = {
    "alertmanager": (
        "alertmanager: {urls: ['http://am.example:9093'], token_file: token}",
        {"token": ("amSecretOne", "amSecretTwo")},
    ),
    "alertmanager with a password": (
        "alertmanager: {urls: ['http://am.example:9093'], username: u, password_file: password}",
        {"password": ("amPassOne", "amPassTwo")},
    ),
    "discord": (
        "discord: {webhook_url_file: url}",
        {"url": ("https://discord.example/api/secretOne", "https://discord.example/api/secretTwo")},
    ),
    "jsm": ("jsm: {api_key_file: key}", {"key": ("jsmSecretOne", "jsmSecretTwo")}),
    "pagerduty": (
        "pagerduty: {routing_key_file: key}",
        {"key": ("a" * 32, "b" * 32)},
    ),
    "slack": (
        "slack: {webhook_url_file: url}",
        {"url": ("https://hooks.example/services/secretOne", "https://hooks.example/services/secretTwo")},
    ),
    "slack_bot": (
        "slack: {token_file: token, channel: C0ALERTS}",
        {"token": ("xoxb-secretOne", "xoxb-secretTwo")},
    ),
    "teams": (
        "teams: {webhook_url_file: url}",
        {"url": ("https://teams.example/?sig=secretOne", "https://teams.example/?sig=secretTwo")},
    ),
    "telegram": (
        "telegram: {token_file: token, chat_id: '-100'}",
        {"token": ("1:secretOne", "1:secretTwo")},
    ),
    "webhook": (
        "webhook: {url_file: url, secret_file: key, header_files: {Authorization: token}}",
        {
            "url": ("https://hooks.example/pathSecretOne", "https://hooks.example/pathSecretTwo"),
            "key": KEYS,
            "token": ("Bearer hookSecretOne", "Bearer hookSecretTwo"),
        },
    ),
}
every_protocol = pytest.mark.parametrize("protocol", EVERY)
every_file = pytest.mark.parametrize(
    ("protocol", "file"), [(protocol, file) for protocol, (_, files) in EVERY.items() for file in files]
)


def sink_of(protocol: str) -> str:
    return protocol.partition(" ")[0]


def test_every_protocol_with_secrets_is_here() -> None:
    elsewhere = {"apprise", "console"}  # no HTTP of ours; no secret
    assert {sink_of(protocol) for protocol in EVERY} == SINKS.keys() - elsewhere


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings_of(protocol: str, here: Path) -> Settings:
    text, files = EVERY[protocol]
    for name, (first, _) in files.items():
        (here / name).write_text(f"{first}\n")
    (here / "config.yaml").write_text(
        f"api: {{app_id: '275211', region: us, api_key: k}}\n"
        f"watch: {{users: [superhero2]}}\n"
        f"receivers: [{{name: r, {text}}}]\n"
        f"routes: [{{receivers: [r]}}]\n"
    )
    return load(here / "config.yaml", {})


async def wire(outlets: Outlets, hook: Hook, settings: Settings) -> tuple[str, str]:
    """What went over the wire in one send, and what was told of it."""
    (receiver,) = settings.receivers
    hook.requests.clear()
    with structlog.testing.capture_logs() as lines:
        settlement = await attempt(
            outlets.sink(receiver, app="275211"), receiver_of(receiver), a_notification()
        )
    seen = [f"{request.url} {dict(request.headers)} {request.content!r}" for request in hook.requests]
    return "\n".join(seen), f"{settlement!r} {lines!r}"


@every_file
async def test_a_secret_file_is_exchanged_without_a_restart(
    protocol: str, file: str, here: Path, autojump_clock: trio.testing.MockClock
) -> None:
    hook = Hook(contract(sink_of(protocol)).accepts)
    settings = settings_of(protocol, here)
    outlets = Outlets(stream=io.StringIO(), clock=virtual(START), transport=httpx.MockTransport(hook))
    async with outlets:
        before, _ = await wire(outlets, hook, settings)
        again, _ = await wire(outlets, hook, settings)
        (here / file).write_text(EVERY[protocol][1][file][1])
        after, told = await wire(outlets, hook, settings)
    assert before == again != after
    assert "Delivered" in told


@every_protocol
async def test_a_receiver_that_repeats_everything_learns_us_nothing_to_tell(
    protocol: str, here: Path
) -> None:
    """It answers with the whole request. No secret of the settings is in the reason or in the log."""
    hook = Hook(echo)
    settings = settings_of(protocol, here)
    outlets = Outlets(stream=io.StringIO(), clock=virtual(START), transport=httpx.MockTransport(hook))
    async with outlets:
        _, told = await wire(outlets, hook, settings)
    secrets = [secret for pair in EVERY[protocol][1].values() for secret in pair]
    parts = [secret.removeprefix("whsec_").removeprefix("Bearer ") for secret in secrets]
    assert not [part for part in parts if part in told]
    assert ".example" not in told


@every_protocol
def test_settings_are_printed_without_their_secrets(protocol: str, here: Path) -> None:
    settings = settings_of(protocol, here)
    shown = json.dumps(redacted(settings)) + repr(settings)
    known = known_secrets(settings)
    for first, _ in EVERY[protocol][1].values():
        assert first in known
        assert first not in shown


@every_file
async def test_a_file_that_is_missing_for_a_while_costs_nothing_but_time(
    protocol: str, file: str, here: Path
) -> None:
    hook = Hook(contract(sink_of(protocol)).accepts)
    settings = settings_of(protocol, here)
    (here / file).unlink()
    outlets = Outlets(stream=io.StringIO(), clock=virtual(START), transport=httpx.MockTransport(hook))
    async with outlets:
        _, told = await wire(outlets, hook, settings)
    assert "RetryAfter" in told
    assert "can't read" in told
    assert f"/{file}: No such file" in told
    assert hook.requests == []
