"""A checked CEL expression as a tree, and the most that one message can make it cost.

cel-expr-python hands out its trees only as protocol buffers (cel.expr.CheckedExpr), whose few parts that
matter here are read with some lines of our own rather than with a library more.

CEL itself counts the steps of loops, not what a step costs: `mentions.all(m, message.text.contains(m))`
reads a long text a hundred times. So an expression is weighed when it is loaded, with the largest message
in mind, and refused if it could take too long. The unit is about a nanosecond.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

# --- protocol buffers -------------------------------------------------------------------------------


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message in their order: numbers as int, the rest as bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        size, at = (8, at) if tag & 7 == 1 else (4, at) if tag & 7 == 5 else _varint(data, at)
        yield tag >> 3, data[at : at + size]
        at += size


class _Message:
    """One message by the numbers of its fields."""

    def __init__(self, data: bytes) -> None:
        self._all: dict[int, list[Any]] = {}
        for number, value in _fields(data):
            self._all.setdefault(number, []).append(value)

    def has(self, number: int) -> bool:
        return number in self._all

    def each(self, number: int) -> list[Any]:
        return self._all.get(number, [])

    def part(self, number: int) -> _Message:
        return _Message(self.each(number)[-1] if self.has(number) else b"")

    def text(self, number: int) -> str:
        return bytes(self.each(number)[-1]).decode("utf-8", "replace") if self.has(number) else ""

    def number(self, number: int) -> int:
        return int(self.each(number)[-1]) if self.has(number) else 0


# --- the tree ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node. `kind`: const, name, select, call, list, map or loop."""

    kind: str
    at: int  #: where in the text it stands, in characters
    type: str  #: string, bool, list, map, dyn, …
    name: str = ""  #: of a variable, a field or a function
    text: str | None = None  #: of a constant that is text
    parts: tuple[
        Node, ...
    ] = ()  #: a call's target and arguments; a loop's range, start, condition, step, result
    var: str = ""  #: of a loop: what it calls an element

    def walk(self) -> Iterator[Node]:
        yield self
        for part in self.parts:
            yield from part.walk()


def tree_of(serialized: bytes) -> Node:
    """The tree of what `Expression.serialize()` gave."""
    return _Tree(_Message(serialized).part(2)).root


PRIMITIVES: Final = {1: "bool", 2: "int", 3: "uint", 4: "double", 5: "string", 6: "bytes"}


class _Tree:
    def __init__(self, checked: _Message) -> None:
        self._names = {key: _Message(value).text(1) for key, value in _map(checked, 2)}
        self._types = {key: _type(_Message(value)) for key, value in _map(checked, 3)}
        self._places = dict(_map(checked.part(5), 4))
        self.root = self._node(checked.part(4))

    def _node(self, expr: _Message) -> Node:
        number = expr.number(2)
        common: dict[str, Any] = {
            "at": self._places.get(number, 0),
            "type": self._types.get(number, "dyn"),
        }
        if number in self._names and (expr.has(4) or expr.has(5)):  # of `sender.id` the whole is a name
            return Node(kind="name", name=self._names[number], **common)
        for field, read in self._readers().items():
            if expr.has(field):
                return Node(**read(expr.part(field)), **common)
        raise ValueError("an expression of no known kind")

    def _readers(self) -> Mapping[int, Callable[[_Message], dict[str, Any]]]:
        return {
            3: self._constant,
            4: lambda ident: {"kind": "name", "name": ident.text(1)},
            5: self._select,
            6: self._call,
            7: lambda made: {"kind": "list", "parts": self._nodes(made.each(1))},
            8: self._map,
            9: self._loop,
        }

    def _nodes(self, parts: list[bytes]) -> tuple[Node, ...]:
        return tuple(self._node(_Message(part)) for part in parts)

    def _constant(self, value: _Message) -> dict[str, Any]:
        return {"kind": "const", "text": value.text(6) if value.has(6) else None}

    def _select(self, select: _Message) -> dict[str, Any]:
        return {"kind": "select", "name": select.text(2), "parts": self._nodes(select.each(1))}

    def _call(self, call: _Message) -> dict[str, Any]:
        parts = self._nodes([*call.each(1), *call.each(3)])
        return {"kind": "call", "name": call.text(2), "parts": parts}

    def _map(self, made: _Message) -> dict[str, Any]:
        entries = [_Message(entry) for entry in made.each(2)]
        return {
            "kind": "map",
            "parts": self._nodes([part for one in entries for part in one.each(3) + one.each(4)]),
        }

    def _loop(self, loop: _Message) -> dict[str, Any]:
        parts = self._nodes([part for number in (2, 4, 5, 6, 7) for part in loop.each(number)])
        return {"kind": "loop", "name": loop.text(3), "var": loop.text(1), "parts": parts}


def _map(message: _Message, number: int) -> Iterator[tuple[int, Any]]:
    """The entries of a map field."""
    for entry in message.each(number):
        pair = _Message(entry)
        yield pair.number(1), (pair.each(2) or [0])[-1]


