"""What people are told, whatever stands in an alert: within limits, readable, and nothing in it alive."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from monitor.delivery.render import apprise, discord, teams, telegram, text, words
from monitor.store.values import Ack, Change, Group, Kind, Notification, Opened, Timing
from rules.model import Status
from tests.delivery import samples
from tests.delivery.cases import NOTE, notifications
from tests.delivery.chats import TelegramHtml, discord_faults, telegram_fault
from tests.delivery.samples import a_notification, an_alert, golden

TOLD = notifications()


@st.composite
def anything(draw: st.DrawFn) -> Notification:
    """Any notification, with all that can be told beside its alerts."""
    told: Notification = draw(samples.notifications)
    labels = draw(samples.word_maps)
    at = told.created_at
    opened = Opened(
        receiver=told.receiver,
        group=Group(key="k", labels=labels),
        timing=Timing(),
        subject="s",
        anchor_at=at,
    )
    first = told.alerts[0].id
    return replace(
        told,
        change=draw(st.sampled_from(Change)),
        opened=opened if told.kind is Kind.GROUP else None,
        others=tuple(draw(st.lists(samples.alerts, max_size=2))) if told.kind is Kind.GROUP else (),
        acks=draw(
            st.just({}) | samples.texts.map(lambda by: {first: Ack(alert=first, by=by, at=at, comment=by)})
        ),
        notes=draw(st.just({}) | samples.texts.map(lambda note: {first: note})),
        summed_before=draw(st.integers(0, 3)),
        is_sample=draw(st.booleans()),
    )


pages = anything().flatmap(lambda told: st.sampled_from([text.page(told), text.follow_up(told)]))
any_page = given(pages)
calmly = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@calmly
@any_page
def test_all_text_is_visible_lines_of_bounded_length(page: text.Page) -> None:
    lines = [page.title, *text.plain(page, 10**6).split("\n")]
    assert lines[0].strip()
    assert all(words.plain(line, 3000) == line.strip() for line in lines)
    assert text.length(text.plain(page, 500)) <= 500


@calmly
@any_page
def test_discord_takes_it(page: text.Page) -> None:
    for is_loud in (True, False):
        assert discord_faults(discord.payload(page, is_loud=is_loud)) == []
        assert discord_faults(discord.bare(page, is_loud=is_loud)) == []


@calmly
@any_page
def test_nothing_in_discord_comes_to_life(page: text.Page) -> None:
    payload = discord.payload(page)
    said = [payload["content"].removeprefix("**").removesuffix("**")]
    for embed in payload["embeds"]:
        said += [embed.get("title", ""), *(field["value"] for field in embed.get("fields", []))]
        said += embed.get("description", "").split("\n")
    ours = re.compile(
        r"^> |^\[[A-Z][a-z ]+\]\(https?://[^\s()<>]+\)$|^\*\*|\*\*$|`cometwatch [^`]*`|<t:-?\d+:R>"
    )
    for line in said:
        left = re.sub(r"\\.", "", ours.sub("", line))
        assert not re.search(r"[*_~`|<>\[\]#]|://", left), line


@calmly
@any_page
def test_telegram_takes_it(page: text.Page) -> None:
    assert telegram_fault({"text": telegram.message(page), "parse_mode": "HTML"}) is None
    assert telegram_fault({"text": telegram.bare(page)}) is None


@calmly
@any_page
def test_nothing_in_telegram_comes_to_life(page: text.Page) -> None:
    html = TelegramHtml()
    html.feed(telegram.message(page))
    html.close()
    for said in (html.plain, telegram.bare(page)):
        assert not re.search(r"@\w|://|\w\.[^\W\d_]{2}", said)
    assert all(words.web_url(link) for link in html.links)


@calmly
@any_page
def test_teams_takes_it(page: text.Page) -> None:
    payload = teams.payload(page)
    (attachment,) = payload["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert len(json.dumps(json.dumps(attachment["content"]))) <= 28_000
    body = attachment["content"]["body"]
    assert body
    assert [element for element in body if not is_card_element(element)] == []


def is_card_element(element: Any) -> bool:
    """Of the few that we use, as https://adaptivecards.io/explorer has them; none that reads markdown."""
    match element:
        case {"type": "RichTextBlock", "inlines": [*runs]}:
            return bool(runs) and all(is_run(run) for run in runs)
        case {"type": "Container", "style": "emphasis", "items": [*items]}:
            return all(is_card_element(inner) for inner in items)
        case {"type": "ActionSet", "actions": [*actions]}:
            return 0 < len(actions) <= 6 and all(
                set(action) == {"type", "title", "url"} and words.web_url(action["url"]) for action in actions
            )
    return False


