"""A client of the simulator without a socket, and a world whose clock a test turns."""

from __future__ import annotations

from typing import Any

import httpx
import trio
from starlette.applications import Starlette

from monitor.simulator import Faults, Options, World, build

KEY = "0123456789abcdef0123456789abcdef01234567"
AUTH_ONLY = "fedcba9876543210fedcba9876543210fedcba98"
START = 1_795_334_400.0  # 2026-11-22T08:00:00Z


class SimulatorTransport(httpx.ASGITransport):
    """Speaks to the simulator in process; a connection that it drops is a ReadError, as on a socket."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await super().handle_async_request(request)
        except ConnectionResetError as error:
            raise httpx.ReadError(str(error), request=request) from error


class TurnedClock:
    """Unix seconds that move when a test, or a sleeper, says so."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await trio.lowlevel.checkpoint()


def a_world(*, clock: TurnedClock | None = None, faults: Faults | None = None, **settings: Any) -> World:
    """Four users a, b, c, d and the group g of a, b, c."""
    world = World(
        api_key=KEY,
        auth_only_key=AUTH_ONLY,
        clock=clock or TurnedClock(),
        faults=faults,
        rate_limit=settings.pop("rate_limit", None),
        seed=settings.pop("seed", 0),
        options=Options(**settings),
    )
    for uid in "abcd":
        world.add_user(uid, f"User {uid.upper()}", avatar=f"https://assets.example/{uid}.png")
    world.add_group("g", "Group G", members="abc", owner="a")
    return world


def say(world: World, sender: str, receiver: str, text: str, **more: Any) -> int:
    return world.send(sender, receiver, content={"text": text}, **more).id


def client(world: World, **headers: str) -> httpx.AsyncClient:
    """With the full key unless headers say otherwise."""
    return connected(build(world), **headers)


def connected(app: Starlette, **headers: str) -> httpx.AsyncClient:
    """A client of an app that was built with its own `sleep`."""
    return httpx.AsyncClient(
        transport=SimulatorTransport(app),
        base_url="http://simulator/v3",
        headers=headers or {"apikey": KEY},
    )


async def get(world: World, path: str, *, acting: str | None = None, **params: str) -> Any:
    """The decoded body of a GET with the full key."""
    headers = {"apikey": KEY} | ({"onBehalfOf": acting} if acting else {})
    async with client(world, **headers) as http:
        return (await http.get(path, params=params)).json()


async def ids(world: World, path: str, *, acting: str | None = None, **params: str) -> list[int]:
    """The ids of the rows that a list shows."""
    body = await get(world, path, acting=acting, **params)
    return [int(row["id"]) for row in body["data"]]
