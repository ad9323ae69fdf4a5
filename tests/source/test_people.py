"""Lists of users and single groups: what is kept of them, and when the last page was read."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.source.client import UserQuery
from monitor.source.pages import Undecodable
from monitor.source.people import People, decode_group, decode_people
from rules.model import Party
from tests.source.serving import Answer, Server, talking_to


def a_page(*rows: Any, **meta: Any) -> bytes:
    return json.dumps({"data": rows, "meta": {"pagination": meta}}).encode()


def test_users_are_read_and_rows_without_a_uid_left_out() -> None:
    body = a_page({"uid": "Ann", "name": "Ann Lee", "role": "agent"}, {"uid": ""}, {"name": "x"}, 5, None)
    assert decode_people(body).parties == (Party(id="ann", name="Ann Lee", role="agent"),)
    assert decode_people(body).rows == 5


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["ann"]),
        ({"with_deactivated": True}, ["ann", "bob"]),
        ({"only_deactivated": True}, ["ann", "bob"]),
    ],
)
async def test_who_is_deactivated_is_found_only_when_asked_for(
    query: dict[str, Any], found: list[str]
) -> None:
    body = a_page({"uid": "ann", "deactivatedAt": 0}, {"uid": "bob", "deactivatedAt": 1702025699})
    async with talking_to(Server(Answer(body))) as client:
        assert [user.id for user in (await client.users(UserQuery(**query))).parties] == found


@pytest.mark.parametrize(
    ("rows", "size", "asked", "more"),
    [
        (100, 100, 100, True),
        (99, 100, 100, False),
        (0, None, 100, False),
        (100, None, 100, True),
        (50, 50, 100, True),
        (50, None, 100, False),
        (100, 1000, 100, True),
    ],
)
def test_a_page_that_is_not_full_is_the_last(rows: int, size: int | None, asked: int, more: bool) -> None:
    page = People(parties=(), rows=rows, size=size, total_pages=1)
    assert page.more(asked) is more


def test_what_meta_says_of_the_pages_is_kept() -> None:
    page = decode_people(a_page({"uid": "ann"}, per_page=30, total_pages="4", total=0))
    assert (page.size, page.total_pages) == (30, 4)
    assert decode_people(b'{"data":[]}').total_pages is None


def test_a_group_is_read() -> None:
    assert decode_group(b'{"data":{"guid":"Hiking","name":"Hikers"}}') == Party(id="hiking", name="Hikers")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"<html>", b'{"data":[]}', b'{"data":{"uid":"ann"}}', b'{"data":{"guid":5}}']
)
def test_what_is_no_group_is_undecodable(body: bytes) -> None:
    with pytest.raises(Undecodable):
        decode_group(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_people_or_undecodable(body: bytes) -> None:
    with suppress(Undecodable):
        assert decode_people(body).rows == 0
    with suppress(Undecodable):
        decode_group(body)
