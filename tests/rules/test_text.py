"""YAML as nodes: bounded on any text, and plain about what it does not take."""

from __future__ import annotations

from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rules.text import Place, Problem, Source, SpecError, compose, places_in, value_of, written


def tree(text: str, *, max_bytes: int = 10_000, max_nodes: int = 100) -> yaml.Node | None:
    return compose(Source("x.yaml", text), max_bytes=max_bytes, max_nodes=max_nodes)


def refused(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        tree(text)
    return str(caught.value)


@given(st.text())
def test_any_text_is_a_tree_or_refused(text: str) -> None:
    with suppress(SpecError):
        tree(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &b 1", "x.yaml:1:4: YAML anchors and aliases (& and *) are not used here: write the value out"),
        ("a: *b", "x.yaml:1:4: YAML anchors and aliases"),
        ("a: !!str 1", "x.yaml:1:4: YAML tags (!) are not used here: leave it out, and put text in quotes"),
        ("a: !odd {}", "x.yaml:1:4: YAML tags"),
        ("[" * 41, "x.yaml:1:41: nested more than 40 levels deep"),
        ("- " * 41 + "x", "x.yaml:1:81: nested more than 40 levels deep"),
        ("[" + "a," * 100 + "]", "x.yaml:1:200: more than 100 YAML nodes"),
        ("#" * 10_001, "x.yaml:1:1: the file is larger than 9 KiB"),
        ("a: [1", "x.yaml:1:6: this is not YAML: expected ',' or ']'"),
        ("a: 1\n---\nb: 2", "x.yaml:2:1: this is not YAML: but found another document"),
        ("a: \x00", "x.yaml:1:1: this is not YAML: unacceptable character"),
    ],
)
def test_what_is_not_taken_is_said_with_its_place(text: str, said: str) -> None:
    assert refused(text).startswith(said)


def test_what_just_fits_is_taken() -> None:
    assert tree("[" * 40 + "]" * 40) is not None
    assert tree("[" + "a," * 99 + "]") is not None
    assert tree("# nothing") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("FALSE", False), ("~", None), ("-12", -12), ("1.5e3", 1500), ("no", "no"), ("0", 0)],
)  # fmt: skip
def test_plain_words(text: str, value: object) -> None:
    node = tree(text)
    assert node is not None
    assert value_of(node) == value


def test_a_problem_in_one_line() -> None:
    place = Place("x.yaml", 2, 3)
    assert str(Problem(place, "odd", "a: 1", "an a")) == "x.yaml:2:3: odd; expected an a; for example a: 1"
    assert str(Problem(Place("x.yaml"), "odd", is_warning=True)) == "x.yaml: warning: odd"


# --- where a value stands ---------------------------------------------------------------------------


def scalar(text: str) -> yaml.ScalarNode:
    node = tree(text)
    assert isinstance(node, yaml.MappingNode)
    found = node.value[0][1]
    assert isinstance(found, yaml.ScalarNode)
    return found


@pytest.mark.parametrize(
    "text",
    [
        "key: plain text here",
        "key: plain\n  folded text\n\n  here",
        "key: 'it''s quoted text'",
        'key: "quoted \\"text\\" here"',
        "key: |\n  two\n    lines\n",
        "key: >-\n   folded\n   text here\n",
        "key: |2\n   indented\n  text\n",
        "{key: in flow, other: x}",
        "key: |\n  ü 😀 x\n",
    ],
)
def test_each_character_of_a_value_has_its_place(text: str) -> None:
    node, lines = scalar(text), text.split("\n")
    places = places_in(node, "x.yaml")
    assert len(places) == len(node.value) + 1
    for char, place in zip(node.value, places, strict=False):
        if not char.isspace():
            assert lines[place.line - 1][place.column - 1] == char
    assert places == sorted(places)


@given(st.text())
def test_any_value_has_places(text: str) -> None:
    with suppress(SpecError):
        node = tree(f"key: {text}")
        if isinstance(node, yaml.MappingNode) and isinstance(node.value[0][1], yaml.ScalarNode):
            assert len(places_in(node.value[0][1], "x.yaml")) == len(node.value[0][1].value) + 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a: 1\n  b: [x,\n    y] # both\n# next\n- c: 2\n", "a: 1\nb: [x,\n  y] # both"),
        ("- {a: 1} # one\n- c: 2\n", "{a: 1} # one"),
        ("-  a:\n     b:\n       - c\n\n   # of the next\n- d: 2\n", "a:\n  b:\n    - c"),
        ("- a: |\n    text\n\n- c: 2\n", "a: |\n  text"),
        ("- []\n", "[]"),
    ],
)
def test_a_node_is_quoted_as_it_was_written(text: str, expected: str) -> None:
    node = tree(text)
    assert isinstance(node, yaml.SequenceNode)
    assert written(node.value[0], text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "rules:\n\t- name: a",
            "2:1: this is not YAML: found character '\\t' that cannot start any token: indent with",
        ),
        ("rules:\n  - name: a\n   kind: any", "3:4: this is not YAML: expected <block end>, but found"),
        ("rules:\n  - name: a\n  kind: any", "look at the indentation"),
        (
            "when: {type: text\nseverity: info",
            "2:9: this is not YAML: expected ',' or '}', but got ':': look at the",
        ),
        ("when: {type: text\nseverity: info", "look at the bracket that opens in 1:7"),
        ("title: {{ sender.label }} wrote", "put the whole text in quotes"),
        ("title: @all", "put the text in quotes"),
        ("title: missed: a call", "put a text with a colon in quotes"),
        ('regex: "\\d+"', "take single quotes"),
    ],
)
def test_what_is_no_yaml_is_told_with_what_to_look_at(text: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        compose(Source("f.yaml", text), max_bytes=1_000, max_nodes=100)
    assert said in str(caught.value)
