"""Names beside the rules: lists, conditions, calendars, packs. All files share them."""

from __future__ import annotations

from typing import Any

import pytest

from rules.conditions import Field, TextMatch
from rules.engine import Rule, RuleSet
from rules.names import MAX_ENTRIES, entries_of
from rules.spec import load
from rules.text import Place, Problem, Source, SpecError
from tests.rules.builders import ANN, APP, BOB, WATCH_BOB, a_message

WORDS = Source("words.txt", "\ufeff# mind these\nrefund   # money\ncharge back\n\n  c#  \n")


def reading(name: str, asked_by: str) -> Source:
    if name == WORDS.name:
        return WORDS
    if name == "empty.txt":
        return Source("empty.txt", "# nobody yet\n")
    raise SpecError([Problem(Place(name), f"can't be read for {asked_by}")])


def loaded(*texts: str, **options: Any) -> RuleSet:
    sources = [Source(f"{letter}.yaml", text) for letter, text in zip("abcd", texts, strict=False)]
    return load(sources, app=APP, read=reading, **options)


def problems(*texts: str) -> str:
    with pytest.raises(SpecError) as caught:
        loaded(*texts)
    return str(caught.value)


def only(rules: RuleSet) -> Rule:
    (rule,) = rules.rules
    return rule


def condition_of(*texts: str) -> Any:
    return only(loaded(*texts)).logic.conditions["when"]


def is_met(rule: Rule, **changes: Any) -> bool:
    return rule.logic.conditions["when"].compile()(a_message(**changes), WATCH_BOB)


def in_rule(when: str) -> str:
    return f"rules: [{{name: it, when: {when}}}]"


# --- lists ------------------------------------------------------------------------------------------


def test_a_list_stands_for_its_values_in_any_file() -> None:
    lists = "lists: {vip: [ann, boss-*], one: zoe}"
    assert condition_of(in_rule("{sender: {list: vip}}"), lists) == Field(
        name="sender", values=("ann", "boss-*")
    )
    assert condition_of(lists, in_rule("{sender: [eve, {list: vip}, {list: one}]}")) == Field(
        name="sender", values=("eve", "ann", "boss-*", "zoe")
    )


@pytest.mark.parametrize(
    "when",
    [
        "{text: {list: words}}",
        "{text: [{list: words}]}",
        "{text: {words: {list: words}}}",
    ],
)
def test_a_list_of_words_may_stand_in_a_file(when: str) -> None:
    texts = ("lists: {words: {file: words.txt}}", in_rule(when))
    assert condition_of(*texts) == TextMatch(words=("refund", "charge back", "c#"))


@pytest.mark.parametrize(
    "when",
    [
        "{tags: {list: l}}",
        "{text: {contains: {list: l}}}",
        "{text: {regex: {list: l}}}",
        "{mentions: {users: {list: l}}}",
        "{attachments: {extension: {list: l}}}",
        "{attachments: {mime: [{list: l}, image/*]}}",
        "{metadata: {path: a.b, equals: {list: l}}}",
        "{not: {any: [{category: {list: l}}, {role: [{list: l}]}]}}",
        "\"sender.id.in_list('l')\"",
        "{cel: \"sender.id.in_list('l')\"}",
    ],
)
def test_a_list_may_stand_wherever_texts_may(when: str) -> None:
    assert loaded("lists: {l: [a, b]}", in_rule(when)).rules


def test_an_empty_list_is_met_by_nothing_and_widens_nothing() -> None:
    empty = "lists: {l: {file: empty.txt}}"
    for when in ("{attachments: {extension: {list: l}}}", "{metadata: {path: a, equals: {list: l}}}"):
        rule = only(loaded(empty, in_rule(when)))
        assert not is_met(rule, metadata={"a": "x"})
        assert "(an empty list)" in rule.describe()
    rule = only(loaded(empty, in_rule("{not: {sender: {list: l}}}")))
    assert is_met(rule)


