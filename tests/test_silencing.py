"""What a person asks of a silence: completed, or refused with the right form."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from monitor.errors import ConfigError
from monitor.silencing import MAX_TEXT, Wish, check_rules, matchers_of, planned, until
from monitor.store.values import Matcher, Operator

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WISH = Wish(matchers=("team=payments", 'rule=~"missed-.*"'), comment=" moved ", author="anna", length="2h")


def test_a_wish_begins_at_once_and_lasts_as_long_as_it_says() -> None:
    plan = planned(WISH, now=NOW)
    assert (plan.starts_at, plan.ends_at) == (NOW, NOW + timedelta(hours=2))
    assert plan.matchers == (
        Matcher(label="team", value="payments"),
        Matcher(label="rule", operator=Operator.LIKE, value="missed-.*"),
    )
    assert (plan.author, plan.comment) == ("anna", "moved")


def test_a_wish_may_begin_later() -> None:
    tomorrow = NOW + timedelta(days=1)
    plan = planned(replace(WISH, starts_at=tomorrow), now=NOW)
    assert (plan.starts_at, plan.ends_at) == (tomorrow, tomorrow + timedelta(hours=2))


def test_a_beginning_that_is_past_is_now() -> None:
    """What was sent before can't be held any more, and the record should not say so."""
    wish = replace(WISH, length=None, starts_at=NOW - timedelta(hours=1), ends_at=NOW + timedelta(hours=1))
    assert planned(wish, now=NOW).starts_at == NOW


def test_an_end_may_be_told_in_any_zone() -> None:
    there = datetime(2026, 3, 1, 15, tzinfo=timezone(timedelta(hours=1)))
    assert planned(replace(WISH, length=None, ends_at=there), now=NOW).ends_at == NOW + timedelta(hours=2)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"matchers": ()}, "matchers: say what is silenced; for example team=payments"),
        ({"matchers": ("payments",)}, "`payments` is not a matcher; for example team=payments"),
        ({"matchers": ("rule=~'('",)}, "is not a regular expression of RE2"),
        ({"matchers": ("team!=payments",)}, 'team!="payments" would take alerts without any such label'),
        ({"matchers": ("team=~'.*'",)}, "add one that asks for a value, for example team=payments"),
        ({"length": None}, "say how long: for (30m, 2h, 3d) or ends_at"),
        ({"ends_at": NOW + timedelta(hours=1)}, "say how long"),
        ({"length": "2"}, "for: expected a time with its unit"),
        ({"length": "0s"}, "for: expected a time above zero"),
        ({"length": "366d"}, "a silence lasts up to 365 days"),
        ({"length": "9999999d"}, "a silence lasts up to 365 days"),
        ({"length": None, "ends_at": NOW + timedelta(days=366)}, "a silence lasts up to 365 days"),
        ({"length": None, "ends_at": NOW}, "ends_at: 2026-03-01 12:00:00 UTC is over"),
        ({"length": None, "ends_at": NOW.replace(tzinfo=None)}, "ends_at: 2026-03-01T12:00:00 has no time"),
        ({"starts_at": NOW.replace(tzinfo=None)}, "starts_at: 2026-03-01T12:00:00 has no time zone"),
        (
            {"length": None, "ends_at": NOW + timedelta(hours=1), "starts_at": NOW + timedelta(hours=1)},
            "a silence ends after it begins",
        ),
        ({"comment": "  "}, "comment is empty: whoever reads the record wants to know"),
        ({"author": ""}, 'author is empty: whoever reads the record wants to know; for example "anna"'),
        ({"comment": "x" * (MAX_TEXT + 1)}, "comment has 501 characters; 500 are the most"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_the_right_form(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        planned(replace(WISH, **changes), now=NOW)
    assert reason in str(refused.value)


def test_the_same_matcher_twice_is_one() -> None:
    assert len(matchers_of(["team=a", 'team="a"'])) == 1


@pytest.mark.parametrize(
    ("matcher", "known", "reason"),
    [
        ("rule=missed-call", ["missed-call"], None),
        ("rule=missed-call", [], None),  # before the first start
        ("rule=cometwatch-blind", ["missed-call"], None),
        ("rule=rule-surge", ["missed-call"], None),
        ("rule=~'missed-.*'", ["mention"], None),
        ("team=missed-cal", ["missed-call"], None),
        ("rule=missed-cal", ["missed-call"], 'no rule is named "missed-cal" (did you mean "missed-call"?)'),
        ("rule=zzz", ["b", "a"], 'no rule is named "zzz" (there are: a, b)'),
    ],
)
def test_a_silence_of_a_rule_that_is_not_there_silences_nothing(
    matcher: str, known: list[str], reason: str | None
) -> None:
    matchers = matchers_of([matcher])
    if reason is None:
        check_rules(matchers, known)
        return
    with pytest.raises(ConfigError) as refused:
        check_rules(matchers, known)
    assert str(refused.value) == reason


def test_an_end_is_told_by_the_length() -> None:
    assert until("1h30m", since=NOW) == NOW + timedelta(minutes=90)
    assert until("365d", since=NOW) == NOW + timedelta(days=365)
    for length, reason in (("0m", "above zero"), ("365d1s", "up to 365 days")):
        with pytest.raises(ConfigError, match=reason):
            until(length, since=NOW)


def test_a_wish_in_json_has_no_other_keys() -> None:
    read = msgspec.json.decode(b'{"matchers":["a=b"],"for":"2h","comment":"c","author":"d"}', type=Wish)
    assert read == Wish(matchers=("a=b",), length="2h", comment="c", author="d")
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(b'{"matchers":["a=b"],"until":"2h","comment":"c"}', type=Wish)
