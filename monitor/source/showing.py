"""Which rows each list shows for this app: what `watch.source` should be. Pure.

The rows that matter are of three kinds: one-to-one messages, group messages and calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from monitor.source.facts import UNKNOWN, Fact, Looks, fact_of, left_out, pivot_of
from monitor.source.looks import Look, Seen
from rules.model import MessageId


def is_direct(row: Seen) -> bool:
    return row.receiver_type == "user" and row.category != "call"


def is_group(row: Seen) -> bool:
    return row.receiver_type == "group"


def is_call(row: Seen) -> bool:
    return row.category == "call"


KINDS: Final[Mapping[str, Callable[[Seen], bool]]] = {
    "direct": is_direct,
    "groups": is_group,
    "calls": is_call,
}


# --- the list of a user, and GET /messages on their behalf -------------------------------------------------


def groups_in_user(looks: Looks) -> Fact:
    newest, everything = looks.get("newest"), looks.get("all_newest")
    question = "Does the user list show group messages?"
    if _has(is_group, newest):
        return fact_of("groups_in_user", question, "yes", "source: user sees groups too", newest)
    if missing := left_out(newest, everything, is_group):
        meaning = "mentions and missed calls in groups need watch.source: user-all or app, or watch.groups"
        return fact_of("groups_in_user", question, f"no ({missing} left out)", meaning, newest, everything)
    meaning = "no group message among these rows: write one and ask again; until then assume no"
    return fact_of("groups_in_user", question, UNKNOWN, meaning, newest, everything)


def calls_in_user(looks: Looks) -> Fact:
    newest, calls, everything = looks.get("newest"), looks.get("calls"), looks.get("all_calls")
    question = "Does the user list show calls?"
    if _has(is_call, newest, calls):
        meaning = "missed calls are found with source: user"
        return fact_of("calls_in_user", question, "yes", meaning, newest, calls)
    if missing := left_out(calls, everything, lambda row: is_call(row) and not is_group(row)):
        meaning = "missed calls need watch.source: user-all or app"
        return fact_of("calls_in_user", question, f"no ({missing} left out)", meaning, calls, everything)
    meaning = "no call among these rows: ring once and ask again"
    return fact_of("calls_in_user", question, UNKNOWN, meaning, newest, calls)


def groups_in_user_all(looks: Looks) -> Fact:
    look = looks.get("all_newest")
    question = "Does user-all show group messages?"
    if _has(is_group, look):
        return fact_of("groups_in_user_all", question, "yes", "user-all finds mentions in groups", look)
    if look and not look.is_answered:
        return fact_of("groups_in_user_all", question, "no, refused", "keep watch.source: user", look)
    meaning = "no group message among these rows: write one and ask again"
    return fact_of("groups_in_user_all", question, UNKNOWN, meaning, look)


def calls_in_user_all(looks: Looks) -> Fact:
    newest, calls, user = looks.get("all_newest"), looks.get("all_calls"), looks.get("calls")
    name, question = "calls_in_user_all", "Does user-all show calls?"
    if _has(is_call, newest, calls):
        return fact_of(name, question, "yes", "missed calls are found with user-all", newest, calls)
    if newest and not newest.is_answered:
        return fact_of(name, question, "no, refused", "keep watch.source: user", newest)
    if newest and _has(is_call, user):
        return fact_of(name, question, "no", "missed calls need watch.source: user", newest, calls, user)
    meaning = "no call among these rows: ring once and ask again"
    return fact_of(name, question, UNKNOWN, meaning, newest, calls)


# --- GET /messages with the key alone ----------------------------------------------------------------------
# A busy app's newest page reaches back seconds only, so a row that another list showed is asked for: the page
# after the id before it has to begin with it.


def direct_in_app(looks: Looks) -> Fact:
    return _in_app(looks, "direct", "one-to-one messages", "one list may stand for every user's")


def groups_in_app(looks: Looks) -> Fact:
    return _in_app(looks, "groups", "group messages", "source: app finds mentions in groups")


def calls_in_app(looks: Looks) -> Fact:
    return _in_app(looks, "calls", "calls", "missed calls are found with source: app")


def _in_app(looks: Looks, kind: str, words: str, gain: str) -> Fact:
    newest, asked = looks.get("app_newest"), looks.get(f"app_{kind}")
    name, question = f"{kind}_in_app", f"Does the app's list show {words}?"
    if _has(KINDS[kind], newest, asked):
        return fact_of(name, question, "yes", gain, newest, asked)
    if newest and not newest.is_answered:
        return fact_of(name, question, "no, refused", "this app can't use watch.source: app", newest)
    is_empty = newest is not None and not newest.rows
    if (asked and asked.is_answered) or (is_empty and _has(KINDS[kind], *looks.values())):
        meaning = "watch.source: app would miss them: keep to another source"
        return fact_of(name, question, "no", meaning, newest, asked)
    meaning = f"none among these rows: ask with a user who has {words}"
    return fact_of(name, question, UNKNOWN, meaning, newest, asked)


def app_append(looks: Looks) -> Fact:
    """Whether the page after an id holds the next rows: without it one cursor for all would skip."""
    asked = [look for kind in KINDS if (look := looks.get(f"app_{kind}")) and look.ids]
    question = "Are the rows after an id the next ones in the app's list?"
    if not asked:
        return fact_of("app_append", question, UNKNOWN, "needs a user with messages", None)
    for look in asked:
        pivot = pivot_of(look)
        if pivot is not None and min(look.ids) < pivot:
            meaning = "the cursor does not work here: keep to another source and report it"
            return fact_of("app_append", question, "the id is not heeded", meaning, look)
    look = asked[0]
    if MessageId((pivot_of(look) or 0) + 1) in look.ids:
        return fact_of("app_append", question, "yes", "catching up skips nothing", look)
    return fact_of("app_append", question, UNKNOWN, "the row that should come first is not shown", look)


# --- the list of a group -----------------------------------------------------------------------------------


def group_list(looks: Looks) -> Fact:
    look = looks.get("group_newest")
    question = "Does a group's own list show its messages?"
    if look is None:
        meaning = "no group seen: name one with --group GUID"
        return fact_of("group_list", question, UNKNOWN, meaning, look)
    if not look.is_answered:
        if "GUID_NOT_FOUND" in (look.error or ""):
            meaning = "CometChat knows no such group: check the guid"
            return fact_of("group_list", question, UNKNOWN, meaning, look)
        return fact_of("group_list", question, "no, refused", "watch.groups can't be used", look)
    if not look.ids:
        return fact_of("group_list", question, UNKNOWN, "the group has no messages: name another", look)
    meaning = "watch.groups reads any group, whoever is in it"
    return fact_of("group_list", question, f"yes ({len(look.ids)} rows)", meaning, look)


def calls_in_group(looks: Looks) -> Fact:
    newest, calls = looks.get("group_newest"), looks.get("group_calls")
    question = "Does a group's own list show its calls?"
    if _has(is_call, newest, calls):
        meaning = "group calls that nobody joined are found with watch.groups"
        return fact_of("calls_in_group", question, "yes", meaning, newest, calls)
    meaning = "no call among these rows: call the group once and ask again"
    return fact_of("calls_in_group", question, UNKNOWN, meaning, newest, calls)


# --- which source ------------------------------------------------------------------------------------------


class Sight(NamedTuple):
    """What a source shows: an answer each, beginning with yes, no or unknown."""

    source: str
    direct: str
    groups: str
    calls: str
    gain: str

    @property
    def doubts(self) -> list[str]:
        """What is not proven to be shown."""
        return [kind for kind, answer in self.kinds.items() if not answer.startswith("yes")]

    @property
    def kinds(self) -> dict[str, str]:
        return {"one-to-one": self.direct, "groups": self.groups, "calls": self.calls}

    @property
    def shown(self) -> str:
        words = ", ".join(f"{kind} {answer.split()[0].strip(',')}" for kind, answer in self.kinds.items())
        return f"{self.source}: {words}"


def recommendation(looks: Looks) -> Fact:
    """The cheapest source that is proven to show everything; else the one that is proven to show most."""
    question = "Which watch.source fits?"
    sights = _sights(looks)
    matrix = "; ".join(sight.shown for sight in sights)
    fitting = [sight for sight in sights if not sight.direct.startswith("no")]
    best = min(fitting, key=lambda sight: len(sight.doubts), default=None)
    if best is None or len(best.doubts) == len(best.kinds):
        meaning = "needs a user with messages, a call and group messages: keep source: user till then"
        return Fact(name="source", question=question, answer=UNKNOWN, meaning=meaning, evidence=matrix)
    open_ones = " and ".join(best.doubts)
    answer, meaning = best.source, best.gain
    if open_ones:
        answer, meaning = f"{best.source}, as far as is known", f"{best.gain}; not proven: {open_ones}"
    return Fact(name="source", question=question, answer=answer, meaning=meaning, evidence=matrix)


def _sights(looks: Looks) -> tuple[Sight, ...]:
    """The sources from the cheapest to the most expensive. A cursor that does not work shows nothing."""
    app = direct_in_app(looks).answer
    if app_append(looks).answer == "the id is not heeded":
        app = "no"
    user, user_calls = _direct(looks, "newest"), calls_in_user(looks).answer
    return (
        Sight(
            "app",
            app,
            groups_in_app(looks).answer,
            calls_in_app(looks).answer,
            "one list for all, whatever the number of users; of groups those in watch.groups, and rows that "
            "name a watched user",
        ),
        Sight("user", user, groups_in_user(looks).answer, user_calls, "one list for each user"),
        Sight(
            "user-all",
            _direct(looks, "all_newest"),
            groups_in_user_all(looks).answer,
            calls_in_user_all(looks).answer,
            "one list for each user, with the groups they are in",
        ),
        Sight(
            "user with watch.groups",
            user,
            group_list(looks).answer,
            user_calls,
            "one list for each user and for each group that you name",
        ),
    )


def _direct(looks: Looks, name: str) -> str:
    look = looks.get(name)
    if _has(is_direct, look):
        return "yes"
    if look and not look.is_answered:
        return "no, refused"
    return "no" if left_out(look, looks.get("newest"), is_direct) else UNKNOWN


def _has(fits: Callable[[Seen], bool], *looks: Look | None) -> bool:
    return any(fits(row) for look in looks if look for row in look.rows)


QUESTIONS: Final[Sequence[Callable[[Looks], Fact]]] = (
    groups_in_user,
    calls_in_user,
    groups_in_user_all,
    calls_in_user_all,
    direct_in_app,
    groups_in_app,
    calls_in_app,
    app_append,
    group_list,
    calls_in_group,
)
