"""`/_sim/`: steering the simulator and reading what really happened. No key: it belongs on loopback.

    GET    /_sim/                           this text
GET    /_sim/faults                     the active faults and every kind there is
POST   /_sim/faults   {"kind": …} or [] add faults
DELETE /_sim/faults?kind=…              remove those of a kind, or all
POST   /_sim/keys     {"api_key": …}    the API key changes; the old one is refused from now on
POST   /_sim/moderate {"id": …, "status": …} moderation changes a message in place
GET    /_sim/truth?after=ID&limit=N     every message made, and what an operator should be told of
GET    /_sim/requests?after=N           every API request with its answer's status
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import BaseRoute, Route

from monitor.simulator.faults import KINDS, from_object
from monitor.simulator.refusals import Refusal
from monitor.simulator.world import World

VERDICTS: Final = ("pending", "approved", "disapproved")
EXAMPLE: Final = '{"id": "1017", "status": "disapproved"}'


def routes(world: World) -> list[BaseRoute]:
    def at(path: str, method: str, endpoint: Callable[[World, Request, Any], Any]) -> Route:
        async def respond(request: Request) -> JSONResponse:
            try:
                body = json.loads(await request.body() or b"null")
                return JSONResponse(endpoint(world, request, body))
            except ValueError as error:
                return JSONResponse({"error": str(error)}, status_code=400)

        return Route(path, respond, methods=[method])

    async def explain(_: Request) -> PlainTextResponse:
        return PlainTextResponse(__doc__)

    return [
        Route("/", explain),
        at("/faults", "GET", _faults),
        at("/faults", "POST", _add_faults),
        at("/faults", "DELETE", _clear_faults),
        at("/keys", "POST", _rotate_key),
        at("/moderate", "POST", _moderate),
        at("/truth", "GET", _truth),
        at("/requests", "GET", _requests),
    ]


def _faults(world: World, _: Request, __: Any) -> Any:
    return {"active": world.faults.shown(), "kinds": dict(KINDS)}


def _add_faults(world: World, _: Request, body: Any) -> Any:
    faults = [from_object(one) for one in (body if isinstance(body, list) else [body])]
    return {"added": [world.faults.add(fault) for fault in faults]}


def _clear_faults(world: World, request: Request, _: Any) -> Any:
    return {"removed": world.faults.clear(request.query_params.get("kind"))}


def _rotate_key(world: World, _: Request, body: Any) -> Any:
    key = body.get("api_key") if isinstance(body, dict) else None
    if not isinstance(key, str) or not key:
        raise ValueError('give the new key, for example {"api_key": "0123…"}')
    world.keys.api_key = key
    return {"rotated": True}


def _moderate(world: World, _: Request, body: Any) -> Any:
    status = body.get("status") if isinstance(body, dict) else None
    if status not in VERDICTS:
        raise ValueError(f"give id and status ({', '.join(VERDICTS)}), for example {EXAMPLE}")
    try:
        row = world.moderate(str(body.get("id")), status)
    except Refusal as refusal:
        raise ValueError(f"no message {body.get('id')!r} to moderate") from refusal
    return {"moderated": str(row.id)}


def _truth(world: World, request: Request, _: Any) -> Any:
    after = int(request.query_params.get("after", "0"))
    limit = int(request.query_params.get("limit", "100000"))
    chosen = list(islice((one for one in world.truth if int(one.id) > after), limit))
    return {
        "now": world.clock(),
        "messages": [one.shown() for one in chosen],
        "expected": [finding for one in chosen for finding in one.findings()],
    }


def _requests(world: World, request: Request, _: Any) -> Any:
    after = int(request.query_params.get("after", "0"))
    return {"requests": [asdict(one) for one in islice(world.requests, after, None)]}
