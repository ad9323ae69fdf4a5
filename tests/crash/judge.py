"""The verdict: what the script says should be told, against what arrived and what the store holds. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import compress
from typing import Any, Final, NamedTuple

from tests.crash.floods import RULE as FLOOD
from tests.crash.receivers import Fate, Post

WEBHOOKS: Final = frozenset({"hook", "lead"})
_SLACK_ALERT: Final = re.compile(rb"alert ([0-9a-f]{32})")
_SLACK_OVER: Final = re.compile(rb"RESOLVED: ")


# The simulator's ways to spoil a row that leave its id readable: such a row is set aside exactly once, like
# a good one is evaluated. What has no id may be set aside once for every life.
NAMED: Final = frozenset(
    f"malformed: {way}" for way in ("no sentAt", "sentAt in words", "no sender", "data in words")
)


class Wrong(StrEnum):
    """A broken promise."""

    LOST = "lost"
    INVENTED = "invented"
    TWICE = "found twice"
    PEOPLE = "wrong people"
    ORDER = "resolved before it fired, or never"
    OTHER_ID = "repeated with another id"
    ALTERED = "repeated with other contents"
    UNSIGNED = "unsigned"
    UNSETTLED = "unsettled"
    STALE = "shown as it is no more"
    UNHEARD = "not told who should have been"
    LEDGER = "ledger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    wrong: Wrong
    what: str
    at: float  #: unix seconds: when the message showed, or when the POST came

    def __str__(self) -> str:
        return f"{self.wrong}: {self.what}"


class Fact(NamedTuple):
    """What a finding is about, in the words of the script: a session of a call, or a message."""

    rule: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The script's word on one fact, as far as the watched users are concerned."""

    fact: Fact
    users: frozenset[str]
    must: bool
    known_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    expected: Mapping[Fact, Expected]
    messages: tuple[float, ...]  #: when each message that stands in a watched list showed
    readings: int  #: good rows of all watched lists together
    refusals: int  #: malformed rows of all watched lists together whose id can be read
    last_shown: float
    bursts: Mapping[str, str] = field(default_factory=dict)  #: message of a flood -> the flood


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One alert within one POST to the webhook."""

    post: Post
    alert: str
    status: str
    fact: Fact
    users: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntry:
    alert: str
    status: str
    receiver: str
    state: str
    created_at: float = 0.0
    notification: str | None = None
    subject: str | None = None  #: of its group, or of an alert that is repeated


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the store held when the last monitor had left it."""

    alerts: Mapping[str, float]  #: id to when it was first found
    entries: tuple[StoredEntry, ...]
    tallies: Mapping[str, int]
    rejects: tuple[str | None, ...]  #: ids of the rows set aside, as they were found
    left: Mapping[str, int]  #: rows of tables that must be empty when all is quiet
    rules: Mapping[str, str] = field(default_factory=dict)  #: by alert
    acks: Mapping[str, float] = field(default_factory=dict)  #: by alert, when


def read_truth(messages: Sequence[Mapping[str, Any]], watched: Collection[str]) -> Truth:
    """The truth of `/_sim/truth` from the point of view of who watches `watched`."""
    expected: dict[Fact, Expected] = {}
    for message in messages:
        for one in message["expect"] or ():
            users = frozenset(one["users"]) & frozenset(watched)
            fact = Fact(one["rule"], message["label"] if one["rule"] == FLOOD else one["key"])
            before = expected.get(fact)
            if users:
                expected[fact] = Expected(
                    fact=fact,
                    users=users | (before.users if before else frozenset()),
                    must=one["must"] or bool(before and before.must),
                    known_at=message["visible_at"],
                )
    lists = [len(set(message["users"]) & set(watched)) for message in messages]
    good = [not message["is_malformed"] for message in messages]
    named = [message["label"] in NAMED for message in messages]
    shown = [message["visible_at"] for message in messages]
    return Truth(
        expected=expected,
        messages=tuple(at for at, count in zip(shown, lists, strict=True) if count),
        readings=sum(compress(lists, good)),
        refusals=sum(compress(lists, named)),
        last_shown=max(shown, default=0.0),
        bursts={m["id"]: m["label"] for m in messages if (m["label"] or "").startswith(f"{FLOOD} ")},
    )


def read_posts(posts: Iterable[Post], bursts: Mapping[str, str]) -> list[Told]:
    """Every alert in every POST to the webhook, in the order of arrival."""
    return [
        _told(post, alert, bursts)
        for post in posts
        if post.receiver == "hook" and post.is_signed
        for alert in json.loads(post.body)["data"]["alerts"]
    ]


