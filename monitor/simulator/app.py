"""The API on the wire: paths, authentication and JSON, thin over `World`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from monitor.simulator.control import routes as control_routes
from monitor.simulator.directory import list_users
from monitor.simulator.front import Front, Sleep
from monitor.simulator.lists import Viewer
from monitor.simulator.lists import answer as list_answer
from monitor.simulator.people import conversation_of
from monitor.simulator.query import Listing, Params
from monitor.simulator.refusals import (
    Refusal,
    bad_request,
    empty_key,
    no_access,
    not_a_member,
    unknown_key,
    unknown_path,
)
from monitor.simulator.rows import Json, encode
from monitor.simulator.world import World

MAX_PAYLOAD: Final = 65_536
MAX_DATA: Final = 10_240


def build(world: World, *, sleep: Sleep = trio.sleep) -> Starlette:
    """The API of `world` as an ASGI app: `/v3` and `/v3.0`, and `/_sim` to steer it.

    A dropped connection (faults reset, hang, truncated) raises ConnectionResetError out of the app after
    the answer began: a server closes the connection then, a test transport reports it to its client.
    """
    return Starlette(
        routes=[
            Mount("/v3", routes=_routes(world)),
            Mount("/v3.0", routes=_routes(world)),
            Mount("/_sim", routes=control_routes(world)),
        ],
        middleware=[Middleware(Front, world=world, sleep=sleep)],
        exception_handlers={HTTPException: _unknown_path},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One authenticated request."""

    world: World
    path: dict[str, str]
    params: Params
    body: Json
    viewer: Viewer

    @property
    def acting(self) -> str | None:
        return self.viewer.uid

    def need(self, name: str) -> Any:
        if self.body.get(name) in (None, "", {}, []):
            raise bad_request(**{name: f"The {name} field is required."})
        return self.body[name]


Endpoint = Callable[[Ask], Any]


def _routes(world: World) -> list[BaseRoute]:
    def at(path: str, method: str, endpoint: Endpoint, *, is_login: bool = False) -> Route:
        return Route(path, _endpoint(world, endpoint, is_login=is_login), methods=[method])

    return [
        at("/users", "GET", _list_users),
        at("/users", "POST", _create_user, is_login=True),
        at("/users/{uid}", "GET", _show_user),
        at("/users/{uid}", "PUT", _change_user),
        at("/users/{uid}", "DELETE", _deactivate_user),
        at("/users/{uid}/auth_tokens", "POST", _login, is_login=True),
        at("/users/{uid}/messages", "GET", _list_user_messages),
        at("/users/{uid}/conversation/{mark:str}", "POST", _mark_conversation),
        at("/me", "GET", _show_me),
        at("/me", "PUT", _show_me),
        at("/groups", "POST", _create_group),
        at("/groups/{guid}", "GET", _show_group),
        at("/groups/{guid}/members", "GET", _list_members),
        at("/groups/{guid}/members", "POST", _add_members),
        at("/groups/{guid}/members/{uid}", "DELETE", _remove_member),
        at("/groups/{guid}/messages", "GET", _list_group_messages),
        at("/messages", "GET", _list_messages),
        at("/messages", "POST", _send_message),
        at("/messages/{id}", "GET", _show_message),
        at("/messages/{id}", "PUT", _edit_message),
        at("/messages/{id}", "DELETE", _delete_message),
        at("/messages/{id}/reactions/{reaction}", "POST", _react),
        at("/calls", "POST", _start_call),
        at("/calls/{session}", "PUT", _change_call),
    ]


def _endpoint(world: World, endpoint: Endpoint, *, is_login: bool) -> Callable[[Request], Any]:
    async def respond(request: Request) -> Response:
        try:
            viewer = _authenticate(world, request, is_login=is_login)
            ask = Ask(
                world=world,
                path=request.path_params,
                params=Params(request.query_params.multi_items()),
                body=_decoded(await request.body()),
                viewer=viewer,
            )
            shown = endpoint(ask)
        except Refusal as refusal:
            return _json(encode(refusal.body()), status=refusal.status)
        return _json(shown if isinstance(shown, bytes) else encode(shown))

    return respond


def _authenticate(world: World, request: Request, *, is_login: bool) -> Viewer:
    """A login token stands for its owner; an API key may act on behalf of anyone."""
    token = request.headers.get("authtoken")
    if token:
        return Viewer(uid=world.user(world.keys.owner(token)).uid, is_client=True)
    key = request.headers.get("apikey")
    if not key:
        raise empty_key()
    if world.faults.draw("key-expired"):
        raise unknown_key(key)
    if world.faults.draw("no-access"):
        raise no_access(key)
    world.keys.check(key, for_login=is_login)
    acting = request.headers.get("onbehalfof")
    return Viewer(uid=world.user(acting).uid if acting else None)


