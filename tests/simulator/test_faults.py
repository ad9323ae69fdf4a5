"""Faults on demand: each breaks what its name says, and nothing else."""

from __future__ import annotations

import gzip
import json
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
import trio

from monitor.simulator import Fault, Faults, Note, World, build
from monitor.simulator.faults import KINDS, from_object, from_text
from monitor.simulator.rows import SPOILED
from tests.simulator.wire import KEY, TurnedClock, a_world, client, connected, get, ids, say


async def answer(world: World, path: str = "/users/a/messages", **headers: str) -> httpx.Response:
    async with client(world, apikey=KEY, **headers) as http:
        return await http.get(path)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_server_errors(status: int) -> None:
    world = a_world(faults=Faults(Fault(kind="server-error", status=status, count=1)))
    first, second = await answer(world), await answer(world)
    assert (first.status_code, second.status_code) == (status, 200)
    if status == 500:
        assert first.json()["error"]["code"] == "ERR_EXCEPTION"
    else:
        assert first.headers["content-type"] == "text/html"


async def test_rate_limited_says_when_to_come_back_in_seconds_as_a_date_or_not_at_all() -> None:
    clock = TurnedClock()
    world = a_world(clock=clock)
    for way in ("seconds", "date", "none"):
        world.faults.add(Fault(kind="rate-limited", seconds=7, retry_after=way, count=1))
    answers = [await answer(world) for _ in range(4)]
    assert [one.status_code for one in answers] == [429, 429, 429, 200]
    assert answers[0].headers["retry-after"] == "7"
    assert parsedate_to_datetime(answers[1].headers["retry-after"]).timestamp() == clock.now + 7
    assert "retry-after" not in answers[2].headers
    assert answers[0].json()["error"]["code"] == "ERR_TOO_MANY_REQUESTS"


@pytest.mark.parametrize("kind", ["reset", "truncated"])
async def test_a_dropped_connection_is_an_error_of_the_transport(kind: str) -> None:
    world = a_world(faults=Faults(Fault(kind=kind, count=1)))
    with pytest.raises(httpx.ReadError):
        await answer(world)
    assert (await answer(world)).status_code == 200
    assert [one.status for one in world.requests] == [0, 200]


async def test_a_cut_body_is_no_json() -> None:
    world = a_world(faults=Faults(Fault(kind="cut-body", count=1)))
    say(world, "a", "b", "x")
    with pytest.raises(json.JSONDecodeError):
        (await answer(world)).json()


async def test_hanging_and_slow_answers_take_their_time(autojump_clock: trio.testing.MockClock) -> None:
    world = a_world(faults=Faults(Fault(kind="slow", seconds=3, count=1)))
    began = trio.current_time()
    assert (await answer(world)).status_code == 200
    assert trio.current_time() - began == pytest.approx(3)
    world.faults.add(Fault(kind="hang", count=2))
    with trio.move_on_after(30) as scope:
        await answer(world)
    assert scope.cancelled_caught
    with pytest.raises(httpx.ReadError):
        await answer(world)
    assert trio.current_time() - began == pytest.approx(3 + 30 + 120)


async def test_the_sleep_of_the_app_is_the_callers() -> None:
    clock = TurnedClock()
    world = a_world(clock=clock, faults=Faults(Fault(kind="slow", seconds=3)))
    async with connected(build(world, sleep=clock.sleep)) as http:
        await http.get("/users/a")
    assert clock.now == TurnedClock().now + 3


@pytest.mark.parametrize(("kind", "status"), [("key-expired", 401), ("no-access", 403)])
async def test_keys_can_fail(kind: str, status: int) -> None:
    world = a_world(faults=Faults(Fault(kind=kind)))
    assert (await answer(world)).status_code == status
    world.faults.clear(kind)
    assert (await answer(world)).status_code == 200


@pytest.mark.parametrize(("echo", "shown"), [("used", 2), ("asked", 50), ("none", None)])
async def test_the_page_size_can_be_ignored(echo: str, shown: int | None) -> None:
    world = a_world(faults=Faults(Fault(kind="page-size", size=2, echo=echo)))
    made = [say(world, "a", "b", str(number)) for number in range(5)]
    body = await get(world, "/users/a/messages", limit="50", affix="append", id="0")
    assert [int(row["id"]) for row in body["data"]] == made[:2]
    assert body["meta"]["pagination"].get("per_page") == shown