def _told(post: Post, alert: Mapping[str, Any], bursts: Mapping[str, str]) -> Told:
    call = alert["messages"][0]["call"] if alert["messages"] else None
    key = call["session_id"] if call else alert["messages"][0]["id"] if alert["messages"] else alert["id"]
    if alert["rule"] == FLOOD:
        key = bursts.get(key, key)
    return Told(
        post=post,
        alert=alert["id"],
        status=alert["status"],
        fact=Fact(alert["rule"], key),
        users=frozenset(alert["watched_users"]),
    )


def judge(truth: Truth, posts: Sequence[Post], stored: Stored) -> list[Violation]:
    """Everything that is wrong; [] if every promise was kept."""
    told = read_posts(posts, truth.bursts)
    return [
        *_lost(truth, told),
        *_invented(truth, told),
        *_found_twice(told, stored),
        *_out_of_order(truth, told),
        *_other_ids(posts),
        *_altered(posts),
        *_unsigned(posts),
        *_unsettled(stored, told),
        *_ledger(truth, stored, told),
    ]


def repeats(posts: Iterable[Post]) -> list[tuple[Post, Post]]:
    """(the POST before, the repeat): those whose notification the receiver had taken already."""
    taken: dict[tuple[str, str], Post] = {}
    found = []
    for post in posts:
        before = taken.get((post.receiver, post.id))
        if before is not None:
            found.append((before, post))
        if post.fate is not Fate.REFUSED:
            taken[post.receiver, post.id] = post
    return found


def _lost(truth: Truth, told: Iterable[Told]) -> Iterator[Violation]:
    arrived = {one.fact for one in told if one.post.fate is Fate.ACCEPTED and one.status == "firing"}
    for fact, expected in truth.expected.items():
        if expected.must and fact not in arrived:
            yield Violation(wrong=Wrong.LOST, what=f"{fact.rule} {fact.key}", at=expected.known_at)


def _invented(truth: Truth, told: Iterable[Told]) -> Iterator[Violation]:
    for fact, one in {one.fact: one for one in told}.items():
        expected = truth.expected.get(fact)
        what = f"{fact.rule} {fact.key}, alert {one.alert}"
        if expected is None:
            yield Violation(wrong=Wrong.INVENTED, what=what, at=one.post.at)
        elif expected.users != one.users:
            people = f"{sorted(one.users)} instead of {sorted(expected.users)}"
            yield Violation(wrong=Wrong.PEOPLE, what=f"{what}: {people}", at=one.post.at)


def _found_twice(told: Iterable[Told], stored: Stored) -> Iterator[Violation]:
    alerts: defaultdict[Fact, set[str]] = defaultdict(set)
    for one in told:
        alerts[one.fact].add(one.alert)
        if len(alerts[one.fact]) > 1:
            what = f"{one.fact.rule} {one.fact.key} is alerts {sorted(alerts[one.fact])}"
            yield Violation(wrong=Wrong.TWICE, what=what, at=one.post.at)
    for entry, times in Counter((e.alert, e.status, e.receiver) for e in stored.entries).items():
        if times > 1:
            what = f"{times} outbox entries for {entry}"
            yield Violation(wrong=Wrong.TWICE, what=what, at=stored.alerts[entry[0]])


def _out_of_order(truth: Truth, told: Iterable[Told]) -> Iterator[Violation]:
    """What need not be told is, in this script, a call answered late: told of too soon, it is taken back."""
    accepted = [one for one in told if one.post.fate is Fate.ACCEPTED]
    first = {(one.fact, one.status): one for one in reversed(accepted)}
    for (fact, status), one in first.items():
        other = first.get((fact, "resolved" if status == "firing" else "firing"))
        expected = truth.expected.get(fact)
        if status == "resolved" and (other is None or other.post.at > one.post.at):
            yield Violation(
                wrong=Wrong.ORDER, what=f"{fact.rule} {fact.key}: no firing before", at=one.post.at
            )
        elif status == "firing" and expected and _is_taken_back(expected) != (other is not None):
            what = f"{fact.rule} {fact.key}: {'resolved' if other else 'never resolved'}"
            yield Violation(wrong=Wrong.ORDER, what=what, at=one.post.at)


def _goes_to(receiver: str, rule: str) -> bool:
    """As the campaign's routes say."""
    match receiver:
        case "hook":
            return True
        case "slack":
            return rule not in {FLOOD, "missed-call"}
        case _:
            return rule == FLOOD


