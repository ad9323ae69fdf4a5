"""What happens on the stage: the shipped road, with outages, restarts and clocks that jump."""

from __future__ import annotations

import pytest

from tests.timeline.conftest import Author

# --- the shortest tests --------------------------------------------------------------------------------


def test_a_test_of_five_lines(author: Author) -> None:
    (result,) = author.perform("""\
rules: [missed-calls]
tests:
  - name: a call nobody answers
    timeline: [{call: {from: ann, to: bob}}]
    expect: [{raised: missed-call, at: 90s}]
""")
    assert result.is_fine, result.failures


def test_nothing_happens(author: Author) -> None:
    author.fine("timeline: []")


# --- messages and calls --------------------------------------------------------------------------------


def test_who_is_written_to_is_watched_and_who_answers_is_not(author: Author) -> None:
    author.rules = "rules: [{name: in, when: {direction: inbound}}, {name: out, when: {direction: outbound}}]"
    author.fine("""
timeline:
  - {message: {from: ann, to: bob, id: question}}
  - {at: 1m, message: {from: bob, to: ann, id: answer}}
expect:
  - {raised: {rule: in, message: question, about: bob}}
  - {raised: {rule: out, message: answer}, after: 1m}
""")


def test_a_message_has_all_that_rules_ask_for(author: Author) -> None:
    author.rules = """\
rules:
  - {name: file, when: {attachments: {type: image, extension: png, min_size: 5MB}, type: image}}
  - {name: mention, when: {mentions: watched}}
  - {name: meta, when: {metadata: {path: order.priority, equals: high}, tags: vip}}
  - {name: custom, when: {category: custom, custom: {path: kind, equals: 7}}}
  - {name: moderated, when: {moderation: disapproved}}
  - {name: role, when: {role: customer, sender: zoe}}
  - {name: reply, when: {thread_reply: true}}
  - {name: system, when: {sender: app_system}}
"""
    author.fine("""
users: {zoe: {name: Zoe, role: customer, tags: [new]}, ann: Ann}
watch: [bob]
timeline:
  - {message: {from: ann, to: bob, id: one, attachments: [{name: big.png, size: 6MB}]}}
  - {message: {from: ann, to: bob, id: two, mentions: bob}}
  - {message: {from: ann, to: bob, id: three, metadata: {order: {priority: high}}, tags: [vip]}}
  - {message: {from: ann, to: bob, id: four, custom: {kind: 7}}}
  - {message: {from: ann, to: bob, id: five, raw: {data: {moderation: {status: disapproved}}}}}
  - {message: {from: zoe, to: bob, id: six}}
  - {message: {from: ann, to: bob, id: seven, thread: one}}
  - {message: {from: app_system, to: bob, id: eight}}
expect:
  - {raised: {rule: file, message: one, title: Ann}}
  - {raised: {rule: mention, message: two, about: [bob]}}
  - {raised: {rule: meta, message: three}}
  - {raised: {rule: custom, message: four}}
  - {raised: {rule: moderated, message: five}}
  - {raised: {rule: role, message: six, title: Zoe}}
  - {raised: {rule: reply, message: seven}}
  - {raised: {rule: system, message: eight}}
""")


def test_edits_deletions_and_members(author: Author) -> None:
    author.rules = """\
rules:
  - {name: edited, when: {action: edited}}
  - {name: deleted, when: {action: deleted}}
  - {name: joined, when: {action: [joined, added]}}
  - {name: kicked, when: {action: kicked, subject: carl}}
  - {name: all, when: {mentions: all}}
"""
    author.fine("""
timeline:
  - {message: {from: ann, group: heroes, id: one, mentions: all}}
  - {at: 5s, edit: {message: one, text: never mind}}
  - {at: 10s, delete: {message: one, by: bob}}
  - {at: 15s, join: {group: heroes, user: carl}}
  - {at: 20s, leave: {group: heroes, user: carl, by: bob}}
expect:
  - {raised: all, by: 2s}
  - {raised: edited, after: 5s, by: 7s}
  - {raised: deleted, after: 10s, by: 12s}
  - {raised: joined, after: 15s}
  - {raised: kicked, after: 20s}
""")


@pytest.mark.parametrize("source", ["user", "user-all", "app", "groups"])
def test_a_group_is_seen_through_every_source(author: Author, source: str) -> None:
    author.fine(f"""
source: {source}
watch: [bob]
timeline: [{{message: {{from: ann, group: heroes, text: urgent, mentions: bob}}}}]
expect: [{{raised: {{rule: urgent, conversation: group_heroes}}}}, {{delivered: urgent}}]
""")


