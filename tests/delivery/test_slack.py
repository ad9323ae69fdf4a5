"""Slack's message: what people read, within Slack's limits."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from inline_snapshot import snapshot
from msgspec.structs import replace
from slack_sdk.models.blocks import Block

from monitor.delivery.render import slack
from monitor.delivery.render.block_kit import mrkdwn
from monitor.delivery.render.disclosure import disclose
from monitor.delivery.values import Receiver, TextPolicy
from monitor.store.values import Ack, Change, Group, Kind, Notification, Opened, Timing
from rules.model import Alert, AlertId, Party, RuleName, Severity, Status
from tests.delivery.samples import (
    HOSTILE,
    MEDIA_URL,
    NOW,
    TEXT,
    a_call,
    a_notification,
    a_photo,
    a_photo_alert,
    alerts,
    an_alert,
    golden,
    notifications,
    texts,
)


def rendered(*alerts: Alert, **changes: Any) -> dict[str, Any]:
    return slack.payload(a_notification(*alerts, **changes), now=NOW)


def text_objects(payload: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for block in payload["blocks"]:
        yield from (block["text"],) if "text" in block else ()
        yield from block.get("fields", ())
        yield from block.get("elements", ())


def shown(payload: dict[str, Any]) -> str:
    return "\n".join(found["text"] for found in text_objects(payload))


def length(text: str) -> int:
    """As browsers count: code units of UTF-16."""
    return len(text.encode("utf-16-le")) // 2


# --- golden -----------------------------------------------------------------------------------------


def test_a_missed_call_as_slack_gets_it() -> None:
    assert rendered(an_alert(severity=Severity.CRITICAL)) == golden("slack-missed-call")


def test_an_attachment_with_its_text_and_link_where_policy_lets_them_out() -> None:
    open_to_all = Receiver(name="oncall", text=TextPolicy.FULL, links=True)
    told = disclose(a_notification(a_photo_alert()), open_to_all)
    assert slack.payload(told, now=NOW) == golden("slack-attachment-full")


def test_a_summary_counts_and_says_how_to_list() -> None:
    alerts = [
        *(an_alert(id=AlertId(f"{n:032x}")) for n in range(30)),
        *(an_alert(id=AlertId(f"{n:032x}"), status=Status.RESOLVED) for n in range(2)),
        a_photo_alert(),
    ]
    assert rendered(*alerts, kind=Kind.SUMMARY) == golden("slack-summary")


def test_a_digest_says_that_it_is_old_news() -> None:
    payload = rendered(an_alert(), kind=Kind.DIGEST)
    assert payload["blocks"][0]["text"]["text"] == "🕰️ 1 alert told late: old news, not a page"
    assert payload["text"] == "1 alert told late: old news, not a page. missed-call: 1"


# --- what a person needs ----------------------------------------------------------------------------


def test_people_are_named_with_uid_and_the_time_is_absolute_and_relative() -> None:
    text = shown(rendered(an_alert()))
    assert "Captain America (superhero2) → Spiderman (superhero3)" in text
    assert "2026-11-22 08:00:00 UTC" in text
    assert "2 min ago" in text
    assert "<https://support.example/superhero2_user_superhero3|superhero2_user_superhero3>" in text


def test_severity_is_a_word_not_only_a_colour() -> None:
    heads = {s: rendered(an_alert(severity=s))["blocks"][0]["text"]["text"] for s in Severity}
    assert heads[Severity.CRITICAL].startswith("🔴 CRITICAL: ")
    assert heads[Severity.WARNING].startswith("🟠 WARNING: ")
    assert heads[Severity.INFO].startswith("🔵 INFO: ")


def test_an_end_says_why() -> None:
    payload = rendered(an_alert(status=Status.RESOLVED, resolution="answered on another device"))
    assert payload["blocks"][0]["text"]["text"].startswith("✅ RESOLVED: ")
    assert "*Why over:* answered on another device" in shown(payload)


def test_by_default_neither_text_nor_media_link_is_in_it() -> None:
    told = disclose(a_notification(a_photo_alert()), Receiver(name="oncall"))
    payload = json.dumps(slack.payload(told, now=NOW))
    assert "photo.jpeg" in payload
    assert TEXT not in payload
    assert "Signature" not in payload


def test_mention_tokens_read_as_names() -> None:
    text = "hi <@uid:superhero3> and <@all:all>, <@uid:nobody>"
    payload = rendered(a_photo_alert(messages=(a_photo(text),)))
    assert "“hi @Spiderman and @all, @nobody”" in shown(payload)


def test_of_several_messages_the_newest_is_shown_and_the_rest_counted() -> None:
    text = shown(rendered(an_alert(messages=(a_photo(None), a_call()))))
    assert "*Messages:* 2, the newest is shown" in text
    assert "photo.jpeg" in text


def test_a_runbook_is_a_link() -> None:
    runbook = "https://runbooks.example/missed?a=1&b=<2>"
    text = shown(rendered(an_alert(annotations={"runbook_url": runbook})))
    assert "*Runbook:* <https://runbooks.example/missed?a=1&amp;b=%3C2%3E|open>" in text


def test_an_alert_of_our_own_without_messages_has_its_facts() -> None:
    ours = an_alert(
        rule=RuleName("blind"), messages=(), watched_users=(), conversation_id="", annotations={}, labels={}
    )
    assert "rule blind · alert" in shown(rendered(ours))


def test_a_summary_names_the_largest_rules_and_accounts_for_the_rest() -> None:
    alerts = [an_alert(rule=RuleName(f"rule-{n:02}")) for n in range(25)]
    assert "5 more rules: 5" in shown(rendered(*alerts, kind=Kind.SUMMARY))


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "ftp://x.example/", "https://", "//x.example", "https://[", "x" * 5000]
)
def test_what_is_no_web_address_is_no_link(link: str) -> None:
    text = shown(rendered(an_alert(annotations={"link": link, "runbook_url": link})))
    assert "*Conversation:* superhero2_user_superhero3" in text
    assert "*Runbook:*" not in text


# --- groups, and why it comes -----------------------------------------------------------------------


def a_group(*alerts: Alert, **changes: Any) -> Notification:
    group = Group(key='1/{team="payments"}', labels={"team": "payments"})
    opened = Opened(receiver="oncall", group=group, timing=Timing(), subject="g" * 32, anchor_at=NOW)
    return a_notification(*alerts, **{"kind": Kind.GROUP, "opened": opened, **changes})


def numbered(number: int, **changes: Any) -> Alert:
    return an_alert(**{"id": AlertId(f"{number:x}" * 32), "title": f"Missed call {number}", **changes})


def test_a_group_says_what_is_new_what_is_over_and_what_still_fires() -> None:
    over = numbered(2, status=Status.RESOLVED, resolution="answered")
    others = (numbered(3, severity=Severity.CRITICAL), numbered(4))
    ack = Ack(alert=others[1].id, by="ann", at=NOW)
    told = a_group(numbered(1), over, others=others, acks={ack.alert: ack})
    payload = slack.payload(told, now=NOW)
    assert payload == golden("slack-group")


def test_a_follow_up_of_a_group_leaves_out_what_was_known() -> None:
    payload = slack.follow_up(a_group(numbered(1), others=(numbered(3),)), now=NOW)
    assert "Missed call 1" in shown(payload)
    assert "Missed call 3" not in shown(payload)


def test_a_repetition_of_a_group_names_all_that_fires() -> None:
    told = a_group(numbered(1), others=(numbered(3),), change=Change.REPEAT)
    payload = slack.follow_up(told, now=NOW)
    assert payload["text"].startswith("🔁 Still firing: 🟠 WARNING: 2 alerts · team=payments")
    assert shown(payload).startswith("*Still firing*\n")
    assert {"Missed call 1", "Missed call 3"} <= set(re.findall(r"Missed call \d", shown(payload)))


def test_a_large_group_names_ten_and_counts_the_rest() -> None:
    payload = slack.payload(a_group(*(numbered(n) for n in range(13))), now=NOW)
    assert payload["blocks"][0]["text"]["text"] == "🟠 WARNING: 13 alerts · team=payments"
    assert "… and 3 more" in shown(payload)


def test_why_it_comes_stands_on_top() -> None:
    note = "not acknowledged or resolved within 15 min; first sent to oncall"
    payload = rendered(an_alert(), notes={an_alert().id: note})
    assert payload["blocks"][1]["text"]["text"] == f"☎️ {note}"
    assert note in payload["text"]


def test_who_has_it_is_shown() -> None:
    ack = Ack(alert=an_alert().id, by="<!here> ann", at=NOW, comment="calling @here")
    text = shown(rendered(an_alert(), acks={ack.alert: ack}))
    assert "👀 <!here> ann has it, since 2026-11-22 08:02:00 UTC: calling @here" in text  # plain_text


def test_a_sample_says_that_it_is_one() -> None:
    payload = rendered(an_alert(), is_sample=True)
    assert payload["blocks"][0]["text"]["text"].startswith("SAMPLE: 🟠 WARNING: ")
    assert payload["blocks"][1]["text"]["text"] == "A sample, made to try the road: nothing happened."
    assert payload["text"].startswith("SAMPLE: ")


def test_a_repetition_through_a_webhook_says_that_it_is_one() -> None:
    payload = rendered(an_alert(), change=Change.REPEAT)
    assert payload["blocks"][0]["text"]["text"].startswith("🔁 Still firing: 🟠 WARNING: ")


def test_a_sum_names_the_worst_that_still_fire_first_and_says_that_the_storm_goes_on() -> None:
    alerts = [
        numbered(1, status=Status.RESOLVED, severity=Severity.CRITICAL),
        numbered(2, severity=Severity.INFO),
        numbered(3, severity=Severity.CRITICAL),
    ]
    text = shown(rendered(*alerts, kind=Kind.SUMMARY, summed_before=3))
    assert re.findall(r"Missed call (\d)", text) == ["3", "2", "1"]
    assert "`333333333333`" in text
    assert "The storm goes on: 3 such messages in the last 10 min" in text


# --- hostile text -----------------------------------------------------------------------------------

ENTITY = re.compile(r"&(?!amp;|lt;|gt;)")
PING = re.compile(r"@(here|channel|everyone|group)\b", re.IGNORECASE)
OURS = re.compile(
    r"<!date\^\d+\^\{date_short_pretty\} \{time_secs\}\|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC>"
    r"|<https?://[^<>|\s]+\|[^<>]*>"
)


def is_visible(character: str) -> bool:
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(texts, st.integers(1, 400))
@example(" ".join(HOSTILE), 400)
def test_mrkdwn_of_any_text_is_literal_and_short(text: str, limit: int) -> None:
    literal = mrkdwn(text, limit)
    assert length(literal) <= limit
    assert not set(literal) & set("<>`*~\n")
    assert not ENTITY.search(literal)
    assert not PING.search(literal)
    assert all(is_visible(character) for character in literal)


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("<!channel> & <@U1>", "&lt;!channel&gt; &amp; &lt;@U1&gt;"),
        ("@here @Channel ann@here.example", "＠here ＠Channel ann＠here.example"),
        ("`code` *bold* ~gone~", "ˋcodeˋ ∗bold∗ ∼gone∼"),
        ("_it_ a_user_b", "＿it＿ a_user_b"),
        (":rotating_light: 08:00:00", "꞉rotating_light: 08:00:00"),
        (">>> quoted", "› quoted"),
        ("a\nb\tc\x1b[31m\u202ed\u200be", "a b c[31mde"),
        ("\ud800x", "x"),
        ("é" + "\u0301" * 50, "é" + "\u0301" * 3),
        ("\u3164\u2800", ""),
    ],
)
def test_control_sequences_are_defused_and_ids_stay_readable(text: str, literal: str) -> None:
    assert mrkdwn(text, 200) == literal


def test_an_entity_is_never_cut_in_two() -> None:
    assert [mrkdwn("&" * 9, limit) for limit in (5, 6, 11, 46)] == [
        "…",
        "&amp;…",
        "&amp;&amp;…",
        "&amp;" * 9,
    ]


def test_a_name_cannot_ping_link_or_forge_a_line() -> None:
    evil = Party(id="e\nvil", name="<!here> *Severity:* `x` <https://evil.example|click>")
    message = replace(a_photo(None), sender=evil)
    payload = rendered(a_photo_alert(title="<!channel> from @here", messages=(message,)))
    fields = payload["blocks"][1]["fields"]
    sender = next(field["text"] for field in fields if field["text"].startswith("*From:*"))
    assert sender == snapshot(
        "*From:* &lt;!here&gt; ∗Severity:∗ ˋxˋ &lt;https://evil.example|click&gt; (e vil)"
    )
    assert "&lt;!channel&gt; from ＠here" in payload["text"]


# --- any alert at all -------------------------------------------------------------------------------


acks = st.builds(Ack, alert=st.just("a" * 32), by=texts, at=st.just(NOW), comment=texts)
timed = st.builds(Group, key=texts, labels=st.dictionaries(texts, texts, min_size=1, max_size=3)).map(
    lambda group: Opened(receiver="oncall", group=group, timing=Timing(), subject="g" * 32, anchor_at=NOW)
)


@st.composite
def tellings(draw: st.DrawFn) -> Notification:
    """Any notification with all that may come with it: a group and its others, notes, acknowledgements."""
    told = draw(notifications)
    others = draw(st.lists(alerts, max_size=12).map(tuple))
    named = [alert.id for alert in (*told.alerts, *others)]
    return replace(
        told,
        change=draw(st.sampled_from(Change)),
        opened=draw(timed) if told.kind is Kind.GROUP else None,
        others=others if told.kind is Kind.GROUP else (),
        notes=dict.fromkeys(named, draw(texts)) if draw(st.booleans()) else {},
        acks=dict.fromkeys(named, draw(acks)) if draw(st.booleans()) else {},
        is_sample=draw(st.booleans()),
    )


@given(tellings(), st.sampled_from([slack.payload, slack.follow_up]))
def test_any_notification_keeps_slacks_limits_and_its_own_counsel(
    notification: Notification, render: Callable[..., dict[str, Any]]
) -> None:
    payload = render(notification, now=NOW)
    json.dumps(payload, ensure_ascii=False).encode()  # no unpaired surrogate is left
    assert len(payload["blocks"]) <= 50
    assert 1 <= length(payload["text"]) <= 1000
    assert length(payload["text"]) + sum(length(o["text"]) for o in text_objects(payload)) < 12_000
    for found in text_objects(payload):
        check_text(found)
    for block in payload["blocks"]:
        check_limits(block)
    assert [b.to_dict() for b in Block.parse_all(payload["blocks"])] == payload["blocks"]


def check_text(found: dict[str, Any]) -> None:
    """Nothing in it but our own marks."""
    if found["type"] == "mrkdwn":
        assert found["verbatim"] is True
        rest = OURS.sub("", found["text"])
        assert "<" not in rest
        assert ">" not in rest
        assert not ENTITY.search(rest)
        assert not PING.search(rest)
    else:
        assert found["emoji"] is False
        assert all(is_visible(character) for character in found["text"])


def check_limits(block: dict[str, Any]) -> None:
    """Slack's own limits: https://docs.slack.dev/reference/block-kit/blocks."""
    match block["type"]:
        case "header":
            assert 1 <= length(block["text"]["text"]) <= 150
        case "section":
            assert len(block.get("fields", ())) <= 10
            assert all(1 <= length(field["text"]) <= 2000 for field in block.get("fields", ()))
            assert "text" not in block or 1 <= length(block["text"]["text"]) <= 3000
        case "context":
            assert 1 <= len(block["elements"]) <= 10
        case other:
            raise AssertionError(f"a block of type {other}")


def test_nothing_unfurls_and_no_name_is_looked_up() -> None:
    payload = rendered(an_alert())
    assert {key: payload[key] for key in ("parse", "link_names", "unfurl_links", "unfurl_media")} == {
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def test_a_media_link_is_shown_only_after_disclosure() -> None:
    allowed = disclose(a_notification(a_photo_alert()), Receiver(name="oncall", links=True))
    escaped = MEDIA_URL.replace("&", "&amp;")
    assert f"<{escaped}|open>" in shown(slack.payload(allowed, now=NOW))
