"""Teams, Discord and Telegram: where they are asked, and what a tired operator reads when they say no."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from monitor.delivery.sinks import Refused, RetryAfter
from monitor.delivery.sinks.discord import address
from monitor.delivery.sinks.telegram import bot_token
from monitor.errors import ConfigError
from monitor.store.values import Change
from rules.model import Party
from tests.delivery.cases import Hook, contract, notifications, says
from tests.delivery.contracts.telegram import TOKEN
from tests.delivery.samples import a_call, a_notification, an_alert

TOLD = notifications()


REASONS = {
    ("discord", "200 log-in page"): "Discord answered 200, but not as Discord does",
    ("discord", "400 form"): "Discord answered 400: the message can't be used as it is",
    ("discord", "401"): "Discord answered 401: it does not accept the webhook's token",
    ("discord", "404 webhook"): "Discord answered 404: unknown webhook; "
    "make a new one in the channel's settings, then redrive its dead letters",
    ("discord", "429 seconds"): "Discord answered 429: it is rate limited",
    ("discord", "503 seconds"): "Discord answered 503",
    ("teams", "200 log-in page"): "Teams answered 200, but not as Teams does",
    (
        "teams",
        "200 connector failed",
    ): "Teams answered 200, but not as Teams does: it could not deliver the card",
    ("teams", "400 turned off"): "Teams answered 400: the flow is turned off; "
    "turn it on, then redrive its dead letters",
    ("teams", "401 signature"): "Teams answered 401: it does not accept the URL's signature; "
    "copy the URL anew from the flow",
    ("teams", "413"): "Teams answered 413: the card is too large for it",
    ("telegram", "200 log-in page"): "Telegram answered 200, but not as Telegram does",
    ("telegram", "400 chat not found"): "Telegram answered 400: chat not found",
    (
        "telegram",
        "401 token",
    ): "Telegram answered 401: it does not accept the token; @BotFather gives a new one",
    ("telegram", "403 blocked"): "Telegram answered 403: bot was blocked by the user",
    ("telegram", "429 in the body"): "Telegram answered 429: it is rate limited",
}


@pytest.mark.parametrize(("name", "what"), REASONS)
async def test_every_reason_is_a_sentence_for_a_person(name: str, what: str) -> None:
    settlement = await Hook(contract(name).cases()[what].answer).sink(contract(name)).send(a_notification())
    assert isinstance(settlement, RetryAfter | Refused)
    assert settlement.reason == REASONS[name, what]


@pytest.mark.parametrize(
    ("url", "receipt", "asked"),
    [
        ("https://d.example/api/webhooks/1/t", None, "https://d.example/api/webhooks/1/t?wait=true"),
        ("https://d.example/api/webhooks/1/t/", "77", "https://d.example/api/webhooks/1/t/messages/77"),
        ("https://d.example/w?thread_id=5", None, "https://d.example/w?thread_id=5&wait=true"),
        ("https://d.example/w?wait=false&thread_id=5", "77", "https://d.example/w/messages/77?thread_id=5"),
        ("https://d.example/w?wait=false#x", None, "https://d.example/w?wait=true"),
    ],
)
def test_where_discord_is_asked(url: str, receipt: str | None, asked: str) -> None:
    assert address(url, receipt) == asked


async def test_where_telegram_is_asked() -> None:
    hook = Hook(says(200, {"ok": True, "result": {"message_id": 7, "chat": {"id": -100123}}}))
    sink = hook.sink(contract("telegram"), url="https://telegram.example/")
    await sink.send(a_notification())
    await sink.send(a_notification(change=Change.UPDATE, receipts={an_alert().id: "-100123/7"}))
    posted, edited = hook.requests
    assert str(posted.url) == f"https://telegram.example/bot{TOKEN}/sendMessage"
    assert str(edited.url) == f"https://telegram.example/bot{TOKEN}/editMessageText"
    assert _asked(posted)["chat_id"] == "-100123"
    assert {"chat_id": -100123, "message_id": 7}.items() <= _asked(edited).items()
    assert _asked(posted)["link_preview_options"] == {"is_disabled": True}


def _asked(request: httpx.Request) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(request.content)
    return told


@pytest.mark.parametrize("said", ["123:AAE_x-y", " 123:AAE_x-y\n"])
def test_a_token_may_have_blanks_around(said: str) -> None:
    assert bot_token(said) == "123:AAE_x-y"


@pytest.mark.parametrize("said", ["", "bot123:AAE", "123", "123:A/../getMe", "123:A?x", "١٢٣:AAE", "1:é"])
def test_what_is_no_token_never_becomes_part_of_an_address(said: str) -> None:
    with pytest.raises(ConfigError, match="@BotFather") as raised:
        bot_token(said)
    assert len(said) < 4 or said not in str(raised.value)


async def test_a_teams_card_that_would_be_too_large_is_cut_with_a_word() -> None:
    hook = Hook(contract("teams").accepts)
    long = [Party(id="界" * 300, name="界" * 300)] * 2
    call = replace(a_call(), sender=long[0], receiver=long[1], call=None)
    many = [an_alert(title="界" * 300, summary="界" * 900, key=str(n), messages=(call,)) for n in range(3)]
    await hook.sink(contract("teams")).send(a_notification(*many))
    card = _asked(hook.requests[0])["attachments"][0]["content"]
    assert len(json.dumps(json.dumps(card))) <= 28_000
    assert card["body"][-1]["inlines"][0]["text"] == "… more than a message can hold"


async def test_discord_is_asked_for_silence_when_a_change_is_posted() -> None:
    hook = Hook(contract("discord").accepts)
    sink = hook.sink(contract("discord"))
    await sink.send(TOLD["acknowledged"])
    await sink.send(TOLD["one"])
    quiet, loud = (_asked(request) for request in hook.requests)
    assert quiet["flags"] == 1 << 12
    assert "flags" not in loud
