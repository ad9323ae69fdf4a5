"""The judge must see every broken promise: each test takes a clean record and spoils one thing of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.crash.judge import Stored, StoredEntry, Wrong, judge, read_truth, repeats
from tests.crash.receivers import Fate, Post

SCRIPT = [
    {"id": "1", "users": ["ann", "bob"], "visible_at": 10.0, "expect": []},
    {
        "id": "5", "users": ["ann", "cid"], "visible_at": 10.5, "expect": [],
        "is_malformed": True, "label": "malformed: no sender",
    },
    {
        "id": "6", "users": ["ann", "cid"], "visible_at": 10.5, "expect": [],
        "is_malformed": True, "label": "malformed: null",
    },
    {
        "id": "2", "users": ["ann", "bob"], "visible_at": 11.0,
        "expect": [{"rule": "mention", "key": "2", "users": ["bob"], "must": True}],
    },
    {
        "id": "3", "users": ["ann", "cid"], "visible_at": 12.0,
        "expect": [{"rule": "missed-call", "key": "v1.call", "users": ["ann"], "must": False}],
    },
    {
        "id": "4", "users": ["cid", "dan"], "visible_at": 13.0,
        "expect": [{"rule": "mention", "key": "4", "users": ["dan"], "must": True}],
    },
]  # fmt: skip
TRUTH = read_truth([{"is_malformed": False, "label": None} | row for row in SCRIPT], ["ann", "bob"])


def alert(
    id_: str, rule: str = "mention", *, message: str = "2", session: str | None = None, **more: Any
) -> Any:
    call = {"session_id": session} if session else None
    return {
        "id": id_, "rule": rule, "status": "firing", "watched_users": ["bob"],
        "messages": [{"id": message, "call": call}],
    } | more  # fmt: skip


MENTION = alert("a1")
CALL = alert("a2", "missed-call", message="3", session="v1.call", watched_users=["ann"])
OVER = {**CALL, "status": "resolved"}


def post(id_: str, *alerts: Any, at: float = 20.0, fate: Fate = Fate.ACCEPTED) -> Post:
    body = json.dumps({"data": {"alerts": alerts}}).encode()
    return Post(at=at, receiver="hook", id=id_, body=body, fate=fate)


def slack(id_: str, alert_id: str, *, status: str = "WARNING", age: str = "3 s ago") -> Post:
    body = f"{status}: missed call, {age}, alert {alert_id} · notification {id_}".encode()
    return Post(at=20.0, receiver="slack", id=id_, body=body, fate=Fate.ACCEPTED)


ALERT_1, ALERT_2 = "1" * 32, "2" * 32
POSTS = [
    post("n1", MENTION),
    post("n2", CALL, at=21),
    post("n3", OVER, at=22),
    slack("5" * 32, ALERT_1),
]


def entry(alert_id: str, status: str = "firing", state: str = "delivered") -> StoredEntry:
    return StoredEntry(alert=alert_id, status=status, receiver="hook", state=state)


STORED = Stored(
    alerts={"a1": 11.5, "a2": 12.5},
    entries=(entry("a1"), entry("a2"), entry("a2", "resolved")),
    tallies={"evaluated": 5, "fetched": 8, "rejected": 3},
    rejects=("5", None, None),
    left={"timers": 0},
)


def wrongs(posts: list[Post] = POSTS, stored: Stored = STORED) -> set[Wrong]:
    return {violation.wrong for violation in judge(TRUTH, posts, stored)}


def test_the_truth_is_that_of_the_watched_users() -> None:
    assert {fact.key: sorted(one.users) for fact, one in TRUTH.expected.items()} == {
        "2": ["bob"],
        "v1.call": ["ann"],
    }
    assert (TRUTH.readings, TRUTH.refusals) == (5, 1)
    assert TRUTH.messages == (10.0, 10.5, 10.5, 11.0, 12.0)
    assert TRUTH.last_shown == 13.0


def test_a_clean_record_is_clean() -> None:
    assert wrongs() == set()


def test_a_finding_that_never_came_is_lost() -> None:
    assert Wrong.LOST in wrongs(POSTS[1:])


@pytest.mark.parametrize("fate", [Fate.REFUSED, Fate.DOUBTFUL])
def test_a_finding_that_was_never_acknowledged_is_lost(fate: Fate) -> None:
    assert Wrong.LOST in wrongs([post("n1", MENTION, fate=fate), *POSTS[1:]])


def test_what_the_script_does_not_speak_of_is_invented() -> None:
    assert wrongs([*POSTS, post("n9", alert("a9", message="1"))]) >= {Wrong.INVENTED, Wrong.LEDGER}


def test_what_concerns_nobody_watched_is_invented() -> None:
    assert Wrong.INVENTED in wrongs([*POSTS, post("n9", alert("a9", message="4", watched_users=["dan"]))])


def test_the_people_of_an_alert_are_those_of_the_script() -> None:
    assert Wrong.PEOPLE in wrongs([post("n1", alert("a1", watched_users=["ann", "bob"])), *POSTS[1:]])


def test_one_fact_under_two_alert_ids_is_found_twice() -> None:
    assert Wrong.TWICE in wrongs([*POSTS, post("n9", alert("a9"))])


def test_one_alert_in_two_entries_is_found_twice() -> None:
    assert Wrong.TWICE in wrongs(stored=replace(STORED, entries=(*STORED.entries, entry("a1"))))


def test_a_repeat_with_the_same_id_is_counted_and_fine() -> None:
    again = [*POSTS, post("n1", MENTION, at=30)]
    assert wrongs(again) == set()
    assert [(before.at, after.at) for before, after in repeats(again)] == [(20.0, 30)]


def test_a_retry_after_a_refusal_is_no_repeat() -> None:
    assert repeats([post("n1", MENTION, fate=Fate.REFUSED), post("n1", MENTION)]) == []


def test_a_repeat_with_another_id_is_wrong() -> None:
    assert Wrong.OTHER_ID in wrongs([*POSTS, post("n9", MENTION)])


def test_a_repeat_with_other_contents_is_wrong() -> None:
    assert Wrong.ALTERED in wrongs([*POSTS, post("n1", {**MENTION, "title": "other"})])


def test_slack_may_tell_another_age_but_not_another_alert() -> None:
    assert wrongs([*POSTS, slack("5" * 32, ALERT_1, age="9 s ago")]) == set()
    assert Wrong.ALTERED in wrongs([*POSTS, slack("5" * 32, ALERT_2)])
    assert Wrong.OTHER_ID in wrongs([*POSTS, slack("6" * 32, ALERT_1)])
    assert wrongs([*POSTS, slack("6" * 32, ALERT_1, status="RESOLVED")]) == set()


def test_a_resolution_comes_after_its_firing_and_only_where_it_belongs() -> None:
    assert Wrong.ORDER in wrongs([POSTS[0], post("n3", OVER, at=20), post("n2", CALL, at=21)])
    assert Wrong.ORDER in wrongs([*POSTS[:2], POSTS[3]])
    assert Wrong.ORDER in wrongs([*POSTS, post("n9", {**MENTION, "status": "resolved"}, at=30)])


def test_an_unsigned_post_is_wrong() -> None:
    forged = replace(POSTS[0], is_signed=False, body=b"no JSON at all")
    assert wrongs([forged, *POSTS]) == {Wrong.UNSIGNED, Wrong.ALTERED}


@pytest.mark.parametrize("state", ["pending", "dead", "suppressed"])
def test_an_entry_that_is_not_delivered_is_unsettled(state: str) -> None:
    spoiled = replace(STORED, entries=(entry("a1", state=state), *STORED.entries[1:]))
    assert wrongs(stored=spoiled) == {Wrong.UNSETTLED}


def test_an_entry_delivered_only_by_its_own_word_is_unsettled() -> None:
    assert Wrong.UNSETTLED in wrongs(POSTS[1:])


def test_what_is_left_over_is_unsettled() -> None:
    assert wrongs(stored=replace(STORED, left={"timers": 1})) == {Wrong.UNSETTLED}


@pytest.mark.parametrize("name", ["evaluated", "fetched", "rejected"])
def test_sums_that_do_not_agree_are_wrong(name: str) -> None:
    spoiled = replace(STORED, tallies={**STORED.tallies, name: 7})
    assert wrongs(stored=spoiled) == {Wrong.LEDGER}


def test_an_alert_without_an_entry_is_wrong() -> None:
    assert Wrong.LEDGER in wrongs(stored=replace(STORED, alerts={**STORED.alerts, "a9": 12.0}))


def test_a_malformed_row_with_an_id_is_set_aside_once() -> None:
    spoiled = replace(STORED, rejects=("5", "5", None))
    assert wrongs(stored=spoiled) == {Wrong.LEDGER}


def test_a_flood_is_known_by_any_of_its_messages_and_has_an_end() -> None:
    script = [
        {
            "id": str(number), "users": ["ann", "cid"], "visible_at": 10.0, "label": "flood 7",
            "expect": [{"rule": "flood", "key": "9", "users": ["ann"], "must": True}] if number == 9 else [],
            "is_malformed": False,
        }
        for number in (8, 9)
    ]  # fmt: skip
    truth = read_truth(script, ["ann", "bob"])
    begun = alert("a1", "flood", message="8", watched_users=["ann"])
    over = {**begun, "status": "resolved"}
    stored = Stored(
        alerts={"a1": 11.5},
        entries=(entry("a1"), entry("a1", "resolved")),
        tallies={"evaluated": 2, "fetched": 2, "rejected": 0},
        rejects=(),
        left={},
    )
    assert judge(truth, [post("n1", begun), post("n2", over, at=21)], stored) == []
    assert {one.wrong for one in judge(truth, [post("n1", begun)], stored)} == {Wrong.ORDER, Wrong.UNSETTLED}
