"""Matchers: how they are written, and what they take."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.delivery.matchers import parse, takes
from monitor.errors import ConfigError
from monitor.store.values import Matcher, Operator

IS, IS_NOT, LIKE, NOT_LIKE = Operator


@pytest.mark.parametrize(
    ("text", "label", "operator", "value"),
    [
        ("team=payments", "team", IS, "payments"),
        (" team = payments ", "team", IS, "payments"),
        ("team!=payments", "team", IS_NOT, "payments"),
        ("team=~pay.*|trips", "team", LIKE, "pay.*|trips"),
        ("team!~'pay.*'", "team", NOT_LIKE, "pay.*"),
        ('team="a \\"b\\" \\\\ \\n \\d"', "team", IS, 'a "b" \\ \n \\d'),
        ("team=", "team", IS, ""),
        ('team=""', "team", IS, ""),
        ("k8s.pod-name=x=y", "k8s.pod-name", IS, "x=y"),
        ("team='=x'", "team", IS, "=x"),
    ],
)
def test_a_matcher_is_read_as_alertmanager_reads_it(
    text: str, label: str, operator: Operator, value: str
) -> None:
    assert parse(text) == Matcher(label=label, operator=operator, value=value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("payments", "`payments` is not a matcher; for example team=payments"),
        ("team==x", "`team==x`: one = is enough, as in team=payments"),
        ("team!==x", "one = is enough"),
        ("team=~~x", "one = is enough"),
        ("=x", "is not a matcher"),
        ("9team=x", "is not a matcher"),
        ('team="x', 'the quoted value does not end with "'),
        ("team='", "the quoted value does not end with '"),
        ("team=~(x", "`team=~(x`: '(x' is not a regular expression of RE2 (missing ): (x)"),
        ("team!~(?=x)", "is not a regular expression of RE2"),
    ],
)
def test_what_is_no_matcher_is_refused_with_the_right_form(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        parse(text)


@given(
    st.builds(
        Matcher,
        label=st.sampled_from(["team", "a_b", "x.y-z"]),
        operator=st.sampled_from([IS, IS_NOT]),
        value=st.text(max_size=20),
    )
)
def test_what_is_written_is_read_as_it_was(matcher: Matcher) -> None:
    assert parse(str(matcher)) == matcher


@pytest.mark.parametrize(
    ("text", "labels", "taken"),
    [
        ("team=pay", {"team": "pay"}, True),
        ("team=pay", {"team": "payments"}, False),
        ("team=pay", {}, False),
        ("team=''", {}, True),
        ("team!=pay", {}, True),
        ("team!=pay", {"team": "pay"}, False),
        ("team=~pay.*", {"team": "payments"}, True),
        ("team=~pay", {"team": "payments"}, False),
        ("team=~ments", {"team": "payments"}, False),
        ("team=~.*", {}, True),
        ("team=~.+", {}, False),
        ("team!~pay.*", {"team": "payments"}, False),
        ("team!~pay.*", {}, True),
        ("team=~a|b", {"team": "ab"}, False),
    ],
)
def test_a_matcher_compares_the_whole_value_and_a_missing_one_is_empty(
    text: str, labels: dict[str, str], taken: bool
) -> None:
    assert takes([parse(text)], labels) is taken


def test_all_matchers_must_agree() -> None:
    both = [parse("team=pay"), parse("severity=critical")]
    assert takes(both, {"team": "pay", "severity": "critical"})
    assert not takes(both, {"team": "pay", "severity": "info"})
    assert takes([], {})