def test_a_call_goes_on_as_told(author: Author) -> None:
    author.fine("""
timeline:
  - {call: {from: ann, to: bob, id: first, cancelled: 20s}}
  - {at: 5m, call: {from: ann, to: bob, ongoing: 10s, ended: 1m}}
  - {at: 10m, call: {from: ann, group: heroes, ongoing: {after: 5s, by: bob}, ended: 1m}}
expect: [{raised: {rule: missed-call, message: first, about: bob}, after: 20s, by: 22s}]
""")


def test_a_flood_is_written_in_one_line(author: Author) -> None:
    author.fine("""
timeline:
  - {times: 4, every: 2s, message: {from: ann, to: bob}}
  - {at: 5m, times: 9, every: 2s, message: {from: "user-{n}", to: bob, text: "number {n}"}}
  - {at: 10m, times: 5, message: {from: ann, to: bob}}
expect:
  - {raised: flood, after: 10m, by: 11m}
  - {resolved: flood, by: 13m}
""")


def test_a_flood_that_grows_is_brought_up_to_date(author: Author) -> None:
    author.fine("""
timeline: [{times: 20, message: {from: ann, to: bob}}]
expect:
  - {raised: flood, by: 10s}
  - {updated: flood, times: 1+, by: 25s}
  - {resolved: flood}
  - {delivered: {rule: flood, status: firing}}
  - {delivered: {rule: flood, status: resolved}}
""")


def test_silence_is_known_when_every_list_was_read(author: Author) -> None:
    author.rules = "rules: [{name: silent, kind: absence, when: {text: beat}, by: [sender], for: 30m}]"
    author.fine("""
watch: [bob, carl]
timeline:
  - {message: {from: ann, to: bob, text: beat}}
  - {at: 20m, message: {from: ann, to: carl, text: beat}}
  - {at: 55m, message: {from: ann, to: bob, text: beat}}
  - {at: 70m, api: down}
  - {at: 80m, message: {from: ann, to: carl, text: beat}}
  - {at: 90m, api: up}
until: 100m
expect: [{raised: silent, at: 50m}, {resolved: silent, at: 55m}]
""")


def test_who_did_not_answer_in_time(author: Author) -> None:
    author.rules = "rules: [{name: waiting, kind: unanswered, when: {direction: inbound}, within: 15m}]"
    author.fine("""
timeline:
  - {message: {from: ann, to: bob, id: first}}
  - {at: 14m, message: {from: bob, to: ann}}
  - {at: 1h, message: {from: ann, to: bob, id: second}}
  - {at: 1h5m, restart: 1m}
  - {at: 2h, message: {from: bob, to: ann}}
expect:
  - {raised: {rule: waiting, message: second}, at: 75m}
  - {resolved: {rule: waiting, reason: answered}, at: 2h}
""")


def test_a_row_comes_late_and_is_not_lost(author: Author) -> None:
    author.fine("""
timeline:
  - {message: {from: ann, to: bob, text: urgent, late: 8s, id: late}}
  - {at: 2s, message: {from: ann, to: bob, text: urgent, id: soon}}
expect:
  - {raised: {rule: urgent, message: soon}, by: 4s}
  - {raised: {rule: urgent, message: late}, after: 8s, by: 10s}
""")


def test_what_was_sent_long_ago_is_old_news(author: Author) -> None:
    author.fine("""
timeline: [{message: {from: ann, to: bob, text: urgent, sent: -2h}}]
expect: [{raised: urgent}, {delivered: {rule: urgent, late: true, kind: digest}, after: 30s, by: 40s}]
""")
    author.fine("""
max_age: 3h
timeline: [{message: {from: ann, to: bob, text: urgent, sent: -2h}}]
expect: [{delivered: {rule: urgent, late: false, kind: alerts}, by: 2s}]
""")


def test_working_time_is_tried_at_any_moment(author: Author) -> None:
    author.rules = """\
calendars: {office: {timezone: Europe/Berlin, open: [{days: mon-fri, hours: "09:00-17:00"}]}}
rules: [{name: open, during: office, when: {text: urgent}}]
"""
    say = "timeline: [{message: {from: ann, to: bob, text: urgent}}]"
    for start in ("fri 16:59 Europe/Berlin", "fri 15:59", "2026-03-06T15:59:00Z", "2026-03-06 15:59"):
        author.fine(f"start: {start}\n{say}\nexpect: [{{delivered: open}}]")
    for start in ("fri 17:00 Europe/Berlin", "fri 16:00", "saturday 12:00"):
        author.fine(f"start: {start}\n{say}\nexpect: [{{held: open}}, {{never: {{delivered: open}}}}]")


