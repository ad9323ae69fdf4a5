"""A CometChat that costs next to nothing: `python -m tests.bench.source PEOPLE BACKLOG PORT`.

The simulator makes the rows once; from then on pages are cut out of bytes, so that the figure is the
monitor's and not the simulator's. Only what the monitor asks is answered: pages by id in both directions.
"""

from __future__ import annotations

import json
import sys
import time
from bisect import bisect_left, bisect_right
from email.utils import formatdate
from functools import partial
from typing import Final
from urllib.parse import parse_qs

import trio
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from monitor.server import listening, serve
from monitor.simulator import World, populate

KEY: Final = "0123456789abcdef0123456789abcdef01234567"


class Source:
    """Lists of rendered rows, and when they were first asked for."""

    def __init__(self, people: int, backlog: int) -> None:
        world = World(api_key=KEY, clock=time.time)
        populate(world, users=people, backlog=backlog)
        self._lists: dict[str, tuple[list[int], list[bytes]]] = {}
        for uid in world.users:
            rows = [(row.id, json.dumps(row.message() | {"tags": []})) for row in world.list_of_user(uid)[0]]
            self._lists[uid] = [id_ for id_, _ in rows], [text.encode() for _, text in rows]
        self._asked_at: list[float] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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
                return self._page(uid, query)
            case _:
                raise ValueError(f"nothing is served at {path}")

    def _page(self, uid: str, query: dict[str, list[str]]) -> bytes:
        ids, bodies = self._lists[uid]
        size, edge = int(query["limit"][0]), query.get("id")
        if query["affix"] == ["append"]:
            start = bisect_right(ids, int(edge[0])) if edge else 0
            end = min(len(ids), start + size)
        else:
            end = bisect_left(ids, int(edge[0])) if edge else len(ids)
            start = max(0, end - size)
        meta = b'"meta":{"pagination":{"per_page":%d,"count":%d}}' % (size, end - start)
        return b'{"data":[%b],%b}' % (b",".join(bodies[start:end]), meta)


async def main(people: int, backlog: int, port: int) -> None:
    source = Source(people, backlog)
    async with trio.open_nursery() as nursery:
        app = Starlette(routes=[Mount("/", source)])
        await nursery.start(partial(serve, app, listening(f"127.0.0.1:{port}"), date_header=False))


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
