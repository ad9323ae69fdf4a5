"""What each rule makes of a message, and whether it was read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from monitor.evaluation import Orders
from monitor.explain.looking import (
    MISSING,
    Answer,
    Case,
    Looked,
    MessageRecord,
    keys_of,
    lists_with,
    reached,
    remarks,
)
from monitor.store.values import Closure, Cursor, Entry, EntryId, EntryState, Reject, Seen, UserRow
from rules.model import (
    ListId,
    Message,
    MessageId,
    RuleName,
    State,
    StateKey,
    Timer,
    UserId,
    WatchSet,
)
from tests.rules.builders import BOB, NOON, WATCH_BOB, a_call, a_message, after, in_group, rules_of
from tests.store.building import an_alert

RULES = """
rules:
  - {name: calls, kind: missed_call, when: {caller: "vip-*"}}
  - name: files
    kind: match
    when: {sender: zoe, any: [{attachments: true}, {text: refund}], not: {type: text}}
  - {name: words, kind: match, when: {text: refund}}
"""
BOBS = ListId(UserId("bob"))
RING = StateKey(RuleName("calls"), "s1")


def orders(*, watch: WatchSet = WATCH_BOB, rules: str = RULES, **facts: Any) -> Orders:
    return Orders(rules=rules_of(rules), watch=watch, routes=(), max_age=timedelta(hours=1), **facts)


def looked(message: Message, record: MessageRecord = MessageRecord(), **options: Any) -> dict[str, Looked]:
    case = Case(orders=options.pop("orders", orders()), message=message, record=record, now=NOON, **options)
    return {one.rule: one for one in case.looked()}


# --- what the rules say -----------------------------------------------------------------------------------


def test_a_rule_that_does_not_match_says_the_first_part_that_is_not_so() -> None:
    one = looked(a_message(text="hello"))["files"]
    assert one.answer is Answer.NO
    assert one.why == "not so: sender zoe, found ann; and 3 more"
    assert one.traces["when"].value is False
    assert not one.is_concerned


def test_what_must_not_be_is_told_as_such() -> None:
    rules = "rules: [{name: r, kind: match, when: {not: {all: [{type: text}, {sender: ann}]}}}]"
    one = looked(a_message(), orders=orders(rules=rules))["r"]
    assert one.why == "it is so, and must not be: all of these (type text; sender ann)"


def test_a_rule_that_would_match_today_but_raised_nothing_says_what_may_be_the_matter() -> None:
    one = looked(a_message(text="refund"))["words"]
    assert one.answer is Answer.MATCHES
    assert one.why.endswith(MISSING)


def test_a_rule_that_matches_nobody_who_is_watched_says_so() -> None:
    one = looked(a_message(text="refund"), orders=orders(watch={}))["words"]
    assert one.answer is Answer.NO
    assert one.why == "its conditions hold, but nobody whom it concerns is watched"


def test_a_value_that_is_allowed_is_not_what_the_rule_looks_for() -> None:
    rules = "rules: [{name: who, kind: any, field: sender, allow: [ann], when: {type: text}}]"
    one = looked(a_message(), orders=orders(rules=rules))["who"]
    assert one.answer is Answer.NO
    assert one.why.startswith("its conditions hold, but it is not what the rule looks for: ")
    assert one.is_concerned
    assert looked(a_message(sender=BOB), orders=orders(rules=rules))["who"].answer is Answer.MATCHES


def test_what_was_raised_says_what_became_of_it() -> None:
    alert = replace(an_alert("a1"), rule=RuleName("words"))
    entry = Entry(
        id=EntryId(1),
        alert=alert,
        receiver="ops",
        state=EntryState.SUPPRESSED,
        reason="shadow",
        late=False,
        created_at=NOON,
        settled_at=NOON,
        notification=None,
    )
    record = MessageRecord(alerts=(alert,), entries={alert.id: (entry,)})
    one = looked(a_message(text="refund"), record)["words"]
    assert (one.answer, one.alerts) == (Answer.RAISED, ("a1",))
    assert one.why == "alert a1, firing: ops suppressed (shadow)"


def test_a_rule_whose_kind_has_no_part_in_the_message_says_what_it_looks_at() -> None:
    one = looked(a_message(), orders=orders(rules="rules: [{name: calls, kind: missed_call}]"))["calls"]
    assert one.answer is Answer.NO
    assert one.why.startswith("a row of this sort has no part in what it looks at: calls to a watched user")
    assert not one.is_concerned


def test_a_rule_that_counts_says_what_it_knows_and_waits_for() -> None:
    ring = a_call("initiated")
    waits = Timer(key=RING, due=after(90), lists=(BOBS,))
    state = State(version=1, value=b'{"rows":[{"text":"s3cret"}]}')
    record = MessageRecord(
        states={RING: state},
        timers={RING: waits},
        closures=(Closure(key=RING, reason="no longer watched", at=NOON),),
    )
    rules = orders(rules="rules: [{name: calls, kind: missed_call}]")
    # What is stored of the key does not decode: the rule says so, and what is stored is shown all the same.
    one = looked(ring, record, orders=rules)["calls"]
    assert one.answer is Answer.FAILED
    [key] = one.remembered
    assert (key.key, key.due, key.waits_for) == ("s1", after(90), (BOBS,))
    assert key.closed == ("2026-11-22 12:00:00Z: no longer watched",)
    assert "s3cret" not in (key.state or "")
    [key] = looked(ring, record, orders=rules, shows_text=True)["calls"].remembered
    assert "s3cret" in (key.state or "")


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (MessageRecord(), "it would count, but nothing is remembered of its key: not read yet, or forgotten"),
        (
            MessageRecord(timers={RING: Timer(key=RING, due=after(90), lists=(BOBS,))}),
            "it counts; nothing is decided before 2026-11-22 12:01:30Z",
        ),
        (
            MessageRecord(states={RING: State(version=1, value=b'{"rows":[]}')}),
            "it counts, and what is known of its key so far raises nothing",
        ),
        (
            MessageRecord(by_key={RING: (replace(an_alert("a1"), rule=RING.rule),)}),
            "it counts; alerts of the same key: a1 (firing)",
        ),
    ],
)
def test_what_is_known_of_a_key(record: MessageRecord, why: str) -> None:
    one = looked(a_call("initiated"), record)["calls"]
    assert one.answer is Answer.COUNTED
    assert one.why.startswith(why)
    assert one.is_concerned


def test_a_condition_on_a_whole_call_is_asked_of_its_caller() -> None:
    rules = orders(rules="rules: [{name: calls, kind: missed_call, when: {role: customer}}]")
    declined = a_call("rejected", caller=BOB)  # the callee's row: Bob is its receiver
    assert looked(declined, orders=rules)["calls"].traces["when"].found == "customer"


def test_only_one_rule_may_be_asked_for() -> None:
    case = Case(orders=orders(), message=a_message(), record=MessageRecord(), now=NOON)
    assert [one.rule for one in case.looked("words")] == ["words"]


def test_texts_are_quoted_only_to_who_asks() -> None:
    message = a_message(text="refund s3cret")
    assert "s3cret" not in repr(looked(message))
    [said] = looked(message, shows_text=True)["words"].traces["when"].walk()
    assert said.quoted == "refund s3cret"


# --- was it read? -----------------------------------------------------------------------------------------


def test_the_lists_that_could_bring_a_message() -> None:
    ours = orders(watch={UserId("bob"): {}, UserId("zoe"): {}}, groups=frozenset({"team"}))
    assert lists_with(ours, a_message()) == ("bob",)
    assert lists_with(ours, in_group(mentions=("zoe", "xan"))) == ("zoe", "@group:team")
    assert lists_with(orders(), in_group()) == ()
    assert lists_with(orders(is_app_wide=True), a_message()) == ("@app",)


@pytest.mark.parametrize(
    ("row", "was_read", "what"),
    [
        (None, False, "nothing of it was ever read"),
        (
            UserRow(uid=BOBS, start_at=after(60)),
            False,
            "sent before it was watched, since 2026-11-22 12:01:00Z: not evaluated",
        ),
        (UserRow(uid=BOBS, start_at=NOON), False, "not read yet: nothing was read yet"),
        (
            UserRow(uid=BOBS, start_at=NOON, cursor=Cursor(id=MessageId(6)), watermark=after(5)),
            False,
            "not read yet: read up to 6, all before 2026-11-22 12:00:05Z was seen",
        ),
        (UserRow(uid=BOBS, start_at=NOON, cursor=Cursor(id=MessageId(7))), True, "read past it, up to 7"),
        (
            UserRow(uid=BOBS, start_at=NOON, cursor=Cursor(above=(Seen(id=MessageId(7), at=NOON),))),
            True,
            "it was read",
        ),
    ],
)
def test_how_far_a_list_was_read(row: UserRow | None, was_read: bool, what: str) -> None:
    record = MessageRecord(rows={BOBS: row} if row else {})
    [found] = reached(orders(), a_message(id=MessageId(7)), record)
    assert (found.list, found.was_read, found.what) == ("bob", was_read, what)


def test_what_stands_against_a_message_before_any_rule() -> None:
    reject = Reject(uid=BOBS, message_id="1", reason="no sentAt", structure="{}", at=NOON)
    record = MessageRecord(rejects=(reject,))
    unwatched = orders(watch={})
    assert list(remarks(unwatched, a_message(), record)) == [
        "nobody in this message is watched: ann, bob",
        "a row of this id could not be read at 2026-11-22 12:00:00Z: no sentAt",
    ]
    assert list(remarks(unwatched, in_group(), MessageRecord())) == [
        "nobody in this message is watched: ann, nor the group team"
    ]
    assert list(remarks(orders(), a_message(edited_at=after(9)), MessageRecord())) == [
        "it was edited at 2026-11-22 12:00:09Z: the row as it is now is not the row as it was"
    ]
    [deleted] = remarks(orders(), a_message(edited_at=after(5), deleted_at=after(9)), MessageRecord())
    assert deleted.startswith("it was deleted at 2026-11-22 12:00:09Z")


def test_every_state_that_a_message_has_to_do_with() -> None:
    assert keys_of(orders().rules, a_call("initiated")) == {RING}
    assert keys_of(rules_of("rules: []"), a_call("initiated")) == frozenset()
    assert keys_of(orders().rules, a_message()) == frozenset()
