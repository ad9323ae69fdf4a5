"""Each list has one id and one place, and the app's list gives what its watchers would have read."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from monitor import lists
from monitor.source.client import Endpoint
from rules.model import Call, ListId, Message, MessageId, Party, UserId, WatchSet

WATCH: WatchSet = {UserId("ann"): {}, UserId("bob"): {}}
SENT = datetime(2026, 11, 22, 8, tzinfo=UTC)


def message(
    sender: str = "x",
    receiver: str = "y",
    *,
    group: bool = False,
    mentions: tuple[str, ...] = (),
    subject: str | None = None,
    call: Call | None = None,
) -> Message:
    return Message(
        id=MessageId(1),
        conversation_id="c",
        sender=Party(id=sender),
        receiver=Party(id=receiver),
        receiver_type="group" if group else "user",
        category="call" if call else "message",
        type="text",
        sent_at=SENT,
        mentions=mentions,
        subject=Party(id=subject) if subject else None,
        call=call,
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("user", ("ann", "bob", "@group:hiking")),
        ("user-all", ("ann", "bob", "@group:hiking")),
        ("app", ("@app",)),
        ("groups", ("@group:hiking",)),
    ],
)
def test_the_lists_of_a_source(source: str, expected: tuple[str, ...]) -> None:
    assert lists.lists_of(source, ["ann", "bob", "ann"], ["hiking", "hiking"]) == expected


@pytest.mark.parametrize(
    ("list_id", "source", "expected"),
    [
        ("ann", "user", (Endpoint.USER, "ann")),
        ("ann", "user-all", (Endpoint.USER_ALL, "ann")),
        ("@app", "app", (Endpoint.APP, "")),
        ("@group:hiking", "user", (Endpoint.GROUP, "hiking")),
        ("@group:@app", "user-all", (Endpoint.GROUP, "@app")),
    ],
)
def test_where_a_list_is_read(list_id: str, source: str, expected: tuple[Endpoint, str]) -> None:
    assert lists.place_of(ListId(list_id), source) == expected


def test_people_and_other_lists_are_told_apart() -> None:
    assert lists.is_person(ListId("ann"))
    assert not lists.is_person(lists.APP)
    assert not lists.is_person(lists.group_list("ann"))


def ring(caller: str, callee: str) -> Call:
    return Call(session_id="s", status="unanswered", caller=Party(id=caller), callee=Party(id=callee))


@pytest.mark.parametrize(
    ("row", "is_ours"),
    [
        pytest.param(message("ann", "x"), True, id="sent by a watched user"),
        pytest.param(message("x", "ANN"), True, id="sent to one, in capitals"),
        pytest.param(message("x", "y"), False, id="between strangers"),
        pytest.param(message("x", "y", mentions=("bob",)), True, id="one is mentioned"),
        pytest.param(message("x", "y", call=ring("ann", "y")), True, id="caused by the callee of one"),
        pytest.param(message("x", "hiking", group=True), True, id="in a watched group"),
        pytest.param(message("x", "books", group=True), False, id="in another group"),
        pytest.param(message("ann", "books", group=True), True, id="in another group, by one"),
        pytest.param(message("x", "books", group=True, mentions=("bob",)), True, id="there, mentioned"),
        pytest.param(message("x", "books", group=True, subject="Bob"), True, id="one is kicked there"),
        pytest.param(message("x", "ann", group=True), False, id="a group that is called like one"),
        pytest.param(message("x", "hiking"), False, id="a user who is called like the group"),
    ],
)
def test_rows_of_the_app_that_are_ours(row: Message, *, is_ours: bool) -> None:
    assert lists.concerns(row, WATCH, {"hiking"}) is is_ours
