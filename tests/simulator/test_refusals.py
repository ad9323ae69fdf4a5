"""What the API refuses, in the bodies that CometChat was recorded with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.simulator.wire import AUTH_ONLY, KEY, TurnedClock, a_world, client


async def refused(method: str, path: str, *, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
    async with client(a_world(), **(headers or {"apikey": KEY})) as http:
        response = await http.request(method, path, json=body)
    assert response.headers["content-type"] == "application/json"
    return response.status_code, response.json()["error"]


UNKNOWN_UID = "The UID 123123 does not exist, {}please make sure you have created a user with UID 123123."
NO_SCOPE = (
    f"The key {AUTH_ONLY} cannot be used to perform this operation. "
    "Please use API key with a correct scope to perform the operation.",
    f"The {AUTH_ONLY} key does not have enough clearance. "
    "To perform the operation, please use the API key with the correct scope.",
)
NOT_VALID = "Failed to validate the data sent with the request."


def body_of(message: str, dev_message: str, code: str, details: str = "") -> str:
    return (
        f'{{"error":{{"message":"{message}","devMessage":"{dev_message}","source":"chat-api",'
        f'{details}"code":"{code}"}}}}'
    )


RECORDED: dict[str, tuple[int, str]] = {
    "unknown user": (404, body_of(UNKNOWN_UID.format(""), UNKNOWN_UID.format("so "), "ERR_UID_NOT_FOUND")),
    "authOnly key": (403, body_of(*NO_SCOPE, "AUTH_ERR_NO_ACCESS")),
    "wrong key": (
        401,
        body_of(
            "The key 1234567890 does not exist. Please use correct apiKey.",
            "The 1234567890 key doesn't work. Please use correct apiKey.",
            "AUTH_ERR_APIKEY_NOT_FOUND",
        ),
    ),
    "no uid": (
        400,
        body_of(NOT_VALID, NOT_VALID, "ERR_BAD_REQUEST", '"details":{"uid":["The uid field is required."]},'),
    ),
}


@pytest.mark.parametrize(
    ("case", "method", "path", "key"),
    [
        ("unknown user", "GET", "/users/123123/messages", KEY),
        ("authOnly key", "GET", "/users/a/messages", AUTH_ONLY),
        ("wrong key", "GET", "/users/a/messages", "1234567890"),
        ("no uid", "POST", "/users", KEY),
    ],
)
async def test_recorded_errors_come_back_byte_for_byte(case: str, method: str, path: str, key: str) -> None:
    status, body = RECORDED[case]
    async with client(a_world(), apikey=key) as http:
        response = await http.request(method, path)
    assert (response.status_code, response.text) == (status, body)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("perPage=1001", "perPage"),
        ("per_page=0", "per_page"),
        ("limit=ten", "limit"),
        ("affix=sideways", "affix"),
        ("id=abc", "id"),
        ("id=-1", "id"),
        ("fromTimestamp=now", "fromTimestamp"),
    ],
)
async def test_a_parameter_that_is_not_allowed_is_named(query: str, field: str) -> None:
    status, error = await refused("GET", f"/users/a/messages?{query}")
    assert (status, error["code"], list(error["details"])) == (400, "ERR_BAD_REQUEST", [field])


async def test_append_without_id_can_be_refused() -> None:
    async with client(a_world(append_without_id="400")) as http:
        assert (await http.get("/users/a/messages?affix=append")).status_code == 400
        assert (await http.get("/users/a/messages?affix=append&fromTimestamp=1")).status_code == 200


TEXT = {"receiver": "b", "type": "text", "data": {"text": "x"}}


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "/nothing/here", None, "ERR_API_NOT_FOUND"),
        ("PATCH", "/messages", None, "ERR_API_NOT_FOUND"),
        ("GET", "/groups/none/messages", None, "ERR_GUID_NOT_FOUND"),
        ("GET", "/messages/999999", None, "ERR_MESSAGE_ID_NOT_FOUND"),
        ("PUT", "/messages/999999", {"data": {"text": "x"}}, "ERR_MESSAGE_ID_NOT_FOUND"),
        ("POST", "/users", {"uid": "a", "name": "A"}, "ERR_UID_ALREADY_EXISTS"),
        ("POST", "/users", {"uid": "not a uid", "name": "A"}, "ERR_BAD_REQUEST"),
        ("POST", "/users", {"uid": "new"}, "ERR_BAD_REQUEST"),
        ("POST", "/groups", {"guid": "g", "name": "G"}, "ERR_GUID_ALREADY_EXISTS"),
        ("POST", "/groups/g/members", {}, "ERR_BAD_REQUEST"),
        ("POST", "/groups/g/members", {"participants": ["nobody"]}, "ERR_UID_NOT_FOUND"),
        ("POST", "/messages", {}, "ERR_BAD_REQUEST"),
        ("POST", "/messages", TEXT | {"receiver": "nobody"}, "ERR_UID_NOT_FOUND"),
        ("POST", "/messages", TEXT | {"data": "x"}, "ERR_BAD_REQUEST"),
        ("POST", "/messages", TEXT | {"tags": "x"}, "ERR_BAD_REQUEST"),
        ("POST", "/messages", TEXT | {"data": {"attachments": ["x"]}}, "ERR_BAD_REQUEST"),
        ("POST", "/messages", TEXT | {"data": {"text": "x" * 11_000}}, "ERR_BAD_REQUEST"),
        ("POST", "/messages", ["x"], "ERR_BAD_REQUEST"),
        ("POST", "/calls", {"receiver": "b"}, "ERR_BAD_REQUEST"),
        ("PUT", "/calls/none", {"status": "ongoing"}, "ERR_CALL_SESSION_NOT_FOUND"),
        ("PUT", "/me", None, "ERR_API_NOT_FOUND"),
    ],
)
async def test_wrong_requests_get_the_documented_code(method: str, path: str, body: Any, code: str) -> None:
    status, error = await refused(method, path, body=body)
    assert error["code"] == code
    assert 400 <= status < 500


async def test_acting_for_somebody_unknown_or_from_outside_a_group() -> None:
    _, error = await refused("GET", "/messages", apikey=KEY, onBehalfOf="nobody")
    assert error["code"] == "ERR_UID_NOT_FOUND"
    to_group = TEXT | {"receiver": "g", "receiverType": "group"}
    _, error = await refused("POST", "/messages", body=to_group, apikey=KEY, onBehalfOf="d")
    assert error["code"] == "ERR_GROUP_NOT_JOINED"


async def test_no_key_at_all() -> None:
    status, error = await refused("GET", "/users/a/messages", accept="*/*")
    assert (status, error["code"]) == (401, "AUTH_ERR_EMPTY_APIKEY")


async def test_a_body_that_is_no_json() -> None:
    async with client(a_world()) as http:
        response = await http.post("/messages", content=b"{receiver")
    assert json.loads(response.content)["error"]["details"] == {"body": ["The body must be valid JSON."]}


async def test_a_deactivated_user_is_unknown() -> None:
    async with client(a_world()) as http:
        await http.delete("/users/a")
        response = await http.get("/users/a/messages")
    assert response.json()["error"]["code"] == "ERR_UID_NOT_FOUND"


async def test_v3_and_v3_0_are_the_same() -> None:
    async with client(a_world()) as http:
        one, other = await http.get("/users/a"), await http.get("http://simulator/v3.0/users/a")
        assert one.json() == other.json()
        assert (await http.get("http://simulator/v2/users/a")).json()["error"]["code"] == "ERR_API_NOT_FOUND"


@pytest.mark.parametrize(
    ("spelling", "prefixes"),
    [
        ("new", ["x-ratelimit"]),
        ("old", ["x-rate-limit"]),
        ("both", ["x-ratelimit", "x-rate-limit"]),
        ("none", []),
    ],
)
async def test_the_rate_limit_counts_down_refuses_and_opens_again(spelling: str, prefixes: list[str]) -> None:
    clock = TurnedClock()
    async with client(a_world(clock=clock, rate_limit=2, rate_headers=spelling)) as http:
        answers = [await http.get("/users/a") for _ in range(3)]
        assert [one.status_code for one in answers] == [200, 200, 429]
        for prefix in prefixes:
            assert [one.headers[f"{prefix}-remaining"] for one in answers] == ["1", "0", "0"]
            assert answers[0].headers[f"{prefix}-limit"] == "2"
            assert int(answers[0].headers[f"{prefix}-reset"]) == clock.now + 60
        named = {name for name in answers[0].headers if name.startswith("x-")}
        assert len(named) == 3 * len(prefixes)
        clock.now += 45
        refused_again = await http.get("/users/a")
        assert refused_again.headers["retry-after"] == "15"
        assert refused_again.json()["error"]["code"] == "ERR_TOO_MANY_REQUESTS"
        clock.now += 15
        assert (await http.get("/users/a")).status_code == 200
