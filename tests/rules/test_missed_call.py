"""Missed calls as tables: the rows of a call, and what an operator is told."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rules.engine import step
from rules.model import Message, Party, State, StateKey, Status, Tick, UserId, WatchSet
from tests.rules.builders import ANN, APP, BOB, MISSED, NOON, WATCH_BOB, Bench, a_call, after, rules_of

WATCH_ANN: WatchSet = {UserId("ann"): {}}
WATCH_BOTH: WatchSet = {UserId("ann"): {}, UserId("bob"): {}}

KEY = StateKey(rules_of(MISSED).rules[0].name, "s1")


def missed(options: str = "", watch: WatchSet = WATCH_BOB) -> Bench:
    return Bench(rules_of(f"rules: [{{name: missed, kind: missed_call{options}}}]"), watch=watch)


RINGING = a_call("initiated", 0, number=1)

TOLD: list[tuple[str, str, list[Message]]] = [
    ("unanswered", "", [RINGING, a_call("unanswered", 45, number=2)]),
    ("cancelled after a while", "", [RINGING, a_call("cancelled", 12, number=2)]),
    ("canceled in the other spelling", "", [RINGING, a_call("canceled", 12, number=2)]),
    ("cancelled just long enough", "", [RINGING, a_call("cancelled", 5, number=2)]),
    ("busy", "", [RINGING, a_call("busy", 1, number=2)]),
    ("rejected by choice", ", statuses: [rejected]", [RINGING, a_call("rejected", 4, number=2)]),
    ("the end alone", "", [a_call("unanswered", 45, number=2)]),
    ("cancelled alone, its start told", "", [a_call("cancelled", 12, number=2, began=0)]),
    ("status in capitals", "", [a_call("UNANSWERED", 45)]),
    ("group call nobody joined", "", [a_call("unanswered", 45, group=True)]),
    ("zero min_ring", ", min_ring: 0s", [RINGING, a_call("cancelled", 0, number=2)]),
    ("condition holds", ", when: {type: audio, caller: ann, role: agent}", [a_call("busy")]),
]

NOT_TOLD: list[tuple[str, str, list[Message]]] = [
    ("answered", "", [RINGING, a_call("ongoing", 8, number=2), a_call("ended", 60, number=3)]),
    ("ended", "", [a_call("ended", 60, number=3)]),
    ("rejected", "", [RINGING, a_call("rejected", 8, number=2)]),
    ("cancelled at once", "", [RINGING, a_call("cancelled", 4.9, number=2)]),
    ("cancelled at once, told by the row", "", [a_call("cancelled", 4, number=2, began=0)]),
    ("status not chosen", ", statuses: [busy]", [RINGING, a_call("unanswered", 45, number=2)]),
    ("unknown status", "", [a_call("transferred", 8)]),
    ("group call, one busy", "", [a_call("busy", 3, group=True), a_call("rejected", 4, group=True)]),
    ("group call cancelled", "", [a_call("initiated", group=True), a_call("cancelled", 40, group=True)]),
    ("condition fails", ", when: {type: video}", [RINGING, a_call("unanswered", 45, number=2)]),
    ("condition on the caller's role fails", ", when: {role: customer}", [a_call("busy")]),
]


@pytest.mark.parametrize(("options", "rows"), [case[1:] for case in TOLD], ids=[case[0] for case in TOLD])
def test_a_missed_call_is_told_at_first_sight(options: str, rows: list[Message]) -> None:
    bench = missed(options)
    bench.feed(*rows)
    assert bench.news == [("s1", "firing")]
    assert bench.timers == {}


@pytest.mark.parametrize(
    ("options", "rows"), [case[1:] for case in NOT_TOLD], ids=[case[0] for case in NOT_TOLD]
)
def test_other_calls_are_never_told(options: str, rows: list[Message]) -> None:
    bench = missed(options)
    for row in rows:
        bench.feed(row)
    bench.pass_time()
    assert bench.told == []


@pytest.mark.parametrize(
    ("side", "watch", "group", "is_told", "users"),
    [
        ("callee", WATCH_BOB, False, True, ("bob",)),
        ("callee", WATCH_ANN, False, False, ()),
        ("callee", WATCH_BOTH, False, True, ("bob",)),
        ("caller", WATCH_BOB, False, False, ()),
        ("caller", WATCH_ANN, False, True, ("ann",)),
        ("any", WATCH_BOB, False, True, ("bob",)),
        ("any", WATCH_ANN, False, True, ("ann",)),
        ("any", WATCH_BOTH, False, True, ("bob", "ann")),
        ("callee", WATCH_BOB, True, True, ()),
        ("callee", WATCH_ANN, True, False, ()),
        ("caller", WATCH_ANN, True, True, ("ann",)),
        ("any", WATCH_ANN, True, True, ("ann",)),
        ("callee", {}, False, False, ()),
    ],
)
def test_the_side_says_whose_call_it_must_be(
    side: str, watch: WatchSet, group: bool, is_told: bool, users: tuple[str, ...]
) -> None:
    bench = missed(f", side: {side}", watch)
    bench.feed(a_call("unanswered", 45, group=group))
    assert bool(bench.told) is is_told
    assert all(alert.watched_users == users for alert in bench.told)


def test_uids_are_compared_in_lower_case() -> None:
    bench = missed()
    bench.feed(a_call("unanswered", 45, callee=Party(id="BOB")))
    assert [alert.watched_users for alert in bench.told] == [("bob",)]


# --- the ring with no end ---------------------------------------------------------------------------


def test_a_ring_with_no_end_waits_for_the_lists_of_watched_participants() -> None:
    bench = missed(watch=WATCH_BOTH)
    bench.feed(RINGING)
    (timer,) = bench.timers.values()
    assert bench.told == []
    assert timer.due == after(90)
    assert set(timer.lists) == {"ann", "bob"}


def test_a_ring_with_no_end_is_missed_when_its_time_has_passed() -> None:
    bench = missed(", ring_timeout: 2m")
    bench.feed(RINGING)
    assert [timer.due for timer in bench.timers.values()] == [after(120)]
    bench.pass_time()
    assert bench.news == [("s1", "firing")]
    assert bench.timers == {}
    assert bench.told[0].event_at == NOON
    assert bench.told[0].title == "Missed audio call: Ann Archer (ann) to Bob Brown (bob)"
    assert bench.told[0].summary == (
        "No answer and no end within 2m, 2026-11-22 12:00:00 UTC, in ann_user_bob"
    )


def test_a_call_of_last_year_is_judged_like_one_of_today() -> None:
    bench = missed()
    now = NOON + timedelta(days=400)
    bench.feed(RINGING, now=now)
    assert bench.last.states[0].expires_at is None
    bench.pass_time(now)
    assert bench.news == [("s1", "firing")]
    assert bench.told[0].event_at == NOON
    assert bench.told[0].first_seen_at == now
    assert bench.last.states[0].expires_at == now + timedelta(days=2)


def test_an_end_that_comes_after_the_timeout_is_the_same_alert() -> None:
    bench = missed()
    bench.feed(RINGING)
    bench.pass_time()
    bench.feed(a_call("unanswered", 100, number=2))
    assert bench.news == [("s1", "firing")]


def test_a_tick_that_comes_too_early_is_asked_again() -> None:
    bench = missed()
    bench.feed(RINGING)
    outcome = bench.feed(ticks=[Tick(key=KEY, due=after(80))])
    assert bench.told == []
    assert [timer.due for timer in outcome.timers] == [after(90)]


@pytest.mark.parametrize("status", ["unanswered", "ongoing", "rejected"])
def test_an_end_cancels_the_wait_and_a_tick_for_it_does_nothing(status: str) -> None:
    bench = missed()
    bench.feed(RINGING)
    bench.feed(a_call(status, 45, number=2))
    before, states = list(bench.told), dict(bench.states)
    assert bench.timers == {}
    outcome = bench.feed(ticks=[Tick(key=KEY, due=after(90))])
    assert (outcome.alerts, outcome.states, outcome.timers, outcome.cancelled) == ((), (), (), (KEY,))
    assert (bench.told, bench.states) == (before, states)


def test_ticks_without_state_or_rule_are_only_closed() -> None:
    stranger = StateKey(KEY.rule.__class__("gone"), "s1")
    outcome = missed().feed(ticks=[Tick(key=KEY, due=NOON), Tick(key=stranger, due=NOON)])
    assert outcome.cancelled == (KEY, stranger)
    assert (outcome.alerts, outcome.states, outcome.faults) == ((), (), ())


def test_row_and_tick_in_one_step_are_judged_together() -> None:
    bench = missed()
    bench.feed(RINGING)
    bench.feed(a_call("ongoing", 89, number=2), ticks=[Tick(key=KEY, due=after(90))])
    assert bench.told == []
    assert bench.timers == {}


def test_cancelled_with_an_unknown_start_waits_for_the_row_that_tells_it() -> None:
    bench = missed()
    bench.feed(a_call("cancelled", 12, number=2))
    assert bench.told == []
    assert [timer.due for timer in bench.timers.values()] == [after(102)]
    bench.feed(RINGING)
    assert bench.news == [("s1", "firing")]
    assert bench.timers == {}


def test_cancelled_with_a_start_that_never_comes_is_missed() -> None:
    bench = missed()
    bench.feed(a_call("cancelled", 12, number=2))
    bench.pass_time()
    assert bench.news == [("s1", "firing")]
    assert bench.told[0].summary.startswith("The caller hung up, ")
    bench.feed(a_call("initiated", 10, number=1))
    assert bench.news == [("s1", "firing"), ("s1", "resolved")]
    assert bench.told[-1].resolution == "the caller hung up after 2 s, sooner than 5s"


@pytest.mark.parametrize("began", [-1_000_000, 60])
def test_a_start_that_cannot_be_true_is_not_believed(began: float) -> None:
    bench = missed()
    bench.feed(a_call("cancelled", 3, number=2, began=began), a_call("initiated", 1, number=1))
    assert bench.told == []


# --- resolved ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["ongoing", "ended"])
def test_an_answer_that_appears_later_resolves_the_alert(status: str) -> None:
    bench = missed()
    bench.feed(a_call("unanswered", 45, number=2))
    bench.feed(a_call(status, 44, number=1), now=after(300))
    firing, resolved = bench.told
    assert resolved.status is Status.RESOLVED
    assert resolved.id == firing.id
    assert resolved.resolution == "the call was answered at 2026-11-22 12:00:44 UTC"
    assert resolved.first_seen_at == firing.first_seen_at == NOON
    assert resolved.event_at == after(44)


def test_an_alert_is_resolved_even_if_nobody_in_it_is_watched_any_longer() -> None:
    bench = missed()
    bench.feed(a_call("unanswered", 45, number=2))
    bench.watch = {}
    bench.feed(a_call("ongoing", 44, number=1))
    assert bench.news == [("s1", "firing"), ("s1", "resolved")]


def test_a_resolved_alert_stays_resolved() -> None:
    bench = missed()
    bench.feed(a_call("unanswered", 45, number=2))
    bench.feed(a_call("ongoing", 44, number=1))
    bench.feed(a_call("busy", 46, number=3), a_call("unanswered", 45, number=2))
    assert bench.news == [("s1", "firing"), ("s1", "resolved")]


def test_an_answer_in_the_same_step_leaves_nothing_to_tell() -> None:
    bench = missed()
    bench.feed(a_call("unanswered", 45, number=2), a_call("ongoing", 44, number=1))
    assert bench.told == []


# --- repeated, split, two users ---------------------------------------------------------------------


def test_rows_read_again_change_nothing_and_write_nothing() -> None:
    bench = missed()
    rows = [RINGING, a_call("unanswered", 45, number=2)]
    bench.feed(*rows)
    outcome = bench.feed(*rows, *rows)
    assert (outcome.states, outcome.alerts, outcome.timers, outcome.cancelled) == ((), (), (), ())


def test_a_ring_read_again_keeps_its_timer() -> None:
    bench = missed()
    bench.feed(RINGING)
    outcome = bench.feed(RINGING)
    assert outcome.timers == ()
    assert list(bench.timers) == [KEY]


def test_two_watched_ends_make_one_alert() -> None:
    bench = missed(", side: any", WATCH_BOTH)
    bench.feed(a_call("unanswered", 45))
    bench.feed(a_call("unanswered", 45))
    assert bench.news == [("s1", "firing")]


def test_calls_of_nobody_watched_leave_no_state() -> None:
    bench = missed(watch={UserId("zoe"): {}})
    outcome = bench.feed(RINGING, a_call("unanswered", 45, number=2))
    assert (outcome.states, outcome.timers, outcome.cancelled) == ((), (), ())


def test_a_callee_who_is_watched_from_now_on_hears_of_the_old_call_when_it_is_read() -> None:
    bench = missed(watch=WATCH_ANN)
    rows = [RINGING, a_call("unanswered", 45, number=2)]
    bench.feed(*rows)
    assert bench.told == []
    bench.watch = WATCH_BOTH
    bench.feed(*rows)
    assert bench.news == [("s1", "firing")]


def test_a_callee_who_is_unwatched_while_it_rings_is_not_told_of() -> None:
    bench = missed(watch=WATCH_BOTH)
    bench.feed(RINGING)
    bench.watch = WATCH_ANN
    bench.pass_time()
    assert bench.told == []
    assert bench.timers == {}


def test_two_rules_keep_two_sessions() -> None:
    rules = rules_of("rules: [{name: a, kind: missed_call}, {name: b, kind: missed_call, side: any}]")
    bench = Bench(rules)
    bench.feed(a_call("unanswered", 45))
    assert sorted(alert.rule for alert in bench.told) == ["a", "b"]
    assert len({alert.id for alert in bench.told}) == 2
    assert len(bench.states) == 2


def test_a_type_that_changes_within_the_call_is_told_as_it_began() -> None:
    bench = missed(", when: {type: audio}")
    bench.feed(a_call("initiated", 0, number=1), a_call("unanswered", 45, number=2, kind="video"))
    assert bench.told[0].title.startswith("Missed audio call")


def test_the_alert_carries_the_first_row_and_the_one_that_decided() -> None:
    bench = missed()
    bench.feed(RINGING)
    bench.feed(a_call("unanswered", 45, number=2))
    (alert,) = bench.told
    assert [message.id for message in alert.messages] == [1, 2]
    assert alert.event_at == after(45)
    assert alert.conversation_id == "ann_user_bob"
    assert alert.summary == "Not answered after 45 s, 2026-11-22 12:00:45 UTC, in ann_user_bob"


@pytest.mark.parametrize("order", [1, -1])
def test_of_rows_with_one_status_the_first_by_id_counts_in_any_order(order: int) -> None:
    bench = missed()
    bench.feed(*[a_call("unanswered", 40 + number, number=number) for number in (1, 2, 3)][::order])
    assert [message.id for message in bench.told[0].messages] == [1]
    assert bench.told[0].event_at == after(41)


@pytest.mark.parametrize("order", [1, -1])
def test_the_earliest_start_that_a_row_tells_counts_in_any_order(order: int) -> None:
    bench = missed()
    rows = [a_call("initiated", 3, number=1, began=0), a_call("cancelled", 6, number=2, began=2)]
    for row in rows[::order]:
        bench.feed(row)
    assert bench.news == [("s1", "firing")]
    assert bench.timers == {}


# --- hostile rows -----------------------------------------------------------------------------------


@pytest.mark.parametrize("session", ["\ud800", "x" * 1_000_000, "a\nb\u202e", "' or 1=1"])
def test_any_session_id_makes_a_storable_key(session: str) -> None:
    bench = missed()
    bench.feed(a_call("initiated", session=session))
    bench.feed(a_call("unanswered", 45, number=2, session=session))
    (alert,) = bench.told
    assert len(alert.key) <= 200
    assert alert.key.isascii()
    assert alert.key.isprintable()


def test_a_hostile_name_neither_breaks_the_state_nor_the_title() -> None:
    mallory = Party(id="ann", name="\ud800\u202eevil\n*@here*" + "x" * 500_000)
    bench = missed()
    bench.feed(a_call("initiated", caller=mallory))
    assert len(bench.states[KEY].value) < 100_000
    bench.pass_time()
    (alert,) = bench.told
    assert len(alert.title) <= 200
    assert alert.title.isprintable()
    assert bench.last.faults == ()


def test_a_call_without_session_is_no_call() -> None:
    bench = missed()
    outcome = bench.feed(a_call("unanswered", session=""))
    assert (outcome.alerts, outcome.faults) == ((), ())


@pytest.mark.parametrize("value", [b"", b"nonsense", b"{}", b'{"rows": []}'])
def test_a_stored_state_that_cannot_be_read_is_a_fault_and_the_call_is_told_all_the_same(
    value: bytes,
) -> None:
    rules = rules_of(MISSED)
    states = {KEY: State(version=7, value=value)}
    outcome = step(rules, WATCH_BOB, states, [a_call("unanswered", 45)], now=NOON)
    assert [alert.key for alert in outcome.alerts] == ["s1"]
    assert [change.expected for change in outcome.states] == [7]
    assert len(outcome.faults) == (0 if value == b'{"rows": []}' else 1)


def test_ids_do_not_depend_on_anything_but_app_rule_and_session() -> None:
    bench, other = missed(), missed(", side: any, severity: critical, title: x", WATCH_BOTH)
    bench.feed(a_call("busy", 3, number=9, caller=ANN, callee=BOB))
    other.feed(a_call("unanswered", 45))
    assert bench.told[0].id == other.told[0].id
    assert rules_of(MISSED).app == APP