def _is_taken_back(expected: Expected) -> bool:
    """Whether it is over some time: what lasts, and what was told too soon."""
    return expected.fact.rule == FLOOD or not expected.must


def _other_ids(posts: Iterable[Post]) -> Iterator[Violation]:
    first: dict[tuple[str, str, str], str] = {}
    for post in posts:
        for alert, status in _contents(post):
            known = first.setdefault((post.receiver, alert, status), post.id)
            if known != post.id:
                what = f"{post.receiver}: alert {alert} ({status}) in notifications {known} and {post.id}"
                yield Violation(wrong=Wrong.OTHER_ID, what=what, at=post.at)


def _contents(post: Post) -> list[tuple[str, str]]:
    """The alerts in a POST with their status. A Slack summary names none, a forged POST nothing at all."""
    if not post.is_signed:
        return []
    if post.receiver in WEBHOOKS:
        return [(alert["id"], alert["status"]) for alert in json.loads(post.body)["data"]["alerts"]]
    status = "resolved" if _SLACK_OVER.search(post.body) else "firing"
    return [(found.decode(), status) for found in _SLACK_ALERT.findall(post.body)]


def _altered(posts: Iterable[Post]) -> Iterator[Violation]:
    first: dict[tuple[str, str], Any] = {}
    for post in posts:
        # A Slack message tells the alert's age, so only what it is about can be the same.
        # A flood may have grown between two attempts.
        is_fixed = post.receiver in WEBHOOKS and b'"rule":"flood"' not in post.body
        said = post.body if is_fixed else _contents(post)
        if first.setdefault((post.receiver, post.id), said) != said:
            yield Violation(wrong=Wrong.ALTERED, what=f"{post.receiver}: {post.id}", at=post.at)


def _unsigned(posts: Iterable[Post]) -> Iterator[Violation]:
    for post in posts:
        if not post.is_signed:
            yield Violation(wrong=Wrong.UNSIGNED, what=f"{post.receiver}: {post.id!r}", at=post.at)


def _unsettled(stored: Stored, told: Iterable[Told]) -> Iterator[Violation]:
    """All is quiet: nothing may wait, nothing may have been given up, and what counts as delivered was."""
    accepted = {(one.alert, one.status) for one in told if one.post.fate is Fate.ACCEPTED}
    for entry in stored.entries:
        at = stored.alerts[entry.alert]
        what = f"{entry.receiver}: alert {entry.alert} ({entry.status}) is {entry.state}"
        if entry.state != "delivered":
            yield Violation(wrong=Wrong.UNSETTLED, what=what, at=at)
        elif entry.receiver == "hook" and (entry.alert, entry.status) not in accepted:
            yield Violation(wrong=Wrong.UNSETTLED, what=f"{what}, but it never was", at=at)
    for table, rows in stored.left.items():
        if rows:
            yield Violation(wrong=Wrong.UNSETTLED, what=f"{rows} rows left in {table}", at=truth_end(stored))


def truth_end(stored: Stored) -> float:
    return max(stored.alerts.values(), default=0.0)


def _ledger(truth: Truth, stored: Stored, told: Sequence[Told]) -> Iterator[Violation]:
    """The sums of the store, of the script and of the receiver agree."""
    arrived = {one.alert for one in told}
    facts = {one.fact for one in told}
    sums = {
        "rows evaluated, by the script's lists": (stored.tallies["evaluated"], truth.readings),
        "malformed rows set aside, by the script's lists": (
            sum(id_ is not None and id_.isdigit() for id_ in stored.rejects),
            truth.refusals,
        ),
        "rejects stored, as counted": (len(stored.rejects), stored.tallies["rejected"]),
        "rows fetched, as evaluated and rejected": (
            stored.tallies["fetched"],
            stored.tallies["evaluated"] + stored.tallies["rejected"],
        ),
        "alerts stored, as arrived": (len(stored.alerts), len(arrived)),
        "alerts stored, as facts told": (len(stored.alerts), len(facts)),
        "alerts with an entry": (len(stored.alerts), len({entry.alert for entry in stored.entries})),
    }
    for receiver in {entry.receiver for entry in stored.entries}:
        fired = sum(entry.receiver == receiver and entry.status == "firing" for entry in stored.entries)
        if receiver != "lead":  # who is told of what nobody looked after
            due = sum(_goes_to(receiver, stored.rules.get(alert, "")) for alert in stored.alerts)
            sums[f"firing entries of {receiver}"] = (fired, due)
    for name, (one, other) in sums.items():
        if one != other:
            yield Violation(wrong=Wrong.LEDGER, what=f"{name}: {one} != {other}", at=truth_end(stored))