def is_run(run: dict[str, Any]) -> bool:
    looks: dict[str, set[object]] = {
        "weight": {"Bolder"},
        "size": {"Small", "Medium"},
        "color": {"Attention", "Warning", "Accent", "Good"},
        "isSubtle": {True},
        "fontType": {"Monospace"},
    }
    named = {name: value for name, value in run.items() if name not in {"type", "text"}}
    is_text = run["type"] == "TextRun" and isinstance(run["text"], str) and bool(run["text"].strip())
    return is_text and all(value in looks[name] for name, value in named.items())


@calmly
@any_page
def test_apprise_calls_nobody(page: text.Page) -> None:
    said = f"{apprise.title(page)}\n{apprise.body(page)}"
    assert not re.search(r"@\w|<[@!#&]", said)
    assert len(apprise.body(page)) <= apprise.BODY


@pytest.mark.parametrize("what", sorted(TOLD))
def test_what_it_says(what: str) -> None:
    """As it was when a person last looked at it; 60 alerts are enough of a list."""
    page = text.page(TOLD[what])
    assert [page.title, *text.plain(page, 900).split("\n")] == golden("text")[what]


def test_a_follow_up_says_only_what_is_new() -> None:
    page = text.follow_up(TOLD["group"])
    assert page.title == "🔴 CRITICAL: 2 alerts · team=payments"
    (news,) = page.lists
    assert news.heading == "Firing (1)"
    assert "an image" in news.lines[0]


def test_the_worst_that_fires_comes_first() -> None:
    over = an_alert(status=Status.RESOLVED, resolution="called back")
    told = a_notification(over, an_alert(), kind=Kind.SUMMARY)
    lines = text.page(told).lists[1].lines
    assert [line[:1] for line in lines] == ["🟠", "✅"]


def test_more_than_a_list_holds_is_counted() -> None:
    lists = text.page(TOLD["group of many"]).lists
    assert [listed.heading for listed in lists] == ["And (37)", "Still firing (20)"]
    assert [listed.lines[-1] for listed in lists] == ["and 27 more", "and 10 more"]


def test_the_command_that_lists_the_rest_stands_before_what_may_be_cut() -> None:
    names = [f"rule-{n}-" + "x" * 150 for n in range(40)]
    told = a_notification(*(an_alert(rule=name, title=name) for name in names), kind=Kind.SUMMARY)
    page = text.page(told)
    command = "cometwatch outbox list --receiver oncall"
    shown = (
        telegram.message(page),
        json.dumps(discord.payload(page)),
        json.dumps(teams.payload(page)),
        apprise.body(page),
    )
    assert all(command in said for said in shown)
    assert telegram.message(page).endswith("…")


def test_a_note_is_read_before_anything_else() -> None:
    page = text.page(TOLD["noted"])
    assert text.plain(page, 500).startswith(f"☎️ {NOTE}\n")


@pytest.mark.parametrize("limit", range(1, 12))
def test_an_escape_is_never_cut_in_two(limit: int) -> None:
    said = discord.escaped("a*b_c😀d[e]" * 3, limit)
    assert text.length(said) <= limit
    assert not re.search(r"(?<!\\)(\\\\)*\\…?$", said)


def test_lines_are_cut_whole() -> None:
    assert text.fitted(["one", "two", "three"], 13) == "one\ntwo\nthree"
    assert text.fitted(["one", "two", "three"], 12) == "one\ntwo\n…"
    assert text.fitted(["😀😀", "x"], 5) == "…"


def test_a_bracket_in_a_link_does_not_end_it() -> None:
    alert = an_alert(annotations={"link": "https://support.example/a(b)c"})
    payload = discord.payload(text.page(a_notification(alert)))
    assert "](https://support.example/a%28b%29c)" in payload["embeds"][0]["description"]
