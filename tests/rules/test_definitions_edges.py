"""What stands beside the rules, at its limits: names, lists from files, circles, what gives way to what."""

from __future__ import annotations

from typing import Any

import pytest

from rules.definitions import ELSEWHERE, KEYS, MAX_NAMES, schemas
from rules.spec import Source, SpecError, load
from tests.rules.builders import APP
from tests.rules.test_definitions import OFFICE, condition_of, in_rule, loaded, only, problems


def lines(*texts: str) -> list[str]:
    return problems(*texts).splitlines()


# --- names and schemas ------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "is_right"), [(MAX_NAMES, True), (MAX_NAMES + 1, False)])
def test_so_many_names_may_stand_in_a_file(number: int, is_right: bool) -> None:
    text = f"lists: {{{', '.join(f'l{place}: x' for place in range(number))}}}"
    if is_right:
        assert len(loaded(text, in_rule("{sender: {list: l999}}")).rules) == 1
    else:
        assert lines(text)[0].startswith(
            "a.yaml:1:8: found a mapping; expected a mapping from at most 1000 names"
        )


def test_the_schemas_of_named_things() -> None:
    told = schemas()
    assert set(told) == set(KEYS) == {"pack", "lists", "calendars", "conditions"}
    for name in ("lists", "conditions"):
        one = told[name]
        assert one["type"] == "object"
        assert one["maxProperties"] == MAX_NAMES
        assert set(one["propertyNames"]) == {"pattern"}
        assert one["propertyNames"]["pattern"].startswith("^")
        assert one["propertyNames"]["pattern"].endswith("$")
        assert one["additionalProperties"]
        assert one["description"]
    assert ELSEWHERE.schema() in told["lists"]["additionalProperties"]["anyOf"]


@pytest.mark.parametrize(
    ("part", "what"), [("lists", "to lists"), ("conditions", "to conditions"), ("calendars", "calendars")]
)
def test_what_is_no_mapping_is_refused_with_an_example(part: str, what: str) -> None:
    (told,) = lines(f"{part}: [a]")
    assert told.startswith(f"a.yaml:1:{len(part) + 3}: found a list; expected a mapping")
    assert what in told
    assert "; for example " in told


@pytest.mark.parametrize(
    ("pack", "is_right"),
    [
        ("id: a", True),
        (f"id: {'a' * 63}", True),
        (f"id: {'a' * 64}", False),
        ("id: A", False),
        ("id: -a", False),
        ("id: a_b-1", True),
        (f"id: a, version: {'1' * 40}a", False),
        (f"id: a, version: '{'1' * 40}'", True),
        (f"id: a, title: {'t' * 200}", True),
        (f"id: a, title: {'t' * 201}", False),
        (f"id: a, description: {'t' * 2_000}", True),
        (f"id: a, description: {'t' * 2_001}", False),
        (f"id: a, references: [{'t' * 2_000}]", True),
        (f"id: a, references: [{'t' * 2_001}]", False),
        ("id: a, references: {list: x}", False),
        ("id: a, level: stable", True),
        ("id: a, level: experimental", True),
        ("id: a, level: old", False),
        ("id: a, false_positives: [b], tests: [c]", True),
        ("version: '1'", False),
        ("id: a, author: me", False),
    ],
)
def test_what_a_pack_may_tell_of_itself(pack: str, is_right: bool) -> None:
    if is_right:
        (found,) = loaded(f"pack: {{{pack}}}", in_rule("{type: text}")).packs
        assert found.id
    else:
        assert len(lines(f"pack: {{{pack}}}")) == 1


def test_all_that_a_pack_tells_is_kept() -> None:
    keys = (
        "id: p, version: 1.2.0, title: T, description: D, level: experimental, references: [r], "
        "false_positives: [f, g], tests: t"
    )
    (pack,) = loaded(f"pack: {{{keys}}}", in_rule("{type: text}")).packs
    assert (pack.id, pack.version, pack.title, pack.description) == ("p", "1.2.0", "T", "D")
    assert (pack.level, pack.references, pack.false_positives, pack.tests) == (
        "experimental",
        ("r",),
        ("f", "g"),
        ("t",),
    )
    (plain,) = loaded("pack: {id: p}", in_rule("{type: text}")).packs
    assert plain.level == "stable"


# --- lists ------------------------------------------------------------------------------------------

FILES = {"a.txt": "one\ntwo\n", "b.txt": "three # last\n", "bad.txt": "x\n\x00\n", "bad2.txt": "\x00\n"}


def reading(name: str, asked_by: str) -> Source:
    del asked_by
    return Source(name, FILES[name])


def with_files(text: str) -> tuple[str, ...]:
    sources = [Source("a.yaml", f"lists: {text}"), Source("b.yaml", in_rule("{sender: {list: l}}"))]
    rules = load(sources, app=APP, read=reading)
    condition: Any = only(rules).logic.conditions["when"]
    values: tuple[str, ...] = condition.values
    return values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("{l: x}", ("x",)),
        ("{l: [x, y]}", ("x", "y")),
        ("{l: {file: a.txt}}", ("one", "two")),
        ("{l: {file: [a.txt, b.txt]}}", ("one", "two", "three")),
        ("{l: {default: x}}", ("x",)),
        ("{l: {default: [x, y]}}", ("x", "y")),
    ],
)
def test_the_values_of_a_list_wherever_they_stand(text: str, values: tuple[str, ...]) -> None:
    assert with_files(text) == values


