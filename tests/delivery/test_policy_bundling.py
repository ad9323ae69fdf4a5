"""What goes into one message."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from monitor.delivery.policy import MAX_BATCH_BYTES, bundle
from monitor.store.values import Bundle, Kind, Waiting
from rules.model import Severity, Status
from tests.delivery.samples import NOW, an_entry


def for_people(*entries: Waiting, summary_over: int = 3, sums: int = 0, criticals: int = 0) -> Bundle | None:
    return bundle(
        entries,
        people=True,
        summary_over=summary_over,
        now=NOW,
        gather=timedelta(seconds=30),
        summed_before=sums,
        criticals_before=criticals,
    )


def for_machine(*entries: Waiting, batch: int = 100) -> Bundle | None:
    return bundle(entries, people=False, summary_over=3, now=NOW, batch=batch)


def numbers(made: Bundle | None) -> tuple[Kind, tuple[int, ...]]:
    assert made is not None
    return made.kind, made.entries


def test_people_get_one_message_an_alert_while_few_wait() -> None:
    assert numbers(for_people(an_entry(1), an_entry(2), an_entry(3))) == (Kind.ALERTS, (1,))


def test_people_get_one_summary_of_all_when_more_wait_than_they_can_read() -> None:
    assert numbers(for_people(*(an_entry(n) for n in range(1, 5)))) == (Kind.SUMMARY, (1, 2, 3, 4))


def test_old_news_waits_to_be_gathered_and_then_goes_as_one_digest_before_the_rest() -> None:
    young, old = an_entry(1, late=True, waits_s=29), an_entry(1, late=True, waits_s=30)
    assert for_people(young) is None
    assert numbers(for_people(young, an_entry(2))) == (Kind.ALERTS, (2,))
    assert numbers(for_people(old, an_entry(2), an_entry(3, late=True))) == (Kind.DIGEST, (1, 3))


def test_old_news_does_not_count_towards_a_summary() -> None:
    waiting = [an_entry(n, late=True) for n in range(1, 9)]
    assert numbers(for_people(*waiting, an_entry(9))) == (Kind.ALERTS, (9,))


def test_what_is_summed_waits_to_be_gathered_and_then_goes_as_one_sum() -> None:
    def summed(number: int, waits_s: float = 0) -> Waiting:
        return replace(an_entry(number, waits_s=waits_s), summed=True)

    storm = [summed(n) for n in range(2, 40)]
    assert for_people(summed(1, waits_s=299), *storm) is None
    assert numbers(for_people(summed(1, waits_s=299), an_entry(40))) == (Kind.ALERTS, (40,))
    assert numbers(for_people(summed(1, waits_s=300), *storm, an_entry(40))) == (
        Kind.SUMMARY,
        tuple(range(1, 40)),
    )


def test_a_machine_gets_what_is_summed_in_batches_as_ever() -> None:
    entries = [an_entry(1), replace(an_entry(2), summed=True), an_entry(3)]
    assert numbers(for_machine(*entries)) == (Kind.ALERTS, (1, 2, 3))


def test_a_summary_is_firing_when_anything_in_it_is() -> None:
    over = [an_entry(n, status=Status.RESOLVED) for n in range(1, 5)]
    assert (made := for_people(*over)) is not None
    assert made.status is Status.RESOLVED
    assert (made := for_people(*over, an_entry(5))) is not None
    assert made.status is Status.FIRING


def test_a_machine_gets_every_alert_in_batches_of_one_status_and_lateness() -> None:
    entries = [
        an_entry(1),
        an_entry(2, status=Status.RESOLVED),
        an_entry(3, late=True),
        an_entry(4),
        an_entry(5, late=True),
    ]
    assert numbers(for_machine(*entries)) == (Kind.ALERTS, (1, 4))
    assert numbers(for_machine(*entries[1:])) == (Kind.ALERTS, (2,))
    assert numbers(for_machine(*entries[2:])) == (Kind.DIGEST, (3, 5))


def test_a_batch_keeps_to_its_number_and_size_and_holds_at_least_one() -> None:
    assert numbers(for_machine(*(an_entry(n) for n in range(1, 9)), batch=4))[1] == (1, 2, 3, 4)
    third = "x" * (MAX_BATCH_BYTES // 3)
    assert numbers(for_machine(*(an_entry(n, summary=third) for n in range(1, 9))))[1] == (1, 2)
    huge = "x" * (2 * MAX_BATCH_BYTES)
    assert numbers(for_machine(an_entry(1, summary=huge), an_entry(2)))[1] == (1,)


def test_nothing_waits_nothing_is_sent() -> None:
    assert for_people() is None
    assert for_machine() is None


def test_in_quiet_times_severity_does_not_reorder_the_outbox() -> None:
    entries = (an_entry(1, severity=Severity.INFO), an_entry(2, severity=Severity.CRITICAL))
    assert numbers(for_people(*entries)) == (Kind.ALERTS, (1,))


# --- after an outage ----------------------------------------------------------------------------------

LONG = 15 * 60 + 1


def test_after_an_outage_people_hear_what_still_fires_then_one_digest_of_the_rest() -> None:
    waiting = [
        an_entry(1, waits_s=LONG),
        an_entry(2, waits_s=LONG, lasts=True),
        an_entry(3, waits_s=LONG, lasts=True, severity=Severity.CRITICAL),
        an_entry(4, waits_s=LONG, lasts=True, is_over=True),
        an_entry(5, waits_s=LONG, status=Status.RESOLVED),
        an_entry(6),
    ]
    sent = []
    while waiting:
        made = for_people(*waiting)
        sent.append(numbers(made))
        waiting = [entry for entry in waiting if entry.id not in sent[-1][1]]
    assert sent == [
        (Kind.ALERTS, (3,)),
        (Kind.ALERTS, (2,)),
        (Kind.DIGEST, (1, 4, 5)),
        (Kind.ALERTS, (6,)),
    ]


def test_what_came_up_at_the_end_of_an_outage_goes_along_but_for_what_is_critical() -> None:
    waiting = [
        *(an_entry(n, waits_s=LONG) for n in (1, 2)),
        *(an_entry(n, waits_s=LONG - n) for n in range(3, 7)),
        an_entry(7, severity=Severity.CRITICAL),
    ]
    assert numbers(for_people(*waiting)) == (Kind.ALERTS, (7,))
    assert numbers(for_people(*waiting, criticals=3)) == (Kind.DIGEST, tuple(range(1, 8)))
    assert numbers(for_people(*waiting[:6])) == (Kind.DIGEST, tuple(range(1, 7)))


def test_the_ends_of_what_an_outage_left_are_summed_up_after_it() -> None:
    ends = [replace(an_entry(n, waits_s=LONG, status=Status.RESOLVED), summed=True) for n in (2, 4)]
    left = [an_entry(n, waits_s=LONG) for n in (1, 3)]
    assert numbers(for_people(*ends, *left)) == (Kind.DIGEST, (1, 3))
    assert numbers(for_people(*ends)) == (Kind.SUMMARY, (2, 4))


def test_after_an_outage_more_than_a_person_reads_of_what_still_fires_is_a_sum() -> None:
    waiting = [an_entry(n, waits_s=LONG, lasts=True) for n in range(1, 5)]
    assert numbers(for_people(*waiting, an_entry(5, waits_s=LONG))) == (Kind.SUMMARY, (1, 2, 3, 4))


def test_one_alert_left_by_an_outage_is_told_as_such() -> None:
    assert numbers(for_people(an_entry(1, waits_s=LONG))) == (Kind.ALERTS, (1,))


def test_a_quarter_of_an_hour_is_no_outage_yet() -> None:
    assert numbers(for_people(an_entry(1, waits_s=LONG - 1), an_entry(2))) == (Kind.ALERTS, (1,))


def test_a_machine_gets_everything_of_an_outage() -> None:
    waiting = [an_entry(1, waits_s=LONG), an_entry(2, waits_s=LONG, lasts=True), an_entry(3)]
    assert numbers(for_machine(*waiting)) == (Kind.ALERTS, (1, 2, 3))


# --- a storm ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sums", "waits_s"), [(1, 15), (2, 30), (3, 60), (4, 120), (5, 300), (99, 300)])
def test_the_longer_a_storm_the_longer_its_sums_are_gathered(sums: int, waits_s: float) -> None:
    young = [an_entry(1, waits_s=waits_s - 1), *(an_entry(n) for n in range(2, 9))]
    assert for_people(*young, sums=sums) is None
    ripe = [an_entry(1, waits_s=waits_s), *young[1:]]
    assert numbers(for_people(*ripe, sums=sums)) == (Kind.SUMMARY, tuple(range(1, 9)))


def test_after_a_storm_few_are_told_one_by_one_once_it_is_clear_that_they_are_few() -> None:
    assert for_people(an_entry(1, waits_s=14), an_entry(2), sums=1) is None
    assert numbers(for_people(an_entry(1, waits_s=15), an_entry(2), sums=1)) == (Kind.ALERTS, (1,))


def test_in_a_storm_what_is_critical_goes_at_once_as_long_as_it_is_not_many() -> None:
    storm = [an_entry(n) for n in range(1, 9)]
    urgent = [an_entry(n, severity=Severity.CRITICAL) for n in (9, 10)]
    over = an_entry(11, severity=Severity.CRITICAL, status=Status.RESOLVED)
    assert numbers(for_people(*storm, *urgent, over, criticals=1)) == (Kind.ALERTS, (9,))
    assert numbers(for_people(*storm, *urgent, over, criticals=1, sums=3)) == (Kind.ALERTS, (9,))
    assert numbers(for_people(*storm, *urgent, over, criticals=2)) == (Kind.SUMMARY, tuple(range(1, 12)))
    assert for_people(*storm, *urgent, criticals=2, sums=1) is None
    assert for_people(*storm, over, sums=1) is None
