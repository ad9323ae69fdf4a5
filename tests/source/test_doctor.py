"""The doctor: what a few reads of an app prove, on servers that behave in every documented and feared way."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest
from trio.testing import MockClock

from monitor.clock import Clock
from monitor.doctor import MAX_REQUESTS, Report, examine, masked
from monitor.simulator import Fault, Faults, Note, Options, World, build
from monitor.source.client import Client
from monitor.source.diagnosis import QUESTIONS, conclude
from monitor.source.looks import Look, Seen, look_at
from monitor.source.transport import open_http
from rules.model import MessageId, UserId
from tests.source.rows import a_body, a_call, a_row
from tests.source.serving import KEY, Answer, Server, talking_to
from tests.source.test_answers import NOW, an_error

BASE = "http://sim.test/v3"
UID = UserId("superhero2")


def a_world(*faults: Fault, has_calls: bool = True, has_groups: bool = True, **options: Any) -> World:
    """An app in which superhero2 got five texts, and if wanted a call and two group messages."""
    world = World(
        api_key=KEY,
        auth_only_key="f" * 40,
        clock=NOW.timestamp,
        faults=Faults(*faults),
        options=Options(**options),
        rate_limit=10_000,
    )
    for uid in ("superhero1", "superhero2", "superhero3"):
        world.add_user(uid)
    world.add_group("hiking", "Hiking", owner="superhero1", members=["superhero2", "superhero3"])
    for number in range(5):
        world.send("superhero3", "superhero2", content={"text": f"secret words {number}"})
    if has_calls:
        world.start_call("superhero1", "superhero2", type_="audio")
    if has_groups:
        for _ in range(2):
            world.send("superhero1", "hiking", receiver_type="group", content={"text": "secret <@all:all>"})
    return world


async def examined(server: Any, *, key: str = KEY, uid: UserId = UID, guid: str | None = None) -> Report:
    async with open_http(transport=httpx.ASGITransport(server)) as http:
        client = Client(base_url=BASE, api_key=lambda: key, http=http, clock=Clock(wall=lambda: NOW))
        return await examine(client, uid, base_url=BASE, guid=guid)


def answers(report: Report) -> dict[str, str]:
    return {fact.name: fact.answer for fact in report.facts}


# --- on the simulator -------------------------------------------------------------------------------------


async def test_a_well_behaved_app_settles_every_question() -> None:
    world = a_world()
    report = await examined(build(world))
    assert (report.stopped, report.requests, len(world.requests)) == (None, 24, 24)
    assert {asked.method for asked in world.requests} == {"GET"}
    assert answers(report) == {
        "key_scope": "fullAccess",
        "row_order": "ascending",
        "append_id": "yes",
        "append_next": "yes",
        "prepend_id": "yes",
        "user_all_append_id": "yes",
        "page_size": "perPage and limit; without either: 6 rows",
        "largest_page": "yes (6 rows)",
        "meta": answers(report)["meta"],
        "groups_in_user": "no (2 left out)",
        "calls_in_user": "yes",
        "groups_in_user_all": "yes",
        "calls_in_user_all": "yes",
        "direct_in_app": "yes",
        "groups_in_app": "yes",
        "calls_in_app": "yes",
        "app_append": "yes",
        "group_list": "yes (2 rows)",
        "calls_in_group": "unknown",
        "append_without_id": "the newest rows",
        "append_from_zero": "the oldest rows",
        "no_affix": "the newest rows",
        "rate_headers": "X-RateLimit-…",
        "clock_skew": "the same, as far as dates show",
        "marks_by_user": "no (0 of 6)",
        "marks_by_user_all": "no (0 of 6)",
        "has_mentions": "unknown: no row came",
        "has_attachments": "unknown: no row came",
        "updates": "unknown",
        "source": "app",
    }
    assert "pagination{total,count,per_page" in answers(report)["meta"]


@pytest.mark.parametrize(
    ("options", "name", "answer"),
    [
        ({"group_rows_in_user_list": True}, "groups_in_user", "yes"),
        ({"calls_in_messages": False}, "calls_in_user_all", "no"),
        ({"append_without_id": "oldest"}, "append_without_id", "the oldest rows"),
        ({"append_without_id": "400"}, "append_without_id", "an error"),
        ({"rate_headers": "old"}, "rate_headers", "X-Rate-Limit-…"),
        ({"rate_headers": "none"}, "rate_headers", "no such headers"),
        ({"has_groups": False}, "groups_in_user", "unknown"),
        ({"has_calls": False}, "calls_in_user", "unknown"),
    ],
)
async def test_what_the_documents_leave_open_is_found_out(
    options: dict[str, Any], name: str, answer: str
) -> None:
    assert answers(await examined(build(a_world(**options))))[name] == answer


@pytest.mark.parametrize(
    ("fault", "name", "answer"),
    [
        (Fault(kind="clock-skew", seconds=90), "clock_skew", "90.0 s ahead of ours"),
        (Fault(kind="clock-skew", seconds=-3600), "clock_skew", "3599.0 s behind ours"),
        (Fault(kind="page-size", size=3), "page_size", "none; without either: 3 rows"),
        (Fault(kind="page-size", size=3), "largest_page", "no, cut to 3"),
        (Fault(kind="no-access"), "key_scope", "authOnly"),
        (Fault(kind="key-expired"), "key_scope", "wrong"),
    ],
)
async def test_a_misbehaving_app_is_found_out(fault: Fault, name: str, answer: str) -> None:
    assert answers(await examined(build(a_world(fault))))[name] == answer


async def test_a_key_that_only_logs_in_is_told_from_a_wrong_one() -> None:
    assert answers(await examined(build(a_world()), key="f" * 40))["key_scope"] == "authOnly"
    world = a_world()
    report = await examined(build(world), key="e" * 40)
    assert (answers(report)["key_scope"], report.requests) == ("wrong", 1)
    assert report.stopped == "BadKey AUTH_ERR_APIKEY_NOT_FOUND"


async def test_an_unknown_user_ends_the_examination() -> None:
    report = await examined(build(a_world()), uid=UserId("nobody"))
    assert (report.stopped, report.requests) == ("UnknownUser ERR_UID_NOT_FOUND", 1)
    assert answers(report)["key_scope"] == "unknown, but the key is accepted"


async def test_a_user_without_messages_leaves_questions_open() -> None:
    world = a_world()
    world.add_user("newcomer")
    told = answers(await examined(build(world), uid=UserId("newcomer")))
    open_questions = ("append_id", "append_next", "prepend_id", "page_size", "append_without_id")
    assert {told[name] for name in open_questions} == {"unknown"}
    assert (told["key_scope"], told["marks_by_user"]) == ("fullAccess", "unknown")
    assert (told["row_order"], told["source"]) == ("ascending", "app")  # the app's list shows others' rows


async def test_the_report_is_fit_for_a_bug_report() -> None:
    report = await examined(build(a_world()))
    told = msgspec.json.encode(report).decode()
    for private in ("superhero", "secret", KEY, "sim.test", "Hiking", "hiking"):
        assert private not in told


# --- changes in place -------------------------------------------------------------------------------------


def a_moderated_world(**options: Any) -> World:
    """Two texts of an hour ago; the later one was since moderated."""
    world = World(api_key=KEY, clock=NOW.timestamp, options=Options(**options), rate_limit=10_000)
    for uid in ("superhero1", "superhero2"):
        world.add_user(uid)
    an_hour_ago = Note(sent_at=int(NOW.timestamp()) - 3600)
    _, later = (
        world.send("superhero1", "superhero2", content={"text": text}, note=an_hour_ago)
        for text in ("first", "second")
    )
    world.moderate(later.id, "disapproved")
    return world


@pytest.mark.parametrize(
    ("updates", "answer"), [("heeded", "yes"), ("ignored", "no, ignored"), ("400", "no, refused")]
)
async def test_whether_changed_rows_can_be_asked_for(updates: str, answer: str) -> None:
    world = a_moderated_world(updates=updates)
    report = await examined(build(world))
    assert answers(report)["updates"] == answer
    (asked,) = (one.query for one in world.requests if "updatedAt" in one.query)
    assert asked.startswith(f"updatedAt={int(NOW.timestamp()) - 1}&onlyUpdates=1&affix=append&")


def a_look(*rows: tuple[int, int, int], since: int | None = None) -> Look:
    """Rows as (id, sent, updated)."""
    shown = tuple(
        Seen(
            id=MessageId(id_), category="message", receiver_type="user", incoming=True, mentions=False,
            attachments=False, delivered=False, read=False, sent_at=sent, updated_at=updated,
        )
        for id_, sent, updated in rows
    )  # fmt: skip
    return Look(asked="newest" if since is None else f"list?updatedAt={since}&onlyUpdates=1", rows=shown)


@pytest.mark.parametrize(
    ("newest", "changed", "answer"),
    [
        (a_look((1, 10, 10), (2, 11, 50)), a_look((2, 11, 50), since=49), "yes"),
        (a_look((1, 10, 10), (2, 11, 50)), a_look((1, 10, 10), (2, 11, 50), since=49), "no, ignored"),
        (a_look((1, 10, 10), (2, 11, 50)), a_look(since=49), "no, not shown"),
        (
            a_look((1, 10, 10), (2, 11, 50), (3, 60, 60)),
            a_look((2, 11, 50), (3, 60, 60), since=49),
            "yes, with unchanged ones",
        ),
        (a_look((1, 10, 50), (2, 11, 50)), a_look((1, 10, 50), (2, 11, 50), since=49), "unknown"),
        (a_look((1, 10, 10), (2, 11, 11)), a_look(since=11), "unknown"),
        (a_look((1, 10, 10), (2, 11, 11)), a_look((1, 10, 10), since=11), "no, ignored"),
    ],
)
def test_what_an_answer_about_changes_proves(newest: Look, changed: Look, answer: str) -> None:
    told = {fact.name: fact for fact in conclude({"newest": newest, "updates": changed})}
    assert told["updates"].answer == answer


# --- which source fits ------------------------------------------------------------------------------------


class Without:
    """The simulator without some lists: what `is_refused` says of path and acting user is answered 403."""

    def __init__(self, world: World, is_refused: Callable[[str, bool], bool]) -> None:
        self._app, self._is_refused = build(world), is_refused

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        has_actor = any(name == b"onbehalfof" for name, _ in scope["headers"])
        if self._is_refused(scope["path"], has_actor):
            return await Server(Answer(an_error("ERR_PLAN_RESTRICTION"), 403))(scope, receive, send)
        return await self._app(scope, receive, send)


def no_messages(path: str, has_actor: bool) -> bool:
    return path == "/v3/messages"


NAMED = "user with watch.groups"
MAYBE = ", as far as is known"


def nothing_refused(path: str, has_actor: bool) -> bool:
    return False


@pytest.mark.parametrize(
    ("is_refused", "options", "guid", "source", "shown"),
    [
        (nothing_refused, {}, None, "app", "app: one-to-one yes, groups yes, calls yes"),
        (
            nothing_refused,
            {"app_list": "400"},
            None,
            "user-all",
            "user-all: one-to-one yes, groups yes, calls yes",
        ),
        (nothing_refused, {"app_list": "empty"}, None, "user-all", "app: one-to-one no, groups no, calls no"),
        (
            nothing_refused,
            {"app_list": "400", "group_rows_in_user_list": True},
            None,
            "user",
            "user: one-to-one yes, groups yes",
        ),
        (nothing_refused, {"calls_in_messages": False}, None, NAMED, "one-to-one yes, groups yes, calls no"),
        (no_messages, {}, "hiking", NAMED, "user-all: one-to-one no, groups no, calls no"),
        (no_messages, {}, None, f"user{MAYBE}", "user: one-to-one yes, groups unknown, calls yes"),
        (nothing_refused, {"has_calls": False}, None, f"app{MAYBE}", "groups yes, calls unknown"),
    ],
)
async def test_the_source_that_fits(
    is_refused: Callable[[str, bool], bool],
    options: dict[str, Any],
    guid: str | None,
    source: str,
    shown: str,
) -> None:
    report = await examined(Without(a_world(**options), is_refused), guid=guid)
    (fact,) = (fact for fact in report.facts if fact.name == "source")
    assert fact.answer == source
    assert shown in fact.evidence


async def test_a_busy_app_hides_nothing() -> None:
    world = a_world()
    for number in range(150):
        world.send("superhero1", "superhero3", content={"text": f"on and on {number}"})
    report = await examined(build(world))
    told = answers(report)
    assert (told["groups_in_app"], told["calls_in_app"], told["source"]) == ("yes", "yes", "app")
    assert report.requests == MAX_REQUESTS


async def test_a_group_that_is_not_there_stops_nothing() -> None:
    report = await examined(build(a_world()), guid="nowhere")
    assert report.stopped is None
    assert answers(report)["group_list"] == "unknown"
    assert "CometChat knows no such group" in str(report)


async def test_nothing_fits_where_nothing_is_shown() -> None:
    world = World(api_key=KEY, clock=NOW.timestamp, rate_limit=10_000)
    world.add_user(UID)
    told = answers(await examined(build(world)))
    assert (told["source"], told["app_append"], told["group_list"]) == ("unknown", "unknown", "unknown")


# --- on servers we have only feared -----------------------------------------------------------------------

ROWS = [a_row(id=str(id_), sender="ann", receiver="superhero2") for id_ in range(101, 108)]


class Feared(Server):
    """Answers each list request by a function of its parameters."""

    def __init__(self, listing: Callable[[dict[str, str], int], list[Any]]) -> None:
        super().__init__()
        self._listing = listing

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        params = dict(httpx.QueryParams(scope["query_string"].decode()))
        rows = self._listing(params, len(self.asked))
        self.answers = [Answer(a_body(*rows, cursor={"id": 1}))]
        await super().__call__(scope, receive, send)


def believable(params: dict[str, str], _: int = 0) -> list[Any]:
    """The documented behaviour, over seven rows."""
    size = int(params.get("limit") or params.get("perPage") or 100)
    pivot = int(params.get("id") or 0)
    if params.get("affix") == "append":
        return [row for row in ROWS if int(row["id"]) > pivot][:size]
    return [row for row in ROWS if not pivot or int(row["id"]) < pivot][-size:]


def inclusive(params: dict[str, str], _: int) -> list[Any]:
    pivot = int(params.get("id") or 0)
    return (
        believable({**params, "id": str(pivot - 1)})
        if params.get("affix") == "append" and pivot
        else believable(params)
    )


def newest_after(params: dict[str, str], _: int) -> list[Any]:
    return ROWS[-2:] if params.get("affix") == "append" else believable(params)


def heedless(params: dict[str, str], _: int) -> list[Any]:
    return ROWS


def backwards(params: dict[str, str], _: int) -> list[Any]:
    return believable(params)[::-1]


def marking(params: dict[str, str], before: int) -> list[Any]:
    rows = believable(params)
    return [row | {"deliveredAt": 1702028700} for row in rows] if before > 1 else rows


def shuffled(params: dict[str, str], _: int) -> list[Any]:
    rows = believable(params)
    return rows[1:] + rows[:1]


def paid(params: dict[str, str], _: int) -> list[Any]:
    wanted = a_row({"mentions": {"bob": {}}, "attachments": [{"name": "x"}]}, id="101")
    return [wanted] if {"hasMentions", "hasAttachments"} & set(params) else believable(params)


def short(params: dict[str, str], _: int) -> list[Any]:
    return believable(params)[-1:]


def silent(params: dict[str, str], _: int) -> list[Any]:
    return [] if params.get("affix") == "append" and "id" not in params else believable(params)


def only_page_size(params: dict[str, str], _: int) -> list[Any]:
    return believable({key: value for key, value in params.items() if key != "limit"})


@pytest.mark.parametrize(
    ("listing", "name", "answer"),
    [
        (believable, "append_id", "yes"),
        (believable, "append_next", "yes"),
        (inclusive, "append_id", "no, it comes again"),
        (newest_after, "append_next", "no"),
        (heedless, "append_id", "the id is not heeded"),
        (heedless, "prepend_id", "the id is not heeded"),
        (heedless, "page_size", "none; without either: 7 rows"),
        (backwards, "row_order", "descending, at least for some"),
        (believable, "row_order", "ascending"),
        (shuffled, "row_order", "none"),
        (paid, "has_mentions", "yes"),
        (paid, "has_attachments", "yes"),
        (short, "append_next", "unknown"),
        (short, "page_size", "unknown"),
        (silent, "append_without_id", "nothing"),
        (believable, "groups_in_user_all", "unknown"),
        (marking, "marks_by_user", "yes (7 of 7)"),
        (believable, "marks_by_user", "no (0 of 7)"),
        (only_page_size, "page_size", "perPage; without either: 7 rows"),
        (believable, "has_mentions", "no, ignored"),
        (believable, "largest_page", "unknown"),
        (believable, "app_append", "yes"),
        (heedless, "app_append", "the id is not heeded"),
        (newest_after, "app_append", "unknown"),
        (inclusive, "app_append", "yes"),
        (silent, "direct_in_app", "yes"),
    ],
)
async def test_a_feared_behaviour_is_recognised(
    listing: Callable[[dict[str, str], int], list[Any]], name: str, answer: str
) -> None:
    assert answers(await examined(Feared(listing)))[name] == answer


@pytest.mark.parametrize(
    ("status", "code", "requests"),
    [(429, "ERR_TOO_MANY_REQUESTS", 1), (401, None, 1), (500, None, 2), (403, "AUTH_ERR_NO_ACCESS", 2)],
)
async def test_what_fails_for_all_is_not_asked_again(status: int, code: str | None, requests: int) -> None:
    server = Server(Answer(an_error(code), status))
    report = await examined(server)
    assert report.requests == len(server.asked) == requests
    assert KEY not in str(report)


class Refusing(Feared):
    """A server without the general list."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/v3/messages" or b"has" in scope["query_string"]:
            refusing = Server(Answer(an_error("ERR_PLAN_RESTRICTION"), 403))
            return await refusing(scope, receive, send)
        return await super().__call__(scope, receive, send)


