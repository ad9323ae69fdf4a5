"""Templates at their limits: lengths, forms of what they can name, and words for what they can't."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from rules.kinds.match import SAMPLE
from rules.model import Attachment, Call, Message, MessageId, Party
from rules.templates import (
    MAX_LINK,
    MAX_NAME,
    MAX_TEMPLATE,
    Template,
    TemplateError,
    call_facts,
    file,
    files_said,
    link_maker,
    message_facts,
    moment,
    person,
    plain,
    row,
    size,
    span,
)
from tests.rules.builders import ANN, BOB, NOON, a_message, in_group

FACTS = message_facts(SAMPLE, ("superhero3",))


def refused(text: str) -> str:
    with pytest.raises(TemplateError) as caught:
        Template(text, limit=200, sample=FACTS)
    return str(caught.value)


# --- what is refused, in words ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{% for a in tags %}{% endfor %}", "a template can't use for: only values, filters, comparisons"),
        ("{{ files | reverse }}", 'there is no filter "reverse"; there are capitalize, default, first'),
        ("{{ files | pprint | upper }}", 'there is no filter "pprint"; there are capitalize, default, first'),
        ("{{ 'a' is odd }}", 'there is no test "odd"; there are defined, undefined, none, in, eq'),
        ("{{ watched }}", "it does not render: a tuple is not text (a list becomes text by the filter join)"),
        ("{{ files | join }}", "it does not render: the filter join takes a list"),
        (
            "{{ sendr.id }}",
            'there is no "sendr" here (did you mean "sender"?); a template can name: sender, ',
        ),
        ("{{ '  ' }}", "it renders to an empty text"),
        ("x" * (MAX_TEMPLATE + 1), f"a template of {MAX_TEMPLATE + 1} characters, more than {MAX_TEMPLATE}"),
        ("{{", "not a template: "),
    ],
)
def test_why_a_template_is_refused(text: str, said: str) -> None:
    assert refused(text).startswith(said)


def test_a_template_may_be_so_long() -> None:
    assert Template("x" * MAX_TEMPLATE, limit=200, sample=FACTS)(FACTS) == "x" * 199 + "…"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ watched | first }}/{{ watched | last }}/{{ 'b' in watched }}", "superhero3/superhero3/False"),
        ("{{ 'abc' | capitalize }} {{ ' x ' | trim }} {{ 'AB' | lower }}", "Abc x ab"),
        ("{{ '7' | int }} {{ 1.25 | round(1) }}", "7 1.2"),
        ("{% if sender.id is defined and sender.id is string and 1 is number %}yes{% endif %}", "yes"),
        ("{% if 1 is lt 2 and 2 is le 2 and 3 is gt 2 %}a{% endif %}", "a"),
        ("{% if 3 is ge 3 and 1 is ne 2 and 1 is eq 1 and 'a' is in watched %}a{% else %}b{% endif %}", "b"),
        ("{% if not none is none %}a{% else %}b{% endif %}{{ 'x' if nothing is undefined }}", "bx"),
        ("{{ message.tags | join }}-{{ message.tags | join(' and ') }}", "urgent-urgent"),
    ],
)  # fmt: skip
def test_every_filter_and_test_that_is_allowed_works(text: str, said: str) -> None:
    assert Template(text, limit=200, sample=FACTS)(FACTS) == said


# --- one line of text -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "limit", "line"),
    [
        ("abcde", 5, "abcde"),
        ("abcdef", 5, "abcd…"),
        ("abc   def", 5, "abc…"),
        ("abc def", 5, "abc…"),
        ("a" * 100, 2, "a…"),
        ("x" + "\u0301" * 4 + "y", 20, "x" + "\u0301" * 4 + "y"),
        ("x" + "\u0301" * 5 + "y" + "\u0301" * 5, 20, "x" + "\u0301" * 4 + "y" + "\u0301" * 4),
        ("\u0301" * 6, 20, "\u0301" * 4),
        ("a\x1fb", 20, "a b"),
        ("a\u2029b", 20, "a b"),
        ("a\u2065b\u206ab", 20, "a\u2065b\u206ab"),
        ("a\u2069\u202e\U000e007f\ufffbb", 20, "ab"),
    ],
)
def test_one_visible_line(text: str, limit: int, line: str) -> None:
    assert plain(text, limit) == line


def test_only_so_much_of_a_text_is_looked_at() -> None:
    assert plain("\u202e" * 79 + "ab", 10) == "a"


# --- the facts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("party", "said"),
    [
        (Party(id="ann", name="Ann", role="agent"), ("ann", "Ann", "agent", "Ann (ann)")),
        (Party(id="ann"), ("ann", "ann", "", "ann")),
        (Party(id="ann", name="ann"), ("ann", "ann", "", "ann")),
        (Party(id="ann", name="\u202e"), ("ann", "ann", "", "ann")),
        (Party(id="", name="Ann"), ("", "Ann", "", "Ann ()")),
    ],
)
def test_a_person(party: Party, said: tuple[str, ...]) -> None:
    made = person(party)
    assert (made.id, made.name, made.role, made.label) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (999_949, "999.9 kB"), (10**6, "1.0 MB"),
        (10**9, "1.0 GB"), (25 * 10**11, "2500.0 GB"),
    ],
)  # fmt: skip
def test_sizes_change_their_unit_at_a_thousand(count: int, said: str) -> None:
    assert size(count) == said


def test_moments_are_told_in_utc() -> None:
    assert (
        moment(datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))))
        == "2026-01-02 01:04:05 UTC"
    )
    assert moment(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02 03:04:05 UTC"
    assert moment(None) == ""


@pytest.mark.parametrize(
    ("seconds", "said"), [(59.6, "1 min 0 s"), (60, "1 min 0 s"), (59, "59 s"), (3_725, "62 min 5 s")]
)
def test_spans_are_rounded_to_seconds(seconds: float, said: str) -> None:
    assert span(timedelta(seconds=seconds)) == said


def test_three_files_are_named_and_the_others_counted() -> None:
    found = [file(Attachment(name=f"{n}.pdf", size=1), a_message()) for n in range(5)]
    assert files_said(found[:3]) == "0.pdf (1 B), 1.pdf (1 B), 2.pdf (1 B)"
    assert files_said(found) == "0.pdf (1 B), 1.pdf (1 B), 2.pdf (1 B), 2 more"
    assert files_said([file(Attachment(), a_message())]) == "unnamed"


def test_a_file_tells_its_name_kind_and_size() -> None:
    made = file(Attachment(name="a.png", extension="png", mime_type="image/png", size=2_000), a_message())
    assert (made.name, made.extension, made.mime_type, made.type, made.size) == (
        "a.png", "png", "image/png", "image", "2.0 kB",
    )  # fmt: skip


def test_a_row_tells_everything_but_its_text() -> None:
    message = in_group(
        id=MessageId(7),
        action="edited",
        parent_id=MessageId(3),
        tags=tuple(map(str, range(30))),
        text="SECRET",
    )
    made = row(message)
    assert (made.id, made.category, made.type, made.action) == ("7", "message", "text", "edited")
    assert (made.sent_at, made.conversation_id) == ("2026-11-22 12:00:00 UTC", "group_team")
    assert (made.receiver_type, made.is_group, made.is_reply) == ("group", True, True)
    assert made.tags == tuple(map(str, range(25)))
    single = row(a_message(conversation_id="x" * 200))
    assert (single.is_group, single.is_reply, single.action) == (False, False, "")
    assert len(single.conversation_id) == 2 * MAX_NAME


def many(number: int) -> Message:
    return a_message(attachments=(Attachment(),) * number, mentions=tuple(map(str, range(number))))


def test_of_very_many_only_the_first_hundred_can_be_named() -> None:
    facts = message_facts(many(120), ())
    assert (len(facts["attachments"]), len(facts["mentions"])) == (100, 100)
    assert facts["files"] == "unnamed, unnamed, unnamed, 97 more"


def test_the_facts_of_a_message() -> None:
    facts = message_facts(in_group(subject=BOB, mentions=("zoe",), mentions_all=True), ("ann", "b\nb"))
    assert (facts["sender"].id, facts["receiver"].id, facts["subject"].id) == ("ann", "team", "bob")
    assert (facts["mentions"], facts["mentions_all"], facts["watched"]) == (("zoe",), True, ("ann", "b b"))
    assert message_facts(a_message(), ())["subject"].label == ""


def test_the_facts_of_a_call() -> None:
    call = Call(session_id="s1", status="busy", caller=ANN, callee=BOB, initiated_at=NOON)
    facts = call_facts(call, "audio", a_message(), ("bob",), outcome="declined", rang=timedelta(seconds=3))
    assert (facts["caller"].id, facts["callee"].id, facts["watched"]) == ("ann", "bob", ("bob",))
    told = facts["call"]
    assert (told.type, told.outcome, told.session_id, told.started_at, told.rang) == (
        "audio", "declined", "s1", "2026-11-22 12:00:00 UTC", "3 s",
    )  # fmt: skip


# --- links ------------------------------------------------------------------------------------------


def test_links_may_be_plain_http_inside_a_house() -> None:
    assert link_maker("http://tickets.internal/{rule}")({"rule": "a/b"}) == "http://tickets.internal/a%2Fb"


@pytest.mark.parametrize("host", ["https://", "https:/x", "https://{app}/", "mailto:a@b", "javascript:x"])
def test_a_link_leads_to_a_fixed_host(host: str) -> None:
    with pytest.raises(TemplateError, match="must begin with https:// and a fixed host"):
        link_maker(host)


def test_a_placeholder_that_is_unknown_names_all() -> None:
    with pytest.raises(TemplateError, match=r'there is no "\{uid\}"; there are app, rule, alert_id, conv'):
        link_maker("https://x/{uid}")


def test_a_link_and_each_value_in_it_are_of_bounded_length() -> None:
    assert link_maker("https://x/{rule}")({"rule": "a" * 400}) == "https://x/" + "a" * 300
    assert len(link_maker("https://x/" + "{rule}" * 20)({"rule": "a" * 400})) == MAX_LINK