def _decoded(body: bytes) -> Json:
    if len(body) > MAX_PAYLOAD:
        raise bad_request(body=f"The payload may not be greater than {MAX_PAYLOAD} characters.")
    try:
        decoded = json.loads(body) if body.strip() else {}
    except ValueError:
        raise bad_request(body="The body must be valid JSON.") from None
    if not isinstance(decoded, dict):
        raise bad_request(body="The body must be a JSON object.")
    return decoded


def _json(body: bytes, *, status: int = 200) -> Response:
    return Response(body, status_code=status, media_type="application/json")


async def _unknown_path(request: Request, _: Exception) -> Response:
    refusal = unknown_path(request.method, request.url.path)
    return _json(encode(refusal.body()), status=refusal.status)


# -- users ------------------------------------------------------------------------------------------


def _list_users(ask: Ask) -> Any:
    return list_users(ask.world.users.values(), ask.params)


def _create_user(ask: Ask) -> Any:
    user = ask.world.add_user(
        ask.need("uid"),
        ask.need("name"),
        role=ask.body.get("role") or "default",
        avatar=ask.body.get("avatar"),
        metadata=ask.body.get("metadata"),
        tags=ask.body.get("tags") or (),
    )
    profile = user.profile(with_tags=True)
    if ask.body.get("withAuthToken"):
        profile["authToken"] = ask.world.keys.issue(user.uid, int(ask.world.now()))
    return {"data": profile}


def _show_user(ask: Ask) -> Any:
    return {"data": ask.world.user(ask.path["uid"]).profile(with_tags=True)}


def _change_user(ask: Ask) -> Any:
    body = ask.body
    tags = None if body.get("tags") is None else _words(body["tags"], "tags")
    user = ask.world.change_user(ask.path["uid"], name=body.get("name"), role=body.get("role"), tags=tags)
    return {"data": user.profile(with_tags=True)}


def _deactivate_user(ask: Ask) -> Any:
    user = ask.world.set_active(ask.path["uid"], is_active=False)
    return {"data": {"success": True, "message": f"The user with UID {user.uid} has been deactivated."}}


def _login(ask: Ask) -> Any:
    user, now = ask.world.user(ask.path["uid"]), int(ask.world.now())
    return {"data": {"uid": user.uid, "authToken": ask.world.keys.issue(user.uid, now), "createdAt": now}}


def _show_me(ask: Ask) -> Any:
    if not ask.viewer.is_client or ask.acting is None:
        raise unknown_path("PUT", "/me")  # with an API key there is no "me"
    user = ask.world.user(ask.acting)
    user.status = "available"
    return {"data": user.profile() | {"authToken": ask.world.keys.issue(user.uid, int(ask.world.now()))}}


def _mark_conversation(ask: Ask) -> Any:
    mark = ask.path["mark"]
    if mark not in ("read", "delivered") or ask.acting is None:
        raise bad_request(onBehalfOf="The onBehalfOf header is required to mark a conversation.")
    peer = ask.world.user(ask.path["uid"])
    ask.world.mark(ask.acting, conversation_of(ask.acting, peer.uid), read=mark == "read")
    return {"data": {"success": True}}


# -- groups -----------------------------------------------------------------------------------------


def _create_group(ask: Ask) -> Any:
    members = ask.body.get("members") or {}
    group = ask.world.add_group(
        ask.need("guid"),
        ask.need("name"),
        owner=ask.body.get("owner") or ask.acting,
        members=[uid for scope in _SCOPES for uid in members.get(scope, ())],
    )
    for scope, name in _SCOPES.items():
        for uid in members.get(scope, ()):
            group.members[ask.world.user(uid).uid] = name
    return {"data": group.entity()}


_SCOPES: Final = {"participants": "participant", "moderators": "moderator", "admins": "admin"}


def _show_group(ask: Ask) -> Any:
    return {"data": ask.world.group(ask.path["guid"]).entity()}


def _list_members(ask: Ask) -> Any:
    members = ask.world.group(ask.path["guid"]).members.items()
    shown = [ask.world.users[uid].profile() | {"scope": scope} for uid, scope in members]
    return {"data": shown, "meta": {"pagination": {"total": 0, "count": len(shown), "total_pages": 1}}}


def _add_members(ask: Ask) -> Any:
    named = [(uid, name) for scope, name in _SCOPES.items() for uid in ask.body.get(scope) or ()]
    if not named:
        raise bad_request(participants="The participants field is required.")
    for uid, _ in named:
        ask.world.user(uid)
    for uid, scope in named:
        ask.world.add_member(ask.path["guid"], uid, scope=scope, by=ask.acting)
    return {"data": {"participants": {uid: {"success": True} for uid, _ in named}}}


