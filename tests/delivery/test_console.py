"""Alerts on a terminal: readable, and never forged by what people wrote."""

from __future__ import annotations

import io
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from inline_snapshot import snapshot

from monitor.clock import Clock
from monitor.delivery.render import console
from monitor.delivery.sinks.base import Delivered, RetryAfter
from monitor.delivery.sinks.console import ConsoleSink
from monitor.store.values import Ack, Change, Group, Kind, Notification, Opened, Timing
from monitor.store.writer import inline
from rules.model import Severity, Status
from tests.delivery.samples import NOW, a_notification, a_photo_alert, an_alert, notifications

OPENED = Opened(
    receiver="oncall",
    group=Group(key="1", labels={"team": "payments", "rule": "missed-call"}),
    timing=Timing(),
    subject="g1",
    anchor_at=NOW,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def a_sink(stream: Any) -> ConsoleSink:
    return ConsoleSink(stream=stream, clock=Clock(wall=lambda: NOW), run_sync=inline)


async def written(notification: Notification) -> str:
    stream = io.StringIO()
    assert await a_sink(stream).send(notification) == Delivered()
    return stream.getvalue()


async def test_one_readable_block_an_alert() -> None:
    text = await written(a_notification(an_alert(severity=Severity.CRITICAL), a_photo_alert()))
    assert text == snapshot("""\
🔴 CRITICAL  Missed call from Captain America
    when          2026-11-22 08:00:00 UTC (2 min ago)
    summary       Captain America (superhero2) called Spiderman (superhero3), who did not answer.
    watched       Spiderman (superhero3)
    call          audio call, unanswered: Captain America (superhero2) → Spiderman (superhero3)
    conversation  superhero2_user_superhero3
    link          https://support.example/superhero2_user_superhero3
    rule          missed-call
    alert         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa

🔵 INFO  Captain America sent an image
    when          2026-11-22 08:00:00 UTC (2 min ago)
    watched       Spiderman (superhero3)
    from          Captain America (superhero2)
    files         photo.jpeg (image/jpeg, 48 kB)
    text          the vault code is 4711, tell nobody
    conversation  superhero2_user_superhero3
    link          https://support.example/superhero2_user_superhero3
    rule          attachment
    alert         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa

""")


async def test_an_end_says_why() -> None:
    text = await written(a_notification(an_alert(status=Status.RESOLVED, resolution="answered later")))
    assert text.startswith("✅ RESOLVED  Missed call from Captain America\n")
    assert "answered later" in text


async def test_old_news_is_counted_and_the_command_lists_it() -> None:
    text = await written(a_notification(an_alert(), a_photo_alert(), kind=Kind.DIGEST))
    assert text == snapshot("""\
📋 2 alerts told late: old news, not a page
               missed-call: 1
               attachment: 1
    list them  cometwatch outbox list --receiver oncall

""")


async def test_a_group_is_told_with_its_others() -> None:
    told = a_notification(
        an_alert(),
        kind=Kind.GROUP,
        opened=OPENED,
        others=tuple(a_photo_alert(title=f"Photo {number}") for number in range(12)),
    )
    group, alert, _ = (await written(told)).split("\n\n")
    assert group.splitlines()[:3] == [
        "👥 rule=missed-call, team=payments: 1 of a group",
        "    still firing  🔵 Photo 0",
        "                  🔵 Photo 1",
    ]
    assert group.splitlines()[-1].strip() == "and 2 more"
    assert alert.startswith("🟠 WARNING  Missed call from Captain America\n")


async def test_why_it_comes_and_who_looks_after_it() -> None:
    alert = an_alert()
    told = a_notification(
        alert,
        notes={alert.id: "meant for oncall\nwhich takes nothing"},
        acks={alert.id: Ack(alert=alert.id, by="anna", at=NOW, comment="calling back")},
        change=Change.REPEAT,
    )
    first, note, looked_after, *_ = (await written(told)).splitlines()
    assert first == "🔁 still firing: 🟠 WARNING  Missed call from Captain America"
    assert note == "    note          meant for oncall which takes nothing"
    assert looked_after == "    looked after  by anna since 2026-11-22 08:02:00 UTC: calling back"


@pytest.mark.parametrize("kind", list(Kind))
async def test_a_sample_says_that_nothing_happened(kind: Kind) -> None:
    text = await written(a_notification(an_alert(), kind=kind, opened=OPENED, is_sample=True))
    assert text.startswith("SAMPLE, nothing happened: ")


async def test_a_terminal_gets_colours_and_brackets_are_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    await a_sink(stream).send(a_notification(an_alert(title="[red]hello[/red] \x1b[31m")))
    text = stream.getvalue()
    assert "\x1b[1;33m" in text  # bold yellow: a warning
    assert "[red]hello[/red]" in text
    assert "\x1b[31m" not in text


async def test_a_closed_stream_is_a_retry() -> None:
    stream = io.StringIO()
    stream.close()
    assert await a_sink(stream).send(a_notification()) == RetryAfter(
        reason="the console can't be written (ValueError)"
    )


@given(notifications)
def test_no_text_forges_a_line_or_moves_the_cursor(notification: Notification) -> None:
    for block in console.blocks(notification, now=NOW):
        text = console.text(block)
        assert text.count("\n") == len(block.facts) + 2
        assert not {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs"}} - {"\n"}
