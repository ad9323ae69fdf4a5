"""The engine: what every rule can rely on, whatever its kind."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.conditions import Interest
from rules.engine import RuleSet, step, wanted
from rules.index import Index
from rules.model import (
    Alert,
    Message,
    MessageId,
    State,
    StateKey,
    Status,
    Tick,
    UserId,
    WatchSet,
    fingerprint,
)
from rules.spec import DEFAULT_PACKS, load, pack
from tests.rules.builders import (
    ANN,
    APP,
    MISSED,
    NOON,
    WATCH_BOB,
    Bench,
    a_call,
    a_message,
    after,
    in_group,
    rules_of,
)

EVERYTHING = "rules: [{name: it, when: {sender: '*'}, severity: info, labels: {team: a}}]"


def test_an_alert_says_what_was_found() -> None:
    message = a_message(id=MessageId(7), metadata={"free": "form"}, sent_at=after(-60))
    (alert,) = step(rules_of(EVERYTHING), WATCH_BOB, {}, [message], now=NOON).alerts
    assert alert == Alert(
        id=fingerprint(APP, "it", "7", "7"),
        rule=alert.rule,
        key="7",
        status=Status.FIRING,
        severity=alert.severity,
        title="it: text from Ann Archer (ann) to Bob Brown (bob)",
        summary="message in ann_user_bob, 2026-11-22 11:59:00 UTC",
        conversation_id="ann_user_bob",
        event_at=after(-60),
        first_seen_at=NOON,
        watched_users=(UserId("bob"),),
        labels={"team": "a"},
        messages=(message.evidence(),),
    )


def test_a_message_twice_in_a_step_is_one_alert() -> None:
    outcome = step(rules_of(EVERYTHING), WATCH_BOB, {}, [a_message(), a_message()], now=NOON)
    assert len(outcome.alerts) == 1


@pytest.mark.parametrize(
    ("message", "watch", "users"),
    [
        (a_message(), {"bob": {}}, [("bob",)]),
        (a_message(), {"ann": {}, "bob": {}}, [("ann", "bob")]),
        (a_message(), {"zoe": {}}, []),
        (a_message(), {}, []),
        (in_group(), {"ann": {}}, [("ann",)]),
        (in_group(), {"bob": {}}, [()]),
        (a_message(sender=msgspec.structs.replace(ANN, id="ANN")), {"ann": {}}, [("ann",)]),
    ],
)
def test_the_watched_users_are_the_participants_that_are_watched(
    message: Message, watch: WatchSet, users: list[tuple[str, ...]]
) -> None:
    outcome = step(rules_of(EVERYTHING), watch, {}, [message], now=NOON)
    assert [alert.watched_users for alert in outcome.alerts] == users


def test_a_mention_concerns_the_mentioned() -> None:
    watch: WatchSet = {UserId("ann"): {}, UserId("bob"): {}}
    rules = load([pack("mentions")], app=APP)
    outcome = step(rules, watch, {}, [in_group(mentions=("zoe", "bob"))], now=NOON)
    assert [alert.watched_users for alert in outcome.alerts] == [("bob",)]


# --- one rule never stops the others ----------------------------------------------------------------


class Explosive(str):
    """A field that raises when a rule looks at it, with message text in the error."""

    def lower(self) -> str:
        raise KeyError("SECRET TEXT")


def test_a_rule_that_raises_is_a_fault_and_the_others_go_on() -> None:
    rules = rules_of("""
rules:
  - {name: bad, when: {sender: ann}}
  - {name: good, when: {type: text}}