# --- what goes wrong -----------------------------------------------------------------------------------


def test_rows_of_an_outage_come_when_it_is_over_and_timers_wait_for_them(author: Author) -> None:
    author.fine("""
timeline:
  - {call: {from: ann, to: bob, id: lost}}
  - {at: 5s, api: down}
  - {at: 20s, message: {from: ann, to: bob, text: urgent}}
  - {at: 30s, call: {from: carl, to: bob, id: answered, ongoing: 10s, ended: 1m}}
  - {at: 30m, api: up}
expect:
  - {raised: urgent, at: 30m}
  - {raised: {rule: missed-call, message: lost}, at: 30m}
""")


def test_a_receiver_that_was_down_gets_each_alert_once(author: Author) -> None:
    author.fine("""
receivers: [oncall, {name: hook, people: false}]
timeline:
  - {receiver: {oncall: down}}
  - {at: 10s, times: 3, every: 1m, message: {from: ann, to: bob, text: urgent}}
  - {at: 20m, receiver: {oncall: up}}
expect:
  - {raised: urgent, times: 3}
  - {delivered: {rule: urgent, receiver: hook}, times: 3, by: 3m}
  - {delivered: {rule: urgent, receiver: oncall}, times: 3, after: 20m, by: 1h}
""")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("429", "{delivered: urgent, after: 5m, by: 10m}"),
        ("hangs", "{delivered: urgent, after: 5m, by: 15m}"),
        ("400", "{never: {delivered: urgent}}"),
    ],
)
def test_receivers_answer_as_told(author: Author, answer: str, expected: str) -> None:
    author.fine(f"""
timeline:
  - {{receiver: {{oncall: {answer}}}}}
  - {{at: 10s, message: {{from: ann, to: bob, text: urgent}}}}
  - {{at: 5m, receiver: {{oncall: up}}}}
expect: [{{raised: urgent}}, {expected}]
""")


@pytest.mark.parametrize("jump", ["+2h", "-2h", "+3d"])
def test_a_clock_that_is_set_changes_nothing_for_rules(author: Author, jump: str) -> None:
    author.fine(f"""
timeline:
  - {{call: {{from: ann, to: bob}}}}
  - {{at: 10s, clock: {jump}}}
  - {{at: 3m, message: {{from: ann, to: bob, text: urgent}}}}
expect:
  - {{raised: missed-call, at: 90s}}
  - {{delivered: {{rule: missed-call, late: false}}, at: 90s}}
  - {{delivered: {{rule: urgent, late: false}}, by: 185s}}
""")


@pytest.mark.parametrize("down", ["0s", "20s", "10m"])
def test_a_restart_forgets_nothing(author: Author, down: str) -> None:
    author.fine(f"""
timeline:
  - {{times: 3, every: 2s, message: {{from: carl, to: bob}}}}
  - {{at: 10s, call: {{from: ann, to: bob, id: rings}}}}
  - {{at: 15s, restart: {down}}}
  - {{at: 30s, times: 3, every: 2s, message: {{from: carl, to: bob}}}}
  - {{at: 15m, restart: 0s}}
expect:
  - {{raised: {{rule: missed-call, message: rings}}, after: 100s, by: 11m}}
  - {{delivered: missed-call}}
  - {{raised: flood}}
  - {{delivered: {{rule: flood, status: firing}}}}
""")


def test_a_monitor_that_is_away_hears_of_things_when_it_is_back(author: Author) -> None:
    (author.folder / "later.yaml").write_text("rules: [{name: later, when: {text: urgent}}]")
    author.fine("""
timeline:
  - {restart: 10m}
  - {at: 1m, message: {from: ann, to: bob, text: urgent}}
  - {at: 2m, clock: +5m}
  - {at: 3m, mute: {rule: later, for: 15m}}
  - {at: 4m, receiver: {oncall: up}}
  - {at: 5m, reload: {rules: [later.yaml]}}
  - {at: 6m, restart: 6m}
  - {at: 30m, message: {from: ann, to: bob, text: urgent}}
expect: [{held: {rule: later, reason: silenced}, at: 12m}, {delivered: later, at: 30m}]
""")


