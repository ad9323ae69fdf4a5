"""Alerts to send: a missed call and an attachment as the packs find them, and any alert at all."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import strategies as st

from monitor.store.values import EntryId, Kind, Notification, NotificationId, Waiting
from rules.model import (
    Alert,
    AlertId,
    Attachment,
    Call,
    Message,
    MessageId,
    Party,
    RuleName,
    Severity,
    Status,
    UserId,
)

NOW = datetime(2026, 11, 22, 8, 2, tzinfo=UTC)
RANG_AT = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
TEXT = "the vault code is 4711, tell nobody"
MEDIA_URL = "https://data-us.example/media/photo.jpeg?Expires=1&Signature=s3cr3tsignature"
CAP = Party(id="superhero2", name="Captain America")
SPIDER = Party(id="superhero3", name="Spiderman")


def a_call() -> Message:
    return Message(
        id=MessageId(1777),
        conversation_id="superhero2_user_superhero3",
        sender=CAP,
        receiver=SPIDER,
        receiver_type="user",
        category="call",
        type="audio",
        action="unanswered",
        sent_at=RANG_AT,
        call=Call(session_id="v1.us.1", status="unanswered", caller=CAP, callee=SPIDER),
    )


def a_photo(text: str | None = TEXT) -> Message:
    return Message(
        id=MessageId(1800),
        conversation_id="superhero2_user_superhero3",
        sender=CAP,
        receiver=SPIDER,
        receiver_type="user",
        category="message",
        type="image",
        sent_at=RANG_AT,
        text=text,
        attachments=(
            Attachment(
                name="photo.jpeg", extension="jpeg", mime_type="image/jpeg", size=48_213, url=MEDIA_URL
            ),
        ),
        mentions=("superhero3",),
        metadata={"internal": "note"},
    )


def an_alert(**changes: Any) -> Alert:
    """A missed call, found two minutes after it rang."""
    alert = Alert(
        id=AlertId("a" * 32),
        rule=RuleName("missed-call"),
        key="v1.us.1",
        status=Status.FIRING,
        severity=Severity.WARNING,
        title="Missed call from Captain America",
        summary="Captain America (superhero2) called Spiderman (superhero3), who did not answer.",
        conversation_id="superhero2_user_superhero3",
        event_at=RANG_AT,
        first_seen_at=RANG_AT + timedelta(seconds=3),
        watched_users=(UserId("superhero3"),),
        labels={"team": "payments"},
        annotations={"link": "https://support.example/superhero2_user_superhero3"},
        messages=(a_call(),),
    )
    return msgspec.structs.replace(alert, **changes)


def a_photo_alert(**changes: Any) -> Alert:
    return an_alert(
        **{
            "rule": RuleName("attachment"),
            "key": "1800",
            "severity": Severity.INFO,
            "title": "Captain America sent an image",
            "summary": "",
            "messages": (a_photo(),),
            **changes,
        }
    )


def a_notification(*alerts: Alert, **changes: Any) -> Notification:
    told = alerts or (an_alert(),)
    notification = Notification(
        id=NotificationId("n" * 32),
        receiver="oncall",
        kind=Kind.ALERTS,
        status=told[0].status,
        alerts=told,
        created_at=RANG_AT + timedelta(seconds=4),
    )
    return msgspec.structs.replace(notification, **changes)


def an_entry(
    number: int, *, late: bool = False, is_over: bool = False, waits_s: float = 0, **changes: Any
) -> Waiting:
    """Outbox row `number`, made `waits_s` before NOW."""
    alert = an_alert(**{"id": AlertId(f"{number:032x}"), **changes})
    return Waiting(
        id=EntryId(number),
        status=alert.status,
        late=late,
        created_at=NOW - timedelta(seconds=waits_s),
        size=len(msgspec.json.encode(alert)),
        severity=alert.severity,
        is_over=is_over,
        lasts=alert.lasts,
    )


def golden(name: str) -> Any:
    """What a payload was when it was last looked at by a person: `golden/<name>.json`."""
    return json.loads((Path(__file__).parent / "golden" / f"{name}.json").read_text("utf-8"))


# --- anything a chat could hold ---------------------------------------------------------------------

HOSTILE = (
    *("<!channel>", "<!here|x>", "<@U123>", "<https://evil.example|bank>", "@here", "@Everyone", "&lt;"),
    *("```", "`x`", "*bold*", "_it_", "~gone~", "> quoted", ":rotating_light:", "\u202ereversed", "a\u200bb"),
    *(
        "line\r\nbreak",
        "\x1b[31mred\x07",
        "\ud800",
        "\u2028",
        "{{7*7}}",
        "%s",
        "[red]",
        "https://evil.example",
    ),
)
texts = st.one_of(
    st.text(max_size=80),
    st.text(st.characters(), max_size=60),  # every code point, unpaired surrogates too
    st.lists(st.sampled_from(HOSTILE), max_size=5).map(" ".join),
    st.sampled_from(["<&>" * 2000, "😀" * 2000, "@here " * 1000, "x" * 30_000, "\u0301" * 500]),
)
times = st.integers(946_684_800, 4_102_444_800).map(lambda s: datetime.fromtimestamp(s, UTC))
parties = st.builds(Party, id=texts, name=st.none() | texts)
files = st.builds(
    Attachment,
    name=st.none() | texts,
    extension=st.none() | texts,
    mime_type=st.none() | texts,
    size=st.none() | st.integers(0, 10**12),
    url=st.none() | texts | st.just("https://files.example/" + "s" * 1500),
)
calls = st.builds(Call, session_id=texts, status=texts, caller=parties, callee=parties)
messages = st.builds(
    Message,
    id=st.integers(1, 10**12),
    conversation_id=texts,
    sender=parties,
    receiver=parties,
    receiver_type=st.sampled_from(["user", "group"]) | texts,
    category=texts,
    type=texts,
    action=st.none() | texts,
    sent_at=times,
    text=st.none() | texts,
    attachments=st.lists(files, max_size=8).map(tuple),
    mentions=st.lists(texts, max_size=12).map(tuple),
    mentions_all=st.booleans(),
    call=st.none() | calls,
)
word_maps = st.dictionaries(texts, texts, max_size=3)
alerts = st.builds(
    Alert,
    id=st.text("0123456789abcdef", min_size=32, max_size=32),
    rule=texts,
    key=texts,
    status=st.sampled_from(Status),
    severity=st.sampled_from(Severity),
    title=texts,
    summary=texts,
    conversation_id=texts,
    event_at=times,
    first_seen_at=times,
    watched_users=st.lists(texts, max_size=8).map(tuple),
    labels=word_maps,
    annotations=st.dictionaries(
        st.sampled_from(["link", "runbook_url", "runbook"]) | texts,
        texts | st.just("https://runbooks.example/" + "&" * 1000),
        max_size=4,
    ),
    messages=st.lists(messages, max_size=3).map(tuple),
    resolution=st.none() | texts,
)
notifications = st.builds(
    Notification,
    id=st.text("0123456789abcdef", min_size=32, max_size=32),
    receiver=texts,
    kind=st.sampled_from(Kind),
    status=st.sampled_from(Status),
    alerts=st.lists(alerts, min_size=1, max_size=4).map(tuple),
    created_at=times,
    attempts=st.integers(0, 70),
)