""")
    poison = in_group(sender=msgspec.structs.replace(ANN, id=Explosive("ann")))
    outcome = step(rules, WATCH_BOB, {}, [poison, in_group(id=MessageId(2))], now=NOON)
    assert [(fault.rule, fault.message_id) for fault in outcome.faults if fault.rule == "bad"] == [("bad", 1)]
    assert ("good", "2") in [(alert.rule, alert.key) for alert in outcome.alerts]
    assert ("bad", "2") in [(alert.rule, alert.key) for alert in outcome.alerts]
    assert all("SECRET" not in fault.error and "KeyError at " in fault.error for fault in outcome.faults)


def test_a_correlating_rule_that_raises_is_a_fault_and_the_other_calls_go_on() -> None:
    bad = a_call("unanswered", session="bad")
    assert bad.call is not None
    poison = msgspec.structs.replace(bad, call=msgspec.structs.replace(bad.call, status=Explosive("x")))
    bench = Bench(rules_of(MISSED))
    outcome = bench.feed(poison, a_call("unanswered", session="good", number=2))
    assert [alert.key for alert in outcome.alerts] == ["good"]
    assert [(fault.rule, fault.message_id) for fault in outcome.faults] == [("missed", 1)]


def test_a_state_that_cannot_be_judged_is_a_fault_and_stays_as_it_is() -> None:
    bench = Bench(rules_of(MISSED))
    key = StateKey(bench.rules.rules[0].name, "s1")
    bench.states[key] = State(version=3, value=b'{"rows": []}')
    outcome = bench.feed(a_call("busy", session="s2"), ticks=[Tick(key=key, due=NOON)])
    assert [alert.key for alert in outcome.alerts] == ["s2"]
    assert [(fault.rule, fault.message_id) for fault in outcome.faults] == [("missed", None)]
    assert bench.states[key].version == 3


# --- the index --------------------------------------------------------------------------------------

WORDS = st.sampled_from(["message", "call", "custom", "text", "image"])
SETS = st.none() | st.frozensets(WORDS, max_size=3)


@given(
    interests=st.lists(st.builds(Interest, SETS, SETS, st.none()), max_size=8),
    category=WORDS,
    kind=WORDS | st.just("new"),
)
def test_the_index_finds_what_looking_at_every_rule_finds(
    interests: list[Interest], category: str, kind: str
) -> None:
    index = Index([(interest, number) for number, interest in enumerate(interests)])
    expected = tuple(
        number
        for number, (categories, types, _) in enumerate(interests)
        if (categories is None or category in categories) and (types is None or kind in types)
    )
    assert tuple(index.at(a_message(category=category, type=kind))) == expected


LEAVES = st.sampled_from(
    (
        *("category: message", "category: call", "type: text", "type: [image, audio]", "type: 'i*'"),
        *("receiver_type: group", "callee: bob", "direction: inbound", "text: hello", "mentions: anyone"),
    )
)
TREES = st.recursive(
    LEAVES.map(lambda leaf: f"{{{leaf}}}"),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"{{all: [{', '.join(parts)}]}}"),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"{{any: [{', '.join(parts)}]}}"),
        inner.map(lambda part: f"{{not: {part}}}"),
    ),
    max_leaves=6,
)
MESSAGES = [
    a_message(text="hello"),
    a_message(type="image", mentions=("zoe",)),
    in_group(type="audio"),
    a_call("busy"),
    a_call("unanswered", kind="video"),
    a_message(category="custom", type="new"),
]


@given(tree=TREES)
def test_a_rule_in_the_index_finds_what_its_condition_alone_finds(tree: str) -> None:
    rules = rules_of(f"rules: [{{name: it, when: {tree}}}]")
    # Twice negated, nothing is known of a rule's interest, and it is asked about every message.
    plainly = rules_of(f"rules: [{{name: it, when: {{not: {{not: {tree}}}}}}}]")
    assert found(rules, MESSAGES) == found(plainly, MESSAGES)


def found(rules: RuleSet, messages: list[Message]) -> list[int]:
    numbered = [
        msgspec.structs.replace(message, id=MessageId(number)) for number, message in enumerate(messages)
    ]
    return sorted(int(alert.key) for alert in step(rules, WATCH_BOB, {}, numbered, now=NOON).alerts)


# --- splitting --------------------------------------------------------------------------------------


@given(data=st.data())
def test_event_findings_do_not_depend_on_steps_or_order(data: st.DataObject) -> None:
    rules = load([pack(name) for name in DEFAULT_PACKS], app=APP)
    rows = [msgspec.structs.replace(m, id=MessageId(number)) for number, m in enumerate(MESSAGES[:3])]
    whole = Bench(rules)
    whole.feed(*rows)
    split = Bench(rules)
    for row in data.draw(st.permutations([*rows, *rows])):
        split.feed(row)
    assert split.open_alerts == whole.open_alerts


def test_only_correlating_rules_want_states() -> None:
    rules = load([pack(name) for name in DEFAULT_PACKS], app=APP)
    keys = wanted(rules, [a_message(), a_call("unanswered"), a_call("busy", session="s2")])
    assert sorted(keys) == [("missed-call", "s1"), ("missed-call", "s2")]


# --- the packs --------------------------------------------------------------------------------------


def test_the_packs_name_their_rules_as_published() -> None:
    rules = load([pack(name) for name in DEFAULT_PACKS], app=APP)
    names = ["attachment", "attachment-large", "attachment-risky", "mention", "missed-call"]
    assert sorted(rules.fingerprints) == names
    assert rules.warnings == ()


def test_the_packs_find_a_missed_call_an_attachment_and_a_mention() -> None:
    from tests.rules.test_templates import MEDIA

    bench = Bench(load([pack(name) for name in DEFAULT_PACKS], app=APP))
    bench.feed(MEDIA, a_call("unanswered", 45, number=2), a_message(id=MessageId(3), text="hello"))
    assert {alert.rule: alert.title for alert in bench.told} == {
        "attachment": "Attachment from Ann Archer (ann) to Bob Brown (bob)",
        "mention": "Ann Archer (ann) mentioned bob",
        "missed-call": "Missed audio call: Ann Archer (ann) to Bob Brown (bob)",
    }
    assert bench.last.faults == ()
