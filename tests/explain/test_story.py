"""The story of an alert: when what happened, why, and who was told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from monitor.delivery.policy import RouteSpec
from monitor.explain.states import STRANGE
from monitor.explain.story import AlertRecord, Cause, Story, story
from monitor.store.lookups import Sending
from monitor.store.values import (
    Ack,
    Attempt,
    Change,
    Closure,
    Entry,
    EntryId,
    EntryState,
    Escalating,
    Fetched,
    Kind,
    NotificationId,
    Reason,
    Shown,
)
from rules.model import AlertId, Because, MessageId, Severity, Status, UserId
from tests.store.building import ANNA, NOON, RING, a_message, after, an_alert

BEHIND = timedelta(seconds=-2)  # CometChat's clock
SENT = NotificationId("5e11" + "0" * 28)
MISSED = replace(an_alert("a1", found_at=after(seconds=10)), event_at=NOON)


def because(status: Status = Status.FIRING, **facts: Any) -> Because:
    return Because(alert=AlertId("a1"), status=status, **facts)


def page(seconds: float, **facts: Any) -> Fetched:
    times = {"asked_at": after(seconds=seconds - 1) + BEHIND, "received_at": after(seconds=seconds)}
    return Fetched(list=ANNA, skew=BEHIND, **(times | facts))


RAISED = Reason(
    because=because(messages=(MessageId(1),), key="s1", after='{"rows":[1]}'),
    at=after(seconds=11),
    list=ANNA,
    brought_by=page(9),
)
RECORD = AlertRecord(
    alert=MISSED,
    entries=(
        Entry(
            id=EntryId(4),
            alert=MISSED,
            receiver="ops",
            state=EntryState.DELIVERED,
            reason=None,
            late=False,
            created_at=after(seconds=11),
            settled_at=after(seconds=50),
            notification=SENT,
        ),
    ),
    reasons=(RAISED,),
    sendings={
        SENT: Sending(
            id=SENT,
            receiver="ops",
            kind=Kind.ALERTS,
            state=EntryState.DELIVERED,
            created_at=after(seconds=12),
            attempts=2,
            due_at=after(seconds=50),
            alerts=1,
        )
    },
    attempts={
        SENT: (
            Attempt(notification=SENT, at=after(seconds=15), outcome="retry", detail="answered 503"),
            Attempt(notification=SENT, at=after(seconds=50), outcome="delivered", detail=""),
        )
    },
)
TO_OPS = RouteSpec(receivers=("ops",))


def told(record: AlertRecord, **options: Any) -> Story:
    return story(record, **({"routes": [TO_OPS], "watch": {ANNA: {}}} | options))


def lines(record: AlertRecord) -> list[tuple[float, str]]:
    """Seconds after noon, and what happened."""
    return [((step.at - NOON).total_seconds(), step.what) for step in told(record).steps]


def test_from_sent_to_delivered_by_our_clock() -> None:
    assert lines(RECORD) == [
        (2, "message 1 is sent: message/text, ben to anna"),
        (8, "CometChat is asked for the list of anna"),
        (9, "its answer is here"),
        (10, "the rule missed-call finds it"),
        (11, "it is committed: raised"),
        (12, "ops: notification 5e110000 is taken up"),
        (15, "ops: attempt 1: retry: answered 503"),
        (50, "ops: attempt 2: delivered"),
    ]
    assert [step.after_s for step in told(RECORD).steps] == [None, 6, 1, 1, 1, 1, 3, 35]
    assert told(RECORD).skew_s == -2


def test_how_long_it_took_until_somebody_was_told() -> None:
    [line] = told(RECORD).told
    assert (line.after_found_s, line.after_event_s) == (39, 48)
    assert (line.attempts, line.next_at) == (2, None)


def test_what_waits_says_when_it_goes_out() -> None:
    [entry] = RECORD.entries
    waiting = replace(RECORD, entries=(replace(entry, state=EntryState.PENDING, settled_at=None),))
    [line] = told(waiting).told
    assert (line.after_found_s, line.next_at) == (None, after(seconds=50))


def test_what_is_not_sent_says_why_in_the_timeline() -> None:
    [entry] = RECORD.entries
    for state, why, said in [
        (EntryState.SUPPRESSED, "muted by mute 3", "ops: the alert is suppressed: muted by mute 3"),
        (EntryState.DEAD, "answered 404", "ops: the alert is dead: answered 404"),
        (EntryState.DROPPED, None, "ops: the alert is dropped"),
    ]:
        ended = replace(entry, state=state, reason=why)
        assert (50, said) in lines(replace(RECORD, entries=(ended,)))
    nowhere = replace(entry, receiver="", state=EntryState.SUPPRESSED, reason="no route takes it")
    assert (50, "the alert is suppressed: no route takes it") in lines(replace(RECORD, entries=(nowhere,)))


def test_time_that_passed_and_a_second_look_are_told() -> None:
    waited = replace(
        RAISED,
        because=because(tick=after(seconds=5) + BEHIND),
        brought_by=page(9, second_look=True),
    )
    shown = lines(replace(RECORD, reasons=(waited,)))
    assert (5, "the rule had waited up to here for what did not come") in shown
    assert (9, "its answer is here, once more: the row had been missed") in shown


def test_a_row_that_changed_after_it_was_read_is_told_as_such() -> None:
    moderated = replace(RAISED, brought_by=page(9, changed=True))
    shown = lines(replace(RECORD, reasons=(moderated,)))
    assert (9, "its answer is here, once more: the row changed after it was read") in shown


def test_updates_and_the_end_have_their_places() -> None:
    over = replace(an_alert("a1", resolved="called back"), first_seen_at=after(seconds=10))
    update = Reason(because=because(revision=2), at=after(seconds=60), list=ANNA)
    end = Reason(because=because(Status.RESOLVED), at=after(seconds=70), list=ANNA)
    record = replace(RECORD, alert=over, reasons=(RAISED, update, end))
    shown = dict(lines(record))
    assert shown[60] == "it is committed: brought up to date (revision 2)"
    assert shown[70] == "it is committed: resolved"
    assert [cause.what for cause in told(record).causes] == [
        "raised",
        "brought up to date (revision 2)",
        "resolved",
    ]


def test_an_alert_of_an_older_version_is_told_as_far_as_it_is_known() -> None:
    over = replace(an_alert("a1", resolved="called back"), first_seen_at=after(seconds=10))
    [entry] = RECORD.entries
    ended = replace(
        entry, alert=over, created_at=after(seconds=70), state=EntryState.PENDING, settled_at=None
    )
    shown = lines(replace(RECORD, alert=over, reasons=(), entries=(entry, ended)))
    assert (11, "it is committed (by a version that did not record why)") in shown
    assert (70, "it is over: called back") in shown


def test_a_state_that_ended_without_a_conclusion_is_told() -> None:
    closed = Closure(key=RING, reason="no longer watched", at=after(seconds=80))
    assert lines(replace(RECORD, closures=(closed,)))[-1] == (
        80,
        "the rule forgets s1 without a conclusion: no longer watched",
    )


def test_a_sum_or_digest_is_named() -> None:
    sending = RECORD.sendings[SENT]
    summary = replace(RECORD, sendings={SENT: replace(sending, kind=Kind.SUMMARY, alerts=37)})
    assert (12, "ops: notification 5e110000, a summary of 37 alerts is taken up") in lines(summary)
    batch = replace(RECORD, sendings={SENT: replace(sending, alerts=2)})
    assert (12, "ops: notification 5e110000 of 2 alerts is taken up") in lines(batch)


def test_states_are_shown_without_what_people_wrote_unless_asked_for() -> None:
    secret = replace(RAISED, because=because(key="s1", before=None, after='{"rows":[{"text":"s3cret"}]}'))
    record = replace(RECORD, reasons=(secret,))
    assert "s3cret" not in repr(told(record))
    [cause] = told(record, shows_text=True).causes
    assert cause.after == '{"rows":[{"text":"s3cret"}]}'
    assert told(RECORD).causes == (
        Cause(
            what="raised",
            at=after(seconds=11),
            messages=(MessageId(1),),
            list=ANNA,
            key="s1",
            words=(STRANGE,),
            changes=("rows: 0 -> 1, new [1]",),
            after='{"rows":[1]}',
        ),
    )


def test_a_rule_without_state_has_no_changes() -> None:
    [cause] = told(replace(RECORD, reasons=(replace(RAISED, because=because()),))).causes
    assert (cause.key, cause.words, cause.changes) == (None, (), ())


def test_routes_say_what_they_want() -> None:
    routes = [
        RouteSpec(receivers=("night",), match={"team": ("payments", "sales"), "severity": ("critical",)}),
        RouteSpec(receivers=("hook",), match={"team": ("support",)}, continue_=True),
        RouteSpec(receivers=("ops", "log")),
        RouteSpec(receivers=("never",)),
    ]
    shown = told(RECORD, routes=routes, watch={ANNA: {"team": "support"}}).routes
    assert shown == (
        "with labels rule=missed-call, severity=warning, team=support",
        "  route 1 does not take it: it wants team payments or sales, severity critical",
        "  route 2 takes it: to hook, and the next routes are asked too",
        "  route 3 takes it: to ops, log",
        "  route 4 is not asked: route 3 took it",
    )
    assert told(RECORD, routes=[]).routes[1:] == ("  there are no routes",)


def test_each_watched_user_has_a_way() -> None:
    both = replace(MISSED, watched_users=(ANNA, UserId("ben")), severity=Severity.INFO)
    shown = told(
        replace(RECORD, alert=both), watch={ANNA: {"team": "a"}, UserId("ben"): {"team": "b"}}
    ).routes
    assert [line for line in shown if line.startswith("with")] == [
        "with labels rule=missed-call, severity=info, team=a",
        "with labels rule=missed-call, severity=info, team=b",
    ]


def test_messages_of_groups_and_calls_are_named() -> None:
    row = replace(a_message(7), category="call", type="audio", action="unanswered", receiver_type="group")
    shown = lines(replace(RECORD, alert=replace(MISSED, messages=(row,)), entries=()))
    assert (2, "message 7 is sent: call/audio unanswered, ben to group anna") in shown


def test_groups_notes_and_silences_are_told() -> None:
    [sent] = RECORD.entries
    waits = replace(
        sent,
        id=EntryId(5),
        receiver="oncall",
        state=EntryState.PENDING,
        settled_at=None,
        notification=None,
        grouped='1/{team="web"}',
    )
    too = replace(waits, id=EntryId(6), receiver="lead", grouped=None, note="not acknowledged within 15 min")
    freed = replace(waits, id=EntryId(7), receiver="log", grouped=None, silence=3, created_at=after(hours=1))
    record = replace(RECORD, entries=(sent, waits, too, freed), flushes={"oncall": after(minutes=5)})
    assert (11, "lead is told too: not acknowledged within 15 min") in lines(record)
    assert (3600, "log: silence 3 is over, and the alert is told after all") in lines(record)
    assert [(one.group, one.note, one.silence, one.next_at) for one in told(record).told] == [
        (None, None, None, None),
        ('1/{team="web"}', None, None, after(minutes=5)),
        (None, "not acknowledged within 15 min", None, None),
        (None, None, 3, None),
    ]


def test_how_an_alert_stands() -> None:
    alone = Shown(
        receiver="ops",
        subject="a1",
        alert=AlertId("a1"),
        shown_at=after(hours=4),
        due_at=after(hours=8),
        change=Change.REPEAT,
        repeats=1,
        failures=2,
    )
    grouped = Shown(receiver="oncall", subject="g1", alert=None, shown_at=NOON)
    step = Escalating(after=timedelta(minutes=15), receivers=("lead", "boss"), due_at=after(minutes=15))
    record = replace(RECORD, shown=(alone, grouped), ahead=(step,))
    assert told(record).stands == (
        "ops shows it as of 2026-03-01 16:00:00 UTC, said 2 times; repeated at "
        "2026-03-01 20:00:00 UTC, after 2 attempts that failed",
        "oncall shows it in a group as of 2026-03-01 12:00:00 UTC",
        "lead, boss: told at 2026-03-01 12:15:00 UTC too, if nobody looks after it by then",
    )
    ack = Ack(alert=AlertId("a1"), by="anna", at=after(minutes=2), comment="on it")
    taken = replace(RECORD, ack=ack, ahead=(step,))
    assert (120, "anna looks after it: on it") in lines(taken)
    assert told(taken).stands == (
        "since 2026-03-01 12:02:00 UTC anna looks after it: on it; it is neither repeated nor escalated",
        "lead, boss: told at 2026-03-01 12:15:00 UTC too, once nobody looks after it any more",
    )
    over = replace(taken, alert=replace(MISSED, status=Status.RESOLVED, resolution="over"), ahead=())
    assert told(over).stands == ()
