"""Faults on demand: which of them strikes which request or row, seeded and counted.

A fault is added at the start (`--fault`) or at run time (`POST /_sim/faults`). It strikes with its
probability, at most `count` times, and only where `uid` is concerned if one is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from random import Random
from typing import Any, Final

KINDS: Final[Mapping[str, str]] = {
    "rate-limited": "answer 429 with Retry-After of `seconds` (default 2) as `retry_after` seconds|date|none",
    "server-error": "answer `status` (default 500); 502 to 504 come as a gateway's HTML page",
    "slow": "answer after `seconds` (default 2)",
    "hang": "send nothing for `seconds` (default 120), then drop the connection",
    "reset": "drop the connection after the headers, before the body",
    "truncated": "drop the connection in the middle of the body",
    "cut-body": "answer 200 with half of the JSON, as a complete response",
    "key-expired": "refuse every API key with 401",
    "no-access": "refuse every API key with 403, as an authOnly key is",
    "page-size": "use `size` rows a page whatever was asked; meta shows `echo` used|asked|none",
    "out-of-order": "shuffle the rows of a page",
    "malformed-row": "put a malformed row with an id of its own just before a new row",
    "late-visible": "show a new row `seconds` (default 3) after its id, however far readers are by then",
    "clock-skew": "the API's clock is `seconds` ahead (negative: behind) while this is active",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of trouble and when it strikes. Raises ValueError that says what can't be meant."""

    kind: str
    probability: float = 1.0
    count: int | None = None  #: how many times it strikes; None: until it is removed
    uid: str | None = None  #: only requests and rows that concern this user
    seconds: float | None = None
    status: int = 500
    size: int = 1
    retry_after: str = "seconds"
    echo: str = "used"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            near = get_close_matches(self.kind, KINDS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"unknown fault {self.kind!r}{hint} Known: {', '.join(KINDS)}")
        for name, choices in (
            ("retry_after", ("seconds", "date", "none")),
            ("echo", ("used", "asked", "none")),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} of a fault must be one of {', '.join(choices)}")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must be between 0 and 1, for example 0.05; got {self.probability}")
        if not (400 <= self.status <= 599 and self.size >= 1):
            raise ValueError("status must be between 400 and 599, and size at least 1")

    def seconds_or(self, default: float) -> float:
        return default if self.seconds is None else self.seconds


def from_object(value: object) -> Fault:
    """A fault from decoded JSON; raises ValueError that says what is wrong."""
    if not isinstance(value, dict):
        raise ValueError('a fault is an object, for example {"kind": "server-error", "count": 3}')
    unknown = sorted(set(value) - set(_TYPES))
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r} of a fault; known: {', '.join(_TYPES)}")
    for name, given in value.items():
        if not isinstance(given, _TYPES[name]) or isinstance(given, bool):
            raise ValueError(f"{name} of a fault can't be {given!r}")
    if "kind" not in value:
        raise ValueError(f"a fault needs a kind, one of {', '.join(KINDS)}")
    return Fault(**value)


def from_text(text: str) -> Fault:
    """A fault as written on the command line: `server-error,status=503,probability=0.1`."""
    kind, *settings = text.split(",")
    value: dict[str, Any] = {"kind": kind.strip()}
    for setting in settings:
        name, equals, given = setting.partition("=")
        if not equals:
            raise ValueError(f"{setting!r} is not name=value; for example slow,seconds=1.5,probability=0.2")
        value[name.strip()] = _plain(name.strip(), given.strip())
    return from_object(value)


def _plain(name: str, given: str) -> str | int | float:
    try:
        if name in ("count", "status", "size"):
            return int(given)
        if name in ("probability", "seconds"):
            return float(given)
    except ValueError:
        raise ValueError(f"{name} of a fault must be a number; got {given!r}") from None
    return given


_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "kind": str,
    "probability": (int, float),
    "count": int,
    "uid": str,
    "seconds": (int, float),
    "status": int,
    "size": int,
    "retry_after": str,
    "echo": str,
}
assert set(_TYPES) == {one.name for one in fields(Fault)}


@dataclass(slots=True)
class _Active:
    fault: Fault
    number: int
    hits: int = 0

    @property
    def is_spent(self) -> bool:
        return self.fault.count is not None and self.hits >= self.fault.count


class Faults:
    """The active faults. The first that strikes wins; every strike is counted."""

    def __init__(self, *faults: Fault, seed: int = 0) -> None:
        self._random = Random(f"{seed}:faults")
        self._active: list[_Active] = []
        self._numbers = 0
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault) -> int:
        """Make a fault active; the number names it in `shown`."""
        self._numbers += 1
        self._active.append(_Active(fault, self._numbers))
        return self._numbers

    def clear(self, kind: str | None = None) -> int:
        """Remove the faults of a kind, or all; how many they were."""
        kept = [one for one in self._active if kind is not None and one.fault.kind != kind]
        removed = len(self._active) - len(kept)
        self._active = kept
        return removed

    def draw(self, kind: str, *uids: str) -> Fault | None:
        """The fault of this kind that strikes now, if any; `uids` are the users concerned."""
        for one in self._active:
            if one.fault.kind != kind or one.is_spent:
                continue
            if one.fault.uid is not None and one.fault.uid not in uids:
                continue
            if self._random.random() < one.fault.probability:
                one.hits += 1
                return one.fault
        return None

    def skew(self) -> float:
        """How far the API's clock is ahead, in seconds."""
        return sum(one.fault.seconds_or(0) for one in self._active if one.fault.kind == "clock-skew")

    def shown(self) -> list[dict[str, Any]]:
        return [
            {"number": one.number, "hits": one.hits} | _without_defaults(one.fault) for one in self._active
        ]


def _without_defaults(fault: Fault) -> dict[str, Any]:
    plain = asdict(Fault(kind=fault.kind))
    return {key: value for key, value in asdict(fault).items() if key == "kind" or value != plain[key]}