def test_what_is_wrong_in_files_is_told_in_each_of_them() -> None:
    with pytest.raises(SpecError) as caught:
        with_files("{l: {file: [bad.txt, a.txt, bad2.txt]}}")
    assert [str(problem).split(": ")[0] for problem in caught.value.problems] == [
        "bad.txt:2:1",
        "bad2.txt:1:1",
    ]


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (("lists: {l: {default: x}}", "lists: {l: y}"), ("y",)),
        (("lists: {l: y}", "lists: {l: {default: x}}"), ("y",)),
        (("pack: {id: p}\nlists: {l: x}", "lists: {l: y}"), ("y",)),
        (("lists: {l: y}", "pack: {id: p}\nlists: {l: x}"), ("y",)),
        (("lists: {l: {default: x}}", "lists: {l: {default: x}}"), ("x",)),
    ],
)
def test_one_list_gives_way_to_another(texts: tuple[str, ...], values: tuple[str, ...]) -> None:
    assert condition_of(*texts, in_rule("{sender: {list: l}}")).values == values


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (("lists: {l: x}", "lists: {l: x}"), 'b.yaml:1:9: there is a list "l" already, at a.yaml:1:9'),
        (("lists: {l: {default: x}}", "lists: {l: {default: y}}"), 'b.yaml:1:9: there is a list "l" already'),
        (
            ("conditions: {c: {type: x}}", "conditions: {c: {type: x}}"),
            'b.yaml:1:14: there is a condition "c" already, at a.yaml:1:14',
        ),
        (
            ("pack: {id: p}\nconditions: {c: {type: x}}", "pack: {id: q}\nconditions: {c: {type: y}}"),
            'b.yaml:2:14: there is a condition "c" already, at a.yaml:2:14',
        ),
        (
            (f"pack: {{id: p}}\n{OFFICE}", f"pack: {{id: q}}\n{OFFICE.replace('17', '18')}"),
            'b.yaml:2:13: there is a calendar "office" already, at a.yaml:2:13',
        ),
    ],
)
def test_two_that_do_not_give_way_are_one_too_many(texts: tuple[str, ...], told: str) -> None:
    (problem,) = lines(*texts)
    assert problem.startswith(told)


def test_packs_may_say_the_same_twice() -> None:
    text = f"conditions: {{c: {{type: x}}}}\nlists: {{l: x}}\n{OFFICE}"
    rules = loaded(f"pack: {{id: p}}\n{text}", f"pack: {{id: q}}\n{text}", in_rule("{use: c}"))
    assert [pack.id for pack in rules.packs] == ["p", "q"]


# --- conditions that use each other -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        ("{a: {use: a}}", "a.yaml:1:23: these conditions use each other without an end: a -> a"),
        (
            "{a: {use: b}, b: {use: c}, c: {use: b}}",
            "a.yaml:1:49: these conditions use each other without an end: b -> c -> b",
        ),
        (
            "{a: {all: [{type: x}, {not: {use: b}}]}, b: {any: [{use: a}]}}",
            "a.yaml:1:70: these conditions use each other without an end: a -> b -> a",
        ),
    ],
)
def test_a_circle_is_told_once_with_those_who_are_in_it(conditions: str, told: str) -> None:
    assert lines(f"conditions: {conditions}") == [told]


def test_what_is_used_twice_is_read_once() -> None:
    told = lines(
        "conditions: {z: {all: [{use: a}, {use: b}]}, a: {use: bad}, b: {use: bad}, bad: {typ: x}}",
        in_rule("{use: z}"),
    )
    assert len(told) == 1
    assert 'unknown key "typ"' in told[0]


def test_a_condition_that_is_not_there_is_told_where_it_is_used() -> None:
    (told,) = lines("conditions: {a: {use: other}}")
    assert told.startswith('a.yaml:1:23: there is no condition "other"')


def test_each_broken_condition_is_told() -> None:
    told = lines("conditions: {a: {typ: x}, b: {tpe: x}}")
    assert [line.split(": ")[0] for line in told] == ["a.yaml:1:18", "a.yaml:1:31"]


# --- calendars --------------------------------------------------------------------------------------


def test_a_calendar_of_a_pack_gives_way() -> None:
    rule = "rules: [{name: it, when: {type: text}, during: office}]"
    later = OFFICE.replace("17:00", "18:00")
    for texts in ((f"pack: {{id: p}}\n{OFFICE}", later), (later, f"pack: {{id: p}}\n{OFFICE}")):
        assert only(loaded(*texts, rule)).pacing.during == only(loaded(later, rule)).pacing.during
    assert only(loaded(OFFICE, rule)).pacing.during != only(loaded(later, rule)).pacing.during


def test_a_mistake_in_a_calendars_file_is_told_once() -> None:
    text = OFFICE.replace('17:00"}', '17:00"}, holidays: {file: no.txt}')
    told = lines(text, "rules: [{name: it, when: {type: text}, during: office}]")
    assert len(told) == 1
    assert "no.txt: can't be read for a.yaml" in told[0]