def test_a_fingerprint_has_the_names_of_lists_not_their_content() -> None:
    def of(lists: str, when: str) -> str:
        return only(loaded(f"lists: {lists}", in_rule(when))).fingerprint

    first = of("{vip: [ann], other: [ann]}", "{sender: {list: vip}}")
    assert of("{vip: [ann, bob], other: []}".replace("[]", "[x]"), "{sender: {list: vip}}") == first
    assert of("{vip: [ann], other: [ann]}", "{sender: {list: other}}") != first
    assert of("{vip: [ann], other: [ann]}", "{sender: [ann]}") != first
    plain = of("{vip: [ann]}", "{sender: ann}")
    assert plain == only(loaded(in_rule("{sender: ann}"))).fingerprint


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (
            (in_rule("{sender: {list: vpi}}"), "lists: {vip: [ann]}"),
            'a.yaml:1:42: there is no list "vpi" (did you mean "vip"?); for example lists: {vip: [superhero1',
        ),
        ((in_rule("{sender: {list: vip}}"),), 'there is no list "vip"; for example'),
        ((in_rule("{sender: {lists: vip}}"),), 'unknown key "lists" (did you mean "list"?)'),
        ((in_rule("{sender: {list: [vip]}}"),), "found a list; expected the name of a list"),
        ((in_rule("{sender: {list: vip, x: y}}"),), 'a.yaml:1:47: unknown key "x"'),
        ((in_rule("{direction: {list: vip}}"), "lists: {vip: a}"), "found a mapping; expected one of"),
        ((in_rule("{mentions: {list: vip}}"), "lists: {vip: a}"), 'unknown key "list"; expected one of'),
        (
            (in_rule("{text: {regex: {list: r}}}"), "lists:\n  r:\n    - ok\n    - '(a'"),
            "b.yaml:4:7: RE2 refuses this regular expression: missing ): (a (the list \"r\" is used at "
            "a.yaml:1:41)",
        ),
        (("lists: [a]",), "a.yaml:1:8: found a list; expected a mapping from at most 1000 names to lists"),
        (("lists: {A: [a]}",), 'a.yaml:1:9: "A" has not the right form; expected the name of a list'),
        (("lists: {a: []}",), "a.yaml:1:12: found a list of 0; expected 1 to 1000 entries"),
        (("lists: {a: [true]}",), 'YAML reads "true" as true or false'),
        (("lists: {a: {fiel: x}}",), 'unknown key "fiel" (did you mean "file"?)'),
        (("lists: {a: {file: x, default: y}}",), "a list has values, or `file`, or `default`"),
        (("lists: {a: {}}",), "a list has values, or `file`, or `default`"),
        (("lists: {a: {file: no.txt}}",), "a.yaml:1:19: no.txt: can't be read for a.yaml"),
        (("lists: {a: x}", "lists: {a: y}"), 'b.yaml:1:9: there is a list "a" already, at a.yaml:1:9'),
    ],
)  # fmt: skip
def test_a_wrong_list_is_refused_where_it_stands(texts: tuple[str, ...], said: str) -> None:
    assert said in problems(*texts)


def test_a_mistake_in_a_list_is_told_once_however_often_it_is_used() -> None:
    told = problems(
        "lists: {a: {file: no.txt}}",
        "rules: [{name: x, when: {sender: {list: a}}}, {name: y, when: {tags: {list: a}}}]",
    )
    assert len(told.splitlines()) == 1


def test_a_default_and_what_a_pack_defines_give_way() -> None:
    rule = in_rule("{sender: {list: l}, use: c}")
    mine = "lists: {l: mine}\nconditions: {c: {type: text}}"
    pack = "pack: {id: p}\nlists: {l: theirs}\nconditions: {c: {type: image}}"
    for texts in ((mine, pack, rule), (pack, mine, rule)):
        said = only(loaded(*texts)).describe()
        assert "mine" in said
        assert "type text" in said
    assert "theirs" in only(loaded(pack, rule)).describe()
    assert "mine" in only(loaded("lists: {l: {default: x}}", mine, rule)).describe()
    same = "pack: {id: q}\nlists: {l: theirs}"
    assert "theirs" in only(loaded(pack, same, rule)).describe()
    assert 'there is a list "l" already, at a.yaml:2:9' in problems(pack, same.replace("theirs", "other"))


