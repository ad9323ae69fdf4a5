"""The options of the kinds as tables: their names, their limits, what they are if nobody says."""

from __future__ import annotations

import jsonschema
import pytest
import yaml

from rules.engine import Rule
from rules.spec import SpecError, schema
from tests.rules.builders import rules_of

RIGHT = {
    "spike": "within: 1m, reference: 10m",
    "new_value": "field: sender",
    "any": "field: extension, block: exe",
    "count": "at_least: 3, within: 1m",
    "absence": "for: 1h",
    "change": "field: type, by: [sender]",
}
"""What is required of each kind, and no more."""


def in_yaml(kind: str, **options: str) -> str:
    required = dict(part.split(": ") for part in RIGHT[kind].split(", "))
    said = ", ".join(f"{name}: {value}" for name, value in (required | options).items())
    return f"rules: [{{name: it, kind: {kind}, {said}}}]"


def a_rule(kind: str, **options: str) -> Rule:
    (rule,) = rules_of(in_yaml(kind, **options)).rules
    return rule


LIMITS = [
    ("spike", "within", "10s", "9s"),
    ("spike", "within", "1d", "25h"),
    ("spike", "reference", "10s", "9s"),
    ("spike", "reference", "7d", "169h"),
    ("spike", "ratio", "1.1", "1.0"),
    ("spike", "ratio", "1000", "1001"),
    ("spike", "ratio", "1.50000000", "1.500000000"),
    ("spike", "at_least", "1", "0"),
    ("spike", "at_least", "1000", "1001"),
    ("spike", "floor", "1", "0"),
    ("spike", "floor", "1000", "1001"),
    ("spike", "direction", "up", "Up"),
    ("spike", "direction", "down", "below"),
    ("spike", "direction", "both", "all"),
    ("spike", "by", "[]", "[nobody]"),
    ("spike", "learn", "0s", "-1s"),
    ("spike", "learn", "30d", "721h"),
    ("spike", "resolve_after", "1s", "0s"),
    ("spike", "resolve_after", "1d", "25h"),
    ("new_value", "learn", "0s", "soon"),
    ("new_value", "learn", "90d", "2161h"),
    ("new_value", "forget", "1h", "59m"),
    ("new_value", "forget", "365d", "8761h"),
    ("new_value", "by", "[sender, type]", "[sender, sender]"),
    ("any", "allow", "[a]", "[]"),
    ("any", "block", f"{'a' * 1000}", f"{'a' * 1001}"),
    ("any", "allow", f"{'a' * 1000}", f"{'a' * 1001}"),
    ("count", "at_least", "2", "1"),
    ("count", "at_least", "1000", "1001"),
    ("count", "within", "1s", "0s"),
    ("count", "within", "1d", "25h"),
    ("count", "resolve_after", "1s", "0s"),
    ("count", "resolve_after", "1d", "25h"),
    ("count", "for", "0s", "-1s"),
    ("count", "for", "1d", "25h"),
    ("absence", "for", "10s", "9s"),
    ("absence", "give_up", "90d", "2161h"),
    ("change", "forget", "1h", "59m"),
    ("change", "forget", "365d", "8761h"),
]


@pytest.mark.parametrize(("kind", "name", "last", "beyond"), LIMITS)
def test_an_option_goes_up_to_its_limit_and_no_further(kind: str, name: str, last: str, beyond: str) -> None:
    assert a_rule(kind, **{name: last}).name == "it"
    with pytest.raises(SpecError) as caught:
        a_rule(kind, **{name: beyond})
    assert len(caught.value.problems) == 1


CHECKER = jsonschema.Draft202012Validator(schema())


@pytest.mark.parametrize(("kind", "name", "last"), [one[:3] for one in LIMITS])
def test_the_schema_lets_pass_what_is_right(kind: str, name: str, last: str) -> None:
    CHECKER.validate(yaml.safe_load(in_yaml(kind, **{name: last})))


@pytest.mark.parametrize(("kind", "name"), sorted({one[:2] for one in LIMITS}))
def test_the_schema_refuses_what_is_no_option(kind: str, name: str) -> None:
    assert not CHECKER.is_valid(yaml.safe_load(in_yaml(kind, **{name: "{no: option}"})))


@pytest.mark.parametrize("ratio", ["1", "1001", "high"])
def test_the_schema_knows_the_limits_of_a_ratio(ratio: str) -> None:
    assert not CHECKER.is_valid(yaml.safe_load(in_yaml("spike", ratio=ratio)))


@pytest.mark.parametrize("kind", RIGHT)
def test_what_is_required_is_enough_and_none_of_it_can_be_missing(kind: str) -> None:
    assert a_rule(kind).name == "it"
    parts = RIGHT[kind].split(", ")
    for place, part in enumerate(parts):
        rest = ", ".join(["kind: " + kind, *parts[:place], *parts[place + 1 :]])
        with pytest.raises(SpecError) as caught:
            rules_of(f"rules: [{{name: it, {rest}}}]")
        assert f'"{part.partition(":")[0]}"' in str(caught.value)
        assert "is missing" in str(caught.value)


@pytest.mark.parametrize("kind", RIGHT)
def test_conditions_may_be_left_out_and_are_read_if_they_are_there(kind: str) -> None:
    assert "image" not in a_rule(kind).describe()
    assert "with type image" in a_rule(kind, when="{type: image}").describe()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("spike", {"ratio": "3", "at_least": "10", "floor": "1", "direction": "up", "by": "[]"}),
        ("spike", {"learn": "11m", "resolve_after": "1m"}),
        ("new_value", {"learn": "1d", "forget": "30d", "by": "[]"}),
    ],
)
def test_what_is_not_said_is_as_the_manual_says(kind: str, said: dict[str, str]) -> None:
    silent, outspoken = a_rule(kind).logic, a_rule(kind, **said).logic
    assert silent.describe() == outspoken.describe()
    for name in ("_quiet", "_silent", "_learn", "_part", "_lasts", "_reach"):
        assert getattr(silent, name, None) == getattr(outspoken, name, None), name