async def test_rows_out_of_order_are_the_same_rows() -> None:
    world = a_world(faults=Faults(Fault(kind="out-of-order")))
    made = [say(world, "a", "b", str(number)) for number in range(20)]
    shown = await ids(world, "/users/a/messages")
    assert shown != made
    assert sorted(shown) == made


@pytest.mark.parametrize("way", SPOILED)
async def test_a_malformed_row_stands_among_good_ones_and_keeps_its_place(way: str) -> None:
    world = a_world()
    before = say(world, "a", "b", "before")
    message = world.find(before).message()
    spoiled = world.add_malformed(message, users=("a", "b"), way=way)
    after = say(world, "a", "b", "after")
    for _ in range(2):
        rows = (await get(world, "/users/b/messages"))["data"]
        assert len(rows) == 3
        assert (rows[0]["id"], rows[2]["id"]) == (str(before), str(after))
        assert shape_is_bad(rows[1])
    assert before < spoiled.id < after


def shape_is_bad(row: Any) -> bool:
    if not isinstance(row, dict):
        return True
    return not (
        str(row.get("id", "")).isdigit()
        and isinstance(row.get("sentAt"), int)
        and isinstance(row.get("sender"), str)
        and isinstance(row.get("data"), dict)
    )


async def test_the_malformed_row_fault_adds_a_row_and_spares_the_message() -> None:
    world = a_world(faults=Faults(Fault(kind="malformed-row", count=1)))
    made = [say(world, "a", "b", "one"), say(world, "a", "b", "two")]
    rows = (await get(world, "/users/a/messages"))["data"]
    assert len(rows) == 3
    assert [row["id"] for row in rows[1:]] == [str(one) for one in made]
    assert [one.is_malformed for one in world.truth] == [True, False, False]


async def test_a_late_row_shows_after_rows_with_larger_ids() -> None:
    clock = TurnedClock()
    world = a_world(clock=clock, faults=Faults(Fault(kind="late-visible", seconds=4, count=1)))
    late, early = say(world, "a", "b", "late"), say(world, "a", "b", "early")
    assert late < early
    assert await ids(world, "/users/a/messages") == [early]
    assert (await get(world, f"/messages/{late}"))["error"]["code"] == "ERR_MESSAGE_ID_NOT_FOUND"
    clock.now += 4
    assert await ids(world, "/users/a/messages") == [late, early]
    by_script = say(world, "a", "b", "scripted", note=Note(visible_after=1))
    assert by_script not in await ids(world, "/users/a/messages")


async def test_a_row_may_show_long_after_everybody_has_read_on() -> None:
    clock = TurnedClock()
    world = a_world(clock=clock, faults=Faults(Fault(kind="late-visible", seconds=900, uid="a")))
    late = say(world, "a", "g", "late", receiver_type="group")
    clock.now += 600
    early = say(world, "b", "g", "early", receiver_type="group")
    lists = ("/messages", "/groups/g/messages")
    assert [await ids(world, path) for path in lists] == [[early], [early]]
    assert await ids(world, "/messages", affix="append", id=str(late - 1)) == [early]
    clock.now += 300
    assert [await ids(world, path) for path in lists] == [[late, early], [late, early]]
    assert await ids(world, "/messages", affix="append", id=str(early)) == []


async def test_a_skewed_clock_shows_in_date_and_sent_at_alike() -> None:
    clock = TurnedClock()
    world = a_world(clock=clock, faults=Faults(Fault(kind="clock-skew", seconds=-90)))
    say(world, "a", "b", "x")
    response = await answer(world)
    assert parsedate_to_datetime(response.headers["date"]).timestamp() == clock.now - 90
    assert response.json()["data"][0]["sentAt"] == clock.now - 90
    world.faults.clear("clock-skew")
    assert parsedate_to_datetime((await answer(world)).headers["date"]).timestamp() == clock.now