async def test_what_is_refused_alone_leaves_the_rest() -> None:
    told = answers(await examined(Refusing(believable)))
    assert (told["key_scope"], told["append_id"]) == ("fullAccess", "yes")
    assert {told[name] for name in ("groups_in_user_all", "calls_in_user_all", "has_mentions")} == {
        "no, refused"
    }
    assert told["marks_by_user_all"] == "unknown"


async def test_a_silent_server_is_asked_once(autojump_clock: MockClock) -> None:
    async with talking_to(Server(Answer(hang_s=99)), timeout_s=30) as client:
        report = await examine(client, UID, base_url=BASE)
    assert (report.requests, report.stopped) == (1, "Unreachable")


async def test_never_more_requests_than_promised() -> None:
    server = Feared(believable)
    report = await examined(server)
    assert len(server.asked) == report.requests <= MAX_REQUESTS


# --- conclusions ------------------------------------------------------------------------------------------


def test_nothing_seen_is_nothing_known() -> None:
    facts = conclude({})
    assert len(facts) == len(QUESTIONS)
    assert not [fact for fact in facts if fact.is_known]
    assert len({fact.name for fact in facts}) == len(facts)


def test_a_mark_set_on_the_users_own_messages_is_not_ours() -> None:
    def look(*, is_delivered: bool) -> Look:
        row = Seen(
            id=MessageId(5), category="message", receiver_type="user", incoming=False,
            mentions=False, attachments=False, delivered=is_delivered, read=False,
        )  # fmt: skip
        return Look(asked="GET /users/<uid>/messages", rows=(row,))

    facts = conclude({"newest": look(is_delivered=False), "newest_again": look(is_delivered=True)})
    (fact,) = (fact for fact in facts if fact.name == "marks_by_user")
    assert fact.answer == "unknown"