def test_a_file_is_read_line_by_line() -> None:
    assert [(entry.text, str(entry.place)) for entry in entries_of(WORDS)] == [
        ("refund", "words.txt:2:1"),
        ("charge back", "words.txt:3:1"),
        ("c#", "words.txt:5:3"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\n\x00b", "f.txt:2:1: a control character stands here"),
        ("x" * 1_001, "f.txt:1:1: found a text of 1001 characters, more than 1000"),
        ("a\n" * (MAX_ENTRIES + 1), f"f.txt: {MAX_ENTRIES + 1} values, more than {MAX_ENTRIES}"),
        ("a" * 5_000_000, "f.txt: the file is larger than 4 MiB"),
        ("\x01\n" * 30, "f.txt: 20 more values are wrong likewise"),
    ],
)
def test_a_file_that_holds_no_values_is_refused(text: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        entries_of(Source("f.txt", text))
    assert said in str(caught.value)


def test_a_source_without_a_reader_names_no_files() -> None:
    with pytest.raises(SpecError, match=r"a\.yaml:1:19: x\.txt: no other files can be read from here"):
        load([Source("a.yaml", "lists: {a: {file: x.txt}}")], app=APP)


# --- conditions -------------------------------------------------------------------------------------


def test_a_condition_is_used_by_its_name() -> None:
    defined = "conditions: {outside: {not: {sender: agent-*}}, both: {all: [{use: outside}, {type: text}]}}"
    rule = only(loaded(in_rule("{use: both, receiver: bob}"), defined))
    assert is_met(rule, sender=ANN, receiver=BOB)
    assert not is_met(rule, sender=ANN, receiver=BOB, type="image")
    assert rule.describe() == (
        "it (warning): messages with not sender agent-*, and type text, and receiver bob"
    )


def test_what_a_named_condition_says_is_part_of_the_fingerprint() -> None:
    def of(condition: str) -> str:
        return only(loaded(f"conditions: {{c: {condition}}}", in_rule("{use: c}"))).fingerprint

    assert of("{type: text}") != of("{type: image}")
    assert of("{type: text}") == only(loaded(in_rule("{type: text}"))).fingerprint


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (
            (in_rule("{use: outsied}"), "conditions: {outside: {type: text}}"),
            'a.yaml:1:32: there is no condition "outsied" (did you mean "outside"?); for example conditions:',
        ),
        ((in_rule("{use: x}"), "conditions: {a: {type: text}}"), 'there is no condition "x"; there are a;'),
        ((in_rule("{use: [a]}"),), "found a list; expected the name of a condition"),
        (("conditions: {a: {typ: text}}",), 'a.yaml:1:18: unknown key "typ" (did you mean "type"?)'),
        (
            ("conditions: {a: {use: b}, b: {any: [{use: c}]}, c: {not: {use: a}}}",),
            "a.yaml:1:64: these conditions use each other without an end: a -> b -> c -> a",
        ),
        (("conditions: {a: {use: a}}",), "a.yaml:1:23: these conditions use each other"),
        (("conditions: {a: {type: x}}", "conditions: {a: {type: y}}"), "b.yaml:1:14: there is a condition"),
        (
            ("conditions: {a: {text: x}}", "rules: [{name: it, kind: missed_call, when: {use: a}}]"),
            'b.yaml:1:51: the condition "a" can\'t be used here: unknown key "text": this rule looks at '
            "whole calls, and the rows of one call differ in it, at a.yaml:1:18",
        ),
    ],
)  # fmt: skip
def test_a_wrong_condition_is_refused_once_where_it_stands(texts: tuple[str, ...], said: str) -> None:
    told = problems(*texts)
    assert said in told
    assert len(told.splitlines()) == 1


def test_a_broken_condition_is_told_once_however_often_it_is_used() -> None:
    told = problems(
        "rules: [{name: x, when: {use: a}}, {name: y, when: {any: [{use: b}]}}]",
        "conditions: {b: {use: a}, a: {typ: text}}",
    )
    assert told.startswith('b.yaml:1:31: unknown key "typ"')
    assert len(told.splitlines()) == 1


def test_a_condition_of_a_call_may_have_a_name() -> None:
    rules = loaded(
        "conditions: {vip: {caller: {list: vip}}}\nlists: {vip: [ann]}",
        "rules: [{name: it, kind: missed_call, when: {use: vip}}]",
    )
    assert "caller ann" in only(rules).describe()


# --- calendars --------------------------------------------------------------------------------------

OFFICE = 'calendars: {office: {timezone: UTC, open: {days: mon-fri, hours: "09:00-17:00"}}}'