def _type(type_: _Message) -> str:
    if type_.has(3):
        return PRIMITIVES.get(type_.number(3), "dyn")
    return "list" if type_.has(6) else "map" if type_.has(7) else "other" if type_.has(5) else "dyn"


# --- what it can cost -------------------------------------------------------------------------------


class Bound(NamedTuple):
    """The most that a value can be."""

    longest: int = 0  #: characters of a text in it
    parts: int = 0  #: of a list or mapping in it
    total: int = 0  #: all characters and parts

    def plus(self, other: Bound) -> Bound:
        """Both, one after the other."""
        return Bound(*(mine + its for mine, its in zip(self, other, strict=True)))

    def or_(self, other: Bound) -> Bound:
        """The one or the other."""
        return Bound(*map(max, self, other))


NOTHING: Final = Bound()
STEP: Final = 300  # a call
TAKE: Final = 5_000  # a part of a list or mapping, taken over from Python
LOOK: Final = 100  # one turn of a loop, one element compared
BY_PARTS: Final = 10  # characters of a needle that cost as much as one of the text, at worst

CallCost = Callable[[Node, tuple[Bound, ...]], float]


def weigh(root: Node, variables: Mapping[str, Bound], functions: Mapping[str, CallCost]) -> float:
    """The most that the expression can cost. `functions`: what those cost that are not CEL's own."""
    named = {node.name for node in root.walk() if node.kind == "name"}
    taken_over = sum(bound.total + TAKE * bound.parts for name, bound in variables.items() if name in named)
    return taken_over + _Weighing(functions).of(root, variables)[0]


class _Weighing:
    def __init__(self, functions: Mapping[str, CallCost]) -> None:
        self._functions = functions

    def of(self, node: Node, scope: Mapping[str, Bound]) -> tuple[float, Bound]:
        cost, bound = self._of(node, scope)
        match node.type:
            case "string" | "bytes":
                return cost, Bound(bound.longest, 0, bound.longest)
            case "bool" | "int" | "uint" | "double" | "other":
                return cost, NOTHING
            case _:
                return cost, bound

    def _of(self, node: Node, scope: Mapping[str, Bound]) -> tuple[float, Bound]:
        match node.kind:
            case "const":
                length = len(node.text or "")
                return LOOK, Bound(length, 0, length)
            case "name":
                return LOOK, scope.get(node.name, NOTHING)
            case "loop":
                return self._loop(node, scope)
            case _:
                weighed = [self.of(part, scope) for part in node.parts]
                cost, bounds = sum(cost for cost, _ in weighed), tuple(bound for _, bound in weighed)
                return cost + self._step(node, bounds), _result(node, bounds)

    def _step(self, node: Node, bounds: tuple[Bound, ...]) -> float:
        if node.kind == "call":
            return STEP + self._functions.get(node.name, call_cost)(node, bounds)
        return STEP * max(1, len(bounds))

    def _loop(self, node: Node, scope: Mapping[str, Bound]) -> tuple[float, Bound]:
        """Of CEL's macros: what is gathered begins empty, and each turn adds a part of its own."""
        over, start, condition, step, result = node.parts
        begun, elements = self.of(over, scope)
        inside = {**scope, node.var: elements, node.name: NOTHING}
        started, _ = self.of(start, inside)
        asked, _ = self.of(condition, inside)
        turned, added = self.of(step, inside)
        gathered = Bound(
            added.longest, elements.parts * max(1, added.parts), elements.parts * max(1, added.total)
        )
        ended, made = self.of(result, {**inside, node.name: gathered})
        return begun + started + elements.parts * (LOOK + asked + turned) + ended, made


def _result(node: Node, bounds: tuple[Bound, ...]) -> Bound:
    """How large what a node makes can be."""
    together, widest = NOTHING, NOTHING
    for bound in bounds:
        together, widest = together.plus(bound), widest.or_(bound)
    if node.kind in ("list", "map"):
        parts = max(widest.parts, len(bounds))
        return Bound(widest.longest, parts, together.total + len(bounds))
    if node.kind == "call" and node.name == "_+_":
        return together
    return widest.or_(Bound(100, 0, 100))  # a number as text


def call_cost(node: Node, bounds: tuple[Bound, ...]) -> float:
    """What a call of CEL's own can cost beside its arguments."""
    padded: list[Bound] = [*bounds, NOTHING, NOTHING]
    first, second = padded[:2]
    match node.name:
        case "_&&_" | "_||_" | "!_" | "_?_:_" | "_[_]" | "@not_strictly_false":
            return 0
        case "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_":
            return LOOK * min(first.parts, second.parts) + min(first.total, second.total) / BY_PARTS
        case "startsWith" | "endsWith":
            return min(first.longest, second.longest)
        case "contains":
            return first.longest * (1 + second.longest / BY_PARTS)
        case "@in":
            return second.parts * (LOOK + min(first.total, second.longest))
        case _:
            return 4 * sum(bound.total for bound in bounds)
