"""Calls and single messages at their limits: verdicts, who is concerned, what a rule needs to see."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from rules.kinds.base import Needs
from rules.kinds.match import needs
from rules.kinds.missed_call import MissedCall
from rules.kinds.session import (
    PLAUSIBLE,
    Missed,
    NotMissed,
    Options,
    Session,
    Undecided,
    start_told,
    status_of,
    verdict,
    with_row,
)
from rules.model import Message, Party, Status, UserId, WatchSet
from rules.when import MESSAGE_CONDITIONS
from tests.rules.builders import (
    ANN,
    BOB,
    NOON,
    WATCH_BOB,
    Bench,
    a_call,
    a_message,
    after,
    in_group,
    rules_of,
)
from tests.rules.test_grammar_edges import read

OPTIONS = Options()


def session(*rows: Message, rang_out: bool = False) -> Session:
    made = None
    for row in rows:
        made = with_row(made, row)
    assert made is not None
    return msgspec.structs.replace(made, rang_out=rang_out)


RING = a_call("initiated", 0, number=1)

# --- the verdict ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "outcome", "rang"),
    [
        ([RING, a_call("unanswered", 45, number=2)], "not answered", 45),
        ([RING, a_call("busy", 3, number=2)], "the callee was busy", 3),
        ([RING, a_call("cancelled", 5, number=2)], "the caller hung up", 5),
        ([a_call("busy", 3, number=2)], "the callee was busy", None),
        ([a_call("unanswered", 45, group=True, began=0)], "nobody joined", 45),
        # Two ends: the first row by id decides.
        ([RING, a_call("busy", 3, number=2), a_call("unanswered", 45, number=3)], "the callee was busy", 3),
    ],
)
def test_a_call_was_missed(rows: list[Message], outcome: str, rang: int | None) -> None:
    decided = verdict(session(*rows), OPTIONS)
    assert isinstance(decided, Missed)
    assert decided.outcome == outcome
    assert decided.rang == (None if rang is None else timedelta(seconds=rang))


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([RING, a_call("ongoing", 9, number=2)], "the call was answered at 2026-11-22 12:00:09 UTC"),
        (
            [a_call("unanswered", 45, number=1), a_call("ended", 60, number=2)],
            "the call was answered at 2026-11-22 12:01:00 UTC",
        ),
        (
            [RING, a_call("rejected", 9, number=2)],
            "the call ended as rejected, which this rule does not count",
        ),
        (
            [RING, a_call("busy", 2, number=2), a_call("rejected", 9, number=3)],
            "the call ended as rejected, which this rule does not count",
        ),
        ([RING, a_call("cancelled", 4.9, number=2)], "the caller hung up after 5 s, sooner than 5s"),
        (
            [RING, a_call("cancelled", 2, number=2), a_call("unanswered", 45, number=3)],
            "the caller hung up after 2 s, sooner than 5s",
        ),
    ],
)
def test_a_call_was_not_missed(rows: list[Message], why: str) -> None:
    decided = verdict(session(*rows), OPTIONS)
    assert isinstance(decided, NotMissed)
    assert decided.why == why


@pytest.mark.parametrize(
    ("rows", "due"),
    [
        ([RING], 90),
        ([a_call("initiated", 10, number=1, began=4)], 94),
        ([a_call("cancelled", 12, number=2)], 102),  # its start may still turn up
        ([a_call("initiated", group=True)], None),  # of a group's call no time will tell
        ([a_call("transferred")], None),
    ],
)
def test_a_call_is_undecided_until(rows: list[Message], due: int | None) -> None:
    assert verdict(session(*rows), OPTIONS) == Undecided(None if due is None else after(due))


def test_a_ring_that_rang_out_is_missed_but_in_a_group() -> None:
    decided = verdict(session(RING, rang_out=True), OPTIONS)
    assert decided == Missed(RING, "no answer and no end within 90s", None)
    in_a_group = session(a_call("initiated", group=True), rang_out=True)
    assert verdict(in_a_group, OPTIONS) == Undecided(None)


@pytest.mark.parametrize(
    ("row", "began"),
    [
        (a_call("busy", 3), None),
        (a_call("initiated", 3), 3),
        (a_call("busy", 3, began=0), 0),
        (a_call("busy", 3, began=3), 3),
        (a_call("initiated", 3, began=4), 3),  # later than its own row: not believed
        (a_call("busy", PLAUSIBLE.total_seconds(), began=0), 0),
        (a_call("busy", PLAUSIBLE.total_seconds() + 1, began=0), None),
    ],
)
def test_when_a_row_says_that_the_call_began(row: Message, began: float | None) -> None:
    assert start_told(row) == (None if began is None else after(began))


@pytest.mark.parametrize(
    ("written", "status"), [("CANCELED", "cancelled"), ("cancelled", "cancelled"), ("Busy", "busy")]
)
def test_a_status_in_one_spelling(written: str, status: str) -> None:
    assert status_of(a_call(written)) == status


def test_a_session_keeps_the_first_row_of_each_status_in_the_order_of_ids() -> None:
    rows = [a_call("busy", 9, number=3), a_call("initiated", 0, number=2), a_call("busy", 8, number=1)]
    made = session(*rows)
    assert [(row.id, status_of(row)) for row in made.rows] == [(1, "busy"), (2, "initiated")]
    assert made.started_at == NOON
    assert made.call.initiated_at == NOON
    assert made.row("busy") == rows[2]
    assert made.row("ended") is None


# --- which rows concern it --------------------------------------------------------------------------

CALLS = MissedCall(None, OPTIONS)


@pytest.mark.parametrize(
    "status", ["initiated", "ongoing", "unanswered", "rejected", "busy", "cancelled", "ended"]
)
def test_every_change_of_a_call_concerns_it(status: str) -> None:
    assert CALLS.keys(a_call(status)) == ("s1",)


@pytest.mark.parametrize(
    ("status", "concerns"),
    [
        ("unanswered", True), ("ongoing", True), ("ended", True),
        ("initiated", False), ("busy", False), ("rejected", False), ("cancelled", False),
    ],
)  # fmt: skip
def test_of_a_groups_call_only_what_holds_for_all(status: str, concerns: bool) -> None:
    assert bool(CALLS.keys(a_call(status, group=True))) is concerns


@pytest.mark.parametrize("row", [a_message(), a_call("busy", session=""), a_call("transferred")])
def test_what_is_no_change_of_a_call(row: Message) -> None:
    assert CALLS.keys(row) == ()


@pytest.mark.parametrize(
    ("side", "caller", "group", "users"),
    [
        ("caller", Party(id="ANN"), False, ("ann",)),
        ("any", Party(id="ANN"), False, ("bob", "ann")),
        ("any", Party(id="ANN"), True, ("ann",)),
        ("callee", Party(id="zoe"), True, ()),
    ],
)
def test_who_is_concerned_in_any_spelling(
    side: str, caller: Party, group: bool, users: tuple[str, ...]
) -> None:
    watch: WatchSet = {UserId("ann"): {}, UserId("bob"): {}, UserId("team"): {}}
    bench = Bench(rules_of(f"rules: [{{name: it, kind: missed_call, side: {side}}}]"), watch=watch)
    bench.feed(a_call("unanswered", 45, caller=caller, group=group))
    assert [alert.watched_users for alert in bench.told] == [users]


def test_an_alert_that_was_told_is_resolved_once() -> None:
    bench = Bench(rules_of("rules: [{name: it, kind: missed_call}]"))
    bench.feed(a_call("unanswered", 45, number=1), now=after(1))
    bench.feed(a_call("ongoing", 9, number=2), now=after(2))
    bench.feed(a_call("ended", 60, number=3), now=after(3))
    firing, resolved = bench.told
    assert (firing.status, resolved.status) == (Status.FIRING, Status.RESOLVED)
    assert (firing.first_seen_at, resolved.first_seen_at) == (after(1), after(1))
    assert (firing.event_at, resolved.event_at) == (after(45), after(9))
    assert [row.id for row in resolved.messages] == [1, 2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            "",
            "calls to a watched user that were unanswered or cancelled after 5s or more of ringing or busy, "
            "or that had no end within 90s",
        ),
        (
            ", side: any, statuses: [rejected], ring_timeout: 2m, when: {type: audio}",
            "calls of a watched user with type audio that were rejected, or that had no end within 2m",
        ),
        (
            ", side: caller, statuses: [busy]",
            "calls by a watched user that were busy, or that had no end within 90s",
        ),
    ],
)
def test_a_rule_about_calls_in_words(options: str, said: str) -> None:
    (rule,) = rules_of(f"rules: [{{name: it, kind: missed_call{options}}}]").rules
    assert rule.describe() == f"it (warning): {said}"


# --- single messages --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "needed"),
    [
        ("{type: text}", Needs()),
        ("{type: groupMember}", Needs(groups=True, crowd=True)),
        ("{subject: ann}", Needs(groups=True, crowd=True)),
        ("{sender: ann}", Needs()),
        ("{conversation: [a_user_b, group_x]}", Needs(groups=True, crowd=True, direct=True)),
        ("{receiver_type: [user, group]}", Needs(groups=True, crowd=True, direct=True)),
        ("{mentions: watched}", Needs(groups=True)),
        ("{mentions: anyone}", Needs(groups=True, crowd=True)),
        ("{mentions: {users: ann}}", Needs(groups=True, crowd=True)),
        ("{category: [call, message]}", Needs(calls=True, direct=True)),
        ("{caller: ann}", Needs(calls=True, direct=True)),
        ("{callee: ann, type: audio}", Needs(calls=True, direct=True)),
        ("{not: {mentions: anyone}}", Needs()),
        ("{any: [{tags: a}, {receiver_type: user}]}", Needs(direct=True)),
    ],
)
def test_what_a_source_must_show_for_a_rule(when: str, needed: Needs) -> None:
    condition, problems = read(MESSAGE_CONDITIONS, when)
    assert problems == []
    assert needs(condition) == needed


def test_a_rule_without_conditions_needs_nothing() -> None:
    assert needs(None) == Needs()


def test_a_mention_of_nobody_watched_concerns_the_participants() -> None:
    rules = "rules: [{name: it, when: {mentions: anyone}}]"
    both: WatchSet = {UserId("ann"): {}, UserId("bob"): {}}
    told = {
        mentions: [alert.watched_users for alert in Bench(rules_of(rules), watch=both).feed(row).alerts]
        for mentions in (("bob",), ("zoe",))
        for row in [in_group(sender=ANN, mentions=mentions)]
    }
    assert told == {("bob",): [("bob",)], ("zoe",): [("ann",)]}


def test_mentions_concern_only_rules_about_mentions() -> None:
    bench = Bench(rules_of("rules: [{name: it, when: {type: text}}]"), watch=WATCH_BOB)
    bench.feed(in_group(mentions=("bob",)), a_message(sender=BOB, receiver=ANN, id=2))
    assert [alert.watched_users for alert in bench.told] == [(), ("bob",)]