def test_what_waits_for_a_receiver_outlives_a_restart(author: Author) -> None:
    author.fine("""
timeline:
  - {receiver: {oncall: down}}
  - {at: 5s, message: {from: ann, to: bob, text: urgent}}
  - {at: 1m, restart: 1m}
  - {at: 5m, receiver: {oncall: up}}
expect: [{delivered: urgent, after: 5m, by: 20m}]
""")


def test_other_rules_and_people_take_effect(author: Author) -> None:
    (author.folder / "later.yaml").write_text("rules: [{name: later, when: {text: urgent}}]")
    author.fine(
        """
watch: [bob]
timeline:
  - {message: {from: ann, to: bob, text: urgent}}
  - {message: {from: ann, to: carl, text: urgent}}
  - {at: 1m, reload: {rules: [later.yaml]}}
  - {at: 2m, message: {from: ann, to: bob, text: urgent}}
  - {at: 3m, reload: {watch: [{uid: carl, labels: {team: a}}]}}
  - {at: 4m, message: {from: ann, to: bob, text: urgent}}
  - {at: 5m, message: {from: ann, to: carl, text: urgent, id: last}}
expect:
  - {raised: urgent, by: 5s}
  - {raised: later, by: 125s, after: 2m}
  - {raised: {rule: later, message: last}, after: 5m}
""".replace("{message: {from: ann, to: carl, text: urgent}}", "{message: {from: ann, to: carl}}")
    )


# --- routes, holds, ends -------------------------------------------------------------------------------


def test_routes_take_the_labels_of_who_is_watched(author: Author) -> None:
    author.fine("""
watch: [{uid: bob, labels: {team: a}}, carl]
receivers: [one, two]
routes:
  - {match: {team: a}, receivers: [one], continue: true}
  - {match: {severity: [critical, warning]}, receivers: [two]}
timeline:
  - {message: {from: ann, to: bob, text: urgent}}
  - {at: 5s, message: {from: ann, to: carl, text: urgent}}
expect:
  - {delivered: {receiver: one, about: bob}}
  - {delivered: {receiver: two, about: bob}}
  - {delivered: {receiver: two, about: carl}}
  - {never: {delivered: {receiver: one, about: carl}}}
""")


def test_what_is_held_is_told_with_its_reason(author: Author) -> None:
    author.fine("""
timeline:
  - {message: {from: ann, to: bob, text: quiet}}
  - {at: 1m, times: 2, every: 1m, message: {from: ann, to: bob, text: calm}}
  - {at: 5m, mute: {rule: urgent, for: 10m}}
  - {at: 6m, message: {from: ann, to: bob, text: urgent}}
  - {at: 20m, message: {from: ann, to: bob, text: urgent}}
expect:
  - {held: {rule: quiet, reason: shadow}}
  - {delivered: calm, by: 65s}
  - {held: calm, after: 2m}
  - {held: {rule: urgent, reason: silenced}, by: 7m}
  - {delivered: urgent, after: 20m}
  - {never: {delivered: quiet}}
  - {never: {delivered: urgent}, by: 19m}
""")


def test_an_end_that_is_written_ends_the_run(author: Author) -> None:
    call = "timeline: [{call: {from: ann, to: bob}}]"
    result = author.test(f"until: 60s\n{call}")
    assert result.is_fine
    assert (result.course.ended_at, result.course.pending is not None) == (60.0, True)
    assert "came unexpected: raised at 1m42.5s missed-call" in author.wrong(call)[0]


def test_a_week_passes_in_no_time(author: Author) -> None:
    result = author.test("""
timeline:
  - {call: {from: ann, to: bob}}
  - {at: 7d, call: {from: ann, to: bob}}
expect: [{raised: missed-call, by: 2m}, {raised: missed-call, after: 7d}]
""")
    assert result.is_fine, result.failures
    assert result.seconds < 5  # some 40 ms on a machine of its own


def test_a_run_is_the_same_each_time(author: Author) -> None:
    text = """
timeline:
  - {receiver: {oncall: down}}
  - {times: 7, every: 3s, message: {from: ann, to: bob, text: urgent}}
  - {at: 20m, receiver: {oncall: up}}
expect: [{raised: urgent, times: 7}, {raised: flood}]
"""
    first, second = author.test(text).course, author.test(text).course
    assert first == second
    assert len(first.events) >= 16