def _remove_member(ask: Ask) -> Any:
    ask.world.remove_member(ask.path["guid"], ask.path["uid"], by=ask.acting)
    return {"data": {"success": True, "message": "Group member removed."}}


# -- messages ---------------------------------------------------------------------------------------


def _list_user_messages(ask: Ask) -> bytes:
    owner = ask.world.user(ask.path["uid"]).uid
    feeds = ask.world.list_of_user(owner, peer=ask.acting)
    return list_answer(ask.world, feeds, ask.params, listing=Listing.USER, viewer=ask.viewer, owner=owner)


def _list_group_messages(ask: Ask) -> bytes:
    group = ask.world.group(ask.path["guid"])
    if ask.acting is not None and ask.acting not in group.members:
        raise not_a_member(ask.acting, group.guid)
    feeds = ask.world.list_of_group(ask.path["guid"])
    return list_answer(ask.world, feeds, ask.params, listing=Listing.GROUP, viewer=ask.viewer)


def _list_messages(ask: Ask) -> bytes:
    # What the key alone may see here is not documented, so each answer can be had.
    app_list = ask.world.options.app_list if ask.acting is None else "all"
    if app_list == "400":
        raise bad_request(onBehalfOf="The onBehalfOf header is required.")
    feeds = [] if app_list == "empty" else ask.world.list_of_all(ask.acting)
    return list_answer(ask.world, feeds, ask.params, listing=Listing.MESSAGES, viewer=ask.viewer)


def _send_message(ask: Ask) -> Any:
    content = ask.need("data")
    if not isinstance(content, dict):
        raise bad_request(data="The data must be an object.")
    if len(encode(content)) > MAX_DATA:
        raise bad_request(data=f"The data may not be greater than {MAX_DATA} bytes.")
    parent = ask.body.get("parentId")
    row = ask.world.send(
        ask.acting,
        _word(ask.need("receiver"), "receiver"),
        receiver_type=_word(ask.body.get("receiverType", "user"), "receiverType"),
        category=_word(ask.body.get("category", "message"), "category"),
        type_=_word(ask.need("type"), "type"),
        content=_checked(content),
        tags=_words(ask.body.get("tags") or (), "tags"),
        muid=ask.body.get("muid"),
        parent_id=ask.world.find(parent).id if parent else None,
    )
    return {"data": row.message()}


def _checked(content: Json) -> Json:
    attachments = content.get("attachments", [])
    if not isinstance(attachments, list) or not all(isinstance(one, dict) for one in attachments):
        raise bad_request(**{"data.attachments": "The data.attachments must be an array of objects."})
    return {key: value for key, value in content.items() if key not in ("entities", "mentions", "reactions")}


def _word(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise bad_request(**{name: f"The {name} must be a string."})
    return value


def _words(values: Iterable[Any], name: str) -> list[str]:
    if not isinstance(values, list | tuple):
        raise bad_request(**{name: f"The {name} must be an array."})
    return [_word(value, name) for value in values]


def _show_message(ask: Ask) -> Any:
    return {"data": ask.world.find(ask.path["id"]).message()}


def _edit_message(ask: Ask) -> Any:
    content = ask.need("data")
    if not isinstance(content, dict):
        raise bad_request(data="The data must be an object.")
    return {"data": ask.world.edit(ask.path["id"], _checked(content), by=ask.acting).message()}


def _delete_message(ask: Ask) -> Any:
    return {"data": ask.world.delete(ask.path["id"], by=ask.acting).message()}


def _react(ask: Ask) -> Any:
    return {"data": ask.world.react(ask.path["id"], ask.path["reaction"]).message()}


# -- calls ------------------------------------------------------------------------------------------


def _start_call(ask: Ask) -> Any:
    if ask.acting is None:
        raise bad_request(onBehalfOf="The onBehalfOf header is required to start a call.")
    _, row = ask.world.start_call(
        ask.acting,
        _word(ask.need("receiver"), "receiver"),
        receiver_type=_word(ask.body.get("receiverType", "user"), "receiverType"),
        type_=_word(ask.body.get("type", "audio"), "type"),
        metadata=ask.body.get("metadata"),
    )
    return {"data": row.message()}


def _change_call(ask: Ask) -> Any:
    row = ask.world.change_call(
        ask.path["session"],
        _word(ask.need("status"), "status"),
        by=ask.acting,
        type_=ask.body.get("type"),
    )
    return {"data": row.message()}
