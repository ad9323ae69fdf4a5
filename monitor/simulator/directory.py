"""`GET /users`: which of the app's users a request lets through, and one page of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from monitor.simulator.people import User
from monitor.simulator.query import Params

Test = Callable[[User], bool]

SEARCHED: Final = frozenset({"uid", "name"})


def list_users(users: Iterable[User], params: Params) -> dict[str, Any]:
    """The answer: a page of those users whom every parameter lets through, or their number."""
    size = params.number("perPage", low=1, high=1000) or params.number("limit", low=1, high=1000) or 100
    number = params.number("page", low=1, high=1_000_000) or 1
    tests = tuple(_tests(params))
    found = [user for user in users if all(test(user) for test in tests)]
    if params.flag("count"):
        return {"data": {"count": len(found)}}
    chosen = found[(number - 1) * size : number * size]
    return {
        "data": [user.profile(with_tags=params.flag("withTags")) for user in chosen],
        "meta": {
            "pagination": {
                "total": 0,
                "count": len(chosen),
                "per_page": size,
                "current_page": number,
                "total_pages": max(1, -(-len(found) // size)),
            }
        },
        "cursor": {"updatedAt": max((user.updated_at for user in chosen), default=0), "affix": "append"},
    }


def _tests(params: Params) -> Iterable[Test]:
    if params.flag("onlyDeactivated"):
        yield lambda user: not user.is_active
    elif not params.flag("withDeactivated"):
        yield lambda user: user.is_active
    if status := params.text("status"):
        yield lambda user: user.status == status
    if roles := params.words("role", "roles"):
        yield lambda user: user.role in roles
    if tags := params.words("tags"):
        yield lambda user: not tags.isdisjoint(user.tags)
    if key := (params.text("searchKey") or "").casefold():
        places = (params.words("searchIn") or SEARCHED) & SEARCHED
        yield lambda user: any(getattr(user, place).casefold().startswith(key) for place in places)
