"""Who may ask: API keys, login tokens, and how many requests a minute."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from monitor.simulator.refusals import no_access, unknown_key, unknown_token

WINDOW_S: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """The state of the rate window after a request."""

    limit: int
    remaining: int
    reset_at: int
    is_over: bool


class Keys:
    """The key with full access, the authOnly key, and the tokens handed out at login."""

    def __init__(self, *, api_key: str, auth_only_key: str | None, seed: int) -> None:
        self.api_key = api_key
        self.auth_only_key = auth_only_key
        self._random = Random(f"{seed}:tokens")
        self._tokens: dict[str, str] = {}

    def check(self, key: str, *, for_login: bool) -> None:
        """Raises Refusal: 401 for an unknown key, 403 for the authOnly key elsewhere than at login."""
        if key == self.api_key:
            return
        if key != self.auth_only_key:
            raise unknown_key(key)
        if not for_login:
            raise no_access(key)

    def issue(self, uid: str, now: int) -> str:
        """A login token: `<uid>_<10-digit time><30 hex>`."""
        token = f"{uid}_{now:010d}{self._random.getrandbits(120):030x}"
        self._tokens[token] = uid
        return token

    def owner(self, token: str) -> str:
        if token not in self._tokens:
            raise unknown_token(token)
        return self._tokens[token]


class RateWindow:
    """At most `limit` requests in each window of a minute, counted from its first request."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._opened_at = float("-inf")
        self._count = 0

    def spend(self, now: float) -> Spent:
        if now >= self._opened_at + WINDOW_S:
            self._opened_at, self._count = now, 0
        self._count += 1
        return Spent(
            limit=self._limit,
            remaining=max(0, self._limit - self._count),
            reset_at=int(self._opened_at + WINDOW_S),
            is_over=self._count > self._limit,
        )
