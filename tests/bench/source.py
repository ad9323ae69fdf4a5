"""A CometChat that costs next to nothing: `python -m tests.bench.source PEOPLE BACKLOG PORT [RATE LATENCY]`.

The simulator makes the rows once; from then on pages are cut out of bytes, so that the figure is the
monitor's and not the simulator's. Only what the monitor asks is answered: pages by id in both directions.
RATE texts a second are sent among the people while it runs; answers take LATENCY seconds.
"""

from __future__ import annotations

import json
import math
import sys
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from email.utils import formatdate
from functools import partial
from itertools import count
from random import Random
from typing import Final
from urllib.parse import parse_qs

import trio
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from monitor.server import listening, serve
from monitor.simulator import World, populate

KEY: Final = "0123456789abcdef0123456789abcdef01234567"
NOBODY: Final[tuple[list[int], list[bytes]]] = [], []


class Traffic:
    """Texts between people at random, at times that follow from the seed: rendered rows by who has them."""

    def __init__(self, people: int, rate: float, first_id: int) -> None:
        world = World(api_key=KEY, clock=time.time)
        for uid in ("sends", "receives"):
            world.add_user(f"who-{uid}", "Somebody")
        row = world.send("who-sends", "who-receives", content={"text": "A text that nobody waits for"})
        self._like = json.dumps(
            row.message() | {"id": "9" * 19, "sentAt": "when", "updatedAt": "when", "tags": []}
        )
        self._ids = count(first_id)
        self._random = Random("traffic")
        self._people = people
        self._rate = rate
        self._next_at = time.time() + self._gap()

    def until(self, now: float) -> Iterator[tuple[int, bytes, tuple[str, str]]]:
        """Id, row and people of what was sent since the last call."""
        while self._next_at <= now:
            id_, sent_at = next(self._ids), str(int(self._next_at))
            sender, receiver = (f"user{number + 1}" for number in self._random.sample(range(self._people), 2))
            text = self._like.replace("9" * 19, str(id_)).replace('"when"', sent_at)
            text = text.replace("who-sends", sender).replace("who-receives", receiver)
            yield id_, text.encode(), (sender, receiver)
            self._next_at += self._gap()

    def _gap(self) -> float:
        return self._random.expovariate(self._rate) if self._rate else math.inf


class Source:
    """Lists of rendered rows, and when they were first asked for."""

    def __init__(self, people: int, backlog: int, rate: float = 0.0, latency_s: float = 0.0) -> None:
        self._people = people
        self._latency_s = latency_s
        self._lists: dict[str, tuple[list[int], list[bytes]]] = {}
        last = self._fill(people, backlog) if backlog else 0
        self._traffic = Traffic(people, rate, last + 1)
        self._asked_at: list[float] = []

    def _fill(self, people: int, backlog: int) -> int:
        """The history, and its last id."""
        world = World(api_key=KEY, clock=time.time)
        populate(world, users=people, backlog=backlog)
        for uid in world.users:
            rows = [(row.id, json.dumps(row.message() | {"tags": []})) for row in world.list_of_user(uid)[0]]
            self._lists[uid] = [id_ for id_, _ in rows], [text.encode() for _, text in rows]
        return max(ids[-1] for ids, _ in self._lists.values() if ids)

    def _grow(self) -> None:
        for id_, row, people in self._traffic.until(time.time()):
            for uid in people:
                ids, rows = self._lists.setdefault(uid, ([], []))
                ids.append(id_)
                rows.append(row)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await trio.sleep(self._latency_s)
        body = self._answer(scope["path"], parse_qs(scope["query_string"].decode()))
        headers = [(b"content-type", b"application/json"), (b"date", formatdate(usegmt=True).encode())]
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, path: str, query: dict[str, list[str]]) -> bytes:
        match path.strip("/").split("/"):
            case ["asked"]:
                asked, self._asked_at = self._asked_at, []
                return json.dumps(asked).encode()
            case ["rows"]:
                return json.dumps({uid: len(ids) for uid, (ids, _) in self._lists.items()}).encode()
            case [_, "users", uid, "messages"]:
                self._asked_at.append(time.time())
                self._grow()
                return self._page(uid, query)
            case _:
                raise ValueError(f"nothing is served at {path}")

    def _page(self, uid: str, query: dict[str, list[str]]) -> bytes:
        ids, bodies = self._lists.get(uid, NOBODY)
        size, edge = int(query["limit"][0]), query.get("id")
        if query["affix"] == ["append"]:
            start = bisect_right(ids, int(edge[0])) if edge else 0
            end = min(len(ids), start + size)
        else:
            end = bisect_left(ids, int(edge[0])) if edge else len(ids)
            start = max(0, end - size)
        meta = b'"meta":{"pagination":{"per_page":%d,"count":%d}}' % (size, end - start)
        return b'{"data":[%b],%b}' % (b",".join(bodies[start:end]), meta)


async def main(people: int, backlog: int, port: int, rate: float, latency_s: float) -> None:
    source = Source(people, backlog, rate, latency_s)
    async with trio.open_nursery() as nursery:
        app = Starlette(routes=[Mount("/", source)])
        await nursery.start(partial(serve, app, listening(f"127.0.0.1:{port}"), date_header=False))


if __name__ == "__main__":
    given = [*sys.argv[1:], "0", "0"]
    trio.run(main, int(given[0]), int(given[1]), int(given[2]), float(given[3]), float(given[4]))