def test_a_calendar_is_named_by_rules_of_all_files() -> None:
    rule = only(loaded("rules: [{name: it, when: {type: text}, during: office}]", OFFICE))
    assert rule.pacing.during is not None
    assert "office" in str(rule.pacing.during)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (
            ("rules: [{name: it, when: {type: text}, during: ofice}]", OFFICE),
            'a.yaml:1:48: there is no calendar "ofice" (did you mean "office"?)',
        ),
        (
            ("rules: [{name: it, when: {type: text}, outside: {calendar: x, severity: info}}]",),
            'a.yaml:1:60: there is no calendar "x"',
        ),
        ((OFFICE, OFFICE), 'b.yaml:1:13: there is a calendar "office" already, at a.yaml:1:13'),
        (
            (OFFICE.replace("17:00\"}", '17:00"}, holidays: {file: no.txt}'),),
            "no.txt: can't be read for a.yaml",
        ),
        (
            (OFFICE.replace("17:00\"}", '17:00"}, holidays: {file: words.txt}'),),
            'words.txt:2:1: "refund" is no date',
        ),
    ],
)  # fmt: skip
def test_a_wrong_calendar_is_refused_where_it_stands(texts: tuple[str, ...], said: str) -> None:
    assert said in problems(*texts)


# --- packs, and what a rule tells of itself ---------------------------------------------------------


def test_a_wrong_calendar_is_refused_beside_lists_too() -> None:
    office = '{timezone: Europe/Berlin, open: {days: mon-fry, hours: "09:00-17:00"}}'
    quiet = "{name: quiet, kind: absence, for: 2h, calendar: office}"
    text = f"lists: {{vip: [ann]}}\ncalendars: {{office: {office}}}\nrules: [{quiet}]"
    with pytest.raises(SpecError, match='"mon-fry" names no days'):
        load([Source("rules.yaml", text)], app=APP)


@pytest.mark.parametrize("key", ["[a]", "{a: b}", "[[a], {b: c}]"])
@pytest.mark.parametrize("where", ["lists", "calendars", "conditions"])
def test_a_name_that_is_no_text_is_refused(where: str, key: str) -> None:
    with pytest.raises(SpecError):
        load([Source("rules.yaml", f"{where}: {{? {key} : [ann]}}\nrules: []")], app=APP)


def test_a_pack_tells_of_itself_and_its_rules_belong_to_it() -> None:
    text = "pack: {id: p, version: 1.2.0, level: experimental, references: https://x.example}\n"
    rules = loaded(text + in_rule("{type: text}"), "rules: [{name: mine, when: {type: image}}]")
    (pack,) = rules.packs
    assert (pack.id, pack.version, pack.level) == ("p", "1.2.0", "experimental")
    assert pack.references == ("https://x.example",)
    assert [rule.pack for rule in rules.rules] == ["p", None]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (("pack: {version: 1}",), '"id" is missing; for example id: floods'),
        (("pack: {id: p, levle: stable}",), '(did you mean "level"?)'),
        (("pack: {id: p, level: good}",), "expected one of stable, experimental"),
        (("pack: {id: p}", "pack: {id: p}"), 'there is a pack "p" already, at a.yaml:1:7'),
    ],
)
def test_a_wrong_pack_is_refused(texts: tuple[str, ...], said: str) -> None:
    assert said in problems(*texts)


def test_a_rule_knows_its_text_as_it_was_written() -> None:
    rules = loaded("""\
# rules of ours
rules:
  # a first one
  - name: first # says who
    when:
      type: text # only these

  # a second one
  - {name: second, when: {type: [image,
      video]}} # last
  - name: third
    title: >
      folded
      text
    when: {type: file}
""")
    first, second, third = rules.rules
    assert first.source_text == "name: first # says who\nwhen:\n  type: text # only these"
    assert second.source_text.startswith("{name: second")
    assert second.source_text.endswith("video]}} # last")
    assert third.source_text == "name: third\ntitle: >\n  folded\n  text\nwhen: {type: file}"


def test_settings_may_put_rules_in_shadow_or_off() -> None:
    rule = "{{name: {}, when: {{type: x}}, enabled: {}}}"
    text = f"rules: [{rule.format('a', 'true')}, {rule.format('b', 'true')}, {rule.format('c', 'false')}]"
    rules = loaded(text, shadow=["a", "c"], off=["b"])
    assert [(rule.name, rule.pacing.shadow) for rule in rules.rules] == [("a", True)]
    with pytest.raises(SpecError) as caught:
        loaded(text, shadow=["a", "aa"], off=["bbbb"])
    assert str(caught.value).splitlines() == [
        'rules.shadow[1]: rules.shadow: there is no rule "aa" (did you mean "a"?)',
        'rules.off[0]: rules.off: there is no rule "bbbb"; there are a, b, c',
    ]
