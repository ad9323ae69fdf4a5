"""The judge of what lasts must see every broken promise: a clean record, and one thing of it spoiled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.crash.judge import Stored, StoredEntry, Wrong
from tests.crash.lasting import DOWN_S, ESCALATE_S, SENT_S, Heard, judge
from tests.crash.receivers import Asserted, Fate
from tests.delivery.slack_api import Message


def entry(alert: str, status: str, receiver: str, at: float, **more: Any) -> StoredEntry:
    facts = {"state": "delivered", "notification": f"{receiver} {alert} {status}", **more}
    return StoredEntry(alert=alert, status=status, receiver=receiver, created_at=at, **facts)


def message(ts: int, bot: str, subject: str, notification: str, **more: Any) -> Message:
    mark = {"receiver": bot, "subject": subject, "notification": notification}
    blocks = [{"type": "header", "text": {"text": more.pop("title", "✅ RESOLVED: a flood")}}]
    metadata = {"event_type": "cometwatch_alert", "event_payload": mark}
    return Message(ts=f"{ts}.000001", text="", blocks=blocks, metadata=metadata, **more)


STORED = Stored(
    alerts={"a1": 10.0, "a2": 11.0},
    entries=(
        entry("a1", "firing", "bot", 10),
        entry("a1", "resolved", "bot", 40),
        entry("a1", "firing", "room", 10, subject="g1"),
        entry("a1", "firing", "am", 10),
        entry("a1", "resolved", "am", 40),
        entry("a1", "firing", "lead", 10 + ESCALATE_S),
        entry("a2", "firing", "hook", 11),
    ),
    tallies={},
    rejects=(),
    left={},
    rules={"a1": "flood", "a2": "mention"},
    acks={"a1": 30.0},
)
ROOT = message(10, "bot", "a1", "bot a1 firing")
END = message(40, "bot", "a1", "bot a1 resolved", thread_ts=ROOT.ts)
AGAIN = message(25, "bot", "a1", "a repeat", thread_ts=ROOT.ts)
GROUP = message(11, "room", "g1", "room a1 firing")
FIRES = Asserted(at=11.0, alert="a1", ends_at=300.0, fate=Fate.ACCEPTED)
OVER = Asserted(at=41.0, alert="a1", ends_at=40.0, fate=Fate.DOUBTFUL)
HEARD = Heard(messages=(ROOT, AGAIN, END, GROUP), asserted=(FIRES, OVER), acknowledged={"a1": 30.0})


def wrongs(stored: Stored = STORED, **heard: Any) -> set[Wrong]:
    return {violation.wrong for violation in judge(stored, replace(HEARD, **heard))}


def test_a_clean_record_is_clean() -> None:
    assert wrongs() == set()


def test_an_alert_or_group_has_one_message_for_each_bot() -> None:
    assert wrongs(messages=(ROOT, AGAIN, END)) == {Wrong.LOST}
    assert wrongs(messages=(*HEARD.messages, message(50, "room", "g1", "other"))) == {Wrong.TWICE}
    assert wrongs(messages=(*HEARD.messages, message(50, "bot", "g1", "other"))) == {Wrong.INVENTED}


def test_what_is_told_later_stands_in_the_thread_once() -> None:
    assert wrongs(messages=(ROOT, AGAIN, GROUP)) == {Wrong.LOST}
    assert wrongs(messages=(*HEARD.messages, END)) == {Wrong.TWICE}
    assert wrongs(messages=(*HEARD.messages, AGAIN)) == {Wrong.TWICE}


def test_what_is_over_is_not_shown_as_firing() -> None:
    stale = message(10, "bot", "a1", "bot a1 firing", title="🟠 WARNING: a flood")
    assert wrongs(messages=(stale, AGAIN, END, GROUP)) == {Wrong.STALE}


@pytest.mark.parametrize(
    ("asserted", "wrong"),
    [
        ((OVER,), Wrong.LOST),
        ((replace(FIRES, fate=Fate.REFUSED), OVER), Wrong.LOST),
        ((FIRES,), Wrong.STALE),
        ((FIRES, OVER, replace(FIRES, at=42.0)), Wrong.STALE),
        ((FIRES, OVER, replace(FIRES, alert="a9")), Wrong.INVENTED),
    ],
)
def test_alertmanager_is_told_of_the_beginning_and_lastly_of_the_end(
    asserted: tuple[Asserted, ...], wrong: Wrong
) -> None:
    assert wrongs(asserted=asserted) == {wrong}


def test_a_confirmed_acknowledgement_is_stored_and_ends_repeats() -> None:
    assert wrongs(acknowledged={"a1": 25.0 - SENT_S - 1}) == {Wrong.STALE}
    assert wrongs(acknowledged={"a7": 30.0}) == {Wrong.LOST}


def test_who_comes_next_is_told_of_what_nobody_has_and_of_nothing_else() -> None:
    without = tuple(one for one in STORED.entries if one.receiver != "lead")
    late = replace(STORED, entries=without, acks={"a1": 10 + ESCALATE_S + DOWN_S + 1})
    assert wrongs(late) == {Wrong.UNHEARD}
    assert wrongs(replace(STORED, entries=without, acks={"a1": 10 + ESCALATE_S})) == set()
    assert wrongs(replace(STORED, acks={"a1": 10 + ESCALATE_S - 1})) == {Wrong.UNHEARD}
    early = (*without, entry("a1", "firing", "lead", 10 + ESCALATE_S - 1))
    assert wrongs(replace(STORED, entries=early)) == {Wrong.UNHEARD}