async def test_a_fault_can_be_for_one_user_only() -> None:
    world = a_world(faults=Faults(Fault(kind="server-error", uid="a")))
    assert (await answer(world, "/users/a/messages")).status_code == 500
    assert (await answer(world, "/users/b/messages")).status_code == 200
    assert (await answer(world, "/messages", onBehalfOf="a")).status_code == 500


async def test_gzip_comes_to_those_who_ask() -> None:
    world = a_world(gzip=True)
    say(world, "a", "b", "x" * 5_000)
    packed = await answer(world, **{"accept-encoding": "gzip"})
    plain = await answer(world, **{"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.json() == plain.json()
    assert int(packed.headers["content-length"]) < len(gzip.compress(plain.content)) + 50 < len(plain.content)


def test_probability_is_seeded() -> None:
    def strikes(seed: int) -> list[bool]:
        faults = Faults(Fault(kind="reset", probability=0.3), seed=seed)
        return [faults.draw("reset") is not None for _ in range(1_000)]

    assert strikes(1) == strikes(1)
    assert strikes(1) != strikes(2)
    assert 240 < sum(strikes(1)) < 360


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("server-eror", "did you mean server-error?"),
        ("slow,seconds", "name=value"),
        ("slow,seconds=soon", "must be a number"),
        ("slow,second=1", "unknown key 'second'"),
        ("reset,probability=2", "between 0 and 1"),
        ("server-error,status=200", "between 400 and 599"),
        ("rate-limited,retry_after=later", "must be one of"),
    ],
)
def test_a_fault_that_cannot_be_meant_says_what_can(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("?", r"\?")):
        from_text(text)


@pytest.mark.parametrize("value", [1, {}, {"kind": "slow", "seconds": "1"}, {"kind": "slow", "count": True}])
def test_json_that_is_no_fault(value: object) -> None:
    with pytest.raises(ValueError, match="fault"):
        from_object(value)


def test_text_and_json_say_the_same() -> None:
    text = from_text("rate-limited, seconds=3, retry_after=date, uid=a, count=2, probability=0.5")
    assert text == from_object(
        {
            "kind": "rate-limited",
            "seconds": 3,
            "retry_after": "date",
            "uid": "a",
            "count": 2,
            "probability": 0.5,
        }
    )


async def test_faults_are_steered_at_run_time() -> None:
    async with client(a_world()) as http:
        url = "http://simulator/_sim/faults"
        added = await http.post(
            url, json=[{"kind": "server-error", "count": 1}, {"kind": "slow", "uid": "zz"}]
        )
        assert added.json() == {"added": [1, 2]}
        assert (await http.get("/users/a")).status_code == 500
        shown = (await http.get(url)).json()
        assert shown["active"][0] == {"number": 1, "hits": 1, "kind": "server-error", "count": 1}
        assert shown["kinds"] == KINDS
        assert (await http.delete(url, params={"kind": "slow"})).json() == {"removed": 1}
        assert (await http.delete(url)).json() == {"removed": 1}
        wrong = await http.post(url, json={"kind": "sloow"})
        assert (wrong.status_code, "did you mean slow?" in wrong.json()["error"]) == (400, True)


async def test_the_steering_explains_itself() -> None:
    async with client(a_world()) as http:
        text = (await http.get("http://simulator/_sim/")).text
    for path in ("faults", "keys", "truth", "requests"):
        assert f"/_sim/{path}" in text


async def test_the_key_can_be_rotated_at_run_time() -> None:
    async with client(a_world()) as http:
        rotated = await http.post("http://simulator/_sim/keys", json={"api_key": "new"})
        assert rotated.json() == {"rotated": True}
        assert (await http.get("/users/a")).status_code == 401
        assert (await http.get("/users/a", headers={"apikey": "new"})).status_code == 200
        assert (await http.post("http://simulator/_sim/keys", json={})).status_code == 400


async def test_requests_are_on_record() -> None:
    world = a_world()
    async with client(world) as http:
        await http.get("/users/a/messages?limit=5")
        await http.get("/users/nobody")
        shown = (await http.get("http://simulator/_sim/requests")).json()["requests"]
    assert [(one["path"], one["query"], one["status"]) for one in shown] == [
        ("/v3/users/a/messages", "limit=5", 200),
        ("/v3/users/nobody", "", 404),
    ]
