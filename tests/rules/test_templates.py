"""Templates: what they may say, what they may not, and what hostile names make of them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.engine import RuleSet, step
from rules.model import Alert, Attachment, Message, Party
from rules.spec import SpecError
from rules.templates import MAX_TITLE, TemplateError, link_maker, plain, size, span
from tests.rules.builders import BOB, NOON, WATCH_BOB, a_call, a_message, in_group, rules_of


def with_title(title: str, *, kind: str = "match, when: {sender: '*'}") -> RuleSet:
    return rules_of(f"rules: [{{name: it, kind: {kind}, title: {msgspec.json.encode(title).decode()}}}]")


def alert_of(rules: RuleSet, message: Message) -> Alert:
    (alert,) = step(rules, WATCH_BOB, {}, [message], now=NOON).alerts
    return alert


MEDIA = a_message(
    type="image",
    text="SECRET-TEXT",
    parent_id=1,
    tags=("vip",),
    mentions=("bob",),
    attachments=(
        Attachment(
            name="photo.jpeg",
            extension="jpeg",
            mime_type="image/jpeg",
            size=48_213,
            url="https://SECRET-URL/",
        ),
        Attachment(name="b.bin"),
    ),
    metadata={"SECRET": "SECRET"},
)


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("{{ sender.label }} to {{ receiver.name | upper }}", "Ann Archer (ann) to BOB BROWN"),
        ("{{ message.type }} {{ message.id }} {{ message.sent_at }}", "image 1 2026-11-22 12:00:00 UTC"),
        ("{{ files }}", "photo.jpeg (48.2 kB), b.bin"),
        ("{{ attachments | length }} of {{ attachments[0].type }}", "2 of image"),
        ("{{ watched | join(' and ') }} {{ mentions | join }}", "bob bob"),
        ("{% if message.is_group %}group{% elif message.is_reply %}thread{% endif %}", "thread"),
        ("{{ 'a' if 'vip' in message.tags else 'b' }} {{ rule.name }}/{{ rule.severity }}", "a it/warning"),
        ("{{ sender.role | default('none') | title | truncate(3) }}", "Agent"),
        ("{{ 'x' ~ message.category }}", "xmessage"),
        ("two\n lines", "two lines"),
    ],
)
def test_a_template_says(title: str, said: str) -> None:
    assert alert_of(with_title(title), MEDIA).title == said


@pytest.mark.parametrize(
    "title",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ sender.__init__.__globals__ }}",
        "{{ sender['__class__'] }}",
        "{{ sender.label.format }}",
        "{{ sender.label.upper() }}",
        "{{ sender | attr('__class__') }}",
        "{{ self._TemplateReference__context }}",
        "{{ cycler.__init__.__globals__.os.popen('id') }}",
        "{{ lipsum }}",
        "{{ range(9) }}",
        "{{ 'a' * 10000000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 'a' | center(1000000000) }}",
        "{{ 'aaaaaaaaaa' | join('a') | join('a') }}",
        "{% for x in 'abc' %}{{ x }}{% endfor %}",
        "{% set x = 1 %}{{ x }}",
        "{% macro m() %}{% endmacro %}x",
        "{% include 'x' %}",
        "{% import 'x' as y %}x",
        "{% extends 'x' %}",
        "{% raw %}",
        "{{ [1, 2] }}",
        "{{ watched }}",
        "{{ sender }}",
        "{{ message.text }}",
        "{{ text }}",
        "{{ message.metadata }}",
        "{{ attachments[0].url }}",
        "{{ attachments[0].nothing }}",
        "{{ call.session_id }}",
        "{{ sender.label",
        "{{ sender.label | nosuchfilter }}",
        "{{ sender.label is callable }}",
        "{{ attachments | round }}",
        "{# nothing #}",
        "{{ '' }}",
        "{{ not " * 300 + "x" + " }}" * 300,
        "(" * 100 + "{{ " + "(" * 900 + "1" + ")" * 900 + " }}",
    ],
)
def test_a_template_can_not_say(title: str) -> None:
    with pytest.raises(SpecError) as caught:
        with_title(title)
    (problem,) = caught.value.problems
    assert problem.place.line == 1
    assert "rules.templates" not in problem.message


def test_a_wrong_name_in_a_template_names_the_nearest() -> None:
    with pytest.raises(SpecError, match=r'there is no "sendr" here \(did you mean "sender"\?\)'):
        with_title("{{ sendr.label }}")
    with pytest.raises(SpecError, match=r'there is no "lable" here \(did you mean "label"\?\)'):
        with_title("{{ sender.lable }}")


def test_no_template_value_holds_text_or_links() -> None:
    everything = "{{ sender.label }}{{ receiver.label }}{{ files }}{{ message.conversation_id }}"
    alert = alert_of(with_title(everything), MEDIA)
    assert "SECRET" not in alert.title + alert.summary


def test_a_template_that_fails_on_a_message_falls_back_and_is_reported() -> None:
    rules = with_title("{{ attachments[0].name }}")
    outcome = step(rules, WATCH_BOB, {}, [a_message()], now=NOON)
    (alert,) = outcome.alerts
    (fault,) = outcome.faults
    assert alert.title == "it (match)"
    assert (fault.rule, fault.message_id) == ("it", 1)
    assert fault.error == "template '{{ attachments[0].name }}': UndefinedError"


@pytest.mark.parametrize(
    "message", [a_message(), in_group(), MEDIA, a_message(sender=Party(id="app_system"))]
)
def test_the_default_words_fit_every_message(message: Message) -> None:
    rules = rules_of("rules: [{name: it, when: {sender: '*'}}, {name: call, kind: missed_call}]")
    outcome = step(
        rules, WATCH_BOB, {}, [message, a_call("unanswered", 45), a_call("busy", group=True)], now=NOON
    )
    assert outcome.faults == ()
    assert all(alert.title and alert.summary for alert in outcome.alerts)


# --- hostile names ----------------------------------------------------------------------------------


@given(name=st.text(alphabet=st.characters(codec=None), max_size=300), uid=st.text(max_size=300))
def test_any_name_gives_one_visible_line(name: str, uid: str) -> None:
    alert = alert_of(with_title("{{ sender.label }} calls"), in_group(sender=Party(id=uid, name=name)))
    assert len(alert.title) <= MAX_TITLE
    assert "\n" not in alert.title
    assert not set(alert.title) & set("\u202e\u202d\u2066\u2067\u2068\u2069\u200b\u200f\ufeff\x1b\x00\u2028")
    assert msgspec.json.encode(alert)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\u202eb\u2066c", "abc"),
        ("a\x1b[31mb\r\nc", "a [31mb c"),
        ("\u200e\ufeff x \u2028 y", "x y"),
        ("\ud800", "\ufffd"),
        ("e" + "\u0301" * 50, "e" + "\u0301" * 4),
        ("👩\u200d💻 می\u200cخواهم", "👩\u200d💻 می\u200cخواهم"),
        ("x" * 300, "x" * 19 + "…"),
        ("\U000e0041\U000e0042z", "z"),
    ],
)
def test_plain_text_hides_and_reorders_nothing(text: str, kept: str) -> None:
    assert plain(text, 20) == kept


def test_a_name_of_a_million_characters_is_cut_before_it_is_looked_at() -> None:
    alert = alert_of(
        with_title("{{ sender.label }}"), a_message(sender=Party(id="ann", name="\u202e" * 1_000_000))
    )
    assert alert.title == "ann"


def test_a_message_that_json_cannot_hold_is_kept_in_a_form_that_it_can() -> None:
    text = "\ud800" + "x" * 1_000_000
    alert = alert_of(with_title("hello"), a_message(text=text, receiver=BOB))
    assert len(msgspec.json.encode(alert)) < 100_000
    assert msgspec.json.decode(msgspec.json.encode(alert), type=Alert) == alert


# --- links ------------------------------------------------------------------------------------------


def test_a_link_is_made_from_the_facts_percent_encoded() -> None:
    rules = rules_of(
        "rules: [{name: it, when: {sender: '*'}}]",
        link="https://s.example/{conversation_id}?m={message_id}&a={app}",
    )
    alert = alert_of(rules, in_group(sender=BOB))
    assert alert.annotations == {"link": "https://s.example/group_team?m=1&a=275211"}
    hostile = in_group()
    hostile = msgspec.structs.replace(hostile, conversation_id="../../x?y=//evil.example/\ud800")
    assert alert_of(rules, hostile).annotations["link"] == (
        "https://s.example/..%2F..%2Fx%3Fy%3D%2F%2Fevil.example%2F%3F?m=1&a=275211"
    )


def test_a_rule_may_bring_its_own_link() -> None:
    rules = rules_of(
        "rules: [{name: it, when: {sender: '*'}, annotations: {link: 'https://own.example'}}]",
        link="https://s.example/",
    )
    assert alert_of(rules, a_message()).annotations == {"link": "https://own.example"}


@pytest.mark.parametrize(
    "link",
    [
        "",
        "ftp://x/",
        "//x/",
        "https:///{app}",
        "https://{app}.example/",
        "https://x/{app.__class__}",
        "https://x/{}",
    ],
)
def test_a_link_template_that_is_unsafe_or_wrong_is_refused(link: str) -> None:
    with pytest.raises(TemplateError):
        link_maker(link)
    with pytest.raises(SpecError, match=r"^alerts\.link: "):
        rules_of("rules: []", link=link)


@pytest.mark.parametrize(("count", "said"), [(None, ""), (0, "0 B"), (999, "999 B"), (1_500_000, "1.5 MB")])
def test_sizes_are_said(count: int | None, said: str) -> None:
    assert size(count) == said


def test_spans_are_said() -> None:
    from datetime import timedelta

    assert [span(timedelta(seconds=s)) for s in (0, 59.4, 125)] == ["0 s", "59 s", "2 min 5 s"]
    assert span(None) == ""