@pytest.mark.parametrize("row", [None, 5, "x", {}, {"id": "x"}, {"id": 5, "data": []}, a_call("busy")])
def test_any_row_can_be_looked_at(row: Any) -> None:
    look = look_at(a_body(row), uid="bob", asked="GET /messages", rate_headers=None, skew_s=0)
    assert look.is_answered
    assert len(look.rows) == (1 if isinstance(row, dict) and str(row.get("id")).isdigit() else 0)


def test_an_answer_that_is_no_page_is_an_error() -> None:
    look = look_at(b"<html>", uid="bob", asked="GET /messages", rate_headers=None, skew_s=0)
    assert look.error is not None
    assert "HTML" in look.error


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://275211.api-us.cometchat.io/v3", "https://<app>.api-us.cometchat.io/v3"),
        ("https://275211.apiclient-eu.cometchat.io/v3.0/", "https://<app>.apiclient-eu.cometchat.io/v3.0"),
        ("http://chat.bank.test:9000/secret/v3", "http://<own host>/v3"),
        ("http://chat.bank.test/secret", "http://<own host>/…"),
    ],
)
def test_the_address_is_shown_without_names(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_a_report_is_json() -> None:
    report = Report(api="x", requests=0, facts=conclude({}))
    assert json.loads(msgspec.json.encode(report))["facts"][0]["name"] == "key_scope"
